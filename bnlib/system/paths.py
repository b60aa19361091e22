"""Where things lie. A place never changes a result, so places are environment variables and not notebook parameters.

A relative path counts from the project's folder, wherever a notebook or a command is run. That is the checkout or, where the
package was installed from a wheel, which has the notebooks inside, the folder in which the first command was run.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

RECORDS = "BNLIB_RECORDS"
PACKAGE = Path(__file__).resolve().parents[1]
INSTALLED = (PACKAGE / "notebooks").is_dir()  # from a wheel: a checkout has them beside the package
# Processes that a command starts elsewhere are told in this way.
ROOT = Path(os.environ.setdefault("BNLIB_HOME", str(Path.cwd()))) if INSTALLED else PACKAGE.parent
NOTEBOOKS = (PACKAGE if INSTALLED else ROOT) / "notebooks"
LOCKS = [path for path in (ROOT / "requirements.lock",) if path.exists() and not INSTALLED]


def _place(variable: str, default: Path) -> Path:
    return ROOT / Path(os.environ.get(variable) or default).expanduser()


def data() -> Path:
    """Folder of the raw data sets (`DATA_DIR`; default `data/` in the project)."""
    return _place("DATA_DIR", ROOT / "data")


def cache() -> Path:
    """Folder of everything that can be computed again (`BNLIB_CACHE`; default `.cache/` in the project)."""
    return _place("BNLIB_CACHE", ROOT / ".cache")


def store() -> Path:
    """Folder of the finished runs, kept by ``make clean``."""
    return cache() / "runs"


def records(study: str, dataset: str) -> Path:
    """Folder where a notebook that trains leaves the records of a study (`BNLIB_RECORDS`).

    By hand the default is a folder of its own, so that a notebook rerun in JupyterLab never touches a report; of each study the
    latest one that was run is there.
    """
    return _place(RECORDS, cache() / "interactive") / study / dataset


def reports() -> Path:
    """Folder of all reports (`REPORTS`; default `reports/` in the project)."""
    return _place("REPORTS", ROOT / "reports")


def results(dataset: str) -> Path:
    """Folder of the CSV files that report.ipynb reads (`BNLIB_RESULTS`; default those beside the rendered report)."""
    return _place("BNLIB_RESULTS", report(dataset) / "data")


def report(dataset: str) -> Path:
    """Folder of a data set's report and the CSV files beside it."""
    return reports() / dataset


def reproduction(dataset: str) -> Path:
    """Folder of what `make reproduce` finds: beside the reports, and nothing of theirs."""
    return reports() / "reproduction" / dataset


def benchmark() -> Path:
    """File of the benchmark that the reports' section on cost states, kept by ``make bench KEEP=1``."""
    return reports() / "benchmark.json"


@contextlib.contextmanager
def variables(values: dict[str, str]) -> Iterator[None]:
    """Sets environment variables for a block; the kernels and workers started in it inherit them."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
