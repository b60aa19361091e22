import itertools

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from bnlib.analysis.statistics import (
    Spread,
    difference_p,
    enough,
    equivalence_p,
    exact_interval,
    exact_p,
    holm,
    mcnemar_p,
    mean_difference,
    mean_interval,
    prediction_interval,
    rank_biserial,
    rank_correlation,
    share,
    signed_ranks,
    spread,
)

VALUES = hnp.arrays(float, st.integers(2, 20), elements=st.floats(-1e3, 1e3))


def test_interval_of_three_values_by_hand():
    # mean 2, standard error 1/sqrt(3), Student's t for 2 degrees of freedom at 97.5%: 4.302653
    interval = mean_interval([1, 2, 3])
    assert interval.estimate == 2
    assert interval.low == pytest.approx(2 - 4.302653 / 3**0.5, abs=1e-6)
    assert interval.high == pytest.approx(2 + 4.302653 / 3**0.5, abs=1e-6)
    assert interval.n == 3


def test_one_value_bounds_nothing():
    interval = mean_interval([5])
    assert interval.estimate == 5
    assert not interval.bounded
    assert interval.sign == 0


def test_no_value_gives_no_estimate():
    interval = mean_interval([np.nan])
    assert np.isnan(interval.estimate)
    assert interval.n == 0


def test_equal_values_claim_nothing_however_far_from_zero():
    for values in ([0.5] * 4, [0.1 + 0.2, 0.3]):  # equal up to rounding
        interval = mean_interval(values)
        assert not interval.bounded
        assert interval.sign == 0


@pytest.mark.parametrize(("values", "sign"), [([1, 1.1, 0.9], 1), ([-1, -1.1, -0.9], -1), ([-1, 0, 1], 0)])
def test_sign_says_where_the_whole_interval_lies(values, sign):
    assert mean_interval(values).sign == sign


@given(VALUES)
def test_interval_holds_its_estimate(values):
    interval = mean_interval(values)
    assert not interval.bounded or interval.low <= interval.estimate <= interval.high
    assert interval.bounded == (np.ptp(values) > 1e-9 * max(np.abs(values).max(), 1e-9))


@given(VALUES, st.floats(-1e3, 1e3))
def test_interval_moves_with_its_values(values, shift):
    here, there = mean_interval(values), mean_interval(values + shift)
    assume(here.bounded and there.bounded)
    assert there.low == pytest.approx(here.low + shift, abs=1e-6)
    assert there.high == pytest.approx(here.high + shift, abs=1e-6)


@given(VALUES)
def test_swapping_the_arms_turns_the_sign(values):
    assert mean_interval(values).sign == -mean_interval(-values).sign


def test_interval_of_another_level_is_as_wide_as_that_says():
    # Student's t for 2 degrees of freedom at 95%: 2.919986
    interval = mean_interval([1, 2, 3], 0.9)
    assert interval.high == pytest.approx(2 + 2.919986 / 3**0.5, abs=1e-6)


def test_interval_keeps_to_what_is_possible():
    wide = mean_interval([0.2, 0.9]).within(-1, 1)
    assert (wide.estimate, wide.low, wide.high, wide.n) == (0.55, -1, 1, 2)
    assert mean_interval([1, 2, 3]).within(-10, 10) == mean_interval([1, 2, 3])
    assert not mean_interval([0.5]).within(-1, 1).bounded


def test_spread_is_median_and_range_and_knows_never():
    inf = float("inf")
    assert spread([3, np.nan, 1, 2, 10]) == Spread(2.5, 1, 10, 4)
    assert spread([1, inf, 2, inf, inf]) == Spread(inf, 1, inf, 5)
    assert spread([1, 2, inf, inf]).median == inf  # fewer than all but half
    assert spread([np.nan]).n == 0


def test_signed_ranks_share_the_ranks_of_equal_sizes_and_count_zeros_as_nothing():
    # Sizes 0, 1, 1, 2, 5: ranks 1, 2.5, 2.5, 4, 5.
    assert signed_ranks([2, -1, 0, 1, -5, np.nan]).tolist() == [4, -2.5, 0, 2.5, -5]


def test_signed_ranks_take_what_is_infinitely_far_as_the_largest_and_alike():
    assert signed_ranks([-np.inf, 3, np.inf, -1]).tolist() == [-3.5, 2, 3.5, -1]


def test_signed_ranks_take_differences_of_rounded_numbers_as_equal():
    # Three of one image of 10,000, and one of none, though two are not equal to the last bit and the last is not zero.
    differences = np.array([0.9001, 0.9008, 0.9000, 0.3]) - np.array([0.9000, 0.9007, 0.9001, 0.1 + 0.2])
    assert differences[0] != differences[1]
    assert differences[3] != 0
    assert signed_ranks(differences).tolist() == [3, 3, -3, 0]


def test_exact_test_of_signed_ranks_is_wilcoxon_s():
    # Ranks 1, 2, 3, -4: of 16 patterns the sums at least 2 in size are all but those of 0: 1 + 4 = 2 + 3, twice.
    assert exact_p(signed_ranks([1, 2, 3, -40])) == pytest.approx(14 / 16)
    rng = np.random.default_rng(0)
    for _ in range(20):
        values = rng.normal(0.5, 1, size=9)
        assert exact_p(signed_ranks(values)) == pytest.approx(stats.wilcoxon(values, method="exact").pvalue)


def test_rank_biserial_goes_from_all_below_to_all_above():
    assert rank_biserial([1, 2, np.inf]) == 1
    assert rank_biserial([-1, -2]) == -1
    assert rank_biserial([1, 2, -3]) == 0  # 1 + 2 - 3
    assert rank_biserial([3, -1]) == pytest.approx(1 / 3)
    assert rank_biserial([0, 0]) == 0
    assert np.isnan(rank_biserial([]))


def test_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits = sum(i.low <= 1 <= i.high for i in (mean_interval(row) for row in rng.normal(1, 2, size=(4000, 3))))
    assert 0.94 < hits / 4000 < 0.96  # the standard error of this share is 0.0034


def test_exact_p_counts_sign_patterns():
    # Of the 2^3 sign patterns of 1, 2, 3 only two, all plus and all minus, have a mean as far from zero.
    assert exact_p([1, 2, 3]) == pytest.approx(2 / 8)
    # 1 + 2 - 3 = 0: every pattern is as far from zero.
    assert exact_p([1, 2, -3]) == 1
    assert exact_p([-0.5] * 8) == pytest.approx(2 / 256)
    assert np.isnan(exact_p([np.nan]))


def test_exact_p_takes_differences_of_rounded_numbers_as_equal():
    # Accuracies of 10,000 images: in units of 0.0001 the sum is 20, and 158 of the 256 sign patterns are as far from zero.
    counts = np.array([9907, 9912, 9903, 9915, 9911, 9908, 9889, 9906])
    won = np.array([-2, -1, 11, -6, -5, -3, 24, 2])
    differences = (counts + won) / 10_000 - counts / 10_000
    flips = np.array(np.meshgrid(*[(-1, 1)] * 8)).reshape(8, -1).T
    assert (np.abs(flips @ won) >= abs(won.sum())).sum() == 158
    assert exact_p(differences) == pytest.approx(158 / 256)
    assert exact_p(np.zeros(8)) == 1


def counted(values: list[int]) -> float:
    """p by counting, in whole numbers, the sign patterns of `values` whose sum is as far from zero."""
    patterns = itertools.product((1, -1), repeat=len(values))
    as_far = (abs(sum(s * v for s, v in zip(signs, values, strict=True))) >= abs(sum(values)) for signs in patterns)
    return sum(as_far) / 2 ** len(values)


@pytest.mark.parametrize("unit", [1, 10_000, 6000])  # accuracies of MNIST's test images, or of some other number
def test_exact_p_is_the_share_of_all_sign_patterns(unit):
    sample = [11, -12, 8, 7, -13, 1, 18, 12]
    assert counted(sample) == 90 / 256
    assert exact_p(np.array(sample) / unit) == pytest.approx(90 / 256)
    rng = np.random.default_rng(0)
    for _ in range(200):
        values = rng.integers(-20, 21, rng.integers(1, 10)).tolist()
        assert exact_p(np.array(values) / unit) == pytest.approx(counted(values)), values


def test_pairs_that_failed_do_not_change_the_test():
    kept = [-0.1, -0.12, -0.09, -0.11, -0.08]
    assert difference_p(kept) < 0.001  # five pairs are judged by t
    assert difference_p([*kept, np.nan]) == pytest.approx(2 / 32)  # six of which one failed, by the exact test
    assert mean_difference([*kept, np.nan]) == exact_interval(kept)


def test_exact_interval_is_between_means_of_subsets():
    # n = 6: 63 subset means, of which floor(0.025 * 64) = 1 is cut off at either end: from the least value to the largest.
    interval = exact_interval([6, 1, 5, 2, 4, 3])
    assert (interval.estimate, interval.low, interval.high, interval.n) == (3.5, 1, 6, 6)
    # n = 7: 3 of 127 are cut off. The least means are 1, (1 + 2) / 2, (1 + 3) / 2 and 2 itself, (1 + 2 + 3) / 3, ...
    interval = exact_interval([1, 2, 3, 4, 5, 6, 7])
    assert (interval.low, interval.high) == (2, 6)
    assert not exact_interval([1, 2, 3, 4, 5]).bounded
    assert not exact_interval([0.3] * 8).bounded  # equal ones bound nothing, however many


@given(st.lists(st.integers(-50, 50), min_size=6, max_size=9))
def test_exact_interval_leaves_out_zero_just_where_its_test_refuses_it(values):
    assume(len(set(values)) > 1)
    assert bool(exact_interval(values).sign) == (exact_p(values) <= 0.05)


def test_exact_interval_covers_the_truth_as_often_as_it_says_even_with_far_values():
    rng = np.random.default_rng(0)
    values = 1 + rng.standard_t(2, size=(1500, 8))
    hits = sum(i.low <= 1 <= i.high for i in map(exact_interval, values))
    assert 0.94 <= hits / 1500 <= 0.965  # 1 - 12/256 = 95.3%


def test_many_pairs_draw_their_sign_patterns():
    values = np.linspace(-1, 2, 40)
    interval = exact_interval(values)
    assert interval.low == pytest.approx(mean_interval(values).low, abs=0.02)
    assert interval == exact_interval(values)


def test_one_run_that_fails_widens_the_interval_without_hiding_the_sign():
    values = [-0.1, -0.12, -0.09, -0.11, -0.1, -0.08, -0.13, -2.2]
    assert mean_interval(values).sign == 0
    assert mean_difference(values).sign == -1


def test_exact_test_is_made_where_it_could_tell_arms_apart():
    # 2 / 2^6 = 3.1%, 2 / 2^5 = 6.3%; of three contrasts 6 / 2^7 = 4.7%, of nine 18 / 2^9 = 3.5%.
    assert [enough(family) for family in (1, 2, 3, 6, 9)] == [6, 7, 7, 8, 9]
    for family in range(1, 50):
        assert holm([2 / 2 ** enough(family)] * family)[0] < 0.05
        assert holm([2 / 2 ** (enough(family) - 1)] * family)[0] >= 0.05


def test_differences_are_judged_exactly_from_enough_pairs_on():
    five, six = [1.0, 2.0, 2.5, 3.0, 4.0], [1.0, 2.0, 2.5, 3.0, 4.0, 4.5]
    assert mean_difference(five) == mean_interval(five)
    assert difference_p(five) == pytest.approx(stats.ttest_1samp(five, 0).pvalue)
    assert mean_difference(six) == exact_interval(six)
    assert difference_p(six) == exact_p(six) == 2 / 64
    assert mean_difference(six, family=3) == mean_interval(six)
    assert difference_p(six, family=3) == pytest.approx(stats.ttest_1samp(six, 0).pvalue)
    assert np.isnan(difference_p([1.0]))
    assert np.isnan(difference_p([0.1 + 0.2, 0.3]))  # equal up to rounding


def shares(first: int, second: int, both: int, n: int = 8) -> tuple[list[bool], list[bool]]:
    """Of n pairs so many in which the first alone, the second alone, and both are true."""
    one, two = [i < first or n - both <= i for i in range(n)], [first <= i < first + second or n - both <= i for i in range(n)]
    return one, two


@pytest.mark.parametrize(("counts", "p"), [((2, 0, 0), 2 / 4), ((6, 0, 1), 2 / 64), ((0, 6, 1), 2 / 64), ((1, 1, 3), 1.0)])
def test_shares_are_told_apart_by_the_pairs_that_differ(counts, p):
    assert mcnemar_p(*shares(*counts)) == pytest.approx(p)


def test_pairs_that_agree_say_nothing_of_shares():
    assert np.isnan(mcnemar_p(*shares(0, 0, 3)))


def test_holm_multiplies_the_least_by_all_and_never_falls():
    assert holm([0.01, 0.04, 0.03]).tolist() == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]).tolist() == [1, 1]
    adjusted = holm([0.01, np.nan])  # what could not be tested counts as one of the two
    assert adjusted[0] == pytest.approx(0.02)
    assert np.isnan(adjusted[1])


def test_test_that_could_not_have_come_as_low_is_not_adjusted_for():
    # 6 pairs of 6 differ one way: 2 / 2⁶; of 2 pairs the least is 2 / 2², of none 1.
    assert holm([0.03125, 0.5], [0.03125, 0.5]).tolist() == [0.03125, 0.5]
    assert holm([0.03125, 0.5, 1.0], [0.03125, 0.5, 1.0]).tolist() == [0.03125, 0.5, 1.0]
    # Of two that could, the smaller counts twice; the larger follows it.
    assert holm([0.03125, 0.0625], [0.03125, 0.001]).tolist() == [0.0625, 0.0625]
    assert holm([0.01, 0.04, 0.03], [0.0, 0.0, 0.0]).tolist() == holm([0.01, 0.04, 0.03]).tolist()


def test_share_has_wilson_s_interval():
    # z = 1.959964, n = 10, k = 0: the upper end is z^2 / (n + z^2)
    z2 = 1.959964**2
    interval = share(0, 10)
    assert (interval.estimate, interval.low) == (0, 0)
    assert interval.high == pytest.approx(z2 / (10 + z2), rel=1e-5)
    assert share(0, 0).n == 0


def test_equivalence_needs_narrow_differences_within_the_margin():
    close = [0.01, -0.02, 0.0, 0.015, -0.01, 0.005, 0.0, -0.005]
    assert equivalence_p(close, 0.1) < 0.001
    assert equivalence_p([x * 20 for x in close], 0.1) > 0.05  # not shown: too wide
    assert equivalence_p([x + 0.2 for x in close], 0.1) > 0.99  # outside
    # mean 1, standard error 1 / 3 ** 0.5, margin 3: the nearer side is (3 - 1) / se standard errors away
    assert equivalence_p([0, 1, 2], 3) == pytest.approx(stats.t.sf(2 * 3**0.5, 2))


def test_prediction_interval_is_wider_than_that_of_the_mean():
    # 1, 2, 3: t = 4.302653, standard deviation 1, sqrt(1 + 1/3)
    interval = prediction_interval([1, 2, 3])
    assert interval.high - 2 == pytest.approx(4.302653 * (4 / 3) ** 0.5, rel=1e-6)
    rng = np.random.default_rng(0)
    values = rng.normal(size=(3000, 6))
    hits = sum(i.low <= x[5] <= i.high for x in values for i in [prediction_interval(x[:5])])
    assert 0.94 <= hits / 3000 <= 0.96


def test_rank_correlation_is_spearman_s_with_the_interval_of_bonett_and_wright():
    # Ranks 1 to 6 and 2, 1, 4, 3, 6, 5: ρ = 1 − 6·6 / (6·35); z = artanh ρ ± 1.959964 · √((1 + ρ²/2) / 3).
    found = rank_correlation([1, 2, 3, 4, 5, 6], [20, 10, 40, 30, 60, 50])
    rho = 1 - 36 / 210
    half = 1.959964 * ((1 + rho**2 / 2) / 3) ** 0.5
    assert (found.estimate, found.n) == (pytest.approx(rho), 6)
    assert (found.low, found.high) == pytest.approx(
        (np.tanh(np.arctanh(rho) - half), np.tanh(np.arctanh(rho) + half)), abs=1e-6
    )


def test_rank_correlation_of_few_or_equal_values_has_no_interval():
    assert not rank_correlation([1, 2, 3, 4], [1, 3, 2, 4]).bounded
    assert np.isnan(rank_correlation([1, 1, 1, 1, 1], [1, 2, 3, 4, 5]).estimate)
