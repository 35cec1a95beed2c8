"""Source positions over a terrain: exact in the height of every output pixel, at the cost of a lattice.

At a fixed height the position in a raw image is a smooth function of the place, and at a fixed place a smooth function
of the height. So the positions are a polynomial in the height whose coefficients are interpolated over a lattice
(:mod:`xcoreg.warp.positions`), and only the height itself is taken at every output pixel.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from xcoreg import georef
from xcoreg.core import Floats
from xcoreg.errors import warn_user
from xcoreg.georef.transform import middle_of
from xcoreg.warp.mapping import TOLERANCE, Mapping, compose, outline
from xcoreg.warp.positions import Patch, make_patch, patch_block

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

    from xcoreg.georef import Terrain, TerrainGround

_ENOUGH = 2e-4  # px: largest error of the polynomial in the height
_ORDERS = (1, 2, 3, 4, 6)
_HIDDEN_PART = 1 << 16  # pixels at once whose view is followed
_SAMPLES = 33  # places along each axis of the output where the terrain is asked for


@dataclass(frozen=True)
class TerrainMapping(Mapping):
    """The source position of every output pixel of a sensor over a terrain; make it with :func:`compose_terrain`.

    ground : Sensor and terrain; `move` is its displacement.
    order : Of the polynomial in the height.
    steep : Source px per pixel of the terrain, for positions in its grid.
    drops_hidden : Whether places that the terrain hides from the sensor have no position.
    """

    ground: TerrainGround | None = None
    order: int = 2
    steep: float = 1.0
    drops_hidden: bool = False

    @property
    def is_covered(self) -> bool:
        """True when every output pixel is known to fall on the image."""
        return not (self._terrain.has_gaps or self.drops_hidden) and super().is_covered

    def positions(self, rows: slice, cols: slice) -> tuple[Floats, Floats]:
        """Source rows and columns, each (n_rows, n_cols), of a block of the output."""
        found = np.empty((2, rows.stop - rows.start, cols.stop - cols.start))
        for patch, part in self._parts(rows, cols):
            here = tuple(slice(p.start - s.start, p.stop - s.start) for p, s in zip(part, (rows, cols), strict=True))
            values = patch.positions(*part)
            heights = self._terrain.at_pixels(values[-2] / self.steep, values[-1] / self.steep)
            found[:, here[0], here[1]] = self._evaluate(values, self._part_of_range(heights))
        if self.drops_hidden:
            self._drop_hidden(found, rows, cols)
        return found[0], found[1]

    @property
    def _terrain(self) -> Terrain:
        return self._ground.terrain

    @property
    def _ground(self) -> TerrainGround:
        if self.ground is None:
            raise ValueError("a TerrainMapping has a ground")
        return self.ground

    @property
    def _range(self) -> tuple[float, float]:
        """Middle and half of the range of heights, m; the half is at least 1."""
        low, high = self._terrain.low, self._terrain.high
        return (low + high) / 2, max((high - low) / 2, 1.0)

    def _part_of_range(self, heights: Floats) -> Floats:
        """Heights from -1 to 1 in their range."""
        middle, half = self._range
        return (heights - middle) / half

    def _evaluate(self, values: Floats, t: Floats) -> Floats:
        """Rows and columns (2, ...) of coefficients (2 order + 4, ...), those of rows and columns in turn."""
        coefs = values[: 2 * self.order + 2].reshape(self.order + 1, 2, *values.shape[1:])
        out: Floats = coefs[-1] * np.ones_like(t)
        for k in range(self.order - 1, -1, -1):
            out = out * t + coefs[k]
        return out

    def coefficients(self, rows: Any, cols: Any) -> tuple[Floats, ...]:
        """Coefficients of row and column by rising power of the height, then column and row of the terrain, scaled."""
        x, y = georef.pixel_to_map(self.out.affine, *np.broadcast_arrays(cols, rows))
        with np.errstate(invalid="ignore", over="ignore"):
            place = georef.transform_points(self.out.crs, self.source.crs, x, y, near=middle_of(self.source))
            nodes = np.cos(np.pi * (np.arange(self.order + 1) + 0.5) / (self.order + 1))
            middle, half = self._range
            at = [self._ground.sensor.project(*place, np.full(x.shape, middle + half * t)) for t in nodes]
            levels = np.stack([np.stack([row, col]) for col, row in at])
            # A sum in a fixed order: a matrix product would depend on the number of places.
            inverse = np.linalg.inv(np.vander(nodes, increasing=True))
            coefs = [np.sum([w * level for w, level in zip(line, levels, strict=True)], axis=0) for line in inverse]
            col, row = self._terrain.pixels_of(self.out.crs, x, y)
        found = [part for pair in coefs for part in pair]
        unknown = ~np.isfinite([*found, col, row]).all(axis=0)
        return tuple(np.where(unknown, np.nan, each) for each in (*found, col * self.steep, row * self.steep))

    def _patch(self, at: tuple[int, int]) -> Patch:
        block, allowed = patch_block(at, self.out.shape.yx), TOLERANCE * min(self.scale)
        return self.patches.get(
            at, lambda: make_patch(self.coefficients, block, self.source.shape.yx, allowed, self._far)
        )

    @property
    def _far(self) -> float:
        """Source px beyond the image where the middle height must be accurate: heights may lead from there onto it."""
        row, col = (np.array([size / 2.0]) for size in self.source.shape)
        middle, half = self._range
        place = self._ground.sensor.unproject(col, row, np.array([middle]))
        away = [
            np.hypot(c - col, r - row)
            for c, r in (self._ground.sensor.project(*place, middle + t * half) for t in (-1, 1))
        ]
        return float(np.nan_to_num(np.max(away), nan=0.0)) * 1.5 + 32.0

    def _extremes(self, rows: slice, cols: slice) -> tuple[Floats, Floats]:
        """Positions that enclose all those of a block."""
        found = []
        for patch, part in self._parts(rows, cols):
            values = patch.extremes(*part)
            span = self._terrain.range_in(values[-2] / self.steep, values[-1] / self.steep)
            if span is None:
                continue
            levels = self._part_of_range(np.linspace(span[0], span[1], 3))
            found += [self._evaluate(values, np.full(values.shape[1], t)) for t in levels]
        if not found:
            return np.full(1, np.nan), np.full(1, np.nan)
        both = np.concatenate(found, axis=1)
        # Between the three heights a ray bends by much less than a pixel.
        both = np.concatenate([both - 1.0, both + 1.0], axis=1)
        return both[0], both[1]

    def _drop_hidden(self, found: Floats, rows: slice, cols: slice) -> None:
        """Forget the positions of places that the sensor does not see."""
        row, col = np.mgrid[rows, cols].reshape(2, -1).astype(np.float64)
        hidden = np.zeros(row.size, bool)
        for start in range(0, row.size, _HIDDEN_PART):
            part = slice(start, start + _HIDDEN_PART)
            x, y = georef.pixel_to_map(self.out.affine, col[part], row[part])
            place = georef.transform_points(self.out.crs, self.source.crs, x, y, near=middle_of(self.source))
            hidden[part] = self._ground.hidden(*place)
        found[:, hidden.reshape(found.shape[1:])] = np.nan


def compose_terrain(out: GeoBox, source: GeoBox, move: Any, drops_hidden: bool = False) -> Mapping | None:
    """Compose grids, a sensor and its terrain into one map; None where output and image do not overlap."""
    ground: TerrainGround = move.ground
    middle = (ground.terrain.low + ground.terrain.high) / 2
    flat = compose(out, source, replace(move, ground=_AtHeight(ground.sensor, middle)))
    true = compose(out, source, move)
    if true is None:
        return None
    scale = true.scale if flat is None else flat.scale  # that of the middle height: slopes would disturb it
    steep = _pixels_per_step(ground)
    for order in _ORDERS:
        mapping = TerrainMapping(
            out, source, move, None, scale, ground=ground, order=order, steep=steep, drops_hidden=drops_hidden
        )
        if _polynomial_error(mapping) < _ENOUGH:
            break
    _warn_of_gaps(mapping)
    return mapping


@dataclass(frozen=True)
class _AtHeight:
    """A sensor at one height."""

    sensor: Any
    height: float

    @property
    def crs(self) -> Any:
        return self.sensor.crs

    def to_map(self, col: Any, row: Any) -> tuple[Floats, Floats]:
        return self.sensor.unproject(col, row, self.height)  # type: ignore[no-any-return]

    def to_pixel(self, x: Any, y: Any) -> tuple[Floats, Floats]:
        return self.sensor.project(x, y, self.height)  # type: ignore[no-any-return]


def _pixels_per_step(ground: TerrainGround) -> float:
    """Source px that one pixel of the terrain moves a position by, on a slope of 45 degrees, about; at least 1."""
    sensor, terrain = ground.sensor, ground.terrain
    row, col = (np.array([(n - 1) / 2]) for n in terrain.heights.shape)
    x, y = georef.transform_points(terrain.crs, sensor.crs, *georef.pixel_to_map(terrain.transform, col, row))
    one, two = (np.stack(sensor.project(x, y, terrain.low + up)) for up in (0.0, min(terrain.step, 1000.0)))
    return float(np.nan_to_num(np.hypot(*(two - one)).max(), nan=1.0).clip(1.0, 1e4))


def _polynomial_error(mapping: TerrainMapping) -> float:
    """Largest error of the polynomial in the height, px, at places and heights that are on the image."""
    row, col = outline(mapping.source.shape.yx, 7)
    sensor, (middle, half), worst = mapping._ground.sensor, mapping._range, 0.0
    for t in np.linspace(-1, 1, 9):
        lon, lat = sensor.unproject(col, row, np.full(col.shape, middle + t * half))
        x, y = georef.transform_points(mapping.source.crs, mapping.out.crs, lon, lat, near=middle_of(mapping.out))
        out_col, out_row = georef.map_to_pixel(mapping.out.affine, x, y)
        found = mapping._evaluate(np.stack(mapping.coefficients(out_row, out_col)), np.full(row.shape, t))
        error = np.hypot(found[0] - row, found[1] - col)
        worst = max(worst, float(np.nanmax(error, initial=0.0)))
    return worst


def _warn_of_gaps(mapping: TerrainMapping) -> None:
    """Warn where the terrain has no height below the image."""
    row, col = outline(mapping.out.shape.yx, _SAMPLES)
    values = np.stack(mapping.coefficients(row, col))
    heights = mapping._terrain.at_pixels(values[-2] / mapping.steep, values[-1] / mapping.steep)
    middle = mapping._evaluate(values, np.zeros(row.shape))
    with np.errstate(invalid="ignore"):
        inside = np.logical_and.reduce(
            [(p > -0.5) & (p < size - 0.5) for p, size in zip(middle, mapping.source.shape, strict=True)]
        )
    share = float(np.mean(np.isnan(heights[inside]))) if inside.any() else 0.0
    if share > 0:
        warn_user(
            f"{mapping._terrain.name} has no height below about {share:.0%} of the image, which is missing in the "
            "output: give a DEM without voids that covers the image"
        )


def mapping_of(out: GeoBox, source: GeoBox, move: Any, drops_hidden: bool = False) -> Mapping | None:
    """Compose a map by the ground of a displacement: over a terrain, or plain."""
    if isinstance(move.ground, georef.TerrainGround):
        return compose_terrain(out, source, move, drops_hidden)
    return compose(out, source, move)
