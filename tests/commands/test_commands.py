import subprocess
import sys

import pytest
from filelock import FileLock

from bnlib import UserError, commands
from bnlib.commands import adopt, bench, reproduce, verify
from bnlib.system import litter, paths
from tests.conftest import outside


def failing(error: BaseException):
    def task() -> bool:
        raise error

    return task


@pytest.mark.parametrize(
    ("task", "status", "said"),
    [
        (lambda: True, 0, ""),
        (lambda: False, 1, ""),
        (failing(UserError("do this instead")), 1, "error: do this instead\n"),
        (failing(OSError(28, "No space left on device", "/full")), 1, "error: /full: No space left on device; "),
        (failing(OSError("no number, no name")), 1, "error: no number, no name; finished files are as they were"),
        (failing(OSError()), 1, "error: OSError; finished files are as they were"),
        (failing(KeyboardInterrupt()), 130, "\nit goes on\n"),
    ],
)
def test_command_ends_with_a_status_and_at_most_one_line(task, status, said, capsys):
    assert commands.run(task, "it goes on") == status
    err = capsys.readouterr().err
    assert err.startswith(said)
    assert err.strip().count("\n") == 0


TALKS = r"""
import subprocess, sys
from pathlib import Path
from tqdm import tqdm
from bnlib import commands

def task():
    for line in range(3):
        print("said", line, flush=True)
        print("\u2192 and asked\udce9", file=sys.stderr)
        tqdm([], disable=False).close()
    with open(sys.argv[1], "w") as stream:
        print("done", file=stream)
        subprocess.run(["sh", "-c", "echo child && echo child >&2"], check="-" in sys.argv[2])  # a kernel, say
    print("said at last")
    return True

sys.exit(commands.run(task, ""))
"""


@pytest.mark.parametrize(
    "output",
    [
        "| head -n 1",
        "2>&1 | true",
        ">&-",
        "2>&-",
        "<&- >&- 2>&-",
        "> /dev/full",
        "> /dev/full 2>&1",
        "| cat",  # on a terminal that knows no arrows
    ],
)
def test_output_that_nobody_can_take_stops_nothing(output, tmp_path):
    environment = outside() | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii:strict"}
    shell = f'set -o pipefail; "$0" -c "$1" "$2" "$3" {output}'
    command = ["bash", "-c", shell, sys.executable, TALKS, str(tmp_path / "file"), output if "&-" in output else ""]
    result = subprocess.run(command, cwd=paths.ROOT, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    assert "Exception ignored" not in result.stderr
    assert (tmp_path / "file").read_text() == "done\n"  # and nothing that was meant for the terminal


@pytest.mark.parametrize(("value", "keeps"), [(None, False), ("", False), ("0", False), ("1", True)])
def test_keep_is_off_unless_it_is_set(value, keeps, monkeypatch):
    monkeypatch.delenv("KEEP", raising=False)
    if value is not None:
        monkeypatch.setenv("KEEP", value)
    assert commands.keeps() is keeps


def test_commands_work_one_at_a_time(capsys):
    done = []
    assert commands.run(lambda: commands.alone(lambda: not done.append(1)), "") == 0
    paths.cache().mkdir(exist_ok=True)
    with FileLock(litter.lock()):
        for command in (adopt, bench, reproduce, verify):
            assert command.main() == 1
            assert capsys.readouterr().err == "error: another command is at work in this checkout; wait for it, or end it\n"
    assert done == [1]
