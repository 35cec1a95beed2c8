"""Blocks of a user's graph that cannot be made, or are not what was announced: one error of xcoreg, with its cause."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
from rasterio.errors import RasterioIOError

import xcoreg
from xcoreg.errors import OptionError
from xcoreg.lazy import BlockError, compute_all, run_tasks


@pytest.fixture(scope="module")
def scene():
    return xcoreg.simulate.pair((200, 220), shift=(1.3, -0.8), seed=11)


def made_by(function, image):
    """Image of which a function makes each block."""
    chunked = image.chunk(64)
    meta = np.empty((0,) * image.ndim, image.dtype)
    return chunked.copy(data=chunked.data.map_blocks(function, dtype=image.dtype, meta=meta))


def raising(kind, *words):
    def make_block(block):
        raise kind(*words)

    return make_block


def stack(image, ref, path):
    xcoreg.match_stack({"2024-01-01": ref, "2024-01-02": image}, errors="raise")


USES = {
    "match": lambda image, ref, path: image.coreg.match(ref),
    "as reference": lambda image, ref, path: ref.coreg.match(image),
    "match_local": lambda image, ref, path: image.coreg.match_local(ref, window=48, spacing=60),
    "warp_to": lambda image, ref, path: image.coreg.warp_to(ref, window=48, spacing=60),
    "stack": stack,
    "tiled": lambda image, ref, path: xcoreg.write_raster(image, path / "o.tif", tiled=True),
    "strips": lambda image, ref, path: xcoreg.write_raster(image, path / "o.tif", tiled=False),
    "NetCDF": lambda image, ref, path: xcoreg.write_raster(image, path / "o.nc"),
    "Zarr": lambda image, ref, path: xcoreg.write_raster(image, path / "o.zarr"),
}  # fmt: skip
every_use = pytest.mark.parametrize("use", USES.values(), ids=USES)


@every_use
@pytest.mark.parametrize("error", [KeyError, OSError, RuntimeError])
def test_an_error_of_a_block_is_named_and_kept_as_the_cause(scene, tmp_path, use, error):
    with pytest.raises(OptionError, match=r"no such scene.*, in make_block \(test_failing_blocks.py") as caught:
        use(made_by(raising(error, "no such scene"), scene.tgt), scene.ref, tmp_path)
    assert isinstance(caught.value.__cause__, error)
    assert not list(tmp_path.iterdir())


@every_use
@pytest.mark.parametrize(
    "change",
    [lambda b: b[:-1], lambda b: b[None], lambda b: None, lambda b: np.pad(b, 3), lambda b: b.astype("U4")],
    ids=["short", "deep", "nothing", "long", "text"],
)  # fmt: skip
def test_blocks_that_are_not_what_was_announced_are_refused(scene, tmp_path, use, change):
    with pytest.raises(OptionError):
        use(made_by(lambda block: change(block) if block.size else block, scene.tgt), scene.ref, tmp_path)
    assert not list(tmp_path.iterdir())


def test_masks_that_an_array_does_not_announce_are_not_lost_in_silence(scene):
    with pytest.raises(OptionError, match=r"dask.array.ma.filled"):
        made_by(lambda block: np.ma.masked_greater(block, 2000), scene.tgt).coreg.match(scene.ref)


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt, SystemExit])
def test_what_ends_a_program_passes(scene, error):
    with pytest.raises(error):
        made_by(raising(error), scene.tgt).coreg.match(scene.ref)


def test_errors_of_xcoreg_pass(scene):
    with pytest.raises(xcoreg.errors.NoOverlap, match="elsewhere"):
        made_by(raising(xcoreg.errors.NoOverlap, "elsewhere"), scene.tgt).coreg.match(scene.ref)


def test_a_damaged_file_under_a_graph_is_called_damaged(scene):
    with pytest.raises(OptionError, match=r"target cannot be read, it may be damaged.*gone"):
        made_by(raising(RasterioIOError, "gone"), scene.tgt).coreg.match(scene.ref)


def test_an_applied_image_refuses_blocks_of_another_shape_when_it_is_computed(scene):
    fit = scene.tgt.coreg.match(scene.ref)
    lazy = made_by(lambda block: block[:-1] if block.size else block, scene.tgt).coreg.apply(fit, align_grid=True)
    with pytest.raises(OptionError, match=r"announced|do not fit"):
        lazy.compute()


def test_a_fault_of_this_package_is_not_blamed_on_the_graph():
    def fault(_shared, _item):
        return compute_all([1])[5]

    fault.__globals__["__name__"], before = "xcoreg.fault", fault.__globals__["__name__"]
    try:
        with pytest.raises(IndexError):
            run_tasks(fault, None, [1, 2])
    finally:
        fault.__globals__["__name__"] = before


def test_sizes_that_are_unknown_are_taken_as_they_come():
    array = da.arange(10, chunks=5)
    assert compute_all([array[array > 3]])[0].tolist() == [4, 5, 6, 7, 8, 9]


def test_a_block_error_names_the_array():
    array = da.zeros((4, 4), chunks=2).map_blocks(lambda b: b[:1], dtype=float, name="cut")
    with pytest.raises(BlockError, match="cut is float64 of shape"):
        compute_all([array])
