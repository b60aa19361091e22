import numpy as np
import pandas as pd
import pytest

from bnlib import UserError
from bnlib.experiment import outcomes
from bnlib.experiment.outcomes import MEASURED, OUTCOMES, SEEN, TABLE, failed, per_run
from tests.conftest import make_epochs

ONE = ("none", 0.001)  # an arm and a rate
NAN = (np.nan, np.nan)


def run(*values: tuple[float, float], classes: int | None = None) -> pd.DataFrame:
    """The records of one run, from its training losses and test accuracies."""
    return make_epochs({ONE: {0: list(values)}}, classes=classes)


def read(name: str, records: pd.DataFrame, given: int = 3) -> float:
    return OUTCOMES[name].read(records, given)


RUN = run((0.5, 0.90), (0.3, 0.98), (0.2, 0.985), (0.1, 0.975)).assign(
    train_accuracy=[0.8, 0.9, 0.95, 0.99], fitted_loss=[0.4, 0.05, 0.0125, 0.01]
)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("train_loss_first", 0.5),
        ("train_loss_second", 0.3),
        ("train_loss_last", 0.1),
        ("train_accuracy_first", 0.8),
        ("train_accuracy_second", 0.9),
        ("train_accuracy_last", 0.99),
        ("test_accuracy_last", 0.975),
        ("test_loss_last", 0.2),
        ("fluctuation", 0.01),  # from 0.985 in the third epoch to 0.975 in the fourth; what was before does not count
        ("fluctuation_loss", 0.1),
        ("fluctuation_log_loss", 2),  # from 0.2 to a half of it
        ("test_loss_at_fit", 0.5),  # by the logarithm 0.025 is halfway from 0.05 to 0.0125: from 0.6 to 0.4
        ("gap", 0.015),
        ("epochs_until_0.98", 2),
        ("epochs_until_0.985", 3),
        ("epochs_until_0.99", 5),  # never, in four epochs
    ],
)
def test_outcome_is_read_off_a_run(name, value):
    assert read(name, RUN, given=4) == pytest.approx(value)


def test_every_outcome_has_a_test_and_those_of_the_original_s_table_exist():
    (mark,) = test_outcome_is_read_off_a_run.pytestmark
    assert {name for name, _ in mark.args[1]} == set(MEASURED)
    assert set(TABLE) <= set(OUTCOMES)


@pytest.mark.parametrize("fitted", [[0.4, 0.05, 0.03, 0.03], [0.01, 0.05, 0.01, 0.01], [np.nan] * 4])
def test_run_that_did_not_come_to_the_same_fit_or_was_there_before_is_not_compared_at_it(fitted):
    assert np.isnan(read("test_loss_at_fit", RUN.assign(fitted_loss=fitted), given=4))


def test_run_that_failed_is_not_compared_at_the_same_fit():
    assert np.isnan(read("test_loss_at_fit", RUN.assign(classes=1), given=4))


def test_run_of_one_epoch_has_no_second_one():
    assert np.isnan(read("train_loss_second", run((0.5, 0.9))))
    assert np.isnan(read("fluctuation", run((0.5, 0.9))))
    assert read("train_loss_first", run((0.5, 0.9))) == read("train_loss_last", run((0.5, 0.9))) == 0.5


def test_run_that_predicts_one_class_failed():
    assert failed(run((2.3, 0.9), (2.3, 0.1135), classes=1))


def test_run_without_a_finite_loss_failed():
    assert failed(run((2.3, 0.9), NAN))


@pytest.mark.parametrize("accuracy", [0.1, 0.35])
def test_low_accuracy_with_several_classes_is_no_failure(accuracy):
    assert not failed(run((2.3, accuracy), classes=4))


def unknown(accuracy: float, dataset: str = "mnist") -> pd.DataFrame:
    """A run of which it was not recorded how many classes it predicted."""
    return make_epochs({ONE: {0: [(2.3, accuracy)]}}, dataset=dataset).assign(classes=pd.array([pd.NA], dtype="Int64"))


@pytest.mark.parametrize(
    ("dataset", "count", "of"),
    [("mnist", 980, 10_000), ("mnist", 1135, 10_000), ("fashion_mnist", 1000, 10_000), ("digits", 37, 360)],
)
def test_where_classes_were_not_recorded_the_share_of_one_class_is_a_failure(dataset, count, of):
    assert failed(unknown(count / of, dataset))
    assert not failed(unknown((count + 0.5) / of, dataset))
    # Where they were, they alone count.
    assert not failed(unknown(count / of, dataset).assign(classes=pd.array([2], dtype="Int64")))


def test_share_of_a_class_is_that_of_the_run_s_own_data():
    assert not failed(unknown(0.1, "mnist"))
    assert failed(unknown(0.1, "fashion_mnist"))
    assert not failed(unknown(0.1135, "digits"))


def test_classes_that_were_not_recorded_alone_are_no_failure():
    assert not failed(unknown(0.9))
    assert failed(unknown(0.9).assign(train_loss=np.nan))


def test_only_the_last_epoch_says_whether_a_run_failed():
    assert not failed(run((2.3, 0.1), (0.3, 0.9)))


def test_failed_run_has_neither_gap_nor_fluctuation():
    gone = run((0.3, 0.98), (0.3, 0.98), (0.3, 0.98), (2.3, 0.1))
    assert np.isnan(read("gap", gone, given=4))
    assert np.isnan(read("fluctuation", gone, given=4))
    assert read("epochs_until_0.98", gone, given=4) == 1


def test_diverged_run_counts_until_it_diverged():
    gone = run((0.3, 0.97), NAN)
    assert read("train_loss_first", gone) == 0.3
    assert np.isnan(read("train_loss_last", gone))
    assert np.isnan(read("test_accuracy_last", gone))
    assert read("epochs_until_0.98", gone, given=10) == 11  # of the epochs that it was given, not of those that it had


def test_factor_is_the_same_up_and_down():
    there_and_back = run((0.5, 0.9), (0.4, 0.9), (0.1, 0.9), (0.3, 0.9), (0.1, 0.9))
    assert read("fluctuation_log_loss", there_and_back, given=5) == pytest.approx(3)
    assert np.isnan(read("fluctuation_log_loss", run((0.5, 0.9), (0.4, 0.9), (0.1, 0.9), (2.3, 0.1)), given=4))


@pytest.mark.parametrize(
    ("name", "width"),
    [("test_accuracy_last", 1), ("gap", 2), ("dead_relu1", 1), ("shift_cosine", 2), ("test_loss_last", np.inf)],
)
def test_differences_have_the_width_of_what_is_possible(name, width):
    assert OUTCOMES[name].width == width


def test_chain_that_diverged_failed_at_the_rates_that_it_did_not_come_to():
    runs = pd.DataFrame(
        [("none", 0.001, 0, False), ("none", 0.01, 0, True), ("none", 0.001, 1, False), ("none", 0.01, 1, False)],
        columns=["arm", "learning_rate", "seed", "failed"],
    )
    found = outcomes.with_ended(runs, [0.001, 0.01, 0.005])
    assert found.iloc[:4].equals(runs)
    assert found.iloc[4:].to_numpy().tolist() == [["none", 0.005, 0, True]]
    assert outcomes.with_ended(runs[runs.seed == 1], [0.001, 0.01, 0.005]).equals(runs[runs.seed == 1])


def test_each_run_has_a_row_whatever_the_order_of_the_records(epochs):
    by, names = ["norm", "seed"], ["train_loss_first", "test_accuracy_last"]
    table = per_run(epochs, by, names, given=2)
    assert list(table.columns) == [*by, "failed", *names]
    assert table[table.norm == "none"].train_loss_first.tolist() == [0.3, 0.4, 0.5]
    assert table[table.norm == "none"].test_accuracy_last.tolist() == [0.97, 0.98, 0.99]
    shuffled = per_run(epochs.sample(frac=1, random_state=0), by, names, given=2)
    pd.testing.assert_frame_equal(shuffled.sort_values(by, ignore_index=True), table.sort_values(by, ignore_index=True))


def test_each_run_says_whether_it_failed(diverged_epochs):
    table = per_run(diverged_epochs, ["norm", "seed"], [], given=2).set_index(["norm", "seed"]).failed
    assert table.to_dict() == {("none", 0): True, ("none", 1): True, ("batch", 0): False, ("batch", 1): False}


def test_another_outcome_is_one_entry_in_the_table(monkeypatch):
    least = outcomes.Outcome("lowest training loss", "train_loss", "", False, lambda run, given: run.train_loss.min())
    monkeypatch.setitem(OUTCOMES, "least", least)
    assert per_run(RUN, ["norm", "seed"], ["least"], given=4).least.tolist() == [0.1]


def test_numbers_are_written_with_their_digits():
    loss, accuracy, until = OUTCOMES["train_loss_first"], OUTCOMES["test_accuracy_last"], OUTCOMES["epochs_until_0.98"]
    assert loss.number(-0.12345, signed=True) == "−0.1235"
    assert accuracy.number(0.98765) == "98.77"
    assert accuracy.number(0.01, signed=True) == "+1.00"
    assert accuracy.number(-0.00001, signed=True) == "+0.00"
    assert accuracy.number(float("nan")) == "–"
    assert until.number(2.25) == "2.2"
    assert loss.title(10) == "training loss of epoch 1"
    assert accuracy.title(10) == "test accuracy of epoch 10"
    assert until.title(10) == "epochs until test accuracy 98.0%"


def test_units_are_those_that_readers_see():
    units = {
        name: (OUTCOMES[name].unit, OUTCOMES[name].difference_unit) for name in ("gap", "test_loss_last", "epochs_until_0.99")
    }
    assert units["gap"] == ("%", "percentage points")
    assert units["test_loss_last"] == ("nats", "nats")
    assert units["epochs_until_0.99"] == ("epochs", "epochs")


# What probes saw at three steps of a first epoch: by (probe, layer, measure). The loss along the step is four numbers a step.
LOOKS = {
    ("dead", "relu1", ""): (0, 0, 0.25),
    ("dead", "relu2", ""): (0, 0.5, 0.75),
    ("dead", "relu3", ""): (0, 0, 0.5),
    ("classes", "", ""): (10, 1, 3),
    ("step_size", "linear1", ""): (0.8, 0.2, 0.1),
    ("loss_band", "", "before"): (2, 9, 9),
    ("loss_band", "", "gradient × 0.5"): (1, 2, 8),
    ("loss_band", "", "gradient × 1"): (2, 4, 16),
    ("loss_band", "", "step × 0.5"): (5, 1, 1),
    ("loss_band", "", "step × 1"): (3, 4, 10),
    ("predictiveness", "", "gradient × 0.5"): (1, 1, 1),
    ("predictiveness", "", "gradient × 1"): (2, 4, 8),
    ("predictiveness", "", "step × 1"): (1, 10, 100),
    ("smoothness", "", "gradient"): (1, 2, 4),
    ("smoothness", "", "gradient, relative"): (1, 3, 9),
    ("smoothness", "", "step"): (5, 5, 5),
    ("smoothness", "", "step, relative"): (1, 1, 8),
    **{("shift", layer, "difference"): (1, 1, 1) for layer in ("conv2", "linear1")},
    ("shift", "linear2", "difference"): (8, 8, 8),
    **{("shift", layer, "relative"): (2, 4, 8) for layer in ("conv1", "conv2")},
    **{("shift", "linear1", "relative"): (1, 1, 1), ("shift", "linear2", "relative"): (8, 16, 32)},
    **{("shift", layer, "cosine"): (0, 0.3, 0.6) for layer in ("conv2", "linear1", "linear2")},
}


def looked(looks: dict = LOOKS, run: pd.DataFrame = RUN, **changed) -> pd.DataFrame:
    """The outcomes of a run that was looked into at the steps 1, 2 and 10 of its first epoch, and later."""
    rows = [
        {
            "norm": "none",
            "seed": 0,
            "step": step,
            "epoch": epoch,
            "probe": what[0],
            "layer": what[1],
            "measure": what[2],
            "value": value,
        }
        for what, values in looks.items()
        for step, epoch, value in zip((1, 2, 10, 20), (1, 1, 1, 2), (*values, 1e9), strict=True)
    ]
    return per_run(run, ["norm", "seed"], list(SEEN), 4, pd.DataFrame(rows).assign(**changed))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dead_relu1", 0.25),  # at the end of the first epoch
        ("dead_relu2", 0.75),
        ("dead_relu3", 0.5),
        ("dead_most", 0.75),
        ("settled", np.nan),  # three classes at its end
        ("dead_for_good", np.nan),  # some channels of each layer are not
        ("first_loss", 3 / 2),
        ("first_step", 0.8),
        ("loss_range", (1 * 2 * 8) ** (1 / 3)),
        ("loss_range_step", (2 * 3 * 9) ** (1 / 3)),
        ("predictiveness", 4),  # (2 · 4 · 8)^⅓
        ("predictiveness_step", 10),
        ("smoothness", 2),
        ("smoothness_relative", 3),
        ("smoothness_step", 5),
        ("smoothness_step_relative", 2),
        ("shift", 2),  # over steps, and over the layers before which others stand
        ("shift_relative", 4),
        ("shift_cosine", 0.3),
        ("shift_relative_conv2", 4),
        ("shift_relative_linear1", 1),
        ("shift_relative_linear2", 16),
    ],
)
def test_outcome_of_probes_is_read_off_what_they_saw_in_the_first_epoch(name, value):
    assert looked()[name].tolist() == pytest.approx([value], nan_ok=True)


def test_every_outcome_of_probes_has_a_test():
    (mark,) = test_outcome_of_probes_is_read_off_what_they_saw_in_the_first_epoch.pytestmark
    assert {name for name, _ in mark.args[1]} == set(SEEN)


def test_run_is_settled_from_the_first_look_on_after_which_all_see_one_class():
    for classes, step in (((1, 1, 1), 1), ((10, 1, 1), 2), ((1, 2, 1), 10)):
        assert looked(LOOKS | {("classes", "", ""): classes}).settled.tolist() == [step]


def test_layer_is_dead_for_good_from_the_first_look_on_after_which_all_of_one_always_is():
    for relu2, relu3, step in (((1, 1, 1), (0, 0, 0), 1), ((1, 0.9, 1), (0, 0, 0), 10), ((0, 1, 0.9), (0, 0, 1), 2)):
        dead = {("dead", "relu2", ""): relu2, ("dead", "relu3", ""): relu3}
        assert looked(LOOKS | dead).dead_for_good.tolist() == [step]


def test_of_a_run_that_failed_the_first_step_and_what_is_dead_are_told_and_no_more():
    gone = looked(run=run((2.3, 0.1), classes=1)).iloc[0]
    told = set(gone[gone.notna()].index) - {"norm", "seed", "failed"}
    assert told == {
        "dead_relu1",
        "dead_relu2",
        "dead_relu3",
        "dead_most",
        "first_loss",
        "first_step",
    }  # and by when, of one that settled


def test_layer_that_an_arm_lacks_is_no_part_of_its_shift():
    without = {what: values for what, values in LOOKS.items() if what[1] != "linear2"}
    assert looked(without)["shift"].tolist() == pytest.approx([1])


@pytest.mark.parametrize("lacking", [("step_size", "linear1", ""), ("dead", "relu2", ""), ("classes", "", "")])
def test_look_that_older_records_lack_is_named(lacking):
    older = {what: values for what, values in LOOKS.items() if what != lacking}
    with pytest.raises(UserError, match=f"lacks '{' '.join(filter(None, lacking))}'"):
        looked(older)


def test_run_that_nobody_looked_into_has_no_outcome_of_probes():
    assert looked(seed=1)[list(SEEN)].isna().all(axis=None)
    assert per_run(RUN, ["norm", "seed"], ["shift"], 4)["shift"].isna().all()


def test_interval_without_zero_is_not_rounded_onto_it():
    accuracy = OUTCOMES["test_accuracy_last"]
    assert accuracy.ends(0.00004, 0.0009) == ("+0.004", "+0.090")
    assert accuracy.ends(-0.00004, 0.0009) == ("+0.00", "+0.09")
    assert accuracy.ends(-0.0009, -0.0002) == ("−0.09", "−0.02")


def test_ratio_is_written_as_what_it_is_and_a_difference_of_logarithms_as_the_ratio():
    ratio = OUTCOMES["smoothness"]
    assert (ratio.number(0.25), ratio.number(np.log(0.25), signed=True)) == ("0.25", "0.25")
    assert (ratio.unit, ratio.difference_unit) == ("", "times as large")
    assert ratio.ends(np.log(1.0037), np.log(1.36)) == ("1.004", "1.36")
    assert ratio.ends(np.log(0.9996), np.log(1.36)) == ("1", "1.36")  # which holds 1
    assert OUTCOMES["shift_cosine"].number(0.0123, signed=True) == "+0.012"
    assert OUTCOMES["dead_relu2"].number(0.5) == "50.00"
