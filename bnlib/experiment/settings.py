"""What a person may set for `make report`: read from the variables of the same names, checked before anything runs."""

import os
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any, Literal, TypeVar

import joblib
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator

from bnlib import UserError
from bnlib.experiment.config import LEVELS, Epochs, LearningRate, Precision, known

Read = TypeVar("Read")
# What notebooks call their parameters, with a value of each that is right.
EXAMPLES = {
    **{"dataset": "mnist", "arms": "none batch", "learning_rate": 0.001, "learning_rates": "0.001 0.01", "rates": "0.001 0.01"},
    **{"seeds": 3, "epochs": 10, "warmup": 600, "batch_size": 100, "precision": "fp32", "device": "auto"},
}


# The studies by the names under which they are asked for: those that a report always has, and those that it may have besides.
ALWAYS, LATER = ("rates", "range", "replay"), ("inside", "controls")


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
    studies: tuple[str, ...] = ()  # none named: those of `ALWAYS`, and on the digits `inside`

    def asked(self, dataset: str) -> tuple[str, ...]:
        """The names of the studies that are asked for on a data set."""
        return self.studies or (*ALWAYS, *(["inside"] if dataset == "digits" else []))

    @field_validator("learning_rates", "range_rates", mode="before")
    @classmethod
    def _each_once(cls, value: object) -> object:
        return _rates(value)

    @field_validator("studies", mode="before")
    @classmethod
    def _known(cls, value: object) -> object:
        items, known = tuple(dict.fromkeys(_items(value))), (*ALWAYS, *LATER)
        if items == ("auto",):
            return ()
        if unknown := set(items) - set(known):
            raise ValueError(f"{sorted(unknown)[0]!r} is no study; known: {', '.join(known)}")
        if items and not set(ALWAYS) <= set(items):
            raise ValueError(f'a report rests on {", ".join(ALWAYS)}; name them too: "{" ".join((*ALWAYS, *LATER))}", say')
        return tuple(name for name in known if name in items)

    @field_validator("arms", mode="before")
    @classmethod
    def _two_or_more(cls, value: object) -> object:
        return _arms(value)


def arms(value: str | Sequence[str]) -> tuple[str, ...]:
    """Norms, from text that is split at spaces and commas: the first is the reference that the others are held against.

    Raises:
        UserError: there are fewer than two or more than six, one is unknown, or one is there twice.
    """
    return _of_notebook("arms", value, _arms)


def rates(value: str | Sequence[float], name: str = "learning_rates") -> tuple[float, ...]:
    """Learning rates, from text that is split at spaces and commas: each once, ascending, however it was written.

    Args:
        name: the parameter that they are, for what is said of a wrong one.

    Raises:
        UserError: there are none, or one is no finite number above 0.
    """
    return _of_notebook(name, value, _rates)


def rate(value: float) -> float:
    """A learning rate.

    Raises:
        UserError: it is no finite number above 0.
    """
    return _of_notebook("learning_rate", value, _rate)


def _of_notebook(name: str, value: object, read: Callable[[Any], Read]) -> Read:
    try:
        return read(value)
    except ValueError as error:
        raise wrong(name, value, str(error)) from None


def wrong(name: str, value: object, reason: str) -> UserError:
    """That a parameter of a notebook cannot have this value, in the words of a notebook: what to write instead."""
    example = EXAMPLES[name] if name in EXAMPLES else EXAMPLES[name.rpartition("_")[2]]  # `long_seeds` is like `seeds`
    return UserError(f"{name}={value!r}: {reason}; set {name} = {example!r}, say, in the cell of parameters")


def first_reason(error: ValidationError) -> tuple[str, str, Any]:
    """The field of a model that was refused first, why, and what it was given."""
    first = error.errors()[0]
    inner = first.get("ctx", {}).get("error")
    if isinstance(inner, ValidationError):  # a study checks its runs
        return first_reason(inner)
    reason = first["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return str(first["loc"][0]) if first["loc"] else "", reason[:1].lower() + reason[1:], first["input"]


def _items(value: object) -> list[Any]:
    if isinstance(value, str):
        return value.replace(",", " ").split()
    return list(value) if isinstance(value, list | tuple) else [value]


def _arms(value: object) -> tuple[str, ...]:
    items = _items(value)
    if not 2 <= len(items) <= 6 or len(set(items)) < len(items):
        raise ValueError(f'names two to six norms, each once, like "none batch"; known: {", ".join(LEVELS["norm"])}')
    return tuple(map(known("norm"), items))


def _rates(value: object) -> tuple[float, ...]:
    if not (items := _items(value)):
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
        name, reason, _ = first_reason(error)
        raise UserError(" ".join(f'{name.upper()}="{(standing | given)[name]}": {reason}'.split())) from None  # in one line


def worker_count(device: str = "cpu") -> int:
    """Worker processes to use: the variable `WORKERS`, else one for each core this process may use, or one for a GPU.

    Raises:
        UserError: the variable is not a whole number from 1 on.
    """
    return count("WORKERS", joblib.cpu_count() if device == "cpu" else 1)


def count(variable: str, default: int) -> int:
    """A variable that counts something.

    Raises:
        UserError: it is not a whole number from 1 on.
    """
    text = os.environ.get(variable, str(default))
    if not (text.isascii() and text.isdecimal() and len(text) < 10) or int(text) < 1:
        raise UserError(f'{variable}="{text}": should be a whole number from 1 on')
    return int(text)
