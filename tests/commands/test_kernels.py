"""Kernels: where they come from, what they take from who runs them, and how they end."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import psutil
import pytest

from bnlib import UserError
from bnlib.commands.kernels import warm
from bnlib.commands.notebook import Job, execute, execute_all
from bnlib.system import paths

PARAMETERS = "seeds = 3"
FIGURE = """
from bnlib.page import figures
ax = figures.axes()
ax.plot([1, 2], [1, 2], label="β₁")
ax.set_title("ä β₁")
figures.Picture("p", figures.describe(ax, "Ein β₁."), caption="β₁")
"""


def printed(path: Path) -> str:
    """What a finished notebook says on stdout."""
    cells = nbformat.read(path, 4).cells
    return "".join(o.text for cell in cells for o in cell.get("outputs", []) if o.output_type == "stream")


def run_apart(notebook: Path, output: Path, cwd: Path | None = None, root: Path = paths.ROOT, **variables: str):
    """Runs a notebook in a process of its own, in surroundings of a reader's."""
    code = "import sys; sys.path[0] = sys.argv[3]; from pathlib import Path; from bnlib.commands import notebook\n"
    code += "notebook.execute(Path(sys.argv[1]), Path(sys.argv[2]), {'seeds': 2})"
    command = [sys.executable, "-c", code, str(notebook), str(output), str(root)]
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTEST_CURRENT_TEST")}
    environment |= variables
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, encoding="utf-8", timeout=120)


def is_gone(pid: int) -> bool:
    """Whether a process has ended, or does so within five seconds; one that nobody has asked after yet has ended, too."""
    with contextlib.suppress(psutil.NoSuchProcess):
        for _ in range(50):
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
            time.sleep(0.1)
        return False
    return True


@pytest.fixture
def no_forks(monkeypatch):
    monkeypatch.setattr(warm, "FORKS", False)


def test_kernels_are_forks_of_one_process_and_share_nothing(write_notebook, tmp_path):
    cell = "import os, builtins\nassert not hasattr(builtins, 'seen')\nbuiltins.seen = 1\nprint(os.getppid(), os.environ['OF'])"
    written = write_notebook(PARAMETERS, cell)
    jobs = [Job(written, tmp_path / f"{name}.out.ipynb", {}, {"OF": name}) for name in "ab"]
    assert sorted(job.output.name for job in execute_all(jobs, workers=2)) == ["a.out.ipynb", "b.out.ipynb"]
    (first, a), (second, b) = (printed(job.output).split() for job in jobs)
    assert (a, b) == ("a", "b")
    assert first == second
    assert "OF" not in os.environ


def test_kernels_that_show_figures_have_their_modules_and_no_torch(write_notebook, tmp_path):
    had = "import sys\nhad = {'bnlib.page.figures', 'scipy.stats', 'torch', 'sklearn'} & set(sys.modules)\nprint(*sorted(had))"
    execute(write_notebook(PARAMETERS, had, "# from bnlib.page import figures"), tmp_path / "out.ipynb")
    assert printed(tmp_path / "out.ipynb") == "bnlib.page.figures scipy.stats\n"


@pytest.mark.usefixtures("no_forks")
def test_where_nothing_can_be_forked_a_kernel_is_a_process_of_this_interpreter(write_notebook, tmp_path):
    cell = "import os, sys\nprint(os.getppid(), sys.executable)\nprint('said', file=sys.stderr)"
    execute(write_notebook(PARAMETERS, cell), tmp_path / "out.ipynb")
    assert printed(tmp_path / "out.ipynb") == f"{os.getpid()} {sys.executable}\n"


def test_kernel_is_started_though_the_warm_process_has_died(write_notebook, tmp_path, monkeypatch):
    start = warm.Warm._start

    def die(self, modules):
        pipes = start(self, modules)
        self._processes[0].kill()
        self._processes[0].wait()
        return pipes

    monkeypatch.setattr(warm.Warm, "_start", die)
    execute(write_notebook(PARAMETERS, "import os\nprint(os.getppid())"), tmp_path / "out.ipynb")
    assert printed(tmp_path / "out.ipynb") == f"{os.getpid()}\n"


def test_kernel_of_another_environment_is_not_started_in_its_place(write_notebook, tmp_path, monkeypatch):
    spec = tmp_path / "jupyter" / "kernels" / "python3"
    spec.mkdir(parents=True)
    wrong = {"argv": ["/bin/false", "{connection_file}"], "display_name": "Python 3", "language": "python"}
    wrong["env"] = {"WRONG": "1"}
    (spec / "kernel.json").write_text(json.dumps(wrong))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    execute(write_notebook(PARAMETERS, "import os, sys\nprint(sys.prefix, 'WRONG' in os.environ)"), tmp_path / "out.ipynb")
    assert printed(tmp_path / "out.ipynb") == f"{sys.prefix} False\n"


@pytest.fixture
def surroundings(tmp_path):
    """A reader's settings, each of which would alter a page."""
    home = tmp_path / "home"
    rc = "font.size: 20\nlines.linewidth: 9\nsavefig.bbox: tight\naxes.facecolor: red\n"
    chatter = "import os, sys\nprint('chatter out')\nprint('chatter err', file=sys.stderr)\nos.write(1, b'chatter fd')\n"
    for name, content in {
        ".config/matplotlib/matplotlibrc": rc,
        "mpl/matplotlibrc": rc,
        "work/matplotlibrc": rc,
        ".ipython/profile_default/startup/00-mine.py": "print('chatter startup')\nseeds = 99\n",
        ".ipython/profile_default/ipython_config.py": "c.InteractiveShellApp.exec_lines = ['configured = 1']\n",
        "jupyter/jupyter_config.py": "c.NotebookClient.timeout = 1\nc.NotebookClient.allow_errors = True\n",
        "start.py": "print('chatter pythonstartup')\n",
        "site/sitecustomize.py": chatter,
    }.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(content)
    return home


NOISY = """
import os, subprocess, sys, warnings
warnings.warn("chatter of a library")
print("chatter", file=sys.stderr)
os.write(1, b"chatter of C\\n"); os.write(2, b"chatter of C\\n")
subprocess.run(["true"]); subprocess.run("echo chatter; echo chatter >&2", shell=True)
import logging; logging.warning("chatter")
print("β₁ kept", len(open("read.txt").read()))
"""


@pytest.mark.parametrize("forks", ["forked", "spawned"])
def test_pages_are_the_same_whatever_surrounds_who_makes_them(forks, surroundings, write_notebook, tmp_path, monkeypatch):
    (tmp_path / "read.txt").write_text("β₁", encoding="utf-8")
    monkeypatch.setattr(warm, "FORKS", forks == "forked")
    monkeypatch.delenv("PYTEST_CURRENT_TEST")  # where it is set, ipykernel leaves alone what is said past Python
    written = write_notebook(PARAMETERS, NOISY, FIGURE)
    execute(written, tmp_path / "plain.ipynb", {"seeds": 2})
    home = surroundings
    settings = {
        **{"HOME": str(home), "LC_ALL": "POSIX", "LANG": "de_DE", "PYTHONUTF8": "0", "PYTHONIOENCODING": "latin-1"},
        **{"PYTHONSTARTUP": str(home / "start.py"), "PYTHONWARNINGS": "ignore", "PYTHONPATH": str(home / "site")},
        **{"MPLCONFIGDIR": str(home / "mpl"), "MATPLOTLIBRC": str(home / "mpl/matplotlibrc"), "MPLBACKEND": "pdf"},
        **{"IPYTHONDIR": str(home / ".ipython"), "JUPYTER_CONFIG_DIR": str(home / "jupyter"), "COLUMNS": "20"},
        **{"LD_PRELOAD": "/nowhere/lib.so", "PYTHONCOERCECLOCALE": "0"},
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(home / "work")
    execute(written, tmp_path / "theirs.ipynb", {"seeds": 2})
    assert (tmp_path / "theirs.ipynb").read_bytes() == (tmp_path / "plain.ipynb").read_bytes()
    assert printed(tmp_path / "plain.ipynb") == "β₁ kept 2\n"
    assert "chatter" not in "".join(str(c.get("outputs", "")) for c in nbformat.read(tmp_path / "plain.ipynb", 4).cells)


def test_no_profile_is_read_wherever_it_lies(surroundings, write_notebook, tmp_path):
    theirs = {"IPYTHONDIR": str(surroundings / ".ipython")}  # stands for one in /etc, where no variable leads
    execute(
        write_notebook("mine = 1", "print({'seeds', 'configured'} & set(globals()))"), tmp_path / "out.ipynb", variables=theirs
    )
    assert printed(tmp_path / "out.ipynb") == "set()\n"
    assert "chatter" not in (tmp_path / "out.ipynb").read_text(encoding="utf-8")


def test_what_a_library_says_goes_to_the_terminal(write_notebook, tmp_path):
    (tmp_path / "read.txt").write_text("")
    result = run_apart(write_notebook(PARAMETERS, NOISY), tmp_path / "out.ipynb")
    assert result.returncode == 0, result.stderr
    assert result.stdout == ""
    assert result.stderr.count("chatter") >= 7


@pytest.mark.parametrize("home", ["/", "/proc/1/nowhere"])
def test_home_that_cannot_be_written_brings_no_warning(home, write_notebook, tmp_path):
    result = run_apart(write_notebook(PARAMETERS, "print(1)"), tmp_path / "out.ipynb", HOME=home)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


@pytest.mark.parametrize("name", ["{run} {prefix} {seeds}", "a:b", "ä β₁ '\""])
@pytest.mark.parametrize("forks", ["forked", "spawned"])
def test_path_of_the_checkout_and_of_the_cache_are_no_templates(name, forks, write_notebook, tmp_path, monkeypatch):
    place = tmp_path / name
    place.mkdir()
    (place / "bnlib").symlink_to(paths.ROOT / "bnlib")
    monkeypatch.setattr(warm, "FORKS", forks == "forked")
    monkeypatch.setattr(paths, "ROOT", place)
    monkeypatch.setattr(paths, "PACKAGE", place / "bnlib")
    for variable in ("BNLIB_CACHE", "TMPDIR"):
        monkeypatch.setenv(variable, str(place))
    monkeypatch.delenv("PYTHONPATH", raising=False)
    written = write_notebook(PARAMETERS, "import os, sys\nprint(sys.path[0] or sys.path[1], os.getcwd())", name=f"{name} n")
    written = written.rename(place / written.name)
    (place / ".hidden.ipynb").write_text("{")
    execute(written, place / "out {x}.ipynb", {"seeds": 2})
    assert printed(place / "out {x}.ipynb") == f"{place} {place}\n"


def test_first_failure_ends_the_others_and_leaves_nothing_of_them(write_notebook, tmp_path):
    slow = write_notebook(PARAMETERS, "import os, time\nopen('pid', 'w').write(str(os.getpid()))\ntime.sleep(60)", name="slow")
    wait = "import os, time\nwhile not (os.path.exists('pid') and open('pid').read()): time.sleep(.05)"
    bad = write_notebook(PARAMETERS, f"{wait}\nraise ValueError('bad luck')", name="bad")
    jobs = [Job(path, tmp_path / f"{path.stem}.out.ipynb") for path in (slow, bad, slow)]
    began = time.monotonic()
    with pytest.raises(UserError, match=r"bad\.ipynb failed: ValueError: bad luck"):
        list(execute_all(jobs, workers=2))
    assert time.monotonic() - began < 20
    assert is_gone(int((tmp_path / "pid").read_text()))
    assert [path.name for path in tmp_path.glob("*.out*")] == ["bad.out.failed.ipynb"]
    assert not list((paths.cache() / "tmp").iterdir())


def test_one_that_is_finished_is_there_while_others_run(write_notebook, tmp_path):
    quick = write_notebook(PARAMETERS, "1", name="quick")
    slow = write_notebook(PARAMETERS, "import os, time\nwhile not os.path.exists('go'): time.sleep(.05)", name="slow")
    jobs = [Job(slow, tmp_path / "slow.out.ipynb"), Job(quick, tmp_path / "quick.out.ipynb")]
    done = execute_all(jobs, workers=2)
    assert next(done) == jobs[1]
    assert jobs[1].output.exists()
    assert not jobs[0].output.exists()
    (tmp_path / "go").touch()
    assert next(done) == jobs[0]


def test_kernel_and_its_children_end_with_a_command_that_was_killed(write_notebook, tmp_path):
    cell = "import subprocess, time\nsubprocess.Popen(['sleep', '99'])\nopen('on', 'w').close()\ntime.sleep(99)"
    written = write_notebook(PARAMETERS, cell)
    code = (
        "import sys; from pathlib import Path; from bnlib.commands import notebook; notebook.execute(*map(Path, sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, str(written), str(tmp_path / "out.ipynb")]
    with subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(paths.ROOT)}) as process:
        deadline = time.monotonic() + 60
        while not (tmp_path / "on").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        started = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGKILL)
    assert len(started) >= 3
    _, alive = psutil.wait_procs(started, timeout=5)
    assert not alive
    (left,) = (path for path in (paths.cache() / "tmp").iterdir() if path.is_dir())
    execute(write_notebook(PARAMETERS, "1"), tmp_path / "out.ipynb")
    assert not left.exists()
    assert not list((paths.cache() / "tmp").iterdir())


@pytest.fixture
def small_disk(tmp_path):
    """A folder in which 128 KiB fit."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("needs leave to mount")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_full_disk_is_named(small_disk, write_notebook, tmp_path, monkeypatch):
    monkeypatch.setenv("BNLIB_CACHE", str(small_disk))
    with pytest.raises(UserError, match=rf"^{small_disk}/tmp/[\w-]+: No space left on device; mend that") as error:
        execute(write_notebook(PARAMETERS), tmp_path / "out.ipynb")
    assert "\n" not in str(error.value)
    assert not list(tmp_path.glob("out*"))


def test_disk_that_fills_up_while_a_notebook_runs_is_the_reason_that_is_said(write_notebook, tmp_path, monkeypatch):
    room = warm.check_room
    calls = []

    def full(folder):
        calls.append(folder)
        if len(calls) > 1:
            raise UserError(f"{folder}: No space left on device")
        room(folder)

    monkeypatch.setattr(warm, "check_room", full)
    with pytest.raises(UserError, match="No space left on device"):
        execute(write_notebook(PARAMETERS, "import os\nos._exit(1)"), tmp_path / "out.ipynb")


def test_full_system_folder_for_temporary_files_does_no_harm(small_disk, write_notebook, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(small_disk))
    (small_disk / "fill").write_bytes(bytes(100_000))
    execute(write_notebook(PARAMETERS, "print(1)"), tmp_path / "out.ipynb")
    assert printed(tmp_path / "out.ipynb") == "1\n"
