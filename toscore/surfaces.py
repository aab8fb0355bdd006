"""Analytic surfaces whose minima, saddles and barcodes are known exactly.

They are used wherever a :class:`~toscore.landscape.Landscape` is: same methods, float64, points of
shape (..., D), D the dimension of the surface. Stored critical points are approximate and are
polished by Newton's method when a surface is made, so values are exact to rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from torch.func import grad, jacrev, vmap

from toscore.barcode import Barcode, barcode_of_minima

__all__ = [
    "Surface",
    "double_wells",
    "from_function",
    "himmelblau",
    "mueller_brown",
    "six_hump_camel",
]


@dataclass(frozen=True, eq=False)
class Surface:
    """A smooth function on a box, with its exact critical points where they are known.

    Attributes
    ----------
    f : callable (..., D) -> (...)
        Torch-differentiable.
    box : float64 tensor (D, 2)
        Lower and upper end in every coordinate; ``sample`` draws from it, minima lie in it.
    minima, saddles : float64 tensors (n, D) and (m, D), or None
        Exact minima and index-1 saddles.
    pairs : int64 array (m, 2) or None
        The minima that the two descents from each saddle reach.
    barcode : Barcode or None
        Exact; ``saddle`` is the row of ``saddles``.
    """

    name: str
    f: Callable
    box: torch.Tensor
    minima: torch.Tensor | None = None
    saddles: torch.Tensor | None = None
    pairs: np.ndarray | None = None
    barcode: Barcode | None = None

    device = torch.device("cpu")
    dtype = torch.float64

    @property
    def dim(self) -> int:
        """Number of coordinates D."""
        return len(self.box)

    def sample(self, n: int, seed: int = 0) -> torch.Tensor:
        """n points drawn uniformly from the box, (n, D); point i depends on (seed, i) alone."""
        if n < 1:
            raise ValueError(f"n must be at least 1, got {n}")
        low, high = self.box.T.numpy()
        draws = [np.random.default_rng([seed, i]).uniform(low, high) for i in range(n)]
        return torch.tensor(np.array(draws))

    def loss(self, theta) -> torch.Tensor:
        """f at each point: (..., D) -> (...)."""
        with torch.no_grad():
            return self.f(self._points(theta))

    def loss_and_grad(self, theta, batch=None) -> tuple[torch.Tensor, torch.Tensor]:
        """f and its gradient: (..., D) -> (...), (..., D). There is no data, so no ``batch``."""
        if batch is not None:
            raise ValueError(f"the surface {self.name!r} has no training set to take a batch from")
        points = self._points(theta).clone().requires_grad_()
        values = self.f(points)
        (gradient,) = torch.autograd.grad(values.sum(), points)
        return values.detach(), gradient

    def hvp(self, theta, v) -> torch.Tensor:
        """Hessian of f times v at each point: (..., D), (..., D) -> (..., D)."""
        points, v = torch.broadcast_tensors(self._points(theta), self._points(v))
        points = points.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(self.f(points).sum(), points, create_graph=True)
        return torch.autograd.grad((gradient * v).sum(), points)[0]

    def double(self) -> Surface:
        """Itself: surfaces are evaluated in float64."""
        return self

    def _points(self, theta) -> torch.Tensor:
        theta = torch.as_tensor(theta, dtype=self.dtype, device=self.device).detach()
        if theta.shape[-1:] != (self.dim,) or not theta.numel():
            raise ValueError(
                f"points of {self.name!r} must have shape (..., {self.dim}), got "
                f"{tuple(theta.shape)}"
            )
        return theta


def from_function(f: Callable, box, name: str = "function") -> Surface:
    """Any torch-differentiable function of points (..., D) as a Surface; nothing exact is known.

    Parameters
    ----------
    f : callable (..., D) -> (...)
        Must accept stacks of points in float64 and treat each on its own.
    box : array-like (D, 2)
        Lower and upper end in every coordinate, finite.

    Raises
    ------
    ValueError
        A box that is no box, or an f whose result has another shape than (...).
    """
    box = torch.as_tensor(np.asarray(box, dtype=np.float64))
    if box.ndim != 2 or box.shape[1] != 2 or not len(box):
        raise ValueError(f"box must have shape (D, 2), got {tuple(box.shape)}")
    if not (torch.isfinite(box).all() and (box[:, 0] < box[:, 1]).all()):
        raise ValueError(f"each row of box must be finite with low < high, got {box.tolist()}")
    probe = box.mean(dim=1).expand(2, 3, -1)
    shape = tuple(f(probe).shape)
    if shape != (2, 3):
        raise ValueError(
            f"f must map points (..., {len(box)}) to values (...): for a stack (2, 3, {len(box)}) "
            f"it returned shape {shape}, not (2, 3)"
        )
    return Surface(name, f, box)


def _exact(name: str, f: Callable, box, minima, saddles, pairs) -> Surface:
    """A Surface with its critical points polished and its exact barcode."""
    minima, saddles = _polish(f, minima), _polish(f, saddles)
    pairs = np.asarray(pairs, dtype=np.int64)
    barcode = barcode_of_minima(f(minima), pairs, f(saddles))
    box = torch.tensor(box, dtype=torch.float64)
    return Surface(name, f, box, minima, saddles, pairs, barcode)


def _polish(f: Callable, points) -> torch.Tensor:
    """Newton's method from approximate critical points, (k, D): quadratic, so few steps do."""
    points = torch.as_tensor(np.asarray(points, dtype=np.float64))
    gradients, hessians = vmap(grad(f)), vmap(jacrev(grad(f)))
    for _ in range(6):
        points = points - torch.linalg.solve(hessians(points), gradients(points))
    return points


def mueller_brown() -> Surface:
    """Potential of Müller and Brown 1979 (doi:10.1007/BF00547608): 3 minima, 2 saddles."""
    a = torch.tensor([-1.0, -1.0, -6.5, 0.7], dtype=torch.float64)
    b = torch.tensor([0.0, 0.0, 11.0, 0.6], dtype=torch.float64)
    c = torch.tensor([-10.0, -10.0, -6.5, 0.7], dtype=torch.float64)
    height = torch.tensor([-200.0, -100.0, -170.0, 15.0], dtype=torch.float64)
    x0 = torch.tensor([1.0, 0.0, -0.5, -1.0], dtype=torch.float64)
    y0 = torch.tensor([0.0, 0.5, 1.5, 1.0], dtype=torch.float64)

    def f(p):
        x, y = p[..., :1] - x0, p[..., 1:] - y0
        return (height * torch.exp(a * x**2 + b * x * y + c * y**2)).sum(dim=-1)

    return _exact(
        "Müller–Brown",
        f,
        [(-1.5, 1.2), (-0.2, 2.0)],
        minima=[(-0.558224, 1.441726), (0.623499, 0.028038), (-0.050011, 0.466694)],
        saddles=[(-0.822002, 0.624313), (0.212487, 0.292988)],
        pairs=[(0, 2), (1, 2)],
    )


def himmelblau() -> Surface:
    """Himmelblau's function on [-6, 6]^2: 4 minima of value 0, 4 saddles, 1 maximum.

    Himmelblau 1972, Applied Nonlinear Programming. Which of the equal minima counts as the lowest
    does not change the segments, only whose they are.
    """

    def f(p):
        x, y = p[..., 0], p[..., 1]
        return (x**2 + y - 11) ** 2 + (x + y**2 - 7) ** 2

    return _exact(
        "Himmelblau",
        f,
        [(-6, 6), (-6, 6)],
        minima=[(3, 2), (-2.805118, 3.131313), (-3.779310, -3.283186), (3.584428, -1.848127)],
        saddles=[
            (0.086678, 2.884255),
            (-3.073026, -0.081353),
            (3.385154, 0.073852),
            (-0.127961, -1.953715),
        ],
        pairs=[(0, 1), (1, 2), (0, 3), (2, 3)],
    )


def six_hump_camel() -> Surface:
    """Six-hump camel function on [-2.2, 2.2] x [-1.2, 1.2]: 6 minima in equal pairs, 7 saddles.

    Dixon and Szegő 1978. Outside the box it rises without further minima.
    """

    def f(p):
        x, y = p[..., 0], p[..., 1]
        return (4 - 2.1 * x**2 + x**4 / 3) * x**2 + x * y + (4 * y**2 - 4) * y**2

    # f(-p) = f(p): minima and saddles come in mirror pairs but for the saddle at the origin
    minima = np.array([(0.089842, -0.712656), (1.703607, -0.796084), (1.607105, 0.568651)])
    saddles = np.array([(1.109205, -0.768268), (1.638068, 0.228674), (1.296070, 0.605084)])
    return _exact(
        "six-hump camel",
        f,
        [(-2.2, 2.2), (-1.2, 1.2)],
        minima=np.concatenate([minima, -minima]),
        saddles=np.concatenate([[(0, 0)], saddles, -saddles]),
        pairs=[(0, 3), (0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 0)],
    )


def double_wells(a, b) -> Surface:
    """Sum over i of a_i (x_i^2 - 1)^2 + b_i x_i on [-2, 2]^n: 2^n minima, n 2^(n-1) saddles.

    Minima are all choices of a well in each coordinate, saddles put one coordinate on its
    barrier: a hypercube, whose barcode is exact but for 1-D root solves.

    Parameters
    ----------
    a, b : array-like (n,)
        Barrier heights a_i > 0 and tilts with |b_i| < 8 a_i / (3 sqrt 3), so that both wells exist.
    """
    a, b = np.atleast_1d(np.asarray(a, float)), np.atleast_1d(np.asarray(b, float))
    if a.ndim != 1 or a.shape != b.shape or not len(a):
        raise ValueError(f"a and b must be vectors of one length > 0, got {a.shape}, {b.shape}")
    if len(a) > 12:
        raise ValueError(f"2^{len(a)} minima are too many to list: use at most 12 coordinates")
    for i, (height, tilt) in enumerate(zip(a, b, strict=True)):
        limit = 8 * height / (3 * np.sqrt(3))
        if not (height > 0 and abs(tilt) < limit):
            raise ValueError(
                f"coordinate {i} has a = {height:g}, b = {tilt:g}: it needs a > 0 and |b| < "
                f"8a/(3 sqrt 3) = {limit:g} to have two wells"
            )
    n = len(a)
    height, tilt = torch.tensor(a), torch.tensor(b)

    def f(p):
        return (height * (p**2 - 1) ** 2 + tilt * p).sum(dim=-1)

    # stationary points of each coordinate: left well, barrier, right well
    roots = [np.sort(np.roots([4 * u, 0, -4 * u, v]).real) for u, v in zip(a, b, strict=True)]
    corners = list(product((0, 2), repeat=n))
    number = {corner: k for k, corner in enumerate(corners)}
    edges = []
    for corner in corners:
        for i in range(n):
            if corner[i] == 0:
                edges.append((corner, i, (*corner[:i], 2, *corner[i + 1 :])))
    return _exact(
        f"double wells in R^{n}",
        f,
        [(-2.0, 2.0)] * n,
        minima=[[r[c] for r, c in zip(roots, corner, strict=True)] for corner in corners],
        saddles=[
            [r[1] if j == i else r[c] for j, (r, c) in enumerate(zip(roots, corner, strict=True))]
            for corner, i, _ in edges
        ],
        pairs=[(number[corner], number[other]) for corner, _, other in edges],
    )
