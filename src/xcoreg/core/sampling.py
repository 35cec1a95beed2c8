"""Interpolation at fractional rows and columns with invalid pixels.

Integer positions are pixel centres. Three rules hold for every kernel:

* Invalid pixels carry no weight. Where a kernel meets an invalid pixel or the edge of the array, the weighted bilinear
  mean of the valid pixels replaces it: dropping taps from a kernel with negative lobes would amplify noise.
* An output pixel is valid where the nearest source pixel is valid; with a widened kernel (``scale`` above 1), where at
  least half of the weight of the widened bilinear kernel is on valid pixels.
* Positions are rounded to 2**-20 pixel: a whole-pixel position returns the source pixel exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from xcoreg.core import Array, Bools, Floats
from xcoreg.core.kernels import KERNELS, Taps, nearest_index, reach, round_position, sum_along_axis, taps
from xcoreg.core.tiles import HALF, Kernel, Positions, nonzero_taps, parts, sample_list, sample_tile, tiles, window

_CHUNK = 1 << 16  # output pixels at a time: temporary arrays stay in the processor's cache


def work_dtype(dtype: DTypeLike) -> np.dtype[Any]:
    """Floating dtype in which values of a dtype are interpolated."""
    kind = np.dtype(dtype)
    small = kind.kind in "biu" and kind.itemsize <= 2
    return np.dtype(np.float32 if small or kind in (np.float16, np.float32) else np.float64)


def sample(
    values: Array,
    valid: Bools | None,
    rows: Array,
    cols: Array,
    kernel: str = "cubic",
    *,
    scale: tuple[float, float] = (1.0, 1.0),
    origin: tuple[int, int] = (0, 0),
) -> tuple[Array, Bools]:
    """Interpolate images (..., n_rows, n_cols) at any rows and columns (*s): -> values and validity (..., *s)."""
    images, masks, lead = _layers(values, valid, kernel)
    rows, cols = np.broadcast_arrays(np.asarray(rows, dtype=np.float64), np.asarray(cols, dtype=np.float64))
    dtype = values.dtype if kernel == "nearest" else work_dtype(values.dtype)
    out = np.zeros((len(images), *rows.shape), dtype=dtype)
    out_valid = np.zeros(out.shape, dtype=bool)
    by_tiles = rows.ndim == 2 and (kernel == "nearest" or max(scale) <= 1.0)
    for part in tiles(rows.shape) if by_tiles else [...]:
        at = (rows[part], cols[part])
        for layer in zip(images, masks, out, out_valid, strict=True):
            source, goal, goal_valid = layer[:2], layer[2][part], layer[3][part]
            if not (by_tiles and sample_tile(source, at, origin, kernel, goal, goal_valid)):
                _sample_positions(source, at, origin, (kernel, scale), (goal, goal_valid))
    return out.reshape(*lead, *rows.shape), out_valid.reshape(*lead, *rows.shape)


def _sample_positions(layer: Any, at: Positions, origin: tuple[int, int], how: Any, goals: Positions) -> None:
    """Sample at positions of any shape."""
    flat = (at[0].reshape(-1) - origin[0], at[1].reshape(-1) - origin[1])
    found = [np.zeros(goal.size, goal.dtype) for goal in goals]
    sample_list(layer, flat, how, found[0], found[1])
    for goal, values in zip(goals, found, strict=True):
        goal[...] = values.reshape(goal.shape)


def sample_axes(
    values: Array,
    valid: Bools | None,
    rows: Array,
    cols: Array,
    kernel: str = "cubic",
    *,
    scale: tuple[float, float] = (1.0, 1.0),
) -> tuple[Array, Bools]:
    """Interpolate images on the mesh of rows (n,) and columns (m,): -> values and validity (..., n, m).

    Equals `sample` on the mesh up to rounding, but faster: the weights are separable, and where positions step by one
    pixel, slices replace look-ups.
    """
    images, masks, lead = _layers(values, valid, kernel)
    rows, cols = round_position(np.asarray(rows, dtype=np.float64)), round_position(np.asarray(cols, dtype=np.float64))
    dtype = values.dtype if kernel == "nearest" else work_dtype(values.dtype)
    out = np.zeros((len(images), rows.size, cols.size), dtype=dtype)
    out_valid = np.zeros(out.shape, dtype=bool)
    for layer, (image, mask) in enumerate(zip(images, masks, strict=True)):
        if kernel == "nearest":
            _nearest_mesh(image, mask, (rows, cols), out[layer], out_valid[layer])
        else:
            _kernel_mesh(image, mask, (rows, cols), (kernel, scale), out[layer], out_valid[layer])
    return out.reshape(*lead, rows.size, cols.size), out_valid.reshape(*lead, rows.size, cols.size)


def shrink(values: Array, valid: Bools | None, factor: int | tuple[int, int]) -> tuple[Array, Bools]:
    """Average blocks of whole numbers of pixels (rows, cols) over their valid ones: (..., n_rows, n_cols)."""
    rows, cols = (factor, factor) if isinstance(factor, int) else factor
    if rows < 1 or cols < 1:
        raise ValueError(f"a shrinking factor must be at least 1, not {factor}")
    mask = np.ones(values.shape, dtype=bool) if valid is None else np.broadcast_to(valid, values.shape)
    whole = bool(mask.all())
    clean = (values if whole else np.where(mask, values, 0)).astype(work_dtype(values.dtype), copy=False)
    total = _block_sums(clean, rows, cols)
    if whole:  # the sides of blocks say how many pixels they hold
        down, across = (_in_blocks(size, side) for size, side in zip(mask.shape[-2:], (rows, cols), strict=True))
        count = np.broadcast_to(down[:, None] * across, total.shape)
    else:
        count = np.broadcast_to(_block_sums(mask.astype(np.float32), rows, cols), total.shape)
    keep = count * 2 >= rows * cols
    return np.where(keep, total / np.maximum(count, 1).astype(total.dtype), 0).astype(total.dtype), keep


def _in_blocks(size: int, side: int) -> Floats:
    """Pixels of each block along an axis, the last of which may be cut."""
    return np.minimum(side, size - np.arange(0, size, min(side, max(size, 1)))).astype(np.float32)


def _block_sums(data: Array, rows: int, cols: int) -> Array:
    height, width = data.shape[-2:]
    rows, cols = min(rows, max(height, 1)), min(cols, max(width, 1))  # a block beyond the image costs no more than it
    fill = [(0, 0)] * (data.ndim - 2) + [(0, -height % rows), (0, -width % cols)]
    full = np.pad(data, fill) if height % rows or width % cols else data
    by_row = _sums_along(full.reshape(*full.shape[:-2], -1, rows, full.shape[-1]), -2)
    return _sums_along(by_row.reshape(*by_row.shape[:-1], -1, cols), -1)


_SHORT = 7  # NumPy adds so many numbers one after the other: adding planes of them is the same, and faster


def _sums_along(data: Array, axis: int) -> Array:
    """Sum along an axis, the last or the one before, which is short as a rule."""
    if not 2 <= data.shape[axis] <= _SHORT or data.dtype.kind != "f":
        return np.asarray(data.sum(axis=axis))
    first, second, *rest = np.moveaxis(data, axis, 0)
    out = first + second
    for one in rest:
        out += one
    return np.asarray(out)


def sum_blocks(images: Floats, side: int) -> Floats:
    """Sum images (n, rows, cols) over square blocks; the last ones may be cut."""
    n, rows, cols = images.shape
    full = rows // side
    down = images[:, : full * side].reshape(n, full, side, cols).sum(2)  # far faster than `reduceat` along rows
    if full * side < rows:
        down = np.concatenate([down, images[:, full * side :].sum(1, keepdims=True)], axis=1)
    return np.asarray(np.add.reduceat(down, np.arange(0, cols, side), axis=2), np.float64)


def _box_ends(shape: tuple[int, ...], box: tuple[int, int], row: Any, col: Any) -> list[Any]:
    """Start and end (2, n) of boxes around cells along rows and columns, cut at the edges."""
    return [
        np.clip(at - size // 2 + np.array([[0], [size]]), 0, length)
        for at, size, length in zip((row, col), box, shape, strict=True)
    ]


def box_means(values: Array, box: tuple[int, int], row: Any, col: Any) -> Array:
    """Means (n,) over boxes around cells of an array, zero outside: from its sums, far cheaper than a filter."""
    top_low, left_right = _box_ends(values.shape, box, row, col)
    (rows, at_row), (cols, at_col) = (np.unique(ends, return_inverse=True) for ends in (top_low, left_right))
    # Sums between neighbouring ends: one pass over all cells, whatever the number of boxes.
    parts = np.add.reduceat(values[: rows[-1]], rows[:-1], axis=0, dtype=np.float64)
    parts = np.add.reduceat(parts[:, : cols[-1]], cols[:-1], axis=1)
    sums = np.pad(parts.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    (top, low), (left, right) = at_row.reshape(2, -1), at_col.reshape(2, -1)
    inside = sums[low, right] - sums[top, right] - sums[low, left] + sums[top, left]
    return np.asarray(inside / (box[0] * box[1]))


def box_shares(known: Bools, box: tuple[int, int], row: Any, col: Any) -> Array:
    """Share (n,) of boxes around cells that is known: of whole rows and columns, as a rule, which are counted alone."""
    sides = known.any(1), known.any(0)
    if np.count_nonzero(known) != sides[0].sum() * sides[1].sum():
        return box_means(known.astype(np.float32), box, row, col)
    ends = _box_ends(known.shape, box, row, col)
    down, across = (np.diff(np.append(0, one.cumsum())[at], axis=0)[0] for one, at in zip(sides, ends, strict=True))
    return np.asarray(down * across / (box[0] * box[1]))


def _layers(values: Array, valid: Bools | None, kernel: str) -> tuple[Array, Sequence[Bools | None], tuple[int, ...]]:
    """Flatten the leading axes of an image and its mask."""
    if kernel not in KERNELS:
        raise ValueError(f"unknown resampling {kernel!r}: choose one of {', '.join(KERNELS)}")
    if values.ndim < 2 or values.dtype.kind not in "biuf":
        raise ValueError(f"need a real image of two or more dimensions, not {values.dtype} of shape {values.shape}")
    lead = values.shape[:-2]
    images = values.reshape(-1, *values.shape[-2:])
    if valid is None:
        return images, [None] * len(images), lead
    return images, list(np.broadcast_to(valid, values.shape).reshape(images.shape)), lead


def _nearest_mesh(image: Array, mask: Bools | None, at: Positions, out: Array, out_valid: Bools) -> None:
    """Copy the nearest pixels of one image."""
    found = [nearest_index(position) for position in at]
    inside = [np.flatnonzero((i >= 0) & (i < size)) for i, size in zip(found, image.shape, strict=True)]
    if not all(i.size for i in inside):
        return
    goal = _mesh_index(inside)
    source = _mesh_index([index[i] for index, i in zip(found, inside, strict=True)])
    if mask is None:
        out[goal], out_valid[goal] = image[source], True
        return
    out_valid[goal] = mask[source]
    out[goal] = np.where(mask[source], image[source], 0)


def _mesh_index(indices: list[NDArray[np.int64]]) -> Any:
    """Index a mesh; by slices, which copy many times faster, where pixels are adjacent."""
    if all((np.diff(index) == 1).all() for index in indices):
        return tuple(slice(int(index[0]), int(index[-1]) + 1) for index in indices)
    return np.ix_(*indices)


def _kernel_mesh(image: Array, mask: Bools | None, at: Positions, how: Kernel, out: Array, out_valid: Bools) -> None:
    """Sample one image on a mesh, strip by strip, into `out` and `out_valid`, which are zero at the start."""
    kernel, scale = how
    active = [_touching(p, size, kernel, s) for p, size, s in zip(at, image.shape, scale, strict=True)]
    if any(span.start >= span.stop for span in active):
        return
    rows, cols = at[0][active[0]], at[1][active[1]]
    goal, goal_valid = out[active[0], active[1]], out_valid[active[0], active[1]]
    for part in parts(rows.size, max(_CHUNK * 2 // cols.size, 16)):
        goal[part], goal_valid[part] = _mesh_part(image, mask, (rows[part], cols), how)


def _touching(position: Array, size: int, kernel: str, scale: float) -> slice:
    """Find the span of positions whose kernels touch the image."""
    margin = reach(kernel, scale)
    touching = np.flatnonzero((position > -margin) & (position < size - 1 + margin))
    return slice(int(touching[0]), int(touching[-1]) + 1) if touching.size else slice(0, 0)


def _mesh_part(image: Array, mask: Bools | None, at: Positions, how: Kernel) -> tuple[Array, Bools | bool]:
    """Sample a strip of a mesh: along rows first, then along columns."""
    kernel, scale = how
    dtype = work_dtype(image.dtype)
    by_row, by_col = (taps(p, kernel, s, dtype) for p, s in zip(at, scale, strict=True))
    low = (int(by_row[0].min()), int(by_col[0].min()))
    shape = (int(by_row[0].max()) + len(by_row[1]) - low[0], int(by_col[0].max()) + len(by_col[1]) - low[1])
    values, good = window(image, mask, low, shape, dtype)

    def over(data: Array, by_row: Taps, by_col: Taps) -> Array:
        down = sum_along_axis(data, (by_row[0] - low[0], by_row[1]), 0)
        return sum_along_axis(down, (by_col[0] - low[1], by_col[1]), 1)

    out = over(values, by_row, by_col)
    if good is None:
        return out, True
    meets_gap = over((~good).astype(dtype), nonzero_taps(by_row), nonzero_taps(by_col)) > 0
    by_row, by_col = (taps(p, "bilinear", s, dtype) for p, s in zip(at, scale, strict=True))
    covered = over(good.astype(dtype), by_row, by_col)
    nearest = np.ix_(*(nearest_index(p) - lo for p, lo in zip(at, low, strict=True)))
    valid = covered >= HALF if max(scale) > 1.0 else good[nearest]
    np.divide(over(values, by_row, by_col), covered, out=out, where=meets_gap & valid)
    out[~valid] = 0
    return out, valid
