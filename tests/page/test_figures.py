import re
import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup

from bnlib.analysis.original import replay as original
from bnlib.experiment import studies
from bnlib.experiment.config import CLASSES
from bnlib.page import figures, style
from bnlib.page.figures.picture import document, svg
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
        mine = published.assign(dataset="mnist", study="replay", seed=seed, test_loss=0.05, classes=10, fitted_loss=np.nan)
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
        "curves": figures.curves(results, study.of(records), "train_loss", rate, ax=figures.axes()),
        "curves of accuracy": figures.curves(results, study.of(records), "test_accuracy", rate, ax=figures.axes()),
        "survival": figures.survival(results, "epochs_until_0.98", rate, ax=figures.axes(3.4, 2.2)),
        "error": figures.error(results, ax=figures.axes(7.2, 3.7), marked=results.rates),
        "narrow": figures.error(results, ax=figures.axes(3.4, 3.7)),
        "loss": figures.error(results, ax=figures.axes(), name="train_loss_last"),
        "failed": figures.failed(results, ax=figures.axes()),
        "examples": figures.examples(*images(), "digits", ax=figures.axes()),
    }


def test_every_figure_returns_its_axes_and_a_description(two_rates):
    for name, ax in all_figures(two_rates).items():
        assert len(ax.alt) > 40, name
        ET.fromstring(svg(ax))


def test_figures_are_the_same_bytes_each_time(two_rates):
    first, second = ({name: svg(ax) for name, ax in all_figures(two_rates).items()} for _ in range(2))
    assert first == second


@pytest.mark.parametrize("more", [(), ("group", "layer")])
def test_figures_survive_diverged_runs(diverged_epochs, more):
    records = with_arms(diverged_epochs, *more)
    for some in (records, records[records.seed == 0], records[records.epoch == 1]):
        for ax in all_figures(some).values():
            ET.fromstring(svg(ax))


@pytest.mark.parametrize("more", [("group",), ("group", "layer"), ("group", "batch@1", "batch@2", "batch@3")])
def test_every_figure_names_every_arm_and_cuts_no_letter(two_rates, more):
    drawn = all_figures(with_arms(two_rates, *more))
    del drawn["examples"]
    for name, ax in drawn.items():
        for label in ("with group norm", "with batch norm"):
            assert label in ax.alt, name
        ax.figure.draw_without_rendering()
        legend = [text for legend in ax.figure.legends for text in legend.get_texts()]
        named = {text.get_text() for text in (*ax.texts, *legend)}
        assert {"group norm", "batch norm"} <= {label.replace("\n", " ").removeprefix("with ") for label in named}, name
        for text in (*ax.texts, *legend, ax.xaxis.label, ax.yaxis.label):
            box, whole = text.get_window_extent(), ax.figure.bbox
            assert box.x0 >= whole.x0, (name, text)
            assert box.x1 <= whole.x1, (name, text)


def test_axis_of_one_epoch_names_that_epoch(epochs):
    for ax in (all_figures(epochs[epochs.epoch == 1])[name] for name in ("curves", "survival")):
        low, high = ax.get_xlim()
        assert [tick for tick in ax.get_xticks() if low <= tick <= high and tick] == [1]


def test_picture_embeds_its_panels_with_their_descriptions(epochs):
    ax = all_figures(epochs)["curves"]
    html = figures.Picture("name", ax, ax).under("A <caption>.")._repr_html_()
    assert 'id="fig-name"' in html
    assert "A &lt;caption&gt;." in html
    assert svg(ax, "name-1-") + svg(ax, "name-2-") in html
    panels = BeautifulSoup(html, "html.parser").find_all("svg")
    assert [panel["aria-label"] for panel in panels] == [ax.alt] * 2
    assert all(panel["role"] == "img" for panel in panels)


def test_picture_for_narrow_screens_is_hidden_until_a_page_shows_it(epochs):
    wide, narrow = figures.axes(width=7.2), figures.axes()
    for ax in (wide, narrow):
        figures.describe(ax, "Nothing.")
    soup = BeautifulSoup(figures.Picture("name", wide, columns=1, narrow=[narrow])._repr_html_(), "html.parser")
    assert [(frame["class"], frame.has_attr("hidden")) for frame in soup.find_all("div")] == [
        (["panels", "of-1", "wide"], False),
        (["panels", "of-1", "narrow"], True),
    ]
    assert [float(panel["width"]) for panel in soup.find_all("svg")] == pytest.approx([7.2 * 96, 3.42 * 96], abs=0.01)


def test_picture_without_panels_is_nothing():
    assert figures.Picture("name").under("A caption.")._repr_html_() == ""


def test_one_panel_has_its_row_for_itself(epochs):
    ax = all_figures(epochs)["curves"]
    assert 'class="panels of-1"' in figures.Picture("name", ax, columns=3)._repr_html_()


def ids_and_references(drawn: str) -> tuple[list[str], set[str]]:
    used = set(re.findall(r"url\(#(.+?)\)", drawn)) | set(re.findall(r'href="#(.+?)"', drawn))
    return re.findall(r'\sid="(.+?)"', drawn), used


def test_panels_of_a_page_share_no_id_and_refer_to_their_own(epochs):
    ax = all_figures(epochs)["curves"]
    one, other = (ids_and_references(svg(ax, prefix)) for prefix in ("a-1-", "a-2-"))
    for (there, used), prefix in ((one, "a-1-"), (other, "a-2-")):
        assert len(there) >= 3
        assert used <= set(there)
        assert all(name.startswith(prefix) for name in there)
    assert not set(one[0]) & set(other[0])


def test_text_of_a_panel_is_text_and_has_no_small_letters():
    ax = figures.describe(figures.axes(), "Nothing.")
    with style.isolated():
        ax.plot([1, 2], [0.001, 1])
        ax.set_yscale("log")
        ax.set_xlabel("rate < 1")
    soup = BeautifulSoup(svg(ax), "html.parser")
    told = [text.get_text() for text in soup.find_all("text")]
    assert {"rate < 1", "0.001", "0.01", "0.1", "1"} <= set(told)
    sizes = {each["font-size"] for each in soup.find_all(attrs={"font-size": True})}
    assert sizes == {"9px"}  # points, which its view box makes of pixels


def test_label_keeps_its_distance():
    ax = figures.describe(figures.axes(), "Nothing.")
    ax.annotate("  fresh start", (0.5, 0.5))
    assert ">\N{NO-BREAK SPACE}\N{NO-BREAK SPACE}fresh start</text>" in svg(ax)


def test_gid_of_an_artist_is_what_the_pointer_is_told():
    ax = figures.describe(figures.axes(), "Nothing.")
    ax.plot([1, 2], [1, 2], gid="title:0.0012 & <more>")
    drawn = svg(ax)
    assert drawn.count("<title>0.0012 &amp; &lt;more&gt;</title>") == 1
    assert BeautifulSoup(drawn, "html.parser").find("title").find_next_sibling("path")


def test_file_of_a_figure_lays_its_panels_out_in_rows():
    ax = figures.describe(figures.axes(width=2, height=1), "Nothing.")
    whole = BeautifulSoup(document([svg(ax, f"{n}-") for n in range(3)], 2, "A <caption>."), "html.parser").svg
    assert [(p["x"], p["y"]) for p in whole.find_all("svg")] == [("0", "0"), ("208", "0"), ("0", "112")]  # 96 pixels an inch
    assert (whole["width"], whole["height"]) == ("400", "208")
    assert whole.title.get_text() == "A <caption>."
    assert "prefers-color-scheme:dark" in whole.style.get_text()


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


def test_run_that_fails_after_it_got_there_did_not_get_there():
    gone = [(1, 0.99), (2.3, 0.1)]
    cells = {(norm, 0.001): {0: [(1, 0.99)] * 2, 1: [(1, 0.99)] * 2 if norm == "batch" else gone} for norm in ("none", "batch")}
    ax = figures.survival(results_of(make_epochs(cells)), "epochs_until_0.98", 0.001, ax=figures.axes())
    assert "without batch norm 1 of 2 reached it" in ax.alt


@pytest.mark.parametrize("arm", ["none", "batch"])
def test_chain_draws_published_points_and_fresh_starts(arm):
    fresh = make_epochs({(arm, 0.005): {0: [(0.3, 0.9)] * 10}})
    ax = figures.chain(original.beside(chain()), fresh, arm, REPLAY, ax=figures.axes())
    crosses = [line for line in ax.get_lines() if line.get_marker() == "x"]
    assert sum(len(line.get_xdata()) for line in crosses) == 30
    dotted = [line for line in ax.get_lines() if line.get_linestyle() == ":"]
    assert [list(line.get_xdata()) for line in dotted] == [list(range(21, 31))]
    assert "published for epoch 1" in ax.alt


def test_chain_has_one_scale_for_every_arm_with_room_for_all_that_is_drawn():
    fresh = chain().assign(train_loss=lambda table: np.where((table.norm == "none") & (table.epoch == 1), 40.0, 0.5))
    axes = [figures.chain(original.beside(chain()), fresh, arm, REPLAY, ax=figures.axes()) for arm in ("none", "batch")]
    assert axes[0].get_ylim() == axes[1].get_ylim()
    assert axes[0].get_ylim()[1] > 40


def test_chain_needs_no_fresh_starts():
    ax = figures.chain(original.beside(chain()), None, "batch", REPLAY, ax=figures.axes())
    assert [line for line in ax.get_lines() if line.get_linestyle() == ":"] == []
    assert ax.get_title() == "with batch norm"


def medians(ax) -> list[list[float]]:
    return [list(line.get_ydata()) for line in ax.lines if line.get_linewidth() == 2]


def failing(lost: int) -> pd.DataFrame:
    """Three seeds at two rates, of which `lost` failed at 0.01 without batch norm; errors of 1, 2 and 3% else."""
    cells = {
        (norm, rate): {seed: [(0.1 * (seed + 1), 0.99 - 0.01 * seed)] for seed in range(3)}
        for norm in ("none", "batch")
        for rate in (0.001, 0.01)
    }
    for seed in range(lost):
        cells["none", 0.01][seed] = [(2.3, 0.1)]
    return make_epochs(cells)


def test_runs_that_failed_are_counted_and_in_no_median():
    ax = figures.error(results_of(failing(lost=2)), figures.axes())
    np.testing.assert_allclose(medians(ax), [[2, 3], [2, 2]])  # the one that learned has 3%
    marks = [line for line in ax.lines if line.get_fillstyle() == "none"]
    assert [len(line.get_xdata()) for line in marks] == [3, 1, 3, 3]
    counts = [text.get_text() for text in ax.texts]
    assert counts[:6] == ["with", "0", "0", "without", "0", "2"]
    assert ax.get_title(loc="left") == "runs that failed, of 3 at each rate"
    assert "0.01: 3 (2 runs failed)" in ax.alt


def test_line_of_an_arm_that_learns_at_no_further_rate_is_named_where_it_ends():
    ax = figures.error(results_of(failing(lost=3)), figures.axes())
    named = {text.get_text(): text.xy for text in ax.texts if "batch norm" in text.get_text()}
    assert named["without\nbatch norm"] == pytest.approx((0.001, 2))
    assert "0.01: none learned (3 runs failed)" in ax.alt


def test_error_of_a_faultless_run_is_half_an_image():
    cells = {(norm, 0.001): {0: [(0.1, 1.0)]} for norm in ("none", "batch")}
    ax = figures.error(results_of(make_epochs(cells)), figures.axes())
    np.testing.assert_allclose(medians(ax), [[0.005], [0.005]])  # of 10,000 images
    assert ax.yaxis.get_major_formatter()(0.005) == "0"
    assert 0.005 in ax.get_yticks()


def test_curves_are_the_runs_and_the_median_of_those_that_learned():
    results = results_of(failing(lost=1))
    records = results.study.of(failing(lost=1))
    ax = figures.curves(results, records, "train_loss", 0.01, figures.axes())
    assert len(ax.lines) == 2 * (3 + 1)
    np.testing.assert_allclose(medians(ax), [[0.25], [0.2]])
    error = figures.curves(results, records, "test_accuracy", 0.001, figures.axes())
    np.testing.assert_allclose(medians(error), [[2], [2]])
    assert (error.get_yscale(), error.get_ylabel()) == ("log", "test error, %")


def test_curves_of_a_rate_without_records_are_refused(epochs):
    with pytest.raises(ValueError, match=r"no records at learning rate 0\.5"):
        figures.curves(results_of(epochs), epochs, "train_loss", 0.5, ax=figures.axes())


def test_shares_of_failed_runs_are_given_for_each_rate_of_each_arm():
    ax = figures.failed(results_of(failing(lost=3)), figures.axes())
    assert "without batch norm 0.001: 0%, 0.01: 100%; with batch norm 0.001: 0%, 0.01: 0%" in ax.alt
