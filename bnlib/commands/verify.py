"""`make verify`: is a report what its runs give? Its records are held against what was asked and against themselves, what
follows from them is made anew and compared, and some of its runs are done anew, without the store.
"""

import random
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from bnlib import UserError, commands, plural
from bnlib.commands.report import recompute
from bnlib.commands.report.recompute import Standing
from bnlib.experiment import records, settings, studies
from bnlib.experiment.config import RunConfig
from bnlib.experiment.records import MEASURED, Run
from bnlib.runs import cluster, environment, store
from bnlib.runs.pool import run_all
from bnlib.system import files, paths
from bnlib.training import data as datasets
from bnlib.training.data import Data

SAMPLE = 1  # runs of each arm
UNCHECKED = 2  # the exit status where nothing is wrong, but not everything could be checked


class Findings:
    """What is wrong and what could not be checked, each said as it is found."""

    def __init__(self) -> None:
        self.wrong, self.unchecked = 0, 0

    def say_wrong(self, line: str) -> None:
        self.wrong += 1
        print(f"  WRONG {line}", flush=True)

    def say_unchecked(self, line: str) -> None:
        self.unchecked += 1
        print(f"  NOT CHECKED {line}", flush=True)

    def say(self, name: str, difference: str) -> None:
        """Says of one file whether it is as recomputed."""
        self.say_wrong(f"{name}: {difference}") if difference else print(f"  {name}: as recomputed", flush=True)


def verify(count: int, findings: Findings) -> bool:
    """Checks a report, the cheap things first; says what came of each, and returns whether nothing is wrong.

    Bits of a run done anew that differ are wrong only where neither the processor, nor torch, nor the code does.

    Raises:
        UserError: there is no report on the data set, or its data are other ones.
    """
    folder = paths.report(_dataset())
    if not (folder / "data").is_dir():
        raise UserError(f"no records at {folder / 'data'}; run `make report` first, with DATASET if need be")
    print(f"Holding {files.shown(folder)} against its own records", flush=True)
    standing = _standing(folder, findings)
    data = datasets.load(folder.name, needed=False)
    if standing and not findings.wrong and (other := recompute.asked_otherwise(standing)):
        findings.say_unchecked(f"what follows: {', '.join(other)} is asked for otherwise by this code (`make report` does it)")
    elif standing and not findings.wrong:
        _follows(standing, data, findings)
    elif findings.wrong:
        findings.say_unchecked("what follows from the records: they are to be mended first (`make report` does it)")
    if standing and standing.runs:
        _done_anew(standing, data, count, findings)
    if findings.wrong:
        print(f"{plural(findings.wrong, 'thing')} in {files.shown(folder)} {'is' if findings.wrong == 1 else 'are'} wrong.")
    return not findings.wrong


def _dataset() -> str:
    """Whose report: it can be checked without the images, so `auto` is MNIST wherever there is a report on it."""
    asked = settings.read().dataset
    if asked != "auto":
        return asked
    return next((name for name in ("mnist", "digits") if (paths.report(name) / "data").is_dir()), "digits")


# Records, against what was asked and against themselves


def _standing(folder: Path, findings: Findings) -> Standing | None:
    """The report, from its sound runs; None where a file cannot be read."""
    found = []
    for read, name in ((records.load, "epochs.csv"), (studies.load, "studies.json"), (recompute.facts, "provenance.json")):
        try:
            found.append(read(folder / "data"))
        except UserError as error:
            findings.say_wrong(str(error))
        except (OSError, ValueError) as error:
            findings.say_wrong(f"{folder / 'data' / name} cannot be read: {' '.join(str(error).split())}")
    if len(found) < 3:
        return None
    kept, asked, facts = found
    runs, refused = records.taken(kept)
    for name, problem in refused.items():
        findings.say_wrong(f"run {name} {problem}")
    for line in studies.not_as_asked(asked, kept, runs):
        findings.say_wrong(line)
    if not findings.wrong:
        print(
            f"  records: {plural(len(runs), 'run')} as they were written, all that was asked for and nothing else", flush=True
        )
    return Standing(folder, asked, runs, facts)


# What follows from them


def _follows(standing: Standing, data: Data, findings: Findings) -> None:
    with files.scratch() as scratch:
        for name, difference in recompute.tables(standing, data, scratch / "tables"):
            findings.say(name, difference)
        try:
            anew = recompute.pages(standing, data, scratch / "pages")
        except UserError as error:
            findings.say_unchecked(f"the pages: {error}")
            return
        for name, difference in recompute.shown(standing, data, anew):
            findings.say(name, difference)
    if not standing.is_drawn_here:
        print("  Other versions than here made the pages: their words were compared, and not their figures.")
    if not recompute.shows_images(standing, data):
        print("  The data set's images are not here, or were not there: they were not compared.")


# Runs


def sample(runs: Iterable[Run], count: int, rng: random.Random) -> list[Run]:
    """`count` runs of each arm, or all where there are fewer, drawn from those that start afresh; those looked into apart."""
    by_arm: dict[tuple[str, bool], list[Run]] = {}
    for run in runs:
        if not run.config.later_rates:
            by_arm.setdefault((run.config.arm, run.config.probed), []).append(run)
    return [run for its in by_arm.values() for run in rng.sample(its, min(count, len(its)))]


def _done_anew(standing: Standing, data: Data, count: int, findings: Findings) -> None:
    other = any(run.made_by["data"] != data.fingerprint for run in standing.runs)
    if other or standing.facts.get("SHA-256 of the data") != data.checksum:
        raise UserError(f"the files of {data.name} are not those of the report in {standing.folder}")
    if not data.here:
        findings.say_unchecked(f"runs done anew: the images of {data.name} are neither here nor to be had")
        return
    seed = settings.count("VERIFY_SEED", random.randrange(1, 10**6))
    drawn = sample(standing.runs, count, random.Random(seed))
    print(f"Doing {plural(len(drawn), 'run')} of {standing.folder} anew (VERIFY_SEED={seed})", flush=True)
    with files.scratch() as empty, paths.variables({"BNLIB_CACHE": str(empty), cluster.VARIABLE: ""}):
        found = done_anew(drawn, data)
    if not _say(found, standing.folder / "data"):
        findings.wrong += 1


class Redone(NamedTuple):
    """What a run done anew gave otherwise, by how much at most, and what else is other here than where it was made."""

    other: list[str]
    most: dict[str, float]
    elsewhere: list[str]


def done_anew(runs: Sequence[Run], data: Data) -> list[Redone]:
    """Does runs anew, for as many epochs as they have, and says of each whether the bits agree."""
    found = []
    for kept, anew in zip(runs, run_all([_here(run) for run in runs], data, anew=True), strict=True):
        found.append(Redone(other := records.differences(kept, anew), largest(kept, anew), changed(kept)))
        told_of = f"{records.in_words(kept.config)}, {plural(len(kept.epochs), 'epoch')}"
        print(f"  {told_of}: {f'other numbers ({other[0]})' if other else 'the same bits'}", flush=True)
    return found


def _here(run: Run) -> RunConfig:
    """The configuration of a run on its device or, where this machine has none, on the one that it has."""
    here = environment.devices()
    device = run.config.device if run.config.device in here else here[0]
    return run.asked.model_copy(update={"device": device})


def largest(kept: Run, anew: Run) -> dict[str, float]:
    """The largest difference in each measurement between two records of one run that differ."""
    if len(kept.epochs) != len(anew.epochs):
        return dict.fromkeys(MEASURED, float("inf"))  # one of them diverged earlier
    a, b = (
        pd.DataFrame([[getattr(e, name) for name in MEASURED] for e in run.epochs], columns=MEASURED) for run in (kept, anew)
    )
    # What the records have no number of was not measured then.
    return (a - b).abs().mask((a == b) | a.isna(), 0.0).fillna(float("inf")).max().to_dict()


def changed(run: Run) -> list[str]:
    """What is other here than where a run was made, of what decides its bits; a line for each."""
    (recipe,) = store.recipes([_here(run)], run.made_by["data"])
    there = run.made_by.get
    lines = [f"{name}: {here} here, {there(name)} there" for name, here in recipe.machine.items() if there(name) != here]
    lines += ["the training code"] * (recipe.made_by["code"] != there("code"))
    return lines if run.config.device == "cpu" else [*lines, f"device: {run.config.device}, for which no bits are promised"]


def _say(found: Sequence[Redone], folder: Path) -> bool:
    """Says what came of runs done anew, and returns whether something explains each that gave other numbers."""
    differ, runs = [run for run in found if run.other], plural(len(found), "run")
    if not differ:
        print(f"All bits agree, in {runs}.")
        return True
    most = {name: max(run.most[name] for run in differ) for name in MEASURED}
    amounts = ", ".join(f"{value:.2g} in {name.replace('_', ' ')}" for name, value in most.items() if value)
    print(f"{len(differ)} of {runs} differ; {f'at most by {amounts}' if amounts else 'in what probes saw alone'}.")
    explained = [run for run in differ if run.elsewhere]
    if explained:
        lines = dict.fromkeys(line for run in explained for line in run.elsewhere)
        print("\n".join([f"To be expected of {len(explained)} of them, where other things differ too:", *lines]))
    if unexplained := len(differ) - len(explained):
        print(f"Nothing explains {unexplained} of them: {folder} has not what these runs give.")
    return not unexplained


def main() -> int:
    """`python -m bnlib.commands.verify`; VERIFY says how many runs of each arm.

    Returns:
        The exit status: 0 where all is well, 1 where anything is wrong, 2 where nothing is but not all could be checked.
    """
    findings = Findings()
    status = commands.run(lambda: commands.alone(lambda: verify(settings.count("VERIFY", SAMPLE), findings)), "interrupted")
    return UNCHECKED if status == 0 and findings.unchecked else status


if __name__ == "__main__":
    sys.exit(main())
