import pandas as pd

from bnlib import claims, discussion, outcomes, study_tables
from tests.conftest import make_epochs
from tests.test_claims import runs
from tests.test_replay import chain


def test_arms_differ_in_three_layers():
    assert discussion.networks() == "**The arms differ in 3 layers with 448 of 422,090 parameters, and in nothing else.**"


def test_each_section_opens_with_its_finding():
    epochs = runs(gain=0.6)
    told = [
        f(epochs) for f in (discussion.each_rate, discussion.soon, discussion.steady, discussion.own_rates, discussion.general)
    ]
    assert all(text.startswith("**") for text in told)
    assert "Training loss of epoch 1 is lower with batch norm at 0.001, 0.005 and 0.01" in told[0]
    assert "98.5% sooner at 0.001, 0.005 and 0.01" in told[1]
    assert "fluctuates less with batch norm at 0.001, 0.005 and 0.01" in told[2]
    assert "are higher with batch norm: +" in told[3]
    assert "narrower with batch norm at 0.001, 0.005 and 0.01" in told[4]


def test_turned_records_turn_what_is_said():
    turned = runs(gain=0.6).assign(norm=lambda t: t.norm.map({"none": "batch", "batch": "none"}))
    assert "98.5% later at 0.001, 0.005 and 0.01" in discussion.soon(turned)
    assert "fluctuates more with batch norm" in discussion.steady(turned)
    assert "wider with batch norm" in discussion.general(turned)


def test_nothing_is_told_apart_whose_adjusted_p_is_not_small():
    cells = {
        (norm, 0.001): {s: [(1.0, 0.98 + 0.001 * (s % 3) * (norm == "batch"))] for s in range(8)} for norm in ("none", "batch")
    }
    epochs = make_epochs(cells)
    assert outcomes.signs(epochs, outcomes.TEST_ACCURACY) == {0.001: 0}  # three of eight pairs are ties: p = 2 / 2^5
    assert "test accuracy of epoch 1 is not told apart at 0.001" in discussion.each_rate(epochs)


def test_equality_is_claimed_only_where_it_is_tested():
    close = {s: [(1.0, 0.98 + 0.00001 * s)] for s in range(8)}
    epochs = make_epochs({("none", 0.001): close, ("batch", 0.001): {s: [(1.0, 0.98 + 0.00002 * (s % 2))] for s in range(8)}})
    assert "is shown at 0.001" in discussion.sure(epochs)
    assert "is shown at no rate" in discussion.sure(runs(gain=0.6))


def test_reach_gives_both_ranges_and_their_ratio(span):
    told = discussion.reach(span)
    assert told.startswith("**In runs of 2 epochs with 2 seeds, rates within 1 point of an arm's best mean test accuracy are ")
    assert "without batch norm 0.001 and with batch norm 0.001 to 0.01" in told
    assert "the largest such rate of a seed is 100.0 [" in told
    assert "over seeds (10.0 and 1000.0)" in told
    assert "within 0.5 and " in told
    assert "steps of about 31.6" in told


def test_range_of_one_rate_has_no_steps(span):
    assert "steps" not in discussion.reach(span[span.learning_rate == 0.001])


def test_lost_runs_of_the_range_are_counted_by_arm_and_rate(span):
    assert "Diverged or below 50% in the end are without batch norm 2 of 2 at 1; with batch norm none.**" in discussion.reach(
        span
    )
    lost = span.copy()
    lost.loc[(lost.norm == "batch") & (lost.learning_rate > 0.001) & (lost.seed == 0), "test_accuracy"] = 0.1
    assert "2 of 2 at 1; with batch norm 1 of 2 at 0.01 and 1.**" in discussion.reach(lost)


def test_usable_rates_with_a_gap_are_named_one_by_one(span):
    middle = span.copy()
    middle.loc[(middle.norm == "batch") & (middle.learning_rate == 0.01), "test_accuracy"] = 0.5
    middle.loc[(middle.norm == "batch") & (middle.learning_rate == 1.0), "test_accuracy"] = 0.99
    assert "with batch norm 0.001 and 1" in discussion.reach(middle)


def test_section_s_finding_is_what_it_opens_with():
    assert discussion.first("**One.** Two **three**.") == "One."
    assert discussion.first("None of that.") == "None of that."


def test_best_rate_at_the_edge_is_said():
    assert "at the edge of those tried" in discussion.own_rates(runs(gain=0.6))


def test_verdicts_name_the_claims_by_kind():
    told = discussion.verdicts(claims.judge(runs(gain=0.6)))
    assert told == (
        "**Of the original's 8 claims these runs leave 6 supported (faster at every rate; at 0.001, in the first epochs; "
        "stable at 0.005 and 0.01; higher test accuracy at every rate; lower final training loss at every rate; a "
        "regularising effect), 1 not shown by these data (a smaller difference at 0.01) and 1 not tested (the cause: less "
        "internal covariate shift).**"
    )


def test_claim_that_ties_keep_out_of_reach_says_so():
    epochs = runs(gain=0.6)
    same = (epochs.learning_rate == 0.005) & epochs.seed.isin([0, 1, 2])
    epochs.loc[same & (epochs.norm == "batch"), "test_accuracy"] = epochs.loc[
        same & (epochs.norm == "none"), "test_accuracy"
    ].to_numpy()
    told = discussion.claim(claims.judge(epochs)[0])
    assert "In epochs until test accuracy 98.5% at 0.005, 5 of 8 pairs differ: p could not have come below 0.062" in told
    assert "could not have come" not in discussion.claim(claims.judge(runs(gain=0.6))[0])


def test_replay_counts_published_figures_inside_its_band():
    told = discussion.replayed(chain(), "mnist")
    assert told.startswith(
        "**Of the 60 epochs of the original's log that were run, 60 training losses and 60 training accuracies lie where"
    )
    # e to the power of 2 x 4.302653 x 0.22314 x sqrt(4 / 3)
    assert "a factor of 9.2 from end to end" in told
    assert "6 of its 6 test accuracies" in told
    short = chain()
    shorter = discussion.replayed(short[short.epoch <= 5], "mnist")
    assert shorter.startswith("**Of the 30 epochs of the original's log that were run, 30 training losses and 30")
    assert "test accuracies" not in shorter  # the original's are of its tenth epoch
    assert "are of MNIST" in discussion.replayed(chain(), "digits")
    assert "no interval" in discussion.replayed(chain({0: 1.0}), "mnist")


def test_order_sets_original_replay_and_fresh_start_side_by_side():
    fresh = make_epochs({("none", 0.005): {0: [(0.3, 0.9)]}, ("batch", 0.005): {0: [(0.1, 0.9)]}})
    both = pd.concat([chain(), fresh])
    told = discussion.order(both)
    assert told.startswith(
        "Training loss of the first epoch at 0.005 is without batch norm 0.0190 in the original and 0.0190 in the replay, but "
        "0.3000 after a fresh start and with batch norm 0.0046 in the original"
    )
    assert study_tables.first_losses(both).rows == [
        ["0.005, without batch norm", "0.0190", "0.0190", "0.3000"],
        ["0.005, with batch norm", "0.0046", "0.0046", "0.1000"],
    ]
