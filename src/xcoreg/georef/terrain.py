"""Terrain below an image: heights at places, the ground that a pixel sees, and what terrain hides.

A *sensor* is a ground that knows heights: `crs`, ``project(x, y, z) -> (col, row)`` and ``unproject(col, row, z) ->
(x, y)``. :class:`xcoreg.georef.RPCGround` is one. With a terrain it becomes a plain ground (`to_map`, `to_pixel`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha1
from itertools import pairwise
from pickle import dumps
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from affine import Affine
from pyproj import CRS

from xcoreg.core import Floats
from xcoreg.errors import OptionError
from xcoreg.georef.crs import as_crs, same_crs, transform_points
from xcoreg.georef.transform import gsd, map_to_pixel, pixel_to_map

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_METRES = 111_320.0  # per degree of latitude
_MOST_STEPS = 4096  # along a ray
_ROUNDS, _CONVERGED = 60, 1e-5  # of the search for the ground on a ray, m
_ABOVE = 0.01  # m: terrain that rises above a ray by less does not hide
_PART = 1 << 14  # rays at once
_INVERSIONS = 6  # each leaves a hundredth of the error before, where a correction changes by 1 % of the distance


class Sensor(Protocol):
    """A ground that knows heights."""

    @property
    def crs(self) -> CRS | None:
        """Of the ground."""
        ...

    def project(self, x: Any, y: Any, z: Any) -> tuple[Floats, Floats]:
        """Pixel positions of places and heights, m; an integer is the centre of a pixel."""
        ...

    def unproject(self, col: Any, row: Any, z: Any) -> tuple[Floats, Floats]:
        """Places of pixel positions at heights, m."""
        ...


@dataclass(frozen=True, eq=False)
class Terrain:
    """Heights of the ground on a grid, m above the ellipsoid.

    Parameters
    ----------
    heights : (rows, columns) float32 or float64
        NaN where unknown.
    transform : Affine
        Pixel corner to map.
    crs : CRS in any spelling
    name : str
        For messages and records.

    Notes
    -----
    Between the centres of pixels heights are bilinear. Where one of the four neighbours is unknown the others share its
    weight, as long as the nearest is known; half a pixel beyond the outermost centres their heights continue.

    Examples
    --------
    >>> ramp = Terrain(np.array([[0.0, 10.0], [20.0, 30.0]]), Affine(10, 0, 0, 0, -10, 0), "EPSG:32633")
    >>> float(ramp.at("EPSG:32633", 10.0, -10.0)), (ramp.low, ramp.high)
    (15.0, (0.0, 30.0))
    """

    heights: NDArray[Any]
    transform: Affine
    crs: Any
    name: str = "the DEM"

    def __post_init__(self) -> None:
        object.__setattr__(self, "crs", as_crs(self.crs).to_2d())
        if not np.isfinite(self.heights).any():
            raise OptionError(
                f"{self.name} has no height below the image: check that they overlap, and its nodata value"
            )

    def __dask_tokenize__(self) -> Any:
        digest = sha1(np.ascontiguousarray(self.heights).tobytes(), usedforsecurity=False).hexdigest()
        return ("xcoreg.Terrain", digest, self.heights.shape, tuple(self.transform)[:6], self.crs.to_wkt())

    @cached_property
    def low(self) -> float:
        """Lowest height, m."""
        return float(np.nanmin(self.heights))

    @cached_property
    def high(self) -> float:
        """Largest height, m."""
        return float(np.nanmax(self.heights))

    @cached_property
    def has_gaps(self) -> bool:
        """Whether there are pixels without a height."""
        return bool(np.isnan(self.heights).any())

    @property
    def step(self) -> float:
        """Side of its pixels, about, m."""
        unit = float(self.crs.axis_info[0].unit_conversion_factor)
        size = float(np.sqrt(np.prod(gsd(self.transform))))
        return size * (_METRES * float(np.degrees(unit)) if self.crs.is_geographic else unit)

    def at(self, crs: Any, x: ArrayLike, y: ArrayLike) -> Floats:
        """Heights at places, NaN where unknown: x, y arrays in a CRS."""
        return self.at_pixels(*self.pixels_of(crs, x, y))

    def pixels_of(self, crs: Any, x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
        """Columns and rows of places in the grid of the heights."""
        middle = self.transform.c + self.transform.a * self.heights.shape[1] / 2
        return map_to_pixel(self.transform, *transform_points(crs, self.crs, x, y, near=middle))

    def at_pixels(self, col: ArrayLike, row: ArrayLike) -> Floats:
        """Heights at columns and rows of their grid."""
        return bilinear(self.heights, np.asarray(row, np.float64), np.asarray(col, np.float64))

    def range_in(self, cols: Floats, rows: Floats) -> tuple[float, float] | None:
        """Lowest and largest height in the box around some positions; None where none is known."""
        spans = []
        for positions, size in ((rows, self.heights.shape[0]), (cols, self.heights.shape[1])):
            known = positions[np.isfinite(positions)]
            if not known.size or known.max() < -1 or known.min() > size:
                return None
            spans.append(slice(max(int(known.min()) - 1, 0), max(int(known.max()) + 3, 1)))
        part = self.heights[spans[0], spans[1]]
        known = part[np.isfinite(part)] if self.has_gaps else part
        return (float(known.min()), float(known.max())) if known.size else None


def bilinear(values: NDArray[Any], row: Floats, col: Floats) -> Floats:
    """Interpolate values (n, m), NaN where missing, at any rows and columns; NaN beyond half a pixel outside."""
    n_rows, n_cols = values.shape
    with np.errstate(invalid="ignore"):
        inside = (row >= -0.5) & (row <= n_rows - 0.5) & (col >= -0.5) & (col <= n_cols - 0.5)
    row = np.clip(np.where(inside, row, 0.0), 0, n_rows - 1)
    col = np.clip(np.where(inside, col, 0.0), 0, n_cols - 1)
    top, left = np.minimum(row.astype(np.intp), max(n_rows - 2, 0)), np.minimum(col.astype(np.intp), max(n_cols - 2, 0))
    down, right = row - top, col - left
    flat, first = values.reshape(-1), top * n_cols + left
    by_row, by_col = (n_cols if n_rows > 1 else 0), (1 if n_cols > 1 else 0)
    corners = [flat[first + shift].astype(np.float64) for shift in (0, by_col, by_row, by_row + by_col)]
    upper = corners[0] + (corners[1] - corners[0]) * right
    out = upper + (corners[2] + (corners[3] - corners[2]) * right - upper) * down
    gaps = np.isnan(out)
    if gaps.any():
        out[gaps] = _over_gaps([one[gaps] for one in corners], down[gaps], right[gaps])
    return np.where(inside, out, np.nan)


def _over_gaps(corners: list[Floats], down: Floats, right: Floats) -> Floats:
    """Weighted mean of the known corners where the nearest of them is known."""
    known = [np.isfinite(one) for one in corners]
    weights = [(1 - down) * (1 - right), (1 - down) * right, down * (1 - right), down * right]
    total = sum(weight * good for weight, good in zip(weights, known, strict=True))
    mean = sum(weight * np.where(good, one, 0) for weight, good, one in zip(weights, known, corners, strict=True))
    nearest = np.choose(2 * (down > 0.5) + (right > 0.5), np.stack(known))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(nearest, np.asarray(mean) / total, np.nan)


@dataclass(frozen=True, eq=False)
class TerrainGround:
    """A sensor over a terrain: every place has the height of the terrain there.

    Parameters
    ----------
    sensor : Sensor
    terrain : Terrain
    """

    sensor: Any
    terrain: Terrain
    model: str = field(init=False, default="terrain")

    def __post_init__(self) -> None:
        name = getattr(self.sensor, "model", type(self.sensor).__name__)
        object.__setattr__(self, "model", f"{name} over terrain")

    def __dask_tokenize__(self) -> Any:
        return ("xcoreg.TerrainGround", self.sensor.__dask_tokenize__(), self.terrain.__dask_tokenize__())

    @property
    def crs(self) -> CRS:
        """Of the ground."""
        return as_crs(self.sensor.crs)

    @property
    def history(self) -> dict[str, Any]:
        """Entry in the history of an image."""
        return {**getattr(self.sensor, "history", {}), "model": self.model, "dem": self.terrain.name}

    def to_pixel(self, x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
        """Pixel positions of places; NaN where their height is unknown."""
        return self.sensor.project(x, y, self.terrain.at(self.crs, x, y))  # type: ignore[no-any-return]

    def to_map(self, col: ArrayLike, row: ArrayLike) -> tuple[Floats, Floats]:
        """Places that pixels see: where their rays first meet the terrain, from above; NaN where they do not."""
        cols, rows = np.broadcast_arrays(np.asarray(col, np.float64), np.asarray(row, np.float64))
        out = np.full((2, cols.size), np.nan)
        for start in range(0, cols.size, _PART):
            part = slice(start, start + _PART)
            out[:, part] = self._meet(cols.ravel()[part], rows.ravel()[part])
        return out[0].reshape(cols.shape), out[1].reshape(cols.shape)

    def hidden(self, x: ArrayLike, y: ArrayLike) -> NDArray[np.bool_]:
        """Whether the terrain between a place and the sensor hides the place."""
        xs, ys = np.broadcast_arrays(np.asarray(x, np.float64), np.asarray(y, np.float64))
        z = self.terrain.at(self.crs, xs, ys)
        top = np.full(z.shape, self.terrain.high)
        far_x, far_y = self.sensor.unproject(*self.sensor.project(xs, ys, z), top)
        out = np.zeros(xs.shape, bool)
        n = self._steps(far_x - xs, far_y - ys)
        for k in range(1, n):
            part = k / n
            ray = z + (top - z) * part
            with np.errstate(invalid="ignore"):
                out |= self.terrain.at(self.crs, xs + (far_x - xs) * part, ys + (far_y - ys) * part) > ray + _ABOVE
        return out

    def _steps(self, dx: Floats, dy: Floats) -> int:
        """Count steps of one pixel of the terrain at most along rays of some length, CRS units."""
        longest = np.nanmax(np.hypot(dx, dy), initial=0.0) * (_METRES if self.crs.is_geographic else 1.0)
        return int(np.clip(np.ceil(longest / self.terrain.step), 1, _MOST_STEPS))

    def _meet(self, col: Floats, row: Floats) -> Floats:
        """Places (2, n) where rays meet the terrain."""
        low, high = self.terrain.low - 1.0, self.terrain.high + 1.0
        ends = [np.stack(self.sensor.unproject(col, row, np.full(col.shape, z))) for z in (high, low)]
        n = self._steps(*(ends[1] - ends[0]))
        above, below = np.full(col.shape, high), np.full(col.shape, low)
        open_ = np.isfinite(ends[0]).all(axis=0) & np.isfinite(ends[1]).all(axis=0)
        searched = open_.copy()
        for k in range(1, n + 1):  # rays are straight enough to be bracketed on the line between their ends
            z = high + (low - high) * (k / n)
            x, y = ends[0][:, searched] + (ends[1] - ends[0])[:, searched] * (k / n)
            with np.errstate(invalid="ignore"):
                met = self.terrain.at(self.crs, x, y) >= z
            at = np.flatnonzero(searched)
            below[at[met]] = z
            above[at[~met]] = z
            searched[at[met]] = False
            if not searched.any():
                break
        open_ &= ~searched
        # The exact ray may leave the bracket of the straight one by a little.
        pad = (high - low) / n
        out = np.full((2, col.size), np.nan)
        at = np.flatnonzero(open_)
        if at.size:
            out[:, at] = self._refine(col[at], row[at], above[at] + pad, below[at] - pad)
            lost = at[np.isnan(out[0, at])]
            if lost.size:
                out[:, lost] = self._bisect(col[lost], row[lost], np.linspace(high, low, 2 * n + 1))
        return out

    def _refine(self, col: Floats, row: Floats, above: Floats, below: Floats) -> Floats:
        """Places (2, n) on rays, between a height above the terrain and one below, by the Illinois method."""
        # Rays are straight within the bracket, to much less than the height is exact; their end is exact.
        first, length = np.stack(self.sensor.unproject(col, row, below)), above - below
        slope = (np.stack(self.sensor.unproject(col, row, above)) - first) / length
        start, z = below.copy(), below.copy()
        gaps = [self._gap(first + slope * (end - start), end) for end in (above, below)]
        moving, last = np.arange(col.size), np.zeros(col.size)
        for _ in range(_ROUNDS):
            z0, z1, g0, g1 = above[moving], below[moving], gaps[0][moving], gaps[1][moving]
            with np.errstate(all="ignore"):
                new = z0 - g0 * (z1 - z0) / (g1 - g0)
                bracketed = (g0 > 0) & (g1 < 0) & np.isfinite(new)
            # Without a bracket, beside a gap of the terrain, the ray is followed to the height below it.
            new = np.where(bracketed, new, np.where(np.isfinite(g1), z1 - g1, (z0 + z1) / 2))
            gap = self._gap(first[:, moving] + slope[:, moving] * (new - start[moving]), new)
            z[moving], over = new, gap > 0
            one, two = moving[over], moving[~over]
            above[one], gaps[0][one] = new[over], gap[over]
            below[two], gaps[1][two] = new[~over], gap[~over]
            gaps[1][one[last[one] > 0]] /= 2
            gaps[0][two[last[two] < 0]] /= 2
            last[moving] = np.where(over, 1.0, -1.0)
            moving = moving[~(np.abs(gap) <= _CONVERGED)]
            if not moving.size:
                break
        z[moving] = np.nan
        return np.stack(self.sensor.unproject(col, row, z))

    def _bisect(self, col: Floats, row: Floats, levels: Floats) -> Floats:
        """Places (2, n) of rays that graze an edge: of some heights, falling, the first that is not above ground."""
        above, below = np.full(col.shape, np.nan), np.full(col.shape, np.nan)
        for upper, lower in pairwise(levels.tolist()):
            gap = self._gap(np.stack(self.sensor.unproject(col, row, np.full(col.shape, lower))), lower)
            with np.errstate(invalid="ignore"):
                first = np.isnan(below) & (gap <= 0)
            above[first], below[first] = upper, lower
        for _ in range(_ROUNDS):
            z = (above + below) / 2
            gap = self._gap(np.stack(self.sensor.unproject(col, row, z)), z)
            with np.errstate(invalid="ignore"):
                over = gap > 0
            above, below = np.where(over, z, above), np.where(over, below, z)
        place = np.stack(self.sensor.unproject(col, row, below))
        with np.errstate(invalid="ignore"):
            met = np.abs(self._gap(place, below)) <= _ABOVE
        return np.where(met, place, np.nan)

    def _gap(self, place: Floats, z: Any) -> Floats:
        """How far heights at places (2, n) are above the terrain."""
        return np.asarray(z - self.terrain.at(self.crs, place[0], place[1]))


@dataclass(frozen=True, eq=False)
class CorrectedSensor:
    """A sensor with a correction in image space: ``project(place) = pixel + correction(pixel)``.

    Parameters
    ----------
    sensor : Sensor
    move : object
        Of the pixels, with `at` and `invert`, x to the right and y upwards, px.
    record : dict
        Of the correction, for the history of an image.

    Notes
    -----
    Fraser & Hanley 2003, doi:10.14358/PERS.69.1.53: a bias of the image coordinates, constant or affine, is what errors
    of position and attitude do to a sensor with a narrow field of view.
    """

    sensor: Any
    move: Any
    record: dict[str, Any] = field(default_factory=dict)

    def __dask_tokenize__(self) -> Any:
        return ("xcoreg.CorrectedSensor", self.sensor.__dask_tokenize__(), dumps(self.move))

    @property
    def crs(self) -> CRS | None:
        """Of the ground."""
        return self.sensor.crs  # type: ignore[no-any-return]

    @property
    def heights(self) -> tuple[float, float]:
        """Range of heights in which the sensor model holds, m."""
        return getattr(self.sensor, "heights", (-np.inf, np.inf))

    @property
    def model(self) -> str:
        """Of the sensor, and of its correction."""
        kind = getattr(getattr(self.move, "model", None), "kind", "correction")
        return f"{getattr(self.sensor, 'model', type(self.sensor).__name__)}, corrected ({kind})"

    @property
    def history(self) -> dict[str, Any]:
        """Entry in the history of an image."""
        return self.record

    def project(self, x: ArrayLike, y: ArrayLike, z: ArrayLike) -> tuple[Floats, Floats]:
        """Pixel positions of places and heights."""
        col, row = self.sensor.project(x, y, z)
        return map_to_pixel(PIXEL_AXES, *self.move.invert(*pixel_to_map(PIXEL_AXES, col, row)))

    def unproject(self, col: ArrayLike, row: ArrayLike, z: ArrayLike) -> tuple[Floats, Floats]:
        """Places of pixel positions at heights."""
        x, y = pixel_to_map(PIXEL_AXES, col, row)
        dx, dy = self.move.at(x, y)
        return self.sensor.unproject(*map_to_pixel(PIXEL_AXES, x + dx, y + dy), z)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class ModelMove:
    """A fitted model as a correction of the pixels of a raw image."""

    model: Any

    def at(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Correction of pixel corners, y upwards."""
        return self.model.predict(x, y)  # type: ignore[no-any-return]

    def invert(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Pixel corners of corrected ones; the correction changes little from pixel to pixel."""
        at_x, at_y = np.asarray(x, np.float64), np.asarray(y, np.float64)
        known = np.isfinite(at_x) & np.isfinite(at_y)
        for _ in range(_INVERSIONS):  # of fixed number: a place must not depend on those beside it
            dx, dy = self.at(at_x, at_y)
            at_x, at_y = np.where(known, x - dx, np.nan), np.where(known, y - dy, np.nan)
        return at_x, at_y


#: Axes of a raw image as a map: pixel corners, x to the right, y upwards.
PIXEL_AXES = Affine(1.0, 0.0, 0.0, 0.0, -1.0, 0.0)


def with_terrain(sensor: Any, terrain: Terrain | None) -> Any:
    """Put a terrain below a ground that knows heights; OptionError for one that does not."""
    if terrain is None:
        return sensor
    if not knows_heights(sensor):
        name = getattr(sensor, "model", type(sensor).__name__)
        raise OptionError(
            f"dem= needs a georeference that knows heights, which {name} does not: give RPCs, or control "
            "points with heights, fit_camera(gcps), or leave dem= out"
        )
    return TerrainGround(sensor, terrain)


def knows_heights(ground: Any) -> bool:
    """Whether a ground is a sensor."""
    return hasattr(ground, "project") and hasattr(ground, "unproject")


def footprint_box(sensor: Any, shape: tuple[int, int], crs: Any, heights: tuple[float, float]) -> tuple[float, ...]:
    """Box (west, south, east, north) in a CRS around an image between two heights, 5 % wider."""
    row, col = (np.linspace(-0.5, n - 0.5, 17) for n in shape)
    cols, rows = (one.ravel() for one in np.meshgrid(col, row))
    spots = [sensor.unproject(cols, rows, np.full(cols.shape, z)) for z in heights]
    x, y = (np.concatenate(parts) for parts in zip(*spots, strict=True))
    if not same_crs(sensor.crs, crs):
        x, y = transform_points(sensor.crs, crs, x, y, near=None)
    known = np.isfinite(x) & np.isfinite(y)
    if not known.any():
        raise OptionError("no pixel of the image has a place by its sensor model: check its RPCs")
    west, east, south, north = x[known].min(), x[known].max(), y[known].min(), y[known].max()
    pad = 0.05 * max(east - west, north - south)
    return float(west - pad), float(south - pad), float(east + pad), float(north + pad)
