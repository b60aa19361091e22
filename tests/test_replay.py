import numpy as np
import pandas as pd
import pytest

from bnlib import replay
from bnlib.config import CHAIN
from bnlib.outcomes import FIRST_LOSS, TEST_ACCURACY
from tests.conftest import make_epochs


def chain(scale: dict[int, float] | None = None) -> pd.DataFrame:
    """Records of a replay that lie around the published figures: three seeds, each off by a factor."""
    published, test = replay.published(), replay.published_test()
    rows = []
    for seed, factor in (scale or {0: 0.8, 1: 1.0, 2: 1.25}).items():
        mine = published.assign(dataset="mnist", protocol="replay", seed=seed, test_loss=0.05)
        mine["train_loss"] *= factor
        mine["train_accuracy"] = 1 - (1 - mine.train_accuracy) * factor
        mine["test_accuracy"] = [1 - (1 - test.loc[row.learning_rate, row.norm]) * factor for row in mine.itertuples()]
        rows.append(mine)
    return pd.concat(rows, ignore_index=True)


def test_published_figures_are_those_of_the_original():
    epochs, test = replay.published(), replay.published_test()
    assert len(epochs) == 60
    assert list(epochs.learning_rate.unique()) == list(CHAIN)
    first = epochs[(epochs.learning_rate == 0.005) & (epochs.norm == "batch") & (epochs.epoch == 1)].iloc[0]
    assert (first.train_loss, first.train_accuracy) == (0.0046, pytest.approx(0.9984))
    assert test.loc[0.01, "none"] == pytest.approx(0.9848)
    assert test.shape == (3, 2)


def test_configs_go_through_the_rates_with_one_pair_of_networks_each():
    first, second, *_ = replay.configs(seeds=2, dataset="mnist", epochs=10)
    assert (first.learning_rate, *first.later_rates) == CHAIN
    assert (first.norm, second.norm, first.seed, second.seed) == ("none", "batch", 0, 0)
    assert first.all_epochs == 30


def test_published_figures_lie_inside_a_replay_around_them_and_outside_another():
    table, test = replay.beside(chain()), replay.beside_test(chain())
    assert table.train_loss_inside.all()
    assert table.train_accuracy_inside.all()
    assert test.test_accuracy_inside.all()
    # The logarithms of 0.8, 1 and 1.25 are -0.22314, 0 and 0.22314: t = 4.302653, standard deviation 0.22314.
    row = table.iloc[0]
    assert row.train_loss_high == pytest.approx(0.1943 * np.exp(4.302653 * 0.22314 * (4 / 3) ** 0.5), rel=1e-4)
    assert row.train_loss_mean == pytest.approx(0.1943 * (0.8 + 1 + 1.25) / 3)
    far = replay.beside(chain({0: 3.0, 1: 3.1, 2: 3.2}))
    assert not far.train_loss_inside.any()


def test_other_arm_s_losses_lie_outside_narrow_bands():
    near = replay.beside(chain({0: 0.999, 1: 1.0, 2: 1.001}))
    assert replay.swapped(near) == 0
    wide = replay.beside(chain({0: 0.01, 1: 1.0, 2: 100.0}))
    assert replay.swapped(wide) == 60


def test_fresh_starts_are_those_of_the_replay_s_seeds():
    fresh = make_epochs({(norm, 0.005): {s: [(0.1 * (s + 1), 0.9)] for s in range(8)} for norm in ("none", "batch")})
    row = replay.first_losses(pd.concat([chain(), fresh])).iloc[0]
    assert row.fresh == pytest.approx(0.2)  # the median of 0.1, 0.2 and 0.3: seeds 0, 1 and 2


def test_log_has_the_original_s_lines_in_its_order():
    lines = list(replay.log(chain({0: 1.0}), seed=0))
    assert lines[:2] == ["Learning rate 0.001, without batch norm", "Epoch 1/10, Loss: 0.1943, Accuracy: 94.09%"]
    assert lines[11] == "Test Accuracy: 99.05%"
    assert [line for line in lines if line.startswith("Learning rate")][2] == "Learning rate 0.01, without batch norm"


def test_chain_s_change_is_that_of_the_rate_and_that_of_the_order():
    fresh, chained = (
        make_epochs(
            {(norm, rate): {s: [(loss + 0.01 * s, 0.9)] for s in range(3)} for norm in ("none", "batch") for rate, loss in at}
        )
        for at in (((0.001, 0.2), (0.005, 0.5)), ((0.001, 0.2), (0.005, 0.02)))
    )
    row = replay.effects(fresh, chained, FIRST_LOSS).iloc[0]
    assert (row.norm, row.learning_rate) == ("none", 0.005)
    assert row.rate.estimate == pytest.approx(0.3)
    assert row.order.estimate == pytest.approx(-0.48)
    assert row.chain.estimate == pytest.approx(-0.18)
    assert replay.effects(fresh[fresh.learning_rate == 0.005], chained, TEST_ACCURACY).empty
