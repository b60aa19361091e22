"""Files that are whole or not there: written beside their place, flushed, then moved into it."""

import contextlib
import hashlib
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

FORGOTTEN = 3600.0  # seconds after which nobody writes to a temporary file any more


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; on success it is moved into place in one step, else it is removed.

    Raises:
        OSError: the folder cannot be written or the disk is full; `path` is then as it was before.
    """
    with _part(path) as part:
        yield part
        _flush(part)
        part.replace(path)


@contextlib.contextmanager
def _part(path: Path) -> Iterator[Path]:
    """Yields a new temporary file beside `path`, which is removed in the end unless it was moved."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    os.close(handle)
    part = Path(name)
    try:
        yield part
    except OSError as error:
        error.filename = error.filename or str(path)  # a write to a full disk does not say where
        raise
    finally:
        part.unlink(missing_ok=True)


def _flush(part: Path) -> None:
    with part.open("rb+") as stream:
        os.fsync(stream.fileno())
    part.chmod(0o644)  # mkstemp makes files that only their owner can read


def sweep(folder: Path) -> None:
    """Removes the temporary files that killed processes left in `folder` and below, once they are an hour old."""
    for part in folder.rglob(".*.part"):
        with contextlib.suppress(OSError):  # another one sweeps too, or the folder cannot be written
            if time.time() - part.stat().st_mtime > FORGOTTEN:
                part.unlink()


def write(path: Path, content: str | bytes) -> None:
    """Writes `content` (text as UTF-8) to `path`, whole or not at all."""
    data = content.encode() if isinstance(content, str) else content
    with replacing(path) as part:
        part.write_bytes(data)


def write_if_changed(path: Path, content: str | bytes) -> None:
    """As `write`, but a file that already holds `content` keeps its time stamp."""
    data = content.encode() if isinstance(content, str) else content
    if not path.is_file() or path.read_bytes() != data:
        write(path, data)


def write_all(contents: dict[Path, str | bytes]) -> None:
    """Writes several files, none of them unless all are on the disk; they are moved into place from the last to the first."""
    with contextlib.ExitStack() as stack:
        parts = []
        for path, content in contents.items():
            data = content.encode() if isinstance(content, str) else content
            if not path.is_file() or path.read_bytes() != data:
                part = stack.enter_context(_part(path))
                part.write_bytes(data)
                _flush(part)
                parts.append((part, path))
        for part, path in reversed(parts):
            part.replace(path)


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def is_litter(path: Path, below: Path) -> bool:
    """Whether a file is none of a folder's own: hidden, as editors and file servers leave some, or made by running it."""
    return any(part.startswith(".") or part == "__pycache__" for part in path.relative_to(below).parts)


def shown(path: Path) -> Path:
    """The path as people see it from where they are."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
