"""The processes that train: runs one by one, or side by side on a GPU, on this machine or on a cluster's workers."""

import os
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice

from joblib.externals.loky import ProcessPoolExecutor, process_executor
from joblib.externals.loky.process_executor import BrokenProcessPool, TerminatedWorkerError

from bnlib import UserError
from bnlib.experiment import registry
from bnlib.experiment.settings import worker_count
from bnlib.runs import cluster, environment, progress, store
from bnlib.runs.store import Recipe
from bnlib.system.code import source
from bnlib.system.signals import end_with
from bnlib.training import data as datasets
from bnlib.training import hardware, loop, models, optimizers, probes
from bnlib.training.data import Data, load_once
from bnlib.training.loop import Checkpoint, fit
from bnlib.training.loops import kernels, layers, many, network
from bnlib.training.loops.many import fit as fit_together

TRAINS = (loop, models, optimizers, hardware, datasets, probes, many, network, layers, kernels)
AT_ONCE = 48  # runs side by side on a GPU: more are no faster, and each takes 0.1 GB of its memory


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


def done(
    recipes: Sequence[Recipe], log: str, workers: int | None, started: ProcessPoolExecutor | None = None
) -> Iterator[Result]:
    """Does runs, and yields each when it is finished, in whatever order that is.

    Args:
        started: processes that were started before, if any were.

    Raises:
        UserError: a worker was killed, or the store cannot be written.
    """
    if not recipes:
        return
    hear = partial(progress.append, log)
    tasks = [Task(recipe, registry.packed(recipe.config)) for recipe in recipes]
    address = cluster.address()
    try:
        if address:
            yield from _done_far(tasks, hear, address)
        else:
            yield from _done_here(tasks, hear, workers or worker_count(tasks[0].recipe.config.device), started)
    except OSError as error:
        raise UserError(
            f"{error.filename or 'the store'}: {error.strerror}; finished epochs are kept: mend that and run again"
        ) from error


def _done_here(
    tasks: list[Task], hear: Callable[[dict], None], workers: int, started: ProcessPoolExecutor | None
) -> Iterator[Result]:
    """Does runs in processes of this machine."""
    groups = _groups(tasks)
    executor = started or ProcessPoolExecutor(min(workers, len(groups)))  # one run left needs no second process
    finished = False
    try:
        for future in _in_turn(
            [partial(executor.submit, _run_here, group, hear, os.getpid()) for group in groups], 2 * workers
        ):
            yield from future.result()
        finished = True
    except (BrokenProcessPool, TerminatedWorkerError) as error:
        raise UserError(
            "a worker process was killed, for want of memory perhaps; its finished epochs are kept: "
            "run again, with a smaller WORKERS if it happens again"
        ) from error
    finally:
        if executor is not started:  # they hold the data, and a kernel that ends while they still do leaves warnings behind
            executor.shutdown(wait=True, kill_workers=not finished)


def _in_turn(submits: Sequence[Callable[[], Future]], most: int) -> Iterator[Future]:
    """Futures as they finish, no more than `most` asked for: over others, loky stumbles when it has to end at once."""
    waiting, asked = iter(submits), set[Future]()
    while asked := asked | {submit() for submit in islice(waiting, most - len(asked))}:
        finished, asked = wait(asked, return_when=FIRST_COMPLETED)
        yield from finished


def _groups(tasks: list[Task]) -> list[list[Task]]:
    """What a process does at once: runs side by side where they can be, in groups of about the same size, else a single run."""
    suited, made = [task for task in tasks if many.suits(task.recipe.config)], []
    for size in dict.fromkeys(task.recipe.config.batch_size for task in suited):
        group = [task for task in suited if task.recipe.config.batch_size == size]
        count = -(-len(group) // AT_ONCE)
        made += [group[i * len(group) // count : (i + 1) * len(group) // count] for i in range(count)]
    return made + [[task] for task in tasks if not many.suits(task.recipe.config)]


def _done_far(tasks: list[Task], hear: Callable[[dict], None], address: str) -> Iterator[Result]:
    """Does runs on a cluster. What the store here has of them goes there, and what is finished there comes into it."""
    begun = [store.get(task.recipe) for task in tasks]
    packed = [checkpoint and store.packed(checkpoint, task.recipe.entry) for task, checkpoint in zip(tasks, begun, strict=True)]
    with cluster.connected(address, hear) as connection:
        for recipe, entry, trained in connection.results(_run_far, zip(tasks, packed, strict=True)):
            checkpoint = store.unpacked(entry, recipe.entry)
            store.put(recipe, checkpoint)
            yield recipe, checkpoint, trained


def make_ready(dataset: str, parent: int) -> None:
    """Does in a process, which ends with `parent`, what has to be done before it can train on a GPU."""
    end_with(parent)
    # Else it would be taken for leaking, as a GPU's libraries come into its memory, and would be replaced between two groups;
    # and so it is, to the same bits, where loky no longer has this name.
    process_executor._MAX_MEMORY_LEAK_SIZE = sys.maxsize
    with ThreadPoolExecutor(1) as other:
        compiling = other.submit(kernels.prepare)
        _ = load_once(dataset).fingerprint
        compiling.result()


def _run_here(tasks: list[Task], say: Callable[[dict], None], parent: int) -> list[Result]:
    """Runs on this machine, in a process that ends with `parent`."""
    end_with(parent)
    done = zip(tasks, _run_all(tasks, say), strict=True)
    return [(task.recipe, replace(checkpoint, model={}, optimizer={}), trained) for task, (checkpoint, trained) in done]


def _run_far(say: Callable[[dict], None], task: Task, begun: bytes | None) -> tuple[Recipe, bytes, int]:
    """A run on a worker of a cluster, from where either store has it."""
    checkpoint, trained = _run(task, say, begun and store.unpacked(begun, task.recipe.entry))
    return task.recipe, store.packed(checkpoint, task.recipe.entry), trained


def _run(task: Task, say: Callable[[dict], None], begun: Checkpoint | None = None) -> tuple[Checkpoint, int]:
    """Does one run from where the store has it, or from `begun` if that is further; returns how many epochs it trained."""
    return _run_all([task], say, begun)[0]


def _run_all(tasks: list[Task], say: Callable[[dict], None], begun: Checkpoint | None = None) -> list[tuple[Checkpoint, int]]:
    """Does one run, or side by side several that suit this."""
    for task in tasks:
        registry.unpack(task.own)
    data = _loaded(tasks[0].recipe)
    kinds = {str((task.recipe.made_by, task.recipe.probes)): task.recipe for task in tasks}  # one of each, as it takes a while
    _ = [_refuse_other_bits(recipe) for recipe in kinds.values()]
    runs = [Doing(task.recipe, begun, say) for task in tasks]
    if many.suits(tasks[0].recipe.config):
        _fit_together(runs, data)
    else:
        (run,) = runs
        for checkpoint in fit(run.recipe.config, data, run.checkpoint, run.watch):
            run.keep(run.seen(checkpoint))
    return [(run.checkpoint, run.trained) for run in runs]


def _fit_together(runs: "list[Doing]", data: Data) -> None:
    """Trains runs side by side; they are stored meanwhile, by a thread, as that takes a fifth of the time of training."""
    with ThreadPoolExecutor(1) as writer:
        written: list[Future] = []
        for i, checkpoint in fit_together([many.Run(run.recipe.config, run.checkpoint, run.watch) for run in runs], data):
            written.append(writer.submit(runs[i].keep, runs[i].seen(checkpoint)))
            if len(written) > len(runs):  # no more than an epoch of each waits, and a store that cannot be written ends all
                written.pop(0).result()
        _ = [future.result() for future in written]


class Doing:
    """A run while it is done, from where the store has it, or from `begun` if that is further; what probes saw in it."""

    def __init__(self, recipe: Recipe, begun: Checkpoint | None, say: Callable[[dict], None]):
        begun = max(store.get(recipe), begun, key=lambda checkpoint: len(checkpoint.epochs) if checkpoint else 0)
        self.recipe, self.checkpoint, self.say, self.trained = recipe, begun, say, 0
        self.looks = list(begun.looks) if begun else []
        self.watch = probes.Watch(recipe.config, self.looks.append) if recipe.config.probed else None

    def seen(self, checkpoint: Checkpoint) -> Checkpoint:
        """A checkpoint with what probes saw up to it."""
        return replace(checkpoint, looks=tuple(self.looks))

    def keep(self, checkpoint: Checkpoint) -> None:
        """Stores the run after another epoch, and says so."""
        store.put(self.recipe, checkpoint)
        self.checkpoint, self.trained, epoch = checkpoint, self.trained + 1, checkpoint.epochs[-1]
        self.say(progress.event(self.recipe.config, epoch.epoch, ended=epoch.diverged))


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
