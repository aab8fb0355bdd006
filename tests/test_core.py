"""From network to barcode: the modules together, and each against an independent answer."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import toscore as ts


def test_barcode_worked_out_by_hand():
    # A = 0, B = 1, C = 0.5. Passes: BC at 2, AC at 2.5, AB at 3.
    # At 2, B meets C; C is lower: B ends, [1, 2]. At 2.5, C meets A: C ends, [0.5, 2.5].
    # At 3 both are one component already.
    code = ts.barcode_of_minima([0, 1, 0.5], [[0, 1], [1, 2], [0, 2]], [3, 2, 2.5])
    assert code.death.tolist() == [np.inf, 2, 2.5]
    assert code.parent.tolist() == [-1, 2, 0]
    assert code.saddle.tolist() == [-1, 1, 2]
    assert code.to_score() == 1.5
    assert code.to_score("sum") == 3 and code.to_score("max") == 2
    assert code.to_score("count", tol=1.5) == 1
    assert code.merge_tree().height.tolist() == [2, 2.5]
    assert code.merge_tree()["size"].tolist() == [2, 3]


@given(st.lists(st.integers(0, 4), min_size=1, max_size=40), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=100)
def test_graphs_with_ties_agree_with_gudhi(values, seed):
    import gudhi

    rng = np.random.default_rng(seed)
    edges = rng.integers(0, len(values), (rng.integers(0, 2 * len(values)), 2))
    code = ts.barcode_of_graph(values, edges)
    tree = gudhi.SimplexTree()
    for i, v in enumerate(values):
        tree.insert([i], v)
    for i, j in edges:
        tree.insert([i, j], max(values[i], values[j]))
    tree.persistence(persistence_dim_max=True)  # else a graph without edges has no degree 0
    expected = tree.persistence_intervals_in_dimension(0)
    expected = expected[expected[:, 1] > expected[:, 0]]
    assert sorted(map(tuple, expected)) == sorted(zip(code.birth, code.death, strict=True))


def test_mueller_brown_on_a_fine_grid():
    surface = ts.surfaces.mueller_brown()
    axes = [torch.linspace(low, high, 801, dtype=torch.float64) for low, high in surface.box]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    code = ts.barcode_of_grid(surface.loss(grid))
    long = code.lengths > 1
    found = np.sort(code.diagram(), axis=0)
    exact = np.sort(surface.barcode.diagram(), axis=0)
    # a point at most half a cell's diagonal from a critical point is off by at most
    # curvature / 2 * distance^2, with curvatures below 2,500 around all five of them
    step = torch.tensor([a[1] - a[0] for a in axes])
    bound = 2500 / 2 * float(step.norm() / 2) ** 2
    assert long.sum() == 3
    np.testing.assert_allclose(found, exact, atol=bound)
    assert bound < 0.02
    assert abs(code.birth.min() - surface.barcode.birth.min()) < bound


@pytest.fixture(scope="module")
def digits():
    data = ts.load_data("digits", n_train=150, n_test=100)
    network = ts.mlp(data.shape, data.n_classes, width=4, activation="gelu")
    return ts.Landscape(network, data.x_train, data.y_train, weight_decay=1e-3), data


def test_gradients_agree_with_autograd_and_finite_differences(digits):
    _, data = digits
    network = ts.mlp(data.shape, 10, width=4, activation="tanh").double()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    f = ts.Landscape(network, data.x_train, data.y_train, weight_decay=0.01)
    theta = f.sample(3, seed=1)
    values, gradients = f.loss_and_grad(theta)
    for point, value, gradient in zip(theta, values, gradients, strict=True):
        plain = f.module(point).requires_grad_(True)
        loss = nn.functional.cross_entropy(plain(data.x_train.double()), data.y_train)
        loss = loss + 0.005 * sum((p**2).sum() for p in plain.parameters())
        loss.backward()
        expected = torch.cat([p.grad.reshape(-1) for p in plain.parameters()])
        torch.testing.assert_close(value, loss.detach(), rtol=1e-12, atol=0)
        torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=1e-12)
    v = torch.randn(f.dim, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    slope = (f.loss(theta + 1e-6 * v) - f.loss(theta - 1e-6 * v)) / 2e-6
    torch.testing.assert_close(slope, gradients @ v, rtol=1e-5, atol=1e-7)
    bend = (f.loss_and_grad(theta + 1e-5 * v)[1] - f.loss_and_grad(theta - 1e-5 * v)[1]) / 2e-5
    torch.testing.assert_close(f.hvp(theta, v), bend, rtol=1e-4, atol=1e-6)
    assert all(torch.equal(before[k], v) for k, v in network.state_dict().items())


def test_from_network_to_barcode(digits):
    f, data = digits
    settings = {"steps": 100, "max_evaluations": 400, "progress": False}
    minima = ts.find_minima(f, 3, held_out=(data.x_test, data.y_test), **settings)
    again = ts.find_minima(f, 3, **settings)
    assert torch.equal(minima.theta, again.theta)
    assert (minima.test_error < 0.9).all() and (
        minima.stationary == (minima.grad_norm <= 1e-4)
    ).all()
    paths = ts.connect(f, minima, steps=60, progress=False)
    straight = ts.connect(f, minima, steps=1, lr=1e-9, progress=False)
    assert (paths.saddle < straight.saddle).all()
    # nothing along the path is higher than what is called its highest point
    dense = torch.linspace(0, 1, 5001).expand(len(paths), -1)
    top = f.loss(ts.paths.bezier(paths.controls, dense)).amax(dim=1).double().numpy()
    assert (top <= paths.saddle * (1 + 1e-5)).all()
    code = ts.barcode_of_minima(minima.loss, paths.pairs, paths.saddle)
    assert len(code) == 3 and not len(code.unmerged) and code.to_score() > 0


def test_passes_of_surfaces_are_bounded_from_above():
    for surface in (ts.surfaces.himmelblau(), ts.surfaces.double_wells([1, 2], [0.3, 0.1])):
        code = ts.loss_barcode(surface, n=30, progress=False)
        assert len(code) == len(surface.barcode)
        found, exact = np.sort(code.diagram()[:, 1]), np.sort(surface.barcode.diagram()[:, 1])
        assert (found >= exact - 1e-6).all() and (found <= exact + 0.01).all()
