"""How soon: epochs, and with a benchmark seconds, until test accuracy first reaches a threshold. Misses are censored."""

import warnings
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from bnlib import bench
from bnlib.bench import Benchmark
from bnlib.outcomes import Outcome
from bnlib.words import ARMS

THRESHOLDS = (0.98, 0.985, 0.99)


def first_reached(epochs: pd.DataFrame, threshold: float) -> pd.DataFrame:
    """When each run first reached `threshold`.

    Args:
        epochs: records of one protocol, in which every run was to have as many epochs.
        threshold: of test accuracy, as a fraction.

    Returns:
        A row for each run: norm, learning_rate, seed; `epoch`, the first one with that accuracy, or the last epoch of the
        study; `reached`, False where the run did not get there, diverged runs included.
    """
    horizon = int(epochs.epoch.max())
    hit = epochs[epochs.test_accuracy >= threshold].groupby(["norm", "learning_rate", "seed"]).epoch.min()
    runs = epochs[["norm", "learning_rate", "seed"]].drop_duplicates().set_index(["norm", "learning_rate", "seed"])
    first = hit.reindex(runs.index)
    return pd.DataFrame({"epoch": first.fillna(horizon).astype(int), "reached": first.notna()}).reset_index()


def until(threshold: float) -> Outcome:
    """The epochs until a run first reaches `threshold`, or one more than it was given where it did not get there.

    Its mean is the restricted mean time up to that epoch, which misses do not bias: they are there by definition.
    """

    def summary(run: pd.DataFrame, given: int) -> float:
        hit = run.epoch[run.test_accuracy >= threshold]
        return float(hit.iloc[0] if len(hit) else given + 1)

    return Outcome(f"epochs until test accuracy {threshold:.1%}", "epochs", "", higher_is_better=False, summary=summary)


class Curve(NamedTuple):
    """A Kaplan-Meier curve: the share of runs that have not reached the threshold after each of `epochs`, and its interval."""

    epochs: np.ndarray
    share: np.ndarray
    low: np.ndarray
    high: np.ndarray


def kaplan_meier(runs: pd.DataFrame) -> Curve:
    """The curve of one arm's runs at one rate, (Kaplan & Meier, JASA 53, 1958), with its log-log 95% interval.

    Args:
        runs: rows of `first_reached`.
    """
    censored = stats.CensoredData(uncensored=runs.epoch[runs.reached], right=runs.epoch[~runs.reached])
    curve = stats.ecdf(censored).sf
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # at shares of 0 and 1 the formula has no ends; a figure draws none
        ends = curve.confidence_interval(0.95, method="log-log")
    return Curve(curve.quantiles, curve.probabilities, ends.low.probabilities, ends.high.probabilities)


def median_epochs(runs: pd.DataFrame) -> float:
    """The epoch by which half of the runs have reached the threshold; infinite where fewer than half did."""
    times = np.sort(np.where(runs.reached, runs.epoch.astype(float), np.inf))
    return float(times[(len(times) - 1) // 2])


def seconds_per_epoch(benchmark: Benchmark | None, facts: dict[str, str]) -> dict[str, float] | None:
    """Seconds of training that an epoch of one run takes in each arm, as the kept benchmark has it.

    Args:
        benchmark: what was kept, if anything was.
        facts: the runs' provenance.

    Returns:
        None without a benchmark, or where it was of another precision, device or batch size than the runs.
    """
    if benchmark is None or any(benchmark.facts[name] != facts[name] for name in ("precision", "device", "batch size")):
        return None
    images, at_once = int(facts["training images"]), int(benchmark.facts["runs at once"])
    rates = bench.summary(benchmark.rates).fit
    return {norm: images * at_once / rates[norm] for norm in ARMS}
