"""Files that are whole or not there: written beside their place, flushed, then moved into it. Locks; folders for a while."""

import contextlib
import errno
import hashlib
import os
import secrets
import shutil
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, SoftFileLock, Timeout

from bnlib.system import paths

FORGOTTEN = 3600.0  # seconds after which nobody writes to a temporary file any more
# What a disk answers that cannot do what it is asked, whatever is free on it.
CANNOT = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EPERM, errno.EACCES, errno.ENOTTY}
NO_LOCKS = {errno.ENOLCK, errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}


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
    """Has the file on the disk, and readable by all, as far as the disk can do that: shares of other systems may not."""
    with part.open("rb+") as stream:
        try:
            os.fsync(stream.fileno())
        except OSError as error:
            if error.errno not in CANNOT:  # a full disk may say so only now
                raise
    with contextlib.suppress(OSError):
        part.chmod(0o644)  # mkstemp makes files that only their owner can read


def check(folder: Path) -> None:
    """Tries what is needed in a folder: to make it, to write a file, to replace it, to lock one. Leaves nothing but the folder.

    Raises:
        OSError: it cannot be done; `filename` is the folder.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".check-", suffix=".part") as name:
            for content in ("one", "two"):
                write(Path(name) / "file", content)
            with lock(Path(name) / "lock"):
                pass
    except OSError as error:
        error.filename, error.filename2 = str(folder), None
        raise


@contextlib.contextmanager
def lock(path: Path, timeout: float = -1) -> Iterator[None]:
    """Holds a lock for a block, among processes; where the disk has none (NFS, some shares), by a file `<name>.soft`.

    Args:
        timeout: seconds to wait for it; forever, if negative.

    Raises:
        filelock.Timeout: another process had it all the while.
        OSError: the file cannot be made; `filename` is `path`.
    """
    held = FileLock(path)
    try:
        with warnings.catch_warnings(action="ignore"):  # filelock's own of a lock that is a file
            held.acquire(timeout=timeout)
    except OSError as error:
        error.filename = error.filename or str(path)
        if error.errno not in NO_LOCKS:
            raise
        held = SoftFileLock(f"{path}.soft")  # a file of the other name is there by now, whoever holds the lock
        held.acquire(timeout=timeout)
    try:
        yield
    finally:
        held.release()


@contextlib.contextmanager
def scratch(below: Path | None = None) -> Iterator[Path]:
    """Yields an empty folder that is removed after the block; removes those of dead processes first, never a living one's.

    Args:
        below: where to make it; by default `tmp` in the cache.

    Raises:
        OSError: there it cannot be made.
    """
    below = below or paths.cache() / "tmp"
    below.mkdir(parents=True, exist_ok=True)
    for old in below.glob("*.lock"):
        _remove_if_dead(old)
    folder = below / f"at-work-{secrets.token_hex(4)}"
    with lock(mark := below / f"{folder.name}.lock"):  # before there is a folder: what is there unlocked is dead
        folder.mkdir(mode=0o700)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            mark.unlink(missing_ok=True)


def _remove_if_dead(mark: Path) -> None:
    with contextlib.suppress(OSError, Timeout), lock(mark, timeout=0):
        shutil.rmtree(mark.with_suffix(""), ignore_errors=True)
        mark.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Removes the temporary files that killed processes left in `folder` and below, once they are an hour old."""
    for part in list(folder.rglob(".*.part")):
        with contextlib.suppress(OSError):  # another one sweeps too, or the folder cannot be written
            if time.time() - part.stat().st_mtime > FORGOTTEN:
                shutil.rmtree(part) if part.is_dir() else part.unlink()


def visible(folder: Path, pattern: str) -> list[Path]:
    """The files in a folder and below that match, sorted; none that are hidden, as editors and file servers leave them."""
    found = (path for path in folder.rglob(pattern) if path.is_file())
    return sorted(path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts))


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


def shown(path: Path) -> Path:
    """The path as people see it from where they are."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
