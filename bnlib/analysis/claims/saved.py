"""How verdicts are saved and read."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from bnlib.analysis.claims.judged import STUDY, Claim, Verdict, Where, halves, judge
from bnlib.analysis.results import REACH, Results
from bnlib.system import files

FILE = "claims.csv"


def save(found: Mapping[str, Results], folder: Path) -> None:
    """Judges the claims by a report's results, of all seeds and of `halves`, and writes `claims.csv`, for `verdicts`."""
    its = halves(found)
    tables = [table(judge(results, where), where, seeds) for where in STUDY for seeds, results in its.items()]
    files.write_if_changed(folder / FILE, pd.concat(tables).to_csv(index=False, lineterminator="\n"))


def verdicts(folder: Path, where: Where = "fresh") -> dict[str, dict[str, Verdict]]:
    """The verdicts that `save` wrote: by the seeds of `halves`, `all` first, then by the claims' numbers."""
    rows = pd.read_csv(folder / FILE, dtype={"claim": str}, keep_default_na=False)
    by_seeds = rows[rows["where"] == where].drop_duplicates(["seeds", "claim"]).groupby("seeds", sort=False)
    return {str(seeds): dict(zip(its.claim, map(Verdict, its.verdict), strict=True)) for seeds, its in by_seeds}


def table(claims: Sequence[Claim], where: Where = "fresh", seeds: str = "all") -> pd.DataFrame:
    """Every part of every claim, a row each; accuracies as fractions, a largest rate as a ratio.

    `where` and `seeds` say which runs judged.
    """
    rows: list[dict[str, Any]] = []
    for claim in claims:
        for part in claim.parts or (None,):
            row: dict[str, Any] = {"claim": claim.number, "name": claim.name, "where": where, "seeds": seeds}
            row |= {"verdict": claim.verdict}
            if part:
                c, limit = part.contrast, 1 if part.contrast.kind == REACH else 0
                row |= {"way": part.way, "way_verdict": claim.ways[part.way], "rate": part.rate}
                row |= {"rate_verdict": claim.at(part.rate)}
                row |= {"part": part.text, "kind": c.kind, "wanted": f"{'above' if part.wanted > 0 else 'below'} {limit}"}
                row |= {"estimate": c.estimate, "low": c.low, "high": c.high, "p": c.p, "p_claim": part.p_claim}
                row |= {"n": c.n, "pairs": c.pairs, "met": part.met}
            rows.append(row)
    return pd.DataFrame(rows).astype({name: "Int64" for name in ("n", "pairs", "met") if any(name in row for row in rows)})
