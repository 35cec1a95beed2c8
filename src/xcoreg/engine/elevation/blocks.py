"""Blocks of two elevation models, each with a correction of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from xcoreg.core.dem import ElevationMatcher, Terms
from xcoreg.core.matches import Status
from xcoreg.engine.elevation.single import settle, target_pixels
from xcoreg.engine.elevation.windows import to_metres
from xcoreg.engine.many import Search, match_many, progress_bar
from xcoreg.engine.trials import Trials, to_points
from xcoreg.errors import GridError
from xcoreg.georef import linear_of, map_to_pixel, pixel_to_map, vector_to_map

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xcoreg.engine.scene import Scene
    from xcoreg.plan.options import LocalOptions
    from xcoreg.results.tiepoints import TiePoints

    Floats = NDArray[np.floating]

__all__ = ["block_points", "lay_blocks"]

# Places within a block that are asked whether a mask leaves them, and the share below which the mask is to blame.
_ASKED, _LEFT = 9, 0.1


def lay_blocks(scene: Scene, spacing: float) -> Floats:
    """Lay blocks side by side over the whole overlap, about so far apart.

    Parameters
    ----------
    scene : Scene
    spacing : float
        Target px; stretched so that a whole number of blocks fits.

    Returns
    -------
    (n, 2) float64
        Centres, CRS units of the target, row by row; those whose block meets the valid data of both models.

    Raises
    ------
    GridError
        When there is none.
    """
    affine = scene.target.grid.affine
    corners = shapely.get_coordinates(scene.extent)
    axes, half = [], []
    for at in map_to_pixel(affine, corners[:, 0], corners[:, 1]):
        low, span = at.min(), float(np.ptp(at))
        n = max(round(span / spacing), 1)
        axes.append(low + (np.arange(n) + 0.5) * span / n)
        half.append(span / n / 2)
    x, y = pixel_to_map(affine, *(part.ravel() for part in np.meshgrid(*axes)))
    signs = np.array([-1, 1, 1, -1]), np.array([-1, -1, 1, 1])
    off_x, off_y = vector_to_map(linear_of(affine), signs[0] * half[0], signs[1] * half[1])
    squares = shapely.polygons(np.stack([x[:, None] + off_x, y[:, None] + off_y], -1))
    meets = shapely.intersects(scene.overlap, squares)
    if not meets.any():
        raise GridError("no block meets the overlap of both elevation models")
    return np.stack([x[meets], y[meets]], -1)


def block_points(scene: Scene, options: LocalOptions, places: Floats, size: int) -> TiePoints:
    """Match blocks, beginning at the one correction that fits all of them best.

    Parameters
    ----------
    scene : Scene
    options : LocalOptions
        With an elevation matcher.
    places : (n, 2) float
        Centres, CRS units of the target.
    size : int
        Side of the blocks, px of the matching lattice.

    Returns
    -------
    TiePoints
        One row per block.
    """
    terms = options.terms or Terms(shift=True)
    guess = np.zeros(2)
    if terms.shift:
        found = settle(scene, options, replace(terms, ramp=0, classic=False)).found
        if found.status is Status.OK:
            guess = np.stack(vector_to_map(scene.linear, *found.move))
    limit = np.inf if options.max_shift is None else options.max_shift * target_pixels(scene) + 1.0
    search = Search(size, ElevationMatcher(terms, limit, to_metres(scene)))
    with progress_bar(len(places), "matching", options.progress) as done:
        trials = match_many(scene, places, np.broadcast_to(guess, places.shape), search, done)
    trials.doubt(_masked(scene, trials), Status.MASKED)
    points = to_points([trials], scene)
    if options.max_shift is not None:
        far = np.maximum(np.abs(points.dcol), np.abs(points.drow)) > options.max_shift
        points = points.with_status(far, Status.TOO_FAR)
    return points


def _masked(scene: Scene, trials: Trials) -> NDArray[np.intp]:
    """Blocks without data that a mask has taken it from."""
    empty = np.flatnonzero(trials.matches.status == Status.NO_DATA)
    mask: Callable[..., Any] | None = scene.mask
    if mask is None or not empty.size:
        return empty[:0]
    steps = (np.arange(_ASKED) + 0.5) / _ASKED - 0.5
    dx, dy = vector_to_map(scene.linear, *(trials.size * part.ravel() for part in np.meshgrid(steps, steps)))
    x, y = trials.x[empty, None] + dx, trials.y[empty, None] + dy
    left = np.asarray(mask(x, y), bool).mean(1)
    return np.asarray(empty[left < _LEFT])
