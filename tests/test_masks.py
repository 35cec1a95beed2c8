"""Masks from quality layers: the codes of the handbooks, lazy, and used by the matching."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import rioxarray
from xarray import DataArray

import xcoreg
from xcoreg import masks
from xcoreg.errors import OptionError
from xcoreg.simulate import pair


def layer(*values, dtype="uint16"):
    return DataArray(np.array([values], dtype), dims=("y", "x"))


def usable(kind, *values, dtype="uint16", **options):
    return getattr(masks, kind)(layer(*values, dtype=dtype), **options).values[0].tolist()


# (function, value, usable): values as the products' handbooks give them for typical pixels
TYPICAL = [
    ("scl", 0, False), ("scl", 1, False), ("scl", 2, True), ("scl", 3, False), ("scl", 4, True), ("scl", 5, True),
    ("scl", 6, True), ("scl", 7, True), ("scl", 8, False), ("scl", 9, False), ("scl", 10, False), ("scl", 11, True),
    ("qa60", 0, True), ("qa60", 1024, False), ("qa60", 2048, False),
    # Landsat 8: fill, clear land, clear water, mid-confidence cloud with dilation, cirrus, shadow, snow, high cloud
    ("qa_pixel", 1, False), ("qa_pixel", 21824, True), ("qa_pixel", 21952, True), ("qa_pixel", 21826, False),
    ("qa_pixel", 54596, False), ("qa_pixel", 23888, False), ("qa_pixel", 30048, True), ("qa_pixel", 22280, False),
    ("qa_radsat", 0, True), ("qa_radsat", 1, False), ("qa_radsat", 1 << 9, False), ("qa_radsat", 1 << 11, False),
    ("udm", 0, True), ("udm", 1, False), ("udm", 2, False), ("udm", 64, False),
    ("fmask", 0, True), ("fmask", 64, True), ("fmask", 66, False), ("fmask", 68, False), ("fmask", 72, False),
    ("fmask", 80, True), ("fmask", 96, True), ("fmask", 255, False),
    ("modis_state", 0b1000, True), ("modis_state", 0b1001, False), ("modis_state", 0b1010, False),
    ("modis_state", 0b1011, True), ("modis_state", 0b1100, False), ("modis_state", 1 << 8, True),
    ("modis_state", 2 << 8, False), ("modis_state", 1 << 10, False), ("modis_state", 1 << 13, False),
    ("modis_state", 1 << 15, True), ("modis_state", 65535, False),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "value", "expected"), TYPICAL)
def test_typical_values(kind, value, expected):
    assert usable(kind, value) == [expected]


def test_codes_are_excluded_by_name():
    assert usable("qa_pixel", 30048, 21952, exclude=["snow"]) == [False, True]
    assert usable("qa_pixel", 30048, 21952, exclude="water") == [True, False]
    assert usable("fmask", 64, 128, 192, exclude=["moderate_aerosol"]) == [True, False, False]
    assert usable("fmask", 66, 255, exclude=[]) == [True, False]


@pytest.mark.parametrize("kind", masks.CODES)
def test_every_default_is_a_code(kind):
    codes = masks.CODES[kind]
    assert set(codes.exclude) <= set(codes.names)


def test_an_unknown_code_is_refused_with_the_known_ones():
    with pytest.raises(OptionError, match=r"scl has no code 'clouds': choose from no_data, .*thin_cirrus, snow"):
        masks.scl(layer(4), exclude=["clouds"])


def test_decoded_and_signed_layers():
    assert usable("scl", 4.0, np.nan, 9.0, dtype="float32") == [True, False, False]
    assert usable("modis_state", 8, -1, dtype="int16")[0] is True  # bits of a signed type
    assert usable("qa_pixel", -10940, 21824, dtype="int16") == [False, True]  # 54596, cirrus


def test_bits_of_bytes():
    assert usable("fmask", 64, 66, dtype="uint8") == [True, False]


def test_dask_stays_lazy():
    image = layer(*range(12)).chunk({"x": 4})
    good = masks.scl(image)
    assert isinstance(good.data, da.Array)
    assert good.values[0].tolist() == masks.scl(image.compute()).values[0].tolist()


def test_the_nodata_value_of_the_codes_is_none_of_the_mask():
    image = layer(0, 4).assign_attrs(_FillValue=np.uint16(0), valid_range=(4, 11))
    assert set(masks.scl(image).attrs) == {"long_name"}


def udm2_of(**bands):
    image = np.zeros((8, 1, 2), np.uint8)
    for name, values in bands.items():
        image[list(masks.CODES["udm2"].names).index(name), 0] = values
    return DataArray(image, dims=("band", "y", "x"))


@pytest.mark.parametrize("name", ["shadow", "light_haze", "heavy_haze", "cloud", "udm"])
def test_udm2_excludes_what_is_not_clear(name):
    assert masks.udm2(udm2_of(**{name: [1, 0]})).values.tolist() == [[False, True]]


def test_udm2_options():
    image = udm2_of(snow=[1, 0], cloud=[0, 1], confidence=[90, 40])
    assert masks.udm2(image).values.tolist() == [[True, False]]
    assert masks.udm2(image, exclude=["snow"]).values.tolist() == [[False, True]]
    assert masks.udm2(image, exclude=[], min_confidence=50).values.tolist() == [[True, False]]
    with pytest.raises(OptionError, match="8 bands, not 1"):
        masks.udm2(image[0])


@pytest.fixture(scope="module")
def clouded(tmp_path_factory):
    """A pair whose target has a bright pattern that moves the other way under class 9, and the class layer."""
    both = pair((300, 300), shift=(2.3, -1.0), seed=1)
    folder = tmp_path_factory.mktemp("clouded")
    values, codes = both.tgt.values.copy(), np.full((150, 150), 4, np.uint8)
    codes[:, :100] = 9
    values[:, :200] = np.roll(both.ref.values, (7, -5), axis=(0, 1))[:, :200]
    target = both.tgt.copy(data=values)
    layer = DataArray(codes, dims=("y", "x")).rio.write_crs("EPSG:32633")
    step = both.tgt.rio.transform() @ both.tgt.rio.transform().scale(2, 2)
    xcoreg.write_raster(layer.rio.write_transform(step).rio.write_nodata(0), folder / "SCL.tif")
    return target, both.ref, folder / "SCL.tif"


@pytest.mark.parametrize("given", ["array", "path"])
def test_a_quality_layer_masks_the_matching(clouded, given):
    target, reference, path = clouded
    where = masks.scl(rioxarray.open_rasterio(path)) if given == "array" else f"scl:{path}"
    fit = target.coreg.match(reference, where=where, window=64)
    assert (fit.shift.dcol, fit.shift.drow) == pytest.approx((2.3, -1.0), abs=0.05)
