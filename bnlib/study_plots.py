"""The figures of the studies: convergence, the range of learning rates, the original replayed."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator, PercentFormatter

from bnlib import convergence, lost_runs, outcomes, rate_range, records, replay
from bnlib.config import CHAIN, rate_name
from bnlib.plots import describe
from bnlib.style import ARMS, INK, label_lines, lack, limits


def survival(epochs: pd.DataFrame, threshold: float, learning_rate: float, ax: Axes) -> Axes:
    """Kaplan-Meier curves: the share of each arm's runs whose test accuracy has not reached `threshold` yet."""
    first = convergence.first_reached(epochs, threshold)
    given, told = int(epochs.epoch.max()), []
    for norm, arm in ARMS.items():
        runs = first[(first.norm == norm) & (first.learning_rate == learning_rate)]
        curve = convergence.kaplan_meier(runs)
        x, y = np.append([0, *curve.epochs], given), np.append([1, *curve.share], curve.share[-1])
        ax.plot(x, y, drawstyle="steps-post", color=arm.color, linestyle=arm.linestyle, linewidth=1.8)
        low, high = (np.append([1, *end], end[-1]) for end in (curve.low, curve.high))
        ax.fill_between(x, low, high, step="post", color=arm.color, alpha=0.12, linewidth=0)
        middle = convergence.median_epochs(runs)
        half = f"half of them by epoch {middle:g}" if np.isfinite(middle) else "fewer than half"
        told.append(f"{arm.label} {runs.reached.sum()} of {len(runs)} reached it, {half}")
    ax.set(xlim=(0, given), ylim=(0, 1.02), xlabel="epoch", title=f"{threshold:.1%} at {rate_name(learning_rate)}")
    ax.set_ylabel("not there yet")
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    what = f"Share of runs below test accuracy {threshold:.1%} by epoch at learning rate {rate_name(learning_rate)}"
    return describe(ax, f"{what}: {'; '.join(told)}.")


def range_loss(epochs: pd.DataFrame, ax: Axes) -> Axes:
    """Training loss of the last epoch against the learning rate: each run a point, each arm's mean a line."""
    tables = {rate: outcomes.per_seed(epochs, outcomes.LAST_LOSS, rate) for rate in outcomes.rates(epochs)}
    points = {norm: pd.DataFrame({rate: table[norm] for rate, table in tables.items()}) for norm in ARMS}
    title = f"{outcomes.LAST_LOSS.title(int(epochs.epoch.max()))}, nats"
    return _over_rates(points, title, ax, outcomes.LAST_LOSS.number)


def range_accuracy(epochs: pd.DataFrame, ax: Axes) -> Axes:
    """Test accuracy after the last epoch against the learning rate; a diverged run is drawn at chance."""
    accuracy = 100 * rate_range.final_accuracy(epochs)
    points = {norm: accuracy.loc[norm] for norm in ARMS}
    title = f"{outcomes.TEST_ACCURACY.title(int(epochs.epoch.max()))}, %"
    return _over_rates(points, title, ax, lambda value: f"{value:.2f}", share=True)


def _over_rates(points: dict[str, pd.DataFrame], title: str, ax: Axes, write, share: bool = False) -> Axes:
    read, told, ends, seen = lack if share else np.asarray, [], {}, []
    for norm, arm in ARMS.items():
        runs = points[norm]
        mean = runs.mean()
        ax.plot(runs.columns, read(runs.T), arm.marker, color=arm.color, fillstyle="none", markersize=4, alpha=0.7)
        ax.plot(runs.columns, read(mean), color=arm.color, linestyle=arm.linestyle, linewidth=1.5)
        seen.append(read(runs).ravel())
        if mean.notna().any():
            ends[norm] = float(read(mean.dropna().iloc[-1]))
        told.append(f"{arm.label} {', '.join(f'{rate_name(rate)}: {write(value)}' for rate, value in mean.items())}")
    limits(ax, np.concatenate(seen), share)
    _rate_axis(ax)
    ax.set_ylabel(title)
    label_lines(ax, ends)
    return describe(ax, f"Mean {title} by learning rate: {'; '.join(told)}.")


def range_lost(epochs: pd.DataFrame, ax: Axes) -> Axes:
    """Share of runs that diverged or did not learn against the learning rate, with its Wilson interval."""
    lost, told = lost_runs.shares(epochs), []
    for norm, arm in ARMS.items():
        rows = lost[norm]
        x = rows.index.to_numpy() * (0.93 if norm == "none" else 1.07)  # side by side
        for at, value in zip(x, rows, strict=True):
            ax.plot([at, at], [value.low, value.high], color=arm.color, linewidth=1.5, alpha=0.5)
        ax.plot(x, [value.estimate for value in rows], arm.marker, color=arm.color, markersize=5)
        shares = ", ".join(f"{rate_name(rate)}: {value.estimate:.0%}" for rate, value in rows.items())
        told.append(f"{arm.label} {shares}")
    _rate_axis(ax)
    ax.set(ylabel="runs lost", ylim=(-0.03, 1.03))
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    return describe(ax, f"Share of runs that diverged or did not learn by learning rate: {'; '.join(told)}.")


def _rate_axis(ax: Axes) -> None:
    ax.set_xscale("log")
    ax.set_xlabel("learning rate")
    ax.xaxis.set_major_locator(LogLocator(base=100))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda rate, _: rate_name(rate)))


def chain(epochs: pd.DataFrame, norm: str, ax: Axes) -> Axes:
    """One arm's training loss along the chain: published points over our band, and fresh starts where we have them.

    Args:
        epochs: records of the protocols `replay` and `controlled`.
    """
    arm, chained, fresh = ARMS[norm], records.of(epochs, records.REPLAY), records.of(epochs, records.CONTROLLED)
    table, given, told = replay.beside(chained), int(chained.epoch.max()), []
    for position, rate in enumerate(CHAIN):
        rows = table[(table.norm == norm) & (table.learning_rate == rate) & (table.epoch <= given)]
        x, before = position * given + rows.epoch, position * given
        ax.fill_between(x, rows.train_loss_low, rows.train_loss_high, color=arm.color, alpha=0.18, linewidth=0)
        ax.plot(x, rows.train_loss_mean, color=arm.color, linestyle=arm.linestyle, linewidth=1.6)
        ax.plot(x, rows.train_loss, "x", color=INK, markersize=5)
        started = fresh[(fresh.learning_rate == rate) & (fresh.norm == norm) & (fresh.epoch <= given)]
        if position and len(started):
            middle = started.groupby("epoch").train_loss.median()
            ax.plot(before + middle.index, middle, color=INK, linestyle=":", linewidth=1.2)
            ax.annotate(" fresh start", (before + 1, middle.iloc[0]), fontsize=8, va="bottom", color=INK)
        ax.annotate(f"at {rate_name(rate)}", (before + 0.8, 0.03), xycoords=("data", "axes fraction"), fontsize=8, color=INK)
        if position:
            ax.axvline(before + 0.5, color=INK, linewidth=0.6, alpha=0.5)
        first = rows.iloc[0]
        told.append(f"at {rate_name(rate)} {first.train_loss:.4f} published for epoch 1, {first.train_loss_mean:.4f} replayed")
    ax.set_yscale("log")
    ax.margins(y=0.12)
    ax.set(xlabel="epoch of the chain", ylabel="training loss, nats", title=arm.label)
    return describe(ax, f"Training loss along the chain {arm.label}: {'; '.join(told)}.")
