import os

import pytest

from bnlib.system import files, stamps

INPUTS = {"rate": 0.001, "code": {"a.py": "1"}}


@pytest.fixture
def step(tmp_path):
    output = tmp_path / "page.html"
    output.write_text("page")
    stamps.write(tmp_path / "stamp.json", INPUTS, [output])
    return tmp_path / "stamp.json", output


def test_finished_step_is_fresh(step):
    assert stamps.is_fresh(step[0], INPUTS)


def test_finished_step_says_what_it_made_in_the_order_in_which_it_said_so(tmp_path):
    made = [tmp_path / name for name in ("index.html", "a.csv")]
    for path in made:
        path.write_text(path.name)
    stamps.write(tmp_path / "stamp.json", INPUTS, made)
    assert stamps.outputs(tmp_path / "stamp.json", INPUTS) == made
    assert stamps.outputs(tmp_path / "stamp.json", INPUTS | {"rate": 0.002}) == []
    made[1].write_text("edited")
    assert stamps.outputs(tmp_path / "stamp.json", INPUTS) == []
    assert stamps.outputs(tmp_path / "no stamp.json", INPUTS) == []


def test_touched_output_is_still_fresh(step):
    os.utime(step[1], (0, 0))
    assert stamps.is_fresh(step[0], INPUTS)


@pytest.mark.parametrize("inputs", [INPUTS | {"rate": 0.002}, INPUTS | {"code": {"a.py": "2"}}, {}])
def test_changed_input_is_noticed(step, inputs):
    assert not stamps.is_fresh(step[0], inputs)


def test_edited_output_is_noticed(step):
    step[1].write_text("pages")
    assert not stamps.is_fresh(step[0], INPUTS)


def test_absent_output_is_noticed(step):
    step[1].unlink()
    assert not stamps.is_fresh(step[0], INPUTS)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}"])
def test_damaged_stamp_is_no_stamp(step, content):
    step[0].write_text(content)
    assert not stamps.is_fresh(step[0], INPUTS)


def test_files_of_one_name_in_two_folders_are_told_apart(tmp_path):
    for folder in ("a", "b"):
        files.write(tmp_path / folder / "page.py", folder)
    found = stamps.sources(tmp_path.rglob("*.py"), below=tmp_path)
    assert found == {f"{folder}/page.py": files.sha256(tmp_path / folder / "page.py") for folder in ("a", "b")}
