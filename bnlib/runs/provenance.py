"""What a report hangs on besides its runs: data, versions, how long it took; and all of that as facts for its pages."""

import hashlib
import json
import os
import platform
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from bnlib import UserError
from bnlib.experiment import records
from bnlib.experiment.records import LOOKED, Records
from bnlib.experiment.study import Study
from bnlib.runs import environment
from bnlib.system import files, paths

# Of a study's records.
FILES = ("epochs.csv", "timing.csv", "runs.csv", "provenance.json", "networks.csv", "study.json")
MADE_ON = "runs made on"  # the fact that says between which days
STEPS = "steps.csv"  # and this, where its runs are probed
OPTIMISERS = {
    "adam": "Adam, β₁ = 0.9, β₂ = 0.999, ε = 10⁻⁸, no weight decay",
    "sgd": "SGD, momentum 0.9, no weight decay",
}


def describe(study: Study, data) -> dict[str, str]:
    """What is stated of a study on `data` besides what made each run, as text by name."""
    config = study.configs[0]
    optimizers = study.factors.get("optimizer", (config.optimizer,))
    return {
        "data set": data.name,
        "training images": str(data.sizes[0]),
        "test images": str(data.sizes[1]),
        "SHA-256 of the data": data.checksum,
        "seeds": f"0 to {study.seeds - 1}" if study.seeds > 1 else "0",
        "epochs": str(study.epochs),
        "batch size": str(config.batch_size),
        "optimiser": "; ".join(OPTIMISERS.get(name, name) for name in optimizers),
        "precision": config.precision,
        "device": config.device,
        "system": f"{platform.system()} {platform.machine()}",
        **environment.versions(),
    }


def facts(described: dict[str, str], runs: pd.DataFrame) -> dict[str, str]:
    """Everything stated about a report's runs: what was described, and of what made each run every kind, with its count."""
    called = {"code": "SHA-256 of the training code", "adopted": "training code changed since"}
    told = {}
    for column in runs.columns.drop(["run", "epochs", "digest", "configuration", "data", "date", *LOOKED], errors="ignore"):
        counts = runs[column].value_counts(sort=False)
        counts = counts[counts.index != ""]
        several = [f"{value} ({count} run{'s' * (count > 1)})" for value, count in counts.items()]
        told[called.get(column, column)] = counts.index[0] if list(counts) == [len(runs)] else "; ".join(several)
    if days := sorted(filter(None, runs.get("date", ()))):
        told[MADE_ON] = " to ".join(dict.fromkeys((days[0], days[-1])))
    return described | {name: value for name, value in told.items() if value not in ("none", "") or name == "accelerator"}


def stated(*folders: Path) -> dict[str, str]:
    """The facts of the studies whose records are in these folders.

    Raises:
        UserError: they cannot be read.
    """
    asked = [Study.model_validate_json((folder / "study.json").read_bytes()) for folder in folders]
    described = joined(zip(asked, map(load, folders), strict=True))
    return facts(described, records.join(map(records.load, folders)).runs)


def is_of(folder: Path, study: Study) -> bool:
    """Whether records in a folder are those of this very study."""
    try:
        return Study.model_validate_json((folder / "study.json").read_bytes()) == study
    except (OSError, ValueError):  # none, or none of this package's
        return False


def joined(studies: Iterable[tuple[Study, dict[str, str]]]) -> dict[str, str]:
    """What is described of several studies; where they differ, each of it with the studies that it is of."""
    described, told = list(studies), {}
    for name in described[0][1]:
        titles: dict[str, list[str]] = {}
        for study, its in described:
            titles.setdefault(its[name], []).append((study.title or study.name).lower())
        several = [f"{value} ({', '.join(f'“{title}”' for title in its)})" for value, its in titles.items()]
        told[name] = "; ".join(several) if len(several) > 1 else next(iter(titles))
    return told


def keep_time(made: Records, path: Path) -> None:
    """Keeps how long the runs trained, for the report on these very records; a run that two studies share counts once."""
    seconds = made.timing.drop_duplicates(["run", "learning_rate", "epoch"]).train_seconds.sum()
    files.write(path, json.dumps({"records": _digest(made), "seconds": float(seconds)}, indent=1) + "\n")


def kept_time(made: Records, path: Path) -> dict[str, str]:
    """What `keep_time` kept, as a fact; none where it was of other records."""
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        if said["records"] != _digest(made):
            return {}
    except (OSError, ValueError, KeyError):  # none was kept, or it is damaged
        return {}
    return {
        "training time": f"{said['seconds'] / 3600:.1f} hours of one core by the clock, evaluation and rendering not counted"
    }


def _digest(made: Records) -> str:
    return hashlib.sha256(made.epochs.to_csv(index=False).encode()).hexdigest()


def save(study: Study, data, folder: Path) -> None:
    """Writes `study.json`, `provenance.json` and `networks.csv` beside a study's records."""
    save_facts(describe(study, data), folder)
    files.write_if_changed(folder / "networks.csv", networks(study).to_csv(index=False, lineterminator="\n"))
    # Last: it says that the rest is there.
    files.write_if_changed(folder / "study.json", study.model_dump_json(indent=1) + "\n")


def networks(study: Study, folder: Path | None = None) -> pd.DataFrame:
    """The network of each arm, a row for each layer; `output` is for one image, `operations` are those of the whole network.

    Args:
        folder: where `make report` has left records of the study; its networks are then read there, which takes no torch.
    """
    if folder and paths.RECORDS in os.environ and is_of(folder, study):
        return pd.read_csv(folder / "networks.csv", keep_default_na=False)
    from bnlib.training import models

    rows, configs = [], {}
    for config in study.configs:
        configs.setdefault(
            next(a.name for a in study.arms if all(getattr(config, f) == v for f, v in a.levels.items())), config
        )
    for arm, config in configs.items():
        operations = models.count_operations(config)
        for name, kind, shape, parameters in models.layer_table(config):
            rows.append((arm, name, kind, " × ".join(map(str, shape)), parameters, operations))
    return pd.DataFrame(rows, columns=["arm", "layer", "kind", "output", "parameters", "operations"])


def save_facts(facts: dict[str, str], folder: Path) -> None:
    """Writes `provenance.json`."""
    files.write_if_changed(folder / "provenance.json", json.dumps(facts, indent=1, ensure_ascii=False) + "\n")


def load(folder: Path) -> dict[str, str]:
    """Reads what `save_facts` wrote.

    Raises:
        UserError: there is no such file, or it is damaged.
    """
    path = folder / "provenance.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read; `make report` makes it again ({error})") from error
