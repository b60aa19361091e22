import pandas as pd
import pytest
import torch

from bnlib import UserError
from bnlib.analysis import benchmark
from bnlib.analysis.benchmark import Benchmark, summary
from bnlib.commands import bench
from bnlib.experiment.config import RunConfig
from bnlib.runs import store
from bnlib.system import download

ROWS = [  # repeat, norm, loop, rate
    (0, "", "peak", 1e9),
    (0, "none", "plain", 100.0),
    (0, "none", "fit", 400.0),
    (0, "batch@1", "plain", 50.0),
    (0, "batch@1", "fit", 100.0),
    (1, "", "peak", 2e9),
    (1, "none", "plain", 100.0),
    (1, "none", "fit", 200.0),
    (1, "batch@1", "plain", 50.0),
    (1, "batch@1", "fit", 200.0),
]
RATES = pd.DataFrame(ROWS, columns=["repeat", "norm", "loop", "rate"])
MEASURED = Benchmark(RATES, {"none": 10**6, "batch@1": 10**6}, {})


def configs(*norms: str) -> list[RunConfig]:
    shared = {"dataset": "mnist", "learning_rate": 0.001, "seed": 0, "epochs": 2}
    return [RunConfig(**shared, norm=norm, batch_size=20) for norm in norms]


def test_text_lines_up_and_gives_every_number():
    lines = bench.text(summary(MEASURED)).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert [line.split("  ")[0] for line in lines[1:]] == ["none", "batch norm behind conv1 alone", "all arms together"]
    assert lines[1].split()[1:] == ["100", "300", "3.00", "2.00", "to", "4.00", "25%"]


def test_both_loops_are_timed_in_turn_for_each_arm(monkeypatch):
    monkeypatch.setattr(bench, "STEPS", 2)
    monkeypatch.setattr(bench, "WARM_UP", 1)
    monkeypatch.setattr(bench, "_peak", lambda precision: 1e9)
    images = torch.utils.data.TensorDataset(torch.zeros(60, 1, 28, 28), torch.zeros(60, dtype=torch.int64))
    images.data, images.targets = torch.zeros(60, 28, 28, dtype=torch.uint8), images.tensors[1]
    rates = bench.measure(configs("none", "batch", "group"), images, workers=1, repeats=2)
    assert rates.loop.tolist() == ["peak", *["plain", "fit"] * 3] * 2
    assert rates.norm.tolist() == ["", "none", "none", "batch", "batch", "group", "group"] * 2
    assert rates["repeat"].tolist() == [0] * 7 + [1] * 7
    assert (rates.rate > 0).all()


def unreachable(name, root):
    raise download.Unreachable


def test_without_mnist_random_images_of_its_shape_are_timed_and_that_is_said(monkeypatch, capsys):
    seen = []

    def measure(configs, images, workers, repeats):
        norms = [config.norm for config in configs]
        seen.append((norms, images.data.shape, images[0][0].shape, workers, repeats))
        return RATES

    monkeypatch.setattr(bench, "measure", measure)
    monkeypatch.setattr(bench.download, "ensure", unreachable)
    asked = {"WORKERS": "3", "REPEATS": "2", "KEEP": "1", "PRECISION": "bf16", "ARMS": "none batch@1"}
    for name, value in asked.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(bench.environment, "warning", lambda device, precision: f"{precision} is slow")
    assert bench.main() == 0
    said = capsys.readouterr()
    assert seen == [(["none", "batch@1"], (60_000, 28, 28), (1, 28, 28), 3, 2)]
    assert "images: random, of MNIST's shape" in said.out
    assert "fit: 3 runs at once, bf16, cpu" in said.out
    assert said.err == "WARNING: bf16 is slow\n"
    for recipe in store.recipes(configs("none", "batch@1"), data="any"):  # the runs of either arm find it
        kept = benchmark.kept([recipe.made_by["code"]])
        pd.testing.assert_frame_equal(kept.rates, RATES)
        assert kept.norms == ["none", "batch@1"]
        assert kept.facts["images"] == "random, of MNIST's shape"


def test_damaged_images_are_not_timed(monkeypatch, capsys):
    def damaged(name, root):
        raise UserError("t10k-labels-idx1-ubyte is damaged")

    monkeypatch.setattr(bench.download, "ensure", damaged)
    assert bench.main() == 1
    assert capsys.readouterr().err == "error: t10k-labels-idx1-ubyte is damaged\n"


def test_without_keep_nothing_is_kept(monkeypatch, places):
    monkeypatch.setattr(bench, "benchmark", lambda: MEASURED._replace(facts={"device": "cpu"}))
    assert bench.main() == 0
    assert not list(places.rglob("benchmark.json"))


@pytest.mark.parametrize(("variable", "value"), [("REPEATS", "0"), ("WORKERS", "x"), ("PRECISION", "fp8"), ("ARMS", "none")])
def test_bad_input_is_one_line(variable, value, monkeypatch, capsys):
    monkeypatch.setenv(variable, value)
    assert bench.main() == 1
    error = capsys.readouterr().err
    assert error.startswith(f'error: {variable}="{value}": ')
    assert error.count("\n") == 1


def test_what_a_gpu_trains_side_by_side_is_not_timed_one_by_one(monkeypatch, capsys):
    monkeypatch.setenv("DEVICE", "cuda")
    monkeypatch.setattr(bench.environment, "need", lambda device: None)
    monkeypatch.setattr(bench.download, "ensure", unreachable)
    monkeypatch.setattr(bench, "measure", lambda *_: pytest.fail("measured"))
    monkeypatch.setattr(bench.many, "suits", lambda config: config.device == "cuda")
    assert bench.main() == 1
    assert "set DEVICE=cpu" in capsys.readouterr().err
