"""Runs are taken where they were done before, and only what is nowhere to be had is trained."""

import os

import pandas as pd
import pytest

from bnlib import UserError
from bnlib.experiment import records, studies
from bnlib.experiment.config import RunConfig
from bnlib.experiment.study import Study
from bnlib.runs import environment, pool, provenance, store, workers
from bnlib.runs.pool import run_all, run_studies
from bnlib.system import paths
from bnlib.training import loop
from tests.runs.conftest import configs, measured, study


def table(runs: list[records.Run]) -> pd.DataFrame:
    return records.collect("", runs).epochs


def test_finished_runs_are_not_made_again(small, trained):
    first = table(run_all(configs(seeds=1), small))
    assert trained() == [1, 1]
    again = table(run_all(configs(seeds=2), small))
    assert trained() == [1, 1]
    pd.testing.assert_frame_equal(again[again.seed == 0].reset_index(drop=True), first, check_exact=True)


def test_longest_runs_go_first(small, monkeypatch):
    begun = []
    monkeypatch.setattr(workers, "done", lambda missing, *_: begun.extend(r.config for r in missing) or iter(()))
    run_all([*configs(epochs=1), *configs(0.002, epochs=2)], small)
    assert [(c.epochs, c.norm) for c in begun] == [(e, n) for e in (2, 1) for n in ("batch", "batch", "none", "none")]


def test_batch_of_one_image_is_refused_before_any_run(small):
    with pytest.raises(UserError, match="batch_size=3 leaves a last batch of one image"):  # 250 = 83 * 3 + 1
        run_all(configs(batch_size=3), small, workers=1)


def test_longer_run_goes_on_from_the_stored_epochs_to_the_same_bits(small, monkeypatch, tmp_path, trained):
    at_once = table(run_all(configs(epochs=3), small))
    monkeypatch.setenv("BNLIB_CACHE", str(tmp_path / "other"))
    run_all(configs(epochs=2), small)
    later = table(run_all(configs(epochs=3), small))
    assert trained() == [3] * 4 + [2] * 4 + [1] * 4
    pd.testing.assert_frame_equal(later, at_once, check_exact=True)


def test_shorter_run_is_the_beginning_of_the_stored_one(small, trained):
    long = table(run_all(configs(epochs=2), small))
    short = table(run_all(configs(epochs=1), small))
    assert trained() == [2] * 4
    pd.testing.assert_frame_equal(short, long[long.epoch == 1].reset_index(drop=True), check_exact=True)


def test_damaged_entry_is_computed_again(small, trained):
    whole = table(run_all(configs(), small))
    assert trained() == [1] * 4
    damaged = sorted(paths.store().glob("*.pt"))[0]
    damaged.write_bytes(damaged.read_bytes()[:-1])
    pd.testing.assert_frame_equal(table(run_all(configs(), small)), whole, check_exact=True)
    assert trained() == [1]
    assert len(list(paths.store().glob("*.pt"))) == len(whole)


def test_study_leaves_its_records_where_the_report_looks_for_them(small):
    asked = study(seeds=1)
    made = pool.run(asked, small)
    folder = paths.records("learning-rate-0.001", "digits")
    pd.testing.assert_frame_equal(records.load(folder).epochs, made.epochs, check_exact=True)
    assert Study.model_validate_json((folder / "study.json").read_text()) == asked
    assert provenance.load(folder)["seeds"] == "0"
    assert set(made.epochs.study) == {"learning_rate"}
    layers = pd.read_csv(folder / "networks.csv", keep_default_na=False)
    assert layers.groupby("arm").parameters.sum().to_dict() == {"none": 421_642, "batch": 422_090}


def test_records_say_of_each_run_what_made_it(small):
    made = pool.run(study(seeds=1), small)
    assert list(made.runs.run) == list(made.epochs.run)  # an epoch each
    (none, batch) = made.runs.to_dict("records")
    assert RunConfig.model_validate_json(none["configuration"]).norm == "none"
    assert none["code"] != batch["code"]  # each has the source of its own norm
    assert none["data"] == small.fingerprint
    assert {name: none[name] for name in environment.machine()} == environment.machine()


def test_trained_network_of_other_epochs_is_refused(small):
    (config, *_) = configs(seeds=1, epochs=2)
    run_all([config], small)
    with pytest.raises(UserError, match="after 2 epochs alone; ask for so many"):
        pool.trained(config.model_copy(update={"epochs": 1}), small)


def test_trained_network_that_went_meanwhile_is_one_line(small, monkeypatch):
    monkeypatch.setattr(store, "get", lambda recipe: None)
    with pytest.raises(UserError, match="the store was emptied meanwhile; run again"):
        pool.trained(configs()[0], small)


def test_trained_network_comes_from_the_store_and_is_trained_where_that_lacks_it(small, trained):
    (config, *_) = configs(seeds=1)
    network = pool.trained(config, small)
    assert trained() == [1]
    (run,) = run_all([config], small)
    tensors = loop.to_device(small.test, config)
    tested = loop.evaluate(network, tensors.images, tensors.labels)
    assert tested.accuracy == run.epochs[0].test_accuracy
    assert not network.training
    pool.trained(config, small)
    assert trained() == []


def chain(**fields) -> list[RunConfig]:
    """The original's chain of each arm."""
    return studies.replay(**{"seeds": 1, "epochs": 1, "dataset": "digits"} | fields).configs


def test_chain_trains_only_what_comes_after_the_run_at_its_first_rate(small, trained):
    whole = run_all(chain(), small)
    assert trained() == [3, 3]
    with paths.variables({"BNLIB_CACHE": os.environ["BNLIB_CACHE"] + "-other"}):
        run_all(configs(seeds=1), small)
        assert trained() == [1, 1]
        again = run_all(chain(), small)
        assert trained() == [2, 2]
    assert measured(again) == measured(whole)


def test_chain_asked_for_together_with_the_run_at_its_first_rate_trains_only_what_comes_after(small, trained):
    runs = run_all([*chain(), *configs(seeds=1)], small)
    assert trained() == [1, 1, 2, 2]
    assert [len(run.epochs) for run in runs] == [3, 3, 1, 1]
    assert measured(runs[2:]) == [epochs[:1] for epochs in measured(runs[:2])]


def test_run_that_two_studies_share_is_done_once(small, trained):
    asked = {"arms": ("none", "batch"), "seeds": 1, "dataset": "digits"}
    each, span = study(0.001, seeds=1, epochs=2), studies.rate_range((0.001, 0.01), epochs=1, **asked)
    made = run_studies([each, span], small)
    assert sorted(trained()) == [1, 1, 2, 2]  # at 0.001 the longer run, whose beginning the range has
    assert [len(part.runs) for part in made] == [2, 4]
    whole = records.join(made)
    assert len(whole.runs) == 4
    assert sorted(whole.runs.epochs) == [1, 1, 2, 2]
    found, refused = records.taken(whole)
    assert (len(found), refused) == (4, {})


def test_more_seeds_train_the_new_pair_alone(small, trained):
    run_studies([study(seeds=2)], small)
    assert trained() == [1] * 4
    (made,) = run_studies([study(seeds=3)], small)
    assert trained() == [1, 1]
    assert sorted(made.epochs.seed.unique()) == [0, 1, 2]


def test_study_that_the_report_has_done_is_read_and_not_done(small, trained, tmp_path):
    """As `make report` has it: it trains, then runs the notebook, which asks for the same."""
    with paths.variables({paths.RECORDS: str(tmp_path / "records")}):
        (made,) = run_studies([study(seeds=1)], small)
        trained()
        with paths.variables({"BNLIB_CACHE": str(tmp_path / "empty")}):
            again = pool.run(study(seeds=1), small)
            assert trained() == []
            pd.testing.assert_frame_equal(again.epochs, made.epochs, check_exact=True)
            assert len(pool.run(study(seeds=2), small).epochs) == 4  # a notebook that asks for another one
            assert trained() == [1] * 4


def test_studies_of_one_notebook_are_done_by_the_same_processes(small, monkeypatch, tmp_path):
    """To start them takes longer than a short study does; what the report has done of them is read."""
    first, other = study(seeds=1), study(0.002, seeds=1)
    started, real = [], workers.ProcessPoolExecutor
    monkeypatch.setattr(workers, "ProcessPoolExecutor", lambda count: started.append(count) or real(count))
    with paths.variables({paths.RECORDS: str(tmp_path / "records")}):
        made = pool.run_each([first, other], small)
        assert len(started) == 1
        assert [set(each.epochs.learning_rate) for each in made] == [{0.001}, {0.002}]
        assert [len(each.epochs) for each in pool.run_each([other, study(0.003, seeds=1), first], small)] == [2, 2, 2]
        assert len(started) == 2


def test_study_by_hand_is_not_read_where_it_was_left(small, trained):
    """What lies there may be of other code."""
    pool.run(study(seeds=1), small)
    folder = paths.records("learning-rate-0.001", "digits")
    path = folder / "epochs.csv"
    path.write_text(path.read_text().replace(",none,", ",batch,"))
    assert set(pool.run(study(seeds=1), small).epochs.norm) == {"none", "batch"}
    assert trained() == [1, 1]


# Runs that are probed


def test_probed_run_has_the_same_epochs_and_what_was_seen(small, trained):
    plain, seen = run_all(configs(seeds=1), small), run_all(configs(seeds=1, probed=True), small)
    assert trained() == [1] * 4
    assert measured(plain) == measured(seen)
    assert [run.name for run in plain] == [run.name for run in seen]
    assert [{look.step for look in run.looks} for run in (*plain, *seen)] == [set()] * 2 + [{1, 2, 3}] * 2


def test_probed_run_is_stored_with_what_was_seen_and_goes_on(small, trained, monkeypatch, tmp_path):
    run_all(configs(seeds=1, probed=True), small)
    parts = run_all(configs(seeds=1, probed=True, epochs=2), small)
    assert trained() == [1] * 4
    short = run_all(configs(seeds=1, probed=True), small)
    assert trained() == []
    monkeypatch.setenv("BNLIB_CACHE", str(tmp_path / "other"))
    whole = run_all(configs(seeds=1, probed=True, epochs=2), small)
    assert [str(run.looks) for run in parts] == [str(run.looks) for run in whole]
    assert [{look.epoch for look in run.looks} for run in (*short, *whole)] == [{1}] * 2 + [{1, 2}] * 2


def test_probes_that_were_changed_look_anew(small, trained, monkeypatch):
    run_all(configs(seeds=1, probed=True), small)
    monkeypatch.setattr(store, "probes_code", lambda: "others")
    run_all(configs(seeds=1, probed=True), small)
    run_all(configs(seeds=1), small)
    assert trained() == [1] * 6
