"""What the records say, in sentences; nothing is said more strongly than its interval allows."""

from collections.abc import Sequence

import pandas as pd

from bnlib import outcomes
from bnlib.config import RunConfig, rate_name
from bnlib.outcomes import Comparison, Outcome

DATASETS = {
    "mnist": "MNIST",
    "fashion_mnist": "Fashion-MNIST",
    "digits": "the 1,797 digits of scikit-learn",
}
FALLBACK = (
    "**This is not MNIST.** MNIST was neither in the data folder nor could it be downloaded, so every number here comes "
    "from the 1,797 handwritten digits that ship inside scikit-learn, enlarged from 8 × 8 to 28 × 28 pixels. "
    "Put MNIST's files into the data folder, or connect, and run `make report` again."
)
SAMPLE = (
    "**This is not MNIST.** Every number here comes from the 1,797 handwritten digits that ship inside scikit-learn, "
    "enlarged from 8 × 8 to 28 × 28 pixels: a sample that needs no download."
)


def notice(dataset: str, fell_back: bool) -> str:
    """What a page on other data than MNIST says on top."""
    if dataset == "mnist":
        return ""
    if dataset == "digits":
        return f"> {FALLBACK if fell_back else SAMPLE}"
    return f"> **This is not MNIST.** Every number here comes from {DATASETS[dataset]}."


def plural(count: int, noun: str) -> str:
    """`1 seed`, `3 seeds`."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def listing(items: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def size(c: Comparison, unit: bool = True) -> str:
    """How large a difference is, whatever its direction: `0.0809 nats [0.0712, 0.0906]`."""
    ends = sorted((abs(c.difference.low), abs(c.difference.high)))
    number = c.outcome.number(abs(c.difference.estimate)) + (f" {c.outcome.difference_unit}" if unit else "")
    return f"{number} [{', '.join(map(c.outcome.number, ends))}]"


def bounds(c: Comparison) -> str:
    """A comparison's difference with its interval and unit, in words."""
    estimate = f"{c.outcome.number(c.difference.estimate, signed=True)} {c.outcome.difference_unit}"
    if not c.difference.bounded:
        return f"{estimate}, from one pair, which bounds nothing"
    low, high = (c.outcome.number(end, signed=True) for end in (c.difference.low, c.difference.high))
    return f"{estimate}, 95% interval {low} to {high}"


def difference(c: Comparison) -> str:
    """What one outcome at one rate shows, in one sentence."""
    what = c.outcome.title(c.epochs)
    if c.difference.n == 0:
        return f"In {what} the arms cannot be compared: at no seed did both arms stay finite."
    pairs = plural(c.difference.n, "pair")
    if c.difference.sign == 0:
        return f"In {what} these runs do not tell the arms apart ({bounds(c)}; {pairs})."
    direction = "higher" if c.difference.sign > 0 else "lower"
    return f"The {what} was {direction} with batch norm ({bounds(c)}; {pairs})."


def stability(epochs: pd.DataFrame) -> str:
    """Which runs diverged, and which stayed finite but did not learn, in one or two sentences."""
    runs = len(epochs.drop_duplicates(["norm", "learning_rate", "seed"]))
    kinds = (
        (outcomes.diverged(epochs), "diverged, that is, met a loss that was not finite"),
        (outcomes.unlearned(epochs), f"did not learn: test accuracy ended below {outcomes.LEARNED:.0%}"),
    )
    told = [f"{len(lost)} of {plural(runs, 'run')} {what} ({_where(lost)})." for lost, what in kinds if len(lost)]
    return " ".join(told) or f"Every run stayed finite and learned ({runs} of {runs})."


def _where(runs: pd.DataFrame) -> str:
    groups = runs.groupby(["learning_rate", "norm"]).size()
    return listing([f"{count} at {rate_name(rate)} {_arm(norm)}" for (rate, norm), count in groups.items()])


def _arm(norm: str) -> str:
    return "without batch norm" if norm == "none" else "with batch norm"


def at_rate(epochs: pd.DataFrame, learning_rate: float) -> str:
    """What one learning rate shows: a sentence for each outcome of the table, as a Markdown list."""
    rows = outcomes.at_rate(epochs, learning_rate)
    sentences = [difference(outcomes.compare(rows, outcome, learning_rate)) for outcome in outcomes.TABLE]
    return "\n".join(f"- {sentence}" for sentence in [*sentences, stability(rows)])


def headline(epochs: pd.DataFrame, learning_rate: float) -> str:
    """A heading for one learning rate that claims what the data bear: first speed, then test accuracy."""
    rows = outcomes.at_rate(epochs, learning_rate)
    first, test = (outcomes.compare(rows, o, learning_rate) for o in (outcomes.FIRST_LOSS, outcomes.TEST_ACCURACY))
    words = {-1: "lower", 0: "undecided", 1: "higher"}
    name = rate_name(learning_rate)
    return f"Learning rate {name}: first loss {words[first.difference.sign]}, test accuracy {words[test.difference.sign]}"


def _across(epochs: pd.DataFrame, outcome: Outcome) -> str:
    """One outcome over all the rates: where it was lower, where higher, where nothing can be said."""
    compared = [outcomes.compare(epochs, outcome, rate) for rate in outcomes.rates(epochs)]
    told = []
    for sign, word in ((-1, "lower"), (1, "higher")):
        chosen = [c for c in compared if c.difference.sign == sign]
        if chosen:
            sizes = [f"{size(c, unit=c is chosen[0])} at {rate_name(c.learning_rate)}" for c in chosen]
            told.append(f"was {word} with batch norm by {listing(sizes)}")
    unclear = [c for c in compared if c.difference.sign == 0]
    if unclear:
        sizes = [f"{rate_name(c.learning_rate)} ({_signed(c)})" for c in unclear]
        told.append(f"did not tell the arms apart at {listing(sizes)}")
    return f"{outcome.title(compared[0].epochs).capitalize()} {', and '.join(told)}."


def _signed(c: Comparison) -> str:
    if not c.difference.n:
        return "no pair in which both arms stayed finite"
    estimate = f"{c.outcome.number(c.difference.estimate, signed=True)} {c.outcome.difference_unit}"
    if not c.difference.bounded:
        return f"{estimate}; one pair bounds nothing"
    return f"{estimate} [{c.outcome.number(c.difference.low, signed=True)}, {c.outcome.number(c.difference.high, signed=True)}]"


def lead(epochs: pd.DataFrame) -> str:
    """The answer in one sentence: what batch norm bought, what it cost, and where nothing can be shown."""
    rates = outcomes.rates(epochs)
    bought, cost, unclear = [], [], []
    for outcome, noun in ((outcomes.FIRST_LOSS, "training loss in the first epoch"), (outcomes.TEST_ACCURACY, "test accuracy")):
        better = 1 if outcome.higher_is_better else -1
        signs = {rate_name(rate): better * outcomes.compare(epochs, outcome, rate).difference.sign for rate in rates}
        gained, lost = ([rate for rate, sign in signs.items() if sign == wanted] for wanted in (1, -1))
        words = ("higher", "lower") if outcome.higher_is_better else ("lower", "higher")
        bought += [f"a {words[0]} {noun} at {listing(gained)}"] if gained else []
        cost += [f"a {words[1]} {noun} at {listing(lost)}"] if lost else []
        unclear += [] if gained or lost else [noun]
    told = [f"batch norm bought {listing(bought) if bought else 'nothing that can be shown'}"]
    told += [f"it cost {listing(cost)}"] if cost else []
    told += [f"in {listing(unclear)} the arms were told apart at no rate"] if unclear else []
    return f"In these runs {'; '.join(told)}."


def answer(epochs: pd.DataFrame) -> str:
    """The answer in one paragraph: in a sentence, then speed, test accuracy and stability with their numbers."""
    rates = outcomes.rates(epochs)
    seeds, last, dataset = epochs.seed.nunique(), int(epochs.epoch.max()), DATASETS[epochs.dataset.iloc[0]]
    told = [_across(epochs, o) for o in (outcomes.FIRST_LOSS, outcomes.TEST_ACCURACY)]
    setting = (
        f"(On {dataset}; {plural(seeds, 'pair')} of fresh runs of {plural(last, 'epoch')} at each learning "
        f"rate, {listing([rate_name(r) for r in rates])}; in brackets 95% intervals of the paired difference.)"
    )
    return " ".join([f"**{lead(epochs)}**", *told, stability(epochs), setting])


def across_rates(epochs: pd.DataFrame) -> str:
    """Where each arm's mean test accuracy is highest, and what the rate changes."""
    compared = [outcomes.compare(epochs, outcomes.TEST_ACCURACY, rate) for rate in outcomes.rates(epochs)]
    told = []
    for norm, read in (("none", lambda c: c.without), ("batch", lambda c: c.with_norm)):
        finite = [c for c in compared if read(c).n]
        if not finite:
            told.append(f"{_arm(norm).capitalize()}, every run diverged.")
            continue
        best, worst = (pick(finite, key=lambda c: read(c).estimate) for pick in (max, min))
        shown = [f"{c.outcome.number(read(c).estimate)}% at {rate_name(c.learning_rate)}" for c in (best, worst)]
        told.append(
            f"{_arm(norm).capitalize()}, mean test accuracy was highest with {shown[0]}"
            + (f" and lowest with {shown[1]}." if len(finite) > 1 else ".")
        )
    return " ".join(told)


def cost(timing: pd.DataFrame) -> str:
    """How much longer an epoch takes with batch norm, as the median of the ratios of paired runs."""
    seconds = timing.groupby(["learning_rate", "seed", "norm"]).train_seconds.mean().unstack("norm").dropna()
    ratios = seconds["batch"] / seconds["none"]
    return (
        f"An epoch with batch norm took {ratios.median():.2f} times as long as one without: the median over "
        f"{len(ratios)} pairs of runs, which ranged from {ratios.min():.2f} to {ratios.max():.2f}. "
        "The runs shared the machine with one another, so the ratio says more than the seconds do."
    )


def command(epochs: pd.DataFrame, device: str, precision: str) -> str:
    """The command that makes these records again."""
    rates = " ".join(rate_name(rate) for rate in outcomes.rates(epochs))
    return (
        f'make report DATASET={epochs.dataset.iloc[0]} LEARNING_RATES="{rates}" SEEDS={epochs.seed.nunique()} '
        f"EPOCHS={int(epochs.epoch.max())} PRECISION={precision} DEVICE={device}"
    )


def setting(configs: Sequence[RunConfig]) -> str:
    """What is about to be run, in one sentence."""
    c, seeds = configs[0], len({config.seed for config in configs})
    return (
        f"**Learning rate {rate_name(c.learning_rate)}** on {DATASETS[c.dataset]}: "
        f"{plural(seeds, 'pair')} of runs, {plural(c.epochs, 'epoch')} each, batches of {c.batch_size}, {c.precision}."
    )


def page_link(learning_rate: float) -> str:
    """A link from the report to one rate's own page."""
    name = rate_name(learning_rate)
    return f"\n\nThe notebook of this rate, with its data and settings: [learning rate {name}](learning-rate-{name}.html)."


def answer_caption(epochs: pd.DataFrame) -> str:
    """The caption of the report's first figure, with its finding."""
    told = [_count_told(epochs, outcome) for outcome in (outcomes.FIRST_LOSS, outcomes.TEST_ACCURACY)]
    return (
        f"Each pair of runs is a hollow point ({plural(epochs.seed.nunique(), 'seed')} at each rate), their mean a square, the "
        "bar its paired-t 95% interval; where one pair lies far from the others, the axis is logarithmic outwards. "
        f"{'. '.join(told)}."
    )


def _count_told(epochs: pd.DataFrame, outcome: Outcome) -> str:
    rates = outcomes.rates(epochs)
    apart = sum(outcomes.compare(epochs, outcome, rate).difference.sign != 0 for rate in rates)
    return f"{outcome.title(int(epochs.epoch.max())).capitalize()} tells the arms apart at {apart} of {len(rates)} rates"


def across_caption(epochs: pd.DataFrame) -> str:
    """The caption of the figure over all rates, with its finding."""
    return (
        f"Small points are seeds ({epochs.seed.nunique()} at each rate), large ones their means, bars 95% intervals, cut off "
        "at the frame of the runs. "
        f"{_count_told(epochs, outcomes.LAST_LOSS)}."
    )


def limits(epochs: pd.DataFrame) -> str:
    """What the report cannot say, as a Markdown list."""
    seeds, rates = epochs.seed.nunique(), len(outcomes.rates(epochs))
    return "\n".join(
        (
            f"- One small network, one data set ({DATASETS[epochs.dataset.iloc[0]]}), one optimizer (Adam), one batch size, "
            f"constant learning rates, {int(epochs.epoch.max())} epochs. Nothing here speaks for other networks or data.",
            f"- {plural(seeds, 'seed')} at each of {plural(rates, 'rate')}. The intervals assume that paired differences are "
            "roughly normal, and with so few values this cannot be checked; being symmetric, an interval of an accuracy can "
            "reach beyond 100%.",
            "- Each interval stands for itself: none is widened for being one of many, so among twenty of them about one is "
            "expected to miss.",
            "- A learning rate that suits one arm may not suit the other; equal rates are compared because the question is "
            "about them.",
            "- The test set describes the runs after each epoch; nothing was chosen by it.",
            "- Seconds were measured on one machine, with several runs at once.",
            "- The same bits are promised on one kind of machine only: another instruction set or number of threads rounds "
            "differently.",
        )
    )


def reproduce(epochs: pd.DataFrame, facts: dict[str, str]) -> str:
    """The command, and where the numbers lie."""
    return (
        f"```sh\n{command(epochs, facts['device'], facts['precision'])}\n```\n\n"
        "The numbers behind this page: [epochs.csv](data/epochs.csv), a row for each epoch of each run (accuracies as "
        "fractions, losses in nats; empty where a run had diverged), [timing.csv](data/timing.csv) and "
        "[provenance.json](data/provenance.json)."
    )
