"""Tie points and positions made elsewhere, converted to the grid of a target."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from odc.geo.geobox import GeoBox

from xcoreg import georef
from xcoreg.core import Floats
from xcoreg.errors import OptionError
from xcoreg.results import tables
from xcoreg.results.tables import read_frame
from xcoreg.results.tiepoints import TiePoints

_CLOSE = 1e-6  # px


def as_points(given: Any, grid: GeoBox) -> TiePoints | Floats:
    """Convert tie points, or positions where to match, to the grid of a target."""
    if isinstance(given, str | Path):
        given = read_frame(given)
    if hasattr(given, "geom_type") and not hasattr(given, "columns"):
        given = given.rename("geometry").to_frame()
    if not isinstance(given, TiePoints) and hasattr(given, "columns"):
        if tables.has_corrections(given):
            _crs_needed(given)
            # Corrections in pixels alone can only be the target's.
            in_pixels = not {"dx", "X_SHIFT_M"} & set(given.columns)
            given = TiePoints.from_geodataframe(given, grid=grid if in_pixels else None)
        else:
            source = _crs_needed(given)
            x, y = _carry(tables.positions_of(given), source, grid.crs)
            return np.stack([x, y], axis=-1)
    if isinstance(given, TiePoints):
        return _bring(given, grid)
    return _positions(given)


def _crs_needed(frame: Any) -> str | None:
    source = tables.crs_of_frame(frame)
    if source is None and hasattr(frame, "geom_type"):
        raise OptionError("the tie points have geometries without a CRS: set it with frame.set_crs('EPSG:...') first")
    return source


def _positions(given: Any) -> Floats:
    try:
        array = np.asarray(given, np.float64)
    except (TypeError, ValueError) as error:
        raise OptionError(
            f"a {type(given).__name__} holds no tie points: give TiePoints, a GeoDataFrame, a file or an (n, 2) array"
        ) from error
    if array.shape == (2,):
        array = array.reshape(1, 2)
    if array.ndim != 2 or array.shape[1] != 2:
        raise OptionError(f"positions of shape {array.shape} are not (n, 2): give one row x, y per point")
    if not np.isfinite(array).all():
        raise OptionError(f"{int((~np.isfinite(array).all(axis=1)).sum())} positions are not finite: drop them")
    return array.copy()


def _carry(place: tuple[Floats, Floats], source: Any, crs: Any) -> tuple[Floats, Floats]:
    x, y = place if source is None else georef.transform_points(source, crs, *place)
    lost = ~(np.isfinite(x) & np.isfinite(y))
    if lost.any():
        count = f"{int(lost.sum())} of {lost.size}"
        raise OptionError(f"{count} tie points have no place in the CRS of the target: drop them")
    return x, y


def _bring(points: TiePoints, grid: GeoBox) -> TiePoints:
    """Convert tie points to the CRS and the pixels of another image."""
    crs, transform = grid.crs, tuple(grid.affine)[:6]
    source, linear = points.crs_wkt, georef.linear_of(transform)
    cov: Floats = points.cov
    x, y = _carry((points.x, points.y), source, crs)
    dx, dy = points.dx, points.dy
    if source is not None and not georef.same_crs(source, crs):
        dx, dy = georef.local_displacement(x, y, dx, dy, source, crs)
        cov = turn_cov(cov, x, y, source, crs, max(georef.gsd(transform)))
    col, row = _unless_close((points.col, points.row), georef.map_to_pixel(transform, x, y))
    dcol, drow = _unless_close((points.dcol, points.drow), georef.vector_to_pixel(linear, dx, dy))
    moved: dict[str, Any] = {"x": x, "y": y, "dx": dx, "dy": dy, "cov": cov}
    moved |= {"col": col, "row": row, "dcol": dcol, "drow": drow, "grid": grid, "spacing": None}
    return replace(points, crs_wkt=georef.as_crs(crs).to_wkt(), **moved)


def _unless_close(old: tuple[Floats, Floats], new: tuple[Floats, Floats]) -> tuple[Floats, Floats]:
    """Keep the old numbers, digit by digit, where the new ones are equal to rounding errors."""
    return old if np.allclose(old, new, rtol=0.0, atol=_CLOSE, equal_nan=True) else new


def turn_cov(cov: Floats, x: Floats, y: Floats, source: Any, crs: Any, step: float) -> Floats:
    """Convert covariances (n, 2, 2) of displacements at x, y (n,) to another CRS, by the local Jacobian."""
    back_x, back_y = georef.transform_points(crs, source, x + step, y)
    there_x, there_y = georef.transform_points(crs, source, x, y)
    length = np.hypot(back_x - there_x, back_y - there_y)
    along_x = georef.local_displacement(x, y, length, 0.0, source, crs)
    along_y = georef.local_displacement(x, y, 0.0, length, source, crs)
    jacobian = np.stack([np.stack(along_x, -1), np.stack(along_y, -1)], axis=-1) / length[:, None, None]
    return np.asarray(jacobian @ cov @ np.swapaxes(jacobian, 1, 2))
