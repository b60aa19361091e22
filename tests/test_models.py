import pytest
import torch
from torch import nn

from bnlib import models, training
from bnlib.models import ConvNet, build, count_parameters


@pytest.mark.parametrize(("norm", "expected"), [("none", 421_642), ("batch", 422_090)])
def test_arm_has_exactly_the_parameters_of_the_original(norm, expected):
    assert count_parameters(ConvNet(norm)) == expected


def test_state_dict_follows_the_order_of_the_original():
    layers = list(dict.fromkeys(name.partition(".")[0] for name in ConvNet("batch").state_dict()))
    assert layers == ["conv1", "norm1", "conv2", "norm2", "linear1", "norm3", "linear2"]


def test_arms_share_initial_weights_bit_for_bit():
    none, batch = build("none", seed=3).state_dict(), build("batch", seed=3).state_dict()
    assert len(none) == 8
    for name, weights in none.items():
        assert torch.equal(weights, batch[name]), name


def test_arms_differ_only_in_batch_norm():
    only_batch = {name for name, _ in ConvNet("batch").named_children()} - {n for n, _ in ConvNet("none").named_children()}
    assert only_batch == {"norm1", "norm2", "norm3"}
    kinds = {name: type(layer) for name, layer in ConvNet("batch").named_children() if name.startswith("norm")}
    assert kinds == {"norm1": nn.BatchNorm2d, "norm2": nn.BatchNorm2d, "norm3": nn.BatchNorm1d}


def test_seeds_give_different_weights():
    assert not torch.equal(build("none", 0).conv1.weight, build("none", 1).conv1.weight)


def test_build_leaves_the_global_random_state_alone():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    build("batch", seed=5)
    assert torch.equal(torch.rand(3), expected)


def test_unknown_norm_lists_the_known_ones():
    with pytest.raises(ValueError, match="unknown norm 'layer'; known: none, batch"):
        ConvNet("layer")


def test_another_norm_is_one_entry_in_the_table(monkeypatch):
    monkeypatch.setitem(models.NORMS, "group", (lambda n: nn.GroupNorm(4, n), lambda n: nn.GroupNorm(4, n)))
    model = build("group", seed=0)
    assert isinstance(model.norm1, nn.GroupNorm)
    assert torch.equal(model.linear2.weight, build("none", seed=0).linear2.weight)


@pytest.mark.parametrize("norm", models.NORMS)
@pytest.mark.parametrize("layout", [torch.Tensor.contiguous, torch.Tensor.to_mkldnn], ids=["dense", "onednn"])
def test_pooling_before_relu_gives_the_same_bits_as_after(layout, norm):
    if layout is torch.Tensor.to_mkldnn and not training.has_onednn(torch.device("cpu")):
        pytest.skip("no oneDNN for this processor")
    model = build(norm, seed=0)
    swapped = {"pool1": "relu1", "relu1": "pool1", "pool2": "relu2", "relu2": "pool2"}
    original = nn.Sequential(*(getattr(model, swapped.get(name, name)) for name, _ in model.named_children()))
    x = torch.randn(20, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    y = torch.arange(20) % 10
    losses, gradients = [], []
    for network in (model, original):
        model.zero_grad()
        loss = nn.functional.cross_entropy(network(layout(x)), y)
        loss.backward()
        losses.append(loss.detach())
        gradients.append([parameter.grad.clone() for parameter in model.parameters()])
    assert torch.equal(*losses)
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_layer_table_counts_add_up():
    assert sum(row[3] for row in models.layer_table("batch")) == 422_090
    assert models.layer_table("none")[-1] == ("linear2", "Linear", (10,), 1290)
