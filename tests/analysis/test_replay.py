import numpy as np
import pandas as pd
import pytest

from bnlib.analysis import contrasts
from bnlib.analysis.original import replay
from bnlib.analysis.results import Results
from bnlib.experiment import studies
from bnlib.experiment.config import CHAIN
from tests.conftest import make_epochs, results_of

AROUND = {0: 0.8, 1: 0.8, 2: 1.0, 3: 1.25, 4: 1.25}


def chain(scale: dict[int, float] | None = None) -> pd.DataFrame:
    """Records of a replay that lie around the published figures: a few seeds, each off by a factor."""
    published, test = replay.published(), replay.published_test()
    rows = []
    for seed, factor in (scale or AROUND).items():
        mine = published.assign(dataset="mnist", study="replay", seed=seed, test_loss=0.05, classes=10, fitted_loss=np.nan)
        mine["train_loss"] *= factor
        mine["train_accuracy"] = 1 - (1 - mine.train_accuracy) * factor
        mine["test_accuracy"] = [1 - (1 - test.loc[row.learning_rate, row.norm]) * factor for row in mine.itertuples()]
        rows.append(mine)
    return pd.concat(rows, ignore_index=True)


def chained(epochs: pd.DataFrame) -> Results:
    """The results of a replay of three seeds, from its records."""
    return contrasts.of(studies.replay(seeds=3, epochs=int(epochs.epoch.max()), dataset="mnist"), epochs)


def fresh_and_chained(*losses: dict[float, float], arms: tuple[str, ...] = ("none", "batch")) -> tuple[Results, Results]:
    """Results of runs from untrained weights (eight seeds) and of a chain, with these losses at each rate in all arms.

    Seed s has 0.01 s more.
    """
    of_rates, of_chain = (
        make_epochs(
            {(norm, rate): {s: [(loss + 0.01 * s, 0.9)] for s in range(seeds)} for norm in norms for rate, loss in at.items()},
            study=name,
        )
        for at, name, seeds, norms in zip(losses, ("learning_rate", "replay"), (8, 3), (arms, ("none", "batch")), strict=True)
    )
    return results_of(of_rates), chained(of_chain)


def test_published_figures_are_those_of_the_original():
    epochs, test = replay.published(), replay.published_test()
    assert len(epochs) == 60
    assert list(epochs.learning_rate.unique()) == list(CHAIN)
    first = epochs[(epochs.learning_rate == 0.005) & (epochs.norm == "batch") & (epochs.epoch == 1)].iloc[0]
    assert (first.train_loss, first.train_accuracy) == (0.0046, pytest.approx(0.9984))
    assert test.loc[0.01, "none"] == pytest.approx(0.9848)
    assert test.shape == (3, 2)


def test_published_figures_lie_inside_a_replay_around_them_and_outside_another():
    table, test = replay.beside(chain()), replay.beside_test(chain())
    assert table.train_loss_inside.all()
    assert table.train_accuracy_inside.all()
    assert test.test_accuracy_inside.all()
    # The logarithms of 0.8, 1 and 1.25 are -0.22314, 0 and 0.22314: t = 2.776445, standard deviation 0.22314, of five.
    row = table.iloc[0]
    assert row.train_loss_high == pytest.approx(0.1943 * np.exp(2.776445 * 0.22314 * (6 / 5) ** 0.5), rel=1e-4)
    assert row.train_loss_mean == pytest.approx(0.1943 * (2 * 0.8 + 1 + 2 * 1.25) / 5)
    far = replay.beside(chain({seed: 3 + seed / 10 for seed in range(5)}))
    assert not far.train_loss_inside.any()


def test_other_arm_s_losses_lie_outside_narrow_bands():
    near = replay.beside(chain({seed: 0.998 + seed / 1000 for seed in range(5)}))
    assert replay.swapped(near) == 0
    wide = replay.beside(chain({0: 0.01, 1: 0.01, 2: 1.0, 3: 100.0, 4: 100.0}))
    assert replay.swapped(wide) == 60


def test_intervals_keep_to_what_is_possible_however_far_runs_lie_apart():
    far = chain(dict.fromkeys(range(4), 1.0) | {4: 50.0})
    table = replay.beside(far.assign(train_accuracy=far.train_accuracy.clip(0.1, 1)))
    assert table.train_accuracy_low.between(0, 1).all()
    assert table.train_accuracy_high.between(0, 1).all()
    assert (table.train_loss_low > 0).all()


@pytest.mark.parametrize("seeds", [1, 2, 4])
def test_few_chains_predict_no_other(seeds):
    few = chain({seed: AROUND[seed] for seed in range(seeds)})
    for table, column in ((replay.beside(few), "train_accuracy"), (replay.beside_test(few), "test_accuracy")):
        assert table[f"{column}_mean"].notna().all()
        assert table[[f"{column}_{name}" for name in ("low", "high", "inside")]].isna().all(axis=None)


def test_chain_that_fails_at_a_rate_is_left_out_there():
    whole = chain(AROUND | {5: 1.0})
    at = (whole.seed == 5) & (whole.learning_rate == 0.01)
    lost = whole.assign(train_loss=whole.train_loss.mask(at, 2.3), classes=whole.classes.mask(at, 1))
    table, beside = replay.beside(lost).set_index(["learning_rate", "norm", "epoch"]), ["train_loss_mean", "train_loss_high"]
    for rate, scale in ((0.01, AROUND), (0.005, AROUND | {5: 1.0})):
        other = replay.beside(chain(scale)).set_index(["learning_rate", "norm", "epoch"])
        assert table.loc[(rate, "none", 3), beside].tolist() == pytest.approx(other.loc[(rate, "none", 3), beside].tolist())


def test_arms_of_the_original_differ_more_at_its_highest_rate():
    # 98.97 - 98.48, minus 99.15 - 99.05 and minus 99.17 - 98.79, in percentage points
    change = replay.published_change()
    assert {rate: round(100 * value, 2) for rate, value in change.items()} == {0.001: 0.39, 0.005: 0.11}


def test_fresh_starts_are_those_of_the_replay_s_seeds():
    fresh, chain = fresh_and_chained({0.005: 0.1}, dict.fromkeys(CHAIN, 0.02))
    table = replay.first_losses(chain, fresh)
    assert table[["learning_rate", "norm"]].to_numpy().tolist() == [[0.005, "none"], [0.005, "batch"]]
    row = table.iloc[1]
    # The medians of seeds 0, 1 and 2, though there are eight afresh.
    assert (row.fresh, row.replayed) == (pytest.approx(0.11), pytest.approx(0.03))
    assert row.published == 0.0046


def test_log_has_the_original_s_lines_in_its_order():
    lines = list(replay.log(chain({0: 1.0}), seed=0))
    assert lines[:2] == ["Learning rate 0.001, without batch norm", "Epoch 1/10, Loss: 0.1943, Accuracy: 94.09%"]
    assert lines[11] == "Test Accuracy: 99.05%"
    assert [line for line in lines if line.startswith("Learning rate")][2] == "Learning rate 0.01, without batch norm"


def test_log_says_what_ended_before():
    epochs = chain({0: 1.0})
    lines = list(replay.log(epochs[epochs.learning_rate != 0.005], seed=0))
    assert lines[-6:] == [*("Learning rate 0.005, without batch norm", "ended before", ""), *lines[-3:]]


def test_chain_s_change_is_that_of_the_rate_and_that_of_the_order():
    fresh, chain = fresh_and_chained({0.001: 0.2, 0.005: 0.5}, {0.001: 0.2, 0.005: 0.02})
    table = replay.effects(fresh, chain, "train_loss_first")
    assert table[["norm", "learning_rate"]].to_numpy().tolist() == [["none", 0.005], ["batch", 0.005]]
    row = table.iloc[0]
    assert row.rate.estimate == pytest.approx(0.3)
    assert row.order.estimate == pytest.approx(-0.48)
    assert row.chain.estimate == pytest.approx(-0.18)
    assert row.chain.n == 3


def test_change_of_the_chain_is_of_seeds_whose_runs_all_learned():
    fresh, chain = fresh_and_chained({0.001: 0.2, 0.005: 0.5}, {0.001: 0.2, 0.005: 0.02})
    failing = fresh.runs.assign(failed=(fresh.runs.seed == 1) & (fresh.runs.learning_rate == 0.005))
    row = replay.effects(Results(fresh.study, failing, fresh.contrasts), chain, "train_loss_first").iloc[0]
    assert {part.n for part in (row.chain, row.rate, row.order)} == {2}
    assert row.chain.estimate == pytest.approx(row.rate.estimate + row.order.estimate)


def test_without_the_first_rate_afresh_the_chain_s_change_cannot_be_parted():
    fresh, chain = fresh_and_chained({0.005: 0.5}, {0.001: 0.2, 0.005: 0.02})
    assert replay.effects(fresh, chain, "test_accuracy_last").empty


def test_arm_that_was_not_run_afresh_is_left_out():
    losses = {0.001: 0.2, 0.005: 0.5}
    fresh, chain = fresh_and_chained(losses, losses, arms=("none", "group"))
    assert set(replay.effects(fresh, chain, "train_loss_first").norm) == {"none"}
    assert set(replay.first_losses(chain, fresh).norm) == {"none"}
