from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bnlib.analysis import claims, contrasts
from bnlib.analysis.claims import CONTRADICTED, DEPENDS, OPEN, SUPPORTED, UNSUPPORTED, UNTESTED
from bnlib.analysis.results import Contrast, Results
from bnlib.experiment import records, studies
from bnlib.experiment.config import CHAIN
from bnlib.system import paths
from tests.conftest import make_epochs, make_steps, results_of


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


def judge(epochs: pd.DataFrame, where: claims.Where = "fresh", **fields) -> dict[str, claims.Claim]:
    found = results_of(epochs, **fields)
    return {claim.number: claim for claim in claims.judge({found.study.name: found}, where)}


def verdicts(epochs: pd.DataFrame, **fields) -> dict[str, str]:
    return {number: claim.verdict for number, claim in judge(epochs, **fields).items()}


NUMBERS = ["1", "2", "3a", "3b", "4", "5", "6", "7", "8"]


def test_records_that_bear_the_claims_out_support_them():
    # The loss falls in both arms by the same factors, so that its logarithm fluctuates alike.
    found = verdicts(runs(gain=0.6))
    assert found == {
        **dict.fromkeys(NUMBERS, SUPPORTED),
        **{"3a": UNTESTED, "3b": DEPENDS, "5": OPEN, "8": UNTESTED},
    }


def test_turned_records_turn_the_verdicts():
    turned = runs(gain=0.6).assign(norm=lambda t: t.norm.map({"none": "batch", "batch": "none"}))
    assert verdicts(turned) == {
        **dict.fromkeys(NUMBERS, CONTRADICTED),
        **{"3a": UNTESTED, "3b": UNSUPPORTED, "5": OPEN, "8": UNTESTED},
    }


def test_one_rate_without_a_difference_leaves_a_claim_on_every_rate_open():
    epochs = runs(gain=0.6)
    same = (epochs.learning_rate == 0.005) & (epochs.norm == "batch")
    other = (epochs.learning_rate == 0.005) & (epochs.norm == "none")
    for column in ("train_loss", "test_accuracy"):
        epochs.loc[same, column] = epochs.loc[other, column].to_numpy()
    found = verdicts(epochs)
    assert {number: found[number] for number in ("1", "4", "6")} == {"1": OPEN, "4": OPEN, "6": OPEN}
    claim = judge(epochs)["4"]
    assert [claim.at(rate) for rate in claim.rates] == [SUPPORTED, OPEN, SUPPORTED]


@pytest.mark.parametrize(("at_highest", "verdict"), [(0.1, SUPPORTED), (0.6, OPEN), (1.2, CONTRADICTED)])
def test_difference_at_the_highest_rate_is_held_against_the_lower_ones(at_highest, verdict):
    epochs = runs(gain={0.001: 0.6, 0.005: 0.6, 0.01: at_highest})
    claim = judge(epochs)["5"]
    assert claim.verdict == verdict
    # What the original printed stands beside it and decides nothing.
    assert claim.ways == {
        "all pairs, by rank": verdict,
        "pairs that learned": verdict,
        "the original's own table": CONTRADICTED,
    }
    assert claim.rates == [0.001, 0.005]
    assert claim.at(0.01) is None


def test_claim_on_a_change_is_not_judged_by_that_to_another_rate():
    other = runs(gain=0.6).replace({"learning_rate": {0.01: 0.02}})
    assert verdicts(other)["5"] == UNTESTED
    assert verdicts(other)["2"] == SUPPORTED


def test_rates_beyond_the_original_s_take_no_claim_its_judgement():
    epochs = runs(gain={0.001: 0.6, 0.005: 0.6, 0.01: 0.1})
    beyond = pd.concat([epochs, epochs[epochs.learning_rate == 0.01].assign(learning_rate=0.03)], ignore_index=True)
    assert verdicts(beyond)["5"] == verdicts(epochs)["5"] == SUPPORTED
    assert [part.contrast.learning_rate for part in judge(beyond)["5"].parts] == [0.01] * 6


def test_few_seeds_support_nothing_that_their_interval_does_not():
    wide = runs(gain=0.6, seeds=2)
    wide["train_loss"] += 0.3 * (wide.seed == 1) * (wide.norm == "batch")
    assert verdicts(wide)["6"] == OPEN


def test_claims_on_absent_rates_are_not_tested():
    epochs = runs(gain=0.6)
    found = verdicts(epochs[epochs.learning_rate == 0.001])
    assert found["2"] == SUPPORTED
    assert {found[number] for number in found if number != "2"} == {UNTESTED}


def test_records_of_other_arms_test_nothing():
    other = runs(gain=0.6).assign(norm=lambda t: t.norm.map({"none": "none", "batch": "group"}))
    assert verdicts(other) == dict.fromkeys(NUMBERS, UNTESTED)


@pytest.mark.parametrize("reference", ["none", "batch", "group"])
def test_claims_are_judged_by_the_two_arms_of_which_they_speak_whatever_else_was_asked(reference):
    two = runs(gain=0.6)
    three = pd.concat([two, two[two.norm == "batch"].assign(norm="group")], ignore_index=True)
    found = claims.table(judge(three, reference={"norm": reference}).values())
    pd.testing.assert_frame_equal(found, claims.table(judge(two).values()))


def test_runs_of_one_epoch_do_not_test_a_claim_on_the_second():
    one = runs(gain=0.6, epochs=1)
    assert verdicts(one)["2"] == UNTESTED
    assert verdicts(one)["6"] == SUPPORTED


def test_pair_with_a_failed_run_has_no_fluctuation():
    epochs = runs(gain=0.6)
    gone = (epochs.learning_rate == 0.01) & (epochs.norm == "none") & (epochs.seed == 0)
    epochs.loc[gone, ["test_accuracy", "classes"]] = 0.1135, 1
    parts = judge(epochs)["3b"].parts
    assert [(part.contrast.pairs, part.contrast.n) for part in parts] == [(8, 8), (8, 7)] * 3
    assert parts[1].contrast.failed_reference == 1


def test_each_part_supports_with_its_own_p_and_contradicts_with_that_of_all():
    epochs = runs(gain=0.6)
    at = (epochs.learning_rate == 0.005) & (epochs.epoch == 1)
    epochs.loc[at & (epochs.norm == "batch"), "train_loss"] = 0.3  # the rate's first loss is higher with batch norm
    claim = judge(epochs)["1"]
    assert [(part.support, part.p_claim) for part in claim.parts if part.met > 0] == [(2 / 256, pytest.approx(6 * 2 / 256))] * 5
    (opposite,) = (part for part in claim.parts if part.met < 0)
    assert (opposite.text, opposite.support) == ("training loss of epoch 1 at 0.005", 1)
    assert claim.verdict == CONTRADICTED
    assert [claim.at(rate) for rate in claim.rates] == [SUPPORTED, CONTRADICTED, SUPPORTED]


@pytest.mark.parametrize(("better", "verdict"), [(-0.01, SUPPORTED), (0.01, DEPENDS)])
def test_regularising_is_judged_at_the_same_training_loss_too_where_that_was_measured(better, verdict):
    epochs = runs(gain=0.6)
    epochs["fitted_loss"] = 0.2 / 2**epochs.epoch  # 0.025 after three epochs
    epochs["test_loss"] = 0.05 + 0.0001 * epochs.seed + better * (1 + 0.01 * epochs.seed) * (epochs.norm == "batch")
    claim = judge(epochs)["7"]
    assert claim.ways["training minus test accuracy"] == SUPPORTED
    assert claim.verdict == verdict
    parts = [part for part in claim.parts if part.way == "test loss at the same training loss"]
    assert [(part.rate, part.contrast.n) for part in parts] == [(0.001, 8), (0.005, 8)]
    assert {part.way for part in judge(runs(gain=0.6))["7"].parts} == {"training minus test accuracy"}


def part_with(p: float, rate: float, *, wanted: int = 1, p_claim: float = 1.0, way: str = "", **fields) -> claims.Part:
    """A part of which the mean lies above zero by so small a p."""
    row = dict.fromkeys(contrasts.COLUMNS, 0) | {
        "kind": "cell",
        "estimate": 0.5,
        "low": 0.1,
        "high": 0.9,
        "exact": True,
        "p": p,
    }
    return claims.Part("", way, rate, Contrast(**row | fields), wanted, p_claim)


def claim_of(*parts: claims.Part) -> claims.Claim:
    return claims.Claim("1", "", "", "", parts)


def test_rates_are_adjusted_over_one_another_and_the_whole_is_not():
    claim = claim_of(part_with(0.04, 0.001), part_with(0.02, 0.005), part_with(0.001, 0.01))
    assert claim.verdict == SUPPORTED  # each below 5%
    # Holm: 0.003, 0.04 and 0.04.
    assert [claim.at(rate) for rate in claim.rates] == [SUPPORTED] * 3
    close = claim_of(part_with(0.04, 0.001), part_with(0.03, 0.005), part_with(0.001, 0.01))
    assert close.verdict == SUPPORTED
    assert [close.at(rate) for rate in close.rates] == [OPEN, OPEN, SUPPORTED]  # 0.003, 0.06 and 0.06


def test_rate_is_judged_by_the_least_clear_of_its_parts():
    claim = claim_of(part_with(0.001, 0.001), part_with(0.2, 0.001), part_with(0.001, 0.005))
    assert (claim.at(0.001), claim.at(0.005), claim.verdict) == (OPEN, SUPPORTED, OPEN)


def test_ways_that_disagree_leave_it_to_the_measure():
    yes, no = part_with(0.01, 0.001, way="one"), part_with(0.01, 0.001, wanted=-1, p_claim=0.01, way="other")
    assert claim_of(yes, no).ways == {"one": SUPPORTED, "other": CONTRADICTED}
    assert claim_of(yes, no).verdict == claim_of(yes, no).at(0.001) == DEPENDS
    assert claim_of(yes, replace(yes, way="other")).verdict == SUPPORTED


def test_way_that_says_nothing_of_a_rate_counts_for_nothing_there():
    gap = [part_with(0.001, rate, way="gap") for rate in CHAIN]
    fit = [part_with(0.02, rate, way="fit") for rate in CHAIN if rate < 0.01]
    claim = claim_of(*gap, *fit)
    assert claim.verdict == SUPPORTED
    assert [claim.at(rate) for rate in claim.rates] == [SUPPORTED] * 3  # Holm over two rates: 0.04
    against = claim_of(*(replace(part, wanted=-1, p_claim=0.001) for part in claim.parts))
    assert [against.at(rate) for rate in against.rates] == [CONTRADICTED] * 3


def test_opposite_does_not_contradict_with_its_own_p_alone():
    assert claim_of(part_with(0.01, 0.001, wanted=-1, p_claim=0.06)).verdict == OPEN


def test_table_holds_what_the_verdicts_rest_on():
    results = results_of(runs(gain=0.6))
    parts = claims.table(claims.judge({"learning_rate": results}), seeds="0-7")
    row = parts[(parts.claim == "4") & parts.part.str.contains("at 0.005", na=False)].iloc[0]
    values = results.values("test_accuracy_last", 0.005)
    assert row.estimate == pytest.approx((values["batch"] - values["none"]).mean())
    assert (row.verdict, row.rate_verdict, row.wanted, row.n, row.pairs, row.met) == (SUPPORTED, SUPPORTED, "above 0", 8, 8, 1)
    assert (row.p, row.p_claim) == (2 / 256, pytest.approx(3 * 2 / 256))
    change = parts[parts.claim == "5"].iloc[0]
    assert change.part == "the arms' difference in test accuracy, at 0.01 minus at 0.001, by rank"
    assert change.wanted == "below 0"
    assert parts[parts.claim == "8"].verdict.tolist() == [UNTESTED]
    assert set(parts["where"]) == {"fresh"}
    assert set(parts.seeds) == {"0-7"}


def test_claim_on_an_outcome_that_is_none_is_refused():
    with pytest.raises(ValueError, match="needs 'best_acuracy', which is no outcome"):
        claims.judged._parts(results_of(runs(gain=0.6)), [{"outcome": "best_acuracy", "wanted": "above", "rates": [0.001]}])


def test_every_claim_says_what_it_is_and_what_it_needs():
    judged = judge(runs(gain=0.6))
    assert list(judged) == NUMBERS
    assert all(claim.name and claim.says.endswith(".") and claim.needs.endswith(".") for claim in judged.values())


def test_verdict_of_the_committed_records_is_that_of_their_csv():
    folder = paths.ROOT / "reports/mnist/data"
    kept = records.load(folder)
    found = {study.name: contrasts.of(study, kept.epochs, kept.steps) for study in studies.load(folder)}
    for where in claims.STUDY:
        for seeds, its in claims.halves(found).items():
            judged = {claim.number: claim.verdict for claim in claims.judge(its, where)}
            assert claims.verdicts(folder, where)[seeds] == judged, seeds


def test_in_the_chain_all_claims_are_judged_by_the_replay():
    fresh, chain = runs(gain=0.6), runs(gain=-0.6).assign(study="replay")
    found = {each.study.name: each for each in (results_of(fresh), results_of(chain))}
    for where, verdict in (("fresh", SUPPORTED), ("chain", CONTRADICTED)):
        judged = {claim.number: claim for claim in claims.judge(found, where)}
        assert judged["4"].verdict == verdict
        assert {part.contrast.study for part in judged["4"].parts} == {claims.STUDY[where]}
        assert judged["8"].verdict == UNTESTED
    # The chain has no range of rates, and is judged at its own.
    assert [claim.verdict for claim in claims.judge(found, "chain") if claim.number == "3a"] == [OPEN]
    assert {claim.verdict for claim in claims.judge({"learning_rate": found["learning_rate"]}, "chain")} == {UNTESTED}


def test_larger_rates_are_usable_where_more_are_near_the_best_and_more_are_survived():
    good, gone, poor = [(0.1, 0.99)], [(2.3, 0.1)], [(0.1, 0.9)]

    def judged(none: list, batch: list) -> claims.Claim:
        arms = [dict(zip((0.01, 0.1), its, strict=True)) for its in (none, batch)]
        of_arm = {(norm, rate): run for norm, its in zip(("none", "batch"), arms, strict=True) for rate, run in its.items()}
        cells = {cell: dict.fromkeys(range(8), run) for cell, run in of_arm.items()}
        return judge(make_epochs(cells, study="learning_rate_range"))["3a"]

    assert judged([good, gone], [good, good]).verdict == SUPPORTED
    assert judged([good, good], [good, gone]).verdict == CONTRADICTED
    assert judged([good, poor], [good, good]).verdict == OPEN  # more are usable, no more are survived
    assert judged([good, gone], [good, good]).rates == []


def test_seeds_that_were_seen_and_new_ones_are_judged_apart():
    more = runs(gain=0.6, seeds=14)
    late = (more.seed >= claims.KNOWN) & (more.norm == "batch") & (more.epoch == 6)
    turned = more.assign(test_accuracy=more.test_accuracy - 0.02 * late)
    few = inside({"none": MORE, "batch": LESS}, {"none": LESS, "batch": MORE})
    halves = claims.halves({"learning_rate": results_of(turned), "inside": few, "controls": few})
    assert {name: set(its) for name, its in halves.items()} == {
        "all": {"learning_rate", "inside"},
        "0-7": {"learning_rate", "inside"},
        "8-13": {"learning_rate"},
    }
    assert [claims.judge(its)[4].verdict for its in halves.values()] == [OPEN, SUPPORTED, CONTRADICTED]
    assert list(claims.halves({"learning_rate": results_of(runs(gain=0.6))})) == ["all"]


def inside(relative: dict[str, list[float]], cosine: dict[str, list[float]]) -> Results:
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
        ({"none": LESS, "batch": MORE}, {"none": MORE, "batch": LESS}, CONTRADICTED),
        ({"none": LESS, "batch": MORE}, {"none": LESS, "batch": MORE}, DEPENDS),
        ({"none": LESS, "batch": MORE}, {"none": MORE, "batch": MORE}, UNSUPPORTED),
        ({"none": MORE, "batch": MORE}, {"none": MORE, "batch": MORE}, OPEN),
    ],
)
def test_cause_is_judged_by_the_shift_in_runs_that_were_looked_into(relative, cosine, verdict):
    judged = claims.judge({"learning_rate": results_of(runs(gain=0.6)), "inside": inside(relative, cosine)})
    found = {claim.number: claim for claim in judged}
    assert found["8"].verdict == verdict
    assert [part.contrast.study for part in found["8"].parts] == ["inside"] * 6
    assert {number: claim.verdict for number, claim in found.items()} | {"8": UNTESTED} == verdicts(runs(gain=0.6))


def test_cause_is_not_tested_where_nobody_looked():
    assert judge(runs(gain=0.6))["8"].verdict == UNTESTED
