"""A regular grid of windows over the area that two images share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from xcoreg.errors import GridError
from xcoreg.georef import linear_of, map_to_pixel, pixel_to_map, vector_to_map, vector_to_pixel
from xcoreg.plan.choose import overlap_size

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating]
    Linear = tuple[float, float, float, float]

__all__ = ["default_spacing", "lay_out", "local_window", "tiles"]

_USUAL_SPACING, _USUAL_LOCAL_WINDOW, _LEAST_LOCAL_WINDOW = 200.0, 256, 64
# A small image gets so many windows along its longer side, and windows of this share of its shorter one.
_ALONG, _SHARE = 12, 5


def default_spacing(overlap: Any, affine: Any) -> float:
    """Choose the distance of windows: 200 target px, less where the overlap is small.

    Examples
    --------
    >>> from affine import Affine
    >>> default_spacing(shapely.box(0, 0, 9600, 4800), Affine(10, 0, 0, 0, -10, 0))
    80.0
    """
    longer = max(overlap_size(overlap, linear_of(affine)))
    return float(np.clip(np.floor(longer / _ALONG), 8, _USUAL_SPACING))


def local_window(overlap: Any, linear: Linear) -> int:
    """Choose the side of local windows: 256 px of the matching lattice, less where the overlap is small.

    Examples
    --------
    >>> local_window(shapely.box(0, 0, 9600, 4800), (10.0, 0.0, 0.0, -10.0))
    96
    """
    side = int(min(overlap_size(overlap, linear)))
    return int(np.clip(side // _SHARE // 2 * 2, min(_LEAST_LOCAL_WINDOW, side), _USUAL_LOCAL_WINDOW))


def lay_out(overlap: Any, extent: Any, affine: Any, linear: Linear, spacing: float, size: int) -> Floats:
    """Spread windows over an overlap on a square lattice along the pixels of the target.

    The lattice is centred in the overlap of the grids such that its windows lie within them; kept are windows whose
    centre lies in the overlap of the valid data, so those at a slanted swath edge are partly empty.

    Parameters
    ----------
    overlap, extent : shapely geometry
        Overlap of the footprints, and of the whole grids, CRS of the target.
    affine : Affine
        Of the target.
    linear : (a, b, d, e)
        Of the matching lattice.
    spacing : float
        Distance of centres, target px.
    size : int
        Side of the windows, px of the matching lattice.

    Returns
    -------
    (n, 2) float64
        Centres, CRS units of the target, row by row from the upper left of the target.

    Raises
    ------
    GridError
        When no centre falls into the overlap.

    Examples
    --------
    >>> from affine import Affine
    >>> box = shapely.box(0, 0, 1000, 500)
    >>> lay_out(box, box, Affine(10, 0, 0, 0, -10, 500), (10.0, 0.0, 0.0, -10.0), 20, 20).shape
    (10, 2)
    """
    own = linear_of(affine)
    corners = shapely.get_coordinates(extent)
    cols, rows = map_to_pixel(affine, corners[:, 0], corners[:, 1])
    # Half a window in target pixels along either axis, however the lattice is turned.
    edge = vector_to_pixel(own, *vector_to_map(linear, np.array([1, 1]) * size / 2, np.array([-1, 1]) * size / 2))
    axes = [_axis(at.min(), at.max(), np.abs(half).max(), spacing) for at, half in zip((cols, rows), edge, strict=True)]
    mesh = [part.ravel() for part in np.meshgrid(*axes)]
    x, y = pixel_to_map(affine, *mesh)
    inside = shapely.contains_xy(overlap, x, y)
    if not inside.any():
        raise GridError(f"no window of a grid with spacing={spacing:g} has its centre in the overlap: give less")
    return np.stack([x[inside], y[inside]], -1)


def tiles(places: Floats, linear: Linear, size: int, most: int) -> list[NDArray[np.intp]]:
    """Group windows that lie near each other, so that one reading serves a group.

    Parameters
    ----------
    places : (n, 2) float
        Centres, CRS units of the target.
    linear : (a, b, d, e)
        Of the matching lattice.
    size : int
        Side of the windows, px.
    most : int
        Windows per group at most.

    Returns
    -------
    list of (m,) int
        Indices of each group; every window is in one of them.

    Examples
    --------
    >>> [group.tolist() for group in tiles(np.array([[0.0, 0], [900, 0], [10, 0]]), (1.0, 0, 0, 1.0), 16, 2)]
    [[0, 2], [1]]
    """
    col, row = vector_to_pixel(linear, places[:, 0], places[:, 1])
    col, row = col - col.min(initial=np.inf), row - row.min(initial=np.inf)
    area = max(float(np.ptp(col)) * float(np.ptp(row)), 1.0) if len(places) else 1.0
    side = max(np.sqrt(area * most / max(len(places), 1)), size)
    order = np.lexsort((np.arange(len(places)), col // side, row // side))
    key = np.stack([row // side, col // side], -1)[order]
    starts = np.flatnonzero(np.r_[True, (np.diff(key, axis=0) != 0).any(1)]) if len(places) else np.empty(0, int)
    groups = np.split(order, starts[1:])
    return [group[at : at + most] for group in groups for at in range(0, len(group), most)]


def _axis(low: float, high: float, half: float, spacing: float) -> Floats:
    """Positions of centres along one axis, px: whole ones, so that windows lie on pixels."""
    room = high - low - 2 * half
    if room <= 0:
        return np.array([(low + high) / 2])
    count = int(room // spacing) + 1
    first = low + half + (room - (count - 1) * spacing) / 2
    return np.asarray(np.round(first) + np.arange(count) * spacing)
