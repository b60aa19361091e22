"""What the variables ask a report for, on which data, and who is to do its runs."""

import contextlib

from bnlib import UserError
from bnlib.experiment import studies
from bnlib.experiment.settings import Settings, read, worker_count
from bnlib.page.words import plural
from bnlib.runs import cluster
from bnlib.system import download, paths


def asked() -> tuple[Settings, str, str]:
    """What the variables ask for, the rest as the report that stands there was asked for; on which data set; on what cluster.

    Raises:
        UserError: a variable is not what it should be, or data are to be had neither here nor elsewhere.
    """
    settings, _, its = read(), worker_count(), _cluster()  # what is wrong is said before data are fetched, and not by a kernel
    try:
        dataset = download.choose(settings.dataset)
    except download.Unreachable:
        dataset = settings.dataset
        if not (paths.report(dataset) / "data/runs.csv").exists():
            raise  # else its runs may do without the images
    with contextlib.suppress(UserError, KeyError):  # none stands there, or none that can be read
        settings = read(standing=studies.asked(studies.load(paths.report(dataset) / "data")))
    return settings, dataset, its


def _cluster() -> str:
    """How many workers it has, and where it is; empty where there is none."""
    if not (address := cluster.address()):
        return ""
    with cluster.connected(address) as connection:
        return f"{plural(connection.workers, 'worker')} at {address}"
