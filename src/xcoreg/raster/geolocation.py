"""Finding the geolocation arrays of an image: coordinates lon(y, x), lat(y, x), or GDAL's domain GEOLOCATION."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rioxarray.exceptions import RioXarrayError
from xarray import DataArray, Dataset, Variable
from xarray.conventions import decode_cf_variable

from xcoreg.errors import OptionError
from xcoreg.files import open_gdal
from xcoreg.georef import parse_crs
from xcoreg.georef.geolocation import GeolocationGround

if TYPE_CHECKING:
    from collections.abc import Hashable

    from pyproj import CRS

    from xcoreg.core import Floats


# By CF's standard names, units and the names of common products: (x, y) of degrees, then of a projected CRS.
_STANDARD = (("longitude", "latitude"), ("projection_x_coordinate", "projection_y_coordinate"))
_UNITS = ("east", "north")  # in degrees_east, degree_E, degreesN ...
_NAMES = (
    ("lon longitude lons longitudes long nav_lon xlong geolon tlong glamt", "lat latitude lats latitudes nav_lat xlat "
     "geolat tlat gphit"),
    ("x xc easting x_coordinate", "y yc northing y_coordinate"),
)  # fmt: skip


def find_arrays(image: DataArray | Dataset) -> tuple[Hashable, Hashable] | None:
    """Names of the two-dimensional coordinates of the pixels, x or longitude first; None where there are none."""
    places: Any = image.variables if isinstance(image, Dataset) else image.coords
    flat = {name: tuple(dim for dim in each.dims if each.sizes[dim] > 1) for name, each in places.items()}
    for kind in (0, 1):
        found = [[name for name, dims in flat.items() if len(dims) == 2 and _is(places[name], name, kind, axis)]
                 for axis in (0, 1)]  # fmt: skip
        pairs = [(x, y) for x in found[0] for y in found[1] if set(flat[x]) == set(flat[y])]
        if len(pairs) > 1:
            names = ", ".join(f"{x} and {y}" for x, y in pairs)
            raise OptionError(f"the image has several geolocation arrays ({names}): leave one pair, da.drop_vars(...)")
        if pairs and (kind == 0 or _crs_of(image) is not None):
            return pairs[0]
    return None


def _is(each: Any, name: Hashable, kind: int, axis: int) -> bool:
    """Whether a coordinate is x (axis 0) or y, in degrees (kind 0) or projected."""
    standard, unit = str(each.attrs.get("standard_name", "")), str(each.attrs.get("units", "")).lower()
    if standard:
        return standard == _STANDARD[kind][axis]
    if kind == 0 and unit.startswith("degree") and unit.endswith((_UNITS[axis], f"_{_UNITS[axis][0]}")):
        return True
    return str(name).lower() in _NAMES[kind][axis].split()


def _crs_of(image: DataArray | Dataset) -> CRS | None:
    try:
        return parse_crs(image.rio.crs)
    except (RioXarrayError, ValueError, RuntimeError):  # several, or none that can be read
        return None


def array_dims(image: DataArray | Dataset) -> tuple[Hashable, Hashable] | None:
    """Row and column dimensions of the geolocation arrays, in their order."""
    names = find_arrays(image)
    if names is None:
        return None
    rows, cols = (dim for dim in image[names[0]].dims if image.sizes[dim] > 1)
    return rows, cols


def coordinate_ground(image: DataArray | Dataset, dims: tuple[Hashable, Hashable]) -> GeolocationGround | None:
    """Ground of an image by its own two-dimensional coordinates; these are computed where they are lazy."""
    names = find_arrays(image)
    crs = _crs_of(image)
    if names is None or not set(dims) <= set(image[names[0]].dims):
        return None
    arrays = [_decoded(image[name]) for name in names]
    if _is(image[names[0]], names[0], 0, 0) and crs is not None and not crs.is_geographic:
        crs = crs.geodetic_crs  # of the same datum
    x, y = (each.transpose(..., *dims).values.reshape(tuple(image.sizes[dim] for dim in dims)) for each in arrays)
    return GeolocationGround(x, y, crs)


def _decoded(array: DataArray) -> DataArray:
    """Coordinates as numbers, with NaN where they are missing."""
    variable: Variable = decode_cf_variable(array.name, array.variable, decode_times=False)
    return DataArray(variable.astype(np.float64))


def domain_ground(source: Any) -> GeolocationGround:
    """Ground of a file by its metadata domain GEOLOCATION, as GDAL reads it."""
    with open_gdal(source) as file:
        tags = file.tags(ns="GEOLOCATION")
    x, y = (_band(source, tags, axis) for axis in "XY")
    if 1 in x.shape and 1 in y.shape:  # of regular grids one-dimensional arrays may stand there
        x, y = np.meshgrid(x.ravel(), y.ravel())
    step = float(tags.get("PIXEL_STEP", 1)), float(tags.get("LINE_STEP", 1))
    # GDAL counts pixels from corners; a node is the corner of a pixel, or the centre of a mesh.
    centred = 0.5 if tags.get("GEOREFERENCING_CONVENTION") == "PIXEL_CENTER" else 0.0
    offset = float(tags.get("PIXEL_OFFSET", 0)), float(tags.get("LINE_OFFSET", 0))
    first = (offset[0] + centred * step[0] - 0.5, offset[1] + centred * step[1] - 0.5)
    return GeolocationGround(x, y, parse_crs(tags.get("SRS") or None), first, step)


def _band(source: Any, tags: dict[str, str], axis: str) -> Floats:
    """Read one of the arrays: NaN where it is masked."""
    path = tags.get(f"{axis}_DATASET") or str(source)
    beside = Path(str(source)).parent / path
    number = int(tags.get(f"{axis}_BAND", 1))
    with open_gdal(beside if beside.is_file() else path) as file:
        values = file.read(number, masked=True).astype(np.float64).filled(np.nan)
        return np.asarray(values * file.scales[number - 1] + file.offsets[number - 1])
