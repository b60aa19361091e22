import pandas as pd
import pytest
import torch

from bnlib import UserError, bench, files, paths, store
from bnlib.bench import Benchmark

ROWS = [  # repeat, norm, loop, rate
    (0, "", "peak", 1e9),
    (0, "none", "plain", 100.0),
    (0, "none", "fit", 400.0),
    (0, "batch", "plain", 50.0),
    (0, "batch", "fit", 100.0),
    (1, "", "peak", 2e9),
    (1, "none", "plain", 100.0),
    (1, "none", "fit", 200.0),
    (1, "batch", "plain", 50.0),
    (1, "batch", "fit", 200.0),
]
RATES = pd.DataFrame(ROWS, columns=["repeat", "norm", "loop", "rate"])


def test_ratio_of_both_arms_is_that_of_their_seconds(monkeypatch):
    monkeypatch.setattr(bench, "operations", lambda norm: {"none": 10**6, "batch": 3 * 10**6}[norm])
    table = bench.summary(RATES)
    # For an image of each arm: plain 1/100 + 1/50 = 0.03 s; fit 1/400 + 1/100 = 0.0125 s, then 0.01 s.
    assert table.loc["both", ["least", "ratio", "most"]].tolist() == pytest.approx([2.4, 2.7, 3.0])
    assert table.loc["none", ["least", "ratio", "most"]].tolist() == pytest.approx([2, 3, 4])
    assert table.loc["batch", ["plain", "fit"]].tolist() == pytest.approx([50, 150])
    # 400 images of 1 million operations out of a thousand million; then 200 out of two thousand million.
    assert table.loc["none", "share"] == pytest.approx((0.4 + 0.1) / 2)
    assert table.loc["both", "share"] == pytest.approx((160 * 2 / 1000 + 200 * 2 / 2000) / 2)


def test_text_lines_up_and_gives_every_number():
    lines = bench.text(bench.summary(RATES)).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert len(lines) == 4
    assert "3.00  2.00 to 4.00" in lines[1]


def test_operations_are_those_of_convolutions_and_matrix_products():
    # Multiply and add for each weight of each output; backward twice that, but for the first layer's input.
    conv1 = 2 * 28 * 28 * 32 * 9
    conv2 = 2 * 14 * 14 * 64 * 9 * 32
    linear = 2 * (3136 * 128 + 128 * 10)
    assert bench.operations("none") == 2 * conv1 + 3 * (conv2 + linear)
    assert bench.operations("batch") == bench.operations("none")


def test_kept_benchmark_reads_back(monkeypatch):
    assert bench.kept() is None
    bench.keep(Benchmark(RATES, {"training code": store.SOURCE}))
    pd.testing.assert_frame_equal(bench.kept().rates, RATES)
    monkeypatch.setattr(store, "SOURCE", "other")
    assert bench.kept() is None  # what was measured is not what trains


def test_both_loops_are_timed_in_turn(monkeypatch, tmp_path):
    monkeypatch.setattr(bench, "STEPS", 2)
    monkeypatch.setattr(bench, "WARM_UP", 1)
    monkeypatch.setattr(bench, "_peak", lambda precision: 1e9)
    images = torch.utils.data.TensorDataset(torch.zeros(60, 1, 28, 28), torch.zeros(60, dtype=torch.int64))
    images.data, images.targets = torch.zeros(60, 28, 28, dtype=torch.uint8), images.tensors[1]
    config = bench.RunConfig(dataset="mnist", norm="none", learning_rate=0.001, seed=0, batch_size=20, epochs=2)
    rates = bench.measure(config, images, workers=1, repeats=2)
    assert rates.loop.tolist() == ["peak", "plain", "fit", "plain", "fit"] * 2
    assert rates.norm.tolist() == ["", "none", "none", "batch", "batch"] * 2
    assert (rates.rate > 0).all()


@pytest.mark.parametrize("content", ["<<<<<<< ours", "[]", "{}", '{"rates": [], "facts": {}}'])
def test_damaged_benchmark_is_said_in_one_line(content):
    files.write(paths.benchmark(), content)
    with pytest.raises(UserError, match=r"benchmark\.json is damaged; `make bench KEEP=1` makes it again, or delete it"):
        bench.kept()


def test_without_mnist_random_images_of_its_shape_are_timed_and_that_is_said(monkeypatch, capsys):
    seen = []

    def measure(config, images, workers, repeats):
        seen.append((images.data.shape, images[0][0].shape, workers, repeats))
        return RATES

    monkeypatch.setattr(bench, "measure", measure)
    for name, value in {"WORKERS": "3", "REPEATS": "2", "KEEP": "1", "PRECISION": "bf16"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(bench.devices, "warning", lambda device, precision: f"{precision} is slow")
    assert bench.main() == 0
    said = capsys.readouterr()
    assert seen == [((60_000, 28, 28), (1, 28, 28), 3, 2)]
    assert "images: random, of MNIST's shape" in said.out
    assert "fit: 3 runs at once, bf16, cpu" in said.out
    assert said.err == "WARNING: bf16 is slow\n"
    pd.testing.assert_frame_equal(bench.kept().rates, RATES)
    assert bench.kept().facts["images"] == "random, of MNIST's shape"


@pytest.mark.parametrize(("variable", "value"), [("REPEATS", "0"), ("WORKERS", "x"), ("PRECISION", "fp8")])
def test_bad_input_is_one_line(variable, value, monkeypatch, capsys):
    monkeypatch.setenv(variable, value)
    assert bench.main() == 1
    error = capsys.readouterr().err
    assert error.startswith(f'error: {variable}="{value}": ')
    assert error.count("\n") == 1
