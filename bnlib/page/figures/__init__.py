"""The figures: one function each, which draws on `ax`, leaves a description for those who cannot see it, returns `ax`."""

from bnlib.page.figures.chain import chain
from bnlib.page.figures.contrasts import across_rates, differences, threshold
from bnlib.page.figures.inside import by_step, first_step, strip, what_is_left
from bnlib.page.figures.picture import Picture, describe
from bnlib.page.figures.rates import range_accuracy, range_failed, range_loss
from bnlib.page.figures.runs import curves, examples, survival
from bnlib.page.style import axes

__all__ = [
    "Picture",
    "across_rates",
    "axes",
    "by_step",
    "chain",
    "curves",
    "describe",
    "differences",
    "examples",
    "first_step",
    "range_accuracy",
    "range_failed",
    "range_loss",
    "strip",
    "survival",
    "threshold",
    "what_is_left",
]
