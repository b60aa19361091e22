"""How fast training is beside the original's loop: what `make bench` measured, kept and read off."""

import json
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from bnlib import UserError
from bnlib.analysis.statistics import Spread, spread
from bnlib.system import files, paths


class Benchmark(NamedTuple):
    """What was measured, and on what.

    `rates` has the columns repeat, norm, loop (`plain`, `fit` or `peak`) and rate: images per second, or for `peak` the
    floating-point operations per second of one thread for each worker in products of matrices. `operations` are those of a
    training step for an image, by norm; `facts` are text by name.
    """

    rates: pd.DataFrame
    operations: dict[str, int]
    facts: dict[str, str]

    @property
    def norms(self) -> list[str]:
        return list(self.operations)


def keep(benchmark: Benchmark) -> None:
    """Writes the benchmark where the reports look for it."""
    said = benchmark._asdict() | {"rates": benchmark.rates.to_dict(orient="records")}
    files.write(paths.benchmark(), json.dumps(said, indent=1) + "\n")


def kept(codes: Collection[str]) -> Benchmark | None:
    """The benchmark that was kept; None where there is none, or it was of other training code than the runs'.

    Args:
        codes: the fingerprints of the code of the runs (`runs.csv`).

    Raises:
        UserError: the file is damaged.
    """
    path = paths.benchmark()
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        if not set(said["facts"]["training code"].split()) & set(codes):
            return None
        return Benchmark(pd.DataFrame(said["rates"]), said["operations"], said["facts"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is damaged; `make bench KEEP=1` makes it again, or delete it") from error


def summary(benchmark: Benchmark) -> pd.DataFrame:
    """For each arm, and for all together (as many images of each): what was measured, over its repeats.

    Returns:
        Index the norms, then `all`; columns plain and fit (images per second, medians), ratio, least and most
        (fit over plain, repeat by repeat: median, minimum, maximum) and share (of the peak that fit reached, median).
    """
    table, rows = seconds(benchmark.rates), {}
    peak = benchmark.rates[benchmark.rates.loop == "peak"].set_index("repeat").rate
    for name, norms in ({norm: [norm] for norm in benchmark.norms} | {"all": benchmark.norms}).items():
        rate = {loop: len(norms) / table[loop][norms].sum(axis=1) for loop in ("plain", "fit")}
        ratio = rate["fit"] / rate["plain"]
        share = rate["fit"] * np.mean([benchmark.operations[norm] for norm in norms]) / peak
        medians = {"plain": rate["plain"].median(), "fit": rate["fit"].median(), "ratio": ratio.median()}
        rows[name] = medians | {"least": ratio.min(), "most": ratio.max(), "share": share.median()}
    return pd.DataFrame.from_dict(rows, orient="index")


def seconds(rates: pd.DataFrame) -> pd.DataFrame:
    """Seconds for an image, which add up where rates do not: a row for each repeat, columns (loop, norm)."""
    return 1 / rates[rates.loop != "peak"].pivot(index="repeat", columns=["loop", "norm"], values="rate")


def longer(benchmark: Benchmark | None, norms: Sequence[str]) -> dict[str, Spread]:
    """How many times as long an image takes as with the first of `norms`, repeat by repeat; empty where it is not known."""
    if benchmark is None or not set(norms) <= set(benchmark.norms):
        return {}
    fit = seconds(benchmark.rates)["fit"]
    return {norm: spread(fit[norm] / fit[norms[0]]) for norm in norms}
