"""The same bits, however images are cut into chunks and whoever computes; and nothing computed that is not needed."""

from __future__ import annotations

import dask
import dask.array as da
import numpy as np
import pytest
from xarray import DataArray

from xcoreg.simulate import pair, smooth_field

SLOW = pytest.mark.slow
SIZE = 700
LOCAL = {"window": 64, "spacing": 90}


@pytest.fixture(scope="module")
def images():
    """A target with a smooth field of corrections, its reference, and that in another CRS, in memory."""
    both = pair((SIZE, SIZE), shift=smooth_field((SIZE, SIZE), 0.2, seed=1), seed=2)
    return both.tgt, both.ref, both.ref.rio.reproject("EPSG:32632", resampling=2)


def results(target, reference):
    """Every number of a fit and of a field, and the warped pixels on both grids."""
    fits = target.coreg.match(reference), target.coreg.match_local(reference, **LOCAL)
    numbers = [{key: value for key, value in fit.to_dict().items() if key not in ("details",)} for fit in fits]
    fixed = [target.coreg.apply(fits[1]), target.coreg.apply(fits[1], like=reference)]
    return numbers, [np.asarray(image.values) for image in fixed]


def assert_same(found, wanted):
    assert found[0] == wanted[0]
    for one, two in zip(found[1], wanted[1], strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.fixture(scope="module")
def in_memory(images):
    target, *references = images
    return [results(target, reference) for reference in references]


@pytest.mark.parametrize("other", [False, True], ids=["one CRS", "two CRSs"])
@pytest.mark.parametrize("chunk", [256, pytest.param(512, marks=SLOW), 1000, pytest.param(2048, marks=SLOW), -1])
def test_chunks_change_nothing(images, in_memory, chunk, other):
    target, reference = (image.chunk({"y": chunk, "x": chunk}) for image in (images[0], images[1 + other]))
    assert_same(results(target, reference), in_memory[other])


def test_one_thread_changes_nothing(images, in_memory):
    target, reference = (image.chunk({"y": 400, "x": 300}) for image in images[:2])
    with dask.config.set(scheduler="synchronous"):
        assert_same(results(target, reference), in_memory[0])


def test_processes_change_nothing(images, in_memory):
    target, reference = (image.chunk({"y": 512, "x": 512}) for image in images[:2])
    fit = target.coreg.match_local(reference, **LOCAL)
    with dask.config.set(scheduler="processes", num_workers=2):
        warped = target.coreg.apply(fit, like=reference).compute()
    np.testing.assert_array_equal(warped.values, in_memory[0][1][1])


def counted(image, chunk, seen):
    """The same image, computed chunk by chunk, each telling when it is."""
    values = image.data

    def block(block_info=None):
        place = tuple(slice(*span) for span in block_info[None]["array-location"])
        seen.append(place[0].start * SIZE + place[1].start)
        return values[place]

    chunks = da.core.normalize_chunks(chunk, values.shape)
    return image.copy(data=da.map_blocks(block, chunks=chunks, dtype=values.dtype, meta=values[:0, :0]))


def test_warping_computes_nothing_and_then_every_chunk_once(images, in_memory):
    fit = images[0].coreg.match_local(images[1], **LOCAL)
    seen = []
    warped = counted(images[0], 256, seen).coreg.apply(fit, like=images[1])
    assert seen == []
    np.testing.assert_array_equal(warped.values, in_memory[0][1][1])
    assert len(seen) == len(set(seen)) == 9


def test_moving_the_transform_computes_no_pixel(images):
    shift = images[0].coreg.match(images[1])
    seen = []
    moved = counted(images[0], 256, seen).coreg.apply(shift)
    assert seen == []
    assert float(moved.x[0] - images[0].x[0]) == pytest.approx(shift.shift.dx)


def test_of_a_large_scene_only_the_windows_are_computed(images):
    side, tile, seen = 12 * 512, images[0].values[:512, :512], []

    def block(block_info=None):
        seen.append(block_info[None]["chunk-location"])
        return tile

    made = da.map_blocks(block, chunks=((512,) * 12,) * 2, dtype=tile.dtype, meta=tile[:0, :0])
    x, y = (10.0 * np.arange(side) for _ in range(2))
    large = DataArray(made, {"y": -y, "x": x}, ("y", "x")).rio.write_crs("EPSG:32633").rio.write_nodata(0)
    fit = large.coreg.match(large, windows=4)
    assert fit.shift.length < 0.1
    assert len(set(seen)) < 100  # of 144, half of these to see where data end
    seen.clear()
    large.coreg.shift_to(large, at=(30000.0, -30000.0), window=128, footprint=large.coreg.grid.extent.geom)
    assert len(set(seen)) < 60


def test_graphs_grow_with_the_chunks_of_the_output_and_equal_ones_share_their_names(images):
    fit = images[0].coreg.match_local(images[1], **LOCAL)
    target = images[0].chunk({"y": 256, "x": 256})
    one, two = (target.coreg.apply(fit, like=images[1]).data for _ in range(2))
    assert one.name == two.name
    tasks = len(one.__dask_graph__())
    assert tasks < 12 * one.npartitions
    assert target.coreg.apply(fit, like=images[1], resampling="bilinear").data.name != one.name
