"""Outcomes of what is measured in each epoch of a run, and whether it failed."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from bnlib.experiment.config import TESTED
from bnlib.experiment.outcomes.outcome import Outcome

THRESHOLDS = (0.98, 0.985, 0.99)  # test accuracies by which it is told how soon a network learns
UNTIL = "epochs_until_"  # and one of them: the epochs that it takes
FIT = 0.025  # nats on training images: at it the arms are compared by how they do on others
SETTLED = 3  # the epoch from which on a run should not change much any more


def failed(run: pd.DataFrame) -> bool:
    """Whether a run, its rows in the order of epochs, ended as a constant: one class for every test image, or no finite loss.

    Low accuracy is no failure. Where it was not recorded how many classes were predicted, a run counts as having predicted one
    whose accuracy is exactly the share of one.
    """
    loss, classes, dataset = run.train_loss.iloc[-1], run.classes.iloc[-1], run.dataset.iloc[-1]
    if np.isnan(loss) or pd.notna(classes):
        return bool(np.isnan(loss) or classes == 1)
    return run.test_accuracy.iloc[-1] in {count / sum(TESTED[dataset]) for count in TESTED[dataset]}


def _gap(run: pd.DataFrame, given: int) -> float:
    """Of the last epoch; NaN for a run that failed, which fits nothing and so has no gap."""
    return np.nan if failed(run) else run.train_accuracy.iloc[-1] - run.test_accuracy.iloc[-1]


def _fluctuation(column: str) -> Callable[[pd.DataFrame, int], float]:
    """Mean size of the change of a column from one epoch to the next, from `SETTLED` on; NaN for a run that failed."""

    def summary(run: pd.DataFrame, given: int) -> float:
        settled = run[column][run.epoch >= SETTLED]
        return np.nan if failed(run) or len(settled) < 2 else settled.diff().abs().mean()

    return summary


def _factor(run: pd.DataFrame, given: int) -> float:
    """The factor by which training loss changes from one epoch to the next, up or down: the mean of its logarithms.

    It moves with a loss that falls steadily, too, and most where that falls fast.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.exp(_fluctuation("train_loss")(run.assign(train_loss=np.log(run.train_loss)), given)))


def _at_fit(run: pd.DataFrame, given: int) -> float:
    """Test loss where the loss on training images has come down to `FIT`, between two epochs by its logarithm.

    NaN for a run that failed, never came so low, or had come lower by its first epoch.
    """
    there = np.flatnonzero(run.fitted_loss.to_numpy(dtype=float) <= FIT)
    if failed(run) or not len(there) or there[0] == 0:
        return np.nan
    before, after = run.iloc[there[0] - 1], run.iloc[there[0]]
    way = np.log(before.fitted_loss / FIT) / np.log(before.fitted_loss / after.fitted_loss)
    return float(before.test_loss + way * (after.test_loss - before.test_loss))


def _second(column: str) -> Callable[[pd.DataFrame, int], float]:
    return lambda run, given: run[column].iloc[1] if len(run) > 1 else np.nan


def _until(threshold: float) -> Outcome:
    """The epochs until a run first reaches `threshold`, or one more than it was given where it did not get there.

    What lies behind the last epoch is not known, so that it is compared by rank, "never" the last, and not by its mean.
    """

    def summary(run: pd.DataFrame, given: int) -> float:
        hit = run.epoch[run.test_accuracy >= threshold]
        return hit.iloc[0] if len(hit) else given + 1

    return Outcome(f"epochs until test accuracy {threshold:.1%}", "epochs", "", higher_is_better=False, summary=summary)


MEASURED = {
    "train_loss_first": Outcome("training loss", "train_loss", "first", higher_is_better=False),
    "train_loss_second": Outcome("training loss of epoch 2", "train_loss", "", False, _second("train_loss")),
    "train_loss_last": Outcome("training loss", "train_loss", "last", higher_is_better=False),
    "train_accuracy_first": Outcome("training accuracy", "train_accuracy", "first", higher_is_better=True),
    "train_accuracy_second": Outcome("training accuracy of epoch 2", "train_accuracy", "", True, _second("train_accuracy")),
    "train_accuracy_last": Outcome("training accuracy", "train_accuracy", "last", higher_is_better=True),
    "test_accuracy_last": Outcome("test accuracy", "test_accuracy", "last", higher_is_better=True),
    "test_loss_last": Outcome("test loss", "test_loss", "last", higher_is_better=False),
    "fluctuation": Outcome("fluctuation of test accuracy", "accuracy", "", False, _fluctuation("test_accuracy")),
    "fluctuation_loss": Outcome("fluctuation of training loss", "loss", "", False, _fluctuation("train_loss")),
    "fluctuation_log_loss": Outcome("factor from one training loss to the next", "ratio", "", False, _factor),
    "test_loss_at_fit": Outcome(f"test loss at a training loss of {FIT:g}", "test_loss", "", False, _at_fit),
    "gap": Outcome("training accuracy minus test accuracy", "difference of accuracy", "last", False, _gap),
    **{f"{UNTIL}{threshold:g}": _until(threshold) for threshold in THRESHOLDS},
}
# The columns of the original's tables.
TABLE = ("train_loss_first", "train_loss_last", "train_accuracy_first", "train_accuracy_last", "test_accuracy_last")
