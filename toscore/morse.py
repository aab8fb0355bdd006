"""The Morse complex of a surface, computed, and its canonical form.

Critical points of every index span the complex; descending gradient trajectories between points of
neighbouring index, counted modulo 2, are its boundary operator. A change of basis that only ever
adds lower points to higher ones brings that operator to a form in which each point has at most one
partner (Barannikov 1994). The values of the partners are the bars of all degrees.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import comb

import numpy as np
import pandas as pd
import torch
from scipy.integrate import solve_ivp
from scipy.stats import qmc

__all__ = [
    "CanonicalForm",
    "boundary",
    "canonical_form",
    "check_outward",
    "critical_points",
    "flow",
    "lasso",
]


def critical_points(surface, n: int = 512, seed: int = 0) -> tuple[torch.Tensor, ...]:
    """All critical points in the box that are found from n spread-out starts.

    Half of them by Newton's method; the others each look for one index first, by following
    eigenvectors of the Hessian (Cerjan and Miller 1981, doi:10.1063/1.442352).

    Parameters
    ----------
    surface : Surface
        Any, ``from_function`` included; where it is periodic, points are wrapped into the box.
    n : int
        Starts: Sobol points, so rounded up to a power of two. No number guarantees that none is
        missed; :func:`boundary` tests it by the alternating sum and by the homology.
    seed : int
        Of the Sobol points.

    Returns
    -------
    tuple of float64 tensors (k, D)
        Those of index 0, 1, …, D, each sorted by value.

    Raises
    ------
    ValueError
        ``n`` below 1, or a degenerate critical point, at which the index means nothing.

    Examples
    --------
    >>> import toscore as ts
    >>> points = ts.morse.critical_points(ts.surfaces.himmelblau(), 128)
    >>> [len(some) for some in points]
    [4, 4, 1]
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    low, high = surface.box.T
    size = _size(surface)
    rng = np.random.default_rng(seed)
    starts = qmc.Sobol(surface.dim, rng=rng).random_base2(max(int(np.ceil(np.log2(n))), 1))
    rng.shuffle(starts)  # the place of a Sobol point has to do with its number
    points = low + (high - low) * torch.from_numpy(starts)
    scale = _hessians(surface, points).norm(dim=(1, 2)).median()
    # every other start looks for one index k: uphill along the k lowest curvatures, else downhill
    number = torch.arange(len(points))
    uphill = torch.arange(surface.dim) < (number // 2 % (surface.dim + 1))[:, None]
    sign, follow = 1 - 2 * uphill.double(), (number % 2 == 0)[:, None]
    for k in range(130):
        _, gradient = surface.loss_and_grad(points)
        curvature, axes = torch.linalg.eigh(_hessians(surface, points))
        if k < 100:
            curvature = torch.where(follow, sign * curvature.abs(), curvature)
        curvature = torch.where(curvature.abs() < 1e-12 * scale, 1e-12 * scale, curvature)
        step = (axes @ ((gradient[:, None] @ axes)[:, 0] / curvature)[..., None])[..., 0]
        moved = step.norm(dim=1)
        points = points - step * (0.05 * size / moved[:, None]).clamp(max=1).nan_to_num(nan=1.0)
        if not surface.periodic:  # those that run away may as well wait at the box
            points = points.clamp(low - 0.02 * size, high + 0.02 * size)
        points = _wrap(surface, points)
    inside = ((low <= points) & (points <= high)).all(dim=1)
    points = points[inside & (moved < 1e-6 * size)]
    kept = points[:0]
    for p in points:
        if not len(kept) or _away(surface, kept, p).norm(dim=-1).min() > 1e-5 * size:
            kept = torch.cat([kept, p[None]])
    kept = kept[torch.argsort(surface.loss(kept), stable=True)] if len(kept) else kept
    if not len(kept):
        return tuple(kept for _ in range(surface.dim + 1))
    curvature = torch.linalg.eigvalsh(_hessians(surface, kept))
    flat = curvature.abs().min(dim=1).values
    bad = (flat <= 1e-6 * curvature.abs().max(dim=1).values) | (flat <= 1e-9 * scale)
    if bad.any():
        raise ValueError(
            f"{surface.name!r} has a degenerate critical point near {_show(kept[bad][0])}, with "
            f"curvatures {_show(curvature[bad][0])}: add a small tilt to make it a Morse function"
        )
    index = (curvature < 0).sum(dim=1)
    return tuple(kept[index == k] for k in range(surface.dim + 1))


def check_outward(surface, n: int = 33) -> None:
    """Refuse a box on a face of which f does not rise towards the outside.

    Only where it rises on each do the critical points inside tell the whole story. A torus has no
    faces.

    Parameters
    ----------
    surface : Surface
        In any number of coordinates, if n to the power of D - 1 points are not too many.
    n : int
        The outward part of the gradient is looked at on a grid of n points in each coordinate.

    Raises
    ------
    ValueError
        Naming the place where f rises least.

    Examples
    --------
    >>> import toscore as ts
    >>> ts.morse.check_outward(ts.surfaces.himmelblau())
    """
    if surface.periodic:
        return
    axes = [torch.linspace(*ends.tolist(), n, dtype=torch.float64) for ends in surface.box]
    for i, ends in enumerate(surface.box):
        for side, end in zip((-1, 1), ends, strict=True):
            face = torch.cartesian_prod(*axes[:i], end[None], *axes[i + 1 :]).reshape(-1, len(axes))
            outward = side * surface.loss_and_grad(face)[1][:, i]
            worst = int(outward.argmin())
            if outward[worst] <= 0:
                raise ValueError(
                    f"{surface.name!r} does not rise towards the outside at {_show(face[worst])} "
                    "on a face of its box, so the critical points inside do not tell the whole "
                    "story: take a larger box, or other coordinates"
                )


def flow(surface, points, up: bool = False) -> np.ndarray:
    """Gradient trajectories from each point, down to where they come to rest, or up.

    They follow the gradient g with speed ``|g| / (|g| + s)``, where s is a hundredth of its typical
    size: the same curves as with speed ``|g|``, but none takes for ever. Just outside a box that
    is not periodic they stop.

    Parameters
    ----------
    surface : Surface
        Whose gradient.
    points : float64 tensor or array (k, D)
        Where the trajectories begin.
    up : bool
        Whether to climb.

    Returns
    -------
    float64 array (m, k, D)
        Positions at m common times; periodic coordinates are not wrapped.

    Raises
    ------
    RuntimeError
        Where some trajectory does not come to rest.

    References
    ----------
    Milnor 1963, Morse theory, section 3.

    Examples
    --------
    >>> import toscore as ts
    >>> path = ts.morse.flow(ts.surfaces.himmelblau(), [[4.0, 4.0]])
    >>> path[-1].round(2).tolist()
    [[3.0, 2.0]]
    """
    points = np.asarray(points, dtype=np.float64)
    size = _size(surface)
    velocity = _velocity(surface, up, slow=1e-2)
    if not len(points):
        return points[None]
    times, path, band = (0, size), [points[None]], surface.dim - 1
    options = {"method": "LSODA", "rtol": 1e-6, "atol": 1e-7 * size, "max_step": size / 100}
    for _ in range(50):
        run = solve_ivp(velocity, times, path[-1][-1].ravel(), lband=band, uband=band, **options)
        path.append(run.y.T[1:].reshape(-1, *points.shape))
        if (there := _at_rest(surface, torch.from_numpy(path[-1][-1]), up)).all():
            return np.concatenate(path)
    raise RuntimeError(
        f"a trajectory of {surface.name!r} from {_show(points[~there.numpy()][0])} does not "
        "come to rest: perhaps it leads to a saddle; then a small tilt helps"
    )


def lasso(surface, top, saddles, step: float = 0.005) -> list[np.ndarray]:
    """A small loop around a point of index 2, sliding down until it hangs on saddles.

    Or until it has shrunk to a point, at a minimum.

    It starts in the unstable plane and follows the descending gradient. Where it stretches, points
    are added half-way; where they crowd, some are dropped. What it sweeps is the unstable disk.

    Parameters
    ----------
    surface : Surface
        The function.
    top : float64 tensor (D,)
        The point of index 2.
    saddles : float64 tensor (m, D)
        All points of index 1; the loop may rest once its highest point is next to one of them.
    step : float
        Largest distance of neighbours on the loop, in diagonals of the box.

    Returns
    -------
    list of float64 arrays (m_t, D)
        The loop, closed by its first point, at successive times; the last one at rest.

    Raises
    ------
    RuntimeError
        Where it does not come to rest.

    Examples
    --------
    >>> import toscore as ts
    >>> surface = ts.surfaces.four_wells()
    >>> loops = ts.morse.lasso(surface, surface.higher[0][0], surface.saddles, step=0.02)
    >>> loops[0].shape
    (48, 3)
    """
    reach = step * _size(surface)
    velocity, band = _velocity(surface, up=False, slow=0.1), surface.dim - 1
    plane = torch.linalg.eigh(_hessians(surface, top[None])[0])[1][:, :2].numpy()
    angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    loop = top.numpy() + 2 * reach * np.column_stack([np.cos(angle), np.sin(angle)]) @ plane.T
    loops, rest = [loop], None
    for k in range(4000):
        options = {"method": "LSODA", "rtol": 1e-6, "atol": 1e-3 * reach}
        run = solve_ivp(velocity, (0, reach), loop.ravel(), lband=band, uband=band, **options)
        loop = run.y[:, -1].reshape(loop.shape)
        while (far := (gap := _gaps(loop)) > reach).any():
            half = (loop + np.roll(loop, -1, axis=0)) / 2
            loop = np.insert(loop, np.flatnonzero(far) + 1, half[far], axis=0)
        crowded = (gap + np.roll(gap, 1) < reach / 2) & (np.arange(len(loop)) % 2 == 1)
        loop = loop[~crowded] if len(loop) > 12 else loop
        loops.append(loop)
        highest = torch.from_numpy(loop[int(surface.loss(loop).argmax())])
        near = (_away(surface, saddles, highest).norm(dim=-1) < 2 * reach).any()
        if rest is None and (near or np.ptp(loop, axis=0).max() < reach):
            rest = 2 * k + 20  # as long again, for the lower saddles
        if k == rest:
            return loops
    raise RuntimeError(
        f"the descending disk of {surface.name!r} at {_show(top)} does not come to rest at the "
        "given saddles: one may be missing"
    )


def boundary(surface, critical) -> list[np.ndarray]:
    """Boundary operator of the Morse complex over the field of two elements, for D up to 3.

    From index 1, both descents of each saddle are followed to minima. Into index D - 1, both
    ascents of each point of that index are followed to maxima, or out of the box. In three
    dimensions, between index 2 and 1, a :func:`lasso` is laid around each point of index 2 and
    slides down; what counts is how often it then runs through each saddle.

    Parameters
    ----------
    surface : Surface
        Unless periodic, it must rise towards the outside on every face of its box, which is checked
        on a grid of each face.
    critical : sequence of float64 tensors (n_k, D)
        All critical points of index 0, …, D, as from :func:`critical_points` or
        ``surface.critical``.

    Returns
    -------
    list of D int64 arrays, (n_0, n_1), …, (n_{D-1}, n_D)
        Number of trajectories, modulo 2, from each point of index k (columns) to each of index
        k - 1 (rows).

    Raises
    ------
    ValueError
        More than three dimensions; a gradient that points into the box; critical points whose
        alternating count is not that of a box (1) or of a torus (0); a trajectory that ends in no
        critical point of the right index; or a result whose square is not zero, or whose homology
        is not that of the box or torus.

    References
    ----------
    Barannikov 1994, "The framed Morse complex and its invariants"; Milnor 1965, Lectures on the
    h-cobordism theorem, section 7.

    Examples
    --------
    Each column is a saddle, each 1 a minimum that one of its descents reaches:

    >>> import toscore as ts
    >>> surface = ts.surfaces.three_hump_camel()
    >>> ts.morse.boundary(surface, surface.critical)[0].tolist()
    [[1, 1], [1, 0], [0, 1]]
    """
    dim, name = surface.dim, surface.name
    if dim > 3:
        raise ValueError(f"{name!r} has {dim} coordinates: boundaries are computed for up to 3")
    if len(critical) != dim + 1:
        raise ValueError(f"critical must list the points of index 0 to {dim}, got {len(critical)}")
    check_outward(surface)
    counts = [len(points) for points in critical]
    euler = sum((-1) ** k * c for k, c in enumerate(counts))
    if euler != (wanted := 0 if surface.periodic else 1):
        raise ValueError(
            f"{name!r} has {counts} critical points of index 0 to {dim}: their alternating sum is "
            f"{euler}, not {wanted}, so some are missing or wrong: search from more starts"
        )
    result = [np.zeros(pair, dtype=np.int64) for pair in pairwise(counts)]
    np.add.at(result[0].T, _ends(surface, critical[1], critical[0], up=False), 1)
    if dim > 1:
        np.add.at(result[-1], _ends(surface, critical[-2], critical[-1], up=True), 1)
    if dim == 3 and len(critical[1]):
        for j, top in enumerate(critical[2]):
            result[1][:, j] = _runs_through(
                surface, lasso(surface, top, critical[1])[-1], critical[1]
            )
    result = [matrix % 2 for matrix in result]
    for k, (lower, upper) in enumerate(pairwise(result)):
        if (lower @ upper % 2).any():
            raise ValueError(
                f"the boundary of a boundary is not zero from index {k + 2} to {k}: a trajectory "
                "was missed; perhaps a saddle leads to a saddle, and a small tilt helps"
            )
    # the homology of a box or a torus is known: a trajectory that was missed would show
    form = canonical_form([surface.loss(c) if len(c) else [] for c in critical], result)
    betti = np.bincount(form.essential[:, 0], minlength=dim + 1).tolist()
    known = [comb(dim, k) if surface.periodic else int(k == 0) for k in range(dim + 1)]
    if betti != known:
        raise ValueError(
            f"the complex of {name!r} has Betti numbers {betti}, its domain {known}: critical "
            "points or trajectories are missing"
        )
    return result


@dataclass(frozen=True, eq=False)
class CanonicalForm:
    """A filtered complex in canonical form: each basis element has at most one partner.

    Attributes
    ----------
    values : tuple of float64 arrays (n_k,)
        Values of the points of index k.
    pairs : int64 array (m, 3)
        Degree k, the row of the point of index k that gives birth, and of that of index k + 1
        that ends it.
    essential : int64 array (e, 2)
        Degree and row of each point without a partner.
    basis : tuple of int64 arrays (n_k, n_k)
        Column j is the new basis element with highest point j, in terms of the old ones.
    boundary : tuple of int64 arrays (n_{k-1}, n_k)
        The boundary operator in the new basis: a 1 for each pair, and zeros.

    Examples
    --------
    >>> import toscore as ts
    >>> form = ts.morse.canonical_form([[0.0, 1.0], [3.0]], [[[1], [1]]])
    >>> form.pairs.tolist(), form.essential.tolist()
    ([[0, 1, 0]], [[0, 0]])
    """

    values: tuple[np.ndarray, ...]
    pairs: np.ndarray
    essential: np.ndarray
    basis: tuple[np.ndarray, ...]
    boundary: tuple[np.ndarray, ...]

    def bars(self, degree: int) -> np.ndarray:
        """Births and deaths in a degree, float64 (n, 2); death is ``inf`` where there is none.

        Parameters
        ----------
        degree : int
            From 0 to D.

        Examples
        --------
        >>> import toscore as ts
        >>> ts.morse.canonical_form([[0.0, 1.0], [3.0]], [[[1], [1]]]).bars(0).tolist()
        [[0.0, inf], [1.0, 3.0]]
        """
        pairs = self.pairs[self.pairs[:, 0] == degree]
        alone = self.essential[self.essential[:, 0] == degree, 1]
        birth = self.values[degree][np.concatenate([pairs[:, 1], alone])]
        death = self.values[degree + 1][pairs[:, 2]] if len(pairs) else np.empty(0)
        bars = np.column_stack([birth, np.concatenate([death, np.full(len(alone), np.inf)])])
        return bars[np.lexsort(bars.T[::-1])]

    def to_frame(self) -> pd.DataFrame:
        """One row a bar: degree, birth, death, and which points (-1: none) they are.

        Examples
        --------
        >>> import toscore as ts
        >>> ts.morse.canonical_form([[0.0, 1.0], [3.0]], [[[1], [1]]]).to_frame()
           degree  birth  death  creator  destroyer
        0       0    0.0    inf        0         -1
        1       0    1.0    3.0        1          0
        """
        rows = [(k, self.values[k][i], self.values[k + 1][j], i, j) for k, i, j in self.pairs]
        rows += [(k, self.values[k][i], np.inf, i, -1) for k, i in self.essential]
        columns = ["degree", "birth", "death", "creator", "destroyer"]
        return pd.DataFrame(sorted(rows), columns=columns)


def canonical_form(values, boundary, modulus: int = 2) -> CanonicalForm:
    """Canonical form of a complex whose basis elements have values (Barannikov 1994).

    Parameters
    ----------
    values : sequence of D + 1 float arrays (n_k,)
        Values of the points of index k, in any order; equal ones count as rising by number.
    boundary : sequence of D integer arrays (n_{k-1}, n_k)
        As from :func:`boundary`.
    modulus : int
        A prime: coefficients are the integers modulo it.

    Returns
    -------
    CanonicalForm
        With ``boundary_k @ basis_k`` equal to ``basis_{k-1} @ canonical_k``, modulo the prime.

    Raises
    ------
    ValueError
        Shapes that do not fit, a modulus that is no prime, values that are not finite, an element
        whose boundary is higher than itself, or a boundary of a boundary that is not zero.

    References
    ----------
    Barannikov 1994, "The framed Morse complex and its invariants"; arXiv:1912.00043, section 2.

    Examples
    --------
    >>> import toscore as ts
    >>> form = ts.morse.canonical_form([[0.0, 1.0], [3.0]], [[[1], [1]]])
    >>> form.bars(0).tolist()
    [[0.0, inf], [1.0, 3.0]]
    """
    values = tuple(np.asarray(v, dtype=np.float64).reshape(-1) for v in values)
    matrices = [np.asarray(m) for m in boundary]
    _check_complex(values, matrices, modulus)
    rank = [np.argsort(np.argsort(v, kind="stable"), kind="stable") for v in values]
    basis = tuple(np.eye(len(v), dtype=np.int64) for v in values)
    form, pairs = [], []
    for k, matrix in enumerate(matrices):
        rest = matrix.astype(np.int64) % modulus  # boundaries of the new basis elements
        owner = {}  # highest point of a boundary -> whose boundary
        for j in np.argsort(rank[k + 1]):
            while rest[:, j].any():
                there = np.flatnonzero(rest[:, j])
                top = int(there[np.argmax(rank[k][there])])
                if top not in owner:
                    owner[top] = j
                    break
                i = owner[top]  # lower than j: subtract it, so that the top cancels
                factor = int(rest[top, j]) * pow(int(rest[top, i]), -1, modulus) % modulus
                for columns in (rest, basis[k + 1]):
                    columns[:, j] = (columns[:, j] - factor * columns[:, i]) % modulus
        form.append(np.zeros_like(rest))
        for top, j in owner.items():
            basis[k][:, top] = rest[:, j]  # what j ends becomes a basis element
            form[-1][top, j] = 1
            pairs.append((k, top, j))
    pairs = np.array(sorted(pairs), dtype=np.int64).reshape(-1, 3)
    used = {(k, i) for k, i, _ in pairs.tolist()} | {(k + 1, j) for k, _, j in pairs.tolist()}
    every = [(k, i) for k, v in enumerate(values) for i in range(len(v))]
    alone = np.array([c for c in every if c not in used], dtype=np.int64).reshape(-1, 2)
    return CanonicalForm(values, pairs, alone, basis, tuple(form))


# -- helpers ---------------------------------------------------------------------------------------


def _show(x) -> list[float]:
    return [float(f"{v:.6g}") for v in x]


def _hessians(surface, points) -> torch.Tensor:
    """(k, D) -> (k, D, D)."""
    return surface.hvp(points[:, None], torch.eye(surface.dim, dtype=torch.float64))


def _size(surface) -> float:
    return float((surface.box[:, 1] - surface.box[:, 0]).norm())


def _velocity(surface, up: bool, slow: float):
    """Right-hand side of the gradient flow of a stack of points, flattened, at limited speed."""
    low, high = surface.box.T.numpy()
    brake = 0.01 * _size(surface)
    typical = float(surface.loss_and_grad(surface.sample(64))[1].norm(dim=1).median())

    def velocity(_, x):
        x = x.reshape(-1, surface.dim)
        gradient = surface.loss_and_grad(x)[1].numpy()
        speed = gradient / (slow * typical + np.linalg.norm(gradient, axis=1, keepdims=True))
        if not surface.periodic:  # a brake outside; one that sets in at once would stall the solver
            outside = np.maximum(low - x, x - high).max(axis=1, keepdims=True)
            speed *= np.clip(1 - outside / brake, 0, 1)
        return (speed if up else -speed).ravel()

    return velocity


def _wrap(surface, points) -> torch.Tensor:
    low, high = surface.box.T
    return low + torch.remainder(points - low, high - low) if surface.periodic else points


def _away(surface, a, b) -> torch.Tensor:
    """b - a, the short way round where the surface is periodic."""
    low, high = surface.box.T
    step = b - a
    return step - (high - low) * torch.round(step / (high - low)) if surface.periodic else step


def _outside(surface, points) -> torch.Tensor:
    """Which points (k, D) are not in the box; a torus has no outside."""
    low, high = surface.box.T
    return ((points < low) | (points > high)).any(dim=1) & (not surface.periodic)


def _at_rest(surface, points, up: bool) -> torch.Tensor:
    """Outside the box, or close to an extremum: one Newton step away, with a definite Hessian."""
    hessian, (_, gradient) = _hessians(surface, points), surface.loss_and_grad(points)
    curvature, axes = torch.linalg.eigh(-hessian if up else hessian)
    convex = curvature[:, 0] > 0
    step = (gradient[:, None] @ axes)[:, 0] / curvature.abs()
    return _outside(surface, points) | (convex & (step.norm(dim=1) < 1e-4 * _size(surface)))


def _ends(surface, starts, targets, up: bool) -> tuple[np.ndarray, np.ndarray]:
    """Both trajectories along the extreme curvature of each start: whose, and which target.

    Those that climb out of the box are left out.
    """
    if not len(starts):
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    size = _size(surface)
    direction = torch.linalg.eigh(_hessians(surface, starts))[1][..., -1 if up else 0]
    step = 1e-4 * size * torch.cat([direction, -direction])
    end = torch.from_numpy(flow(surface, starts.repeat(2, 1) + step, up)[-1])
    left = _outside(surface, end)
    far = torch.full((len(end), 1), torch.inf, dtype=torch.float64)  # there may be no target
    distance = torch.cat([_away(surface, end[:, None], targets).norm(dim=-1), far], dim=1)
    nearest, which = distance.min(dim=1)
    lost = ~left & (nearest > 1e-3 * size)
    if lost.any():
        k = int(lost.nonzero()[0])
        raise ValueError(
            f"a trajectory {'up' if up else 'down'} from the critical point "
            f"{_show(starts[k % len(starts)])} of {surface.name!r} ends at {_show(end[k])}, which "
            "is none of the points given: one is missing, or a saddle leads to a saddle (then a "
            "small tilt helps)"
        )
    return np.tile(np.arange(len(starts)), 2)[~left], which[~left].numpy()


def _gaps(loop) -> np.ndarray:
    return np.linalg.norm(np.roll(loop, -1, axis=0) - loop, axis=1)


def _runs_through(surface, loop, saddles) -> list[int]:
    """How often a loop at rest crosses the stable disk of each saddle, close to it."""
    down = torch.linalg.eigh(_hessians(surface, saddles))[1][..., 0]
    near = 4 * _gaps(loop).max()
    counts = []
    for saddle, direction in zip(saddles, down, strict=True):
        away = _away(surface, saddle, torch.from_numpy(loop))
        side = (away @ direction > 0).numpy()
        close = (away.norm(dim=-1) < near).numpy()
        counts.append(int(np.sum((side != np.roll(side, -1)) & close & np.roll(close, -1))))
    return counts


def _check_complex(values, matrices, modulus: int) -> None:
    if modulus >= 2**31:
        raise ValueError(f"modulus must be below 2^31, for products in int64, got {modulus}")
    if modulus < 2 or any(modulus % q == 0 for q in range(2, int(modulus**0.5) + 1)):
        raise ValueError(f"modulus must be a prime, got {modulus}")
    wanted = [(len(a), len(b)) for a, b in pairwise(values)]
    shapes = [m.shape for m in matrices]
    if shapes != wanted:
        raise ValueError(f"boundary must have matrices of shapes {wanted}, got {shapes}")
    for k, v in enumerate(values):
        if not np.isfinite(v).all():
            raise ValueError(f"values must be finite, got {v.tolist()} in degree {k}")
    for k, matrix in enumerate(matrices):
        if not np.issubdtype(matrix.dtype, np.integer):
            raise ValueError(f"boundary must have integers, got {matrix.dtype} in degree {k + 1}")
        rows, columns = np.nonzero(matrix % modulus)
        for i, j in zip(rows, columns, strict=True):
            if values[k][i] > values[k + 1][j]:
                raise ValueError(
                    f"point {j} of index {k + 1}, at {values[k + 1][j]:g}, has point {i} of index "
                    f"{k}, at {values[k][i]:g}, in its boundary: trajectories must descend"
                )
        if k and (matrices[k - 1] @ matrix % modulus).any():
            raise ValueError(f"the boundary of a boundary is not zero from degree {k + 1}")
