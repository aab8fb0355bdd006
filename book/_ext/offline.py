"""Sphinx extension: plotly's JavaScript from the installed package, on the pages that need it.

The built book must open from disk without a network, so plotly.min.js is copied beside the pages
(not into ``_static``, whose scripts jupyter-book adds to every page) and only pages with an
interactive figure load its 5 MB; so too with the script of the page on which one draws a landscape.
Whatever would be fetched from outside is taken out.
"""

import shutil
from pathlib import Path

SCRIPT = "plotly/plotly.min.js"


def page_scripts(app, pagename, templatename, context, doctree):
    """Load plotly before the figures' inline scripts run, on pages that hold such a figure.

    jupyter-book always loads sphinx-thebe, whose scripts point to a server and, declared once a
    build, fail on the second page: the book has no use for them.
    """
    scripts = context["script_files"]
    scripts[:] = [s for s in scripts if "thebe" not in f"{s.filename} {s.attributes}".lower()]
    body = context.get("body") or ""
    if "plotly-graph-div" in body:
        app.add_js_file("../" + SCRIPT, priority=100)
    if 'class="landscape' in body:
        app.add_js_file("landscape.js")


def copy_plotly(app, exception):
    """Copy the script into the built book."""
    if exception is None and app.builder.format == "html":
        import plotly

        source = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
        target = Path(app.outdir) / SCRIPT
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(source, target)


def setup(app):
    app.connect("html-page-context", page_scripts, priority=900)
    app.connect("build-finished", copy_plotly)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
