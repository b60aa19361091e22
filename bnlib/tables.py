"""The tables, as HTML with captions and header cells that screen readers follow."""

from html import escape
from typing import NamedTuple

import pandas as pd

from bnlib import bench, lost_runs, models, outcomes
from bnlib.bench import Benchmark
from bnlib.config import rate_name
from bnlib.data import CLASSES, Data
from bnlib.outcomes import Comparison, Outcome
from bnlib.statistics import Interval
from bnlib.style import ARMS


class Table(NamedTuple):
    """A table under its caption; the first cell of each row is its header."""

    name: str
    caption: str
    columns: list[str]
    rows: list[list[str]]

    def __repr__(self) -> str:
        return f"Table: {self.caption}"

    def _repr_html_(self) -> str:
        head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in self.columns)
        body = "".join(
            f'<tr><th scope="row">{escape(row[0])}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in row[1:])}</tr>'
            for row in self.rows
        )
        label = f"cap-{escape(self.name)}"
        # A wide table scrolls in a frame of its own, which the keyboard can reach.
        return (
            f'<figure id="tab-{escape(self.name)}" class="table"><figcaption id="{label}">{escape(self.caption)}</figcaption>'
            f'<div class="scroll" role="region" tabindex="0" aria-labelledby="{label}">'
            f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div></figure>"
        )


def interval(outcome: Outcome, value: Interval, signed: bool = False) -> str:
    """`98.90` and, on a line of its own, `[98.71, 99.09]`; only the estimate where there is no interval."""
    text = outcome.number(value.estimate, signed)
    if not value.bounded:
        return text
    return f"{text}\n[{outcome.number(value.low, signed)}, {outcome.number(value.high, signed)}]"


def comparison(comparisons: list[Comparison]) -> Table:
    """The original's table at one learning rate, with a mean and interval in each place and the paired difference."""
    first = comparisons[0]
    rows = [
        [
            f"{c.outcome.title(c.epochs)}, {c.outcome.unit}",
            interval(c.outcome, c.without),
            interval(c.outcome, c.with_norm),
            interval(c.outcome, c.difference, signed=True),
            str(c.difference.n),
        ]
        for c in comparisons
    ]
    caption = (
        f"Learning rate {rate_name(first.learning_rate)}: mean over seeds with its 95% interval; the difference is paired "
        "by seed, accuracies in percentage points. A mean is over the runs that stayed finite, a difference over the pairs in "
        "which both did, so it need not be the difference of the two means."
    )
    columns = ["outcome", *(arm.label for arm in ARMS.values()), "difference, with − without", "pairs"]
    return Table(f"rate-{rate_name(first.learning_rate)}", caption, columns, rows)


def across(epochs: pd.DataFrame, outcome: Outcome) -> Table:
    """One outcome at every learning rate, with the runs that diverged."""
    lost = lost_runs.every(epochs)
    rows = []
    for rate in outcomes.rates(epochs):
        c = outcomes.compare(epochs, outcome, rate)
        count = [((lost.learning_rate == rate) & (lost.norm == norm)).sum() for norm in ARMS]
        rows.append(
            [
                rate_name(rate),
                interval(outcome, c.without),
                interval(outcome, c.with_norm),
                interval(outcome, c.difference, signed=True),
                *(f"{n} of {c.seeds}" for n in count),
            ]
        )
    title = outcome.title(int(epochs.epoch.max()))
    caption = (
        f"{title.capitalize()} ({outcome.unit}) at each learning rate: mean over seeds with its 95% interval, and the "
        "paired difference. The last columns count the runs that diverged or did not learn (test accuracy below "
        f"{lost_runs.LEARNED:.0%})."
    )
    columns = [
        "learning rate",
        *(arm.label for arm in ARMS.values()),
        "difference, with − without",
        "lost without",
        "lost with",
    ]
    return Table(f"across-{outcome.column.replace('_', '-')}", caption, columns, rows)


def networks() -> Table:
    """The two arms side by side, layer by layer."""
    tables = {norm: {row[0]: row for row in models.layer_table(norm)} for norm in ARMS}
    rows = []
    for name, kind, shape, _ in tables["batch"].values():
        counts = [f"{tables[norm][name][3]:,}" if name in tables[norm] else "–" for norm in ARMS]
        rows.append([name, kind, " × ".join(map(str, shape)), *counts])
    totals = [f"{models.count_parameters(models.build(norm, 0)):,}" for norm in ARMS]
    rows.append(["in all", "", "", *totals])
    columns = ["layer", "kind", "output for one image", *(f"parameters {arm.label}" for arm in ARMS.values())]
    return Table("networks", "The two networks, from the image down to the ten logits; nothing else differs.", columns, rows)


def splits(data: Data) -> Table:
    """How many images of each class the two splits hold."""
    counts = [part.labels.bincount(minlength=10).tolist() for part in (data.train, data.test)]
    rows = [[name, *map("{:,}".format, n), f"{sum(n):,}"] for name, n in zip(("training", "test"), counts, strict=True)]
    made = "The 8 × 8 digits were enlarged bilinearly to 28 × 28 and split once, stratified by class. " * (
        data.name == "digits"
    )
    caption = (
        f"Images of each class in the two splits. {made}One test image is {100 / len(data.test):.2f} percentage points of "
        "test accuracy."
    )
    return Table("splits", caption, ["split", *CLASSES[data.name], "in all"], rows)


def cost(benchmark: Benchmark | None) -> Table:
    """What each arm has to hold and to compute and, where a benchmark was kept, how fast it trains."""
    columns = ["arm", "parameters", "million operations for an image"]
    columns += ["images per second, plain loop", "images per second, this one"] if benchmark else []
    rows = []
    for norm, arm in ARMS.items():
        row = [arm.label, f"{models.count_parameters(models.build(norm, 0)):,}", f"{bench.operations(norm) / 1e6:.1f}"]
        if benchmark:
            table = bench.summary(benchmark.rates).loc[norm]
            row += [f"{table.plain:,.0f}", f"{table.fit:,.0f}"]
        rows.append(row)
    caption = (
        "What each arm costs. Operations are those of convolutions and matrix products in a training step, an addition and a "
        "multiplication each counted as one; batch norm's own are not among them."
    )
    return Table("cost", caption, columns, rows)


def facts(provenance: dict[str, str]) -> Table:
    """What the numbers hang on: versions, machine, seeds, checksums."""
    return Table("provenance", "What the runs were made with.", ["what", "value"], [[k, v] for k, v in provenance.items()])
