"""The tables of why: how many runs fail, what the first step does, what goes with batch norm, what else would do."""

from collections.abc import Mapping, Sequence

import pandas as pd

from bnlib.analysis import thresholds
from bnlib.analysis.results import CELL, FAILED, RANK, REACH, Results
from bnlib.experiment.config import rate_name
from bnlib.experiment.outcomes import OUTCOMES
from bnlib.experiment.study import Study
from bnlib.page.tables.table import Table, interval, p_value, share, times
from bnlib.page.words import listing


def survival(results: Results) -> Table:
    """How many runs of each arm failed at each rate, and whether an arm differs in it from the reference."""
    study, rows = results.study, []
    told = {(arm.name, rate): share(results.failed(arm.name, rate)) for arm in study.arms for rate in results.rates}
    named = ["learning rate, arm", "failed", "p, Holm"]
    if len(study.arms) == 2:
        named = ["learning rate", *(arm.label for arm in study.arms), "p, Holm"]
        p = {rate: p_value(c.p_adjusted) for rate in results.rates for c in results.find("failed", rate=rate, kind=FAILED)}
        rows = [[rate_name(rate), *(told[arm.name, rate] for arm in study.arms), p[rate]] for rate in results.rates]
    for rate in results.rates if not rows else ():
        for arm in study.arms:
            tests = [p_value(c.p_adjusted) for c in results.find("failed", arm.name, rate, FAILED)] or [""]
            rows.append([f"{rate_name(rate)}, {arm.label}", told[arm.name, rate], *tests])
    return Table("survival", "", named, rows)


def usable(results: Results) -> Table:
    """How far each arm's rates go: those at which it is near its best, and the largest of a seed over the reference's."""
    study, good, rows = results.study, thresholds.usable(results.runs), []
    for arm in study.arms:
        ratios = results.find(thresholds.named(thresholds.USABLE), arm.name, kind=REACH)
        told = [times(c) for c in ratios] or [""]
        rows.append([arm.label, listing([rate_name(rate) for rate in good[arm.name]] or ["none"]), *told])
    return Table("usable", "", ["arm", "usable rates", "largest, over the reference's"], rows)


def left(results: Results) -> Table:
    """How much of each layer is dead in the runs that did not fail, and how accurate they are: medians and ranges."""
    names, rows = ("dead_relu1", "dead_relu2", "dead_relu3", "test_accuracy_last"), []
    for rate in results.rates:
        for arm in results.study.arms:
            its = results.runs[~results.runs.failed & (results.runs.arm == arm.name) & (results.runs.learning_rate == rate)]
            told = [
                f"{100 * its[name].median():.1f}\n{100 * its[name].min():.1f} to {100 * its[name].max():.1f}" for name in names
            ]
            rows.append([rate_name(rate), arm.label, str(len(its)), *(told if len(its) else ["–"] * len(names))])
    heads = ["learning rate", "arm", "runs", "channels of conv1", "channels of conv2", "units of linear1", "test accuracy"]
    return Table("left", "", heads, rows)


def first_steps(study: Study, steps: pd.DataFrame, layers: Sequence[str]) -> Table:
    """What the first step does at each rate: how far it moves each layer, and the loss of its own batch."""
    seen = study.of(steps[steps.step == 1]).set_index(["probe", "layer", "measure"]).sort_index()
    rows = []
    for rate in study.rates:
        for arm in study.arms:
            its = seen[(seen.learning_rate == rate) & (seen.arm == arm.name)].value
            middle = its.groupby(level=[0, 1, 2]).median()
            sizes = [f"{middle['step_size', layer, '']:.0%}" for layer in layers]
            loss = [f"{middle['loss_band', '', measure]:.2f}" for measure in ("before", "step × 1")]
            rows.append([f"{rate_name(rate)}, {arm.label}", *sizes, *loss])
    return Table("first-step", "", ["learning rate, arm", *layers, "loss before", "loss after"], rows)


def ratios(results: Results, name: str, outcomes: Sequence[str]) -> Table:
    """Outcomes of what probes saw, as ratios or differences of the arms at each rate."""
    rows = []
    for outcome in outcomes:
        named, cells = OUTCOMES[outcome], []
        for rate in results.rates:
            c = results.one(outcome, results.others[0].name, rate)
            mark = "*" * bool(c.sign)
            cells.append(f"{interval(named, c.difference, signed=True)}{mark}" if c.n > 1 else "–")
        rows.append([named.label, *cells])
    pairs = [results.one(outcomes[0], results.others[0].name, rate) for rate in results.rates]
    heads = [f"{rate_name(c.learning_rate)}, {c.n} of {c.pairs} pairs" for c in pairs]
    return Table(name, "", ["measured", *heads], rows)


def gains(
    results: Mapping[str, Results], against: Mapping[str, Results], rates: Sequence[float], survival: Sequence[float]
) -> Table:
    """What each arm gives of batch norm's gain: survival, speed, and accuracy of what survives.

    Args:
        results: of `controls`, `controls_long` and `controls_survival`, held against the network without a norm.
        against: the same held against batch norm.
        rates: at which speed is told.
        survival: at which survival is.
    """
    short, long, counted = (results[name] for name in ("controls", "controls_long", "controls_survival"))
    rows = []
    for arm in counted.study.arms:
        row = [arm.label, *(share(counted.failed(arm.name, rate)).splitlines()[0] for rate in survival)]
        row += [_marked(short, against["controls"], "train_loss_first", arm.name, rate) for rate in rates]
        there = arm.name in {each.name for each in long.study.arms}
        last = "test_accuracy_last", arm.name, long.rates[0], RANK  # as too few pairs may be left in which neither run failed
        row.append(_marked(long, against["controls_long"], *last) if there else "–")
        rows.append(row)
    heads = [f"failed at {rate_name(rate)}" for rate in survival]
    heads += [f"loss of epoch 1 at {rate_name(rate)}" for rate in rates]
    heads.append(f"test accuracy at {rate_name(long.rates[0])}, {long.study.epochs} epochs, %")
    return Table("gains", "", ["arm", *heads], rows)


def _marked(plain: Results, batch: Results, outcome: str, arm: str, rate: float, kind: str = CELL) -> str:
    """The median of an arm's runs that did not fail, with marks for where it lies beside the two references."""
    values, failed = plain.values(outcome, rate)[arm], plain.values("failed", rate)[arm].fillna(True).astype(bool)
    text = OUTCOMES[outcome].number(values[~failed].median())
    for results, marks in ((plain, "↓↑"), (batch, "⇊⇈")):
        for c in results.find(outcome, arm, rate, kind):
            text += {-1: f" {marks[0]}", 0: "", 1: f" {marks[1]}"}[c.sign]
    return text
