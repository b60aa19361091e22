"""Runs on disk, each under a name made of everything that could change it, from its first finished epoch on."""

import contextlib
import hashlib
import io
import os
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from bnlib.experiment import registry
from bnlib.experiment.config import RunConfig, full_name
from bnlib.experiment.records import Epoch, Look
from bnlib.runs import environment
from bnlib.system import files, paths
from bnlib.system.code import source
from bnlib.system.stamps import fingerprint
from bnlib.training import loop, probes
from bnlib.training.loop import Checkpoint
from bnlib.training.loops import many

DIGEST_BYTES = hashlib.sha256().digest_size  # an entry begins with the SHA-256 of the rest
# Reads the package's files now: one that is edited while runs go on is not the code that they run.
source.parts(loop.fit, many.fit)


class AnotherRun(ValueError):
    """An entry that was swapped or renamed: it is whole, but of another run."""


@dataclass(frozen=True)
class Recipe:
    """All that a run's bits hang on: its configuration, the fingerprint of its data, the machine, the code that it uses."""

    config: RunConfig
    data: str
    machine: dict[str, str]
    code: dict[str, str]  # of each function and class of the package, by name, the SHA-256 of its source
    own: dict[str, str]  # a fingerprint of what a notebook registered, by factor
    probes: str = ""  # a fingerprint of the code that looks into the run, where any does

    @property
    def name(self) -> str:
        """The run's name, the same whether anything looks into it."""
        return full_name(self.config, self.made_by)

    @property
    def entry(self) -> str:
        """The name under which the run is stored, with what was seen in it."""
        return entry_name(self.name, self.probes)

    @property
    def made_by(self) -> dict[str, str]:
        """What made the run, as records say it."""
        return {"data": self.data, "code": fingerprint([self.code, self.own])} | self.machine

    @property
    def first_rate(self) -> "Recipe":
        """That of the run at its first rate alone."""
        return replace(self, config=self.config.first_rate)


def entry_name(run: str, probes: str) -> str:
    """The name under which a run of that name is stored, by the fingerprint of what looked into it."""
    return fingerprint([run, probes]) if probes else run


def recipes(configs: Iterable[RunConfig], data: str) -> list[Recipe]:
    """What each run hangs on here and now.

    Raises:
        UserError: what a notebook registered has no fingerprint.
    """
    codes, machines, made = {}, {}, []
    for config in configs:
        levels = many.suits(config), *(getattr(config, factor) for factor in registry.ALL)
        if levels not in codes:
            codes[levels] = code(config), registry.own_code(config)
        if config.device not in machines:
            machines[config.device] = environment.machine(config.device)
        made.append(Recipe(config, data, machines[config.device], *codes[levels], probes_code() if config.probed else ""))
    return made


def code(config: RunConfig) -> dict[str, str]:
    """The source of what a run uses of the package: its loop, its network, its own norm and its own optimizer."""
    return source.parts(many.fit if many.suits(config) else loop.fit, *registry.used(config))


def probes_code() -> str:
    """A fingerprint of the code that looks into runs."""
    return fingerprint(source.parts(probes.Watch))


def get(recipe: Recipe) -> Checkpoint | None:
    """The run as far as it has come, or None; a damaged entry, or another run's, is passed over. Nothing in it is executed."""
    return _read(recipe) or _begun(recipe)


def _read(recipe: Recipe) -> Checkpoint | None:
    path = _path(recipe)
    try:
        return unpacked(path.read_bytes(), recipe.entry)
    except (OSError, AnotherRun):  # none, or one that cannot be read now, or that lies under a wrong name
        return None
    except MemoryError:
        raise  # the entry may be whole
    except Exception as error:  # what is not what `put` wrote can fail to load in any way
        if "alloc" in str(error):  # torch's own want of memory
            raise MemoryError(str(error)) from error
        with contextlib.suppress(OSError):  # a store that cannot be written
            path.unlink(missing_ok=True)
        return None


def _begun(recipe: Recipe) -> Checkpoint | None:
    """A run with later rates as far as the run at its first rate alone takes it, if that has not gone too far."""
    first = get(recipe.first_rate) if recipe.config.later_rates else None
    return first if first and len(first.epochs) <= recipe.config.epochs else None


def unpacked(entry: bytes, name: str) -> Checkpoint:
    """The checkpoint in an entry, on the CPU.

    Raises:
        AnotherRun: the entry is not of the run `name`.
        ValueError: it is damaged, or has no epochs. Whatever `torch.load` raises, where it is whole but none of ours.
    """
    digest, content = entry[:DIGEST_BYTES], entry[DIGEST_BYTES:]
    if digest != hashlib.sha256(content).digest():
        raise ValueError("damaged")
    state = torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
    epochs = tuple(Epoch(**epoch) for epoch in state["epochs"])
    if state["run"] != name:
        raise AnotherRun(state["run"])
    if not epochs or [epoch.epoch for epoch in epochs] != list(range(1, len(epochs) + 1)):
        raise ValueError("epochs are missing")
    looks = tuple(Look(*look) for look in state.get("looks", ()))
    return Checkpoint(epochs, state["model"], state["optimizer"], looks)


def date(recipe: Recipe) -> str:
    """The day on which the run got as far as it is here, in UTC; today, where it is not here: then it was done elsewhere."""
    try:
        written = _path(recipe).stat().st_mtime
    except OSError:
        written = time.time()
    return time.strftime("%Y-%m-%d", time.gmtime(written))


def put(recipe: Recipe, checkpoint: Checkpoint) -> None:
    """Stores a run after an epoch, whole or not at all, in place of an entry with fewer epochs.

    One with more stays: somebody else, a notebook perhaps, has taken the same run further meanwhile.
    """
    path = _path(recipe)
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.lock(path.parent / ".lock"):  # else a shorter run that was read before could be written after
        kept = _read(recipe)
        if kept is None or len(kept.epochs) < len(checkpoint.epochs):
            files.write(path, packed(checkpoint, recipe.entry))


def rename(name: str, recipe: Recipe) -> bool:
    """Stores what lies under another name as this run, with its date; returns whether there was anything."""
    old = paths.store() / f"{name}.pt"
    try:
        put(recipe, unpacked(old.read_bytes(), name))
        os.utime(_path(recipe), (old.stat().st_atime, old.stat().st_mtime))
    except (OSError, ValueError):  # nothing, or nothing whole
        return False
    return True


def packed(checkpoint: Checkpoint, name: str) -> bytes:
    """A checkpoint of the run `name` as an entry: its SHA-256, then what `torch.save` makes of it."""
    content = io.BytesIO()
    epochs = [asdict(epoch) for epoch in checkpoint.epochs]
    states = {"model": checkpoint.model, "optimizer": checkpoint.optimizer}
    torch.save({"run": name, "epochs": epochs, "looks": [tuple(look) for look in checkpoint.looks]} | states, content)
    return hashlib.sha256(content.getbuffer()).digest() + content.getvalue()


def _path(recipe: Recipe) -> Path:
    return paths.store() / f"{recipe.entry}.pt"
