"""The tables of evidence: tests, convergence, steadiness, generalisation, each arm's best rate, and the claims."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from bnlib import convergence, lost_runs, outcomes
from bnlib.claims import Claim, Part
from bnlib.config import rate_name
from bnlib.outcomes import Outcome
from bnlib.statistics import ENOUGH, Interval, equivalence_p, holm, mean_difference, mean_interval
from bnlib.style import ARMS
from bnlib.tables import Table, interval
from bnlib.words import listing

MARGIN = 0.001  # of test accuracy: arms this close count as equal


def p_value(p: float) -> str:
    """`0.023`, `< 0.001`, or a dash."""
    return "–" if np.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"


def number(value: Interval, digits: int = 2, sign: str = "") -> str:
    """An estimate and, on a line of its own, its interval, without a unit; `sign="+"` puts a sign before each."""
    if not np.isfinite(value.estimate):
        return "–"
    form = f"{sign}.{digits}f"
    text = f"{value.estimate:{form}}" + (f"\n[{value.low:{form}}, {value.high:{form}}]" if value.bounded else "")
    return text.replace("-", "−")


def tests(epochs: pd.DataFrame, outcome: Outcome) -> Table:
    """One outcome at every rate: the test, its adjustment over the rates, and what the difference amounts to."""
    compared = [outcomes.compare(epochs, outcome, rate) for rate in outcomes.rates(epochs)]
    adjusted, equal = holm([c.p for c in compared]), holm([equivalence_p(c.pairs, MARGIN) for c in compared])
    rows = []
    for c, p, p_equal in zip(compared, adjusted, equal, strict=True):
        difference = interval(outcome, c.difference, signed=True)
        if c.t.bounded:
            difference += f"\nt {interval(outcome, c.t, signed=True).splitlines()[1]}"
        sizes = number(c.improvement), number(c.effect, 1)
        rows.append([rate_name(c.learning_rate), difference, p_value(c.p), p_value(p), *sizes])
        rows[-1] += [p_value(p_equal)] if outcome.is_share else []
    columns = ["learning rate", "difference", "p", "p, Holm", "share better", "size"]
    caption = (
        f"{outcome.title(compared[0].epochs).capitalize()}, with minus without batch norm, {outcome.difference_unit}: the mean "
        "over pairs with its 95% interval and, below, that of the paired t; p of no difference, alone and adjusted over the "
        "rates; the share of pairs in which batch norm is better, with its Wilson interval; the mean in standard deviations of "
        "the differences, with the interval of noncentral t."
    )
    if outcome.is_share:
        columns.append("p, equal, Holm")
        caption += f" The last p, adjusted too, is small where the arms are shown to be equal within ±{100 * MARGIN:g} points."
    if len(gone := lost_runs.every(epochs)):
        rates = listing([rate_name(rate) for rate in sorted(gone.learning_rate.unique())])
        caption += (
            f" At {rates} a run was lost: t, size and equality suppose normal differences, which these are not, and the mean "
            "is of two kinds of pairs; read there in how many pairs batch norm is better."
        )
    return Table(f"tests-{outcome.column.replace('_', '-')}-{outcome.epoch}", caption, columns, rows)


def reached(epochs: pd.DataFrame, seconds: dict[str, float] | None) -> Table:
    """How many runs reach each threshold, when half of them have, and how much sooner one arm gets there."""
    rows, given = [], int(epochs.epoch.max())
    for threshold in convergence.THRESHOLDS:
        first = convergence.first_reached(epochs, threshold)
        for rate in outcomes.rates(epochs):
            arms = {norm: first[(first.learning_rate == rate) & (first.norm == norm)] for norm in ARMS}
            c = outcomes.compare(epochs, convergence.until(threshold), rate)
            row = [f"{threshold:.1%} at {rate_name(rate)}", *(f"{t.reached.sum()} of {len(t)}" for t in arms.values())]
            row += [f"{m:g}" if np.isfinite(m := convergence.median_epochs(t)) else f"> {given}" for t in arms.values()]
            row.append(interval(c.outcome, c.difference, signed=True))
            if seconds:
                saved = c.per_seed["batch"] * seconds["batch"] - c.per_seed["none"] * seconds["none"]
                row.append(number(mean_difference(saved), 0, "+"))
            rows.append(row)
    caption = (
        "Test accuracy and learning rate: how many runs ever reached it, the epoch by which half of them had, and the mean "
        "paired difference, with minus without batch norm, with its 95% interval; a run that never did counts with "
        f"{given + 1} epochs, the least that it can have needed. Epochs are whole numbers, so that pairs can agree exactly. "
        "Seconds are epochs times what an epoch of one run took in the kept benchmark, as if that were known exactly."
    )
    columns = ["accuracy, rate", "reached without", "with", "median epoch without", "with", "difference, epochs"]
    return Table("reached", caption, [*columns, *(["difference, s"] if seconds else [])], rows)


def steadiness(epochs: pd.DataFrame) -> Table:
    """At each rate: spread between seeds, fluctuation between epochs, and the runs that were lost."""
    rows, lost = [], lost_runs.shares(epochs)
    for rate in outcomes.rates(epochs):
        last = outcomes.per_seed(epochs, outcomes.TEST_ACCURACY, rate)
        c = outcomes.compare(epochs, outcomes.FLUCTUATION, rate)
        row = [rate_name(rate), *(outcomes.TEST_ACCURACY.number(last[norm].std()) for norm in ARMS)]
        row += [
            interval(c.outcome, c.without),
            interval(c.outcome, c.with_norm),
            interval(c.outcome, c.difference, signed=True),
        ]
        rows.append([*row, *(lost_share(lost[norm, rate]) for norm in ARMS)])
    caption = (
        "Standard deviation of the last test accuracy between seeds; mean size of the change of test accuracy from one epoch "
        f"to the next from epoch {outcomes.SETTLED} on, with its 95% interval, and its paired difference with its "
        f"own; share of runs that diverged or ended below {lost_runs.LEARNED:.0%}, with its Wilson interval. All but that "
        "share in percentage points. A lost run has no fluctuation, and its pair no difference."
    )
    columns = ["rate", "spread without", "with", "fluctuation without", "with", "difference", "lost without", "with"]
    return Table("steadiness", caption, columns, rows)


def lost_share(value: Interval) -> str:
    """`1 of 3` and its interval."""
    return f"{lost_runs.out_of(value)}\n[{value.low:.0%}, {value.high:.0%}]"


def gaps(epochs: pd.DataFrame) -> Table:
    """Training accuracy minus test accuracy of each arm at each rate."""
    rows = []
    for rate in outcomes.rates(epochs):
        c = outcomes.compare(epochs, outcomes.GAP, rate)
        told = [interval(c.outcome, value) for value in (c.without, c.with_norm)]
        rows.append([rate_name(rate), *told, interval(c.outcome, c.difference, signed=True), str(c.difference.n)])
    caption = (
        "Training accuracy minus test accuracy of the last epoch, percentage points: mean over seeds with its 95% interval, "
        "and the paired difference with its own. A lost run has no gap, and its pair no difference."
    )
    columns = ["learning rate", *(arm.label for arm in ARMS.values()), "difference, with − without", "pairs"]
    return Table("gaps", caption, columns, rows)


def best_rates(epochs: pd.DataFrame) -> Table:
    """Each arm at the rate at which its final training loss is lowest."""
    best, rows = outcomes.best_rates(epochs), []
    c = outcomes.compare_at(epochs, outcomes.TEST_ACCURACY, best)
    for norm, accuracy in (("none", c.without), ("batch", c.with_norm)):
        loss = mean_interval(outcomes.per_seed(epochs, outcomes.LAST_LOSS, best[norm])[norm])
        told = interval(outcomes.LAST_LOSS, loss), interval(c.outcome, accuracy)
        rows.append([ARMS[norm].label, rate_name(best[norm]), *told])
    rows.append(["difference, with − without", "", "", interval(c.outcome, c.difference, signed=True)])
    caption = (
        "Each arm at its own best rate, chosen by the training loss of the last epoch and never by test accuracy: mean over "
        "seeds with its 95% interval; the paired difference with its own."
    )
    return Table("best", caption, ["arm", "its best rate", "training loss, nats", "test accuracy, %"], rows)


def claims(judged: Sequence[Claim]) -> Table:
    """The verdicts."""
    rows = [[f"{claim.number}. {claim.name}", claim.verdict, _met(claim)] for claim in judged]
    caption = "The original's claims, and what these runs say of them."
    return Table("claims", caption, ["claim", "verdict", "shown, of what has to be true"], rows)


def _met(claim: Claim) -> str:
    return f"{sum(part.met == 1 for part in claim.parts)} of {len(claim.parts)}" if claim.parts else "–"


def parts(claim: Claim) -> Table:
    """What a claim needs, part by part."""
    shown = {1: "yes", 0: "no", -1: "the opposite"}
    rows = [
        [
            part.text,
            f"{'above' if part.wanted > 0 else 'below'} 0",
            _part(part),
            p_value(part.p),
            f"{part.interval.n} of {len(part.values)}",
            shown[part.met],
        ]
        for part in claim.parts
    ]
    caption = (
        f"Claim {claim.number}, part by part: the mean over pairs, with minus without batch norm, its 95% interval, and "
        "p of no difference, adjusted over the rates of one outcome, or where the mean points the other way over all parts; "
        f"both of the exact test, or with fewer than {ENOUGH} seeds of the paired t."
    )
    return Table(f"claim-{claim.number}", caption, ["what", "should be", "mean", "p", "pairs", "shown"], rows)


def _part(part: Part) -> str:
    return f"{interval(part.outcome, part.interval, signed=True)}\n{part.outcome.difference_unit}"
