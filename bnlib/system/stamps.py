"""What was made from what: a step whose inputs and outputs are as they were need not be done again.

Contents count, not time stamps: a fresh checkout, a touched file or a restored backup changes nothing, an edited page does.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bnlib.system import files


def fingerprint(inputs: Mapping[str, Any] | Sequence[Any]) -> str:
    """SHA-256 of anything that JSON can hold."""
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def is_fresh(stamp: Path, inputs: Mapping[str, Any]) -> bool:
    """Whether the step was finished with these inputs, and every file that it wrote is still as it left it."""
    return bool(outputs(stamp, inputs))


def outputs(stamp: Path, inputs: Mapping[str, Any]) -> list[Path]:
    """What a step that was finished with these inputs wrote; nothing where it was not, or where any of it has changed."""
    try:
        said = json.loads(stamp.read_text(encoding="utf-8"))
        made = {Path(path): sha256 for path, sha256 in said["outputs"].items()}
        same = said["inputs"] == fingerprint(inputs) and all(files.sha256(path) == sha256 for path, sha256 in made.items())
        return list(made) if same else []
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # no stamp, no such output, or not a stamp
        return []


def write(stamp: Path, inputs: Mapping[str, Any], outputs: Iterable[Path]) -> None:
    """Says that the step is finished; call it last."""
    sums = {str(path): files.sha256(path) for path in outputs}
    files.write(stamp, json.dumps({"inputs": fingerprint(inputs), "outputs": sums}, indent=1))


def sources(paths: Iterable[Path], below: Path) -> dict[str, str]:
    """SHA-256 of each file, by its path below a folder: names alone would mix up files of several folders."""
    return {path.relative_to(below).as_posix(): files.sha256(path) for path in sorted(paths)}
