"""The whole runs that records hold, each held against what it was written as, and against what a run can give."""

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd

from bnlib.experiment.config import FACTORS, RunConfig
from bnlib.experiment.records.run import MEASURED, Epoch, Look, Run, digest, digest_of_looks, measured
from bnlib.experiment.records.tables import COLUMNS, LOOKED, TOLD, Records

LARGEST_LOSS = float(np.finfo(np.float32).max)  # that a network can have


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
    made_by = {name: value for name, value in said.items() if name not in (*COLUMNS["runs"][:4], *TOLD, *LOOKED) and value}
    if not (pd.concat([rows.epoch, timing.epoch]) % 1 == 0).all():
        raise ValueError("has an epoch that is no whole number")
    seconds = {(row.learning_rate, row.epoch): row.train_seconds for row in timing.itertuples()}
    found: dict[int, Epoch] = {}
    if any(table.duplicated(["study", "learning_rate", "epoch"]).any() for table in (rows, timing)):
        raise ValueError("has an epoch twice")
    rates = (config.learning_rate, *config.later_rates)
    for row in rows.itertuples():
        if any(getattr(row, f) != getattr(config, f) for f in ("dataset", "seed", *FACTORS) if f != "learning_rate"):
            raise ValueError("has rows of another configuration")
        if row.learning_rate not in rates:
            raise ValueError("has rows at another learning rate")
        number = rates.index(row.learning_rate) * config.epochs + int(row.epoch)
        values = {name: np.nan if pd.isna(getattr(row, name)) else float(getattr(row, name)) for name in MEASURED}
        epoch = Epoch(number, **values, seconds=float(seconds.get((row.learning_rate, int(row.epoch)), np.nan)))
        if repr(measured(found.get(number, epoch))) != repr(measured(epoch)):
            raise ValueError(f"has two kinds of epoch {number}")
        found[number] = epoch
    epochs = tuple(found[number] for number in sorted(found))
    _check(epochs)
    if str(len(epochs)) != str(said.epochs) or digest(epochs) != said.digest:
        raise ValueError("has numbers that were changed")
    if len(timing) != len(rows) or not timing.train_seconds.between(0, LARGEST_LOSS).all():
        raise ValueError("has times that no run can have taken")
    looks = _looks(steps, config)
    if digest_of_looks(looks) != said.get("looks", ""):
        raise ValueError("has other things seen in it than were written")
    config = config.model_copy(update={"probed": bool(looks)})
    run = Run(config, epochs, made_by, said.get("adopted", ""), said.get("probes", ""), looks, said.get("date", ""))
    if run.name != said.run:
        raise ValueError("has another run's name")
    return run


def _looks(steps: pd.DataFrame | None, config: RunConfig) -> tuple[Look, ...]:
    """What probes saw in a run: its rows in `steps.csv`, each once, though several studies have it."""
    if steps is None:
        return ()
    if any((steps[factor] != getattr(config, factor)).any() for factor in ("dataset", "seed", *FACTORS)):
        raise ValueError("has steps of another configuration")
    if not (steps[["step", "epoch"]] % 1 == 0).all(axis=None):
        raise ValueError("has a step that is no whole number")
    if steps.duplicated(["study", "step", "probe", "layer", "measure"]).any():
        raise ValueError("has a step twice")
    rows = steps.astype({"step": int, "epoch": int}).drop_duplicates(["step", "probe", "layer", "measure"])
    columns = (rows[name] for name in ("probe", "layer", "measure", "value", "step", "epoch"))
    return tuple(itertools.starmap(Look, zip(*columns, strict=True)))


def _check(epochs: Sequence[Epoch]) -> None:
    """Holds epochs against what a run can give."""
    if [epoch.epoch for epoch in epochs] != list(range(1, len(epochs) + 1)):
        raise ValueError("lacks an epoch")
    for epoch in epochs:
        if epoch.diverged and (epoch != epochs[-1] or not np.isnan(measured(epoch)).all()):
            raise ValueError(f"has no training loss in epoch {epoch.epoch}, and yet goes on")
        if not epoch.diverged:
            losses, shares = [epoch.train_loss, epoch.test_loss], (epoch.train_accuracy, epoch.test_accuracy)
            losses += [] if np.isnan(epoch.fitted_loss) else [epoch.fitted_loss]
            known = epoch.classes if not np.isnan(epoch.classes) else 1
            if not (all(0 <= x <= LARGEST_LOSS for x in losses) and all(0 <= x <= 1 for x in shares) and known in range(1, 11)):
                raise ValueError(f"has a number in epoch {epoch.epoch} that no run can give")
