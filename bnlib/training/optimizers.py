"""The optimizers, and the learning rate of each step."""

import warnings
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from bnlib.experiment.config import RunConfig
from bnlib.experiment.registry import Registry


def adam(parameters: Iterable[nn.Parameter], learning_rate: float) -> torch.optim.Optimizer:
    """Adam (Kingma & Ba, ICLR 2015) with its default betas, without weight decay."""
    parameters = list(parameters)
    return torch.optim.Adam(parameters, lr=learning_rate, fused=True, capturable=parameters[0].is_cuda)


def sgd(parameters: Iterable[nn.Parameter], learning_rate: float) -> torch.optim.Optimizer:
    """Stochastic gradient descent with momentum 0.9 (Polyak, 1964), without weight decay."""
    parameters = list(parameters)
    # Fused, it reads a rate that is on the GPU there; else it fetches it, which a graph cannot.
    return torch.optim.SGD(parameters, lr=learning_rate, momentum=0.9, fused=parameters[0].is_cuda)


OPTIMIZERS = Registry("optimizer", {"adam": adam, "sgd": sgd})
optimizer = OPTIMIZERS.register  # @optimizer("mine"): of parameters and a learning rate to a torch.optim.Optimizer


def make(model: nn.Module, learning_rate: float, config: RunConfig, state: dict | None = None) -> torch.optim.Optimizer:
    """A new optimizer, with no memory of earlier steps, or with that of `state`: its learning rate too."""
    made = OPTIMIZERS[config.optimizer](model.parameters(), learning_rate)
    if state:
        made.load_state_dict(state)
    if config.warmup and config.device == "cuda":  # a captured graph reads the rate from the GPU
        for group in made.param_groups:
            group["lr"] = torch.as_tensor(group["lr"], device="cuda")
    return made


def warmed_up(step: Callable, made: torch.optim.Optimizer, warmup: int, taken: int) -> Callable:
    """`step` at a rate that rises linearly from 0 to the optimizer's over the first `warmup` steps (Goyal et al., 2017).

    Args:
        taken: how many steps the optimizer took before.
    """
    # True of steps that are replayed as a graph: the optimizer takes them where Python does not see it.
    warnings.filterwarnings("ignore", message=".*`lr_scheduler.step..` before `optimizer.step..`", category=UserWarning)
    schedule = torch.optim.lr_scheduler.LambdaLR(made, lambda t: min(1.0, (t + 1) / warmup), last_epoch=taken - 1)

    def warm(batch: Tensor) -> tuple[Tensor, Tensor]:
        result = step(batch)
        schedule.step()
        return result

    return warm
