"""The command that makes a report's records again."""

from collections.abc import Mapping

from bnlib.experiment.config import rate_name
from bnlib.experiment.settings import ALWAYS, LATER
from bnlib.experiment.study import Study


def command(studies: Mapping[str, Study], facts: Mapping[str, str]) -> str:
    """`make report` with all that makes a difference to what is recorded.

    Args:
        studies: those of the report by name, parts put together.
        facts: the report's provenance.
    """
    each, span = studies["learning_rate"], studies["learning_rate_range"]
    rates, wide = (" ".join(map(rate_name, study.rates)) for study in (each, span))
    arms, later = " ".join(str(arm.levels["norm"]) for arm in each.arms), [name for name in LATER if name in studies]
    return (
        f'make report DATASET={each.held["dataset"]} ARMS="{arms}" LEARNING_RATES="{rates}" SEEDS={each.seeds} '
        f'EPOCHS={each.epochs} STUDY_SEEDS={span.seeds} RANGE_RATES="{wide}" PRECISION={facts["precision"]} '
        f'DEVICE={facts["device"]} STUDIES="{" ".join((*ALWAYS, *later))}"'
    )
