"""Shared fixtures. No test touches the checkout's own cache or data."""

import atexit
import contextlib
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bnlib.system import files, paths

# Before anything reads these, kernels included. What killed tests left goes now, what these leave at their end.
leaving = contextlib.ExitStack()
atexit.register(leaving.close)
own = leaving.enter_context(files.scratch(Path(tempfile.gettempdir()) / f"bnlib-tests-{os.getuid()}"))
os.environ |= {"BNLIB_CACHE": str(own / "cache"), "JUPYTER_PLATFORM_DIRS": "1"}
if not os.access(paths.ROOT, os.W_OK):
    os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = str(own)
signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it is ignored, and tests interrupt what they start
# What decides what a report makes, and where.
VARIABLES = (
    "LEARNING_RATES",
    "ARMS",
    "SEEDS",
    "STUDY_SEEDS",
    "RANGE_RATES",
    "EPOCHS",
    "DATASET",
    "DATA_DIR",
    "PRECISION",
    "DEVICE",
    "REPORTS",
    "WORKERS",
    "SCHEDULER",
    "STUDIES",
)
for variable in (*VARIABLES, "KEEP", "VERIFY", "VERIFY_SEED", "STRICT", "REPEATS"):
    os.environ.pop(variable, None)  # whatever the person has set, tests set what they mean

import hypothesis  # noqa: E402
import nbformat  # noqa: E402
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402
from filelock import FileLock  # noqa: E402

from bnlib.analysis import contrasts  # noqa: E402
from bnlib.analysis.results import Results  # noqa: E402
from bnlib.experiment.config import FACTORS, LEVELS, RunConfig  # noqa: E402
from bnlib.experiment.records import COLUMNS, MEASURED  # noqa: E402
from bnlib.experiment.study import Study  # noqa: E402
from bnlib.training import loop  # noqa: E402
from bnlib.training.data import Data, Split  # noqa: E402

hypothesis.settings.register_profile("busy", deadline=None)  # other tests, or others on this machine, take their time
hypothesis.settings.load_profile("busy")

CHANCE = 0.1  # the test accuracy of a network that predicts one class


# A test that uses one of these waits for a whole report, for kernels, processes or a browser, and those of these files for
# that, for training or for figures: `make test-fast` leaves them out.
SLOW = {"made", "copied", "report", "processes", "page", "browser", "warm"}
SLOW_FILES = {
    "commands": ("adopt", "kernels", "kills", "notebook"),
    "page": ("figures", "pages"),
    "runs": ("cluster", "environment", "given", "pool", "side_by_side"),
    "system": ("live", "source"),
    "training": ("loop", "many", "optimizers", "plain_loop"),
    "tests": ("project",),
}
# Notebooks that do not train. The others, which the report of `made` runs with less to do, take longer with their defaults.
QUICK = ("report.ipynb", "evidence.ipynb")


def pytest_collection_modifyitems(items):
    for item in items:
        in_slow_file = item.path.stem.removeprefix("test_") in SLOW_FILES.get(item.path.parent.name, ())
        if SLOW & set(getattr(item, "fixturenames", ())) or in_slow_file or item.path.suffix == ".ipynb":
            item.add_marker("slow")
        if item.path.suffix == ".ipynb" and item.path.name not in QUICK:
            item.add_marker("long")
    # What takes longest first, so that the processes that share the tests end together.
    items.sort(key=lambda item: (item.path.suffix != ".ipynb", "slow" not in item.keywords))


@pytest.fixture(autouse=True)
def places(monkeypatch, tmp_path):
    """Each test has its own folders."""
    for variable, name in (("BNLIB_CACHE", "cache"), ("DATA_DIR", "data"), ("REPORTS", "reports")):
        monkeypatch.setenv(variable, str(tmp_path / name))
    return tmp_path


@pytest.fixture
def tiny_data():
    """250 training and 130 test images of noise as arrays, marked by a square at a place of their class: soon learned."""
    rng = torch.Generator().manual_seed(0)

    def split(n: int) -> Split:
        labels = torch.arange(n) % 10
        images = torch.rand(n, 1, 28, 28, generator=rng) - 1
        for image, label in zip(images, labels, strict=True):
            row, column = divmod(int(label), 4)
            image[0, 4 + 8 * row : 10 + 8 * row, 1 + 7 * column : 7 + 7 * column] = 1
        return Split(images.numpy(), labels.numpy())

    return Data("digits", split(250), split(130), checksum="0" * 64)


@pytest.fixture
def tensors(tiny_data):
    """`tiny_data` as a run on the CPU has them."""
    config = RunConfig(dataset=tiny_data.name, seed=0, learning_rate=0.001)
    return replace(tiny_data, **{name: loop.to_device(getattr(tiny_data, name), config) for name in ("train", "test")})


def make_epochs(losses: dict, dataset: str = "mnist", study: str = "learning_rate", classes: int | None = None) -> pd.DataFrame:
    """Records from {(norm, rate): {seed: [(train_loss, test_accuracy), ...]}}; the other columns follow from these.

    Args:
        classes: how many are predicted in every epoch; by default one where test accuracy is at chance, else all ten.
    """
    rows = []
    for (norm, rate), seeds in losses.items():
        for seed, values in seeds.items():
            config = RunConfig(dataset=dataset, seed=seed, norm=norm, learning_rate=rate)
            run = (f"{study}-{norm}-{rate}-{seed}", study, dataset, *(getattr(config, f) for f in FACTORS), seed)
            for epoch, (loss, accuracy) in enumerate(values, start=1):
                predicted = classes or (1 if accuracy == CHANCE else 10)
                measured = (loss, accuracy, loss * 2, accuracy, pd.NA if np.isnan(loss) else predicted, np.nan)
                rows.append((*run, epoch, *measured))
    return pd.DataFrame(rows, columns=COLUMNS["epochs"]).astype({"classes": "Int64"})


def results_of(epochs: pd.DataFrame, steps: pd.DataFrame | None = None, **fields) -> Results:
    """What the study that these records hold gave: all of its arms, rates and seeds. `fields` are other ones of `Study`."""
    norms = tuple(norm for norm in LEVELS["norm"] if norm in set(epochs.norm))
    found = {
        "name": epochs.study.iloc[0],
        "notebook": epochs.study.iloc[0],
        "factors": {"norm": norms, "learning_rate": tuple(map(float, sorted(epochs.learning_rate.unique())))},
        "reference": {"norm": norms[0]},
        "seeds": int(epochs.seed.max()) + 1,
        "epochs": int(epochs.epoch.max()),
        "held": {"dataset": epochs.dataset.iloc[0]},
    }
    return contrasts.of(Study(**found | fields), epochs, steps)


def make_steps(epochs: pd.DataFrame, looks: dict[tuple[str, str, str], dict[str, list[float]]]) -> pd.DataFrame:
    """Records of what probes saw at the first step of runs of one epoch: by (probe, layer, measure), arm and seed."""
    runs = epochs[epochs.epoch == 1].drop(columns=MEASURED)
    rows = [
        row
        | dict(zip(("probe", "layer", "measure"), what, strict=True))
        | {"step": 1, "value": float(of[row["norm"]][row["seed"]])}
        for what, of in looks.items()
        for row in runs.to_dict("records")
    ]
    return pd.DataFrame(rows)


@pytest.fixture
def epochs():
    """Three seeds of two epochs at 0.001: batch norm lowers the first loss by 0.1 ± 0.01; test accuracy is not told apart."""
    return make_epochs(
        {
            ("none", 0.001): {0: [(0.3, 0.9), (0.2, 0.97)], 1: [(0.4, 0.9), (0.2, 0.98)], 2: [(0.5, 0.9), (0.2, 0.99)]},
            ("batch", 0.001): {0: [(0.2, 0.9), (0.1, 0.98)], 1: [(0.31, 0.9), (0.1, 0.98)], 2: [(0.39, 0.9), (0.1, 0.98)]},
        }
    )


@pytest.fixture
def diverged_epochs():
    """Two seeds at 1000 without batch norm: one diverges in epoch 2, one predicts one class; with batch norm both learn."""
    return make_epochs(
        {
            ("none", 1000.0): {0: [(2.5, 0.1), (np.nan, np.nan)], 1: [(2.4, 0.1), (2.3, 0.1)]},
            ("batch", 1000.0): {0: [(2.0, 0.5), (1.0, 0.75)], 1: [(2.0, 0.5), (1.0, 0.85)]},
        }
    )


@pytest.fixture
def span():
    """Two seeds of two epochs at three rates. Without: good at 0.001 alone; with: to 0.01 in one seed, to 1 in the other."""
    return make_epochs(
        {
            ("none", 0.001): {0: [(1, 0.9), (0.1, 0.980)], 1: [(1, 0.9), (0.1, 0.980)]},
            ("none", 0.01): {0: [(1, 0.9), (0.3, 0.960)], 1: [(1, 0.9), (0.3, 0.960)]},
            ("none", 1.0): {0: [(np.nan, np.nan)], 1: [(2.3, 0.1), (2.3, 0.1)]},
            ("batch", 0.001): {0: [(1, 0.9), (0.1, 0.990)], 1: [(1, 0.9), (0.1, 0.990)]},
            ("batch", 0.01): {0: [(1, 0.9), (0.1, 0.985)], 1: [(1, 0.9), (0.1, 0.985)]},
            ("batch", 1.0): {0: [(1, 0.9), (0.2, 0.900)], 1: [(1, 0.9), (0.2, 0.981)]},
        },
        study="learning_rate_range",
    )


@pytest.fixture
def write_notebook(tmp_path):
    """Writes a notebook of code cells; the first is tagged `parameters`, and the last calls `finish` unless told not to."""

    def write(*sources: str, name: str = "notebook", finish: bool = True):
        sources = (*sources, "from bnlib.commands.notebook import finish\nfinish()") if finish else sources
        cells = [nbformat.v4.new_code_cell(source) for source in sources]
        cells[0].metadata["tags"] = ["parameters"]
        kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
        path = tmp_path / f"{name}.ipynb"
        nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), path)
        return path

    return write


DAY = re.compile(rb"\b20\d\d-\d\d-\d\d\b")
SMALL = {
    "DATASET": "digits",
    "LEARNING_RATES": "0.001 1e-3 1000",
    "SEEDS": "2",
    "STUDY_SEEDS": "1",
    "RANGE_RATES": "0.001 1000",
    "EPOCHS": "2",
    "PYTHON": sys.executable,
}


def outside() -> dict[str, str]:
    """The environment variables but for those of the `make test` that runs this: they would make it a make within a make."""
    return {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "PYTHON")}


def make(
    folder: Path, *goals: str, root: Path = paths.ROOT, within: Sequence[str] = (), patience: float = 600, **variables: str
) -> subprocess.CompletedProcess:
    """`make report` in a checkout, with data, cache and reports in `folder`; `within` is a command that runs it."""
    places = {"BNLIB_CACHE": str(folder / "cache"), "REPORTS": str(folder / "reports"), "DATA_DIR": str(folder / "data")}
    settings = SMALL | variables
    arguments = [f"{name}={value}" for name, value in settings.items()]
    command = [*within, "make", "--no-print-directory", *(goals or ("report",)), f"REPORTS={places['REPORTS']}", *arguments]
    command.append(f"DATA_DIR={places['DATA_DIR']}")
    return subprocess.run(command, cwd=root, env=outside() | places, capture_output=True, text=True, timeout=patience)


def contents(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a report, but for the days on which its runs were made."""
    found = {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
    return {name: hashlib.sha256(DAY.sub(b"", content)).hexdigest() for name, content in found.items()}


@pytest.fixture
def as_made(made) -> dict[str, str]:
    """What `contents` gave of that report when it was made: tests may have it changed for a while."""
    return json.loads((made[0] / "contents.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """A finished report and what the terminal said of it; the processes that share the tests share it, too."""
    shared = tmp_path_factory.getbasetemp()
    shared = (shared.parent if "PYTEST_XDIST_WORKER" in os.environ else shared) / "made"
    with FileLock(shared.with_suffix(".lock")):
        said = shared / "said.json"
        if not said.exists():
            shared.mkdir(exist_ok=True)
            result = make(shared)
            (shared / "contents.json").write_text(json.dumps(contents(shared / "reports")), encoding="utf-8")
            said.write_text(json.dumps([result.args, result.returncode, result.stdout, result.stderr]), encoding="utf-8")
        result = subprocess.CompletedProcess(*json.loads(said.read_text(encoding="utf-8")))
    assert result.returncode == 0, result.stderr
    return shared, result
