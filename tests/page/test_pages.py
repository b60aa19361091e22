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


def opened(browser, path, width=1280, scheme="light", height=900):
    """A page, what it asked for over any protocol but `data:`, and what its console said."""
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    requests, console = [], []
    page.on("request", lambda request: requests.append(request.url) if not request.url.startswith("data:") else None)
    page.on("console", lambda message: console.append(message.text))
    page.on("pageerror", lambda error: console.append(str(error)))
    page.goto(path.as_uri())
    return page, requests, console


def test_there_are_pages_to_open():
    assert {"index.html", "learning-rate-0.001.html", "replay.html"} <= {page.name for page in PAGES}


def violations(page):
    """What axe finds. That a frame which scrolls can be reached is tested by the keyboard itself, as browsers see to it."""
    options = {"rules": {"scrollable-region-focusable": {"enabled": False}}}
    # What a panel is drawn of is behind its description, and takes axe a minute.
    found = Axe().run(page, context={"exclude": ".panel > *"}, options=options).response["violations"]
    return [(v["id"], [node["html"][:90] for node in v["nodes"]][:3]) for v in found]


def check(browser, path, width, scheme):
    page, requests, console = opened(browser, path, width, scheme)
    assert requests == [path.as_uri()]
    assert console == []
    assert page.locator("h1").count() == 1
    assert page.locator("table").count() >= 2
    assert page.locator(".panel").count() >= 2
    assert page.eval_on_selector_all(".panel", "all => all.every(each => each.getAttribute('aria-label').length > 20)")
    assert violations(page) == []
    page.close()


VIEWS = pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])


@pytest.mark.parametrize(("name", "width", "scheme"), [("index", 390, "dark"), ("learning-rate-1000", 1280, "light")])
def test_page_just_made_is_whole_quiet_and_accessible(name, width, scheme, browser, made):
    check(browser, made[0] / f"reports/digits/{name}.html", width, scheme)


@VIEWS
@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_committed_page_is_whole_quiet_and_accessible(path, width, scheme, browser):
    check(browser, path, width, scheme)


# Of all letters of figures that are shown, the smallest, in CSS pixels on the screen.
SMALLEST = """() => Math.min(...[...document.querySelectorAll('.panel text, .panel tspan')]
    .filter(each => each.textContent.trim() && each.getClientRects().length)
    .map(each => [parseFloat(getComputedStyle(each).fontSize), each.getScreenCTM()])
    .map(([size, drawn]) => size * Math.hypot(drawn.a, drawn.b)))"""


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_nothing_is_wider_than_the_screen_nor_its_letters_too_small(path, browser):
    page, *_ = opened(browser, path)
    for width in (360, 390, 640, 1024, 1200, 1920):  # 640 is a window of 1280 at 200%
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width, f"the page scrolls sideways at {width}"
        if width in (360, 390):
            assert page.evaluate(SMALLEST) >= 11
    page.close()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_figures_can_be_read_on_paper(path, browser):
    page, *_ = opened(browser, path, width=673)  # what margins leave of A4
    page.emulate_media(media="print")
    assert page.evaluate(SMALLEST) >= 7 * 96 / 72
    assert page.evaluate("document.documentElement.scrollWidth") <= 673
    page.close()


def test_a_panel_for_two_in_a_row_fits_a_small_screen_whole(browser):
    page, *_ = opened(browser, COMMITTED / "index.html", width=360)
    assert page.eval_on_selector(
        ".panels.of-2", "frame => [frame.clientWidth >= 328, frame.scrollWidth - frame.clientWidth]"
    ) == [True, 0]
    page.close()


def test_keyboard_reaches_the_frames_that_scroll_and_no_others(browser):
    page, *_ = opened(browser, COMMITTED / "learning-rate-range.html", width=390)
    reached = set()
    for _ in range(page.locator("a, summary, input, .scroll, .panels").count()):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate("document.activeElement.matches('.scroll, .panels') && document.activeElement.closest('figure').id")
        )
    scrolls = "all => all.filter(each => each.scrollWidth > each.clientWidth).map(each => each.closest('figure').id)"
    frames = set(page.eval_on_selector_all(".scroll, .panels", scrolls))
    assert frames
    assert reached - {False} == frames
    page.close()


def in_first_screen(page, *selectors: str) -> bool:
    """Whether the first of each that `selectors` find begins in the first screen, and each but the last also ends there."""
    boxes = [page.locator(selector).first.bounding_box() for selector in selectors]
    height = page.viewport_size["height"]
    return all(box["y"] + box["height"] <= height for box in boxes[:-1]) and boxes[-1]["y"] < height


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)])
def test_title_and_answer_come_first(width, height, browser):
    page, *_ = opened(browser, COMMITTED / "index.html", width=width, height=height)
    assert page.locator("h1").bounding_box()["y"] < 100
    assert page.locator("nav.contents a").first.is_visible() == (width == 1280)
    page.close()


def test_answer_and_picture_are_in_the_first_screen(browser):
    page, *_ = opened(browser, COMMITTED / "index.html", width=1280, height=800)
    assert in_first_screen(page, "main strong", ".picture .panel")
    facts = page.locator("main li").all()[:5]
    assert [fact.bounding_box()["height"] < 40 for fact in facts] == [True] * 5  # a line each
    assert page.locator(".picture .panel").first.bounding_box()["y"] < 500
    page.close()


def test_contents_stand_beside_the_text_and_stay(browser):
    page, *_ = opened(browser, COMMITTED / "index.html")
    contents, text = page.locator("nav.contents"), page.locator("main")
    assert contents.bounding_box()["x"] + contents.bounding_box()["width"] <= text.bounding_box()["x"]
    page.evaluate("scrollTo(0, 3000)")
    assert contents.bounding_box()["y"] == 0
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.locator("nav.contents li").first.is_hidden()
    page.evaluate("scrollTo(0, 0)")
    page.locator("nav.contents summary").click()
    assert page.locator("nav.contents li").first.is_visible()
    page.close()


def test_unfolded_code_is_accessible(browser):
    for scheme in ("light", "dark"):
        page, *_ = opened(browser, COMMITTED / "index.html", scheme=scheme)
        page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        assert violations(page) == []
        page.close()


COLOURS = """() => [getComputedStyle(document.body).backgroundColor,
    getComputedStyle(document.querySelector('.panel [stroke="#b36200"]')).stroke,
    getComputedStyle(document.querySelector('.panel text')).fill]"""
LIGHT = ["rgb(255, 255, 255)", "rgb(179, 98, 0)", "rgb(27, 30, 35)"]
DARK = ["rgb(21, 23, 27)", "rgb(240, 169, 58)", "rgb(228, 230, 234)"]


@pytest.mark.parametrize(("scheme", "other"), [("light", "dark"), ("dark", "light")])
def test_page_and_figures_follow_the_system_and_the_switch(scheme, other, browser):
    page, *_ = opened(browser, COMMITTED / "index.html", scheme=scheme)
    expected = {"light": LIGHT, "dark": DARK}
    assert page.evaluate(COLOURS) == expected[scheme]
    page.locator("#theme-auto").focus()
    page.keyboard.press("ArrowRight")  # auto, light, dark
    assert page.evaluate(COLOURS) == LIGHT
    page.keyboard.press("ArrowRight")
    assert page.evaluate(COLOURS) == DARK
    page.locator(f"#theme-{other}").check()
    assert page.evaluate(COLOURS) == expected[other]
    page.emulate_media(media="print", color_scheme=scheme)
    assert page.evaluate(COLOURS)[:2] == LIGHT[:2]
    page.close()


def test_file_of_a_figure_follows_the_system(browser):
    for scheme, expected in (("light", LIGHT), ("dark", DARK)):
        page, *_ = opened(browser, COMMITTED / "figures/index-answer.svg", scheme=scheme)
        found = """() => [getComputedStyle(document.documentElement).backgroundColor,
            getComputedStyle(document.querySelector('[stroke="#b36200"]')).stroke,
            getComputedStyle(document.querySelector('text')).fill]"""
        assert page.evaluate(found) == expected
        page.close()


def test_report_prints(browser):
    page, *_ = opened(browser, COMMITTED / "index.html")
    assert page.pdf(format="A4").startswith(b"%PDF")
    page.emulate_media(media="print")
    for selector in ("nav.pages", "nav.contents", ".theme", ".large", "details.code"):
        assert page.locator(selector).first.is_hidden(), selector
    page.close()
