"""The figures of the range: loss, accuracy and failures against many learning rates."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator, PercentFormatter

from bnlib.analysis import thresholds
from bnlib.analysis.results import Results
from bnlib.experiment.config import rate_name
from bnlib.experiment.outcomes import OUTCOMES
from bnlib.page.figures.picture import describe
from bnlib.page.style import isolated, label_lines, lack, legend, limits, looks


@isolated()
def range_loss(results: Results, ax: Axes) -> Axes:
    """Training loss of the last epoch against the learning rate: each run a point, each arm's mean a line."""
    loss = results.runs.pivot(index=["arm", "seed"], columns="learning_rate", values="train_loss_last")
    return _over_rates(results, "train_loss_last", loss, ax)


@isolated()
def range_accuracy(results: Results, ax: Axes) -> Axes:
    """Test accuracy after the last epoch against the learning rate; a diverged run is drawn at chance."""
    return _over_rates(results, "test_accuracy_last", thresholds.final_accuracy(results.runs), ax)


def _over_rates(results: Results, name: str, table: pd.DataFrame, ax: Axes) -> Axes:
    """`table` has the index (arm, seed) and a column for each rate."""
    outcome, arms, told, ends = OUTCOMES[name], looks(results.study), [], {}
    read, title = lack if outcome.is_share else np.asarray, f"{outcome.title(results.study.epochs)}, {outcome.unit}"
    apart = 0.06 if len(arms) > 2 else 0  # side by side
    for place, (arm, look) in enumerate(arms.items()):
        runs = table[table.index.get_level_values("arm") == arm] * outcome.scale
        mean = runs.mean()
        x = runs.columns * (1 + apart * (2 * place - len(arms) + 1))
        ax.plot(x, read(runs.T), look.marker, color=look.color, fillstyle="none", markersize=4, alpha=0.8)
        ax.plot(runs.columns, read(mean), color=look.color, linestyle=look.linestyle, linewidth=1.5)
        if mean.notna().any():
            ends[arm] = float(read(mean.dropna().iloc[-1]))
        values = ", ".join(f"{rate_name(rate)}: {outcome.number(value / outcome.scale)}" for rate, value in mean.items())
        told.append(f"{look.label} {values}")
    limits(ax, read(table * outcome.scale).ravel(), outcome.is_share)
    _rate_axis(ax, results.rates)
    ax.set_ylabel(title)
    if len(arms) == 2:
        label_lines(ax, ends, arms)
    legend(ax, arms)
    return describe(ax, f"Mean {title} by learning rate: {'; '.join(told)}.")


@isolated()
def range_failed(results: Results, ax: Axes) -> Axes:
    """Share of runs that failed against the learning rate, with its Wilson interval."""
    arms, told = looks(results.study), []
    for place, (arm, look) in enumerate(arms.items()):
        shares = {rate: results.failed(arm, rate) for rate in results.rates}
        x = np.array(results.rates) * (1 + 0.07 * (2 * place - len(arms) + 1))  # side by side
        for at, value in zip(x, shares.values(), strict=True):
            ax.plot([at, at], [value.low, value.high], color=look.color, linewidth=1.5, alpha=0.8)
        ax.plot(x, [value.estimate for value in shares.values()], look.marker, color=look.color, markersize=5)
        told.append(f"{look.label} {', '.join(f'{rate_name(rate)}: {value.estimate:.0%}' for rate, value in shares.items())}")
    _rate_axis(ax, results.rates)
    ax.set(ylabel="runs that failed", ylim=(-0.03, 1.03))
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    legend(ax, arms)
    return describe(ax, f"Share of runs that failed by learning rate: {'; '.join(told)}.")


def _rate_axis(ax: Axes, rates: Sequence[float]) -> None:
    """A logarithmic axis that names each rate, or of many every second power of ten."""
    ax.set_xscale("log")
    ax.set_xlabel("learning rate")
    ax.xaxis.set_major_locator(FixedLocator(rates) if len(rates) < 7 else LogLocator(base=100))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda rate, _: rate_name(rate)))
