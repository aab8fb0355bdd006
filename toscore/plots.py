"""Drawing on matplotlib's Axes: a function takes the thing to draw and an Axes, and returns that.

Those that lay out several panels return the Figure. What moves, from :mod:`toscore.interactive` and
:mod:`toscore.widgets`, and the look of all, from :mod:`toscore.style`, can be called from here too.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import to_rgba_array
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from toscore.barcode import Barcode
from toscore.interactive import level_slider, relaxing, show
from toscore.style import GREY, _places, _top, _width, colors, use_style
from toscore.trends import intervals
from toscore.widgets import atlas, sortable

__all__ = [
    "atlas",
    "barcode",
    "barcodes",
    "barcodes_by_size",
    "colors",
    "convergence",
    "level_slider",
    "merge_tree",
    "methods",
    "on_surface",
    "panels",
    "profiles",
    "relaxing",
    "scores",
    "scores_by_width",
    "show",
    "sortable",
    "straight_lines",
    "trends",
    "use_style",
]

FLOOR = 1e-7  # what a logarithmic axis of excesses begins with


def barcode(code: Barcode, ax=None, *, sort="birth", color=None, names=None):
    """Draw a barcode: one horizontal segment a minimum; an arrow on those that never end.

    Parameters
    ----------
    code : Barcode
        Of any origin.
    ax : matplotlib Axes, optional
        Default: the current one.
    sort : {"birth", "length"}
        Lowest birth first from the bottom, or longest segment first.
    color : matplotlib colour, or one for each row
        Default: the first of the palette.
    names : sequence of str, optional
        Name of each row, for the vertical axis.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        Another ``sort``.

    Examples
    --------
    >>> import toscore as ts
    >>> from toscore import plots
    >>> ax = plots.barcode(ts.surfaces.mueller_brown().barcode, names=list("ABC"))
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['A', 'B', 'C']
    """
    if sort not in ("birth", "length"):
        raise ValueError(f"sort must be 'birth' or 'length', got {sort!r}")
    ax = plt.gca() if ax is None else ax
    key = code.birth if sort == "birth" else -code.lengths
    rows = np.argsort(key, kind="stable")
    birth, death = code.birth[rows], code.death[rows]
    shades = to_rgba_array(colors(1)[0] if color is None else color)
    shades = np.broadcast_to(shades, (len(code), 4))[rows]

    height = np.arange(len(rows))
    infinite = np.isinf(death)
    top = _top(code)
    ax.hlines(height, birth, np.where(infinite, top, death), color=shades, lw=_width(code))
    ax.scatter(birth, height, c=shades, s=5 * _width(code), zorder=3)
    for y, shade in zip(height[infinite], shades[infinite], strict=True):
        ax.plot(top, y, ">", color=shade, ms=2.5 * _width(code), clip_on=False)
    ax.set_xlabel("value of $f$")
    ax.set_ylabel("minimum")
    if names is not None:
        ax.set_yticks(height, [names[row] for row in rows])
    else:
        ax.set_yticks([])
        ax.set_ylabel(f"minima, sorted by {sort}")
    ax.set_ylim(-0.7, len(rows) - 0.3)
    return ax


def merge_tree(code: Barcode, ax=None, *, color=None, names=None):
    """Draw the merge tree: a stem for each minimum, joined at its death to the stem of its elder.

    Stems are ordered so that no two lines cross.

    Parameters
    ----------
    code : Barcode
        Of any origin.
    ax : matplotlib Axes, optional
        Default: the current one.
    color : sequence of matplotlib colours, one for each row
        Default: the palette.
    names : sequence of str, optional
        Name of each row, for the horizontal axis.

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> import toscore as ts
    >>> from toscore import plots
    >>> plots.merge_tree(ts.surfaces.himmelblau().barcode).get_ylabel()
    'value of $f$'
    """
    ax = plt.gca() if ax is None else ax
    color = colors(len(code)) if color is None else color
    place = _places(code)
    top = _top(code)
    for row, x in enumerate(place):
        end = top if code.parent[row] < 0 else code.death[row]
        ax.plot([x, x], [code.birth[row], end], color=color[row], lw=_width(code))
        ax.plot(x, code.birth[row], "o", color=color[row], ms=5)
        if code.parent[row] < 0:
            ax.plot(x, top, "^", color=color[row], ms=8, clip_on=False)
        else:
            ax.plot([x, place[code.parent[row]]], [end, end], ":", color=GREY, lw=1.5, zorder=0)
    ax.set_ylabel("value of $f$")
    ax.set_xlabel("minimum")
    ax.set_xlim(-0.7, len(code) - 0.3)
    ax.set_xticks(place if names is not None else [], names)
    return ax


def panels(n: int, **kwargs):
    """The figure and a list of n Axes: one row up to three, else two rows.

    Parameters
    ----------
    n : int
        How many.
    **kwargs
        Further arguments of ``matplotlib.pyplot.subplots``.

    Returns
    -------
    fig : matplotlib Figure
    axes : list of n matplotlib Axes

    Examples
    --------
    >>> from toscore import plots
    >>> fig, axes = plots.panels(5)
    >>> len(axes)
    5
    """
    rows = 1 if n < 4 else 2
    columns = -(-n // rows)
    size = (3.6 * columns, 2.7 * rows)
    fig, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, **kwargs)
    for unused in axes.flat[n:]:
        unused.remove()
    for ax in axes.flat[:n]:
        ax.locator_params(axis="x", nbins=4)  # small panels, long numbers
    return fig, list(axes.flat[:n])


def barcodes(codes: dict, ax=None):
    """Several barcodes in one Axes, sorted by birth, one colour for each key of ``codes``.

    Parameters
    ----------
    codes : dict of str -> Barcode
        Their names, for the legend.
    ax : matplotlib Axes, optional
        Default: the current one.

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> import toscore as ts
    >>> from toscore import plots
    >>> codes = {f.__name__: f().barcode for f in (ts.surfaces.branin, ts.surfaces.himmelblau)}
    >>> plots.barcodes(codes).get_legend_handles_labels()[1]
    ['branin', 'himmelblau']
    """
    ax = plt.gca() if ax is None else ax
    shades = colors(len(codes))
    fields = ("birth", "death", "minimum", "saddle", "parent")
    together = Barcode(*(np.concatenate([getattr(c, k) for c in codes.values()]) for k in fields))
    owner = np.repeat(shades, [len(c) for c in codes.values()])
    barcode(together, ax=ax, color=owner)
    for name, shade in zip(codes, shades, strict=True):
        ax.plot([], [], color=shade, lw=_width(together), label=name)
    return ax


def profiles(paths, landscape=None, minima=None, ax=None):
    """Loss along every path; with a landscape and its minima, along the straight lines too.

    Parameters
    ----------
    paths : Paths
        From :func:`toscore.connect`.
    landscape : Landscape or Surface, optional
        That which the paths were made on.
    minima : Minima, or tensor (N, D), optional
        Those that the paths connect; needed with a landscape.
    ax : matplotlib Axes, optional
        Default: the current one.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        A landscape without minima.

    Examples
    --------
    >>> import toscore as ts
    >>> from toscore import plots
    >>> surface = ts.surfaces.himmelblau()
    >>> paths = ts.connect(surface, surface.minima, [[0, 1]], progress=False)
    >>> plots.profiles(paths).get_ylabel()
    'loss'
    """
    ax = plt.gca() if ax is None else ax
    shade, mark = colors(2)
    if landscape is not None and minima is None:
        raise ValueError("straight lines need their ends: give the minima with the landscape")
    if landscape is not None:
        lines = straight_lines(landscape, minima, paths.pairs)
        ax.plot(np.linspace(0, 1, lines.shape[1]), lines.T, color="0.75", lw=0.8)
        ax.plot([], [], color="0.75", label="straight line")
    ax.plot(paths.profile_t, paths.profiles.T, color=shade, lw=1)
    ax.plot([], [], color=shade, label="trained path")
    ax.plot(paths.t, paths.maximum, "o", color=mark, ms=3.5, label="highest point")
    scale = "log" if paths.profiles.min(initial=0) >= 0 else "linear"  # a surface may be negative
    ax.set(yscale=scale, xlabel="position along the path", ylabel="loss")
    if scale == "log":
        _few_labels(ax)
    return ax


def _few_labels(ax) -> None:
    """Labels that fit where a logarithmic axis y spans little: by default they overlap."""
    low, high = ax.get_ylim()
    decades = np.log10(high / low)
    if decades < 1.7:
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)) if decades > 0.5 else MaxNLocator(4))
        ax.yaxis.set_major_formatter("{x:g}")
        ax.yaxis.set_minor_formatter(NullFormatter())


def convergence(paths, ax=None):
    """Excess of each path against the evaluations spent on it, on log axes, and its saddle.

    A line that still falls at its right end is a path with too small a budget. Where it jumps up
    there, the dense search found a place that relaxing had not looked at. A dot to the right is
    the certified saddle that the path was led to; a cross, one that was not certified. Excesses
    below 1e-7 are drawn there.

    Parameters
    ----------
    paths : Paths
        From :func:`toscore.connect`.
    ax : matplotlib Axes, optional
        Default: the current one.

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> import toscore as ts
    >>> from toscore import plots
    >>> surface = ts.surfaces.himmelblau()
    >>> paths = ts.connect(surface, surface.minima, [[0, 1]], progress=False)
    >>> plots.convergence(paths).get_legend_handles_labels()[1]
    ['0–1']
    """
    ax = plt.gca() if ax is None else ax
    shades = colors(len(paths))
    for row, ((i, j), shade) in enumerate(zip(paths.pairs.tolist(), shades, strict=True)):
        steps = paths.history.query("i == @i and j == @j and run == 0")
        spent, seen = steps.evaluations.to_numpy(), steps.excess.clip(FLOOR).to_numpy()
        dense = max(paths.restarts[row, 0] - paths.floor[row], FLOOR)
        spent, seen = np.append(spent, spent[-1]), np.append(seen, dense)
        ax.plot(spent, seen, color=shade, lw=1.5, label=f"{i}–{j}")
        if paths.certificates.verdict[row] != "not tried":
            mark = "o" if paths.certified[row] else "x"
            at = 1.3 * spent[-1], max(paths.excess[row], FLOOR)
            ax.plot(*at, mark, color=shade, ms=6)
    ax.set(xscale="log", yscale="log", xlabel="evaluations on the path", ylabel="excess")
    return ax


def on_surface(surface, curves: dict, ax=None, *, top: float | None = None):
    """Contour lines of a surface of two variables, and curves on it.

    Parameters
    ----------
    surface : Surface
        With two coordinates and known minima.
    curves : dict of label -> array (m, 2)
        Points along each.
    ax : matplotlib Axes, optional
        Default: the current one.
    top : float, optional
        Contour lines end here; by default three quarters up.

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> import toscore as ts
    >>> from toscore import plots
    >>> surface = ts.surfaces.himmelblau()
    >>> ax = plots.on_surface(surface, {"straight line": surface.minima[:2]}, top=200)
    >>> ax.get_xlabel(), ax.get_ylabel()
    ('x', 'y')
    """
    ax = plt.gca() if ax is None else ax
    (x0, x1), (y0, y1) = surface.box.tolist()
    x, y = np.linspace(x0, x1, 200), np.linspace(y0, y1, 200)
    z = surface.loss(np.stack(np.meshgrid(x, y), axis=-1)).numpy()
    top = z.min() + 0.75 * np.ptp(z) if top is None else top
    ax.contour(x, y, z, np.linspace(z.min(), top, 25), colors="0.8", linewidths=0.6)
    for (label, curve), shade in zip(curves.items(), colors(len(curves)), strict=True):
        ax.plot(*np.asarray(curve).T, color=shade, lw=2, label=label)
    ax.plot(*surface.minima.numpy().T, "o", color="black", ms=4)
    ax.set(xlabel="x", ylabel="y", xlim=(x0, x1), ylim=(y0, y1))
    return ax


def methods(traces, names, ax=None):
    """Excess against time of every method of the benchmark: the median over landscapes.

    The line of ``toscore.connect`` is thicker.

    Each landscape's excesses are divided by what the straight line has, and its times by its time
    allowed, so that landscapes can be put together.

    Parameters
    ----------
    traces : DataFrame
        Columns landscape, method and, as shares, ``time`` and ``left``.
    names : list of str
        The methods, in the order of the legend.
    ax : matplotlib Axes, optional
        Default: the current one.

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> import pandas as pd
    >>> from toscore import plots
    >>> columns = {"landscape": "a", "method": "one", "time": [0.1, 1.0], "left": [0.5, 0.2]}
    >>> traces = pd.DataFrame(columns)
    >>> plots.methods(traces, ["one"]).get_ylabel()
    'excess (straight line = 1)'
    """
    ax = plt.gca() if ax is None else ax
    grid = np.geomspace(0.03, 1, 30)
    for name, shade in zip(names, colors(len(names)), strict=True):
        rows = []
        for _, steps in traces[traces.method == name].groupby("landscape"):
            steps = steps.sort_values("time")
            best = np.minimum.accumulate(steps.left.to_numpy())
            at = np.searchsorted(steps.time, grid, side="right") - 1
            rows.append(np.where(at >= 0, best[at.clip(0)], 1.0))
        color, thick = ("black", 3) if name == "toscore.connect" else (shade, 1.3)
        ax.plot(grid, np.median(rows, axis=0), label=name, color=color, lw=thick)
    ax.set(xscale="log", yscale="log", xlabel="share of the time allowed")
    ax.set_ylabel("excess (straight line = 1)")
    return ax


def straight_lines(landscape, minima, pairs, n: int = 65) -> np.ndarray:
    """Loss on the straight line between the minima of each pair.

    Parameters
    ----------
    landscape : Landscape or Surface
        The function.
    minima : Minima, or tensor (N, D)
        Of that landscape.
    pairs : int (P, 2)
        Which of them.
    n : int
        Evenly spaced points on each line.

    Returns
    -------
    float64 array (P, n)

    Examples
    --------
    >>> import toscore as ts
    >>> from toscore import plots
    >>> surface = ts.surfaces.himmelblau()
    >>> found = ts.find_minima(surface, 6, progress=False)
    >>> plots.straight_lines(surface, found, [[0, 1]], n=5).shape
    (1, 5)
    """
    ends = getattr(minima, "theta", minima)[np.asarray(pairs)]
    t = np.linspace(0, 1, n)[:, None]
    points = ends[:, None, 0] + (ends[:, None, 1] - ends[:, None, 0]) * ends.new_tensor(t)
    return landscape.loss(points).cpu().double().numpy()


def scores_by_width(result, ax=None):
    """TO-score (mean) of each barcode of a stored result against width, one colour a depth.

    Pale bars: 95 % bootstrap intervals of the mean segment over all segments of one width and
    depth; none where there is a single segment.

    Parameters
    ----------
    result : Result
        A stored experiment.
    ax : matplotlib Axes, optional
        Default: the current one.

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> import toscore as ts
    >>> from toscore import plots
    >>> plots.scores_by_width(ts.load_or_run("fc-mnist", "laptop")).get_xlabel()
    'width'
    """
    ax = plt.gca() if ax is None else ax
    scores, ends = result.scores(), intervals(result)
    depths, widths = (sorted(scores[k].unique()) for k in ("depth", "width"))
    for k, (depth, shade) in enumerate(zip(depths, colors(len(depths)), strict=True)):
        beside = 1.05 ** (k - (len(depths) - 1) / 2)
        for width, row in ends.loc[depth].dropna().iterrows():
            at = [width * beside] * 2
            ax.plot(at, row, color=shade, alpha=0.3, lw=5, solid_capstyle="butt", zorder=1)
        rows = scores[scores.depth == depth]
        ax.plot(rows.width * beside, rows.score, "os^D"[k % 4], color=shade, label=f"depth {depth}")
    ax.set(xscale="log", yscale="log", xlabel="width", ylabel="TO-score (mean segment)")
    ax.set_xticks(widths, [str(w) for w in widths])
    ax.set_xticks([], minor=True)
    return ax


def barcodes_by_size(result):
    """The figure of a stored result's barcodes: a panel a width and depth, one colour a seed.

    Parameters
    ----------
    result : Result
        A stored experiment.

    Returns
    -------
    matplotlib Figure

    Examples
    --------
    >>> import toscore as ts
    >>> from toscore import plots
    >>> figure = plots.barcodes_by_size(ts.load_or_run("fc-mnist", "laptop"))
    >>> figure.axes[0].get_title()
    'width 2, depth 1'
    """
    codes = result.barcodes()
    sizes = sorted({(depth, width) for width, depth, _ in codes})
    fig, axes = panels(len(sizes))
    for ax, (depth, width) in zip(axes, sizes, strict=True):
        alike = {f"seed {s}": code for (w, d, s), code in codes.items() if (w, d) == (width, depth)}
        barcodes(alike, ax=ax)
        ax.set_title(f"width {width}, depth {depth}")
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return fig


def scores(results: dict):
    """The figure of TO-scores against width: a panel a stored result, one colour a depth.

    Parameters
    ----------
    results : dict of name -> Result
        Stored experiments.

    Returns
    -------
    matplotlib Figure

    Examples
    --------
    >>> import toscore as ts
    >>> from toscore import plots
    >>> figure = plots.scores({"fc-mnist": ts.load_or_run("fc-mnist", "laptop")})
    >>> figure.axes[0].get_title()
    'fc-mnist'
    """
    fig, axes = panels(len(results))
    for ax, (name, result) in zip(axes, results.items(), strict=True):
        scores_by_width(result, ax=ax)
        ax.set_title(name)
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return fig


def trends(table, ax=None):
    """What a factor multiplies the TO-score by: a point and its interval for each row of a table.

    Left of the dashed line at 1 the score falls. The row called "all" is drawn apart and heavier.

    Parameters
    ----------
    table : DataFrame
        From :func:`toscore.trends.trends`.
    ax : matplotlib Axes, optional
        Default: the current one.

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> import pandas as pd
    >>> from toscore import plots
    >>> row = {"factor": "width", "ratio": 0.7, "low": 0.5, "high": 0.9}
    >>> plots.trends(pd.DataFrame([row], index=["fc-mnist"])).get_xlabel()
    'TO-score × … per doubled width'
    """
    ax = plt.gca() if ax is None else ax
    color = colors(1)[0]
    for y, (name, row) in enumerate(table.iterrows()):
        whole = name == "all"
        y += 0.5 * whole
        ax.plot([row.low, row.high], [y, y], color=color, lw=4 if whole else 2, alpha=0.5)
        ax.plot(row.ratio, y, "D" if whole else "o", color=color, ms=8 if whole else 5)
    ax.axvline(1.0, color="0.5", ls="--", lw=1)
    places = [y + 0.5 * (name == "all") for y, name in enumerate(table.index)]
    ax.set_yticks(places, [str(name) for name in table.index])
    per = {"width": "per doubled width", "depth": "per added layer or block"}[table.factor.iloc[0]]
    ax.set(xscale="log", xlabel=f"TO-score × … {per}")
    decades = np.log10(max(table.high.max(), 1) / min(table.low.min(), 1))
    ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if decades < 1.5 else (1.0,)))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_minor_formatter(NullFormatter())  # else crowded where the range is short
    ax.invert_yaxis()
    return ax
