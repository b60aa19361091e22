"""How figures look: the arms' colours, the page's ink, axes, labels, and the SVG that they become."""

import io
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator
from numpy.typing import ArrayLike

from bnlib import words


@dataclass(frozen=True)
class Arm:
    """How an arm looks and is called in every figure and table."""

    label: str
    color: str
    linestyle: str
    marker: str


# Colours from seaborn's colour-blind palette; line styles and markers tell the arms apart without any colour.
ARMS = {
    "none": Arm(words.ARMS["none"], "#0173B2", "--", "o"),
    "batch": Arm(words.ARMS["batch"], "#DE8F05", "-", "s"),
}
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


def axes(width: float = 3.7, height: float = 2.9) -> Axes:
    """Empty axes of a figure of their own, in inches; apart from pyplot, so that nothing shows itself twice."""
    with mpl.rc_context(STYLE):
        return Figure(figsize=(width, height), layout="constrained").add_subplot()


def svg(ax: Axes) -> str:
    """The figure of `ax` as an SVG document whose ink follows the reader's light or dark theme."""
    buffer = io.StringIO()
    with mpl.rc_context(STYLE):
        ax.figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
        ax.figure.set_layout_engine("none")  # laid out once: another pass would move everything by a hair
    theme = (
        f"<style>svg{{color:{INK};background:#fff}}"
        "@media (prefers-color-scheme:dark){svg{color:#e4e6ea;background:#15171b}}</style>"
    )
    head, tag, body = buffer.getvalue().replace(INK, "currentColor").partition("<defs>")
    return head + theme + tag + body


def lack(percent: ArrayLike) -> np.ndarray:
    """What accuracies in % lack to 100%, from 0.03 up so that a logarithmic axis can hold a faultless run."""
    return np.maximum(100 - np.asarray(percent, dtype=float), 0.03)


def limits(ax: Axes, values: np.ndarray, share: bool) -> None:
    """A logarithmic axis that frames the runs themselves; a band from few seeds may be wider than the frame.

    Accuracies come as `lack` gives them: the axis is turned, and its ticks say the accuracy.
    """
    finite = values[np.isfinite(values) & (values > 0)]
    if not len(finite):
        return
    ax.set_yscale("log")
    low, high = finite.min() / 1.3, finite.max() * 1.3
    ax.set_ylim((high, low) if share else (low, high))
    if share:
        steps = ((90, 70, 50, 30, 20, 10, 5, 3, 2, 1, 0.5, 0.2, 0.1), (5, 4, 3, 2.5, 2, 1.5, 1.2, 1, 0.8, 0.6, 0.5, 0.4, 0.3))
        ticks = [error for error in steps[int(high < 6)] if low <= error <= high]
        ticks = ticks if len(ticks) > 1 else [high / 1.2, low * 1.2]  # a narrow range between two steps
        ax.yaxis.set_major_locator(FixedLocator(ticks))
        ax.yaxis.set_minor_locator(NullLocator())
        ax.set_yticklabels([f"{100 - error:.4g}" for error in ticks])


def far_pairs(differences: np.ndarray) -> float | None:
    """Where one pair lies far from the others: the size of a typical pair, rounded up to a power of ten; else None."""
    sizes = np.abs(differences[np.isfinite(differences) & (differences != 0)])
    if not len(sizes) or sizes.max() <= 20 * np.median(sizes):
        return None
    return float(10 ** np.ceil(np.log10(np.median(sizes))))


def spread(ax: Axes, threshold: float | None) -> None:
    """A horizontal axis that is linear, but logarithmic beyond `threshold` if one is given."""
    if threshold is None:
        ax.xaxis.set_major_locator(MaxNLocator(5))
        return
    ax.set_xscale("symlog", linthresh=threshold, linscale=1.5)
    ax.margins(x=0.08)
    ax.autoscale_view()
    decades, (low, high) = threshold * 10.0 ** np.arange(4), ax.get_xlim()
    ticks = [tick for tick in (*-decades[::-1], 0, *decades) if low <= tick <= high]
    ax.xaxis.set_major_locator(FixedLocator(ticks))
    ax.set_xticklabels([f"{tick:+g}".replace("-", "−") if tick else "0" for tick in ticks])


def label_lines(ax: Axes, ends: dict[str, float], gap: float = 0.17) -> None:
    """Names the lines at their right ends (norm: last value), as far apart as the letters need."""
    to_fraction = ax.transLimits.transform
    transform = ax.yaxis.get_transform().transform
    at = {norm: float(to_fraction((0, transform(value)))[1]) for norm, value in ends.items()}
    if len(at) == 2 and abs(at["none"] - at["batch"]) < gap:
        middle, up = sum(at.values()) / 2, 1 if at["none"] >= at["batch"] else -1
        at = {"none": middle + up * gap / 2, "batch": middle - up * gap / 2}
    for norm, fraction in at.items():
        ax.annotate(
            ARMS[norm].label.replace(" batch norm", "\nbatch norm"),
            (1.02, fraction),
            xycoords="axes fraction",
            color=INK,
            va="center",
            fontsize=8,
        )
