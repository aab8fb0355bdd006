"""Every page of the built book, opened from disk in a headless browser.

Skipped, loudly, where no browser or no built book is found; `make test` builds the book first.
"""

import os
import re
import shutil
from pathlib import Path
from urllib.parse import unquote

import pytest

HTML = Path(__file__).resolve().parent.parent / "_build" / "html"
BROWSER = os.environ.get("TOSCORE_BROWSER") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))),
    None,
)
SKIPPED_PAGES = ("genindex", "search", "_static", "py-modindex")
PAGES = sorted(
    str(p.relative_to(HTML))
    for p in HTML.rglob("*.html")
    if not str(p.relative_to(HTML)).startswith(SKIPPED_PAGES)
)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings("default"),
    pytest.mark.skipif(BROWSER is None, reason="NO BROWSER FOUND: the book's pages are NOT tested"),
    pytest.mark.skipif(
        not PAGES, reason="NO BUILT BOOK: run `make book`; its pages are NOT tested"
    ),
]
NUMBER = re.compile(r"-?\d+(\.\d+)?(e[-+]?\d+)?(?![-\d.a-z])")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as p:
        chromium = p.chromium.launch(executable_path=BROWSER, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(params=PAGES)
def opened(request, browser):
    """One page with the network cut off, and everything that went wrong while it opened."""
    faults = []
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()

    def only_files(route):
        url = route.request.url
        if url.startswith(("file:", "data:", "blob:")):
            route.continue_()
        else:
            faults.append(f"asked for {url}")
            route.abort()

    page.route("**/*", only_files)
    page.on("requestfailed", lambda r: faults.append(f"failed: {r.url}"))
    page.on("pageerror", lambda e: faults.append(f"script error: {e}"))
    page.on("console", lambda m: faults.append(f"console: {m.text}") if m.type == "error" else None)
    page.goto((HTML / request.param).as_uri(), wait_until="networkidle")
    if page.locator("main .math").count():
        page.wait_for_selector("main mjx-container", timeout=20_000, state="attached")
    yield page, faults
    context.close()


def test_page(opened):
    page, faults = opened
    assert not faults
    assert page.locator("article h1").count() == 1

    for image in page.locator("main img").all():
        if image.is_visible():  # a still is for print
            image.scroll_into_view_if_needed()
        source = image.get_attribute("src")
        assert image.evaluate("i => i.decode().then(() => i.naturalWidth > 1)"), f"{source}: blank"
        assert (image.get_attribute("alt") or "").strip(), f"{source} has no alt text"

    formulas = page.locator("main .math")
    assert page.locator("main .math:not(:has(mjx-container))").count() == 0, "formulas left raw"
    assert page.locator("main mjx-container").count() >= formulas.count()
    assert page.locator("main [data-mjx-error]").count() == 0, "a formula has an error"
    # MathJax draws a macro it doesn't know as red text, which is no error to it
    unknown = page.locator('main mjx-mtext[style*="color: red"]').count()
    assert unknown == 0, "a formula has an unknown macro"

    figures = page.locator("main .plotly-graph-div")
    for k in range(figures.count()):
        marks = "g => g.querySelectorAll('.main-svg path').length"
        assert figures.nth(k).evaluate(marks) > 5, f"interactive figure {k} is empty"

    # internal links and their anchors lead somewhere
    for link in page.locator("main a[href]").all():
        target = link.evaluate("a => a.href")
        if target.startswith("file:"):
            path, _, anchor = target.removeprefix("file://").partition("#")
            path = unquote(path)
            assert Path(path).exists(), f"dead link {target}"
            if anchor and path.endswith(".html"):
                anchors = re.findall(r'\bid="([^"]*)"', Path(path).read_text())
                assert unquote(anchor) in anchors, f"dead anchor {target}"

    assert not faults  # nor may scrolling have asked for anything


def test_sliders_move(browser):
    """Dragging a level slider changes the figure."""
    pages = [p for p in PAGES if "plotly-graph-div" in (HTML / p).read_text()]
    assert pages, "no page has an interactive figure"
    for name in pages:
        page = browser.new_page()
        page.goto((HTML / name).as_uri(), wait_until="networkidle")
        figures = page.locator("main .plotly-graph-div")
        for k in range(figures.count()):
            figure = figures.nth(k)
            figure.scroll_into_view_if_needed()
            drawn = "g => g.querySelector('.main-svg').innerHTML"
            before = figure.evaluate(drawn)
            handle = figure.locator(".slider-grip-rect").bounding_box()
            rail = figure.locator(".slider-rail-touch-rect").bounding_box()
            middle = handle["y"] + handle["height"] / 2
            page.mouse.move(handle["x"] + handle["width"] / 2, middle)
            page.mouse.down()
            page.mouse.move(rail["x"] + 0.7 * rail["width"], middle, steps=5)
            page.mouse.up()
            page.wait_for_timeout(500)
            assert figure.evaluate(drawn) != before, f"{name}: slider of figure {k} does nothing"
        page.close()


def test_tables_can_be_sorted(browser):
    """A click on a column's name sorts its rows, a second one the other way round."""
    pages = [p for p in PAGES if 'class="table sortable"' in (HTML / p).read_text()]
    assert pages, "no page has a sortable table"
    for name in pages:
        page = browser.new_page()
        page.goto((HTML / name).as_uri(), wait_until="networkidle")
        tables = page.locator("main table.sortable")
        for k in range(tables.count()):
            headers = tables.nth(k).locator("th")
            for j in range(headers.count()):
                orders = []
                for direction in ("ascending", "descending"):
                    headers.nth(j).locator("button").click()
                    assert headers.nth(j).get_attribute("aria-sort") == direction
                    cells = tables.nth(k).locator(f"tbody tr td:nth-child({j + 1})")
                    orders.append(cells.all_inner_texts())
                numbers = [NUMBER.match(text) for text in orders[0]]
                if all(numbers):
                    values = [float(found[0]) for found in numbers]
                    assert values == sorted(values), f"{name}: column {j} of table {k}"
                assert sorted(orders[0]) == sorted(orders[1])
                different = len(set(orders[0])) > 1
                assert not different or orders[0] != orders[1], f"{name}: column {j} stays"
        page.close()
