"""Data sets as arrays: each split whole, in memory, normalised once. No torch here: pages show images and train nothing."""

import functools
import hashlib
from dataclasses import dataclass

import numpy as np

from bnlib.system import download, paths

MEAN, STANDARD_DEVIATION = 0.5, 0.5  # of pixels in [0, 1]; the original's values, not the data set's own
# Of data sets whose files are always the same ones, what `Data.fingerprint` is: runs of theirs are known without the images.
FINGERPRINTS = {"mnist": "e740dbf2b0dbe104db8c40273764142df970334a6d50fa27ded3d5578a484508"}


@dataclass(frozen=True)
class Split:
    """Images (N, 1, 28, 28) float32, normalised; labels (N,) int64 in [0, 9]; on a device (`loop.to_device`) as tensors."""

    images: np.ndarray
    labels: np.ndarray

    def __post_init__(self) -> None:
        if len(self.images) != len(self.labels):
            raise ValueError(f"{len(self.images)} images but {len(self.labels)} labels")

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Data:
    """A data set: its two splits and the SHA-256 of all its raw bytes; `here` is whether it has images at all."""

    name: str
    train: Split
    test: Split
    checksum: str
    here: bool = True

    @property
    def sizes(self) -> tuple[int, int]:
        """How many images it has to train on, and how many to test on."""
        if self.here:
            return len(self.train), len(self.test)
        return download.PARTS["train"][2], download.PARTS["test"][2]

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the very numbers that networks are trained and tested on, labels included."""
        if not self.here:
            return FINGERPRINTS[self.name]
        digest = hashlib.sha256()
        for array in (self.train.images, self.train.labels, self.test.images, self.test.labels):
            digest.update(np.ascontiguousarray(array))
        return digest.hexdigest()


def load(name: str, needed: bool = True) -> Data:
    """Loads a data set, after checking its files; what is missing or damaged is fetched where that is possible.

    Args:
        name: one of `download.NAMES`, or `auto`: MNIST where it lies in `paths.data()` or can be downloaded, else `digits`.
        needed: False where runs that were made elsewhere may do: MNIST that cannot be had then comes without its images.

    Raises:
        UserError: the name is unknown, the files are damaged and cannot be fetched, or they are missing and needed.
    """
    try:
        name = download.choose(name)
    except download.Unreachable:
        if needed or name not in FINGERPRINTS:
            raise
        nothing = Split(np.empty((0, 1, 28, 28), np.float32), np.empty(0, np.int64))
        return Data(name, nothing, nothing, _joined(download.SHA256[name]), here=False)
    return _digits() if name == "digits" else _idx(name)


@functools.lru_cache(maxsize=1)
def load_once(name: str) -> Data:
    """`load` from the default folder, kept for the next call: a worker process trains on the same data again and again."""
    return load(name)


def checksum(name: str) -> str:
    """SHA-256 over a data set's raw bytes, read afresh: for MNIST over its four files, for digits over its two arrays."""
    if name == "digits":
        pixels, labels = _digits_arrays()
        return hashlib.sha256(pixels.tobytes() + labels.tobytes()).hexdigest()
    return _joined(download.checksums(name))


def _joined(sums: dict[str, str]) -> str:
    return hashlib.sha256("".join(sums[file] for file in sorted(sums)).encode()).hexdigest()


def normalise(pixels: np.ndarray) -> np.ndarray:
    """(N, 28, 28) float32 pixels in [0, 1] to (N, 1, 28, 28) float32 in [-1, 1]."""
    return ((pixels - np.float32(MEAN)) / np.float32(STANDARD_DEVIATION))[:, None]


def _idx(name: str) -> Data:
    def split(which: str) -> Split:
        pixels, labels = download.read(name, paths.data(), which)
        return Split(normalise(pixels.astype(np.float32) / np.float32(255)), labels.astype(np.int64))

    return Data(name, split("train"), split("test"), checksum(name))


def _digits_arrays() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits  # slow to import, and MNIST does without it

    bunch = load_digits()
    return bunch.images.astype(np.uint8), bunch.target.astype(np.int64)


def _digits() -> Data:
    """scikit-learn's 1,797 digits of 8 x 8 pixels with 17 grey levels, enlarged to 28 x 28 by bilinear interpolation.

    A fixed stratified split keeps one image in five for testing: 1,437 to train, 360 to test.
    """
    from sklearn.model_selection import train_test_split

    pixels, labels = _digits_arrays()
    train, test = train_test_split(np.arange(len(labels)), test_size=360, stratify=labels, random_state=0)
    images = normalise(enlarged(pixels.astype(np.float32) / np.float32(16), 28))
    return Data("digits", *(Split(images[index], labels[index]) for index in (train, test)), checksum("digits"))


def enlarged(images: np.ndarray, size: int) -> np.ndarray:
    """(N, S, S) images to (N, size, size) by bilinear interpolation, edges aligned with edges."""
    small = images.shape[-1]
    at = ((np.arange(size) + 0.5) * small / size - 0.5).clip(0, small - 1)  # the middle of each new pixel among the old ones
    low = at.astype(int)
    high, share = np.minimum(low + 1, small - 1), (at - low).astype(np.float32)
    rows = images[:, low] * (1 - share)[:, None] + images[:, high] * share[:, None]
    return rows[:, :, low] * (1 - share) + rows[:, :, high] * share
