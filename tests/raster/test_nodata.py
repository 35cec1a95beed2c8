"""Which pixels hold nothing."""

from __future__ import annotations

import numpy as np
import pytest
import rioxarray

from xcoreg.errors import OptionError
from xcoreg.raster.nodata import band_nodata, constant_corner, file_nodata, fits_dtype, valid_mask
from xcoreg.raster.raster import make_raster

BUSY = np.arange(9).reshape(3, 3)


def corner(value):
    return np.full((3, 3), value)


def test_one_constant_corner_is_enough():
    assert constant_corner([BUSY, BUSY, corner(255), BUSY]) == 255


def test_constant_corners_must_agree():
    assert constant_corner([corner(0), BUSY, corner(255), BUSY]) is None


def test_textured_corners_mark_nothing():
    assert constant_corner([BUSY] * 4) is None


def test_nan_and_infinite_corners_need_no_marker():
    assert constant_corner([corner(np.nan), corner(-np.inf), BUSY, corner(-9999.0)]) == -9999.0


def wedge(noise):
    image = noise.copy()
    image[np.add.outer(np.arange(300), np.arange(400)) < 120] = 0
    return image


def test_found_from_a_wedge_in_one_corner(make_image, noise):
    assert make_raster(make_image(wedge(noise))).nodata == 0


def test_given_wins_over_stored_over_found(make_image, noise):
    image = make_image(wedge(noise)).rio.write_nodata(65535)
    assert make_raster(image).nodata == 65535
    assert make_raster(image, nodata=-np.inf).nodata == -np.inf
    assert np.isnan(make_raster(image, nodata=np.nan).nodata)


def test_without_reading_pixels_nothing_is_found_in_the_corners(make_image, noise):
    image = make_image(wedge(noise))
    assert band_nodata(image) is None
    assert band_nodata(image, found=0) == 0
    assert band_nodata(image.rio.write_nodata(65535), found=0) == 65535
    assert band_nodata(image.rio.write_nodata(65535), 7, found=0) == 7
    assert band_nodata(image, found=-1) is None


def test_a_nodata_value_must_fit_the_dtype(make_image, noise):
    assert [fits_dtype(value, "uint8") for value in (255, 256, -1, 0.5, np.nan)] == [True, False, False, False, False]
    assert fits_dtype(np.nan, "float32")
    assert not fits_dtype(0, bool)
    with pytest.raises(OptionError, match=r"nodata=-1 cannot occur in the image, which holds uint16"):
        band_nodata(make_image(noise), -1)


def test_a_masked_image_has_the_nodata_value_of_its_encoding_in_a_file(data_dir):
    image = rioxarray.open_rasterio(data_dir / "formats" / "RGB.byte.tif", masked=True)
    assert np.isnan(make_raster(image).nodata)
    assert file_nodata(image[0], "uint8") == 0


def test_a_constant_image_has_four_equal_corners_and_no_marker(make_image):
    assert make_raster(make_image(np.full((50, 60), 7))).nodata is None


def test_a_small_scene_in_a_large_empty_frame(make_image):
    image = np.zeros((200, 200), "uint8")
    image[40:65, 45:70] = 9
    assert make_raster(make_image(image)).nodata == 0


def test_images_too_small_to_have_corners(make_image):
    assert make_raster(make_image(np.zeros((5, 5)))).nodata is None
    assert make_raster(make_image([[3.0]])).nodata is None


def test_masked_on_opening_means_nan(data_dir):
    path = data_dir / "dem_hooker" / "HookerFJL_13APR19WV01DEM3_warped.tif"
    assert np.isnan(make_raster(rioxarray.open_rasterio(path, masked=True)).nodata)
    assert make_raster(rioxarray.open_rasterio(path)).nodata == -9999.0


def test_a_marker_that_is_no_number_is_refused(make_image, noise):
    with pytest.raises(OptionError, match="'water' of target is not a number"):
        make_raster(make_image(noise), nodata="water")


def test_a_marker_rounded_to_single_precision_still_marks():
    lowest = np.finfo("float32").min
    raw = np.array([lowest, 1.0], "float32")
    assert valid_mask(raw, -3.4028234663852886e38).tolist() == [False, True]
    assert valid_mask(np.array([0.1, 1.0], "float32"), 0.1).tolist() == [False, True]


def test_a_marker_outside_the_dtype_marks_nothing():
    assert valid_mask(np.array([0, 241], "uint8"), -9999).all()


def test_minus_infinity_in_the_real_landsat_image(data_dir):
    raster = make_raster(rioxarray.open_rasterio(data_dir / "l9_s2_cross_zone" / "2023-06-30-22-01-55_L9_ms.tif"))
    assert (raster.nodata, raster.nodata_source) == (-np.inf, "file")
    values, valid = raster.read(0, 280, 0, 280)
    assert np.isfinite(values).all()
    assert 0.9 < valid.mean() < 1
