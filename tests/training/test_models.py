import pytest
import torch
from torch import nn

from bnlib.experiment.config import LEVELS, RunConfig
from bnlib.training import hardware, models
from bnlib.training.models import ConvNet, build, count_parameters

NORMS = list(models.NORMS)
PLACES = ("norm1", "norm2", "norm3")


def config(norm: str = "none", seed: int = 0, **fields) -> RunConfig:
    return RunConfig(dataset="digits", norm=norm, learning_rate=0.001, seed=seed, **fields)


def kinds(norm: str) -> dict[str, type]:
    return {name: type(layer) for name, layer in ConvNet(norm).named_children() if name in PLACES}


@pytest.mark.parametrize(
    ("norm", "expected"),
    [
        ("none", 421_642),
        ("batch", 422_090),
        ("group", 422_090),  # a factor and a shift for each of 32, 64 and 128 channels, as with batch norm
        ("layer", 422_090),
        ("batch@1", 421_642 + 2 * 32),
        ("batch@2", 421_642 + 2 * 64),
        ("batch@3", 421_642 + 2 * 128),
    ],
)
def test_arm_has_exactly_the_parameters_of_the_original(norm, expected):
    assert count_parameters(ConvNet(norm)) == expected


def test_state_dict_follows_the_order_of_the_original():
    layers = list(dict.fromkeys(name.partition(".")[0] for name in ConvNet("batch").state_dict()))
    assert layers == ["conv1", "norm1", "conv2", "norm2", "linear1", "norm3", "linear2"]


@pytest.mark.parametrize("norm", NORMS)
def test_arms_share_initial_weights_bit_for_bit(norm):
    none, other = build(config("none", 3)).state_dict(), build(config(norm, 3)).state_dict()
    assert len(none) == 8
    for name, weights in none.items():
        assert torch.equal(weights, other[name]), name


@pytest.mark.parametrize("norm", NORMS)
def test_arms_differ_only_in_their_norm(norm):
    def others(norm):
        return [(name, type(layer)) for name, layer in ConvNet(norm).named_children() if name not in PLACES]

    assert others(norm) == others("none")


@pytest.mark.parametrize(
    ("norm", "expected"),
    [
        ("none", {}),
        ("batch", {"norm1": nn.BatchNorm2d, "norm2": nn.BatchNorm2d, "norm3": nn.BatchNorm1d}),
        ("group", {"norm1": nn.GroupNorm, "norm2": nn.GroupNorm, "norm3": nn.LayerNorm}),
        ("layer", {"norm1": nn.GroupNorm, "norm2": nn.GroupNorm, "norm3": nn.LayerNorm}),
        ("batch@1", {"norm1": nn.BatchNorm2d}),
        ("batch@2", {"norm2": nn.BatchNorm2d}),
        ("batch@3", {"norm3": nn.BatchNorm1d}),
    ],
)
def test_norm_stands_at_its_places(norm, expected):
    assert kinds(norm) == expected
    names = [name for name, _ in ConvNet(norm).named_children()]
    before = {"norm1": "conv1", "norm2": "conv2", "norm3": "linear1"}
    assert all(names[names.index(place) - 1] == before[place] for place in expected)


@pytest.mark.parametrize(("norm", "groups"), [("group", (4, 8)), ("layer", (1, 1))])
def test_groups_are_of_eight_channels_or_of_all(norm, groups):
    model = ConvNet(norm)
    assert (model.norm1.num_groups, model.norm2.num_groups) == groups


@pytest.mark.parametrize("norm", ["group", "layer"])
def test_norms_other_than_batch_norm_see_one_image_at_a_time(norm):
    model = build(config(norm))
    images = torch.randn(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(model(images)[:1], model(images[:1]), atol=1e-5)
    with_batch = build(config("batch"))
    assert not torch.allclose(with_batch(images)[:1], with_batch(images[:2])[:1], atol=1e-5)


@pytest.mark.parametrize(("activation", "kind"), [("relu", nn.ReLU), ("leaky_relu", nn.LeakyReLU)])
def test_activation_is_the_same_at_all_three_places(activation, kind):
    model = build(config("batch", activation=activation))
    assert {type(getattr(model, f"relu{place}")) for place in (1, 2, 3)} == {kind}


def test_leaky_relu_lets_a_hundredth_through():
    layer = build(config(activation="leaky_relu")).relu1
    assert layer(torch.tensor([-2.0, 3.0])).tolist() == pytest.approx([-0.02, 3.0])


def test_seeds_give_different_weights():
    assert not torch.equal(build(config(seed=0)).conv1.weight, build(config(seed=1)).conv1.weight)


def test_build_leaves_the_global_random_state_alone():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    build(config("batch", seed=5))
    assert torch.equal(torch.rand(3), expected)


def test_unknown_norm_lists_the_known_ones():
    with pytest.raises(ValueError, match="unknown norm 'instance'; known: none, batch, group, layer"):
        ConvNet("instance")


def test_another_norm_is_one_entry_in_the_table(monkeypatch):
    monkeypatch.setitem(LEVELS["norm"], "fours", "norm of fours")
    monkeypatch.setitem(models.NORMS, "fours", lambda channels: nn.GroupNorm(4, channels))
    model = build(config("fours"))
    assert {type(getattr(model, place)) for place in PLACES} == {nn.GroupNorm}
    assert torch.equal(model.linear2.weight, build(config()).linear2.weight)


def test_another_network_gets_what_it_has_parameters_for(monkeypatch):
    def flat(activation):
        return nn.Sequential(nn.Flatten(), nn.Linear(784, 10), models.ACTIVATIONS[activation]())

    monkeypatch.setitem(LEVELS["network"], "flat", "one layer")
    monkeypatch.setitem(models.NETWORKS, "flat", flat)
    model = build(config("batch", network="flat", activation="leaky_relu"))
    assert [type(layer) for layer in model] == [nn.Flatten, nn.Linear, nn.LeakyReLU]
    assert not models.takes_onednn(model)


@pytest.mark.parametrize("norm", NORMS)
def test_layout_of_onednn_is_for_layers_that_know_it(norm):
    assert models.takes_onednn(build(config(norm))) == (norm in ("none", "batch", "batch@1", "batch@2", "batch@3"))
    assert not models.takes_onednn(build(config(norm, activation="leaky_relu")))


@pytest.mark.parametrize("activation", models.ACTIVATIONS)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("layout", [torch.Tensor.contiguous, torch.Tensor.to_mkldnn], ids=["dense", "onednn"])
def test_pooling_before_the_activation_gives_the_same_bits_as_after(layout, norm, activation):
    model = build(config(norm, activation=activation))
    if layout is torch.Tensor.to_mkldnn and not (hardware.has_onednn(torch.device("cpu")) and models.takes_onednn(model)):
        pytest.skip("no oneDNN for this processor or network")
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
    assert sum(row[3] for row in models.layer_table(config("batch"))) == 422_090
    assert models.layer_table(config())[-1] == ("linear2", "Linear", (10,), 1290)


def test_operations_are_those_of_convolutions_and_matrix_products():
    # Multiply and add for each weight of each output; backward twice that, but for the first layer's input.
    conv1 = 2 * 28 * 28 * 32 * 9
    conv2 = 2 * 14 * 14 * 64 * 9 * 32
    linear = 2 * (3136 * 128 + 128 * 10)
    for norm in NORMS:
        assert models.count_operations(config(norm)) == 2 * conv1 + 3 * (conv2 + linear)
