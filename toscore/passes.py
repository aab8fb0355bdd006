"""From a low path to a pass: a certified saddle, and a path that rises no higher.

A saddle near the path proves little by itself: nothing says that one gets from it to both ends. So
the path is led through it, and its two halves sink again. Once the path's maximum and the saddle
agree, the bound is proven by the path and the kind of the point by its Hessian.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np
import torch

from toscore import curves
from toscore.curves import Curve, bezier, cut, join
from toscore.minima import progress_bar
from toscore.saddles import Saddle, find_saddle

__all__ = ["Pass", "tighten"]

LEVEL = "level"
TIGHT = 0.01, 1e-6  # a path may rise above its saddle by this share of its excess, and of f
_LEVELS = (0.0, 0.3, 0.5, 0.7, 0.85, 0.95)  # how far up a hill its part of the path is cut out
_WIDE = 0.7  # a hill that takes up more than this of a path is cut out further up
_BLOCKS = 3, 8, curves.FINE  # hills relax from one of these on: smooth first, sharper if stuck
_BUDGET = 2000  # evaluations for a hill in one round
_SINKS = 0.2  # while a round takes more than this share off the excess, no saddle is looked for
_GAIN = 1e-3  # less than this, and the hill has resisted
_ROUNDS = 40
_SEARCHES = {0: 15, 2: 60}  # Newton steps, by how often the hill has resisted
_STUCK = 5  # times a hill may resist, the last two begun anew, before the whole path is relaxed


@dataclass(frozen=True, eq=False)
class Pass:
    """A path (K, D) of so many pieces, its highest point, and what was found there.

    ``verdict`` is that of :class:`Saddle`, but "elsewhere" where no path of this height was found
    to lead over the saddle, and "level" where the path is no higher than its higher end. ``moved``
    is the distance from the first path's top to the saddle.
    """

    controls: torch.Tensor
    pieces: int
    maximum: float
    saddle: Saddle
    verdict: str
    moved: float
    products: int
    evaluations: int


def tighten(landscape, controls, pieces=1, *, budget, until=np.inf, seed=0) -> Pass:
    """Lower a path (K, D) until it is as high as a saddle of index 1 on it, all in float64.

    Each round follows the ridge down from the highest point, to a critical point if it can. The
    hill's part of the path is led through where that ends, unless that is lower than the path's
    ends, and both halves relax. If that does not lower the hill, it is cut out and relaxed alone,
    with as many control points as the whole path had before; if it resists, from a narrower cut,
    then from a straight line and a bow between its ends, and in the end with the whole path.
    """
    landscape = landscape.double()
    degree, each = curves.level(curves.FINE)[0], (len(controls) - 1) // pieces
    parts = [controls[None, s * each : (s + 1) * each + 1].double() for s in range(pieces)]
    controls = join([curves.elevate(part, degree)[0] for part in parts])
    known, products, evaluations, sinks, stuck = [], 0, 0, False, 0
    t, profile, place, height = _top(landscape, controls, pieces)
    floor = max(profile[0], profile[-1])
    slack = 1e-9 * max(1.0, abs(height))
    first, found = bezier(controls[None], [[place]], pieces)[0, 0], None
    for k in range(_ROUNDS):
        spent = products + evaluations > budget or time.perf_counter() > until
        last = k == _ROUNDS - 1 or spent or stuck > _STUCK
        tight = max(TIGHT[0] * (height - floor), TIGHT[1] * max(1.0, abs(height)))
        on_top = [s for s in known if -slack <= height - s.value <= tight]
        if on_top:
            found = max(on_top, key=lambda s: s.value)
            break
        if height - floor <= TIGHT[1] * max(1.0, abs(height)):  # no pass is below its ends
            top = bezier(controls[None], [[place]], pieces)[0, 0]
            found = replace(find_saddle(landscape, top, max_iterations=0), verdict=LEVEL)
            break
        fits = lower = False
        if found is None or (not sinks and stuck in _SEARCHES):
            ends = np.clip([[place - 1e-4, place, place + 1e-4]], 0.0, 1.0)
            before, top, after = bezier(controls[None], ends, pieces)[0]
            found = find_saddle(
                landscape,
                top,
                direction=after - before,
                max_products=budget,
                max_iterations=_SEARCHES.get(stuck, 15),
                floor=floor - slack,
            )
            products += found.products
            lower = floor - slack <= found.value <= height + slack
            fits = lower and found.verdict == "index 1"
            known += [found] * fits
        if last or (fits and height - found.value <= tight):
            break
        low, high = (0.0, 1.0)
        if stuck < _STUCK:
            low, high = _hill(t, profile, place, floor, stuck if stuck < len(_BLOCKS) else 0)
        part = cut(controls, pieces, low, high)
        if stuck < len(_BLOCKS) or stuck == _STUCK:
            block = _BLOCKS[min(stuck, len(_BLOCKS) - 1)]
            choices = [[Curve(0, 0, 1000 + k, *part, block=block)]]
        else:
            choices = [[Curve.first(part[0][[0, -1]], 0, 1, stuck - len(_BLOCKS), seed)]]
        if lower and low < place - 1e-6 and place + 1e-6 < high:  # no saddle, maybe, but lower
            halves = _through(controls, pieces, (low, place, high), found.point)
            choices.insert(
                0, [Curve(0, m, 1000 + k, *h, block=block) for m, h in enumerate(halves)]
            )
        for choice in choices:
            for part in choice:
                most = _BUDGET * max(1, part.pieces // 2) * (1 if part.block else 2)
                with progress_bar(False) as bar:
                    curves.relax(landscape, [part], most, None, until, seed, bar)
            evaluations += sum(part.evaluations for part in choice)
            around = [cut(controls, pieces, 0.0, low)] if low > 0 else []
            degree = (len(controls) - 1) // pieces  # a hill that was begun anew has a lower one
            around += [(curves.elevate(p.controls[None], degree)[0], p.pieces) for p in choice]
            around += [cut(controls, pieces, high, 1.0)] if high < 1 else []
            new = join([c for c, _ in around]), sum(n for _, n in around)
            seen = _top(landscape, *new)
            gain = (height - seen[-1]) / (height - floor)
            if gain > (0 if fits else _GAIN):
                break
        sinks, stuck = gain > _SINKS, 0 if gain > _GAIN else stuck + 1
        if gain > 0:
            (controls, pieces), (t, profile, place, height) = new, seen
    verdict = found.verdict
    if verdict == "index 1" and not (found in known and -slack <= height - found.value <= tight):
        verdict = "elsewhere"
    return Pass(
        controls=controls,
        pieces=pieces,
        maximum=height,
        saddle=found,
        verdict=verdict,
        moved=float((found.point - first).norm()),
        products=products,
        evaluations=evaluations,
    )


def _top(landscape, controls, pieces):
    """Places along a path and f there, and the parameter and height of its highest point."""
    t, profile = curves.profile(landscape, controls[None], pieces)
    _, place, height = curves.highest(landscape, controls[None], pieces)
    return t[0], profile[0], float(place[0]), float(height[0])


def _hill(t, profile, place, floor, narrower) -> tuple[float, float]:
    """Where the hill around a path's highest point begins and ends."""
    for k, share in enumerate(_LEVELS):
        below = t[profile <= floor + share * (profile.max() - floor)]
        low = below[below < place].max(initial=0.0)
        high = below[below > place].min(initial=1.0)
        if high - low <= _WIDE and k >= narrower:
            break
    return float(low), float(high)


def _through(controls, pieces, places, point) -> list[tuple[torch.Tensor, int]]:
    """The two halves of a part of a path, bent to meet in a point."""
    low, place, high = places
    (before, m), (after, n) = cut(controls, pieces, low, place), cut(controls, pieces, place, high)
    before = before + torch.linspace(0, 1, len(before)).to(before)[:, None] * (point - before[-1])
    after = after + torch.linspace(1, 0, len(after)).to(after)[:, None] * (point - after[0])
    return [(before, m), (after, n)]
