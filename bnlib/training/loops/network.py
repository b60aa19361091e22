"""A network that trains by the faster layers: its step, its Adam, how it is tested, and what is kept of it."""

import torch
from torch import Tensor
from torch.nn import functional as F

from bnlib.experiment.config import RunConfig, place
from bnlib.training import models
from bnlib.training.loop import Checkpoint
from bnlib.training.loops import layers
from bnlib.training.loops.layers import Images

BETAS, EPSILON = (0.9, 0.999), 1e-8
SLICE = 16_384  # weights; Adam's kernel would take four times as many in a block, too few blocks for a GPU
EVALUATION_BATCH = 2000  # images: enough to fill a GPU


class Network:
    """One run's network and optimizer, on the device of its configuration.

    Args:
        checkpoint: where to go on, else from the start.
    """

    def __init__(self, config: RunConfig, checkpoint: Checkpoint | None = None):
        self.config = config
        self.model = models.build(config).to(config.device, memory_format=torch.channels_last).train()
        self.layer = dict(self.model.named_children())
        self.parameters = dict(self.model.named_parameters())
        self.slope = getattr(self.layer["relu1"], "negative_slope", 0.0)
        rate, _ = place(config, len(checkpoint.epochs) if checkpoint else 1)
        self.rate = torch.tensor(rate, device=config.device)
        self.taken = torch.zeros((), device=config.device)  # steps that the optimizer took
        self.mean = {name: torch.zeros_like(p) for name, p in self.parameters.items()}  # of gradients, as Adam takes it
        self.square = {name: torch.zeros_like(p) for name, p in self.parameters.items()}
        if checkpoint:
            self.take(checkpoint.model, checkpoint.optimizer)

    def forward(self, of: Images, rows: Tensor) -> Tensor:
        """The logits of images: of `rows` (B,) to (B, 10)."""
        layer = self.layer
        weights = layers.matrix(layer["conv1"])
        if norm := layer.get("norm1"):
            weights = layers.folded(weights, norm, of, rows)
        x = layers.second(layers.first(weights, of, rows, self.slope), layer["conv2"])
        if norm := layer.get("norm2"):
            with torch.backends.cudnn.flags(enabled=False):  # cuDNN's kernels of it have a GPU for themselves
                x = norm(x)
        x = layer["linear1"](layer["flatten"](layers.pool(x, self.slope)))
        x = layer["norm3"](x) if "norm3" in layer else x
        return layer["linear2"](layer["relu3"](x))

    def gradients(self, of: Images, rows: Tensor) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        """Mean loss of a batch, how many of it are predicted right, and the loss's gradient in the order of `parameters`."""
        labels = of.labels[rows]
        logits = self.forward(of, rows)
        loss = F.cross_entropy(logits, labels)
        found = torch.autograd.grad(loss, list(self.parameters.values()))
        return loss.detach(), (logits.detach().argmax(1) == labels).sum(), found

    def step(self, of: Images, rows: Tensor) -> tuple[Tensor, Tensor]:
        """One step of training on the images with the given indices: mean loss and number correct."""
        loss, correct, found = self.gradients(of, rows)
        if "norm1" in self.layer:  # the other norms count for themselves
            self.layer["norm1"].num_batches_tracked.add_(1)
        self.adam(found)
        return loss, correct

    @torch.no_grad()
    def adam(self, gradients: tuple[Tensor, ...]) -> None:
        """A step of `optimizers.adam`, at a rate that is on the device, where a recorded graph reads it."""
        self.taken += 1
        rate = self.rate * (self.taken / self.config.warmup).clamp(max=1) if self.config.warmup else self.rate
        pieces = [[], [], [], []]
        for (name, weights), gradient in zip(self.parameters.items(), gradients, strict=True):
            if gradient.stride() != weights.stride():  # slices are of memory, which has to be in one order
                gradient = torch.empty_like(weights).copy_(gradient)
            for several, tensor in zip(pieces, (weights, gradient, self.mean[name], self.square[name]), strict=True):
                several += tensor.as_strided((tensor.numel(),), (1,)).split(SLICE)
        torch._fused_adam_(
            *pieces,
            [],
            [self.taken] * len(pieces[0]),
            lr=rate,
            beta1=BETAS[0],
            beta2=BETAS[1],
            weight_decay=0.0,
            eps=EPSILON,
            amsgrad=False,
            maximize=False,
        )

    def begin_rate(self, learning_rate: float) -> None:
        """Goes on at another rate with a new optimizer."""
        self.rate.fill_(learning_rate)
        for tensor in (self.taken, *self.mean.values(), *self.square.values()):
            tensor.zero_()

    @torch.no_grad()
    def tested(self, of: Images, most: int | None = None) -> Tensor:
        """Of a split, or its first `most` images, in evaluation mode: mean loss, accuracy, classes predicted; (3,) float64."""
        labels = of.labels[:most]
        self.model.eval()
        losses, predicted = [], []
        for rows in torch.arange(len(labels), device=labels.device).split(EVALUATION_BATCH):
            logits = self.forward(of, rows)
            losses.append(F.cross_entropy(logits, labels[rows], reduction="sum"))
            predicted.append(logits.argmax(1))
        self.model.train()
        predicted = torch.cat(predicted)
        classes = (predicted[:, None] == torch.arange(10, device=predicted.device)).any(0).sum()
        right = (predicted == labels).double().mean()
        return torch.stack([torch.stack(losses).double().sum() / len(labels), right, classes.double()])

    def state(self) -> tuple[dict[str, Tensor], dict]:
        """Network and optimizer as a checkpoint has them: copies, on the CPU."""
        optimizer = {"mean": self.mean, "square": self.square, "taken": {"": self.taken}}
        return _copied(self.model.state_dict()), {name: _copied(tensors) for name, tensors in optimizer.items()}

    @torch.no_grad()
    def take(self, model: dict[str, Tensor], optimizer: dict) -> None:
        """Takes what `state` gave, into the tensors that are there."""
        self.model.load_state_dict(model)
        for name, value in optimizer["mean"].items():
            self.mean[name].copy_(value)
            self.square[name].copy_(optimizer["square"][name])
        self.taken.copy_(optimizer["taken"][""])


def _copied(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copies on the CPU; all that are of one type come in one piece, as there are many and each way to there is long."""
    made = {}
    for kind in {tensor.dtype for tensor in tensors.values()}:
        its = {name: tensor.detach() for name, tensor in tensors.items() if tensor.dtype == kind}
        parts = torch.cat([tensor.flatten() for tensor in its.values()]).cpu().split([t.numel() for t in its.values()])
        made |= {name: part.view(tensor.shape) for (name, tensor), part in zip(its.items(), parts, strict=True)}
    return {name: made[name] for name in tensors}
