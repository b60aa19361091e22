"""Phrases that several sentences share: arms, rates, where an outcome differs, how many runs failed."""

from collections.abc import Mapping, Sequence

from bnlib import plural
from bnlib.analysis.results import CELL, Results
from bnlib.analysis.statistics import ALPHA, Interval
from bnlib.experiment.config import rate_name
from bnlib.experiment.study import Arm, Study
from bnlib.page.words import listing

NO_OTHER, FEW, NO_PAIR = "not seen to differ", "too few pairs to tell", "not to be compared"


def is_pair(study: Study) -> bool:
    """Whether there are two arms, one without what the other is with: then `with batch norm` says what it is held against."""
    reference, *others = study.arms
    return [arm.label for arm in others] == [f"with {reference.label.removeprefix('without ')}"]


def over(study: Study) -> str:
    """Over what the p values of an outcome are adjusted."""
    return "rates" if len(study.arms) == 2 else "arms and rates"


def noun(arm: Arm) -> str:
    """The arm as the subject of a sentence: `batch norm`, `going without batch norm`."""
    return f"going {arm.label}" if arm.label.startswith("without ") else arm.label.removeprefix("with ")


def at(rates: Sequence[float]) -> str:
    """`0.001, 0.005 and 0.01`."""
    return listing([rate_name(rate) for rate in rates])


def where(
    results: Results,
    outcome: str,
    lower: str,
    higher: str,
    neither: str = NO_OTHER,
    *,
    named: bool = True,
    kind: str = CELL,
) -> str:
    """Where an outcome is lower and where higher: `lower with batch norm at 0.001, not seen to differ at 0.01`.

    Where they are no pair each is named first: `with batch norm lower at 0.001; with group norm ...`.

    Args:
        lower: what an arm is where its outcome lies below the reference's.
        higher: where above.
        neither: where no difference could be seen.
        named: whether a pair's arm is named.
        kind: of contrast.
    """
    if is_pair(results.study):
        (arm,) = results.others
        label = f" {arm.label}" if named else ""
        return _of_arm(results, outcome, arm.name, f"{lower}{label}", f"{higher}{label}", neither, kind)
    return by_text({arm.label: _of_arm(results, outcome, arm.name, lower, higher, neither, kind) for arm in results.others})


def _of_arm(results: Results, outcome: str, arm: str, lower: str, higher: str, neither: str, kind: str) -> str:
    """Where one arm's outcome is `lower` than the reference's, `higher`, `neither`, or left open as few pairs learned."""
    rates: dict[int | str, list[float]] = {-1: [], 1: [], 0: [], FEW: [], NO_PAIR: []}
    for c in results.find(outcome, arm, kind=kind):
        rates[c.sign or (NO_PAIR if not c.n else FEW if c.least_p >= ALPHA else 0)].append(c.learning_rate)
    phrases = {-1: lower, 1: higher, 0: neither, FEW: FEW, NO_PAIR: NO_PAIR}
    return ", ".join(f"{told} at {at(rates[sign])}" for sign, told in phrases.items() if rates[sign])


def always(results: Results, outcome: str, sign: int, kind: str = CELL, at: float | None = None) -> str:
    """The labels of the arms that an outcome tells apart from the reference at every rate, or `at` one, in this direction.

    Args:
        sign: 1 or -1; 0: at none of the rates, though at each more than half of the pairs could be compared.
        kind: of contrast.
    """
    arms = {arm.label: results.find(outcome, arm.name, at, kind) for arm in results.others}
    signs = {label: {FEW if not c.sign and 2 * c.n <= c.pairs else c.sign for c in its} for label, its in arms.items()}
    found = [label for label, its in signs.items() if its == {sign}]
    return _all_but([*arms], found) or labelled(found or ["none of them"])


def _all_but(labels: Sequence[str], found: Sequence[str]) -> str:
    """`with all but group norm`, where that is shorter than to name them."""
    rest = [label for label in labels if label not in found]
    shorter = len(rest) == 1 < len(found) and all(label.startswith("with ") for label in labels)
    return f"with all but {rest[0].removeprefix('with ')}" if shorter else ""


def labelled(labels: Sequence[str]) -> str:
    """Labels of arms, with what they all begin with once: `with batch norm, group norm and leaky ReLU`."""
    shared = "with " if all(label.startswith("with ") for label in labels) else ""
    return shared + listing([label.removeprefix(shared) for label in labels])


def by_text(told: Mapping[str, str], several: str = "") -> str:
    """What is said of each arm, by its label; where of some the same: `with batch norm and group norm lower at 0.001`.

    Args:
        several: what follows where it is said of more than one: `each`.
    """
    labels: dict[str, list[str]] = {}
    for label, text in told.items():
        labels.setdefault(text, []).append(label)
    return "; ".join(
        f"{labelled(arms)} {text}{f' {several}' if several and len(arms) > 1 else ''}" for text, arms in labels.items()
    )


def count(share: Interval, noun: str = "") -> str:
    """A share as counts: `2 of 8`, or of a noun `2 of 8 runs`."""
    return f"{round(share.estimate * share.n) if share.n else 0} of {plural(share.n, noun) if noun else share.n}"


def failures(results: Results, rate: float | None = None, arms: Sequence[Arm] = ()) -> str:
    """How many runs of each arm failed, of all or of one rate: `2 of 8 runs without batch norm and 0 of 8 with it`.

    Args:
        arms: of which arms, if not of all.
    """
    first, *others = arms or results.study.arms
    pair = is_pair(results.study)
    told = [f"{count(results.failed(first.name, rate), 'run')} {first.label}"]
    told += [f"{count(results.failed(arm.name, rate))} {'with it' if pair else arm.label}" for arm in others]
    return listing(told)


def failed_at(results: Results, rate: float) -> str:
    """The same of many arms, those with as many together: `without a norm 2 of 8; with group and layer norm 0 of 8 each`."""
    return by_text({arm.label: count(results.failed(arm.name, rate)) for arm in results.study.arms}, "each")


SAID = (always, at, by_text, count, failed_at, failures, is_pair, noun, over, where)
PHRASES = {phrase.__name__: phrase for phrase in SAID}
