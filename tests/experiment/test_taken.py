"""Runs are taken from records that are as they were written; each of the others is refused by its name, and says why."""

import csv

import numpy as np
import pytest

from bnlib.experiment import records
from bnlib.experiment.config import RunConfig
from bnlib.experiment.records import Epoch, Look, Run
from bnlib.system import paths

MADE_BY = {"data": "d" * 64, "code": "c" * 64, "torch": "2.10", "accelerator": "none"}
NAN = float("nan")


def made(*losses: float, made_by=None, **fields) -> Run:
    """A run with these training losses; where one is not finite, nothing was measured."""
    config = RunConfig(**{"dataset": "digits", "learning_rate": 0.001, "seed": 0, "epochs": 10} | fields)
    rows = [(loss, 0.5, loss / 3, 0.25, 7.0) if np.isfinite(loss) else (NAN,) * 5 for loss in losses]
    return Run(config, tuple(Epoch(n, *row, 1.5) for n, row in enumerate(rows, start=1)), made_by or MADE_BY)


LOOKS = tuple(
    Look(probe, layer, "", value, step, epoch)
    for step, epoch in ((1, 1), (15, 1), (30, 2))
    for probe, layer, value in (("dead", "relu1", step / 64), ("classes", "", 7.0), ("shift", "conv2", NAN))
)


def probed(*losses: float, looks=LOOKS, **fields) -> Run:
    return made(*losses, probed=True, **fields)._replace(probes="p" * 64, looks=looks)


GOOD, OTHER = made(0.3, 0.2, 0.1), made(0.6, 0.5, 0.4, norm="batch")
CHAIN = made(0.3, 0.2, 0.1, 0.05, epochs=2, later_rates=(0.01,))


@pytest.fixture
def folder(tmp_path):
    """Records of two runs, `GOOD` and `OTHER`."""
    records.save(records.collect("learning_rate", [GOOD, OTHER]), tmp_path)
    return tmp_path


def edit(folder, table: str, change) -> None:
    """Has `change` do something to the rows of `GOOD` in a table; it gets them as dictionaries of text, and returns some."""
    path = folder / f"{table}.csv"
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    mine, others = ([row for row in rows if (row["run"] == GOOD.name) == its] for its in (True, False))
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows([*change(mine), *others])


def put(epoch: int, /, **values):
    """Puts other text into the row of an epoch."""
    return lambda rows: [row | values if row["epoch"] == str(epoch) else row for row in rows]


def everywhere(**values):
    return lambda rows: [row | values for row in rows]


def comparable(run: Run) -> str:
    return repr(run)  # NaN is not equal to itself


def test_runs_come_back_as_they_were(tmp_path):
    diverged = made(0.3, NAN, seed=1)
    of_elsewhere = made(0.3, seed=2, made_by=MADE_BY | {"torch": "2", "switches": "none"})  # which others do not speak of
    adopted = made(0.3, seed=3)._replace(adopted="2 runs of this code gave the bits of code 0123", date="2026-11-27")
    runs = [GOOD, OTHER, diverged, of_elsewhere, adopted, CHAIN]
    records.save(records.collect("learning_rate", runs), tmp_path)
    found, refused = records.taken(records.load(tmp_path))
    assert refused == {}
    assert {run.name for run in found} == {run.name for run in runs}
    by_name = {run.name: run for run in found}
    for run in runs:
        # How many epochs it was asked for is no part of a run; what it has is.
        its = by_name[run.name]
        assert comparable(its.first(run.config)) == comparable(run)
        assert its.config.changed == run.config.changed


def test_runs_are_taken_from_collected_records_too():
    found, refused = records.taken(records.collect("learning_rate", [GOOD]))
    assert refused == {}
    assert [comparable(run) for run in found] == [comparable(GOOD)]


def test_run_that_two_studies_have_is_one_with_the_epochs_of_the_longer(tmp_path):
    short = GOOD.first(GOOD.config.model_copy(update={"epochs": 2}))
    both = [records.collect("learning_rate_range", [short]), records.collect("learning_rate", [GOOD])]
    records.save(records.join(both), tmp_path)
    found, refused = records.taken(records.load(tmp_path))
    assert refused == {}
    assert [comparable(run) for run in found] == [comparable(GOOD)]


REFUSED = {  # the table, what happens to it, and what is said
    "no loss in the middle": (
        "epochs",
        put(2, train_loss="", train_accuracy="", test_loss="", test_accuracy="", classes=""),
        "has no training loss in epoch 2, and yet goes on",
    ),
    "no loss beside other numbers": ("epochs", put(3, train_loss=""), "has no training loss in epoch 3, and yet goes on"),
    "infinite loss": ("epochs", put(3, train_loss="inf"), "has no training loss in epoch 3, and yet goes on"),
    "no test loss": ("epochs", put(2, test_loss=""), "has a number in epoch 2 that no run can give"),
    "epoch gone": ("epochs", lambda rows: rows[:1] + rows[2:], "lacks an epoch"),
    "last epoch gone": ("epochs", lambda rows: rows[:2], "has numbers that were changed"),
    "epoch twice": ("epochs", lambda rows: [*rows, rows[1]], "has an epoch twice"),
    "epoch twice with other numbers": (
        "epochs",
        lambda rows: [*rows, rows[1] | {"test_loss": "0.5"}],
        "has an epoch twice",
    ),
    "other numbers in another study": (
        "epochs",
        lambda rows: [*rows, rows[1] | {"study": "replay", "test_loss": "0.5"}],
        "has two kinds of epoch 2",
    ),
    "changed loss": ("epochs", put(2, train_loss="0.20000000000000004"), "has numbers that were changed"),
    "changed accuracy": ("epochs", put(3, test_accuracy="0.26"), "has numbers that were changed"),
    "changed classes": ("epochs", put(3, classes="8"), "has numbers that were changed"),
    "accuracy of 900": ("epochs", put(3, test_accuracy="900"), "has a number in epoch 3 that no run can give"),
    "accuracy below 0": ("epochs", put(1, train_accuracy="-0.1"), "has a number in epoch 1 that no run can give"),
    "loss that is too large": ("epochs", put(1, train_loss="1e300"), "has a number in epoch 1 that no run can give"),
    "loss below 0": ("epochs", put(1, test_loss="-1"), "has a number in epoch 1 that no run can give"),
    "eleven classes": ("epochs", put(1, classes="11"), "has a number in epoch 1 that no run can give"),
    "half a class": ("epochs", put(1, classes="0.5"), "has a number in epoch 1 that no run can give"),
    "fitted loss below 0": ("epochs", put(1, fitted_loss="-1"), "has a number in epoch 1 that no run can give"),
    "no class": ("epochs", put(1, classes="0"), "has a number in epoch 1 that no run can give"),
    "text for a loss": ("epochs", put(2, train_loss="low"), "has no training loss in epoch 2"),
    "text for an epoch": ("epochs", put(2, epoch="second"), "has an epoch that is no whole number"),
    "infinite epoch": ("epochs", put(2, epoch="inf"), "has an epoch that is no whole number"),
    "half an epoch": ("timing", put(2, epoch="1.5"), "has an epoch that is no whole number"),
    "text for seconds": ("timing", put(2, train_seconds="long"), "has times that no run can have taken"),
    "row of another arm": ("epochs", put(2, norm="batch"), "has rows of another configuration"),
    "row of another seed": ("epochs", put(2, seed="1"), "has rows of another configuration"),
    "row of other data": ("epochs", put(2, dataset="mnist"), "has rows of another configuration"),
    "row of another rate": ("epochs", put(2, learning_rate="0.002"), "has rows at another learning rate"),
    "other configuration": (
        "runs",
        everywhere(configuration='{"dataset": "digits", "seed": 1, "learning_rate": 0.001}'),
        "has rows of another configuration",
    ),
    "configuration of nothing": ("runs", everywhere(configuration="{}"), "has no configuration that can be read"),
    "configuration with a norm of somebody's own": (
        "runs",
        everywhere(configuration='{"dataset": "digits", "seed": 0, "learning_rate": 0.001, "norm": "mine"}'),
        "has no configuration that can be read",
    ),
    "other code": ("runs", everywhere(code="e" * 64), "has another run's name"),
    "other torch": ("runs", everywhere(torch="2.1"), "has another run's name"),
    "other digest": ("runs", everywhere(digest="0" * 16), "has numbers that were changed"),
    "other count of epochs": ("runs", everywhere(epochs="2"), "has numbers that were changed"),
    "twice in runs.csv": ("runs", lambda rows: rows * 2, "stands in runs.csv twice"),
    "not in runs.csv": ("runs", lambda rows: [], "is not in runs.csv"),
    "no epochs": ("epochs", lambda rows: [], "has no epochs"),
    "no seconds": ("timing", lambda rows: [], "has no epochs"),
}


@pytest.mark.parametrize(("table", "change", "said"), REFUSED.values(), ids=REFUSED)
def test_run_that_is_not_as_it_was_written_is_refused_by_name_and_no_other(table, change, said, folder):
    edit(folder, table, change)
    found, refused = records.taken(records.load(folder))
    assert list(refused) == [GOOD.name]
    assert said in refused[GOOD.name]
    assert [comparable(run) for run in found] == [comparable(OTHER)]


def test_run_under_another_name_is_refused(folder):
    for table in ("epochs", "timing", "runs"):
        edit(folder, table, everywhere(run="0" * 16))
    found, refused = records.taken(records.load(folder))
    assert refused == {"0" * 16: "has another run's name"}
    assert [comparable(run) for run in found] == [comparable(OTHER)]


def test_swapped_runs_are_both_refused(folder):
    """Each is whole, but of the other's configuration."""
    path = folder / "epochs.csv"
    text = path.read_text()
    path.write_text(text.replace(GOOD.name, "x").replace(OTHER.name, GOOD.name).replace("x", OTHER.name))
    found, refused = records.taken(records.load(folder))
    assert found == []
    assert set(refused) == {GOOD.name, OTHER.name}


@pytest.mark.parametrize(
    ("column", "value"), [("seed", "x"), ("batch_size", "many"), ("learning_rate", "high"), ("classes", "x")]
)
def test_text_for_a_number_refuses_its_run_and_no_other(column, value, folder):
    edit(folder, "epochs", put(2, **{column: value}))
    found, refused = records.taken(records.load(folder))
    assert list(refused) == [GOOD.name]
    assert [comparable(run) for run in found] == [comparable(OTHER)]


def test_committed_runs_are_as_they_were_written():
    kept = records.load(paths.ROOT / "reports/mnist/data")
    runs, refused = records.taken(kept)
    assert refused == {}
    assert len(runs) == len(kept.runs) > 100


def test_first_epochs_of_a_longer_run_are_the_shorter_one():
    two = GOOD.config.model_copy(update={"epochs": 2})
    assert GOOD.first(two).epochs == GOOD.epochs[:2]
    assert GOOD.first(two).name == GOOD.name
    assert GOOD.first(GOOD.config.model_copy(update={"epochs": 5})).epochs == GOOD.epochs


def test_run_is_finished_at_its_epochs_or_where_it_diverged():
    assert GOOD.is_finished(3)
    assert not GOOD.is_finished(4)
    assert made(0.3, NAN).is_finished(10)
    assert not made().is_finished(1)


def test_name_hangs_on_configuration_and_on_what_made_it_and_on_nothing_else():
    assert made(0.9, 0.8).name == GOOD.name
    assert made(0.3)._replace(adopted="so").name == GOOD.name
    others = [made(seed=1), made(norm="batch"), *(made(made_by=MADE_BY | {name: "other"}) for name in MADE_BY)]
    assert len({GOOD.name, *(run.name for run in others)}) == 1 + len(others)


# What probes saw


def test_what_was_seen_in_a_run_comes_back_as_it_was(tmp_path):
    run = probed(0.3, 0.2)
    records.save(records.collect("inside", [run, OTHER]), tmp_path)
    found, refused = records.taken(records.load(tmp_path))
    assert refused == {}
    assert comparable(found[[run.name for run in found].index(run.name)]) == comparable(run)
    assert not next(other for other in found if other.name == OTHER.name).config.probed


@pytest.mark.parametrize("value", ["first", "inf", "1.5"])
def test_step_that_is_no_whole_number_refuses_its_run_and_no_other(value, tmp_path):
    other = probed(0.3, seed=1)
    records.save(records.collect("inside", [probed(0.3), other]), tmp_path)
    edit(tmp_path, "steps", lambda rows: [row | {"step": value} if row["seed"] == "0" else row for row in rows])
    found, refused = records.taken(records.load(tmp_path))
    assert refused == {GOOD.name: "has a step that is no whole number"}
    assert [comparable(run) for run in found] == [comparable(other)]


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows[1:],
        lambda rows: [*rows, rows[0]],
        everywhere(layer="relu2"),
        everywhere(value="0.5"),
        everywhere(seed="1"),
    ],
    ids=["one lost", "one twice", "another layer", "another value", "another seed"],
)
def test_run_in_which_other_things_were_seen_than_written_is_refused(change, tmp_path):
    assert probed(0.3).name == made(0.3).name == GOOD.name
    records.save(records.collect("inside", [probed(0.3), OTHER]), tmp_path)
    edit(tmp_path, "steps", change)
    found, refused = records.taken(records.load(tmp_path))
    assert [run.name for run in found] == [OTHER.name]
    assert list(refused) == [GOOD.name]


def test_steps_file_that_is_lost_is_missed(tmp_path):
    records.save(records.collect("inside", [probed(0.3)]), tmp_path)
    (tmp_path / "steps.csv").unlink()
    assert list(records.taken(records.load(tmp_path))[1]) == [GOOD.name]


def test_steps_of_probes_that_no_longer_look_are_taken_away(tmp_path):
    records.save(records.collect("inside", [probed(0.3)]), tmp_path)
    records.save(records.collect("inside", [made(0.3)]), tmp_path)
    assert len(records.taken(records.load(tmp_path))[0]) == 1


@pytest.mark.parametrize("turned", [False, True])
def test_run_that_one_study_looked_into_and_another_took_further_is_one_run(turned, tmp_path):
    # The first study looks for one epoch, the second for two, the third takes the run through three and does not look.
    first, second, third = probed(0.3, looks=LOOKS[:6]), probed(0.3, 0.2), made(0.3, 0.2, 0.1)
    parts = [records.collect(name, [run]) for name, run in (("first", first), ("second", second), ("third", third))]
    records.save(records.join(parts[::-1] if turned else parts), tmp_path)
    (run,), refused = records.taken(records.load(tmp_path))
    assert refused == {}
    assert comparable(run) == comparable(probed(0.3, 0.2, 0.1))
    assert run.is_seen(2)
    assert not run.is_seen(3)


def test_first_epochs_have_what_was_seen_in_them():
    run, short = probed(0.3, 0.2), made(0.3, epochs=1).config
    assert run.first(short.model_copy(update={"probed": True})).looks[-1].epoch == 1
    assert run.first(short).looks == ()


def test_run_that_diverged_is_seen_to_its_end():
    assert probed(0.3, NAN).is_seen(10)
    assert not probed(0.3, 0.2).is_seen(10)
    assert not made(0.3, NAN).is_seen(2)
