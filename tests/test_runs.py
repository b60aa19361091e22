import functools
import itertools
import os
import signal
import subprocess
import sys
import time

import pandas as pd
import psutil
import pytest
from pydantic import ValidationError

from bnlib import UserError, data, paths, runs, store, training
from bnlib.runs import RunConfig, paired_configs, run_all


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


def configs(**fields) -> list[RunConfig]:
    return paired_configs(**{"seeds": 2, "dataset": "digits", "learning_rate": 0.001, "epochs": 1} | fields)


def test_paired_configs_differ_in_norm_and_seed_alone():
    assert [(c.seed, c.norm) for c in configs()] == [(0, "none"), (0, "batch"), (1, "none"), (1, "batch")]
    assert len({c.model_copy(update={"seed": 0, "norm": "none"}) for c in configs()}) == 1


def test_wrong_field_is_refused_before_any_run():
    with pytest.raises(ValidationError):
        configs(learning_rate=-1.0)


def test_records_do_not_depend_on_the_number_of_workers(digits, monkeypatch, tmp_path):
    tables = []
    for workers in (1, 3):
        monkeypatch.setenv("BNLIB_CACHE", str(tmp_path / str(workers)))
        tables.append(run_all(configs(), digits, workers=workers).epochs)
    pd.testing.assert_frame_equal(*tables, check_exact=True)
    assert len(tables[0]) == 4


def test_finished_runs_are_not_made_again(digits, monkeypatch):
    made = []
    real = runs.fit
    monkeypatch.setattr(runs, "fit", lambda config, *rest: made.append(config) or real(config, *rest))
    first = run_all(configs(seeds=1), digits, workers=1)
    assert len(made) == 2
    again = run_all(configs(seeds=2), digits, workers=1)
    assert {(c.seed, c.norm) for c in made[2:]} == {(1, "none"), (1, "batch")}
    assert len(made) == 4
    kept = again.epochs[again.epochs.seed == 0].reset_index(drop=True)
    pd.testing.assert_frame_equal(kept, first.epochs, check_exact=True)


def test_longest_runs_go_first(digits, monkeypatch):
    begun = []
    monkeypatch.setattr(runs, "_done", lambda missing, *_: begun.extend(missing) or iter(()))
    short, long = configs(epochs=1), configs(epochs=2, learning_rate=0.002)
    run_all([*short, *long], digits)
    assert [(c.epochs, c.norm) for c in begun] == [(e, n) for e in (2, 1) for n in ("batch", "batch", "none", "none")]


def test_failing_run_keeps_the_finished_ones(digits, monkeypatch):
    real = runs.fit

    def fails_later(config, *rest):
        if config.seed == 1:
            raise RuntimeError("out of luck")
        return real(config, *rest)

    monkeypatch.setattr(runs, "fit", fails_later)
    with pytest.raises(RuntimeError, match="out of luck"):
        run_all(configs(), digits, workers=1)
    assert store.get(configs()[1], digits.fingerprint)  # with batch norm, which goes first


def test_changed_data_file_is_noticed_by_the_worker(digits, tiny_data, monkeypatch):
    monkeypatch.setattr(runs, "load_once", functools.cache(lambda name: tiny_data))
    with pytest.raises(UserError, match="are not those that this report began with"):
        run_all(configs(), digits, workers=1)


def test_mended_data_file_is_read_again_by_a_worker_that_had_read_it(digits, tiny_data, monkeypatch):
    read = [digits, tiny_data]
    monkeypatch.setattr(runs, "load_once", functools.cache(lambda name: read.pop()))
    assert runs.load_once("digits") is tiny_data
    assert len(run_all(configs(seeds=1), digits, workers=1).epochs) == 2


def test_worker_of_another_kind_is_refused(digits):
    for part in store.environment("cpu"):
        with pytest.raises(UserError, match=f"its {part} is .*, not other; make it the same"):
            runs._run(configs()[0], digits.fingerprint, store.environment("cpu") | {part: "other"}, print)


def test_worker_with_other_arithmetic_switched_on_is_refused(digits, monkeypatch):
    expected = store.environment("cpu")
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    with pytest.raises(UserError, match="its ONEDNN_MAX_CPU_ISA is AVX2, not not set"):
        runs._run(configs()[0], digits.fingerprint, expected, print)


def test_run_begun_elsewhere_goes_on_here(digits, monkeypatch, tmp_path):
    (config, *_) = configs(epochs=3)
    task = digits.fingerprint, store.environment("cpu")
    whole, trained = runs._run(config, *task, print)
    assert trained == 3
    begun = next(itertools.islice(runs.fit(config, digits), 1, None))
    monkeypatch.setenv("BNLIB_CACHE", str(tmp_path / "other"))
    rest, trained = runs._run(config, *task, print, begun)
    assert trained == 1
    assert [(e.train_loss, e.test_loss) for e in rest.epochs] == [(e.train_loss, e.test_loss) for e in whole.epochs]


def test_batch_of_one_image_is_refused_before_any_run(digits):
    with pytest.raises(UserError, match="batch_size=4 leaves a last batch of one image"):  # 1437 = 359 * 4 + 1
        run_all(configs(batch_size=4), digits, workers=1)


def test_no_seed_is_refused():
    with pytest.raises(ValueError, match="seeds=0: should be 1 or more"):
        configs(seeds=0)


def test_workers_end_with_a_killed_parent(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from bnlib import data, runs\n"
        "if __name__ == '__main__':\n"
        "    c = runs.paired_configs(seeds=2, dataset='digits', learning_rate=0.001, epochs=5000)\n"
        "    runs.run_all(c, data.load('digits'), workers=2)\n"
    )
    with subprocess.Popen([sys.executable, script], stderr=subprocess.DEVNULL, env=os.environ | {"PYTHONPATH": "."}) as parent:
        workers = []
        for _ in range(200):
            children = psutil.Process(parent.pid).children(recursive=True)
            workers = [p for p in children if "popen_loky_posix" in " ".join(p.cmdline()) and p.cpu_times().user > 2]
            if len(workers) == 2:
                break
            time.sleep(0.2)
        assert len(workers) == 2
        parent.send_signal(signal.SIGKILL)
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert not alive


def test_longer_run_goes_on_from_the_stored_epochs_to_the_same_bits(digits, monkeypatch, tmp_path):
    at_once = run_all(configs(epochs=3), digits, workers=1).epochs
    monkeypatch.setenv("BNLIB_CACHE", str(tmp_path / "other"))
    run_all(configs(epochs=2), digits, workers=1)
    trained = []
    real = training.train_epoch
    monkeypatch.setattr(training, "train_epoch", lambda *args: trained.append(args[-1]) or real(*args))
    later = run_all(configs(epochs=3), digits, workers=1).epochs
    assert trained == [3] * 4
    pd.testing.assert_frame_equal(later, at_once, check_exact=True)


def test_shorter_run_is_the_beginning_of_the_stored_one(digits, monkeypatch):
    long = run_all(configs(epochs=2), digits, workers=1).epochs
    monkeypatch.setattr(runs, "fit", None)
    short = run_all(configs(epochs=1), digits, workers=1).epochs
    pd.testing.assert_frame_equal(short, long[long.epoch == 1].reset_index(drop=True), check_exact=True)


def test_damaged_entry_is_computed_again(digits):
    whole = run_all(configs(), digits, workers=1).epochs
    damaged = sorted(paths.store().iterdir())[0]
    damaged.write_bytes(damaged.read_bytes()[:-1])
    pd.testing.assert_frame_equal(run_all(configs(), digits, workers=1).epochs, whole, check_exact=True)
    assert len(list(paths.store().iterdir())) == len(whole)


def test_training_again_is_what_other_training_code_brings(digits, monkeypatch):
    run_all(configs(seeds=1), digits, workers=1)
    made = []
    real = runs.fit
    monkeypatch.setattr(runs, "fit", lambda config, *rest: made.append(config) or real(config, *rest))
    monkeypatch.setattr(store, "SOURCE", "other")
    run_all(configs(seeds=1), digits, workers=1)
    assert len(made) == 2
