"""Numbers, lists, arms and differences in English."""

import re
from collections.abc import Container, Sequence
from itertools import chain, count
from typing import TYPE_CHECKING

from bnlib.experiment.config import rate_name
from bnlib.experiment.outcomes import OUTCOMES
from bnlib.experiment.study import Study

if TYPE_CHECKING:  # it brings scipy, and words are also said where nothing is computed
    from bnlib.analysis.results import Contrast

CONSTANT = "gave every test image the same class, or had a loss that is not finite"  # what a failed run did


def rounded(rate: float) -> str:
    """A rate that lies between those that were tried, in three digits."""
    return rate_name(float(f"{rate:.3g}"))


def capital(text: str) -> str:
    """The text with a capital first."""
    return text[:1].upper() + text[1:]


def listing(items: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def slug(text: str, taken: Container[str] = ()) -> str:
    """What a place is called in an address: `learning-rate-0.001`, and where that is taken, `learning-rate-0.001-2`."""
    name = re.sub(r"[^\w.]+", "-", text.lower()).strip("-")
    return next(each for each in chain([name], (f"{name}-{number}" for number in count(2))) if each not in taken)


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


def estimate(contrast: "Contrast") -> str:
    """A difference with its unit: `+0.38 points`; of a ratio how many times as large."""
    outcome = OUTCOMES[contrast.outcome]
    return f"{outcome.number(contrast.estimate, signed=True)} {outcome.difference_unit.removeprefix('percentage ')}"


def ends(contrast: "Contrast") -> str:
    """The ends of its interval, without a unit: `+0.21 to +0.53`; empty where it has none."""
    d, outcome = contrast.difference, OUTCOMES[contrast.outcome]
    return " to ".join(outcome.ends(d.low, d.high)) if d.bounded else ""


def amount(contrast: "Contrast") -> str:
    """Both: `+0.38 points (+0.21 to +0.53)`."""
    return estimate(contrast) + (f" ({ends(contrast)})" if ends(contrast) else "")
