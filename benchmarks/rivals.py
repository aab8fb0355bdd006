"""The methods that ``toscore.connect`` is compared with, each written from its paper.

Every rival is a generator ``rival(landscape, ends, clock, seed)``. ``ends`` (P, 2, D) are the
minima to join; all pairs are worked on side by side, one step being one ``loss_and_grad`` of a
stack (P, m, D), and none depends on the others. The curves are yielded first as straight lines and
then after every step, as ("chain", nodes (P, K, D)), a polygon, or ("bezier", controls (P, K, D)).
Whoever calls measures the curves and stops. ``clock.spent`` in [0, 1] is the share of the budget
that is used up; what a paper plans in epochs is planned here in shares of the budget.

All gradients are those of the full loss, weight decay included, so no rival adds its own.

Learning rates are as in the papers, tuned on small networks, and mean the same for all landscapes
in this way: Adam's are in units of the typical coordinate of the difference of the two ends; those
of gradient descent are plain on networks, and on analytic surfaces, whose gradients may be any
size, 1 is the rate that moves the steepest point of the straight line by the line's own length.
"""

from __future__ import annotations

import math

import torch

from toscore.curves import bernstein

SLACK = 1.0
RATCHET = 1
GROW = 1.1


def straight_line(landscape, ends, clock, seed):
    """Linear interpolation: Goodfellow, Vinyals and Saxe 2015, arXiv:1412.6544, section 3."""
    yield "chain", ends.clone()


def authors_scheme(
    landscape, ends, clock, seed, *, points=10, insertions=8, lr=0.5, lowest=2e-3, momentum=0.9
):
    """Barannikov et al. 2020, arXiv:2012.15834: gradient descent across the path, points put in.

    Each point moves by the gradient less the mean of its projections on the directions to the two
    neighbours, with momentum and a rate that decays from ``lr`` to ``lowest``. At even intervals
    two points are put in, halfway along the segments on whose middle the loss is highest.
    """
    nodes = _straight(ends, points)
    yield "chain", nodes
    guard, sgd, unit, done = _Guard(nodes), _Momentum(momentum), _unit_rate(landscape, ends), 0
    while True:
        if done < min(insertions, math.floor(clock.spent * (insertions + 1))):
            middle = landscape.loss((nodes[:, 1:] + nodes[:, :-1]) / 2)
            split = middle.nan_to_num(nan=-torch.inf).topk(2, dim=1).indices
            guard.limit = None
            nodes, guard.nodes, sgd, done = (
                *_halve((nodes, guard.nodes), split),
                sgd.new(),
                done + 1,
            )
        value, gradient = landscape.loss_and_grad(nodes[:, 1:-1])
        nodes, gradient, bad = guard(nodes, value, gradient)
        yield "chain", nodes
        ahead, behind = (
            _normed(nodes[:, 2:] - nodes[:, 1:-1]),
            _normed(nodes[:, :-2] - nodes[:, 1:-1]),
        )
        along = _dot(gradient, ahead) * ahead + _dot(gradient, behind) * behind
        rate = lr * (lowest / lr) ** min(clock.spent, 1.0) * unit * guard.share
        nodes = _moved(nodes, rate * sgd(gradient - along / 2, bad))


def string_method(landscape, ends, clock, seed, *, images=17, optimiser="gd", lr=None, rule=True):
    """Simplified string method: E, Ren and Vanden-Eijnden 2007, doi:10.1063/1.2720838, section III.

    Every image takes a step down the gradient; then the images are put at equal distances along
    the polygon. The paper's step size is constant, and to be chosen below the limit of stability;
    with "gd" it is found on the way: a fifth longer after each step, but half as long where the
    gradients across the string turned against those before. With "adam" the steps are Adam's.
    """
    nodes = _straight(ends, images)
    yield "chain", nodes
    guard, last = _Guard(nodes), 0.0
    if optimiser == "adam":
        step, rate = _Adam(), (lr or 0.1) * _coordinate(ends)
    else:
        step, rate = _Momentum(0.0), (lr or 0.05) * _unit_rate(landscape, ends)
    while True:
        value, gradient = landscape.loss_and_grad(nodes[:, 1:-1])
        nodes, gradient, bad = guard(nodes, value, gradient)
        yield "chain", nodes
        if optimiser == "adam":
            now = rate * _cosine(clock)
        elif rule:
            tangent = _normed(nodes[:, 2:] - nodes[:, :-2])
            across = gradient - _dot(gradient, tangent) * tangent
            turned = (across * last).sum(dim=(1, 2), keepdim=True) < 0
            rate, last = rate * torch.where(turned, 0.5, 1.2), across
            now = rate
        else:
            now = rate
        nodes = _spaced(_moved(nodes, now * guard.share * step(gradient, bad)))


def string_method_adam(landscape, ends, clock, seed, **settings):
    """The string method with Adam's step in place of the gradient's."""
    return string_method(landscape, ends, clock, seed, optimiser="adam", **settings)


def autoneb(
    landscape,
    ends,
    clock,
    seed,
    *,
    rates=(0.1, 0.1, 0.05, 0.01),
    pivots=3,
    inserted=4,
    momentum=0.9,
):
    """AutoNEB for networks: Draxler et al. 2018, arXiv:1803.00885, section 3 and their code.

    The nudged elastic band with the improved tangent (Henkelman and Jónsson 2000,
    doi:10.1063/1.1323224): pivots move by the gradient less its component along the path. There
    are no springs; before each step the pivots are spaced out along the path, in the proportions
    they were put in with. Each cycle has its learning rate, and puts in pivots halfway along the
    segments where the loss exceeds most what is linear between the segment's ends.
    """
    # The paper leaves out segments with less excess than a fifth of the highest. Here all pairs
    # take as many pivots, so that they stay side by side; one more does not change the polygon.
    nodes = _straight(ends, pivots + 2)
    yield "chain", nodes
    guard, sgd, unit, cycle = _Guard(nodes), _Momentum(momentum), _unit_rate(landscape, ends), 0
    spacing, at_ends = torch.ones_like(nodes[:, 1:, 0]), landscape.loss(ends)
    while True:
        nodes = _spaced(nodes, spacing)
        inner, gradient = landscape.loss_and_grad(nodes[:, 1:-1])
        nodes, gradient, bad = guard(nodes, inner, gradient)
        yield "chain", nodes
        value = torch.cat([at_ends[:, :1], inner, at_ends[:, 1:]], dim=1)
        if cycle < min(len(rates) - 1, math.floor(clock.spent * len(rates))):
            middle = landscape.loss((nodes[:, 1:] + nodes[:, :-1]) / 2)
            excess = (middle - (value[:, 1:] + value[:, :-1]) / 2).nan_to_num(nan=-torch.inf)
            split = excess.topk(min(inserted, excess.shape[1]), dim=1).indices
            (nodes,), spacing = _halve([nodes], split), _halve_spacing(spacing, split)
            guard.limit = None
            guard.nodes, sgd, cycle = nodes, sgd.new(), cycle + 1
        else:
            tangent = _tangent(nodes, value)
            across = gradient - _dot(gradient, tangent) * tangent
            nodes = _moved(nodes, rates[cycle] * unit * guard.share * sgd(across, bad))


def fge_bezier(landscape, ends, clock, seed, **settings):
    """Quadratic Bézier curve: Garipov et al. 2018, arXiv:1802.10026, section 3.2 and 3.3."""
    return _trained_curve("bezier", landscape, ends, clock, seed, **settings)


def fge_chain(landscape, ends, clock, seed, **settings):
    """Polygonal chain with one bend: Garipov et al. 2018, arXiv:1802.10026, section 3.2 and 3.3."""
    return _trained_curve("chain", landscape, ends, clock, seed, **settings)


def _trained_curve(
    kind, landscape, ends, clock, seed, *, bends=1, points=1, optimiser="adam", lr=None
):
    """A curve trained by its mean loss, of which a step sees ``points`` uniformly random places.

    The paper draws one, and steps by SGD with momentum 0.9; Adam does better (see the defaults).
    The learning rate is the paper's code's: constant up to half of the training, then linear down
    to a hundredth at nine tenths.
    """
    nodes = _straight(ends, bends + 2)
    yield kind, nodes
    guard, draw = _Guard(nodes, bounded=False), torch.Generator().manual_seed(seed)
    if optimiser == "adam":
        step, rate = _Adam(), (lr or 0.1) * _coordinate(ends)
    else:
        step, rate = _Momentum(0.9), (lr or 0.1) * _unit_rate(landscape, ends)
    while True:
        t = torch.rand(points, 1, generator=draw, dtype=torch.float64)  # the same for all pairs
        if kind == "bezier":
            basis = bernstein(t[:, 0], bends + 2)
        else:
            basis = (1 - (t * (bends + 1) - torch.arange(bends + 2)).abs()).clamp(min=0)
        basis = basis.to(ends)
        value, gradient = landscape.loss_and_grad(basis @ nodes)
        nodes, gradient, bad = guard(nodes, value, basis[:, 1:-1].T @ gradient / points)
        schedule = max(0.01, min(1.0, 1 - 0.99 * (clock.spent - 0.5) / 0.4))
        nodes = _moved(nodes, schedule * rate * guard.share * step(gradient, bad))
        yield kind, nodes


RIVALS = {
    "straight line": straight_line,
    "authors' scheme": authors_scheme,
    "string method": string_method,
    "string method, Adam": string_method_adam,
    "AutoNEB": autoneb,
    "Bézier, Garipov": fge_bezier,
    "polygonal chain, Garipov": fge_chain,
}


# -- steps -----------------------------------------------------------------------------------------


class _Guard:
    """Takes a pair that blew up back to its last sound curve, and halves its steps from then on.

    Blown up is where f or its gradient is not finite or, if ``bounded``, where f is further above
    the highest value on the straight line than that is above the lowest.
    """

    def __init__(self, nodes, bounded=True):
        self.nodes, self.bounded, self.limit = nodes, bounded, None
        self.share = torch.ones_like(nodes[:, :1, :1])

    def __call__(self, nodes, value, gradient):
        """The sound curves, the gradients (zero where there was none), and who blew up."""
        high = value.amax(dim=1)
        sound = value.isfinite().all(dim=1) & gradient.isfinite().all(dim=(1, 2))
        if self.limit is not None:
            sound = sound & (high <= self.limit)
        now = high + SLACK * (high - value.amin(dim=1)) if self.bounded else high + torch.inf
        self.limit = (
            now
            if self.limit is None
            else torch.where(
                sound,
                torch.minimum(now, self.limit) if RATCHET == 2 else now if RATCHET else self.limit,
                self.limit,
            )
        )
        bad = ~sound[:, None, None]
        self.share = torch.where(bad, self.share / 2, (self.share * GROW).clamp(max=1))
        self.nodes = torch.where(bad, self.nodes, nodes)
        return self.nodes, torch.where(bad, 0.0, gradient), bad


class _Momentum:
    """The step of gradient descent with momentum, at learning rate 1."""

    def __init__(self, momentum):
        self.momentum, self.velocity = momentum, 0.0

    def new(self):
        """The same at rest, for polygons with more nodes."""
        return _Momentum(self.momentum)

    def __call__(self, gradient, bad):
        self.velocity = torch.where(bad, 0.0, self.momentum * self.velocity - gradient)
        return self.velocity


class _Adam:
    """The step of Adam (Kingma and Ba 2015, arXiv:1412.6980) at learning rate 1."""

    def __init__(self, betas=(0.9, 0.999)):
        self.betas, self.count, self.mean, self.square = betas, 0, 0.0, 0.0

    def __call__(self, gradient, bad):
        a, b = self.betas
        self.count += 1
        self.mean = a * self.mean + (1 - a) * gradient
        self.square = b * self.square + (1 - b) * gradient**2
        mean, square = self.mean / (1 - a**self.count), self.square / (1 - b**self.count)
        return torch.where(bad, 0.0, -mean / (square.sqrt() + 1e-12))


def _cosine(clock) -> float:
    return 0.5 + 0.5 * math.cos(math.pi * min(clock.spent, 1.0))


def _coordinate(ends) -> torch.Tensor:
    """The typical size of a coordinate of the difference of the two ends, (P, 1, 1)."""
    return (ends[:, 1] - ends[:, 0]).square().mean(dim=1).sqrt()[:, None, None]


def _unit_rate(landscape, ends):
    """What gradient descent's learning rates are multiplied by; see the top of this file."""
    if getattr(landscape, "box", None) is None:
        return 1.0
    steepest = landscape.loss_and_grad(_straight(ends, 11)[:, 1:-1])[1].norm(dim=-1).amax(dim=1)
    return ((ends[:, 1] - ends[:, 0]).norm(dim=-1) / steepest)[:, None, None]


# -- polygons --------------------------------------------------------------------------------------


def _straight(ends, count: int) -> torch.Tensor:
    """Straight lines with so many nodes, (P, count, D)."""
    share = torch.linspace(0, 1, count, dtype=ends.dtype, device=ends.device)[:, None]
    return torch.lerp(ends[:, :1], ends[:, 1:], share)


def _moved(nodes, step) -> torch.Tensor:
    """The curves with their inner nodes moved."""
    return torch.cat([nodes[:, :1], nodes[:, 1:-1] + step, nodes[:, -1:]], dim=1)


def _at(nodes, x) -> torch.Tensor:
    """The points x (P, m) of polygons whose nodes are at 0, 1, …, K - 1: (P, m, D)."""
    k = x.long().clamp(max=nodes.shape[1] - 2)
    index = k[..., None].expand(-1, -1, nodes.shape[2])
    return torch.lerp(nodes.gather(1, index), nodes.gather(1, index + 1), (x - k)[..., None])


def _spaced(nodes, spacing=None) -> torch.Tensor:
    """Nodes put along the same polygons at distances in proportion to ``spacing`` (P, K - 1)."""
    length = (nodes[:, 1:] - nodes[:, :-1]).norm(dim=-1)
    spacing = torch.ones_like(length) if spacing is None else spacing
    before = torch.cat([length[:, :1] * 0, length.cumsum(dim=1)], dim=1)
    wanted = spacing.cumsum(dim=1)[:, :-1] / spacing.sum(dim=1, keepdim=True) * before[:, -1:]
    k = torch.searchsorted(before, wanted, right=True).clamp(1, length.shape[1]) - 1
    share = (wanted - before.gather(1, k)) / length.gather(1, k).clamp(min=1e-30)
    return torch.cat([nodes[:, :1], _at(nodes, k + share.clamp(0, 1)), nodes[:, -1:]], dim=1)


def _halve(polygons, segments) -> list[torch.Tensor]:
    """Polygons (P, K, D) with new nodes in the middle of the given segments (P, m)."""
    at = torch.arange(polygons[0].shape[1]).to(polygons[0]).expand(len(segments), -1)
    at = torch.cat([at, segments + 0.5], dim=1).sort(dim=1).values
    return [_at(nodes, at) for nodes in polygons]


def _halve_spacing(spacing, segments) -> torch.Tensor:
    """The spacing (P, K - 1) that goes with it: each half of a segment has half of it."""
    at = torch.cat([torch.zeros_like(spacing[:, :1]), spacing.cumsum(dim=1)], dim=1)
    return _halve([at[..., None]], segments)[0][..., 0].diff(dim=1)


def _dot(u, v) -> torch.Tensor:
    return (u * v).sum(dim=-1, keepdim=True)


def _normed(v) -> torch.Tensor:
    return v / v.norm(dim=-1, keepdim=True).clamp(min=1e-30)


def _tangent(nodes, value) -> torch.Tensor:
    """Improved tangents at the inner nodes: Henkelman and Jónsson 2000, equations 8 to 11.

    Towards the higher neighbour; at tops and bottoms a mean of both, so that it changes smoothly.
    """
    chords, rises = nodes.diff(dim=1), value.diff(dim=1)[..., None]
    behind, ahead, fell, rose = chords[:, :-1], chords[:, 1:], -rises[:, :-1], rises[:, 1:]
    most, least = torch.maximum(fell.abs(), rose.abs()), torch.minimum(fell.abs(), rose.abs())
    up = rose > fell  # the next node is higher than the last one
    mixed = torch.where(up, most, least) * ahead + torch.where(up, least, most) * behind
    monotone = fell * rose < 0
    return _normed(torch.where(monotone, torch.where(up, ahead, behind), mixed))
