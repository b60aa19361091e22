"""Tables of code by name, which a notebook can add its own to: a norm, a network, an optimizer."""

import sys
from collections.abc import Callable, Mapping
from typing import Any

from bnlib.experiment.config import LEVELS, RunConfig

ALL: dict[str, "Registry"] = {}  # by factor; filled as `training` is imported


class Registry(dict):
    """The code of each level of a factor, by the level's name.

    Args:
        factor: a field of `RunConfig` whose levels these are.
        built_in: the code of those that the package brings.
    """

    def __init__(self, factor: str, built_in: Mapping[str, Any]):
        super().__init__(built_in)
        self.factor, self.own = factor, set()
        ALL[factor] = self

    def register(self, name: str, label: str = "") -> Callable[[Callable], Callable]:
        """A decorator that adds code under `name`, or replaces what was added before; pages call it `label`.

        Raises:
            ValueError: the package itself has something of that name.
        """
        if name in self and name not in self.own:
            raise ValueError(f"{self.factor} {name!r} is the package's own; take another name")

        def add(code: Callable) -> Callable:
            self[name] = code
            self.own.add(name)
            LEVELS[self.factor][name] = label or name
            return code

        return add


def used(config: RunConfig, own: bool) -> list[Any]:
    """The code of the levels that a run names: what a notebook registered of it (`own`), or what the package brings."""
    levels = ((registry, getattr(config, factor)) for factor, registry in ALL.items())
    return [registry[level] for registry, level in levels if (level in registry.own) == own]


def packed(config: RunConfig) -> bytes | None:
    """What a notebook registered of that code, for another process; None where there is none of it."""
    own = {factor: getattr(config, factor) for factor, registry in ALL.items() if getattr(config, factor) in registry.own}
    if not own:
        return None
    import cloudpickle

    for factor, name in own.items():  # a file beside the notebook may be out of the other process's reach
        module = sys.modules.get(getattr(ALL[factor][name], "__module__", ""))
        if module and module.__name__ not in ("__main__", "builtins"):
            cloudpickle.register_pickle_by_value(module)
    return cloudpickle.dumps({factor: (name, LEVELS[factor][name], ALL[factor][name]) for factor, name in own.items()})


def unpack(packed: bytes | None) -> None:
    """Registers here what `packed` holds, which this calls code of: it has to come from one's own other process."""
    if packed:
        import cloudpickle

        for factor, (name, label, code) in cloudpickle.loads(packed).items():
            ALL[factor].register(name, label)(code)
