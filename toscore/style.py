"""The look of all figures: colours, line widths, and where the stems of a merge tree stand.

Colours are seaborn's colour-blind safe palette.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns

from toscore.barcode import Barcode

__all__ = ["colors", "use_style"]

GREY = "#6e6e6e"


def use_style() -> None:
    """Set the look of all figures: colour-blind safe colours, and SVG when in IPython.

    Examples
    --------
    >>> from toscore import plots
    >>> plots.use_style()
    """
    sns.set_theme(style="ticks", palette="colorblind")
    plt.rcParams.update(
        {
            "axes.spines.right": False,
            "axes.spines.top": False,
            "axes.titlesize": "medium",
            "contour.negative_linestyle": "solid",
            "figure.constrained_layout.use": True,
            "figure.figsize": (7.0, 3.4),
            "legend.frameon": False,
            "svg.hashsalt": "toscore",  # the same figure gives the same file
        }
    )
    try:
        from IPython import get_ipython
        from matplotlib_inline.backend_inline import set_matplotlib_formats
    except ImportError:
        return
    if get_ipython() is not None:
        set_matplotlib_formats("svg", metadata={"Date": None})


def colors(n: int) -> list[str]:
    """n colours as hex strings, colour-blind safe; they repeat after ten.

    Parameters
    ----------
    n : int
        How many.

    Examples
    --------
    >>> from toscore import plots
    >>> plots.colors(2)
    ['#0173b2', '#de8f05']
    """
    return sns.color_palette("colorblind", max(n, 1)).as_hex()[:n]


def _top(code: Barcode) -> float:
    """Where to end what never ends: a little above the highest finite value."""
    finite = np.concatenate([code.birth, code.death[np.isfinite(code.death)]])
    span = np.ptp(finite)
    return float(finite.max() + (0.12 * span if span > 0 else 1.0))


def _width(code: Barcode) -> float:
    """Width of a segment's line, in points: thinner where there are many."""
    return float(np.clip(60 / max(len(code), 1), 0.8, 4))


def _places(code: Barcode) -> np.ndarray:
    """Position of each row's stem such that no line of the merge tree crosses another.

    The later a child ends, the further right of its parent it stands: what its connection passes
    over has ended before.
    """
    children = [[] for _ in range(len(code))]
    for row in np.lexsort((-np.arange(len(code)), -code.birth, code.death))[::-1]:
        if code.parent[row] >= 0:
            children[code.parent[row]].append(row)
    stack = list(np.flatnonzero(code.parent < 0)[::-1])
    place = np.empty(len(code), dtype=np.int64)
    for k in range(len(code)):
        row = stack.pop()
        place[row] = k
        stack.extend(children[row])  # latest death first, so the earliest is placed next
    return place
