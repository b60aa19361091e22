"""The training loop: a run is a pure function of its configuration, the data, and the machine's kind."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bnlib import graphs, memory, models
from bnlib.config import RunConfig
from bnlib.data import Data, Split

THREADS = 1  # per run on a CPU: another number of threads gives other last bits, and runs go on side by side anyway
EVALUATION_BATCH = 200  # larger ones take twice as long: memory is then mapped anew for each batch's activations


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
class Checkpoint:
    """A run after its latest epoch: all its epochs, and the states that it needs to go on to the same bits.

    The states are the dictionaries of the network and of the optimizer. Their tensors are those that are trained on: they
    change as soon as the run goes on.
    """

    epochs: tuple[Epoch, ...]
    model: dict[str, Tensor]
    optimizer: dict

    def is_finished(self, epochs: int) -> bool:
        """Whether the run has `epochs` epochs, or ended before as diverged."""
        return len(self.epochs) >= epochs or self.epochs[-1].diverged


@dataclass(frozen=True)
class Evaluation:
    """Mean cross-entropy in nats per image, and accuracy as a fraction."""

    loss: float
    accuracy: float


Step = Callable[[Tensor], tuple[Tensor, Tensor]]  # from the indices of a batch to its mean loss and its number correct


def fit(config: RunConfig, data: Data, checkpoint: Checkpoint | None = None) -> Iterator[Checkpoint]:
    """Trains one network as `config` says; yields after each epoch.

    The learning rate is constant, the optimizer Adam (Kingma & Ba, ICLR 2015) with its default betas. Where the
    configuration has later rates, the network goes on to each with its weights and a new optimizer. The training loss is
    the mean of the epoch's batch losses, the training accuracy counts each image as the network stood when it was trained
    on. A batch loss or a test loss that is not finite ends the run with that epoch, as diverged.

    Args:
        config: the run; its `dataset` must be `data.name`.
        data: the splits, on the CPU.
        checkpoint: where to go on, from a run with the same configuration, its `epochs` aside; else from the start.

    Raises:
        ValueError: `data` is another data set than the configuration names.
    """
    if data.name != config.dataset:
        raise ValueError(f"the run is on {config.dataset}, the data are {data.name}")
    memory.keep()
    with exact_arithmetic():
        train, test = to_device(data.train, config), to_device(data.test, config)
        model, optimizer = start(config, checkpoint)
        step = make_step(model, optimizer, train, config)
        while checkpoint is None or not checkpoint.is_finished(config.all_epochs):
            done = checkpoint.epochs if checkpoint else ()
            rate, epoch_at_rate = place(config, len(done) + 1)
            if done and epoch_at_rate == 1:
                optimizer = adam(model, rate, config)
                step = make_step(model, optimizer, train, config)
            began = time.perf_counter()
            loss, accuracy = train_epoch(step, train, config, len(done) + 1)
            seconds = time.perf_counter() - began
            tested = evaluate(model, test.images, test.labels, precision=config.precision)
            measured = (loss, accuracy, tested.loss, tested.accuracy)
            if not np.isfinite(measured).all():
                measured = (np.nan,) * 4
            epoch = Epoch(len(done) + 1, *measured, seconds)
            checkpoint = Checkpoint((*done, epoch), model.state_dict(), optimizer.state_dict())
            yield checkpoint


def place(config: RunConfig, epoch: int) -> tuple[float, int]:
    """The learning rate in a run's `epoch`th epoch, and which epoch at that rate it is; both count from 1."""
    at, before = divmod(epoch - 1, config.epochs)
    return (config.learning_rate, *config.later_rates)[at], before + 1


def start(config: RunConfig, checkpoint: Checkpoint | None = None) -> tuple[nn.Module, torch.optim.Adam]:
    """The network, ready to train, and its optimizer; before the first step the weights depend on the seed alone."""
    model = models.build(config.norm, config.seed).to(config.device, memory_format=torch.channels_last).train()
    optimizer = adam(model, config.learning_rate, config)
    if checkpoint:
        model.load_state_dict(checkpoint.model)
        optimizer.load_state_dict(checkpoint.optimizer)  # its learning rate included
    return model, optimizer


def adam(model: nn.Module, learning_rate: float, config: RunConfig) -> torch.optim.Adam:
    """A new optimizer, with no memory of earlier steps."""
    return torch.optim.Adam(model.parameters(), lr=learning_rate, fused=True, capturable=config.device == "cuda")


def make_step(model: nn.Module, optimizer: torch.optim.Optimizer, train: Split, config: RunConfig) -> Step:
    """One step of training on the images of `train` with the given indices; on a GPU it is replayed as one graph."""

    def step(batch: Tensor) -> tuple[Tensor, Tensor]:
        images, labels = train.images[batch], train.labels[batch]
        optimizer.zero_grad()
        logits = forward(model, images, config.precision)
        loss = F.cross_entropy(logits, labels)
        loss.backward()
        optimizer.step()
        return loss.detach(), (logits.argmax(1) == labels).sum()

    return graphs.captured(step, model, optimizer, config.batch_size) if config.device == "cuda" else step


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
    losses, correct = [], []
    try:
        for x, y in zip(images.split(EVALUATION_BATCH), labels.split(EVALUATION_BATCH), strict=True):
            logits = forward(model, x, precision)
            losses.append(F.cross_entropy(logits, y, reduction="sum"))
            correct.append((logits.argmax(1) == y).sum())
    finally:
        model.train(was_training)
    # One look at the device for the whole split, not one for each batch.
    loss, right = torch.stack(losses).cpu().double().sum().item(), torch.stack(correct).sum().item()
    return Evaluation(loss / len(labels), right / len(labels))


def epoch_order(seed: int, epoch: int, n: int) -> Tensor:
    """The order of `n` images in an epoch: a permutation that depends on (seed, epoch) alone, the same in both arms."""
    state = int(np.random.SeedSequence((seed, epoch)).generate_state(1, np.uint64)[0])
    return torch.randperm(n, generator=torch.Generator().manual_seed(state))


def to_device(split: Split, config: RunConfig) -> Split:
    """The split resident on the run's device, images in the memory format that its convolutions want."""
    images = split.images.to(config.device, memory_format=torch.channels_last)
    return Split(images, split.labels.to(config.device))


def forward(model: nn.Module, images: Tensor, precision: str) -> Tensor:
    """The logits of a batch, (B, 10) float32; with `bf16` the matrix products are in bfloat16.

    On x86 processors a network in fp32 gets the images in oneDNN's own memory layout, in which max-pooling and batch norm are
    faster; its layers pass that layout on. Autocast cannot cast such tensors.
    """
    # No cache of cast weights: each is used once a step, and a captured graph must not refer to one.
    with torch.autocast(images.device.type, dtype=torch.bfloat16, enabled=precision == "bf16", cache_enabled=False):
        if precision == "fp32" and images.dtype == torch.float32 and has_onednn(images.device) and models.takes_onednn(model):
            images = images.to_mkldnn()
        return model(images).float()


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
