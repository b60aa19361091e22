"""The figures: one function each, which draws on `ax`, leaves a description for those who cannot see it, returns `ax`."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator
from numpy.typing import ArrayLike
from torch import Tensor

from bnlib.config import rate_name
from bnlib.data import CLASSES
from bnlib.outcomes import Comparison, at_rate
from bnlib.statistics import mean_interval


@dataclass(frozen=True)
class Arm:
    """How an arm looks and is called in every figure and table."""

    label: str
    color: str
    linestyle: str
    marker: str


# Colours from seaborn's colour-blind palette; line styles and markers tell the arms apart without any colour.
ARMS = {
    "none": Arm("without batch norm", "#0173B2", "--", "o"),
    "batch": Arm("with batch norm", "#DE8F05", "-", "s"),
}
CURVES_CAPTION = (
    "Training loss (left, on a logarithmic axis) and test accuracy (right, on a logarithmic axis of what it lacks to 100%) "
    "after each epoch. Thin lines are single seeds ({seeds}), thick ones their mean, bands its 95% interval, cut off at the "
    "frame of the runs."
)
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


def curves(epochs: pd.DataFrame, column: str, learning_rate: float, ax: Axes) -> Axes:
    """A column of the records against the epoch: a thin line for each seed, their mean, a band for its 95% interval."""
    rows, share = at_rate(epochs, learning_rate), column.endswith("accuracy")
    name = column.replace("train_", "training ").replace("_", " ")
    ends, seen = {}, []
    for norm, arm in ARMS.items():
        runs = rows[rows.norm == norm].pivot(index="epoch", columns="seed", values=column) * (100 if share else 1)
        read = _lack if share else np.asarray
        means = [mean_interval(values) for values in runs.to_numpy()]
        middle = np.array([m.estimate for m in means])
        ax.plot(runs.index, read(runs), color=arm.color, linestyle=arm.linestyle, linewidth=0.6, alpha=0.6)
        ax.plot(runs.index, read(middle), color=arm.color, linestyle=arm.linestyle, linewidth=2)
        band = read([m.low for m in means]), read([m.high for m in means])
        ax.fill_between(runs.index, *band, color=arm.color, alpha=0.15, linewidth=0)
        seen.append(read(runs).ravel())
        finite = np.flatnonzero(np.isfinite(middle))
        if len(finite):
            ends[norm] = middle[finite[-1]], middle[finite[0]]
    _limits(ax, np.concatenate(seen), share)
    ax.set(xlabel="epoch", ylabel=f"{name}, {'%' if share else 'nats'}")
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    _label_lines(ax, {norm: float(read(last)) for norm, (last, _) in ends.items()})
    digits = 2 if share else 4
    told = [f"{ARMS[n].label} from {first:.{digits}f} to {last:.{digits}f}" for n, (last, first) in ends.items()]
    return _describe(
        ax, f"Line chart of {name} by epoch at learning rate {rate_name(learning_rate)}: {'; '.join(told) or 'no data'}."
    )


def differences(comparisons: Sequence[Comparison], ax: Axes) -> Axes:
    """With minus without batch norm at each rate: hollow points are seeds, squares their mean, bars its interval."""
    outcome = comparisons[0].outcome
    scale = 100 if outcome.is_share else 1
    told = []
    ax.axvline(0, color=INK, linewidth=0.8)
    for y, comparison in enumerate(comparisons):
        seeds = (comparison.per_seed["batch"] - comparison.per_seed["none"]).dropna() * scale
        d = comparison.difference
        ax.plot(seeds, np.full(len(seeds), y + 0.22), "o", color=INK, fillstyle="none", markersize=4, alpha=0.7)
        if d.n:
            ax.plot([d.low * scale, d.high * scale], [y, y], color=ARMS["batch"].color, linewidth=2.5)
            ax.plot([d.estimate * scale], [y], "s", color=ARMS["batch"].color, markersize=7)
        bounds = f", interval {outcome.number(d.low)} to {outcome.number(d.high)}" if d.bounded else ""
        told.append(f"at {rate_name(comparison.learning_rate)} {outcome.number(d.estimate, signed=True)}{bounds}")
    ax.set_yticks(range(len(comparisons)), [rate_name(c.learning_rate) for c in comparisons])
    ax.set_ylim(len(comparisons) - 0.5, -0.5)
    ax.grid(visible=False, axis="y")
    _spread(ax, np.concatenate([(c.per_seed["batch"] - c.per_seed["none"]).dropna() * scale for c in comparisons]))
    title = f"{outcome.title(comparisons[0].epochs)},\nwith − without ({outcome.difference_unit})"
    ax.set(xlabel=title, ylabel="learning rate")
    return _describe(ax, f"Difference in {outcome.title(comparisons[0].epochs)}: {'; '.join(told)}.")


def across_rates(comparisons: Sequence[Comparison], ax: Axes) -> Axes:
    """An outcome against the learning rate: each arm's mean with its 95% interval, and every seed as a small point."""
    outcome, told = comparisons[0].outcome, []
    scale = 100 if outcome.is_share else 1
    where, read = np.array([c.learning_rate for c in comparisons]), _lack if outcome.is_share else np.asarray
    seen = []
    for norm, arm in ARMS.items():
        x = where * (0.97 if norm == "none" else 1.03)  # side by side, so that neither arm hides the other
        means = [c.without if norm == "none" else c.with_norm for c in comparisons]
        middle = np.array([m.estimate for m in means]) * scale
        for at, m, c in zip(x, means, comparisons, strict=True):
            seeds = c.per_seed[norm].dropna() * scale
            points = read(seeds)
            ax.plot(np.full(len(seeds), at), points, arm.marker, color=arm.color, fillstyle="none", markersize=4, alpha=0.7)
            ax.plot([at, at], read([m.low * scale, m.high * scale]), color=arm.color, linewidth=2)
            seen.append(points)
        ax.plot(x, read(middle), color=arm.color, linestyle=arm.linestyle, marker=arm.marker, linewidth=1.5, markersize=6)
        values = ", ".join(f"{rate_name(r)}: {outcome.number(m.estimate)}" for r, m in zip(where, means, strict=True))
        told.append(f"{arm.label} {values}")
    _limits(ax, np.concatenate(seen), outcome.is_share)
    ax.set_xscale("log")
    ax.set_xlim(where[0] / 1.3, where[-1] * 1.3)
    ax.xaxis.set_major_locator(FixedLocator(where))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xticklabels([rate_name(rate) for rate in where])
    ax.set(xlabel="learning rate", ylabel=f"{outcome.title(comparisons[0].epochs)}, {outcome.unit}")
    last = {"none": comparisons[-1].without.estimate * scale, "batch": comparisons[-1].with_norm.estimate * scale}
    _label_lines(ax, {norm: float(read(value)) for norm, value in last.items() if np.isfinite(value)})
    return _describe(ax, f"{outcome.title(comparisons[0].epochs).capitalize()} by learning rate: {'; '.join(told)}.")


def examples(images: Tensor, labels: Tensor, dataset: str, ax: Axes, each: int = 2) -> Axes:
    """The first `each` images (N, 1, 28, 28) of every class, a column for each class."""
    picked = [images[(labels == label).nonzero()[:each, 0], 0].reshape(-1, 28) for label in range(10)]
    with mpl.rc_context({"image.cmap": "gray_r"}):
        ax.imshow(np.hstack(picked), vmin=-1, vmax=1, interpolation="nearest")
    ax.set_xticks(np.arange(10) * 28 + 14, CLASSES[dataset], fontsize=7)
    ax.set_yticks([])
    ax.tick_params(length=0)
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    return _describe(ax, f"{each * 10} training images, {each} of each class: {', '.join(CLASSES[dataset])}.")


def _describe(ax: Axes, text: str) -> Axes:
    ax.alt = text
    return ax


def _lack(percent: ArrayLike) -> np.ndarray:
    """What accuracies in % lack to 100%, from 0.03 up so that a logarithmic axis can hold a faultless run."""
    return np.maximum(100 - np.asarray(percent, dtype=float), 0.03)


def _limits(ax: Axes, values: np.ndarray, share: bool) -> None:
    """A logarithmic axis that frames the runs themselves; a band from few seeds may be wider than the frame.

    Accuracies come as `_lack` gives them: the axis is turned, and its ticks say the accuracy.
    """
    finite = values[np.isfinite(values) & (values > 0)]
    if not len(finite):
        return
    ax.set_yscale("log")
    low, high = finite.min() / 1.3, finite.max() * 1.3
    ax.set_ylim((high, low) if share else (low, high))
    if share:
        steps = ((90, 70, 50, 30, 20, 10, 5, 3, 2, 1, 0.5, 0.2, 0.1), (5, 4, 3, 2.5, 2, 1.5, 1.2, 1, 0.8, 0.6, 0.5, 0.4, 0.3))
        ticks = [lack for lack in steps[int(high < 6)] if low <= lack <= high]
        ax.yaxis.set_major_locator(FixedLocator(ticks))
        ax.yaxis.set_minor_locator(NullLocator())
        ax.set_yticklabels([f"{100 - lack:g}" for lack in ticks])


def _spread(ax: Axes, differences: np.ndarray) -> None:
    """Where one pair lies far from the others, an axis that is logarithmic beyond the size of a typical pair."""
    sizes = np.abs(differences[differences != 0])
    if len(sizes) and sizes.max() > 20 * np.median(sizes):
        threshold = 10 ** np.ceil(np.log10(np.median(sizes)))
        ax.set_xscale("symlog", linthresh=threshold, linscale=1.5)
        decades = threshold * 10.0 ** np.arange(4)
        ends = ax.get_xlim()
        ticks = [tick for tick in (*-decades[::-1], 0, *decades) if ends[0] <= tick <= ends[1]]
        ax.xaxis.set_major_locator(FixedLocator(ticks))
        ax.set_xticklabels([f"{tick:+g}".replace("-", "−") if tick else "0" for tick in ticks])
    else:
        ax.xaxis.set_major_locator(MaxNLocator(5))


def _label_lines(ax: Axes, ends: dict[str, float], gap: float = 0.17) -> None:
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


class Picture:
    """One or more panels under one caption, as notebooks and pages show them: each an image with its description."""

    def __init__(self, name: str, caption: str, *panels: Axes):
        self.name, self.caption, self.panels = name, caption, panels

    def __repr__(self) -> str:
        return f"Figure: {self.caption}"

    def _repr_html_(self) -> str:
        images = "".join(
            f'<img alt="{escape(ax.alt)}" src="data:image/svg+xml;base64,{base64.b64encode(svg(ax).encode()).decode()}">'
            for ax in self.panels
        )
        return (
            f'<figure id="fig-{escape(self.name)}" class="picture"><div class="panels">{images}</div>'
            f"<figcaption>{escape(self.caption)}</figcaption></figure>"
        )
