import pandas as pd
import pytest

from bnlib.analysis import claims
from bnlib.experiment import studies
from bnlib.experiment.settings import Settings
from bnlib.experiment.study import Study
from bnlib.page import prose, words
from tests.conftest import results_of
from tests.page.test_sections import runs


def asked(**settings) -> dict[str, Study]:
    return {each.name: each for each in studies.joined(studies.studies(Settings(**settings), "mnist", "cpu"))}


@pytest.mark.parametrize(
    ("dataset", "fell_back", "said"),
    [
        ("digits", True, "could not be downloaded"),
        ("digits", False, "needs no download"),
        ("fashion_mnist", False, "Fashion-MNIST"),
    ],
)
def test_page_on_other_data_says_so(dataset, fell_back, said):
    notice = prose.notice(dataset, fell_back)
    assert notice.startswith("> **This is not MNIST.**")
    assert said in notice


def test_page_on_mnist_needs_no_notice():
    assert prose.notice("mnist", fell_back=False) == ""


def test_command_makes_these_records():
    studies = asked(learning_rates="0.001", seeds=3, study_seeds=2, range_rates="0.1", arms="none batch group")
    assert prose.command(studies, {"precision": "fp32", "device": "cpu"}) == (
        'make report DATASET=mnist ARMS="none batch group" LEARNING_RATES="0.001" SEEDS=3 EPOCHS=10 STUDY_SEEDS=2 '
        'RANGE_RATES="0.1" PRECISION=fp32 DEVICE=cpu'
    )


def test_setting_counts_what_is_run():
    one = studies.each_rate(0.001, arms=("none", "batch"), seeds=1, epochs=1, dataset="mnist")
    assert prose.setting(one) == (
        "**Learning rate 0.001** on MNIST: 1 pair of runs, 1 epoch each, batches of 100, 32-bit floats (fp32)."
    )
    three = one.model_copy(update={"factors": one.factors | {"norm": ("none", "batch", "group")}})
    assert "on MNIST: 1 run in each of 3 arms, 1 epoch each," in prose.setting(three)


def test_setting_of_a_chain_and_of_a_range_says_at_which_rates():
    studies = asked(study_seeds=2, seeds=3, range_rates="0.1 0.001", epochs=3)
    assert prose.setting(studies["replay"]).startswith(
        "**The chain, at 0.001, 0.01 and 0.005 in turn,** on MNIST: 2 pairs of networks, 3 epochs at each rate,"
    )
    assert prose.setting(studies["learning_rate_range"]).startswith(
        "**2 learning rates from 0.001 to 0.1** on MNIST: 2 pairs of runs at each, 2 epochs,"
    )


def test_runs_done_counts_the_failed(diverged_epochs, epochs):
    assert prose.runs_done(results_of(diverged_epochs)).startswith("4 runs of 2 epochs; 2 failed, that is, ended as a constant")
    assert prose.runs_done(results_of(epochs)) == "6 runs of 2 epochs; 0 failed."


def test_chain_that_fails_at_any_rate_is_one_chain(diverged_epochs):
    later = diverged_epochs.assign(learning_rate=0.005)
    results = results_of(pd.concat([diverged_epochs, later]))
    assert prose.chains_done(results).startswith("4 chains of 2 epochs at each rate; 2 failed")


def test_missing_runs_are_named_in_bold(epochs):
    three = results_of(epochs).study
    assert prose.missing(three, epochs) == ""
    told = prose.missing(three, epochs[(epochs.norm == "none") | (epochs.seed == 0)])
    assert told.startswith("**")
    assert "with batch norm at learning rate 0.001: 2 of 3 runs" in told
    assert "without" not in told


def test_limits_follow_the_records(epochs):
    limits = prose.limits(results_of(epochs))
    assert "3 seeds at each of 1 rate. The intervals assume" in limits
    one = prose.limits(results_of(epochs[epochs.seed == 0]))
    assert "1 seed at each of 1 rate. No difference on this page has an interval." in one
    many = pd.concat([epochs.assign(seed=epochs.seed + 3 * n) for n in range(3)])
    assert "roughly normal" not in prose.limits(results_of(many))


@pytest.mark.parametrize(
    ("arms", "rates", "least"),
    [
        ("none batch", "0.001", 6),  # 2 / 2^6 < 5%
        ("none batch", "0.001 0.005 0.01", 7),  # 3 x 2 / 2^7
        ("none batch group layer", "0.001 0.005 0.01", 9),  # 9 x 2 / 2^9
    ],
)
def test_method_is_the_exact_test_only_where_it_can_show_anything(arms, rates, least):
    few, enough = (asked(arms=arms, learning_rates=rates, seeds=seeds)["learning_rate"] for seeds in (least - 1, least))
    assert f"paired t test, which supposes normal differences; from {least} pairs on" in prose.method(few)
    assert "by the exact permutation test" in prose.method(enough)
    assert "paired t test" not in prose.method(enough)


def test_one_seed_judges_nothing():
    assert "no difference can be judged" in prose.method(asked(seeds=1)["learning_rate"])


def judged(results) -> dict[str, claims.Claim]:
    return {claim.number: claim for claim in claims.judge({"learning_rate": results})}


def told_of(results, number: str) -> str:
    return prose.claim(judged(results)[number], results)


def test_claim_says_what_it_needs_and_its_verdict():
    results = results_of(runs())
    for claim in judged(results).values():
        told = prose.claim(claim, results)
        assert told.startswith(f"**Verdict: {claim.verdict}.** {claim.says}")
        assert claim.needs in told


def test_claim_that_ties_keep_out_of_reach_says_so():
    epochs = runs()
    same = (epochs.learning_rate == 0.005) & epochs.seed.isin([0, 1, 2])
    without = epochs.loc[same & (epochs.norm == "none"), "test_accuracy"].to_numpy()
    epochs.loc[same & (epochs.norm == "batch"), "test_accuracy"] = without
    told = told_of(results_of(epochs), "1")
    assert (
        "In epochs until test accuracy 98.5% at 0.005, by rank, 5 of 8 pairs differ: p could not have come below 0.062" in told
    )
    assert "could not have come" not in told_of(results_of(runs()), "1")


def test_pair_with_a_failed_run_is_said_beside_the_fluctuation():
    epochs = runs()
    epochs.loc[(epochs.learning_rate == 0.01) & (epochs.norm == "none") & (epochs.seed == 0), "classes"] = 1
    told = told_of(results_of(epochs), "3b")
    assert "at 0.01, 1 of 8 runs without batch norm and 0 of 8 with it failed" in told
    epochs = pd.concat([epochs, epochs[epochs.norm == "batch"].assign(norm="group")])
    several = told_of(results_of(epochs), "3b")
    assert "at 0.01, 1 of 8 runs without a norm and 0 of 8 with batch norm failed" in several
    assert "group" not in several  # the original has no such arm


def test_notes_that_need_runs_are_left_out_where_a_claim_is_not_tested():
    epochs = runs()
    results = results_of(epochs[epochs.learning_rate == 0.001])
    notes = {number: prose.note(claim, results) for number, claim in judged(results).items()}
    assert {notes[number] for number in ("1", "2", "3a", "3b")} == {""}
    assert notes["4"].endswith("they differ by 0.10 at 0.001, 0.38 at 0.005 and 0.49 at 0.01, in percentage points.")
    assert "Ioffe" in notes["8"]


def test_every_note_belongs_to_a_claim_that_there_is():
    results = results_of(runs())
    noted = {number for number, claim in judged(results).items() if prose.note(claim, results)}
    assert noted == {"1", "3b", "4", "5", "7", "8"}


def test_words_agree_with_their_numbers():
    assert [words.plural(n, "seed") for n in (0, 1, 2)] == ["0 seeds", "1 seed", "2 seeds"]
    assert [words.listing(list("abc")[:n]) for n in (1, 2, 3)] == ["a", "a and b", "a, b and c"]


def test_study_at_one_rate_that_is_held_says_what_is_run():
    factors = {"activation": ("relu", "leaky_relu")}
    held = {"dataset": "mnist", "learning_rate": 0.01}
    fields = {"factors": factors, "reference": {"activation": "relu"}, "seeds": 3, "epochs": 2, "held": held}
    study = Study(name="x", notebook="x", **fields)
    assert prose.setting(study).startswith("**Learning rate 0.01** on MNIST: 3 pairs of runs, 2 epochs each")
    assert study.cells == ({"learning_rate": 0.01},)
