"""Runs on disk, each under a key made of everything that could change it, from its first finished epoch on."""

import ast
import contextlib
import hashlib
import io
import tokenize
from dataclasses import asdict
from pathlib import Path

import torch

from bnlib import devices, files, graphs, models, paths, provenance, training
from bnlib.config import RunConfig
from bnlib.stamps import fingerprint
from bnlib.training import Checkpoint, Epoch

DIGEST_BYTES = hashlib.sha256().digest_size  # an entry begins with the SHA-256 of the rest


def _code(source: str) -> str:
    """Python source without what cannot change a result: comments, docstrings, empty lines; the same in every Python."""
    lines = source.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            lines[token.start[0] - 1] = lines[token.start[0] - 1][: token.start[1]]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            docstring = node.body[0]
            lines[docstring.lineno - 1 : docstring.end_lineno] = [""] * (docstring.end_lineno - docstring.lineno + 1)
    return "\n".join(line.rstrip() for line in lines if line.strip())


# Hashed as it is imported: a file edited while runs go on is not the code that they run.
TRAINS = (graphs, models, training)
SOURCE = hashlib.sha256("".join(_code(Path(module.__file__).read_text()) for module in TRAINS).encode()).hexdigest()


def environment(device: str) -> dict[str, str]:
    """What besides configuration and data decides a run's bits: the training code, torch, processor and device, threads."""
    return provenance.switches() | {
        "training code": SOURCE,
        "torch": torch.__version__,
        "processor": provenance.cpu(),
        "instruction set": torch.backends.cpu.get_cpu_capability(),
        "processor features": fingerprint(devices.features())[:16],
        "accelerator": torch.cuda.get_device_name() if device == "cuda" else "none",
        "threads per run": str(training.THREADS),
    }


def key(config: RunConfig, data: str) -> str:
    """The name under which a run is stored; `data` is the fingerprint of its data.

    The number of epochs is no part of it: a longer run begins with the shorter one, and goes on from there. Only where there
    are later rates it decides when they begin.
    """
    fields = config.model_dump(exclude=set() if config.later_rates else {"epochs"})
    return fingerprint({"config": fields, "data": data, "environment": environment(config.device)})


def get(config: RunConfig, data: str) -> Checkpoint | None:
    """The run as far as it has come, or None; a damaged entry is thrown away. Nothing in an entry is executed."""
    return _read(_path(config, data)) or _begun(config, data)


def _read(path: Path) -> Checkpoint | None:
    try:
        return unpacked(path.read_bytes())
    except FileNotFoundError:
        return None
    except MemoryError:
        raise  # the entry may be whole
    except Exception:  # what is not what `put` wrote can fail to load in any way
        with contextlib.suppress(OSError):  # a store that cannot be written
            path.unlink(missing_ok=True)
        return None


def _begun(config: RunConfig, data: str) -> Checkpoint | None:
    """A run with later rates as far as the run at its first rate alone takes it, if that has not gone too far."""
    first = get(config.first_rate, data) if config.later_rates else None
    return first if first and len(first.epochs) <= config.epochs else None


def unpacked(entry: bytes) -> Checkpoint:
    """The checkpoint in an entry, on the CPU.

    Raises:
        ValueError: the entry is damaged. Whatever `torch.load` raises, where it is whole but none of ours.
    """
    digest, content = entry[:DIGEST_BYTES], entry[DIGEST_BYTES:]
    if digest != hashlib.sha256(content).digest():
        raise ValueError("damaged")
    state = torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
    return Checkpoint(tuple(Epoch(**epoch) for epoch in state["epochs"]), state["model"], state["optimizer"])


def put(config: RunConfig, data: str, checkpoint: Checkpoint) -> None:
    """Stores a run after an epoch, whole or not at all, in place of an entry with fewer epochs.

    One with more stays: somebody else, a notebook perhaps, has taken the same run further meanwhile.
    """
    path = _path(config, data)
    kept = _read(path)
    if kept is None or len(kept.epochs) < len(checkpoint.epochs):
        files.write(path, packed(checkpoint))


def packed(checkpoint: Checkpoint) -> bytes:
    """A checkpoint as an entry: its SHA-256, then what `torch.save` makes of it."""
    content = io.BytesIO()
    epochs = [asdict(epoch) for epoch in checkpoint.epochs]
    torch.save({"epochs": epochs, "model": checkpoint.model, "optimizer": checkpoint.optimizer}, content)
    return hashlib.sha256(content.getbuffer()).digest() + content.getvalue()


def _path(config: RunConfig, data: str) -> Path:
    return paths.store() / f"{key(config, data)}.pt"
