"""Numbers, lists, arms and differences in English."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bnlib.experiment.outcomes import OUTCOMES
from bnlib.experiment.study import Study

if TYPE_CHECKING:  # it brings scipy, and words are also said where nothing is computed
    from bnlib.analysis.results import Contrast

CONSTANT = "ended as a constant: one class for every test image, or a loss that is not finite"  # what a failed run did


def plural(count: int, noun: str) -> str:
    """`1 seed`, `3 seeds`."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def listing(items: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def plain(text: str) -> str:
    """Markdown without its bold."""
    return text.replace("**", "")


def short(study: Study) -> dict[str, str]:
    """What each arm is called where there is little room, by its name: `without` and `with`, or of several `group norm`."""
    first = {arm.name: arm.label.partition(" ")[0] for arm in study.arms}
    if list(first.values()) == ["without", "with"]:
        return first
    return {arm.name: arm.label.removeprefix("with ") for arm in study.arms}


def minus(study: Study) -> str:
    """What a difference is, on axes and over columns: `with − without`, or of several arms `minus that without a norm`."""
    if len(study.arms) > 2:
        return f"minus {_that(study.arms[0].label)}"
    return " − ".join(reversed(short(study).values()))


def versus(study: Study) -> str:
    """The same in a sentence: `with minus without batch norm`, or `each arm's minus that without a norm`."""
    if len(study.arms) > 2:
        return f"each arm's {minus(study)}"
    reference, arm = study.arms
    told = short(study)
    return f"{told[arm.name]} minus {reference.label if reference.label.startswith('without') else told[reference.name]}"


def _that(label: str) -> str:
    return f"that {label}" if label.startswith("with") else f"that of {label}"


def amount(contrast: "Contrast") -> str:
    """A difference with its unit and, if it has one, its interval: `+0.03 percentage points [−0.01, +0.07]`."""
    d, outcome = contrast.difference, OUTCOMES[contrast.outcome]
    told = f"{outcome.number(d.estimate, signed=True)} {outcome.difference_unit}"
    return told + (f" [{outcome.number(d.low, signed=True)}, {outcome.number(d.high, signed=True)}]" if d.bounded else "")


def in_full(contrast: "Contrast") -> str:
    """The same as `amount`, with the pairs it comes from if these are not all, and why it has no interval."""
    d, outcome = contrast.difference, OUTCOMES[contrast.outcome]
    if not d.n:
        return "no pair in which neither run failed"
    if d.flat:
        told = f"{outcome.number(d.estimate, signed=True)} {outcome.difference_unit}"
        return f"{told} in each of {d.n} pairs, with no spread to judge it by"
    if d.n < contrast.pairs:
        return f"{amount(contrast)}, from the {d.n} of {contrast.pairs} pairs in which neither run failed"
    return amount(contrast) + ("" if d.bounded else ", from one pair")
