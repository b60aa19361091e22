"""The results of a study, as all that shows them reads them: the outcomes of its runs, the contrasts between its arms."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from bnlib.analysis import statistics
from bnlib.analysis.statistics import ALPHA, Interval, Spread
from bnlib.experiment.outcomes import OUTCOMES
from bnlib.experiment.study import Arm, Study

MARGIN = 0.001  # of test accuracy: arms this close count as equal

# What is held against what, in the column `kind`. Failed and learned runs are two kinds, and no mean is of both: where no other
# pairs are named, a contrast is of the pairs in which neither run failed.
CELL = "cell"  # arm minus reference at one cell
CHANGE = "change"  # that at the highest learning rate minus that at another one (`against`)
OWN = "own"  # arm minus reference, each at its own best rate; `against` is the reference's
RANK = "rank"  # as `CELL`, over all pairs by rank: a failed run is worse than any that learned
RANK_CHANGE = "rank change"  # as `CHANGE`, likewise
FAILED = "failed"  # arm minus reference in the share of runs that failed, over all pairs; p is McNemar's
REACH = "reach"  # the largest learning rate that is usable, or that runs survive, arm over reference


@dataclass(frozen=True)
class Contrast:
    """One row: arm minus reference in one outcome, over pairs of runs; of ratios, their natural logarithms.

    `estimate` is the mean over `n` pairs of `pairs` that there were to be, with its 95% interval; `p` of no difference and
    `p_adjusted` over the family: the same outcome in every arm and cell (Holm). `least_p` is what `p` would be, were all pairs
    that differ to one side, of an `exact` test or McNemar's; else 0. Of ranks it is their rank-biserial correlation, 1 where
    the arm is higher in every pair, and has no interval; nor has a difference of shares. Of a reach all are ratios: infinity is
    the upper end where more rates could have shown a larger one, 0 the lower end where they could have shown a smaller one.

    `better` and `tied` count pairs of the `n`; `failed` and `failed_reference` runs. `median`, `least` and `most` are of each
    arm's runs that learned; of epochs until something of all runs, infinite where a run never came to it. Of a change they are
    of the differences at the two rates. `equal_p` is that of two one-sided tests that the arms are equal up to `MARGIN`, alone
    and not adjusted, and `equal_low` to `equal_high` the 90% interval that goes with it.
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
    least_p: float
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
    equal_p: float
    equal_low: float
    equal_high: float

    @property
    def difference(self) -> Interval:
        """The estimate with its interval."""
        return Interval(self.estimate, self.low, self.high, self.n)

    @property
    def direction(self) -> int:
        """+1 or -1 where the interval excludes no difference, which in a reach is 1; without one, the side of the estimate."""
        same = 1.0 if self.kind == REACH else 0.0
        moved = Interval(self.estimate - same, self.low - same, self.high - same, self.n)
        return moved.sign if moved.bounded else int(np.nan_to_num(np.sign(moved.estimate)))

    @property
    def is_least(self) -> bool:
        """Whether it is the least that a ratio of largest rates can be: more rates could have shown a larger one."""
        return self.kind == REACH and bool(np.isinf(self.high) and self.low != 0)

    @property
    def is_open(self) -> bool:
        """Whether more rates could have shown a larger ratio of largest rates, or a smaller one."""
        return self.kind == REACH and self.low == 0 and bool(np.isinf(self.high))

    @property
    def sign(self) -> int:
        """+1 or -1 where the arms are told apart: there is a direction, and p, adjusted, is below 5%; else 0."""
        return self.direction * int(self.p_adjusted < ALPHA)


@dataclass(frozen=True)
class Results:
    """What a study gave: `runs`, the outcomes of each run (arm, learning_rate, seed, failed, ...), and `contrasts`.

    `chosen` are its seeds where they are not those from 0 on.
    """

    study: Study
    runs: pd.DataFrame
    contrasts: pd.DataFrame
    chosen: tuple[int, ...] = ()

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds that there were to be, ascending."""
        return self.chosen or tuple(range(self.study.seeds))

    @property
    def rates(self) -> list[float]:
        """The learning rates at which the arms were to be compared, ascending."""
        return sorted({float(cell["learning_rate"]) for cell in self.study.cells})

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
        return self._wide[rate][outcome]

    @cached_property
    def _wide(self) -> dict[float, pd.DataFrame]:
        """At each rate all outcomes, one beside the other: to turn a table takes longer than what is done with it."""
        arms = [arm.name for arm in self.study.arms]
        named = self.runs.columns.drop(["arm", "seed", "learning_rate"])
        at = {"index": list(self.seeds), "columns": pd.MultiIndex.from_product([named, arms])}
        its = {rate: self.runs[self.runs.learning_rate == rate] for rate in self.rates}
        return {rate: runs.pivot(index="seed", columns="arm", values=list(named)).reindex(**at) for rate, runs in its.items()}

    def learned(self, outcome: str, rate: float) -> pd.DataFrame:
        """The same of the runs that learned, NaN where one failed; of an outcome that is `early`, of all."""
        table = self.values(outcome, rate).astype(float)
        return table if OUTCOMES[outcome].early else table.mask(self._failed[rate])

    def ranked(self, outcome: str, rate: float) -> pd.DataFrame:
        """The same of all runs, to be put in order: infinitely bad where one failed, or never came to what it was to reach."""
        table, named = self.values(outcome, rate).astype(float), OUTCOMES[outcome]
        never = table > self.study.epochs if named.is_time else False
        return table.mask(self._failed[rate] | never, -np.inf if named.higher_is_better else np.inf)

    @cached_property
    def _failed(self) -> dict[float, pd.DataFrame]:
        return {rate: self.values("failed", rate).eq(True) for rate in self.rates}

    def lost(self, arm: str) -> pd.DataFrame:
        """The outcomes of an arm's runs that failed."""
        return self.runs[self.runs.failed & (self.runs.arm == arm)]

    def differences(self, outcome: str, arm: str, rate: float) -> pd.Series:
        """Arm minus reference in each pair, by seed, of ratios that of their logarithms; NaN where one failed or has none."""
        table = self.learned(outcome, rate)
        table = np.log(table) if OUTCOMES[outcome].is_ratio else table
        return table[arm] - table[self.study.arms[0].name]

    def spread(self, outcome: str, arm: str, rate: float) -> Spread:
        """Median and range of an arm's runs that learned; of epochs until something of all, infinite where never."""
        read = self.ranked if OUTCOMES[outcome].is_time else self.learned
        return statistics.spread(read(outcome, rate)[arm])

    def find(self, outcome: str, arm: str = "", rate: float | None = None, kind: str = CELL) -> list[Contrast]:
        """The contrasts of an outcome, of one arm or all, at one rate or all, in the order of rates, then arms."""
        its = self._contrasts.get((kind, outcome), [])
        return [c for c in its if arm in ("", c.arm) and rate in (None, c.learning_rate)]

    @cached_property
    def _contrasts(self) -> dict[tuple[str, str], list[Contrast]]:
        """Those of each kind and outcome; pages ask for hundreds."""
        found: dict[tuple[str, str], list[Contrast]] = {}
        for row in self.contrasts.to_dict("records"):
            found.setdefault((row["kind"], row["outcome"]), []).append(Contrast(**row))
        return found

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
