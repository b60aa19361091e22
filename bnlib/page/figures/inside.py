"""The figures of what probes saw: along training, in the first step, and of what is left of a network."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator, PercentFormatter

from bnlib import plural
from bnlib.analysis.results import Results
from bnlib.experiment.config import rate_name
from bnlib.experiment.outcomes import OUTCOMES
from bnlib.experiment.study import Study
from bnlib.page.figures.picture import describe
from bnlib.page.figures.rates import steps_of_log
from bnlib.page.style import INK, isolated, label_lines, looks

STEPS = (1, 10, 100, 1000, 10_000)


@isolated()
def by_step(
    study: Study, steps: pd.DataFrame, what: tuple[str, str, str], rate: float, ax: Axes, label: str, share: bool = False
) -> Axes:
    """What a probe saw along the runs at one rate: each run a thin line, each arm's median a thick one.

    Args:
        steps: records that hold it.
        what: probe, layer and measure.
        label: of the vertical axis, which is logarithmic unless it is a `share`.
    """
    arms, ends, told = looks(study), {}, []
    where = (steps.probe == what[0]) & (steps.layer == what[1]) & (steps.measure == what[2]) & (steps.learning_rate == rate)
    seen = study.of(steps[where])
    for arm, look in arms.items():
        runs = seen[seen.arm == arm].pivot(index="step", columns="seed", values="value")
        if not share:
            runs = runs.where(runs > 0)
        middle = runs.median(axis=1).dropna()
        ax.plot(runs.index, runs, color=look.color, linestyle=look.linestyle, linewidth=0.6, alpha=0.8)
        ax.plot(middle.index, middle, color=look.color, linestyle=look.linestyle, linewidth=2)
        if len(middle):
            ends[arm] = float(middle.iloc[-1])
            first, last = (f"{value:.0%}" if share else f"{value:.3g}" for value in (middle.iloc[0], middle.iloc[-1]))
            told.append(f"{look.label} {first} at step {middle.index[0]} and {last} at step {middle.index[-1]}")
    _step_axis(ax, seen.step)
    if share:
        ax.set_ylim(-0.03, 1.03)
        ax.yaxis.set_major_formatter(PercentFormatter(1))
    else:
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 3)))
        ax.yaxis.set_minor_locator(NullLocator())
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.set(ylabel=label, title=f"at {rate_name(rate)}")
    label_lines(ax, ends, arms)
    runs = plural(seen.seed.nunique(), "run")
    return describe(
        ax, f"{label} by step at learning rate {rate_name(rate)}, medians of {runs} of each arm: {'; '.join(told)}."
    )


def _step_axis(ax: Axes, steps: pd.Series) -> None:
    ax.set_xscale("log")
    ax.set_xlabel("step")
    ax.xaxis.set_major_locator(FixedLocator([step for step in STEPS if step <= steps.max()]))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step:,.0f}"))


@isolated()
def first_step(study: Study, steps: pd.DataFrame, arm: str, layers: tuple[str, ...], ax: Axes) -> Axes:
    """The size of the first step against the rate: a line for each layer, the step's norm over that of the layer's weights."""
    its = study.of(steps[(steps.probe == "step_size") & (steps.step == 1)])
    its, told, ends = its[its.arm == arm], [], {}
    for layer in layers:
        middle = its[its.layer == layer].groupby("learning_rate").value.median()
        ax.plot(middle.index, middle, color=INK, linewidth=1.2, marker="o", markersize=3)
        ends[layer] = middle.iloc[-1]
        told.append(f"{layer} {', '.join(f'{value:.0%} at {rate_name(rate)}' for rate, value in middle.items())}")
    for layer, end in ends.items():
        ax.annotate(f" {layer}", (its.learning_rate.max(), end), va="center", fontsize=8.5, color=INK)
    ax.axhline(1, color=INK, linewidth=0.8, linestyle=":")
    ax.annotate("as large as the weights", (0.02, 1.06), xycoords=("axes fraction", "data"), fontsize=8.5, color=INK)
    ax.set(xscale="log", yscale="log", xlabel="learning rate", ylabel="first step / weights", title=looks(study)[arm].label)
    rates = sorted(its.learning_rate.unique())
    ax.xaxis.set_major_locator(FixedLocator(rates))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xticklabels([rate_name(rate) for rate in rates])
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.margins(x=0.15)
    return describe(ax, f"Norm of the first step over that of each layer's weights, medians: {'; '.join(told)}.")


@isolated()
def what_is_left(results: Results, outcome: str, ax: Axes) -> Axes:
    """Test accuracy against the share of a layer that is dead: each run that did not fail a point, by arm."""
    arms, told, named = looks(results.study), [], OUTCOMES[outcome]
    runs = results.runs[~results.runs.failed]
    for arm, look in arms.items():
        its = runs[runs.arm == arm]
        ax.plot(100 * its[outcome], 100 * its.test_accuracy_last, look.marker, color=look.color, fillstyle="none", alpha=0.8)
        if len(its):
            told.append(
                f"{look.label} {plural(len(its), 'run')}, dead from {its[outcome].min():.0%} to {its[outcome].max():.0%}"
            )
    ax.set(xlabel=f"{named.label}, %", ylabel=f"test accuracy after {plural(results.study.epochs, 'epoch')}, %")
    ax.margins(0.08)
    return describe(ax, f"Test accuracy against {named.label}, of the runs that did not fail: {'; '.join(told)}.")


@isolated()
def strip(results: Results, outcome: str, rate: float, ax: Axes) -> Axes:
    """One outcome at one rate, a row for each arm: each run that did not fail a point, their median a bar; how many failed."""
    named, arms, told = OUTCOMES[outcome], looks(results.study), []
    values, failed = results.values(outcome, rate), results.values("failed", rate)
    for place, (arm, look) in enumerate(arms.items()):
        its = values[arm][~failed[arm].fillna(False).astype(bool)].dropna() * named.scale
        lost = int(failed[arm].fillna(False).sum())
        ax.plot(its, np.full(len(its), place), look.marker, color=look.color, fillstyle="none", markersize=4, alpha=0.8)
        if len(its):
            ax.plot([its.median()] * 2, [place - 0.2, place + 0.2], color=look.color, linewidth=2.5)
        middle = f"median {named.number(its.median() / named.scale)}" if len(its) else "none learned"
        told.append(f"{look.label} {middle}" + f", {lost} failed" * bool(lost))
        # Over its row: beside it, a long name would leave no room for the runs on a phone.
        text = look.label + f", {lost} of {failed[arm].count()} failed" * bool(lost)
        ax.annotate(text, (0.01, place - 0.24), xycoords=("axes fraction", "data"), va="bottom", fontsize=8.5, color=INK)
    ax.set_yticks([])
    ax.set_ylim(len(arms) - 0.6, -0.95)
    if not named.is_share:
        ax.set_xscale("log")
        steps_of_log(ax.xaxis)
    title = named.title(results.study.epochs)
    ax.set(xlabel=f"{title}, {named.unit}", title=f"at {rate_name(rate)}")
    return describe(ax, f"{title} in {named.unit} at learning rate {rate_name(rate)}: {'; '.join(told)}.")
