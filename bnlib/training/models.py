"""The networks: one small CNN, with a normalisation before each activation or without."""

import inspect
import itertools
from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from bnlib.experiment.config import RunConfig
from bnlib.experiment.registry import Registry


def groups_of_8(channels: int) -> nn.GroupNorm:
    """Group norm of 8 channels a group (Wu & He, "Group Normalization", ECCV 2018)."""
    return nn.GroupNorm(channels // 8, channels)


def one_group(channels: int) -> nn.GroupNorm:
    """Layer norm of images: mean and variance over all channels and pixels of one (Ba et al., "Layer Normalization", 2016)."""
    return nn.GroupNorm(1, channels)


def leaky_relu() -> nn.LeakyReLU:
    """Leaky ReLU (Maas et al., ICML workshop 2013): a hundredth of what is below zero gets through."""
    return nn.LeakyReLU(0.01)


# The one place to add a norm: its name, and what makes the layer at each of the three places, after the first convolution, the
# second one and the first linear layer, from a number of channels. `None`: nothing is put there.
NORMS = Registry(
    "norm",
    {
        "none": (None, None, None),
        "batch": (nn.BatchNorm2d, nn.BatchNorm2d, nn.BatchNorm1d),
        "group": (groups_of_8, groups_of_8, nn.LayerNorm),
        "layer": (one_group, one_group, nn.LayerNorm),
        "batch@1": (nn.BatchNorm2d, None, None),
        "batch@2": (None, nn.BatchNorm2d, None),
        "batch@3": (None, None, nn.BatchNorm1d),
    },
)
ACTIVATIONS = Registry("activation", {"relu": nn.ReLU, "leaky_relu": leaky_relu})
norm = NORMS.register  # @norm("mine"): of channels to a layer, which gets (B, C, H, W) and, after the linear layer, (B, C)

KNOW_ONEDNN = (nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d, nn.ReLU)  # layers that pass tensors on in oneDNN's memory layout


class Flatten(nn.Flatten):
    """`nn.Flatten` that leaves oneDNN's memory layout, where its input has it."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.to_dense() if x.is_mkldnn else x)


class ConvNet(nn.Sequential):
    """Two convolutions and two linear layers; maps (B, 1, 28, 28) images to (B, 10) logits.

    421,642 parameters without a norm, 422,090 with batch norm (Ioffe & Szegedy, "Batch Normalization", ICML 2015), which stands
    before each activation.

    Max-pooling comes before the activation instead of after it: the two commute (both are monotone and the activation acts on
    single numbers), the losses are the same bit for bit, and the activation then has a quarter of the numbers to work on.

    Args:
        norm: a key of `NORMS`.
        activation: a key of `ACTIVATIONS`.

    Raises:
        ValueError: unknown norm.
    """

    def __init__(self, norm: str = "none", activation: str = "relu"):
        if norm not in NORMS:
            raise ValueError(f"unknown norm {norm!r}; known: {', '.join(NORMS)}")
        made = NORMS[norm]
        first, second, third = made if isinstance(made, tuple) else (made, made, made)
        act = ACTIVATIONS[activation]
        # Shared layers draw their initial weights first and in one order, so that under one seed
        # every arm starts from the same ones, whatever its norm draws.
        conv1 = nn.Conv2d(1, 32, kernel_size=3, padding=1)
        conv2 = nn.Conv2d(32, 64, kernel_size=3, padding=1)
        linear1 = nn.Linear(64 * 7 * 7, 128)
        linear2 = nn.Linear(128, 10)
        layers = {
            "conv1": conv1,
            "norm1": first and first(32),
            "pool1": nn.MaxPool2d(2),
            "relu1": act(),
            "conv2": conv2,
            "norm2": second and second(64),
            "pool2": nn.MaxPool2d(2),
            "relu2": act(),
            "flatten": Flatten(),
            "linear1": linear1,
            "norm3": third and third(128),
            "relu3": act(),
            "linear2": linear2,
        }
        super().__init__(OrderedDict((name, layer) for name, layer in layers.items() if layer is not None))


NETWORKS = Registry("network", {"convnet": ConvNet})
network = NETWORKS.register  # @network("mine"): to a module that maps (B, 1, 28, 28) images to (B, 10) logits


def build(config: RunConfig) -> nn.Module:
    """A run's network, whose initial weights depend on its seed alone; the global random state is left as it was.

    A registered network gets those of `norm` and `activation` that it has parameters for.
    """
    make = NETWORKS[config.network]
    taken = {name: getattr(config, name) for name in inspect.signature(make).parameters if name in ("norm", "activation")}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return make(**taken)


def takes_onednn(model: nn.Module) -> bool:
    """Whether `model` takes images in oneDNN's memory layout: both arms do, a norm that is not torch's may not."""
    layers = itertools.takewhile(lambda layer: type(layer) is not Flatten, model.children())
    return isinstance(model, ConvNet) and all(type(layer) in KNOW_ONEDNN and getattr(layer, "affine", True) for layer in layers)


def count_parameters(model: nn.Module) -> int:
    """Number of trainable numbers in `model` (running statistics are not trained, so not counted)."""
    return sum(parameter.numel() for parameter in model.parameters())


def count_operations(config: RunConfig) -> int:
    """Floating-point operations of matrix products and convolutions in a training step of a run's network, for each image."""
    model, batch = build(config), 2
    with FlopCounterMode(display=False) as counter:
        nn.functional.cross_entropy(model(torch.zeros(batch, 1, 28, 28)), torch.zeros(batch, dtype=torch.int64)).backward()
    return counter.get_total_flops() // batch


def layer_table(config: RunConfig) -> list[tuple[str, str, tuple[int, ...], int]]:
    """For each layer of a run's network: name, class, output shape for one image, number of parameters."""
    model, rows = build(config).eval(), []
    x = torch.zeros(1, 1, 28, 28)
    for name, layer in model.named_children():
        x = layer(x)
        rows.append((name, type(layer).__name__, tuple(x.shape[1:]), count_parameters(layer)))
    return rows
