"""The package where there is no checkout: what a wheel has, and what can be done with it."""

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from bnlib.__main__ import COMMANDS
from bnlib.system import files, paths
from tests.conftest import outside


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder in which the wheel was unpacked, as pip does."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=paths.ROOT, capture_output=True, check=True)
    (wheel,) = folder.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder / "target")
    return folder / "target"


@pytest.fixture
def run(installed, tmp_path):
    """Runs Python in an empty folder, with the wheel's package."""

    def command(*arguments: str, **variables: str) -> subprocess.CompletedProcess:
        kept = {
            name: value for name, value in outside().items() if name not in ("BNLIB_CACHE", "REPORTS", "DATA_DIR", "PYTHON")
        }
        environment = kept | {"PYTHONPATH": str(installed)} | variables
        return subprocess.run([sys.executable, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True)

    return command


def test_wheel_has_what_the_checkout_has_and_the_notebooks(installed):
    there = {path.relative_to(installed).as_posix() for path in files.visible(installed / "bnlib", "*") if path.is_file()}
    sources = [path for path in files.visible(paths.PACKAGE, "*") if path.is_file() and "__pycache__" not in path.parts]
    here = {path.relative_to(paths.ROOT).as_posix() for path in sources}
    assert there == here | {f"bnlib/notebooks/{path.name}" for path in files.visible(paths.NOTEBOOKS, "*.ipynb")}


def test_help_names_every_command_that_make_has(run):
    said = run("-m", "bnlib", "--help")
    assert said.returncode == 0, said.stderr
    goals = set(re.findall(r"-m bnlib\.commands\.(\w+)", (paths.ROOT / "Makefile").read_text()))
    assert set(COMMANDS) == goals
    assert all(f"\n  {name} " in said.stdout for name in COMMANDS)


def test_command_is_the_one_of_make_in_the_folder_where_it_is_run(run, tmp_path):
    said = run("-m", "bnlib", "report", SEEDS="x")
    assert (said.returncode, said.stdout) == (1, "")
    assert said.stderr.startswith('error: SEEDS="x": ')
    assert [path.name for path in tmp_path.iterdir()] == [".cache"]


def test_processes_that_are_started_elsewhere_know_that_folder(run, tmp_path):
    tell = "from bnlib.system import paths; print(paths.report('mnist'), paths.NOTEBOOKS.is_dir(), sep='\\n')"
    code = f"{tell}; import json, subprocess, sys; subprocess.run([sys.executable, '-c', {json.dumps(tell)}], cwd='/')"
    assert run("-c", code).stdout.split("\n")[:2] == [str(tmp_path / "reports/mnist"), "True"]
    assert run("-c", code).stdout.count(str(tmp_path / "reports/mnist")) == 2


@pytest.mark.long
def test_whole_report_is_made_where_there_is_no_checkout(run, tmp_path):
    sizes = {"SEEDS": "1", "EPOCHS": "1", "LEARNING_RATES": "0.001 0.01", "RANGE_RATES": "0.001 0.01"}
    said = run("-m", "bnlib", "report", DATASET="digits", STUDIES="rates range replay", **sizes)
    assert said.returncode == 0, said.stderr
    page = (tmp_path / "reports/digits/index.html").read_text()
    assert "<h1" in page
    assert "MIT licence" in page
    assert (tmp_path / "reports/digits/data/claims.csv").is_file()


def test_unknown_command_is_refused(run):
    said = run("-m", "bnlib", "banana")
    assert said.returncode == 2
    assert "invalid choice: 'banana'" in said.stderr


def test_package_of_a_checkout_has_no_notebooks_of_its_own():
    assert not (Path(paths.PACKAGE) / "notebooks").exists()
    assert paths.PACKAGE.parent == paths.ROOT
