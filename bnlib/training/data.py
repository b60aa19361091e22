"""Data sets as tensors: each split whole, in memory, normalised once."""

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bnlib.system import download, paths

MEAN, STANDARD_DEVIATION = 0.5, 0.5  # of pixels in [0, 1]; the original's values, not the data set's own


@dataclass(frozen=True)
class Split:
    """Images (N, 1, 28, 28) float32, normalised; labels (N,) int64 in [0, 9]."""

    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        if len(self.images) != len(self.labels):
            raise ValueError(f"{len(self.images)} images but {len(self.labels)} labels")

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Data:
    """A data set: its two splits and the SHA-256 of all its raw bytes."""

    name: str
    train: Split
    test: Split
    checksum: str

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the very numbers that networks are trained and tested on, labels included."""
        digest = hashlib.sha256()
        for tensor in (self.train.images, self.train.labels, self.test.images, self.test.labels):
            digest.update(tensor.contiguous().numpy())
        return digest.hexdigest()


def load(name: str, root: Path | None = None) -> Data:
    """Loads a data set, after checking its files; what is missing or damaged is fetched where that is possible.

    Args:
        name: one of `download.NAMES`, or `auto`: MNIST where it lies in `root` or can be downloaded, else `digits`.
        root: the data folder; `paths.data()` by default. `digits` needs none.

    Raises:
        UserError: the name is unknown, or the files are missing or damaged and cannot be fetched.
    """
    name = download.choose(name, root)
    return _digits() if name == "digits" else _idx(name, root or paths.data())


@functools.lru_cache(maxsize=1)
def load_once(name: str) -> Data:
    """`load` from the default folder, kept for the next call: a worker process trains on the same data again and again."""
    return load(name)


def checksum(name: str, root: Path | None = None) -> str:
    """SHA-256 over a data set's raw bytes, read afresh: for MNIST over its four files, for digits over its two arrays."""
    if name == "digits":
        pixels, labels = _digits_arrays()
        return hashlib.sha256(pixels.tobytes() + labels.tobytes()).hexdigest()
    sums = download.checksums(name, root)
    return hashlib.sha256("".join(sums[file] for file in sorted(sums)).encode()).hexdigest()


def normalise(pixels: Tensor) -> Tensor:
    """(N, 28, 28) pixels in [0, 1] to (N, 1, 28, 28) float32 in [-1, 1]."""
    return pixels.float().sub(MEAN).div(STANDARD_DEVIATION).unsqueeze(1)


def _idx(name: str, root: Path) -> Data:
    def split(which: str) -> Split:
        pixels, labels = map(torch.from_numpy, download.read(name, root, which))
        return Split(normalise(pixels.float().div(255)), labels.long())

    return Data(name, split("train"), split("test"), checksum(name, root))


def _digits_arrays() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits  # slow to import, and MNIST does without it

    bunch = load_digits()
    return bunch.images.astype(np.uint8), bunch.target.astype(np.int64)


def _digits() -> Data:
    """scikit-learn's 1,797 digits of 8 x 8 pixels with 17 grey levels, enlarged to 28 x 28 by bilinear interpolation.

    A fixed stratified split keeps one image in five for testing: 1,437 to train, 360 to test.
    """
    from sklearn.model_selection import train_test_split

    pixels, labels = (torch.from_numpy(array) for array in _digits_arrays())
    small = pixels.float().div(16).unsqueeze(1)
    large = torch.nn.functional.interpolate(small, size=(28, 28), mode="bilinear", align_corners=False).squeeze(1)
    train, test = train_test_split(np.arange(len(labels)), test_size=360, stratify=labels.numpy(), random_state=0)
    images = normalise(large)
    splits = (Split(images[index], labels[index]) for index in map(torch.from_numpy, (train, test)))
    return Data("digits", *splits, checksum("digits"))
