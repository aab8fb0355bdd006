"""The page on which one draws a landscape, the figure of the atlas, and stills for print.

What they show is what the package computes.
"""

import numpy as np
import pytest
from chromium import BROWSER
from test_built_book import HTML

import toscore as ts
from toscore import trends
from toscore.settings import ATLAS as CELLS

DATASETS = list(dict.fromkeys(name.split("-")[1] for name in CELLS))
FAMILIES = list(dict.fromkeys(name.split("-")[0] for name in CELLS))

PAGE = HTML / "book" / "playground.html"
pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings("default"),
    pytest.mark.skipif(BROWSER is None, reason="NO BROWSER FOUND: the playground is NOT tested"),
    pytest.mark.skipif(not PAGE.exists(), reason="NO BUILT BOOK: the playground is NOT tested"),
]


@pytest.fixture(params=[1440, 390], ids=["desk", "phone"])
def page(request, browser):
    page = browser.new_page(viewport={"width": request.param, "height": 900})
    faults = []
    page.on("pageerror", lambda e: faults.append(str(e)))
    page.goto(PAGE.as_uri())
    yield page
    page.close()
    assert not faults


def barcode(heights):
    """Of minima and passes in turn, from left to right."""
    n = len(heights) // 2
    pairs = np.column_stack([np.arange(n), np.arange(1, n + 1)])
    return ts.barcode_of_minima(heights[::2], pairs, heights[1::2])


def heights(page):
    values = [h.get_attribute("aria-valuenow") for h in page.locator(".handle").all()]
    return [float(value) for value in values]


def check(page):
    """The table, the scores and the segments drawn agree with the package."""
    now = heights(page)
    code = barcode(now)
    rows = [
        row.locator("td").all_inner_texts() for row in page.locator(".landscape tbody tr").all()
    ]
    letters = "ABCDEFG"
    expected = []
    for row, (birth, death) in enumerate(zip(code.birth, code.death, strict=True)):
        k, elder = code.saddle[row], code.parent[row]
        ended = [f"{death:.1f}", f"{death - birth:.1f}", letters[k : k + 2], letters[elder]]
        ended = ended if k >= 0 else ["∞", "∞", "–", "–"]
        expected.append([letters[row], f"{birth:.1f}", *ended])
    assert rows == expected, now
    score = page.locator(".landscape .score").inner_text()
    kinds = ", ".join(f"{kind} {code.to_score(kind):.2f}" for kind in ("mean", "max", "sum"))
    assert score == f"TO-score: {kinds}"

    ends = "lines => lines.map((l) => [Number(l.getAttribute('y1')), Number(l.getAttribute('y2'))])"
    drawn = page.locator(".landscape .segment").evaluate_all(ends)
    marks = page.locator(".handle").evaluate_all(
        "all => all.map((h) => Number(h.getAttribute('transform').split(',')[1].slice(0, -1)))"
    )
    for row, (low, high) in enumerate(drawn):
        assert low == marks[2 * row]
        assert code.saddle[row] < 0 or high == marks[2 * code.saddle[row] + 1]
    return now


def test_rule_is_that_of_the_package(page):
    random = np.random.default_rng(0)
    for n in range(200):
        draw = random.integers(0, 4, 13) if n % 2 else random.normal(size=13)
        minima = draw[: 1 + n % 7].astype(float)
        floor = np.maximum(minima[1:], minima[:-1])
        passes = floor + abs(draw[7 : 6 + len(minima)])  # ties on every second landscape
        mixed = np.insert(passes, range(len(passes) + 1), minima) if len(passes) else minima
        found = page.evaluate("h => toscoreBarcode(h)", mixed.tolist())
        code = barcode(mixed)
        for key in ("birth", "death", "saddle", "parent"):
            np.testing.assert_array_equal(found[key], getattr(code, key), err_msg=str(mixed))
        for kind in ("mean", "max", "sum"):
            assert found[kind] == pytest.approx(code.to_score(kind), abs=1e-12)


def test_dragging(page):
    random = np.random.default_rng(1)
    page.get_by_role("button", name="nested").click()
    before = check(page)
    for _ in range(6):
        handle = page.locator(".handle").nth(random.integers(len(before)))
        handle.scroll_into_view_if_needed()
        box = handle.locator("path").bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x, y + random.choice([-1, 1]) * random.uniform(20, 60), steps=3)
        page.mouse.up()
        after = check(page)
        assert sum(a != b for a, b in zip(after, before, strict=True)) <= 1
        page.mouse.move(x, y + 90)  # released: nothing follows the mouse any more
        assert heights(page) == after
        before = after
    page.get_by_role("button", name="nested").click()
    assert heights(page) != before, "no handle had moved"


def test_keys(page):
    random = np.random.default_rng(2)
    page.get_by_role("button", name="equal minima").click()
    check(page)
    handles = page.locator(".handle")
    handles.nth(2).focus()
    page.keyboard.press("ArrowDown")  # the second of three equal minima is now the lowest
    assert check(page)[2] == 1.9
    assert page.locator(".landscape tbody tr").nth(1).inner_text().split()[2] == "∞"
    keys = ["ArrowUp", "ArrowDown", "PageUp", "PageDown", "Home", "End", "ArrowLeft", "ArrowRight"]
    for _ in range(8):
        handles.nth(random.integers(handles.count())).focus()
        for key in random.choice(keys, 5):
            page.keyboard.press(key)
        check(page)
    before = heights(page)
    handles.nth(1).focus()
    place = handles.nth(1).get_attribute("transform")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert handles.nth(1).get_attribute("transform") != place
    assert check(page) == before, "sideways changes no height"


def test_words(page):
    """For those who can't see it, the barcode is said once nothing moves any more."""
    words = page.locator(".landscape [aria-live]")
    page.get_by_role("button", name="nested").click()
    page.locator(".handle").nth(2).focus()
    for _ in range(9):
        page.keyboard.press("ArrowDown")
    assert "from 3.1" not in words.text_content()
    page.wait_for_timeout(600)
    said = words.text_content()
    code, now = barcode(heights(page)), heights(page)
    assert now[2] == 3.1
    assert f"B: from 3.1 to {code.death[1]:.1f}, length {code.lengths[1]:.1f}, ends at pass" in said
    assert said.count("never ends") == 1 and said.count("takes it over") == 3
    assert f"TO-score: mean {code.to_score():.2f}" in said


def test_minima_come_and_go(page):
    while page.locator(".landscape .add").is_enabled():
        page.locator(".landscape .add").click()
        now = check(page)
    assert len(now) == 13
    random = np.random.default_rng(3)
    while page.locator(".landscape .remove").is_enabled():
        page.locator(".handle").nth(random.integers(len(now))).focus()
        page.locator(".landscape .remove").click()
        now = check(page)
    assert len(now) == 1


def test_nothing_is_wider_than_a_phone(page):
    overflow = "document.documentElement.scrollWidth - window.innerWidth"
    assert page.evaluate(overflow) <= 0


@pytest.mark.parametrize("way", ["print", "no script"])
def test_stills_stand_in(browser, way):
    context = browser.new_context(java_script_enabled=way != "no script")
    page = context.new_page()
    if way == "print":
        page.emulate_media(media="print")
    page.goto(PAGE.as_uri())
    assert page.locator("img.only-print").is_visible()
    assert not page.locator(".landscape").is_visible()
    context.close()


def test_touch(browser):
    context = browser.new_context(viewport={"width": 390, "height": 900}, has_touch=True)
    page = context.new_page()
    page.goto(PAGE.as_uri())
    handle = page.locator(".handle").nth(1)
    handle.scroll_into_view_if_needed()
    box = handle.locator("path").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    touch = context.new_cdp_session(page)
    before = check(page)
    for kind, shift in (("Start", 0), ("Move", -20), ("Move", -50), ("End", None)):
        points = [] if shift is None else [{"x": x, "y": y + shift}]
        touch.send("Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": points})
    after = check(page)
    assert after[1] > before[1] and after[::2] == before[::2]
    context.close()


ATLAS = HTML / "notebooks" / "12_atlas.html"


@pytest.fixture(scope="module")
def stored():
    found = {profile: trends.stored(profile=profile) for profile in ("laptop", "gpu")}
    return {profile: results for profile, results in found.items() if results}


def test_atlas_shows_what_is_stored(browser, stored):
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.goto(ATLAS.as_uri())
    selects = page.locator(".atlas select").all()
    choice = dict(zip(("profile", "width", "depth"), selects, strict=True))
    assert choice["profile"].locator("option").all_inner_texts() == list(stored)
    names = [f"{family}-{data}" for data in DATASETS for family in FAMILIES]
    cells = page.locator(".atlas td button")
    assert cells.count() == len(names) == 15
    for profile, results in stored.items():
        choice["profile"].select_option(profile)
        sizes = {cell[:2] for result in results.values() for cell in result.barcodes()}
        for width, depth in sorted(sizes)[::2]:
            choice["width"].select_option(str(width))
            choice["depth"].select_option(str(depth))
            for k, name in enumerate(names):
                codes = results[name].barcodes() if name in results else {}
                codes = {cell[2]: c for cell, c in codes.items() if cell[:2] == (width, depth)}
                cells.nth(k).focus()
                assert cells.nth(k).get_attribute("aria-pressed") == "true"
                lines = page.locator(".atlas .detail line[stroke^='#']")
                assert lines.count() == sum(len(code) for code in codes.values())
                words = page.locator(".atlas .detail [aria-live]").inner_text()
                for seed, code in codes.items():
                    assert f"seed {seed}: {len(code)} minima" in words
                    assert f"TO-score {code.to_score():.2g}," in words
                if not codes:
                    assert "not computed" in cells.nth(k).inner_text()
                    assert "Nothing is stored" in words
    page.close()


@pytest.mark.parametrize("way", ["hover", "tap"])
def test_atlas_cell_is_picked(browser, way):
    context = browser.new_context(viewport={"width": 390, "height": 900}, has_touch=True)
    page = context.new_page()
    page.goto(ATLAS.as_uri())
    cells = page.locator(".atlas td button")
    for k in (14, 0, 7):
        getattr(cells.nth(k), way)()
        assert cells.nth(k).get_attribute("aria-pressed") == "true"
        assert page.locator(".atlas [aria-pressed=true]").count() == 1
        title = cells.nth(k).get_attribute("aria-label").split(":")[0]
        assert page.locator(".atlas .heading").inner_text().startswith(title)
    assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
    context.close()


def test_stills_stand_for_what_moves(browser):
    """In print each plotly figure is one still, and nothing that only a screen can show is left."""
    pages = [p for p in HTML.rglob("*.html") if "only-screen" in p.read_text()]
    assert pages
    for path in pages:
        page = browser.new_page()
        page.goto(path.as_uri())
        figures = page.locator("main .plotly-graph-div").count()
        stills = page.locator("main img.only-print")
        assert not any(still.is_visible() for still in stills.all())
        page.emulate_media(media="print")
        assert stills.count() >= figures
        for still in stills.all():
            assert still.is_visible(), path
            assert still.bounding_box()["height"] > 100, path
            assert still.get_attribute("alt").strip()
        assert not any(e.is_visible() for e in page.locator("main .only-screen").all()), path
        page.close()
