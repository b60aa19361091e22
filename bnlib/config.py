"""The configuration of one run, and the ranges of its fields."""

from typing import Annotated, Literal

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

CHAIN = (0.001, 0.01, 0.005)  # the learning rates of the original, in the order in which it trains its networks on at them
Dataset = Literal["mnist", "fashion_mnist", "digits"]
Precision = Literal["fp32", "bf16"]
Device = Literal["cpu", "cuda", "mps"]
LearningRate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Epochs = Annotated[int, Field(ge=1, le=10_000)]


def _known_norm(norm: str) -> str:
    from bnlib import models  # brings torch, which takes seconds to import; `make report` checks what is to do without it

    if norm not in models.NORMS:
        raise ValueError(f"known norms: {', '.join(models.NORMS)}")
    return norm


class RunConfig(BaseModel):
    """Everything that determines a run, apart from the data and the machine. Frozen; unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    dataset: Dataset
    norm: Annotated[str, AfterValidator(_known_norm)]
    learning_rate: LearningRate
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    epochs: Epochs = 10
    # With these the same network is trained on, at each in turn for `epochs` more epochs, with a new optimizer each time.
    later_rates: tuple[LearningRate, ...] = ()
    batch_size: Annotated[int, Field(ge=2, le=60_000)] = 100  # batch norm has no variance to take of one image
    precision: Precision = "fp32"
    device: Device = "cpu"

    @property
    def all_epochs(self) -> int:
        """The epochs of the run over all its rates."""
        return self.epochs * (1 + len(self.later_rates))

    @property
    def first_rate(self) -> "RunConfig":
        """The run at the first rate alone, which is how this one begins."""
        return self.model_copy(update={"later_rates": ()})


def rate_name(learning_rate: float) -> str:
    """A learning rate as people write it, exact and without an exponent: 0.001, 0.00001, 1000."""
    return np.format_float_positional(learning_rate, trim="-")
