import re

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from bnlib.page import figures, tables
from bnlib.page.html import Page, pictures, render
from tests.conftest import results_of

PAGE = Page("index.html", "Report")


def html_output(shown) -> nbformat.NotebookNode:
    return new_output("execute_result", data={"text/html": shown._repr_html_(), "text/plain": repr(shown)}, execution_count=1)


def page(*cells) -> BeautifulSoup:
    return BeautifulSoup(render(new_notebook(cells=list(cells)), "Title", PAGE, [PAGE]), "html.parser")


@pytest.fixture
def notebook(epochs):
    results = results_of(epochs)
    drawn = figures.curves(results.study, results.study.of(epochs), "train_loss", 0.001, figures.axes())
    picture, table = figures.Picture("curves", "A picture.", drawn), tables.comparison(results, 0.001)
    return new_notebook(
        cells=[
            new_markdown_cell("# Title\n\nWhy."),
            new_code_cell("rate = 1", metadata={"tags": ["parameters"]}),
            new_code_cell("rate = 2", metadata={"tags": ["injected-parameters"]}),
            new_code_cell("import secret", metadata={"tags": ["hidden"]}),
            new_markdown_cell("## First\n\nMath: $x^2$ and\n\n$$ \\frac{1}{2} $$\n\nSee [Figure](#fig-curves)."),
            new_code_cell("figures.Picture()", outputs=[html_output(picture)], execution_count=1),
            new_markdown_cell("## Second\n\n### Part"),
            new_code_cell("tables.comparison()", outputs=[html_output(table)], execution_count=2),
        ]
    )


def test_page_has_no_script_and_asks_for_nothing(notebook):
    html = render(notebook, "Title", PAGE, [PAGE])
    soup = BeautifulSoup(html, "html.parser")
    assert "<script" not in html
    policy = soup.find("meta", attrs={"http-equiv": "Content-Security-Policy"})["content"]
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert all(tag["src"].startswith("data:") for tag in soup.find_all(src=True))
    assert all(tag["href"].startswith("data:") for tag in soup.find_all("link"))
    assert not re.search(r"url\(|@import", html)


def test_two_renderings_are_the_same_bytes(notebook):
    assert render(notebook, "Title", PAGE, [PAGE]) == render(notebook, "Title", PAGE, [PAGE])


def test_tex_becomes_mathml(notebook):
    soup = BeautifulSoup(render(notebook, "Title", PAGE, [PAGE]), "html.parser")
    assert [math["display"] for math in soup.find_all("math")] == ["inline", "block"]
    assert soup.find("mfrac")
    assert "$" not in soup.find("main").get_text()


def test_figures_and_tables_are_numbered_and_referred_to(notebook):
    soup = BeautifulSoup(render(notebook, "Title", PAGE, [PAGE]), "html.parser")
    assert [caption.find("b").get_text() for caption in soup.find_all("figcaption")] == ["Figure 1.", "Table 1."]
    assert soup.find("a", href="#fig-curves").get_text() == "Figure 1"


def test_contents_list_every_heading(notebook):
    soup = BeautifulSoup(render(notebook, "Title", PAGE, [PAGE]), "html.parser")
    links = soup.find("nav", class_="contents").find_all("a")
    assert [link.get_text() for link in links] == ["First", "Second", "Part"]
    assert all(soup.find(id=link["href"][1:]) for link in links)


def test_code_is_folded_and_plumbing_is_gone(notebook):
    soup = BeautifulSoup(render(notebook, "Title", PAGE, [PAGE]), "html.parser")
    folded = [(d.find("summary").get_text(), d.find("pre").get_text().strip()) for d in soup.find_all("details")]
    assert folded == [("Parameters", "rate = 2"), ("Code", "figures.Picture()"), ("Code", "tables.comparison()")]
    assert not any(d.has_attr("open") for d in soup.find_all("details"))
    assert "secret" not in soup.get_text()


def test_output_of_a_hidden_code_cell_is_shown():
    output = new_output("stream", name="stdout", text="shown & <told>")
    soup = page(new_code_cell("secret()", metadata={"tags": ["hidden-code"]}, outputs=[output]))
    assert "shown & <told>" in soup.get_text()
    assert "secret" not in soup.get_text()


def test_text_output_cannot_become_markup():
    output = new_output("execute_result", data={"text/plain": "<script>alert(1)</script>"}, execution_count=1)
    soup = page(new_code_cell("x", outputs=[output]))
    assert soup.find("script") is None
    assert "<script>" in soup.get_text()


def test_headings_of_the_same_words_get_ids_of_their_own():
    soup = page(new_markdown_cell("# T\n\n## Same\n\n## Same"))
    assert [h["id"] for h in soup.find_all("h2")] == ["same", "same-2"]


def test_broken_link_within_the_page_is_an_error():
    with pytest.raises(ValueError, match="links to #fig-gone"):
        page(new_markdown_cell("[Figure](#fig-gone)"))


def test_figure_shown_twice_is_an_error(notebook):
    notebook.cells.append(new_code_cell("again", outputs=notebook.cells[5].outputs))
    with pytest.raises(ValueError, match="an id twice: fig-curves"):
        render(notebook, "Title", PAGE, [PAGE])


def test_navigation_marks_the_page_it_is_on(notebook):
    pages = [PAGE, Page("learning-rate-0.1.html", "Learning rate 0.1")]
    soup = BeautifulSoup(render(notebook, "Title", pages[1], pages), "html.parser")
    assert [(a["href"], a.get("aria-current")) for a in soup.find("nav", class_="pages").find_all("a")] == [
        ("index.html", None),
        ("learning-rate-0.1.html", "page"),
    ]


def test_pictures_are_taken_out_as_svg(notebook):
    (svg,) = pictures(notebook, "curves")
    assert svg.startswith("<?xml")
    assert pictures(notebook, "absent") == []
