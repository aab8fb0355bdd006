"""The batched L-BFGS: its direction against dense algebra, its descent against known minima."""

import numpy as np
import torch

from toscore.lbfgs import Memory, minimise


def bfgs(steps, changes, scale):
    """The inverse Hessian estimate by the textbook recursion (Nocedal and Wright, eq. 6.17)."""
    h = scale * np.eye(len(steps[0]))
    for s, y in zip(steps, changes, strict=True):
        rho = 1 / (s @ y)
        left = np.eye(len(s)) - rho * np.outer(s, y)
        h = left @ h @ left.T + rho * np.outer(s, s)
    return h


def filled(m, count, n=5, rows=2, seed=0):
    """A memory after `count` random pairs of positive curvature, and those pairs by row."""
    rng = np.random.default_rng(seed)
    hessian = np.diag(np.arange(1.0, n + 1))
    memory = Memory.empty(torch.zeros(rows, n, dtype=torch.float64), m)
    taken = [[] for _ in range(rows)]
    for k in range(count):
        s = rng.normal(size=(rows, n))
        y = s @ hessian
        which = np.array([True, k % 2 == 0])  # the second row takes every other pair
        memory.add(*(torch.from_numpy(v) for v in (s, y, which)))
        for row in np.flatnonzero(which):
            taken[row].append((s[row], y[row]))
    return memory, taken


def test_direction_is_that_of_the_recursion():
    for m, count in ((4, 3), (4, 4), (4, 11), (7, 1)):
        memory, taken = filled(m, count)
        g = np.random.default_rng(9).normal(size=(2, 5))
        found = memory.direction(torch.from_numpy(g)).numpy()
        for row in range(2):
            steps, changes = zip(*taken[row][-m:], strict=True)
            scale = steps[-1] @ changes[-1] / (changes[-1] @ changes[-1])
            np.testing.assert_allclose(found[row], -bfgs(steps, changes, scale) @ g[row], rtol=1e-9)


def test_an_empty_memory_goes_down_the_gradient():
    g = torch.tensor([[3.0, -4.0]])
    torch.testing.assert_close(Memory.empty(g, 3).direction(g), -g)


def test_pairs_without_positive_curvature_are_not_taken():
    memory = Memory.empty(torch.zeros(1, 2), 3)
    yes = torch.tensor([True])
    memory.add(torch.tensor([[1.0, 0.0]]), torch.tensor([[-1.0, 0.0]]), yes)
    memory.add(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]]), yes)
    memory.add(torch.tensor([[1.0, 0.0]]), torch.tensor([[torch.nan, 1.0]]), yes)
    assert memory.count.tolist() == [0] and torch.isfinite(memory.sy).all()
    memory.add(torch.tensor([[1.0, 0.0]]), torch.tensor([[2.0, 1.0]]), yes)
    assert memory.count.tolist() == [1]


def rosenbrock(x):
    value = (100 * (x[:, 1:] - x[:, :-1] ** 2) ** 2 + (1 - x[:, :-1]) ** 2).sum(1)
    gradient = torch.zeros_like(x)
    inner = x[:, 1:] - x[:, :-1] ** 2
    gradient[:, :-1] = -400 * x[:, :-1] * inner - 2 * (1 - x[:, :-1])
    gradient[:, 1:] += 200 * inner
    return value, gradient


def test_rosenbrock_rows_reach_their_minimum_alone_and_together():
    x = torch.randn(3, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    step = torch.full((3,), 0.1)
    ends, values = minimise(rosenbrock, x, 200, Memory.empty(x, 10), step)
    assert (values < 1e-12).all()
    alone, _ = minimise(rosenbrock, x[1:2], 200, Memory.empty(x[1:2], 10), step[:1])
    torch.testing.assert_close(alone, ends[1:2], rtol=1e-5, atol=1e-5)


def test_no_row_ends_higher_and_walls_are_kept_out():
    def f(x):  # not a number beyond 1, and steep
        value = 50 * (x[:, 0] - 0.9) ** 2
        value = value.where(x[:, 0] < 1, torch.nan)
        return value, 100 * (x - 0.9)

    x = torch.tensor([[-1.0], [0.5], [2.0]], dtype=torch.float64)
    ends, values = minimise(f, x, 30, Memory.empty(x, 5), torch.full((3,), 5.0))
    assert (values[:2] < 1e-12).all() and (ends[:2] - 0.9).abs().max() < 1e-6
    assert ends[2] == 2  # f is no number there to begin with: it stays, and says so
    assert values[2].isnan()
