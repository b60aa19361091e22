"""What code does, as text: the source of a function and of everything of ours that it uses, without what changes nothing.

Comments, docstrings and annotations are dropped, and names replaced by what they stand for: a comment, a moved module or a
renamed import gives the same text; a changed line, another constant or a function that somebody put in another's place does
not.
"""

import ast
import builtins
import functools
import hashlib
import linecache
import pickle
import sys
import sysconfig
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

PACKAGE = str(Path(__file__).parents[2]) + "/"
_REGISTERS = "a registry"
CHANGES_NOTHING = ("ctx", "annotation", "returns", "type_comment", "type_params", "kind")


def parts(*roots: Any) -> dict[str, str]:
    """SHA-256 of the source of `roots` and of each function and class of ours that they use, by its name.

    Ours is what this package, a notebook or a file of the user's defines; of all else the name alone counts.

    Raises:
        ValueError: the source of something of ours is not to be had.
    """
    texts, waiting, seen = defaultdict(set), list(roots), []
    while waiting:
        value = waiting.pop()
        if any(value is other for other in seen):
            continue
        seen.append(value)
        text = _Text(value)
        texts[getattr(value, "__qualname__", "")].add(text.written)
        waiting += text.used
    return {name: hashlib.sha256("\n".join(sorted(all_of_it)).encode()).hexdigest() for name, all_of_it in texts.items()}


class _Text:
    """The source of one thing as `written`, and what of ours it uses."""

    def __init__(self, value: Any):
        self.used: list[Any] = []
        self.names: dict[str, Any] = {}
        self.bound: set[str] = set()
        if isinstance(value, FunctionType) and _is_ours(value):
            self.written = "".join(self._function(layer) for layer in _layers(value) if _is_ours_file(_file(layer)))
        elif isinstance(value, type) and _is_ours(value):
            self.written = self._class(value)
        else:
            self.written = self._value(value)

    def _function(self, function: FunctionType) -> str:
        cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        self.names = function.__globals__ | {name: cell.cell_contents for name, cell in cells}
        nodes = _definitions(function)
        self.bound = {name for node in nodes for name in _bound(node)}
        return "".join(map(self._node, nodes))

    def _class(self, cls: type) -> str:
        """Its statements; its methods, whoever put them there, are things of their own."""
        methods = [getattr(m, "__func__", getattr(m, "fget", m)) for m in vars(cls).values()]
        methods = [m for m in methods if isinstance(m, FunctionType) and _is_ours(m)]  # not what dataclasses add
        self.used += methods
        self.names = vars(sys.modules[cls.__module__])
        node = _class_definition(cls, methods)
        self.bound = {name for each in node.body for name in _bound(each)}
        rest = [each for each in node.body if not isinstance(each, ast.FunctionDef) and not _is_text(each)]
        return self._node([node.bases, node.keywords, self._decorators(node.decorator_list), rest])

    def _decorators(self, nodes: list[ast.AST]) -> list[ast.AST]:
        """Those that change what is decorated: not those under which a notebook registers it."""
        return [node for node in nodes if not (isinstance(node, ast.Call) and _REGISTERS in self._node(node.func))]

    def _node(self, node: Any) -> str:
        if isinstance(node, list):
            return f"[{','.join(map(self._node, node))}]"
        if not isinstance(node, ast.AST):
            return repr(node)
        if isinstance(node, ast.Name | ast.Attribute) and (chain := _chain(node)) and chain[0] not in self.bound:
            return self._resolved(*chain)
        fields = [
            (name, value) for name, value in ast.iter_fields(node) if name not in CHANGES_NOTHING and value not in (None, [])
        ]
        if isinstance(node, ast.FunctionDef):
            fields = [(n, v[_is_text(v[0]) :] if n == "body" else v) for n, v in fields]
            fields = [(n, self._decorators(v) if n == "decorator_list" else v) for n, v in fields]
        return f"{type(node).__name__}({','.join(f'{name}={self._node(value)}' for name, value in fields)})"

    def _resolved(self, name: str, *attributes: str) -> str:
        """What a name from outside stands for, then those of the attributes that are not a module's."""
        if name not in self.names:
            return ".".join(("builtins" if hasattr(builtins, name) else "?", name, *attributes))
        value, rest = self.names[name], list(attributes)
        while isinstance(value, ModuleType) and rest and hasattr(value, rest[0]):
            owner, attribute = value, rest.pop(0)
            value = getattr(value, attribute)
            if not (
                _is_ours(value) or isinstance(value, ModuleType | type | FunctionType) or _is_ours_file(_module_file(owner))
            ):
                return ".".join((owner.__name__, attribute, *rest))  # a constant of somebody else's
        return ".".join((self._value(value), *rest))

    def _value(self, value: Any) -> str:
        if _is_ours(value):
            self.used.append(value)
            return value.__qualname__
        if isinstance(value, ModuleType):
            return value.__name__.rpartition(".")[2] if _is_ours_file(_module_file(value)) else value.__name__
        if isinstance(value, type | FunctionType | BuiltinFunctionType):
            return f"{value.__module__}.{value.__qualname__}"
        if "Registry" in (type(value).__name__, type(getattr(value, "__self__", None)).__name__):
            return _REGISTERS
        if isinstance(value, dict):
            return f"{{{','.join(f'{self._value(k)}:{self._value(v)}' for k, v in value.items())}}}"
        if isinstance(value, list | tuple | set | frozenset):
            return f"{type(value).__name__}({','.join(map(self._value, value))})"
        written = repr(value)
        return written if " at 0x" not in written else hashlib.sha256(pickle.dumps(value)).hexdigest()


def replaced(modules: Iterable[ModuleType]) -> list[str]:
    """The functions, classes and constants of modules in whose place there is something else than their files have."""
    found = []
    for module in modules:
        file = _module_file(module)
        for node in _tree(file).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                value = vars(module).get(node.name)
                if isinstance(node, ast.ClassDef):
                    there = isinstance(value, type) and value.__module__ == module.__name__
                    there = there and all(_is_from(file, each) for each in vars(value).values() if callable(each))
                else:
                    there = callable(value) and _is_from(file, value)
                found += [f"{module.__name__}.{node.name}"] * (not there)
            elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
                names = [target.id for target in node.targets if isinstance(target, ast.Name)]
                found += [f"{module.__name__}.{name}" for name in names if vars(module).get(name) != node.value.value]
    return found


def _is_from(file: str, value: Any) -> bool:
    """Whether what of a callable and of all that it wraps is ours is from a file."""
    return all(_file(layer) == file or not _is_ours_file(_file(layer)) for layer in _layers(value))


def _layers(function: Any) -> Iterator[FunctionType]:
    """A function and, if it wraps another, that one too."""
    while function is not None:
        if isinstance(function, FunctionType):
            yield function
        function = getattr(function, "__wrapped__", None)


def _is_ours(value: Any) -> bool:
    if isinstance(value, FunctionType) or hasattr(value, "__wrapped__"):
        return any(_is_ours_file(_file(layer)) for layer in _layers(value))
    if isinstance(value, type):
        return value.__module__ == "__main__" or _is_ours_file(_module_file(sys.modules.get(value.__module__)))
    return False


@functools.cache
def _is_ours_file(file: str) -> bool:
    foreign = file.startswith(("<frozen", "<string", "<built", sysconfig.get_path("stdlib"))) or not file
    return file.startswith(PACKAGE) or not (foreign or {"site-packages", "dist-packages"} & set(Path(file).parts))


def _file(function: FunctionType) -> str:
    return function.__code__.co_filename


def _module_file(module: ModuleType | None) -> str:
    return getattr(module, "__file__", None) or ""


@functools.cache
def _tree(file: str) -> ast.Module:
    """A file's syntax as it was when first asked for: what is edited while runs go on is not what they run."""
    return ast.parse(Path(file).read_text(encoding="utf-8") if Path(file).is_file() else "".join(linecache.getlines(file)))


@functools.cache
def _defined(file: str) -> list[ast.AST]:
    """All that a file defines, at whatever depth."""
    return [node for node in ast.walk(_tree(file)) if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Lambda)]


def _definitions(function: FunctionType) -> list[ast.AST]:
    """Where a function is defined; of lambdas, all in its line."""
    code, found = function.__code__, []
    for node in _defined(code.co_filename):
        if isinstance(node, ast.Lambda) and code.co_name == "<lambda>" and node.lineno == code.co_firstlineno:
            found.append(node)
        elif isinstance(node, ast.FunctionDef) and node.name == code.co_name:
            first = min(each.lineno for each in (node, *node.decorator_list))
            found += [node] * (first == code.co_firstlineno)
    if not found:
        raise ValueError(f"the source of {function.__qualname__} is not to be had")
    return found


def _class_definition(cls: type, methods: list[FunctionType]) -> ast.ClassDef:
    files = [_module_file(sys.modules[cls.__module__]), *(_file(method) for method in methods)]
    for file in filter(_is_ours_file, files):
        for node in _defined(file):
            if isinstance(node, ast.ClassDef) and node.name == cls.__name__:
                return node
    raise ValueError(f"the source of {cls.__qualname__} is not to be had; give it a method")


def _bound(node: ast.AST) -> Iterator[str]:
    """The names that a piece of code gives values to itself."""
    for each in ast.walk(node):
        if isinstance(each, ast.Name) and not isinstance(each.ctx, ast.Load):
            yield each.id
        elif isinstance(each, ast.arg):
            yield each.arg
        elif isinstance(each, ast.alias):
            yield (each.asname or each.name).partition(".")[0]
        elif isinstance(each, ast.FunctionDef | ast.ClassDef | ast.ExceptHandler) and each is not node and each.name:
            yield each.name


def _chain(node: ast.AST) -> list[str]:
    """The names in `a.b.c`; none where it begins with something else than a name."""
    names = []
    while isinstance(node, ast.Attribute):
        names, node = [node.attr, *names], node.value
    return [node.id, *names] if isinstance(node, ast.Name) else []


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
