"""A coarse look at an image: a sparse lattice of its pixels, never the whole scene at full resolution.

Which blocks of a large image to read for a coarse overview: a few everywhere, all along the border of the valid data.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from odc.geo.geobox import GeoBox

from xcoreg.georef import resized
from xcoreg.raster.levels import Lattice, file_behind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from xcoreg.lazy.graph import Box
    from xcoreg.raster.levels import FileLevel
    from xcoreg.raster.raster import Raster


_WHOLE = 9_000_000  # px: smaller images are read whole
_BAND = 4_000_000  # px of one reading of a whole image
_BUDGET = 25_000_000  # px of a larger image that may be decoded
_SPARSE = 5  # blocks per axis that are read before any border is known
_SPECKS = 2  # fewer samples than this on the side of a block make no border


class Reader(Protocol):
    """What can be looked at: an image, or one level of a file."""

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""

    @property
    def block(self) -> tuple[int, int]:
        """(rows, columns) that are decoded at once."""

    def fill(self, lattice: Lattice, boxes: Sequence[Box]) -> None:
        """Read boxes (row0, row1, col0, col1) and put their samples into the lattice."""


def lattice_step(reader: Reader, size: int) -> tuple[int, int]:
    """Size of the coarse cells."""
    rows, cols = reader.shape
    step = max(1, math.ceil(max(rows, cols) / size))
    if not _is_striped(reader):
        return step, step
    strips = max(_BUDGET // (reader.block[0] * cols), 64)
    return max(step, math.ceil(rows / strips)), step


def survey(reader: Reader, lattice: Lattice) -> None:
    """Fill a lattice from an image that must not be read whole if it is large."""
    rows, cols = reader.shape
    if rows * cols <= _WHOLE:
        depth = max(1, _BAND // cols // reader.block[0]) * reader.block[0]
        reader.fill(lattice, [(top, min(top + depth, rows), 0, cols) for top in range(0, rows, depth)])
    elif _is_striped(reader):
        # The sampled row and the one above, for the gradient.
        reader.fill(lattice, [(max(row - 1, 0), row + 1, 0, cols) for row in lattice.rows.tolist()])
    else:
        _Blocks(reader, lattice).visit_all()


def _is_striped(reader: Reader) -> bool:
    rows, cols = reader.shape
    return rows * cols > _WHOLE and reader.block[1] >= cols and reader.block[0] < rows / 8


class _Blocks:
    """The blocks of a tiled image: which were read, and what lies along their sides."""

    def __init__(self, reader: Reader, lattice: Lattice) -> None:
        self.reader, self.lattice = reader, lattice
        self.row_edges, self.col_edges = (
            _edges(size, block, step)
            for size, block, step in zip(reader.shape, reader.block, lattice.step, strict=True)
        )
        self.shape = len(self.row_edges) - 1, len(self.col_edges) - 1
        self.read = np.zeros(self.shape, bool)
        # Share of valid samples along the top, bottom, left and right side of every block that was read.
        self.sides = np.full((4, *self.shape), np.nan)
        self.mixed = np.zeros((4, *self.shape), bool)

    def visit_all(self) -> None:
        rows, cols = self.reader.shape
        budget = max(4, _BUDGET * self.read.size // (rows * cols))
        todo = self._sparse()
        while todo and budget > 0:
            self._visit(todo[:budget])
            budget -= len(todo)
            todo = self._wanted()

    def _sparse(self) -> list[tuple[int, int]]:
        rows, cols = (
            np.unique(np.linspace(0, count - 1, min(count, _SPARSE)).round().astype(int)) for count in self.shape
        )
        return [(row, col) for row in rows.tolist() for col in cols.tolist()]

    def _visit(self, blocks: list[tuple[int, int]]) -> None:
        boxes = [self._box(*block) for block in blocks]
        self.reader.fill(self.lattice, boxes)
        for (row, col), box in zip(blocks, boxes, strict=True):
            valid = self.lattice.valid[self.lattice.cells(box)]
            self.read[row, col] = True
            for side, line in enumerate((valid[:1], valid[-1:], valid[:, :1], valid[:, -1:])):
                count = int(line.sum())
                self.sides[side, row, col] = line.mean() if line.size else np.nan
                self.mixed[side, row, col] = min(count, line.size - count) >= _SPECKS

    def _box(self, row: int, col: int) -> Box:
        return self.row_edges[row], self.row_edges[row + 1], self.col_edges[col], self.col_edges[col + 1]

    def _wanted(self) -> list[tuple[int, int]]:
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
    """Want the middle of every gap along axis 0 whose two ends differ; `wanted` is changed in place."""
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
    """A coarse look at one band.

    values : (rows, columns) float32; The pixel at the centre of every coarse cell, as stored; 0 where it is not valid
        or was not looked at.
    valid : (rows, columns) bool; Whether it is data; inferred from the nearest cells that were looked at where `seen`
        is False.
    seen : (rows, columns) bool; Whether the cell was looked at.
    gx, gy : (rows, columns) float32; Difference to the pixel before, along the columns and the rows; NaN where unknown.
    grid : The coarse cells; its last row and column may reach beyond the image by part of a cell.
    """

    values: NDArray[np.float32]
    valid: NDArray[np.bool_]
    seen: NDArray[np.bool_]
    gx: NDArray[np.float32]
    gy: NDArray[np.float32]
    grid: GeoBox

    @property
    def texture(self) -> NDArray[np.float32]:
        """Gradient energy of every cell, (stored units / px)²; 0 where unknown."""
        energy: NDArray[np.float32] = np.nan_to_num(self.gx**2 + self.gy**2)
        return energy


@dataclass(frozen=True)
class _ImageReader:
    """Reads the image itself, block by block."""

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

    def fill(self, lattice: Lattice, boxes: Sequence[Box]) -> None:
        if self.raster.is_chunked and lattice.step[0] > 1:
            self._fill_chunked(lattice, boxes)
            return
        for box in boxes:
            lattice.put(box, self.raster.read_raw([box])[0])

    def _fill_chunked(self, lattice: Lattice, boxes: Sequence[Box]) -> None:
        """Let dask pick the samples, all in one computation, so that no chunk outlives its task."""
        wanted: list[Box] = []
        boxes = [part for box in boxes for part in lattice.strided(box)]
        for box in boxes:
            down, right = lattice.cells(box)
            row, col = int(lattice.rows[down.start]), int(lattice.cols[right.start])
            end, last = int(lattice.rows[down.stop - 1]) + 1, int(lattice.cols[right.stop - 1]) + 1
            wanted += [(row, end, col, last), (row - 1, end - 1, col, last), (row, end, col - 1, last - 1)]
        parts = self.raster.read_raw(wanted, lattice.step)
        for at, box in enumerate(boxes):
            lattice.put_samples(box, *parts[3 * at : 3 * at + 3])


def overview_of(raster: Raster, size: int = 512) -> Overview:
    """Take a coarse look at an image."""
    level = file_behind(raster, size)
    reader: Reader = level or _ImageReader(raster)
    step = lattice_step(reader, size)
    lattice = Lattice.empty(reader.shape, step, _markers(raster, level))
    if isinstance(getattr(raster.variable, "_data", None), np.ndarray):
        whole = 0, reader.shape[0], 0, reader.shape[1]
        lattice.put(whole, raster.read_raw([whole])[0])
    else:
        survey(reader, lattice)
    share = 100 * lattice.seen.mean()
    logger.debug("%s: looked at %.1f %% of %d x %d coarse cells", raster.name, share, *lattice.seen.shape)
    grid = _coarse_grid(raster, reader.shape, lattice)
    return Overview(lattice.values, lattice.spread(), lattice.seen, lattice.gx, lattice.gy, grid)


def _markers(raster: Raster, level: FileLevel | None) -> tuple[float | None, ...]:
    """List what is no data: images masked on opening carry NaN where the file has its own marker."""
    masked = raster.nodata is not None and math.isnan(raster.nodata)
    return (raster.nodata, level.nodata) if level is not None and masked else (raster.nodata,)


def _coarse_grid(raster: Raster, shape: tuple[int, int], lattice: Lattice) -> GeoBox:
    y, x = (full / size * step for full, size, step in zip(raster.shape, shape, lattice.step, strict=True))
    return GeoBox(lattice.seen.shape, resized(raster.grid.affine, (x, y)), raster.grid.crs)
