"""`make bench`: how fast `fit` trains, as `make report` runs it, beside the plain loop, the two in turn."""

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import torch
from torchvision.datasets.mnist import MNIST
from tqdm import tqdm

from bnlib import UserError, commands, plural
from bnlib.analysis.benchmark import Benchmark, keep, summary
from bnlib.experiment import settings
from bnlib.experiment.config import LEVELS, RunConfig
from bnlib.runs import environment, store
from bnlib.system import download, paths
from bnlib.training import data, hardware, models
from bnlib.training.data import Data, Split
from bnlib.training.loop import fit
from bnlib.training.loops import many, plain

REPEATS = 5
STEPS = 60  # batches of each arm and loop in each repeat, after a warm-up
WARM_UP = 10
BATCH_SIZE = 100
MATRIX = 1536  # rows and columns of the matrices whose product gives the peak


def measure(configs: Sequence[RunConfig], images: MNIST, workers: int, repeats: int) -> pd.DataFrame:
    """Times both loops for each arm in turn, `repeats` times.

    Args:
        configs: an arm each, with precision, device and batch size of `fit`; the plain loop is fp32 on the CPU, whatever they
        are. images: for the plain loop; `fit` gets the first of the same ones.
        workers: processes that call `fit` at once.

    Returns:
        Columns repeat, norm, loop (`plain`, `fit` or `peak`) and rate: images per second, or for `peak` the
        floating-point operations per second of one thread for each worker in products of matrices.
    """
    few = _head(images, STEPS * configs[0].batch_size)
    rows = []
    with joblib.Parallel(workers, batch_size=1, pre_dispatch="all", max_nbytes=None) as parallel:  # one for each, however short

        def everywhere(task: Callable, *arguments) -> float:
            return sum(parallel(joblib.delayed(task)(*arguments) for _ in range(workers)))

        everywhere(_fit, configs[0].model_copy(update={"epochs": 1}), few)  # processes start, libraries load
        for repeat in tqdm(range(repeats), unit="repeat", disable=None):
            rows.append((repeat, "", "peak", everywhere(_peak, configs[0].precision)))
            for config in configs:
                rows.append((repeat, config.norm, "plain", _plain(config, images)))
                rows.append((repeat, config.norm, "fit", everywhere(_fit, config, few)))
    return pd.DataFrame(rows, columns=["repeat", "norm", "loop", "rate"])


def _plain(config: RunConfig, images: MNIST) -> float:
    batches = plain.loader(images, config.batch_size)
    losses = plain.losses(plain.network(config), batches, config.learning_rate, WARM_UP + STEPS)
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
    with hardware.exact_arithmetic():  # one thread
        for _ in range(8):
            began = time.perf_counter()
            a @ a
            seconds.append(time.perf_counter() - began)
    return 2 * MATRIX**3 / np.median(seconds)


def _head(images: MNIST, n: int) -> Data:
    # The plain loop takes its images from all 60,000; `fit` goes through whole splits, so it gets a short one.
    train = Split(data.normalise(images.data[:n].float().div(255).numpy()), images.targets[:n].numpy())
    return Data("mnist", train, Split(train.images[:100], train.labels[:100]), checksum="")


def text(table: pd.DataFrame) -> str:
    """The summary as a table for a terminal."""
    labels = LEVELS["norm"] | {"none": "none", "all": "all arms together"}
    wide = max(20, *(len(labels[name]) + 2 for name in table.index))
    lines = [f"{'images per second':{wide}}{'plain':>10}{'fit':>10}{'ratio':>8}  {'least to most':15}{'of the peak':>12}"]
    for name, row in table.iterrows():
        spread = f"{row.least:.2f} to {row.most:.2f}"
        lines.append(f"{labels[name]:{wide}}{row.plain:10,.0f}{row.fit:10,.0f}{row.ratio:8.2f}  {spread:15}{row.share:12.0%}")
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


def _facts(configs: Sequence[RunConfig], images: str, workers: int) -> dict[str, str]:
    config = configs[0]
    here = environment.machine(config.device)
    return {name: here[name] for name in ("torch", "processor", "instruction set", "accelerator")} | {
        "training code": " ".join(recipe.made_by["code"] for recipe in store.recipes(configs, data="")),  # as records name it
        "images": images,
        "batch size": str(config.batch_size),
        "precision": config.precision,
        "device": config.device,
        "runs at once": str(workers),
        "threads of the plain loop": str(torch.get_num_threads()),
    }


def benchmark() -> Benchmark:
    """Measures with ARMS, PRECISION, DEVICE, WORKERS, DATA_DIR and REPEATS from the environment, and says what it measures.

    Raises:
        UserError: one of them is not what it should be, or the runs of a report would be trained in another way.
    """
    asked, repeats = settings.read(), settings.count("REPEATS", REPEATS)
    with tempfile.TemporaryDirectory(prefix="bnlib-") as folder:
        try:
            download.ensure("mnist", paths.data())
            images, what = plain.images(paths.data()), "MNIST"
        except download.Unreachable:
            _random_images(Path(folder))
            images, what = plain.images(Path(folder)), "random, of MNIST's shape"
        shared = {"dataset": "mnist", "learning_rate": 0.001, "seed": 0, "batch_size": BATCH_SIZE, "epochs": 2}
        environment.need(device := environment.device(asked.device))
        shared |= {"precision": asked.precision, "device": device}
        configs, workers = [RunConfig(**shared, norm=norm) for norm in asked.arms], settings.worker_count(device)
        if any(map(many.suits, configs)):
            raise UserError("on a GPU a report trains many runs side by side, which is not timed here; set DEVICE=cpu")
        if warning := environment.warning(configs[0].device, asked.precision):
            print(f"WARNING: {warning}", file=sys.stderr)
        facts = _facts(configs, what, workers)
        print(f"{facts['processor']}, {facts['instruction set']}, torch {facts['torch']}; images: {what}")
        print(f"plain: the original's loop, fp32 on the CPU, {plural(torch.get_num_threads(), 'thread')}")
        print(f"fit: {plural(workers, 'run')} at once, {asked.precision}, {configs[0].device}", flush=True)
        operations = {config.norm: models.count_operations(config) for config in configs}
        return Benchmark(measure(configs, images, workers, repeats), operations, facts)


def main() -> int:
    """`python -m bnlib.commands.bench`, with KEEP=1 to keep what it finds; returns the exit status."""

    def task() -> bool:
        measured = benchmark()
        print(text(summary(measured)))
        if measured.facts["device"] != "cpu":
            print("the peak is the processor's, not the accelerator's")
        if commands.keeps():
            keep(measured)
            print(f"kept in {paths.benchmark()}; `make report` states it")
        return True

    return commands.run(lambda: commands.alone(task), "interrupted")


if __name__ == "__main__":
    sys.exit(main())
