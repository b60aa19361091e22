"""What the claims are judged by, as CSV: run by run, and part by part."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from bnlib import convergence, files, outcomes
from bnlib.claims import Claim, judge

RUNS = {
    "train_loss_first": outcomes.FIRST_LOSS,
    "train_loss_second": outcomes.SECOND_LOSS,
    "train_loss_last": outcomes.LAST_LOSS,
    "train_accuracy_first": outcomes.FIRST_ACCURACY,
    "train_accuracy_second": outcomes.SECOND_ACCURACY,
    "test_accuracy_last": outcomes.TEST_ACCURACY,
    "test_loss_last": outcomes.TEST_LOSS,
    "fluctuation": outcomes.FLUCTUATION,
    "gap": outcomes.GAP,
} | {f"epochs_until_{threshold:g}": convergence.until(threshold) for threshold in convergence.THRESHOLDS}


def parts(claims: Sequence[Claim]) -> pd.DataFrame:
    """Every part of every claim, a row each; accuracies as fractions."""
    rows = []
    for claim in claims:
        for part in claim.parts or (None,):
            row = {"claim": claim.number, "name": claim.name, "verdict": claim.verdict}
            if part:
                i = part.interval
                row |= {"part": part.text, "wanted": "above 0" if part.wanted > 0 else "below 0", "mean": i.estimate}
                row |= {"low": i.low, "high": i.high, "p": part.p, "pairs": i.n, "seeds": len(part.values), "met": part.met}
            rows.append(row)
    return pd.DataFrame(rows)


def runs(epochs: pd.DataFrame) -> pd.DataFrame:
    """What the claims are judged by: a row for each learning_rate, norm and seed.

    Accuracies are fractions; empty where a run was lost or had diverged.
    """
    tables = []
    for rate in outcomes.rates(epochs):
        columns = {name: outcomes.per_seed(epochs, outcome, rate).unstack() for name, outcome in RUNS.items()}
        tables.append(pd.DataFrame(columns).reset_index().assign(learning_rate=rate))
    return pd.concat(tables)[["learning_rate", "norm", "seed", *RUNS]]


def save(epochs: pd.DataFrame, folder: Path) -> None:
    """Writes `claims.csv`, the claims part by part, and `runs.csv`, the runs that they are judged by."""
    for name, table in (("claims", parts(judge(epochs))), ("runs", runs(epochs))):
        files.write_if_changed(folder / f"{name}.csv", table.to_csv(index=False, lineterminator="\n"))
