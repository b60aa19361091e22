"""Runs that a GPU trains side by side, here on a CPU: in the store, on their way through the pool, and what they are called."""

import os

import pytest

from bnlib.experiment.config import RunConfig
from bnlib.runs import pool, store, workers
from bnlib.runs.pool import run_all
from bnlib.runs.workers import Task
from bnlib.training import loop
from bnlib.training.loops import cuda, many
from tests.runs.conftest import configs, measured

ALONE = {"norm": "group"}  # what has no faster layers


@pytest.fixture
def side_by_side(small, monkeypatch):
    """`small`, on which a CPU trains as a GPU does."""
    monkeypatch.setitem(many.LEVELS, "device", ("cpu", "cuda"))
    return small


def recipe(**fields) -> store.Recipe:
    (made,) = store.recipes([RunConfig(**{"dataset": "mnist", "seed": 0, "learning_rate": 0.01} | fields)], data="")
    return made


def test_runs_are_done_together_and_come_out_as_each_alone(side_by_side, monkeypatch, tmp_path, trained):
    asked = [*configs(epochs=2), *configs(rate=0.01)]
    seen, fit = [], many.fit
    monkeypatch.setattr(workers, "fit_together", lambda runs, data: seen.append(len(runs)) or fit(runs, data))
    monkeypatch.setattr(workers, "fit", lambda *_: pytest.fail("it was trained by the loop"))
    together = measured(run_all(asked, side_by_side, workers=1))
    assert seen == [8]
    assert sorted(trained()) == [1] * 4 + [2] * 4
    monkeypatch.setenv("BNLIB_CACHE", str(tmp_path / "other"))
    assert measured([run for config in asked for run in run_all([config], side_by_side)]) == together


def test_what_is_stored_is_not_done_again_and_is_gone_on_with(side_by_side, trained):
    run_all(configs(epochs=1), side_by_side)
    assert trained() == [1] * 4
    longer = run_all(configs(epochs=3), side_by_side)
    assert trained() == [2] * 4
    assert [len(run.epochs) for run in longer] == [3] * 4
    run_all(configs(epochs=2), side_by_side)
    assert trained() == []


def test_interrupted_runs_keep_their_finished_epochs(side_by_side, monkeypatch, trained):
    fit = many.fit

    def broken(runs, data):
        for i, checkpoint in fit(runs, data):
            if len(checkpoint.epochs) == 2 and i == 1:
                raise RuntimeError("out of luck")
            yield i, checkpoint

    whole = measured(run_all(configs(epochs=3, seeds=1), side_by_side, anew=True))
    monkeypatch.setenv("BNLIB_CACHE", os.environ["BNLIB_CACHE"] + "-other")
    monkeypatch.setattr(workers, "fit_together", broken)
    with pytest.raises(RuntimeError, match="out of luck"):
        run_all(configs(epochs=3, seeds=1), side_by_side)
    assert [len(store.get(each).epochs) for each in store.recipes(configs(seeds=1), side_by_side.fingerprint)] == [
        1,
        2,
    ]  # batch norm comes first
    monkeypatch.setattr(workers, "fit_together", fit)
    trained()
    assert measured(run_all(configs(epochs=3, seeds=1), side_by_side)) == whole
    assert sorted(trained()) == [1, 2]


def test_chains_go_on_from_runs_at_their_first_rate(side_by_side, trained):
    plain = configs(seeds=1)
    chains = [config.model_copy(update={"later_rates": (0.01,)}) for config in plain]
    made = run_all([*plain, *chains], side_by_side)
    assert trained() == [1, 1, 1, 1]
    assert [len(run.epochs) for run in made] == [1, 1, 2, 2]


def test_groups_are_of_what_fits_together_and_about_as_large(monkeypatch):
    monkeypatch.setattr(workers, "AT_ONCE", 4)

    def tasks(count: int, **fields) -> list[Task]:
        return [Task(recipe(device="cuda", **{"seed": seed} | fields), None) for seed in range(count)]

    asked = [*tasks(6), *tasks(2, **ALONE), *tasks(1, batch_size=50), *tasks(1, optimizer="sgd")]
    groups = workers._groups(asked)
    assert sorted(map(len, groups)) == [1, 1, 1, 1, 3, 3]
    assert [task for group in groups[:2] for task in group] == asked[:6]
    assert [group[0].recipe.config.batch_size for group in groups] == [100, 100, 50, 100, 100, 100]
    assert workers._groups([Task(recipe(seed=seed), None) for seed in range(3)]) == [
        [Task(recipe(seed=seed), None)] for seed in range(3)
    ]


def test_name_of_a_gpu_s_run_tells_which_way_it_was_trained(monkeypatch):
    ways = {"cpu": recipe(), "cuda": recipe(device="cuda"), "alone": recipe(device="cuda", **ALONE)}
    codes = {way: made.code for way, made in ways.items()}
    assert codes["cpu"]["fit"] != codes["cuda"]["fit"]
    assert codes["cpu"]["fit"] == codes["alone"]["fit"]
    assert "train_epoch" not in codes["cuda"]
    for name in cuda.SOURCES:
        with monkeypatch.context() as edited:
            edited.setitem(cuda.SOURCES, name, cuda.SOURCES[name] + "// otherwise")
            assert recipe(device="cuda").name != ways["cuda"].name
            assert recipe(device="cuda", **ALONE).name == ways["alone"].name
            assert recipe().name == ways["cpu"].name


def test_gpu_gets_one_process_and_a_cpu_one_for_each_core(monkeypatch):
    seen = []
    monkeypatch.setattr(workers, "_done_here", lambda tasks, hear, workers, started: seen.append(workers) or [])
    for device in ("cpu", "cuda"):
        list(workers.done([recipe(device=device)], "log", None))
        list(workers.done([recipe(device=device)], "log", 3))
    assert seen == [workers.worker_count(), 3, 1, 3]


def test_process_for_a_gpu_is_started_before_it_is_known_what_there_is_to_do(monkeypatch):
    told = []

    class Executor:
        def __init__(self, count):
            told.append(count)

        def submit(self, *task):
            told.append(task[1:])

        def shutdown(self, **how):
            told.append(how)

    monkeypatch.setattr("joblib.externals.loky.ProcessPoolExecutor", Executor)
    monkeypatch.setattr(pool.environment, "has_gpu_driver", lambda: True)
    on = {device: RunConfig(dataset="digits", seed=0, learning_rate=0.01, device=device) for device in ("cpu", "cuda")}
    with pool._started([on["cuda"]], None) as started:
        assert isinstance(started, Executor)
        assert told == [1, ("digits", os.getpid())]
    assert told[2:] == [{"wait": True, "kill_workers": True}]
    for configs_ in ([on["cpu"]], list(on.values())):
        with pool._started(configs_, None) as started:
            assert started is None
    monkeypatch.setenv("SCHEDULER", "tcp://somewhere:1")
    with pool._started([on["cuda"]], None) as started:
        assert started is None
    monkeypatch.delenv("SCHEDULER")
    monkeypatch.setattr(pool.environment, "has_gpu_driver", lambda: False)  # a GPU's report, rendered where there is none
    with pool._started([on["cuda"]], None) as started:
        assert started is None


def test_process_for_a_gpu_is_not_replaced_for_the_memory_that_it_takes(small, monkeypatch):
    ready = []
    monkeypatch.setattr(workers.kernels, "prepare", lambda: ready.append(True))
    monkeypatch.setattr(workers.process_executor, "_MAX_MEMORY_LEAK_SIZE", workers.process_executor._MAX_MEMORY_LEAK_SIZE)
    workers.make_ready("digits", os.getpid())
    assert ready == [True]
    assert workers.process_executor._MAX_MEMORY_LEAK_SIZE > 1e12


def test_replaced_kernel_code_is_refused(side_by_side, monkeypatch):
    monkeypatch.setattr(many.Together, "epoch", lambda self, epochs: 0.0)
    with pytest.raises(Exception, match="Together was replaced"):
        run_all(configs(), side_by_side)


def test_runs_on_a_cluster_are_done_one_by_one_in_the_same_way(side_by_side):
    (config, *_) = configs()
    (asked,) = store.recipes([config], side_by_side.fingerprint)
    _, entry, trained = workers._run_far(print, Task(asked, None), None)
    made = store.unpacked(entry, asked.entry)
    ((_, expected),) = many.fit([many.Run(config)], side_by_side)
    assert trained == 1
    assert measured([pool._of(asked, made)]) == measured([pool._of(asked, expected)])
    assert isinstance(made, loop.Checkpoint)
