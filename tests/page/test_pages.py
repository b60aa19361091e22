"""The pages in a real browser, those just made and the committed ones: what a reader gets, and a screen reader."""

import os
import shutil

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

from bnlib.system import paths

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
COMMITTED = paths.ROOT / "reports/mnist"
PAGES = sorted(COMMITTED.glob("*.html"))

# Where a change is judged the browser has to be there; elsewhere its absence skips these tests.
pytestmark = pytest.mark.skipif(CHROMIUM is None and not os.environ.get("CI"), reason="Chromium is not installed")


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield launched
        launched.close()


def opened(browser, path, width=1280, scheme="light"):
    """A page, what it asked for over any protocol but `data:`, and what its console said."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    requests, console = [], []
    page.on("request", lambda request: requests.append(request.url) if not request.url.startswith("data:") else None)
    page.on("console", lambda message: console.append(message.text))
    page.on("pageerror", lambda error: console.append(str(error)))
    page.goto(path.as_uri())
    return page, requests, console


def test_there_are_pages_to_open():
    assert {"index.html", "learning-rate-0.001.html", "replay.html"} <= {page.name for page in PAGES}


def check(browser, path, width, scheme):
    page, requests, console = opened(browser, path, width, scheme)
    assert requests == [path.as_uri()]
    assert console == []
    assert page.locator("h1").count() == 1
    assert page.locator("table").count() >= 2
    assert page.locator("img").count() >= 2
    assert page.eval_on_selector_all("img", "all => all.every(i => i.complete && i.naturalWidth > 0 && i.alt.length > 20)")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "the page scrolls sideways"
    violations = Axe().run(page).response["violations"]
    assert [(v["id"], [node["html"][:90] for node in v["nodes"]][:3]) for v in violations] == []
    page.close()


VIEWS = pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])


@pytest.mark.parametrize(("name", "width", "scheme"), [("index", 390, "dark"), ("learning-rate-1000", 1280, "light")])
def test_page_just_made_is_whole_quiet_and_accessible(name, width, scheme, browser, made):
    check(browser, made[0] / f"reports/digits/{name}.html", width, scheme)


@VIEWS
@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_committed_page_is_whole_quiet_and_accessible(path, width, scheme, browser):
    check(browser, path, width, scheme)


def test_unfolded_code_is_accessible(browser):
    for scheme in ("light", "dark"):
        page, *_ = opened(browser, COMMITTED / "index.html", scheme=scheme)
        page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        assert [v["id"] for v in Axe().run(page).response["violations"]] == []
        page.close()


def test_dark_theme_reaches_page_and_figures(browser):
    colours = []
    for scheme in ("light", "dark"):
        page, *_ = opened(browser, COMMITTED / "index.html", scheme=scheme)
        colours.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        colours.append(page.locator(".panels img").first.screenshot())
        page.close()
    assert colours[0] != colours[2]
    assert colours[1] != colours[3]


def test_report_prints(browser):
    page, *_ = opened(browser, COMMITTED / "index.html")
    assert page.pdf(format="A4").startswith(b"%PDF")
    page.emulate_media(media="print")
    assert page.locator("nav.pages").is_hidden()
    assert page.locator("details.code").first.is_hidden()
    page.close()
