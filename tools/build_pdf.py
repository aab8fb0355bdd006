"""Print the built book as one PDF, _build/toscore.pdf, in headless Chromium.

It takes the pages that `make book` wrote, so nothing is executed or built twice: the articles are
put one after the other into a single page whose links lead from chapter to chapter, MathJax
typesets it, and the browser prints it with an outline. It prints twice: the first time to learn on
which page each chapter begins, for the table of contents.
"""

import os
import sys
from datetime import date
from pathlib import Path
from urllib.parse import unquote, urldefrag

import yaml
from bs4 import BeautifulSoup
from chromium import BROWSER, FLAGS
from playwright.sync_api import sync_playwright
from pypdf import PdfReader

ROOT = Path(__file__).resolve().parent.parent
HTML = ROOT / "_build" / "html"
JOINED = ROOT / "_build" / "pdf" / "book.html"
TARGET = ROOT / "_build" / "toscore.pdf"
SHEET = {
    "format": "A4",
    "margin": {"top": "18mm", "bottom": "20mm", "left": "18mm", "right": "18mm"},
    "print_background": True,
    "display_header_footer": True,
    "header_template": "<span></span>",
    "footer_template": '<div style="width: 100%; text-align: center; font-size: 8pt">'
    '<span class="pageNumber"></span></div>',
    "outline": True,
    "tagged": True,
}
WIDTH = {"width": 658, "height": 930}  # of the text on a sheet, to which plotly fits its figures
FILL = """pages => document.querySelectorAll("[data-page]").forEach(
    e => { e.textContent = pages[e.dataset.page] ?? ""; })"""


def chapters() -> list[tuple[str, str]]:
    """(caption of the part, or "" inside one; page) in the order of _toc.yml."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    pages = [("", toc["root"])]
    for part in toc.get("parts", [toc]):
        for k, chapter in enumerate(part["chapters"]):
            pages.append((part.get("caption", "") if k == 0 else "", chapter["file"]))
            pages += [("", section["file"]) for section in chapter.get("sections", [])]
    return pages


def slug(page: str) -> str:
    """A page's name as the start of its anchors."""
    return page.replace("/", "-")


def read(page: str) -> BeautifulSoup:
    """A built page."""
    return BeautifulSoup((HTML / f"{page}.html").read_text(), "html.parser")


def moved(page: str, address: str) -> str:
    """An address on a page, as the joined page needs it; "" where it leads nowhere in there."""
    if "://" in address or address.startswith(("data:", "mailto:")):
        return address
    path, anchor = urldefrag(address)
    target = (HTML / page).parent.joinpath(unquote(path)) if path else HTML / f"{page}.html"
    target = Path(os.path.normpath(target))
    if target.suffix != ".html":
        return os.path.relpath(target, JOINED.parent)
    name = str(target.relative_to(HTML).with_suffix(""))
    if name not in {p for _, p in chapters()}:
        return ""
    return f"#{slug(name)}--{anchor}" if anchor else f"#{slug(name)}"


def article(page: str) -> BeautifulSoup:
    """A page's text, with anchors of its own and without what only serves on a screen."""
    body = read(page).select_one("article.bd-article")
    for node in body.select("table.sortable button"):  # the head of a column, to be clicked
        node.unwrap()
    for node in body.select(".only-screen, a.headerlink, button"):
        node.decompose()
    for script in body.select("script"):
        if "Plotly.newPlot" not in script.text:
            script.decompose()
    for node in body.select("[id]"):
        if not node["id"].startswith("plotly-"):  # named in the figure's own script
            node["id"] = f"{slug(page)}--{node['id']}"
    for node in body.select("a[href]"):
        node["href"] = moved(page, node["href"])
        if not node["href"]:
            node.unwrap()
    for node in body.select("[src]"):
        node["src"] = moved(page, node["src"])
    for node in body.select("details"):
        node["open"] = ""
    body.name = "section"
    body["class"], body["id"] = "chapter bd-article", slug(page)
    return body


def joined() -> str:
    """The whole book as one page."""
    pages = chapters()
    head = read(pages[0][1]).head
    styles = [link for link in head.select("link[rel=stylesheet]")]
    math = [s for s in read(pages[1][1]).head.select("script") if "mathjax" in str(s).lower()]
    plotly = HTML / "plotly" / "plotly.min.js"
    for node in [*styles, *(s for s in math if s.get("src"))]:
        key = "href" if node.name == "link" else "src"
        node[key] = moved(pages[0][1], node[key].split("?")[0])
    bodies = [article(page) for _, page in pages]
    entries = []
    for (part, page), body in zip(pages, bodies, strict=True):
        entries += [f'<p class="part">{part}</p>'] * bool(part)
        title = body.h1.get_text().strip()
        entries.append(
            f'<p><a href="#{slug(page)}">{title}</a><span data-page="{slug(page)}">000</span></p>'
        )
    script = f'<script src="{os.path.relpath(plotly, JOINED.parent)}"></script>'
    needs_plotly = any("plotly-graph-div" in str(body) for body in bodies)
    settings = yaml.safe_load((ROOT / "_config.yml").read_text())
    return f"""<!DOCTYPE html>
<html lang="en" data-theme="light" data-mode="light"><head><meta charset="utf-8">
<title>{settings["title"]}</title>
{"".join(map(str, styles + math))}{script * needs_plotly}
</head><body class="printed-book"><main class="bd-main"><div class="bd-content">
<section class="title-page"><p class="book-title">{settings["title"]}</p>
<p>{bodies[0].h1.get_text().strip()}</p>
<p>{settings["author"]}, {date.today():%Y-%m-%d}</p></section>
<nav class="book-contents" aria-label="Contents"><p class="book-title">Contents</p>
{"".join(entries)}</nav>
{"".join(map(str, bodies))}</div></main></body></html>"""


def first_pages(pdf: Path) -> dict[str, int]:
    """Name of each chapter's anchor: the page on which it begins."""
    reader = PdfReader(pdf)
    names = reader.named_destinations
    wanted = [slug(page) for _, page in chapters()]
    return {
        name: reader.get_destination_page_number(names[key]) + 1
        for name in wanted
        for key in (name, f"/{name}")
        if key in names
    }


def main() -> int:
    if not BROWSER:
        print("No Chromium or Chrome found: install one, or name it in $TOSCORE_BROWSER")
        return 1
    if not (HTML / "index.html").exists():
        print("No built book: run `make book` first")
        return 1
    JOINED.parent.mkdir(exist_ok=True)
    JOINED.write_text(joined())
    with sync_playwright() as p:
        page = p.chromium.launch(executable_path=BROWSER, args=FLAGS).new_page(viewport=WIDTH)
        page.set_default_timeout(0)  # hundreds of pages take their time
        page.goto(JOINED.as_uri(), wait_until="load")
        page.evaluate("async () => { if (window.MathJax) await MathJax.startup.promise; }")
        page.pdf(path=TARGET, **SHEET)
        page.evaluate(FILL, first_pages(TARGET))
        page.pdf(path=TARGET, **SHEET)
        page.context.browser.close()
    print(f"{TARGET.relative_to(ROOT)}: {len(PdfReader(TARGET).pages)} pages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
