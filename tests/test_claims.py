import numpy as np
import pandas as pd
import pytest

from bnlib import claims, convergence, evidence, outcomes, records
from bnlib.config import CHAIN
from tests.conftest import make_epochs

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


def verdicts(epochs: pd.DataFrame) -> dict[int, str]:
    return {claim.number: claim.verdict for claim in claims.judge(epochs)}


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


def test_pair_with_a_lost_run_has_no_fluctuation_and_is_said():
    epochs = runs(gain=0.6)
    lost = (epochs.learning_rate == 0.01) & (epochs.norm == "none") & (epochs.seed == 0)
    epochs.loc[lost, "test_accuracy"] = 0.1135
    claim = claims.judge(epochs)[2]
    assert [(len(part.values), part.interval.n) for part in claim.parts] == [(8, 8), (8, 7)]
    assert "at 0.01 1 of 8 runs without batch norm and 0 of 8 with it" in claim.note


def test_p_values_are_adjusted_over_the_rates_of_one_outcome():
    claim = claims.judge(runs(gain=0.6))[0]
    # All eight pairs agree everywhere: p = 2 / 2^8, times three rates; the two outcomes are not pooled.
    assert [part.p for part in claim.parts] == pytest.approx([3 * 2 / 256] * 6)


def test_opposite_of_one_part_has_to_stand_out_among_all_parts():
    epochs = runs(gain=0.6)
    at = (epochs.learning_rate == 0.005) & (epochs.epoch == 1)
    epochs.loc[at & (epochs.norm == "batch"), "train_loss"] = 0.3  # the rate's first loss is higher with batch norm
    claim = claims.judge(epochs)[0]
    part = next(part for part in claim.parts if part.text == "training loss of epoch 1 at 0.005")
    # Six parts, all of p = 2 / 2^8: the opposite is adjusted over six, what is as wanted over three rates.
    assert (part.met, part.p) == (-1, pytest.approx(6 * 2 / 256))
    assert claim.parts[0].p == pytest.approx(3 * 2 / 256)
    assert claim.verdict == CONTRADICTED


def test_one_rate_is_not_adjusted():
    assert [part.p for part in claims.judge(runs(gain=0.6))[1].parts] == pytest.approx([2 / 256] * 4)


def test_pairs_without_a_difference_bound_p_from_below():
    part = claims.Part("", outcomes.TEST_ACCURACY, np.array([0, 0, 0, -1, -2, -8, -3, np.nan]), -1, "")
    assert (part.unequal, part.least_p) == (4, 1 / 8)


def test_original_s_own_table_is_held_against_its_fifth_claim():
    assert "0.10 at 0.001, 0.38 at 0.005 and 0.49 at 0.01" in claims.judge(runs(gain=0.6))[4].note


def test_notes_give_what_the_original_printed_and_what_it_did_not():
    judged = claims.judge(runs(gain=0.6))
    assert "The training accuracy of epoch 1 is higher with batch norm at 0.001, 0.005 and 0.01." in judged[0].note
    # By hand from the log: changes of the training loss from epoch 3 to 10 at 0.005, 0.0282 and 0.0049 in all, over 7.
    assert "by 0.0040 nats without and 0.0007 with batch norm at 0.005" in judged[2].note
    assert "The test loss of epoch 6 is" in judged[3].note


def test_csv_holds_what_the_verdicts_rest_on(tmp_path):
    epochs = runs(gain=0.6)
    evidence.save(epochs, tmp_path)
    parts, each = (pd.read_csv(tmp_path / f"{name}.csv") for name in ("claims", "runs"))
    row = parts[(parts.claim == 4) & parts.part.str.contains("at 0.005")].iloc[0]
    values = each[each.learning_rate == 0.005].pivot(index="seed", columns="norm", values="test_accuracy_last")
    assert row["mean"] == pytest.approx((values["batch"] - values["none"]).mean())
    assert (row.verdict, row.wanted, row.pairs, row.seeds) == (SUPPORTED, "above 0", 8, 8)
    assert len(each) == 3 * 2 * 8


def test_epochs_until_an_accuracy_count_a_miss_as_one_more_than_was_given():
    cells = {("none", 0.001): {0: [(1, 0.97), (1, 0.99)], 1: [(1, 0.5), (1, 0.6)], 2: [(np.nan, np.nan)]}}
    cells["batch", 0.001] = {seed: [(1, 0.985), (1, 0.99)] for seed in range(3)}
    epochs = make_epochs(cells)
    values = outcomes.per_seed(epochs, convergence.until(0.985), 0.001)
    assert values["none"].tolist() == [2, 3, 3]
    assert values["batch"].tolist() == [1, 1, 1]


def test_verdict_of_the_committed_records_is_that_of_their_csv():
    from bnlib import paths

    folder = paths.ROOT / "reports/mnist/data"
    judged = claims.judge(records.of(pd.read_csv(folder / "epochs.csv"), records.CONTROLLED))
    written = pd.read_csv(folder / "claims.csv").drop_duplicates("claim")
    assert dict(zip(written.claim, written.verdict, strict=True)) == {claim.number: claim.verdict for claim in judged}
