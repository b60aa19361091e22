"""The results of a study, as all that shows them reads them: the outcomes of its runs, the contrasts between its arms."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from bnlib.analysis import statistics
from bnlib.analysis.statistics import ALPHA, Interval
from bnlib.experiment.outcomes import OUTCOMES
from bnlib.experiment.study import Arm, Study

MARGIN = 0.001  # of test accuracy: arms this close count as equal

# What is held against what, in the column `kind`.
CELL = "cell"  # arm minus reference at one cell
CHANGE = "change"  # that at the highest learning rate minus that at another one (`against`)
LEARNED = "learned"  # arm minus reference over the pairs in which neither run failed, where any did
OWN = "own"  # arm minus reference, each at its own best rate; `against` is the reference's
WITHIN = "within"  # one arm at the highest learning rate minus itself at the lowest (`against`)
FAILED = "failed"  # arm minus reference in the share of runs that failed; p is McNemar's
REACH = "reach"  # the largest usable rate, arm over reference; the outcome is named for the margin


@dataclass(frozen=True)
class Contrast:
    """One row: arm minus reference in one outcome, over pairs of runs; of ratios, their natural logarithms.

    `estimate` is the mean over `n` pairs of `pairs` that there were to be, with its 95% interval; `p` of no difference and
    `p_adjusted` over the family: the same outcome in every arm and cell (Holm). `better` and `tied` count pairs.
    `t_low` and `t_high` are the ends of the paired t interval, `effect` the mean in standard deviations of the differences,
    `equal_p` that of two one-sided tests that the arms are equal up to `MARGIN`.
    """

    study: str
    kind: str
    outcome: str
    arm: str
    reference: str
    learning_rate: float
    against: float
    estimate: float
    low: float
    high: float
    exact: bool
    p: float
    p_adjusted: float
    n: int
    pairs: int
    better: int
    tied: int
    failed: int
    failed_reference: int
    median: float
    least: float
    most: float
    reference_median: float
    reference_least: float
    reference_most: float
    t_low: float
    t_high: float
    effect: float
    effect_low: float
    effect_high: float
    equal_p: float
    equal_p_adjusted: float

    @property
    def difference(self) -> Interval:
        """The estimate with its interval."""
        return Interval(self.estimate, self.low, self.high, self.n, self.exact)

    @property
    def is_of_all_pairs(self) -> bool:
        """Whether it was meant to be of all pairs: not only of those in which neither run failed."""
        return self.kind != LEARNED

    @property
    def sign(self) -> int:
        """+1 or -1 where the arms are told apart: the interval excludes zero and p, adjusted, is below 5%; else 0."""
        return self.difference.sign * int(self.p_adjusted < ALPHA)

    @property
    def improvement(self) -> Interval:
        """The share of pairs in which the arm is better."""
        return statistics.improvement(self.better, self.tied, self.n)


@dataclass(frozen=True)
class Results:
    """What a study gave: `runs`, the outcomes of each run (arm, learning_rate, seed, failed, ...), and `contrasts`."""

    study: Study
    runs: pd.DataFrame
    contrasts: pd.DataFrame

    @property
    def rates(self) -> list[float]:
        """The learning rates at which the arms were to be compared, ascending."""
        return sorted({cell["learning_rate"] for cell in self.study.cells})

    @property
    def others(self) -> tuple[Arm, ...]:
        """The arms but the reference."""
        return self.study.arms[1:]

    @cached_property
    def failures(self) -> dict[tuple[str, float], int]:
        """How many runs failed, for each arm at each learning rate."""
        return {at: int(count) for at, count in self.runs.groupby(["arm", "learning_rate"]).failed.sum().items()}

    def values(self, outcome: str, rate: float) -> pd.DataFrame:
        """The outcome of each run at a rate: a row for each seed, a column for each arm; NaN where a run has none."""
        runs = self.runs[self.runs.learning_rate == rate]
        table = runs.pivot(index="seed", columns="arm", values=outcome)
        return table.reindex(index=range(self.study.seeds), columns=[arm.name for arm in self.study.arms])

    def lost(self, arm: str) -> pd.DataFrame:
        """The outcomes of an arm's runs that failed."""
        return self.runs[self.runs.failed & (self.runs.arm == arm)]

    def differences(self, outcome: str, arm: str, rate: float) -> pd.Series:
        """Arm minus reference in each pair, by seed, of ratios that of their logarithms; NaN where one has no value."""
        table = self.values(outcome, rate).astype(float)
        table = np.log(table) if outcome in OUTCOMES and OUTCOMES[outcome].is_ratio else table
        return table[arm] - table[self.study.arms[0].name]

    def mean(self, outcome: str, arm: str, rate: float) -> Interval:
        """One arm's mean over its runs, with Student's interval."""
        return statistics.mean_interval(self.values(outcome, rate)[arm])

    def find(self, outcome: str, arm: str = "", rate: float | None = None, kind: str = CELL) -> list[Contrast]:
        """The contrasts of an outcome, of one arm or all, at one rate or all, in the order of rates, then arms."""
        table = self.contrasts[(self.contrasts.kind == kind) & (self.contrasts.outcome == outcome)]
        table = table[table.arm == arm] if arm else table
        table = table[table.learning_rate == rate] if rate is not None else table
        return [Contrast(**row) for row in table.to_dict("records")]

    def one(self, outcome: str, arm: str, rate: float | None = None, kind: str = CELL) -> Contrast:
        """The one contrast that these name.

        Raises:
            ValueError: there is no such contrast, or there are several.
        """
        found = self.find(outcome, arm, rate, kind)
        if len(found) != 1:
            raise ValueError(f"{len(found)} contrasts of {outcome} in {arm} at {rate} ({kind})")
        return found[0]

    def failed(self, arm: str, rate: float | None = None) -> Interval:
        """The share of an arm's runs that failed, with its Wilson interval."""
        runs = self.runs[(self.runs.arm == arm) & ((self.runs.learning_rate == rate) | (rate is None))]
        return statistics.share(int(runs.failed.sum()), len(runs))
