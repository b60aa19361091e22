"""The figures of single runs: example images, curves along training, and how soon a threshold is reached."""

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from bnlib.analysis import thresholds
from bnlib.analysis.results import Results
from bnlib.experiment.config import CLASSES, rate_name
from bnlib.experiment.outcomes import UNTIL
from bnlib.page.figures.picture import describe
from bnlib.page.figures.rates import half_an_image, in_percent, steps_of_log
from bnlib.page.style import isolated, label_lines, legend, looks


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
def curves(results: Results, epochs: pd.DataFrame, column: str, learning_rate: float, ax: Axes) -> Axes:
    """A column of the records against the epoch: a thin line for each run, a thick one for the median of those that learned.

    Of an accuracy the error is drawn. Runs that failed are thin lines too, and in no median.

    Args:
        epochs: records of the study, as `Study.of` gives them.

    Raises:
        ValueError: there are none at this rate.
    """
    rows, share, study = epochs[epochs.learning_rate == learning_rate], column.endswith("accuracy"), results.study
    if rows.empty:
        raise ValueError(f"no records at learning rate {learning_rate}")
    ends, told, arms, lost = {}, [], looks(study), results.values("failed", learning_rate)
    for arm, look in arms.items():
        runs = rows[rows.arm == arm].pivot(index="epoch", columns="seed", values=column)
        if runs.empty:
            continue
        runs = in_percent(runs, study.held["dataset"]) if share else runs
        middle = runs.loc[:, ~lost[arm].reindex(runs.columns).fillna(True).astype(bool)].median(axis=1)
        drawn = {"color": look.color, "linestyle": look.linestyle}
        dot = look.marker if len(runs) == 1 or len(arms) > 2 else None  # a single epoch makes no line
        thin = {"linewidth": 0.6 if len(arms) == 2 else 0.35, "alpha": 0.8, "marker": "." if dot else None}
        ax.plot(runs.index, runs, color=look.color, **thin)
        ax.plot(middle.index, middle, **drawn, linewidth=2, marker=dot, markersize=5)
        if middle.notna().any():
            ends[arm] = float(middle.dropna().iloc[-1])
            told.append(f"{look.label} from {middle.dropna().iloc[0]:.3g} to {ends[arm]:.3g}")
    if (rows[column].dropna() > 0).any():
        ax.set_yscale("log")
        steps_of_log(ax.yaxis, half_an_image(study.held["dataset"]) if share else 0)
    name = column.replace("train_", "training ").replace("_", " ")
    title = f"{name.replace('accuracy', 'error')}, {'%' if share else 'nats'}"
    ax.set(xlabel="epoch", ylabel=title, title=f"at {rate_name(learning_rate)}")
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
    if rows.epoch.max() == 1:
        ax.set_xlim(0.5, 1.5)
    label_lines(ax, ends, arms)
    what = f"{title} by epoch at learning rate {rate_name(learning_rate)}, medians of the runs that learned"
    return describe(ax, f"Line chart of {what}: {'; '.join(told) or 'none did'}.")


@isolated()
def survival(results: Results, outcome_name: str, learning_rate: float, ax: Axes) -> Axes:
    """Kaplan-Meier curves: the share of each arm's runs whose test accuracy has not reached a threshold yet.

    Args:
        outcome_name: `epochs_until_` that threshold.
    """
    threshold, given = f"{float(outcome_name.removeprefix(UNTIL)):.1%}", results.study.epochs
    values, told, arms = results.ranked(outcome_name, learning_rate), [], looks(results.study)
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
