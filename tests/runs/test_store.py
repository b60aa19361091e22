import hashlib
import os
import pickle
import time

import pytest
import torch

from bnlib.experiment.config import RunConfig
from bnlib.experiment.records import Epoch
from bnlib.runs import environment, store
from bnlib.runs.store import Recipe
from bnlib.system import files, paths
from bnlib.training.loop import Checkpoint, start

CONFIG = RunConfig(dataset="digits", norm="batch", learning_rate=0.001, seed=0, epochs=2)
NAN = float("nan")


def recipe(config: RunConfig = CONFIG, data: str = "data") -> Recipe:
    return store.recipes([config], data)[0]


def changed(**fields) -> Recipe:
    return recipe(CONFIG.model_copy(update=fields))


@pytest.fixture
def checkpoint():
    model, optimizer = start(CONFIG)
    model(torch.zeros(2, 1, 28, 28)).sum().backward()
    optimizer.step()
    return Checkpoint(
        (Epoch(1, 0.5, 0.9, 0.4, 0.91, 10, 1.25), Epoch(2, NAN, NAN, NAN, NAN, NAN, 1.0)),
        model.state_dict(),
        optimizer.state_dict(),
    )


@pytest.fixture
def entry(checkpoint):
    """The file of a stored checkpoint."""
    store.put(recipe(), checkpoint)
    (path,) = paths.store().glob("*.pt")
    return path


def flat(state, name="") -> dict:
    """A nested state as a dictionary of tensors and plain values."""
    if isinstance(state, dict | list | tuple):
        items = state.items() if isinstance(state, dict) else enumerate(state)
        return {key: value for k, v in items for key, value in flat(v, f"{name}/{k}").items()}
    return {name: state}


def test_stored_run_comes_back_exactly_nan_included(checkpoint):
    assert store.get(recipe()) is None
    store.put(recipe(), checkpoint)
    back = store.get(recipe())
    assert repr(back.epochs) == repr(checkpoint.epochs)  # NaN is not equal to itself
    for before, after in ((checkpoint.model, back.model), (checkpoint.optimizer, back.optimizer)):
        a, b = flat(before), flat(after)
        assert a.keys() == b.keys()
        assert all(torch.equal(a[k], b[k]) if isinstance(a[k], torch.Tensor) else a[k] == b[k] for k in a)


@pytest.mark.parametrize(
    "field",
    [
        {"seed": 1},
        {"learning_rate": 0.002},
        {"norm": "none"},
        {"activation": "leaky_relu"},
        {"optimizer": "sgd"},
        {"warmup": 10},
        {"batch_size": 50},
        {"precision": "bf16"},
    ],
)
def test_another_configuration_is_another_entry(field, entry):
    assert store.get(changed(**field)) is None


def test_more_epochs_are_the_same_entry(entry):
    assert len(store.get(changed(epochs=12)).epochs) == 2


def test_other_data_are_another_entry(entry):
    assert store.get(recipe(data="other data")) is None


@pytest.mark.parametrize("part", environment.machine())
def test_another_machine_is_another_entry(part, entry, monkeypatch):
    other = environment.machine() | {part: "other"}
    monkeypatch.setattr(environment, "machine", lambda device: other)
    assert store.get(recipe()) is None


@pytest.mark.parametrize("switch", ["ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "DNNL_DEFAULT_FPMATH_MODE", "MKL_CBWR"])
def test_switched_arithmetic_is_another_entry(switch, entry, monkeypatch):
    monkeypatch.setenv(switch, "AVX2")
    assert store.get(recipe()) is None


@pytest.mark.parametrize(
    "damage", [b"", b"{", bytes(1000), hashlib.sha256(b"").digest(), hashlib.sha256(b"junk").digest() + b"junk"]
)
def test_damaged_entry_is_thrown_away(damage, entry):
    entry.write_bytes(damage)
    assert store.get(recipe()) is None
    assert not entry.exists()


@pytest.mark.slow
def test_any_changed_byte_is_noticed(entry):
    whole = entry.read_bytes()
    for place in range(0, len(whole), len(whole) // 50):
        entry.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert store.get(recipe()) is None


def test_nothing_in_an_entry_is_executed(entry, tmp_path):
    class Trap:
        def __reduce__(self):
            return open, (str(tmp_path / "sprung"), "w")

    for content in (pickle.dumps(Trap()), _saved({"epochs": Trap()})):
        entry.write_bytes(hashlib.sha256(content).digest() + content)
        assert store.get(recipe()) is None
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
        store.put(recipe(), Checkpoint(checkpoint.epochs * 2, checkpoint.model, checkpoint.optimizer))
    assert [path.read_bytes() for path in paths.store().glob("*.pt")] == [before]


def test_entry_with_more_epochs_stays(entry, checkpoint):
    before = entry.read_bytes()
    store.put(recipe(), Checkpoint(checkpoint.epochs[:1], checkpoint.model, checkpoint.optimizer))
    assert entry.read_bytes() == before


def test_entry_that_does_not_fit_into_memory_is_not_thrown_away(entry, monkeypatch):
    for error in (MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")):

        def small(*arguments, error=error, **options):
            raise error

        monkeypatch.setattr(torch, "load", small)
        with pytest.raises(MemoryError):
            store.get(recipe())
        assert entry.exists()


def test_damaged_entry_of_a_store_that_cannot_be_written_is_passed_over(entry, monkeypatch):
    def refused(path, missing_ok=False):
        raise OSError(30, "Read-only file system")

    entry.write_bytes(b"damaged")
    monkeypatch.setattr(files.Path, "unlink", refused)
    assert store.get(recipe()) is None


def entry_of(epochs: tuple[Epoch, ...], checkpoint: Checkpoint, name: str) -> bytes:
    return store.packed(Checkpoint(epochs, checkpoint.model, checkpoint.optimizer), name)


def test_entry_under_another_run_s_name_is_refused(entry, checkpoint):
    other = changed(seed=1)
    entry.rename(entry.with_name(f"{other.name}.pt"))
    assert store.get(other) is None
    assert store.get(recipe()) is None


def test_run_has_the_day_on_which_it_was_stored_and_keeps_it_under_another_name(entry):
    os.utime(entry, (0, 86_400 * 365))
    assert store.date(recipe()) == "1971-01-01"
    assert store.rename(recipe().name, changed(norm="none"))
    assert store.date(changed(norm="none")) == "1971-01-01"
    assert store.date(changed(norm="group")) == time.strftime("%Y-%m-%d", time.gmtime())  # it was done elsewhere


def test_swapped_entries_are_refused_and_not_lost(entry, checkpoint):
    other = changed(norm="none")
    mine, its = entry, entry.with_name(f"{other.name}.pt")
    swapped = entry_of(checkpoint.epochs, checkpoint, other.name), mine.read_bytes()
    for path, content in zip((mine, its), swapped, strict=True):
        path.write_bytes(content)
    assert store.get(recipe()) is None
    assert store.get(other) is None
    for path, content in zip((its, mine), swapped, strict=True):
        path.write_bytes(content)
    assert store.get(recipe())
    assert store.get(other)


def test_entry_that_cannot_be_read_just_now_is_not_thrown_away(entry, monkeypatch):
    def refused(path):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(files.Path, "read_bytes", refused)
    assert store.get(recipe()) is None
    assert entry.exists()


def test_entry_without_epochs_or_with_a_gap_is_refused(entry, checkpoint):
    first, second = checkpoint.epochs
    for epochs in ((), (second,), (first, first), (second, first)):
        entry.write_bytes(entry_of(epochs, checkpoint, recipe().name))
        assert store.get(recipe()) is None
    entry.write_bytes(entry_of((first, second), checkpoint, recipe().name))
    assert store.get(recipe()) is not None


def test_a_field_at_its_default_is_no_part_of_the_name():
    assert recipe().name == recipe(CONFIG.model_copy(update={"warmup": 0})).name
    assert "warmup" not in CONFIG.changed
    assert CONFIG.changed == {"dataset": "digits", "norm": "batch", "learning_rate": 0.001, "seed": 0}


def test_chain_begins_with_the_stored_run_at_its_first_rate(entry):
    assert len(store.get(changed(later_rates=(0.01,))).epochs) == 2
    assert len(store.get(changed(later_rates=(0.01,), epochs=3)).epochs) == 2
    assert store.get(changed(later_rates=(0.01,), epochs=1)) is None  # the stored weights are those after two epochs


def test_chains_that_change_rate_elsewhere_are_other_entries():
    fields = ({}, {"epochs": 3}, {"later_rates": (0.02,)}, {"later_rates": ()})
    assert len({changed(**{"later_rates": (0.01,)} | each).name for each in fields}) == 4
