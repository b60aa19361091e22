"""How soon and how far: epochs until an accuracy is reached, and the largest learning rate at which an arm is still good."""

import warnings
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

USABLE = 0.01  # a rate is usable where test accuracy is within a percentage point of the arm's best
OTHERS = (0.005, 0.02)  # other such margins, to see how much hangs on that one
CHANCE = 0.1  # the test accuracy that a diverged network is counted with


class Curve(NamedTuple):
    """A Kaplan-Meier curve: the share of runs that have not reached the threshold after each of `epochs`, and its interval."""

    epochs: np.ndarray
    share: np.ndarray
    low: np.ndarray
    high: np.ndarray


class Reached(NamedTuple):
    """When each of some runs first reached a threshold, or the last epoch of the study where it did not (`reached` False)."""

    epoch: np.ndarray
    reached: np.ndarray

    @property
    def median(self) -> float:
        """The epoch by which half of the runs have reached it; infinite where fewer than half did."""
        times = np.sort(np.where(self.reached, self.epoch.astype(float), np.inf))
        return float(times[(len(times) - 1) // 2]) if len(times) else np.nan


def first_reached(until: pd.Series, given: int) -> Reached:
    """From the outcome `epochs_until_...` of some runs, which counts a miss with one epoch more than were given.

    Misses, diverged runs included, are censored at the last epoch.
    """
    epoch = until.to_numpy(dtype=float)
    return Reached(np.minimum(epoch, given), epoch <= given)


def kaplan_meier(first: Reached) -> Curve:
    """The curve of one arm's runs at one rate, (Kaplan & Meier, JASA 53, 1958), with its log-log 95% interval."""
    censored = stats.CensoredData(uncensored=first.epoch[first.reached], right=first.epoch[~first.reached])
    curve = stats.ecdf(censored).sf
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # at shares of 0 and 1 the formula has no ends; a figure draws none
        ends = curve.confidence_interval(0.95, method="log-log")
    return Curve(curve.quantiles, curve.probabilities, ends.low.probabilities, ends.high.probabilities)


def final_accuracy(runs: pd.DataFrame) -> pd.DataFrame:
    """Test accuracy after the last epoch: index (arm, seed), a column for each rate; `CHANCE` for a diverged run.

    Args:
        runs: the outcomes of a study's runs, as `results.Results` has them.
    """
    table = runs.assign(accuracy=runs.test_accuracy_last.fillna(CHANCE))
    return table.pivot(index=["arm", "seed"], columns="learning_rate", values="accuracy")


def usable(runs: pd.DataFrame) -> dict[str, list[float]]:
    """For each arm the rates whose mean test accuracy is within `USABLE` of that arm's best, ascending."""
    means = final_accuracy(runs).groupby("arm").mean()
    return {arm: list(row.index[row >= row.max() - USABLE]) for arm, row in means.iterrows()}


def largest(runs: pd.DataFrame, margin: float = USABLE) -> pd.DataFrame:
    """The largest usable rate of each arm, seed by seed: within `margin` of the best that this arm has with this seed.

    A rate at which the run failed is not usable, however poor the best is.

    Returns:
        Index seed, a column for each arm; NaN where no rate is usable.
    """
    accuracy, failed = final_accuracy(runs), runs.pivot(index=["arm", "seed"], columns="learning_rate", values="failed")
    good = accuracy.ge(accuracy.max(axis=1) - margin, axis=0) & ~failed.fillna(True).astype(bool)
    return good.apply(lambda row: row.index[row].max(), axis=1).unstack("arm")
