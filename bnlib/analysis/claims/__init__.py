"""The original's claims, each held against the contrasts: what has to be true for it, and the verdict that follows."""

from bnlib.analysis.claims.judged import (
    ARM,
    CONTRADICTED,
    DEPENDS,
    KNOWN,
    OPEN,
    STUDY,
    SUPPORTED,
    UNSUPPORTED,
    UNTESTED,
    Claim,
    Part,
    Verdict,
    Where,
    halves,
    judge,
)
from bnlib.analysis.claims.saved import save, table, verdicts

__all__ = [
    "ARM",
    "CONTRADICTED",
    "DEPENDS",
    "KNOWN",
    "OPEN",
    "STUDY",
    "SUPPORTED",
    "UNSUPPORTED",
    "UNTESTED",
    "Claim",
    "Part",
    "Verdict",
    "Where",
    "halves",
    "judge",
    "save",
    "table",
    "verdicts",
]
