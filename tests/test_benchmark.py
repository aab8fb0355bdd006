"""The rivals of the benchmark: honest on a surface whose passes are known."""

import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch

from toscore import Landscape, load_data, models, surfaces

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import paths as benchmark
import throughput
from methods import METHODS
from table import Table


@pytest.fixture(scope="module")
def surface():
    return surfaces.himmelblau()


def run(name, surface, ends, evaluations=1500):
    return benchmark.follow(METHODS[name], surface, ends, evaluations, None, 0)


@pytest.mark.parametrize("name", METHODS)
def test_rivals_begin_straight_keep_their_ends_and_come_down(name, surface):
    ends = surface.minima[torch.tensor([[0, 1], [0, 3]])]
    curves = METHODS[name](surface, ends, lambda: 0.0, 0)
    kind, first = next(curves)
    straight = benchmark.height(surface, "chain", ends)
    np.testing.assert_allclose(benchmark.height(surface, kind, first), straight, rtol=2e-3)
    kind, nodes, count, _, trace = run(name, surface, ends)
    assert torch.isfinite(nodes).all()
    assert torch.equal(nodes[:, [0, -1]], ends)
    top = benchmark.height(surface, kind, nodes)
    exact = benchmark.exact_passes(surface, [(0, 1), (0, 3)])
    assert (top >= exact - 1e-9).all()
    if name == "straight line":
        assert count == 0 and not trace
        return
    assert 1500 <= count < 1600 and len(trace) == len(benchmark.CHECKPOINTS)
    assert (top < straight).all()
    # each pair is worked on by itself
    if "random" not in name:
        _, alone, *_ = run(name, surface, ends[1:])
        np.testing.assert_allclose(alone[0], nodes[1], rtol=1e-6, atol=1e-6)


def test_the_string_method_finds_a_pass(surface):
    # its images are 17, so the maximum between them lies a little above the pass
    ends = surface.minima[torch.tensor([[0, 3]])]
    kind, nodes, *_ = run("string method, Adam", surface, ends, 8000)
    assert benchmark.height(surface, kind, nodes)[0] == pytest.approx(13.311926, abs=0.05)


def test_exact_passes_go_through_other_minima():
    surface = surfaces.mueller_brown()
    found = benchmark.exact_passes(surface, list(combinations(range(3), 2)))
    np.testing.assert_allclose(found, [-40.664844, -40.664844, -72.248940], atol=1e-6)


def test_height_of_a_polygon_and_of_a_curve():
    bowl = surfaces.from_function(lambda p: 4 - (p**2).sum(-1), [(-2, 2)] * 2)
    bent = torch.tensor([[[-1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]], dtype=torch.float64)
    # nearest to the origin: (1/2, 1/2) on the polygon; (0, 1/2) on the quadratic curve
    assert benchmark.height(bowl, "chain", bent)[0] == pytest.approx(3.5, abs=1e-4)
    assert benchmark.height(bowl, "bezier", bent)[0] == pytest.approx(3.75, abs=1e-4)


@pytest.mark.parametrize("family", ["mlp", "cnn", "resnet"])
def test_the_same_gradients_whichever_way_they_are_timed(family):
    data = load_data("digits", n_train=30)
    model = getattr(models, family)(data.shape, data.n_classes, width=3, activation="gelu")
    f = Landscape(model, data.x_train, data.y_train, weight_decay=1e-3)
    points = f.sample(4, 0)
    expected = f.loss_and_grad(points)[1]
    for way in (throughput.loop, throughput.wide_network):
        torch.testing.assert_close(way(f, model, points), expected, rtol=1e-3, atol=1e-5)


def test_a_table_without_new_rows_keeps_its_manifest(tmp_path):
    """Else a finished benchmark that is started again would be ascribed to this machine."""
    file, keys = tmp_path / "table.csv", ["method", "seed"]
    table = Table(file, keys)
    table.add({"method": "a", "seed": 0, "seconds": 1.0})
    table.finish(less=4)
    manifest = tmp_path / "manifest.json"
    manifest.write_text("that of another machine")
    Table(file, keys).finish(less=4)
    assert manifest.read_text() == "that of another machine"
    table = Table(file, keys)
    table.add({"method": "b", "seed": 0, "seconds": 2.0})
    table.finish(less=4)
    assert '"seconds": 3' in manifest.read_text()
