"""Millions of points through a slow map: a spline over a lattice of exact positions, where that is good enough."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from scipy import ndimage

from xcoreg.georef.crs import in_turn

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from xcoreg.georef.ground import Ground

    Floats: TypeAlias = "NDArray[np.float64]"
    ToPixel: TypeAlias = "Callable[[Floats, Floats], tuple[Floats, Floats]]"

__all__ = ["TOLERANCE", "quick_to_pixel"]

#: Largest error of a position where it is checked, px.
TOLERANCE = 2e-3

_NODES = (96, 256)
_PAD = 12  # nodes beyond the image: a cubic spline forgets its boundary by a factor of 4 with each
_CHECKED = 2000


def quick_to_pixel(ground: Ground, shape: tuple[int, int]) -> ToPixel:
    """Make a fast way from the ground to the pixels of an image.

    Parameters
    ----------
    ground : Ground
        Where the image lies.
    shape : (rows, columns)
        Of the image.

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
    rng = np.random.default_rng(0)
    at = rng.uniform(-0.5, [[shape[1] - 0.5], [shape[0] - 0.5]], (2, _CHECKED))
    x, y = ground.to_map(*at)
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return ground.to_pixel
    box = (float(x.min()), float(x.max()), float(y.min()), float(y.max()))
    for nodes in _NODES:
        quick = _Quick(ground, box, nodes)
        if quick.known and float(np.abs(np.stack(quick(x, y)) - at).max()) < TOLERANCE:
            return quick
    return ground.to_pixel


class _Quick:
    """A spline over a lattice; beyond its box the map itself."""

    def __init__(self, ground: Ground, box: tuple[float, float, float, float], nodes: int) -> None:
        self.ground, self.box = ground, box
        self.first = (box[0], box[2])
        self.step = ((box[1] - box[0]) / (nodes - 1), (box[3] - box[2]) / (nodes - 1))
        numbers = np.arange(-_PAD, nodes + _PAD)
        x, y = np.meshgrid(*(first + step * numbers for first, step in zip(self.first, self.step, strict=True)))
        found = ground.to_pixel(x, y)
        self.known = bool(np.isfinite(found).all())
        self.coefs = [ndimage.spline_filter(each) for each in found] if self.known else []

    def __call__(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Pixel positions of ground coordinates."""
        x = in_turn(self.ground.crs, x, (self.box[0] + self.box[1]) / 2)
        near = (x >= self.box[0]) & (x <= self.box[1]) & (y >= self.box[2]) & (y <= self.box[3])
        col, row = np.empty(x.shape), np.empty(x.shape)
        at = [(p[near] - first) / step + _PAD for p, first, step in zip((x, y), self.first, self.step, strict=True)]
        for out, coefs in zip((col, row), self.coefs, strict=True):
            out[near] = ndimage.map_coordinates(coefs, at[::-1], order=3, prefilter=False)
        if not near.all():
            col[~near], row[~near] = self.ground.to_pixel(x[~near], y[~near])
        return col, row
