"""connect and loss_barcode: passes bound from above, their maximum truly found."""

from dataclasses import replace
from itertools import combinations, pairwise

import numpy as np
import pytest
import torch

import toscore as ts
from toscore import Landscape, Minima, connect, loss_barcode, passes, surfaces
from toscore.curves import Curve, bezier
from toscore.passes import tighten

# What 20,000 evaluations a path reach on these surfaces without certificates: the path's maximum
# lies above the true pass by at most this share of the longest segment. The worst of 20 seeds gave
# 0.020, 0.0066, 0.00028 and 3e-16; the medians are a tenth of the first two.
NEAR = {"mueller_brown": 0.03, "himmelblau": 0.01, "six_hump_camel": 5e-4, "double_wells": 1e-5}
# How far a path's stated maximum may lie below its true one, by the spacing of the last search.
FOUND = 1e-9


def build(name):
    if name == "double_wells":
        return surfaces.double_wells([1.0, 0.7, 1.3], [0.3, -0.2, 0.9])
    return getattr(surfaces, name)()


def found(landscape, minima, pairs="all", **settings):
    return connect(landscape, minima, pairs, **{"certified": False, "progress": False} | settings)


@pytest.fixture(scope="module", params=NEAR)
def connected(request):
    """A surface, and the paths along the pairs its saddles join."""
    surface = build(request.param)
    pairs = np.unique(np.sort(surface.pairs, axis=1), axis=0)
    return request.param, surface, found(surface, surface.minima, pairs, budget=20_000)


@pytest.fixture(scope="module")
def network():
    digits = ts.load_data("digits", n_train=60)
    model = ts.mlp(digits.shape, digits.n_classes, width=4, activation="gelu")
    return Landscape(model, digits.x_train, digits.y_train, weight_decay=1e-3)


@pytest.fixture(scope="module")
def minima(network):
    return ts.find_minima(network, 3, steps=100, lr=0.05, max_evaluations=100, progress=False)


# -- on surfaces -----------------------------------------------------------------------------------


def true_passes(surface) -> np.ndarray:
    """The true minimax heights between all minima (N, N), through whatever lies between."""
    n = len(surface.minima)
    height = np.full((n, n), np.inf)
    for (i, j), value in zip(surface.pairs, surface.loss(surface.saddles).numpy(), strict=True):
        height[i, j] = height[j, i] = min(height[i, j], value)
    for k in range(n):  # Floyd and Warshall, with max for plus
        height = np.minimum(height, np.maximum(height[:, k, None], height[None, k]))
    return height


def test_passes_bound_the_true_ones_from_above_and_closely(connected):
    name, surface, paths = connected
    exact = true_passes(surface)[tuple(paths.pairs.T)]
    assert (paths.saddle >= exact - FOUND * np.maximum(1, np.abs(exact))).all()
    barcode = ts.barcode_of_minima(surface.loss(surface.minima), paths.pairs, paths.saddle)
    rest = np.isfinite(surface.barcode.death)
    assert (np.isfinite(barcode.death) == rest).all()
    above = barcode.death[rest] - surface.barcode.death[rest]
    assert above.max() <= NEAR[name] * surface.barcode.to_score("max")


def test_no_point_of_a_path_is_higher_than_its_saddle(connected):
    _, surface, paths = connected
    t = torch.linspace(0, 1, 100_001, dtype=torch.float64)
    dense = surface.loss(paths.along(t)).numpy()
    scale = np.maximum(1, np.abs(paths.saddle))
    assert (dense.max(axis=1) <= paths.saddle + 1e-6 * scale).all()
    assert (dense.max(axis=1) >= paths.saddle - 1e-4 * scale).all()


def test_the_maximum_between_two_samples_is_found():
    # No budget to leave the straight path; bumps narrower than a pixel but wider than the
    # samples' spacing stand between samples, the lower one on a sample.
    def f(p):
        x = p[..., 0]
        between = 2 * torch.exp(-(((x - 0.5039) / 0.003) ** 2))
        return between + 1.6 * torch.exp(-(((x - 0.25) / 0.003) ** 2)) + p[..., 1] ** 2

    surface = surfaces.from_function(f, [(0, 1), (-1, 1)])
    paths = found(surface, torch.tensor([[0.0, 0.0], [1.0, 0.0]]), budget=1)
    assert paths.profiles.max() < 1.9
    assert paths.saddle[0] == pytest.approx(2, abs=1e-6)
    assert paths.t[0] == pytest.approx(0.5039, abs=1e-4)


def test_saddle_points_lie_on_the_paths_at_the_height_stated(connected):
    _, surface, paths = connected
    assert paths.points.shape == (len(paths), surface.dim)
    np.testing.assert_allclose(surface.loss(paths.points), paths.saddle, rtol=1e-9)
    on_curve = torch.cat([paths.at(k, t) for k, t in enumerate(paths.t[:, None])])
    torch.testing.assert_close(on_curve, paths.points)
    assert ((paths.t >= 0) & (paths.t <= 1)).all()


def test_profiles_begin_and_end_at_the_minima(connected):
    _, surface, paths = connected
    losses = surface.loss(surface.minima).numpy()
    ends = surface.minima[torch.as_tensor(paths.pairs)]
    for controls, end in zip(paths.controls, ends, strict=True):
        torch.testing.assert_close(controls[[0, -1]], end, rtol=0, atol=0)
    np.testing.assert_allclose(paths.profiles[:, [0, -1]], losses[paths.pairs], atol=1e-9)
    assert paths.profiles.shape == (len(paths), len(paths.profile_t))
    assert paths.profile_t[0] == 0 and paths.profile_t[-1] == 1
    assert (paths.profiles.max(axis=1) <= paths.saddle).all()
    np.testing.assert_allclose(
        paths.profiles, surface.loss(paths.along(paths.profile_t)), rtol=1e-9, atol=1e-9
    )
    higher = losses[paths.pairs].max(axis=1)
    np.testing.assert_allclose(paths.excess, paths.saddle - higher, atol=1e-9)
    assert not paths.certified.any() and paths.certified.shape == (len(paths),)
    assert paths.evaluations > 0 and paths.seconds > 0


def test_frame(connected):
    frame = connected[2].to_frame()
    passes = ["i", "j", "saddle", "excess", "maximum", "t", "spread", "certified", "rested"]
    certificates = ["verdict", "grad_norm", "lowest", "second", "moved", "products"]
    assert list(frame) == passes + certificates
    assert (frame[["i", "j"]].to_numpy() == connected[2].pairs).all()
    assert (frame.saddle == connected[2].saddle).all()


def test_paths_are_lower_than_straight_lines(connected):
    name, surface, paths = connected
    t = np.linspace(0, 1, 1001)
    straight = surface.loss(bezier(surface.minima[torch.as_tensor(paths.pairs)], t)).numpy()
    # A curve is judged by a finite number of its points, so that a straight line that is all but
    # the best may be left for a slightly worse curve.
    slack = 2e-3 * surface.barcode.to_score("max")
    assert (paths.saddle <= straight.max(axis=1) + slack).all()
    # where there is room between the straight line and the true pass, a path uses most of it
    pass_heights = surface.loss(surface.saddles).numpy()
    between = [(np.sort(surface.pairs, axis=1) == pair).all(axis=1) for pair in paths.pairs]
    room = straight.max(axis=1) - [pass_heights[rows].min() for rows in between]
    wide = room > 2 * slack
    assert ((straight.max(axis=1) - paths.saddle)[wide] > 0.9 * room[wide]).all()
    # elsewhere the straight lines are all but the best paths
    assert wide.any() == (name not in ("double_wells", "six_hump_camel"))


def test_a_subset_of_pairs_gets_the_same_paths():
    surface = surfaces.himmelblau()
    whole = found(surface, surface.minima, budget=800)
    assert whole.pairs.tolist() == [list(p) for p in combinations(range(4), 2)]
    part = found(surface, surface.minima, [[1, 3], [0, 2]], budget=800)
    assert part.pairs.tolist() == [[1, 3], [0, 2]]
    rows = [4, 1]
    np.testing.assert_allclose(part.saddle, whole.saddle[rows], rtol=1e-9)
    for mine, other in zip(part.controls, rows, strict=True):
        torch.testing.assert_close(mine, whole.controls[other])
    np.testing.assert_allclose(part.profiles, whole.profiles[rows], rtol=1e-9, atol=1e-9)


def test_same_seed_same_paths():
    surface = surfaces.himmelblau()
    torch.manual_seed(1)
    a = found(surface, surface.minima, [[0, 1]], budget=400)
    torch.manual_seed(2)
    b = found(surface, surface.minima, [[0, 1]], budget=400)
    assert torch.equal(a.controls[0], b.controls[0]) and a.saddle == b.saddle
    c = found(surface, surface.minima, [[0, 1]], budget=400, seed=1)
    assert not torch.equal(a.controls[0], c.controls[0])


def test_longer_training_is_lower():
    surface = surfaces.mueller_brown()
    short = found(surface, surface.minima, surface.pairs, budget=100)
    long = found(surface, surface.minima, surface.pairs, budget=20_000)
    exact = surface.loss(surface.saddles).numpy()
    assert long.saddle[0] < short.saddle[0] - 1
    assert (long.saddle[1] < exact[1] + 0.1) and (long.saddle >= exact - 1e-9).all()
    assert long.evaluations > short.evaluations


def test_a_step_that_blows_up_is_cut():
    # flat near the line, a wall of 1e30 beyond: the first steps, sized by the chord, hit it
    def f(p):
        x, y = p[..., 0], p[..., 1]
        hill = (1 - x**2) ** 2 + torch.exp(-20 * (y - 0.1) ** 2) * (1 - x**2)
        return hill + 1e30 * (y.abs() - 0.6).clamp(min=0) ** 2

    surface = surfaces.from_function(f, [(-1, 1), (-1, 1)])
    ends = torch.tensor([[-1.0, 0.0], [1.0, 0.0]], dtype=torch.float64)
    paths = found(surface, ends, budget=2000)
    straight = found(surface, ends, budget=1)
    assert np.isfinite(paths.profiles).all()
    assert paths.saddle[0] < straight.saddle[0] - 0.3


def test_paths_of_no_pairs():
    surface = surfaces.himmelblau()
    for minima, pairs in (
        (surface.minima[:1], "all"),
        (surface.minima[:0], "all"),
        (surface.minima, []),
        (surface.minima, np.empty((0, 2), dtype=int)),
    ):
        paths = found(surface, minima, pairs)
        assert len(paths) == len(paths.to_frame()) == paths.evaluations == 0
        assert paths.pairs.shape == (0, 2) and paths.saddle.shape == (0,)
        assert paths.points.shape == (0, 2)
        assert paths.profiles.shape == (0, len(paths.profile_t))
        assert paths.excess.shape == (0,)


def test_minima_may_be_tensors_arrays_or_minima():
    surface = surfaces.himmelblau()
    minima = ts.find_minima(surface, 6, progress=False)
    assert isinstance(minima, Minima)
    by_object = found(surface, minima, [[0, 1]], budget=200)
    before = minima.theta.clone()
    by_array = found(surface, minima.theta.numpy(), [[0, 1]], budget=200)
    assert by_object.saddle == by_array.saddle
    assert torch.equal(minima.theta, before)


# -- bad arguments ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"pairs": "some"}, ValueError, "'needed', 'all' or an array"),
        ({"pairs": [[0, 4]]}, ValueError, r"pairs\[0\] = \[0, 4\] is out of range"),
        ({"pairs": [[0, 1], [-1, 2]]}, ValueError, r"pairs\[1\]"),
        ({"pairs": [[0, 1], [2, 2]]}, ValueError, r"pairs\[1\] connects minimum 2 with itself"),
        ({"pairs": [[0, 1], [1, 0]]}, ValueError, r"pairs\[1\] = \[0, 1\] is given twice"),
        ({"pairs": [[0, 1], [0, 1]]}, ValueError, "given twice"),
        ({"pairs": [0, 1]}, ValueError, r"shape \(m, 2\)"),
        ({"pairs": [[0, 1, 2]]}, ValueError, r"shape \(m, 2\)"),
        ({"pairs": [[0.0, 1.0]]}, TypeError, "must be integers"),
        ({"budget": 0}, ValueError, "budget must be at least 1, got 0"),
        ({"budget": -5}, ValueError, "budget"),
        ({"seconds": 0}, ValueError, "seconds must be positive, got 0"),
        ({"seconds": np.nan}, ValueError, "seconds"),
        ({"restarts": 0}, ValueError, "restarts must be at least 1"),
        ({"tol": -1.0}, ValueError, "tol must be at least 0"),
        ({"tol": np.nan}, ValueError, "tol"),
        (
            {"minima": [[1.0, 1.0], [0.0, 0.0], [1.0, 1.0]]},
            ValueError,
            "0 and 2 are the same point",
        ),
        ({"seed": -1}, ValueError, "non-negative|>= 0"),
        (
            {"minima": [[0.0, np.nan], [1.0, 1.0]]},
            FloatingPointError,
            "minimum 0 has parameters that are not finite",
        ),
        ({"minima": [[0.0, np.inf], [1.0, 1.0]]}, FloatingPointError, "not finite"),
        ({"minima": [[0.0, 1, 2], [1, 1, 1]]}, ValueError, r"must have shape \(N, 2\)"),
    ],
)
def test_bad_arguments(settings, error, message):
    surface = surfaces.himmelblau()
    with pytest.raises(error, match=message):
        found(surface, **{"minima": surface.minima, "budget": 200} | settings)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_wall_between_minima_is_said(value):
    # not finite in a strip no path can avoid
    def f(p):
        return torch.where(p[..., 0].abs() < 0.1, value, (p**2).sum(-1))

    surface = surfaces.from_function(f, [(-1, 1)] * 2)
    ends = torch.tensor([[-1.0, 0.0], [1.0, 0.0], [1.0, 1.0]])
    with pytest.raises(FloatingPointError, match=rf"f is {value} .* minima \[0, [12]\]"):
        found(surface, ends, budget=200)
    assert len(found(surface, ends, [[1, 2]], budget=200)) == 1


# -- on networks -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def network_paths(network, minima):
    return found(network, minima, budget=1600)


def test_network_paths_beat_straight_lines(network, minima, network_paths):
    paths = network_paths
    t = np.tile(np.linspace(0, 1, 201), (len(paths), 1))
    straight = network.loss(bezier(minima.theta[torch.as_tensor(paths.pairs)], t)).numpy()
    higher = minima.loss[paths.pairs].max(axis=1)
    assert (paths.saddle >= higher - 1e-6).all()
    assert ((paths.saddle - higher) < 0.5 * (straight.max(axis=1) - higher)).all()


def test_network_maxima_are_found(network, network_paths):
    dense = network.loss(network_paths.along(np.linspace(0, 1, 3001))).numpy()
    assert (dense.max(axis=1) <= network_paths.saddle * (1 + 1e-5)).all()  # float32
    np.testing.assert_allclose(network.loss(network_paths.points), network_paths.saddle, rtol=1e-5)


def test_a_subset_of_network_pairs(network, minima):
    whole = found(network, minima, budget=600)
    part = found(network, minima, [[1, 2]], budget=600)
    # float32 rounds differently in a batch, and L-BFGS amplifies it
    np.testing.assert_allclose(part.saddle, whole.saddle[2:], rtol=2e-2)


# -- the one-liner ---------------------------------------------------------------------------------


def test_loss_barcode_of_mueller_brown():
    surface = surfaces.mueller_brown()
    code = loss_barcode(surface, 12, progress=False)
    assert len(code) == 3
    order, exact = np.argsort(code.birth), np.argsort(surface.barcode.birth)
    np.testing.assert_allclose(code.birth[order], surface.barcode.birth[exact], atol=1e-9)
    np.testing.assert_allclose(code.death[order], surface.barcode.death[exact], atol=1e-6)
    assert (code.death_interval[order, 0] == code.death[order]).all()
    assert (code.death_interval[:, 1] >= code.death).all()
    # the shallowest well merges into the middle one, and that into the deepest
    assert code.parent[order].tolist() == [-1, order[0], order[1]]
    assert code.to_score("count", tol=1) == 2


def test_loss_barcode_of_himmelblau():
    code = loss_barcode(surfaces.himmelblau(), n=20, seed=1, progress=False)
    assert len(code) == 4
    deaths = np.sort(code.death)
    assert np.isinf(deaths[-1])
    np.testing.assert_allclose(deaths[:3], [13.311926, 67.719150, 104.015163], atol=1e-6)
    assert (deaths[:3] >= np.array([13.311926, 67.719150, 104.015163]) - 1e-6).all()


def test_loss_barcode_of_a_network(network):
    settings = {
        "minima": {"steps": 60, "lr": 0.05, "max_evaluations": 60},
        "paths": {"budget": 500, "certified": False},
        "progress": False,
    }
    code = loss_barcode(network, n=3, seed=1, **settings)
    assert len(code) == 3
    frame = code.to_frame()
    assert np.isfinite(code.birth).all() and not frame.isna().any().any()
    assert np.isinf(code.death).sum() == 1
    assert (code.lengths >= 0).all() and len(code.unmerged) == 0
    assert code.to_score("max") >= code.to_score() > 0
    # the same by hand
    minima = ts.find_minima(network, 3, 1, progress=False, **settings["minima"])
    paths = connect(network, minima, seed=1, progress=False, **settings["paths"])
    by_hand = ts.barcode_of_minima(minima.loss, paths.pairs, paths.saddle)
    assert (by_hand.birth == code.birth).all() and (by_hand.death == code.death).all()
    # losses in another order would give other segments, and no error where they fit in number
    k = int(np.argmax(minima.loss - minima.loss.min()))
    i, j = next(pair for pair in paths.pairs.tolist() if k in pair)
    with pytest.raises(ValueError, match=f"the path of {i} and {j} has .* that were connected"):
        paths.barcode(np.where(np.arange(3) == k, minima.loss + 0.01, minima.loss))


def test_loss_barcode_of_one_minimum():
    bowl = surfaces.from_function(lambda p: (p**2).sum(-1), [(-1, 1)] * 2)
    code = loss_barcode(bowl, 4, progress=False)
    assert len(code) == 1 and code.to_score() == 0


def test_progress_can_be_switched_off(capfd, monkeypatch):
    monkeypatch.setenv("TQDM_DISABLE", "0")
    surface = surfaces.himmelblau()
    connect(surface, surface.minima, [[0, 1]], budget=200)
    shown = capfd.readouterr().err
    assert "paths:" in shown and "saddles: 1 paths" in shown
    loss_barcode(surface, 2, paths={"budget": 200}, progress=False)
    assert capfd.readouterr().err == ""


def test_a_detour_round_a_hole_is_found():
    """Not-a-number on the straight line is no reason to keep to it."""

    def f(p):
        x, y = p[..., 0], p[..., 1]
        wells = (x**2 - 1) ** 2 + (y - 1.5 * (1 - x**2)) ** 2
        return wells.where(x**2 + y**2 > 0.01, torch.nan)

    hole = surfaces.from_function(f, [(-2, 2), (-2, 3)])
    ends = torch.tensor([[-1.0, 0], [1, 0]], dtype=torch.float64)
    try:
        paths = ts.connect(hole, ends, progress=False)
    except FloatingPointError:
        pytest.fail("the path stayed in the hole")
    assert 1 - 1e-6 <= paths.saddle[0] < 1.2


@pytest.mark.parametrize("shape", [(2,), (2, 3, 2), (3, 5)])
def test_minima_of_a_wrong_shape(shape):
    with pytest.raises(ValueError, match="must have shape"):
        ts.connect(surfaces.himmelblau(), torch.zeros(shape), progress=False)


# -- which pairs matter ----------------------------------------------------------------------------


def test_needed_pairs_give_the_barcode_of_all(network):
    network = network.double()  # float32 rounds differently in a batch of another size
    minima = ts.find_minima(network, 7, steps=150, max_evaluations=300, progress=False)
    pairs = len(minima) * (len(minima) - 1) // 2
    needed = found(network, minima, "needed", budget=1000)
    everything = found(network, minima, "all", budget=1000)
    assert needed.skipped > 0 and needed.skipped + len(needed) == len(everything) == pairs
    assert needed.evaluations < everything.evaluations
    a, b = needed.barcode(minima.loss), everything.barcode(minima.loss)
    finite = np.isfinite(b.death)
    assert (np.isfinite(a.death) == finite).all()
    assert abs(a.to_score() / b.to_score() - 1) < 0.1


def test_pairs_that_leave_minima_apart():
    surface = surfaces.himmelblau()
    paths = found(surface, surface.minima, [[0, 1], [2, 3]], budget=200)
    code = paths.barcode(surface.loss(surface.minima))
    assert len(code.unmerged) == 1 and np.isinf(code.death).sum() == 2
    with pytest.raises(ValueError, match="joined to no lower minimum"):
        code.to_score()


# -- budgets and restarts --------------------------------------------------------------------------


def test_the_budget_is_kept():
    surface = surfaces.himmelblau()
    for budget in (1, 200, 1000):
        paths = found(surface, surface.minima, budget=budget)
        assert paths.history.evaluations.max() <= max(budget, 25)  # the line is looked at anyway
        assert paths.evaluations == paths.history.groupby(["i", "j"]).evaluations.max().sum()


def test_time_may_run_out_at_once():
    surface = surfaces.himmelblau()
    straight = found(surface, surface.minima, budget=1)
    paths = found(surface, surface.minima, seconds=1e-9, certified=True)
    np.testing.assert_allclose(paths.saddle, straight.saddle, rtol=1e-9)
    assert (paths.certificates.verdict == "not tried").all()


def test_restarts_are_independent_and_the_lowest_counts():
    surface = surfaces.mueller_brown()
    one = found(surface, surface.minima, [[0, 2], [1, 2]], budget=2000)
    three = found(surface, surface.minima, [[0, 2], [1, 2]], budget=2000, restarts=3)
    assert np.isnan(one.spread).all() and three.restarts.shape == (2, 3)
    np.testing.assert_allclose(three.restarts[:, 0], one.saddle, rtol=1e-9)
    np.testing.assert_array_equal(three.maximum, three.restarts.min(axis=1))
    assert (three.spread > 0).all()
    code = three.barcode(surface.loss(surface.minima))
    runs = three.restarts[code.saddle[1]]
    np.testing.assert_array_equal(code.death_interval[1], [runs.min(), runs.max()])
    assert set(three.history.run) == {0, 1, 2}


def test_history_falls():
    surface = surfaces.mueller_brown()
    history = found(surface, surface.minima, [[0, 2]]).history
    assert (history.excess.diff().dropna() <= 0).all()
    assert (history.evaluations.diff().dropna() > 0).all()
    assert (history.seconds.diff().dropna() > 0).all()


def test_a_path_that_is_looked_at_more_often_costs_the_others_nothing():
    # some seem level after the first block: whether they hide a hill takes more evaluations
    surface = surfaces.six_hump_camel()
    beside = found(surface, surface.minima, budget=600)
    for i, j in beside.pairs:
        alone = found(surface, surface.minima, [[i, j]], budget=600).history
        rows = (beside.history.i == i) & (beside.history.j == j)
        assert beside.history.evaluations[rows].tolist() == alone.evaluations.tolist()
        assert alone.evaluations.max() <= 600


def test_settled_paths_rest_earlier_and_the_barcode_is_hardly_longer():
    surface = surfaces.mueller_brown()
    budget = {"budget": 30_000, "certified": False, "progress": False}
    whole = connect(surface, surface.minima, **budget)
    early = connect(surface, surface.minima, settled=0.05, **budget)
    never = connect(surface, surface.minima, **budget | {"budget": 300})
    assert early.evaluations < whole.evaluations
    assert early.rested.all() and not never.rested.any()
    lengths, longer = (p.barcode(surface.loss(surface.minima)).lengths for p in (whole, early))
    assert (longer[np.isfinite(longer)] <= 1.1 * lengths[np.isfinite(lengths)]).all()
    assert list(early.to_frame().rested) == [True] * len(early)
    with pytest.raises(ValueError, match="settled must be at least 0, got -1"):
        connect(surface, surface.minima, settled=-1)


# -- where f is no number, and what is done twice --------------------------------------------------


def double_well(hole):
    """(x^2 - 1)^2 + y^2, no number where the hole says so; minima at (-1, 0) and (1, 0)."""

    def f(p):
        x, y = p[..., 0], p[..., 1]
        value = (x**2 - 1) ** 2 + y**2
        return torch.where(hole(x, y), torch.nan, value)

    surface = surfaces.from_function(f, [(-2.0, 2.0)] * 2)
    return surface, torch.tensor([[-1.0, 0.0], [1.0, 0.0]], dtype=torch.float64)


@pytest.mark.parametrize("certified", [False, True])
def test_no_maximum_of_a_path_that_meets_no_number(certified):
    surface, ends = double_well(lambda x, y: (x - 0.01).abs() < 0.006)
    with pytest.raises(FloatingPointError, match=r"f is nan on the path between minima \[0, 1\]"):
        found(surface, ends, certified=certified)


def test_a_run_that_meets_no_number_leaves_the_others():
    surface, ends = double_well(lambda x, y: y.abs() >= 0.05)
    paths = found(surface, ends, restarts=2)
    assert np.isnan(paths.restarts[0, 1]) and np.isnan(paths.spread[0])
    code = paths.barcode([0.0, 0.0])
    np.testing.assert_allclose(code.death_interval[1], 1.0, atol=1e-6)


def test_rows_to_certify_may_be_a_mask():
    surface = surfaces.himmelblau()
    paths = found(surface, surface.minima, [[0, 1], [1, 2], [2, 3]])
    some = ts.certify(surface, paths, np.array([False, True, False]), progress=False)
    assert some.certificates.verdict.tolist() == ["not tried", "index 1", "not tried"]
    rest = ts.certify(surface, some, ~some.certified, progress=False)
    assert rest.certificates.verdict.iloc[0] == "index 1" and rest.saddle[1] == some.saddle[1]
    assert (ts.certify(surface, paths, [], progress=False).certificates.products == 0).all()
    with pytest.raises(ValueError, match=r"shape \(3,\)"):
        ts.certify(surface, paths, [True])
    with pytest.raises(TypeError, match="integers or a mask"):
        ts.certify(surface, paths, [0.5])


def test_certifying_twice_begins_with_the_same_path_and_loses_nothing(network, minima, monkeypatch):
    once = found(network, minima, budget=1000)
    once = ts.certify(network, once, [0], budget=12_000, progress=False)
    assert once.certified[0]
    again = ts.certify(network, once, [0], budget=1, progress=False)
    assert again.certified[0] and again.saddle[0] == once.saddle[0]
    assert again.maximum[0] <= once.maximum[0]
    pieces = int(once.pieces[0])
    assert pieces > 1
    chain = once.controls[0]
    stopped = tighten(network, chain, pieces, budget=1, until=0.0)
    assert stopped.maximum <= once.maximum[0] * (1 + 1e-6) and stopped.moved < 1e-3
    seen = []
    monkeypatch.setattr(
        ts.paths, "tighten", lambda f, c, n, **how: seen.append(n) or tighten(f, c, n, **how)
    )
    ts.certify(network, once, [0], budget=1, progress=False)
    assert seen == [pieces]


def test_a_lower_path_replaces_a_certificate(network, minima):
    paths = ts.certify(network, found(network, minima, budget=1000), [0], progress=False)
    assert paths.certified[0]
    chain, n = paths.controls[0], int(paths.pieces[0])
    tight = tighten(network, chain, n, budget=1, until=0.0)
    for height, kept in ((paths.saddle[0] + 1, True), (paths.saddle[0] - 1, False)):
        other = replace(tight, verdict="elsewhere", maximum=height)
        assert ts.paths._with_pass(network, paths, 0, other).certified[0] == kept


def test_every_piece_of_a_lowered_path_has_one_degree(monkeypatch):
    """Where a hill resists, its part begins anew from a line with few control points."""
    surface = surfaces.from_function(
        lambda p: (p[..., 0].abs() - 1).abs() + 3 * p[..., 1].abs() * (1 + p[..., 0] ** 2),
        [(-2.0, 2.0)] * 2,
    )
    ends = torch.tensor([[-1.0, 0.0], [1.0, 0.0]], dtype=torch.float64)
    path = found(surface, ends, budget=300)
    joined = []
    top = passes._top
    monkeypatch.setattr(passes, "_top", lambda f, c, n: joined.append((c, n)) or top(f, c, n))
    first, begun = Curve.first.__func__, []
    monkeypatch.setattr(
        passes.Curve, "first", classmethod(lambda k, *a: begun.append(a) or first(k, *a))
    )
    tighten(surface, path.controls[0], budget=40_000)
    assert begun  # it did resist
    for controls, n in joined:
        torch.testing.assert_close(bezier(controls[None], [[0.0, 1.0]], n)[0], ends)


def test_profiles_below_zero_are_drawn(recwarn):
    import matplotlib.pyplot as plt

    from toscore import plots

    for surface, scale in ((surfaces.mueller_brown(), "linear"), (surfaces.himmelblau(), "log")):
        paths = found(surface, surface.minima, [[0, 1]], budget=400)
        fig, ax = plt.subplots()
        plots.profiles(paths, ax=ax)
        fig.canvas.draw()
        assert ax.get_yscale() == scale and ax.get_ylim()[1] > paths.maximum[0]
        plt.close(fig)
    assert not [w for w in recwarn if "log-scaled" in str(w.message)]


@pytest.mark.parametrize("ends", [(0.6, 4.2), (0.9, 5), (2.2, 3.1), (0.08, 3), (0.02, 900)])
def test_labels_of_a_log_axis_do_not_meet(ends):
    import matplotlib.pyplot as plt

    from toscore import plots

    with plt.rc_context():
        plots.use_style()
        fig, ax = plt.subplots(figsize=(3, 1.5))  # here those of the first two meet by default
        ax.plot([0, 1], ends)
        ax.set_yscale("log")
        plots._few_labels(ax)
        fig.canvas.draw()
    labels = [t for t in ax.get_yticklabels(which="both") if t.get_text()]
    boxes = sorted((t.get_window_extent() for t in labels), key=lambda box: box.y0)
    inside = [b for b in boxes if ax.bbox.y0 - 1 <= (b.y0 + b.y1) / 2 <= ax.bbox.y1 + 1]
    assert len(inside) >= 2 and not any(a.overlaps(b) for a, b in pairwise(inside))
    plt.close(fig)
