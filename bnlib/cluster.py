"""Runs on other machines: a Dask scheduler hands them to its workers (`distributed`, the extra `cluster`)."""

import asyncio
import contextlib
import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import joblib

from bnlib import UserError

VARIABLE = "SCHEDULER"
TOPIC = "bnlib-progress"
PATIENCE = 4.0  # seconds to wait for the scheduler, and then for a worker


def address() -> str | None:
    """The scheduler that `SCHEDULER` names, tcp://host:port; None where runs are done on this machine."""
    return os.environ.get(VARIABLE) or None


@contextlib.contextmanager
def connected(address: str, hear: Callable[[dict], None] = lambda event: None) -> Iterator[int]:
    """A block in which joblib's parallel jobs go to the workers of a Dask cluster; yields how many it has.

    A worker that dies is replaced by another, which does its run anew from the last epoch in its own store.

    Args:
        address: tcp://host:port of the scheduler.
        hear: called with each event that a worker gave to `say`.

    Raises:
        UserError: this is no address, or `distributed` is not installed; no scheduler answers there, or it has no workers,
            or workers of several threads.
    """
    if not re.fullmatch(r"[a-z]+://[^/]+:\d+", address):
        raise UserError(f'{VARIABLE}="{address}": should be tcp://host:port')
    try:
        import distributed
    except ImportError:
        raise UserError(f"{VARIABLE} needs the package distributed: pip install 'bnlib[cluster]'") from None
    try:
        # Asked first without a client, which would have much to say when nobody answers, or somebody else; and in a thread,
        # as a notebook's own has an event loop already.
        ThreadPoolExecutor().submit(asyncio.run, _knock(address)).result()
        client = distributed.Client(address, timeout=PATIENCE, set_as_default=False)
    except Exception as error:  # what is no scheduler can answer in any way
        raise UserError(f'{VARIABLE}="{address}": no Dask scheduler answers there ({_reason(error)})') from None
    with client:
        try:
            client.wait_for_workers(1, timeout=PATIENCE)
        except TimeoutError:
            raise UserError(f'{VARIABLE}="{address}": the scheduler there has no workers; start some') from None
        workers = client.scheduler_info(n_workers=-1)["workers"].values()
        if any(worker["nthreads"] > 1 for worker in workers):
            # Runs that share a process would share its number of threads, which decides their bits.
            raise UserError(f'{VARIABLE}="{address}": its workers have several threads each; start them with --nthreads 1')
        client.subscribe_topic(TOPIC, lambda event: hear(event[1]))
        with joblib.parallel_config(backend="dask", client=client):
            yield len(workers)


def say(event: dict) -> None:
    """Called on a worker: passes `event` on to whoever waits for its run."""
    from distributed import get_worker

    get_worker().log_event(TOPIC, event)


async def _knock(address: str) -> None:
    from distributed.comm import connect

    comm = await asyncio.wait_for(connect(address, timeout=PATIENCE), PATIENCE + 1)  # somebody may answer and say nothing
    await comm.close()


def _reason(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
