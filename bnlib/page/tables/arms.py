"""The tables of the arms and of what they ran on: layers, outcomes, cost; images, versions, machines."""

from collections.abc import Mapping, Sequence

import pandas as pd

from bnlib.analysis import benchmark as benchmarks
from bnlib.analysis import contrasts
from bnlib.analysis.benchmark import Benchmark
from bnlib.analysis.results import OWN, Results
from bnlib.experiment.config import CLASSES, rate_name
from bnlib.experiment.outcomes import OUTCOMES, TABLE
from bnlib.experiment.study import Study
from bnlib.page.tables.table import Table, compared, heads, interval, long_columns, spread
from bnlib.page.words import minus


def comparison(results: Results, learning_rate: float) -> Table:
    """The original's table at one learning rate, with median and range in each place, and the paired difference."""
    study, rows = results.study, []
    # An outcome that is the same as another, as in runs of one epoch, is there once.
    named = {OUTCOMES[name].title(study.epochs): name for name in TABLE if name in study.outcomes}
    for title, name in named.items():
        for arm, head in heads(study, f"{title}, {OUTCOMES[name].unit}").items():
            pairs = results.one(name, arm, learning_rate).n
            rows.append([head, *compared(results, name, learning_rate, arm), str(pairs)])
    return Table(
        f"rate-{rate_name(learning_rate)}",
        f"Learning rate {rate_name(learning_rate)}",
        ["outcome", *long_columns(study), "pairs"],
        rows,
    )


def best_rates(results: Results) -> Table:
    """Each arm at the rate at which its final training loss is lowest."""
    study, loss, accuracy = results.study, "train_loss_last", "test_accuracy_last"
    best, rows = contrasts.best_rates(results), []
    for arm in study.arms:
        told = [spread(OUTCOMES[name], results.spread(name, arm.name, best[arm.name])) for name in (loss, accuracy)]
        rows.append([arm.label, rate_name(best[arm.name]), *told])
    for arm in results.others:
        difference = results.one(accuracy, arm.name, kind=OWN).difference
        what = minus(study) if len(results.others) == 1 else arm.label
        rows.append([f"difference, {what}", "", "", interval(OUTCOMES[accuracy], difference, signed=True)])
    return Table("best", "", ["arm", "its best rate", "training loss, nats", "test accuracy, %"], rows)


def networks(networks: pd.DataFrame, study: Study) -> Table:
    """The networks of all arms side by side, layer by layer.

    Args:
        networks: columns arm, layer, kind, output and parameters, the layers of each arm in their order.
    """
    of_arm = {arm.name: networks[networks.arm == arm.name] for arm in study.arms}
    layers, rows = pd.concat(of_arm.values()), []
    for layer in _merged([list(table.layer) for table in of_arm.values()]):
        there = layers[layers.layer == layer]
        parameters = {row.arm: f"{row.parameters:,}" for row in there.itertuples()}
        kinds = " or ".join(dict.fromkeys(there.kind))
        rows.append([layer, kinds, str(there.output.iloc[0]), *(parameters.get(arm, "–") for arm in of_arm)])
    rows.append(["in all", "", "", *(f"{table.parameters.sum():,}" for table in of_arm.values())])
    named = ["layer", "kind", "output for one image", *(f"parameters {arm.label}" for arm in study.arms)]
    return Table("networks", "", named, rows)


def _merged(sequences: Sequence[Sequence[str]]) -> list[str]:
    """All that is in the sequences, once and in their order."""
    merged: list[str] = []
    for sequence in sequences:
        after = 0
        for item in sequence:
            if item not in merged:
                merged.insert(after, item)
            after = merged.index(item) + 1
    return merged


def splits(counts: Mapping[str, Sequence[int]], dataset: str) -> Table:
    """How many images of each class each split holds: `counts` has ten numbers for `training` and for `test`."""
    rows = [[name, *map("{:,}".format, n), f"{sum(n):,}"] for name, n in counts.items()]
    return Table("splits", "Images of each class in the two splits", ["split", *CLASSES[dataset], "in all"], rows)


def cost(benchmark: Benchmark | None, networks: pd.DataFrame, study: Study) -> Table:
    """What each arm has to hold and to compute and, where a benchmark was kept, how fast it trains.

    Args:
        networks: columns arm, parameters (of each layer) and operations (of the whole network).
    """
    named = ["arm", "parameters", "million operations for an image"]
    named += ["images per second, plain loop", "images per second, this one"] if benchmark else []
    measured, rows = benchmarks.summary(benchmark) if benchmark else None, []
    for arm in study.arms:
        layers = networks[networks.arm == arm.name]
        row = [arm.label, f"{layers.parameters.sum():,}", f"{layers.operations.iloc[0] / 1e6:.1f}"]
        if measured is not None:
            known = arm.name in benchmark.norms
            row += [f"{measured.loc[arm.name, loop]:,.0f}" if known else "–" for loop in ("plain", "fit")]
        rows.append(row)
    return Table("cost", "", named, rows)


def facts(provenance: Mapping[str, str]) -> Table:
    """What the numbers hang on: versions, machine, seeds, checksums."""
    return Table("provenance", "What the runs were made with", ["what", "value"], [[k, v] for k, v in provenance.items()])


def machines(runs: pd.DataFrame) -> Table:
    """How many runs were made on which machine.

    Args:
        runs: what made each, as `runs.csv` has it.
    """
    by = ["processor", "instruction set", "accelerator", "torch"]
    rows = [[*map(str, kind), f"{len(its):,}"] for kind, its in runs.groupby(by, sort=False)]
    return Table("machines", "Where the runs were made", [*by, "runs"], rows)
