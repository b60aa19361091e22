import numpy as np
import pandas as pd
import pytest

from bnlib import lost_runs
from tests.conftest import make_epochs


def test_diverged_and_unlearned_runs_are_told_apart(diverged_epochs):
    assert lost_runs.diverged(diverged_epochs)[["norm", "seed", "epoch"]].to_numpy().tolist() == [["none", 0, 2]]
    assert lost_runs.unlearned(diverged_epochs)[["norm", "seed"]].to_numpy().tolist() == [["none", 1]]
    assert lost_runs.every(diverged_epochs)[["norm", "seed"]].to_numpy().tolist() == [["none", 0], ["none", 1]]


def test_lost_runs_are_counted_by_arm(diverged_epochs):
    lost = lost_runs.every(diverged_epochs)
    assert lost_runs.told(lost, diverged_epochs) == "2 of 2 runs without batch norm and 0 of 2 with it"
    assert lost_runs.shares(diverged_epochs)["none", 1000.0].estimate == 1


def losing(none: int, batch: int, both: int, seeds: int = 8) -> pd.DataFrame:
    """Records in which so many seeds lose the run without batch norm alone, the one with it alone, both."""
    gone = {"none": range(none + both), "batch": [*range(none, none + both + batch)]}
    return make_epochs({(norm, 0.1): {s: [(1.0, 0.1 if s in gone[norm] else 0.9)] for s in range(seeds)} for norm in gone})


@pytest.mark.parametrize(("counts", "p"), [((2, 0, 0), 2 / 4), ((6, 0, 1), 2 / 64), ((1, 1, 3), 1.0)])
def test_p_of_lost_runs_is_that_of_fair_coins_over_the_pairs_that_lost_one(counts, p):
    assert lost_runs.difference_p(losing(*counts)) == pytest.approx(p)


def test_pairs_that_lost_both_or_none_say_nothing():
    assert np.isnan(lost_runs.difference_p(losing(0, 0, 3)))
