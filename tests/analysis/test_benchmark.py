import pandas as pd
import pytest

from bnlib import UserError
from bnlib.analysis import benchmark
from bnlib.analysis.benchmark import Benchmark
from bnlib.system import files, paths

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
OPERATIONS = {"none": 10**6, "batch": 3 * 10**6}
SHARED = {"precision": "fp32", "device": "cpu", "batch size": "100"}


def made(**facts: str) -> Benchmark:
    return Benchmark(RATES, OPERATIONS, SHARED | {"training code": "one two", "runs at once": "2"} | facts)


def test_ratio_of_all_arms_is_that_of_their_seconds():
    table = benchmark.summary(made())
    # For an image of each arm: plain 1/100 + 1/50 = 0.03 s; fit 1/400 + 1/100 = 0.0125 s, then 0.01 s.
    assert table.loc["all", ["least", "ratio", "most"]].tolist() == pytest.approx([2.4, 2.7, 3.0])
    assert table.loc["none", ["least", "ratio", "most"]].tolist() == pytest.approx([2, 3, 4])
    assert table.loc["batch", ["plain", "fit"]].tolist() == pytest.approx([50, 150])
    # 400 images of 1 million operations out of a thousand million; then 200 out of two thousand million.
    assert table.loc["none", "share"] == pytest.approx((0.4 + 0.1) / 2)
    assert table.loc["all", "share"] == pytest.approx((160 * 2 / 1000 + 200 * 2 / 2000) / 2)


def test_every_arm_that_was_measured_has_a_row():
    group = RATES[RATES.norm == "batch"].assign(norm="group")
    three = Benchmark(pd.concat([RATES, group], ignore_index=True), OPERATIONS | {"group": 10**6}, {})
    table = benchmark.summary(three)
    assert three.norms == ["none", "batch", "group"]
    assert table.index.tolist() == ["none", "batch", "group", "all"]
    # plain 1/100 + 1/50 + 1/50 = 0.05 s; fit 1/400 + 1/100 + 1/100 = 0.0225 s, then 0.015 s.
    assert table.loc["all", ["least", "most"]].tolist() == pytest.approx([0.05 / 0.0225, 0.05 / 0.015])


def test_an_arm_takes_longer_repeat_by_repeat():
    # 1/100 s over 1/400 s, then 1/200 s over 1/200 s.
    told = benchmark.longer(made(), ["none", "batch"])["batch"]
    assert (told.least, told.median, told.most) == pytest.approx((1, 2.5, 4))
    assert benchmark.longer(made(), ["none", "group"]) == benchmark.longer(None, ["none", "batch"]) == {}


def test_kept_benchmark_reads_back():
    assert benchmark.kept(["one"]) is None
    benchmark.keep(made())
    kept = benchmark.kept(["one", "other"])
    pd.testing.assert_frame_equal(kept.rates, RATES)
    assert kept[1:] == made()[1:]


def test_benchmark_of_other_code_than_the_runs_is_not_theirs():
    benchmark.keep(made())
    assert benchmark.kept(["on"]) is None
    assert benchmark.kept([]) is None


@pytest.mark.parametrize("content", ["<<<<<<< ours", "[]", "{}", '{"rates": [], "facts": {}}'])
def test_damaged_benchmark_is_said_in_one_line(content):
    files.write(paths.benchmark(), content)
    with pytest.raises(UserError, match=r"benchmark\.json is damaged; `make bench KEEP=1` makes it again, or delete it"):
        benchmark.kept(["one"])
