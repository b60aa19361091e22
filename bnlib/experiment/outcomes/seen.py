"""Outcomes of what probes saw in a run: of each a row for each chosen step, a column for each (probe, layer, measure)."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from bnlib.experiment.outcomes.outcome import Outcome


def _mean_over(*columns: tuple[str, str, str]) -> Callable[[pd.DataFrame], float]:
    """The geometric mean over steps, and over several columns, where the loss is finite."""
    return lambda run: float(np.exp(np.log(run.reindex(columns=list(columns))).mean(axis=None)))


def _range(along: str) -> Callable[[pd.DataFrame], float]:
    """The geometric mean over steps of how far the loss ranges along a step."""

    def seen(run: pd.DataFrame) -> float:
        losses = run.loc[:, [column for column in run if column[0] == "loss_band" and column[2].startswith(along)]]
        return float(np.exp(np.log(losses.max(axis=1) - losses.min(axis=1)).mean()))

    return seen


def _most(probe: str, along: str) -> Callable[[pd.DataFrame], float]:
    """The geometric mean over steps of the largest value along a step."""

    def seen(run: pd.DataFrame) -> float:
        most = run.loc[:, [c for c in run if c[0] == probe and c[2].startswith(along)]].max(axis=1)
        return float(np.exp(np.log(most).mean()))

    return seen


def _dead(layer: str) -> Callable[[pd.DataFrame], float]:
    return lambda run: run["dead", layer, ""].iloc[-1]


def _dead_share(run: pd.DataFrame) -> pd.Series:
    """Of the layer that has lost the most, at each look."""
    return run.loc[:, [column for column in run if column[0] == "dead"]].max(axis=1)


def _dead_most(run: pd.DataFrame) -> float:
    return float(_dead_share(run).iloc[-1])


def _for_good(holds: pd.Series) -> float:
    """The first look from which on something holds at every look."""
    without = np.flatnonzero(~holds)
    after = without[-1] + 1 if len(without) else 0
    return holds.index[after] if after < len(holds) else np.nan


def _settled(run: pd.DataFrame) -> float:
    return _for_good(run["classes", "", ""] == 1)


def _dead_for_good(run: pd.DataFrame) -> float:
    return _for_good(_dead_share(run) == 1)


def _first_step(layer: str) -> Callable[[pd.DataFrame], float]:
    return lambda run: run["step_size", layer, ""].iloc[0]


def _step_of_loss(run: pd.DataFrame) -> float:
    """The loss of the first step's batch after that step, over the loss before."""
    return float(run["loss_band", "", "step × 1"].iloc[0] / run["loss_band", "", "before"].iloc[0])


# Layers that every arm has and before which others stand.
DEEP = ("conv2", "linear1", "linear2")
# What is told of runs that were looked into, over the chosen steps of their first epoch.
SEEN = {
    "dead_relu1": Outcome("dead channels of conv1 after epoch 1", "share", "", False, seen=_dead("relu1")),
    "dead_relu2": Outcome("dead channels of conv2 after epoch 1", "share", "", False, seen=_dead("relu2")),
    "dead_relu3": Outcome("dead units of linear1 after epoch 1", "share", "", False, seen=_dead("relu3")),
    "dead_most": Outcome("dead share of a layer, the largest", "share", "", False, seen=_dead_most),
    "settled": Outcome("steps until one class is predicted for good", "steps", "", True, seen=_settled),
    "dead_for_good": Outcome("steps until a whole layer is dead for good", "steps", "", True, seen=_dead_for_good),
    "first_loss": Outcome("loss after the first step over that before", "ratio", "", False, seen=_step_of_loss, early=True),
    "first_step": Outcome(
        "size of linear1's first step over its own", "ratio", "", False, seen=_first_step("linear1"), early=True
    ),
    "loss_range": Outcome("range of the loss along the gradient", "ratio", "", False, seen=_range("gradient")),
    "loss_range_step": Outcome("range of the loss along the step", "ratio", "", False, seen=_range("step")),
    "predictiveness": Outcome("change of the gradient along it", "ratio", "", False, seen=_most("predictiveness", "gradient")),
    "predictiveness_step": Outcome(
        "change of the gradient along the step", "ratio", "", False, seen=_most("predictiveness", "step")
    ),
    **{
        f"smoothness{name}": Outcome(
            f"effective smoothness along the {along}", "ratio", "", False, seen=_mean_over(("smoothness", "", measure))
        )
        for name, along, measure in (
            ("", "gradient", "gradient"),
            ("_relative", "gradient, relative to the weights", "gradient, relative"),
            ("_step", "step", "step"),
            ("_step_relative", "step, relative to the weights", "step, relative"),
        )
    },
    "shift": Outcome("shift", "ratio", "", False, seen=_mean_over(*(("shift", name, "difference") for name in DEEP))),
    "shift_relative": Outcome(
        "shift relative to the gradient", "ratio", "", False, seen=_mean_over(*(("shift", name, "relative") for name in DEEP))
    ),
    "shift_cosine": Outcome(
        *("cosine of gradients before and after the shift", "cosine", "", True),
        seen=lambda run: run.reindex(columns=[("shift", name, "cosine") for name in DEEP]).mean(axis=None),
    ),
    **{
        f"shift_relative_{name}": Outcome(
            *(f"shift of {name}, relative", "ratio", "", False), seen=_mean_over(("shift", name, "relative"))
        )
        for name in DEEP
    },
}
# What is told of a run that failed, too; of the rest nothing: a constant has no gradient to speak of.
OF_FAILED = ("dead_relu1", "dead_relu2", "dead_relu3", "dead_most", "settled", "dead_for_good", "first_loss", "first_step")
