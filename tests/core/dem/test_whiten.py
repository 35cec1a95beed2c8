"""Local means that whiten correlated noise, and the variance of an offset."""

from __future__ import annotations

import numpy as np
import pytest

from xcoreg.core.dem import DemWindow, Terms, solve
from xcoreg.core.dem.correlated import mean_variance
from xcoreg.core.dem.whiten import LocalMean
from xcoreg.simulate.terrain import DemNoise, _errors, dem_pair

SHAPE, TRUTH = (130, 150), np.array([0.45, -0.15])


def noise(seed, white, correlated, length):
    return _errors(SHAPE, DemNoise(white, correlated, length, 0.0), np.random.default_rng(seed))


@pytest.fixture(scope="module")
def both():
    return dem_pair(SHAPE, shift=(9.0, 3.0, 0.0), noise=DemNoise(0.0, 0.0, 5.0, 0.0), seed=5)


def solved(both, errors, side=None):
    ok = np.ones(SHAPE, bool)
    tgt, ref = both.tgt.values - 500 + errors, both.clean.values - 500
    window = DemWindow(tgt.astype(np.float32), ref.astype(np.float32), ok, ok)
    return solve([window.cleaned()], Terms(shift=True), side=side)


def test_correlated_noise_costs_a_fraction_and_its_sigma_is_right(both):
    found = [[solved(both, noise(seed, 0.2, 1.0, 8.0), side) for side in (None, 0)] for seed in range(8)]
    off = np.array([[one.move - TRUTH for one in pair] for pair in found])
    rms = np.sqrt((off**2).mean((0, 2)))
    assert rms[0] < 0.35 * rms[1]
    sigma = np.array([np.sqrt(np.diag(pair[0].cov)[:2]) for pair in found])
    assert 0.5 < np.sqrt((off[:, 0] ** 2 / sigma**2).mean()) < 1.6
    assert all(pair[0].side > 0 for pair in found)


def test_white_noise_is_left_as_it_is(both):
    one, other = (solved(both, noise(1, 1.5, 0.0, 5.0), side) for side in (None, 0))
    assert one.side == 0
    assert np.array_equal(one.move, other.move)


def test_local_means_keep_the_equation(both):
    """What is proportional stays proportional, whatever the weights; a constant vanishes."""
    rng = np.random.default_rng(0)
    at = np.flatnonzero(rng.random(SHAPE) < 0.8)
    off = LocalMean(9, SHAPE, at, rng.random(len(at)).astype(np.float32))
    slope = rng.standard_normal(len(at)).astype(np.float32)
    assert np.allclose(off(3 * slope + 7), 3 * off(slope), atol=1e-4)


@pytest.mark.parametrize("length", [4.0, 25.0])
def test_the_variance_of_an_offset_covers_long_ranges(length):
    shape, z = (40, 50), []
    for seed in range(40):
        field = _errors((160, 200), DemNoise(0.3, 1.0, length, 0.0), np.random.default_rng(seed))
        cells = field.reshape(40, 4, 50, 4).sum((1, 3))
        z.append(field.mean() / np.sqrt(mean_variance(cells, np.full(shape, 16.0))))
    assert 0.75 < np.sqrt(np.mean(np.square(z))) < 1.4


def test_few_cells_have_no_variogram():
    assert np.isnan(mean_variance(np.ones((2, 3)), np.ones((2, 3))))
