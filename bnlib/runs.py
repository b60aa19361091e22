"""Many runs at once: spread over worker processes, taken from the store where they were done before."""

import os
import threading
import time
from collections.abc import Sequence

import joblib
import torch

from bnlib import UserError, progress, store
from bnlib.config import RunConfig
from bnlib.data import Data, load_once
from bnlib.parameters import worker_count
from bnlib.records import Records, collect
from bnlib.training import Epoch, fit
from bnlib.words import ARMS

__all__ = ["RunConfig", "paired_configs", "resolve_device", "run_all"]


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
    """Does the runs that the store lacks, several at once, and returns the records of all.

    Every run has its own process and its own fixed number of threads, so the records do not depend on `workers`.

    Args:
        configs: runs on one data set.
        data: that data set.
        workers: processes at the most; `worker_count()` by default.

    Raises:
        UserError: a batch size leaves one image over, which batch norm cannot take.
        Whatever a run raised; the runs finished before it stay in the store.
    """
    for size in {config.batch_size for config in configs}:
        if len(data.train) % size == 1:
            raise UserError(f"batch_size={size} leaves a last batch of one image, which has no variance; take another size")
    found = {config: store.get(config, data.fingerprint) for config in configs}
    missing = [config for config, epochs in found.items() if epochs is None]
    with progress.shown(configs, missing) as log:
        shared = (data.fingerprint, store.environment(), log, os.getpid())
        jobs = (joblib.delayed(_run)(config, *shared) for config in missing)
        # One run left needs no second process, nor does a single worker.
        parallel = joblib.Parallel(min(workers or worker_count(), len(missing) or 1), return_as="generator_unordered")
        for config, epochs in parallel(jobs):
            found[config] = epochs
    return collect(found.items())


def _run(config: RunConfig, fingerprint: str, environment: dict, log: str, parent: int) -> tuple[RunConfig, list[Epoch]]:
    if os.getpid() != parent:
        _end_with(parent)
    data = load_once(config.dataset)
    if data.fingerprint != fingerprint:
        raise UserError(f"the files of {config.dataset} changed while the runs went on; run again")
    if store.environment() != environment:
        raise UserError("the training code changed while the runs went on; run again")
    epochs = []
    for epoch in fit(config, data):
        epochs.append(epoch)
        progress.report(log, config, epoch.epoch, ended=epoch.diverged)
    store.put(config, fingerprint, epochs)
    return config, epochs


def _end_with(parent: int) -> None:
    """Ends this worker within a second of its parent, which may be killed with no chance to say so."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    if not any(thread.name == "end-with-parent" for thread in threading.enumerate()):
        threading.Thread(target=watch, name="end-with-parent", daemon=True).start()


def resolve_device(device: str) -> str:
    """The device that `auto` stands for here, or the one asked for.

    Raises:
        UserError: this machine has no such device.
    """
    have = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        return next(name for name, here in have.items() if here)
    if not have.get(device, False):
        here = ", ".join(name for name, present in have.items() if present)
        raise UserError(f"DEVICE={device}: not to be had here; this machine has: auto, {here}")
    return device
