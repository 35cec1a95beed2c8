"""Files of a few kilobytes that would fill the memory, and pixels that cannot be read: refused by name."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
import rasterio

import xcoreg
from xcoreg.errors import OptionError


def _one_tile(path, side):
    """A TIFF of zeros in one tile, side x side px: a thousandth of that in bytes."""
    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(bytes(side)) for _ in range(64)) + packer.flush()  # GDAL never comes to the end
    tags = [(256, side), (257, side), (258, 8), (259, 8), (262, 1), (277, 1), (322, side), (323, side), (324, 8)]
    tags += [(325, len(data))]
    body = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    head = b"II*\0" + struct.pack("<I", 8 + len(data))
    path.write_bytes(head + data + struct.pack("<H", len(tags)) + body + struct.pack("<I", 0))
    return path


def test_one_tile_of_gigabytes_is_refused_before_it_is_read(tmp_path):
    with pytest.raises(OptionError, match=r"blocks of 3\.6 GB.*TILED=YES"):
        xcoreg.open_raster(_one_tile(tmp_path / "a.tif", 60_000))
    assert xcoreg.open_raster(_one_tile(tmp_path / "b.tif", 160)).shape == (1, 160, 160)


def test_one_chunk_of_gigabytes_is_refused_before_it_is_read(tmp_path):
    zarr = pytest.importorskip("zarr")
    store, sides = (
        zarr.open_group(str(tmp_path / "a.zarr"), mode="w"),
        {"shape": (60_000,) * 2, "chunks": (60_000,) * 2},
    )
    make = store.create_array if hasattr(store, "create_array") else store.create  # of zarr 3, 2
    names = {"dimension_names": ("y", "x")} if hasattr(store, "create_array") else {}
    array = make(name="b", dtype="u1", **sides, **names)
    array.attrs["_ARRAY_DIMENSIONS"] = ["y", "x"]
    with pytest.raises(OptionError, match=r"blocks of 3\.6 GB"):
        xcoreg.open_raster(tmp_path / "a.zarr")[..., :64, :64].values  # noqa: B018


def test_pixels_that_cannot_be_read_are_named(tmp_path):
    scene = xcoreg.simulate.pair((128, 128), seed=7)
    path = xcoreg.write_raster(scene.tgt, tmp_path / "a.tif", compress="deflate")
    with rasterio.open(path) as file:
        assert file.profile["compress"] == "deflate"
    data = bytearray(path.read_bytes())
    data[len(data) // 3 : 2 * len(data) // 3] = b"\xff" * (2 * len(data) // 3 - len(data) // 3)
    path.write_bytes(data)
    image = xcoreg.open_raster(path)
    for use in (lambda: image.values, lambda: image.chunk(64).mean().compute(), lambda: image.coreg.match(scene.ref)):
        with pytest.raises(OptionError, match=r"a\.tif cannot be read, it may be damaged"):
            use()


@pytest.mark.parametrize("one", [np.array(5), 5, 5.0, np.float32(5)])
def test_nodata_is_a_number_of_any_kind(one, tmp_path):
    path = xcoreg.write_raster(xcoreg.simulate.pair((64, 64), seed=7).tgt, tmp_path / "a.tif")
    assert xcoreg.open_raster(path, nodata=one).rio.nodata == 5
