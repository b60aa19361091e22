"""Point estimates with their intervals. The seed is the unit; the arms are paired by seed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """An estimate from `n` values, with the ends of its 95% interval: NaN where fewer than two values bound nothing."""

    estimate: float
    low: float
    high: float
    n: int

    @property
    def bounded(self) -> bool:
        """Whether there is an interval at all."""
        return bool(np.isfinite(self.low) and np.isfinite(self.high))

    @property
    def flat(self) -> bool:
        """Whether all values were the same up to rounding: then their spread says nothing of chance."""
        return self.bounded and self.high - self.low <= 1e-9 * max(abs(self.estimate), 1e-9)

    @property
    def sign(self) -> int:
        """+1 if the whole interval lies above zero, -1 if below; 0 if it holds zero, or if no spread gives it a width."""
        if self.flat:
            return 0
        return int(self.bounded and self.low > 0) - int(self.bounded and self.high < 0)


def mean_interval(values: Sequence[float]) -> Interval:
    """Mean and Student's t 95% interval over `values`, (n,) one for each seed; NaN values are left out and not counted."""
    x = np.asarray(values, dtype=float)
    x = x[np.isfinite(x)]
    n = len(x)
    if n == 0:
        return Interval(np.nan, np.nan, np.nan, 0)
    mean = float(x.mean())
    if n == 1:
        return Interval(mean, np.nan, np.nan, 1)
    half = float(stats.t.ppf((1 + LEVEL) / 2, n - 1) * stats.sem(x))
    return Interval(mean, mean - half, mean + half, n)


def paired_difference(first: Sequence[float], second: Sequence[float]) -> Interval:
    """Mean of second - first over pairs, with its paired-t 95% interval; a pair with a NaN is left out and not counted.

    Raises:
        ValueError: the two differ in length.
    """
    a, b = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if a.shape != b.shape:
        raise ValueError(f"pairs need two values each: {a.shape} and {b.shape}")
    return mean_interval(b - a)
