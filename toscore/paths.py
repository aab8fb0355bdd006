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

from toscore import curves
from toscore.barcode import Barcode, _pair_array, _spanning_passes, barcode_of_minima
from toscore.curves import Curve, bezier
from toscore.minima import Minima, find_minima, progress_bar
from toscore.saddles import find_saddle

__all__ = ["Paths", "certify", "connect", "loss_barcode"]

_ESTIMATES = 2, 6  # blocks that tell a pair worth refining from one that is not
_PEAKS = 5  # local maxima of one path that are refined at most
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
    profiles : float64 array (P, T), profile_t : float64 array (T,)
        f along the path, and the parameters of the columns.
    controls : tensor (P, K, D)
        Bézier control points of the path, the two minima included.
    restarts : float64 array (P, R)
        The path's maximum in each of R independent runs.
    certificates : DataFrame
        One row a pass: ``verdict`` (see :class:`Saddle`, or "not tried"), ``grad_norm``, the two
        lowest eigenvalues of the Hessian ``lowest`` and ``second``, the distance ``moved`` from
        the path's top to the saddle, and the Hessian-vector ``products`` spent.
    skipped : int
        Pairs of minima that were not refined, as they could not change the barcode.
    history : DataFrame
        One row a pair, run and block: the ``evaluations`` and ``seconds`` spent on the pair so
        far, and the best path's ``excess`` then. Do not trust a path that is still falling.
    evaluations : int
        Points at which f or its gradient was computed, over all pairs, skipped ones included.
    seconds : float
    """

    pairs: np.ndarray
    saddle: np.ndarray
    points: torch.Tensor
    maximum: np.ndarray
    t: np.ndarray
    profiles: np.ndarray
    profile_t: np.ndarray
    controls: torch.Tensor
    restarts: np.ndarray
    certificates: pd.DataFrame
    skipped: int
    history: pd.DataFrame
    evaluations: int
    seconds: float

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def floor(self) -> np.ndarray:
        """f at the higher end of each path, (P,): no pass is lower."""
        return np.maximum(self.profiles[:, 0], self.profiles[:, -1])

    @property
    def excess(self) -> np.ndarray:
        """Height of each pass over the higher of its two ends, (P,)."""
        return self.saddle - self.floor

    @property
    def spread(self) -> np.ndarray:
        """Highest less lowest maximum among the independent runs, (P,); NaN after one run."""
        if self.restarts.shape[1] < 2:
            return np.full(len(self), np.nan)
        return np.ptp(self.restarts, axis=1)

    @property
    def certified(self) -> np.ndarray:
        """True where the pass was refined to a critical point of index 1, bool (P,)."""
        return (self.certificates["verdict"] == "index 1").to_numpy(dtype=bool, copy=True)

    def to_frame(self) -> pd.DataFrame:
        """Tidy table, one row a pass."""
        columns = {"i": self.pairs[:, 0], "j": self.pairs[:, 1], "saddle": self.saddle}
        columns |= {"excess": self.excess, "maximum": self.maximum, "t": self.t}
        columns |= {"spread": self.spread, "certified": self.certified}
        return pd.DataFrame(columns).join(self.certificates)

    def barcode(self, losses) -> Barcode:
        """The barcode of minima with these losses (N,) and passes, with intervals of its deaths.

        The intervals come from the intervals of the passes: from the saddle, or the lowest maximum
        where none is certified, up to the highest maximum of the independent runs.
        """
        high = np.maximum(self.restarts.max(axis=1, initial=-np.inf), self.maximum)
        return barcode_of_minima(losses, self.pairs, self.saddle, (self.saddle, high))


def connect(
    landscape,
    minima,
    pairs="needed",
    *,
    budget: int = 4000,
    seconds: float | None = None,
    tol: float = 0.1,
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
    curve of all blocks is kept. Then the tops of the paths that make the barcode are refined to
    saddles; see :func:`certify`.

    Parameters
    ----------
    landscape : Landscape or Surface
    minima : Minima or tensor (N, D)
        A point that is not stationary is an upper bound of the minimum next to it, and its
        segment's birth too; its path may well be highest at its end.
    pairs : "needed", "all" or int (P, 2)
        Which minima to connect. "needed" estimates all pairs by two blocks, refines those of the
        minimum spanning tree, and then those that might still lower a merge of the barcode by more
        than ``tol`` of its excess; the others are counted in ``skipped``. Minima that given pairs
        leave apart stay ``unmerged`` in the barcode.
    budget : int
        Points at which f or its gradient may be computed for one path in one run; a path may rest
        earlier. Below 200 or so it stays a straight line.
    seconds : float, optional
        Stop after this time, whatever is left of the budget.
    tol : float
        For "needed", see there.
    restarts : int
        Independent runs for each pair, each from another first curve; the lowest is kept, and all
        their maxima are in ``restarts``.
    certified : bool
        Whether to refine the passes of the minimum spanning tree to saddles.
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
    """
    theta = minima.theta if isinstance(minima, Minima) else torch.as_tensor(minima)
    if theta.ndim != 2 or theta.shape[1] != landscape.dim:
        raise ValueError(f"minima must have shape (N, {landscape.dim}), got {tuple(theta.shape)}")
    theta = theta.to(landscape.device, landscape.dtype)
    for name, value, least in (("budget", budget, 1), ("restarts", restarts, 1), ("tol", tol, 0)):
        if not value >= least:
            raise ValueError(f"{name} must be at least {least}, got {value}")
    if seconds is not None and not seconds > 0:
        raise ValueError(f"seconds must be positive, got {seconds}")
    lazy = isinstance(pairs, str) and pairs == "needed"
    pairs = _checked_pairs("all" if lazy else pairs, len(theta))
    _refuse_unconnectable(landscape, theta, pairs)
    began = time.perf_counter()
    paths_until = np.inf if seconds is None else began + (0.6 if certified else 1.0) * seconds
    with progress_bar(progress, desc="paths", unit=" blocks") as bar:

        def relax(some, blocks=None, share=1.0):
            deadline = time.perf_counter() + share * (paths_until - time.perf_counter())
            curves.relax(landscape, some, budget, blocks, deadline, seed, bar)

        tried = [Curve.first(theta, i, j, 0, seed) for i, j in pairs.tolist()]
        runs = [tried]
        if lazy and len(theta) > 2:
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
        paths = certify(landscape, paths, budget=budget, seconds=left, seed=seed, progress=progress)
    return replace(paths, seconds=time.perf_counter() - began)


def certify(
    landscape,
    paths: Paths,
    rows=None,
    *,
    attempts: int = 2,
    budget: int = 4000,
    seconds: float | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Paths:
    """Refine the tops of paths to saddles of index 1, in float64.

    From the highest point of a path :func:`find_saddle` looks for a critical point. If other local
    maxima of the path are higher than it, they are refined too (five at most), and the highest
    saddle counts: the others have then been shown to be passes below it. Where the verdict is not
    "index 1", or the saddle does not lie between the path's ends and its maximum in height, the
    path is pushed aside along the second lowest mode, as a lower pass must exist if the curvature
    there is negative, relaxed with a new budget, and tried again.

    Parameters
    ----------
    landscape : Landscape or Surface
    paths : Paths
    rows : int (k,), optional
        Which paths; by default those of the minimum spanning tree, which make the barcode.
    attempts, budget : int
        How often to try, and the evaluations spent on a path before another attempt; half as many
        Hessian-vector products may go into one search for a saddle.
    seconds : float, optional
        Begin no pass after this time.
    seed, progress
        As in :func:`connect`.

    Returns
    -------
    Paths
        Where certified, ``saddle`` and ``points`` are the saddle's. ``maximum`` remains the bound
        that the path proves; the difference of the two shows how tight it is.
    """
    if attempts < 1 or budget < 1:
        raise ValueError(f"attempts and budget must be at least 1, got {attempts} and {budget}")
    if rows is None:
        n = int(paths.pairs.max(initial=-1)) + 1
        rows = _spanning_passes(n, paths.pairs, paths.maximum) if n else []
    rows = np.asarray(rows, dtype=np.int64)
    if len(rows) and not (rows.min() >= 0 and rows.max() < len(paths)):
        raise ValueError(f"rows must lie in 0..{len(paths) - 1}, got {rows.tolist()}")
    until = np.inf if seconds is None else time.perf_counter() + seconds
    parts = {row: _row(paths, row) for row in range(len(paths))}
    for row in progress_bar(progress, rows.tolist(), desc="saddles"):
        for attempt in range(attempts):
            if time.perf_counter() > until:
                break
            parts[row], aside = _certified(landscape, parts[row], budget)
            if parts[row].certified[0] or attempt == attempts - 1:
                break
            relaxed = _relaxed_again(landscape, parts[row], aside, attempt, budget, until, seed)
            if relaxed.maximum[0] < parts[row].maximum[0]:
                parts[row] = relaxed
    return _joined(paths, list(parts.values()))


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

    Returns
    -------
    Barcode
        Every finite segment's death is a certified saddle, or a path's maximum and so an upper
        bound of the pass; see ``death_interval``.
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
    # the curves were watched at a few places only: a straight line may be better after all
    chords = [c.controls[[0, -1]] for c in runs[0]]
    runs = [[c.controls for c in run] for run in runs]
    degree = max((len(c) - 1 for run in runs for c in run), default=3)
    none = torch.empty(0, degree + 1, landscape.dim, dtype=landscape.dtype)
    measured = []
    for run in [*runs, chords]:
        lifted = [curves.elevate(c[None], degree) for c in run]
        controls = torch.cat([none.to(landscape.device), *lifted])
        measured.append((controls, *curves.highest(landscape, controls)))
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
        controls=controls,
        restarts=heights[:, :-1],
        certificates=pd.DataFrame([_certificate()] * len(pairs), columns=list(_certificate())),
        skipped=0,
        history=history,
        evaluations=0,
        seconds=0.0,
    )


_BY_ROW = ("pairs", "saddle", "points", "maximum", "t", "profiles", "controls", "restarts")


def _row(paths: Paths, row: int) -> Paths:
    """One of the paths alone."""
    parts = {k: getattr(paths, k)[row : row + 1] for k in _BY_ROW}
    one = paths.certificates.iloc[row : row + 1].reset_index(drop=True)
    return replace(paths, certificates=one, history=paths.history.iloc[:0], evaluations=0, **parts)


def _joined(paths: Paths, parts: list[Paths]) -> Paths:
    """Paths again, from a part for each row; what the parts spent is added."""
    if not parts:
        return paths
    rows = {k: np.concatenate([getattr(p, k) for p in parts]) for k in _BY_ROW if k not in _TENSORS}
    degree = max(p.controls.shape[1] for p in parts) - 1
    lifted = [curves.elevate(p.controls, degree) for p in parts]
    rows |= {"controls": torch.cat(lifted), "points": torch.cat([p.points for p in parts])}
    return replace(
        paths,
        certificates=pd.concat([p.certificates for p in parts], ignore_index=True),
        history=pd.concat([paths.history, *(p.history for p in parts if len(p.history))]),
        evaluations=paths.evaluations + sum(p.evaluations for p in parts),
        **rows,
    )


_TENSORS = ("points", "controls")


# -- certificates ----------------------------------------------------------------------------------


def _certificate(saddle=None, verdict=NOT_TRIED, moved=np.nan, products=0) -> dict:
    """A row of ``Paths.certificates``."""
    numbers = (saddle.grad_norm, *saddle.eigenvalues) if saddle else (np.nan,) * 3
    row = {"verdict": verdict} | dict(zip(("grad_norm", "lowest", "second"), numbers, strict=True))
    return row | {"moved": moved, "products": products}


def _certified(landscape, path: Paths, budget: int) -> tuple[Paths, torch.Tensor | None]:
    """One path with the certificate of its top, and the second mode where that failed."""
    profile, t = path.profiles[0], path.profile_t
    inner = np.arange(1, len(t) - 1)
    local = inner[(profile[inner] >= profile[inner - 1]) & (profile[inner] >= profile[inner + 1])]
    peaks = [(float(path.maximum[0]), float(path.t[0]))]
    step = t[1] - t[0]
    peaks += [
        (p, at)
        for p, at in zip(profile[local], t[local], strict=True)
        if abs(at - path.t[0]) > step
    ]
    slack = 1e-9 * max(1.0, abs(path.maximum[0]))
    top, products = None, 0
    for height, at in sorted(peaks, reverse=True)[:_PEAKS]:
        if top is not None and height <= top.value:
            break
        around = np.clip([[at - step, at, at + step]], 0.0, 1.0)
        before, point, after = bezier(path.controls, around)[0]
        found = find_saddle(
            landscape, point, direction=after - before, max_products=max(200, budget // 2)
        )
        products += found.products
        between = path.floor[0] - slack <= found.value <= path.maximum[0] + slack
        if found.verdict != "index 1" or not between:
            verdict = found.verdict if found.verdict != "index 1" else "elsewhere"
            moved = float((found.point - point).norm())
            row = _certificate(found, verdict, moved, products)
            kept = {"saddle": path.maximum, "points": bezier(path.controls, path.t[:, None])[:, 0]}
            return replace(path, certificates=pd.DataFrame([row]), **kept), found.modes[:, -1]
        if top is None or found.value > top.value:
            top, moved = found, float((found.point - point).norm())
    row = _certificate(top, "index 1", moved, products)
    point = top.point[None].to(path.points)
    height = min(top.value, float(path.maximum[0]))  # where they are equal up to rounding
    path = replace(path, saddle=np.array([height]), points=point)
    return replace(path, certificates=pd.DataFrame([row])), None


def _relaxed_again(landscape, path: Paths, aside, attempt, budget, until, seed) -> Paths:
    """The path with its top moved down along a direction, and relaxed from there."""
    controls = curves.elevate(path.controls, curves.level(curves.FINE)[0])[0].clone()
    t = float(np.clip(path.t[0], 0.05, 0.95))
    top = bezier(path.controls, [[t]])[0, 0]
    chord = float((controls[-1] - controls[0]).norm())
    aside = aside.to(top)
    lengths = chord * 0.3 ** torch.arange(1, 8).to(top)
    lengths = torch.cat([lengths, -lengths, torch.zeros(1).to(top)])
    values = landscape.loss(top + lengths[:, None] * aside)
    shift = lengths[values.nan_to_num(nan=torch.inf).argmin()] * aside
    k = round(t * (len(controls) - 1))
    weight = float(curves.bernstein(torch.tensor([[t]]), len(controls))[0, 0, k])
    controls[k] += shift / weight  # so the curve moves by just that at t
    i, j = path.pairs[0].tolist()
    curve = Curve(i, j, 1000 + attempt, controls, block=curves.FINE)
    with progress_bar(False) as bar:
        curves.relax(landscape, [curve], budget, None, until, seed, bar)
    new = _measured(landscape, [[curve]])
    restarts = np.minimum(path.restarts, new.maximum[0])
    return replace(
        new,
        restarts=np.where(path.restarts == path.restarts.min(), restarts, path.restarts),
        certificates=path.certificates,
        evaluations=path.evaluations + curve.evaluations,
        history=path.history,
    )
