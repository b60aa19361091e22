"""What the pages say, in sentences; `captions` has those under the figures.

`%load_ext bnlib.page.prose` lets a notebook's cells that begin with `%%prose` say it: Markdown with numbers filled in.
"""

from collections.abc import Mapping
from importlib import resources
from typing import TYPE_CHECKING

from jinja2 import Environment, StrictUndefined

from bnlib.analysis.results import Results
from bnlib.experiment.config import rate_name
from bnlib.page import words
from bnlib.page.prose.answer import across_rates, answer, at_rate, difference, first, headline, lead, stability, verdicts
from bnlib.page.prose.claims import claim, note
from bnlib.page.prose.notes import (
    chains_done,
    command,
    limits,
    method,
    missing,
    no_images,
    notice,
    page_link,
    reproduce,
    runs_done,
    setting,
)
from bnlib.page.prose.phrases import always, at, by_text, count, failures, of_arm, where
from bnlib.page.prose.rates import reach
from bnlib.page.prose.sections import (
    cost,
    each_rate,
    general,
    networks,
    order,
    own_rates,
    replayed,
    soon,
    steady,
    sure,
)

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__all__ = [
    "across_rates",
    "answer",
    "at_rate",
    "because",
    "chains_done",
    "claim",
    "command",
    "cost",
    "count",
    "difference",
    "each_rate",
    "filled",
    "first",
    "general",
    "headline",
    "lead",
    "limits",
    "load_ipython_extension",
    "method",
    "missing",
    "networks",
    "no_images",
    "note",
    "notice",
    "order",
    "own_rates",
    "page_link",
    "reach",
    "replayed",
    "reproduce",
    "runs_done",
    "setting",
    "soon",
    "stability",
    "steady",
    "sure",
    "verdicts",
]

FILTERS = {
    **{"rate": rate_name, "listing": words.listing, "amount": words.amount, "percent": "{:.0%}".format},
    "decimals": lambda value, digits: f"{value:.{digits}f}".replace("-", "−"),
}
SAYS = {
    "zip": zip,
    "always": always,
    "at": at,
    "by_text": by_text,
    "count": count,
    "failures": failures,
    "of_arm": of_arm,
    "plural": words.plural,
    "where": where,
}


def filled(text: str, names: dict) -> str:
    """Markdown with what stands in `{{ }}` and `{% %}` (Jinja2) filled in from `names` and from the phrases above.

    Raises:
        jinja2.UndefinedError: it speaks of something that there is not.
    """
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)
    environment.filters |= FILTERS
    return environment.from_string(text).render(SAYS | names)


def because(found: Mapping[str, Results]) -> str:
    """Why, in short, from the results of a report's studies; empty where none of them looks into runs."""
    text = resources.files("bnlib.page").joinpath("template", "because.md.j2").read_text(encoding="utf-8")
    return " ".join(filled(text, {"look": found["inside"]}).split()) if "inside" in found else ""


def load_ipython_extension(shell: "InteractiveShell") -> None:
    """Gives a notebook cells that begin with `%%prose`: of the page they show what they say, and not how."""

    from IPython.display import Markdown, display

    def prose(line: str, cell: str) -> None:
        display(Markdown(filled(cell, shell.user_ns)))

    shell.register_magic_function(prose, "cell")
