"""Contrasts: each arm minus the reference, in each outcome, over pairs of runs; computed once, saved, and read by all else."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from bnlib import UserError
from bnlib.analysis import statistics, thresholds
from bnlib.analysis.results import CELL, CHANGE, FAILED, LEARNED, MARGIN, OWN, REACH, WITHIN, Contrast, Results
from bnlib.experiment import studies
from bnlib.experiment.outcomes import OUTCOMES, per_run
from bnlib.experiment.study import Study
from bnlib.system import files

ACCURACY = "test_accuracy_last"
COLUMNS = list(Contrast.__annotations__)
ENDS = [f"{who}{what}" for who in ("", "reference_") for what in ("median", "least", "most")]
LOGARITHMS = ("estimate", "low", "high", "t_low", "t_high", *ENDS)  # what of the reach is averaged as logarithms
# "none" is an arm, and no missing value.
READ = {"keep_default_na": False, "na_values": [""], "dtype": {"arm": str, "study": str, "reference": str}}


def of(study: Study, epochs: pd.DataFrame, steps: pd.DataFrame | None = None) -> Results:
    """The results of a study, from records that hold it; `steps` are needed where an outcome is of what probes saw.

    Raises:
        ValueError: its cells differ in more than the learning rate.
    """
    if others := set(study.factors) - {"learning_rate", *study.reference}:
        raise ValueError(f"arms are compared at learning rates alone; name {', '.join(others)} in the reference, or hold it")
    seen = study.of(steps) if study.probes and steps is not None else None
    runs = per_run(study.of(epochs), ["arm", "learning_rate", "seed"], study.outcomes, study.epochs, seen)
    runs.insert(0, "study", study.name)
    return _contrasted(study, runs)


def between(results: Results, reference: str, arm: str) -> Results | None:
    """The results of two arms alone, as if no others had been asked for; None where the study has not both."""
    arms = {each.name: each for each in results.study.arms}
    if reference not in arms or arm not in arms:
        return None
    levels = {f: tuple(dict.fromkeys(arms[name].levels[f] for name in (reference, arm))) for f in results.study.reference}
    changed = {"factors": results.study.factors | levels, "reference": dict(arms[reference].levels)}
    if results.study.combined:
        changed["combined"] = (dict(arms[arm].levels),)
    study = results.study.model_copy(update=changed)
    return results if study == results.study else _contrasted(study, results.runs[results.runs.arm.isin((reference, arm))])


def against(results: Results, arm: str) -> Results:
    """The results of the same runs with all arms held against another one."""
    arms = {each.name: each for each in results.study.arms}
    combined = tuple(dict(each.levels) for name, each in arms.items() if name != arm)
    study = results.study.model_copy(update={"reference": dict(arms[arm].levels), "combined": combined})
    return _contrasted(study, results.runs)


def _contrasted(study: Study, runs: pd.DataFrame) -> Results:
    results = Results(study, runs, pd.DataFrame(columns=COLUMNS))
    rows = [row for name in study.outcomes for row in _of_outcome(results, name)]
    rows += _failures(results)
    for needed, found in ((("train_loss_last", ACCURACY), _own), ((ACCURACY,), _within), ((ACCURACY,), _reach)):
        if set(needed) <= set(study.outcomes) and results.rates:
            rows += found(results)
    table = pd.DataFrame(rows, columns=COLUMNS)
    for p in ("p", "equal_p"):
        table[f"{p}_adjusted"] = table.groupby(["kind", "outcome"], sort=False)[p].transform(statistics.holm)
    return Results(study, runs, table.astype({"exact": bool}))


def _of_outcome(results: Results, name: str) -> Iterable[dict]:
    study, rates = results.study, results.rates
    reference = study.arms[0].name
    tables = {rate: results.values(name, rate) for rate in rates}
    for rate, table in tables.items():
        for arm in results.others:
            yield _row(results, CELL, name, arm.name, rate, table[reference], table[arm.name], study.family)
            if OUTCOMES[name].seen:
                continue
            both = table[~_gone(results, rate, (reference, arm.name))]
            if name == ACCURACY and len(both) < len(table):
                both = both.reindex(table.index)  # judged as all pairs are, failed ones having no value
                yield _row(results, LEARNED, name, arm.name, rate, both[reference], both[arm.name], study.family)
    for rate in rates[:-1] if not OUTCOMES[name].seen else ():
        for arm in results.others:
            gaps = (tables[at][arm.name] - tables[at][reference] for at in (rate, rates[-1]))
            family = (len(rates) - 1) * len(results.others)
            yield _row(results, CHANGE, name, arm.name, rates[-1], *gaps, family, against=rate)


def _gone(results: Results, rate: float, arms: Sequence[str]) -> pd.Series:
    """Which seeds have a run at a rate, in one of two arms, that failed."""
    failed = results.runs[results.runs.failed & results.runs.arm.isin(arms) & (results.runs.learning_rate == rate)].seed
    seeds = pd.Series(range(results.study.seeds))
    return seeds.isin(failed).set_axis(seeds)


def _row(
    results: Results,
    kind: str,
    name: str,
    arm: str,
    rate: float,
    first: pd.Series,
    second: pd.Series,
    family: int,
    against: float = np.nan,
) -> dict:
    """The contrast second minus first, of ratios that of their logarithms; its p values are adjusted later."""
    outcome = OUTCOMES.get(name)
    first, second = first.astype(float), second.astype(float)
    pairs = (np.log(second) - np.log(first) if outcome and outcome.is_ratio else second - first).to_numpy()
    gains = pairs if outcome is None or outcome.higher_is_better else -pairs
    d, t, effect = statistics.mean_difference(pairs, family), statistics.mean_interval(pairs), statistics.standardised(pairs)
    row = {"study": results.study.name, "kind": kind, "outcome": name, "arm": arm, "learning_rate": rate, "against": against}
    row["reference"] = results.study.arms[0].name
    row |= {"estimate": d.estimate, "low": d.low, "high": d.high, "exact": d.exact, "n": d.n, "pairs": len(pairs)}
    row |= {"p": statistics.difference_p(pairs, family), "better": int((gains > 0).sum()), "tied": int((gains == 0).sum())}
    row |= {"t_low": t.low, "t_high": t.high, "effect": effect.estimate, "effect_low": effect.low, "effect_high": effect.high}
    row["equal_p"] = statistics.equivalence_p(pairs, MARGIN) if outcome and outcome.is_accuracy else np.nan
    for values, prefix in ((second, ""), (first, "reference_")):
        row |= {f"{prefix}median": values.median(), f"{prefix}least": values.min(), f"{prefix}most": values.max()}
    other = arm if kind == WITHIN else results.study.arms[0].name
    row["failed"] = _failed(results, arm, rate)
    row["failed_reference"] = _failed(results, other, against if kind in (OWN, WITHIN) else rate)
    return row


def _failed(results: Results, arm: str, rate: float) -> int:
    """How many of an arm's runs failed at a rate; at all of them where it is NaN."""
    return sum(count for (name, at), count in results.failures.items() if name == arm and (at == rate or np.isnan(rate)))


def best_rates(results: Results) -> dict[str, float]:
    """For each arm the rate of the lowest mean training loss in the last epoch; one at which a run diverged is out."""
    tables = {rate: results.values("train_loss_last", rate) for rate in results.rates}
    means = pd.DataFrame({rate: table.mean(skipna=False) for rate, table in tables.items()}).fillna(np.inf)
    return {arm.name: float(means.loc[arm.name].idxmin()) for arm in results.study.arms}


def _failures(results: Results) -> Iterable[dict]:
    reference = results.study.arms[0].name
    for rate in results.rates:
        failed = results.values("failed", rate)
        for arm in results.others:
            both = failed[[reference, arm.name]].dropna().astype(bool)
            row = _row(
                results, FAILED, "failed", arm.name, rate, *(both[name].astype(float) for name in both), results.study.family
            )
            better = int((both[reference] & ~both[arm.name]).sum())  # fails less
            interval = dict.fromkeys(("low", "high", "t_low", "t_high", "effect", "effect_low", "effect_high"), np.nan)
            yield row | interval | {"better": better, "p": statistics.mcnemar_p(both[reference], both[arm.name])}


def _own(results: Results) -> Iterable[dict]:
    best, name = best_rates(results), ACCURACY
    reference = results.study.arms[0].name
    first = results.values(name, best[reference])[reference]
    for arm in results.others:
        second = results.values(name, best[arm.name])[arm.name]
        yield _row(results, OWN, name, arm.name, best[arm.name], first, second, len(results.others), against=best[reference])


def _within(results: Results) -> Iterable[dict]:
    low, *_, high = [results.rates[0], results.rates[-1]]
    for arm in results.study.arms if low < high else ():
        values = (results.values(ACCURACY, rate)[arm.name] for rate in (low, high))
        yield _row(results, WITHIN, ACCURACY, arm.name, high, *values, len(results.study.arms), against=low)


def _reach(results: Results) -> Iterable[dict]:
    for margin in (thresholds.USABLE, *thresholds.OTHERS):
        largest = np.log(thresholds.largest(results.runs, margin))
        largest = largest.reindex(index=range(results.study.seeds), columns=[arm.name for arm in results.study.arms])
        for arm in results.others:
            values = (largest[name] for name in (results.study.arms[0].name, arm.name))
            row = _row(results, REACH, f"largest_rate_{margin:g}", arm.name, np.nan, *values, len(results.others))
            yield row | {name: np.exp(row[name]) for name in LOGARITHMS}


def save(all_results: Sequence[Results], folder: Path) -> None:
    """Writes `contrasts.csv`, `outcomes.csv` (a row for each run) and `studies.json`, for `load`.

    Of results of the same runs against several references the contrasts are written of each, and the first is what is read.
    """
    first = list({results.study.name: results for results in reversed(all_results)}.values())[::-1]
    studies.save([results.study for results in first], folder)
    for name, tables in (("contrasts", [r.contrasts for r in all_results]), ("outcomes", [r.runs for r in first])):
        table = pd.concat(tables, ignore_index=True)
        files.write_if_changed(folder / f"{name}.csv", table.to_csv(index=False, lineterminator="\n"))


def load(folder: Path) -> dict[str, Results]:
    """Reads what `save` wrote: the results of each study, by its name.

    Raises:
        UserError: a file is absent or damaged.
    """
    try:
        found = studies.load(folder)
        runs, contrasts = (pd.read_csv(folder / f"{name}.csv", **READ) for name in ("outcomes", "contrasts"))
        return {study.name: Results(study, *(_part(study, table) for table in (runs, contrasts))) for study in found}
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise UserError(f"{folder} has no contrasts that can be read; `make report` makes them again ({error})") from error


def _part(study: Study, table: pd.DataFrame) -> pd.DataFrame:
    """The rows of a study, without the outcomes that only others have."""
    others = set(OUTCOMES) - set(study.outcomes)
    its = table[table.study == study.name]
    if "reference" in its:
        its = its[its.reference == study.arms[0].name]
    return its.drop(columns=others & set(table.columns)).reset_index(drop=True)
