import pandas as pd
import pytest

from bnlib import UserError, provenance
from bnlib.records import Records


def test_time_is_stated_of_the_records_that_it_was_kept_for(epochs, tmp_path):
    timing = epochs[["dataset", "protocol", "norm", "learning_rate", "seed", "epoch"]].assign(
        train_seconds=epochs.index + 600.0
    )
    shared = timing[timing.seed == 0].assign(protocol="range")  # the same runs under another protocol
    made = Records(epochs, pd.concat([timing, shared]))
    path = tmp_path / "took.json"
    assert provenance.kept_time(made, path) == {}
    provenance.keep_time(made, path)
    # twelve epochs of 600 to 611 seconds: 7266 seconds
    assert provenance.kept_time(made, path) == {
        "training time": "2.0 hours of one core by the clock, evaluation and rendering not counted"
    }
    assert provenance.kept_time(made._replace(epochs=epochs.assign(train_loss=0.0)), path) == {}


def test_facts_of_a_report_name_the_seeds_of_its_studies(tmp_path):
    for name, seeds in (("a", "0, 1"), ("b", "0, 1"), ("c", "0")):
        provenance.save({"seeds": seeds, "epochs": "3"}, tmp_path / name)
    facts = provenance.joined({label: tmp_path / name for label, name in (("Rate", "a"), ("Other", "b"), ("Replay", "c"))})
    assert facts == {"seeds": "0, 1", "epochs": "3", "seeds, replay": "0"}


def test_damaged_time_is_none(epochs, tmp_path):
    path = tmp_path / "took.json"
    for text in ("<<<<<<< mine", "{}"):
        path.write_text(text)
        assert provenance.kept_time(Records(epochs, epochs), path) == {}


@pytest.mark.parametrize("text", [None, "not JSON"])
def test_absent_or_damaged_facts_say_what_to_run(text, tmp_path):
    if text:
        (tmp_path / "provenance.json").write_text(text)
    with pytest.raises(UserError, match=r"provenance.json cannot be read; `make report` makes it again"):
        provenance.load(tmp_path)
