import dataclasses

import numpy as np
import pandas as pd
import pytest

from bnlib.analysis import claims, contrasts
from bnlib.experiment import records, studies
from bnlib.experiment.config import CHAIN
from bnlib.system import paths
from tests.conftest import make_epochs, make_steps, results_of

SUPPORTED, CONTRADICTED, OPEN, UNTESTED = "supported", "contradicted", "not shown by these data", "not tested"


def swing(norm: str, seed: int, epoch: int) -> float:
    """What test accuracy has more in the fourth of six epochs."""
    return (epoch == 4) * (0.004 + 0.0001 * seed if norm == "none" else 0.001)


def runs(gain: dict[float, float] | float, seeds: int = 8, epochs: int = 6) -> pd.DataFrame:
    """Records at the original's rates in which batch norm is better by `gain` points of test accuracy and steadier."""
    cells = {}
    for rate in CHAIN:
        more = (gain if isinstance(gain, float | int) else gain[rate]) / 100
        for norm, sign in (("none", 0), ("batch", 1)):
            start = 0.983 if norm == "none" else 0.99  # before it settles, so that batch norm is sooner at 98.5%
            cells[norm, rate] = {
                seed: [
                    (
                        (0.2 - (0.1 + 0.001 * seed) * sign) / epoch,
                        start if epoch == 1 else 0.985 + sign * more + 0.0001 * seed * (1 + sign) + swing(norm, seed, epoch),
                    )
                    for epoch in range(1, epochs + 1)
                ]
                for seed in range(seeds)
            }
    early, batch = (lambda t: t.epoch <= 2), (lambda t: t.norm == "batch")
    return make_epochs(cells).assign(
        train_accuracy=lambda t: np.where(early(t), 0.9 + (0.05 + 0.001 * t.seed) * batch(t), 0.999 - 0.005 * batch(t))
    )


def judge(epochs: pd.DataFrame, **fields) -> list[claims.Claim]:
    return claims.judge(results_of(epochs, **fields))


def verdicts(epochs: pd.DataFrame, **fields) -> dict[int, str]:
    return {claim.number: claim.verdict for claim in judge(epochs, **fields)}


ALL_UNTESTED = dict.fromkeys(range(1, 9), UNTESTED)


def test_records_that_bear_the_claims_out_support_them():
    assert verdicts(runs(gain=0.6)) == {
        1: SUPPORTED,
        2: SUPPORTED,
        3: SUPPORTED,
        4: SUPPORTED,
        5: OPEN,
        6: SUPPORTED,
        7: SUPPORTED,
        8: UNTESTED,
    }


def test_turned_records_turn_the_verdicts():
    turned = runs(gain=0.6).assign(norm=lambda t: t.norm.map({"none": "batch", "batch": "none"}))
    assert verdicts(turned) == {
        1: CONTRADICTED,
        2: CONTRADICTED,
        3: CONTRADICTED,
        4: CONTRADICTED,
        5: OPEN,
        6: CONTRADICTED,
        7: CONTRADICTED,
        8: UNTESTED,
    }


def test_one_rate_without_a_difference_leaves_a_claim_on_every_rate_open():
    epochs = runs(gain=0.6)
    same = (epochs.learning_rate == 0.005) & (epochs.norm == "batch")
    other = (epochs.learning_rate == 0.005) & (epochs.norm == "none")
    for column in ("train_loss", "test_accuracy"):
        epochs.loc[same, column] = epochs.loc[other, column].to_numpy()
    found = verdicts(epochs)
    assert {number: found[number] for number in (1, 4, 6)} == {1: OPEN, 4: OPEN, 6: OPEN}


@pytest.mark.parametrize(("at_highest", "verdict"), [(0.1, SUPPORTED), (0.6, OPEN), (1.2, CONTRADICTED)])
def test_difference_at_the_highest_rate_is_held_against_the_lower_ones(at_highest, verdict):
    epochs = runs(gain={0.001: 0.6, 0.005: 0.6, 0.01: at_highest})
    assert verdicts(epochs)[5] == verdict


def test_few_seeds_support_nothing_that_their_interval_does_not():
    wide = runs(gain=0.6, seeds=2)
    wide["train_loss"] += 0.3 * (wide.seed == 1) * (wide.norm == "batch")
    assert verdicts(wide)[6] == OPEN


def test_claims_on_absent_rates_are_not_tested():
    epochs = runs(gain=0.6)
    found = verdicts(epochs[epochs.learning_rate == 0.001])
    assert found[2] == SUPPORTED
    assert {found[number] for number in found if number != 2} == {UNTESTED}


def test_records_of_other_arms_test_nothing():
    other = runs(gain=0.6).assign(norm=lambda t: t.norm.map({"none": "none", "batch": "group"}))
    assert verdicts(other) == ALL_UNTESTED


@pytest.mark.parametrize("reference", ["none", "batch", "group"])
def test_claims_are_judged_by_the_two_arms_of_which_they_speak_whatever_else_was_asked(reference):
    two = runs(gain=0.6)
    three = pd.concat([two, two[two.norm == "batch"].assign(norm="group")], ignore_index=True)
    found = claims.table(judge(three, reference={"norm": reference}))
    pd.testing.assert_frame_equal(found, claims.table(judge(two)))


def test_runs_of_one_epoch_do_not_test_a_claim_on_the_second():
    one = runs(gain=0.6, epochs=1)
    assert verdicts(one)[2] == UNTESTED
    assert verdicts(one)[6] == SUPPORTED


def test_pair_with_a_failed_run_has_no_fluctuation():
    epochs = runs(gain=0.6)
    gone = (epochs.learning_rate == 0.01) & (epochs.norm == "none") & (epochs.seed == 0)
    epochs.loc[gone, ["test_accuracy", "classes"]] = 0.1135, 1
    parts = judge(epochs)[2].parts
    assert [(part.contrast.pairs, part.contrast.n) for part in parts] == [(8, 8), (8, 7)]
    assert parts[1].contrast.failed_reference == 1


def test_p_values_are_adjusted_over_the_rates_of_one_outcome():
    claim = judge(runs(gain=0.6))[0]
    # All eight pairs agree everywhere: p = 2 / 2^8, times three rates; the two outcomes are not pooled.
    assert [part.p for part in claim.parts] == pytest.approx([3 * 2 / 256] * 6)


def test_opposite_of_one_part_has_to_stand_out_among_all_parts():
    epochs = runs(gain=0.6)
    at = (epochs.learning_rate == 0.005) & (epochs.epoch == 1)
    epochs.loc[at & (epochs.norm == "batch"), "train_loss"] = 0.3  # the rate's first loss is higher with batch norm
    claim = judge(epochs)[0]
    part = next(part for part in claim.parts if part.text == "training loss of epoch 1 at 0.005")
    # Six parts, all of p = 2 / 2^8: the opposite is adjusted over six, what is as wanted over three rates.
    assert (part.met, part.p) == (-1, pytest.approx(6 * 2 / 256))
    assert claim.parts[0].p == pytest.approx(3 * 2 / 256)
    assert claim.verdict == CONTRADICTED


def test_one_rate_is_not_adjusted():
    assert [part.p for part in judge(runs(gain=0.6))[1].parts] == pytest.approx([2 / 256] * 4)


def test_pairs_without_a_difference_bound_p_from_below():
    results = results_of(runs(gain=0.6))
    row = results.one("test_accuracy_last", "batch", 0.001)
    part = claims.Part("", dataclasses.replace(row, n=7, tied=3), -1, 1.0, 1.0)
    assert (part.unequal, part.least_p) == (4, 1 / 8)


def test_table_holds_what_the_verdicts_rest_on():
    results = results_of(runs(gain=0.6))
    parts = claims.table(claims.judge(results))
    row = parts[(parts.claim == 4) & parts.part.str.contains("at 0.005", na=False)].iloc[0]
    values = results.values("test_accuracy_last", 0.005)
    assert row["mean"] == pytest.approx((values["batch"] - values["none"]).mean())
    assert (row.verdict, row.wanted, row.pairs, row.seeds, row.met) == (SUPPORTED, "above 0", 8, 8, 1)
    change = parts[parts.claim == 5].iloc[0]
    assert change.part == "the arms' difference in test accuracy, at 0.01 minus at 0.001"
    assert change.wanted == "below 0"
    assert parts[parts.claim == 8].verdict.tolist() == [UNTESTED]


def test_every_claim_says_what_it_is_and_what_it_needs():
    judged = judge(runs(gain=0.6))
    assert [claim.number for claim in judged] == list(range(1, 9))
    assert all(claim.name and claim.says.endswith(".") and claim.needs.endswith(".") for claim in judged)


def test_verdict_of_the_committed_records_is_that_of_their_csv():
    folder = paths.ROOT / "reports/mnist/data"
    kept = records.load(folder)
    judged = claims.judge(*(contrasts.of(study, kept.epochs, kept.steps) for study in studies.load(folder)))
    written = pd.read_csv(folder / "claims.csv").drop_duplicates("claim")
    assert dict(zip(written.claim, written.verdict, strict=True)) == {claim.number: claim.verdict for claim in judged}


def inside(relative: dict[str, list[float]], cosine: dict[str, list[float]]) -> contrasts.Results:
    """A study that looked into runs at the original's rates: a layer's shift in each arm and seed, the same at each rate."""
    arms = {norm: {seed: [(0.5, 0.9)] for seed in range(8)} for norm in ("none", "batch")}
    epochs = make_epochs({(norm, rate): its for norm, its in arms.items() for rate in CHAIN}, study="inside")
    steps = make_steps(epochs, {("shift", "conv2", "relative"): relative, ("shift", "conv2", "cosine"): cosine})
    return results_of(epochs, steps, outcomes=("shift_relative", "shift_cosine"), probes=("shift",))


LESS, MORE = [0.5 + 0.01 * seed for seed in range(8)], [0.7 + 0.02 * seed for seed in range(8)]


@pytest.mark.parametrize(
    ("relative", "cosine", "verdict"),
    [
        ({"none": MORE, "batch": LESS}, {"none": LESS, "batch": MORE}, SUPPORTED),
        ({"none": LESS, "batch": MORE}, {"none": LESS, "batch": MORE}, CONTRADICTED),
        ({"none": MORE, "batch": LESS}, {"none": MORE, "batch": MORE}, OPEN),
    ],
)
def test_cause_is_judged_by_the_shift_in_runs_that_were_looked_into(relative, cosine, verdict):
    judged = claims.judge(results_of(runs(gain=0.6)), inside(relative, cosine))
    assert judged[7].verdict == verdict
    assert [part.contrast.study for part in judged[7].parts] == ["inside"] * 6
    assert [claim.verdict for claim in judged[:7]] == [claim.verdict for claim in judge(runs(gain=0.6))[:7]]


def test_cause_is_not_tested_where_nobody_looked():
    assert judge(runs(gain=0.6))[7].verdict == UNTESTED
