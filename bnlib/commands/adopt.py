"""`make adopt`: where code changed and bits should not have, a sample of runs done anew shows it, and all take its name."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bnlib import UserError, commands, plural
from bnlib.experiment import records, settings, studies
from bnlib.experiment.config import RunConfig, full_name
from bnlib.experiment.records import Run
from bnlib.experiment.study import Study
from bnlib.runs import store
from bnlib.runs.pool import run_all
from bnlib.system import download, paths
from bnlib.training import data as datasets

if TYPE_CHECKING:
    from bnlib.training.data import Data

SAMPLE = 2  # runs of each arm at the lowest and at the highest rate of each study


def sample(asked: Iterable[Study], runs: Sequence[Run], count: int) -> list[Run]:
    """`count` runs of each arm at the lowest and the highest rate at which `runs` have it in each study, with all their epochs.

    Of chains, which are at each rate of theirs, it is one of each arm.
    """
    by_question = records.grouped(runs)
    found = {}
    for study in asked:
        by_arm: dict[str, list[RunConfig]] = {}
        for config in study.configs:
            if str(config.changed) in by_question:
                by_arm.setdefault(config.arm, []).append(config)
        for its in by_arm.values():
            rates = [config.learning_rate for config in its]
            for rate in dict.fromkeys((min(rates), max(rates))):
                drawn = [config for config in its if config.learning_rate == rate]
                for config in drawn[: 1 if drawn[0].later_rates else count]:
                    run = records.serving(config, by_question[str(config.changed)])
                    found[run.name] = run
    return list(found.values())


def adopt(count: int) -> bool:
    """Does a sample of a report's runs anew, of each machine and code apart; where every bit agrees, they get this code's name.

    Returns:
        Whether all runs are of this code then.

    Raises:
        UserError: there is no report on the data set, its records are not as they were written, or its data are other ones.
    """
    folder = paths.report(download.choose(settings.read().dataset)) / "data"
    kept = records.load(folder)
    runs, refused = records.taken(kept)
    for name, problem in refused.items():
        raise UserError(f"{folder}: run {name} {problem}; `make report` makes it anew")
    data, asked = datasets.load(kept.epochs.dataset.iloc[0]), studies.load(folder)
    if any(run.made_by["data"] != data.fingerprint for run in runs):
        raise UserError(f"the files of {data.name} are not those of the report in {folder.parent}")
    recipes = dict(zip((run.name for run in runs), store.recipes([r.config for r in runs], data.fingerprint), strict=True))
    older = [run for run in runs if _is_older(run, recipes[run.name])]
    if not older:
        print(f"{folder}: all runs are of this code; nothing to adopt")
        return True
    _need_all(asked, runs)
    adopted: dict[str, Run] = {}
    for its in records.grouped(older, lambda run: str((run.made_by, run.probes))).values():
        tried = sample(asked, its, count)
        whose = f"{plural(len(its), 'run')} of {folder.parent}"
        print(f"Doing {len(tried)} of {whose} anew, to see whether this code gives their bits", flush=True)
        if any(differ := _differ(tried, data)) or not differ:
            where = _elsewhere(its[0], recipes[its[0].name])
            print(f"Not adopted: {sum(differ)} of {plural(len(differ), 'run')} came out otherwise.{where}")
        else:
            adopted |= {run.name: _renamed(run, recipes[run.name], len(tried)) for run in its}
    if adopted:
        _save(kept, {run.name: adopted.get(run.name, run) for run in runs}, folder)
        stored = sum(_rename_weights(run, adopted[run.name], recipes[run.name]) for run in older if run.name in adopted)
        print(f"Adopted, as all bits agree: {plural(len(adopted), 'run')} and the weights of {stored} are of this code now.")
    return len(adopted) == len(older)


def _is_older(run: Run, recipe: store.Recipe) -> bool:
    return (run.made_by["code"], run.probes) != (recipe.made_by["code"], recipe.probes)


def _need_all(asked: Iterable[Study], runs: Iterable[Run]) -> None:
    there = records.grouped(runs)
    for config in (config for study in asked for config in study.configs if str(config.changed) not in there):
        raise UserError(f"the records have no run of {records.in_words(config)}: `make report` makes it")


def _differ(tried: Sequence[Run], data: "Data") -> list[bool]:
    """Whether runs come out otherwise when they are done anew, one by one; if the first does, it is left at that."""
    differ: list[bool] = []
    for its in filter(None, (tried[:1], tried[1:])):
        made = run_all([run.asked for run in its], data, anew=True)
        for run, anew in zip(its, made, strict=True):
            other = records.differences(run, anew)
            said = f"other numbers ({other[0]})" if other else "the same bits"
            print(f"  {records.in_words(run.config)}: {said}", flush=True)
            differ.append(bool(other))
        if any(differ):
            break
    return differ


def _elsewhere(run: Run, recipe: store.Recipe) -> str:
    """Why bits may differ though the code does not change them."""
    other = [name for name, here in recipe.machine.items() if run.made_by.get(name) != here]
    return f" They were made on another machine ({', '.join(other)} differ): adopt them there." if other else ""


def _renamed(run: Run, recipe: store.Recipe, count: int) -> Run:
    shown = f"{plural(count, 'run')} of this code gave the bits of code {run.made_by['code'][:12]}"
    return run._replace(made_by=run.made_by | {"code": recipe.made_by["code"]}, adopted=shown, probes=recipe.probes)


def _rename_weights(before: Run, after: Run, recipe: store.Recipe) -> bool:
    """Gives what the store has of a run, with looks into it and without, the name of its new code and its old machine."""
    made = replace(recipe, machine={name: after.made_by.get(name, "") for name in recipe.machine})
    old, probes = full_name(before.config, before.made_by), {"": "", before.probes: after.probes}
    renamed = [store.rename(store.entry_name(old, was), replace(made, probes=its)) for was, its in probes.items()]
    return any(renamed)


def _save(kept: records.Records, runs: Mapping[str, Run], folder: Path) -> None:
    """The records with new names and what their runs are now made by."""
    names = {old: run.name for old, run in runs.items()}
    epochs, timing, made, steps = (table.assign(run=table.run.map(names)) for table in kept)
    by_name = {run.name: run for run in runs.values()}
    made["code"] = [by_name[name].made_by["code"] for name in made.run]
    made["adopted"] = [by_name[name].adopted for name in made.run]
    if len(steps):
        made["probes"] = [by_name[name].probes for name in made.run]
    records.save(records.Records(epochs, timing, made, steps), folder)


def main() -> int:
    """`python -m bnlib.commands.adopt`; ADOPT says how many runs of each arm and end; returns the exit status."""

    def task() -> bool:
        return adopt(settings.count("ADOPT", SAMPLE))

    return commands.run(lambda: commands.alone(task), "interrupted; `make adopt` goes on from there")


if __name__ == "__main__":
    sys.exit(main())
