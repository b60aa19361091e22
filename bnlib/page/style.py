"""How figures look and what arms are called in them: colours on light and on dark paper, axes, and labels."""

import contextlib
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

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


# By the place of the arm, or in a study whose arms are no product by its norm: colour on light paper, line, marker. Colours are
# of the hues of palettes for the colour-blind (seaborn's, Tol's, ColorBrewer's), dark enough for lines that let paper through;
# line styles and markers tell the arms apart without any.
LOOKS = (
    ("#0173B2", "--", "o"),
    ("#B36200", "-", "s"),
    ("#017A59", "-.", "^"),
    ("#A8479A", ":", "D"),
    ("#C24E00", (0, (5, 1, 1, 1, 1, 1)), "v"),
    ("#6B6B6B", (0, (8, 2)), "P"),
    ("#007B8A", (0, (2, 1)), "X"),
    ("#882255", (0, (4, 1, 1, 1)), "<"),
    ("#85580F", (0, (1, 2)), ">"),
)
ON_DARK = ("#4BA3DE", "#F0A93A", "#2BC49A", "#D992CB", "#F0833A", "#A8A8A8", "#5CC8D6", "#D96FA3", "#CFA05A")
PAPER, DARK_PAPER, DARK_INK = "#ffffff", "#15171b", "#e4e6ea"
HALF = 3.42  # inches: two panels so wide stand in a row of the page, one fits a screen of 360 pixels
LINE = 0.095  # of the height of axes: what a line of a label takes there
INK = "#1b1e23"  # becomes the text colour of what is around a figure
STYLE = {
    "svg.hashsalt": "bnlib",  # else the ids in the file differ from run to run
    "svg.fonttype": "none",  # text is text
    "font.size": 9,  # points: 12 CSS pixels
    "axes.titlesize": 9,
    "axes.formatter.min_exponent": 4,  # 0.001, and no exponent in small letters
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.15,
    "grid.color": INK,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
} | dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK)


@contextlib.contextmanager
def isolated() -> Iterator[None]:
    """Draws a block by matplotlib's defaults and `STYLE`, whatever the reader's matplotlibrc or an earlier cell has set."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
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


def axes(width: float = HALF, height: float = 2.7) -> Axes:
    """Empty axes of a figure of their own, in inches; apart from pyplot, so that nothing shows itself twice."""
    with isolated():
        return Figure(figsize=(width, height), layout="constrained").add_subplot()


def theme() -> str:
    """A style sheet for a file of its own with a figure in it: colours on paper, and on dark paper where a reader has that."""
    dark = "".join(
        f'[{what}="{light.lower()}"]{{{what}:{colour}}}'
        for (light, *_), colour in zip(LOOKS, ON_DARK, strict=True)
        for what in ("stroke", "fill")
    )
    paper = f"svg:root{{background:{PAPER}}}"
    return f"{paper}@media(prefers-color-scheme:dark){{svg:root{{background:{DARK_PAPER};color:{DARK_INK}}}{dark}}}"


def variables() -> str:
    """The same for a page, whose style sheet may use the arms' colours: `--arm-0` is that of the first."""
    declared, used = [], []
    for place, ((light, *_), dark) in enumerate(zip(LOOKS, ON_DARK, strict=True)):
        declared.append(f"--arm-{place}:light-dark({light},{dark})")
        # By no class around: a marker that is used again stands, for a selector, in nothing.
        used += [f'[{what}="{light.lower()}"]{{{what}:var(--arm-{place})}}' for what in ("stroke", "fill")]
    return f":root{{{';'.join(declared)}}}\n{''.join(used)}"


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
        ax.annotate(text[name], (1.02, fraction), **where, color=INK, va="center", fontsize=8.5)


def legend(ax: Axes, arms: dict[str, Look]) -> None:
    """Names the arms below the axes where there are more than two; which of two is which, the caption says."""
    if len(arms) == 2:
        return
    handles = [Line2D([], [], color=a.color, linestyle=a.linestyle, marker=a.marker) for a in arms.values()]
    text = [_broken(look.label, with_key=True) for look in arms.values()]
    columns = 2 if ax.figure.get_figwidth() > 3 else 1
    half = -(-len(text) // columns)
    lines = max(sum(1 + label.count("\n") for label in column) for column in (text[:half], text[half:]))  # the figure grows by
    ax.figure.set_figheight(ax.figure.get_figheight() + 0.16 * lines + 0.1)
    small = {"fontsize": 8.5, "markerscale": 0.6, "handlelength": 3, "columnspacing": 1, "labelspacing": 0.3}
    ax.figure.legend(handles, text, loc="outside lower center", ncols=columns, frameon=False, labelcolor=INK, **small)


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
