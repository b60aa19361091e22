"""The last step: executed notebooks become pages, with the data beside them."""

import importlib.metadata
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import nbformat

from bnlib import UserError
from bnlib.experiment.settings import LATER
from bnlib.experiment.study import Study
from bnlib.page.html import About, Page, check, pictures
from bnlib.page.html import render as html
from bnlib.runs import provenance
from bnlib.system import files, paths, stamps

SUBJECT = "batch normalisation in a small CNN"


def render(
    executed: Sequence[Path], studies: Sequence[Study], results: Path, report: Path, hangs_on: Mapping, stands: Path
) -> list[Path]:
    """Writes pages, their figures as files, and data; nothing of the report changes before all of it is on the disk.

    Args:
        executed: the first page's notebook, that of each study, the appendix's.
        studies: the first one on each of the pages between these.
        results: folder of the data.
        report: where to write.
        hangs_on: what pages are made from besides their notebooks.
        stands: where the report stands for its readers: links out of it begin there.

    Returns:
        What it wrote, the first page first.

    Raises:
        UserError: a notebook does not become a page.
    """
    between = [Page(study.page, study.title, f"{study.notebook}.ipynb") for study in studies]
    pages = [Page("index.html", "Report", executed[0].name), *between, Page("evidence.html", "Evidence", executed[-1].name)]
    about = _about(results, stands)
    contents: dict[Path, str | bytes] = {}
    for page, path in zip(pages, executed, strict=True):
        contents[report / page.href] = _rendered(path, page, pages, about, hangs_on)
    for page, path in zip(pages, executed, strict=True):
        contents |= {report / name: svg for name, svg in pictures(nbformat.read(path, as_version=4), page).items()}
    contents |= {report / "data" / path.name: path.read_bytes() for path in sorted(results.glob("[!.]*"))}
    try:
        shown = {page.href: contents[report / page.href].decode() for page in pages}
        check(shown, {str(path.relative_to(report)) for path in contents})
    except ValueError as error:
        raise UserError(str(error)) from error
    files.write_all(contents)
    later = (report / f"{name.replace('_', '-')}.html" for name in LATER)
    old = {*report.glob("learning-rate-*.html"), *later, *report.glob("figures/*.svg")}
    for path in (old | {report / "data/steps.csv"}) - set(contents):
        path.unlink(missing_ok=True)  # of a rate or a study that this report no longer has
    return list(contents)


def _about(results: Path, stands: Path) -> About:
    """What the pages say of the report: of when the pages were made nothing, of when its runs were the days."""
    facts = provenance.load(results)
    codes = re.findall(r"\b([0-9a-f]{8})[0-9a-f]{56}\b", facts.get("SHA-256 of the training code", ""))
    return About(
        notebooks=os.path.relpath(paths.NOTEBOOKS, stands) if stands.is_relative_to(paths.ROOT) else "",
        data=tuple(f"data/{path.name}" for path in sorted(results.glob("[!.]*.csv"))),
        dates=facts.get(provenance.MADE_ON, ""),
        codes=tuple(codes),
        **project(),
    )


def project() -> dict[str, str]:
    """What pages say of the project, from the package's metadata: how to cite it, and its address, empty where it has none."""
    told = importlib.metadata.metadata("bnlib")
    addresses = dict(each.split(", ", 1) for each in told.get_all("Project-URL", []))
    its = f"{told['Name']} {told['Version']}, {told['License-Expression']} licence"
    return {"citation": f"{told['Author']}, “{told['Summary']}”, {its}", "source": addresses.get("Source", "")}


def _rendered(executed: Path, page: Page, pages: list[Page], about: About, hangs_on: Mapping) -> bytes:
    """The page of a notebook, kept beside it: where another one is edited, this one need not be rendered again."""
    kept, stamp = executed.with_suffix(".html"), executed.with_name(f"{executed.stem}-page.json")
    told = {"page": page.href, "pages": [asdict(each) for each in pages], "about": asdict(about)}
    inputs = {"notebook": files.sha256(executed), **told, **hangs_on}
    if not stamps.is_fresh(stamp, inputs):
        try:
            title = f"{page.label}: {SUBJECT}"
            files.write(kept, html(nbformat.read(executed, as_version=4), title, page, pages, about))
        except ValueError as error:
            raise UserError(f"{page.href}: {error}") from error
        stamps.write(stamp, inputs, [kept])
    return kept.read_bytes()
