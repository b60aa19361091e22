"""Runs that the report's records have are not trained again, wherever they were made."""

import re

import pytest

from bnlib import UserError
from bnlib.experiment import records, studies
from bnlib.runs import environment, pool, store
from bnlib.runs.pool import run_all, run_studies
from bnlib.system import download
from bnlib.training import data as datasets
from tests.runs.conftest import configs, measured, nothing, report, study

ELSEWHERE = {"processor": "another one", "torch": "9.9"}


@pytest.fixture(scope="module")
def kept():
    return []


@pytest.fixture
def done(small, monkeypatch, tmp_path, kept):
    """Two epochs of two pairs of runs, done in a store that is not this one; once for all tests."""
    if kept:
        return kept
    with monkeypatch.context() as patch:
        patch.setenv("BNLIB_CACHE", str(tmp_path / "elsewhere"))
        kept += run_all(configs(epochs=2), small)
    return kept


def is_taken(done, small, trained, **made_by: str) -> bool:
    """Whether runs are taken of which some of this is said to have made them."""
    report(done, **made_by)
    trained()
    assert measured(run_all(configs(epochs=2), small)) == measured(done)
    assert trained() in ([], [2] * 4)
    return not list(store.paths.store().glob("*.pt"))


def test_runs_of_another_machine_are_taken_and_say_where_they_were_made(done, small, trained):
    report(done, **ELSEWHERE)
    trained()
    (made,) = run_studies([study(epochs=2)], small)
    assert trained() == []
    assert set(made.runs.processor) == {"another one"}
    assert set(made.runs.torch) == {"9.9"}
    assert len(made.runs) == 4
    found, refused = records.taken(made)
    assert (sorted(measured(found)), refused) == (sorted(measured(done)), {})


@pytest.mark.parametrize("name", ["processor", "torch", "instruction set", "switches", "system"])
def test_whatever_machine_made_them_runs_are_taken(name, done, small, trained):
    assert is_taken(done, small, trained, **{name: "another"})


@pytest.mark.parametrize("name", ["data", "code"])
def test_runs_on_other_data_or_by_other_code_are_trained(name, done, small, trained):
    assert not is_taken(done, small, trained, **{name: "0" * 64})


def test_runs_of_another_configuration_are_trained(done, small, trained):
    report(done)
    trained()
    run_all(configs(0.002, seeds=1), small)
    assert trained() == [1, 1]


@pytest.mark.parametrize("strict", ["", "0", "1"])
def test_to_be_strict_is_to_train_the_runs_of_other_machines_alone(strict, done, small, trained, monkeypatch):
    report([run._replace(made_by=run.made_by | ELSEWHERE) if run.config.seed else run for run in done])
    monkeypatch.setenv(pool.STRICT, strict)
    trained()
    runs = run_all(configs(epochs=2), small)
    assert trained() == ([2, 2] if strict == "1" else [])
    processors = {run.config.seed: run.made_by["processor"] for run in runs}
    assert (processors[1] == "another one") == (strict != "1")
    assert measured(runs) == measured(done)


def test_to_be_strict_is_to_take_this_machine_s_own_run_where_another_one_s_is_there_too(done, small, trained, monkeypatch):
    report([*(run._replace(made_by=run.made_by | ELSEWHERE) for run in done), *done])
    monkeypatch.setenv(pool.STRICT, "1")
    trained()
    assert "another one" not in {run.made_by["processor"] for run in run_all(configs(epochs=2), small)}
    assert trained() == []


def test_more_epochs_are_trained_anew_and_fewer_are_the_first_ones(done, small, trained):
    report(done, **ELSEWHERE)
    trained()
    assert measured(run_all(configs(epochs=1), small)) == [epochs[:1] for epochs in measured(done)]
    assert trained() == []
    longer = run_all(configs(epochs=3), small)
    assert trained() == [3] * 4  # without weights there is nothing to go on from
    assert [epochs[:2] for epochs in measured(longer)] == measured(done)
    assert "another one" not in {run.made_by["processor"] for run in longer}


def test_more_seeds_train_the_new_pair_alone(done, small, trained):
    report(done, **ELSEWHERE)
    trained()
    (made,) = run_studies([study(epochs=2, seeds=3)], small)
    assert trained() == [2, 2]
    assert sorted(made.runs.processor == "another one") == [False] * 2 + [True] * 4


def test_chain_whose_first_part_is_given_is_trained_whole(done, small, trained):
    """It goes on from weights, and records have none."""
    report(done, **ELSEWHERE)
    trained()
    chain = studies.replay(seeds=1, epochs=2, dataset="digits").configs
    runs = run_all([*chain, *configs(seeds=1, epochs=2)], small)
    assert trained() == [6, 6]
    assert [epochs[:2] for epochs in measured(runs[:2])] == measured(runs[2:])


def test_given_chain_is_taken(small, trained, monkeypatch, tmp_path):
    chain = studies.replay(seeds=1, epochs=1, dataset="digits").configs
    with monkeypatch.context() as patch:
        patch.setenv("BNLIB_CACHE", str(tmp_path / "elsewhere"))
        runs = run_all(chain, small)
    report(runs, **ELSEWHERE)
    trained()
    assert measured(run_all(chain, small)) == measured(runs)
    assert trained() == []
    # At other epochs a chain changes its rate elsewhere: it is another run, however many epochs it has.
    run_all([config.model_copy(update={"epochs": 2}) for config in chain[:1]], small)
    assert trained() == [6]


def test_where_weights_are_wanted_nothing_is_given(done, small, trained):
    report(done)
    trained()
    run_all(configs(epochs=2), small, anew=True)
    assert trained() == [2] * 4
    pool.trained(configs(0.002)[0], small)
    assert trained() == [1]


def test_changed_runs_are_trained_anew_and_said_by_name_and_the_others_taken(done, small, trained, capsys):
    folder = report(done, **ELSEWHERE)
    path = folder / "epochs.csv"
    rows = path.read_text().splitlines()
    name, accuracy = rows[1].split(",")[0], rows[1].split(",")[-3]
    path.write_text("\n".join([rows[0], rows[1].replace(f",{accuracy},", ",0.99,"), *rows[2:]]) + "\n")
    trained()
    assert measured(run_all(configs(epochs=2), small)) == measured(done)
    assert trained() == [2]
    assert f"WARNING: {folder}: run {name} has numbers that were changed; not taken\n" in capsys.readouterr().err


def test_many_changed_runs_are_said_in_few_lines(done, small, trained, capsys, monkeypatch):
    monkeypatch.setattr(pool, "SAID", 1)
    folder = report(done)
    path = folder / "runs.csv"
    path.write_text(re.sub(r"9\.9|Linux", "Minix", path.read_text()))
    run_all(configs(epochs=2), small)
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("WARNING")]
    assert len(said) == 2
    assert "has another run's name; not taken" in said[0]
    assert said[1] == f"WARNING: {folder}: 3 more runs are not as they were written; not taken"


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n"])
def test_records_that_are_no_table_are_said_and_everything_is_trained(text, done, small, trained, capsys):
    folder = report(done)
    (folder / "epochs.csv").write_text(text)
    trained()
    assert measured(run_all(configs(epochs=2), small)) == measured(done)
    assert trained() == [2] * 4
    assert re.search(r"WARNING: .*epochs.csv is not a table of records: .*; not taken", capsys.readouterr().err)


# Data that are not here


@pytest.fixture
def away(small, monkeypatch):
    """MNIST, which cannot be had; its images would be those of `small`."""
    monkeypatch.setitem(datasets.FINGERPRINTS, "mnist", small.fingerprint)
    monkeypatch.setattr(download, "_download", lambda name, root: "no network")
    return nothing(small, "mnist")


@pytest.fixture
def committed(away, small, monkeypatch, tmp_path):
    """The report's records of MNIST, made where its images are."""
    here = datasets.Data("mnist", small.train, small.test, small.checksum)
    with monkeypatch.context() as patch:
        patch.setenv("BNLIB_CACHE", str(tmp_path / "elsewhere"))
        runs = run_all(configs(dataset="mnist"), here)
    report(runs, "mnist", **ELSEWHERE)
    return runs


def test_where_the_records_have_everything_no_images_are_needed(committed, away, trained):
    trained()
    (made,) = run_studies([study(dataset="mnist")], away)
    assert trained() == []
    assert len(made.runs) == 4
    assert measured(run_all(configs(dataset="mnist"), away)) == measured(committed)


def test_where_something_is_missing_the_images_are_and_nothing_is_trained(committed, away, trained):
    trained()
    with pytest.raises(download.Unreachable, match=r"mnist: .* is missing and could not be downloaded \(no network\)"):
        run_studies([study(dataset="mnist", seeds=3)], away)
    assert trained() == []


def test_without_records_and_images_it_is_said_what_is_missing(away):
    with pytest.raises(UserError, match="is missing and could not be downloaded"):
        run_all(configs(dataset="mnist"), away)


# A device that is not here


@pytest.fixture
def of_a_gpu(small, monkeypatch, tmp_path, done):
    """The report's records of runs on a GPU, which is not here."""
    monkeypatch.setattr(environment, "GPUS", ())
    monkeypatch.setattr(environment.platform, "system", lambda: "Linux")
    made = []
    for run, recipe in zip(done, store.recipes(configs(epochs=2, device="cuda"), small.fingerprint), strict=True):
        made.append(run._replace(config=recipe.config, made_by=recipe.made_by | {"accelerator": "a GPU"}))
    report(made)
    return made


def test_where_the_records_have_everything_no_device_is_needed(of_a_gpu, small, trained):
    trained()
    assert measured(run_all(configs(epochs=2, device="cuda"), small)) == measured(of_a_gpu)
    assert trained() == []


def test_where_something_is_missing_the_device_is_and_nothing_is_trained(of_a_gpu, small, trained):
    trained()
    with pytest.raises(environment.NoDevice, match="device='cuda': not to be had here; this machine has: auto, cpu"):
        run_all(configs(epochs=2, seeds=3, device="cuda"), small)
    assert trained() == []


# Runs that are probed


def test_given_run_that_was_probed_serves_where_it_was_seen_so_far(small, trained, monkeypatch, tmp_path):
    with monkeypatch.context() as patch:
        patch.setenv("BNLIB_CACHE", str(tmp_path / "elsewhere"))
        seen = run_all(configs(seeds=1, probed=True, epochs=2), small)
    report(seen, **ELSEWHERE)
    trained()
    assert [str(run.looks) for run in run_all(configs(seeds=1, probed=True, epochs=2), small)] == [str(r.looks) for r in seen]
    assert measured(run_all(configs(seeds=1, epochs=2), small)) == measured(seen)
    assert trained() == []
    run_all(configs(seeds=1, probed=True, epochs=3), small)
    assert trained() == [3, 3]


def test_given_run_that_nothing_looked_into_is_done_anew_where_something_should(done, small, trained):
    report(done)
    trained()
    run_all(configs(seeds=1, probed=True, epochs=2), small)
    assert trained() == [2, 2]


def test_given_run_that_other_probes_looked_into_is_done_anew(small, trained, monkeypatch, tmp_path):
    with monkeypatch.context() as patch:
        patch.setenv("BNLIB_CACHE", str(tmp_path / "elsewhere"))
        seen = run_all(configs(seeds=1, probed=True), small)
    report([run._replace(probes="others") for run in seen])
    trained()
    run_all(configs(seeds=1, probed=True), small)
    assert trained() == [1, 1]
