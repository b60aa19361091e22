"""What the report's sections say, in sentences; each section's first one is its finding."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from bnlib import convergence, lost_runs, models, outcomes, rate_range, records, replay
from bnlib.claims import Claim, Part
from bnlib.config import CHAIN, rate_name
from bnlib.evidence_tables import MARGIN
from bnlib.outcomes import Outcome
from bnlib.statistics import ALPHA, ENOUGH, Interval, equivalence_p, holm
from bnlib.words import ARMS, listing, plural


def first(text: str) -> str:
    """The sentence in bold with which a section's text opens; the whole text where it has none."""
    return text.split("**")[1] if "**" in text else text


def networks() -> str:
    """How much the arms differ."""
    counts = {norm: models.count_parameters(models.build(norm, seed=0)) for norm in ARMS}
    layers = {norm: len(models.build(norm, seed=0)) for norm in ARMS}
    return (
        f"**The arms differ in {plural(layers['batch'] - layers['none'], 'layer')} with {counts['batch'] - counts['none']:,} "
        f"of {counts['batch']:,} parameters, and in nothing else.**"
    )


def _at(rates: Sequence[float]) -> str:
    return listing([rate_name(rate) for rate in rates])


def each_rate(epochs: pd.DataFrame) -> str:
    """At which rates speed and test accuracy tell the arms apart."""
    last = int(epochs.epoch.max())
    loss = outcomes.in_words(epochs, outcomes.FIRST_LOSS, "lower with batch norm", "higher with batch norm")
    accuracy = outcomes.in_words(epochs, outcomes.TEST_ACCURACY, "lower with batch norm", "higher with batch norm")
    return f"**Training loss of epoch 1 is {loss}; test accuracy of epoch {last} is {accuracy}** (adjusted over the rates)."


def sure(epochs: pd.DataFrame) -> str:
    """Where the final training loss tells the arms apart, and where their test accuracies are equal up to the margin."""
    loss = outcomes.in_words(epochs, outcomes.LAST_LOSS, "lower with batch norm", "higher with batch norm")
    return f"**Training loss of epoch {int(epochs.epoch.max())} is {loss}.** {_equal(epochs)}"


def _equal(epochs: pd.DataFrame) -> str:
    tables = {rate: outcomes.compare(epochs, outcomes.TEST_ACCURACY, rate).pairs for rate in outcomes.rates(epochs)}
    p = holm([equivalence_p(pairs, MARGIN) for pairs in tables.values()])
    shown = [rate for rate, value in zip(tables, p, strict=True) if value < ALPHA]
    where = f"at {_at(shown)}" if shown else "at no rate"
    return (
        f"Equality within ±{100 * MARGIN:g} percentage points of test accuracy is shown {where} (two one-sided t tests, "
        "adjusted over the rates); not being told apart does not show it."
    )


def soon(epochs: pd.DataFrame) -> str:
    """Which arm reaches a test accuracy sooner."""
    told, unclear = [], "no sooner and no later that can be shown"
    for threshold in convergence.THRESHOLDS:
        when = outcomes.in_words(epochs, convergence.until(threshold), "sooner", "later", unclear)
        told.append(f"{threshold:.1%} {when}")
    return f"**With batch norm test accuracy reaches {'; '.join(told)}.**"


def steady(epochs: pd.DataFrame) -> str:
    """Which arm's test accuracy moves less from epoch to epoch."""
    unclear = "no differently that can be shown"
    how = outcomes.in_words(epochs, outcomes.FLUCTUATION, "less with batch norm", "more with batch norm", unclear)
    return (
        f"**From epoch {outcomes.SETTLED} on test accuracy fluctuates {how}.** Lost, that is diverged or below "
        f"{lost_runs.LEARNED:.0%} in the end, were {lost_runs.told(lost_runs.every(epochs), epochs)}."
    )


def own_rates(epochs: pd.DataFrame) -> str:
    """The arms, each at its own best rate."""
    best = outcomes.best_rates(epochs)
    c = outcomes.compare_at(epochs, outcomes.TEST_ACCURACY, best)
    verdict = {-1: "lower with batch norm", 0: "not told apart", 1: "higher with batch norm"}[c.difference.sign]
    tried = outcomes.rates(epochs)
    edge = (
        " A best rate at the edge of those tried need not be the best there is."
        if len(tried) > 1 and {tried[0], tried[-1]} & set(best.values())
        else ""
    )
    return (
        f"**Each at the rate of its lowest final training loss, {rate_name(best['none'])} without and "
        f"{rate_name(best['batch'])} with batch norm, the arms' test accuracies are {verdict}: "
        f"{_difference(c.outcome, c.difference)}.**{edge}"
    )


def _difference(outcome: Outcome, value: Interval) -> str:
    told = f"{outcome.number(value.estimate, signed=True)} {outcome.difference_unit}"
    return told + (f" [{outcome.number(value.low, True)}, {outcome.number(value.high, True)}]" if value.bounded else "")


def general(epochs: pd.DataFrame) -> str:
    """What the gap between training and test says of a regularising effect."""
    gap = outcomes.in_words(epochs, outcomes.GAP, "narrower with batch norm", "wider with batch norm", "not shown to differ")
    loss = outcomes.in_words(epochs, outcomes.LAST_LOSS, "lower", "higher")
    return (
        f"**The gap between training and test accuracy is {gap}.** A regulariser narrows it, mostly at the price of a higher "
        f"training loss; with batch norm the training loss of epoch {int(epochs.epoch.max())} is {loss}. A better test "
        "accuracy that comes with a lower training loss needs no regularising effect to explain it."
    )


def reach(epochs: pd.DataFrame) -> str:
    """How far each arm's rates go."""
    good, found = rate_range.usable(epochs), rate_range.reach(epochs)
    grid = outcomes.rates(epochs)
    spans = [f"{words} {_span(good[norm], grid)}" for norm, words in ARMS.items()]
    each = [f"{ratio:.1f}" for ratio in found.largest["batch"] / found.largest["none"]]
    others = [f"{_ratio(rate_range.reach(epochs, margin).ratio)} within {100 * margin:g}" for margin in rate_range.OTHERS]
    runs = f"runs of {plural(int(epochs.epoch.max()), 'epoch')} with {plural(found.ratio.n, 'seed')}"
    near = 100 * rate_range.USABLE
    return (
        f"**In {runs}, rates within {near:g} point of an arm's best mean test accuracy are {listing(spans)}; "
        f"the largest such rate of a seed is {_ratio(found.ratio)} times as high with batch norm. {_lost(epochs)}** That ratio "
        f"is the geometric mean over seeds ({listing(each)}), each arm and seed held to its own best; it would be "
        f"{listing(others)} points." + _steps(grid)
    )


def _lost(epochs: pd.DataFrame) -> str:
    """Where runs were lost, and how many."""
    told, shares = [], lost_runs.shares(epochs)
    for norm, words in ARMS.items():
        at: dict[str, list[float]] = {}
        for rate, value in shares[norm].items():
            if value.estimate > 0:
                at.setdefault(lost_runs.out_of(value), []).append(rate)
        told.append(f"{words} {listing([f'{count} at {_at(rates)}' for count, rates in at.items()]) if at else 'none'}")
    return f"Diverged or below {lost_runs.LEARNED:.0%} in the end are {'; '.join(told)}."


def _steps(grid: Sequence[float]) -> str:
    if len(grid) == 1:
        return ""
    return f" It moves in steps of about {np.exp(np.mean(np.diff(np.log(grid)))):.1f}, the distance between neighbouring rates."


def _span(rates: Sequence[float], grid: Sequence[float]) -> str:
    """`0.001 to 0.1`, or each rate by name where one between them is not among them."""
    between = [rate for rate in grid if rates[0] <= rate <= rates[-1]]
    return f"{rate_name(rates[0])} to {rate_name(rates[-1])}" if between == rates and len(rates) > 1 else _at(rates)


def _ratio(value: Interval) -> str:
    if value.n > 1 and value.flat:
        return f"{value.estimate:.1f} (in each seed)"
    return f"{value.estimate:.1f}" + (f" [{value.low:.1f}, {value.high:.1f}]" if value.bounded else "")


def verdicts(claims: Sequence[Claim]) -> str:
    """Which claims came to which verdict, in one sentence."""
    order = ("supported", "contradicted", "not shown by these data", "not tested")
    groups = {verdict: [claim for claim in claims if claim.verdict == verdict] for verdict in order}
    told = [
        f"{len(chosen)} {verdict} ({'; '.join(claim.name[0].lower() + claim.name[1:] for claim in chosen)})"
        for verdict, chosen in groups.items()
        if chosen
    ]
    return f"**Of the original's {len(claims)} claims these runs leave {listing(told)}.**"


def claim(claim: Claim) -> str:
    """A claim, what it needs, and the verdict."""
    told = f"**Verdict: {claim.verdict}.** {claim.says}\n\n*What would have to be true.* {claim.needs}"
    notes = [claim.note, *(_out_of_reach(part) for part in claim.parts)]
    return "\n\n".join([told, " ".join(note for note in notes if note)]).strip()


def _out_of_reach(part: Part) -> str:
    """That too many pairs are tied or lost for the exact test to show anything, where that is so."""
    if part.met or part.interval.n == 0 or len(part.values) < ENOUGH or part.least_p < ALPHA:
        return ""
    return (
        f"In {part.text}, {part.unequal} of {len(part.values)} pairs differ: p could not have come below {part.least_p:.3f}, "
        "whichever way they do."
    )


def replayed(epochs: pd.DataFrame, dataset: str) -> str:
    """Whether the chain gives the original's figures."""
    chained = records.of(epochs, records.REPLAY)
    if dataset != "mnist":
        return "The original's figures are of MNIST: beside runs on other data they are here for their shape alone."
    if chained.seed.nunique() < 2:
        return "With one seed there is no interval to hold the original's figures against."
    table, test = replay.beside(chained), replay.beside_test(chained)
    inside = {column: int(table[f"{column}_inside"].sum()) for column in ("train_loss", "train_accuracy")}
    wide = (table.train_loss_high / table.train_loss_low).median()
    seeds = plural(chained.seed.nunique(), "seed")
    whole = chained.epoch.max() == replay.published().epoch.max()
    tested = f", and {int(test.test_accuracy_inside.sum())} of its {len(test)} test accuracies" if whole else ""
    return (
        f"**Of the {len(table)} epochs of the original's log that were run, {inside['train_loss']} training losses and "
        f"{inside['train_accuracy']} training accuracies lie where one more run of this chain would in 19 cases of "
        f"20{tested}.** With {seeds} these intervals span, for losses, a factor of {wide:.1f} from end to end in the "
        f"median; of the losses printed for the other arm, {replay.swapped(table)} lie inside. The epochs of one chain do not "
        "vary independently of one another."
    )


def order(epochs: pd.DataFrame) -> str:
    """What in the original's first epochs at its last rate is the order's doing."""
    rate = CHAIN[-1]
    rows = replay.first_losses(epochs).query("learning_rate == @rate")
    told = []
    for row in rows.itertuples():
        original, replayed, fresh = (outcomes.FIRST_LOSS.number(value) for value in (row.published, row.replayed, row.fresh))
        told.append(
            f"{ARMS[row.norm]} {original} in the original and {replayed} in the replay, but {fresh} after a fresh start"
        )
    seen = f"Training loss of the first epoch at {rate_name(rate)} is {listing(told)}. " if told else ""
    return (
        f"{seen}The fresh start is what a learning rate by itself gives; the original's later rates go on from trained "
        "weights, so its comparison across rates shows the rate and the order in which it was tried in one. Its comparison of "
        "the arms at one rate is touched too: each arm goes on from what it had reached before."
    )
