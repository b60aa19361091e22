import numpy as np
import pandas as pd
import pytest

from bnlib.analysis.benchmark import Benchmark
from bnlib.analysis.original import replay
from bnlib.experiment import studies
from bnlib.experiment.config import CHAIN
from bnlib.experiment.study import Study
from bnlib.page import prose
from tests.conftest import make_epochs, results_of


def cell(sign: int, seeds: int) -> dict:
    """Six epochs of each seed; with `sign` 1 lower in loss, sooner at 98.5%, better in the end, steadier."""

    def accuracy(seed: int, epoch: int) -> float:
        start, swing = (0.99, 0.001) if sign else (0.983, 0.004 + 0.0001 * seed)
        return start if epoch == 1 else 0.985 + 0.006 * sign + 0.0001 * seed * (1 + sign) + swing * (epoch == 4)

    def loss(seed: int, epoch: int) -> float:
        return (0.2 - (0.1 + 0.001 * seed) * sign) / epoch

    return {s: [(loss(s, epoch), accuracy(s, epoch)) for epoch in range(1, 7)] for s in range(seeds)}


def runs(better: str = "batch", worse: str = "none", seeds: int = 8) -> pd.DataFrame:
    """Records at the original's rates in which one arm is better in every way, with a narrower gap."""
    cells = {(norm, rate): cell(sign, seeds) for rate in CHAIN for norm, sign in ((worse, 0), (better, 1))}
    table = make_epochs(cells)
    return table.assign(train_accuracy=np.where(table.norm == better, 0.994, 0.999))


def chain(scale: dict[int, float] | None = None) -> pd.DataFrame:
    """Records of a replay that lie around the published figures: five seeds, each off by a factor."""
    published, test = replay.published(), replay.published_test()
    rows = []
    for seed, factor in (scale or {0: 0.8, 1: 0.8, 2: 1.0, 3: 1.25, 4: 1.25}).items():
        mine = published.assign(dataset="mnist", study="replay", seed=seed, test_loss=0.05, classes=10)
        mine["train_loss"] *= factor
        mine["train_accuracy"] = 1 - (1 - mine.train_accuracy) * factor
        mine["test_accuracy"] = [1 - (1 - test.loc[row.learning_rate, row.norm]) * factor for row in mine.itertuples()]
        rows.append(mine)
    return pd.concat(rows, ignore_index=True)


REPLAY = studies.replay(seeds=5, epochs=10, dataset="mnist")
AT_ALL = "at 0.001, 0.005 and 0.01"


def network(arm: str, kinds: dict[str, str], parameters: list[int]) -> pd.DataFrame:
    rows = [(arm, layer, kind, "", n, 0) for (layer, kind), n in zip(kinds.items(), parameters, strict=True)]
    return pd.DataFrame(rows, columns=["arm", "layer", "kind", "output", "parameters", "operations"])


def test_networks_count_the_layers_that_differ():
    plain = network("none", {"conv": "Conv2d", "linear": "Linear"}, [10, 1000])
    batch = network("batch", {"conv": "Conv2d", "norm": "BatchNorm2d", "linear": "Linear"}, [10, 4, 1000])
    two = studies.each_rate(0.001, arms=("none", "batch"), seeds=1, epochs=1, dataset="mnist")
    told = prose.networks(pd.concat([plain, batch]), two)
    assert told == "**The arms differ in 1 layer with 4 of 1,014 parameters, and in nothing else.**"
    group = network("group", {"conv": "Conv2d", "norm": "GroupNorm", "more": "GroupNorm", "linear": "Linear"}, [10, 4, 6, 1000])
    three = studies.each_rate(0.001, arms=("none", "batch", "group"), seeds=1, epochs=1, dataset="mnist")
    assert "with batch norm 1 layer with 4 of 1,014 parameters; with group norm 2 layers with 10 of 1,020" in prose.networks(
        pd.concat([plain, batch, group]), three
    )


def test_each_section_opens_with_its_finding():
    results = results_of(runs())
    told = [f(results) for f in (prose.each_rate, prose.soon, prose.steady, prose.own_rates, prose.general)]
    assert all(text.startswith("**") for text in told)
    assert f"Training loss of epoch 1 is lower with batch norm {AT_ALL}" in told[0]
    assert f"98.5% sooner {AT_ALL}" in told[1]
    assert f"fluctuates less with batch norm {AT_ALL}" in told[2]
    assert "are higher with batch norm: +" in told[3]
    assert f"narrower with batch norm {AT_ALL}" in told[4]


def test_turned_records_turn_what_is_said():
    turned = results_of(runs(better="none", worse="batch"))
    assert f"98.5% later {AT_ALL}" in prose.soon(turned)
    assert "fluctuates more with batch norm" in prose.steady(turned)
    assert "wider with batch norm" in prose.general(turned)


def test_nothing_is_told_apart_whose_adjusted_p_is_not_small():
    # of eight pairs five differ, all in one direction: p = 2 / 2^5
    cells = {
        (norm, 0.001): {s: [(1.0, 0.98 + 0.001 * (norm == "batch" and s < 5))] for s in range(8)} for norm in ("none", "batch")
    }
    results = results_of(make_epochs(cells))
    assert results.one("test_accuracy_last", "batch", 0.001).p == pytest.approx(2 / 2**5)
    assert "test accuracy of epoch 1 is not told apart at 0.001" in prose.each_rate(results)


def test_equality_is_claimed_only_where_it_is_tested():
    close = {s: [(1.0, 0.98 + 0.00001 * s)] for s in range(8)}
    epochs = make_epochs({("none", 0.001): close, ("batch", 0.001): {s: [(1.0, 0.98 + 0.00002 * (s % 2))] for s in range(8)}})
    assert "is shown at 0.001" in prose.sure(results_of(epochs))
    assert "is shown at no rate" in prose.sure(results_of(runs()))


def four_arms() -> pd.DataFrame:
    """Batch and group norm better in every way, layer norm as without a norm but for noise; nine seeds: 9 x 2 / 2^9 < 5%."""
    table = runs(seeds=9)
    rng = np.random.default_rng(0)
    layer = table[table.norm == "none"].assign(norm="layer")
    layer["train_loss"] += rng.choice([-1e-3, 1e-3], len(layer))
    return pd.concat([table, table[table.norm == "batch"].assign(norm="group"), layer])


def test_several_arms_are_each_named_and_compared_with_the_reference():
    results = results_of(four_arms())
    told = prose.each_rate(results)
    assert told.startswith(
        "**Compared with runs without a norm, training loss of epoch 1 is with batch norm and with group norm lower"
    )
    assert f"with layer norm not told apart {AT_ALL}." in told
    assert told.endswith("(adjusted over the arms and rates).")
    soon = prose.soon(results)
    assert f"98.5% with batch norm and with group norm sooner {AT_ALL}; with layer norm no sooner" in soon
    assert f"with batch norm and with group norm less {AT_ALL}" in prose.steady(results)
    assert f"with batch norm and with group norm narrower {AT_ALL}" in prose.general(results)
    own = prose.own_rates(results)
    assert "is higher with batch norm (+" in own
    assert "is not told apart with layer norm (+0.00" in own


def test_equality_of_several_arms_is_shown_for_each():
    assert f"with batch norm and with group norm at no rate; with layer norm {AT_ALL}" in prose.sure(
        results_of(four_arms().assign(test_accuracy=lambda t: t.test_accuracy + 1e-5 * (t.norm == "layer") * (t.seed % 2)))
    )


def test_reach_gives_both_ranges_and_their_ratio(span):
    told = prose.reach(results_of(span))
    assert told.startswith("**In runs of 2 epochs with 2 seeds, rates within 1 point of an arm's best median test accuracy, ")
    assert "without batch norm 0.001 and with batch norm 0.001 to 0.01" in told
    assert "the largest such rate of a seed is 100.0 [" in told  # 10 and 1000
    assert "over seeds (10.0 and 1000.0)" in told
    assert "within 0.5 and " in told
    assert "steps of about 31.6" in told


def test_reach_of_several_arms_gives_a_ratio_each(span):
    told = prose.reach(results_of(pd.concat([span, span[span.norm == "none"].assign(norm="group")])))
    assert "over that without a norm, is 100.0 [" in told
    assert "with batch norm and 1.0 (in each seed) with group norm." in told
    assert "Failed are without a norm 2 of 2 at 1; with batch norm none; with group norm 2 of 2 at 1.**" in told


def test_range_of_one_rate_has_no_steps(span):
    assert "steps" not in prose.reach(results_of(span[span.learning_rate == 0.001]))


def test_failed_runs_of_the_range_are_counted_by_arm_and_rate(span):
    assert "Failed are without batch norm 2 of 2 at 1; with batch norm none.**" in prose.reach(results_of(span))
    failed = span.copy()
    failed.loc[(failed.norm == "batch") & (failed.learning_rate > 0.001) & (failed.seed == 0), "classes"] = 1
    assert "2 of 2 at 1; with batch norm 1 of 2 at 0.01 and 1.**" in prose.reach(results_of(failed))


def test_bad_run_that_predicts_several_classes_has_not_failed(span):
    low = span.copy()
    low.loc[(low.norm == "batch") & (low.learning_rate == 1.0), ["test_accuracy", "classes"]] = [0.15, 3]
    assert "with batch norm none.**" in prose.reach(results_of(low))


def test_usable_rates_with_a_gap_are_named_one_by_one(span):
    middle = span.copy()
    middle.loc[(middle.norm == "batch") & (middle.learning_rate == 0.01), "test_accuracy"] = 0.5
    middle.loc[(middle.norm == "batch") & (middle.learning_rate == 1.0), "test_accuracy"] = 0.99
    assert "with batch norm 0.001 and 1" in prose.reach(results_of(middle))


def test_best_rate_at_the_edge_is_said():
    assert "at the edge of those tried" in prose.own_rates(results_of(runs()))
    middle = runs()
    middle["train_loss"] *= np.where(middle.learning_rate == 0.005, 0.5, 1.0)
    told = prose.own_rates(results_of(middle))
    assert "0.005 without and 0.005 with batch norm" in told
    assert "at the edge" not in told


def test_replay_counts_published_figures_inside_its_band():
    told = prose.replayed(REPLAY, chain(), "mnist")
    assert told.startswith(
        "**Of the 60 epochs of the original's log that were run, 60 training losses and 60 training accuracies lie where"
    )
    # e to the power of 2 x 2.776445 x 0.22314 x sqrt(6 / 5)
    assert "a factor of 3.9 from end to end" in told
    assert "6 of its 6 test accuracies" in told
    short = chain()
    shorter = prose.replayed(REPLAY, short[short.epoch <= 5], "mnist")
    assert shorter.startswith("**Of the 30 epochs of the original's log that were run, 30 training losses and 30")
    assert "test accuracies" not in shorter  # the original's are of its tenth epoch
    assert "are of MNIST" in prose.replayed(REPLAY, chain(), "digits")
    assert "no interval" in prose.replayed(REPLAY, chain({0: 1.0}), "mnist")


def test_order_sets_original_replay_and_fresh_start_side_by_side():
    fresh = make_epochs({(norm, 0.005): {s: [(loss, 0.9)] for s in range(3)} for norm, loss in (("none", 0.3), ("batch", 0.1))})
    chained = results_of(chain(), outcomes=("train_loss_first", "train_loss_last", "test_accuracy_last"))
    assert prose.order(chained, results_of(fresh)).startswith(
        "Training loss of the first epoch at 0.005 is without batch norm 0.0190 in the original and 0.0190 in the replay, but "
        "0.3000 after a fresh start and with batch norm 0.0046 in the original"
    )
    assert prose.order(chained, results_of(fresh.assign(learning_rate=0.02))).startswith("The fresh start is")


FACTS = {
    "device": "cpu",
    "accelerator": "none",
    "processor": "P",
    "instruction set": "AVX2",
    "torch": "2",
    "images": "MNIST",
    "batch size": "100",
    "precision": "bf16",
    "runs at once": "2",
    "threads of the plain loop": "4",
}


def benchmark(**facts: str) -> Benchmark:
    """Images per second in two repeats: plain 100 and 50; fit 400 and 200, then 100 and 200; group norm as batch norm."""
    rates = [("none", "plain", 100, 100), ("batch", "plain", 50, 50), ("none", "fit", 400, 200), ("batch", "fit", 100, 200)]
    rates += [("group", "plain", 50, 50), ("group", "fit", 100, 200)]
    rows = [(i, norm, loop, both[i]) for i in range(2) for norm, loop, *both in rates]
    table = pd.DataFrame(rows, columns=["repeat", "norm", "loop", "rate"])
    return Benchmark(table, dict.fromkeys(("none", "batch", "group"), 1), FACTS | facts)


def asked(*arms: str) -> Study:
    return studies.each_rate(0.001, arms=arms, seeds=1, epochs=1, dataset="mnist")


def test_cost_is_told_from_the_kept_benchmark():
    told = prose.cost(benchmark(), asked("none", "batch"))
    # 400 / 100 and 200 / 200 images per second; 0.03 s to 0.0125 s and to 0.01 s
    assert "takes 2.50 (1.00 to 4.00) times as long with batch norm as without." in told
    assert (
        "fp32 on the CPU with 4 threads, takes 2.70 (2.40 to 3.00) times as long as this one, bf16 on the CPU, 2 runs" in told
    )
    assert "range of 2 repeats" in told
    assert "bf16 on H200," in prose.cost(benchmark(device="cuda", accelerator="H200"), asked("none", "batch"))


def test_cost_of_several_arms_is_in_times_of_the_reference():
    told = prose.cost(benchmark(), asked("none", "batch", "group"))
    both = "2.50 (1.00 to 4.00) times"
    assert f"takes {both} as long with batch norm as without a norm and {both} with group norm." in told
    assert "all arms together" in told


def test_cost_without_a_benchmark_of_the_arms_says_how_to_measure_it():
    for kept, arms in ((None, ("none", "batch")), (benchmark(), ("none", "layer"))):
        assert "`make bench KEEP=1` measures it" in prose.cost(kept, asked(*arms))
    assert prose.cost(None, asked("none", "group")).startswith("Group norm adds")
