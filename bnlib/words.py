"""Numbers and lists in English."""

from collections.abc import Sequence

ARMS = {"none": "without batch norm", "batch": "with batch norm"}


def plural(count: int, noun: str) -> str:
    """`1 seed`, `3 seeds`."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def listing(items: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def plain(text: str) -> str:
    """Markdown without its bold."""
    return text.replace("**", "")
