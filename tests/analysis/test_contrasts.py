from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bnlib import UserError
from bnlib.analysis import contrasts, statistics
from bnlib.analysis.results import CHANGE, FAILED, OWN, RANK, RANK_CHANGE, REACH, Results
from tests.conftest import make_epochs, make_steps, results_of

LOSS, ACCURACY = "train_loss_last", "test_accuracy_last"
FOUR = ("none", "batch", "group", "layer")
CLEAR, MIXED, SAME = [1, 2, 3, 4, 5, 6, 7, 8], [11, -12, 8, 7, -13, 1, 18, 12], [0] * 8


def results(cells: dict[tuple[str, float], list], **fields) -> Results:
    """Of runs of one epoch, from {(norm, rate): (training loss, test accuracy) by seed}."""
    epochs = {cell: {seed: [pair] for seed, pair in enumerate(pairs)} for cell, pairs in cells.items()}
    return results_of(make_epochs(epochs), **fields)


def apart(differences: dict[tuple[str, float], list[int]]) -> Results:
    """Arms whose test accuracies differ from those without a norm by these counts of 10,000 images."""
    rates = {rate for _, rate in differences}
    cells = {cell: [(0.5, 0.9 + d / 10_000) for d in counts] for cell, counts in differences.items()}
    seeds = max(map(len, differences.values()))
    return results({("none", rate): [(0.5, 0.9)] * seeds for rate in rates} | cells)


def test_contrast_is_arm_minus_reference_over_pairs(epochs):
    row = results_of(epochs).one("train_loss_first", "batch", 0.001)
    # Differences -0.10, -0.09, -0.11; t = 4.302653 with two degrees of freedom.
    assert row.estimate == pytest.approx(-0.1)
    half = 4.302653 * 0.01 / 3**0.5
    assert (row.low, row.high) == (pytest.approx(-0.1 - half, abs=1e-6), pytest.approx(-0.1 + half, abs=1e-6))
    assert row.p == row.p_adjusted == pytest.approx(2 * stats.t.sf(0.1 / (0.01 / 3**0.5), 2))
    assert (row.n, row.pairs, row.better, row.tied, row.exact) == (3, 3, 3, 0, False)
    assert row.sign == -1


def test_contrast_gives_the_middle_and_the_ends_of_both_arms(epochs):
    row = results_of(epochs).one("train_loss_first", "batch", 0.001)
    assert (row.median, row.least, row.most) == (0.31, 0.2, 0.39)
    assert (row.reference_median, row.reference_least, row.reference_most) == (0.4, 0.3, 0.5)


def test_better_means_lower_losses_and_higher_accuracies(epochs):
    found = results_of(epochs)
    # Test accuracies 97, 98, 99% without and 98% with: one better, one equal.
    accuracy, loss = found.one(ACCURACY, "batch", 0.001), found.one(LOSS, "batch", 0.001)
    assert (accuracy.better, accuracy.tied, accuracy.n) == (1, 1, 3)
    assert (loss.better, loss.tied) == (3, 0)


def test_arm_is_told_by_median_and_range(epochs):
    found = results_of(epochs)
    assert found.spread("train_loss_first", "none", 0.001) == statistics.Spread(0.4, 0.3, 0.5, 3)
    assert found.values("train_loss_first", 0.001)["batch"].tolist() == [0.2, 0.31, 0.39]


def test_order_of_records_does_not_matter(epochs):
    shuffled = results_of(epochs.sample(frac=1, random_state=0))
    pd.testing.assert_frame_equal(shuffled.contrasts, results_of(epochs).contrasts)


def test_p_is_adjusted_over_arms_and_cells():
    found = apart({("batch", 0.001): CLEAR, ("group", 0.001): MIXED, ("batch", 0.01): SAME, ("group", 0.01): CLEAR})
    # Of 256 sign patterns 2, 90, 256 and 2 are as far from zero; Holm multiplies with 3, 3, 1 and 1 and never falls: pairs
    # that are all alike could not have come to less than 256.
    p = {(row.arm, row.learning_rate): (row.p * 256, row.p_adjusted * 256) for row in found.find(ACCURACY)}
    assert p == {
        ("batch", 0.001): pytest.approx((2, 6)),
        ("group", 0.001): pytest.approx((90, 90)),
        ("batch", 0.01): pytest.approx((256, 256)),
        ("group", 0.01): pytest.approx((2, 6)),
    }
    assert [row.exact for row in found.find(ACCURACY)] == [True] * 4


def test_test_of_too_few_pairs_that_differ_counts_at_none_that_came_lower():
    three = [5, 6, 7, 0, 0, 0, 0, 0]  # of which all that differ are to one side, and it is 2 of 8 patterns
    found = apart({("batch", 0.001): [8, 7, 6, 5, 4, 3, -2, 1], ("batch", 0.01): three})
    low, high = (found.one(ACCURACY, "batch", rate) for rate in (0.001, 0.01))
    assert (low.least_p, low.p_adjusted) == (2 / 256, 6 / 256)
    assert high.least_p == high.p == high.p_adjusted == 2 / 8
    many = apart({("batch", rate): CLEAR for rate in np.arange(1, 9)})
    assert (many.one(ACCURACY, "batch", 1.0).exact, many.one(ACCURACY, "batch", 1.0).least_p) == (False, 0)  # of a t test: any


def test_outcomes_are_not_adjusted_over_one_another():
    found = apart({("batch", 0.001): CLEAR})
    assert found.one(ACCURACY, "batch", 0.001).p_adjusted == 2 / 256
    assert found.one("test_accuracy_last", "batch", 0.001).p == 2 / 256


def test_arms_are_told_apart_where_interval_and_adjusted_p_agree():
    # The flips of nothing, of 1 and of 2, and their opposites: 6 of 256 patterns are as far from zero.
    close = [8, 7, 6, 5, 4, 3, -2, 1]
    alone = apart({("batch", 0.001): close}).one(ACCURACY, "batch", 0.001)
    assert alone.p_adjusted == alone.p == pytest.approx(6 / 256)
    assert (alone.difference.sign, alone.sign) == (1, 1)
    among = apart({("batch", 0.001): close, ("group", 0.001): MIXED, ("layer", 0.001): MIXED}).one(ACCURACY, "batch", 0.001)
    assert among.p_adjusted == pytest.approx(18 / 256)
    assert (among.difference.sign, among.sign) == (1, 0)


def test_few_pairs_for_their_family_are_judged_by_t():
    cells = {("batch", rate): CLEAR for rate in (0.001, 0.002, 0.003, 0.004)}
    assert apart(cells).one(ACCURACY, "batch", 0.001).exact  # 4 * 2 / 256 = 3.1%
    many = apart(cells | {("group", rate): CLEAR for rate in (0.001, 0.002, 0.003, 0.004)})
    assert not many.one(ACCURACY, "batch", 0.001).exact  # 8 * 2 / 256 = 6.3%
    assert many.one(ACCURACY, "batch", 0.001).p == pytest.approx(stats.ttest_1samp(CLEAR, 0).pvalue)


def test_equality_up_to_a_margin_is_tested_of_accuracies_alone():
    row = apart({("batch", 0.001): [1, -1, 2, -2, 0, 1, -1, 0]}).one(ACCURACY, "batch", 0.001)
    # In images of 10,000 the mean is 0 and the margin ten; t = 1.894579 with seven degrees of freedom at 95%.
    half = 1.894579 * np.std([1, -1, 2, -2, 0, 1, -1, 0], ddof=1) / 8**0.5 / 10_000
    assert row.equal_p < 0.001
    assert (row.equal_low, row.equal_high) == (pytest.approx(-half, rel=1e-5), pytest.approx(half, rel=1e-5))
    assert np.isnan(apart({("batch", 0.001): CLEAR}).one("train_loss_last", "batch", 0.001).equal_p)


def test_equality_is_not_adjusted_over_the_rates():
    near = [1, -1, 2, -2, 0, 1, -1, 0]
    several = apart({("batch", rate): near for rate in (0.001, 0.01, 0.1)})
    assert (
        several.one(ACCURACY, "batch", 0.001).equal_p == apart({("batch", 0.001): near}).one(ACCURACY, "batch", 0.001).equal_p
    )


def test_run_that_failed_is_in_no_mean(diverged_epochs):
    found = results_of(diverged_epochs)
    assert found.values("train_loss_first", 1000.0)["none"].tolist() == [2.5, 2.4]
    assert found.learned("train_loss_first", 1000.0)["none"].isna().all()  # one diverges later, one gives one answer
    assert found.learned(ACCURACY, 1000.0)["batch"].tolist() == [0.75, 0.85]
    row = found.one(ACCURACY, "batch", 1000.0)
    assert (row.n, row.pairs, row.median, row.least) == (0, 2, pytest.approx(0.8), 0.75)
    assert np.isnan([row.estimate, row.p, row.reference_median]).all()
    assert found.differences(ACCURACY, "batch", 1000.0).isna().all()


def test_failed_runs_are_counted_in_each_arm(diverged_epochs):
    found = results_of(diverged_epochs)
    row = found.one("train_loss_first", "batch", 1000.0)
    assert (row.failed, row.failed_reference) == (0, 2)
    assert found.failed("none", 1000.0) == found.failed("none") == statistics.share(2, 2)
    assert found.failed("batch") == statistics.share(0, 2)


GOOD, GONE = (0.1, 0.9), (2.3, 0.1)


def test_shares_of_failed_runs_are_told_apart_by_mcnemar_s_test():
    found = results({("none", 0.1): [GONE] * 7 + [GOOD], ("batch", 0.1): [GOOD] * 6 + [GONE] + [GOOD]})
    row = found.one("failed", "batch", 0.1, kind=FAILED)
    # Seven fail without and one with: six alone, one in both.
    assert row.estimate == pytest.approx(1 / 8 - 7 / 8)
    assert row.p == row.p_adjusted == pytest.approx(2 / 64)
    assert (row.better, row.tied, row.n, row.failed, row.failed_reference) == (6, 2, 8, 1, 7)
    assert not row.difference.bounded


def test_means_are_of_pairs_in_which_neither_run_failed():
    pairs = [(0.1, 0.90), (0.1, 0.91), (0.1, 0.92), GONE]
    found = results({("none", 0.1): pairs, ("batch", 0.1): [GONE, (0.1, 0.92), (0.1, 0.94), (0.1, 0.95)]})
    row = found.one(ACCURACY, "batch", 0.1)
    assert (row.n, row.pairs, row.failed, row.failed_reference) == (2, 4, 1, 1)
    assert row.estimate == pytest.approx(0.015)  # the second and third pair: 0.01 and 0.02
    assert (row.better, row.tied) == (2, 0)
    # Each arm is told by all of its own runs that learned.
    assert (row.median, row.most, row.reference_median, row.reference_least) == (0.94, 0.95, 0.91, 0.90)


def test_ranks_are_of_all_pairs_and_a_failed_run_is_the_worst():
    reference = [(0.1, 0.90), GONE, (0.1, 0.93), GONE, (0.1, 0.91)]
    found = results({("none", 0.1): reference, ("batch", 0.1): [(0.1, 0.92), (0.1, 0.2), GONE, GONE, (0.1, 0.88)]})
    row = found.one(ACCURACY, "batch", 0.1, RANK)
    # Differences +0.02, better than a failure, a failure, two failures alike, -0.03: ranks 2, 4.5, -4.5, 0, -3.
    assert (row.n, row.pairs, row.better, row.tied) == (5, 5, 2, 1)
    assert row.estimate == pytest.approx((2 + 4.5 - 4.5 - 3) / 14)
    assert row.p == pytest.approx(counted([2, 4.5, -4.5, -3]))
    assert not row.difference.bounded
    assert row.median == pytest.approx(0.88)  # of the runs that learned: 0.92, 0.2 and 0.88


def counted(ranks: list[float]) -> float:
    """p by counting the sign patterns whose sum is as far from zero."""
    sums = [abs(sum(s * r for s, r in zip(signs, ranks, strict=True))) for signs in product((1, -1), repeat=len(ranks))]
    return sum(s >= abs(sum(ranks)) for s in sums) / len(sums)


def test_ranks_tell_arms_apart_by_p_alone():
    found = results({("none", 0.1): [GONE] * 8, ("batch", 0.1): [GOOD] * 8})
    for name, sign in ((ACCURACY, 1), (LOSS, -1)):
        row = found.one(name, "batch", 0.1, RANK)
        assert (row.estimate, row.p_adjusted, row.sign, row.better) == (sign, 2 / 256, sign, 8)
        assert found.one(name, "batch", 0.1).sign == 0  # no pair learned


NEVER, SOON, LATE = [0.9] * 4, [0.98] * 4, [0.9, 0.9, 0.98, 0.98]


def test_never_is_the_last_of_the_epochs_until():
    def runs(*accuracies: list[float]) -> dict:
        return {seed: [(0.1, accuracy) for accuracy in its] for seed, its in enumerate(accuracies)}

    lost = [0.98, 0.98, 0.98, 0.1]  # it was there, and ended as a constant
    cells = {("none", 0.01): runs(NEVER, LATE, NEVER, lost), ("batch", 0.01): runs(LATE, SOON, NEVER, SOON)}
    found = results_of(make_epochs(cells))
    row = found.one("epochs_until_0.98", "batch", 0.01, RANK)
    # Never to 3, 3 to 1, never twice, and a failed run, which never did: ranks -3.5, -2, 0, -3.5.
    assert (row.estimate, row.better, row.tied, row.n) == (-1, 3, 1, 4)
    assert row.p == pytest.approx(2 / 8)
    assert (row.median, row.most, row.reference_median) == (2, np.inf, np.inf)
    assert found.find("epochs_until_0.98") == found.find("epochs_until_0.98", kind=CHANGE) == []


def test_change_by_rank_is_of_all_pairs():
    cells = {("none", 0.001): [(0.1, 0.90)] * 3, ("batch", 0.001): [(0.1, 0.91)] * 3}
    cells |= {("none", 0.01): [GONE, (0.1, 0.90), GONE], ("batch", 0.01): [(0.1, 0.90), (0.1, 0.905), GONE]}
    row = results(cells).one(ACCURACY, "batch", 0.01, RANK_CHANGE)
    # Infinitely more than at 0.001; 0.005 less; 0.01 less, as both failed alike: ranks 3, -1, -2.
    assert (row.against, row.n, row.better, row.estimate) == (0.001, 3, 1, 0)
    mean = results(cells).one(ACCURACY, "batch", 0.01, CHANGE)
    assert (mean.n, mean.estimate) == (1, pytest.approx(-0.005))


def test_intervals_keep_to_what_is_possible():
    found = results({("none", 0.1): [(0.1, 0.2), (0.1, 0.9)], ("batch", 0.1): [(0.1, 0.9), (0.1, 0.8)]})
    row = found.one(ACCURACY, "batch", 0.1)
    assert (row.low, row.high, row.n) == (-1, 1, 2)  # t with one degree of freedom: 0.3 plus or minus 5.1
    assert (row.equal_low, row.equal_high) == (-1, 1)


def test_change_is_the_difference_at_the_highest_rate_minus_that_at_another():
    found = apart({("batch", 0.001): [10] * 8, ("batch", 0.01): [14] * 8, ("batch", 0.1): [4] * 8})
    rows = {row.against: row for row in found.find(ACCURACY, kind=CHANGE)}
    assert {against: row.learning_rate for against, row in rows.items()} == {0.001: 0.1, 0.01: 0.1}
    assert rows[0.001].estimate == pytest.approx(-0.0006)
    assert rows[0.01].estimate == pytest.approx(-0.0010)
    assert rows[0.01].p_adjusted == pytest.approx(2 * 2 / 256)


BEST = {  # training losses: the lowest are at 0.001 without and at 0.01 with batch norm
    ("none", 0.001): [(0.1, 0.90), (0.2, 0.92), (0.3, 0.94)],
    ("none", 0.01): [(0.5, 0.5), (0.5, 0.5), (0.5, 0.5)],
    ("batch", 0.001): [(0.4, 0.7), (0.4, 0.8), (0.4, 0.9)],
    ("batch", 0.01): [(0.1, 0.93), (0.1, 0.95), (0.1, 0.97)],
}


def test_arms_are_compared_each_at_its_own_best_rate():
    found = results(BEST)
    assert contrasts.best_rates(found) == {"none": 0.001, "batch": 0.01}
    row = found.one(ACCURACY, "batch", kind=OWN)
    assert (row.learning_rate, row.against) == (0.01, 0.001)
    assert row.estimate == pytest.approx(0.03)
    assert (row.reference_median, row.median) == (0.92, 0.95)


@pytest.mark.parametrize("lost", [(np.nan, np.nan), (2.3, 0.1)])
def test_rate_at_which_a_run_failed_is_no_best_one_unless_more_did_elsewhere(lost):
    cells = BEST | {("none", 0.001): [(0.1, 0.9), lost, (0.1, 0.9)]}
    assert contrasts.best_rates(results(cells))["none"] == 0.01
    cells |= {("none", 0.01): [lost, (0.5, 0.5), lost]}
    found = results(cells)
    assert contrasts.best_rates(found)["none"] == 0.001
    assert found.one(ACCURACY, "batch", kind=OWN).n == 2


def test_failed_runs_of_a_contrast_are_those_of_the_rates_it_is_of():
    cells = BEST | {("none", 0.01): [GONE, GONE, (0.5, 0.5)], ("batch", 0.001): [GONE, (0.4, 0.8), (0.4, 0.9)]}
    found = results(cells)
    own = found.one(ACCURACY, "batch", kind=OWN)  # 0.01 with, 0.001 without
    assert (own.failed, own.failed_reference) == (0, 0)
    reach = found.one("largest_rate_0.01", "batch", kind=REACH)  # over all rates
    assert (reach.failed, reach.failed_reference) == (1, 2)


def test_one_rate_has_no_change(epochs):
    assert results_of(epochs).find(ACCURACY, kind=CHANGE) == []


def test_reach_is_the_ratio_of_the_largest_usable_rates(span):
    found = results_of(span)
    row = found.one("largest_rate_0.01", "batch", kind=REACH)
    assert row.estimate == pytest.approx(100)  # 0.01 / 0.001 and 1 / 0.001: the mean of their logarithms
    # Two pairs show nothing, and bound nothing.
    assert (row.p, row.difference.bounded, row.sign) == (0.5, False, 0)
    assert (row.least, row.most, row.reference_median) == (pytest.approx(0.01), pytest.approx(1), pytest.approx(0.001))
    # At a margin of two points 0.01 is usable without batch norm too.
    assert found.one("largest_rate_0.02", "batch", kind=REACH).estimate == pytest.approx(10)
    survived = found.one("largest_rate_survived", "batch", kind=REACH)
    assert (survived.estimate, survived.median, survived.reference_median) == (pytest.approx(100), 1, pytest.approx(0.01))
    assert found.failed("none", 1.0) == statistics.share(2, 2)
    assert found.failed("batch", 1.0) == statistics.share(0, 2)


def test_reach_points_to_where_its_ratio_lies_beside_one():
    good, gone = (0.1, 0.9), GONE
    cells = {("none", 0.1): [good] * 8, ("none", 1.0): [gone] * 8, ("batch", 0.1): [good] * 8, ("batch", 1.0): [good] * 8}
    row = results(cells).one("largest_rate_survived", "batch", kind=REACH)
    assert (row.estimate, row.direction, row.sign) == (pytest.approx(10), 1, 1)
    # At larger rates it might have been more; that each pair gives the same bounds nothing.
    assert (row.difference.bounded, row.high, row.is_least) == (False, np.inf, True)
    turned = results({(("batch", "none")[norm == "batch"], rate): its for (norm, rate), its in cells.items()})
    back = turned.one("largest_rate_survived", "batch", kind=REACH)
    assert (back.sign, back.low, back.is_least) == (-1, 0, False)


def test_reach_of_pairs_that_all_go_to_the_end_is_unknown():
    # Larger rates could have shown either arm to go farther.
    good, gone = (0.1, 0.9), GONE
    both = {(arm, rate): [good] * 8 for arm in ("none", "batch") for rate in (0.1, 1.0)}
    level = results(both).one("largest_rate_survived", "batch", kind=REACH)
    assert (level.direction, level.sign, level.tied, level.low, level.high) == (0, 0, 8, 0, np.inf)
    assert np.isnan(level.estimate)
    assert not level.is_least
    # One pair of eight that goes there leaves the ratio of the others, and no end of it.
    one = both | {("none", 1.0): [good] + [gone] * 7}
    row = results(one).one("largest_rate_survived", "batch", kind=REACH)
    assert (row.estimate, row.low, row.high) == (pytest.approx(10 ** (7 / 8)), 0, np.inf)


@pytest.mark.parametrize("seeds", [3, 8])
def test_reach_that_ends_with_the_rates_is_a_least_one_however_few_the_pairs_are(seeds):
    good, gone = (0.1, 0.9), GONE
    cells = {("none", 0.1): [good] * seeds, ("none", 0.3): [gone, *[good] * (seeds - 1)], ("none", 1.0): [gone] * seeds}
    cells |= {("batch", rate): [good] * seeds for rate in (0.1, 0.3, 1.0)}
    row = results(cells).one("largest_rate_survived", "batch", kind=REACH)
    assert (row.is_least, row.high, row.difference.bounded) == (True, np.inf, False)
    assert (row.low == row.low) == (seeds == 8)


@pytest.mark.parametrize(("better", "p"), [(5, 2 / 32), (6, 2 / 64)])
def test_reach_is_judged_by_the_exact_test_however_many_arms_there_are(better, p):
    # Steps on a grid are not normal: of six alike, which leave nothing else possible, Student's t could say nothing.
    good, gone = (0.1, 0.9), GONE
    cells = {(norm, rate): [good] * 6 for norm in FOUR for rate in (0.1, 1.0)}
    cells["none", 1.0] = [gone] * better + [good] * (6 - better)
    rows = results(cells).find("largest_rate_survived", kind=REACH)
    assert [(row.p, row.n) for row in rows] == [(pytest.approx(p), 6)] * 3


def test_reach_of_a_run_that_fails_everywhere_counts_as_the_smallest_rate():
    good, gone = (0.1, 0.9), GONE
    cells = {("none", 0.1): [gone] * 2, ("none", 1.0): [gone] * 2, ("batch", 0.1): [good] * 2, ("batch", 1.0): [good] * 2}
    row = results(cells).one("largest_rate_survived", "batch", kind=REACH)
    assert (row.n, row.estimate, row.better) == (2, pytest.approx(10), 2)


def test_single_rate_has_no_pair_to_reach_anything_and_a_chain_no_reach(epochs):
    single = results_of(epochs).one("largest_rate_survived", "batch", kind=REACH)
    assert (single.n, single.pairs, single.sign) == (0, 3, 0)
    chain = results_of(
        epochs.assign(learning_rate=0.001), held={"dataset": "mnist", "learning_rate": 0.001, "later_rates": (0.01,)}
    )
    assert chain.find("largest_rate_survived", kind=REACH) == []


def test_rates_are_contrasted_as_if_no_others_had_been_asked_for():
    whole = four()
    low = contrasts.at_rates(whole, [0.001])
    assert low.rates == [0.001]
    assert low.find(LOSS, kind=CHANGE) == []
    assert {row.arm for row in low.find(LOSS)} == {row.arm for row in whole.find(LOSS)}
    assert (low.study.family, whole.study.family) == (3, 6)
    assert contrasts.at_rates(whole, [0.001, 0.01, 1]) is contrasts.at_rates(whole, [5]) is whole


def test_absent_runs_leave_pairs_out(epochs):
    lone = results_of(epochs[(epochs.norm == "none") | (epochs.seed == 0)])
    assert (lone.one(LOSS, "batch", 0.001).n, lone.one(LOSS, "batch", 0.001).pairs) == (1, 3)
    fields = {"factors": {"norm": ("none", "batch", "group"), "learning_rate": (0.001, 0.01)}}
    found = results_of(epochs, **fields)
    for arm, rate in (("group", 0.001), ("batch", 0.01)):
        row = found.one(LOSS, arm, rate)
        assert (row.n, row.pairs, row.sign) == (0, 3, 0)
        assert np.isnan(row.estimate)
    assert found.one(LOSS, "batch", 0.001).n == 3
    assert len(found.study.missing(epochs)) == 4  # one arm at 0.001, all three at 0.01


def test_study_can_ask_for_one_outcome_alone(epochs):
    found = results_of(epochs, outcomes=("train_loss_first",))
    assert set(found.contrasts.outcome) == {"train_loss_first", "failed"}
    assert set(found.contrasts.kind) == {"cell", "rank", "failed"}


def test_without_any_records_no_contrast_has_pairs(epochs):
    found = results_of(epochs, name="other")
    assert set(found.contrasts.n) == {0}
    assert found.failed("batch").n == 0


def test_one_contrast_is_one(epochs):
    found = results_of(epochs)
    with pytest.raises(ValueError, match=r"0 contrasts of train_loss_last in batch at 0.5 \(cell\)"):
        found.one(LOSS, "batch", 0.5)


def four() -> Results:
    """Four arms at two rates, in which layer norm fails once."""
    rng = np.random.default_rng(0)
    cells = {(n, r): [(x, 1 - x / 10) for x in rng.uniform(0.1, 0.5, 5)] for n in FOUR for r in (0.001, 0.01)}
    cells["layer", 0.01][2] = GONE
    return results(cells)


def test_every_arm_but_the_reference_is_contrasted():
    found = four()
    assert [arm.name for arm in found.others] == ["batch", "group", "layer"]
    assert [(row.learning_rate, row.arm) for row in found.find(LOSS)] == [(r, n) for r in (0.001, 0.01) for n in FOUR[1:]]
    for kind, outcome, rows in (
        (OWN, ACCURACY, 3),
        (RANK, LOSS, 6),
        (RANK_CHANGE, LOSS, 3),
        (REACH, "largest_rate_0.01", 3),
        (FAILED, "failed", 6),
    ):
        assert len(found.find(outcome, kind=kind)) == rows, kind
    assert [row.n for row in found.find(ACCURACY, rate=0.01)] == [5, 5, 4]


def test_two_of_several_arms_are_contrasted_as_if_no_others_had_been_asked_for(epochs):
    third = epochs[epochs.norm == "batch"].assign(norm="group", train_loss=0.1)
    three, two = results_of(pd.concat([epochs, third], ignore_index=True)), results_of(epochs)
    pair = contrasts.between(three, "none", "batch")
    pd.testing.assert_frame_equal(pair.contrasts, two.contrasts)
    assert [arm.label for arm in pair.study.arms] == ["without batch norm", "with batch norm"]
    assert contrasts.between(three, "batch", "group").one(LOSS, "group", 0.001).estimate == pytest.approx(0)
    assert contrasts.between(two, "none", "batch") is two
    assert contrasts.between(two, "none", "group") is None


def test_some_seeds_are_contrasted_as_if_no_others_had_been_asked_for():
    differences = [1, 2, 3, 4, 5, 6, 7, 8, -9, 10, -11, 12, -13, 14, -15, 16]
    whole = apart({("batch", 0.001): differences})
    first, second = contrasts.only(whole, range(8)), contrasts.only(whole, range(8, 20))
    pd.testing.assert_frame_equal(first.contrasts, apart({("batch", 0.001): differences[:8]}).contrasts)
    assert (second.seeds, second.study.seeds) == (tuple(range(8, 16)), 8)
    row = second.one(ACCURACY, "batch", 0.001)
    assert (row.n, row.pairs, row.better, row.estimate) == (8, 8, 4, pytest.approx(4 / 8 / 10_000))
    assert second.one("largest_rate_survived", "batch", kind=REACH).pairs == 8
    assert contrasts.between(second, "none", "batch") is second
    assert contrasts.only(whole, range(16)) is whole
    assert contrasts.only(whole, [16, 17]) is None


def test_another_reference_turns_the_sign(epochs):
    turned = results_of(epochs, reference={"norm": "batch"})
    row, usual = turned.one("train_loss_first", "none", 0.001), results_of(epochs).one("train_loss_first", "batch", 0.001)
    assert row.estimate == pytest.approx(-usual.estimate)
    assert (row.better, usual.better) == (0, 3)


def test_what_is_saved_reads_back_exactly(epochs, span, tmp_path):
    kept = {"learning_rate": four(), "learning_rate_range": results_of(span, outcomes=(LOSS, ACCURACY))}
    contrasts.save(list(kept.values()), tmp_path)
    loaded = contrasts.load(tmp_path)
    assert list(loaded) == list(kept)
    assert np.isposinf(kept["learning_rate"].contrasts["median"]).any()  # "never" is written and read, too
    for name, results in kept.items():
        assert loaded[name].study == results.study
        pd.testing.assert_frame_equal(loaded[name].contrasts, results.contrasts, check_exact=True)
        pd.testing.assert_frame_equal(loaded[name].runs, results.runs, check_exact=True)
    row, again = (each["learning_rate"].one(LOSS, "batch", 0.001) for each in (kept, loaded))
    assert repr(again) == repr(row)


@pytest.mark.parametrize("name", ["studies.json", "contrasts.csv", "outcomes.csv"])
@pytest.mark.parametrize("text", [None, "", "{"])
def test_absent_or_damaged_contrasts_say_what_to_run(name, text, epochs, tmp_path):
    contrasts.save([results_of(epochs)], tmp_path)
    (tmp_path / name).unlink() if text is None else (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match="has no contrasts that can be read; `make report` makes them again"):
        contrasts.load(tmp_path)


def test_cells_that_differ_in_more_than_the_rate_are_refused(epochs):
    study = results_of(epochs).study
    wider = study.model_copy(update={"factors": study.factors | {"batch_size": (50, 100)}})
    with pytest.raises(ValueError, match="name batch_size in the reference, or hold it"):
        contrasts.of(wider, epochs)


def looked_into(values: dict[str, list[float]]) -> Results:
    """Runs at 0.001 of which a probe saw these numbers, by arm and seed."""
    epochs = make_epochs({(norm, 0.001): {seed: [(0.5, 0.9)] for seed in range(len(its))} for norm, its in values.items()})
    steps = make_steps(epochs, {("smoothness", "", "step"): values})
    return results_of(epochs, steps, outcomes=("smoothness_step",), probes=("smoothness",))


def test_ratios_are_compared_by_their_logarithms():
    found = looked_into({"none": [1, 2, 4, 8, 1, 2, 4, 8], "batch": [0.5, 1, 2, 4, 0.25, 0.5, 1, 2]})
    row = found.one("smoothness_step", "batch", 0.001)
    assert row.estimate == pytest.approx(-1.5 * np.log(2))  # four halves and four quarters
    assert (row.median, row.reference_median) == (1, 3)
    assert (row.p, row.better, row.sign, row.n) == (2 / 256, 8, -1, 8)
    assert np.isnan(row.equal_p)
    assert found.differences("smoothness_step", "batch", 0.001).tolist() == pytest.approx([-np.log(2)] * 4 + [-np.log(4)] * 4)


def test_what_the_first_step_does_is_compared_over_all_runs():
    values = {"none": [4.0] * 8, "batch": [1.0, 2.0] * 4}
    fates = {"none": [GONE, *[(0.5, 0.9)] * 7], "batch": [(0.5, 0.9)] * 8}
    epochs = make_epochs({(norm, 0.001): {seed: [pair] for seed, pair in enumerate(its)} for norm, its in fates.items()})
    looks = {("loss_band", "", "before"): dict.fromkeys(values, [1.0] * 8), ("loss_band", "", "step × 1"): values}
    looks |= {("smoothness", "", "step"): values}
    outcomes = ("first_loss", "smoothness_step")
    found = results_of(epochs, make_steps(epochs, looks), outcomes=outcomes, probes=("smoothness",))
    assert [found.one(name, "batch", 0.001).n for name in outcomes] == [8, 7]


def test_same_runs_are_held_against_another_arm():
    three = apart({("batch", 0.001): CLEAR, ("group", 0.001): [2 * d for d in CLEAR]})
    found = contrasts.against(three, "batch")
    assert [arm.name for arm in found.study.arms] == ["batch", "none", "group"]
    assert set(found.contrasts.reference) == {"batch"}
    assert set(three.contrasts.reference) == {"none"}
    assert found.one(ACCURACY, "none", 0.001).estimate == pytest.approx(-0.00045)
    assert found.one(ACCURACY, "group", 0.001).estimate == pytest.approx(0.00045)
    pd.testing.assert_frame_equal(found.runs, three.runs)


def test_contrasts_against_several_references_are_saved_and_read_by_the_one_that_is_wanted(tmp_path):
    three = apart({("batch", 0.001): CLEAR, ("group", 0.001): MIXED})
    turned = contrasts.against(three, "batch")
    contrasts.save([three, turned], tmp_path)
    assert set(pd.read_csv(tmp_path / "contrasts.csv", keep_default_na=False).reference) == {"none", "batch"}
    (read,) = contrasts.load(tmp_path).values()
    assert read.study == three.study
    pd.testing.assert_frame_equal(read.contrasts, three.contrasts, check_dtype=False)
    assert len(read.runs) == len(three.runs)
    (held,) = contrasts.load(tmp_path, against="batch").values()
    assert held.study == turned.study
    pd.testing.assert_frame_equal(held.contrasts, turned.contrasts, check_dtype=False)
    assert contrasts.load(tmp_path, against="group") == {}


def test_arms_that_are_no_product_are_compared_as_they_are():
    cells = {("none", 0.01): {s: [(0.5, 0.9)] for s in range(8)}, ("group", 0.01): {s: [(0.5, 0.91)] for s in range(8)}}
    epochs = make_epochs(cells)
    warm = epochs[epochs.norm == "none"].assign(warmup=600, test_accuracy=0.92)
    factors = {"norm": ("none", "group"), "warmup": (0, 600), "learning_rate": (0.01,)}
    combined = {"reference": {"norm": "none", "warmup": 0}, "combined": ({"norm": "group"}, {"warmup": 600})}
    found = results_of(pd.concat([epochs, warm]), factors=factors, **combined)
    assert [row.arm for row in found.find(ACCURACY)] == ["group", "warmup 600"]
    assert [row.estimate for row in found.find(ACCURACY)] == pytest.approx([0.01, 0.02])
    assert contrasts.between(found, "none", "warmup 600").one(ACCURACY, "warmup 600", 0.01).estimate == pytest.approx(0.02)
