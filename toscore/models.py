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

    Maps inputs (n, *shape) to class scores (n, classes). ``shape`` is the shape of one input.
    """
    _check(width, depth, activation)
    layers: list[nn.Module] = [nn.Flatten()]
    units = int(torch.Size(shape).numel())
    for _ in range(depth):
        layers += [nn.Linear(units, width), ACTIVATIONS[activation]()]
        units = width
    return nn.Sequential(*layers, nn.Linear(units, classes))


def cnn(shape=(1, 28, 28), classes=10, *, width=8, depth=2, activation="relu") -> nn.Module:
    """Convolutional network: ``depth`` 3x3 convolutions with ``width`` channels.

    Each of the first two halves the image (2x2 mean pooling); the scores are a linear function of
    the channels' means, so the number of parameters does not depend on the image size.
    Maps inputs (n, C, H, W) to class scores (n, classes).
    """
    _check(width, depth, activation)
    layers: list[nn.Module] = []
    channels = shape[0]
    for i in range(depth):
        layers += [nn.Conv2d(channels, width, 3, padding=1), ACTIVATIONS[activation]()]
        layers += [nn.AvgPool2d(2)] if i < 2 else []
        channels = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))


class _Residual(nn.Module):
    """x + conv(act(norm(conv(x)))), with the norm over groups of channels of one image."""

    def __init__(self, width: int, activation: str):
        super().__init__()
        self.branch = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1),
            nn.GroupNorm(1, width),
            ACTIVATIONS[activation](),
            nn.Conv2d(width, width, 3, padding=1),
        )
        self.after = ACTIVATIONS[activation]()

    def forward(self, x):
        return self.after(x + self.branch(x))


def resnet(shape=(3, 32, 32), classes=10, *, width=8, depth=2, activation="relu") -> nn.Module:
    """ResNet-like network: a strided convolution, then ``depth`` residual blocks of ``width``.

    The image is halved before the first and after the first block. Group normalisation (one
    group) stands where the paper's network has batch normalisation, whose running statistics
    are no function of the parameters. Maps inputs (n, C, H, W) to class scores (n, classes).
    """
    _check(width, depth, activation)
    layers: list[nn.Module] = [
        nn.Conv2d(shape[0], width, 3, stride=2, padding=1),
        ACTIVATIONS[activation](),
    ]
    for i in range(depth):
        layers.append(_Residual(width, activation))
        layers += [nn.AvgPool2d(2)] if i == 0 else []
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))


def _check(width: int, depth: int, activation: str) -> None:
    for name, value in (("width", width), ("depth", depth)):
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be a whole number >= 1, got {value!r}")
    if activation not in ACTIVATIONS:
        raise ValueError(f"unknown activation {activation!r}: choose one of {list(ACTIVATIONS)}")
