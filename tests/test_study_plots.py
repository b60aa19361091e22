import pandas as pd
import pytest

from bnlib import captions, evidence_tables, outcomes, plots, replay, study_plots, study_tables
from bnlib.claims import judge
from tests.conftest import make_epochs
from tests.test_claims import runs
from tests.test_replay import chain


def test_survival_curve_says_how_many_got_there():
    cells = {("none", 0.001): {0: [(1, 0.99)], 1: [(1, 0.9)]}, ("batch", 0.001): {0: [(1, 0.99)], 1: [(1, 0.99)]}}
    ax = study_plots.survival(make_epochs(cells), 0.98, 0.001, ax=plots.axes())
    assert "without batch norm 1 of 2 reached it" in ax.alt
    assert "with batch norm 2 of 2 reached it, half of them by epoch 1" in ax.alt
    assert ax.get_lines()[0].get_ydata()[-1] == 0.5


def test_range_figures_give_each_rate_of_each_arm(span):
    loss, accuracy, lost = (
        draw(span, ax=plots.axes()) for draw in (study_plots.range_loss, study_plots.range_accuracy, study_plots.range_lost)
    )
    assert "0.001: 0.1000, 0.01: 0.3000, 1: 2.3000" in loss.alt
    assert "without batch norm 0.001: 98.00, 0.01: 96.00, 1: 10.00" in accuracy.alt
    assert "without batch norm 0.001: 0%, 0.01: 0%, 1: 100%" in lost.alt


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_chain_draws_published_points_and_fresh_starts(norm):
    fresh = make_epochs({(norm, 0.005): {0: [(0.3, 0.9)] * 10}})
    ax = study_plots.chain(pd.concat([chain(), fresh]), norm, ax=plots.axes())
    crosses = [line for line in ax.get_lines() if line.get_marker() == "x"]
    assert sum(len(line.get_xdata()) for line in crosses) == 30
    dotted = [line for line in ax.get_lines() if line.get_linestyle() == ":"]
    assert [list(line.get_xdata()) for line in dotted] == [list(range(21, 31))]
    assert "published for epoch 1" in ax.alt


def test_captions_count_what_is_drawn(span):
    assert "2 epochs at 3 rates, 2 seeds each" in captions.rate_range(span)
    assert "mean over our 3 seeds" in captions.chain(chain())
    assert "each arm's 8 runs" in captions.survival(runs(gain=0.6))


def test_replay_tables_have_every_published_figure():
    table = study_tables.replayed(replay.beside(chain()))
    assert len(table.rows) == 60
    assert table.rows[0][:2] == ["0.001, without batch norm, epoch 1", "0.1943"]
    assert table.rows[0][3] == "yes"
    assert [row[1] for row in study_tables.replayed_test(replay.beside_test(chain())).rows] == [
        *("99.05", "99.15", "98.48", "98.97", "98.79", "99.17"),
    ]


def test_range_table_marks_usable_rates(span):
    rows = study_tables.rates(span).rows
    assert [row[2] for row in rows] == ["98.00 usable", "96.00", "10.00"]
    assert rows[2][3].startswith("2 of 2\n[")


def test_effects_table_splits_the_chain_s_change():
    fresh = make_epochs(
        {(n, r): {s: [(0.1 + r + 0.01 * s, 0.9)] * 10 for s in range(3)} for n in ("none", "batch") for r in (0.001, 0.005)}
    )
    rows = study_tables.effects(fresh, chain()).rows
    assert rows[0][0] == "training loss of epoch 1, 0.005, without batch norm"
    assert len(rows) == 6


def test_test_table_has_interval_p_share_and_size():
    (first, *_) = evidence_tables.tests(runs(gain=0.6), outcomes.TEST_ACCURACY).rows
    rate, difference, p, adjusted, share, size, equal = first
    assert rate == "0.001"
    assert difference.startswith("+0.6")
    assert "\nt [" in difference
    assert (p, adjusted) == ("0.008", "0.023")
    assert share == "1.00\n[0.68, 1.00]"
    assert float(size.splitlines()[0]) > 1
    assert equal == "1.000"


def test_claim_tables_give_verdicts_and_parts():
    judged = judge(runs(gain=0.6))
    assert [row[1] for row in evidence_tables.claims(judged).rows][:2] == ["supported", "supported"]
    parts = evidence_tables.parts(judged[3]).rows
    assert [row[0] for row in parts] == [f"test accuracy of epoch 6 at {rate}" for rate in ("0.001", "0.005", "0.01")]
    assert {(row[1], row[3], row[4], row[5]) for row in parts} == {("above 0", "0.023", "8 of 8", "yes")}


def test_other_tables_are_of_every_rate():
    epochs = runs(gain=0.6)
    assert [row[0] for row in evidence_tables.steadiness(epochs).rows] == ["0.001", "0.005", "0.01"]
    assert [row[4] for row in evidence_tables.gaps(epochs).rows] == ["8", "8", "8"]
    reached = evidence_tables.reached(epochs, {"none": 10.0, "batch": 20.0})
    assert len(reached.rows) == 9
    assert len(reached.columns) == len(reached.rows[0]) == 7
    assert [row[1] for row in evidence_tables.best_rates(epochs).rows][:2] == ["0.001", "0.001"]
