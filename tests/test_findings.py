import pandas as pd
import pytest

from bnlib import findings, outcomes
from bnlib.runs import paired_configs


def test_difference_is_claimed_only_where_its_interval_allows(epochs):
    told = findings.difference(outcomes.compare(epochs, outcomes.FIRST_LOSS, 0.001))
    assert told.startswith("The training loss of epoch 1 was lower with batch norm (−0.1000 nats, 95% interval")
    unclear = findings.difference(outcomes.compare(epochs, outcomes.TEST_ACCURACY, 0.001))
    # differences +1, 0, -1 points: mean 0, half width 4.302653 * 1 / sqrt(3) = 2.48
    assert unclear == (
        "In test accuracy of epoch 2 these runs do not tell the arms apart "
        "(+0.00 percentage points, 95% interval −2.48 to +2.48; 3 pairs)."
    )


def test_turned_records_turn_the_finding(epochs):
    turned = epochs.assign(norm=epochs.norm.map({"none": "batch", "batch": "none"}))
    assert "was higher with batch norm" in findings.difference(outcomes.compare(turned, outcomes.FIRST_LOSS, 0.001))
    assert "higher" in findings.headline(turned, 0.001)
    assert "was higher with batch norm by 0.1000 nats" in findings.answer(turned)


def test_answer_names_every_rate_once_for_each_outcome(epochs):
    both = pd.concat([epochs, epochs.assign(learning_rate=0.01, train_loss=0.5)])
    answer = findings.answer(both)
    assert "Training loss of epoch 1 was lower with batch norm by 0.1000 nats [0.1000, 0.1000] at 0.001" in answer
    assert "did not tell the arms apart at 0.01 (+0.0000 nats [+0.0000, +0.0000])" in answer
    assert "3 pairs of fresh runs of 2 epochs at each learning rate, 0.001 and 0.01" in answer


def test_single_pair_claims_nothing(epochs):
    one = epochs[epochs.seed == 0]
    told = findings.difference(outcomes.compare(one, outcomes.FIRST_LOSS, 0.001))
    assert "do not tell the arms apart" in told
    assert "from one pair, which bounds nothing" in told
    assert "lower" not in findings.answer(one)
    assert "batch norm bought nothing that can be shown" in findings.lead(one)


def test_lead_says_what_was_bought_and_what_it_cost(epochs):
    assert findings.lead(epochs) == (
        "In these runs batch norm bought a lower training loss in the first epoch at 0.001; "
        "in test accuracy the arms were told apart at no rate."
    )
    worse = epochs.assign(test_accuracy=epochs.test_accuracy.where(epochs.norm == "none", epochs.test_accuracy - 0.5))
    assert findings.lead(worse) == (
        "In these runs batch norm bought a lower training loss in the first epoch at 0.001; it cost a lower test "
        "accuracy at 0.001."
    )


def test_stability_counts_diverged_and_unlearned_runs(diverged_epochs, epochs):
    assert findings.stability(diverged_epochs) == (
        "1 of 4 runs diverged, that is, met a loss that was not finite (1 at 1000 without batch norm). "
        "1 of 4 runs did not learn: test accuracy ended below 50% (1 at 1000 without batch norm)."
    )
    assert findings.stability(epochs) == "Every run stayed finite and learned (6 of 6)."


def test_findings_survive_an_arm_that_always_diverged(diverged_epochs):
    lost = diverged_epochs[~((diverged_epochs.norm == "none") & (diverged_epochs.seed == 1))]
    lost = lost[~((lost.norm == "batch") & (lost.seed == 1))]
    assert "cannot be compared" in findings.at_rate(lost, 1000.0)
    assert "no pair in which both arms stayed finite" in findings.answer(lost)
    assert "Without batch norm, every run diverged." in findings.across_rates(lost)


def test_best_rate_is_the_one_with_the_highest_mean(epochs):
    worse = pd.concat([epochs, epochs.assign(learning_rate=0.01, test_accuracy=epochs.test_accuracy - 0.1)])
    told = findings.across_rates(worse)
    assert told.count("highest with 98.00% at 0.001 and lowest with 88.00% at 0.01") == 2


def test_cost_is_the_median_of_paired_ratios():
    rows = [
        (0.001, seed, norm, s)
        for seed, pair in enumerate([(1, 2), (2, 3), (4, 4)])
        for norm, s in zip(("none", "batch"), pair, strict=True)
    ]
    timing = pd.DataFrame(rows, columns=["learning_rate", "seed", "norm", "train_seconds"])
    assert "took 1.50 times as long" in findings.cost(timing)
    assert "over 3 pairs of runs, which ranged from 1.00 to 2.00" in findings.cost(timing)


def test_command_makes_these_records(epochs):
    assert findings.command(epochs, "cpu", "fp32") == (
        'make report DATASET=mnist LEARNING_RATES="0.001" SEEDS=3 EPOCHS=2 PRECISION=fp32 DEVICE=cpu'
    )


@pytest.mark.parametrize(
    ("dataset", "fell_back", "said"),
    [("digits", True, "could it be downloaded"), ("digits", False, "no download"), ("fashion_mnist", False, "Fashion-MNIST")],
)
def test_page_on_other_data_says_so(dataset, fell_back, said):
    notice = findings.notice(dataset, fell_back)
    assert notice.startswith("> **This is not MNIST.**")
    assert said in notice


def test_page_on_mnist_needs_no_notice():
    assert findings.notice("mnist", fell_back=False) == ""


def test_words_agree_with_their_numbers():
    assert [findings.plural(n, "seed") for n in (0, 1, 2)] == ["0 seeds", "1 seed", "2 seeds"]
    assert [findings.listing(list("abc")[:n]) for n in (1, 2, 3)] == ["a", "a and b", "a, b and c"]
    configs = paired_configs(seeds=1, dataset="mnist", learning_rate=0.001, epochs=1)
    assert findings.setting(configs) == (
        "**Learning rate 0.001** on MNIST: 1 pair of runs, 1 epoch each, batches of 100, fp32."
    )
