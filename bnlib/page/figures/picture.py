"""What a figure becomes: panels under one caption, each an image with the text that stands for it."""

import base64
from collections.abc import Sequence
from html import escape

from matplotlib.axes import Axes

from bnlib.page.style import svg


def describe(ax: Axes, text: str) -> Axes:
    """The panel with the text that stands for it where it cannot be seen."""
    ax.alt = text
    return ax


class Picture:
    """One or more panels under one caption, as notebooks and pages show them: each an image with its description."""

    def __init__(self, name: str, *panels: Axes, columns: int = 2, narrow: Sequence[Axes] = (), caption: str = ""):
        self.name, self.panels, self.columns, self.narrow, self.caption = name, panels, columns, narrow, caption

    def under(self, caption: str) -> "Picture":
        """The same with a caption."""
        return Picture(self.name, *self.panels, columns=self.columns, narrow=self.narrow, caption=caption)

    def __repr__(self) -> str:
        return f"Figure: {self.caption}"

    def _repr_html_(self) -> str:
        images = "".join(
            f'<img alt="{escape(ax.alt)}" src="data:image/svg+xml;base64,{base64.b64encode(svg(ax).encode()).decode()}">'
            for ax in self.panels
        )
        return (
            f'<figure id="fig-{escape(self.name)}" class="picture"><div class="panels of-{self.columns}">{images}</div>'
            f"<figcaption>{escape(self.caption)}</figcaption></figure>"
        )
