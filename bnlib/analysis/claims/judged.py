"""How claims are judged: what has to be true for each, held against the contrasts."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib import resources
from typing import Any, Literal

import numpy as np

from bnlib.analysis import contrasts, thresholds
from bnlib.analysis.original import replay
from bnlib.analysis.results import CELL, CHANGE, RANK, RANK_CHANGE, REACH, Contrast, Results
from bnlib.analysis.statistics import ALPHA, holm
from bnlib.experiment.config import CHAIN, rate_name
from bnlib.experiment.outcomes import OUTCOMES

Where = Literal["fresh", "chain"]
# Whose runs judge a claim that names none, or in the chain any.
STUDY: dict[Where, str] = {"fresh": "learning_rate", "chain": "replay"}
REFERENCE, ARM = "none", "batch"  # the arms that the original speaks of
PUBLISHED = "published"  # the kind of contrast that the original printed
CHANGES = (CHANGE, RANK_CHANGE, PUBLISHED)
KNOWN = 8  # seeds that had been seen when claims, measures and tests were chosen


class Verdict(StrEnum):
    """What the records say of a claim."""

    SUPPORTED = "supported"
    CONTRADICTED = "contradicted"
    OPEN = "not shown by these data"
    DEPENDS = "depends on the measure"
    UNSUPPORTED = "supported by no measure"
    UNTESTED = "not tested"


SUPPORTED, CONTRADICTED, OPEN, DEPENDS, UNSUPPORTED, UNTESTED = Verdict


@dataclass(frozen=True)
class Part:
    """One thing that has to be true for a claim: a contrast that should lie above or below no difference.

    `rate` is the one that it is of, of a change the one that is held against the highest; NaN where it is of all.
    """

    text: str
    way: str
    rate: float
    contrast: Contrast
    wanted: Literal[1, -1]
    p_claim: float  # of no difference, adjusted over all parts of the claim

    @property
    def is_fact(self) -> bool:
        """Whether it is what the original printed, of which there is no test."""
        return self.contrast.kind == PUBLISHED

    @property
    def support(self) -> float:
        """The p by which it supports the claim, not adjusted; 1 where it does not point there."""
        return self.contrast.p if self.wanted * self.contrast.direction > 0 else 1.0

    @property
    def met(self) -> int:
        """+1 where the records show it, -1 where they show the opposite, which is adjusted over all parts, else 0."""
        if self.is_fact:
            return self.wanted * self.contrast.direction
        opposite = self.wanted * self.contrast.direction < 0 and self.p_claim < ALPHA
        return int(self.support < ALPHA) - int(opposite)


@dataclass(frozen=True)
class Claim:
    """A claim of the original in our words, and how it is judged.

    All of its parts have to hold, so that each supports it with its own p; the opposite of any contradicts it, with p adjusted
    over all of them. `original/claims.toml` says why.
    """

    number: str
    name: str
    says: str
    needs: str
    parts: Sequence[Part]

    @property
    def verdict(self) -> Verdict:
        """What the ways to measure it come to; a claim without parts is not tested."""
        return _joint([_verdict(parts, [part.support for part in parts]) for parts in self._ways().values()])

    @property
    def ways(self) -> dict[str, Verdict]:
        """The verdict of each way to measure it, of what the original printed too."""
        return {
            way: _verdict(parts, [0.0 if part.met > 0 else 1.0 for part in parts])
            for way, parts in self._ways(facts=True).items()
        }

    @property
    def rates(self) -> list[float]:
        """The rates of which it says something, ascending."""
        return sorted({part.rate for part in self.parts if not np.isnan(part.rate)})

    def at(self, rate: float) -> Verdict | None:
        """The verdict at one rate, as a statement of its own: what supports is adjusted over the rates; None at another."""
        if rate not in self.rates:
            return None
        found = []
        for parts in self._ways().values():
            by_rate = {each: its for each in self.rates if (its := [part for part in parts if part.rate == each])}
            least = holm([max(part.support for part in its) for its in by_rate.values()])
            found += [_verdict(its, [p]) for (each, its), p in zip(by_rate.items(), least, strict=True) if each == rate]
        return _joint(found)

    def _ways(self, facts: bool = False) -> dict[str, list[Part]]:
        ways: dict[str, list[Part]] = {}
        for part in self.parts:
            if facts or not part.is_fact:
                ways.setdefault(part.way, []).append(part)
        return ways


def _verdict(parts: Sequence[Part], support: Sequence[float]) -> Verdict:
    """Of parts that all have to hold, by the p that each is supported with."""
    shown = SUPPORTED if all(p < ALPHA for p in support) else OPEN
    return CONTRADICTED if any(part.met < 0 for part in parts) else shown


def _joint(verdicts: Sequence[Verdict]) -> Verdict:
    mixed = DEPENDS if SUPPORTED in verdicts else UNSUPPORTED
    return mixed if len(set(verdicts)) > 1 else verdicts[0] if verdicts else UNTESTED


def judge(found: Mapping[str, Results], where: Where = "fresh") -> list[Claim]:
    """The claims, judged by runs from untrained weights, or by the original's own chain.

    They speak of two arms, and are judged by these alone, whatever others there are. One on what there is not is not tested.

    Args:
        found: the results of a report's studies, by name.
        where: in the chain all claims are judged by the replay, at its rates.
    """
    judged = []
    for claim in _said():
        name = STUDY[where] if where == "chain" else claim.get("study", STUDY[where])
        pair = contrasts.between(found[name], REFERENCE, ARM) if name in found else None
        pair = contrasts.at_rates(pair, CHAIN) if pair and name == STUDY["fresh"] else pair  # changes are from the highest
        parts = _parts(pair, claim["part"]) if pair else ()
        judged.append(Claim(**{field: claim[field] for field in ("number", "name", "says", "needs")}, parts=parts))
    return judged


def _said() -> list[dict[str, Any]]:
    text = resources.files("bnlib.analysis").joinpath("original", "claims.toml").read_text(encoding="utf-8")
    return list(tomllib.loads(text)["claim"])


def halves(found: Mapping[str, Results]) -> Mapping[str, Mapping[str, Results]]:
    """What claims are judged by: `all` seeds and, where there are more than `KNOWN`, those seen before and the new ones alone.

    Returns:
        The results that claims need, under `all` and, say, `0-7` and `8-15`; of a study without such seeds none.
    """
    needed = {*STUDY.values(), *(claim["study"] for claim in _said() if "study" in claim)}
    its = {name: results for name, results in found.items() if name in needed}
    most = max((results.study.seeds for results in its.values()), default=0)
    seeds = {f"0-{KNOWN - 1}": range(KNOWN), f"{KNOWN}-{most - 1}": range(KNOWN, most)} if most > KNOWN else {}
    parts = {name: {study: contrasts.only(each, chosen) for study, each in its.items()} for name, chosen in seeds.items()}
    return {"all": its} | {name: {study: each for study, each in part.items() if each} for name, part in parts.items()}


def _parts(results: Results, wanted: Sequence[dict[str, Any]]) -> Sequence[Part]:
    """What a claim needs, but for the ways of which the study has not all, or no pair of runs anything."""
    found = [(need, _find(results, need)) for need in wanted]
    whole = [len(rows) == len(need.get("rates", [None])) and any(row.n for row in rows) for need, rows in found]
    lacking = {need.get("way") for (need, _), all_there in zip(found, whole, strict=True) if not all_there}
    found = [(need, rows) for need, rows in found if need.get("way") not in lacking]
    tested = [row for need, rows in found if need.get("kind") != PUBLISHED for row in rows]
    adjusted = iter(holm([row.p for row in tested], [row.least_p for row in tested]))
    return tuple(
        Part(
            text=_text(results, row),
            way=need.get("way", ""),
            rate=row.against if row.kind in CHANGES else row.learning_rate,
            contrast=row,
            wanted=1 if need["wanted"] == "above" else -1,
            p_claim=np.nan if row.kind == PUBLISHED else next(adjusted),
        )
        for need, rows in found
        for row in rows
    )


def _find(results: Results, need: dict[str, Any]) -> list[Contrast]:
    """The contrasts that a part names."""
    outcome, kind = need["outcome"], need.get("kind", CELL)
    if outcome not in {*OUTCOMES, *thresholds.LABELS}:
        raise ValueError(f"a claim needs {outcome!r}, which is no outcome")
    if outcome.endswith("_second") and results.study.epochs < 2:
        return []
    if kind == PUBLISHED:
        return [_printed(outcome, rate, replay.published_change()[rate]) for rate in need["rates"]]
    rows = results.find(outcome, ARM, kind=kind)
    if kind in CHANGES:
        return [row for row in rows if row.learning_rate == max(CHAIN) and row.against in need["rates"]]
    return rows if kind == REACH else [row for row in rows if row.learning_rate in need["rates"]]


def _printed(outcome: str, rate: float, change: float) -> Contrast:
    """What the original printed, as a contrast of one pair."""
    row: dict[str, Any] = dict.fromkeys(contrasts.COLUMNS, np.nan)
    row |= {"study": "original", "kind": PUBLISHED, "outcome": outcome}
    row |= {"arm": ARM, "reference": REFERENCE, "learning_rate": max(CHAIN), "against": rate, "estimate": change}
    return Contrast(**row | {"exact": False, "n": 1, "pairs": 1, "better": 0, "tied": 0, "failed": 0, "failed_reference": 0})


def _text(results: Results, row: Contrast) -> str:
    if row.kind == REACH:
        return thresholds.LABELS[row.outcome]
    outcome = OUTCOMES[row.outcome]
    if row.kind in CHANGES:
        where = f"at {rate_name(row.learning_rate)} minus at {rate_name(row.against)}"
        text = f"the arms' difference in {outcome.label}, {where}"
    else:
        text = f"{outcome.title(results.study.epochs)} at {rate_name(row.learning_rate)}"
    return f"{text}, by rank" if row.kind in (RANK, RANK_CHANGE) else text
