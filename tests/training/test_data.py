import pytest
import torch

from bnlib import UserError
from bnlib.experiment.config import DATASETS
from bnlib.system import download
from bnlib.training import data


def test_digits_are_split_and_scaled():
    digits = data.load("digits")
    assert digits.train.images.shape == (1437, 1, 28, 28)
    assert digits.test.images.shape == (360, 1, 28, 28)
    assert digits.train.images.dtype == np.float32
    assert digits.train.labels.dtype == torch.int64
    assert digits.train.images.min() == -1
    assert digits.train.images.max() == 1


def test_digits_split_is_stratified_and_fixed():
    first, again = data.load("digits"), data.load("digits")
    assert first.test.labels.bincount().tolist() == [36, 36, 35, 37, 36, 37, 36, 36, 35, 36]
    assert np.array_equal(first.train.images, again.train.images)
    assert first.fingerprint == again.fingerprint


def test_digits_enlargement_is_bilinear():
    from sklearn.datasets import load_digits

    small = torch.from_numpy(load_digits().images[:1]).float() / 16
    expected = torch.nn.functional.interpolate(small[None], size=(28, 28), mode="bilinear")[0, 0] * 2 - 1
    everything = torch.cat([split.images for split in (data.load("digits").train, data.load("digits").test)])
    assert (everything[:, 0] == expected).all(dim=(1, 2)).any()


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
        data.Split(torch.zeros(3, 1, 28, 28), torch.zeros(2, dtype=torch.int64))


def test_fingerprint_notices_one_label(tiny_data):
    labels = tiny_data.test.labels.clone()
    labels[0] += 1
    changed = data.Data("digits", tiny_data.train, data.Split(tiny_data.test.images, labels), tiny_data.checksum)
    assert changed.fingerprint != tiny_data.fingerprint
