"""What batch normalisation buys a small CNN on MNIST: an experiment, its analysis, and the report made of them.

The data flow, wing by wing::

    experiment.Study -> training, runs -> experiment.records -> analysis -> page
                                  (what people type: commands; the world outside: system)

A wing imports only what stands below it. `analysis` and `page` never import `training` or `runs`: the two columns meet in
`experiment`, in `commands` and in notebooks.
"""

import sys

__version__ = "0.1.0"

# jsonschema, and so nbformat, nbclient and nbconvert, would compile a grammar with it for 1 to 2 s, only to check addresses of
# which notebooks have none; it does without. It stands here because who imports one of these has imported this first.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]


class UserError(Exception):
    """Something the person at the keyboard can mend; its message is one line that says what is wrong and what to do."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows in place of a traceback."""
        return [str(self)]


def plural(count: int, noun: str) -> str:
    """`1 seed`, `3 seeds`."""
    return f"{count:,} {noun}{'s' * (count != 1)}"
