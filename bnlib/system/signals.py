"""Signals that end a command, and everything it started with it."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator

import psutil


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Ctrl-C, SIGTERM and SIGHUP kill the kernel and its workers at once, then end the block with KeyboardInterrupt.

    papermill passes no signal on, and asks a busy kernel to leave for several seconds before it ends it.
    """

    def interrupt(number: int, _frame: object) -> None:
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                if not _tracks(process):
                    process.kill()
        raise KeyboardInterrupt(signal.Signals(number).name)

    known = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    heard = [number for number in known if signal.getsignal(number) != signal.SIG_IGN]  # nohup has SIGHUP ignored: so be it
    before = {number: signal.signal(number, interrupt) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _tracks(process: psutil.Process) -> bool:
    """Whether it is the one that takes this process's semaphores away at its end; without it, that end complains of each."""
    return process.ppid() == os.getpid() and any("resource_tracker" in word for word in process.cmdline())


def end_with(parent: int) -> None:
    """Ends this process within a second of its parent, which may be killed with no chance to say so."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    if not any(thread.name == "end-with-parent" for thread in threading.enumerate()):
        threading.Thread(target=watch, name="end-with-parent", daemon=True).start()
