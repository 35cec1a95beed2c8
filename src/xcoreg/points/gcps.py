"""Tie points as ground control points."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from xcoreg import georef
from xcoreg.core.matches import Status
from xcoreg.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from xcoreg.points.table import TiePoints

__all__ = ["gcps_of", "thin"]

_FINER = 200  # grids tried


def thin(points: TiePoints, max_points: int) -> NDArray[np.intp]:
    """Choose well spread rows of a table.

    Parameters
    ----------
    points : TiePoints
        All of them are candidates.
    max_points : int
        How many to keep at most.

    Returns
    -------
    (k,) int
        Rising indices: the best measured point of each cell of the finest square grid that leaves few enough.

    Examples
    --------
    >>> from xcoreg.points.table import TiePoints
    >>> x = [0, 1, 100, 101]
    >>> thin(TiePoints(x, x, x, x, [0] * 4, x, x, x, x), 2).tolist()
    [0, 2]
    """
    n = len(points)
    if n <= max_points:
        return np.arange(n)
    error = np.nan_to_num(np.trace(points.cov, axis1=1, axis2=2), nan=np.inf)
    best_first = np.argsort(error, kind="stable")
    width = max(float(np.ptp(points.x)), float(np.ptp(points.y)), 1e-300)
    left, bottom = points.x.min(), points.y.min()
    kept, cells = best_first[:1], math.isqrt(max_points)
    # Finer and finer, for the points may lie in a corner of the cells: the last that is few enough is kept.
    for _ in range(_FINER):
        step = width * (1 + 1e-9) / cells
        place = np.floor(np.stack([points.x - left, points.y - bottom]) / step)
        _, first = np.unique(place[0, best_first] * (cells + 1) + place[1, best_first], return_index=True)
        if first.size > max_points:
            break
        kept, cells = best_first[first], cells + max(1, cells // 16)
    return np.sort(kept)


def gcps_of(points: TiePoints, transform: Sequence[float], *, max_points: int | None = None) -> list[Any]:
    """Ground control points for GDAL: where a place of the target lies on the map of the reference.

    Parameters
    ----------
    points : TiePoints
        The trusted ones are taken.
    transform : six floats (a, b, c, d, e, f)
        Of the target, pixel corner to map.
    max_points : int, optional
        Thin them to at most so many, evenly over the area.

    Returns
    -------
    list of rasterio.control.GroundControlPoint
        `row` and `col` of the target counted from the corner of the first pixel, as GDAL counts (its centre is
        0.5, 0.5); `x`, `y` the corrected position; `id` the window; `info` the uncertainty in CRS units.

    Raises
    ------
    OptionError
        When no point is trusted, or `max_points` is below one.

    Examples
    --------
    >>> from xcoreg.points.table import TiePoints
    >>> points = TiePoints([7], [0], [0], [5], [-5], [3], [4], [0.3], [-0.4])
    >>> gcp = gcps_of(points, (10, 0, 0, 0, -10, 0))[0]
    >>> gcp.row, gcp.col, gcp.x, gcp.y, gcp.id
    (0.5, 0.5, 8.0, -1.0, '7')
    """
    from rasterio.control import GroundControlPoint

    good = points.take((points.status == Status.OK) & np.isfinite(points.dx) & np.isfinite(points.dy))
    if len(good) == 0:
        raise OptionError(f"no tie point is trusted, so there are no ground control points: {points!r}")
    if max_points is not None:
        if max_points < 1:
            raise OptionError(f"max_points={max_points} keeps no ground control point: give 1 or more")
        good = good.take(thin(good, max_points))
    # From the map position: row and col of tie points made elsewhere may be those of another image.
    col, row = georef.map_to_pixel(transform, good.x, good.y)
    x, y = good.x + good.dx, good.y + good.dy
    sigma = np.sqrt(np.maximum(good.cov[:, [0, 1], [0, 1]], 0.0))
    return [
        GroundControlPoint(
            row=float(row[i]) + 0.5,
            col=float(col[i]) + 0.5,
            x=float(x[i]),
            y=float(y[i]),
            z=0.0,
            id=str(good.window[i]),
            info="" if np.isnan(sigma[i]).any() else f"sigma_x={sigma[i, 0]:.6g} sigma_y={sigma[i, 1]:.6g}",
        )
        for i in range(len(good))
    ]
