"""Data stay data: what marks the missing pixels of an image that has no nodata value."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
import rasterio
from rasterio.enums import MaskFlags
from xarray import Dataset

from xcoreg.coregister import correct_file
from xcoreg.errors import CoregWarning
from xcoreg.io.read import open_raster
from xcoreg.io.write import write_raster
from xcoreg.warp.apply import apply

SIDE = 80
INTEGERS = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "int64", "uint64"]


def warned(image, fit, **options):
    """Correct an image: also returns the warnings."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always", CoregWarning)
        out = apply(image, fit, **options)
    return out, [str(one.message) for one in seen if issubclass(one.category, CoregWarning)]


def values_of(dtype, full):
    """Every value of a small type, or its ends and zero among others."""
    info, rng = np.iinfo(dtype), np.random.default_rng(5)
    values = rng.integers(10, 100, (SIDE, SIDE)).astype(dtype)
    if full:
        values[0, 40:43] = info.min, info.max, 0
        if info.bits == 8:
            values[2:6, :64] = np.arange(info.min, info.max + 1).reshape(4, 64)
    return values


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("resampling", ["cubic", "nearest"])
def test_an_integer_image_gets_a_value_that_is_no_data(make_image, make_fit, dtype, resampling):
    values = values_of(dtype, full=False)
    out, messages = warned(make_image(values), make_fit(60.0, 30.0), like=make_image(values), resampling=resampling)
    info = np.iinfo(dtype)
    expected = info.min if info.min else (info.max if resampling == "nearest" else 0)
    assert out.rio.nodata == expected
    assert "valid_mask" not in out.coords
    np.testing.assert_array_equal(
        out.values == expected, np.pad(np.zeros((77, 74), bool), ((0, 3), (6, 0)), constant_values=True)
    )
    (message,) = messages
    assert f"they are set to {expected}, which does not occur in it and is recorded as nodata" in message


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("resampling", ["cubic", "nearest"])
@pytest.mark.parametrize("chunks", [None, 50])
def test_where_every_value_may_be_data_a_mask_tells(make_image, make_fit, dtype, resampling, chunks):
    if resampling == "nearest" and chunks is None and np.iinfo(dtype).bits == 16:
        pytest.skip("65536 values do not fit in the image: one of them is free")
    values = values_of(dtype, full=True)
    image = make_image(values) if chunks is None else make_image(values).chunk({"x": chunks, "y": chunks})
    out, messages = warned(image, make_fit(60.0, 30.0), like=make_image(values), resampling=resampling)
    assert out.rio.nodata is None
    assert (out.dtype, out.valid_mask.dtype) == (dtype, bool)
    np.testing.assert_array_equal(out.valid_mask, np.pad(np.ones((77, 74), bool), ((0, 3), (6, 0))))
    np.testing.assert_array_equal(out.values[:77, 6:], values[3:, :74])
    (message,) = messages
    assert "marked by the coordinate 'valid_mask', written to files as their mask" in message
    assert '"mask": "valid_mask"' in out.attrs["xcoreg"]


def test_a_label_that_is_free_is_found(make_image, make_fit):
    values = np.random.default_rng(2).choice(np.setdiff1d(np.arange(256), [117]), (SIDE, SIDE)).astype("uint8")
    out, _ = warned(make_image(values), make_fit(60.0, 30.0), like=make_image(values), resampling="nearest")
    assert out.rio.nodata == 117


def test_zeros_that_are_data_stay_zeros(make_image, make_fit):
    values = values_of("uint8", full=False)
    values[20:40, 20:40] = 0
    out, _ = warned(make_image(values), make_fit(60.0, 30.0), like=make_image(values))
    assert out.rio.nodata == 255
    assert (out.values == 0).sum() == 400
    assert not (out.values[:77, 6:] == 255).any()


def test_outside_of_the_valid_range_is_room_for_a_marker(make_image, make_fit):
    values = np.random.default_rng(2).integers(0, 10001, (SIDE, SIDE)).astype("uint16")
    values[10, 10:13] = 0, 10000, 20000
    image = make_image(values, attrs={"valid_range": (0, 10000)}).chunk({"x": 40})
    out, messages = warned(image, make_fit(25.0, 0.0), like=make_image(values))
    assert out.rio.nodata == 65535
    assert "which lies outside its valid range" in messages[0]
    valid = out.values != 65535
    assert out.values[valid].max() <= 10000  # kernels overshoot
    assert valid.sum() == SIDE * (SIDE - 2) - 1


def test_a_given_value_is_used_whatever_occurs(make_image, make_fit):
    values = values_of("uint8", full=True)
    out, messages = warned(make_image(values), make_fit(60.0, 30.0), like=make_image(values), nodata=0)
    assert (out.rio.nodata, messages) == (0, [])


def test_booleans_get_a_mask_without_a_word(make_image, make_fit):
    values = np.ones((SIDE, SIDE), bool)
    out, messages = warned(make_image(values), make_fit(60.0, 30.0), like=make_image(values))
    assert messages == []
    np.testing.assert_array_equal(out.valid_mask, out)
    assert "valid_mask" not in apply(make_image(values), make_fit(60.0, 30.0)).coords  # only moved


def test_floating_images_get_nan(make_image, make_fit):
    values = values_of("int16", full=True).astype("float32")
    out, messages = warned(make_image(values), make_fit(60.0, 30.0), like=make_image(values))
    assert messages == []
    assert np.isnan(out.rio.nodata)
    assert "valid_mask" not in out.coords


def test_a_stored_marker_of_another_image_is_not_that_of_this_one(make_image, make_fit):
    values = values_of("uint16", full=False)
    values[:30] = 0
    fit = make_fit(60.0, 30.0, tgt_nodata=0, nodata_is_stored=True)
    out, _ = warned(make_image(values), fit, like=make_image(values))
    assert out.rio.nodata == 65535
    assert (out.values == 0).sum() > 1000


def test_variables_of_a_dataset_share_one_mask(make_image, make_fit):
    full, labels = make_image(values_of("uint8", full=True)), make_image(values_of("int16", full=False))
    image = Dataset({"full": full, "labels": labels, "height": labels.astype("float32")})
    out, _ = warned(image, make_fit(60.0, 30.0), like=full)
    assert out.valid_mask.dims == ("y", "x")
    assert out.full.rio.nodata is None
    assert out.labels.rio.nodata == -32768
    np.testing.assert_array_equal(out.valid_mask, out.height.notnull())


def test_a_file_of_bytes_that_has_no_nodata_value(make_image, make_fit, tmp_path):
    values = values_of("uint8", full=True)
    path = write_raster(make_image(values), tmp_path / "a.tif")
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        done = correct_file(str(path), make_fit(60.0, 30.0), tmp_path / "b.tif", like=make_image(values))
    with rasterio.open(done) as file:
        assert (file.nodata, file.mask_flag_enums) == (None, ([MaskFlags.per_dataset],))
        np.testing.assert_array_equal(file.read_masks(1) > 0, np.pad(np.ones((77, 74), bool), ((0, 3), (6, 0))))
        np.testing.assert_array_equal(file.read(1)[:77, 6:], values[3:, :74])
    again = apply(open_raster(done), make_fit(-60.0, -30.0), like=make_image(values), force=True)
    np.testing.assert_array_equal(again.valid_mask, np.pad(np.ones((77, 74), bool), ((3, 0), (0, 6))))


@pytest.mark.parametrize("scale", [1, 3])
def test_the_mask_of_coarser_outputs_is_that_of_the_pixels(make_image, make_fit, scale):
    mask = np.random.default_rng(9).random((SIDE, SIDE)) > 0.3
    values = np.where(mask, 100, 7).astype("float32")
    image = make_image(values).assign_coords(valid_mask=(("y", "x"), mask))
    out = apply(image, make_fit(3.0, 4.0), resolution=10.0 * scale)
    np.testing.assert_array_equal(out.valid_mask, out.notnull())
    np.testing.assert_allclose(out.values[out.valid_mask.values], 100, rtol=1e-5)


def test_heights_are_corrected_beside_a_mask(make_image, make_fit):
    mask = np.ones((SIDE, SIDE), bool)
    mask[30:50, 30:50] = False
    image = make_image(np.full((SIDE, SIDE), 100, "int16")).assign_coords(valid_mask=(("y", "x"), mask))
    out = apply(image.astype("float32"), make_fit(2.0, 0.0), like=make_image(np.zeros((SIDE, SIDE))))
    np.testing.assert_array_equal(out.valid_mask, out.notnull())


@pytest.mark.parametrize("chunks", [None, 40])
@pytest.mark.parametrize("kind", ["bands", "variables"])
def test_what_was_found_in_one_band_is_data_in_another(make_image, make_fit, chunks, kind):
    first = values_of("uint8", full=False)
    first[:10] = 0
    second = np.where(first == 0, np.uint8(0), first)
    second[40:50, 40:50] = 0
    image = make_image(np.stack([first, second])).rename(lead0="band") if kind == "bands" else make_image(first)
    image = image if kind == "bands" else Dataset({"first": image, "second": make_image(second)})
    image = image if chunks is None else image.chunk({"x": chunks, "y": chunks})
    fit = replace(make_fit(23.0, 14.0, tgt_nodata=0), shape=(SIDE, SIDE))
    out, messages = warned(image, fit, like=make_image(first))
    assert messages == []
    pixels = out.values if kind == "bands" else np.stack([out.first.values, out.second.values])
    assert not out.valid_mask[:8].any()
    assert out.valid_mask[12:-2, 4:].all()
    assert (pixels[1][out.valid_mask.values] == 0).sum() >= 81
    assert (out.rio.nodata if kind == "bands" else out.second.rio.nodata) is None
