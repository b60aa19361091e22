import numpy as np
import pandas as pd
import pytest

from bnlib.analysis import claims
from bnlib.page import prose
from tests.conftest import make_epochs, results_of


def told_of(results, outcome: str, rate: float = 0.001, arm: str = "batch") -> str:
    """What is said of one outcome of one arm at one rate."""
    return prose.difference(results.one(outcome, arm, rate), results.study)


def change(epochs: pd.DataFrame, norm: str, seed: int, **values: float) -> pd.DataFrame:
    """The records with other values in the last epoch of one run."""
    last = (epochs.norm == norm) & (epochs.seed == seed) & (epochs.epoch == epochs.epoch.max())
    changed = epochs.copy()
    changed.loc[last, list(values)] = list(values.values())
    return changed


@pytest.fixture
def four(epochs):
    """The three seeds in four arms: group norm is as good as batch norm, layer norm as bad as none of them."""
    more = {"group": epochs[epochs.norm == "batch"], "layer": epochs[epochs.norm == "none"]}
    return pd.concat([epochs, *(table.assign(norm=norm) for norm, table in more.items())])


def test_difference_is_claimed_only_where_its_interval_allows(epochs):
    results = results_of(epochs)
    # differences -0.10, -0.09, -0.11: mean -0.1, half width 4.302653 * 0.01 / sqrt(3) = 0.0248
    lower = "The training loss of epoch 1 was lower with batch norm: −0.1000 nats [−0.1248, −0.0752]."
    assert told_of(results, "train_loss_first") == lower
    # differences +1, 0, -1 points: mean 0, half width 4.302653 * 1 / sqrt(3) = 2.48
    unclear = "In test accuracy of epoch 2 these runs do not tell the arms apart: +0.00 percentage points [−2.48, +2.48]."
    assert told_of(results, "test_accuracy_last") == unclear


def test_turned_records_turn_the_finding(epochs):
    turned = results_of(epochs.assign(norm=epochs.norm.map({"none": "batch", "batch": "none"})))
    assert "was higher with batch norm" in told_of(turned, "train_loss_first")
    assert prose.headline(turned, 0.001) == (
        "Learning rate 0.001: higher epoch-1 training loss with batch norm, test accuracy not told apart"
    )
    assert "it cost a higher training loss in the first epoch at 0.001" in prose.lead(turned)


def test_answer_names_every_rate_once_for_each_outcome(epochs):
    answer = prose.answer(results_of(pd.concat([epochs, epochs.assign(learning_rate=0.01, train_loss=0.5)])))
    assert "On MNIST, 3 pairs of runs of 2 epochs at each learning rate" in answer
    assert (
        "Training loss of epoch 1 was lower with batch norm at 0.001 (−0.1000 nats [−0.1248, −0.0752]), "
        "and did not tell the arms apart at 0.01 (+0.0000 nats in each of 3 pairs, with no spread to judge it by)." in answer
    )


def test_single_pair_claims_nothing(epochs):
    one = results_of(epochs[epochs.seed == 0])
    told = told_of(one, "train_loss_first")
    assert told == "In training loss of epoch 1 these runs do not tell the arms apart: −0.1000 nats, from one pair."
    assert prose.lead(one) == "With one pair of runs at each learning rate, nothing can be told apart from chance."
    assert "hence no intervals" in prose.answer(one)


def test_lead_says_what_was_bought_and_what_it_cost(epochs):
    assert prose.lead(results_of(epochs)) == (
        "In these runs batch norm bought a lower training loss in the first epoch at 0.001; "
        "in test accuracy the arms were told apart at no rate."
    )
    worse = epochs.assign(test_accuracy=epochs.test_accuracy.where(epochs.norm == "none", epochs.test_accuracy - 0.3))
    assert prose.lead(results_of(worse)) == (
        "In these runs batch norm bought a lower training loss in the first epoch at 0.001; "
        "it cost a lower test accuracy at 0.001."
    )


def test_stability_counts_the_failed_runs_of_each_arm(diverged_epochs, epochs):
    results = results_of(diverged_epochs)  # one run diverged, one predicts one class
    told = prose.stability(results)
    assert told.startswith("At 1000, 2 of 2 runs without batch norm and 0 of 2 with it failed, that is, ended as a constant")
    assert told.endswith("That one arm fails more may be chance (p 0.50).")  # of two pairs that differ: 2 / 2^2
    assert "2 of 2 runs without batch norm and 0 of 2 with it failed" in prose.lead(results)
    assert prose.stability(results_of(epochs)).startswith("No run failed")
    assert prose.stability(results_of(epochs)).endswith("(0 of 6).")


def test_low_accuracy_is_no_failure(epochs):
    low = change(epochs, "none", 0, test_accuracy=0.12, classes=2)
    assert prose.stability(results_of(low)).startswith("No run failed")
    assert "failed" not in prose.lead(results_of(low))
    assert "1 of 3 runs without batch norm" in prose.stability(results_of(change(low, "none", 0, classes=1)))


def test_arms_that_fail_as_often_are_not_said_to_differ(epochs):
    failed = change(change(epochs, "none", 0, classes=1), "batch", 1, classes=1)
    assert "may be chance" not in prose.stability(results_of(failed))


def test_chance_is_told_of_each_rate_that_has_failures(epochs):
    failed = change(epochs, "none", 0, classes=1)
    failed = change(failed, "none", 1, classes=1)
    told = prose.stability(results_of(pd.concat([failed, failed.assign(learning_rate=0.01)])))
    assert "That one arm fails more at 0.001 may be chance (p 0.50)." in told
    assert "That one arm fails more at 0.01 may be chance (p 0.50)." in told
    assert told.count("ended as a constant") == 1


def test_survivors_are_not_passed_off_as_all_pairs(epochs):
    failed = results_of(change(epochs, "none", 0, test_accuracy=0.1, classes=1))
    # the pairs of seeds 1 and 2 differ by 0 and -1 points: mean -0.5, half width 12.7062 * 0.5
    told = told_of(failed, "test_accuracy_last", 0.001)
    assert told.endswith("−0.50 percentage points [−6.85, +5.85], from the 2 of 3 pairs in which neither run failed.")


def test_findings_survive_an_arm_that_always_diverged(diverged_epochs):
    lost = diverged_epochs[diverged_epochs.seed == 0]
    two = pd.concat([lost, lost.assign(seed=1)])
    results = results_of(two)
    assert "In test accuracy of epoch 2 the arms cannot be compared" in prose.at_rate(results, 1000.0)
    absent = "Test accuracy of epoch 2 could not be compared at 1000 (no pair in which neither run failed)"
    assert absent in prose.answer(results)
    assert "test accuracy not to be compared" in prose.headline(results, 1000.0)
    further = results_of(pd.concat([two, two.assign(learning_rate=2000.0)]))
    assert "without batch norm it cannot be said" in prose.across_rates(further)


def test_change_over_rates_is_paired_by_seed(epochs):
    worse = epochs.assign(learning_rate=0.01, test_accuracy=epochs.test_accuracy - 0.09 - 0.01 * epochs.seed)
    told = prose.across_rates(results_of(pd.concat([epochs, worse])))
    fell = "by −10.00 percentage points [−12.48, −7.52] (it fell)"  # -9, -10 and -11
    assert told == (
        "**From 0.001 to 0.01 test accuracy of epoch 2 changed, over pairs of the same seed, "
        f"without batch norm {fell} and with batch norm {fell}.**"
    )
    assert prose.across_rates(results_of(epochs)) == ""


def test_outcome_that_is_another_in_runs_of_one_epoch_is_told_once(epochs):
    one = results_of(epochs[epochs.epoch == 1])
    assert prose.at_rate(one, 0.001).count("training loss of epoch 1") == 1


def test_several_arms_are_each_held_against_the_reference(four):
    lead = prose.lead(results_of(four))
    assert lead.startswith("In these runs, compared with those without a norm, batch norm bought a lower training loss")
    assert "Group norm bought a lower training loss in the first epoch at 0.001" in lead
    assert "Layer norm bought nothing that can be shown" in lead
    assert prose.headline(results_of(four), 0.001) == (
        "Learning rate 0.001: lower epoch-1 training loss with batch norm and with group norm; test accuracy not told apart"
    )


def test_several_arms_have_a_number_each(four):
    worse = four.assign(train_loss=four.train_loss + 0.2 * (four.norm == "group"))
    told = prose.at_rate(results_of(worse), 0.001).splitlines()[0]
    # group norm's differences are 0.2 above batch norm's -0.10, -0.09 and -0.11
    assert "was lower with batch norm (−0.1000 nats [−0.1248, −0.0752])" in told
    assert "was higher with group norm (+0.1000 nats [+0.0752, +0.1248])" in told
    assert "was not told apart with layer norm (+0.0000 nats in each of 3 pairs" in told
    assert told_of(results_of(worse), "train_loss_first", arm="group").startswith(
        "The training loss of epoch 1 was higher with group norm than without a norm: +0.1000"
    )


def test_failed_runs_of_several_arms_are_counted_each(four):
    failed = four
    for norm, seed in (("none", 0), ("none", 1), ("group", 2)):
        failed = change(failed, norm, seed, test_accuracy=0.1, classes=1)
    told = prose.stability(results_of(failed))
    counts = "2 of 3 runs without a norm, 0 of 3 with batch norm, 1 of 3 with group norm and 0 of 3 with layer norm"
    assert f"At 0.001, {counts} failed" in told
    # of the pairs with batch norm two differ, with layer norm too, and of those with group norm three, one the other way
    assert "may be chance with batch norm (p 0.50) and with layer norm (p 0.50)." in told
    assert counts in prose.lead(results_of(failed))


def test_reference_with_a_norm_is_named(epochs):
    other = epochs.assign(norm=epochs.norm.map({"none": "batch", "batch": "group"}))
    results = results_of(other)
    assert "compared with those with batch norm, group norm bought" in prose.lead(results)
    assert "with it" not in prose.stability(results_of(change(other, "batch", 0, classes=1)))


def test_verdicts_name_the_claims_by_kind(epochs):
    judged = claims.judge({"learning_rate": results_of(epochs)})  # at 0.001 alone, in three seeds
    told = prose.verdicts(judged)
    assert told.startswith(f"**Of the original's {len(judged)} claims these runs leave ")
    for claim in judged:
        assert claim.name[1:] in told
    assert "8 not tested (faster at every rate; larger rates are usable; smoother at 0.005 and 0.01;" in told


def test_section_s_finding_is_what_it_opens_with():
    assert prose.first("**One.** Two **three**.") == "One."
    assert prose.first("None of that.") == "None of that."


def test_loss_that_is_not_finite_is_a_failure():
    runs = make_epochs({(norm, 0.1): {0: [(1.0, 0.9)], 1: [(np.nan, np.nan)]} for norm in ("none", "batch")})
    assert "At 0.1, 1 of 2 runs without batch norm and 1 of 2 with it failed" in prose.stability(results_of(runs))
