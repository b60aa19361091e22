import numpy as np
import pytest

from bnlib import lost_runs, rate_range


def test_usable_rates_are_within_a_point_of_the_arm_s_best_mean(span):
    assert rate_range.usable(span) == {"none": [0.001], "batch": [0.001, 0.01]}  # at 1 the mean is 94.05%


def test_reach_is_the_ratio_of_the_largest_usable_rates_over_seeds(span):
    largest, ratio = rate_range.reach(span)
    assert largest["none"].tolist() == [0.001, 0.001]
    assert largest["batch"].tolist() == [0.01, 1.0]
    assert ratio.estimate == pytest.approx(100)
    half = 12.7062 * np.log(100) / 2  # t with one degree of freedom; standard error of ln 10 and ln 1000
    assert ratio.high == pytest.approx(100 * np.exp(half), rel=1e-4)


def test_wider_margin_reaches_further(span):
    assert rate_range.reach(span, 0.5).ratio.estimate >= rate_range.reach(span).ratio.estimate


def test_diverged_run_counts_as_chance_and_as_lost(span):
    assert rate_range.final_accuracy(span).loc["none"][1.0].tolist() == [0.1, 0.1]
    assert lost_runs.shares(span)["none", 1.0].estimate == 1  # one diverged, one did not learn
    assert lost_runs.shares(span)["batch", 1.0].estimate == 0


def test_configs_are_both_arms_of_each_seed_at_each_rate():
    configs = rate_range.configs((0.1, 1.0), seeds=2, dataset="mnist", epochs=2)
    assert len({(c.norm, c.learning_rate, c.seed) for c in configs}) == len(configs) == 8
