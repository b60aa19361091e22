"""CUDA kernels for the parts of a training step in which PyTorch's operations pass over memory too often.

The first layer alone has 2.5 million outputs a step, of which max-pooling keeps a quarter: computed where they are pooled, they
never are in memory. `layers` has the same in PyTorch's operations, for a CPU, and is what these are held against.
"""

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from bnlib.training.loops import cuda

FORWARD, BACKWARD = {"incoming": 32, "outgoing": 64, "flipped": 0}, {"incoming": 64, "outgoing": 32, "flipped": 1}
BATCH_NORM = {"epsilon": 1e-5, "momentum": 0.1}  # as PyTorch has it
BLOCKS = 50  # of the second convolution's gradient: each has two images of a batch of 100


def compiled(name: str, **constants: float) -> Callable:
    """A kernel of `cuda.SOURCES`, compiled for this GPU when it is first asked for.

    Args:
        constants: what it has in capitals; `slope` is the activation's below zero.
    """
    values = {"slope": 0.0} | constants
    named = [f"#define {key.upper()} {value!r}{'f' * (key == 'slope')}\n" for key, value in sorted(values.items())]
    return _compiled("".join(named) + cuda.COMMON + cuda.SOURCES[name], name)


@functools.cache  # what hands it its source is told by its own; of what is cached, the fingerprint of code has the name alone
def _compiled(source: str, name: str) -> Callable:
    return torch.cuda._compile_kernel(source, name)


def prepare() -> None:
    """Compiles what most networks need, all at once, which takes as long as the longest."""
    wanted = [("first", {}), ("first_gradient", {}), ("pool", {}), ("pool_gradient", {}), ("convolve", FORWARD)]
    wanted += [("convolve", BACKWARD), ("convolve_gradient", {}), ("fold", BATCH_NORM), ("fold_gradient", {})]

    def compile_one(named: tuple[str, dict]) -> None:
        torch.zeros(1, device="cuda")  # a thread has the GPU only once it has used it
        compiled(named[0], **named[1])

    with ThreadPoolExecutor(len(wanted)) as threads:
        list(threads.map(compile_one, wanted))


class First(torch.autograd.Function):
    """`layers.first` on a GPU."""

    @staticmethod
    def forward(ctx, matrix: Tensor, images: Tensor, rows: Tensor, slope: float) -> Tensor:
        """Maps (32, 10), (N, 784), (B,) to (B, 32, 14, 14), channels last."""
        out = images.new_empty(len(rows), 14, 14, 32)
        places = torch.empty(out.shape, dtype=torch.uint8, device=out.device)
        arguments = [images, rows, matrix.contiguous(), out, places]
        compiled("first", slope=slope)(grid=(len(rows), 4, 1), block=(224, 1, 1), args=arguments)
        ctx.save_for_backward(images, rows, places)
        ctx.slope = slope
        return out.permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple:
        images, rows, places = ctx.saved_tensors
        parts = gradient.new_empty(len(rows), 32, 10)
        arguments = [images, rows, gradient.contiguous(memory_format=torch.channels_last), places, parts]
        compiled("first_gradient", slope=ctx.slope)(grid=(len(rows), 1, 1), block=(320, 1, 1), args=arguments)
        return parts.sum(0), None, None, None


class Convolve(torch.autograd.Function):
    """`layers.second` on a GPU."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Maps (B, 32, 14, 14), (64, 32, 3, 3), (64,) to (B, 64, 14, 14), all channels last."""
        x, weight = (tensor.contiguous(memory_format=torch.channels_last) for tensor in (x, weight))
        out = x.new_empty(len(x), 14, 14, 64)
        arguments = [x, weight.permute(1, 2, 3, 0).contiguous(), bias, out]
        compiled("convolve", **FORWARD)(grid=(len(x), 1, 1), block=(112, 1, 1), args=arguments)
        ctx.save_for_backward(x, weight)
        return out.permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple:
        x, weight = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        of_x = gradient.new_empty(len(x), 14, 14, 32)
        arguments = [gradient, weight, weight, of_x]  # in memory it is (64, 3, 3, 32), as the kernel wants it
        compiled("convolve", **BACKWARD)(grid=(len(x), 1, 1), block=(56, 1, 1), args=arguments)
        blocks = min(len(x), BLOCKS)
        parts = gradient.new_empty(blocks, 64 * (9 * 32 + 1))
        compiled("convolve_gradient")(grid=(blocks, 1, 1), block=(256, 1, 1), args=[x, gradient, len(x), parts])
        of_weight, of_bias = parts.sum(0).split([64 * 9 * 32, 64])
        return of_x.permute(0, 3, 1, 2), of_weight.view(64, 3, 3, 32).permute(0, 3, 1, 2), of_bias


class Pool(torch.autograd.Function):
    """`layers.pool` on a GPU, after the second convolution."""

    @staticmethod
    def forward(ctx, x: Tensor, slope: float) -> Tensor:
        """Maps (B, 64, 14, 14) to (B, 64, 7, 7), channels first."""
        out = x.new_empty(len(x), 64, 7, 7)
        places = torch.empty(out.shape, dtype=torch.uint8, device=x.device)
        arguments = [x.contiguous(memory_format=torch.channels_last), out, places]
        compiled("pool", slope=slope)(grid=(len(x), 1, 1), block=(256, 1, 1), args=arguments)
        ctx.save_for_backward(places)
        ctx.slope = slope
        return out

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple:
        (places,) = ctx.saved_tensors
        to = gradient.new_empty(len(gradient), 14, 14, 64)
        arguments = [gradient.contiguous(), places, to]
        compiled("pool_gradient", slope=ctx.slope)(grid=(len(to), 1, 1), block=(256, 1, 1), args=arguments)
        return to.permute(0, 3, 1, 2), None


class Fold(torch.autograd.Function):
    """`layers.folded` on a GPU, while it trains."""

    @staticmethod
    def forward(ctx, matrix: Tensor, gamma: Tensor, beta: Tensor, norm: torch.nn.BatchNorm2d, moments: Tensor, rows: Tensor):
        """Maps (32, 10), (32,), (32,) and of the batch (N, 10, 10) float64, (B,) to (32, 10)."""
        matrix, out = matrix.contiguous(), matrix.new_empty(32, 10)
        kept = moments.new_empty(164)
        arguments = [matrix, gamma, beta, moments, rows, len(rows), norm.running_mean, norm.running_var, out, kept]
        compiled("fold", epsilon=norm.eps, momentum=norm.momentum)(grid=(1, 1, 1), block=(128, 1, 1), args=arguments)
        ctx.save_for_backward(matrix, gamma, kept)
        return out

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple:
        matrix, gamma, kept = ctx.saved_tensors
        of = torch.empty_like(matrix), torch.empty_like(gamma), torch.empty_like(gamma)
        compiled("fold_gradient")(grid=(1, 1, 1), block=(128, 1, 1), args=[matrix, gamma, kept, gradient.contiguous(), *of])
        return *of, None, None, None
