"""The answer, in sentences: what each arm buys and what it costs; nothing is said more strongly than its interval allows."""

from collections.abc import Iterator, Sequence
from typing import get_args

from bnlib.analysis.claims import Claim, Verdict
from bnlib.analysis.results import FAILED, WITHIN, Contrast, Results
from bnlib.analysis.statistics import ALPHA
from bnlib.experiment.config import DATASETS, rate_name
from bnlib.experiment.outcomes import OUTCOMES, TABLE
from bnlib.experiment.study import Arm, Study
from bnlib.page.prose.phrases import DEFINED, at, by_sign, capital, compared, failing, failures, is_pair, noun
from bnlib.page.words import in_full, listing, plural

SPEED, ACCURACY = "train_loss_first", "test_accuracy_last"
SHORT = {SPEED: "epoch-1 training loss", ACCURACY: "test accuracy"}
LONG = {SPEED: "training loss in the first epoch", ACCURACY: "test accuracy"}


def difference(contrast: Contrast, study: Study) -> str:
    """What one outcome of one arm shows at one rate, in one sentence."""
    what, told = OUTCOMES[contrast.outcome].title(study.epochs), in_full(contrast)
    direction = "higher" if contrast.sign > 0 else "lower"
    if is_pair(study):
        if contrast.n == 0:
            return f"In {what} the arms cannot be compared: {told}."
        if contrast.sign == 0:
            return f"In {what} these runs do not tell the arms apart: {told}."
        return f"The {what} was {direction} {study.arms[1].label}: {told}."
    arm = next(arm for arm in study.arms if arm.name == contrast.arm)
    if contrast.n == 0:
        return f"In {what} runs {arm.label} cannot be compared with runs {study.arms[0].label}: {told}."
    if contrast.sign == 0:
        return f"In {what} runs {arm.label} are not told apart from runs {study.arms[0].label}: {told}."
    return f"The {what} was {direction} {arm.label} than {study.arms[0].label}: {told}."


def at_rate(results: Results, rate: float) -> str:
    """What one learning rate shows: an item for each outcome of the table, as a Markdown list."""
    names = {OUTCOMES[name].title(results.study.epochs): name for name in TABLE}  # in runs of one epoch, first and last once
    items = [_item(results, name, rate) for name in names.values()]
    return "\n".join(f"- {item}" for item in [*items, stability(results, rate)])


def _item(results: Results, name: str, rate: float) -> str:
    """What one outcome shows at one rate, in one sentence."""
    study, found = results.study, results.find(name, rate=rate)
    if is_pair(study):
        return difference(found[0], study)
    arms = {arm.label: c for arm, c in zip(results.others, found, strict=True)}
    text = by_sign(arms, "was lower", "was higher", "was not told apart", "could not be compared")
    return f"{compared(study, f'{OUTCOMES[name].title(study.epochs)} {text}')}."


def headline(results: Results, rate: float) -> str:
    """A heading for one learning rate that claims what the data bear: first speed, then test accuracy."""
    joint = ", " if is_pair(results.study) else "; "
    return f"Learning rate {rate_name(rate)}: {joint.join(_in_short(results, name, rate) for name in SHORT)}"


def _in_short(results: Results, name: str, rate: float) -> str:
    """`lower epoch-1 training loss with batch norm`; of several arms those that are told apart."""
    found, labels = results.find(name, rate=rate), {arm.name: arm.label for arm in results.study.arms}
    told = []
    for sign, word in ((-1, "lower"), (1, "higher")):
        arms = [labels[c.arm] for c in found if c.sign == sign]
        what = "" if told else f" {SHORT[name]}"
        told += [f"{word}{what} {listing(arms)}"] if arms else []
    if not told:
        return f"{SHORT[name]} {'not told apart' if any(c.n for c in found) else 'not to be compared'}"
    return ", ".join(told)


def stability(results: Results, rate: float | None = None) -> str:
    """Which runs failed, of all or of one rate, and whether that may be chance."""
    rates = [found for found in failing(results) if rate in (None, found)]
    if not rates:
        runs = results.runs if rate is None else results.runs[results.runs.learning_rate == rate]
        return f"No run {DEFINED} (0 of {len(runs)})."
    told = [f"At {rate_name(r)}, {failures(results, r)} {'failed' if i else DEFINED}." for i, r in enumerate(rates)]
    for r in rates:
        told.append(_chance(results, r, several=len(rates) > 1))
    return " ".join(filter(None, told))


def _chance(results: Results, rate: float, several: bool) -> str:
    """That arms may fail unequally often by chance, where that is so; `several`: there are other rates with failures."""
    open_ = [c for c in results.find("failed", rate=rate, kind=FAILED) if ALPHA <= c.p < 1]
    here = f" at {rate_name(rate)}" if several else ""
    if not open_:
        return ""
    if is_pair(results.study):
        return f"That one arm fails more{here} may be chance (p {open_[0].p:.2f})."
    labels = {arm.name: arm.label for arm in results.study.arms}
    arms = listing([f"{labels[c.arm]} (p {c.p:.2f})" for c in open_])
    return f"That the count{here} differs from that {results.study.arms[0].label} may be chance {arms}."


def lead(results: Results) -> str:
    """The answer in a sentence, of several arms one for each: what was bought, at what cost, where nothing can be shown."""
    study = results.study
    if study.seeds < 2:
        one = "one pair of runs" if is_pair(study) else "one run of each arm"
        return f"With {one} at each learning rate, nothing can be told apart from chance."
    failed = [f"{failures(results)} failed"] if failing(results) else []
    told = [list(_bought(results, arm)) for arm in results.others]
    if is_pair(study):
        return f"In these runs {'; '.join(told[0] + failed)}."
    first, *rest = ("; ".join(clauses) for clauses in told)
    start = f"In these runs, compared with those {study.arms[0].label}, {first}"
    return " ".join(f"{sentence}." for sentence in [start, *map(capital, rest), *failed])


def _bought(results: Results, arm: Arm) -> Iterator[str]:
    """What an arm bought, what it cost, and in what it was not told apart, a clause each."""
    bought, cost, unclear = [], [], []
    for name, what in LONG.items():
        better = 1 if OUTCOMES[name].higher_is_better else -1
        words = ("higher", "lower") if better > 0 else ("lower", "higher")
        found = results.find(name, arm.name)
        gained, lost = ([c.learning_rate for c in found if c.sign * better == sign] for sign in (1, -1))
        bought += [f"a {words[0]} {what} at {at(gained)}"] if gained else []
        cost += [f"a {words[1]} {what} at {at(lost)}"] if lost else []
        unclear += [] if gained or lost else [what]
    yield f"{noun(arm)} bought {listing(bought) if bought else 'nothing that can be shown'}"
    if cost:
        yield f"it cost {listing(cost)}"
    if unclear:
        yield f"in {listing(unclear)} {'the arms were' if is_pair(results.study) else 'it was'} told apart at no rate"


def answer(results: Results) -> str:
    """The answer in one paragraph: in short, then speed, test accuracy and stability with their numbers."""
    study = results.study
    last, dataset, pair = plural(study.epochs, "epoch"), DATASETS[study.held["dataset"]], is_pair(study)
    minus = "with minus without" if pair else f"each arm minus that {study.arms[0].label}"
    brackets = (
        f"in square brackets 95% intervals of the paired difference, {minus}" if study.seeds > 1 else "hence no intervals"
    )
    runs = (
        f"{plural(study.seeds, 'pair')} of runs of" if pair else f"{plural(study.seeds, 'run')} of each arm, paired by seed, of"
    )
    setting = f"On {dataset}, {runs} {last} at each learning rate; {brackets}."
    told = [_across(results, name) for name in LONG]
    return " ".join([f"**{lead(results)}**", setting, *told, stability(results)])


def _across(results: Results, name: str) -> str:
    """One outcome over all the rates: where it was lower, where higher, where nothing can be said."""
    title = OUTCOMES[name].title(results.study.epochs)
    told = "; ".join(_over_rates(results, name, arm) for arm in results.others)
    return f"{compared(results.study, f'{title} {told}')}."


def _over_rates(results: Results, name: str, arm: Arm) -> str:
    """`was lower with batch norm at 0.001 (...), and did not tell the arms apart at 0.01 (...)`; where no pair, named first."""
    found = {rate_name(c.learning_rate): c for c in results.find(name, arm.name)}
    absent = "could not be compared at"
    if is_pair(results.study):
        lower, higher = (f"was {word} {arm.label} at" for word in ("lower", "higher"))
        return by_sign(found, lower, higher, "did not tell the arms apart at", absent)
    return f"{arm.label} {by_sign(found, 'was lower at', 'was higher at', 'was not told apart at', absent)}"


def across_rates(results: Results) -> str:
    """How each arm's test accuracy changed from the lowest rate to the highest, paired by seed; empty at one rate."""
    if len(results.rates) == 1:
        return ""
    told = []
    for arm in results.study.arms:
        change = results.one(ACCURACY, arm.name, kind=WITHIN)
        verdict = {-1: "it fell", 0: "its direction is not settled", 1: "it rose"}[change.sign]
        told.append(f"{arm.label} by {in_full(change)} ({verdict})" if change.n else f"{arm.label} it cannot be said")
    title, (low, *_, high) = OUTCOMES[ACCURACY].title(results.study.epochs), results.rates
    change = f"From {rate_name(low)} to {rate_name(high)} {title} changed"
    return f"**{change}, over pairs of the same seed, {listing(told)}.**"


def verdicts(claims: Sequence[Claim]) -> str:
    """Which claims came to which verdict, in one sentence."""
    order = get_args(Verdict)
    groups = {verdict: [claim for claim in claims if claim.verdict == verdict] for verdict in order}
    told = [
        f"{len(chosen)} {verdict} ({'; '.join(claim.name[0].lower() + claim.name[1:] for claim in chosen)})"
        for verdict, chosen in groups.items()
        if chosen
    ]
    return f"**Of the original's {len(claims)} claims these runs leave {listing(told)}.**"


def first(text: str) -> str:
    """The sentence in bold with which a section's text opens; the whole text where it has none."""
    return text.split("**")[1] if "**" in text else text
