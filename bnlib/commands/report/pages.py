"""The last step: executed notebooks become pages, with the data beside them."""

from collections.abc import Sequence
from pathlib import Path

import nbformat

from bnlib import UserError
from bnlib.experiment.study import Study
from bnlib.page.html import Page, pictures
from bnlib.page.html import render as html
from bnlib.system import files

SUBJECT = "batch normalisation in a small CNN"


def render(executed: Sequence[Path], studies: Sequence[Study], results: Path, report: Path) -> list[Path]:
    """Writes pages, the pictures of the answer, and data; nothing of the report changes before all of it is on the disk.

    Args:
        executed: the first page's notebook, then each study's.
        results: folder of the data.
        report: where to write.

    Returns:
        What it wrote, the first page first.

    Raises:
        UserError: a notebook does not become a page.
    """
    pages = [Page("index.html", "Report"), *(Page(study.page, study.title) for study in studies)]
    notebooks = [nbformat.read(path, as_version=4) for path in executed]
    contents: dict[Path, str | bytes] = {}
    for page, notebook in zip(pages, notebooks, strict=True):
        try:
            contents[report / page.href] = html(notebook, f"{page.label}: {SUBJECT}", page, pages)
        except ValueError as error:
            raise UserError(f"{page.href}: {error}") from error
    for number, svg in enumerate(pictures(notebooks[0], "answer"), start=1):
        contents[report / f"answer-{number}.svg"] = svg
    contents |= {report / "data" / path.name: path.read_bytes() for path in sorted(results.glob("[!.]*"))}
    files.write_all(contents)
    for old in set(report.glob("learning-rate-*.html")) - set(contents):
        old.unlink()  # a page of a rate that this report no longer has
    return list(contents)
