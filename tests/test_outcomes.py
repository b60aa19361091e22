import numpy as np
import pandas as pd
import pytest

from bnlib import outcomes
from bnlib.outcomes import FIRST_LOSS, LAST_LOSS, TEST_ACCURACY, compare


def test_first_and_last_epoch_are_read_off_by_seed(epochs):
    assert outcomes.per_seed(epochs, FIRST_LOSS, 0.001)["none"].tolist() == [0.3, 0.4, 0.5]
    assert outcomes.per_seed(epochs, LAST_LOSS, 0.001)["batch"].tolist() == [0.1, 0.1, 0.1]


def test_comparison_pairs_by_seed(epochs):
    c = compare(epochs, FIRST_LOSS, 0.001)
    assert c.without.estimate == pytest.approx(0.4)
    assert c.with_norm.estimate == pytest.approx(0.3)
    assert c.difference.estimate == pytest.approx(-0.1)
    assert c.difference.low == pytest.approx(-0.1 - 4.302653 * 0.01 / 3**0.5, abs=1e-6)  # differences -0.10, -0.09, -0.11
    assert c.difference.sign == -1
    assert c.seeds == 3


def test_order_of_rows_does_not_matter(epochs):
    shuffled = epochs.sample(frac=1, random_state=0)
    assert compare(shuffled, TEST_ACCURACY, 0.001).difference == compare(epochs, TEST_ACCURACY, 0.001).difference


def test_diverged_run_counts_until_it_diverged(diverged_epochs):
    assert outcomes.per_seed(diverged_epochs, FIRST_LOSS, 1000.0)["none"].tolist() == [2.5, 2.4]
    last = outcomes.per_seed(diverged_epochs, LAST_LOSS, 1000.0)["none"]
    assert np.isnan(last[0])
    assert last[1] == 2.3


def test_difference_counts_only_pairs_that_stayed_finite(diverged_epochs):
    c = compare(diverged_epochs, TEST_ACCURACY, 1000.0)
    assert c.difference.n == 1
    assert c.difference.estimate == pytest.approx(0.85 - 0.1)
    assert c.with_norm.n == 2
    assert c.seeds == 2


def test_rates_are_grouped_by_what_is_shown_at_them(epochs):
    same = epochs.assign(learning_rate=0.01, train_loss=0.5)
    turned = epochs.assign(learning_rate=0.1, norm=epochs.norm.map({"none": "batch", "batch": "none"}))
    assert outcomes.by_sign(pd.concat([epochs, same, turned]), FIRST_LOSS) == {-1: [0.001], 1: [0.1], 0: [0.01]}


def test_absent_rate_is_refused(epochs):
    with pytest.raises(ValueError, match=r"no records at learning rate 0.5"):
        compare(epochs, FIRST_LOSS, 0.5)


def test_numbers_are_written_with_their_digits():
    assert FIRST_LOSS.number(-0.12345, signed=True) == "−0.1235"
    assert TEST_ACCURACY.number(0.98765) == "98.77"
    assert TEST_ACCURACY.number(0.01, signed=True) == "+1.00"
    assert TEST_ACCURACY.number(-0.00001, signed=True) == "+0.00"
    assert TEST_ACCURACY.number(float("nan")) == "–"
    assert FIRST_LOSS.title(10) == "training loss of epoch 1"
    assert TEST_ACCURACY.title(10) == "test accuracy of epoch 10"
