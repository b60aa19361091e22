"""A training step as one CUDA graph: on a GPU the kernels of this network are shorter than the time to launch them."""

import contextlib
import copy
import warnings
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

WARM_UP = 3  # steps: libraries allocate and choose in the first ones, which a capture must not see


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
