import os
import random
import re
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bnlib.commands import verify
from bnlib.commands.report import recompute
from bnlib.commands.report.compare import difference
from bnlib.commands.verify import changed, largest, sample
from bnlib.experiment import records, studies
from bnlib.experiment.config import RunConfig
from bnlib.experiment.records import Epoch, Look, Run
from bnlib.experiment.studies import whole
from bnlib.runs import environment, provenance, store
from bnlib.system import download, paths


@pytest.fixture
def report(made, tmp_path, monkeypatch):
    """A copy of a finished report on the digits, which `verify` finds; its folder of data."""
    shutil.copytree(made[0] / "reports", tmp_path / "reports")
    for name, value in (("DATASET", "digits"), ("WORKERS", "1"), ("VERIFY_SEED", "1")):
        monkeypatch.setenv(name, value)
    return tmp_path / "reports/digits/data"


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """What a test of this file did anew, by what it was made from."""
    return {}, tmp_path_factory.mktemp("anew")


@pytest.fixture
def once(done, monkeypatch):
    """Runs and pages that a test of this file made anew are not made once more for the next."""
    (kept, folder), run_all, pages = done, verify.run_all, recompute.pages

    def runs(configs, data, anew):
        assert anew
        assert os.environ["BNLIB_CACHE"] != str(paths.ROOT / ".cache")
        if tuple(configs) not in kept:
            kept[tuple(configs)] = run_all(configs, data, anew=True)
        return kept[tuple(configs)]

    def made(standing, data, scratch):
        if "pages" not in kept:
            kept["pages"] = shutil.copytree(pages(standing, data, scratch), folder / "pages")
        return kept["pages"]

    monkeypatch.setattr(verify, "run_all", runs)
    monkeypatch.setattr(recompute, "pages", made)


@pytest.fixture
def quick(monkeypatch):
    """For what is seen before any page is made or any run is done anew."""
    monkeypatch.setattr(recompute, "pages", lambda standing, data, scratch: scratch)
    monkeypatch.setattr(recompute, "shown", lambda standing, data, anew: iter(()))
    monkeypatch.setattr(verify, "_done_anew", lambda *_: None)


def verified(capsys) -> tuple[int, list[str]]:
    """The exit status, and the lines that say what is wrong."""
    status = verify.main()
    return status, [line.strip().removeprefix("WRONG ") for line in capsys.readouterr().out.splitlines() if "WRONG" in line]


def edit(path, before: str, after: str) -> None:
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after, 1))


def raw(path) -> pd.DataFrame:
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def write_cell(path, column: str, value: str) -> None:
    table = raw(path)
    table.loc[0, column] = value
    table.to_csv(path, index=False)


# The report as it is


def test_report_that_was_just_made_is_as_recomputed_and_its_runs_have_the_same_bits(report, made, once, monkeypatch, capsys):
    real, cache = store.get, paths.cache()
    shutil.copytree(made[0] / "cache/runs", cache / "runs")

    def damaged(recipe):  # of the report's store, which is not asked
        checkpoint = real(recipe)
        if checkpoint is None or paths.cache() != cache:
            return checkpoint
        return replace(checkpoint, epochs=tuple(replace(e, train_accuracy=e.train_accuracy / 2) for e in checkpoint.epochs))

    monkeypatch.setattr(store, "get", damaged)
    assert verify.main() == 0
    said = capsys.readouterr().out
    for path in (report.parent).rglob("*"):
        assert path.is_dir() or f"{path.relative_to(report.parent)}: as recomputed" in said
    assert "All bits agree, in 4 runs." in said
    assert said.count("the same bits") == 4
    assert "VERIFY_SEED=1" in said


# Records


def delete_arm(data):
    for name in ("epochs", "timing", "runs"):
        table = raw(data / f"{name}.csv")
        column = "norm" if "norm" in table else "configuration"
        table[~table[column].str.contains("batch")].to_csv(data / f"{name}.csv", index=False)


def repeat_row(data):
    table = raw(data / "epochs.csv")
    pd.concat([table, table.iloc[:1]]).to_csv(data / "epochs.csv", index=False)


def add_study(data):
    table = raw(data / "epochs.csv")
    pd.concat([table, table.iloc[:1].assign(study="mine")]).to_csv(data / "epochs.csv", index=False)
    table = raw(data / "timing.csv")
    pd.concat([table, table.iloc[:1].assign(study="mine")]).to_csv(data / "timing.csv", index=False)


def make_folder(data):
    (data / "runs.csv").unlink()
    (data / "runs.csv").mkdir()


TAMPERED = {
    "an arm deleted": (delete_arm, "learning rate: the records lack with batch norm at learning rate 1000: 2 of 2 runs"),
    "a row twice": (repeat_row, " has an epoch twice"),
    "rows of a study of one's own": (add_study, " has rows that study 'mine' does not ask for: 1"),
    "a loss emptied": (lambda data: write_cell(data / "epochs.csv", "test_loss", ""), " has two kinds of epoch 1"),
    "NaN": (lambda data: write_cell(data / "epochs.csv", "test_loss", "NaN"), " has two kinds of epoch 1"),
    "text": (lambda data: write_cell(data / "epochs.csv", "test_loss", "{}"), " has two kinds of epoch 1"),
    "an accuracy": (lambda data: write_cell(data / "epochs.csv", "test_accuracy", "900"), " has two kinds of epoch 1"),
    "a time": (lambda data: write_cell(data / "timing.csv", "train_seconds", "-1"), " has times that no run can have taken"),
    "a configuration": (lambda data: write_cell(data / "runs.csv", "configuration", "{}"), " has no configuration"),
    "an empty file": (lambda data: (data / "timing.csv").write_text(""), "timing.csv is not a table of records: "),
    "a folder": (make_folder, "runs.csv is not a table of records: "),
    "a column": (
        lambda data: raw(data / "epochs.csv").drop(columns="learning_rate").to_csv(data / "epochs.csv", index=False),
        "epochs.csv is not a table of records: its columns should be ",
    ),
    "no studies": (lambda data: (data / "studies.json").write_text("{}"), "studies.json cannot be read: "),
    "no facts": (lambda data: (data / "provenance.json").write_text("[]"), "provenance.json should be text by name"),
    "studies that ask for more": (
        lambda data: edit(data / "studies.json", '"seeds": 2', '"seeds": 3'),
        "learning rate: the records lack without batch norm at learning rate 0.001: 1 of 3 runs",
    ),
    "studies that ask for less": (
        lambda data: edit(data / "studies.json", '"seeds": 2', '"seeds": 1'),
        " has rows that study 'learning_rate' does not ask for: 2",
    ),
}


@pytest.mark.parametrize(("tamper", "told"), TAMPERED.values(), ids=TAMPERED)
def test_records_that_were_changed_are_told_in_one_line_each(tamper, told, report, quick, capsys):
    tamper(report)
    status, wrong = verified(capsys)
    assert status == 1
    assert any(told in line for line in wrong), wrong


def test_no_report_says_what_to_run(monkeypatch, capsys):
    monkeypatch.setenv("DATASET", "digits")
    assert verify.main() == 1
    assert "`make report` first" in capsys.readouterr().err


# What follows from them


def test_each_table_that_does_not_follow_from_the_records_is_told(report, quick, capsys):
    edit(report / "claims.csv", "not shown by these data", "contradicted")
    write_cell(report / "contrasts.csv", "estimate", "7")
    write_cell(report / "outcomes.csv", "failed", "True")
    write_cell(report / "networks.csv", "parameters", "1")
    edit(report / "provenance.json", '"training images": "1437"', '"training images": "60000"')
    (report / "mine.csv").write_text("a\n1\n")
    status, wrong = verified(capsys)
    assert status == 1
    assert [line.partition(":")[0] for line in wrong] == [
        *(
            f"data/{name}"
            for name in ("claims.csv", "contrasts.csv", "networks.csv", "outcomes.csv", "provenance.json", "mine.csv")
        )
    ]
    assert wrong[0].endswith("verdict: says `contradicted`, should be `not shown by these data`")
    assert "line 2, estimate: says `7`, should be `" in wrong[1]


def test_each_page_that_does_not_follow_from_the_records_is_told(report, once, capsys):
    folder = report.parent
    table = folder / "evidence.html"
    number = re.search(r">(\d\d\.\d\d)\n", table.read_text()).group(1)
    edit(table, f">{number}\n", ">12.34\n")
    edit(folder / "replay.html", "<path ", "<path  ")
    (folder / "learning-rate-1000.html").unlink()
    (folder / "mine.html").write_text("mine")
    (folder / "figures/index-answer.svg").write_text("<svg/>")
    status, wrong = verified(capsys)
    assert status == 1
    assert wrong == [
        f"evidence.html: says `12.34`, should be `{number}`",
        "figures/index-answer.svg: has other bytes",
        "learning-rate-1000.html: is missing",
        "replay.html: has other bytes in its figures or markup, though no other words",
        "mine.html: is none of this report's pages",
    ]


def test_page_that_other_versions_made_is_compared_in_words(report, once, capsys):
    provenance.save_facts(provenance.load(report) | {"matplotlib": "0.1"}, report)
    edit(report.parent / "figures/index-answer.svg", "<svg", "<svg ")
    edit(report.parent / "replay.html", "<path ", "<path  ")
    edit(report.parent / "learning-rate-1000.html", "</h1>", " always</h1>")
    assert verify.main() == 1
    said = capsys.readouterr().out
    assert "Other versions than here made the pages: their words were compared, and not their figures." in said
    assert re.findall("WRONG (.*)", said) == ["learning-rate-1000.html: says `always`, which should not be there"]


def test_images_that_are_not_here_are_passed_over(tmp_path):
    with_images, without = tmp_path / "a.html", tmp_path / "b.html"
    page = '<h2 id="the-data">The data</h2>{}<h2>Runs</h2><p>Figure {}. {}</p>'
    with_images.write_text(page.format("<figure>Figure 1</figure>", 2, "97"))
    without.write_text(page.format("<p>none</p>", 1, "97"))
    assert difference(with_images, without, images=False) == ""
    assert "Figure" in difference(with_images, without)
    without.write_text(page.format("<p>none</p>", 1, "98"))
    assert difference(with_images, without, images=False) == "says `97`, should be `98`"


def test_last_bits_of_a_number_are_no_difference_and_more_is(tmp_path):
    there, anew = tmp_path / "a.csv", tmp_path / "b.csv"
    anew.write_text("a,b\nx,0.3\n")
    for number, told in (("0.30000000000000004", ""), ("0.3000001", "line 2, b: says `0.3000001`, should be `0.3`")):
        there.write_text(f"a,b\nx,{number}\n")
        assert difference(there, anew) == told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is empty"),
        ("a,b\nx,0.3\nx,0.3\n", "has 2 rows, should have 1"),
        ("a,c\nx,0.3\n", "has the columns a,c, should have a,b"),
        ("a,b\nx\n", "line 2, b: lacks `0.3`"),
    ],
)
def test_table_of_another_form_is_told(text, told, tmp_path):
    (tmp_path / "a.csv").write_text(text)
    (tmp_path / "b.csv").write_text("a,b\nx,0.3\n")
    assert difference(tmp_path / "a.csv", tmp_path / "b.csv") == told


# Runs done anew


def forged(report, by: float, **made_by: str) -> None:
    """Records with another test loss that are in themselves as they should be, and all that follows from them unseen."""
    kept = records.load(report)
    runs = []
    for run in records.taken(kept)[0]:
        epochs = tuple(replace(e, test_loss=e.test_loss + by) for e in run.epochs)
        runs.append(run._replace(epochs=epochs, made_by=run.made_by | made_by))
    by_question = {str(run.config.changed): run for run in runs}
    asked = studies.load(report)
    its = [records.collect(s.name, [by_question[str(c.changed)].first(c) for c in s.configs]) for s in asked]
    records.save(records.join(its), report)


@pytest.fixture
def unseen(monkeypatch):
    monkeypatch.setattr(verify, "_follows", lambda *_: None)


def test_records_that_runs_do_not_give_are_found(report, once, unseen, capsys):
    forged(report, 0.25)
    assert verify.main() == 1
    said = capsys.readouterr().out
    assert "WRONG" not in said  # nothing else would show it
    assert "4 of 4 runs differ" in said  # of each arm one that was looked into, and one that was not
    assert "at most by 0.25 in test loss." in said
    assert "Nothing explains 4 of them: " in said


def test_another_machine_is_told_by_how_much_it_differs(report, once, unseen, capsys):
    forged(report, 0.25, processor="another one")
    assert verify.main() == 0
    said = capsys.readouterr().out
    assert "at most by 0.25 in test loss." in said
    assert said.count(f"processor: {environment.processor()} here, another one there") == 1


SAME = dict.fromkeys(records.MEASURED, 0.0)


def test_what_explains_one_run_explains_no_other(capsys, tmp_path):
    near, far = (verify.Redone(["other"], SAME | {"test_loss": by}, its) for by, its in ((0.25, []), (0.5, ["torch: 1 here"])))
    there = verify.Redone([], SAME, ["torch: 1 here"])
    assert verify._say([far, there], tmp_path)
    assert "1 of 2 runs differ; at most by 0.5 in test loss." in capsys.readouterr().out
    assert not verify._say([near, there], tmp_path)
    said = capsys.readouterr().out
    assert "1 of 2 runs differ; at most by 0.25 in test loss." in said
    assert "To be expected" not in said
    assert not verify._say([near, far], tmp_path)
    assert "Nothing explains 1 of them" in capsys.readouterr().out


def test_other_numbers_that_probes_saw_are_other_bits(capsys, tmp_path):
    look = Look("dead", "relu1", "share", 0.25, 1, 1)
    (run, *_) = kept()
    seen = run._replace(looks=(look,))
    for anew in (seen._replace(looks=(look._replace(value=0.5),)), run):
        other = records.differences(seen, anew)
        assert len(other) == 1
        assert not verify._say([verify.Redone(other, verify.largest(seen, anew), [])], tmp_path)
        assert "1 of 1 run differ; in what probes saw alone." in capsys.readouterr().out
    assert records.differences(seen, seen) == records.differences(run, seen) == []


def test_report_of_which_this_code_asks_more_is_not_told_to_be_wrong(report, quick, monkeypatch, capsys):
    monkeypatch.setitem(whole.SMALL["inside"], "survival_seeds", 5)
    assert verify.main() == verify.UNCHECKED
    assert "NOT CHECKED what follows: inside survival is asked for otherwise by this code" in capsys.readouterr().out


def test_other_data_are_refused(report, unseen, capsys):
    provenance.save_facts(provenance.load(report) | {"SHA-256 of the data": "0" * 64}, report)
    assert verify.main() == 1
    assert capsys.readouterr().err.startswith("error: the files of digits are not those of the report in ")


def test_without_images_all_but_the_runs_is_checked_and_the_exit_status_says_so(report, unseen, monkeypatch, capsys):
    real = verify.datasets.load("digits")
    monkeypatch.setattr(verify.datasets, "load", lambda name, needed: replace(real, here=False))
    monkeypatch.setattr(verify.datasets, "FINGERPRINTS", {"digits": real.fingerprint})
    monkeypatch.setattr(verify, "run_all", lambda *_, **__: pytest.fail("a run was done"))
    monkeypatch.setattr(verify.datasets.Data, "fingerprint", real.fingerprint)
    assert verify.main() == 2
    assert "NOT CHECKED runs done anew: the images of digits are neither here nor to be had" in capsys.readouterr().out


def test_report_on_mnist_is_the_one_that_auto_means_though_no_image_is_here(report, monkeypatch):
    monkeypatch.setattr(download, "choose", lambda *_: pytest.fail("looked for images"))
    monkeypatch.setenv("DATASET", "auto")
    assert verify._dataset() == "digits"
    shutil.copytree(report.parent, report.parents[1] / "mnist")
    assert verify._dataset() == "mnist"


def kept(norms=("none", "batch"), seeds: int = 3, epochs: int = 2, **fields) -> list[Run]:
    """Runs as this machine makes them, with the same figures for each."""
    shared = {"dataset": "digits", "learning_rate": 0.001, "epochs": epochs} | fields
    configs = [RunConfig(**shared, norm=norm, seed=seed) for seed in range(seeds) for norm in norms]
    measured = tuple(Epoch(n, 1.0, 0.5, 1.0, 0.5, 10, 0.1) for n in range(1, configs[0].all_epochs + 1))
    return [Run(each.config, measured, each.made_by) for each in store.recipes(configs, data="data")]


def test_sample_has_runs_of_each_arm():
    three = kept(norms=("none", "batch", "layer"))
    for count, drawn in ((1, 1), (2, 2), (9, 3)):
        found = sample(three, count, random.Random(0))
        assert [run.config.norm for run in found] == ["none"] * drawn + ["batch"] * drawn + ["layer"] * drawn


def test_sample_has_runs_of_each_arm_and_apart_those_that_were_looked_into():
    runs = kept(norms=("none",)) + kept(norms=("none",), warmup=5) + kept(norms=("none",), probed=True)
    found = verify.sample(runs, 1, random.Random(0))
    assert [(run.config.arm, run.config.probed) for run in found] == [
        ("none", False),
        ("none, warmup 5", False),
        ("none", True),
    ]


def test_sample_is_another_one_with_another_seed():
    many = kept(seeds=50)
    first, again, other = ([run.config.seed for run in sample(many, 3, random.Random(seed))] for seed in (1, 1, 2))
    assert first == again != other


def test_chains_are_left_out():
    assert sample(kept(later_rates=(0.01,)), 9, random.Random(0)) == []


def test_run_is_done_for_as_many_epochs_as_the_records_have():
    (run, *_) = kept(epochs=5)
    assert verify._here(run._replace(config=run.config.model_copy(update={"epochs": 10}))).epochs == 5


def test_device_that_is_not_here_is_replaced_and_told(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    (run, *_) = kept(device="cuda")
    assert verify._here(run).device in ("cpu", "mps")
    assert "device: cuda, for which no bits are promised" in changed(run)


def test_all_that_decides_the_bits_and_is_other_here_is_told(monkeypatch):
    (run, *_) = kept()
    assert changed(run) == []
    assert changed(run._replace(made_by=run.made_by | {"code": "other"})) == ["the training code"]
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert changed(run) == ["switches: ONEDNN_MAX_CPU_ISA=AVX2 here, none there"]


def losses(*values: float) -> Run:
    made = tuple(Epoch(n, x, *((0.5, 1.0, 0.5, 10) if np.isfinite(x) else (np.nan,) * 4), 0.1) for n, x in enumerate(values, 1))
    return kept()[0]._replace(epochs=made)


def test_largest_difference_is_that_of_all_epochs():
    assert largest(losses(1, 2), losses(1.5, 1.75))["train_loss"] == 0.5
    assert 0 < largest(losses(1.0), losses(np.nextafter(1, 2)))["train_loss"] < 1e-15
    assert largest(losses(1, 2), losses(1)) == dict.fromkeys(records.MEASURED, np.inf)
    assert largest(losses(1, 2), losses(1, np.nan))["train_loss"] == np.inf
