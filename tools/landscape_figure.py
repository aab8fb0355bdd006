"""Draw book/static/landscape.svg, which stands for the page "Draw your own landscape" in print."""

from pathlib import Path

import matplotlib

matplotlib.use("svg")

import matplotlib.pyplot as plt
import numpy as np
from scipy.interpolate import PchipInterpolator

import toscore as ts
from toscore import plots

PLACES = [0.0, 0.08, 0.2, 0.32, 0.46, 0.6, 0.75, 0.9, 1.0]  # the page's "nested"
HEIGHTS = [11, 1, 9, 4, 7, 3, 5, 2, 11]


def main() -> None:
    plots.use_style()
    code = ts.barcode_of_grid(HEIGHTS)
    shades, names = plots.colors(len(code)), "ABCD"
    fig, (left, right) = plt.subplots(1, 2, sharey=True, width_ratios=[2, 1])
    x = np.linspace(0, 1, 400)
    left.plot(x, PchipInterpolator(PLACES, HEIGHTS)(x), "k")
    for row, (birth, death) in enumerate(zip(code.birth, code.death, strict=True)):
        at, shade = PLACES[code.minimum[row]], shades[row]
        left.plot(at, birth, "o", color=shade)
        left.annotate(names[row], (at, birth), (0, -13), textcoords="offset points", ha="center")
        right.plot([row, row], [birth, min(death, 10.5)], color=shade, lw=4)
        if np.isinf(death):
            right.plot(row, 10.5, "^", color=shade, ms=9)
            continue
        left.plot(PLACES[code.saddle[row]], death, "^", color=shade)
        left.axhline(death, PLACES[code.saddle[row]], 1, color=shade, ls=":", lw=1.2)
        right.plot([-0.7, row], [death, death], color=shade, ls=":", lw=1.2)
    left.set(xlim=(0, 1), ylim=(0, 11), xticks=[], xlabel="landscape", ylabel="height")
    right.set(xlim=(-0.7, 3.7), xlabel=f"barcode, TO-score {code.to_score():.2f}")
    right.set_xticks(range(len(code)), names)
    target = Path(__file__).resolve().parent.parent / "book" / "static" / "landscape.svg"
    fig.savefig(target, facecolor="white", metadata={"Date": None})  # no date: always the same


if __name__ == "__main__":
    main()
