"""The tables of the studies: what each asked, the original replayed, and the range of learning rates."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pandas as pd

from bnlib import plural
from bnlib.analysis import thresholds
from bnlib.analysis.original.replay import ARMS
from bnlib.analysis.results import Results
from bnlib.experiment.config import rate_name
from bnlib.experiment.outcomes import OUTCOMES
from bnlib.experiment.study import Study
from bnlib.page.tables.table import Table, interval, share
from bnlib.page.words import listing, short

LOSS, ACCURACY = OUTCOMES["train_loss_last"], OUTCOMES["test_accuracy_last"]  # how losses and accuracies are written
HELD = ("learning_rate", "later_rates")  # rates that a chain holds


def asked(studies: Iterable[Study], shared: Mapping[str, Any]) -> Table:
    """What was asked, a row for each study; what it holds that is not `shared` by all stands with its arms."""
    rows = []
    for study in studies:
        own = [f"{field.replace('_', ' ')} {value}" for field, value in study.held.items() if field not in {*shared, *HELD}]
        rates = study.rates or sorted({cell["learning_rate"] for cell in study.cells})
        runs = f"{len(study.configs):,} of {plural(study.configs[0].all_epochs, 'epoch')}"
        rows.append(
            [
                study.title,
                "; ".join([listing([arm.label for arm in study.arms]), *own]),
                ", ".join(map(rate_name, rates)),
                str(study.seeds),
                runs,
            ]
        )
    return Table("studies", "", ["study", "arms", "learning rates", "seeds", "runs"], rows)


def replayed(table: pd.DataFrame) -> Table:
    """All published epochs beside ours; `table` as `replay.beside` makes it."""
    rows = [
        [
            f"{_where(row)}, epoch {row.epoch}",
            *_beside(row, "train_loss", LOSS.number),
            *_beside(row, "train_accuracy", ACCURACY.number),
        ]
        for row in table.itertuples()
    ]
    columns = ["epoch", "loss, original", "replay", "inside", "training accuracy, original", "replay", "inside"]
    return Table("replayed", "", columns, rows)


def replayed_test(table: pd.DataFrame) -> Table:
    """The published test accuracies beside ours; `table` as `replay.beside_test` makes it."""
    rows = [[_where(row), *_beside(row, "test_accuracy", ACCURACY.number)] for row in table.itertuples()]
    return Table("replayed-test", "", ["rate, arm", "original", "replay", "inside"], rows)


def _where(row) -> str:
    """`0.001, with batch norm`: the original's arms, whatever those of the report are."""
    return f"{rate_name(row.learning_rate)}, {ARMS[row.norm]} batch norm"


def _beside(row, column: str, write: Callable[[float], str]) -> list[str]:
    """Published figure, ours with its interval, and whether the one lies inside the other."""
    mean, low, high, inside = (getattr(row, f"{column}_{name}") for name in ("mean", "low", "high", "inside"))
    if pd.isna(inside):  # too few runs
        return [write(getattr(row, column)), write(mean), "–"]
    return [write(getattr(row, column)), f"{write(mean)} [{write(low)}, {write(high)}]", "yes" if inside else "no"]


def first_losses(losses: pd.DataFrame) -> Table:
    """The first epoch at each rate: in the original, in its replay, and afresh; `losses` as `replay.first_losses` makes it."""
    rows = [[_where(row), *map(LOSS.number, (row.published, row.replayed, row.fresh))] for row in losses.itertuples()]
    return Table("first-losses", "", ["rate, arm", "original", "replay", "fresh start"], rows)


def effects(tables: Iterable[tuple[str, pd.DataFrame]], study: Study) -> Table:
    """What in the chain's changes from its first rate to a later one is the rate's doing, and what the order's.

    Args:
        tables: the name of each outcome, and what `replay.effects` makes of it.
        study: the replay.
    """
    rows = [
        [
            f"{OUTCOMES[name].title(study.epochs)}, {_where(row)}",
            *(interval(OUTCOMES[name], value, signed=True) for value in (row.chain, row.rate, row.order)),
        ]
        for name, table in tables
        for row in table.itertuples()
    ]
    return Table("effects", "", ["outcome", "change in the chain", "by the rate", "by the order"], rows)


def rates(results: Results) -> Table:
    """Final training loss, test accuracy and failed runs of every arm at each rate of the range."""
    study = results.study
    usable = thresholds.usable(results.runs)

    def cells(arm: str, rate: float) -> list[str]:
        mark = " usable" if rate in usable[arm] else ""
        loss, accuracy = (results.spread(name, arm, rate).median for name in ("train_loss_last", "test_accuracy_last"))
        return [LOSS.number(loss), ACCURACY.number(accuracy) + mark, share(results.failed(arm, rate))]

    each, rows = ["loss", "accuracy", "failed"], []
    several = len(study.arms) > 2
    for rate in results.rates:
        if several:
            rows += [[f"{rate_name(rate)}, {arm.label}", *cells(arm.name, rate)] for arm in study.arms]
        else:
            rows.append([rate_name(rate), *(cell for arm in study.arms for cell in cells(arm.name, rate))])
    columns = ["rate, arm", *each]
    if not several:
        columns = ["learning rate", *(f"{what} {arm}" for arm in short(study).values() for what in each)]
    return Table("range", "", columns, rows)
