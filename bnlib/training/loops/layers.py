"""The network's layers with less to do, and the same results but for rounding: each gradient is that of the standard layer.

- The first convolution has one channel in: each output is a product of its weights, bias last, with a window of ten numbers.
- So mean and variance of its outputs follow from those of the windows, which are known of each image before training: batch
  norm after it is a change of its weights.
- Convolution, max-pooling and activation are one operation.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bnlib.training.data import Split
from bnlib.training.loops import kernels

AT_ONCE = 2000  # images whose windows are in memory together


@dataclass(frozen=True)
class Images:
    """A split on the device of a run: pixels (N, 784) float32, labels (N,), moments of windows (N, 10, 10) float64."""

    pixels: Tensor
    labels: Tensor
    moments: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def split(self) -> Split:
        """The same as `loop.to_device` has it."""
        return Split(self.pixels.view(-1, 1, 28, 28), self.labels)


def images(split: Split, device: str) -> Images:
    """A split of arrays, ready for `first` and `folded`."""
    pixels = torch.from_numpy(split.images).to(device).flatten(1)
    return Images(pixels, torch.from_numpy(split.labels).to(device), moments(pixels))


def windows(pixels: Tensor) -> Tensor:
    """(B, 784) pixels to (B, 10, 784): of each pixel its window of 3 x 3, with zeros around the image, and a 1."""
    images = F.pad(pixels.view(-1, 28, 28), (1, 1, 1, 1))
    seen = images.unfold(1, 3, 1).unfold(2, 3, 1).permute(0, 3, 4, 1, 2).reshape(len(pixels), 9, -1)
    return torch.cat([seen, torch.ones_like(seen[:, :1])], 1)


def moments(pixels: Tensor) -> Tensor:
    """(N, 784) pixels to (N, 10, 10) float64: of each image the mean, over its windows, of products of two of their numbers."""
    parts = (windows(part).double() for part in pixels.split(AT_ONCE))
    return torch.cat([torch.bmm(seen, seen.transpose(1, 2)) / seen.shape[2] for seen in parts])


def matrix(convolution: nn.Conv2d) -> Tensor:
    """Weights and bias of the first convolution: (32, 10), the bias last."""
    return torch.cat([convolution.weight.flatten(1), convolution.bias[:, None]], 1)


def folded(weights: Tensor, norm: nn.BatchNorm2d, of: Images, rows: Tensor) -> Tensor:
    """The matrix of a first convolution that gives what batch norm after it would; (32, 10) to (32, 10).

    In training mode by mean and variance of the batch, and running statistics are updated, else by these.

    Args:
        weights: of the convolution, as `matrix` has them.
        rows: (B,) which images are in the batch.
    """
    if norm.training and weights.is_cuda:
        return kernels.Fold.apply(weights, norm.weight, norm.bias, norm, of.moments, rows)
    return folded_by_operations(weights, norm, of, rows)


def folded_by_operations(weights: Tensor, norm: nn.BatchNorm2d, of: Images, rows: Tensor) -> Tensor:
    """`folded` on a CPU, and in evaluation mode, where it is done once for thousands of images."""
    wide = weights.double()
    mean, variance = norm.running_mean, norm.running_var
    if norm.training:
        second = of.moments[rows].mean(0)
        mean = wide @ second[-1]
        variance = ((wide @ second) * wide).sum(1) - mean**2
        count = len(rows) * of.pixels.shape[1]
        with torch.no_grad():
            norm.running_mean += norm.momentum * (mean - norm.running_mean)
            norm.running_var += norm.momentum * (variance * count / (count - 1) - norm.running_var)
    scale = norm.weight / (variance + norm.eps).sqrt()
    shift = norm.bias - mean * scale
    return (wide * scale[:, None] + F.pad(shift[:, None], (9, 0))).to(weights.dtype)


def first(weights: Tensor, of: Images, rows: Tensor, slope: float) -> Tensor:
    """Convolution, max-pooling and activation of images; (32, 10) weights and (B,) rows to (B, 32, 14, 14), channels last.

    Args:
        weights: of the convolution, as `matrix` has them.
        slope: of the activation below zero.
    """
    if weights.is_cuda:
        return kernels.First.apply(weights, of.pixels, rows, slope)
    made = (weights @ windows(of.pixels[rows]).to(weights.dtype)).view(len(rows), -1, 28, 28)
    return _pooled(made, slope).contiguous(memory_format=torch.channels_last)


def second(x: Tensor, convolution: nn.Conv2d) -> Tensor:
    """The second convolution; (B, 32, 14, 14) to (B, 64, 14, 14), channels last."""
    return kernels.Convolve.apply(x, convolution.weight, convolution.bias) if x.is_cuda else convolution(x)


def pool(x: Tensor, slope: float) -> Tensor:
    """Max-pooling and activation after the second convolution; (B, 64, 14, 14) to (B, 64, 7, 7), channels first."""
    return kernels.Pool.apply(x, slope) if x.is_cuda else _pooled(x, slope).contiguous()


def _pooled(x: Tensor, slope: float) -> Tensor:
    return F.leaky_relu(F.max_pool2d(x, 2), slope)
