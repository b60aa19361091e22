"""What tests of runs share: small data, and runs that are done in this process."""

import dataclasses
from concurrent.futures import Future

import numpy as np
import pytest

from bnlib.experiment import records, registry, studies
from bnlib.experiment.config import LEVELS, RunConfig
from bnlib.experiment.records import Run
from bnlib.experiment.study import Study
from bnlib.runs import progress, workers
from bnlib.system import paths
from bnlib.training import data as datasets


class Inline:
    """Stands in for the worker processes: does each task at once, here."""

    def __init__(self, workers: int):
        pass

    def submit(self, task, *arguments) -> Future:
        future = Future()
        try:
            future.set_result(task(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future

    def shutdown(self, **_) -> None:
        pass


@pytest.fixture
def small(tiny_data, monkeypatch):
    """Data called digits, of 250 images, that are trained on in this process: spares the seconds that processes take."""
    monkeypatch.setattr(workers, "ProcessPoolExecutor", Inline)
    monkeypatch.setattr(workers, "end_with", lambda parent: None)
    monkeypatch.setattr(workers, "load_once", lambda name: dataclasses.replace(tiny_data, name=name))
    return tiny_data


@pytest.fixture(scope="session")
def digits():
    """The real ones, as worker processes load them."""
    return datasets.load("digits")


@pytest.fixture
def processes(digits):
    """Real data, for tests that start real worker processes."""
    return digits


@pytest.fixture
def trained(monkeypatch):
    """What each run that is finished trained, in epochs, since this was last asked for."""
    told, real = [], progress.append
    monkeypatch.setattr(progress, "append", lambda log, event: told.append(event) or real(log, event))

    def since() -> list[int]:
        found = [event["trained"] for event in told if "trained" in event]
        told.clear()
        return found

    return since


@pytest.fixture
def own_level():
    """A name for a norm, network or optimizer of a test's own, forgotten afterwards."""
    name = "mine"
    yield name
    for factor, table in registry.ALL.items():
        LEVELS[factor].pop(name, None)
        table.pop(name, None)
        table.own.discard(name)


def study(rate: float = 0.001, **fields) -> Study:
    return studies.each_rate(rate, **{"arms": ("none", "batch"), "seeds": 2, "dataset": "digits", "epochs": 1} | fields)


def configs(rate: float = 0.001, probed: bool = False, **fields) -> list[RunConfig]:
    return [config.model_copy(update={"probed": probed}) for config in study(rate, **fields).configs]


def measured(runs: list[Run]) -> list:
    """The numbers of runs, without what made them and how long it took."""
    return [[repr([float(getattr(epoch, name)) for name in records.MEASURED]) for epoch in run.epochs] for run in runs]


def report(runs: list[Run], dataset: str = "digits", **made_by: str):
    """Puts runs, as if some of this had made them, into the records of the report; returns their folder."""
    folder = paths.report(dataset) / "data"
    records.save(records.collect("learning_rate", [r._replace(made_by=r.made_by | made_by) for r in runs]), folder)
    return folder


def nothing(data: datasets.Data, name: str) -> datasets.Data:
    """The data set as it is where its files cannot be had."""
    split = datasets.Split(np.empty((0, 1, 28, 28), np.float32), np.empty(0, np.int64))
    return datasets.Data(name, split, split, data.checksum, here=False)
