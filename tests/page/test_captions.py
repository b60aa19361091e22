import pandas as pd
import pytest

from bnlib.experiment import studies
from bnlib.page.prose import captions
from tests.conftest import results_of


@pytest.fixture
def four(epochs):
    """The three seeds in four arms: group norm as batch norm, layer norm as without a norm."""
    more = {"group": epochs[epochs.norm == "batch"], "layer": epochs[epochs.norm == "none"]}
    return results_of(pd.concat([epochs, *(table.assign(norm=norm) for norm, table in more.items())]))


def test_captions_give_the_finding(epochs):
    results = results_of(epochs)
    assert "Training loss of epoch 1 tells the arms apart at 1 of 1 rate (0.001)." in captions.answer(results)
    assert "Test accuracy of epoch 2 tells the arms apart at 0 of 1 rate." in captions.across(results)
    assert "In test accuracy after the last epoch the arms are not told apart." in captions.curves(results, 0.001)


def test_captions_of_several_arms_give_the_finding_of_each(four):
    rates = "with batch norm at 1 of 1 rate (0.001), with group norm at 1 of 1 rate (0.001), with layer norm at 0 of 1 rate"
    assert f"tells arms apart from that without a norm: {rates}." in captions.answer(four)
    assert "no arm is told apart from that without a norm" in captions.curves(four, 0.001)


def test_caption_of_curves_names_the_arms_that_are_told_apart(epochs):
    better = epochs.assign(test_accuracy=epochs.test_accuracy - 0.3 * (epochs.norm == "none"))
    same = better[better.norm == "none"].assign(norm="group")
    told = captions.curves(results_of(pd.concat([better, same])), 0.001)
    assert "runs with batch norm are told apart from those without a norm" in told


def test_one_seed_has_no_intervals(epochs):
    one = results_of(epochs[epochs.seed == 0])
    assert "interval" not in captions.answer(one).replace("hence no interval", "")
    assert "One seed, hence no intervals." in captions.curves(one, 0.001)


def test_caption_says_where_an_axis_turns_logarithmic(epochs):
    far = epochs.copy()
    for seed, accuracy in ((2, 0.1), (1, 0.979), (0, 0.975)):
        far.loc[(far.norm == "none") & (far.seed == seed) & (far.epoch == 2), "test_accuracy"] = accuracy
    assert "the axis is linear within ±1 and logarithmic beyond" in captions.answer(results_of(far))
    assert "logarithmic beyond" not in captions.answer(results_of(epochs))


def test_survival_counts_the_runs_of_an_arm_and_names_the_arms(epochs, four):
    assert "each arm's 3 runs" in captions.survival(results_of(epochs))
    assert "dashed without batch norm, solid with it" in captions.survival(results_of(epochs))
    assert "the arms without a norm, with batch norm, with group norm and with layer norm" in captions.survival(four)


def test_range_counts_rates_and_seeds(span):
    told = captions.rate_range(results_of(span))
    assert "2 epochs at 3 rates, 2 seeds each" in told
    assert "circles without and squares with batch norm" in told


def test_chain_counts_its_seeds():
    assert "mean over our 3 seeds" in captions.chain(studies.replay(seeds=3, epochs=2, dataset="mnist"))
