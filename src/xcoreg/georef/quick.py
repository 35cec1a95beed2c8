"""Millions of points through a slow map: a spline over a lattice of exact positions, where that is good enough."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from scipy import ndimage

from xcoreg.georef.crs import full_turn, in_turn, transform_points

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from xcoreg.georef.ground import Ground

    Floats: TypeAlias = "NDArray[np.float64]"
    Way: TypeAlias = "Callable[[Floats, Floats], tuple[Floats, Floats]]"
    Box: TypeAlias = "tuple[float, float, float, float]"

__all__ = ["TOLERANCE", "quick_to_map", "quick_to_pixel"]

#: Error of a position where it is checked, px.
TOLERANCE = 2e-3

_ROUGH = 0.5  # of the left-out error of control points: largest error of the finest lattice, its mean being small
_NODES = (32, 96, 256, 512)
_PAD = 8  # nodes beyond the image: a cubic spline forgets its boundary by a factor of 4 with each
_CHECKED = 2000


def quick_to_pixel(ground: Ground, shape: tuple[int, int], crs: Any = None) -> Way:
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
        Within the bounds of the image a cubic spline over a lattice of exact positions, beyond them exact. The spline
        is good enough when at 2000 random places of the image its largest error is below `TOLERANCE`; or, through
        thousands of noisy control points, its root mean square, the largest being below half the error of points left
        out of the fit. Otherwise all is exact.

    Examples
    --------
    >>> from xcoreg.georef.fitting import fit_gcps
    >>> from xcoreg.georef.gcps import GCPs
    >>> col, row = np.random.default_rng(1).uniform(0, 100, (2, 30))
    >>> fit = fit_gcps(GCPs(col, row, 500 + 10 * col + 1e-3 * col * row, 900 - 10 * row, crs=32633), "tps")
    >>> found_col, found_row = quick_to_pixel(fit, (100, 100))(*fit.to_map(col, row))
    >>> float(np.abs(found_col - col).max()) < TOLERANCE
    True
    """
    seen: Any = ground if crs is None else _Seen(ground, crs)
    exact: Way = seen.to_pixel
    at = np.random.default_rng(0).uniform(-0.5, [[shape[1] - 0.5], [shape[0] - 0.5]], (2, _CHECKED))
    x, y = seen.to_map(*np.concatenate([at, _rim(shape)], axis=1))
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return exact
    x = in_turn(seen.crs, x, x[0])
    box = (float(x.min()), float(x.max()), float(y.min()), float(y.max()))
    x, y = x[:_CHECKED], y[:_CHECKED]
    lattice: _Lattice | None = None
    for nodes in _NODES:
        lattice = _Lattice(box, nodes, exact if lattice is None else partial(_better, lattice, seen))
        quick = partial(_looked_up, lattice, exact, seen.crs)
        if not lattice.known:
            return exact
        if _good_enough(np.stack(quick(x, y)) - at, ground, nodes):
            return quick
    return exact


def _rim(shape: tuple[int, int]) -> Floats:
    """Columns and rows (2, n) along the edge of an image."""
    along = np.linspace(-0.5, 0.5, 129)
    side = np.full(along.shape, 0.5)
    square = np.concatenate([[along, side], [along, -side], [side, along], [-side, along]], axis=1)
    centre = np.array([[shape[1] - 1.0], [shape[0] - 1.0]]) / 2
    return np.asarray(centre + square * [[shape[1]], [shape[0]]])


def _good_enough(errors: Floats, ground: Ground, nodes: int) -> bool:
    """Judge errors (2, n) of a lattice, px, beside those of the control points."""
    left_out = getattr(ground, "left_out", None)
    rough = 0.0 if left_out is None or nodes < _NODES[-1] else _ROUGH * np.nan_to_num(left_out.rmse_px)
    largest, usual = float(np.abs(errors).max()), float(np.sqrt(np.mean(errors * errors)))
    return largest < TOLERANCE or (usual < TOLERANCE and largest < rough)


def quick_to_map(ground: Ground, shape: tuple[int, int], crs: Any = None) -> Way:
    """Make a fast way from the pixels of an image to the ground; the inverse of :func:`quick_to_pixel`.

    Parameters
    ----------
    ground, shape, crs
        As for :func:`quick_to_pixel`.

    Returns
    -------
    callable (col, row) -> (x, y)
        On the image a spline over a lattice, beyond it exact. Where the spline is not good enough, all is exact; so it
        is where longitudes jump.

    Examples
    --------
    >>> from xcoreg.georef.fitting import fit_gcps
    >>> from xcoreg.georef.gcps import GCPs
    >>> col, row = np.random.default_rng(1).uniform(0, 100, (2, 30))
    >>> fit = fit_gcps(GCPs(col, row, 500 + 10 * col + 1e-3 * col * row, 900 - 10 * row, crs=32633), "tps")
    >>> x, y = quick_to_map(fit, (100, 100))(col, row)
    >>> float(np.abs(x - fit.gcps.x).max()) < 10 * TOLERANCE
    True
    """
    seen: Any = ground if crs is None else _Seen(ground, crs)
    exact: Way = seen.to_map
    at = np.random.default_rng(0).uniform(-0.5, [[shape[1] - 0.5], [shape[0] - 0.5]], (2, _CHECKED))
    right, down = at + np.array([[1.0], [0.0]]), at + np.array([[0.0], [1.0]])
    here, *steps = (np.stack(exact(*places)) for places in (at, right, down))
    full = full_turn(seen.crs)
    if not np.isfinite([here, *steps]).all() or (full is not None and np.ptp(here[0]) > full / 2):
        return exact
    pixel = min(float(np.median(np.hypot(*(step - here)))) for step in steps)
    box = (-0.5, shape[1] - 0.5, -0.5, shape[0] - 0.5)
    for nodes in _NODES:
        lattice = _Lattice(box, nodes, exact)
        quick = partial(_looked_up, lattice, exact, None)
        if lattice.known and _good_enough((np.stack(quick(*at)) - here) / pixel, ground, nodes):
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


class _Lattice:
    """A spline over a lattice of pairs of values, some nodes wider than its box."""

    def __init__(self, box: Box, nodes: int, exact: Way) -> None:
        self.box = box
        self.step = ((box[1] - box[0]) / (nodes - 1), (box[3] - box[2]) / (nodes - 1))
        numbers = np.arange(-_PAD, nodes + _PAD)
        with np.errstate(all="ignore"):
            found = exact(*np.meshgrid(box[0] + self.step[0] * numbers, box[2] + self.step[1] * numbers))
        self.known = bool(np.isfinite(found).all())
        self.coefs = [ndimage.spline_filter(each) for each in found] if self.known else []

    def at(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Both values at a place."""
        at = [(y - self.box[2]) / self.step[1] + _PAD, (x - self.box[0]) / self.step[0] + _PAD]
        one, two = (ndimage.map_coordinates(coefs, at, order=3, prefilter=False) for coefs in self.coefs)
        return one, two


def _looked_up(lattice: _Lattice, exact: Way, crs: Any, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Values of the lattice within its box, exact ones beyond."""
    west, east, south, north = lattice.box
    x = in_turn(crs, x, (west + east) / 2)
    near = (x >= west) & (x <= east) & (y >= south) & (y <= north)
    if near.all():
        return lattice.at(x, y)
    one, two = np.empty(x.shape), np.empty(x.shape)
    one[near], two[near] = lattice.at(x[near], y[near])
    one[~near], two[~near] = exact(x[~near], y[~near])
    return one, two


def _better(lattice: _Lattice, ground: Ground, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Pixels one Newton step better than those of a lattice: the ground is asked once, for its slope the lattice is."""
    col, row = lattice.at(x, y)
    to_x, to_y = ground.to_map(col, row)
    by_x, by_y = x - in_turn(ground.crs, to_x, x), y - to_y
    dx, dy = lattice.step[0] / 8, lattice.step[1] / 8
    along_x = np.subtract(lattice.at(x + dx, y), lattice.at(x - dx, y)) / (2 * dx)
    along_y = np.subtract(lattice.at(x, y + dy), lattice.at(x, y - dy)) / (2 * dy)
    col, row = np.stack([col, row]) + along_x * by_x + along_y * by_y
    return col, row
