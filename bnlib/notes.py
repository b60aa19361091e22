"""What a page says besides its findings: on which data, with what settings, within which limits, how to make it again."""

from collections.abc import Sequence

import pandas as pd

from bnlib import lost_runs, outcomes, records
from bnlib.config import RunConfig, rate_name
from bnlib.statistics import ENOUGH
from bnlib.words import listing, plural

DATASETS = {
    "mnist": "MNIST",
    "fashion_mnist": "Fashion-MNIST",
    "digits": "the 1,797 digits of scikit-learn",
}
PRECISIONS = {"fp32": "32-bit floats (fp32)", "bf16": "matrix products in bfloat16 (bf16)"}
FALLBACK = (
    "**This is not MNIST.** MNIST was not in the data folder and could not be downloaded, so every number here comes "
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


def setting(configs: Sequence[RunConfig]) -> str:
    """What is run, in one sentence."""
    c, seeds = configs[0], len({config.seed for config in configs})
    return (
        f"**Learning rate {rate_name(c.learning_rate)}** on {DATASETS[c.dataset]}: {plural(seeds, 'pair')} of runs, "
        f"{plural(c.epochs, 'epoch')} each, batches of {c.batch_size}, {PRECISIONS[c.precision]}."
    )


def chain(configs: Sequence[RunConfig]) -> str:
    """What is run of the original's chain, in one sentence."""
    c, seeds = configs[0], len({config.seed for config in configs})
    rates = listing([rate_name(rate) for rate in (c.learning_rate, *c.later_rates)])
    return (
        f"**The chain, at {rates} in turn,** on {DATASETS[c.dataset]}: {plural(seeds, 'pair')} of networks, "
        f"{plural(c.epochs, 'epoch')} at each rate, batches of {c.batch_size}, {PRECISIONS[c.precision]}."
    )


def span(configs: Sequence[RunConfig]) -> str:
    """What is run over the range of rates, in one sentence."""
    c, seeds = configs[0], len({config.seed for config in configs})
    rates = sorted({config.learning_rate for config in configs})
    return (
        f"**{plural(len(rates), 'learning rate')} from {rate_name(rates[0])} to {rate_name(rates[-1])}** on "
        f"{DATASETS[c.dataset]}: {plural(seeds, 'pair')} of runs at each, {plural(c.epochs, 'epoch')}, "
        f"batches of {c.batch_size}, {PRECISIONS[c.precision]}."
    )


def chains_done(epochs: pd.DataFrame) -> str:
    """How many chains there were, in one sentence."""
    chains, lost = len(epochs.drop_duplicates(["norm", "seed"])), len(lost_runs.diverged(epochs))
    return f"{plural(chains, 'chain')} of {plural(int(epochs.epoch.max()), 'epoch')} at each rate; {lost} diverged."


def method(epochs: pd.DataFrame) -> str:
    """How differences are judged on the page."""
    seeds = epochs.seed.nunique()
    if seeds < 2:
        return "With one pair of runs at each rate no difference can be judged."
    which = (
        "by the exact permutation test: if the arms do not differ, each pair's difference could as well have had the other "
        "sign. Its interval [(Hartigan, 1969)](https://doi.org/10.1080/01621459.1969.10501057) supposes besides that "
        "differences spread evenly about their centre. Where some runs do not learn they do not: there the interval's ends are "
        "not to be relied on, and in how many pairs batch norm is better says more than the mean"
        if seeds >= ENOUGH
        else f"by the paired t test, which supposes normal differences; from {ENOUGH} pairs on it is the exact permutation test"
    )
    return (
        "*How differences are judged.* The seed is the unit, and the arms are paired by it. They are compared "
        f"{which}. "
        "A difference is said to be there where its interval excludes zero and its p, adjusted over the rates (Holm, 1979), is "
        "below 5%; else the arms are not told apart."
    )


def runs_done(epochs: pd.DataFrame) -> str:
    """How many runs there were, in one sentence."""
    runs = len(epochs.drop_duplicates(["norm", "learning_rate", "seed"]))
    return f"{plural(runs, 'run')} of {plural(int(epochs.epoch.max()), 'epoch')}; {len(lost_runs.diverged(epochs))} diverged."


def page_link(learning_rate: float) -> str:
    """A link from the report to one rate's own page."""
    name = rate_name(learning_rate)
    return f"\n\nThe notebook of this rate, with its data and settings: [learning rate {name}](learning-rate-{name}.html)."


def limits(epochs: pd.DataFrame) -> str:
    """What the report cannot say, as a Markdown list."""
    seeds, rates = epochs.seed.nunique(), len(outcomes.rates(epochs))
    dataset, last = DATASETS[epochs.dataset.iloc[0]], plural(int(epochs.epoch.max()), "epoch")
    items = [
        f"One optimiser (Adam), one batch size, constant learning rates, {last}, one kind of machine, on which all runs were "
        "made. Nothing here speaks for other networks, data or optimisers.",
        f"{plural(seeds, 'seed')} at each of {plural(rates, 'rate')}."
        + (
            ""
            if seeds >= ENOUGH
            else " The intervals assume that paired differences are roughly normal, which so few values cannot show."
            if seeds > 1
            else " No difference on this page has an interval."
        )
        + " The intervals of each arm's own mean are Student's t, and can reach values that cannot occur: a loss below zero, "
        "an accuracy above 100%.",
        "Where a run does not learn, a mean over runs is of two kinds of runs and describes neither.",
        "That the arms are not told apart does not show that they are equal.",
        "p values are adjusted over the rates of an outcome, not over outcomes: of the many that the page looks at, one may "
        "stand out by chance.",
        "The same seeds serve every rate, so the rates are not independent of one another. The intervals cover chance in the "
        "initial weights and in the order of the images, not in the choice of the test images.",
        "A learning rate that suits one arm may not suit the other; equal rates are compared because the question is about "
        "them.",
        "The test set is used again and again to describe the runs. No network and no setting was chosen by it, but which "
        "rates count as usable and which runs as lost is read off it. Claims on test accuracy hold for these test images.",
        "The thresholds of accuracy, the margins and the tests were chosen when runs on MNIST had been seen.",
        "On a CPU, the same command gives the same bits on the same machine. Another processor, or other code for the same "
        "arithmetic, rounds differently, and its runs then differ from these as those of other seeds would: a verdict near the "
        "line can turn. For a GPU nothing is promised.",
    ]
    lead = f"**These runs speak for one small network on one data set ({dataset}), trained by one optimiser.**"
    return f"{lead}\n\n" + "\n".join(f"- {item}" for item in items)


def command(epochs: pd.DataFrame, facts: dict[str, str]) -> str:
    """The command that makes these records again."""
    controlled, span = (records.of(epochs, protocol) for protocol in (records.CONTROLLED, records.RANGE))
    rates, wide = (" ".join(rate_name(rate) for rate in outcomes.rates(table)) for table in (controlled, span))
    return (
        f'make report DATASET={epochs.dataset.iloc[0]} LEARNING_RATES="{rates}" SEEDS={controlled.seed.nunique()} '
        f'EPOCHS={facts["epochs"]} STUDY_SEEDS={span.seed.nunique()} RANGE_RATES="{wide}" PRECISION={facts["precision"]} '
        f"DEVICE={facts['device']}"
    )


def reproduce(epochs: pd.DataFrame, facts: dict[str, str]) -> str:
    """The command, and where the numbers lie."""
    return (
        f"```sh\n{command(epochs, facts)}\n```\n\n"
        "The numbers behind this page: [epochs.csv](data/epochs.csv), a row for each epoch of each run (accuracies as "
        "fractions, losses in nats; empty where a run had diverged), [runs.csv](data/runs.csv) and "
        "[claims.csv](data/claims.csv), what is read off it and how the claims are judged, [timing.csv](data/timing.csv) "
        "(seconds, taken while other runs may have shared the machine) and [provenance.json](data/provenance.json)."
    )
