"""What the report's sections say, in sentences; each section's first one is its finding."""

import pandas as pd

from bnlib.analysis import benchmark as bench
from bnlib.analysis.benchmark import Benchmark
from bnlib.analysis.original import replay
from bnlib.analysis.results import MARGIN, OWN, RANK, Results
from bnlib.analysis.statistics import ALPHA
from bnlib.experiment.config import CHAIN, rate_name
from bnlib.experiment.outcomes import OUTCOMES, SETTLED, THRESHOLDS
from bnlib.experiment.study import Study
from bnlib.page.prose.phrases import (
    DEFINED,
    adjusted,
    at,
    by_sign,
    by_text,
    capital,
    compared,
    failures,
    is_pair,
    noun,
    where,
)
from bnlib.page.words import amount, listing, plural


def networks(table: pd.DataFrame, study: Study) -> str:
    """How much the arms differ.

    Args:
        table: a row for each layer of each arm, with the columns arm, layer, kind and parameters.
    """
    layers = {arm.name: table[table.arm == arm.name].set_index("layer") for arm in study.arms}
    reference, *others = (layers[arm.name] for arm in study.arms)
    told = [_layers(reference, other) for other in others]
    if is_pair(study):
        return f"**The arms differ in {told[0]}, and in nothing else.**"
    each = by_text({arm.label: text for arm, text in zip(study.arms[1:], told, strict=True)})
    return f"**What differs from the network {study.arms[0].label} is {each}; nothing else does.**"


def _layers(reference: pd.DataFrame, other: pd.DataFrame) -> str:
    """The layers in which two networks differ, with their parameters in the one that has more of them."""
    kinds, others = reference.kind.to_dict(), other.kind.to_dict()
    differ = [name for name in {**kinds, **others} if kinds.get(name) != others.get(name)]
    if not differ:
        return "how layers of the same kinds are set"
    more, of = max((net.parameters[net.index.isin(differ)].sum(), net.parameters.sum()) for net in (reference, other))
    return f"{plural(len(differ), 'layer')} with {more:,} of {of:,} parameters"


def each_rate(results: Results) -> str:
    """At which rates speed and test accuracy tell the arms apart."""
    study = results.study
    loss, accuracy = (
        f"{OUTCOMES[name].title(study.epochs)} is {where(results, name, 'lower', 'higher')}"
        for name in ("train_loss_first", "test_accuracy_last")
    )
    told = f"{loss}; {accuracy}" if is_pair(study) else f"{loss}. {capital(accuracy)}"
    return f"**{compared(study, told)}** (adjusted over the {adjusted(study)})."


def sure(results: Results) -> str:
    """Where the final training loss tells the arms apart, and where their test accuracies are equal up to the margin."""
    study = results.study
    loss = where(results, "train_loss_last", "lower", "higher")
    told = compared(study, f"{OUTCOMES['train_loss_last'].title(study.epochs)} is {loss}")
    return (
        f"**{told}.** Equality within ±{100 * MARGIN:g} percentage points of test accuracy is shown {_equal(results)} (two "
        "one-sided t tests, not adjusted); not being told apart does not show it."
    )


def _equal(results: Results) -> str:
    """Where equality is shown, of several arms each named."""
    told = {}
    for arm in results.others:
        shown = [c.learning_rate for c in results.find("test_accuracy_last", arm.name) if c.equal_p < ALPHA]
        told[arm.label] = f"at {at(shown)}" if shown else "at no rate"
    return told[results.others[0].label] if is_pair(results.study) else by_text(told)


def soon(results: Results) -> str:
    """Which arm reaches a test accuracy sooner."""
    study, unclear = results.study, "no sooner and no later that can be shown"
    when = {t: where(results, f"epochs_until_{t:g}", "sooner", "later", unclear, named=False, kind=RANK) for t in THRESHOLDS}
    first, *rest = told = [f"{threshold:.1%} {text}" for threshold, text in when.items()]
    if is_pair(study):
        return f"**{capital(study.arms[1].label)} test accuracy reaches {'; '.join(told)}.**"
    sentences = [compared(study, f"test accuracy reaches {first}"), *(f"It reaches {text}" for text in rest)]
    return f"**{'. '.join(sentences)}.**"


def steady(results: Results) -> str:
    """Which arm's test accuracy moves less from epoch to epoch."""
    how = where(results, "fluctuation", "less", "more", "no differently that can be shown")
    told = f"from epoch {SETTLED} on test accuracy fluctuates {how}"
    return f"**{compared(results.study, told)}.** {capital(failures(results))} {DEFINED}."


def own_rates(results: Results) -> str:
    """The arms, each at its own best rate."""
    study, found = results.study, results.find("test_accuracy_last", kind=OWN)
    best, tried = [found[0].against, *(c.learning_rate for c in found)], results.rates
    edge = (
        " A best rate at the edge of those tried need not be the best there is."
        if len(tried) > 1 and {tried[0], tried[-1]} & set(best)
        else ""
    )
    if is_pair(study):
        arm = study.arms[1].label
        verdict = {-1: f"lower {arm}", 0: "not told apart", 1: f"higher {arm}"}[found[0].sign]
        rates = f"{rate_name(best[0])} without and {rate_name(best[1])} {arm}"
        return (
            f"**Each at the rate of its lowest final training loss, {rates}, the arms' test accuracies are {verdict}: "
            f"{amount(found[0])}.**{edge}"
        )
    rates = listing([f"{rate_name(rate)} {arm.label}" for rate, arm in zip(best, study.arms, strict=True)])
    arms = {arm.label: c for arm, c in zip(results.others, found, strict=True)}
    told = by_sign(arms, "is lower", "is higher", "is not told apart", "cannot be compared")
    return (
        f"**With each arm at the rate of its lowest final training loss ({rates}), test accuracy, compared with that of runs "
        f"{study.arms[0].label}, {told}.**{edge}"
    )


def general(results: Results) -> str:
    """What the gap between training and test says of a regularising effect."""
    study = results.study
    gap = where(results, "gap", "narrower", "wider", "not shown to differ")
    told = compared(study, f"the gap between training and test accuracy is {gap}")
    loss, last = (
        where(results, "train_loss_last", "lower", "higher", named=False),
        OUTCOMES["train_loss_last"].title(study.epochs),
    )
    losses = f"{study.arms[1].label} the {last} is {loss}" if is_pair(study) else f"the {last} is {loss}"
    return (
        f"**{told}.** A regulariser narrows it, mostly at the price of a higher training loss; {losses}. A better test "
        "accuracy that comes with a lower training loss needs no regularising effect to explain it."
    )


def replayed(study: Study, epochs: pd.DataFrame, dataset: str) -> str:
    """Whether the chain gives the original's figures.

    Args:
        study: the replay.
        epochs: records that hold it.
    """
    chained = study.of(epochs)
    if dataset != "mnist":
        return "The original's figures are of MNIST: beside runs on other data they are here for their shape alone."
    if chained.seed.nunique() < replay.FEWEST:
        return f"With fewer than {replay.FEWEST} seeds there is no interval to hold the original's figures against."
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


def order(chain: Results, fresh: Results) -> str:
    """What in the original's first epochs at its last rate is the order's doing."""
    rate, labels, told = CHAIN[-1], {arm.name: arm.label for arm in chain.study.arms}, []
    rows = replay.first_losses(chain, fresh)
    for row in rows[rows.learning_rate == rate].itertuples():
        numbers = (OUTCOMES["train_loss_first"].number(value) for value in (row.published, row.replayed, row.fresh))
        original, again, afresh = numbers
        told.append(
            f"{labels[row.norm]} {original} in the original and {again} in the replay, but {afresh} after a fresh start"
        )
    seen = f"Training loss of the first epoch at {rate_name(rate)} is {listing(told)}. " if told else ""
    return (
        f"{seen}The fresh start is what a learning rate by itself gives; the original's later rates go on from trained "
        "weights, so its comparison across rates shows the rate and the order in which it was tried in one. Its comparison of "
        "the arms at one rate is touched too: each arm goes on from what it had reached before."
    )


def cost(benchmark: Benchmark | None, study: Study) -> str:
    """How fast the arms train, beside each other and beside the plain loop, as the kept benchmark has it."""
    labels, pair = {arm.levels.get("norm"): arm.label for arm in study.arms}, is_pair(study)
    if benchmark is None or not set(labels) <= set(benchmark.norms):
        adds = f"{capital(noun(study.arms[1]))} adds" if pair else "A norm adds"
        return (
            f"{adds} few parameters, and few operations of the kind counted here; what it adds in time depends on the "
            "machine. `make bench KEEP=1` measures it, and the next `make report` states it here."
        )
    facts, seconds = benchmark.facts, bench.seconds(benchmark.rates)
    first, *others = labels
    times = [f"{_range(seconds['fit', norm] / seconds['fit', first])}" for norm in others]
    each = [f"{times[0]} times as long {labels[others[0]]} as {'without' if pair else labels[first]}"]
    each += [f"{text} times {labels[norm]}" for norm, text in zip(others[1:], times[1:], strict=True)]
    loops = seconds["plain"][list(labels)].sum(axis=1) / seconds["fit"][list(labels)].sum(axis=1)
    device = {"cpu": "the CPU", "cuda": facts["accelerator"]}.get(facts["device"], facts["device"])
    threads, runs = (int(facts[name]) for name in ("threads of the plain loop", "runs at once"))
    return (
        f"Training takes {listing(each)}. The plain loop, as the original has it, in "
        f"fp32 on the CPU with {plural(threads, 'thread')}, takes {_range(loops)} times as long as this one, "
        f"{facts['precision']} on {device}, {plural(runs, 'run')} at once, {'both' if len(labels) == 2 else 'all'} arms "
        f"together. Given are median and range of {plural(len(seconds), 'repeat')}, in which loops and arms took turns. "
        f"Images: {facts['images']}, in batches of {facts['batch size']}; {facts['processor']}, {facts['instruction set']}, "
        f"torch {facts['torch']}. These are times of one machine, and no part of the records."
    )


def _range(values: pd.Series) -> str:
    return f"{values.median():.2f} ({values.min():.2f} to {values.max():.2f})"
