"""The tables: one function each."""

from bnlib.page.tables.arms import best_rates, comparison, cost, facts, machines, networks, splits
from bnlib.page.tables.article import glance, summary
from bnlib.page.tables.evidence import claims, gaps, parts, reached, sides, steadiness, tests
from bnlib.page.tables.inside import first_steps, gains, left, ratios, survival, usable
from bnlib.page.tables.studies import asked, effects, first_losses, rates, replayed, replayed_test
from bnlib.page.tables.table import Table

__all__ = [
    "Table",
    "asked",
    "best_rates",
    "claims",
    "comparison",
    "cost",
    "effects",
    "facts",
    "first_losses",
    "first_steps",
    "gains",
    "gaps",
    "glance",
    "left",
    "machines",
    "networks",
    "parts",
    "rates",
    "ratios",
    "reached",
    "replayed",
    "replayed_test",
    "sides",
    "splits",
    "steadiness",
    "summary",
    "survival",
    "tests",
    "usable",
]
