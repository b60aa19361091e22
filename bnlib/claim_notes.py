"""What stands beside a claim's verdict and does not judge: what the original printed, what was lost, other outcomes."""

from collections.abc import Sequence

import pandas as pd

from bnlib import lost_runs, outcomes, replay
from bnlib.config import rate_name
from bnlib.outcomes import Outcome
from bnlib.words import ARMS, listing


def signs(epochs: pd.DataFrame, outcome: Outcome) -> str:
    """Where an outcome tells the arms apart, in a sentence."""
    told = outcomes.in_words(epochs, outcome, "lower with batch norm", "higher with batch norm")
    return f"The {outcome.title(int(epochs.epoch.max()))} is {told}."


def lost(epochs: pd.DataFrame, rates: Sequence[float]) -> str:
    """How many runs of each arm were lost at the rates."""
    chosen = [outcomes.at_rate(epochs, rate) for rate in rates]
    counts = [f"at {rate_name(r)} {lost_runs.told(lost_runs.every(t), t)}" for r, t in zip(rates, chosen, strict=True)]
    return (
        f"Lost, that is diverged or below {lost_runs.LEARNED:.0%} in the end, were {listing(counts)}. A lost run has no "
        "fluctuation to measure: its pair is counted here and nowhere else."
    )


def printed_fluctuation(rates: Sequence[float]) -> str:
    """How much the training loss that the original printed changed from epoch to epoch."""
    table, told = replay.published().sort_values("epoch"), []
    for rate in rates:
        rows = table[(table.learning_rate == rate) & (table.epoch >= outcomes.SETTLED)]
        none, batch = (outcomes.LAST_LOSS.number(rows[rows.norm == norm].train_loss.diff().abs().mean()) for norm in ARMS)
        told.append(f"{none} nats without and {batch} with batch norm at {rate_name(rate)}")
    return (
        "In the original's log, of networks that had been trained before, the training loss changed from one epoch to the "
        f"next, from epoch {outcomes.SETTLED} on, by {listing(told)}."
    )


def printed_gaps(rates: Sequence[float]) -> str:
    """How far apart the arms' test accuracies are in the original."""
    table = replay.published_test()
    gaps = [f"{100 * (table.loc[rate, 'batch'] - table.loc[rate, 'none']):.2f} at {rate_name(rate)}" for rate in rates]
    return f"by {listing(gaps)}, in percentage points"
