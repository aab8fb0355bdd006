"""find_saddle, lowest_eigenvalues, tighten and certify: against saddles known exactly."""

import numpy as np
import pytest
import torch

import toscore as ts
from toscore import curves, find_saddle, lowest_eigenvalues, passes, surfaces

SURFACES = [
    surfaces.mueller_brown,
    surfaces.himmelblau,
    surfaces.six_hump_camel,
    lambda: surfaces.double_wells([1.0, 0.7, 1.3], [0.3, -0.2, 0.9]),
]


@pytest.mark.parametrize("make", SURFACES)
def test_saddles_are_found_from_beside_them(make):
    surface = make()
    rng = np.random.default_rng(0)
    for exact in surface.saddles:
        aside = torch.from_numpy(rng.normal(size=surface.dim)).mul(0.02)
        found = find_saddle(surface, exact + aside)
        assert found.verdict == "index 1"
        assert float((found.point - exact).norm()) < 1e-7
        assert abs(found.value - float(surface.loss(exact))) < 1e-9
        assert found.grad_norm <= 1e-7
        assert found.eigenvalues[0] < 0 < found.eigenvalues[1]


# of these seeds some once stopped at a saddle a little above the lowest
@pytest.mark.parametrize("seed", [0, 7, 12, 14])
@pytest.mark.parametrize("make", SURFACES)
def test_default_passes_of_the_barcode_are_exact(make, seed):
    surface = make()
    paths = ts.connect(surface, surface.minima, "all", seed=seed, progress=False)
    code = paths.barcode(surface.loss(surface.minima))
    np.testing.assert_allclose(np.sort(code.death), np.sort(surface.barcode.death), atol=1e-6)
    assert paths.certified[code.saddle[np.isfinite(code.death)]].all()
    certified = paths.points[torch.from_numpy(paths.certified)]
    nearest = torch.cdist(certified, surface.saddles).amin(dim=1)
    assert nearest.max() < 1e-4
    assert (paths.saddle <= paths.maximum).all()


def quadratic(*curvatures):
    c = torch.tensor(curvatures, dtype=torch.float64)
    return surfaces.from_function(lambda p: 0.5 * (c * p**2).sum(-1), [(-1, 1)] * len(c))


@pytest.mark.parametrize(
    ("curvatures", "verdict"),
    [
        ((-1.0, 2.0, 3.0), "index 1"),
        ((1.0, 2.0, 3.0), "index 0"),
        ((-1.0, -2.0, 3.0), "index 2 or more"),
        ((-1.0, 0.0, 3.0), "degenerate"),
        ((0.0, 2.0, 3.0), "degenerate"),
    ],
)
def test_verdicts(curvatures, verdict):
    # at the critical point itself there is nothing to climb or descend
    found = find_saddle(quadratic(*curvatures), torch.zeros(3))
    assert found.verdict == verdict and found.iterations == 0
    np.testing.assert_allclose(found.eigenvalues, sorted(curvatures)[:2], atol=1e-12)


def test_the_second_negative_mode_is_descended():
    # from the maximum of a double well in both coordinates: up along one, down along the other
    surface = surfaces.double_wells([1.0, 2.0], [0.1, 0.1])
    found = find_saddle(surface, torch.tensor([0.05, 0.05]))
    assert found.verdict == "index 1"
    assert torch.cdist(found.point[None], surface.saddles).min() < 1e-6


def test_a_slope_without_end_is_not_converged():
    plane = surfaces.from_function(lambda p: p[..., 0] + 0 * p[..., 1] ** 2, [(-1, 1)] * 2)
    found = find_saddle(plane, torch.zeros(2), max_iterations=3)
    assert found.verdict == "not converged" and found.grad_norm == 1


def test_one_dimension():
    surface = surfaces.double_wells([1.0], [0.2])
    found = find_saddle(surface, surface.saddles[0] + 0.05)
    assert found.verdict == "index 1" and np.isnan(found.eigenvalues[1])
    np.testing.assert_allclose(found.point, surface.saddles[0], atol=1e-8)


@pytest.fixture(scope="module")
def network():
    digits = ts.load_data("digits", n_train=60)
    model = ts.mlp(digits.shape, digits.n_classes, width=3, activation="gelu")
    return ts.Landscape(model, digits.x_train, digits.y_train, weight_decay=1e-2)


def test_lowest_eigenvalues_of_a_network(network):
    point = network.sample(1)[0]
    fine = network.double()
    hessian = fine.hvp(point.double(), torch.eye(network.dim, dtype=torch.float64)).numpy()
    exact, modes = np.linalg.eigh((hessian + hessian.T) / 2)
    values, vectors, residuals = lowest_eigenvalues(network, point, 3, tol=1e-6)
    np.testing.assert_allclose(values, exact[:3], rtol=1e-5)
    np.testing.assert_allclose(np.abs((vectors * modes[:, :3]).sum(0)), 1, atol=1e-4)
    assert (np.abs(values - exact[:3]) <= residuals + 1e-9).all()


def test_fast_hessians_lead_to_the_same_saddle(network):
    start = network.sample(2, seed=3).double().mean(dim=0)
    slow, fast = (find_saddle(network, start, fast=fast) for fast in (False, True))
    assert slow.verdict == fast.verdict and slow.iterations == fast.iterations
    torch.testing.assert_close(slow.point, fast.point, rtol=1e-6, atol=1e-8)
    surface = surfaces.himmelblau()  # has no such Hessian, and needs none
    assert (
        find_saddle(surface, [0.1, -0.9], fast=True).value
        == find_saddle(surface, [0.1, -0.9]).value
    )


def test_passes_of_a_network_are_certified(network):
    minima = ts.find_minima(network, 3, progress=False)
    assert minima.stationary.all()
    paths = ts.connect(network, minima, progress=False)
    rows = np.flatnonzero(paths.certificates.verdict != "not tried")
    assert len(rows) == len(minima) - 1
    assert paths.certified[rows].all()
    gap = paths.maximum - paths.saddle
    assert (gap[rows] <= 0.01 * paths.excess[rows] + 1e-6 + 1e-6 * paths.saddle[rows]).all()
    code = paths.barcode(minima.loss)
    low, high = code.death_interval[np.isfinite(code.death)].T
    assert len(low) == len(rows) and (high - low <= gap.max()).all()
    fine = network.double()
    eye = torch.eye(network.dim, dtype=torch.float64)
    for row in np.flatnonzero(paths.certified):
        point = paths.points[row].double()
        assert float(fine.loss_and_grad(point)[1].norm()) < 1e-4  # the point is kept in float32
        hessian = fine.hvp(point, eye).numpy()
        lowest = np.linalg.eigvalsh((hessian + hessian.T) / 2)[:2]
        assert lowest[0] < 0 < lowest[1]
        assert paths.floor[row] - 1e-6 <= paths.saddle[row] <= paths.maximum[row]
        np.testing.assert_allclose(float(fine.loss(point)), paths.saddle[row], rtol=1e-5)


def test_parts_of_a_chain_lie_on_it():
    generator = torch.Generator().manual_seed(0)
    chain = torch.randn(1 + 3 * 5, 4, dtype=torch.float64, generator=generator)  # 3 of degree 5
    u = np.linspace(0, 1, 41)
    for low, high, pieces in ((0.1, 0.9, 3), (0.4, 0.6, 1), (0.0, 0.5, 2), (1 / 3, 1.0, 2)):
        part, n = curves.cut(chain, 3, low, high)
        assert n == pieces
        # of the parameters where a piece of the part ends, each belongs to one piece of the chain
        ends = [low, *(s / 3 for s in (1, 2) if low + 1e-9 < s / 3 < high - 1e-9), high]
        t = np.interp(u, np.linspace(0, 1, n + 1), ends)
        expected = curves.bezier(chain[None], t[None], 3)
        torch.testing.assert_close(curves.bezier(part[None], u[None], n), expected)
    halves = [curves.cut(chain, 3, 0, 0.5), curves.cut(chain, 3, 0.5, 1)]
    whole = curves.join([c for c, _ in halves])
    assert whole.shape == (1 + 4 * 5, 4)
    torch.testing.assert_close(whole[[0, -1]], chain[[0, -1]])


def test_a_path_is_led_through_its_saddle():
    """From a detour over a hill down to the pass between two wells, exactly."""
    surface = surfaces.double_wells([1.0, 2.0], [0.3, -0.4])
    ends = surface.minima[[0, 1]]
    aside = ends.mean(dim=0) + torch.tensor([0.3, 0.2])
    detour = torch.stack([ends[0], aside, ends[1]])
    found = passes.tighten(surface, detour, budget=20_000)
    lowest = ts.connect(surface, ends, progress=False).saddle[0]
    assert found.verdict == "index 1"
    assert found.saddle.value == pytest.approx(lowest, abs=1e-9)
    floor = float(surface.loss(ends).max())
    assert lowest <= found.maximum <= lowest + 0.01 * (lowest - floor) + 1e-6


def test_a_path_no_higher_than_its_end_needs_no_saddle():
    """From a point on a slope down to the minimum: the end itself is the pass."""
    bowl = surfaces.from_function(lambda p: (p**2).sum(-1), [(-2, 2)] * 2)
    ends = torch.tensor([[0.0, 0.0], [1.0, 0.0]], dtype=torch.float64)
    paths = ts.connect(bowl, ends, progress=False)
    assert paths.certificates.verdict.tolist() == ["level"] and paths.certified.all()
    assert paths.saddle[0] == pytest.approx(1.0, abs=2e-6)


def test_without_budget_nothing_is_certified():
    surface = surfaces.mueller_brown()
    rough = ts.connect(surface, surface.minima, budget=200, certified=False, progress=False)
    paths = ts.certify(surface, rough, budget=1, progress=False)
    assert (paths.maximum <= rough.maximum).all()
    tried = paths.certificates.verdict != "not tried"
    assert tried.sum() == 2 and not paths.certified[tried & (paths.maximum > -40)].any()


def test_bad_arguments(network):
    surface = surfaces.himmelblau()
    with pytest.raises(ValueError, match=r"theta must have shape \(2,\)"):
        find_saddle(surface, torch.zeros(3))
    with pytest.raises(FloatingPointError, match="not finite"):
        find_saddle(surface, torch.tensor([torch.nan, 0.0]))
    with pytest.raises(ValueError, match="k in 1..2"):
        lowest_eigenvalues(surface, torch.zeros(2), 3)
    paths = ts.connect(surface, surface.minima, [[0, 1]], budget=200, progress=False)
    with pytest.raises(ValueError, match=r"rows must lie in 0..0"):
        ts.certify(surface, paths, [1], progress=False)
    with pytest.raises(ValueError, match="budget must be"):
        ts.certify(surface, paths, budget=0, progress=False)


def test_a_hessian_of_zeros_in_many_dimensions():
    """Lanczos can't begin; the hinge loss without weight decay is flat around its minima."""

    def hinge(outputs, y):
        return torch.relu(1 - outputs[:, 0] * y).mean()

    draw = torch.Generator().manual_seed(0)
    x = torch.randn(20, 50, generator=draw)
    y = 2.0 * (x[:, 0] > 0) - 1
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = torch.nn.Sequential(
            *(torch.nn.Linear(50, 32), torch.nn.ReLU(), torch.nn.Linear(32, 1))
        )
    f = ts.Landscape(model, x, y, hinge, weight_decay=0)
    found = ts.find_minima(f, 2, steps=100, max_evaluations=100, progress=False)
    assert f.dim > 1500 and (found.loss == 0).all()
    values, vectors, residuals = lowest_eigenvalues(f, found.theta[0])
    assert values.tolist() == [0, 0] and residuals.tolist() == [0, 0]
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(2), atol=1e-12)
    for direction in (found.theta[1], torch.zeros(f.dim)):
        assert find_saddle(f, found.theta[0], direction=direction).verdict == "degenerate"
    assert ts.connect(f, found, budget=800, progress=False).saddle.tolist() == [0.0]


def test_where_f_is_flat_but_not_level():
    """All curvatures are zero and the gradient is not: the step ends where the radius does."""
    x = torch.randn(20, 50, generator=torch.Generator().manual_seed(0))
    y = 2.0 * (x[:, 0] > 0) - 1
    f = ts.Landscape(
        torch.nn.Linear(50, 1), x, y, lambda o, t: torch.relu(1 - o[:, 0] * t).mean(), 0
    )
    for seed in range(30):
        assert find_saddle(f, f.sample(1, seed)[0], max_iterations=3).verdict == "not converged"
    plane = surfaces.from_function(lambda p: p[..., 0] + 2 * p[..., 1], [(-1, 1)] * 2)
    assert find_saddle(plane, [0.1, 0.2], max_iterations=2).verdict == "not converged"
