"""Many networks at once: the faster layers are the standard ones, and a network has its bits whatever trains beside it."""

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from bnlib.experiment.config import RunConfig
from bnlib.experiment.records import MEASURED
from bnlib.training import hardware, loop, models, optimizers, probes
from bnlib.training.loops import kernels, layers, many
from bnlib.training.loops.many import Run
from bnlib.training.loops.network import Network
from tests.training import emulator

CONFIG = RunConfig(dataset="digits", norm="batch", learning_rate=0.01, seed=0, epochs=2)
NORMS = many.LEVELS["norm"]
EMULATED = pytest.mark.skipif(not emulator.COMPILER, reason="needs g++")
GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def config(**fields) -> RunConfig:
    return CONFIG.model_copy(update=fields)


def fit(configs, data, **fields) -> dict[int, loop.Checkpoint]:
    """The last checkpoint of each run."""
    return dict(many.fit([Run(config, **fields) for config in configs], data))


def measured(checkpoint) -> list[str]:
    return [repr(replace(epoch, seconds=0)) for epoch in checkpoint.epochs]


def same_bits(a, b) -> bool:
    return measured(a) == measured(b) and all(a.model[n].numpy().tobytes() == b.model[n].numpy().tobytes() for n in a.model)


@pytest.mark.parametrize("activation", ["relu", "leaky_relu"])
@pytest.mark.parametrize("norm", NORMS)
def test_loss_gradients_and_statistics_are_the_standard_network_s_in_float64(norm, activation, tiny_data):
    c, rows = config(norm=norm, activation=activation), torch.arange(100, 200)
    standard, network = models.build(c).double().train(), Network(c)
    network.model.double()
    images = torch.from_numpy(tiny_data.train.images)[rows].double()
    labels = torch.from_numpy(tiny_data.train.labels)[rows]
    loss = F.cross_entropy(standard(images), labels)
    loss.backward()
    of = layers.images(tiny_data.train, "cpu")
    faster, correct, found = network.gradients(of, rows)
    assert faster.item() == pytest.approx(loss.item(), rel=1e-13)
    assert correct == (standard(images).argmax(1) == labels).sum()
    for (name, parameter), gradient in zip(standard.named_parameters(), found, strict=True):
        torch.testing.assert_close(gradient, parameter.grad, rtol=1e-12, atol=1e-12, msg=name)
    standard = models.build(c).double().train()  # its statistics after one pass
    standard(images)
    for (name, buffer), (_, other) in zip(standard.named_buffers(), network.model.named_buffers(), strict=True):
        if "batches" not in name:
            torch.testing.assert_close(other, buffer, rtol=1e-12, atol=1e-12, msg=name)


def test_windows_are_what_the_convolution_sees(tiny_data):
    pixels = torch.from_numpy(tiny_data.train.images[:3])
    seen = layers.windows(pixels.flatten(1))
    convolution = torch.nn.Conv2d(1, 32, 3, padding=1)
    torch.testing.assert_close((layers.matrix(convolution) @ seen).view(3, 32, 28, 28), convolution(pixels))
    assert (seen[:, 4] == pixels.flatten(1)).all()  # the middle of each window is the pixel itself


@pytest.mark.parametrize("warmup", [0, 3])
def test_steps_are_those_of_the_package_s_adam(warmup, tiny_data):
    """From the same gradients, at the rate as float32 has it, on a CPU: the same bits."""
    c = config(warmup=warmup)
    network, of = Network(c), layers.images(tiny_data.train, "cpu")
    model = models.build(c).to(memory_format=torch.channels_last)
    optimizer = optimizers.make(model, network.rate.item(), c)
    step = optimizers.warmed_up(lambda _: optimizer.step(), optimizer, warmup, 0) if warmup else lambda _: optimizer.step()
    for number in range(5):
        _, _, found = network.gradients(of, torch.arange(50 * number, 50 * number + 50))
        for parameter, gradient in zip(model.parameters(), found, strict=True):
            parameter.grad = gradient.clone()
        network.adam(found)
        step(None)
        for mine, its in zip(network.parameters.values(), model.parameters(), strict=True):
            if warmup:  # its rate is rounded before the bias corrections
                torch.testing.assert_close(mine, its, rtol=1e-6, atol=1e-8)
            else:
                assert torch.equal(mine, its)


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_runs_are_those_of_the_loop_but_for_rounding(norm, tiny_data):
    c = config(norm=norm, learning_rate=0.001, epochs=1)
    (_, made), *_ = many.fit([Run(c)], tiny_data)
    *_, standard = loop.fit(c, tiny_data)
    for name in MEASURED:
        assert getattr(made.epochs[0], name) == pytest.approx(getattr(standard.epochs[0], name), rel=1e-3), name
    assert set(made.model) == set(standard.model)
    for name, value in standard.model.items():
        assert made.model[name].shape == value.shape
        assert made.model[name].dtype == value.dtype
    counted = {name: int(value) for name, value in standard.model.items() if "batches" in name}
    assert {name: int(made.model[name]) for name in counted} == counted


def test_network_has_the_same_bits_among_others_as_alone(tiny_data):
    """Of other arms, seeds, rates, activations and lengths; one diverges and leaves before the end."""
    configs = [
        config(norm="none", learning_rate=1e30, seed=3),
        config(),
        config(norm="none", seed=1, learning_rate=0.001, activation="leaky_relu"),
        config(norm="batch@2", epochs=1, warmup=2),
        config(norm="none", epochs=1, later_rates=(0.001, 0.01)),
    ]
    together = fit(configs, tiny_data)
    assert [len(together[i].epochs) for i in range(5)] == [1, 2, 2, 1, 3]
    assert np.isnan(together[0].epochs[-1].train_loss)
    for i, c in enumerate(configs):
        assert same_bits(together[i], fit([c], tiny_data)[0]), c


@pytest.mark.parametrize("later_rates", [(), (0.001, 0.005)])
@pytest.mark.parametrize("done", [1, 2, 3])
def test_run_that_goes_on_has_the_bits_of_one_that_was_not_interrupted(later_rates, done, tiny_data):
    c = config(later_rates=later_rates, epochs=2 if later_rates else 4, warmup=4)
    seen = [checkpoint for _, checkpoint in many.fit([Run(c)], tiny_data)]
    assert len(seen) == (6 if later_rates else 4)
    assert same_bits(fit([c], tiny_data, checkpoint=seen[done - 1])[0], seen[-1])


def test_finished_run_is_left_as_it_is(tiny_data):
    seen = [checkpoint for _, checkpoint in many.fit([Run(CONFIG)], tiny_data)]
    assert list(many.fit([Run(CONFIG, seen[-1])], tiny_data)) == []


def test_looking_inside_changes_no_bit_and_sees_each_network(tiny_data):
    said = [[], []]
    configs = [config(epochs=1), config(epochs=1, norm="none")]
    watches = [probes.Watch(c, its.append) for c, its in zip(configs, said, strict=True)]
    runs = [Run(c, watch=watch) for c, watch in zip(configs, watches, strict=True)]
    looked = dict(many.fit([*runs, Run(config(epochs=1, seed=1))], tiny_data))
    plain = fit(configs, tiny_data)
    assert same_bits(looked[0], plain[0])
    assert same_bits(looked[1], plain[1])
    for c, its in zip(configs, said, strict=True):
        alone = []
        list(loop.fit(c, tiny_data, watch=probes.Watch(c, alone.append)))
        assert [look[:3] + look[4:] for look in its] == [look[:3] + look[4:] for look in alone]  # all but the values
        mine, standard = (
            [look.value for look in seen if look.step == 1 and look.probe == "loss_band"] for seen in (its, alone)
        )
        assert mine == pytest.approx(standard, rel=1e-3)
        assert max(look.step for look in its) == 3


def test_other_data_or_batch_sizes_are_refused(tiny_data):
    with pytest.raises(ValueError, match="the runs are on mnist, the data are digits"):
        next(many.fit([Run(config(dataset="mnist"))], tiny_data))
    with pytest.raises(ValueError, match="one batch size"):
        next(many.fit([Run(CONFIG), Run(config(batch_size=50))], tiny_data))


def test_what_has_no_faster_layers_is_not_trained_by_them():
    cuda = config(device="cuda")
    assert many.suits(cuda)
    assert many.suits(cuda.model_copy(update={"activation": "leaky_relu", "warmup": 100, "probed": True, "norm": "batch@3"}))
    others = {
        "device": "cpu",
        "precision": "bf16",
        "norm": "group",
        "optimizer": "sgd",
        "network": "mine",
        "activation": "mine",
    }
    for field, level in others.items():
        assert not many.suits(cuda.model_copy(update={field: level})), field


def test_field_that_the_faster_layers_know_nothing_of_has_runs_trained_by_the_loop():
    class Later(RunConfig):
        weight_decay: float = 0.0

    cuda = Later(**config(device="cuda").model_dump())
    assert many.suits(cuda)
    assert not many.suits(cuda.model_copy(update={"weight_decay": 0.1}))


def test_where_pytorch_lacks_what_the_faster_layers_need_runs_are_trained_by_the_loop(monkeypatch):
    monkeypatch.setattr(many, "HAS_WHAT_IT_NEEDS", False)
    assert not many.suits(config(device="cuda"))


# The kernels, on a GPU and emulated


def agree(made, expected, of: dict, of_expected: dict) -> None:
    """That a result and its gradients are those that were made in float64."""
    torch.testing.assert_close(made.double(), expected, rtol=1e-5, atol=1e-5 * expected.abs().max().item())
    direction = torch.randn(made.shape, device=made.device)
    found = torch.autograd.grad((made * direction).sum(), list(of.values()))
    standard = torch.autograd.grad((expected * direction.double()).sum(), list(of_expected.values()))
    for name, gradient, its in zip(of, found, standard, strict=True):
        assert gradient.shape == its.shape
        torch.testing.assert_close(gradient.double(), its, rtol=1e-5, atol=1e-5 * its.abs().max().item(), msg=name)


def wide(tensors: dict) -> dict:
    """The same in float64."""
    return {name: tensor.detach().double().requires_grad_() for name, tensor in tensors.items()}


@pytest.fixture(params=[pytest.param("cpu", marks=EMULATED), pytest.param("cuda", marks=GPU)])
def device(request, monkeypatch):
    """A GPU, or a CPU on which the kernels run all the same."""
    if request.param == "cpu":
        monkeypatch.setattr(kernels, "_compiled", emulator.compiled)
    return request.param


@pytest.mark.parametrize("slope", [0.0, 0.01])
def test_first_layer_s_kernels_give_what_the_operations_give(slope, device, tiny_data):
    of, rows = layers.images(tiny_data.train, device), torch.tensor([211, 3, 3], device=device)
    given = {"weights": torch.randn(32, 10, device=device, requires_grad=True)}
    same = wide(given)
    seen = same["weights"] @ layers.windows(of.pixels[rows]).double()
    expected = layers._pooled(seen.view(-1, 32, 28, 28), slope)
    agree(kernels.First.apply(given["weights"], of.pixels, rows, slope), expected, given, same)


@pytest.mark.parametrize("slope", [0.0, 0.01])
def test_pooling_s_kernels_give_what_the_operations_give(slope, device):
    x = torch.randn(3, 64, 14, 14, device=device).round(decimals=1).to(memory_format=torch.channels_last)  # with equals
    given = {"x": x.requires_grad_()}
    same = wide(given)
    agree(kernels.Pool.apply(x, slope), layers._pooled(same["x"], slope), given, same)


def test_what_is_no_number_comes_out_of_every_kernel(device):
    broken = torch.full((1, 64, 14, 14), torch.nan, device=device)
    pixels, rows = torch.zeros(1, 784, device=device), torch.tensor([0], device=device)
    assert kernels.Pool.apply(broken, 0.0).isnan().all()
    assert kernels.First.apply(torch.full((32, 10), torch.nan, device=device), pixels, rows, 0.0).isnan().all()


@pytest.mark.parametrize("blocks", [2, 50])
def test_second_convolution_s_kernels_give_what_the_operation_gives(blocks, device, monkeypatch):
    monkeypatch.setattr(kernels, "BLOCKS", blocks)
    shapes = {"x": (3, 32, 14, 14), "weight": (64, 32, 3, 3), "bias": (64,)}
    given = {name: torch.randn(shape, device=device, requires_grad=True) for name, shape in shapes.items()}
    same = wide(given)
    agree(kernels.Convolve.apply(*given.values()), F.conv2d(*same.values(), padding=1), given, same)


def test_batch_norm_s_kernels_give_what_the_operations_give(device, tiny_data):
    of, rows = layers.images(tiny_data.train, device), torch.tensor([211, 3, 77], device=device)
    norms = [torch.nn.BatchNorm2d(32).to(device), torch.nn.BatchNorm2d(32).to(device).double()]
    with torch.no_grad():
        for mine, its in zip(*(norm.parameters() for norm in norms), strict=True):
            its.copy_(mine.normal_())
    given = {"weights": torch.randn(32, 10, device=device, requires_grad=True)}
    same = wide(given) | dict(norms[1].named_parameters())
    made = kernels.Fold.apply(given["weights"], norms[0].weight, norms[0].bias, norms[0], of.moments, rows)
    agree(
        made, layers.folded_by_operations(same["weights"], norms[1], of, rows), given | dict(norms[0].named_parameters()), same
    )
    for mine, its in zip(*(norm.buffers() for norm in norms), strict=True):
        torch.testing.assert_close(mine.double(), its.double(), rtol=1e-6, atol=1e-6)


@GPU
@pytest.mark.parametrize("norm", NORMS)
def test_gradients_on_a_gpu_are_those_in_float64(norm, tiny_data):
    c, rows = config(norm=norm, device="cuda"), torch.arange(100, device="cuda")
    network, of = Network(c), layers.images(tiny_data.train, "cuda")
    with hardware.exact_arithmetic():
        _, _, found = network.gradients(of, rows)
    standard = models.build(c).double().train()
    F.cross_entropy(standard(of.split.images[:100].cpu().double()), of.labels[:100].cpu()).backward()
    for (name, parameter), gradient in zip(standard.named_parameters(), found, strict=True):
        apart = (gradient.cpu().double() - parameter.grad).norm() / parameter.grad.norm().clamp_min(1e-3)
        assert apart < 1e-2, name  # where two values of a pooling window are nearly one, rounding decides


@GPU
def test_recorded_steps_have_the_bits_of_plain_ones_and_of_a_network_alone(tiny_data, monkeypatch):
    configs = [config(norm=norm, device="cuda", seed=seed) for norm in ("none", "batch") for seed in range(3)]
    recorded = fit(configs, tiny_data)
    assert all(same_bits(recorded[i], fit([c], tiny_data)[0]) for i, c in enumerate(configs))
    monkeypatch.setattr(many.Together, "recorded", lambda self: self.all_step)
    plain = fit(configs, tiny_data)
    assert all(same_bits(recorded[i], plain[i]) for i in recorded)


@GPU
def test_interrupted_run_on_a_gpu_goes_on_to_the_same_bits(tiny_data):
    c = config(device="cuda", epochs=3)
    seen = [checkpoint for _, checkpoint in islice(many.fit([Run(c)], tiny_data), 3)]
    assert same_bits(fit([c], tiny_data, checkpoint=seen[0])[0], seen[-1])
