"""What a person may set for `make report`: read from the variables of the same names, checked before anything runs."""

import os
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Literal

import joblib
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator

from bnlib import UserError
from bnlib.experiment.config import LEVELS, Epochs, LearningRate, Precision, known


class Settings(BaseModel):
    """The variables of `make report` that decide what it makes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    learning_rates: tuple[float, ...] = (0.001, 0.005, 0.01)
    range_rates: tuple[float, ...] = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
    arms: tuple[str, ...] = ("none", "batch")
    seeds: int = Field(default=3, ge=1, le=1000)
    study_seeds: int = Field(default=3, ge=1, le=1000)
    epochs: Epochs = 10
    dataset: Literal["mnist", "fashion_mnist", "digits", "auto"] = "auto"
    precision: Precision = "fp32"
    device: Literal["cpu", "cuda", "mps", "auto"] = "auto"

    @field_validator("learning_rates", "range_rates", mode="before")
    @classmethod
    def _each_once(cls, value: object) -> object:
        return rates(value)

    @field_validator("arms", mode="before")
    @classmethod
    def _two_or_more(cls, value: object) -> object:
        return arms(value)


def arms(value: str | Sequence[str]) -> tuple[str, ...]:
    """Norms, from text that is split at spaces and commas: the first is the reference that the others are held against.

    Raises:
        ValueError: there are fewer than two or more than six, one is unknown, or one is there twice.
    """
    items = value.replace(",", " ").split() if isinstance(value, str) else list(value)
    if not 2 <= len(items) <= 6 or len(set(items)) < len(items):
        raise ValueError(f'names two to six norms, each once, like "none batch"; known: {", ".join(LEVELS["norm"])}')
    return tuple(map(known("norm"), items))


def rates(value: str | Sequence[float]) -> tuple[float, ...]:
    """Learning rates, from text that is split at spaces and commas: each once, ascending, however it was written.

    Raises:
        ValueError: there are none, or one is no finite number above 0.
    """
    items = value.replace(",", " ").split() if isinstance(value, str) else list(value)
    if not items:
        raise ValueError('names no learning rate; for example "0.001 0.01"')
    return tuple(sorted({_rate(item) for item in items}))


def _rate(item: object) -> float:
    try:
        return TypeAdapter(Annotated[LearningRate, Field(ge=1e-12, le=1e12)]).validate_python(item)
    except ValidationError:
        raise ValueError(f"{str(item)!r} is not a learning rate: a finite number above 0, from 1e-12 to 1e12") from None


def read(variables: Mapping[str, str] = os.environ, standing: Mapping[str, object] = MappingProxyType({})) -> Settings:
    """The settings in `variables`, under their names in capitals; what is absent is as in `standing`, else at its default.

    Args:
        standing: the settings of the report that stands there, by name.

    Raises:
        UserError: one line that names the variable, its value, and what it should be.
    """
    given = {name: variables[name.upper()] for name in Settings.model_fields if name.upper() in variables}
    standing = dict(standing)
    try:
        return Settings(**standing | given)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        reason = first["msg"].removeprefix("Value error, ")
        said = " ".join(f'{name.upper()}="{(standing | given)[name]}": {reason[:1].lower()}{reason[1:]}'.split())  # in one line
        raise UserError(said) from None


def worker_count() -> int:
    """Worker processes to use: the variable `WORKERS`, else one for each core this process may use.

    Raises:
        UserError: the variable is not a whole number from 1 on.
    """
    return count("WORKERS", joblib.cpu_count())


def count(variable: str, default: int) -> int:
    """A variable that counts something.

    Raises:
        UserError: it is not a whole number from 1 on.
    """
    text = os.environ.get(variable, str(default))
    if not (text.isascii() and text.isdecimal() and len(text) < 10) or int(text) < 1:
        raise UserError(f'{variable}="{text}": should be a whole number from 1 on')
    return int(text)
