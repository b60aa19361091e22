"""The plain loop, as the original has it: the yardstick for the speed of `loop.fit`, and for its losses."""

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from bnlib.experiment.config import RunConfig
from bnlib.training import models
from bnlib.training.data import MEAN, STANDARD_DEVIATION


def network(config: RunConfig) -> nn.Module:
    """The network of `models.build` with ReLU before max-pooling, as in the original; its weights are the same."""
    layers = dict(models.build(config).named_children())
    names = list(layers)
    for pool, relu in (("pool1", "relu1"), ("pool2", "relu2")):
        i, j = names.index(pool), names.index(relu)
        names[i], names[j] = names[j], names[i]
    return nn.Sequential(OrderedDict((name, layers[name]) for name in names))


def images(root: Path) -> datasets.MNIST:
    """MNIST's training images under `root`, each transformed when it is asked for.

    Raises:
        RuntimeError: they are not there.
    """
    each = transforms.Compose([transforms.ToTensor(), transforms.Normalize((MEAN,), (STANDARD_DEVIATION,))])
    return datasets.MNIST(str(root), train=True, transform=each)


def loader(dataset: datasets.MNIST, batch_size: int) -> DataLoader:
    """Shuffled batches, made in the process that trains on them."""
    return DataLoader(dataset, batch_size=batch_size, shuffle=True)


def losses(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], learning_rate: float, steps: int) -> Iterator[float]:
    """Trains `model` for `steps` batches with Adam, and yields the loss of each."""
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    correct = 0
    for x, y in islice(batches, steps):
        optimizer.zero_grad()
        logits = model(x)
        loss = criterion(logits, y)
        loss.backward()
        optimizer.step()
        correct += (logits.argmax(1) == y).sum().item()
        yield loss.item()
