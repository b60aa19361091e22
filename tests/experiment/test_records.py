from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bnlib import UserError
from bnlib.experiment import records
from bnlib.experiment.config import FACTORS, LEVELS, RunConfig
from bnlib.experiment.records import Epoch, Look, Run
from tests.experiment.test_study import ask

MADE_BY = {"data": "d" * 64, "code": "c" * 64, "torch": "2", "accelerator": "none"}


def run(norm="none", seed=0, losses=(0.3, 0.2), made_by=None, **fields) -> Run:
    """A run with these training losses; where one is not finite, nothing was measured."""
    fields = {"dataset": "digits", "learning_rate": 0.001, "epochs": 2} | fields
    config = RunConfig(norm=norm, seed=seed, **fields)
    epochs = [
        Epoch(i, loss, *((0.5, loss, 0.25, 7) if np.isfinite(loss) else (np.nan,) * 4), 1.23456)
        for i, loss in enumerate(losses, start=1)
    ]
    return Run(config, tuple(epochs), made_by or MADE_BY)


def named(table: pd.DataFrame) -> list[str]:
    """What its runs are, for their names: `none-0` is the one without a norm of seed 0."""
    known = {run(norm, seed).name: f"{norm}-{seed}" for norm in ("none", "batch") for seed in (0, 1)}
    return table.run.map(known).tolist()


def collect(*runs: Run, study: str = "learning_rate") -> records.Records:
    return records.collect(study, runs)


def test_one_row_for_each_epoch_of_each_run():
    table = collect(run(), run("batch", losses=(0.2, np.nan))).epochs
    header = f"run,study,dataset,{','.join(FACTORS)},seed,epoch,"
    assert ",".join(table.columns) == header + "train_loss,train_accuracy,test_loss,test_accuracy,classes,fitted_loss"
    assert named(table) == ["none-0"] * 2 + ["batch-0"] * 2
    assert set(table.study) == {"learning_rate"}
    assert table.train_loss.tolist()[:3] == [0.3, 0.2, 0.2]
    assert table.classes.tolist() == [7, 7, 7, pd.NA]


def test_digest_of_runs_from_before_the_fitted_loss_was_measured_is_as_it_was():
    before, now = (run()._replace(epochs=tuple(replace(e, fitted_loss=x) for e in run().epochs)) for x in (np.nan, 0.1))
    digests = [collect(each).runs.digest[0] for each in (before, now)]
    assert digests[0] == "da123acbd195adc9"
    assert digests[1] != digests[0]


def test_every_factor_of_a_run_stands_in_its_rows():
    fields = {"activation": "leaky_relu", "optimizer": "sgd", "warmup": 5, "batch_size": 50, "learning_rate": 0.01}
    row = collect(run("group", **fields)).epochs.iloc[0]
    assert {name: row[name] for name in fields} == fields
    assert (row.network, row.norm, row.dataset, row.seed) == ("convnet", "group", "digits", 0)


def test_order_does_not_depend_on_what_finished_first():
    runs = [run(losses=(0.3,)), run("batch", losses=(0.2,)), run(seed=1, losses=(0.4,))]
    forward, backward = collect(*runs), collect(*runs[::-1])
    for there, here in zip(forward, backward, strict=True):
        pd.testing.assert_frame_equal(there, here)
    assert forward.epochs.norm.tolist() == ["none", "none", "batch"]
    assert named(forward.runs) == ["none-0", "none-1", "batch-0"]


def test_norms_come_in_the_order_of_their_names_and_a_notebook_s_own_last(monkeypatch):
    monkeypatch.setitem(LEVELS["norm"], "a", "my norm")
    assert list(dict.fromkeys(collect(*map(run, ("a", "layer", "batch", "group", "none"))).epochs.norm)) == [
        *("none", "batch", "group", "layer", "a")
    ]


def test_chain_counts_epochs_from_one_again_at_each_rate():
    table = collect(run(losses=(0.3, 0.2, 0.1, 0.05), later_rates=(0.01,))).epochs
    assert list(zip(table.learning_rate, table.epoch, table.train_loss, strict=True)) == [
        (0.001, 1, 0.3),
        (0.001, 2, 0.2),
        (0.01, 1, 0.1),
        (0.01, 2, 0.05),
    ]


def test_saved_records_read_back_exactly(tmp_path):
    thirds, far = (
        run(losses=(1 / 3, np.nan)),
        run("batch", losses=(1e-17, 0.1 + 0.2), made_by=MADE_BY | {"torch": "2.10", "switches": "none"}),
    )
    saved = collect(thirds, far)
    records.save(saved, tmp_path)
    loaded = records.load(tmp_path)
    pd.testing.assert_frame_equal(loaded.epochs, saved.epochs, check_exact=True)
    pd.testing.assert_frame_equal(loaded.timing, saved.timing, check_exact=True)
    assert loaded.runs.switches.tolist() == ["", "none"]  # text stays text
    assert loaded.runs.torch.tolist() == ["2", "2.10"]


def test_none_is_a_norm_and_no_missing_value(tmp_path):
    records.save(collect(run()), tmp_path)
    assert records.load(tmp_path).epochs.norm.tolist() == ["none"] * 2


def test_name_of_digits_alone_stays_text(tmp_path):
    records.save(records.Records(*(table.assign(run="0012") for table in collect(run(), study="7"))), tmp_path)
    loaded = records.load(tmp_path)
    assert loaded.epochs.run.tolist() == loaded.timing.run.tolist() == ["0012"] * 2
    assert loaded.runs.run.tolist() == ["0012"]
    assert loaded.epochs.study.tolist() == ["7"] * 2


def test_times_are_kept_apart_from_results():
    collected = collect(run(losses=(0.3,)))
    assert "train_seconds" not in collected.epochs
    assert collected.timing.train_seconds.tolist() == [1.235]


def test_what_made_a_run_stands_beside_its_configuration():
    made = run("batch", made_by=MADE_BY | {"processor": "a", "torch": "2"})
    row = collect(made).runs.iloc[0]
    assert row.run == made.name
    assert (row.processor, row.torch) == ("a", "2")
    assert RunConfig.model_validate_json(row.configuration) == run("batch").config.model_copy(update={"epochs": 10})


def test_joined_records_are_those_of_one_collection():
    a, b = run(), run("batch")
    for joined, whole in zip(records.join([collect(b), collect(a)]), collect(a, b), strict=True):
        pd.testing.assert_frame_equal(joined, whole)


def test_run_that_two_studies_share_is_named_once():
    joined = records.join([collect(run()), collect(run(), study="replay")])
    assert named(joined.runs) == ["none-0"]
    assert joined.epochs.study.tolist() == ["learning_rate"] * 2 + ["replay"] * 2


def test_run_that_was_trained_twice_took_as_long_as_the_first_study_says():
    again = run()._replace(epochs=tuple(replace(epoch, seconds=9) for epoch in run().epochs))
    joined = records.join([collect(run()), collect(again, study="inside")])
    assert joined.timing.train_seconds.tolist() == [1.235] * 4


def test_of_the_runs_of_one_question_the_one_serves_that_has_what_is_asked():
    plain = run()
    looked = run(losses=(0.3,), made_by=MADE_BY | {"torch": "3"})
    looked = looked._replace(looks=(Look("dead", "relu1", "", 0.5, step=1, epoch=1),))
    once = plain.config.model_copy(update={"epochs": 1})
    for order in ([looked, plain], [plain, looked]):
        (its,) = records.grouped(order).values()
        assert records.serving(plain.config, its) == plain  # it alone has two epochs
        assert records.serving(once, its) == plain  # nobody asks for looks
        assert records.serving(once.model_copy(update={"probed": True}), its) == looked
    assert records.serving(once, [looked]) == looked
    assert records.serving(once, []) is None


def test_pairs_of_two_kinds_of_processors_are_counted():
    kinds = ({"processor": name, "instruction set": "AVX2"} for name in ("a", "b"))
    here, there = (MADE_BY | kind for kind in kinds)
    asked = ask(factors={"norm": ("none", "batch", "group"), "learning_rate": (0.001,)})
    made = [run("none", made_by=here), run("batch", made_by=here), run("group", made_by=there)]
    made += [run("none", 1, made_by=there), run("batch", 1, made_by=here)]  # and no run with group norm
    assert records.mixed([asked], collect(*made)) == (2, 3)
    assert records.mixed([asked, asked], collect(*made)) == (2, 3)  # studies may share pairs
    assert records.mixed([asked], collect(*made[1:3])) == (0, 0)  # without the reference
    bare = collect(*made)
    assert records.mixed([asked], bare._replace(runs=bare.runs.drop(columns=["processor", "instruction set"]))) == (0, 3)
    assert records.mixed([], collect(*made)) == (0, 0)


def test_absent_records_say_what_to_run(tmp_path):
    with pytest.raises(UserError, match=r"no records at .*epochs.csv; run `make report` first"):
        records.load(tmp_path)


@pytest.mark.parametrize("name", ["epochs", "timing", "runs"])
@pytest.mark.parametrize("text", ["a,b\n1,2\n", ""])
def test_another_table_is_refused(text, name, tmp_path):
    records.save(collect(run()), tmp_path)
    (tmp_path / f"{name}.csv").write_text(text)
    with pytest.raises(UserError, match=f"{name}.csv is not a table of records"):
        records.load(tmp_path)


def test_diverged_epoch_is_one_without_a_finite_loss():
    nan, good = (Epoch(1, loss, 0.5, 0.5, 0.5, 3, 1.0) for loss in (np.nan, 0.5))
    assert nan.diverged
    assert not good.diverged


def test_records_from_before_a_factor_was_added_have_it_at_its_default(tmp_path):
    made = collect(run("batch"))
    records.save(made, tmp_path)
    for name in ("epochs", "timing"):
        table = pd.read_csv(tmp_path / f"{name}.csv", keep_default_na=False)
        table.drop(columns="warmup").to_csv(tmp_path / f"{name}.csv", index=False)
    pd.testing.assert_frame_equal(records.load(tmp_path).epochs, made.epochs)
