"""Where a target belongs, before any window is matched: a placement by rotation, scale and shift of coarse images."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from affine import Affine
from xarray import DataArray, Variable

from xcoreg.core import mellin
from xcoreg.georef import Linear
from xcoreg.matching.cutter import Cut, Cutter
from xcoreg.matching.options import Options
from xcoreg.matching.scene import Scene, prepare
from xcoreg.raster.grid import placed_over
from xcoreg.raster.overview import overview_of
from xcoreg.raster.raster import Raster

logger = logging.getLogger("xcoreg")

_COARSE = 256  # side of the coarse images, px
_READ = 30_000_000  # px; of larger images samples are taken instead of means
_ACCIDENT = -6.0  # largest logarithm of the chance of a guess that is trusted


# Shares of the sides of a reference that an image without a place may cover, and how many places along each axis are
# then tried; the chance (log10) from which on a place is taken without trying the others.
_COVERS, _CLEAR = ((1.0, 1), (0.5, 3)), -20.0


def laid_over(image: Any, reference: Any, options: Options) -> Any:
    """Lay an image without a georeference over the part of a reference that it fits best, at the middle of it."""
    places = [
        placed_over(image, reference, share=share, at=((i + 1) / (n + 1), (j + 1) / (n + 1)))
        for share, n in _COVERS
        for i in range(n)
        for j in range(n)
    ]
    chances: list[float] = []
    for one in places:
        chances.append(first_guess(prepare(one, reference, options.by("phase")))[1])
        if chances[-1] < _CLEAR:
            break
    return places[int(np.argmin(chances))]


def trusted_guess(scene: Scene) -> Affine | None:
    """Placement of the target by coarse images, None where it may be an accident."""
    guess, chance = first_guess(scene)
    logger.info("first guess: %s, log10 of its chance %.1f", tuple(guess)[:6], chance)
    return guess if chance <= _ACCIDENT else None


def first_guess(scene: Scene) -> tuple[Affine, float]:
    """Guess the placement of the target from coarse images, and the logarithm of the chance that it is an accident."""
    linear, (tgt,), (ref,) = coarse_images(scene, [scene.target], [scene.reference])
    found = mellin.first_guess(tgt.values[0], ref.values[0], tgt.valid[0], ref.valid[0])
    to_map = np.diag([linear[0], linear[3]])
    matrix = to_map @ found.matrix @ np.linalg.inv(to_map)
    centre, goal = (np.array([cut.x[0], cut.y[0]]) for cut in (tgt, ref))
    offset = goal + to_map @ np.array(found.move) - matrix @ centre
    (a, b), (d, e) = matrix.tolist()
    return Affine(a, b, offset[0], d, e, offset[1]), found.log10_chance


def coarse_images(
    scene: Scene, targets: Sequence[Raster], references: Sequence[Raster]
) -> tuple[Linear, list[Cut], list[Cut]]:
    """Cut the surroundings of the middle of the overlap from bands of both images, on one coarse grid."""
    crs, extent = scene.target.grid.crs, scene.target.grid.extent.geom
    middle = scene.overlap.centroid
    unit = _ground_unit(scene)
    west, south, east, north = extent.bounds
    side = max((east - west) / unit[0], (north - south) / unit[1])
    own = np.sqrt(abs(scene.linear[0] * scene.linear[3] - scene.linear[1] * scene.linear[2]) / (unit[0] * unit[1]))
    pixel = max(side / _COARSE, float(own))
    size = int(min(_COARSE, max(side / pixel, 32)))
    linear = (pixel * unit[0], 0.0, 0.0, -pixel * unit[1])
    x, y = np.array([middle.x]), np.array([middle.y])
    masks = scene.target_cutter.mask, scene.reference_cutter.mask
    tgt, ref = (
        [Cutter(_readable(one), crs, linear, None, mask).cut(x, y, size) for one in rasters]
        for rasters, mask in zip((targets, references), masks, strict=True)
    )
    return linear, tgt, ref


def _ground_unit(scene: Scene) -> tuple[float, float]:
    """CRS units that are equally long on the ground along x and y: degrees of longitude shrink towards the poles."""
    crs = scene.target.grid.crs
    if crs is None or not crs.geographic:
        return 1.0, 1.0
    return 1 / max(float(np.cos(np.radians(scene.overlap.centroid.y))), 0.05), 1.0


def _readable(raster: Raster) -> Raster:
    """Raster that is read as a whole: a large one by the samples of its overview."""
    if raster.shape[0] * raster.shape[1] <= _READ:
        return raster
    view, dims = overview_of(raster), raster.data.dims
    data, seen = DataArray(view.values, dims=dims), Variable(dims, view.valid & view.sampled)
    return Raster(data, view.grid, None, raster.name, "none", data.variable, (), mask=seen)
