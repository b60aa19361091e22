import re
import time

import pytest

from bnlib.experiment.config import RunConfig
from bnlib.runs import progress


def config(**fields) -> RunConfig:
    return RunConfig(**{"dataset": "digits", "norm": "none", "learning_rate": 0.001, "seed": 0, "epochs": 2} | fields)


def told(log, config, epoch, ended=False) -> None:
    progress.append(str(log), progress.event(config, epoch, ended))


def test_terminal_says_rate_run_epoch_and_time_left(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(progress, "EVERY", 0)
    log = str(tmp_path / "log")
    with progress.following(log):
        progress.append(log, {"left": 6, "runs": 3})
        progress.append(log, {"left": 2, "runs": 1})  # another study's
        told(log, config(), 1)
        told(log, config(), 2)
        told(log, config(norm="batch", learning_rate=0.01), 1)
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert re.search(r"3/8 epochs, .* left", last)
    assert last.endswith("rate 0.01, run 2/4, epoch 1/2")
    assert len(last) <= 80


def test_log_says_nothing_twice(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(progress, "EVERY", 0)
    log = str(tmp_path / "log")
    with progress.following(log):
        progress.append(log, {"left": 4, "runs": 2})
        told(log, config(), 1)
        time.sleep(1.2)  # it is looked at twice a second
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines
    assert len(lines) == len(set(lines))


def test_stored_runs_are_neither_done_nor_left(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(progress, "EVERY", 0)
    log = tmp_path / "log"
    log.touch()
    monkeypatch.setenv(progress.VARIABLE, str(log))
    configs = [config(seed=seed) for seed in range(3)]
    kept = dict(zip(configs, (2, 2, 0), strict=True))
    with progress.following(str(log)), progress.shown(kept) as its:
        assert its == str(log)
        told(log, configs[2], 1)
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert "1/2 epochs" in last
    assert "run 1/1" in last


def test_epoch_done_twice_counts_once(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(progress, "EVERY", 0)
    log = str(tmp_path / "log")
    with progress.following(log):
        progress.append(log, {"left": 10, "runs": 1})
        for epoch in (1, 2, 1, 2, 3):
            told(log, config(epochs=10), epoch)
    assert "3/10 epochs" in capsys.readouterr().err.strip().splitlines()[-1]


def test_diverged_run_takes_its_other_epochs_with_it(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(progress, "EVERY", 0)
    log = str(tmp_path / "log")
    with progress.following(log):
        progress.append(log, {"left": 10, "runs": 1})
        told(log, config(epochs=10), 3, ended=True)
    assert "8/10 epochs" in capsys.readouterr().err.strip().splitlines()[-1]


def test_runs_by_hand_show_a_bar_of_their_own(capsys, monkeypatch):
    monkeypatch.delenv(progress.VARIABLE, raising=False)
    with progress.shown({config(): 0}) as log:
        told(log, config(), 1)
        told(log, config(), 2)
    said = capsys.readouterr().err
    assert "2/2 epochs" in said
    assert "\r" not in said  # where the output is no terminal, lines


def test_epochs_in_the_store_are_not_left_to_do(capsys, monkeypatch):
    monkeypatch.delenv(progress.VARIABLE, raising=False)
    with progress.shown({config(epochs=10): 7, config(epochs=10, seed=1): 10}) as log:
        told(log, config(epochs=10), 8)
    assert "1/3 epochs" in capsys.readouterr().err


def test_tally_counts_what_was_trained_and_what_was_kept(tmp_path, monkeypatch):
    log = str(tmp_path / "log")
    monkeypatch.setenv(progress.VARIABLE, log)
    kept = {config(epochs=10, seed=seed): epochs for seed, epochs in enumerate((7, 10, 0))}
    with progress.following(log) as tally, progress.shown(kept, given=4):
        progress.append(log, {"trained": 3})
        progress.append(log, {"found": 2})
        progress.append(log, {"trained": 10})
    assert (tally.runs, tally.epochs, tally.kept, tally.given) == (2, 13, 19, 4)


@pytest.mark.parametrize(
    ("events", "said"),
    [
        ([{"trained": 1000}, {"trained": 200}], "Runs: trained 1,200 epochs in 2 runs"),
        ([{"kept": 7}, {"found": 2}], "Runs: took 9 epochs from the store"),
        ([{"given": 4}], "Runs: took 4 runs from the report's records"),
        (
            [{"given": 4, "kept": 7}, {"trained": 2}],
            "Runs: trained 2 epochs in 1 run, took 7 epochs from the store, took 4 runs from the report's records",
        ),
    ],
)
def test_tally_says_what_was_trained_and_what_was_taken_and_nothing_of_what_was_not(events, said):
    tally = progress.Tally()
    for event in events:
        tally.add(event)
    assert str(tally) == said


def test_where_nothing_is_left_there_is_no_bar(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(progress, "EVERY", 0)
    log = str(tmp_path / "log")
    monkeypatch.setenv(progress.VARIABLE, log)
    with progress.following(log), progress.shown({config(): 2}, given=3):
        pass
    assert capsys.readouterr().err == ""


def test_epochs_that_a_chain_finds_are_not_left_to_do(tmp_path, capsys, monkeypatch):
    """The run at its first rate is done first, and the chain goes on from there."""
    monkeypatch.setattr(progress, "EVERY", 0)
    log, chain = str(tmp_path / "log"), config(later_rates=(0.01,))
    monkeypatch.setenv(progress.VARIABLE, log)
    with progress.following(log), progress.shown({config(): 0, chain: 0}):
        told(log, config(), 1)
        told(log, config(), 2)
        progress.append(log, {"found": 2})
        told(log, chain, 3)
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert "3/4 epochs" in last
    assert last.endswith("replay, run 2/2, epoch 3/4")
