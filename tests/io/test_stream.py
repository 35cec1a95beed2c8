"""Lazy images are handed on block by block, each once, and few are alive at a time."""

from __future__ import annotations

import multiprocessing
import weakref
from concurrent.futures import ProcessPoolExecutor

import dask
import dask.array as da
import numpy as np
import pytest

from xcoreg.io import stream
from xcoreg.io.stream import stream_blocks
from xcoreg.lazy import map_output_blocks

SIDE = 8


class Alive:
    """Makes blocks, and counts how often each was made and how many are alive."""

    def __init__(self, n_rows, n_cols):
        self.made, self.now, self.most = [], 0, 0
        chunks = ((SIDE,) * n_rows, (SIDE,) * n_cols)
        self.image = da.map_blocks(self.make, chunks=chunks, dtype=float, meta=np.empty((0, 0)))
        self.shape = self.image.shape

    def make(self, block_info=None):
        where = block_info[None]["array-location"]
        self.made.append(tuple(where[0] + where[1]))
        self.now += 1
        self.most = max(self.most, self.now)
        block = np.add.outer(*(np.arange(*ends, dtype=float) for ends in where))
        weakref.finalize(block, self.gone)
        return block

    def gone(self):
        self.now -= 1

    def smeared(self):
        """An image each of whose blocks needs all its neighbours."""
        near = lambda rows, cols: (*self.near(rows, 0), *self.near(cols, 1))  # noqa: E731
        return map_output_blocks(self.inner, self.image, self.image.chunks, near, float)

    def near(self, span, axis):
        return max(span.start - 1, 0), min(span.stop + 1, self.shape[axis])

    def inner(self, window, box, rows, cols):
        return window[rows.start - box[0] :, cols.start - box[2] :][: rows.stop - rows.start, : cols.stop - cols.start]

    def __dask_tokenize__(self):
        return id(self)


def collect(images, **options):
    """Pour into arrays of NaN, and tell where each block went."""
    out, windows = [np.full(image.shape, np.nan) for image in images], []

    def put(number, window, block):
        windows.append((number, window))
        out[number][window] = block

    stream_blocks(images, put, **options)
    return out, windows


@pytest.mark.parametrize("shape", [(1, 1), (20, 5), (5, 20)])
def test_every_block_comes_once(shape):
    alive = Alive(*shape)
    (out,), windows = collect([alive.smeared()])
    np.testing.assert_array_equal(out, alive.image)
    assert len(windows) == shape[0] * shape[1]


@pytest.mark.parametrize("scheduler", ["threads", "synchronous"])
def test_rows_come_one_after_another_and_three_of_them_are_alive(scheduler):
    alive = Alive(40, 6)
    with dask.config.set(scheduler=scheduler):
        _, windows = collect([alive.smeared()])
    starts = [(window[0].start, window[1].start) for _, window in windows]
    assert starts == sorted(starts)
    assert len(alive.made) == 40 * 6
    assert alive.most <= 3 * 6 + 4


def test_strips_bound_what_is_alive_and_share_a_border(monkeypatch):
    monkeypatch.setattr(stream, "_MEMORY", 3 * 5 * SIDE * SIDE * 8)
    monkeypatch.setattr(stream.os, "cpu_count", lambda: 1)
    alive = Alive(12, 40)
    (out,), _ = collect([alive.smeared()])
    np.testing.assert_array_equal(out, np.add.outer(np.arange(12.0 * SIDE), np.arange(40.0 * SIDE)))
    assert alive.most <= 3 * 7 + 4
    assert len(alive.made) == 12 * (40 + 2 * 7)


def test_layers_and_images_are_computed_together_where_memory_allows(monkeypatch):
    alive = Alive(3, 4)
    images = [da.stack([alive.image, -alive.image]), alive.image + 1]
    (first, second), _ = collect(images)
    assert len(alive.made) == 12
    np.testing.assert_array_equal(first[1], -first[0])
    np.testing.assert_array_equal(second, first[0] + 1)
    monkeypatch.setattr(stream, "_MEMORY", 1)
    again, windows = collect(images)
    np.testing.assert_array_equal(again[0], first)
    assert len(windows) == 3 * 12
    assert len(alive.made) == 12 + 3 * 12


def test_images_of_other_chunks_are_computed_one_by_one():
    images = [da.arange(60, chunks=7).reshape(6, 10), da.arange(60, chunks=60).reshape(6, 10)]
    out, _ = collect(images)
    np.testing.assert_array_equal(*out)


def test_blocks_of_other_processes_are_brought_here():
    image = da.arange(600, chunks=60).reshape(20, 30)
    pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
    with pool, dask.config.set(scheduler="processes", pool=pool):
        (out,), _ = collect([image])
    np.testing.assert_array_equal(out, np.arange(600).reshape(20, 30))


def test_after_an_error_no_block_comes_any_more():
    alive, seen = Alive(10, 10), []

    def put(number, window, block):
        seen.append(window)
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        stream_blocks([alive.image], put)
    assert len(seen) <= 2
