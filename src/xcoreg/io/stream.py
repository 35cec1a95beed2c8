"""Writing lazy images to a file block by block, with few blocks in memory at a time."""

from __future__ import annotations

import os
import threading
import uuid
from functools import partial, reduce
from itertools import pairwise, product
from operator import add
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from rasterio.windows import Window as FileWindow
from xarray import DataArray, Variable
from xarray.conventions import encode_cf_variable

from xcoreg import lazy
from xcoreg.lazy.graph import slices_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    Window = tuple[slice, ...]
    Put = Callable[[int, Window, NDArray[Any]], None]
    Piece = tuple[int, Window]

_MEMORY = 256_000_000  # bytes of chunks in memory at once
_TILE = 512  # px, blocks end on the borders of tiles
_ROWS = 3  # rows of chunks in memory where every block needs its neighbours, as in a warp
_NARROW = 3  # chunks; narrower strips would compute too much twice


def stream_blocks(images: Sequence[Any], put: Put, *, picklable: bool = False) -> None:
    """Compute lazy images and write every block once, with few blocks in memory for any size of image."""
    arrays = list(images)
    writer = _ParallelWriter(put) if picklable else _OrderedWriter(put)
    in_tasks = picklable or _runs_here()
    try:
        for pieces, wide in _batches(arrays):
            n_cols = arrays[pieces[0][0]].numblocks[-1]
            for start in range(0, n_cols, wide):
                strip = slice(start, min(start + wide, n_cols))
                in_tasks = in_tasks and _write_in_tasks(arrays, pieces, strip, writer)
                if not in_tasks:
                    _write_here(arrays, pieces, strip, put)
    finally:
        writer.close()


class _OrderedWriter:
    """Writes blocks one by one, always in the same order, to a file that is open in this process."""

    def __init__(self, put: Put) -> None:
        self._put, self._lock, self._open, self.pickled = put, threading.Lock(), True, False
        self.order = 0
        self._waiting: dict[int, tuple[int, Window, NDArray[Any]]] = {}

    def __call__(self, order: int, number: int, window: Window, block: NDArray[Any]) -> None:
        with self._lock:
            if self._open:  # threads may continue after one of them has failed
                self._waiting[order] = number, window, block
            while self.order in self._waiting:
                self._put(*self._waiting.pop(self.order))
                self.order += 1

    def __reduce__(self) -> NoReturn:
        self.pickled = True
        raise TypeError("an open file cannot be pickled")

    def close(self) -> None:
        with self._lock:
            self._open = False
            self._waiting.clear()


class _ParallelWriter:
    """Writes any number of blocks at a time; closing waits for those of this process."""

    order, pickled = 0, False

    def __init__(self, put: Put) -> None:
        self._put, self._inside, self._open, self._moved = put, 0, True, threading.Condition()

    def __call__(self, _turn: int, number: int, window: Window, block: NDArray[Any]) -> None:
        with self._moved:
            if not self._open:
                return
            self._inside += 1
        try:
            self._put(number, window, block)
        finally:
            with self._moved:
                self._inside -= 1
                self._moved.notify_all()

    def __reduce__(self) -> Any:
        return _ParallelWriter, (self._put,)

    def close(self) -> None:
        with self._moved:
            self._open = False
            self._moved.wait_for(lambda: self._inside == 0)


def _runs_here() -> bool:
    """Whether tasks run in this process."""
    probe = Variable("n", np.zeros(1)).chunk().data.map_blocks(_pid, dtype=np.int64, meta=np.zeros(0, np.int64))
    return int(lazy.compute_all([probe])[0][0]) == os.getpid()


def _pid(block: NDArray[Any]) -> NDArray[np.int64]:
    return np.full(block.shape, os.getpid())


def _batches(arrays: Sequence[Any]) -> Iterator[tuple[list[Piece], int]]:
    """Images and bands that are computed together, and the width of their strips in chunks."""
    if not arrays:
        return
    n_cols = arrays[0].numblocks[-1]
    every = [(number, (slice(None),) * (array.ndim - 2)) for number, array in enumerate(arrays)]
    wide = _strip_width([(arrays[number], leads) for number, leads in every])
    if len({array.chunks[-2:] for array in arrays}) == 1 and wide >= min(_NARROW, n_cols):
        yield every, _even_width(wide, n_cols)
        return
    for number, array in enumerate(arrays):
        for lead in np.ndindex(array.numblocks[:-2]):
            leads = tuple(slice(at, at + 1) for at in lead)
            yield [(number, leads)], _even_width(_strip_width([(array, leads)]), array.numblocks[-1])


def _strip_width(parts: Sequence[tuple[Any, Window]]) -> int:
    """Width of a strip, one chunk per thread unless chunks are very large."""
    most = _MEMORY / (_ROWS * max(1, sum(_column(array, leads) for array, leads in parts)))
    return int(max(most, min(os.cpu_count() or 1, 4 * most)))


def _column(array: Any, leads: Window) -> int:
    """Bytes of one chunk of rows and columns, through the chunks of some leading axes."""
    deep = [sum(sizes[cut]) for sizes, cut in zip(array.chunks[:-2], leads, strict=True)]
    return int(np.prod([*deep, *(max(sizes) for sizes in array.chunks[-2:]), array.dtype.itemsize], dtype=np.int64))


def _even_width(wide: int, n_cols: int) -> int:
    """Width of strips of about the same width."""
    return -(-n_cols // -(-n_cols // max(wide, 1)))


def _write_in_tasks(
    arrays: Sequence[Any], pieces: Sequence[Piece], strip: slice, writer: _OrderedWriter | _ParallelWriter
) -> bool:
    """Write the blocks inside of the tasks; False if they run in other processes and cannot."""
    after: Any = None
    order = writer.order
    for row in range(arrays[pieces[0][0]].numblocks[-2]):
        done = []
        for number, leads in pieces:
            part, corner = _part(arrays[number], (*leads, slice(row, row + 1), strip))
            task = partial(
                _write_block, writer=writer, number=number, corner=corner, order=order, dtype=str(part.dtype)
            )
            # A random name: one image may be written twice at a time.
            how = {"chunks": tuple((1,) * n for n in part.numblocks), "name": f"xcoreg-put-{uuid.uuid4().hex}"}
            others = () if after is None else (after,)
            done.append(
                part.map_blocks(task, *others, **how, dtype=np.uint8, meta=np.empty((0,) * part.ndim, np.uint8))
            )
            order += part.npartitions
        after = reduce(add, [one.max() for one in done])
    try:
        lazy.compute_all([] if after is None else [after])
    except Exception:
        if writer.pickled:
            return False
        raise
    return True


def _write_block(block: NDArray[Any], _after: Any = None, *, block_info: Any = None, **what: Any) -> NDArray[np.uint8]:
    """Task that writes a block and returns one byte."""
    me = block_info[0]
    spans = me["array-location"]
    window = tuple(slice(at + low, at + high) for at, (low, high) in zip(what["corner"], spans, strict=True))
    block = lazy.check_block(block, tuple(high - low for low, high in spans), what["dtype"], "the image")
    order = what["order"] + int(np.ravel_multi_index(me["chunk-location"], me["num-chunks"]))
    what["writer"](order, what["number"], window, block)
    return np.zeros((1,) * block.ndim, np.uint8)


def _write_here(arrays: Sequence[Any], pieces: Sequence[Piece], strip: slice, put: Put) -> None:
    """Compute a row of chunks at a time and write them in this process."""
    for row in range(arrays[pieces[0][0]].numblocks[-2]):
        parts = [(number, *_part(arrays[number], (*leads, slice(row, row + 1), strip))) for number, leads in pieces]
        blocks = lazy.compute_all([part for _, part, _ in parts])
        for (number, part, corner), whole in zip(parts, blocks, strict=True):
            for cut in product(*(slices_of(sizes) for sizes in part.chunks)):
                window = tuple(slice(at + one.start, at + one.stop) for at, one in zip(corner, cut, strict=True))
                put(number, window, whole[cut])


def _part(array: Any, chunks: Window) -> tuple[Any, tuple[int, ...]]:
    """Select some chunks; also returns their first pixel."""
    corner = tuple(sum(sizes[: cut.start or 0]) for sizes, cut in zip(array.chunks, chunks, strict=True))
    return array.blocks[chunks], corner


def stack_layers(parts: list[DataArray]) -> Any:
    """Stack parts to a dask array (band, row, column) of which a chunk has all bands and ends with a tile."""
    dims = ("layer", *parts[0].dims[-2:])
    arrays = [encode_window(part, {}).data for part in parts]
    layers = [Variable(dims, one if one.ndim == 3 else one[None]) for one in arrays]
    stack = layers[0] if len(layers) == 1 else Variable.concat(layers, "layer")  # type: ignore[no-untyped-call]
    sides = {dim: max(1, round(max(stack.chunksizes[dim]) / _TILE)) * _TILE for dim in dims[1:]}
    return stack.chunk({"layer": -1, **sides}).data


def put_block(file: Any, dtype: str, _number: int, window: tuple[slice, ...], block: NDArray[Any]) -> None:
    """Write a block of all bands to an open file."""
    file.write(as_stored(block, dtype), window=FileWindow.from_slices(*window[1:]))


def spans_of(sizes: Sequence[int], end: int) -> Iterator[tuple[int, int]]:
    """First pixels and ends of chunks."""
    starts = np.cumsum((0, *sizes)).tolist()
    return ((start, min(stop, end)) for start, stop in pairwise(starts))


def join_chunks(sizes: Sequence[int], most: int) -> list[int]:
    """Join neighbouring chunks up to a width that ends with a tile."""
    joined = [0]
    for size in sizes:
        if joined[-1] and joined[-1] + size > most and sum(joined) % _TILE == 0:
            joined.append(0)
        joined[-1] += size
    return joined


def encode_window(part: DataArray, window: dict[Any, slice]) -> Variable:
    """Window as it is stored, with nodata values and unscaled."""
    cut = part.variable.isel(window)
    if cut.dtype.kind in "iu" and {"scale_factor", "add_offset"} & cut.encoding.keys():
        cut = cut.astype(np.float64)  # xarray would divide in integers
    encoded: Variable = encode_cf_variable(cut)
    return encoded


def as_stored(values: NDArray[Any], dtype: str) -> NDArray[Any]:
    """Round and clip values that become integers."""
    if np.dtype(dtype).kind in "iu" and values.dtype.kind == "f":
        limits = np.iinfo(dtype)
        values = np.clip(np.rint(values), limits.min, limits.max)
    return values.astype(dtype, copy=False)
