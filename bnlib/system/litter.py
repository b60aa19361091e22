"""`make clean`: removes what can be made again. It needs no environment: nothing here but Python's own library.

`python -m bnlib.system.litter`, with the word `runs` for the store of runs too; with `notebooks`, what these showed when they
were saved, and nothing else.
"""

import contextlib
import fcntl
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from bnlib.system import paths

TOOLS = (".pytest_cache", ".ruff_cache", ".mypy_cache", ".coverage", ".hypothesis")
CODE = ("bnlib", "tests", "notebooks")
CACHED = ("executed", "interactive"), ("runs", "reproduction", "matplotlib", "tmp")  # what is made again in a minute; the rest
COMPARED = "nbval-check-output"  # tags a cell whose output is kept, for the tests


def lock() -> Path:
    """The file that a command holds locked while it works in the cache."""
    return paths.cache() / "report.lock"


def remove(runs: bool) -> None:
    """Removes what notebooks and tests left, and with `runs` the store; says what of it is kept.

    Raises:
        OSError: something cannot be removed.
    """
    store = paths.store()
    quick, slow = ([paths.cache() / name for name in names] for names in CACHED)
    gone = quick + [paths.ROOT / name for name in TOOLS]
    for folder in CODE:
        gone += [path for name in ("__pycache__", ".ipynb_checkpoints") for path in (paths.ROOT / folder).rglob(name)]
    for folder in filter(Path.is_dir, gone + slow * runs):
        shutil.rmtree(folder.resolve())  # of a link, what it leads to
        if folder.is_symlink():
            folder.resolve().mkdir()
    if store.is_dir():
        size = sum(path.stat().st_size for path in store.iterdir()) / 1e6
        print(f"kept: {size:,.0f} MB of runs in {store}; make clean-all removes them too")


def strip(notebook: Path) -> None:
    """Takes out of a saved notebook what it showed, but for the cells whose output a test compares.

    Raises:
        OSError, ValueError: it cannot be read or written, or is no notebook.
    """
    text = notebook.read_text(encoding="utf-8")
    content = json.loads(text)
    for cell in content["cells"]:
        cell["metadata"] = {key: value for key, value in cell["metadata"].items() if key == "tags"}
        if cell["cell_type"] == "code":
            compared = COMPARED in cell["metadata"].get("tags", [])
            cell["execution_count"] = 1 if compared else None
            cell["outputs"] = cell["outputs"] if compared else []
    stripped = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    if stripped != text:
        # Beside it, then in its place: an interruption or a full disk leaves the old one whole.
        beside = notebook.with_name(f".{notebook.name}.new")
        try:
            beside.write_text(stripped, encoding="utf-8")
            shutil.copymode(notebook, beside)
            beside.replace(notebook)
        finally:
            beside.unlink(missing_ok=True)


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Holds the lock of commands for a block.

    Raises:
        BlockingIOError: somebody else has it.
    """
    if not lock().exists():
        yield
        return
    with lock().open("rb+") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError:  # a disk without locks: there a command makes a file of this name instead (`files.lock`)
            if (soft := lock().with_suffix(".lock.soft")).exists():
                raise BlockingIOError(soft) from None
        yield


def main() -> int:
    """Returns the exit status."""
    if "notebooks" in sys.argv[1:]:
        for notebook in sorted(paths.NOTEBOOKS.glob("[!.]*.ipynb")):
            strip(notebook)
        return 0
    try:
        with alone():
            remove(runs="runs" in sys.argv[1:])
    except BlockingIOError:
        print("error: another command is at work in this checkout; wait for it, or end it", file=sys.stderr)
    except OSError as error:
        print(f"error: {error.filename or lock()}: {error.strerror}", file=sys.stderr)
    else:
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
