"""Several minima of a landscape, found side by side from seeded starting points."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import torch
from scipy.optimize import Bounds, minimize
from tqdm import tqdm

from toscore.lbfgs import Memory, minimise
from toscore.saddles import DENSE, LARGEST, find_saddle

__all__ = ["Minima", "find_minima"]

_BLOCK = 50  # iterations of L-BFGS between two looks at the gradient
_MEMORY = 200, 2**23  # most steps it remembers, and the bytes they may take up for one start
_FIRST = 1e-3  # length of its first step, as a share of 1 + |theta|
_ROUND = 200  # its iterations in the eigenvectors of one Hessian
_FLAT = 1e-10  # curvatures below this share of the largest are rounding


@dataclass(frozen=True, eq=False)
class Minima:
    """Minima of one landscape, in the order of their starting points.

    Attributes
    ----------
    theta : tensor (N, D)
        The points, on the landscape's device and in its dtype.
    loss, grad_norm : float64 arrays (N,)
        Value of f and Euclidean norm of its gradient there; on the boundary of a surface's box
        without the components that push outwards. Where the norm is above ``grad_tol``, that of
        the point where training ended, in float64, stands for it: ``theta`` may be its rounding to
        float32, and where the loss is steep, a gradient taken there tells more of the rounding.
    stationary : bool array (N,)
        ``grad_norm <= grad_tol``. Where it is False the point is only a place where the budget
        ran out, and its birth an upper bound. It says nothing of the Hessian: where the budget
        ended before Newton's method did, a saddle may be among the points.
    grad_tol : float
        The tolerance they were found with.
    train_error, test_error : float64 arrays (N,) or None
        Misclassified shares, where the landscape has labels and held-out data were given.
    start : int64 array (N,)
        Number of the starting point each came from; others ended in a minimum already listed.
    evaluations : int64 array (N,)
        Gradients of the full f, and Hessian-vector products, spent on each in the second stage.
    seconds : float
        Time that all of them took.

    Examples
    --------
    >>> import toscore as ts
    >>> found = ts.find_minima(ts.surfaces.himmelblau(), 12, progress=False)
    >>> len(found), bool(found.stationary.all())
    (4, True)
    """

    theta: torch.Tensor
    loss: np.ndarray
    grad_norm: np.ndarray
    stationary: np.ndarray
    grad_tol: float
    train_error: np.ndarray | None
    test_error: np.ndarray | None
    start: np.ndarray
    evaluations: np.ndarray
    seconds: float

    def __len__(self) -> int:
        return len(self.theta)

    def to_frame(self) -> pd.DataFrame:
        """Tidy table, one row a minimum (without the points themselves).

        Examples
        --------
        >>> import toscore as ts
        >>> found = ts.find_minima(ts.surfaces.mueller_brown(), 12, progress=False)
        >>> sorted(found.to_frame().loss.round(2))
        [-146.7, -108.17, -80.77]
        """
        names = ["start", "loss", "grad_norm", "stationary", "train_error", "test_error"]
        columns = {k: getattr(self, k) for k in [*names, "evaluations"]}
        return pd.DataFrame({k: v for k, v in columns.items() if v is not None})


def find_minima(
    landscape,
    n: int,
    seed: int = 0,
    *,
    steps: int | None = None,
    lr: float = 0.01,
    schedule: str = "annealed",
    batch_size: int | None = None,
    max_evaluations: int = 5000,
    preconditioned: int = 0,
    newton_steps: int = 0,
    grad_tol: float | None = None,
    same: float = 1e-3,
    held_out=None,
    progress: bool = True,
) -> Minima:
    """Minima reached from n starting points.

    First Adam trains all n side by side; then L-BFGS takes each down to a gradient norm of
    ``grad_tol``, or as far as ``max_evaluations`` allow, the second half of them in float64. Models
    of up to 1500 parameters are polished by Newton's method with what is left of them, which also
    leaves the saddles that a small gradient may hide.

    Parameters
    ----------
    landscape : Landscape or Surface
        Whose minima.
    n : int
        Number of starts. Start i depends on (seed, i) alone.
    seed : int
        What they and their mini-batches depend on.
    steps : int, optional
        Steps of Adam; by default 400 on a network and 0 on an analytic surface.
    lr : float
        Step size of Adam, at first.
    schedule : "annealed" or "constant"
        Whether it falls to zero, along a cosine, or stays what it is.
    batch_size : int, optional
        Samples per Adam step, drawn for each start on its own; by default all.
    max_evaluations : int
        Budget of this stage for each start, in gradients of f and Hessian-vector products (the step
        that is under way is finished, so a few more may be spent).
    preconditioned : int
        Rounds of L-BFGS that may follow on networks of up to 4000 parameters where this budget ends
        above ``grad_tol``. Each takes D products with the Hessian, of whose eigenvectors it makes
        coordinates in which all curvatures are about 1, and 200 gradients, all on top of the
        budget. Where curvatures differ by many orders of magnitude, these get much further than
        as many gradients in the parameters themselves.
    newton_steps : int
        Steps of Newton's method that may follow, where that is above ``grad_tol`` still, on the
        same networks; D more products each. In valleys that are curved as well as steep, each is
        short, and a round of the above worth many of them.
    grad_tol : float, optional
        Gradient norm at which a point counts as stationary: 1e-4 in float32, 1e-6 in float64.
    same : float
        Two ends within ``same * (1 + |theta|)`` of each other, and level within 1e-3 of their
        loss (of 1, for losses below 1), are one minimum, kept once (the lower end).
    held_out : (inputs, targets), optional
        Held-out data for ``test_error``.
    progress : bool
        Show progress bars (also silenced by the environment variable TQDM_DISABLE=1).

    Returns
    -------
    Minima
        At most n of them. The same seed gives the same minima on the same machine and thread
        count; elsewhere rounding differs and training amplifies it, so that single minima may.

    Raises
    ------
    ValueError
        Counts, step sizes or tolerances out of range, or held-out data that
        :meth:`Landscape.error` does not take.
    TypeError
        As there.
    FloatingPointError
        Training reached a loss that is not finite; the message names the start and the cure.

    References
    ----------
    Kingma and Ba 2015 (arXiv:1412.6980) for Adam; Liu and Nocedal 1989 (doi:10.1007/BF01589116) for
    L-BFGS; Nocedal and Wright 2006 (doi:10.1007/978-0-387-40065-5), section 7.2, for its first
    matrix, which the rounds take from the Hessian.

    Examples
    --------
    >>> import toscore as ts
    >>> data = ts.load_data("digits", n_train=50)
    >>> network = ts.mlp(data.shape, width=2, activation="gelu")
    >>> land = ts.Landscape(network, data.x_train, data.y_train)
    >>> found = ts.find_minima(land, 2, steps=20, max_evaluations=50, progress=False)
    >>> found.theta.shape, bool((found.loss < 2.3).all())
    (torch.Size([2, 160]), True)
    """
    data = hasattr(landscape, "inputs")
    steps = (400 if data else 0) if steps is None else steps
    grad_tol = (
        (1e-4 if landscape.dtype == torch.float32 else 1e-6) if grad_tol is None else grad_tol
    )
    for name, value, least in (
        ("n", n, 1),
        ("steps", steps, 0),
        ("max_evaluations", max_evaluations, 0),
        ("preconditioned", preconditioned, 0),
        ("newton_steps", newton_steps, 0),
    ):
        if value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}")
    for name, value in (("lr", lr), ("grad_tol", grad_tol)):
        if not 0 < value < np.inf:
            raise ValueError(f"{name} must be positive and finite, got {value}")
    if not 0 <= same < np.inf:
        raise ValueError(f"same must be at least 0 and finite, got {same}")
    if batch_size is not None and not (data and 1 <= batch_size <= len(landscape.inputs)):
        size = len(landscape.inputs) if data else "no"
        raise ValueError(f"batch_size is {batch_size}, but the landscape has {size} samples")

    if schedule not in ("annealed", "constant"):
        raise ValueError(f"schedule must be 'annealed' or 'constant', got {schedule!r}")
    labelled = data and landscape.classifies
    if held_out is not None and not labelled:
        raise ValueError(
            "held_out needs a landscape with one integer label a sample and a score for each class"
        )
    if held_out is not None:  # a fault in them must not show after the training
        landscape.error(landscape.start, *held_out)
    began = time.perf_counter()
    theta = landscape.sample(n, seed)
    theta = _adam(landscape, theta, seed, steps, lr, schedule, batch_size, progress)
    if data:
        most = max_evaluations, preconditioned, newton_steps
        ends = _side_by_side(landscape, theta, *most, grad_tol, progress)
    else:
        bar = progress_bar(progress, theta, desc="L-BFGS")
        ends = [_lbfgs(landscape, point, max_evaluations, grad_tol) for point in bar]
    exact = torch.stack([e[0].double() for e in ends])
    theta = exact.to(theta)
    evaluations = np.array([e[1] for e in ends], dtype=np.int64)

    values, gradients = landscape.loss_and_grad(theta)
    for i in np.flatnonzero(~torch.isfinite(values).cpu().numpy()):
        raise FloatingPointError(
            f"training from start {i} (seed {seed}) reached the loss {float(values[i])}: lower lr "
            f"(now {lr}) or check the inputs' scale"
        )
    loss = values.cpu().double().numpy()
    start = _distinct(theta, loss, same)
    theta, loss = theta[start], loss[start]
    box = getattr(landscape, "box", None)
    norms = _projected(theta, gradients[start], box).double().norm(dim=1)
    if (norms > grad_tol).any():
        # float32 may not resolve a steep loss so far, neither in its points nor in its sums
        gradients = landscape.double().loss_and_grad(exact[start])[1]
        exactly = _projected(exact[start], gradients, box).norm(dim=1)
        norms = torch.where(norms > grad_tol, exactly, norms)
    grad_norm = norms.cpu().numpy()
    return Minima(
        theta=theta,
        loss=loss,
        grad_norm=grad_norm,
        stationary=grad_norm <= grad_tol,
        grad_tol=grad_tol,
        train_error=landscape.error(theta).cpu().double().numpy() if labelled else None,
        test_error=landscape.error(theta, *held_out).cpu().double().numpy() if held_out else None,
        start=start,
        evaluations=evaluations[start],
        seconds=time.perf_counter() - began,
    )


def progress_bar(progress: bool, *args, **kwargs) -> tqdm:
    """A tqdm bar; one that is wanted still heeds TQDM_DISABLE, which disable=False would not."""
    return tqdm(*args, **kwargs) if progress else tqdm(*args, disable=True, **kwargs)


def _adam(landscape, theta, seed, steps, lr, schedule, batch_size, progress) -> torch.Tensor:
    """Adam on the whole stack (n, D) at once; it acts on each number alone, so on each start."""
    if not steps:
        return theta
    theta, box = theta.clone(), getattr(landscape, "box", None)
    optimiser = torch.optim.Adam([theta], lr=lr)
    last = 0.0 if schedule == "annealed" else lr
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps, eta_min=last)
    draws = [np.random.default_rng([seed, i, 1]) for i in range(len(theta))]
    bar = progress_bar(progress, range(steps), desc="Adam")
    for _ in bar:
        batch = None
        if batch_size is not None:
            size = len(landscape.inputs)
            batch = np.array([d.choice(size, batch_size, replace=False) for d in draws])
        values, theta.grad = landscape.loss_and_grad(theta, batch)
        optimiser.step()
        schedule.step()
        if box is not None:
            theta.clamp_(*box.T)
        bar.set_postfix_str(f"mean loss {float(values.mean()):.4g}", refresh=False)
    return theta


def _side_by_side(
    landscape, theta, max_evaluations, rounds, newton_steps, grad_tol, progress
) -> list:
    """L-BFGS from a whole stack (n, D), then what needs Hessians: (end point, cost) of each start.

    The second half of the budget, and all that follows, are in float64: float32 does not resolve
    the last of the decrease.
    """
    if landscape.dim > LARGEST:
        rounds = newton_steps = 0
    # half the tolerance, as rounding the end to float32 lengthens its gradient again
    tol = grad_tol / 2 if landscape.dtype == torch.float32 else grad_tol
    f, x, spent = landscape, theta.clone(), np.zeros(len(theta), dtype=np.int64)
    most = _MEMORY[1] // (16 * landscape.dim)
    memory = Memory.empty(x, int(np.clip(most, 5, _MEMORY[0])))
    live = torch.arange(len(x), device=x.device)
    for done in progress_bar(progress, range(0, max_evaluations, _BLOCK), desc="L-BFGS"):
        if done >= max_evaluations // 2:
            f, x, memory = landscape.double(), x.double(), memory.double()
        norm = f.loss_and_grad(x[live])[1].norm(dim=1)
        going = (norm > tol) & norm.isfinite()
        spent[live.cpu().numpy()] += 1
        live, memory = live[going], memory.of_rows(going)
        if not len(live):
            break
        steps = min(_BLOCK, max_evaluations - done) - 2
        if steps > 0:
            first = _FIRST * (1 + x[live].norm(dim=1))
            x[live], _ = minimise(f.loss_and_grad, x[live], steps, memory, first)
            spent[live.cpu().numpy()] += steps + 1
    f, dim, ends = landscape.double(), landscape.dim, []
    extra = {"fast": True, "max_products": newton_steps * dim}
    for point, cost in zip(x.double(), spent.tolist(), strict=True):
        polish = (max_evaluations - cost) // dim if dim <= DENSE else 0
        point, polished = _newton(f, point, polish)
        point, hessians = _preconditioned(f, point, rounds, tol)
        scaled = hessians * (dim + _ROUND + 2)
        point, further = _newton(f, point, newton_steps, tol, **extra)
        ends.append((point, cost + polished + scaled + further))
    return ends


def _preconditioned(landscape, point, rounds, above) -> tuple[torch.Tensor, int]:
    """Rounds of L-BFGS in the eigenvectors of the Hessian, from a point (D,): its end, how many.

    Each is scaled to curvature 1, so that the first step is Newton's, downhill along all of them.
    What then changes along a curved valley L-BFGS learns from gradients; a Hessian costs hundreds.
    """
    for done in range(rounds):
        value, gradient = landscape.loss_and_grad(point)
        if not above < float(gradient.norm()) < np.inf:
            return point, done
        curvatures, scaled = torch.linalg.eigh(landscape.hessian(point))
        curvatures = curvatures.abs()
        scaled /= curvatures.clamp(min=_FLAT * float(curvatures.max())).sqrt()
        within = partial(_in_coordinates, landscape, point, scaled)
        none = torch.zeros_like(point)[None]
        first = (gradient @ scaled).norm()[None]
        end, lowest = minimise(within, none, _ROUND, Memory.empty(none, _ROUND), first)
        if not lowest[0] < value:
            return point, done + 1
        point = point + scaled @ end[0]
    return point, rounds


def _in_coordinates(landscape, origin, vectors, y) -> tuple[torch.Tensor, torch.Tensor]:
    """Values (P,) and gradients (P, D) of f at origin + vectors @ y, by y (P, D)."""
    value, gradient = landscape.loss_and_grad(origin + y @ vectors.T)
    return value, gradient @ vectors


def _lbfgs(surface, point, max_evaluations, grad_tol) -> tuple[torch.Tensor, int]:
    """scipy's L-BFGS-B from one point (D,) of a surface in its box: end point, gradients spent."""
    count, norm = 0, np.inf

    def value_and_gradient(x):
        nonlocal count, norm
        count += 1
        value, gradient = surface.loss_and_grad(torch.from_numpy(x))
        norm = float(_projected(torch.from_numpy(x), gradient, surface.box).double().norm())
        return float(value), gradient.cpu().double().numpy()

    def stop_when_stationary(intermediate_result):
        if norm <= grad_tol:
            raise StopIteration

    start = point.cpu().double().numpy()
    if not max_evaluations or not np.isfinite(start).all():
        return point, 0
    while True:
        before, left = count, max_evaluations - count
        # ftol 0: the gradient decides, not the decrease
        options = {"maxcor": 20, "ftol": 0.0, "gtol": 0.0, "maxfun": left, "maxiter": left}
        end = minimize(
            value_and_gradient,
            start,
            jac=True,
            method="L-BFGS-B",
            bounds=Bounds(*surface.box.T.numpy()),
            callback=stop_when_stationary,
            options=options,
        )
        # a line search that fails on stale curvature gets a fresh start, unless it moved nowhere
        stuck = np.array_equal(end.x, start) or count - before < 3
        start = end.x
        if norm <= grad_tol or count >= max_evaluations or stuck:
            return torch.from_numpy(start).to(point), count


def _newton(landscape, point, steps, above=0.0, **settings) -> tuple[torch.Tensor, int]:
    """Newton's method from a point (D,) whose gradient is longer than that: its end, and products.

    All in float64. An end that is higher than the point is not taken.
    """
    if steps < 1 or not above < float(landscape.loss_and_grad(point)[1].norm()) < np.inf:
        return point, 0
    end = find_saddle(landscape, point, index=0, grad_tol=1e-8, max_iterations=steps, **settings)
    return (end.point if end.value <= float(landscape.loss(point)) else point), end.products


def _projected(theta: torch.Tensor, gradient: torch.Tensor, box) -> torch.Tensor:
    """The gradient without the components that only push against a side of the box."""
    if box is None:
        return gradient
    low, high = box.T
    held = ((theta <= low) & (gradient > 0)) | ((theta >= high) & (gradient < 0))
    return gradient.masked_fill(held, 0.0)


def _distinct(theta: torch.Tensor, loss: np.ndarray, same: float) -> np.ndarray:
    """Numbers of the ends that are different minima, the lower end of each; int64, rising."""
    kept: list[int] = []
    for i in np.argsort(loss, kind="stable"):
        for j in kept:
            distance = float((theta[i] - theta[j]).norm())
            near = distance <= same * (1 + float(theta[j].norm()))
            if near and loss[i] - loss[j] <= 1e-3 * max(1.0, abs(loss[j])):
                break
        else:
            kept.append(int(i))
    return np.sort(np.array(kept, dtype=np.int64))
