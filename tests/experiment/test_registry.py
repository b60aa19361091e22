"""A notebook's own code stands beside the package's: it gets a name and a label, and travels to other processes."""

import subprocess
import sys

import pytest
from pydantic import ValidationError
from torch import nn

from bnlib import UserError
from bnlib.experiment import registry
from bnlib.experiment.config import LEVELS, RunConfig
from bnlib.system import paths
from bnlib.training import models, optimizers


@pytest.fixture
def norms():
    """The table of norms; what a test adds to it is gone afterwards."""
    table = models.NORMS
    before = dict(table), dict(LEVELS["norm"]), set(table.own)
    yield table
    for each, held in zip((table, LEVELS["norm"], table.own), before, strict=True):
        each.clear()
        each.update(held)


def config(**fields) -> RunConfig:
    return RunConfig(**{"dataset": "digits", "learning_rate": 0.001, "seed": 0} | fields)


def test_every_named_level_has_code_and_all_code_has_a_name():
    assert {factor: set(table) for factor, table in registry.ALL.items()} == {
        factor: set(levels) for factor, levels in LEVELS.items()
    }


def test_registered_code_is_a_level_like_any_other(norms):
    @models.norm("pairs", label="norm of pairs")
    def pairs(channels: int) -> nn.Module:
        return nn.GroupNorm(channels // 2, channels)

    assert LEVELS["norm"]["pairs"] == "norm of pairs"
    assert set(registry.own_code(config(norm="pairs"))) == {"norm"}
    assert models.build(config(norm="pairs")).norm1.num_groups == 16
    with pytest.raises(ValidationError, match=r"known: .*pairs"):
        config(norm="other")


def test_label_defaults_to_the_name(norms):
    models.norm("plain")(nn.Identity)
    assert LEVELS["norm"]["plain"] == "plain"


def test_package_s_own_names_are_not_taken(norms):
    with pytest.raises(ValueError, match="norm 'batch' is the package's own; take another name"):
        models.norm("batch")
    assert norms["batch"] == (nn.BatchNorm2d, nn.BatchNorm2d, nn.BatchNorm1d)


def test_cell_that_is_run_again_replaces_what_it_registered(norms):
    models.norm("mine")(nn.Identity)
    models.norm("mine", label="new")(nn.LayerNorm)
    assert norms["mine"] is nn.LayerNorm
    assert LEVELS["norm"]["mine"] == "new"


def test_run_uses_the_code_of_its_levels(norms):
    asked = {"activation": "leaky_relu", "optimizer": "sgd"}
    shared = {models.ConvNet, models.leaky_relu, optimizers.sgd}
    assert set(registry.used(config(norm="group", **asked))) == shared | {norms["group"]}
    assert registry.own_code(config(norm="group", **asked)) == {}
    models.norm("mine")(nn.Identity)
    assert set(registry.used(config(norm="mine", **asked))) == shared
    assert set(registry.own_code(config(norm="mine", **asked))) == {"norm"}


@pytest.mark.parametrize("name", ["", "a b", "x\n", "é/"])
def test_name_that_would_spoil_a_table_or_a_file_name_is_refused(name, norms):
    with pytest.raises(ValueError, match="a name is of letters, digits"):
        models.norm(name)


def test_code_that_cannot_be_sent_is_one_line(norms):
    import threading

    lock = threading.Lock()
    models.norm("mine")(lambda channels: lock)
    for tell in (registry.packed, registry.own_code):
        with pytest.raises(UserError, match="'mine'"):
            tell(config(norm="mine"))


def test_package_s_own_code_does_not_travel(norms):
    assert registry.packed(config(norm="batch")) is None
    models.norm("mine")(nn.Identity)
    assert registry.packed(config(norm="batch")) is None  # only what the run uses
    assert registry.packed(config(norm="mine")) is not None


@pytest.mark.slow
def test_registered_code_travels_to_a_process_that_does_not_have_it(norms):
    @models.norm("halves", label="norm of halves")
    def halves(channels: int) -> nn.Module:
        return nn.GroupNorm(2, channels)

    packed = registry.packed(config(norm="halves"))
    there = (
        "import sys; from bnlib.experiment import config, registry; from bnlib.training import models;"
        "registry.unpack(sys.stdin.buffer.read());"
        "made = config.RunConfig(dataset='digits', learning_rate=0.001, seed=0, norm='halves');"
        "print(models.build(made).norm2.num_groups, config.LEVELS['norm']['halves'])"
    )
    done = subprocess.run([sys.executable, "-c", there], input=packed, cwd=paths.ROOT, capture_output=True, check=True)
    assert done.stdout.decode().strip() == "2 norm of halves"


def test_nothing_to_unpack_registers_nothing(norms):
    before = dict(norms)
    registry.unpack(None)
    assert norms == before
