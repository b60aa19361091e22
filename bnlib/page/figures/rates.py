"""The figures over learning rates: the answer's, which runs failed, and how much hangs on what counts as usable."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator, PercentFormatter

from bnlib import plural
from bnlib.analysis import thresholds
from bnlib.analysis.results import Results
from bnlib.experiment.config import TESTED, rate_name
from bnlib.experiment.outcomes import OUTCOMES
from bnlib.page.figures.picture import describe
from bnlib.page.style import INK, Look, isolated, label_lines, legend, looks, side_by_side
from bnlib.page.words import rounded, short

ROW = 13  # points: the height of a row of counts above axes


@isolated()
def error(results: Results, ax: Axes, marked: Sequence[float] = (), name: str = "test_accuracy_last") -> Axes:
    """Test error against the learning rate, of runs that learned; above it how many failed.

    Each run is a mark, the median of an arm at a rate a point of its line. Failed runs are counted and not drawn.

    Args:
        marked: rates with a band behind them.
        name: the outcome: an accuracy, of which the error is drawn, or a loss.
    """
    outcome, arms, ends, told = OUTCOMES[name], looks(results.study), {}, []
    for rate in marked:
        ax.axvspan(rate / 1.18, rate * 1.18, color=INK, alpha=0.09, linewidth=0)
    for (arm, look), x in zip(arms.items(), side_by_side(results.rates, len(arms), 0.09), strict=True):
        values = {rate: _learned(results, name, arm, rate) for rate in results.rates}
        for at, its in zip(x, values.values(), strict=True):
            ax.plot(np.full(len(its), at), its, look.marker, color=look.color, fillstyle="none", markersize=4, alpha=0.8)
        middle = pd.Series({rate: its.median() for rate, its in values.items()})
        ax.plot(results.rates, middle, color=look.color, linestyle=look.linestyle, linewidth=2)
        if middle.notna().any():
            ends[arm] = float(middle.dropna().index[-1]), float(middle.dropna().iloc[-1])
        told.append(f"{look.label} {_listed(results, arm, middle)}")
    ax.set_yscale("log")
    steps_of_log(ax.yaxis, half_an_image(results.study.held["dataset"]) if outcome.is_share else 0)
    title = outcome.title(results.study.epochs)
    title, unit = (title.replace("accuracy", "error"), "%") if outcome.is_share else (title, outcome.unit)
    ax.set_ylabel(f"{title}, {unit}")
    rate_axis(ax, results.rates)
    if len(marked):
        broken = ",\n" if ax.figure.get_figwidth() < 5 else ", "
        grey = f"grey: {', '.join(map(rate_name, marked))}{broken}as above"
        ax.annotate(grey, (0.02, 0.97), xycoords="axes fraction", va="top", color=INK)
    _count_failed(results, arms, ax)
    _name_lines(ends, arms, results.rates, ax)
    return describe(ax, f"Median {title} in {unit} of the runs that learned, by learning rate: {'; '.join(told)}.")


def _learned(results: Results, name: str, arm: str, rate: float) -> pd.Series:
    """The outcome of an arm's runs at a rate that did not fail; of an accuracy the error in %."""
    its = results.learned(name, rate)[arm].dropna()
    return in_percent(its, results.study.held["dataset"]) if OUTCOMES[name].is_share else its


def in_percent(accuracy: pd.DataFrame | pd.Series, dataset: str) -> pd.DataFrame | pd.Series:
    """Test accuracies as errors in %; of a faultless run `half_an_image`, as a logarithmic axis has no zero."""
    return 100 * (1 - accuracy).clip(lower=half_an_image(dataset) / 100)


def half_an_image(dataset: str) -> float:
    """The test error in % that stands for none."""
    return 50 / sum(TESTED[dataset])


def _listed(results: Results, arm: str, middle: pd.Series) -> str:
    """The medians by rate, with the runs that failed, in words."""
    told = []
    for rate, value in middle.items():
        lost = results.failures.get((arm, rate), 0)
        number = "none learned" if np.isnan(value) else f"{value:.3g}"
        told.append(f"{rate_name(rate)}: {number}" + (f" ({plural(lost, 'run')} failed)" if lost else ""))
    return ", ".join(told)


def _count_failed(results: Results, arms: dict[str, Look], ax: Axes) -> None:
    """Rows of counts above the axes: the failed runs of each arm at each rate."""
    ax.figure.set_figheight(ax.figure.get_figheight() + ROW * (len(arms) - 2) / 72)
    named, count = short(results.study), {"textcoords": "offset points", "color": INK, "annotation_clip": False}
    for place, arm in enumerate(reversed(arms)):
        above = 5 + ROW * place
        where = {"xycoords": "axes fraction", "xytext": (-6, above), "ha": "right"}
        ax.annotate(named[arm], (0, 1), **count | where)
        for rate in results.rates:
            lost = results.failures.get((arm, rate), 0)
            where = {"xycoords": ("data", "axes fraction"), "xytext": (0, above), "ha": "center"}
            ax.annotate(f"{lost}", (rate, 1), weight="bold" if lost else "normal", **count | where)
    title = f"runs that failed, of {results.study.seeds} at each rate"
    ax.set_title(title, loc="left", pad=5 + ROW * len(arms), fontsize=9)


def _name_lines(ends: dict[str, tuple[float, float]], arms: dict[str, Look], rates: Sequence[float], ax: Axes) -> None:
    """Names each of two lines at its end: beside the axes, or of one that ends earlier (rate, value) above its last point."""
    if len(arms) > 2:
        legend(ax, arms)
        return
    early = {arm: end for arm, end in ends.items() if end[0] < max(rates)}
    label_lines(ax, {arm: value for arm, (_, value) in ends.items() if arm not in early}, arms)
    for arm, end in early.items():
        text = arms[arm].label.replace(" ", "\n", 1)
        ax.annotate(text, end, (0, 20), textcoords="offset points", ha="center", va="bottom", color=INK, fontsize=9)


def steps_of_log(axis: Axis, none: float = 0) -> None:
    """Names round numbers on a logarithmic axis: 1, 2 and 5 of each power of ten, and more where these are few.

    Args:
        none: the value that stands for zero, if one does.
    """
    low, high = sorted(axis.get_view_interval())
    few, more = (1, 1.5, 2, 3, 4, 5, 7), (*np.arange(10, 20) / 10, *range(2, 10))
    steps = (1, 2, 5) if high > 12 * low else few if high > 3 * low else more
    ticks = [step * 10.0**power for power in range(-6, 3) for step in steps]
    axis.set_major_locator(FixedLocator([none, *(t for t in ticks if t > 1.4 * none)] if low <= none else ticks))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: "0" if value == none else f"{value:g}"))


def rate_axis(ax: Axes, rates: Sequence[float]) -> None:
    """A logarithmic axis that names each rate."""
    ax.set_xscale("log")
    ax.set_xlim(min(rates) / 1.6, max(rates) * 1.6)
    ax.set_xlabel("learning rate")
    ax.xaxis.set_major_locator(FixedLocator(rates))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda rate, _: rate_name(rate)))
    if len(rates) > 6 and ax.figure.get_figwidth() < 5:
        ax.tick_params(axis="x", rotation=55)


@isolated()
def failed(results: Results, ax: Axes) -> Axes:
    """Share of runs that failed against the learning rate, with its Wilson interval."""
    arms, told = looks(results.study), []
    for (arm, look), x in zip(arms.items(), side_by_side(results.rates, len(arms), 0.07), strict=True):
        shares = {rate: results.failed(arm, rate) for rate in results.rates}
        for at, value in zip(x, shares.values(), strict=True):
            ax.plot([at, at], [value.low, value.high], color=look.color, linewidth=1.5, alpha=0.8)
        ax.plot(x, [value.estimate for value in shares.values()], look.marker, color=look.color, markersize=5)
        told.append(f"{look.label} {', '.join(f'{rate_name(rate)}: {value.estimate:.0%}' for rate, value in shares.items())}")
    rate_axis(ax, results.rates)
    ax.set(ylabel="runs that failed", ylim=(-0.03, 1.03))
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    legend(ax, arms)
    return describe(ax, f"Share of runs that failed by learning rate: {'; '.join(told)}.")


@isolated()
def reach(results: Results, table: pd.DataFrame, ax: Axes) -> Axes:
    """The largest usable rate of each arm, the median over seeds, against how far from its best accuracy it may be.

    Steps are those of the rates that were tried. A thin line is of what the same runs were after an earlier epoch.

    Args:
        table: as `thresholds.reach` makes it.
    """
    arms, told, ends = looks(results.study), [], {}
    for arm, look in arms.items():
        for epoch, its in table[table.arm == arm].groupby("epoch"):
            middle = its.groupby("margin").largest.median()
            last = epoch == results.study.epochs
            ax.plot(
                100 * middle.index,
                middle,
                color=look.color,
                linestyle=look.linestyle,
                linewidth=2 if last else 0.8,
                marker=look.marker if last else None,
                markersize=5,
            )
            if last:
                ends[arm] = float(middle.iloc[-1])
                told.append(f"{look.label} {', '.join(f'{100 * m:g}: {rounded(rate)}' for m, rate in middle.items())}")
    ax.set(xscale="log", yscale="log", xlabel="points below the arm's best accuracy", ylabel="largest usable learning rate")
    ax.xaxis.set_major_locator(FixedLocator([100 * margin for margin in thresholds.MARGINS]))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.yaxis.set_major_locator(FixedLocator(results.rates))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter(FuncFormatter(lambda rate, _: rate_name(rate)))
    label_lines(ax, ends, arms)
    return describe(ax, f"Median of the largest usable rate by the margin in points: {'; '.join(told)}.")
