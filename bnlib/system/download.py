"""The raw files of MNIST and Fashion-MNIST: checked before every use, fetched whole or not at all."""

import contextlib
import errno
import gzip
import http.client
import os
import shutil
import socket
import tempfile
import urllib.request
import zlib
from pathlib import Path

import numpy as np

from bnlib import UserError
from bnlib.system import files, paths

TIMEOUT = 20.0  # seconds without a byte until a download is given up
PROBE = 2.0  # seconds until a host that says nothing counts as out of reach
LOCAL = (errno.ENOSPC, errno.EACCES, errno.EPERM, errno.EROFS, errno.EDQUOT, errno.ENOTDIR)  # of the disk, not the network

NAMES = ("mnist", "fashion_mnist", "digits")
FOLDERS = {"mnist": "MNIST/raw", "fashion_mnist": "FashionMNIST/raw"}
PARTS = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", 60_000),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte", 10_000),
}
# SHA-256 of MNIST's four unpacked files. Fashion-MNIST has none here: torchvision checks the MD5 of what it
# downloads, and every load checks size, header and label range.
SHA256 = {
    "mnist": {
        "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    }
}


# Where torchvision downloads from: tried first, since importing torchvision takes longer than seeing that there is no network.
HOSTS = {
    "mnist": (("ossci-datasets.s3.amazonaws.com", 443), ("yann.lecun.com", 80)),
    "fashion_mnist": (("fashion-mnist.s3-website.eu-central-1.amazonaws.com", 80),),
}


class Unreachable(UserError):
    """Files are absent and cannot be downloaded."""


def choose(name: str) -> str:
    """The data set that `name`, one of `NAMES` or `auto`, stands for, its files ready.

    `auto` becomes `mnist` or, out of reach, `digits`.

    Raises:
        UserError: the name is unknown, files are damaged and cannot be fetched, or those of a data set asked for by name
            cannot be had.
    """
    if name not in (*NAMES, "auto"):
        raise UserError(f"dataset={name!r}: unknown data set; known: auto, {', '.join(NAMES)}; set dataset = 'mnist', say")
    if name == "digits":
        return name
    try:
        ensure("mnist" if name == "auto" else name, paths.data())
    except Unreachable:  # damaged files are an error in any case: only absent ones make `auto` fall back
        if name == "auto":
            return "digits"
        raise
    return "mnist" if name == "auto" else name


def ensure(name: str, root: Path) -> None:
    """Checks the raw files of `name` in `root`; unpacks or fetches what is absent or damaged.

    A packed file is found as `<file>.gz` in its place or in the folder above; there a file need not be packed.

    Raises:
        Unreachable: files are absent, and the download failed.
        UserError: a file is damaged and the download failed, or `root` cannot be read or written.
    """
    folder = root / FOLDERS[name]
    try:
        if root.exists() and not root.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        problems = find_problems(name, folder)
        if problems:
            root.mkdir(parents=True, exist_ok=True)
            with files.lock(root / ".lock"):
                problems = find_problems(name, folder)  # another process may have fetched them meanwhile
                if problems:
                    _replace(name, root, problems)
    except OSError as error:
        reason = error.strerror or error
        file = f"{error.filename}: " if error.filename and Path(error.filename) != root else ""
        raise UserError(f"data folder {root}: {file}{reason}; mend that, or set DATA_DIR to another folder") from error


def find_problems(name: str, folder: Path) -> dict[str, str]:
    """What is wrong with each raw file that is not as it should be; empty when all are well."""
    problems = {}
    for images, labels, count in PARTS.values():
        for file, header, size in ((images, (2051, count, 28, 28), 16 + count * 784), (labels, (2049, count), 8 + count)):
            problem = _problem(folder / file, header, size, SHA256.get(name, {}).get(file))
            if problem:
                problems[file] = problem
    return problems


def _problem(path: Path, header: tuple[int, ...], size: int, sha256: str | None) -> str | None:
    if not path.exists():
        return "is missing"
    actual = path.stat().st_size
    if actual != size:
        return "is empty" if actual == 0 else f"has {actual:,} bytes instead of {size:,}"
    if sha256:
        return None if files.sha256(path) == sha256 else "has the right size but the wrong SHA-256: bytes were changed"
    expected = np.array(header, dtype=">i4").tobytes()
    content = path.read_bytes()
    if not content.startswith(expected):
        return "does not begin with the header of its kind"
    if header[0] == 2049 and max(content[len(expected) :]) > 9:
        return "holds labels above 9"
    return None


def _replace(name: str, root: Path, problems: dict[str, str]) -> None:
    """Unpacks or fetches the set into a temporary folder beside its place and, once it checks out, moves it in file by file."""
    folder = root / FOLDERS[name]
    damaged = {folder / file: problem for file, problem in problems.items() if problem != "is missing"}
    for left in root.glob(".fetch-*"):  # by a process that was killed: whoever fetches holds the lock
        shutil.rmtree(left, ignore_errors=True)
    temporary = Path(tempfile.mkdtemp(dir=root, prefix=".fetch-"))
    try:
        fetched = temporary / FOLDERS[name]
        fetched.mkdir(parents=True)
        for file in problems:
            damaged |= _unpack(name, folder, file, fetched)
        lacking = find_problems(name, fetched).keys() & problems.keys()
        reason = _download(name, temporary) if lacking else None
        still = find_problems(name, fetched).keys() & problems.keys() if not reason else None
        if still:
            reason = "the downloaded files are damaged too"
        if reason and damaged:
            path, problem = next(iter(damaged.items()))
            raise UserError(
                f"{path} {problem}, and it could not be downloaded again ({reason}); "
                "replace the file, or delete it and run again where there is a network"
            )
        if reason:
            raise Unreachable(
                f"{name}: {folder / next(iter(problems))} is missing and could not be downloaded ({reason}); "
                "put the four files there, packed or not, or use DATASET=digits"
            )
        folder.mkdir(parents=True, exist_ok=True)
        for file in problems:
            (fetched / file).replace(folder / file)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _unpack(name: str, folder: Path, file: str, fetched: Path) -> dict[Path, str]:
    """Puts a file that is there packed, or that lies above its folder, into `fetched`; returns what is there but damaged."""
    wrong, above = {}, folder.parent / file
    for source, opened in ((folder / f"{file}.gz", gzip.open), (above.with_name(f"{file}.gz"), gzip.open), (above, open)):
        if source.is_file():
            # What is damaged ends early; the check below sees that.
            damaged = contextlib.suppress(gzip.BadGzipFile, EOFError, zlib.error)
            with damaged, opened(source, "rb") as packed, (fetched / file).open("wb") as stream:
                shutil.copyfileobj(packed, stream)
            problem = find_problems(name, fetched).get(file)
            if not problem:
                return {}
            (fetched / file).unlink(missing_ok=True)  # torchvision would take it as it is
            wrong[source] = "does not hold the file of that name: it is damaged" if opened is gzip.open else problem
    return wrong


def _download(name: str, root: Path) -> str | None:
    """Downloads with torchvision, from its mirrors and with its progress bar; returns why it failed, if it did."""
    reason = _unreachable(name)
    if reason:
        return reason
    from torchvision import datasets  # slow to import, and not needed once the files are there

    kind = {"mnist": datasets.MNIST, "fashion_mnist": datasets.FashionMNIST}[name]
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)  # torchvision opens its connections without a time-out
    try:
        kind(root, download=True)
    except OSError as error:
        if error.errno in LOCAL:
            raise
        return _last_line(error)
    except (RuntimeError, ValueError, EOFError, http.client.HTTPException) as error:
        return _last_line(error)
    finally:
        socket.setdefaulttimeout(before)
    return None


def _unreachable(name: str) -> str | None:
    """Why none of the hosts answers, if so; not asked where a proxy stands between."""
    if urllib.request.getproxies():
        return None
    reason = None
    for host in HOSTS[name]:
        try:
            address = socket.getaddrinfo(*host, type=socket.SOCK_STREAM)[0][4][:2]  # one: a host may have many
            socket.create_connection(address, timeout=PROBE).close()
            return None
        except OSError as error:
            reason = f"{host[0]}: {error.strerror or error}"
    return reason


def _last_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1].strip("<>") if lines else type(error).__name__


def read(name: str, root: Path, which: str) -> tuple[np.ndarray, np.ndarray]:
    """The `train` or `test` split as (N, 28, 28) uint8 pixels and (N,) uint8 labels; call `ensure` first."""
    folder = root / FOLDERS[name]
    images, labels, count = PARTS[which]
    pixels = np.fromfile(folder / images, dtype=np.uint8, offset=16).reshape(count, 28, 28)
    return pixels, np.fromfile(folder / labels, dtype=np.uint8, offset=8)


def checksums(name: str) -> dict[str, str]:
    """SHA-256 of each raw file that is there, read afresh; none for `digits`, which a version of scikit-learn determines."""
    if name == "digits":
        return {}
    folder = paths.data() / FOLDERS[name]
    return {file: files.sha256(folder / file) for part in PARTS.values() for file in part[:2] if (folder / file).exists()}
