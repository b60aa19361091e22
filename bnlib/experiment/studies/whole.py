"""All studies of a report: from its settings, to its settings, to a file and back."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import TypeAdapter

from bnlib import UserError
from bnlib.experiment import records
from bnlib.experiment.config import rate_name
from bnlib.experiment.records import Records, Run
from bnlib.experiment.settings import ALWAYS, LATER, Settings
from bnlib.experiment.studies.questions import RANGE_EPOCHS, controls, each_rate, inside, rate_range, replay
from bnlib.experiment.study import Study
from bnlib.system import files

STUDIES = TypeAdapter(list[Study])
BATCH_SIZE = 100  # images, as in the original
# How large the studies that say why are where they are to show something, and where they are to run within a minute.
LARGE: dict[str, dict[str, Any]] = {
    "inside": {
        **{"learning_rates": (0.001, 0.005, 0.01, 0.03), "seeds": 8, "long_seeds": 2},
        **{"survival_rates": (0.003, 0.005, 0.01, 0.02, 0.03), "survival_seeds": 32},
    },
    "controls": {
        **{"learning_rates": (0.001, 0.005, 0.01), "seeds": 8, "warmup": 600, "long_rates": (0.01,), "long_seeds": 8},
        **{"range_seeds": 4, "survival_rates": (0.01, 0.03), "survival_seeds": 16},
    },
}
SMALL: dict[str, dict[str, Any]] = {
    "inside": {
        **{"learning_rates": (0.001, 0.01), "seeds": 2, "long_seeds": 1},
        **{"survival_rates": (0.003, 0.01, 0.03), "survival_seeds": 2},
    },
    "controls": {
        **{"learning_rates": (0.01,), "seeds": 2, "warmup": 15, "long_rates": (0.01,), "long_seeds": 2},
        **{"range_rates": (0.01, 0.03), "range_seeds": 1, "survival_rates": (0.03,), "survival_seeds": 1},
    },
}


def joined(studies: Iterable[Study]) -> list[Study]:
    """Studies whose parts are put together: those of one name become one, over all their levels."""
    whole: dict[str, Study] = {}
    for study in studies:
        before = whole.get(study.name, study).factors
        factors = {factor: tuple(dict.fromkeys((*before[factor], *levels))) for factor, levels in study.factors.items()}
        title = study.title.removesuffix(study.part).rstrip()
        whole[study.name] = study.model_copy(update={"factors": factors, "part": "", "title": title})
    return list(whole.values())


def by_page(studies: Iterable[Study]) -> list[list[Study]]:
    """Studies by the page that they are on: those of one page run in one notebook, with the same parameters."""
    pages: dict[str, list[Study]] = {}
    for study in studies:
        pages.setdefault(study.page, []).append(study)
    return list(pages.values())


def parameters(its: Sequence[Study]) -> dict[str, Any]:
    """What a notebook's parameters are to be for it to make these studies; of further ones called after them: `long_seeds`."""
    found: dict[str, Any] = {}
    for study in its:
        prefix = study.name.removeprefix(study.notebook).lstrip("_")
        sizes = {"seeds": study.seeds, "epochs": study.epochs, "rates": " ".join(map(rate_name, study.rates))}
        found |= {f"{prefix}_{name}": value for name, value in sizes.items()} if prefix else sizes
    first, rates = its[0], found.pop("rates")
    if first.rates:  # else its arms and rates are the original's
        found |= {"arms": " ".join(map(str, first.factors.get("norm", ()))), "warmup": max(first.factors.get("warmup", (0,)))}
        found |= {"learning_rate": first.rates[0]} if first.part else {"learning_rates": rates}
    return found


def studies(settings: Settings, dataset: str, device: str) -> list[Study]:
    """Each learning rate; what begins as their runs do, the range of rates and the original's chain; and what says why.

    The latter are as large as it takes where they are on other data than the digits.
    """
    few = min(settings.seeds, settings.study_seeds)
    held = {"dataset": dataset, "batch_size": BATCH_SIZE, "precision": settings.precision, "device": device}
    made = [
        each_rate(rate, arms=settings.arms, seeds=settings.seeds, epochs=settings.epochs, **held)
        for rate in settings.learning_rates
    ]
    made.append(rate_range(settings.range_rates, arms=settings.arms, seeds=few, epochs=RANGE_EPOCHS, **held))
    made.append(replay(seeds=few, epochs=settings.epochs, **held))
    sizes = SMALL if dataset == "digits" else LARGE
    more: dict[str, Any] = {"long_epochs": settings.epochs, **held}
    if "inside" in settings.asked(dataset):
        made += inside(**more | sizes["inside"], arms=("none", "batch"))
    if "controls" in settings.asked(dataset):
        made += controls(**more | {"range_rates": settings.range_rates} | sizes["controls"])
    return made


def asked(studies: Iterable[Study]) -> dict[str, Any]:
    """The settings with which a report has these studies, as far as they tell."""
    by_name = {study.name: study for study in joined(studies)}
    each, span = by_name["learning_rate"], by_name["learning_rate_range"]
    found = {"learning_rates": each.rates, "range_rates": span.rates, "arms": each.factors["norm"], "seeds": each.seeds}
    found |= {"study_seeds": span.seeds, "epochs": each.epochs}
    found["studies"] = (*ALWAYS, *(name for name in LATER if name in by_name))
    return found | {name: each.held[name] for name in ("precision", "device") if name in each.held}


def not_as_asked(studies: Sequence[Study], kept: Records, runs: Sequence[Run]) -> list[str]:
    """What a report's records lack of its studies, and what they have besides; a line for each arm and cell, or run.

    Args:
        runs: the sound ones that the records hold (`records.taken`); no others count, nor are others named.
    """
    try:
        asked(studies)
    except KeyError as error:
        return [f"studies.json lacks the study {error}"]
    by_question, lines, known = records.grouped(runs), [], set()
    for study in studies:
        serving = ((c, records.serving(c, by_question.get(str(c.changed), ()))) for c in study.configs)
        its = [run.first(config) for config, run in serving if run]
        wanted, there = set(_rows(records.collect(study.name, its).epochs)) if its else set(), _rows(kept.epochs)
        missing = study.missing(kept.epochs[[row in wanted for row in there]])
        lines += [f"{study.name.replace('_', ' ')}: the records lack {line}" for line in missing]
        known.update(wanted)
    sound = {run.name for run in runs}
    besides = Counter((name, study) for name, study, *at in _rows(kept.epochs) if (name, study, *at) not in known)
    told = {(name, study): count for (name, study), count in besides.items() if name in sound}
    lines += [f"run {name} has rows that study {study!r} does not ask for: {count}" for (name, study), count in told.items()]
    silent = sound - {name for name, *_ in known} - {name for name, _ in told}
    return lines + [f"run {name} is asked for by no study" for name in sorted(silent)]


def _rows(epochs: pd.DataFrame) -> list[tuple[Any, ...]]:
    return list(zip(epochs.run, epochs.study, epochs.learning_rate, epochs.epoch, strict=True))


def save(studies: list[Study], folder: Path) -> None:
    """Writes `studies.json`, for `load`."""
    files.write_if_changed(folder / "studies.json", STUDIES.dump_json(studies, indent=1).decode() + "\n")


def load(folder: Path) -> list[Study]:
    """Reads what `save` wrote.

    Raises:
        UserError: there is no such file, or it is damaged.
    """
    path = folder / "studies.json"
    try:
        return STUDIES.validate_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
