"""Sentences with numbers: Markdown that is filled in from what a notebook has, by Jinja2.

`%load_ext bnlib.page.prose` gives a notebook two kinds of cells. One that begins with `%%prose` says what it holds; one that
begins with `%%caption` and a name shows the figure or table of that name, with what the cell holds as its caption. What is
said in several places stands in `page/template/prose`, which either kind can include.
"""

from functools import cache
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined

from bnlib import plural
from bnlib.analysis.results import MARGIN
from bnlib.analysis.thresholds import USABLE
from bnlib.experiment.config import DATASETS, FITTED, rate_name
from bnlib.experiment.outcomes import FIT, OUTCOMES, SETTLED
from bnlib.page import words
from bnlib.page.prose.command import command
from bnlib.page.prose.phrases import PHRASES

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__all__ = ["command", "filled", "load_ipython_extension", "said"]

FILTERS = {
    **{"rate": rate_name, "rounded": words.rounded, "percent": "{:.0%}".format, "slug": words.slug, "capital": words.capital},
    **{"amount": words.amount, "estimate": words.estimate, "ends": words.ends, "listing": words.listing},
    "decimals": lambda value, digits: f"{value:.{digits}f}".replace("-", "−"),
}
SAYS = PHRASES | {
    "command": command,
    **{"plural": plural, "constant": words.CONSTANT, "DATASETS": DATASETS, "titles": OUTCOMES},
    **{
        "USABLE": USABLE,
        "MARGIN": MARGIN,
        "SETTLED": SETTLED,
        "FIT": FIT,
        "FITTED": FITTED,
        "zip": zip,
        "min": min,
        "max": max,
    },
}


@cache
def _environment() -> Environment:
    """Undefined names are errors, and a line that only decides leaves no trace."""
    loader = PackageLoader("bnlib.page", "template/prose")
    environment = Environment(loader=loader, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)
    environment.filters |= FILTERS
    environment.globals |= SAYS
    return environment


def filled(text: str, names: dict) -> str:
    """Markdown with what stands in `{{ }}` and `{% %}` (Jinja2) filled in from `names` and from the phrases above.

    Raises:
        jinja2.UndefinedError: it speaks of something that there is not.
    """
    return _environment().from_string(text).render(names)


def said(template: str, **names: object) -> str:
    """A template of `page/template/prose`, by its name without ending, filled in.

    Raises:
        jinja2.UndefinedError: as `filled` does.
    """
    return _environment().get_template(f"{template}.md.j2").render(names).strip()


def load_ipython_extension(shell: "InteractiveShell") -> None:
    """Gives a notebook the two kinds of cells: of both the page shows what they say, and not how."""

    from IPython.display import Markdown, display

    def text(cell: str) -> str:
        try:
            return filled(cell, shell.user_ns)
        except Exception as error:  # whose traceback would lead into a template, where IPython finds no Python
            raise ValueError(f"{type(error).__name__} in what the cell says: {error}") from None

    def prose(line: str, cell: str) -> None:
        display(Markdown(text(cell)))

    def caption(line: str, cell: str) -> None:
        display(shell.ev(line).under(" ".join(text(cell).split())))

    for magic in (prose, caption):
        shell.register_magic_function(magic, "cell")
