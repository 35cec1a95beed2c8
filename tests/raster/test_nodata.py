"""Which pixels hold nothing."""

from __future__ import annotations

import numpy as np
import pytest
import rioxarray
from xarray import DataArray

from xcoreg.errors import OptionError
from xcoreg.raster.nodata import find_nodata, nodata_of, valid_of
from xcoreg.raster.raster import make_raster

BUSY = np.arange(9).reshape(3, 3)


def corner(value):
    return np.full((3, 3), value)


def test_one_constant_corner_is_enough():
    assert find_nodata([BUSY, BUSY, corner(255), BUSY]) == 255


def test_constant_corners_must_agree():
    assert find_nodata([corner(0), BUSY, corner(255), BUSY]) is None


def test_textured_corners_mark_nothing():
    assert find_nodata([BUSY] * 4) is None


def test_nan_and_infinite_corners_need_no_marker():
    assert find_nodata([corner(np.nan), corner(-np.inf), BUSY, corner(-9999.0)]) == -9999.0


def wedge(noise):
    image = noise.copy()
    image[np.add.outer(np.arange(300), np.arange(400)) < 120] = 0
    return DataArray(image, dims=("y", "x"))


def test_found_from_a_wedge_in_one_corner(noise):
    assert nodata_of(wedge(noise)) == 0


def test_given_wins_over_stored_over_found(noise):
    image = wedge(noise).rio.write_nodata(65535)
    assert nodata_of(image) == 65535
    assert nodata_of(image, -np.inf) == -np.inf
    assert np.isnan(nodata_of(image, np.nan))


def test_a_constant_image_has_four_equal_corners_and_no_marker():
    assert nodata_of(DataArray(np.full((50, 60), 7), dims=("y", "x"))) is None


def test_a_small_scene_in_a_large_empty_frame():
    image = np.zeros((200, 200), "uint8")
    image[40:65, 45:70] = 9
    assert nodata_of(DataArray(image, dims=("y", "x"))) == 0


def test_images_too_small_to_have_corners():
    assert nodata_of(DataArray(np.zeros((5, 5)), dims=("y", "x"))) is None
    assert nodata_of(DataArray([[3.0]], dims=("y", "x"))) is None


def test_masked_on_opening_means_nan(data_dir):
    path = data_dir / "dem_hooker" / "HookerFJL_13APR19WV01DEM3_warped.tif"
    assert np.isnan(nodata_of(rioxarray.open_rasterio(path, masked=True)))
    assert nodata_of(rioxarray.open_rasterio(path)) == -9999.0


def test_a_marker_that_is_no_number_is_refused(noise):
    with pytest.raises(OptionError, match="'water' of the image is not a number"):
        nodata_of(wedge(noise), "water")


def test_a_marker_rounded_to_single_precision_still_marks():
    lowest = np.finfo("float32").min
    raw = np.array([lowest, 1.0], "float32")
    assert valid_of(raw, -3.4028234663852886e38).tolist() == [False, True]
    assert valid_of(np.array([0.1, 1.0], "float32"), 0.1).tolist() == [False, True]


def test_a_marker_outside_the_dtype_marks_nothing():
    assert valid_of(np.array([0, 241], "uint8"), -9999).all()


def test_minus_infinity_in_the_real_landsat_image(data_dir):
    raster = make_raster(rioxarray.open_rasterio(data_dir / "l9_s2_cross_zone" / "2023-06-30-22-01-55_L9_ms.tif"))
    assert (raster.nodata, raster.nodata_source) == (-np.inf, "file")
    values, valid = raster.read(0, 280, 0, 280)
    assert np.isfinite(values).all()
    assert 0.9 < valid.mean() < 1
