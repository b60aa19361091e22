import copy
import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from bnlib.experiment.config import FACTORS, LEVELS, RunConfig
from bnlib.experiment.records import MEASURED, Epoch
from bnlib.training import hardware, loop, models
from bnlib.training.data import Data, Split
from bnlib.training.loop import epoch_order, evaluate, fit, make_step, start, train_epoch


def config(**fields) -> RunConfig:
    return RunConfig(**{"dataset": "digits", "norm": "batch", "learning_rate": 0.001, "seed": 0, "epochs": 2} | fields)


def measured(epoch: Epoch) -> tuple:
    return tuple(getattr(epoch, name) for name in MEASURED)


def epochs(config: RunConfig, data: Data, checkpoint: loop.Checkpoint | None = None) -> tuple[Epoch, ...]:
    """All epochs of a run."""
    *_, last = fit(config, data, checkpoint)
    return last.epochs


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_same_configuration_gives_the_same_bits(norm, tiny_data):
    first, second = ([measured(e) for e in epochs(config(norm=norm), tiny_data)] for _ in range(2))
    assert first == second


def test_training_learns(tiny_data):
    *_, last = epochs(config(epochs=8), tiny_data)
    assert last.train_accuracy > 0.9
    assert last.test_accuracy > 0.5


CHANGED = (
    *({"seed": 1}, {"learning_rate": 0.002}, {"norm": "none"}, {"norm": "group"}, {"norm": "batch@1"}),
    *({"activation": "leaky_relu"}, {"optimizer": "sgd"}, {"warmup": 2}, {"batch_size": 50}),
)


def test_each_factor_is_changed_by_a_test():
    assert {*FACTORS} - {name for field in CHANGED for name in field} == {"network"}  # there is only one


@pytest.mark.parametrize("field", CHANGED)
def test_every_field_changes_the_result(field, tiny_data):
    (changed, *_), (base, *_) = epochs(config(**field), tiny_data), epochs(config(), tiny_data)
    assert changed.train_loss != base.train_loss


def test_fewer_epochs_are_a_beginning_of_more(tiny_data):
    short = [measured(e) for e in epochs(config(epochs=1), tiny_data)]
    long = [measured(e) for e in epochs(config(epochs=3), tiny_data)]
    assert long[:1] == short
    assert len(long) == 3


@pytest.mark.parametrize("norm", ["none", "batch"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_run_goes_on_from_a_checkpoint_to_the_same_bits(norm, precision, tiny_data):
    c = config(norm=norm, precision=precision, epochs=4)
    whole = [measured(e) for e in epochs(c, tiny_data)]
    for at in (1, 3):
        checkpoint = next(itertools.islice(fit(c, tiny_data), at - 1, None))
        assert len(checkpoint.epochs) == at
        assert [measured(e) for e in epochs(c, tiny_data, copy.deepcopy(checkpoint))] == whole


def test_finished_run_is_not_trained_on(tiny_data):
    *_, checkpoint = fit(config(epochs=2), tiny_data)
    assert list(fit(config(epochs=2), tiny_data, checkpoint)) == []
    assert list(fit(config(epochs=1), tiny_data, checkpoint)) == []


def test_order_depends_on_seed_and_epoch_alone():
    torch.manual_seed(0)
    first = epoch_order(3, 5, 100)
    torch.manual_seed(99)
    assert torch.equal(first, epoch_order(3, 5, 100))
    assert not torch.equal(first, epoch_order(3, 6, 100))
    assert not torch.equal(first, epoch_order(4, 5, 100))
    assert sorted(first.tolist()) == list(range(100))


def test_training_loss_is_the_mean_of_batch_losses(tiny_data, tensors):
    # Without steps (a rate too small to move a float32 weight) the batch losses can be taken from the first weights.
    c = config(norm="none", learning_rate=1e-30)
    model, _ = start(c)
    order = epoch_order(0, 1, 250).split(100)
    batches = [nn.functional.cross_entropy(model(tensors.train.images[i]), tensors.train.labels[i]) for i in order]
    assert [len(i) for i in order] == [100, 100, 50]
    assert epochs(c, tiny_data)[0].train_loss == pytest.approx(np.mean([b.item() for b in batches]), rel=1e-6)


def test_training_accuracy_counts_images_as_they_were_trained_on(tensors):
    c = config(norm="none", learning_rate=1e-30)
    model, optimizer = start(c)
    _, accuracy = train_epoch(make_step(model, optimizer, tensors.train, c), tensors.train, c, epoch=1)
    correct = (model(tensors.train.images).argmax(1) == tensors.train.labels).sum().item()
    assert accuracy == pytest.approx(correct / 250)


class Stub(nn.Module):
    """Logits that say class 0 with probability p, whatever the image, and the others alike."""

    def __init__(self, p: float):
        super().__init__()
        self.logits = torch.tensor([p] + [(1 - p) / 9] * 9).log()

    def forward(self, x):
        return self.logits.expand(len(x), 10)


class Corner(nn.Module):
    """Logits that say the class that stands in an image's first pixel."""

    def forward(self, x):
        return nn.functional.one_hot(x[:, 0, 0, 0].long(), 10).float()


def test_evaluate_weights_short_last_batch_by_size(monkeypatch):
    monkeypatch.setattr(loop, "EVALUATION_BATCH", 4)
    labels = torch.tensor([0, 0, 0, 0, 1])  # a batch of four that are right, then one that is wrong
    result = evaluate(Stub(0.5), torch.zeros(5, 1, 28, 28), labels)
    assert result.accuracy == pytest.approx(4 / 5)
    assert result.loss == pytest.approx((4 * math.log(2) + math.log(18)) / 5, rel=1e-6)


def test_fitted_loss_is_that_of_the_first_training_images_after_the_epoch(tiny_data, tensors, monkeypatch):
    monkeypatch.setattr(loop, "FITTED", 30)
    checkpoint = next(fit(config(epochs=1), tiny_data))
    model = models.build(config())
    model.load_state_dict(checkpoint.model)
    expected = evaluate(model, tensors.train.images[:30], tensors.train.labels[:30]).loss
    assert checkpoint.epochs[0].fitted_loss == pytest.approx(expected, rel=1e-6)
    assert checkpoint.epochs[0].fitted_loss != pytest.approx(checkpoint.epochs[0].train_loss, rel=0.01)


def test_evaluate_counts_the_classes_that_it_predicts(tensors):
    assert evaluate(Stub(0.5), tensors.test.images, tensors.test.labels).classes == 1
    marked = torch.zeros(7, 1, 28, 28)
    marked[:, 0, 0, 0] = torch.tensor([3, 1, 3, 3, 1, 9, 3])  # each image says its class
    assert evaluate(Corner(), marked, torch.zeros(7, dtype=torch.int64)).classes == 3


def test_evaluate_leaves_running_statistics_and_mode_unchanged(tensors):
    model, _ = start(config())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    evaluate(model, tensors.test.images, tensors.test.labels)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_evaluate_uses_running_statistics(tensors):
    model, _ = start(config())
    one = evaluate(model, tensors.test.images[:1], tensors.test.labels[:1])  # batch statistics of one image would be nil
    model.eval()
    expected = nn.functional.cross_entropy(model(tensors.test.images[:1]), tensors.test.labels[:1]).item()
    assert one.loss == pytest.approx(expected, rel=1e-5)


def test_evaluate_refuses_images_without_labels():
    with pytest.raises(ValueError, match="5 images but 4 labels"):
        evaluate(Stub(0.5), torch.zeros(5, 1, 28, 28), torch.zeros(4, dtype=torch.int64))


def test_diverged_run_is_recorded_and_ends(tiny_data):
    broken = tiny_data.train.images.copy()
    broken[0] = float("inf")
    data = Data("digits", Split(broken, tiny_data.train.labels), tiny_data.test, "")
    (checkpoint,) = fit(config(norm="none", epochs=5), data)
    (only,) = checkpoint.epochs
    assert checkpoint.is_finished(5)
    assert only.diverged
    assert only.epoch == 1
    assert all(math.isnan(value) for value in measured(only))


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_learning_rate_of_1000_is_no_crash(norm, tiny_data):
    history = epochs(config(norm=norm, learning_rate=1000.0, epochs=3), tiny_data)
    assert all(np.isfinite(measured(e)).all() != e.diverged for e in history)
    assert len(history) == 3 or history[-1].diverged


def test_bf16_trains_too_and_differs(tiny_data):
    bf16, fp32 = (epochs(config(precision=p), tiny_data)[0] for p in ("bf16", "fp32"))
    assert bf16.train_loss != fp32.train_loss
    assert bf16.train_loss == pytest.approx(fp32.train_loss, rel=0.05)


def test_fit_restores_the_number_of_threads(tiny_data):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        epochs(config(epochs=1), tiny_data)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_fit_refuses_another_data_set(tiny_data):
    with pytest.raises(ValueError, match="the run is on mnist, the data are digits"):
        next(fit(config(dataset="mnist"), tiny_data))


CHAIN = {"epochs": 2, "later_rates": (0.01, 0.005)}


def test_chain_begins_as_the_run_at_its_first_rate_and_goes_on_with_its_weights(tiny_data):
    chain = [measured(e) for e in epochs(config(**CHAIN), tiny_data)]
    alone = [measured(e) for e in epochs(config(epochs=2), tiny_data)]
    fresh = [measured(e) for e in epochs(config(learning_rate=0.01, epochs=2), tiny_data)]
    assert len(chain) == 6
    assert chain[:2] == alone
    assert chain[2][0] < fresh[0][0]  # trained weights lose less in their first epoch at a rate than new ones


def test_chain_has_a_new_optimizer_at_each_rate(tiny_data):
    checkpoints = fit(config(**CHAIN), tiny_data)
    states = [(c.optimizer["state"][0]["step"].item(), c.optimizer["param_groups"][0]["lr"]) for c in checkpoints]
    # three batches an epoch
    assert states == [(3, 0.001), (6, 0.001), (3, 0.01), (6, 0.01), (3, 0.005), (6, 0.005)]


def test_chain_has_another_order_in_each_epoch(tiny_data, monkeypatch):
    seen, real = [], loop.epoch_order
    monkeypatch.setattr(loop, "epoch_order", lambda seed, epoch, n: seen.append(epoch) or real(seed, epoch, n))
    list(fit(config(**CHAIN), tiny_data))
    assert seen == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_chain_goes_on_from_a_checkpoint_to_the_same_bits(at, tiny_data):
    c = config(**CHAIN)
    whole = [measured(e) for e in epochs(c, tiny_data)]
    checkpoint = copy.deepcopy(next(itertools.islice(fit(c, tiny_data), at - 1, None)))
    assert [measured(e) for e in epochs(c, tiny_data, checkpoint)] == whole


def test_diverged_chain_ends(tiny_data):
    (last,) = epochs(config(**CHAIN | {"epochs": 1, "learning_rate": 1e30}), tiny_data)
    assert last.diverged


ONEDNN = hardware.has_onednn(torch.device("cpu"))


def gradients(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
    """The gradient of each parameter, and the running statistics that the pass leaves."""
    nn.functional.cross_entropy(loop.forward(model, images, "fp32"), labels).backward()
    return {name: p.grad for name, p in model.named_parameters()} | dict(model.named_buffers())


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_memory_layout_changes_gradients_and_running_statistics_by_rounding_alone(norm):
    # Images of noise: in those of digits thousands of background pixels have one value, and where batch norm takes it to
    # nearly 0, rounding decides for all of them at once whether ReLU lets them through. Several small batches, and the median
    # of their largest errors: in a few of them two numbers to pool are so close that rounding decides which is the larger.
    largest = []
    for seed in range(5):
        noise = torch.Generator().manual_seed(seed)
        images, labels = torch.randn(10, 1, 28, 28, generator=noise), torch.randint(10, (10,), generator=noise)
        exact = gradients(models.build(config(norm=norm)).double(), images.double(), labels)
        found = gradients(models.build(config(norm=norm)), images, labels)
        errors = {name: (found[name] - value).abs().max().item() for name, value in exact.items()}
        for name in ("conv1.bias", "conv2.bias", "linear1.bias") if norm == "batch" else ():
            assert errors.pop(name) < 1e-5, name  # batch norm takes the mean away, so the gradient is 0
        largest.append(max(error / exact[name].abs().max().item() for name, error in errors.items()))
    assert np.median(largest) <= 2e-5, largest


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_both_arms_train_in_the_layout_of_onednn_where_there_is_one(norm, tensors):
    seen, model = [], models.build(config(norm=norm))
    model.pool1.register_forward_pre_hook(lambda layer, inputs: seen.append(inputs[0].is_mkldnn))
    for precision in ("fp32", "bf16"):
        loop.forward(model, tensors.train.images, precision)
    assert seen == [ONEDNN, False]


@pytest.mark.parametrize("norm", [lambda c: nn.GroupNorm(4, c), lambda c: nn.BatchNorm2d(c, affine=False)])
def test_norm_that_does_not_know_the_layout_is_trained_without_it(norm, tensors, monkeypatch):
    monkeypatch.setitem(LEVELS["norm"], "other", "another norm")
    monkeypatch.setitem(models.NORMS, "other", (norm, norm, None))
    model = models.build(config(norm="other"))
    expected = model(tensors.train.images)
    assert torch.equal(loop.forward(model, tensors.train.images, "fp32"), expected)


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_processor_without_onednn_trains_too(norm, tiny_data, monkeypatch):
    (usual, *_) = epochs(config(norm=norm, learning_rate=1e-5), tiny_data)
    monkeypatch.setattr(hardware, "has_onednn", lambda device: False)
    (without, *_) = epochs(config(norm=norm, learning_rate=1e-5), tiny_data)
    assert without.train_loss == pytest.approx(usual.train_loss, rel=1e-5)
    assert without.test_loss == pytest.approx(usual.test_loss, rel=1e-4)
