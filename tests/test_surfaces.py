"""Analytic surfaces: their values, critical points, pairs and barcodes."""

from functools import reduce

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from scipy.optimize import brentq

from toscore import Barcode, barcode_of_grid, surfaces

KNOWN = {  # finite segments and the lowest value: exact references, rounded to six decimals
    "mueller_brown": (
        [(-108.166724, -40.664844), (-80.767818, -72.248940)],
        -146.699517,
    ),
    "himmelblau": ([(0, 13.311926), (0, 67.719150), (0, 104.015163)], 0.0),
    "six_hump_camel": (
        [
            (-1.031628, 0),
            (-0.215464, 0.543719),
            (-0.215464, 0.543719),
            (2.104250, 2.229357),
            (2.104250, 2.229357),
        ],
        -1.031628,
    ),
}


def wells():
    return surfaces.double_wells([1.0, 0.7, 1.3], [0.3, -0.2, 0.9])


OTHERS = [
    n for n in surfaces.__all__ if n not in (*KNOWN, "Surface", "from_function", "double_wells")
]
ALL = {name: getattr(surfaces, name) for name in (*KNOWN, *OTHERS)} | {"double_wells": wells}


@pytest.fixture(scope="module", params=ALL)
def surface(request):
    return ALL[request.param]()


def hessians(surface, points) -> torch.Tensor:
    basis = torch.eye(surface.dim, dtype=torch.float64)
    return surface.hvp(points[:, None], basis)


def finite_bars(code: Barcode) -> np.ndarray:
    """Finite segments by birth, then death, (k, 2)."""
    bars = code.diagram()
    return bars[np.lexsort(bars.round(9).T[::-1])]


@pytest.mark.parametrize("name", KNOWN)
def test_barcodes_are_the_known_ones(name):
    segments, lowest = KNOWN[name]
    surface = ALL[name]()
    np.testing.assert_allclose(finite_bars(surface.barcode), segments, rtol=0, atol=1e-6)
    assert abs(surface.barcode.birth.min() - lowest) <= 1e-6
    assert np.isinf(surface.barcode.death).sum() == 1
    assert float(surface.loss(surface.minima).min()) == surface.barcode.birth.min()


def test_values_at_textbook_points():
    assert float(surfaces.himmelblau().loss([0.0, 0.0])) == 11**2 + 7**2
    assert float(surfaces.himmelblau().loss([3.0, 2.0])) == 0
    # (4 - 2.1 + 1/3) + 1 + 0 at (1, 1)
    assert float(surfaces.six_hump_camel().loss([1.0, 1.0])) == pytest.approx(3 + 7 / 30)
    # Müller and Brown 1979, table: energies of the three minima
    values = surfaces.mueller_brown().loss([[-0.5582, 1.4417], [0.6235, 0.0280], [-0.0500, 0.4667]])
    np.testing.assert_allclose(values, [-146.700, -108.167, -80.768], rtol=0, atol=1e-3)
    # a (x^2 - 1)^2 + b x at x = 2 and -1
    surface = surfaces.double_wells([1.0, 2.0], [0.5, -1.0])
    assert float(surface.loss([2.0, -1.0])) == 9 + 1 + 1


def test_critical_points_are_critical_and_of_the_right_index(surface):
    assert len(surface.critical) == surface.dim + 1
    for index, points in enumerate(surface.critical):
        if not len(points):
            continue
        scale = hessians(surface, points).norm()
        _, gradient = surface.loss_and_grad(points)
        assert float(gradient.norm(dim=1).max()) <= 1e-12 * float(scale)
        eigenvalues = torch.linalg.eigvalsh(hessians(surface, points))
        assert (eigenvalues.abs() > 1e-3 * scale / len(points)).all()
        assert ((eigenvalues < 0).sum(dim=1) == index).all()
        low, high = surface.box.T
        assert ((low < points) & (points < high)).all()
    together = torch.cat(surface.critical)
    assert torch.pdist(together).min() > 0.01  # Newton sent no two to the same place
    assert len(surface.pairs) == len(surface.saddles)
    # Poincaré and Hopf: the alternating sum is that of a ball, or of a torus
    counts = [len(points) for points in surface.critical]
    assert sum((-1) ** k * n for k, n in enumerate(counts)) == (0 if surface.periodic else 1)


def test_no_critical_point_is_missing(surface):
    # Newton from many starts, each stationary point in the box counted once
    points = surface.sample(400, seed=3)
    for _ in range(50):
        _, gradient = surface.loss_and_grad(points)
        step = torch.linalg.lstsq(hessians(surface, points), gradient[..., None]).solution[..., 0]
        points = points - step * (0.5 / step.norm(dim=1, keepdim=True)).clamp(max=1)
        points = points.clamp(-10, 10)
    low, high = surface.box.T
    _, gradient = surface.loss_and_grad(points)
    good = (gradient.norm(dim=1) < 1e-8) & ((low < points) & (points < high)).all(dim=1)
    points = points[good]
    index = (torch.linalg.eigvalsh(hessians(surface, points)) < 0).sum(dim=1)
    for wanted, known in enumerate(surface.critical):
        found = points[index == wanted]
        if not len(known):
            assert not len(found)
            continue
        assert len(found)
        assert float(torch.cdist(found, known).min(dim=1).values.max()) < 1e-6


def test_descents_from_each_saddle_reach_the_stated_minima(surface):
    def downhill(_, x):
        _, gradient = surface.loss_and_grad(x)
        return -(gradient / (1 + gradient.norm())).numpy()

    _, vectors = torch.linalg.eigh(hessians(surface, surface.saddles))
    for saddle, down, pair in zip(surface.saddles, vectors[..., 0], surface.pairs, strict=True):
        ends = []
        for side in (-1, 1):
            start = (saddle + side * 1e-2 * down).numpy()
            path = solve_ivp(downhill, (0, 40), start, method="LSODA", rtol=1e-6, atol=1e-8)
            away = surface.minima - torch.from_numpy(path.y[:, -1])
            if surface.periodic:
                away = torch.remainder(away + np.pi, 2 * np.pi) - np.pi
            distance = away.norm(dim=1)
            assert float(distance.min()) < 1e-2
            ends.append(int(distance.argmin()))
        assert sorted(ends) == sorted(pair.tolist())


def one_dimensional_bars(a, b) -> list[tuple[float, float]]:
    """Bars of a (x^2 - 1)^2 + b x, its stationary points bracketed and bisected."""

    def f(x):
        return a * (x**2 - 1) ** 2 + b * x

    def slope(x):
        return 4 * a * x * (x**2 - 1) + b

    turn = 1 / np.sqrt(3)  # where the slope is extreme
    left, top, right = (brentq(slope, *ends) for ends in ((-3, -turn), (-turn, turn), (turn, 3)))
    low, high = sorted([f(left), f(right)])
    return [(low, np.inf), (high, f(top))]


def kuenneth(g, h) -> list[tuple[float, float]]:
    """Degree-0 bars of g(x) + h(y) from those of g and h."""
    return [(a + c, min(a + d, b + c)) for a, b in g for c, d in h]


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ([1.0], [0.0]),
        ([2.5], [-1.1]),
        ([1.0, 1.0], [0.0, 0.0]),
        ([1.0, 2.0], [0.5, -0.3]),
        ([0.5, 3.0], [0.7, 4.0]),
        ([1.0, 0.7, 1.3], [0.3, -0.2, 0.9]),
        ([1.0, 1.0, 1.0], [0.1, 0.1, 0.1]),
        ([1.0, 1.5, 2.0, 0.5], [0.2, -0.2, 0.4, 0.1]),
    ],
)
def test_double_wells_agree_with_kuenneth(a, b):
    surface = surfaces.double_wells(a, b)
    n = len(a)
    assert surface.minima.shape == (2**n, n)
    assert surface.saddles.shape == (n * 2 ** (n - 1), n)
    expected = reduce(kuenneth, [one_dimensional_bars(*ab) for ab in zip(a, b, strict=True)])
    code = surface.barcode
    found = sorted(zip(code.birth.round(9), code.death.round(9), strict=True))
    np.testing.assert_allclose(found, sorted(np.round(expected, 9).tolist()), rtol=0, atol=1e-8)


def test_double_wells_near_their_limit():
    limit = 8 / (3 * np.sqrt(3))
    code = surfaces.double_wells(1.0, 0.999 * limit).barcode
    assert 0 < code.to_score() < 1e-4


def test_separable_surfaces_agree_with_kuenneth():
    # 1-D bars of Rastrigin's function, from a grid; of Styblinski and Tang's, from its quartic
    for surface, line in (
        (surfaces.rastrigin(3), surfaces.rastrigin(1)),
        (surfaces.rastrigin(2, cells=2), surfaces.rastrigin(1, cells=2)),
        (surfaces.rastrigin(2, cells=8), surfaces.rastrigin(1, cells=8)),
        (surfaces.styblinski_tang(4), surfaces.styblinski_tang(1)),
    ):
        code = line.barcode
        x = torch.linspace(*line.box[0].tolist(), 200_001, dtype=torch.float64)
        bars = finite_bars(barcode_of_grid(line.loss(x[:, None])))
        np.testing.assert_allclose(bars, finite_bars(code), rtol=0, atol=1e-6)
        bars = list(zip(code.birth, code.death, strict=True))
        expected = reduce(kuenneth, [bars] * surface.dim)
        found = sorted(zip(surface.barcode.birth.round(9), surface.barcode.death, strict=True))
        expected = sorted([(round(birth, 9), death) for birth, death in expected])
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-7)


def test_the_linear_network_is_worked_out_by_hand():
    # two layers, decay 0.1: t^2 = 0.9, so f = 0.1^2 + 2 * 0.1 * 0.9 = 0.19; the origin is at 1
    code = surfaces.deep_linear(2, 0.1).barcode
    np.testing.assert_allclose(finite_bars(code), [(0.19, 1.0)], atol=1e-14)
    # three: the origin is a minimum of height 1, below the saddles around it
    surface = surfaces.deep_linear(3, 0.1)
    assert surface.loss([0.0, 0.0, 0.0]) == 1.0 and len(surface.minima) == 5
    t = surface.minima[0].abs()
    torch.testing.assert_close(t * (1 - t**3), torch.full((3,), 0.1).double())
    deaths = surface.barcode.death[np.isfinite(surface.barcode.death)]
    assert len(deaths) == 4 and (deaths > 1).all() and np.ptp(deaths) < 1e-12


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: surfaces.deep_linear(1), "depth must lie in 2..8"),
        (lambda: surfaces.deep_linear(3, 0.5), "decay must lie between 0 and 0.47"),
        (lambda: surfaces.deep_linear(2, 0.0), "decay must lie between"),
        (lambda: surfaces.deep_linear(2, np.nan), "decay must lie between"),
        (lambda: surfaces.rastrigin(0), "dim and cells"),
        (lambda: surfaces.rastrigin(9), "at most 5000"),
        (lambda: surfaces.rastrigin(1, 31), "cells at most 30"),
        (lambda: surfaces.styblinski_tang(13), "dim must lie in 1..12"),
    ],
)
def test_families_refuse(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ([1.0], [1.0, 2.0], "one length"),
        ([[1.0]], [[0.0]], "vectors"),
        ([0.0], [0.0], "coordinate 0 .* needs a > 0"),
        ([1.0, -1.0], [0.0, 0.0], "coordinate 1"),
        ([1.0], [1.54], "two wells"),
        ([1.0], [np.nan], "coordinate 0"),
        (np.ones(13), np.zeros(13), "at most 12"),
    ],
)
def test_double_wells_refuse(a, b, message):
    with pytest.raises(ValueError, match=message):
        surfaces.double_wells(a, b)


def on_grid(surface, n) -> Barcode:
    axes = [torch.linspace(*ends.tolist(), n, dtype=torch.float64) for ends in surface.box]
    return barcode_of_grid(surface.loss(torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)))


@pytest.mark.parametrize("name", KNOWN)
def test_grids_approach_the_exact_barcode(name):
    surface = ALL[name]()
    exact = finite_bars(surface.barcode)
    errors = []
    for n in (101, 401):
        code = on_grid(surface, n)
        bars = finite_bars(code)
        # longest first, as grids have short spurious segments
        longest = np.argsort(bars[:, 0] - bars[:, 1], kind="stable")[: len(exact)]
        assert len(longest) == len(exact)
        bars = np.sort(bars[longest], axis=0)
        # births and deaths on their own, as near-equal births may swap
        errors.append(np.abs(bars - np.sort(exact, axis=0)).max())
        spurious = np.sort(code.lengths[np.isfinite(code.death)])[: -len(exact)]
        assert (spurious < errors[-1] + 1e-9).all()
    # steps four times finer: errors of second order fall sixteenfold; a quarter is demanded
    assert errors[1] <= errors[0] / 4
    assert errors[1] < 0.02 * surface.barcode.to_score("max")


def test_three_dimensional_grid():
    surface = wells()
    bars = finite_bars(on_grid(surface, 41))
    exact = finite_bars(surface.barcode)
    assert len(bars) == len(exact) == 7
    np.testing.assert_allclose(bars, exact, rtol=0, atol=0.05)


@pytest.mark.parametrize("name", OTHERS)
def test_all_degrees_agree_with_cubical_persistence(name):
    gudhi = pytest.importorskip("gudhi")
    surface = ALL[name]()
    n = 61 if surface.dim == 3 else 601
    ends = [torch.linspace(*e.tolist(), n + surface.periodic).double() for e in surface.box]
    axes = [e[:n] for e in ends]  # on a torus the last place is the first
    values = surface.loss(torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)).numpy()
    if surface.periodic:
        cubes = gudhi.PeriodicCubicalComplex(vertices=values, periodic_dimensions=[True] * 2)
    else:
        cubes = gudhi.CubicalComplex(vertices=values)
    found = cubes.persistence(min_persistence=0)
    heights = [surface.f(points).numpy() for points in surface.critical]
    exact = finite_bars(surface.barcode)
    near = 0.04 * np.ptp(np.concatenate(heights))
    bars = sorted(bar for degree, bar in found if degree == 0 and near < bar[1] - bar[0] < np.inf)
    exact = [bar for bar in exact.tolist() if bar[1] - bar[0] > near]
    np.testing.assert_allclose(np.reshape(bars, (-1, 2)), np.reshape(exact, (-1, 2)), atol=near)
    # every end of a long bar, in any degree, is the height of a critical point of the right index
    for degree, (birth, death) in found:
        if death - birth > near:
            assert np.abs(heights[degree] - birth).min() < near
            assert death == np.inf or np.abs(heights[degree + 1] - death).min() < near
    if surface.periodic:
        assert cubes.betti_numbers() == [1, 2, 1]


# -- the methods of a landscape --------------------------------------------------------------------


def test_gradient_and_hessian_products(surface):
    points = surface.sample(5, seed=1)
    values, gradient = surface.loss_and_grad(points)
    assert torch.equal(values, surface.loss(points))
    for x, g in zip(points, gradient, strict=True):
        exact = torch.autograd.functional.jacobian(surface.f, x)
        torch.testing.assert_close(g, exact, rtol=1e-12, atol=1e-10)
        hessian = torch.autograd.functional.hessian(surface.f, x)
        v = torch.arange(1.0, surface.dim + 1).double()
        torch.testing.assert_close(surface.hvp(x, v), hessian @ v, rtol=1e-10, atol=1e-8)
    # central differences
    step = 1e-6 * torch.eye(surface.dim, dtype=torch.float64)
    x = points[0]
    slope = (surface.loss(x + step) - surface.loss(x - step)) / 2e-6
    torch.testing.assert_close(slope, gradient[0], rtol=1e-6, atol=1e-4)


def test_stacks_of_any_shape(surface):
    points = surface.sample(6, seed=2).reshape(2, 3, -1)
    values, gradient = surface.loss_and_grad(points)
    assert values.shape == (2, 3) and gradient.shape == points.shape
    assert surface.hvp(points, points[0, 0]).shape == points.shape
    for i, j in np.ndindex(2, 3):
        assert values[i, j] == surface.loss(points[i, j])
    assert not values.requires_grad and not gradient.requires_grad


def test_samples_lie_in_the_box_and_depend_on_seed_and_number_alone(surface):
    torch.manual_seed(0)
    first = surface.sample(20, seed=4)
    torch.manual_seed(1)
    assert torch.equal(surface.sample(30, seed=4)[:20], first)
    assert not torch.equal(surface.sample(20, seed=5), first)
    many = surface.sample(300)
    low, high = surface.box.T
    assert ((low <= many) & (many <= high)).all()
    spread = (many.amax(dim=0) - many.amin(dim=0)) / (high - low)
    assert (spread > 0.9).all()
    with pytest.raises(ValueError, match="n must be at least 1"):
        surface.sample(0)


def test_wrong_points_and_batches_are_refused(surface):
    for points in (torch.zeros(surface.dim + 1), torch.tensor(0.0), torch.zeros(0, surface.dim)):
        with pytest.raises(ValueError, match="must have shape"):
            surface.loss(points)
    with pytest.raises(ValueError, match="no training set"):
        surface.loss_and_grad(torch.zeros(surface.dim), batch=[0])


def test_from_function():
    surface = surfaces.from_function(
        lambda p: (p**2).sum(-1) + p[..., 0] * p[..., 1], [(-1, 1), (0, 2)], name="bowl"
    )
    assert surface.dim == 2 and surface.name == "bowl"
    assert surface.minima is surface.saddles is surface.barcode is None
    assert surface.loss([[1.0, 2.0], [0.0, 1.0]]).tolist() == [7, 1]
    value, gradient = surface.loss_and_grad(np.array([1.0, 2.0]))
    assert (float(value), gradient.tolist()) == (7, [4, 5])
    assert surface.hvp([1.0, 2.0], [1.0, 0.0]).tolist() == [2, 1]


@pytest.mark.parametrize(
    ("f", "box", "message"),
    [
        (lambda p: p.sum(), [(0, 1)], r"returned shape \(\)"),
        (lambda p: p, [(0, 1)], r"returned shape \(2, 3, 1\)"),
        (lambda p: (p**2).sum(-1, keepdim=True), [(0, 1)] * 2, r"not \(2, 3\)"),
        (lambda p: p.sum(-1), [0, 1], r"box must have shape \(D, 2\)"),
        (lambda p: p.sum(-1), [(0, 1, 2)], r"box must have shape \(D, 2\)"),
        (lambda p: p.sum(-1), np.empty((0, 2)), "box must have shape"),
        (lambda p: p.sum(-1), [(1, 0)], "low < high"),
        (lambda p: p.sum(-1), [(0, 1), (2, 2)], "low < high"),
        (lambda p: p.sum(-1), [(0, np.inf)], "finite"),
        (lambda p: p.sum(-1), [(np.nan, 1)], "finite"),
    ],
)
def test_from_function_refuses(f, box, message):
    with pytest.raises(ValueError, match=message):
        surfaces.from_function(f, box)
