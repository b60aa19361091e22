"""The studies of the report: the one place to add another."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import TypeAdapter, ValidationError

from bnlib import UserError
from bnlib.experiment import records
from bnlib.experiment import settings as checks
from bnlib.experiment.config import CHAIN, rate_name
from bnlib.experiment.records import Records, Run
from bnlib.experiment.settings import Settings
from bnlib.experiment.study import Study
from bnlib.system import files

STUDIES = TypeAdapter(list[Study])
BATCH_SIZE = 100  # images, as in the original
RANGE_EPOCHS = 2  # enough to see at which rates a network learns
RANGE_OUTCOMES = ("train_loss_last", "test_accuracy_last")
REPLAY_OUTCOMES = ("train_loss_first", "train_loss_last", "test_accuracy_last")


def joined(studies: Iterable[Study]) -> list[Study]:
    """Studies whose parts are put together: those of one name become one, over all their levels."""
    whole: dict[str, Study] = {}
    for study in studies:
        before = whole.get(study.name, study).factors
        factors = {factor: tuple(dict.fromkeys((*before[factor], *levels))) for factor, levels in study.factors.items()}
        whole[study.name] = study.model_copy(update={"factors": factors, "part": ""})
    return list(whole.values())


def _asked(**fields: Any) -> Study:
    """The study of these fields, which come from a notebook's cell of parameters: what is wrong there is said in its words."""
    try:
        return Study(**fields)
    except ValidationError as error:
        name, reason, value = checks.first_reason(error)
        if name in checks.EXAMPLES:
            raise checks.wrong(name, value, reason) from None
        raise UserError(f"{name} {reason}".strip()) from None


def each_rate(learning_rate: float, *, arms: Sequence[str], seeds: int, epochs: int, **held: Any) -> Study:
    """The original's question at one learning rate, from untrained weights; `held` are other fields of `RunConfig`.

    Raises:
        UserError: one of these is wrong; it says which, and what to set instead. So do the other studies.
    """
    learning_rate = checks.rate(learning_rate)
    name = rate_name(learning_rate)
    return _asked(
        name="learning_rate",
        notebook="learning_rate",
        part=name,
        title=f"Learning rate {name}",
        factors={"norm": tuple(arms), "learning_rate": (learning_rate,)},
        reference={"norm": arms[0]},
        seeds=seeds,
        epochs=epochs,
        held=held,
    )


def rate_range(learning_rates: Sequence[float], *, arms: Sequence[str], seeds: int, epochs: int, **held: Any) -> Study:
    """How far the learning rate can go: short runs at many."""
    return _asked(
        name="learning_rate_range",
        notebook="learning_rate_range",
        title="Range of rates",
        factors={"norm": tuple(arms), "learning_rate": tuple(learning_rates)},
        reference={"norm": arms[0]},
        seeds=seeds,
        epochs=epochs,
        outcomes=RANGE_OUTCOMES,
        held=held,
    )


def replay(*, seeds: int, epochs: int, **held: Any) -> Study:
    """The original's chain, its two networks trained on from rate to rate: its figures are of these arms alone."""
    return _asked(
        name="replay",
        notebook="replay",
        title="Replay",
        factors={"norm": ("none", "batch")},
        reference={"norm": "none"},
        seeds=seeds,
        epochs=epochs,
        outcomes=REPLAY_OUTCOMES,
        held={"learning_rate": CHAIN[0], "later_rates": CHAIN[1:]} | held,
    )


def studies(settings: Settings, dataset: str, device: str) -> list[Study]:
    """Each learning rate, then what begins as their runs do: the range of rates, and the original's chain."""
    few = min(settings.seeds, settings.study_seeds)
    held = {"dataset": dataset, "batch_size": BATCH_SIZE, "precision": settings.precision, "device": device}
    made = [
        each_rate(rate, arms=settings.arms, seeds=settings.seeds, epochs=settings.epochs, **held)
        for rate in settings.learning_rates
    ]
    made.append(rate_range(settings.range_rates, arms=settings.arms, seeds=few, epochs=RANGE_EPOCHS, **held))
    made.append(replay(seeds=few, epochs=settings.epochs, **held))
    return made


def asked(studies: Iterable[Study]) -> dict[str, Any]:
    """The settings with which a report has these studies, as far as they tell."""
    by_name = {study.name: study for study in joined(studies)}
    each, span = by_name["learning_rate"], by_name["learning_rate_range"]
    found = {"learning_rates": each.rates, "range_rates": span.rates, "arms": each.factors["norm"], "seeds": each.seeds}
    found |= {"study_seeds": span.seeds, "epochs": each.epochs}
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
    by_question, lines, known = {str(run.config.changed): run for run in runs}, [], set()
    for study in studies:
        its = [by_question[str(c.changed)].first(c) for c in study.configs if str(c.changed) in by_question]
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


def _rows(epochs: pd.DataFrame) -> list[tuple]:
    return list(zip(epochs.run, epochs.study, epochs.learning_rate, epochs.epoch, strict=True))


def save(studies: list[Study], folder: Path) -> None:
    """Writes `studies.json`, for `load`."""
    files.write_if_changed(folder / "studies.json", STUDIES.dump_json(studies, indent=1).decode() + "\n")


def load(folder: Path) -> list[Study]:
    """Reads what `save` wrote.

    Raises:
        OSError, ValueError: there is no such file, or it is damaged.
    """
    return STUDIES.validate_json((folder / "studies.json").read_bytes())
