"""What a result hangs on besides its configuration: versions, the machine, the data's checksum."""

import hashlib
import importlib.metadata
import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path

from bnlib import UserError, files

PACKAGES = ("torch", "torchvision", "numpy", "scipy", "pandas", "scikit-learn", "matplotlib", "papermill", "nbconvert")

# Variables that have oneDNN, MKL or CUDA choose other arithmetic; what has an effect only where it is set is said only there.
SWITCHES = (
    *(f"{maker}_{what}" for maker in ("ONEDNN", "DNNL") for what in ("MAX_CPU_ISA", "DEFAULT_FPMATH_MODE")),
    "MKL_CBWR",
    "MKL_ENABLE_INSTRUCTIONS",
    "NVIDIA_TF32_OVERRIDE",
)


def switches() -> dict[str, str]:
    """Those of `SWITCHES` that are set."""
    return {name: os.environ[name] for name in SWITCHES if name in os.environ}


def versions() -> dict[str, str]:
    """Python's version and those of the packages whose code can change a page."""
    return {"Python": platform.python_version()} | {name: importlib.metadata.version(name) for name in PACKAGES}


def cpu() -> str:
    """The processor's name, as the system gives it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    said = dict(reversed([tuple(part.strip() for part in line.split(":", 1)) for line in lines if ":" in line]))
    # Virtual machines give names such as "AMD EPYC" alone, which are those of many processors.
    kind = ", ".join(f"{word} {said[key]}" for word, key in (("family", "cpu family"), ("model", "model")) if key in said)
    name = said.get("model name") or platform.processor() or platform.machine()
    return f"{name} ({kind})" if kind else name


def machine() -> dict[str, str | list[str]]:
    """What can be told of the machine at once: another processor, accelerator or switch may give other bits."""
    accelerators = sorted(path.name for path in Path("/dev").glob("nvidia[0-9]*"))
    return {"cpu": cpu(), "machine": platform.machine(), "system": platform.system(), "accelerators": accelerators} | switches()


def describe(configs: list, data) -> dict[str, str]:
    """Everything stated about runs (`RunConfig`s that share all but norm and seed) on `data`, as text by name."""
    from bnlib import store  # brings torch, which a look at what is to do need not import

    config = configs[0]
    environment = store.environment(config.device)
    stated = ("processor", "processor features", "instruction set", "accelerator", "threads per run")
    return {
        "data set": data.name,
        "training images": str(len(data.train)),
        "test images": str(len(data.test)),
        "SHA-256 of the data": data.checksum,
        "seeds": ", ".join(str(seed) for seed in sorted({c.seed for c in configs})),
        "epochs": str(config.epochs),
        "batch size": str(config.batch_size),
        "optimiser": "Adam, β₁ = 0.9, β₂ = 0.999, ε = 10⁻⁸, no weight decay",
        "precision": config.precision,
        "device": config.device,
        **{name: environment[name] for name in stated},
        **switches(),
        "system": f"{platform.system()} {platform.machine()}",
        "SHA-256 of the training code": environment["training code"],
        **versions(),
        "torch": environment["torch"],  # with its build, which can decide the last bits
    }


def joined(folders: Mapping[str, Path]) -> dict[str, str]:
    """The facts of a report, from those of its studies (label: folder): the first one's, and how many seeds others had."""
    all_facts = {label: load(folder) for label, folder in folders.items()}
    first = next(iter(all_facts.values()))
    others = {
        f"seeds, {label.lower()}": facts["seeds"] for label, facts in all_facts.items() if facts["seeds"] != first["seeds"]
    }
    return first | others


def keep_time(records, path: Path) -> None:
    """Keeps how long the runs trained, for the report on these very records; a run that two protocols share counts once."""
    run = ["norm", "learning_rate", "seed", "epoch", "train_seconds"]
    seconds = records.timing.drop_duplicates(run).train_seconds.sum()
    files.write(path, json.dumps({"records": _digest(records), "seconds": float(seconds)}, indent=1) + "\n")


def kept_time(records, path: Path) -> dict[str, str]:
    """What `keep_time` kept, as a fact; none where it was of other records."""
    try:
        said = json.loads(path.read_text())
        if said["records"] != _digest(records):
            return {}
    except (OSError, ValueError, KeyError):  # none was kept, or it is damaged
        return {}
    return {
        "training time": f"{said['seconds'] / 3600:.1f} hours of one core by the clock, evaluation and rendering not counted"
    }


def _digest(records) -> str:
    return hashlib.sha256(records.epochs.to_csv(index=False).encode()).hexdigest()


def save(facts: dict[str, str], folder: Path) -> None:
    """Writes `provenance.json`."""
    files.write_if_changed(folder / "provenance.json", json.dumps(facts, indent=1, ensure_ascii=False) + "\n")


def load(folder: Path) -> dict[str, str]:
    """Reads what `save` wrote.

    Raises:
        UserError: there is no such file, or it is damaged.
    """
    path = folder / "provenance.json"
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read; `make report` makes it again ({error})") from error
