"""What runs in a kernel's process, and in the warm one that kernels are forked from.

Nothing here reads a profile, a start-up file or a configuration of the user's, and only what Python code prints or displays
becomes output of a cell: what else is said on stderr, or past Python, goes to the terminal.
"""

import contextlib
import importlib
import json
import os
import signal
import sys

from ipykernel.kernelapp import IPKernelApp


class Kernel(IPKernelApp):
    """ipykernel's application by itself, whatever is configured or said around it."""

    def load_config_file(self, *_: object, **__: object) -> None:
        """Loads none."""

    def _run_startup_files(self) -> None:
        """Runs none."""

    def init_io(self) -> None:
        """Sends stdout to the cell and stderr to the terminal."""
        super().init_io()
        sys.stderr = sys.__stderr__


def main() -> None:
    """What the interpreter that `warm` starts does: `serve FD MODULES` or `run REQUEST`."""
    task, first, *modules = sys.argv[1:]
    del sys.argv[1:]
    request = _serve(int(first), modules) if task == "serve" else json.loads(first)
    if request:
        _run(request)


def _serve(replies: int, modules: list[str]) -> dict | None:
    """Imports modules, then forks a kernel for each line on stdin; in the fork returns what its line asks for.

    The process id of each kernel is written to the file descriptor `replies`. When stdin ends, as it does when the process at
    its other end dies, in whatever way, all kernels end.
    """
    for name in modules:
        with contextlib.suppress(Exception):  # a module that cannot be imported: the cell that asks for it says why
            importlib.import_module(name)
    kernels: set[int] = set()
    while line := sys.stdin.buffer.readline():
        while kernels and (ended := os.waitpid(-1, os.WNOHANG)[0]):
            kernels.discard(ended)
        if not (kernel := os.fork()):
            os.close(replies)
            return json.loads(line)
        kernels.add(kernel)
        os.write(replies, f"{kernel}\n".encode())
    for kernel in kernels:
        for kill in (os.killpg, os.kill):  # with its workers; it may not lead a group yet
            with contextlib.suppress(ProcessLookupError):
                kill(kernel, signal.SIGKILL)
    return None


def _run(request: dict) -> None:
    """Becomes a kernel until it is told to end."""
    if "environment" in request:  # a fork: what else would be its own if it had been started by itself
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.environ.clear()
        os.environ.update(request["environment"])
    os.chdir(request["folder"])
    # The application's own default of `parent_handle` was read from the variable when it was imported, before a fork.
    parent = os.getppid() if "environment" in request else int(os.environ.get("JPY_PARENT_PID") or 0)
    kernel = Kernel.instance(parent_handle=parent, connection_file=request["file"], capture_fd_output=False)
    # No history on disk, and no word of loopback sockets or of the interrupt that ends it.
    kernel.initialize(["--HistoryManager.hist_file=:memory:", "--IPKernelApp.log_level=CRITICAL"])
    kernel.start()
