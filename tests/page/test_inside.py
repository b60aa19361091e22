"""Figures and tables of what probes saw, and of what else would do."""

import numpy as np
import pandas as pd
import pytest

from bnlib.analysis import contrasts
from bnlib.analysis.results import Results
from bnlib.experiment.config import LEVELS
from bnlib.page import figures, style, tables
from bnlib.page.prose import phrases
from tests.conftest import make_epochs, make_steps, results_of
from tests.page.test_tables import cells

RATES = (0.001, 0.01)


def looked(lost: int = 1):
    """Two arms, four seeds at two rates, looked into at their first step; at 0.01 some without a norm failed."""
    epochs = make_epochs(
        {
            (norm, rate): {seed: [(0.5 + 0.1 * seed, 0.9 + 0.01 * seed)] for seed in range(4)}
            for norm in ("none", "batch")
            for rate in RATES
        },
        study="inside",
    )
    gone = (epochs.norm == "none") & (epochs.learning_rate == 0.01) & (epochs.seed < lost)
    epochs["classes"] = np.where(gone, 1, 10)
    steps = make_steps(
        epochs,
        {
            ("dead", "relu2", ""): {"none": [0.25, 0.5, 0.75, 1], "batch": [0] * 4},
            ("shift", "conv2", "relative"): {"none": [1, 2, 4, 8], "batch": [1.9, 4, 8, 16.5]},
            ("step_size", "conv1", ""): {"none": [0.05] * 4, "batch": [0.06] * 4},
            ("step_size", "linear1", ""): {"none": [0.8] * 4, "batch": [0.9] * 4},
            ("loss_band", "", "before"): {"none": [2.3] * 4, "batch": [2.4] * 4},
            ("loss_band", "", "step × 1"): {"none": [3.6] * 4, "batch": [1.0] * 4},
        },
    )
    names = ("train_loss_first", "test_accuracy_last", "dead_relu2", "shift_relative")
    return results_of(epochs, steps, outcomes=names, probes=("dead", "shift")), steps


def test_lines_along_training_are_the_runs_and_their_medians():
    results, steps = looked()
    ax = figures.by_step(results.study, steps, ("dead", "relu2", ""), 0.01, figures.axes(), "dead channels", share=True)
    assert len(ax.lines) == 2 * (4 + 1)
    medians = [line.get_ydata()[0] for line in ax.lines if line.get_linewidth() == 2]
    assert medians == [0.625, 0]
    assert "without batch norm 62% at step 1" in ax.alt
    log = figures.by_step(results.study, steps, ("shift", "conv2", "relative"), 0.01, figures.axes(), "shift")
    assert (ax.get_yscale(), log.get_yscale(), ax.get_title()) == ("linear", "log", "at 0.01")


def test_first_step_is_a_line_for_each_layer_over_the_rates():
    results, steps = looked()
    ax = figures.first_step(results.study, steps, "none", ("conv1", "linear1"), figures.axes())
    drawn = [list(line.get_ydata()) for line in ax.lines[:2]]
    assert drawn == [[0.05, 0.05], [0.8, 0.8]]
    assert "linear1 80% at 0.001, 80% at 0.01" in ax.alt


def test_what_is_left_shows_runs_that_did_not_fail():
    results, _ = looked(lost=3)
    ax = figures.what_is_left(results, "dead_relu2", figures.axes())
    assert [len(line.get_xdata()) for line in ax.lines] == [5, 8]  # four at 0.001 and one at 0.01; all with batch norm
    assert max(ax.lines[0].get_xdata()) == 100


def test_strip_counts_failed_runs_and_draws_the_others():
    results, _ = looked(lost=1)
    ax = figures.strip(results, "train_loss_first", 0.01, figures.axes())
    points = [list(line.get_xdata()) for line in ax.lines if line.get_marker() != "None" and line.get_linestyle() == "None"]
    assert [len(values) for values in points] == [3, 4] or [len(line.get_xdata()) for line in ax.lines] == [3, 2, 4, 2]
    assert [text.get_text() for text in ax.texts] == ["without batch norm, 1 of 4 failed", "with batch norm"]
    assert "without batch norm median 0.7000, 1 failed" in ax.alt


def test_survival_is_counted_for_each_arm_and_rate():
    results, _ = looked(lost=3)
    rows = cells(tables.survival(results))
    assert rows[0] == ["learning rate", "without batch norm", "with batch norm", "p, Holm"]
    counts = [[cell.split("[")[0].strip() for cell in row[:3]] for row in rows[1:]]
    assert counts == [["0.001", "0 of 4", "0 of 4"], ["0.01", "3 of 4", "0 of 4"]]
    assert rows[2][3] == "0.250"  # 3 pairs differ, all one way: 2 / 2³; at the other rate none does, which counts for nothing


def test_survival_of_several_arms_has_a_row_for_each():
    rows = cells(tables.survival(controls()[0]["controls_survival"]))
    assert rows[0] == ["learning rate, arm", "failed", "p, Holm"]
    assert [row[0].split(", ")[1] for row in rows[1:]] == [
        "without a norm",
        "with batch norm",
        "with group norm",
        "with a warm-up of 600 steps",
    ]
    assert [row[2] for row in rows[1:]] == ["", "1.000", "1.000", "1.000"]


def test_first_steps_are_told_in_medians():
    results, steps = looked()
    rows = cells(tables.first_steps(results.study, steps, ("conv1", "linear1")))
    assert rows[0] == ["learning rate, arm", "conv1", "linear1", "loss before", "loss after"]
    assert rows[1] == ["0.001, without batch norm", "5%", "80%", "2.30", "3.60"]
    assert rows[2] == ["0.001, with batch norm", "6%", "90%", "2.40", "1.00"]
    single = steps[steps.seed == 0]
    (_, alone, *_) = cells(tables.first_steps(results.study, single, ("conv1", "linear1")))
    its = single[(single.norm == "none") & (single.learning_rate == 0.001) & (single.step == 1) & (single.layer == "conv1")]
    assert alone[1] == f"{its[its.probe == 'step_size'].value.item():.0%}"


def test_ratios_are_those_of_pairs_in_which_no_run_failed():
    results, _ = looked(lost=3)
    rows = cells(tables.ratios(results, "shifts", ("shift_relative",)))
    assert rows[0] == ["measured", "0.001, 4 of 4 pairs", "0.01, 1 of 4 pairs"]
    assert rows[1][1].split("[")[0].strip() == "1.99"  # (1.9 · 2 · 2 · 16.5 / 8)^¼
    assert rows[1][2] == "–"  # one pair is left


def controls(lost: int = 1):
    """None, batch and group norm and a warm-up in four studies; at 0.01 so many runs without a norm failed."""

    def study(name: str, rate: float, better: dict[str, float]) -> Results:
        arms = {
            norm: {s: [(0.5 - better[norm] * (1 + 0.01 * s), 0.98 + better[norm] / 100)] for s in range(8)}
            for norm in ("none", "batch", "group")
        }
        epochs = make_epochs({(norm, rate): its for norm, its in arms.items()}, study=name)
        warm = epochs[epochs.norm == "none"].assign(warmup=600)
        epochs["classes"] = np.where((epochs.norm == "none") & (epochs.seed < lost), 1, 10)
        factors = {"norm": ("none", "batch", "group"), "warmup": (0, 600), "learning_rate": (rate,)}
        combined = ({"norm": "batch"}, {"norm": "group"}, {"warmup": 600})
        asked = {"factors": factors, "reference": {"norm": "none", "warmup": 0}, "combined": combined}
        return results_of(pd.concat([epochs, warm]), **asked)

    better = {"none": 0, "batch": 0.3, "group": 0.2}
    plain = {name: study(name, 0.01, better) for name in ("controls", "controls_long", "controls_survival")}
    return plain, {name: contrasts.against(results, "batch") for name, results in plain.items()}


def test_gains_say_where_an_arm_lies_beside_both_references():
    rows = cells(tables.gains(*controls(), rates=(0.01,), survival=(0.01,)))
    assert rows[0][:3] == ["arm", "failed at 0.01", "loss of epoch 1 at 0.01"]
    told = {row[0]: row[1:3] for row in rows[1:]}
    assert told["without a norm"] == ["1 of 8", "0.5000 ⇈"]
    assert told["with batch norm"] == ["0 of 8", "0.1895 ↓"]
    assert told["with group norm"] == ["0 of 8", "0.2930 ↓ ⇈"]
    assert told["with a warm-up of 600 steps"] == ["0 of 8", "0.5000 ⇈"]


def test_gains_in_accuracy_are_by_rank_of_all_pairs_where_few_are_left_that_learned():
    plain, batch = controls(lost=2)
    # Over two arms: with a warm-up all pairs are alike.
    assert plain["controls_long"].one("test_accuracy_last", "batch", 0.01).p_adjusted == pytest.approx(2 * 2 / 64)
    rows = {row[0]: row[-1] for row in cells(tables.gains(plain, batch, rates=(0.01,), survival=(0.01,)))[1:]}
    assert rows["without a norm"] == "98.00 ⇊"
    assert rows["with batch norm"] == "98.30 ↑"
    assert rows["with group norm"] == "98.20 ↑ ⇊"


def test_arm_is_not_said_to_be_like_another_where_most_of_its_pairs_failed():
    epochs = make_epochs({(norm, 0.01): {s: [(0.5, 0.98)] for s in range(8)} for norm in ("none", "batch", "group")})
    epochs["classes"] = np.where((epochs.norm == "group") & (epochs.seed < 4), 1, 10)
    assert phrases.always(results_of(epochs), "train_loss_first", 0) == "with batch norm"
    epochs["classes"] = np.where((epochs.norm == "group") & (epochs.seed < 3), 1, 10)
    assert phrases.always(results_of(epochs), "train_loss_first", 0) == "with batch norm and group norm"


def test_arm_looks_alike_in_all_parts_of_a_study_that_is_no_product():
    plain, _ = controls()
    results = plain["controls"]
    fewer = results.study.model_copy(update={"combined": ({"warmup": 600},)})
    assert style.looks(fewer)["warmup 600"] == style.looks(results.study)["warmup 600"]
    assert len({look.color for look in style.looks(results.study).values()}) == 4


def test_arm_of_a_notebook_s_own_takes_no_other_one_s_look(monkeypatch):
    plain, _ = controls()
    study = plain["controls"].study
    monkeypatch.setitem(LEVELS["norm"], "mine", "my norm")
    factors = study.factors | {"norm": (*study.factors["norm"], "mine"), "activation": ("relu", "leaky_relu")}
    combined = (*study.combined, {"norm": "mine"}, {"activation": "leaky_relu"})
    changed = {"factors": factors, "reference": study.reference | {"activation": "relu"}, "combined": combined}
    looks = style.looks(study.model_copy(update=changed))
    assert list(looks) == ["none", "batch", "group", "warmup 600", "mine", "leaky_relu"]
    assert len({look.color for look in looks.values()}) == 6


def test_usable_rates_are_told_for_each_arm():
    accuracies = {("none", 0.001): 0.98, ("none", 0.01): 0.5, ("batch", 0.001): 0.98, ("batch", 0.01): 0.985}
    epochs = make_epochs({cell: {s: [(0.1, value)] for s in range(3)} for cell, value in accuracies.items()})
    rows = cells(tables.usable(results_of(epochs)))
    assert [row[:2] for row in rows[1:]] == [["without batch norm", "0.001"], ["with batch norm", "0.001 and 0.01"]]
    assert rows[2][2] == "≥ 10.0"  # of three seeds, which says nothing of chance; at larger rates it might be more


@pytest.mark.parametrize("lost", [0, 4])
def test_figures_stand_where_no_run_failed_and_where_all_did(lost):
    results, steps = looked(lost)
    assert len(figures.what_is_left(results, "dead_relu2", figures.axes()).alt) > 40
    assert len(figures.strip(results, "train_loss_first", 0.01, figures.axes()).alt) > 40
    assert len(figures.by_step(results.study, steps, ("dead", "relu2", ""), 0.01, figures.axes(), "d", share=True).alt) > 40
