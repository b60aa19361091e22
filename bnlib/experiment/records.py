"""The records of runs: tidy tables, one row per epoch, how they are written and read, and the runs that they hold."""

import itertools
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from bnlib import UserError
from bnlib.experiment.config import FACTORS, LEVELS, RunConfig, full_name, place
from bnlib.system import files
from bnlib.system.stamps import fingerprint

RUN = ["study", "dataset", *FACTORS, "seed"]
MEASURED = ["train_loss", "train_accuracy", "test_loss", "test_accuracy", "classes"]
COLUMNS = {
    "epochs": ["run", *RUN, "epoch", *MEASURED],
    "timing": ["run", *RUN, "epoch", "train_seconds"],
    "runs": ["run", "epochs", "digest", "configuration", "data", "code"],  # and the machine that made each
    "steps": ["run", *RUN, "step", "epoch", "probe", "layer", "measure", "value"],  # of runs that were probed
}
LOOKED = ("probes", "looks")  # in `runs` of a run that was probed: the code that looked, and a digest of what it saw
LARGEST_LOSS = float(np.finfo(np.float32).max)  # that a network can have
# Columns that are never read as numbers.
TEXT = ("run", "study", "dataset", "network", "norm", "activation", "optimizer", "probe", "layer", "measure")
COUNTS = ("warmup", "batch_size", "seed", "epoch", "step")  # that every row has


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


class Look(NamedTuple):
    """What a probe saw of a layer, or of the whole network where none is named, at one step of a run; steps count from 1."""

    probe: str
    layer: str
    measure: str
    value: float
    step: int = 0
    epoch: int = 0


class Run(NamedTuple):
    """A finished run: configuration, epochs, and what made it, as text by name: data, code, machine.

    `adopted` says, where code was changed since, what showed that the bits did not. `looks` are what the probes saw, whose code
    has the fingerprint `probes`.
    """

    config: RunConfig
    epochs: tuple[Epoch, ...]
    made_by: dict[str, str]
    adopted: str = ""
    probes: str = ""
    looks: tuple[Look, ...] = ()

    @property
    def name(self) -> str:
        """The name that records give it."""
        return full_name(self.config, self.made_by)[:16]

    def is_finished(self, epochs: int) -> bool:
        """Whether it has so many epochs, or ended before as diverged."""
        return len(self.epochs) >= epochs or bool(self.epochs and self.epochs[-1].diverged)

    def is_seen(self, epochs: int) -> bool:
        """Whether probes looked into it for so many epochs, or to its end as diverged."""
        seen = max((look.epoch for look in self.looks), default=0)
        return seen >= epochs or bool(self.looks and seen == len(self.epochs) and self.epochs[-1].diverged)

    def first(self, config: RunConfig) -> "Run":
        """Its first epochs, as the run of a configuration that asks for no more."""
        looks = tuple(look for look in self.looks if config.probed and look.epoch <= config.all_epochs)
        return self._replace(config=config, epochs=self.epochs[: config.all_epochs], looks=looks)


class Records(NamedTuple):
    """`epochs` holds what was measured, `timing` how long it took: kept apart, for only the first can be reproduced.

    `runs` says of each run, by its name, what made it; `steps` what probes saw, a row for each number, where any looked. A
    diverged run's last epoch has NaN (an empty field) throughout.
    """

    epochs: pd.DataFrame
    timing: pd.DataFrame
    runs: pd.DataFrame
    steps: pd.DataFrame


def collect(study: str, runs: Iterable[Run]) -> Records:
    """The records of a study's runs, in an order that does not depend on the order in which they finished.

    Epochs of runs with later rates count from 1 again at each rate.
    """
    measured, timed, made, looked = [], [], [], []
    for config, name, run in ((run.config, run.name, run) for run in runs):
        said = {"run": name, "epochs": len(run.epochs), "digest": _digest(run.epochs)}
        said |= {"configuration": json.dumps(config.changed)} | run.made_by | {"adopted": run.adopted}
        made.append(said | ({"probes": run.probes, "looks": _digest_looks(run.looks)} if run.looks else {}))
        for e in run.epochs:
            rate, epoch = place(config, e.epoch)
            factors = (getattr(config, factor) for factor in FACTORS if factor != "learning_rate")
            at = (name, study, config.dataset, *factors, rate, config.seed, epoch)
            measured.append((*at, *_measured(e)))
            timed.append((*at, round(e.seconds, 3)))
        factors = (getattr(config, factor) for factor in FACTORS)
        of_run = (name, study, config.dataset, *factors, config.seed)
        looked += [(*of_run, look.step, look.epoch, look.probe, look.layer, look.measure, look.value) for look in run.looks]
    rows = (("epochs", measured), ("timing", timed), ("steps", looked))
    epochs, timing, steps = (pd.DataFrame(its, columns=COLUMNS[kind]) for kind, its in rows)
    return _sorted(Records(_whole(epochs), timing, pd.DataFrame(made).fillna(dict.fromkeys(LOOKED, "")), steps))


def _measured(epoch: Epoch) -> tuple[float, ...]:
    return tuple(getattr(epoch, name) for name in MEASURED)


def _digest(epochs: Sequence[Epoch]) -> str:
    """What a changed number in the records of a run is noticed by."""
    return fingerprint([[repr(float(value)) for value in _measured(epoch)] for epoch in epochs])[:16]


def _digest_looks(looks: Sequence[Look]) -> str:
    return fingerprint([[*look[:3], repr(float(look.value)), *look[4:]] for look in looks])[:16]


def taken(records: Records) -> tuple[list[Run], dict[str, str]]:
    """The whole runs that records hold; and of each of the others, by its name, what is wrong with it."""
    runs, refused = [], {}
    epochs, timing, steps = (dict(iter(t.groupby("run", sort=False))) for t in (records.epochs, records.timing, records.steps))
    for name, rows in records.runs.groupby("run", sort=False):
        try:
            if len(rows) > 1:
                raise ValueError("stands in runs.csv twice")
            runs.append(_run(rows.iloc[0], epochs.get(name), timing.get(name), steps.get(name)))
        except ValueError as error:
            refused[name] = str(error)
    return runs, refused | dict.fromkeys({**epochs, **timing, **steps}.keys() - set(records.runs.run), "is not in runs.csv")


def _run(said: pd.Series, rows: pd.DataFrame | None, timing: pd.DataFrame | None, steps: pd.DataFrame | None) -> Run:
    """The run of a row of `runs.csv`, from its rows in the other tables.

    Raises:
        ValueError: they do not fit together, or are none that a run can have.
    """
    if rows is None or timing is None:
        raise ValueError("has no epochs")
    try:
        config = RunConfig.model_validate_json(said.configuration)
    except ValueError:
        raise ValueError("has no configuration that can be read") from None
    made_by = {name: value for name, value in said.items() if name not in (*COLUMNS["runs"][:4], "adopted", *LOOKED) and value}
    seconds = {(row.learning_rate, row.epoch): row.train_seconds for row in timing.itertuples()}
    measured: dict[int, Epoch] = {}
    if any(table.duplicated(["study", "learning_rate", "epoch"]).any() for table in (rows, timing)):
        raise ValueError("has an epoch twice")
    rates = (config.learning_rate, *config.later_rates)
    for row in rows.itertuples():
        if any(getattr(row, f) != getattr(config, f) for f in ("dataset", "seed", *FACTORS) if f != "learning_rate"):
            raise ValueError("has rows of another configuration")
        if row.learning_rate not in rates:
            raise ValueError("has rows at another learning rate")
        number = rates.index(row.learning_rate) * config.epochs + int(row.epoch)  # a ValueError where it is none
        values = (np.nan if pd.isna(value) else float(value) for value in (getattr(row, name) for name in MEASURED))
        epoch = Epoch(number, *values, float(seconds.get((row.learning_rate, int(row.epoch)), np.nan)))
        if repr(_measured(measured.get(number, epoch))) != repr(_measured(epoch)):
            raise ValueError(f"has two kinds of epoch {number}")
        measured[number] = epoch
    epochs = tuple(measured[number] for number in sorted(measured))
    _check(epochs)
    if str(len(epochs)) != str(said.epochs) or _digest(epochs) != said.digest:
        raise ValueError("has numbers that were changed")
    if len(timing) != len(rows) or not timing.train_seconds.between(0, LARGEST_LOSS).all():
        raise ValueError("has times that no run can have taken")
    looks = _looks(steps, config)
    if (_digest_looks(looks) if looks else "") != said.get("looks", ""):
        raise ValueError("has other things seen in it than were written")
    config = config.model_copy(update={"probed": bool(looks)})
    run = Run(config, epochs, made_by, said.get("adopted", ""), said.get("probes", ""), looks)
    if run.name != said.run:
        raise ValueError("has another run's name")
    return run


def _looks(steps: pd.DataFrame | None, config: RunConfig) -> tuple[Look, ...]:
    """What probes saw in a run: its rows in `steps.csv`, each once, though several studies have it."""
    if steps is None:
        return ()
    if any((steps[factor] != getattr(config, factor)).any() for factor in ("dataset", "seed", *FACTORS)):
        raise ValueError("has steps of another configuration")
    if steps.duplicated(["study", "step", "probe", "layer", "measure"]).any():
        raise ValueError("has a step twice")
    rows = steps.drop_duplicates(["step", "probe", "layer", "measure"])
    columns = (rows[name] for name in ("probe", "layer", "measure", "value", "step", "epoch"))
    return tuple(itertools.starmap(Look, zip(*columns, strict=True)))


def _check(epochs: Sequence[Epoch]) -> None:
    """Holds epochs against what a run can give."""
    if [epoch.epoch for epoch in epochs] != list(range(1, len(epochs) + 1)):
        raise ValueError("lacks an epoch")
    for epoch in epochs:
        if epoch.diverged and (epoch != epochs[-1] or not np.isnan(_measured(epoch)).all()):
            raise ValueError(f"has no training loss in epoch {epoch.epoch}, and yet goes on")
        if not epoch.diverged:
            losses, shares = (epoch.train_loss, epoch.test_loss), (epoch.train_accuracy, epoch.test_accuracy)
            known = epoch.classes if not np.isnan(epoch.classes) else 1
            if not (all(0 <= x <= LARGEST_LOSS for x in losses) and all(0 <= x <= 1 for x in shares) and known in range(1, 11)):
                raise ValueError(f"has a number in epoch {epoch.epoch} that no run can give")


def _whole(table: pd.DataFrame) -> pd.DataFrame:
    """The table with counts as whole numbers, though some are missing."""
    return table.astype({"classes": "Int64"}) if "classes" in table else table


def join(parts: Iterable[Records]) -> Records:
    """Several studies' records as one; a run that two share is named once in `runs`."""
    return _sorted(Records(*(pd.concat(tables, ignore_index=True) for tables in zip(*parts, strict=True))))


def _sorted(records: Records) -> Records:
    # In the order of `LEVELS`: without a norm comes first, as in the original; what a notebook registers, last.
    def rank(column: pd.Series) -> pd.Series:
        levels = list(LEVELS.get(column.name, ()))
        return column.map({level: i for i, level in enumerate(levels)}).fillna(len(levels)) if levels else column

    by = ["dataset", "study", "learning_rate", *(factor for factor in FACTORS if factor != "learning_rate"), "seed", "epoch"]
    epochs, timing = (table.sort_values(by, key=rank, ignore_index=True, kind="stable") for table in records[:2])
    steps = records.steps.sort_values([*by[:-1], "step"], key=rank, ignore_index=True, kind="stable")
    # Of a run that two studies took, what is said of the longer one, and what was seen in it, whichever of them looked.
    runs = records.runs.sort_values("epochs", key=lambda n: -n.astype(int), kind="stable").set_index("run")
    for column in set(LOOKED) & set(runs):
        runs[column] = runs[column].replace("", None).groupby(level=0).transform("first").fillna("")
    runs = runs[~runs.index.duplicated()]
    first = epochs.run.drop_duplicates()
    return Records(epochs, timing, runs.loc[first[first.isin(runs.index)]].reset_index(), steps)


def save(records: Records, folder: Path) -> None:
    """Writes `epochs.csv`, `timing.csv`, `runs.csv`, all of them or none; floats so that they read back exactly.

    And `steps.csv`, where probes looked into a run.
    """
    tables = [(name, table) for name, table in zip(records._fields, records, strict=True) if name != "steps" or len(table)]
    files.write_all({folder / f"{name}.csv": table.to_csv(index=False, lineterminator="\n") for name, table in tables})
    if not len(records.steps):
        (folder / "steps.csv").unlink(missing_ok=True)


def load(folder: Path) -> Records:
    """Reads what `save` wrote.

    Raises:
        UserError: a file is absent, or is not such a table.
    """
    tables = []
    for name, columns in COLUMNS.items():
        path = folder / f"{name}.csv"
        if name == "steps" and not path.exists():
            tables.append(pd.DataFrame(columns=columns))
            continue
        if not path.exists():
            raise UserError(f"no records at {path}; run `make report` first, with DATASET if need be")
        try:
            # "none" is a norm, and no missing value; what has no number is an empty field.
            table = pd.read_csv(path, dtype=str, keep_default_na=False)
        except (ValueError, IsADirectoryError) as error:  # nothing in it, or no table
            raise UserError(f"{path} is not a table of records: {error}") from error
        # A factor that was none when these were written is at its default; a learning rate always was one.
        for factor in set(FACTORS) - {"learning_rate"} & set(columns) - set(table.columns):
            table[factor] = RunConfig.model_fields[factor].default
        if not set(columns) <= set(table.columns) or (table.empty and name != "steps"):
            raise UserError(f"{path} is not a table of records: its columns should be {','.join(columns)}")
        tables.append(table if name == "runs" else _whole(table[columns].apply(_numbers)))
    return Records(*tables)


def _numbers(column: pd.Series) -> pd.Series:
    """A column with its numbers, to the last bit; what is none becomes NaN, by which `taken` refuses its run."""
    if column.name in TEXT:
        return column
    numbers = column.map(_number)
    return numbers.astype(int) if column.name in COUNTS and numbers.notna().all() else numbers


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return np.nan
