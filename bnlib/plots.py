"""The figures: one function each, which draws on `ax`, leaves a description for those who cannot see it, returns `ax`."""

import base64
from collections.abc import Sequence
from html import escape

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator
from torch import Tensor

from bnlib.config import rate_name
from bnlib.data import CLASSES
from bnlib.outcomes import Comparison, at_rate
from bnlib.statistics import mean_interval
from bnlib.style import ARMS, INK, axes, far_pairs, label_lines, lack, limits, spread, svg
from bnlib.words import plural

__all__ = ["Picture", "across_rates", "axes", "curves", "describe", "differences", "examples", "threshold"]


def curves(epochs: pd.DataFrame, column: str, learning_rate: float, ax: Axes) -> Axes:
    """A column of the records against the epoch: a thin line for each seed, their mean, a band for its 95% interval."""
    rows, share = at_rate(epochs, learning_rate), column.endswith("accuracy")
    name = column.replace("train_", "training ").replace("_", " ")
    ends, seen = {}, []
    for norm, arm in ARMS.items():
        runs = rows[rows.norm == norm].pivot(index="epoch", columns="seed", values=column) * (100 if share else 1)
        read = lack if share else np.asarray
        means = [mean_interval(values) for values in runs.to_numpy()]
        middle = np.array([m.estimate for m in means])
        dot = "." if (runs.notna().sum() == 1).any() else None  # a single epoch makes no line
        ax.plot(runs.index, read(runs), color=arm.color, linestyle=arm.linestyle, linewidth=0.6, alpha=0.6, marker=dot)
        ax.plot(runs.index, read(middle), color=arm.color, linestyle=arm.linestyle, linewidth=2, marker=dot and arm.marker)
        band = read([m.low for m in means]), read([m.high for m in means])
        ax.fill_between(runs.index, *band, color=arm.color, alpha=0.15, linewidth=0)
        seen.append(read(runs).ravel())
        finite = np.flatnonzero(np.isfinite(middle))
        if len(finite):
            ends[norm] = middle[finite[-1]], middle[finite[0]]
    limits(ax, np.concatenate(seen), share)
    ax.set(xlabel="epoch", ylabel=f"{name}, {'%' if share else 'nats'}")
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    label_lines(ax, {norm: float(read(last)) for norm, (last, _) in ends.items()})
    digits = 2 if share else 4
    told = [f"{ARMS[n].label} from {first:.{digits}f} to {last:.{digits}f}" for n, (last, first) in ends.items()]
    what = f"{name} in {'%' if share else 'nats'} by epoch at learning rate {rate_name(learning_rate)}"
    what += f", means over {plural(rows.seed.nunique(), 'seed')}"
    return describe(ax, f"Line chart of {what}: {'; '.join(told) or 'no data'}.")


def differences(comparisons: Sequence[Comparison], ax: Axes) -> Axes:
    """With minus without batch norm at each rate: hollow points are seeds, squares their mean, bars its interval."""
    outcome = comparisons[0].outcome
    scale, told = outcome.scale, []
    ax.axvline(0, color=INK, linewidth=0.8)
    for y, comparison in enumerate(comparisons):
        seeds = comparison.pairs * scale
        d = comparison.difference
        ax.plot(seeds, np.full(len(seeds), y + 0.22), "o", color=INK, fillstyle="none", markersize=4, alpha=0.7)
        if d.n:
            ax.plot([d.low * scale, d.high * scale], [y, y], color=ARMS["batch"].color, linewidth=2.5)
            ax.plot([d.estimate * scale], [y], "s", color=ARMS["batch"].color, markersize=7)
        told.append(f"at {rate_name(comparison.learning_rate)} {comparison.text()}")
    ax.set_yticks(range(len(comparisons)), [rate_name(c.learning_rate) for c in comparisons])
    ax.set_ylim(len(comparisons) - 0.5, -0.5)
    ax.grid(visible=False, axis="y")
    spread(ax, threshold(comparisons))
    title = f"{outcome.title(comparisons[0].epochs)},\nwith − without ({outcome.difference_unit})"
    ax.set(xlabel=title, ylabel="learning rate")
    what = f"{outcome.title(comparisons[0].epochs)}, with minus without batch norm, with 95% intervals"
    return describe(ax, f"Difference in {what}: {'; '.join(told)}.")


def threshold(comparisons: Sequence[Comparison]) -> float | None:
    """Where the axis of `differences` turns logarithmic, in its unit, if one pair lies far from the others."""
    return far_pairs(np.concatenate([c.pairs for c in comparisons]) * comparisons[0].outcome.scale)


def across_rates(comparisons: Sequence[Comparison], ax: Axes) -> Axes:
    """An outcome against the learning rate: each arm's mean with its 95% interval, and every seed as a small point."""
    outcome, told = comparisons[0].outcome, []
    scale = outcome.scale
    where, read = np.array([c.learning_rate for c in comparisons]), lack if outcome.is_share else np.asarray
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
    limits(ax, np.concatenate(seen), outcome.is_share)
    ax.set_xscale("log")
    ax.set_xlim(where[0] / 1.3, where[-1] * 1.3)
    ax.xaxis.set_major_locator(FixedLocator(where))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xticklabels([rate_name(rate) for rate in where])
    ax.set(xlabel="learning rate", ylabel=f"{outcome.title(comparisons[0].epochs)}, {outcome.unit}")
    last = {"none": comparisons[-1].without.estimate * scale, "batch": comparisons[-1].with_norm.estimate * scale}
    label_lines(ax, {norm: float(read(value)) for norm, value in last.items() if np.isfinite(value)})
    what = f"Mean {outcome.title(comparisons[0].epochs)} in {outcome.unit} by learning rate"
    return describe(ax, f"{what}: {'; '.join(told)}.")


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
    return describe(ax, f"{each * 10} training images, {each} of each class: {', '.join(CLASSES[dataset])}.")


def describe(ax: Axes, text: str) -> Axes:
    """The panel with the text that stands for it where it cannot be seen."""
    ax.alt = text
    return ax


class Picture:
    """One or more panels under one caption, as notebooks and pages show them: each an image with its description."""

    def __init__(self, name: str, caption: str, *panels: Axes, columns: int = 2):
        self.name, self.caption, self.panels, self.columns = name, caption, panels, columns

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
