"""Blunders, voids, refusals with their reasons, far shifts and correlated noise between two elevation models."""

from __future__ import annotations

import numpy as np
import pytest

from xcoreg.core.dem import DemWindow, parse_terms, solve
from xcoreg.core.dem.blunders import fill_blunders, find_blunders, plateau_value
from xcoreg.core.dem.covariance import Cells, correlated_covariance
from xcoreg.core.matches import Status
from xcoreg.simulate import DemNoise, dem_pair

GSD = 20.0
SHIFT = (9.2, 2.7, -2.0)


@pytest.fixture(scope="module")
def both():
    return dem_pair((160, 200), shift=SHIFT, noise=DemNoise(0.4, 0.6, 4.0, 0.0), seed=11)


def window(tgt, ref, valid=None):
    ok, level = np.ones(ref.shape, bool), np.float32(ref.mean())
    return DemWindow(tgt - level, ref - level, ok if valid is None else valid, ok, height=float(level)).cleaned()


def solved(tgt, ref, matcher="nuth_kaab", **how):
    return solve([window(tgt, ref)], parse_terms(matcher), to_metres=np.diag([GSD, -GSD]), **how)


def error_of(found):
    return np.array([found.move[0] * GSD, -found.move[1] * GSD, found.height[0]]) - SHIFT


def with_spikes(values, share, seed=3):
    rng = np.random.default_rng(seed)
    wrong = rng.random(values.shape) < share
    out = values.copy()
    out[wrong] += rng.uniform(50, 300, int(wrong.sum())) * rng.choice([-1, 1], int(wrong.sum()))
    return out.astype(np.float32), wrong


@pytest.mark.parametrize("share", [0.02, 0.1, 0.2])
def test_spikes_cost_next_to_nothing(both, share):
    spiky, _ = with_spikes(both.tgt.values, share)
    clean, found = (solved(tgt, both.ref.values) for tgt in (both.tgt.values, spiky))
    assert found.status is Status.OK
    assert np.abs(error_of(found) - error_of(clean)).max() < 0.12
    assert np.abs(error_of(found)[:2]).max() < 4 * np.sqrt(found.cov[0, 0]) * GSD


def test_spikes_are_found_and_terrain_is_not(both):
    spiky, wrong = with_spikes(both.tgt.values, 0.1)
    valid = np.ones(wrong.shape, bool)
    found = find_blunders(spiky, valid)
    assert (found & wrong).sum() > 0.9 * wrong.sum()
    assert (found & ~wrong).sum() < 0.002 * wrong.size
    assert find_blunders(both.tgt.values, valid).mean() < 5e-4
    left = np.abs(fill_blunders(spiky, found) - both.tgt.values)[found & wrong]
    assert np.median(left) < 3.0


def test_an_area_of_one_value_with_cliffs_is_no_terrain_and_a_lake_is(both):
    valid, hole = np.ones(both.ref.shape, bool), both.tgt.values.copy()
    hole[60:100, 70:130] = -100.0
    assert plateau_value(hole, valid) == -100.0
    lake = np.maximum(both.tgt.values, np.percentile(both.tgt.values, 15))
    assert plateau_value(lake, valid) is None
    found = solved(hole, both.ref.values)
    assert np.abs(error_of(found)).max() < 0.4


@pytest.mark.parametrize(
    ("change", "status", "reason"),
    [
        (lambda z: z * np.float32(3.2808), Status.DISAGREES, "feet"),
        (lambda z: z * np.float32(100), Status.DISAGREES, "centimetres"),
        (lambda z: -z, Status.DISAGREES, "opposite sign"),
        (lambda z: z * 0 + 7, Status.FLAT, "the target is constant"),
        (lambda z: z[:, ::-1].copy(), Status.NOT_IMPROVED, "different terrain"),
    ],
)
@pytest.mark.parametrize("matcher", ["nuth_kaab", "vertical"])
def test_models_that_cannot_agree_are_refused_with_the_true_reason(both, change, status, reason, matcher):
    found = solved(change(both.tgt.values), both.ref.values, matcher)
    assert found.status is status
    assert reason in found.refusal.reason
    assert found.refusal.cure


def test_an_overlap_that_is_a_line_is_named(both):
    valid = np.zeros(both.ref.shape, bool)
    valid[:, 80:82] = True
    found = solve([window(both.tgt.values, both.ref.values, valid)], parse_terms("nuth_kaab"))
    assert found.refusal.reason == "the valid overlap is only 2 px wide"


def test_a_far_shift_is_found():
    shift = (1100.0, -900.0, 4.0)
    pair = dem_pair((260, 300), shift=shift, noise=DemNoise(0.4, 0, 4, 0), seed=5)
    found = solved(pair.tgt.values, pair.ref.values)
    assert [found.move[0] * GSD, -found.move[1] * GSD] == pytest.approx(shift[:2], abs=0.4)


def test_a_bias_by_aspect_is_reported_and_enters_the_covariance(both):
    north, _ = np.gradient(both.tgt.values)
    canopy = np.where(north > 1.0, np.float32(12.0), np.float32(0.0))
    plain, found = solved(both.tgt.values, both.ref.values), solved(both.tgt.values + canopy, both.ref.values)
    assert plain.warnings == ()
    assert any("aspect" in text for text in found.warnings)
    assert abs(error_of(found)[1]) < 3 * np.sqrt(found.cov[1, 1]) * GSD
    assert found.cov[1, 1] > 25 * plain.cov[1, 1]


@pytest.mark.parametrize("length", [0.0, 4.0, 10.0])
def test_the_variance_of_a_mean_is_that_of_its_scatter(length):
    from scipy.ndimage import gaussian_filter

    rng, told, means = np.random.default_rng(8), [], []
    rows, cols = np.mgrid[:180, :180].astype(float)
    cells = Cells.over_positions([(cols.ravel(), rows.ravel())])
    for _ in range(40):
        noise = rng.standard_normal((240, 240))
        noise = (gaussian_filter(noise, length) if length else noise)[30:-30, 30:-30].ravel()
        told.append(correlated_covariance(cells.sums([noise - noise.mean()])[None])[0, 0])
        means.append(noise.sum() ** 2)
    assert 0.55 < np.mean(told) / np.mean(means) < 1.9


def test_points_in_any_order_have_one_covariance():
    rng = np.random.default_rng(4)
    x, y, noise = rng.uniform(0, 300, 4000), rng.uniform(0, 300, 4000), rng.standard_normal(4000)
    order = np.argsort(x)
    found = [
        correlated_covariance(Cells.over_positions([(x[at], y[at])]).sums([noise[at]])[None])[0, 0]
        for at in (np.arange(4000), order)
    ]
    assert found[0] == pytest.approx(found[1], rel=1e-9)
