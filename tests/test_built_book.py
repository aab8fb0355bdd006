"""Every page of the built book, opened from disk in a headless browser.

Skipped, loudly, where no browser or no built book is found; `make test` builds the book first.
Each page is opened once, and then looked at in several ways; opening is what takes time.
"""

import re
from collections import Counter
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml
from chromium import BROWSER

ROOT = Path(__file__).resolve().parent.parent
HTML = ROOT / "_build" / "html"
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
NUMBER = re.compile(r"×?(-?\d+(?:\.\d+)?(?:e[-+]?\d+)?)(?![-\d.a-z])")
DESKTOP, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
EXECUTED = re.compile(
    r"Executed on \d{4}-\d\d-\d\d in \d+ seconds, with Python [\d.]+, torch [\w.+]+ and toscore "
    r"[\w.+]+\. (Data: .+|No data .+)\."
)
WATCH_SHIFTS = """window.shifts = 0;
new PerformanceObserver(list => {
  for (const e of list.getEntries()) if (!e.hadRecentInput) window.shifts += e.value;
}).observe({type: "layout-shift", buffered: true});"""
UNFOLD = """() => {
  const shut = [];
  for (const box of document.querySelectorAll("main details")) {
    box.querySelector("summary").click();
    const inside = box.querySelector(":scope > :not(summary)");
    if (!box.open || !inside.checkVisibility() || inside.offsetHeight < 10)
      shut.push(box.textContent.slice(0, 60));
  }
  for (const box of document.querySelectorAll("main .dropdown.admonition")) {
    const inside = box.querySelector(":scope > :not(.admonition-title)");
    const visible = () =>
      getComputedStyle(inside).visibility === "visible" && inside.offsetHeight > 10;
    const before = visible();
    box.querySelector(".toggle-button").click();
    if (before || !visible()) shut.push(box.textContent.slice(0, 60));
    box.querySelector(".toggle-button").click();
  }
  return shut;
}"""
ONE_OF_A_KIND = """() => {
  const seen = new Set();
  for (const e of document.querySelectorAll("main mjx-container, main pre span, main dt span")) {
    if (seen.has(e.className)) e.remove();
    seen.add(e.className);
  }
}"""
PRINTED = """() => ({
  sidebars: [...document.querySelectorAll(
    ".bd-sidebar-primary, .bd-sidebar-secondary, .bd-header-article, .only-screen")]
    .filter(e => e.checkVisibility()).length,
  folded: [...document.querySelectorAll("main .dropdown.admonition > :not(.admonition-title)")]
    .filter(e => getComputedStyle(e).visibility !== "visible" || e.offsetHeight < 5).length,
  missing: [...document.querySelectorAll(".only-print")].filter(e => !e.checkVisibility()).length,
})"""


@pytest.fixture(params=PAGES)
def opened(request, browser):
    """One page with the network cut off, and everything that went wrong while it opened."""
    faults = []
    context = browser.new_context(viewport=DESKTOP, color_scheme="light")
    context.set_default_timeout(120_000)  # the machine may have other work
    page = context.new_page()
    page.add_init_script(WATCH_SHIFTS)

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
        page.wait_for_selector("main mjx-container", state="attached")
        page.evaluate("MathJax.startup.promise.then(() => null)")
    yield page, faults
    context.close()


@cache
def anchors(path: Path) -> set[str]:
    return set(re.findall(r'\bid="([^"]*)"', path.read_text()))


def check_figures(page):
    """Images have more than one thing on them and a text that says what; plotly has drawn."""
    for image in page.locator("main img").all():
        if image.is_visible():  # a still is for print
            image.scroll_into_view_if_needed()
        source = image.get_attribute("src")
        assert image.evaluate("i => i.decode().then(() => i.naturalWidth > 1)"), f"{source}: blank"
        assert (image.get_attribute("alt") or "").strip(), f"{source} has no alt text"
        if source.endswith(".svg"):
            drawn = (HTML / "x" / source).resolve().read_text()
            assert len(re.findall(r"<(path|use|image|text)\b", drawn)) > 10, f"{source}: blank"

    figures = page.locator("main .plotly-graph-div")
    for k in range(figures.count()):
        marks = "g => g.querySelectorAll('.main-svg path').length"
        assert figures.nth(k).evaluate(marks) > 5, f"interactive figure {k} is empty"


def check_formulas(page):
    formulas = page.locator("main .math")
    assert page.locator("main .math:not(:has(mjx-container))").count() == 0, "formulas left raw"
    assert page.locator("main mjx-container").count() >= formulas.count()
    assert page.locator("main [data-mjx-error]").count() == 0, "a formula has an error"
    # MathJax draws a macro it doesn't know as red text, which is no error to it
    unknown = page.locator('main mjx-mtext[style*="color: red"]').count()
    assert unknown == 0, "a formula has an unknown macro"


def check_links(page):
    """Internal links and their anchors lead somewhere."""
    for target in page.eval_on_selector_all("a[href]", "links => links.map(a => a.href)"):
        if target.startswith("file:"):
            path, _, anchor = target.removeprefix("file://").partition("#")
            path = Path(unquote(path))
            assert path.exists(), f"dead link {target}"
            if anchor and path.suffix == ".html":
                assert unquote(anchor) in anchors(path), f"dead anchor {target}"


def check_axe(page, **options):
    """axe-core finds no serious fault."""
    from axe_playwright_python.sync_playwright import Axe

    # what still fades in has no contrast yet
    page.evaluate("document.getAnimations().forEach(a => a.finish())")
    # preload would fetch style sheets, which pages on disk may not
    options |= {"resultTypes": ["violations"], "preload": False}
    found = Axe().run(page, options=options).response["violations"]
    grave = [
        f"{v['id']}: {[(n['html'][:120], n['failureSummary']) for n in v['nodes'][:3]]}"
        for v in found
        if v["impact"] in ("serious", "critical")
    ]
    assert not grave, "\n".join(grave)


def check_reachable(page):
    """Names, roles and the reach of the keyboard are sound."""
    check_axe(page, rules={"color-contrast": {"enabled": False}})
    # a positive tabindex would break the order of reading
    assert page.locator("[tabindex]:not([tabindex='0']):not([tabindex='-1'])").count() == 0


def test_page(opened):
    page, faults = opened
    assert not faults
    shifts = page.evaluate("window.shifts")
    assert shifts < 0.1, f"the page moves while it loads: cumulative layout shift {shifts:.3f}"
    assert page.locator("article h1").count() == 1
    check_figures(page)
    check_formulas(page)
    check_links(page)
    check_reachable(page)
    assert page.evaluate(UNFOLD) == [], "these do not unfold"

    page.emulate_media(media="print")
    assert page.evaluate(PRINTED) == {"sidebars": 0, "folded": 0, "missing": 0}

    page.emulate_media(media="screen")
    page.evaluate(ONE_OF_A_KIND)  # of a hundred words of code in one colour one is enough to test
    check_axe(page, runOnly=["color-contrast"])

    page.set_viewport_size(PHONE)
    page.emulate_media(color_scheme="dark")
    page.wait_for_function("document.documentElement.dataset.theme === 'dark'")
    page.wait_for_timeout(300)  # plotly fits its figures to the new width
    wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    assert wide <= 0, f"{wide} pixels too wide for a phone"
    check_axe(page, runOnly=["color-contrast"])
    assert not faults  # nor may any of this have asked for anything


def test_chapters_say_when_they_were_executed():
    chapters = [p for p in PAGES if p.startswith("notebooks/")]
    for name in chapters:
        found = re.search(r'<p class="executed">(.*?)</p>', (HTML / name).read_text())
        assert found and EXECUTED.fullmatch(found[1]), name


def test_chapters_open_in_colab():
    settings = yaml.safe_load((ROOT / "_config.yml").read_text())
    repository = settings["repository"]["url"].split("github.com/")[1]
    for name in (p for p in PAGES if p.startswith("notebooks/")):
        address = f"{settings['launch_buttons']['colab_url']}/github/{repository}/blob/"
        address += f"{settings['repository']['branch']}/{name.replace('.html', '.ipynb')}"
        assert f'href="{address}"' in (HTML / name).read_text(), name


def test_first_page_is_light(browser):
    """Less than a megabyte, MathJax aside, until the first page is there and stays quiet."""
    page = browser.new_page(viewport=DESKTOP)
    asked = set()
    page.on("request", lambda r: asked.add(unquote(r.url.partition("?")[0].partition("#")[0])))
    page.goto((HTML / "index.html").as_uri(), wait_until="networkidle")
    page.wait_for_timeout(500)
    page.close()
    sizes = {
        u: Path(u.removeprefix("file://")).stat().st_size
        for u in asked
        if u.startswith("file:") and "/mathjax/" not in u
    }
    assert len(sizes) > 5
    largest = sorted(sizes, key=sizes.get)[-3:]
    assert sum(sizes.values()) < 1e6, f"{sum(sizes.values())} bytes; largest: {largest}"


def test_joined_pages_for_print():
    """What `make pdf` prints: every chapter, and links that lead to one anchor."""
    from build_pdf import chapters, joined, slug

    text = joined()
    found = Counter(re.findall(r'\bid="([^"]*)"', text))
    assert {slug(page) for _, page in chapters()} <= set(found)
    links = {unquote(link) for link in re.findall(r'href="#([^"]*)"', text)}
    wrong = [link for link in links if found[link] != 1]
    assert len(links) > 100 and not wrong, f"no such anchor, or several: {wrong[:5]}"
    assert "only-screen" not in text
    heads = re.findall(r'<table class="[^"]*sortable.*?</thead>', text, re.DOTALL)
    assert heads and all('<th scope="col">' in h and "></th>" not in h for h in heads)


def test_skip_link(browser):
    """The first thing the keyboard reaches leads past the sidebar into the text."""
    page = browser.new_page(viewport=DESKTOP)
    page.goto((HTML / "book" / "preface.html").as_uri(), wait_until="networkidle")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('href')") == "#main-content"
    # it slides in
    page.wait_for_function("document.activeElement.getBoundingClientRect().top >= 0")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("!!document.activeElement.closest('main')")
    page.close()


def test_search_from_disk(browser):
    """A word typed into the search field leads to pages that hold it."""
    page = browser.new_page(viewport=DESKTOP)
    page.goto((HTML / "book" / "preface.html").as_uri(), wait_until="networkidle")
    page.locator(".search-button__button").first.click()
    page.keyboard.type("ultrametric")
    page.keyboard.press("Enter")
    page.wait_for_selector("#search-results li a")
    found = page.eval_on_selector_all("#search-results li a", "links => links.map(a => a.href)")
    assert any("notebooks/" in link for link in found)
    page.close()


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
            after = figure.evaluate(drawn)
            assert after != before, f"{name}: slider of figure {k} does nothing"
            said = figure.get_attribute("aria-valuetext")
            figure.focus()
            page.keyboard.press("Home")
            page.keyboard.press("ArrowRight")
            page.wait_for_function(
                "g => g.getAttribute('aria-valuenow') === '1'", arg=figure.element_handle()
            )
            assert figure.get_attribute("aria-valuetext") != said
            page.wait_for_timeout(300)
            assert figure.evaluate(drawn) != after, f"{name}: keys don't move figure {k}"
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
                    values = [float(found[1]) for found in numbers]
                    assert values == sorted(values), f"{name}: column {j} of table {k}"
                assert sorted(orders[0]) == sorted(orders[1])
                different = len(set(orders[0])) > 1
                assert not different or orders[0] != orders[1], f"{name}: column {j} stays"
        page.close()


def test_what_goes_on_to_the_right_fades(browser):
    """On a phone that is seen at a glance, and no longer where one has come to the end."""
    page = browser.new_page(viewport=PHONE)
    page.goto((HTML / "notebooks/12_atlas.html").as_uri(), wait_until="networkidle")
    page.wait_for_selector("main .more", state="attached")
    beyond = """() => [...document.querySelectorAll("main .more, main table, main .cell_output")]
        .filter(e => ["auto", "scroll"].includes(getComputedStyle(e).overflowX))
        .map(e => [e.classList.contains("more"), e.scrollWidth > e.clientWidth + 2])"""
    pairs = page.evaluate(beyond)
    assert all(fades == goes_on for fades, goes_on in pairs)
    assert any(fades for fades, _ in pairs)
    page.evaluate("document.querySelectorAll('.more').forEach(e => { e.scrollLeft = 1e6; })")
    page.wait_for_function("!document.querySelector('main .more')")
    page.close()
