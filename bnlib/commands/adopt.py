"""`make adopt`: where code changed and bits should not have, a sample of runs done anew shows it, and all take its name."""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from bnlib import UserError, commands
from bnlib.experiment import records, settings, studies
from bnlib.experiment.config import full_name, rate_name
from bnlib.experiment.records import Run
from bnlib.experiment.study import Study
from bnlib.page.words import plural
from bnlib.runs import store
from bnlib.runs.pool import run_all
from bnlib.system import download, paths
from bnlib.training import data as datasets

SAMPLE = 2  # runs of each arm at the lowest and at the highest rate of each study


def sample(asked: Iterable[Study], runs: Sequence[Run], count: int) -> list[Run]:
    """`count` runs of each arm at the lowest and the highest rate of each study, with all epochs that the records have of them.

    Of chains, which are at each rate of theirs, it is one of each arm.
    """
    by_question = records.grouped(runs)
    found = {}
    for study in asked:
        ends = {*study.rates[:1], *study.rates[-1:]}
        for config in study.configs:
            if (config.seed < count and config.learning_rate in ends) or (not ends and config.seed == 0):
                question = str(config.changed)
                if question not in by_question:
                    raise UserError(f"the records have no run of {told(config)}: `make report` makes it")
                run = records.serving(config, by_question[question])
                found[run.name] = run
    return list(found.values())


def told(config) -> str:
    """A run in words."""
    later, looked = " and on" if config.later_rates else "", ", looked into" if config.probed else ""
    return f"{config.arm}, learning rate {rate_name(config.learning_rate)}{later}, seed {config.seed}{looked}"


def differences(kept: Run, anew: Run) -> list[str]:
    """What one run measured otherwise than the other, epoch by epoch; what the first has no number of is not compared."""
    if len(kept.epochs) != len(anew.epochs):
        return [f"{plural(len(anew.epochs), 'epoch')}, not {len(kept.epochs)}"]
    pairs = zip(kept.epochs, anew.epochs, strict=True)
    seen = {look.epoch for look in kept.looks}
    again = [look for look in anew.looks if look.epoch in seen]
    if len(again) != len(kept.looks):
        return [f"{plural(len(again), 'number')} that probes saw, not {len(kept.looks)}"]
    other = [(a, b) for a, b in zip(kept.looks, again, strict=True) if str(a) != str(b)]
    looks = [f"{a.probe} {a.layer} {a.measure} at step {a.step}: {b.value!r}, not {a.value!r}" for a, b in other]
    return looks + [
        f"{name.replace('_', ' ')} of epoch {a.epoch}: {getattr(b, name)!r}, not {getattr(a, name)!r}"
        for a, b in pairs
        for name in records.MEASURED
        if repr(float(getattr(a, name))) != repr(float(getattr(b, name)))
        and (a.diverged or getattr(a, name) == getattr(a, name))
    ]


def adopt(count: int) -> bool:
    """Does a sample of a report's runs anew; where every bit agrees, gives all of them this code's name.

    Raises:
        UserError: there is no report on the data set, its records are not as they were written, or its data are other ones.
    """
    folder = paths.report(download.choose(settings.read().dataset)) / "data"
    kept = records.load(folder)
    runs, refused = records.taken(kept)
    for name, problem in refused.items():
        raise UserError(f"{folder}: run {name} {problem}; `make report` makes it anew")
    data = datasets.load(kept.epochs.dataset.iloc[0])
    if any(run.made_by["data"] != data.fingerprint for run in runs):
        raise UserError(f"the files of {data.name} are not those of the report in {folder.parent}")
    recipes = store.recipes([run.config for run in runs], data.fingerprint)
    if all(_code(run.made_by, run.probes) == _code(r.made_by, r.probes) for run, r in zip(runs, recipes, strict=True)):
        print(f"{folder}: all runs are of this code; nothing to adopt")
        return True
    tried = sample(studies.load(folder), runs, count)
    print(f"Doing {plural(len(tried), 'run')} of {folder.parent} anew, to see whether this code gives their bits", flush=True)
    wanted = [r.config if r.config.later_rates else r.config.model_copy(update={"epochs": len(r.epochs)}) for r in tried]
    found = [differences(run, anew) for run, anew in zip(tried, run_all(wanted, data, anew=True), strict=True)]
    for run, other in zip(tried, found, strict=True):
        print(f"  {told(run.config)}: {f'other numbers ({other[0]})' if other else 'the same bits'}")
    if any(found):
        print(f"Not adopted: {sum(map(bool, found))} of {plural(len(found), 'run')} came out otherwise.{_elsewhere(tried)}")
        return False
    adopted = [_renamed(run, recipe, len(tried)) for run, recipe in zip(runs, recipes, strict=True)]
    _save(kept, dict(zip((run.name for run in runs), adopted, strict=True)), folder)
    stored = sum(map(_rename_weights, runs, adopted, recipes))
    print(f"All bits agree: {plural(len(runs), 'run')} and the weights of {stored} are of this code now.")
    return True


def _elsewhere(runs: Sequence[Run]) -> str:
    """Why bits may differ though the code does not change them."""
    (recipe, *_) = store.recipes([runs[0].config], runs[0].made_by["data"])
    other = [name for name, here in recipe.machine.items() if any(run.made_by.get(name) != here for run in runs)]
    return f" They were made on another machine ({', '.join(other)} differ): adopt them there." if other else ""


def _renamed(run: Run, recipe: store.Recipe, count: int) -> Run:
    before = run.made_by["code"]
    if _code(run.made_by, run.probes) == _code(recipe.made_by, recipe.probes):
        return run
    shown = f"{plural(count, 'run')} of this code gave the bits of code {before[:12]}"
    return run._replace(made_by=run.made_by | {"code": recipe.made_by["code"]}, adopted=shown, probes=recipe.probes)


def _rename_weights(before: Run, after: Run, recipe: store.Recipe) -> bool:
    """Gives what the store has of a run, with looks into it and without, the name of its new code and its old machine."""
    made = replace(recipe, machine={name: after.made_by.get(name, "") for name in recipe.machine})
    old, probes = full_name(before.config, before.made_by), {"": "", before.probes: after.probes}
    renamed = [store.rename(store.entry_name(old, was), replace(made, probes=its)) for was, its in probes.items()]
    return any(renamed)


def _code(made_by: dict[str, str], probes: str) -> tuple[str, str]:
    return made_by["code"], probes


def _save(kept: records.Records, runs: dict[str, Run], folder: Path) -> None:
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
    return commands.run(lambda: adopt(settings.count("ADOPT", SAMPLE)), "interrupted; `make adopt` goes on from there")


if __name__ == "__main__":
    sys.exit(main())
