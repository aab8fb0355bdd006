"""Trends of TO-scores with answers worked out by hand, and networks that are made again."""

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from toscore import Landscape, barcode_of_minima, experiment, load_data, models, plots, run
from toscore import trends as trends_by
from toscore.experiment import CELL, MissingResult
from toscore.reproduce import rerun
from toscore.trends import (
    FLOOR,
    Trend,
    at_rest,
    below_ceiling,
    bounded,
    ceiling,
    claims,
    holds,
    lower_minima,
    median_pass,
    origins,
    stored,
    trend,
    trends,
    verdict,
)


def result(score, widths=(2, 4, 8), depths=(1, 2), seeds=(0, 1), rested=None):
    """Networks with two minima each, whose segment has the length score(width, depth, seed)."""
    codes, passes = {}, []
    for cell in ((w, d, s) for w in widths for d in depths for s in seeds):
        code = barcode_of_minima([0.0, 1.0], [(0, 1)], [1.0 + score(*cell)])
        codes[cell] = code
        keys = dict(zip(CELL, cell, strict=True))
        ok = rested is None or rested(*cell)
        passes.append(keys | {"i": 0, "j": 1, "rested": ok})
    segments = experiment._segments(codes)
    return SimpleNamespace(barcodes=lambda: codes, passes=pd.DataFrame(passes), segments=segments)


def test_a_power_law_is_found():
    found = trend(result(lambda w, d, s: (1 + s) * 3.0**d * w**-2.0))
    assert found.ratio == pytest.approx(0.25) and found.tau == -1 and found.networks == 12
    assert found.low == found.high == pytest.approx(0.25)  # one segment each: nothing to resample
    # four groups of three widths in 3! orders each; two of 6^4 are as extreme
    assert found.p == pytest.approx(2 / 6**4, abs=0.004)
    deeper = trend(result(lambda w, d, s: (1 + s) * 3.0**d * w**-2.0), "depth")
    assert deeper.ratio == pytest.approx(3) and deeper.tau == 1
    assert deeper.p == pytest.approx(2 / 2**6, abs=0.015)


def test_no_trend_is_no_trend():
    flat = trend(result(lambda w, d, s: 0.5))
    assert flat.ratio == 1 and flat.tau == 0 and flat.p == 1
    assert verdict(flat) == "can't tell"


def test_groups_have_their_own_level():
    # within each group the score falls, between them it rises: only the former counts
    found = trend(result(lambda w, d, s: 1000.0**d / w), "width")
    assert found.ratio == pytest.approx(0.5)


def test_several_results_are_resampled():
    falling, rising = (result(lambda w, d, s, k=k: float(w) ** k) for k in (-1, 1))
    both = trend([falling, rising])
    assert both.ratio == pytest.approx(1) and both.tau == 0 and both.networks == 24
    assert both.low == pytest.approx(0.5) and both.high == pytest.approx(2)
    table = trends({"a": falling, "b": rising})
    assert list(table.index) == ["a", "b", "all"]
    assert [verdict(row) for row in table.itertuples()] == ["agrees", "contradicts", "can't tell"]
    assert list(trends({"a": falling}).index) == ["a"]


def test_scores_of_zero_count_as_the_floor():
    found = trend(result(lambda w, d, s: 0.0 if w == 4 else FLOOR * 4, widths=(2, 4)))
    assert found.ratio == pytest.approx(0.25)


def test_only_networks_at_rest():
    def score(w, d, s):
        return 1.0 / w if s else 1.0 * w

    mixed = result(score, rested=lambda w, d, s: s == 1)
    assert at_rest(mixed) == {(w, d, 1) for w in (2, 4, 8) for d in (1, 2)}
    assert trend(mixed, only=at_rest).ratio == pytest.approx(0.5)
    assert trend(mixed, only=at_rest).networks == 6
    with pytest.raises(ValueError, match="differ in width alone"):
        trend(result(score, rested=lambda w, d, s: False), only=at_rest)


def test_a_result_without_a_network_that_counts_is_left_out():
    falling, never = result(lambda w, d, s: 1.0 / w), result(lambda w, d, s: w, rested=lambda *_: 0)
    alone, both = trend(falling, only=at_rest), trend([never, falling], only=at_rest)
    assert both.networks == alone.networks == 12 and both.ratio == alone.ratio
    assert (both.low, both.high) == pytest.approx((alone.low, alone.high))


def test_bad_factors():
    with pytest.raises(ValueError, match="'width' or 'depth', got 'length'"):
        trend(result(lambda w, d, s: 1.0), "length")
    with pytest.raises(ValueError, match="'width' or 'depth', got 'length'"):
        trends({"a": with_unfinished([])}, "length", only=trends_by.finished)
    with pytest.raises(ValueError, match="differ in depth alone"):
        trend(result(lambda w, d, s: 1.0, depths=(1,)), "depth")


def test_the_figure_shows_every_row():
    table = trends({k: result(lambda w, d, s: 1.0 / w) for k in ("a", "b")})
    ax = plots.trends(table)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["a", "b", "all"]
    points = [line.get_xdata() for line in ax.lines if len(line.get_xdata()) == 1]
    assert np.allclose(points, 0.5)


def test_each_size_on_its_own():
    one = result(lambda w, d, s: 5.0 if (w, d) == (2, 2) else 1.0)
    table = trends_by.at_each_size({"a": one, "b": one}, "depth")
    assert list(table.index) == ["width 2", "width 4", "width 8"]
    assert np.allclose(table.ratio, [5, 1, 1]) and np.allclose(table.tau, [1, 0, 0])
    falls = result(lambda w, d, s: 1.0 / w if d == 2 else 1.0)
    results = {"a": falls, "b": falls}
    table = trends_by.at_each_size(results, "width")
    assert list(table.index) == ["depth 1", "depth 2"] and np.allclose(table.ratio, [1, 0.5])
    assert trends_by.in_words(table) == (
        "More width makes segments shorter, as claimed, at depth 2, and is not settled at depth 1."
    )
    said = trends_by._against_claim(results, trends(results, "width"), "width")
    assert said.endswith("claim. Each depth on its own: can't tell at depth 1; agrees at depth 2.")
    table = trends_by.at_each_size({"a": result(lambda w, d, s: 1.0, depths=(1,))}, "depth")
    assert table.ratio.isna().all() and "longer" not in trends_by.in_words(table)
    with pytest.raises(ValueError, match="factor must be"):
        trends_by.at_each_size(results, "length")


def test_opposite_trends_at_two_sizes_are_told():
    rows = {"width 2": (2.0, 9.0, 0.01), "width 4": (0.1, 0.5, 0.01), "width 8": (2.0, 9.0, 0.2)}
    sizes = pd.DataFrame.from_dict(rows, "index", columns=["low", "high", "p"])
    assert trends_by.in_words(sizes) == (
        "More depth makes segments longer, against the claim, at width 2, and makes them shorter, "
        "as claimed, at width 4, and is not settled at width 8. A single verdict on depth "
        "says mostly which widths went into it."
    )


def test_claims_in_words():
    some = {k: result(lambda w, d, s: 4.0**d / w) for k in ("a", "b")}
    by = {factor: trends(some, factor) for factor in ("width", "depth")}
    table = trends_by.claims(by)
    assert list(table.index) == ["a", "b", "all"]
    table = table.map(lambda text: text.replace("\u00a0", " "))  # which keep a cell on one line
    assert (table["width"] == "×0.5 [0.5, 0.5]").all() and (table["depth"] == "×4 [4, 4]").all()
    assert (table["width: claim"] == "agrees").all()
    assert (table["depth: claim"] == "contradicts").all()


def said(whole, *others, step=0.01):
    """What is said of a trend with these (low, high, p), of all networks and of some."""
    rows = {
        ("width", f"some {k}"): (*one, 12, 0.5 + k * step) for k, one in enumerate([whole, *others])
    }
    table = pd.DataFrame.from_dict(rows, "index", columns=["low", "high", "p", "networks", "ratio"])
    table.index = pd.MultiIndex.from_tuples(table.index)
    return holds(table)


def test_a_trend_of_unfinished_networks_is_told_from_one_that_holds():
    falls, rises, open_, gone = (0.2, 0.8, 0.01), (1.2, 8, 0.01), (0.2, 8, 0.5), (np.nan,) * 3
    assert said(falls) == "**Width.** some 0 (12): agrees."
    assert said(falls, falls, falls).endswith("too, as far as the test for rest can see.")
    assert said(falls, falls, step=0).endswith("Nothing is unfinished: they are all the same.")
    assert "Nothing is unfinished" not in said(gone, gone, step=np.nan)  # nothing to compare
    assert said(falls, open_, falls).endswith("1 of the 1 narrower choices can't tell.")
    assert said(falls, open_, falls, falls).endswith("1 of the 2 narrower choices can't tell.")
    # the last are finished in every sense: if they can't tell, nothing is shown
    assert "what is unfinished may have made this trend" in said(falls, falls, open_)
    assert "what is unfinished may have made this trend" in said(falls, gone)
    assert "what is unfinished may well have made this trend" in said(falls, rises, falls)
    assert "what is unfinished may well have made this trend" in said(falls, falls, rises)
    assert "doesn't settle it either" in said(open_, open_, gone)
    assert "doesn't settle it either" in said(open_, rises, open_)
    assert "A hint and no verdict" in said(open_, open_, rises)
    assert "some 0 (12): can't tell; some 1 (12): contradicts." in said(open_, rises)


def test_networks_that_meet_no_other_are_not_counted():
    mixed = result(lambda w, d, s: 1.0 / w, rested=lambda w, d, s: s == 0 or w == 2)
    found = trend(mixed, "width", only=at_rest)  # of seed 1 a single width is left at each depth
    assert found.networks == 6 and found.ratio == pytest.approx(0.5)
    alone = result(lambda w, d, s: 1.0, rested=lambda w, d, s: w == 2)
    table = trends_by.compare({"a": alone}, {"all": None, "at rest": at_rest})
    assert table.loc["width"].networks.tolist() == [12, 0]
    assert table.loc["depth"].networks.tolist() == [12, 4]


def with_unfinished(unfinished):
    """Of three minima, the segments are 1 / width and ten; stationary and at rest but for some."""
    cells = [(w, 1, s) for w in (2, 4, 8) for s in (0, 1)]
    codes = {c: barcode_of_minima([0.0, 1, 1], [(0, 1), (0, 2)], [1 + 1 / c[0], 11]) for c in cells}
    keys = [dict(zip(CELL, c, strict=True)) for c in cells]
    minima = [
        k | {"minimum": m, "stationary": ("m", m) not in unfinished} for k in keys for m in range(3)
    ]
    passes = [
        k | {"i": 0, "j": j, "rested": ("p", j) not in unfinished} for k in keys for j in (1, 2)
    ]
    return SimpleNamespace(
        barcodes=lambda: codes,
        minima=pd.DataFrame(minima),
        passes=pd.DataFrame(passes),
        segments=experiment._segments(codes),
    )


def test_finished_segments_by_hand():
    def which(*unfinished):
        found = trends_by.finished(with_unfinished(unfinished))
        assert len({tuple(w) for w in found.values()}) == 1 and len(found) == 6
        return found[2, 1, 0].tolist()

    assert which() == [True, True, True]
    assert which(("m", 0)) == [False, True, True]
    assert which(("m", 2)) == which(("p", 2)) == which(("m", 2), ("p", 2)) == [True, True, False]
    assert which(("p", 1)) == [True, False, True]


@pytest.mark.parametrize("unfinished", [("m", 2), ("p", 2)])
def test_segments_that_are_not_finished_do_not_count(unfinished):
    whole = trend(with_unfinished([]), "width")
    part = trend(with_unfinished([unfinished]), "width", only=trends_by.finished)
    assert part.ratio == pytest.approx(0.5) and part.networks == 6
    assert 0.9 < whole.ratio < 1
    none = with_unfinished([("p", 1), ("p", 2)])
    table = trends({"a": none, "b": with_unfinished([unfinished])}, only=trends_by.finished)
    assert table.networks.tolist() == [0, 6, 6]
    assert table.ratio.isna().tolist() == [True, False, False]
    said = trends_by.claims({"width": table})
    assert said.loc["a"].tolist() == ["–", "–", "can't tell"]


def test_a_single_minimum_counts_if_it_is_stationary():
    def alone(stationary):
        cells = [(w, 1, 0) for w in (2, 4)]
        codes = {c: barcode_of_minima([0.0], np.zeros((0, 2), int), []) for c in cells}
        keys = [dict(zip(CELL, c, strict=True)) for c in cells]
        minima = pd.DataFrame([k | {"minimum": 0, "stationary": stationary} for k in keys])
        return SimpleNamespace(
            barcodes=lambda: codes,
            minima=minima,
            passes=pd.DataFrame(columns=[*CELL, "i", "j", "rested"]),
            segments=experiment._segments(codes),
        )

    assert trend(alone(True), only=trends_by.finished).networks == 2
    with pytest.raises(ValueError, match="no two of these networks differ in width alone"):
        trend(alone(False), only=trends_by.finished)


def test_a_barcode_without_a_death_is_an_error_in_every_comparison():
    broken = result(lambda w, d, s: 1.0)
    for cell in broken.barcodes():
        broken.barcodes()[cell] = barcode_of_minima([0.0, 1.0], np.zeros((0, 2), int), [])
    with pytest.raises(ValueError, match="joined to no lower minimum"):
        trends_by.compare({"a": broken}, {"all": None})


# -- from the store --------------------------------------------------------------------------------


@pytest.fixture
def made(tmp_path, monkeypatch):
    tiny = replace(
        experiment.EXPERIMENTS["cnn-svhn"]["smoke"],
        n_train=50,
        n_test=20,
        widths=(1, 2),
        minima={"steps": 2, "max_evaluations": 4},
        paths={"budget": 60, "certified": False},
    )
    monkeypatch.setitem(experiment.EXPERIMENTS["cnn-svhn"], "smoke", tiny)
    found = run("cnn-svhn", "smoke", results=tmp_path, workers=1, progress=False)
    return found, tmp_path


def test_what_is_stored_is_found_by_family(made):
    _, folder = made
    # the smoke profile would make what is missing: only the one that is there is asked for
    assert list(stored("cnn-svhn", profile="smoke", results=folder)) == ["cnn-svhn"]
    assert stored("resnet", profile="laptop", results=folder) == {}


@pytest.fixture
def two_profiles(made, monkeypatch):
    """Two cells in the profile laptop, of which the first is there in the profile gpu as well."""
    result, folder = made
    names = list(experiment.ATLAS)[:2]
    for name, profile in [(names[0], "laptop"), (names[1], "laptop"), (names[0], "gpu")]:
        target = folder / name / profile
        shutil.copytree(folder / result.name / "smoke", target)
        digest = experiment.EXPERIMENTS[name][profile].digest()
        manifest = json.loads((target / "manifest.json").read_text()) | {"settings_digest": digest}
        (target / "manifest.json").write_text(json.dumps(manifest))
    monkeypatch.delenv("TOSCORE_PROFILE", raising=False)
    return names, folder


def test_results_of_two_profiles_are_never_pooled(two_profiles, monkeypatch):
    names, folder = two_profiles

    def profiles(family):
        return [r.profile for r in stored(family, results=folder).values()]

    assert profiles("fc") == ["laptop", "laptop"]
    assert profiles(names[0]) == ["gpu"]  # as many cells in both
    monkeypatch.setenv("TOSCORE_PROFILE", "gpu")
    assert profiles("fc") == ["gpu"]


def test_nothing_stored_is_an_error_that_names_the_command(two_profiles, monkeypatch):
    names, folder = two_profiles
    with pytest.raises(MissingResult, match="toscore run cnn-mnist --profile laptop"):
        stored("cnn", results=folder)
    with pytest.raises(ValueError, match="'resnets': use fc, cnn or resnet"):
        stored("resnets", results=folder)
    monkeypatch.setenv("TOSCORE_PROFILE", "gpu")
    with pytest.raises(MissingResult, match=f"toscore run {names[1]} --profile gpu"):
        stored(names[1], results=folder)


def test_where_results_come_from_is_said_of_each(two_profiles):
    names, folder = two_profiles
    found = stored("fc", results=folder)
    one, two = found.values()
    assert "earlier" not in origins(found)
    day = one.manifest["finished"][:10]
    assert origins(found).startswith(f"Profile laptop, made between {day} and {day}. On ")
    two.manifest["hardware"] = "an abacus"
    assert f"On an abacus, torch {two.manifest['versions']['torch']}: {names[1]}." in origins(found)
    resumed = {**one.manifest, "hardware": "a slide rule"}
    two.manifest["resumed_by"] = [resumed, two.manifest]
    torch = two.manifest["versions"]["torch"]
    machines = f"On an abacus, torch {torch} and a slide rule, torch {torch}: {names[1]}."
    assert machines in origins(found)
    two.manifest["source_digest"] = "0"
    said = origins(found)
    assert f"Stale, that is, made by an earlier version of the code: {names[1]};" in said
    two.manifest["confirmed"] = [{"source_digest": one.manifest["source_digest"]}]
    said = origins(found)
    assert "Stale" not in said and f"with the same digits: {names[1]}." in said


def test_lower_minima_are_counted():
    size = [{"depth": d, "width": w} for d in (1, 2) for w in (2, 4)]
    one = SimpleNamespace(minima=pd.DataFrame(size).assign(loss=[4.0, 3.0, 1.0, 2.0]))
    text = lower_minima({"a": one})
    assert "in 1 of 2 pairs of data set and depth" in text
    assert "in 2 of 2 pairs of data set and width" in text


def test_tables_of_stored_results_hold_plain_means(made):
    found, _ = made
    minima, passes = found.minima, found.passes
    share = trends_by.shares(found)
    table = trends_by.sizes({"a": found, "b": found})
    assert list(table.index) == [(1, 1), (1, 2)]  # depth, width
    for (width, depth, seed), code in found.barcodes().items():
        own = minima[(minima.width == width) & (minima.seed == seed)]
        assert share[width, depth, seed] == pytest.approx(code.to_score() / own.loss.mean())
    wide = minima[minima.width == 2]
    row = table.loc[1, 2]
    assert row.test_error == pytest.approx(wide.test_error.mean())
    assert row.gradient == pytest.approx(wide.grad_norm.median())
    assert row.rested == pytest.approx(passes[passes.width == 2].rested.mean())
    scores = [code.to_score() for cell, code in found.barcodes().items() if cell[0] == 2]
    assert row["TO-score / loss"] == pytest.approx(np.mean(scores) / wide.loss.mean())


def test_findings_follow_the_numbers(made):
    found, _ = made
    up, down = (
        pd.DataFrame([{"ratio": r, "low": r / 2, "high": 1.5 * r, "p": 0.01}], index=["all"])
        for r in (8, 0.1)
    )
    text = trends_by.findings({"a": found}, {"width": down, "depth": up})
    assert "TO-score by 0.1 [0.05, 0.15]: the result **agrees with** the claim" in text
    assert "multiplies it by 8 [4, 12]: the result **contradicts** the claim" in text
    shares = trends_by.shares(found).unstack("width")
    falls = int((shares[shares.columns[-1]] < shares[shares.columns[0]]).sum())
    assert f"in {falls} of {len(shares)} pairs of networks" in text
    assert f"{len(found.minima)} minima" in trends_by.contents({"a": found})


UNSETTLED = pd.DataFrame([{"ratio": 1, "low": 0.5, "high": 2, "p": 1}])
OPEN = {"width": UNSETTLED, "depth": UNSETTLED}


def test_findings_say_how_many_minima_are_stationary(made):
    found, _ = made
    ended, n = found.minima.assign(stationary=True), len(found.minima)
    text = trends_by.findings({"a": replace(found, minima=ended)}, OPEN)
    assert f"All {n} minima reached" in text
    assert "upper bound, and" not in text
    ended.loc[0, "stationary"] = False
    text = trends_by.findings({"a": replace(found, minima=ended)}, OPEN)
    assert f"{n - 1} of {n} minima reached" in text
    assert "upper bound, and" in text


def test_findings_say_how_many_paths_are_at_rest_and_what_of_the_others(made):
    found, _ = made
    passes, n = found.passes.assign(rested=True, cut=False), len(found.passes)
    assert n > 3

    def said():
        return " ".join(trends_by.findings({"a": replace(found, passes=passes)}, OPEN).split())

    assert f"Of the {n} paths that were searched all had come to rest" in said()
    assert "Of the others" not in said()
    passes.loc[0, ["rested", "cut"]] = False, True
    assert f"searched {n - 1} had come to rest" in said()
    assert "Of the others 1 stay above it. The" in said()
    passes.loc[[1, 2], "rested"] = False
    assert "Of the others 1 stay above it, and the budget of 2 was used up. The" in said()


def test_networks_with_fewer_minima_than_starts_are_told(made):
    found, _ = made
    starts = found.manifest["settings"]["n_minima"]
    whole = found.minima.groupby(CELL).head(1)
    whole = pd.concat([whole] * starts)  # as many a network as there were starts
    assert "same minimum" not in trends_by.contents({"a": replace(found, minima=whole)})
    text = trends_by.contents({"a": replace(found, minima=whole.iloc[1:])})
    assert (
        f"In 1 of the networks some starts ended in the same minimum, so that {starts - 1}" in text
    )


def test_only_networks_whose_minima_are_all_stationary(made):
    found, _ = made
    minima = found.minima.assign(stationary=True)
    minima.loc[(minima.width == 2) & (minima.seed == 1) & (minima.minimum == 0), "stationary"] = (
        False
    )
    cells = trends_by.stationary(replace(found, minima=minima))
    assert cells == {cell for cell in found.barcodes() if cell != (2, 1, 1)}


def test_figures_of_stored_results(made):
    found, _ = made
    titles = [ax.get_title() for ax in plots.barcodes_by_size(found).axes]
    assert [t for t in titles if t] == ["width 1, depth 1", "width 2, depth 1"]
    assert len(plots.scores({"a": found, "b": found}).axes) == 2


def test_a_network_made_again_is_the_same(made):
    found, _ = made
    for network in (None, (2, 1, 1)):
        table = rerun(found, network)
        assert (table.difference <= 1e-6).all() and table.attrs["same_machine"]
        cell = network or (1, 1, 0)
        assert table.stored["TO-score"] == found.barcodes()[cell].to_score()
    with pytest.raises(ValueError, match=r"no network \(3, 1, 0\): choose one of"):
        rerun(found, (3, 1, 0))


@pytest.mark.parametrize("which", ["the first part", "a later part"])
def test_a_part_made_elsewhere_need_not_be_the_same(made, which):
    here, elsewhere = made[0].manifest["hardware"], "another processor"
    first, later = (elsewhere, here) if which == "the first part" else (here, elsewhere)
    manifest = made[0].manifest | {"hardware": first, "resumed_by": [{"hardware": later}]}
    table = rerun(replace(made[0], manifest=manifest), n_minima=1)
    assert not table.attrs["same_machine"]


def test_part_of_a_network_is_made_again(made):
    found, _ = made
    table = rerun(found, n_minima=1)
    first = found.minima[found.minima.start == 0].iloc[0]
    assert list(table.index) == ["losses"] and table.stored["losses"] == first.loss
    assert table.difference["losses"] <= 1e-6
    for n in (0, 99):
        with pytest.raises(ValueError, match=f"n_minima is {n}: .* has 1 to "):
            rerun(found, n_minima=n)


def test_a_changed_number_would_be_noticed(made):
    found, _ = made
    minima = found.minima.assign(loss=found.minima.loss * 0.99)
    assert rerun(replace(found, minima=minima)).difference["losses"] > 1e-3
    swapped = found.passes.assign(i=found.passes.j, j=found.passes.i)
    assert np.isnan(rerun(replace(found, passes=swapped)).difference["passes"])


def test_other_images_are_not_compared(made):
    found, _ = made
    data = found.manifest["data"] | {"checksum": "0" * 64}
    other = replace(found, manifest=found.manifest | {"data": data})
    with pytest.raises(ValueError, match="was made from other images of digits.*0000, found"):
        rerun(other)


def test_claims_of_depth_alone():
    table = pd.DataFrame({"ratio": [2.0], "low": [1.5], "high": [3.0], "p": [0.01]}, index=["a"])
    assert claims({"depth": table}).loc["a", "depth: claim"] == "contradicts"


def test_a_pass_above_the_ceiling_is_cut(made):
    found, _ = made
    high = replace(found, passes=found.passes.assign(saddle=99.0, rested=True))
    below = bounded(high)
    assert below.passes.cut.all() and not below.passes.rested.any() and not at_rest(below)
    loss = found.minima.set_index([*CELL, "minimum"]).loss
    for _, row in below.passes.iterrows():
        ends = [loss[(*row[CELL], row[side])] for side in "ij"]
        assert row.saddle == pytest.approx(np.log(10) + max(ends))
        assert row.excess == pytest.approx(row.saddle - max(ends))
    for cell, rows in below.segments.groupby(CELL):
        np.testing.assert_array_equal(rows.death, below.barcodes()[cell].death)
        finite = rows[np.isfinite(rows.death)]
        assert (finite.death - finite.birth <= np.log(10) * (1 + 1e-12)).all()
    searched = below.passes.maximum.notna()
    assert list(searched) == sorted(searched, reverse=True)  # what was added comes last
    assert (below.passes[searched][["i", "j"]] == found.passes[["i", "j"]]).all(axis=None)
    low = bounded(replace(found, passes=found.passes.assign(saddle=found.minima.loss.max())))
    assert not low.passes.cut.any() and (low.passes.rested == found.passes.rested).all()
    assert (low.passes.excess == found.passes.excess).all()


def test_a_segment_is_no_longer_than_guessing():
    """By hand: 0 and 1 meet only through 2, whose ceiling is higher than that of 1."""
    top = np.log(10)
    pairs, saddle, cut = below_ceiling("mnist", [0.1, 0.3, 0.9], [[0, 2], [1, 2]], [8.0, 9.0])
    assert pairs.tolist() == [[0, 2], [1, 2], [0, 1]] and cut.all()
    assert saddle == pytest.approx([top + 0.9, top + 0.9, top + 0.3])
    pairs, saddle, cut = below_ceiling("mnist", [0.3, 0.1], np.empty((0, 2), int), [])
    assert pairs.tolist() == [[0, 1]] and saddle == pytest.approx([top + 0.3]) and cut.all()
    pairs, saddle, cut = below_ceiling("mnist", [0.3, 0.1], [[0, 1]], [0.5])
    assert pairs.tolist() == [[0, 1]] and saddle.tolist() == [0.5] and not cut.any()


def test_a_verdict_needs_the_interval_and_p():
    sure = {"factor": "depth", "ratio": 2.0, "tau": 1.0, "networks": 12}
    assert verdict(Trend(low=1.5, high=3.0, p=0.01, **sure)) == "contradicts"
    assert verdict(Trend(low=1.5, high=3.0, p=0.2, **sure)) == "can't tell"
    assert verdict(Trend(low=0.9, high=3.0, p=0.01, **sure)) == "can't tell"
    assert verdict(Trend(low=0.2, high=0.9, p=0.01, **sure)) == "agrees"
    assert verdict(Trend(low=0.5, high=1.0, p=0.01, **sure)) == "can't tell"
    unknown = float("nan")
    assert verdict(Trend(low=unknown, high=unknown, p=0.01, **sure)) == "can't tell"


@pytest.mark.parametrize("family", ["mlp", "cnn", "resnet"])
@pytest.mark.parametrize("decay", [0.0, 0.05])
def test_the_way_over_a_guess_stays_below_the_ceiling(family, decay):
    """Chapter 9's proposition, on points far from any minimum."""
    data = load_data("digits", n_train=40)
    network = getattr(models, family)(data.shape, data.n_classes, width=3, activation="gelu")
    f = Landscape(network, data.x_train, data.y_train, weight_decay=decay).double()
    ends = 3 * f.sample(2, 0)
    bare = ends.clone()
    bare[:, -10 * 3 - 10 :] = 0
    c = torch.linspace(0, 1, 41, dtype=torch.float64)[:, None]
    path = [bare[k] + c * (ends[k] - bare[k]) for k in (0, 1)] + [bare[0] + c * (bare[1] - bare[0])]
    heights, at_ends = f.loss(torch.cat(path)), f.loss(ends)
    limit = max(*at_ends, np.log(10) + decay / 2 * (bare**2).sum(1).max())
    assert heights.max() <= limit + 1e-9
    assert limit <= ceiling("digits", [at_ends.tolist()])[0] + 1e-9


def test_bounding_twice_changes_nothing(made):
    found, _ = made
    passes = found.passes.copy()
    passes.loc[:1, "saddle"] = 50.0
    once = bounded(replace(found, passes=passes))
    assert once.passes.cut.sum() >= 2 and not once.passes.rested[once.passes.cut].any()
    twice = bounded(once)
    for table in ("passes", "segments"):
        pd.testing.assert_frame_equal(getattr(twice, table), getattr(once, table))


def test_networks_that_nothing_connects_have_no_trend(made):
    found, _ = made
    apart = replace(found, passes=found.passes[found.passes.width != 2])
    with pytest.raises(ValueError, match="joined to no lower minimum"):
        trend(apart, "width")


def test_median_pass():
    rows = [
        (2, 1, 0, 5.0, True),
        (2, 1, 0, 1.0, True),
        (2, 1, 0, 3.0, False),  # not at rest
        (2, 1, 0, 2.0, True),
        (2, 1, 0, 4.0, True),
        (2, 2, 0, 0.5, True),  # another network
        (4, 1, 0, 0.5, False),
    ]
    some = SimpleNamespace(passes=pd.DataFrame(rows, columns=[*CELL, "excess", "rested"]))
    assert median_pass(some, (2, 1, 0)).excess == 4.0  # of 1, 2, 4, 5 the higher of the middle two
    assert median_pass(some, [2, 2, 0]).excess == 0.5
    assert median_pass(some, (4, 1, 0)) is None
    assert median_pass(some, (8, 1, 0)) is None
