"""The Morse complex: critical points, boundary operator, canonical form."""

from dataclasses import replace
from itertools import combinations, pairwise

import numpy as np
import pytest
import torch

from toscore import morse, surfaces


def heights(surface, critical):
    return [surface.loss(c).numpy() if len(c) else [] for c in critical]


def complex_of(surface):
    critical = morse.critical_points(surface, n=256)
    return heights(surface, critical), morse.boundary(surface, critical)


def make(f, box=((-2, 2), (-2, 2)), **kwargs):
    return replace(surfaces.from_function(f, box), **kwargs)


def shell(p):
    """A round valley in space: a minimum, its opposite of index 2, and a maximum inside."""
    return ((p**2).sum(-1) - 1) ** 2 + 0.3 * p[..., 0]


def is_canonical(form, boundary, modulus=2):
    for k, d in enumerate(boundary):
        assert np.array_equal(d @ form.basis[k + 1] % modulus, form.basis[k] @ form.boundary[k])
        assert set(np.unique(form.boundary[k])) <= {0, 1}
        assert form.boundary[k].sum(0).max(initial=0) <= 1
        assert form.boundary[k].sum(1).max(initial=0) <= 1
    for v, basis in zip(form.values, form.basis, strict=True):
        order = np.argsort(v, kind="stable")
        triangle = basis[np.ix_(order, order)]
        assert np.array_equal(triangle, np.triu(triangle)) and (np.diag(triangle) != 0).all()


# -- canonical form --------------------------------------------------------------------------------


def test_circle_by_hand():
    # two minima at 0, 1; two saddles at 2, 3, each joining both: one ends the minimum, one stays
    form = morse.canonical_form([[0, 1], [2, 3]], [np.ones((2, 2), int)])
    assert form.bars(0).tolist() == [[0, np.inf], [1, 2]]
    assert form.bars(1).tolist() == [[3, np.inf]]
    assert form.pairs.tolist() == [[0, 1, 0]] and form.essential.tolist() == [[0, 0], [1, 1]]
    assert form.basis[0].tolist() == [[1, 1], [0, 1]] == form.basis[1].tolist()
    assert form.boundary[0].tolist() == [[0, 0], [1, 0]]


def test_filled_triangle_by_hand_in_any_order_of_rows():
    # vertices 0, 1, 2 at 0, 1, 2; edges 01, 02, 12 at 3, 4, 5; triangle at 6
    d1 = np.array([[1, 1, 0], [1, 0, 1], [0, 1, 1]])
    values, boundary = [[0, 1, 2], [3, 4, 5], [6]], [d1, np.ones((3, 1), int)]
    form = morse.canonical_form(values, boundary)
    assert form.bars(0).tolist() == [[0, np.inf], [1, 3], [2, 4]]
    assert form.bars(1).tolist() == [[5, 6]] and len(form.bars(2)) == 0
    is_canonical(form, boundary)
    frame = form.to_frame()
    assert frame.columns.tolist() == ["degree", "birth", "death", "creator", "destroyer"]
    assert frame.to_numpy().tolist()[1:] == [[0, 1, 3, 1, 0], [0, 2, 4, 2, 1], [1, 5, 6, 2, 0]]
    p, q = [2, 0, 1], [1, 2, 0]
    mixed = [np.array([0, 1, 2])[p], np.array([3, 4, 5])[q], [6]]
    boundary = [d1[np.ix_(p, q)], np.ones((3, 1), int)]
    form = morse.canonical_form(mixed, boundary)
    is_canonical(form, boundary)
    assert form.bars(0).tolist() == [[0, np.inf], [1, 3], [2, 4]] and form.bars(1).tolist() == [
        [5, 6]
    ]


def test_the_field_matters_for_the_projective_plane():
    boundary = [np.array([[0]]), np.array([[2]])]
    two, three = (morse.canonical_form([[0], [1], [2]], boundary, modulus=p) for p in (2, 3))
    assert len(two.pairs) == 0 and len(two.essential) == 3
    assert three.pairs.tolist() == [[1, 0, 0]] and three.essential.tolist() == [[0, 0]]
    is_canonical(three, boundary, 3)


@pytest.mark.parametrize("modulus", [2, 3, 11])
@pytest.mark.parametrize("seed", range(6))
def test_random_simplicial_filtrations_agree_with_gudhi(seed, modulus):
    gudhi = pytest.importorskip("gudhi")
    rng = np.random.default_rng(seed)
    n, tree = 9, gudhi.SimplexTree()
    simplices = [list(combinations(range(n), k + 1)) for k in range(4)]
    keep = {s for some in simplices for s in some if rng.uniform() < 0.75 ** (len(s) - 1)}
    cells = [
        [s for s in some if all(f in keep for k in range(len(s)) for f in combinations(s, k + 1))]
        for some in simplices
    ]
    value = {}
    for some in cells:
        for s in some:
            faces = [value[f] for f in combinations(s, len(s) - 1) if f]
            value[s] = max(faces, default=0.0) + rng.uniform(0.01, 1)
            tree.insert(s, value[s])
    boundary = [np.zeros((len(a), len(b)), int) for a, b in pairwise(cells)]
    for d, lower, upper in zip(boundary, cells, cells[1:], strict=False):
        for j, s in enumerate(upper):
            for k in range(len(s)):
                d[lower.index(s[:k] + s[k + 1 :]), j] = (-1) ** k
    values = [[value[s] for s in some] for some in cells]
    form = morse.canonical_form(values, boundary, modulus)
    is_canonical(form, boundary, modulus)
    tree.compute_persistence(homology_coeff_field=modulus, persistence_dim_max=True)
    for k in range(4):
        theirs = np.array(tree.persistence_intervals_in_dimension(k)).reshape(-1, 2)
        np.testing.assert_array_equal(form.bars(k), theirs[np.lexsort(theirs.T[::-1])])


def test_partners_survive_changes_of_basis_that_respect_heights():
    values, boundary = complex_of(surfaces.double_wells([1.0, 0.7], [0.3, -0.2]))
    form, rng = morse.canonical_form(values, boundary), np.random.default_rng(1)
    for _ in range(20):
        t = [
            np.triu(rng.integers(0, 2, (len(v),) * 2), 1) + np.eye(len(v), dtype=int)
            for v in values
        ]
        inverse = [np.rint(np.linalg.inv(m)).astype(int) for m in t]
        spoilt = [inverse[k] @ d @ t[k + 1] % 2 for k, d in enumerate(boundary)]
        assert np.array_equal(morse.canonical_form(values, spoilt).pairs, form.pairs)


@pytest.mark.parametrize(
    ("values", "boundary", "modulus", "message"),
    [
        ([[0], [1]], [np.array([[0]])], 4, "prime, got 4"),
        ([[0], [1]], [np.array([[0]])], 1, "prime, got 1"),
        ([[0], [1]], [np.array([[0, 0]])], 2, r"shapes \[\(1, 1\)\], got \[\(1, 2\)\]"),
        ([[0], [1]], [], 2, "shapes"),
        ([[0], [np.nan]], [np.array([[0]])], 2, "finite"),
        ([[0], [1]], [np.array([[1.0]])], 2, "integers, got float64"),
        ([[1], [0]], [np.array([[1]])], 2, "trajectories must descend"),
        ([[0], [1], [2]], [np.array([[1]]), np.array([[1]])], 2, "boundary of a boundary"),
    ],
)
def test_what_is_no_complex_is_refused(values, boundary, modulus, message):
    with pytest.raises(ValueError, match=message):
        morse.canonical_form(values, boundary, modulus)


# -- critical points -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["himmelblau", "mueller_brown", "torus", "four_wells"])
def test_critical_points_are_found(name):
    surface = getattr(surfaces, name)()
    found = morse.critical_points(surface)
    for some, known in zip(found, surface.critical, strict=True):
        assert some.shape == known.shape
        if len(known):
            period = surface.box[:, 1] - surface.box[:, 0] if surface.periodic else torch.inf
            away = (some[:, None] - known).abs()
            away = torch.minimum(away, period - away).norm(dim=-1)
            assert float(away.min(dim=1).values.max()) < 1e-9
            assert float(away.min(dim=0).values.max()) < 1e-9
            assert (surface.loss(some).diff() >= -1e-9).all()


def test_a_line_and_a_bowl():
    line = make(lambda p: (p[..., 0] ** 2 - 1) ** 2, [(-2, 2)])
    values, (d,) = complex_of(line)
    np.testing.assert_allclose(np.concatenate(values), [0, 0, 1], atol=1e-12)
    assert d.tolist() == [[1], [1]]
    values, boundary = complex_of(make(lambda p: (p**2).sum(-1)))
    assert [len(v) for v in values] == [1, 0, 0]
    assert [d.shape for d in boundary] == [(1, 0), (0, 0)]


@pytest.mark.parametrize(
    "f",
    [
        lambda p: p[..., 0] ** 4 + p[..., 1] ** 2,
        lambda p: (p[..., 0] - 0.3) ** 3 + p[..., 1] ** 2,
        lambda p: ((p**2).sum(-1) - 1) ** 2,  # a circle of minima
    ],
)
def test_degenerate_points_are_refused(f):
    with pytest.raises(ValueError, match="degenerate"):
        morse.critical_points(make(f))
    with pytest.raises(ValueError, match="n must be at least 1"):
        morse.critical_points(make(f), n=0)


# -- boundary --------------------------------------------------------------------------------------


def test_wolfe_and_quapp_by_hand():
    values, (d1, d2) = complex_of(surfaces.wolfe_quapp())
    # the saddles, from the lowest, join minima 1 and 2, 0 and 2, 0 and 1; the maximum sees them all
    assert d1.T.tolist() == [[0, 1, 1], [1, 0, 1], [1, 1, 0]]
    assert d2.T.tolist() == [[1, 1, 1]]
    form = morse.canonical_form(values, [d1, d2])
    assert form.pairs.tolist() == [[0, 1, 1], [0, 2, 0], [1, 2, 0]]


def test_ring_and_shell():
    # a saddle that leads to the same minimum twice; a maximum above it twice, were there a mirror
    values, (d1, d2) = complex_of(surfaces.ring())
    assert d1.tolist() == [[0]] and d2.tolist() == [[1]]
    x = np.sort(np.roots([4, 0, -4, 0.3]).real)
    exact = (x**2 - 1) ** 2 + 0.3 * x
    np.testing.assert_allclose(np.concatenate(values), exact[[0, 2, 1]], atol=1e-12)
    space = make(shell, [(-2, 2)] * 3)
    values, boundary = complex_of(space)
    assert [len(v) for v in values] == [1, 0, 1, 1] and boundary[2].tolist() == [[1]]
    form = morse.canonical_form(values, boundary)
    np.testing.assert_allclose(form.bars(2), [exact[[2, 1]]], atol=1e-12)


def test_separable_surface_in_three_dimensions_by_hand():
    # points are triples of L, T, R (well, barrier, well); the boundary replaces one T by L and by R
    surface = surfaces.double_wells([1.0, 0.7, 1.3], [0.3, -0.2, 0.9])
    boundary = morse.boundary(surface, surface.critical)
    assert [d.shape for d in boundary] == [(8, 12), (12, 6), (6, 1)]
    letter = [c.div(0.6).round().clamp(-1, 1) for c in surface.critical]  # -1, 0, 1
    for k, d in enumerate(boundary):
        differ = letter[k][:, None] != letter[k + 1]
        face = (differ.sum(-1) == 1) & (letter[k + 1].abs().sum(-1) == 3 - k - 1)
        assert np.array_equal(d, face.long())


@pytest.mark.parametrize("name", ["himmelblau", "styblinski_tang", "torus", "four_wells"])
def test_canonical_form_agrees_with_cubical_persistence_and_the_barcode_of_minima(name):
    gudhi = pytest.importorskip("gudhi")
    surface = getattr(surfaces, name)()
    values, boundary = complex_of(surface)
    form = morse.canonical_form(values, boundary)
    is_canonical(form, boundary)
    bars = np.column_stack([surface.barcode.birth, surface.barcode.death])
    np.testing.assert_allclose(np.sort(form.bars(0), axis=0), np.sort(bars, axis=0), atol=1e-9)
    n = 60 if surface.dim == 3 else 300
    ends = [torch.linspace(*e.tolist(), n + surface.periodic).double()[:n] for e in surface.box]
    z = surface.loss(torch.stack(torch.meshgrid(*ends, indexing="ij"), -1)).numpy()
    if surface.periodic:
        cubes = gudhi.PeriodicCubicalComplex(vertices=z, periodic_dimensions=[True] * 2)
    else:
        cubes = gudhi.CubicalComplex(vertices=z)
    cubes.compute_persistence()
    span = np.ptp(np.concatenate(values))
    for k in range(surface.dim + 1):
        theirs = cubes.persistence_intervals_in_dimension(k)
        assert (
            gudhi.bottleneck_distance(form.bars(k), theirs) < 0.02 * span
        )  # a coarse grid in space


def test_a_lasso_ends_as_the_ring_of_saddles():
    surface = surfaces.four_wells()
    minima, saddles, tops, _ = surface.critical
    loops = morse.lasso(surface, tops[0], saddles)
    assert torch.cdist(torch.from_numpy(loops[0]), tops).max() < 0.1
    last = torch.from_numpy(loops[-1])
    assert torch.cdist(torch.cat([minima, saddles]), last).min(dim=1).values.max() < 0.05
    assert float(surface.loss(last).max()) == pytest.approx(
        float(surface.loss(saddles).max()), abs=0.01
    )


def test_flow_follows_the_gradient():
    # for x^2 + 4 y^2, y = y0 (x / x0)^4 along a trajectory, whatever its speed
    bowl = make(lambda p: p[..., 0] ** 2 + 4 * p[..., 1] ** 2)
    path = morse.flow(bowl, [[1.0, 1.0], [-1.5, 0.5]])
    assert np.abs(path[-1]).max() < 1e-3
    np.testing.assert_allclose(path[:, 0, 1], path[:, 0, 0] ** 4, atol=1e-5)
    up = morse.flow(bowl, [[0.1, 0.1]], up=True)[-1, 0]
    assert up.max() > 2 and up.max() < 2.1  # just outside the box
    assert morse.flow(bowl, np.empty((0, 2))).shape == (1, 0, 2)


def test_boundary_refuses():
    with pytest.raises(ValueError, match="'Branin' does not rise towards the outside"):
        morse.boundary(surfaces.branin(), surfaces.branin().critical)
    himmelblau = surfaces.himmelblau()
    minima, saddles, maxima = himmelblau.critical
    with pytest.raises(ValueError, match="index 0 to 2, got 2"):
        morse.boundary(himmelblau, (minima, saddles))
    with pytest.raises(ValueError, match=r"\[3, 4, 1\] .* alternating sum is 0, not 1"):
        morse.boundary(himmelblau, (minima[1:], saddles, maxima))
    with pytest.raises(ValueError, match="one is missing, or a saddle leads to a saddle"):
        morse.boundary(himmelblau, (minima[1:], saddles[1:], maxima))
    four = surfaces.double_wells(np.ones(4), np.full(4, 0.1))
    with pytest.raises(ValueError, match="4 coordinates"):
        morse.boundary(four, four.critical)


def test_a_saddle_that_leads_to_a_saddle_is_refused():
    # the saddle at (0, 0) descends along the axis y = 0 straight to those on both sides
    def f(p):
        x, y = p[..., 0], p[..., 1]
        return x**4 / 4 - x**2 / 2 + (1 - 2 * x**2) * y**2 / 2 + y**4 + x**6 / 8

    surface = make(f)
    critical = morse.critical_points(surface)
    with pytest.raises((ValueError, RuntimeError), match="leads to a saddle"):
        morse.boundary(surface, critical)


@pytest.mark.parametrize("modulus", [1_000_003, 16_777_259, 2_147_483_647])
def test_large_primes_do_not_overflow(modulus):
    d = np.random.default_rng(1).integers(0, modulus, (4, 5))
    form = morse.canonical_form([np.arange(4.0), np.arange(10.0, 15)], [d], modulus)
    change, basis = form.basis[1].astype(object), form.basis[0].astype(object)
    assert not ((d.astype(object) @ change - basis @ form.boundary[0]) % modulus).any()


def test_primes_too_large_for_int64_are_refused():
    with pytest.raises(ValueError, match="below 2.31"):
        morse.canonical_form([[0.0, 1.0], [3.0]], [np.array([[1], [1]])], 2**61 - 1)
