"""What the chapters promise of their own code, and the README of its figure."""

import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import readme_figure

ROOT = Path(__file__).resolve().parent.parent


def test_own_model_takes_fifteen_lines_and_no_other_cell(monkeypatch):
    """Chapter 14: from a module and tensors to a barcode and a figure, in one cell."""
    for key in ("TOSCORE_DATA", "TOSCORE_DOWNLOAD", "TOSCORE_PROFILE", "TOSCORE_RESULTS"):
        monkeypatch.delenv(key, raising=False)
    cells = json.loads((ROOT / "notebooks/14_your_own_model.ipynb").read_text())["cells"]
    (code,) = ("".join(c["source"]) for c in cells if c["id"] == "cell-03")
    lines = [line for line in code.splitlines() if line.strip() and line.strip()[0] != "#"]
    assert len(lines) <= 15

    plt.switch_backend("Agg")
    plt.close("all")  # what other tests left would be drawn into
    alone = {"__name__": "alone"}
    exec(compile(code, "cell-03", "exec"), alone)
    barcode = alone["barcode"]
    finite = np.isfinite(barcode.death)
    assert 0 < finite.sum() < len(barcode)
    assert (barcode.lengths[finite] > 0).all()
    (ax,) = plt.gcf().axes
    ax.figure.canvas.draw()
    assert len(ax.collections[0].get_segments()) == len(barcode)
    assert f"{barcode.to_score():.3g}" in ax.get_title()
    plt.close("all")


def test_the_figure_of_the_readme_is_of_the_stored_result():
    figure = (ROOT / "book/static/fc_mnist.svg").read_text()
    assert readme_figure.source() in figure, "draw it anew: python tools/readme_figure.py"
