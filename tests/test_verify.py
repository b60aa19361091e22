import json
import random
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bnlib import paths, provenance, verify
from bnlib.verify import differences, sample


@pytest.fixture
def report(made, tmp_path, monkeypatch):
    """A copy of a finished report on the digits, which `verify` finds; its folder of data."""
    shutil.copytree(made[0] / "reports", tmp_path / "reports")
    monkeypatch.setenv("DATASET", "digits")
    monkeypatch.setenv("WORKERS", "1")
    monkeypatch.setenv("VERIFY_SEED", "1")
    return tmp_path / "reports/digits/data"


def shift(report, column: str, by: float) -> None:
    epochs = pd.read_csv(report / "epochs.csv")
    epochs[column] += by
    epochs.to_csv(report / "epochs.csv", index=False)


def test_runs_of_this_machine_have_the_same_bits(report, made, monkeypatch, capsys):
    monkeypatch.setenv("BNLIB_CACHE", str(made[0] / "cache"))
    assert verify.main() == 0
    said = capsys.readouterr().out
    assert "All bits agree, in 2 runs." in said
    assert said.count("the same bits") == 2
    assert "VERIFY_SEED=1" in said


def test_changed_record_is_found(report, capsys):
    shift(report, "test_loss", 0.25)
    assert verify.main() == 1
    said = capsys.readouterr().out
    assert "2 of 2 runs differ" in said
    assert "0.25 in test loss" in said
    assert "0 in train loss" in said
    assert "Nothing explains that." in said


def test_damage_in_the_store_alone_is_found(report, made, monkeypatch, capsys):
    real = verify.store.get

    def damaged(config, fingerprint):
        checkpoint = real(config, fingerprint)
        if paths.cache() != made[0] / "cache":
            return checkpoint  # of the store that the runs are done anew in
        epochs = tuple(replace(epoch, train_accuracy=epoch.train_accuracy / 2) for epoch in checkpoint.epochs)
        return replace(checkpoint, epochs=epochs)

    monkeypatch.setenv("BNLIB_CACHE", str(made[0] / "cache"))
    monkeypatch.setattr(verify.store, "get", damaged)
    assert verify.main() == 1
    assert "0 in train loss, 0.4" in capsys.readouterr().out


def test_another_machine_is_told_by_how_much_it_differs(report, capsys):
    shift(report, "test_loss", 0.25)
    facts = provenance.load(report) | {"processor": "another one"}
    (report / "provenance.json").write_text(json.dumps(facts))
    assert verify.main() == 0
    said = capsys.readouterr().out
    assert "at most by 0 in train loss, 0 in train accuracy, 0.25 in test loss, 0 in test accuracy" in said
    assert f"processor: {provenance.cpu()} here, another one there" in said


def test_other_data_are_refused(report, capsys):
    facts = provenance.load(report) | {"SHA-256 of the data": "0" * 64}
    (report / "provenance.json").write_text(json.dumps(facts))
    assert verify.main() == 1
    assert capsys.readouterr().err.startswith("error: the files of digits are not those of the report in ")


def test_no_report_says_what_to_run(monkeypatch, capsys):
    monkeypatch.setenv("DATASET", "digits")
    assert verify.main() == 1
    assert "`make report` first" in capsys.readouterr().err


FACTS = {"batch size": "100", "precision": "fp32", "device": "cpu", "epochs": "2"}


def test_sample_has_runs_of_each_arm(epochs):
    for count, drawn in ((1, 1), (2, 2), (9, 3)):
        configs = sample(epochs, FACTS, count, random.Random(0))
        assert [config.norm for config in configs] == ["none"] * drawn + ["batch"] * drawn
        assert len(set(configs)) == 2 * drawn
        assert {config.epochs for config in configs} == {2}


def test_device_that_is_not_here_is_replaced_and_told(epochs, monkeypatch):
    monkeypatch.setattr(verify.devices.torch.cuda, "is_available", lambda: False)
    facts = FACTS | {"device": "cuda"}
    assert {config.device for config in sample(epochs, facts, 1, random.Random(0))} <= {"cpu", "mps"}
    assert any(line.startswith("device: ") and line.endswith(" here, cuda there") for line in verify.changed(facts))


def test_switched_arithmetic_explains_other_bits(monkeypatch):
    assert verify.changed(FACTS) == []
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert verify.changed(FACTS) == ["ONEDNN_MAX_CPU_ISA: AVX2 here, not set there"]
    assert verify.changed(FACTS | {"ONEDNN_MAX_CPU_ISA": "AVX"}) == ["ONEDNN_MAX_CPU_ISA: AVX2 here, AVX there"]


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
