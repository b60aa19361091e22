"""Many runs at once on one GPU: a step of all of them is one CUDA graph, each network on a stream of its own.

A network has the same bits as when it is trained alone in this way, whatever trains beside it: they share nothing but images.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bnlib.experiment.config import FITTED, RunConfig, place
from bnlib.experiment.records import Epoch
from bnlib.training import hardware, loop
from bnlib.training.data import Data
from bnlib.training.loop import Checkpoint, Watch
from bnlib.training.loops import layers
from bnlib.training.loops.layers import Images
from bnlib.training.loops.network import Network

# What the faster layers are written for: no norm but batch norm can be folded into the first convolution.
LEVELS = {
    "device": ("cuda",),
    "precision": ("fp32",),
    "network": ("convnet",),
    "norm": ("none", "batch", "batch@1", "batch@2", "batch@3"),
    "activation": ("relu", "leaky_relu"),
    "optimizer": ("adam",),
}
# Fields of which they take any value. What a configuration may have besides is to be at its default: of that they know nothing.
ANY = ("dataset", "seed", "learning_rate", "later_rates", "warmup", "epochs", "batch_size", "probed")
STREAMS = 32  # that PyTorch has; more networks share them
# What PyTorch has for itself, and may take away: `kernels` and `network` use it.
HAS_WHAT_IT_NEEDS = torch.version.hip is None and hasattr(torch.cuda, "_compile_kernel") and hasattr(torch, "_fused_adam_")


def suits(config: RunConfig) -> bool:
    """Whether a run is trained in this way; `LEVELS` says which are, and none of them can be a notebook's own."""
    fields = {name: field.default for name, field in type(config).model_fields.items() if name not in ANY}
    its = all(getattr(config, name) in LEVELS.get(name, (default,)) for name, default in fields.items())
    return HAS_WHAT_IT_NEEDS and its


@dataclass
class Run:
    """A run to be done: from `checkpoint` on, if it has one; `watch` looks inside, as in `loop.fit`."""

    config: RunConfig
    checkpoint: Checkpoint | None = None
    watch: Watch | None = None

    @property
    def is_finished(self) -> bool:
        return self.checkpoint is not None and self.checkpoint.is_finished(self.config.all_epochs)

    @property
    def epochs(self) -> tuple[Epoch, ...]:
        return self.checkpoint.epochs if self.checkpoint else ()


def fit(runs: Sequence[Run], data: Data) -> Iterator[tuple[int, Checkpoint]]:
    """Trains networks side by side as `loop.fit` does each; yields after each epoch of each which one, and its checkpoint.

    The seconds of an epoch are the time that it took for all, over how many there were. The states of a checkpoint are copies,
    on the CPU.

    Args:
        runs: on the same data, with the same batch size, on the same device; they may have other epochs left.
        data: the splits, on the CPU.

    Raises:
        ValueError: `data` is another data set than a configuration names, or runs differ in batch size or device.
    """
    if any(run.config.dataset != data.name for run in runs):
        raise ValueError(f"the runs are on {', '.join({run.config.dataset for run in runs})}, the data are {data.name}")
    if len({(run.config.batch_size, run.config.device) for run in runs}) != 1:
        raise ValueError("runs that train together have one batch size and one device")
    with hardware.exact_arithmetic():
        train, test = (layers.images(split, runs[0].config.device) for split in (data.train, data.test))
        runs, networks = [replace(run) for run in runs], [Network(run.config, run.checkpoint) for run in runs]
        while left := [i for i, run in enumerate(runs) if not run.is_finished]:
            together = Together([networks[i] for i in left], [runs[i].watch for i in left], train, test)
            while not any(runs[i].is_finished for i in left):  # else the graph has one that is to rest
                seconds = together.epoch([len(runs[i].epochs) + 1 for i in left])
                tested = torch.stack([networks[i].tested(test) for i in left]).tolist()
                fitted = torch.stack([networks[i].tested(train, FITTED)[0] for i in left]).tolist()
                for i, trained, its, fit_loss in zip(left, together.trained(), tested, fitted, strict=True):
                    number, each = len(runs[i].epochs) + 1, seconds / len(left)
                    epoch = loop.finished(number, *trained, *its, fitted=fit_loss, seconds=each)
                    runs[i].checkpoint = Checkpoint((*runs[i].epochs, epoch), *networks[i].state())
                    yield i, runs[i].checkpoint


class Together:
    """Networks that take each step at once; on a GPU it is recorded as one graph, on a CPU they take it in turn.

    Args:
        watches: of each network what looks inside, or None.
        train: the images to train on; `test`: those that may be looked at.
    """

    def __init__(self, networks: list[Network], watches: list[Watch | None], train: Images, test: Images):
        self.networks, self.watches, self.train, self.test = networks, watches, train, test
        self.size = networks[0].config.batch_size
        self.device = train.labels.device
        self.whole, self.rest = divmod(len(train), self.size)  # batches, and images of a shorter one
        shape = len(networks), self.whole + bool(self.rest)
        self.order = torch.zeros(len(networks), len(train), dtype=torch.int64, device=self.device)
        self.at = torch.zeros(1, dtype=torch.int64, device=self.device)  # which batch
        self.losses = torch.zeros(shape, device=self.device)
        self.correct = torch.zeros(shape, dtype=torch.int64, device=self.device)
        self.streams = [torch.cuda.Stream() for _ in networks[:STREAMS]] if train.labels.is_cuda else []
        self.step = self.recorded() if self.streams and self.whole else self.all_step

    def all_step(self) -> None:
        """A step of every network on the batch that `at` says, and on to the next batch."""
        whole = self.order[:, : self.whole * self.size].unflatten(1, (self.whole, self.size))
        for i, network in self.forked():
            rows = whole[i].index_select(0, self.at)[0]
            loss, correct = network.step(self.train, rows)
            self.losses[i].index_copy_(0, self.at, loss.view(1))
            self.correct[i].index_copy_(0, self.at, correct.view(1))
        self.at += 1

    def short_step(self) -> None:
        """The same on the images that are left over at the end of an epoch."""
        for i, network in self.forked():
            self.losses[i, -1], self.correct[i, -1] = network.step(self.train, self.order[i, -self.rest :])

    def forked(self) -> Iterator[tuple[int, Network]]:
        """The networks in turn, on a GPU each on its stream, all of which have joined the current one afterwards."""
        if not self.streams:
            yield from enumerate(self.networks)
            return
        main = torch.cuda.current_stream()
        for stream in self.streams:
            stream.wait_stream(main)
        for i, network in enumerate(self.networks):
            with torch.cuda.stream(self.streams[i % len(self.streams)]):
                yield i, network
        for stream in self.streams:
            main.wait_stream(stream)

    def recorded(self) -> Callable[[], None]:
        """`all_step` as a graph to replay. Recording leaves the networks as they were."""
        before = [network.state() for network in self.networks]
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            self.all_step()  # libraries allocate and choose in the first one, which a recording must not see
        torch.cuda.synchronize()
        for network, state in zip(self.networks, before, strict=True):
            network.take(*state)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=side):
            self.all_step()
        return graph.replay

    def epoch(self, epochs: Sequence[int]) -> float:
        """One pass of every network over the images, each in the order of its seed and the epoch it is at; returns seconds.

        Args:
            epochs: of each network which one this is, from 1 on.
        """
        began = time.perf_counter()
        orders: dict[tuple[int, int], Tensor] = {}
        for i, (network, epoch) in enumerate(zip(self.networks, epochs, strict=True)):
            rate, epoch_at_rate = place(network.config, epoch)
            if epoch > 1 and epoch_at_rate == 1:
                network.begin_rate(rate)
            key = network.config.seed, epoch
            if key not in orders:
                orders[key] = loop.epoch_order(*key, len(self.train))
            self.order[i].copy_(orders[key])
        self.at.zero_()
        steps = [self.step] * self.whole + [self.short_step] * bool(self.rest)
        for number, step in enumerate(steps):
            self.watched(step, number, epochs)()
        if self.streams:
            torch.cuda.synchronize()
        return time.perf_counter() - began

    def watched(self, step: Callable[[], None], number: int, epochs: Sequence[int]) -> Callable[[], None]:
        """`step` inside a look of each that watches its network: all see before it and after it what they came for."""
        for i, (network, watch) in enumerate(zip(self.networks, self.watches, strict=True)):
            if watch:
                batch = self.order[i, number * self.size : (number + 1) * self.size]
                taken = (epochs[i] - 1) * self.losses.shape[1] + number
                looking = watch(lambda _, inner=step: inner(), network.model, self.train.split, self.test.split, taken)
                step = lambda looking=looking, batch=batch: looking(batch)  # noqa: E731
        return step

    def trained(self) -> list[tuple[float, float]]:
        """Of each network the mean batch loss of the epoch, and the share of images that it had right."""
        losses, correct = self.losses.cpu().double().mean(1).tolist(), self.correct.sum(1).tolist()
        return [(loss, right / len(self.train)) for loss, right in zip(losses, correct, strict=True)]
