"""An executed notebook as a page, and its figures as files."""

import re
from dataclasses import dataclass
from html import unescape

import nbformat
from bs4 import BeautifulSoup

from bnlib import __version__
from bnlib.page import style
from bnlib.page.figures.picture import document
from bnlib.page.html.exporter import TEMPLATE, PageExporter, highlighting
from bnlib.page.html.links import check_within
from bnlib.page.html.marks import add_contents, name_headings, number, place_byline
from bnlib.page.html.outputs import leave_out_images, refuse

HIDDEN = "hidden"  # a cell with this tag is not on the page
HIDDEN_CODE = "hidden-code"  # of a cell with this tag, only the output is
CHECKED = "nbval-check-output"  # and of one with this, only the code: its output is for a test
MAGICS = ("%%prose", "%%caption")  # a cell that begins so shows what it says
PANEL = re.compile(r'<svg class="panel".*?</svg>', re.DOTALL)

PICTURE = re.compile(  # name, columns, panels without those for narrow screens, and caption
    r'<figure id="fig-([^"]*)" class="picture"><div class="panels of-(\d+).*?>(.*?)</div>.*?<figcaption>(.*?)</figcaption>',
    re.DOTALL,
)


@dataclass(frozen=True)
class Page:
    """A page's file name, what the navigation calls it, and the name of the notebook that it is made from."""

    href: str
    label: str
    notebook: str = ""


@dataclass(frozen=True)
class About:
    """What every page of a report says of it.

    Args:
        notebooks: address of the folder of the notebooks; empty where pages lie out of its reach.
        data: addresses of the files of numbers.
        dates: between which days the runs were made.
        codes: fingerprints of the code that trained, one for each state of it.
        citation: authors, title, version and licence.
        source: address of the project.
    """

    notebooks: str = ""
    data: tuple[str, ...] = ()
    dates: str = ""
    codes: tuple[str, ...] = ()
    citation: str = ""
    source: str = ""


def render(notebook: nbformat.NotebookNode, title: str, page: Page, pages: list[Page], about: About = About()) -> str:
    """An executed notebook as HTML, the same bytes each time.

    Figures and tables are numbered in their order, headings get ids and anchors, and contents list them. A link to `#fig-NAME`
    or `#tab-NAME` whose text is `Figure` or `Table` gets the number as its text. `pages[0]` is the report's first page.

    Raises:
        ValueError: a link points to a place that the page lacks, two places share an id, or an output is refused.
    """
    resources = {
        "title": title,
        "page": page,
        "pages": pages,
        "about": about,
        "style": (TEMPLATE / "style.css").read_text(encoding="utf-8") + style.variables(),
        "highlight": highlighting(),
        "version": __version__,
    }
    shown = _shown(notebook)
    drawn = _take_panels(shown)
    html, _ = PageExporter().from_notebook_node(shown, resources)
    soup = BeautifulSoup(html, "html.parser")
    refuse(soup)
    leave_out_images(soup)
    name_headings(soup)
    number(soup, files=file_name(page, "{name}"))
    add_contents(soup)
    place_byline(soup)
    check_within(soup)
    return re.sub(r'<svg data-panel="(\d+)"></svg>', lambda place: drawn[int(place[1])], str(soup))


def _take_panels(notebook: nbformat.NotebookNode) -> list[str]:
    """Puts a mark in each panel's place: HTML parsers take long over them and change their letters."""
    drawn: list[str] = []

    def mark(panel: re.Match) -> str:
        drawn.append(panel[0])
        return f'<svg data-panel="{len(drawn) - 1}"></svg>'

    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if html := output.get("data", {}).get("text/html"):
                output["data"]["text/html"] = PANEL.sub(mark, html)
    return drawn


def file_name(page: Page, name: str) -> str:
    """Where the file of a figure on a page lies beside it."""
    return f"figures/{page.href.removesuffix('.html')}-{name}.svg"


def pictures(notebook: nbformat.NotebookNode, page: Page) -> dict[str, str]:
    """The figures of an executed notebook as SVG documents, by the names of their files."""
    html = "".join(
        output.get("data", {}).get("text/html", "") for cell in _shown(notebook).cells for output in cell.get("outputs", [])
    )
    found = {}
    for name, columns, wide, caption in PICTURE.findall(html):
        found[file_name(page, unescape(name))] = document(PANEL.findall(wide), int(columns), unescape(caption))
    return found


def _shown(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The cells that readers see: not the hidden ones, nor the defaults where parameters were given."""

    def tags(cell: nbformat.NotebookNode) -> list[str]:
        return cell.metadata.get("tags", [])

    given = any("injected-parameters" in tags(cell) for cell in notebook.cells)
    unseen = {HIDDEN, "parameters"} if given else {HIDDEN}
    if any({HIDDEN, "parameters"} <= set(tags(cell)) for cell in notebook.cells):
        unseen.add("injected-parameters")  # nor what was given in the place of hidden ones
    shown = nbformat.from_dict(notebook)
    shown.cells = [cell for cell in shown.cells if not unseen.intersection(tags(cell))]
    for cell in shown.cells:
        if HIDDEN_CODE in tags(cell) or cell.source.startswith(MAGICS):
            cell.metadata["transient"] = {"remove_source": True}
        if CHECKED in tags(cell):
            cell.outputs = []
    return shown
