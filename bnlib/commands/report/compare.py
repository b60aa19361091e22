"""Two files that should be one: what a report has, beside what follows from its records. The first difference, in words."""

import csv
import difflib
import re
from itertools import zip_longest
from pathlib import Path

from bs4 import BeautifulSoup

RELATIVE, ABSOLUTE = 1e-9, 1e-12  # that another machine's last bits can come to in a number that is computed
AHEAD = 60  # words after the first difference in which the end of it is looked for
LONGEST = 12  # words of a difference that are said
IMAGES = "the-data"  # the section of a page that shows a data set's images


def difference(there: Path, anew: Path, drawn: bool = True, images: bool = True) -> str:
    """What is other in a report's file than in the one made anew; empty where nothing is.

    Args:
        drawn: whether the same versions drew both: pages and figures then have the same bytes, else pages the same words.
        images: whether both could show the data set's images; else that section of a page is passed over.
    """
    if not there.is_file():
        return "is no file" if there.exists() else "is missing"
    a, b = there.read_bytes(), anew.read_bytes()
    if a == b or (there.suffix == ".svg" and not drawn):
        return ""
    try:
        kind = {".csv": _tables, ".html": _pages, ".json": _lines}.get(there.suffix)
        told = kind(a.decode(), b.decode(), images) if kind else ""
    except (ValueError, csv.Error) as error:  # not what its name says
        return f"cannot be read ({error})"
    if told or there.suffix == ".csv" or (there.suffix == ".html" and not (drawn and images)):
        return told
    return "has other bytes in its figures or markup, though no other words" if there.suffix == ".html" else "has other bytes"


def _said(a: str | None, b: str | None) -> str:
    if not a or not b:
        return f"says `{a}`, which should not be there" if a else f"lacks `{b}`"
    return f"says `{a}`, should be `{b}`"


def _tables(there: str, anew: str, _: bool) -> str:
    """The first cell of a table that is other, numbers up to another machine's last bits."""
    rows = [list(csv.reader(text.splitlines())) for text in (there, anew)]
    if rows[0][:1] != rows[1][:1]:
        return f"has the columns {','.join(*rows[0][:1])}, should have {','.join(*rows[1][:1])}" if rows[0] else "is empty"
    for number, (a, b) in enumerate(zip_longest(*rows), start=1):
        if a is None or b is None:
            return f"has {len(rows[0]) - 1} rows, should have {len(rows[1]) - 1}"
        for column, x, y in zip_longest(rows[0][0], a, b):
            if x != y and not _close(x, y):
                return f"line {number}, {column}: {_said(x, y)}"
    return ""


def _close(a: str, b: str) -> bool:
    try:
        x, y = float(a), float(b)
    except (TypeError, ValueError):
        return False
    return abs(x - y) <= max(ABSOLUTE, RELATIVE * abs(y))


def _lines(there: str, anew: str, _: bool) -> str:
    pairs = zip_longest(there.splitlines(), anew.splitlines(), fillvalue="")
    return next((_said(a.strip(), b.strip()) for a, b in pairs if a != b), "")


def _pages(there: str, anew: str, images: bool) -> str:
    """The first words of a page that are other."""
    a, b = (_words(text, images) for text in (there, anew))
    same = next((i for i, (x, y) in enumerate(zip_longest(a, b)) if x != y), None)
    if same is None:
        return ""
    a, b = a[same : same + AHEAD], b[same : same + AHEAD]
    changes = difflib.SequenceMatcher(None, a, b, autojunk=False).get_opcodes()
    _, i, j, k, m = next(change for change in changes if change[0] != "equal")
    return _said(_shortened(a[i:j]), _shortened(b[k:m]))


def _shortened(words: list[str]) -> str:
    return " ".join([*words[:LONGEST], *["…"] * (len(words) > LONGEST)])


def _words(html: str, images: bool) -> list[str]:
    """What a page says, pictures by their alternative text."""
    soup = BeautifulSoup(html, "html.parser")
    for picture in soup.find_all(role="img"):
        picture.replace_with(f" {picture.get('aria-label', '')} ")
    heading = soup.find(id=IMAGES)
    if images or not heading:
        return soup.get_text(" ").split()
    for part in list(heading.next_siblings):
        if part.name == "h2":
            break
        part.extract()
    # One figure less, and all behind it have other numbers.
    return re.sub(r"\b(Figure|Table) \d+", r"\1", " ".join(soup.get_text(" ").split())).split()
