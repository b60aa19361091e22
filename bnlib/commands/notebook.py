"""papermill behind a guard: parameters are checked first, and only a run that really finished leaves a notebook.

papermill itself takes unknown parameters and parameters of any type, calls a run finished whose cells were never run,
and leaves a half-run notebook under the final name; none of that gets past here.
"""

import ast
import logging
import math
import os
import tempfile
from pathlib import Path

import nbformat

from bnlib import UserError
from bnlib.system import files, paths
from bnlib.system.signals import terminable

SENTINEL = "BNLIB_SENTINEL"  # names the file that a notebook's last cell writes
PLAYGROUND = "playground"  # cells with this tag are for who edits the notebook: no report runs or shows them


def finish() -> None:
    """The last cell that a report runs of a notebook calls this: it tells `execute` that the end was reached.

    By hand it does nothing.
    """
    if path := os.environ.get(SENTINEL):
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # a kernel that ends while it waits says so, at random
        Path(path).write_text("finished")


from typing import NamedTuple
import hashlib, json
class Job(NamedTuple):
    notebook: Path
    output: Path
    parameters: dict = {}
    variables: dict[str, str] = {}

def execute_all(jobs, workers):
    for job in jobs:
        with paths.variables(job.variables):
            execute(job.notebook, job.output, job.parameters)
        yield job

def cells(notebook):
    return hashlib.sha256(notebook.read_bytes()).hexdigest()

def execute(notebook: Path, output: Path, parameters: dict | None = None) -> None:
    """Runs `notebook` with `parameters` and puts it, finished, at `output`.

    The notebook runs in its own folder, as it does in JupyterLab. `output` is written only after the last cell has
    run to its end; what a failed run got to lies beside it as `<name>.failed.ipynb`.

    Raises:
        UserError: a parameter is unknown or of the wrong type (nothing is run then), or the run failed; where a cell raised
            one, as it is.
    """
    check_parameters(notebook, parameters or {})
    failed = output.with_suffix(".failed.ipynb")
    failed.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix="bnlib-") as folder:
        raw, sentinel = Path(folder) / "raw.ipynb", Path(folder) / "sentinel"
        problem = _run(notebook, raw, parameters or {}, sentinel)
        if not raw.exists():
            raise UserError(f"{notebook.name} could not be started: {problem}")
        try:
            ran = normalised(nbformat.read(raw, as_version=4))
        except ValueError as error:  # half a notebook: a full disk, say
            raise UserError(f"{notebook.name} failed: {problem or error}") from error
        problem = _problem(ran) or problem or (None if sentinel.exists() else "its last cell never ran to its end")
        text = nbformat.writes(ran) + "\n"
    if mendable := _mendable(ran):
        raise UserError(mendable)
    if problem:
        files.write(failed, text)
        raise UserError(f"{notebook.name} failed: {problem.rstrip()}\nwhat it got to is in {failed}")
    files.write(output, text)


def _run(notebook: Path, output: Path, parameters: dict, sentinel: Path) -> str | None:
    """Runs papermill; returns why it failed, if it said so."""
    import papermill

    for name in ("papermill", "asyncio", "traitlets"):  # what they have to say of a failed run is said below
        logging.getLogger(name).setLevel(logging.CRITICAL)
    # A kernel that takes more than five seconds to leave is killed; joblib then clears up behind it, and warns that it does.
    quiet = "ignore:resource_tracker:UserWarning"
    environment = {
        SENTINEL: str(sentinel),
        "JUPYTER_PREFER_ENV_PATH": "1",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        "PYTHONWARNINGS": ",".join(filter(None, (os.environ.get("PYTHONWARNINGS"), quiet))),
    }
    played = output.with_name("played.ipynb")
    nbformat.write(_without_playground(notebook), played)
    with paths.variables(environment), terminable():
        try:
            papermill.execute_notebook(
                str(played),
                str(output),
                parameters,
                cwd=str(notebook.parent.absolute()),
                kernel_name="python3",  # this environment's, whatever kernel the notebook was last saved with
                progress_bar=False,
                # Else it warns of its loopback sockets each time, and at random of the interrupt that ends it.
                extra_arguments=["--IPKernelApp.log_level=CRITICAL"],
            )
        except papermill.exceptions.PapermillExecutionError as error:
            return f"{error.ename}: {error.evalue}"
        except (RuntimeError, OSError) as error:  # a kernel that died, or one that cannot start
            return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return None


def _without_playground(notebook: Path) -> nbformat.NotebookNode:
    read = nbformat.read(notebook, as_version=4)
    read.cells = [cell for cell in read.cells if PLAYGROUND not in cell.metadata.get("tags", [])]
    return read


def _problem(notebook: nbformat.NotebookNode) -> str | None:
    """Why a notebook that was run cannot pass for finished: an error in it, or code that was never run."""
    for cell in notebook.cells:
        if cell.cell_type != "code" or not cell.source.strip():
            continue
        where = f"the cell that begins `{cell.source.strip().splitlines()[0]}`"
        for output in cell.outputs:
            if output.output_type == "error":
                return f"{output.ename}: {str(output.evalue).strip()} (in {where})\n{_last_lines(output.traceback)}"
        if cell.execution_count is None:
            return f"{where} was never run to its end: the kernel died, or a cell before it left"
    return None


def _mendable(notebook: nbformat.NotebookNode) -> str | None:
    """What a notebook says that somebody can mend: it is all that there is to say."""
    outputs = (output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs)
    return next((str(o.evalue).strip() for o in outputs if o.output_type == "error" and o.ename == UserError.__name__), None)


def _last_lines(traceback: list[str], count: int = 5) -> str:
    """The end of a traceback, without its colours, indented."""
    from nbconvert.filters import strip_ansi

    lines = strip_ansi("\n".join(traceback)).strip().splitlines()
    return "\n".join(f"  {line}" for line in lines[-count:])


def check_parameters(notebook: Path, parameters: dict) -> None:
    """Holds `parameters` against the literals of the notebook's parameters cell.

    Raises:
        UserError: a name is unknown, a value is of another type than the default, or a number is not finite.
    """
    known = default_parameters(notebook)
    for name, value in parameters.items():
        if name not in known:
            raise UserError(f"{notebook.name} has no parameter {name!r}; it has: {', '.join(known)}")
        if not _same_kind(known[name], value):
            kind = type(known[name]).__name__
            raise UserError(f"{notebook.name}: {name}={value!r} should be a {kind}, like its default {known[name]!r}")


def default_parameters(notebook: Path) -> dict:
    """The names and literals in the cell tagged `parameters`.

    Raises:
        UserError: there is no such notebook or cell, or the cell holds anything but literals.
    """
    try:
        cells = nbformat.read(notebook, as_version=4).cells
        (cell,) = (c for c in cells if "parameters" in c.metadata.get("tags", []))
        return {node.targets[0].id: ast.literal_eval(node.value) for node in ast.parse(cell.source).body}
    except OSError as error:
        raise UserError(f"{notebook}: {error.strerror}") from error
    except (ValueError, SyntaxError, AttributeError) as error:
        raise UserError(f"{notebook}: should have one cell tagged `parameters`, of `name = literal` lines") from error


def _same_kind(default: object, value: object) -> bool:
    if isinstance(default, float):
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return type(value) is type(default)


def normalised(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook without what differs from one run to the next: ids, times, and how streams were cut into pieces."""
    from nbconvert.preprocessors.coalescestreams import CoalesceStreamsPreprocessor

    notebook, _ = CoalesceStreamsPreprocessor().preprocess(notebook, {})
    notebook.metadata.pop("papermill", None)
    notebook.metadata.pop("widgets", None)
    # papermill puts a banner above a cell that failed; the error itself says it all.
    notebook.cells = [cell for cell in notebook.cells if "papermill-error-cell-tag" not in cell.metadata.get("tags", [])]
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
    return notebook
