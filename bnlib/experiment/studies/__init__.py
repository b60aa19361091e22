"""The studies of the report: what each asks, and all of them together."""

from bnlib.experiment.studies.questions import controls, each_rate, inside, rate_range, replay
from bnlib.experiment.studies.whole import asked, by_page, joined, load, not_as_asked, parameters, save, studies

__all__ = [
    "asked",
    "by_page",
    "controls",
    "each_rate",
    "inside",
    "joined",
    "load",
    "not_as_asked",
    "parameters",
    "rate_range",
    "replay",
    "save",
    "studies",
]
