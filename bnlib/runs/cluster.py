"""Runs on other machines: a Dask scheduler hands them to its workers (`distributed`, the extra `cluster`)."""

import asyncio
import contextlib
import os
import re
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from bnlib import UserError

VARIABLE = "SCHEDULER"
PATIENCE = 4.0  # seconds to wait for the scheduler, and then for a worker
DESERTED = 60.0  # seconds without any worker after which runs are given up


def address() -> str | None:
    """The scheduler that `SCHEDULER` names, tcp://host:port; None where runs are done on this machine."""
    return os.environ.get(VARIABLE) or None


class Connection:
    """To a Dask cluster: `workers` is how many it has."""

    def __init__(self, client, address: str, hear: Callable[[dict], None]):
        self.client, self.address = client, address
        self.workers = len(client.scheduler_info(n_workers=-1)["workers"])
        self.topic = f"bnlib-{uuid.uuid4()}"  # others may have runs on the same cluster
        client.subscribe_topic(self.topic, lambda event: hear(event[1]))

    def results(self, function: Callable, arguments: Iterable[tuple]) -> Iterator:
        """What `function(say, *arguments)` returns on the workers, in the order in which they are done.

        `say` takes a dictionary, and hands it to `hear`. What a worker that dies was at is given to another.

        Raises:
            UserError: the cluster cannot go on, or `function` raised: a UserError as it is, all else by its name.
        """
        say = partial(_say, self.topic)
        futures = [self.client.submit(_alone, function, say, *each, pure=False) for each in arguments]
        try:
            for future in self._done(futures):
                yield future.result()
        except UserError:
            raise
        except Exception as error:
            kind = type(error).__name__
            raise UserError(f'{VARIABLE}="{self.address}": {kind}: {_reason(error)}; finished runs are kept') from error

    def _done(self, futures: list) -> Iterator:
        """The futures as they are done; looks meanwhile whether there is anybody left to do them."""
        from distributed import as_completed

        waiting, seen = as_completed(futures, loop=self.client.loop), time.monotonic()
        while not waiting.is_empty():
            yield from waiting.next_batch(block=False)
            if self.client.scheduler_info(n_workers=-1)["workers"]:
                seen = time.monotonic()
            elif time.monotonic() - seen > DESERTED:
                raise UserError(
                    f'{VARIABLE}="{self.address}": the scheduler there has no workers any more; finished runs are kept: '
                    "start some and run again"
                )
            time.sleep(0.2)


@contextlib.contextmanager
def connected(address: str, hear: Callable[[dict], None] = lambda event: None) -> Iterator[Connection]:
    """A connection to a Dask cluster for as long as the block lasts.

    Args:
        address: tcp://host:port of the scheduler.
        hear: called with each event that a worker's task says.

    Raises:
        UserError: this is no address, or `distributed` is not installed; no scheduler answers there, or it has no workers.
    """
    if not re.fullmatch(r"[a-z]+://[^/]+:\d+", address):
        raise UserError(f'{VARIABLE}="{address}": should be tcp://host:port')
    try:
        import distributed
    except ImportError:
        raise UserError(f"{VARIABLE} needs the package distributed, which bnlib's extra `cluster` brings") from None
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
        yield Connection(client, address, hear)


def _alone(function: Callable, *arguments):
    """Calls `function` on a worker that does nothing else meanwhile."""
    from distributed import get_worker

    worker = get_worker()
    try:
        if worker.state.nthreads > 1:
            # Runs that share a process would share its number of threads, which decides their bits.
            raise UserError("it has several threads; start workers with --nthreads 1")
        return function(*arguments)
    except UserError as error:
        raise UserError(f"worker {worker.address}: {error}") from error


def _say(topic: str, event: dict) -> None:
    from distributed import get_worker

    get_worker().log_event(topic, event)


async def _knock(address: str) -> None:
    from distributed.comm import connect

    comm = await asyncio.wait_for(connect(address, timeout=PATIENCE), PATIENCE + 1)  # somebody may answer and say nothing
    await comm.close()


def _reason(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
