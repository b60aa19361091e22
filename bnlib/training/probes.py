"""Probes: what is looked at inside a run at chosen steps, on copies of its network, so that its bits are the same without.

All of them take the network as it trains: in training mode, with the statistics of the batch.

Sources: Santurkar et al., "How Does Batch Normalization Help Optimization?", NeurIPS 2018 (loss along the step, predictiveness
and smoothness of the gradient, shift); Ioffe & Szegedy, "Batch Normalization", ICML 2015 (drift).
"""

import copy
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bnlib.experiment.config import RunConfig
from bnlib.experiment.records import Look
from bnlib.training import loop
from bnlib.training.data import Split

FIRST = (1, 2, 5, 10, 20, 50)  # steps, and from then on every `EVERY` to the end of epoch 1, then the end of each epoch
EVERY = 50
IMAGES = 2000  # the first ones of the test images
MULTIPLES = (0.5, 1.0, 2.0, 4.0)  # of the step, along which the loss is looked at
PERCENTILES = (15, 50, 85)
ACTIVATIONS = (nn.ReLU, nn.LeakyReLU, nn.GELU, nn.SiLU, nn.ELU, nn.Tanh, nn.Sigmoid)

Vectors = dict[str, Tensor]  # of each layer by name, all its parameters as one vector
Gradient = Callable[[Vectors], tuple[float, Vectors]]  # of a batch: its loss at these weights, and the gradient


def chosen(step: int, steps: int) -> bool:
    """Whether a step, counted from 1, is looked at, in epochs of `steps` steps."""
    return step in FIRST or (step <= steps and step > FIRST[-1] and step % EVERY == 0) or step % steps == 0


class Watch:
    """Looks into a run; hands what it sees to `say`, in the order of steps. For `loop.fit`.

    At a chosen step the loss, its gradient and the shift are those of that step's own batch, at the weights before it; what is
    said of activations is of the first `IMAGES` test images, at the weights after it.
    """

    def __init__(self, config: RunConfig, say: Callable[[Look], None]):
        self.config, self.say = config, say

    def __call__(self, step: loop.Step, model: nn.Module, train: Split, test: Split, taken: int) -> loop.Step:
        """`step` with a look inside where it is chosen.

        Args:
            taken: how many steps the run took before.
        """
        steps = -(-len(train) // self.config.batch_size)
        count = taken

        def watched(batch: Tensor) -> tuple[Tensor, Tensor]:
            nonlocal count
            count += 1
            if not chosen(count, steps):
                return step(batch)
            before = copy.deepcopy(model)
            result = step(batch)
            with torch.random.fork_rng(devices=[batch.device] if batch.is_cuda else []):
                for look in looks(before, copy.deepcopy(model), train.images[batch], train.labels[batch], test, self.config):
                    value = float(f"{look.value:.6g}")  # no more of it means anything
                    self.say(look._replace(value=value, step=count, epoch=-(-count // steps)))
            return result

        return watched


def looks(
    before: nn.Module, after: nn.Module, images: Tensor, labels: Tensor, test: Split, config: RunConfig
) -> Iterator[Look]:
    """What all probes see of one step, from copies of the network before and after it.

    Args:
        images: (B, 1, 28, 28) float32, normalised: the step's batch, with its labels (B,).
        test: the test images.
    """

    def gradient(weights: Vectors) -> tuple[float, Vectors]:
        """Loss of the step's batch at the given weights, and its gradient."""
        put(before, weights)
        torch.manual_seed(config.seed)  # a network that draws random numbers draws the same ones each time
        before.zero_grad()
        loss = F.cross_entropy(loop.forward(before, images, config.precision), labels)
        loss.backward()
        return loss.item(), vectors(before, lambda p: p.grad if p.grad is not None else torch.zeros_like(p))

    start, end = vectors(before), vectors(after)
    taken = {name: end[name] - start[name] for name in start}
    loss, g = gradient(start)
    yield Look("loss_band", "", "before", loss)
    yield from steps_taken(start, taken)
    yield from shift(gradient, start, end, g)
    downhill = {name: -config.learning_rate * value for name, value in g.items()}
    for along, direction in (("gradient", downhill), ("step", taken)):
        yield from along_step(gradient, start, direction, g, along)
    yield from activations(after, test.images[:IMAGES], config.precision)


def along_step(gradient: Gradient, start: Vectors, direction: Vectors, g: Vectors, along: str) -> Iterator[Look]:
    """The loss and its gradient at `MULTIPLES` of a step from `start` (Santurkar et al., 2018, section 3.2).

    At each multiple k the loss and ‖∇L(w + kd) − g‖₂, which tells how far the gradient predicts what comes: of both the paper
    draws the least and the most. And the largest of the latter over the distance ‖kd‖₂, the effective smoothness, which has the
    unit of a second derivative. As the scale of weights before a norm is free, that is given times ‖w‖₂², too: so it stays the
    same where all weights and the step are scaled.
    """
    slopes, length = [], norm(direction)
    for k in MULTIPLES:
        loss, there = gradient({name: start[name] + k * direction[name] for name in start})
        change = norm({name: there[name] - g[name] for name in g})
        slopes.append(change / (k * length) if length else float("nan"))
        yield Look("loss_band", "", f"{along} × {k:g}", loss)
        yield Look("predictiveness", "", f"{along} × {k:g}", change)
    yield Look("smoothness", "", along, max(slopes))
    yield Look("smoothness", "", f"{along}, relative", max(slopes) * norm(start) ** 2)


def shift(gradient: Gradient, start: Vectors, end: Vectors, g: Vectors) -> Iterator[Look]:
    """Internal covariate shift of each layer (Santurkar et al., 2018, definition 2.1).

    ‖G − G′‖₂, where G is the layer's gradient and G′ the same on the same batch once all earlier layers have taken their step;
    that over ‖G‖₂; and the cosine of the angle between the two. A norm counts as a layer with parameters of its own.
    """
    earlier: list[str] = []
    for name in start:
        if earlier:
            _, moved = gradient({n: end[n] if n in earlier else start[n] for n in start})
            other = moved[name]
        else:
            other = g[name]
        length, difference = g[name].norm().item(), (g[name] - other).norm().item()
        yield Look("shift", name, "difference", difference)
        yield Look("shift", name, "relative", difference / length if length else float("nan"))
        yield Look("shift", name, "cosine", F.cosine_similarity(g[name], other, dim=0, eps=0.0).item())
        earlier.append(name)


def steps_taken(start: Vectors, taken: Vectors) -> Iterator[Look]:
    """The norm of each layer's step over the norm of its weights."""
    for name, step in taken.items():
        yield Look("step_size", name, "", (step.norm() / start[name].norm()).item())


@torch.no_grad()
def activations(model: nn.Module, images: Tensor, precision: str) -> Iterator[Look]:
    """Of each activation: the share of channels or units that are zero on all images, and the drift of one of them.

    The drift is percentiles of what enters a single unit: of the first channel, at the middle of the image. How many classes
    the network predicts is told, too.

    Args:
        model: is in training mode, so a norm of batches takes these images as one.
        images: (N, 1, 28, 28) float32, normalised.
    """
    seen: dict[str, tuple[Tensor, Tensor]] = {}

    def keep(name: str) -> Callable:
        def hook(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
            seen[name] = tuple(x.to_dense() if x.is_mkldnn else x for x in (inputs[0].detach(), output.detach()))

        return hook

    handles = [m.register_forward_hook(keep(name)) for name, m in model.named_modules() if isinstance(m, ACTIVATIONS)]
    predicted = loop.forward(model, images, precision).argmax(1)
    for handle in handles:
        handle.remove()
    for name, (entered, left) in seen.items():
        units = left.flatten(2).abs().amax(2) if left.dim() > 2 else left.abs()  # (N, C): zero where a channel is nowhere above
        yield Look("dead", name, "", (units.amax(0) == 0).float().mean().item())
        one = entered[:, 0] if entered.dim() == 2 else entered[:, 0, entered.shape[2] // 2, entered.shape[3] // 2]
        for percentile, value in zip(PERCENTILES, one.float().quantile(_fractions(one.device)).tolist(), strict=True):
            yield Look("drift", name, f"{percentile}%", value)
    yield Look("classes", "", "", float(len(predicted.unique())))


def _fractions(device: torch.device) -> Tensor:
    return torch.tensor([percentile / 100 for percentile in PERCENTILES], device=device)


def vectors(model: nn.Module, of: Callable[[nn.Parameter], Tensor] = lambda p: p) -> Vectors:
    """Of each layer with parameters of its own, in the network's order, these as one vector; or something of each instead."""
    found = {}
    for name, layer in model.named_modules():
        if parameters := list(layer.parameters(recurse=False)):
            found[name] = torch.cat([of(p).detach().flatten() for p in parameters])
    return found


@torch.no_grad()
def put(model: nn.Module, weights: Vectors) -> None:
    """Gives a network the weights that `vectors` took."""
    for name, layer in model.named_modules():
        if parameters := list(layer.parameters(recurse=False)):
            parts = weights[name].split([p.numel() for p in parameters])
            for parameter, part in zip(parameters, parts, strict=True):
                parameter.copy_(part.view_as(parameter))


def norm(of: Vectors) -> float:
    """The Euclidean norm of all layers' vectors as one."""
    return torch.linalg.vector_norm(torch.stack([value.norm() for value in of.values()])).item()
