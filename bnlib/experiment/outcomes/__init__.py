"""The outcomes of a run: each is one number, read off its records. Another one is added in `measured`, or in `seen`."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from bnlib import UserError
from bnlib.experiment.outcomes.measured import FIT, MEASURED, SETTLED, TABLE, THRESHOLDS, UNTIL, failed
from bnlib.experiment.outcomes.outcome import Outcome
from bnlib.experiment.outcomes.seen import OF_FAILED, SEEN

__all__ = [
    "FIT",
    "MEASURED",
    "OUTCOMES",
    "SEEN",
    "SETTLED",
    "TABLE",
    "THRESHOLDS",
    "UNTIL",
    "Outcome",
    "failed",
    "per_run",
    "with_ended",
]

OUTCOMES = MEASURED | SEEN


def per_run(
    epochs: pd.DataFrame, by: Sequence[str], names: Sequence[str], given: int, steps: pd.DataFrame | None = None
) -> pd.DataFrame:
    """The outcomes of each run.

    Args:
        epochs: records of one study.
        by: the columns that tell its runs apart, `seed` among them.
        names: of the outcomes.
        given: the epochs that each run was to have.
        steps: what probes saw in these runs, where an outcome is of that.

    Returns:
        A row for each run: the columns `by`, `failed`, and one for each outcome; NaN where a run has no such number.

    Raises:
        UserError: the probes that looked, of an earlier version, did not look at what an outcome is of.
    """
    looks, rows = _looks(steps, by), []
    for key, run in epochs.sort_values("epoch", kind="stable").groupby(list(by), sort=False):
        lost, seen = failed(run), looks.get(key)
        values = [_read(OUTCOMES[name], run, given, None if lost and name not in OF_FAILED else seen) for name in names]
        rows.append((*key, lost, *values))
    return pd.DataFrame(rows, columns=[*by, "failed", *names])


def with_ended(runs: pd.DataFrame, rates: Sequence[float]) -> pd.DataFrame:
    """The runs of chains, a row at each rate, with rows for those that a chain did not come to as it diverged: it failed there.

    Args:
        runs: with the columns arm, learning_rate, seed and failed.
        rates: of the chain, in its order.
    """
    table = runs.set_index(["arm", "seed", "learning_rate"])
    chains = table[table.failed.astype(bool)].index.droplevel("learning_rate").unique()
    at = [(*chain, rate) for chain in chains for rate in rates if (*chain, rate) not in table.index]
    ended = pd.DataFrame(at, columns=table.index.names).assign(failed=True)
    return pd.concat([runs, ended], ignore_index=True).astype({"failed": bool}) if at else runs


def _looks(steps: pd.DataFrame | None, by: Sequence[str]) -> dict[tuple[Any, ...], pd.DataFrame]:
    """What was seen in the first epoch of each run: a row for each step, a column for each (probe, layer, measure)."""
    if steps is None or steps.empty:
        return {}
    first = steps[steps.epoch == 1]
    table = first.pivot(index=[*by, "step"], columns=["probe", "layer", "measure"], values="value").sort_index()
    return {key: run.droplevel(list(by)) for key, run in table.groupby(level=list(by), sort=False)}


def _read(outcome: Outcome, run: pd.DataFrame, given: int, looks: pd.DataFrame | None) -> float:
    if not outcome.seen:
        return outcome.read(run, given)
    if looks is None:
        return np.nan
    try:
        with np.errstate(divide="ignore", invalid="ignore"):
            return float(outcome.seen(looks))
    except KeyError as error:
        what = error.args[0] if isinstance(error.args[0], str) else " ".join(filter(None, error.args[0]))
        raise UserError(f"what probes saw lacks {what!r} for “{outcome.label}”; `make report` looks anew") from error
