"""find_minima: several minima from seeded starts, on surfaces and on small networks."""

import numpy as np
import pytest
import torch

import toscore as ts
from toscore import Landscape, find_minima, surfaces
from toscore import minima as minima_of


def found(landscape, n, seed=0, **settings):
    return find_minima(landscape, n, seed, progress=False, **settings)


@pytest.fixture(scope="module")
def digits():
    return ts.load_data("digits", n_train=60, n_test=50)


@pytest.fixture(scope="module")
def network(digits):
    model = ts.mlp(digits.shape, digits.n_classes, width=3, activation="softplus")
    return Landscape(model, digits.x_train, digits.y_train, weight_decay=0.05, dtype=torch.float64)


@pytest.fixture(scope="module")
def trained(network, digits):
    held_out = digits.x_test, digits.y_test
    return found(network, 3, steps=60, lr=0.05, max_evaluations=1500, held_out=held_out)


def test_newton_steps_finish_what_the_budget_leaves(network):
    budget = {"steps": 60, "lr": 0.05, "max_evaluations": 60, "grad_tol": 1e-5}
    left = found(network, 3, **budget)
    ended = found(network, 3, newton_steps=40, **budget)
    assert not left.stationary.any() and ended.stationary.all()
    assert (ended.loss < left.loss).all() and (ended.evaluations >= left.evaluations).all()
    assert (ended.evaluations - left.evaluations <= 42 * network.dim).all()
    one = found(network, 3, newton_steps=1, **budget)
    assert (one.loss <= left.loss).all() and (one.grad_norm > ended.grad_norm).all()


def test_rounds_of_preconditioned_lbfgs_finish_what_the_budget_leaves(network):
    budget = {"steps": 60, "lr": 0.05, "max_evaluations": 60, "grad_tol": 1e-5}
    left = found(network, 3, **budget)
    ended = found(network, 3, preconditioned=10, **budget)
    assert not left.stationary.any() and ended.stationary.all()
    assert (ended.loss < left.loss).all() and (ended.evaluations > left.evaluations).all()
    rounds = (ended.evaluations - left.evaluations) / (network.dim + 202)  # whole ones
    assert (rounds == rounds.round()).all() and (rounds <= 10).all()
    for point in ended.theta:  # of a minimum, and not of a saddle
        assert torch.linalg.eigvalsh(network.double().hessian(point.double()))[0] > 0
    again = found(network, 3, preconditioned=10, newton_steps=40, **budget)
    assert torch.equal(again.theta, ended.theta)  # nothing is left to Newton's method


def test_a_round_descends_a_bowl_of_all_curvatures():
    """From 1e-3 to 1e7 along 300 directions: at its bottom after one round, unlike L-BFGS alone."""
    draw = torch.Generator().manual_seed(0)
    turn = torch.linalg.qr(torch.randn(300, 300, generator=draw, dtype=torch.float64))[0]
    curvatures = turn @ torch.diag(torch.logspace(-3, 7, 300, dtype=torch.float64)) @ turn.T
    bottom = torch.randn(300, generator=draw, dtype=torch.float64)

    class Bowl:
        def __init__(self, hessian):
            self.hessian = lambda x: hessian

        def loss_and_grad(self, x):
            gradient = (x - bottom) @ curvatures
            return 0.5 * ((x - bottom) * gradient).sum(-1), gradient

    start = torch.zeros(300, dtype=torch.float64)
    end, rounds = minima_of._preconditioned(Bowl(curvatures), start, 20, 1e-5)
    assert rounds == 1
    assert end.numpy() == pytest.approx(bottom.numpy(), abs=1e-2)  # the tolerance by the least
    assert minima_of._preconditioned(Bowl(curvatures), end, 20, 1e-5)[1] == 0
    alone, rounds = minima_of._preconditioned(Bowl(torch.eye(300).double()), start, 20, 1e-5)
    assert rounds == 20 and not torch.allclose(alone, bottom, atol=1e-2)


@pytest.mark.parametrize("more", ["newton_steps", "preconditioned"])
def test_further_steps_leave_stationary_ends_alone(network, trained, more):
    assert trained.stationary.all()
    again = found(network, 3, steps=60, lr=0.05, max_evaluations=1500, **{more: 40})
    assert torch.equal(again.theta, trained.theta)
    assert (again.evaluations == trained.evaluations).all()


def test_float32_does_not_hide_that_a_steep_loss_is_stationary(digits):
    model = ts.mlp(digits.shape, digits.n_classes, width=3, activation="softplus")

    def steep(outputs, targets):
        return 1000 * torch.nn.functional.cross_entropy(outputs, targets)

    land = Landscape(model, digits.x_train, digits.y_train, steep, weight_decay=50.0)
    minima = found(land, 3, steps=60, lr=0.05, max_evaluations=1500)
    assert land.dtype == minima.theta.dtype == torch.float32
    # rounded to float32, the ends have longer gradients than the tolerance, in any precision
    for f in (land, land.double()):
        assert (f.loss_and_grad(minima.theta.to(f.dtype))[1].norm(dim=1) > 1e-4).all()
    assert minima.grad_tol == 1e-4 and minima.stationary.all()
    assert (minima.grad_norm < 1e-8).all()
    none = found(land, 3, steps=60, lr=0.05, max_evaluations=0)
    assert not none.stationary.any() and (none.grad_norm > 1e-4).all()


# -- on surfaces -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mueller_brown", "himmelblau", "six_hump_camel"])
def test_every_minimum_of_a_surface_is_found_once(name):
    surface = getattr(surfaces, name)()
    minima = found(surface, 50)
    assert len(minima) == len(surface.minima)
    distance = torch.cdist(minima.theta, surface.minima)
    assert float(distance.min(dim=0).values.max()) < 1e-6
    assert float(distance.min(dim=1).values.max()) < 1e-6
    np.testing.assert_allclose(
        minima.loss, surface.loss(surface.minima)[distance.argmin(dim=1)], rtol=0, atol=1e-9
    )
    assert minima.stationary.all() and (minima.grad_norm <= 1e-6).all()
    assert minima.grad_tol == 1e-6
    assert (np.diff(minima.start) > 0).all() and minima.start.max() < 50
    assert minima.train_error is None and minima.test_error is None


def test_reported_numbers_belong_to_the_points():
    surface = surfaces.himmelblau()
    minima = found(surface, 20)
    values, gradients = surface.loss_and_grad(minima.theta)
    assert (minima.loss == values.numpy()).all()
    np.testing.assert_allclose(minima.grad_norm, gradients.norm(dim=1), rtol=1e-12)
    frame = minima.to_frame()
    assert list(frame) == ["start", "loss", "grad_norm", "stationary", "evaluations"]
    assert len(frame) == len(minima) and (frame.loss == minima.loss).all()


def test_duplicates_keep_the_lower_end():
    surface = surfaces.himmelblau()
    alone = found(surface, 12, same=1e-300)  # nothing is the same
    assert len(alone) == 12
    merged = found(surface, 12)
    nearest = torch.cdist(alone.theta, surface.minima).argmin(dim=1).numpy()
    best = [
        min(np.flatnonzero(nearest == k), key=lambda i: alone.loss[i]) for k in np.unique(nearest)
    ]
    assert merged.start.tolist() == sorted(best)


def test_close_but_different_levels_are_two_minima():
    # two wells 1e-4 apart, far closer than same * (1 + |theta|), but of depths -2 and -1
    def f(p):
        x = p[..., 0] / 1e-4
        return torch.where(x < 0.5, x**2 - 2, (x - 1) ** 2 - 1 - 0.75)

    surface = surfaces.from_function(f, [(-1e-4, 2e-4)])
    minima = found(surface, 30)
    assert sorted(minima.loss.round(6)) == [-2, -1.75]


def test_one_bowl_has_one_minimum():
    surface = surfaces.from_function(lambda p: ((p - 0.3) ** 2).sum(-1), [(-1, 1)] * 5)
    minima = found(surface, 10)
    assert len(minima) == 1
    np.testing.assert_allclose(minima.theta, 0.3, atol=1e-6)


def test_bounds_are_respected():
    surface = surfaces.from_function(lambda p: p[..., 0] + 2 * p[..., 1], [(-1, 1), (-3, 1)])
    minima = found(surface, 5)
    assert minima.theta.tolist() == [[-1, -3]]
    assert minima.loss.tolist() == [-7]
    # the gradient only pushes against the box, so this corner is a minimum
    assert minima.grad_norm.tolist() == [0]
    assert minima.stationary.all()
    on_the_way = found(surface, 5, steps=400, lr=1.0, max_evaluations=0)
    assert (on_the_way.theta >= surface.box[:, 0]).all()  # Adam stays inside, too
    tilted = surfaces.from_function(lambda p: p[..., 0] + (p[..., 1] - 0.5) ** 2, [(-2, 1)] * 2)
    np.testing.assert_allclose(found(tilted, 5).theta, [[-2, 0.5]], atol=1e-6)


def test_same_seed_same_minima_and_more_starts_add_to_them():
    surface = surfaces.six_hump_camel()
    torch.manual_seed(1)
    few = found(surface, 6, seed=2)
    torch.manual_seed(2)
    again = found(surface, 6, seed=2)
    assert torch.equal(few.theta, again.theta)
    assert (few.start == again.start).all() and (few.evaluations == again.evaluations).all()
    many, alone = found(surface, 12, seed=2, same=1e-300), found(surface, 6, seed=2, same=1e-300)
    assert torch.equal(many.theta[:6], alone.theta)
    other = found(surface, 6, seed=3, same=1e-300)
    assert not torch.equal(other.theta, alone.theta)


def test_adam_alone_and_neither():
    surface = surfaces.himmelblau()
    starts = found(surface, 4, steps=0, max_evaluations=0, same=1e-300)
    assert torch.equal(starts.theta, surface.sample(4))
    assert not starts.stationary.any() and (starts.evaluations == 0).all()
    walked = found(surface, 4, steps=200, lr=0.1, max_evaluations=0, same=1e-300)
    assert (walked.loss < starts.loss).all()


def test_a_small_budget_is_kept_and_said():
    surface = surfaces.mueller_brown()
    minima = found(surface, 10, max_evaluations=6, same=1e-300)
    assert (minima.evaluations >= 1).all() and minima.evaluations.max() < 6 + 20
    _, gradients = surface.loss_and_grad(minima.theta)
    assert (minima.stationary == (gradients.norm(dim=1) <= 1e-6).numpy()).all()
    assert not minima.stationary.all()
    rough = found(surface, 10, grad_tol=1.0)
    assert rough.grad_tol == 1.0 and rough.stationary.all()
    assert rough.grad_norm.max() > 1e-6  # it did stop early


# -- on networks -----------------------------------------------------------------------------------


def test_networks_reach_stationary_points(network, trained):
    assert trained.theta.shape == (len(trained), network.dim)
    values, gradients = network.loss_and_grad(trained.theta)
    np.testing.assert_allclose(trained.loss, values, rtol=1e-12)
    np.testing.assert_allclose(trained.grad_norm, gradients.norm(dim=1), rtol=1e-6, atol=1e-12)
    assert (trained.stationary == (trained.grad_norm <= 1e-6)).all()
    assert trained.stationary.all()
    # stationary points of the loss and no maxima: nothing near them is lower by first order
    around = trained.theta[:, None] + 1e-3 * torch.randn(len(trained), 20, network.dim).double()
    assert (network.loss(around) > values[:, None] - 1e-9).all()
    assert (trained.loss < network.loss(network.sample(3)).min().item()).all()


def test_errors_on_both_parts(network, trained, digits):
    for theta, train, test in zip(
        trained.theta, trained.train_error, trained.test_error, strict=True
    ):
        module = network.module(theta)
        wrong = module(digits.x_train.double()).argmax(dim=1) != digits.y_train
        assert train == pytest.approx(float(wrong.double().mean()))
        wrong = module(digits.x_test.double()).argmax(dim=1) != digits.y_test
        assert test == pytest.approx(float(wrong.double().mean()))
    assert "test_error" in trained.to_frame()
    assert trained.seconds > 0


def test_same_seed_same_networks(network):
    settings = {"steps": 5, "max_evaluations": 5}
    a, b = (found(network, 2, seed=1, **settings) for _ in range(2))
    assert torch.equal(a.theta, b.theta) and (a.loss == b.loss).all()
    more = found(network, 3, seed=1, **settings)
    # the first two starts are trained as before, up to rounding in larger stacks
    torch.testing.assert_close(more.theta[:2], a.theta, rtol=1e-7, atol=1e-9)
    assert not torch.allclose(found(network, 2, seed=2, **settings).theta, a.theta)
    assert a.test_error is None


def test_mini_batches_are_the_starts_own(network):
    settings = {"steps": 10, "max_evaluations": 0, "batch_size": 8}
    a, b = found(network, 2, seed=1, **settings), found(network, 2, seed=1, **settings)
    assert torch.equal(a.theta, b.theta)
    more = found(network, 3, seed=1, **settings)
    torch.testing.assert_close(more.theta[:2], a.theta, rtol=1e-7, atol=1e-9)
    whole = found(network, 2, seed=1, steps=10, max_evaluations=0)
    assert not torch.allclose(whole.theta, a.theta)
    assert (a.loss < network.loss(network.sample(2, 1)).numpy()).all()


def test_a_constant_rate_stays_what_it_is(network):
    # Adam's first step is lr long in every coordinate, whatever the gradient; the last one of an
    # annealed run is almost nothing
    def last_step(schedule):
        a, b = (
            found(network, 1, steps=k, lr=0.01, schedule=schedule, max_evaluations=0).theta
            for k in (1, 2)
        )
        return float((a - network.sample(1)).abs().max()), float((b - a).abs().max())

    first, second = last_step("constant")
    assert first == pytest.approx(0.01, rel=1e-3) and second > 0.005
    first, second = last_step("annealed")
    assert first == pytest.approx(0.01, rel=1e-3) and second < 0.0051
    with pytest.raises(ValueError, match="schedule must be 'annealed' or 'constant', got 'cyclic'"):
        found(network, 1, schedule="cyclic")


def test_regression_has_no_error_rate():
    x = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
    landscape = Landscape(
        torch.nn.Linear(3, 1), x, x.sum(dim=1, keepdim=True), torch.nn.functional.mse_loss
    )
    minima = found(landscape, 4)
    assert minima.train_error is None
    assert len(minima) == 1  # convex
    assert minima.grad_tol == 1e-4 and minima.theta.dtype == torch.float32
    np.testing.assert_allclose(minima.theta[0, :3], 1, atol=1e-3)


def test_what_blows_up_is_said_or_finite(network, digits):
    # a step of 1e6 throws the weights far out, but L-BFGS may find the way back
    far = found(network, 2, steps=3, lr=1e6, max_evaluations=20)
    assert np.isfinite(far.loss).all() and np.isfinite(far.grad_norm).all()
    with pytest.raises(FloatingPointError, match=r"start 0 \(seed 4\).*lower lr \(now 1e\+300\)"):
        found(network, 2, seed=4, steps=3, lr=1e300)
    single = Landscape(ts.mlp(digits.shape, width=2), digits.x_train, digits.y_train)
    with pytest.raises(FloatingPointError, match=r"lower lr \(now 1e\+30\)"):
        found(single, 2, steps=3, lr=1e30, max_evaluations=5)


def test_a_function_that_is_not_finite_is_said():
    # finite on the right of the box only, with a minimum there
    def f(p):
        return torch.where(p[..., 0] > 0, ((p - 0.5) ** 2).sum(-1), np.nan)

    surface = surfaces.from_function(f, [(-1, 1)] * 2)
    outside = np.flatnonzero(surface.sample(8)[:, 0] < 0)
    assert 0 < len(outside) < 8
    with pytest.raises(FloatingPointError, match=rf"start {outside[0]} \(seed 0\) .* loss nan"):
        found(surface, 8)


# -- bad arguments ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n": 0}, "n must be at least 1, got 0"),
        ({"n": -3}, "n must be at least 1"),
        ({"seed": -1}, "non-negative|>= 0"),
        ({"steps": -1}, "steps must be at least 0"),
        ({"max_evaluations": -1}, "max_evaluations must be at least 0"),
        ({"preconditioned": -1}, "preconditioned must be at least 0"),
        ({"newton_steps": -1}, "newton_steps must be at least 0"),
        ({"lr": 0}, "lr must be positive"),
        ({"lr": -0.1}, "lr must be positive"),
        ({"lr": np.nan}, "lr must be positive"),
        ({"grad_tol": 0}, "grad_tol must be positive"),
        ({"grad_tol": np.nan}, "grad_tol must be positive"),
        ({"grad_tol": np.inf}, "grad_tol must be positive and finite, got inf"),
        ({"same": -1e-3}, "same must be at least 0 and finite, got -0.001"),
        ({"same": np.nan}, "same must be at least 0 and finite, got nan"),
        ({"batch_size": 4}, "batch_size is 4, but the landscape has no samples"),
    ],
)
def test_bad_arguments(settings, message):
    with pytest.raises(ValueError, match=message):
        found(surfaces.himmelblau(), **{"n": 2} | settings)


@pytest.mark.parametrize("size", [0, -1, 61])
def test_bad_batch_sizes(network, size):
    with pytest.raises(ValueError, match=f"batch_size is {size}, but the landscape has 60 samples"):
        found(network, 2, batch_size=size)


def test_progress_bars_are_shown_unless_switched_off(capfd, monkeypatch):
    monkeypatch.setenv("TQDM_DISABLE", "0")
    find_minima(surfaces.himmelblau(), 2)
    assert "L-BFGS: 100%" in capfd.readouterr().err
    find_minima(surfaces.himmelblau(), 2, progress=False)
    assert capfd.readouterr().err == ""


def test_held_out_data_are_looked_at_before_the_training(network, digits, monkeypatch):
    monkeypatch.setattr("toscore.minima._adam", None)
    with pytest.raises(ValueError, match="labels go from 1 to 10, but the model has 10 outputs"):
        find_minima(network, 2, held_out=(digits.x_test, digits.y_test + 1), progress=False)


def test_surfaces_have_no_held_out_data():
    with pytest.raises(ValueError, match="held_out needs a landscape"):
        find_minima(surfaces.himmelblau(), 2, held_out=(torch.zeros(1, 2), torch.zeros(1)))
