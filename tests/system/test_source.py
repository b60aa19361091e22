"""What a run is stored under: only what can change its bits changes its name."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bnlib.system import paths
from bnlib.system.code import source

NAMES = """
import json
from bnlib.experiment.config import RunConfig
from bnlib.runs import store
arms = {norm: {"norm": norm} for norm in ("none", "batch", "group")} | {"sgd": {"optimizer": "sgd"}}
configs = [RunConfig(dataset="digits", seed=0, learning_rate=0.001, **arm) for arm in arms.values()]
print(json.dumps(dict(zip(arms, (recipe.name for recipe in store.recipes(configs, "data"))))), flush=True)
"""
# What takes long to import, once; each copy of the package then in a child of its own.
CHILDREN = """
import os, sys
import cloudpickle, filelock, joblib, numpy, pandas, pydantic, torch
for folder in sys.argv[2:]:
    if not os.fork():
        sys.path.insert(0, folder)
        exec(sys.argv[1])
        import bnlib
        os._exit(not bnlib.__file__.startswith(folder))
    assert os.wait()[1] == 0, folder
"""
LOOP, MODELS, CONFIG = "training/loop.py", "training/models.py", "experiment/config.py"
OUTCOMES = "experiment/outcomes/measured.py"
HARMLESS = {  # path below the package, what stands there, what is put in its place
    "a comment": (LOOP, "    hardware.keep_memory()", "    # why\n    hardware.keep_memory()"),
    "a docstring": (LOOP, '"""Trains one network as `config` says; yields after each epoch.', '"""Otherwise.'),
    "a renamed import": (LOOP, "functional as F", "functional as loss_functions", "F.cross", "loss_functions.cross"),
    "an annotation": (LOOP, "n: int) -> Tensor", 'n: "int") -> "Tensor"'),
    "another norm": (MODELS, '        "batch@1"', '        "twice": (None, None, nn.LayerNorm),\n        "batch@1"'),
    "another factor": (CONFIG, '    precision: Precision = "fp32"', '    depth: int = 2\n    precision: Precision = "fp32"'),
    "another label": (CONFIG, '"batch": "batch norm"', '"batch": "batch normalisation"'),
    "another outcome": (OUTCOMES, "MEASURED = {", 'MEASURED = {\n    "x": Outcome("x", "epochs", "", True, _gap),'),
    "the plain loop": ("training/loops/plain.py", "correct = 0", "correct = 1"),
    "a moved module": ("training/hardware.py", None, "training/machine.py"),
}
HARMFUL = {
    "the loop": (LOOP, "optimizer.zero_grad()", "optimizer.zero_grad(set_to_none=False)", {"none", "batch", "group", "sgd"}),
    "a constant of it": (LOOP, "EVALUATION_BATCH = 200", "EVALUATION_BATCH = 100", {"none", "batch", "group", "sgd"}),
    "the network": (MODELS, "nn.Linear(128, 10)", "nn.Linear(128, 10, bias=False)", {"none", "batch", "group", "sgd"}),
    "one norm": (MODELS, "channels // 8", "channels // 4", {"group"}),
    "another one": (MODELS, '"batch": (nn.BatchNorm2d, nn', '"batch": (nn.InstanceNorm2d, nn', {"batch"}),
    "one optimizer": ("training/optimizers.py", "momentum=0.9", "momentum=0.8", {"sgd"}),
}


def names_in(folders: list[Path], cwd: Path) -> list[dict[str, str]]:
    """The names of some runs, as the copy of the package in each folder has them."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-c", CHILDREN, NAMES, *map(str, folders)]
    done = subprocess.run(command, env=environment, cwd=cwd, stdout=subprocess.PIPE, text=True, check=True)
    return list(map(json.loads, done.stdout.splitlines()))


def edit(folder: Path, path: str, before: str | None, *after: str) -> None:
    file = folder / "bnlib" / path
    if before is None:  # moved
        (after,) = after
        file.rename(folder / "bnlib" / after)
        old, new = (Path(name).stem for name in (path, after))
        for module in (folder / "bnlib").rglob("*.py"):
            module.write_text(module.read_text().replace(old, new))
        return
    text = file.read_text()
    replacements = [(before, after[0]), *zip(after[1::2], after[2::2], strict=True)]
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new)
    file.write_text(text)


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """The names of the runs as the package is, and after each edit of a copy of it."""
    edits = {"none": ()} | HARMLESS | {name: values[:3] for name, values in HARMFUL.items()}
    folders = [tmp_path_factory.mktemp("copy") for _ in edits]
    for folder, values in zip(folders, edits.values(), strict=True):
        shutil.copytree(paths.ROOT / "bnlib", folder / "bnlib", ignore=shutil.ignore_patterns("__pycache__"))
        if values:
            edit(folder, *values)
    return dict(zip(edits, names_in(folders, tmp_path_factory.mktemp("elsewhere")), strict=True))


@pytest.mark.parametrize("change", HARMLESS)
def test_change_that_cannot_alter_a_run_keeps_its_name(change, names):
    assert names[change] == names["none"]


@pytest.mark.parametrize("change", HARMFUL)
def test_change_renames_the_runs_that_use_it_and_no_others(change, names):
    assert {arm for arm, name in names[change].items() if name != names["none"][arm]} == HARMFUL[change][3]


def test_source_names_everything_of_ours_that_is_used():
    from bnlib.training import loop

    assert {"fit", "train_epoch", "evaluate", "ConvNet.__init__", "epoch_order", "place"} <= set(source.parts(loop.fit))
    assert "layer_table" not in source.parts(loop.fit)


OUTER = 2.0


def inner(x):
    return x * OUTER


def outer(x):
    return inner(x) + 1


def test_what_a_function_uses_counts_too(monkeypatch):
    before = source.parts(outer)
    assert set(before) == {"outer", "inner"}
    monkeypatch.setitem(globals(), "OUTER", 3.0)
    after = source.parts(outer)
    assert before["outer"] == after["outer"]
    assert before["inner"] != after["inner"]


def test_closure_counts():
    def make(factor):
        return lambda x: x * factor

    assert source.parts(make(2)) == source.parts(make(2)) != source.parts(make(3))


def test_functions_that_use_one_another_end():
    def even(n):
        return n == 0 or odd(n - 1)

    def odd(n):
        return n != 0 and even(n - 1)

    assert len(source.parts(even)) == 2


def test_source_that_is_not_to_be_had_is_an_error():
    scope = {}
    exec(compile("def f(x):\n    return x", "/nowhere/cell.py", "exec"), scope)
    with pytest.raises(ValueError, match="the source of f is not to be had"):
        source.parts(scope["f"])
