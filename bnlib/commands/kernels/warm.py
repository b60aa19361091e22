"""Starts kernels: forks of one process that has imported what they need, each in surroundings that are not the reader's.

Imports take several times as long as drawing, and six notebooks import the same. Where a system cannot fork, or the warm
process has died, a kernel is a process of its own of this very interpreter.
"""

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

from bnlib import UserError
from bnlib.system import files, paths

FORKS = hasattr(os, "fork") and sys.platform != "darwin"  # there, system libraries that were used do not survive a fork
# The path comes as an argument, and not in PYTHONPATH: there a colon would part it in two.
BOOT = "import sys; sys.path[0] = sys.argv.pop(1); from bnlib.commands.kernels import app; app.main()"
# Brings no torch: it starts threads, of which a fork has none.
PAGE = (
    *("bnlib.page.figures", "bnlib.page.tables", "bnlib.page.prose", "bnlib.runs.provenance"),
    *("bnlib.analysis.claims", "bnlib.analysis.original.replay", "bnlib.commands.notebook"),
)
# What a kernel must not take from who runs it: how Python, IPython, Jupyter and matplotlib are set up, and the language.
READERS = ("PYTHON", "IPYTHON", "JUPYTER", "MPL", "MATPLOTLIB", "LC_", "LANG", "COLUMNS", "LINES")
PLACES = ("PYTHONPATH", "PYTHONHOME", "PYTHONUSERBASE", "PYTHONNOUSERSITE", "PYTHONPYCACHEPREFIX", "PYTHONDONTWRITEBYTECODE")


class Forked(psutil.Process):
    """A kernel that another process forked, with what jupyter_client wants of a `Popen`."""

    stdin = stdout = stderr = None

    def poll(self) -> int | None:
        """None while it runs, else 0: how it ended, only the process that forked it knows."""
        with contextlib.suppress(psutil.NoSuchProcess):
            if self.is_running() and self.status() != psutil.STATUS_ZOMBIE:
                return None
        return 0

    def wait(self, timeout: float | None = None) -> int | None:
        """As `poll`."""
        return self.poll()

    def send_signal(self, sig: int) -> None:
        """As that of `Popen`, which is silent where the process has ended."""
        with contextlib.suppress(psutil.NoSuchProcess):
            super().send_signal(sig)


class Warm:
    """A process that imports `modules` while other things go on, and the kernels that are forked from it.

    Args:
        folder: where kernels may leave what they need while they run.
        modules: what to import before the first kernel is forked.
    """

    def __init__(self, folder: Path, modules: Sequence[str]):
        self.environment = surroundings(folder)
        self.closed = False
        self._folder = folder
        self._lock = threading.Lock()
        self._processes: list[subprocess.Popen] = []
        if FORKS:
            self._requests, self._replies = self._start(modules)

    def _start(self, modules: Sequence[str]) -> tuple:
        replies, sends = os.pipe()
        # Threads of OpenBLAS would have to be ended at each fork; nothing here is large enough to gain by them.
        environment = self.environment | {"OPENBLAS_NUM_THREADS": "1"}
        command = [*_command("serve"), str(sends), *modules]
        pipes = {"stdin": subprocess.PIPE, "stdout": 2, "pass_fds": (sends,)}
        process = subprocess.Popen(command, **pipes, cwd=self._folder, env=environment, start_new_session=True)
        os.close(sends)
        self._processes.append(process)
        return process.stdin, os.fdopen(replies)

    def kernel(self, file: str, folder: Path, variables: dict[str, str]) -> subprocess.Popen | Forked:
        """Starts a kernel in `folder`, with `variables` besides its surroundings; `file` says where it listens.

        Raises:
            RuntimeError: this was closed.
        """
        environment = self.environment | variables
        with self._lock:
            if self.closed:
                raise RuntimeError("no kernel was started: the others were ended")
            request = {"file": _as_utf8(file), "folder": _as_utf8(str(folder))}
            return self._fork(request, environment) or self._spawn(request, environment)

    def _fork(self, request: dict, environment: dict[str, str]) -> Forked | None:
        if not FORKS:
            return None
        as_utf8 = {_as_utf8(name): _as_utf8(value) for name, value in environment.items()}
        try:
            self._requests.write(json.dumps(request | {"environment": as_utf8}).encode() + b"\n")
            self._requests.flush()
            return Forked(int(self._replies.readline()))
        except (OSError, ValueError):  # the process has died
            return None

    def _spawn(self, request: dict, environment: dict[str, str]) -> subprocess.Popen:
        from jupyter_client.launcher import launch_kernel

        process = launch_kernel([*_command("run"), json.dumps(request)], stdout=2, cwd=str(self._folder), env=environment)
        self._processes.append(process)
        return process

    def close(self) -> None:
        """Ends all kernels that still run, and whatever they started, at once; none is started any more."""
        with self._lock:
            self.closed = True
            for process in self._processes:
                with contextlib.suppress(psutil.NoSuchProcess):
                    for each in (*psutil.Process(process.pid).children(recursive=True), process):
                        with contextlib.suppress(psutil.NoSuchProcess):
                            each.kill()
                process.wait()
            if FORKS:
                self._replies.close()
                with contextlib.suppress(OSError):
                    self._requests.close()


def _command(task: str) -> list[str]:
    return [sys.executable, "-c", BOOT, str(paths.PACKAGE.parent), task]


def _as_utf8(text: str) -> str:
    """A path or variable as a process reads it that takes all text for UTF-8, as kernels do; this one may not."""
    return os.fsencode(text).decode("utf-8", "surrogateescape")


def surroundings(folder: Path) -> dict[str, str]:
    """The environment of kernels: this process's, without what would alter a page."""
    kept = {name: value for name, value in os.environ.items() if name in PLACES or not name.startswith(READERS)}
    return kept | {
        "LC_ALL": "C.UTF-8",
        "PYTHONUTF8": "1",
        # A kernel that takes over five seconds to leave is killed; joblib then clears up behind it, and warns that it does.
        "PYTHONWARNINGS": "ignore:resource_tracker:UserWarning",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        "IPYTHONDIR": str(folder / "ipython"),
        "JUPYTER_PLATFORM_DIRS": "1",
        "JUPYTER_RUNTIME_DIR": str(folder),
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",  # as in every kernel
        "MPLCONFIGDIR": str(paths.cache() / "matplotlib"),  # kept: to list the fonts of a machine takes seconds
    }


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A folder for a while, below the cache, with room for what kernels leave there.

    Raises:
        UserError: it cannot be made, or there is no room in it.
    """
    try:
        with files.scratch() as folder:
            check_room(folder)
            yield folder
    except OSError as error:
        raise UserError(_said(error.filename or paths.cache(), error)) from error


def check_room(folder: Path) -> None:
    """Makes sure that a kernel could write there.

    Raises:
        UserError: it could not, and why.
    """
    probe = folder / "room"
    try:
        probe.write_bytes(bytes(1 << 18))
    except OSError as error:
        raise UserError(_said(folder, error)) from error
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)


def _said(place: object, error: OSError) -> str:
    return f"{place}: {error.strerror or error}; mend that, or set BNLIB_CACHE to another folder"
