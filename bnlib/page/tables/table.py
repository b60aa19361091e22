"""A table as HTML, with a caption and header cells that screen readers follow; and how its cells are written."""

from html import escape
from typing import NamedTuple

import numpy as np

from bnlib.analysis.results import Contrast, Results
from bnlib.analysis.statistics import Interval, Spread
from bnlib.experiment.outcomes import OUTCOMES, Outcome
from bnlib.experiment.study import Study
from bnlib.page.words import minus, short, slug


class Table(NamedTuple):
    """A table under its title and its caption; the first cell of each row is its header. Without rows it shows nothing.

    The title is a label. What is to be said of the table is said where it is shown, as `under` has it.

    The table is at `#tab-NAME`; a row whose first cell is `First step` at `#NAME.first-step`, the second of that name at
    `#NAME.first-step-2`. It scrolls where it is too wide: a browser lets the keyboard reach it only then.
    """

    name: str
    title: str
    columns: list[str]
    rows: list[list[str]]
    caption: str = ""

    def under(self, caption: str) -> "Table":
        """The same with a caption."""
        return self._replace(caption=caption)

    @property
    def told(self) -> str:
        """What stands over it: the title, then the caption."""
        return " ".join(filter(None, [f"{self.title}." if self.title else "", self.caption]))

    def __repr__(self) -> str:
        return f"Table: {self.told}"

    def _repr_html_(self) -> str:
        if not self.rows:
            return ""
        head, body, name, taken = "", "", escape(self.name), set()
        for cell in self.columns:
            head += f'<th scope="col">{escape(cell)}</th>'
        for first, *rest in self.rows:
            taken.add(place := slug(first, taken))
            body += f'<tr id="{name}.{place}"><th scope="row">{escape(first)}</th>'
            body += f"{''.join(f'<td>{escape(cell)}</td>' for cell in rest)}</tr>"
        return (
            f'<figure id="tab-{name}" class="table"><figcaption>{escape(self.told)}</figcaption><div class="scroll">'
            f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div></figure>"
        )


def interval(outcome: Outcome, value: Interval, signed: bool = False) -> str:
    """`98.90` and, on a line of its own, `[98.71, 99.09]`; only the estimate where there is no interval."""
    text = outcome.number(value.estimate, signed)
    if not value.bounded:
        return text
    ends = outcome.ends(value.low, value.high) if signed else (outcome.number(value.low), outcome.number(value.high))
    return f"{text}\n[{', '.join(ends)}]"


def spread(outcome: Outcome, value: Spread) -> str:
    """A median and, on a line of its own, the range: `98.90` and `98.71 to 99.09`; of epochs that never came, `never`."""
    if not value.n:
        return "–"
    median, least, most = ("never" if np.isinf(x) else outcome.number(x) for x in (value.median, value.least, value.most))
    return f"{median}\n{least} to {most}" if value.n > 1 else median


def times(ratio: Contrast) -> str:
    """A ratio of largest rates and, on a line of its own, its interval if it has one.

    `≥` stands before the least that it can be, `~` before one that more rates could move either way.
    """
    if np.isnan(ratio.estimate):
        return "–"
    ends = f"\n[{ratio.low:.1f}, {ratio.high:.1f}]" if ratio.difference.bounded else ""
    return f"{'≥ ' * ratio.is_least}{'~ ' * ratio.is_open}{ratio.estimate:.1f}{ends}"


def p_value(p: float) -> str:
    """`0.023`, `< 0.001`, or a dash."""
    return "–" if np.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"


def share(value: Interval) -> str:
    """A share of runs as `1 of 3` and its interval."""
    if not value.n:
        return "–"
    return f"{round(value.estimate * value.n)} of {value.n}\n[{value.low:.0%}, {value.high:.0%}]"


# Of two arms a row compares both. Of more, each but the reference has a row of its own, which names it.


def heads(study: Study, head: str) -> dict[str, str]:
    """The first cell of the row of each arm but the reference, by the arm's name."""
    if len(study.arms) == 2:
        return {study.arms[1].name: head}
    return {arm.name: f"{head}, {arm.label}" for arm in study.arms[1:]}


def columns(study: Study) -> list[str]:
    """What stands over the reference's values and over those of the other arm, in few words."""
    return list(short(study).values()) if len(study.arms) == 2 else [study.arms[0].label, "in this arm"]


def long_columns(study: Study) -> list[str]:
    """The same in full, and what stands over their difference."""
    if len(study.arms) == 2:
        return [*(arm.label for arm in study.arms), f"difference, {minus(study)}"]
    return [*columns(study), f"difference, this arm − {study.arms[0].label}"]


def both(study: Study, arm: str, cells: dict[str, str]) -> list[str]:
    """The reference's cell and that of `arm`, from a cell for each arm; of several rows the first alone has the reference's."""
    return [cells[study.arms[0].name] if arm == study.arms[1].name else "", cells[arm]]


def compared(results: Results, name: str, rate: float, arm: str) -> list[str]:
    """The cells of an outcome: where the reference's runs that learned lie, where those of `arm`, and the paired difference."""
    told = {each.name: spread(OUTCOMES[name], results.spread(name, each.name, rate)) for each in results.study.arms}
    difference = results.one(name, arm, rate).difference
    return [*both(results.study, arm, told), interval(OUTCOMES[name], difference, signed=True)]
