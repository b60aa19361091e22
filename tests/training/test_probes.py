"""Probes: each sees what can be worked out by hand, and leaves the run as it was."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from bnlib.experiment.config import RunConfig
from bnlib.training import loop, models, probes
from bnlib.training.data import Split
from bnlib.training.probes import Watch, vectors


def seen(looks, probe, layer="", measure=""):
    (value,) = (look.value for look in looks if (look.probe, look.layer, look.measure) == (probe, layer, measure))
    return value


def fitted(config, data, looks=None):
    """The last checkpoint of a run, watched where `looks` is a list for what is seen."""
    *_, last = loop.fit(config, data, watch=None if looks is None else Watch(config, looks.append))
    return last


@pytest.fixture
def config(tiny_data):
    return RunConfig(dataset=tiny_data.name, seed=0, learning_rate=0.001, epochs=2)


# Bits


@pytest.mark.parametrize("norm", ["none", "batch", "group"])
def test_watched_run_has_the_same_bits(norm, config, tiny_data):
    config = config.model_copy(update={"norm": norm})
    torch.manual_seed(7)
    before, looks = torch.get_rng_state(), []
    plain, watched = fitted(config, tiny_data), fitted(config, tiny_data, looks)
    assert looks
    assert torch.equal(torch.get_rng_state(), before)
    assert [replace(epoch, seconds=0) for epoch in watched.epochs] == [replace(epoch, seconds=0) for epoch in plain.epochs]
    assert all(torch.equal(value, watched.model[name]) for name, value in plain.model.items())  # running statistics among them
    for one, other in zip(plain.optimizer["state"].values(), watched.optimizer["state"].values(), strict=True):
        assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_network_that_draws_random_numbers_draws_the_same_ones_when_watched(config, tiny_data, monkeypatch):
    real = models.build
    monkeypatch.setattr(models, "build", lambda config: nn.Sequential(*real(config), nn.Dropout(0.5)))
    plain, watched = fitted(config, tiny_data), fitted(config, tiny_data, [])
    assert [epoch.train_loss for epoch in watched.epochs] == [epoch.train_loss for epoch in plain.epochs]


def test_run_that_goes_on_is_looked_at_in_the_same_steps(config, tiny_data):
    whole, parts = [], []
    fitted(config, tiny_data, whole)
    first = next(loop.fit(config, tiny_data, watch=Watch(config, parts.append)))
    list(loop.fit(config, tiny_data, first, Watch(config, parts.append)))
    assert str(parts) == str(whole)  # NaN, too


# When


def test_steps_looked_at_are_early_ones_then_every_fiftieth_then_the_ends_of_epochs():
    expected = [1, 2, 5, 10, 20, *range(50, 601, 50), 1200, 1800]
    assert [step for step in range(1, 1801) if probes.chosen(step, 600)] == expected
    assert [step for step in range(1, 46) if probes.chosen(step, 15)] == [1, 2, 5, 10, 15, 20, 30, 45]


def test_each_step_is_looked_at_by_its_number_and_epoch(config, tiny_data):
    looks = []
    fitted(config, tiny_data, looks)  # 3 steps an epoch
    assert sorted({(look.step, look.epoch) for look in looks}) == [(1, 1), (2, 1), (3, 1), (5, 2), (6, 2)]


# Activations


def dead_in(model, images) -> list:
    return list(probes.activations(model.train(), images, "fp32"))


def test_unit_is_dead_that_is_zero_for_all_images():
    model = nn.Sequential(nn.Flatten(), nn.Linear(1, 4), nn.ReLU(), nn.Linear(4, 10))
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([[1.0], [0.0], [-1.0], [1.0]]))
        model[1].bias.copy_(torch.tensor([0.0, -1.0, 0.0, -9.0]))  # the second and the last are below zero from -2 to 2
    looks = dead_in(model, torch.linspace(-2, 2, 41).view(-1, 1, 1, 1))
    assert seen(looks, "dead", "2") == 0.5


def test_channel_is_dead_only_where_it_is_zero_everywhere():
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(8, 10))
    with torch.no_grad():
        model[0].weight.fill_(1.0)
        model[0].bias.copy_(torch.tensor([0.0, -5.0]))
    images = torch.zeros(3, 1, 2, 2)
    images[2, 0, 1, 1] = 4.0  # a single pixel of a single image
    assert seen(dead_in(model, images), "dead", "1") == 0.5


def test_nothing_is_dead_behind_an_activation_that_lets_something_through():
    model = nn.Sequential(nn.Flatten(), nn.Linear(1, 4), nn.LeakyReLU(0.01))
    with torch.no_grad():
        model[1].bias.fill_(-9.0)
    assert seen(dead_in(model, torch.ones(5, 1, 1, 1)), "dead", "2") == 0.0


def test_classes_are_those_predicted_for_some_image():
    model = nn.Sequential(nn.Flatten(), nn.Linear(1, 10))
    with torch.no_grad():
        model[1].weight.zero_()
        model[1].weight[3], model[1].weight[8] = 1.0, -1.0
        model[1].bias.zero_()
    assert seen(dead_in(model, torch.tensor([-1.0, 1.0, 2.0]).view(-1, 1, 1, 1)), "classes") == 2


def test_drift_is_of_what_enters_one_unit():
    model = nn.Sequential(nn.Flatten(), nn.Linear(1, 2), nn.ReLU())
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([[2.0], [5.0]]))
        model[1].bias.zero_()
    looks = dead_in(model, torch.arange(-50.0, 51.0).view(-1, 1, 1, 1))  # of 101 numbers the 15th percentile is the 16th
    assert [seen(looks, "drift", "2", f"{q}%") for q in (15, 50, 85)] == pytest.approx([-70.0, 0.0, 70.0])


def test_norm_of_batches_takes_the_images_as_one_batch():
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(1, eps=1e-12), nn.ReLU())
    looks = dead_in(model, torch.tensor([0.0, 0.0, 10.0, 10.0]).view(-1, 1, 1, 1))
    assert [seen(looks, "drift", "2", f"{q}%") for q in (15, 85)] == pytest.approx([-1.0, 1.0])


# Along a step: of a quadratic ½·Σ aᵢwᵢ² all is known


def quadratic(a: torch.Tensor):
    def gradient(weights):
        return (a * weights["w"] ** 2).sum().item() / 2, {"w": a * weights["w"]}

    return gradient


def test_smoothness_of_a_quadratic_is_its_second_derivative():
    a, w = torch.tensor([3.0]), torch.tensor([2.0])
    g = {"w": a * w}
    looks = list(probes.along_step(quadratic(a), {"w": w}, {"w": -0.1 * g["w"]}, g, "gradient"))
    assert seen(looks, "smoothness", measure="gradient") == pytest.approx(3.0)
    assert seen(looks, "smoothness", measure="gradient, relative") == pytest.approx(3.0 * 4.0)
    for k, there in ((0.5, 1.7), (1, 1.4), (2, 0.8), (4, -0.4)):  # w − k·0.1·g
        assert seen(looks, "predictiveness", measure=f"gradient × {k:g}") == pytest.approx(3 * k * 0.1 * 6)
        assert seen(looks, "loss_band", measure=f"gradient × {k:g}") == pytest.approx(1.5 * there**2)


def test_smoothness_along_a_step_is_that_of_its_direction():
    a, w = torch.tensor([1.0, 100.0]), torch.tensor([1.0, 1.0])
    looks = list(probes.along_step(quadratic(a), {"w": w}, {"w": torch.tensor([-0.5, 0.0])}, {"w": a * w}, "step"))
    assert seen(looks, "smoothness", measure="step") == pytest.approx(1.0)


def test_relative_smoothness_stays_where_weights_before_a_norm_are_scaled():
    def gradient(weights):  # of an L that depends on the direction of w alone
        w = weights["w"].clone().requires_grad_()
        loss = (w / w.norm())[0] ** 2
        return loss.item(), {"w": torch.autograd.grad(loss, w)[0]}

    found = []
    for scale in (1.0, 10.0):
        w = {"w": scale * torch.tensor([1.0, 2.0], dtype=torch.float64)}
        step = {"w": scale * torch.tensor([0.1, -0.1], dtype=torch.float64)}
        looks = list(probes.along_step(gradient, w, step, gradient(w)[1], "step"))
        found.append([seen(looks, "smoothness", measure=f"step{which}") for which in ("", ", relative")])
    assert found[1][0] == pytest.approx(found[0][0] / 100)
    assert found[1][1] == pytest.approx(found[0][1])


# Shift


def product(weights):
    """Loss and gradient of ½(uv − 1)², a network of two layers with one weight each."""
    u, v = weights["u"], weights["v"]
    error = u * v - 1
    return (error**2 / 2).item(), {"u": error * v, "v": error * u}


def test_shift_is_how_the_gradient_changes_once_earlier_layers_have_taken_their_step():
    start = {"u": torch.tensor([1.0]), "v": torch.tensor([2.0])}
    end = {"u": torch.tensor([0.5]), "v": torch.tensor([5.0])}
    looks = list(probes.shift(product, start, end, product(start)[1]))
    assert seen(looks, "shift", "u", "difference") == 0.0  # nothing stands before it
    assert seen(looks, "shift", "u", "cosine") == pytest.approx(1.0)
    # Of v: G = (1·2 − 1)·1 = 1; G' = (0.5·2 − 1)·0.5 = 0.
    assert seen(looks, "shift", "v", "difference") == pytest.approx(1.0)
    assert seen(looks, "shift", "v", "relative") == pytest.approx(1.0)


def test_cosine_tells_that_a_gradient_turned_round():
    start = {"u": torch.tensor([1.0]), "v": torch.tensor([2.0])}
    end = {"u": torch.tensor([0.25]), "v": torch.tensor([2.0])}
    looks = list(probes.shift(product, start, end, product(start)[1]))
    assert seen(looks, "shift", "v", "cosine") == pytest.approx(-1.0)  # G' = (0.5 − 1)·0.25
    assert seen(looks, "shift", "v", "difference") == pytest.approx(1.125)


# Steps


def test_step_size_is_the_step_s_norm_over_that_of_the_weights():
    start = {"a": torch.tensor([3.0, 4.0]), "b": torch.tensor([1.0])}
    taken = {"a": torch.tensor([0.0, 0.5]), "b": torch.tensor([-2.0])}
    looks = list(probes.steps_taken(start, taken))
    assert [seen(looks, "step_size", name) for name in "ab"] == pytest.approx([0.1, 2.0])


def test_first_step_of_adam_moves_every_weight_by_the_rate(config, tiny_data):
    looks = []
    list(loop.fit(config.model_copy(update={"epochs": 1}), tiny_data, watch=Watch(config, looks.append)))
    model = models.build(config)
    first = [look for look in looks if look.step == 1]
    weights = vectors(model)["conv1"]
    expected = 0.001 * math.sqrt(weights.numel()) / weights.norm().item()
    assert seen(first, "step_size", "conv1") == pytest.approx(expected, rel=1e-3)


def test_looks_of_a_run_are_those_of_its_own_weights_and_batch(config, tiny_data, tensors):
    looks = []
    list(loop.fit(config.model_copy(update={"epochs": 1}), tiny_data, watch=Watch(config, looks.append)))
    model = models.build(config)
    batch = loop.epoch_order(0, 1, len(tensors.train))[:100]
    loss = nn.functional.cross_entropy(model(tensors.train.images[batch]), tensors.train.labels[batch])
    loss.backward()
    before = loss.item()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter -= 4 * 0.001 * parameter.grad
        there = nn.functional.cross_entropy(model(tensors.train.images[batch]), tensors.train.labels[batch])
    first = [look for look in looks if look.step == 1]
    assert there < before
    assert seen(first, "loss_band", measure="before") == pytest.approx(before, rel=1e-5)
    assert seen(first, "loss_band", measure="gradient × 4") == pytest.approx(there.item(), rel=1e-5)


def test_vectors_put_back_give_the_same_network():
    model = models.ConvNet("batch").to(memory_format=torch.channels_last)
    weights = {name: value + 1 for name, value in vectors(model).items()}
    probes.put(model, weights)
    assert list(weights) == ["conv1", "norm1", "conv2", "norm2", "linear1", "norm3", "linear2"]
    assert all(torch.equal(value, weights[name]) for name, value in vectors(model).items())


def test_images_looked_at_are_the_first_of_the_test_images(config, tensors, monkeypatch):
    monkeypatch.setattr(probes, "IMAGES", 10)
    model = models.build(config).train()
    ten = Split(tensors.test.images[:10], tensors.test.labels[:10])
    batch = (tensors.train.images[:100], tensors.train.labels[:100])
    drift = [
        [look for look in probes.looks(model, model, *batch, split, config) if look.probe == "drift"]
        for split in (tensors.test, ten)
    ]
    assert drift[0] == drift[1] != []
