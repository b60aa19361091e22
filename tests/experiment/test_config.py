import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from bnlib.experiment.config import CHAIN, CLASSES, DATASETS, FACTORS, LEVELS, RunConfig, place, rate_name

GOOD = {"dataset": "mnist", "norm": "batch", "learning_rate": 0.001, "seed": 0}


def test_defaults_are_the_original_s():
    config = RunConfig(dataset="mnist", learning_rate=0.001, seed=0)
    assert (config.epochs, config.batch_size, config.precision, config.device) == (10, 100, "fp32", "cpu")
    assert (config.network, config.norm, config.activation) == ("convnet", "none", "relu")
    assert (config.optimizer, config.warmup, config.later_rates) == ("adam", 0, ())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("learning_rate", 0),
        ("learning_rate", -1.0),
        ("learning_rate", float("nan")),
        ("learning_rate", float("inf")),
        ("learning_rate", "0.1"),
        ("learning_rate", True),
        ("seed", -1),
        ("seed", 1.5),
        ("epochs", 0),
        ("batch_size", 1),
        ("precision", "fp7"),
        ("device", "auto"),
        ("dataset", "auto"),
        ("norm", "no-such"),
        ("network", "resnet"),
        ("activation", "tanh"),
        ("optimizer", "lion"),
        ("warmup", -1),
    ],
)
def test_value_out_of_range_is_refused(field, value):
    with pytest.raises(ValidationError) as error:
        RunConfig(**GOOD | {field: value})
    assert error.value.errors()[0]["loc"][0] == field


def test_unknown_field_is_refused():
    with pytest.raises(ValidationError, match="learnin_rate"):
        RunConfig(**GOOD, learnin_rate=0.1)


def test_unknown_level_lists_the_known_ones():
    with pytest.raises(ValidationError, match="'tanh' is no activation; known: relu, leaky_relu"):
        RunConfig(**GOOD, activation="tanh")


def test_every_factor_is_a_field_and_every_named_level_one_that_it_takes():
    assert set(FACTORS) <= set(RunConfig.model_fields)
    for factor, levels in LEVELS.items():
        for level in levels:
            assert getattr(RunConfig(**GOOD | {factor: level}), factor) == level


def test_every_data_set_has_ten_classes_with_names():
    assert {name: len(set(CLASSES[name])) for name in DATASETS} == dict.fromkeys(DATASETS, 10)


def test_configuration_is_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        RunConfig(**GOOD).seed = 1


@given(st.floats(min_value=1e-12, max_value=1e12))
def test_rate_name_is_exact_and_has_no_exponent(rate):
    name = rate_name(rate)
    assert float(name) == rate
    assert "e" not in name


def test_rate_name_is_as_people_write_it():
    assert [rate_name(r) for r in (0.001, 1e-5, 1000.0, 0.5)] == ["0.001", "0.00001", "1000", "0.5"]


@given(st.floats(), st.integers())
def test_every_configuration_is_in_range_or_refused(rate, seed):
    try:
        config = RunConfig(**GOOD | {"learning_rate": rate, "seed": seed})
    except ValidationError:
        assert not (0 < rate < float("inf") and 0 <= seed < 2**32)
    else:
        assert 0 < config.learning_rate < float("inf")
        assert 0 <= config.seed < 2**32


def test_chain_has_its_epochs_at_each_rate():
    chain = RunConfig(**GOOD, epochs=3, later_rates=(0.01, 0.005))
    assert chain.all_epochs == 9
    assert chain.first_rate == RunConfig(**GOOD, epochs=3)


def test_chain_counts_epochs_anew_at_each_rate():
    chain = RunConfig(**GOOD | {"learning_rate": CHAIN[0]}, epochs=2, later_rates=CHAIN[1:])
    expected = [(0.001, 1), (0.001, 2), (0.01, 1), (0.01, 2), (0.005, 1), (0.005, 2)]
    assert [place(chain, epoch) for epoch in range(1, 7)] == expected


def test_fields_at_their_defaults_do_not_count():
    assert RunConfig(**GOOD).changed == GOOD
    assert RunConfig(**GOOD, optimizer="adam", warmup=0, batch_size=100).changed == GOOD
    assert RunConfig(**GOOD, warmup=5).changed == GOOD | {"warmup": 5}
    assert RunConfig(**GOOD | {"norm": "none"}).changed == {name: GOOD[name] for name in GOOD if name != "norm"}


def test_longer_run_is_the_same_but_a_chain_s_epochs_count():
    assert RunConfig(**GOOD, epochs=3).changed == RunConfig(**GOOD, epochs=10).changed
    three, ten = (RunConfig(**GOOD, epochs=epochs, later_rates=(0.01,)).changed for epochs in (3, 10))
    assert three == GOOD | {"later_rates": [0.01], "epochs": 3}
    assert three != ten


def test_run_is_of_the_arm_that_its_norm_and_other_factors_make():
    shared = {"dataset": "mnist", "seed": 3, "learning_rate": 0.01}
    assert RunConfig(**shared).arm == "none"
    assert RunConfig(**shared, norm="batch", probed=True, epochs=2).arm == "batch"
    assert RunConfig(**shared, warmup=600, activation="leaky_relu").arm == "none, leaky_relu, warmup 600"
