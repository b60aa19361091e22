"""The outcomes of a run: each is one number, read off its records, with how it is called and written."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bnlib.experiment.config import TESTED

THRESHOLDS = (0.98, 0.985, 0.99)  # test accuracies by which it is told how soon a network learns
SETTLED = 3  # the epoch from which on test accuracy should not change much any more


@dataclass(frozen=True)
class Outcome:
    """One number for each run: `column` of the records at the first epoch or at the last, or what `summary` makes of a run.

    `summary` maps the rows of a run, in the order of its epochs, and the number of epochs it was given to a number; `column`
    then says only in what unit that is: of an accuracy, a loss, `epochs` or `runs`.
    """

    label: str
    column: str
    epoch: str  # "first" or "last"; "" where the number is of no single epoch
    higher_is_better: bool
    summary: Callable[[pd.DataFrame, int], float] | None = None

    @property
    def is_share(self) -> bool:
        """Whether it is an accuracy: a fraction in the records, a percentage to readers."""
        return self.column.endswith("accuracy")

    @property
    def scale(self) -> int:
        """What a value is multiplied with to be in its unit."""
        return 100 if self.is_share else 1

    def read(self, run: pd.DataFrame, given: int) -> float:
        """The number of one run, its rows in the order of epochs; NaN where the run had diverged."""
        if self.summary:
            return float(self.summary(run, given))
        return float(run[self.column].iloc[0 if self.epoch == "first" else -1])

    def title(self, epochs: int) -> str:
        """The outcome in words, for runs of so many epochs: `training loss of epoch 1`."""
        return f"{self.label} of epoch {1 if self.epoch == 'first' else epochs}" if self.epoch else self.label

    def number(self, value: float, signed: bool = False) -> str:
        """A value as readers see it, without its unit: losses to 4 decimals, accuracies as percentages to 2, epochs to 1."""
        if not np.isfinite(value):
            return "–"
        digits = {"%": 2, "nats": 4}.get(self.unit, 1)
        rounded = round(value * self.scale, digits) or 0.0  # no minus before zero
        return f"{rounded:{'+' * signed}.{digits}f}".replace("-", "−")

    @property
    def unit(self) -> str:
        """The unit that readers see it in."""
        return "%" if self.is_share else "nats" if self.column.endswith("loss") else self.column

    @property
    def difference_unit(self) -> str:
        """The unit of a difference of two."""
        return "percentage points" if self.is_share else self.unit


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


def _fluctuation(run: pd.DataFrame, given: int) -> float:
    """Mean size of the change of test accuracy from one epoch to the next, from `SETTLED` on; NaN for a run that failed."""
    settled = run.test_accuracy[run.epoch >= SETTLED]
    return np.nan if failed(run) or len(settled) < 2 else settled.diff().abs().mean()


def _second(column: str) -> Callable[[pd.DataFrame, int], float]:
    return lambda run, given: run[column].iloc[1] if len(run) > 1 else np.nan


def _until(threshold: float) -> Outcome:
    """The epochs until a run first reaches `threshold`, or one more than it was given where it did not get there.

    Its mean is the restricted mean time up to that epoch, which misses do not bias: they are there by definition.
    """

    def summary(run: pd.DataFrame, given: int) -> float:
        hit = run.epoch[run.test_accuracy >= threshold]
        return hit.iloc[0] if len(hit) else given + 1

    return Outcome(f"epochs until test accuracy {threshold:.1%}", "epochs", "", higher_is_better=False, summary=summary)


# The one place to add an outcome.
OUTCOMES = {
    "train_loss_first": Outcome("training loss", "train_loss", "first", higher_is_better=False),
    "train_loss_second": Outcome("training loss of epoch 2", "train_loss", "", False, _second("train_loss")),
    "train_loss_last": Outcome("training loss", "train_loss", "last", higher_is_better=False),
    "train_accuracy_first": Outcome("training accuracy", "train_accuracy", "first", higher_is_better=True),
    "train_accuracy_second": Outcome("training accuracy of epoch 2", "train_accuracy", "", True, _second("train_accuracy")),
    "train_accuracy_last": Outcome("training accuracy", "train_accuracy", "last", higher_is_better=True),
    "test_accuracy_last": Outcome("test accuracy", "test_accuracy", "last", higher_is_better=True),
    "test_loss_last": Outcome("test loss", "test_loss", "last", higher_is_better=False),
    "fluctuation": Outcome("fluctuation of test accuracy", "accuracy", "", higher_is_better=False, summary=_fluctuation),
    "gap": Outcome("training accuracy minus test accuracy", "accuracy", "last", higher_is_better=False, summary=_gap),
    **{f"epochs_until_{threshold:g}": _until(threshold) for threshold in THRESHOLDS},
}
# The columns of the original's tables.
TABLE = ("train_loss_first", "train_loss_last", "train_accuracy_first", "train_accuracy_last", "test_accuracy_last")


def per_run(epochs: pd.DataFrame, by: Sequence[str], names: Sequence[str], given: int) -> pd.DataFrame:
    """The outcomes of each run.

    Args:
        epochs: records of one study.
        by: the columns that tell its runs apart, `seed` among them.
        names: of the outcomes.
        given: the epochs that each run was to have.

    Returns:
        A row for each run: the columns `by`, `failed`, and one for each outcome; NaN where a run has no such number.
    """
    rows = []
    for key, run in epochs.sort_values("epoch", kind="stable").groupby(list(by), sort=False):
        rows.append((*key, failed(run), *(OUTCOMES[name].read(run, given) for name in names)))
    return pd.DataFrame(rows, columns=[*by, "failed", *names])
