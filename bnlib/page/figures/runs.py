"""The figures of single runs: example images, curves along training, and how soon a threshold is reached."""

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from bnlib.analysis import thresholds
from bnlib.analysis.results import Results
from bnlib.analysis.statistics import mean_interval
from bnlib.experiment.config import CLASSES, rate_name
from bnlib.experiment.study import Study
from bnlib.page.figures.picture import describe
from bnlib.page.style import isolated, label_lines, lack, legend, limits, looks
from bnlib.page.words import plural


@isolated()
def examples(images: np.ndarray, labels: np.ndarray, dataset: str, ax: Axes, each: int = 2) -> Axes:
    """The first `each` images (N, 1, 28, 28) of every class, a column for each class."""
    picked = [images[np.flatnonzero(labels == label)[:each], 0].reshape(-1, 28) for label in range(10)]
    with mpl.rc_context({"image.cmap": "gray_r"}):
        ax.imshow(np.hstack(picked), vmin=-1, vmax=1, interpolation="nearest")
    ax.set_xticks(np.arange(10) * 28 + 14, CLASSES[dataset], fontsize=8.5)
    ax.set_yticks([])
    ax.tick_params(length=0)
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    return describe(ax, f"{each * 10} training images, {each} of each class: {', '.join(CLASSES[dataset])}.")


@isolated()
def curves(study: Study, epochs: pd.DataFrame, column: str, learning_rate: float, ax: Axes) -> Axes:
    """A column of the records against the epoch: a thin line for each seed, their mean, a band for its 95% interval.

    Args:
        epochs: records of the study, as `Study.of` gives them.

    Raises:
        ValueError: there are none at this rate.
    """
    rows, share = epochs[epochs.learning_rate == learning_rate], column.endswith("accuracy")
    if rows.empty:
        raise ValueError(f"no records at learning rate {learning_rate}")
    read, ends, seen, arms = lack if share else np.asarray, {}, [], looks(study)
    few = len(arms) == 2
    for arm, look in arms.items():
        runs = rows[rows.arm == arm].pivot(index="epoch", columns="seed", values=column) * (100 if share else 1)
        if runs.empty:
            continue
        means = [mean_interval(values) for values in runs.to_numpy()]
        middle = np.array([m.estimate for m in means])
        drawn = {"color": look.color, "linestyle": look.linestyle}
        dot = "." if (runs.notna().sum() == 1).any() else None  # a single epoch makes no line
        marker = look.marker if dot or not few else None
        ax.plot(runs.index, read(runs), **drawn, linewidth=0.6 if few else 0.35, alpha=0.8, marker=dot)
        ax.plot(runs.index, read(middle), **drawn, linewidth=2, marker=marker, markersize=6 if few else 4)
        band = read([m.low for m in means]), read([m.high for m in means])
        ax.fill_between(runs.index, *band, color=look.color, alpha=0.15, linewidth=0)
        seen.append(read(runs).ravel())
        finite = np.flatnonzero(np.isfinite(middle))
        if len(finite):
            ends[arm] = middle[finite[-1]], middle[finite[0]]
    limits(ax, np.concatenate(seen), share)
    name = column.replace("train_", "training ").replace("_", " ")
    ax.set(xlabel="epoch", ylabel=f"{name}, {'%' if share else 'nats'}")
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
    label_lines(ax, {arm: float(read(last)) for arm, (last, _) in ends.items()}, arms)
    digits = 2 if share else 4
    told = [f"{arms[arm].label} from {first:.{digits}f} to {last:.{digits}f}" for arm, (last, first) in ends.items()]
    what = f"{name} in {'%' if share else 'nats'} by epoch at learning rate {rate_name(learning_rate)}"
    what += f", means over {plural(rows.seed.nunique(), 'seed')}"
    return describe(ax, f"Line chart of {what}: {'; '.join(told) or 'no data'}.")


@isolated()
def survival(results: Results, outcome_name: str, learning_rate: float, ax: Axes) -> Axes:
    """Kaplan-Meier curves: the share of each arm's runs whose test accuracy has not reached a threshold yet.

    Args:
        outcome_name: `epochs_until_` that threshold.
    """
    threshold, given = f"{float(outcome_name.removeprefix('epochs_until_')):.1%}", results.study.epochs
    values, told, arms = results.values(outcome_name, learning_rate), [], looks(results.study)
    for arm, look in arms.items():
        first = thresholds.first_reached(values[arm].dropna(), given)
        if not len(first.epoch):
            continue
        curve = thresholds.kaplan_meier(first)
        x, y = np.append([0, *curve.epochs], given), np.append([1, *curve.share], curve.share[-1])
        ax.plot(x, y, drawstyle="steps-post", color=look.color, linestyle=look.linestyle, linewidth=1.8)
        low, high = (np.append([1, *end], end[-1]) for end in (curve.low, curve.high))
        ax.fill_between(x, low, high, step="post", color=look.color, alpha=0.12, linewidth=0)
        half = f"half of them by epoch {first.median:g}" if np.isfinite(first.median) else "fewer than half"
        told.append(f"{look.label} {first.reached.sum()} of {len(first.epoch)} reached it, {half}")
    ax.set(xlim=(0, given), ylim=(0, 1.02), xlabel="epoch", title=f"{threshold} at {rate_name(learning_rate)}")
    ax.set_ylabel("not there yet")
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    legend(ax, arms)
    what = f"Share of runs below test accuracy {threshold} by epoch at learning rate {rate_name(learning_rate)}"
    return describe(ax, f"{what}: {'; '.join(told)}.")
