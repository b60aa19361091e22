"""papermill behind a guard: parameters are checked first, and only a run that really finished leaves a notebook.

papermill itself takes unknown parameters and parameters of any type, calls a run finished whose cells were never run, leaves a
half-run notebook under the final name, and takes braces in paths for templates: here it gets no paths, and an engine that runs
the cells in kernels of ours.
"""

import ast
import hashlib
import json
import logging
import math
import os
import re
import secrets
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple

import nbformat

from bnlib import UserError
from bnlib.commands.kernels import warm
from bnlib.experiment.config import RunConfig
from bnlib.experiment.study import Study
from bnlib.system import files
from bnlib.system.signals import terminable

SENTINEL = "BNLIB_SENTINEL"  # names the file that a notebook's last cell writes
PROSE = Path(__file__).parents[1] / "page/template/prose"
INCLUDE = re.compile(r'{%-?\s*include\s+"([^"]+)"')
PLAYGROUND = "playground"  # cells with this tag are for who edits the notebook: no report runs or shows them
NAMES = {float: "a finite number", int: "a whole number", str: "text", bool: "True or False"}  # of kinds of parameters


def finish() -> None:
    """The last cell that a report runs of a notebook calls this: it tells `execute` that the end was reached.

    By hand it does nothing.
    """
    if path := os.environ.get(SENTINEL):
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # a kernel that ends while it waits says so, at random
        Path(path).write_text("finished")


class Job(NamedTuple):
    """A notebook to run: its source, where it goes when it is finished, and what it is run with."""

    notebook: Path
    output: Path
    parameters: dict = {}  # noqa: RUF012 - nobody writes to it
    variables: dict[str, str] = {}  # noqa: RUF012 - environment variables of its kernel alone


def execute(notebook: Path, output: Path, parameters: dict | None = None, variables: dict[str, str] | None = None) -> None:
    """Runs one notebook, as `execute_all` does several.

    Raises:
        UserError: as there.
    """
    for _ in execute_all([Job(notebook, output, parameters or {}, variables or {})], workers=1):
        pass


def execute_all(jobs: Sequence[Job], workers: int) -> Iterator[Job]:
    """Runs notebooks, `workers` of them side by side; yields each when its output is in place.

    A notebook runs in its own folder, as it does in JupyterLab, in a kernel of this interpreter that takes nothing else from
    the surroundings of who runs it. Its output is written only after the last cell has run to its end; what a failed run got to
    lies beside it as `<name>.failed.ipynb`.

    Raises:
        UserError: a parameter is unknown or of the wrong type (nothing is run then), or a run failed; where a cell raised one,
            as it is. The other runs were ended.
    """
    for job in jobs:
        check_parameters(job.notebook, job.parameters)
        _failed(job).unlink(missing_ok=True)
    with terminable(), warm.scratch() as folder, ThreadPoolExecutor(workers) as threads:
        kernels = warm.Warm(folder, warm.PAGE if any("bnlib.page" in job.notebook.read_text("utf-8") for job in jobs) else ())
        try:
            runs = {threads.submit(_finish, job, kernels, folder): job for job in jobs}
            for run in as_completed(runs):
                run.result()
                yield runs[run]
        finally:
            kernels.close()
            threads.shutdown(wait=False, cancel_futures=True)


def _failed(job: Job) -> Path:
    return job.output.with_suffix(".failed.ipynb")


def _finish(job: Job, kernels: warm.Warm, folder: Path) -> None:
    """Runs one notebook and puts it at its place, or what it got to beside that."""
    from bnlib.commands.kernels import client  # imported while the kernels' own imports go on

    sentinel = folder / secrets.token_hex(8)
    at, variables = job.notebook.parent.absolute(), job.variables | {SENTINEL: str(sentinel)}
    notebook, problem = client.execute(_prepared(job), job.parameters, kernels, at, variables, folder)
    if kernels.closed:
        raise UserError(f"{job.notebook.name} was ended")  # said by nobody: another one failed, or the person ended them all
    if mendable := _mendable(notebook):
        raise UserError(mendable)
    problem = _problem(notebook) or problem or (None if sentinel.exists() else "its last cell never ran to its end")
    if problem:
        warm.check_room(folder)  # a kernel that dies of a full disk does not say so
    text = nbformat.writes(normalised(notebook)) + "\n"
    files.write(_failed(job) if problem else job.output, text)
    if problem:
        raise UserError(f"{job.notebook.name} failed: {problem.rstrip()}\nwhat it got to is in {_failed(job)}")


def _prepared(job: Job) -> nbformat.NotebookNode:
    """The notebook as it is run: without its playground and what it showed when it was saved."""
    notebook = _read(job.notebook)
    notebook.cells = [cell for cell in notebook.cells if PLAYGROUND not in _tags(cell)]
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return notebook


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
        UserError: a name is unknown, a value is not of the kind that is meant, or a number is not finite.
    """
    known = default_parameters(notebook)
    for name, value in parameters.items():
        if name not in known:
            raise UserError(f"{notebook.name} has no parameter {name!r}; it has: {', '.join(known)}")
        kind = _kind(name, known[name])
        real = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not (real if kind is float else type(value) is kind):
            should = NAMES.get(kind, f"a {kind.__name__}")
            raise UserError(f"{notebook.name}: {name}={value!r} should be {should}, like its default {known[name]!r}")


def _kind(name: str, default: object) -> type:
    """What kind a parameter is of: of a number what runs and studies take for it, else its default's.

    A person who saves `learning_rate = 1` does not mean that rates are whole numbers.
    """
    for model in (RunConfig, Study):
        if name in model.model_fields and isinstance(default, int | float) and not isinstance(default, bool):
            return model.model_fields[name].annotation
    return type(default)


def default_parameters(notebook: Path) -> dict:
    """The names and literals in the cell tagged `parameters`.

    Raises:
        UserError: there is no such notebook or cell, or the cell holds anything but literals.
    """
    try:
        (cell,) = (c for c in _read(notebook).cells if "parameters" in _tags(c))
        return {node.targets[0].id: ast.literal_eval(node.value) for node in ast.parse(cell.source).body}
    except (ValueError, SyntaxError, AttributeError) as error:
        raise UserError(f"{notebook}: should have one cell tagged `parameters`, of `name = literal` lines") from error


def cells(notebook: Path) -> str:
    """SHA-256 of what a run of a notebook hangs on: sources, kinds and tags of its cells, those of the playground left out.

    What its cells include of the package's prose counts, too. What it showed when it was saved does not: who runs and saves a
    notebook has not changed it.

    Raises:
        UserError: there is no such notebook.
    """
    told = [
        (cell.cell_type, cell.source, sorted(_tags(cell)), cell.get("attachments", {}))
        for cell in _read(notebook).cells
        if PLAYGROUND not in _tags(cell)
    ]
    included = _included("".join(source for _, source, *_ in told), {})
    return hashlib.sha256(json.dumps([told, included], sort_keys=True).encode()).hexdigest()


def _included(text: str, found: dict[str, str]) -> dict[str, str]:
    """The templates of prose that a text includes, and those that these do, added to `found` by their names."""
    for name in INCLUDE.findall(text):
        if name not in found and (path := PROSE / name).is_file():
            found[name] = path.read_text(encoding="utf-8")
            _included(found[name], found)
    return found


def _read(notebook: Path) -> nbformat.NotebookNode:
    try:
        return nbformat.read(notebook, as_version=4)
    except OSError as error:
        raise UserError(f"{notebook}: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{notebook}: is no notebook that can be read") from error


def _tags(cell: nbformat.NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])


def normalised(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook without what differs from one run to the next: ids and times."""
    for name in ("papermill", "widgets"):
        notebook.metadata.pop(name, None)
    # papermill puts a banner above a cell that failed; the error itself says it all.
    notebook.cells = [cell for cell in notebook.cells if "papermill-error-cell-tag" not in _tags(cell)]
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
    return notebook
