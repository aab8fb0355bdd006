"""Barcodes of graphs, grids and minima: by hand, against ripser and GUDHI, and under changes."""

import gudhi
import numpy as np
import pandas as pd
import persim
import pytest
import ripser
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_array

import toscore as ts
from toscore import Barcode, barcode_of_graph, barcode_of_grid, barcode_of_minima

INF = np.inf
DTYPES = [*"bhilqBHILQ", np.float16, np.float32, np.float64]
quick = settings(max_examples=100, deadline=None)


def rows(code: Barcode) -> list[tuple]:
    """(birth, death, minimum, saddle, parent) of every row."""
    columns = (code.birth, code.death, code.minimum, code.saddle, code.parent)
    return [tuple(c[i].item() for c in columns) for i in range(len(code))]


def bars(code: Barcode) -> list[tuple[float, float]]:
    return sorted(zip(code.birth.tolist(), code.death.tolist(), strict=True))


def diagram(code: Barcode) -> np.ndarray:
    """All points, those at infinity too, as GUDHI's bottleneck distance wants them."""
    return np.column_stack([code.birth, code.death])


def path(n: int) -> np.ndarray:
    return np.column_stack([np.arange(n - 1), np.arange(1, n)])


# -- by hand ---------------------------------------------------------------------------------------


def test_chain_by_hand():
    # 0-3-1-2-0.5: wells 0, 1 and 0.5. At level 2 the wells 1 and 0.5 meet and 1, the higher, ends;
    # at level 3 the wells 0 and 0.5 meet and 0.5 ends. Edge 2 joins vertices 2 and 3 (level 2) and
    # edge 1 vertices 1 and 2 (level 3): vertices 1 and 3 have slid into the wells 0 and 4.
    code = barcode_of_graph([0, 3, 1, 2, 0.5], path(5))
    assert rows(code) == [(0, INF, 0, -1, -1), (1, 2, 2, 2, 2), (0.5, 3, 4, 1, 0)]
    assert code.lengths.tolist() == [INF, 1, 2.5]
    assert code.lowest == 0
    assert code.unmerged.tolist() == []


def test_equal_wells_end_by_their_number():
    # 0-1-0-1-0: three equal wells, two equal passes. The first well lives for ever; each later
    # one ends at 1 where it meets the component of the first.
    code = barcode_of_graph([0, 1, 0, 1, 0], path(5))
    assert rows(code) == [(0, INF, 0, -1, -1), (0, 1, 2, 1, 0), (0, 1, 4, 3, 0)]


def test_plateaus_are_one_minimum_each():
    # 2-[1-1-1]-3-1: the plateau of vertices 1 to 3 is one minimum, named by vertex 1; vertex 5 is
    # as low but later, so it ends at 3.
    code = barcode_of_graph([2, 1, 1, 1, 3, 1], path(6))
    assert rows(code) == [(1, INF, 1, -1, -1), (1, 3, 5, 4, 0)]
    # a plateau reached from a later vertex that is its other corner: 1(v0)-1(v2), 1(v2)-1(v1)
    assert rows(barcode_of_graph([1, 1, 1], [[0, 2], [2, 1]])) == [(1, INF, 0, -1, -1)]
    # a plateau that is no minimum: 2-2-0
    assert rows(barcode_of_graph([2, 2, 0], path(3))) == [(0, INF, 2, -1, -1)]
    # a plateau on top is one pass: 0-5-5-3
    assert bars(barcode_of_graph([0, 5, 5, 3], path(4))) == [(0, INF), (3, 5)]


def test_disconnected_parts_and_isolated_vertices():
    # parts {0, 1} and {2, 3, 4} and the lone vertex 5; in the second, wells 1 and 2 meet at 7
    code = barcode_of_graph([4, 3, 1, 7, 2, 9], [[0, 1], [2, 3], [3, 4]])
    assert rows(code) == [
        (3, INF, 1, -1, -1),
        (1, INF, 2, -1, -1),
        (2, 7, 4, 2, 1),
        (9, INF, 5, -1, -1),
    ]
    assert code.lowest == 1
    assert code.unmerged.tolist() == [0, 3]
    with pytest.raises(ValueError, match=r"minima \[1, 5\] are joined to no lower minimum"):
        code.to_score()
    assert code.diagram().tolist() == [[2, 7]]


def test_star_merges_from_the_lowest_well_up():
    # a centre of height 5 with wells 3, 1, 2 around it: all meet at 5, 1 survives
    code = barcode_of_graph([5, 3, 1, 2], [[0, 1], [0, 2], [0, 3]])
    assert rows(code) == [(3, 5, 1, 0, 1), (1, INF, 2, -1, -1), (2, 5, 3, 2, 1)]


def test_one_vertex_and_no_edges():
    for edges in ([], np.empty((0, 2), dtype=int), [[0, 0]]):
        code = barcode_of_graph([7], edges)
        assert rows(code) == [(7, INF, 0, -1, -1)]
        assert code.diagram().shape == (0, 2)
        assert [code.to_score(k) for k in ("mean", "max", "sum", "count")] == [0, 0, 0, 0]
        assert len(code.merge_tree()) == 0


def test_grid_by_hand():
    # 1 9 2      full neighbourhood: well 1 (0,0), well 2 (0,2), well 0 (2,1). From 1 the way to 0
    # 8 7 6      leads over 7 or 8, diagonally over 7; from 2 over 6.
    # 5 0 5
    code = barcode_of_grid([[1, 9, 2], [8, 7, 6], [5, 0, 5]])
    assert rows(code) == [(1, 7, 0, 4, 2), (2, 6, 2, 5, 2), (0, INF, 7, -1, -1)]
    # diagonal neighbours touch, so the two zeros are one well
    assert bars(barcode_of_grid([[0, 1], [1, 0]])) == [(0, INF)]
    assert rows(barcode_of_grid([3, 1, 2, 0])) == [(1, 2, 1, 2, 1), (0, INF, 3, -1, -1)]
    assert rows(barcode_of_grid(np.full((2, 1, 3), 4))) == [(4, INF, 0, -1, -1)]
    assert rows(barcode_of_grid([[[5]]])) == [(5, INF, 0, -1, -1)]


THREE = ([0, 1, 2], [[1, 2], [0, 1], [0, 2]], [3, 4, 3.5])


def test_minima_by_hand():
    # 2 meets 1 at 3 and ends; then 1 meets 0 at 3.5, through 2, and ends there: not at 4
    code = barcode_of_minima(*THREE)
    assert rows(code) == [(0, INF, 0, -1, -1), (1, 3.5, 1, 2, 0), (2, 3, 2, 0, 1)]


def test_doubled_pairs_loops_and_missing_pairs():
    # the lower of the doubled passes counts, whichever way round it is given; loops join nothing
    code = barcode_of_minima([0, 1], [[0, 1], [1, 1], [1, 0], [0, 1]], [5, 1, 3, 4])
    assert rows(code) == [(0, INF, 0, -1, -1), (1, 3, 1, 2, 0)]
    # of doubled passes of one height the first
    assert barcode_of_minima([0, 1], [[1, 0], [0, 1]], [3, 3]).saddle.tolist() == [-1, 0]
    code = barcode_of_minima([2, 0, 1], [[0, 2]], [4])
    assert rows(code) == [(2, 4, 0, 0, 2), (0, INF, 1, -1, -1), (1, INF, 2, -1, -1)]
    with pytest.raises(ValueError, match=r"minima \[2\] .* add passes"):
        code.to_score("max")
    assert rows(barcode_of_minima([3], [], [])) == [(3, INF, 0, -1, -1)]


def test_passes_of_height_zero_and_segments_of_length_zero_count():
    # scipy's sparse graphs read a zero as no edge; the barcode must not
    code = barcode_of_minima([-2, -1, 0], [[0, 1], [1, 2]], [0, 0])
    assert bars(code) == [(-2, INF), (-1, 0), (0, 0)]
    assert code.to_score("count") == 1
    assert code.to_score("sum") == 1


def test_a_pass_a_rounding_below_its_ends_is_lifted():
    code = barcode_of_minima([0, 100], [[0, 1]], [100 - 5e-5])
    assert code.death.tolist() == [INF, 100]
    assert (code.lengths >= 0).all()


def test_scores():
    code = barcode_of_minima(*THREE)  # finite lengths 2.5 and 1
    assert code.to_score() == code.to_score("mean") == 1.75
    assert code.to_score("max") == 2.5
    assert code.to_score("sum") == 3.5
    assert code.to_score("count") == 2
    assert code.to_score("count", tol=1) == 1  # longer than, not as long as
    assert all(isinstance(code.to_score(k), float) for k in ("mean", "max", "sum", "count"))
    with pytest.raises(ValueError, match="unknown TO-score 'median': choose one of mean, max"):
        code.to_score("median")


def test_frame_and_merge_tree():
    code = barcode_of_minima(*THREE)
    frame = pd.DataFrame(
        {
            "minimum": [0, 1, 2],
            "birth": [0.0, 1, 2],
            "death": [INF, 3.5, 3],
            "length": [INF, 2.5, 1],
            "saddle": [-1, 2, 0],
            "parent": [-1, 0, 1],
        }
    )
    pd.testing.assert_frame_equal(code.to_frame(), frame)
    tree = pd.DataFrame(
        {
            "height": [3, 3.5],
            "younger": [2, 1],
            "older": [1, 0],
            "saddle": [0, 2],
            "size": [2, 3],
        }
    )
    pd.testing.assert_frame_equal(code.merge_tree(), tree)


def test_merge_tree_orders_equal_heights_so_that_nothing_merges_into_what_is_gone():
    # all passes at 3: 2 ends in 1 first, then 1 in 0
    tree = barcode_of_minima([0, 1, 2], [[1, 2], [0, 1]], [3, 3]).merge_tree()
    assert tree[["younger", "older", "size"]].to_numpy().tolist() == [[2, 1, 2], [1, 0, 3]]


def test_diagram_goes_into_persim():
    code = barcode_of_minima(*THREE)
    higher = barcode_of_minima(THREE[0], THREE[1], [3.25, 4, 3.5])
    assert persim.bottleneck(code.diagram(), higher.diagram()) == 0.25
    # "max" is twice the bottleneck distance to nothing, "sum" sqrt(2) times persim's 1-Wasserstein
    nothing = np.array([[0.0, 0.0]])
    assert 2 * persim.bottleneck(code.diagram(), nothing) == code.to_score("max")
    distance = persim.wasserstein(code.diagram(), nothing)
    assert np.sqrt(2) * distance == pytest.approx(code.to_score("sum"))


def test_plot_draws_on_the_axes_it_is_given():
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, ax = plt.subplots()
    assert barcode_of_minima(*THREE).plot(ax=ax) is ax
    assert ax.has_data()
    plt.close(figure)


# -- bad inputs ------------------------------------------------------------------------------------

EDGE = [[0, 1]]


@pytest.mark.parametrize(
    ("values", "edges", "error", "message"),
    [
        ([], [], ValueError, "values is empty"),
        ([0, np.nan], EDGE, ValueError, r"values\[1\] is nan"),
        ([-INF, 0], EDGE, ValueError, r"values\[0\] is -inf"),
        ([0, 1j], EDGE, TypeError, "real numbers, got dtype complex128"),
        (["a", "b"], EDGE, TypeError, "real numbers"),
        ([None, 1], EDGE, TypeError, "real numbers"),
        ([[0, 1]], EDGE, ValueError, r"one-dimensional, got shape \(1, 2\)"),
        (3.0, EDGE, ValueError, r"one-dimensional, got shape \(\)"),
        ([0, 1], [[0, 2]], ValueError, r"edges\[0\] = \[0, 2\] is out of range: .* 0 to 1"),
        ([0, 1], [[0, 1], [-1, 0]], ValueError, r"edges\[1\]"),
        ([0, 1], [[0.0, 1.0]], TypeError, "edges must be integers, got dtype float64"),
        ([0, 1], [[True, False]], TypeError, "edges must be integers, got dtype bool"),
        ([0, 1], [0, 1], ValueError, r"edges must have shape \(m, 2\), got \(2,\)"),
        ([0, 1], [[0, 1, 1]], ValueError, r"shape \(m, 2\)"),
        ([0, 1], np.array([[0, 2**64 - 1]], dtype=np.uint64), ValueError, "out of range"),
    ],
)
def test_bad_graphs(values, edges, error, message):
    with pytest.raises(error, match=message):
        barcode_of_graph(values, edges)


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        (1.0, ValueError, "at least one axis"),
        (np.empty((3, 0)), ValueError, r"no grid points: values has shape \(3, 0\)"),
        ([[0, np.nan]], ValueError, "is nan"),
        ([[0, INF]], ValueError, "is inf"),
        ([[0, 1j]], TypeError, "complex"),
    ],
)
def test_bad_grids(values, error, message):
    with pytest.raises(error, match=message):
        barcode_of_grid(values)


@pytest.mark.parametrize(
    ("losses", "pairs", "saddles", "error", "message"),
    [
        ([], [], [], ValueError, "there are no minima"),
        ([0, 1], EDGE, [0.9], ValueError, r"saddles\[0\] = 0.9 lies below .* \[0, 1\] at 1"),
        ([0, 1e6], EDGE, [1e6 - 10], ValueError, "never below its ends"),
        ([0, 1], EDGE, [np.nan], ValueError, r"saddles\[0\] is nan"),
        ([0, 1], EDGE, [INF], ValueError, r"saddles\[0\] is inf"),
        ([0, INF], EDGE, [2], ValueError, r"losses\[1\] is inf"),
        ([0, 1], EDGE, [2, 3], ValueError, "1 pairs but 2 saddles"),
        ([0, 1], EDGE, [], ValueError, "1 pairs but 0 saddles"),
        ([0, 1], EDGE, [[2]], ValueError, "saddles must be one-dimensional"),
        ([0, 1], [[0, 2]], [3], ValueError, "pairs.* out of range"),
        ([0, 1], [[0.0, 1.0]], [3], TypeError, "pairs must be integers"),
        ([0, 1j], EDGE, [3], TypeError, "losses must be real"),
    ],
)
def test_bad_minima(losses, pairs, saddles, error, message):
    with pytest.raises(error, match=message):
        barcode_of_minima(losses, pairs, saddles)


def test_inputs_may_be_tensors_frames_and_are_left_alone():
    values = torch.tensor([0.0, 3, 1, 2, 0.5], requires_grad=True)
    edges = torch.as_tensor(path(5))
    expected = rows(barcode_of_graph([0, 3, 1, 2, 0.5], path(5)))
    assert rows(barcode_of_graph(values, edges)) == expected
    frame = pd.DataFrame(THREE[1], columns=["i", "j"])
    code = barcode_of_minima(pd.Series(THREE[0]), frame, pd.Series(THREE[2]))
    assert rows(code) == rows(barcode_of_minima(*THREE))
    array = np.array([[1.0, 5, 0], [2, 2, 2]])
    copy = array.copy()
    barcode_of_grid(array)
    assert (array == copy).all()


# -- against ripser and GUDHI ----------------------------------------------------------------------


@st.composite
def graphs(draw):
    """Values and edges: ties, isolated vertices, loops and doubled edges are all likely.

    Every value is exact in float32, in which ripser computes.
    """
    n = draw(st.integers(1, 14))
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    span = draw(st.sampled_from([2, 6, 100]))
    low = 0 if dtype.kind == "u" else -span
    values = np.array(draw(st.lists(st.integers(low, span), min_size=n, max_size=n)))
    values = (values / 64 if dtype.kind == "f" else values).astype(dtype)
    vertex = st.integers(0, n - 1)
    edges = draw(st.lists(st.tuples(vertex, vertex), max_size=3 * n))
    return values, np.array(edges, dtype=draw(st.sampled_from("ilIQ"))).reshape(-1, 2)


def by_ripser(values, edges) -> list[tuple[float, float]]:
    """Bars of the lower-star filtration: births on the diagonal, zero-length ones dropped."""
    n, values = len(values), np.asarray(values, dtype=np.float64)
    edges = np.asarray(edges, dtype=np.int64)
    # ripser wants a clean symmetric matrix: no loops, every edge once each way
    edges = np.unique(np.sort(edges[edges[:, 0] != edges[:, 1]], axis=1), axis=0)
    i, j = edges.T
    heights = values[edges].max(axis=1)
    vertices = np.arange(n)
    matrix = coo_array(
        (np.concatenate([values, heights, heights]), (np.r_[vertices, i, j], np.r_[vertices, j, i]))
    )
    found = ripser.ripser(matrix, distance_matrix=True, maxdim=0)["dgms"][0]
    return sorted((b, d) for b, d in found.tolist() if b != d)


def by_gudhi(values, edges) -> list[tuple[float, float]]:
    tree = gudhi.SimplexTree()
    for v, value in enumerate(values):
        tree.insert([v], float(value))
    for i, j in edges:
        if i != j:
            tree.insert([int(i), int(j)], float(max(values[i], values[j])))
    tree.compute_persistence(persistence_dim_max=True)
    return sorted(map(tuple, tree.persistence_intervals_in_dimension(0).tolist()))


@given(graphs())
@settings(max_examples=200, deadline=None)
def test_small_graphs_agree_with_ripser_and_gudhi(graph):
    found = bars(barcode_of_graph(*graph))
    assert found == by_gudhi(*graph)
    assert found == by_ripser(*graph)


@pytest.mark.parametrize("distinct", [True, False])
def test_a_hundred_larger_graphs_agree_with_ripser_exactly(distinct):
    rng = np.random.default_rng(1)
    sizes = []
    for _ in range(100):
        n = int(rng.integers(20, 200))
        values = rng.permutation(n) - n // 2 if distinct else rng.integers(-8, 8, n) / 64
        edges = rng.integers(0, n, (int(rng.integers(n // 2, 3 * n)), 2))
        code = barcode_of_graph(values, edges)
        assert bars(code) == by_ripser(values, edges)
        sizes.append(len(code.diagram()))
    assert np.mean(sizes) > 5  # or nothing would be compared


@given(graphs())
@quick
def test_rows_say_where_segments_begin_and_end(graph):
    values, edges = graph
    code = barcode_of_graph(values, edges)
    values = values.astype(float)
    assert (values[code.minimum] == code.birth).all()
    assert (np.diff(code.minimum) > 0).all()
    finite = np.flatnonzero(np.isfinite(code.death))
    assert (values[edges[code.saddle[finite]].astype(int)].max(axis=1) == code.death[finite]).all()
    rest = np.isinf(code.death)
    assert (code.saddle[rest] == -1).all() and (code.parent[rest] == -1).all()
    for row in finite:
        # the parent is older and still there when the row ends
        parent = code.parent[row]
        assert (code.birth[parent], parent) < (code.birth[row], row)
        assert code.death[parent] >= code.death[row]
        # flood fill below the death: the minimum meets nothing older; at the death it meets it
        for level, meets in ((np.nextafter(code.death[row], -INF), False), (code.death[row], True)):
            reached = component(values, edges, int(code.minimum[row]), level)
            older = values[reached] < code.birth[row]
            older |= (values[reached] == code.birth[row]) & (reached < code.minimum[row])
            assert older.any() == meets
            if meets:
                assert code.minimum[parent] in reached
    tree = code.merge_tree()
    assert tree.height.is_monotonic_increasing
    gone = set()
    for younger, older in zip(tree.younger, tree.older, strict=True):
        assert not {younger, older} & gone
        gone.add(younger)


def component(values, edges, vertex, level) -> np.ndarray:
    """Vertices reached from one of them without rising above the level."""
    reached, stack = {vertex}, [vertex]
    while stack:
        here = stack.pop()
        for i, j in edges.tolist():
            for a, b in ((i, j), (j, i)):
                if a == here and b not in reached and values[b] <= level:
                    reached.add(b)
                    stack.append(b)
    return np.array(sorted(reached))


@st.composite
def grids(draw):
    shape = draw(
        st.one_of(
            st.tuples(st.integers(1, 30)),
            st.tuples(st.integers(1, 7), st.integers(1, 7)),
            st.tuples(*[st.integers(1, 4)] * 3),
        )
    )
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    kind = draw(st.sampled_from(["ties", "few", "real", "single"]))
    if kind == "ties":
        return rng.integers(0, 3, shape)
    if kind == "few":
        return rng.integers(-20, 20, shape).astype(np.int8)
    values = rng.normal(size=shape)
    return values.astype(np.float32) if kind == "single" else values


def cubical(values) -> list[tuple[float, float]]:
    cells = gudhi.CubicalComplex(top_dimensional_cells=np.asarray(values, dtype=np.float64))
    cells.compute_persistence()
    return sorted(map(tuple, cells.persistence_intervals_in_dimension(0).tolist()))


@given(grids())
@settings(max_examples=200, deadline=None)
def test_grids_agree_with_gudhi(values):
    code = barcode_of_grid(values)
    assert bars(code) == cubical(values)
    flat = values.ravel().astype(float)
    finite = np.isfinite(code.death)
    assert (flat[code.minimum] == code.birth).all()
    assert (flat[code.saddle[finite]] == code.death[finite]).all()


def test_larger_grids_agree_with_gudhi():
    rng = np.random.default_rng(5)
    for shape in ((4000,), (90, 70), (21, 18, 16), (7, 6, 5, 6)):
        values = rng.normal(size=shape)
        code = barcode_of_grid(values)
        assert len(code) > 10
        assert bars(code) == cubical(values)


@given(graphs())
@quick
def test_minima_of_a_graph_agree_with_the_graph(graph):
    # the vertices as minima, the edges as passes: the same barcode, and segments of length zero
    values, edges = graph
    heights = values[edges.astype(int)].max(axis=1) if len(edges) else []
    code = barcode_of_minima(values, edges, heights)
    assert [b for b in bars(code) if b[0] != b[1]] == bars(barcode_of_graph(values, edges))


# -- under changes ---------------------------------------------------------------------------------


@given(graphs(), st.integers(-1000, 1000))
@quick
def test_shift(graph, shift):
    values, edges = graph[0].astype(float), graph[1]
    code, moved = barcode_of_graph(values, edges), barcode_of_graph(values + shift, edges)
    assert moved.birth.tolist() == (code.birth + shift).tolist()
    assert moved.death.tolist() == (code.death + shift).tolist()
    for name in ("minimum", "saddle", "parent"):
        assert getattr(moved, name).tolist() == getattr(code, name).tolist()


@given(graphs())
@quick
def test_monotone_maps(graph):
    def rise(x):
        return np.sign(x) * np.abs(x) ** 3 + 2 * x

    values, edges = graph[0].astype(float), graph[1]
    code, mapped = barcode_of_graph(values, edges), barcode_of_graph(rise(values), edges)
    assert mapped.birth.tolist() == rise(code.birth).tolist()
    assert mapped.death.tolist() == rise(code.death).tolist()
    for name in ("minimum", "saddle", "parent"):
        assert getattr(mapped, name).tolist() == getattr(code, name).tolist()


@given(graphs(), st.randoms(use_true_random=False))
@quick
def test_relabelling(graph, random):
    values, edges = graph
    new = list(range(len(values)))
    random.shuffle(new)
    new = np.array(new)
    renamed = np.empty_like(values)
    renamed[new] = values
    edges = edges.astype(int)
    swapped = new[edges][::-1, ::-1]
    assert bars(barcode_of_graph(renamed, swapped)) == bars(barcode_of_graph(values, edges))


@given(graphs(), st.integers(0, 2**32), st.sampled_from([0.0, 0.01, 1.0]))
@quick
def test_stability(graph, seed, eps):
    values, edges = graph[0].astype(float), graph[1]
    noise = np.random.default_rng(seed).uniform(-eps, eps, len(values))
    a, b = barcode_of_graph(values, edges), barcode_of_graph(values + noise, edges)
    assert gudhi.bottleneck_distance(diagram(a), diagram(b)) <= eps + 1e-9


def test_stability_is_sharp_on_grids():
    values = np.random.default_rng(2).normal(size=(20, 20))
    code = barcode_of_grid(values)
    for eps in (0.0, 1e-3, 0.1):
        noise = np.random.default_rng(3).uniform(-eps, eps, values.shape)
        distance = gudhi.bottleneck_distance(
            diagram(code), diagram(barcode_of_grid(values + noise))
        )
        assert distance <= eps + 1e-12
        assert distance >= eps / 4  # it does move


@given(graphs())
@quick
def test_dtypes_give_the_same_barcode(graph):
    values, edges = graph
    assume(values.dtype.kind != "f")
    assert rows(barcode_of_graph(values, edges)) == rows(
        barcode_of_graph(values.astype(np.float32), edges)
    )


# -- a surface on a grid ---------------------------------------------------------------------------


def test_mueller_brown_on_a_grid_agrees_to_its_resolution():
    surface = ts.surfaces.mueller_brown()
    axes = [torch.linspace(*ends.tolist(), 801, dtype=torch.float64) for ends in surface.box]
    points = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    code = barcode_of_grid(surface.loss(points))
    # Rounding to the nearest grid point moves by at most r, half the diagonal h of a cell. With
    # curvatures up to L near critical points and -c down the pass:
    #   a minimum is met from above, within L r^2 / 2;
    #   a grid path's steps are no longer than h, so its top misses at most L h^2 / 8 of the pass;
    #   rounding the steepest path costs, at a distance d from the saddle, at most
    #   L d r + L r^2 / 2 - c d^2 / 2, that is L^2 r^2 / 2c + L r^2 / 2 at the worst d.
    h = float(np.hypot(2.7 / 800, 2.2 / 800))
    r = h / 2
    basis = torch.eye(2, dtype=torch.float64)
    critical = torch.cat([surface.minima, surface.saddles])
    hessians = surface.hvp(critical[:, None], basis)
    curvatures = torch.linalg.eigvalsh(hessians)
    big = 1.2 * float(curvatures.abs().max())  # and somewhat more around the critical points
    down = float(-curvatures[len(surface.minima) :, 0].max())
    below, birth_above = big * h**2 / 8, big * r**2 / 2
    death_above = birth_above + big**2 * r**2 / (2 * down)
    assert death_above < 0.5  # the bound says something: the segments are 8.5 and 67.5 long

    finite = code.diagram()[code.diagram()[:, 1] - code.diagram()[:, 0] > 1.0]
    finite = finite[np.argsort(finite[:, 0])]
    exact = surface.barcode.diagram()
    exact = exact[np.argsort(exact[:, 0])]
    assert finite.shape == exact.shape == (2, 2)
    error = finite - exact
    assert (error[:, 0] >= -1e-9).all() and (error[:, 0] <= birth_above).all()
    assert (error[:, 1] >= -below).all() and (error[:, 1] <= death_above).all()
    assert 0 <= code.birth.min() - surface.barcode.birth.min() <= birth_above


# -- intervals -------------------------------------------------------------------------------------


def test_intervals_of_passes_become_intervals_of_deaths():
    # 0 is lowest; 1 dies at its pass to 0; 2 at the lower of its two passes
    losses, pairs = [0.0, 1.0, 2.0], [[0, 1], [1, 2], [0, 2]]
    low, mid, high = [2.5, 3.5, 2.9], [3.0, 4.0, 5.0], [3.5, 4.5, 6.0]
    code = ts.barcode_of_minima(losses, pairs, mid, (low, high))
    np.testing.assert_array_equal(code.death, [np.inf, 3, 4])
    # at the low ends the pass 0-2 undercuts 1-2
    np.testing.assert_array_equal(code.death_interval, [[np.inf, np.inf], [2.5, 3.5], [2.9, 4.5]])
    assert code.score_interval() == ((1.5 + 0.9) / 2, (2.5 + 2.5) / 2)
    assert list(code.to_frame())[-2:] == ["death_low", "death_high"]


def test_bad_intervals():
    args = [0.0, 1.0], [[0, 1]], [3.0]
    for bad in (([3.5], [4.0]), ([2.0], [2.5]), ([2.0, 2.0], [4.0, 4.0])):
        with pytest.raises(ValueError, match="intervals must be"):
            ts.barcode_of_minima(*args, bad)
    with pytest.raises(ValueError, match="no intervals"):
        ts.barcode_of_minima(*args).score_interval()


def test_bootstrap_interval():
    low, high = ts.bootstrap_interval([1.0, 3.0])
    assert (low, high) == (1.0, 3.0)  # of two scores the means are 1, 2 or 3
    scores = np.random.default_rng(0).normal(5, 1, 400)
    low, high = ts.bootstrap_interval(scores)
    # the normal theory: mean -+ 1.96 / sqrt(400)
    assert low == pytest.approx(scores.mean() - 0.098, abs=0.02)
    assert high == pytest.approx(scores.mean() + 0.098, abs=0.02)
    assert ts.bootstrap_interval(scores) == (low, high)
    assert ts.bootstrap_interval([2.0, 2.0, 2.0]) == (2.0, 2.0)
    for bad in ([1.0], [1.0, np.nan]):
        with pytest.raises(ValueError):
            ts.bootstrap_interval(bad)
    with pytest.raises(ValueError, match="confidence"):
        ts.bootstrap_interval([1.0, 2.0], confidence=1.0)
