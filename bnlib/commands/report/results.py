"""What a report's studies came to: their records joined, and what is computed from them once."""

from collections.abc import Sequence
from pathlib import Path

from bnlib.analysis import claims, contrasts
from bnlib.experiment import records, studies
from bnlib.experiment.study import Study
from bnlib.runs import provenance
from bnlib.system import files


def save(folders: Sequence[Path], into: Path, took: Path, keep_time: bool) -> None:
    """Writes records, contrasts, claims, networks and facts of several studies, for the report's notebook.

    Args:
        folders: those of the studies' own records, the runs at each rate first.
        into: where to write.
        took: the file that keeps how long the runs trained.
        keep_time: whether to write that file anew.
    """
    made = records.join(records.load(folder) for folder in folders)
    records.save(made, into)
    asked = [Study.model_validate_json((folder / "study.json").read_bytes()) for folder in folders]
    results = [contrasts.of(study, made.epochs, made.steps) for study in studies.joined(asked)]
    found = {each.study.name: each for each in results}
    # What would do in its place is held against batch norm, too.
    instead = [each for each in results if each.study.combined and claims.ARM in {arm.name for arm in each.study.arms}]
    again = [contrasts.against(each, claims.ARM) for each in instead]
    contrasts.save([*results, *again], into)
    claims.save(found, into)
    files.write_if_changed(into / "networks.csv", (folders[0] / "networks.csv").read_bytes())
    if keep_time:
        provenance.keep_time(made, took)
    described = provenance.joined(zip(asked, map(provenance.load, folders), strict=True))
    provenance.save_facts(provenance.facts(described, made.runs) | provenance.kept_time(made, took), into)
