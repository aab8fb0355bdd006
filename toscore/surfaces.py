"""Analytic surfaces whose minima, saddles and barcodes are known exactly.

They are used wherever a :class:`~toscore.landscape.Landscape` is: same methods, float64, points of
shape (..., D), D the dimension of the surface. Stored critical points are approximate and are
polished by Newton's method when a surface is made, so values are exact to rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import torch
from scipy.optimize import brentq
from torch.func import grad, jacrev, vmap

from toscore.barcode import Barcode, barcode_of_minima

__all__ = [
    "Surface",
    "branin",
    "deep_linear",
    "double_wells",
    "four_wells",
    "from_function",
    "goldstein_price",
    "himmelblau",
    "mueller_brown",
    "rastrigin",
    "ring",
    "six_hump_camel",
    "styblinski_tang",
    "three_hump_camel",
    "torus",
    "wolfe_quapp",
]


_MOST = 5000  # critical points that are listed


@dataclass(frozen=True, eq=False)
class Surface:
    """A smooth function on a box, with its exact critical points where they are known.

    Attributes
    ----------
    name : str
        For messages and titles.
    f : callable (..., D) -> (...)
        Torch-differentiable.
    box : float64 tensor (D, 2)
        Lower and upper end in every coordinate; ``sample`` draws from it, minima lie in it.
    minima, saddles : float64 tensors (n, D) and (m, D), or None
        Exact minima and index-1 saddles.
    pairs : int64 array (m, 2) or None
        The minima that the two descents from each saddle reach; twice the same one where the saddle
        closes a loop around something.
    higher : tuple of float64 tensors (k, D), or None
        Exact critical points of index 2, 3, …, D; None also where there are thousands.
    barcode : Barcode or None
        Exact; ``saddle`` is the row of ``saddles``.
    periodic : bool
        Whether opposite sides of the box are one: then f lives on a torus.

    Examples
    --------
    >>> import toscore as ts
    >>> surface = ts.surfaces.himmelblau()
    >>> len(surface.minima), len(surface.saddles), sorted(surface.barcode.death.round(2).tolist())
    (4, 4, [13.31, 67.72, 104.02, inf])
    """

    name: str
    f: Callable
    box: torch.Tensor
    minima: torch.Tensor | None = None
    saddles: torch.Tensor | None = None
    pairs: np.ndarray | None = None
    higher: tuple[torch.Tensor, ...] | None = None
    barcode: Barcode | None = None
    periodic: bool = False

    device = torch.device("cpu")
    dtype = torch.float64

    @property
    def dim(self) -> int:
        """Number of coordinates D.

        Examples
        --------
        >>> import toscore as ts
        >>> ts.surfaces.four_wells().dim
        3
        """
        return len(self.box)

    @property
    def critical(self) -> tuple[torch.Tensor, ...] | None:
        """All critical points, (k, D) for each index 0, 1, …, D; None where they are not known.

        Examples
        --------
        >>> import toscore as ts
        >>> [len(points) for points in ts.surfaces.himmelblau().critical]
        [4, 4, 1]
        """
        if self.minima is None or self.higher is None:
            return None
        return self.minima, self.saddles, *self.higher

    def sample(self, n: int, seed: int = 0) -> torch.Tensor:
        """Points drawn uniformly from the box; point i depends on (seed, i) alone.

        Parameters
        ----------
        n : int
            Number of points, at least 1.
        seed : int
            At least 0.

        Returns
        -------
        float64 tensor (n, D)

        Raises
        ------
        ValueError
            ``n`` below 1.

        Examples
        --------
        >>> import toscore as ts
        >>> ts.surfaces.himmelblau().sample(4).shape
        torch.Size([4, 2])
        """
        if n < 1:
            raise ValueError(f"n must be at least 1, got {n}")
        low, high = self.box.T.numpy()
        draws = [np.random.default_rng([seed, i]).uniform(low, high) for i in range(n)]
        return torch.tensor(np.array(draws))

    def loss(self, theta) -> torch.Tensor:
        """f at each point.

        Parameters
        ----------
        theta : real (..., D)
            Points, in the box or outside of it.

        Returns
        -------
        float64 tensor (...)

        Raises
        ------
        ValueError
            The last axis has not D entries, or there is no point.

        Examples
        --------
        >>> import toscore as ts
        >>> ts.surfaces.himmelblau().loss([[0.0, 0.0], [3.0, 2.0]]).tolist()
        [170.0, 0.0]
        """
        with torch.no_grad():
            return self.f(self._points(theta))

    def loss_and_grad(self, theta, batch=None) -> tuple[torch.Tensor, torch.Tensor]:
        """f and its gradient at each point.

        Parameters
        ----------
        theta : real (..., D)
            Points.
        batch : None
            There is no data to take one from.

        Returns
        -------
        values : float64 tensor (...)
        gradients : float64 tensor (..., D)

        Raises
        ------
        ValueError
            Any ``batch``; points as for :meth:`loss`.

        Examples
        --------
        >>> import toscore as ts
        >>> value, gradient = ts.surfaces.himmelblau().loss_and_grad([0.0, 0.0])
        >>> gradient.tolist()
        [-14.0, -22.0]
        """
        if batch is not None:
            raise ValueError(f"the surface {self.name!r} has no training set to take a batch from")
        points = self._points(theta).clone().requires_grad_()
        values = self.f(points)
        (gradient,) = torch.autograd.grad(values.sum(), points)
        return values.detach(), gradient

    def hvp(self, theta, v) -> torch.Tensor:
        """Hessian of f times a vector at each point.

        Parameters
        ----------
        theta, v : real (..., D)
            Points and vectors; their leading axes are broadcast.

        Returns
        -------
        float64 tensor (..., D)

        Raises
        ------
        ValueError
            The last axis of ``theta`` or ``v`` has not D entries, or one of them is empty.

        Examples
        --------
        >>> import toscore as ts
        >>> ts.surfaces.himmelblau().hvp([0.0, 0.0], [[1.0, 0.0], [0.0, 1.0]]).tolist()
        [[-42.0, 0.0], [0.0, -26.0]]
        """
        points, v = torch.broadcast_tensors(self._points(theta), self._points(v))
        points = points.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(self.f(points).sum(), points, create_graph=True)
        if not gradient.requires_grad:  # f is linear
            return torch.zeros_like(points).detach()
        return torch.autograd.grad((gradient * v).sum(), points, materialize_grads=True)[0]

    def double(self) -> Surface:
        """Itself: surfaces are evaluated in float64.

        Examples
        --------
        >>> import toscore as ts
        >>> surface = ts.surfaces.ring()
        >>> surface.double() is surface
        True
        """
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
    name : str
        For messages and titles.

    Raises
    ------
    ValueError
        A box that is no box, or an f whose result has another shape than (...).

    Examples
    --------
    >>> import toscore as ts
    >>> bowl = ts.surfaces.from_function(lambda p: (p**2).sum(dim=-1), [(-1, 1)] * 2)
    >>> bowl.loss([0.5, 0.5]).item()
    0.5
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


def _exact(name: str, f: Callable, box, minima, saddles, pairs, higher=(), periodic=False):
    """A Surface with its critical points polished and its exact barcode."""
    box = torch.tensor(box, dtype=torch.float64)
    minima, saddles, *higher = (
        _polish(f, points, len(box)) for points in (minima, saddles, *higher)
    )
    none = torch.empty(0, len(box), dtype=torch.float64)
    higher = (*higher, *[none] * (len(box) - 1 - len(higher)))
    pairs = np.asarray(pairs, dtype=np.int64)
    barcode = barcode_of_minima(f(minima), pairs, f(saddles))
    return Surface(name, f, box, minima, saddles, pairs, higher, barcode, periodic)


def _polish(f: Callable, points, dim: int) -> torch.Tensor:
    """Newton's method from approximate critical points, (k, D): quadratic, so few steps do."""
    points = torch.as_tensor(np.asarray(points, dtype=np.float64)).reshape(-1, dim)
    gradients, hessians = vmap(grad(f)), vmap(jacrev(grad(f)))
    for _ in range(6):
        points = points - torch.linalg.solve(hessians(points), gradients(points))
    return points


def mueller_brown() -> Surface:
    """Potential of Müller and Brown 1979 (doi:10.1007/BF00547608): 3 minima, 2 saddles.

    Examples
    --------
    >>> import toscore as ts
    >>> surface = ts.surfaces.mueller_brown()
    >>> surface.loss(surface.minima).numpy().round(2).tolist()
    [-146.7, -108.17, -80.77]
    """
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

    Examples
    --------
    >>> import toscore as ts
    >>> sorted(ts.surfaces.himmelblau().barcode.death.round(2).tolist())
    [13.31, 67.72, 104.02, inf]
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
        higher=[[(-0.270845, -0.923039)]],
    )


def six_hump_camel() -> Surface:
    """Six-hump camel function on [-2.2, 2.2] x [-1.2, 1.2]: 6 minima, 7 saddles, 2 maxima.

    Dixon and Szegő 1978. Outside the box it rises without further minima.

    Examples
    --------
    >>> import toscore as ts
    >>> round(ts.surfaces.six_hump_camel().barcode.to_score(), 4)
    0.56
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
        higher=[[(1.230230, 0.162335), (-1.230230, -0.162335)]],
    )


def double_wells(a, b) -> Surface:
    """Sum over i of a_i (x_i^2 - 1)^2 + b_i x_i on [-2, 2]^n: 2^n minima, n 2^(n-1) saddles.

    Minima are all choices of a well in each coordinate, saddles put one coordinate on its
    barrier: a hypercube, whose barcode is exact but for 1-D root solves.

    Parameters
    ----------
    a, b : array-like (n,)
        Barrier heights a_i > 0 and tilts with ``|b_i| < 8 a_i / (3 sqrt 3)``, so that both wells
        exist.

    Raises
    ------
    ValueError
        Vectors of different or no length, more than 12 coordinates, or one without two wells.

    Examples
    --------
    >>> import toscore as ts
    >>> surface = ts.surfaces.double_wells([1, 2], [0.1, 0.3])
    >>> len(surface.minima), len(surface.saddles)
    (4, 4)
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
    height, tilt = torch.tensor(a), torch.tensor(b)

    def f(p):
        return (height * (p**2 - 1) ** 2 + tilt * p).sum(dim=-1)

    # stationary points of each coordinate: left well, barrier, right well
    roots = [np.sort(np.roots([4 * u, 0, -4 * u, v]).real) for u, v in zip(a, b, strict=True)]
    return _separable("double wells", f, [(-2.0, 2.0)] * len(a), roots)


def _separable(name: str, f: Callable, box, roots) -> Surface:
    """A sum of functions of one coordinate each, from their stationary points.

    Those of a coordinate come in rising order and begin and end with a minimum. Critical points are
    all choices of one in each coordinate; the index is the number of maxima among them.
    """
    sizes = [len(r) for r in roots]
    wells = list(product(*(range(0, n, 2) for n in sizes)))
    number = {c: k for k, c in enumerate(wells)}
    barriers, pairs = [], []
    for i, n in enumerate(sizes):
        for c in wells:
            if c[i] + 2 < n:  # from here over the next barrier in this coordinate
                barriers.append((*c[:i], c[i] + 1, *c[i + 1 :]))
                pairs.append((number[c], number[(*c[:i], c[i] + 2, *c[i + 1 :])]))
    by_index = [wells, barriers, *([] for _ in sizes[1:])]
    listed = np.prod(sizes) <= _MOST
    for c in product(*(range(n) for n in sizes)) if listed else ():
        index = sum(k % 2 for k in c)
        if index > 1:
            by_index[index].append(c)
    points = [[[r[k] for r, k in zip(roots, c, strict=True)] for c in some] for some in by_index]
    dim = str(len(sizes)).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
    surface = _exact(f"{name} in ℝ{dim}", f, box, *points[:2], pairs, points[2:])
    return surface if listed else replace(surface, higher=None)


def rastrigin(dim: int = 2, cells: int = 1) -> Surface:
    """Rastrigin's function on [-cells - 1/2, cells + 1/2]^D: (2 cells + 1)^D minima on a lattice.

    Sum over i of x_i^2 + 10 (1 - cos 2 pi x_i); Mühlenbein, Schomisch and Born 1991
    (doi:10.1016/S0167-8191(05)80052-3). The box ends a little inside the outer barriers.

    Parameters
    ----------
    dim : int
        Coordinates D.
    cells : int
        Minima on either side of the origin, in each coordinate; at most 30, as the parabola leaves
        few more.

    Raises
    ------
    ValueError
        ``dim`` or ``cells`` below 1, ``cells`` above 30, or more than 5000 minima.

    Examples
    --------
    >>> import toscore as ts
    >>> len(ts.surfaces.rastrigin(dim=2, cells=1).minima)
    9
    """
    if not (dim >= 1 and 1 <= cells <= 30 and (2 * cells + 1) ** dim <= _MOST):
        raise ValueError(
            f"dim and cells must be at least 1, cells at most 30 and (2 cells + 1)^dim at most "
            f"{_MOST}, got {dim} and {cells}"
        )

    def f(p):
        return (p**2 + 10 * (1 - torch.cos(2 * np.pi * p))).sum(dim=-1)

    def slope(x):
        return 2 * x + 20 * np.pi * np.sin(2 * np.pi * x)

    # one stationary point near each multiple of 1/2
    places = np.arange(-2 * cells, 2 * cells + 1) / 2
    roots = [brentq(slope, x - 0.2, x + 0.2, xtol=1e-14) for x in places]
    end = cells + 0.5
    return _separable("Rastrigin", f, [(-end, end)] * dim, [roots] * dim)


def styblinski_tang(dim: int = 2) -> Surface:
    """Half the sum over i of ``x_i^4 - 16 x_i^2 + 5 x_i`` on [-5, 5]^D: 2^D minima.

    Styblinski and Tang 1990 (doi:10.1016/0893-6080(90)90029-K).

    Parameters
    ----------
    dim : int
        Coordinates D, in 1..12.

    Raises
    ------
    ValueError
        ``dim`` out of range.

    Examples
    --------
    >>> import toscore as ts
    >>> round(float(ts.surfaces.styblinski_tang(dim=2).barcode.birth.min()), 3)
    -78.332
    """
    if not 1 <= dim <= 12:
        raise ValueError(f"dim must lie in 1..12, got {dim}")

    def f(p):
        return (p**4 - 16 * p**2 + 5 * p).sum(dim=-1) / 2

    roots = np.sort(np.roots([4, 0, -32, 5]).real)
    return _separable("Styblinski–Tang", f, [(-5.0, 5.0)] * dim, [roots] * dim)


def deep_linear(depth: int = 3, decay: float = 0.1) -> Surface:
    """The loss of the deepest thinnest linear network: ``(1 - w_1 w_2 … w_L)^2 + decay |w|^2``.

    It has 2^(L - 1) equally low minima, one for each choice of signs whose product is positive. Two
    layers meet in a saddle at the origin. From three layers on the origin is a minimum itself:
    each other one is reached from it over a saddle of its own. All are on diagonals, with
    ``|w_i| = t`` and ``decay = t^(L-2) (1 - t^L)``, where the gradient vanishes. The origin is the
    bad one as long as ``t^L > (L-2) / (L-1)`` at the others: below a decay of 0.397 for L = 3.

    Parameters
    ----------
    depth : int
        Layers L, in 2..8.
    decay : float
        Positive, and so small that there are minima off the origin: less than the maximum of
        ``t^(L-2) (1 - t^L)``, which is 1 for two layers.

    Raises
    ------
    ValueError
        ``depth`` or ``decay`` out of range.

    Examples
    --------
    >>> import toscore as ts
    >>> surface = ts.surfaces.deep_linear(depth=3)
    >>> len(surface.minima), len(surface.saddles), round(float(surface.barcode.birth.max()), 4)
    (5, 4, 1.0)
    """
    if not 2 <= depth <= 8:
        raise ValueError(f"depth must lie in 2..8, got {depth}")
    turn = ((depth - 2) / (2 * depth - 2)) ** (1 / depth)  # where that function is largest
    most = turn ** (depth - 2) * (1 - turn**depth)
    if not 0 < decay < most:
        raise ValueError(f"decay must lie between 0 and {most:.4g} for {depth} layers, got {decay}")

    def f(p):
        return (1 - p.prod(dim=-1)) ** 2 + decay * (p**2).sum(dim=-1)

    def balance(t):
        return t ** (depth - 2) * (1 - t**depth) - decay

    signs = np.array([c for c in product((1, -1), repeat=depth) if np.prod(c) > 0])
    good, origin = brentq(balance, turn, 1, xtol=1e-15) * signs, np.zeros((1, depth))
    if depth == 2:
        minima, saddles, pairs = good, origin, [(0, 1)]
    else:
        minima, saddles = np.concatenate([good, origin]), brentq(balance, 0, turn) * signs
        pairs = [(k, len(signs)) for k in range(len(signs))]
    name = f"linear network of {depth} layers"
    return _exact(name, f, [(-1.6, 1.6)] * depth, minima, saddles, pairs)


def three_hump_camel() -> Surface:
    """Three-hump camel function on [-2.2, 2.2]^2: 3 minima, 2 saddles; two are mirror images.

    2 x^2 - 1.05 x^4 + x^6 / 6 + x y + y^2; Branin 1972 (doi:10.1147/rd.165.0504).

    Examples
    --------
    >>> import toscore as ts
    >>> ts.surfaces.three_hump_camel().barcode.diagram().round(3).tolist()
    [[0.299, 0.877], [0.299, 0.877]]
    """

    def f(p):
        x, y = p[..., 0], p[..., 1]
        return 2 * x**2 - 1.05 * x**4 + x**6 / 6 + x * y + y**2

    return _exact(
        "three-hump camel",
        f,
        [(-2.2, 2.2), (-2.2, 2.2)],
        minima=[(0, 0), (1.747552, -0.873776), (-1.747552, 0.873776)],
        saddles=[(1.070542, -0.535271), (-1.070542, 0.535271)],
        pairs=[(0, 1), (0, 2)],
    )


def wolfe_quapp() -> Surface:
    """Wolfe and Quapp's quartic on [-2.2, 2.2]^2: 3 minima, 3 saddles, 1 maximum.

    Two of the saddles make the barcode; the third only closes a loop. Quapp 2005
    (doi:10.1063/1.1885467).

    Examples
    --------
    >>> import toscore as ts
    >>> ts.surfaces.wolfe_quapp().barcode.lengths.round(3).tolist()
    [inf, 5.118, 0.157]
    """

    def f(p):
        x, y = p[..., 0], p[..., 1]
        return x**4 + y**4 - 2 * x**2 - 4 * y**2 + x * y + 0.3 * x + 0.1 * y

    return _exact(
        "Wolfe–Quapp",
        f,
        [(-2.2, 2.2), (-2.2, 2.2)],
        minima=[(-1.174056, 1.477087), (1.124102, -1.485274), (-0.821908, -1.366730)],
        saddles=[(-0.303211, -1.401338), (-1.022244, -0.116062), (0.940969, 0.131252)],
        pairs=[(1, 2), (0, 2), (0, 1)],
        higher=[[(0.081199, 0.022656)]],
    )


def branin() -> Surface:
    """Branin's function on [-5, 10] x [0, 15]: 3 equal minima, 2 equal saddles.

    Dixon and Szegő 1978, Towards Global Optimisation 2. Every critical point lies on the parabola
    where the square vanishes, under an extremum of the cosine.

    Examples
    --------
    >>> import toscore as ts
    >>> ts.surfaces.branin().barcode.birth.round(4).tolist()
    [0.3979, 0.3979, 0.3979]
    """
    a, b, c = 5.1 / (4 * np.pi**2), 5 / np.pi, 10 * (1 - 1 / (8 * np.pi))

    def f(p):
        x, y = p[..., 0], p[..., 1]
        return (y - a * x**2 + b * x - 6) ** 2 + c * torch.cos(x) + 10

    x = np.pi * np.arange(-1, 4)
    points = np.stack([x, a * x**2 - b * x + 6], axis=1)
    return _exact("Branin", f, [(-5, 10), (0, 15)], points[::2], points[1::2], [(0, 1), (1, 2)])


def goldstein_price() -> Surface:
    """Goldstein and Price's function on [-2, 2]^2: 4 minima from 3 to 840, 4 saddles, 1 maximum.

    Goldstein and Price 1971 (doi:10.1090/S0025-5718-1971-0312365-X).

    Examples
    --------
    >>> import toscore as ts
    >>> ts.surfaces.goldstein_price().barcode.birth.round(4).tolist()
    [3.0, 30.0, 84.0, 840.0]
    """

    def f(p):
        x, y = p[..., 0], p[..., 1]
        u = 19 - 14 * x + 3 * x**2 - 14 * y + 6 * x * y + 3 * y**2
        v = 18 - 32 * x + 12 * x**2 + 48 * y - 36 * x * y + 27 * y**2
        return (1 + (x + y + 1) ** 2 * u) * (30 + (2 * x - 3 * y) ** 2 * v)

    return _exact(
        "Goldstein–Price",
        f,
        [(-2, 2), (-2, 2)],
        minima=[(0, -1), (-0.6, -0.4), (1.8, 0.2), (1.2, 0.8)],
        saddles=[(-0.4, -0.6), (1.2, -0.2), (1.4, 0.6), (0.6, 0.4)],
        pairs=[(0, 1), (0, 2), (2, 3), (1, 3)],
        higher=[[(0.8, 0.2)]],
    )


def ring() -> Surface:
    """A tilted round valley, (x^2 + y^2 - 1)^2 + 0.3 x on [-2, 2]^2.

    One minimum and no finite segment in degree 0: the saddle closes the valley to a loop, which
    lives until the maximum fills it.

    Examples
    --------
    >>> import toscore as ts
    >>> ts.surfaces.ring().barcode.to_score()
    0.0
    """

    def f(p):
        return ((p**2).sum(dim=-1) - 1) ** 2 + 0.3 * p[..., 0]

    x = np.sort(np.roots([4, 0, -4, 0.3]).real)  # on the axis of symmetry
    minimum, maximum, saddle = ([(u, 0.0)] for u in x)
    return _exact("ring", f, [(-2, 2), (-2, 2)], minimum, saddle, [(0, 0)], [maximum])


def four_wells() -> Surface:
    """Four Gaussian wells in a bowl, on [-2.5, 2.5]^3: 4 minima, 4 saddles, 1 point of index 2.

    Examples
    --------
    >>> import toscore as ts
    >>> ts.surfaces.four_wells().barcode.lengths.round(3).tolist()
    [0.573, inf, 0.329, 0.235]
    """
    place = torch.tensor([[-1, 0, 0], [1, 0.2, 0], [0, 1, 0.6], [0.1, -0.8, -0.5]]).double()
    depth = torch.tensor([1, 1.3, 0.9, 0.7], dtype=torch.float64)

    def f(p):
        far = ((p[..., None, :] - place) ** 2).sum(dim=-1)
        return 0.1 * (p**2).sum(dim=-1) - (depth * torch.exp(-far / 0.35)).sum(dim=-1)

    return _exact(
        "four wells in ℝ³",
        f,
        [(-2.5, 2.5)] * 3,
        minima=[
            (-0.962537, -0.000431, -0.000303),
            (0.969660, 0.195087, 0.000678),
            (0.004550, 0.955842, 0.572752),
            (0.096312, -0.751449, -0.470511),
        ],
        saddles=[
            (0.405933, 0.607143, 0.315366),
            (0.432317, -0.352995, -0.268400),
            (-0.358572, -0.393650, -0.246685),
            (-0.424586, 0.469243, 0.280715),
        ],
        pairs=[(1, 2), (1, 3), (0, 3), (0, 2)],
        higher=[[(-0.039447, 0.100858, 0.027388)]],
    )


def torus() -> Surface:
    """A function on the torus: cos x + 0.6 cos 2y + 0.3 sin y + 0.2 sin(x + y), periods 2 pi.

    2 minima, 4 saddles, 2 maxima. Two of the saddles and one maximum are there because of the torus
    alone: they close its two loops and its surface, and are paired with nothing.

    Examples
    --------
    >>> import toscore as ts
    >>> surface = ts.surfaces.torus()
    >>> [len(points) for points in surface.critical], surface.periodic
    ([2, 4, 2], True)
    """

    def f(p):
        x, y = p[..., 0], p[..., 1]
        return torch.cos(x) + 0.6 * torch.cos(2 * y) + 0.3 * torch.sin(y) + 0.2 * torch.sin(x + y)

    side = (-0.6, 2 * np.pi - 0.6)
    return _exact(
        "function on the torus",
        f,
        [side, side],
        minima=[(np.pi, 1.5 * np.pi), (np.pi, 0.5 * np.pi)],
        saddles=[(3.337127, 0.043981), (2.946058, 3.097611), (0, 1.5 * np.pi), (0, 0.5 * np.pi)],
        pairs=[(0, 1), (0, 1), (0, 0), (1, 1)],
        higher=[[(0.185969, 0.205126), (-0.185969, 2.936466)]],
        periodic=True,
    )
