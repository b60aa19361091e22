"""Tables of code by name, which a notebook can add its own to: a norm, a network, an optimizer."""

import re
import sys
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from bnlib import UserError
from bnlib.experiment.config import LEVELS, RunConfig
from bnlib.system.code.live import defined_by_user, fingerprint

ALL: dict[str, "Registry"] = {}  # by factor; filled as `training` is imported
Code = TypeVar("Code", bound=Callable[..., Any])
NAME = r"[\w@.+-]+"  # of a level: it stands in tables and in file names


class Registry(dict[str, Any]):
    """The code of each level of a factor, by the level's name.

    Args:
        factor: a field of `RunConfig` whose levels these are.
        built_in: the code of those that the package brings.
    """

    def __init__(self, factor: str, built_in: Mapping[str, Any]):
        super().__init__(built_in)
        self.factor: str = factor
        self.own: set[str] = set()
        ALL[factor] = self

    def __reduce__(self) -> tuple[Any, ...]:
        return ALL.__getitem__, (self.factor,)  # another process has its own

    def register(self, name: str, label: str = "") -> Callable[[Code], Code]:
        """A decorator that adds code under `name`, or replaces what was added before; pages call it `label`.

        Raises:
            ValueError: the package itself has something of that name, or it is no name.
        """
        if not re.fullmatch(NAME, name):
            raise ValueError(f"{self.factor} {name!r}: a name is of letters, digits, and @ . + - _")
        if name in self and name not in self.own:
            raise ValueError(f"{self.factor} {name!r} is the package's own; take another name")

        def add(code: Code) -> Code:
            self[name] = code
            self.own.add(name)
            LEVELS[self.factor][name] = label or name
            return code

        return add


def used(config: RunConfig) -> list[Any]:
    """The code that the package brings of the levels that a run names."""
    levels = ((registry, getattr(config, factor)) for factor, registry in ALL.items())
    return [registry[level] for registry, level in levels if level not in registry.own]


def _own(config: RunConfig) -> dict[str, tuple[str, str, Any]]:
    """What was registered of them: for each factor name, label and code."""
    levels = {factor: getattr(config, factor) for factor in ALL}
    return {f: (level, LEVELS[f][level], ALL[f][level]) for f, level in levels.items() if level in ALL[f].own}


def own_code(config: RunConfig) -> dict[str, str]:
    """A fingerprint of the code that was registered for a run, with all that it uses, as it is now: by factor.

    Raises:
        UserError: it uses something that has none.
    """
    found = {}
    for factor, (name, _, code) in _own(config).items():
        try:
            found[factor] = fingerprint(code)
        except ValueError as error:
            raise UserError(f"{factor} {name!r}: {error}") from None
    return found


def packed(config: RunConfig) -> bytes | None:
    """What was registered of that code, for another process; None where there is none of it.

    Raises:
        UserError: it cannot be sent there.
    """
    own = _own(config)
    if not own:
        return None
    import cloudpickle

    for name, _, code in own.values():  # a file beside the notebook may be out of the other process's reach
        module = sys.modules.get(getattr(code, "__module__", None) or "")
        if module and module.__name__ != "__main__" and defined_by_user(code):
            cloudpickle.register_pickle_by_value(module)
        try:
            cloudpickle.dumps(code)
        except Exception as error:  # what cannot be pickled can fail in any way
            raise UserError(f"{name!r} cannot be sent to the processes that train: {error}") from None
    sent: bytes = cloudpickle.dumps(own)
    return sent


def unpack(packed: bytes | None) -> None:
    """Registers here what `packed` holds, which this calls code of: it has to come from one's own other process."""
    if packed:
        import cloudpickle

        for factor, (name, label, code) in cloudpickle.loads(packed).items():
            ALL[factor].register(name, label)(code)
