"""How contrasts are saved and read."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from bnlib import UserError
from bnlib.analysis.results import Results
from bnlib.experiment import studies
from bnlib.experiment.outcomes import OUTCOMES
from bnlib.experiment.study import Study
from bnlib.system import files

# "none" is an arm, and no missing value.
READ: dict[str, Any] = {"keep_default_na": False, "na_values": [""], "dtype": {"arm": str, "study": str, "reference": str}}


def save(all_results: Sequence[Results], folder: Path) -> None:
    """Writes `contrasts.csv`, `outcomes.csv` (a row for each run) and `studies.json`, for `load`.

    Of results of the same runs against several references the contrasts are written of each, and the first is what is read.
    """
    first = list({results.study.name: results for results in reversed(all_results)}.values())[::-1]
    studies.save([results.study for results in first], folder)
    for name, tables in (("contrasts", [r.contrasts for r in all_results]), ("outcomes", [r.runs for r in first])):
        table = pd.concat(tables, ignore_index=True)
        files.write_if_changed(folder / f"{name}.csv", table.to_csv(index=False, lineterminator="\n"))


def load(folder: Path, against: str = "") -> dict[str, Results]:
    """Reads what `save` wrote: the results of each study, by its name; `against` an arm, of those held against it, too.

    Raises:
        UserError: a file is absent or damaged.
    """
    try:
        found = studies.load(folder)
        runs, contrasts = (pd.read_csv(folder / f"{name}.csv", **READ) for name in ("outcomes", "contrasts"))
        if against:
            found = [s.against(against) for s in found if s.name in set(contrasts.study[contrasts.reference == against])]
        return {study.name: Results(study, *(_part(study, table) for table in (runs, contrasts))) for study in found}
    except (UserError, OSError, ValueError, KeyError, AttributeError) as error:
        raise UserError(f"{folder} has no contrasts that can be read; `make report` makes them again ({error})") from error


def _part(study: Study, table: pd.DataFrame) -> pd.DataFrame:
    """The rows of a study, without the outcomes that only others have."""
    others = set(OUTCOMES) - set(study.outcomes)
    its = table[table.study == study.name]
    if "reference" in its:
        its = its[its.reference == study.arms[0].name]
    return its.drop(columns=others & set(table.columns)).reset_index(drop=True)
