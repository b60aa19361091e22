"""How figures look and what arms are called in them: colours, the page's ink, axes, labels, and the SVG that they become."""

import contextlib
import io
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import ScaledTranslation
from scipy.optimize import isotonic_regression

from bnlib.experiment.config import LEVELS
from bnlib.experiment.study import Study


@dataclass(frozen=True)
class Look:
    """How an arm looks and is called in every figure."""

    label: str
    color: str
    linestyle: str | tuple
    marker: str


# By the place of the arm, or in a study whose arms are no product by its norm. Colours are of palettes for the colour-blind
# (seaborn's, Tol's, ColorBrewer's); line styles and markers tell the arms apart without any.
LOOKS = (
    ("#0173B2", "--", "o"),
    ("#DE8F05", "-", "s"),
    ("#029E73", "-.", "^"),
    ("#CC78BC", ":", "D"),
    ("#D55E00", (0, (5, 1, 1, 1, 1, 1)), "v"),
    ("#949494", (0, (8, 2)), "P"),
    ("#56B4E9", (0, (2, 1)), "X"),
    ("#882255", (0, (4, 1, 1, 1)), "<"),
    ("#A6761D", (0, (1, 2)), ">"),
)
LINE = 0.085  # of the height of axes: what a line of a label takes there
INK = "#1b1e23"  # becomes the page's text colour: see `svg`
STYLE = {
    "svg.hashsalt": "bnlib",  # else the ids in the file differ from run to run
    "svg.fonttype": "path",  # the same letters on every machine
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.15,
    "grid.color": INK,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
} | dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK)


@contextlib.contextmanager
def isolated(style: Mapping[str, Any] = MappingProxyType({})) -> Iterator[None]:
    """Draws a block by matplotlib's defaults and `style`, whatever the reader's matplotlibrc or an earlier cell has set."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(style)
        yield


def looks(study: Study) -> dict[str, Look]:
    """The look of each arm of a study, by its name, the reference first.

    Arms that are no product look alike in all parts of a study, whichever of them it has: first the norms, then what is none.
    """
    places = {arm.name: place for place, arm in enumerate(study.arms)}
    if study.combined:
        norms = {name: place for place, name in enumerate(LEVELS["norm"]) if place < len(LOOKS)}
        places = {arm.name: norms[arm.name] for arm in study.arms if arm.name in norms}
        free = iter([place for place in reversed(range(len(LOOKS))) if place not in places.values()])
        places |= {arm.name: next(free) for arm in study.arms if arm.name not in norms}
    return {arm.name: Look(arm.label, *LOOKS[places[arm.name]]) for arm in study.arms}


def axes(width: float = 3.4, height: float = 2.7) -> Axes:
    """Empty axes of a figure of their own, in inches; apart from pyplot, so that nothing shows itself twice."""
    with isolated(STYLE):
        return Figure(figsize=(width, height), layout="constrained").add_subplot()


def svg(ax: Axes) -> str:
    """The figure of `ax` as an SVG document whose ink follows the reader's light or dark theme."""
    buffer = io.StringIO()
    with isolated(STYLE):
        ax.figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
        ax.figure.set_layout_engine("none")  # laid out once: another pass would move everything by a hair
    theme = (
        f"<style>svg{{color:{INK};background:#fff}}"
        "@media (prefers-color-scheme:dark){svg{color:#e4e6ea;background:#15171b}}</style>"
    )
    head, tag, body = buffer.getvalue().replace(INK, "currentColor").partition("<defs>")
    return head + theme + tag + body


def side_by_side(rates: Sequence[float], count: int, apart: float) -> list[np.ndarray]:
    """Places on a logarithmic axis for each of `count` arms, a factor apart around each rate, so that no arm hides another."""
    return [np.array(rates) * (1 + apart * (2 * place - count + 1) / 2) for place in range(count)]


def label_lines(ax: Axes, ends: dict[str, float], arms: dict[str, Look]) -> None:
    """Names the lines of `ends` (arm: last value) at their right, in the order of these and as far apart as letters need.

    Of more than two `arms` each name has the arm's line and marker beside it, for it may lie some way from where the line ends.
    """
    to_fraction, transform = ax.transLimits.transform, ax.yaxis.get_transform().transform
    at = {name: float(to_fraction((0, transform(value)))[1]) for name, value in ends.items()}
    text = {name: _broken(arms[name].label, with_key=len(arms) > 2) for name in ends}
    for name, fraction in _apart(at, {name: LINE * (1 + text[name].count("\n")) for name in ends}).items():
        if len(arms) > 2:
            _key(ax, fraction, arms[name])
        where = {"xycoords": "axes fraction", "xytext": (24 if len(arms) > 2 else 0, 0), "textcoords": "offset points"}
        ax.annotate(text[name], (1.02, fraction), **where, color=INK, va="center", fontsize=8)


def legend(ax: Axes, arms: dict[str, Look]) -> None:
    """Names the arms below the axes where there are more than two; which of two is which, the caption says."""
    if len(arms) == 2:
        return
    handles = [Line2D([], [], color=a.color, linestyle=a.linestyle, marker=a.marker) for a in arms.values()]
    text = [_broken(look.label, with_key=True) for look in arms.values()]
    half = (len(text) + 1) // 2  # in two columns, which the figure grows by
    lines = max(sum(1 + label.count("\n") for label in column) for column in (text[:half], text[half:]))
    ax.figure.set_figheight(ax.figure.get_figheight() + 0.13 * lines + 0.1)
    small = {"fontsize": 7, "markerscale": 0.6, "handlelength": 3, "columnspacing": 1, "labelspacing": 0.3}
    ax.figure.legend(handles, text, loc="outside lower center", ncols=2, frameon=False, labelcolor=INK, **small)


def _apart(at: dict[str, float], heights: dict[str, float]) -> dict[str, float]:
    """Places at which things of these heights clear each other, as near to `at` as they can be; of equals the first on top."""
    order = sorted(at, key=at.get, reverse=True)[::-1]
    gaps = [(heights[low] + heights[high]) / 2 for low, high in pairwise(order)]
    steps = np.cumsum([0, *gaps])[: len(order)]
    moved = isotonic_regression([at[name] - step for name, step in zip(order, steps, strict=True)]).x if at else steps
    return dict(zip(order, np.clip(moved, 0, max(1 - sum(gaps), 0)) + steps, strict=True))


def _key(ax: Axes, fraction: float, look: Look) -> None:
    """A short piece of an arm's line, right of the axes."""
    inches = ax.figure.dpi_scale_trans + ScaledTranslation(1.02, fraction, ax.transAxes)
    line = Line2D([0, 0.15, 0.3], [0, 0, 0], transform=inches, clip_on=False, color=look.color, linestyle=look.linestyle)
    line.set(marker=look.marker, markersize=4, markevery=[1], linewidth=1.5)
    ax.add_artist(line)


def _broken(label: str, with_key: bool) -> str:
    """A label on lines short enough for the margin."""
    first, _, rest = label.partition(" ")
    if with_key:
        return textwrap.fill(label.removeprefix("with "), 16)
    return "\n".join([first, *textwrap.wrap(rest, 16)])
