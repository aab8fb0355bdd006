"""Barcodes from samples: points, a graph of nearest neighbours, and its barcode.

The graph algorithm of arXiv:1912.00043 from end to end. It needs values of the function and
nothing else, no gradients, no minima; and so many points that it works in few dimensions only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial import KDTree
from scipy.stats import qmc

from toscore.barcode import Barcode, barcode_of_graph

__all__ = ["Sample", "default_neighbours", "neighbour_graph", "persistent", "sample_barcode"]

CHUNK = 2**16  # points evaluated at a time
TREE_DIM = 15  # in more dimensions a tree search is slower than looking at all points


@dataclass(frozen=True, eq=False)
class Sample:
    """Points, the function there, their graph and its barcode.

    Attributes
    ----------
    points : float array (n, D)
        Where the function was evaluated.
    values : float array (n,)
        The function there.
    edges : int64 array (m, 2)
        Neighbours, from :func:`neighbour_graph`.
    barcode : Barcode
        From :func:`toscore.barcode_of_graph`.

    Examples
    --------
    >>> import toscore as ts
    >>> sample = ts.sampling.sample_barcode(ts.surfaces.mueller_brown(), 2**8)
    >>> sample.points.shape, sample.values.shape
    ((256, 2), (256,))
    """

    points: np.ndarray
    values: np.ndarray
    edges: np.ndarray
    barcode: Barcode


def default_neighbours(n: int, dim: int) -> int:
    """How many neighbours for n points in R^dim: 4 dim, or log2(n) where that is more.

    On a slope half of the neighbours are higher. So the k nearest all are with probability 2^-k,
    and n 2^-k false minima are to be expected: at most one from k = log2(n) on. The 4 dim are
    for valleys and ridges, which take neighbours on all sides, and what the paper's authors use.

    Parameters
    ----------
    n, dim : int
        Points, and coordinates.

    Returns
    -------
    int
        At most n - 1.

    Examples
    --------
    >>> import toscore as ts
    >>> ts.sampling.default_neighbours(1000, 2), ts.sampling.default_neighbours(1000, 5)
    (10, 20)
    """
    return min(n - 1, max(4 * dim, int(np.ceil(np.log2(n)))))


def neighbour_graph(points, k: int, period=None) -> np.ndarray:
    """Edges between each point and its k nearest others, in Euclidean distance.

    An edge is there if either end has the other among its k nearest, so degrees are k or more. The
    graph need not be connected. A k-d tree finds neighbours in up to 15 dimensions, a search
    through all points (scikit-learn) beyond.

    Parameters
    ----------
    points : real (n, D), finite
        Where the vertices are.
    k : int
        In 1..n - 1.
    period : float (D,), optional
        Lengths after which each coordinate repeats.

    Returns
    -------
    int64 array (m, 2)
        Each edge once, the smaller number first, in rising order.

    Raises
    ------
    ValueError
        No points, points of another shape or not finite, or ``k`` out of range.

    Examples
    --------
    >>> import toscore as ts
    >>> ts.sampling.neighbour_graph([[0.0], [1.0], [3.0]], k=1).tolist()
    [[0, 1], [1, 2]]
    """
    points = np.asarray(points, dtype=np.float64)
    if points.ndim != 2 or not points.size:
        raise ValueError(f"points must have shape (n, D) and not be empty, got {points.shape}")
    n, dim = points.shape
    if not np.isfinite(points).all():
        raise ValueError("every coordinate of points must be finite")
    if not 1 <= k < n:
        raise ValueError(f"k must lie in 1..{n - 1} for {n} points, got {k}")
    if period is not None:
        within = np.mod(np.mod(points, period), period)  # once may round up to the period itself
        near = KDTree(within, boxsize=period).query(points, k + 1, workers=-1)[1]
    elif dim <= TREE_DIM:
        near = KDTree(points).query(points, k + 1, workers=-1)[1]
    else:
        from sklearn.neighbors import NearestNeighbors  # only here: it is slow to import

        search = NearestNeighbors(algorithm="brute", n_jobs=-1).fit(points)
        near = search.kneighbors(points, k + 1, return_distance=False)
    # a point is the nearest to itself, or one of those at the same place is
    ends = np.stack([np.repeat(np.arange(n), k + 1), near.ravel()], axis=1)
    ends = np.sort(ends[ends[:, 0] != ends[:, 1]], axis=1)
    return np.column_stack(np.divmod(np.unique(ends[:, 0] * n + ends[:, 1]), n))


def sample_barcode(
    landscape, n: int, k: int | None = None, *, box=None, seed: int = 0, sobol: bool = True
) -> Sample:
    """Barcode of a landscape from its values at n points: an estimate, and no bound.

    Parameters
    ----------
    landscape : Surface, Landscape, or anything with ``loss``
        The function.
    n : int
        Number of points, at least 2.
    k : int, optional
        Neighbours of each point; by default :func:`default_neighbours`.
    box : float (D, 2), optional
        Where to put the points; its sides are not glued. By default ``landscape.box``, with its
        sides glued if the landscape is periodic. A landscape without one is sampled by its own
        ``sample``, and then ``sobol`` says nothing.
    seed : int
        Of the points.
    sobol : bool
        Scrambled Sobol points, which fill the box evenly; else independent, uniform ones.

    Returns
    -------
    Sample

    Raises
    ------
    ValueError
        ``n`` below 2; or as :func:`neighbour_graph` and :func:`toscore.barcode_of_graph`.

    References
    ----------
    arXiv:1912.00043, algorithm 1.

    Examples
    --------
    >>> import toscore as ts
    >>> sample = ts.sampling.sample_barcode(ts.surfaces.mueller_brown(), 2**12)
    >>> len(ts.sampling.persistent(sample.barcode, tol=5.0))
    3
    """
    if n < 2:
        raise ValueError(f"a graph needs at least 2 points, got n = {n}")
    # a part of a period is glued to nothing
    periodic = box is None and getattr(landscape, "periodic", False)
    box = getattr(landscape, "box", None) if box is None else box
    if box is None:
        points = landscape.sample(n, seed).detach().cpu().numpy()
    else:
        low, high = np.asarray(box, dtype=np.float64).T
        rng = np.random.default_rng(seed)
        if sobol:  # of 2^j points, as Sobol points come, the first n
            unit = qmc.Sobol(len(low), rng=rng).random_base2(int(np.ceil(np.log2(n))))[:n]
        else:
            unit = rng.random((n, len(low)))
        points = low + (high - low) * unit
    parts = np.split(points, range(CHUNK, n, CHUNK))
    values = np.concatenate([landscape.loss(torch.as_tensor(p)).cpu().numpy() for p in parts])
    k = default_neighbours(n, points.shape[1]) if k is None else k
    period = high - low if periodic else None
    edges = neighbour_graph(points, k, period)
    return Sample(points, values, edges, barcode_of_graph(values, edges))


def persistent(code: Barcode, tol: float) -> Barcode:
    """The segments longer than tol, with their parents: the barcode without its noise.

    The parent of a segment is as long or longer (it begins no later and ends no earlier), so it is
    never dropped before its child.

    Parameters
    ----------
    code : Barcode
        Of any origin.
    tol : float
        In units of the function.

    Returns
    -------
    Barcode

    Examples
    --------
    >>> import toscore as ts
    >>> code = ts.barcode_of_minima([0.0, 1.0, 2.9], [[0, 1], [1, 2]], [3.0, 3.0])
    >>> ts.sampling.persistent(code, tol=0.5).birth.tolist()
    [0.0, 1.0]
    """
    keep = np.flatnonzero(code.lengths > tol)
    row = np.full(len(code) + 1, -1)
    row[keep] = np.arange(len(keep))  # and the last entry, for no parent, stays -1
    fields = (code.birth[keep], code.death[keep], code.minimum[keep], code.saddle[keep])
    interval = None if code.death_interval is None else code.death_interval[keep]
    return Barcode(*fields, row[code.parent[keep]], interval)
