"""A report in surroundings that are not as they should be ends in the same bytes."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conftest import contents, make

pytestmark = pytest.mark.long

MOUNTED = ("unshare", "--mount", "sh", "-c")
# Without a network a machine still speaks with itself: the loopback device is up, IFF_UP by SIOCSIFFLAGS.
UP = (
    "import fcntl, os, socket, struct, sys; "
    "fcntl.ioctl(socket.socket(), 0x8914, struct.pack('16sh14x', b'lo', 1)); os.execvp(sys.argv[1], sys.argv[1:])"
)
WITHIN = {
    "one core": ("taskset", "--cpu-list", "0"),
    "no network": ("unshare", "--net", sys.executable, "-c", UP),
    "64 MB of shared memory": (*MOUNTED, 'mount -t tmpfs -o size=64m none /dev/shm && exec "$@"', "sh"),
    "a home that cannot be written": (*MOUNTED, 'mount -t tmpfs -o ro none "$HOME" && exec "$@"', "sh"),
}


def same(report: dict[str, str]) -> dict[str, str]:
    """What of a report is the same wherever and whenever it is made."""
    return {name: sha256 for name, sha256 in report.items() if not name.endswith("timing.csv")}


@pytest.fixture
def home(tmp_path, monkeypatch):
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in [name for name in os.environ if name.startswith(("XDG_", "JUPYTER_", "IPYTHONDIR", "MPLCONFIGDIR"))]:
        monkeypatch.delenv(name)


def test_report_has_the_same_bytes_with_all_of_these_at_once(as_made, home, tmp_path):
    had = {
        name: within for name, within in WITHIN.items() if not subprocess.run([*within, "true"], capture_output=True).returncode
    }
    if not had:
        pytest.skip(f"none of these is to be had, or allowed: {', '.join(WITHIN)}")
    result = make(tmp_path, within=[word for within in had.values() for word in within])
    assert result.returncode == 0, f"with {', '.join(had)}: {result.stderr}"
    assert same(contents(tmp_path / "reports")) == same(as_made)


def test_clock_that_jumped_makes_nothing_stale_and_nothing_up_to_date(as_made, tmp_path):
    assert make(tmp_path).returncode == 0
    for years in (-30, 60):
        for path in tmp_path.rglob("*"):
            then = path.stat().st_mtime + years * 365 * 86_400
            os.utime(path, (then, then))
        assert "up to date" in make(tmp_path).stdout
    (tmp_path / "reports/digits/index.html").write_text("edited")
    result = make(tmp_path)
    assert result.returncode == 0, result.stderr
    assert same(contents(tmp_path / "reports")) == same(as_made)


def test_two_checkouts_that_share_a_store_train_at_once_to_the_same_bytes(as_made, tmp_path):
    shared, places = tmp_path / "runs", [tmp_path / "one", tmp_path / "other"]
    shared.mkdir()
    for place in places:
        (place / "cache").mkdir(parents=True)
        (place / "cache/runs").symlink_to(shared)
    with ThreadPoolExecutor() as threads:
        for place, result in zip(places, threads.map(make, places), strict=True):
            assert result.returncode == 0, result.stderr
            assert same(contents(place / "reports")) == same(as_made)
