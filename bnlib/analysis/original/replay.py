"""The original, replayed: one pair of networks trained on from rate to rate, beside the figures that the original printed."""

from collections.abc import Iterator
from importlib import resources

import numpy as np
import pandas as pd
from scipy import special

from bnlib.analysis.results import Results
from bnlib.analysis.statistics import mean_difference, prediction_interval
from bnlib.experiment.config import CHAIN
from bnlib.experiment.outcomes import OUTCOMES, failed

ARMS = {"none": "without", "batch": "with"}  # the original's
ROUNDING = 0.00005  # half a unit of the last place printed: losses to 4 decimals, accuracies to 2 of a percentage
FEWEST = 5  # chains from which one more is predicted: of fewer the interval says next to nothing
LEAST = 1e-6  # how near an accuracy comes to 0 or 1 where its odds are taken: that of less than one image
SHOWN = ("train_loss_first", "train_loss_last", "test_accuracy_last")


def published() -> pd.DataFrame:
    """The original's training log: position, learning_rate, norm, epoch, train_loss, train_accuracy (a fraction); 60 rows."""
    table = _read("epochs.csv")
    return table.assign(train_accuracy=table.pop("train_accuracy_percent") / 100)


def published_test() -> pd.DataFrame:
    """The original's test accuracies, fractions: a row for each learning rate, columns `none` and `batch`."""
    table = _read("test.csv")
    return table.pivot(index="learning_rate", columns="norm", values="test_accuracy_percent")[list(ARMS)] / 100


def published_change() -> pd.Series:
    """How much more the original's arms differ in test accuracy at its highest rate than at each lower one, fractions."""
    table = published_test()
    gaps = table["batch"] - table["none"]
    return gaps[max(CHAIN)] - gaps.drop(max(CHAIN))


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
        original should lie 19 times in 20; and whether it does, all of runs that did not fail at that rate. The interval is
        taken of logarithms, of the loss and of an accuracy's odds, so that it keeps to possible values; of fewer than `FEWEST`
        runs there is none, and NA in _inside.
    """
    table, epochs = published(), _that_learned(epochs)
    table = table[table.epoch <= epochs.epoch.max()].reset_index(drop=True)
    at = ["learning_rate", "norm", "epoch"]
    nothing, its = epochs[:0], dict(iter(epochs.groupby(at)))
    ours = [its.get(where, nothing) for where in table[at].itertuples(index=False, name=None)]
    for column in ("train_loss", "train_accuracy"):
        _add(table, column, [rows[column] for rows in ours])
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
    epochs = _that_learned(epochs)
    last = epochs[epochs.epoch == epochs.epoch.max()]
    _add(table, "test_accuracy", [_rows(last, row.learning_rate, row.norm).test_accuracy for row in table.itertuples()])
    return table


def _that_learned(epochs: pd.DataFrame) -> pd.DataFrame:
    """The records without those of a chain at a rate at which it failed."""
    runs = epochs.sort_values("epoch", kind="stable").groupby(["learning_rate", "norm", "seed"])
    lost = {at for at, run in runs if failed(run)}
    return epochs[[at not in lost for at in zip(epochs.learning_rate, epochs.norm, epochs.seed, strict=True)]]


def _add(table: pd.DataFrame, column: str, ours: list[pd.Series]) -> None:
    """Adds mean, prediction interval and whether the published figure lies in it, as it was printed."""
    bands = [_band(values.dropna().to_numpy(), is_accuracy=column.endswith("accuracy")) for values in ours]
    table[[f"{column}_{name}" for name in ("mean", "low", "high")]] = np.array(bands)
    low, high = table[f"{column}_low"] - ROUNDING, table[f"{column}_high"] + ROUNDING
    table[f"{column}_inside"] = table[column].between(low, high).astype("boolean").mask(low.isna())


def _band(values: np.ndarray, is_accuracy: bool) -> tuple[float, float, float]:
    """Mean, and the ends of the prediction interval: of the logarithm of a loss, or of an accuracy's odds."""
    if len(values) < FEWEST:
        return values.mean() if len(values) else np.nan, np.nan, np.nan
    band = prediction_interval(special.logit(np.clip(values, LEAST, 1 - LEAST)) if is_accuracy else np.log(values))
    back = special.expit if is_accuracy else np.exp
    return values.mean(), float(back(band.low)), float(back(band.high))


def first_losses(chain: Results, fresh: Results) -> pd.DataFrame:
    """Training loss of the first epoch at each rate that was also run afresh: medians of the replay's seeds that learned.

    Returns:
        Columns learning_rate, norm, published, replayed, fresh.
    """
    table, rows = published().query("epoch == 1").set_index(["learning_rate", "norm"]).train_loss, []
    for rate in CHAIN:
        for norm in _shared(chain, fresh, rate):
            values = (results.learned("train_loss_first", rate)[norm] for results in (chain, fresh))
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
    and of the chain at the later rate to a fresh run there (`order`); of seeds whose three runs all learned.

    Returns:
        A row for each arm and later rate that both have: norm, learning_rate, and `Interval`s chain, rate and order over seeds.
    """
    found = [(norm, rate) for norm in chain.study.factors["norm"] for rate in CHAIN[1:]]
    found = [(norm, rate) for norm, rate in found if norm in _shared(chain, fresh, rate) and CHAIN[0] in fresh.rates]
    rows = []
    for norm, rate in found:
        first, later, chained = (
            results.learned(outcome, at)[norm].reindex(chain.seeds)
            for results, at in ((fresh, CHAIN[0]), (fresh, rate), (chain, rate))
        )
        width, whole = OUTCOMES[outcome].width, chained + first + later
        parts = (part.mask(whole.isna()) for part in (chained - first, later - first, chained - later))
        rows.append((norm, rate, *(mean_difference(part, len(found)).within(-width, width) for part in parts)))
    return pd.DataFrame(rows, columns=["norm", "learning_rate", "chain", "rate", "order"])
