import re

from bnlib import progress
from bnlib.config import RunConfig


def config(**fields) -> RunConfig:
    return RunConfig(**{"dataset": "digits", "norm": "none", "learning_rate": 0.001, "seed": 0, "epochs": 2} | fields)


def test_terminal_says_rate_run_epoch_and_time_left(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(progress, "EVERY", 0)
    log = str(tmp_path / "log")
    with progress.following(log, epochs=8, runs=4, rates=[0.001, 0.01]):
        progress.report(log, config(), 1)
        progress.report(log, config(), 2)
        progress.report(log, config(norm="batch", learning_rate=0.01), 1)
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert re.search(r"3/8 epochs, .* left", last)
    assert last.endswith("rate 0.01 (2/2), run 2/4, epoch 1/2")
    assert len(last) <= 80


def test_stored_runs_are_neither_done_nor_left(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(progress, "EVERY", 0)
    log = tmp_path / "log"
    log.touch()
    monkeypatch.setenv(progress.VARIABLE, str(log))
    configs = [config(seed=seed) for seed in range(3)]
    with progress.following(str(log), epochs=6, runs=3, rates=[0.001]), progress.shown(configs, configs[2:]) as told:
        assert told == str(log)
        progress.report(told, configs[2], 1)
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert "1/2 epochs" in last
    assert "run 1/1" in last


def test_diverged_run_takes_its_other_epochs_with_it(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(progress, "EVERY", 0)
    log = str(tmp_path / "log")
    with progress.following(log, epochs=10, runs=1, rates=[0.001]):
        progress.report(log, config(epochs=10), 3, ended=True)
    assert "8/10 epochs" in capsys.readouterr().err.strip().splitlines()[-1]


def test_notebook_shows_a_bar_of_its_own(capsys, monkeypatch):
    monkeypatch.delenv(progress.VARIABLE, raising=False)
    with progress.shown([config()], [config()]) as log:
        progress.report(log, config(), 1)
        progress.report(log, config(), 2)
    assert "2/2 epochs" in capsys.readouterr().err
