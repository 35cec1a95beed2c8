"""Sampling of a tile by slices of the image, or of any list of positions by look-ups.

A warp moves neighbours alike. Within a tile the source pixel minus the output pixel is one whole number, or two or
three adjacent ones, so that every tap of the kernel is one slice of the image. Where the number changes, taps outside a
kernel have a weight of exactly 0: the sums are bit for bit those of the look-ups, which serve all other positions.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike

from xcoreg.core import Array, Bools
from xcoreg.core.kernels import Taps, nearest_index, reach, round_position, sum_slices, sum_taps, taps, weights_at

Layer = tuple[Array, Bools | None]
Positions = tuple[Array, Array]  # rows and columns, or what is sampled there and whether it is valid
Kernel = tuple[str, tuple[float, float]]

HALF = 0.5 - 1e-6
_CHUNK = 1 << 16  # output pixels at a time: temporary arrays stay in the processor's cache
_TILE, _SMALLEST = 256, 64  # px, largest and smallest side of a tile; for smaller ones look-ups are faster
_MORE_TAPS = 2  # additional taps along both axes together up to which slices are faster
_FARTHEST = 2.0**30  # px


def parts(size: int, length: int) -> Iterator[slice]:
    """Split a length into slices."""
    return (slice(start, min(start + length, size)) for start in range(0, size, length))


def tiles(shape: tuple[int, int]) -> Iterator[tuple[slice, slice]]:
    """Split a grid into tiles that are processed at once."""
    return ((rows, cols) for rows in parts(shape[0], _TILE) for cols in parts(shape[1], _TILE))


def window(
    image: Array, mask: Bools | None, first: tuple[int, int], shape: tuple[int, int], dtype: DTypeLike
) -> tuple[Array, Bools | None]:
    """Cut a window, which may extend beyond the edge; its mask is None where all of it is valid."""
    low = [max(at, 0) for at in first]
    high = [max(min(at + n, size), lo) for at, n, size, lo in zip(first, shape, image.shape, low, strict=True)]
    source = (slice(low[0], high[0]), slice(low[1], high[1]))
    if (high[0] - low[0], high[1] - low[1]) == shape and (mask is None or mask[source].all()):
        return image[source].astype(dtype, copy=False), None
    target = tuple(slice(lo - at, hi - at) for lo, hi, at in zip(low, high, first, strict=True))
    good = np.zeros(shape, dtype=bool)
    good[target] = True if mask is None else mask[source]
    values = np.zeros(shape, dtype=dtype)
    np.copyto(values[target], image[source], where=good[target], casting="unsafe")
    return values, good


def nonzero_taps(by_axis: Taps) -> Taps:
    """Taps with weights of one where they are not zero."""
    return by_axis[0], _ones(by_axis[1])


def sample_tile(
    layer: Layer, at: Positions, origin: tuple[int, int], kernel: str, out: Array, out_valid: Bools
) -> bool:
    """Sample an image at a tile (n, m) of rows and columns by slices; False where these are too far apart."""
    offsets = (_offsets(at[0], origin[0], 0), _offsets(at[1], origin[1], 1))
    if kernel == "nearest":
        offsets = (np.floor(offsets[0] + 0.5), np.floor(offsets[1] + 0.5))
    ends = _ends(offsets)
    if not all(abs(end) < _FARTHEST for pair in ends for end in pair):  # nor NaN
        return False
    _sample_part(layer, offsets, (0, 0), kernel, (out, out_valid), ends)
    return True


def _ends(offsets: Positions) -> list[tuple[float, float]]:
    return [(float(offset.min()), float(offset.max())) for offset in offsets]


def _offsets(position: Array, origin: int, axis: int) -> Array:
    """Round positions and subtract the index within the tile."""
    steps = np.arange(origin, origin + position.shape[axis], dtype=np.float64)
    offset = round_position(position)
    offset -= steps[:, None] if axis == 0 else steps
    return offset


def _sample_part(
    layer: Layer,
    offsets: Positions,
    start: tuple[int, int],
    kernel: str,
    target: Positions,
    ends: list[tuple[float, float]],
) -> None:
    """Sample a part of a tile; by quarters where these need clearly fewer taps, by look-ups at last."""
    lows = [math.floor(low) for low, _ in ends]
    more = [math.floor(high) - low for (_, high), low in zip(ends, lows, strict=True)]
    side = max(offsets[0].shape)
    if sum(more) <= _MORE_TAPS:
        axes = [_TileAxis(*each) for each in zip(offsets, lows, more, start, strict=True)]
        if kernel == "nearest":
            _copy_nearest(layer, (axes[0], axes[1]), target)
        else:
            _sample_slices(layer, (axes[0], axes[1]), kernel, target)
    elif side > _SMALLEST and sum(more) * _SMALLEST <= _MORE_TAPS * side:
        for rows in parts(offsets[0].shape[0], -(-side // 2)):
            for cols in parts(offsets[0].shape[1], -(-side // 2)):
                pieces = [(pair[0][rows, cols], pair[1][rows, cols]) for pair in (offsets, target)]
                first = start[0] + rows.start, start[1] + cols.start
                _sample_part(layer, pieces[0], first, kernel, pieces[1], _ends(pieces[0]))
    else:
        n, m = np.ogrid[start[0] : start[0] + offsets[0].shape[0], start[1] : start[1] + offsets[0].shape[1]]
        found, found_valid = np.zeros(target[0].size, target[0].dtype), np.zeros(target[0].size, bool)
        at = (offsets[0] + n).ravel(), (offsets[1] + m).ravel()
        sample_list(layer, at, (kernel, (1.0, 1.0)), found, found_valid)
        target[0][...], target[1][...] = found.reshape(target[0].shape), found_valid.reshape(target[0].shape)


@dataclass(frozen=True)
class _TileAxis:
    """Source pixels of a tile along one axis: tap k of index i is pixel ``i + first + k``."""

    offset: Array
    low: int
    more: int
    start: int

    def first(self, kernel: str) -> int:
        """Source pixel of the first tap of index 0."""
        return self.start + self.low + 1 - reach(kernel)

    def weights(self, kernel: str, dtype: DTypeLike) -> list[Array]:
        """Weight of each tap, (n, m)."""
        part = np.subtract(self.offset, self.low).astype(dtype, copy=False)
        if self.more == 0:
            return weights_at(part, kernel)
        start = np.floor(part)
        weights = weights_at(part - start, kernel)
        none, shifted = np.zeros((), part.dtype), []
        at = [start == step for step in range(self.more)]
        for tap in range(len(weights) + self.more):
            of_step = [weights[tap - step] if 0 <= tap - step < len(weights) else none for step in range(self.more + 1)]
            weight = of_step[-1]
            for here, other in zip(at[::-1], of_step[-2::-1], strict=True):
                weight = np.where(here, other, weight)
            shifted.append(weight)
        return shifted

    def needed(self, kernel: str, axis: int) -> slice:
        """Taps with weight anywhere in the tile, counted from the first."""
        steps = np.arange(self.offset.shape[axis])
        low, high = self.offset.min(axis=1 - axis) + steps, self.offset.max(axis=1 - axis) + steps
        return slice(math.floor(low.min()) - self.low, math.floor(high.max()) - self.low + 2 * reach(kernel))


def _sample_slices(layer: Layer, axes: tuple[_TileAxis, _TileAxis], kernel: str, target: Positions) -> None:
    """Sample a tile by slices."""
    out, out_valid = target
    taps_of = [2 * reach(kernel) + axis.more for axis in axes]
    shape = (out.shape[0] + taps_of[0] - 1, out.shape[1] + taps_of[1] - 1)
    values, good = window(*layer, (axes[0].first(kernel), axes[1].first(kernel)), shape, out.dtype)
    needed = None if good is None else good[tuple(axis.needed(kernel, i) for i, axis in enumerate(axes))]
    if needed is not None and not needed.any():
        return
    by_row, by_col = (axis.weights(kernel, out.dtype) for axis in axes)
    sum_slices(values, by_row, by_col, out)
    if good is None or needed is None or needed.all():
        out_valid[:] = True
        return
    missing, covered, mean = (np.empty_like(out) for _ in range(3))
    sum_slices((~good).astype(out.dtype), _ones(by_row), _ones(by_col), missing)
    by_row, by_col = (axis.weights("bilinear", out.dtype) for axis in axes)
    skip = reach(kernel) - 1
    inner = (slice(skip, shape[0] - skip), slice(skip, shape[1] - skip))
    sum_slices(good[inner].astype(out.dtype), by_row, by_col, covered)
    sum_slices(values[inner], by_row, by_col, mean)
    at = [np.floor(axis.offset + 0.5).astype(np.intp) - (axis.low - skip) for axis in axes]
    n, m = np.ogrid[: out.shape[0], : out.shape[1]]
    out_valid[:] = good[at[0] + n, at[1] + m]
    np.divide(mean, covered, out=out, where=(missing > 0) & out_valid)
    out[~out_valid] = 0


def _copy_nearest(layer: Layer, axes: tuple[_TileAxis, _TileAxis], target: Positions) -> None:
    """Copy the nearest pixels of a tile, one slice for each whole-pixel offset."""
    (n, m), (rows, cols) = target[0].shape, axes
    shape = (n + rows.more, m + cols.more)
    values, good = window(*layer, (rows.first("nearest"), cols.first("nearest")), shape, target[0].dtype)
    for i in range(rows.more + 1):
        for j in range(cols.more + 1):
            here = (rows.offset == rows.low + i) & (cols.offset == cols.low + j) if rows.more or cols.more else True
            np.copyto(target[0], values[i : i + n, j : j + m], where=here)
            np.copyto(target[1], True if good is None else good[i : i + n, j : j + m], where=here)


def _ones(weights: list[Array]) -> list[Array]:
    return [(weight != 0).astype(weight.dtype) for weight in weights]


def sample_list(layer: Layer, positions: Positions, kernel_scale: Kernel, out: Array, out_valid: Bools) -> None:
    """Sample one image at any positions by look-ups: positions (n,) float64 rows and columns; out, out_valid (n,)."""
    (image, mask), (kernel, scale) = layer, kernel_scale
    margins = [reach(kernel, s) + 1 for s in scale]
    near = np.ones(positions[0].shape, dtype=bool)
    for position, margin, size in zip(positions, margins, image.shape, strict=True):
        near &= (position > -margin) & (position < size - 1 + margin)  # not true of NaN
    if not near.any():
        return
    everywhere = bool(near.all())
    rows, cols = (round_position(p if everywhere else p[near]) for p in positions)
    first = (math.floor(rows.min()) - margins[0], math.floor(cols.min()) - margins[1])
    shape = (math.floor(rows.max()) + margins[0] + 1 - first[0], math.floor(cols.max()) + margins[1] + 1 - first[1])
    values, good = window(image, mask, first, shape, out.dtype)
    rows, cols = rows - first[0], cols - first[1]
    found, found_valid = np.empty(rows.shape, dtype=out.dtype), np.empty(rows.shape, dtype=bool)
    for part in parts(rows.size, _CHUNK):
        found[part], found_valid[part] = _sample_positions(values, good, rows[part], cols[part], kernel_scale)
    out[near], out_valid[near] = found, found_valid


def _sample_positions(
    values: Array, good: Bools | None, rows: Array, cols: Array, kernel_scale: Kernel
) -> tuple[Array, Bools]:
    """Sample a window that contains every tap of every position."""
    kernel, scale = kernel_scale
    if kernel == "nearest":
        at = (nearest_index(rows), nearest_index(cols))
        valid = np.ones(rows.shape, dtype=bool) if good is None else good[at]
        return np.where(valid, values[at], 0).astype(values.dtype), valid
    by_row, by_col = (taps(p, kernel, s, values.dtype) for p, s in zip((rows, cols), scale, strict=True))
    out = sum_taps(values, by_row, by_col)
    spans = tuple(slice(int(first.min()), int(first.max()) + len(weights)) for first, weights in (by_row, by_col))
    if good is None or good[spans].all():
        return out, np.ones(rows.shape, dtype=bool)
    meets_gap = sum_taps((~good).astype(values.dtype), nonzero_taps(by_row), nonzero_taps(by_col)) > 0
    by_row, by_col = (taps(p, "bilinear", s, values.dtype) for p, s in zip((rows, cols), scale, strict=True))
    covered = sum_taps(good.astype(values.dtype), by_row, by_col)
    valid = covered >= HALF if max(scale) > 1.0 else good[nearest_index(rows), nearest_index(cols)]
    np.divide(sum_taps(values, by_row, by_col), covered, out=out, where=meets_gap & valid)
    out[~valid] = 0
    return out, valid
