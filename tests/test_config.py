import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from bnlib.config import RunConfig, rate_name

GOOD = {"dataset": "mnist", "norm": "batch", "learning_rate": 0.001, "seed": 0}


def test_defaults_are_the_original_s():
    config = RunConfig(**GOOD)
    assert (config.epochs, config.batch_size, config.precision, config.device) == (10, 100, "fp32", "cpu")


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
        ("norm", "layer"),
    ],
)
def test_value_out_of_range_is_refused(field, value):
    with pytest.raises(ValidationError) as error:
        RunConfig(**GOOD | {field: value})
    assert error.value.errors()[0]["loc"][0] == field


def test_unknown_field_is_refused():
    with pytest.raises(ValidationError, match="learnin_rate"):
        RunConfig(**GOOD, learnin_rate=0.1)


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
