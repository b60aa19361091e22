"""The tables of evidence: tests, how soon, steadiness, generalisation, and the claims."""

from collections.abc import Mapping, Sequence

import numpy as np

from bnlib.analysis import thresholds
from bnlib.analysis.claims import Claim
from bnlib.analysis.results import CELL, MARGIN, RANK, RANK_CHANGE, REACH, Contrast, Results
from bnlib.analysis.thresholds import Reached
from bnlib.experiment.config import rate_name
from bnlib.experiment.outcomes import OUTCOMES, UNTIL
from bnlib.page.tables.table import Table, both, columns, compared, heads, interval, long_columns, p_value, times
from bnlib.page.words import versus

FLUCTUATIONS = {  # what each is called where there is little room
    "fluctuation": "test accuracy",
    "fluctuation_loss": "training loss",
    "fluctuation_log_loss": "factor of training loss",
}

GAPS = {"gap": "accuracy", "test_loss_at_fit": "test loss at the same fit"}


def tests(results: Results, outcome_name: str) -> Table:
    """One outcome at every rate: the difference and its test over pairs that learned, then all pairs by rank."""
    study, outcome, rows = results.study, OUTCOMES[outcome_name], []
    for rate in results.rates:
        for arm, head in heads(study, rate_name(rate)).items():
            c, rank = (results.one(outcome_name, arm, rate, kind) for kind in (CELL, RANK))
            told = [f"{c.n} of {c.pairs}", interval(outcome, c.difference, signed=True), p_value(c.p), p_value(c.p_adjusted)]
            told += [better(rank), p_value(rank.p_adjusted)]
            rows.append([head, *told, *([_equal(c)] if outcome.is_accuracy else [])])
    named = ["learning rate", "pairs", "difference", "p", "p, Holm", "better", "p by rank, Holm"]
    if outcome.is_accuracy:
        named.append(f"equal within ±{100 * MARGIN:g}")
    title = f"{outcome.title(study.epochs).capitalize()}, {versus(study)}, {outcome.difference_unit}"
    return Table(f"tests-{outcome_name.replace('_', '-')}", title, named, rows)


def better(c: Contrast) -> str:
    """`7 of 8`, and how many pairs are tied."""
    return f"{c.better} of {c.n}" + f"\n{c.tied} tied" * bool(c.tied)


def _equal(c: Contrast) -> str:
    """p of equality and the 90% interval, in percentage points."""
    if np.isnan(c.equal_p):
        return "–"
    return f"{p_value(c.equal_p)}\n[{', '.join(OUTCOMES[c.outcome].ends(c.equal_low, c.equal_high))}]"


def reached(results: Results) -> Table:
    """How many runs reach each threshold, when half of them have, and in how many pairs an arm is sooner."""
    study, rows = results.study, []
    cells = [(name, rate) for name in study.outcomes if name.startswith(UNTIL) for rate in results.rates]
    for name, rate in cells:
        values = results.ranked(name, rate)
        first = {arm: thresholds.first_reached(values[arm].dropna(), study.epochs) for arm in values}
        count = {arm: f"{runs.reached.sum()} of {len(runs.reached)}" for arm, runs in first.items()}
        median = {arm: _median(runs, study.epochs) for arm, runs in first.items()}
        for arm, head in heads(study, f"{float(name.removeprefix(UNTIL)):.1%} at {rate_name(rate)}").items():
            c = results.one(name, arm, rate, RANK)
            rows.append([head, *both(study, arm, count), *both(study, arm, median), better(c), p_value(c.p_adjusted)])
    reference, arm = columns(study)
    named = ["accuracy, rate", f"reached {reference}", arm, f"median epoch {reference}", arm, "sooner", "p, Holm"]
    return Table("reached", "", named, rows)


def _median(runs: Reached, given: int) -> str:
    if not len(runs.epoch):
        return "–"
    return f"{runs.median:g}" if np.isfinite(runs.median) else f"> {given}"


def steadiness(results: Results) -> Table:
    """By three measures at each rate, how much a run changes from epoch to epoch."""
    study, rows = results.study, []
    for name, short in FLUCTUATIONS.items():
        for rate in results.rates:
            for arm, head in heads(study, f"{short} at {rate_name(rate)}").items():
                c = results.one(name, arm, rate)
                rows.append([head, *compared(results, name, rate, arm), p_value(c.p_adjusted), f"{c.n} of {c.pairs}"])
    return Table("steadiness", "", ["measure, rate", *long_columns(study), "p, Holm", "pairs"], rows)


def gaps(results: Results) -> Table:
    """By two measures at each rate, how well each arm does on new images; the second where it was recorded."""
    rows = [
        [head, *compared(results, name, rate, arm), p_value(c.p_adjusted), f"{c.n} of {c.pairs}"]
        for name, short in GAPS.items()
        for rate in results.rates
        for arm, head in heads(results.study, f"{short} at {rate_name(rate)}").items()
        if (c := results.one(name, arm, rate)).n
    ]
    return Table("gaps", "", ["measure, rate", *long_columns(results.study), "p, Holm", "pairs"], rows)


def claims(judged: Sequence[Claim]) -> Table:
    """The verdict on each claim, as a whole and at each rate."""
    rates = sorted({rate for claim in judged for rate in claim.rates})
    rows = [[f"{claim.number}. {claim.name}", *(claim.at(rate) or "–" for rate in rates), claim.verdict] for claim in judged]
    return Table("claims", "", ["claim", *(f"at {rate_name(rate)}" for rate in rates), "verdict"], rows)


def sides(judged: Sequence[Claim], verdicts: Mapping[str, Mapping[str, str]]) -> Table:
    """Verdicts side by side, a column each: of other seeds, or of other runs.

    Args:
        judged: the claims.
        verdicts: under each heading, theirs by number.
    """
    rows = [[f"{c.number}. {c.name}", *(its[c.number] for its in verdicts.values())] for c in judged]
    return Table("sides", "The same claims by all seeds, and by other runs", ["claim", *verdicts], rows)


def parts(claim: Claim) -> Table:
    """What a claim needs, part by part."""
    several = len(claim.ways) > 1
    named = ["what", *["measured by"] * several, "should be", "found", "p", "p, Holm", "pairs", "shown"]
    rows = []
    for part in claim.parts:
        c, shown = part.contrast, {1: "yes", 0: "no", -1: "the opposite"}[part.met]
        is_ratio = c.kind == REACH or OUTCOMES[c.outcome].is_ratio
        wanted = f"{'above' if part.wanted > 0 else 'below'} {1 if is_ratio else 0}"
        pairs = "–" if part.is_fact else f"{c.n} of {c.pairs}"
        rows.append([part.text, *[part.way] * several, wanted, _found(c), p_value(c.p), p_value(part.p_claim), pairs, shown])
    return Table(f"claim-{claim.number}", f"Claim {claim.number}, part by part", named, rows)


def _found(c: Contrast) -> str:
    if c.kind == REACH:
        return f"{times(c)}\ntimes"
    if c.kind in (RANK, RANK_CHANGE):
        return f"better in {better(c)}"
    return f"{interval(OUTCOMES[c.outcome], c.difference, signed=True)}\n{OUTCOMES[c.outcome].difference_unit}"
