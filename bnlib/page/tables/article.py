"""The tables of the article: the claims at a glance, and what each rate comes to."""

from collections.abc import Sequence

from bnlib.analysis.claims import Claim
from bnlib.analysis.results import FAILED, Results
from bnlib.experiment.config import rate_name
from bnlib.experiment.outcomes import OUTCOMES
from bnlib.page.tables.table import Table, heads, interval
from bnlib.page.words import short

# What a verdict looks like in a cell, and what it is called in few words.
MARKS = {
    **{"supported": "✓", "contradicted": "✗", "not shown by these data": "?", "depends on the measure": "~"},
    **{"supported by no measure": "✗?", "not tested": "–"},
}
SHORT = {verdict: verdict.removesuffix(" by these data") for verdict in MARKS}
OUTCOME, SPEED = "test_accuracy_last", "train_loss_first"


def glance(fresh: Sequence[Claim], chain: Sequence[Claim], rates: Sequence[float]) -> Table:
    """Each claim: whether it holds at each rate, in the original's own chain, and as a whole."""
    chained = {claim.number: claim for claim in chain}
    rows = []
    for claim in fresh:
        cells = [MARKS[claim.at(rate)] if claim.at(rate) else "" for rate in rates]
        again = chained.get(claim.number)
        rows.append([f"{claim.number}. {claim.name}", *cells, MARKS[again.verdict] if again else "", SHORT[claim.verdict]])
    heads = ["the original's claim", *map(rate_name, rates), "in its own chain", "verdict"]
    return Table("glance", "", heads, rows)


def summary(results: Results) -> Table:
    """What each rate comes to: failed runs, the first epoch's loss, and test accuracy of the pairs that learned."""
    study, rows = results.study, []
    reference = study.arms[0].name
    for rate in results.rates:
        for arm, head in heads(study, rate_name(rate)).items():
            failed, loss, accuracy = (
                results.one(name, arm, rate, kind) for name, kind in (("failed", FAILED), (SPEED, "cell"), (OUTCOME, "cell"))
            )
            row = [head, f"{failed.failed_reference} · {failed.failed} of {failed.pairs}"]
            for c in (loss, accuracy):
                number = OUTCOMES[c.outcome].number
                row.append(f"{number(c.reference_median)} · {number(c.median)}")
            rows.append([*row, interval(OUTCOMES[OUTCOME], accuracy.difference, signed=True)])
    pair = len(study.arms) == 2
    both = (
        " · ".join(short(study)[name] for name in (reference, study.arms[1].name)) if pair else f"{study.arms[0].label} · arm"
    )
    named = ["learning rate", f"failed, {both}", "loss of epoch 1", "test accuracy, %", "difference, points"]
    return Table("rates", "", named, rows)
