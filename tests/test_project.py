"""What the project's files say of one another."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from itertools import chain
from pathlib import Path

import nbformat
import pytest
import yaml
from bs4 import BeautifulSoup
from filelock import FileLock

import bnlib
from bnlib.analysis import contrasts
from bnlib.commands import notebook
from bnlib.commands.report.steps import Report
from bnlib.experiment import settings
from bnlib.experiment.settings import ALWAYS, LATER, Settings
from bnlib.experiment.studies import by_page
from bnlib.page import prose
from bnlib.page.html.page import MAGICS
from bnlib.system import files, litter, paths
from tests.conftest import VARIABLES, outside

ROOT = paths.ROOT
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DIRECT = [*PROJECT["dependencies"], *chain.from_iterable(PROJECT["optional-dependencies"].values())]
LOCK = (ROOT / "requirements.lock").read_text()
NOTEBOOKS = files.visible(paths.NOTEBOOKS, "*.ipynb")


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


def test_conda_users_get_the_cpu_s_torch_and_else_what_pyproject_asks_for():
    *conda, pip = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    versions = dict(entry.split("=") for entry in conda if "=" in entry)
    assert pip == {"pip": ["--editable ."]}
    pinned = dict(requirement.split("==") for requirement in DIRECT)
    assert (versions["pytorch-cpu"], versions["torchvision"]) == (pinned["torch"], pinned["torchvision"])
    minimum = PROJECT["requires-python"].removeprefix(">=")
    assert tuple(map(int, versions["python"].split("."))) >= tuple(map(int, minimum.split(".")))


def test_makefile_parameters_exist_in_notebook():
    names = ("learning_rate", "learning_rate_range", "replay")
    which = {"studies"}  # which notebooks there are, not what they are given
    known = {name for each in names for name in notebook.default_parameters(paths.NOTEBOOKS / f"{each}.ipynb")}
    other = {"learning_rates": "learning_rate", "range_rates": "learning_rates", "study_seeds": "seeds"}
    assert {other.get(name, name) for name in set(Settings.model_fields) - which} <= known


def test_studies_give_their_notebooks_parameters_that_they_have():
    report = Report(Settings(dataset="digits", studies=(*ALWAYS, *LATER)), "digits")
    pages = by_page(report.studies)
    assert len(pages) == len(report.settings.learning_rates) + len(ALWAYS) - 1 + len(LATER)
    for its in pages:
        notebook.check_parameters(paths.NOTEBOOKS / f"{its[0].notebook}.ipynb", report._values(its))


@pytest.mark.parametrize("name", LATER)
def test_studies_of_why_are_as_large_on_the_digits_as_their_notebooks_make_them_by_hand(name):
    report = Report(Settings(dataset="digits", studies=(*ALWAYS, *LATER)), "digits")
    (its,) = (page for page in by_page(report.studies) if page[0].notebook == name)
    by_hand = notebook.default_parameters(paths.NOTEBOOKS / f"{name}.ipynb")
    given = {key: value for key, value in report._values(its).items() if key not in ("long_epochs", "device")}
    assert given == {key: by_hand[key] for key in given}


def run(*command: str, root: Path = ROOT, **variables: str) -> subprocess.CompletedProcess:
    """Runs a command in a folder as a person would, with these environment variables besides."""
    return subprocess.run(command, cwd=root, env=plain() | variables, capture_output=True, text=True)


def plain() -> dict[str, str]:
    """The environment variables of a shell in which nothing is set for this project."""
    return {name: value for name, value in outside().items() if not name.startswith(("BNLIB", "DATA_DIR", "REPORTS", "PYTHON"))}


def helped() -> str:
    return run("make", "-s", "help").stdout


def test_makefile_help_names_every_target_people_type():
    targets = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), flags=re.MULTILINE).group(1).split()
    assert len(targets) > 10
    for target in set(targets) - {"ready"}:
        assert f"make {target} " in helped()


def test_makefile_help_names_every_variable_with_its_default_in_80_columns():
    told = {name: value.strip('"') for name, value in re.findall(r'([A-Z_]{4,})=("[^"]*"|[^\s,]+)', helped())}
    assert told.keys() > {*VARIABLES, "BNLIB_CACHE", "PYTHON", "KEEP", "VERIFY", "STRICT"}
    assert settings.read({name: told[name] for name in (field.upper() for field in Settings.model_fields)}) == Settings()
    assert (told["DATA_DIR"], told["REPORTS"], told["BNLIB_CACHE"]) == ("data", "reports", ".cache")
    assert max(map(len, helped().splitlines())) <= 80


# Stands for a Python: it says what it was given.
PROBE = '#!/bin/sh\nenv > "$PROBED"\necho "$@" >> "$PROBED"\npwd >> "$PROBED"\n'


@pytest.fixture
def probed(tmp_path):
    """Makes a copy of the Makefile in a folder of an awkward name and a goal of it; returns what the interpreter was given."""
    root, python = tmp_path / 'it\'s a: "place"', tmp_path / 'my "env"/bin/python'
    for folder in (root, python.parent):
        folder.mkdir(parents=True)
    shutil.copy(ROOT / "Makefile", root)
    python.write_text(PROBE)
    python.chmod(0o755)

    def make(*goals_and_values: str, **variables: str) -> tuple[dict[str, str], list[str]]:
        given = ("make", "-C", str(root), f"PYTHON={python}", *goals_and_values)
        result = run(*given, root=tmp_path, PROBED=str(tmp_path / "said"), **variables)
        assert result.returncode == 0, result.stderr
        *said, command, where = (tmp_path / "said").read_text().splitlines()
        assert where == str(root)
        return dict(line.split("=", 1) for line in said if "=" in line), command.split()

    return make


def test_python_is_run_in_the_checkout_wherever_that_and_python_lie(probed):
    variables, command = probed("report")
    assert command == ["-m", "bnlib.commands.report"]
    assert str(ROOT) not in variables.get("PYTHONPATH", "")


def test_what_is_not_given_stays_unset_and_what_is_given_arrives(probed):
    variables, _ = probed("report")
    assert variables.keys() & {*VARIABLES, "BNLIB_CACHE", "KEEP"} == set()
    variables, _ = probed("report", "LEARNING_RATES=0.1 0.2", "REPORTS=/my \"own\" 'place'", SEEDS="5", DATA_DIR="/a $b 'c'")
    given = {name: variables.get(name) for name in ("LEARNING_RATES", "REPORTS", "SEEDS", "DATA_DIR")}
    places = {"REPORTS": "/my \"own\" 'place'", "DATA_DIR": "/a $b 'c'"}
    assert given == {"LEARNING_RATES": "0.1 0.2", "SEEDS": "5"} | places


def test_variables_of_another_python_do_not_reach_ours(probed):
    names = ("PYTHONHOME", "PYTHONSAFEPATH", "PYTHONSTARTUP", "PYTHONINSPECT", "PYTHONOPTIMIZE")
    variables, _ = probed("report", **dict.fromkeys(names, "1"))
    assert variables.keys() & set(names) == set()


def test_targets_of_several_goals_are_made_in_turn(probed):
    said = run("make", "-n", "-j8", "report", "verify", f"PYTHON={sys.executable}").stdout
    assert said.index("bnlib.commands.report") < said.index("bnlib.commands.verify")
    assert re.search(r"^\.NOTPARALLEL:$", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)


@pytest.mark.parametrize("user", ["0", "1000"])
def test_lab_is_the_project_opened_on_the_notebooks_for_root_too(user, probed, tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/id").write_text(f"#!/bin/sh\necho {user}\n")
    (tmp_path / "bin/id").chmod(0o755)
    _, command = probed("lab", PATH=f"{tmp_path}/bin:{os.environ['PATH']}")
    assert command[:2] == ["-m", "jupyterlab"]
    assert "--ServerApp.root_dir=." in command
    assert "--LabApp.default_url=/lab/tree/notebooks" in command
    assert ("--allow-root" in command) == (user == "0")


@pytest.mark.parametrize("python", ["", "/nowhere/python", "/bin/cat", "a b", "OLD"])
def test_python_that_will_not_do_is_one_line_that_says_what_it_should_be(python, tmp_path):
    if python == "OLD":  # or one without packages
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "env"], check=True)
        python = str(tmp_path / "env/bin/python")
    result = run("make", "report", f"PYTHON={python}")
    assert result.returncode != 0
    first, *_ = result.stderr.splitlines()
    assert first.startswith(f'error: PYTHON="{python}": give make the PYTHON of an environment with Python 3.11')
    assert [line for line in result.stderr.splitlines()[1:] if not line.startswith("make")] == []


def test_exported_python_and_pythonpath_are_another_tool_s(tmp_path):
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / ".venv/bin").mkdir(parents=True)
    for name in ("requirements.lock", "pyproject.toml", ".venv/.complete", ".venv/bin/python"):
        (tmp_path / name).write_text(PROBE)
        (tmp_path / name).chmod(0o755)
    result = run("make", "report", root=tmp_path, PROBED=str(tmp_path / "said"), PYTHON="/usr/bin/python2", PYTHONPATH="/other")
    assert result.returncode == 0, result.stderr
    said = (tmp_path / "said").read_text()
    assert "-m bnlib.commands.report" in said
    assert "/other" not in said


STUB = """
[build-system]
requires = []
build-backend = "stub"
backend-path = ["."]
[project]
name = "bnlib"
version = "1"
"""
BACKEND = """
import zipfile

def build_editable(folder, config_settings=None, metadata_directory=None):
    with zipfile.ZipFile(folder + "/bnlib-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("bnlib-1.dist-info/RECORD", "")
        for name in ("torch", "papermill"):  # as packages that are installed beside it
            wheel.writestr(name + ".egg-info/PKG-INFO", "Metadata-Version: 2.1\\nName: " + name + "\\nVersion: 1")
        kind = ("Wheel-Version: 1.0", "Generator: stub", "Root-Is-Purelib: true", "Tag: py3-none-any")
        wheel.writestr("bnlib-1.dist-info/WHEEL", "\\n".join(kind))
        wheel.writestr("bnlib-1.dist-info/METADATA", "Metadata-Version: 2.1\\nName: bnlib\\nVersion: 1")
    return "bnlib-1-py3-none-any.whl"
"""


@pytest.fixture
def by_uv(tmp_path):
    """Has make set an environment up by a program that stands for uv; returns what that was told to do, command by command."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    files.write(tmp_path / ".venv/bin/python", "#!/bin/sh\n")
    for name in ("requirements.lock", "pyproject.toml"):
        files.write(tmp_path / name, "")
    (tmp_path / "uv").write_text('#!/bin/sh\necho "$@" >> said\ncase "$*" in *nowhere*) exit 1; esac\n')
    for name in ("uv", ".venv/bin/python"):
        (tmp_path / name).chmod(0o755)

    def set_up(**variables: str) -> tuple[subprocess.CompletedProcess, list[str]]:
        (tmp_path / ".venv/.complete").unlink(missing_ok=True)
        result = run("make", ".venv/.complete", root=tmp_path, PATH=f"{tmp_path}:{os.environ['PATH']}", **variables)
        said = (tmp_path / "said").read_text() if (tmp_path / "said").exists() else ""
        (tmp_path / "said").unlink(missing_ok=True)
        return result, said.splitlines()

    return set_up


def test_where_uv_is_there_it_takes_the_torch_of_this_machine_at_the_lock_s_versions(by_uv):
    for variables, backend in (({}, "auto"), ({"TORCH_BACKEND": "cpu"}, "cpu")):
        result, (environment, install) = by_uv(**variables)
        assert result.returncode == 0, result.stderr
        assert environment.startswith("venv ")
        assert f"--torch-backend {backend} " in install
        assert "--constraint requirements.lock" in install
        assert f"TORCH_BACKEND={backend}" in result.stdout  # and how much that is, before it is fetched


def test_uv_can_take_the_lock_itself_with_its_hashes(by_uv):
    _, (_, packages, own) = by_uv(TORCH_BACKEND="lock")
    assert "--require-hashes -r requirements.lock" in packages
    assert "--no-deps" in own


def test_torch_that_uv_cannot_get_is_said_with_what_to_do(by_uv):
    result, _ = by_uv(TORCH_BACKEND="nowhere")
    assert result.returncode != 0
    assert result.stderr.startswith("error: no such torch is to be had; TORCH_BACKEND=lock ")


@pytest.mark.long
def test_environment_is_set_up_whatever_a_person_has_pip_do_elsewhere(tmp_path):
    root, config = tmp_path / "it's a place", tmp_path / "pip.conf"  # venv itself refuses a colon
    root.mkdir()
    shutil.copy(ROOT / "Makefile", root)
    (root / "requirements.lock").write_text("")
    (root / "pyproject.toml").write_text(STUB)
    (root / "stub.py").write_text(BACKEND)
    config.write_text("[global]\nindex-url = https://kept.example/simple\n[install]\nuser = true\n")
    elsewhere = {"UV": ""} | {f"PIP_{name}": str(tmp_path / "elsewhere") for name in ("TARGET", "PREFIX", "ROOT", "CONSTRAINT")}
    others = {"PIP_USER": "1", "PIP_REQUIRE_VIRTUALENV": "1", "PIP_CONFIG_FILE": str(config), "PYTHONHOME": "/nowhere"}
    result = run("make", ".venv/.complete", root=root, **elsewhere, **others)
    assert result.returncode == 0, result.stderr
    assert (root / ".venv/.complete").exists()
    assert not (tmp_path / "elsewhere").exists()
    assert "kept.example" in run(str(root / ".venv/bin/pip"), "config", "list", PIP_CONFIG_FILE=str(config)).stdout
    # What cannot be overruled is seen at the end, and not by the first command.
    config.write_text(f"[install]\ntarget = {tmp_path / 'elsewhere'}\n")
    shutil.rmtree(root / ".venv")
    result = run("make", ".venv/.complete", root=root, UV="", PIP_CONFIG_FILE=str(config))
    assert "error: .venv is not whole: " in result.stderr
    assert not (root / ".venv/.complete").exists()


@pytest.fixture
def littered(tmp_path):
    """A checkout, in a folder of an awkward name, in which everything was made that can be."""
    root = tmp_path / "it's a: place"
    shutil.copytree(ROOT / "bnlib/system", root / "bnlib/system", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Makefile", "bnlib/__init__.py"):
        shutil.copy(ROOT / name, root / name)
    made = [".venv/.complete", "data/MNIST/raw/images", "reports/mnist/index.html", ".pytest_cache/x", ".ruff_cache/x"]
    for name in [*made, *(f"{folder}/__pycache__/module.pyc" for folder in ("bnlib", "tests", "notebooks"))]:
        files.write(root / name, "")
    return root


def put_cache(folder: Path) -> tuple[Path, Path]:
    """Makes a run and an executed notebook there."""
    run, executed = folder / "runs/key.pt", folder / "executed/report.ipynb"
    files.write(run, bytes(2_000_000))
    files.write(executed, "")
    return run, executed


@pytest.mark.parametrize("cache", [None, "else where", 'it\'s "there"'])
def test_clean_keeps_runs_and_says_their_size_and_clean_all_removes_them(cache, littered):
    made, executed = put_cache(littered / (cache or ".cache"))
    kept = [littered / "data/MNIST/raw/images", littered / "reports/mnist/index.html"]
    variables = {"BNLIB_CACHE": cache} if cache else {}
    result = run("make", "clean", root=littered, **variables)
    assert result.stdout == f"kept: 2 MB of runs in {made.parent}; make clean-all removes them too\n", result.stderr
    installed = littered / ".venv/.complete"
    assert [path.exists() for path in (made, executed, installed, *kept)] == [True, False, True, True, True]
    assert [path.name for path in littered.rglob("*cache*") if path.name not in (".cache", "put_cache")] == []
    assert run("make", "clean-all", root=littered, **variables).returncode == 0
    assert [path.exists() for path in (made, installed, *kept)] == [False, False, True, True]


def test_clean_all_leaves_a_store_that_is_not_the_one_meant(littered):
    usual, _ = put_cache(littered / ".cache")
    meant, _ = put_cache(littered / "other")
    assert run("make", "clean-all", root=littered, BNLIB_CACHE="other").returncode == 0
    assert (usual.exists(), meant.exists()) == (True, False)


def test_notebook_that_cannot_be_written_stays_whole(tmp_path, monkeypatch):
    notebook = tmp_path / "mine.ipynb"
    shown = {"cell_type": "code", "metadata": {}, "outputs": [1], "execution_count": 3}
    notebook.write_text(json.dumps({"cells": [shown]}), encoding="utf-8")
    before = notebook.read_bytes()

    def full(path, *_, **__):
        path.write_bytes(b"{")
        raise OSError(28, "No space left on device", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)
        with pytest.raises(OSError, match="No space left"):
            litter.strip(notebook)
    assert (notebook.read_bytes(), [path.name for path in tmp_path.iterdir()]) == (before, ["mine.ipynb"])
    litter.strip(notebook)
    assert '"outputs": []' in notebook.read_text(encoding="utf-8")


@pytest.mark.parametrize("linked", [[".cache"], [".cache/runs", ".cache/executed"]], ids=str)
def test_clean_follows_a_link_to_another_disk(linked, littered, tmp_path):
    made, executed = put_cache(tmp_path / "disk")
    for name in linked:
        (littered / name).parent.mkdir(exist_ok=True)
        (littered / name).symlink_to(tmp_path / "disk" / name.removeprefix(".cache").strip("/"))
    assert run("make", "clean", root=littered).returncode == 0
    assert [path.exists() for path in (made, executed)] == [True, False]
    assert run("make", "clean-all", root=littered).returncode == 0
    assert not made.exists()


@pytest.mark.parametrize("goal", ["clean", "clean-all"])
def test_clean_leaves_all_as_it_is_while_a_report_is_made(goal, littered):
    made, executed = put_cache(littered / ".cache")
    with FileLock(littered / ".cache/report.lock"):
        result = run("make", goal, root=littered)
    assert result.returncode != 0
    assert result.stderr.splitlines()[0] == "error: another command is at work in this checkout; wait for it, or end it"
    assert made.exists()
    assert executed.exists()
    assert (littered / ".venv/.complete").exists()
    assert run("make", goal, root=littered).returncode == 0
    assert not executed.exists()


def test_git_ignores_what_is_made_links_to_other_disks_included(tmp_path):
    shutil.copy(ROOT / ".gitignore", tmp_path)
    (tmp_path / "disk").mkdir()
    for name in (".venv", ".cache", "data"):
        (tmp_path / name).symlink_to(tmp_path / "disk")
    for name in (
        "reports/digits/index.html",
        "reports/mnist/index.html",
        "bnlib/._x.py",
        "notebooks/.#x.ipynb",
        "bnlib/data/x.py",
    ):
        files.write(tmp_path / name, "")
    run("git", "init", "-q", root=tmp_path)
    said = run("git", "status", "--short", "--untracked-files=all", root=tmp_path).stdout.split("\n")
    assert sorted(filter(None, said)) == ["?? .gitignore", "?? bnlib/data/x.py", "?? reports/mnist/index.html"]


HIDDEN = ("._x", ".#x", ".ipynb_checkpoints/x-checkpoint")


@pytest.mark.long
def test_hidden_files_of_editors_and_file_servers_are_neither_tests_nor_checked(tmp_path):
    root = tmp_path / ".work" / "checkout"  # a hidden folder above counts for nothing
    for name in ("pyproject.toml", "notebooks", "tests/__init__.py", "tests/conftest.py", "bnlib"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        copy(ROOT / name, root / name)
    files.write(root / "tests/test_one.py", "def test_one():\n    pass\n")
    before = run(sys.executable, "-m", "pytest", "--collect-only", root=root).stdout
    assert "tests/test_one.py::test_one" in before
    assert "notebooks/report.ipynb" in before
    for hidden in HIDDEN:
        for name in (f"bnlib/{hidden}.py", f"tests/{hidden.replace('x', 'test_x')}.py", f"notebooks/{hidden}.ipynb"):
            files.write(root / name, b"\0\5\x16\7 no text")
    (root / "bnlib/.#y.py").symlink_to("nobody@nowhere")
    (root / "notebooks/.#y.ipynb").symlink_to("nobody@nowhere")
    after = run(sys.executable, "-m", "pytest", "--collect-only", root=root)
    assert re.findall("^.*::.*$", after.stdout, flags=re.MULTILINE) == re.findall("^.*::.*$", before, flags=re.MULTILINE)
    assert after.returncode == 0, after.stdout
    for goal in (["check"], ["format", "--check"]):
        result = run(sys.executable, "-m", "ruff", *goal, ".", root=root)
        assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.long
def test_tests_leave_nothing_and_need_not_write_into_the_checkout(tmp_path):
    for name in ("pyproject.toml", "tests/__init__.py", "tests/conftest.py", "bnlib"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        (tmp_path / "root" / name).parent.mkdir(parents=True, exist_ok=True)
        copy(ROOT / name, tmp_path / "root" / name)
    test = "from hypothesis import given, strategies\n@given(strategies.integers())\ndef test_one(n):\n    assert n < 3\n"
    files.write(tmp_path / "root/tests/test_one.py", test)
    (tmp_path / "temporary").mkdir()
    mount = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && cd "$0" && exec "$1" -m pytest tests/test_one.py'
    command = ["unshare", "--mount", "sh", "-c", mount, str(tmp_path / "root"), sys.executable]
    result = run(*command, TMPDIR=str(tmp_path / "temporary"))
    if "ermitted" in result.stderr or "denied" in result.stderr:
        pytest.skip("only root can mount a file system")
    assert "1 failed" in result.stdout, result.stdout + result.stderr
    assert "INTERNALERROR" not in result.stdout + result.stderr
    assert "Warning" not in result.stdout
    left = [path for path in (tmp_path / "temporary").glob("bnlib*/**/*") if path.is_file()]
    assert left == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
class TestNotebook:
    def cells(self, path, kind="code"):
        return [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == kind]

    def test_holds_only_outputs_that_its_tests_check(self, path):
        for cell in self.cells(path):
            checked = "nbval-check-output" in cell.metadata.get("tags", [])
            assert bool(cell.outputs) == checked
            assert (cell.execution_count is not None) == checked  # nbval wants a count beside an output

    def test_is_as_jupyter_writes_it(self, path):
        # Else saving it and taking its outputs out again would leave it changed.
        assert nbformat.writes(nbformat.read(path, 4)) + "\n" == path.read_text(encoding="utf-8")

    def test_article_and_evidence_show_no_code(self, path):
        if path.stem in ("report", "evidence"):
            code = [cell for cell in self.cells(path) if cell.cell_type == "code" and not cell.source.startswith("%%")]
            assert all({"hidden", "hidden-code"} & set(cell.metadata.get("tags", [])) for cell in code)

    def test_shows_its_study_first_and_several_last(self, path):
        shown = [cell.source for cell in self.cells(path) if "hidden" not in cell.metadata.get("tags", [])]
        if path.stem == "evidence":  # all of the report's
            assert any("tables.asked(" in source for source in shown)
        elif path.stem != "report":  # which begins with its answer
            asked = shown[1].splitlines()[-1]  # after the parameters
            assert asked == "study" or (asked.startswith("asked = studies.") and "display(*asked)" in shown[-3:])

    def test_cells_that_readers_see_are_short(self, path):
        for cell in self.cells(path):
            if {"hidden", "parameters"} & set(cell.metadata.get("tags", [])):
                continue
            lines = cell.source.splitlines()
            assert len(lines) <= 8 or lines[0].startswith(MAGICS), lines[0]

    def test_parameters_are_literals_with_comments(self, path):
        (cell,) = (c for c in self.cells(path) if "parameters" in c.metadata.get("tags", []))
        assert all(isinstance(node.value, ast.Constant) for node in ast.parse(cell.source).body)

    def test_prose_outweighs_code(self, path):
        apart = {"hidden", "parameters", "playground"}
        seen = [cell for cell in self.cells(path) if not apart & set(cell.metadata.get("tags", []))]
        said, code = ([c for c in seen if c.source.startswith(MAGICS) == says] for says in (True, False))
        text = " ".join(cell.source for cell in (*self.cells(path, "markdown"), *said))
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
        wing.name: {path.stem for path in wing.iterdir() if path.suffix in ("", ".py") and path.name[0] not in "._"}
        for wing in (ROOT / "bnlib").iterdir()
        if wing.is_dir() and wing.name[0] not in "._"
    }
    assert told == there


def test_readme_and_the_first_page_give_the_answer_of_the_committed_records():
    found = contrasts.load(ROOT / "reports/mnist/data")
    readme = (ROOT / "README.md").read_text()
    assert prose.said("answer", base="reports/mnist/index.html", found=found) in readme
    assert prose.said("terms", found=found) in readme
    page = BeautifulSoup((ROOT / "reports/mnist/index.html").read_text(), "html.parser")
    shown = " ".join(page.main.get_text().split())
    told = re.sub(r"<[^>]+>|[*]|^- ", "", prose.said("answer", base="", found=found), flags=re.MULTILINE)
    lines = [re.sub(r"\[(.+?)\]\(.*?\)", r"\1", " ".join(line.split())) for line in told.splitlines() if line]
    assert len(lines) > 5
    for line in lines:
        assert line in shown


def test_readme_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)|src=\"([^\"]+)\"", (ROOT / "README.md").read_text()):
        path = target[0] or target[1]
        if "://" not in path:
            assert (ROOT / path).exists(), path


def test_what_cites_the_project_agrees_with_what_installs_it():
    cff, zenodo = (
        yaml.safe_load((ROOT / "CITATION.cff").read_text()),
        json.loads((ROOT / ".zenodo.json").read_text()),
    )
    assert cff["version"] == zenodo["version"] == PROJECT["version"] == bnlib.__version__
    assert cff["license"] == zenodo["license"] == PROJECT["license"]
    assert cff["authors"] == zenodo["creators"] == PROJECT["authors"]
    assert cff["title"] == zenodo["title"]


def test_workflows_test_every_python_that_is_promised_and_run_goals_that_there_are():
    workflows = {path.stem: yaml.safe_load(path.read_text()) for path in (ROOT / ".github/workflows").glob("*.yml")}
    pythons = workflows["tests"]["jobs"]["tests"]["strategy"]["matrix"]["python"]
    assert pythons[0] == PROJECT["requires-python"].removeprefix(">=")
    assert len(pythons) == 4
    steps = [step.get("run", "") for flow in workflows.values() for job in flow["jobs"].values() for step in job["steps"]]
    goals = {goal for step in steps for goal in re.findall(r"^make ([a-z-]+)$", step)}
    assert goals == {"lint", "test", "test-long"}
    assert all(f"make {goal} " in helped() for goal in goals)
