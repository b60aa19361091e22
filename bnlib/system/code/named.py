"""Which modules of a package a text of code reaches, told by what it names: `figures.chain` is of the module with `chain`."""

import ast
import json
import re
from collections.abc import Iterable
from pathlib import Path

COMPUTED = re.compile(r"\{[{%].*?[%}]\}", re.S)  # what of prose is code


def of_notebook(notebook: Path) -> str:
    """The code of a notebook's cells; of a cell of prose its first line, and what it computes."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    texts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    prose = {text: [text.partition("\n")[0], *COMPUTED.findall(text)] for text in texts if text.startswith("%%")}
    return "\n".join(line for text in texts for line in prose.get(text, [text]))


def imports(module: Path) -> str:
    """The lines of a module that import: what it says besides of figures names none."""
    tree = ast.walk(ast.parse(module.read_text(encoding="utf-8")))
    return "\n".join(ast.unparse(node) for node in tree if isinstance(node, ast.Import | ast.ImportFrom))


def unreached(code: str, packages: Iterable[Path]) -> set[Path]:
    """The modules of these packages that code does not reach, neither by name nor by what these import."""
    return {path for package in packages for path in set(_modules(package).values()) - _reached(code, package)}


def _modules(package: Path) -> dict[str, Path]:
    return {path.stem: path for path in package.glob("[!._]*.py")}


def _reached(code: str, package: Path) -> set[Path]:
    """Those that it reaches: all, where it names the package without saying for what."""
    modules = _modules(package)
    code = re.sub(rf"^from [\w.]*\b{package.parent.name} import (\w+, )*\w+$", "", code, flags=re.M)  # by no other name
    names = set(re.findall(rf"\b{package.name}\b(?:\.(\w+))?", code))
    known = _exports(package) | {name: name for name in modules}
    if names - set(known):
        return set(modules.values())
    waiting, found = [known[name] for name in names], set()
    while waiting:
        if (name := waiting.pop()) in modules and name not in found:
            found.add(name)
            if _is_unclear(modules[name], package):
                return set(modules.values())
            waiting += [last for last, _ in _imports(modules[name], package)]
    return {modules[name] for name in found}


def _exports(package: Path) -> dict[str, str]:
    """The module of the package that each of its names is of; one of elsewhere is of none."""
    init = package / "__init__.py"
    its = {name: last for last, names in _imports(init, package) for name in names}
    return {name: "" for _, names in _imports(init) for name in names} | its


def _is_unclear(module: Path, package: Path) -> bool:
    """Whether what a module imports from its package is not told, as in `from bnlib.page.figures.rates import error` it is."""
    nodes = list(ast.walk(ast.parse(module.read_text(encoding="utf-8"))))
    whole = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    parts = [node for node in nodes if isinstance(node, ast.ImportFrom)]
    return (
        any(node.level for node in parts)
        or any(package.name in name.split(".") for name in whole)
        or any((node.module or "").rpartition(".")[2] == package.name for node in parts)
    )


def _imports(module: Path, package: Path | None = None) -> list[tuple[str, list[str]]]:
    """What a module imports from others, those of one package alone, by their last names: what they are called there."""
    tree = ast.walk(ast.parse(module.read_text(encoding="utf-8")))
    found = [(node.module or "", node.names) for node in tree if isinstance(node, ast.ImportFrom)]
    return [
        (name.rpartition(".")[2], [each.asname or each.name for each in names])
        for name, names in found
        if package is None or name.split(".")[-2:-1] == [package.name]
    ]
