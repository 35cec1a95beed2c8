"""Windows of a stack of dates: the grid they are matched on, and their pixels, each read once."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox

from xcoreg import lazy
from xcoreg.core import Bools, Floats, Ints
from xcoreg.errors import OptionError
from xcoreg.georef import Linear, linear_of, vector_to_map, vector_to_pixel
from xcoreg.georef.transform import grid_to_map, map_to_grid
from xcoreg.io.series import Date
from xcoreg.matching.cutter import Cutter, linear_in, matching_factor
from xcoreg.matching.masks import as_mask
from xcoreg.raster.overview import gain_for
from xcoreg.raster.raster import make_raster, with_corner_nodata


@dataclass(frozen=True, eq=False)
class Frame:
    """The grid that all dates are matched on: `grid` spans all of them; places are in its px, (column, row) centres.

    size, margin : Side of windows and what is read around each, px.
    places : (w, 2) int; first column and row of every window.
    """

    grid: GeoBox
    size: int
    margin: int
    places: Ints

    @property
    def linear(self) -> Linear:
        """Linear part of the grid."""
        return linear_of(self.grid.affine)

    def centres(self) -> tuple[Floats, Floats]:
        """Map positions of the centres of all windows."""
        col, row = (self.places + (self.size - 1) / 2).T
        return grid_to_map(self.grid, self.grid.crs, col, row)


# Sides of windows; a smaller one where so many do not fit along the shorter side. Windows along each side at most.
_SIDES, _ALONG, _MOST_ALONG, _LEAST_SIDE = (256, 128, 64, 48, 32), 3, 5, 16
_MARGIN = 8
_BUDGET = 3 << 28  # bytes of all windows of all dates
_MOST_TIMES = 50  # the windows of one image over all of them together, if that is more than the budget


def frame_of(grids: Sequence[GeoBox], window: int | None, spacing: float | None, most: int | None = None) -> Frame:
    """Choose the matching grid, the coarsest pixels in the commonest CRS, and windows on it.

    `spacing` (px) puts windows side by side over everything, else they are as few as memory allows.
    """
    grid = _common_grid(grids)
    boxes = np.array([_box_on(grid, one) for one in grids])
    low, high = boxes[:, :2].min(0), boxes[:, 2:].max(0)
    typical = np.median(boxes[:, 2:] - boxes[:, :2], axis=0)
    grid = GeoBox((int(high[1] - low[1]), int(high[0] - low[0])), _moved(grid.affine, low), grid.crs)
    margin = int(min(_MARGIN, typical.min() // 10))
    room = typical - 2 * margin
    size = window or next((side for side in _SIDES if room.min() >= _ALONG * side * 0.9), int(min(room.min(), 32)))
    if size < _LEAST_SIDE or size > room.min() + 2 * margin:
        raise OptionError(
            f"windows of {size} px do not fit images of {typical[0]:.0f} x {typical[1]:.0f} px of the matching grid: "
            f"give window= from {_LEAST_SIDE} to {int(room.min())}, or larger images"
        )
    if most is None:
        most = max(int(_BUDGET // (len(grids) * 5 * (size + 2 * margin) ** 2)), 4) if spacing is None else None
    steps = [_steps(full, usual, size, margin, spacing, most) for full, usual in zip(high - low, typical, strict=True)]
    alone = [_steps(usual, usual, size, margin, spacing, most)[1] for usual in typical]
    _check_apart(boxes, steps[0][1] * steps[1][1], alone[0] * alone[1], 5 * len(grids) * (size + 2 * margin) ** 2)
    starts = [
        np.rint((full - size - (count - 1) * step) / 2 + step * np.arange(count)).astype(np.intp)
        for full, (step, count) in zip(high - low, steps, strict=True)
    ]
    places = np.stack([part.ravel() for part in np.meshgrid(*starts)], -1)
    return Frame(grid, size, margin, places)


def _steps(
    full: float, usual: float, size: int, margin: int, spacing: float | None, most: int | None
) -> tuple[float, int]:
    """Distance and number of windows along one axis: regular, over the full length."""
    room = usual - 2 * margin - size
    along = int(np.clip(np.ceil((usual - 2 * margin) / size), 1, _MOST_ALONG))
    along = min(along, max(int(np.sqrt(most)), 1)) if most is not None else along
    step = float(spacing) if spacing is not None else (room / (along - 1) if along > 1 else max(room, size))
    return step, int((full - 2 * margin - size) // max(step, 1.0) + 1e-9) + 1


def _check_apart(boxes: Floats, count: int, alone: int, size: int) -> None:
    """Refuse images so far apart that windows over all of them would be far more than over one: boxes (n, 4), px."""
    if count > _MOST_TIMES * alone and count * size > _BUDGET:
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        away = np.hypot(*(centres - np.median(centres, axis=0)).T)
        raise OptionError(
            f"the images lie apart: the centre of image {int(away.argmax())} is {away.max():.3g} px from the middle of "
            "the others; check its georeference, or leave it out"
        )


def _common_grid(grids: Sequence[GeoBox]) -> GeoBox:
    """Find the commonest grid where the pixels of others are no coarser, whatever their order."""
    counts = Counter(grids)
    ranked = sorted(counts, key=lambda one: (-counts[one], tuple(one.affine)[:6], str(one.crs), one.shape.yx))
    best = ranked[0]
    sides = [np.sqrt(abs(np.linalg.det(np.reshape(linear_in(one, best), (2, 2))))) for one in ranked]
    coarsest = ranked[int(np.argmax(np.round(np.array(sides) / sides[0], 3)))]
    if coarsest is best or coarsest.crs == best.crs:
        return coarsest
    ratio = max(sides) / sides[0]
    a, b, c, d, e, f = tuple(best.affine)[:6]
    shape = (max(round(best.shape[0] / ratio), 1), max(round(best.shape[1] / ratio), 1))
    return GeoBox(shape, Affine(a * ratio, b * ratio, c, d * ratio, e * ratio, f), best.crs)


def _box_on(grid: GeoBox, other: GeoBox) -> tuple[float, float, float, float]:
    """Whole pixels of a grid that another one covers: first column and row, last + 1."""
    if other == grid:
        return 0, 0, grid.shape[1], grid.shape[0]
    rows, cols = other.shape
    edge = np.linspace(-0.5, 0.5, 9)
    col, row = (part.ravel() for part in np.meshgrid(edge * cols + cols / 2 - 0.5, edge * rows + rows / 2 - 0.5))
    at = np.column_stack(map_to_grid(grid.crs, grid, *grid_to_map(other, grid.crs, col, row)))
    at = at[np.isfinite(at).all(1)]
    if not len(at):
        raise OptionError(f"an image in {other.crs} cannot be placed in {grid.crs}: leave it out or reproject it")
    low, high = np.ceil(at.min(0) + 0.499), np.floor(at.max(0) + 0.501)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def _moved(affine: Affine, pixels: Floats) -> Affine:
    a, b, c, d, e, f = tuple(affine)[:6]
    col, row = map(float, pixels)
    return Affine(a, b, c + a * col + b * row, d, e, f + d * col + e * row)


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows of one date: values, valid (w, side, side); x, y (w,) centres on the map; used (w,) inside of it.

    Values are minus their mean, 0 where not valid. `offset` (col, row) is where windows were read, px of the frame.
    """

    values: Floats
    valid: Bools
    x: Floats
    y: Floats
    offset: tuple[int, int]

    def cut(self, frame: Frame, offset: tuple[int, int]) -> tuple[Floats, Bools, Floats, Floats] | None:
        """Windows of the frame's size at an offset (col, row), px; None where they were not read."""
        col, row = (one - own + frame.margin for one, own in zip(offset, self.offset, strict=True))
        if not (0 <= col <= 2 * frame.margin and 0 <= row <= 2 * frame.margin):
            return None
        box = (slice(None), slice(row, row + frame.size), slice(col, col + frame.size))
        values, valid = self.values[box], self.valid[box]
        count = np.maximum(valid.sum((1, 2)), 1)
        values = np.where(valid, values - (values.sum((1, 2)) / count)[:, None, None], 0).astype(np.float32)
        dx, dy = vector_to_map(frame.linear, col - frame.margin, row - frame.margin)
        return values, valid, self.x + dx, self.y + dy


@dataclass(frozen=True, eq=False)
class Reading:
    """How windows of dates are read: band, nodata value and mask of each."""

    frame: Frame
    bands: Sequence[int | str | None]
    nodatas: Sequence[float | None]
    wheres: Sequence[Any]

    def ordered(self, order: Ints) -> Reading:
        """Read dates in another order."""
        parts = ([part[at] for at in order] for part in (self.bands, self.nodatas, self.wheres))
        return Reading(self.frame, *parts)


_TOGETHER = 32  # dates whose chunks are in memory at a time


def read_series(dates: Sequence[Date], reading: Reading, which: Iterable[int], offsets: Ints) -> dict[int, Windows]:
    """Read the windows of some dates, moved by offsets (n, 2), px, in parallel."""
    todo: list[int] = list(which)
    out: dict[int, Windows] = {}
    for start in range(0, len(todo), _TOGETHER):
        part = todo[start : start + _TOGETHER]
        with lazy.shared_chunks():
            items = [(_cutter(dates[at], reading, at), tuple(int(one) for one in offsets[at])) for at in part]
            x, y = reading.frame.centres()
            side = reading.frame.size + 2 * reading.frame.margin
            ahead = [cutter.boxes_to_read(*_shifted(reading.frame, x, y, offset), side) for cutter, offset in items]
            found = lazy.run_tasks(_read_date, reading.frame, items, None, ahead)
        out |= dict(zip(part, found, strict=True))
    return out


def _shifted(frame: Frame, x: Floats, y: Floats, offset: tuple[int, ...]) -> tuple[Floats, Floats]:
    dx, dy = vector_to_map(frame.linear, *offset)
    return x + dx, y + dy


def _cutter(date: Date, reading: Reading, at: int) -> Cutter:
    raster = make_raster(date.image, band=reading.bands[at], nodata=reading.nodatas[at], name=date.name, search=False)
    grid, frame = raster.grid, reading.frame.grid
    same = grid.crs == frame.crs
    factor = matching_factor(linear_of(grid.affine), reading.frame.linear) if same else None
    where = reading.wheres[at]
    mask = None if where is None else as_mask(where, grid.crs if same else frame.crs)
    return Cutter(raster, frame.crs, reading.frame.linear, factor, mask)


def _read_date(frame: Frame, item: tuple[Cutter, tuple[int, int]]) -> Windows:
    cutter, offset = item
    cutter = replace(cutter, raster=with_corner_nodata(cutter.raster).certain)
    side = frame.size + 2 * frame.margin
    x, y = _shifted(frame, *frame.centres(), offset)
    boxes = np.array([cutter.raster.clip(box) for box in cutter.boxes(x, y, side)])
    # Windows wholly beyond the image are not read: there is nothing to read.
    inside = np.flatnonzero((boxes[:, 1] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 2]))
    values, valid = np.zeros((len(x), side, side), np.float32), np.zeros((len(x), side, side), bool)
    if inside.size:
        cut = cutter.cut(x[inside], y[inside], side)
        gain = gain_for(float(np.median([np.abs(cut.level), np.abs(cut.values).max(axis=(1, 2))])))
        if gain != 1.0:
            cut = replace(cutter, raster=replace(cutter.raster, gain=gain)).cut(x[inside], y[inside], side)
        values[inside], valid[inside], x[inside], y[inside] = cut.values, cut.valid, cut.x, cut.y
    return Windows(values, valid, x, y, offset)


def shifts_between(linear: Linear, target: Sequence[Floats], reference: Sequence[Floats]) -> Floats:
    """Where windows (w,) of the reference were cut, minus those of the target, px (w, 2)."""
    return np.stack(vector_to_pixel(linear, reference[0] - target[0], reference[1] - target[1]), -1)


def digest_order(dates: Sequence[Date], windows: dict[int, Windows]) -> Ints:
    """Order of dates by time, then by their pixels: the same, however they were given."""
    keys = []
    for at, one in enumerate(dates):
        pixels = windows[at]
        mark = hashlib.sha1(pixels.values.tobytes() + pixels.valid.tobytes(), usedforsecurity=False).hexdigest()
        time = one.time.astype("int64") if not np.isnat(one.time) else np.iinfo(np.int64).max
        keys.append((int(time), mark, one.name))
    return np.array(sorted(range(len(dates)), key=keys.__getitem__), np.intp)
