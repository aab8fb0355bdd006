"""Passes between minima: low paths, the saddles on them, and how far to trust both.

The maximum of f along *any* path from one minimum to another is an upper bound of the true pass
between them, so two methods can be ranked without knowing the truth: the lower value is better.
That holds only if the maximum is really found, so it is searched densely and then refined.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pandas as pd
import torch
from scipy.cluster.hierarchy import cophenet, linkage
from scipy.spatial.distance import squareform

from toscore import curves
from toscore.barcode import Barcode, _pair_array, _spanning_passes, barcode_of_minima
from toscore.curves import Curve, bezier
from toscore.minima import Minima, find_minima, progress_bar
from toscore.passes import LEVEL, TIGHT, Pass, tighten
from toscore.saddles import DENSE

__all__ = ["Paths", "certify", "connect", "loss_barcode"]

_ESTIMATES = 2, 6  # blocks that tell a pair worth refining from one that is not
NOT_TRIED = "not tried"


@dataclass(frozen=True, eq=False)
class Paths:
    """One path for each pair of minima, and the pass on it.

    Attributes
    ----------
    pairs : int64 array (P, 2)
        The two minima a path connects.
    saddle : float64 array (P,)
        The height of the pass: f at the saddle where one was certified, else ``maximum``.
    points : tensor (P, D)
        Where that is.
    maximum : float64 array (P,)
        The largest value of f found along the path: an upper bound of the true pass.
    t : float64 array (P,)
        Where the path is highest: its parameter on the curve, in [0, 1].
    profiles : float64 array (P, T)
        f along the path.
    profile_t : float64 array (T,)
        The parameters of the columns of ``profiles``, from 0 to 1.
    controls : tuple of P tensors (K, D)
        Bézier control points of each path, the two minima included. :meth:`at` evaluates them.
    pieces : int64 array (P,)
        Bézier curves that a path is made of, end to end: 1, or more where it was certified.
    restarts : float64 array (P, R)
        The path's maximum in each of R independent runs, before it was certified.
    rested : bool array (P,)
        Whether the path of every run had stopped sinking by then (see ``settled`` of
        :func:`connect`). Where it is False the budget or the time ended first: more might
        lower it.
    certificates : DataFrame
        One row a pass: ``verdict`` (that of :class:`Saddle`; "elsewhere" where no path of this
        height was found to lead over the saddle; "level" where the path is no higher than its end,
        to a millionth, and so as low as can be; or "not tried"), ``grad_norm``, the two lowest
        eigenvalues of the Hessian ``lowest`` and ``second``, the distance ``moved`` from the first
        path's top to the saddle, and the Hessian-vector ``products`` spent.
    skipped : int
        Pairs of minima that were not refined, as they seemed unable to lower a merge of the barcode
        by more than ``tol`` (see :func:`connect`).
    history : DataFrame
        One row a pair, run and block: the ``evaluations`` and ``seconds`` spent in that run
        so far, and the ``excess`` of its lowest path, where it was looked at.
    evaluations : int
        Points at which f or its gradient was computed, over all pairs, skipped ones included; but
        not those of the dense searches for the highest point of a finished path.
    seconds : float

    Examples
    --------
    >>> import toscore as ts
    >>> surface = ts.surfaces.mueller_brown()
    >>> paths = ts.connect(surface, surface.minima, [[0, 2], [1, 2]], progress=False)
    >>> paths.pairs.tolist(), paths.saddle.round(1).tolist()
    ([[0, 2], [1, 2]], [-40.7, -72.2])
    """

    pairs: np.ndarray
    saddle: np.ndarray
    points: torch.Tensor
    maximum: np.ndarray
    t: np.ndarray
    profiles: np.ndarray
    profile_t: np.ndarray
    controls: tuple[torch.Tensor, ...]
    pieces: np.ndarray
    restarts: np.ndarray
    rested: np.ndarray
    certificates: pd.DataFrame
    skipped: int
    history: pd.DataFrame
    evaluations: int
    seconds: float

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def floor(self) -> np.ndarray:
        """f at the higher end of each path, float64 (P,); no pass is lower.

        Examples
        --------
        >>> import toscore as ts
        >>> surface = ts.surfaces.mueller_brown()
        >>> ts.connect(surface, surface.minima, [[1, 2]], progress=False).floor.round(1).tolist()
        [-80.8]
        """
        return np.maximum(self.profiles[:, 0], self.profiles[:, -1])

    @property
    def excess(self) -> np.ndarray:
        """Height of each pass over the higher of its two ends, (P,).

        Examples
        --------
        >>> import toscore as ts
        >>> surface = ts.surfaces.mueller_brown()
        >>> ts.connect(surface, surface.minima, [[1, 2]], progress=False).excess.round(1).tolist()
        [8.5]
        """
        return self.saddle - self.floor

    @property
    def spread(self) -> np.ndarray:
        """Highest less lowest maximum among the independent runs, (P,).

        NaN after one run, and where a run met no number.

        Examples
        --------
        >>> import toscore as ts
        >>> surface = ts.surfaces.himmelblau()
        >>> paths = ts.connect(surface, surface.minima, [[0, 1]], restarts=2, progress=False)
        >>> paths.restarts.shape, bool(paths.spread[0] >= 0)
        ((1, 2), True)
        """
        if self.restarts.shape[1] < 2:
            return np.full(len(self), np.nan)
        return np.ptp(self.restarts, axis=1)

    @property
    def certified(self) -> np.ndarray:
        """True where the path is as low as a saddle of index 1 or its higher end, bool (P,).

        Examples
        --------
        >>> import toscore as ts
        >>> surface = ts.surfaces.mueller_brown()
        >>> ts.connect(surface, surface.minima, [[1, 2]], progress=False).certified.tolist()
        [True]
        """
        sure = self.certificates["verdict"].isin(["index 1", LEVEL])
        return sure.to_numpy(dtype=bool, copy=True)

    def at(self, row: int, t) -> torch.Tensor:
        """Points of one path.

        Parameters
        ----------
        row : int
            Which path.
        t : real (m,)
            Parameters in [0, 1].

        Returns
        -------
        tensor (m, D)

        Examples
        --------
        >>> import toscore as ts
        >>> surface = ts.surfaces.mueller_brown()
        >>> paths = ts.connect(surface, surface.minima, [[0, 1]], progress=False)
        >>> paths.at(0, [0.0, 1.0]).allclose(surface.minima[:2])
        True
        """
        t = torch.as_tensor(t)[None]
        return bezier(self.controls[row][None], t, int(self.pieces[row]))[0]

    def along(self, t) -> torch.Tensor:
        """Points of every path at the same parameters.

        Parameters
        ----------
        t : real (m,)
            Parameters in [0, 1].

        Returns
        -------
        tensor (P, m, D)

        Examples
        --------
        >>> import toscore as ts
        >>> surface = ts.surfaces.mueller_brown()
        >>> paths = ts.connect(surface, surface.minima, [[0, 2], [1, 2]], progress=False)
        >>> paths.along([0.0, 0.5, 1.0]).shape
        torch.Size([2, 3, 2])
        """
        points = [self.at(row, t) for row in range(len(self))]
        return torch.stack(points) if points else self.points[:, None].expand(-1, len(t), -1)

    def to_frame(self) -> pd.DataFrame:
        """Tidy table, one row a pass.

        Examples
        --------
        >>> import toscore as ts
        >>> surface = ts.surfaces.mueller_brown()
        >>> paths = ts.connect(surface, surface.minima, [[0, 2], [1, 2]], progress=False)
        >>> paths.to_frame()[["i", "j", "saddle", "certified"]].round(1)
           i  j  saddle  certified
        0  0  2   -40.7       True
        1  1  2   -72.2       True
        """
        columns = {"i": self.pairs[:, 0], "j": self.pairs[:, 1], "saddle": self.saddle}
        columns |= {"excess": self.excess, "maximum": self.maximum, "t": self.t}
        columns |= {"spread": self.spread, "certified": self.certified}
        columns |= {"rested": self.rested}
        return pd.DataFrame(columns).join(self.certificates)

    def barcode(self, losses) -> Barcode:
        """The barcode of minima with these losses (N,) and passes, with intervals of its deaths.

        The interval of a certified pass goes from the saddle to its path's maximum; that of any
        other from what its path has come down to, to the highest maximum of the independent runs
        (of those that met finite values only).

        Parameters
        ----------
        losses : real (N,)
            Those of the minima that the paths connect.

        Raises
        ------
        ValueError
            Losses that are not finite, fewer than the pairs name, or other than those at the ends
            of the paths.

        Examples
        --------
        >>> import toscore as ts
        >>> surface = ts.surfaces.mueller_brown()
        >>> paths = ts.connect(surface, surface.minima, [[0, 2], [1, 2]], progress=False)
        >>> paths.barcode(surface.loss(surface.minima)).diagram().round(1).tolist()
        [[-108.2, -40.7], [-80.8, -72.2]]
        """
        _refuse_other_losses(losses, self.pairs, self.profiles)
        known = np.where(np.isfinite(self.restarts), self.restarts, -np.inf)
        high = np.maximum(known.max(axis=1, initial=-np.inf), self.maximum)
        high = np.where(self.certified, self.maximum, high)
        return barcode_of_minima(losses, self.pairs, self.saddle, (self.saddle, high))


def connect(
    landscape,
    minima,
    pairs="needed",
    *,
    budget: int = 4000,
    seconds: float | None = None,
    tol: float = 0.1,
    settled: float = 0.0,
    restarts: int = 1,
    certified: bool = True,
    seed: int = 0,
    progress: bool = True,
) -> Paths:
    """The lowest passes that can be found between minima.

    All paths are Bézier curves relaxed side by side: L-BFGS lowers a smooth maximum of f over
    points drawn on the curve, in blocks of 25 iterations, each with new points. A cubic curve seen
    at 6 points comes first; it is given more control points and more points as it sinks, up to
    degree 24 and 48 points, and the smooth maximum becomes sharper. L-BFGS takes what it knows of
    the curvature along. Steps that lead up, or to where f is not finite, are cut, and the lowest
    curve of all blocks is kept. Then the paths that make the barcode are lowered further, until
    they are as high as a saddle of the loss; see :func:`certify`.

    Parameters
    ----------
    landscape : Landscape or Surface
    minima : Minima or tensor (N, D)
        A point that is not stationary is an upper bound of the minimum next to it, and its
        segment's birth too; its path may well be highest at its end.
    pairs : "needed", "all" or int (P, 2)
        Which minima to connect. "needed" estimates all pairs by two blocks, refines those of the
        minimum spanning tree, and then those that might still lower a merge of the barcode by more
        than ``tol`` of its excess; the others are counted in ``skipped``. (On analytic surfaces,
        which cost nothing, it means all.) Minima that given pairs leave apart stay ``unmerged`` in
        the barcode.
    budget : int
        Points at which f or its gradient may be computed for one path in one run; a path may rest
        earlier. Below 200 or so it stays a straight line.
    seconds : float, optional
        Stop after about this time, whatever is left of the budget.
    tol : float
        For "needed", see there.
    settled : float
        A path rests when it has sunk by less than this share of its excess while the evaluations
        spent on it doubled. With 0 it goes on while it sinks at all, by a thousandth in six blocks.
    restarts : int
        Independent runs for each pair, each from another first curve; the lowest is kept, and all
        their maxima are in ``restarts``.
    certified : bool
        Whether to go on to saddles where it matters for the barcode. In many dimensions that takes
        far longer than the paths.
    seed : int
        For the points drawn; the path of (i, j) depends on (seed, i, j) and its ends alone, up to
        rounding.
    progress : bool
        Show progress bars.

    Returns
    -------
    Paths
        Rows follow ``pairs``, or the order (0, 1), (0, 2), … where they are chosen here.

    Raises
    ------
    ValueError
        Pairs out of range, doubled or of a minimum with itself; two identical minima to connect; a
        budget, time, tolerance or number of runs below its least value.
    FloatingPointError
        Minima with parameters or losses that are not finite; a path on which f is not.

    References
    ----------
    Garipov et al. 2018 (arXiv:1802.10026), section 3, for curves trained at random points; Liu and
    Nocedal 1989 (doi:10.1007/BF01589116) for L-BFGS.

    Examples
    --------
    >>> import toscore as ts
    >>> surface = ts.surfaces.himmelblau()
    >>> paths = ts.connect(surface, surface.minima, [[0, 1], [1, 2]], progress=False)
    >>> paths.saddle.round(2).tolist(), paths.certified.tolist()
    ([67.72, 104.02], [True, True])
    """
    theta = minima.theta if isinstance(minima, Minima) else torch.as_tensor(minima)
    if theta.ndim != 2 or theta.shape[1] != landscape.dim:
        raise ValueError(f"minima must have shape (N, {landscape.dim}), got {tuple(theta.shape)}")
    theta = theta.to(landscape.device, landscape.dtype)
    for name, value, least in (
        *(("budget", budget, 1), ("restarts", restarts, 1)),
        *(("tol", tol, 0), ("settled", settled, 0)),
    ):
        if not value >= least:
            raise ValueError(f"{name} must be at least {least}, got {value}")
    if seconds is not None and not seconds > 0:
        raise ValueError(f"seconds must be positive, got {seconds}")
    lazy = isinstance(pairs, str) and pairs == "needed"
    pairs = _checked_pairs("all" if lazy else pairs, len(theta))
    _refuse_unconnectable(landscape, theta, pairs)
    began = time.perf_counter()
    paths_until = np.inf
    if seconds is not None:
        last = restarts * len(pairs) * _measuring(landscape, theta)
        paths_until = began + (0.6 if certified else 1.0) * seconds - last
    with progress_bar(progress, desc="paths", unit=" blocks") as bar:

        def relax(some, blocks=None, share=1.0):
            for c in some:
                c.settled = settled
            deadline = time.perf_counter() + share * (paths_until - time.perf_counter())
            curves.relax(landscape, some, budget, blocks, deadline, seed, bar)

        tried = [Curve.first(theta, i, j, 0, seed) for i, j in pairs.tolist()]
        runs = [tried]
        if lazy and len(theta) > 2 and hasattr(landscape, "inputs"):
            runs = [_refine_needed(tried, tol, relax)]
        else:
            relax(tried, share=1 / restarts)
        for k in range(1, restarts):
            runs.append([Curve.first(theta, c.i, c.j, k, seed) for c in runs[0]])
            relax(runs[k], share=1 / (restarts - k))
    spent = sum(c.evaluations for c in tried) + sum(c.evaluations for r in runs[1:] for c in r)
    paths = _measured(landscape, runs)
    paths = replace(paths, skipped=len(pairs) - len(paths), evaluations=spent)
    if certified:
        left = None if seconds is None else max(1e-9, began + seconds - time.perf_counter())
        # the whole Hessian of a small model costs far less than so many products one by one
        spend = (50 if landscape.dim <= DENSE else 5) * budget
        paths = certify(landscape, paths, budget=spend, seconds=left, seed=seed, progress=progress)
    return replace(paths, seconds=time.perf_counter() - began)


def certify(
    landscape,
    paths: Paths,
    rows=None,
    *,
    budget: int = 100_000,
    seconds: float | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Paths:
    """Lower paths until each is as high as a saddle of index 1 on it, in float64.

    From the highest point of a path :func:`find_saddle` follows the ridge down to a critical point.
    The path is led through where that ends and relaxed on both sides. If that does not lower it,
    the hill around the highest point is relaxed alone, with as many control points as the whole
    path had. So it goes on, hill by hill, until the path's maximum and a saddle of index 1 agree
    within 1 % of the excess (or a millionth of f), or the budget is spent.

    Parameters
    ----------
    landscape : Landscape or Surface
    paths : Paths
    rows : int (k,) or bool (P,), optional
        Which paths; by default those of the minimum spanning tree, which make the barcode, those
        that come into it as the others sink, and in the end those that are higher by no more than
        that 1 %: relaxed further, they might undercut the tree.
    budget : int
        Evaluations of f or its gradient and Hessian-vector products for one path, together. The
        round that is under way is finished.
    seconds : float, optional
        Begin no path after this time, nor another round.
    seed, progress
        As in :func:`connect`.

    Returns
    -------
    Paths
        ``maximum`` is lower where that succeeded, and never higher. Where ``certified``, ``saddle``
        and ``points`` are the saddle's (with the verdict "level", those of the path's top), and the
        difference to ``maximum`` is what is unproven.

    Raises
    ------
    ValueError
        A budget below 1, rows out of range, or a mask of another length.
    TypeError
        Rows that are neither integers nor a mask.

    References
    ----------
    See :func:`find_saddle`.

    Examples
    --------
    >>> import toscore as ts
    >>> surface = ts.surfaces.himmelblau()
    >>> paths = ts.connect(surface, surface.minima, [[0, 1]], certified=False, progress=False)
    >>> ts.certify(surface, paths, progress=False).certificates.verdict.tolist()
    ['index 1']
    """
    if budget < 1:
        raise ValueError(f"budget must be at least 1, got {budget}")
    given = None if rows is None else _checked_rows(rows, len(paths))
    until = np.inf if seconds is None else time.perf_counter() + seconds
    n, tried = int(paths.pairs.max(initial=-1)) + 1, set()
    with progress_bar(progress, desc="saddles", unit=" paths") as bar:
        while True:
            wanted = _spanning_passes(n, paths.pairs, paths.saddle) if given is None else given
            todo = [k for k in np.asarray(wanted, dtype=np.int64).tolist() if k not in tried]
            if not todo and given is None:
                todo = [k for k in _close_to_merges(n, paths) if k not in tried]
            if not todo or time.perf_counter() > until:
                return paths
            row = todo[0]
            tight = tighten(
                landscape,
                paths.controls[row],
                int(paths.pieces[row]),
                budget=budget,
                until=until,
                seed=seed,
            )
            paths = _with_pass(landscape, paths, row, tight)
            tried.add(row)
            bar.update()


def _checked_rows(rows, n: int) -> np.ndarray:
    rows = np.asarray(rows)
    if rows.dtype == bool:
        if rows.shape != (n,):
            raise ValueError(f"a mask of rows must have shape ({n},), got {rows.shape}")
        return np.flatnonzero(rows)
    if len(rows) and rows.dtype.kind not in "iu":
        raise TypeError(f"rows must be integers or a mask, got {rows.dtype}")
    if len(rows) and not (rows.min() >= 0 and rows.max() < n):
        raise ValueError(f"rows must lie in 0..{n - 1}, got {rows.tolist()}")
    return rows.astype(np.int64)


def _close_to_merges(n: int, paths: Paths) -> list[int]:
    """Rows whose pass is hardly above the one between their ends in the spanning tree."""
    if not len(paths):
        return []
    low, high = paths.saddle.min(), paths.saddle.max()
    matrix = np.full((n, n), high - low + 1.0)  # no path
    i, j = paths.pairs.T
    matrix[i, j] = matrix[j, i] = paths.saddle - low
    np.fill_diagonal(matrix, 0.0)
    merge = low + squareform(cophenet(linkage(squareform(matrix), "single")))[i, j]
    near = TIGHT[0] * (merge - paths.floor) + TIGHT[1] * np.maximum(1.0, np.abs(merge))
    close = np.flatnonzero(paths.saddle - merge <= near)
    return close[np.argsort(paths.saddle[close], kind="stable")].tolist()


def _with_pass(landscape, paths: Paths, row: int, tight: Pass) -> Paths:
    """Paths with one of them lowered and certified."""
    certified = tight.verdict in ("index 1", LEVEL)
    if paths.certified[row] and not certified and not tight.maximum < paths.saddle[row]:
        # what is proven stays
        return replace(paths, evaluations=paths.evaluations + tight.evaluations)
    controls = tight.controls.to(paths.points)
    profile, t, maximum = (x[0] for x in curves.highest(landscape, controls[None], tight.pieces))
    if not maximum <= paths.maximum[row]:  # rounded to float32 it may be higher, or no number
        controls, pieces = paths.controls[row], paths.pieces[row]
        profile, t, maximum = paths.profiles[row], paths.t[row], paths.maximum[row]
    else:
        pieces = tight.pieces
    top = bezier(controls[None], [[t]], int(pieces))[0, 0]
    certificate = _certificate(tight.saddle, tight.verdict, tight.moved, tight.products)
    new = {
        "saddle": min(tight.saddle.value, maximum) if certified else maximum,
        "points": tight.saddle.point.to(top) if certified else top,
        "maximum": maximum,
        "t": t,
        "profiles": profile,
        "pieces": pieces,
    }
    changed = {key: _clone(getattr(paths, key)) for key in new}
    for key, value in new.items():
        changed[key][row] = value
    table = paths.certificates.to_dict("records")
    table[row] = certificate
    return replace(
        paths,
        controls=(*paths.controls[:row], controls, *paths.controls[row + 1 :]),
        certificates=pd.DataFrame(table, columns=list(certificate)),
        evaluations=paths.evaluations + tight.evaluations,
        **changed,
    )


def _clone(x):
    return x.clone() if torch.is_tensor(x) else x.copy()


def loss_barcode(
    landscape, n: int = 6, seed: int = 0, *, minima=None, paths=None, progress: bool = True
) -> Barcode:
    """Minima, paths and barcode of a landscape in one call.

    Parameters
    ----------
    landscape : Landscape or Surface
    n, seed : int
        Number of starting points, and the seed of everything random.
    minima, paths : dict, optional
        Further settings of :func:`find_minima` and :func:`connect`.
    progress : bool
        Show progress bars.

    Returns
    -------
    Barcode
        Every finite segment's death is a certified saddle, or a path's maximum and so an upper
        bound of the pass; see ``death_interval``.

    Raises
    ------
    ValueError, FloatingPointError
        As :func:`find_minima` and :func:`connect`.

    Examples
    --------
    >>> import toscore as ts
    >>> code = ts.loss_barcode(ts.surfaces.mueller_brown(), 12, progress=False)
    >>> code.diagram().round(1).tolist()
    [[-108.2, -40.7], [-80.8, -72.2]]
    """
    found = find_minima(landscape, n, seed, **{"progress": progress} | (minima or {}))
    passes = connect(landscape, found, **{"seed": seed, "progress": progress} | (paths or {}))
    return passes.barcode(found.loss)


def _checked_pairs(pairs, n: int) -> np.ndarray:
    if isinstance(pairs, str):
        if pairs != "all":
            raise ValueError(f"pairs must be 'needed', 'all' or an array (P, 2), got {pairs!r}")
        pairs = list(combinations(range(n), 2))
    pairs = _pair_array(pairs, n, "pairs")
    seen: set[tuple[int, int]] = set()
    for k, (i, j) in enumerate(np.sort(pairs, axis=1).tolist()):
        if i == j:
            raise ValueError(f"pairs[{k}] connects minimum {i} with itself: leave it out")
        if (i, j) in seen:
            raise ValueError(f"pairs[{k}] = {[i, j]} is given twice: leave one out")
        seen.add((i, j))
    return pairs


def _refuse_unconnectable(landscape, theta: torch.Tensor, pairs: np.ndarray) -> None:
    """Raise where an end is not finite, or both ends of a pair are the same point."""
    used = np.unique(pairs)
    if not len(used):
        return
    for i in used[~torch.isfinite(theta[used]).all(dim=1).cpu().numpy()]:
        raise FloatingPointError(f"minimum {i} has parameters that are not finite: drop it first")
    loss = landscape.loss(theta[used])
    for i in used[~torch.isfinite(loss).cpu().numpy()]:
        raise FloatingPointError(f"f is not finite at minimum {i}: drop it first")
    same = (theta[pairs[:, 0]] == theta[pairs[:, 1]]).all(dim=1).cpu().numpy()
    for i, j in pairs[same].tolist():
        raise ValueError(
            f"minima {i} and {j} are the same point, which has no pass to itself: drop one "
            "(find_minima keeps each minimum once)"
        )


def _refuse_other_losses(losses, pairs: np.ndarray, profiles: np.ndarray) -> None:
    """Raise where the losses (N,) are not those that the paths begin and end at."""
    losses = np.asarray(losses, np.float64)
    if losses.ndim != 1 or pairs.max(initial=-1) >= len(losses):
        return  # which barcode_of_minima refuses
    for (i, j), ends in zip(pairs, profiles[:, [0, -1]], strict=True):
        for k, met in zip((i, j), ends, strict=True):
            if abs(losses[k] - met) > 1e-3 * max(1.0, abs(met)):
                raise ValueError(
                    f"minimum {k} has loss {losses[k]:.6g}, but the path of {i} and {j} has "
                    f"{met:.6g} there: give the losses of the minima that were connected"
                )


def _measuring(landscape, theta) -> float:
    """Seconds it will take to measure a finished path, roughly."""
    points = theta[torch.arange(128) % len(theta)]
    landscape.loss(points)  # the first time may take longer
    began = time.perf_counter()
    landscape.loss(points)
    return 700 / len(points) * (time.perf_counter() - began)


# -- which pairs matter ----------------------------------------------------------------------------


def _refine_needed(tried, tol, relax) -> list[Curve]:
    """Refine those curves that can change the barcode, and return them.

    ``tried`` are those of all pairs (0, 1), (0, 2), …. All are estimated by their first blocks.
    Those of the minimum spanning tree are refined; then those that could undercut the pass between
    their ends through refined ones by more than ``tol`` of its excess. "Could" means: if they sank
    from now on twice as deep as half of the refined ones did. The candidates get some more blocks
    first, which often settles it.
    """
    first, second = _ESTIMATES
    relax(tried, first)
    base = np.array([c.base for c in tried])
    refined: set[int] = set()
    while True:
        height = np.array([c.height for c in tried])
        rank = height.argsort(kind="stable").argsort(kind="stable") + 1.0
        joined = cophenet(linkage(rank, "single"))  # the rank of the pass between i and j
        todo = [k for k in np.flatnonzero(rank == joined) if k not in refined]
        if not todo:
            merge = np.sort(height)[joined.astype(int) - 1]
            sunk = {b: np.median([tried[k].sunk_since(b) for k in refined]) for b in _ESTIMATES}
            hope = [0.5 * sunk[second if c.block >= second else first] * c.excess for c in tried]
            open_ = base + hope < merge - tol * (merge - base)
            todo = [k for k in np.flatnonzero(open_) if k not in refined]
            early = [k for k in todo if tried[k].block < second]
            if early:
                relax([tried[k] for k in early], second)
                refined.update(k for k in early if tried[k].block < second)  # no more can be done
                continue
        if not todo:
            return [tried[k] for k in sorted(refined)]
        relax([tried[k] for k in todo])
        refined.update(todo)


# -- the result ------------------------------------------------------------------------------------


def _measured(landscape, runs) -> Paths:
    """The lowest run of each pair, measured densely; ``runs`` is one list of curves a run."""
    history = pd.DataFrame(
        [r for run in runs for c in run for r in c.records],
        columns=["i", "j", "run", "evaluations", "seconds", "excess"],
    )
    pairs = np.array([[c.i, c.j] for c in runs[0]], dtype=np.int64).reshape(-1, 2)
    seen = np.array([c.base + c.records[0][-1] for c in runs[0]])  # on the straight lines
    chords = [c.controls[[0, -1]] for c in runs[0]]
    rested = [all(c.rests() for c in pair) for pair in zip(*runs, strict=True)]
    runs = [[c.controls for c in run] for run in runs]
    degree = max((len(c) - 1 for run in runs for c in run), default=3)
    none = torch.empty(0, degree + 1, landscape.dim, dtype=landscape.dtype)
    measured = []
    for run in [*runs, chords]:
        lifted = [curves.elevate(c[None], degree) for c in run]
        controls = torch.cat([none.to(landscape.device), *lifted])
        if len(measured) < len(runs):
            measured.append((controls, *curves.highest(landscape, controls)))
            continue
        # the curves were watched at a few places only: a straight line may be better after all
        better = seen < np.nan_to_num(np.min([m[3] for m in measured], axis=0), nan=np.inf)
        found = curves.highest(landscape, controls[torch.as_tensor(better)])
        straight = [np.full_like(x, np.nan) for x in measured[0][1:]]
        for whole, some in zip(straight, found, strict=True):
            whole[better] = some
        measured.append((controls, *straight))
    heights = np.stack([m[3] for m in measured], axis=1)
    rows = np.arange(len(heights))
    best = np.nan_to_num(heights, nan=np.inf).argmin(axis=1) if len(heights) else rows
    profiles, t, maximum = (np.stack([m[k] for m in measured])[best, rows] for k in (1, 2, 3))
    controls = torch.stack([m[0] for m in measured])[torch.as_tensor(best), torch.as_tensor(rows)]
    for k in np.flatnonzero(~np.isfinite(maximum)):
        raise FloatingPointError(
            f"f is {maximum[k]} on the path between minima {pairs[k].tolist()}: check that the "
            "loss is finite between them"
        )
    return Paths(
        pairs=pairs,
        saddle=maximum,
        points=bezier(controls, t[:, None])[:, 0],
        maximum=maximum,
        t=t,
        profiles=profiles,
        profile_t=curves.PROFILE_T,
        controls=tuple(controls),
        pieces=np.ones(len(pairs), dtype=np.int64),
        restarts=heights[:, :-1],
        rested=np.array(rested, dtype=bool),
        certificates=pd.DataFrame([_certificate()] * len(pairs), columns=list(_certificate())),
        skipped=0,
        history=history,
        evaluations=0,
        seconds=0.0,
    )


def _certificate(saddle=None, verdict=NOT_TRIED, moved=np.nan, products=0) -> dict:
    """A row of ``Paths.certificates``."""
    numbers = (saddle.grad_norm, *saddle.eigenvalues) if saddle else (np.nan,) * 3
    row = {"verdict": verdict} | dict(zip(("grad_norm", "lowest", "second"), numbers, strict=True))
    return row | {"moved": moved, "products": products}
