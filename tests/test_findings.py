import pandas as pd

from bnlib import captions, findings, outcomes
from bnlib.bench import Benchmark
from tests.test_bench import RATES


def told_of(epochs: pd.DataFrame, outcome: outcomes.Outcome, rate: float) -> str:
    """What is said of one outcome at one rate."""
    return findings.difference(outcomes.compare(epochs, outcome, rate), outcomes.signs(epochs, outcome)[rate])


def test_difference_is_claimed_only_where_its_interval_allows(epochs):
    told = told_of(epochs, outcomes.FIRST_LOSS, 0.001)
    # differences -0.10, -0.09, -0.11: mean -0.1, half width 4.302653 * 0.01 / sqrt(3) = 0.0248
    assert told == "The training loss of epoch 1 was lower with batch norm: −0.1000 nats [−0.1248, −0.0752]."
    unclear = told_of(epochs, outcomes.TEST_ACCURACY, 0.001)
    # differences +1, 0, -1 points: mean 0, half width 4.302653 * 1 / sqrt(3) = 2.48
    assert (
        unclear == "In test accuracy of epoch 2 these runs do not tell the arms apart: +0.00 percentage points [−2.48, +2.48]."
    )


def test_turned_records_turn_the_finding(epochs):
    turned = epochs.assign(norm=epochs.norm.map({"none": "batch", "batch": "none"}))
    assert "was higher with batch norm" in told_of(turned, outcomes.FIRST_LOSS, 0.001)
    assert findings.headline(turned, 0.001) == (
        "Learning rate 0.001: higher epoch-1 training loss with batch norm, test accuracy not told apart"
    )
    assert "it cost a higher training loss in the first epoch at 0.001" in findings.lead(turned)


def test_answer_names_every_rate_once_for_each_outcome(epochs):
    both = pd.concat([epochs, epochs.assign(learning_rate=0.01, train_loss=0.5)])
    answer = findings.answer(both)
    assert "On MNIST, 3 pairs of runs of 2 epochs at each learning rate" in answer
    assert (
        "Training loss of epoch 1 was lower with batch norm at 0.001 (−0.1000 nats [−0.1248, −0.0752]), "
        "and did not tell the arms apart at 0.01 (+0.0000 nats in each of 3 pairs, with no spread to judge it by)." in answer
    )


def test_single_pair_claims_nothing(epochs):
    one = epochs[epochs.seed == 0]
    told = told_of(one, outcomes.FIRST_LOSS, 0.001)
    assert told == "In training loss of epoch 1 these runs do not tell the arms apart: −0.1000 nats, from one pair."
    assert findings.lead(one) == "With one pair of runs at each learning rate, nothing can be told apart from chance."
    assert "hence no intervals" in findings.answer(one)
    assert "interval" not in captions.answer(one).replace("hence no interval", "")


def test_lead_says_what_was_bought_and_what_it_cost(epochs):
    assert findings.lead(epochs) == (
        "In these runs batch norm bought a lower training loss in the first epoch at 0.001; "
        "in test accuracy the arms were told apart at no rate."
    )
    worse = epochs.assign(test_accuracy=epochs.test_accuracy.where(epochs.norm == "none", epochs.test_accuracy - 0.3))
    assert findings.lead(worse) == (
        "In these runs batch norm bought a lower training loss in the first epoch at 0.001; "
        "it cost a lower test accuracy at 0.001."
    )


def test_stability_counts_diverged_and_unlearned_runs_of_each_arm(diverged_epochs, epochs):
    assert findings.stability(diverged_epochs) == (
        "At 1000, 1 of 2 runs without batch norm and 0 of 2 with it diverged, that is, met a loss that was not finite. "
        "At 1000, 1 of 2 runs without batch norm and 0 of 2 with it did not learn: their test accuracy ended below 50%. "
        "That one arm loses more may be chance (p 0.50)."
    )
    assert findings.stability(epochs) == "Every run stayed finite and ended with a test accuracy of at least 50% (6 of 6)."
    assert "2 of 2 runs without batch norm and 0 of 2 with it diverged or did not learn" in findings.lead(diverged_epochs)


def test_pairs_that_learned_are_told_apart_from_the_mean_over_all(epochs):
    lost = epochs.copy()
    lost.loc[(lost.norm == "none") & (lost.seed == 0) & (lost.epoch == 2), "test_accuracy"] = 0.1
    # the pairs of seeds 1 and 2 differ by 0 and -1 points: mean -0.5, half width 12.7062 * 0.5
    assert findings.stability(lost).endswith(
        "In the 2 pairs at 0.001 in which both learned, test accuracy differed by −0.50 percentage points [−6.85, +5.85]."
    )


def test_arms_that_lose_as_many_runs_are_not_said_to_differ(epochs):
    lost = epochs.copy()
    for norm, seed in (("none", 0), ("batch", 1)):
        lost.loc[(lost.norm == norm) & (lost.seed == seed) & (lost.epoch == 2), "test_accuracy"] = 0.1
    assert "may be chance" not in findings.stability(lost)


def test_survivors_are_not_passed_off_as_all_pairs(diverged_epochs):
    told = told_of(diverged_epochs, outcomes.TEST_ACCURACY, 1000.0)
    assert told.endswith("+75.00 percentage points, from the 1 of 2 pairs that stayed finite.")


def test_findings_survive_an_arm_that_always_diverged(diverged_epochs):
    lost = diverged_epochs[diverged_epochs.seed == 0]
    two = pd.concat([lost, lost.assign(seed=1)])
    assert "In test accuracy of epoch 2 the arms cannot be compared" in findings.at_rate(two, 1000.0)
    assert (
        "Test accuracy of epoch 2 could not be compared at 1000 (no pair in which both arms stayed finite)"
        in findings.answer(two)
    )
    assert "test accuracy not to be compared" in findings.headline(two, 1000.0)
    further = pd.concat([two, two.assign(learning_rate=2000.0)])
    assert "without batch norm it cannot be said" in findings.across_rates(further)


def test_change_over_rates_is_paired_by_seed(epochs):
    worse = epochs.assign(learning_rate=0.01, test_accuracy=epochs.test_accuracy - 0.09 - 0.01 * epochs.seed)
    told = findings.across_rates(pd.concat([epochs, worse]))
    fell = "by −10.00 percentage points [−12.48, −7.52] (it fell)"  # -9, -10 and -11
    assert told == (
        "**From 0.001 to 0.01 test accuracy of epoch 2 changed, over pairs of the same seed, "
        f"without batch norm {fell} and with batch norm {fell}.**"
    )
    assert findings.across_rates(epochs) == ""


def test_cost_is_told_from_the_kept_benchmark():
    facts = {"device": "cpu", "accelerator": "none", "processor": "P", "instruction set": "AVX2", "torch": "2"}
    facts |= {
        "images": "MNIST",
        "batch size": "100",
        "precision": "bf16",
        "runs at once": "2",
        "threads of the plain loop": "4",
    }
    told = findings.cost(Benchmark(RATES, facts))
    # 400 / 100 and 200 / 200 images per second; 0.03 s to 0.0125 s and to 0.01 s
    assert "takes 2.50 (1.00 to 4.00) times as long with batch norm as without" in told
    assert (
        "fp32 on the CPU with 4 threads, takes 2.70 (2.40 to 3.00) times as long as this one, bf16 on the CPU, 2 runs" in told
    )
    assert "range of 2 repeats" in told
    assert "bf16 on H200," in findings.cost(Benchmark(RATES, facts | {"device": "cuda", "accelerator": "H200"}))


def test_cost_without_a_benchmark_says_how_to_measure_it():
    assert "`make bench KEEP=1` measures it" in findings.cost(None)


def test_captions_give_the_finding(epochs):
    assert "Training loss of epoch 1 tells the arms apart at 1 of 1 rate (0.001)." in captions.answer(epochs)
    assert "Test accuracy of epoch 2 tells the arms apart at 0 of 1 rate." in captions.across(epochs)
    assert "In test accuracy after the last epoch the arms are not told apart." in captions.curves(epochs, 0.001)


def test_caption_says_where_an_axis_turns_logarithmic(epochs):
    far = epochs.copy()
    far.loc[(far.norm == "none") & (far.seed == 2) & (far.epoch == 2), "test_accuracy"] = 0.1
    far.loc[(far.norm == "none") & (far.seed == 1) & (far.epoch == 2), "test_accuracy"] = 0.979
    far.loc[(far.norm == "none") & (far.seed == 0) & (far.epoch == 2), "test_accuracy"] = 0.975
    assert "the axis is linear within ±1 and logarithmic beyond" in captions.answer(far)
    assert "logarithmic beyond" not in captions.answer(epochs)
