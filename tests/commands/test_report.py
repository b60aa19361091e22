"""`make report` end to end on the digits: the real notebooks, kernels, records and pages."""

import contextlib
import json
import re
import shutil
import subprocess

import nbformat
import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup

from bnlib import UserError
from bnlib.commands.notebook import execute
from bnlib.commands.report import __main__ as command
from bnlib.commands.report import recompute, request, steps
from bnlib.commands.report.steps import APART, Report
from bnlib.experiment import records, settings, studies
from bnlib.page.words import listing
from bnlib.system import download, files, paths, stamps
from bnlib.training import data as datasets
from tests.conftest import SMALL, contents, make

ASKED = {name: value for name, value in SMALL.items() if name != "PYTHON"}


@pytest.fixture
def copied(made, tmp_path):
    """A copy of the finished report's folder under its own name, for tests that change it."""
    folder, _ = made
    saved = tmp_path / "saved"
    shutil.copytree(folder, saved)
    yield folder
    shutil.rmtree(folder)
    shutil.copytree(saved, folder)


def page(folder, name: str) -> BeautifulSoup:
    return BeautifulSoup((folder / f"reports/digits/{name}.html").read_text(), "html.parser")


def of_study(folder, name: str) -> pd.DataFrame:
    """What a report's records have of one study."""
    epochs = records.load(folder / "reports/digits/data").epochs
    return epochs[epochs.study == name]


def made_on(folder) -> set[str]:
    """The instruction sets that made a report's runs."""
    return set(records.load(folder / "reports/digits/data").runs["instruction set"])


def test_report_has_its_pages_data_and_figures(made):
    folder, result = made
    there = sorted(contents(folder / "reports/digits"))
    drawn = {name for name in there if name.startswith("figures/")}
    assert drawn > {"figures/index-answer.svg", "figures/replay-chain.svg"}
    pages = [page(folder, name.removesuffix(".html")) for name in there if name.endswith(".html")]
    assert {link["href"] for each in pages for link in each.find_all(class_="large")} == drawn
    assert [name for name in there if name not in drawn] == [
        "data/claims.csv",
        "data/contrasts.csv",
        "data/epochs.csv",
        "data/networks.csv",
        "data/outcomes.csv",
        "data/provenance.json",
        "data/runs.csv",
        "data/steps.csv",
        "data/studies.json",
        "data/timing.csv",
        "evidence.html",
        "index.html",
        "inside.html",
        "learning-rate-0.001.html",
        "learning-rate-1000.html",
        "learning-rate-range.html",
        "replay.html",
    ]
    assert re.search(r"reports/digits/index.html was made in \d+ s", result.stdout)


def test_report_says_why_with_the_numbers_of_its_records(made):
    index, epochs = page(made[0], "index"), of_study(made[0], "inside_survival")
    failed = epochs[(epochs.classes == 1) | epochs.train_loss.isna()].groupby(["norm", "learning_rate"]).size()
    assert set(failed.index.get_level_values("norm")) == {"none"}
    lost = listing([f"{count} at {rate:g}" for (_, rate), count in failed.items()])
    told = " ".join(word for each in index.find(id="why").find_all_next("p", limit=4) for word in each.get_text().split())
    assert f"without batch norm {lost}; with batch norm none" in told
    steps = pd.read_csv(made[0] / "reports/digits/data/steps.csv")
    first = steps[(steps.probe == "step_size") & (steps.layer == "linear1") & (steps.step == 1) & (steps.study == "inside")]
    moved = first[(first.norm == "none") & (first.learning_rate == 0.01)].value.median()
    assert f"{moved:.0%} of the size of the weights of linear1" in told
    assert {"inside.html"} <= {link["href"] for link in index.find(id="why").find_all_next("a", href=True)}


def test_rate_written_twice_is_run_once(made):
    epochs = of_study(made[0], "learning_rate")
    assert sorted(epochs.learning_rate.unique()) == [0.001, 1000]
    assert not epochs.duplicated(["norm", "learning_rate", "seed", "epoch"]).any()
    assert (epochs.groupby(["norm", "learning_rate"]).seed.nunique() == 2).all()


def test_terminal_shows_how_far_the_runs_are_and_nothing_else(made):
    said = made[1].stderr.splitlines()
    assert re.search(r"\d+/\d+ epochs, \S+ left, rate \S+, run \d+/\d+, epoch \d/2", "\n".join(said))
    assert [line for line in said if not re.match(r"\d+% \|", line)] == []


def test_links_between_pages_and_data_lead_somewhere(made):
    for path in (made[0] / "reports/digits").glob("*.html"):
        for link in page(made[0], path.stem).find_all("a"):
            target = link["href"].partition("#")[0]
            assert "://" in target or (path.parent / target).exists(), f"{path.name}: {target}"


def test_page_says_which_data_made_it(made):
    for path in (made[0] / "reports/digits").glob("*.html"):
        assert "This is not MNIST." in page(made[0], path.stem).find("blockquote").get_text()


def test_numbers_on_the_pages_come_from_the_records(made):
    epochs = of_study(made[0], "learning_rate")
    chosen = epochs[(epochs.learning_rate == 0.001) & (epochs.norm == "batch") & (epochs.epoch == 2)]
    assert (chosen.classes > 1).all()
    median = f"{100 * chosen.test_accuracy.median():.2f}"
    table = page(made[0], "evidence").find(id="tab-rate-0.001")
    assert median in table.find_all("tr")[-1].find_all("td")[1].get_text()
    row = page(made[0], "index").find(id="rates.0.001").find_all("td")
    assert row[2].get_text().endswith(f" · {median}")


def test_nothing_of_this_machine_s_folders_is_on_the_pages(made):
    for path in (made[0] / "reports/digits").rglob("*"):
        if path.is_file():
            text = path.read_text()
            assert str(made[0]) not in text
            assert str(paths.ROOT) not in text


def test_playground_is_on_no_page(made):
    told = nbformat.read(paths.NOTEBOOKS / "learning_rate.ipynb", 4).cells[-1].source.splitlines()[0]
    for path in (made[0] / "reports/digits").glob("*.html"):
        assert "Try it yourself" not in path.read_text()
        assert told not in page(made[0], path.stem).get_text()


def test_figure_of_the_readme_is_that_of_the_answer(made):
    folder, soup = made[0] / "reports/digits", page(made[0], "index")
    panel = soup.find(id="fig-answer").find(class_="wide").svg  # for screens with room
    its = BeautifulSoup((folder / "figures/index-answer.svg").read_text(), "html.parser").find_all("svg")[1]
    assert its.contents == panel.contents
    assert its["aria-label"] == panel["aria-label"]


def test_records_that_lack_an_arm_s_runs_are_said_on_the_page(made, tmp_path, monkeypatch):
    folder = shutil.copytree(made[0] / "reports/digits/data", tmp_path / "lacking")
    everything = records.load(folder)
    gone = (everything.epochs.study == "learning_rate") & (everything.epochs.norm == "batch") & (everything.epochs.seed == 1)
    records.save(everything._replace(epochs=everything.epochs[~gone]), folder)
    monkeypatch.setenv("BNLIB_RESULTS", str(folder))
    execute(paths.NOTEBOOKS / "report.ipynb", tmp_path / "report.ipynb", {"dataset": "digits"})
    said = (tmp_path / "report.ipynb").read_text()
    for rate in ("0.001", "1000"):
        assert f"with batch norm at learning rate {rate}: 1 of 2 runs" in said


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
        "trained 8 epochs in 4 runs\n",
    ),
    "more seeds": (
        {"LEARNING_RATES": "0.001", "SEEDS": "4"},
        "learning rate 0.001",
        "trained 8 epochs in 4 runs, took 4 runs from the report's records\n",
    ),
    "more epochs": (
        {"LEARNING_RATES": "0.001", "EPOCHS": "3"},
        "learning rate 0.001 and replay",
        "trained 16 epochs in 6 runs, took 14 epochs from the store\n",  # the chain goes on from the runs at its first rate
    ),
}


@pytest.mark.long
@pytest.mark.parametrize(("variables", "rates", "said"), TRAINED.values(), ids=TRAINED)
def test_only_what_is_missing_is_trained(variables, rates, said, copied):
    result = make(copied, **variables, STUDIES="rates range replay")  # the page of the one that is there besides goes
    assert result.returncode == 0, result.stderr
    assert f"Runs on digits, {rates}: " in result.stdout
    assert f"Runs: {said}" in re.sub(r" \(store: .*", "", result.stdout)
    names = variables["LEARNING_RATES"].split()
    pages = {path.name for path in (copied / "reports/digits").glob("*.html")}
    always = {"index.html", "evidence.html", "replay.html", "learning-rate-range.html"}
    assert pages == always | {f"learning-rate-{name}.html" for name in names}
    assert not (copied / "reports/digits/data/steps.csv").exists()  # what was seen inside runs that it no longer has


def checkout(folder):
    """A copy of the checkout in a folder."""
    root = folder / "checkout"
    for name in ("bnlib", "notebooks"):
        shutil.copytree(paths.ROOT / name, root / name)
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(paths.ROOT / name, root / name)
    return root


def edit(path, before: str, after: str) -> None:
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after, 1))


GIVEN = "took {} runs from the report's records"
FORWARD = "    images, labels = train.images[batch], train.labels[batch]"


@pytest.mark.long
def test_edited_code_trains_what_uses_it_and_nothing_else(made, tmp_path):
    root = checkout(tmp_path)
    shutil.copytree(made[0] / "cache/runs", tmp_path / "cache/runs")
    # One seed of two epochs at 0.001 and, for the range, at 1000; the arms none and batch have their chains of six besides.
    two, three = {"ARMS": "none batch"}, {"ARMS": "none batch group"}
    models, loop = "bnlib/training/models.py", "bnlib/training/loop.py"
    looks = (
        ("bnlib/page/figures/runs.py", "import ", "import os  # edited\nimport "),
        ("bnlib/page/template/style.css", "\n", "\n/* edited */\n"),
        ("notebooks/learning_rate.ipynb", "## The runs", "## All the runs"),
        (models, '"batch@1": (', '"mine": (nn.Identity, None, None),\n        "batch@1": ('),
    )
    for edits, arms, said in (
        (looks, two, "took 20 epochs from the store"),
        # One arm more has its runs at 0.001 and at 1000 alone; what is said of a norm is no code, and what it does is its own.
        ([(models, "Group norm of 8", "Group norm of eight")], three, f"trained 4 epochs in 2 runs, {GIVEN.format(6)}"),
        ([(models, "channels // 8", "channels // 16")], three, f"trained 4 epochs in 2 runs, {GIVEN.format(6)}"),
        ([(loop, FORWARD, f"{FORWARD}\n        pass")], two, "trained 16 epochs in 6 runs, took 4 epochs from"),
    ):
        for path, before, after in edits:
            edit(root / path, before, after)
        result = make(tmp_path, root=root, LEARNING_RATES="0.001", SEEDS="1", STUDIES="rates range replay", **arms)
        assert result.returncode == 0, result.stderr
        assert "was made in" in result.stdout
        assert f"Runs: {said}" in result.stdout, (edits, result.stdout)


@pytest.mark.long
def test_added_arm_trains_that_arm_alone(copied):
    before = records.load(copied / "reports/digits/data")
    result = make(copied, ARMS="none batch layer")
    assert result.returncode == 0, result.stderr
    # Two seeds of two epochs at two rates; what the range has of it, one seed, is among these.
    assert re.search(r"Runs: trained \d epochs in 4 runs, took \d+ runs from the report's records", result.stdout)
    after = records.load(copied / "reports/digits/data")
    added = after.runs[~after.runs.run.isin(before.runs.run)]
    assert added.configuration.str.contains('"norm": "layer"').all()
    assert len(added) == len(after.runs) - len(before.runs) == 4
    pd.testing.assert_frame_equal(after.epochs[after.epochs.norm != "layer"].reset_index(drop=True), before.epochs)


@pytest.mark.long
def test_runs_with_other_arithmetic_are_taken_and_said_and_trained_anew_where_it_is_to_be_strict(copied):
    usual = made_on(copied)
    other = "default" if usual == {"AVX2"} else "avx2"  # what each x86 processor can besides
    asked = {"LEARNING_RATES": "0.001", "RANGE_RATES": "0.001", "SEEDS": "1", "ATEN_CPU_CAPABILITY": other}
    asked["STUDIES"] = "rates range replay"
    taken = make(copied, **asked)
    assert taken.returncode == 0, taken.stderr
    assert "Runs: took 4 runs from the report's records (store: " in taken.stdout
    assert re.search(r"4 of 4 runs made elsewhere, on .*; STRICT=1 trains them anew", taken.stdout)
    assert made_on(copied) == usual
    strict = make(copied, **asked, STRICT="1")
    assert "Runs: trained 12 epochs in 4 runs, took 4 epochs from the store" in strict.stdout
    assert "STRICT" not in strict.stdout
    assert made_on(copied) == {other.upper()}
    rows = page(copied, "evidence").find(id="tab-provenance").tbody.find_all("tr")
    stated = {row.th.get_text(): row.td.get_text() for row in rows}
    assert stated["instruction set"] == other.upper()
    assert stated["switches"] == f"ATEN_CPU_CAPABILITY={other}"
    again = make(copied, **asked, STRICT="1")
    assert "up to date: nothing to do" in again.stdout


@pytest.mark.long
def test_report_with_its_records_and_nothing_else_is_made_without_training_to_the_same_bytes(made, tmp_path):
    """As in a fresh clone, whose report is committed."""
    shutil.copytree(made[0] / "reports/digits/data", tmp_path / "reports/digits/data")
    result = make(tmp_path)
    assert result.returncode == 0, result.stderr
    assert re.search(r"Runs: took \d+ runs from the report's records \(store: 0 MB", result.stdout)
    assert contents(tmp_path / "reports") == contents(made[0] / "reports")


ARMS = {"none": "without a norm", "batch": "with batch norm", "group": "with group norm", "layer": "with layer norm"}
OTHERS = ["batch", "group", "layer"]


@pytest.mark.long
def test_four_arms_are_on_the_whole_page_and_the_original_s_two_beside_its_figures(tmp_path):
    asked = {"LEARNING_RATES": "0.001 0.01", "RANGE_RATES": "0.001 0.1", "ARMS": " ".join(ARMS)}
    result = make(tmp_path, **asked)
    assert result.returncode == 0, result.stderr
    data, pages = tmp_path / "reports/digits/data", [page(tmp_path, name) for name in ("index", "evidence")]
    found = pd.read_csv(data / "contrasts.csv", keep_default_na=False, na_values={"estimate": [""]})
    cells = found[found.kind == "cell"].groupby(["study", "outcome", "learning_rate"]).arm.agg(sorted)
    of_two = ["replay", "inside", "inside_survival", "inside_long"]
    assert all(arms == OTHERS for arms in cells.drop(of_two))
    assert all(arms == ["batch"] for arms in cells[of_two])
    # Every figure and every table that compares arms has all four: the arms' own names, or each in its own row.
    # What replays the original, or looks into runs, is of its two arms.
    chains = {"fig-chain", "tab-first-losses", "tab-effects", "fig-why"}
    apart = {"tab-sides", "tab-machines", "tab-provenance", "tab-glance"}  # of no arms
    every = {figure["id"]: figure for each in pages for figure in each.find_all("figure")}
    apart |= {name for name in every if name.startswith("tab-claim")}
    figures = {name: figure for name, figure in every.items() if name not in apart | chains}
    assert figures.keys() >= {
        "fig-answer",
        "fig-curves",
        "fig-soon",
        "fig-reach",
        "tab-rate-0.01",
        "tab-rates",
        "tab-best",
        "tab-cost",
    }
    for name, figure in figures.items():
        for text in [panel["aria-label"] for panel in figure.find_all(class_="panel")] or [figure.table.get_text(" ")]:
            assert [label for label in list(ARMS.values())[1:] if label not in text] == [], (name, text)
            assert "without a norm" in text or name.startswith("tab-tests-"), (name, text)
    for name in chains:
        text = "".join(str(part) for part in every[name])
        assert "with batch norm" in text
        assert "without batch norm" in text
        assert "group norm" not in text
    # The one claim about 0.001 alone is judged by the difference between the arms of which it speaks.
    claims = pd.read_csv(data / "claims.csv")
    judged = claims[(claims.part == "training loss of epoch 1 at 0.001") & (claims["where"] == "fresh")]
    at = (found.study == "learning_rate") & (found.kind == "cell") & (found.learning_rate.astype(str) == "0.001")
    (batch,) = found[at & (found.outcome == "train_loss_first") & (found.arm == "batch")].estimate
    assert judged.estimate.tolist() == [batch]


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


STUDIES = ["learning-rate-0.001", "learning-rate-1000", "learning-rate-range", "replay", "inside"]
ALL = ["results", *STUDIES, "report", "evidence", "pages"]
EDITED = {  # the steps that an edited file has done again
    "bnlib/training/loop.py": ["runs", *ALL],
    "bnlib/system/stamps.py": ["runs", *ALL],
    "bnlib/page/figures/runs.py": [*STUDIES[:2], "report", "evidence"],  # whose pages are made again if anything came of it
    "bnlib/page/figures/inside.py": ["inside", "report"],
    "bnlib/page/figures/chain.py": ["replay", "report"],
    "bnlib/page/figures/picture.py": [*STUDIES, "report", "evidence", "pages"],
    "bnlib/page/tables/article.py": ["report"],
    "bnlib/page/tables/inside.py": ["inside", "report"],  # another one of that name
    "bnlib/analysis/original/test.csv": ALL,
    "bnlib/analysis/original/claims.toml": ALL,
    "bnlib/commands/notebook.py": ALL,
    "bnlib/commands/report/results.py": ALL,
    "requirements.lock": ALL,
    "notebooks/learning_rate.ipynb": STUDIES[:2],
    "notebooks/replay.ipynb": ["replay"],
    "notebooks/report.ipynb": ["report"],
    "notebooks/evidence.ipynb": ["evidence"],
    "bnlib/page/html/marks.py": ["pages"],
    "bnlib/page/template/style.css": ["pages"],
    "bnlib/commands/report/steps.py": ["pages"],
    "bnlib/commands/report/pages.py": ["pages"],
    "bnlib/commands/report/__main__.py": [],
    "bnlib/commands/verify.py": [],
    "bnlib/commands/adopt.py": [],
    "bnlib/training/loops/plain.py": [],
}


@pytest.fixture
def done(made, monkeypatch):
    """The steps that a report would do after the finished one, none of which is done."""
    monkeypatch.setenv("BNLIB_CACHE", str(made[0] / "cache"))
    monkeypatch.setenv("REPORTS", str(made[0] / "reports"))
    told = []

    def note(step: str):
        return lambda *_, **__: told.append(step) or []

    def notebooks(jobs, workers):
        told.extend(job.output.stem for job in jobs)
        return jobs

    monkeypatch.setattr(steps.pool, "run_studies", note("runs"))
    monkeypatch.setattr(steps.records, "join", lambda made: records.Records(*[pd.DataFrame()] * 4))
    monkeypatch.setattr(Report, "_say_foreign", lambda self, runs: None)
    monkeypatch.setattr(datasets, "load", lambda *_, **__: None)
    monkeypatch.setattr("bnlib.commands.report.results.save", note("results"))
    monkeypatch.setattr(steps, "execute_all", notebooks)
    monkeypatch.setattr("bnlib.commands.report.pages.render", note("pages"))
    monkeypatch.setattr(stamps, "write", lambda *_: None)

    def run() -> list[str]:
        told.clear()
        Report(settings.read(ASKED), "digits").run()
        return list(dict.fromkeys(told))  # where nothing is said to be done, it is done again

    return run


def test_changed_file_is_noticed_by_the_steps_that_hang_on_it(done, monkeypatch):
    assert done() == []
    real, cells, usual = files.sha256, steps.cells, command.told()
    for name, again in EDITED.items():
        edited = paths.ROOT / name
        assert edited.exists()
        with monkeypatch.context() as patch:
            patch.setattr(files, "sha256", lambda path, edited=edited: "edited" if path == edited else real(path))
            patch.setattr(steps, "cells", lambda path, edited=edited: "edited" if path == edited else cells(path))
            assert done() == again, name
            assert command.told() != usual, name  # else it would not be looked at any closer


def test_kept_benchmark_is_noticed_before_anything_is_called_up_to_date():
    before = command.told()
    files.write(paths.benchmark(), "{}")
    assert command.told() != before


def test_kept_time_and_what_the_package_says_of_itself_are_noticed_likewise(monkeypatch):
    before = command.told()
    files.write(paths.report("digits") / "took.json", "{}")
    timed = command.told()
    assert timed != before
    monkeypatch.setattr(command.environment, "project", lambda: "another address")
    assert command.told() != timed


def test_every_file_of_the_package_counts_whatever_others_are_called():
    code = Report(settings.read(ASKED), "digits").common["code"]
    modules = {path.relative_to(steps.PACKAGE).as_posix() for path in steps.PACKAGE.rglob("*.py")}
    assert set(code) == {name for name in modules if not name.startswith(APART)}
    assert {"page/figures/inside.py", "page/tables/inside.py", "runs/__init__.py", "training/__init__.py"} <= set(code)
    assert all(any(name.startswith(each) for name in modules) for each in APART)


@pytest.mark.parametrize("variable", ["ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY", "STRICT"])
def test_switched_arithmetic_is_noticed(variable, done):
    with paths.variables({variable: "default"}):
        assert done() == ["runs", *STUDIES, "report", "evidence", "pages"]  # results follow where records change
    assert done() == []


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
        ({"WORKERS": "0", "SEEDS": "3"}, 'error: WORKERS="0": '),
        ({"DATASET": "foo"}, 'error: DATASET="foo": '),
        ({"PRECISION": "fp7"}, 'error: PRECISION="fp7": '),
        (
            {"SCHEDULER": "tcp://127.0.0.1:1", "SEEDS": "3"},
            'error: SCHEDULER="tcp://127.0.0.1:1": no Dask scheduler answers there',
        ),
        ({"SCHEDULER": "nonsense", "SEEDS": "3"}, 'error: SCHEDULER="nonsense": should be tcp://host:port'),
    ],
)
def test_bad_input_is_one_line_and_changes_nothing(made, variables, said, monkeypatch, capsys):
    monkeypatch.setenv("BNLIB_CACHE", str(made[0] / "cache"))
    monkeypatch.setenv("REPORTS", str(made[0] / "reports"))
    for name, value in (SMALL | variables).items():
        monkeypatch.setenv(name, value)
    before = contents(made[0])
    assert command.main() == 1
    error = capsys.readouterr().err
    assert error.startswith(said)
    assert error.count("\n") == 1
    assert contents(made[0]) == before


def test_bad_input_fails_make(made):
    result = make(made[0], LEARNING_RATES="banana")
    assert result.returncode != 0
    assert result.stderr.startswith("error: LEARNING_RATES=\"banana\": 'banana' is not a learning rate")
    assert [line for line in result.stderr.splitlines() if not line.startswith("make:")][1:] == []


def test_two_reports_at_once_are_refused(made):
    from filelock import FileLock

    with FileLock(made[0] / "cache/report.lock"):
        result = make(made[0])
    assert result.returncode != 0
    assert "another command is at work" in result.stderr


def test_failing_notebook_leaves_the_finished_report_as_it_was(copied, tmp_path):
    root = checkout(tmp_path)
    path = root / "notebooks/report.ipynb"
    broken = json.loads(path.read_text())
    broken["cells"][-1]["source"] = ["raise RuntimeError('broken on purpose')"]
    path.write_text(json.dumps(broken))
    before = contents(copied / "reports")
    result = make(copied, root=root)
    assert result.returncode != 0
    assert "RuntimeError: broken on purpose" in result.stderr
    assert contents(copied / "reports") == before
    assert (copied / "cache/executed/digits/report.failed.ipynb").exists()


def test_report_that_cannot_be_read_is_not_replaced_by_one_of_default_size(tmp_path, monkeypatch):
    monkeypatch.setenv("REPORTS", str(tmp_path))
    monkeypatch.setenv("DATASET", "digits")
    for name in ("SEEDS", "STUDY_SEEDS", "EPOCHS"):
        monkeypatch.delenv(name, raising=False)
    assert request.asked()[0].seeds == settings.Settings().seeds  # none stands there
    standing = studies.studies(settings.Settings(seeds=5, study_seeds=4), "digits", "cpu")
    studies.save(studies.joined(standing), tmp_path / "digits/data")
    assert request.asked()[0].seeds == 5
    path = tmp_path / "digits/data/studies.json"
    sound = path.read_text()
    for broken, said in ((sound.replace("gap", "gone"), "'gone' is no outcome"), ("[]", "lacks the study 'learning_rate'")):
        path.write_text(broken)
        with pytest.raises(UserError, match=said) as raised:
            request.asked()
        assert "studies.json" in str(raised.value)
        assert "or delete it" in str(raised.value)


@pytest.mark.long
def test_fall_back_is_said_on_the_terminal_and_on_the_page(made, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(download, "_download", lambda name, root: "no network")
    for name, value in (SMALL | {"DATASET": "auto", "LEARNING_RATES": "0.001"}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("BNLIB_CACHE", str(made[0] / "cache"))  # its runs are there already
    executed = made[0] / "cache/executed"
    saved = shutil.copytree(executed, tmp_path / "saved")
    try:
        assert command.main() == 0
    finally:
        shutil.rmtree(executed)
        shutil.copytree(saved, executed)
    assert "WARNING: MNIST is neither in the data folder nor can it be downloaded" in capsys.readouterr().err
    assert "MNIST was not in the data folder and could not be downloaded" in page(tmp_path, "index").get_text()
    # `make verify` makes the pages anew from what these say.
    for reports, asked in ((tmp_path / "reports", "auto"), (made[0] / "reports", "digits")):
        folder = reports / "digits"
        assert recompute.Standing(folder, studies.load(folder / "data"), [], {}).settings.dataset == asked


def stripes(folder) -> None:
    """Files of Fashion-MNIST's names and shape, of images that anyone can learn: a bright stripe, as far down as the class."""
    rng = np.random.default_rng(0)
    for images, labels, count in download.PARTS.values():
        classes = rng.integers(10, size=count, dtype=np.uint8)
        pixels = rng.integers(100, size=(count, 28, 28), dtype=np.uint8)
        pixels[np.arange(count), 2 * classes + 4] = 255
        for name, header, array in ((images, (2051, count, 28, 28), pixels), (labels, (2049, count), classes)):
            files.write(folder / name, np.array(header, dtype=">i4").tobytes() + array.tobytes())


@pytest.mark.long
def test_fashion_mnist_gives_a_report_of_its_own(tmp_path):
    stripes(tmp_path / "data/FashionMNIST/raw")
    few = {"LEARNING_RATES": "0.001", "RANGE_RATES": "0.001", "SEEDS": "1", "EPOCHS": "1", "STUDIES": "rates range replay"}
    result = make(tmp_path, DATASET="fashion_mnist", patience=3600, **few)
    assert result.returncode == 0, result.stderr
    folder = tmp_path / "reports/fashion_mnist"
    made = records.load(folder / "data").epochs
    assert set(made.dataset) == {"fashion_mnist"}
    assert (made[made.study == "learning_rate"].test_accuracy > 0.99).all()
    read = {path.stem: BeautifulSoup(path.read_text(), "html.parser") for path in folder.glob("*.html")}
    assert set(read) == {"index", "evidence", "learning-rate-0.001", "learning-rate-range", "replay"}
    assert all("Every number here comes from Fashion-MNIST." in each.get_text() for each in read.values())
    assert "bag, boot" in read["learning-rate-0.001"].find(id="fig-examples").svg["aria-label"]
