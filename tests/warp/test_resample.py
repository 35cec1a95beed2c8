"""Bringing interpolated values back into the dtype of an image."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox

from xcoreg.warp.apply import apply
from xcoreg.warp.resample import Resampler, to_stored


def finished(values, dtype, nodata=None, work=np.float64):
    values = np.array(values, dtype=work)
    return to_stored(values, np.ones(values.shape, bool), np.dtype(dtype), nodata, 0).tolist()


def test_halves_go_to_the_even_neighbour():
    assert finished([0.5, 1.5, 2.5, -0.5, -1.5], "int16") == [0, 2, 2, 0, -2]


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"])
def test_integers_saturate(dtype):
    info = np.iinfo(dtype)
    low, high = finished([-1e30, 1e30], dtype)
    assert low == info.min
    assert info.max - high < (1 if info.bits <= 32 else 2048)  # a float64 next below 2**63


def test_small_integers_saturate_in_single_precision():
    assert finished([-5.0, 70000.0], "uint16", work=np.float32) == [0, 65535]


@pytest.mark.parametrize(("nodata", "expected"), [(0, [1, 1, 255]), (255, [0, 1, 254]), (1, [0, 2, 255])])
def test_no_pixel_becomes_nodata_by_accident(nodata, expected):
    assert finished([0.2, 1.0, 255.0], "uint8", nodata) == expected


def test_no_float_becomes_nodata_by_accident():
    (value,) = finished([-9999.0], "float32", -9999.0, np.float32)
    assert value != -9999.0
    assert value == pytest.approx(-9999.0, rel=1e-6)


def test_missing_pixels_are_filled():
    out = to_stored(np.array([3.0, 4.0]), np.array([True, False]), np.dtype("int16"), -1, -1)
    assert out.tolist() == [3, -1]
    assert np.isnan(
        to_stored(np.array([3.0, 4.0]), np.array([True, False]), np.dtype("f4"), None, np.nan)
    ).tolist() == [
        False,
        True,
    ]


@pytest.mark.parametrize("dtype", ["uint8", "float64"])
def test_without_a_map_all_is_missing(dtype):
    blank = Resampler(None, (4, 5), "cubic", None, 9, dtype)
    assert blank.box(slice(0, 4), slice(0, 5)) == (0, 0, 0, 0)
    out = blank(np.zeros((2, 0, 0), dtype), (0, 0, 0, 0), slice(0, 4), slice(1, 5))
    assert out.shape == (2, 4, 4)
    assert out.dtype == np.dtype(dtype)
    assert (out == 9).all()


@pytest.mark.parametrize(("source", "side"), [(1, 256), (100, 256), (256, 256), (700, 768), (10980, 2048)])
def test_chunks_of_the_output_are_whole_tiles(make_image, make_fit, source, side):
    rows = 900 if source == 1 else 2300  # more chunks of one row would be refused
    image = make_image(da.zeros((rows, 20), chunks=(min(source, rows), 20), dtype=np.uint8), attrs={"_FillValue": 0})
    out = apply(image, make_fit(), like=image)
    assert out.chunks[0][0] == side
    assert sum(out.chunks[0]) == rows


def test_a_coarse_output_is_worked_on_in_parts_of_the_size_of_source_chunks(make_image, make_fit):
    source = make_image(da.zeros((4096, 4096), chunks=1024, dtype="f4"))
    like = GeoBox((512, 512), Affine(80, 0, 300000, 0, -80, 5900040), "EPSG:32633")
    out = apply(source, make_fit(), like=like)
    assert out.chunks == ((128,) * 4, (128,) * 4)  # 1024 px of the source each


@pytest.mark.parametrize("chunks", [700, 2048])
def test_a_coarse_output_does_not_depend_on_chunks(make_image, make_fit, chunks):
    values = np.random.default_rng(5).normal(size=(2048, 2048)).astype("f4")
    like = GeoBox((300, 300), Affine(66, 9, 300100, 9, -66, 5899900), "EPSG:32633")
    lazy = apply(make_image(da.from_array(values, chunks=chunks)), make_fit(), like=like).compute()
    assert lazy.values.tobytes() == apply(make_image(values), make_fit(), like=like).values.tobytes()
