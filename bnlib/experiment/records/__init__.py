"""The records of runs: what came back, as runs and as tidy tables."""

from bnlib.experiment.records.run import MEASURED, Epoch, Look, Run, differences, grouped, in_words, serving
from bnlib.experiment.records.tables import COLUMNS, LOOKED, Records, collect, join, load, mixed, save
from bnlib.experiment.records.taken import taken

__all__ = [
    "COLUMNS",
    "LOOKED",
    "MEASURED",
    "Epoch",
    "Look",
    "Records",
    "Run",
    "collect",
    "differences",
    "grouped",
    "in_words",
    "join",
    "load",
    "mixed",
    "save",
    "serving",
    "taken",
]
