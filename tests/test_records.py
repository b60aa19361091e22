import numpy as np
import pandas as pd
import pytest

from bnlib import UserError, records
from bnlib.config import RunConfig
from bnlib.training import Epoch


def run(norm, seed, *losses):
    config = RunConfig(dataset="digits", norm=norm, learning_rate=0.001, seed=seed, epochs=2)
    return config, [Epoch(i, loss, 0.5, loss, 0.25, 1.23456) for i, loss in enumerate(losses, start=1)]


def test_one_row_for_each_epoch_of_each_run():
    table = records.collect([run("none", 0, 0.3, 0.2), run("batch", 0, 0.2, np.nan)]).epochs
    header = "dataset,protocol,norm,learning_rate,seed,epoch,train_loss,train_accuracy,test_loss,test_accuracy"
    assert ",".join(table.columns) == header
    assert len(table) == 4
    assert set(table.protocol) == {"controlled"}


def test_order_does_not_depend_on_what_finished_first():
    runs = [run("none", 0, 0.3), run("batch", 0, 0.2), run("none", 1, 0.4)]
    forward, backward = records.collect(runs), records.collect(runs[::-1])
    pd.testing.assert_frame_equal(forward.epochs, backward.epochs)
    assert forward.epochs.norm.tolist() == ["none", "none", "batch"]


def test_saved_records_read_back_exactly(tmp_path):
    saved = records.collect([run("none", 0, 1 / 3, np.nan), run("batch", 0, 1e-17, np.inf)])
    records.save(saved, tmp_path)
    loaded = records.load(tmp_path)
    pd.testing.assert_frame_equal(loaded.epochs, saved.epochs, check_exact=True)
    pd.testing.assert_frame_equal(loaded.timing, saved.timing, check_exact=True)


def test_times_are_kept_apart_from_results():
    collected = records.collect([run("none", 0, 0.3)])
    assert "train_seconds" not in collected.epochs
    assert collected.timing.train_seconds.tolist() == [1.235]


def test_joined_records_are_those_of_one_collection():
    a, b = run("none", 0, 0.3), run("batch", 0, 0.2)
    joined = records.join([records.collect([b]), records.collect([a])])
    pd.testing.assert_frame_equal(joined.epochs, records.collect([a, b]).epochs)


def test_absent_records_say_what_to_run(tmp_path):
    with pytest.raises(UserError, match=r"no records at .*epochs.csv; run `make report` first"):
        records.load(tmp_path)


@pytest.mark.parametrize("text", ["a,b\n1,2\n", ""])
def test_another_table_is_refused(text, tmp_path):
    (tmp_path / "epochs.csv").write_text(text)
    with pytest.raises(UserError, match="is not a table of records"):
        records.load(tmp_path)
