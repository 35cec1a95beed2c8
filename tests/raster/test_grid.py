"""Where images lie."""

from __future__ import annotations

import numpy as np
import odc.geo.xr
import pytest
import rioxarray
from affine import Affine
from odc.geo.geobox import GeoBox
from xarray import DataArray, Dataset, open_dataset

from xcoreg.errors import NotGeoreferenced, OptionError
from xcoreg.io.read import open_raster
from xcoreg.raster.grid import check_size, grid_of
from xcoreg.raster.raster import make_raster

GRID = Affine(10, 0, 300000, 0, -10, 5900040)
ROTATED = Affine(9.8, 1.7, 500000, 1.7, -9.8, 5000000)


def test_north_up(make_image, noise):
    grid = grid_of(make_image(noise))
    assert grid.affine == GRID
    assert tuple(grid.shape) == (300, 400)
    assert grid.crs.epsg == 32633


@pytest.mark.parametrize("step", [(10, 10), (-10, -10), (-10, 10)])
def test_any_direction_of_the_coordinates(make_image, noise, step):
    transform = Affine(step[0], 0, 300000, 0, step[1], 5900040)
    assert grid_of(make_image(noise, transform)).affine == transform


def test_rotated_needs_no_coordinates(make_image, noise):
    assert grid_of(make_image(noise, ROTATED)).affine == ROTATED


def test_coordinates_win_over_a_stale_transform(make_image, noise):
    cut = make_image(noise)[20:50, 30:90]
    assert grid_of(cut).affine == Affine(10, 0, 300300, 0, -10, 5899840)
    assert tuple(grid_of(cut).shape) == (30, 60)


def test_every_other_pixel(make_image, noise):
    assert grid_of(make_image(noise)[::2, ::4]).affine == Affine(40, 0, 299985, 0, -20, 5900045)


def test_a_single_row_takes_its_place_from_the_coordinate(make_image, noise):
    assert grid_of(make_image(noise)[7:8, 5:6]).affine == Affine(10, 0, 300050, 0, -10, 5899970)


def test_digits_of_the_stored_transform_survive(make_image):
    transform = Affine(300.0379266750948, 0, 101985, 0, -300.041782729805, 2826915)
    assert grid_of(make_image(np.ones((718, 791)), transform)).affine == transform


def test_coordinates_alone_are_enough():
    image = DataArray(np.zeros((2, 3)), {"lat": [1.0, 1.5], "lon": [9.0, 9.5, 10.0]}, ("lat", "lon"))
    grid = grid_of(image.rio.write_crs(4326))
    assert grid.affine == Affine(0.5, 0, 8.75, 0, 0.5, 0.75)


def test_single_precision_coordinates_are_even_enough():
    lon = (40 + np.arange(1000) / 1200).astype("float32")
    image = DataArray(np.zeros((1000, 1000)), {"y": lon[::-1], "x": lon}, ("y", "x")).rio.write_crs(4326)
    assert grid_of(image).affine.a == pytest.approx(1 / 1200, rel=1e-5)


def test_uneven_coordinates_are_refused():
    image = DataArray(np.zeros((2, 3)), {"y": [2.0, 1.0], "x": [0.0, 1.0, 3.0]}, ("y", "x")).rio.write_crs(4326)
    with pytest.raises(NotGeoreferenced, match=r"'x' of target are not evenly spaced"):
        grid_of(image)


@pytest.mark.parametrize("transform", [GRID, ROTATED, Affine(0.5, 0, -180, 0, 0.5, -90)])
def test_odc_geo_images(transform):
    grid = GeoBox((20, 30), transform, "EPSG:32633")
    image = odc.geo.xr.wrap_xr(np.ones((20, 30)), grid)
    assert grid_of(image).affine.almost_equals(transform, 1e-2 if image.x.dtype == "float32" else 1e-9)
    assert make_raster(image).read(0, 20, 0, 30)[1].all()


def test_a_dataset_has_the_grid_of_its_variables(make_image, noise):
    image = make_image(noise)
    assert grid_of(Dataset({"a": image, "b": image})).affine == GRID


def test_no_crs_tells_the_cure(make_image, noise):
    with pytest.raises(NotGeoreferenced, match=r"reference has no CRS: set it with da\.rio\.write_crs"):
        grid_of(make_image(noise, crs=None), "reference")


def test_no_transform_tells_the_cure():
    image = DataArray(np.zeros((4, 4)), dims=("y", "x")).rio.write_crs(32633)
    with pytest.raises(NotGeoreferenced, match=r"da\.rio\.write_transform"):
        grid_of(image)


def test_a_transform_of_no_area_is_refused(make_image, noise):
    image = DataArray(np.zeros((4, 4)), dims=("y", "x")).rio.write_crs(32633)
    with pytest.raises(NotGeoreferenced, match="inverted"):
        grid_of(image.rio.write_transform(Affine(10, 10, 0, 10, 10, 0)))


def test_control_points_are_no_transform(data_dir):
    image = rioxarray.open_rasterio(data_dir / "sar_gcps" / "rio-tiler_S1A_IW_GRDH_20180716_iw-vv.tiff")
    with pytest.raises(NotGeoreferenced, match="only ground control points"):
        grid_of(image)


@pytest.mark.parametrize("name", ["riotiler_inverted_lat.tif", "G90292_20230514.bin", "RGB.byte.tif"])
def test_real_files_have_the_transform_of_rasterio(data_dir, name):
    image = rioxarray.open_rasterio(data_dir / "formats" / name)
    assert grid_of(image).affine == image.rio.transform()


def test_a_rotated_file_cut_by_rioxarray(data_dir):
    image = rioxarray.open_rasterio(data_dir / "formats" / "rotated.tif").rio.write_crs(32633)
    full = grid_of(image).affine
    cut = grid_of(image[:, 3:, 2:]).affine
    assert (cut.c, cut.f) == pytest.approx((full.c + 2 * full.a + 3 * full.b, full.f + 2 * full.d + 3 * full.e))


def test_netcdf_south_up_by_xarray_and_north_up_by_gdal(data_dir):
    path = data_dir / "formats" / "RGB.nc"
    by_gdal = grid_of(open_raster(path))
    with open_dataset(path, decode_coords="all") as scene:
        by_xarray = grid_of(scene)
    assert (by_gdal.affine.e < 0, by_xarray.affine.e > 0) == (True, True)
    assert by_xarray.boundingbox.bbox == pytest.approx(by_gdal.boundingbox.bbox)


@pytest.mark.parametrize(
    ("shape", "source", "options", "allowed"),
    [
        ((10_000, 9_000), (10, 10), {}, True),
        ((10_000, 11_000), (10, 10), {}, False),
        ((50_000, 50_000), (9_000, 9_000), {}, True),
        ((30_000, 30_000), (10, 10), {"asked": True}, True),
        ((40_000, 40_000), (10, 10), {"asked": True}, False),
        ((900_000, 1_000_000), (10, 10), {"asked": True, "lazy": True}, True),
        ((1_100_000, 1_000_000), (10, 10), {"asked": True, "lazy": True}, False),
        ((1, 200_000_000), (10, 10), {"asked": True, "lazy": True}, False),
    ],
)
def test_the_largest_outputs(shape, source, options, allowed):
    if allowed:
        check_size(shape, source, **options)
    else:
        with pytest.raises(OptionError, match=rf"{shape[0]} x {shape[1]} pixels, .*resolution= or a grid like="):
            check_size(shape, source, **options)
