"""The raw files on a small set of the same form, served by a real server on this machine where downloads matter."""

import errno
import gzip
import hashlib
import http.server
import os
import socket
import threading
import time
import urllib.parse

import numpy as np
import pytest
from torchvision import datasets

from bnlib import UserError
from bnlib.system import download, files
from bnlib.system.download import Unreachable, ensure, find_problems

TRAIN, TEST = 30, 20


def contents() -> dict[str, bytes]:
    rng = np.random.default_rng(0)
    made = {}
    for images, labels, count in download.PARTS.values():
        header = np.array([2051, count, 28, 28], dtype=">i4").tobytes()
        made[images] = header + rng.integers(0, 256, count * 784, dtype=np.uint8).tobytes()
        made[labels] = np.array([2049, count], dtype=">i4").tobytes() + rng.integers(0, 10, count, dtype=np.uint8).tobytes()
    return made


@pytest.fixture
def small(monkeypatch):
    """The files of a small MNIST, by name, their SHA-256 in place of MNIST's."""
    parts = {which: (*names[:2], count) for (which, names), count in zip(download.PARTS.items(), (TRAIN, TEST), strict=True)}
    monkeypatch.setattr(download, "PARTS", parts)
    made = contents()
    monkeypatch.setitem(download.SHA256, "mnist", {name: hashlib.sha256(content).hexdigest() for name, content in made.items()})
    return made


@pytest.fixture
def folder(small, tmp_path):
    """A data folder that holds the small MNIST."""
    for name, content in small.items():
        files.write(tmp_path / "MNIST/raw" / name, content)
    return tmp_path


@pytest.fixture
def server(small, monkeypatch):
    """Serves the small MNIST as torchvision's mirrors do; `server.stalls` makes it send half a file and then nothing."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = gzip.compress(small[self.path.strip("/").removesuffix(".gz")], mtime=0)
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.server.stalls:
                self.wfile.write(body[: len(body) // 2])
                self.wfile.flush()
                self.server.ended.wait(10)
            else:
                self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as made:
        made.stalls, made.ended = False, threading.Event()
        threading.Thread(target=made.serve_forever, daemon=True).start()
        sums = [
            (f"{n}.gz", hashlib.md5(gzip.compress(c, mtime=0), usedforsecurity=False).hexdigest()) for n, c in small.items()
        ]
        monkeypatch.setattr(datasets.MNIST, "mirrors", [f"http://127.0.0.1:{made.server_port}/"])
        monkeypatch.setattr(datasets.MNIST, "resources", sums)
        monkeypatch.setitem(download.HOSTS, "mnist", (("127.0.0.1", made.server_port),))
        yield made
        made.ended.set()
        made.shutdown()


@pytest.fixture
def offline(monkeypatch):
    monkeypatch.setattr(download, "_download", lambda name, root: "no network")


DAMAGE = {
    "truncated": (lambda b: b[:-5], r"has [0-9,]+ bytes instead of 15,696"),
    "empty": (lambda b: b"", "is empty"),
    "flipped": (lambda b: b[:100] + bytes([b[100] ^ 1]) + b[101:], "wrong SHA-256"),
}


def damage(folder, how, file="t10k-images-idx3-ubyte"):
    path = folder / "MNIST/raw" / file
    path.write_bytes(DAMAGE[how][0](path.read_bytes()))
    return path


def test_whole_files_have_no_problems(folder):
    assert find_problems("mnist", folder / "MNIST/raw") == {}
    ensure("mnist", folder)


@pytest.mark.parametrize("how", DAMAGE)
def test_damaged_file_without_network_is_one_line_that_names_it(how, folder, offline):
    path = damage(folder, how)
    with pytest.raises(UserError, match=DAMAGE[how][1]) as error:
        ensure("mnist", folder)
    assert not isinstance(error.value, Unreachable)
    assert str(path) in str(error.value)
    assert "replace the file" in str(error.value)
    assert "\n" not in str(error.value)


def test_half_the_labels_are_noticed(folder, offline):
    path = folder / "MNIST/raw/t10k-labels-idx1-ubyte"
    content = path.read_bytes()
    path.write_bytes(np.array([2049, TEST // 2], dtype=">i4").tobytes() + content[8 : 8 + TEST // 2])
    with pytest.raises(UserError, match="t10k-labels-idx1-ubyte has 18 bytes instead of 28"):
        ensure("mnist", folder)


@pytest.mark.parametrize("how", DAMAGE)
def test_damaged_file_is_fetched_again(how, folder, server, small):
    path = damage(folder, how)
    ensure("mnist", folder)
    assert path.read_bytes() == small[path.name]
    assert not list(folder.glob(".fetch-*"))


def test_absent_set_is_downloaded(tmp_path, server, small):
    ensure("mnist", tmp_path)
    pixels, labels = download.read("mnist", tmp_path, "test")
    assert pixels.shape == (TEST, 28, 28)
    assert labels.tobytes() == small["t10k-labels-idx1-ubyte"][8:]


def test_stalled_download_ends_and_leaves_nothing(tmp_path, server, monkeypatch):
    server.stalls = True
    monkeypatch.setattr(download, "TIMEOUT", 0.5)
    began = time.monotonic()
    with pytest.raises(Unreachable, match="timed out"):
        ensure("mnist", tmp_path)
    assert time.monotonic() - began < 8
    assert [path.name for path in tmp_path.rglob("*") if path.name != ".lock"] == []


def test_hosts_are_those_of_torchvision_s_mirrors():
    for name, kind in (("mnist", datasets.MNIST), ("fashion_mnist", datasets.FashionMNIST)):
        parsed = [urllib.parse.urlsplit(mirror) for mirror in kind.mirrors]
        assert download.HOSTS[name] == tuple((url.hostname, {"https": 443, "http": 80}[url.scheme]) for url in parsed)


def test_host_that_refuses_is_the_reason_given(tmp_path, small, monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but nobody listens
        monkeypatch.setitem(download.HOSTS, "mnist", (taken.getsockname(),))
        with pytest.raises(Unreachable, match=r"127.0.0.1: Connection refused"):
            ensure("mnist", tmp_path)


def test_absent_set_without_network_says_what_to_do(tmp_path, small, offline):
    with pytest.raises(Unreachable, match=r"is missing .* \(no network\); put the four files there, packed or not") as error:
        ensure("mnist", tmp_path)
    assert "DATASET=digits" in str(error.value)


def test_data_folder_that_is_a_file_is_one_line(tmp_path, small):
    (tmp_path / "data").write_text("")
    with pytest.raises(UserError, match=r"data folder .*data: Not a directory; mend that, or set DATA_DIR"):
        ensure("mnist", tmp_path / "data")


@pytest.mark.parametrize("place", ["MNIST/raw", "MNIST"])
def test_packed_files_that_are_there_are_unpacked_without_network(place, tmp_path, small, offline):
    for name, content in small.items():
        files.write(tmp_path / place / f"{name}.gz", gzip.compress(content))
    ensure("mnist", tmp_path)
    assert {name: (tmp_path / "MNIST/raw" / name).read_bytes() for name in small} == small
    assert not list(tmp_path.glob(".fetch-*"))


def test_unpacked_and_packed_files_together_make_the_set(tmp_path, small, offline):
    for number, (name, content) in enumerate(small.items()):
        if number == 0:
            files.write(tmp_path / "MNIST" / name, content)  # not in its folder
        elif number == 1:
            files.write(tmp_path / "MNIST/raw" / name, content)
        else:
            files.write(tmp_path / "MNIST/raw" / f"{name}.gz", gzip.compress(content))
    ensure("mnist", tmp_path)
    assert find_problems("mnist", tmp_path / "MNIST/raw") == {}


@pytest.mark.parametrize("harm", [lambda b: b"", lambda b: b[:-50], lambda b: b"text", lambda b: b[:40] + b"\0" * 40 + b[80:]])
def test_packed_file_that_is_damaged_is_one_line_that_names_it(harm, tmp_path, small, offline):
    for name, content in small.items():
        packed = gzip.compress(content)
        files.write(tmp_path / "MNIST/raw" / f"{name}.gz", harm(packed) if name.startswith("t10k-images") else packed)
    with pytest.raises(UserError, match=r"t10k-images-idx3-ubyte.gz does not hold .* replace the file") as error:
        ensure("mnist", tmp_path)
    assert not isinstance(error.value, Unreachable)  # `auto` must not call it absent
    assert "\n" not in str(error.value)


def test_packed_file_that_is_damaged_is_fetched(tmp_path, server, small):
    for name, content in small.items():  # torchvision fetches none where it finds all four
        damaged = content[:-1] + b"?"
        files.write(tmp_path / f"MNIST/raw/{name}.gz", gzip.compress(damaged if name.startswith("t10k-images") else content))
    ensure("mnist", tmp_path)
    assert find_problems("mnist", tmp_path / "MNIST/raw") == {}


def test_what_a_killed_download_left_goes_with_the_next(tmp_path, server):
    files.write(tmp_path / ".fetch-old/MNIST/raw/half", "")
    ensure("mnist", tmp_path)
    assert not list(tmp_path.glob(".fetch-*"))


@pytest.mark.parametrize("number", [errno.EACCES, errno.ENOSPC])
def test_unwritable_or_full_data_folder_is_one_line(number, tmp_path, small, monkeypatch):
    def refuse(**_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(download.tempfile, "mkdtemp", refuse)
    with pytest.raises(UserError, match=f"data folder .*: {os.strerror(number)}; mend that, or set DATA_DIR") as error:
        ensure("mnist", tmp_path)
    assert not isinstance(error.value, Unreachable)  # `auto` must not fall back for what the person can mend


def test_fashion_mnist_is_checked_by_header_and_labels(folder, tmp_path, small, offline):
    target = tmp_path / "FashionMNIST/raw"
    for name, content in small.items():
        files.write(target / name, content)
    assert find_problems("fashion_mnist", target) == {}
    labels = target / "t10k-labels-idx1-ubyte"
    labels.write_bytes(labels.read_bytes()[:-1] + bytes([250]))
    images = target / "train-images-idx3-ubyte"
    images.write_bytes(b"\1" + images.read_bytes()[1:])
    assert find_problems("fashion_mnist", target) == {
        "t10k-labels-idx1-ubyte": "holds labels above 9",
        "train-images-idx3-ubyte": "does not begin with the header of its kind",
    }
