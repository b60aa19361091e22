"""The processes that train: what they refuse, what reaches them of a notebook's code, and how they end."""

import dataclasses
import functools
import importlib.util
import itertools
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Future

import pandas as pd
import psutil
import pytest
import torch
from torch import nn

from bnlib import UserError
from bnlib.experiment import records, registry, studies
from bnlib.experiment.config import RunConfig
from bnlib.experiment.study import Study
from bnlib.runs import environment, pool, progress, store, workers
from bnlib.runs.pool import run_all
from bnlib.runs.workers import Task
from bnlib.training import loop, models, optimizers
from tests.runs.conftest import configs, measured, study


def table(runs: list[records.Run]) -> pd.DataFrame:
    return records.collect("", runs).epochs


def task(config: RunConfig, data) -> Task:
    (recipe,) = store.recipes([config], data.fingerprint)
    return Task(recipe, registry.packed(config))


@pytest.mark.long
def test_runs_are_done_by_others_to_the_same_bits_however_many_they_are(processes, monkeypatch, tmp_path):
    found = []
    monkeypatch.setattr(workers, "fit", lambda *_: pytest.fail("it was trained in this process"))
    for number in (1, 2):
        monkeypatch.setenv("BNLIB_CACHE", str(tmp_path / str(number)))
        found.append(measured(run_all(configs(seeds=1), processes, workers=number)))
    assert found[0] == found[1]
    assert len(found[0]) == 2


def test_failing_run_keeps_the_finished_ones(small, own_level):
    @models.norm(own_level)
    def unlucky(channels):
        raise RuntimeError("out of luck")

    both = study(arms=("none", own_level), seeds=1).configs
    with pytest.raises(RuntimeError, match="out of luck"):
        run_all(both, small, workers=1)
    (other,) = store.recipes(both[:1], small.fingerprint)
    assert len(store.get(other).epochs) == 1


def test_changed_data_file_is_noticed_by_the_worker(small, digits, monkeypatch):
    monkeypatch.setattr(workers, "load_once", functools.cache(lambda name: digits))
    with pytest.raises(UserError, match="are not those that this report began with"):
        workers._run(task(configs()[0], small), print)


def test_mended_data_file_is_read_again_by_a_worker_that_had_read_it(small, digits, monkeypatch):
    read = [small, digits]
    monkeypatch.setattr(workers, "load_once", functools.cache(lambda name: read.pop()))
    assert workers.load_once("digits") is digits
    assert workers._run(task(configs()[0], small), print)[1] == 1


@pytest.mark.parametrize("part", environment.machine())
def test_worker_of_another_kind_is_refused(part, small):
    asked = task(configs()[0], small)
    other = dataclasses.replace(asked.recipe, machine=asked.recipe.machine | {part: "other"})
    with pytest.raises(UserError, match=f"its {part} is .*, not other; make it the same"):
        workers._run(Task(other, None), print)


@pytest.mark.parametrize("switch", ["ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA"])
def test_worker_with_other_arithmetic_switched_on_is_refused(switch, small, monkeypatch):
    asked = task(configs()[0], small)
    monkeypatch.setenv(switch, "AVX2")
    with pytest.raises(UserError, match=f"its .* is .*{'AVX2'}.*, not "):
        workers._run(asked, print)


def test_run_begun_elsewhere_goes_on_here(small, monkeypatch, tmp_path):
    (config, *_) = configs(epochs=3)
    whole, trained = workers._run(task(config, small), print)
    assert trained == 3
    begun = next(itertools.islice(loop.fit(config, small), 1, None))
    monkeypatch.setenv("BNLIB_CACHE", str(tmp_path / "other"))
    rest, trained = workers._run(task(config, small), print, begun)
    assert trained == 1
    assert [(e.train_loss, e.test_loss) for e in rest.epochs] == [(e.train_loss, e.test_loss) for e in whole.epochs]


SCRIPT = """
import sys
from bnlib import commands
from bnlib.experiment import studies
from bnlib.runs import pool
from bnlib.training import data

def train():
    asked = studies.each_rate(0.001, arms=("none", "batch"), seeds=6, dataset="digits", epochs=5000)
    pool.run_all(asked.configs, data.load("digits"), workers=2)

if __name__ == "__main__":
    sys.exit(commands.run(train, "interrupted"))
"""


@pytest.fixture
def training(tmp_path, processes):
    """A process whose two workers train, of twelve runs the first two; and these workers."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    environment = os.environ | {"PYTHONPATH": ".", progress.VARIABLE: str(tmp_path / "log")}
    with subprocess.Popen([sys.executable, script], stderr=subprocess.PIPE, text=True, env=environment) as parent:
        found = []
        for _ in range(600):
            children = psutil.Process(parent.pid).children(recursive=True)
            found = [p for p in children if "popen_loky_posix" in " ".join(p.cmdline()) and p.cpu_times().user > 2]
            if len(found) == 2:
                break
            time.sleep(0.2)
        yield parent, found
        parent.kill()


@pytest.mark.long
def test_workers_end_with_a_killed_parent(training):
    parent, found = training
    assert len(found) == 2
    parent.send_signal(signal.SIGKILL)
    _, alive = psutil.wait_procs(found, timeout=10)
    assert not alive


@pytest.mark.long
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_interrupted_training_says_so_and_nothing_else(name, training):
    parent, found = training
    assert len(found) == 2
    parent.send_signal(getattr(signal, name))
    assert parent.communicate(timeout=30)[1] == "\ninterrupted\n"
    assert parent.returncode == 130
    assert not psutil.wait_procs(found, timeout=10)[1]


@pytest.mark.parametrize("most", [1, 2, 5])
def test_no_more_runs_are_asked_for_than_wait(most):
    begun, left = [], []

    def submit(number):
        begun.append(number)
        future = Future()
        future.set_result(number)
        return future

    for future in workers._in_turn([functools.partial(submit, number) for number in range(4)], most):
        left.append(future.result())
        assert len(begun) <= len(left) + most
    assert sorted(left) == begun == [0, 1, 2, 3]


# Code of a notebook's own


def half(channels):
    """A norm that halves what it gets."""
    return Scaled(0.5)


class Scaled(nn.Module):
    def __init__(self, by):
        super().__init__()
        self.by = by

    def forward(self, x):
        return self.by * x


@pytest.mark.long
def test_own_norm_is_trained_by_a_worker_and_compared_like_any_other(processes, own_level, trained):
    models.norm(own_level, "halving")(half)
    asked = study(arms=("none", "batch", own_level), seeds=1)
    made = pool.run(asked, processes).epochs
    assert list(made.norm) == ["none", "batch", "mine"]
    assert [arm.label for arm in asked.arms] == ["without a norm", "with batch norm", "with halving"]
    first = made.set_index("norm").train_loss
    assert first["mine"] != first["none"]
    assert trained() == [1, 1, 1]


def test_edited_own_norm_is_trained_again_and_nothing_else(small, own_level, trained, tmp_path, monkeypatch):
    """As in a notebook: the cell is edited and run again."""
    asked, losses = study(arms=("none", "batch", own_level), seeds=1) if models.norm(own_level)(half) else None, []
    for number, factor in enumerate((0.5, 0.5, 0.25)):
        cell = tmp_path / f"cell_{number}.py"  # each run of a cell is a file to Python
        comment = "# half of it" if number == 1 else ""
        cell.write_text(
            f"from torch import nn\n\nFACTOR = {factor}\n\nclass Mine(nn.Module):\n"
            f"    def __init__(self, channels):\n        super().__init__()\n"
            f"    def forward(self, x):\n        {comment}\n        return FACTOR * x\n"
        )
        spec = importlib.util.spec_from_file_location("cell", cell)
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, "cell", module)
        spec.loader.exec_module(module)
        models.norm(own_level)(module.Mine)
        made = table(run_all(asked.configs, small))
        losses.append(made[made.norm == own_level].train_loss.item())
    assert trained() == [1, 1, 1, 1]  # three arms, nothing for the comment, and one arm
    assert losses[0] == losses[1] != losses[2]


def test_own_network_and_optimizer_are_trained(small, own_level):
    @models.network(own_level)
    def linear():
        return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))

    @optimizers.optimizer(own_level)
    def slow(parameters, rate):
        return torch.optim.SGD(parameters, lr=rate / 100)

    for factor in ("network", "optimizer"):
        levels = {"network": ("convnet", own_level), "optimizer": ("adam", own_level)}[factor]
        fields = {"factors": {factor: levels, "learning_rate": (0.01,)}, "reference": {factor: levels[0]}}
        asked = Study(name=factor, notebook="", seeds=1, epochs=1, held={"dataset": "digits"}, **fields)
        made = pool.run(asked, small).epochs
        assert list(made[factor]) == list(levels)
        assert made.train_loss.nunique() == 2


def test_noise_of_own_code_is_the_seed_s_and_the_epoch_s(small, own_level, monkeypatch, tmp_path):
    """A run with dropout is done at once, and in parts after another run."""

    @models.norm(own_level)
    class Dropout(nn.Dropout):
        def __init__(self, channels):
            super().__init__(0.5)

    first, second = (studies.each_rate(0.001, arms=("none", own_level), seeds=2, dataset="digits", epochs=2).configs)[1::2]
    at_once = table(run_all([second], small))
    monkeypatch.setenv("BNLIB_CACHE", str(tmp_path / "other"))
    run_all([first], small)
    run_all([second.model_copy(update={"epochs": 1})], small)
    pd.testing.assert_frame_equal(table(run_all([second], small)), at_once, check_exact=True)


def test_package_s_own_names_cannot_be_taken():
    with pytest.raises(ValueError, match="norm 'batch' is the package's own; take another name"):
        models.norm("batch")(half)


def test_level_that_nobody_registered_is_refused():
    with pytest.raises(UserError, match="'mine' is no norm; known: none, batch"):
        study(arms=("none", "mine"))


# Package code that was replaced


@pytest.mark.parametrize(
    ("module", "name", "other"),
    [
        (optimizers, "adam", lambda parameters, rate: torch.optim.SGD(parameters, rate)),
        (loop, "evaluate", functools.wraps(loop.evaluate)(lambda *a: loop.Evaluation(0, 1, 10))),
        (loop, "EVALUATION_BATCH", 7),
        (models, "ConvNet", nn.Linear),
        (models, "groups_of_8", None),
    ],
)
def test_replaced_training_code_is_refused_by_name(module, name, other, small, monkeypatch):
    run_all(configs(seeds=1), small)  # though all is in the store
    monkeypatch.setattr(module, name, other)
    with pytest.raises(UserError, match=rf"bnlib\.training\.\w+\.{name} was replaced .* Register yours under a name"):
        run_all(configs(seeds=1), small)


def test_replaced_method_is_refused(small, monkeypatch):
    monkeypatch.setattr(models.ConvNet, "forward", lambda self, x: x, raising=False)
    with pytest.raises(UserError, match="ConvNet was replaced"):
        run_all(configs(seeds=1), small)


def test_replaced_entry_of_a_table_is_refused_by_the_worker(processes, monkeypatch):
    monkeypatch.setitem(models.NORMS, "batch", (None, None, None))
    with pytest.raises(UserError, match="has other code than this process"):
        run_all(configs(seeds=1), processes)
