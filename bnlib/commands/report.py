"""`make report`: data, then the notebooks that train, then the report's, then the pages; only what is not up to date."""

import sys
import tempfile
import time
from pathlib import Path

from filelock import FileLock, Timeout

# No torch here nor in what these import: it takes seconds, and most often there is little to do.
from bnlib import UserError, commands
from bnlib.experiment import studies
from bnlib.experiment.config import rate_name
from bnlib.experiment.settings import Settings, read, worker_count
from bnlib.experiment.study import Study
from bnlib.page.words import listing, plural
from bnlib.runs import cluster, environment, progress
from bnlib.system import download, files, paths, stamps

PACKAGE = Path(__file__).parents[1]
# Modules on which nothing in an executed notebook hangs: a change of theirs runs none again.
APART = {
    *(f"commands/{name}.py" for name in ("__init__", "bench", "report", "verify")),
    *("page/html.py", "runs/cluster.py", "runs/progress.py", "system/signals.py", "training/plain_loop.py"),
}


class Report:
    """One `make report`: what it was asked for, and where its steps leave their files."""

    def __init__(self, settings: Settings):
        self.workers = _workers()
        self.settings = settings
        self.dataset = download.choose(settings.dataset)
        self.fell_back = settings.dataset == "auto" and self.dataset == "digits"
        self.studies = studies.studies(settings, self.dataset)
        self.report = paths.report(self.dataset)
        self.executed = paths.cache() / "executed" / self.dataset
        self.records = self.executed / "records"
        self.results = self.executed / "results"
        code = {name: digest for name, digest in stamps.sources(PACKAGE.rglob("*.py"), PACKAGE).items() if name not in APART}
        self.common = {
            "code": code,
            "original": stamps.sources((PACKAGE / "analysis/original").glob("*.[ct]*"), PACKAGE),
            "data": download.checksums(self.dataset),
            "versions": environment.versions() | stamps.sources([paths.ROOT / "requirements.lock"], paths.ROOT),
            "machine": environment.machine(settings.device),
        }

    def run(self) -> bool:
        """Makes what is not up to date; returns whether there was anything to make."""
        for folder in (self.report, paths.store()):
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()  # a place that cannot be written is said before the runs, not after
        for folder in (self.report, paths.cache()):
            files.sweep(folder)
        stale = [study for study in self.studies if not self._is_fresh(study)]
        if stale:
            self._run_studies(stale)
        made_report = self._make_report()
        made_pages = self._make_pages()
        return bool(stale) or made_report or made_pages

    # Each study: notebook -> executed notebook and records

    def _values(self, study: Study) -> dict:
        """The parameters with which a study's notebook makes that very study."""
        values = {"dataset": self.dataset, "fell_back": self.fell_back, "seeds": study.seeds, "epochs": study.epochs}
        values |= {"precision": self.settings.precision, "device": self.settings.device}
        if study.rates:  # else its arms and rates are the original's
            values["arms"] = " ".join(self.settings.arms)
            rates = {"learning_rates": " ".join(map(rate_name, study.rates))}
            values |= {"learning_rate": study.rates[0]} if study.part else rates
        return values

    def _study_inputs(self, study: Study) -> dict:
        notebook = stamps.sources([paths.NOTEBOOKS / f"{study.notebook}.ipynb"], paths.NOTEBOOKS)
        return self.common | {"asked": self._values(study), "notebook": notebook}

    def _path(self, study: Study) -> Path:
        return self.executed / f"{study.stem}.ipynb"

    def _folder(self, study: Study) -> Path:
        return self.records / study.stem / self.dataset

    def _is_fresh(self, study: Study) -> bool:
        return stamps.is_fresh(self._path(study).with_suffix(".json"), self._study_inputs(study))

    def _run_studies(self, stale: list[Study]) -> None:
        runs = [config for study in stale for config in study.configs]
        epochs, names = sum(config.all_epochs for config in runs), listing([study.title.lower() for study in stale])
        done = f"{plural(len(runs), 'run')}, {plural(epochs, 'epoch')}, {self.workers}"
        print(f"Runs on {self.dataset}, {names}: {done}", flush=True)
        rates = [study.rates[0] for study in stale if study.part]
        with tempfile.TemporaryDirectory(prefix="bnlib-") as folder:
            log = str(Path(folder) / "progress.jsonl")
            with paths.variables({progress.VARIABLE: log}), progress.following(log, epochs, len(runs), rates) as tally:
                for study in stale:
                    self._run(study)
        trained = f"trained {plural(tally.epochs, 'epoch')} in {plural(tally.runs, 'run')}"
        print(f"Runs: {trained}, took {plural(tally.kept, 'epoch')} from the store ({_store()})", flush=True)

    def _run(self, study: Study) -> None:
        from bnlib.commands.notebook import execute

        output = self._path(study)
        inputs = self._study_inputs(study)  # as it begins: what is edited meanwhile is not what was run
        with paths.variables({"BNLIB_RECORDS": str(self.records)}):
            execute(paths.NOTEBOOKS / f"{study.notebook}.ipynb", output, self._values(study))
        stamps.write(output.with_suffix(".json"), inputs, [output, *_files(self._folder(study))])

    # The report: records of all studies -> contrasts and the executed notebook

    def _make_report(self) -> bool:
        folders, took, kept = [self._folder(study) for study in self.studies], self.report / "took.json", commands.keeps()
        inputs = self.common | {
            "notebook": stamps.sources([paths.NOTEBOOKS / "report.ipynb"], paths.NOTEBOOKS),
            "kept": stamps.sources((path for path in (paths.benchmark(), took) if path.exists()), self.report.parent),
            "records": [stamps.sources(_files(folder), folder) for folder in folders],
            "fell_back": self.fell_back,
        }
        output = self.executed / "report.ipynb"
        stamp = output.with_suffix(".json")
        if stamps.is_fresh(stamp, inputs) and not kept:
            return False
        from bnlib.commands import results
        from bnlib.commands.notebook import execute

        print("Report: tables, plots and findings from the records")
        results.save(folders, self.results, took, keep_time=kept)
        if kept:
            inputs["kept"] |= stamps.sources([took], self.report.parent)
        with paths.variables({"BNLIB_RESULTS": str(self.results)}):
            execute(paths.NOTEBOOKS / "report.ipynb", output, {"dataset": self.dataset, "fell_back": self.fell_back})
        stamps.write(stamp, inputs, [output, *_files(self.results)])
        return True

    # The pages: executed notebooks -> HTML, with the data beside it; nothing under `reports` changes before all is ready

    def _make_pages(self) -> bool:
        executed = [self.executed / "report.ipynb", *map(self._path, self.studies)]
        template = [
            PACKAGE / "page/html.py",
            Path(__file__),
            *(p for p in (PACKAGE / "page/template").rglob("*") if p.is_file()),
        ]
        inputs = self.common | {
            "notebooks": stamps.sources(executed, self.executed),
            "results": stamps.sources(_files(self.results), self.results),
            "template": stamps.sources(template, PACKAGE),
            "report": str(self.report),
        }
        stamp = self.executed / "pages.json"
        if stamps.is_fresh(stamp, inputs):
            return False
        stamps.write(stamp, inputs, self._render(executed))
        return True

    def _render(self, executed: list[Path]) -> list[Path]:
        import nbformat

        from bnlib.page.html import Page, pictures, render

        pages = [Page("index.html", "Report"), *(Page(study.page, study.title) for study in self.studies)]
        notebooks = [nbformat.read(path, as_version=4) for path in executed]
        subject = "batch normalisation in a small CNN"
        contents: dict[Path, str | bytes] = {}
        for page, notebook in zip(pages, notebooks, strict=True):
            try:
                contents[self.report / page.href] = render(notebook, f"{page.label}: {subject}", page, pages)
            except ValueError as error:
                raise UserError(f"{page.href}: {error}") from error
        for number, svg in enumerate(pictures(notebooks[0], "answer"), start=1):
            contents[self.report / f"answer-{number}.svg"] = svg
        contents |= {self.report / "data" / path.name: path.read_bytes() for path in _files(self.results)}
        files.write_all(contents)
        for old in set(self.report.glob("learning-rate-*.html")) - set(contents):
            old.unlink()  # a page of a rate that this report no longer has
        return list(contents)


def _workers() -> str:
    """How many runs at once, and where: a wrong WORKERS or SCHEDULER is said before data are fetched, and not by a kernel."""
    if address := cluster.address():
        with cluster.connected(address) as connection:
            return f"{plural(connection.workers, 'worker')} at {address}"
    return f"{worker_count()} at once"


def _files(folder: Path) -> list[Path]:
    """The finished files in a folder: not those that a killed process left half-written."""
    return sorted(folder.glob("[!.]*"))


def _store() -> str:
    """Where finished runs are kept, and how much room they take."""
    folder = paths.store()
    return f"{sum(path.stat().st_size for path in folder.iterdir()) / 1e6:,.0f} MB in {_shown(folder)}"


def _shown(path: Path) -> Path:
    """The path as people see it from where they are."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def make(settings: Settings) -> None:
    """Makes the report and says where it is.

    Raises:
        UserError: something the person can mend.
    """
    began = time.monotonic()
    if settings.device != "auto" or settings.precision != "fp32":
        from bnlib.training import hardware

        if warning := hardware.warning(hardware.resolve(settings.device), settings.precision):
            print(f"WARNING: {warning}", file=sys.stderr)
    report = Report(settings)
    if report.fell_back:
        print(
            "WARNING: MNIST is neither in the data folder nor can it be downloaded. "
            "This report will be on the 1,797 digits of scikit-learn instead: not on MNIST.",
            file=sys.stderr,
        )
    made = report.run()
    page = _shown(report.report / "index.html")
    seconds = time.monotonic() - began
    print(f"{page} was made in {seconds:.0f} s" if made else f"{page} is up to date: nothing to do")


def main() -> int:
    """`python -m bnlib.commands.report`, its settings in variables; returns the exit status."""

    def task() -> bool:
        settings = read()
        paths.cache().mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(paths.cache() / "report.lock", timeout=0):
                make(settings)
        except Timeout:
            raise UserError("another `make report` is at work in this checkout; wait for it, or end it") from None
        return True

    return commands.run(task, "interrupted; `make report` goes on from the finished epochs")


if __name__ == "__main__":
    sys.exit(main())
