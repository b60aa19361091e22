"""What a notebook's own code does, told from the live objects: what runs is named, whatever its cells say by now.

The byte code of functions counts, with their defaults, closures and the globals that they load, and the attributes of
classes and instances; comments, docstrings, annotations and places in files do not. Byte code is that of one version of Python.
"""

import dis
import functools
import hashlib
import pickle
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from bnlib.system.code.source import parts

PLAIN = (type(None), bool, int, float, complex, str, bytes, type(...))
LOADS = ("LOAD_GLOBAL", "LOAD_NAME", "STORE_GLOBAL")
CODE = ("co_code", "co_names", "co_varnames", "co_freevars", "co_cellvars", "co_flags", "co_argcount", "co_kwonlyargcount")
# Attributes of a class that say where and how it was written.
SAYS_NOTHING = {
    *("__dict__", "__weakref__", "__doc__", "__module__", "__qualname__", "__firstlineno__", "__static_attributes__"),
    *("__annotations__", "__annotate__", "__annotate_func__", "__annotations_cache__"),
    *("__abstractmethods__", "_abc_impl", "__parameters__"),
}
HOLDS = {  # what of a wrapper is code
    property: ("fget", "fset", "fdel"),
    functools.cached_property: ("func",),
    functools.partial: ("func", "args", "keywords"),
    functools.partialmethod: ("func", "args", "keywords"),
    staticmethod: ("__func__",),
    classmethod: ("__func__",),
    MethodType: ("__func__", "__self__"),
}


def fingerprint(code: Any) -> str:
    """SHA-256 of what a function, a class or any other object is and uses.

    Raises:
        ValueError: it uses something that cannot be told from another of its kind.
    """
    return hashlib.sha256(_Teller().tell(code).encode()).hexdigest()


def defined_by_user(value: Any) -> bool:
    """Whether a notebook or a file of the user's defines a function or a class: not this package, nor one that is installed."""
    name = value.__globals__.get("__name__") if isinstance(value, FunctionType) else getattr(value, "__module__", None)
    if name == "__main__" or (name and name not in sys.modules):  # sent here without its module
        return True
    file = getattr(sys.modules.get(name or ""), "__file__", None)
    if not file or (name or "").partition(".")[0] == "bnlib":
        return False
    return not (file.startswith(sysconfig.get_path("stdlib")) or {"site-packages", "dist-packages"} & set(Path(file).parts))


class _Teller:
    """Tells objects as text; one that was told before by its number, so that circles end."""

    def __init__(self) -> None:
        self.told: dict[int, tuple[int, Any]] = {}  # holds the objects, so that no two have one id

    def tell(self, value: Any) -> str:
        if isinstance(value, PLAIN) and type(value) in PLAIN:
            return repr(value)
        if id(value) in self.told:
            return f"#{self.told[id(value)][0]}"
        self.told[id(value)] = len(self.told), value
        return f"{type(value).__name__}({','.join(self._parts(value))})"

    def _parts(self, value: Any) -> Iterator[str]:
        if isinstance(value, FunctionType):
            yield from self._function(value)
        elif isinstance(value, type):
            yield from self._class(value)
        elif isinstance(value, CodeType):
            yield from (self.tell(getattr(value, name)) for name in CODE)
            yield from map(self.tell, _constants(value))
        elif isinstance(value, ModuleType):
            yield value.__name__
        elif isinstance(value, dict):
            yield from (f"{self.tell(key)}:{self.tell(each)}" for key, each in value.items())
        elif isinstance(value, list | tuple):
            yield from map(self.tell, value)
        elif isinstance(value, set | frozenset):
            yield from sorted(map(self.tell, value))
        elif held := next((names for kind, names in HOLDS.items() if isinstance(value, kind)), ()):
            yield from (self.tell(getattr(value, name)) for name in held)
        elif isinstance(value, BuiltinFunctionType) or hasattr(value, "__wrapped__"):
            yield f"{value.__module__}.{value.__qualname__}"
            yield self.tell(getattr(value, "__wrapped__", None))
        else:
            yield from self._instance(value)

    def _function(self, function: FunctionType) -> Iterator[str]:
        closure = [_content(cell) for cell in function.__closure__ or ()]
        if not defined_by_user(function):  # by name, and what it may wrap
            yield _of_package(function)
            yield from map(self.tell, (closure, getattr(function, "__wrapped__", None)))
            return
        parts = (function.__code__, function.__defaults__, function.__kwdefaults__, closure, function.__dict__)
        yield from map(self.tell, parts)
        for name in sorted(_loaded(function.__code__) & set(function.__globals__)):
            value = function.__globals__[name]
            yield f"{name}={self.tell(value)}"
            if isinstance(value, ModuleType):  # not all of it: what of it the code names
                yield from self._module(value, sorted(_names(function.__code__)), set())

    def _module(self, module: ModuleType, names: list[str], seen: set[str]) -> Iterator[str]:
        seen.add(module.__name__)
        for name in (name for name in names if name in vars(module)):
            value = vars(module)[name]
            yield f"{module.__name__}.{name}={self.tell(value)}"
            if isinstance(value, ModuleType) and value.__name__ not in seen:
                yield from self._module(value, names, seen)

    def _class(self, cls: type) -> Iterator[str]:
        if not defined_by_user(cls):
            yield _of_package(cls)
            return
        yield from map(self.tell, cls.__mro__[1:])
        yield from (f"{name}={self.tell(vars(cls)[name])}" for name in sorted(set(vars(cls)) - SAYS_NOTHING))

    def _instance(self, value: Any) -> Iterator[str]:
        yield self.tell(type(value))
        if hasattr(value, "__dict__") and not hasattr(value, "__array__"):  # an array's numbers are elsewhere
            yield self.tell(vars(value))
            return
        try:
            if hasattr(value, "__array__"):  # a tensor is one too, and pickled otherwise each time
                value = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
                yield f"{value.dtype}{value.shape}"
                value = value.tobytes()
            yield hashlib.sha256(pickle.dumps(value)).hexdigest()
        except Exception as error:  # what cannot be pickled can fail in any way
            raise ValueError(f"it uses a {type(value).__name__}, which cannot be told from another ({error})") from None


def _of_package(value: Any) -> str:
    """What somebody's package calls a function or class; of what is ours, the source counts, with all that it uses."""
    name = f"{value.__module__}.{value.__qualname__}"
    return f"{name} {parts(value)}" if (value.__module__ or "").partition(".")[0] == "bnlib" else name


def _constants(code: CodeType) -> list[Any]:
    """A code's constants, without its docstring."""
    first, *rest = code.co_consts or (None,)
    # A function's first constant is its docstring, or None; with a flag for it from Python 3.13 on, without which a
    # string there is a value.
    is_docstring = isinstance(first, str) and (sys.version_info < (3, 13) or code.co_flags & 0x4000000)
    return [None if is_docstring else first, *rest]


def _codes(code: CodeType) -> Iterator[CodeType]:
    """A code and those that stand in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _loaded(code: CodeType) -> set[str]:
    """The globals that a code loads."""
    return {step.argval for each in _codes(code) for step in dis.get_instructions(each) if step.opname in LOADS}


def _names(code: CodeType) -> set[str]:
    """All names of a code, of attributes too."""
    return {name for each in _codes(code) for name in each.co_names}


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # empty as yet
        return "empty"
