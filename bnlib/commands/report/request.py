"""What the variables ask a report for, on which data, and who is to do its runs."""

from pathlib import Path

from bnlib import UserError, plural
from bnlib.experiment import studies
from bnlib.experiment.settings import Settings, read, worker_count
from bnlib.runs import cluster
from bnlib.system import download, paths


def asked() -> tuple[Settings, str, str]:
    """What the variables ask for, the rest as the report that stands there was asked for; on which data set; on what cluster.

    Raises:
        UserError: a variable is not what it should be, data are to be had neither here nor elsewhere, or it cannot be read
            what the report that stands there was asked for.
    """
    settings, _, its = read(), worker_count(), _cluster()  # what is wrong is said before data are fetched, and not by a kernel
    try:
        dataset = download.choose(settings.dataset)
    except download.Unreachable:
        dataset = settings.dataset
        if not (paths.report(dataset) / "data/runs.csv").exists():
            raise  # else its runs may do without the images
    return _as_stands(settings, paths.report(dataset) / "data"), dataset, its


def _as_stands(settings: Settings, folder: Path) -> Settings:
    """What was not asked for, as the report that stands in a folder has it: never by default a smaller one in its place."""
    if not (folder / "studies.json").exists():
        return settings
    try:
        return read(standing=studies.asked(studies.load(folder)))
    except (UserError, KeyError) as error:
        reason = f"{folder / 'studies.json'} lacks the study {error}" if isinstance(error, KeyError) else str(error)
        raise UserError(
            f"{reason}; so it cannot be said what the report there was asked for. Mend that file (`git checkout`, say), or "
            "delete it for a report of what the variables ask for"
        ) from error


def _cluster() -> str:
    """How many workers it has, and where it is; empty where there is none."""
    if not (address := cluster.address()):
        return ""
    with cluster.connected(address) as connection:
        return f"{plural(connection.workers, 'worker')} at {address}"
