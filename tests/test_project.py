"""What the project's files say of one another."""

import ast
import os
import re
import shutil
import subprocess
import tomllib
from itertools import chain

import nbformat
import pytest
import yaml
from bs4 import BeautifulSoup

from bnlib.commands import notebook
from bnlib.commands.report.steps import Report
from bnlib.experiment.settings import Settings
from bnlib.experiment.studies import studies
from bnlib.system import paths
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
    known = {name for each in names for name in notebook.default_parameters(paths.NOTEBOOKS / f"{each}.ipynb")}
    other = {"learning_rates": "learning_rate", "range_rates": "learning_rates", "study_seeds": "seeds"}
    assert {other.get(name, name) for name in Settings.model_fields} <= known


def test_studies_give_their_notebooks_parameters_that_they_have():
    report = Report(Settings(dataset="digits"), "digits")
    assert len(report.studies) == len(studies(Settings(), "digits", "cpu")) == 5
    for study in report.studies:
        notebook.check_parameters(paths.NOTEBOOKS / f"{study.notebook}.ipynb", report._values(study))


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

    def test_begins_with_its_study(self, path):
        shown = [cell.source for cell in self.cells(path) if "hidden" not in cell.metadata.get("tags", [])]
        if path.stem == "report":  # several, after its answer
            assert any(source.startswith("display(results.study, ") for source in shown)
        else:
            assert shown[1].splitlines()[-1] == "study"  # after the parameters

    def test_cells_that_readers_see_are_short(self, path):
        for cell in self.cells(path):
            if {"hidden", "parameters"} & set(cell.metadata.get("tags", [])):
                continue
            lines = cell.source.splitlines()
            assert len(lines) <= 8, lines[0]

    def test_parameters_are_literals_with_comments(self, path):
        (cell,) = (c for c in self.cells(path) if "parameters" in c.metadata.get("tags", []))
        assert all(isinstance(node.value, ast.Constant) for node in ast.parse(cell.source).body)

    def test_prose_outweighs_code(self, path):
        text = " ".join(cell.source for cell in self.cells(path, "markdown"))
        apart = {"hidden", "parameters", "playground"}
        code = [cell for cell in self.cells(path) if not apart & set(cell.metadata.get("tags", []))]
        assert len(text.split()) > 8 * len(code)

    def test_prose_holds_no_typed_result(self, path):
        for cell in self.cells(path, "markdown"):
            prose = re.sub(r"\$[^$]*\$|\([^)]*\)|`[^`]*`", "", cell.source)  # not formulas, references or code
            assert not re.search(r"\d+\.\d{2,}|\d\s?%", prose), cell.source


def test_readme_names_every_module():
    text = (ROOT / "README.md").read_text()
    rows = re.findall(r"^\| `([a-z]+)` \| [^|]+ \| ((?:`\w+/?`(?:, )?)+) \|", text, flags=re.MULTILINE)
    told = {wing: set(re.findall(r"`(\w+)/?`", modules)) for wing, modules in rows}
    there = {
        wing.name: {path.stem for path in wing.iterdir() if path.suffix in ("", ".py")} - {"__init__", "__pycache__"}
        for wing in (ROOT / "bnlib").iterdir()
        if wing.is_dir() and wing.name != "__pycache__"
    }
    assert told == there


def test_readme_gives_the_answer_of_the_committed_report():
    def words(text: str) -> str:
        return " ".join(text.replace("**", "").split())

    page = BeautifulSoup((ROOT / "reports/mnist/index.html").read_text(), "html.parser")
    answer = page.find(id="the-answer").find_next_siblings("p", limit=2)
    readme = words((ROOT / "README.md").read_text())
    assert [len(words(paragraph.get_text())) > 500 for paragraph in answer] == [True, True]
    for paragraph in answer:
        assert words(paragraph.get_text()) in readme


def test_readme_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)|src=\"([^\"]+)\"", (ROOT / "README.md").read_text()):
        path = target[0] or target[1]
        if "://" not in path:
            assert (ROOT / path).exists(), path
