import json
import platform

import pandas as pd
import pytest
import torch

from bnlib import UserError
from bnlib.experiment import studies
from bnlib.experiment.records import Records
from bnlib.experiment.study import Study
from bnlib.runs import provenance
from bnlib.training import models

ARMS = ("none", "batch", "group")

NOTHING = pd.DataFrame()  # that probes saw


def ask(**fields) -> Study:
    return studies.each_rate(0.001, arms=ARMS, **{"seeds": 2, "epochs": 3, "dataset": "digits"} | fields)


def runs(*processors: str) -> pd.DataFrame:
    """What made some runs, one on each of these processors."""
    table = pd.DataFrame({"run": range(len(processors)), "configuration": "{}", "data": "d", "code": "c"})
    return table.assign(processor=processors, switches="none", accelerator="none")


def timed(epochs: pd.DataFrame) -> pd.DataFrame:
    return epochs[["run", "study", "learning_rate", "seed", "epoch"]].assign(train_seconds=epochs.index + 600.0)


def test_time_is_stated_of_the_records_that_it_was_kept_for(epochs, tmp_path):
    timing = timed(epochs)
    shared = timing[timing.seed == 0].assign(study="replay")  # the same runs in another study
    made, path = Records(epochs, pd.concat([timing, shared]), runs("a"), NOTHING), tmp_path / "took.json"
    assert provenance.kept_time(made, path) == {}
    provenance.keep_time(made, path)
    # Twelve epochs of 600 to 611 seconds, those that two studies share counted once: 7266 seconds.
    assert json.loads(path.read_text())["seconds"] == 7266
    assert provenance.kept_time(made, path) == {
        "training time": "2.0 hours of one core by the clock, evaluation and rendering not counted"
    }
    assert provenance.kept_time(made._replace(epochs=epochs.assign(train_loss=0.0)), path) == {}


def test_epochs_of_a_chain_count_at_each_of_its_rates(epochs, tmp_path):
    # A chain counts its epochs from one again at each rate.
    timing = pd.concat([timed(epochs), timed(epochs).assign(learning_rate=0.01)])
    provenance.keep_time(Records(epochs, timing, runs("a"), NOTHING), tmp_path / "took.json")
    assert json.loads((tmp_path / "took.json").read_text())["seconds"] == 2 * 7266


def test_damaged_time_is_none(epochs, tmp_path):
    path = tmp_path / "took.json"
    for text in ("<<<<<<< mine", "{}"):
        path.write_text(text)
        assert provenance.kept_time(Records(epochs, epochs, epochs, NOTHING), path) == {}


def test_one_machine_is_named():
    facts = provenance.facts({"seeds": "0, 1"}, runs("a", "a", "a"))
    assert facts == {"seeds": "0, 1", "SHA-256 of the training code": "c", "processor": "a", "accelerator": "none"}


def test_several_machines_are_named_with_their_counts():
    facts = provenance.facts({}, runs("a", "b", "a"))
    assert facts["processor"] == "a (2 runs); b (1 run)"
    assert facts["SHA-256 of the training code"] == "c"


def test_switches_that_any_run_had_are_said():
    made = runs("a", "a").assign(switches=["none", "MKL_CBWR=AVX2"])
    assert provenance.facts({}, made)["switches"] == "none (1 run); MKL_CBWR=AVX2 (1 run)"
    assert "switches" not in provenance.facts({}, runs("a"))


def test_runs_of_which_something_is_said_that_is_not_of_others_are_counted():
    said = "2 runs gave the bits of code 0"
    facts = provenance.facts({}, runs("a", "a", "a").assign(adopted=[said, "", said]))
    assert facts["training code changed since"] == f"{said} (2 runs)"
    assert "training code changed since" not in provenance.facts({}, runs("a").assign(adopted=""))


def test_facts_say_between_which_days_runs_were_made():
    made = runs("a", "a", "a").assign(date=["2026-11-27", "", "2026-11-25"])
    assert provenance.facts({}, made)["runs made on"] == "2026-11-25 to 2026-11-27"
    assert provenance.facts({}, made[:1])["runs made on"] == "2026-11-27"
    assert "runs made on" not in provenance.facts({}, runs("a").assign(date=""))


def test_facts_of_a_report_name_the_seeds_of_its_studies():
    described = [{"seeds": seeds, "epochs": "3"} for seeds in ("0 to 1", "0 to 1", "0")]
    shape = {"epochs": 3, "dataset": "digits"}
    asked = [ask(), studies.rate_range((0.1,), arms=ARMS, seeds=2, **shape), studies.replay(seeds=1, **shape)]
    facts = provenance.joined(zip(asked, described, strict=True))
    assert facts == {"seeds": "0 to 1 (“learning rate 0.001”, “range of rates”); 0 (“replay”)", "epochs": "3"}


def test_study_is_described_by_what_it_asks_and_runs_on(tiny_data):
    facts = provenance.describe(ask(batch_size=50, precision="bf16"), tiny_data)
    assert (facts["data set"], facts["training images"], facts["test images"]) == ("digits", "250", "130")
    assert (facts["seeds"], facts["epochs"], facts["batch size"], facts["precision"]) == ("0 to 1", "3", "50", "bf16")
    assert facts["SHA-256 of the data"] == tiny_data.checksum
    assert facts["optimiser"].startswith("Adam, β₁ = 0.9")
    assert (facts["torch"], facts["Python"]) == (torch.__version__, platform.python_version())


def test_every_optimizer_of_a_study_is_described(tiny_data):
    factors = {"optimizer": ("adam", "sgd"), "learning_rate": (0.001,)}
    asked = Study(
        name="x", notebook="x", factors=factors, reference={"optimizer": "adam"}, seeds=1, epochs=1, held={"dataset": "digits"}
    )
    adam, sgd = provenance.describe(asked, tiny_data)["optimiser"].split("; ")
    assert adam.startswith("Adam")
    assert sgd == "SGD, momentum 0.9, no weight decay"
    held = ask(optimizer="sgd")
    assert provenance.describe(held, tiny_data)["optimiser"] == sgd


def test_network_of_each_arm_is_written_layer_by_layer():
    table = provenance.networks(ask())
    assert list(table.columns) == ["arm", "layer", "kind", "output", "parameters", "operations"]
    assert list(table.arm.unique()) == list(ARMS)
    assert table.groupby("arm").parameters.sum().to_dict() == {"none": 421_642, "batch": 422_090, "group": 422_090}
    row = table[(table.arm == "batch") & (table.layer == "norm2")].iloc[0]
    assert (row.kind, row.output, row.parameters) == ("BatchNorm2d", "64 × 14 × 14", 128)
    assert table.groupby("arm").operations.nunique().to_dict() == dict.fromkeys(ARMS, 1)


def test_what_is_written_beside_a_study_s_records_reads_back(tiny_data, tmp_path):
    asked = ask()
    provenance.save(asked, tiny_data, tmp_path)
    assert Study.model_validate_json((tmp_path / "study.json").read_bytes()) == asked
    assert provenance.load(tmp_path) == provenance.describe(asked, tiny_data)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "networks.csv", keep_default_na=False), provenance.networks(asked))


def test_records_are_of_the_study_that_they_were_made_for_and_of_no_other(tiny_data, tmp_path):
    assert not provenance.is_of(tmp_path, ask())
    provenance.save(ask(), tiny_data, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} <= set(provenance.FILES)
    assert provenance.is_of(tmp_path, ask())
    for other in ({"seeds": 3}, {"epochs": 4}, {"dataset": "mnist"}, {"batch_size": 50}):
        assert not provenance.is_of(tmp_path, ask(**other))
    (tmp_path / "study.json").write_text("{")
    assert not provenance.is_of(tmp_path, ask())


def test_networks_are_read_where_the_study_s_records_lie_and_else_made(tiny_data, tmp_path, monkeypatch):
    provenance.save(ask(), tiny_data, tmp_path)
    made = provenance.networks(ask())
    with monkeypatch.context() as patch:
        patch.setenv("BNLIB_RECORDS", str(tmp_path))
        patch.setattr(models, "layer_table", lambda config: pytest.fail("a network was built"))
        pd.testing.assert_frame_equal(provenance.networks(ask(), tmp_path), made)
    (tmp_path / "networks.csv").write_text("arm\n")
    # By hand the network may have been edited since.
    pd.testing.assert_frame_equal(provenance.networks(ask(), tmp_path), made)
    monkeypatch.setenv("BNLIB_RECORDS", str(tmp_path))
    pd.testing.assert_frame_equal(provenance.networks(ask(batch_size=50), tmp_path), provenance.networks(ask(batch_size=50)))


@pytest.mark.parametrize("text", [None, "not JSON"])
def test_absent_or_damaged_facts_say_what_to_run(text, tmp_path):
    if text:
        (tmp_path / "provenance.json").write_text(text)
    with pytest.raises(UserError, match=r"provenance.json cannot be read; `make report` makes it again"):
        provenance.load(tmp_path)
