"""toscore: barcodes of the minima of loss functions, and how hard minima are to escape."""

from toscore import morse, sampling, surfaces
from toscore.barcode import (
    Barcode,
    barcode_of_graph,
    barcode_of_grid,
    barcode_of_minima,
    bootstrap_interval,
)
from toscore.curves import bezier
from toscore.data import Data, load_data
from toscore.landscape import Landscape
from toscore.minima import Minima, find_minima
from toscore.models import cnn, mlp, resnet
from toscore.paths import Paths, certify, connect, loss_barcode
from toscore.saddles import Saddle, find_saddle, lowest_eigenvalues
from toscore.surfaces import Surface

__version__ = "0.1.0"

_OF_EXPERIMENTS = "MissingResult", "Result", "load_or_run", "run"


def __getattr__(name: str):
    """Stored experiments need pydantic; the rest is to work where it is not installed."""
    if name not in _OF_EXPERIMENTS:
        raise AttributeError(f"module 'toscore' has no attribute {name!r}")
    from toscore import experiment

    return getattr(experiment, name)
