"""Overviews: a coarse grid of samples of a band, read without reading a large image at full resolution.

Of a large tiled image a few blocks everywhere are read, and all along the border of the valid data.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
from odc.geo.geobox import GeoBox
from scipy import ndimage

from xcoreg.georef import resized
from xcoreg.raster.levels import file_behind
from xcoreg.raster.nodata import valid_mask

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from xcoreg.lazy.graph import Box
    from xcoreg.raster.levels import FileLevel
    from xcoreg.raster.raster import Raster


_SMALL = 9_000_000  # px; smaller images are read completely
_STRIP = 4_000_000  # px read at once of a small image
_BUDGET = 25_000_000  # px decoded of a larger image, at most
_FIRST = 5  # blocks per axis that are read first
_SIZE = 512  # cells along the longer side of an image
_ENOUGH = 1 << 16  # values of which the median is taken
_LEAST = 2  # samples of either kind along a side of a block that make a border


Places: TypeAlias = "tuple[NDArray[np.intp], NDArray[np.intp]]"  # rows and columns


@dataclass(frozen=True, eq=False)
class Samples:
    """Samples at the centres of coarse cells, filled block by block: values, validity and gradients.

    rows, cols : (n,) int; Pixels that are sampled, ascending.
    step : (rows, columns); Size of a cell, px.
    is_valid : Which of the stored pixels are data, by their values.
    values, gx, gy : (rows, columns) float32; See :class:`Overview`.
    gain : Of the values.
    sizes : Median sizes of the values of each block, where they may be extreme.
    valid, sampled : (rows, columns) bool; Of the cells sampled so far.
    """

    rows: NDArray[np.intp]
    cols: NDArray[np.intp]
    step: tuple[int, int]
    is_valid: Callable[[NDArray[Any]], NDArray[np.bool_]]
    values: NDArray[np.float32]
    gx: NDArray[np.float32]
    gy: NDArray[np.float32]
    valid: NDArray[np.bool_]
    sampled: NDArray[np.bool_]
    gain: float = 1.0
    sizes: list[float] = field(default_factory=list)

    @classmethod
    def empty(cls, shape: tuple[int, int], step: tuple[int, int], is_valid: Any, gain: float = 1.0) -> Samples:
        """Place the cells on an image: shape (rows, columns); step (rows, columns)."""
        # The centre of the last, cut cell may be outside: take the last pixel.
        rows, cols = (
            np.minimum(np.arange(0, size, each) + each // 2, size - 1) for size, each in zip(shape, step, strict=True)
        )
        cells = rows.size, cols.size
        values, (gx, gy) = np.zeros(cells, np.float32), np.full((2, *cells), np.nan, np.float32)
        valid, sampled = np.zeros((2, *cells), bool)
        return cls(rows, cols, step, is_valid, values, gx, gy, valid, sampled, gain)

    def cells(self, box: Box) -> tuple[slice, slice]:
        """Cells whose samples are in a box."""
        row0, row1, col0, col1 = box
        top, bottom = np.searchsorted(self.rows, (row0, row1))
        left, right = np.searchsorted(self.cols, (col0, col1))
        return slice(int(top), int(bottom)), slice(int(left), int(right))

    def strided(self, box: Box) -> list[Box]:
        """Cut a box where its samples are not one step apart: before the last one, whose cell may be cut."""
        parts = []
        for low, high, samples, step in zip(box[::2], box[1::2], (self.rows, self.cols), self.step, strict=True):
            cut = int(samples[-1])
            uneven = samples.size > 1 and cut - int(samples[-2]) != step and low < cut < high
            parts.append([(low, cut), (cut, high)] if uneven else [(low, high)])
        boxes = [(*down, *right) for down in parts[0] for right in parts[1]]
        return [each for each in boxes if all(part.stop > part.start for part in self.cells(each))]

    def put(self, box: Box, block: NDArray[Any], mask: NDArray[np.bool_] | None = None) -> None:
        """Store the samples of a block of the image, and of its mask."""
        down, right = self.cells(box)
        if self.step == (1, 1):
            self._put_all((down, right), block, mask)
            return
        rows, cols = self.rows[down] - box[0], self.cols[right] - box[2]
        above, before = np.maximum(rows - 1, 0), np.maximum(cols - 1, 0)
        planes = (block,) if mask is None else (block, mask)
        self.put_samples(box, *(_three_samples(one, (rows, cols), (above, before)) for one in planes))
        # On the first line of a block the neighbour is the sample itself.
        self.gy[down, right][above == rows] = np.nan
        self.gx[down, right][:, before == cols] = np.nan

    def put_samples(self, box: Box, pixels: Sequence[NDArray[Any]], masks: Sequence[NDArray[np.bool_]] = ()) -> None:
        """Store samples with the pixels above and before them, and the masks of all three."""
        at = self.cells(box)
        here, above, before = pixels
        valid, valid_above, valid_before = goods = [self.is_valid(part) for part in pixels]
        for good, mask in zip(goods, masks, strict=False):
            np.logical_and(good, mask, out=good)
        value = self._value(here, valid)
        with np.errstate(invalid="ignore", over="ignore"):
            above, before = (scaled(part, self.gain).astype(np.float32) for part in (above, before))
            self.gy[at] = np.where(valid & valid_above, value - above, np.nan)
            self.gx[at] = np.where(valid & valid_before, value - before, np.nan)
        self.values[at], self.valid[at], self.sampled[at] = value, valid, True

    def _put_all(self, at: tuple[slice, slice], block: NDArray[Any], mask: NDArray[np.bool_] | None) -> None:
        """Store every pixel of a block: the same as :meth:`put_samples`, without its copies."""
        valid = self.is_valid(block) if mask is None else self.is_valid(block) & mask
        value, gx, gy = self._value(block, valid), self.gx[at], self.gy[at]
        self.values[at], self.valid[at], self.sampled[at] = value, valid, True
        gx[:, 0], gy[0] = np.nan, np.nan
        with np.errstate(invalid="ignore", over="ignore"):
            np.subtract(value[:, 1:], value[:, :-1], out=gx[:, 1:])
            np.subtract(value[1:], value[:-1], out=gy[1:])
        if not valid.all():
            gx[:, 1:][~(valid[:, 1:] & valid[:, :-1])] = np.nan
            gy[1:][~(valid[1:] & valid[:-1])] = np.nan

    def _value(self, stored: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Values of stored pixels, 0 where they are not data; notes their size where it may be extreme."""
        if stored.dtype.kind == "f" or stored.dtype.itemsize > 4:
            known = stored[valid & (stored != 0)]
            known = np.abs(known[:: max(known.size // _ENOUGH, 1)].astype(np.float64))
            self.sizes.extend([float(np.median(known))] if known.size else [])
        with np.errstate(invalid="ignore", over="ignore"):
            value = scaled(stored, self.gain)
            return (value if valid.all() else np.where(valid, value, 0)).astype(np.float32)

    def valid_everywhere(self) -> NDArray[np.bool_]:
        """Give every cell a validity: a cell that was not sampled has that of the nearest sampled one.

        -> (rows, columns) bool.
        """
        if self.sampled.all() or not self.sampled.any():
            return self.valid
        nearest = ndimage.distance_transform_edt(
            ~self.sampled, sampling=self.step, return_distances=False, return_indices=True
        )
        return np.asarray(self.valid[tuple(nearest)])


def _three_samples(block: NDArray[Any], at: Places, before: Places) -> list[NDArray[Any]]:
    """Pixels of a block at rows and columns, and those above and before them."""
    (rows, cols), (above, left) = at, before
    here, over = (block[_slice_of(lines)] for lines in (rows, above))
    return [here[:, _slice_of(cols)], over[:, _slice_of(cols)], here[:, _slice_of(left)]]


def _slice_of(index: NDArray[np.intp]) -> Any:
    """Slice instead of an ascending index where its steps are the same."""
    steps = np.diff(index)
    same = steps.size > 0 and steps[0] > 0 and bool((steps == steps[0]).all())
    return slice(int(index[0]), int(index[-1]) + 1, int(steps[0])) if same else index


_LEAST_SIZE, _MOST_SIZE, _USUAL_SIZE = 2.0**-40, 2.0**24, 2.0**10  # of values whose powers fit single precision


def scaled(values: NDArray[Any], gain: float) -> NDArray[Any]:
    """Multiply values, in double precision, by a power of two."""
    with np.errstate(invalid="ignore", over="ignore"):
        return values if gain == 1.0 else values.astype(np.float64) * gain


def gain_for(size: float) -> float:
    """Power of two that brings extreme values of a size to a usual one; 1 for all others."""
    if not 0 < size < math.inf or _LEAST_SIZE <= size <= _MOST_SIZE:
        return 1.0
    return math.ldexp(1.0, min(round(math.log2(_USUAL_SIZE) - math.log2(size)), 1000))


class Reader(Protocol):
    """A source of samples: an image, or one level of a file."""

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""

    @property
    def block(self) -> tuple[int, int]:
        """(rows, columns) that are decoded at once."""

    def fill(self, samples: Samples, boxes: Sequence[Box]) -> None:
        """Read boxes and store their samples."""

    def missing_blocks(self, rows: Sequence[int], cols: Sequence[int]) -> NDArray[np.bool_] | None:
        """Which parts, between these edges, need not be read, as they hold no data; None if unknown."""


def cell_size(reader: Reader, size: int) -> tuple[int, int]:
    """Size of the coarse cells."""
    rows, cols = reader.shape
    step = max(1, math.ceil(max(rows, cols) / size))
    if not _is_striped(reader):
        return step, step
    strips = max(_BUDGET // (reader.block[0] * cols), 64)
    return max(step, math.ceil(rows / strips)), step


def read_samples(reader: Reader, samples: Samples) -> None:
    """Sample an image; a large one is not read completely."""
    rows, cols = reader.shape
    if rows * cols <= _SMALL:
        depth = max(1, _STRIP // cols // reader.block[0]) * reader.block[0]
        reader.fill(samples, [(top, min(top + depth, rows), 0, cols) for top in range(0, rows, depth)])
    elif _is_striped(reader):
        # The sampled row and the one above, for the gradient.
        reader.fill(samples, [(max(row - 1, 0), row + 1, 0, cols) for row in samples.rows.tolist()])
    else:
        _BlockSearch(reader, samples).run()


def _is_striped(reader: Reader) -> bool:
    rows, cols = reader.shape
    return rows * cols > _SMALL and reader.block[1] >= cols and reader.block[0] < rows / 8


class _BlockSearch:
    """Reads blocks of a tiled image along the border of its valid data."""

    def __init__(self, reader: Reader, samples: Samples) -> None:
        self.reader, self.samples = reader, samples
        self.row_edges, self.col_edges = (
            _edges(size, block, step)
            for size, block, step in zip(reader.shape, reader.block, samples.step, strict=True)
        )
        self.shape = len(self.row_edges) - 1, len(self.col_edges) - 1
        self.read = np.zeros(self.shape, bool)
        # Share of valid samples along the top, bottom, left and right side of every block that was read.
        self.sides = np.full((4, *self.shape), np.nan)
        self.mixed = np.zeros((4, *self.shape), bool)

    def run(self) -> None:
        rows, cols = self.reader.shape
        budget = max(4, _BUDGET * self.read.size // (rows * cols))
        border = self._leave_out_missing()
        todo = [
            *border[:: max(-(-len(border) // budget), 1)],
            *(at for at in self._first_blocks() if not self.read[at]),
        ]
        budget += len(border) and budget
        while todo and budget > 0:
            self._read_blocks(todo[:budget])
            budget -= len(todo)
            todo = self._next_blocks()

    def _leave_out_missing(self) -> list[tuple[int, int]]:
        """Take blocks that a sparse file does not hold as empty; return the others beside them."""
        missing = self.reader.missing_blocks(self.row_edges, self.col_edges)
        unwritten = np.array([getattr(self.reader, "nodata", None) or 0.0])  # what GDAL reads there
        if missing is None or self.samples.is_valid(unwritten).any():
            return []
        samples = self.samples
        edges = ((self.row_edges, samples.rows), (self.col_edges, samples.cols))
        samples.sampled[missing[np.ix_(*(np.searchsorted(*each, side="right") - 1 for each in edges))]] = True
        self.read |= missing
        self.sides[:, missing] = 0.0
        return [(int(row), int(col)) for row, col in np.argwhere(~missing & ndimage.binary_dilation(missing))]

    def _first_blocks(self) -> list[tuple[int, int]]:
        rows, cols = (
            np.unique(np.linspace(0, count - 1, min(count, _FIRST)).round().astype(int)) for count in self.shape
        )
        return [(row, col) for row in rows.tolist() for col in cols.tolist()]

    def _read_blocks(self, blocks: list[tuple[int, int]]) -> None:
        boxes = [self._box(*block) for block in blocks]
        self.reader.fill(self.samples, boxes)
        for (row, col), box in zip(blocks, boxes, strict=True):
            valid = self.samples.valid[self.samples.cells(box)]
            self.read[row, col] = True
            for side, line in enumerate((valid[:1], valid[-1:], valid[:, :1], valid[:, -1:])):
                count = int(line.sum())
                self.sides[side, row, col] = line.mean() if line.size else np.nan
                self.mixed[side, row, col] = min(count, line.size - count) >= _LEAST

    def _box(self, row: int, col: int) -> Box:
        return self.row_edges[row], self.row_edges[row + 1], self.col_edges[col], self.col_edges[col + 1]

    def _next_blocks(self) -> list[tuple[int, int]]:
        """Blocks into which a border runs, and those midway between a valid and an empty one."""
        wanted = np.zeros(self.shape, bool)
        top, bottom, left, right = self.mixed
        wanted[:-1] |= top[1:]
        wanted[1:] |= bottom[:-1]
        wanted[:, :-1] |= left[:, 1:]
        wanted[:, 1:] |= right[:, :-1]
        _bisect(self.read, self.sides[1], self.sides[0], wanted)
        _bisect(self.read.T, self.sides[3].T, self.sides[2].T, wanted.T)
        found = np.argwhere(wanted & ~self.read)
        return [(int(row), int(col)) for row, col in found]


def _bisect(
    read: NDArray[np.bool_], end: NDArray[np.float64], start: NDArray[np.float64], wanted: NDArray[np.bool_]
) -> None:
    """Mark the middle of every gap along axis 0 whose two ends differ, in `wanted`."""
    for line in range(read.shape[1]):
        at = np.flatnonzero(read[:, line])
        before, after = at[:-1], at[1:]
        differ = (end[before, line] > 0.5) != (start[after, line] > 0.5)
        gap = differ & (after - before > 1)
        wanted[(before[gap] + after[gap]) // 2, line] = True


def _edges(size: int, block: int, step: int) -> list[int]:
    """Edges of the blocks along an axis, grouped so that each holds a few samples."""
    depth = block * max(1, math.ceil(4 * step / block))
    return [*range(0, size, depth), size]


logger = logging.getLogger("xcoreg")


@dataclass(frozen=True, eq=False)
class Overview:
    """Coarse samples of one band.

    values : (rows, columns) float32; The pixel at the centre of every coarse cell, as stored; 0 where it is not valid
        or was not sampled.
    valid : (rows, columns) bool; Whether it is data; where `sampled` is False, that of the nearest sampled cell.
    sampled : (rows, columns) bool; Whether the cell was sampled.
    gx, gy : (rows, columns) float32; Difference to the pixel before, along the columns and the rows; NaN where unknown.
    grid : The coarse cells; its last row and column may reach beyond the image by part of a cell.
    size : Median size of the values before any gain; 0 where they cannot be extreme.
    """

    values: NDArray[np.float32]
    valid: NDArray[np.bool_]
    sampled: NDArray[np.bool_]
    gx: NDArray[np.float32]
    gy: NDArray[np.float32]
    grid: GeoBox
    size: float = 0.0


@dataclass(frozen=True)
class _ImageReader:
    """Reads the image itself."""

    raster: Raster

    @property
    def shape(self) -> tuple[int, int]:
        return self.raster.shape

    @property
    def block(self) -> tuple[int, int]:
        y_dim, x_dim = self.raster.data.dims
        if self.raster.is_chunked:
            sizes = self.raster.data.chunksizes
            return max(sizes[y_dim]), max(sizes[x_dim])
        preferred = self.raster.variable.encoding.get("preferred_chunks", {})
        rows, cols = preferred.get(y_dim), preferred.get(x_dim)
        return (rows, cols) if isinstance(rows, int) and isinstance(cols, int) else (1, self.shape[1])

    def missing_blocks(self, rows: Sequence[int], cols: Sequence[int]) -> None:  # noqa: ARG002
        return None

    def fill(self, samples: Samples, boxes: Sequence[Box]) -> None:
        if self.raster.is_chunked and samples.step[0] > 1:
            self._fill_chunked(samples, boxes)
            return
        for box in boxes:
            samples.put(box, self.raster.read_raw([box])[0], next(iter(self.raster.read_mask([box])), None))

    def _fill_chunked(self, samples: Samples, boxes: Sequence[Box]) -> None:
        """Let dask select the samples in one computation, so that no chunk stays in memory."""
        wanted: list[Box] = []
        boxes = [part for box in boxes for part in samples.strided(box)]
        for box in boxes:
            down, right = samples.cells(box)
            row, col = int(samples.rows[down.start]), int(samples.cols[right.start])
            end, last = int(samples.rows[down.stop - 1]) + 1, int(samples.cols[right.stop - 1]) + 1
            wanted += [(row, end, col, last), (row - 1, end - 1, col, last), (row, end, col - 1, last - 1)]
        parts, masks = self.raster.read_raw(wanted, samples.step), self.raster.read_mask(wanted, samples.step)
        for at, box in enumerate(boxes):
            samples.put_samples(box, parts[3 * at : 3 * at + 3], masks[3 * at : 3 * at + 3])


def overview_of(raster: Raster, size: int = _SIZE) -> Overview:
    """Sample an image coarsely, with about `size` cells along its longer side."""
    if raster.coarse is not None and size == _SIZE:
        return raster.coarse
    in_memory = isinstance(getattr(raster.variable, "_data", None), np.ndarray)
    level = None if in_memory else file_behind(raster, size)
    reader: Reader = level or _ImageReader(raster)
    step = cell_size(reader, size)
    samples = Samples.empty(reader.shape, step, partial(_is_valid, raster, level), raster.gain)
    if in_memory:
        everything = 0, reader.shape[0], 0, reader.shape[1]
        samples.put(everything, raster.read_raw([everything])[0], next(iter(raster.read_mask([everything])), None))
    else:
        read_samples(reader, samples)
    share = 100 * samples.sampled.mean()
    logger.debug("%s: sampled %.1f %% of %d x %d coarse cells", raster.name, share, *samples.sampled.shape)
    grid = _coarse_grid(raster, reader.shape, samples)
    known = samples.values, samples.valid_everywhere(), samples.sampled, samples.gx, samples.gy
    return Overview(*known, grid, float(np.median(samples.sizes)) if samples.sizes else 0.0)


def _is_valid(raster: Raster, level: FileLevel | None, raw: NDArray[Any]) -> NDArray[np.bool_]:
    """Which stored pixels are data: an image masked on opening has NaN, its file has another marker."""
    valid = raster.validity.of(raw)
    if level is not None and raster.nodata is not None and math.isnan(raster.nodata):
        valid &= valid_mask(raw, level.nodata)
    return valid


def _coarse_grid(raster: Raster, shape: tuple[int, int], samples: Samples) -> GeoBox:
    y, x = (full / size * step for full, size, step in zip(raster.shape, shape, samples.step, strict=True))
    return GeoBox(samples.sampled.shape, resized(raster.grid.affine, (x, y)), raster.grid.crs)
