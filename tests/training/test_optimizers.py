import copy
import itertools

import pytest
import torch
from torch import nn

from bnlib.experiment.config import LEVELS, RunConfig
from bnlib.training import optimizers
from bnlib.training.loop import fit

GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def config(**fields) -> RunConfig:
    return RunConfig(**{"dataset": "digits", "learning_rate": 0.01, "seed": 0, "epochs": 3} | fields)


def one_weight(name: str, learning_rate: float) -> tuple[nn.Parameter, torch.optim.Optimizer]:
    """A weight of 1 and the optimizer that moves it."""
    weight = nn.Parameter(torch.ones(1))
    return weight, optimizers.OPTIMIZERS[name]([weight], learning_rate)


def moves(name: str, learning_rate: float, gradients: list[float]) -> list[float]:
    """What the weight is after each step."""
    (weight, optimizer), found = one_weight(name, learning_rate), []
    for gradient in gradients:
        weight.grad = torch.tensor([float(gradient)])
        optimizer.step()
        found.append(weight.item())
    return found


def losses(config: RunConfig, data, checkpoint=None) -> list[float]:
    *_, last = fit(config, data, checkpoint)
    return [epoch.train_loss for epoch in last.epochs]


def test_sgd_moves_against_the_gradient_with_momentum():
    # Velocity 2, then 0.9 * 2 + 2 = 3.8, then 0.9 * 3.8 + 0 = 3.42; a tenth of each is taken away.
    assert moves("sgd", 0.1, [2, 2, 0]) == pytest.approx([0.8, 0.42, 0.078], abs=1e-6)


def test_adam_s_first_step_is_the_learning_rate_whatever_the_gradient():
    assert moves("adam", 0.1, [5]) == pytest.approx([0.9])
    assert moves("adam", 0.1, [-0.01]) == pytest.approx([1.1], abs=1e-5)


@pytest.mark.parametrize("name", optimizers.OPTIMIZERS)
def test_weights_are_not_decayed(name):
    assert moves(name, 0.1, [0.0]) == [1.0]


def test_each_run_gets_the_optimizer_it_names():
    model = nn.Linear(2, 2)
    made = {name: optimizers.make(model, 0.25, config(optimizer=name)) for name in ("adam", "sgd")}
    assert {name: type(each) for name, each in made.items()} == {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}
    assert {each.param_groups[0]["lr"] for each in made.values()} == {0.25}


def test_another_optimizer_is_one_entry_in_the_table(tiny_data, monkeypatch):
    monkeypatch.setitem(LEVELS["optimizer"], "still", "none")
    monkeypatch.setitem(optimizers.OPTIMIZERS, "still", lambda parameters, rate: torch.optim.SGD(parameters, lr=0.0))
    (_, *later) = losses(config(optimizer="still"), tiny_data)
    assert later == pytest.approx([later[0]] * 2, rel=1e-3)  # the same weights see the images in other batches


def test_rate_rises_in_equal_steps_and_then_stays():
    _, optimizer = one_weight("sgd", 0.1)
    seen = []
    step = optimizers.warmed_up(lambda batch: seen.append(optimizer.param_groups[0]["lr"]) or optimizer.step(), optimizer, 4, 0)
    for _ in range(6):
        step(None)
    assert seen == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1, 0.1])


def test_steps_that_are_replayed_as_a_graph_warm_up_without_a_warning():
    _, optimizer = one_weight("sgd", 0.1)
    seen = []
    step = optimizers.warmed_up(lambda batch: seen.append(optimizer.param_groups[0]["lr"]), optimizer, 4, 0)
    for _ in range(2):
        step(None)  # the optimizer's own `step` is not called
    assert seen == pytest.approx([0.025, 0.05])


@pytest.fixture
def rates(monkeypatch):
    """The learning rate of each step of SGD from now on."""
    seen, step = [], torch.optim.SGD.step

    def watched(self, *arguments):
        seen.append(float(self.param_groups[0]["lr"]))
        return step(self, *arguments)

    monkeypatch.setattr(torch.optim.SGD, "step", watched)
    return seen


def test_run_warms_up_over_its_first_steps_whatever_epoch_they_are_in(tiny_data, rates):
    losses(config(optimizer="sgd", warmup=5), tiny_data)  # 250 images: three steps an epoch
    assert rates == pytest.approx([0.002, 0.004, 0.006, 0.008] + [0.01] * 5)


def test_run_without_warm_up_has_one_rate(tiny_data, rates):
    losses(config(optimizer="sgd"), tiny_data)
    assert rates == [0.01] * 9


def test_resumed_run_goes_on_to_warm_up_where_it_was(tiny_data, rates):
    c = config(optimizer="sgd", warmup=5)
    checkpoint = copy.deepcopy(next(fit(c, tiny_data)))
    rates.clear()
    losses(c, tiny_data, checkpoint)
    assert rates == pytest.approx([0.008] + [0.01] * 5)


def test_chain_warms_up_anew_at_each_rate(tiny_data, rates):
    c = config(optimizer="sgd", warmup=5, epochs=2, later_rates=(0.1,))
    whole = losses(c, tiny_data)
    up = [0.2, 0.4, 0.6, 0.8, 1.0, 1.0]
    assert rates == pytest.approx([0.01 * share for share in up] + [0.1 * share for share in up])
    for at in (1, 2, 3):
        checkpoint = copy.deepcopy(next(itertools.islice(fit(c, tiny_data), at - 1, None)))
        assert losses(c, tiny_data, checkpoint) == whole


@pytest.mark.parametrize("norm", ["none", "batch"])
@pytest.mark.parametrize("fields", [{"warmup": 4}, {"warmup": 7, "optimizer": "sgd"}, {"optimizer": "sgd"}])
def test_resumed_run_gives_the_same_bits(fields, norm, tiny_data):
    c = config(norm=norm, **fields)
    whole = losses(c, tiny_data)
    for at in (1, 2):
        checkpoint = copy.deepcopy(next(itertools.islice(fit(c, tiny_data), at - 1, None)))
        assert losses(c, tiny_data, checkpoint) == whole


@pytest.mark.parametrize("fields", [{"optimizer": "sgd", "learning_rate": 0.05}, {"warmup": 5}, {"activation": "leaky_relu"}])
def test_every_optimizer_and_activation_learns(fields, tiny_data):
    *_, last = fit(config(norm="batch", epochs=8, **fields), tiny_data)
    assert last.epochs[-1].train_accuracy > 0.9


@GPU
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_replayed_steps_warm_up_as_plain_ones_do(optimizer, tiny_data, monkeypatch):
    from bnlib.training import hardware

    c = config(norm="batch", device="cuda", optimizer=optimizer, warmup=5)
    captured = losses(c, tiny_data)
    monkeypatch.setattr(hardware, "captured", lambda step, *_: step)
    assert losses(c, tiny_data) == pytest.approx(captured, rel=1e-4)


@GPU
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_resumed_run_goes_on_to_warm_up_on_a_gpu(optimizer, tiny_data, tmp_path):
    c = config(norm="batch", device="cuda", optimizer=optimizer, warmup=5)
    whole = losses(c, tiny_data)
    checkpoint = next(fit(c, tiny_data))
    torch.save((checkpoint.model, checkpoint.optimizer), tmp_path / "kept")
    model, state = torch.load(tmp_path / "kept", weights_only=True, map_location="cpu")  # as the store has it
    assert losses(c, tiny_data, type(checkpoint)(checkpoint.epochs, model, state)) == whole
