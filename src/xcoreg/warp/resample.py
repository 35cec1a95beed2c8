"""Interpolating one block of the output, and whole arrays block by block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xcoreg import lazy
from xcoreg.core import Array, Floats
from xcoreg.core.kernels import reach, round_position
from xcoreg.core.sampling import sample, sample_axes, shrink
from xcoreg.raster.nodata import valid_mask

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from xarray import DataArray

    from xcoreg.warp.mapping import Box, Mapping
    from xcoreg.warp.plan import BandPlan
    from xcoreg.warp.vertical import VerticalCorrection

    Positions = tuple[Floats, Floats]

_BLOCK_PIXELS = 1 << 18  # of output worked on at once when the source is no dask array
_WIDE, _SQUARE = 4096, 512  # longest block of parallel grids, and of others, whose long blocks have large windows
_TILE, _LONGEST = 256, 2048  # sides of the blocks of a dask output are multiples of the first up to the second, px
_PART = 64  # px, instead of the first for outputs so coarse that a tile of them would need many chunks of the source
_COARSE = 4.0  # from this many source pixels per output pixel on, blocks are averaged before they are interpolated


@dataclass(frozen=True)
class Resampler:
    """What is done to every block of one array.

    mapping : From output to source pixels; None when they do not meet.
    shape : Rows and columns of the output.
    kernel : One of ``core.kernels.KERNELS``.
    nodata : Marks missing pixels of the source, besides NaN and infinity.
    fill : Written where the output is missing.
    dtype : Of the output; that of the source, unless heights are corrected.
    correction : Of heights, added to what was interpolated; `dtype` is floating then.
    """

    mapping: Mapping | None
    shape: tuple[int, int]
    kernel: str
    nodata: float | int | None
    fill: float | int | bool
    dtype: str
    correction: VerticalCorrection | None = None

    @classmethod
    def of(cls, mapping: Mapping | None, shape: tuple[int, int], plan: BandPlan) -> Resampler:
        """Take over what is decided for a band."""
        return cls(mapping, shape, plan.kernel, plan.nodata, plan.fill, str(plan.dtype), plan.correction)

    def box(self, rows: slice, cols: slice) -> Box:
        """Source pixels that a block of the output needs; (0, 0, 0, 0) when none."""
        if self.mapping is None:
            return (0, 0, 0, 0)
        blocks = self._blocks
        scales = (scale / block for scale, block in zip(self.mapping.scale, blocks, strict=True))
        # One more than the reach: a kernel on averaged blocks starts at a block's edge, not at a pixel.
        margin = max(block * (reach(self.kernel, scale) + 1) for scale, block in zip(scales, blocks, strict=True))
        return self.mapping.window(rows, cols, margin, blocks)

    def __call__(self, source: Array, box: Box, rows: slice, cols: slice) -> Array:
        """Make a block of the output: source (..., row1 - row0, col1 - col0) -> (..., n_rows, n_cols)."""
        if self.mapping is None or not source.size:
            shape = (*source.shape[:-2], rows.stop - rows.start, cols.stop - cols.start)
            return np.full(shape, self.fill, dtype=self.dtype)
        make = self._parallel if self.mapping.separable else self._warped
        out = make(self.mapping, source, (box[0], box[2]), (rows, cols))
        if self.correction is not None:
            for row, col in _tiles(rows, cols):
                part = out[..., row.start - rows.start : row.stop - rows.start, :]
                self.correction.add_to(part[..., col.start - cols.start : col.stop - cols.start], row, col, self.nodata)
        return out

    def _warped(self, mapping: Mapping, source: Array, origin: tuple[int, int], block: tuple[slice, slice]) -> Array:
        """Make a block by looking up the position of every pixel."""
        rows, cols = block
        out = np.empty((*source.shape[:-2], rows.stop - rows.start, cols.stop - cols.start), dtype=self.dtype)
        copied = self.kernel == "nearest"
        valid = None if copied else self._valid(source)
        values, good, frame = (source, None, (1, 1)) if copied else self._averaged(source, valid)
        for tile in _tiles(rows, cols):
            at = mapping.positions(*tile)
            row, col = (slice(t.start - b.start, t.stop - b.start) for t, b in zip(tile, block, strict=True))
            goal = out[..., row, col]
            if copied:
                goal[...] = self._picked(source, at, origin)
                continue
            goal[...] = self._between(values, good, at, origin, frame)
            if self._copies_exactly:
                self._copy_exact_hits(source, at, origin, goal)
        return out

    def _parallel(self, mapping: Mapping, source: Array, origin: tuple[int, int], block: tuple[slice, slice]) -> Array:
        """Make a block on a grid parallel to the source's."""
        at = tuple(axis - start for axis, start in zip(mapping.axes(*block), origin, strict=True))
        if self.kernel == "nearest" or mapping.whole:
            # Pixels are copied as they are, missing ones too: what was NaN or infinite stays so.
            out, inside = sample_axes(source, None, at[0], at[1], "nearest")
            out = out.astype(self.dtype, copy=False)
            return out if inside.all() else np.where(inside, out, np.asarray(self.fill, dtype=self.dtype))
        out, good = sample_axes(source, self._valid(source), at[0], at[1], self.kernel, scale=mapping.scale)
        return finish(out, good, np.dtype(self.dtype), self.nodata, self.fill)

    def _picked(self, source: Array, at: Positions, origin: tuple[int, int]) -> Array:
        """Copy the nearest pixels as they are."""
        out, inside = sample(source, None, *at, "nearest", origin=origin)
        return out if inside.all() else np.where(inside, out, np.asarray(self.fill, dtype=self.dtype))

    def _between(
        self, values: Array, valid: Array | None, at: Positions, origin: tuple[int, int], blocks: tuple[int, int]
    ) -> Array:
        """Interpolate a tile in an image of averaged blocks, most often single pixels."""
        scale = self.mapping.scale if self.mapping is not None else (1.0, 1.0)
        if blocks != (1, 1):
            by_row, by_col = blocks
            at = ((at[0] - origin[0] + 0.5) / by_row - 0.5, (at[1] - origin[1] + 0.5) / by_col - 0.5)
            scale, origin = (scale[0] / by_row, scale[1] / by_col), (0, 0)
        out, good = sample(values, valid, *at, self.kernel, scale=scale, origin=origin)
        return finish(out, good, np.dtype(self.dtype), self.nodata, self.fill)

    def _averaged(self, source: Array, valid: Array | None) -> tuple[Array, Array | None, tuple[int, int]]:
        """Average a much finer source, and give the factors."""
        blocks = self._blocks
        return (*(shrink(source, valid, blocks) if blocks != (1, 1) else (source, valid)), blocks)

    @property
    def _copies_exactly(self) -> bool:
        """Whether arithmetic loses something that copying keeps: NaN, infinity, minus zero, integers beyond 2**53."""
        kind = np.dtype(self.dtype)
        unwidened = self.mapping is not None and max(self.mapping.scale) == 1.0
        return unwidened and (kind.kind == "f" or kind.itemsize == 8)

    def _copy_exact_hits(self, source: Array, at: Positions, origin: tuple[int, int], out: Array) -> None:
        """Copy the pixels that whole positions hit, as a shift by whole pixels does."""
        row, col = (round_position(position) for position in at)
        n, m = np.nonzero((row == np.rint(row)) & (col == np.rint(col)))  # not true of NaN
        if n.size:
            found, inside = sample(source, None, row[n, m], col[n, m], "nearest", origin=origin)
            out[..., n, m] = np.where(inside, found, out[..., n, m])

    @property
    def _blocks(self) -> tuple[int, int]:
        """Whole factors by which a much finer source is averaged first, where weights are not separable."""
        if self.mapping is None or self.mapping.separable or self.kernel == "nearest":
            return (1, 1)
        by_row, by_col = (int(scale // 2) if scale >= _COARSE else 1 for scale in self.mapping.scale)
        return by_row, by_col

    def _valid(self, source: Array) -> NDArray[np.bool_] | None:
        """Pixels that may be used; None when all may."""
        if source.dtype.kind != "f" and self.nodata is None:
            return None
        valid = valid_mask(source, self.nodata)
        return None if valid.all() else valid


def finish(
    values: Array, valid: NDArray[np.bool_], dtype: np.dtype[Any], nodata: float | int | None, fill: float | int | bool
) -> Array:
    """Bring interpolated values into the dtype of the image.

    values (...,) floating; valid (...,) bool -> (...,) dtype.
    """
    if dtype.kind in "iu":
        low, high = _limits(dtype, values.dtype)
        out = np.clip(np.rint(values, out=values), low, high, out=values).astype(dtype)
    else:
        out = values.astype(dtype, copy=False)
    if nodata is not None and np.isfinite(nodata):
        marker = np.asarray(nodata).astype(dtype)
        hit = out == marker
        if hit.any():
            out[hit] = _beside(marker)
    if not valid.all():
        out[~valid] = fill
    return out


def _limits(dtype: np.dtype[Any], work: np.dtype[Any]) -> tuple[float, float]:
    """Find the ends of an integer range as numbers that do not round past them."""
    info = np.iinfo(dtype)
    low, high = work.type(info.min), work.type(info.max)
    return float(low), float(high if int(high) <= info.max else np.nextafter(high, work.type(0)))


def _beside(marker: Array) -> Any:
    """Give the next value above, or below at the end of the range."""
    if marker.dtype.kind == "f":
        return np.nextafter(marker, marker.dtype.type(np.inf))
    return marker - 1 if int(marker) == np.iinfo(marker.dtype).max else marker + 1


def resample(image: DataArray, resampler: Resampler) -> Any:
    """Run a resampler over an array: -> (..., *resampler.shape) numpy.ndarray, or dask.array.Array for dask."""
    if lazy.is_lazy(image):
        data = image.data
        scale = (1.0, 1.0) if resampler.mapping is None else resampler.mapping.scale
        sizes = zip(resampler.shape, data.chunks[-2:], scale, strict=True)
        chunks = tuple(_chunks(size, max(old), coarser) for size, old, coarser in sizes)
        if resampler.correction is not None and resampler.correction.mapping.still:
            chunks = data.chunks[-2:]
        return lazy.map_output_blocks(resampler, data, (chunks[0], chunks[1]), resampler.box, resampler.dtype)
    out = np.empty((*image.shape[:-2], *resampler.shape), dtype=resampler.dtype)
    y_dim, x_dim = image.dims[-2:]
    parallel = resampler.mapping is None or resampler.mapping.separable
    layers = out.size // max(resampler.shape[0] * resampler.shape[1], 1)
    coarser = 1.0 if resampler.mapping is None else resampler.mapping.scale[0] * resampler.mapping.scale[1]
    for rows, cols in _blocks(resampler.shape, layers * coarser, _WIDE if parallel else _SQUARE):
        box = resampler.box(rows, cols)
        source = image.isel({y_dim: slice(box[0], box[1]), x_dim: slice(box[2], box[3])}).values
        out[..., rows, cols] = resampler(source, box, rows, cols)
    return out


def _chunks(size: int, source: int, coarser: float = 1.0) -> tuple[int, ...]:
    """Chunks along one axis of a dask output: about those of the source, and whole tiles for whoever writes them."""
    tile = _TILE if coarser < _COARSE else _PART
    side = min(max(round(source / coarser / tile), 1) * tile, _LONGEST)
    return tuple(min(side, size - start) for start in range(0, size, side))


def _tiles(rows: slice, cols: slice) -> Iterator[tuple[slice, slice]]:
    """Cut a block of the output at multiples of a tile's side, counted from the start of the output."""
    return ((row, col) for row in _aligned(rows) for col in _aligned(cols))


def _aligned(span: slice) -> list[slice]:
    starts = range(span.start // _TILE * _TILE, span.stop, _TILE)
    return [slice(max(span.start, start), min(span.stop, start + _TILE)) for start in starts]


def _blocks(shape: tuple[int, int], layers: float, longest: int) -> Iterator[tuple[slice, slice]]:
    wide = min(shape[1], longest)
    high = max(int(_BLOCK_PIXELS / (max(wide, 1) * max(layers, 1))), 32)
    for row in range(0, shape[0], high):
        for col in range(0, shape[1], max(wide, 1)):
            yield slice(row, min(row + high, shape[0])), slice(col, min(col + wide, shape[1]))
