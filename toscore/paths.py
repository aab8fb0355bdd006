"""Paths between minima: curves pulled down until their highest point is as low as it will go.

The maximum of f along *any* path from one minimum to another is an upper bound of the true pass
between them, so two methods can be ranked without knowing the truth: the lower value is better.
That holds only if the maximum is really found, so it is searched densely and then refined.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
import torch
from scipy.special import comb

from toscore.barcode import Barcode, _pair_array, barcode_of_minima
from toscore.minima import Minima, find_minima, progress_bar

__all__ = ["Paths", "connect", "loss_barcode"]

# Bézier degrees of the stages and their share of the steps: a coarse curve first, then finer ones
_STAGES = ((3, 0.3), (5, 0.3), (8, 0.4))
_POINTS = 8  # points on each curve in one step
_PROFILE_T = np.linspace(0.0, 1.0, 129)  # where f is evaluated along a finished path


@dataclass(frozen=True, eq=False)
class Paths:
    """One path for each pair of minima, and its highest point.

    Attributes
    ----------
    pairs : int64 array (P, 2)
        The two minima a path connects.
    saddle : float64 array (P,)
        The largest value of f found along the path: an upper bound of the pass.
    points : tensor (P, D)
        Where it is.
    t : float64 array (P,)
        Its parameter on the curve, in [0, 1].
    profiles : float64 array (P, T), profile_t : float64 array (T,)
        f along the path, and the parameters of the columns.
    controls : tensor (P, K, D)
        Bézier control points of the path, the two minima included.
    certified : bool array (P,)
        True where the top was refined to a critical point of index 1; False where that was not
        tried or failed.
    excess : float64 array (P,)
        Height of the path's top over the higher of its two ends.
    evaluations : int
        Gradients of the full f spent, over all pairs.
    seconds : float
    """

    pairs: np.ndarray
    saddle: np.ndarray
    points: torch.Tensor
    t: np.ndarray
    profiles: np.ndarray
    profile_t: np.ndarray
    controls: torch.Tensor
    certified: np.ndarray
    evaluations: int
    seconds: float

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def excess(self) -> np.ndarray:
        return self.saddle - np.maximum(self.profiles[:, 0], self.profiles[:, -1])

    def to_frame(self) -> pd.DataFrame:
        """Tidy table, one row a pass."""
        columns = {"i": self.pairs[:, 0], "j": self.pairs[:, 1], "saddle": self.saddle}
        return pd.DataFrame(
            columns | {"excess": self.excess, "t": self.t, "certified": self.certified}
        )


def bezier(controls: torch.Tensor, t) -> torch.Tensor:
    """Points of Bézier curves: controls (P, K, D), parameters (P, m) -> (P, m, D)."""
    return _bernstein(torch.as_tensor(t).to(controls), controls.shape[1]) @ controls


def _bernstein(t: torch.Tensor, k: int) -> torch.Tensor:
    """The k Bernstein polynomials of degree k - 1 at t, (P, m) -> (P, m, k)."""
    j = torch.arange(k, device=t.device, dtype=t.dtype)
    factor = torch.as_tensor(comb(k - 1, np.arange(k)), device=t.device, dtype=t.dtype)
    return factor * t[..., None] ** j * (1 - t[..., None]) ** (k - 1 - j)


def _elevate(controls: torch.Tensor, degree: int) -> torch.Tensor:
    """The same curves with more control points, up to the given degree (exact)."""
    while 0 < controls.shape[1] <= degree:
        k = controls.shape[1]
        share = torch.arange(1, k, device=controls.device, dtype=controls.dtype)[:, None] / k
        inner = share * controls[:, :-1] + (1 - share) * controls[:, 1:]
        controls = torch.cat([controls[:, :1], inner, controls[:, -1:]], dim=1)
    return controls


def connect(
    landscape,
    minima,
    pairs="all",
    *,
    steps: int = 2000,
    lr: float = 0.01,
    seed: int = 0,
    progress: bool = True,
) -> Paths:
    """Low paths between minima: Bézier curves trained with Adam, all pairs side by side.

    Each step draws eight points on every curve, one in each eighth of it, and moves the control
    points against the gradients there, the higher points counting more. A cubic curve comes first
    and is then given more control points, which leaves it unchanged and lets it bend further. A
    stage that ends higher than it began is undone, so a path whose loss blew up does no harm.

    Parameters
    ----------
    landscape : Landscape or Surface
    minima : Minima or tensor (N, D)
    pairs : "all" or int (P, 2)
        Which minima to connect.
    steps : int
        Steps of Adam for each path; its cost is 8 gradients of the full f a step.
    lr : float
        Largest step size of Adam, annealed to zero in each stage.
    seed : int
        For the points drawn; the path of (i, j) depends on (seed, i, j) and its ends alone.
    progress : bool
        Show a progress bar.

    Returns
    -------
    Paths
        ``saddle`` bounds the true pass from above. Rows follow ``pairs``.

    Raises
    ------
    ValueError
        Pairs out of range, doubled or of a minimum with itself; steps below 1.
    FloatingPointError
        A path on which f is not finite.

    References
    ----------
    Garipov et al. 2018 (arXiv:1802.10026), section 3, for curves trained on random points.
    """
    theta = minima.theta if isinstance(minima, Minima) else torch.as_tensor(minima)
    if theta.ndim != 2 or theta.shape[1] != landscape.dim:
        raise ValueError(f"minima must have shape (N, {landscape.dim}), got {tuple(theta.shape)}")
    theta = theta.to(landscape.device, landscape.dtype)
    pairs = _checked_pairs(pairs, len(theta))
    if steps < 1 or not lr > 0:
        raise ValueError(f"steps must be at least 1 and lr positive, got {steps} and {lr}")
    began = time.perf_counter()
    ends = theta[torch.as_tensor(pairs)]  # (P, 2, D), already the control points of straight lines
    if not torch.isfinite(ends).all():
        raise FloatingPointError("some minima have parameters that are not finite: drop them first")
    controls, spent = _train(landscape, ends, pairs, steps, lr, seed, progress)

    profiles, t, saddle = _highest(landscape, controls)
    points = bezier(controls, t[:, None])[:, 0]
    for k in np.flatnonzero(~np.isfinite(saddle)):
        raise FloatingPointError(
            f"f is {saddle[k]} on the path between minima {pairs[k].tolist()}: check that the loss "
            "is finite between them"
        )
    return Paths(
        pairs=pairs,
        saddle=saddle,
        points=points,
        t=t,
        profiles=profiles,
        profile_t=_PROFILE_T,
        controls=controls,
        certified=np.zeros(len(pairs), dtype=bool),
        evaluations=spent,
        seconds=time.perf_counter() - began,
    )


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
        Every finite segment's death is an upper bound (a path's maximum).
    """
    found = find_minima(landscape, n, seed, **{"progress": progress} | (minima or {}))
    passes = connect(landscape, found, **{"seed": seed, "progress": progress} | (paths or {}))
    return barcode_of_minima(found.loss, passes.pairs, passes.saddle)


def _checked_pairs(pairs, n: int) -> np.ndarray:
    if isinstance(pairs, str):
        if pairs != "all":
            raise ValueError(f"pairs must be 'all' or an array (P, 2), got {pairs!r}")
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


def _train(landscape, ends, pairs, steps, lr, seed, progress) -> tuple[torch.Tensor, int]:
    """Control points (P, K, D) after all stages, and the gradients spent."""
    controls, spent = _elevate(ends, _STAGES[-1][0]), 0
    if not len(pairs):
        return controls, spent
    controls = ends
    draws = [np.random.default_rng([seed, i, j]) for i, j in pairs]
    bar = progress_bar(progress, total=sum(_share(steps)), desc=f"{len(pairs)} paths")
    best = _height(landscape, controls)
    for (degree, _), count in zip(_STAGES, _share(steps), strict=True):
        controls = _elevate(controls, degree)
        trained = _adam_on_curves(landscape, controls, count, lr, draws, bar)
        top = _height(landscape, trained)
        better = top < best
        controls = torch.where(
            torch.as_tensor(better)[:, None, None].to(controls.device), trained, controls
        )
        best = np.where(better, top, best)
        spent += count * _POINTS * len(pairs)
    bar.close()
    return controls, spent


def _share(steps: int) -> list[int]:
    """The steps of each stage, at least one each."""
    return [max(1, round(steps * share)) for _, share in _STAGES]


def _adam_on_curves(landscape, controls, steps, lr, draws, bar) -> torch.Tensor:
    inner = controls[:, 1:-1].clone()
    optimiser = torch.optim.Adam([inner], lr=lr, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        t = (np.arange(_POINTS) + np.stack([d.uniform(size=_POINTS) for d in draws])) / _POINTS
        basis = _bernstein(torch.as_tensor(t).to(controls), controls.shape[1])
        curve = torch.cat([controls[:, :1], inner, controls[:, -1:]], dim=1)
        values, gradients = landscape.loss_and_grad(basis @ curve)
        # where f is no number it gives no direction, but counts as high as what is highest
        finite = values.isfinite()
        gradients = gradients.where(finite[..., None], 0.0)
        highest = values.masked_fill(~finite, -torch.inf).amax(dim=1, keepdim=True)
        values = values.where(finite, highest.nan_to_num(neginf=0.0))
        inner.grad = torch.einsum("pm,pmk,pmd->pkd", _weights(values), basis[..., 1:-1], gradients)
        optimiser.step()
        schedule.step()
        bar.update()
    return torch.cat([controls[:, :1], inner, controls[:, -1:]], dim=1)


def _weights(values: torch.Tensor) -> torch.Tensor:
    """How much each point of a curve counts, (P, m): the highest e^3 times the lowest."""
    low, high = values.amin(dim=1, keepdim=True), values.amax(dim=1, keepdim=True)
    return torch.softmax(3 * (values - low) / (high - low).clamp(min=1e-12), dim=1)


def _along(landscape, controls: torch.Tensor, t: np.ndarray) -> np.ndarray:
    """f on the curves at t, (P, m) -> float64 (P, m)."""
    if not len(controls):
        return np.empty(t.shape)
    return landscape.loss(bezier(controls, t)).cpu().double().numpy()


def _height(landscape, controls) -> np.ndarray:
    """Value of each path's maximum, (P,); infinite where f is not a number somewhere on it."""
    height = _highest(landscape, controls)[2]
    return np.where(np.isnan(height), np.inf, height)


def _highest(landscape, controls) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """f along each path (P, T), and parameter and value of its maximum, (P,), (P,).

    From the three highest local maxima of the dense profile, search a shrinking neighbourhood:
    what lies between two samples of the profile is not missed unless it is narrower than they.
    """
    profiles = _along(landscape, controls, np.tile(_PROFILE_T, (len(controls), 1)))
    if not len(controls):
        return profiles, np.empty(0), np.empty(0)
    padded = np.pad(profiles, ((0, 0), (1, 1)), constant_values=-np.inf)
    local = (profiles >= padded[:, :-2]) & (profiles >= padded[:, 2:])
    tops = np.argsort(np.where(local, -profiles, np.inf), axis=1, kind="stable")[:, :3]
    t, value = _PROFILE_T[tops], np.take_along_axis(profiles, tops, axis=1)
    width = _PROFILE_T[1]
    for _ in range(10):  # down to steps of 1e-9: a curve may cross its top very fast
        around = np.clip(t[..., None] + width * np.linspace(-1, 1, 9), 0.0, 1.0)
        flat = around.reshape(len(t), -1)
        found = _along(landscape, controls, flat).reshape(around.shape)
        best = found.argmax(axis=2)[..., None]
        t = np.take_along_axis(around, best, axis=2)[..., 0]
        value = np.take_along_axis(found, best, axis=2)[..., 0]
        width /= 4
    best = value.argmax(axis=1)[:, None]
    t = np.take_along_axis(t, best, axis=1)[:, 0]
    value = np.take_along_axis(value, best, axis=1)[:, 0]
    return profiles, t, np.maximum(value, profiles.max(axis=1))
