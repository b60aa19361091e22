"""The figures of an outcome over the rates: what each arm differs by from the reference, and the arms themselves."""

import textwrap
from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator

from bnlib.analysis.results import Contrast, Results
from bnlib.experiment.config import rate_name
from bnlib.experiment.outcomes import OUTCOMES
from bnlib.page.figures.picture import describe
from bnlib.page.style import INK, far_pairs, isolated, label_lines, lack, limits, looks, spread
from bnlib.page.words import in_full, minus, versus


@isolated()
def differences(results: Results, outcome_name: str, ax: Axes) -> Axes:
    """Each arm minus the reference at each rate: hollow points are pairs, squares their mean, bars its interval."""
    study, outcome, arms, told = results.study, OUTCOMES[outcome_name], looks(results.study), []
    scale, title, others = outcome.scale, outcome.title(study.epochs), [arm.name for arm in results.others]
    several = len(others) > 1
    slot = 0.84 / len(others)  # of the band of a rate, which is 1 high
    ax.axvline(0, color=INK, linewidth=0.8)
    for c, pairs in _pairs(results, outcome_name):
        look, place = arms[c.arm], results.rates.index(c.learning_rate)
        y = place + slot * (others.index(c.arm) - (len(others) - 1) / 2)
        points = {"color": look.color, "markersize": 3} if several else {"color": INK, "markersize": 4}
        lower = np.full(len(pairs), y + 0.22 / len(others))
        ax.plot(pairs * scale, lower, look.marker if several else "o", fillstyle="none", alpha=0.8, **points)
        if c.n:
            ax.plot([c.low * scale, c.high * scale], [y, y], color=look.color, linewidth=2 if several else 2.5)
            ax.plot([c.estimate * scale], [y], look.marker, color=look.color, markersize=5 if several else 7)
        told.append(f"at {rate_name(c.learning_rate)} {f'{look.label} ' * several}{in_full(c)}")
    ax.set_yticks(range(len(results.rates)), [rate_name(rate) for rate in results.rates])
    ax.set_ylim(len(results.rates) - 0.5, -0.5)
    ax.grid(visible=False, axis="y")
    spread(ax, threshold(results, outcome_name))
    ax.set_xlabel("\n".join([f"{title},", *textwrap.wrap(f"{minus(study)} ({outcome.difference_unit})", 40)]))
    ax.set_ylabel("learning rate")
    if several:
        for place in range(1, len(results.rates)):
            ax.axhline(place - 0.5, color=INK, linewidth=0.6, alpha=0.3)
        label_lines(ax, {name: slot * (i - (len(others) - 1) / 2) for i, name in enumerate(others)}, arms)
    return describe(ax, f"Difference in {title}, {versus(study)}, with 95% intervals: {'; '.join(told)}.")


def _pairs(results: Results, outcome_name: str) -> Iterator[tuple[Contrast, np.ndarray]]:
    """Each contrast of an outcome, with arm minus reference of each pair; NaN where one of the two has no value."""
    for c in results.find(outcome_name):
        yield c, results.differences(outcome_name, c.arm, c.learning_rate).to_numpy()


def threshold(results: Results, outcome_name: str) -> float | None:
    """Where the axis of `differences` turns logarithmic, in its unit, if one pair lies far from the others."""
    pairs = [pairs for _, pairs in _pairs(results, outcome_name)]
    return far_pairs(np.concatenate(pairs) * OUTCOMES[outcome_name].scale)


@isolated()
def across_rates(results: Results, outcome_name: str, ax: Axes) -> Axes:
    """An outcome against the learning rate: each arm's mean with its 95% interval, and every seed as a small point."""
    outcome, arms, where = OUTCOMES[outcome_name], looks(results.study), np.array(results.rates)
    title, scale, read = outcome.title(results.study.epochs), outcome.scale, lack if outcome.is_share else np.asarray
    told, seen, ends = [], [], {}
    for place, (arm, look) in enumerate(arms.items()):
        x = where * (1 + 0.03 * (2 * place - len(arms) + 1))  # side by side, so that no arm hides another
        means = [results.mean(outcome_name, arm, rate) for rate in where]
        middle = np.array([m.estimate for m in means]) * scale
        for at, m, rate in zip(x, means, where, strict=True):
            points = read(results.values(outcome_name, rate)[arm].dropna() * scale)
            ax.plot(np.full(len(points), at), points, look.marker, color=look.color, fillstyle="none", markersize=4, alpha=0.8)
            ax.plot([at, at], read([m.low * scale, m.high * scale]), color=look.color, linewidth=2)
            seen.append(points)
        ax.plot(x, read(middle), color=look.color, linestyle=look.linestyle, marker=look.marker, linewidth=1.5, markersize=6)
        values = ", ".join(f"{rate_name(r)}: {outcome.number(m.estimate)}" for r, m in zip(where, means, strict=True))
        told.append(f"{look.label} {values}")
        if np.isfinite(middle[-1]):
            ends[arm] = float(read(middle[-1]))
    limits(ax, np.concatenate(seen), outcome.is_share)
    ax.set_xscale("log")
    ax.set_xlim(where[0] / 1.3, where[-1] * 1.3)
    ax.xaxis.set_major_locator(FixedLocator(where))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xticklabels([rate_name(rate) for rate in where])
    ax.set(xlabel="learning rate", ylabel=f"{title}, {outcome.unit}")
    label_lines(ax, ends, arms)
    return describe(ax, f"Mean {title} in {outcome.unit} by learning rate: {'; '.join(told)}.")
