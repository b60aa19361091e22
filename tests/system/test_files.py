import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import Timeout

from bnlib.system import files, paths


def failing(number: int):
    def fail(*_):
        raise OSError(number, os.strerror(number))

    return fail


def test_file_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "deep" / "file"
    files.write(path, "one")
    files.write(path, "two")
    assert path.read_text() == "two"
    assert [p.name for p in path.parent.iterdir()] == ["file"]


def test_full_disk_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "file"
    files.write(path, "whole")

    def full(self, data):
        with self.open("wb") as stream:
            stream.write(data[:2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left") as error:
        files.write(path, "replaced")
    assert error.value.filename == str(path)
    assert path.read_text() == "whole"
    assert [p.name for p in tmp_path.iterdir() if p.suffix == ".part"] == []


def test_files_written_together_are_all_written_or_none(tmp_path, monkeypatch):
    files.write_all({tmp_path / "a": "one", tmp_path / "b": "one"})
    real = Path.write_bytes

    def full(self, data):
        if self.name.startswith(".b."):
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(self, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        files.write_all({tmp_path / "a": "two", tmp_path / "b": "two"})
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "one", "b": "one"}


def test_files_that_do_not_reach_the_disk_together_are_not_moved(tmp_path, monkeypatch):
    files.write_all({tmp_path / name: "one" for name in "abc"})
    real, flushed = files.os.fsync, []

    def full(handle):
        flushed.append(handle)
        if len(flushed) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(handle)

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        files.write_all({tmp_path / name: "two" for name in "abc"})
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == dict.fromkeys("abc", "one")


def test_disk_that_knows_neither_modes_nor_flushing_takes_files(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "chmod", failing(errno.EPERM))
    monkeypatch.setattr(files.os, "fsync", failing(errno.EINVAL))
    files.write(tmp_path / "a", "one")
    files.write_all({tmp_path / "a": "two", tmp_path / "b": "two"})
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "two", "b": "two"}


def test_folder_that_will_do_is_made_and_left_empty(tmp_path):
    files.check(tmp_path / "deep/folder")
    assert list((tmp_path / "deep/folder").iterdir()) == []


@pytest.mark.parametrize(
    ("owner", "name"),
    [(Path, "mkdir"), (files.tempfile, "mkstemp"), (Path, "write_bytes"), (files.os, "fsync"), (Path, "replace")],
)
def test_folder_that_will_not_do_is_named(owner, name, tmp_path, monkeypatch):
    monkeypatch.setattr(owner, name, lambda *_, **__: failing(errno.EROFS)())
    with pytest.raises(OSError, match="Read-only file system") as error:
        files.check(tmp_path)
    assert error.value.filename == str(tmp_path)


HOLD = """
import sys
from pathlib import Path
from bnlib.system import files
with files.lock(Path(sys.argv[1])):
    print("has it", flush=True)
    input()
"""


@pytest.mark.parametrize("number", [None, errno.ENOLCK, errno.EOPNOTSUPP])
def test_lock_keeps_another_process_out_even_where_the_disk_has_no_locks(number, tmp_path, monkeypatch):
    code = HOLD if number is None else f"import fcntl, os\ndef no(*_): raise OSError({number}, '')\nfcntl.flock = no\n{HOLD}"
    if number is not None:
        monkeypatch.setattr(fcntl, "flock", failing(number))
    command = [sys.executable, "-c", code, str(tmp_path / "lock")]
    with subprocess.Popen(command, cwd=paths.ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        with pytest.raises(Timeout), files.lock(tmp_path / "lock", timeout=0):
            pass
        other.kill()
        other.wait()
        with files.lock(tmp_path / "lock", timeout=5):  # what a killed process held is free
            pass


def test_lock_that_cannot_be_had_names_its_file(tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", failing(errno.EIO))
    with pytest.raises(OSError, match="Input/output error") as error, files.lock(tmp_path / "lock"):
        pass
    assert error.value.filename == str(tmp_path / "lock")


def test_scratch_is_in_the_cache_and_gone_afterwards():
    with files.scratch() as folder:
        assert folder.parent == paths.cache() / "tmp"
        (folder / "file").write_text("")
    assert list(folder.parent.iterdir()) == []


SCRATCH = "from bnlib.system import files\nwith files.scratch() as f: (f / 'x').touch(); print(f, flush=True); input()"


def test_scratch_of_a_killed_process_goes_and_that_of_a_living_one_stays():
    command = [sys.executable, "-c", SCRATCH]
    with subprocess.Popen(command, cwd=paths.ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        its = Path(other.stdout.readline().strip())
        with files.scratch():
            assert (its / "x").exists()
        other.kill()
        other.wait()
        assert (its / "x").exists()
        with files.scratch():
            assert not its.exists()
    assert list(its.parent.iterdir()) == []


def test_hidden_files_are_not_visible(tmp_path):
    for name in ("a.py", "deep/b.py", "._a.py", "deep/.ipynb_checkpoints/c.py", "a.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / ".#a.py").symlink_to("nobody@nowhere")
    (tmp_path / "folder.py").mkdir()
    assert [path.relative_to(tmp_path).as_posix() for path in files.visible(tmp_path, "*.py")] == ["a.py", "deep/b.py"]


def test_what_a_killed_process_left_is_swept_once_it_is_old(tmp_path):
    (tmp_path / "deep").mkdir()
    old, new, whole = tmp_path / "deep/.a.pt.x1.part", tmp_path / ".b.html.x2.part", tmp_path / "c.part"
    for path in (old, new, whole):
        path.write_text("")
    for path in (old, whole):
        os.utime(path, (0, 0))
    files.sweep(tmp_path)
    assert [path.exists() for path in (old, new, whole)] == [False, True, True]


def test_unchanged_content_keeps_its_time_stamp(tmp_path):
    path = tmp_path / "file"
    files.write(path, "same")
    before = path.stat()
    files.write_if_changed(path, "same")
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    files.write_if_changed(path, "other")
    assert path.read_text() == "other"


def test_sha256_is_the_published_one_of_abc(tmp_path):
    (tmp_path / "abc").write_text("abc")
    assert files.sha256(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
