"""Which pixels hold nothing."""

from __future__ import annotations

import numpy as np
import pytest
import rioxarray
from scipy import ndimage
from xarray import decode_cf

from xcoreg.errors import CoregWarning, OptionError
from xcoreg.io.read import open_raster
from xcoreg.raster.nodata import (
    band_nodata,
    constant_corner,
    file_nodata,
    fits_dtype,
    stored_nodata,
    unused_value,
    valid_mask,
)
from xcoreg.raster.raster import make_raster
from xcoreg.simulate import pair

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


# --- what the corners show ------------------------------------------------------------------------------------------


def smooth(low, high, dtype, seed=4, side=300):
    """A natural image between two values."""
    rng = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(rng.normal(size=(side, side)), 2, mode="wrap")
    field = (field - field.min()) / np.ptp(field)
    return (low + field * (high - low)).astype(dtype)


def rotated(pixels, marker, degrees=20.0):
    """The image turned about its middle, with triangles of a value in its corners."""
    side = len(pixels)
    row, col = np.indices(pixels.shape) - side / 2
    turn = np.deg2rad(degrees)
    inside = (
        np.maximum(abs(row * np.cos(turn) - col * np.sin(turn)), abs(row * np.sin(turn) + col * np.cos(turn)))
        < 0.45 * side
    )
    return np.where(inside, pixels, pixels.dtype.type(marker))


def block(pixels, value, side=60):
    """The image with a square of a value in one corner."""
    out = pixels.copy()
    out[:side, :side] = value
    return out


def coast(marker):
    """Heights that go down to a sea of a height, which fills one side."""
    heights = ndimage.gaussian_filter(np.random.default_rng(8).normal(size=(300, 300)), 20, mode="wrap") * 3000
    slope = np.linspace(-40, 160, 300)[:, None]
    heights = heights + slope
    return np.where(heights <= 0, marker, heights).astype("float32")


@pytest.mark.parametrize(
    ("pixels", "found"),
    [
        (rotated(smooth(1, 200, "uint8"), 0), 0),  # collars are dark, and so are parts of the image
        (rotated(smooth(500, 3000, "uint16"), 0), 0),
        (rotated(smooth(500, 3000, "uint16"), 65535), 65535),
        (rotated(smooth(500, 3000, "int16"), -32768), -32768),
        (rotated(smooth(0.05, 0.6, "float32"), 0), 0),
        (block(smooth(500, 3000, "uint16"), 0), 0),
        (block(smooth(900, 1500, "float32"), -9999), -9999),
        (block(smooth(900, 1500, "int16"), -9999), -9999),
        (block(smooth(900, 1500, "int32"), -32768), -32768),
        (block(smooth(900, 1500, "float32"), np.finfo("float32").min), float(np.finfo("float32").min)),
        (block(smooth(900, 1500, "float64"), 1e30), 1e30),
        (coast(-9999), -9999),
    ],
)
def test_a_frame_is_found(make_image, pixels, found):
    raster = make_raster(make_image(pixels))
    assert (raster.nodata, raster.nodata_source) == (found, "corners")
    assert make_image(pixels).coreg.nodata == found


@pytest.mark.parametrize(
    "pixels",
    [
        block(smooth(0, 255, "uint8"), 90),
        block(smooth(0, 255, "uint8"), 200, side=20),
        block(smooth(500, 3000, "uint16"), 1234),
        block(smooth(0, 30, "float32"), 4.5),
        block(smooth(-50, 30, "int16"), 17),
    ],
)
def test_a_lake_is_data(make_image, pixels):
    raster = make_raster(make_image(pixels))
    assert (raster.nodata, raster.nodata_source) == (None, "none")


@pytest.mark.parametrize(
    "pixels",
    [
        block(smooth(-60, 200, "float32").clip(0).astype("uint8"), 0),  # a dark lake, and dark pixels everywhere
        block(smooth(0, 320, "float32").clip(0, 255).astype("uint8"), 255),  # clouds
        coast(0),  # the sea
    ],
)
def test_what_may_be_data_is_used_for_the_matching_only(make_image, pixels):
    image = make_image(pixels)
    raster = make_raster(image)
    assert raster.nodata_source == "uncertain"
    assert raster.nodata == pixels[0, 0]
    assert image.coreg.nodata is None
    assert raster.certain.nodata is None
    assert image.coreg.footprint().area == pytest.approx(300 * 300 * 100)


@pytest.mark.parametrize(
    ("dtype", "void"),
    [
        ("float32", -9999), ("float64", -9999), ("int16", -32768), ("int32", -9999), ("float32", -3.4e38),
        ("float32", float(np.finfo("float32").min)), ("float64", 1e20),
    ],
)  # fmt: skip
def test_voids_inside_are_found(make_image, dtype, void):
    heights = smooth(900, 1500, dtype)
    heights[100:130, 50:90], heights[200:204, 200] = void, void
    raster = make_raster(make_image(heights))
    assert (raster.nodata, raster.nodata_source) == (void, "voids")
    assert (~valid_of(make_image(heights), nodata=raster.nodata)).sum() == 1204


@pytest.mark.parametrize("low", [-9999, -900])
def test_a_low_value_in_the_range_of_the_data_is_no_void(make_image, low):
    assert make_raster(make_image(smooth(low, 20000, "int16"))).nodata is None


def test_a_match_warns_of_what_may_be_data_and_does_not_record_it():
    both = pair((300, 300), shift=(2.3, -1.0), seed=1)
    values = np.clip((both.tgt.values.astype(float) - 1500) / 8, 0, 255).astype("uint8")
    target = both.tgt.copy(data=block(values, 0))
    target.attrs.clear()
    with pytest.warns(
        CoregWarning, match=r"target stores no nodata value.*fills a corner, 0, may be data.*pass nodata=0"
    ):
        fit = target.coreg.match(both.ref)
    assert fit.details.tgt_nodata is None
    assert fit.shift.dcol == pytest.approx(2.3, abs=0.02)


def test_a_frame_of_another_value_beside_a_lake(make_image):
    pixels = rotated(smooth(1, 200, "uint8"), 0)
    pixels[:10, :10] = 90
    assert make_raster(make_image(pixels)).nodata == 0


# --- several markers, valid ranges ----------------------------------------------------------------------------------


def valid_of(image, **options):
    raster = make_raster(image, search=False, **options)
    return raster.read(0, raster.shape[0], 0, raster.shape[1])[1]


def test_missing_value_besides_fill_value(make_image, noise):
    noise[0, :3] = 7, 8, 9
    image = make_image(noise, _FillValue=np.uint16(7), missing_value=np.uint16(8))
    assert valid_of(image)[0, :3].tolist() == [False, False, True]
    image.attrs["missing_value"] = [8, 9]
    assert valid_of(image)[0, :3].tolist() == [False, False, False]
    assert valid_of(image, nodata=9)[0, :3].tolist() == [True, True, False]


@pytest.mark.parametrize(
    ("attrs", "expected"),
    [
        ({"valid_range": np.array([10, 20], "uint16")}, [False, True, True, False]),
        ({"valid_range": "{10,20}"}, [False, True, True, False]),
        ({"valid_range": "10, 20"}, [False, True, True, False]),
        ({"valid_min": 10}, [False, True, True, True]),
        ({"valid_max": "20"}, [True, True, True, False]),
        ({"valid_min": 10, "valid_max": 20}, [False, True, True, False]),
        ({"valid_range": "unknown"}, [True] * 4),
        # of scaled values, which are 0.9, 1.0, 2.0, 2.1; GDAL gives the numbers of a packed range as floats
        ({"valid_range": (1.0, 2.0), "scale_factor": 0.1, "add_offset": 0.0}, [False, True, True, False]),
        ({"valid_range": (10.0, 20.0), "scale_factor": 0.1, "add_offset": 0.0}, [False, True, True, False]),
        ({"valid_range": (0.95, 2.05), "scale_factor": 0.1}, [False, True, True, False]),
    ],
)
def test_valid_ranges(make_image, noise, attrs, expected):
    noise[0, :4] = 9, 10, 20, 21
    assert valid_of(make_image(noise, **attrs))[0, :4].tolist() == expected


def test_the_valid_range_of_a_decoded_image_is_that_of_its_file(make_image, noise):
    stored = make_image(noise, valid_range=np.array([100, 3000], "uint16"), _FillValue=np.uint16(5)).rename("a")
    stored.attrs |= {"scale_factor": 1e-4, "add_offset": -0.1}
    decoded = decode_cf(stored.to_dataset())["a"]
    np.testing.assert_array_equal(valid_of(decoded), (noise >= 100) & (noise <= 3000))
    np.testing.assert_array_equal(valid_of(stored), (noise >= 100) & (noise <= 3000))


def test_unsigned_values_in_a_signed_type_keep_out_of_their_range(make_image):
    image = make_image(np.arange(-64, 64, dtype="int8").reshape(8, 16), valid_range=(0, 255), _Unsigned="true")
    assert valid_of(image).all()


def test_netcdf_files_with_two_markers_and_a_range(make_image, noise, tmp_path):
    noise[0, :4] = 1, 2, 3000, 3001
    image = make_image(noise, _FillValue=np.uint16(1), missing_value=np.uint16(2), valid_max=np.uint16(3000))
    image.rename("a").to_dataset().to_netcdf(tmp_path / "a.nc")
    found = open_raster(tmp_path / "a.nc")
    assert valid_of(found)[0, :4].tolist() == [False, False, True, False]


@pytest.mark.parametrize("key", ["nodatavals", "_FillValue"])
def test_nodata_values_of_bands(make_image, noise, key):
    image = make_image(np.stack([noise, noise, noise]), **{key: (3, None if key == "nodatavals" else 9, 7)})
    image = image.assign_coords(band=[1, 2, 3])
    markers = [make_raster(image, band=band, search=False).nodata for band in (1, 2, 3)]
    assert markers == [3, None if key == "nodatavals" else 9, 7]
    assert [stored_nodata(image.sel(band=band)) for band in (1, 2, 3)] == markers
    assert [stored_nodata(image, band) for band in (0, 1, 2)] == markers
    assert stored_nodata(image.rio.write_nodata(55)) == 55  # replaces them


def test_a_free_value():
    pixels = np.array([[1, 5], [255, 7]], "uint8")
    assert unused_value(pixels, 0, exact=False) == 0
    assert unused_value(np.append(pixels, np.uint8(0)), 0, exact=False) is None
    assert unused_value(np.append(pixels, np.uint8(0)), 0, exact=True) == 254
    assert unused_value(np.arange(-128, 128, dtype="int8"), -128, exact=True) is None
    assert unused_value(np.array([-128, 127, 0], "int8"), -128, exact=True) == 126
