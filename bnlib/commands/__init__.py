"""What all commands have in common: an error that somebody can mend is one line, and an interruption is no traceback."""

import os
import sys
from collections.abc import Callable

from bnlib import UserError
from bnlib.system.signals import terminable


def run(task: Callable[[], bool], interrupted: str) -> int:
    """Does `task` and returns the exit status: 0 where it returns True, 130 after an interruption, else 1.

    Args:
        task: returns whether all went well; what it raises as UserError or OSError is said in one line.
        interrupted: what to say after Ctrl-C or SIGTERM.
    """
    try:
        with terminable():
            return 0 if task() else 1
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(
            f"error: {where}{error.strerror or error}; finished files are as they were: mend that and run again",
            file=sys.stderr,
        )
    except KeyboardInterrupt:
        print(f"\n{interrupted}", file=sys.stderr)
        return 130
    return 1


def keeps() -> bool:
    """Whether `KEEP` asks to keep what was measured for the report."""
    return os.environ.get("KEEP", "0") not in ("", "0")
