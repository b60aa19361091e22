"""The records of runs: tidy tables, one row per epoch, and how they are written and read."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from bnlib import UserError, files
from bnlib.config import RunConfig
from bnlib.training import Epoch, place

RUN = ["dataset", "protocol", "norm", "learning_rate", "seed"]
COLUMNS = [*RUN, "epoch", "train_loss", "train_accuracy", "test_loss", "test_accuracy"]
TIMING_COLUMNS = [*RUN, "epoch", "train_seconds"]
CONTROLLED = "controlled"  # every run starts afresh
REPLAY = "replay"  # one pair of networks is trained on from rate to rate, as the original has it
RANGE = "range"  # as controlled, but short and over many rates


class Records(NamedTuple):
    """`epochs` holds what was measured, `timing` how long it took: kept apart, for only the first can be reproduced.

    A diverged run's last epoch has NaN (an empty field in the CSV) for each measurement.
    """

    epochs: pd.DataFrame
    timing: pd.DataFrame


def collect(runs: Iterable[tuple[RunConfig, Iterable[Epoch]]]) -> Records:
    """The records of finished runs, in an order that does not depend on the order in which they finished.

    Runs with later rates are those of the protocol `replay`; their epochs count from 1 again at each rate.
    """
    measured, timed = [], []
    for config, epochs in runs:
        protocol = REPLAY if config.later_rates else CONTROLLED
        for e in epochs:
            rate, epoch = place(config, e.epoch)
            at = (config.dataset, protocol, config.norm, rate, config.seed, epoch)
            measured.append((*at, e.train_loss, e.train_accuracy, e.test_loss, e.test_accuracy))
            timed.append((*at, round(e.seconds, 3)))
    return _sorted(Records(pd.DataFrame(measured, columns=COLUMNS), pd.DataFrame(timed, columns=TIMING_COLUMNS)))


def join(parts: Iterable[Records]) -> Records:
    """Several tables of records as one."""
    epochs, timing = zip(*parts, strict=True)
    return _sorted(Records(pd.concat(epochs, ignore_index=True), pd.concat(timing, ignore_index=True)))


def of(epochs: pd.DataFrame, protocol: str) -> pd.DataFrame:
    """The records of one protocol."""
    return epochs[epochs.protocol == protocol].reset_index(drop=True)


def relabelled(records: Records, protocol: str) -> Records:
    """The same records under another protocol."""
    return Records(*(table.assign(protocol=protocol) for table in records))


def _sorted(records: Records) -> Records:
    # Without batch norm comes first everywhere, as in the original.
    def order(table: pd.DataFrame) -> pd.DataFrame:
        by = ["dataset", "protocol", "learning_rate", "norm", "seed", "epoch"]
        rank = {"norm": lambda column: column.map({"none": 0, "batch": 1}).fillna(2)}
        return table.sort_values(by, key=lambda c: rank[c.name](c) if c.name in rank else c, ignore_index=True)

    return Records(order(records.epochs), order(records.timing))


def save(records: Records, folder: Path) -> None:
    """Writes `epochs.csv` and `timing.csv`, each whole or not at all; floats are written so that they read back exactly."""
    for name, table in zip(records._fields, records, strict=True):
        files.write_if_changed(folder / f"{name}.csv", table.to_csv(index=False, lineterminator="\n"))


def load(folder: Path) -> Records:
    """Reads what `save` wrote.

    Raises:
        UserError: a file is absent, or is not such a table.
    """
    tables = []
    for name, columns in (("epochs", COLUMNS), ("timing", TIMING_COLUMNS)):
        path = folder / f"{name}.csv"
        if not path.is_file():
            raise UserError(f"no records at {path}; run `make report` first, with DATASET if need be")
        try:
            table = pd.read_csv(path)
        except ValueError as error:  # nothing in it, or no table
            raise UserError(f"{path} is not a table of records: {error}") from error
        if list(table.columns) != columns or table.empty:
            raise UserError(f"{path} is not a table of records: its columns should be {','.join(columns)}")
        tables.append(table)
    return Records(*tables)
