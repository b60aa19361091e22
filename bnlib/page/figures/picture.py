"""What a figure becomes: panels under one caption, each an inline SVG whose text is text, with the words that stand for it."""

import io
import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from html import escape
from itertools import groupby

from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG

from bnlib.page.style import INK, isolated, theme

TITLE = "title:"  # an artist whose gid begins so says the rest under the pointer
STACK = "DejaVu Sans, Bitstream Vera Sans, Verdana, Geneva, sans-serif"  # as wide as what matplotlib measures with
GAP = 16  # CSS pixels between the panels of a file
CSS_PER_POINT = 4 / 3
DIGITS = re.compile(r"-?\d+\.\d{3,}")  # a hundredth of a point is less than any screen shows
INDENT = re.compile("^ +")  # which SVG would drop
REFERENCE = re.compile(r"url\(#(.+?)\)")


def describe(ax: Axes, text: str) -> Axes:
    """The panel with the text that stands for it where it cannot be seen."""
    ax.alt = text
    return ax


class Picture:
    """One or more panels under one caption, as notebooks and pages show them: each an SVG with its description.

    Nothing is scaled: a panel for two in a row is 3.42 inches wide at most, which also fits a screen of 360 pixels. Without any
    panel there is no figure.

    Args:
        name: of the figure; it is at `#fig-NAME`.
        columns: at most so many panels stand in a row.
        narrow: other panels for screens on which these would have to be scrolled; a reader gets the ones or the others.
    """

    def __init__(self, name: str, *panels: Axes, columns: int = 2, narrow: Sequence[Axes] = (), caption: str = ""):
        self.name, self.panels, self.columns, self.narrow, self.caption = name, panels, columns, narrow, caption

    def under(self, caption: str) -> "Picture":
        """The same with a caption."""
        return Picture(self.name, *self.panels, columns=self.columns, narrow=self.narrow, caption=caption)

    def __repr__(self) -> str:
        return f"Figure: {self.caption}"

    def _repr_html_(self) -> str:
        if not self.panels:
            return ""
        kind = f"of-{min(self.columns, len(self.panels))}{' wide' if self.narrow else ''}"
        wide = f'<div class="panels {kind}">{self._drawn(self.panels, "")}</div>'
        # Hidden but where the page's style sheet shows it in the other's place.
        narrow = f'<div class="panels of-1 narrow" hidden>{self._drawn(self.narrow, "n")}</div>' if self.narrow else ""
        caption = f"<figcaption>{escape(self.caption)}</figcaption>"
        return f'<figure id="fig-{escape(self.name)}" class="picture">{wide}{narrow}{caption}</figure>'

    def _drawn(self, panels: Sequence[Axes], kind: str) -> str:
        return "".join(svg(ax, f"{self.name}-{kind}{number}-") for number, ax in enumerate(panels, start=1))


def svg(ax: Axes, prefix: str = "") -> str:
    """The figure of `ax` as an `<svg>` element for a page, the same each time.

    Its ink is the text colour around it, and the arms' colours follow `style.theme`. It is drawn at its size in inches.

    Args:
        prefix: of all ids in it, for pages with several.
    """
    buffer, figure = io.StringIO(), ax.figure
    with isolated():
        if layout := figure.get_layout_engine():
            FigureCanvasSVG(figure)  # in which letters are as wide as in the file
            layout.execute(figure)
            figure.set_layout_engine(None)  # laid out once: `savefig` would draw all for it, another time move it by a hair
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    root = ET.fromstring(buffer.getvalue())
    for child in root.findall("./{*}metadata") + [
        each for each in root.findall("./{*}defs") if each.find("{*}style") is not None
    ]:
        root.remove(child)
    width, height = (f"{float(root.get(side).removesuffix('pt')) * CSS_PER_POINT:g}" for side in ("width", "height"))
    view = root.get("viewBox")
    root.attrib.clear()  # names of other vocabularies, and sizes in points
    for element in root.iter():
        _plain(element)
    _name_ids(root, prefix)
    root.attrib |= {"class": "panel", "role": "img", "aria-label": ax.alt, "width": width, "height": height, "viewBox": view}
    root.attrib |= {"font-family": STACK, "stroke-linejoin": "round"}
    return ET.tostring(root, encoding="unicode").replace(f'"{INK}"', '"currentColor"')


def document(panels: Sequence[str], columns: int, caption: str) -> str:
    """Panels as `svg` gives them, at most so many in a row, as an SVG file that follows the reader's light or dark theme."""
    placed, top, widest = [], 0.0, 0.0
    for start in range(0, len(panels), columns):
        left = tallest = 0.0
        for panel in panels[start : start + columns]:
            width, height = (float(re.search(rf'\b{side}="([\d.]+)"', panel)[1]) for side in ("width", "height"))
            placed.append(panel.replace("<svg ", f'<svg x="{left:g}" y="{top:g}" ', 1))
            left, tallest = left + width + GAP, max(tallest, height)
        top, widest = top + tallest + GAP, max(widest, left)
    size = f'width="{widest - GAP:g}" height="{top - GAP:g}" viewBox="0 0 {widest - GAP:g} {top - GAP:g}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" color="{INK}"><title>{escape(caption, quote=False)}</title>'
        f"<style>{theme()}</style>{''.join(placed)}</svg>\n"
    )


def _plain(element: ET.Element) -> None:
    """No vocabularies, no style sheets in attributes, no digits that nobody sees, no spaces but in text."""
    element.tag = element.tag.partition("}")[2]
    attributes = {name.partition("}")[2] or name: value for name, value in element.attrib.items()}
    for declaration in filter(None, attributes.pop("style", "").split(";")):
        name, _, value = declaration.partition(":")
        attributes[name.strip()] = value.strip()
    attributes.pop("font-family", None)
    if "rotate(-0 " in attributes.get("transform", ""):
        del attributes["transform"]
    if "d" in attributes:
        attributes["d"] = " ".join(attributes["d"].split())
    element.attrib.clear()
    for name, value in attributes.items():
        element.set(name, value if name in ("id", "href") else DIGITS.sub(_rounded, value))
    if element.tag in ("text", "tspan"):
        element.text = INDENT.sub(lambda spaces: "\N{NO-BREAK SPACE}" * len(spaces[0]), element.text or "")
    else:
        element.text = None
    element.tail = None
    if element.tag == "text" and len(element):
        _join(element)


def _rounded(number: re.Match) -> str:
    return f"{float(number[0]):.2f}".rstrip("0").rstrip(".")


def _join(text: ET.Element) -> None:
    """Letters of a formula that stand in a row become words again."""
    letters = list(text)
    text[:] = []
    text.text = None
    for _, row in groupby(letters, lambda letter: (letter.get("y"), letter.get("font-size"))):
        first, *rest = row
        first.text = "".join([first.text or "", *(letter.text or "" for letter in rest)])
        text.append(first)


def _name_ids(root: ET.Element, prefix: str) -> None:
    """Ids that are referred to get the prefix; of the others only titles are left, as such."""
    used = {name for element in root.iter() for value in element.attrib.values() for name in REFERENCE.findall(value)}
    used |= {value[1:] for element in root.iter() if (value := element.get("href", "")).startswith("#")}
    for element in list(root.iter()):
        name = element.attrib.pop("id", "")
        if name.startswith(TITLE):
            title = ET.Element("title")
            title.text = name.removeprefix(TITLE)
            element.insert(0, title)
        elif name in used:
            element.set("id", prefix + name)
        for key, value in element.attrib.items():
            if key == "href" and value.startswith("#"):
                element.set(key, f"#{prefix}{value[1:]}")
            elif "url(#" in value:
                element.set(key, REFERENCE.sub(rf"url(#{prefix}\1)", value))
