"""The processes that train: each run in one of its own, on this machine or on a cluster's workers."""

import os
import platform
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass, replace
from functools import partial

from joblib.externals.loky import ProcessPoolExecutor
from joblib.externals.loky.process_executor import BrokenProcessPool, TerminatedWorkerError

from bnlib import UserError
from bnlib.experiment import registry
from bnlib.experiment.settings import worker_count
from bnlib.runs import cluster, environment, progress, store
from bnlib.runs.store import Recipe
from bnlib.system.code import source
from bnlib.training import data as datasets
from bnlib.training import hardware, loop, models, optimizers, probes
from bnlib.training.data import Data, load_once
from bnlib.training.loop import Checkpoint, fit

TRAINS = (loop, models, optimizers, hardware, datasets, probes)


def refuse_replaced_code() -> None:
    """Refuses to train where it would not be with the code that this process has.

    Raises:
        UserError: training code was replaced in this process.
    """
    if found := source.replaced(TRAINS):
        raise UserError(
            f"{', '.join(found)} was replaced in this process, but runs are trained by others, which have the package's own. "
            "Register yours under a name (`models.norm`, `models.network`, `optimizers.optimizer`) and give that name to a "
            "study, or edit the package's file; then restart this kernel"
        )


@dataclass(frozen=True)
class Task:
    """A run for another process, with the code that a notebook registered for it."""

    recipe: Recipe
    own: bytes | None


Result = tuple[Recipe, Checkpoint, int]  # and how many of its epochs were trained now; the weights stay where it was done


def done(recipes: Sequence[Recipe], log: str, workers: int | None) -> Iterator[Result]:
    """Does runs, and yields each when it is finished, in whatever order that is.

    Raises:
        UserError: a worker was killed, or the store cannot be written.
    """
    if not recipes:
        return
    hear = partial(progress.append, log)
    tasks = [Task(recipe, registry.packed(recipe.config)) for recipe in recipes]
    address = cluster.address()
    try:
        yield from _done_far(tasks, hear, address) if address else _done_here(tasks, hear, workers or worker_count())
    except OSError as error:
        raise UserError(
            f"{error.filename or 'the store'}: {error.strerror}; finished epochs are kept: mend that and run again"
        ) from error


def _done_here(tasks: list[Task], hear: Callable[[dict], None], workers: int) -> Iterator[Result]:
    """Does runs in processes of this machine."""
    executor = ProcessPoolExecutor(min(workers, len(tasks)))  # one run left needs no second process
    finished = False
    try:
        for future in as_completed([executor.submit(_run_here, task, hear, os.getpid()) for task in tasks]):
            yield future.result()
        finished = True
    except (BrokenProcessPool, TerminatedWorkerError) as error:
        raise UserError(
            "a worker process was killed, for want of memory perhaps; its finished epochs are kept: "
            "run again, with a smaller WORKERS if it happens again"
        ) from error
    finally:  # they hold the data, and a kernel that ends while they still do leaves warnings behind
        executor.shutdown(wait=True, kill_workers=not finished)


def _done_far(tasks: list[Task], hear: Callable[[dict], None], address: str) -> Iterator[Result]:
    """Does runs on a cluster. What the store here has of them goes there, and what is finished there comes into it."""
    begun = [store.get(task.recipe) for task in tasks]
    packed = [checkpoint and store.packed(checkpoint, task.recipe.entry) for task, checkpoint in zip(tasks, begun, strict=True)]
    with cluster.connected(address, hear) as connection:
        for recipe, entry, trained in connection.results(_run_far, zip(tasks, packed, strict=True)):
            checkpoint = store.unpacked(entry, recipe.entry)
            store.put(recipe, checkpoint)
            yield recipe, checkpoint, trained


def _run_here(task: Task, say: Callable[[dict], None], parent: int) -> Result:
    """A run on this machine, in a process that ends with `parent`."""
    _end_with(parent)
    checkpoint, trained = _run(task, say)
    return task.recipe, replace(checkpoint, model={}, optimizer={}), trained


def _run_far(say: Callable[[dict], None], task: Task, begun: bytes | None) -> tuple[Recipe, bytes, int]:
    """A run on a worker of a cluster, from where either store has it."""
    name = task.recipe.entry
    checkpoint, trained = _run(task, say, begun and store.unpacked(begun, name))
    return task.recipe, store.packed(checkpoint, name), trained


def _run(task: Task, say: Callable[[dict], None], begun: Checkpoint | None = None) -> tuple[Checkpoint, int]:
    """Does one run from where the store has it, or from `begun` if that is further; returns how many epochs it trained."""
    registry.unpack(task.own)
    recipe = task.recipe
    data = _loaded(recipe)
    _refuse_other_bits(recipe)
    begun = max(store.get(recipe), begun, key=lambda checkpoint: len(checkpoint.epochs) if checkpoint else 0)
    checkpoint, trained, looks = begun, 0, list(begun.looks) if begun else []
    watch = probes.Watch(recipe.config, looks.append) if recipe.config.probed else None
    for checkpoint in fit(recipe.config, data, begun, watch):
        checkpoint = replace(checkpoint, looks=tuple(looks))
        store.put(recipe, checkpoint)
        epoch, trained = checkpoint.epochs[-1], trained + 1
        say(progress.event(recipe.config, epoch.epoch, ended=epoch.diverged))
    return checkpoint, trained


def _refuse_other_bits(recipe: Recipe) -> None:
    """Holds what this process would do against what was asked for.

    Raises:
        UserError: another machine, or other code.
    """
    machine, code = environment.machine(recipe.config.device), store.code(recipe.config)
    for name in recipe.machine | machine:
        mine, its = machine.get(name), recipe.machine.get(name)
        if mine != its:
            raise UserError(
                f"a worker on {platform.node()} would give other bits: its {name} is {mine}, not {its}; "
                "make it the same, restart a cluster's workers, and run again"
            )
    code, asked = code | registry.own_code(recipe.config), recipe.code | recipe.own
    if recipe.probes:
        code, asked = code | {"probes": store.probes_code()}, asked | {"probes": recipe.probes}
    if other := sorted(name for name in asked | code if asked.get(name) != code.get(name)):
        raise UserError(
            f"a worker on {platform.node()} has other code than this process ({', '.join(other)}): package files were edited "
            "since it started, or something was replaced in it; restart the kernel, and a cluster's workers, and run again"
        )


def _loaded(recipe: Recipe) -> Data:
    """The data of a run; files that were mended since this process began are read once more."""
    data = load_once(recipe.config.dataset)
    if data.fingerprint != recipe.data:
        load_once.cache_clear()
        data = load_once(recipe.config.dataset)
    if data.fingerprint != recipe.data:
        raise UserError(
            f"the files of {recipe.config.dataset} on {platform.node()} are not those that this report began with; run again"
        )
    return data


def _end_with(parent: int) -> None:
    """Ends this worker within a second of its parent, which may be killed with no chance to say so."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    if not any(thread.name == "end-with-parent" for thread in threading.enumerate()):
        threading.Thread(target=watch, name="end-with-parent", daemon=True).start()
