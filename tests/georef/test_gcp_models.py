"""Fitting control points: numbers against other solvers, refusals, warnings, both ways."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from rasterio.transform import GCPTransformer, from_gcps

from xcoreg.errors import LowSupport, OptionError
from xcoreg.georef import GCPs, fit_gcps, read_gcps, surfaces

SHAPE = (600, 800)
COUNTS = {1: 3, 2: 6, 3: 10, 4: 15, 5: 21}


def bent(col, row):
    """A swath: turned, sheared, bent to the third order, over UTM."""
    u, v = col / 800, row / 600
    x = 5e5 + 9.8 * col + 1.7 * row + 40 * u * v + 15 * u**3
    return x, 5e6 + 1.7 * col - 9.8 * row + 25 * v**2 - 8 * u * v**2


def scattered(n, seed=1, noise=0.0):
    rng = np.random.default_rng(seed)
    col, row = rng.uniform(0, SHAPE[1], n), rng.uniform(0, SHAPE[0], n)
    x, y = bent(col, row)
    dx, dy = noise * rng.standard_normal((2, n))
    return GCPs(col, row, x + dx, y + dy, crs=32633)


def refit_without(gcps, i, *args, **options):
    keep = np.arange(len(gcps)) != i
    fit = fit_gcps(gcps.select(keep), *args, **options)
    x, y = fit.to_map(gcps.col[i], gcps.row[i])
    return gcps.x[i] - x, gcps.y[i] - y


def test_affine_equals_rasterio_and_the_seeds_numbers():
    rotated = (9.8, 1.7, 5e5, 1.7, -9.8, 5e6)
    col, row = np.random.default_rng(3).uniform(0, 500, (2, 12))
    a, b, c, d, e, f = rotated
    gcps = GCPs.from_gdal(col, row, a * col + b * row + c, d * col + e * row + f, crs=32633)
    fit = fit_gcps(gcps, "affine")
    np.testing.assert_allclose(tuple(fit.transform)[:6], rotated, rtol=1e-12)
    np.testing.assert_allclose(tuple(fit.transform)[:6], tuple(from_gcps(gcps.to_rasterio()))[:6], rtol=1e-9)
    col, row = fit.to_pixel(500250, 4999100)
    assert (float(col) + 0.5, float(row) + 0.5) == pytest.approx((9.2995047, 93.4499141), abs=5e-8)


@pytest.mark.parametrize("order", [1, 2, 3, 4, 5])
@pytest.mark.filterwarnings("ignore::xcoreg.errors.LowSupport")
def test_polynomials_of_every_order_are_recovered_from_the_fewest_points(order):
    gcps = scattered(COUNTS[order], seed=order)
    fit = fit_gcps(gcps, "polynomial", order=order)
    assert fit.residuals.rmse_r < 1e-6
    assert np.isnan(fit.left_out.rmse_r)
    if order >= 3:
        grid = np.meshgrid(np.linspace(0, 799, 9), np.linspace(0, 599, 9))
        np.testing.assert_allclose(fit.to_map(*grid), bent(*grid), atol=1e-2)
    with pytest.raises(OptionError, match=r"needs at least|no map"):
        fit_gcps(gcps.select(slice(1, None)), "polynomial", order=order)


@pytest.mark.parametrize(("model", "order"), [("affine", None), ("polynomial", 3), ("homography", None), ("tps", None)])
def test_both_ways_to_a_millionth_of_a_pixel(model, order):
    fit = fit_gcps(scattered(60, noise=5.0), model, order=order)
    col, row = np.random.default_rng(5).uniform(-50, 850, (2, 4000))
    back = fit.to_pixel(*fit.to_map(col, row))
    assert np.abs(np.subtract(back, (col, row))).max() < 1e-6


def test_a_point_far_away_has_no_place_or_the_right_one():
    fit = fit_gcps(scattered(60), "polynomial", order=3)
    col, row = fit.to_pixel([5e5 + 1e6, 5e5 - 1e9, np.nan], [5e6, 5e6 - 1e9, 0.0])
    inside = (col > -0.5) & (col < 800) & (row > -0.5) & (row < 600)
    assert not inside.any()
    assert np.isnan(col[2])


@pytest.mark.filterwarnings("ignore::xcoreg.errors.LowSupport")
@pytest.mark.parametrize(
    ("model", "order", "rtol"),
    [("polynomial", 1, 1e-9), ("polynomial", 3, 1e-8), ("tps", None, 1e-7), ("homography", None, 0.02)],
)
def test_left_out_residuals_equal_refitting(model, order, rtol):
    gcps = scattered(30, noise=3.0)
    fit = fit_gcps(gcps, model, order=order)
    for i in (0, 7, 29):
        expected = refit_without(gcps, i, model, order=order)
        np.testing.assert_allclose((fit.left_out.dx[i], fit.left_out.dy[i]), expected, rtol=rtol, atol=1e-6)


def test_residuals_are_observed_minus_predicted_and_told_in_pixels():
    gcps = scattered(40, noise=2.0)
    fit = fit_gcps(gcps, "polynomial", order=2)
    x, y = fit.to_map(gcps.col, gcps.row)
    np.testing.assert_allclose(fit.residuals.dx, gcps.x - x, atol=1e-8)
    col, row = fit.to_pixel(gcps.x, gcps.y)
    np.testing.assert_allclose(fit.residuals.dcol, col - gcps.col, atol=2e-3)
    np.testing.assert_allclose(fit.residuals.drow, row - gcps.row, atol=2e-3)
    assert fit.residuals.rmse_r == pytest.approx(np.sqrt(np.mean((gcps.x - x) ** 2 + (gcps.y - y) ** 2)))


def test_a_spline_meets_every_point():
    fit = fit_gcps(scattered(200, noise=30.0), "tps")
    assert fit.residuals.rmse_r < 1e-6
    assert fit.left_out.rmse_r > 30.0


def test_patches_meet_every_point_and_equal_the_one_spline(monkeypatch):
    gcps = scattered(1200, noise=3.0)
    whole = fit_gcps(gcps, "tps")
    monkeypatch.setattr("xcoreg.georef.gcp_models.WHOLE", 100)
    fit = fit_gcps(gcps, "tps")
    assert isinstance(fit.surface, surfaces.Patches)
    assert fit.residuals.rmse_r < 1e-6
    grid = np.meshgrid(np.linspace(20, 780, 60), np.linspace(20, 580, 60))
    apart = np.subtract(fit.to_map(*grid), whole.to_map(*grid))
    assert apart.std() < 0.3  # m, a tenth of the noise
    assert fit.left_out.rmse_r == pytest.approx(whole.left_out.rmse_r, rel=0.03)


def test_patches_are_continuous_and_invert():
    fit = fit_gcps(scattered(3000, noise=0.3), "tps")
    col = np.linspace(0, 799, 200001)
    x, y = fit.to_map(col, 300.0)
    assert np.abs(np.diff(x, 2)).max() < 1e-3
    back = fit.to_pixel(x[::100], y[::100])
    assert np.abs(back[0] - col[::100]).max() < 1e-6


def test_robust_fits_pass_by_contradicting_points():
    gcps = scattered(60, noise=1.0)
    bad = np.arange(60) % 4 == 0
    moved = GCPs(gcps.col, gcps.row, gcps.x + 400 * bad, gcps.y - 300 * bad, crs=32633)
    grid = np.meshgrid(np.linspace(50, 750, 9), np.linspace(50, 550, 9))
    for order in (2, 3):
        plain = fit_gcps(moved, "polynomial", order=order)
        fit = fit_gcps(moved, "polynomial", order=order, robust=True)
        truth = fit_gcps(gcps, "polynomial", order=order)
        assert np.abs(np.subtract(plain.to_map(*grid), truth.to_map(*grid))).max() > 50
        assert np.abs(np.subtract(fit.to_map(*grid), truth.to_map(*grid))).max() < 1.5
        assert (fit.weights[bad] == 0).all()
        assert fit.residuals.rmse_r < 3.0
        assert fit.to_dict()["left_out_by_fit"][:2] == ["1", "5"]


def test_weights_are_obeyed():
    gcps = scattered(30, noise=2.0)
    keep = np.arange(30) < 20
    one = fit_gcps(gcps, "polynomial", order=2, weights=keep.astype(float))
    two = fit_gcps(gcps.select(keep), "polynomial", order=2)
    np.testing.assert_allclose(one.to_map(100, 200), two.to_map(100, 200), atol=1e-6)
    assert one.residuals.rmse_r == pytest.approx(two.residuals.rmse_r)


@pytest.mark.filterwarnings("ignore::xcoreg.errors.LowSupport")
def test_covariance_tells_the_scatter_of_repeated_fits():
    fits = [fit_gcps(scattered(60, noise=0.0), "polynomial", order=3)]
    rng = np.random.default_rng(0)
    base = scattered(60)
    found, told = [], []
    for _ in range(300):
        dx, dy = 5.0 * rng.standard_normal((2, 60))
        fit = fit_gcps(GCPs(base.col, base.row, base.x + dx, base.y + dy), "polynomial", order=3)
        found.append([float(v) for v in fit.to_map(700, 100)])
        told.append(fit.cov_at(700, 100))
    assert fits[0].cov_at([0, 1], [0, 1]).shape == (2, 2, 2)
    np.testing.assert_allclose(np.diag(np.mean(told, axis=0)), np.var(found, axis=0), rtol=0.25)


def test_covariance_of_the_homography():
    base, rng = scattered(40), np.random.default_rng(0)
    x, y = fit_gcps(base, "homography").to_map(base.col, base.row)
    found, told = [], []
    for _ in range(200):
        dx, dy = 5.0 * rng.standard_normal((2, 40))
        fit = fit_gcps(GCPs(base.col, base.row, x + dx, y + dy), "homography")
        found.append([float(v) for v in fit.to_map(700, 100)])
        told.append(fit.cov_at(700, 100))
    np.testing.assert_allclose(np.diag(np.mean(told, axis=0)), np.var(found, axis=0), rtol=0.3)
    assert np.isnan(fit_gcps(base, "tps").cov_at(0, 0)).all()


def test_a_homography_is_recovered():
    matrix = np.array([[10.0, 1.0, 5e5], [0.5, -9.0, 5e6], [1e-5, -2e-5, 1.0]])
    col, row = np.random.default_rng(2).uniform(0, 600, (2, 10))
    x, y, w = matrix @ [col, row, np.ones(10)]
    gcps = GCPs(col, row, x / w, y / w, crs=32633)
    fit = fit_gcps(gcps, "homography")
    assert fit.residuals.rmse_px < 1e-6
    assert fit_gcps(gcps).model == "homography"


def test_auto_takes_the_simplest_that_predicts():
    col, row = np.random.default_rng(1).uniform(0, 500, (2, 50))
    flat = GCPs(col, row, 5e5 + 10 * col, 5e6 - 10 * row, crs=32633)
    assert fit_gcps(flat).model == "affine"
    bowed = fit_gcps(scattered(80, noise=0.2))
    assert (bowed.model, bowed.order) == ("polynomial", 3)
    assert fit_gcps(scattered(80, noise=0.2), "polynomial").order == 3


@pytest.mark.parametrize(
    ("gcps", "options", "message"),
    [
        (scattered(2), {}, "2 GCPs, but no map"),
        (scattered(9), {"model": "polynomial", "order": 3}, "9 GCPs, but a polynomial of order 3 needs at least 10"),
        (scattered(3), {"model": "homography"}, "needs at least 4"),
        (GCPs([0, 1, 2, 3], [0, 1, 2, 3], [0, 1, 2, 4], [0, 1, 5, 3]), {}, "one line in the image"),
        (GCPs([0, 1, 2, 3], [5, 5, 5, 5], [0, 1, 2, 4], [0, 1, 5, 3]), {}, "one line in the image"),
        (GCPs([0, 1, 0, 1], [0, 0, 1, 1], [0, 1, 2, 3], [0, 1, 2, 3]), {}, "one line on the ground"),
        (
            GCPs([0, 1, 0, 0], [0, 0, 1, 0], [0, 1, 0, 1], [0, 0, 1, 1]),
            {},
            "1 and 4 are at the same place in",
        ),
        (
            GCPs([0, 1, 0, 9], [0, 0, 1, 9], [0, 1, 0, 1], [0, 0, 1, 0]),
            {},
            "2 and 4 are at the same place on",
        ),
        (scattered(20), {"model": "cubic"}, "model='cubic' is unknown"),
        (scattered(20), {"model": "tps", "order": 2}, "order=2 belongs to"),
        (scattered(40), {"model": "polynomial", "order": 6}, "from 1 to 5"),
        (scattered(20), {"model": "tps", "robust": True}, "meets every point"),
        (scattered(20), {"weights": [1.0, 2.0]}, "weights need 20"),
    ],
)
def test_refusals(gcps, options, message):
    with pytest.raises(OptionError, match=message):
        fit_gcps(gcps, **options)


def test_points_on_two_lines_do_not_make_a_second_order():
    col, row = np.concatenate([np.arange(10.0)] * 2), np.repeat([0.0, 100.0], 10)
    gcps = GCPs(col, row, 10 * col, -10 * row)
    with pytest.raises(OptionError, match="do not determine a polynomial of order 2"):
        fit_gcps(gcps, "polynomial", order=2)
    assert fit_gcps(gcps).model == "affine"


def test_an_order_too_high_is_warned_of():
    with pytest.warns(LowSupport, match="12 GCPs for order 3") as caught:
        fit_gcps(scattered(12, noise=1.0), "polynomial", order=3)
    assert caught[0].filename == __file__
    col, row = np.random.default_rng(4).uniform(0, 500, (2, 40))
    dx, dy = np.random.default_rng(5).standard_normal((2, 40))
    with pytest.warns(LowSupport, match=r"order 5 is too high: .* order 1 by"):
        fit_gcps(GCPs(col, row, 10 * col + 5 * dx, -10 * row + 5 * dy), "polynomial", order=5)


def test_a_swath_across_the_antimeridian():
    col, row = np.random.default_rng(6).uniform(0, 1000, (2, 40))
    lon, lat = 179.0 + 0.002 * col + 0.0003 * row, -16 - 0.002 * row
    fit = fit_gcps(GCPs(col, row, (lon + 180) % 360 - 180, lat, crs=4326), "affine")
    assert fit.residuals.rmse_px < 1e-6
    for turn in (-360.0, 0.0):
        back = fit.to_pixel(180.2 + turn, -16.5)
        np.testing.assert_allclose(back, np.linalg.solve([[0.002, 0.0003], [0, -0.002]], [1.2, -0.5]), atol=1e-6)


def test_a_swath_over_the_pole_is_fitted_in_a_polar_crs():
    col, row = np.random.default_rng(6).uniform(-500, 500, (2, 60))
    gcps = GCPs(col, row, 1000 * col, -1000 * row, crs=3031).to_crs(4326)
    fit = fit_gcps(gcps, "affine", crs=3031)
    assert fit.residuals.rmse_px < 1e-6
    assert fit_gcps(gcps, "affine").residuals.rmse_px > 50


@pytest.mark.parametrize(
    "options", [{"model": "tps"}, {"model": "polynomial", "order": 5, "robust": True}, {"model": "auto"}]
)
def test_ten_thousand_points_take_little(options, effort):
    gcps = scattered(10000, noise=1.0)
    took = effort(lambda: fit_gcps(gcps, **options))
    assert took.calls < 1_000_000  # 580 000 at most: two seconds, which benchmarks/georef.py measures
    assert took.megabytes < 30  # 9; the equations of one spline through all points take 800


def test_a_fit_travels():
    fit = fit_gcps(scattered(50, noise=1.0), "tps")
    again = pickle.loads(pickle.dumps(fit))
    np.testing.assert_array_equal(again.to_map(10, 20), fit.to_map(10, 20))


@pytest.mark.parametrize(("model", "order", "tps"), [("polynomial", 3, False), ("tps", None, True)])
def test_sentinel_1_as_rasterio_places_it(data_dir, model, order, tps):
    gcps = read_gcps(data_dir / "sar_gcps" / "rio-tiler_S1A_IW_GRDH_20180716_iw-vv.tiff")
    fit = fit_gcps(gcps, model, order=order)
    col, row = (v.ravel() for v in np.meshgrid(np.linspace(0, 1279, 40), np.linspace(0, 836, 30)))
    x, y = fit.to_map(col, row)
    with GCPTransformer(gcps.to_rasterio(), tps=tps) as other:
        rows, cols = other.rowcol(x, y, op=lambda value: value)
    assert np.abs(np.subtract((cols, rows), (col + 0.5, row + 0.5))).max() < (0.005 if tps else 0.1)
    assert 0 < fit.left_out.rmse_px < 1.0
