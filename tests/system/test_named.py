"""Which modules of figures and tables a page hangs on."""

import json

import pytest

from bnlib.system import paths
from bnlib.system.code import named

FIGURES = paths.PACKAGE / "page/figures"
ALL = {path.stem for path in FIGURES.glob("[!_]*.py")}


def reached(code: str) -> set[str]:
    return ALL - {path.stem for path in named.unreached(code, [FIGURES])}


@pytest.mark.parametrize(
    ("code", "modules"),
    [
        ("from bnlib.page import figures, tables\nfigures.chain(1)", {"chain", "picture"}),
        ("from bnlib.page import figures\nfigures.curves()", {"runs", "rates", "picture"}),  # `runs` takes scales from `rates`
        ("figures.axes()", set()),  # of another package
        ("from bnlib.page.figures.picture import document", {"picture"}),
        ("prefigures.chain, figures_chain", set()),
        ("", set()),
    ],
)
def test_module_counts_where_something_of_it_is_named(code, modules):
    assert reached(code) == modules


@pytest.mark.parametrize(
    "code",
    [
        "from bnlib.page import figures as f\nf.chain()",
        "from bnlib.page.figures import chain",
        "from bnlib.page import figures\ngetattr(figures, name)",
        "from bnlib.page import figures\nfigures.no_such_thing",
        "import bnlib.page.figures as f",
        "from bnlib.page import (\n    figures,\n)\nfigures.chain()",
    ],
)
def test_package_that_is_named_otherwise_counts_as_a_whole(code):
    assert reached(code) == ALL


@pytest.mark.parametrize(
    ("line", "clear"),
    [
        ("from pack.figures.rates import steps", True),
        ("from pack.figures import rates", False),
        ("import pack.figures.rates as r", False),
        ("from .rates import steps", False),
        ("import numpy as np", True),
    ],
)
def test_module_that_imports_otherwise_reaches_all_of_its_package(tmp_path, line, clear):
    package = tmp_path / "pack/figures"
    package.mkdir(parents=True)
    texts = {"__init__": "from pack.figures.mine import draw\n", "mine": f"{line}\n", "rates": "steps = 1\n", "other": ""}
    for name, text in texts.items():
        (package / f"{name}.py").write_text(text)
    left = {path.stem for path in named.unreached("figures.draw()", [package])}
    assert left == ({"rates", "other"} - ({"rates"} if "rates" in line else set()) if clear else set())


def test_what_a_notebook_writes_about_figures_reaches_none(tmp_path):
    cells = [
        {"cell_type": "markdown", "source": ["figures in words"]},
        {"cell_type": "code", "source": ["%%prose\n", "The figures show {{ figures.chain(1) }} {% if a %}b{% endif %}."]},
        {"cell_type": "code", "source": ["%%caption figures.curves()\n", "Figures."]},
        {"cell_type": "code", "source": "figures.error()"},
    ]
    path = tmp_path / "some.ipynb"
    path.write_text(json.dumps({"cells": cells}))
    code = named.of_notebook(path)
    assert code.splitlines() == [
        "%%prose",
        "{{ figures.chain(1) }}",
        "{% if a %}",
        "{% endif %}",
        "%%caption figures.curves()",
        "figures.error()",
    ]
    assert reached(code) == {"chain", "runs", "rates", "picture"}


def test_every_notebook_of_the_report_says_which_tables_it_shows():
    tables = paths.PACKAGE / "page/tables"
    for notebook in paths.NOTEBOOKS.glob("*.ipynb"):
        assert named.unreached(named.of_notebook(notebook), [tables]), notebook.name
