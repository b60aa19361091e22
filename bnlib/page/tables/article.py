"""The tables of the article: the claims at a glance, what each rate comes to, what was asked."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bnlib.analysis.claims import Claim
from bnlib.analysis.results import FAILED, Results
from bnlib.experiment.config import rate_name
from bnlib.experiment.outcomes import OUTCOMES
from bnlib.experiment.study import Study
from bnlib.page.tables.table import Table, heads, interval
from bnlib.page.words import listing, plural, short

# What a verdict looks like in a cell, and what it is called in few words.
MARKS = {
    **{"supported": "✓", "contradicted": "✗", "not shown by these data": "?", "depends on the measure": "~"},
    **{"supported by no measure": "✗?", "not tested": "–"},
}
SHORT = {verdict: verdict.removesuffix(" by these data") for verdict in MARKS}
RATES = ("learning_rate", "later_rates")  # that a chain holds
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


def asked(studies: Iterable[Study], shared: Mapping[str, Any]) -> Table:
    """What was asked, a row for each study; what it holds that is not `shared` by all stands with its arms."""
    rows = []
    for study in studies:
        own = [f"{field.replace('_', ' ')} {value}" for field, value in study.held.items() if field not in {*shared, *RATES}]
        rates = study.rates or sorted({cell["learning_rate"] for cell in study.cells})
        runs = f"{len(study.configs):,} of {plural(study.configs[0].all_epochs, 'epoch')}"
        rows.append(
            [
                study.title,
                "; ".join([listing([arm.label for arm in study.arms]), *own]),
                ", ".join(map(rate_name, rates)),
                str(study.seeds),
                runs,
            ]
        )
    return Table("studies", "", ["study", "arms", "learning rates", "seeds", "runs"], rows)
