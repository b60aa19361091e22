import base64
import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pytest

from bnlib import data, outcomes, plots, style


@pytest.fixture
def two_rates(epochs):
    return pd.concat([epochs, epochs.assign(learning_rate=0.01)], ignore_index=True)


def all_figures(records):
    rates = outcomes.rates(records)
    compared = [outcomes.compare(records, outcomes.TEST_ACCURACY, rate) for rate in rates]
    digits = data.load("digits")
    return {
        "curves": plots.curves(records, "train_loss", rates[0], ax=plots.axes()),
        "differences": plots.differences(compared, ax=plots.axes()),
        "across_rates": plots.across_rates(compared, ax=plots.axes()),
        "examples": plots.examples(digits.train.images, digits.train.labels, "digits", ax=plots.axes()),
    }


def test_every_figure_returns_its_axes_and_a_description(two_rates):
    for name, ax in all_figures(two_rates).items():
        assert len(ax.alt) > 40, name
        ET.fromstring(style.svg(ax))


def test_figures_are_the_same_bytes_each_time(two_rates):
    first, second = ({name: style.svg(ax) for name, ax in all_figures(two_rates).items()} for _ in range(2))
    assert first == second


def test_figures_survive_diverged_runs(diverged_epochs):
    for records in (diverged_epochs, diverged_epochs[diverged_epochs.seed == 0], diverged_epochs[diverged_epochs.epoch == 1]):
        for ax in all_figures(records).values():
            ET.fromstring(style.svg(ax))


@pytest.mark.parametrize("accuracies", [(0.924, 0.934), (0.91, 0.926), (1.0, 1.0), (0.1, 0.999)])
def test_accuracy_axis_always_has_ticks(accuracies, epochs):
    values = epochs.assign(test_accuracy=epochs.norm.map(dict(zip(("none", "batch"), accuracies, strict=True))))
    ax = plots.curves(values, "test_accuracy", 0.001, ax=plots.axes())
    low, high = sorted(ax.get_ylim())
    assert len([tick for tick in ax.get_yticks() if low <= tick <= high]) >= 2


def test_ink_follows_the_theme(two_rates):
    drawn = style.svg(all_figures(two_rates)["curves"])
    assert "currentColor" in drawn
    assert drawn.count(style.INK) == 1  # in the style sheet alone
    assert "prefers-color-scheme:dark" in drawn


def test_curves_draw_each_seed_its_mean_and_band(epochs):
    ax = plots.curves(epochs, "train_loss", 0.001, ax=plots.axes())
    assert len(ax.lines) == 2 * (3 + 1)
    assert len(ax.collections) == 2
    assert ax.get_yscale() == "log"
    means = [line.get_ydata() for line in ax.lines if line.get_linewidth() == 2]
    np.testing.assert_allclose(means, [[0.4, 0.2], [0.3, 0.1]])
    assert "in nats by epoch at learning rate 0.001, means over 3 seeds: without batch norm from 0.4000 to 0.2000" in ax.alt


def test_arms_have_their_colour_line_and_marker_everywhere(two_rates):
    ax = all_figures(two_rates)["across_rates"]
    drawn = {
        (line.get_color(), line.get_linestyle())
        for line in ax.lines
        if len(line.get_xdata()) == 2 and line.get_marker() in "os"
    }
    assert drawn >= {("#0173B2", "--"), ("#DE8F05", "-")}


def test_differences_show_every_pair(epochs):
    ax = plots.differences([outcomes.compare(epochs, outcomes.FIRST_LOSS, 0.001)], ax=plots.axes())
    (pairs,) = (line.get_xdata() for line in ax.lines if line.get_fillstyle() == "none")
    np.testing.assert_allclose(pairs, [-0.1, -0.09, -0.11])
    assert "at 0.001 −0.1000" in ax.alt


def test_labels_of_close_lines_do_not_overlap(epochs):
    same = epochs.assign(train_loss=0.3)
    ax = plots.curves(same, "train_loss", 0.001, ax=plots.axes())
    heights = sorted(text.xy[1] for text in ax.texts)
    assert heights[1] - heights[0] >= 0.16


def test_picture_embeds_its_panels_with_their_descriptions(epochs):
    ax = plots.curves(epochs, "train_loss", 0.001, ax=plots.axes())
    html = plots.Picture("name", "A <caption>.", ax, ax)._repr_html_()
    assert html.count("<img alt=") == 2
    assert 'id="fig-name"' in html
    assert "A &lt;caption&gt;." in html
    encoded = html.partition("base64,")[2].partition('"')[0]
    assert base64.b64decode(encoded).decode() == style.svg(ax)


def test_examples_show_each_class_in_its_column(tiny_data):
    ax = plots.examples(tiny_data.train.images, tiny_data.train.labels, "digits", ax=plots.axes(), each=2)
    shown = ax.images[0].get_array()
    assert shown.shape == (56, 280)
    third = tiny_data.train.images[tiny_data.train.labels == 3]
    np.testing.assert_array_equal(shown[:28, 84:112], third[0, 0].numpy())
