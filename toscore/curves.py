"""Curves between two points, pulled down until their highest point is as low as it will go.

Every curve is a Bézier curve with fixed ends. It relaxes in blocks: some points are drawn on it,
and L-BFGS lowers a smooth maximum of f over them by moving the control points. A finished path may
be a chain of such curves: with S pieces of degree d it has S d + 1 control points, neighbours share
one, and piece s runs from t = s / S to (s + 1) / S.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np
import torch
from scipy.special import comb

from toscore.lbfgs import Memory, minimise

__all__ = [
    "Curve",
    "bernstein",
    "bezier",
    "cut",
    "elevate",
    "highest",
    "join",
    "level",
    "profile",
    "relax",
]

# A path relaxes in blocks of L-BFGS on points fixed for the block. The first blocks bend a coarse
# curve, seen at few points; later ones a finer curve seen at more: (degree, points, blocks). The
# last level goes on for as long as it takes.
_LEVELS = ((3, 6, 2), (5, 8, 4), (8, 12, 6), (12, 20, 8), (16, 32, 8), (24, 48, 1))
_BLOCK = 25  # iterations
_MEMORY = 100, 2**26  # most steps L-BFGS remembers, and the bytes they may take up for one path
_STALL = 6, 1e-3  # stop after so many blocks that lower the excess by less than this share
_GROWN = 12  # least degree of a curve whose sinking tells anything
_BATCH_BYTES = 2**31  # for the memories of all paths that are relaxed side by side
FINE = 20  # the first block of a curve that has many control points from the start
PROFILE_T = np.linspace(0.0, 1.0, 129)  # where f is evaluated along a finished path
_LENGTHWISE = np.linspace(0.0, 1.0, 257)  # and along its length
_PLACES = len(PROFILE_T) + len(_LENGTHWISE)


def bezier(controls: torch.Tensor, t, pieces: int = 1) -> torch.Tensor:
    """Points of Bézier curves.

    Parameters
    ----------
    controls : tensor (P, K, D)
        The control points; a path begins in the first and ends in the last.
    t : real (P, m)
        Parameters in [0, 1].
    pieces : int
        Curves of equal degree that each path is a chain of; neighbours share a control point, so
        that K - 1 is a multiple of it.

    Returns
    -------
    tensor (P, m, D)
        In the dtype of ``controls``.

    References
    ----------
    Farin 2002, Curves and surfaces for CAGD, chapters 4 and 5.

    Examples
    --------
    >>> import torch
    >>> import toscore as ts
    >>> ts.bezier(torch.tensor([[[0.0, 0.0], [1.0, 2.0], [2.0, 0.0]]]), [[0.0, 0.5]]).tolist()
    [[[0.0, 0.0], [1.0, 1.0]]]
    """
    return bernstein(torch.as_tensor(t).to(controls), controls.shape[1], pieces) @ controls


def bernstein(t: torch.Tensor, k: int, pieces: int = 1) -> torch.Tensor:
    """Weights of the k control points at t, (P, m) -> (P, m, k): Bernstein's polynomials."""
    degree = (k - 1) // pieces
    piece = (t * pieces).floor().clamp(0, pieces - 1)
    t = (t * pieces - piece)[..., None]
    j = torch.arange(degree + 1, device=t.device, dtype=t.dtype)
    factor = torch.as_tensor(comb(degree, np.arange(degree + 1)), device=t.device, dtype=t.dtype)
    weights = factor * t**j * (1 - t) ** (degree - j)
    if pieces == 1:
        return weights
    columns = piece[..., None].long() * degree + j.long()
    return weights.new_zeros(*weights.shape[:-1], k).scatter(-1, columns, weights)


def cut(controls: torch.Tensor, pieces: int, low: float, high: float) -> tuple[torch.Tensor, int]:
    """The part of a chain (K, D) from t = low to high, and its number of pieces (exact)."""
    degree, parts = (len(controls) - 1) // pieces, []
    for s in range(pieces):
        a, b = max(low * pieces - s, 0.0), min(high * pieces - s, 1.0)
        if b - a > 1e-9:
            parts.append(_part(controls[s * degree : (s + 1) * degree + 1], a, b))
    return join(parts), len(parts)


def join(parts: list[torch.Tensor]) -> torch.Tensor:
    """Chains (K, D), each of which begins where the one before ends, as one."""
    return torch.cat([parts[0], *(part[1:] for part in parts[1:])])


def _part(controls: torch.Tensor, a: float, b: float) -> torch.Tensor:
    """One Bézier curve from t = a to b, by de Casteljau's subdivision."""
    k = len(controls)
    for share, mirrored in ((b, False), (1 - a / b, True)):
        if share < 1:
            t = torch.tensor([[share]], dtype=torch.float64)
            rows = [bernstein(t, n + 1)[0, 0] for n in range(k)]
            matrix = torch.stack([torch.nn.functional.pad(r, (0, k - len(r))) for r in rows])
            matrix = (matrix.flip(0, 1) if mirrored else matrix).to(controls)
            controls = matrix @ controls
    return controls


def elevate(controls: torch.Tensor, degree: int) -> torch.Tensor:
    """The same curves with more control points, up to the given degree (exact)."""
    while 0 < controls.shape[1] <= degree:
        k = controls.shape[1]
        share = torch.arange(1, k, device=controls.device, dtype=controls.dtype)[:, None] / k
        inner = share * controls[:, :-1] + (1 - share) * controls[:, 1:]
        controls = torch.cat([controls[:, :1], inner, controls[:, -1:]], dim=1)
    return controls


@dataclass
class Curve:
    """A path on its way down."""

    i: int
    j: int
    run: int
    controls: torch.Tensor  # (K, D), of the lowest curve so far
    pieces: int = 1
    height: float = np.inf  # its maximum, where it was looked at
    last: float = np.inf  # the maximum of the latest curve
    base: float = -np.inf  # f at the higher end
    range: float = 1.0  # highest less lowest value along the latest curve
    grid: np.ndarray = field(default_factory=lambda: np.tile([0.0, 1.0], (2, 1)))  # see _spread
    block: int = 0
    evaluations: int = 0
    seconds: float = 0.0
    records: list = field(default_factory=list)
    settled: float = 0.0  # see rests
    state: tuple | None = None  # latest controls (1, K, D) and L-BFGS's memory of a curve put aside

    @classmethod
    def first(cls, theta, i, j, run, seed) -> Curve:
        """A straight line; in later runs a bow, 0.3 of its length high, in a random direction."""
        a, b = theta[i], theta[j]
        if not run:
            return cls(i, j, run, torch.stack([a, b]))
        draw = np.random.default_rng([seed, i, j, run]).normal(size=len(a))
        aside = torch.as_tensor(draw).to(a)
        aside = aside - (aside @ (b - a)) / ((b - a) @ (b - a)) * (b - a)
        aside = 0.4 * (b - a).norm() * aside / aside.norm().clamp(min=1e-12)
        return cls(i, j, run, torch.stack([a, (2 * a + b) / 3 + aside, (a + 2 * b) / 3 + aside, b]))

    @property
    def excess(self) -> float:
        return self.height - self.base

    def sunk_since(self, block: int) -> float:
        """The excess now, as a share of that after a block."""
        before = self.records[min(block, len(self.records) - 1)][-1]
        return max(self.excess, 0.0) / before if before > 0 else 0.0

    def rests(self) -> bool:
        """Whether it has come down to its higher end, or stopped sinking.

        That is, sank by less than a thousandth of its excess in the last six blocks; or, on a curve
        of degree 12 at least, by less than ``settled`` of it while the evaluations spent doubled.
        """
        blocks, share = _STALL
        if not self.records:
            return False
        if self.excess <= _flat(self.base):
            return True
        if self.settled and level(self.block)[0] >= _GROWN:
            spent, excess = zip(*[(r[3], r[-1]) for r in self.records], strict=True)
            half = np.interp(spent[-1] / 2, spent, excess)
            if half - self.excess < self.settled * self.excess:
                return True
        before = [r[-1] for r in self.records[-1 - blocks : -blocks]]
        late = level(self.block)[1] == _LEVELS[-1][1]
        return late and bool(before) and before[0] - self.excess < share * self.excess


def level(block: int) -> tuple[int, int]:
    """Degree of the curve and number of points in a block."""
    ends = np.cumsum([blocks for _, _, blocks in _LEVELS])
    degree, points, _ = _LEVELS[min(ends.searchsorted(block, side="right"), len(_LEVELS) - 1)]
    return degree, points


def _sharpness(block: int) -> float:
    """Logarithm of how much more the highest point of a path weighs than the lowest."""
    return min(1e3, 3.0 * 2 ** max(0.0, (block - 6) / 2))


def _memory_steps(landscape, pieces: int = 1) -> int:
    """How many steps of a path L-BFGS remembers."""
    steps, size = _MEMORY
    row = 2 * 11 * pieces * landscape.dim * torch.finfo(landscape.dtype).bits // 8  # at degree 12
    return int(np.clip(size // row, 5, steps))


def relax(landscape, curves, budget, blocks, deadline, seed, bar) -> None:
    """Relax curves that have come equally far, as many side by side as the memory allows.

    A chain of more than one piece must be alone, and begin at block ``FINE``.
    """
    row = 2 * _memory_steps(landscape) * (_LEVELS[-1][0] - 1) * landscape.dim
    size = max(1, _BATCH_BYTES // (row * torch.finfo(landscape.dtype).bits // 8))
    for k in range(0, len(curves), size):
        now = time.perf_counter()
        share = min(1.0, size / (len(curves) - k))
        _relax_batch(
            landscape,
            curves[k : k + size],
            budget,
            blocks,
            now + share * (deadline - now),
            seed,
            bar,
            _BATCH_BYTES // len(curves) if blocks else 0,
        )


def _relax_batch(landscape, curves, budget, blocks, deadline, seed, bar, keep) -> None:
    """Blocks of L-BFGS until the curves rest, or time, budget or the given blocks are up.

    What is needed to go on from there as if there had been no stop is kept if it takes up no more
    than ``keep`` bytes a curve.
    """
    live = [c for c in curves if not c.rests()]
    if not live:
        return
    block, rate = live[0].block, 0.0
    if all(c.state for c in live):
        controls = torch.cat([c.state[0] for c in live])
        memory = Memory.cat([c.state[1] for c in live])
    else:
        most = max(len(c.controls) for c in live)
        controls = torch.cat([elevate(c.controls[None], most - 1) for c in live])
        memory = None
    for c in live:
        c.state = None
    if not live[0].records:
        _look(landscape, live, controls, _points(live), time.perf_counter(), 0, budget)
    while live and block != blocks:
        degree, points = level(block)[0], _points(live)
        # L-BFGS evaluates once before it iterates, and the curves are looked at in the end
        left = [(budget - c.evaluations - _looks(points)) // points - 1 for c in live]
        if min(left) < min(_BLOCK, max(left)):  # those that looked more often end on their own
            ending = [k for k in range(len(live)) if left[k] == min(left)]
            _put_aside(live, controls, memory, ending)
            some = [live[k] for k in ending]
            _relax_batch(landscape, some, budget, blocks, deadline, seed, bar, keep)
            going = [k for k in range(len(live)) if left[k] > min(left)]
            live, controls, memory = _rows(live, controls, memory, going)
            continue
        began = time.perf_counter()
        iterations = int(min(_BLOCK, left[0], (deadline - began) / rate if rate else _BLOCK))
        if iterations < 1 or began >= deadline:
            break
        controls, memory = _lift(controls, degree, memory, _memory_steps(landscape, live[0].pieces))
        t = _draw(live, points, seed)
        controls = _descend(landscape, live, controls, t, iterations, memory)
        block += 1
        _look(landscape, live, controls, points, began, points * (iterations + 1), budget)
        rate = (time.perf_counter() - began) / iterations
        for k, c in enumerate(live):
            c.block = block
            if c.last > c.height + max(c.excess, 0.0):  # blown up: back to the lowest curve
                controls[k] = elevate(c.controls[None], degree)[0]
        bar.update(len(live))
        going = [k for k, c in enumerate(live) if not c.rests()]
        if len(going) < len(live):
            live, controls, memory = _rows(live, controls, memory, going)
    if live and memory and 2 * memory.steps[0].nbytes <= keep:
        _put_aside(live, controls, memory, range(len(live)))


def _rows(curves, controls, memory, which):
    """Some of the curves that are relaxed side by side."""
    rows = torch.tensor(which, dtype=torch.int64, device=controls.device)
    return [curves[k] for k in which], controls[rows], memory and memory.of_rows(rows)


def _put_aside(curves, controls, memory, which) -> None:
    """Keep what it takes to go on with some of the curves as if there had been no stop."""
    for k in which if memory else ():
        rows = torch.tensor([k], device=controls.device)
        curves[k].state = controls[k : k + 1].clone(), memory.of_rows(rows)


def _points(curves) -> int:
    """At how many points curves are seen in their next block: more where there are more pieces."""
    return level(curves[0].block)[1] * (1 + curves[0].pieces) // 2


def _looks(points: int) -> int:
    """At how many places a curve is looked at after a block with so many points."""
    return 4 * points + 1


def _look(landscape, curves, controls, points, began, evaluations, budget) -> None:
    """Measure the curves (P, K, D), keep those that are the lowest so far, take down the cost."""
    even, pieces = np.linspace(0.0, 1.0, _looks(points)), curves[0].pieces
    t = np.stack([np.interp(even, *c.grid) for c in curves])
    values = _along(landscape, controls, t, pieces)
    spread = _spread(t, bezier(controls, t, pieces))
    seconds = (time.perf_counter() - began) / len(curves)
    for k, c in enumerate(curves):
        c.evaluations += evaluations + len(t[k])
        seen = t[k], spread[k], values[k]
        if _level(values[k]) and c.evaluations + _PLACES <= budget:  # or does it hide a hill?
            closely, found = profile(landscape, controls[k : k + 1], pieces)
            reached = _spread(closely, bezier(controls[k : k + 1], closely, pieces))
            seen = closely[0], reached[0], found[0]
            c.evaluations += closely.size
        _take_down(c, controls[k], *seen)
        c.seconds += seconds
        c.records.append((c.i, c.j, c.run, c.evaluations, c.seconds, c.excess))


def _level(values) -> bool:
    """Whether a path with these values of f is no higher than its higher end."""
    base = max(values[0], values[-1])
    return values.max() - base <= _flat(base)


def _flat(base: float) -> float:
    return 1e-9 * max(1.0, abs(base))


def _take_down(c: Curve, controls, t, spread, values) -> None:
    """Write what was seen at some places of a curve's latest shape (K, D) into it."""
    c.grid = np.stack([spread, t])
    c.base = max(values[0], values[-1])
    c.last = values.max() if np.isfinite(values).all() else np.inf
    finite = values[np.isfinite(values)]
    c.range = max(np.ptp(finite), 1e-12 * max(1.0, abs(c.base)))
    if c.last < c.height or not c.records:
        c.controls, c.height = controls.clone(), c.last


def _spread(t, places) -> np.ndarray:
    """How far along its curve each place (P, m, D) at t (P, m) is: 0 at the start, 1 at the end.

    Half by length and half by t. Even in t alone, places would leave gaps where the curve is fast,
    and nothing would keep its high points out of them.
    """
    length = (places[:, 1:] - places[:, :-1]).norm(dim=-1).cumsum(dim=1).cpu().double().numpy()
    length = np.pad(length, ((0, 0), (1, 0))) / np.maximum(length[:, -1:], 1e-300)
    return (length + t) / 2


def _lift(controls, degree, memory, steps) -> tuple[torch.Tensor, Memory]:
    """The curves with more control points, and what L-BFGS knows carried over to them.

    With E the matrix that raises the degree, steps become E s; changes of the gradient become
    the shortest y' with E^T y' = y, so that s'y' = s y for every two of them.
    """
    count, k, dim = controls.shape
    lifted = elevate(controls, degree)
    inner = lifted.shape[1] - 2
    if memory is None:
        return lifted, Memory.empty(lifted[:, 1:-1].reshape(count, -1), steps)
    if lifted.shape == controls.shape:
        return controls, memory
    unit = torch.eye(k, dtype=controls.dtype, device=controls.device)[None]
    raising = elevate(unit, degree)[0, 1:-1, 1:-1]

    def carried(matrix, vectors):
        parts = vectors.view(count, -1, k - 2, dim)
        return torch.einsum("ab,pmbd->pmad", matrix, parts).reshape(count, -1, inner * dim)

    changes = carried(torch.linalg.pinv(raising.T), memory.changes)
    yy = (changes @ changes.mT).double()
    return lifted, Memory(carried(raising, memory.steps), changes, memory.sy, yy, memory.count)


def _draw(curves, points: int, seed: int) -> np.ndarray:
    """Parameters (P, m), spread out along each curve from a place that is new in each block."""
    drawn = []
    for c in curves:
        shift = np.random.default_rng([seed, c.i, c.j, c.run, c.block]).uniform()
        drawn.append(np.interp((np.arange(points) + shift) / points, *c.grid))
    return np.stack(drawn)


def _descend(landscape, curves, controls, t, iterations, memory) -> torch.Tensor:
    """L-BFGS on the control points (P, K, D), against the smooth maximum of f at t (P, m)."""
    basis = bernstein(torch.as_tensor(t).to(controls), controls.shape[1], curves[0].pieces)
    sharpness = [_sharpness(c.block) / c.range for c in curves]
    sharpness = torch.as_tensor(sharpness).to(controls)[:, None]
    ends = controls[:, :1], controls[:, -1:]
    size = controls.shape[0], controls.shape[1] - 2, controls.shape[2]

    def smooth_maximum(inner):
        curve = torch.cat([ends[0], inner.view(size), ends[1]], dim=1)
        values, gradients = landscape.loss_and_grad(basis @ curve)
        # where f is no number it gives no direction, but counts as high as what is highest
        finite = values.isfinite() & gradients.isfinite().all(dim=-1)
        highest = values.masked_fill(~finite, -torch.inf).amax(dim=1, keepdim=True)
        values = values.where(finite, highest.nan_to_num(neginf=torch.inf))
        gradients = gradients.where(finite[..., None], 0.0)
        weights = torch.softmax(sharpness * values, dim=1)
        value = torch.logsumexp(sharpness * values, dim=1) / sharpness[:, 0]
        slope = torch.einsum("pm,pmk,pmd->pkd", weights, basis[..., 1:-1], gradients)
        return value, slope.reshape(len(inner), -1)

    first_step = 0.1 * (ends[1] - ends[0]).norm(dim=(1, 2))
    inner = controls[:, 1:-1].reshape(size[0], -1)
    inner, _ = minimise(smooth_maximum, inner, iterations, memory, first_step)
    return torch.cat([ends[0], inner.view(size), ends[1]], dim=1)


def _along(landscape, controls: torch.Tensor, t: np.ndarray, pieces: int = 1) -> np.ndarray:
    """f on the curves at t, (P, m) -> float64 (P, m)."""
    if not len(controls):
        return np.empty(t.shape)
    return landscape.loss(bezier(controls, t, pieces)).cpu().double().numpy()


def profile(landscape, controls, pieces: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """f at many places of each curve (P, K, D), dense in t and along its length: t, f (P, m)."""
    even = np.union1d(PROFILE_T, np.linspace(0.0, 1.0, 32 * pieces + 1))  # joints included
    even = np.tile(even, (len(controls), 1))
    t = even
    for _ in range(2 if len(controls) else 0):  # again from places that are spread out already
        reached = _spread(t, bezier(controls, t, pieces))
        more = [np.interp(_LENGTHWISE, *pair) for pair in zip(reached, t, strict=True)]
        t = np.sort(np.concatenate([even, more], axis=1))
    return t, _along(landscape, controls, t, pieces)


def highest(landscape, controls, pieces: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """f along each path (P, T), and parameter and value of its maximum, (P,), (P,).

    f is evaluated densely, in t and along the curve's length. Around the three highest local maxima
    a shrinking neighbourhood is searched: what lies between two of the places is not missed unless
    it is narrower than they. Where f is no number at one of the places, neither is
    the maximum.
    """
    if not len(controls):
        return np.empty((0, len(PROFILE_T))), np.empty(0), np.empty(0)
    t, values = profile(landscape, controls, pieces)
    unknown = np.isnan(values).any(axis=1)  # f may be anything there
    profiles = np.stack([v[row.searchsorted(PROFILE_T)] for row, v in zip(t, values, strict=True)])
    padded = np.pad(values, ((0, 0), (1, 1)), constant_values=-np.inf)
    local = (values >= padded[:, :-2]) & (values >= padded[:, 2:])
    tops = np.argsort(np.where(local, -values, np.inf), axis=1, kind="stable")[:, :3]
    gap = np.diff(t, axis=1)
    width = np.maximum(np.pad(gap, ((0, 0), (1, 0))), np.pad(gap, ((0, 0), (0, 1))))
    t, value, width = (np.take_along_axis(x, tops, axis=1) for x in (t, values, width))
    for _ in range(10):  # down to steps of 1e-9: a curve may cross its top very fast
        around = np.clip(t[..., None] + width[..., None] * np.linspace(-1, 1, 9), 0.0, 1.0)
        flat = around.reshape(len(t), -1)
        found = _along(landscape, controls, flat, pieces).reshape(around.shape)
        best = found.argmax(axis=2)[..., None]
        t = np.take_along_axis(around, best, axis=2)[..., 0]
        value = np.take_along_axis(found, best, axis=2)[..., 0]
        width = width / 4
    best = value.argmax(axis=1)[:, None]
    t = np.take_along_axis(t, best, axis=1)[:, 0]
    value = np.take_along_axis(value, best, axis=1)[:, 0]
    value = np.maximum(value, profiles.max(axis=1))
    return profiles, t, np.where(unknown, np.nan, value)
