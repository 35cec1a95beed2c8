"""Heights of an elevation model converted to another vertical datum."""

from __future__ import annotations

from typing import Any

import numpy as np
from pyproj.crs import CompoundCRS
from xarray import DataArray

from xcoreg.errors import OptionError, is_number
from xcoreg.georef import as_crs
from xcoreg.georef.vertical import parse_vertical, undulation, vertical_of
from xcoreg.raster.bands import height_scaling, height_unit
from xcoreg.raster.grid import grid_of
from xcoreg.raster.nodata import stored_nodata, valid_mask
from xcoreg.warp.metadata import add_history
from xcoreg.warp.vertical import heights_dtype


def convert_heights(dem: DataArray, to: Any, *, vertical_datum: Any = None) -> DataArray:
    """Convert heights to another vertical datum: from a geoid to the ellipsoid, back, or to another geoid.

    Parameters
    ----------
    dem : DataArray
        Elevation model (..., y, x), heights in the unit of its band.
    to : "ellipsoid", float, CRS in any spelling, or DataArray
        New datum: "EGM96", "EGM2008", any vertical or compound CRS, the height of a geoid in metres, or another
        elevation model, whose CRS names it.
    vertical_datum : optional
        Present datum, likewise; default: what the CRS of `dem` names.

    Returns
    -------
    DataArray
        As `dem`, in memory, with a CRS that names the datum, unless a number was given.

    Raises
    ------
    OptionError
        When a datum is unknown, or PROJ's grid of the geoid is not installed.

    Examples
    --------
    >>> from xcoreg.simulate import dem_pair
    >>> dem = dem_pair((60, 80), seed=1).tgt
    >>> high = convert_heights(dem, "ellipsoid", vertical_datum=43.0)
    >>> round(float((high - dem).mean()), 1)
    43.0
    """
    grid = grid_of(dem, "the elevation model")
    crs, start, goal = as_crs(grid.crs), vertical_datum, to
    start = vertical_of(crs) if start is None else start
    if isinstance(to, DataArray):
        goal = vertical_of(as_crs(grid_of(to, "to").crs))
    for name, datum in (("the elevation model", start), ("to=", goal)):
        if datum is None:
            raise OptionError(f"the CRS of {name} names no vertical datum: give it, such as 'EGM2008' or 'ellipsoid'")
    rise, fall = (
        undulation(crs, grid.affine, (grid.height, grid.width), one, name)
        for one, name in ((start, "the elevation model"), (goal, "to="))
    )
    numbers = np.asarray(dem.values)
    valid = valid_mask(numbers, stored_nodata(dem)) & np.isfinite(numbers)
    size = height_scaling(dem)[0] * (height_unit(dem, crs).metres or 1.0)
    out = dem.copy(data=np.where(valid, numbers + (rise - fall) / size, numbers).astype(heights_dtype(dem.dtype)))
    out.encoding = {key: value for key, value in dem.encoding.items() if key not in ("dtype", "rasterio_dtype")}
    named = _with_datum(crs.to_2d(), goal)
    add_history(out, {"did": "converted the heights", "to": str(getattr(goal, "name", goal))})
    return out if named is None else out.rio.write_crs(named)


def _with_datum(plane: Any, goal: Any) -> Any:
    """CRS with the datum of the heights; None where a number stands for it."""
    if is_number(goal):
        return None
    up = parse_vertical(goal)
    if up is None:
        return plane.to_3d()
    up = next((part for part in up.sub_crs_list if part.is_vertical), up)
    return CompoundCRS(f"{plane.name} + {up.name}", [plane, up]) if up.is_vertical else plane.to_3d()
