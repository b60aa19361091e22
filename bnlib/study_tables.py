"""The tables of the studies: the original replayed, and the range of learning rates."""

from collections.abc import Callable

import pandas as pd

from bnlib import lost_runs, outcomes, rate_range, replay
from bnlib.config import CHAIN, rate_name
from bnlib.evidence_tables import lost_share
from bnlib.style import ARMS
from bnlib.tables import Table, interval
from bnlib.words import plural


def replayed(table: pd.DataFrame) -> Table:
    """All published epochs beside ours; `table` as `replay.beside` makes it."""
    rows = []
    for row in table.itertuples():
        cells = [f"{rate_name(row.learning_rate)}, {ARMS[row.norm].label}, epoch {row.epoch}"]
        for column, write in (("train_loss", outcomes.FIRST_LOSS.number), ("train_accuracy", outcomes.FIRST_ACCURACY.number)):
            cells += _beside(row, column, write)
        rows.append(cells)
    caption = (
        "Every epoch that the original printed, in the order in which it ran, beside the replay: mean over seeds and the 95% "
        "prediction interval for one more run. Losses in nats, accuracies in %."
    )
    columns = ["epoch", "loss, original", "replay", "inside", "training accuracy, original", "replay", "inside"]
    return Table("replayed", caption, columns, rows)


def replayed_test(table: pd.DataFrame) -> Table:
    """The published test accuracies beside ours; `table` as `replay.beside_test` makes it."""
    rows = [
        [
            f"{rate_name(row.learning_rate)}, {ARMS[row.norm].label}",
            *_beside(row, "test_accuracy", outcomes.TEST_ACCURACY.number),
        ]
        for row in table.itertuples()
    ]
    caption = (
        "Test accuracies in % after the last epoch at each rate, the original's beside the replay's: mean over seeds and the "
        "95% prediction interval."
    )
    return Table("replayed-test", caption, ["rate, arm", "original", "replay", "inside"], rows)


def _beside(row, column: str, write: Callable[[float], str]) -> list[str]:
    """Published figure, ours with its interval, and whether the one lies inside the other."""
    mean, low, high, inside = (getattr(row, f"{column}_{name}") for name in ("mean", "low", "high", "inside"))
    return [write(getattr(row, column)), f"{write(mean)} [{write(low)}, {write(high)}]", "yes" if inside else "no"]


def first_losses(epochs: pd.DataFrame) -> Table:
    """The first epoch at each rate: in the original, in its replay, and afresh."""
    write = outcomes.FIRST_LOSS.number
    rows = [
        [f"{rate_name(row.learning_rate)}, {ARMS[row.norm].label}", *map(write, (row.published, row.replayed, row.fresh))]
        for row in replay.first_losses(epochs).itertuples()
    ]
    caption = (
        "Training loss of the first epoch at each rate, in nats, in the order of the chain; ours in medians over the replay's "
        "seeds. At the first rate replay and fresh start are the same runs."
    )
    return Table("first-losses", caption, ["rate, arm", "original", "replay", "fresh start"], rows)


def effects(controlled: pd.DataFrame, chain: pd.DataFrame) -> Table:
    """What in the chain's changes from its first rate to a later one is the rate's doing, and what the order's."""
    rows = []
    for outcome in replay.SHOWN:
        for row in replay.effects(controlled, chain, outcome).itertuples():
            name = f"{outcome.title(int(chain.epoch.max()))}, {rate_name(row.learning_rate)}, {ARMS[row.norm].label}"
            rows.append([name, *(interval(outcome, value, signed=True) for value in (row.chain, row.rate, row.order))])
    caption = (
        f"The change from {rate_name(CHAIN[0])} to a later rate of the chain, over seeds, and its two parts: what a "
        "fresh start at that rate changes (the rate), and what having been trained before adds (the order). Means over "
        f"{plural(chain.seed.nunique(), 'seed')} with 95% intervals, which one run that does not learn makes very wide; "
        "losses in nats, accuracies in percentage points."
    )
    return Table("effects", caption, ["outcome", "change in the chain", "by the rate", "by the order"], rows)


def rates(epochs: pd.DataFrame) -> Table:
    """Final training loss, test accuracy and lost runs of both arms at each rate of the range."""
    rows, lost, accuracy = [], lost_runs.shares(epochs), rate_range.final_accuracy(epochs)
    good = rate_range.usable(epochs)
    for rate in outcomes.rates(epochs):
        loss = outcomes.per_seed(epochs, outcomes.LAST_LOSS, rate)
        row = [rate_name(rate)]
        for norm in ARMS:
            mark = " usable" if rate in good[norm] else ""
            row += [outcomes.LAST_LOSS.number(loss[norm].mean())]
            row += [outcomes.TEST_ACCURACY.number(accuracy.loc[norm][rate].mean()) + mark, lost_share(lost[norm, rate])]
        rows.append(row)
    caption = (
        f"Runs of {plural(int(epochs.epoch.max()), 'epoch')}, {plural(epochs.seed.nunique(), 'seed')}: mean training loss of "
        "the last epoch (nats, of the runs that stayed finite), mean test accuracy (%, a diverged run counting with "
        f"{rate_range.CHANCE:.0%}), and the share of runs that diverged or did not learn with its Wilson interval. Usable: "
        f"within {100 * rate_range.USABLE:g} point of the arm's best rate."
    )
    each = ["loss", "accuracy", "lost"]
    columns = ["learning rate", *(f"{what} {arm}" for arm in ("without", "with") for what in each)]
    return Table("range", caption, columns, rows)
