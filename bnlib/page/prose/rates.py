"""How far each arm's learning rates go, in sentences."""

from collections.abc import Sequence

import numpy as np

from bnlib.analysis import thresholds
from bnlib.analysis.results import REACH, Contrast, Results
from bnlib.experiment.config import rate_name
from bnlib.page.prose.phrases import at, count, is_pair
from bnlib.page.words import CONSTANT, listing, plural


def reach(results: Results) -> str:
    """How far each arm's rates go."""
    study, grid = results.study, results.rates
    good = thresholds.usable(results.runs)
    spans = listing([f"{arm.label} {_span(good[arm.name], grid)}" for arm in study.arms])
    ratio = _ratios(results, thresholds.USABLE)
    pair, near = is_pair(study), 100 * thresholds.USABLE
    times = f" is {ratio} times as high {study.arms[1].label}" if pair else f", over that {study.arms[0].label}, is {ratio}"
    return (
        f"**In runs of {plural(study.epochs, 'epoch')} with {plural(study.seeds, 'seed')}, rates within {near:g} point of an "
        f"arm's best median test accuracy, at which no run failed, are {spans}; the largest such rate of a seed{times}. "
        f"{_failed(results)}** "
        f"{_means(results)}, each arm and seed held to its own best; {_elsewhere(results)}.{_steps(grid, pair)} "
        f"A run is counted as failed that {CONSTANT}."
    )


def _means(results: Results) -> str:
    """What a ratio is, of a pair with that of each seed."""
    if not is_pair(results.study):
        return "These ratios are geometric means over seeds"
    largest = thresholds.largest(results.runs)
    reference, arm = (largest[arm.name] for arm in results.study.arms)
    return f"That ratio is the geometric mean over seeds ({listing([f'{ratio:.1f}' for ratio in arm / reference])})"


def _elsewhere(results: Results) -> str:
    """What the ratios would be with other margins."""
    ratios = {f"{100 * margin:g}": _ratios(results, margin) for margin in thresholds.OTHERS}
    if is_pair(results.study):
        return f"it would be {listing([f'{ratio} within {points}' for points, ratio in ratios.items()])} points"
    return "; ".join(f"within {points} points they would be {ratio}" for points, ratio in ratios.items())


def _ratios(results: Results, margin: float) -> str:
    """How many times as high as the reference's largest usable rate an arm's is; of several arms each is named."""
    found = [(arm, results.one(f"largest_rate_{margin:g}", arm.name, kind=REACH)) for arm in results.others]
    return listing([_ratio(c) if is_pair(results.study) else f"{_ratio(c)} {arm.label}" for arm, c in found])


def _ratio(c: Contrast) -> str:
    value = c.difference
    if value.n > 1 and value.high - value.low <= 1e-9 * value.estimate:
        return f"{value.estimate:.1f} (in each seed)"
    return f"{value.estimate:.1f}" + (f" [{value.low:.1f}, {value.high:.1f}]" if value.bounded else "")


def _failed(results: Results) -> str:
    """Where runs failed, and how many."""
    told = []
    for arm in results.study.arms:
        rates: dict[str, list[float]] = {}
        for rate in results.rates:
            share = results.failed(arm.name, rate)
            if share.estimate > 0:
                rates.setdefault(count(share), []).append(rate)
        told.append(f"{arm.label} {listing([f'{number} at {at(r)}' for number, r in rates.items()]) if rates else 'none'}")
    return f"Failed are {'; '.join(told)}."


def _steps(grid: Sequence[float], pair: bool) -> str:
    if len(grid) == 1:
        return ""
    step = np.exp(np.mean(np.diff(np.log(grid))))
    return f" {'It moves' if pair else 'They move'} in steps of about {step:.1f}, the distance between neighbouring rates."


def _span(rates: Sequence[float], grid: Sequence[float]) -> str:
    """`0.001 to 0.1`, or each rate by name where one between them is not among them."""
    if not rates:
        return "none"
    between = [rate for rate in grid if rates[0] <= rate <= rates[-1]]
    return f"{rate_name(rates[0])} to {rate_name(rates[-1])}" if between == rates and len(rates) > 1 else at(rates)
