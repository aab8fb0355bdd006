"""What the stored experiments compute: their settings, validated, in three profiles each.

A result holds its own settings, and a change of them is noticed by their hash.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, field, replace
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    StrictBool,
    field_validator,
    with_config,
)
from pydantic.dataclasses import dataclass
from typing_extensions import TypedDict

__all__ = ["ATLAS", "EXPERIMENTS", "KINDS", "Settings"]


def _each_once(values):
    if len(set(values)) < len(values):
        raise ValueError(f"every value may be given once, got {values}")
    return values


_Some = Annotated[tuple[PositiveInt, ...], Field(min_length=1), AfterValidator(_each_once)]
_Seeds = Annotated[tuple[NonNegativeInt, ...], Field(min_length=1), AfterValidator(_each_once)]
_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)


@with_config(_STRICT)
class Training(TypedDict, total=False):
    """Further settings of :func:`toscore.find_minima`."""

    steps: NonNegativeInt
    lr: PositiveFloat
    schedule: Literal["annealed", "constant"]
    batch_size: PositiveInt
    max_evaluations: NonNegativeInt
    preconditioned: NonNegativeInt
    newton_steps: NonNegativeInt
    grad_tol: PositiveFloat
    same: NonNegativeFloat


@with_config(_STRICT)
class Relaxing(TypedDict, total=False):
    """Further settings of :func:`toscore.connect`."""

    budget: PositiveInt
    tol: NonNegativeFloat
    settled: NonNegativeFloat
    restarts: PositiveInt
    certified: StrictBool


@dataclass(frozen=True, config=_STRICT)
class Settings:
    """All that decides the numbers of an experiment, and nothing else.

    Validated by pydantic.

    Attributes
    ----------
    dataset : str
        "digits", "mnist", "fashion_mnist", "cifar10", "cifar100" or "svhn".
    n_train, n_test : int or None
        Images, even by class; None means all there are.
    family : str
        "mlp", "cnn" or "resnet": :func:`toscore.mlp`, :func:`toscore.cnn`, :func:`toscore.resnet`.
    widths, depths, seeds : tuple of int
        A network for each combination.
    n_minima : int
        Starts a network, and of each of the ``kinds``.
    activation : str
        "relu", "gelu", "softplus" or "tanh".
    stride : int or None
        That of the first convolution; None means the family's own.
    pooling : int
        Images are averaged over squares of so many pixels a side, for networks that would need a
        weight for each.
    weight_decay : float
        As for :class:`toscore.Landscape`.
    minima : dict
        Further settings of :func:`toscore.find_minima`.
    kinds : dict of dict
        Each overrides settings of ``minima``: ``n_minima`` are trained of each, from the same
        starts, and share one barcode.
    paths : dict
        Further settings of :func:`toscore.connect`.
    device : str
        "cpu" or "cuda".

    Raises
    ------
    ValueError
        A field with a bad value, which pydantic's ``ValidationError`` names.

    Examples
    --------
    >>> from toscore.experiment import EXPERIMENTS
    >>> settings = EXPERIMENTS["fc-mnist"]["smoke"]
    >>> settings.dataset, settings.widths, settings.n_minima
    ('digits', (2, 4), 3)
    """

    dataset: Literal["digits", "mnist", "fashion_mnist", "cifar10", "cifar100", "svhn"]
    n_train: PositiveInt | None
    n_test: PositiveInt | None
    family: Literal["mlp", "cnn", "resnet"]
    widths: _Some
    depths: _Some
    seeds: _Seeds
    n_minima: PositiveInt
    activation: Literal["relu", "gelu", "softplus", "tanh"] = "gelu"
    stride: PositiveInt | None = None
    pooling: PositiveInt = 1
    weight_decay: NonNegativeFloat = 1e-3
    minima: Training = field(default_factory=dict)
    kinds: dict[str, Training] = field(default_factory=dict)
    paths: Relaxing = field(default_factory=dict)
    device: Literal["cpu", "cuda"] = "cpu"

    @field_validator("stride")
    @classmethod
    def _convolves(cls, stride, info):
        if stride and info.data.get("family") == "mlp":
            raise ValueError("a fully connected network has no stride: leave it out")
        return stride

    def digest(self) -> str:
        """sha256 of the settings, in hex: a stored result holds it, so that a change is noticed.

        Examples
        --------
        >>> from toscore.experiment import EXPERIMENTS
        >>> len(EXPERIMENTS["fc-mnist"]["smoke"].digest())
        64
        """
        text = json.dumps(asdict(self), sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()


FAMILIES = {"fc": "mlp", "cnn": "cnn", "resnet": "resnet"}
DATASETS = "mnist", "fashion_mnist", "cifar10", "cifar100", "svhn"


def _profiles(dataset: str, family: str) -> dict[str, Settings]:
    """The three profiles of one cell of the atlas."""
    convolutional = family != "mlp"
    relaxing = {"certified": False, "settled": 0.2, "tol": 0.3}
    # ResNet-like networks without normalisation are steep, and slow to descend
    evaluations = {"mlp": 10_000, "cnn": 4800, "resnet": 12_000}[family]
    budget = {"mlp": 48_000, "cnn": 40_000, "resnet": 40_000}[family]
    laptop = Settings(
        dataset=dataset,
        n_train=100 if convolutional else 200,
        n_test=1000 if dataset == "svhn" else 2000,  # of its sample no more are even by class
        family=family,
        widths=(2, 4, 8),
        depths=(1, 2),
        seeds=(0, 1),
        n_minima=5,
        stride=4 if convolutional else None,
        pooling=1 if convolutional or "mnist" in dataset else 2,  # about as many pixels in each
        minima={"max_evaluations": evaluations},
        paths=relaxing | {"budget": budget} | ({"tol": 0.5} if convolutional else {}),
    )
    smoke = replace(
        laptop,
        dataset="digits",
        n_train=200,
        n_test=100,
        widths=(2, 4),
        depths=(1,),
        n_minima=3,
        stride=None,
        pooling=1,
        minima={"steps": 50, "max_evaluations": 200},
        paths={"budget": 400, "certified": False},
    )
    gpu = replace(
        laptop,
        n_train=10_000 if convolutional else None,
        n_test=None,
        widths=(4, 8, 16, 32) if convolutional else (4, 8, 16, 32, 64, 128),
        depths=(1, 2, 3),
        seeds=(0, 1, 2),
        n_minima=8,
        stride=None,
        pooling=1,
        minima={},
        paths=relaxing | {"budget": 30_000, "settled": 0.05},
        device="cuda",
    )
    return {"smoke": smoke, "laptop": laptop, "gpu": gpu}


# The same steps from the same starts: small ones of one size, or large ones that shrink to nothing.
# Mini-batches make them differ, as full gradients would lead both into the next best minimum.
KINDS = {
    "constant": {"schedule": "constant", "lr": 0.001},
    "annealed": {"schedule": "annealed", "lr": 0.05},
}


def _kinds(dataset: str, family: str) -> dict[str, Settings]:
    """The three profiles of an experiment with two kinds of minima of one network."""

    def changed(settings, width, depth, n_minima, **training):
        return replace(
            settings,
            widths=(width,),
            depths=(depth,),
            seeds=(0,),
            n_minima=n_minima,
            minima=settings.minima | training,
            kinds=KINDS,
        )

    cell = _profiles(dataset, family)
    # small enough that training ends: the wider and deeper ones of the cells seldom get there
    depth = 1 if family == "resnet" else 2
    laptop = changed(cell["laptop"], 4, depth, 8, batch_size=20, steps=1500, max_evaluations=5000)
    return {
        "smoke": changed(cell["smoke"], 2, 2, 3, batch_size=20),
        "laptop": replace(laptop, paths=laptop.paths | {"budget": 20_000}),
        "gpu": changed(cell["gpu"], 32, 2, 16, batch_size=100, steps=10_000),
    }


EXPERIMENTS: dict[str, dict[str, Settings]] = {
    f"{short}-{dataset}": _profiles(dataset, family)
    for short, family in FAMILIES.items()
    for dataset in DATASETS
}
ATLAS = tuple(EXPERIMENTS)  # its fifteen cells; what follows is for the second observation
EXPERIMENTS |= {
    f"kinds-{short}-{dataset}": _kinds(dataset, FAMILIES[short])
    for short, dataset in (
        *(("cnn", "fashion_mnist"), ("resnet", "cifar10")),
        *(("cnn", "svhn"), ("resnet", "mnist")),
    )
}
# Experiments in which the L-BFGS of their family does not end all descents, or its budget not all
# paths: what does instead, and this many times the budget. Newton's method ends a descent, but for
# networks of many parameters of which a gradient costs next to nothing. Rounds of preconditioned
# L-BFGS came later: they take fewer Hessians, and a short L-BFGS before them is enough.
_SHORT = {"max_evaluations": 2000, "preconditioned": 300}
FURTHER: dict[str, tuple[dict, int]] = {
    **dict.fromkeys(
        (
            *("fc-mnist", "fc-fashion_mnist", "fc-cifar10", "fc-svhn"),
            *("cnn-cifar10", "kinds-cnn-fashion_mnist", "kinds-resnet-cifar10"),
        ),
        ({"newton_steps": 100}, 10),
    ),
    # in flat valleys a hundred are not enough
    **dict.fromkeys(("cnn-cifar100", "cnn-svhn", "resnet-cifar10"), ({"newton_steps": 300}, 10)),
    "resnet-svhn": ({"newton_steps": 3000}, 10),  # two minima of one network need more than 300
    "resnet-cifar100": ({"preconditioned": 100}, 10),
    "kinds-resnet-mnist": ({"preconditioned": 100}, 1),  # ten times would be hours
    "fc-cifar100": ({"max_evaluations": 40_000}, 10),
    **dict.fromkeys(("cnn-mnist", "cnn-fashion_mnist"), (_SHORT, 10)),
    # a path in each sinks on for more than 400,000 gradients
    **dict.fromkeys(("resnet-mnist", "resnet-fashion_mnist"), (_SHORT, 20)),
}
for name, (limits, times) in FURTHER.items():
    first = EXPERIMENTS[name]["laptop"]
    paths = first.paths | {"budget": times * first.paths["budget"]}
    EXPERIMENTS[name]["laptop"] = replace(first, minima=first.minima | limits, paths=paths)
