"""Runs on disk, each under a key made of everything that could change it, from its first finished epoch on."""

import ast
import hashlib
import io
from dataclasses import asdict
from pathlib import Path

import torch

from bnlib import devices, files, graphs, models, paths, provenance, training
from bnlib.config import RunConfig
from bnlib.stamps import fingerprint
from bnlib.training import Checkpoint, Epoch

DIGEST_BYTES = hashlib.sha256().digest_size  # an entry begins with the SHA-256 of the rest


def _code(source: str) -> str:
    """Python source without what cannot change a result: comments, layout, docstrings."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return ast.dump(tree)


# Hashed as it is imported: a file edited while runs go on is not the code that they run.
TRAINS = (graphs, models, training)
SOURCE = hashlib.sha256("".join(_code(Path(module.__file__).read_text()) for module in TRAINS).encode()).hexdigest()


def environment() -> dict[str, str]:
    """What besides configuration and data decides a run's bits: the training code, torch, the processor, threads."""
    return {
        "training code": SOURCE,
        "torch": torch.__version__,
        "processor": provenance.cpu(),
        "instruction set": torch.backends.cpu.get_cpu_capability(),
        "processor features": fingerprint(devices.features())[:16],
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "threads per run": str(training.THREADS),
    }


def key(config: RunConfig, data: str) -> str:
    """The name under which a run is stored; `data` is the fingerprint of its data.

    The number of epochs is no part of it: a longer run begins with the shorter one, and goes on from there.
    """
    return fingerprint({"config": config.model_dump(exclude={"epochs"}), "data": data, "environment": environment()})


def get(config: RunConfig, data: str) -> Checkpoint | None:
    """The run as far as it has come, or None; a damaged entry is thrown away. Nothing in an entry is executed."""
    path = _path(config, data)
    try:
        entry = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        return _checkpoint(entry)
    except Exception:  # what is not what `put` wrote can fail to load in any way
        path.unlink(missing_ok=True)
        return None


def _checkpoint(entry: bytes) -> Checkpoint:
    digest, content = entry[:DIGEST_BYTES], entry[DIGEST_BYTES:]
    if digest != hashlib.sha256(content).digest():
        raise ValueError("damaged")
    state = torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
    return Checkpoint(tuple(Epoch(**epoch) for epoch in state["epochs"]), state["model"], state["optimizer"])


def put(config: RunConfig, data: str, checkpoint: Checkpoint) -> None:
    """Stores a run after an epoch, in place of the entry after the epoch before; whole or not at all."""
    content = io.BytesIO()
    epochs = [asdict(epoch) for epoch in checkpoint.epochs]
    torch.save({"epochs": epochs, "model": checkpoint.model, "optimizer": checkpoint.optimizer}, content)
    digest = hashlib.sha256(content.getbuffer()).digest()
    files.write(_path(config, data), digest + content.getvalue())


def _path(config: RunConfig, data: str) -> Path:
    return paths.store() / f"{key(config, data)}.pt"
