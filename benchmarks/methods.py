"""The rivals of ``toscore.connect``, each written here from its paper.

Every method is a generator ``method(landscape, ends, clock, seed)`` that works on all pairs side by
side: ``ends`` (P, 2, D) are the minima, one ``loss_and_grad`` on a stack (P, m, D) is one step.
``clock()`` tells which share of the budget is used up; schedules that a paper gives in epochs are
stretched over it. Methods yield their curves after every step: ("chain", nodes (P, K, D)) for a
polygon, ("bezier", controls (P, K, D)); whoever calls them measures the curves and stops.

Step sizes are in units that carry over from one landscape to another: Adam's are relative to
the typical size of a coordinate of j - i; those of plain gradient descent are learning rates on
networks (where the papers give them) and, on the analytic surfaces, are scaled by the largest
curvature met on the straight line. A step to where f is not finite is halved and taken back.
"""

from __future__ import annotations

import torch

from toscore.curves import bernstein

NODES = 17


def straight_line(landscape, ends, clock, seed):
    """Linear interpolation (Goodfellow et al. 2015, arXiv:1412.6544): the chord and no more."""
    yield "chain", ends


def authors_scheme(landscape, ends, clock, seed, points=10, inserted=10, lr=0.1, momentum=0.9):
    """Barannikov et al. 2020, arXiv:2012.15834: normal-projected SGD with insertion of points.

    Gradient less the mean of its projections on the directions to the two neighbours; learning
    rate decaying by a factor of 250; from time to time two points are put in where the loss half
    way between neighbours is highest. Ends are kept here (the public code freezes and drops them).
    """
    nodes = _interpolate(ends, points)
    velocity, lr, halvings = torch.zeros_like(nodes), lr * _scale(landscape, ends), 0
    yield "chain", nodes
    while True:
        if nodes.shape[1] < points + inserted and clock() > (nodes.shape[1] - points + 2) / (
            inserted + 4
        ):
            nodes = _insert_two(landscape, nodes)
            velocity = torch.zeros_like(nodes)
        value, gradient = landscape.loss_and_grad(nodes[:, 1:-1])
        ahead = _unit(nodes[:, 2:] - nodes[:, 1:-1])
        behind = _unit(nodes[:, :-2] - nodes[:, 1:-1])
        along = [(gradient * d).sum(-1, keepdim=True) * d for d in (ahead, behind)]
        normal = gradient - (along[0] + along[1]) / 2
        velocity = momentum * velocity
        velocity[:, 1:-1] -= lr * 250 ** -clock() * 0.5**halvings * _finite(normal)
        nodes, blown = _unless_blown_up(landscape, nodes, nodes + velocity, value)
        velocity = velocity * ~blown[:, None, None]
        halvings += int(blown.any())
        yield "chain", nodes


def string_method(landscape, ends, clock, seed, lr=0.2):
    """E, Ren and Vanden-Eijnden 2007 (doi:10.1063/1.2720838): descend, then space out evenly."""
    nodes, halvings = _interpolate(ends, NODES), 0
    lr = lr * _scale(landscape, ends)
    yield "chain", nodes
    while True:
        value, gradient = landscape.loss_and_grad(nodes[:, 1:-1])
        moved = nodes.clone()
        moved[:, 1:-1] -= lr * 0.5**halvings * _finite(gradient)
        moved, blown = _unless_blown_up(landscape, nodes, moved, value)
        halvings += int(blown.any())
        nodes = _even(moved)
        yield "chain", nodes


def string_method_adam(landscape, ends, clock, seed, lr=0.1):
    """The string method with Adam's step in place of the gradient's."""
    nodes = _interpolate(ends, NODES)
    adam = _Adam(nodes[:, 1:-1], lr * _coordinate(ends))
    yield "chain", nodes
    while True:
        _, gradient = landscape.loss_and_grad(nodes[:, 1:-1])
        moved = nodes.clone()
        moved[:, 1:-1] += adam.step(gradient, clock())
        nodes = _even(moved)
        yield "chain", nodes


def autoneb(landscape, ends, clock, seed, lr=0.1, momentum=0.9, most=25):
    """Nudged elastic band (Henkelman and Jónsson 2000) in AutoNEB's schedule.

    Draxler et al. 2018 (arXiv:1803.00885), section 3: gradient without its component along the
    improved tangent, SGD with momentum, even spacing in place of springs; four cycles of falling
    learning rate, after each of which pivots are put in where the loss between two exceeds the
    line through them by a fifth of its height.
    """
    nodes = _interpolate(ends, 5)
    velocity, cycle, halvings = torch.zeros_like(nodes), 0, 0
    base = landscape.loss(ends).amax(1)
    lr = lr * _scale(landscape, ends)
    rates = (1.0, 1.0, 0.5, 0.1)
    yield "chain", nodes
    while True:
        if cycle < 3 and clock() > (cycle + 1) / 4:
            for _ in range(4):
                if nodes.shape[1] >= most:
                    break
                middle = landscape.loss((nodes[:, 1:] + nodes[:, :-1]) / 2)
                at = landscape.loss(nodes)
                over = middle - (at[:, 1:] + at[:, :-1]) / 2
                height = (at.amax(1) - base).clamp(min=1e-12)
                if not (over.amax(1) > 0.2 * height).any():
                    break
                nodes = _insert_two(landscape, nodes)
            velocity, cycle = torch.zeros_like(nodes), cycle + 1
        value, gradient = landscape.loss_and_grad(nodes)
        tangent = _improved_tangent(nodes, value)
        gradient = gradient[:, 1:-1]
        normal = gradient - (gradient * tangent).sum(-1, keepdim=True) * tangent
        velocity = momentum * velocity
        velocity[:, 1:-1] -= lr * rates[cycle] * 0.5**halvings * _finite(normal)
        moved, blown = _unless_blown_up(landscape, nodes, nodes + velocity, value[:, 1:-1])
        velocity = velocity * ~blown[:, None, None]
        halvings += int(blown.any())
        nodes = _even(moved)
        yield "chain", nodes


def garipov_bezier(landscape, ends, clock, seed, lr=0.1):
    """Garipov et al. 2018, arXiv:1802.10026, section 3.3: a quadratic Bézier curve, random t.

    One t a step as in the paper, all samples, and Adam in place of SGD (which was far slower).
    """
    yield from _random_points("bezier", landscape, ends, clock, seed, lr)


def garipov_chain(landscape, ends, clock, seed, lr=0.1):
    """The polygonal chain with one bend of the same paper, trained in the same way."""
    yield from _random_points("chain", landscape, ends, clock, seed, lr)


def _random_points(kind, landscape, ends, clock, seed, lr):
    nodes = _interpolate(ends, 3)
    adam = _Adam(nodes[:, 1:-1], lr * _coordinate(ends))
    draw = torch.Generator().manual_seed(seed)
    yield kind, nodes
    while True:
        t = torch.rand(len(ends), 1, generator=draw).to(ends)
        if kind == "bezier":
            basis = bernstein(t, 3)
        else:
            hat = 1 - (2 * t - 1).abs()
            basis = torch.stack([(1 - 2 * t).clamp(min=0), hat, (2 * t - 1).clamp(min=0)], dim=-1)
        _, gradient = landscape.loss_and_grad(basis @ nodes)
        moved = nodes.clone()
        moved[:, 1:-1] += adam.step(basis[:, 0, 1:2, None] * gradient, clock())
        nodes = moved
        yield kind, nodes


METHODS = {
    "straight line": straight_line,
    "authors' scheme": authors_scheme,
    "string method": string_method,
    "string method, Adam": string_method_adam,
    "AutoNEB": autoneb,
    "Bézier, random points": garipov_bezier,
    "chain, random points": garipov_chain,
}


# -- what they share -------------------------------------------------------------------------------


class _Adam:
    """Adam with a cosine schedule over the budget, on stacks (P, k, D)."""

    def __init__(self, like, lr, betas=(0.9, 0.99)):
        self.lr, self.betas, self.count = lr, betas, 0
        self.mean, self.square = torch.zeros_like(like), torch.zeros_like(like)

    def step(self, gradient, spent):
        gradient, (a, b) = _finite(gradient), self.betas
        self.count += 1
        self.mean = a * self.mean + (1 - a) * gradient
        self.square = b * self.square + (1 - b) * gradient**2
        mean, square = self.mean / (1 - a**self.count), self.square / (1 - b**self.count)
        rate = self.lr * 0.5 * (1 + torch.cos(torch.tensor(torch.pi * min(spent, 1.0))))
        return -rate.to(mean) * mean / (square.sqrt() + 1e-12)


def _coordinate(ends):
    """Typical size of a coordinate of j - i, (P, 1, 1)."""
    return (ends[:, 1] - ends[:, 0]).square().mean(dim=1).sqrt()[:, None, None]


def _scale(landscape, ends):
    """1 on networks; on a surface the inverse of the largest curvature met on the line."""
    if not hasattr(landscape, "box"):
        return 1.0
    nodes = _interpolate(ends, 33)[:, 1:-1]
    units = torch.eye(ends.shape[2]).to(ends)
    columns = [landscape.hvp(nodes, u.expand_as(nodes)).norm(dim=-1) for u in units]
    return 0.2 / torch.stack(columns).amax(dim=(0, 2))[:, None, None]


def _interpolate(ends, count):
    t = torch.linspace(0, 1, count).to(ends)[:, None]
    return (1 - t) * ends[:, :1] + t * ends[:, 1:]


def _unit(v):
    return v / v.norm(dim=-1, keepdim=True).clamp(min=1e-12)


def _finite(gradient):
    return gradient.nan_to_num(0.0, 0.0, 0.0)


def _unless_blown_up(landscape, old, new, value):
    """The new nodes, but the old ones of pairs that are no longer finite or ran away."""
    far = (new - old).norm(dim=-1).amax(1) > (old[:, -1] - old[:, 0]).norm(dim=-1)
    blown = far | ~value.isfinite().all(1) | ~new.isfinite().all(dim=(1, 2))
    return torch.where(blown[:, None, None], old, new), blown


def _even(nodes):
    """Nodes at equal arc length on the same polygon, (P, K, D)."""
    length = (nodes[:, 1:] - nodes[:, :-1]).norm(dim=-1)
    at = torch.cat([length.new_zeros(len(nodes), 1), length.cumsum(1)], dim=1)
    wanted = torch.linspace(0, 1, nodes.shape[1]).to(at) * at[:, -1:]
    right = torch.searchsorted(at, wanted.contiguous()).clamp(1, nodes.shape[1] - 1)
    low, high = at.gather(1, right - 1), at.gather(1, right)
    share = ((wanted - low) / (high - low).clamp(min=1e-12)).clamp(0, 1)[..., None]
    index = right[..., None].expand(-1, -1, nodes.shape[2])
    even = (1 - share) * nodes.gather(1, index - 1) + share * nodes.gather(1, index)
    even[:, 0], even[:, -1] = nodes[:, 0], nodes[:, -1]
    return even


def _insert_two(landscape, nodes):
    """The polygons with two more nodes, in the middle of the segments where f is highest."""
    middle = (nodes[:, 1:] + nodes[:, :-1]) / 2
    highest = landscape.loss(middle).nan_to_num(nan=-torch.inf).topk(2, dim=1).indices
    rows = []
    for polygon, between, where in zip(nodes, middle, highest, strict=True):
        for k in sorted(where.tolist(), reverse=True):
            polygon = torch.cat([polygon[: k + 1], between[k : k + 1], polygon[k + 1 :]])
        rows.append(polygon)
    return torch.stack(rows)


def _improved_tangent(nodes, value):
    """Towards the higher neighbour: Henkelman and Jónsson 2000, doi:10.1063/1.1323224."""
    ahead, behind = nodes[:, 2:] - nodes[:, 1:-1], nodes[:, 1:-1] - nodes[:, :-2]
    up, down = value[:, 2:] - value[:, 1:-1], value[:, :-2] - value[:, 1:-1]
    most, least = torch.maximum(up.abs(), down.abs()), torch.minimum(up.abs(), down.abs())
    higher_ahead = value[:, 2:] > value[:, :-2]
    mixed = torch.where(
        higher_ahead[..., None],
        ahead * most[..., None] + behind * least[..., None],
        ahead * least[..., None] + behind * most[..., None],
    )
    rising, falling = (up > 0) & (down < 0), (up < 0) & (down > 0)
    tangent = torch.where(rising[..., None], ahead, torch.where(falling[..., None], behind, mixed))
    return _unit(tangent)
