"""Sphinx extension: what every page of the book gets, in one place.

Chapters say when, with which versions and on which data they were executed. Pages leave out the
scripts that they don't need, so that the first one opens with less than a megabyte.
"""

import json
import platform
import re
from datetime import UTC, datetime
from html import escape
from importlib.metadata import version
from pathlib import Path

from myst_nb.sphinx_ import NbMetadataCollector

# 1.5 MB of icons as a script; the theme's style sheet has them as a font as well
ICONS = re.compile(r"\s*<script defer src=\"[^\"]*scripts/fontawesome\.js[^\"]*\"></script>")
# only the page of results searches
SEARCH = re.compile(
    r"\s*<script src=\"[^\"]*(searchtools|language_data|searchindex)\.js[^\"]*\"></script>"
)
# left by sphinx-thebe, which the book doesn't use
THEBE = re.compile(
    r"\s*<script type=\"text/x-thebe-config\">.*?</script>\s*<script>kernelName = .*?</script>",
    re.S,
)
# a signature of many lines, which Sphinx writes as a list of descriptions without terms
LINES = re.compile(r"<dl>\n((?:<dd>.*</dd>\n)+)</dl>")
LIVE = re.compile(r"load_data\(\"(\w+)\"")
SMOKE = re.compile(r"ts\.run\(\"[\w-]+\", \"smoke\"")  # which computes on digits
STORED = re.compile(
    r"\bresults\"? ?/ ?\"?([a-z][\w-]+)[/\"]"
)  # results/NAME/ or "results" / "NAME"
# trends.stored("fc") names its family; other calls may read all of them
FAMILY = re.compile(r"trends\.(?:stored\((?:\"(\w+)\"\))?|shares_by_family)")
FAMILIES = ("fc", "cnn", "resnet")
SHOWN = re.compile(r"\b([a-z][\w-]+), profile (?:laptop|gpu)\b")  # Result.provenance()


def executed(app, pagename, templatename, context, doctree):
    """Add the line that says when a chapter was executed, from the execution cache."""
    run = NbMetadataCollector.get_exec_data(app.env, pagename)
    if not run or not context.get("body"):
        return
    when = datetime.fromtimestamp(run["mtime"], UTC)
    seconds = f" in {run['runtime']:.0f} seconds" if run["runtime"] else ""
    line = (
        f"Executed on {when:%Y-%m-%d}{seconds}, with Python {platform.python_version()}, torch "
        f"{version('torch')} and toscore {version('toscore')}. {data(app.env, pagename, context)}"
    )
    context["body"] += f'\n<p class="executed">{escape(line.strip())}</p>\n'


def wait_for_formulas(app, pagename, templatename, context, doctree):
    """Hide the text of a page with formulas until book.js finds them typeset."""
    if 'class="math' in (context.get("body") or ""):
        script = '<script>document.documentElement.classList.add("typesetting")</script>'
        context["body"] = script + context["body"]


def data(env, pagename, context) -> str:
    """Which data a chapter loads, and which stored results it reads or shows."""
    cells = json.loads(Path(env.doc2path(pagename)).read_text())["cells"]
    code = "".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")
    live = sorted({*LIVE.findall(code)} | ({"digits"} if SMOKE.search(code) else set()))
    folder = Path(env.srcdir) / "results"
    stored = {*STORED.findall(code), *SHOWN.findall(context["body"])}
    for family in FAMILY.findall(code):  # "": all three
        stored |= {
            p.name for f in ([family] if family else FAMILIES) for p in folder.glob(f"{f}-*")
        }
    stored = sorted(name for name in stored if (folder / name).is_dir())
    if "experiment.states(root)" in code or 'results.glob("*/laptop/' in code:
        stored = ["all"]
    parts = [f"images: {', '.join(live)}"] * bool(live)
    parts += [f"stored results: {', '.join(stored)}"] * bool(stored)
    return f"Data: {'; '.join(parts)}." if parts else "No data but its own functions."


def slim(app, exception):
    """Take out of the written pages what they load and don't need, and mend what can't be read."""
    if exception is not None or app.builder.format != "html":
        return
    for path in Path(app.outdir).rglob("*.html"):
        if "_static" in path.parts:
            continue
        text = old = path.read_text()
        text = THEBE.sub("", ICONS.sub("", text))
        if path.name != "search.html":
            text = SEARCH.sub("", text)
        # a list whose entries are preceded by links' targets is no list to a screen reader
        text = text.replace(
            '<div role="list" class="citation-list">', '<div class="citation-list">'
        )
        text = text.replace(' role="doc-biblioentry"', "")
        text = text.replace("<td><p>✅</p></td>", "<td><p>done</p></td>")  # where no font has it
        text = LINES.sub(lambda lines: as_blocks(lines[1]), text)
        text = text.replace(
            '<summary><span class="toctree-toggle"',
            '<summary aria-label="Pages below"><span class="toctree-toggle"',
        )
        if text != old:
            path.write_text(text)


def as_blocks(lines: str) -> str:
    return lines.replace("<dd>", '<div class="sig-line">').replace("</dd>", "</div>")


def setup(app):
    app.connect("html-page-context", executed)
    app.connect("html-page-context", wait_for_formulas)
    app.connect("build-finished", slim)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
