import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnlib import UserError
from bnlib.experiment.config import LEVELS, rate_name
from bnlib.experiment.settings import Settings, read, worker_count


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("LEARNING_RATES", "banana", "'banana' is not a learning rate: a finite number above 0"),
        ("LEARNING_RATES", "0.1 -1", "'-1' is not a learning rate"),
        ("LEARNING_RATES", "nan", "'nan' is not a learning rate"),
        ("LEARNING_RATES", "0", "'0' is not a learning rate"),
        ("LEARNING_RATES", "inf", "'inf' is not a learning rate"),
        ("LEARNING_RATES", "", "names no learning rate"),
        ("ARMS", "none", "names two to six norms, each once"),
        ("ARMS", "", "names two to six norms, each once"),
        ("ARMS", "batch none batch", "names two to six norms, each once"),
        ("ARMS", " ".join(LEVELS["norm"]), "names two to six norms, each once"),
        ("ARMS", "none bach", "'bach' is no norm; known: none, batch, group, layer"),
        ("LEARNING_RATES", "1e-320", "'1e-320' is not a learning rate: a finite number above 0, from 1e-12"),
        ("EPOCHS", "0", "greater than or equal to 1"),
        ("EPOCHS", "1e-3", "valid integer"),
        ("SEEDS", "0", "greater than or equal to 1"),
        ("SEEDS", "x", "valid integer"),
        ("DATASET", "foo", "'mnist', 'fashion_mnist', 'digits' or 'auto'"),
        ("PRECISION", "fp7", "'fp32' or 'bf16'"),
        ("DEVICE", "tpu", "'cpu', 'cuda', 'mps' or 'auto'"),
    ],
)
def test_wrong_value_is_one_line_that_names_variable_and_value(variable, value, reason):
    with pytest.raises(UserError) as error:
        read({variable: value})
    assert str(error.value).startswith(f'{variable}="{value}": ')
    assert reason in str(error.value)
    assert "\n" not in str(error.value)


def test_each_rate_counts_once_however_it_is_written():
    assert read({"LEARNING_RATES": "0.01 0.001 1e-3, 1e-2"}).learning_rates == (0.001, 0.01)


def test_arms_keep_their_order_since_the_first_is_the_reference():
    assert read({"ARMS": "layer, none  group"}).arms == ("layer", "none", "group")


def test_absent_variables_keep_their_defaults():
    assert read({}) == Settings()


def test_what_is_not_set_is_as_in_the_report_that_stands_there():
    standing = {"learning_rates": (0.002,), "seeds": 8, "arms": ("none", "layer"), "epochs": 4}
    found = read({"EPOCHS": "7", "ARMS": "none batch"}, standing=standing)
    assert (found.learning_rates, found.seeds) == ((0.002,), 8)  # as it stands
    assert (found.epochs, found.arms) == (7, ("none", "batch"))  # as it is set
    assert found.range_rates == Settings().range_rates  # as neither says
    assert read({}, standing=standing) == Settings(**standing)


def test_what_stands_there_is_checked_too():
    with pytest.raises(UserError, match=r'SEEDS="0": .*greater than or equal to 1'):
        read({}, standing={"seeds": 0})
    assert read({"SEEDS": "2"}, standing={"seeds": 0}).seeds == 2


@given(st.lists(st.floats(min_value=1e-9, max_value=1e9), min_size=1))
def test_rates_survive_being_written(rates):
    assert read({"LEARNING_RATES": " ".join(map(rate_name, rates))}).learning_rates == tuple(sorted(set(rates)))


@pytest.mark.parametrize("text", ["0", "-1", "x", "1.5", "", "٣", "9" * 5000])
def test_wrong_workers_is_one_line(text, monkeypatch):
    monkeypatch.setenv("WORKERS", text)
    with pytest.raises(UserError, match=f'WORKERS="{text}": should be a whole number from 1 on'):
        worker_count()


def test_workers_default_to_the_cores(monkeypatch):
    assert worker_count() >= 1
    assert worker_count("cuda") == 1  # many runs train at once in it
    assert worker_count("mps") == 1
    monkeypatch.setenv("WORKERS", "7")
    assert worker_count() == worker_count("cuda") == 7
