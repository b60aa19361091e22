"""Many runs at once: spread over worker processes, taken from the store where they were done before."""

import os
import platform
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import joblib
from joblib.externals.loky import get_reusable_executor
from joblib.externals.loky.process_executor import BrokenProcessPool

from bnlib import UserError, cluster, progress, store
from bnlib.config import RunConfig
from bnlib.data import Data, load_once
from bnlib.parameters import worker_count
from bnlib.records import Records, collect
from bnlib.training import Checkpoint, Epoch, fit
from bnlib.words import ARMS

__all__ = ["RunConfig", "paired_configs", "run_all"]


def paired_configs(*, seeds: int, **fields) -> list[RunConfig]:
    """Both arms for each of `seeds` seeds from 0 on; `fields` are the other fields of `RunConfig`.

    Raises:
        pydantic.ValidationError: a field is unknown, missing or out of its range.
        ValueError: `seeds` is below 1.
    """
    if seeds < 1:
        raise ValueError(f"seeds={seeds}: should be 1 or more")
    return [RunConfig(norm=norm, seed=seed, **fields) for seed in range(seeds) for norm in ARMS]


def run_all(configs: Sequence[RunConfig], data: Data, workers: int | None = None) -> Records:
    """Does the epochs that the store lacks, several runs at once, and returns the records of all.

    Every run has its own process and its own fixed number of threads, so the records do not depend on `workers`, nor on
    whether a Dask cluster does them (`bnlib.cluster`). All finished epochs stay in the store, whatever happens; on a cluster,
    in that of the worker until the run is finished.

    Args:
        configs: runs on one data set.
        data: that data set.
        workers: processes at the most; `worker_count()` by default.

    Raises:
        UserError: a batch size leaves one image over, which batch norm cannot take; or a worker was killed, or the store
            cannot be written.
    """
    for size in {config.batch_size for config in configs}:
        if len(data.train) % size == 1:
            raise UserError(f"batch_size={size} leaves a last batch of one image, which has no variance; take another size")
    epochs, missing = {}, []
    for config in configs:
        checkpoint = store.get(config, data.fingerprint)
        epochs[config] = checkpoint.epochs[: config.all_epochs] if checkpoint else ()
        if not (checkpoint and checkpoint.is_finished(config.all_epochs)):
            missing.append(config)
    # The longest first, so that none is left over for one worker while the others wait (Graham, SIAM J. Appl. Math. 17, 1969);
    # an epoch with batch norm takes longer.
    missing.sort(key=lambda config: (config.all_epochs - len(epochs[config]), config.norm == "batch"), reverse=True)
    kept = {config: config.all_epochs if config not in missing else len(epochs[config]) for config in configs}
    with progress.shown(kept) as log:
        for config, done, trained in _done(missing, data, log, workers):
            progress.append(log, {"trained": trained})
            epochs[config] = done[: config.all_epochs]
    return collect(epochs.items())


Result = tuple[RunConfig, tuple[Epoch, ...], int]  # and how many of its epochs were trained now


def _done(configs: list[RunConfig], data: Data, log: str, workers: int | None) -> Iterator[Result]:
    """Does runs, and yields each when it is finished, in whatever order that is."""
    if not configs:
        return
    hear = partial(progress.append, log)
    tasks = [(config, data.fingerprint, store.environment(config.device)) for config in configs]
    address = cluster.address()
    try:
        yield from _done_far(tasks, hear, address) if address else _done_here(tasks, hear, workers or worker_count())
    except OSError as error:
        raise UserError(
            f"{error.filename or 'the store'}: {error.strerror}; finished epochs are kept: mend that and run again"
        ) from error


def _done_here(tasks: list[tuple], hear: Callable[[dict], None], workers: int) -> Iterator[Result]:
    """Does runs in processes of this machine."""
    workers = min(workers, len(tasks))  # one run left needs no second process
    jobs = (joblib.delayed(_run_here)(task, hear, os.getpid()) for task in tasks)
    try:
        yield from joblib.Parallel(workers, return_as="generator_unordered", batch_size=1)(jobs)
    except BrokenProcessPool as error:
        raise UserError(
            "a worker process was killed, for want of memory perhaps; its finished epochs are kept: "
            "run again, with a smaller WORKERS if it happens again"
        ) from error
    finally:
        if workers > 1:  # they hold the data, and a kernel that ends while they still do leaves warnings behind
            get_reusable_executor(reuse=True).shutdown(wait=True)


def _done_far(tasks: list[tuple], hear: Callable[[dict], None], address: str) -> Iterator[Result]:
    """Does runs on a cluster. What the store here has of them goes there, and what is finished there comes into it."""
    begun = [store.get(config, fingerprint) for config, fingerprint, _ in tasks]
    packed = [checkpoint and store.packed(checkpoint) for checkpoint in begun]
    with cluster.connected(address, hear) as connection:
        for config, fingerprint, entry, trained in connection.results(_run_far, zip(tasks, packed, strict=True)):
            checkpoint = store.unpacked(entry)
            store.put(config, fingerprint, checkpoint)
            yield config, checkpoint.epochs, trained


def _run_here(task: tuple, say: Callable[[dict], None], parent: int) -> Result:
    """A run on this machine, in a process that ends with `parent` if that is another one."""
    if os.getpid() != parent:
        _end_with(parent)
    checkpoint, trained = _run(*task, say)
    return task[0], checkpoint.epochs, trained


def _run_far(say: Callable[[dict], None], task: tuple, begun: bytes | None) -> tuple[RunConfig, str, bytes, int]:
    """A run on a worker of a cluster, from where either store has it."""
    checkpoint, trained = _run(*task, say, begun and store.unpacked(begun))
    config, fingerprint, _ = task
    return config, fingerprint, store.packed(checkpoint), trained


def _run(
    config: RunConfig,
    fingerprint: str,
    environment: dict[str, str],
    say: Callable[[dict], None],
    begun: Checkpoint | None = None,
) -> tuple[Checkpoint, int]:
    """Does one run from where the store has it, or from `begun` if that is further; returns how many epochs it trained."""
    data = _loaded(config.dataset, fingerprint)
    here = store.environment(config.device)
    for name in environment | here:
        if here.get(name) != environment.get(name):
            mine, its = (said.get(name, "not set") for said in (here, environment))
            raise UserError(
                f"a worker on {platform.node()} would give other bits: its {name} is {mine}, not {its}; "
                "make it the same, restart a cluster's workers, and run again"
            )
    begun = max(store.get(config, fingerprint), begun, key=lambda checkpoint: len(checkpoint.epochs) if checkpoint else 0)
    checkpoint, trained = begun, 0
    for checkpoint in fit(config, data, begun):
        store.put(config, fingerprint, checkpoint)
        epoch, trained = checkpoint.epochs[-1], trained + 1
        say(progress.event(config, epoch.epoch, ended=epoch.diverged))
    return checkpoint, trained


def _loaded(dataset: str, fingerprint: str) -> Data:
    """The data with that fingerprint; files that were mended since this process began are read once more."""
    data = load_once(dataset)
    if data.fingerprint != fingerprint:
        load_once.cache_clear()
        data = load_once(dataset)
    if data.fingerprint != fingerprint:
        raise UserError(f"the files of {dataset} on {platform.node()} are not those that this report began with; run again")
    return data


def _end_with(parent: int) -> None:
    """Ends this worker within a second of its parent, which may be killed with no chance to say so."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    if not any(thread.name == "end-with-parent" for thread in threading.enumerate()):
        threading.Thread(target=watch, name="end-with-parent", daemon=True).start()
