"""`where`: rasters, outlines and functions that say which places may be used."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from xarray import DataArray

from xcoreg.errors import OptionError
from xcoreg.georef import map_to_pixel, transform_points
from xcoreg.raster import Raster, make_raster
from xcoreg.raster.nodata import stored_nodata

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating]

__all__ = ["Mask", "as_mask"]

Mask = Callable[[Any, Any], Any]

# Positions of which fewer than one in so many pixels is asked for are read one by one: a mask may be a whole scene.
_SPARSE = 1000


def as_mask(where: Any, crs: Any, name: str = "where") -> Mask | None:
    """Turn what a user passes as `where` into a function of map positions.

    Parameters
    ----------
    where : DataArray, shapely geometry, GeoDataFrame, GeoSeries, callable or None
        A raster on any grid (usable where it is neither zero nor nodata), outlines (usable inside), or a function
        of x and y. A geometry without a CRS is taken to be in that of the target (`where`) or reference (`ref_where`).
    crs : CRS
        Of the positions the function will be asked about; also assumed for bare geometries.
    name : str
        What messages call it.

    Returns
    -------
    callable or None
        ``mask(x, y)`` -> bool array, for positions in `crs`.

    Raises
    ------
    OptionError
        For anything else.

    Examples
    --------
    >>> mask = as_mask(shapely.box(0, 0, 10, 10), "EPSG:32633")
    >>> mask(np.array([5.0, 15.0]), np.array([5.0, 5.0])).tolist()
    [True, False]
    """
    if where is None:
        return None
    if isinstance(where, DataArray):
        return _raster_mask(where, crs, name)
    if isinstance(where, shapely.Geometry):
        return _outline_mask(where)
    if hasattr(where, "geometry") and hasattr(where, "to_crs"):
        frame = where.to_crs(crs) if where.crs is not None else where
        return _outline_mask(shapely.union_all(np.asarray(frame.geometry)))
    if callable(where):
        return lambda x, y: np.asarray(where(x, y), bool)
    kinds = "a DataArray, a shapely geometry, a GeoDataFrame or a function of x and y"
    raise OptionError(f"{name} is a {type(where).__name__}: give {kinds}")


def _outline_mask(outline: shapely.Geometry) -> Mask:
    shapely.prepare(outline)
    return lambda x, y: np.asarray(shapely.contains_xy(outline, x, y), bool)


def _raster_mask(where: DataArray, crs: Any, name: str) -> Mask:
    stored = stored_nodata(where)
    # Never from the corners: a mask that is true in all of them would be empty.
    marker = np.nan if stored is None else stored
    raster = make_raster(where.astype(np.uint8) if where.dtype == bool else where, nodata=marker, name=name)

    def mask(x: Floats, y: Floats) -> NDArray[np.bool_]:
        x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
        own_x, own_y = transform_points(crs, raster.grid.crs, x.ravel(), y.ravel())
        cols, rows = map_to_pixel(raster.grid.affine, own_x, own_y)
        return _nearest(raster, np.rint(rows), np.rint(cols)).reshape(x.shape)

    return mask


def _nearest(raster: Raster, rows: Floats, cols: Floats) -> NDArray[np.bool_]:
    """Non-zero pixels at whole positions; False outside the image."""
    height, width = raster.shape
    inside = (rows >= 0) & (rows < height) & (cols >= 0) & (cols < width)
    out = np.zeros(rows.shape, bool)
    if inside.any():
        r, c = rows[inside].astype(np.intp), cols[inside].astype(np.intp)
        out[inside] = _scattered(raster, r, c) if np.ptp(r) * np.ptp(c) > _SPARSE * r.size else _together(raster, r, c)
    return out


def _together(raster: Raster, rows: NDArray[np.intp], cols: NDArray[np.intp]) -> NDArray[np.bool_]:
    values, valid = raster.read(rows.min(), rows.max() + 1, cols.min(), cols.max() + 1)
    r, c = rows - rows.min(), cols - cols.min()
    return np.asarray(valid[r, c] & (values[r, c] != 0))


def _scattered(raster: Raster, rows: NDArray[np.intp], cols: NDArray[np.intp]) -> NDArray[np.bool_]:
    read = raster.read_many((r, r + 1, c, c + 1) for r, c in zip(rows.tolist(), cols.tolist(), strict=True))
    return np.array([valid[0, 0] and values[0, 0] != 0 for values, valid in read], bool)
