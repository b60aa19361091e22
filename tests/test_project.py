"""What the project's files say of one another."""

import ast
import os
import re
import shutil
import subprocess
import tomllib
from itertools import chain

import nbformat
import pandas as pd
import pytest
import yaml

from bnlib import claims, discussion, execute, findings, paths, records
from bnlib.parameters import Parameters
from bnlib.studies import studies
from tests.conftest import VARIABLES

ROOT = paths.ROOT
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DIRECT = [*PROJECT["dependencies"], *chain.from_iterable(PROJECT["optional-dependencies"].values())]
LOCK = (ROOT / "requirements.lock").read_text()
NOTEBOOKS = sorted(paths.NOTEBOOKS.glob("*.ipynb"))


def test_every_direct_dependency_is_pinned_and_locked_at_its_version():
    locked = set(re.findall(r"^([a-z0-9.-]+==[^ ;\\]+)", LOCK, flags=re.MULTILINE))
    assert all("==" in requirement for requirement in DIRECT)
    assert {requirement.lower() for requirement in DIRECT} <= locked


def test_everything_locked_has_hashes_and_no_address():
    entries = re.split(r"\n(?=[a-z0-9])", LOCK)[1:]
    assert len(entries) > 100
    assert all("--hash=sha256:" in entry for entry in entries)
    assert "://" not in LOCK
    assert "index-url" not in LOCK


def test_conda_users_get_the_locked_set():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    *conda, pip = environment["dependencies"]
    assert pip == {"pip": ["-r requirements.lock"]}
    (python,) = (entry.removeprefix("python=") for entry in conda if entry.startswith("python="))
    minimum = PROJECT["requires-python"].removeprefix(">=")
    assert tuple(map(int, python.split("."))) >= tuple(map(int, minimum.split(".")))


def test_makefile_parameters_exist_in_notebook():
    names = ("learning_rate", "learning_rate_range", "replay")
    known = {name for notebook in names for name in execute.default_parameters(paths.NOTEBOOKS / f"{notebook}.ipynb")}
    other = {"learning_rates": "learning_rate", "range_rates": "learning_rates", "study_seeds": "seeds"}
    assert {other.get(name, name) for name in Parameters.model_fields} <= known


def test_studies_give_their_notebooks_parameters_that_they_have():
    for study in studies(Parameters()):
        execute.check_parameters(paths.NOTEBOOKS / f"{study.notebook}.ipynb", study.values)


def test_makefile_help_names_every_target_people_type():
    said = subprocess.run(["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    targets = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), flags=re.MULTILINE).group(1).split()
    assert len(targets) > 10
    for target in set(targets) - {"litter"}:
        assert f"make {target} " in said
    for variable in VARIABLES:
        assert f"{variable}=" in said


@pytest.mark.parametrize("cache", [None, "elsewhere"])
def test_clean_keeps_runs_and_says_their_size_and_clean_all_removes_them(cache, tmp_path):
    shutil.copy(ROOT / "Makefile", tmp_path)
    folder = tmp_path / (cache or ".cache")
    kept = [tmp_path / "data/MNIST/raw/images", tmp_path / "reports/mnist/index.html"]
    run, executed, installed = folder / "runs/key.pt", folder / "executed/report.ipynb", tmp_path / ".venv/.complete"
    for path in (*kept, run, executed, installed, *(tmp_path / name / "module.py" for name in ("bnlib", "tests", "notebooks"))):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(2_000_000) if path == run else b"")
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "BNLIB"))}
    variables |= {"BNLIB_CACHE": cache} if cache else {}

    def clean(goal: str) -> str:
        command = ["make", "--no-print-directory", goal]
        return subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, check=True).stdout

    assert f"kept: 2.0M of runs in {cache or '.cache'}/runs" in clean("clean")
    assert [path.exists() for path in (run, executed, installed)] == [True, False, True]
    clean("clean-all")
    assert [path.exists() for path in (run, installed, *kept)] == [False, False, True, True]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
class TestNotebook:
    def cells(self, path, kind="code"):
        return [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == kind]

    def test_holds_only_outputs_that_its_tests_check(self, path):
        for cell in self.cells(path):
            checked = "nbval-check-output" in cell.metadata.get("tags", [])
            assert bool(cell.outputs) == checked
            assert (cell.execution_count is not None) == checked  # nbval wants a count beside an output

    def test_cells_that_readers_see_are_short(self, path):
        for cell in self.cells(path):
            if "hidden" in cell.metadata.get("tags", []):
                continue
            lines = cell.source.splitlines()
            assert len(lines) <= 8, lines[0]

    def test_parameters_are_literals_with_comments(self, path):
        (cell,) = (c for c in self.cells(path) if "parameters" in c.metadata.get("tags", []))
        assert all(isinstance(node.value, ast.Constant) for node in ast.parse(cell.source).body)

    def test_prose_outweighs_code(self, path):
        text = " ".join(cell.source for cell in self.cells(path, "markdown"))
        code = [cell for cell in self.cells(path) if not {"hidden", "parameters"} & set(cell.metadata.get("tags", []))]
        assert len(text.split()) > 8 * len(code)

    def test_prose_holds_no_typed_result(self, path):
        for cell in self.cells(path, "markdown"):
            prose = re.sub(r"\$[^$]*\$|\([^)]*\)|`[^`]*`", "", cell.source)  # not formulas, references or code
            assert not re.search(r"\d+\.\d{2,}|\d\s?%", prose), cell.source


def test_readme_names_every_module():
    told = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", (ROOT / "README.md").read_text(), flags=re.MULTILINE)
    named = {name for row in told for name in re.findall(r"`([a-z_]+)`", row)}
    there = {path.stem for path in (ROOT / "bnlib").glob("*.py")} - {"__init__"}
    assert there <= named | {"templates"}
    assert {name for name in named if not name.isupper()} <= there | {"templates"}


def test_readme_gives_the_answer_of_the_committed_report():
    epochs = pd.read_csv(ROOT / "reports/mnist/data/epochs.csv")
    readme = " ".join((ROOT / "README.md").read_text().split())
    controlled = records.of(epochs, records.CONTROLLED)
    assert findings.answer(controlled) in readme
    assert discussion.verdicts(claims.judge(controlled)) in readme
    assert discussion.first(discussion.own_rates(controlled)) in readme
    assert discussion.first(discussion.reach(records.of(epochs, records.RANGE))) in readme


def test_readme_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)|src=\"([^\"]+)\"", (ROOT / "README.md").read_text()):
        path = target[0] or target[1]
        if "://" not in path:
            assert (ROOT / path).exists(), path
