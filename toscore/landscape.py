"""A network, a loss and a training set as one deterministic function f on parameter vectors.

f(theta) = mean loss over the whole training set + weight_decay / 2 * |theta|^2

Points are flat vectors in the order of ``model.named_parameters()``; every method takes stacks of
them, shape (..., D), and evaluates the stack side by side with ``torch.func.vmap``.
"""

from __future__ import annotations

import copy
import math
import warnings
from contextlib import nullcontext
from functools import partial

import numpy as np
import torch
from torch import nn
from torch.func import functional_call, grad, grad_and_value, jvp, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import cross_entropy

__all__ = ["Landscape"]

_SMALL = 2**16  # bytes an image may take up in all layers, to be convolved for many models at once
_PROBE = 8  # inputs used to try a model out before anything is computed with it
_DIRECTIONS = 3  # in which a gradient is compared with differences, before it is called wrong


class Landscape:
    """The loss surface of a torch module on a fixed training set.

    ``f(theta)`` is the mean loss over all samples plus ``weight_decay / 2 * |theta|^2``.

    Parameters
    ----------
    model : torch.nn.Module
        Any module that maps a batch of inputs to outputs. It is copied and never touched.
        Parameters with ``requires_grad=False`` stay fixed and are no coordinates of f.
    inputs, targets : tensors (n, ...)
        The training set; all of it enters f.
    loss_fn : callable (outputs, targets) -> scalar tensor
        The mean loss over a batch.
    weight_decay : float >= 0
        The factor of ``|theta|^2 / 2``. Above zero, f grows without end in all directions, so
        that a lowest point exists where the loss is bounded below.
    device : torch.device, optional
        Default: that of the model's parameters.
    dtype : torch.float32 or torch.float64, optional
        Default: that of the model's parameters.
    memory : int, optional
        Bytes one evaluation may use for activations; larger stacks go through in chunks. Defaults
        to 128 MiB on a CPU and to 40 % of the free memory on a GPU.
    batched : bool, optional
        Evaluate stacks with vmap (True) or one by one (False). By default vmap where the model
        allows it, but one by one for convolutions of larger images on a CPU.

    Attributes
    ----------
    dim : int
        Number of trainable parameters D.
    start : tensor (D,)
        The parameters that the model came with.
    classifies : bool
        Whether targets are one integer label a sample and outputs a score for each of two classes
        or more, so that there is an error rate.

    Raises
    ------
    TypeError, ValueError
        Anything that would make f random, history-dependent, undefined or meaningless: running
        batch-norm statistics, dropout left on, complex, integer or half-precision parameters,
        inputs that are not finite, labels out of range, cross-entropy of one score or of targets
        that are no probabilities, outputs and targets of different shapes that are broadcast, a
        loss that is not a scalar, a gradient that something cuts, a model or loss that fails or
        can't be evaluated in float64. The message names the cure.

    Examples
    --------
    Two samples, each its own class, and a linear network that knows nothing yet:

    >>> import torch
    >>> import toscore as ts
    >>> network = torch.nn.Linear(2, 2)
    >>> land = ts.Landscape(network, torch.eye(2), torch.tensor([0, 1]))
    >>> land.dim, round(float(land.loss(torch.zeros(6))), 4)
    (6, 0.6931)
    """

    def __init__(
        self,
        model,
        inputs,
        targets,
        loss_fn=cross_entropy,
        weight_decay=1e-4,
        device=None,
        dtype=None,
        memory=None,
        batched=None,
    ):
        _refuse_unsuitable(model)
        first = next(p for p in model.parameters() if p.requires_grad)
        self.device = torch.device(device if device is not None else first.device)
        self.dtype = dtype or first.dtype
        if self.dtype not in (torch.float32, torch.float64):
            raise TypeError(f"dtype must be torch.float32 or torch.float64, got {self.dtype}")
        if not (math.isfinite(weight_decay) and weight_decay >= 0):
            raise ValueError(f"weight_decay must be a finite number >= 0, got {weight_decay}")
        self.weight_decay = float(weight_decay)
        module = isinstance(loss_fn, nn.Module)  # it may hold weights
        self.loss_fn = copy.deepcopy(loss_fn).to(self.device, self.dtype) if module else loss_fn

        trainable = [(k, p) for k, p in model.named_parameters() if p.requires_grad]
        self._names = [k for k, _ in trainable]
        self._shapes = [p.shape for _, p in trainable]
        self._sizes = [p.numel() for _, p in trainable]
        self.dim = sum(self._sizes)
        self._model = copy.deepcopy(model).to(self.device, self.dtype).requires_grad_(False)
        # copies: a later change of the caller's tensors must not change f; row by row in memory, as
        # the gradient of a convolution takes far longer in other orders
        self.inputs, self.targets = (
            t.clone(memory_format=torch.contiguous_format)
            for t in self._checked_data(inputs, targets)
        )
        self.start = torch.cat([p.detach().reshape(-1) for _, p in trainable])
        self.start = self.start.to(self.device, self.dtype)
        self._try_out(batched)
        self._memory = memory or _free_memory(self.device)
        self._double: Landscape | None = None

    def __repr__(self) -> str:
        return (
            f"Landscape({type(self._model).__name__}, dim={self.dim}, samples={len(self.inputs)}, "
            f"weight_decay={self.weight_decay:g}, {self.dtype}, {self.device})"
        )

    # -- the function and its derivatives ---------------------------------------------------------

    def loss(self, theta) -> torch.Tensor:
        """f at each point, in the unit of ``loss_fn`` (nats by default).

        Parameters
        ----------
        theta : real (..., D)
            Points.

        Returns
        -------
        tensor (...)
            In the landscape's dtype.

        Raises
        ------
        ValueError
            The last axis has not D entries, or there is no point.

        Examples
        --------
        >>> import torch
        >>> import toscore as ts
        >>> land = ts.Landscape(torch.nn.Linear(2, 2), torch.eye(2), torch.tensor([0, 1]))
        >>> land.loss(torch.zeros(3, 6)).double().round(decimals=4).tolist()
        [0.6931, 0.6931, 0.6931]
        """
        points, shape = self._points(theta)
        with torch.no_grad():
            (values,) = self._mean_over_data(self._value_alone, points)
        return values.reshape(shape)

    def loss_and_grad(self, theta, batch=None) -> tuple[torch.Tensor, torch.Tensor]:
        """f and its gradient at each point.

        Parameters
        ----------
        theta : real (..., D)
            Points.
        batch : int64 tensor (b,) or (..., b), optional
            Numbers of training samples to average over instead of all of them: one batch for the
            whole stack, or one for each point. For optimisers only; f is the full mean.

        Returns
        -------
        values : tensor (...)
        gradients : tensor (..., D)

        Raises
        ------
        ValueError
            The last axis of ``theta`` has not D entries, or there is no point.
        TypeError
            ``batch`` is empty or not int64.

        Examples
        --------
        >>> import torch
        >>> import toscore as ts
        >>> land = ts.Landscape(torch.nn.Linear(2, 2), torch.eye(2), torch.tensor([0, 1]))
        >>> value, gradient = land.loss_and_grad(torch.zeros(6))
        >>> gradient.tolist()
        [-0.25, 0.25, 0.25, -0.25, 0.0, 0.0]
        """
        points, shape = self._points(theta)
        if batch is not None:
            batch = torch.as_tensor(batch, device=self.device)
            if batch.dtype != torch.int64 or not batch.numel():
                raise TypeError(f"batch must hold int64 sample numbers, got {batch.dtype}")
            if batch.ndim > 1:
                batch = batch.expand(*shape, batch.shape[-1]).reshape(len(points), -1)
        gradients, values = self._mean_over_data(self._gradient, points, batch)
        return values.reshape(shape), gradients.reshape(*shape, self.dim)

    def hvp(self, theta, v) -> torch.Tensor:
        """Hessian of f times a vector at each point.

        Parameters
        ----------
        theta, v : real (..., D)
            Points and vectors; their leading axes are broadcast.

        Returns
        -------
        tensor (..., D)

        Raises
        ------
        ValueError
            The last axis of ``theta`` or ``v`` has not D entries, or one of them is empty.

        References
        ----------
        Pearlmutter 1994 (doi:10.1162/neco.1994.6.1.147).

        Examples
        --------
        >>> import torch
        >>> import toscore as ts
        >>> land = ts.Landscape(torch.nn.Linear(2, 2), torch.eye(2), torch.tensor([0, 1]))
        >>> land.hvp(torch.zeros(6), torch.eye(6)).diagonal().double().round(decimals=3).tolist()
        [0.125, 0.125, 0.125, 0.125, 0.25, 0.25]
        """
        points, shape = self._points(theta)
        vectors, v_shape = self._points(v, "v")
        full = torch.broadcast_shapes((*shape, self.dim), (*v_shape, self.dim))
        points = points.reshape(*shape, self.dim).expand(full).reshape(-1, self.dim)
        vectors = vectors.reshape(*v_shape, self.dim).expand(full).reshape(-1, self.dim)
        pairs = torch.cat([points, vectors], dim=1)
        # the fused attention kernels have no second derivative
        with sdpa_kernel(SDPBackend.MATH):
            return self._mean_over_data(self._hessian_product, pairs)[0].reshape(full)

    def hessian(self, theta) -> torch.Tensor:
        """Hessian of f at one point, in forward over reverse mode.

        The point's own pass through the network serves all columns, so this is several times as
        fast as :meth:`hvp` with the unit vectors, and the same but for rounding. Where a layer has
        no rule for forward mode (recurrent ones, for instance) it is computed by :meth:`hvp`.

        Parameters
        ----------
        theta : real (D,)
            The point.

        Returns
        -------
        tensor (D, D)
            Symmetric but for rounding.

        Raises
        ------
        ValueError
            ``theta`` is not one point.

        Examples
        --------
        >>> import torch
        >>> import toscore as ts
        >>> land = ts.Landscape(torch.nn.Linear(2, 2), torch.eye(2), torch.tensor([0, 1]))
        >>> land.hessian(torch.zeros(6)).diagonal().double().round(decimals=3).tolist()
        [0.125, 0.125, 0.125, 0.125, 0.25, 0.25]
        """
        points, shape = self._points(theta)
        if shape:
            raise ValueError(f"theta must be one point, got shape {tuple(shape)} of them")
        unit = torch.eye(self.dim, dtype=self.dtype, device=self.device)
        size = max(1, min(len(self.inputs), self._memory // self._bytes_an_input))
        columns = max(1, self._memory // (self._bytes_an_input * size))

        def whole(point, x, y):
            def slope(q):
                return grad(self._value)(q, x, y)

            def product(v):
                return jvp(slope, (point,), (v,))[1]

            return (vmap(product, randomness="error", chunk_size=columns)(unit),)

        alone = copy.copy(self)
        alone.batched = False  # one point: the columns are what goes side by side
        try:
            with warnings.catch_warnings(), sdpa_kernel(SDPBackend.MATH):
                warnings.simplefilter("ignore")  # torch's own, on importing forward mode
                warnings.filterwarnings("error", "There is a performance drop")
                return alone._mean_over_data(whole, points)[0][0]
        except (RuntimeError, Warning):
            return self.hvp(points[0], unit)

    def error(self, theta, inputs=None, targets=None) -> torch.Tensor:
        """Share of misclassified samples in [0, 1] at each point.

        Parameters
        ----------
        theta : real (..., D)
            Points.
        inputs : tensor (m, ...), optional
            Other samples than the training set.
        targets : integer tensor (m,), optional
            Their labels.

        Returns
        -------
        tensor (...)

        Raises
        ------
        ValueError
            Only one of ``inputs`` and ``targets``, inputs that are not finite, or labels out of
            range; points as for :meth:`loss`.
        TypeError
            Targets that are not one integer label a sample, outputs that are not a score for each
            of two classes or more, or complex inputs.

        Examples
        --------
        With all scores equal the first class wins, which is right for one sample of two:

        >>> import torch
        >>> import toscore as ts
        >>> land = ts.Landscape(torch.nn.Linear(2, 2), torch.eye(2), torch.tensor([0, 1]))
        >>> land.error(torch.zeros(6)).item()
        0.5
        """
        points, shape = self._points(theta)
        if (inputs is None) != (targets is None):
            raise ValueError("give both inputs and targets, or neither for the training set")
        if inputs is not None:
            inputs, targets = self._checked_data(inputs, targets)
        else:
            inputs, targets = self.inputs, self.targets
        if targets.ndim != 1 or targets.dtype.is_floating_point or not self._classes:
            raise TypeError(
                "the error rate is defined for one integer label a sample and a score for each of "
                "two classes or more: outputs (n, classes)"
            )
        _refuse_labels_out_of_range(targets, self._classes)

        def wrong(point, x, y):
            return ((self._outputs(point, x).argmax(dim=1) != y).to(self.dtype).mean(),)

        with torch.no_grad():
            (values,) = self._mean_over_data(wrong, points, data=(inputs, targets))
        return values.reshape(shape)

    def sample(self, n: int, seed: int = 0) -> torch.Tensor:
        """Starting points: fresh initialisations of the model.

        Point i depends on (seed, i) alone, so a longer sample begins with the shorter one. Every
        module with a ``reset_parameters`` method is reset by it; a parameter that no such module
        owns is redrawn from a normal distribution with the given tensor's mean and deviation.

        Parameters
        ----------
        n : int
            Number of points, at least 1.
        seed : int
            At least 0.

        Returns
        -------
        tensor (n, D)

        Raises
        ------
        ValueError
            ``n`` or ``seed`` out of range.

        Examples
        --------
        >>> import torch
        >>> import toscore as ts
        >>> land = ts.Landscape(torch.nn.Linear(2, 2), torch.eye(2), torch.tensor([0, 1]))
        >>> points = land.sample(3, seed=1)
        >>> points.shape, points.equal(land.sample(5, seed=1)[:3])
        (torch.Size([3, 6]), True)
        """
        if n < 1:
            raise ValueError(f"n must be at least 1, got {n}")
        return torch.stack([self._initialise(seed, i) for i in range(n)])

    def module(self, theta) -> nn.Module:
        """A copy of the model with the parameters of one point.

        Parameters
        ----------
        theta : real (D,)
            The point.

        Returns
        -------
        torch.nn.Module

        Raises
        ------
        ValueError
            More than one point, or one without D entries.

        Examples
        --------
        >>> import torch
        >>> import toscore as ts
        >>> land = ts.Landscape(torch.nn.Linear(2, 2), torch.eye(2), torch.tensor([0, 1]))
        >>> land.module(torch.ones(6))(torch.eye(2)).tolist()
        [[2.0, 2.0], [2.0, 2.0]]
        """
        points, _ = self._points(theta)
        if len(points) != 1:
            raise ValueError(f"theta must be one point, got {len(points)}")
        module = copy.deepcopy(self._model)
        module.load_state_dict({**module.state_dict(), **self._unflatten(points[0])})
        for name, parameter in module.named_parameters():
            parameter.requires_grad_(name in self._names)
        return module

    def double(self) -> Landscape:
        """This landscape in float64: itself, or a copy that is made once.

        Examples
        --------
        >>> import torch
        >>> import toscore as ts
        >>> land = ts.Landscape(torch.nn.Linear(2, 2), torch.eye(2), torch.tensor([0, 1]))
        >>> land.dtype, land.double().dtype
        (torch.float32, torch.float64)
        """
        if self.dtype == torch.float64:
            return self
        if self._double is None:
            self._double = self._in_float64(self.inputs, self.targets)
            self._double._memory = max(1, self._memory // 2)
        return self._double

    def _in_float64(self, inputs, targets) -> Landscape:
        twin = copy.copy(self)
        twin.dtype, twin.start = torch.float64, self.start.double()
        twin._model = copy.deepcopy(self._model).double()
        if isinstance(self.loss_fn, nn.Module):
            twin.loss_fn = copy.deepcopy(self.loss_fn).double()
        twin.inputs, twin.targets = (
            t.double() if t.dtype.is_floating_point else t for t in (inputs, targets)
        )
        return twin

    # -- how it is evaluated ----------------------------------------------------------------------

    def _points(self, theta, name: str = "theta") -> tuple[torch.Tensor, torch.Size]:
        """theta as a stack (s, D) on the landscape's device, and the shape before D."""
        theta = torch.as_tensor(theta, device=self.device, dtype=self.dtype)
        if theta.shape[-1:] != (self.dim,) or not theta.numel():
            raise ValueError(
                f"{name} must have shape (..., {self.dim}), as the model has {self.dim} trainable "
                f"parameters, and hold at least one point; got {tuple(theta.shape)}"
            )
        return theta.detach().reshape(-1, self.dim), theta.shape[:-1]

    def _unflatten(self, point) -> dict[str, torch.Tensor]:
        parts = point.split(self._sizes)
        return {k: v.view(s) for k, v, s in zip(self._names, parts, self._shapes, strict=True)}

    def _outputs(self, point, x):
        return functional_call(self._model, self._unflatten(point), (x,))

    def _value(self, point, x, y):
        decay = 0.5 * self.weight_decay * (point * point).sum()
        return self.loss_fn(self._outputs(point, x), y) + decay

    # vmapped over points; each returns a tuple of means over the samples it is given

    def _value_alone(self, point, x, y):
        return (self._value(point, x, y),)

    def _gradient(self, point, x, y):
        return grad_and_value(self._value)(point, x, y)

    def _hessian_product(self, pair, x, y):
        point, v = pair.split(self.dim)
        # reverse over reverse: needs no forward-mode rule, which many layers lack
        return (grad(lambda p: grad(self._value)(p, x, y) @ v)(point),)

    def _mean_over_data(self, function, points, batch=None, data=None):
        """``function(point, x, y)`` at every point, averaged over chunks of the data.

        The weight decay inside ``function`` is the same in every chunk, so its mean is right too.
        """
        x, y = data or (self.inputs, self.targets)
        if batch is not None:
            x, y = x[batch], y[batch]
        own = batch is not None and batch.ndim > 1  # each point has its own samples
        axis = 1 if own else 0
        n = y.shape[axis]
        size = max(1, min(n, self._memory // self._bytes_an_input)) if self._splits else n
        stack = max(1, self._memory // (self._bytes_an_input * size))
        totals = None
        for i in range(0, n, size):
            count = min(size, n - i)
            chunk = x.narrow(axis, i, count), y.narrow(axis, i, count)
            means = self._over_stack(function, points, *chunk, own, stack)
            means = [(count / n) * m for m in means]
            totals = (
                means if totals is None else [a + b for a, b in zip(totals, means, strict=True)]
            )
        return totals

    def _over_stack(self, function, points, x, y, own, stack):
        with self._exact():
            if self.batched:
                dims = (0, 0, 0) if own else (0, None, None)
                return vmap(function, dims, randomness="error", chunk_size=stack)(points, x, y)
            samples = ((x[i], y[i]) if own else (x, y) for i in range(len(points)))
            rows = [function(p, *some) for p, some in zip(points, samples, strict=True)]
        return [torch.stack(column) for column in zip(*rows, strict=True)]

    def _exact(self):
        """Convolutions of a GPU as exact as a CPU's; by default they keep 10 bits of 23."""
        if self.device.type != "cuda":
            return nullcontext()
        return torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)

    # -- set-up -----------------------------------------------------------------------------------

    def _checked_data(self, inputs, targets):
        inputs, targets = torch.as_tensor(inputs), torch.as_tensor(targets)
        if not len(inputs) or len(inputs) != len(targets):
            raise ValueError(
                f"{len(inputs)} inputs and {len(targets)} targets: give as many of both, at least 1"
            )
        for name, x in (("inputs", inputs), ("targets", targets)):
            if x.is_complex():
                raise TypeError(f"{name} are complex: pass real and imaginary part as channels")
            if x.dtype.is_floating_point and not torch.isfinite(x).all():
                bad = int((~torch.isfinite(x)).sum())
                raise ValueError(f"{bad} entries of {name} are not finite: clean the data first")
        if inputs.dtype.is_floating_point:
            inputs = inputs.to(self.dtype)
        if targets.dtype.is_floating_point:
            targets = targets.to(self.dtype)
        return inputs.to(self.device), targets.to(self.device)

    def _try_out(self, batched):
        """Run the model on a few inputs, to find out what it is like before it is relied on."""
        x, y = self.inputs[:_PROBE].clone(), self.targets[:_PROBE]
        before = {k: b.clone() for k, b in self._model.named_buffers()}
        kept = []
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            drawn = _random_states(self.device)
            with torch.autograd.graph.saved_tensors_hooks(
                lambda t: kept.append(t) or t, lambda t: t
            ):
                outputs = self._first_outputs(x)
            if not torch.equal(x, self.inputs[:_PROBE]):
                raise ValueError(
                    "the model changes its inputs in place, so f would depend on what was "
                    "evaluated before: let forward begin with x = x.clone()"
                )
            self._check_targets(outputs)
            values = self._first_values(outputs, x, y)
            random = _random_states(self.device) != drawn
        for key, buffer in self._model.named_buffers():
            if not torch.equal(buffer, before[key]):
                raise ValueError(
                    f"the model's forward pass changes its buffer {key!r}, so f would depend on "
                    "what was evaluated before: freeze that buffer or replace the layer"
                )
        if values[0].ndim:
            raise ValueError(
                f"loss_fn must return one number, the mean over the batch; it returned shape "
                f"{tuple(values[0].shape)}: use reduction='mean'"
            )
        if not torch.equal(values[0], values[1]) and not values[0].isnan():
            raise ValueError(
                f"two evaluations at the same point gave {values[0]:.8g} and {values[1]:.8g}: the "
                "model or loss is random. Switch off what draws numbers (model.eval(), "
                "training=False)"
            )
        if random:
            raise ValueError(
                "the model or loss draws random numbers, so f would be random: switch off what "
                "draws them (model.eval(), training=False), or build the model without it"
            )
        self._classes = outputs.shape[1] if outputs.ndim == 2 and outputs.shape[1] > 1 else 0
        self.classifies = self._classes > 0 and y.ndim == 1 and not y.dtype.is_floating_point
        saved = sum(t.numel() * t.element_size() for t in kept) / len(x)
        self._bytes_an_input = max(1, int(2 * saved))  # and as much again for the gradients
        self._splits = self._is_a_mean_over_samples()
        if not self._splits:
            self._refuse_broadcast(outputs.detach(), y)
        self.batched = self._vmaps(x, y) if batched is None else bool(batched)
        self._try_float64(x, y)

    def _first_outputs(self, x):
        """What the model gives for a few inputs, or an error that names their shape."""
        try:
            outputs = self._outputs(self.start.clone().requires_grad_(), x)
        except Exception as fault:  # a model may raise anything
            raise ValueError(
                f"the model fails on inputs of shape {tuple(x.shape)} and dtype {x.dtype}: "
                f"{fault}. Pass inputs as its forward takes them, one batch along the first axis"
            ) from fault
        if not isinstance(outputs, torch.Tensor):
            raise TypeError(
                f"the model returned a {type(outputs).__name__}, not a tensor: wrap it in a module "
                "whose forward returns the tensor that the loss needs, such as .logits"
            )
        return outputs

    def _first_values(self, outputs, x, y):
        """f twice at the first point, or an error that names what the loss was given."""
        try:
            return [self._value(self.start, x, y) for _ in range(2)]
        except Exception as fault:  # a loss may raise anything
            raise ValueError(
                f"loss_fn fails on outputs of shape {tuple(outputs.shape)} and targets of shape "
                f"{tuple(y.shape)} and dtype {y.dtype}: {fault}"
            ) from fault

    def _refuse_broadcast(self, outputs, y):
        """A column (n, 1) beside a row (n,) would be compared in all pairs, without a word."""
        small, large = sorted((tuple(outputs.shape), tuple(y.shape)), key=len)
        if (*small, 1) != large or not y.dtype.is_floating_point:
            return
        whole, rows = self.loss_fn(outputs, y), range(len(y))
        alone = torch.stack([self.loss_fn(outputs[i : i + 1], y[i : i + 1]) for i in rows])
        if (whole - alone.mean()).abs() > 1e-5 * whole.abs().clamp(min=1.0):
            raise ValueError(
                f"outputs of shape {tuple(outputs.shape)} and targets of shape {tuple(y.shape)} "
                "are broadcast to all pairs of samples: give both the same shape, such as "
                "targets[:, None], or a model that ends in .squeeze(1)"
            )

    def _refuse_cut_gradient(self, x, y):
        """Differences of f have to be what its gradient says: .detach() or no_grad cut it."""
        for point in (self.start, self._initialise(0, 0)):
            for k in range(_DIRECTIONS):
                generator = torch.Generator().manual_seed(k)
                v = torch.randn(self.dim, generator=generator, dtype=torch.float64).to(point)
                step = 1e-4 * (1 + point.norm()) / v.norm()
                stack = torch.stack([point, point + step * v, point - step * v])
                gradients, values = self._over_stack(self._gradient, stack, x, y, False, 1)
                gradient, (value, up, down) = gradients[0], values
                measured, said = (up - down) / (2 * step), gradient @ v
                # what kinks, and layers that round to float32, make of a difference
                unsure = 10 * (up - 2 * value + down).abs() / (2 * step)
                unsure = unsure + 1e-2 * (measured.abs() + gradient.norm()) + 1e-8
                if not (measured - said).abs() > unsure:
                    break
            else:
                raise ValueError(
                    f"f changes at a rate of {measured:.4g} in a direction in which its gradient "
                    f"says {said:.4g}: something in the model or loss is cut out of the gradient. "
                    "Take out .detach(), .data and torch.no_grad()"
                )

    def _try_float64(self, x, y):
        """The last steps to a minimum and to a saddle are in float64: better to know at once."""
        try:
            twin = self._in_float64(x, y)
            twin._over_stack(twin._gradient, twin.start[None], twin.inputs, twin.targets, False, 1)
            twin._refuse_cut_gradient(twin.inputs, twin.targets)
        except RuntimeError as fault:
            raise TypeError(
                f"the model or loss does not run in float64, which minima and saddles need: {fault}"
                ". Let it follow the dtype of its inputs or weights, as in x.to(self.weight.dtype) "
                "and weight.to(outputs), instead of naming one; or convert both to float64"
            ) from fault

    def _check_targets(self, outputs):
        if self.loss_fn is not cross_entropy:
            return
        if outputs.ndim < 2:
            raise ValueError(
                f"cross_entropy needs outputs (batch, classes), the model gave "
                f"{tuple(outputs.shape)} for {min(_PROBE, len(self.inputs))} inputs"
            )
        if outputs.shape[1] < 2:
            raise ValueError(
                "cross_entropy of one score is zero whatever the score: let the model give one "
                "for each class, or use torch.nn.functional.binary_cross_entropy_with_logits"
            )
        if self.targets.dtype.is_floating_point:
            _refuse_no_probabilities(self.targets, outputs)
            return
        if self.targets.dtype != torch.int64:
            raise TypeError(f"labels must be int64 for cross_entropy, got {self.targets.dtype}")
        _refuse_labels_out_of_range(self.targets, outputs.shape[1])

    def _is_a_mean_over_samples(self) -> bool:
        """Whether f may be computed in chunks of data; batch statistics or class weights forbid it.

        Tried on samples from all over the data, in uneven parts, at two points: the given
        parameters can be special (a last layer of zeros hides what comes before it). Then with at
        least one label of each class, as a rare one may have another weight.
        """
        n = len(self.inputs)
        if n < 4:
            return False
        rows = torch.linspace(0, n - 1, min(n, 8 * _PROBE), device=self.device).long()
        labels = self.targets[rows]
        if self.classifies:
            first = np.unique(self.targets.cpu().numpy(), return_index=True)[1]
            labels = torch.cat([labels, self.targets[torch.from_numpy(first).to(self.device)]])
        for point in (self.start, self._initialise(0, 0)):
            with torch.no_grad():
                if not _splits(partial(self._value, point), self.inputs[rows], self.targets[rows]):
                    return False
                if self.classifies:
                    scores = self._outputs(point, self.inputs[rows])
                    scores = scores[torch.arange(len(labels), device=self.device) % len(rows)]
                    if not _splits(self.loss_fn, scores, labels):
                        return False
        return True

    def _vmaps(self, x, y) -> bool:
        # On a CPU, convolutions side by side (grouped ones) take twice as long. Where images are
        # small, doing things once for all points saves more than that.
        large = self.device.type == "cpu" and self._bytes_an_input > _SMALL
        if large and any(isinstance(m, nn.modules.conv._ConvNd) for m in self._model.modules()):
            return False
        points = torch.stack([self.start, self.start])
        always = torch.is_warn_always_enabled()
        torch.set_warn_always(True)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                vmap(self._gradient, (0, None, None), randomness="error")(points, x, y)
                with torch.no_grad():  # other kernels may run where no gradient is asked for
                    vmap(self._value_alone, (0, None, None), randomness="error")(points, x, y)
        except (RuntimeError, Warning):
            # torch has no batching rule for some layer, or warns that it falls back to a slow one
            return False
        finally:
            torch.set_warn_always(always)
        return True

    def _initialise(self, seed: int, i: int) -> torch.Tensor:
        module, owned = copy.deepcopy(self._model).cpu(), set()
        with torch.random.fork_rng(devices=[]):
            # not torch.manual_seed, which would reseed the GPUs' generators too
            torch.default_generator.manual_seed(_mix(seed, i))
            for m in reversed(list(module.modules())):  # children before the modules they are in
                reset = getattr(m, "reset_parameters", None) or getattr(
                    m, "_reset_parameters", None
                )
                if not callable(reset):
                    continue
                new = [p for p in m.parameters() if id(p) not in owned]
                given = [p.clone() for p in new]
                for p in new:
                    p.fill_(torch.nan)
                reset()
                for p, old in zip(new, given, strict=True):
                    left = p.isnan()  # all of it if a parametrization computes from it
                    p.copy_(torch.where(left, old, p))
                    if not left.all():
                        owned.add(id(p))
                known = {id(p) for p in new}
                owned.update(id(p) for p in m.parameters() if id(p) not in known)  # made anew
            for p in module.parameters():
                if id(p) not in owned:
                    deviation = p.std(correction=0) if p.numel() else 0.0
                    p.copy_(p.mean() + deviation * torch.randn_like(p))
        state = dict(module.named_parameters())
        start = torch.cat([state[k].detach().reshape(-1) for k in self._names])
        return start.to(self.device, self.dtype)


def _splits(function, x, y) -> bool:
    """Whether a mean over samples is that of its parts, which are uneven."""
    n, cut = len(y), len(y) // 3
    whole, a, b = function(x, y), function(x[:cut], y[:cut]), function(x[cut:], y[cut:])
    mean = (cut * a + (n - cut) * b) / n
    return bool((whole - mean).abs() <= 1e-5 * whole.abs().clamp(min=1.0))


def _refuse_labels_out_of_range(labels, classes: int) -> None:
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        raise ValueError(
            f"labels go from {low} to {high}, but the model has {classes} outputs: labels must be "
            f"0 to {classes - 1}"
        )


def _refuse_no_probabilities(targets, outputs) -> None:
    """Raise where floating-point targets of cross_entropy are not one distribution a sample."""
    shape = (len(targets), *outputs.shape[1:])
    if tuple(targets.shape) != shape:
        raise ValueError(
            "floating-point targets of cross_entropy are probabilities and need the outputs' "
            f"shape {shape}, got {tuple(targets.shape)}: for labels call targets.long()"
        )
    total = targets.sum(dim=1)
    if targets.min() < 0 or (total - 1).abs().max() > 1e-3:
        raise ValueError(
            "floating-point targets of cross_entropy must be probabilities of the classes: the "
            f"lowest is {targets.min():.4g}, and their sums go from {total.min():.4g} to "
            f"{total.max():.4g}"
        )


def _random_states(device: torch.device) -> list[bytes]:
    """Where torch's random numbers stand: those of the CPU, and of the GPU if there is one."""
    states = [torch.get_rng_state()]
    if device.type == "cuda":
        states.append(torch.cuda.get_rng_state(device))
    return [state.numpy().tobytes() for state in states]


def _mix(seed: int, i: int) -> int:
    """A 63-bit seed for item i of a run with this seed; neighbouring pairs give unrelated ones."""
    if seed < 0:
        raise ValueError(f"seed must be an integer >= 0, got {seed}")
    high, low = np.random.SeedSequence([seed, i]).generate_state(2)
    return (int(high) << 31) ^ int(low)


def _free_memory(device: torch.device) -> int:
    if device.type == "cuda":
        return int(0.4 * torch.cuda.mem_get_info(device)[0])
    return 128 * 2**20  # more at once would not be faster, as it leaves the caches


def _refuse_unsuitable(model) -> None:
    """Raise for models that are no deterministic function of their parameters."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    if not any(p.requires_grad for p in model.parameters()):
        raise ValueError("the model has no trainable parameters (requires_grad=True)")
    for name, p in model.named_parameters():
        if isinstance(p, nn.parameter.UninitializedParameter):
            raise ValueError(
                f"parameter {name!r} has no shape yet (a lazy layer): run the model once on a "
                "batch, then pass it"
            )
        if p.dtype not in (torch.float32, torch.float64):
            cure = {
                True: "split it into a real and an imaginary part (torch.view_as_real)",
                False: "make it a buffer, or convert the model with model.float()",
            }[p.is_complex()]
            raise TypeError(f"parameter {name!r} has dtype {p.dtype}, not a real number: {cure}")
    for name, m in model.named_modules():
        kind = type(m).__name__
        if getattr(m, "running_mean", None) is not None:
            raise ValueError(
                f"layer {name!r} ({kind}) keeps running statistics: the loss would depend on what "
                "was evaluated before. Replace it by torch.nn.GroupNorm (torchvision models: "
                "norm_layer=lambda c: torch.nn.GroupNorm(8, c)), or build it with "
                "track_running_stats=False, which uses the statistics of the full training set"
            )
        rate = getattr(m, "p", None) if isinstance(m, nn.modules.dropout._DropoutNd) else None
        rate = m.dropout if isinstance(m, (nn.RNNBase, nn.MultiheadAttention)) else rate
        if m.training and rate:
            raise ValueError(
                f"layer {name!r} ({kind}) drops out with probability {rate}: the loss would be "
                "random. Call model.eval() first, or build the model without dropout"
            )
