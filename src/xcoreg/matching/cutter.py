"""Windows of both images on one matching grid: read as they are where grids allow it, else resampled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from xcoreg import lazy
from xcoreg.core import Floats
from xcoreg.core.sampling import sample, shrink
from xcoreg.errors import GridError
from xcoreg.georef import Linear, linear_of, same_crs, vector_to_map, wrap_longitude
from xcoreg.georef.transform import grid_to_map, map_to_grid
from xcoreg.lazy.graph import Box
from xcoreg.matching.masks import Mask
from xcoreg.raster.raster import Raster, cache_box

ToPixel = Callable[[Floats, Floats], tuple[Floats, Floats]]
Centres = tuple[Floats, Floats]

# Exact positions along each side of a window. Projections are so smooth within one that quartics through these deviate
# by far less than a thousandth of a pixel, and projecting every pixel would take longer than matching it.
_NODES = 5


def window_nodes(centres: Centres, linear: Linear, size: int, to_pixel: ToPixel) -> tuple[Floats, Floats]:
    """Exact rows and columns (n, 5, 5) in the image of nodes over each window, borders included."""
    node = _nodes(size)
    dx, dy = vector_to_map(linear, node[None, :], node[:, None])
    x, y = (np.asarray(part, np.float64)[:, None, None] for part in centres)
    return to_pixel(x + dx, y + dy)


def window_positions(centres: Centres, linear: Linear, size: int, to_pixel: ToPixel) -> tuple[Floats, Floats]:
    """Positions in the image of every pixel of windows: -> rows, cols (n, size, size) float64."""
    basis = _basis(size)
    rows, cols = (basis @ part @ basis.T for part in window_nodes(centres, linear, size, to_pixel))
    lost = np.flatnonzero(~np.isfinite(rows).all((1, 2)))
    if lost.size:
        # Where the domain of the image's CRS ends inside a window, every pixel is projected.
        pixel = np.arange(size) - (size - 1) / 2
        dx, dy = vector_to_map(linear, pixel[None, :], pixel[:, None])
        rows[lost], cols[lost] = to_pixel(centres[0][lost, None, None] + dx, centres[1][lost, None, None] + dy)
    return rows, cols


def scale_of(rows: Floats, cols: Floats, size: int) -> tuple[float, float]:
    """Pixels of the image per matching pixel along rows and columns, from positions (m, m) of one window."""
    step = (size - 1) / (len(rows) - 1) if len(rows) > 1 else 1.0
    along = []
    with np.errstate(invalid="ignore"):
        for part in (rows, cols):
            slopes = np.hypot(np.diff(part, axis=0)[:, 1:], np.diff(part, axis=1)[1:, :]) / step
            along.append(np.median(slopes[np.isfinite(slopes)]) if np.isfinite(slopes).any() else 1.0)
    return float(along[0]), float(along[1])


def _nodes(size: int) -> Floats:
    return np.linspace(-(size - 1) / 2, (size - 1) / 2, _NODES)


@lru_cache(maxsize=16)
def _basis(size: int) -> Floats:
    """(size, 5) weights of the nodes at every pixel, by Lagrange polynomials."""
    node, pixel = _nodes(size), np.arange(size) - (size - 1) / 2
    out = np.ones((size, _NODES))
    for j, k in permutations(range(_NODES), 2):
        out[:, j] *= (pixel - node[k]) / (node[j] - node[k])
    return out


# Pixel sizes that differ by less than this part count as equal: a thousandth of a pixel over a window of a thousand.
_SAME_SIZE = 1e-6
TIE = 1e-4  # px: positions this close to the middle between two pixels lie in it, whatever their last digits say
_MARGIN = 4  # pixels read around a window that is resampled: half width of the kernel
# Windows are read one by one where the box around all of them has more than so many times their pixels.
_SPARSE = 16
_MOST_PIXELS = 1 << 30  # of an image in one window


@dataclass(frozen=True, eq=False)
class Cut:
    """Windows of one image on the matching grid.

    values, valid : (n, size, size); minus the mean of each window, `level` (n,); 0 where not valid.
    x, y : (n,) float64; centre of each window, at index ``(size - 1) / 2``, CRS units of the target.
    """

    values: Floats
    valid: NDArray[np.bool_]
    x: Floats
    y: Floats
    level: Floats


@dataclass(frozen=True, eq=False)
class Cutter:
    """Cuts windows of one image on the matching grid; all positions are in `crs`, that of the target.

    linear : Linear part of the matching grid, CRS units of the target per px.
    factor : The image's own pixels per matching pixel along (columns, rows) where these are whole numbers and the axes
        are parallel: windows are then read, and averaged. None: they are resampled.
    mask : Where the image may be used, positions in the CRS of the target.
    scaling : Factor and offset of heights, which makes one unit of those of both images.
    part : Share of a window along (columns, rows) that counts: the rest of a rectangle's square is masked.
    """

    raster: Raster
    crs: Any
    linear: Linear
    factor: tuple[int, int] | None
    mask: Mask | None = None
    scaling: tuple[float, float] = (1.0, 0.0)
    part: tuple[float, float] = (1.0, 1.0)

    def cut(self, x: Floats, y: Floats, size: int) -> Cut:
        """Cut windows: x, y (n,) float."""
        x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
        values, valid, centres = (self._resampled if self.factor is None else self._native)(x, y, size)
        if self.mask is not None:
            valid &= self._mask_windows(self.mask, centres, size)
        if self.part != (1.0, 1.0):
            edge = [round(size * (1 - share) / 2) for share in self.part]
            inside = np.zeros((size, size), bool)
            inside[edge[1] : size - edge[1], edge[0] : size - edge[0]] = True
            valid = valid & inside
        values, level = _subtract_mean(values, valid)
        if self.scaling != (1.0, 0.0):
            gain, offset = self.scaling
            values, level = values * np.float32(gain), level * gain + offset
        return Cut(values, valid, np.asarray(centres[0], np.float64), np.asarray(centres[1], np.float64), level)

    def cached(self, x: Floats, y: Floats, size: int) -> Cutter:
        """Read the surroundings of some windows once, to cut these and others near them from memory."""
        box = self._surroundings(x, y, size)
        return self if box is None else replace(self, raster=cache_box(self.raster, box))

    def boxes_to_read(self, x: Floats, y: Floats, size: int) -> list[tuple[Any, list[Box]]]:
        """Boxes that cutting some windows reads, for an image that dask computes."""
        arrays = self.raster.computed
        boxes = [self.raster.clip(box) for box in self.boxes(x, y, size)] if arrays else []
        return [(array, boxes) for array in arrays]

    def boxes(self, x: Floats, y: Floats, size: int) -> list[Box]:
        """Boxes of the image, which may reach beyond it, that some windows need."""
        return (self._resampled_boxes if self.factor is None else self._native_boxes)(x, y, size)[0]

    def _surroundings(self, x: Floats, y: Floats, size: int) -> Box | None:
        boxes = self.boxes(x, y, size)
        edges = np.array([box for box in boxes if box[1] > box[0] and box[3] > box[2]]).reshape(-1, 4)
        if not len(edges):
            return None
        row0, col0 = edges[:, [0, 2]].min(0).tolist()
        row1, col1 = edges[:, [1, 3]].max(0).tolist()
        pixels = ((edges[:, 1] - edges[:, 0]) * (edges[:, 3] - edges[:, 2])).sum()
        if (row1 - row0) * (col1 - col0) > _SPARSE * pixels:
            return None
        return row0, row1, col0, col1

    def _positions(self, x: float, y: float, size: int) -> tuple[Floats, Floats]:
        """Map positions of a window's pixels, from the position of its centre."""
        cols, rows = np.meshgrid(np.arange(size) - (size - 1) / 2, np.arange(size) - (size - 1) / 2)
        dx, dy = vector_to_map(self.linear, cols, rows)
        return x + dx, y + dy

    def _native_boxes(self, x: Floats, y: Floats, size: int) -> tuple[list[Box], Centres]:
        across, down = self.factor or (1, 1)
        if size * across * size * down > _MOST_PIXELS:
            raise GridError(
                f"{self.raster.name} has {across} x {down} pixels in one of the matching grid: a window of "
                f"{size} px is too large to read; check its georeference, or coarsen it"
            )
        cols, rows = map_to_grid(self.crs, self.raster.grid, x, y)
        half_x, half_y = (size * across - 1) / 2, (size * down - 1) / 2
        col0, row0 = _nearest(cols - half_x).astype(int), _nearest(rows - half_y).astype(int)
        boxes = np.stack([row0, row0 + size * down, col0, col0 + size * across], -1)
        centres = grid_to_map(self.raster.grid, self.crs, col0 + half_x, row0 + half_y, near=x)
        return list(map(tuple, boxes.tolist())), centres

    def _native(self, x: Floats, y: Floats, size: int) -> tuple[Floats, NDArray[np.bool_], Centres]:
        across, down = self.factor or (1, 1)
        boxes, centres = self._native_boxes(x, y, size)
        values, valid = self.raster.read_stack(boxes)
        if (across, down) != (1, 1):
            values, valid = shrink(values, valid, (down, across))
        return values.reshape(-1, size, size), valid.reshape(-1, size, size), centres

    def _resampled_centres(self, x: Floats, y: Floats, size: int) -> Centres:
        # A pixel of the image becomes a pixel of the window, so that grids that differ by a quarter turn lose nothing.
        half_x, half_y = vector_to_map(self.linear, (size - 1) / 2 - size // 2, (size - 1) / 2 - size // 2)
        cols, rows = map_to_grid(self.crs, self.raster.grid, x - half_x, y - half_y)
        near_x, near_y = grid_to_map(self.raster.grid, self.crs, _nearest(cols), _nearest(rows), near=x)
        return near_x + half_x, near_y + half_y

    def _to_pixel(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Rows and columns of the image at map positions."""
        col, row = map_to_grid(self.crs, self.raster.grid, x.ravel(), y.ravel())
        return row.reshape(x.shape), col.reshape(x.shape)

    def _resampled_boxes(self, x: Floats, y: Floats, size: int) -> tuple[list[Box], Centres]:
        centres = self._resampled_centres(x, y, size)
        rows, cols = window_nodes(centres, self.linear, size, self._to_pixel)
        return [_box_around(*pair, size, self.raster.shape) for pair in zip(rows, cols, strict=True)], centres

    def _resampled(self, x: Floats, y: Floats, size: int) -> tuple[Floats, NDArray[np.bool_], Centres]:
        boxes, centres = self._resampled_boxes(x, y, size)
        places = window_positions(centres, self.linear, size, self._to_pixel)
        values, valid = np.empty((len(x), size, size), np.float32), np.empty((len(x), size, size), bool)
        # One window at a time, so that it stays in the processor's cache.
        read = self.raster.read_many(boxes)
        for at, item in enumerate(zip(read, boxes, zip(*places, strict=True), strict=True)):
            values[at], valid[at] = _resample(*item)
        return values, valid, centres

    def _mask_windows(self, mask: Mask, centres: Centres, size: int) -> NDArray[np.bool_]:
        """Where the mask allows pixels of windows to be used."""
        missing: list[Any] = []
        out = np.ones((len(centres[0]), size, size), bool)
        for at, centre in enumerate(zip(*centres, strict=True)):
            with lazy.collecting_missing(missing):
                out[at] = mask(*self._positions(float(centre[0]), float(centre[1]), size))
        if missing:
            raise lazy.MissingChunks(missing)
        return out


def _subtract_mean(values: Floats, valid: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Subtract from each window the mean of its valid pixels, and set the others to 0; return windows and means."""
    n = len(values)
    if not valid.all():
        np.copyto(values, 0, where=~valid)
    flat, count = values.reshape(n, -1), np.maximum(valid.reshape(n, -1).sum(1), 1)
    # A float32 sum will do: the mean need not be exact, because exactly what was subtracted is returned.
    with np.errstate(over="ignore"):
        level = flat.sum(1) / count.astype(values.dtype)
    huge = ~np.isfinite(level)
    if huge.any():
        level[huge] = flat[huge].sum(1, dtype=np.float64) / count[huge]
    values -= level[:, None, None]
    if not valid.all():
        np.copyto(values, 0, where=~valid)
    return np.asarray(values, np.float32), level.astype(np.float64)


def make_cutters(target: Raster, reference: Raster) -> tuple[Cutter, Cutter, Linear]:
    """Choose the matching grid, pixels of the coarser image in the CRS of the target, and a cutter for each image."""
    crs = target.grid.crs
    own = linear_of(target.grid.affine)
    together = same_crs(crs, reference.grid.crs)
    other = linear_of(reference.grid.affine) if together else linear_in(reference.grid, target.grid)
    ratio = float(np.sqrt(abs(_area(other) / _area(own))))
    if ratio <= 1 + 1e-3:
        linear = own
    elif together:
        linear = other
    else:
        whole = max(round(ratio), 1)
        step = whole if abs(ratio - whole) < 0.02 * whole else ratio
        linear = tuple(step * part for part in own)  # type: ignore[assignment]
    cutter = Cutter(reference, crs, linear, matching_factor(other, linear) if together else None)
    return Cutter(target, crs, linear, matching_factor(own, linear)), cutter, linear


def _area(linear: Linear) -> float:
    return linear[0] * linear[3] - linear[1] * linear[2]


def linear_in(grid: GeoBox, target: GeoBox) -> Linear:
    """Linear part of a grid at its centre, in the CRS of the target."""
    rows, cols = grid.shape
    col, row = np.array([0, 1, 0]) + (cols - 1) / 2, np.array([0, 0, 1]) + (rows - 1) / 2
    x, y = grid_to_map(grid, target.crs, col, row)
    x = wrap_longitude(target.crs, x, x[0])
    return float(x[1] - x[0]), float(x[2] - x[0]), float(y[1] - y[0]), float(y[2] - y[0])


def matching_factor(own: Linear, matching: Linear) -> tuple[int, int] | None:
    """Whole numbers of own pixels per matching pixel along (columns, rows); None where axes are not parallel."""
    a, b, d, e = own
    factors = []
    for mine, wanted in (((a, d), (matching[0], matching[2])), ((b, e), (matching[1], matching[3]))):
        length = float(np.hypot(*mine))
        ratio = (mine[0] * wanted[0] + mine[1] * wanted[1]) / length**2
        whole = round(ratio)
        off = np.hypot(wanted[0] - whole * mine[0], wanted[1] - whole * mine[1])
        if whole < 1 or off > _SAME_SIZE * length * whole:
            return None
        factors.append(whole)
    return factors[0], factors[1]


def _nearest(position: Floats) -> Floats:
    """Round positions, px; what lies in the middle goes one way."""
    return np.asarray(np.rint(position - TIE))


def _box_around(rows: Floats, cols: Floats, size: int, shape: tuple[int, int]) -> Box:
    """Box of image pixels around a window, from its nodes, with a margin for the widened kernel."""
    margin = int(np.ceil(_MARGIN * max(*scale_of(rows, cols, size), 1)))
    box = []
    for values, length in ((rows, shape[0]), (cols, shape[1])):
        finite = values[np.isfinite(values)]
        low, high = (finite.min(), finite.max()) if finite.size else (0, 0)
        box += [int(np.clip(low - margin, 0, length)), int(np.clip(high + margin + 1, 0, length))]
    return box[0], box[1], box[2], box[3]


def _resample(read: Any, box: Box, places: tuple[Floats, Floats]) -> tuple[Any, Any]:
    """Interpolate at fractional positions; average first where the image is much finer."""
    values, valid = read
    rows, cols = places[0] - box[0], places[1] - box[2]
    if min(values.shape) == 0:
        return np.zeros(rows.shape, np.float32), np.zeros(rows.shape, bool)
    scale = scale_of(rows, cols, len(rows))
    down, across = (max(int(part), 1) for part in scale)
    if max(down, across) > 1:
        values, valid = shrink(values, valid, (down, across))
        rows, cols = (rows + 0.5) / down - 0.5, (cols + 0.5) / across - 0.5
    finite = np.isfinite(rows) & np.isfinite(cols)
    rows, cols = np.where(finite, rows, -10), np.where(finite, cols, -10)
    rest = max(scale[0] / down, 1.0), max(scale[1] / across, 1.0)
    out, good = sample(values, valid, rows, cols, "lanczos", scale=rest)
    return out, good & finite
