"""The training loop: a run is a pure function of its configuration, the data, and the machine's kind."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bnlib import models
from bnlib.config import RunConfig
from bnlib.data import Data, Split

THREADS = 1  # per run on a CPU: another number of threads gives other last bits, and runs go on side by side anyway
EVALUATION_BATCH = 1000


@dataclass(frozen=True)
class Epoch:
    """What one epoch of a run gave. Losses in nats per image, accuracies as fractions, seconds of training alone.

    In the epoch in which a run diverges all four are NaN, and it is the run's last.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float
    seconds: float

    @property
    def diverged(self) -> bool:
        return not np.isfinite(self.train_loss)


@dataclass(frozen=True)
class Evaluation:
    """Mean cross-entropy in nats per image, and accuracy as a fraction."""

    loss: float
    accuracy: float


def fit(config: RunConfig, data: Data) -> Iterator[Epoch]:
    """Trains one network as `config` says; yields after each epoch.

    The learning rate is constant, the optimizer Adam (Kingma & Ba, ICLR 2015) with its default betas. The training
    loss is the mean of the epoch's batch losses, the training accuracy counts each image as the network stood when
    it was trained on. A batch loss that is not finite ends the run after that epoch, as diverged.

    Args:
        config: the run; its `dataset` must be `data.name`.
        data: the splits, on the CPU.

    Raises:
        ValueError: `data` is another data set than the configuration names.
    """
    if data.name != config.dataset:
        raise ValueError(f"the run is on {config.dataset}, the data are {data.name}")
    with threads(THREADS):
        train, test = to_device(data.train, config), to_device(data.test, config)
        model, optimizer = start(config)
        for epoch in range(1, config.epochs + 1):
            began = time.perf_counter()
            loss, accuracy = train_epoch(model, optimizer, train, config, epoch)
            seconds = time.perf_counter() - began
            if not np.isfinite(loss):
                yield Epoch(epoch, np.nan, np.nan, np.nan, np.nan, seconds)
                return
            tested = evaluate(model, test.images, test.labels, precision=config.precision)
            yield Epoch(epoch, loss, accuracy, tested.loss, tested.accuracy, seconds)


def start(config: RunConfig) -> tuple[nn.Module, torch.optim.Adam]:
    """The network and its optimizer before the first step; the initial weights depend on the seed alone."""
    model = models.build(config.norm, config.seed).to(config.device, memory_format=torch.channels_last)
    return model, torch.optim.Adam(model.parameters(), lr=config.learning_rate, fused=True)


def train_epoch(
    model: nn.Module, optimizer: torch.optim.Optimizer, train: Split, config: RunConfig, epoch: int
) -> tuple[float, float]:
    """One pass over `train` in the order of (seed, epoch); returns mean batch loss and accuracy."""
    model.train()
    losses, correct = [], torch.zeros((), dtype=torch.int64, device=train.labels.device)
    order = epoch_order(config.seed, epoch, len(train)).to(train.labels.device)
    for batch in order.split(config.batch_size):
        images, labels = train.images[batch], train.labels[batch]
        optimizer.zero_grad()
        with autocast(config.device, config.precision):
            logits = model(images)
        loss = F.cross_entropy(logits.float(), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
        correct += (logits.argmax(1) == labels).sum()
    return torch.stack(losses).cpu().double().mean().item(), correct.item() / len(train)


@torch.inference_mode()
def evaluate(model: nn.Module, images: Tensor, labels: Tensor, precision: str = "fp32") -> Evaluation:
    """Mean cross-entropy and accuracy of `model` over a whole split.

    Every image weighs the same, a short last batch included. Batch norm uses its running statistics; the model's
    training mode is restored afterwards.

    Args:
        model: maps (B, 1, 28, 28) float32 images to (B, 10) logits.
        images: (N, 1, 28, 28) float32, normalised, on the model's device.
        labels: (N,) int64 in [0, 9].
        precision: `fp32`, or `bf16` for autocast to bfloat16.

    Raises:
        ValueError: images and labels differ in N.
    """
    if len(images) != len(labels):
        raise ValueError(f"{len(images)} images but {len(labels)} labels")
    was_training = model.training
    model.eval()
    try:
        loss, correct = 0.0, 0
        for x, y in zip(images.split(EVALUATION_BATCH), labels.split(EVALUATION_BATCH), strict=True):
            with autocast(images.device.type, precision):
                logits = model(x)
            loss += F.cross_entropy(logits.float(), y, reduction="sum").item()
            correct += (logits.argmax(1) == y).sum().item()
    finally:
        model.train(was_training)
    return Evaluation(loss / len(labels), correct / len(labels))


def epoch_order(seed: int, epoch: int, n: int) -> Tensor:
    """The order of `n` images in an epoch: a permutation that depends on (seed, epoch) alone, the same in both arms."""
    state = int(np.random.SeedSequence((seed, epoch)).generate_state(1, np.uint64)[0])
    return torch.randperm(n, generator=torch.Generator().manual_seed(state))


def to_device(split: Split, config: RunConfig) -> Split:
    """The split resident on the run's device, images in the memory format that its convolutions want."""
    images = split.images.to(config.device, memory_format=torch.channels_last)
    return Split(images, split.labels.to(config.device))


def autocast(device: str, precision: str) -> contextlib.AbstractContextManager:
    """Runs the matrix products in bfloat16 where `precision` is `bf16`, else changes nothing."""
    return torch.autocast(device, dtype=torch.bfloat16, enabled=precision == "bf16")


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """Fixes the number of threads of CPU operators for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
