"""`python -m bnlib.commands.report`, its settings in variables."""

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import Timeout

from bnlib import UserError, commands
from bnlib.runs import environment
from bnlib.system import files, litter, paths, stamps

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
    kept = [path for path in (paths.benchmark(),) if path.is_file()]
    data = [path for path in sorted(paths.data().rglob("*")) if path.is_file()]
    return {
        "variables": {name: os.environ.get(name) for name in VARIABLES},
        "sources": stamps.sources({*sources, *paths.LOCKS}, paths.PACKAGE.parent),
        "kept": stamps.sources(kept, paths.benchmark().parent),
        "machine": environment.machine("auto"),
        "versions": environment.versions(),
        "data": [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in data],
    }


def last() -> Path:
    """The stamp of the last report that was made."""
    return paths.cache() / "report.json"


def make() -> None:
    """Makes the report and says where it is.

    Raises:
        UserError: something the person can mend.
    """
    began, hangs_on = time.monotonic(), told()
    if not commands.keeps() and (made := stamps.outputs(last(), hangs_on)):
        print(f"{files.shown(made[0])} is up to date: nothing to do")
        return
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


def _made(report: "Report") -> tuple["Report", list[Path], bool]:
    for warning in report.warnings:
        print(f"WARNING: {warning}", file=sys.stderr)
    return report, *report.run(keep_time=commands.keeps())


def main() -> int:
    """Makes the report, one at a time; returns the exit status."""

    def task() -> bool:
        files.check(paths.cache())
        try:
            with files.lock(litter.lock(), timeout=0):
                make()
        except Timeout:
            raise UserError("another `make report` is at work in this checkout; wait for it, or end it") from None
        return True

    return commands.run(task, "interrupted; `make report` goes on from the finished epochs")


if __name__ == "__main__":
    sys.exit(main())
