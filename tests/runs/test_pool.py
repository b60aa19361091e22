import dataclasses
import functools
import importlib.util
import itertools
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Future

import pandas as pd
import psutil
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from bnlib import UserError
from bnlib.experiment import records, registry, studies
from bnlib.experiment.config import LEVELS, RunConfig
from bnlib.experiment.study import Study
from bnlib.runs import environment, pool, progress, provenance, store
from bnlib.runs.pool import Task, run_all
from bnlib.system import paths
from bnlib.training import data, loop, models, optimizers


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


class Inline:
    """Stands in for the worker processes: does each task at once, here."""

    def __init__(self, workers: int):
        pass

    def submit(self, task, *arguments) -> Future:
        future = Future()
        try:
            future.set_result(task(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future

    def shutdown(self, **_) -> None:
        pass


@pytest.fixture(autouse=True)
def inline(request, monkeypatch):
    """Spares a test the seconds that processes take to start, unless it is marked to be about them."""
    if "processes" not in request.fixturenames:
        monkeypatch.setattr(pool, "ProcessPoolExecutor", Inline)
        monkeypatch.setattr(pool, "_end_with", lambda parent: None)


@pytest.fixture
def processes():
    """Has a test use real worker processes."""


@pytest.fixture
def trained(monkeypatch):
    """What each run that is finished trained, in epochs."""
    told, real = [], progress.append
    monkeypatch.setattr(progress, "append", lambda log, event: told.append(event) or real(log, event))
    return lambda: [event["trained"] for event in told if "trained" in event]


def study(rate: float = 0.001, **fields) -> Study:
    return studies.each_rate(rate, **{"arms": ("none", "batch"), "seeds": 2, "dataset": "digits", "epochs": 1} | fields)


def configs(rate: float = 0.001, **fields) -> list[RunConfig]:
    return study(rate, **fields).configs


def table(runs: list[records.Run]) -> pd.DataFrame:
    return records.collect("", runs).epochs


def task(config: RunConfig, data) -> Task:
    (recipe,) = store.recipes([config], data.fingerprint)
    return Task(recipe, registry.packed(config))


def test_records_do_not_depend_on_the_number_of_workers(digits, monkeypatch, tmp_path, processes):
    tables = []
    for workers in (1, 3):
        monkeypatch.setenv("BNLIB_CACHE", str(tmp_path / str(workers)))
        tables.append(table(run_all(configs(), digits, workers=workers)))
    pd.testing.assert_frame_equal(*tables, check_exact=True)
    assert len(tables[0]) == 4


def test_finished_runs_are_not_made_again(digits, trained):
    first = table(run_all(configs(seeds=1), digits))
    assert trained() == [1, 1]
    again = table(run_all(configs(seeds=2), digits))
    assert trained() == [1, 1, 1, 1]
    pd.testing.assert_frame_equal(again[again.seed == 0].reset_index(drop=True), first, check_exact=True)


def test_longest_runs_go_first(digits, monkeypatch):
    begun = []
    monkeypatch.setattr(pool, "_done", lambda missing, *_: begun.extend(r.config for r in missing) or iter(()))
    run_all([*configs(epochs=1), *configs(0.002, epochs=2)], digits)
    assert [(c.epochs, c.norm) for c in begun] == [(e, n) for e in (2, 1) for n in ("batch", "batch", "none", "none")]


def test_failing_run_keeps_the_finished_ones(digits, own_level):
    @models.norm(own_level)
    def unlucky(channels):
        raise RuntimeError("out of luck")

    both = study(arms=("none", own_level), seeds=1).configs
    with pytest.raises(RuntimeError, match="out of luck"):
        run_all(both, digits, workers=1)
    assert (paths.store()).is_dir()


def test_changed_data_file_is_noticed_by_the_worker(digits, tiny_data, monkeypatch):
    monkeypatch.setattr(pool, "load_once", functools.cache(lambda name: tiny_data))
    with pytest.raises(UserError, match="are not those that this report began with"):
        pool._run(task(configs()[0], digits), print)


def test_mended_data_file_is_read_again_by_a_worker_that_had_read_it(digits, tiny_data, monkeypatch):
    read = [digits, tiny_data]
    monkeypatch.setattr(pool, "load_once", functools.cache(lambda name: read.pop()))
    assert pool.load_once("digits") is tiny_data
    assert pool._run(task(configs()[0], digits), print)[1] == 1


@pytest.mark.parametrize("part", environment.machine())
def test_worker_of_another_kind_is_refused(part, digits):
    asked = task(configs()[0], digits)
    other = dataclasses.replace(asked.recipe, machine=asked.recipe.machine | {part: "other"})
    with pytest.raises(UserError, match=f"its {part} is .*, not other; make it the same"):
        pool._run(Task(other, None), print)


@pytest.mark.parametrize("switch", ["ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA"])
def test_worker_with_other_arithmetic_switched_on_is_refused(switch, digits, monkeypatch):
    asked = task(configs()[0], digits)
    monkeypatch.setenv(switch, "AVX2")
    with pytest.raises(UserError, match=f"its .* is .*{'AVX2'}.*, not "):
        pool._run(asked, print)


def test_run_begun_elsewhere_goes_on_here(digits, monkeypatch, tmp_path):
    (config, *_) = configs(epochs=3)
    whole, trained = pool._run(task(config, digits), print)
    assert trained == 3
    begun = next(itertools.islice(loop.fit(config, digits), 1, None))
    monkeypatch.setenv("BNLIB_CACHE", str(tmp_path / "other"))
    rest, trained = pool._run(task(config, digits), print, begun)
    assert trained == 1
    assert [(e.train_loss, e.test_loss) for e in rest.epochs] == [(e.train_loss, e.test_loss) for e in whole.epochs]


def test_batch_of_one_image_is_refused_before_any_run(digits):
    with pytest.raises(UserError, match="batch_size=4 leaves a last batch of one image"):  # 1437 = 359 * 4 + 1
        run_all(configs(batch_size=4), digits, workers=1)


def test_workers_end_with_a_killed_parent(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from bnlib.experiment import studies\n"
        "from bnlib.runs import pool\n"
        "from bnlib.training import data\n"
        "if __name__ == '__main__':\n"
        "    asked = studies.each_rate(0.001, arms=('none', 'batch'), seeds=2, dataset='digits', epochs=5000)\n"
        "    pool.run_all(asked.configs, data.load('digits'), workers=2)\n"
    )
    with subprocess.Popen([sys.executable, script], stderr=subprocess.DEVNULL, env=os.environ | {"PYTHONPATH": "."}) as parent:
        workers = []
        for _ in range(200):
            children = psutil.Process(parent.pid).children(recursive=True)
            workers = [p for p in children if "popen_loky_posix" in " ".join(p.cmdline()) and p.cpu_times().user > 2]
            if len(workers) == 2:
                break
            time.sleep(0.2)
        assert len(workers) == 2
        parent.send_signal(signal.SIGKILL)
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert not alive


def test_longer_run_goes_on_from_the_stored_epochs_to_the_same_bits(digits, monkeypatch, tmp_path, trained):
    at_once = table(run_all(configs(epochs=3), digits))
    monkeypatch.setenv("BNLIB_CACHE", str(tmp_path / "other"))
    run_all(configs(epochs=2), digits)
    later = table(run_all(configs(epochs=3), digits))
    assert trained() == [3] * 4 + [2] * 4 + [1] * 4
    pd.testing.assert_frame_equal(later, at_once, check_exact=True)


def test_shorter_run_is_the_beginning_of_the_stored_one(digits, trained):
    long = table(run_all(configs(epochs=2), digits))
    short = table(run_all(configs(epochs=1), digits))
    assert trained() == [2] * 4
    pd.testing.assert_frame_equal(short, long[long.epoch == 1].reset_index(drop=True), check_exact=True)


def test_damaged_entry_is_computed_again(digits, trained):
    whole = table(run_all(configs(), digits))
    damaged = sorted(paths.store().glob("*.pt"))[0]
    damaged.write_bytes(damaged.read_bytes()[:-1])
    pd.testing.assert_frame_equal(table(run_all(configs(), digits)), whole, check_exact=True)
    assert trained() == [1] * 5
    assert len(list(paths.store().glob("*.pt"))) == len(whole)


def test_runs_are_never_trained_in_this_process(digits, monkeypatch, processes):
    monkeypatch.setattr(pool, "fit", lambda *_: pytest.fail("it was trained here"))
    assert len(run_all(configs(seeds=1), digits, workers=1)) == 2


def test_study_leaves_its_records_where_the_report_looks_for_them(digits):
    asked = study(seeds=1)
    made = pool.run(asked, digits)
    folder = paths.records("learning-rate-0.001", "digits")
    pd.testing.assert_frame_equal(records.load(folder).epochs, made.epochs, check_exact=True)
    assert Study.model_validate_json((folder / "study.json").read_text()) == asked
    assert provenance.load(folder)["seeds"] == "0"
    assert set(made.epochs.study) == {"learning_rate"}
    layers = pd.read_csv(folder / "networks.csv", keep_default_na=False)
    assert layers.groupby("arm").parameters.sum().to_dict() == {"none": 421_642, "batch": 422_090}


def test_records_say_of_each_run_what_made_it(digits):
    made = pool.run(study(seeds=1), digits)
    assert list(made.runs.run) == list(made.epochs.run)  # an epoch each
    (none, batch) = made.runs.to_dict("records")
    assert RunConfig.model_validate_json(none["configuration"]).norm == "none"
    assert none["code"] != batch["code"]  # each has the source of its own norm
    assert none["data"] == digits.fingerprint
    assert {name: none[name] for name in environment.machine()} == environment.machine()


def test_trained_network_comes_from_the_store(digits):
    (config, *_) = configs(seeds=1)
    with pytest.raises(UserError, match="nothing of this run"):
        pool.trained(config, digits)
    (run, *_) = run_all([config], digits)
    tested = loop.evaluate(pool.trained(config, digits), digits.test.images, digits.test.labels)
    assert tested.accuracy == run.epochs[0].test_accuracy


# Code of a notebook's own


@pytest.fixture
def own_level():
    """A name for a norm, network or optimizer of a test's own, forgotten afterwards."""
    name = "mine"
    yield name
    for factor, table in registry.ALL.items():
        LEVELS[factor].pop(name, None)
        table.pop(name, None)
        table.own.discard(name)


def half(channels):
    """A norm that halves what it gets."""
    return Scaled(0.5)


class Scaled(nn.Module):
    def __init__(self, by):
        super().__init__()
        self.by = by

    def forward(self, x):
        return self.by * x


def test_own_norm_is_trained_by_a_worker_and_compared_like_any_other(digits, own_level, trained, processes):
    models.norm(own_level, "halving")(half)
    asked = study(arms=("none", "batch", own_level), seeds=1)
    made = pool.run(asked, digits).epochs
    assert list(made.norm) == ["none", "batch", "mine"]
    assert [arm.label for arm in asked.arms] == ["without a norm", "with batch norm", "with halving"]
    first = made.set_index("norm").train_loss
    assert first["mine"] != first["none"]
    assert trained() == [1, 1, 1]


def test_edited_own_norm_is_trained_again_and_nothing_else(digits, own_level, trained, tmp_path, monkeypatch):
    """As in a notebook: the cell is edited and run again."""
    asked, losses = study(arms=("none", "batch", own_level), seeds=1) if models.norm(own_level)(half) else None, []
    for number, factor in enumerate((0.5, 0.5, 0.25)):
        cell = tmp_path / f"cell_{number}.py"  # each run of a cell is a file to Python
        comment = "# half of it" if number == 1 else ""
        cell.write_text(
            f"from torch import nn\n\nFACTOR = {factor}\n\nclass Mine(nn.Module):\n"
            f"    def __init__(self, channels):\n        super().__init__()\n"
            f"    def forward(self, x):\n        {comment}\n        return FACTOR * x\n"
        )
        spec = importlib.util.spec_from_file_location("cell", cell)
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, "cell", module)
        spec.loader.exec_module(module)
        models.norm(own_level)(module.Mine)
        made = table(run_all(asked.configs, digits))
        losses.append(made[made.norm == own_level].train_loss.item())
    assert trained() == [1, 1, 1, 1]  # three arms, nothing for the comment, and one arm
    assert losses[0] == losses[1] != losses[2]


def test_own_network_and_optimizer_are_trained(digits, own_level, processes):
    @models.network(own_level)
    def linear():
        return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))

    @optimizers.optimizer(own_level)
    def slow(parameters, rate):
        return torch.optim.SGD(parameters, lr=rate / 100)

    for factor in ("network", "optimizer"):
        levels = {"network": ("convnet", own_level), "optimizer": ("adam", own_level)}[factor]
        fields = {"factors": {factor: levels, "learning_rate": (0.01,)}, "reference": {factor: levels[0]}}
        asked = Study(name=factor, notebook="", seeds=1, epochs=1, held={"dataset": "digits"}, **fields)
        made = pool.run(asked, digits).epochs
        assert list(made[factor]) == list(levels)
        assert made.train_loss.nunique() == 2


def test_noise_of_own_code_is_the_seed_s_and_the_epoch_s(digits, own_level, monkeypatch, tmp_path):
    """A run with dropout is done at once, and in parts after another run."""

    @models.norm(own_level)
    class Dropout(nn.Dropout):
        def __init__(self, channels):
            super().__init__(0.5)

    first, second = (studies.each_rate(0.001, arms=("none", own_level), seeds=2, dataset="digits", epochs=2).configs)[1::2]
    at_once = table(run_all([second], digits))
    monkeypatch.setenv("BNLIB_CACHE", str(tmp_path / "other"))
    run_all([first], digits)
    run_all([second.model_copy(update={"epochs": 1})], digits)
    pd.testing.assert_frame_equal(table(run_all([second], digits)), at_once, check_exact=True)


def test_trained_network_of_other_epochs_is_refused(digits):
    (config, *_) = configs(seeds=1, epochs=2)
    run_all([config], digits)
    with pytest.raises(UserError, match="after 2 epochs alone; ask for so many"):
        pool.trained(config.model_copy(update={"epochs": 1}), digits)


def test_package_s_own_names_cannot_be_taken():
    with pytest.raises(ValueError, match="norm 'batch' is the package's own; take another name"):
        models.norm("batch")(half)


def test_level_that_nobody_registered_is_refused():
    with pytest.raises(ValidationError, match="'mine' is no norm; known: none, batch"):
        study(arms=("none", "mine"))


# Package code that was replaced


@pytest.mark.parametrize(
    ("module", "name", "other"),
    [
        (optimizers, "adam", lambda parameters, rate: torch.optim.SGD(parameters, rate)),
        (loop, "evaluate", functools.wraps(loop.evaluate)(lambda *a: loop.Evaluation(0, 1, 10))),
        (loop, "EVALUATION_BATCH", 7),
        (models, "ConvNet", nn.Linear),
        (models, "groups_of_8", None),
    ],
)
def test_replaced_training_code_is_refused_by_name(module, name, other, digits, monkeypatch):
    run_all(configs(seeds=1), digits)  # though all is in the store
    monkeypatch.setattr(module, name, other)
    with pytest.raises(UserError, match=rf"bnlib\.training\.\w+\.{name} was replaced .* Register yours under a name"):
        run_all(configs(seeds=1), digits)


def test_replaced_method_is_refused(digits, monkeypatch, processes):
    monkeypatch.setattr(models.ConvNet, "forward", lambda self, x: x, raising=False)
    with pytest.raises(UserError, match=r"worker .* has other code than this process|ConvNet was replaced"):
        run_all(configs(seeds=1), digits)


def test_replaced_entry_of_a_table_is_refused_by_the_worker(digits, monkeypatch, processes):
    monkeypatch.setitem(models.NORMS, "batch", (None, None, None))
    with pytest.raises(UserError, match="has other code than this process"):
        run_all(configs(seeds=1), digits)
