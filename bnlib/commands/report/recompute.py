"""A report once more from its own records, in a place of its own: to be held against the one that stands there."""

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from bnlib import UserError
from bnlib.commands.report import results
from bnlib.commands.report.compare import difference
from bnlib.commands.report.steps import Report
from bnlib.experiment import records, settings, studies
from bnlib.experiment.records import Run
from bnlib.experiment.settings import Settings
from bnlib.experiment.study import Study
from bnlib.page import prose
from bnlib.runs import cluster, environment, pool, provenance
from bnlib.system import paths
from bnlib.training.data import Data

TOOK = "took.json"


class Standing(NamedTuple):
    """A report that stands in a folder: what it asked for, the runs that its records hold, its facts."""

    folder: Path
    asked: Sequence[Study]
    runs: Sequence[Run]
    facts: dict[str, str]

    @property
    def dataset(self) -> str:
        return self.folder.name

    @property
    def settings(self) -> Settings:
        """Those with which `make report` asks for the same.

        Raises:
            UserError: there are none.
            KeyError: a study of the report is not among those asked for.
        """
        standing = studies.asked(self.asked) | {"dataset": "auto" if self._fell_back else self.dataset}
        return settings.read(variables={}, standing=standing)

    @property
    def _fell_back(self) -> bool:
        # That MNIST was asked for and not to be had stands nowhere but on the page; all that follows from it is compared.
        return _says(self.folder / "index.html", prose.said("no-mnist"))

    @property
    def versions(self) -> dict[str, str]:
        """What of the facts are the versions that made its pages; torch's are those of its runs."""
        return {name: self.facts[name] for name in environment.versions() if name in self.facts and name != "torch"}

    @property
    def is_drawn_here(self) -> bool:
        """Whether the same versions as here made its pages."""
        return self.versions == {name: version for name, version in environment.versions().items() if name != "torch"}


class Recomputed(Report):
    """The steps of `make report`, but for the runs: those are the ones of a report that stands."""

    def __init__(self, standing: Standing, data: Data):
        self.standing, self.data = standing, data
        super().__init__(standing.settings, standing.dataset)
        self.stands = standing.folder

    def _make_runs(self) -> bool:
        save(self.standing, self.studies, self.data, self.records)
        return False


def asked_otherwise(standing: Standing) -> list[str]:
    """The studies, in words, that this code asks for otherwise than the report was: larger, say."""
    found = standing.settings
    now = studies.joined(studies.studies(found, standing.dataset, found.device))
    names = dict.fromkeys(study.name for study in (*standing.asked, *now))
    then, now_by_name = ({study.name: study for study in its} for its in (standing.asked, now))
    return [name.replace("_", " ") for name in names if then.get(name) != now_by_name.get(name)]


def save(standing: Standing, parts: Sequence[Study], data: Data, root: Path) -> list[Path]:
    """Writes the records of each of the report's studies as its runs would; returns their folders."""
    by_question, folders = records.grouped(standing.runs), []
    for study in parts:
        folder = root / study.stem / standing.dataset
        its = [records.serving(c, by_question[str(c.changed)]).first(c) for c in study.configs]
        records.save(records.collect(study.name, its), folder)
        provenance.save(study, data, folder)
        provenance.save_facts(provenance.load(folder) | standing.versions, folder)  # those that made the pages
        folders.append(folder)
    return folders


def tables(standing: Standing, data: Data, scratch: Path) -> Iterator[tuple[str, str]]:
    """Each file of data that follows from the records, and what is other in it, if anything is."""
    found, took = standing.settings, scratch / TOOK
    folders = save(standing, studies.studies(found, standing.dataset, found.device), data, scratch / "records")
    theirs = standing.folder / TOOK
    timed = theirs.is_file() and provenance.kept_time(records.join(map(records.load, folders)), theirs)
    results.save(folders, scratch / "data", took, keep_time=bool(timed))
    for path in sorted((scratch / "data").iterdir()):
        yield f"data/{path.name}", difference(standing.folder / "data" / path.name, path)
    for extra in sorted(set(_names(standing.folder / "data", "*.csv")) - set(_names(scratch / "data", "*.csv"))):
        yield f"data/{extra}", "is none of this report's tables"
    if timed:
        yield TOOK, difference(theirs, took)


def pages(standing: Standing, data: Data, scratch: Path) -> Path:
    """Executes the notebooks and makes the pages in a scratch place; returns the folder of the report made there.

    Raises:
        UserError: a notebook fails here, or this machine has no such device as the runs were made on.
    """
    places = {"REPORTS": str(scratch / "reports"), "BNLIB_CACHE": str(scratch / "cache"), cluster.VARIABLE: "", pool.STRICT: ""}
    # A notebook that asks for another study than the report does takes its runs from the records.
    kept = [standing.folder / "data" / f"{name}.csv" for name in records.COLUMNS]
    for path in (*kept, standing.folder / TOOK, paths.benchmark()):
        if path.is_file():
            copy = scratch / "reports" / path.relative_to(standing.folder.parent)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)
    with paths.variables(places):
        Recomputed(standing, data).run()
    return scratch / "reports" / standing.dataset


def shown(standing: Standing, data: Data, anew: Path) -> Iterator[tuple[str, str]]:
    """Each page and picture of a report, and what is other in it than in the one made anew, if anything is."""
    images = shows_images(standing, data)
    for path in sorted([*anew.glob("*.html"), *anew.glob("figures/*.svg")]):
        name = str(path.relative_to(anew))
        there = standing.folder / name
        if images or path.suffix == ".html" or there.exists():  # else it is a figure of the images that are not there
            yield name, difference(there, path, standing.is_drawn_here, images)
    for extra in sorted(set(_names(standing.folder, "*.html")) - set(_names(anew, "*.html"))):
        yield extra, "is none of this report's pages"


def shows_images(standing: Standing, data: Data) -> bool:
    """Whether the data set's images are here, and were where the pages were made."""
    told = prose.said("no-images", dataset=standing.dataset).strip("*")
    return data.here and not any(_says(page, told) for page in standing.folder.glob("*.html"))


def _says(page: Path, words: str) -> bool:
    return page.is_file() and words in page.read_text(encoding="utf-8", errors="replace")


def _names(folder: Path, pattern: str) -> list[str]:
    return [path.name for path in folder.glob(pattern)]


def facts(folder: Path) -> dict[str, str]:
    """The facts of a report.

    Raises:
        UserError: they cannot be read, or are no facts.
    """
    found = provenance.load(folder)
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise UserError(f"{folder / 'provenance.json'} should be text by name: {json.dumps(found)[:60]}")
    return found
