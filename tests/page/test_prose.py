import jinja2
import numpy as np
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from bnlib.experiment.outcomes import SEEN
from bnlib.page import prose
from bnlib.page.prose.phrases import where
from bnlib.page.tables import Table
from tests.conftest import CHANCE, make_epochs, make_steps, results_of


def test_markdown_is_filled_in_with_numbers_and_phrases():
    text = "{{ 0.001 | rate }}, {{ share | percent }}, {{ plural(2, 'run') }}, {{ x | decimals(1) }}"
    assert prose.filled(text, {"share": 0.256, "x": 1.25}) == "0.001, 26%, 2 runs, 1.2"


def test_what_there_is_not_is_no_sentence():
    with pytest.raises(jinja2.UndefinedError, match="nobody"):
        prose.filled("{{ nobody }} failed", {})


@pytest.fixture
def shell():
    yield InteractiveShell.instance()
    InteractiveShell.clear_instance()


def test_cell_of_a_notebook_is_filled_in_with_what_the_notebook_has(shell):
    shell.run_line_magic("load_ext", "bnlib.page.prose")
    shell.user_ns["count"] = 3
    with capture_output(display=True) as shown:
        shell.run_cell_magic("prose", "", "**{{ count }}** runs.")
    assert shown.outputs[0].data["text/markdown"] == "**3** runs."


def test_caption_is_under_what_the_cell_names(shell):
    shell.run_line_magic("load_ext", "bnlib.page.prose")
    shell.user_ns |= {"count": 3, "table": Table("t", "", ["a"], [["1"]])}
    with capture_output(display=True) as shown:
        shell.run_cell_magic("caption", "table", "Of {{ count }}\nruns.")
    assert "<figcaption>Of 3 runs.</figcaption>" in shown.outputs[0].data["text/html"]


def test_cell_that_cannot_say_something_names_it(shell):
    shell.run_line_magic("load_ext", "bnlib.page.prose")
    with pytest.raises(ValueError, match="UndefinedError in what the cell says: 'nobody' is undefined"):
        shell.run_cell_magic("prose", "", "{{ nobody }}")


def look(after: dict[str, float], lost: int, dead: float = 1) -> dict:
    """A report whose runs at 0.001 and 0.01 were looked into: the loss after the first step, in units of that before."""
    cells = {
        (norm, rate): {seed: [(0.5, 0.1 if norm == "none" and seed < lost else 0.9)] for seed in range(8)}
        for norm in ("none", "batch")
        for rate in (0.001, 0.01)
    }
    epochs = make_epochs(cells, study="inside")
    gone = (epochs.norm == "none") & (epochs.seed < lost)
    epochs["classes"] = np.where(gone, 1, 10)
    each = {norm: [value + 0.01 * seed for seed in range(8)] for norm, value in after.items()}
    both = dict.fromkeys(("none", "batch"), [1.0] * 8)
    classes = {"none": [1.0] * lost + [10.0] * (8 - lost), "batch": [10.0] * 8}
    steps = make_steps(
        epochs,
        {
            ("loss_band", "", "before"): both,
            ("loss_band", "", "step × 1"): each,
            ("step_size", "linear1", ""): dict.fromkeys(both, [0.8] * 8),
            ("classes", "", ""): classes,
            ("dead", "relu2", ""): {"none": [dead] * 8, "batch": [0.0] * 8},
        },
    )
    names = ("first_loss", "first_step", "dead_most", "settled", "dead_for_good")
    assert set(names) <= set(SEEN)
    return {"inside": results_of(epochs, steps, outcomes=names, probes=("dead",))}


def first_steps(**named) -> str:
    return prose.said("because", base="", found=look(**named))


def test_loss_after_the_first_step_is_told_where_it_rises_in_one_arm_alone():
    told = first_steps(after={"none": 1.5, "batch": 0.4}, lost=2)
    assert "the loss × 1.5 without, × 0.4 with it" in told
    for after in ({"none": 0.4, "batch": 1.5}, {"none": 1.5, "batch": 1.5}, {"none": 0.8, "batch": 0.4}):
        assert "takes the loss" not in first_steps(after=after, lost=2)


RATES = (0.001, 0.01)


def report(gain: dict[float, float], faster: float = 0.1, lost: int = 0, usable: bool = True, norms=("batch",)) -> dict:
    """The studies that the answer needs, of 8 seeds at two rates.

    Args:
        gain: of test accuracy, at each rate, give or take an image from seed to seed.
        faster: how much lower the first epoch's loss is.
        lost: runs that fail at 0.01 without a norm.
        usable: whether in short runs 0.01 is as good as 0.001 with a norm, while it is not without.
    """
    cells, short = {}, {}
    for rate in RATES:
        for norm in ("none", *norms):
            plus, less = (gain[rate], faster) if norm != "none" else (0, 0)
            runs = {
                s: [(0.5 - less - 0.001 * s, 0.9), (0.1, 0.97 + plus + 0.0001 * (s % 3) * (norm != "none"))] for s in range(8)
            }
            short[norm, rate] = {s: [(0.2, 0.98 if rate == 0.001 or (usable and norm != "none") else 0.9)] for s in range(8)}
            if norm == "none" and rate == 0.01:
                runs |= {seed: [(2.3, CHANCE)] * 2 for seed in range(lost)}
            cells[norm, rate] = runs
    results = (results_of(make_epochs(cells)), results_of(make_epochs(short, study="learning_rate_range")))
    return {each.study.name: each for each in results}


def answer(**named) -> list[str]:
    """The paragraphs and the items of the answer."""
    said = prose.said("answer", base="", found=report(**named)).replace("\N{NO-BREAK SPACE}", " ")
    return [line for line in said.splitlines() if line]


def test_answer_says_what_is_bought_at_the_best_rate():
    small = {0.001: 0.0, 0.01: 0.01}
    assert "it learns faster, and no gain in accuracy" in answer(gain={0.001: -0.0001, 0.01: 0.01})[0]
    assert "faster, and ends more accurate." in answer(gain={0.001: 0.01, 0.01: 0.01})[0]
    assert "faster, and ends less accurate." in answer(gain={0.001: -0.01, 0.01: 0.01})[0]
    assert "it ends more accurate, and no gain in speed" in answer(gain={0.001: 0.01, 0.01: 0.01}, faster=0.0)[0]
    assert "it ends less accurate, and no gain in speed" in answer(gain={0.001: -0.01, 0.01: 0.01}, faster=0.0)[0]
    assert "; at 0.001, the best of 2 rates, no gain was seen." in answer(gain={0.001: -0.0001, 0.01: 0.01}, faster=0.0)[0]
    assert "makes this network less sensitive" in answer(gain=small)[0]
    assert "not shown" in answer(gain=small, usable=False)[0]


def compared(lost: int, seeds: int) -> str:
    """What is said of a loss that is lower in each pair, where so many runs without batch norm failed."""
    runs = {norm: {s: [(loss + 0.001 * s, 0.9)] for s in range(seeds)} for norm, loss in (("none", 0.3), ("batch", 0.2))}
    runs["none"] |= {s: [(2.3, CHANCE)] for s in range(lost)}
    found = results_of(make_epochs({(norm, 0.01): its for norm, its in runs.items()}))
    return where(found, "train_loss_last", "lower", "higher")


def test_pairs_too_few_to_show_anything_leave_it_open_and_none_are_not_compared():
    assert compared(lost=0, seeds=8) == "lower with batch norm at 0.01"
    assert compared(lost=3, seeds=8) == "too few pairs to tell at 0.01"
    assert compared(lost=8, seeds=8) == "not to be compared at 0.01"
    assert compared(lost=2, seeds=2) == "not to be compared at 0.01"


def test_answer_has_a_line_for_each_rate_and_one_for_the_largest():
    _, same, better, usable, *_ = answer(gain={0.001: -0.0001, 0.01: 0.01})
    assert "**[No gain in accuracy](evidence.html#tests-test-accuracy-last.0.001)** seen at 0.001" in same
    assert same.endswith("; epoch-1 loss −20%.")
    assert better.startswith(
        "- **[+1.01 points of accuracy](evidence.html#tests-test-accuracy-last.0.01)** at 0.01 <small>(+1.00 to"
    )
    # 0.01 is the largest that was tried.
    assert usable.startswith(
        "- **[At least 10.0 times as large a rate](learning-rate-range.html#tab-range)** is usable with it"
    )
    assert usable.endswith("with it <small>(8 pairs, 1 epoch)</small>.")


def test_failed_runs_are_counted_in_the_answer_and_are_worse_than_any():
    failed = answer(gain={0.001: 0.01, 0.01: 0.01}, lost=3)[2]
    assert "**[3 of 8 runs failed](evidence.html#tab-rate-0.01)** at 0.01 without it, 0 with it" in failed
    assert failed.endswith("<small>(p 0.25)</small>; accuracy up in all 8.")
    assert "up in" not in answer(gain={0.001: 0.01, 0.01: -0.01}, lost=3)[2]


def test_answer_on_several_arms_names_each():
    told = answer(gain={0.001: 0.01, 0.01: 0.01}, norms=("batch", "group"), lost=1)
    assert [line.split(" makes")[0] for line in told if "sensitive" in line] == ["**Batch norm", "**Group norm"]
    assert sum("with group norm <small>" in line for line in told) == 2
    (failed,) = (line for line in told if "of 8 runs failed" in line and "group norm" in line)
    assert failed.endswith("at 0.01 without a norm, 0 with group norm; accuracy up in all 8.")
    assert any("evidence.html#tests-test-accuracy-last.0.001-with-group-norm" in line for line in told)


@pytest.mark.parametrize("seeds", [1, 2, 3])
def test_few_seeds_show_nothing_and_fail_nothing(seeds):
    found = {
        name: results_of(make_epochs({at: dict(list(runs.items())[:seeds]) for at, runs in cells.items()}, study=name))
        for name, cells in {
            "learning_rate": {(norm, 0.001): {s: [(0.5, 0.9 + 0.01 * s)] for s in range(3)} for norm in ("none", "batch")},
            "learning_rate_range": {(norm, 0.001): {s: [(0.5, 0.9)] for s in range(3)} for norm in ("none", "batch")},
        }.items()
    }
    told = prose.said("answer", base="", found=found)
    assert "; at 0.001 no gain was seen." in told
    assert "nan" not in told.lower()


def test_what_lacks_is_said_and_else_nothing():
    assert prose.said("missing", lacking=[]) == ""
    assert "1 of 3 runs" in prose.said("missing", lacking=["with batch norm at learning_rate 0.1: 1 of 3 runs"])


@pytest.mark.parametrize(("fell_back", "why"), [(True, "could not be downloaded"), (False, "needs no download")])
def test_page_on_the_digits_says_so_and_why(fell_back, why):
    told = prose.said("notice", dataset="digits", fell_back=fell_back)
    assert told.startswith("> **This is not MNIST.**")
    assert why in told
    assert prose.said("notice", dataset="mnist", fell_back=False) == ""


@pytest.mark.parametrize(
    ("lower", "said"),
    [
        (("batch", "group", "layer"), "with batch norm, group norm and layer norm"),
        (("batch", "layer"), "with all but group norm"),
        (("batch",), "with batch norm"),
        ((), "none of them"),
    ],
)
def test_arms_that_do_something_are_named_or_the_one_that_does_not(lower, said):
    arms = ("none", "batch", "group", "layer")
    losses = {(arm, 0.01): {seed: [(0.5 + seed / 100 - (arm in lower) / 4, 0.9)] for seed in range(8)} for arm in arms}
    losses["group", 0.01] |= {} if "group" in lower else {seed: [(0.5 + (-1) ** seed / 10, 0.9)] for seed in range(8)}
    text = "{{ always(results, 'train_loss_first', -1) }}"
    assert prose.filled(text, {"results": results_of(make_epochs(losses))}) == said
