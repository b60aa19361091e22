import base64
import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pytest

from bnlib.analysis.original import replay as original
from bnlib.experiment import studies
from bnlib.experiment.config import CLASSES
from bnlib.page import figures, style
from tests.conftest import make_epochs, results_of


def with_arms(records: pd.DataFrame, *norms: str) -> pd.DataFrame:
    """The records and, for each of `norms`, such as batch norm has, with each loss a tenth higher than the arm's before."""
    more = [
        records[records.norm == "batch"].assign(norm=norm, train_loss=lambda t, factor=1.1**place: t.train_loss * factor)
        for place, norm in enumerate(norms, start=1)
    ]
    return pd.concat([records, *more], ignore_index=True)


def chain() -> pd.DataFrame:
    """Records of a replay that lie around the published figures: five seeds, each off by a factor."""
    published, test = original.published(), original.published_test()
    rows = []
    for seed, factor in {0: 0.8, 1: 0.8, 2: 1.0, 3: 1.25, 4: 1.25}.items():
        mine = published.assign(dataset="mnist", study="replay", seed=seed, test_loss=0.05, classes=10)
        mine["train_loss"] *= factor
        mine["train_accuracy"] = 1 - (1 - mine.train_accuracy) * factor
        mine["test_accuracy"] = [1 - (1 - test.loc[row.learning_rate, row.norm]) * factor for row in mine.itertuples()]
        rows.append(mine)
    return pd.concat(rows, ignore_index=True)


REPLAY = studies.replay(seeds=5, epochs=10, dataset="mnist")


@pytest.fixture
def two_rates(epochs):
    return pd.concat([epochs, epochs.assign(learning_rate=0.01)], ignore_index=True)


def images() -> tuple[np.ndarray, np.ndarray]:
    """40 images whose pixels say which one it is; the labels go round."""
    return np.arange(40, dtype=float)[:, None, None, None] / 40 * np.ones((1, 1, 28, 28)), np.arange(40) % 10


def all_figures(records):
    results = results_of(records)
    study, rate = results.study, results.rates[0]
    return {
        "curves": figures.curves(study, study.of(records), "train_loss", rate, ax=figures.axes()),
        "survival": figures.survival(results, "epochs_until_0.98", rate, ax=figures.axes(2.4, 2)),
        "differences": figures.differences(results, "test_accuracy_last", ax=figures.axes()),
        "across_rates": figures.across_rates(results, "test_accuracy_last", ax=figures.axes()),
        "range_loss": figures.range_loss(results, ax=figures.axes(2.6, 2.4)),
        "range_accuracy": figures.range_accuracy(results, ax=figures.axes(2.6, 2.4)),
        "range_failed": figures.range_failed(results, ax=figures.axes(2.6, 2.4)),
        "examples": figures.examples(*images(), "digits", ax=figures.axes()),
    }


def test_every_figure_returns_its_axes_and_a_description(two_rates):
    for name, ax in all_figures(two_rates).items():
        assert len(ax.alt) > 40, name
        ET.fromstring(style.svg(ax))


def test_figures_are_the_same_bytes_each_time(two_rates):
    first, second = ({name: style.svg(ax) for name, ax in all_figures(two_rates).items()} for _ in range(2))
    assert first == second


@pytest.mark.parametrize("more", [(), ("group", "layer")])
def test_figures_survive_diverged_runs(diverged_epochs, more):
    records = with_arms(diverged_epochs, *more)
    for some in (records, records[records.seed == 0], records[records.epoch == 1]):
        for ax in all_figures(some).values():
            ET.fromstring(style.svg(ax))


@pytest.mark.parametrize("more", [("group",), ("group", "layer"), ("group", "batch@1", "batch@2", "batch@3")])
def test_every_figure_names_every_arm_and_cuts_no_letter(two_rates, more):
    drawn = all_figures(with_arms(two_rates, *more))
    del drawn["examples"]
    for name, ax in drawn.items():
        for label in ("with group norm", "with batch norm"):
            assert label in ax.alt, name
        ax.figure.draw_without_rendering()
        legend = [text for legend in ax.figure.legends for text in legend.get_texts()]
        assert len(ax.texts or legend) == len(more) + 2 - (name == "differences"), name
        for text in (*ax.texts, *legend, ax.xaxis.label, ax.yaxis.label):
            box, whole = text.get_window_extent(), ax.figure.bbox
            assert box.x0 >= whole.x0, (name, text)
            assert box.x1 <= whole.x1, (name, text)


@pytest.mark.parametrize("accuracies", [(0.924, 0.934), (0.91, 0.926), (1.0, 1.0), (0.1, 0.999)])
def test_accuracy_axis_always_has_ticks(accuracies, epochs):
    values = epochs.assign(test_accuracy=epochs.norm.map(dict(zip(("none", "batch"), accuracies, strict=True))))
    study = results_of(epochs).study
    ax = figures.curves(study, study.of(values), "test_accuracy", 0.001, ax=figures.axes())
    low, high = sorted(ax.get_ylim())
    assert len([tick for tick in ax.get_yticks() if low <= tick <= high]) >= 2


def test_curves_draw_each_seed_its_mean_and_band(epochs):
    ax = all_figures(epochs)["curves"]
    assert len(ax.lines) == 2 * (3 + 1)
    assert len(ax.collections) == 2
    assert ax.get_yscale() == "log"
    means = [line.get_ydata() for line in ax.lines if line.get_linewidth() == 2]
    np.testing.assert_allclose(means, [[0.4, 0.2], [0.3, 0.1]])
    assert "in nats by epoch at learning rate 0.001, means over 3 seeds: without batch norm from 0.4000 to 0.2000" in ax.alt


def test_curves_of_four_arms_have_a_mean_each(epochs):
    ax = all_figures(with_arms(epochs, "group", "layer"))["curves"]
    means = [line.get_ydata() for line in ax.lines if line.get_linewidth() == 2]
    np.testing.assert_allclose(means, [[0.4, 0.2], [0.3, 0.1], [0.33, 0.11], [0.363, 0.121]])
    assert "without a norm from 0.4000 to 0.2000; with batch norm" in ax.alt


def test_curves_of_a_rate_without_records_are_refused(epochs):
    study = results_of(epochs).study
    with pytest.raises(ValueError, match=r"no records at learning rate 0\.5"):
        figures.curves(study, study.of(epochs), "train_loss", 0.5, ax=figures.axes())


def test_arms_have_their_colour_line_and_marker_everywhere(two_rates):
    ax = all_figures(two_rates)["across_rates"]
    drawn = {
        (line.get_color(), line.get_linestyle())
        for line in ax.lines
        if len(line.get_xdata()) == 2 and line.get_marker() in "os"
    }
    assert drawn >= {("#0173B2", "--"), ("#DE8F05", "-")}


def test_differences_show_every_pair(epochs):
    ax = figures.differences(results_of(epochs), "train_loss_first", ax=figures.axes())
    (pairs,) = (line for line in ax.lines if line.get_fillstyle() == "none")
    np.testing.assert_allclose(pairs.get_xdata(), [-0.1, -0.09, -0.11])
    np.testing.assert_allclose(pairs.get_ydata(), 0.22)
    assert "with minus without batch norm, with 95% intervals: at 0.001 −0.1000 nats [−0.1248, −0.0752]." in ax.alt
    assert ax.get_xlabel() == "training loss of epoch 1,\nwith − without (nats)"


def test_differences_of_several_arms_lie_side_by_side_in_their_colours(epochs):
    ax = figures.differences(results_of(with_arms(epochs, "group", "layer")), "train_loss_first", ax=figures.axes())
    squares = [line for line in ax.lines if line.get_markersize() == 5 and line.get_fillstyle() == "full"]
    assert [line.get_color() for line in squares] == ["#DE8F05", "#029E73", "#CC78BC"]
    np.testing.assert_allclose([line.get_xdata()[0] for line in squares], [-0.1, -0.07, -0.037])
    heights = [line.get_ydata()[0] for line in squares]
    assert -0.5 < heights[0] < heights[1] == 0 < heights[2] < 0.5  # within the band of the one rate
    assert "at 0.001 with group norm −0.0700 nats" in ax.alt


def test_differences_say_how_many_pairs_were_left(epochs):
    lost = epochs.assign(classes=epochs.classes.mask((epochs.norm == "none") & (epochs.seed < 2), 1))
    told = figures.differences(results_of(lost), "test_accuracy_last", ax=figures.axes()).alt
    assert "at 0.001 −1.00 percentage points, from the 1 of 3 pairs in which neither run failed." in told


def test_threshold_is_that_of_one_pair_far_from_the_others(epochs):
    assert figures.threshold(results_of(epochs), "train_loss_first") is None
    one = (epochs.norm == "none") & (epochs.seed == 0) & (epochs.epoch == 1)
    assert figures.threshold(results_of(epochs.assign(train_loss=epochs.train_loss.mask(one, 9))), "train_loss_first") == 1


def test_picture_embeds_its_panels_with_their_descriptions(epochs):
    ax = all_figures(epochs)["curves"]
    html = figures.Picture("name", "A <caption>.", ax, ax)._repr_html_()
    assert html.count("<img alt=") == 2
    assert 'id="fig-name"' in html
    assert "A &lt;caption&gt;." in html
    encoded = html.partition("base64,")[2].partition('"')[0]
    assert base64.b64decode(encoded).decode() == style.svg(ax)


def test_examples_show_each_class_in_its_column():
    drawn, labels = images()
    ax = figures.examples(drawn, labels, "fashion_mnist", ax=figures.axes(), each=2)
    shown = ax.images[0].get_array()
    assert shown.shape == (56, 280)
    assert set(shown[:28, 84:112].ravel()) == {3 / 40}  # the first image of class 3, and under it the second
    assert set(shown[28:, 84:112].ravel()) == {13 / 40}
    assert [label.get_text() for label in ax.get_xticklabels()] == list(CLASSES["fashion_mnist"])


def test_survival_curve_says_how_many_got_there():
    cells = {("none", 0.001): {0: [(1, 0.99)], 1: [(1, 0.9)]}, ("batch", 0.001): {0: [(1, 0.99)], 1: [(1, 0.99)]}}
    ax = figures.survival(results_of(make_epochs(cells)), "epochs_until_0.98", 0.001, ax=figures.axes())
    assert "without batch norm 1 of 2 reached it" in ax.alt
    assert "with batch norm 2 of 2 reached it, half of them by epoch 1" in ax.alt
    assert ax.get_title() == "98.0% at 0.001"
    assert ax.get_lines()[0].get_ydata()[-1] == 0.5


def test_range_figures_give_each_rate_of_each_arm(span):
    loss, accuracy, failed = (
        draw(results_of(span), ax=figures.axes()) for draw in (figures.range_loss, figures.range_accuracy, figures.range_failed)
    )
    assert "0.001: 0.1000, 0.01: 0.3000, 1: –" in loss.alt
    assert "without batch norm 0.001: 98.00, 0.01: 96.00, 1: –" in accuracy.alt
    assert "without batch norm 0.001: 0%, 0.01: 0%, 1: 100%" in failed.alt


@pytest.mark.parametrize("arm", ["none", "batch"])
def test_chain_draws_published_points_and_fresh_starts(arm):
    fresh = make_epochs({(arm, 0.005): {0: [(0.3, 0.9)] * 10}})
    ax = figures.chain(chain(), fresh, arm, REPLAY, ax=figures.axes())
    crosses = [line for line in ax.get_lines() if line.get_marker() == "x"]
    assert sum(len(line.get_xdata()) for line in crosses) == 30
    dotted = [line for line in ax.get_lines() if line.get_linestyle() == ":"]
    assert [list(line.get_xdata()) for line in dotted] == [list(range(21, 31))]
    assert "published for epoch 1" in ax.alt


def test_chain_needs_no_fresh_starts():
    ax = figures.chain(chain(), None, "batch", REPLAY, ax=figures.axes())
    assert [line for line in ax.get_lines() if line.get_linestyle() == ":"] == []
    assert ax.get_title() == "with batch norm"
