"""The runs that were lost: that diverged, or stayed finite and did not learn."""

import pandas as pd
from scipy import stats

from bnlib.statistics import share
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


def shares(epochs: pd.DataFrame) -> pd.DataFrame:
    """For each norm and learning_rate: columns diverged and unlearned (counts), lost (both, a share as an `Interval`)."""
    keys = ["norm", "learning_rate"]
    runs = epochs.groupby(keys).seed.nunique()
    counts = {
        what.__name__: what(epochs).groupby(keys).seed.nunique().reindex(runs.index, fill_value=0)
        for what in (diverged, unlearned)
    }
    both = [share(int(d + u), int(n)) for d, u, n in zip(*counts.values(), runs, strict=True)]
    return pd.DataFrame(counts | {"lost": both}, index=runs.index)


def difference_p(epochs: pd.DataFrame) -> float:
    """p that the arms lose equally many runs of one rate.

    Of the exact test on the pairs in which one run alone was lost (McNemar, Psychometrika 12, 1947); NaN where there are none.
    """
    gone = every(epochs)
    none, batch = (set(gone[gone.norm == norm].seed) for norm in ARMS)
    alone = len(none - batch), len(batch - none)
    return float(stats.binomtest(alone[0], sum(alone)).pvalue) if sum(alone) else float("nan")


def without(epochs: pd.DataFrame) -> pd.DataFrame:
    """The records of one rate without the pairs of which a run was lost."""
    return epochs[~epochs.seed.isin(every(epochs).seed)]


def told(lost: pd.DataFrame, epochs: pd.DataFrame) -> str:
    """How many runs of `epochs` are among `lost`: `1 of 3 runs without batch norm and 0 of 3 with it`."""
    runs = epochs.drop_duplicates(["norm", "learning_rate", "seed"])
    none, batch = ((int((lost.norm == norm).sum()), int((runs.norm == norm).sum())) for norm in ARMS)
    return f"{none[0]} of {plural(none[1], 'run')} without batch norm and {batch[0]} of {batch[1]} with it"
