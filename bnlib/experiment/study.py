"""A study: what is asked, as arms x cells x seeds."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, model_validator

from bnlib.experiment.config import COUNTED, FACTORS, LEVELS, PROBES, Epochs, RunConfig, rate_name
from bnlib.experiment.outcomes import MEASURED, OUTCOMES

Level = str | int | float
MOST_ARMS = 9  # that colours and markers tell apart


@dataclass(frozen=True)
class Arm:
    """A combination of levels that is compared: `name` in records and tables of numbers, `label` in sentences."""

    name: str
    label: str
    levels: Mapping[str, Level]


class Study(BaseModel):
    """What is asked: every arm at every cell with every seed, for so many epochs.

    The factors that `reference` names make the arms, and their levels there the arm that the others are held against; the other
    factors make the cells.

    Args:
        name: in the records' column `study`, and of its page.
        notebook: the notebook that runs it, without its ending; it may run several studies, which then share a page.
        factors: fields of `RunConfig` that vary, each with its levels.
        reference: of each factor that makes arms the level of the reference.
        combined: the arms other than the reference, where they are not all combinations of the levels: of each the levels that
            are not the reference's.
        seeds: how many; from 0 on.
        epochs: of each run; with later rates, at each rate.
        outcomes: what is compared, by name (`outcomes.OUTCOMES`).
        probes: what it looks at inside its runs, by name (`config.PROBES`); where there is any, all are recorded.
        held: the other fields of `RunConfig`, `dataset` among them.
        part: which part of a larger study of that name this is, if it is one.
        title: what navigation calls its page.

    Raises:
        pydantic.ValidationError: a factor, level or outcome is unknown, or a level is given twice.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    notebook: str
    factors: dict[str, tuple[Level, ...]]
    reference: dict[str, Level]
    combined: tuple[dict[str, Level], ...] = ()
    seeds: int = Field(ge=1, le=1000)
    epochs: Epochs
    outcomes: tuple[str, ...] = tuple(MEASURED)
    probes: tuple[str, ...] = ()
    held: dict[str, Level | tuple[float, ...]] = {}
    part: str = ""
    title: str = ""

    @model_validator(mode="after")
    def _is_sound(self) -> "Study":
        for factor, levels in self.factors.items():
            if factor not in FACTORS:
                raise ValueError(f"{factor!r} is no factor; known: {', '.join(FACTORS)}")
            if not levels or len(set(levels)) < len(levels):
                raise ValueError(f"{factor}: give at least one level, and each once")
        for factor, level in self.reference.items():
            if level not in self.factors.get(factor, ()):
                raise ValueError(f"reference: {level!r} is no level of {factor}")
        for its in self.combined:
            for factor, level in its.items():
                if factor not in self.reference or level not in self.factors[factor]:
                    raise ValueError(f"combined: {level!r} is no level of {factor}")
        names = [arm.name for arm in self.arms]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"two of its arms are the same: {twice[0]}")
        if len(self.arms) > MOST_ARMS:
            raise ValueError(f"{len(self.arms)} arms; {MOST_ARMS} at the most")
        for name in self.outcomes:
            if name not in OUTCOMES:
                raise ValueError(f"{name!r} is no outcome; known: {', '.join(OUTCOMES)}")
        for name in self.probes:
            if name not in PROBES:
                raise ValueError(f"{name!r} is no probe; known: {', '.join(PROBES)}")
        list(self.configs)  # each is checked
        return self

    @property
    def arms(self) -> tuple[Arm, ...]:
        """The arms, the reference first."""
        if self.combined:
            return self._combined
        factors = [factor for factor in self.factors if factor in self.reference]
        combined = self._product(factors)
        combined.sort(key=lambda levels: levels != self.reference)
        return tuple(Arm(", ".join(map(str, levels.values())), _label(levels, combined), levels) for levels in combined)

    @property
    def _combined(self) -> tuple[Arm, ...]:
        arms = []
        for levels in ({}, *self.combined):
            levels = self.reference | levels
            # Called after what it has that a run has not by default, whatever it is held against.
            its = {factor: level for factor, level in levels.items() if level != RunConfig.model_fields[factor].default}
            names = [str(level) if factor in LEVELS else f"{factor} {_written(level)}" for factor, level in its.items()]
            arms.append(Arm(", ".join(names) or "none", _label(its or {"norm": "none"}, [its]), levels))
        return tuple(arms)

    @property
    def cells(self) -> tuple[dict[str, Level], ...]:
        """Each setting of the factors that make no arms; the learning rate is named where it is held, too, of a chain each."""
        held: dict[str, Any] = self.held
        rates = (held["learning_rate"], *held.get("later_rates", ())) if "learning_rate" in held else ()
        return tuple(cell | {"learning_rate": rate} for cell in self._settings for rate in rates) or self._settings

    @property
    def _settings(self) -> tuple[dict[str, Level], ...]:
        return tuple(self._product([factor for factor in self.factors if factor not in self.reference]))

    def _product(self, factors: Sequence[str]) -> list[dict[str, Level]]:
        return [dict(zip(factors, levels, strict=True)) for levels in itertools.product(*(self.factors[f] for f in factors))]

    @property
    def configs(self) -> list[RunConfig]:
        """All runs, pair by pair: in each cell, for each seed, every arm."""
        shared: dict[str, Any] = {"epochs": self.epochs, "probed": bool(self.probes)} | self.held
        return [
            RunConfig(**shared | cell | dict(arm.levels), seed=seed)
            for cell in self._settings
            for seed in range(self.seeds)
            for arm in self.arms
        ]

    @property
    def rates(self) -> tuple[float, ...]:
        """The learning rates at which the arms are compared, ascending."""
        return tuple(sorted(map(float, self.factors.get("learning_rate", ()))))

    @property
    def family(self) -> int:
        """How many contrasts of one outcome are looked at together: each arm but the reference in each cell."""
        return (len(self.arms) - 1) * len(self.cells)

    def against(self, arm: str) -> "Study":
        """The same runs, with all arms held against another one, by its name.

        Raises:
            ValueError: arms that are a product of several factors would have other names then.
        """
        arms = {each.name: dict(each.levels) for each in self.arms}
        combined = tuple(levels for name, levels in arms.items() if name != arm)
        made = self.model_copy(update={"reference": arms[arm], "combined": combined})
        if {each.name for each in made.arms} != set(arms):
            raise ValueError(f"{self.name}: name its arms in `combined`, to hold them against {arm}")
        return made

    @property
    def stem(self) -> str:
        """What its files and folders are called."""
        return "-".join([*self.name.split("_"), *filter(None, [self.part])])

    @property
    def page(self) -> str:
        """The file name of the page that its notebook becomes, which other studies of that notebook share."""
        return "-".join([*self.notebook.split("_"), *filter(None, [self.part])]) + ".html"

    def of(self, epochs: pd.DataFrame) -> pd.DataFrame:
        """The records of this study, with the name of its arm in a column `arm`; what is of no arm or cell is left out."""
        mine = epochs[epochs.study == self.name]
        arm = pd.Series(index=mine.index, dtype=object)
        for each in self.arms:
            arm[_where(mine, each.levels)] = each.name
        in_cells = pd.concat([_where(mine, cell) for cell in self.cells], axis=1).any(axis=1)
        return mine.assign(arm=arm)[arm.notna() & (mine.seed < self.seeds) & in_cells].reset_index(drop=True)

    def missing(self, epochs: pd.DataFrame) -> list[str]:
        """What was asked for and is not in the records, a line for each arm and cell: which, and how many of its runs.

        A run is missing that has fewer epochs than were asked for, unless it diverged.
        """
        lines, mine = [], self.of(epochs)
        for cell in self.cells:
            rows = mine[_where(mine, cell)] if len(mine) else mine
            for arm in self.arms:
                runs = rows[rows.arm == arm.name]
                there = set(runs.seed[(runs.epoch == self.epochs) | runs.train_loss.isna()])
                if self.held.get("later_rates"):  # a chain that diverged has nothing at its later rates
                    there |= set(mine.seed[(mine.arm == arm.name) & mine.train_loss.isna()])
                if len(there) < self.seeds:
                    where = ", ".join(f"{factor.replace('_', ' ')} {_written(level)}" for factor, level in cell.items())
                    lines.append(f"{arm.label} at {where}: {self.seeds - len(there)} of {self.seeds} runs")
        return lines

    def _repr_html_(self) -> str:
        levels = {factor: ", ".join(map(_written, levels)) for factor, levels in self.factors.items()}
        varies = [f"{factor.replace('_', ' ')}: {text}" for factor, text in levels.items() if len(self.factors[factor]) > 1]
        held = [f"{factor.replace('_', ' ')} {text}" for factor, text in levels.items() if len(self.factors[factor]) == 1]
        held += [f"{name.replace('_', ' ')} {_written(value)}" for name, value in self.held.items() if value != ()]
        epochs = self.configs[0].all_epochs
        rows = {
            "varies": "; ".join(varies) or "nothing",
            "reference": self.arms[0].label,
            "held": "; ".join(held),
            "seeds": f"0 to {self.seeds - 1}" if self.seeds > 1 else "0",
            "in all": f"{len(self.configs)} runs of {epochs} epoch{'s' * (epochs > 1)}",
        }
        cells = "".join(f'<tr><th scope="row">{name}</th><td>{escape(text)}</td></tr>' for name, text in rows.items())
        caption = f"<caption>{escape(self.title or self.name)}: what is asked</caption>"
        return f'<table class="study">{caption}<tbody>{cells}</tbody></table>'


def _where(table: pd.DataFrame, levels: Mapping[str, Level]) -> pd.Series:
    """Which rows of records are of these levels."""
    found = pd.Series(True, index=table.index)
    for factor, level in levels.items():
        found &= table[factor] == level
    return found


def _written(value: Any) -> str:
    if isinstance(value, tuple | list):
        return ", ".join(map(_written, value))
    return rate_name(value) if isinstance(value, float) else str(value)


def _label(levels: Mapping[str, Level], arms: Sequence[Mapping[str, Level]]) -> str:
    """`with batch norm`; where there is but one other norm, the arm without any is called after that: `without batch norm`."""
    told = []
    norms = [level for level in dict.fromkeys(arm.get("norm") for arm in arms) if level not in (None, "none")]
    for factor, level in levels.items():
        lacks = factor == "norm" and level == "none"
        told.append(
            f"without {_name(factor, norms[0] if len(norms) == 1 else level)}" if lacks else f"with {_name(factor, level)}"
        )
    return ", ".join(told)


def _name(factor: str, level: Level) -> str:
    counted = COUNTED.get(factor, factor.replace("_", " ") + " {}").format(_written(level))
    return LEVELS.get(factor, {}).get(str(level), counted)
