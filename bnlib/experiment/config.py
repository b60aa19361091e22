"""What determines a run: its configuration, the factors that a study can vary, and what their levels are called."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from bnlib.system.stamps import fingerprint

CHAIN = (0.001, 0.01, 0.005)  # the learning rates of the original, in the order in which it trains its networks on at them
DATASETS = {"mnist": "MNIST", "fashion_mnist": "Fashion-MNIST", "digits": "the 1,797 digits of scikit-learn"}
CLASSES = {
    "mnist": tuple("0123456789"),
    "fashion_mnist": ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot"),
    "digits": tuple("0123456789"),
}
# Test images of each class: the accuracy of a network that gives one answer for all is such a share of them.
TESTED = {
    "mnist": (980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009),
    "fashion_mnist": (1000,) * 10,
    "digits": (36, 36, 35, 37, 36, 37, 36, 36, 35, 36),
}
FITTED = 5000  # training images, the first ones, on which it is measured how well a network fits
THREADS = 1  # per run on a CPU: another number of threads gives other last bits, and runs go on side by side anyway

# The one place to name a level: what it is called on the pages. `training` has the code of each under the same name; what a
# notebook registers is added to both while it runs.
LEVELS: dict[str, dict[str, str]] = {
    "network": {"convnet": "small CNN"},
    "norm": {
        "none": "a norm",  # what the network is without
        "batch": "batch norm",
        "group": "group norm",
        "layer": "layer norm",
        "batch@1": "batch norm behind conv1 alone",
        "batch@2": "batch norm behind conv2 alone",
        "batch@3": "batch norm behind linear1 alone",
    },
    "activation": {"relu": "ReLU", "leaky_relu": "leaky ReLU"},
    "optimizer": {"adam": "Adam", "sgd": "SGD with momentum"},
}
COUNTED = {"warmup": "a warm-up of {} steps", "batch_size": "batches of {}"}  # what the levels of these factors are called
# What can be looked at inside a run, at chosen steps; `training.probes` says what each is.
PROBES = ("dead", "classes", "loss_band", "predictiveness", "smoothness", "shift", "drift", "step_size")
# The fields of `RunConfig` that a study can vary, in the order in which records are sorted by them.
FACTORS = ("network", "norm", "activation", "optimizer", "warmup", "batch_size", "learning_rate")

Dataset = Literal["mnist", "fashion_mnist", "digits"]
Precision = Literal["fp32", "bf16"]
Device = Literal["cpu", "cuda", "mps"]
LearningRate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Epochs = Annotated[int, Field(ge=1, le=10_000)]


def known(factor: str) -> Callable[[str], str]:
    """A check that a level of `factor` is one that `LEVELS` names."""

    def check(level: str) -> str:
        if level not in LEVELS[factor]:
            raise ValueError(f"{level!r} is no {factor}; known: {', '.join(LEVELS[factor])}")
        return level

    return check


class RunConfig(BaseModel):
    """Everything that determines a run, apart from the data and the machine. Frozen; unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    dataset: Dataset
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    learning_rate: LearningRate
    network: Annotated[str, AfterValidator(known("network"))] = "convnet"
    norm: Annotated[str, AfterValidator(known("norm"))] = "none"
    activation: Annotated[str, AfterValidator(known("activation"))] = "relu"
    optimizer: Annotated[str, AfterValidator(known("optimizer"))] = "adam"
    warmup: Annotated[int, Field(ge=0)] = 0  # steps over which the learning rate rises linearly from 0
    epochs: Epochs = 10
    # With these the same network is trained on, at each in turn for `epochs` more epochs, with a new optimizer each time.
    later_rates: tuple[LearningRate, ...] = ()
    batch_size: Annotated[int, Field(ge=2, le=60_000)] = 100  # batch norm has no variance to take of one image
    precision: Precision = "fp32"
    device: Device = "cpu"
    probed: bool = False  # whether it is looked into as it goes, which changes nothing in it

    @property
    def all_epochs(self) -> int:
        """The epochs of the run over all its rates."""
        return self.epochs * (1 + len(self.later_rates))

    @property
    def arm(self) -> str:
        """Its norm, and of the other factors but the learning rate those that are not at their defaults: `none, warmup 600`."""
        others = [
            f for f in FACTORS if f not in ("norm", "learning_rate") and getattr(self, f) != type(self).model_fields[f].default
        ]
        told = [getattr(self, f) if f in LEVELS else f"{f.replace('_', ' ')} {getattr(self, f)}" for f in others]
        return ", ".join([self.norm, *told])

    @property
    def first_rate(self) -> "RunConfig":
        """The run at the first rate alone, which is how this one begins."""
        return self.model_copy(update={"later_rates": ()})

    @property
    def changed(self) -> dict[str, Any]:
        """The fields that decide its bits, those at their defaults left out: a new field leaves old configurations as they are.

        Whether it is probed decides none, nor does the number of epochs: a longer run begins with the shorter one. Only where
        there are later rates it decides when they begin.
        """
        values = self.model_dump(mode="json", exclude_defaults=True, exclude={"epochs", "probed"})
        return values | ({"epochs": self.epochs} if self.later_rates else {})


def full_name(config: RunConfig, made_by: dict[str, str]) -> str:
    """The name of a run: SHA-256 of everything that its bits hang on."""
    return fingerprint({"config": config.changed, "made by": made_by})


def place(config: RunConfig, epoch: int) -> tuple[float, int]:
    """The learning rate in a run's `epoch`th epoch, and which epoch at that rate it is; both count from 1."""
    at, before = divmod(epoch - 1, config.epochs)
    return (config.learning_rate, *config.later_rates)[at], before + 1


def rate_name(learning_rate: float) -> str:
    """A learning rate as people write it, exact and without an exponent: 0.001, 0.00001, 1000."""
    return np.format_float_positional(learning_rate, trim="-")
