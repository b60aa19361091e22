"""The original, replayed: one pair of networks trained on from rate to rate, beside the figures that the original printed."""

from collections.abc import Iterator
from importlib import resources

import numpy as np
import pandas as pd

from bnlib.analysis.results import Results
from bnlib.analysis.statistics import mean_difference, prediction_interval
from bnlib.experiment.config import CHAIN

ARMS = {"none": "without", "batch": "with"}  # the original's
ROUNDING = 0.00005  # half a unit of the last place printed: losses to 4 decimals, accuracies to 2 of a percentage
SHOWN = ("train_loss_first", "train_loss_last", "test_accuracy_last")


def published() -> pd.DataFrame:
    """The original's training log: position, learning_rate, norm, epoch, train_loss, train_accuracy (a fraction); 60 rows."""
    table = _read("epochs.csv")
    return table.assign(train_accuracy=table.pop("train_accuracy_percent") / 100)


def published_test() -> pd.DataFrame:
    """The original's test accuracies, fractions: a row for each learning rate, columns `none` and `batch`."""
    table = _read("test.csv")
    return table.pivot(index="learning_rate", columns="norm", values="test_accuracy_percent")[list(ARMS)] / 100


def _read(name: str) -> pd.DataFrame:
    with resources.files("bnlib.analysis").joinpath("original", name).open(encoding="utf-8") as stream:
        return pd.read_csv(stream)


def log(epochs: pd.DataFrame, seed: int) -> Iterator[str]:
    """The lines that the original prints, in its order, from the records of one seed."""
    for rate in CHAIN:
        for norm, label in ARMS.items():
            rows = _rows(epochs, rate, norm)
            rows = rows[rows.seed == seed].sort_values("epoch")
            yield f"Learning rate {rate:g}, {label} batch norm"
            for row in rows.itertuples():
                yield f"Epoch {row.epoch}/{epochs.epoch.max()}, Loss: {row.train_loss:.4f}, Accuracy: {row.train_accuracy:.2%}"
            yield f"Test Accuracy: {rows.test_accuracy.iloc[-1]:.2%}" if len(rows) else "ended before"
            yield ""


def _rows(epochs: pd.DataFrame, rate: float, norm: str) -> pd.DataFrame:
    return epochs[(epochs.learning_rate == rate) & (epochs.norm == norm)]


def beside(epochs: pd.DataFrame) -> pd.DataFrame:
    """Each published epoch beside ours.

    Args:
        epochs: records of the replay, some seeds.

    Returns:
        The rows of `published` up to the epoch that the records reach and, for train_loss and train_accuracy each, columns with
        _mean, _low, _high and _inside: our mean over seeds; the 95% prediction interval for one more run, in which a run of the
        original should lie 19 times in 20; and whether it does. The interval is taken of logarithms, of the loss and of the
        error, so that it keeps to possible values.
    """
    table = published()
    table = table[table.epoch <= epochs.epoch.max()].reset_index(drop=True)
    for column in ("train_loss", "train_accuracy"):
        ours = [_rows(epochs, row.learning_rate, row.norm).query(f"epoch == {row.epoch}")[column] for row in table.itertuples()]
        _add(table, column, ours)
    return table


def swapped(table: pd.DataFrame) -> int:
    """How many published losses lie inside the interval of the *other* arm's runs; `table` as `beside` makes it."""
    where = table.set_index(["learning_rate", "epoch", "norm"]).unstack()
    loss, low, high = where["train_loss"], where["train_loss_low"], where["train_loss_high"]
    return int(sum(loss[a].between(low[b], high[b]).sum() for a, b in (("none", "batch"), ("batch", "none"))))


def beside_test(epochs: pd.DataFrame) -> pd.DataFrame:
    """Each published test accuracy beside ours: learning_rate, norm, test_accuracy, and columns as in `beside`."""
    printed = published_test()
    rows = [(rate, norm, printed.loc[rate, norm]) for rate in CHAIN for norm in ARMS]
    table = pd.DataFrame(rows, columns=["learning_rate", "norm", "test_accuracy"])
    last = epochs[epochs.epoch == epochs.epoch.max()]
    _add(table, "test_accuracy", [_rows(last, row.learning_rate, row.norm).test_accuracy for row in table.itertuples()])
    return table


def _add(table: pd.DataFrame, column: str, ours: list[pd.Series]) -> None:
    """Adds mean, prediction interval and whether the published figure lies in it, as it was printed."""
    bands = np.array([_band(values.dropna().to_numpy(), error=column.endswith("accuracy")) for values in ours])
    table[[f"{column}_{name}" for name in ("mean", "low", "high")]] = bands
    low, high = table[f"{column}_low"] - ROUNDING, table[f"{column}_high"] + ROUNDING
    table[f"{column}_inside"] = table[column].between(low, high)


def _band(values: np.ndarray, error: bool) -> tuple[float, float, float]:
    """Mean, and the ends of the prediction interval; `error`: of the logarithm of what accuracies lack to 1."""
    if not len(values):
        return np.nan, np.nan, np.nan
    band = prediction_interval(np.log(np.maximum(1 - values, 1e-6) if error else values))
    low, high = np.exp(band.low), np.exp(band.high)
    return (values.mean(), 1 - high, 1 - low) if error else (values.mean(), low, high)


def first_losses(chain: Results, fresh: Results) -> pd.DataFrame:
    """Training loss of the first epoch at each rate that was also run afresh, in medians over the seeds of the replay.

    Returns:
        Columns learning_rate, norm, published, replayed, fresh.
    """
    table, rows = published().query("epoch == 1").set_index(["learning_rate", "norm"]).train_loss, []
    for rate in CHAIN:
        for norm in _shared(chain, fresh, rate):
            values = (results.values("train_loss_first", rate)[norm] for results in (chain, fresh))
            medians = [v.loc[: chain.study.seeds - 1].median() for v in values]  # both of the seeds of the chain
            rows.append((rate, norm, table[rate, norm], *medians))
    return pd.DataFrame(rows, columns=["learning_rate", "norm", "published", "replayed", "fresh"])


def _shared(chain: Results, fresh: Results, rate: float) -> list[str]:
    """The arms that both have at a rate."""
    arms = {arm.name for arm in fresh.study.arms}
    return [arm.name for arm in chain.study.arms if arm.name in arms] if rate in fresh.rates else []


def effects(fresh: Results, chain: Results, outcome: str) -> pd.DataFrame:
    """What moves an outcome from the chain's first rate to each later one: the rate itself, or having been trained before.

    The chain's change is the sum of the two, seed by seed: of a fresh run at the later rate to one at the first rate (`rate`),
    and of the chain at the later rate to a fresh run there (`order`).

    Returns:
        A row for each arm and later rate that both have: norm, learning_rate, and `Interval`s chain, rate and order over seeds.
    """
    found = [(norm, rate) for norm in chain.study.factors["norm"] for rate in CHAIN[1:]]
    found = [(norm, rate) for norm, rate in found if norm in _shared(chain, fresh, rate) and CHAIN[0] in fresh.rates]
    rows = []
    for norm, rate in found:
        first, later, chained = (
            results.values(outcome, at)[norm].reindex(range(chain.study.seeds))
            for results, at in ((fresh, CHAIN[0]), (fresh, rate), (chain, rate))
        )
        parts = (chained - first, later - first, chained - later)
        rows.append((norm, rate, *(mean_difference(part, len(found)) for part in parts)))
    return pd.DataFrame(rows, columns=["norm", "learning_rate", "chain", "rate", "order"])
