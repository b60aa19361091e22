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

from bnlib.experiment.config import THREADS

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
LARGEST_IN_HEAP = 32 << 20  # bytes; glibc allows no more
KEPT = 1 << 30  # bytes at the top of the heap that are not given back
WARM_UP = 3  # steps: libraries allocate and choose in the first ones, which a capture must not see


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
