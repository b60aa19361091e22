"""The original's claims, each held against the contrasts: what has to be true for it, and the verdict that follows."""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Literal

import pandas as pd

from bnlib.analysis import contrasts
from bnlib.analysis.results import CELL, CHANGE, Contrast, Results
from bnlib.analysis.statistics import ALPHA, holm
from bnlib.experiment.config import rate_name
from bnlib.experiment.outcomes import OUTCOMES, Outcome

Verdict = Literal["supported", "contradicted", "not shown by these data", "not tested"]
REFERENCE, ARM = "none", "batch"  # the arms that the original speaks of


@dataclass(frozen=True)
class Part:
    """One thing that has to be true for a claim: a contrast that should lie above or below zero."""

    text: str
    contrast: Contrast
    wanted: Literal[1, -1]
    p_family: float  # of no difference, adjusted over the rates at which the claim says the same
    p_claim: float  # adjusted over all parts of the claim

    @property
    def outcome(self) -> Outcome:
        return OUTCOMES[self.contrast.outcome]

    @property
    def p(self) -> float:
        """The p that it is judged by.

        Of a claim all parts have to be shown, but the opposite of any is enough to contradict it: that is adjusted over all.
        """
        return self.p_claim if self.wanted * self.contrast.estimate < 0 else self.p_family

    @property
    def met(self) -> int:
        """+1 where the records show it, -1 where they show the opposite, else 0."""
        return self.wanted * self.contrast.difference.sign if self.p < ALPHA else 0

    @property
    def unequal(self) -> int:
        """The pairs of which a test can make something: those with a difference."""
        return self.contrast.n - self.contrast.tied

    @property
    def least_p(self) -> float:
        """The smallest p, not adjusted, that the exact test could have given with so many of them."""
        return 2.0 ** (1 - self.unequal)


@dataclass(frozen=True)
class Claim:
    """A claim of the original in our words, and how it is judged."""

    number: int
    name: str
    says: str
    needs: str
    parts: Sequence[Part]

    @property
    def verdict(self) -> Verdict:
        """What the parts come to; a claim without any is not tested."""
        if not self.parts:
            return "not tested"
        met = [part.met for part in self.parts]
        if -1 in met:
            return "contradicted"
        return "supported" if all(sign == 1 for sign in met) else "not shown by these data"


def judge(results: Results, *more: Results) -> list[Claim]:
    """The claims, judged by a study of each rate, or by the one of `more` that a claim names.

    They speak of two arms, and are judged by these alone, whatever others there are. One on what the study lacks is not tested.
    """
    pairs = {each.study.name: contrasts.between(each, REFERENCE, ARM) for each in (*more, results)}
    text = resources.files("bnlib.analysis").joinpath("original", "claims.toml").read_text(encoding="utf-8")
    said = tomllib.loads(text)["claim"]
    found = [(claim, pairs.get(claim.get("study", results.study.name))) for claim in said]
    return [
        Claim(number, claim["name"], claim["says"], claim["needs"], _parts(pair, claim.get("part", [])) if pair else ())
        for number, (claim, pair) in enumerate(found, start=1)
    ]


def _parts(results: Results, wanted: Sequence[dict]) -> Sequence[Part]:
    """What a claim needs, with its p values adjusted; nothing where the study has not all of it."""
    found = [(need, _find(results, need)) for need in wanted]
    if not all(len(rows) == len(need["rates"]) for need, rows in found):
        return ()
    whole = iter(holm([row.p for _, rows in found for row in rows]))
    return tuple(
        Part(_text(results, row), row, 1 if need["wanted"] == "above" else -1, p, next(whole))
        for need, rows in found
        for row, p in zip(rows, holm([row.p for row in rows]), strict=True)
    )


def _find(results: Results, need: dict) -> list[Contrast]:
    """The contrasts that a part names."""
    if need["outcome"].endswith("_second") and results.study.epochs < 2:
        return []
    kind = need.get("kind", CELL)
    where = {CELL: "learning_rate", CHANGE: "against"}[kind]
    return [row for row in results.find(need["outcome"], ARM, kind=kind) if getattr(row, where) in need["rates"]]


def _text(results: Results, row: Contrast) -> str:
    outcome = OUTCOMES[row.outcome]
    if row.kind == CHANGE:
        where = f"at {rate_name(row.learning_rate)} minus at {rate_name(row.against)}"
        return f"the arms' difference in {outcome.label}, {where}"
    return f"{outcome.title(results.study.epochs)} at {rate_name(row.learning_rate)}"


def table(claims: Sequence[Claim]) -> pd.DataFrame:
    """Every part of every claim, a row each; accuracies as fractions."""
    rows = []
    for claim in claims:
        for part in claim.parts or (None,):
            row = {"claim": claim.number, "name": claim.name, "verdict": claim.verdict}
            if part:
                c = part.contrast
                row |= {"part": part.text, "wanted": "above 0" if part.wanted > 0 else "below 0", "mean": c.estimate}
                row |= {"low": c.low, "high": c.high, "p": part.p, "pairs": c.n, "seeds": c.pairs, "met": part.met}
            rows.append(row)
    return pd.DataFrame(rows)
