"""The training loop: a run is a pure function of its configuration, the data, and the machine's kind."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bnlib.experiment.config import FITTED, RunConfig, place
from bnlib.experiment.records import Epoch, Look
from bnlib.training import hardware, models, optimizers
from bnlib.training.data import Data, Split

EVALUATION_BATCH = 200  # larger ones take twice as long: memory is then mapped anew for each batch's activations


@dataclass(frozen=True)
class Checkpoint:
    """A run after its latest epoch: all its epochs, and the states that it needs to go on to the same bits.

    The states are the dictionaries of the network and of the optimizer. Their tensors are those that are trained on: they
    change as soon as the run goes on.
    """

    epochs: tuple[Epoch, ...]
    model: dict[str, Tensor]
    optimizer: dict
    looks: tuple[Look, ...] = ()  # what probes saw in it, where any were asked to look

    def is_finished(self, epochs: int) -> bool:
        """Whether the run has `epochs` epochs, or ended before as diverged."""
        return len(self.epochs) >= epochs or self.epochs[-1].diverged


@dataclass(frozen=True)
class Evaluation:
    """Mean cross-entropy in nats per image, accuracy as a fraction, and how many classes were predicted for some image."""

    loss: float
    accuracy: float
    classes: int


Step = Callable[[Tensor], tuple[Tensor, Tensor]]  # from the indices of a batch to its mean loss and its number correct
Watch = Callable[[Step, nn.Module, Split, Split, int], Step]  # a step that something looks into, and what it may look at


def fit(
    config: RunConfig, data: Data, checkpoint: Checkpoint | None = None, watch: Watch | None = None
) -> Iterator[Checkpoint]:
    """Trains one network as `config` says; yields after each epoch.

    The learning rate is constant once it has warmed up. Where the configuration has later rates, the network goes on to each
    with its weights and a new optimizer. The training loss is the mean of the epoch's batch losses, the training accuracy
    counts each image as the network stood when it was trained on; the fitted loss is that of the first `FITTED` training images
    after the epoch, in evaluation mode. A loss that is not finite ends the run with that epoch, as diverged.

    Args:
        config: the run; its `dataset` must be `data.name`.
        data: the splits, on the CPU.
        checkpoint: where to go on, from a run with the same configuration, its `epochs` aside; else from the start.
        watch: makes of the step one that looks inside, as `probes.Watch` does; it must leave the run's bits alone.

    Raises:
        ValueError: `data` is another data set than the configuration names.
    """
    if data.name != config.dataset:
        raise ValueError(f"the run is on {config.dataset}, the data are {data.name}")
    hardware.keep_memory()
    with hardware.exact_arithmetic():
        train, test = to_device(data.train, config), to_device(data.test, config)
        model, optimizer = start(config, checkpoint)
        steps = -(-len(train) // config.batch_size)  # of an epoch
        epochs_at_rate = len(checkpoint.epochs) % config.epochs if checkpoint else 0
        step = make_step(model, optimizer, train, config, taken=epochs_at_rate * steps)
        watch = watch or (lambda step, *_: step)
        step = watch(step, model, train, test, len(checkpoint.epochs) * steps if checkpoint else 0)
        while checkpoint is None or not checkpoint.is_finished(config.all_epochs):
            done = checkpoint.epochs if checkpoint else ()
            rate, epoch_at_rate = place(config, len(done) + 1)
            if done and epoch_at_rate == 1:
                optimizer = optimizers.make(model, rate, config)
                step = watch(make_step(model, optimizer, train, config), model, train, test, len(done) * steps)
            began = time.perf_counter()
            with hardware.seeded(config.seed, len(done) + 1, config.device):
                loss, accuracy = train_epoch(step, train, config, len(done) + 1)
            seconds = time.perf_counter() - began
            tested = evaluate(model, test.images, test.labels, precision=config.precision)
            fitted = evaluate(model, train.images[:FITTED], train.labels[:FITTED], precision=config.precision)
            measured = (loss, accuracy, tested.loss, tested.accuracy, tested.classes)
            epoch = finished(len(done) + 1, *measured, fitted=fitted.loss, seconds=seconds)
            checkpoint = Checkpoint((*done, epoch), model.state_dict(), optimizer.state_dict())
            yield checkpoint


def finished(epoch: int, *measured: float, fitted: float, seconds: float) -> Epoch:
    """What an epoch gave, in the order of `Epoch`; as diverged where any of it is not finite."""
    if not np.isfinite((*measured, fitted)).all():
        measured, fitted = (np.nan,) * len(measured), np.nan
    return Epoch(epoch, *measured, seconds, fitted)


def start(config: RunConfig, checkpoint: Checkpoint | None = None) -> tuple[nn.Module, torch.optim.Optimizer]:
    """The network, ready to train, and its optimizer; before the first step the weights depend on the seed alone."""
    model = models.build(config).to(config.device, memory_format=torch.channels_last).train()
    if checkpoint:
        model.load_state_dict(checkpoint.model)
    return model, optimizers.make(model, config.learning_rate, config, checkpoint.optimizer if checkpoint else None)


def make_step(model: nn.Module, optimizer: torch.optim.Optimizer, train: Split, config: RunConfig, taken: int = 0) -> Step:
    """One step of training on the images of `train` with the given indices; on a GPU it is replayed as one graph.

    Args:
        taken: how many steps the optimizer took before, of which some may have warmed its rate up.
    """

    def step(batch: Tensor) -> tuple[Tensor, Tensor]:
        images, labels = train.images[batch], train.labels[batch]
        optimizer.zero_grad()
        logits = forward(model, images, config.precision)
        loss = F.cross_entropy(logits, labels)
        loss.backward()
        optimizer.step()
        return loss.detach(), (logits.argmax(1) == labels).sum()

    if config.device == "cuda":
        step = hardware.captured(step, model, optimizer, config.batch_size)
    return optimizers.warmed_up(step, optimizer, config.warmup, taken) if config.warmup else step


def train_epoch(step: Step, train: Split, config: RunConfig, epoch: int) -> tuple[float, float]:
    """One pass over `train` in the order of (seed, epoch); returns mean batch loss and accuracy."""
    device = train.labels.device
    batches = epoch_order(config.seed, epoch, len(train)).to(device).split(config.batch_size)
    # Made at once: small tensors that outlive a step would settle in the gaps that its large ones leave, and the next step's
    # would need fresh memory.
    losses, correct = torch.empty(len(batches), device=device), torch.empty(len(batches), dtype=torch.int64, device=device)
    for i, batch in enumerate(batches):
        losses[i], correct[i] = step(batch)
    return losses.cpu().double().mean().item(), correct.sum().item() / len(train)


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
    losses, correct, predicted = [], [], []
    try:
        for x, y in zip(images.split(EVALUATION_BATCH), labels.split(EVALUATION_BATCH), strict=True):
            logits = forward(model, x, precision)
            losses.append(F.cross_entropy(logits, y, reduction="sum"))
            predicted.append(logits.argmax(1))
            correct.append((predicted[-1] == y).sum())
    finally:
        model.train(was_training)
    # One look at the device for the whole split, not one for each batch.
    loss, right = torch.stack(losses).cpu().double().sum().item(), torch.stack(correct).sum().item()
    return Evaluation(loss / len(labels), right / len(labels), len(torch.cat(predicted).unique()))


def epoch_order(seed: int, epoch: int, n: int) -> Tensor:
    """The order of `n` images in an epoch: a permutation that depends on (seed, epoch) alone, the same in both arms."""
    state = int(np.random.SeedSequence((seed, epoch)).generate_state(1, np.uint64)[0])
    return torch.randperm(n, generator=torch.Generator().manual_seed(state))


def to_device(split: Split, config: RunConfig) -> Split:
    """The split as tensors on the run's device, images in the memory format that its convolutions want."""
    images = torch.from_numpy(split.images).to(config.device, memory_format=torch.channels_last)
    return Split(images, torch.from_numpy(split.labels).to(config.device))


def forward(model: nn.Module, images: Tensor, precision: str) -> Tensor:
    """The logits of a batch, (B, 10) float32; with `bf16` the matrix products are in bfloat16.

    On x86 processors a network in fp32 gets the images in oneDNN's own memory layout, in which max-pooling and batch norm are
    faster; its layers pass that layout on. Autocast cannot cast such tensors.
    """
    # No cache of cast weights: each is used once a step, and a captured graph must not refer to one.
    with torch.autocast(images.device.type, dtype=torch.bfloat16, enabled=precision == "bf16", cache_enabled=False):
        if (
            precision == "fp32"
            and images.dtype == torch.float32
            and hardware.has_onednn(images.device)
            and models.takes_onednn(model)
        ):
            images = images.to_mkldnn()
        return model(images).float()
