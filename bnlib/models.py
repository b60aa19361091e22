"""The two arms: one small CNN with and without batch normalisation."""

import itertools
from collections import OrderedDict

import torch
from torch import Tensor, nn

# The one place to add a norm: its name, the layer after a convolution and the layer after a linear layer,
# each made from a number of channels. `None`: nothing is put there.
NORMS = {
    "none": (None, None),
    "batch": (nn.BatchNorm2d, nn.BatchNorm1d),
}

KNOW_ONEDNN = (nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d, nn.ReLU)  # layers that pass tensors on in oneDNN's memory layout


class Flatten(nn.Flatten):
    """`nn.Flatten` that leaves oneDNN's memory layout, where its input has it."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.to_dense() if x.is_mkldnn else x)


class ConvNet(nn.Sequential):
    """Two convolutions and two linear layers; maps (B, 1, 28, 28) images to (B, 10) logits.

    `norm` is the only difference between the arms. 421,642 parameters without a norm, 422,090 with batch norm
    (Ioffe & Szegedy, "Batch Normalization", ICML 2015), which stands before each ReLU.

    Max-pooling comes before ReLU instead of after it: the two commute (both are monotone and ReLU acts on single
    numbers), the losses are the same bit for bit, and ReLU then has a quarter of the numbers to work on.

    Args:
        norm: a key of `NORMS`.

    Raises:
        ValueError: unknown norm.
    """

    def __init__(self, norm: str = "none"):
        if norm not in NORMS:
            raise ValueError(f"unknown norm {norm!r}; known: {', '.join(NORMS)}")
        after_conv, after_linear = NORMS[norm]
        # Shared layers draw their initial weights first and in one order, so that under one seed
        # every arm starts from the same ones, whatever its norm draws.
        conv1 = nn.Conv2d(1, 32, kernel_size=3, padding=1)
        conv2 = nn.Conv2d(32, 64, kernel_size=3, padding=1)
        linear1 = nn.Linear(64 * 7 * 7, 128)
        linear2 = nn.Linear(128, 10)
        layers = {
            "conv1": conv1,
            "norm1": after_conv and after_conv(32),
            "pool1": nn.MaxPool2d(2),
            "relu1": nn.ReLU(),
            "conv2": conv2,
            "norm2": after_conv and after_conv(64),
            "pool2": nn.MaxPool2d(2),
            "relu2": nn.ReLU(),
            "flatten": Flatten(),
            "linear1": linear1,
            "norm3": after_linear and after_linear(128),
            "relu3": nn.ReLU(),
            "linear2": linear2,
        }
        super().__init__(OrderedDict((name, layer) for name, layer in layers.items() if layer is not None))


def build(norm: str, seed: int) -> ConvNet:
    """A `ConvNet` whose initial weights depend on `seed` alone; the global random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ConvNet(norm)


def takes_onednn(model: nn.Module) -> bool:
    """Whether `model` takes images in oneDNN's memory layout: both arms do, a norm that is not torch's may not."""
    layers = itertools.takewhile(lambda layer: type(layer) is not Flatten, model.children())
    return isinstance(model, ConvNet) and all(type(layer) in KNOW_ONEDNN and getattr(layer, "affine", True) for layer in layers)


def count_parameters(model: nn.Module) -> int:
    """Number of trainable numbers in `model` (running statistics are not trained, so not counted)."""
    return sum(parameter.numel() for parameter in model.parameters())


def layer_table(norm: str) -> list[tuple[str, str, tuple[int, ...], int]]:
    """For each layer: name, class, output shape for one image, number of parameters."""
    model, rows = build(norm, seed=0).eval(), []
    x = torch.zeros(1, 1, 28, 28)
    for name, layer in model.named_children():
        x = layer(x)
        rows.append((name, type(layer).__name__, tuple(x.shape[1:]), count_parameters(layer)))
    return rows
