"""Grid of an image: shape, transform and CRS, from its coordinates and its grid mapping."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox
from rioxarray.exceptions import RioXarrayError
from xarray import DataArray, Dataset

from xcoreg.errors import NotGeoreferenced, OptionError
from xcoreg.files import open_gdal
from xcoreg.georef import as_crs
from xcoreg.raster.bands import Image, pick_variable, spatial_dims
from xcoreg.raster.geolocation import find_arrays

if TYPE_CHECKING:
    from collections.abc import Hashable

    from numpy.typing import NDArray
    from pyproj import CRS


def grid_of(image: Image, name: str = "target", dims: tuple[Hashable, Hashable] | None = None) -> GeoBox:
    """Grid of an image: CRS, affine and shape; rotated, south-up and lon/lat ones included."""
    dims = dims or spatial_dims(image, name)
    if isinstance(image, Dataset):
        image, _ = pick_variable(image, None, name)
    shape = (image.sizes[dims[0]], image.sizes[dims[1]])
    affine = _transform_of(image, dims, name)
    return GeoBox(shape, affine, _parse_wkt(_crs_of(image, name)))


@lru_cache(maxsize=128)
def _parse_wkt(wkt: str) -> CRS:
    return as_crs(wkt)


def georeferenced_by(image: Image) -> str | None:
    """Georeference of an image other than a transform: control points, geolocation arrays or RPCs."""
    band, _ = pick_variable(image, None, "the image")
    if "gcps" in _grid_mapping_attrs(band):
        return "ground control points"
    return "geolocation arrays" if find_arrays(image) is not None else _file_georeference(band.encoding.get("source"))


def needs_rectifying(image: Any) -> bool:
    """Whether an image is georeferenced, but not by a transform; False for what is not an image."""
    if not isinstance(image, DataArray | Dataset):
        return False
    try:
        grid_of(image, "the image")
    except NotGeoreferenced:
        return georeferenced_by(image) is not None
    return False


def _file_georeference(source: object) -> str | None:
    if not isinstance(source, str) or not source:
        return None
    try:
        with open_gdal(source) as file:
            return "geolocation arrays" if file.tags(ns="GEOLOCATION") else None if file.rpcs is None else "RPCs"
    except OptionError:
        return None


def _crs_of(image: Image, name: str) -> str:
    try:
        crs = image.rio.crs
    except Exception as error:  # rioxarray lets through whatever its parsers raise
        raise OptionError(f"the CRS of {name} cannot be read ({error}): set it with da.rio.write_crs(...)") from error
    if crs is None or not crs.to_wkt():
        raise NotGeoreferenced(f"{name} has no CRS: set it with da.rio.write_crs('EPSG:...') first")
    return str(crs.to_wkt())


def _transform_of(image: Image, dims: tuple[Hashable, Hashable], name: str) -> Affine:
    stored = _stored_transform(image)
    affine: Affine | None
    if stored is not None and (stored.b or stored.d):
        affine = _from_2d_coordinates(image, dims) or stored
    else:
        affine = _from_coordinates(image, dims, stored, name)
    if affine is None or affine == Affine.identity():
        other = georeferenced_by(image)
        cure = f", only {other}: rectify it first, da.coreg.rectify(crs=ref.rio.crs)" if other else ""
        raise NotGeoreferenced(
            f"{name} has no transform{cure or ': set it with da.rio.write_transform(affine) or give it x and y'}"
        )
    numbers = tuple(affine)[:6]
    if not all(map(math.isfinite, numbers)) or abs(affine.a * affine.e - affine.b * affine.d) == 0:
        raise NotGeoreferenced(f"{name} has a transform that cannot be inverted: {numbers}")
    return affine


def _grid_mapping_attrs(image: Image) -> dict[str, object]:
    try:
        mapping = image.rio.grid_mapping
    except RioXarrayError:  # a Dataset with several
        return {}
    return dict(image.coords[mapping].attrs) if mapping in image.coords else {}


def _stored_transform(image: Image) -> Affine | None:
    text = _grid_mapping_attrs(image).get("GeoTransform")
    try:
        numbers = [float(part) for part in str(text).split()] if text is not None else []
    except ValueError:
        return None
    return Affine.from_gdal(*numbers) if len(numbers) == 6 else None


def _from_2d_coordinates(image: Image, dims: tuple[Hashable, Hashable]) -> Affine | None:
    """Affine of a rotated image from the xc, yc that rioxarray writes; they survive slicing, its attribute does not."""
    if not all(coord in image.coords and image.coords[coord].dims == dims for coord in ("xc", "yc")):
        return None
    if min(image.sizes[dim] for dim in dims) < 2:
        return None
    corner = {dims[0]: slice(0, 2), dims[1]: slice(0, 2)}
    x, y = (np.asarray(image.coords[coord].isel(corner).values, np.float64) for coord in ("xc", "yc"))
    a, b, d, e = x[0, 1] - x[0, 0], x[1, 0] - x[0, 0], y[0, 1] - y[0, 0], y[1, 0] - y[0, 0]
    return Affine(*map(float, (a, b, x[0, 0] - (a + b) / 2, d, e, y[0, 0] - (d + e) / 2)))


def _from_coordinates(image: Image, dims: tuple[Hashable, Hashable], stored: Affine | None, name: str) -> Affine | None:
    y_dim, x_dim = dims
    x = _axis(image, x_dim, stored.a if stored is not None else None, name)
    y = _axis(image, y_dim, stored.e if stored is not None else None, name)
    if x is None or y is None:
        return stored
    found = Affine(x[1], 0.0, x[0], 0.0, y[1], y[0])
    return found if stored is None or _differ(found, stored, image, dims, (x[2], y[2])) else stored


def _differ(
    found: Affine, stored: Affine, image: Image, dims: tuple[Hashable, Hashable], tolerance: tuple[float, float]
) -> bool:
    """Whether the stored transform is stale; if it is not, it has more digits than differences of coordinates."""
    rows, cols = image.sizes[dims[0]], image.sizes[dims[1]]
    x = (found.c - stored.c, found.c + found.a * cols - stored.c - stored.a * cols)
    y = (found.f - stored.f, found.f + found.e * rows - stored.f - stored.e * rows)
    return bool(max(map(abs, x)) > tolerance[0] or max(map(abs, y)) > tolerance[1])


def _axis(image: Image, dim: Hashable, stored_step: float | None, name: str) -> tuple[float, float, float] | None:
    """First edge, step and tolerance (all CRS units) of a dimension's coordinate, or None without one."""
    if dim not in image.coords or image.coords[dim].dims != (dim,):
        return None
    raw = image.coords[dim].values
    if not np.issubdtype(raw.dtype, np.number):
        raise NotGeoreferenced(f"{name} has coordinates {dim!r} that are not numbers")
    centres = raw.astype(np.float64)
    step = stored_step if centres.size == 1 else float((centres[-1] - centres[0]) / (centres.size - 1))
    if not step:
        return None
    grain = float(np.abs(centres).max()) * _epsilon(raw)
    _check_even(centres, step, 2 * grain, f"{dim!r} of {name}")
    return float(centres[0] - step / 2), step, max(1e-4 * abs(step), 4 * grain)


def _epsilon(raw: NDArray[Any]) -> float:
    return float(np.finfo(raw.dtype).eps) if raw.dtype.kind == "f" else 0.0


def _check_even(centres: NDArray[np.float64], step: float, grain: float, what: str) -> None:
    worst = float(np.abs(np.diff(centres) - step).max(initial=0.0))
    if not worst <= 0.01 * abs(step) + grain:
        raise NotGeoreferenced(f"the coordinates {what} are not evenly spaced: interpolate them first (da.interp)")


_MOST_CHOSEN, _MOST_IN_MEMORY, _MOST = 1e8, 1e9, 1e12  # pixels of an output
_LONGEST = 1e8  # pixels along a side, whose coordinates are made at once
_TIMES = 100  # as many pixels as the image has are never too many


def check_size(
    shape: tuple[int, int], source: tuple[int, int] = (0, 0), *, asked: bool = False, lazy: bool = False
) -> None:
    """Refuse an output (rows, columns) of absurd size before anything of it is made.

    asked : Whether the grid or the pixel size was asked for, not chosen by the georeference.
    lazy : Whether pixels are made in chunks.
    """
    n, own = float(shape[0]) * shape[1], float(source[0]) * source[1]
    most = max(_MOST_CHOSEN if not asked else _MOST if lazy else _MOST_IN_MEMORY, _TIMES * own)
    if n > most or max(shape) > _LONGEST:
        beside = f", {n / own:.1e} times those of the image" if own else ""
        chunks = "" if lazy else f"; a grid that is asked for, of chunks (image.chunk()), may have {_MOST:.0e}"
        raise OptionError(
            f"the output would have {shape[0]} x {shape[1]} pixels{beside}, and {most:.1e} are the most: check the "
            f"georeference, or give a larger resolution= or a grid like={chunks}"
        )
