"""The original's claims, each with what would have to be true, the statistics of it, and the verdict that follows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd

from bnlib import claim_notes, convergence, outcomes
from bnlib.config import CHAIN, rate_name
from bnlib.outcomes import Outcome
from bnlib.statistics import ALPHA, Interval, difference_p, holm, mean_difference

Verdict = Literal["supported", "contradicted", "not shown by these data", "not tested"]
RATES = tuple(sorted(CHAIN))  # of which the original says "every"
SOON = 0.985  # the test accuracy by which it is judged how soon a network learns


@dataclass(frozen=True)
class Part:
    """One thing that has to be true for a claim: a mean over pairs of runs that should be above or below zero.

    `values`, one for each pair, are with minus without batch norm in `outcome`, or a difference of two such; NaN where a run
    has none.
    """

    text: str
    outcome: Outcome
    values: np.ndarray
    wanted: Literal[1, -1]
    family: str  # parts with the same are one thing at several rates
    p_family: float = np.nan  # of no difference, adjusted over the family
    p_claim: float = np.nan  # adjusted over all parts of the claim

    @property
    def interval(self) -> Interval:
        """The mean over pairs with its 95% interval."""
        return mean_difference(self.values)

    @property
    def p(self) -> float:
        """The p that it is judged by.

        Of a claim all parts have to be shown, but the opposite of any is enough to contradict it: that is adjusted over all.
        """
        return self.p_claim if self.wanted * self.interval.estimate < 0 else self.p_family

    @property
    def met(self) -> int:
        """+1 where the records show it, -1 where they show the opposite, else 0."""
        return self.wanted * self.interval.sign if self.p < ALPHA else 0

    @property
    def unequal(self) -> int:
        """The pairs of which a test can make something: those with a difference."""
        return int((np.isfinite(self.values) & (self.values != 0)).sum())

    @property
    def least_p(self) -> float:
        """The smallest p, not adjusted, that the exact test could have given with so many of them."""
        return 2.0 ** (1 - self.unequal)


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
        """What the parts come to; a claim without any is not tested."""
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
    """The claim with its number, and the p values of its parts adjusted."""
    p = pd.Series([difference_p(part.values) for part in claim.parts], dtype=float)
    families = p.groupby([part.family for part in claim.parts]).transform(holm) if len(p) else p
    adjusted = zip(claim.parts, families, holm(p), strict=True)
    parts = tuple(replace(part, p_family=float(p), p_claim=float(whole)) for part, p, whole in adjusted)
    return replace(claim, parts=parts, number=number)


def _have(epochs: pd.DataFrame, rates: Sequence[float]) -> bool:
    return set(rates) <= set(epochs.learning_rate)


def _part(epochs: pd.DataFrame, outcome: Outcome, rate: float, wanted: Literal[1, -1]) -> Part:
    c = outcomes.compare(epochs, outcome, rate)
    title = outcome.title(c.epochs)
    return Part(f"{title} at {rate_name(rate)}", outcome, c.pairs, wanted, title)


def _everywhere(epochs: pd.DataFrame, wanted: Literal[1, -1], *chosen: Outcome) -> list[Part]:
    """The outcomes at each of the original's rates."""
    if not _have(epochs, RATES):
        return []
    return [_part(epochs, outcome, rate, wanted) for outcome in chosen for rate in RATES]


def _change(epochs: pd.DataFrame, outcome: Outcome, before: float, after: float, wanted: Literal[1, -1]) -> Part:
    """The arms' difference at the rate `after` minus that at the rate `before`, seed by seed."""
    first, second = (outcomes.compare(epochs, outcome, rate).pairs for rate in (before, after))  # the seeds are the same
    family = f"the arms' difference in {outcome.name}"
    text = f"{family}, at {rate_name(after)} minus at {rate_name(before)}"
    return Part(text, outcome, second - first, wanted, family)


def _faster(epochs: pd.DataFrame) -> Claim:
    parts = _everywhere(epochs, -1, outcomes.FIRST_LOSS, convergence.until(SOON))
    return Claim(
        "Faster at every rate",
        "At each of the three rates the network with batch norm converges faster.",
        f"At each rate a lower training loss in the first epoch, and fewer epochs until test accuracy first reaches "
        f"{SOON:.1%}; a run that never does counts with one epoch more than it was given.",
        parts,
        f"{claim_notes.signs(epochs, outcomes.FIRST_ACCURACY)} The original prints test accuracies after the last epoch alone."
        if parts
        else "",
    )


def _early(epochs: pd.DataFrame) -> Claim:
    rate, parts = 0.001, []
    if _have(epochs, [rate]) and epochs.epoch.max() > 1:
        parts = [_part(epochs, outcome, rate, -1) for outcome in (outcomes.FIRST_LOSS, outcomes.SECOND_LOSS)]
        parts += [_part(epochs, outcome, rate, 1) for outcome in (outcomes.FIRST_ACCURACY, outcomes.SECOND_ACCURACY)]
    return Claim(
        "At 0.001, in the first epochs",
        "At 0.001 the gain in loss and accuracy shows within the first few epochs.",
        "At 0.001 a lower training loss and a higher training accuracy, in the first epoch and in the second.",
        parts,
    )


def _stable(epochs: pd.DataFrame) -> Claim:
    rates = (0.005, 0.01)
    here = _have(epochs, rates)
    return Claim(
        "Stable at 0.005 and 0.01",
        "At 0.005 and 0.01 the network trains without instability with batch norm, and fluctuates without it.",
        f"At both rates test accuracy changes less from epoch to epoch with batch norm, from epoch {outcomes.SETTLED} on.",
        [_part(epochs, outcomes.FLUCTUATION, rate, -1) for rate in rates] if here else (),
        f"{claim_notes.lost(epochs, rates)} {claim_notes.printed_fluctuation(rates)}" if here else "",
    )


def _better(epochs: pd.DataFrame) -> Claim:
    parts = _everywhere(epochs, 1, outcomes.TEST_ACCURACY)
    note = f"In the original, with one pair of networks, they differ {claim_notes.printed_gaps(RATES)}."
    return Claim(
        "Higher test accuracy at every rate",
        "At each of the three rates test accuracy is higher with batch norm in the end.",
        "At each rate a higher test accuracy after the last epoch.",
        parts,
        f"{note} It concludes on the loss on test data too, and prints none. {claim_notes.signs(epochs, outcomes.TEST_LOSS)}"
        if parts
        else note,
    )


def _narrower(epochs: pd.DataFrame) -> Claim:
    parts = []
    if _have(epochs, RATES):
        parts = [_change(epochs, outcomes.TEST_ACCURACY, rate, RATES[-1], -1) for rate in RATES[:-1]]
    return Claim(
        "A smaller difference at 0.01",
        "At 0.01 the arms' test accuracies differ less than at the lower rates.",
        "The difference in test accuracy at 0.01 is below that at 0.001 and below that at 0.005.",
        parts,
        f"The original's own table says the opposite: there the arms differ {claim_notes.printed_gaps(RATES)}.",
    )


def _lower(epochs: pd.DataFrame) -> Claim:
    return Claim(
        "Lower final training loss at every rate",
        "At each of the three rates the training loss of the last epoch is lower with batch norm.",
        "At each rate a lower training loss in the last epoch.",
        _everywhere(epochs, -1, outcomes.LAST_LOSS),
    )


def _regularising(epochs: pd.DataFrame) -> Claim:
    return Claim(
        "A regularising effect",
        "Batch norm may regularise: the network generalises better for it.",
        "At each rate training accuracy exceeds test accuracy by less with batch norm, in the last epoch.",
        _everywhere(epochs, -1, outcomes.GAP),
        "Training accuracy is counted while the weights still change, with batch norm by the statistics of each batch; test "
        "accuracy after that, by running averages. So part of what is compared is how the two are measured. A pair with a lost "
        "run, which fits nothing and so has no gap, is left out.",
    )


def _covariate_shift(epochs: pd.DataFrame) -> Claim:
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
    _faster,
    _early,
    _stable,
    _better,
    _narrower,
    _lower,
    _regularising,
    _covariate_shift,
)
