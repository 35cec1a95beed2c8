"""Points of known height corrected by a fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from xcoreg import georef
from xcoreg.errors import MatchError, OptionError
from xcoreg.raster.bands import common_unit
from xcoreg.raster.georeference import parse_unit
from xcoreg.raster.point_heights import height_column, heights_of, unit_of_points

if TYPE_CHECKING:
    from xcoreg.results.coregistration import Coregistration


def apply_to_points(points: Any, fit: Coregistration, options: Any = None) -> Any:
    """Move points (a GeoDataFrame) by a fit, and raise their heights, where they have any, by its dz."""
    if options:
        raise OptionError("points are moved by the fit alone: leave out the options of images")
    if fit.model is None or not fit.ok:
        raise MatchError(f"the fit is not trustworthy and is not applied: {fit.status.reason}", fit.points)
    if fit.details.biases:
        raise OptionError("the fit corrects biases by the terrain, which points do not show: match without bias=")
    model: Any = fit.model
    column = height_column(points, None, required=hasattr(model, "correction"))
    z: Any = None if column is None and not points.has_z.all() else heights_of(points, column)
    own = (points.geometry.x.to_numpy(np.float64), points.geometry.y.to_numpy(np.float64))
    there, back = (points.crs, fit.crs_wkt), (fit.crs_wkt, points.crs)
    known = points.crs is not None and fit.crs_wkt is not None
    x, y = georef.transform_points(*there, *own) if known else own
    factor = 1.0 if z is None else common_unit(parse_unit(fit.details.unit_z), unit_of_points(points))[1]
    if hasattr(model, "correction"):
        dx, dy, dz = model.correction(x, y, z * factor)
    else:
        (dx, dy), dz = model.predict(x, y), model.predict_dz(x, y)
    new = georef.transform_points(*back, x + dx, y + dy) if known else (x + dx, y + dy)
    return _moved(points, new, None if z is None else z + dz / factor, column)


def _moved(points: Any, place: tuple[Any, Any], z: Any, column: Any) -> Any:
    """Copy with other places and heights; heights stay where they stood."""
    out = points.copy()
    if z is not None and column is not None:
        out[column] = z
    high = z if column is None else points.geometry.z if points.has_z.all() else None
    return out.set_geometry(points.geometry.from_xy(*place, high, crs=points.crs).set_axis(points.index))
