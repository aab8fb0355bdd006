"""The barcode of minima: one segment from each local minimum up to its pass.

Everything here is one idea. Take some minima with their values and, for some pairs of them, the
height of a pass. Join the pairs from the lowest pass up; whenever two groups meet, the group whose
lowest minimum is higher stops there (the *elder rule*), and that ends its segment. A function on
the vertices of a graph or on a grid is reduced to that case first, so both papers' barcodes come
out of the same twenty lines.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import pandas as pd
from scipy.stats import bootstrap

__all__ = [
    "Barcode",
    "barcode_of_graph",
    "barcode_of_grid",
    "barcode_of_minima",
    "bootstrap_interval",
]

SCORES = ("mean", "max", "sum", "count")


@dataclass(frozen=True, eq=False)
class Barcode:
    """Segments of the local minima of a function, one row a minimum.

    Rows are in the order of the minima they came from: row i is minimum i for
    :func:`barcode_of_minima`, and rows follow the vertex numbers for graphs and grids.

    Attributes
    ----------
    birth, death : float64 arrays (n,)
        Value of the minimum, and value of the pass that ends its segment; ``inf`` for the lowest
        minimum of each connected part.
    minimum : int64 array (n,)
        Number of the minimum, or of the vertex (flat index on a grid).
    saddle : int64 array (n,)
        Where the segment ends: the row of ``pairs``, the row of ``edges``, or the flat index of
        the grid point. -1 where death is infinite.
    parent : int64 array (n,)
        Row of the older minimum whose component takes this one over; -1 where death is infinite.
    death_interval : float64 array (n, 2) or None
        Lowest and highest death that the intervals of the passes allow, where these were given.

    References
    ----------
    Barannikov 1994, "The framed Morse complex and its invariants"; arXiv:1912.00043, section 2.

    Examples
    --------
    Two minima at 0 and 1, and a pass at 3 between them:

    >>> import toscore as ts
    >>> code = ts.barcode_of_minima([0.0, 1.0], [[0, 1]], [3.0])
    >>> len(code), code.death.tolist(), code.parent.tolist()
    (2, [inf, 3.0], [-1, 0])
    """

    birth: np.ndarray
    death: np.ndarray
    minimum: np.ndarray
    saddle: np.ndarray
    parent: np.ndarray
    death_interval: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.birth)

    @property
    def lengths(self) -> np.ndarray:
        """Length of every segment, the obstruction at each minimum; float64 (n,).

        Examples
        --------
        >>> import toscore as ts
        >>> ts.barcode_of_minima([0.0, 1.0], [[0, 1]], [3.0]).lengths.tolist()
        [inf, 2.0]
        """
        with np.errstate(over="ignore"):  # inf where it is beyond float64
            return self.death - self.birth

    @property
    def lowest(self) -> int:
        """Row of the global minimum, that is the lowest birth, and the first among equals.

        Examples
        --------
        >>> import toscore as ts
        >>> ts.surfaces.mueller_brown().barcode.lowest
        0
        """
        return int(np.argmin(self.birth))

    @property
    def unmerged(self) -> np.ndarray:
        """Rows that no given pass joins to a lower minimum, apart from the lowest; int64 (k,).

        Examples
        --------
        Nothing joins minimum 2 to the others:

        >>> import toscore as ts
        >>> ts.barcode_of_minima([0.0, 1.0, 2.0], [[0, 1]], [3.0]).unmerged.tolist()
        [2]
        """
        rows = np.flatnonzero(np.isinf(self.death))
        return rows[rows != self.lowest]

    def to_score(self, kind: str = "mean", tol: float = 0.0) -> float:
        """TO-score: a summary of the finite segments' lengths.

        Parameters
        ----------
        kind : {"mean", "max", "sum", "count"}
            The headline is ``"mean"``. ``"max"`` is twice the bottleneck distance to the barcode
            with no finite segment, ``"sum"`` the 1-Wasserstein distance to it (times 2 for the
            sup-norm, times sqrt(2) for the Euclidean ground metric), ``"count"`` the number of
            segments longer than ``tol``.
        tol : float
            Only for ``"count"``, in units of the function.

        Returns
        -------
        float
            0.0 where there is no finite segment: nothing obstructs.

        Raises
        ------
        ValueError
            Unknown ``kind``; or some minima were never joined to a lower one, so that their
            obstruction is unknown and any summary would hide it.

        References
        ----------
        Cohen-Steiner, Edelsbrunner and Harer 2007 (doi:10.1007/s00454-006-1276-5) for the
        bottleneck distance.

        Examples
        --------
        >>> import toscore as ts
        >>> code = ts.barcode_of_minima([0.0, 1.0, 0.5], [[0, 1], [0, 2]], [3.0, 1.5])
        >>> code.to_score(), code.to_score("max"), code.to_score("count", tol=1.5)
        (1.5, 2.0, 1.0)
        """
        if kind not in SCORES:
            raise ValueError(f"unknown TO-score {kind!r}: choose one of {', '.join(SCORES)}")
        if len(self.unmerged):
            raise ValueError(
                f"minima {self.minimum[self.unmerged].tolist()} are joined to no lower minimum by "
                "the given passes, so the TO-score is undefined: add passes that connect them"
            )
        finite = self.lengths[np.isfinite(self.death)]
        if kind == "count":
            return float(np.count_nonzero(finite > tol))
        return float(getattr(np, kind)(finite)) if len(finite) else 0.0

    def score_interval(self, kind: str = "mean", tol: float = 0.0) -> tuple[float, float]:
        """The TO-scores at the lowest and at the highest deaths that ``death_interval`` allows.

        Errors of the passes alone; :func:`bootstrap_interval` is for the differences between seeds.

        Parameters
        ----------
        kind, tol
            As for :meth:`to_score`.

        Returns
        -------
        low, high : float

        Raises
        ------
        ValueError
            The passes were given without intervals; or as for :meth:`to_score`.

        Examples
        --------
        >>> import toscore as ts
        >>> code = ts.barcode_of_minima([0.0, 1.0], [[0, 1]], [3.0], intervals=([2.9], [3.5]))
        >>> code.score_interval()
        (1.9, 2.5)
        """
        if self.death_interval is None:
            raise ValueError("this barcode has no intervals: its passes were given without any")
        low, high = (
            replace(self, death=np.maximum(d, self.birth)).to_score(kind, tol)
            for d in self.death_interval.T
        )
        return low, high

    def to_frame(self) -> pd.DataFrame:
        """Tidy table, one row a minimum: minimum, birth, death, length, saddle, parent.

        With intervals also ``death_low`` and ``death_high``.

        Examples
        --------
        >>> import toscore as ts
        >>> ts.surfaces.mueller_brown().barcode.to_frame()[["birth", "death", "parent"]].round(1)
           birth  death  parent
        0 -146.7    inf      -1
        1 -108.2  -40.7       0
        2  -80.8  -72.2       1
        """
        columns = {
            "minimum": self.minimum,
            "birth": self.birth,
            "death": self.death,
            "length": self.lengths,
            "saddle": self.saddle,
            "parent": self.parent,
        }
        if self.death_interval is not None:
            low, high = self.death_interval.T
            columns |= {"death_low": low, "death_high": high}
        return pd.DataFrame(columns)

    def diagram(self) -> np.ndarray:
        """Finite (birth, death) points, float64 (k, 2), as persim and GUDHI want them.

        Examples
        --------
        >>> import toscore as ts
        >>> ts.surfaces.mueller_brown().barcode.diagram().round(1).tolist()
        [[-108.2, -40.7], [-80.8, -72.2]]
        """
        finite = np.isfinite(self.death)
        return np.column_stack([self.birth[finite], self.death[finite]])

    def merge_tree(self) -> pd.DataFrame:
        """Merges from the lowest pass up: height, younger and older row, saddle, size after it.

        ``size`` counts the minima of the component once the merge is done.

        Examples
        --------
        >>> import toscore as ts
        >>> ts.surfaces.mueller_brown().barcode.merge_tree().round(1)
           height  younger  older  saddle  size
        0   -72.2        2      1       1     2
        1   -40.7        1      0       0     3
        """
        rows = np.flatnonzero(np.isfinite(self.death))
        # among equal heights the youngest merges first, so nothing merges into what is gone
        rows = rows[np.lexsort((-rows, -self.birth[rows], self.death[rows]))]
        size = np.ones(len(self), dtype=np.int64)
        sizes = np.empty(len(rows), dtype=np.int64)
        for k, row in enumerate(rows):
            size[self.parent[row]] += size[row]
            sizes[k] = size[self.parent[row]]
        return pd.DataFrame(
            {
                "height": self.death[rows],
                "younger": rows,
                "older": self.parent[rows],
                "saddle": self.saddle[rows],
                "size": sizes,
            }
        )

    def plot(self, ax=None, **kwargs):
        """Draw the segments on a matplotlib Axes and return it: :func:`toscore.plots.barcode`.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Default: the current one.
        **kwargs
            Further arguments of :func:`toscore.plots.barcode`.

        Examples
        --------
        >>> import toscore as ts
        >>> ts.surfaces.himmelblau().barcode.plot().get_xlabel()
        'value of $f$'
        """
        from toscore import plots

        return plots.barcode(self, ax=ax, **kwargs)


def _finite_vector(x, name: str) -> np.ndarray:
    """x as a finite float64 vector, or a clear error; integers beyond 2^53 are rounded."""
    if hasattr(x, "detach"):  # a torch tensor, on whatever device
        x = x.detach().cpu()
        x = (x.double() if x.is_floating_point() else x).numpy()
    x = np.asarray(x)
    if x.ndim != 1:
        raise ValueError(f"{name} must be one-dimensional, got shape {x.shape}")
    if x.dtype.kind not in "fiub":
        raise TypeError(f"{name} must be real numbers, got dtype {x.dtype}")
    with np.errstate(over="ignore"):  # what overflows is named below
        y = x.astype(np.float64)
    if not np.isfinite(y).all():
        i = int(np.flatnonzero(~np.isfinite(y))[0])
        raise ValueError(f"{name}[{i}] is {x[i]}: every value must be finite (as float64)")
    return y


def _pair_array(pairs, n: int, name: str) -> np.ndarray:
    """pairs as an int64 (m, 2) array of numbers from 0 to n - 1, or a clear error."""
    if hasattr(pairs, "detach"):
        pairs = pairs.detach().cpu().numpy()
    pairs = np.asarray(pairs)
    if pairs.size == 0:
        return np.empty((0, 2), dtype=np.int64)
    if pairs.ndim != 2 or pairs.shape[1] != 2:
        raise ValueError(f"{name} must have shape (m, 2), got {pairs.shape}")
    if pairs.dtype.kind not in "iu":
        raise TypeError(f"{name} must be integers, got dtype {pairs.dtype}")
    if pairs.min() < 0 or pairs.max() >= n:
        bad = np.flatnonzero(((pairs < 0) | (pairs >= n)).any(axis=1))
        raise ValueError(
            f"{name}[{bad[0]}] = {pairs[bad[0]].tolist()} is out of range: numbers go from 0 to "
            f"{n - 1}, as there are {n} values"
        )
    return pairs.astype(np.int64, copy=False)


def bootstrap_interval(scores, confidence: float = 0.95, seed: int = 0) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean of scores, one a seed.

    Parameters
    ----------
    scores : float (k,), k >= 2
        TO-scores of independent runs. With two or three the interval is just their range: no
        resampling makes up for seeds that were not run.
    confidence : float in (0, 1)
        Share of resampled means that lie in the interval.
    seed : int
        Of the 9,999 resamples.

    Returns
    -------
    low, high : float

    Raises
    ------
    ValueError
        Fewer than two scores, a score that is not finite, or a confidence out of range.
    TypeError
        Scores that are not real numbers.

    References
    ----------
    Efron and Tibshirani 1993, An introduction to the bootstrap, chapter 13.

    Examples
    --------
    >>> import toscore as ts
    >>> low, high = ts.bootstrap_interval([0.2, 0.3, 0.4, 0.3, 0.2])
    >>> 0.2 <= low < 0.28 < high <= 0.4
    True
    """
    scores = _finite_vector(scores, "scores")
    if len(scores) < 2:
        raise ValueError(f"an interval needs the scores of at least 2 seeds, got {len(scores)}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}")
    if np.ptp(scores) == 0:
        return float(scores[0]), float(scores[0])
    found = bootstrap(
        (scores,),
        np.mean,
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def barcode_of_minima(losses, pairs, saddles, intervals=None) -> Barcode:
    """Barcode of minima from the heights of the passes between them.

    A minimum spanning tree of the passes is read with the elder rule: from the lowest pass up,
    each joins two components, and the one with the higher lowest minimum ends there. Equal minima
    are ordered by their number (the first counts as older), equal passes by their row.

    Parameters
    ----------
    losses : float (n,)
        Value of the function at each minimum.
    pairs : int (m, 2)
        The two minima each pass connects. Pairs may be missing, doubled (the lower pass counts)
        or loops (ignored). Missing ones can leave minima unmerged: see ``Barcode.unmerged``.
    saddles : float (m,)
        Height of each pass, e.g. the highest value along the best known path.
    intervals : (low, high), each float (m,), optional
        Bounds of each pass, on both sides of ``saddles``. A death never falls when a pass rises,
        so the barcodes of the bounds are the bounds of the deaths.

    Returns
    -------
    Barcode
        n rows in the order of ``losses``; ``saddle`` is the row of ``pairs``.

    Raises
    ------
    ValueError
        No minima, values that are not finite, pairs out of range, or a pass below one of the
        minima it connects (by more than rounding): no path can have such a maximum.
    TypeError
        Values that are not real numbers, or pairs that are not integers.

    References
    ----------
    arXiv:2012.15834, section 2 (segments as least passes to a lower minimum).

    Examples
    --------
    >>> import toscore as ts
    >>> code = ts.barcode_of_minima([0.0, 1.0, 0.5], [[0, 1], [0, 2], [1, 2]], [3.0, 1.5, 2.0])
    >>> code.death.tolist(), code.saddle.tolist()
    ([inf, 2.0, 1.5], [-1, 2, 1])
    """
    losses = _finite_vector(losses, "losses")
    if not len(losses):
        raise ValueError("there are no minima: losses is empty")
    pairs = _pair_array(pairs, len(losses), "pairs")
    saddles = _finite_vector(saddles, "saddles")
    if len(saddles) != len(pairs):
        raise ValueError(f"{len(pairs)} pairs but {len(saddles)} saddles: give one height a pair")
    floor = losses[pairs].max(axis=1, initial=-np.inf)
    slack = 1e-6 * np.maximum(1.0, np.abs(floor))  # float32 losses re-evaluated along a path
    with np.errstate(over="ignore"):
        low = np.flatnonzero(saddles < floor - slack)
    if len(low):
        k = low[0]
        raise ValueError(
            f"saddles[{k}] = {saddles[k]:g} lies below the higher of the minima it connects, "
            f"{pairs[k].tolist()} at {floor[k]:g}: the maximum of a path is never below its ends"
        )
    code = _elder_rule(losses, pairs, np.maximum(saddles, floor))
    if intervals is None:
        return code
    low, high = (_finite_vector(x, "intervals") for x in intervals)
    if not (
        len(low) == len(high) == len(pairs) and (low <= saddles).all() and (saddles <= high).all()
    ):
        raise ValueError("intervals must be (low, high), one of each a pair, with saddles between")
    ends = [_elder_rule(losses, pairs, np.maximum(x, floor)).death for x in (low, high)]
    return replace(code, death_interval=np.stack(ends, axis=1))


def _elder_rule(births: np.ndarray, pairs: np.ndarray, heights: np.ndarray) -> Barcode:
    """The core: minimum spanning tree of the passes, read from the lowest pass up."""
    n = len(births)
    age = np.empty(n, dtype=np.int64)  # 0 = oldest: lowest value, then lowest number
    age[np.argsort(births, kind="stable")] = np.arange(n)
    death = np.full(n, np.inf)
    saddle = np.full(n, -1, dtype=np.int64)
    parent = np.full(n, -1, dtype=np.int64)

    root = list(range(n))  # union-find; the root of a component is its oldest minimum
    ages = age.tolist()

    def find(i):
        while root[i] != i:
            root[i] = root[root[i]]
            i = root[i]
        return i

    tree = _spanning_passes(n, pairs, heights)
    ended, elders = [], []
    for i, j in zip(*pairs[tree].T.tolist(), strict=True):
        old, young = find(i), find(j)
        if ages[old] > ages[young]:
            old, young = young, old
        root[young] = old
        ended.append(young)
        elders.append(old)
    death[ended], saddle[ended], parent[ended] = heights[tree], tree, elders
    return Barcode(births, death, np.arange(n), saddle, parent)


def _spanning_passes(n: int, pairs: np.ndarray, heights: np.ndarray) -> np.ndarray:
    """Rows of the passes in the minimum spanning forest, by rising height, then row.

    Borůvka's algorithm: each component takes its lowest pass to another one, all at the same time,
    so that their number at least halves from round to round, and passes within a component are
    dropped. No sort of all passes is needed. Since height, then row is a strict order, there is
    only one such forest.
    """
    row, taken = np.arange(len(pairs)), np.zeros(len(pairs), dtype=bool)
    i, j = np.ascontiguousarray(pairs[:, 0]), np.ascontiguousarray(pairs[:, 1])
    height = np.fmin(heights, np.inf)  # a pass whose height is NaN comes last
    while True:
        apart = np.flatnonzero(i != j)
        if not len(apart):
            break
        i, j, height, row = i[apart], j[apart], height[apart], row[apart]
        lowest = np.full(n, np.inf)
        np.minimum.at(lowest, i, height)
        np.minimum.at(lowest, j, height)
        first = np.full(n, len(row))  # of a component's lowest passes the first, as an index
        for end in (i, j):
            at = np.flatnonzero(height == lowest[end])
            np.minimum.at(first, end[at], at)
        some = np.flatnonzero(first < len(row))
        link = first[some]
        taken[row[link]] = True

        onto = np.arange(n)  # the component at the other end of that pass
        onto[some] = i[link] + j[link] - some
        both = onto[onto] == np.arange(n)  # two that take the same pass: one stays
        onto = np.where(both, np.minimum(onto, np.arange(n)), onto)
        onto = _follow(onto)
        i, j = onto[i], onto[j]
    tree = np.flatnonzero(taken)
    return tree[np.argsort(heights[tree], kind="stable")]


def _follow(onto: np.ndarray) -> np.ndarray:
    """Where each chain i, onto[i], onto[onto[i]], … ends: by jumps of double length."""
    while True:
        further = onto[onto]
        if np.array_equal(further, onto):
            return onto
        onto = further


def barcode_of_graph(values, edges) -> Barcode:
    """Degree-0 barcode of a function sampled on the vertices of a graph.

    An edge appears at the larger value of its two ends (the lower-star filtration). Every vertex
    first slides to its lowest neighbour until it reaches a local minimum; then only the edges
    between different basins matter, and the elder rule does the rest as for minima.

    Values at sampled points miss both the minima and the passes of the function they were taken
    from, so this barcode approximates its barcode and bounds it from neither side.

    Parameters
    ----------
    values : real (n,)
        Finite values; any integer or floating dtype.
    edges : int (m, 2)
        Loops and doubled edges are harmless; isolated vertices live for ever.

    Returns
    -------
    Barcode
        One row a local minimum, in the order of the vertices. A plateau of equal, connected
        vertices is one minimum, represented by its lowest-numbered vertex. Segments of length
        zero are left out. ``saddle`` is the row of ``edges``.

    Raises
    ------
    ValueError, TypeError
        Empty, non-finite or complex values, edges out of range, wrong shapes.

    References
    ----------
    arXiv:1912.00043, section 3 and algorithm 1.

    Examples
    --------
    A path of five vertices, with a minimum at each end:

    >>> import toscore as ts
    >>> code = ts.barcode_of_graph([0, 2, 4, 3, 1], [[0, 1], [1, 2], [2, 3], [3, 4]])
    >>> code.minimum.tolist(), code.birth.tolist(), code.death.tolist()
    ([0, 4], [0.0, 1.0], [inf, 4.0])
    """
    values = _finite_vector(values, "values")
    if not len(values):
        raise ValueError("there are no vertices: values is empty")
    return _lower_star(values, _pair_array(edges, len(values), "edges"))


def _lower_star(values: np.ndarray, edges: np.ndarray) -> Barcode:
    n = len(values)
    rank = np.empty(n, dtype=np.int64)  # a strict order: by value, then by number
    order = np.argsort(values, kind="stable")
    rank[order] = np.arange(n)
    i, j = np.ascontiguousarray(edges[:, 0]), np.ascontiguousarray(edges[:, 1])
    lowest = rank.copy()
    np.minimum.at(lowest, i, rank[j])
    np.minimum.at(lowest, j, rank[i])
    basin = _follow(order[lowest])

    minima = np.flatnonzero(basin == np.arange(n))
    number = np.empty(n, dtype=np.int64)
    number[minima] = np.arange(len(minima))
    basin = number[basin]
    crossing = np.flatnonzero(basin[i] != basin[j])
    i, j = i[crossing], j[crossing]
    heights = np.maximum(values[i], values[j])
    code = _elder_rule(values[minima], np.stack([basin[i], basin[j]]).T, heights)

    # Segments of length zero are further corners of one plateau. None of them is the parent of a
    # row that stays: it ends at its own birth, before any longer segment that could end in it.
    keep = np.flatnonzero(code.death > code.birth)
    row = np.full(len(code), -1, dtype=np.int64)
    row[keep] = np.arange(len(keep))
    joined = code.parent[keep] >= 0
    saddle, parent = code.saddle[keep], code.parent[keep]
    saddle[joined] = crossing[saddle[joined]]
    parent[joined] = row[parent[joined]]
    return Barcode(code.birth[keep], code.death[keep], minima[keep], saddle, parent)


def barcode_of_grid(values) -> Barcode:
    """Degree-0 barcode of a function sampled on an n-dimensional grid.

    Two grid points are neighbours when every coordinate differs by at most one (the full
    neighbourhood, 3^n - 1 points).

    Parameters
    ----------
    values : real, n-dimensional array
        The function at the points; any integer or floating dtype.

    Returns
    -------
    Barcode
        ``minimum`` and ``saddle`` are flat indices (C order, see ``numpy.unravel_index``); the
        saddle is the grid point at which the two components meet.

    Raises
    ------
    ValueError, TypeError
        An empty or 0-dimensional array, or values that are not finite real numbers.

    References
    ----------
    As for :func:`barcode_of_graph`.

    Examples
    --------
    >>> import toscore as ts
    >>> code = ts.barcode_of_grid([[0, 5, 1], [6, 4, 7], [3, 8, 2]])
    >>> code.birth.tolist(), code.death.tolist()
    ([0.0, 1.0, 3.0, 2.0], [inf, 4.0, 4.0, 4.0])
    """
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        small = values.is_floating_point() and values.itemsize == 2  # numpy has no bfloat16
        values = (values.float() if small else values).numpy()
    values = np.asarray(values)
    if values.ndim == 0:
        raise ValueError("values must be an array with at least one axis, got a single number")
    if not values.size:
        raise ValueError(f"there are no grid points: values has shape {values.shape}")
    flat = _finite_vector(values.ravel(), "values.ravel()")
    edges = _grid_edges(values.shape)
    code = _lower_star(flat, edges)
    ends = edges[code.saddle] if len(edges) else np.zeros((len(code), 2), dtype=np.int64)
    top = np.take_along_axis(ends, flat[ends].argmax(axis=1)[:, None], axis=1)[:, 0]
    saddle = np.where(code.saddle >= 0, top, -1)
    return Barcode(code.birth, code.death, code.minimum, saddle, code.parent)


def _grid_edges(shape: tuple[int, ...]) -> np.ndarray:
    """All pairs of neighbouring grid points as flat indices, int64 (m, 2)."""
    index = np.arange(np.prod(shape), dtype=np.int64).reshape(shape)
    edges = []
    for step in product((-1, 0, 1), repeat=len(shape)):
        if step <= (0,) * len(shape):  # each pair once, and no point with itself
            continue
        here = tuple(slice(max(0, -s), d - max(0, s)) for s, d in zip(step, shape, strict=True))
        there = tuple(slice(max(0, s), d - max(0, -s)) for s, d in zip(step, shape, strict=True))
        edges.append(np.stack([index[here].ravel(), index[there].ravel()], axis=1))
    return np.concatenate(edges)
