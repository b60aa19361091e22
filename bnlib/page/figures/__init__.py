"""The figures: one function each, which draws on `ax`, leaves a description for those who cannot see it, returns `ax`."""

from bnlib.page.figures.chain import chain
from bnlib.page.figures.inside import by_step, first_step, strip, what_is_left
from bnlib.page.figures.picture import Picture, describe
from bnlib.page.figures.rates import error, failed, reach
from bnlib.page.figures.runs import curves, examples, survival
from bnlib.page.style import axes

__all__ = [
    "Picture",
    "axes",
    "by_step",
    "chain",
    "curves",
    "describe",
    "error",
    "examples",
    "failed",
    "first_step",
    "reach",
    "strip",
    "survival",
    "what_is_left",
]
