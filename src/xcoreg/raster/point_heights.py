"""Points of known height (a GeoDataFrame): where their heights stand, and in which unit."""

from __future__ import annotations

from typing import Any

import numpy as np

from xcoreg.core import Floats
from xcoreg.errors import OptionError
from xcoreg.georef import as_crs
from xcoreg.raster.georeference import Unit, parse_unit

#: Names of columns that hold heights, tried in this order, whatever their case.
HEIGHT_COLUMNS = ("z", "height", "h", "elevation", "elev", "h_ell", "altitude")


def is_points(image: Any) -> bool:
    """Whether an input is a GeoDataFrame."""
    return hasattr(image, "geometry") and hasattr(image, "columns")


def unit_of_points(points: Any) -> Unit:
    """Find the unit of heights: that of attrs["units"], or of the vertical axis of the CRS."""
    crs = None if points.crs is None else as_crs(points.crs)
    vertical = None if crs is None else crs.sub_crs_list[-1] if crs.is_compound else crs
    axes = [] if vertical is None else vertical.axis_info
    return parse_unit(points.attrs.get("units") or (axes[-1].unit_name if len(axes) in (1, 3) else None))


def height_column(points: Any, column: str | None, *, required: bool = True) -> str | None:
    """Name the column of the heights; None where the third coordinate holds them, or where there are none."""
    if not (points.geom_type == "Point").all():
        raise OptionError("the table has geometries that are not points: select its points")
    if column is not None and column not in points.columns:
        raise OptionError(f"the points have no column {column!r}, only {', '.join(map(str, points.columns))}")
    if column is not None or bool(points.has_z.all()):
        return column
    known = {str(name).lower(): name for name in points.columns}
    found = next((known[name] for name in HEIGHT_COLUMNS if name in known), None)
    if found is None and required:
        names = ", ".join(str(name) for name in points.columns)
        raise OptionError(f"no heights among {names}: name their column with z=")
    return found


def heights_of(points: Any, column: str | None) -> Floats:
    """Heights (n,) of points, of a column or the third coordinate."""
    return np.asarray(points.geometry.z if column is None else points[column], np.float64)
