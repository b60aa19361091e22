"""Where things lie. A place never changes a result, so places are environment variables and not notebook parameters."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "notebooks"


def _place(variable: str, default: Path) -> Path:
    return Path(os.environ.get(variable) or default).expanduser().absolute()


def data() -> Path:
    """Folder of the raw data sets (`BNLIB_DATA`; default `data/` in the project)."""
    return _place("BNLIB_DATA", ROOT / "data")


def cache() -> Path:
    """Folder of everything that can be computed again (`BNLIB_CACHE`; default `.cache/` in the project)."""
    return _place("BNLIB_CACHE", ROOT / ".cache")


def store() -> Path:
    """Folder of the finished runs, kept by ``make clean``."""
    return cache() / "runs"


def records(dataset: str) -> Path:
    """Folder where the learning-rate notebooks leave their records (`BNLIB_RECORDS`).

    By hand the default is a folder of its own, so that a notebook rerun in JupyterLab never touches a report.
    """
    return _place("BNLIB_RECORDS", cache() / "interactive") / dataset


def report(dataset: str) -> Path:
    """Folder of a data set's report and the CSV files beside it (`BNLIB_REPORTS`; default `reports/` in the project)."""
    return _place("BNLIB_REPORTS", ROOT / "reports") / dataset
