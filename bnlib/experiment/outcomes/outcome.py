"""An outcome: one number of each run, with how it is called and written."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Outcome:
    """One number for each run: `column` of the records at the first epoch or at the last, or what is made of the whole run.

    `summary` maps the rows of a run, in the order of its epochs, and the number of epochs it was given to a number; `seen` maps
    what probes saw in it, a row for each step and a column for each (probe, layer, measure). `column` then says only in what
    unit that is: of an accuracy, a loss, `share`, `epochs` or `ratio`. Ratios are compared by their natural logarithms.
    `early` is what is seen so soon that no run has failed yet: it is compared over all runs, other outcomes over those that
    learned.
    """

    label: str
    column: str
    epoch: str  # "first" or "last"; "" where the number is of no single epoch
    higher_is_better: bool
    summary: Callable[[pd.DataFrame, int], float] | None = None
    seen: Callable[[pd.DataFrame], float] | None = None
    early: bool = False

    @property
    def is_accuracy(self) -> bool:
        """Whether it is an accuracy or a difference of two."""
        return self.column.endswith("accuracy")

    @property
    def is_share(self) -> bool:
        """Whether it is a fraction in the records, and a percentage to readers."""
        return self.is_accuracy or self.column == "share"

    @property
    def is_ratio(self) -> bool:
        """Whether arms are compared by how many times as large it is in one as in the other."""
        return self.column == "ratio"

    @property
    def is_time(self) -> bool:
        """Whether it is a number of epochs until something, which a run may never have come to: then it has no mean."""
        return self.column == "epochs"

    @property
    def width(self) -> float:
        """How far apart two values can lie: 1 of shares, 2 of a cosine or of what is a difference of shares itself."""
        if self.is_share:
            return 2 if self.column.startswith("difference") else 1
        return 2 if self.column == "cosine" else np.inf

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

    def number(self, value: float, signed: bool = False, more: int = 0) -> str:
        """A value as readers see it, without its unit: losses to 4 decimals, accuracies as percentages to 2, epochs to 1.

        What is `signed` is a difference: of logarithms where it is a ratio, which is what readers then see. It has `more`
        digits than that.
        """
        if not np.isfinite(value):
            return "–"
        if self.is_ratio:
            return f"{np.exp(value) if signed else value:.{3 + more}g}"
        digits = {"%": 2, "nats": 4, "cosine": 3}.get(self.unit, 1) + more
        rounded = round(value * self.scale, digits) or 0.0  # no minus before zero
        return f"{rounded:{'+' * signed}.{digits}f}".replace("-", "−")

    def ends(self, low: float, high: float) -> tuple[str, str]:
        """The ends of a difference's interval as readers see them: not rounded onto no difference where it excludes that."""
        for more in range(9):
            ends = self.number(low, True, more), self.number(high, True, more)
            if low <= 0 <= high or self.number(0.0, True, more) not in ends:
                break
        return ends

    @property
    def unit(self) -> str:
        """The unit that readers see it in."""
        if self.is_ratio:
            return ""
        return "%" if self.is_share else "nats" if self.column.endswith("loss") else self.column

    @property
    def difference_unit(self) -> str:
        """The unit of a difference of two."""
        return "percentage points" if self.is_share else "times as large" if self.is_ratio else self.unit
