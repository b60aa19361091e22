"""Records: tidy tables of runs, how they are written and read."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from bnlib import UserError
from bnlib.experiment.config import FACTORS, LEVELS, RunConfig, place
from bnlib.experiment.records.run import MEASURED, Run, digest, digest_of_looks, measured
from bnlib.system import files

if TYPE_CHECKING:
    from bnlib.experiment.study import Study

RUN = ["study", "dataset", *FACTORS, "seed"]
COLUMNS = {
    "epochs": ["run", *RUN, "epoch", *MEASURED],
    "timing": ["run", *RUN, "epoch", "train_seconds"],
    "runs": ["run", "epochs", "digest", "configuration", "data", "code"],  # and the machine that made each
    "steps": ["run", *RUN, "step", "epoch", "probe", "layer", "measure", "value"],  # of runs that were probed
}
PROCESSOR = ("processor", "instruction set", "accelerator")  # in `runs`, of the machine
TOLD = ("adopted", "date")  # in `runs`, of what did not make a run
LOOKED = ("probes", "looks")  # in `runs` of a run that was probed: the code that looked, and a digest of what it saw
DEFAULTS = {factor: RunConfig.model_fields[factor].default for factor in FACTORS}
# Columns that are never read as numbers, and those of whole numbers that every row has.
TEXT = ("run", "study", "dataset", *(f for f in FACTORS if isinstance(DEFAULTS[f], str)), "probe", "layer", "measure")
COUNTS = (*(f for f in FACTORS if isinstance(DEFAULTS[f], int)), "seed", "epoch", "step")


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
    seen, timed, made, looked = [], [], [], []
    for config, name, run in ((run.config, run.name, run) for run in runs):
        said = {"run": name, "epochs": len(run.epochs), "digest": digest(run.epochs)}
        said |= {"configuration": json.dumps(config.changed)} | run.made_by | {"adopted": run.adopted, "date": run.date}
        made.append(said | ({"probes": run.probes, "looks": digest_of_looks(run.looks)} if run.looks else {}))
        for e in run.epochs:
            rate, epoch = place(config, e.epoch)
            factors = (getattr(config, factor) for factor in FACTORS if factor != "learning_rate")
            at = (name, study, config.dataset, *factors, rate, config.seed, epoch)
            seen.append((*at, *measured(e)))
            timed.append((*at, round(e.seconds, 3)))
        factors = (getattr(config, factor) for factor in FACTORS)
        of_run = (name, study, config.dataset, *factors, config.seed)
        looked += [(*of_run, look.step, look.epoch, look.probe, look.layer, look.measure, look.value) for look in run.looks]
    rows = (("epochs", seen), ("timing", timed), ("steps", looked))
    epochs, timing, steps = (pd.DataFrame(its, columns=COLUMNS[kind]) for kind, its in rows)
    return _sorted(Records(_whole(epochs), timing, pd.DataFrame(made).fillna(dict.fromkeys(LOOKED, "")), steps))


def _whole(table: pd.DataFrame) -> pd.DataFrame:
    """The table with counts as whole numbers, though some are missing; what is none stays, and `taken` refuses its run."""
    if "classes" not in table or (table.classes.dropna() % 1).any():
        return table
    return table.astype({"classes": "Int64"})


def join(parts: Iterable[Records]) -> Records:
    """Several studies' records as one; a run that two share is named once in `runs`, and took as long as the first says."""
    # Of tables without rows pandas does not know that they are of numbers.
    filled = ([table for table in tables if len(table)] or tables[:1] for tables in zip(*parts, strict=True))
    joined = Records(*(pd.concat(tables, ignore_index=True) for tables in filled))
    # One that was trained twice, once without and once with looks into it, is still one run.
    seconds = joined.timing.groupby(["run", "learning_rate", "epoch"], sort=False).train_seconds.transform("first")
    return _sorted(joined._replace(timing=joined.timing.assign(train_seconds=seconds)))


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


def mixed(studies: Iterable["Study"], records: Records) -> tuple[int, int]:
    """In how many pairs of some studies the two runs were made on different kinds of processors, and how many pairs there are.

    Each run makes a pair with that of the reference of its learning rates and seed, once, though several studies share it.
    """
    told = records.runs.set_index("run").reindex(columns=PROCESSOR, fill_value="").fillna("")
    kind, pairs = told.agg(" ".join, axis=1).to_dict(), set()
    for study in studies:
        firsts = study.of(records.epochs).drop_duplicates(["arm", "learning_rate", "seed"])
        runs = firsts.pivot(index=["learning_rate", "seed"], columns="arm", values="run")
        reference, *others = (runs.get(arm.name, pd.Series(index=runs.index, dtype=object)) for arm in study.arms)
        pairs |= {pair for its in others for pair in zip(reference, its, strict=True) if all(map(pd.notna, pair))}
    return sum(kind[one] != kind[other] for one, other in pairs), len(pairs)


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
        # What was not measured when these were written has no number; a factor that was none is at its default, and a learning
        # rate always was one.
        if name == "epochs" and "fitted_loss" not in table.columns:
            table["fitted_loss"] = ""
        for factor in set(FACTORS) - {"learning_rate"} & set(columns) - set(table.columns):
            table[factor] = DEFAULTS[factor]
        if not set(columns) <= set(table.columns) or (table.empty and name != "steps"):
            raise UserError(f"{path} is not a table of records: its columns should be {','.join(columns)}")
        tables.append(table if name == "runs" else _whole(table[columns].apply(_numbers)))
    return Records(*tables)


def _numbers(column: pd.Series) -> pd.Series:
    """A column with its numbers, to the last bit; what is none becomes NaN, by which `taken` refuses its run."""
    if column.name in TEXT:
        return column
    places, texts = pd.factorize(column)  # most columns hold a few numbers many times
    numbers = pd.Series(np.array([_number(text) for text in texts])[places], column.index, name=column.name)
    return numbers.astype(int) if column.name in COUNTS and (numbers % 1 == 0).all() else numbers


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return np.nan
