"""`make adopt`: where changed code gives the bits of a report's runs, they are its own; where it does not, nothing changes."""

import dataclasses
from types import SimpleNamespace

import pandas as pd
import pytest

from bnlib.commands import adopt
from bnlib.experiment import records, studies
from bnlib.experiment.config import full_name
from bnlib.runs import store
from bnlib.runs.pool import run_all
from bnlib.system import paths
from tests.conftest import contents
from tests.runs.conftest import configs, report, small, study, trained  # noqa: F401 (fixtures)

OLD = {"fit": "an older one"}


@pytest.fixture
def asked():
    return [study(epochs=1, seeds=2), studies.replay(seeds=1, epochs=1, dataset="digits")]


@pytest.fixture
def data(small, monkeypatch):  # noqa: F811
    monkeypatch.setenv("DATASET", "digits")
    monkeypatch.setenv("ADOPT", "1")
    monkeypatch.setattr(adopt, "datasets", SimpleNamespace(load=lambda name: small))
    return small


@pytest.fixture
def old(asked, data, monkeypatch, capsys):
    """Runs that other code has done: in the report's records, and with their weights in the store."""
    with monkeypatch.context() as patch:
        patch.setattr(store, "code", lambda config: OLD)
        runs = run_all([config for each in asked for config in each.configs], data)
    folder = report(runs)
    studies.save(studies.joined(asked), folder)
    capsys.readouterr()
    return runs


@pytest.fixture
def folder():
    return paths.report("digits") / "data"


def taken(folder) -> list[records.Run]:
    runs, refused = records.taken(records.load(folder))
    assert refused == {}
    return runs


def test_runs_whose_bits_this_code_gives_are_its_own(old, folder, data, trained, capsys):  # noqa: F811
    before = records.load(folder)
    assert adopt.main() == 0
    said = capsys.readouterr().out
    assert said.count("the same bits") == 4  # seed 0 of both arms at the only rate, and both chains
    assert "Adopted, as all bits agree: 6 runs and the weights of 6 are of this code now." in said
    assert sorted(trained()) == [1, 1, 2, 2]
    after, runs = records.load(folder), taken(folder)
    here = {recipe.name[:16] for recipe in store.recipes([run.config for run in old], data.fingerprint)}
    assert {run.name for run in runs} == set(after.epochs.run) == set(after.timing.run) == here
    assert not here & {run.name for run in old}
    code = old[0].made_by["code"]
    assert {run.adopted for run in runs} == {f"4 runs of this code gave the bits of code {code[:12]}"}
    # Nothing but names and what is said of the code is another.
    for was, now in zip(before[:2], after[:2], strict=True):
        pd.testing.assert_frame_equal(now.drop(columns="run"), was.drop(columns="run"), check_exact=True)
    apart = ["run", "code", "adopted"]
    pd.testing.assert_frame_equal(after.runs.drop(columns=apart), before.runs.drop(columns=apart))


def test_weights_of_runs_that_were_not_tried_go_on_under_their_new_name(old, data, trained):  # noqa: F811
    assert adopt.main() == 0
    trained()
    run_all([config for config in configs(epochs=2) if config.seed == 1], data, anew=True)
    assert trained() == [1, 1]


def test_runs_without_weights_are_adopted_too(old, folder, capsys):
    for entry in paths.store().glob("*.pt"):
        entry.unlink()
    assert adopt.main() == 0
    assert "6 runs and the weights of 0 are of this code now" in capsys.readouterr().out
    assert len(taken(folder)) == 6


def changed(run: records.Run) -> records.Run:
    first, *rest = run.epochs
    return run._replace(epochs=(dataclasses.replace(first, test_loss=first.test_loss + 1e-12), *rest))


def test_where_one_bit_is_another_nothing_is_adopted(old, folder, capsys):
    report([changed(run) if run.config.norm == "batch" and not run.config.later_rates else run for run in old])
    before = contents(folder)
    assert adopt.main() == 1
    said = capsys.readouterr().out
    assert said.count("the same bits") == 3
    assert "batch, learning rate 0.001, seed 0: other numbers (test loss of epoch 1: " in said
    assert said.splitlines()[-1] == "Not adopted: 1 of 4 runs came out otherwise."
    assert contents(folder) == before
    assert {run.made_by["code"] for run in taken(folder)} == {run.made_by["code"] for run in old}


def test_runs_of_each_machine_are_adopted_by_themselves(old, folder, data, trained, capsys):  # noqa: F811
    there = [changed(run)._replace(made_by=run.made_by | {"processor": "another"}) for run in old if run.config.seed]
    report([run for run in old if not run.config.seed] + there)
    trained()
    assert adopt.main() == 1
    said = capsys.readouterr().out
    # Of the other machine's two runs the first comes out otherwise, and no more of them are done.
    assert "Doing 2 of 2 runs of" in said
    assert "Not adopted: 1 of 1 run came out otherwise. They were made on another machine (processor differ)" in said
    assert "Adopted, as all bits agree: 4 runs and the weights of 4 are of this code now." in said
    assert len(trained()) == 4 + 1
    code = old[0].made_by["code"]
    assert {run.config.seed: run.made_by["code"] == code for run in taken(folder)} == {0: False, 1: True}


def test_where_the_runs_are_of_another_machine_that_is_said(old, folder, capsys):
    report([changed(run) for run in old], processor="another")
    assert adopt.main() == 1
    assert "They were made on another machine (processor differ): adopt them there." in capsys.readouterr().out


def test_where_the_code_is_the_same_there_is_nothing_to_adopt(asked, data, folder, trained, capsys):  # noqa: F811
    report(run_all([config for each in asked for config in each.configs], data))
    studies.save(studies.joined(asked), folder)
    before = contents(folder)
    trained()
    assert adopt.main() == 0
    assert f"{folder}: all runs are of this code; nothing to adopt\n" in capsys.readouterr().out
    assert trained() == []
    assert contents(folder) == before


def test_adopted_runs_are_not_trained_again(old, data, trained, monkeypatch, tmp_path):  # noqa: F811
    assert adopt.main() == 0
    trained()
    monkeypatch.setenv("BNLIB_CACHE", str(tmp_path / "empty"))
    runs = run_all(configs(), data)
    assert trained() == []
    assert all(run.adopted for run in runs)


def refused(capsys) -> str:
    assert adopt.main() == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    return error


def test_changed_records_are_not_adopted(old, folder, trained, capsys):  # noqa: F811
    path = folder / "runs.csv"
    path.write_text(path.read_text().replace(",none,", ",many,", 1))
    trained()
    assert "has another run's name; `make report` makes it anew" in refused(capsys)
    assert trained() == []


def test_runs_on_other_data_are_not_adopted(old, trained, capsys):  # noqa: F811
    report(old, data="0" * 64)
    trained()
    assert "the files of digits are not those of the report in " in refused(capsys)
    assert trained() == []


def test_run_that_the_records_lack_is_said(old, folder, capsys):
    report([run for run in old if not run.config.later_rates])
    assert "the records have no run of none, learning rate 0.001 and on, seed 0: `make report` makes it" in refused(capsys)


def test_without_a_report_it_is_said_what_to_run(data, capsys):
    assert "run `make report` first" in refused(capsys)


def test_number_of_runs_to_try_is_looked_at_first(old, monkeypatch, capsys):
    monkeypatch.setenv("ADOPT", "0")
    assert 'ADOPT="0": should be a whole number from 1 on' in refused(capsys)


def test_weights_of_a_run_with_looks_into_it_and_without_both_go_on(data, trained, monkeypatch):  # noqa: F811
    with monkeypatch.context() as patch:
        patch.setattr(store, "code", lambda config: OLD)
        _, seen = (run_all(configs(seeds=1, probed=probed), data) for probed in (False, True))
    report(seen)
    studies.save([study(seeds=1)], paths.report("digits") / "data")
    assert adopt.main() == 0
    trained()
    for probed in (False, True):
        run_all(configs(seeds=1, epochs=2, probed=probed), data, anew=True)
    assert trained() == [1] * 4  # their second epoch alone


def test_weights_keep_the_machine_that_made_them(data, folder, trained, monkeypatch):  # noqa: F811
    runs = run_all(configs(epochs=1), data)
    report([run._replace(made_by=run.made_by | {"code": "0" * 64, "torch": "9.9"}) for run in runs])
    studies.save([study(epochs=1, seeds=2)], folder)
    for old, (recipe,) in ((run, store.recipes([run.config], data.fingerprint)) for run in runs):
        there = old.made_by | {"code": "0" * 64, "torch": "9.9"}
        name = full_name(old.config, there)
        (paths.store() / f"{name}.pt").write_bytes(store.packed(store.get(recipe), name))
        (paths.store() / f"{recipe.entry}.pt").unlink()
    assert adopt.main() == 0
    trained()
    run_all(configs(epochs=2, seeds=1)[-1:], data, anew=True)
    run_all([config for config in configs(epochs=1) if config.seed == 1], data, anew=True)
    assert trained() == [1] * 3  # what was tried was trained here; the rest is of another torch, and none of this one's
