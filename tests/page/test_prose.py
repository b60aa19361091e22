import jinja2
import numpy as np
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from bnlib.experiment.outcomes import SEEN
from bnlib.page import prose
from tests.conftest import make_epochs, make_steps, results_of


def test_markdown_is_filled_in_with_numbers_and_phrases():
    text = (
        "{{ 0.001 | rate }}, {{ share | percent }}, {{ plural(2, 'run') }}, {{ ['a', 'b'] | listing }}, {{ x | decimals(1) }}"
    )
    assert prose.filled(text, {"share": 0.256, "x": 1.25}) == "0.001, 26%, 2 runs, a and b, 1.2"


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
    names = ("first_loss", "first_step", "dead_most", "settled")
    assert set(names) <= set(SEEN)
    return {"inside": results_of(epochs, steps, outcomes=names, probes=("dead",))}


CLAIM = "break the network"


def test_why_is_claimed_where_losses_and_dead_layers_bear_it_out():
    said = prose.because(look({"none": 1.5, "batch": 0.4}, lost=2))
    assert CLAIM in said
    for told in ("0.01 moves the first linear layer by 80%", "1.5 times", "0.4 times", "Of the 4 failed runs", "by step 1"):
        assert told in said


@pytest.mark.parametrize(
    "report",
    [
        look({"none": 0.4, "batch": 1.5}, lost=2),  # the loss rises with batch norm
        look({"none": 1.5, "batch": 1.5}, lost=2),  # it is the same
        look({"none": 1.5, "batch": 0.4}, lost=0),  # none failed
        look({"none": 1.5, "batch": 0.4}, lost=2, dead=0.9),  # none that failed has a dead layer
    ],
)
def test_why_is_not_claimed_else(report):
    assert CLAIM not in prose.because(report)


def test_report_that_looked_into_no_run_says_nothing_of_why():
    assert prose.because({}) == ""
