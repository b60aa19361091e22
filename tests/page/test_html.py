import contextlib
import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from bnlib.page import figures, tables
from bnlib.page.html import About, Page, check, pictures, render
from tests.conftest import results_of

PAGE = Page("index.html", "Report")


def html_output(shown) -> nbformat.NotebookNode:
    return new_output("execute_result", data={"text/html": shown._repr_html_(), "text/plain": repr(shown)}, execution_count=1)


def page(*cells) -> BeautifulSoup:
    return BeautifulSoup(render(new_notebook(cells=list(cells)), "Title", PAGE, [PAGE]), "html.parser")


def shown_html(html: str) -> nbformat.NotebookNode:
    return new_code_cell("x", outputs=[new_output("display_data", data={"text/html": html})])


@pytest.fixture
def notebook(epochs):
    results = results_of(epochs)
    drawn = figures.curves(results, results.study.of(epochs), "train_loss", 0.001, figures.axes())
    picture, table = figures.Picture("curves", drawn, caption="A picture."), tables.comparison(results, 0.001)
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
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    assert all(tag["src"].startswith("data:") for tag in soup.find_all(src=True))
    assert all(tag["href"].startswith("data:") for tag in soup.find_all("link"))
    assert not re.search(r"url\((?!#)|@import", html)


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
    folded = [(d.find("summary").get_text(), d.find("pre").get_text().strip()) for d in soup.find_all("details", class_="code")]
    assert folded == [
        ("Parameters", "rate = 2"),
        ("Code: figures.Picture()", "figures.Picture()"),
        ("Code: tables.comparison()", "tables.comparison()"),
    ]
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


def test_code_is_called_by_its_first_line_that_does_something():
    source = (
        "# why\nimport x\nfrom x import y\n\n%load_ext z\nvalues = [every_value_of(run) for run in all_the_runs_that_there_are]"
    )
    (summary,) = page(new_code_cell(source)).main.find_all("summary")
    assert summary.get_text() == "Code: values = [every_value_of(run) for run in…"


def test_output_that_a_test_checks_is_not_shown():
    output = new_output("execute_result", data={"text/plain": "{'none': 421642}"}, execution_count=1)
    soup = page(new_code_cell("count()", metadata={"tags": ["nbval-check-output"]}, outputs=[output]))
    assert "421642" not in soup.get_text()
    assert "count()" in soup.get_text()


def test_link_whose_text_is_its_own_keeps_it(notebook):
    notebook.cells.append(new_markdown_cell("See [the curves](#fig-curves)."))
    soup = BeautifulSoup(render(notebook, "Title", PAGE, [PAGE]), "html.parser")
    assert [a.get_text() for a in soup.find_all("a", href="#fig-curves")] == ["Figure 1", "Figure 1.", "the curves"]


def test_heading_has_an_anchor_that_adds_nothing_to_its_words():
    (heading,) = page(new_markdown_cell("# T\n\n## Rate 0.1")).find_all("h2")
    assert (heading["id"], heading.a["href"], heading.get_text()) == ("rate-0.1", "#rate-0.1", "Rate 0.1")


def test_page_without_headings_has_no_contents():
    assert page(new_markdown_cell("# T")).find(class_="contents") is None


@pytest.mark.parametrize("html", ['<meta http-equiv="refresh" content="0">', '<base href="https://a.b/">', "<form></form>"])
def test_what_would_lead_a_reader_away_is_refused(html):
    for cell in (shown_html(f"<div>{html}</div>"), new_markdown_cell(html)):
        with pytest.raises(ValueError, match=f"brings <{re.match('<(.*?)[ >]', html)[1]}>"):
            page(cell)


def test_image_that_would_be_fetched_is_said_to_be_left_out():
    soup = page(new_markdown_cell('![A cat](https://a.b/cat.png) <img src="data:image/png;base64,AA==" alt="">'))
    assert [image["src"] for image in soup.find_all("img")] == ["data:image/png;base64,AA=="]
    assert "The image “A cat” at https://a.b/cat.png was left out" in soup.main.get_text()


def test_note_is_a_fold_with_markdown_in_it():
    soup = page(
        new_markdown_cell('A.\n\n<details class="note"><summary>How sure</summary>\n\nBy **much**.\n\n</details>\n\nB.')
    )
    note = soup.find("details", class_="note")
    assert note.find("strong").get_text() == "much"
    assert "B." not in note.get_text()


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


def test_pictures_become_files_to_which_their_captions_link(notebook):
    drawn = pictures(notebook, PAGE)
    assert list(drawn) == ["figures/index-curves.svg"]
    (link,) = BeautifulSoup(render(notebook, "Title", PAGE, [PAGE]), "html.parser").find_all("a", class_="large")
    assert link["href"] == "figures/index-curves.svg"
    ET.fromstring(drawn["figures/index-curves.svg"])
    assert "<title>A picture.</title>" in drawn["figures/index-curves.svg"]


def test_file_of_a_picture_has_no_panel_for_narrow_screens():
    wide, narrow = (figures.describe(figures.axes(width), "Nothing.") for width in (7, 3))
    notebook = new_notebook(cells=[shown_html(figures.Picture("p", wide, narrow=[narrow], caption="C")._repr_html_())])
    (drawn,) = pictures(notebook, PAGE).values()
    assert re.findall('width="(.*?)"', drawn)[:2] == ["672", "672"]
    assert drawn.count("<svg") == 2


def test_page_of_a_notebook_says_what_it_is_and_where_its_numbers_are(notebook):
    first, its = Page("index.html", "Report", "report.ipynb"), Page("inside.html", "Inside", "inside.ipynb")
    about = About(
        notebooks="../../notebooks",
        data=("data/runs.csv",),
        dates="2026-11-25 to 2026-11-27",
        codes=("6a02",),
        citation="Us, “It”",
    )
    soups = [BeautifulSoup(render(notebook, "T", each, [first, its], about), "html.parser") for each in (first, its)]
    assert soups[0].find(class_="byline") is None
    byline = soups[1].find("h1").find_next_sibling()
    assert [a["href"] for a in byline.find_all("a")] == ["../../notebooks/inside.ipynb", "data/runs.csv", "index.html"]
    for soup in soups:
        assert "on 2026-11-25 to 2026-11-27 by training code 6a02" in soup.footer.get_text()
        assert "Us, “It”" in soup.footer.get_text()
    several = render(notebook, "T", its, [first, its], replace(about, codes=("6a02", "7b13")))
    assert "by 2 states of the training code" in BeautifulSoup(several, "html.parser").footer.get_text()


def test_page_out_of_reach_of_the_notebooks_names_its_own_without_a_link(notebook):
    its = Page("inside.html", "Inside", "inside.ipynb")
    byline = BeautifulSoup(render(notebook, "T", its, [PAGE, its]), "html.parser").find(class_="byline")
    assert "notebooks/inside.ipynb" in byline.get_text()
    assert [a["href"] for a in byline.find_all("a")] == ["index.html"]


@pytest.mark.parametrize(
    ("href", "problem"),
    [
        ("other.html#there", None),
        ("other.html", None),
        ("data/runs.csv", None),
        ("../../notebooks/report.ipynb", None),
        ("https://a.b/c#d", None),
        ("gone.html", "index.html links to gone.html, which this report lacks"),
        ("data/gone.csv", "index.html links to data/gone.csv, which this report lacks"),
        ("other.html#gone", "index.html links to other.html#gone, a place that other.html lacks"),
    ],
)
def test_links_among_pages_lead_somewhere(href, problem):
    pages = {"index.html": f'<p><a class="x" href="{href}">x</a></p>', "other.html": '<h2 id="there">There</h2>'}
    with pytest.raises(ValueError, match=f"^{re.escape(problem)}$") if problem else contextlib.nullcontext():
        check(pages, {"data/runs.csv"})
