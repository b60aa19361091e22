import hashlib
import pickle

import pytest
import torch

from bnlib import files, paths, store
from bnlib.config import RunConfig
from bnlib.training import Checkpoint, Epoch, start

CONFIG = RunConfig(dataset="digits", norm="batch", learning_rate=0.001, seed=0, epochs=2)
NAN = float("nan")


@pytest.fixture
def checkpoint():
    model, optimizer = start(CONFIG)
    model(torch.zeros(2, 1, 28, 28)).sum().backward()
    optimizer.step()
    return Checkpoint(
        (Epoch(1, 0.5, 0.9, 0.4, 0.91, 1.25), Epoch(2, NAN, NAN, NAN, NAN, 1.0)), model.state_dict(), optimizer.state_dict()
    )


@pytest.fixture
def entry(checkpoint):
    """The file of a stored checkpoint."""
    store.put(CONFIG, "data", checkpoint)
    (path,) = paths.store().iterdir()
    return path


def flat(state, name="") -> dict:
    """A nested state as a dictionary of tensors and plain values."""
    if isinstance(state, dict | list | tuple):
        items = state.items() if isinstance(state, dict) else enumerate(state)
        return {key: value for k, v in items for key, value in flat(v, f"{name}/{k}").items()}
    return {name: state}


def test_stored_run_comes_back_exactly_nan_included(checkpoint):
    assert store.get(CONFIG, "data") is None
    store.put(CONFIG, "data", checkpoint)
    back = store.get(CONFIG, "data")
    assert repr(back.epochs) == repr(checkpoint.epochs)  # NaN is not equal to itself
    for before, after in ((checkpoint.model, back.model), (checkpoint.optimizer, back.optimizer)):
        a, b = flat(before), flat(after)
        assert a.keys() == b.keys()
        assert all(torch.equal(a[k], b[k]) if isinstance(a[k], torch.Tensor) else a[k] == b[k] for k in a)


@pytest.mark.parametrize(
    "field", [{"seed": 1}, {"learning_rate": 0.002}, {"norm": "none"}, {"batch_size": 50}, {"precision": "bf16"}]
)
def test_another_configuration_is_another_entry(field, entry):
    assert store.get(CONFIG.model_copy(update=field), "data") is None


def test_more_epochs_are_the_same_entry(entry):
    assert len(store.get(CONFIG.model_copy(update={"epochs": 12}), "data").epochs) == 2


def test_other_data_are_another_entry(entry):
    assert store.get(CONFIG, "other data") is None


@pytest.mark.parametrize("part", store.environment("cpu"))
def test_another_environment_is_another_entry(part, entry, monkeypatch):
    other = store.environment("cpu") | {part: "other"}
    monkeypatch.setattr(store, "environment", lambda device: other)
    assert store.get(CONFIG, "data") is None


@pytest.mark.parametrize("switch", ["ONEDNN_MAX_CPU_ISA", "DNNL_DEFAULT_FPMATH_MODE", "MKL_CBWR"])
def test_switched_arithmetic_is_another_entry(switch, entry, monkeypatch):
    monkeypatch.setenv(switch, "AVX2")
    assert store.get(CONFIG, "data") is None


@pytest.mark.parametrize(
    "damage", [b"", b"{", bytes(1000), hashlib.sha256(b"").digest(), hashlib.sha256(b"junk").digest() + b"junk"]
)
def test_damaged_entry_is_thrown_away(damage, entry):
    entry.write_bytes(damage)
    assert store.get(CONFIG, "data") is None
    assert not entry.exists()


def test_any_changed_byte_is_noticed(entry):
    whole = entry.read_bytes()
    for place in range(0, len(whole), len(whole) // 50):
        entry.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert store.get(CONFIG, "data") is None


def test_nothing_in_an_entry_is_executed(entry, tmp_path):
    class Trap:
        def __reduce__(self):
            return open, (str(tmp_path / "sprung"), "w")

    for content in (pickle.dumps(Trap()), _saved({"epochs": Trap()})):
        entry.write_bytes(hashlib.sha256(content).digest() + content)
        assert store.get(CONFIG, "data") is None
        assert not (tmp_path / "sprung").exists()


def _saved(state) -> bytes:
    import io

    stream = io.BytesIO()
    torch.save(state, stream)
    return stream.getvalue()


def test_entry_that_cannot_be_written_leaves_the_one_before(entry, checkpoint, monkeypatch):
    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    before = entry.read_bytes()
    with pytest.raises(OSError, match="No space left on device"):
        store.put(CONFIG, "data", Checkpoint(checkpoint.epochs * 2, checkpoint.model, checkpoint.optimizer))
    assert [path.read_bytes() for path in paths.store().iterdir()] == [before]


def test_entry_with_more_epochs_stays(entry, checkpoint):
    before = entry.read_bytes()
    store.put(CONFIG, "data", Checkpoint(checkpoint.epochs[:1], checkpoint.model, checkpoint.optimizer))
    assert entry.read_bytes() == before


def test_entry_that_does_not_fit_into_memory_is_not_thrown_away(entry, monkeypatch):
    def small(*arguments, **options):
        raise MemoryError

    monkeypatch.setattr(torch, "load", small)
    with pytest.raises(MemoryError):
        store.get(CONFIG, "data")
    assert entry.exists()


def test_damaged_entry_of_a_store_that_cannot_be_written_is_passed_over(entry, monkeypatch):
    def refused(path, missing_ok=False):
        raise OSError(30, "Read-only file system")

    entry.write_bytes(b"damaged")
    monkeypatch.setattr(files.Path, "unlink", refused)
    assert store.get(CONFIG, "data") is None


def test_comments_and_docstrings_do_not_change_the_source():
    plain = "def f(x):\n    return x + 1\n"
    dressed = '"""Module."""\n# why\ndef f(x):\n    """Adds one."""\n\n    return x + 1  # more\n'
    assert store._code(plain) == store._code(dressed)
    assert store._code(plain) != store._code(plain.replace("1", "2"))


def test_chain_begins_with_the_stored_run_at_its_first_rate(entry):
    chain = CONFIG.model_copy(update={"later_rates": (0.01,)})
    assert len(store.get(chain, "data").epochs) == 2
    longer = CONFIG.model_copy(update={"later_rates": (0.01,), "epochs": 3})
    assert len(store.get(longer, "data").epochs) == 2
    shorter = CONFIG.model_copy(update={"later_rates": (0.01,), "epochs": 1})
    assert store.get(shorter, "data") is None  # the stored weights are those after two epochs


def test_chains_that_change_rate_elsewhere_are_other_entries():
    chain = CONFIG.model_copy(update={"later_rates": (0.01,)})
    others = [chain.model_copy(update=update) for update in ({"epochs": 3}, {"later_rates": (0.02,)}, {"later_rates": ()})]
    assert len({store.key(config, "data") for config in (chain, *others)}) == 4
