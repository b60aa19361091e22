"""Runs on a real Dask scheduler with real workers, each with folders of its own."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from bnlib import UserError
from bnlib.commands.report import __main__ as command
from bnlib.runs import cluster
from bnlib.system import download, paths
from tests.conftest import contents, make

SOON = {"LEARNING_RATES": "0.001", "SEEDS": "2"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def dask(folder, *arguments: str):
    """A `dask` process with its workers, in a session of its own, and with data and store under `folder`."""
    environment = os.environ | {
        "BNLIB_CACHE": str(folder / "cache"),
        "DATA_DIR": str(folder / "data"),
        "PYTHONPATH": str(paths.ROOT),
    }
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "dask", *arguments]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log, start_new_session=True)
    try:
        yield process
    finally:
        kill(process)


def kill(process: subprocess.Popen) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.fixture
def scheduler(tmp_path):
    """The address of a scheduler without workers."""
    port = free_port()
    address = f"tcp://127.0.0.1:{port}"
    with dask(tmp_path / "scheduler", "scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"):
        until(lambda: answers(port))
        yield address


def answers(port: int) -> bool:
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    return False


def until(true, seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.2)


def worker(folder, address: str, threads: int = 1):
    return dask(folder, "worker", address, "--nthreads", str(threads), "--no-dashboard", "--local-directory", str(folder))


def runs(folder) -> list:
    return list((folder / "cache/runs").glob("*.pt"))


def pages(folder) -> dict[str, str]:
    return {name: sha256 for name, sha256 in contents(folder / "reports/digits").items() if name != "data/timing.csv"}


def test_address_is_looked_at_first():
    with pytest.raises(UserError, match=r"SCHEDULER=\"here\": should be tcp://host:port"), cluster.connected("here"):
        pass


def test_nobody_at_the_address_is_said_within_ten_seconds():
    began = time.monotonic()
    with pytest.raises(UserError, match="no Dask scheduler answers there"), cluster.connected(f"tcp://127.0.0.1:{free_port()}"):
        pass
    assert time.monotonic() - began < 10


@pytest.mark.long
def test_somebody_else_at_the_address_is_no_scheduler():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        began = time.monotonic()
        with pytest.raises(UserError, match="no Dask scheduler answers there"), cluster.connected(address):
            pass
        assert time.monotonic() - began < 10


def test_scheduler_is_asked_before_data_are_fetched(monkeypatch, capsys):
    monkeypatch.setattr(download, "choose", lambda *_: pytest.fail("data were looked for"))
    monkeypatch.setenv("SCHEDULER", f"tcp://127.0.0.1:{free_port()}")
    assert command.main() == 1
    assert "no Dask scheduler answers there" in capsys.readouterr().err


@pytest.mark.long
def test_runs_are_given_up_when_the_last_worker_is_gone(scheduler, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "DESERTED", 2.0)
    with worker(tmp_path / "one", scheduler) as only, connection(scheduler) as its:
        results = its.results(slow, [(600,)])
        threading.Timer(3, kill, [only]).start()
        with pytest.raises(UserError, match="has no workers any more; finished runs are kept: start some and run again"):
            list(results)


def slow(say, seconds: float) -> None:
    time.sleep(seconds)


@pytest.mark.long
def test_scheduler_without_workers_is_said(scheduler):
    with pytest.raises(UserError, match="has no workers"), cluster.connected(scheduler):
        pass


@pytest.mark.long
def test_workers_of_several_threads_are_refused(scheduler, tmp_path):
    with worker(tmp_path / "one", scheduler, threads=2), connection(scheduler) as its:
        results = its.results(print, [()])
        with pytest.raises(UserError, match=r"worker tcp://\S+: it has several threads; start workers with --nthreads 1"):
            list(results)


@pytest.mark.long
def test_task_that_a_worker_cannot_do_ends_the_report(scheduler, tmp_path):
    with worker(tmp_path / "one", scheduler), connection(scheduler) as its:
        assert its.workers == 1
        with pytest.raises(UserError, match=r"TypeError: .*; finished runs are kept"):
            list(its.results(len, [()]))  # takes no `say`


@contextlib.contextmanager
def connection(address: str):
    """A connection to a cluster, some worker of which has come."""
    until(lambda: not _no_workers(address))
    with cluster.connected(address) as connected:
        yield connected


def _no_workers(address: str) -> bool:
    try:
        with cluster.connected(address):
            return False
    except UserError as error:
        return "has no workers" in str(error)


@pytest.mark.long
def test_cluster_gives_the_bits_of_a_local_report_though_a_worker_is_killed(scheduler, tmp_path):
    settings = SOON | {"EPOCHS": "4"}
    local = make(tmp_path / "local", **settings)
    assert local.returncode == 0, local.stderr
    one, other = tmp_path / "one", tmp_path / "other"
    with worker(one, scheduler) as victim, worker(other, scheduler):
        until(lambda: not _no_workers(scheduler))
        with subprocess.Popen(
            [
                sys.executable,
                "-c",
                "import sys; from tests.runs import test_cluster; test_cluster.report(*sys.argv[1:])",
                str(tmp_path / "far"),
                scheduler,
                settings["EPOCHS"],
            ],
            cwd=paths.ROOT,
            stdout=subprocess.PIPE,
            text=True,
        ) as report:
            until(lambda: runs(one) and runs(other))  # both are at work
            kill(victim)
            said = report.communicate(timeout=600)[0]
        assert report.returncode == 0
    trained = int(re.search(r"trained \d+ epochs in (\d+) runs", said)[1])  # some of them looked into
    assert pages(tmp_path / "far") == pages(tmp_path / "local")
    assert len(runs(one)) == 1
    assert len(runs(other)) == len(runs(tmp_path / "far")) == trained > 4  # the worker's own store, and this machine's


def report(folder: str, scheduler: str, epochs: str) -> None:
    """A report whose runs a cluster does; the exit status is its own."""
    from pathlib import Path

    result = make(Path(folder), **SOON | {"EPOCHS": epochs, "SCHEDULER": scheduler})
    print(result.stdout, result.stderr)
    sys.exit(result.returncode)


SCRIPT = """
from torch import nn
from bnlib.experiment.study import Study
from bnlib.runs import pool
from bnlib.training import data, models

FACTOR = 0.5

class Mine(nn.Module):
    def __init__(self, channels):
        super().__init__()

    def forward(self, x):
        return FACTOR * x

if __name__ == "__main__":
    models.norm("mine")(Mine)
    asked = {"factors": {"norm": ("none", "mine"), "learning_rate": (0.001,)}, "reference": {"norm": "none"}}
    study = Study(name="own", notebook="", seeds=1, epochs=1, held={"dataset": "digits"}, **asked)
    print(pool.run(study, data.load("digits")).epochs[["norm", "train_loss"]].to_csv(index=False))
"""


@pytest.mark.long
def test_norm_of_somebody_s_own_is_trained_on_a_cluster_to_the_same_bits(scheduler, tmp_path):
    script = tmp_path / "own.py"
    script.write_text(SCRIPT)

    def run(folder: str, address: str) -> str:
        places = {"BNLIB_CACHE": str(tmp_path / folder), "SCHEDULER": address, "PYTHONPATH": str(paths.ROOT)}
        done = subprocess.run([sys.executable, script], env=os.environ | places, capture_output=True, text=True, check=True)
        return done.stdout

    with worker(tmp_path / "one", scheduler):
        until(lambda: not _no_workers(scheduler))
        far = run("far", scheduler)
    assert "mine," in far
    assert run("near", "") == far
