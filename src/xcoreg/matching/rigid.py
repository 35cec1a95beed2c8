"""`match` of two elevation models by a rigid motion: the solution in map coordinates, and its acceptance."""

from __future__ import annotations

from typing import Any

import numpy as np

from xcoreg.core import Floats
from xcoreg.core.dem import Samples, SearchArea, Solution, Terms, solve
from xcoreg.core.dem.acceptance import check_extent, check_relief
from xcoreg.core.dem.equations import Basis
from xcoreg.core.dem.rigid import RigidSolution, solve_rigid
from xcoreg.core.matches import Status
from xcoreg.core.models.rigid import Rigid
from xcoreg.georef import Linear, vector_to_map

_LATTICE = 32  # cells of mean heights along the longer side
_WORSE = 1.02  # NMAD after over NMAD before that is refused


def solve_rigid_overlap(
    samples: list[Any], terms: Terms, metres: Floats, search: SearchArea, fewest: int
) -> tuple[Solution, RigidSolution | None]:
    """Solve for a rigid motion; the solution is described as one of a shift in the middle of the overlap."""
    plain = Terms(shift=True)
    first = solve(samples, plain, search, to_metres=metres, fewest=fewest, thorough=False, side=0)
    if first.refusal is not None or first.status in (Status.NO_DATA, Status.FLAT):
        return first, None
    known = np.isfinite(first.move).all()
    start = np.array([*(first.move if known else search.start), np.nan_to_num(first.height[0])])
    found = solve_rigid(samples, start, metres, search, scale=terms.scale)
    return _as_solution(samples, found, metres, search.start), found


def _as_solution(samples: list[Samples], found: RigidSolution, metres: Floats, start: Floats) -> Solution:
    """Describe a rigid motion by its shift, px, and offset in its centre."""
    inverse = np.eye(3)
    inverse[:2, :2] = np.linalg.inv(metres)
    move = inverse[:2, :2] @ found.motion.offset[:2]
    cov = inverse @ found.cov[:3, :3] @ inverse.T
    status, refusal = found.status, None
    if status is Status.OK:
        refusal = check_relief(samples, move, shifted=True)
        status = status if refusal is None else refusal.status
        if refusal is None and found.nmad_after > _WORSE * found.nmad_before:
            status = Status.NOT_IMPROVED
    else:
        refusal = check_extent(samples) or check_relief(samples, start, shifted=True)
        status = status if refusal is None else refusal.status
    same = {name: getattr(found, name) for name in ("count", "median_before", "median_after")}
    same |= {name: getattr(found, name) for name in ("nmad_before", "nmad_after", "iterations")}
    basis = Basis(((0, 0),))
    height = found.motion.offset[2:3].copy()
    return Solution(status, move, height, cov, basis, **same, mean=np.ones(1), refusal=refusal)


def rigid_model(found: RigidSolution, samples: list[Any], linear: Linear, origin: tuple[float, float]) -> Rigid:
    """Model in map coordinates of a motion in px."""
    motion = found.motion
    to_map = np.array([[linear[0], linear[1]], [linear[2], linear[3]]])
    x, y = vector_to_map(linear, *motion.centre[:2])
    centroid = np.array([x + origin[0], y + origin[1], motion.centre[2]])
    lattice, heights = _mean_heights(samples, linear, origin)
    metric = motion.to_metres @ np.linalg.inv(to_map)
    return Rigid(motion.rotation, motion.offset, centroid, metric, motion.scale, found.cov, lattice, heights)


def _mean_heights(samples: list[Any], linear: Linear, origin: tuple[float, float]) -> tuple[Floats, Floats]:
    """Mean heights over cells of the map: x and y of the first and steps, and (n, m) heights."""
    surfaces = [one.surface() for one in samples]
    col, row, z = (np.concatenate([getattr(one, name) for one in surfaces]) for name in ("col", "row", "z"))
    x, y = vector_to_map(linear, col, row)
    side = max(float(np.ptp(x)), float(np.ptp(y))) / _LATTICE or 1.0
    at_x, at_y = ((part - part.min()) // side for part in (x, y))
    shape = int(at_y.max()) + 1, int(at_x.max()) + 1
    index = (at_y * shape[1] + at_x).astype(np.intp)
    count = np.bincount(index, minlength=shape[0] * shape[1])
    total = np.bincount(index, z, shape[0] * shape[1])
    mean = np.where(count > 0, total / np.maximum(count, 1), z.mean()).reshape(shape)
    corner = np.array([x.min() + origin[0] + side / 2, y.min() + origin[1] + side / 2, side, side])
    return corner, mean
