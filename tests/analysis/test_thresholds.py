import pandas as pd
import pytest

from bnlib.analysis import thresholds
from tests.conftest import make_epochs, results_of

NAN = float("nan")


@pytest.fixture
def first():
    """Four runs of three epochs: one reaches 98% in epoch 1, one in epoch 2, one never, one diverges."""
    runs = {
        0: [(1, 0.98), (1, 0.90), (1, 0.99)],
        1: [(1, 0.90), (1, 0.985), (1, 0.97)],
        2: [(1, 0.90), (1, 0.95), (1, 0.97)],
        3: [(1, 0.90), (NAN, NAN)],
    }
    results = results_of(make_epochs({(norm, 0.001): runs for norm in ("none", "batch")}))
    return thresholds.first_reached(results.values("epochs_until_0.98", 0.001)["none"], given=3)


def test_misses_are_censored_at_the_last_epoch_and_never_dropped(first):
    assert first.epoch.tolist() == [1, 2, 3, 3]
    assert first.reached.tolist() == [True, True, False, False]


def test_kaplan_meier_steps_down_at_each_run_that_gets_there(first):
    curve = thresholds.kaplan_meier(first)
    assert curve.epochs.tolist() == [1, 2, 3]
    assert curve.share.tolist() == pytest.approx([0.75, 0.5, 0.5])
    assert (curve.low[:2] < curve.share[:2]).all()
    assert (curve.share[:2] < curve.high[:2]).all()


@pytest.mark.parametrize(
    ("until", "median"),
    [([1, 2, 4, 4], 2), ([1, 4, 4, 4], float("inf")), ([3, 1, 2], 2), ([4, 1, 4], float("inf")), ([1, 1], 1)],
)
def test_median_is_the_epoch_by_which_half_had_reached_it(until, median):
    assert thresholds.first_reached(pd.Series(until), given=3).median == median


def test_usable_rates_are_within_a_point_of_the_arm_s_best_median(span):
    assert thresholds.usable(results_of(span).runs) == {"none": [0.001], "batch": [0.001, 0.01]}  # at 1 the median is 94.05%


def test_rate_at_which_a_run_failed_is_not_usable_nor_the_best(span):
    # At 0.01 one run with batch norm fails, the other is the best of all: 0.001 is held against 1, not against that.
    at = (span.norm == "batch") & (span.learning_rate == 0.01) & (span.epoch == 2)
    failing = span.assign(
        classes=span.classes.mask(at & (span.seed == 0), 1),
        test_accuracy=span.test_accuracy.mask(at & (span.seed == 1), 1.0).mask(at & (span.seed == 0), 0.1135),
    )
    assert thresholds.usable(results_of(failing).runs)["batch"] == [0.001]


def test_largest_usable_rate_is_read_off_seed_by_seed(span):
    largest = thresholds.largest(results_of(span).runs)
    assert largest["none"].tolist() == [0.001, 0.001]
    assert largest["batch"].tolist() == [0.01, 1.0]


def test_wider_margin_reaches_further(span):
    assert thresholds.largest(results_of(span).runs, 0.02)["none"].tolist() == [0.01, 0.01]  # 96% beside 98%
    assert thresholds.largest(results_of(span).runs, 0.02)["batch"].tolist() == [0.01, 1.0]


@pytest.mark.parametrize(("margin", "hits"), [(0.01, (5096, 4996)), (0.0025, (9999, 9974))])
def test_run_just_as_many_images_below_as_the_margin_is_usable(margin, hits):
    cells = {("none", rate): {0: [(0.1, n / 10_000)]} for rate, n in zip((0.001, 0.01), hits, strict=True)}
    assert thresholds.largest(results_of(make_epochs(cells)).runs, margin)["none"].tolist() == [0.01]
    beyond = {cell: {0: [(0.1, its[0][0][1] - (cell[1] == 0.01) / 10_000)]} for cell, its in cells.items()}
    assert thresholds.largest(results_of(make_epochs(beyond)).runs, margin)["none"].tolist() == [0.001]


def test_failed_run_has_no_accuracy(span):
    accuracy = thresholds.final_accuracy(results_of(span).runs)
    assert accuracy.loc["none"][1.0].isna().all()  # one diverged, one gives one answer
    assert accuracy.loc["batch"][1.0].tolist() == [0.9, 0.981]


def test_rate_is_survived_where_no_run_up_to_it_failed(span):
    found = thresholds.survived(results_of(span).runs)
    assert found["none"].tolist() == [0.01, 0.01]
    assert found["batch"].tolist() == [1.0, 1.0]


def test_what_lies_above_a_failure_is_not_survived_and_the_smallest_rate_stands_for_all_below():
    good, gone = [(0.1, 0.9)], [(2.3, 0.1)]
    cells = {("none", 0.01): {0: good, 1: gone}, ("none", 0.1): {0: gone, 1: good}, ("none", 1.0): {0: good, 1: good}}
    found = thresholds.survived(results_of(make_epochs(cells)).runs)["none"]
    assert found.tolist() == [0.01, 0.01]


def test_reach_is_told_for_each_margin_after_each_epoch(span):
    study = results_of(span).study
    table = thresholds.reach(study, span, margins=(0.01, 0.02)).set_index(["epoch", "margin", "arm", "seed"]).largest
    assert len(table) == 2 * 2 * 2 * 2
    # After epoch 1 all runs that have not failed are at 90%; after epoch 2 as `largest` has it.
    assert table[1, 0.01, "none"].tolist() == [0.01, 0.01]
    assert table[1, 0.01, "batch"].tolist() == [1.0, 1.0]
    for margin in (0.01, 0.02):
        largest = thresholds.largest(results_of(span).runs, margin)
        assert all(table[2, margin, arm].tolist() == largest[arm].tolist() for arm in largest)


def test_arm_that_fails_at_every_rate_has_no_usable_one_and_the_smallest_stands_for_all_below():
    failing = {("none", rate): {0: [(2.3, 0.1)]} for rate in (0.01, 0.1)}
    fine = {("batch", rate): {0: [(0.1, accuracy)]} for rate, accuracy in ((0.01, 0.9), (0.1, 0.5))}
    largest = thresholds.largest(results_of(make_epochs(failing | fine)).runs)
    assert largest["batch"].tolist() == [0.01]
    assert largest["none"].tolist() == [0.01]
    assert thresholds.usable(results_of(make_epochs(failing | fine)).runs)["none"] == []
