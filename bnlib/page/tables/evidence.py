"""The tables of evidence: tests, how soon, steadiness, generalisation, and the claims."""

from collections.abc import Mapping, Sequence

import numpy as np

from bnlib.analysis import thresholds
from bnlib.analysis.claims import Claim, Part
from bnlib.analysis.results import MARGIN, Contrast, Results
from bnlib.analysis.statistics import Interval, mean_difference
from bnlib.analysis.thresholds import Reached
from bnlib.experiment.config import rate_name
from bnlib.experiment.outcomes import OUTCOMES, SETTLED
from bnlib.page.tables.table import (
    Table,
    both,
    columns,
    compared,
    heads,
    interval,
    long_columns,
    number,
    p_value,
    share,
)
from bnlib.page.words import CONSTANT, listing, versus


def tests(results: Results, outcome_name: str) -> Table:
    """One outcome at every rate: the test, its adjustment over the family, and what the difference amounts to."""
    study, outcome, rows = results.study, OUTCOMES[outcome_name], []
    for rate in results.rates:
        for arm, head in heads(study, rate_name(rate)).items():
            c = results.one(outcome_name, arm, rate)
            effect = Interval(c.effect, c.effect_low, c.effect_high, c.n)
            told = [_difference(c), p_value(c.p), p_value(c.p_adjusted), number(c.improvement), number(effect, 1)]
            rows.append([head, *told, *([p_value(c.equal_p_adjusted)] if outcome.is_accuracy else [])])
    several = len(results.others) > 1
    better = "the arm" if several else results.others[0].label.removeprefix("with ")
    named = ["learning rate", "difference", "p", "p, Holm", "share better", "size"]
    caption = (
        f"{outcome.title(study.epochs).capitalize()}, {versus(study)}, {outcome.difference_unit}: the mean "
        "over pairs with its 95% interval and, below, that of the paired t; p of no difference, alone and adjusted over the "
        f"{'arms and ' * several}rates; the share of pairs in which {better} is better, with its Wilson interval; the mean in "
        "standard deviations of the differences, with the interval of noncentral t."
    )
    if outcome.is_accuracy:
        named.append("p, equal, Holm")
        caption += f" The last p, adjusted too, is small where the arms are shown to be equal within ±{100 * MARGIN:g} points."
    if results.runs.failed.any():
        failed = sorted(results.runs.learning_rate[results.runs.failed].unique())
        caption += (
            f" At {listing([rate_name(rate) for rate in failed])} a run failed ({CONSTANT}): t, size and equality suppose "
            "normal differences, which these are not, and the mean is of two kinds of pairs; read there in how many pairs "
            f"{better} is better."
        )
    return Table(f"tests-{outcome_name.replace('_', '-')}", caption, named, rows)


def _difference(c: Contrast) -> str:
    """The difference with its interval and, below, that of the paired t."""
    outcome, t = OUTCOMES[c.outcome], Interval(c.estimate, c.t_low, c.t_high, c.n)
    text = interval(outcome, c.difference, signed=True)
    return f"{text}\nt {interval(outcome, t, signed=True).splitlines()[1]}" if t.bounded else text


def reached(results: Results, seconds: Mapping[str, float] | None) -> Table:
    """How many runs reach each threshold, when half of them have, and how much sooner an arm gets there.

    Args:
        seconds: what an epoch of a run takes, by arm, if that is known.
    """
    study, rows = results.study, []
    cells = [(name, rate) for name in study.outcomes if name.startswith("epochs_until_") for rate in results.rates]
    for name, rate in cells:
        values = results.values(name, rate)
        first = {arm: thresholds.first_reached(values[arm].dropna(), study.epochs) for arm in values}
        count = {arm: f"{runs.reached.sum()} of {len(runs.reached)}" for arm, runs in first.items()}
        median = {arm: _median(runs, study.epochs) for arm, runs in first.items()}
        for arm, head in heads(study, f"{float(name.removeprefix('epochs_until_')):.1%} at {rate_name(rate)}").items():
            difference = interval(OUTCOMES[name], results.one(name, arm, rate).difference, signed=True)
            row = [head, *both(study, arm, count), *both(study, arm, median), difference]
            if seconds:
                # An arm of which the benchmark knows nothing has no seconds.
                pair = [values[each] * seconds.get(each, np.nan) for each in (study.arms[0].name, arm)]
                row.append(number(mean_difference(pair[1] - pair[0], study.family), 0, "+"))
            rows.append(row)
    caption = (
        "Test accuracy and learning rate: how many runs ever reached it, the epoch by which half of them had, and the mean "
        f"paired difference, {versus(study)}, with its 95% interval; a run that never did counts with "
        f"{study.epochs + 1} epochs, the least that it can have needed. Epochs are whole numbers, so that pairs can agree "
        "exactly. Seconds are epochs times what an epoch of one run took in the kept benchmark, as if that were known exactly."
    )
    reference, arm = columns(study)
    named = ["accuracy, rate", f"reached {reference}", arm, f"median epoch {reference}", arm, "difference, epochs"]
    return Table("reached", caption, [*named, *(["difference, s"] if seconds else [])], rows)


def _median(runs: Reached, given: int) -> str:
    if not len(runs.epoch):
        return "–"
    return f"{runs.median:g}" if np.isfinite(runs.median) else f"> {given}"


def steadiness(results: Results) -> Table:
    """At each rate: spread between seeds, fluctuation between epochs, and the runs that failed."""
    study, rows, accuracy = results.study, [], "test_accuracy_last"
    for rate in results.rates:
        deviation = {arm: OUTCOMES[accuracy].number(values.std()) for arm, values in results.values(accuracy, rate).items()}
        failed = {arm.name: share(results.failed(arm.name, rate)) for arm in study.arms}
        for arm, head in heads(study, rate_name(rate)).items():
            told = compared(results, "fluctuation", rate, arm)
            rows.append([head, *both(study, arm, deviation), *told, *both(study, arm, failed)])
    caption = (
        "Standard deviation of the last test accuracy between seeds; mean size of the change of test accuracy from one epoch "
        f"to the next from epoch {SETTLED} on, with its 95% interval, and its paired difference with its "
        f"own; share of runs that failed ({CONSTANT}), with its Wilson interval. All but that "
        "share in percentage points. A failed run has no fluctuation, and its pair no difference."
    )
    reference, arm = columns(study)
    named = [f"spread {reference}", arm, f"fluctuation {reference}", arm, "difference", f"failed {reference}", arm]
    return Table("steadiness", caption, ["rate", *named], rows)


def gaps(results: Results) -> Table:
    """Training accuracy minus test accuracy of each arm at each rate."""
    rows = [
        [head, *compared(results, "gap", rate, arm), str(results.one("gap", arm, rate).n)]
        for rate in results.rates
        for arm, head in heads(results.study, rate_name(rate)).items()
    ]
    caption = (
        "Training accuracy minus test accuracy of the last epoch, percentage points: mean over seeds with its 95% interval, "
        "and the paired difference with its own. A failed run has no gap, and its pair no difference."
    )
    return Table("gaps", caption, ["learning rate", *long_columns(results.study), "pairs"], rows)


def claims(judged: Sequence[Claim]) -> Table:
    """The verdicts."""
    rows = [[f"{claim.number}. {claim.name}", claim.verdict, _met(claim)] for claim in judged]
    caption = "The original's claims, and what these runs say of them."
    return Table("claims", caption, ["claim", "verdict", "shown, of what has to be true"], rows)


def _met(claim: Claim) -> str:
    return f"{sum(part.met == 1 for part in claim.parts)} of {len(claim.parts)}" if claim.parts else "–"


def parts(claim: Claim) -> Table:
    """What a claim needs, part by part."""
    caption = (
        f"Claim {claim.number}, part by part: the mean over pairs, with minus without batch norm, its 95% interval, and "
        "p of no difference, adjusted over the rates of one outcome, or where the mean points the other way over all parts; "
        "both of the exact test, or with too few seeds for that of the paired t."
    )
    named = ["what", "should be", "mean", "p", "pairs", "shown"]
    return Table(f"claim-{claim.number}", caption, named, [_part(part) for part in claim.parts])


def _part(part: Part) -> list[str]:
    c, wanted = part.contrast, "above" if part.wanted > 0 else "below"
    mean = f"{interval(part.outcome, c.difference, signed=True)}\n{part.outcome.difference_unit}"
    shown = {1: "yes", 0: "no", -1: "the opposite"}[part.met]
    return [part.text, f"{wanted} 0", mean, p_value(part.p), f"{c.n} of {c.pairs}", shown]
