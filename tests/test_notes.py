import pandas as pd
import pytest

from bnlib import notes, words
from bnlib.runs import paired_configs


@pytest.mark.parametrize(
    ("dataset", "fell_back", "said"),
    [
        ("digits", True, "could not be downloaded"),
        ("digits", False, "needs no download"),
        ("fashion_mnist", False, "Fashion-MNIST"),
    ],
)
def test_page_on_other_data_says_so(dataset, fell_back, said):
    notice = notes.notice(dataset, fell_back)
    assert notice.startswith("> **This is not MNIST.**")
    assert said in notice


def test_page_on_mnist_needs_no_notice():
    assert notes.notice("mnist", fell_back=False) == ""


def test_command_makes_these_records(epochs):
    facts = {"epochs": "10", "precision": "fp32", "device": "cpu"}  # runs that diverged have fewer epochs than were asked for
    span = epochs[epochs.seed < 2].assign(protocol="range", learning_rate=0.1)
    assert notes.command(pd.concat([epochs, span]), facts) == (
        'make report DATASET=mnist LEARNING_RATES="0.001" SEEDS=3 EPOCHS=10 STUDY_SEEDS=2 RANGE_RATES="0.1" '
        "PRECISION=fp32 DEVICE=cpu"
    )


def test_setting_counts_what_is_run():
    configs = paired_configs(seeds=1, dataset="mnist", learning_rate=0.001, epochs=1)
    assert notes.setting(configs) == (
        "**Learning rate 0.001** on MNIST: 1 pair of runs, 1 epoch each, batches of 100, 32-bit floats (fp32)."
    )


def test_runs_done_counts_the_diverged(diverged_epochs):
    assert notes.runs_done(diverged_epochs) == "4 runs of 2 epochs; 1 diverged."


def test_limits_follow_the_records(epochs):
    assert "3 seeds at each of 1 rate. The intervals assume" in notes.limits(epochs)
    assert "1 seed at each of 1 rate. No difference on this page has an interval." in notes.limits(epochs[epochs.seed == 0])
    many = pd.concat([epochs.assign(seed=epochs.seed + 3 * n) for n in range(3)])
    assert "roughly normal" not in notes.limits(many)


def test_method_is_the_exact_test_only_where_it_can_show_anything(epochs):
    assert "paired t test" in notes.method(epochs)
    assert "exact permutation test" in notes.method(pd.concat([epochs.assign(seed=epochs.seed + 3 * n) for n in range(3)]))
    assert "no difference can be judged" in notes.method(epochs[epochs.seed == 0])


def test_chain_and_span_say_what_is_run():
    chain = paired_configs(seeds=2, dataset="mnist", learning_rate=0.001, later_rates=(0.01,), epochs=3)
    assert notes.chain(chain).startswith(
        "**The chain, at 0.001 and 0.01 in turn,** on MNIST: 2 pairs of networks, 3 epochs at each"
    )
    span = [c for rate in (0.1, 0.001) for c in paired_configs(seeds=1, dataset="mnist", learning_rate=rate, epochs=2)]
    assert notes.span(span).startswith("**2 learning rates from 0.001 to 0.1** on MNIST: 1 pair of runs at each, 2 epochs,")


def test_words_agree_with_their_numbers():
    assert [words.plural(n, "seed") for n in (0, 1, 2)] == ["0 seeds", "1 seed", "2 seeds"]
    assert [words.listing(list("abc")[:n]) for n in (1, 2, 3)] == ["a", "a and b", "a, b and c"]
