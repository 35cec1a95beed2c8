"""Formats keep their promise: what they cannot hold is refused, what they lose is told in numbers, old files go."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import rasterio
from affine import Affine
from xarray import DataArray

from xcoreg.coregister import check_format
from xcoreg.errors import CoregWarning, OptionError
from xcoreg.io.copy import copy_moved
from xcoreg.io.formats import may_lose, side_files
from xcoreg.io.read import open_raster
from xcoreg.io.write import write_raster

GRID = Affine(10, 0, 300000, 0, -10, 5900000)


def make(dtype, shape=(90, 80), **options):
    """A smooth image over all values of a dtype."""
    kind = np.dtype(dtype)
    ends = (np.iinfo(kind).min, np.iinfo(kind).max) if kind.kind in "iu" else (-1.0, 1.0)
    pixels = np.linspace(*ends, num=int(np.prod(shape))).reshape(shape).astype(kind)
    dims = ("band", "y", "x")[-len(shape) :]
    return DataArray(pixels, dims=dims, **options).rio.write_crs(32633).rio.write_transform(GRID)


HOLDS = {
    "a.tif": "int8 uint8 int16 uint16 int32 uint32 float32 float64",
    "a.bsq": "uint8 int16 uint16 int32 uint32 float32 float64",
    "a.png": "uint8 uint16",
    "a.jp2": "uint8 int16 uint16",
    "a.jpg": "uint8",
}
DTYPES = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "float32", "float64", "complex64"]


@pytest.mark.filterwarnings("ignore:JPEG is lossy")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", HOLDS)
def test_a_format_holds_a_dtype_exactly_or_refuses_it(tmp_path, name, dtype):
    if dtype == "complex64":
        image = make("float32").astype(dtype)
        if name in ("a.tif", "a.bsq"):
            assert (open_raster(write_raster(image, tmp_path / name)).values == image.values).all()
            return
    else:
        image = make(dtype)
    if dtype in HOLDS[name].split():
        found = open_raster(write_raster(image, tmp_path / name)).values[0]
        assert found.dtype == image.dtype
        assert np.abs(found.astype(float) - image.values).max() <= (12 if name == "a.jpg" else 0)
    elif not (name == "a.jp2" and dtype in ("int32", "uint32")):  # as its library has them
        with pytest.raises(OptionError, match=r"cannot (be written|store|hold)"):
            write_raster(image, tmp_path / name)
        assert list(tmp_path.iterdir()) == []


def test_single_bits_are_values_of_uint8(tmp_path):
    profile = {"driver": "GTiff", "width": 8, "height": 8, "count": 1, "dtype": "uint8", "transform": GRID}
    with rasterio.open(tmp_path / "a.tif", "w", **profile, nbits=1) as file:
        file.write(np.eye(8, dtype="uint8")[None])
    for name in ("b.tif", "b.png", "b.bsq"):
        assert (open_raster(write_raster(open_raster(tmp_path / "a.tif"), tmp_path / name)).values == np.eye(8)).all()


@pytest.mark.parametrize(
    ("name", "options"),
    [("a.jpg", {}), ("a.jp2", {"quality": "5", "reversible": "no"}), ("a.tif", {"compress": "jpeg"})],
)
def test_what_a_lossy_format_changes_is_said_in_numbers(tmp_path, name, options):
    noise = np.random.default_rng(1).integers(0, 256, (200, 200)).astype("uint8")
    with pytest.warns(CoregWarning, match=r"lossy here: pixels differ by up to \d+, RMS"):
        write_raster(make("uint8", (200, 200)).copy(data=noise), tmp_path / name, **options)


@pytest.mark.parametrize(("name", "options"), [("a.jp2", {}), ("a.png", {}), ("a.tif", {"compress": "lerc"})])
def test_nothing_is_said_of_what_loses_nothing(tmp_path, name, options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_raster(make("uint8", (200, 200)), tmp_path / name, **options)


def test_values_that_would_be_clipped_are_refused(tmp_path):
    with pytest.raises(OptionError, match="JPEG cannot hold these values: 0 to 65535 become 0 to 4095"):
        write_raster(make("uint16"), tmp_path / "a.jpg")


def test_which_formats_may_lose():
    lossy = (("JPEG", {}), ("GTiff", {"COMPRESS": "WEBP"}), ("JP2OpenJPEG", {"QUALITY": 9}))
    assert all(may_lose(*each) for each in lossy)
    assert not any(may_lose(name, {}) for name in ("GTiff", "COG", "PNG", "JP2OpenJPEG", "netCDF"))


# --- before any work -------------------------------------------------------------------------------------------------

OPTIONS = [
    ("a.tif", None, {"SQUEEZE": "deflate"}, "does not support creation option SQUEEZE"),
    ("a.tif", None, {"COMPRESS": "quux"}, "'quux' is an unexpected value for COMPRESS"),
    ("a.tif", None, {"tiled": "yes", "blockxsize": "100", "blockysize": "100"}, "must be (a )?multiple"),
    ("a.tif", "COG", {"tiled": "yes"}, "does not support creation option TILED"),
    ("a.png", None, {"ZLEVEL": "99"}, "cannot be"),
    ("a.nc", None, {"zlib": "perhaps", "nonsense": 1}, "cannot be written as netCDF"),
    ("a.bsq", None, {"INTERLEAVE": "XXX"}, "'XXX' is an unexpected value for INTERLEAVE"),
]


@pytest.mark.parametrize(("name", "driver", "creation", "message"), OPTIONS)
def test_creation_options_are_tried_before_any_work(tmp_path, name, driver, creation, message):
    source = write_raster(make("uint16"), tmp_path / "image.tif")
    for image in (None, str(source)):
        with pytest.raises(OptionError, match=message) as caught:
            check_format(tmp_path / name, driver, creation, image)
        assert "/try." not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["image.tif"]


def test_good_options_pass(tmp_path):
    source = write_raster(make("uint16", (5, 90, 80)), tmp_path / "image.tif")
    check_format(tmp_path / "a.tif", None, {"compress": "zstd", "predictor": "2"}, str(source))
    check_format(tmp_path / "a.jp2", None, None, str(source))
    check_format(tmp_path / "a.nc", None, {"zlib": True}, str(source))


@pytest.mark.parametrize(
    ("name", "dtype", "heights"),
    [("a.jpg", "uint16", False), ("a.png", "int16", False), ("a.png", "uint16", True)],
)
def test_a_dtype_that_a_format_cannot_hold_is_refused_before_any_work(tmp_path, name, dtype, heights):
    source = write_raster(make(dtype), tmp_path / "image.tif")
    with pytest.raises(OptionError, match=r"cannot (be written|store|hold)"):
        check_format(tmp_path / name, None, None, str(source), heights=heights)


# --- files beside an output -----------------------------------------------------------------------------------------

BESIDE = ("a.tif.aux.xml", "a.tif.msk", "a.tif.ovr", "a.tfw", "a.tifw", "a.prj", "a_RPC.TXT", "a.RPB", "a.hdr", "a.wld")


@pytest.mark.parametrize("how", ["written", "copied"])
def test_files_beside_an_old_output_go_with_it(tmp_path, how):
    source = write_raster(make("uint8"), tmp_path / "source.tif")
    for name in ("a.tif", *BESIDE):
        (tmp_path / name).write_bytes(b"old")
    if how == "written":
        write_raster(open_raster(source), tmp_path / "a.tif")
    else:
        copy_moved(source, tmp_path / "a.tif", GRID)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tif", "source.tif"]


def test_files_of_other_images_stay(tmp_path):
    for name in ("a.shp", "a.prj", "a.bsq", "a.hdr", "a.tfw", "ab.prj"):
        (tmp_path / name).write_bytes(b"mine")
    assert [path.name for path in side_files(tmp_path / "a.tif")] == ["a.tfw"]


def test_a_failure_leaves_the_old_files(tmp_path):
    for name in ("a.jpg", "a.jgw", "a.jpg.aux.xml"):
        (tmp_path / name).write_bytes(b"old")
    with pytest.raises(OptionError):
        write_raster(make("float32"), tmp_path / "a.jpg")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jgw", "a.jpg", "a.jpg.aux.xml"]


def test_bits_that_do_not_suffice_are_refused(tmp_path):
    with pytest.raises(OptionError, match="cannot hold these values: 0 to 65535 become 0 to 4095"):
        write_raster(make("uint16"), tmp_path / "a.tif", nbits=12)
    write_raster(make("uint8"), tmp_path / "b.tif", nbits=8)
