"""Where a target belongs, before any window is matched: a placement by rotation, scale and shift of coarse images."""

from __future__ import annotations

import logging

import numpy as np
from affine import Affine
from xarray import DataArray, Variable

from xcoreg.core import mellin
from xcoreg.matching.cutter import Cutter
from xcoreg.matching.scene import Scene
from xcoreg.raster.raster import Raster

logger = logging.getLogger("xcoreg")

_COARSE = 256  # side of the coarse images, px
_READ = 30_000_000  # px; of larger images samples are taken instead of means
_ACCIDENT = -6.0  # largest logarithm of the chance of a guess that is trusted


def trusted_guess(scene: Scene) -> Affine | None:
    """Placement of the target by coarse images, None where it may be an accident."""
    guess, chance = first_guess(scene)
    logger.info("first guess: %s, log10 of its chance %.1f", tuple(guess)[:6], chance)
    return guess if chance <= _ACCIDENT else None


def first_guess(scene: Scene) -> tuple[Affine, float]:
    """Guess the placement of the target from coarse images, and the logarithm of the chance that it is an accident."""
    crs, extent = scene.target.grid.crs, scene.target.grid.extent.geom
    middle = scene.overlap.centroid
    unit = _ground_unit(scene)
    west, south, east, north = extent.bounds
    side = max((east - west) / unit[0], (north - south) / unit[1])
    own = np.sqrt(abs(scene.linear[0] * scene.linear[3] - scene.linear[1] * scene.linear[2]) / (unit[0] * unit[1]))
    pixel = max(side / _COARSE, float(own))
    size = int(min(_COARSE, max(side / pixel, 32)))
    linear = (pixel * unit[0], 0.0, 0.0, -pixel * unit[1])
    cuts = []
    for cutter, raster in ((scene.target_cutter, scene.target), (scene.reference_cutter, scene.reference)):
        coarse = Cutter(_readable(raster, scene), crs, linear, None, cutter.mask)
        cuts.append(coarse.cut(np.array([middle.x]), np.array([middle.y]), size))
    tgt, ref = cuts
    found = mellin.first_guess(tgt.values[0], ref.values[0], tgt.valid[0], ref.valid[0])
    to_map = np.diag([linear[0], linear[3]])
    matrix = to_map @ found.matrix @ np.linalg.inv(to_map)
    centre, goal = (np.array([cut.x[0], cut.y[0]]) for cut in (tgt, ref))
    offset = goal + to_map @ np.array(found.move) - matrix @ centre
    (a, b), (d, e) = matrix.tolist()
    return Affine(a, b, offset[0], d, e, offset[1]), found.log10_chance


def _ground_unit(scene: Scene) -> tuple[float, float]:
    """CRS units that are equally long on the ground along x and y: degrees of longitude shrink towards the poles."""
    crs = scene.target.grid.crs
    if crs is None or not crs.geographic:
        return 1.0, 1.0
    return 1 / max(float(np.cos(np.radians(scene.overlap.centroid.y))), 0.05), 1.0


def _readable(raster: Raster, scene: Scene) -> Raster:
    """Raster that is read as a whole: a large one by the samples of its overview."""
    if raster.shape[0] * raster.shape[1] <= _READ:
        return raster
    view = scene.overviews[0 if raster is scene.target else 1]
    dims = raster.data.dims
    data = DataArray(view.values, dims=dims)
    return Raster(
        data, view.grid, None, raster.name, "none", data.variable, (), mask=Variable(dims, view.valid & view.sampled)
    )
