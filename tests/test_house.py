"""The house: which wing imports which, how large its rooms are, and what stays out of which."""

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from bnlib.system import files, paths

PACKAGE = paths.ROOT / "bnlib"
MODULES = {".".join(path.relative_to(paths.ROOT).with_suffix("").parts): path for path in files.visible(PACKAGE, "*.py")}
# What each wing may import besides itself: two columns, over one base.
BELOW = {
    "system": set(),
    "experiment": {"system"},
    "training": {"experiment", "system"},
    "runs": {"training", "experiment", "system"},
    "analysis": {"experiment", "system"},
    "page": {"analysis", "experiment", "system"},
    "commands": {"page", "runs", "analysis", "training", "experiment", "system"},
}
HEAVY = ("torch", "torchvision", "sklearn")


def imported(path: Path) -> set[str]:
    """The modules of the package that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{name}" for name in names] + [node.module]
        for name in names:
            if name in MODULES:
                found.add(name)
            elif f"{name}.__init__" in MODULES and name != "bnlib":
                found.add(f"{name}.__init__")
    return found


def wing(module: str) -> str:
    return module.split(".")[1]


def test_every_module_stands_in_a_wing():
    assert {path.name for path in PACKAGE.iterdir() if path.name[0] not in "._"} == set(BELOW)


@pytest.mark.parametrize("module", sorted(name for name in MODULES if name not in ("bnlib.__init__", "bnlib.__main__")))
def test_module_imports_only_what_stands_below_its_wing(module):
    own = wing(module)
    for other in imported(MODULES[module]):
        assert wing(other) == own or wing(other) in BELOW[own], f"{module} imports {other}"


def test_no_modules_import_one_another():
    # A package's __init__ that gathers its own modules is no circle: they do not import it.
    graph = {name: imported(path) for name, path in MODULES.items()}
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"a circle: {' -> '.join(error.args[1])}")


def test_rooms_are_small():
    for folder in {path.parent for path in MODULES.values()}:
        inside = [p for p in folder.iterdir() if p.suffix in ("", ".py") and p.name[0] not in "._"]
        assert len(inside) <= 7, f"{folder}: {sorted(path.name for path in inside)}"
    for path in MODULES.values():
        assert len(path.read_text().splitlines()) <= 250, path


@pytest.mark.slow
@pytest.mark.parametrize("wing", ["experiment", "analysis", "page"])
def test_wing_brings_no_torch(wing):
    names = sorted(name.removesuffix(".__init__") for name in MODULES if name.startswith(f"bnlib.{wing}"))
    assert brought(*names) == set()


# What is done where there is nothing to train.
LIGHT = ("runs.pool", "runs.provenance", "runs.environment", "training.data", "commands.report.steps", "commands.report.pages")


@pytest.mark.slow
def test_what_a_report_does_that_trains_nothing_brings_no_torch():
    assert brought(*(f"bnlib.{name}" for name in LIGHT)) == set()


def test_report_command_begins_without_tables_and_figures():
    assert brought("bnlib.commands.report.__main__", of=(*HEAVY, "pandas", "scipy", "matplotlib", "nbformat")) == set()


@pytest.mark.slow
def test_heavy_packages_are_seen_where_they_are():
    assert brought("bnlib.training.loop", of=(*HEAVY, "pandas")) == {"torch", "pandas"}


def brought(*modules: str, of: tuple[str, ...] = HEAVY) -> set[str]:
    """Which of some packages a fresh interpreter has loaded after importing modules."""
    code = f"import importlib, sys; [importlib.import_module(name) for name in {modules!r}]; "
    code += f"print(*({set(of)!r} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], cwd=paths.ROOT, capture_output=True, text=True, check=True)
    return set(run.stdout.split())
