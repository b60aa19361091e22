"""`make report` is killed again and again, goes on each time from where it was, and trains no finished epoch again."""

import contextlib
import itertools
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time

import psutil
import pytest

from bnlib.runs import store
from bnlib.system import paths
from tests.conftest import contents, make

KILLS = int(os.environ.get("KILLS", "20"))  # 200 take two hours
SETTINGS = {"LEARNING_RATES": "0.001", "SEEDS": "1", "EPOCHS": "8", "STUDIES": "rates range replay"}
LONGEST = 0.5  # until a kill, or until what is to be killed is looked for, as a part of what a whole report takes
# Seconds for a report to end after a kill. A kernel between two cells has nothing that SIGINT could interrupt: the report then
# goes on to its end, as long as a whole one takes.
PATIENCE = 240.0

TARGETS = {  # what of a process's command line tells it
    "make": "--no-print-directory",
    "executor": "bnlib.commands.report",
    "kernel": "bnlib.commands.kernels",  # or the process that kernels are forked from
    "worker": "popen_loky_posix",
    "group": "",
}
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
SCRIPT = "import sys, pathlib; from tests import conftest as c; r = c.make(pathlib.Path(sys.argv[1]), **eval(sys.argv[2])); "
SCRIPT += "print(r.stdout, r.stderr); sys.exit(r.returncode)"


class Report:
    """A `make report`, all of whose processes can be found: they inherit its cache's name, kernels and workers too."""

    def __init__(self, folder, log):
        self.cache = str(folder / "cache")
        self.starter = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(folder), repr(SETTINGS)],
            cwd=paths.ROOT,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )

    def find(self, target: str) -> list[psutil.Process]:
        return [p for p in self.processes() if TARGETS[target] in _command(p)]

    def processes(self) -> list[psutil.Process]:
        """All that live, orphans included, but for the one that started it."""
        return [p for p in psutil.process_iter() if _cache(p) == self.cache]

    def ended(self) -> bool:
        return self.starter.poll() is not None and not self.processes()

    def kill(self, target: str, number: signal.Signals) -> bool:
        """Sends a signal to the target as soon as it is there; whether it was before the report ended."""
        while not (found := self.find(target)) and not self.ended():
            time.sleep(0.2)
        for process in found if target == "group" else found[:1]:
            _send(process, number)
        return bool(found)

    def clear(self) -> None:
        while self.processes():
            self.kill("group", signal.SIGKILL)
            time.sleep(0.1)
        self.starter.wait(timeout=PATIENCE)


def _cache(process: psutil.Process) -> str | None:
    try:
        return None if process.status() == psutil.STATUS_ZOMBIE else process.environ().get("BNLIB_CACHE")
    except (psutil.Error, OSError):
        return None


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def _send(process: psutil.Process, number: signal.Signals) -> None:
    with contextlib.suppress(psutil.Error):  # it ended by itself meanwhile
        process.send_signal(number)


def pages(folder) -> dict[str, str]:
    return {name: sha256 for name, sha256 in contents(folder / "reports").items() if not name.endswith("timing.csv")}


def stored(folder) -> int:
    """Epochs in the store; those that a chain has from the run at its first rate count there alone."""
    entries = (folder / "cache/runs").glob("[!.]*.pt")
    lengths = [len(store.unpacked(entry.read_bytes(), entry.stem).epochs) for entry in entries]
    first = int(SETTINGS["EPOCHS"])
    return sum(length - first if length > first else length for length in lengths)


def trained(said: str) -> int:
    """What the report that ended last said that it had trained."""
    return int(re.findall(r"trained (\d+) epochs? in", said)[-1])


def wait(report: Report, seconds: float) -> bool:
    """Waits for a report to end; whether it did."""
    end = time.monotonic() + seconds
    while not report.ended() and time.monotonic() < end:
        time.sleep(0.1)
    return report.ended()


@pytest.mark.long
def test_report_killed_at_random_moments_ends_in_the_same_bytes(tmp_path, capsys):
    began = time.monotonic()
    whole = make(tmp_path / "whole", **SETTINGS)
    longest = LONGEST * (time.monotonic() - began)
    assert whole.returncode == 0, whole.stderr
    expected, epochs = pages(tmp_path / "whole"), stored(tmp_path / "whole")
    assert trained(whole.stdout) == epochs > 0
    seed = random.randrange(10**6)
    rng, kills, finished, attempts, most = random.Random(seed), [], 0, 0, 0
    plan = itertools.cycle([(target, number) for number in SIGNALS for target in TARGETS])  # few kills meet all targets, too
    folder = tmp_path / "killed"
    with (tmp_path / "log").open("w") as log:
        target, number = next(plan)
        while len(kills) < KILLS or finished == 0:
            attempts += 1
            assert attempts < 5 * KILLS, kills
            kept = stored(folder)
            most = max(most, kept)
            report = Report(folder, log)
            moment = rng.uniform(1, longest) if len(kills) < KILLS else 1e9
            began = time.monotonic()
            if not wait(report, moment) and report.kill(target, number):
                kills.append((target, number.name, round(time.monotonic() - began, 1)))
                # Without make its executor may go on, and a second report must not join in.
                if target == "make" and number == signal.SIGKILL and report.find("executor"):
                    second = make(folder, **SETTINGS)
                    assert second.returncode == 0 or "another command is at work" in second.stderr, second.stderr
                    report.clear()
                elif not wait(report, PATIENCE) and target != "make":
                    report.clear()
                    pytest.fail(f"did not end within {PATIENCE:.0f} s of {kills[-1]}")
                report.clear()
                target, number = next(plan)
                continue
            wait(report, 300)
            said = (tmp_path / "log").read_text()
            assert report.starter.wait() == 0, (kills, said[-3000:])
            if kept < epochs:
                assert trained(said) == epochs - kept, (kills, kept)
            finished += 1
            assert pages(folder) == expected, kills
            shutil.rmtree(folder)  # and once more from nothing
    assert most > 0  # some report went on from epochs that a killed one had finished
    with capsys.disabled():
        print(f"\n{len(kills)} kills (seed {seed}), {finished} reports finished, all with the same bytes: {kills}")
