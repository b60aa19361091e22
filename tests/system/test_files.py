import errno
import os
from pathlib import Path

import pytest

from bnlib.system import files


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
