"""Overviews: exact where sampled, cheap, and the same for every kind of image."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest
import rasterio
import rioxarray
from affine import Affine
from scipy import ndimage
from xarray import open_dataset

from xcoreg.io.read import open_raster
from xcoreg.raster.levels import FileLevel, file_behind
from xcoreg.raster.overview import overview_of
from xcoreg.raster.raster import make_raster

GRID = Affine(10, 0, 300000, 0, -10, 5900040)


def scene(side=4000, seed=3):
    """Smooth texture with a nodata wedge on the left, slanted."""
    rng = np.random.default_rng(seed)
    tile = ndimage.gaussian_filter(rng.normal(size=(512, 512)), 1.5, mode="wrap") * 2000 + 3000
    pixels = np.tile(tile.astype("uint16"), (side // 512 + 1,) * 2)[:side, :side].copy()
    rows, cols = np.ogrid[:side, :side]
    pixels[cols < 0.3 * side - 0.2 * rows] = 0
    return pixels


@pytest.fixture(scope="module")
def pixels():
    return scene()


@pytest.fixture(scope="module")
def tiled(pixels, tmp_path_factory):
    """A tiled file without overviews."""
    path = tmp_path_factory.mktemp("overview") / "tiled.tif"
    options = {"driver": "GTiff", "dtype": "uint16", "count": 1, "crs": "EPSG:32633", "transform": GRID, "nodata": 0}
    size = {"width": pixels.shape[1], "height": pixels.shape[0]}
    with rasterio.open(path, "w", **options, **size, tiled=True, blockxsize=256, blockysize=256) as file:
        file.write(pixels, 1)
    return path


@pytest.fixture(scope="module")
def striped(pixels, tmp_path_factory):
    path = tmp_path_factory.mktemp("overview") / "striped.tif"
    options = {"driver": "GTiff", "dtype": "uint16", "count": 1, "crs": "EPSG:32633", "transform": GRID, "nodata": 0}
    with rasterio.open(path, "w", **options, width=4000, height=4000, blockysize=16) as file:
        file.write(pixels, 1)
    return path


@pytest.fixture(scope="module")
def with_overviews(tiled, tmp_path_factory):
    path = tmp_path_factory.mktemp("overview") / "overviews.tif"
    path.write_bytes(tiled.read_bytes())
    with rasterio.open(path, "r+") as file:
        file.build_overviews([2, 4, 8], rasterio.enums.Resampling.average)
    return path


def exact_valid(pixels, taken):
    """Validity of the pixel at the centre of every cell."""
    step = round(taken.grid.resolution.x / 10)
    at = [np.minimum(np.arange(0, size, step) + step // 2, size - 1) for size in pixels.shape]
    return pixels[np.ix_(*at)] > 0


def test_in_memory_every_cell_is_sampled(make_image, pixels):
    taken = overview_of(make_raster(make_image(pixels, _FillValue=0)))
    assert taken.sampled.all()
    assert taken.values.shape == (500, 500)
    np.testing.assert_array_equal(taken.valid, exact_valid(pixels, taken))


def test_cells_lie_where_the_image_lies(make_image, pixels):
    taken = overview_of(make_raster(make_image(pixels, _FillValue=0)), size=100)
    assert taken.grid.affine == Affine(400, 0, 300000, 0, -400, 5900040)
    assert taken.grid.crs.epsg == 32633


def test_a_file_without_overviews_is_not_read_whole(tiled, pixels):
    decoded = []

    class Counted(FileLevel):
        def _fill_batch(self, lattice, boxes):
            decoded.extend((box[1] - box[0]) * (box[3] - box[2]) for box in boxes)
            super()._fill_batch(lattice, boxes)

    with (
        mock.patch("xcoreg.raster.levels.FileLevel", Counted),
        mock.patch("xcoreg.raster.overview._SMALL", 1_000_000),
        mock.patch("xcoreg.raster.overview._BUDGET", 8_000_000),
    ):
        taken = overview_of(make_raster(rioxarray.open_rasterio(tiled)))
    assert sum(decoded) <= 8_000_000
    wrong = taken.valid != exact_valid(pixels, taken)
    assert not wrong[taken.sampled].any()
    assert wrong.mean() < 2e-3


def test_strips_are_sampled_row_by_row(striped, pixels):
    with (
        mock.patch("xcoreg.raster.overview._SMALL", 1_000_000),
        mock.patch("xcoreg.raster.overview._BUDGET", 6_400_000),
    ):
        taken = overview_of(make_raster(rioxarray.open_rasterio(striped)))
    rows, cols = taken.valid.shape
    assert (rows, cols) == (100, 500)
    assert taken.sampled.all()
    assert taken.grid.affine == Affine(80, 0, 300000, 0, -400, 5900040)
    np.testing.assert_array_equal(taken.valid, pixels[20::40, 4::8] > 0)


def test_overviews_are_used(with_overviews, pixels):
    raster = make_raster(rioxarray.open_rasterio(with_overviews))
    level = file_behind(raster, 512)
    assert (level.level, level.shape) == (2, (500, 500))
    taken = overview_of(raster)
    assert taken.sampled.all()
    assert taken.grid.affine.a == pytest.approx(80)
    assert (taken.valid != exact_valid(pixels, taken)).mean() < 5e-3


@pytest.mark.parametrize("chunks", [None, {"x": 1000, "y": 1000}])
def test_the_file_behind_an_untouched_image_is_known(with_overviews, chunks):
    image = rioxarray.open_rasterio(with_overviews, chunks=chunks)
    assert file_behind(make_raster(image), 512).band == 1
    assert file_behind(make_raster(image.isel(band=0)), 512).band == 1


@pytest.mark.parametrize("chunks", [None, {"x": 1000, "y": 1000}])
@pytest.mark.parametrize(
    "change",
    [lambda image: image[:, 10:, :], lambda image: image * 2, lambda image: image[:, ::-1], lambda image: image.load()],
)
def test_a_changed_image_has_no_file_behind(with_overviews, chunks, change):
    image = rioxarray.open_rasterio(with_overviews, chunks=chunks)
    assert file_behind(make_raster(change(image), nodata=0), 512) is None


@pytest.mark.parametrize("chunks", [None, {"x": 1000, "y": 1000}])
def test_a_mirrored_band_has_no_file_behind(with_overviews, chunks):
    image = rioxarray.open_rasterio(with_overviews, chunks=chunks)
    assert file_behind(make_raster(image.isel(band=0, y=slice(None, None, -1))), 512) is None


def test_a_moved_image_keeps_its_file_and_its_look_moves_along(with_overviews):
    image = rioxarray.open_rasterio(with_overviews)
    moved = image.assign_coords(x=image.x + 3.5, y=image.y - 1.5)
    plain, taken = overview_of(make_raster(image)), overview_of(make_raster(moved))
    np.testing.assert_array_equal(taken.values, plain.values)
    assert (taken.grid.affine.c, taken.grid.affine.f) == (300003.5, 5900038.5)


def test_lazy_images_of_other_libraries(data_dir):
    by_gdal = overview_of(make_raster(open_raster(data_dir / "formats" / "RGB.nc"), nodata=0))
    with open_dataset(data_dir / "formats" / "RGB.nc", decode_coords="all", mask_and_scale=False) as scene:
        by_xarray = overview_of(make_raster(scene, nodata=0))
    assert by_xarray.sampled.all()
    assert by_xarray.valid.mean() == pytest.approx(by_gdal.valid.mean(), abs=0.01)


def test_the_band_behind_is_the_one_selected(data_dir):
    image = rioxarray.open_rasterio(data_dir / "naip" / "m_4709963_se_14_1_20180716.tif")
    assert file_behind(make_raster(image, band=3), 256).band == 3
    assert file_behind(make_raster(image.sel(band=4)), 256).band == 4


def test_masked_images_find_the_marker_of_the_file(with_overviews):
    plain = overview_of(make_raster(rioxarray.open_rasterio(with_overviews)))
    masked = overview_of(make_raster(rioxarray.open_rasterio(with_overviews, masked=True)))
    np.testing.assert_array_equal(masked.valid, plain.valid)


def test_computed_dask_images_give_the_samples_of_memory(make_image, pixels):
    image = make_image(pixels, _FillValue=0)
    exact = overview_of(make_raster(image))
    lazy = make_raster(image.chunk(x=500, y=500) * np.uint16(1), nodata=0)
    with mock.patch("xcoreg.raster.overview._BUDGET", 8_000_000):
        taken = overview_of(lazy)
    assert 0.3 < taken.sampled.mean() < 0.6
    np.testing.assert_array_equal(taken.values[taken.sampled], exact.values[taken.sampled])
    np.testing.assert_array_equal(taken.gx[taken.sampled], exact.gx[taken.sampled])
    np.testing.assert_array_equal(taken.gy[taken.sampled], exact.gy[taken.sampled])
    assert (taken.valid != exact.valid).mean() < 3e-3


def test_texture_tells_rough_from_smooth(make_image):
    rows = np.mgrid[:600, :600][0]
    pixels = (1000 + rows).astype("float32")
    pixels[:, 300:] += 40 * np.random.default_rng(1).normal(size=(600, 300))
    taken = overview_of(make_raster(make_image(pixels)), size=100)
    energy = np.nan_to_num(taken.gx**2 + taken.gy**2)
    assert np.median(energy[:, :50]) == pytest.approx(1.0)
    assert np.median(energy[:, 51:]) > 500


def test_one_pixel_and_nothing_valid(make_image):
    taken = overview_of(make_raster(make_image(np.array([[7.0]]))))
    assert taken.valid.all()
    assert np.isnan([taken.gx.item(), taken.gy.item()]).all()
    assert not overview_of(make_raster(make_image(np.full((9, 9), np.nan)))).valid.any()


def test_rotated_and_south_up(make_image, noise):
    for transform in (Affine(9.8, 1.7, 500000, 1.7, -9.8, 5000000), Affine(10, 0, 0, 0, 10, 0)):
        grid = overview_of(make_raster(make_image(noise, transform)), size=100).grid
        a, b, c, d, e, f = tuple(transform)[:6]
        assert tuple(grid.affine)[:6] == pytest.approx((4 * a, 4 * b, c, 4 * d, 4 * e, f))


@pytest.mark.parametrize("shape", [(1074, 1411), (1411, 1074), (1411, 1411), (1411, 1410), (520, 1025)])
@pytest.mark.parametrize("chunks", [2048, 500, 470])
def test_the_last_cell_may_be_cut(make_image, pixels, shape, chunks):
    image = make_image(pixels[: shape[0], : shape[1]])
    memory, lazy = (
        overview_of(make_raster(image, nodata=0)),
        overview_of(make_raster(image.chunk(x=chunks, y=chunks), nodata=0)),
    )
    np.testing.assert_array_equal(lazy.valid[lazy.sampled], memory.valid[lazy.sampled])
    np.testing.assert_array_equal(lazy.values[lazy.sampled], memory.values[lazy.sampled])
    assert lazy.sampled[:, -1].any()
    assert lazy.sampled[-1].any()
