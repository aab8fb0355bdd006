"""Graphs of neighbours, barcodes from samples, and graphs that are large or odd."""

import time

import numpy as np
import pytest
import torch

import toscore as ts
from toscore import sampling
from toscore.sampling import default_neighbours, neighbour_graph, persistent, sample_barcode

INF = np.inf


# -- neighbours ------------------------------------------------------------------------------------


def test_neighbours_by_hand():
    # on a line at 0, 1, 3, 7: the nearest of 0 is 1, of 1 is 0, of 3 is 1, of 7 is 3
    line = np.array([[0.0], [1], [3], [7]])
    assert neighbour_graph(line, 1).tolist() == [[0, 1], [1, 2], [2, 3]]
    # the second nearest of 0 is 3, of 1 is 3, of 3 is 0, of 7 is 1
    assert neighbour_graph(line, 2).tolist() == [[0, 1], [0, 2], [1, 2], [1, 3], [2, 3]]
    assert len(neighbour_graph(line, 3)) == 6


def test_a_circle_is_closed_by_its_period():
    line = np.arange(5.0)[:, None]
    ring = neighbour_graph(line - 2, 2, period=[5.0])
    assert ring.tolist() == [[0, 1], [0, 4], [1, 2], [2, 3], [3, 4]]
    assert [0, 4] not in neighbour_graph(line, 2).tolist()


@pytest.mark.parametrize("dim", [1, 3, 20])
def test_neighbours_are_those_of_all_distances(dim):
    points = np.random.default_rng(dim).normal(size=(200, dim))
    far = ((points[:, None] - points) ** 2).sum(axis=2)
    np.fill_diagonal(far, INF)
    near = np.argsort(far, axis=1)[:, :4]
    wanted = {tuple(sorted((i, j))) for i in range(200) for j in near[i].tolist()}
    edges = neighbour_graph(points, 4)
    assert edges.dtype == np.int64
    assert set(map(tuple, edges.tolist())) == wanted
    assert len(edges) == len(wanted)  # each once


def test_points_at_one_place():
    edges = neighbour_graph(np.zeros((6, 2)), 2)
    assert (edges[:, 0] < edges[:, 1]).all()
    points = torch.tensor([[0.0], [0.0], [1.0], [1.0]])
    assert {(0, 1), (2, 3)} <= set(map(tuple, neighbour_graph(points, 1).tolist()))


@pytest.mark.parametrize(
    ("points", "k", "message"),
    [
        (np.zeros(3), 1, r"shape \(n, D\) .* got \(3,\)"),
        (np.zeros((0, 2)), 1, "not be empty"),
        ([[0.0], [np.nan]], 1, "must be finite"),
        ([[0.0], [1.0]], 2, r"k must lie in 1..1 for 2 points, got 2"),
        ([[0.0], [1.0]], 0, "k must lie in"),
    ],
)
def test_bad_points(points, k, message):
    with pytest.raises(ValueError, match=message):
        neighbour_graph(points, k)


def test_false_minima_on_a_slope_are_as_rare_as_the_docstring_says():
    points = np.random.default_rng(0).random((20000, 2))
    inner = ((points > 0.15) & (points < 0.85)).all(axis=1)  # near a side there are more
    for k in (3, 5, 7, 15):
        code = ts.barcode_of_graph(points.sum(axis=1), neighbour_graph(points, k))
        expected = inner.sum() * 2.0**-k
        assert expected / 8 - 2 <= inner[code.minimum].sum() <= expected + 1
    assert default_neighbours(20000, 2) == 15
    assert default_neighbours(1000, 6) == 24
    assert default_neighbours(4, 6) == 3


# -- from samples to barcodes ----------------------------------------------------------------------


def test_a_surface_from_its_samples():
    surface = ts.surfaces.six_hump_camel()
    sample = sample_barcode(surface, 20000)
    assert sample.points.shape == (20000, 2)
    low, high = surface.box.numpy().T
    assert ((sample.points >= low) & (sample.points <= high)).all()
    np.testing.assert_array_equal(sample.values, surface.loss(sample.points).numpy())
    found = persistent(sample.barcode, 0.05)
    assert len(found) == len(surface.barcode)
    wanted = np.sort(surface.barcode.diagram(), axis=0)
    np.testing.assert_allclose(np.sort(found.diagram(), axis=0), wanted, atol=0.01)
    assert (np.sort(found.birth) >= np.sort(surface.barcode.birth)).all()


def test_both_kinds_of_points_and_seeds():
    surface = ts.surfaces.himmelblau()
    for sobol in (True, False):
        one = sample_barcode(surface, 300, seed=1, sobol=sobol)
        again = sample_barcode(surface, 300, seed=1, sobol=sobol)
        other = sample_barcode(surface, 300, seed=2, sobol=sobol)
        assert (one.points == again.points).all()
        assert not (one.points == other.points).any()
    # of 256 Sobol points each of the 256 columns of the box holds one
    column = np.floor((sample_barcode(surface, 256).points[:, 0] + 6) / 12 * 256)
    assert sorted(column) == list(range(256))
    corner = sample_barcode(surface, 100, box=[(1, 2), (3, 4)]).points
    assert (corner.min(axis=0) >= [1, 3]).all() and (corner.max(axis=0) <= [2, 4]).all()


def test_chunks_change_nothing(monkeypatch):
    surface = ts.surfaces.himmelblau()
    whole = sample_barcode(surface, 100)
    monkeypatch.setattr(sampling, "CHUNK", 7)
    np.testing.assert_array_equal(sample_barcode(surface, 100).values, whole.values)


def test_on_a_torus_neighbours_go_round():
    surface = ts.surfaces.torus()
    sample = sample_barcode(surface, 5000)
    found = persistent(sample.barcode, 0.05)
    np.testing.assert_allclose(found.diagram(), surface.barcode.diagram(), atol=0.01)
    length = np.abs(np.diff(sample.points[sample.edges], axis=1))[:, 0].max(axis=0)
    assert (length > 6).all()  # some edges lead across each side


def test_a_network_is_sampled_at_its_initialisations():
    data = ts.load_data("digits", n_train=20)
    network = ts.mlp(data.shape, data.n_classes, width=2)
    landscape = ts.Landscape(network, data.x_train, data.y_train)
    sample = sample_barcode(landscape, 40, 5, seed=3)
    start = landscape.sample(40, 3)
    np.testing.assert_allclose(sample.points, start.numpy())
    np.testing.assert_allclose(sample.values, landscape.loss(start).numpy(), rtol=1e-5)
    with pytest.raises(ValueError, match="at least 2 points"):
        sample_barcode(landscape, 1)


def test_persistent_keeps_parents():
    # 0-5-2-3-1-4-3.5: wells 0, 2, 1, 3.5 of lengths inf, 1, 4, 0.5
    chain = np.column_stack([np.arange(6), np.arange(1, 7)])
    code = ts.barcode_of_graph([0, 5, 2, 3, 1, 4, 3.5], chain)
    assert code.lengths.tolist() == [INF, 1, 4, 0.5]
    kept = persistent(code, 0.75)
    assert kept.minimum.tolist() == [0, 2, 4]
    assert kept.parent.tolist() == [-1, 2, 0]
    kept = persistent(code, 1)  # longer than, not as long as
    assert kept.minimum.tolist() == [0, 4]
    assert kept.death.tolist() == [INF, 5]
    assert kept.saddle.tolist() == code.saddle[[0, 2]].tolist()
    assert kept.parent.tolist() == [-1, 0]


# -- large and odd graphs --------------------------------------------------------------------------


def chain(n):
    return np.column_stack([np.arange(n - 1), np.arange(1, n)])


@pytest.mark.parametrize("dtype", [*"?bhilqBHILQ", *"efdg"])
def test_every_real_dtype(dtype):
    values = np.array([0, 1, 0, 1, 0]).astype(dtype)
    code = ts.barcode_of_graph(values, chain(5).astype(np.uint8))
    assert code.birth.dtype == np.float64
    assert code.birth.tolist() == [0, 0, 0]
    assert code.death.tolist() == [INF, 1, 1]


def test_huge_and_tiny_values():
    top = np.finfo(np.float64).max
    code = ts.barcode_of_graph([-top, top, -top / 2, 5e-324, 0.0], chain(5))
    assert code.birth.tolist() == [-top, -top / 2, 0.0]
    assert code.death.tolist() == [INF, top, 5e-324]
    code = ts.barcode_of_graph(np.array([2**64 - 1, 0, 2**63], dtype=np.uint64), chain(3))
    assert code.birth.tolist() == [0] and code.death.tolist() == [INF]
    code = ts.barcode_of_graph(np.array([-(2**63), 2**62, -1], dtype=np.int64), chain(3))
    assert code.birth.tolist() == [-(2.0**63), -1] and code.death.tolist() == [INF, 2.0**62]
    # minus zero equals zero: a plateau
    assert len(ts.barcode_of_graph([0.0, -0.0, 0.0], chain(3))) == 1


@pytest.mark.parametrize("order", ["C", "F"])
def test_layout_of_the_edges_does_not_matter(order):
    edges = np.asarray(chain(5), order=order)
    edges.setflags(write=False)
    assert ts.barcode_of_graph([0, 3, 1, 2, 0.5], edges).death.tolist() == [INF, 2, 3]
    assert ts.barcode_of_graph([0, 3, 1, 2, 0.5], edges[::-1, ::-1]).death.tolist() == [INF, 2, 3]


def test_long_chains_need_no_recursion():
    n = 200000
    assert len(ts.barcode_of_graph(np.arange(n)[::-1], chain(n))) == 1
    assert len(ts.barcode_of_graph(np.zeros(n), chain(n))) == 1
    # each well meets one that is lower: n / 2 segments, each the parent of the next
    zigzag = np.where(np.arange(n) % 2, n + np.arange(n), -np.arange(n))
    code = ts.barcode_of_graph(zigzag, chain(n))
    assert len(code) == n // 2
    assert code.parent[:-1].tolist() == list(range(1, n // 2))
    assert code.death[:-1].tolist() == list(range(n + 1, 2 * n - 1, 2))


def test_a_star_of_many_wells():
    n = 100000
    wells = np.random.default_rng(0).permutation(n - 1).astype(float)
    edges = np.column_stack([np.zeros(n - 1, dtype=int), np.arange(1, n)])
    code = ts.barcode_of_graph(np.append(1e6, wells), edges)
    assert len(code) == n - 1
    assert (code.death[code.birth > 0] == 1e6).all()
    assert (code.parent[code.birth > 0] == wells.argmin()).all()


def test_a_million_edges_take_seconds():
    rng = np.random.default_rng(0)
    values, edges = rng.normal(size=10**5), rng.integers(0, 10**5, (10**6, 2))
    began = time.perf_counter()
    code = ts.barcode_of_graph(values, edges)
    assert time.perf_counter() - began < 10  # a third of a second on an idle core
    assert np.isinf(code.death).sum() == 1
    assert len(code) > 1000


def test_what_persists_keeps_its_intervals():
    intervals = [2.9, 2.95], [3.5, 3.2]
    code = ts.barcode_of_minima([0.0, 1.0, 2.9], [[0, 1], [1, 2]], [3.0, 3.0], intervals)
    kept = persistent(code, tol=0.5)
    assert kept.death_interval[1].tolist() == [2.9, 3.5] and len(kept) == 2
    assert kept.score_interval() == (pytest.approx(1.9), pytest.approx(2.5))


def test_a_coordinate_that_rounds_to_the_period():
    points = [[-1e-17], [1.0], [3.0], [2 * np.pi - 0.5]]
    edges = neighbour_graph(points, 1, period=[2 * np.pi])
    assert [0, 3] in edges.tolist()
