"""What moves on the built pages: plotly figures with a slider, and their stills for print.

Nothing here asks for a network. On the pages ``only-screen`` and ``only-print`` are classes of
``book/static/interactive.css``. Plotly is imported only by the functions that make figures.
"""

from __future__ import annotations

import base64
import html
import io
import json
from hashlib import sha256

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from scipy import ndimage

from toscore.barcode import Barcode
from toscore.style import GREY, _places, _top, colors

__all__ = ["level_slider", "relaxing", "show", "stills"]

DASHES = {None: "-", "solid": "-", "dash": "--", "dot": ":"}


def level_slider(values, code: Barcode, x, y=None, *, names=None, levels=40):
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
    from plotly.subplots import make_subplots

    values = np.asarray(values, dtype=np.float64)
    shape = (len(x),) if y is None else (len(x), len(y))
    if values.shape != shape:
        raise ValueError(f"values have shape {values.shape}, but the coordinates make {shape}")
    if names is None:  # A to Z, then A2 to Z2 and so on
        rounds = [divmod(row, 26) for row in range(len(code))]
        names = [chr(65 + letter) + (str(n + 1) if n else "") for n, letter in rounds]
    top, low = _top(code), code.birth.min()
    c = np.linspace(low - 0.12 * (top - low), top, levels)
    c = np.unique(np.concatenate([c, code.birth, code.death[np.isfinite(code.death)]]))
    draw = _water if y is None else _map
    place = np.arange(len(code)) if y is None else _places(code)

    fig = make_subplots(1, 2, column_widths=[0.64, 0.36], horizontal_spacing=0.13)
    still, moving = draw(values, code, x, y, names, (c[0], top))
    frames = [[*moving(level), *_stems(code, place, names, level)] for level in c]
    first = (len(c) - 1) // 2
    n_left = len(moving(c[0]))
    for trace in still:
        fig.add_trace(trace, row=1, col=1)
    for k, trace in enumerate(frames[first]):
        fig.add_trace(trace, row=1, col=1 if k < n_left else 2)
    changing = list(range(len(still), len(fig.data)))
    titles = [_alive(values, code, names, level) for level in c]
    _move(fig, changing, frames, titles, first, stills=(0.5, 0.65, 1))
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
        z = (_owners(values, code, level).T + 1).astype(np.int16)
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


def _move(fig, changing, frames, titles, first, stills):
    """Slider over frames of the changing traces, play button and look; and which are for print.

    Shows the frame ``first``; ``stills`` are shares of the slider's way.
    """
    from plotly import graph_objects as go

    fig.frames = [
        go.Frame(data=data, traces=changing, name=str(k), layout={"title": {"text": title}})
        for k, (data, title) in enumerate(zip(frames, titles, strict=True))
    ]
    at_once = {"frame": {"duration": 0, "redraw": True}, "transition": {"duration": 0}}
    to = at_once | {"mode": "immediate"}
    steps = [{"label": "", "method": "animate", "args": [[str(k)], to]} for k in range(len(frames))]
    slow = at_once | {"frame": {"duration": 150, "redraw": True}, "fromcurrent": True}
    play = {"label": "play", "method": "animate", "args": [None, slow]}
    stop = {"label": "stop", "method": "animate", "args": [[None], to]}
    fig.update_layout(
        template="simple_white",
        height=430,
        margin={"l": 60, "r": 15, "t": 55, "b": 20},
        meta={"stills": list(stills)},
        showlegend=False,
        hovermode=False,
        dragmode=False,
        title={"text": titles[first], "x": 0.5, "y": 0.97, "yanchor": "top", "font": {"size": 15}},
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

    A dashed line marks the exact pass if the surface has an exact barcode and the path connects two
    of ``surface.minima``, by their own numbers.

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
    exact = _exact_pass(surface, stages[0].pairs[0], ends)
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
    _move(fig, list(range(still, still + 4)), frames, titles, 0, stills=(0, 0.4, 1))
    fig.update_xaxes(title="x", range=[x0, x1], col=1)
    fig.update_yaxes(title="y", range=[y0, y1], col=1)
    fig.update_xaxes(title="position along the path", range=[0, 1], col=2)
    span = top - floor
    fig.update_yaxes(range=[low - 0.05 * span, top + 0.1 * span], col=2)
    _name_right(fig)
    return fig


def _exact_pass(surface, pair, ends) -> float | None:
    """The lowest level at which two minima of a surface are joined: cut the barcode's tree there.

    None where the surface has no exact barcode, or the ends are not its own minima of that number.
    """
    i, j = pair
    code, known = surface.barcode, surface.minima
    if code is None or max(pair) >= len(known) or not np.allclose(ends, known[pair], atol=1e-3):
        return None
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

# Arrow keys, Home and End move a figure's slider, and a screen reader says the frame's title.
_KEYS = """
const titles = {titles}, last = titles.length - 1;
let at = figure.layout.sliders[0].active;
const say = () => {
  figure.setAttribute("aria-valuenow", at);
  figure.setAttribute("aria-valuetext", titles[at]);
};
const role = {role: "slider", tabindex: 0, "aria-valuemin": 0, "aria-valuemax": last};
for (const name in role) figure.setAttribute(name, role[name]);
figure.setAttribute("aria-label", {label});
say();
figure.on("plotly_animatingframe", (frame) => { at = Number(frame.name); say(); });
const steps = {ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, Home: -last, End: last};
figure.addEventListener("keydown", (event) => {
  if (!(event.key in steps)) return;
  event.preventDefault();
  const to = Math.min(last, Math.max(0, at + steps[event.key]));
  const still = {duration: 0};
  const how = {mode: "immediate", frame: {duration: 0, redraw: true}, transition: still};
  Plotly.animate(figure, [String(to)], how);
});
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

    text, script = fig.to_json(), _FIT
    if fig.frames:
        titles = json.dumps([frame.layout.title.text for frame in fig.frames])
        script += _KEYS.replace("{titles}", titles).replace("{label}", json.dumps(alt))
    body = fig.to_html(
        include_plotlyjs=False,
        full_html=False,
        auto_play=False,
        default_height=f"{fig.layout.height or 450}px",
        div_id="plotly-" + sha256(text.encode()).hexdigest()[:12],
        config={"displayModeBar": False, "responsive": True},
        post_script=script.replace("</", "<\\/"),
    )
    label = html.escape(alt, quote=True)
    box, still = f'role="img" aria-label="{label}"', ""
    if fig.frames:  # one without a slider is printed as it is
        box = 'class="only-screen"'
        still = as_image(stills(fig), f"Stills of an interactive figure. {alt}")
    bundle = {
        "application/vnd.plotly.v1+json": json.loads(text),
        "text/html": f"<div {box}>{body}</div>{still}",
    }
    display(bundle, raw=True)


def stills(fig) -> str:
    """Some states of a plotly figure with a slider, drawn by matplotlib: an SVG file's text.

    One row of panels a state. Which states: the shares of the slider's way in
    ``fig.layout.meta["stills"]``; without it, and for a figure without frames, the last one.
    Knows the kinds of traces that :mod:`toscore.plots` makes: scatter, contour and heatmap.
    """
    unknown = {trace.type for trace in fig.data} - {"scatter", "contour", "heatmap"}
    if unknown:
        raise ValueError(f"no still is known of traces of type {', '.join(sorted(unknown))}")
    shares = (fig.layout.meta or {}).get("stills", [1.0])
    last = len(fig.frames) - 1
    states = [fig.frames[round(share * last)] for share in shares] if fig.frames else [None]
    panels = sorted({trace.xaxis or "x" for trace in fig.data})
    still = Figure((7.0, 2.6 * len(states)), layout="constrained")
    rows = still.subfigures(len(states), 1, squeeze=False)[:, 0]
    for row, frame in zip(rows, states, strict=True):
        axes = dict(zip(panels, row.subplots(1, len(panels), squeeze=False)[0], strict=True))
        moved = dict(zip(frame.traces, frame.data, strict=True)) if frame else {}
        for k, trace in enumerate(fig.data):
            _draw(axes[trace.xaxis or "x"], moved.get(k, trace))
        for panel, ax in axes.items():
            for side in "xy":
                _label(ax, side, fig.layout[f"{side}axis{panel[1:]}"])
        for note in fig.layout.annotations:
            at = {"xycoords": "axes fraction", "ha": note.xanchor, "va": note.yanchor}
            axes[note.xref.split()[0]].annotate(note.text, (note.x, note.y), fontsize="small", **at)
        title = (frame.layout if frame else fig.layout).title.text
        row.suptitle(title, fontsize="medium")
    file = io.StringIO()
    still.savefig(file, format="svg", facecolor="white", metadata={"Date": None})
    return file.getvalue()


def _draw(ax, trace) -> None:
    """One trace of a plotly figure on a matplotlib Axes; sizes in pixels become points."""
    if trace.type == "contour":
        c = trace.contours
        levels = np.arange(c.start, c.end, c.size)
        ax.contour(trace.x, trace.y, trace.z, levels, colors=trace.line.color, linewidths=0.5)
    elif trace.type == "heatmap":
        shades = [shade for _, shade in trace.colorscale[2::2]]  # each stands at both its ends
        limits = {"vmin": trace.zmin + 1, "vmax": trace.zmax, "cmap": ListedColormap(shades)}
        z = np.ma.masked_equal(trace.z, 0)  # 0 is above the level, and transparent
        ax.pcolormesh(trace.x, trace.y, z, **limits, alpha=trace.opacity, rasterized=True, lw=0)
    else:
        x, y = (np.array(values, np.float64) for values in (trace.x, trace.y))
        color, mode = trace.line.color, trace.mode or "lines+markers"
        if trace.fill == "toself":
            ax.fill(x, y, color=trace.fillcolor, alpha=trace.opacity, lw=0)
        elif "lines" in mode:
            style = {"ls": DASHES[trace.line.dash], "lw": 0.6 * (trace.line.width or 2)}
            ax.plot(x, y, color=color, **style)
        if "markers" in mode:
            ax.plot(x, y, "o", color=trace.marker.color, ms=0.6 * (trace.marker.size or 6))
        if "text" in mode:
            above = not trace.textposition.startswith("bottom")
            for text, at in zip(trace.text, zip(x, y, strict=True), strict=True):
                shift = (5, 3) if above else (0, -12)
                ax.annotate(text, at, shift, textcoords="offset points", ha="center")


def _label(ax, side: str, axis) -> None:
    """Title, limits and ticks of one axis as in the plotly figure."""
    ax.set(**{f"{side}label": axis.title.text or "", f"{side}lim": axis.range})
    if axis.tickvals is not None:
        ax.set(**{f"{side}ticks": axis.tickvals, f"{side}ticklabels": axis.ticktext})


def as_image(svg: str, alt: str) -> str:
    """An SVG file as an image for print, within the page."""
    data = base64.b64encode(svg.encode()).decode()
    alt = html.escape(alt, quote=True)
    return f'<img class="only-print" alt="{alt}" src="data:image/svg+xml;base64,{data}">'
