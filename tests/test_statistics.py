import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bnlib.statistics import mean_interval, paired_difference

VALUES = hnp.arrays(float, st.integers(2, 20), elements=st.floats(-1e3, 1e3))


def test_interval_of_three_values_by_hand():
    # mean 2, standard error 1/sqrt(3), Student's t for 2 degrees of freedom at 97.5%: 4.302653
    interval = mean_interval([1, 2, 3])
    assert interval.estimate == 2
    assert interval.low == pytest.approx(2 - 4.302653 / 3**0.5, abs=1e-6)
    assert interval.high == pytest.approx(2 + 4.302653 / 3**0.5, abs=1e-6)
    assert interval.n == 3


def test_paired_difference_is_second_minus_first():
    # differences 1, 2, 3: the spread between seeds, 10 to 30, cancels out
    assert paired_difference([10, 20, 30], [11, 22, 33]) == mean_interval([1, 2, 3])


def test_one_value_bounds_nothing():
    interval = mean_interval([5])
    assert interval.estimate == 5
    assert not interval.bounded
    assert interval.sign == 0


def test_no_value_gives_no_estimate():
    interval = mean_interval([np.nan])
    assert np.isnan(interval.estimate)
    assert interval.n == 0


def test_diverged_pairs_are_left_out_and_not_counted():
    assert paired_difference([1, np.nan, 3], [2, 5, np.nan]) == mean_interval([1])


def test_equal_values_claim_nothing_however_far_from_zero():
    interval = mean_interval([0.5] * 4)
    assert (interval.low, interval.high) == (0.5, 0.5)
    assert interval.sign == 0
    assert mean_interval([0.1 + 0.2, 0.3]).flat  # equal up to rounding


@pytest.mark.parametrize(("values", "sign"), [([1, 1.1, 0.9], 1), ([-1, -1.1, -0.9], -1), ([-1, 0, 1], 0)])
def test_sign_says_where_the_whole_interval_lies(values, sign):
    assert mean_interval(values).sign == sign


def test_unpaired_values_are_refused():
    with pytest.raises(ValueError, match="pairs need two values each"):
        paired_difference([1, 2], [1])


@given(VALUES)
def test_interval_holds_its_estimate(values):
    interval = mean_interval(values)
    assert interval.low <= interval.estimate <= interval.high


@given(VALUES, st.floats(-1e3, 1e3))
def test_interval_moves_with_its_values(values, shift):
    here, there = mean_interval(values), mean_interval(values + shift)
    assert there.low == pytest.approx(here.low + shift, abs=1e-6)
    assert there.high == pytest.approx(here.high + shift, abs=1e-6)


@given(VALUES)
def test_swapping_the_arms_turns_the_sign(values):
    zero = np.zeros_like(values)
    assert paired_difference(zero, values).sign == -paired_difference(values, zero).sign


def test_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits = sum(i.low <= 1 <= i.high for i in (mean_interval(row) for row in rng.normal(1, 2, size=(4000, 3))))
    assert 0.94 < hits / 4000 < 0.96  # the standard error of this share is 0.0034
