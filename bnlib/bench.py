"""`make bench`: how fast `fit` trains, as `make report` runs it, beside the plain loop, the two in turn."""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.datasets.mnist import MNIST
from tqdm import tqdm

from bnlib import UserError, data, models, parameters, paths, plain, provenance
from bnlib.config import RunConfig
from bnlib.data import Data, Split
from bnlib.runs import resolve_device
from bnlib.training import fit
from bnlib.words import ARMS

REPEATS = 5
STEPS = 60  # batches of each arm and loop in each repeat, after a warm-up
WARM_UP = 10
BATCH_SIZE = 100
MATRIX = 1536  # rows and columns of the matrices whose product gives the peak


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
    with joblib.Parallel(workers) as parallel:

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
    torch.set_num_threads(1)
    a = torch.rand(MATRIX, MATRIX, dtype=torch.bfloat16 if precision == "bf16" else torch.float32)
    seconds = []
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
    table = rates[rates.loop != "peak"].pivot(index="repeat", columns=["loop", "norm"], values="rate")
    peak = rates[rates.loop == "peak"].set_index("repeat").rate
    work = {norm: operations(norm) for norm in ARMS}
    rows = {}
    for name, norms in ({norm: [norm] for norm in ARMS} | {"both": list(ARMS)}).items():
        # Seconds add up, rates do not: with as many images of each arm the rate of both is their harmonic mean.
        rate = {loop: len(norms) / (1 / table[loop][norms]).sum(axis=1) for loop in ("plain", "fit")}
        ratio = rate["fit"] / rate["plain"]
        share = rate["fit"] * np.mean([work[norm] for norm in norms]) / peak
        medians = {"plain": rate["plain"].median(), "fit": rate["fit"].median(), "ratio": ratio.median()}
        rows[name] = medians | {"least": ratio.min(), "most": ratio.max(), "share": share.median()}
    return pd.DataFrame.from_dict(rows, orient="index")


def text(table: pd.DataFrame) -> str:
    """The summary as a table for a terminal."""
    labels = ARMS | {"both": "both arms together"}
    lines = [f"{'':20}{'plain':>10}{'fit':>10}{'ratio':>8}  {'least to most':15}{'of the peak':>12}"]
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


def main() -> int:
    """`python -m bnlib.bench`; PRECISION, DEVICE, WORKERS, DATA_DIR and REPEATS as variables; returns the exit status."""
    try:
        asked, workers = parameters.read(), parameters.worker_count()
        repeats = int(os.environ.get("REPEATS", REPEATS))
        device = resolve_device(asked.device)
        with tempfile.TemporaryDirectory(prefix="bnlib-") as folder:
            try:
                images, what = plain.images(paths.data()), "MNIST"
            except (RuntimeError, ValueError):
                _random_images(Path(folder))
                images, what = plain.images(Path(folder)), "random images of MNIST's shape"
            shared = {"dataset": "mnist", "norm": "none", "learning_rate": 0.001, "seed": 0, "batch_size": BATCH_SIZE}
            config = RunConfig(**shared, epochs=2, precision=asked.precision, device=device)
            print(f"{provenance.cpu()}, {torch.backends.cpu.get_cpu_capability()}, torch {torch.__version__}; {what}")
            print(f"plain: the original's loop, fp32, {torch.get_num_threads()} threads")
            print(f"fit: {workers} runs at once, {asked.precision}, {device}; images per second, batches of {BATCH_SIZE}")
            rates = measure(config, images, workers, repeats)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(text(summary(rates)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
