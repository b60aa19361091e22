"""The original's claims, each with what would have to be true, the statistics of it, and the verdict that follows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd

from bnlib import convergence, outcomes, replay
from bnlib.config import CHAIN, rate_name
from bnlib.outcomes import Outcome
from bnlib.statistics import Interval, difference_p, holm, mean_difference
from bnlib.words import ARMS, listing, plural

Verdict = Literal["supported", "contradicted", "not shown by these data", "not tested"]
LEVEL = 0.05  # of the tests
RATES = tuple(sorted(CHAIN))  # of which the original says "every"
SOON = convergence.until(0.985)


@dataclass(frozen=True)
class Part:
    """One thing that has to be true for a claim: a mean over pairs of runs that should be above or below zero.

    `values`, one for each pair, are with minus without batch norm in `outcome`, or a difference of two such.
    """

    text: str
    outcome: Outcome
    values: np.ndarray
    wanted: Literal[1, -1]
    seeds: int
    p: float = np.nan  # of no difference, adjusted over rates

    @property
    def interval(self) -> Interval:
        return mean_difference(self.values)

    @property
    def met(self) -> int:
        """+1 where the records show it, -1 where they show the opposite, else 0."""
        return self.wanted * self.interval.sign if self.p < LEVEL else 0


@dataclass(frozen=True)
class Claim:
    """A claim of the original in our words, and how it is judged."""

    name: str
    says: str
    needs: str
    parts: Sequence[Part] = ()
    note: str = ""
    number: int = 0

    @property
    def verdict(self) -> Verdict:
        if not self.parts:
            return "not tested"
        met = [part.met for part in self.parts]
        if -1 in met:
            return "contradicted"
        return "supported" if all(sign == 1 for sign in met) else "not shown by these data"


def judge(epochs: pd.DataFrame) -> list[Claim]:
    """The claims, judged by the records of the controlled protocol; a claim on a rate that they lack is not tested."""
    made = [claim(epochs) for claim in CLAIMS]
    return [_numbered(claim, number) for number, claim in enumerate(made, start=1)]


def _numbered(claim: Claim, number: int) -> Claim:
    """The claim with its number, and the p values of its parts adjusted over the rates of each outcome.

    A claim is supported only if every part is met, for which no further adjustment is needed.
    """
    p = pd.Series([difference_p(part.values) for part in claim.parts], dtype=float)
    adjusted = p.groupby([part.outcome.name for part in claim.parts]).transform(holm) if len(p) else p
    parts = tuple(replace(part, p=float(p)) for part, p in zip(claim.parts, adjusted, strict=True))
    return replace(claim, parts=parts, number=number)


def _have(epochs: pd.DataFrame, rates: Sequence[float]) -> bool:
    return set(rates) <= set(epochs.learning_rate)


def _part(epochs: pd.DataFrame, outcome: Outcome, rate: float, wanted: Literal[1, -1]) -> Part:
    c = outcomes.compare(epochs, outcome, rate)
    return Part(f"{outcome.title(c.epochs)} at {rate_name(rate)}", outcome, c.pairs, wanted, c.seeds)


def _everywhere(epochs: pd.DataFrame, wanted: Literal[1, -1], *chosen: Outcome) -> list[Part]:
    """The outcomes at each of the original's rates."""
    if not _have(epochs, RATES):
        return []
    return [_part(epochs, outcome, rate, wanted) for outcome in chosen for rate in RATES]


def _change(epochs: pd.DataFrame, text: str, ends: Sequence[tuple[Outcome, float]], wanted: Literal[1, -1]) -> Part:
    """The arms' difference in the second of two outcomes and rates, minus that in the first, seed by seed."""
    tables = [outcomes.per_seed(epochs, outcome, rate) for outcome, rate in ends]
    before, after = (table["batch"] - table["none"] for table in tables)
    values = (after - before).dropna().to_numpy()
    return Part(text, ends[1][0], values, wanted, len(tables[0]))


def faster(epochs: pd.DataFrame) -> Claim:
    return Claim(
        "Faster at every rate",
        "At each of the three rates the network with batch norm converges faster.",
        f"At each rate a lower training loss in the first epoch, and fewer epochs until test accuracy first reaches "
        f"{0.985:.1%}; a run that never does counts with one epoch more than it was given.",
        _everywhere(epochs, -1, outcomes.FIRST_LOSS, SOON),
    )


def early(epochs: pd.DataFrame) -> Claim:
    rate, parts, last = 0.001, [], int(epochs.epoch.max())
    if _have(epochs, [rate]) and last > 1:
        parts = [_part(epochs, outcome, rate, -1) for outcome in (outcomes.FIRST_LOSS, outcomes.SECOND_LOSS)]
        ends = ((outcomes.FIRST_LOSS, rate), (outcomes.LAST_LOSS, rate))
        parts.append(_change(epochs, f"the arms' difference in training loss, of epoch {last} minus of epoch 1", ends, 1))
    return Claim(
        "At 0.001, in the first epochs",
        "At 0.001 the gain in loss and accuracy shows within the first few epochs.",
        "At 0.001 a lower training loss in the first epoch and in the second, and a difference between the arms that is "
        "smaller by the last epoch.",
        parts,
    )


def stable(epochs: pd.DataFrame) -> Claim:
    rates = (0.005, 0.01)
    if not _have(epochs, rates):
        return Claim("Stable at 0.005 and 0.01", *_STABLE)
    counts = []
    gone = pd.concat([outcomes.diverged(epochs), outcomes.unlearned(epochs)])
    for rate in rates:
        n = epochs[epochs.learning_rate == rate].seed.nunique()
        none, batch = ((gone[gone.learning_rate == rate].norm == norm).sum() for norm in ARMS)
        counts.append(f"at {rate_name(rate)} {none} of {plural(n, 'run')} without batch norm and {batch} of {n} with it")
    note = f"Lost, that is diverged or below {outcomes.LEARNED:.0%} in the end, were {listing(counts)}. A lost run has no "
    note += "fluctuation to measure: its pair is counted here and nowhere else."
    parts = [_part(epochs, outcomes.FLUCTUATION, rate, -1) for rate in rates]
    return Claim("Stable at 0.005 and 0.01", *_STABLE, parts, note)


_STABLE = (
    "At 0.005 and 0.01 the network trains without instability with batch norm, and fluctuates without it.",
    f"At both rates test accuracy changes less from epoch to epoch with batch norm, from epoch {outcomes.SETTLED} on.",
)


def better(epochs: pd.DataFrame) -> Claim:
    return Claim(
        "Higher test accuracy at every rate",
        "At each of the three rates test accuracy is higher with batch norm in the end.",
        "At each rate a higher test accuracy after the last epoch.",
        _everywhere(epochs, 1, outcomes.TEST_ACCURACY),
    )


def narrower(epochs: pd.DataFrame) -> Claim:
    parts, test = [], outcomes.TEST_ACCURACY
    if _have(epochs, RATES):
        for rate in RATES[:-1]:
            text = f"the arms' difference in test accuracy, at {rate_name(RATES[-1])} minus at {rate_name(rate)}"
            parts.append(_change(epochs, text, ((test, rate), (test, RATES[-1])), -1))
    table = replay.published_test()
    gaps = [f"{100 * (table.loc[rate, 'batch'] - table.loc[rate, 'none']):.2f} at {rate_name(rate)}" for rate in RATES]
    return Claim(
        "A smaller difference at 0.01",
        "At 0.01 the arms' test accuracies differ less than at the lower rates.",
        "The difference in test accuracy at 0.01 is below that at 0.001 and below that at 0.005.",
        parts,
        f"The original's own table says the opposite: there the arms differ by {listing(gaps)}, in percentage points.",
    )


def lower(epochs: pd.DataFrame) -> Claim:
    return Claim(
        "Lower final training loss at every rate",
        "At each of the three rates the training loss of the last epoch is lower with batch norm.",
        "At each rate a lower training loss in the last epoch.",
        _everywhere(epochs, -1, outcomes.LAST_LOSS),
    )


def regularising(epochs: pd.DataFrame) -> Claim:
    return Claim(
        "A regularising effect",
        "Batch norm may regularise: the network generalises better for it.",
        "At each rate training accuracy exceeds test accuracy by less with batch norm, in the last epoch.",
        _everywhere(epochs, -1, outcomes.GAP),
        "Training accuracy is counted while the weights still change. A pair with a lost run, which fits nothing and so has no "
        "gap, is left out.",
    )


def covariate_shift(epochs: pd.DataFrame) -> Claim:
    return Claim(
        "The cause: less internal covariate shift",
        "Batch norm helps because it reduces internal covariate shift: layers see inputs whose distribution moves less.",
        "The shift would have to be measured, and changed while all else is kept; no run here does.",
        note="[Ioffe & Szegedy (2015)](https://arxiv.org/abs/1502.03167) proposed the explanation. "
        "[Santurkar et al. (2018)](https://arxiv.org/abs/1805.11604) found the gain to remain when noise that shifts the "
        "distributions was put in after batch norm, and saw a smoother loss surface instead; "
        "[Bjorck et al. (2018)](https://arxiv.org/abs/1806.02375) trace the gain to the larger learning rates that batch norm "
        "allows.",
    )


CLAIMS: tuple[Callable[[pd.DataFrame], Claim], ...] = (
    faster,
    early,
    stable,
    better,
    narrower,
    lower,
    regularising,
    covariate_shift,
)
