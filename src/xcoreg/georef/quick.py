"""Millions of points through a slow map: a spline over a lattice of exact positions, where that is good enough."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from scipy import ndimage

from xcoreg.georef.crs import in_turn, transform_points

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from xcoreg.georef.ground import Ground

    Floats: TypeAlias = "NDArray[np.float64]"
    ToPixel: TypeAlias = "Callable[[Floats, Floats], tuple[Floats, Floats]]"
    Box: TypeAlias = "tuple[float, float, float, float]"

__all__ = ["TOLERANCE", "quick_to_pixel"]

#: Largest error of a position where it is checked, px.
TOLERANCE = 2e-3

_NODES = (32, 96, 256)
_PAD = 8  # nodes beyond the image: a cubic spline forgets its boundary by a factor of 4 with each
_CHECKED = 2000


def quick_to_pixel(ground: Ground, shape: tuple[int, int], crs: Any = None) -> ToPixel:
    """Make a fast way from the ground to the pixels of an image.

    Parameters
    ----------
    ground : Ground
        Where the image lies.
    shape : (rows, columns)
        Of the image.
    crs : CRS in any spelling, optional
        Of the points that will be asked for; default: that of the ground.

    Returns
    -------
    callable (x, y) -> (col, row)
        Within the bounds of the image a cubic spline over a lattice of exact positions, beyond them exact. Where the
        spline errs by more than `TOLERANCE` at 2000 random places of the image, all is exact.

    Examples
    --------
    >>> from xcoreg.georef import GCPs, fit_gcps
    >>> col, row = np.random.default_rng(1).uniform(0, 100, (2, 30))
    >>> fit = fit_gcps(GCPs(col, row, 500 + 10 * col + 1e-3 * col * row, 900 - 10 * row, crs=32633), "tps")
    >>> found_col, found_row = quick_to_pixel(fit, (100, 100))(*fit.to_map(col, row))
    >>> float(np.abs(found_col - col).max()) < TOLERANCE
    True
    """
    seen: Any = ground if crs is None else _Seen(ground, crs)
    exact: ToPixel = seen.to_pixel
    at = np.random.default_rng(0).uniform(-0.5, [[shape[1] - 0.5], [shape[0] - 0.5]], (2, _CHECKED))
    x, y = seen.to_map(*at)
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return exact
    x = in_turn(seen.crs, x, x[0])
    quick: _Quick | None = None
    for nodes in _NODES:
        quick = _Quick(seen, (float(x.min()), float(x.max()), float(y.min()), float(y.max())), nodes, quick)
        if not quick.known:
            return exact
        if float(np.abs(np.stack(quick(x, y)) - at).max()) < TOLERANCE:
            return quick
    return exact


@dataclass(frozen=True)
class _Seen:
    """A ground asked in another CRS than its own."""

    ground: Ground
    crs: Any

    def to_map(self, col: Floats, row: Floats) -> tuple[Floats, Floats]:
        return transform_points(self.ground.crs, self.crs, *self.ground.to_map(col, row))

    def to_pixel(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        return self.ground.to_pixel(*transform_points(self.crs, self.ground.crs, x, y))


class _Quick:
    """A spline over a lattice; beyond its box the map itself."""

    def __init__(self, ground: Ground, box: Box, nodes: int, rough: _Quick | None = None) -> None:
        self.ground, self.box = ground, box
        self.step = ((box[1] - box[0]) / (nodes - 1), (box[3] - box[2]) / (nodes - 1))
        numbers = np.arange(-_PAD, nodes + _PAD)
        x, y = np.meshgrid(box[0] + self.step[0] * numbers, box[2] + self.step[1] * numbers)
        found = ground.to_pixel(x, y) if rough is None else rough.better(x, y)
        self.known = bool(np.isfinite(found).all())
        self.coefs = [ndimage.spline_filter(each) for each in found] if self.known else []

    def __call__(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Pixel positions of ground coordinates."""
        west, east, south, north = self.box
        x = in_turn(self.ground.crs, x, (west + east) / 2)
        near = (x >= west) & (x <= east) & (y >= south) & (y <= north)
        if near.all():
            return self.spline(x, y)
        col, row = np.empty(x.shape), np.empty(x.shape)
        col[near], row[near] = self.spline(x[near], y[near])
        col[~near], row[~near] = self.ground.to_pixel(x[~near], y[~near])
        return col, row

    def spline(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Pixel positions by the spline alone."""
        at = [(y - self.box[2]) / self.step[1] + _PAD, (x - self.box[0]) / self.step[0] + _PAD]
        col, row = (ndimage.map_coordinates(coefs, at, order=3, prefilter=False) for coefs in self.coefs)
        return col, row

    def better(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Positions one Newton step better than the spline: the map is asked once, for its slope the spline is."""
        col, row = self.spline(x, y)
        with np.errstate(all="ignore"):
            to_x, to_y = self.ground.to_map(col, row)
            by_x, by_y = x - in_turn(self.ground.crs, to_x, x), y - to_y
            dx, dy = self.step[0] / 8, self.step[1] / 8
            along_x = np.subtract(self.spline(x + dx, y), self.spline(x - dx, y)) / (2 * dx)
            along_y = np.subtract(self.spline(x, y + dy), self.spline(x, y - dy)) / (2 * dy)
            return tuple(np.stack([col, row]) + along_x * by_x + along_y * by_y)
