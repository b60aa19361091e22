import random
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bnlib.commands import verify
from bnlib.commands.verify import changed, differences, sample
from bnlib.experiment import records
from bnlib.experiment.config import RunConfig
from bnlib.experiment.records import Epoch, Records, Run
from bnlib.runs import environment, provenance, store
from bnlib.system import paths


@pytest.fixture
def report(made, tmp_path, monkeypatch):
    """A copy of a finished report on the digits, which `verify` finds; its folder of data."""
    shutil.copytree(made[0] / "reports", tmp_path / "reports")
    monkeypatch.setenv("DATASET", "digits")
    monkeypatch.setenv("WORKERS", "1")
    monkeypatch.setenv("VERIFY_SEED", "1")
    return tmp_path / "reports/digits/data"


def shift(report, column: str, by: float) -> None:
    epochs = pd.read_csv(report / "epochs.csv", keep_default_na=False, na_values={column: [""]})
    epochs[column] += by
    epochs.to_csv(report / "epochs.csv", index=False)


@pytest.fixture(scope="module")
def done():
    return {}


@pytest.fixture
def once(done, monkeypatch):
    """Runs that a test of this file did anew are not done once more for the next."""
    real = verify.run_all

    def run_all(configs, data):
        if tuple(configs) not in done:
            done[tuple(configs)] = real(configs, data)
        return done[tuple(configs)]

    monkeypatch.setattr(verify, "run_all", run_all)


def test_runs_of_this_machine_have_the_same_bits_whatever_the_store_has(report, made, monkeypatch, capsys):
    real = store.get

    def damaged(recipe):
        checkpoint = real(recipe)
        if checkpoint is None or paths.cache() != made[0] / "cache":
            return checkpoint  # of the store that the runs are done anew in
        epochs = tuple(replace(epoch, train_accuracy=epoch.train_accuracy / 2) for epoch in checkpoint.epochs)
        return replace(checkpoint, epochs=epochs)

    monkeypatch.setenv("BNLIB_CACHE", str(made[0] / "cache"))
    monkeypatch.setattr(store, "get", damaged)
    assert verify.main() == 0
    said = capsys.readouterr().out
    assert "All bits agree, in 2 runs." in said
    assert said.count("the same bits") == 2
    assert "VERIFY_SEED=1" in said


def test_changed_record_is_found(report, once, capsys):
    shift(report, "test_loss", 0.25)
    assert verify.main() == 1
    said = capsys.readouterr().out
    assert "2 of 2 runs differ" in said
    assert "0.25 in test loss" in said
    assert "0 in train loss" in said
    assert "Nothing explains that: " in said


def test_another_machine_is_told_by_how_much_it_differs(report, once, capsys):
    shift(report, "test_loss", 0.25)
    runs = pd.read_csv(report / "runs.csv", dtype=str, keep_default_na=False)
    runs.assign(processor="another one").to_csv(report / "runs.csv", index=False)
    assert verify.main() == 0
    said = capsys.readouterr().out
    assert "at most by 0 in train loss, 0 in train accuracy, 0.25 in test loss, 0 in test accuracy" in said
    assert said.count(f"processor: {environment.processor()} here, another one there") == 1


def test_other_data_are_refused(report, capsys):
    provenance.save_facts(provenance.load(report) | {"SHA-256 of the data": "0" * 64}, report)
    assert verify.main() == 1
    assert capsys.readouterr().err.startswith("error: the files of digits are not those of the report in ")


def test_no_report_says_what_to_run(monkeypatch, capsys):
    monkeypatch.setenv("DATASET", "digits")
    assert verify.main() == 1
    assert "`make report` first" in capsys.readouterr().err


def kept(norms=("none", "batch"), seeds: int = 3, epochs: int = 2, **fields) -> Records:
    """Records as this machine makes them, with the same figures for each run."""
    shared = {"dataset": "digits", "learning_rate": 0.001, "epochs": epochs} | fields
    configs = [RunConfig(**shared, norm=norm, seed=seed) for seed in range(seeds) for norm in norms]
    measured = tuple(Epoch(n, 1.0, 0.5, 1.0, 0.5, 10, 0.1) for n in range(1, configs[0].all_epochs + 1))
    recipes = store.recipes(configs, data="data")
    return records.collect("learning_rate", [Run(each.config, each.name[:16], measured, each.made_by) for each in recipes])


def test_sample_has_runs_of_each_arm_under_the_names_that_records_give_them():
    three = kept(norms=("none", "batch", "layer"))
    for count, drawn in ((1, 1), (2, 2), (9, 3)):
        found = sample(three, count, random.Random(0))
        assert [config.norm for config in found] == ["none"] * drawn + ["batch"] * drawn + ["layer"] * drawn
        assert {config.epochs for config in found} == {2}
        for config, row in found.items():
            (recipe,) = store.recipes([config], data="data")
            assert row.run == recipe.name[:16]


def test_sample_is_another_one_with_another_seed():
    many = kept(seeds=50)
    first, again, other = ([config.seed for config in sample(many, 3, random.Random(seed))] for seed in (1, 1, 2))
    assert first == again != other


def test_run_is_done_for_as_long_as_the_longest_of_its_studies_has_it():
    long, short = kept(epochs=5), kept(epochs=2)
    both = records.join([long, short._replace(epochs=short.epochs.assign(study="learning_rate_range"))])
    assert {config.epochs for config in sample(both, 9, random.Random(0))} == {5}


def test_chains_are_left_out():
    assert sample(kept(later_rates=(0.01,)), 9, random.Random(0)) == {}


def first(records: Records) -> tuple[RunConfig, pd.Series]:
    return next(iter(sample(records, 1, random.Random(0)).items()))


def test_device_that_is_not_here_is_replaced_and_told(monkeypatch):
    monkeypatch.setattr(verify.hardware.torch.cuda, "is_available", lambda: False)
    config, row = first(kept(device="cuda"))
    assert config.device in ("cpu", "mps")
    assert "device: cuda, for which no bits are promised" in changed(config, row)


def test_all_that_decides_the_bits_and_is_other_here_is_told(monkeypatch):
    config, row = first(kept())
    assert changed(config, row) == []
    assert changed(config, row.copy().where(row.index != "code", "other")) == ["the training code"]
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert changed(config, row) == ["switches: ONEDNN_MAX_CPU_ISA=AVX2 here, none there"]


def test_differences_are_the_largest_of_all_epochs(epochs):
    one = epochs[(epochs.norm == "none") & (epochs.seed == 0)]
    assert not differences(one, one).any()
    other = one.assign(train_loss=one.train_loss + np.array([0.5, -0.25]))
    assert differences(one, other)["train_loss"] == pytest.approx(0.5)
    last_bit = one.assign(train_loss=np.nextafter(one.train_loss, 1))
    assert 0 < differences(one, last_bit)["train_loss"] < 1e-15


def test_divergence_is_the_same_only_in_the_same_epoch(diverged_epochs):
    one = diverged_epochs[(diverged_epochs.norm == "none") & (diverged_epochs.seed == 0)]
    assert not differences(one, one).any()
    assert differences(one, one.assign(train_loss=1.0))["train_loss"] == float("inf")
    assert differences(one, one.iloc[:1]).eq(float("inf")).all()
