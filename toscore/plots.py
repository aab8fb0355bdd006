"""Drawing: each function takes the thing to draw and an Axes, and returns that Axes.

Colours are seaborn's colour-blind safe palette. Interactive figures are plotly figures; plotly is
imported only by the functions that make or show them.
"""

from __future__ import annotations

import html
import json
from hashlib import sha256

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.colors import to_rgba_array
from matplotlib.ticker import LogLocator, NullFormatter
from scipy import ndimage

from toscore.barcode import Barcode, bootstrap_interval
from toscore.interactive import as_image, atlas, stills

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


def barcode(code: Barcode, ax=None, *, sort="birth", color=None, names=None, label=None):
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
    label : str, optional
        Entry of the legend.

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
    ax.scatter(birth, height, c=shades, s=5 * _width(code), zorder=3, label=label)
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
    minima : Minima, optional
        Those that the paths connect.
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
    >>> plots.profiles(paths).get_ylabel()
    'loss'
    """
    ax = plt.gca() if ax is None else ax
    shade, mark = colors(2)
    if landscape is not None:
        lines = straight_lines(landscape, minima, paths.pairs)
        ax.plot(np.linspace(0, 1, lines.shape[1]), lines.T, color="0.75", lw=0.8)
        ax.plot([], [], color="0.75", label="straight line")
    ax.plot(paths.profile_t, paths.profiles.T, color=shade, lw=1)
    ax.plot([], [], color=shade, label="trained path")
    ax.plot(paths.t, paths.maximum, "o", color=mark, ms=3.5, label="highest point")
    ax.set(yscale="log", xlabel="position along the path", ylabel="loss")
    return ax


def convergence(paths, ax=None, *, floor: float = 1e-7):
    """Excess of each path against the evaluations spent on it, on log axes, and its saddle.

    A line that still falls at its right end is a path with too small a budget. Where it jumps up
    there, the dense search found a place that relaxing had not looked at. A dot to the right is
    the certified saddle that the path was led to; a cross, one that was not certified.

    Parameters
    ----------
    paths : Paths
        From :func:`toscore.connect`.
    ax : matplotlib Axes, optional
        Default: the current one.
    floor : float
        Smaller excesses are drawn here.

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
        spent, seen = steps.evaluations.to_numpy(), steps.excess.clip(floor).to_numpy()
        dense = max(paths.restarts[row, 0] - paths.floor[row], floor)
        spent, seen = np.append(spent, spent[-1]), np.append(seen, dense)
        ax.plot(spent, seen, color=shade, lw=1.5, label=f"{i}–{j}")
        if paths.certificates.verdict[row] != "not tried":
            mark = "o" if paths.certified[row] else "x"
            at = 1.3 * spent[-1], max(paths.excess[row], floor)
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


def methods(traces, names, ax=None, *, ours: str = "toscore.connect"):
    """Excess against time of every method of the benchmark: the median over landscapes.

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
    ours : str
        The method drawn thicker.

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
        style = {"color": "black", "lw": 3} if name == ours else {"color": shade, "lw": 1.3}
        ax.plot(grid, np.median(rows, axis=0), label=name, **style)
    ax.set(xscale="log", yscale="log", xlabel="share of the time allowed")
    ax.set_ylabel("excess (straight line = 1)")
    return ax


def straight_lines(landscape, minima, pairs, n: int = 65) -> np.ndarray:
    """Loss on the straight line between the minima of each pair.

    Parameters
    ----------
    landscape : Landscape or Surface
        The function.
    minima : Minima
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
    ends = minima.theta[np.asarray(pairs)]
    t = np.linspace(0, 1, n)[:, None]
    points = ends[:, None, 0] + (ends[:, None, 1] - ends[:, None, 0]) * ends.new_tensor(t)
    return landscape.loss(points).cpu().double().numpy()


def scores_by_width(result, ax=None, seed: int = 0):
    """TO-score (mean) of each barcode of a stored result against width, one colour a depth.

    Pale bars: 95 % bootstrap intervals of the mean segment over all segments of one width and
    depth; none where there is a single segment.

    Parameters
    ----------
    result : Result
        A stored experiment.
    ax : matplotlib Axes, optional
        Default: the current one.
    seed : int
        Of the resamples.

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
    codes, scores = result.barcodes(), result.scores()
    depths, widths = (sorted(scores[k].unique()) for k in ("depth", "width"))
    for k, (depth, shade) in enumerate(zip(depths, colors(len(depths)), strict=True)):
        beside = 1.05 ** (k - (len(depths) - 1) / 2)
        for width in widths:
            found = [code for cell, code in codes.items() if cell[:2] == (width, depth)]
            lengths = np.concatenate([np.diff(code.diagram(), axis=1)[:, 0] for code in found])
            if len(lengths) > 1:
                ends = bootstrap_interval(lengths, seed=seed)
                at = [width * beside] * 2
                ax.plot(at, ends, color=shade, alpha=0.3, lw=5, solid_capstyle="butt", zorder=1)
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


def trends(table, ax=None, *, color=None):
    """What a factor multiplies the TO-score by: a point and its interval for each row of a table.

    Left of the dashed line at 1 the score falls. The row called "all" is drawn apart and heavier.

    Parameters
    ----------
    table : DataFrame
        From :func:`toscore.trends.trends`.
    ax : matplotlib Axes, optional
        Default: the current one.
    color : matplotlib colour, optional
        Default: the first of the palette.

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
    color = colors(1)[0] if color is None else color
    for y, (name, row) in enumerate(table.iterrows()):
        whole = name == "all"
        y += 0.5 * whole
        ax.plot([row.low, row.high], [y, y], color=color, lw=4 if whole else 2, alpha=0.5)
        ax.plot(row.ratio, y, "D" if whole else "o", color=color, ms=8 if whole else 5)
    ax.axvline(1.0, color="0.5", ls="--", lw=1)
    places = [y + 0.5 * (name == "all") for y, name in enumerate(table.index)]
    ax.set_yticks(places, [str(name) for name in table.index])
    per = {"width": "per doubled width", "depth": "per added layer"}[table.factor.iloc[0]]
    ax.set(xscale="log", xlabel=f"TO-score × … {per}")
    ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_minor_formatter(NullFormatter())  # else crowded where the range is short
    ax.invert_yaxis()
    return ax


def level_slider(values, code: Barcode, x, y=None, *, names=None, levels=40, start=0.5):
    """A plotly figure with a slider for the level c: the sublevel set and the barcode beside it.

    Each component of {f <= c} has the colour of its lowest minimum. Beside it the segments grow
    with the level; a dotted line joins each one, where it ends, to its elder's: the merge tree.

    Parameters
    ----------
    values : float (nx,) or (nx, ny)
        The function on a line or on a grid.
    code : Barcode
        Of these values: :func:`toscore.barcode_of_grid`.
    x, y : float (nx,) and (ny,)
        Coordinates; ``y`` only for a grid.
    names : sequence of str, optional
        Name of each row of ``code``; default A, B, C and so on.
    levels : int
        Number of evenly spaced levels; the births and deaths are added to them.
    start : float
        Where the slider stands first, as a share of its way.

    Returns
    -------
    plotly.graph_objects.Figure

    Raises
    ------
    ValueError
        ``values`` of another shape than the coordinates make.

    Examples
    --------
    >>> import toscore as ts
    >>> from toscore import plots
    >>> values = [0.0, 2.0, 1.0, 3.0]
    >>> fig = plots.level_slider(values, ts.barcode_of_grid(values), [0, 1, 2, 3], levels=10)
    >>> len(fig.frames)
    13
    """
    from plotly import graph_objects as go
    from plotly.subplots import make_subplots

    values = np.asarray(values, dtype=np.float64)
    shape = (len(x),) if y is None else (len(x), len(y))
    if values.shape != shape:
        raise ValueError(f"values have shape {values.shape}, but the coordinates make {shape}")
    names = [chr(65 + row) for row in range(len(code))] if names is None else names
    top, low = _top(code), code.birth.min()
    c = np.linspace(low - 0.12 * (top - low), top, levels)
    c = np.unique(np.concatenate([c, code.birth, code.death[np.isfinite(code.death)]]))
    draw = _water if y is None else _map
    place = np.arange(len(code)) if y is None else _places(code)

    fig = make_subplots(1, 2, column_widths=[0.64, 0.36], horizontal_spacing=0.13)
    still, moving = draw(values, code, x, y, names, (c[0], top))
    frames = [[*moving(level), *_stems(code, place, names, level)] for level in c]
    first = int(start * (len(c) - 1))
    n_left = len(moving(c[0]))
    for trace in still:
        fig.add_trace(trace, row=1, col=1)
    for k, trace in enumerate(frames[first]):
        fig.add_trace(trace, row=1, col=1 if k < n_left else 2)
    changing = list(range(len(still), len(fig.data)))
    titles = [_alive(values, code, names, level) for level in c]
    fig.frames = [
        go.Frame(data=data, traces=changing, name=str(k), layout={"title": {"text": title}})
        for k, (data, title) in enumerate(zip(frames, titles, strict=True))
    ]
    _finish(fig, len(c), first, titles[first], stills=(0.5, 0.65, 1))
    fig.update_xaxes(
        title="minimum", tickvals=place, ticktext=names, range=[-0.7, len(code) - 0.3], col=2
    )
    fig.update_yaxes(range=[c[0], top])
    fig.update_yaxes(title="value of f", col=1)
    fig.update_xaxes(title="x", range=[x[0], x[-1]], col=1)
    if y is not None:
        fig.update_yaxes(title="y", range=[y[0], y[-1]], col=1)
    _name_right(fig)
    return fig


def _owners(values, code, level):
    """Row of the lowest minimum of the component each point is in; -1 above the level."""
    labels, n = ndimage.label(values <= level, structure=np.ones((3,) * values.ndim))
    owner = np.full(n + 1, -1)
    eldest_last = np.argsort(code.birth, kind="stable")[::-1]
    for row in eldest_last:
        owner[labels.flat[code.minimum[row]]] = row
    owner[0] = -1
    return owner[labels]


def _alive(values, code, names, level):
    """Title of one frame: the level, how many components there are, and their names."""
    rows = np.unique(_owners(values, code, level))
    rows = rows[rows >= 0]
    plural = "s" if len(rows) > 1 else ""
    who = f"{len(rows)} component{plural}: {', '.join(sorted(names[row] for row in rows))}"
    return f"level c = {level:.4g} · {who if len(rows) else 'no component yet'}"


def _water(values, code, x, y, names, limits):
    """Traces of the left panel on a line: the curve, and the water up to a level."""
    from plotly import graph_objects as go

    shades = colors(len(code))
    x32, v32 = np.asarray(x, np.float32), values.astype(np.float32)
    curve = go.Scatter(x=x32, y=v32, mode="lines", line={"color": "black", "width": 2})
    minima = _marks(x32[code.minimum], v32[code.minimum], names, "bottom center")

    def moving(level):
        owner = _owners(values, code, level)
        traces = []
        for row, shade in enumerate(shades):
            i = np.flatnonzero(owner == row)
            across = np.concatenate([x32[i], x32[i][::-1]])
            up = np.concatenate([v32[i], np.full(len(i), level, np.float32)])
            line = {"color": shade, "width": 1}
            style = {"mode": "lines", "line": line, "fill": "toself", "fillcolor": shade}
            traces.append(go.Scatter(x=across, y=up, opacity=0.75, **style))
        surface = {"color": GREY, "dash": "dash", "width": 1}
        ends = [float(x32[0]), float(x32[-1])]
        return [*traces, go.Scatter(x=ends, y=[level, level], mode="lines", line=surface)]

    return [curve, minima], moving


def _map(values, code, x, y, names, limits):
    """Traces of the left panel on a grid: contour lines, and the components at a level."""
    from plotly import graph_objects as go

    x32, y32 = np.asarray(x, np.float32), np.asarray(y, np.float32)
    shades = ["rgba(255,255,255,0)", *colors(len(code))]
    steps = np.repeat(np.linspace(0, 1, len(shades) + 1), 2)[1:-1]
    scale = list(zip(steps.tolist(), np.repeat(shades, 2).tolist(), strict=True))
    contour = go.Contour(
        x=x32,
        y=y32,
        z=values.T.astype(np.float32),
        contours={"start": limits[0], "end": limits[1], "size": float(np.ptp(limits)) / 12},
        contours_coloring="none",
        line={"color": GREY, "width": 1},
        showscale=False,
    )
    i, j = np.unravel_index(code.minimum, values.shape)
    minima = _marks(x32[i], y32[j], names, "top right")

    def moving(level):
        z = (_owners(values, code, level).T + 1).astype(np.int8)
        look = {"zmin": -0.5, "zmax": len(shades) - 0.5, "colorscale": scale, "opacity": 0.75}
        return [go.Heatmap(x=x32, y=y32, z=z, showscale=False, **look)]

    return [contour, minima], moving


def _marks(x, y, names, position):
    from plotly import graph_objects as go

    marker = {"color": "black", "size": 7}
    style = {"mode": "markers+text", "textposition": position, "textfont": {"size": 15}}
    return go.Scatter(x=x, y=y, text=names, marker=marker, **style)


def _stems(code, place, names, level):
    """Traces of the right panel: segments up to a level, their connections, and the level."""
    from plotly import graph_objects as go

    traces, across, up = [], [], []
    for row, shade in enumerate(colors(len(code))):
        born = level >= code.birth[row]
        ends = [code.birth[row], min(level, code.death[row])] if born else [None, None]
        at = [int(place[row])] * 2
        style = {"line": {"color": shade, "width": 7}, "mode": "lines+markers"}
        traces.append(go.Scatter(x=at, y=ends, marker={"size": 7, "color": shade}, **style))
        if level >= code.death[row]:
            across += [*at[:1], int(place[code.parent[row]]), None]
            up += [code.death[row], code.death[row], None]
    link = {"color": GREY, "dash": "dot", "width": 2}
    traces.append(go.Scatter(x=across, y=up, mode="lines", line=link))
    surface = {"color": GREY, "dash": "dash", "width": 1}
    ends = [-0.7, len(code) - 0.3]
    return [*traces, go.Scatter(x=ends, y=[level, level], mode="lines", line=surface)]


def _finish(fig, n, first, title, stills):
    """Slider over n frames, play button and the look; which shares of its way are for print."""
    at_once = {"frame": {"duration": 0, "redraw": True}, "transition": {"duration": 0}}
    steps = [
        {
            "label": "",
            "method": "animate",
            "args": [[str(k)], at_once | {"mode": "immediate"}],
        }
        for k in range(n)
    ]
    slow = at_once | {"frame": {"duration": 150, "redraw": True}, "fromcurrent": True}
    play = {"label": "play", "method": "animate", "args": [None, slow]}
    stop = {"label": "stop", "method": "animate", "args": [[None], at_once | {"mode": "immediate"}]}
    fig.update_layout(
        template="simple_white",
        height=430,
        margin={"l": 60, "r": 15, "t": 55, "b": 20},
        meta={"stills": list(stills)},
        showlegend=False,
        hovermode=False,
        dragmode=False,
        title={"text": title, "x": 0.5, "y": 0.97, "yanchor": "top", "font": {"size": 15}},
        sliders=[
            {
                "active": first,
                "steps": steps,
                "currentvalue": {"visible": False},
                "x": 0.35,  # right of the buttons, on a phone too
                "len": 0.65,
                "ticklen": 0,
                "minorticklen": 0,
                "pad": {"t": 62},
            }
        ],
        updatemenus=[
            {
                "type": "buttons",
                "direction": "left",
                "buttons": [play, stop],
                "showactive": False,
                "x": 0.0,
                "y": 0.0,
                "xanchor": "left",
                "yanchor": "top",
                "pad": {"t": 55},
            }
        ],
    )


def _name_right(fig):
    """Name the right panel's heights above it: beside it, on a phone, there is no room."""
    at = {"x": -0.04, "xref": "x2 domain", "xanchor": "center", "y": 1, "yref": "y2 domain"}
    fig.add_annotation(text="value of f", showarrow=False, yanchor="bottom", **at)


def relaxing(surface, stages):
    """Slider over stages of one path on a surface of two variables, and f along it.

    Parameters
    ----------
    surface : Surface
        With two coordinates.
    stages : list of Paths
        Of one pair each, with more and more evaluations.

    Returns
    -------
    plotly.graph_objects.Figure

    Examples
    --------
    >>> import toscore as ts
    >>> from toscore import plots
    >>> surface = ts.surfaces.himmelblau()
    >>> def stage(budget):
    ...     settings = {"budget": budget, "certified": False, "progress": False}
    ...     return ts.connect(surface, surface.minima, [[0, 1]], **settings)
    >>> len(plots.relaxing(surface, [stage(400), stage(1000)]).frames)
    2
    """
    from plotly import graph_objects as go
    from plotly.subplots import make_subplots

    t = np.linspace(0, 1, 129)
    curves = [s.at(0, t).numpy().astype(np.float32) for s in stages]
    floor, top = stages[0].floor[0], stages[0].maximum[0]
    (x0, x1), (y0, y1) = surface.box.tolist()
    x, y = np.linspace(x0, x1, 90), np.linspace(y0, y1, 80)
    z = surface.loss(np.stack(np.meshgrid(x, y), axis=-1)).numpy()
    low = z.min()
    fig = make_subplots(1, 2, column_widths=[0.55, 0.45], horizontal_spacing=0.13)
    shade, mark = colors(2)
    levels = {"start": low, "end": top + 0.5 * (top - low), "size": (top - low) / 12}
    contour = go.Contour(
        x=x.astype(np.float32),
        y=y.astype(np.float32),
        z=z.clip(max=levels["end"] + 1).astype(np.float32),
        contours=levels,
        contours_coloring="none",
        line={"color": GREY, "width": 1},
        showscale=False,
    )
    ends = curves[0][[0, -1]]
    fig.add_trace(contour, row=1, col=1)
    fig.add_trace(_marks(*ends.T, ["", ""], "top right"), row=1, col=1)
    exact = None if surface.barcode is None else _exact_pass(surface, stages[0])
    if exact is not None:
        dashed = {"color": GREY, "dash": "dash", "width": 1}
        line = go.Scatter(x=[0, 1], y=[exact] * 2, mode="lines", line=dashed)
        fig.add_trace(line, row=1, col=2)
    still = len(fig.data)

    def moving(stage, curve):
        at = stage.points[0].numpy()
        style = {"mode": "lines", "line": {"color": shade, "width": 3}}
        dot = {"mode": "markers", "marker": {"color": mark, "size": 10}}
        along = stage.profiles[0].astype(np.float32)
        return [
            go.Scatter(x=curve[:, 0], y=curve[:, 1], **style),
            go.Scatter(x=at[:1], y=at[1:], **dot),
            go.Scatter(x=stage.profile_t, y=along, **style),
            go.Scatter(x=stage.t, y=stage.maximum, **dot),
        ]

    frames = [moving(s, c) for s, c in zip(stages, curves, strict=True)]
    for k, trace in enumerate(frames[0]):
        fig.add_trace(trace, row=1, col=1 + k // 2)
    titles = [f"{s.evaluations:,} evaluations · highest {s.maximum[0]:.3f}" for s in stages]
    fig.frames = [
        go.Frame(
            data=data,
            traces=list(range(still, still + 4)),
            name=str(k),
            layout={"title": {"text": title}},
        )
        for k, (data, title) in enumerate(zip(frames, titles, strict=True))
    ]
    _finish(fig, len(stages), 0, titles[0], stills=(0, 0.4, 1))
    fig.update_xaxes(title="x", range=[x0, x1], col=1)
    fig.update_yaxes(title="y", range=[y0, y1], col=1)
    fig.update_xaxes(title="position along the path", range=[0, 1], col=2)
    span = top - floor
    fig.update_yaxes(range=[low - 0.05 * span, top + 0.1 * span], col=2)
    _name_right(fig)
    return fig


def _exact_pass(surface, path) -> float:
    """The lowest level at which a path's two minima are joined: cut the barcode's tree there."""
    i, j = path.pairs[0]
    code = surface.barcode
    ancestors = {i: -np.inf}
    row, height = i, -np.inf
    while code.parent[row] >= 0:
        height = max(height, code.death[row])
        row = code.parent[row]
        ancestors[row] = height
    row, height = j, -np.inf
    while row not in ancestors:
        height = max(height, code.death[row])
        row = code.parent[row]
    return float(max(height, ancestors[row]))


# The page's columns may get their widths after the figure is drawn.
_FIT = """
const figure = document.getElementById("{plot_id}");
const fit = () => { if (figure.clientWidth) Plotly.Plots.resize(figure); };
new ResizeObserver(fit).observe(figure.parentElement);
"""


def show(fig, alt: str) -> None:
    """Display a plotly figure in a notebook and, without a network, on the built page.

    One output with two forms: plotly's own for JupyterLab, and HTML that expects plotly.min.js to
    be loaded by the page. For print the HTML holds stills besides.

    Parameters
    ----------
    fig : plotly.graph_objects.Figure
        Such as from :func:`level_slider`.
    alt : str
        What the figure shows, for those who can't see it.

    Examples
    --------
    Outside a notebook its data are printed:

    >>> from plotly import graph_objects
    >>> from toscore import plots
    >>> figure = graph_objects.Figure(graph_objects.Scatter(x=[0, 1], y=[0, 1]))
    >>> plots.show(figure, alt="a rising line")  # doctest: +ELLIPSIS
    {'application/vnd.plotly.v1+json': ...}
    """
    from IPython.display import display

    text = fig.to_json()
    body = fig.to_html(
        include_plotlyjs=False,
        full_html=False,
        auto_play=False,
        default_height=f"{fig.layout.height or 450}px",
        div_id="plotly-" + sha256(text.encode()).hexdigest()[:12],
        config={"displayModeBar": False, "responsive": True},
        post_script=_FIT,
    )
    label = html.escape(alt, quote=True)
    kind, still = "", ""
    if fig.frames:  # one without a slider is printed as it is
        kind = "only-screen"
        still = as_image(stills(fig), f"Stills of an interactive figure. {alt}")
    bundle = {
        "application/vnd.plotly.v1+json": json.loads(text),
        "text/html": f'<div class="{kind}" role="img" aria-label="{label}">{body}</div>{still}',
    }
    display(bundle, raw=True)


_SORT = """
document.currentScript.previousElementSibling.querySelectorAll("th button").forEach((button) => {
  button.addEventListener("click", () => {
    const cell = button.parentElement, body = cell.closest("table").tBodies[0];
    const up = cell.getAttribute("aria-sort") !== "ascending";
    const key = (row) => {
      const text = row.cells[cell.cellIndex].textContent;
      const found = text.match(/^-?[0-9.]+(e[-+]?[0-9]+)?(?![-0-9.a-z])/);
      const number = found ? Number(found[0]) : NaN;
      return Number.isNaN(number) ? text : number;
    };
    const order = (a, b) => (key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : 0) * (up ? 1 : -1);
    [...body.rows].sort(order).forEach((row) => body.append(row));
    for (const other of cell.parentElement.cells) other.removeAttribute("aria-sort");
    cell.setAttribute("aria-sort", up ? "ascending" : "descending");
  });
});
"""


def sortable(table, caption: str) -> None:
    """Display a DataFrame as a table that a click on a column's name sorts, without a network.

    Numbers are sorted by value, also where a unit or an interval follows them. The index becomes
    the first column.

    Parameters
    ----------
    table : DataFrame
        With an index.
    caption : str
        Above the table.

    Examples
    --------
    Outside a notebook only its name is printed:

    >>> import pandas as pd
    >>> from toscore import plots
    >>> plots.sortable(pd.DataFrame({"width": [2, 4]}, index=["a", "b"]), caption="Networks")
    <IPython.core.display.HTML object>
    """
    from IPython.display import HTML, display

    table = table.reset_index()
    names = "".join(
        f'<th scope="col"><button type="button">{html.escape(str(name))}</button></th>'
        for name in table.columns
    )
    rows = "".join(
        "<tr>" + "".join(f"<td>{html.escape(str(value))}</td>" for value in row) + "</tr>"
        for row in table.itertuples(index=False)
    )
    display(
        HTML(
            f'<table class="table sortable"><caption>{html.escape(caption)}</caption>'
            f"<thead><tr>{names}</tr></thead><tbody>{rows}</tbody></table><script>{_SORT}</script>"
        )
    )
