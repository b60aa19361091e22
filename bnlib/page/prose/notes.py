"""What a page says besides its findings: on which data, with what settings, within which limits, how to make it again."""

from collections.abc import Mapping

import pandas as pd

from bnlib.analysis.results import Results
from bnlib.analysis.statistics import enough
from bnlib.experiment.config import DATASETS, rate_name
from bnlib.experiment.settings import ALWAYS, LATER
from bnlib.experiment.study import Study
from bnlib.page.prose.phrases import DEFINED, adjusted, at, is_pair, noun
from bnlib.page.words import plural

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


def no_images(dataset: str) -> str:
    """What stands in the place of a data set's images where there are none."""
    named = DATASETS[dataset]
    return f"*The images of {named} are not on the machine that made this page. The runs below were made where they are.*"


def missing(study: Study, epochs: pd.DataFrame) -> str:
    """What was asked for and is not in the records; empty where all is there."""
    lines = [line.replace("_", " ") for line in study.missing(epochs)]
    return f"**Runs are missing: {'; '.join(lines)}.**" if lines else ""


def setting(study: Study) -> str:
    """What is run, in one sentence: at one rate, at several, or along a chain."""
    c = study.configs[0]
    rates = study.rates or (c.learning_rate,)
    epochs = plural(study.epochs, "epoch")
    if c.later_rates:
        what = f"The chain, at {at([c.learning_rate, *c.later_rates])} in turn,"
        done = f"{_each(study, 'network')}, {epochs} at each rate"
    elif len(rates) == 1:
        what, done = f"Learning rate {rate_name(rates[0])}", f"{_each(study, 'run')}, {epochs} each"
    else:
        what = f"{plural(len(rates), 'learning rate')} from {rate_name(rates[0])} to {rate_name(rates[-1])}"
        done = f"{_each(study, 'run')} at each, {epochs}"
    return f"**{what}** on {DATASETS[c.dataset]}: {done}, batches of {c.batch_size}, {PRECISIONS[c.precision]}."


def _each(study: Study, noun: str) -> str:
    """`8 pairs of runs`, or of several arms `8 runs in each of 4 arms`."""
    if len(study.arms) == 2:
        return f"{plural(study.seeds, 'pair')} of {noun}s"
    return f"{plural(study.seeds, noun)} in each of {len(study.arms)} arms"


def runs_done(results: Results) -> str:
    """How many runs there were, in one sentence."""
    runs = results.runs
    return f"{plural(len(runs), 'run')} of {plural(results.study.epochs, 'epoch')}; {_failed(int(runs.failed.sum()))}."


def chains_done(results: Results) -> str:
    """How many chains there were, in one sentence."""
    failed = results.runs.groupby(["arm", "seed"]).failed.any()
    epochs = plural(results.study.epochs, "epoch")
    return f"{plural(len(failed), 'chain')} of {epochs} at each rate; {_failed(int(failed.sum()))}."


def _failed(count: int) -> str:
    return f"{count} {DEFINED if count else 'failed'}"


def method(study: Study) -> str:
    """How differences are judged on the page."""
    pair, least = is_pair(study), enough(study.family)
    if study.seeds < 2:
        return f"With {'one pair of runs' if pair else 'one run of each arm'} at each rate no difference can be judged."
    better = noun(study.arms[1]) if pair else "an arm"
    which = (
        "by the exact permutation test: if the arms do not differ, each pair's difference could as well have had the other "
        "sign. Its interval [(Hartigan, 1969)](https://doi.org/10.1080/01621459.1969.10501057) supposes besides that "
        "differences spread evenly about their centre. Where some runs fail they do not: there the interval's ends are "
        f"not to be relied on, and in how many pairs {better} is better says more than the mean"
        if study.seeds >= least
        else f"by the paired t test, which supposes normal differences; from {least} pairs on it is the exact permutation test"
    )
    who = "They are compared" if pair else f"Each is compared with the reference, the arm {study.arms[0].label},"
    return (
        "*How differences are judged.* The seed is the unit, and the arms are paired by it. "
        f"{who} {which}. "
        "A difference is said to be there where its interval excludes zero and its p, adjusted over the "
        f"{adjusted(study)} (Holm, 1979), is below 5%; else the {'arms' if pair else 'two'} are not told apart."
    )


def page_link(learning_rate: float) -> str:
    """A link from the report to one rate's own page."""
    name = rate_name(learning_rate)
    return f"\n\nThe notebook of this rate, with its data and settings: [learning rate {name}](learning-rate-{name}.html)."


def limits(results: Results) -> str:
    """What the report cannot say, as a Markdown list."""
    study = results.study
    seeds, dataset, other = study.seeds, DATASETS[study.held["dataset"]], "the other" if len(study.arms) == 2 else "another"
    items = [
        f"One optimiser (Adam), one batch size, constant learning rates, {plural(study.epochs, 'epoch')}, and the "
        "[machines](#tab-machines) on which the runs were made. Nothing here speaks for other networks, data or optimisers.",
        f"{plural(seeds, 'seed')} at each of {plural(len(results.rates), 'rate')}.{_few(study)}",
        "A run that failed is counted, and is in no mean.",
        "That the arms are not told apart does not show that they are equal.",
        f"p values are adjusted over the {adjusted(study)} of an outcome, not over outcomes: of the many that the page looks "
        "at, one may stand out by chance.",
        "The same seeds serve every rate, so the rates are not independent of one another. The intervals cover chance in the "
        "initial weights and in the order of the images, not in the choice of the test images.",
        f"A learning rate that suits one arm may not suit {other}; equal rates are compared because the question is about "
        "them.",
        "The test set is used again and again to describe the runs. No network and no setting was chosen by it, but which "
        "rates count as usable and which runs as failed is read off it. Claims on test accuracy hold for these test images.",
        "The thresholds of accuracy, the margins and the tests were chosen when runs on MNIST had been seen.",
        "On a CPU, the same command gives the same bits on the same machine. Another processor, or other code for the same "
        "arithmetic, rounds differently, and its runs then differ from these as those of other seeds would: a verdict near the "
        "line can turn. For a GPU nothing is promised.",
    ]
    lead = f"**These runs speak for one small network on one data set ({dataset}), trained by one optimiser.**"
    return f"{lead}\n\n" + "\n".join(f"- {item}" for item in items)


def _few(study: Study) -> str:
    """What few seeds cannot show."""
    if study.seeds < 2:
        return " No difference on this page has an interval."
    if study.seeds < enough(study.family):
        return " The intervals assume that paired differences are roughly normal, which so few values cannot show."
    return ""


def command(studies: Mapping[str, Study], facts: Mapping[str, str]) -> str:
    """The command that makes these records again.

    Args:
        studies: those of the report by name, parts put together.
        facts: the report's provenance.
    """
    each, span = studies["learning_rate"], studies["learning_rate_range"]
    rates, wide = (" ".join(map(rate_name, study.rates)) for study in (each, span))
    arms, later = " ".join(str(arm.levels["norm"]) for arm in each.arms), [name for name in LATER if name in studies]
    more = f' STUDIES="{" ".join((*ALWAYS, *later))}"' if later else ""
    return (
        f'make report DATASET={each.held["dataset"]} ARMS="{arms}" LEARNING_RATES="{rates}" SEEDS={each.seeds} '
        f'EPOCHS={each.epochs} STUDY_SEEDS={span.seeds} RANGE_RATES="{wide}" PRECISION={facts["precision"]} '
        f"DEVICE={facts['device']}{more}"
    )


def reproduce(studies: Mapping[str, Study], facts: Mapping[str, str]) -> str:
    """The command, and where the numbers lie."""
    looks = "[steps.csv](data/steps.csv), what was seen inside runs, " if "inside" in studies else ""
    return (
        f"```sh\n{command(studies, facts)}\n```\n\n"
        "The numbers behind this page: [epochs.csv](data/epochs.csv), a row for each epoch of each run (accuracies as "
        "fractions, losses in nats; empty where a run had diverged), [outcomes.csv](data/outcomes.csv), "
        "[contrasts.csv](data/contrasts.csv) and [claims.csv](data/claims.csv), what is read off it, how the arms differ and "
        f"how the claims are judged, {looks}[runs.csv](data/runs.csv), what made each run, [timing.csv](data/timing.csv) "
        "(seconds, taken while other runs may have shared the machine) and [provenance.json](data/provenance.json)."
    )
