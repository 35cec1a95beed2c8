import numpy as np
import pytest
import rioxarray  # noqa: F401
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from xarray import DataArray

from xcoreg.plot.compare import View, render, strongest_place
from xcoreg.raster.raster import make_raster
from xcoreg.results.html import outline

UTM = "EPSG:32633"


def scene(x, y):
    return 100 + 20 * np.sin(x / 150) + 15 * np.cos(y / 210)


def image(values, transform, crs=UTM):
    return make_raster(DataArray(values, dims=("y", "x")).rio.write_crs(crs).rio.write_transform(transform), nodata=-1)


def centres(transform, shape):
    row, col = np.mgrid[: shape[0], : shape[1]] + 0.5
    a, b, c, d, e, f = tuple(transform)[:6]
    return a * col + b * row + c, d * col + e * row + f


@pytest.mark.parametrize(
    "transform",
    [
        Affine(10, 0, 499000, 0, -10, 5001000),
        Affine(10, 0, 499000, 0, 10, 4999000),
        Affine(8, 3, 498700, 3, -8, 5000500),
    ],
    ids=["north-up", "south-up", "rotated"],
)
def test_render_shows_what_lies_there_on_any_grid(transform):
    raster = image(scene(*centres(transform, (220, 220))), transform)
    view = View(UTM, 500000.0, 5000000.0, 600.0, side=50)
    (values, valid) = render(raster, [view])[0]
    assert valid.all()
    assert values == pytest.approx(scene(*view.mesh()), abs=0.02)


def test_render_from_another_crs():
    transform = Affine(1.2e-4, 0, 14.98, 0, -9e-5, 45.165)
    lon, lat = centres(transform, (200, 300))
    there = Transformer.from_crs("EPSG:4326", UTM, always_xy=True)
    raster = image(scene(*there.transform(lon, lat)), transform, "EPSG:4326")
    x, y = there.transform(15.0, 45.155)
    view = View(UTM, x, y, 500.0, side=40)
    values, valid = render(raster, [view])[0]
    assert valid.all()
    assert values == pytest.approx(scene(*view.mesh()), abs=0.05)


def test_render_outside_of_the_image_is_not_valid():
    raster = image(np.ones((20, 20)), Affine(10, 0, 0, 0, -10, 0))
    _, valid = render(raster, [View(UTM, 9e6, 9e6, 100.0, side=8)])[0]
    assert not valid.any()


def test_missing_pixels_are_not_shown():
    values = np.ones((40, 40))
    values[:, :20] = -1
    _, valid = render(image(values, Affine(10, 0, 0, 0, -10, 400)), [View(UTM, 200.0, 200.0, 200.0, side=20)])[0]
    assert valid[:, 10:].all()
    assert not valid[:, :9].any()


def test_the_outline_of_a_rotated_grid_closes():
    corners = outline(GeoBox((10, 20), Affine(8, 3, 100, 3, -8, 200), None))
    assert corners[0].tolist() == corners[-1].tolist() == [100, 200]
    assert corners[2].tolist() == [100 + 160 + 30, 200 + 60 - 80]


def test_the_strongest_place_holds_structure_of_both():
    rng = np.random.default_rng(4)
    ref, tgt = rng.normal(100, 0.1, (2, 400, 400))
    ref[40:120, 40:120] += rng.normal(0, 20, (80, 80))  # a cloud of one image alone
    common = rng.normal(0, 20, (80, 80))
    ref[280:360, 280:360] += common
    tgt[280:360, 280:360] += common
    grid = Affine(10, 0, 0, 0, -10, 4000)
    x, y = strongest_place(image(tgt, grid), image(ref, grid), 600.0)
    assert 2700 < x < 3700
    assert 300 < y < 1300


def test_without_structure_it_is_the_middle():
    grid = Affine(10, 0, 0, 0, -10, 4000)
    flat = image(np.full((400, 400), 7.0), grid)
    assert strongest_place(flat, flat, 600.0) == (2000.0, 2000.0)
