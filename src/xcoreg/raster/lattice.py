"""A sparse lattice of samples of an image: value, validity and gradient at the centre of every coarse cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from xcoreg.raster.nodata import valid_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xcoreg.raster.source import Box

__all__ = ["Lattice"]


@dataclass(frozen=True, eq=False)
class Lattice:
    """Samples at fixed pixels of an image, filled in block by block; every block fills cells of its own.

    Attributes
    ----------
    rows, cols : (n,) int
        Pixels that are sampled, ascending.
    step : (rows, columns)
        Size of a cell, px.
    markers : tuple
        Values that are no data.
    values, gx, gy : (rows, columns) float32
        See :class:`xcoreg.raster.Look`.
    valid, seen : (rows, columns) bool
        Of the cells looked at so far.
    """

    rows: NDArray[np.intp]
    cols: NDArray[np.intp]
    step: tuple[int, int]
    markers: tuple[float | None, ...]
    values: NDArray[np.float32]
    gx: NDArray[np.float32]
    gy: NDArray[np.float32]
    valid: NDArray[np.bool_]
    seen: NDArray[np.bool_]

    @classmethod
    def empty(cls, shape: tuple[int, int], step: tuple[int, int], markers: tuple[float | None, ...]) -> Lattice:
        """Lay the lattice over an image.

        Parameters
        ----------
        shape : (rows, columns)
            Of the image, px.
        step : (rows, columns)
            Size of a cell, px.
        markers : tuple
            Values that are no data.

        Returns
        -------
        Lattice
            With nothing seen.

        Examples
        --------
        >>> lattice = Lattice.empty((10, 7), (4, 4), (None,))
        >>> lattice.rows.tolist(), lattice.cols.tolist()
        ([2, 6, 9], [2, 6])
        """
        # The centre pixel of the last, cut cell may lie outside: take the last pixel instead.
        rows, cols = (
            np.minimum(np.arange(0, size, each) + each // 2, size - 1) for size, each in zip(shape, step, strict=True)
        )
        cells = rows.size, cols.size
        gx, gy = np.full(cells, np.nan, np.float32), np.full(cells, np.nan, np.float32)
        return cls(
            rows, cols, step, markers, np.zeros(cells, np.float32), gx, gy, np.zeros(cells, bool), np.zeros(cells, bool)
        )

    def cells(self, box: Box) -> tuple[slice, slice]:
        """Cells whose samples lie in a box.

        Parameters
        ----------
        box : (row0, row1, col0, col1)
            Of the image, px.

        Returns
        -------
        rows, columns : slice
            Of the lattice.
        """
        row0, row1, col0, col1 = box
        top, bottom = np.searchsorted(self.rows, (row0, row1))
        left, right = np.searchsorted(self.cols, (col0, col1))
        return slice(int(top), int(bottom)), slice(int(left), int(right))

    def strided(self, box: Box) -> list[Box]:
        """Cut a box where its samples are not one step apart: before the last one, which may belong to a cut cell.

        Parameters
        ----------
        box : (row0, row1, col0, col1)
            Of the image, px.

        Returns
        -------
        list of boxes
            One, two or four, each with samples in it.

        Examples
        --------
        >>> Lattice.empty((10, 7), (4, 4), (None,)).strided((0, 10, 0, 7))  # rows 2, 6, 9, columns 2, 6
        [(0, 9, 0, 7), (9, 10, 0, 7)]
        """
        parts = []
        for low, high, samples, step in zip(box[::2], box[1::2], (self.rows, self.cols), self.step, strict=True):
            cut = int(samples[-1])
            uneven = samples.size > 1 and cut - int(samples[-2]) != step and low < cut < high
            parts.append([(low, cut), (cut, high)] if uneven else [(low, high)])
        boxes = [(*down, *right) for down in parts[0] for right in parts[1]]
        return [each for each in boxes if all(part.stop > part.start for part in self.cells(each))]

    def put(self, box: Box, block: NDArray[Any]) -> None:
        """Take the samples of a block of the image.

        Parameters
        ----------
        box : (row0, row1, col0, col1)
            Where it lies, px.
        block : (row1 - row0, col1 - col0) array
            Stored values.
        """
        down, right = self.cells(box)
        rows, cols = self.rows[down] - box[0], self.cols[right] - box[2]
        above, before = np.maximum(rows - 1, 0), np.maximum(cols - 1, 0)
        here = block[np.ix_(rows, cols)]
        self.put_samples(box, here, block[np.ix_(above, cols)], block[np.ix_(rows, before)])
        # On the first line of a block the neighbour is the sample itself.
        self.gy[down, right][above == rows] = np.nan
        self.gx[down, right][:, before == cols] = np.nan

    def put_samples(self, box: Box, here: NDArray[Any], above: NDArray[Any], before: NDArray[Any]) -> None:
        """Take samples that were picked elsewhere.

        Parameters
        ----------
        box : (row0, row1, col0, col1)
            Where they come from, px.
        here, above, before : arrays of the cells' shape
            Stored values of the samples and of their neighbours in the row above and the column before.
        """
        at = self.cells(box)
        valid, valid_above, valid_before = (self._is_valid(part) for part in (here, above, before))
        value = np.where(valid, here, 0).astype(np.float32)
        with np.errstate(invalid="ignore", over="ignore"):
            self.gy[at] = np.where(valid & valid_above, value - above.astype(np.float32), np.nan)
            self.gx[at] = np.where(valid & valid_before, value - before.astype(np.float32), np.nan)
        self.values[at], self.valid[at], self.seen[at] = value, valid, True

    def _is_valid(self, raw: NDArray[Any]) -> NDArray[np.bool_]:
        valid = np.ones(raw.shape, bool)
        for marker in self.markers:
            valid &= valid_of(raw, marker)
        return valid

    def spread(self) -> NDArray[np.bool_]:
        """Give every cell a validity: of one not seen, that of the nearest one seen.

        Returns
        -------
        (rows, columns) bool
        """
        if self.seen.all() or not self.seen.any():
            return self.valid
        nearest = ndimage.distance_transform_edt(
            ~self.seen, sampling=self.step, return_distances=False, return_indices=True
        )
        return np.asarray(self.valid[tuple(nearest)])
