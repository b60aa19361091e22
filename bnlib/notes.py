"""What a page says besides its findings: on which data, with what settings, within which limits, how to make it again."""

from collections.abc import Sequence

import pandas as pd

from bnlib import outcomes
from bnlib.config import RunConfig, rate_name
from bnlib.words import plural

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


def runs_done(epochs: pd.DataFrame) -> str:
    """How many runs there were, in one sentence."""
    runs = len(epochs.drop_duplicates(["norm", "learning_rate", "seed"]))
    return f"{plural(runs, 'run')} of {plural(int(epochs.epoch.max()), 'epoch')}; {len(outcomes.diverged(epochs))} diverged."


def page_link(learning_rate: float) -> str:
    """A link from the report to one rate's own page."""
    name = rate_name(learning_rate)
    return f"\n\nThe notebook of this rate, with its data and settings: [learning rate {name}](learning-rate-{name}.html)."


def limits(epochs: pd.DataFrame) -> str:
    """What the report cannot say, as a Markdown list."""
    seeds, rates = epochs.seed.nunique(), len(outcomes.rates(epochs))
    dataset, last = DATASETS[epochs.dataset.iloc[0]], plural(int(epochs.epoch.max()), "epoch")
    items = [
        f"One small network, one data set ({dataset}), one optimiser (Adam), one batch size, constant learning rates, {last}. "
        "Nothing here speaks for other networks or data.",
        f"{plural(seeds, 'seed')} at each of {plural(rates, 'rate')}."
        + (
            " The intervals assume that paired differences are roughly normal. With so few values this can hardly be checked, "
            "and where a run does not learn it plainly fails: such an interval says only that these pairs do not settle the "
            "size of the difference. Being symmetric, intervals can reach values that cannot occur: a loss below zero, an "
            "accuracy above 100%."
            if seeds > 1
            else " No difference on this page has an interval."
        ),
        "That the arms are not told apart does not show that they are equal.",
        f"The answer rests on {plural(2 * rates, 'comparison')}, each interval standing for itself: none is widened for being "
        "one of several, so one that barely excludes zero should be read with care.",
        "The same seeds serve every rate, so the rates are not independent of one another. The intervals cover chance in the "
        "initial weights and in the order of the images, not in the choice of the test images.",
        "A learning rate that suits one arm may not suit the other; equal rates are compared because the question is about "
        "them.",
        "The test set describes the runs after each epoch; nothing was chosen by it.",
        "On a CPU, the same command gives the same bits on the same machine; another processor may round differently, and for "
        "a GPU nothing is promised.",
    ]
    return "\n".join(f"- {item}" for item in items)


def command(epochs: pd.DataFrame, facts: dict[str, str]) -> str:
    """The command that makes these records again."""
    rates = " ".join(rate_name(rate) for rate in outcomes.rates(epochs))
    return (
        f'make report DATASET={epochs.dataset.iloc[0]} LEARNING_RATES="{rates}" SEEDS={epochs.seed.nunique()} '
        f"EPOCHS={facts['epochs']} PRECISION={facts['precision']} DEVICE={facts['device']}"
    )


def reproduce(epochs: pd.DataFrame, facts: dict[str, str]) -> str:
    """The command, and where the numbers lie."""
    return (
        f"```sh\n{command(epochs, facts)}\n```\n\n"
        "The numbers behind this page: [epochs.csv](data/epochs.csv), a row for each epoch of each run (accuracies as "
        "fractions, losses in nats; empty where a run had diverged), [timing.csv](data/timing.csv) "
        "(seconds, taken while other runs may have shared the machine) and [provenance.json](data/provenance.json)."
    )
