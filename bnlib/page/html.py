"""nbconvert with a template of our own: an executed notebook becomes one HTML file without scripts or requests."""

import base64
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import nbformat
from bs4 import BeautifulSoup, Tag
from jinja2 import pass_context
from latex2mathml.converter import convert as to_mathml
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from pygments.formatters import HtmlFormatter

from bnlib import __version__

TEMPLATE = Path(__file__).parent / "template"
HIDDEN = "hidden"  # a cell with this tag is not on the page
HIDDEN_CODE = "hidden-code"  # of a cell with this tag, only the output is
MAGICS = ("%%prose", "%%caption")  # and of one that begins so
KINDS = {"picture": "Figure", "table": "Table"}


@dataclass(frozen=True)
class Page:
    """A page's file name, and what the navigation calls it."""

    href: str
    label: str


class MathMLRenderer(IPythonRenderer):
    """Markdown to HTML with TeX as MathML, which browsers draw without a script."""

    def inline_math(self, body: str) -> str:
        return to_mathml(body)

    def block_math(self, body: str) -> str:
        return to_mathml(body, display="block")


class PageExporter(HTMLExporter):
    """nbconvert's HTML exporter with the template in `template`."""

    def __init__(self, **options):
        # No template of the reader's: only nbconvert's own, which this environment has, and ours.
        own = [str(path) for path in (Path(sys.prefix) / "share/jupyter/nbconvert/templates",) if path.is_dir()]
        options |= {"template_data_paths": own} if own else {}
        super().__init__(template_name=TEMPLATE.name, extra_template_basedirs=[str(TEMPLATE.parent)], **options)

    @pass_context
    def markdown2html(self, context, source: str) -> str:
        """The filter of this name in the template."""
        return MarkdownWithMath(renderer=MathMLRenderer(escape=False, exclude_anchor_links=True)).render(source)


def render(notebook: nbformat.NotebookNode, title: str, page: Page, pages: list[Page]) -> str:
    """An executed notebook as HTML, the same bytes each time.

    Figures and tables are numbered in their order, headings get ids, and a table of contents precedes the second
    heading. A link to `#fig-NAME` or `#tab-NAME` gets the number as its text.

    Raises:
        ValueError: a link points to a place that the page lacks, or two places share an id.
    """
    resources = {
        "title": title,
        "href": page.href,
        "pages": pages,
        "style": (TEMPLATE / "style.css").read_text(encoding="utf-8"),
        "highlight": _highlighting(),
        "version": __version__,
    }
    html, _ = PageExporter().from_notebook_node(_shown(notebook), resources)
    soup = BeautifulSoup(html, "html.parser")
    _give_ids(soup)
    _number(soup)
    _add_contents(soup)
    _check_links(soup)
    return str(soup)


def pictures(notebook: nbformat.NotebookNode, name: str) -> list[str]:
    """The SVG documents of the figure called `name` in an executed notebook, a panel each."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            figure = BeautifulSoup(output.get("data", {}).get("text/html", ""), "html.parser").find(id=f"fig-{name}")
            if figure:
                return [base64.b64decode(img["src"].partition(",")[2]).decode() for img in figure.find_all("img")]
    return []


def _shown(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The cells that readers see: not the hidden ones, nor the defaults where parameters were given."""

    def tags(cell: nbformat.NotebookNode) -> list[str]:
        return cell.metadata.get("tags", [])

    given = any("injected-parameters" in tags(cell) for cell in notebook.cells)
    unseen = {HIDDEN, "parameters"} if given else {HIDDEN}
    shown = nbformat.from_dict(notebook)
    shown.cells = [cell for cell in shown.cells if not unseen.intersection(tags(cell))]
    for cell in shown.cells:
        if HIDDEN_CODE in tags(cell) or cell.source.startswith(MAGICS):
            cell.metadata["transient"] = {"remove_source": True}
    return shown


def _highlighting() -> str:
    """Colours for code, legible on light and on dark paper."""
    light, dark = (
        HtmlFormatter(style=style, nobackground=True).get_style_defs(".highlight")
        for style in ("a11y-high-contrast-light", "a11y-high-contrast-dark")
    )
    return f"{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}"


def _give_ids(soup: BeautifulSoup) -> None:
    taken = {tag["id"] for tag in soup.find_all(id=True)}
    for heading in soup.find_all(["h2", "h3"]):
        slug = re.sub(r"[^\w.]+", "-", heading.get_text().lower()).strip("-")
        name, count = slug, 1
        while name in taken:
            count += 1
            name = f"{slug}-{count}"
        taken.add(name)
        heading["id"] = name


def _number(soup: BeautifulSoup) -> None:
    counts = dict.fromkeys(KINDS.values(), 0)
    names = {}
    for figure in soup.find_all("figure"):
        kind = next((KINDS[c] for c in figure.get("class", []) if c in KINDS), None)
        caption = figure.find("figcaption")
        if kind and caption:
            counts[kind] += 1
            names[f"#{figure['id']}"] = f"{kind} {counts[kind]}"
            label = soup.new_tag("b")
            label.string = f"{kind} {counts[kind]}."
            caption.insert(0, label, " ")
    for link in soup.find_all("a", href=names.get):
        link.string = names[link["href"]]


def _add_contents(soup: BeautifulSoup) -> None:
    title, headings = soup.find("h1"), soup.find_all(["h2", "h3"])
    if not title or not headings:
        return
    outer = soup.new_tag("ol")
    for heading in headings:
        if heading.name == "h2" or not outer.contents:
            outer.append(_entry(soup, heading))
        else:
            last = outer.contents[-1]
            (last.find("ol") or last.append(soup.new_tag("ol")) or last.find("ol")).append(_entry(soup, heading))
    nav = soup.new_tag("nav", attrs={"class": "contents", "aria-label": "Contents"})
    label = soup.new_tag("p")
    label.string = "Contents"
    nav.extend([label, outer])
    headings[0].insert_before(nav)


def _entry(soup: BeautifulSoup, heading: Tag) -> Tag:
    entry, link = soup.new_tag("li"), soup.new_tag("a", href=f"#{heading['id']}")
    link.string = heading.get_text()
    entry.append(link)
    return entry


def _check_links(soup: BeautifulSoup) -> None:
    ids = [tag["id"] for tag in soup.find_all(id=True)]
    twice = {name for name in ids if ids.count(name) > 1}
    if twice:
        raise ValueError(f"the page uses an id twice: {', '.join(sorted(twice))}")
    for link in soup.find_all("a", href=re.compile("^#")):
        if link["href"][1:] not in ids:
            raise ValueError(f"the page links to {link['href']}, which it lacks")
