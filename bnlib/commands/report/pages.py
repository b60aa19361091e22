"""The last step: executed notebooks become pages, with the data beside them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import nbformat

from bnlib import UserError
from bnlib.experiment.settings import LATER
from bnlib.experiment.study import Study
from bnlib.page.html import Page, pictures
from bnlib.page.html import render as html
from bnlib.system import files, stamps

SUBJECT = "batch normalisation in a small CNN"


def render(executed: Sequence[Path], studies: Sequence[Study], results: Path, report: Path, hangs_on: Mapping) -> list[Path]:
    """Writes pages, the pictures of the answer, and data; nothing of the report changes before all of it is on the disk.

    Args:
        executed: the first page's notebook, that of each study, the appendix's.
        studies: the first one on each of the pages between these.
        results: folder of the data.
        report: where to write.
        hangs_on: what pages are made from besides their notebooks.

    Returns:
        What it wrote, the first page first.

    Raises:
        UserError: a notebook does not become a page.
    """
    between = [Page(study.page, study.title) for study in studies]
    pages = [Page("index.html", "Report"), *between, Page("evidence.html", "Evidence")]
    contents: dict[Path, str | bytes] = {}
    for page, path in zip(pages, executed, strict=True):
        contents[report / page.href] = _rendered(path, page, pages, hangs_on)
    for number, svg in enumerate(pictures(nbformat.read(executed[0], as_version=4), "answer"), start=1):
        contents[report / f"answer-{number}.svg"] = svg
    contents |= {report / "data" / path.name: path.read_bytes() for path in sorted(results.glob("[!.]*"))}
    files.write_all(contents)
    for old in {*report.glob("learning-rate-*.html"), *(report / f"{name}.html" for name in LATER)} - set(contents):
        old.unlink(missing_ok=True)  # a page of a rate or a study that this report no longer has
    return list(contents)


def _rendered(executed: Path, page: Page, pages: list[Page], hangs_on: Mapping) -> bytes:
    """The page of a notebook, kept beside it: where another one is edited, this one need not be rendered again."""
    kept, stamp = executed.with_suffix(".html"), executed.with_name(f"{executed.stem}-page.json")
    inputs = {"notebook": files.sha256(executed), "page": page.href, "pages": [[p.href, p.label] for p in pages], **hangs_on}
    if not stamps.is_fresh(stamp, inputs):
        try:
            files.write(kept, html(nbformat.read(executed, as_version=4), f"{page.label}: {SUBJECT}", page, pages))
        except ValueError as error:
            raise UserError(f"{page.href}: {error}") from error
        stamps.write(stamp, inputs, [kept])
    return kept.read_bytes()
