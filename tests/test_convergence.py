import pytest

from bnlib import convergence
from bnlib.bench import Benchmark
from tests.conftest import make_epochs
from tests.test_bench import RATES

NAN = float("nan")


@pytest.fixture
def first():
    """Four runs of three epochs: one reaches 98% in epoch 1, one in epoch 2, one never, one diverges."""
    runs = {
        0: [(1, 0.98), (1, 0.90), (1, 0.99)],
        1: [(1, 0.90), (1, 0.985), (1, 0.97)],
        2: [(1, 0.90), (1, 0.95), (1, 0.97)],
        3: [(1, 0.90), (NAN, NAN)],
    }
    return convergence.first_reached(make_epochs({("none", 0.001): runs}), 0.98)


def test_misses_are_censored_at_the_last_epoch_and_never_dropped(first):
    assert first.epoch.tolist() == [1, 2, 3, 3]
    assert first.reached.tolist() == [True, True, False, False]


def test_kaplan_meier_steps_down_at_each_run_that_gets_there(first):
    curve = convergence.kaplan_meier(first)
    assert curve.epochs.tolist() == [1, 2, 3]
    assert curve.share.tolist() == pytest.approx([0.75, 0.5, 0.5])
    assert (curve.low[:2] < curve.share[:2]).all()
    assert (curve.share[:2] < curve.high[:2]).all()


def test_median_is_the_epoch_by_which_half_had_reached_it(first):
    assert convergence.median_epochs(first) == 2
    assert convergence.median_epochs(first[first.epoch > 1]) == float("inf")


def test_seconds_of_an_epoch_come_from_the_benchmark():
    shared = {"precision": "fp32", "device": "cpu", "batch size": "100"}
    benchmark, facts = Benchmark(RATES, shared | {"runs at once": "2"}), shared | {"training images": "600"}
    # fit trains 400 and 200, and 100 and 200 images per second: see test_bench; two runs share them
    seconds = convergence.seconds_per_epoch(benchmark, facts)
    rates = {norm: RATES[(RATES.loop == "fit") & (RATES.norm == norm)].rate.median() for norm in ("none", "batch")}
    assert seconds == {norm: pytest.approx(1200 / rate) for norm, rate in rates.items()}
    assert convergence.seconds_per_epoch(None, facts) is None
    for name in shared:  # seconds of other arithmetic are not those of these runs
        assert convergence.seconds_per_epoch(benchmark, facts | {name: "other"}) is None
