"""The tables of evidence: tests, how soon, steadiness, generalisation, and the claims."""

from collections.abc import Mapping, Sequence

import numpy as np

from bnlib.analysis import thresholds
from bnlib.analysis.claims import Claim
from bnlib.analysis.results import CELL, MARGIN, RANK, RANK_CHANGE, REACH, Contrast, Results
from bnlib.analysis.thresholds import Reached
from bnlib.experiment.config import rate_name
from bnlib.experiment.outcomes import OUTCOMES, SETTLED
from bnlib.experiment.study import Study
from bnlib.page.tables.table import Table, both, columns, compared, heads, interval, long_columns, number, p_value
from bnlib.page.words import versus

FLUCTUATIONS = {  # what each is called where there is little room
    "fluctuation": "test accuracy",
    "fluctuation_loss": "training loss",
    "fluctuation_log_loss": "factor of training loss",
}


def tests(results: Results, outcome_name: str) -> Table:
    """One outcome at every rate: the difference and its test over pairs that learned, then all pairs by rank."""
    study, outcome, rows = results.study, OUTCOMES[outcome_name], []
    for rate in results.rates:
        for arm, head in heads(study, rate_name(rate)).items():
            c, rank = (results.one(outcome_name, arm, rate, kind) for kind in (CELL, RANK))
            told = [f"{c.n} of {c.pairs}", interval(outcome, c.difference, signed=True), p_value(c.p), p_value(c.p_adjusted)]
            told += [better(rank), p_value(rank.p_adjusted)]
            rows.append([head, *told, *([_equal(c)] if outcome.is_accuracy else [])])
    whose = "the arm" if len(results.others) > 1 else results.others[0].label.removeprefix("with ")
    named = ["learning rate", "pairs", "difference", "p", "p, Holm", "better", "p by rank, Holm"]
    caption = (
        f"{outcome.title(study.epochs).capitalize()}, {versus(study)}, {outcome.difference_unit}: the mean over the pairs in "
        "which neither run failed, with its 95% interval; p of no difference, alone and adjusted over the "
        f"{adjusted(study)}. Then of all pairs: in how many {whose} is better, a failed run being worse than any that "
        "learned, and p of the exact signed-rank test, adjusted likewise."
    )
    if outcome.is_accuracy:
        named.append(f"equal within ±{100 * MARGIN:g}")
        caption += (
            f" Last, whether the arms are equal within ±{100 * MARGIN:g} points: p of two one-sided t tests, not adjusted, and "
            "the 90% interval that goes with it."
        )
    return Table(f"tests-{outcome_name.replace('_', '-')}", caption, named, rows)


def adjusted(study: Study) -> str:
    """Over what p values are adjusted."""
    return "rates" if len(study.arms) == 2 else "arms and rates"


def better(c: Contrast) -> str:
    """`7 of 8`, and how many pairs are tied."""
    return f"{c.better} of {c.n}" + f"\n{c.tied} tied" * bool(c.tied)


def _equal(c: Contrast) -> str:
    """p of equality and the 90% interval, in percentage points."""
    if np.isnan(c.equal_p):
        return "–"
    low, high = (OUTCOMES[c.outcome].number(end, signed=True) for end in (c.equal_low, c.equal_high))
    return f"{p_value(c.equal_p)}\n[{low}, {high}]"


def reached(results: Results) -> Table:
    """How many runs reach each threshold, when half of them have, and in how many pairs an arm is sooner."""
    study, rows = results.study, []
    cells = [(name, rate) for name in study.outcomes if OUTCOMES[name].is_time for rate in results.rates]
    for name, rate in cells:
        values = results.ranked(name, rate)
        first = {arm: thresholds.first_reached(values[arm].dropna(), study.epochs) for arm in values}
        count = {arm: f"{runs.reached.sum()} of {len(runs.reached)}" for arm, runs in first.items()}
        median = {arm: _median(runs, study.epochs) for arm, runs in first.items()}
        for arm, head in heads(study, f"{float(name.removeprefix('epochs_until_')):.1%} at {rate_name(rate)}").items():
            c = results.one(name, arm, rate, RANK)
            rows.append([head, *both(study, arm, count), *both(study, arm, median), better(c), p_value(c.p_adjusted)])
    caption = (
        "Test accuracy and learning rate: how many of all runs reached it, failed ones never; the epoch by which half of them "
        "had; in how many pairs an arm was sooner, never being the last, and p of the exact signed-rank test, adjusted over "
        f"the {adjusted(study)} (Holm). Epochs are whole numbers, so that pairs can agree."
    )
    reference, arm = columns(study)
    named = ["accuracy, rate", f"reached {reference}", arm, f"median epoch {reference}", arm, "sooner", "p, Holm"]
    return Table("reached", caption, named, rows)


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
    caption = (
        f"How much a run changes from one epoch to the next, from epoch {SETTLED} on, by three measures: the mean size of the "
        "change of test accuracy, in percentage points; that of training loss, in nats; and the factor by which training loss "
        "changes, up or down, whose differences are ratios. Median and range of the runs that learned; the mean difference "
        "with its 95% interval and p, adjusted over the "
        f"{adjusted(study)} (Holm), over the pairs in which neither run failed."
    )
    return Table("steadiness", caption, ["measure, rate", *long_columns(study), "p, Holm", "pairs"], rows)


def gaps(results: Results) -> Table:
    """Training accuracy minus test accuracy of each arm at each rate."""
    rows = [
        [head, *compared(results, "gap", rate, arm), str(results.one("gap", arm, rate).n)]
        for rate in results.rates
        for arm, head in heads(results.study, rate_name(rate)).items()
    ]
    caption = (
        "Training accuracy minus test accuracy of the last epoch, percentage points: median and range of the runs that "
        "learned, and the mean difference with its 95% interval over the pairs in which neither run failed."
    )
    return Table("gaps", caption, ["learning rate", *long_columns(results.study), "pairs"], rows)


def claims(judged: Sequence[Claim]) -> Table:
    """The verdict on each claim, as a whole and at each rate."""
    rates = sorted({rate for claim in judged for rate in claim.rates})
    rows = [[f"{claim.number}. {claim.name}", *(claim.at(rate) or "–" for rate in rates), claim.verdict] for claim in judged]
    caption = (
        "The original's claims, and what these runs say of them: at each rate by itself, of a change of the rate that is held "
        "against the highest, and as a whole."
    )
    return Table("claims", caption, ["claim", *(f"at {rate_name(rate)}" for rate in rates), "verdict"], rows)


def sides(judged: Mapping[str, Sequence[Claim]]) -> Table:
    """Verdicts side by side, a column each: of other seeds, or of other runs.

    Args:
        judged: the same claims under each heading.
    """
    rows = [
        [f"{its[0].number}. {its[0].name}", *(claim.verdict for claim in its)] for its in zip(*judged.values(), strict=True)
    ]
    return Table("sides", "The same claims, judged by other runs.", ["claim", *judged], rows)


def parts(claim: Claim) -> Table:
    """What a claim needs, part by part."""
    several = len(claim.ways) > 1
    caption = (
        f"Claim {claim.number}, part by part, with minus without batch norm: the mean over the pairs in which neither run "
        "failed, with its 95% interval; by rank, over all pairs, in how many batch norm is better; of a largest rate how many "
        "times as high it is. p of no difference as it is, by which a part supports the claim, and adjusted over all parts, by "
        "which its opposite contradicts it."
    )
    named = ["what", *["measured by"] * several, "should be", "found", "p", "p, Holm", "pairs", "shown"]
    rows = []
    for part in claim.parts:
        c, shown = part.contrast, {1: "yes", 0: "no", -1: "the opposite"}[part.met]
        wanted = f"{'above' if part.wanted > 0 else 'below'} {1 if c.kind == REACH else 0}"
        pairs = "–" if part.is_fact else f"{c.n} of {c.pairs}"
        rows.append([part.text, *[part.way] * several, wanted, _found(c), p_value(c.p), p_value(part.p_claim), pairs, shown])
    return Table(f"claim-{claim.number}", caption, named, rows)


def _found(c: Contrast) -> str:
    if c.kind == REACH:
        return f"{number(c.difference, 1)}\ntimes"
    if c.kind in (RANK, RANK_CHANGE):
        return f"better in {better(c)}"
    return f"{interval(OUTCOMES[c.outcome], c.difference, signed=True)}\n{OUTCOMES[c.outcome].difference_unit}"
