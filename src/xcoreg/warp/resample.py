"""Interpolation of one block of the output, and of whole arrays block by block."""

from __future__ import annotations

import importlib
import os
import sys
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from xarray import DataArray

from xcoreg import lazy
from xcoreg.core import Array, Floats
from xcoreg.core.kernels import reach, round_position
from xcoreg.core.sampling import sample, sample_axes, shrink, work_dtype
from xcoreg.raster.nodata import Validity
from xcoreg.warp.averages import Averager, mask_like, read_block

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from xarray import Variable

    from xcoreg.warp.mapping import Box, Mapping
    from xcoreg.warp.plan import BandPlan
    from xcoreg.warp.vertical import VerticalCorrection

    Positions = tuple[Floats, Floats]
    Layers = tuple[Array, Array | None]  # pixels and their mask

_BLOCK_PIXELS = 1 << 18  # of output at once when the source is not a dask array
_WIDE, _SQUARE = 4096, 512  # longest block, px, of parallel grids and of others
_TILE, _LONGEST = 256, 2048  # sides of the blocks of a dask output are multiples of the first up to the second, px
_PART = 64  # px, instead of the first, for outputs so coarse that a tile needs many chunks of the source
_COARSE = 4.0  # source px per output px from which on blocks are averaged before they are interpolated
_VERY_COARSE, _FINE = 128.0, 16  # the same for all of an image before anything else; blocks along an output px then
_LARGEST_BLOCK = 2048  # px along a side of a block: averages of averages follow
_LARGE = 1 << 25  # px of output from which on loading compiled loops, up to a second, pays
_COMPILED_DTYPES = ("uint8", "int8", "uint16", "int16", "float32")
_READ = 1 << 24  # px of the source read at once to be averaged


@dataclass(frozen=True)
class Resampler:
    """Interpolates any block of one array.

    mapping : From output to source pixels; None when they do not meet.
    shape : Rows and columns of the output.
    kernel : One of ``core.kernels.KERNELS``.
    nodata : No pixel with data gets this value.
    fill : Written where the output is missing.
    dtype : Of the output; that of the source, unless heights are corrected.
    correction : Of heights, added to what was interpolated; `dtype` is floating then.
    validity : Which values of the source are data; default: all but `nodata`, NaN and infinity.
    averaged : Rows and columns of the blocks that the source is the averages of, NaN where there are none.
    """

    mapping: Mapping | None
    shape: tuple[int, int]
    kernel: str
    nodata: float | int | None
    fill: float | int | bool
    dtype: str
    correction: VerticalCorrection | None = None
    validity: Validity | None = None
    averaged: tuple[int, int] = (1, 1)

    @property
    def scale(self) -> tuple[float, float]:
        """Rows and columns of the source per output pixel."""
        if self.mapping is None:
            return (1.0, 1.0)
        rows, cols = (scale / by for scale, by in zip(self.mapping.scale, self.averaged, strict=True))
        return rows, cols

    @classmethod
    def of(cls, mapping: Mapping | None, shape: tuple[int, int], plan: BandPlan) -> Resampler:
        """Make the resampler of a planned band."""
        validity = None if plan.validity == Validity(plan.nodata) else plan.validity
        return cls(mapping, shape, plan.kernel, plan.nodata, plan.fill, str(plan.dtype), plan.correction, validity)

    def box(self, rows: slice, cols: slice) -> Box:
        """Source pixels that a block of the output needs; (0, 0, 0, 0) when none."""
        if self.mapping is None:
            return (0, 0, 0, 0)
        blocks = tuple(block * by for block, by in zip(self._blocks, self.averaged, strict=True))
        scales = (scale / block for scale, block in zip(self.mapping.scale, blocks, strict=True))
        # One more than the reach of the kernel: averaged blocks start at an edge, not at a pixel.
        margin = max(block * (reach(self.kernel, scale) + 1) for scale, block in zip(scales, blocks, strict=True))
        row0, row1, col0, col1 = self.mapping.window(rows, cols, margin, (blocks[0], blocks[1]))
        by_row, by_col = self.averaged
        return row0 // by_row, -(-row1 // by_row), col0 // by_col, -(-col1 // by_col)

    def __call__(self, source: Array, box: Box, rows: slice, cols: slice, mask: Array | None = None) -> Array:
        """Make a block of the output: source (..., row1 - row0, col1 - col0), mask alike -> (..., n_rows, n_cols)."""
        if self.mapping is None or not source.size:
            shape = (*source.shape[:-2], rows.stop - rows.start, cols.stop - cols.start)
            return np.full(shape, self.fill, dtype=self.dtype)
        make = self._resample_axes if self.mapping.is_parallel else self._resample_tiles
        out = make(self.mapping, (source, mask), (box[0], box[2]), (rows, cols))
        if self.correction is not None:
            for row, col in _tiles(rows, cols):
                part = out[..., row.start - rows.start : row.stop - rows.start, :]
                self.correction.add_to(part[..., col.start - cols.start : col.stop - cols.start], row, col, self.nodata)
        return out

    def _resample_tiles(
        self, mapping: Mapping, layers: Layers, origin: tuple[int, int], block: tuple[slice, slice]
    ) -> Array:
        """Make a block, tile by tile, from the position of every pixel."""
        (source, _), (rows, cols) = layers, block
        out = np.empty((*source.shape[:-2], rows.stop - rows.start, cols.stop - cols.start), dtype=self.dtype)
        copied = self.kernel == "nearest"
        valid = None if copied else self._valid(*layers)
        values, good, frame = (source, None, (1, 1)) if copied else self._average(source, valid)
        exact = not copied and self._copies_exactly
        plain = not exact or _sums_are_copies(source)
        copies = exact and not (valid is None and plain)
        loops = self._loops(source.dtype) if plain else None
        images = _images(source, valid) if loops else []
        for tile in _tiles(rows, cols):
            row, col = (slice(t.start - b.start, t.stop - b.start) for t, b in zip(tile, block, strict=True))
            goal, lattice = out[..., row, col], mapping.lattice(*tile) if loops else None
            compiled = lattice is not None
            if compiled and (self._sample_lattice(loops, (images, origin), lattice, goal) or not copies):
                continue
            at = self._averaged_positions(mapping.positions(*tile))
            if copied:
                goal[...] = self._take_nearest(source, at, origin)
            elif not compiled:
                goal[...] = self._interpolate(values, good, at, origin, frame)
            if copies:
                self._copy_exact_hits(source, at, origin, goal)
        return out

    def _resample_axes(
        self, mapping: Mapping, layers: Layers, origin: tuple[int, int], block: tuple[slice, slice]
    ) -> Array:
        """Make a block of a parallel grid from positions along its axes."""
        axes = self._averaged_positions(mapping.axes(*block))
        at = tuple(axis - start for axis, start in zip(axes, origin, strict=True))
        source, _ = layers
        if self.kernel == "nearest" or (mapping.copies_pixels and not self._smooths):
            # Pixels are copied unchanged, missing ones too: NaN and infinity stay.
            out, inside = sample_axes(source, None, at[0], at[1], "nearest")
            out = out.astype(self.dtype, copy=False)
            return out if inside.all() else np.where(inside, out, np.asarray(self.fill, dtype=self.dtype))
        out, good = sample_axes(source, self._valid(*layers), at[0], at[1], self.kernel, scale=self.scale)
        return self._to_stored(out, good)

    def _loops(self, dtype: np.dtype[Any]) -> Any:
        """Compiled loops of the kernel; None where numpy interpolates."""
        plain = self.kernel in ("bilinear", "cubic") and self.scale == (1.0, 1.0) == self.averaged
        return compiled_loops(self.shape) if plain and str(dtype) in _COMPILED_DTYPES else None

    def _sample_lattice(self, loops: Any, source: tuple[Any, tuple[int, int]], lattice: Any, goal: Array) -> bool:
        """Interpolate a tile by compiled loops; whether none of its taps are outside or missing."""
        images, origin = source
        shape, complete = (len(images), *goal.shape[-2:]), True
        found, good = np.empty(shape, np.float32), np.ones(shape, bool)
        for image, out in zip(images, zip(found, good, strict=True), strict=True):
            complete &= loops.sample_lattice(image, origin, *lattice, self.kernel == "cubic", out)
        goal[...] = self._to_stored(found, good).reshape(goal.shape)
        return complete

    def _take_nearest(self, source: Array, at: Positions, origin: tuple[int, int]) -> Array:
        """Copy the nearest pixels unchanged."""
        out, inside = sample(source, None, *at, "nearest", origin=origin)
        return out if inside.all() else np.where(inside, out, np.asarray(self.fill, dtype=self.dtype))

    def _interpolate(
        self, values: Array, valid: Array | None, at: Positions, origin: tuple[int, int], blocks: tuple[int, int]
    ) -> Array:
        """Interpolate a tile in an image of averaged blocks, usually single pixels."""
        scale = self.scale
        if blocks != (1, 1):
            by_row, by_col = blocks
            at = ((at[0] - origin[0] + 0.5) / by_row - 0.5, (at[1] - origin[1] + 0.5) / by_col - 0.5)
            scale, origin = (scale[0] / by_row, scale[1] / by_col), (0, 0)
        out, good = sample(values, valid, *at, self.kernel, scale=scale, origin=origin)
        return self._to_stored(out, good)

    def _to_stored(self, values: Array, good: NDArray[np.bool_]) -> Array:
        """Bring interpolated values into the valid range and the dtype of the output."""
        if self.validity is not None and (self.validity.low, self.validity.high) != (None, None):
            np.clip(values, self.validity.low, self.validity.high, out=values)
        return to_stored(values, good, np.dtype(self.dtype), self.nodata, self.fill)

    def _average(self, source: Array, valid: Array | None) -> tuple[Array, Array | None, tuple[int, int]]:
        """Average a much finer source in blocks; also returns the size of the blocks."""
        blocks = self._blocks
        return (*(shrink(source, valid, blocks) if blocks != (1, 1) else (source, valid)), blocks)

    @property
    def _copies_exactly(self) -> bool:
        """Whether a copy preserves more than arithmetic: NaN, infinity, minus zero, integers beyond 2**53."""
        kind = np.dtype(self.dtype)
        unwidened = self.mapping is not None and max(self.mapping.scale) == 1.0 and self.averaged == (1, 1)
        return unwidened and not self._smooths and (kind.kind == "f" or kind.itemsize == 8)

    @property
    def _smooths(self) -> bool:
        """Whether the kernel changes pixels at whole positions, too."""
        return self.kernel == "cubic_spline"

    def _copy_exact_hits(self, source: Array, at: Positions, origin: tuple[int, int], out: Array) -> None:
        """Copy pixels at integer positions, as a shift by whole pixels does."""
        row, col = (round_position(position) for position in at)
        n, m = np.nonzero((row == np.rint(row)) & (col == np.rint(col)))  # false for NaN
        if n.size:
            found, inside = sample(source, None, row[n, m], col[n, m], "nearest", origin=origin)
            out[..., n, m] = np.where(inside, found, out[..., n, m])

    @property
    def _blocks(self) -> tuple[int, int]:
        """Sizes of the blocks in which a much finer source is averaged first; (1, 1) on parallel grids."""
        if self.mapping is None or self.mapping.is_parallel or self.kernel == "nearest":
            return (1, 1)
        by_row, by_col = (int(scale // 2) if scale >= _COARSE else 1 for scale in self.scale)
        return by_row, by_col

    @property
    def blocks_first(self) -> tuple[int, int]:
        """Sizes of the blocks in which all of the source is averaged before anything else; usually (1, 1)."""
        if self.kernel == "nearest":
            return (1, 1)
        sizes = (min(scale // _FINE, _LARGEST_BLOCK) if scale > _VERY_COARSE else 1 for scale in self.scale)
        by_row, by_col = (int(size) for size in sizes)
        return by_row, by_col

    def _averaged_positions(self, at: Positions) -> Positions:
        """Positions in the image of averages, of positions in the source."""
        if self.averaged == (1, 1):
            return at
        return (at[0] + 0.5) / self.averaged[0] - 0.5, (at[1] + 0.5) / self.averaged[1] - 0.5

    def _valid(self, source: Array, mask: Array | None) -> NDArray[np.bool_] | None:
        """Find the valid pixels; None when all are."""
        if self.averaged != (1, 1):
            return np.isfinite(source)
        if source.dtype.kind != "f" and self.nodata is None and self.validity is None and mask is None:
            return None
        valid = (self.validity or Validity(self.nodata)).of(source)
        if mask is not None:
            valid &= mask != 0
        return None if valid.all() else valid


def _images(source: Array, valid: Array | None) -> list[tuple[Array, Array]]:
    """Images and masks in the order of memory that compiled loops want; empty masks where all pixels are valid."""
    found = []
    for layer in np.ndindex(source.shape[:-2]):
        mask = np.empty((0, 0), bool) if valid is None else valid[layer]
        image, mask = (np.require(each, requirements=["C", "W"]) for each in (source[layer], mask))
        found.append((image, mask))
    return found


def compiled_loops(shape: tuple[int, int]) -> Any:
    """Load compiled loops for outputs so large that it pays (XCOREG_FAST: 1 always, 0 never); None without numba."""
    name, wanted = "xcoreg.core.compiled", os.environ.get("XCOREG_FAST", "")
    large = shape[0] * shape[1] >= _LARGE or name in sys.modules
    if wanted == "0" or not (large or wanted == "1"):
        return None
    return _import_once(name)


@cache
def _import_once(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except (ImportError, RuntimeError):  # there is no numba, or no place for what it compiles
        return None


def _sums_are_copies(source: Array) -> bool:
    """Whether a sum with weights of one and zero returns every pixel, of a source without missing pixels."""
    if source.dtype not in (np.float32, np.float64):
        return False
    negative_zero = source.dtype.type(-0.0).view(f"i{source.dtype.itemsize}")
    return not (source.view(negative_zero.dtype) == negative_zero).any()


def to_stored(
    values: Array, valid: NDArray[np.bool_], dtype: np.dtype[Any], nodata: float | int | None, fill: float | int | bool
) -> Array:
    """Round, clip and fill interpolated values in the dtype of the output.

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
            out[hit] = _next_value(marker)
    if not valid.all():
        out[~valid] = fill
    return out


def _limits(dtype: np.dtype[Any], work: np.dtype[Any]) -> tuple[float, float]:
    """Find the ends of an integer range as floating-point numbers inside of it."""
    info = np.iinfo(dtype)
    low, high = work.type(info.min), work.type(info.max)
    return float(low), float(high if int(high) <= info.max else np.nextafter(high, work.type(0)))


def _next_value(marker: Array) -> Any:
    """Next value above, or below at the end of the range."""
    if marker.dtype.kind == "f":
        return np.nextafter(marker, marker.dtype.type(np.inf))
    return marker - 1 if int(marker) == np.iinfo(marker.dtype).max else marker + 1


def resample(image: DataArray, resampler: Resampler, mask: Variable | None = None) -> Any:
    """Run a resampler over an array and its mask: -> (..., *resampler.shape) numpy, or dask.array.Array for dask."""
    while (blocks := resampler.blocks_first) != (1, 1):
        size = image.shape[-2], image.shape[-1]
        image, mask = Averager(resampler, blocks, size, str(work_dtype(image.dtype))).run(image, mask), None
        averaged = (resampler.averaged[0] * blocks[0], resampler.averaged[1] * blocks[1])
        resampler = replace(resampler, averaged=averaged)
    if lazy.is_lazy(image):
        data = image.data
        sizes = zip(resampler.shape, data.chunks[-2:], resampler.scale, strict=True)
        chunks = tuple(chunks_of(size, max(old), coarser) for size, old, coarser in sizes)
        if resampler.correction is not None and resampler.correction.mapping.is_identity:
            chunks = data.chunks[-2:]
        return lazy.map_output_blocks(
            resampler, data, (chunks[0], chunks[1]), resampler.box, resampler.dtype, mask_like(image, mask)
        )
    out = np.empty((*image.shape[:-2], *resampler.shape), dtype=resampler.dtype)
    parallel = resampler.mapping is None or resampler.mapping.is_parallel
    layers = out.size // max(resampler.shape[0] * resampler.shape[1], 1)
    coarser = resampler.scale[0] * resampler.scale[1]
    for rows, cols in _blocks(resampler.shape, layers * coarser, _WIDE if parallel else _SQUARE):
        out[..., rows, cols] = resampler(*read_block(image, mask, resampler.box(rows, cols), rows, cols))
    return out


def chunks_of(size: int, source: int, coarser: float = 1.0) -> tuple[int, ...]:
    """Chunks along one axis of a dask output: about those of the source, in whole tiles for writers."""
    tile = _TILE if coarser < _COARSE else _PART
    side = min(max(round(source / coarser / tile), 1) * tile, _LONGEST)
    return tuple(min(side, size - start) for start in range(0, size, side))


def _tiles(rows: slice, cols: slice) -> Iterator[tuple[slice, slice]]:
    """Cut a block of the output at multiples of the side of a tile."""
    return ((row, col) for row in _aligned(rows) for col in _aligned(cols))


def _aligned(span: slice) -> list[slice]:
    starts = range(span.start // _TILE * _TILE, span.stop, _TILE)
    return [slice(max(span.start, start), min(span.stop, start + _TILE)) for start in starts]


def _blocks(shape: tuple[int, int], layers: float, longest: int) -> Iterator[tuple[slice, slice]]:
    wide = min(shape[1], longest)
    high = max(int(_BLOCK_PIXELS / (max(wide, 1) * max(layers, 1))), 32 if layers < _READ // (1 << 16) else 8)
    for row in range(0, shape[0], high):
        for col in range(0, shape[1], max(wide, 1)):
            yield slice(row, min(row + high, shape[0])), slice(col, min(col + wide, shape[1]))
