import json

import pytest

from bnlib import paths, store
from bnlib.config import RunConfig
from bnlib.training import Epoch

CONFIG = RunConfig(dataset="digits", norm="none", learning_rate=0.001, seed=0, epochs=2)
EPOCHS = [Epoch(1, 0.5, 0.9, 0.4, 0.91, 1.25), Epoch(2, float("nan"), float("nan"), float("nan"), float("nan"), 1.0)]


def same(a: list[Epoch], b: list[Epoch]) -> bool:
    return repr(a) == repr(b)  # NaN is not equal to itself


def test_stored_run_comes_back_exactly_nan_included():
    assert store.get(CONFIG, "data") is None
    store.put(CONFIG, "data", EPOCHS)
    assert same(store.get(CONFIG, "data"), EPOCHS)


@pytest.mark.parametrize(
    "field", [{"seed": 1}, {"learning_rate": 0.002}, {"norm": "batch"}, {"epochs": 3}, {"precision": "bf16"}]
)
def test_another_configuration_is_another_entry(field):
    store.put(CONFIG, "data", EPOCHS)
    assert store.get(CONFIG.model_copy(update=field), "data") is None


def test_other_data_are_another_entry():
    store.put(CONFIG, "data", EPOCHS)
    assert store.get(CONFIG, "other data") is None


@pytest.mark.parametrize("part", ["source", "torch", "instruction_set", "accelerator", "threads"])
def test_another_environment_is_another_entry(part, monkeypatch):
    store.put(CONFIG, "data", EPOCHS)
    other = store.environment() | {part: "other"}
    monkeypatch.setattr(store, "environment", lambda: other)
    assert store.get(CONFIG, "data") is None


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"epochs": [], "sha256": ""}'])
def test_damaged_entry_is_thrown_away(damage):
    store.put(CONFIG, "data", EPOCHS)
    (path,) = paths.store().glob("*.json")
    path.write_text(damage)
    assert store.get(CONFIG, "data") is None
    assert not path.exists()


def test_changed_digit_is_noticed():
    store.put(CONFIG, "data", EPOCHS)
    (path,) = paths.store().glob("*.json")
    path.write_text(path.read_text().replace("0.91", "0.99"))
    assert store.get(CONFIG, "data") is None


def test_entry_says_what_it_is():
    store.put(CONFIG, "data", EPOCHS)
    (path,) = paths.store().glob("*.json")
    assert json.loads(path.read_text())["config"]["norm"] == "none"


def test_comments_and_docstrings_do_not_change_the_source():
    plain = "def f(x):\n    return x + 1\n"
    dressed = '"""Module."""\n# why\ndef f(x):\n    """Adds one."""\n    return (x + 1)\n'
    assert store._code(plain) == store._code(dressed)
    assert store._code(plain) != store._code(plain.replace("1", "2"))
