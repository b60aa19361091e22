"""The steps from what was asked to the pages; each is done where what it was made from, or what it made, has changed."""

import os
import threading
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import pandas as pd

# No torch here nor in what these import: it takes seconds, and most often there is nothing to train.
from bnlib import plural
from bnlib.commands.notebook import Job, cells, default_parameters, execute_all
from bnlib.experiment import records, studies
from bnlib.experiment.settings import Settings, worker_count
from bnlib.experiment.study import Study
from bnlib.page.words import listing
from bnlib.runs import environment, pool, progress, provenance
from bnlib.system import download, files, paths, stamps
from bnlib.system.code import named

PACKAGE = paths.PACKAGE
RUNS = ("experiment", "training", "runs", "system")  # wings on which runs can hang; on no other
# Modules on which nothing in an executed notebook hangs: a change of theirs runs none again.
APART = (
    *(f"commands/{name}.py" for name in ("__init__", "adopt", "bench", "reproduce", "verify")),
    *(f"commands/report/{name}.py" for name in ("__main__", "compare", "pages", "recompute", "request", "steps")),
    *("page/html/", "runs/cluster.py", "runs/progress.py", "system/signals.py", "system/litter.py"),
    "training/loops/plain.py",
)
DRAWN = [PACKAGE / "page" / name for name in ("figures", "tables")]  # a page hangs on those of their modules that it names
FELL_BACK = (
    "MNIST is neither in the data folder nor can it be downloaded. This report will be on the 1,797 digits of scikit-learn "
    "instead: not on MNIST."
)
READING = ("report", "evidence")  # notebooks that read what all studies came to: the first page's, and its appendix's


class Report:
    """One `make report`: what it was asked for, and where its steps leave their files."""

    def __init__(self, settings: Settings, dataset: str, cluster: str = ""):
        self.settings, self.dataset = settings, dataset
        self.fell_back = settings.dataset == "auto" and dataset == "digits"
        device = environment.device(settings.device)
        side_by_side = "side by side in groups, " if device == "cuda" else ""
        self.workers = cluster or f"{side_by_side}{worker_count(device)} at once"
        self.warnings = list(filter(None, [FELL_BACK * self.fell_back, environment.warning(device, settings.precision)]))
        self.studies = studies.studies(settings, dataset, device)
        self.report = self.stands = paths.report(dataset)
        self.executed = paths.cache() / "executed" / dataset
        self.records, self.results = self.executed / "records", self.executed / "results"
        code = {name: digest for name, digest in sources().items() if not name.startswith(APART)}
        machine = environment.machine(device)
        self.training = {
            "code": {name: digest for name, digest in code.items() if name.startswith(RUNS)},
            "data": download.checksums(dataset),
            "machine": machine,
            "strict": os.environ.get(pool.STRICT, ""),
        }
        self.common = self.training | {
            "code": code,
            "original": stamps.sources((PACKAGE / "analysis/original").glob("[!.]*.[ct][so]*"), PACKAGE),
            "versions": environment.versions() | stamps.sources(paths.LOCKS, paths.ROOT),
            "fell_back": self.fell_back,
        }

    def run(self, keep_time: bool = False) -> tuple[list[Path], bool]:
        """Makes what is not up to date; returns the report's files, its first page first, and whether any is new."""
        for folder in (self.report, paths.store()):
            files.check(folder)  # a place that cannot be written is said before the runs, not after
        for folder in (self.report, paths.cache()):
            files.sweep(folder)
        with files.scratch() as folder:
            log = str(folder / "progress.jsonl")
            with paths.variables({progress.VARIABLE: log, paths.RECORDS: str(self.records)}), progress.following(log) as tally:
                made = [self._make_runs(), self._make_results(keep_time), self._make_notebooks()]
                if self._make_results():  # a notebook that somebody changed asked for more than the report does
                    made.append(self._make_notebooks())
        if made[0]:
            print(f"{tally} ({_store()})", flush=True)
        made_pages, anew = self._make_pages()
        return made_pages, any(made) or anew

    def _folder(self, study: Study) -> Path:
        return self.records / study.stem / self.dataset

    def _records(self, study: Study) -> list[Path]:
        names = (*provenance.FILES, provenance.STEPS) if study.probes else provenance.FILES
        return [self._folder(study) / name for name in names]

    def _code(self, text: str = "") -> dict[str, str]:
        """The package's modules, without those of figures and tables that a text of code does not name."""
        beside = {path.relative_to(PACKAGE).as_posix() for path in named.unreached(text, DRAWN)}
        return {name: digest for name, digest in self.common["code"].items() if name not in beside}

    # Runs: what was asked -> records of each study

    def _asked(self, study: Study) -> dict:
        return self.training | {"study": study.model_dump(mode="json")}

    def _runs_stamp(self, study: Study) -> Path:
        return self.executed / f"{study.stem}-runs.json"

    def _make_runs(self) -> bool:
        stale = [study for study in self.studies if not stamps.is_fresh(self._runs_stamp(study), self._asked(study))]
        if not stale:
            return False
        from bnlib.training import data as datasets

        asked = [self._asked(study) for study in stale]  # as they begin: what is edited meanwhile is not what was run
        data = datasets.load(self.dataset, needed=False)
        named = listing([its[0].title.lower() for its in studies.by_page(stale)])
        runs = len({(str(config.changed), config.probed) for study in stale for config in study.configs})
        print(f"Runs on {self.dataset}, {named}: {plural(runs, 'run')}, {self.workers}", flush=True)
        made = records.join(pool.run_studies(stale, data))
        self._say_foreign(made.runs)
        for study, its in zip(stale, asked, strict=True):
            stamps.write(self._runs_stamp(study), its, self._records(study))
        return True

    def _say_foreign(self, runs: pd.DataFrame) -> None:
        """Says how many runs are of another machine."""
        here = self.training["machine"]
        other = runs[list(here)] != pd.Series(here)
        elsewhere = runs[other.any(axis=1)]
        if len(elsewhere):
            what, kinds = other.columns[other.any()], listing(list(elsewhere.processor.unique()))
            print(
                f"{len(elsewhere)} of {plural(len(runs), 'run')} made elsewhere, on {kinds}; other than here: "
                f"{listing(list(what))}; {pool.STRICT}=1 trains them anew"
            )

    # Results: records of all studies -> contrasts, claims and facts

    def _make_results(self, keep_time: bool = False) -> bool:
        took = self.report / "took.json"
        inputs = {
            "code": self._code(),
            "versions": self.common["versions"],
            "original": self.common["original"],
            "records": [stamps.sources(self._records(study), self.records) for study in self.studies],
            "kept": stamps.sources([took], self.report) if took.exists() else {},
        }
        stamp = self.executed / "results.json"
        if stamps.is_fresh(stamp, inputs) and not keep_time:
            return False
        from bnlib.commands.report import results

        results.save([self._folder(study) for study in self.studies], self.results, took, keep_time)
        if keep_time:
            inputs["kept"] = stamps.sources([took], self.report)
        stamps.write(stamp, inputs, files.visible(self.results, "*"))
        return True

    # Notebooks: records and results -> executed notebooks, side by side

    def _values(self, its: Sequence[Study]) -> dict:
        """The parameters with which a notebook makes these very studies; what it has no parameter for, it has fixed itself."""
        known, sizes = default_parameters(paths.NOTEBOOKS / f"{its[0].notebook}.ipynb"), studies.parameters(its)
        values = {"dataset": self.dataset, "fell_back": self.fell_back, "precision": self.settings.precision}
        values["device"] = its[0].held["device"]  # what `auto` stood for
        return values | {name: value for name, value in sizes.items() if name in known}

    def _jobs(self) -> list[tuple[Job, dict, Sequence[Study]]]:
        """Each notebook with all that it hangs on, and its studies, whose records it may write, too."""
        jobs: list[tuple[Job, dict, Sequence[Study]]] = []
        for its in studies.by_page(self.studies):
            job = Job(
                *self._places(its[0].notebook, Path(its[0].page).stem), self._values(its), {paths.RECORDS: str(self.records)}
            )
            jobs.append((job, {}, its))
        values = {"dataset": self.dataset, "fell_back": self.fell_back}
        reading = [Job(*self._places(name, name), values, {"BNLIB_RESULTS": str(self.results)}) for name in READING]
        kept = [path for path in (paths.benchmark(),) if path.exists()]
        read = stamps.sources(files.visible(self.results, "*"), self.results) | stamps.sources(kept, self.report.parent)
        return [*jobs, *((job, {"read": read}, ()) for job in reading)]

    def _places(self, notebook: str, output: str) -> tuple[Path, Path]:
        return paths.NOTEBOOKS / f"{notebook}.ipynb", self.executed / f"{output}.ipynb"

    def _make_notebooks(self) -> bool:
        stale = {}
        for job, inputs, its in self._jobs():
            inputs |= self.common | {"asked": job.parameters, "cells": cells(job.notebook)}  # which says what is no notebook
            inputs |= {"code": self._code(named.of_notebook(job.notebook))}
            made = [job.output, *(path for study in its for path in self._records(study))]
            if not stamps.is_fresh(job.output.with_suffix(".json"), inputs):
                stale[job.output] = job, inputs, its, made
        if stale:
            print(f"Notebooks: {plural(len(stale), 'page')} of tables, plots and findings", flush=True)
            threading.Thread(target=_import_ahead, daemon=True).start()
        for done in execute_all([job for job, *_ in stale.values()], min(os.cpu_count() or 1, len(stale) or 1)):
            job, inputs, its, made = stale[done.output]
            for study in its:  # a notebook that asks for another study than the report did has put that one's records there
                stamps.write(self._runs_stamp(study), self._asked(study), self._records(study))
            stamps.write(job.output.with_suffix(".json"), inputs, made)
        return bool(stale)

    # Pages: executed notebooks -> HTML, with the data beside it; nothing under `reports` changes before all is ready

    def _make_pages(self) -> tuple[list[Path], bool]:
        from bnlib.commands.report import pages

        its = [each[0] for each in studies.by_page(self.studies)]
        names = (READING[0], *(Path(study.page).stem for study in its), *READING[1:])
        executed = [self.executed / f"{name}.ipynb" for name in names]
        template = [path for path in files.visible(PACKAGE / "page/template", "*") if path.parent.name != "prose"]
        html = files.visible(PACKAGE / "page/html", "*.py")
        common = self.common | {
            "code": self._code("\n".join(named.imports(path) for path in html)),
            "template": stamps.sources([Path(__file__), Path(__file__).with_name("pages.py"), *html, *template], PACKAGE),
            "project": pages.project(),
        }
        inputs = common | {
            "notebooks": stamps.sources(executed, self.executed),
            "results": stamps.sources(files.visible(self.results, "*"), self.results),
            "report": [str(self.report), str(self.stands)],
        }
        stamp = self.executed / "pages.json"
        if made := stamps.outputs(stamp, inputs):
            return made, False
        made = pages.render(executed, its, self.results, self.report, common, self.stands)
        stamps.write(stamp, inputs, made)
        return made, True


def _import_ahead() -> None:
    """What makes pages takes seconds to import, in which this process only waits for kernels; first what starts these."""
    for name in ("bnlib.commands.kernels.client", "bnlib.commands.report.pages"):
        import_module(name)


def sources() -> dict[str, str]:
    """SHA-256 of each of the package's modules."""
    return stamps.sources(files.visible(PACKAGE, "*.py"), PACKAGE)


def _store() -> str:
    """Where finished runs are kept, and how much room they take."""
    folder = paths.store()
    return f"store: {sum(path.stat().st_size for path in folder.iterdir()) / 1e6:,.0f} MB in {files.shown(folder)}"
