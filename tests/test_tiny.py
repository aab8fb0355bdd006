"""What chapter 8's stored results are made with: symmetry, and graphs of sampled points."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import toscore as ts

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import tiny

BIASES = [(True, True), (False, True), (True, False), (False, False)]


@pytest.mark.parametrize("bias", BIASES)
@pytest.mark.parametrize(("data", "inputs"), [(tiny.regression, 1), (tiny.xor, 2)])
def test_copies_are_as_high_and_as_many_as_the_group_says(bias, data, inputs):
    f = tiny.landscape(data(), (3,), 1e-2, tiny.half_mse, bias)
    parts = tiny.unit_parts(f.dim, inputs, 3, bias[0])
    theta = np.random.default_rng(0).normal(size=f.dim)
    same = tiny.copies(theta, parts)
    assert len(same) == 48 and np.array_equal(same[0], theta)
    np.testing.assert_allclose(f.loss(torch.as_tensor(same)), float(f.loss(theta)), rtol=1e-12)


def test_copies_of_units_that_are_dead_or_equal():
    parts = tiny.unit_parts(7, 1, 2)
    assert [p.tolist() for p in parts] == [[0, 2, 4], [1, 3, 5]]
    dead, equal = np.zeros((2, 7))
    dead[parts[0]] = equal[parts[0]] = equal[parts[1]] = 1.0, 2.0, 3.0
    assert len(tiny.copies(dead, parts)) == len(tiny.copies(equal, parts)) == 4
    with pytest.raises(ValueError, match="more than 6 parameters"):
        tiny.unit_parts(6, 1, 3)


def test_orbits_put_copies_together():
    f = tiny.landscape(tiny.regression(), (1,), 3e-3, tiny.half_mse)
    found = tiny.orbits(f, tiny.unit_parts(4, 1, 1), starts=12)
    losses = [f.loss(torch.as_tensor(o)).numpy() for o in found]
    assert len(found) > 1 and all(len(o) == 2 for o in found)
    assert all(np.ptp(v) < 1e-9 for v in losses)
    assert (np.diff([v[0] for v in losses]) > 1e-6).all()


def test_vertices_step_over_a_ridge_that_cut_edges_see():
    line = SimpleNamespace(loss=lambda p: torch.exp(-50 * p[..., 0] ** 2), dim=1)
    points = np.array([[-1.0], [1.0]])
    vertices, cut = tiny.on_graph(line, points, np.array([[0, 1]]), 2)
    assert vertices == pytest.approx(0, abs=1e-9)
    assert cut == pytest.approx(1)
    apart = tiny.on_graph(line, np.array([[-1.0], [1.0], [3.0]]), np.array([[1, 2]]), 2)
    assert np.isinf(apart[1])


def test_height_between_is_the_minimax_by_hand():
    values = np.array([0.0, 0.0, 5.0, 3.0, 4.0])
    edges = np.array([[0, 2], [2, 1], [0, 3], [3, 4], [4, 1]])
    assert tiny.height_between(values, edges) == 4


@pytest.mark.parametrize("bias", [True, False])
def test_best_constant(bias):
    data, settings = tiny.regression(), (0.1, tiny.half_mse)
    best = tiny.constant(data, settings, bias)
    f = lambda c: float(tiny.half_mse(torch.full_like(data[1], c), data[1]) + 0.05 * c**2)  # noqa: E731
    tried = [f(c) for c in (np.linspace(-1, 1, 2001) if bias else [0.0])]
    assert best <= min(tried) + 1e-12 and best == pytest.approx(min(tried), abs=1e-6)
    with pytest.raises(ValueError, match="squared loss"):
        tiny.constant(data, (0.1, tiny.BCE), True)


def test_a_sign_flip_costs_a_unit_and_every_sampler_keeps_to_its_place():
    f = tiny.landscape(tiny.regression(), (1,), 3e-3, tiny.half_mse, (False, False))
    p, birth = tiny.lowest(f, 6)
    ends = torch.stack([p, -p])
    path = ts.connect(f, ends, [[0, 1]], progress=False)
    floor = tiny.constant(tiny.regression(), (3e-3, tiny.half_mse), False)
    assert birth < floor - 0.01 and path.saddle[0] == pytest.approx(floor, abs=1e-7)
    for name, draw in tiny.SAMPLERS.items():
        points = draw(f, ends.numpy(), path, 256, 0)
        assert points.shape == (256, 2), name
        assert np.array_equal(points, draw(f, ends.numpy(), path, 256, 0)), name
        assert not np.array_equal(points, draw(f, ends.numpy(), path, 256, 1)), name
    line = path.at(0, torch.linspace(0, 1, 4000, dtype=torch.float64)).numpy()
    far = [np.linalg.norm(line - x, axis=1).min() for x in points]  # those of the tube
    assert max(far[:64]) < 1e-2 and max(far) < 0.5
    points = np.concatenate([ends.numpy(), points])
    vertices, cut = tiny.on_graph(f, points, tiny.neighbour_graph(points, 8), 4)
    assert vertices <= cut and cut == pytest.approx(floor, abs=1e-3)
