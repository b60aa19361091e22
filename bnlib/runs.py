"""Many runs at once: spread over worker processes, taken from the store where they were done before."""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import joblib
from joblib.externals.loky import get_reusable_executor
from joblib.externals.loky.process_executor import TerminatedWorkerError

from bnlib import UserError, cluster, progress, store
from bnlib.config import RunConfig
from bnlib.data import Data, load_once
from bnlib.parameters import worker_count
from bnlib.records import Records, collect
from bnlib.training import Checkpoint, fit
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
    whether a Dask cluster does them (`bnlib.cluster`).

    Args:
        configs: runs on one data set.
        data: that data set.
        workers: processes at the most; `worker_count()` by default.

    Raises:
        UserError: a batch size leaves one image over, which batch norm cannot take; or a worker was killed.
        Whatever a run raised. All finished epochs stay in the store.
    """
    for size in {config.batch_size for config in configs}:
        if len(data.train) % size == 1:
            raise UserError(f"batch_size={size} leaves a last batch of one image, which has no variance; take another size")
    epochs, missing = {}, []
    for config in configs:
        checkpoint = store.get(config, data.fingerprint)
        epochs[config] = checkpoint.epochs[: config.epochs] if checkpoint else ()
        if not (checkpoint and checkpoint.is_finished(config.epochs)):
            missing.append(config)
    kept = {config: config.epochs if config not in missing else len(epochs[config]) for config in configs}
    with progress.shown(kept) as log:
        for config, checkpoint in _done(missing, data, log, workers):
            progress.append(log, {"trained": len(checkpoint.epochs) - len(epochs[config])})
            epochs[config] = checkpoint.epochs
    return collect(epochs.items())


def _done(configs: list[RunConfig], data: Data, log: str, workers: int | None) -> Iterator[tuple[RunConfig, Checkpoint]]:
    """Does runs, and yields each when it is finished, in whatever order that is."""
    facts = (data.fingerprint, store.environment())
    if address := cluster.address():
        with cluster.connected(address, partial(progress.append, log)):
            jobs = (joblib.delayed(_run)(config, *facts, cluster.say) for config in configs)
            for config, checkpoint in joblib.Parallel(return_as="generator_unordered", batch_size=1)(jobs):
                store.put(config, data.fingerprint, checkpoint)  # the worker's store may be on another machine
                yield config, checkpoint
        return
    jobs = (joblib.delayed(_run)(config, *facts, partial(progress.append, log), os.getpid()) for config in configs)
    # One run left needs no second process, nor does a single worker.
    workers = min(workers or worker_count(), len(configs) or 1)
    try:
        yield from joblib.Parallel(workers, return_as="generator_unordered")(jobs)
    except TerminatedWorkerError as error:
        raise UserError(
            "a worker process was killed, for want of memory perhaps; its finished epochs are kept: "
            "run again, with a smaller WORKERS if it happens again"
        ) from error
    finally:
        if workers > 1:  # they hold the data, and a kernel that ends while they still do leaves warnings behind
            get_reusable_executor().shutdown(wait=True)


def _run(
    config: RunConfig, fingerprint: str, environment: dict, say: Callable[[dict], None], parent: int | None = None
) -> tuple[RunConfig, Checkpoint]:
    """Does one run from where the store has it, in a process that ends with `parent` if that is another one."""
    if parent and os.getpid() != parent:
        _end_with(parent)
    data = load_once(config.dataset)
    if data.fingerprint != fingerprint:
        raise UserError(f"the files of {config.dataset} are not those that this report began with; run again")
    here = store.environment()
    for name, value in environment.items():
        if here[name] != value:
            raise UserError(f"a worker would give other bits: its {name} is {here[name]}, not {value}; run again with one kind")
    for checkpoint in fit(config, data, store.get(config, fingerprint)):
        store.put(config, fingerprint, checkpoint)
        epoch = checkpoint.epochs[-1]
        say(progress.event(config, epoch.epoch, ended=epoch.diverged))
    return config, store.get(config, fingerprint)


def _end_with(parent: int) -> None:
    """Ends this worker within a second of its parent, which may be killed with no chance to say so."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    if not any(thread.name == "end-with-parent" for thread in threading.enumerate()):
        threading.Thread(target=watch, name="end-with-parent", daemon=True).start()
