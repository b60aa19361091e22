"""Contrasts: each arm minus the reference, in each outcome, over pairs of runs; computed once, saved, and read by all else."""

from bnlib.analysis.contrasts.computed import ACCURACY, COLUMNS, LOSS, best_rates, of
from bnlib.analysis.contrasts.saved import load, save
from bnlib.analysis.contrasts.subsets import against, at_rates, between, only

__all__ = ["ACCURACY", "COLUMNS", "LOSS", "against", "at_rates", "best_rates", "between", "load", "of", "only", "save"]
