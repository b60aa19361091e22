"""The figure of the original's chain: its figures over ours."""

import math

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from bnlib.analysis.original import replay
from bnlib.experiment.config import CHAIN, rate_name
from bnlib.experiment.study import Study
from bnlib.page.figures.picture import describe
from bnlib.page.style import INK, isolated, looks


@isolated()
def chain(table: pd.DataFrame, fresh_epochs: pd.DataFrame | None, arm: str, study: Study, ax: Axes) -> Axes:
    """One arm's training loss along the chain: published points over our band, and fresh starts where we have them.

    The scale is the same for every arm.

    Args:
        table: as `replay.beside` makes it.
        fresh_epochs: records of runs that start afresh at each rate, if there are any.
        study: the replay.
    """
    look, given, told = looks(study)[arm], study.epochs, []
    for position, rate in enumerate(CHAIN):
        rows = table[(table.norm == arm) & (table.learning_rate == rate)]
        x, before = position * given + rows.epoch, position * given
        ax.fill_between(x, rows.train_loss_low, rows.train_loss_high, color=look.color, alpha=0.18, linewidth=0)
        ax.plot(x, rows.train_loss_mean, color=look.color, linestyle=look.linestyle, linewidth=1.6)
        ax.plot(x, rows.train_loss, "x", color=INK, markersize=5)
        ax.annotate(f"at {rate_name(rate)}", (before + 0.8, 0.03), xycoords=("data", "axes fraction"), fontsize=8.5, color=INK)
        if position:
            ax.axvline(before + 0.5, color=INK, linewidth=0.6, alpha=0.5)
            _start(fresh_epochs, arm, rate, before, given, ax)
        first = rows.iloc[0]
        told.append(f"at {rate_name(rate)} {first.train_loss:.4f} published for epoch 1, {first.train_loss_mean:.4f} replayed")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.set_yscale("log")
    low, high = _ends(table, fresh_epochs)
    ax.set_ylim(low / 1.6, high * 1.6)
    ax.set(xlabel="epoch of the chain", ylabel="training loss, nats", title=look.label)
    return describe(ax, f"Training loss along the chain {look.label}: {'; '.join(told)}.")


def _ends(table: pd.DataFrame, fresh: pd.DataFrame | None) -> tuple[float, float]:
    """The least and the most that is drawn of any arm: axes side by side then have one scale."""
    drawn = [table.train_loss, table.train_loss_mean, table.train_loss_low, table.train_loss_high]
    if fresh is not None:
        started = fresh[fresh.learning_rate.isin(CHAIN) & fresh.norm.isin(replay.ARMS)]
        drawn.append(started.groupby(["norm", "learning_rate", "epoch"]).train_loss.median())
    values = pd.concat(drawn)
    return values.min(), values[values < math.inf].max()


def _start(fresh: pd.DataFrame | None, arm: str, rate: float, before: int, given: int, ax: Axes) -> None:
    """The median of runs that start afresh at a rate, drawn from epoch `before` of the chain on."""
    if fresh is None:
        return
    started = fresh[(fresh.learning_rate == rate) & (fresh.norm == arm) & (fresh.epoch <= given)]
    if len(started):
        middle = started.groupby("epoch").train_loss.median()
        ax.plot(before + middle.index, middle, color=INK, linestyle=":", linewidth=1.2)
        ax.annotate(" fresh start", (before + 1, middle.iloc[0]), fontsize=8.5, va="bottom", color=INK)
