"""The runs that were lost: that diverged, or stayed finite and did not learn."""

import pandas as pd
from scipy import stats

from bnlib.statistics import Interval, share
from bnlib.words import ARMS, plural

LEARNED = 0.5  # a network whose final test accuracy is below this has not learned its task; chance is 0.1


def diverged(epochs: pd.DataFrame) -> pd.DataFrame:
    """The runs that diverged: one row each with norm, learning_rate, seed and the epoch in which it happened."""
    return epochs.loc[epochs.train_loss.isna(), ["norm", "learning_rate", "seed", "epoch"]]


def unlearned(epochs: pd.DataFrame) -> pd.DataFrame:
    """The runs that stayed finite and yet ended with a test accuracy below `LEARNED`: their last epoch's row each."""
    last = epochs.sort_values("epoch").groupby(["norm", "learning_rate", "seed"]).tail(1)
    return last[last.test_accuracy < LEARNED]


def every(epochs: pd.DataFrame) -> pd.DataFrame:
    """The runs that diverged or did not learn: one row each with norm, learning_rate and seed."""
    return pd.concat([diverged(epochs), unlearned(epochs)])[["norm", "learning_rate", "seed"]]


def is_lost(run: pd.DataFrame) -> bool:
    """Whether one run is, by its rows in the order of epochs."""
    return not run.test_accuracy.iloc[-1] >= LEARNED  # NaN is lost too


def shares(epochs: pd.DataFrame) -> pd.Series:
    """The share of runs that were lost, an `Interval` for each norm and learning_rate."""
    keys = ["norm", "learning_rate"]
    runs, gone = epochs.groupby(keys).seed.nunique(), every(epochs).groupby(keys).size()
    return pd.Series({cell: share(int(gone.get(cell, 0)), int(n)) for cell, n in runs.items()})


def out_of(value: Interval) -> str:
    """A share as counts: `2 of 8`."""
    return f"{round(value.estimate * value.n)} of {value.n}"


def difference_p(epochs: pd.DataFrame) -> float:
    """p that the arms lose equally many runs of one rate.

    Of the exact test on the pairs in which one run alone was lost (McNemar, Psychometrika 12, 1947); NaN where there are none.
    """
    gone = every(epochs)
    none, batch = (set(gone[gone.norm == norm].seed) for norm in ARMS)
    alone = len(none - batch), len(batch - none)
    return float(stats.binomtest(alone[0], sum(alone)).pvalue) if sum(alone) else float("nan")


def told(lost: pd.DataFrame, epochs: pd.DataFrame) -> str:
    """How many runs of `epochs` are among `lost`: `1 of 3 runs without batch norm and 0 of 3 with it`."""
    runs = epochs.drop_duplicates(["norm", "learning_rate", "seed"])
    none, batch = ((int((lost.norm == norm).sum()), int((runs.norm == norm).sum())) for norm in ARMS)
    return f"{none[0]} of {plural(none[1], 'run')} without batch norm and {batch[0]} of {batch[1]} with it"
