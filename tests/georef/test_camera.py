"""A frame camera from control points with heights, and its image over terrain."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine
from xarray import DataArray

import xcoreg
from xcoreg.errors import NotGeoreferenced, OptionError
from xcoreg.georef import GCPs, Terrain, fit_camera, transform_points

UTM = "EPSG:32633"
PLACE = np.array([300500.0, 5200500.0, 2500.0])


def look(x, y, z):
    """Pixels of a camera at PLACE, tilted by 15 degrees, with a focal length of 1000 px."""
    tilt = np.radians(15.0)
    right, ahead, up = (np.asarray(one) - at for one, at in zip((x, y, z), PLACE, strict=True))
    forward = ahead * np.cos(tilt) + up * np.sin(tilt)
    depth = ahead * np.sin(tilt) - up * np.cos(tilt)
    return 250 + 1000 * right / depth, 250 - 1000 * forward / depth


def points(n=20, relief=400.0, noise=0.0, seed=0, crs=UTM):
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(300000, 301000, n), rng.uniform(5200700, 5201700, n)
    z = 300 + rng.uniform(0, relief, n)
    col, row = look(x, y, z)
    col, row = col + rng.normal(0, noise, n), row + rng.normal(0, noise, n)
    if crs != UTM:
        x, y = transform_points(UTM, crs, x, y)
    return GCPs(col, row, x, y, z=z, crs=crs)


def test_the_camera_is_found_exactly():
    camera = fit_camera(points())
    assert camera.rmse_px < 1e-6
    x, y, z = 300321.0, 5201234.0, 555.0
    np.testing.assert_allclose(camera.project(x, y, z), look(x, y, z), atol=1e-6)
    np.testing.assert_allclose(camera.unproject(*look(x, y, z), z), (x, y), atol=1e-4)
    assert np.isnan(camera.project(300500.0, 5200500.0, 9000.0)).all()  # behind it


def test_noise_shows_in_the_residuals():
    camera = fit_camera(points(200, noise=0.5))
    assert camera.rmse_px == pytest.approx(0.5 * np.sqrt(2), rel=0.15)
    assert np.hypot(*np.subtract(camera.project(300500.0, 5201200.0, 500.0), look(300500.0, 5201200.0, 500.0))) < 0.3


def test_points_in_degrees_get_a_plane():
    camera = fit_camera(points(crs="EPSG:4326"))
    assert camera.crs.is_projected
    assert camera.rmse_px < 0.05  # the plane is not that of the camera


def test_points_that_do_not_determine_it_are_refused():
    with pytest.raises(OptionError, match="5 control points do not determine"):
        fit_camera(points(5))
    with pytest.raises(OptionError, match="in one plane"):
        fit_camera(points(relief=0.0))
    bare = GCPs([0.0], [0.0], [0.0], [0.0])
    with pytest.raises(NotGeoreferenced, match="no CRS"):
        fit_camera(bare)


def test_its_image_is_rectified_over_terrain():
    rows, cols = np.mgrid[0:140, 0:140]
    heights = (400 + 150 * np.sin(cols / 9) * np.cos(rows / 11)).astype(np.float32)
    terrain = Terrain(heights, Affine(10, 0, 299800, 0, -10, 5201900), UTM)
    camera = fit_camera(points(30))
    row, col = np.mgrid[0:500, 0:500]
    raw = DataArray(3.0 * col + row, dims=("y", "x"))
    made = raw.coreg.rectify(camera, crs=UTM, resolution=1.5, dem=terrain, resampling="bilinear")
    x, y = np.meshgrid(made.x, made.y)
    col, row = look(x, y, terrain.at(UTM, x, y))
    inside = np.isfinite(made.values) & (col > 2) & (col < 497) & (row > 2) & (row < 497)
    assert inside.mean() > 0.3
    np.testing.assert_allclose(made.values[inside], (3 * col + row)[inside], atol=0.02)
    flat = xcoreg.coregister.rectify(raw, camera, crs=UTM, resolution=1.5, resampling="bilinear")
    assert np.nanstd(flat.interp_like(made).values - made.values) > 10
