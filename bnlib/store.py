"""Finished runs on disk, each under a key made of everything that could change it."""

import ast
import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import torch

from bnlib import files, models, paths, training
from bnlib.config import RunConfig
from bnlib.training import Epoch


def _code(source: str) -> str:
    """Python source without what cannot change a result: comments, layout, docstrings."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return ast.dump(tree)


# Hashed as it is imported: a file edited while runs go on is not the code that they run.
SOURCE = hashlib.sha256("".join(_code(Path(m.__file__).read_text()) for m in (models, training)).encode()).hexdigest()


def environment() -> dict[str, str]:
    """What besides configuration and data decides a run's bits: the training code, torch, the CPU's kind, threads."""
    return {
        "source": SOURCE,
        "torch": torch.__version__,
        "instruction_set": torch.backends.cpu.get_cpu_capability(),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else "",
        "threads": str(training.THREADS),
    }


def key(config: RunConfig, fingerprint: str) -> str:
    """The name under which a run is stored; `fingerprint` is that of its data."""
    parts = {"config": config.model_dump(), "data": fingerprint, "environment": environment()}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def get(config: RunConfig, fingerprint: str) -> list[Epoch] | None:
    """The epochs of a finished run, or None; a damaged entry is thrown away."""
    path = _path(config, fingerprint)
    try:
        entry = json.loads(path.read_text())
        if entry["sha256"] != _digest(entry["epochs"]):
            raise ValueError("damaged")
        return [Epoch(**epoch) for epoch in entry["epochs"]]
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):  # not JSON, or not what was written here
        path.unlink(missing_ok=True)
        return None


def put(config: RunConfig, fingerprint: str, epochs: list[Epoch]) -> None:
    """Stores a finished run, whole or not at all."""
    rows = [asdict(epoch) for epoch in epochs]
    entry = {"config": config.model_dump(), "epochs": rows, "sha256": _digest(rows)}
    files.write(_path(config, fingerprint), json.dumps(entry, indent=1))


def _digest(rows: list[dict]) -> str:
    return hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()


def _path(config: RunConfig, fingerprint: str) -> Path:
    return paths.store() / f"{key(config, fingerprint)}.json"
