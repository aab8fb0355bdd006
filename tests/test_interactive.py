"""Stills of interactive figures, and the data of the figure of the atlas, without a browser."""

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from plotly import graph_objects as go

import toscore as ts
from toscore import plots
from toscore.interactive import _map, as_image, stills
from toscore.widgets import _table

SVG = "{http://www.w3.org/2000/svg}"


def parts(svg, name):
    """Number of groups whose id begins with a name."""
    groups = ElementTree.fromstring(svg).iter(f"{SVG}g")
    return sum(g.get("id", "").startswith(name) for g in groups)


def test_stills_of_a_line_and_of_a_grid():
    x = np.linspace(-1.5, 1.5, 61)
    line = (x**2 - 1) ** 2 + 0.2 * x
    fig = plots.level_slider(line, ts.barcode_of_grid(line), x)
    assert parts(stills(fig), "axes_") == 6  # three states of two panels
    grid = line[:, None] + x**2
    fig = plots.level_slider(grid, ts.barcode_of_grid(grid), x, x)
    assert parts(stills(fig), "axes_") == 6
    fig.update_layout(meta={"stills": [0.5]})
    assert parts(stills(fig), "axes_") == 2


def test_states_differ():
    x = np.linspace(-1.5, 1.5, 61)
    line = (x**2 - 1) ** 2 + 0.2 * x
    fig = plots.level_slider(line, ts.barcode_of_grid(line), x)
    drawn = set()
    for share in (0.1, 0.6, 1.0):
        fig.update_layout(meta={"stills": [share]})
        drawn.add(stills(fig))
    assert len(drawn) == 3


def test_unknown_traces_are_refused():
    with pytest.raises(ValueError, match="no still is known of traces of type pie"):
        stills(go.Figure(go.Pie(values=[1])))


def test_image_has_its_alternative_text():
    assert 'alt="a &quot;b&quot; &lt;c&gt;"' in as_image("<svg/>", 'a "b" <c>')


def test_atlas_holds_every_segment():
    result = ts.load_or_run("fc-mnist", "laptop")
    cells = _table({"laptop": {"fc-mnist": result}})["laptop"]["fc-mnist"]
    codes = result.barcodes()
    assert sum(map(len, cells.values())) == len(codes)
    for (width, depth, seed), code in codes.items():
        held = cells[f"{width} {depth}"][str(seed)]
        np.testing.assert_allclose(held["birth"], np.sort(code.birth), rtol=1e-5)
        finite = [x for x in held["length"] if x is not None]
        assert len(finite) == len(code) - 1
        assert np.mean(finite) == pytest.approx(code.to_score(), rel=1e-5)


def test_an_atlas_of_nothing_is_refused():
    with pytest.raises(ValueError, match="toscore run"):
        plots.atlas({"laptop": {}, "gpu": {}}, ["mnist"], {"fc": "fully connected"})


def test_more_components_than_a_byte_can_count():
    values = np.random.default_rng(0).random((40, 40))
    code, x, level = ts.barcode_of_grid(values), np.arange(40.0), np.median(values) / 2
    assert len(code) > 130
    _, moving = _map(values, code, x, x, [""] * len(code), (0, 1))
    shown = np.asarray(moving(level)[0].z)
    assert ((shown > 0) == (level >= values.T)).all() and shown.min() == 0


def test_names_after_the_alphabet():
    x = np.arange(61.0)
    line = np.where(x % 2 == 1, 0.001 * x, 1.0)  # 30 minima
    fig = plots.level_slider(line, ts.barcode_of_grid(line), x, levels=2)
    names = {n for trace in fig.data for n in (trace.text if trace.text is not None else ())}
    assert {"A", "Z", "A2", "D2"} <= names and not any("[" in name for name in names)
