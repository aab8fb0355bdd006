"""Three small families of image classifiers, each with a width and a depth.

None of them has batch normalisation or dropout: their loss is a deterministic function of their
parameters. ReLU networks, as in the paper, are smooth almost everywhere only; with ``"gelu"``,
``"softplus"`` or ``"tanh"`` gradients and Hessians exist at every point.
"""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["cnn", "mlp", "resnet"]

ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU, "softplus": nn.Softplus, "tanh": nn.Tanh}


def mlp(shape=(1, 28, 28), classes=10, *, width=16, depth=1, activation="relu") -> nn.Module:
    """Fully connected network with ``depth`` hidden layers of ``width`` units.

    Parameters
    ----------
    shape : tuple of int
        Shape of one input.
    classes : int
        Number of scores.
    width, depth : int
        Units of a hidden layer, and hidden layers; at least 1.
    activation : {"relu", "gelu", "softplus", "tanh"}
        After each hidden layer.

    Returns
    -------
    torch.nn.Module
        Maps inputs ``(n, *shape)`` to class scores ``(n, classes)``.

    Raises
    ------
    ValueError
        Another activation, or a width or depth that is no whole number above 0.

    Examples
    --------
    >>> import torch
    >>> import toscore as ts
    >>> network = ts.mlp((1, 8, 8), width=4, depth=2)
    >>> network(torch.zeros(5, 1, 8, 8)).shape, sum(p.numel() for p in network.parameters())
    (torch.Size([5, 10]), 330)
    """
    _check(width, depth, activation)
    layers: list[nn.Module] = [nn.Flatten()]
    units = int(torch.Size(shape).numel())
    for _ in range(depth):
        layers += [nn.Linear(units, width), ACTIVATIONS[activation]()]
        units = width
    return nn.Sequential(*layers, nn.Linear(units, classes))


def cnn(
    shape=(1, 28, 28), classes=10, *, width=8, depth=2, activation="relu", stride=1
) -> nn.Module:
    """Convolutional network: ``depth`` 3x3 convolutions with ``width`` channels.

    Each of the first two halves the image (2x2 mean pooling); the scores are a linear function of
    the channels' means, so the number of parameters does not depend on the image size.

    Parameters
    ----------
    shape : tuple of int
        (C, H, W) of one input.
    classes : int
        Number of scores.
    width, depth : int
        Channels, and convolutions; at least 1.
    activation : {"relu", "gelu", "softplus", "tanh"}
        After each convolution.
    stride : int
        That of the first convolution; from 3 on it reads patches of that size that do not overlap.

    Returns
    -------
    torch.nn.Module
        Maps inputs ``(n, C, H, W)`` to class scores ``(n, classes)``.

    Raises
    ------
    ValueError
        Another activation, or a width, depth or stride that is no whole number above 0.

    Examples
    --------
    >>> import torch
    >>> import toscore as ts
    >>> network = ts.cnn((1, 8, 8), width=4)
    >>> network(torch.zeros(5, 1, 8, 8)).shape, sum(p.numel() for p in network.parameters())
    (torch.Size([5, 10]), 238)
    """
    _check(width, depth, activation, stride)
    layers: list[nn.Module] = []
    for i in range(depth):
        layers += [nn.Conv2d(width, width, 3, padding=1) if i else _first(shape[0], width, stride)]
        layers += [ACTIVATIONS[activation]()] + ([_Half()] if i < 2 else [])
    return nn.Sequential(*layers, _Mean(), nn.Linear(width, classes))


class _Half(nn.Module):
    """2x2 mean pooling. Torch's own is slow side by side for many models, or falls back.

    Unbound, as the gradient of slices is put together from as many arrays of zeros.
    """

    def forward(self, x):
        height, width = (size // 2 for size in x.shape[-2:])
        if x.shape[-2:] != (2 * height, 2 * width):
            x = x[..., : 2 * height, : 2 * width]
        top, bottom = x.unflatten(-2, (height, 2)).unbind(-2)
        left, right = (top + bottom).unflatten(-1, (width, 2)).unbind(-1)
        return (left + right) / 4


class _Mean(nn.Module):
    """The channels' means over the image."""

    def forward(self, x):
        return x.mean(dim=(2, 3))


def _first(channels: int, width: int, stride: int) -> nn.Module:
    """The convolution that reads the image."""
    if stride < 3:
        return nn.Conv2d(channels, width, 3, stride, padding=1)
    return nn.Conv2d(channels, width, stride, stride)


class _Residual(nn.Module):
    """act(x + conv(act(conv(x))))."""

    def __init__(self, width: int, activation: str):
        super().__init__()
        self.branch = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1),
            ACTIVATIONS[activation](),
            nn.Conv2d(width, width, 3, padding=1),
        )
        self.after = ACTIVATIONS[activation]()

    def forward(self, x):
        return self.after(x + self.branch(x))


def resnet(
    shape=(3, 32, 32), classes=10, *, width=8, depth=2, activation="relu", stride=2
) -> nn.Module:
    """ResNet-like network: a strided convolution, then ``depth`` residual blocks of ``width``.

    The first convolution, with its ``stride``, makes the image smaller, and so does the 2x2 mean
    pooling after it. Nothing stands where the paper's network has batch normalisation:
    the loss after any normalisation does not depend on the length of the weights before it, so that
    weight decay would shrink them for ever, and there would be no minimum to find.

    Parameters
    ----------
    shape : tuple of int
        (C, H, W) of one input.
    classes : int
        Number of scores.
    width, depth : int
        Channels, and residual blocks of two 3x3 convolutions each; at least 1.
    activation : {"relu", "gelu", "softplus", "tanh"}
        After the first convolution, and within and after each block.
    stride : int
        That of the first convolution; from 3 on it reads patches of that size that do not overlap.

    Returns
    -------
    torch.nn.Module
        Maps inputs ``(n, C, H, W)`` to class scores ``(n, classes)``.

    Raises
    ------
    ValueError
        Another activation, or a width, depth or stride that is no whole number above 0.

    References
    ----------
    He et al. 2016 (arXiv:1512.03385), without its batch normalisation.

    Examples
    --------
    >>> import torch
    >>> import toscore as ts
    >>> network = ts.resnet((3, 32, 32), width=4)
    >>> network(torch.zeros(5, 3, 32, 32)).shape, sum(p.numel() for p in network.parameters())
    (torch.Size([5, 10]), 754)
    """
    _check(width, depth, activation, stride)
    layers = [_first(shape[0], width, stride), ACTIVATIONS[activation](), _Half()]
    layers += [_Residual(width, activation) for _ in range(depth)]
    return nn.Sequential(*layers, _Mean(), nn.Linear(width, classes))


def _check(width: int, depth: int, activation: str, stride: int = 1) -> None:
    for name, value in (("width", width), ("depth", depth), ("stride", stride)):
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be a whole number >= 1, got {value!r}")
    if activation not in ACTIVATIONS:
        raise ValueError(f"unknown activation {activation!r}: choose one of {list(ACTIVATIONS)}")
