"""The runs of a study: taken from the report's records or from the store where they were done before, else done now."""

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from bnlib import UserError
from bnlib.experiment import records
from bnlib.experiment.config import RunConfig, full_name
from bnlib.experiment.records import Records, Run
from bnlib.experiment.settings import worker_count
from bnlib.experiment.study import Study
from bnlib.runs import cluster, environment, progress, provenance
from bnlib.system import paths

# No torch here: where there is nothing to train, nobody should wait the seconds that it takes to import. What needs it, brings
# it along.
if TYPE_CHECKING:
    from joblib.externals.loky import ProcessPoolExecutor
    from torch import nn

    from bnlib.runs.store import Recipe
    from bnlib.training.data import Data
    from bnlib.training.loop import Checkpoint

STRICT = "STRICT"  # set, it has runs of other machines done anew
SAID = 3  # refused runs that are named, of many


def run(study: Study, data: "Data") -> Records:
    """As `run_each`, of one study."""
    return run_each([study], data)[0]


def run_each(studies: Sequence[Study], data: "Data") -> list[Records]:
    """Does what is missing of studies, saves the records of each where the notebook's report looks for them, and returns them.

    `make report` has done that before it runs a notebook, and has its records there.

    Raises:
        UserError: as `run_all`.
    """
    folders = {study.stem: paths.records(study.stem, data.name) for study in studies}
    asked = [s for s in studies if paths.RECORDS not in os.environ or not provenance.is_of(folders[s.stem], s)]
    if asked:
        run_studies(asked, data)
    return [records.load(folders[study.stem]) for study in studies]


def run_studies(studies: Sequence[Study], data: "Data") -> list[Records]:
    """Does what is missing of several studies on one data set, all at once, saves the records of each, and returns them.

    Raises:
        UserError: as `run_all`.
    """
    runs, made = iter(run_all([config for study in studies for config in study.configs], data)), []
    for study in studies:
        made.append(records.collect(study.name, [next(runs) for _ in study.configs]))
        folder = paths.records(study.stem, data.name)
        records.save(made[-1], folder)
        provenance.save(study, data, folder)
    return made


def trained(config: RunConfig, data: "Data") -> "nn.Module":
    """The network of a run with the weights that it was trained to, for evaluation; the run is done if the store lacks it.

    Raises:
        UserError: the store has it after more epochs: it keeps the latest weights alone. Or as `run_all`.
    """
    from bnlib.runs import store
    from bnlib.training import models

    run_all([config], data, anew=True)
    (recipe,) = store.recipes([config], data.fingerprint)
    checkpoint = store.get(recipe)
    if checkpoint is None:
        raise UserError("the store was emptied meanwhile; run again")
    if len(checkpoint.epochs) > config.all_epochs:
        raise UserError(f"the store has this run after {len(checkpoint.epochs)} epochs alone; ask for so many")
    model = models.build(config)
    model.load_state_dict(checkpoint.model)
    return model.eval()


def run_all(configs: Sequence[RunConfig], data: "Data", workers: int | None = None, anew: bool = False) -> list[Run]:
    """Does the epochs that are nowhere to be had, several runs at once, and returns all, in the order of `configs`.

    A run is taken from the records of the report on these data where its configuration, data and code agree, though it was
    made on another machine (unless `STRICT` is set); else from the store; else it is done, in a process of its own that imports
    the package afresh and has its own fixed number of threads: so the results do not depend on `workers`, nor on whether a Dask
    cluster does them (`cluster`), nor on what was changed in this process. All finished epochs stay in the store, whatever
    happens; on a cluster, in that of the worker until the run is finished.

    Args:
        configs: runs on one data set.
        data: that data set.
        workers: processes at the most; `worker_count()` by default.
        anew: takes nothing from the report's records: where weights are wanted, or runs to compare with it.

    Raises:
        NoDevice: something is to be trained on a device that this machine has not.
        UserError: training code was replaced in this process; the images are missing and something is to be trained; a batch
            size leaves one image over, which batch norm cannot take; a worker was killed, or the store cannot be written.
    """
    with _started(configs, workers) as started:
        return _run_all(configs, data, workers, anew, started)


@contextlib.contextmanager
def _started(configs: Sequence[RunConfig], workers: int | None) -> "Iterator[ProcessPoolExecutor | None]":
    """A process that makes ready to train on a GPU while this one finds out what there is to train: both take seconds."""
    if cluster.address() or not environment.has_gpu_driver() or not all(config.device == "cuda" for config in configs):
        yield None
        return
    from joblib.externals.loky import ProcessPoolExecutor

    executor = ProcessPoolExecutor(workers or worker_count("cuda"))
    executor.submit(_make_ready, configs[0].dataset, os.getpid())
    try:
        yield executor
    finally:
        executor.shutdown(wait=True, kill_workers=True)


def _make_ready(dataset: str, parent: int) -> None:
    from bnlib.runs import workers

    workers.make_ready(dataset, parent)


def _run_all(
    configs: Sequence[RunConfig], data: "Data", workers: int | None, anew: bool, started: "ProcessPoolExecutor | None"
) -> list[Run]:
    from bnlib.runs import store
    from bnlib.runs import workers as processes

    processes.refuse_replaced_code()
    recipes, longest = store.recipes(configs, data.fingerprint), {}
    for recipe in recipes:  # of runs that differ in their epochs alone, the longest is done, and the others are its beginnings
        if recipe.entry not in longest or recipe.config.epochs > longest[recipe.entry].config.epochs:
            longest[recipe.entry] = recipe
    runs = {} if anew else _given(longest, data.name)
    missing = [recipe for entry, recipe in longest.items() if entry not in runs]
    runs |= _done(missing, data, workers, started, given=len(runs))
    return [runs[recipe.entry].first(recipe.config) for recipe in recipes]


def _given(recipes: "dict[str, Recipe]", dataset: str) -> dict[str, Run]:
    """Those of the runs that the report's records have, by entry; records that are not as they were written are passed over."""
    folder = paths.report(dataset) / "data"
    if not (folder / "runs.csv").exists():
        return {}
    try:
        kept, refused = records.taken(records.load(folder))
    except UserError as error:
        kept, refused = [], {"": str(error)}
    _say_refused(refused, folder)
    by_question = records.grouped(kept, lambda run: _question(run.config, run.made_by))
    strict, found = os.environ.get(STRICT, "0") not in ("", "0"), {}
    for entry, recipe in recipes.items():
        its, epochs = by_question.get(_question(recipe.config, recipe.made_by), ()), recipe.config.all_epochs
        its = [run for run in its if run.probes == recipe.probes] if recipe.probes else its
        run = records.serving(recipe.config, [run for run in its if run.made_by == recipe.made_by] if strict else its)
        if run and run.is_finished(epochs) and (not recipe.probes or run.is_seen(epochs)):
            found[entry] = run
    return found


def _question(config: RunConfig, made_by: dict[str, str]) -> str:
    """What a run is of, wherever it was made."""
    return full_name(config, {name: made_by[name] for name in ("data", "code")})


def _say_refused(refused: dict[str, str], folder) -> None:
    lines = [f"{folder}: {f'run {name} {problem}' if name else problem}; not taken" for name, problem in refused.items()]
    if len(lines) > SAID:
        lines = [*lines[:SAID], f"{folder}: {len(lines) - SAID} more runs are not as they were written; not taken"]
    for line in lines:
        print(f"WARNING: {line}", file=sys.stderr)


def _done(
    recipes: "list[Recipe]", data: "Data", workers: int | None, started: "ProcessPoolExecutor | None", given: int
) -> dict[str, Run]:
    """Runs from the store, gone on with where they are not finished, by entry."""
    from bnlib.runs import workers as processes

    runs = {recipe.entry: _stored(recipe) for recipe in recipes}
    kept = {recipe.config: min(len(runs[recipe.entry].epochs), recipe.config.all_epochs) for recipe in recipes}
    with progress.shown(kept, given) as log:
        for chains in (False, True):  # a chain begins as the run at its first rate does, which the store then has
            part = [recipe for recipe in recipes if bool(recipe.config.later_rates) == chains]
            if chains:
                stored = {recipe.entry: _stored(recipe) for recipe in part}
                progress.append(log, {"found": sum(len(run.epochs) - len(runs[e].epochs) for e, run in stored.items())})
                runs |= stored
            missing = [recipe for recipe in part if not runs[recipe.entry].is_finished(recipe.config.all_epochs)]
            if missing:
                _check([recipe.config for recipe in missing], data)
            # The longest first, so that none is left over for one worker while the others wait (Graham, SIAM J. Appl. Math.
            # 17, 1969); an epoch with a norm takes longer.
            missing.sort(
                key=lambda r: (r.config.all_epochs - len(runs[r.entry].epochs), r.config.probed, r.config.norm != "none"),
                reverse=True,
            )
            for recipe, done, trained in processes.done(missing, log, workers, started):
                progress.append(log, {"trained": trained})
                runs[recipe.entry] = _of(recipe, done)
    return {recipe.entry: runs[recipe.entry].first(recipe.config) for recipe in recipes}


def _stored(recipe: "Recipe") -> Run:
    """A run as far as the store has it."""
    from bnlib.runs import store

    return _of(recipe, store.get(recipe))


def _of(recipe: "Recipe", checkpoint: "Checkpoint | None") -> Run:
    from bnlib.runs import store

    epochs, looks = (checkpoint.epochs, checkpoint.looks) if checkpoint else ((), ())
    date = store.date(recipe) if epochs else ""
    return Run(recipe.config, epochs, recipe.made_by, probes=recipe.probes, looks=looks, date=date)


def _check(configs: Sequence[RunConfig], data: "Data") -> None:
    if not cluster.address():
        for device in {config.device for config in configs}:
            environment.need(device)
    if not data.here:
        from bnlib.training.data import load

        load(data.name)  # says what is missing, and what to do
    for size in {config.batch_size for config in configs}:
        if len(data.train) % size == 1:
            raise UserError(f"batch_size={size} leaves a last batch of one image, which has no variance; take another size")
