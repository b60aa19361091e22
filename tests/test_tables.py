from bs4 import BeautifulSoup

from bnlib import outcomes, tables
from bnlib.bench import Benchmark
from tests.test_bench import RATES


def cells(table) -> list[list[str]]:
    soup = BeautifulSoup(table._repr_html_(), "html.parser")
    return [[cell.get_text() for cell in row.find_all(["th", "td"])] for row in soup.find_all("tr")]


def test_comparison_shows_means_intervals_and_difference(epochs):
    rows = cells(tables.comparison([outcomes.compare(epochs, o, 0.001) for o in outcomes.TABLE]))
    assert [row[0] for row in rows[1:]] == [
        "training loss of epoch 1, nats",
        "training loss of epoch 2, nats",
        "training accuracy of epoch 1, %",
        "training accuracy of epoch 2, %",
        "test accuracy of epoch 2, %",
    ]
    # 0.3, 0.4, 0.5: mean 0.4, half width 4.302653 * 0.1 / sqrt(3) = 0.2484
    assert rows[1][1:] == ["0.4000\n[0.1516, 0.6484]", "0.3000\n[0.0630, 0.5370]", "−0.1000\n[−0.1248, −0.0752]", "3"]


def test_across_counts_lost_runs(diverged_epochs):
    (row,) = cells(tables.across(diverged_epochs, outcomes.TEST_ACCURACY))[1:]
    assert row[0] == "1000"
    assert row[-2:] == ["2 of 2", "0 of 2"]  # one diverged, one did not learn
    assert row[1] == "10.00"  # one finite run: a mean, no interval


def test_networks_give_the_parameters_of_both_arms():
    rows = {row[0]: row for row in cells(tables.networks())}
    assert rows["norm1"][3:] == ["–", "64"]
    assert rows["in all"][3:] == ["421,642", "422,090"]
    assert rows["pool2"][2] == "64 × 7 × 7"


def test_splits_add_up(tiny_data):
    rows = cells(tables.splits(tiny_data))
    assert rows[1] == ["training", *["25"] * 10, "250"]
    assert rows[2][-1] == "130"


def test_cost_counts_parameters_and_operations():
    rows = cells(tables.cost(None))
    assert rows[0] == ["arm", "parameters", "million operations for an image"]
    assert rows[1] == ["without batch norm", "421,642", "25.0"]
    assert rows[2] == ["with batch norm", "422,090", "25.0"]


def test_cost_gives_the_rates_of_a_benchmark():
    rows = cells(tables.cost(Benchmark(RATES, {})))
    assert rows[1][3:] == ["100", "300"]  # medians of 100, 100 and of 400, 200
    assert rows[2][3:] == ["50", "150"]


def test_table_is_read_by_its_headers_and_escapes_its_text():
    soup = BeautifulSoup(tables.Table("t", "<b>", ["a", "b"], [["x", "<script>"]])._repr_html_(), "html.parser")
    assert [th["scope"] for th in soup.find_all("th")] == ["col", "col", "row"]
    assert soup.find("script") is None
    assert soup.find(class_="scroll")["tabindex"] == "0"
    assert soup.find("figcaption").get_text() == "<b>"
