"""How far the learning rate can go: short runs over many rates, and the largest at which an arm is still good."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from bnlib.config import RunConfig
from bnlib.runs import paired_configs
from bnlib.statistics import NOTHING, Interval, mean_difference
from bnlib.words import ARMS

USABLE = 0.01  # a rate is usable where mean test accuracy is within a percentage point of the arm's best
OTHERS = (0.005, 0.02)  # other such margins, to see how much hangs on that one
CHANCE = 0.1  # the test accuracy that a diverged network is counted with


def configs(rates: Sequence[float], *, seeds: int, **fields) -> list[RunConfig]:
    """Both arms for each rate and each of `seeds` seeds from 0 on; `fields` are the other fields of `RunConfig`."""
    return [config for rate in rates for config in paired_configs(seeds=seeds, learning_rate=rate, **fields)]


def final_accuracy(epochs: pd.DataFrame) -> pd.DataFrame:
    """Test accuracy after the last epoch: index (norm, seed), a column for each rate; `CHANCE` for a diverged run."""
    last = epochs.sort_values("epoch").groupby(["norm", "seed", "learning_rate"]).test_accuracy
    return last.agg(lambda run: run.iloc[-1]).fillna(CHANCE).unstack("learning_rate")


def usable(epochs: pd.DataFrame) -> dict[str, list[float]]:
    """For each arm the rates whose mean test accuracy is within `USABLE` of that arm's best, ascending."""
    means = final_accuracy(epochs).groupby("norm").mean()
    return {norm: list(row.index[row >= row.max() - USABLE]) for norm, row in means.iterrows()}


class Reach(NamedTuple):
    """How much further one arm's rates go: the largest usable rate of each seed, and with over without batch norm.

    `ratio` is the geometric mean over seeds with the 95% interval of its logarithm, as `statistics.mean_difference` has it.
    """

    largest: pd.DataFrame  # index seed, columns `none` and `batch`
    ratio: Interval


def reach(epochs: pd.DataFrame, margin: float = USABLE) -> Reach:
    """The largest usable rate of each arm, seed by seed: within `margin` of the best that this arm has with this seed."""
    accuracy = final_accuracy(epochs)
    good = accuracy.ge(accuracy.max(axis=1) - margin, axis=0)
    largest = good.apply(lambda row: row.index[row].max(), axis=1).unstack("norm")[list(ARMS)]
    ratio = mean_difference(np.log(largest["batch"] / largest["none"]))
    if ratio.n == 0:
        return Reach(largest, NOTHING)
    return Reach(largest, Interval(*np.exp([ratio.estimate, ratio.low, ratio.high]), ratio.n))
