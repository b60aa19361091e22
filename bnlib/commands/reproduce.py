"""`make reproduce`: all runs of a report are done anew, in a place of their own, and held against those that stand there."""

import shutil
import sys
from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from bnlib import UserError, commands, plural
from bnlib.analysis import claims, contrasts, statistics
from bnlib.analysis.results import CELL, Results
from bnlib.commands.report import request
from bnlib.experiment import records, studies
from bnlib.experiment.config import rate_name
from bnlib.experiment.outcomes import OUTCOMES
from bnlib.experiment.records import Run
from bnlib.experiment.study import Study
from bnlib.runs import cluster, environment
from bnlib.runs.pool import run_all
from bnlib.system import files, paths
from bnlib.training import data as datasets

TEMPLATE = "reproduction.md.j2"
HERE = {cluster.VARIABLE: ""}  # a cluster's workers would give what they have done before
COMPARED = ("processor", "instruction set", "accelerator", "torch")  # of what made a run, on the page


def reproduce() -> bool:
    """Does all runs anew, writes `reproduction.md` and the new records, says what agrees, and returns whether any run did.

    Raises:
        UserError: there is no report on the data set, or it cannot be read; or as `run_all`.
    """
    aside = " on this machine, not by the cluster" if cluster.address() else ""
    with paths.variables(HERE):
        settings, dataset, _ = request.asked()
    report, place = paths.report(dataset), paths.reproduction(dataset)
    kept = records.load(report / "data")
    runs, refused = records.taken(kept)
    for name, problem in refused.items():
        raise UserError(f"{report / 'data'}: run {name} {problem}; `make report` makes it anew")
    old = {study.name: contrasts.of(study, kept.epochs, kept.steps) for study in studies.load(report / "data")}
    device = environment.device(settings.device)
    try:
        environment.need(device)
    except environment.NoDevice as absent:
        device = environment.instead(absent, "All runs are done")
    asked = studies.joined(studies.studies(settings, dataset, device))
    count = len({str(config.changed) for study in asked for config in study.configs})
    print(f"Doing {plural(count, 'run')} of {files.shown(report)} anew{aside}; {files.shown(place)} will have them", flush=True)
    anew = _anew(asked, dataset)
    made = records.join(records.collect(study.name, anew[study.name]) for study in asked)
    records.save(made, place)
    by_name = {study.name: contrasts.of(study, made.epochs, made.steps) for study in asked}
    contrasts.save(list(by_name.values()), place)
    said = {
        "report": files.shown(report),
        "dataset": dataset,
        "runs": compared_runs(runs, [run for study in asked for run in anew[study.name]]),
        "contrasts": [row for name, its in by_name.items() if name in old for row in compared_contrasts(old[name], its)],
        "claims": compared_claims(old, by_name),
        "machines": {name: (_kinds(runs, name), environment.machine(device)[name]) for name in COMPARED},
        "seeds": {_titled(name): (old[name].study.seeds, its.study.seeds) for name, its in by_name.items() if name in old},
    }
    said["agreeing"] = sum(claim["kept"] == claim["anew"] for claim in said["claims"])
    files.write(place / "reproduction.md", page(said))
    shutil.rmtree((paths.cache() / "reproduction").resolve(), ignore_errors=True)  # the next one is to do them anew, too
    print(summary(said))
    print(f"{files.shown(place / 'reproduction.md')} says it in full")
    return True


def _anew(asked: list[Study], dataset: str) -> dict[str, list[Run]]:
    """All runs of each study, from a store that no report uses."""
    data = datasets.load(dataset)
    with paths.variables({"BNLIB_CACHE": str(paths.cache() / "reproduction"), **HERE}):
        done = iter(run_all([config for study in asked for config in study.configs], data, anew=True))
    return {study.name: [next(done) for _ in study.configs] for study in asked}


def _titled(name: str) -> str:
    return name.replace("_", " ")


def _kinds(runs: list[Run], name: str) -> str:
    return "; ".join(dict.fromkeys(run.made_by.get(name, "") for run in runs))


def compared_runs(kept: list[Run], anew: list[Run]) -> list[dict[str, Any]]:
    """Each run that was done anew: in words, and how it differs from the report's; None where that has none such."""
    by_question = records.grouped(kept)
    longest = {str(run.config.changed): run for run in sorted(anew, key=lambda run: len(run.epochs))}
    found = []
    for question, run in longest.items():
        its = records.serving(run.config, by_question.get(question, ()))
        other = records.differences(its.first(run.config), run) if its and its.is_finished(run.config.all_epochs) else None
        found.append({"run": records.in_words(run.config), "epochs": len(run.epochs), "other": other})
    return found


def compared_contrasts(kept: Results, anew: Results) -> list[dict[str, Any]]:
    """Each difference between the arms at a rate, old and new, and whether the new one lies where the old ones have it.

    That is their 95% prediction interval for the mean of so many new pairs: Student's, of the report's paired differences.
    """
    found = []
    for row in anew.contrasts[anew.contrasts.kind == CELL].itertuples():
        if row.learning_rate not in kept.rates or row.arm not in {arm.name for arm in kept.others}:
            continue  # asked for now and not then
        pairs, its = (r.differences(row.outcome, row.arm, row.learning_rate).dropna() for r in (kept, anew))
        outcome = OUTCOMES[row.outcome]
        interval = statistics.prediction_interval(pairs, max(len(its), 1)).within(-outcome.width, outcome.width)
        found.append(
            {
                "study": _titled(anew.study.name),
                "outcome": outcome.title(anew.study.epochs),
                "unit": outcome.difference_unit,
                "rate": rate_name(row.learning_rate),
                "arm": row.arm,
                "kept": outcome.number(interval.estimate, signed=True),
                "low": outcome.number(interval.low, signed=True),
                "high": outcome.number(interval.high, signed=True),
                "anew": outcome.number(row.estimate, signed=True),
                "inside": interval.low <= row.estimate <= interval.high if interval.bounded and len(its) else None,
            }
        )
    return found


def compared_claims(kept: Mapping[str, Results], anew: Mapping[str, Results]) -> list[dict[str, Any]]:
    """The verdict on each claim, old and new."""
    pairs = zip(claims.judge(kept), claims.judge(anew), strict=True)
    return [{"number": old.number, "name": old.name, "kept": old.verdict, "anew": new.verdict} for old, new in pairs]


def page(said: dict[str, Any]) -> str:
    """What was found, as Markdown."""
    environment = Environment(loader=PackageLoader("bnlib.page", "template"), undefined=StrictUndefined, trim_blocks=True)
    return environment.get_template(TEMPLATE).render(said)


def summary(said: dict[str, Any]) -> str:
    """The same in a line for each kind of thing."""
    runs = [run for run in said["runs"] if run["other"] is not None]
    judged = [row for row in said["contrasts"] if row["inside"] is not None]
    lines = [f"runs: {sum(not run['other'] for run in runs)} of {len(runs)} have the bits of the report"]
    lines += [f"contrasts: {sum(row['inside'] for row in judged)} of {len(judged)} lie where the report's pairs predict them"]
    lines += [f"claims: {said['agreeing']} of {len(said['claims'])} have the same verdict"]
    return "\n".join(f"  {line}" for line in lines)


def main() -> int:
    """`python -m bnlib.commands.reproduce`, its settings in variables; returns the exit status."""
    return commands.run(lambda: commands.alone(reproduce), "interrupted; `make reproduce` goes on from the finished epochs")


if __name__ == "__main__":
    sys.exit(main())
