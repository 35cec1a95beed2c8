"""Millions of points through a spline's lattice."""

from __future__ import annotations

import numpy as np
import pytest

from xcoreg.georef import GCPs, fit_gcps, read_rpcs, transform_points
from xcoreg.georef.ground import TOLERANCE, approximate_to_map, approximate_to_pixel


def swath(noise, seed=1):
    rng = np.random.default_rng(seed)
    col, row = rng.uniform(0, 1000, (2, 150))
    lon = 179.9 + 2e-4 * col + 3e-5 * row + 1e-8 * col * row
    lat = -16 - 2e-4 * row + 3e-5 * col + noise * rng.standard_normal(150)
    return fit_gcps(GCPs(col, row, (lon + 180) % 360 - 180, lat, crs=4326), "tps")


def test_positions_agree_inside_and_beyond_in_any_turn():
    fit = swath(noise=1e-6)
    fast = approximate_to_pixel(fit, (1000, 1000))
    assert fast != fit.to_pixel
    col, row = np.random.default_rng(2).uniform(-100, 1100, (2, 5000))
    x, y = fit.to_map(col, row)
    for turn in (0.0, -360.0):
        found = fast(x + turn, y)
        assert np.abs(np.subtract(found, (col, row))).max() < 5 * TOLERANCE


def test_a_rough_map_stays_exact():
    fit = swath(noise=4e-3)
    assert approximate_to_pixel(fit, (1000, 1000)) == fit.to_pixel


@pytest.mark.parametrize(("model", "order"), [("polynomial", 3), ("tps", None)])
def test_points_in_another_crs(model, order):
    rng = np.random.default_rng(4)
    col, row = rng.uniform(0, 1000, (2, 200))
    x, y = 5e5 + 10 * col + 2e-3 * col * row, 5e6 - 10 * row + 1e-3 * col**2
    x, y = x + 0.05 * rng.standard_normal(200), y + 0.05 * rng.standard_normal(200)
    fit = fit_gcps(GCPs(col, row, x, y, crs=32633), model, order=order)
    at = rng.uniform(-0.4, 999.4, (2, 5000))
    lonlat = transform_points(32633, 4326, *fit.to_map(*at))
    found = approximate_to_pixel(fit, (1000, 1000), 4326)(*lonlat)
    assert np.abs(np.subtract(found, at)).max() < 3 * TOLERANCE
    back = transform_points(4326, 32633, *approximate_to_map(fit, (1000, 1000), 4326)(*at))
    assert np.abs(np.subtract(back, fit.to_map(*at))).max() < 3 * TOLERANCE * 10


def test_real_rpcs_are_approximated_by_a_grid(data_dir):
    ground = read_rpcs(data_dir / "formats" / "RGB.byte.rpc.vrt")
    fast = approximate_to_pixel(ground, (718, 791))
    assert fast != ground.to_pixel
    at = np.random.default_rng(5).uniform(0, 700, (2, 3000))
    assert np.abs(np.subtract(fast(*ground.to_map(*at)), at)).max() < 3 * TOLERANCE


def test_longitudes_that_jump_are_returned_as_before():
    fit = swath(noise=0.0)
    assert approximate_to_map(fit, (1000, 1000), 32701) != fit.to_map
    at = np.random.default_rng(5).uniform(-100, 1100, (2, 500))
    np.testing.assert_allclose(approximate_to_map(fit, (1000, 1000))(*at), fit.to_map(*at), atol=1e-6)
    utm = GCPs(fit.gcps.col, fit.gcps.row, *transform_points(4326, 32701, fit.gcps.x, fit.gcps.y), crs=32701)
    lon, _ = approximate_to_map(fit_gcps(utm, "tps"), (1000, 1000), 4326)(*at)
    assert np.abs(lon).max() <= 180


def test_thousands_of_noisy_points_are_looked_up_far_below_their_noise():
    rng = np.random.default_rng(6)
    col, row = rng.uniform(0, 3000, (2, 4000))
    x, y = 5e5 + 10 * col + rng.standard_normal(4000), 5e6 - 10 * row + rng.standard_normal(4000)
    fit = fit_gcps(GCPs(col, row, x, y, crs=32633), "tps")
    fast = approximate_to_pixel(fit, (3000, 3000))
    assert fast != fit.to_pixel
    at = rng.uniform(0, 2999, (2, 2000))
    errors = np.subtract(fast(*fit.to_map(*at)), at)
    assert np.sqrt(np.mean(errors**2)) < 2 * TOLERANCE < fit.left_out.rmse_px / 20
