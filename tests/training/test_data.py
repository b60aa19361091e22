import numpy as np
import pytest
import torch

from bnlib import UserError
from bnlib.experiment.config import DATASETS, TESTED
from bnlib.system import download
from bnlib.training import data


def test_digits_are_split_and_scaled():
    digits = data.load("digits")
    assert digits.train.images.shape == (1437, 1, 28, 28)
    assert digits.test.images.shape == (360, 1, 28, 28)
    assert digits.train.images.dtype == np.float32
    assert digits.train.labels.dtype == np.int64
    assert digits.train.images.min() == -1
    assert digits.train.images.max() == 1


def test_digits_split_is_stratified_and_fixed():
    first, again = data.load("digits"), data.load("digits")
    assert np.bincount(first.test.labels).tolist() == [36, 36, 35, 37, 36, 37, 36, 36, 35, 36]
    assert TESTED["digits"] == (36, 36, 35, 37, 36, 37, 36, 36, 35, 36)
    assert np.array_equal(first.train.images, again.train.images)
    assert first.fingerprint == again.fingerprint


def test_two_pixels_become_four_by_a_line_between_their_middles():
    # The four new middles are at -1/4, 1/4, 3/4 and 5/4 of the way from one old middle to the other; beyond one it stays.
    found = data.enlarged(np.array([[[0, 1], [2, 3]]], np.float32), 4)
    line = np.array([0, 0.25, 0.75, 1])
    assert found.dtype == np.float32
    assert found.tolist() == [(2 * line[:, None] + line[None, :]).tolist()]


def test_images_of_their_own_size_stay_as_they_are():
    images = np.random.default_rng(0).random((3, 8, 8), np.float32)
    assert np.array_equal(data.enlarged(images, 8), images)


@pytest.mark.parametrize(("small", "size"), [(8, 28), (8, 16), (5, 7), (2, 28)])
def test_enlargement_is_torch_s_but_for_rounding(small, size):
    images = np.random.default_rng(0).random((4, small, small), np.float32)
    expected = torch.nn.functional.interpolate(torch.from_numpy(images)[:, None], size=(size, size), mode="bilinear")[:, 0]
    assert data.enlarged(images, size) == pytest.approx(expected.numpy(), abs=1e-6)


def test_digits_are_scikit_learn_s_enlarged():
    from sklearn.datasets import load_digits

    expected = data.normalise(data.enlarged(load_digits().images[:1].astype(np.float32) / 16, 28))[0]
    digits = data.load("digits")
    assert any((split.images == expected).all(axis=(1, 2, 3)).any() for split in (digits.train, digits.test))


def test_normalisation_is_the_original_s():
    assert data.normalise(np.array([[[0.0, 0.5, 1.0]]], np.float32)).flatten().tolist() == [-1.0, 0.0, 1.0]


def test_auto_falls_back_to_digits_only_when_mnist_is_out_of_reach(monkeypatch):
    def unreachable(name, root):
        raise download.Unreachable("away")

    monkeypatch.setattr(download, "ensure", unreachable)
    assert download.choose("auto") == "digits"
    with pytest.raises(download.Unreachable):
        download.choose("mnist")


def test_auto_takes_mnist_where_it_is(monkeypatch):
    monkeypatch.setattr(download, "ensure", lambda name, root: None)
    assert download.choose("auto") == "mnist"


def test_auto_does_not_hide_a_damaged_file(monkeypatch):
    def damaged(name, root):
        raise UserError("damaged")

    monkeypatch.setattr(download, "ensure", damaged)
    with pytest.raises(UserError, match="damaged"):
        download.choose("auto")


def test_unknown_data_set_lists_the_known_ones():
    with pytest.raises(UserError, match="dataset='foo': unknown data set; known: auto, mnist, fashion_mnist, digits"):
        data.load("foo")


def test_data_sets_are_those_that_a_run_can_name():
    assert set(download.NAMES) == set(DATASETS)


def test_split_refuses_images_without_labels():
    with pytest.raises(ValueError, match="3 images but 2 labels"):
        data.Split(np.zeros((3, 1, 28, 28), np.float32), np.zeros(2, np.int64))


def test_fingerprint_notices_one_label(tiny_data):
    labels = tiny_data.test.labels.copy()
    labels[0] += 1
    changed = data.Data("digits", tiny_data.train, data.Split(tiny_data.test.images, labels), tiny_data.checksum)
    assert changed.fingerprint != tiny_data.fingerprint


@pytest.fixture
def out_of_reach(monkeypatch):
    monkeypatch.setattr(download, "_download", lambda name, root: "no network")


def test_mnist_that_cannot_be_had_comes_without_its_images_where_it_is_not_needed(out_of_reach):
    mnist = data.load("mnist", needed=False)
    assert not mnist.here
    assert (mnist.name, mnist.sizes) == ("mnist", (60_000, 10_000))
    assert (len(mnist.train), len(mnist.test)) == (0, 0)
    assert mnist.fingerprint == data.FINGERPRINTS["mnist"]
    # As `checksum` has it of files that are well.
    assert mnist.checksum == data._joined(download.SHA256["mnist"])
    with pytest.raises(download.Unreachable, match=r"mnist: .* is missing and could not be downloaded \(no network\)"):
        data.load("mnist")


def test_data_without_a_known_fingerprint_are_needed(out_of_reach):
    with pytest.raises(download.Unreachable, match="fashion_mnist: "):
        data.load("fashion_mnist", needed=False)


def test_damaged_files_are_said_though_they_are_not_needed(out_of_reach, places):
    folder = places / "data/MNIST/raw"
    folder.mkdir(parents=True)
    (folder / "train-images-idx3-ubyte").write_bytes(b"damaged")
    with pytest.raises(UserError, match=r"train-images-idx3-ubyte has 7 bytes instead of .* replace the file"):
        data.load("mnist", needed=False)


def test_data_that_are_here_have_their_own_sizes_and_fingerprint(tiny_data):
    assert tiny_data.here
    assert tiny_data.sizes == (250, 130)
    assert tiny_data.fingerprint not in data.FINGERPRINTS.values()
