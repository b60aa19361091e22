"""What is compared: each outcome of a run, how it is read off the records, and how its numbers are written."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bnlib import lost_runs
from bnlib.config import rate_name
from bnlib.statistics import ALPHA, Interval, difference_p, holm, improvement, mean_interval, paired_difference, standardised
from bnlib.words import listing


@dataclass(frozen=True)
class Outcome:
    """One number for each run: `column` of the records at the first epoch or at the last, or what `summary` makes of a run.

    `summary` maps the rows of a run, in the order of its epochs, and the number of epochs it was given to a number; `column`
    then says only in what unit that is: of an accuracy, a loss, or `epochs`.
    """

    name: str
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
            return self.summary(run, given)
        return run[self.column].iloc[0 if self.epoch == "first" else -1]

    def title(self, epochs: int) -> str:
        """The outcome in words, for runs of so many epochs: `training loss of epoch 1`."""
        return f"{self.name} of epoch {1 if self.epoch == 'first' else epochs}" if self.epoch else self.name

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


def _gap(run: pd.DataFrame, given: int) -> float:
    """Of the last epoch; NaN for a run that was lost, which fits nothing and so has no gap."""
    return np.nan if lost_runs.is_lost(run) else run.train_accuracy.iloc[-1] - run.test_accuracy.iloc[-1]


def _fluctuation(run: pd.DataFrame, given: int) -> float:
    """Mean size of the change of test accuracy from one epoch to the next, from `SETTLED` on; NaN for a run that was lost."""
    settled = run.test_accuracy[run.epoch >= SETTLED]
    return np.nan if lost_runs.is_lost(run) or len(settled) < 2 else float(settled.diff().abs().mean())


def _second(column: str) -> Callable[[pd.DataFrame, int], float]:
    return lambda run, given: run[column].iloc[1] if len(run) > 1 else np.nan


FIRST_LOSS = Outcome("training loss", "train_loss", "first", higher_is_better=False)
SECOND_LOSS = Outcome("training loss of epoch 2", "train_loss", "", False, _second("train_loss"))
LAST_LOSS = Outcome("training loss", "train_loss", "last", higher_is_better=False)
FIRST_ACCURACY = Outcome("training accuracy", "train_accuracy", "first", higher_is_better=True)
SECOND_ACCURACY = Outcome("training accuracy of epoch 2", "train_accuracy", "", True, _second("train_accuracy"))
LAST_ACCURACY = Outcome("training accuracy", "train_accuracy", "last", higher_is_better=True)
TEST_ACCURACY = Outcome("test accuracy", "test_accuracy", "last", higher_is_better=True)
TEST_LOSS = Outcome("test loss", "test_loss", "last", higher_is_better=False)
SETTLED = 3  # the epoch from which on test accuracy should not change much any more
FLUCTUATION = Outcome("fluctuation of test accuracy", "accuracy", "", higher_is_better=False, summary=_fluctuation)
GAP = Outcome("training accuracy minus test accuracy", "accuracy", "last", higher_is_better=False, summary=_gap)
TABLE = (FIRST_LOSS, LAST_LOSS, FIRST_ACCURACY, LAST_ACCURACY, TEST_ACCURACY)  # the columns of the original's tables


@dataclass(frozen=True)
class Comparison:
    """One outcome at one learning rate: each arm over its seeds, and with minus without batch norm over the pairs."""

    outcome: Outcome
    learning_rate: float
    epochs: int
    without: Interval
    with_norm: Interval
    difference: Interval
    per_seed: pd.DataFrame  # one row for each seed, columns `none` and `batch`; NaN where the run had diverged

    @property
    def seeds(self) -> int:
        """How many pairs there were to be, lost ones included."""
        return len(self.per_seed)

    @property
    def pairs(self) -> np.ndarray:
        """With minus without batch norm for each pair; NaN where one of the two has no value."""
        return (self.per_seed["batch"] - self.per_seed["none"]).to_numpy()

    @property
    def t(self) -> Interval:
        """The mean difference with its paired-t interval, whatever `difference` has."""
        return mean_interval(self.pairs)

    @property
    def p(self) -> float:
        """Of the test that belongs to `difference`, not adjusted."""
        return difference_p(self.pairs)

    @property
    def improvement(self) -> Interval:
        """The share of pairs in which batch norm is better."""
        return improvement(self.pairs if self.outcome.higher_is_better else -self.pairs)

    @property
    def effect(self) -> Interval:
        """The standardised paired difference."""
        return standardised(self.pairs)

    def text(self) -> str:
        """The difference with its unit, interval, and the pairs it comes from if not all: `+0.03 percentage points [...]`."""
        d, number = self.difference, self.outcome.number
        if not d.n:
            return "no pair in which both arms stayed finite"
        told = f"{number(d.estimate, signed=True)} {self.outcome.difference_unit}"
        if d.flat:
            return f"{told} in each of {d.n} pairs, with no spread to judge it by"
        told += f" [{number(d.low, signed=True)}, {number(d.high, signed=True)}]" if d.bounded else ""
        if d.n < self.seeds:
            return f"{told}, from the {d.n} of {self.seeds} pairs that stayed finite"
        return told if d.bounded else f"{told}, from one pair"


def rates(epochs: pd.DataFrame) -> list[float]:
    """The learning rates in the records, ascending."""
    return sorted(epochs.learning_rate.unique())


def at_rate(epochs: pd.DataFrame, learning_rate: float) -> pd.DataFrame:
    """The records of one learning rate.

    Raises:
        ValueError: there are none.
    """
    chosen = epochs[epochs.learning_rate == learning_rate]
    if chosen.empty:
        raise ValueError(f"no records at learning rate {learning_rate}")
    return chosen


def per_seed(epochs: pd.DataFrame, outcome: Outcome, learning_rate: float) -> pd.DataFrame:
    """The outcome of each run: one row for each seed, columns `none` and `batch`; NaN where the run had diverged."""
    runs = at_rate(epochs, learning_rate).sort_values("epoch").groupby(["seed", "norm"])
    given = int(epochs.epoch.max())
    values = pd.Series({run: outcome.read(rows, given) for run, rows in runs}, dtype=float)
    return values.unstack().rename_axis(index="seed", columns="norm").reindex(columns=["none", "batch"])


def compare(epochs: pd.DataFrame, outcome: Outcome, learning_rate: float) -> Comparison:
    """Compares the arms in one outcome at one learning rate."""
    return compare_at(epochs, outcome, {"none": learning_rate, "batch": learning_rate})


def signs(epochs: pd.DataFrame, outcome: Outcome) -> dict[float, int]:
    """For each rate where the difference lies to zero, +1 or -1, if it is told apart from it; else 0.

    It is where its interval says so and p, adjusted over the rates (Holm), is below 5%.
    """
    compared = [compare(epochs, outcome, rate) for rate in rates(epochs)]
    adjusted = holm([c.p for c in compared])
    return {c.learning_rate: c.difference.sign * int(p < ALPHA) for c, p in zip(compared, adjusted, strict=True)}


def by_sign(epochs: pd.DataFrame, outcome: Outcome) -> dict[int, list[float]]:
    """The rates at which the outcome is lower with batch norm (-1), higher (1), and not told apart (0)."""
    told = signs(epochs, outcome)
    return {sign: [rate for rate, found in told.items() if found == sign] for sign in (-1, 0, 1)}


def in_words(epochs: pd.DataFrame, outcome: Outcome, lower: str, higher: str, neither: str = "not told apart") -> str:
    """Where the outcome is `lower` with batch norm, where `higher`, and where `neither`: `lower at 0.001, higher at 0.01`."""
    at = by_sign(epochs, outcome)
    phrases = {-1: lower, 1: higher, 0: neither}
    return ", ".join(f"{told} at {listing([rate_name(r) for r in at[sign]])}" for sign, told in phrases.items() if at[sign])


def compare_at(epochs: pd.DataFrame, outcome: Outcome, rates: dict[str, float]) -> Comparison:
    """Compares the arms in one outcome, each at a learning rate of its own."""
    values = pd.DataFrame({norm: per_seed(epochs, outcome, rate)[norm] for norm, rate in rates.items()})
    return Comparison(
        outcome,
        rates["batch"],
        int(epochs.epoch.max()),
        mean_interval(values["none"]),
        mean_interval(values["batch"]),
        paired_difference(values["none"], values["batch"]),
        values,
    )


def best_rates(epochs: pd.DataFrame) -> dict[str, float]:
    """For each arm the rate of the lowest mean training loss in the last epoch; one at which a run diverged is out."""
    tables = {rate: per_seed(epochs, LAST_LOSS, rate) for rate in rates(epochs)}
    means = pd.DataFrame({rate: table.mean(skipna=False) for rate, table in tables.items()}).fillna(np.inf)
    return {norm: float(row.idxmin()) for norm, row in means.iterrows()}


def table(epochs: pd.DataFrame, learning_rate: float) -> list[Comparison]:
    """The comparisons of `TABLE` at one rate; an outcome that is the same as another, as in runs of one epoch, once."""
    compared = {outcome.title(int(epochs.epoch.max())): outcome for outcome in TABLE}
    return [compare(epochs, outcome, learning_rate) for outcome in compared.values()]
