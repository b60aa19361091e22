"""Point estimates with their intervals, and tests. The seed is the unit; the arms are paired by seed."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

ALPHA = 0.05  # of every test
LEVEL = 1 - ALPHA  # of every interval
ROUNDING = 1e-12  # by which differences that are equal can differ, of numbers of order one
MOST_FLIPS = 2**16  # sign patterns of an exact test; from 17 pairs on, as many are drawn
Values = Sequence[float] | np.ndarray


@dataclass(frozen=True)
class Interval:
    """An estimate from `n` values, with the ends of its 95% interval: NaN where too few, or equal, values bound nothing."""

    estimate: float
    low: float
    high: float
    n: int

    @property
    def bounded(self) -> bool:
        """Whether there is an interval at all."""
        return bool(np.isfinite(self.low) and np.isfinite(self.high))

    @property
    def sign(self) -> int:
        """+1 if the whole interval lies above zero, -1 if below; 0 if it holds zero, or if there is none."""
        return int(self.bounded and self.low > 0) - int(self.bounded and self.high < 0)

    def within(self, least: float, most: float) -> "Interval":
        """The part of it that is possible, where it is known to lie from `least` to `most`: it covers the truth as often."""
        low, high = (float(np.clip(end, least, most)) for end in (self.low, self.high))
        return replace(self, low=low, high=high)


NOTHING = Interval(np.nan, np.nan, np.nan, 0)


@dataclass(frozen=True)
class Spread:
    """Where `n` values lie: their median, the least and the most; NaN of none."""

    median: float
    least: float
    most: float
    n: int


def _finite(values: Values) -> np.ndarray:
    x = np.asarray(values, dtype=float)
    return np.compress(np.isfinite(x), x)


def _differ(x: np.ndarray) -> bool:
    """Whether there are several values, with more between them than rounding."""
    return len(x) > 1 and np.ptp(x) > 1e-9 * max(np.abs(x).max(), 1e-9)


def spread(values: Values) -> Spread:
    """Median and range of values; NaN are left out and not counted. Infinite ones count, as what never came about."""
    x = np.sort(np.asarray(values, dtype=float))
    if not (n := int((~np.isnan(x)).sum())):
        return Spread(np.nan, np.nan, np.nan, 0)
    low, high = x[(n - 1) // 2], x[n // 2]  # equal where both are infinite, whose mean would be none; NaN are last
    return Spread(float(low if low == high else (low + high) / 2), float(x[0]), float(x[n - 1]), n)


def mean_interval(values: Values, level: float = LEVEL) -> Interval:
    """Mean and Student's t interval over `values`, (n,) one for each seed; NaN values are left out and not counted.

    Values that are equal up to rounding bound nothing: by them chance would have no part in it.
    """
    x = _finite(values)
    n = len(x)
    mean = float(x.mean()) if n else np.nan
    if not _differ(x):
        return Interval(mean, np.nan, np.nan, n)
    half = float(stats.t.ppf((1 + level) / 2, n - 1) * stats.sem(x))
    return Interval(mean, mean - half, mean + half, n)


def enough(family: int) -> int:
    """The number of pairs from which on the exact test can tell arms apart in each of a family of `family` contrasts.

    With n pairs its p cannot fall below 2 / 2^n; adjusted over the family, that has to stay below 5%. Of a family of none any
    number will do: there the test is to be exact, though it may show nothing.
    """
    return next(n for n in range(1, 64) if family * 2 / 2**n < ALPHA)


def mean_difference(differences: Values, family: int = 1) -> Interval:
    """Mean of paired `differences`, with the interval they are judged by: `exact_interval` from `enough` pairs on, else t's.

    The exact test holds whatever distribution differences have; with fewer pairs it could show nothing. A pair with a NaN
    counts as one: which test is made depends on how many pairs there were to be, not on how many were lost.
    """
    return exact_interval(differences) if len(differences) >= enough(family) else mean_interval(differences)


def difference_p(differences: Values, family: int = 1) -> float:
    """p of no difference, of the test that belongs to `mean_difference`: exact from `enough` pairs on, else paired t."""
    x = _finite(differences)
    if len(differences) >= enough(family):
        return exact_p(x)
    return float(stats.ttest_1samp(x, 0).pvalue) if _differ(x) else np.nan


def mcnemar_p(first: Sequence[bool], second: Sequence[bool]) -> float:
    """p that two paired shares are equal, of the exact test on the pairs that differ (McNemar, Psychometrika 12, 1947).

    NaN where no pair differs.
    """
    a, b = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    alone = int((a & ~b).sum()), int((b & ~a).sum())
    return float(stats.binomtest(alone[0], sum(alone)).pvalue) if sum(alone) else np.nan


def prediction_interval(values: Values, more: int = 1) -> Interval:
    """Mean of `values`, with the 95% prediction interval of the mean of `more` new ones, if they are normal."""
    x = _finite(values)
    n = len(x)
    if n < 2:
        return Interval(float(x.mean()) if n else np.nan, np.nan, np.nan, n)
    half = float(stats.t.ppf((1 + LEVEL) / 2, n - 1) * x.std(ddof=1) * np.sqrt(1 / more + 1 / n))
    return Interval(float(x.mean()), float(x.mean() - half), float(x.mean() + half), n)


@functools.lru_cache(maxsize=32)
def _subsets(n: int) -> np.ndarray:
    """Which of n pairs each subset holds, (subsets, n): all but the empty one, or from 17 pairs on so many drawn."""
    if 2**n <= MOST_FLIPS:
        return (np.arange(1, 2**n)[:, None] >> np.arange(n) & 1).astype(float)
    chosen = np.random.default_rng(0).integers(0, 2, (MOST_FLIPS - 1, n)).astype(float)
    return chosen[chosen.any(axis=1)]


def exact_p(differences: Values) -> float:
    """Two-sided p of the exact paired permutation test that `differences`, (n,) one for each pair, have mean zero.

    If the arms do not differ, each difference is as likely with the other sign, whatever its distribution (Fisher, "The
    Design of Experiments", 1935). p is the share of sign patterns whose sum is as far from zero as the one seen, which counts
    too. With n pairs it cannot fall below 2 / 2^n. NaN where there are no pairs.
    """
    x = _finite(differences)
    if not len(x):
        return np.nan
    flipped = _subsets(len(x))
    # What is flipped counts twice. Sums that are equal but for rounding are ties, and count.
    sums = np.abs(x.sum() - 2 * (flipped @ x))
    as_far = int((sums >= abs(x.sum()) - 1e-12 * np.abs(x).sum()).sum())
    return (as_far + 1) / (len(flipped) + 1)  # and the pattern that was seen, of which nothing is flipped


def signed_ranks(differences: Values) -> np.ndarray:
    """The ranks of the sizes of paired `differences`, with their signs; NaN are left out.

    Equal sizes share their mean rank; zeros are ranked too and then count nothing (Pratt, JASA 54, 1959). Infinite differences
    are larger than all others and as large as one another. `exact_p` of these ranks is the exact signed-rank test (Wilcoxon,
    Biometrics Bulletin 1, 1945), whatever ties there are.
    """
    x = np.asarray(differences, dtype=float)
    x = x[~np.isnan(x)]
    sizes = np.abs(x)
    order = np.argsort(sizes, kind="stable")
    with np.errstate(invalid="ignore"):
        apart = np.diff(sizes[order], prepend=0.0) > ROUNDING  # of two infinite ones: not
    groups = np.empty(len(x))
    groups[order] = np.cumsum(apart)
    return np.asarray(np.where(groups > 0, np.sign(x), 0.0) * stats.rankdata(groups))


def rank_biserial(differences: Values) -> float:
    """The signed ranks' sum over that of their sizes: 1 where all differences are above zero, -1 below (Kerby, 2014)."""
    ranks = signed_ranks(differences)
    return float(ranks.sum() / np.abs(ranks).sum()) if ranks.any() else 0.0 if len(ranks) else np.nan


def exact_interval(differences: Values) -> Interval:
    """Mean of `differences` with the 95% interval that belongs to `exact_p`: the shifts that the test does not refuse.

    Its ends are order statistics of the means of all subsets (Hartigan, "Using Subsample Values as Typical Values", JASA 64,
    1969). It supposes that differences spread evenly about their centre, not that they are normal: where a few pairs lie far
    to one side its ends are not to be relied on. Fewer than six pairs bound nothing, nor do equal ones.
    """
    x = _finite(differences)
    if not (n := len(x)):
        return NOTHING
    chosen = _subsets(n)
    outside = int((1 - LEVEL) / 2 * (len(chosen) + 1))
    if outside == 0 or not _differ(x):
        return Interval(float(x.mean()), np.nan, np.nan, n)
    means = np.sort(chosen @ x / chosen.sum(axis=1))
    return Interval(float(x.mean()), float(means[outside - 1]), float(means[-outside]), n)


def holm(ps: Values, least: Values | float = 0.0) -> np.ndarray:
    """p values adjusted for being several (Holm, Scandinavian Journal of Statistics 6, 1979); NaN stays NaN and counts.

    An exact test that could not have come as low, its `least` p being higher, does not count (Tarone, Biometrics 46, 1990).
    """
    p = np.asarray(ps, dtype=float)
    could, order = np.broadcast_to(least, p.shape), np.argsort(np.where(np.isnan(p), 1.0, p), kind="stable")
    ascending = np.nan_to_num(p[order], nan=1.0)
    adjusted = np.maximum.accumulate([one * (could[order[place:]] <= one).sum() for place, one in enumerate(ascending)])
    return np.where(np.isnan(p), np.nan, np.fmin(adjusted, 1.0)[np.argsort(order)])


def share(count: int, n: int) -> Interval:
    """`count` of `n` as a share, with its Wilson 95% interval (JASA 22, 1927).

    Raises:
        ValueError: `count` is not between 0 and n.
    """
    if n == 0:
        return NOTHING
    ends = stats.binomtest(count, n).proportion_ci(LEVEL, method="wilson")
    return Interval(count / n, float(ends.low), float(ends.high), n)


def rank_correlation(first: Values, second: Values) -> Interval:
    """Spearman's rank correlation with the 95% interval of Bonett & Wright (Psychometrika 65, 2000); of five pairs or more."""
    a, b = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    n = len(a)
    if n < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return Interval(np.nan, np.nan, np.nan, n)
    r = float(stats.spearmanr(a, b).statistic)
    if n < 5 or abs(r) > 1 - 1e-12:
        return Interval(r, np.nan, np.nan, n)
    half = float(stats.norm.ppf((1 + LEVEL) / 2) * np.sqrt((1 + r**2 / 2) / (n - 3)))
    return Interval(r, float(np.tanh(np.arctanh(r) - half)), float(np.tanh(np.arctanh(r) + half)), n)


def equivalence_p(differences: Values, margin: float) -> float:
    """p of two one-sided t tests that the mean of paired `differences` lies within ±`margin` (Schuirmann, 1987).

    Small where the arms are shown to be equal up to the margin: below 5% just where the 90% `mean_interval` lies within it. NaN
    with fewer than two pairs, or without spread.
    """
    x = _finite(differences)
    if not _differ(x):
        return np.nan
    sides = ((-margin, "greater"), (margin, "less"))
    return float(max(stats.ttest_1samp(x, end, alternative=side).pvalue for end, side in sides))
