"""`fit` trains as the original's loop does: the same networks, the same losses."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from bnlib.experiment.config import RunConfig
from bnlib.training import data, hardware, loop, models
from bnlib.training.data import Data, Split
from bnlib.training.loops import plain

NORMS = ["none", "batch", "group"]


def config(norm: str, learning_rate: float = 0.001) -> RunConfig:
    return RunConfig(dataset="digits", norm=norm, learning_rate=learning_rate, seed=0, epochs=4)


@pytest.fixture(autouse=True)
def one_thread():
    """As `fit` has it: on another number of threads the plain loop has other last bits."""
    with hardware.exact_arithmetic():
        yield


@pytest.fixture(scope="module")
def digits() -> Data:
    return data.load("digits")


@pytest.fixture(scope="module")
def train(digits) -> Split:
    """The training images of `digits` as tensors."""
    return loop.to_device(digits.train, config("none"))


class Single(nn.Module):
    """Logits in single precision, from which `fit` takes the loss in any case."""

    def forward(self, x):
        return x.float()


def fifty(digits: Data) -> list[torch.Tensor]:
    """The indices of fifty full batches, in the order in which `fit` takes them."""
    batches = itertools.chain.from_iterable(loop.epoch_order(0, e, len(digits.train)).split(100) for e in range(1, 5))
    return list(batches)[:50]


def fitted(digits: Data, norm: str, learning_rate: float, monkeypatch, look=lambda model, batch: None) -> list[float]:
    """The losses of the first fifty batches of `fit`; `look` is called before each."""
    seen, real = [], loop.make_step

    def watched(model, *rest, **more):
        step = real(model, *rest, **more)

        def watched_step(batch):
            look(model, batch)
            loss, correct = step(batch)
            seen.append(loss.item())
            return loss, correct

        return watched_step

    monkeypatch.setattr(loop, "make_step", watched)
    list(loop.fit(config(norm, learning_rate), digits))
    return seen[:50]


def test_original_network_has_relu_before_pooling():
    names = [name for name, _ in plain.network(config("batch")).named_children()]
    assert names[:8] == ["conv1", "norm1", "relu1", "pool1", "conv2", "norm2", "relu2", "pool2"]


@pytest.mark.parametrize("norm", NORMS)
def test_pooling_before_relu_changes_no_bit(norm, digits, train):
    batches = [(train.images[index], train.labels[index]) for index in fifty(digits)[:15]]
    ours, originals = (
        list(plain.losses(m, batches, 0.001, 15)) for m in (models.build(config(norm)), plain.network(config(norm)))
    )
    assert len(ours) == 15
    assert ours == originals


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_fifty_steps_each_give_the_loss_of_the_plain_network(norm, digits, train, monkeypatch):
    expected, original = [], plain.network(config(norm))

    def look(model, batch):
        original.load_state_dict(model.state_dict())
        with torch.no_grad():
            expected.append(nn.functional.cross_entropy(original(train.images[batch]), train.labels[batch]).item())

    seen = fitted(digits, norm, 0.001, monkeypatch, look)
    assert seen[-1] < seen[0] / 5
    assert seen == pytest.approx(expected[:50], rel=1e-5)


@pytest.mark.long
def test_fifty_steps_with_batch_norm_are_those_of_the_plain_loop_in_double_precision(digits, train, monkeypatch):
    # In single precision rounding errors grow from step to step: Adam divides each gradient by its own size, those of biases
    # before batch norm, which are nothing but rounding, included. The plain loop on one thread and on two differs as much.
    splits = (Split(split.images.astype(np.float64), split.labels) for split in (digits.train, digits.test))
    double = Data("digits", *splits, "")
    batches = [(train.images[index].double(), train.labels[index]) for index in fifty(digits)]
    original = nn.Sequential(plain.network(config("batch")).double(), Single())
    expected = list(plain.losses(original, batches, 0.001, 50))
    real = models.build
    monkeypatch.setattr(loop.models, "build", lambda *arguments: real(*arguments).double())
    seen = fitted(double, "batch", 0.001, monkeypatch)
    assert seen[-1] < seen[0] / 5
    assert seen == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("norm", "learning_rate"), [("none", 1e-4), ("batch", 1e-6)])
def test_fifty_steps_are_those_of_the_plain_loop(norm, learning_rate, digits, train, monkeypatch):
    # With batch norm at a rate so small that rounding errors have no time to grow: see the test before.
    batches = [(train.images[index], train.labels[index]) for index in fifty(digits)]
    expected = list(plain.losses(plain.network(config(norm)), batches, learning_rate, 50))
    seen = fitted(digits, norm, learning_rate, monkeypatch)
    assert seen[-1] < 0.96 * seen[0]
    assert seen == pytest.approx(expected, rel=1e-5)


def test_transformed_images_are_those_of_fit(tmp_path):
    from bnlib.commands import bench

    bench._random_images(tmp_path)
    dataset = plain.images(tmp_path)
    head = bench._head(dataset, 5)
    for i in range(5):
        image, label = dataset[i]
        assert np.array_equal(image.numpy(), head.train.images[i])
        assert label == head.train.labels[i]


def test_loader_shuffles_all_images_in_batches(tmp_path):
    dataset = torch.utils.data.TensorDataset(torch.arange(250).float(), torch.arange(250))
    batches = [y for _, y in plain.loader(dataset, 100)]
    assert [len(y) for y in batches] == [100, 100, 50]
    assert torch.cat(batches).tolist() != list(range(250))
    assert sorted(torch.cat(batches).tolist()) == list(range(250))


def test_losses_are_those_of_the_weights_before_each_step():
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 10))
    nn.init.zeros_(model[1].weight)
    nn.init.zeros_(model[1].bias)
    batches = [(torch.ones(3, 2, 2), torch.zeros(3, dtype=torch.int64))] * 3
    first, second = plain.losses(model, batches, 0.1, 2)
    assert first == pytest.approx(math.log(10))
    # Adam's first step is the learning rate in the direction of the sign: every weight and bias moves by 0.1.
    right, wrong = 0.5, -0.5
    assert second == pytest.approx(math.log(math.exp(right) + 9 * math.exp(wrong)) - right, rel=1e-4)
