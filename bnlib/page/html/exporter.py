"""nbconvert with a template of our own."""

import re
import sys
from pathlib import Path

from jinja2 import pass_context
from latex2mathml.converter import convert as to_mathml
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from pygments.styles import get_style_by_name
from pygments.token import STANDARD_TYPES

TEMPLATE = Path(__file__).parents[1] / "template"
PLUMBING = re.compile(r"\s*(#|%|import |from \S+ import |$)")  # lines that say nothing of what a cell does
LONGEST = 40  # characters of a cell's first line that are told


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
        self.register_filter("gist", gist)

    @pass_context
    def markdown2html(self, context, source: str) -> str:
        """The filter of this name in the template."""
        return MarkdownWithMath(renderer=MathMLRenderer(escape=False, exclude_anchor_links=True)).render(source)


def gist(source: str) -> str:
    """The first line of a cell that does something, cut short."""
    line = next((line.strip() for line in source.splitlines() if not PLUMBING.match(line)), "")
    return line if len(line) <= LONGEST else f"{line[:LONGEST].rstrip()}…"


def highlighting() -> str:
    """Colours for code, legible on light and on dark paper."""
    light, dark = (get_style_by_name(f"a11y-high-contrast-{paper}") for paper in ("light", "dark"))
    rules = []
    for token, name in STANDARD_TYPES.items():
        colours = [style.style_for_token(token)["color"] for style in (light, dark)]
        if name and all(colours):
            rules.append(f".highlight .{name}{{color:light-dark({','.join(f'#{colour}' for colour in colours)})}}")
    return "\n".join(rules)
