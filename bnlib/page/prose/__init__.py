"""What the pages say, in sentences; `captions` has those under the figures."""

from bnlib.page.prose.answer import across_rates, answer, at_rate, difference, first, headline, lead, stability, verdicts
from bnlib.page.prose.claims import claim, note
from bnlib.page.prose.notes import (
    chains_done,
    command,
    limits,
    method,
    missing,
    notice,
    page_link,
    reproduce,
    runs_done,
    setting,
)
from bnlib.page.prose.rates import reach
from bnlib.page.prose.sections import (
    cost,
    each_rate,
    general,
    networks,
    order,
    own_rates,
    replayed,
    soon,
    steady,
    sure,
)

__all__ = [
    "across_rates",
    "answer",
    "at_rate",
    "chains_done",
    "claim",
    "command",
    "cost",
    "difference",
    "each_rate",
    "first",
    "general",
    "headline",
    "lead",
    "limits",
    "method",
    "missing",
    "networks",
    "note",
    "notice",
    "order",
    "own_rates",
    "page_link",
    "reach",
    "replayed",
    "reproduce",
    "runs_done",
    "setting",
    "soon",
    "stability",
    "steady",
    "sure",
    "verdicts",
]
