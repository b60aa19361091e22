"""A finished run: its epochs, what probes saw in it, and what made it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bnlib import plural
from bnlib.experiment.config import RunConfig, full_name, rate_name
from bnlib.system.stamps import fingerprint

MEASURED = ["train_loss", "train_accuracy", "test_loss", "test_accuracy", "classes", "fitted_loss"]


@dataclass(frozen=True)
class Epoch:
    """What one epoch of a run gave. Losses in nats per image, accuracies as fractions, seconds of training alone.

    `classes` is how many classes were predicted for at least one test image; `fitted_loss` is the loss on training images after
    the epoch, taken as that on test images is. In the epoch in which a run diverges all but the seconds are NaN, and it is the
    run's last.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float
    classes: float
    seconds: float
    fitted_loss: float = np.nan  # where it was not measured

    @property
    def diverged(self) -> bool:
        return not np.isfinite(self.train_loss)


class Look(NamedTuple):
    """What a probe saw of a layer, or of the whole network where none is named, at one step of a run; steps count from 1."""

    probe: str
    layer: str
    measure: str
    value: float
    step: int = 0
    epoch: int = 0


class Run(NamedTuple):
    """A finished run: configuration, epochs, and what made it, as text by name: data, code, machine.

    `adopted` says, where code was changed since, what showed that the bits did not. `looks` are what the probes saw, whose code
    has the fingerprint `probes`. `date` is the day on which it was finished, in UTC: 2026-11-27; empty where nobody knows.
    """

    config: RunConfig
    epochs: tuple[Epoch, ...]
    made_by: dict[str, str]
    adopted: str = ""
    probes: str = ""
    looks: tuple[Look, ...] = ()
    date: str = ""

    @property
    def name(self) -> str:
        """The name that records give it."""
        return full_name(self.config, self.made_by)[:16]

    @property
    def asked(self) -> RunConfig:
        """Its configuration with as many epochs as it has; those of a chain are at each of its rates, as it was asked."""
        return self.config if self.config.later_rates else self.config.model_copy(update={"epochs": len(self.epochs)})

    def is_finished(self, epochs: int) -> bool:
        """Whether it has so many epochs, or ended before as diverged."""
        return len(self.epochs) >= epochs or bool(self.epochs and self.epochs[-1].diverged)

    def is_seen(self, epochs: int) -> bool:
        """Whether probes looked into it for so many epochs, or to its end as diverged."""
        seen = max((look.epoch for look in self.looks), default=0)
        return seen >= epochs or bool(self.looks and seen == len(self.epochs) and self.epochs[-1].diverged)

    def first(self, config: RunConfig) -> "Run":
        """Its first epochs, as the run of a configuration that asks for no more."""
        looks = tuple(look for look in self.looks if config.probed and look.epoch <= config.all_epochs)
        return self._replace(config=config, epochs=self.epochs[: config.all_epochs], looks=looks)


def measured(epoch: Epoch) -> tuple[float, ...]:
    """What was measured in an epoch, in the order of `MEASURED`."""
    return tuple(getattr(epoch, name) for name in MEASURED)


def digest(epochs: Sequence[Epoch]) -> str:
    """What a changed number in the records of a run is noticed by; `fitted_loss` counts where it was measured."""

    def told(epoch: Epoch) -> list[str]:
        *values, fitted = map(float, measured(epoch))
        return [repr(value) for value in (values if np.isnan(fitted) else (*values, fitted))]

    return fingerprint([told(epoch) for epoch in epochs])[:16]


def digest_of_looks(looks: Sequence[Look]) -> str:
    """The same of what probes saw in it; of nothing, nothing."""
    return fingerprint([[*look[:3], repr(float(look.value)), *look[4:]] for look in looks])[:16] if looks else ""


def grouped(runs: Iterable[Run], key: Callable[[Run], str] = lambda run: str(run.config.changed)) -> dict[str, list[Run]]:
    """Runs by their question: several are of one where it was asked on several machines, or with looks into it and without."""
    found: dict[str, list[Run]] = {}
    for run in runs:
        found.setdefault(key(run), []).append(run)
    return found


def serving(config: RunConfig, runs: Iterable[Run]) -> Run | None:
    """Which of the runs of a question has what a configuration asks for, its epochs and, where it is probed, looks into these.

    Of several the first that has no looks to spare; where none has it all, the first that has the epochs.
    """
    epochs = config.all_epochs

    def lacks(run: Run) -> tuple[bool, ...]:
        return not run.is_finished(epochs), config.probed and not run.is_seen(epochs), bool(run.looks) and not config.probed

    return min(runs, key=lacks, default=None)


def in_words(config: RunConfig) -> str:
    """A run in words."""
    later, looked = " and on" if config.later_rates else "", ", looked into" if config.probed else ""
    return f"{config.arm}, learning rate {rate_name(config.learning_rate)}{later}, seed {config.seed}{looked}"


def differences(kept: Run, anew: Run) -> list[str]:
    """What one run measured otherwise than the other, epoch by epoch; what the first has no number of is not compared."""
    if len(kept.epochs) != len(anew.epochs):
        return [f"{plural(len(anew.epochs), 'epoch')}, not {len(kept.epochs)}"]
    pairs = zip(kept.epochs, anew.epochs, strict=True)
    seen = {look.epoch for look in kept.looks}
    again = [look for look in anew.looks if look.epoch in seen]
    if len(again) != len(kept.looks):
        return [f"{plural(len(again), 'number')} that probes saw, not {len(kept.looks)}"]
    other = [(a, b) for a, b in zip(kept.looks, again, strict=True) if str(a) != str(b)]
    looks = [f"{a.probe} {a.layer} {a.measure} at step {a.step}: {b.value!r}, not {a.value!r}" for a, b in other]
    return looks + [
        f"{name.replace('_', ' ')} of epoch {a.epoch}: {getattr(b, name)!r}, not {getattr(a, name)!r}"
        for a, b in pairs
        for name in MEASURED
        if repr(float(getattr(a, name))) != repr(float(getattr(b, name)))
        and (a.diverged or getattr(a, name) == getattr(a, name))
    ]
