"""`make report` end to end on the digits: the real notebooks, kernels, records and pages."""

import contextlib
import json
import re
import shutil
import subprocess

import pandas as pd
import pytest
from bs4 import BeautifulSoup

from bnlib import files, parameters, paths, pipeline, records
from bnlib.pipeline import Pipeline
from tests.conftest import SMALL, contents, make


@pytest.fixture
def copied(made, tmp_path):
    """A copy of the finished report's folder under its own name, for tests that change it."""
    folder, _ = made
    saved = tmp_path / "saved"
    shutil.copytree(folder, saved)
    yield folder
    shutil.rmtree(folder)
    shutil.copytree(saved, folder)


def test_report_has_its_pages_data_and_figures(made):
    folder, result = made
    report = folder / "reports/digits"
    assert sorted(contents(report)) == [
        "answer-1.svg",
        "answer-2.svg",
        "data/claims.csv",
        "data/epochs.csv",
        "data/provenance.json",
        "data/runs.csv",
        "data/timing.csv",
        "index.html",
        "learning-rate-0.001.html",
        "learning-rate-1000.html",
        "learning-rate-range.html",
        "replay.html",
    ]
    assert re.search(r"reports/digits/index.html was made in \d+ s", result.stdout)


def test_rate_written_twice_is_run_once(made):
    epochs = records.of(pd.read_csv(made[0] / "reports/digits/data/epochs.csv"), records.CONTROLLED)
    assert sorted(epochs.learning_rate.unique()) == [0.001, 1000]
    assert not epochs.duplicated(["norm", "learning_rate", "seed", "epoch"]).any()
    assert (epochs.groupby(["norm", "learning_rate"]).seed.nunique() == 2).all()


def test_terminal_shows_how_far_the_runs_are_and_nothing_else(made):
    said = made[1].stderr.splitlines()
    assert re.search(r"\d+/\d+ epochs, \S+ left, rate 1000 \(2/2\), run \d+/\d+, epoch \d/2", "\n".join(said))
    assert [line for line in said if not re.match(r"\d+% \|", line)] == []


def test_links_between_pages_and_data_lead_somewhere(made):
    report = made[0] / "reports/digits"
    for page in report.glob("*.html"):
        for link in BeautifulSoup(page.read_text(), "html.parser").find_all("a"):
            target = link["href"].partition("#")[0]
            assert "://" in target or (report / target).exists(), f"{page.name}: {target}"


def test_page_says_which_data_made_it(made):
    for page in (made[0] / "reports/digits").glob("*.html"):
        assert "This is not MNIST." in BeautifulSoup(page.read_text(), "html.parser").find("blockquote").get_text()


def test_numbers_on_the_page_come_from_the_records(made):
    report = made[0] / "reports/digits"
    epochs = records.of(pd.read_csv(report / "data/epochs.csv"), records.CONTROLLED)
    chosen = epochs[(epochs.learning_rate == 0.001) & (epochs.norm == "batch") & (epochs.epoch == 2)]
    mean = f"{100 * chosen.test_accuracy.mean():.2f}"
    table = BeautifulSoup((report / "index.html").read_text(), "html.parser").find(id="tab-rate-0.001")
    assert mean in table.find_all("tr")[-1].find_all("td")[1].get_text()


def test_nothing_of_this_machine_s_folders_is_on_the_pages(made):
    for page in (made[0] / "reports/digits").rglob("*"):
        if page.is_file():
            text = page.read_text()
            assert str(made[0]) not in text
            assert str(paths.ROOT) not in text


def test_second_report_does_nothing_and_says_so(made):
    before = contents(made[0])
    result = make(made[0])
    assert result.returncode == 0
    assert result.stdout.strip().endswith("reports/digits/index.html is up to date: nothing to do")
    assert result.stderr == ""
    assert contents(made[0]) == before


TRAINED = {  # what a report after another one trains: rates 0.001 and 1000 with two seeds and two epochs are there
    "another rate": (
        {"LEARNING_RATES": "0.001 0.002"},
        "learning rate 0.002",
        "trained 8 epochs in 4 runs, took 0 epochs from the store",
    ),
    "more seeds": (
        {"LEARNING_RATES": "0.001", "SEEDS": "4"},
        "learning rate 0.001",
        "trained 8 epochs in 4 runs, took 8 epochs from the store",
    ),
    "more epochs": (
        {"LEARNING_RATES": "0.001", "EPOCHS": "3"},
        "learning rate 0.001 and replay",
        "trained 16 epochs in 6 runs, took 14 epochs from the store",  # the chain goes on from the runs at its first rate
    ),
}


@pytest.mark.long
@pytest.mark.parametrize(("variables", "rates", "said"), TRAINED.values(), ids=TRAINED)
def test_only_what_is_missing_is_trained(variables, rates, said, copied):
    result = make(copied, **variables)
    assert result.returncode == 0, result.stderr
    assert f"Runs on digits, {rates}: " in result.stdout
    assert f"Runs: {said}" in result.stdout
    names = variables["LEARNING_RATES"].split()
    pages = {path.name for path in (copied / "reports/digits").glob("*.html")}
    assert pages == {"index.html", "replay.html", "learning-rate-range.html", *(f"learning-rate-{name}.html" for name in names)}


@pytest.mark.long
def test_edited_plots_train_nothing_and_edited_training_all(made, tmp_path):
    root = tmp_path / "checkout"
    for name in ("bnlib", "notebooks"):
        shutil.copytree(paths.ROOT / name, root / name)
    for name in ("Makefile", "requirements.lock"):
        shutil.copy(paths.ROOT / name, root / name)
    shutil.copytree(made[0] / "cache/runs", tmp_path / "cache/runs")
    for path, before, after, said in (
        ("bnlib/plots.py", "", "EDITED = True\n", "trained 0 epochs in 0 runs, took 24 epochs from the store"),
        (
            "notebooks/learning_rate.ipynb",
            "## The runs",
            "## All the runs",
            "trained 0 epochs in 0 runs, took 4 epochs from the store",
        ),
        ("bnlib/templates/page/style.css", "", "\n/* edited */\n", None),
        ("bnlib/training.py", "", "EDITED = True\n", "trained 16 epochs in 6 runs, took 8 epochs from the store"),
    ):
        text = (root / path).read_text()
        assert before in text
        (root / path).write_text(text.replace(before, after, 1) if before else text + after)
        result = make(tmp_path, root=root, LEARNING_RATES="0.001", SEEDS="1")
        assert result.returncode == 0, result.stderr
        assert "was made in" in result.stdout
        assert f"Runs: {said}" in result.stdout if said else "Runs" not in result.stdout


@contextlib.contextmanager
def disk(folder, megabytes: int):
    """A file system of its own, so large, at `folder`; yields what mounts it again with other options."""

    def mount(*options: str) -> None:
        command = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(folder)]
        if subprocess.run(command, capture_output=True).returncode:
            pytest.skip("only root can mount a file system")

    folder.mkdir(parents=True)
    mount(f"size={megabytes}m")
    try:
        yield lambda *options: mount("remount", *options)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.long
def test_report_on_a_full_disk_says_so_in_one_line_and_goes_on_to_the_same_bytes(made, tmp_path):
    with disk(tmp_path / "cache", megabytes=12) as mount:  # two runs of 5 MB
        full = make(tmp_path)
        assert full.returncode != 0
        assert not (tmp_path / "reports/digits/index.html").exists()
        (error,) = [line for line in full.stderr.splitlines() if line.startswith("error: ")]
        assert re.search(r"No space left on device; finished epochs are kept: mend that and run again$", error)
        kept = len(list((tmp_path / "cache/runs").glob("*.pt")))
        assert 0 < kept <= 2
        mount("size=500m")
        freed = make(tmp_path)
        assert freed.returncode == 0, freed.stderr
        same = {name: sha256 for name, sha256 in contents(made[0] / "reports").items() if not name.endswith("timing.csv")}
        assert same.items() <= contents(tmp_path / "reports").items()


@pytest.mark.long
def test_store_that_cannot_be_written_is_said_before_any_run(tmp_path):
    with disk(tmp_path / "cache/runs", megabytes=12) as mount:
        mount("ro")
        result = make(tmp_path)
        assert result.returncode != 0
        assert re.match(r"error: .*/cache/runs.*: Read-only file system; .*: mend that and run again\n", result.stderr)
        assert "Runs on" not in result.stdout


@pytest.mark.long
def test_report_from_an_empty_store_has_the_same_bytes(made, tmp_path):
    assert make(tmp_path, WORKERS="1").returncode == 0
    for folder in ("reports/digits", "cache/executed/digits"):
        anew, before = (contents(root / folder) for root in (tmp_path, made[0]))
        same = {name for name in before if not name.endswith(("timing.csv", ".json")) or name.endswith("provenance.json")}
        assert {name: anew[name] for name in same} == {name: before[name] for name in same}
        assert anew.keys() == before.keys()


ALL = ["studies", "report", "pages"]
EDITED = {  # what an edited file makes run again
    "plots": ALL,
    "execute": ALL,
    "requirements.lock": ALL,
    "test.csv": ALL,  # the original's figures
    "stamps": ALL,  # its fingerprints are on the page
    "learning_rate.ipynb": ["studies"],
    "report.ipynb": ["report", "pages"],
    "render": ["pages"],
    "pipeline": ["pages"],
    "style.css": ["pages"],
}


@pytest.mark.parametrize(("name", "again"), EDITED.items(), ids=EDITED)
def test_changed_file_is_noticed(name, again, made, monkeypatch):
    monkeypatch.setenv("BNLIB_CACHE", str(made[0] / "cache"))
    monkeypatch.setenv("REPORTS", str(made[0] / "reports"))
    settings = parameters.read({name: value for name, value in SMALL.items() if name != "PYTHON"})
    steps = []
    for method, step in (("_run_studies", "studies"), ("_render", "pages")):
        monkeypatch.setattr(Pipeline, method, lambda self, _, step=step: steps.append(step) or [])
    monkeypatch.setattr("bnlib.execute.execute", lambda *_: steps.append("report"))
    monkeypatch.setattr(pipeline.stamps, "write", lambda *_: None)
    assert not Pipeline(settings).run()
    real = files.sha256
    monkeypatch.setattr(files, "sha256", lambda path: "edited" if name in (path.name, path.stem) else real(path))
    assert Pipeline(settings).run()
    assert steps == again


def test_switched_arithmetic_is_noticed(made, monkeypatch):
    monkeypatch.setenv("BNLIB_CACHE", str(made[0] / "cache"))
    settings = parameters.read({name: value for name, value in SMALL.items() if name != "PYTHON"})
    for switches, fresh in (({}, True), ({"ONEDNN_MAX_CPU_ISA": "AVX2"}, False)):
        with paths.variables(switches):
            asked = Pipeline(settings)
        assert {asked._is_fresh(study) for study in asked.studies} == {fresh}


def test_edited_page_is_made_again_to_the_same_bytes(copied):
    before = contents(copied / "reports")
    (copied / "reports/digits/index.html").write_text("edited")
    (copied / "reports/digits/learning-rate-1000.html").unlink()
    result = make(copied)
    assert "Runs on" not in result.stdout
    assert "was made in" in result.stdout
    assert contents(copied / "reports") == before


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"LEARNING_RATES": "banana"}, "error: LEARNING_RATES=\"banana\": 'banana' is not a learning rate"),
        ({"LEARNING_RATES": ""}, 'error: LEARNING_RATES="": names no learning rate'),
        ({"EPOCHS": "0"}, 'error: EPOCHS="0": '),
        ({"SEEDS": "x"}, 'error: SEEDS="x": '),
        ({"WORKERS": "0"}, 'error: WORKERS="0": '),
        ({"DATASET": "foo"}, 'error: DATASET="foo": '),
        ({"PRECISION": "fp7"}, 'error: PRECISION="fp7": '),
        (
            {"SCHEDULER": "tcp://127.0.0.1:1", "SEEDS": "3"},
            'error: SCHEDULER="tcp://127.0.0.1:1": no Dask scheduler answers there',
        ),
        ({"SCHEDULER": "nonsense", "SEEDS": "3"}, 'error: SCHEDULER="nonsense": should be tcp://host:port'),
    ],
)
def test_bad_input_is_one_line_and_changes_nothing(made, variables, said):
    before = contents(made[0])
    result = make(made[0], **variables)
    assert result.returncode != 0
    assert result.stderr.startswith(said)
    assert [line for line in result.stderr.splitlines() if not line.startswith("make:")][1:] == []
    assert contents(made[0]) == before


def test_two_reports_at_once_are_refused(made):
    from filelock import FileLock

    with FileLock(made[0] / "cache/report.lock"):
        result = make(made[0])
    assert result.returncode != 0
    assert "another `make report` is at work" in result.stderr


def test_failing_notebook_leaves_the_finished_report_as_it_was(copied, monkeypatch, tmp_path):
    notebooks = tmp_path / "notebooks"
    shutil.copytree(paths.NOTEBOOKS, notebooks)
    path = notebooks / "report.ipynb"
    broken = json.loads(path.read_text())
    broken["cells"][-1]["source"] = ["raise RuntimeError('broken on purpose')"]
    path.write_text(json.dumps(broken))
    monkeypatch.setattr(paths, "NOTEBOOKS", notebooks)
    monkeypatch.setenv("BNLIB_CACHE", str(copied / "cache"))
    monkeypatch.setenv("REPORTS", str(copied / "reports"))
    before = contents(copied / "reports")
    for name in SMALL:
        monkeypatch.setenv(name, SMALL[name])
    assert pipeline.main() == 1
    assert contents(copied / "reports") == before
    assert (copied / "cache/executed/digits/report.failed.ipynb").exists()


@pytest.mark.long
def test_fall_back_is_said_on_the_terminal_and_on_the_page(made, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(pipeline.raw, "_download", lambda name, root: "no network")
    for name, value in (SMALL | {"DATASET": "auto", "LEARNING_RATES": "0.001"}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("BNLIB_CACHE", str(made[0] / "cache"))  # its runs are there already
    executed = made[0] / "cache/executed"
    saved = shutil.copytree(executed, tmp_path / "saved")
    try:
        assert pipeline.main() == 0
    finally:
        shutil.rmtree(executed)
        shutil.copytree(saved, executed)
    assert "WARNING: MNIST is neither in the data folder nor can it be downloaded" in capsys.readouterr().err
    page = (tmp_path / "reports/digits/index.html").read_text()
    assert "MNIST was not in the data folder and could not be downloaded" in BeautifulSoup(page, "html.parser").get_text()
