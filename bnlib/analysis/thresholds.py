"""How soon and how far: epochs until an accuracy is reached, and the largest learning rate at which an arm is still good."""

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from bnlib.analysis.statistics import ROUNDING
from bnlib.experiment.outcomes import per_run
from bnlib.experiment.study import Study

USABLE = 0.01  # a rate is usable where test accuracy is within a percentage point of the arm's best
OTHERS = (0.0025, 0.005, 0.02)  # other such margins, to see how much hangs on that one
MARGINS = (0.0025, 0.005, 0.01, 0.02, 0.05)  # and more, from strict to lenient
SURVIVED = "largest_rate_survived"  # how contrasts call the largest rate that runs survive


def named(margin: float) -> str:
    """How contrasts call the largest usable rate within a margin."""
    return f"largest_rate_{margin:g}"


LABELS = {
    named(margin): f"largest rate within {100 * margin:g} point{'s' * (margin != USABLE)} of the arm's best test accuracy"
    for margin in (USABLE, *OTHERS)
} | {SURVIVED: "largest rate up to which no run failed"}


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
    """Test accuracy after the last epoch of runs that learned: index (arm, seed), a column for each rate; NaN where one failed.

    Args:
        runs: the outcomes of a study's runs, as `results.Results` has them.
    """
    table = runs.assign(accuracy=runs.test_accuracy_last.mask(runs.failed.astype(bool)))
    return table.pivot(index=["arm", "seed"], columns="learning_rate", values="accuracy")


def usable(runs: pd.DataFrame) -> dict[str, list[float]]:
    """For each arm the usable rates, ascending: none of its runs failed there, and their median is near enough its best.

    That is, the median test accuracy is within `USABLE` of the highest one of all rates at which none of the arm's runs failed.
    """
    medians = final_accuracy(runs).groupby("arm").median()
    failed = runs.pivot_table(index="arm", columns="learning_rate", values="failed", aggfunc="any")
    good = medians.mask(failed.astype(bool))
    return {arm: list(row.index[row >= row.max() - USABLE - ROUNDING]) for arm, row in good.iterrows()}


def largest(runs: pd.DataFrame, margin: float = USABLE) -> pd.DataFrame:
    """The largest usable rate of each arm, seed by seed: within `margin` of the best that this arm has with this seed.

    A rate at which the run failed is not usable, however poor the best is.

    Returns:
        Index seed, a column for each arm: a rate that was tried, as `_highest` has it.
    """
    accuracy = final_accuracy(runs)
    return _highest(accuracy.ge(accuracy.max(axis=1) - margin - ROUNDING, axis=0))


def survived(runs: pd.DataFrame) -> pd.DataFrame:
    """The largest rate that each arm survives, seed by seed: neither there nor at a smaller rate of those tried a run failed.

    Returns:
        Index seed, a column for each arm: a rate that was tried, as `_highest` has it.
    """
    failed = runs.pivot(index=["arm", "seed"], columns="learning_rate", values="failed").fillna(True).astype(bool)
    return _highest(~failed.cummax(axis=1))


def _highest(good: pd.DataFrame) -> pd.DataFrame:
    """The highest rate of each row that is good: index seed, a column for each arm.

    The highest rate tried stands for all above it, and the lowest, where none is good, for all below it: so a ratio of two is
    no farther from 1 than with more rates.
    """
    return good.apply(lambda row: row.index[row].max() if row.any() else row.index.min(), axis=1).unstack("arm")


def reach(study: Study, epochs: pd.DataFrame, margins: Sequence[float] = MARGINS) -> pd.DataFrame:
    """How the largest usable rate depends on what counts as usable, and on how long runs are: after each of their epochs.

    Args:
        study: of short runs at many rates.
        epochs: records that hold it.
        margins: of test accuracy, fractions.

    Returns:
        Columns epoch, margin, arm, seed, and `largest` as `largest` has it for runs of so many epochs; the study's arms only.
    """
    its, found = study.of(epochs), []
    for epoch in range(1, study.epochs + 1):
        runs = per_run(its[its.epoch <= epoch], ["arm", "learning_rate", "seed"], ["test_accuracy_last"], epoch)
        for margin in margins:
            long = largest(runs, margin).melt(var_name="arm", value_name="largest", ignore_index=False).reset_index()
            found.append(long.assign(epoch=epoch, margin=margin))
    return pd.concat(found, ignore_index=True)[["epoch", "margin", "arm", "seed", "largest"]]
