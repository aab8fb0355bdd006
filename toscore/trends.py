"""Do barcodes shrink as networks get wider, or deeper? The paper's first observation, tested."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace

import numpy as np
import pandas as pd

from toscore.barcode import barcode_of_minima, bootstrap_interval
from toscore.data import _entry
from toscore.experiment import (
    ATLAS,
    CELL,
    MissingResult,
    _is_old,
    _machines,
    _segments,
    _source_digest,
    load_or_run,
)
from toscore.reproduce import _of
from toscore.settings import DATASETS

__all__ = [
    "Trend",
    "at_each_size",
    "at_rest",
    "below_ceiling",
    "bounded",
    "ceiling",
    "claims",
    "compare",
    "contents",
    "findings",
    "finished",
    "holds",
    "in_words",
    "intervals",
    "lower_minima",
    "origins",
    "searched",
    "shares",
    "shares_by_family",
    "sizes",
    "stationary",
    "stored",
    "trend",
    "trends",
    "verdict",
]

FLOOR = 1e-6  # TO-scores below this count as this: rounding in float32 is not far
DRAWS = 1999


@dataclass(frozen=True)
class Trend:
    """How the TO-score changes with the width or the depth of a network.

    Attributes
    ----------
    factor : "width" or "depth"
        What changes.
    ratio : float
        What one doubling of the width, or one layer (ResNets: block) more, multiplies the TO-score
        by, all else equal: below 1 it falls. From a straight line through log TO-score, with an
        intercept for each group of networks that differ in the factor alone.
    low, high : float
        95 % bootstrap interval of the ratio. For one result, the segments of each barcode are
        resampled: it tells how much hangs on which minima were found. For several, whole results
        are resampled too: it tells how much hangs on which cells were measured.
    tau : float
        Share of the pairs of networks that differ in the factor alone in which the larger one has
        the higher TO-score, less the share in which it has the lower one (Kendall's tau).
    p : float
        How often the ratio would be as far from 1, up or down, if the factor did not matter: scores
        are permuted within the groups.
    networks : int
        How many were compared, each with at least one other.

    Examples
    --------
    >>> import toscore as ts
    >>> from toscore.trends import trend
    >>> found = trend(ts.load_or_run("fc-mnist", "laptop"), "width")
    >>> found.low <= found.ratio <= found.high, 0 < found.p <= 1
    (True, True)
    """

    factor: str
    ratio: float
    low: float
    high: float
    tau: float
    p: float
    networks: int


def trend(results, factor: str = "width", seed: int = 0, only=None) -> Trend:
    """How the TO-score (mean segment) depends on one factor, all others equal.

    Parameters
    ----------
    results : Result or list of Result
        Several count as one sample, of as many groups more.
    factor : "width" or "depth"
        What changes.
    seed : int
        Of the resamples and permutations.
    only : callable Result -> set of (width, depth, seed), or dict of them to bool (n,), optional
        Which networks to count, such as :func:`at_rest`, or which segments of them, such as
        :func:`finished`; all by default.

    Returns
    -------
    Trend

    Raises
    ------
    ValueError
        Another factor, or no two networks that differ in it.

    References
    ----------
    Efron and Tibshirani 1993, An introduction to the bootstrap, chapters 8 and 15.

    Examples
    --------
    >>> import toscore as ts
    >>> from toscore.trends import trend
    >>> trend(ts.load_or_run("fc-mnist", "laptop"), "depth").networks
    12
    """
    results = results if isinstance(results, list | tuple) else [results]
    found = _trend(results, factor, seed, only)
    if found is None:
        raise ValueError(f"no two of these networks differ in {factor} alone")
    return found


def _trend(results, factor, seed=0, only=None) -> Trend | None:
    """The :func:`trend`, or None where no two networks differ in the factor alone."""
    if factor not in ("width", "depth"):
        raise ValueError(f"factor must be 'width' or 'depth', got {factor!r}")
    draw = np.random.default_rng(seed)
    groups = [_groups(result, factor, draw, only) for result in results]
    groups = [some for some in groups if some]  # a result none of whose networks count is no sample
    flat = [group for some in groups for group in some]
    if not any(np.ptp(x) for x, _ in flat):
        return None
    # least squares with one intercept a group: numerator and denominator of the slope, by result
    above = np.array([sum(_centred(x) @ y for x, y in some) for some in groups])
    below = np.array([sum(_centred(x) @ x for x, _ in some) for some in groups])
    slope = above[:, 0].sum() / below.sum()
    some = draw.integers(len(groups), size=(DRAWS, len(groups)))
    numerator = above[some, np.arange(1, DRAWS + 1)[:, None]].sum(axis=1)
    denominator = below[some].sum(axis=1)
    used = denominator > 0  # where few networks count, a resample may hold none that differ
    low, high = np.quantile(numerator[used] / denominator[used], [0.025, 0.975])
    permuted = np.zeros(DRAWS)
    for x, y in flat:
        permuted += draw.permuted(np.tile(y[:, 0], (DRAWS, 1)), axis=1) @ _centred(x)
    extreme = np.sum(np.abs(permuted) >= abs(slope) * below.sum() * (1 - 1e-9))
    signs = np.concatenate([_signs(x, y[:, 0]) for x, y in flat])
    return Trend(
        factor=factor,
        ratio=float(np.exp(slope)),
        low=float(np.exp(low)),
        high=float(np.exp(high)),
        tau=float(signs.mean()),
        p=float((extreme + 1) / (DRAWS + 1)),
        networks=sum(len(x) for x, _ in flat if np.ptp(x)),
    )


def trends(results: dict, factor: str = "width", seed: int = 0, only=None) -> pd.DataFrame:
    """One row a result, and one for all of them: the fields of :class:`Trend`, by name.

    Parameters
    ----------
    results : dict of str -> Result
        Such as from :func:`stored`.
    factor : "width" or "depth"
        What changes.
    seed : int
        Of the resamples and permutations.
    only : callable, optional
        As of :func:`trend`. Where it leaves nothing to compare, a row holds NaN, and 0 networks.

    Raises
    ------
    ValueError
        As :func:`trend`, if all count.

    Examples
    --------
    >>> from toscore.trends import stored, trends
    >>> trends(stored("fc-mnist", profile="laptop")).index.tolist()
    ['fc-mnist']
    """
    samples = {name: [result] for name, result in results.items()}
    if len(results) > 1:
        samples["all"] = list(results.values())
    some = trend if only is None else _trend
    found = {name: some(sample, factor, seed, only) for name, sample in samples.items()}
    return _table(found)


def _table(found: dict) -> pd.DataFrame:
    """A row for each :class:`Trend`; NaN, and 0 networks, for each None."""
    rows = {name: asdict(row) if row else {"networks": 0} for name, row in found.items()}
    return pd.DataFrame.from_dict(rows, orient="index", columns=[f.name for f in fields(Trend)])


def compare(results: dict, subsets: dict | None = None) -> pd.DataFrame:
    """The trends over all results once more, from some of their networks.

    Parameters
    ----------
    results : dict of name -> Result
        Stored experiments, such as :func:`stored` finds.
    subsets : dict of str -> callable or None, optional
        What to count, as ``only`` of :func:`trend`; by default all networks, those that are
        :func:`at_rest`, those that are :func:`stationary`, those that are both, and the
        :func:`finished` segments of all.

    Returns
    -------
    DataFrame
        A row for each factor and subset; NaN, and 0 networks, where nothing is left to compare.

    Examples
    --------
    >>> import toscore as ts
    >>> from toscore import trends
    >>> results = {"fc-mnist": ts.load_or_run("fc-mnist", "laptop")}
    >>> subsets = {"all": None, "none": lambda result: set()}
    >>> trends.compare(results, subsets).networks.tolist()
    [12, 0, 12, 0]
    """
    if subsets is None:
        subsets = {"all networks": None, "paths at rest": at_rest, "stationary": stationary}
        subsets["both"] = lambda result: at_rest(result) & stationary(result)
        subsets["finished segments"] = finished
    found = {
        (factor, name): _trend(results.values(), factor, only=only)
        for factor in ("width", "depth")
        for name, only in subsets.items()
    }
    return _table(found).drop(columns="factor")


def holds(compared: pd.DataFrame) -> str:
    """Whether the trends of all networks hold for what is finished alone, as Markdown.

    Parameters
    ----------
    compared : DataFrame
        From :func:`compare`; of each factor, the first row is the one to hold, and the last that of
        what is finished in every sense.

    Returns
    -------
    str

    Examples
    --------
    >>> import toscore as ts
    >>> from toscore import trends
    >>> results = {"fc-mnist": ts.load_or_run("fc-mnist", "laptop")}
    >>> print(trends.holds(trends.compare(results, {"all": None}))[:25])
    **Width.** all (12): agre
    """
    said = []
    for factor, rows in compared.groupby(level=0, sort=False):
        found = [verdict(row) for row in rows.itertuples()]
        counts = zip(rows.index.get_level_values(1), rows.networks, found, strict=True)
        whole, finished = found[0], found[-1]
        each = "; ".join(f"{name} ({int(n)}): {words}" for name, n, words in counts)
        if len(found) == 1:
            so = ""
        elif rows.ratio.notna().all() and rows.ratio.nunique() == 1:
            so = " Nothing is unfinished: they are all the same."
        elif whole == "can't tell" == finished:
            so = " What is finished doesn't settle it either."
        elif whole == "can't tell":
            so = " A hint and no verdict, as it is no accident what is finished."
        elif set(found) <= {whole, "can't tell"} and finished == whole:
            so = " What is finished shows this trend, too, as far as the test for rest can see"
            lost = found[1:-1].count("can't tell")
            so += f"; {lost} of the {len(found) - 2} narrower choices can't tell." if lost else "."
        elif set(found) <= {whole, "can't tell"}:
            so = (
                " So what is unfinished may have made this trend, or what is left is too little "
                "to show it."
            )
        else:
            so = " So what is unfinished may well have made this trend."
        said.append(f"**{factor.capitalize()}.** {each}.{so}")
    return "\n\n".join(said)


def at_rest(result) -> set:
    """Networks (width, depth, seed) all of whose deaths are heights of paths at rest.

    Parameters
    ----------
    result : Result
        A stored experiment.

    Returns
    -------
    set of (width, depth, seed)

    Examples
    --------
    >>> import toscore as ts
    >>> from toscore.trends import at_rest
    >>> result = ts.load_or_run("fc-mnist", "laptop")
    >>> at_rest(result) <= set(result.barcodes())
    True
    """
    return {cell for cell, which in _rested(result).items() if which.all()}


def _rested(result) -> dict:
    """For each network, which segments end at the height of a path at rest, or never."""
    rested = dict(list(result.passes.groupby(CELL).rested))
    which = {}
    for cell, rows in result.segments.groupby(CELL):
        saddle = rows.saddle.to_numpy()
        which[cell] = saddle < 0
        if (saddle >= 0).any():
            which[cell] |= rested[cell].to_numpy(bool)[saddle]
    return which


def median_pass(result, network) -> pd.Series | None:
    """The pass of median excess among the paths at rest of one network.

    Parameters
    ----------
    result : Result
        A stored experiment.
    network : tuple of int
        Width, depth and seed.

    Returns
    -------
    Series or None
        A row of ``result.passes``, of two in the middle the higher; None where no path is at rest.

    Examples
    --------
    >>> import toscore as ts
    >>> from toscore.trends import median_pass
    >>> bool(median_pass(ts.load_or_run("fc-mnist", "laptop"), (4, 1, 0)).rested)
    True
    """
    rested = result.passes[_of(network, result.passes) & result.passes.rested]
    rested = rested.sort_values("excess", kind="stable")
    return rested.iloc[len(rested) // 2] if len(rested) else None


def stationary(result) -> set:
    """Networks (width, depth, seed) all of whose minima are stationary.

    Parameters
    ----------
    result : Result
        A stored experiment.

    Returns
    -------
    set of (width, depth, seed)

    Examples
    --------
    >>> import toscore as ts
    >>> from toscore.trends import stationary
    >>> result = ts.load_or_run("fc-mnist", "laptop")
    >>> stationary(result) <= set(result.barcodes())
    True
    """
    return {cell for cell, rows in result.minima.groupby(CELL) if rows.stationary.all()}


def finished(result) -> dict:
    """Which segments begin at a stationary minimum and end at the height of a path at rest.

    Parameters
    ----------
    result : Result
        A stored experiment.

    Returns
    -------
    dict of (width, depth, seed) -> bool array (n,)
        In the order of the network's barcode. Of a segment without end the minimum alone counts.

    Examples
    --------
    >>> import toscore as ts
    >>> from toscore.trends import finished
    >>> result = ts.load_or_run("fc-mnist", "laptop")
    >>> {cell: len(which) for cell, which in finished(result).items()}[2, 1, 0]
    5
    """
    rested, minima = _rested(result), result.minima.set_index([*CELL, "minimum"]).stationary
    return {
        cell: rested[cell] & minima[cell][rows.minimum].to_numpy()
        for cell, rows in result.segments.groupby(CELL)
    }


def at_each_size(results: dict, factor: str) -> pd.DataFrame:
    """What a factor multiplies the TO-score by at each value of the other one, over all results.

    Columns ratio, low, high, tau, p: see :class:`Trend`; NaN where no two networks differ.

    Parameters
    ----------
    results : dict of name -> Result
        Stored experiments, such as :func:`stored` finds.
    factor : str
        "depth", for a row a width, or "width", for a row a depth.

    Returns
    -------
    DataFrame

    Raises
    ------
    ValueError
        Another factor.

    Examples
    --------
    >>> import toscore as ts
    >>> from toscore import trends
    >>> results = {"fc-mnist": ts.load_or_run("fc-mnist", "laptop")}
    >>> list(trends.at_each_size(results, "depth").index)
    ['width 2', 'width 4', 'width 8']
    """
    other = "depth" if factor == "width" else "width"
    networks = {cell for result in results.values() for cell in result.barcodes()}
    found = {}
    for size in sorted({cell[CELL.index(other)] for cell in networks}):
        alike = {cell for cell in networks if cell[CELL.index(other)] == size}
        some = _trend(results.values(), factor, only=lambda _, alike=alike: alike)
        found[f"{other} {size}"] = some
    return _table(found)[["ratio", "low", "high", "tau", "p"]]


def _places(sizes: pd.DataFrame) -> dict[str, str]:
    """Each :func:`verdict` that there is in a table of :func:`at_each_size`, and its sizes."""
    found = pd.Series([verdict(row) for row in sizes.itertuples()], sizes.index)
    return {words: ", ".join(at.index) for words, at in found.groupby(found, sort=False)}


def in_words(sizes: pd.DataFrame) -> str:
    """At which sizes more of a factor lengthens segments, and at which it shortens them.

    Parameters
    ----------
    sizes : DataFrame
        From :func:`at_each_size`.

    Returns
    -------
    str
        By the :func:`verdict` at each size.

    Examples
    --------
    >>> import pandas as pd
    >>> from toscore.trends import in_words
    >>> sizes = pd.DataFrame({"low": [2.0, 0.5], "high": [9.0, 1.5], "p": [0.001, 0.4]})
    >>> print(in_words(sizes.set_axis(["width 2", "width 8"])).partition(", and ")[0])
    More depth makes segments longer, against the claim, at width 2
    """
    other, places = sizes.index[0].split()[0], _places(sizes)
    factor = "depth" if other == "width" else "width"
    longer = "contradicts" in places
    said = {
        "contradicts": "makes segments longer, against the claim,",
        "agrees": f"makes {'them' if longer else 'segments'} shorter, as claimed,",
        "can't tell": "is not settled",
    }
    parts = [f"{words} at {places[k]}" for k, words in said.items() if k in places]
    tail = f" A single verdict on {factor} says mostly which {other}s went into it."
    return f"More {factor} {', and '.join(parts)}." + tail * (longer and "agrees" in places)


def intervals(result) -> pd.DataFrame:
    """95 % bootstrap interval of the mean segment over all barcodes of one depth and width.

    Parameters
    ----------
    result : Result
        A stored experiment.

    Returns
    -------
    DataFrame
        Columns low and high, a row a (depth, width); NaN where there is a single segment.

    Examples
    --------
    >>> import toscore as ts
    >>> from toscore import trends
    >>> ends = trends.intervals(ts.load_or_run("fc-mnist", "laptop"))
    >>> bool((ends.low < ends.high).all())
    True
    """
    lengths = {}
    for (width, depth, _), code in result.barcodes().items():
        lengths.setdefault((depth, width), []).append(np.diff(code.diagram(), axis=1)[:, 0])
    rows = {}
    for size, some in sorted(lengths.items()):
        some = np.concatenate(some)
        rows[size] = bootstrap_interval(some) if len(some) > 1 else (np.nan, np.nan)
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["low", "high"])
    table.index = pd.MultiIndex.from_tuples(table.index, names=["depth", "width"])
    return table


def shares(result) -> pd.Series:
    """TO-score of each network as a share of the mean loss of its minima.

    Parameters
    ----------
    result : Result
        A stored experiment.

    Returns
    -------
    Series
        Indexed by width, depth and seed.

    Examples
    --------
    >>> import toscore as ts
    >>> from toscore.trends import shares
    >>> len(shares(ts.load_or_run("fc-mnist", "laptop")))
    12
    """
    scores = result.scores().set_index(CELL).score
    return (scores / result.minima.groupby(CELL).loss.mean()).rename("TO-score / loss")


def shares_by_family(families=("fc", "cnn", "resnet"), profile=None) -> pd.DataFrame:
    """Median of :func:`shares`: a row a data set, a column a family, from what is stored.

    Parameters
    ----------
    families : sequence of str
        What the experiments' names begin with.
    profile : str, optional
        As for :func:`stored`.

    Returns
    -------
    DataFrame
        NaN where nothing is stored.

    Examples
    --------
    >>> from toscore import trends
    >>> list(trends.shares_by_family(["fc"]))
    ['fc']
    """
    found = {family: {} for family in families}
    for name, result in stored(profile=profile).items():
        family, _, dataset = name.partition("-")
        if family in found:
            found[family][dataset] = shares(result).median()
    return pd.DataFrame(found).rename_axis("data set")


def sizes(results: dict) -> pd.DataFrame:
    """One row a (depth, width): means over all minima, paths and barcodes of the results.

    Columns loss, train_error, test_error, stationary (share of the minima), gradient (median norm),
    rested (share of the paths), TO-score, and TO-score / loss (ratio of the means).

    Parameters
    ----------
    results : dict of name -> Result
        Stored experiments, such as :func:`stored` finds.

    Returns
    -------
    DataFrame

    Examples
    --------
    >>> import toscore as ts
    >>> from toscore import trends
    >>> results = {"fc-mnist": ts.load_or_run("fc-mnist", "laptop")}
    >>> trends.sizes(results).index.to_list()
    [(1, 2), (1, 4), (1, 8), (2, 2), (2, 4), (2, 8)]
    """
    size = ["depth", "width"]
    minima = pd.concat(r.minima for r in results.values()).groupby(size)
    table = minima[["loss", "train_error", "test_error", "stationary"]].mean()
    table["gradient"] = minima.grad_norm.median()
    table["rested"] = searched(results).groupby(size).rested.mean()
    table["TO-score"] = pd.concat(r.scores() for r in results.values()).groupby(size).score.mean()
    table["TO-score / loss"] = table["TO-score"] / table.loss
    return table


def searched(results: dict) -> pd.DataFrame:
    """The passes of all results whose path was searched, not bounded by :func:`ceiling` alone.

    Parameters
    ----------
    results : dict of name -> Result
        Stored experiments, such as :func:`stored` finds.

    Returns
    -------
    DataFrame
        Rows of ``Result.passes``, one result after the other.

    Examples
    --------
    >>> import toscore as ts
    >>> from toscore import trends
    >>> results = {"fc-mnist": ts.load_or_run("fc-mnist", "laptop")}
    >>> bool(trends.searched(results).maximum.notna().all())
    True
    """
    return pd.concat(r.passes[r.passes.maximum.notna()] for r in results.values())


def lower_minima(results: dict) -> str:
    """How often larger networks have lower minima, by the mean loss; as Markdown.

    Parameters
    ----------
    results : dict of name -> Result
        Stored experiments, such as :func:`stored` finds.

    Returns
    -------
    str

    Examples
    --------
    >>> import toscore as ts
    >>> from toscore import trends
    >>> results = {"fc-mnist": ts.load_or_run("fc-mnist", "laptop")}
    >>> trends.lower_minima(results)[:49]
    'On average, the minima of the widest networks are'
    """
    wide, deep = [], []
    for result in results.values():
        loss = result.minima.groupby(["depth", "width"]).loss.mean().unstack()
        wide += list(loss.iloc[:, -1] < loss.iloc[:, 0])
        deep += list(loss.iloc[-1] < loss.iloc[0])
    return (
        "On average, the minima of the widest networks are lower than those of the narrowest in "
        f"{sum(wide)} of {len(wide)} pairs of data set and depth, and those of the deepest lower "
        f"than those of the shallowest in {sum(deep)} of {len(deep)} pairs of data set and width."
    )


def _groups(result, factor: str, draw, only) -> list[tuple[np.ndarray, np.ndarray]]:
    """Levels (k,) and log TO-scores (k, 1 + DRAWS) of networks that differ in the factor alone.

    The first column holds the scores, each other one those of barcodes with resampled segments.
    """
    rows, wanted = [], None if only is None else only(result)
    for (width, depth, seed), code in result.barcodes().items():
        if wanted is not None and (width, depth, seed) not in wanted:
            continue
        code.to_score()  # refuses a barcode whose segments are not all known
        whole = np.ones(len(code), bool)
        counts = wanted[width, depth, seed] if isinstance(wanted, dict) else whole
        lengths = code.lengths[np.isfinite(code.lengths) & counts]
        if not len(lengths) and not (len(code) == 1 and counts.all()):
            continue  # none of its segments counts
        scores = np.zeros(1 + DRAWS)  # a single minimum obstructs nothing
        if len(lengths):
            which = draw.integers(len(lengths), size=(DRAWS, len(lengths)))
            scores = np.append(lengths.mean(), lengths[which].mean(axis=1))
        level = np.log2(width) if factor == "width" else float(depth)
        rows.append(((depth if factor == "width" else width, seed), level, scores))
    groups = []
    for key in sorted({key for key, _, _ in rows}):
        some = [(level, scores) for other, level, scores in rows if other == key]
        x, y = (np.array(column) for column in zip(*some, strict=True))
        groups.append((x, np.log(np.maximum(y, FLOOR))))
    return groups


def _centred(x):
    return x - x.mean()


def _signs(x, y) -> np.ndarray:
    """1 for each pair of a group that rises, -1 for one that falls."""
    i, j = np.triu_indices(len(x), 1)
    return np.sign((x[j] - x[i]) * (y[j] - y[i]))[x[i] != x[j]]


def ceiling(dataset: str, ends: np.ndarray) -> np.ndarray:
    """What no pass needs to exceed: the loss of guessing over the higher end; see chapter 9.

    Parameters
    ----------
    dataset : str
        Says how many classes there are.
    ends : float (P, 2)
        Losses of the two minima of each pass, weight decay included.

    Returns
    -------
    float array (P,)

    Raises
    ------
    ValueError
        No data set of that name.

    Examples
    --------
    >>> from toscore.trends import ceiling
    >>> ceiling("mnist", [[0.5, 0.1]]).round(3).tolist()
    [2.803]
    """
    return np.log(_entry(dataset)[0]) + np.max(ends, axis=1)


def below_ceiling(dataset: str, loss, pairs, saddle):
    """Passes of one network with nothing above :func:`ceiling`: of two upper bounds, the lower one.

    A minimum whose segment would still be longer than the loss of guessing gets the bound of its
    own pass to the lowest minimum, a pair that was not searched.

    Parameters
    ----------
    dataset : str
        As for :func:`ceiling`.
    loss : float (N,)
        Of the minima, weight decay included.
    pairs : int (P, 2)
        Which minima each path joins.
    saddle : float (P,)
        The path's maximum, or its saddle.

    Returns
    -------
    pairs : int array (P', 2)
        The given ones, and those that were added.
    saddle : float array (P',)
    cut : bool array (P',)
        Whether the ceiling was the lower bound.

    Examples
    --------
    >>> from toscore.trends import below_ceiling
    >>> pairs, saddle, cut = below_ceiling("mnist", [0.1, 0.3, 0.9], [[0, 2], [1, 2]], [1.0, 9.0])
    >>> pairs.tolist(), saddle.round(2).tolist(), cut.tolist()
    ([[0, 2], [1, 2], [0, 1]], [1.0, 3.2, 2.6], [False, True, True])
    """
    loss, saddle = np.asarray(loss, np.float64), np.asarray(saddle, np.float64)
    pairs = np.asarray(pairs, np.int64).reshape(-1, 2)
    highest = ceiling(dataset, loss[pairs])
    cut, saddle = saddle > highest, np.minimum(saddle, highest)
    code = barcode_of_minima(loss, pairs, saddle)
    lowest, own = int(loss.argmin()), ceiling(dataset, loss[:, None])
    late = code.minimum[code.death > own[code.minimum]]
    late = np.sort(late[late != lowest])
    added = np.sort(np.column_stack([late, np.full(len(late), lowest)]), axis=1)
    cut = np.append(cut, np.ones(len(late), bool))
    return np.concatenate([pairs, added]), np.append(saddle, own[late]), cut


def bounded(result):
    """The same result with no pass above :func:`ceiling`, by :func:`below_ceiling`.

    Such a pass counts as not at rest, and ``cut`` is True for it. One that was not searched has no
    ``maximum``. No finite segment is longer than the loss of guessing.

    Parameters
    ----------
    result : Result
        A stored experiment, of networks whose last layer is linear.

    Returns
    -------
    Result

    Examples
    --------
    >>> import toscore as ts
    >>> from toscore.trends import bounded
    >>> result = ts.load_or_run("fc-mnist", "laptop")
    >>> bool(bounded(result).scores().score.le(result.scores().score).all())
    True
    """
    dataset = result.manifest["settings"]["dataset"]
    before = result.passes.get("cut", False)  # where this has been done already
    passes, added = result.passes.assign(cut=False), []
    for cell, minima in result.minima.groupby(CELL):
        here = _of(cell, passes)
        rows, loss = passes[here], minima.sort_values("minimum").loss
        pairs, saddle, cut = below_ceiling(dataset, loss, rows[["i", "j"]], rows.saddle)
        n = len(rows)
        passes.loc[here, "saddle"], passes.loc[here, "cut"] = saddle[:n], cut[:n]
        if len(pairs) > n:
            more = pd.DataFrame(pairs[n:], columns=["i", "j"]).assign(saddle=saddle[n:], cut=True)
            more = more.assign(**dict(zip(CELL, cell, strict=True)), rested=False, certified=False)
            added.append(more)
    passes["cut"] |= before
    passes["rested"] &= ~passes.cut
    # what is added comes last: the profiles are those of the rows before
    passes = pd.concat([passes, *added], ignore_index=True)
    guessing = ceiling(dataset, np.zeros((1, 2)))[0]  # over the higher end
    passes["excess"] = passes.excess.mask(passes.cut, guessing)
    result = replace(result, passes=passes)
    return replace(result, segments=_segments(result.barcodes()))


def stored(family: str = "", *, profile=None, results=None) -> dict:
    """Stored results of the atlas's cells, :func:`bounded`, by name; what is missing is left out.

    All are of one profile, since networks of other sizes and images would spoil a trend.

    Parameters
    ----------
    family : str
        What the names begin with: "fc", "cnn" or "resnet"; all by default.
    profile : str, optional
        Defaults to $TOSCORE_PROFILE; without that, to "gpu" or "laptop", whichever has more cells
        ("gpu" if they have as many).
    results : path, optional
        As for :func:`toscore.load_or_run`.

    Returns
    -------
    dict of str -> Result

    Raises
    ------
    ValueError
        No name begins so.
    MissingResult
        Nothing is stored, and no ``profile`` was given here.

    Examples
    --------
    >>> from toscore.trends import stored
    >>> "fc-mnist" in stored("fc", profile="laptop")
    True
    """
    names = [name for name in ATLAS if name.startswith(family)]
    if not names:
        raise ValueError(f"no cell of the atlas begins with {family!r}: use fc, cnn or resnet")
    asked = profile or os.environ.get("TOSCORE_PROFILE")
    found = [_found(names, one, results) for one in ([asked] if asked else ["gpu", "laptop"])]
    most = max(found, key=len)
    if not most and profile is None:
        raise MissingResult(
            f"no result of {family or 'the atlas'} is stored in profile {asked or 'laptop'!r}. "
            f"Make one with: toscore run {names[0]} --profile {asked or 'laptop'}"
        )
    return most


def _found(names, profile, results) -> dict:
    found = {}
    for name in names:
        with suppress(MissingResult):
            found[name] = bounded(load_or_run(name, profile, results=results))
    return found


def verdict(trend: Trend) -> str:
    """What a trend says of the claim that barcodes shrink: agrees, contradicts or can't tell.

    Parameters
    ----------
    trend : Trend
        From :func:`trend`.

    Returns
    -------
    str
        By whether its interval lies below 1 or above; "can't tell" if on both sides, or if p is
        0.05 or more.

    Examples
    --------
    >>> from toscore.trends import Trend, verdict
    >>> verdict(Trend("width", ratio=0.7, low=0.5, high=0.9, tau=-0.4, p=0.02, networks=12))
    'agrees'
    """
    if trend.p >= 0.05:
        return "can't tell"
    if trend.high < 1:
        return "agrees"
    return "contradicts" if trend.low > 1 else "can't tell"


SAYS = {"agrees": "agrees with", "contradicts": "contradicts", "can't tell": "does not settle"}


def claims(by: dict) -> pd.DataFrame:
    """What :func:`trends` found for each factor, in words: its ratio, its p, and the verdict.

    Parameters
    ----------
    by : dict of factor -> DataFrame
        The table of :func:`trends` for "width", for "depth" or for both.

    Returns
    -------
    DataFrame
        Of strings, one row a result.

    Examples
    --------
    >>> import toscore as ts
    >>> from toscore import trends
    >>> results = {"fc-mnist": ts.load_or_run("fc-mnist", "laptop")}
    >>> by = {"width": trends.trends(results, "width")}
    >>> list(trends.claims(by))
    ['width', 'width: p', 'width: claim']
    """
    columns = {}
    for factor, table in by.items():
        columns[factor] = [
            f"×{r.ratio:.2g}\u00a0[{r.low:.2g},\u00a0{r.high:.2g}]" if pd.notna(r.ratio) else "–"
            for r in table.itertuples()
        ]
        columns[f"{factor}: p"] = table.p.map("{:.2g}".format).where(table.p.notna(), "–")
        columns[f"{factor}: claim"] = [verdict(row) for row in table.itertuples()]
    return pd.DataFrame(columns, index=next(iter(by.values())).index)


def contents(results: dict) -> str:
    """What the stored results of one family hold, as Markdown.

    Parameters
    ----------
    results : dict of name -> Result
        Stored experiments, such as :func:`stored` finds.

    Returns
    -------
    str

    Examples
    --------
    >>> import toscore as ts
    >>> from toscore import trends
    >>> results = {"fc-mnist": ts.load_or_run("fc-mnist", "laptop")}
    >>> trends.contents(results)[:42]
    '1 of 5 data sets are stored: fc-mnist. In '
    """
    minima = sum(len(r.minima) for r in results.values())
    paths = len(searched(results))
    which = {}
    for name, result in results.items():
        s, images = result.manifest["settings"], result.manifest["data"]["n_train"]
        said = (
            f"networks of width {', '.join(map(str, s['widths']))} and depth "
            f"{' or '.join(map(str, s['depths']))}, {s['n_minima']} starts for each of "
            f"{len(s['seeds'])} seeds, {images} training images, weight decay "
            f"{s['weight_decay']:g}."
        )
        which.setdefault(said, []).append(name)
    parts = (
        f"In {'each' if len(which) == 1 else ', '.join(names)}: {said}"
        for said, names in which.items()
    )
    fewer = [
        n
        for r in results.values()
        for n in r.minima.groupby(CELL).size()
        if n < r.manifest["settings"]["n_minima"]
    ]
    met = (
        f" In {len(fewer)} of the networks some starts ended in the same minimum, so that "
        f"{' or '.join(map(str, sorted(set(fewer))))} are left."
    )
    return (
        f"{len(results)} of {len(DATASETS)} data sets are stored: {', '.join(results)}. "
        f"{' '.join(parts)} {minima} minima and {paths} paths between them in all (those that can "
        f"matter for a barcode).{met if fewer else ''}"
    )


def origins(results: dict) -> str:
    """Where the results behind a figure of many come from, and which are stale, as Markdown.

    Parameters
    ----------
    results : dict of name -> Result
        Stored experiments, such as :func:`stored` finds.

    Returns
    -------
    str

    Examples
    --------
    >>> import toscore as ts
    >>> from toscore import trends
    >>> trends.origins({"fc-mnist": ts.load_or_run("fc-mnist", "laptop")})[:31]
    'Profile laptop, made between 20'
    """
    code = _source_digest()
    made = {name: r.manifest for name, r in results.items()}
    where = {}
    for name, m in made.items():
        where.setdefault(_machines(m), []).append(name)
    days = sorted(m["finished"][:10] for m in made.values())
    stale = [name for name, m in made.items() if _is_old(m, code)]
    earlier = [n for n, m in made.items() if n not in stale and m["source_digest"] != code]
    said = [
        f"Profile {' and '.join(sorted({r.profile for r in results.values()}))}, made between "
        f"{days[0]} and {days[-1]}.",
        *(f"On {machine}: {', '.join(names)}." for machine, names in where.items()),
    ]
    if earlier:
        said.append(
            "Made by an earlier version of the code, and one network of each again by this one, "
            f"with the same digits: {', '.join(earlier)}."
        )
    if stale:
        said.append(
            f"Stale, that is, made by an earlier version of the code: {', '.join(stale)}; "
            f"`toscore run NAME --profile {results[stale[0]].profile} --fresh` makes one anew."
        )
    return " ".join(said)


def findings(results: dict, by: dict) -> str:
    """The two claims of the paper against these results, and what limits the answer, as Markdown.

    Parameters
    ----------
    results : dict of name -> Result
        Stored experiments, such as :func:`stored` finds.
    by : dict of factor -> DataFrame
        The tables of :func:`trends` for "width" and for "depth".

    Returns
    -------
    str

    Examples
    --------
    >>> import toscore as ts
    >>> from toscore import trends
    >>> results = {"fc-mnist": ts.load_or_run("fc-mnist", "laptop")}
    >>> by = {factor: trends.trends(results, factor) for factor in ("width", "depth")}
    >>> trends.findings(results, by)[:10]
    '**Width.**'
    """
    said = {factor: _against_claim(results, by[factor], factor) for factor in ("width", "depth")}
    paths = pd.concat(r.passes for r in results.values())
    sought = searched(results)
    cut, above = (int(rows.cut.sum()) if "cut" in rows else 0 for rows in (paths, sought))
    spent = len(sought) - int(sought.rested.sum()) - above
    missing = {f"{above} stay above it": above, f"the budget of {spent} was used up": spent}
    others = ", and ".join(words for words, count in missing.items() if count)
    rested, unrested = "all", ""
    if others:
        rested = len(sought) - above - spent
        unrested = f"""
Of the others {others}. The table says where; by how much that makes a TO-score too
high, it does not."""
    settings = [r.manifest["settings"] for r in results.values()]
    step = "block" if all(s["family"] == "resnet" for s in settings) else "layer"
    settled = max(s["paths"].get("settled", 0.0) for s in settings)
    still = max(s["minima"].get("grad_tol", 1e-4) for s in settings)  # as find_minima has it
    images = " or ".join(
        str(n) for n in sorted({r.manifest["data"]["n_train"] for r in results.values()})
    )
    points = pd.concat(r.minima for r in results.values())
    reached, missed = f"All {len(points)} minima", ""
    if not points.stationary.all():
        reached = f"{points.stationary.sum()} of {len(points)} minima"
        missed = """
Where one did not (the column "gradient" has the median norm), its birth is only an upper bound, and
the length of its segment is bounded on neither side."""
    relative = sizes(results)["TO-score / loss"].unstack()
    falls = int((relative.iloc[:, -1] < relative.iloc[:, 0]).sum())
    each = pd.concat(shares(r).unstack("width") for r in results.values())
    lower, alike = int((each.iloc[:, -1] < each.iloc[:, 0]).sum()), len(each)
    scale = "" if falls == len(relative) else " Where the means do not, scale explains them."
    return f"""**Width.** The claim: barcodes shrink as networks get wider. Here a doubling
multiplies the TO-score by {said["width"]}

**Depth.** The claim is the same. Here one {step} more multiplies it by {said["depth"]}

**Setting.** The paper's networks are larger, trained on all images, and have ReLU; these see
{images} images and have a smooth activation. Where the two differ, that is one possible reason, and
what is unfinished another.

**Upper bounds.** Every death is a path's maximum, or the bound of chapter 9 where that is lower (so
for {cut or "none"} of {len(paths)} passes); {paths.certified.sum() or "none"} of the passes are
certified. Of the {len(sought)} paths that were searched {rested} had come to rest below that bound
when they were measured: doubling the work had lowered them by less than {settled:.0%} of their
climb.{unrested}

**Stationarity.** {reached} reached a gradient norm of {still:g}.{missed}

**Height.** Larger networks reach lower losses. Is shrinking more than that change of scale? As a
share of the loss of the minima the TO-score falls from the narrowest to the widest networks at
{falls} of {len(relative)} depths, by the means, and in {lower} of {alike} pairs of networks that
differ in nothing else.{scale}"""


def _against_claim(results: dict, table: pd.DataFrame, factor: str) -> str:
    """What a factor multiplies the TO-score by, the verdict on it, and what that rests on."""
    row, each, other = table.iloc[-1], table.iloc[:-1], "depth" if factor == "width" else "width"
    found = verdict(row)
    so = f"{row.ratio:.2g} [{row.low:.2g}, {row.high:.2g}]: the result **{SAYS[found]}** the claim."
    if found == "can't tell" and len(each):
        longer = int((each.ratio > 1).sum())
        so += f" (p is {row.p:.2g}; it lengthens segments on {longer} of {len(each)} data sets.)"
    parts = at_each_size(results, factor)
    if len(parts) > 1:
        places = "; ".join(f"{words} at {where}" for words, where in _places(parts).items())
        so += f" Each {other} on its own: {places}."
    return so
