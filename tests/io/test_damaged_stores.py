"""Zarr stores with damaged chunks or descriptions: an error names the store, the variable and the place."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import xcoreg
from xcoreg.errors import OptionError

zarr = pytest.importorskip("zarr")
numcodecs = pytest.importorskip("numcodecs")

CODECS = {
    "zlib": numcodecs.Zlib(), "gzip": numcodecs.GZip(), "bz2": numcodecs.BZ2(), "lzma": numcodecs.LZMA(),
    "blosc": numcodecs.Blosc(), "zstd": numcodecs.Zstd(), "lz4": numcodecs.LZ4(), "none": None,
}  # fmt: skip

OPTION = "compressors" if int(zarr.__version__.split(".")[0]) > 2 else "compressor"


@pytest.fixture(scope="module")
def scene():
    return xcoreg.simulate.pair((128, 128), shift=(1.3, -0.8), seed=7)


def _store(image, path, codec=None):
    encoding = {"b": {"chunks": (64, 64), OPTION: codec}}
    image.rename("b").drop_encoding().to_dataset().to_zarr(path, encoding=encoding, zarr_format=2)
    return path


@pytest.mark.parametrize("name", CODECS)
def test_a_damaged_chunk_is_named(name, scene, tmp_path):
    path = _store(scene.tgt, tmp_path / "a.zarr", CODECS[name])
    chunk = path / "b" / "1.1"
    good = chunk.read_bytes()
    chunk.write_bytes(good[: len(good) // 2 + 1] if name == "none" else b"junk" + good[4:-9])
    image = xcoreg.open_raster(path)
    np.testing.assert_array_equal(image[:64, :64], scene.tgt[:64, :64])  # the other chunks are read
    for use in (
        lambda: image[70:, 66:].values,
        lambda: image.chunk(64).mean().compute(),
        lambda: image.coreg.match(scene.ref),
    ):
        with pytest.raises(OptionError, match=r"a\.zarr, variable b, cannot be read at \[.*may be damaged"):
            use()


@pytest.mark.skipif(int(zarr.__version__.split(".")[0]) < 3, reason="compressors are not known there")
@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("size", [0, 15, 133, -1])
def test_a_chunk_that_is_cut_off_never_reaches_blosc(size, version, scene, tmp_path):
    """C-Blosc trusts the size in the header of a chunk, and reads beyond the end of one that is shorter."""
    path, codec = tmp_path / "a.zarr", numcodecs.Blosc() if version == 2 else zarr.codecs.BloscCodec()
    image = scene.tgt.rename("b").drop_encoding().to_dataset()
    image.to_zarr(
        path, encoding={"b": {"chunks": (64, 64), "compressors": codec}}, zarr_format=version, consolidated=False
    )
    chunk = path / "b" / ("1.1" if version == 2 else "c/1/1")
    chunk.write_bytes(chunk.read_bytes()[:size])
    opened = xcoreg.open_raster(path)
    np.testing.assert_array_equal(opened[:64, ::-3], scene.tgt[:64, ::-3])
    for use in (lambda: opened[64, 66].values, lambda: opened.isel(x=[3, 90], y=[127, 0]).values):
        with pytest.raises(OptionError, match=r"variable b, .* the chunk 1?\.?1 is cut off"):
            use()


@pytest.mark.parametrize("codec", [numcodecs.Blosc(), numcodecs.Zstd(), numcodecs.LZ4()])
@pytest.mark.parametrize("chunk", ["b/1.1", "x/0"])
def test_a_chunk_that_says_it_is_huge_is_not_decompressed(codec, chunk, scene, tmp_path):
    """Coordinates are read by xarray while it opens a store, before anything is wrapped around them."""
    path = tmp_path / "a.zarr"
    encoding = {name: {OPTION: codec} for name in ("b", "x", "y")}
    encoding["b"]["chunks"] = (64, 64)
    scene.tgt.rename("b").drop_encoding().to_dataset().to_zarr(path, encoding=encoding, zarr_format=2)
    data = bytearray((path / chunk).read_bytes())
    at = {"blosc": slice(4, 8), "lz4": slice(0, 4)}.get(codec.codec_id, slice(4, 13))
    data[at] = (
        (2**31 - 16).to_bytes(4, "little") if codec.codec_id != "zstd" else b"\xe0" + (2**40).to_bytes(8, "little")
    )
    (path / chunk).write_bytes(data)
    with pytest.raises(OptionError, match=r"holds \d{10,} bytes, and at most \d+ belong there"):
        xcoreg.open_raster(path).values  # noqa: B018


@pytest.mark.parametrize("codec", [numcodecs.Blosc(), numcodecs.Zstd()])
def test_a_coordinate_that_is_cut_off_is_refused(codec, scene, tmp_path):
    path = tmp_path / "a.zarr"
    image = scene.tgt.rename("b").drop_encoding().to_dataset()
    image.to_zarr(path, encoding={"x": {OPTION: codec}}, zarr_format=2)
    (path / "x" / "0").write_bytes((path / "x" / "0").read_bytes()[:60])
    with pytest.raises(OptionError, match="cannot be opened, it may be damaged"):
        xcoreg.open_raster(path)


@pytest.mark.parametrize("chunks", [None, {}])
def test_stores_that_xarray_opened_are_named_as_damaged(chunks, scene, tmp_path):
    path = _store(scene.tgt, tmp_path / "a.zarr", CODECS["zlib"])
    (path / "b" / "0.0").write_bytes(b"junk")
    image = xr.open_zarr(path, chunks=chunks, decode_coords="all", consolidated=False)["b"]
    with pytest.raises(OptionError, match="may be damaged"):
        image.coreg.match(scene.ref)


def test_errors_of_a_graph_of_ones_own_are_no_damage(scene):
    def fail(block):
        if block.size:
            raise ZeroDivisionError("mine")
        return block

    image = scene.tgt.chunk(64)
    with pytest.raises(OptionError, match="mine") as caught:
        image.copy(data=image.data.map_blocks(fail, dtype=image.dtype)).coreg.match(scene.ref)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert "may be damaged" not in str(caught.value)


def test_a_damaged_description_is_named(scene, tmp_path):
    path = _store(scene.tgt, tmp_path / "a.zarr")
    for one in path.rglob(".z*"):
        if one.name != ".zgroup":
            one.write_bytes(b"{")
    with pytest.raises(OptionError, match="Zarr store that cannot be opened"):
        xcoreg.open_raster(path)


@pytest.mark.parametrize(
    "chunks", [[1, 2], (64,), np.array([64, 64]), {"y": True}, {"y": 10**30}, {"q": 5}, 0, "junk", []]
)
def test_sizes_of_chunks_that_do_not_fit_are_refused(chunks, scene, tmp_path):
    path = xcoreg.write_raster(scene.tgt, tmp_path / "a.tif")
    with pytest.raises(OptionError, match="chunks="):
        xcoreg.open_raster(path, chunks=chunks)


def test_chunks_of_a_few_pixels_are_refused_before_dask_takes_minutes(scene, tmp_path):
    path, fit = xcoreg.write_raster(scene.tgt, tmp_path / "a.tif"), scene.tgt.coreg.match(scene.ref)
    assert xcoreg.open_raster(path, chunks=[1, 64, 32]).chunks == ((1,), (64, 64), (32,) * 4)
    tiny = scene.tgt.chunk(2)
    uses = (
        lambda: xcoreg.open_raster(path, chunks=2), lambda: xcoreg.match(tiny, scene.ref),
        lambda: xcoreg.match_stack([tiny, scene.ref]), lambda: xcoreg.apply(tiny, fit, like=scene.ref),
        lambda: xcoreg.write_raster(tiny, tmp_path / "b.tif"),
    )  # fmt: skip
    for use in uses:
        with pytest.raises(OptionError, match=r"4096 chunks of about 4 pixels.*chunk\('auto'\)"):
            use()
