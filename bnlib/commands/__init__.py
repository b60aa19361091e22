"""What all commands have in common: an error that somebody can mend is one line, and an interruption is no traceback."""

import contextlib
import io
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

from filelock import Timeout

from bnlib import UserError
from bnlib.system import files, litter, paths
from bnlib.system.signals import terminable


def run(task: Callable[[], bool], interrupted: str) -> int:
    """Does `task` and returns the exit status: 0 where it returns True, 130 after an interruption, else 1.

    What it says may go nowhere (`| head -1`, `2>&-`): then it goes on unheard.

    Args:
        task: returns whether all went well; what it raises as UserError or OSError is said in one line.
        interrupted: what to say after Ctrl-C or SIGTERM.
    """
    with _unbreakable_output():
        try:
            with terminable():
                return 0 if task() else 1
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            print(
                f"error: {where}{error.strerror or str(error) or type(error).__name__}; "
                "finished files are as they were: mend that and run again",
                file=sys.stderr,
            )
        except KeyboardInterrupt:
            print(f"\n{interrupted}", file=sys.stderr)
            return 130
    return 1


def alone(task: Callable[[], bool]) -> bool:
    """Does `task` while no other command, `make clean` neither, is at work in this checkout.

    Raises:
        UserError: one is, or the cache cannot be written; or as `task`.
    """
    files.check(paths.cache())
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(files.lock(litter.lock(), timeout=0))
        except Timeout:
            raise UserError("another command is at work in this checkout; wait for it, or end it") from None
        return task()


class _Unbreakable:
    """A stream that drops what it cannot say: its reader is gone, the disk is full, or the terminal lacks the character."""

    def __init__(self, stream: io.TextIOWrapper):
        self._stream = stream
        stream.reconfigure(errors="backslashreplace")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        self._attempt(self._stream.write, text)
        return len(text)

    def flush(self) -> None:
        self._attempt(self._stream.flush)

    def _attempt(self, method: Callable, *arguments: str) -> None:
        try:
            method(*arguments)
        except OSError:  # what is in the buffer, and whatever comes, goes nowhere
            with open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), self._stream.fileno())


@contextlib.contextmanager
def _unbreakable_output() -> Iterator[None]:
    """For a block, no trouble with standard output or error ends the command."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:  # closed: the next file that is opened would get its number, and a kernel would print into that
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # which is that number: those below are open
    before = sys.stdout, sys.stderr
    with contextlib.ExitStack() as opened:
        for name, number in (("stdout", 1), ("stderr", 2)):
            stream = getattr(sys, name) or opened.enter_context(open(number, "w", closefd=False))
            # Another one, that of a test or a notebook, has no trouble of this kind.
            setattr(sys, name, _Unbreakable(stream) if type(stream) is io.TextIOWrapper else stream)
        try:
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            sys.stdout, sys.stderr = before


def keeps() -> bool:
    """Whether `KEEP` asks to keep what was measured for the report."""
    return os.environ.get("KEEP", "0") not in ("", "0")
