"""What a run is trained on: the CPU or an accelerator, its arithmetic, its memory, and CUDA graphs."""

import contextlib
import copy
import ctypes
import functools
import sys
import warnings
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn

from bnlib import UserError
from bnlib.experiment.config import THREADS

BF16_FLAGS = ("avx512_bf16", "amx_bf16", "avx10_1", "bf16", "sve_bf16")  # any of them: bfloat16 products in hardware
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
LARGEST_IN_HEAP = 32 << 20  # bytes; glibc allows no more
KEPT = 1 << 30  # bytes at the top of the heap that are not given back
WARM_UP = 3  # steps: libraries allocate and choose in the first ones, which a capture must not see


def resolve(device: str) -> str:
    """The device that `auto` stands for here, or the one asked for.

    Raises:
        UserError: this machine has no such device.
    """
    have = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        return next(name for name, here in have.items() if here)
    if not have.get(device, False):
        here = ", ".join(name for name, present in have.items() if present)
        raise UserError(f"device={device!r}: not to be had here; this machine has: auto, {here}")
    return device


def warning(device: str, precision: str) -> str:
    """That `bf16` will be slow here, or nothing."""
    features = torch.cpu.get_capabilities()
    if precision != "bf16" or device != "cpu" or any(features.get(flag) for flag in BF16_FLAGS):
        return ""
    return "This processor has no bfloat16 arithmetic: bf16 is emulated here, slower than fp32."


def has_onednn(device: torch.device) -> bool:
    """Whether oneDNN is there, on a processor for which it writes kernels of its own."""
    x86 = torch.backends.cpu.get_cpu_capability().startswith("AVX")
    return device.type == "cpu" and x86 and torch.backends.mkldnn.is_available()


@contextlib.contextmanager
def exact_arithmetic() -> Iterator[None]:
    """Fixes, for a while, what would change the bits: the threads of CPU operators, and cuDNN's choice of algorithms."""
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    try:
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def seeded(seed: int, epoch: int, device: str) -> Iterator[None]:
    """A block whose random numbers (of torch) depend on (seed, epoch) alone: where a network draws some, in dropout perhaps.

    So they are the same whether a run goes on or is done at once, and whatever its process did before.
    """
    state = int(np.random.SeedSequence((seed, epoch, 1)).generate_state(1, np.uint64)[0] >> 1)
    with torch.random.fork_rng(devices=[torch.cuda.current_device()] if device == "cuda" else []):
        torch.manual_seed(state)
        yield


@functools.cache
def keep_memory() -> bool:
    """Tells glibc's malloc to keep what is freed; returns whether there is a glibc that does. Changes no result.

    A training step frees activations of tens of MB and needs as many again in the next. Given back to the system in between,
    they come back page by page, each page cleared: on a virtual machine that can take as long as a quarter of the step.
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    return bool(mallopt and mallopt(M_MMAP_THRESHOLD, LARGEST_IN_HEAP) and mallopt(M_TRIM_THRESHOLD, KEPT))


def captured(step: Callable, model: nn.Module, optimizer: torch.optim.Optimizer, size: int) -> Callable:
    """`step` recorded once and then replayed; batches of another size than `size` go through `step` itself.

    Recording leaves network and optimizer as they were. The optimizer must be `capturable`.

    Args:
        step: maps (B,) indices on the GPU to a tuple of tensors, and updates `model` by `optimizer`.
        size: B of the batches to replay.
    """
    # True of warm-up, short batches and nothing else; there is nothing that anybody should do about it.
    warnings.filterwarnings("ignore", message=".*capturable=True.*without CUDA graph capture", category=UserWarning)
    batch = torch.zeros(size, dtype=torch.int64, device="cuda")
    with unchanged(model, optimizer):
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UP):
                step(batch)
        torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outputs = step(batch)

    def replay(indices: Tensor) -> tuple[Tensor, ...]:
        if len(indices) != size:
            return step(indices)
        batch.copy_(indices)
        graph.replay()
        return tuple(output.clone() for output in outputs)

    return replay


@contextlib.contextmanager
def unchanged(model: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """A block after which network and optimizer hold what they held before, in the same tensors.

    A graph refers to tensors by their place in memory, so states cannot be swapped for copies; an optimizer that had no
    state yet has one of zeros afterwards, from which its first step is the same.
    """
    weights = copy.deepcopy(model.state_dict())
    moments = {parameter: copy.deepcopy(state) for parameter, state in optimizer.state.items()}
    yield
    model.load_state_dict(weights)
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            value.copy_(moments[parameter][name]) if parameter in moments else value.zero_()
