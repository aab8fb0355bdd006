"""L-BFGS for many functions side by side: each row of a stack is minimised on its own.

One call of the objective serves all rows, which is what a batched landscape wants. A row depends
on nothing but itself: alone or beside others it takes the same steps, up to rounding.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

__all__ = ["Memory", "minimise"]

_ARMIJO = 1e-4  # least share of the predicted decrease a step must bring
_CUT = 0.3  # a step that does not is cut by this factor


@dataclass
class Memory:
    """The last steps and gradient changes of every row, and their inner products.

    Attributes
    ----------
    steps, changes : tensors (P, m, n)
        s = x' - x and y = g' - g, in a ring: slot ``count % m`` is overwritten next.
    sy, yy : float64 tensors (P, m, m)
        s_i·y_j and y_i·y_j; unused slots hold a unit matrix in ``sy``, so they change nothing.
    count : int64 tensor (P,)
        Pairs (s, y) taken in so far.
    """

    steps: torch.Tensor
    changes: torch.Tensor
    sy: torch.Tensor
    yy: torch.Tensor
    count: torch.Tensor

    @classmethod
    def empty(cls, like: torch.Tensor, m: int) -> Memory:
        """For rows like those of a tensor (P, n)."""
        rows, n = like.shape
        unit = torch.eye(m, dtype=torch.float64, device=like.device).repeat(rows, 1, 1)
        return cls(
            like.new_zeros(rows, m, n),
            like.new_zeros(rows, m, n),
            unit,
            torch.zeros_like(unit),
            torch.zeros(rows, dtype=torch.int64, device=like.device),
        )

    def of_rows(self, rows: torch.Tensor) -> Memory:
        return Memory(*(getattr(self, k)[rows] for k in self.__dataclass_fields__))

    def double(self) -> Memory:
        return replace(self, steps=self.steps.double(), changes=self.changes.double())

    @classmethod
    def cat(cls, memories: list[Memory]) -> Memory:
        """The rows of several as one."""
        return cls(
            *(torch.cat([getattr(m, k) for m in memories]) for k in cls.__dataclass_fields__)
        )

    def add(self, s: torch.Tensor, y: torch.Tensor, taken: torch.Tensor) -> None:
        """Take in the steps s and gradient changes y (P, n) of the rows where ``taken`` (P,)."""
        curvature = (s * y).sum(dim=1)
        # without positive curvature the quasi-Newton matrix would not stay positive definite
        taken = taken & (curvature > 1e-8 * s.norm(dim=1) * y.norm(dim=1))
        rows = taken.nonzero()[:, 0]
        slot = self.count[rows] % self.steps.shape[1]
        self.steps[rows, slot], self.changes[rows, slot] = s[rows], y[rows]
        # over all rows, then the ones wanted: indexing the big arrays would copy them
        s_new, y_new = _products(self.changes, s)[rows], _products(self.changes, y)[rows]
        self.sy[rows, slot, :], self.sy[rows, :, slot] = s_new, _products(self.steps, y)[rows]
        self.yy[rows, slot, :], self.yy[rows, :, slot] = y_new, y_new
        self.count[rows] += 1

    def direction(self, gradient: torch.Tensor) -> torch.Tensor:
        """-H g with the inverse Hessian's L-BFGS estimate H; (P, n) -> (P, n).

        The compact form of Byrd, Nocedal and Schnabel 1994 (doi:10.1007/BF01582063), eq. 3.13:
        four products with the stored vectors instead of a loop over them.
        """
        rows, m, _ = self.steps.shape
        slots = torch.arange(m, device=gradient.device)
        begin = torch.where(self.count > m, self.count % m, 0)
        order = (slots + begin[:, None]) % m  # oldest first

        def sort(matrix):
            there = matrix.gather(1, order[:, :, None].expand(rows, m, m))
            return there.gather(2, order[:, None, :].expand(rows, m, m))

        def product(vectors):
            return _products(vectors, gradient).gather(1, order)

        sy, yy = sort(self.sy), sort(self.yy)
        last = (self.count - 1).clamp(min=0) % m
        at = torch.arange(rows, device=gradient.device)
        scale = torch.where(self.count > 0, self.sy[at, last, last] / self.yy[at, last, last], 1.0)
        scale = scale[:, None, None]
        upper = sy.triu()
        u = torch.linalg.solve_triangular(upper, product(self.steps)[..., None], upper=True)
        right = sy.diagonal(dim1=1, dim2=2)[..., None] * u
        right = right + scale * (yy @ u - product(self.changes)[..., None])
        v = torch.linalg.solve_triangular(upper.mT, right, upper=False)
        back = order.argsort(dim=1)
        u, v = ((w[..., 0].gather(1, back)[:, None]).to(gradient) for w in (scale * u, v))
        along = torch.bmm(v, self.steps) - torch.bmm(u, self.changes)
        return -(scale[..., 0].to(gradient) * gradient + along[:, 0])


def _products(vectors: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Inner products of stored vectors (P, m, n) with x (P, n), float64 (P, m).

    Written with x as a row: on CPUs torch takes a column several times as long.
    """
    return torch.bmm(x[:, None], vectors.mT)[:, 0].double()


def minimise(objective, x, iterations: int, memory: Memory, first_step: torch.Tensor):
    """Some iterations of L-BFGS from every row of x, with steps cut back until they descend.

    Parameters
    ----------
    objective : callable (P, n) -> (P,), (P, n)
        Values and gradients of all rows.
    x : tensor (P, n)
    iterations : int
        One call of the objective each, and one more.
    memory : Memory
        Filled as it goes; one that was filled before speeds up the beginning.
    first_step : tensor (P,)
        Length of the first step where the memory is empty, along the gradient.

    Returns
    -------
    x, values : tensors (P, n), (P,)
        No row ends higher than it began; one whose value or gradient is not finite stays where it
        was the last time they were.
    """
    value, gradient = objective(x)
    usable = value.isfinite() & gradient.isfinite().all(dim=1)
    gradient = gradient.where(usable[:, None], 0.0)
    direction = memory.direction(gradient)
    length = gradient.norm(dim=1).clamp(min=1e-30)
    step = torch.where(memory.count > 0, 1.0, (first_step / length).to(x))
    for _ in range(iterations):
        slope = (gradient * direction).sum(dim=1)
        uphill = slope >= 0
        direction = torch.where(uphill[:, None], -gradient, direction)
        slope = torch.where(uphill, -(gradient**2).sum(dim=1), slope)
        new = x + step[:, None] * direction
        new_value, new_gradient = objective(new)
        good = new_value.isfinite() & new_gradient.isfinite().all(dim=1)
        good &= new_value <= value + _ARMIJO * step * slope
        memory.add(new - x, new_gradient - gradient, good)
        x = torch.where(good[:, None], new, x)
        value = torch.where(good, new_value, value)
        gradient = torch.where(good[:, None], new_gradient, gradient)
        direction = torch.where(good[:, None], memory.direction(gradient), direction)
        step = torch.where(good, 1.0, _CUT * step)
    return x, value
