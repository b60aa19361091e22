"""How contrasts are computed: each arm minus the reference, in each outcome, over pairs of runs."""

from collections.abc import Iterable
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from bnlib.analysis import statistics, thresholds
from bnlib.analysis.results import CELL, CHANGE, FAILED, MARGIN, OWN, RANK, RANK_CHANGE, REACH, Contrast, Results
from bnlib.experiment.outcomes import OUTCOMES, per_run, with_ended
from bnlib.experiment.study import Study

LOSS, ACCURACY = "train_loss_last", "test_accuracy_last"
COLUMNS = list(Contrast.__annotations__)
Row = dict[str, Any]  # a contrast, by column
Pair = tuple[pd.Series, pd.Series]  # the reference and the arm, by seed


class At(NamedTuple):
    """What a contrast is of, as its columns say."""

    kind: str
    outcome: str
    arm: str
    learning_rate: float = np.nan
    against: float = np.nan


def of(study: Study, epochs: pd.DataFrame, steps: pd.DataFrame | None = None) -> Results:
    """The results of a study, from records that hold it; `steps` are needed where an outcome is of what probes saw.

    Raises:
        ValueError: its cells differ in more than the learning rate.
    """
    if others := set(study.factors) - {"learning_rate", *study.reference}:
        raise ValueError(f"arms are compared at learning rates alone; name {', '.join(others)} in the reference, or hold it")
    seen = study.of(steps) if study.probes and steps is not None else None
    runs = per_run(study.of(epochs), ["arm", "learning_rate", "seed"], study.outcomes, study.epochs, seen)
    if study.held.get("later_rates"):
        runs = with_ended(runs, [float(cell["learning_rate"]) for cell in study.cells])
    runs.insert(0, "study", study.name)
    return contrasted(study, runs)


def contrasted(study: Study, runs: pd.DataFrame, chosen: tuple[int, ...] = ()) -> Results:
    results = Results(study, runs, pd.DataFrame(columns=COLUMNS), chosen)
    rows = [row for name in study.outcomes for row in _of_outcome(results, name)]
    rows += _failures(results)
    for needed, found in (((LOSS, ACCURACY), _own), ((ACCURACY,), _reach)):
        if set(needed) <= set(study.outcomes) and results.rates:
            rows += found(results)
    table = pd.DataFrame(rows, columns=COLUMNS)
    table = table.astype({"exact": bool, "n": int, "tied": int})
    one_sided = np.minimum(2.0 ** (1 + table.tied - table.n), 1)  # p, were all pairs that differ to one side
    table["least_p"] = np.where(table.exact | (table.kind == FAILED), one_sided, 0.0)
    for its in table.groupby(["kind", "outcome"], sort=False).indices.values():
        table.loc[its, "p_adjusted"] = statistics.holm(table.p.iloc[its], table.least_p.iloc[its])
    return Results(study, runs, table, chosen)


def _of_outcome(results: Results, name: str) -> Iterable[Row]:
    """At each rate, and from rate to rate, the means over pairs that learned and the ranks of all pairs."""
    outcome, rates, reference, others = OUTCOMES[name], results.rates, results.study.arms[0].name, results.others
    learned, ranked = ({rate: read(name, rate) for rate in rates} for read in (results.learned, results.ranked))
    if outcome.is_ratio:
        learned, ranked = ({rate: np.log(table) for rate, table in tables.items()} for tables in (learned, ranked))

    def both(mean: str, rank: str, arm: str, rate: float, against: float, pair: Pair, ranks: Pair, of: int) -> Iterable[Row]:
        if not outcome.is_time:
            yield _mean(results, At(mean, name, arm, rate, against), *pair, of)
        if not outcome.seen:
            yield _rank(results, At(rank, name, arm, rate, against), *(ranks if outcome.is_time else pair), _apart(*ranks))

    for rate, arm in product(rates, (arm.name for arm in others)):
        pair, ranks = ((tables[rate][reference], tables[rate][arm]) for tables in (learned, ranked))
        yield from both(CELL, RANK, arm, rate, np.nan, pair, ranks, results.study.family)
    for rate, arm in product(rates[:-1] if not outcome.seen else (), (arm.name for arm in others)):
        pair, ranks = (
            tuple(_apart(tables[at][reference], tables[at][arm]) for at in (rate, rates[-1])) for tables in (learned, ranked)
        )
        yield from both(CHANGE, RANK_CHANGE, arm, rates[-1], rate, pair, ranks, (len(rates) - 1) * len(others))


def _apart(first: pd.Series, second: pd.Series) -> pd.Series:
    """Second minus first; of two that are infinitely bad, or infinitely far apart, alike: nothing."""
    return (second - first).mask(np.isinf(first) & (first == second), 0.0)


def _mean(results: Results, at: At, first: pd.Series, second: pd.Series, family: int) -> Row:
    """The contrast second minus first, of ratios their logarithms, as a mean over pairs that have both.

    Its interval keeps to the width in which differences of the outcome can lie.
    """
    pairs, outcome = (second - first).to_numpy(dtype=float), OUTCOMES.get(at.outcome)
    width = outcome.width * (1 + (at.kind == CHANGE)) if outcome else np.inf
    d = statistics.mean_difference(pairs, family).within(-width, width)
    row = _row(results, at, first, second, pairs)
    row |= {"estimate": d.estimate, "low": d.low, "high": d.high, "n": d.n, "exact": len(pairs) >= statistics.enough(family)}
    row["p"] = statistics.difference_p(pairs, family)
    if outcome and outcome.is_accuracy:
        equal = statistics.mean_interval(pairs, 1 - 2 * statistics.ALPHA).within(-width, width)
        row |= {"equal_p": statistics.equivalence_p(pairs, MARGIN), "equal_low": equal.low, "equal_high": equal.high}
    return row


def _rank(results: Results, at: At, first: pd.Series, second: pd.Series, pairs: pd.Series) -> Row:
    """The contrast of `pairs` by their signed ranks; `first` and `second` are what is told of the arms."""
    row = _row(results, at, first, second, pairs.to_numpy(dtype=float))
    row |= {"estimate": statistics.rank_biserial(pairs), "exact": True, "n": int(pairs.notna().sum())}
    return row | {"p": statistics.exact_p(statistics.signed_ranks(pairs))}


def _row(results: Results, at: At, first: pd.Series, second: pd.Series, pairs: np.ndarray) -> Row:
    """What is said of all contrasts: where the values lie, how many pairs are better, how many runs failed."""
    outcome, reference = OUTCOMES.get(at.outcome), results.study.arms[0].name
    gains = pairs if outcome is None or outcome.higher_is_better else -pairs
    row = {"study": results.study.name, "reference": reference, "exact": False, "pairs": len(pairs)} | at._asdict()
    row |= {"better": int((gains > statistics.ROUNDING).sum()), "tied": int((np.abs(gains) <= statistics.ROUNDING).sum())}
    is_logarithm = at.kind == REACH or (outcome and outcome.is_ratio and at.kind in (CELL, RANK))
    for values, prefix in ((second, ""), (first, "reference_")):
        its = statistics.spread(np.exp(values) if is_logarithm else values)
        row |= {f"{prefix}median": its.median, f"{prefix}least": its.least, f"{prefix}most": its.most}
    rate = at.against if at.kind == OWN else at.learning_rate
    return row | {"failed": _failed(results, at.arm, at.learning_rate), "failed_reference": _failed(results, reference, rate)}


def _failed(results: Results, arm: str, rate: float) -> int:
    """How many of an arm's runs failed at a rate; at all of them where it is NaN."""
    return sum(count for (name, at), count in results.failures.items() if name == arm and (at == rate or np.isnan(rate)))


def best_rates(results: Results) -> dict[str, float]:
    """For each arm the rate of the lowest median training loss in the last epoch, of those at which the fewest runs failed."""

    def rank(arm: str, rate: float) -> tuple[int, float]:
        loss = results.spread(LOSS, arm, rate).median
        return results.failures.get((arm, rate), 0), np.inf if np.isnan(loss) else loss

    return {arm.name: min(results.rates, key=lambda rate: rank(arm.name, rate)) for arm in results.study.arms}


def _failures(results: Results) -> Iterable[Row]:
    reference = results.study.arms[0].name
    for rate, arm in product(results.rates, results.others):
        both = results.values("failed", rate)[[reference, arm.name]].dropna().astype(bool)
        first, second = (both[name].astype(float) for name in both)
        pairs = second - first
        row = _row(results, At(FAILED, "failed", arm.name, rate), first, second, -pairs.to_numpy())  # better: fails less
        row |= {"pairs": len(results.seeds), "n": len(pairs), "estimate": pairs.mean()}
        yield row | {"p": statistics.mcnemar_p(both[reference], both[arm.name])}


def _own(results: Results) -> Iterable[Row]:
    best, reference = best_rates(results), results.study.arms[0].name
    values = {arm: results.learned(ACCURACY, rate)[arm] for arm, rate in best.items()}
    for arm in (arm.name for arm in results.others):
        at = At(OWN, ACCURACY, arm, best[arm], best[reference])
        yield _mean(results, at, values[reference], values[arm], len(results.others))


def _reach(results: Results) -> Iterable[Row]:
    """Ratios of largest rates. On a grid they are far from normal, so that the test is exact, however few the pairs are.

    Of a single rate there is nothing to say, of no pair; a chain has no rates that are tried one by one.
    """
    if results.study.held.get("later_rates"):
        return
    runs, scale = results.runs, 1 if len(results.rates) > 1 else np.nan
    found = {thresholds.named(m): thresholds.largest(runs, m) for m in (thresholds.USABLE, *thresholds.OTHERS)}
    for name, largest in (found | {thresholds.SURVIVED: thresholds.survived(runs)}).items():
        rates = scale * np.log(largest.reindex(index=list(results.seeds), columns=[arm.name for arm in results.study.arms]))
        for arm in results.others:
            pair = rates[results.study.arms[0].name], rates[arm.name]
            row = _mean(results, At(REACH, name, arm.name), *pair, family=0)
            row |= {end: np.exp(row[end]) for end in ("estimate", "low", "high")}
            yield row | _unknown(*pair, *scale * np.log([results.rates[0], results.rates[-1]]))


def _unknown(first: pd.Series, second: pd.Series, least: float, most: float) -> Row:
    """What of a ratio is not known, as a largest rate of a pair is the last that was tried: its ends, or all of it."""
    at_end = (np.maximum(first, second) == most) | (np.minimum(first, second) == least)
    known: Row = {} if (~(at_end & (first == second)) & first.notna() & second.notna()).any() else {"estimate": np.nan}
    ends = ("low", 0.0, second <= first), ("high", np.inf, second >= first)
    return known | {end: unknown for end, unknown, its in ends if (at_end & its).any()}
