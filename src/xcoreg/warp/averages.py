"""Averages of blocks of an image, before anything else, where the output is far coarser."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from xarray import DataArray

from xcoreg import lazy
from xcoreg.core import Array
from xcoreg.core.sampling import shrink

if TYPE_CHECKING:
    from xarray import Variable

    from xcoreg.warp.mapping import Box
    from xcoreg.warp.resample import Resampler

_READ = 1 << 24  # px of the source read at once to be averaged


@dataclass(frozen=True)
class Averager:
    """Averages blocks of the source of a resampler over their valid pixels; NaN where less than half are valid.

    shape : Rows and columns of the averages.
    source : Rows and columns of the source.
    """

    resampler: Resampler
    blocks: tuple[int, int]
    source: tuple[int, int]
    dtype: str

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the averages."""
        rows, cols = (-(-size // by) for size, by in zip(self.source, self.blocks, strict=True))
        return rows, cols

    def box(self, rows: slice, cols: slice) -> Box:
        """Pixels of the source in a block of averages."""
        (high, wide), (by_row, by_col) = self.source, self.blocks
        return rows.start * by_row, min(rows.stop * by_row, high), cols.start * by_col, min(cols.stop * by_col, wide)

    def __call__(self, source: Array, box: Box, rows: slice, cols: slice, mask: Array | None = None) -> Array:  # noqa: ARG002
        """Make a block of averages: source (..., n, m) -> (..., n_rows, n_cols)."""
        values, good = shrink(source, self.resampler._valid(source, mask), self.blocks)
        return np.where(good, values, np.nan).astype(self.dtype)

    def run(self, image: DataArray, mask: Variable | None) -> DataArray:
        """Average an image, a tile at a time; lazily where it is lazy."""
        if lazy.is_lazy(image):
            chunks = tuple(
                self._chunks(*each) for each in zip(self.shape, image.data.chunks[-2:], self.blocks, strict=True)
            )
            data = lazy.map_output_blocks(
                self, image.data, (chunks[0], chunks[1]), self.box, self.dtype, mask_like(image, mask)
            )
            return DataArray(data, dims=image.dims)
        out = np.empty((*image.shape[:-2], *self.shape), self.dtype)
        wide = int(min(max(_READ // (self.blocks[0] * self.blocks[1]), 1), self.shape[1]))
        high = max(_READ // (self.blocks[0] * self.blocks[1] * wide), 1)
        for rows in (slice(at, min(at + high, self.shape[0])) for at in range(0, self.shape[0], high)):
            for cols in (slice(at, min(at + wide, self.shape[1])) for at in range(0, self.shape[1], wide)):
                out[..., rows, cols] = self(*read_block(image, mask, self.box(rows, cols), rows, cols))
        return DataArray(out, dims=image.dims)

    @staticmethod
    def _chunks(size: int, source: tuple[int, ...], block: int) -> tuple[int, ...]:
        side = max(round(max(source) / block), 1)
        return tuple(min(side, size - start) for start in range(0, size, side))


def mask_like(image: DataArray, mask: Variable | None) -> Any:
    """Chunk a mask as the image is."""
    return None if mask is None else mask.chunk(dict(zip(mask.dims, image.data.chunks[-2:], strict=True))).data


def read_block(image: DataArray, mask: Variable | None, box: Box, rows: slice, cols: slice) -> tuple[Any, ...]:
    """Read a window of an image, and of its mask, for a block of the output: the arguments of a resampler."""
    window = dict(zip(image.dims[-2:], (slice(box[0], box[1]), slice(box[2], box[3])), strict=True))
    return image.variable.isel(window).values, box, rows, cols, None if mask is None else mask.isel(window).values
