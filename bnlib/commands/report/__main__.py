"""`python -m bnlib.commands.report`, its settings in variables."""

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bnlib import commands
from bnlib.runs import environment
from bnlib.system import files, paths, stamps

if TYPE_CHECKING:
    from bnlib.commands.report.steps import Report

# Nothing more yet: a report is up to date most often, and that is said without the second that tables take to import.
VARIABLES = (
    *("LEARNING_RATES", "RANGE_RATES", "ARMS", "SEEDS", "STUDY_SEEDS", "STUDIES", "EPOCHS", "DATASET", "PRECISION", "DEVICE"),
    *("STRICT", "DATA_DIR", "REPORTS"),
)


def told() -> dict:
    """All that a report hangs on, as far as can be told at once; of data their files' sizes and times."""
    folders = [paths.PACKAGE, paths.NOTEBOOKS]
    sources = [path for folder in folders for path in files.visible(folder, "*") if "__pycache__" not in path.parts]
    kept = [path for path in (paths.benchmark(), *paths.reports().glob("*/took.json")) if path.is_file()]
    data = [path for path in sorted(paths.data().rglob("*")) if path.is_file()]
    return {
        "variables": {name: os.environ.get(name) for name in VARIABLES},
        "sources": stamps.sources({*sources, *paths.LOCKS}, paths.PACKAGE.parent),
        "kept": stamps.sources(kept, paths.reports()),
        "project": environment.project(),
        "machine": environment.machine("auto"),
        "versions": environment.versions(),
        "data": [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in data],
    }


def last() -> Path:
    """The stamp of the last report that was made."""
    return paths.cache() / "report.json"


def make() -> bool:
    """Makes the report, says where it is, and returns True.

    Raises:
        UserError: something the person can mend.
    """
    began, hangs_on = time.monotonic(), told()
    if not commands.keeps() and (made := stamps.outputs(last(), hangs_on)):
        print(f"{files.shown(made[0])} is up to date: nothing to do")
        return True
    from bnlib.commands.report import request, steps

    settings, *where = request.asked()
    try:
        report, pages, anew = _made(steps.Report(settings, *where))
    except environment.NoDevice as absent:  # records of the report that stands here serve without; they lack some runs
        device = environment.instead(absent, "The whole report is made")
        report, pages, anew = _made(steps.Report(settings.model_copy(update={"device": device}), *where))
    if not report.fell_back:  # else a network that is there again is to be noticed
        stamps.write(last(), hangs_on, pages)
    seconds = time.monotonic() - began
    print(f"{files.shown(pages[0])} {f'was made in {seconds:.0f} s' if anew else 'is up to date: nothing to do'}")
    return True


def _made(report: "Report") -> tuple["Report", list[Path], bool]:
    for warning in report.warnings:
        print(f"WARNING: {warning}", file=sys.stderr)
    return report, *report.run(keep_time=commands.keeps())


def main() -> int:
    """Makes the report, one at a time; returns the exit status."""

    return commands.run(lambda: commands.alone(make), "interrupted; `make report` goes on from the finished epochs")


if __name__ == "__main__":
    sys.exit(main())
