"""The loss as a function on stacks of parameter vectors, and the models it is used with."""

import copy
import random
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy, dropout, mse_loss

import toscore as ts
from toscore import Landscape

N, CLASSES = 40, 3
DECAY = 0.01
WHOLE = torch.float64


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def data(*shape):
    g = torch.Generator().manual_seed(5)
    x = torch.randn(N, *shape, generator=g, dtype=WHOLE)
    return x, torch.randint(0, CLASSES, (N,), generator=g)


def small() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, CLASSES)).double()


class Encoder(nn.Module):
    """A transformer encoder layer and a linear head."""

    def __init__(self, rate=0.0):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=rate, batch_first=True)
        self.head = nn.Linear(8, CLASSES)

    def forward(self, x):
        return self.head(self.layer(x).mean(dim=1))


class Recurrent(nn.Module):
    def __init__(self, **settings):
        super().__init__()
        self.layer = nn.LSTM(8, 5, batch_first=True, **settings)
        self.head = nn.Linear(5, CLASSES)

    def forward(self, x):
        return self.head(self.layer(x)[0][:, -1])


class Tied(nn.Module):
    """One matrix used twice: as the second layer and, turned round, as the first."""

    def __init__(self):
        super().__init__()
        self.a = nn.Linear(6, 6)
        self.b = nn.Linear(6, 6)
        self.b.weight = self.a.weight

    def forward(self, x):
        return self.b(torch.tanh(self.a(x)))


def frozen() -> nn.Module:
    model = small()
    model[0].weight.requires_grad_(False)
    return model


def embedding() -> nn.Module:
    return nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(12, CLASSES))


MODELS = {
    "mlp": (small, (6,)),
    "deep mlp": (lambda: ts.mlp((6,), CLASSES, width=4, depth=3, activation="softplus"), (6,)),
    "cnn": (lambda: ts.cnn((1, 8, 8), CLASSES, width=3, activation="gelu"), (1, 8, 8)),
    "resnet": (lambda: ts.resnet((2, 8, 8), CLASSES, width=4, activation="gelu"), (2, 8, 8)),
    "frozen": (frozen, (6,)),
    "tied": (Tied, (6,)),
    "batch norm": (
        lambda: nn.Sequential(
            nn.Linear(6, 5),
            nn.BatchNorm1d(5, track_running_stats=False),
            nn.Tanh(),
            nn.Linear(5, CLASSES),
        ),
        (6,),
    ),
    "layer norm": (lambda: nn.Sequential(nn.LayerNorm(6), nn.Linear(6, CLASSES)), (6,)),
}


@pytest.fixture(params=MODELS)
def case(request):
    """A model in float64, its landscape and three points near initialisations."""
    build, shape = MODELS[request.param]
    model = build().double()
    x, y = data(*shape)
    landscape = Landscape(model, x, y, weight_decay=DECAY)
    return model, landscape, landscape.sample(3, seed=1)


def plainly(model, theta, x, y, loss_fn=cross_entropy, decay=DECAY):
    """Loss and gradient on the plain model, by autograd, with parameters set by hand."""
    model = copy.deepcopy(model)
    parameters = [p for p in model.parameters() if p.requires_grad]
    with torch.no_grad():
        nn.utils.vector_to_parameters(theta, parameters)
    loss = loss_fn(model(x), y) + decay / 2 * sum((p**2).sum() for p in parameters)
    gradient = torch.autograd.grad(loss, parameters)
    return loss.detach(), torch.cat([g.reshape(-1) for g in gradient])


def close(a, b, tol=1e-12):
    torch.testing.assert_close(a, b, rtol=tol, atol=tol)


# -- values and derivatives ------------------------------------------------------------------------


def test_loss_and_gradient_equal_autograd_on_the_plain_model(case):
    model, landscape, points = case
    values, gradients = landscape.loss_and_grad(points)
    close(values, landscape.loss(points))
    for theta, value, gradient in zip(points, values, gradients, strict=True):
        loss, exact = plainly(model, theta, landscape.inputs, landscape.targets)
        close(value, loss)
        close(gradient, exact)
    assert landscape.dim == sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert not values.requires_grad and not gradients.requires_grad


def test_gradient_equals_finite_differences(case):
    _, landscape, points = case
    theta, step = points[0], 1e-5
    directions = torch.randn(8, landscape.dim, dtype=WHOLE)
    directions /= directions.norm(dim=1, keepdim=True)
    slope = landscape.loss(theta + step * directions) - landscape.loss(theta - step * directions)
    close(slope / (2 * step), directions @ landscape.loss_and_grad(theta)[1], 1e-8)


def test_hessian_products_equal_finite_differences_of_gradients(case):
    _, landscape, points = case
    theta, step = points[1], 1e-5
    v = torch.randn(4, landscape.dim, dtype=WHOLE)
    v /= v.norm(dim=1, keepdim=True)
    after = landscape.loss_and_grad(theta + step * v)[1]
    before = landscape.loss_and_grad(theta - step * v)[1]
    products = landscape.hvp(theta, v)
    close(products, (after - before) / (2 * step), 1e-7)
    close(products @ v.T, (products @ v.T).T)  # symmetric
    assert products.norm() > 1e-3


@pytest.mark.parametrize("name", ["mlp", "cnn", "tied", "batch norm"])
def test_hessian_products_equal_autograd_functional(name):
    build, shape = MODELS[name]
    model = build().double()
    x, y = data(*shape)
    landscape = Landscape(model, x, y, weight_decay=DECAY)
    theta, v = landscape.sample(2, seed=3)
    sizes = {k: p.shape for k, p in model.named_parameters()}

    def f(flat):
        parts = flat.split([s.numel() for s in sizes.values()])
        named = {k: part.view(s) for (k, s), part in zip(sizes.items(), parts, strict=True)}
        return cross_entropy(functional_call(model, named, (x,)), y) + DECAY / 2 * flat @ flat

    value, product = torch.autograd.functional.hvp(f, theta, v)
    close(landscape.hvp(theta, v), product, 1e-11)
    close(landscape.loss(theta), value)


@pytest.mark.parametrize("shape", [(), (1,), (4,), (2, 3), (2, 1, 3)])
def test_stacks_of_any_leading_shape_equal_single_calls(case, shape):
    _, landscape, _ = case
    count = int(np.prod(shape))
    flat = landscape.sample(count, seed=2)
    stack = flat.reshape(*shape, landscape.dim)
    values, gradients = landscape.loss_and_grad(stack)
    products = landscape.hvp(stack, flat[0])
    assert values.shape == landscape.loss(stack).shape == landscape.error(stack).shape == shape
    assert gradients.shape == products.shape == stack.shape
    for i in range(count):
        value, gradient = landscape.loss_and_grad(flat[i])
        close(values.reshape(-1)[i], value)
        close(gradients.reshape(count, -1)[i], gradient)
        close(products.reshape(count, -1)[i], landscape.hvp(flat[i], flat[0]))
        assert landscape.error(stack).reshape(-1)[i] == landscape.error(flat[i])


def test_hessian_products_broadcast():
    landscape = Landscape(small(), *data(6))
    points, vectors = landscape.sample(2, seed=0), landscape.sample(3, seed=1)
    products = landscape.hvp(points[:, None], vectors)
    assert products.shape == (2, 3, landscape.dim)
    for i, j in np.ndindex(2, 3):
        close(products[i, j], landscape.hvp(points[i], vectors[j]))


class Counting:
    """Cross-entropy that notes how many samples each call was given."""

    def __init__(self):
        self.sizes = []

    def __call__(self, outputs, targets):
        self.sizes.append(len(targets))
        return cross_entropy(outputs, targets)


def everything(landscape, points):
    value, gradient = landscape.loss_and_grad(points)
    return (
        landscape.loss(points),
        value,
        gradient,
        landscape.hvp(points, points.flip(0)),
        landscape.error(points),
    )


def test_chunks_give_the_same_numbers(case):
    model, whole, points = case
    counter = Counting()
    x, y = whole.inputs, whole.targets
    tiny = Landscape(model, x, y, loss_fn=counter, weight_decay=DECAY, memory=1)
    counter.sizes.clear()
    for a, b in zip(everything(whole, points), everything(tiny, points), strict=True):
        close(a, b)
    split = {1} if not any(isinstance(m, nn.BatchNorm1d) for m in model.modules()) else {N}
    assert set(counter.sizes) == split  # batch norm over data is never split


@pytest.mark.parametrize("share", [3, 7, 39])
def test_chunks_of_uneven_size(share):
    model, (x, y) = small(), data(6)
    counter = Counting()
    probe = Landscape(model, x, y)
    tiny = Landscape(model, x, y, loss_fn=counter, memory=share * probe._bytes_an_input)
    counter.sizes.clear()
    points = probe.sample(2)
    close(tiny.loss(points), probe.loss(points))
    assert max(counter.sizes) == share and min(counter.sizes) == N % share


def test_one_by_one_equals_batched(case):
    model, landscape, points = case
    data = landscape.inputs, landscape.targets
    side_by_side = Landscape(model, *data, weight_decay=DECAY, batched=True)
    alone = Landscape(model, *data, weight_decay=DECAY, batched=False)
    assert side_by_side.batched and not alone.batched
    assert landscape.batched
    # on a CPU, convolutions of larger images are faster one by one
    images = torch.zeros(8, 1, 64, 64), torch.zeros(8, dtype=torch.int64)
    assert not Landscape(ts.cnn((1, 64, 64), width=4), *images).batched
    for a, b in zip(everything(side_by_side, points), everything(alone, points), strict=True):
        close(a, b)


@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize("memory", [None, 1])
def test_mini_batches(batched, memory):
    model, (x, y) = small(), data(6)
    landscape = Landscape(model, x, y, weight_decay=DECAY, batched=batched, memory=memory)
    points = landscape.sample(6).reshape(2, 3, -1)

    shared = torch.tensor([3, 5, 5, 0])
    values, gradients = landscape.loss_and_grad(points, shared)
    own = torch.randint(0, N, (2, 3, 7))
    values_own, gradients_own = landscape.loss_and_grad(points, own.numpy())
    of_column = landscape.loss_and_grad(points, own[0])[0]  # (3, 7) goes with each of two rows
    for i, j in np.ndindex(2, 3):
        loss, gradient = plainly(model, points[i, j], x[shared], y[shared])
        close(values[i, j], loss)
        close(gradients[i, j], gradient)
        loss, gradient = plainly(model, points[i, j], x[own[i, j]], y[own[i, j]])
        close(values_own[i, j], loss)
        close(gradients_own[i, j], gradient)
        close(of_column[i, j], plainly(model, points[i, j], x[own[0, j]], y[own[0, j]])[0])
    close(landscape.loss_and_grad(points, torch.arange(N))[0], landscape.loss(points))


def test_other_losses_and_float_targets():
    model = nn.Linear(6, 2).double()
    x, _ = data(6)
    y = torch.randn(N, 2, dtype=torch.float32)
    landscape = Landscape(model, x, y, loss_fn=mse_loss, weight_decay=0, memory=1)
    theta = landscape.sample(1)[0]
    loss, gradient = plainly(model, theta, x, y.double(), mse_loss, 0)
    close(landscape.loss(theta), loss)
    close(landscape.loss_and_grad(theta)[1], gradient)
    with pytest.raises(TypeError, match="one integer label a sample"):
        landscape.error(theta)


def test_a_sum_over_samples_is_not_split():
    def total(outputs, targets):
        return cross_entropy(outputs, targets, reduction="sum")

    model, (x, y) = small(), data(6)
    landscape = Landscape(model, x, y, loss_fn=total, weight_decay=DECAY, memory=1)
    theta = landscape.sample(1)[0]
    close(landscape.loss(theta), plainly(model, theta, x, y, total)[0])


def test_weight_decay():
    theta = torch.full((53,), 2.0, dtype=WHOLE)
    x, y = data(6)
    without = Landscape(small(), x, y, weight_decay=0)
    close(
        Landscape(small(), x, y, weight_decay=0.5).loss(theta),
        without.loss(theta) + 0.25 * 53 * 4,
    )
    close(
        Landscape(small(), x, y).loss(theta), without.loss(theta) + 0.5e-4 * 53 * 4
    )  # the stated default


def test_dtypes():
    x, y = data(6)
    single = Landscape(small(), x, y, dtype=torch.float32)
    double = Landscape(small().float(), x.float(), y, dtype=torch.float64)
    assert (single.dtype, double.dtype) == (torch.float32, torch.float64)
    theta = double.sample(1)
    assert theta.dtype == torch.float64
    assert single.loss(theta).dtype == single.loss_and_grad(theta)[1].dtype == torch.float32
    torch.testing.assert_close(single.loss(theta).double(), double.loss(theta))
    assert Landscape(small().float(), x, y).dtype == torch.float32  # the model's own
    assert "dim=53, samples=40" in repr(single)


def test_points_may_be_arrays_and_are_left_alone():
    landscape = Landscape(small(), *data(6))
    theta = landscape.sample(2).requires_grad_()
    copy_ = theta.detach().clone()
    values = landscape.loss(theta)
    close(landscape.loss(theta.detach().numpy()), values)
    close(landscape.loss(theta.tolist()), values)
    landscape.loss_and_grad(theta)
    landscape.hvp(theta, theta)
    assert torch.equal(theta.detach(), copy_) and theta.grad is None


@pytest.mark.parametrize("shape", [(), (52,), (54,), (2, 52), (0, 53)])
def test_points_of_another_shape_are_refused(shape):
    landscape = Landscape(small(), *data(6))
    for call in (landscape.loss, landscape.loss_and_grad, landscape.error, landscape.module):
        with pytest.raises(ValueError, match=r"theta must have shape \(\.\.\., 53\)"):
            call(torch.zeros(shape))
    with pytest.raises(ValueError, match="v must have shape"):
        landscape.hvp(torch.zeros(53), torch.zeros(shape))


@pytest.mark.parametrize("mode", [True, False])
def test_transformer_encoder_layer(mode):
    x, y = data(7, 8)
    model = Encoder().double().train(mode)
    landscape = Landscape(model, x, y, weight_decay=DECAY)
    points = landscape.sample(2)
    values, gradients = landscape.loss_and_grad(points)
    close(values, landscape.loss(points), 1e-11)
    for theta, value, found in zip(points, values, gradients, strict=True):
        loss, gradient = plainly(model, theta, x, y)
        close(value, loss, 1e-11)
        close(found, gradient, 1e-11)


def test_transformer_with_dropout_needs_eval():
    x, y = data(7, 8)
    with pytest.raises(ValueError, match=r"model.eval\(\)"):
        Landscape(Encoder(0.1).double(), x, y)
    close(*Landscape(Encoder(0.1).double().eval(), x, y).loss(torch.zeros(2, 627)))


def test_lstm_one_by_one():
    x, y = data(4, 8)
    model = Recurrent().double()
    landscape = Landscape(model, x, y, weight_decay=DECAY, batched=False)
    points = landscape.sample(2)
    values, gradients = landscape.loss_and_grad(points)
    close(values, landscape.loss(points))
    for theta, value, found in zip(points, values, gradients, strict=True):
        loss, gradient = plainly(model, theta, x, y)
        close(value, loss)
        close(found, gradient)
    v = points[1] / points[1].norm()
    step = 1e-5
    slope = (
        landscape.loss_and_grad(points[0] + step * v)[1]
        - landscape.loss_and_grad(points[0] - step * v)[1]
    ) / (2 * step)
    close(landscape.hvp(points[0], v), slope, 1e-7)


def test_integer_inputs():
    words = torch.randint(0, 9, (N, 3))
    _, y = data(1)
    model = embedding().double()
    landscape = Landscape(model, words, y, weight_decay=DECAY)
    theta = landscape.sample(1)[0]
    loss, gradient = plainly(model, theta, words, y)
    close(landscape.loss(theta), loss)
    close(landscape.loss_and_grad(theta)[1], gradient)


# -- nothing of the user's is touched --------------------------------------------------------------


def test_the_users_model_and_random_numbers_are_untouched():
    model = nn.Sequential(small(), nn.Dropout(0.0), nn.GroupNorm(1, CLASSES)).double()
    model[0][0].eval()
    model[0][0].bias.requires_grad_(False)
    model[0][2].weight.grad = torch.ones_like(model[0][2].weight)
    before = copy.deepcopy(model.state_dict())
    modes = [m.training for m in model.modules()]
    wanted = [p.requires_grad for p in model.parameters()]
    storage = [p.data_ptr() for p in model.parameters()]
    state = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    x, y = data(6)
    copies = x.clone(), y.clone()

    landscape = Landscape(model, x, y)
    points = landscape.sample(3, seed=1)
    everything(landscape, points)
    landscape.loss_and_grad(points, [0, 1])
    trained = landscape.module(points[0])
    with torch.no_grad():
        for p in trained.parameters():
            p.zero_()

    after = model.state_dict()
    assert all(torch.equal(after[k], before[k]) for k in before)
    assert [m.training for m in model.modules()] == modes
    assert [p.requires_grad for p in model.parameters()] == wanted
    assert [p.data_ptr() for p in model.parameters()] == storage
    assert [p.grad is None for p in model.parameters()] == [i != 2 for i in range(6)]
    assert (model[0][2].weight.grad == 1).all()
    assert torch.equal(torch.get_rng_state(), state[0])
    assert (np.random.get_state()[1] == state[1]).all()  # noqa: NPY002
    assert random.getstate() == state[2]
    assert torch.equal(x, copies[0]) and torch.equal(y, copies[1])


def test_the_order_of_the_inputs_in_memory_changes_no_digit():
    model = ts.cnn((1, 9, 9), CLASSES, width=3)
    x, y = data(1, 9, 9)
    stacks = []
    for order in (torch.contiguous_format, torch.channels_last):
        land = Landscape(model, x.float().clone(memory_format=order), y)
        assert land.inputs.stride() == (81, 81, 9, 1)
        stacks.append(land.loss_and_grad(land.sample(3)))
    for one, other in zip(*stacks, strict=True):
        assert torch.equal(one, other)


def test_pooling_leaves_out_the_odd_row_and_column():
    model = ts.cnn((1, 7, 10), CLASSES, width=3, depth=1)
    x, y = data(1, 7, 10)
    plain = nn.Sequential(model[0], model[1], nn.AvgPool2d(2), *model[3:])
    values = [Landscape(m, x.float(), y).loss_and_grad(torch.ones(42)) for m in (model, plain)]
    for one, other in zip(*values, strict=True):
        torch.testing.assert_close(one, other)


def test_a_model_changed_later_changes_nothing():
    model, (x, y) = small(), data(6)
    landscape = Landscape(model, x, y)
    theta = landscape.sample(1)[0]
    value = landscape.loss(theta)
    with torch.no_grad():
        for p in model.parameters():
            p.fill_(float("nan"))
    model[1] = nn.Identity()
    assert landscape.loss(theta) == value


def test_frozen_parameters_stay_fixed():
    model, (x, y) = frozen(), data(6)
    fixed = model[0].weight.clone()
    landscape = Landscape(model, x, y)
    assert landscape.dim == 53 - 30
    for theta in landscape.sample(2):
        assert torch.equal(landscape.module(theta)[0].weight, fixed)
    with torch.no_grad():
        model[0].weight += 1
    other = Landscape(model, x, y)
    theta = landscape.sample(1)[0]
    assert other.loss(theta) != landscape.loss(theta)  # f does depend on it


def test_tied_weights_are_one_coordinate():
    model, (x, y) = Tied().double(), data(6)
    landscape = Landscape(model, x, y)
    assert landscape.dim == 36 + 6 + 6
    theta = landscape.sample(1)[0]
    twin = landscape.module(theta)
    assert twin.b.weight is twin.a.weight
    assert torch.equal(twin.a.weight.reshape(-1), theta[:36])
    close(landscape.loss(theta), cross_entropy(twin(x), y) + 0.5e-4 * (theta @ theta))


# -- what is refused -------------------------------------------------------------------------------


class Noisy(nn.Linear):
    def forward(self, x):
        return super().forward(x) + 0.1 * torch.randn(CLASSES)


class DroppingAlways(nn.Linear):
    def forward(self, x):
        return dropout(super().forward(x), 0.5, training=True)


class CountingCalls(nn.Linear):
    def __init__(self, *shape):
        super().__init__(*shape)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        return super().forward(x)


class Counted(nn.Linear):
    def __init__(self, *shape):
        super().__init__(*shape)
        self.count = nn.Parameter(torch.arange(3), requires_grad=False)


def with_(layer) -> nn.Module:
    return nn.Sequential(layer, nn.Linear(6, CLASSES)).double()


@pytest.mark.parametrize(
    ("build", "error", "cure"),
    [
        (lambda: with_(nn.BatchNorm1d(6)), ValueError, "GroupNorm.*track_running_stats=False"),
        (lambda: with_(nn.BatchNorm1d(6)).eval(), ValueError, "GroupNorm"),
        (
            lambda: with_(
                nn.Sequential(
                    nn.Unflatten(1, (2, 3)),
                    nn.InstanceNorm1d(2, track_running_stats=True),
                    nn.Flatten(),
                )
            ),
            ValueError,
            "'0.1' .InstanceNorm1d. keeps running statistics",
        ),
        (lambda: with_(nn.Dropout(0.2)), ValueError, r"probability 0.2.*model.eval\(\)"),
        (lambda: with_(nn.AlphaDropout(0.2)), ValueError, r"model.eval\(\)"),
        (lambda: nn.Linear(6, 3, dtype=torch.complex128), TypeError, "view_as_real"),
        (lambda: nn.Linear(6, 3).half(), TypeError, r"model.float\(\)"),
        (lambda: nn.Linear(6, 3).bfloat16(), TypeError, r"model.float\(\)"),
        (lambda: Counted(6, 3).double(), TypeError, "'count' has dtype torch.int64.*buffer"),
        (lambda: nn.LazyLinear(3), ValueError, "run the model once on a batch"),
        (lambda: small().requires_grad_(False), ValueError, "requires_grad=True"),
        (lambda: nn.Flatten(), ValueError, "no trainable parameters"),
        (lambda: Noisy(6, 3).double(), ValueError, "is random. Switch off what draws"),
        (lambda: DroppingAlways(6, 3).double(), ValueError, "training=False"),
        (lambda: with_(nn.RReLU()), ValueError, r"model.eval\(\)"),
        (lambda: CountingCalls(6, 3).double(), ValueError, "buffer 'calls'.*freeze that buffer"),
        (lambda: torch.tanh, TypeError, "must be a torch.nn.Module"),
        (lambda: nn.Linear(6, 2).double(), ValueError, "labels go from 0 to 2.* 2 outputs"),
        (
            lambda: nn.Sequential(nn.Linear(6, 1), nn.Flatten(0)).double(),
            ValueError,
            r"needs outputs \(batch, classes\)",
        ),
    ],
)
def test_unsuitable_models_are_refused_with_their_cure(build, error, cure):
    model = build()
    state = torch.get_rng_state()
    with pytest.raises(error, match=cure):
        Landscape(model, *data(6))
    assert torch.equal(torch.get_rng_state(), state)


def test_the_cures_work():
    x, y = data(6)
    Landscape(with_(nn.GroupNorm(2, 6)), x, y)
    Landscape(with_(nn.BatchNorm1d(6, track_running_stats=False)), x, y)
    Landscape(with_(nn.BatchNorm1d(6, track_running_stats=False)).eval(), x, y)
    Landscape(with_(nn.Dropout(0.2)).eval(), x, y)
    Landscape(with_(nn.Dropout(0.0)), x, y)
    Landscape(with_(nn.RReLU()).eval(), x, y)
    Landscape(nn.Linear(6, 3).half().float(), x, y)
    lazy = nn.LazyLinear(3, dtype=torch.float64)
    lazy(x)
    Landscape(lazy, x, y)


def test_lstm_dropout_is_refused_in_training_mode_only():
    x, y = data(4, 8)
    model = Recurrent(num_layers=2, dropout=0.3).double()
    with pytest.raises(ValueError, match="LSTM.* probability 0.3"):
        Landscape(model, x, y)
    assert Landscape(model.eval(), x, y, batched=False).dim > 0


def spoilt(x, value):
    x = x.clone()
    x[3, 2] = value
    return x


X, Y = data(6)


@pytest.mark.parametrize(
    ("x", "y", "settings", "error", "cure"),
    [
        (spoilt(X, np.nan), Y, {}, ValueError, "1 entries of inputs are not finite: clean"),
        (spoilt(X, -np.inf), Y, {}, ValueError, "inputs are not finite"),
        (X, X * np.nan, {"loss_fn": mse_loss}, ValueError, "targets are not finite"),
        (X, Y - 1, {}, ValueError, "labels go from -1 to 1.*labels must be 0 to 2"),
        (X, Y + 1, {}, ValueError, "labels go from 1 to 3.*labels must be 0 to 2"),
        (X, Y.int(), {}, TypeError, "labels must be int64"),
        (X[:3], Y, {}, ValueError, "3 inputs and 40 targets"),
        (X[:0], Y[:0], {}, ValueError, "at least 1"),
        (
            X,
            Y,
            {"loss_fn": lambda a, b: cross_entropy(a, b, reduction="none")},
            ValueError,
            r"must return one number.*shape \(8,\).*reduction='mean'",
        ),
        (
            X,
            Y,
            {"loss_fn": lambda a, b: cross_entropy(a, b) * torch.rand(())},
            ValueError,
            "random",
        ),
        (X, Y, {"weight_decay": -1}, ValueError, "weight_decay must be a finite number >= 0"),
        (X, Y, {"weight_decay": np.nan}, ValueError, "weight_decay"),
        (X, Y, {"dtype": torch.float16}, TypeError, "float32 or torch.float64"),
        (X, Y, {"dtype": torch.complex64}, TypeError, "float32 or torch.float64"),
    ],
)
def test_unsuitable_data_and_settings_are_refused(x, y, settings, error, cure):
    with pytest.raises(error, match=cure):
        Landscape(small(), x, y, **settings)


# -- starting points, errors, modules --------------------------------------------------------------


def test_samples_are_fresh_initialisations(case):
    model, landscape, _ = case
    points = landscape.sample(4, seed=3)
    assert points.shape == (4, landscape.dim) and points.dtype == landscape.dtype
    assert torch.isfinite(points).all()
    torch.manual_seed(99)
    assert torch.equal(landscape.sample(6, seed=3)[:4], points)  # prefix, whatever the global seed
    others = torch.cat([points, landscape.sample(4, seed=4)])
    assert torch.pdist(others).min() > 1e-3
    # they do not depend on the values the model was given with
    changed = copy.deepcopy(model)
    with torch.no_grad():
        for p in changed.parameters():
            p.mul_(3)
    again = Landscape(changed, landscape.inputs, landscape.targets)
    assert torch.equal(again.sample(4, seed=3), points)


def test_samples_have_the_layers_own_spread():
    landscape = Landscape(nn.Linear(6, CLASSES).double(), *data(6))
    points = landscape.sample(200)
    limit = 6**-0.5  # torch draws weights and biases uniformly up to 1 / sqrt(inputs)
    assert points.abs().max() <= limit
    assert float(points.std()) == pytest.approx(limit / 3**0.5, rel=0.05)


def test_parameters_without_a_reset_are_drawn_with_their_own_spread():
    class Free(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(2 + 0.5 * torch.randn(6, CLASSES))

        def forward(self, x):
            return x @ self.w

    model = Free().double()
    points, given = Landscape(model, *data(6)).sample(300), model.w.detach()
    assert float(points.mean()) == pytest.approx(float(given.mean()), abs=0.02)
    assert float(points.std()) == pytest.approx(float(given.std(correction=0)), rel=0.05)


def test_bad_samples():
    landscape = Landscape(small(), *data(6))
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        landscape.sample(0)
    with pytest.raises(ValueError, match="seed must be an integer >= 0, got -1"):
        landscape.sample(1, seed=-1)


@pytest.mark.parametrize("memory", [None, 1])
def test_error(memory):
    model, (x, y) = small(), data(6)
    landscape = Landscape(model, x, y, memory=memory)
    points = landscape.sample(4).reshape(2, 2, -1)
    outside = torch.randn(11, 6), torch.arange(11) % CLASSES
    found, held_out = landscape.error(points), landscape.error(points, *outside)
    for i, j in np.ndindex(2, 2):
        module = landscape.module(points[i, j])
        wrong = (module(x).argmax(dim=1) != y).double().mean()
        assert float(found[i, j]) == pytest.approx(float(wrong), abs=1e-12)
        wrong = (module(outside[0].double()).argmax(dim=1) != outside[1]).double().mean()
        assert float(held_out[i, j]) == pytest.approx(float(wrong), abs=1e-12)
    assert ((found >= 0) & (found <= 1)).all() and found.unique().numel() > 1


def test_error_refuses():
    x, y = data(6)
    landscape = Landscape(small(), x, y)
    theta = landscape.sample(1)
    for bad in ({"inputs": x}, {"targets": y}):
        with pytest.raises(ValueError, match="both inputs and targets"):
            landscape.error(theta, **bad)
    with pytest.raises(ValueError, match="not finite"):
        landscape.error(theta, x * np.nan, y)
    with pytest.raises(ValueError, match="40 inputs and 2 targets"):
        landscape.error(theta, x, y[:2])
    with pytest.raises(TypeError, match="integer label"):
        landscape.error(theta, x, y.double())
    for moved in (y + 1, y - 1):
        with pytest.raises(ValueError, match=f"the model has {CLASSES} outputs: labels must be"):
            landscape.error(theta, x, moved)


def test_module(case):
    model, landscape, points = case
    module = landscape.module(points[0])
    assert type(module) is type(model)
    value = cross_entropy(module(landscape.inputs), landscape.targets)
    close(landscape.loss(points[0]), value + DECAY / 2 * points[0] @ points[0])
    with pytest.raises(ValueError, match="one point, got 3"):
        landscape.module(points)


def test_start_is_the_model_as_given():
    model, (x, y) = small(), data(6)
    landscape = Landscape(model, x, y)
    assert torch.equal(landscape.start, nn.utils.parameters_to_vector(model.parameters()))
    close(landscape.loss(landscape.start), plainly(model, landscape.start, x, y, decay=1e-4)[0])


# -- models ----------------------------------------------------------------------------------------


def count(model) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 16, 12)])
@pytest.mark.parametrize("width", [1, 4])
@pytest.mark.parametrize("depth", [1, 2, 4])
@pytest.mark.parametrize("activation", ["relu", "gelu", "softplus", "tanh"])
def test_model_sizes(shape, width, depth, activation):
    settings = {"width": width, "depth": depth, "activation": activation}
    pixels, channels, classes = int(np.prod(shape)), shape[0], 7
    w, head = width, width * classes + classes
    square = 9 * w * w + w  # a 3x3 convolution from w to w channels
    expected = {
        ts.mlp: pixels * w + w + (depth - 1) * (w * w + w) + head,
        ts.cnn: 9 * channels * w + w + (depth - 1) * square + head,
        ts.resnet: 9 * channels * w + w + depth * 2 * square + head,
    }
    for family, size in expected.items():
        model = family(shape, classes, **settings)
        assert count(model) == size
        x = torch.randn(5, *shape)
        outputs = model(x)
        assert outputs.shape == (5, classes)
        # each image on its own, as there is no batch normalisation
        torch.testing.assert_close(model(x[2:3]), outputs[2:3], rtol=1e-4, atol=1e-5)
        wanted = {"relu": nn.ReLU, "gelu": nn.GELU, "softplus": nn.Softplus, "tanh": nn.Tanh}
        kinds = [type(m) for m in model.modules() if type(m) in wanted.values()]
        assert set(kinds) == {wanted[activation]}
        assert len(kinds) == (1 + 2 * depth if family is ts.resnet else depth)


def test_model_defaults():
    x = torch.randn(2, 1, 28, 28)
    assert ts.mlp()(x).shape == ts.cnn()(x).shape == (2, 10)
    assert ts.resnet()(torch.randn(2, 3, 32, 32)).shape == (2, 10)
    assert ts.mlp((6,), 3)(torch.randn(2, 6)).shape == (2, 3)


@pytest.mark.parametrize("family", [ts.mlp, ts.cnn, ts.resnet])
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"width": 0}, "width must be a whole number >= 1, got 0"),
        ({"width": 2.5}, "width"),
        ({"width": "4"}, "width"),
        ({"depth": 0}, "depth must be a whole number >= 1"),
        ({"depth": -1}, "depth"),
        ({"activation": "swish"}, "unknown activation 'swish': choose one of .*'tanh'"),
    ],
)
def test_bad_models(family, settings, message):
    with pytest.raises(ValueError, match=message):
        family((1, 8, 8), 3, **settings)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_recurrent_layers_work_by_default(dtype):
    x, y = data(4, 8)
    f = Landscape(Recurrent().to(dtype), x.to(dtype), y)
    theta = f.sample(2)
    values, gradients = f.loss_and_grad(theta)
    torch.testing.assert_close(f.loss(theta), values)
    torch.testing.assert_close(f.loss_and_grad(theta[1])[1], gradients[1])
    assert f.error(theta).shape == (2,)


def test_hessian_of_an_attention_layer():
    x, y = data(4, 8)
    f = Landscape(Encoder().double().eval(), x, y)
    theta = f.sample(1)[0]
    v = torch.randn(f.dim, dtype=WHOLE)
    ends = [f.loss_and_grad(theta + h * v)[1] for h in (1e-5, -1e-5)]
    torch.testing.assert_close(f.hvp(theta, v), (ends[0] - ends[1]) / 2e-5, rtol=1e-4, atol=1e-7)


def test_class_weights_are_never_split():
    """The weighted mean of two halves is not the weighted mean of all: sorted labels show it."""
    x, y = data(6)
    order = y.argsort()
    weight = torch.tensor([1.0, 5.0, 0.2], dtype=WHOLE)

    def weighted(outputs, targets):
        return cross_entropy(outputs, targets, weight=weight)

    whole = Landscape(small(), x[order], y[order], weighted)
    chunked = Landscape(small(), x[order], y[order], weighted, memory=1)
    theta = whole.sample(2)
    torch.testing.assert_close(chunked.loss(theta), whole.loss(theta), rtol=1e-12, atol=0)


def test_batch_statistics_behind_a_zero_layer_are_seen():
    last = nn.Linear(5, CLASSES)
    nn.init.zeros_(last.weight)
    norm = nn.BatchNorm1d(5, track_running_stats=False)
    x, y = data(6)
    model = nn.Sequential(nn.Linear(6, 5), norm, last).double()
    whole, chunked = Landscape(model, x, y), Landscape(model, x, y, memory=1)
    theta = whole.sample(2)
    torch.testing.assert_close(chunked.loss(theta), whole.loss(theta), rtol=1e-12, atol=0)


def test_later_changes_of_the_data_do_not_change_f():
    x, y = data(6)
    f = Landscape(small(), x, y)
    theta = f.sample(1)
    before = f.loss(theta)
    x.zero_()
    y.zero_()
    assert torch.equal(f.loss(theta), before)


def test_module_can_be_trained_further():
    model = small()
    model[0].bias.requires_grad_(False)
    f = Landscape(model, *data(6))
    trainable = [p.requires_grad for p in f.module(f.sample(1)).parameters()]
    assert trainable == [True, False, True, True]


@pytest.mark.parametrize("batch", [[0.5, 1.0], [True, False], []])
def test_a_batch_holds_sample_numbers(batch):
    f = Landscape(small(), *data(6))
    with pytest.raises(TypeError, match="int64 sample numbers"):
        f.loss_and_grad(f.sample(1), torch.tensor(batch))


def test_double_is_the_same_function_made_once():
    model, (x, y) = small(), data(6)
    single = Landscape(model.float(), x, y, weight_decay=DECAY)
    fine = single.double()
    assert single.dtype == torch.float32 and fine.dtype == torch.float64
    assert fine is single.double() and fine.double() is fine
    points = single.sample(3)
    assert fine.loss(points).dtype == torch.float64
    torch.testing.assert_close(fine.loss(points).float(), single.loss(points))
    value, gradient = fine.loss_and_grad(points[0])
    expected = plainly(model.double(), points[0].double(), x.float().double(), y)
    close(value, expected[0])
    close(gradient, expected[1])


# -- models that other people write ----------------------------------------------------------------


def test_starts_of_a_parametrized_model_differ():
    """weight_norm computes ``weight`` from two others, which no reset of the layer reaches."""

    def linear(a, b):
        return nn.utils.parametrizations.weight_norm(nn.Linear(a, b, bias=False))

    x, y = data(6)
    model = nn.Sequential(linear(6, 4), nn.Tanh(), linear(4, CLASSES)).double()
    f = Landscape(model, x, y)
    one, two = f.sample(2, 3)
    at = 0
    for name, parameter in model.named_parameters():
        part = slice(at, at + parameter.numel())
        at = part.stop
        assert not one[part].equal(two[part]), name
        assert one[part].isfinite().all()
    assert f.sample(1, 3)[0].equal(one)


def test_a_rare_class_with_another_weight_is_noticed():
    n = 400
    x = torch.randn(n, 6, dtype=WHOLE)
    y = torch.arange(n) % 2
    y[[37, 201]] = 2  # not among the samples that are tried first
    weight = torch.tensor([1.0, 1.0, 400.0], dtype=WHOLE)
    whole, parts = (
        Landscape(small(), x, y, nn.CrossEntropyLoss(weight), memory=memory)
        for memory in (None, 2**12)
    )
    parts.start = whole.start
    expected = whole.loss(whole.start)
    torch.testing.assert_close(parts.loss(whole.start), expected, rtol=1e-9, atol=0)
    plain = Landscape(small(), x, y, memory=2**12)
    assert plain._splits and not whole._splits


class Narrow(nn.Module):
    """Names a precision, as one-hot encodings do."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, CLASSES)

    def forward(self, x):
        return self.layer(nn.functional.one_hot(x, 4).float())


def test_what_can_not_run_in_float64_is_refused_at_once():
    with pytest.raises(TypeError, match=r"float64.*x\.to\(self\.weight\.dtype\)"):
        Landscape(Narrow(), torch.arange(8) % 4, torch.arange(8) % CLASSES)


@pytest.mark.parametrize("weighted", ["partial", "module"])
def test_weights_in_another_precision_than_the_landscape(weighted):
    x, y = data(6)
    weight = torch.tensor([1.0, 2.0, 3.0])
    if weighted == "module":
        f = Landscape(small().float(), x, y, nn.CrossEntropyLoss(weight), dtype=WHOLE)
        assert f.loss(f.start).dtype == WHOLE and weight.dtype == torch.float32
    else:  # vmap promotes it, and all stacks go through vmap
        f = Landscape(small().float(), x.float(), y, partial(cross_entropy, weight=weight))
        assert f.batched and f.double().loss_and_grad(f.sample(2))[1].dtype == WHOLE


class Replacing(nn.Linear):
    def reset_parameters(self):
        self.weight = nn.Parameter(torch.randn(self.weight.shape))
        with torch.no_grad():
            self.bias.fill_(0.5)


class Partly(nn.Linear):
    """Sets one bias and leaves the others as they are."""

    def reset_parameters(self):
        with torch.no_grad():
            self.weight.normal_()
            self.bias[0] = 1.0


@pytest.mark.parametrize("layer", [Replacing, Partly])
def test_starts_of_layers_with_unusual_resets(layer):
    x, y = data(6)
    model = layer(6, CLASSES)
    with torch.no_grad():
        model.bias[1:] = 0.25
    f = Landscape(model.double(), x, y)
    one, two = f.sample(2)
    assert not one[:-CLASSES].equal(two[:-CLASSES]) and not one.requires_grad
    bias = [0.5] * CLASSES if layer is Replacing else [1.0, 0.25, 0.25]
    assert one[-CLASSES:].tolist() == two[-CLASSES:].tolist() == bias


def test_soft_targets_and_labels_of_other_data():
    x, y = data(6)
    soft = nn.functional.one_hot(y, CLASSES).to(x)
    f, hard = (Landscape(small(), x, t) for t in (soft, y))
    assert not f.classifies and hard.classifies
    assert f.error(f.start, x, y) == hard.error(f.start)
    with pytest.raises(TypeError, match="one integer label"):
        f.error(f.start)


@pytest.mark.parametrize("batched", [False, True])
def test_a_loss_with_weights_follows_to_float64(batched):
    x, y = data(6)
    loss = nn.CrossEntropyLoss(torch.tensor([1.0, 2.0, 3.0]))
    f = Landscape(small().float(), x.float(), y, loss, batched=batched)
    near = f.double().loss_and_grad(f.start)[0]
    assert near.dtype == WHOLE and loss.weight.dtype == torch.float32
    torch.testing.assert_close(near.float(), f.loss(f.start))


def test_a_model_that_changes_its_inputs_is_refused():
    class Halving(nn.Linear):
        def forward(self, x):
            return super().forward(x.div_(2))

    x, y = data(6)
    before = x.clone()
    with pytest.raises(ValueError, match="changes its inputs in place"):
        Landscape(Halving(6, CLASSES).double(), x, y)
    assert x.equal(before)


@pytest.mark.parametrize("shape", [(), (1,)])
def test_one_score_a_sample_has_no_error_rate(shape):
    """argmax of a single score is always 0, whatever the label."""

    def binary(outputs, y):
        scores = outputs.reshape(len(y))
        return nn.functional.binary_cross_entropy_with_logits(scores, y.to(outputs))

    x, _ = data(6)
    y = (x[:, 0] > 0).long()
    model = nn.Sequential(nn.Linear(6, 1), nn.Unflatten(1, (1,)) if shape else nn.Flatten(0))
    f = Landscape(model.double(), x, y, binary, weight_decay=0.1)
    with pytest.raises(TypeError, match="two classes or more"):
        f.error(f.start)
    found = ts.find_minima(f, 2, steps=10, max_evaluations=50, progress=False)
    assert found.train_error is None
    with pytest.raises(ValueError, match="held_out"):
        ts.find_minima(f, 2, held_out=(x, y), progress=False)


# -- what would give numbers without a meaning -----------------------------------------------------


class Cut(nn.Module):
    """Passes no gradient on to its first layer."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(6, 4), nn.Linear(4, CLASSES)

    def forward(self, x):
        return self.last(torch.tanh(self.first(x)).detach())


class Narrowing(Cut):
    """Rounds to float32 in the middle, whatever comes in."""

    def forward(self, x):
        return self.last(torch.tanh(self.first(x)).float().to(x.dtype))


class Sometimes(nn.Module):
    """Drops a whole batch in one of 10,000 cases."""

    def forward(self, x):
        return x * (torch.rand(()) > 1e-4)


class Named(nn.Linear):
    def forward(self, x):
        return {"logits": super().forward(x)}


def test_cross_entropy_of_one_score_is_refused():
    with pytest.raises(ValueError, match="one score is zero.*binary_cross_entropy_with_logits"):
        Landscape(nn.Linear(6, 1), data(6)[0].float(), torch.zeros(40, dtype=torch.int64))


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        (torch.ones(40), r"need the outputs' shape \(40, 3\), got \(40,\).*targets.long"),
        (torch.ones(40, 3) / 2, "sums go from 1.5 to 1.5"),
        (torch.tensor([[-1.0, 1.0, 1.0]]).repeat(40, 1), "the lowest is -1"),
    ],
)
def test_targets_that_are_no_probabilities_are_refused(targets, said):
    x = data(6)[0].float()
    with pytest.raises(ValueError, match=said):
        Landscape(nn.Linear(6, 3), x, targets)
    Landscape(nn.Linear(6, 3), x, torch.ones(40, 3) / 3)


@pytest.mark.parametrize("n", [1, 3, 40])
def test_a_column_beside_a_row_is_refused_where_it_is_broadcast(n):
    x, y = data(6)[0].float()[:n], torch.rand(n)

    def pairs(outputs, targets):
        return ((outputs - targets) ** 2).mean()

    def squeezed(outputs, targets):
        return ((outputs.squeeze(1) - targets) ** 2).mean()

    assert float(Landscape(nn.Linear(6, 1), x, y, squeezed).loss(torch.zeros(7))) == pytest.approx(
        float((y**2).mean())
    )
    Landscape(nn.Linear(6, 1), x, y[:, None], pairs)
    if n > 1:  # one sample has no other to be compared with
        with pytest.raises(ValueError, match=r"broadcast to all pairs.*targets\[:, None\]"):
            Landscape(nn.Linear(6, 1), x, y, pairs)


def test_a_gradient_that_is_cut_is_refused():
    x, y = data(6)
    with pytest.raises(ValueError, match=r"its gradient says .*Take out \.detach\(\)"):
        Landscape(Cut(), x.float(), y)
    Landscape(Narrowing(), x.float(), y)  # differences of it are rough, and no proof


def test_numbers_drawn_in_the_model_are_noticed_whatever_they_do():
    x, y = data(6)
    with pytest.raises(ValueError, match="draws random numbers"):
        Landscape(nn.Sequential(nn.Linear(6, 3), Sometimes()), x.float(), y)


def test_models_and_losses_that_fail_are_told_with_shapes():
    x, y = data(6)
    with pytest.raises(TypeError, match="returned a dict, not a tensor.*logits"):
        Landscape(Named(6, 3), x.float(), y)
    with pytest.raises(ValueError, match=r"fails on inputs of shape \(8, 6\) and dtype torch.fl"):
        Landscape(nn.Linear(7, 3), x.float(), y)
    with pytest.raises(ValueError, match=r"loss_fn fails on outputs of shape \(8, 3\) and targets"):
        Landscape(nn.Linear(6, 3), x.float(), torch.ones(40, 5), nn.functional.l1_loss)


# -- the whole Hessian -----------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "memory"), [(small, None), (small, 2000), (Recurrent, None)])
def test_hessian_is_that_of_products(kind, memory):
    """Of all samples at once, of seven at a time, and where forward mode has no rule."""
    x, y = data(6) if kind is small else data(4, 8)
    landscape = Landscape(kind().double(), x.double(), y, memory=memory)
    point = landscape.sample(1)[0]
    columns = landscape.hvp(point, torch.eye(landscape.dim, dtype=WHOLE))
    torch.testing.assert_close(landscape.hessian(point), columns, rtol=1e-9, atol=1e-12)


def test_hessian_of_several_points_is_refused():
    landscape = Landscape(small(), *data(6))
    for points in (landscape.sample(2), landscape.sample(1)):
        with pytest.raises(ValueError, match="theta must be one point, got shape"):
            landscape.hessian(points)
