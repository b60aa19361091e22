import re
import xml.etree.ElementTree as ET
from itertools import pairwise

import matplotlib as mpl
import numpy as np
import pytest

from bnlib.experiment.study import Study
from bnlib.page import figures, style
from bnlib.page.figures.picture import svg
from bnlib.page.words import minus, short, versus
from tests.conftest import results_of

SIX = ("none", "batch", "group", "batch@1", "batch@2", "batch@3")


def study(*norms: str, **fields) -> Study:
    factors = {"norm": norms, "learning_rate": (0.001,)}
    shared = {"name": "s", "notebook": "s", "factors": factors, "reference": {"norm": norms[0]}, "seeds": 2, "epochs": 2}
    return Study(**shared | {"held": {"dataset": "mnist"}} | fields)


def test_arms_look_alike_nowhere_and_the_first_two_as_ever():
    arms = list(style.looks(study(*SIX)).values())
    assert [(a.color, a.linestyle, a.marker) for a in arms[:2]] == [("#0173B2", "--", "o"), ("#B36200", "-", "s")]
    for of in ("color", "linestyle", "marker"):
        assert len({getattr(arm, of) for arm in arms}) == 6


def test_look_goes_by_the_place_of_the_arm_and_not_by_its_name():
    turned = style.looks(study("group", "none"))
    assert list(turned) == ["group", "none"]
    assert (turned["group"].label, turned["group"].color) == ("with group norm", "#0173B2")


def test_two_arms_are_with_and_without_and_more_are_named():
    assert short(study("none", "group")) == {"none": "without", "group": "with"}
    assert (minus(study("none", "group")), versus(study("none", "group"))) == (
        "with − without",
        "with minus without group norm",
    )
    several = study("none", "batch", "group")
    assert short(several) == {"none": "without a norm", "batch": "batch norm", "group": "group norm"}
    assert versus(several) == "each arm's minus that without a norm"


def test_arms_of_another_factor_have_their_own_names():
    relu = {"factors": {"activation": ("relu", "leaky_relu"), "learning_rate": (0.001,)}, "reference": {"activation": "relu"}}
    assert minus(study("none", "batch", **relu)) == "leaky ReLU − ReLU"
    assert versus(study("none", "batch", **relu)) == "leaky ReLU minus ReLU"


@pytest.mark.parametrize("norms", [SIX[:2], SIX[:4], SIX])
@pytest.mark.parametrize("at", [0.1, 0.5, 0.95])
def test_labels_of_lines_that_end_together_stand_apart_in_their_order(norms, at):
    ax, arms = style.axes(), style.looks(study(*norms))
    ends = {name: at + 0.001 * place for place, name in enumerate(arms)}
    style.label_lines(ax, ends, arms)
    ax.figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in ax.texts]  # from the lowest to the highest
    assert all(above.y0 > below.y1 for below, above in pairwise(boxes))
    shown = [text.get_text().replace("\n", " ") for text in ax.texts]
    assert shown == [look.label if len(arms) == 2 else look.label.removeprefix("with ") for look in arms.values()]


def test_labels_of_far_lines_stay_where_the_lines_end():
    ax, arms = style.axes(), style.looks(study(*SIX[:3]))
    style.label_lines(ax, {"none": 0.2, "batch": 0.9, "group": 0.5}, arms)
    assert {text.get_text(): text.xy[1] for text in ax.texts} == pytest.approx(
        {"without a norm": 0.2, "batch norm": 0.9, "group norm": 0.5}
    )


def test_legend_is_for_more_than_two_arms_and_takes_no_room_from_the_axes():
    panels = []
    for norms in (SIX[:2], SIX):
        ax = style.axes(2.4, 2)
        style.legend(ax, style.looks(study(*norms)))
        ax.figure.draw_without_rendering()
        panels.append(ax)
    assert [len(ax.figure.legends) for ax in panels] == [0, 1]
    few, many = (ax.get_window_extent().height for ax in panels)
    assert many > 0.9 * few


def test_ink_is_that_of_the_text_around():
    ax = figures.describe(style.axes(), "Nothing.")
    ax.plot([0, 1], [0, 1], color=style.INK)
    drawn = svg(ax)
    ET.fromstring(drawn)
    assert "currentColor" in drawn
    assert style.INK not in drawn


def contrast(one: str, other: str) -> float:
    """WCAG's, of two colours `#rrggbb`."""

    def luminance(colour: str) -> float:
        parts = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        return float(np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722])

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def mixed(colour: str, paper: str, alpha: float) -> str:
    pairs = [(int(colour[i : i + 2], 16), int(paper[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(alpha * a + (1 - alpha) * b):02x}" for a, b in pairs)


def test_lines_of_every_arm_stand_out_on_both_papers():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert len(style.ON_DARK) == len(style.LOOKS)
    for (light, *_), dark in zip(style.LOOKS, style.ON_DARK, strict=True):
        assert contrast(mixed(light, style.PAPER, 0.8), style.PAPER) >= 3, light  # as thin lines let paper through
        assert contrast(mixed(dark, style.DARK_PAPER, 0.8), style.DARK_PAPER) >= 3, dark


def test_colours_of_arms_reach_markers_that_are_used_again():
    # For a selector these stand in a tree of their own, without the elements around them.
    selectors = re.findall(r"([^{}\n]+){(?:stroke|fill):var", style.variables())
    assert len(selectors) == 2 * len(style.LOOKS)
    assert all(re.fullmatch(r'\[(stroke|fill)="#[0-9a-f]{6}"\]', selector) for selector in selectors)


def test_figures_are_the_same_whatever_a_reader_has_set(epochs):
    def drawn():
        results = results_of(epochs)
        panels = figures.curves(results, results.study.of(epochs), "train_loss", 0.001, figures.axes())
        return [svg(panels), svg(figures.error(results, figures.axes()))]

    plain = drawn()
    rc = {"lines.linewidth": 9, "font.size": 20, "savefig.bbox": "tight", "axes.facecolor": "red", "lines.markersize": 20}
    with mpl.rc_context(rc):
        assert drawn() == plain
        assert mpl.rcParams["lines.linewidth"] == 9  # and what the reader has set is as it was
