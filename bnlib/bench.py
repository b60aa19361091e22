"""`make bench`: how fast `fit` trains, as `make report` runs it, beside the plain loop, the two in turn."""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import joblib
import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.datasets.mnist import MNIST
from tqdm import tqdm

from bnlib import UserError, commands, data, devices, files, models, parameters, paths, plain, store
from bnlib.config import RunConfig
from bnlib.data import Data, Split
from bnlib.training import exact_arithmetic, fit
from bnlib.words import ARMS, plural

REPEATS = 5
STEPS = 60  # batches of each arm and loop in each repeat, after a warm-up
WARM_UP = 10
BATCH_SIZE = 100
MATRIX = 1536  # rows and columns of the matrices whose product gives the peak


class Benchmark(NamedTuple):
    """What `measure` found, and on what: names and values as text."""

    rates: pd.DataFrame
    facts: dict[str, str]


def keep(benchmark: Benchmark) -> None:
    """Writes the benchmark where the reports look for it."""
    rates = benchmark.rates.to_dict(orient="records")
    files.write(paths.benchmark(), json.dumps({"facts": benchmark.facts, "rates": rates}, indent=1) + "\n")


def kept() -> Benchmark | None:
    """The benchmark that was kept; None where there is none, or it was of other training code.

    Raises:
        UserError: the file is damaged.
    """
    path = paths.benchmark()
    try:
        said = json.loads(path.read_text())
        found = Benchmark(pd.DataFrame(said["rates"]), said["facts"])
        return found if found.facts["training code"] == store.SOURCE else None
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged; `make bench KEEP=1` makes it again, or delete it") from error


def measure(config: RunConfig, images: MNIST, workers: int, repeats: int) -> pd.DataFrame:
    """Times both loops for both arms in turn, `repeats` times.

    Args:
        config: precision, device and batch size of `fit`; the plain loop is fp32 on the CPU, whatever they are.
        images: for the plain loop; `fit` gets the first of the same ones.
        workers: processes that call `fit` at once.

    Returns:
        Columns repeat, norm, loop (`plain`, `fit` or `peak`) and rate: images per second, or for `peak` the
        floating-point operations per second of one thread for each worker in products of matrices.
    """
    configs = {norm: config.model_copy(update={"norm": norm}) for norm in ARMS}
    few = _head(images, STEPS * config.batch_size)
    rows = []
    with joblib.Parallel(workers, batch_size=1, pre_dispatch="all") as parallel:  # one for each worker, however short

        def everywhere(task: Callable, *arguments) -> float:
            return sum(parallel(joblib.delayed(task)(*arguments) for _ in range(workers)))

        everywhere(_fit, config.model_copy(update={"epochs": 1}), few)  # processes start, libraries load
        for repeat in tqdm(range(repeats), unit="repeat", disable=None):
            rows.append((repeat, "", "peak", everywhere(_peak, config.precision)))
            for norm in ARMS:
                rows.append((repeat, norm, "plain", _plain(norm, images, config)))
                rows.append((repeat, norm, "fit", everywhere(_fit, configs[norm], few)))
    return pd.DataFrame(rows, columns=["repeat", "norm", "loop", "rate"])


def _plain(norm: str, images: MNIST, config: RunConfig) -> float:
    losses = plain.losses(
        plain.network(norm, seed=0), plain.loader(images, config.batch_size), config.learning_rate, WARM_UP + STEPS
    )
    for _ in range(WARM_UP):
        next(losses)
    began = time.perf_counter()
    steps = len(list(losses))
    return steps * config.batch_size / (time.perf_counter() - began)


def _fit(config: RunConfig, few: Data) -> float:
    *_, last = fit(config, few)
    return len(few.train) / last.epochs[-1].seconds


def _peak(precision: str) -> float:
    a = torch.rand(MATRIX, MATRIX).to(torch.bfloat16 if precision == "bf16" else torch.float32)
    seconds = []
    with exact_arithmetic():  # one thread
        for _ in range(8):
            began = time.perf_counter()
            a @ a
            seconds.append(time.perf_counter() - began)
    return 2 * MATRIX**3 / np.median(seconds)


def _head(images: MNIST, n: int) -> Data:
    # The plain loop takes its images from all 60,000; `fit` goes through whole splits, so it gets a short one.
    train = Split(data.normalise(images.data[:n].float().div(255)), images.targets[:n])
    return Data("mnist", train, Split(train.images[:100], train.labels[:100]), checksum="")


def operations(norm: str) -> int:
    """Floating-point operations of matrix products and convolutions in a training step, for each image."""
    model, batch = models.build(norm, seed=0), 2
    with FlopCounterMode(display=False) as counter:
        nn.functional.cross_entropy(model(torch.zeros(batch, 1, 28, 28)), torch.zeros(batch, dtype=torch.int64)).backward()
    return counter.get_total_flops() // batch


def summary(rates: pd.DataFrame) -> pd.DataFrame:
    """For each arm, and for both together (as many images of each): what `measure` found, over its repeats.

    Returns:
        Index `none`, `batch`, `both`; columns plain and fit (images per second, medians), ratio, least and most
        (fit over plain, repeat by repeat: median, minimum, maximum) and share (of the peak that fit reached, median).
    """
    table = seconds(rates)
    peak = rates[rates.loop == "peak"].set_index("repeat").rate
    work = {norm: operations(norm) for norm in ARMS}
    rows = {}
    for name, norms in ({norm: [norm] for norm in ARMS} | {"both": list(ARMS)}).items():
        rate = {loop: len(norms) / table[loop][norms].sum(axis=1) for loop in ("plain", "fit")}
        ratio = rate["fit"] / rate["plain"]
        share = rate["fit"] * np.mean([work[norm] for norm in norms]) / peak
        medians = {"plain": rate["plain"].median(), "fit": rate["fit"].median(), "ratio": ratio.median()}
        rows[name] = medians | {"least": ratio.min(), "most": ratio.max(), "share": share.median()}
    return pd.DataFrame.from_dict(rows, orient="index")


def seconds(rates: pd.DataFrame) -> pd.DataFrame:
    """Seconds for an image, which add up where rates do not: a row for each repeat, columns (loop, norm)."""
    return 1 / rates[rates.loop != "peak"].pivot(index="repeat", columns=["loop", "norm"], values="rate")


def text(table: pd.DataFrame) -> str:
    """The summary as a table for a terminal."""
    labels = ARMS | {"both": "both arms together"}
    lines = [f"{'images per second':20}{'plain':>10}{'fit':>10}{'ratio':>8}  {'least to most':15}{'of the peak':>12}"]
    for name, row in table.iterrows():
        spread = f"{row.least:.2f} to {row.most:.2f}"
        lines.append(f"{labels[name]:20}{row.plain:10,.0f}{row.fit:10,.0f}{row.ratio:8.2f}  {spread:15}{row.share:12.0%}")
    return "\n".join(lines)


def _random_images(folder: Path) -> None:
    """Writes random images of MNIST's shape where torchvision looks for MNIST."""
    rng, raw = np.random.default_rng(0), folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for split, n in (("train", 60_000), ("t10k", 100)):
        images, labels = rng.integers(0, 256, (n, 28, 28), np.uint8), rng.integers(0, 10, n, np.uint8)
        head = np.array([0x803, n, 28, 28], ">i4").tobytes()
        (raw / f"{split}-images-idx3-ubyte").write_bytes(head + images.tobytes())
        (raw / f"{split}-labels-idx1-ubyte").write_bytes(np.array([0x801, n], ">i4").tobytes() + labels.tobytes())


def _facts(config: RunConfig, images: str, workers: int) -> dict[str, str]:
    here = store.environment(config.device)
    return {name: here[name] for name in ("training code", "torch", "processor", "instruction set")} | {
        "images": images,
        "batch size": str(config.batch_size),
        "precision": config.precision,
        "device": config.device,
        "accelerator": here["accelerator"],
        "runs at once": str(workers),
        "threads of the plain loop": str(torch.get_num_threads()),
    }


def benchmark() -> Benchmark:
    """Measures with PRECISION, DEVICE, WORKERS, DATA_DIR and REPEATS from the environment, and says what it measures.

    Raises:
        UserError: one of them is not what it should be.
    """
    asked, workers, repeats = parameters.read(), parameters.worker_count(), parameters.count("REPEATS", REPEATS)
    with tempfile.TemporaryDirectory(prefix="bnlib-") as folder:
        try:
            images, what = plain.images(paths.data()), "MNIST"
        except (RuntimeError, ValueError):
            _random_images(Path(folder))
            images, what = plain.images(Path(folder)), "random, of MNIST's shape"
        shared = {"dataset": "mnist", "norm": "none", "learning_rate": 0.001, "seed": 0, "batch_size": BATCH_SIZE}
        config = RunConfig(**shared, epochs=2, precision=asked.precision, device=devices.resolve(asked.device))
        if warning := devices.warning(config.device, config.precision):
            print(f"WARNING: {warning}", file=sys.stderr)
        facts = _facts(config, what, workers)
        print(f"{facts['processor']}, {facts['instruction set']}, torch {facts['torch']}; images: {what}")
        print(f"plain: the original's loop, fp32 on the CPU, {plural(torch.get_num_threads(), 'thread')}")
        print(f"fit: {plural(workers, 'run')} at once, {config.precision}, {config.device}", flush=True)
        return Benchmark(measure(config, images, workers, repeats), facts)


def main() -> int:
    """`python -m bnlib.bench`, with KEEP=1 to keep what it finds; returns the exit status."""

    def task() -> bool:
        measured = benchmark()
        print(text(summary(measured.rates)))
        if measured.facts["device"] != "cpu":
            print("the peak is the processor's, not the accelerator's")
        if commands.keeps():
            keep(measured)
            print(f"kept in {paths.benchmark()}; `make report` states it")
        return True

    return commands.run(task, "interrupted")


if __name__ == "__main__":
    sys.exit(main())
