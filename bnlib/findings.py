"""What the records say, in sentences; nothing is said more strongly than its interval allows."""

from dataclasses import replace

import pandas as pd

from bnlib import bench, lost_runs, outcomes
from bnlib.bench import Benchmark
from bnlib.config import rate_name
from bnlib.notes import DATASETS
from bnlib.outcomes import Comparison, Outcome
from bnlib.statistics import ALPHA, paired_difference
from bnlib.words import ARMS, listing, plural


def difference(c: Comparison, sign: int) -> str:
    """What one outcome at one rate shows, in one sentence; `sign` as `outcomes.signs` has it."""
    what = c.outcome.title(c.epochs)
    if c.difference.n == 0:
        return f"In {what} the arms cannot be compared: {c.text()}."
    if sign == 0:
        return f"In {what} these runs do not tell the arms apart: {c.text()}."
    direction = "higher" if sign > 0 else "lower"
    return f"The {what} was {direction} with batch norm: {c.text()}."


def at_rate(epochs: pd.DataFrame, learning_rate: float) -> str:
    """What one learning rate shows: a sentence for each outcome of the table, as a Markdown list."""
    compared = outcomes.table(epochs, learning_rate)
    sentences = [difference(c, outcomes.signs(epochs, c.outcome)[learning_rate]) for c in compared]
    return "\n".join(f"- {sentence}" for sentence in [*sentences, stability(outcomes.at_rate(epochs, learning_rate))])


def headline(epochs: pd.DataFrame, learning_rate: float) -> str:
    """A heading for one learning rate that claims what the data bear: first speed, then test accuracy."""
    told = []
    for outcome in (outcomes.FIRST_LOSS, outcomes.TEST_ACCURACY):
        c = outcomes.compare(epochs, outcome, learning_rate)
        name = "epoch-1 training loss" if outcome is outcomes.FIRST_LOSS else "test accuracy"
        if sign := outcomes.signs(epochs, outcome)[learning_rate]:
            told.append(f"{'higher' if sign > 0 else 'lower'} {name} with batch norm")
        else:
            told.append(f"{name} {'not told apart' if c.difference.n else 'not to be compared'}")
    return f"Learning rate {rate_name(learning_rate)}: {told[0]}, {told[1]}"


def stability(epochs: pd.DataFrame) -> str:
    """Which runs diverged, and which stayed finite but did not learn."""
    runs = epochs.drop_duplicates(["norm", "learning_rate", "seed"])
    kinds = (
        (lost_runs.diverged(epochs), "diverged, that is, met a loss that was not finite"),
        (lost_runs.unlearned(epochs), f"did not learn: their test accuracy ended below {lost_runs.LEARNED:.0%}"),
    )
    told = []
    for lost, what in kinds:
        for rate in sorted(lost.learning_rate.unique()):
            count = lost_runs.told(lost[lost.learning_rate == rate], outcomes.at_rate(epochs, rate))
            told.append(f"At {rate_name(rate)}, {count} {what}.")
    if told:
        gone = sorted(lost_runs.every(epochs).learning_rate.unique())
        return " ".join([*told, *filter(None, (_others(outcomes.at_rate(epochs, rate)) for rate in gone))])
    every = f"{len(runs)} of {len(runs)}"
    return f"Every run stayed finite and ended with a test accuracy of at least {lost_runs.LEARNED:.0%} ({every})."


def _others(epochs: pd.DataFrame) -> str:
    """What is to be said at a rate with lost runs: whether it may be chance, and how the other pairs differ."""
    rate, gone, p = epochs.learning_rate.iloc[0], lost_runs.every(epochs), lost_runs.difference_p(epochs)
    told = [f"That one arm loses more may be chance (p {p:.2f})."] if ALPHA <= p < 1 else []
    c = outcomes.compare(epochs, outcomes.TEST_ACCURACY, rate)
    both = c.per_seed[~c.per_seed.index.isin(gone.seed)]
    d = paired_difference(*both.reindex(c.per_seed.index).to_numpy().T)  # judged as all pairs are, lost ones having no value
    if d.bounded:
        others = replace(c, difference=d, per_seed=both)
        told.append(
            f"In the {d.n} pairs at {rate_name(rate)} in which both learned, test accuracy differed by {others.text()}."
        )
    return " ".join(told)


def lead(epochs: pd.DataFrame) -> str:
    """The answer in one sentence: what batch norm bought, what it cost, and where nothing can be shown."""
    if len(epochs.seed.unique()) < 2:
        return "With one pair of runs at each learning rate, nothing can be told apart from chance."
    bought, cost, unclear = [], [], []
    for outcome, noun in ((outcomes.FIRST_LOSS, "training loss in the first epoch"), (outcomes.TEST_ACCURACY, "test accuracy")):
        better = 1 if outcome.higher_is_better else -1
        signs = {rate_name(rate): better * sign for rate, sign in outcomes.signs(epochs, outcome).items()}
        gained, lost = ([rate for rate, sign in signs.items() if sign == wanted] for wanted in (1, -1))
        words = ("higher", "lower") if outcome.higher_is_better else ("lower", "higher")
        bought += [f"a {words[0]} {noun} at {listing(gained)}"] if gained else []
        cost += [f"a {words[1]} {noun} at {listing(lost)}"] if lost else []
        unclear += [] if gained or lost else [noun]
    told = [f"batch norm bought {listing(bought) if bought else 'nothing that can be shown'}"]
    told += [f"it cost {listing(cost)}"] if cost else []
    told += [f"in {listing(unclear)} the arms were told apart at no rate"] if unclear else []
    lost = lost_runs.every(epochs)
    if len(lost):
        told.append(f"{lost_runs.told(lost, epochs)} diverged or did not learn")
    return f"In these runs {'; '.join(told)}."


def _across(epochs: pd.DataFrame, outcome: Outcome) -> str:
    """One outcome over all the rates: where it was lower, where higher, where nothing can be said."""
    compared = [outcomes.compare(epochs, outcome, rate) for rate in outcomes.rates(epochs)]
    signs, told = outcomes.signs(epochs, outcome), []
    groups = (
        ("was lower with batch norm at", [c for c in compared if signs[c.learning_rate] < 0]),
        ("was higher with batch norm at", [c for c in compared if signs[c.learning_rate] > 0]),
        ("did not tell the arms apart at", [c for c in compared if c.difference.n and not signs[c.learning_rate]]),
        ("could not be compared at", [c for c in compared if not c.difference.n]),
    )
    for phrase, chosen in groups:
        if chosen:
            told.append(f"{phrase} {listing([f'{rate_name(c.learning_rate)} ({c.text()})' for c in chosen])}")
    return f"{outcome.title(compared[0].epochs).capitalize()} {', and '.join(told)}."


def answer(epochs: pd.DataFrame) -> str:
    """The answer in one paragraph: in a sentence, then speed, test accuracy and stability with their numbers."""
    seeds, last, dataset = epochs.seed.nunique(), int(epochs.epoch.max()), DATASETS[epochs.dataset.iloc[0]]
    brackets = (
        "in square brackets 95% intervals of the paired difference, with minus without" if seeds > 1 else "hence no intervals"
    )
    setting = f"On {dataset}, {plural(seeds, 'pair')} of runs of {plural(last, 'epoch')} at each learning rate; {brackets}."
    told = [_across(epochs, outcome) for outcome in (outcomes.FIRST_LOSS, outcomes.TEST_ACCURACY)]
    return " ".join([f"**{lead(epochs)}**", setting, *told, stability(epochs)])


def across_rates(epochs: pd.DataFrame) -> str:
    """How each arm's test accuracy changed from the lowest rate to the highest, paired by seed; empty at one rate."""
    rates = outcomes.rates(epochs)
    if len(rates) == 1:
        return ""
    low, high = (outcomes.compare(epochs, outcomes.TEST_ACCURACY, rate) for rate in (rates[0], rates[-1]))
    told = []
    for norm, words in ARMS.items():
        # The seeds of the lowest rate and of the highest are the same, in the same order.
        change = paired_difference(low.per_seed[norm], high.per_seed[norm])
        c = replace(high, difference=change)
        verdict = {-1: "it fell", 0: "its direction is not settled", 1: "it rose"}[change.sign]
        told.append(f"{words} by {c.text()} ({verdict})" if change.n else f"{words} it cannot be said")
    title = high.outcome.title(high.epochs)
    change = f"From {rate_name(rates[0])} to {rate_name(rates[-1])} {title} changed"
    return f"**{change}, over pairs of the same seed, {listing(told)}.**"


def cost(benchmark: Benchmark | None) -> str:
    """How fast the arms train, beside each other and beside the plain loop, as the kept benchmark has it."""
    if benchmark is None:
        return (
            "Batch norm adds few parameters, and few operations of the kind counted here; what it adds in time depends on the "
            "machine. `make bench KEEP=1` measures it, and the next `make report` states it here."
        )
    facts, seconds = benchmark.facts, bench.seconds(benchmark.rates)
    arms = seconds["fit", "batch"] / seconds["fit", "none"]
    loops = seconds["plain"].sum(axis=1) / seconds["fit"].sum(axis=1)
    device = {"cpu": "the CPU", "cuda": facts["accelerator"]}.get(facts["device"], facts["device"])
    threads, runs = (int(facts[name]) for name in ("threads of the plain loop", "runs at once"))
    return (
        f"Training takes {_range(arms)} times as long with batch norm as without. The plain loop, as the original has it, in "
        f"fp32 on the CPU with {plural(threads, 'thread')}, takes {_range(loops)} times as long as this one, "
        f"{facts['precision']} on {device}, {plural(runs, 'run')} at once, both arms together. Given are median and range of "
        f"{plural(len(seconds), 'repeat')}, in which loops and arms took turns. Images: {facts['images']}, in batches of "
        f"{facts['batch size']}; {facts['processor']}, {facts['instruction set']}, torch {facts['torch']}. These are times of "
        "one machine, and no part of the records."
    )


def _range(values: pd.Series) -> str:
    return f"{values.median():.2f} ({values.min():.2f} to {values.max():.2f})"
