import json
import os
import signal
import socket
import subprocess
import sys
import time

import nbformat
import psutil
import pytest
from IPython.core.interactiveshell import InteractiveShell
from jupyter_client.provisioning.local_provisioner import LocalPortCache

from bnlib import UserError
from bnlib.commands import notebook
from bnlib.commands.notebook import PLAYGROUND, cells, check_parameters, default_parameters, execute
from bnlib.page.html import Page, render
from bnlib.system import paths

PARAMETERS = "learning_rate = 0.1\nseeds = 3\ndataset = 'digits'\nfast = False\nrates = [0.1]"


def test_parameters_reach_the_notebook_and_its_output_is_kept(write_notebook, tmp_path):
    output = tmp_path / "out.ipynb"
    execute(write_notebook(PARAMETERS, "print(learning_rate * seeds)"), output, {"learning_rate": 2, "seeds": 4})
    (printed,) = (o.text for c in nbformat.read(output, 4).cells for o in c.get("outputs", []))
    assert printed == "8\n"


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"learnin_rate": 0.1}, "has no parameter 'learnin_rate'; it has: learning_rate, seeds, dataset, fast, rates"),
        ({"learning_rate": "banana"}, "learning_rate='banana' should be a finite number, like its default 0.1"),
        ({"learning_rate": float("nan")}, "should be a finite number"),
        ({"learning_rate": True}, "should be a finite number"),
        ({"seeds": 1e-3}, "seeds=0.001 should be a whole number, like its default 3"),
        ({"seeds": True}, "should be a whole number"),
        ({"dataset": 1}, "should be text"),
        ({"fast": 1}, "should be True or False"),
        ({"rates": 0.1}, "should be a list"),
    ],
)
def test_wrong_parameter_is_refused_before_the_run(parameters, said, write_notebook, tmp_path, monkeypatch):
    monkeypatch.setattr(notebook, "_finish", lambda *_: pytest.fail("it was run"))
    output = tmp_path / "out.ipynb"
    output.write_text("as it was")
    with pytest.raises(UserError, match=r"notebook\.ipynb") as error:
        execute(write_notebook(PARAMETERS), output, parameters)
    assert said in str(error.value)
    assert output.read_text() == "as it was"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere kernels listen at ports")
def test_port_that_another_process_takes_meanwhile_does_no_harm(write_notebook, tmp_path, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setattr(LocalPortCache, "find_available_port", lambda *_: taken.getsockname()[1])
        execute(write_notebook(PARAMETERS), tmp_path / "out.ipynb")
    assert (tmp_path / "out.ipynb").exists()


def test_reading_notebooks_compiles_no_grammar_that_takes_seconds():
    code = "import bnlib, sys; import nbformat, nbconvert; print(sys.modules['rfc3987_syntax'])"
    run = subprocess.run([sys.executable, "-c", code], cwd=paths.ROOT, capture_output=True, text=True, check=True)
    assert run.stdout == "None\n"


def test_saved_whole_number_stands_for_a_rate_and_a_saved_fraction_for_no_count(write_notebook):
    saved = write_notebook("learning_rate = 1\nseeds = 3\nepochs = 2.0\nmine = 1")
    check_parameters(saved, {"learning_rate": 0.001, "seeds": 4, "epochs": 3})
    check_parameters(write_notebook(PARAMETERS, name="other"), {"learning_rate": 1})
    for wrong in ({"seeds": 2.5}, {"epochs": 2.5}, {"mine": 2.5}, {"learning_rate": True}):
        with pytest.raises(UserError, match="should be a"):
            check_parameters(saved, wrong)


def test_notebook_that_was_run_and_saved_has_not_changed_but_an_edited_one_has(write_notebook):
    path = write_notebook(PARAMETERS, "print(1)")
    before, written = cells(path), nbformat.read(path, 4)
    written.cells[1].outputs = [nbformat.v4.new_output("stream", text="1\n")]
    written.cells[1].execution_count = 7
    written.cells[1].id = "other"
    written.cells[1].metadata["collapsed"] = True
    written.metadata["kernelspec"]["name"] = written.metadata["language_info"] = {"name": "python", "version": "3.99"}
    written.cells.append(nbformat.v4.new_code_cell("played()", metadata={"tags": [PLAYGROUND]}))
    nbformat.write(written, path)
    assert cells(path) == before
    found = {before}
    for change in ({"source": "print(2)"}, {"metadata": {"tags": ["hidden"]}}, {"cell_type": "markdown"}):
        edited = nbformat.from_dict(written)
        edited.cells[1] = nbformat.from_dict(edited.cells[1] | change)
        path.write_text(json.dumps(edited), encoding="utf-8")
        found.add(cells(path))
    assert len(found) == 4


def test_template_counts_for_the_notebooks_that_include_it(tmp_path, monkeypatch):
    monkeypatch.setattr(notebook, "PROSE", tmp_path)
    (tmp_path / "inner.md.j2").write_text("Inner.")
    (tmp_path / "outer.md.j2").write_text('Outer. {%- include "inner.md.j2" %}')
    sources = {"says": '%%prose\n{% include "outer.md.j2" %}', "silent": "%%prose\nNothing."}
    for name, source in sources.items():
        nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)]), tmp_path / f"{name}.ipynb")
    before = {name: cells(tmp_path / f"{name}.ipynb") for name in sources}
    for template in ("inner", "outer"):
        (tmp_path / f"{template}.md.j2").write_text("Other." if template == "outer" else "Other inner.")
        after = {name: cells(tmp_path / f"{name}.ipynb") for name in sources}
        assert after["says"] != before["says"]
        assert after["silent"] == before["silent"]
        before = after


def test_what_was_saved_is_not_taken_for_what_was_run(write_notebook, tmp_path):
    path = write_notebook(PARAMETERS, "raise ValueError('bad luck')", "print(1)")
    saved = nbformat.read(path, 4)
    for number, cell in enumerate(saved.cells):
        cell.outputs, cell.execution_count = [nbformat.v4.new_output("stream", text="old")], number
    nbformat.write(saved, path)
    with pytest.raises(UserError, match="bad luck"):
        execute(path, tmp_path / "out.ipynb")
    ran = nbformat.read(tmp_path / "out.failed.ipynb", 4)
    assert [cell.execution_count for cell in ran.cells] == [1, 2, None, None]
    assert "old" not in str(ran)


@pytest.mark.parametrize(
    ("name", "wrong", "said"),
    [
        ("learning_rate", "seeds = 0", "seeds=0: should be greater than or equal to 1; set seeds = 3"),
        ("learning_rate", "epochs = -1", "epochs=-1: should be greater than or equal to 1; set epochs = 10"),
        ("learning_rate", "learning_rate = 0", "learning_rate=0: '0' is not a learning rate"),
        ("learning_rate", "arms = 'none btach'", "arms='none btach': 'btach' is no norm; known: none, batch"),
        ("learning_rate", "precision = 'fp8'", "precision='fp8': should be 'fp32' or 'bf16'"),
        ("learning_rate", "device = 'gpu'", "device='gpu': not to be had here"),
        ("replay", "seeds = 0", "seeds=0: should be"),
        ("learning_rate_range", "learning_rates = '0.1 x'", "learning_rates='0.1 x': 'x' is not a learning rate"),
        ("inside", "survival_rates = '0'", "survival_rates='0': '0' is not a learning rate"),
        ("controls", "long_rates = ''", "long_rates='': "),
        ("controls", "survival_seeds = 0", "survival_seeds=0: should be"),
        ("controls", "warmup = 0", "warmup=0: is none: that arm would be the network without a norm; set warmup = 600"),
        ("learning_rate_range", "dataset = 'digit'", "dataset='digit': unknown data set; known: auto, mnist"),
    ],
)
def test_wrong_parameter_in_a_notebook_is_one_line_in_its_words(name, wrong, said):
    cells = nbformat.read(paths.NOTEBOOKS / f"{name}.ipynb", 4).cells
    held = next(cell for cell in cells if "environment.device(device)" in cell.source)
    imports = "from bnlib.experiment import settings, studies\nfrom bnlib.runs import environment\n"
    imports += "from bnlib.training import data as datasets\n"
    values = default_parameters(paths.NOTEBOOKS / f"{name}.ipynb")
    shell = InteractiveShell()
    assert shell.run_cell(imports + "\n".join(f"{key} = {value!r}" for key, value in values.items())).success
    shell.run_cell(wrong)
    error = shell.run_cell(held.source).error_in_exec
    assert isinstance(error, UserError)
    assert str(error).startswith(said)
    assert "\n" not in str(error)
    assert shell._format_exception_for_storage(error)["traceback"] == [str(error)]


@pytest.mark.parametrize("source", ["x = 1 + 1", "import os", "x: int = 1\nprint(x)"])
def test_parameters_cell_of_anything_but_literals_is_refused(source, write_notebook):
    with pytest.raises(UserError, match="one cell tagged `parameters`"):
        default_parameters(write_notebook(source))


def test_absent_notebook_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"absent.ipynb: No such file"):
        execute(tmp_path / "absent.ipynb", tmp_path / "out.ipynb")


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("raise ValueError('bad luck')", "ValueError: bad luck"),
        ("import sys; sys.exit(0)", "SystemExit|never"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "never run to its end|died"),
        ("import os; os._exit(0)", "never run to its end|died"),
    ],
)
def test_failed_run_cannot_pass_for_finished(cell, said, write_notebook, tmp_path):
    output = tmp_path / "out.ipynb"
    output.write_text("as it was")
    with pytest.raises(UserError, match=said) as error:
        execute(write_notebook(PARAMETERS, cell), output)
    assert output.read_text() == "as it was"
    failed = tmp_path / "out.failed.ipynb"
    assert str(failed) in str(error.value)
    assert nbformat.read(failed, 4).cells[1].source == cell


def test_notebook_whose_last_cell_is_not_reached_is_not_finished(write_notebook, tmp_path):
    with pytest.raises(UserError, match="its last cell never ran to its end"):
        execute(write_notebook(PARAMETERS, "1 + 1", finish=False), tmp_path / "out.ipynb")
    assert not (tmp_path / "out.ipynb").exists()


def test_later_success_removes_the_failed_notebook(write_notebook, tmp_path):
    (tmp_path / "out.failed.ipynb").write_text("{}")
    execute(write_notebook(PARAMETERS), tmp_path / "out.ipynb")
    assert not (tmp_path / "out.failed.ipynb").exists()


def test_two_runs_give_the_same_bytes(write_notebook, tmp_path):
    written = write_notebook(PARAMETERS, "import sys\nfor i in range(9):\n    print(i)\n    sys.stdout.flush()")
    for name in ("a", "b"):
        execute(written, tmp_path / f"{name}.ipynb", {"seeds": 2})
    assert (tmp_path / "a.ipynb").read_bytes() == (tmp_path / "b.ipynb").read_bytes()
    assert str(tmp_path) not in (tmp_path / "a.ipynb").read_text()


def test_notebook_runs_in_its_own_folder(write_notebook, tmp_path):
    (tmp_path / "beside.txt").write_text("here")
    execute(write_notebook(PARAMETERS, "assert open('beside.txt').read() == 'here'"), tmp_path / "out.ipynb")


def test_playground_is_neither_run_nor_shown(write_notebook, tmp_path):
    path = write_notebook(PARAMETERS, "print('of the study')")
    written = nbformat.read(path, 4)
    tags = {"tags": [PLAYGROUND]}
    written.cells.insert(1, nbformat.v4.new_code_cell("raise RuntimeError('played')", metadata=tags))
    written.cells.append(nbformat.v4.new_markdown_cell("Try it yourself.", metadata=tags))
    written.cells.append(nbformat.v4.new_code_cell("open('played', 'w').close()", metadata=tags))
    nbformat.write(written, path)
    before = path.read_bytes()
    execute(path, tmp_path / "out.ipynb", {"seeds": 2})
    assert not (tmp_path / "played").exists()
    assert path.read_bytes() == before
    page = Page("page.html", "Page")
    html = render(nbformat.read(tmp_path / "out.ipynb", 4), "Page", page, [page])
    assert "of the study" in html
    assert "played" not in html
    assert "Try it yourself" not in html


SCRIPT = """
import sys
from pathlib import Path
from bnlib import commands
from bnlib.commands.notebook import execute
sys.exit(commands.run(lambda: execute(*map(Path, sys.argv[1:])), "it was not written"))
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_signal_leaves_no_kernel_and_no_notebook(name, write_notebook, tmp_path):
    written = write_notebook(PARAMETERS, "import time\ntime.sleep(100)")
    command = [sys.executable, "-c", SCRIPT, str(written), str(tmp_path / "out.ipynb")]
    environment = os.environ | {"PYTHONPATH": str(paths.ROOT)}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        children = []
        for _ in range(100):
            children = psutil.Process(process.pid).children(recursive=True)
            if len(children) > 1:  # the process that kernels are forked from, and one of them
                break
            time.sleep(0.1)
        time.sleep(2)
        process.send_signal(getattr(signal, name))
        _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert said == "\nit was not written\n"
    _, alive = psutil.wait_procs(children, timeout=5)
    assert children
    assert not alive
    assert not (tmp_path / "out.ipynb").exists()


def test_error_that_somebody_can_mend_is_one_line(write_notebook, tmp_path):
    cell = "from bnlib import UserError\nraise UserError('the disk is full')"
    with pytest.raises(UserError) as error:
        execute(write_notebook(PARAMETERS, cell), tmp_path / "out.ipynb")
    assert str(error.value) == "the disk is full"
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize("path", sorted(paths.NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_every_notebook_ends_by_saying_so_and_only_a_playground_comes_after(path):
    cells = nbformat.read(path, 4).cells
    played = [PLAYGROUND in cell.metadata.get("tags", []) for cell in cells]
    assert played == sorted(played)
    last = cells[played.count(False) - 1]
    assert last.source.splitlines()[-1] == "notebook.finish()"
    assert default_parameters(path)
