"""The records of runs: what came back, as runs and as tidy tables."""

from bnlib.experiment.records.run import MEASURED, Epoch, Look, Run, grouped, serving
from bnlib.experiment.records.tables import COLUMNS, LOOKED, Records, collect, join, load, save
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
    "grouped",
    "join",
    "load",
    "save",
    "serving",
    "taken",
]
