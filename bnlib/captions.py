"""The captions of the figures: what is drawn, from how many seeds, what the marks mean, and the finding."""

import pandas as pd

from bnlib import outcomes, plots, records
from bnlib.config import rate_name
from bnlib.outcomes import Outcome
from bnlib.words import listing, plural


def curves(epochs: pd.DataFrame, learning_rate: float) -> str:
    """Of the curves at one rate."""
    seeds = outcomes.at_rate(epochs, learning_rate).seed.nunique()
    lines = (
        f"Thin lines: single seeds ({seeds}); thick lines: their mean, which can lie where no run does; bands: 95% interval "
        "of each arm's mean, cut off at the frame."
        if seeds > 1
        else "One seed, hence no intervals."
    )
    finding = "are told apart" if outcomes.signs(epochs, outcomes.TEST_ACCURACY)[learning_rate] else "are not told apart"
    return (
        f"Learning rate {rate_name(learning_rate)}. Left: training loss, averaged over each epoch, on a logarithmic axis. "
        f"Right: test accuracy after each epoch, on a logarithmic axis of the error (100% − accuracy). {lines} "
        f"In test accuracy after the last epoch the arms {finding}."
    )


def answer(epochs: pd.DataFrame) -> str:
    """Of the paired differences at each rate, the first panel the first epoch's training loss, the second test accuracy."""
    seeds, panels = epochs.seed.nunique(), (outcomes.FIRST_LOSS, outcomes.TEST_ACCURACY)
    last = int(epochs.epoch.max())
    marks = (
        "Hollow points: pairs of runs; squares: their mean; bars: its 95% interval."
        if seeds > 1
        else "One pair of runs at each rate, hence no interval."
    )
    told = []
    for side, outcome in zip(("Left", "Right"), panels, strict=True):
        threshold = plots.threshold([outcomes.compare(epochs, outcome, rate) for rate in outcomes.rates(epochs)])
        better = "above" if outcome.higher_is_better else "below"
        axis = f"; the axis is linear within ±{threshold:g} and logarithmic beyond" if threshold else ""
        told.append(f"{side}: {outcome.title(last)} ({better} zero, batch norm is better{axis}).")
    return " ".join([*told, marks, *(_told_apart(epochs, outcome) for outcome in panels)])


def across(epochs: pd.DataFrame) -> str:
    """Of the outcomes against the learning rate."""
    last = int(epochs.epoch.max())
    panels = (outcomes.LAST_LOSS, outcomes.TEST_ACCURACY)
    return (
        f"Left: {panels[0].title(last)}. Right: {panels[1].title(last)}, on a logarithmic axis of the error. Small points: "
        f"single runs ({plural(epochs.seed.nunique(), 'seed')} at each rate); large points: means; bars: 95% intervals, cut "
        "off at the frame. "
        f"{' '.join(_told_apart(epochs, outcome) for outcome in panels)}"
    )


def _told_apart(epochs: pd.DataFrame, outcome: Outcome) -> str:
    rates = outcomes.rates(epochs)
    apart = [rate_name(rate) for rate, sign in outcomes.signs(epochs, outcome).items() if sign]
    where = f" ({listing(apart)})" if apart else ""
    title = outcome.title(int(epochs.epoch.max())).capitalize()
    return f"{title} tells the arms apart at {len(apart)} of {plural(len(rates), 'rate')}{where}."


def survival(epochs: pd.DataFrame) -> str:
    """Of the Kaplan-Meier curves."""
    return (
        f"Share of each arm's {plural(epochs.seed.nunique(), 'run')} whose test accuracy has not reached the one above the "
        "panel by the end of an epoch (Kaplan-Meier), with its 95% log-log interval; dashed without batch norm, solid with it. "
        "At 0% and 100% the interval has no ends, and none is drawn. A line that ends above zero has runs that never got there."
    )


def rate_range(epochs: pd.DataFrame) -> str:
    """Of the runs over many rates."""
    return (
        f"Left and middle: runs of {plural(int(epochs.epoch.max()), 'epoch')} at "
        f"{plural(epochs.learning_rate.nunique(), 'rate')}, "
        f"{plural(epochs.seed.nunique(), 'seed')} each (points), and their means (lines); logarithmic axes, of the error for "
        "the accuracy. Right: the share of runs that diverged or did not learn, circles without and squares with batch norm; "
        "bars: 95% Wilson intervals."
    )


def chain(epochs: pd.DataFrame) -> str:
    """Of the chain beside the published figures."""
    seeds = records.of(epochs, records.REPLAY).seed.nunique()
    return (
        f"Training loss along the chain. Crosses: what the original printed. Line and band: mean over our "
        f"{plural(seeds, 'seed')} "
        "and the 95% prediction interval for one more run. Dotted, where the report has them: the median of runs that start "
        "afresh at that rate. Logarithmic axis."
    )
