"""From pixels to the map: corrections of elevation models, their covariances, their models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from xcoreg.core.dem import cov3_to_map
from xcoreg.core.models import Affine, Lifted, Model, Polynomial2, Translation
from xcoreg.core.models.base import nested
from xcoreg.core.models.polynomial import design_of
from xcoreg.georef import vector_to_map

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xcoreg.core.dem import Solution

    Floats = NDArray[np.floating]
    Linear = tuple[float, float, float, float]

__all__ = ["model_of"]

_RAMPS: dict[int, Any] = {1: Affine, 2: Polynomial2}


def _order(found: Solution) -> int:
    return int(max(sum(powers) for powers in found.basis.powers))


def model_of(found: Solution, linear: Linear, origin: tuple[float, float]) -> Model:
    """Make the model that a solution describes.

    Parameters
    ----------
    found : Solution
    linear : (a, b, d, e)
        Of the matching lattice, CRS units per px.
    origin : (x, y)
        Where the lattice's px are counted from, CRS units.

    Returns
    -------
    Model
        A translation with dz, or a constant shift with a polynomial of heights over target positions.
    """
    dx, dy = (float(part) for part in vector_to_map(linear, *found.move))
    cov = cov3_to_map(linear, found.cov[None, :3, :3])[0]
    if not _order(found):
        return Translation(dx, dy, float(found.height[0]), nested(cov))
    # The same polynomial in map coordinates: both lattices of places, one turned into the other.
    u, v = (part.ravel() for part in np.meshgrid(np.linspace(-1, 1, 4), np.linspace(-1, 1, 4)))
    cols, rows = (found.basis.centre[axis] + found.basis.scale * part for axis, part in enumerate((u, v)))
    x, y = vector_to_map(linear, cols, rows)
    # Heights are looked up where the target says they are, before it is moved.
    x, y = x + origin[0] - dx, y + origin[1] - dy
    centre, scale = np.array([x.mean(), y.mean()]), float(max(np.ptp(x), np.ptp(y))) / 2
    order = _order(found)
    turn = np.linalg.pinv(design_of((x - centre[0]) / scale, (y - centre[1]) / scale, order)) @ design_of(u, v, order)
    ramp = _RAMPS[order](
        n=found.count,
        scatter=((0.0,),),
        spacing=0.0,
        hull=np.empty((0, 3)),
        centre=centre,
        scale=scale,
        coef=(turn @ found.height)[:, None],
        cov=(turn @ found.cov[2:, 2:] @ turn.T)[:, None, :, None],
    )
    return Lifted(Translation(dx, dy, cov=nested(cov[:2, :2])), ramp)
