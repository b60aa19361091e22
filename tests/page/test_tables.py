import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup

from bnlib.analysis import contrasts
from bnlib.analysis.benchmark import Benchmark
from bnlib.analysis.claims import OPEN, judge
from bnlib.analysis.original import replay as original
from bnlib.analysis.results import Contrast
from bnlib.analysis.statistics import Interval
from bnlib.page import tables
from bnlib.page.tables.evidence import FLUCTUATIONS
from bnlib.page.tables.table import p_value, share, times
from tests.conftest import make_epochs, results_of
from tests.page.test_figures import REPLAY, chain, with_arms

LAYERS = {  # of each arm: layer, kind, output, parameters
    "none": [("conv1", "Conv2d", "32 × 28 × 28", 320), ("linear2", "Linear", "10", 1290)],
    "group": [("conv1", "Conv2d", "32 × 28 × 28", 320), ("norm1", "GroupNorm", "32", 64), ("linear2", "Linear", "10", 1290)],
    "batch": [("conv1", "Conv2d", "32 × 28 × 28", 320), ("norm1", "BatchNorm2d", "32", 64), ("linear2", "Linear", "10", 1290)],
}
NETWORKS = pd.DataFrame(
    [(arm, *layer, 24_995_328) for arm, layers in LAYERS.items() for layer in layers],
    columns=["arm", "layer", "kind", "output", "parameters", "operations"],
)
ROWS = [  # repeat, norm, loop, rate
    *[(0, "", "peak", 1e9), (0, "none", "plain", 100.0), (0, "none", "fit", 400.0)],
    *[(0, "batch", "plain", 50.0), (0, "batch", "fit", 100.0)],
    *[(1, "", "peak", 2e9), (1, "none", "plain", 100.0), (1, "none", "fit", 200.0)],
    *[(1, "batch", "plain", 50.0), (1, "batch", "fit", 200.0)],
]
BENCHMARK = Benchmark(pd.DataFrame(ROWS, columns=["repeat", "norm", "loop", "rate"]), {"none": 10**6, "batch": 10**6}, {})


def runs(rates=(0.001, 0.005, 0.01)) -> pd.DataFrame:
    """Eight seeds of four epochs; with batch norm a lower loss and 0.6 to 0.67 points more test accuracy, at every rate."""

    def run(seed: int, more: bool) -> list[tuple[float, float]]:
        last = 0.985 + 0.0001 * seed + more * (0.006 + 0.0001 * seed)
        wave = 0.004 if not more else 0.001
        return [((0.2 - more * (0.1 + 0.001 * seed)) / epoch, last - wave * (epoch == 3)) for epoch in (1, 2, 3, 4)]

    arms = {"none": False, "batch": True}
    return make_epochs({(norm, rate): {s: run(s, more) for s in range(8)} for rate in rates for norm, more in arms.items()})


def cells(table) -> list[list[str]]:
    """What the table's HTML says, row by row; each row is as long as the head."""
    soup = BeautifulSoup(table._repr_html_(), "html.parser")
    rows = [[cell.get_text() for cell in row.find_all(["th", "td"])] for row in soup.find_all("tr")]
    assert {len(row) for row in rows} == {len(rows[0])}
    return rows


def test_comparison_shows_medians_ranges_and_difference(epochs):
    rows = cells(tables.comparison(results_of(epochs), 0.001))
    assert rows[0] == ["outcome", "without batch norm", "with batch norm", "difference, with − without", "pairs"]
    assert [row[0] for row in rows[1:]] == [
        "training loss of epoch 1, nats",
        "training loss of epoch 2, nats",
        "training accuracy of epoch 1, %",
        "training accuracy of epoch 2, %",
        "test accuracy of epoch 2, %",
    ]
    # 0.3, 0.4, 0.5 and 0.2, 0.31, 0.39
    assert rows[1][1:] == ["0.4000\n0.3000 to 0.5000", "0.3100\n0.2000 to 0.3900", "−0.1000\n[−0.1248, −0.0752]", "3"]


def test_comparison_of_four_arms_has_a_row_for_each_but_the_reference(epochs):
    rows = cells(tables.comparison(results_of(with_arms(epochs, "group", "layer")), 0.001))
    assert rows[0][1:] == ["without a norm", "in this arm", "difference, this arm − without a norm", "pairs"]
    assert [row[0] for row in rows[1:4]] == [
        f"training loss of epoch 1, nats, with {name} norm" for name in ("batch", "group", "layer")
    ]
    assert [row[1] for row in rows[1:4]] == ["0.4000\n0.3000 to 0.5000", "", ""]  # once
    assert [row[2].split("\n")[0] for row in rows[1:4]] == ["0.3100", "0.3410", "0.3751"]
    assert [row[3].split("\n")[0] for row in rows[1:4]] == ["−0.1000", "−0.0700", "−0.0370"]


def test_outcomes_that_are_the_same_stand_in_the_comparison_once(epochs):
    rows = cells(tables.comparison(results_of(epochs[epochs.epoch == 1]), 0.001))
    assert [row[0].split(",")[0] for row in rows[1:]] == [
        f"{x} of epoch 1" for x in ("training loss", "training accuracy", "test accuracy")
    ]


def test_networks_give_the_parameters_of_both_arms(epochs):
    table = tables.networks(NETWORKS, results_of(epochs).study)
    assert cells(table)[1:] == [
        ["conv1", "Conv2d", "32 × 28 × 28", "320", "320"],
        ["norm1", "BatchNorm2d", "32", "–", "64"],
        ["linear2", "Linear", "10", "1,290", "1,290"],
        ["in all", "", "", "1,610", "1,674"],
    ]


def test_networks_of_three_arms_have_each_layer_once(epochs):
    table = tables.networks(NETWORKS, results_of(with_arms(epochs, "group")).study)
    assert [row[0] for row in table.rows] == ["conv1", "norm1", "linear2", "in all"]
    assert table.rows[1][1:] == ["BatchNorm2d or GroupNorm", "32", "–", "64", "64"]


def test_splits_add_up():
    rows = cells(tables.splits({"training": [25] * 10, "test": [13] * 10}, "digits"))
    assert rows[1] == ["training", *["25"] * 10, "250"]
    assert rows[2][-1] == "130"


def test_cost_counts_parameters_and_operations(epochs):
    table = tables.cost(None, NETWORKS, results_of(epochs).study)
    assert cells(table) == [
        ["arm", "parameters", "million operations for an image"],
        ["without batch norm", "1,610", "25.0"],
        ["with batch norm", "1,674", "25.0"],
    ]


def test_cost_gives_the_rates_of_a_benchmark_and_a_dash_where_it_has_none(epochs):
    rows = cells(tables.cost(BENCHMARK, NETWORKS, results_of(with_arms(epochs, "group")).study))
    assert rows[1][3:] == ["100", "300"]  # medians of 100, 100 and of 400, 200
    assert rows[2][3:] == ["50", "150"]
    assert rows[3] == ["with group norm", "1,674", "25.0", "–", "–"]


def test_table_is_read_by_its_headers_and_escapes_its_text():
    shown = tables.Table("t", "<b>", ["a", "b"], [["x", "<script>"]]).under("And <i>.")
    soup = BeautifulSoup(shown._repr_html_(), "html.parser")
    assert [th["scope"] for th in soup.find_all("th")] == ["col", "col", "row"]
    assert soup.find("script") is None
    assert soup.find(class_="scroll").find("table")
    assert soup.find("figcaption").get_text() == "<b>. And <i>."


def test_each_row_has_an_address_of_its_own():
    rows = [["Learning rate 0.001, nats"], ["−0.5"], ["−0.5"]]
    soup = BeautifulSoup(tables.Table("t", "", ["a"], rows)._repr_html_(), "html.parser")
    assert [row.get("id") for row in soup.find_all("tr")] == [None, "t.learning-rate-0.001-nats", "t.0.5", "t.0.5-2"]


@pytest.mark.parametrize(
    ("ratio", "written"),
    [
        ((10.05, 5.57, 18.26), "10.1\n[5.6, 18.3]"),
        ((77, 51.7, np.inf), "≥ 77.0"),
        ((77, np.nan, np.inf), "≥ 77.0"),  # of three pairs
        ((3.1, 0, np.inf), "~ 3.1"),  # of a pair both of whose runs go to the end
        ((0.05, 0, 0.1), "0.1\n[0.0, 0.1]"),
        ((np.nan, 0, np.inf), "–"),
    ],
)
def test_ratio_of_largest_rates_says_what_more_rates_could_change(ratio, written):
    fields = dict.fromkeys(Contrast.__dataclass_fields__) | {"kind": "reach", "n": 8}
    assert times(Contrast(**fields | dict(zip(("estimate", "low", "high"), ratio, strict=True)))) == written


def test_probabilities_and_shares_are_written_as_they_are_read():
    assert [p_value(p) for p in (0.0234, 0.0004, np.nan)] == ["0.023", "< 0.001", "–"]
    assert share(Interval(0.25, 0.07, 0.591, 8)) == "2 of 8\n[7%, 59%]"


def test_test_table_has_means_of_pairs_that_learned_and_ranks_of_all():
    table = tables.tests(results_of(runs()), "test_accuracy_last")
    rate, pairs, difference, p, adjusted, better, rank, equal = table.rows[0]
    assert (rate, pairs, better, rank) == ("0.001", "8 of 8", "8 of 8", "0.023")
    assert difference.startswith("+0.63\n[")  # 0.6 to 0.67 points
    assert (p, adjusted) == ("0.008", "0.023")  # 2 / 2^8, and three times that
    assert equal.startswith("1.000\n[+0.6")


def test_test_table_counts_failed_runs_in_ranks_alone():
    gone = runs(rates=(0.001,))
    lost = (gone.norm == "none") & (gone.seed < 2)
    row = tables.tests(results_of(gone.assign(classes=gone.classes.mask(lost, 1))), "train_loss_last").rows[0]
    assert (row[1], row[3], row[5], row[6]) == ("6 of 8", "0.031", "8 of 8", "0.008")


def test_test_table_of_four_arms_adjusts_over_all_of_them():
    table = tables.tests(results_of(with_arms(runs(rates=(0.001,)), "group", "layer")), "train_loss_first")
    assert [row[0] for row in table.rows] == [f"0.001, with {name} norm" for name in ("batch", "group", "layer")]
    assert {(row[3], row[4], row[6]) for row in table.rows} == {("0.008", "0.023", "0.023")}  # three, each 2 / 2^8
    assert "each arm's minus that without a norm" in table.title


@pytest.fixture(scope="module")
def judged():
    return judge({"learning_rate": results_of(runs())})


def test_claims_table_has_a_verdict_at_each_rate(judged):
    head, *rows = cells(tables.claims(judged))
    assert head == ["claim", "at 0.001", "at 0.005", "at 0.01", "verdict"]
    told = {row[0].split(".")[0]: row[1:] for row in rows}
    assert told["4"] == ["supported"] * 4
    assert told["2"] == ["supported", "–", "–", "supported"]
    assert told["8"] == ["–", "–", "–", "not tested"]


def test_verdicts_of_other_runs_stand_side_by_side(judged):
    by_all = {claim.number: claim.verdict for claim in judged}
    head, *rows = cells(tables.sides(judged, {"all": by_all, "0-7": by_all | {"4": OPEN}}))
    assert head == ["claim", "all", "0-7"]
    assert rows[4] == ["4. Higher test accuracy at every rate", "supported", "not shown by these data"]


def test_parts_of_a_claim_say_what_they_are_judged_by(judged):
    by_number = {claim.number: claim for claim in judged}
    parts = cells(tables.parts(by_number["4"]))[1:]
    assert [row[0] for row in parts] == [f"test accuracy of epoch 4 at {rate}" for rate in ("0.001", "0.005", "0.01")]
    assert {(row[1], *row[3:]) for row in parts} == {("above 0", "0.008", "0.023", "8 of 8", "yes")}
    ranks = cells(tables.parts(by_number["1"]))[-1]
    assert ranks[:3] == ["epochs until test accuracy 98.5% at 0.01, by rank", "below 0", "better in 0 of 8\n8 tied"]
    *_, printed = cells(tables.parts(by_number["5"]))
    assert printed[1:] == ["the original's own table", "below 0", "+0.11\npercentage points", "–", "–", "–", "the opposite"]


def test_other_tables_are_of_every_rate():
    results = results_of(runs())
    assert [row[-1] for row in tables.gaps(results).rows] == ["8 of 8"] * 3
    reached = tables.reached(results)
    assert len(reached.rows) == 9
    assert len(reached.columns) == len(reached.rows[0]) == 7
    assert [row[1] for row in tables.best_rates(results).rows][:2] == ["0.001", "0.001"]


def test_generalisation_at_the_same_fit_is_told_where_it_was_recorded():
    epochs = runs()
    fits = epochs.assign(fitted_loss=np.where(epochs.learning_rate < 0.01, 0.1 / 2**epochs.epoch, 0.1))
    heads = [row[0] for row in tables.gaps(results_of(fits)).rows]
    assert heads[3:] == ["test loss at the same fit at 0.001", "test loss at the same fit at 0.005"]


def test_other_tables_are_of_every_arm_too():
    results = results_of(with_arms(runs(), "group", "layer"))
    for table, head, measures in (
        (tables.steadiness(results), "test accuracy at ", 3),
        (tables.gaps(results), "accuracy at ", 1),
    ):
        assert len(cells(table)) == 1 + 3 * 3 * measures
        assert [row[0] for row in table.rows][:2] == [f"{head}0.001, with {name} norm" for name in ("batch", "group")]
        assert [bool(row[1]) for row in table.rows] == [True, False, False] * 3 * measures
    best = tables.best_rates(results).rows
    assert [row[0] for row in best[4:]] == [f"difference, with {name} norm" for name in ("batch", "group", "layer")]


def test_steadiness_is_told_by_three_measures():
    head, *rows = cells(tables.steadiness(results_of(runs())))
    assert head == ["measure, rate", "without batch norm", "with batch norm", "difference, with − without", "p, Holm", "pairs"]
    assert [row[0] for row in rows[::3]] == [f"{what} at 0.001" for what in FLUCTUATIONS.values()]
    # From epoch 3 to 4 accuracy rises by 0.4 and 0.1 points, and the loss falls by a quarter in both arms.
    assert [cell.split("\n")[0] for cell in rows[0][1:]] == ["0.40", "0.10", "−0.30", "0.023", "8 of 8"]
    assert [cell.split("\n")[0] for cell in rows[6][1:4]] == ["1.33", "1.33", "1"]


def test_reached_counts_all_runs_and_gives_medians_and_pairs():
    cell = {("none", 0.001): {0: [(1, 0.9), (1, 0.981)], 1: [(1, 0.9), (1, 0.9)], 2: [(1, 0.981), (1, 0.981)]}}
    cell |= {("batch", 0.001): {seed: [(1, 0.981), (1, 0.981)] for seed in range(3)}}
    head, first, second, *_ = cells(tables.reached(results_of(make_epochs(cell))))
    assert head == ["accuracy, rate", "reached without", "with", "median epoch without", "with", "sooner", "p, Holm"]
    assert first == ["98.0% at 0.001", "2 of 3", "3 of 3", "2", "1", "2 of 3\n1 tied", "0.500"]
    assert second[1:6] == ["0 of 3", "0 of 3", "> 2", "> 2", "0 of 3\n3 tied"]


def test_replay_tables_have_every_published_figure():
    table = tables.replayed(original.beside(chain()))
    assert len(table.rows) == 60
    assert table.rows[0][:2] == ["0.001, without batch norm, epoch 1", "0.1943"]
    assert table.rows[0][3] == "yes"
    assert [row[1] for row in tables.replayed_test(original.beside_test(chain())).rows] == [
        *("99.05", "99.15", "98.48", "98.97", "98.79", "99.17"),
    ]
    few = tables.replayed_test(original.beside_test(chain().query("seed < 2"))).rows[0]
    assert (few[1], few[3]) == ("99.05", "–")
    assert "[" not in few[2]


def test_range_table_marks_usable_rates(span):
    rows = cells(tables.rates(results_of(span)))
    assert rows[0][1:4] == ["loss without", "accuracy without", "failed without"]
    assert [row[2] for row in rows[1:]] == ["98.00 usable", "96.00", "–"]
    assert rows[3][3].startswith("2 of 2\n[")


def test_range_table_of_three_arms_has_a_row_for_each(span):
    rows = cells(tables.rates(results_of(with_arms(span, "group"))))
    assert rows[0] == ["rate, arm", "loss", "accuracy", "failed"]
    assert [row[0] for row in rows[1:4]] == ["0.001, without a norm", "0.001, with batch norm", "0.001, with group norm"]
    assert [row[1] for row in rows[1:4]] == ["0.1000", "0.1000", "0.1100"]


@pytest.fixture
def fresh_and_chain():
    """Fresh starts at two rates, and the chain, as results."""
    cell = {
        (norm, rate): {s: [(0.1 + rate + 0.01 * s, 0.9)] * 10 for s in range(5)}
        for norm in ("none", "batch")
        for rate in (0.001, 0.005)
    }
    replayed = chain().assign(network="convnet", activation="relu", optimizer="adam", warmup=0, batch_size=100)
    return results_of(make_epochs(cell)), contrasts.of(REPLAY, replayed)


def test_effects_table_splits_the_chain_s_change(fresh_and_chain):
    fresh, chained = fresh_and_chain
    table = tables.effects([(name, original.effects(fresh, chained, name)) for name in original.SHOWN], REPLAY)
    assert table.rows[0][0] == "training loss of epoch 1, 0.005, without batch norm"
    assert table.rows[0][2].split("\n")[0] == "+0.0040"  # from 0.101 to 0.105, and so on
    assert len(table.rows) == 6


def test_first_losses_are_published_replayed_and_fresh(fresh_and_chain):
    fresh, chained = fresh_and_chain
    first, *_ = cells(tables.first_losses(original.first_losses(chained, fresh)))[1:]
    assert first == ["0.001, without batch norm", "0.1943", "0.1943", "0.1210"]  # medians: factor 1; seed 2


def test_claims_at_a_glance_have_a_mark_at_each_rate_and_a_verdict(judged):
    rows = cells(tables.glance(judged, judged, [0.001, 0.005, 0.01]))
    assert rows[0] == ["the original's claim", "0.001", "0.005", "0.01", "in its own chain", "verdict"]
    by_claim = {row[0].partition(".")[0]: row[1:] for row in rows[1:]}
    assert by_claim["4"] == ["✓", "✓", "✓", "✓", "supported"]
    assert by_claim["1"] == ["?", "?", "?", "?", "not shown"]  # all reach 98.5% in the first epoch
    assert by_claim["2"] == ["✓", "", "", "✓", "supported"]
    assert by_claim["8"] == ["", "", "", "–", "not tested"]
    assert len(rows) == 1 + len(judged)


def test_summary_counts_failed_runs_and_compares_the_others():
    epochs = runs()
    lost = (epochs.norm == "none") & (epochs.learning_rate == 0.01) & (epochs.seed < 2)
    rows = cells(tables.summary(results_of(epochs.assign(classes=epochs.classes.mask(lost, 1)))))
    assert [row[:2] for row in rows[1:]] == [["0.001", "0 · 0 of 8"], ["0.005", "0 · 0 of 8"], ["0.01", "2 · 0 of 8"]]
    assert rows[1][2:4] == ["0.2000 · 0.0965", "98.53 · 99.17"]  # 0.985 + 0.0001 x 3.5, and 0.006 + 0.0001 x 3.5 more
    differences = [float(row[4].splitlines()[0]) for row in rows[1:]]
    assert differences == pytest.approx([0.635, 0.635, 0.645], abs=0.006)  # at the last rate of the seeds 2 to 7


def test_what_was_asked_is_a_row_for_each_study():
    asked = results_of(runs()).study.model_copy(update={"title": "Each rate"})
    rows = cells(tables.asked([asked, REPLAY], asked.held))
    assert rows[1] == ["Each rate", "without batch norm and with batch norm", "0.001, 0.005, 0.01", "8", "48 of 4 epochs"]
    assert rows[2][2:] == ["0.001, 0.005, 0.01", "5", "10 of 30 epochs"]
    own = asked.model_copy(update={"held": asked.held | {"optimizer": "sgd", "batch_size": 50}})
    assert cells(tables.asked([own], asked.held))[1][1].endswith("and with batch norm; optimizer sgd; batch size 50")
