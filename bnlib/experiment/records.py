"""The records of runs: tidy tables, one row per epoch, and how they are written and read."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from bnlib import UserError
from bnlib.experiment.config import FACTORS, LEVELS, RunConfig, place
from bnlib.system import files

RUN = ["study", "dataset", *FACTORS, "seed"]
MEASURED = ["train_loss", "train_accuracy", "test_loss", "test_accuracy", "classes"]
COLUMNS = {
    "epochs": ["run", *RUN, "epoch", *MEASURED],
    "timing": ["run", *RUN, "epoch", "train_seconds"],
    "runs": ["run"],  # and what made each
}
TEXT = ("run", "study", "dataset", "network", "norm", "activation", "optimizer")  # columns that are never read as numbers


@dataclass(frozen=True)
class Epoch:
    """What one epoch of a run gave. Losses in nats per image, accuracies as fractions, seconds of training alone.

    `classes` is how many classes were predicted for at least one test image. In the epoch in which a run diverges all but the
    seconds are NaN, and it is the run's last.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float
    classes: float
    seconds: float

    @property
    def diverged(self) -> bool:
        return not np.isfinite(self.train_loss)


class Run(NamedTuple):
    """A finished run: its configuration, its name in the store, its epochs, and what made it, as text by name."""

    config: RunConfig
    name: str
    epochs: tuple[Epoch, ...]
    made_by: dict[str, str]


class Records(NamedTuple):
    """`epochs` holds what was measured, `timing` how long it took: kept apart, for only the first can be reproduced.

    `runs` says of each run, by its name, what made it. A diverged run's last epoch has NaN (an empty field in the CSV) for each
    measurement.
    """

    epochs: pd.DataFrame
    timing: pd.DataFrame
    runs: pd.DataFrame


def collect(study: str, runs: Iterable[Run]) -> Records:
    """The records of a study's runs, in an order that does not depend on the order in which they finished.

    Epochs of runs with later rates count from 1 again at each rate.
    """
    measured, timed, made = [], [], []
    for config, name, epochs, made_by in runs:
        made.append({"run": name, "configuration": _written(config)} | made_by)
        for e in epochs:
            rate, epoch = place(config, e.epoch)
            factors = (getattr(config, factor) for factor in FACTORS if factor != "learning_rate")
            at = (name, study, config.dataset, *factors, rate, config.seed, epoch)
            measured.append((*at, e.train_loss, e.train_accuracy, e.test_loss, e.test_accuracy, e.classes))
            timed.append((*at, round(e.seconds, 3)))
    tables = (pd.DataFrame(rows, columns=COLUMNS[kind]) for kind, rows in (("epochs", measured), ("timing", timed)))
    return _sorted(Records(*map(_whole, tables), pd.DataFrame(made)))


def _whole(table: pd.DataFrame) -> pd.DataFrame:
    """The table with counts as whole numbers, though some are missing."""
    return table.astype({"classes": "Int64"}) if "classes" in table else table


def _written(config: RunConfig) -> str:
    return config.model_dump_json(exclude={"epochs"})


def join(parts: Iterable[Records]) -> Records:
    """Several studies' records as one; a run that two share is named once in `runs`."""
    return _sorted(Records(*(pd.concat(tables, ignore_index=True) for tables in zip(*parts, strict=True))))


def _sorted(records: Records) -> Records:
    # In the order in which `LEVELS` names them: without a norm comes first, as in the original; what a notebook registers,
    # last.
    def rank(column: pd.Series) -> pd.Series:
        levels = list(LEVELS.get(column.name, ()))
        return column.map({level: i for i, level in enumerate(levels)}).fillna(len(levels)) if levels else column

    by = ["dataset", "study", "learning_rate", *(factor for factor in FACTORS if factor != "learning_rate"), "seed", "epoch"]
    epochs, timing = (table.sort_values(by, key=rank, ignore_index=True, kind="stable") for table in records[:2])
    runs = records.runs.drop_duplicates("run")
    first = epochs.run.drop_duplicates()
    return Records(epochs, timing, runs.set_index("run").loc[first[first.isin(runs.run)]].reset_index())


def save(records: Records, folder: Path) -> None:
    """Writes `epochs.csv`, `timing.csv`, `runs.csv`, each whole or not at all; floats so that they read back exactly."""
    for name, table in zip(records._fields, records, strict=True):
        files.write_if_changed(folder / f"{name}.csv", table.to_csv(index=False, lineterminator="\n"))


def load(folder: Path) -> Records:
    """Reads what `save` wrote.

    Raises:
        UserError: a file is absent, or is not such a table.
    """
    tables = []
    for name, columns in COLUMNS.items():
        path = folder / f"{name}.csv"
        if not path.is_file():
            raise UserError(f"no records at {path}; run `make report` first, with DATASET if need be")
        try:
            # "none" is a norm, and no missing value; what has no number is an empty field.
            types = dict.fromkeys(TEXT, str) if name != "runs" else str
            table = pd.read_csv(path, dtype=types, keep_default_na=False, na_values={} if name == "runs" else _numbers(columns))
        except ValueError as error:  # nothing in it, or no table
            raise UserError(f"{path} is not a table of records: {error}") from error
        for factor in set(FACTORS) & set(columns) - set(table.columns):  # none when these were written: then at its default
            table[factor] = RunConfig.model_fields[factor].default
        if not set(columns) <= set(table.columns) or table.empty:
            raise UserError(f"{path} is not a table of records: its columns should be {','.join(columns)}")
        tables.append(_whole(table if name == "runs" else table[columns]))
    return Records(*tables)


def _numbers(columns: list[str]) -> dict[str, list[str]]:
    return {column: [""] for column in columns if column not in TEXT}
