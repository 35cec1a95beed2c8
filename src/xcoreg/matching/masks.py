"""Masks of the options `where` and `ref_where`, made of rasters, polygons, files or functions."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import shapely
from xarray import DataArray

from xcoreg.core import Floats
from xcoreg.csv_files import read_vectors
from xcoreg.errors import OptionError
from xcoreg.files import read_json
from xcoreg.georef import same_crs, transform_points, wrap_longitude
from xcoreg.georef.transform import map_to_grid
from xcoreg.io.read import open_raster
from xcoreg.masks import read_quality
from xcoreg.raster.footprint import carry_to_crs
from xcoreg.raster.nodata import stored_nodata
from xcoreg.raster.raster import Raster, make_raster

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox


#: Suffixes of vector files; any other file is a raster.
VECTOR_SUFFIXES = {".geojson", ".json", ".gpkg", ".shp", ".parquet", ".fgb", ".kml", ".gml"}


@dataclass(frozen=True, eq=False)
class Where:
    """Places where an image may be used; made by :func:`inside` and :func:`outside`.

    places : Whatever `where` may be.
    crs : Of a bare geometry, and of the positions passed to a function.
    inverted : Use the image everywhere else instead.
    """

    places: Any
    crs: Any = None
    inverted: bool = False

    def __repr__(self) -> str:
        name = "outside" if self.inverted else "inside"
        places = repr(str(self.places)) if isinstance(self.places, str | Path) else type(self.places).__name__
        return f"{name}({places})" if self.crs is None else f"{name}({places}, crs={str(self.crs)!r})"


def inside(places: Any, crs: Any = None) -> Where:
    """Use an image only here: for `where` and `ref_where`.

    Parameters
    ----------
    places : DataArray, shapely geometry, GeoDataFrame, GeoSeries, path of a raster or vector file, or callable
        Of a raster, pixels that are neither zero nor nodata; of a function of (x, y), positions for which it is true.
    crs : CRS in any spelling, optional
        Of a bare geometry or function; default: that of the image.

    Returns
    -------
    Where

    Examples
    --------
    >>> inside(shapely.box(7.9, 46.4, 8.1, 46.6), crs="EPSG:4326")
    inside(Polygon, crs='EPSG:4326')
    """
    return Where(places, crs)


def outside(places: Any, crs: Any = None) -> Where:
    """Use an image everywhere but here, as with glaciers, lakes or clouds: for `where` and `ref_where`.

    Parameters
    ----------
    places, crs
        As for :func:`inside`. Beyond the edges of a raster, and where it holds nodata, an image is used.

    Returns
    -------
    Where

    Examples
    --------
    >>> outside("glaciers.gpkg")
    outside('glaciers.gpkg')
    """
    return Where(places, crs, inverted=True)


def union_of(geometries: Any) -> shapely.Geometry:
    """Unite geometries and repair invalid ones; missing and empty ones are left out."""
    known = np.array([one for one in geometries if one is not None and not one.is_empty], dtype=object)
    if not np.isfinite(shapely.get_coordinates(known)).all():
        raise OptionError("the polygons have coordinates that are infinite or no numbers: correct them")
    try:
        return shapely.union_all(np.where(shapely.is_valid(known), known, shapely.make_valid(known)))
    except shapely.errors.GEOSException as error:
        raise OptionError(f"the polygons cannot be united: {error}; correct their coordinates") from error


def is_vector(path: str | os.PathLike[str]) -> bool:
    """Whether a path names a vector file, by its suffix."""
    return Path(path).suffix.lower() in VECTOR_SUFFIXES


def read_polygons(path: str | os.PathLike[str], name: str = "where") -> tuple[shapely.Geometry, Any]:
    """Read a vector file as one geometry with its CRS."""
    file = Path(path)
    if not file.is_file():
        raise OptionError(f"{name}: there is no file {file}")
    geometries, crs = _geojson(file) if file.suffix.lower() in {".json", ".geojson"} else _vectors(file)
    whole = union_of(geometries)
    if whole.is_empty:
        raise OptionError(f"{name}: {file} holds no geometry")
    return whole, crs


def _geojson(path: Path) -> tuple[list[Any], Any]:
    """Geometries and CRS of a GeoJSON file, read without geopandas."""
    try:
        data = read_json(path)
        features = data["features"] if data["type"] == "FeatureCollection" else [data]
        shapes = [one["geometry"] if one["type"] == "Feature" else one for one in features]
        found = [shapely.geometry.shape(one) for one in shapes if one is not None]
        # RFC 7946 allows longitude and latitude only; older files name their CRS.
        crs = data.get("crs", {}).get("properties", {}).get("name", "EPSG:4326")
    except (ValueError, KeyError, TypeError, AttributeError, shapely.errors.ShapelyError) as error:
        raise OptionError(f"{path} is not GeoJSON: {error}") from error
    return found, crs


def _vectors(path: Path) -> tuple[list[Any], Any]:
    table = read_vectors(path)
    return list(table.geometry), table.crs


def read_footprint(text: str | os.PathLike[str], crs: Any, name: str = "footprint") -> shapely.Geometry:
    """Read the valid area of an image, as WKT in its CRS or from a vector file in any CRS."""
    if is_vector(text):
        found, own = read_polygons(text, name)
        return found if crs is None or own is None or same_crs(own, crs) else carry_to_crs(found, own, crs)
    try:
        return shapely.from_wkt(str(text))
    except shapely.errors.ShapelyError as error:
        suffixes = ", ".join(sorted(VECTOR_SUFFIXES))
        raise OptionError(
            f"{name}={str(text)[:60]!r} is neither WKT such as 'POLYGON ((...))' nor a vector file ({suffixes})"
        ) from error


def read_mask(path: str | os.PathLike[str], name: str = "where") -> Where | DataArray:
    """Open what a path given as `where` names: polygons, the first band of a raster, or a quality layer."""
    quality = read_quality(str(path))
    if quality is not None:
        return quality
    if is_vector(path):
        return Where(*read_polygons(path, name))
    return cast("DataArray", open_raster(path, band=1))


#: Whether positions (x, y) may be used, arrays of one shape.
Mask = Callable[[Any, Any], Any]

# Pixels are read one by one where fewer than one in so many of a box is needed: a mask may cover a whole scene.
_SPARSE = 1000


def as_mask(where: Any, crs: Any, name: str = "where", grid: GeoBox | None = None) -> Mask | None:
    """Make a function of map positions of what a user passes as `where`; `crs` is that of the positions.

    grid : Of the image, on whose pixels a numpy array lies.
    """
    if where is None:
        return None
    if isinstance(where, str | os.PathLike):
        where = read_mask(where, name)
    if isinstance(where, Where):
        return _where_mask(where, crs, name, grid)
    if isinstance(where, DataArray):
        return _raster_mask(where, crs, name)
    if isinstance(where, np.ndarray):
        return _array_mask(where, crs, name, grid)
    if isinstance(where, shapely.Geometry):
        srid = int(shapely.get_srid(where))
        own = f"EPSG:{srid}" if srid else crs
        return mask_in_crs(_polygon_mask(where, own), own, crs)
    if hasattr(where, "geometry") and hasattr(where, "to_crs"):
        own = crs if where.crs is None else where.crs
        return mask_in_crs(_polygon_mask(union_of(where.geometry), own), own, crs)
    if callable(where):
        return lambda x, y: np.asarray(where(x, y), bool)
    kinds = "a DataArray, a shapely geometry, a GeoDataFrame, an array on its pixels, a path, or a function of x and y"
    raise OptionError(f"{name} is a {type(where).__name__}: give {kinds}")


def _where_mask(where: Where, crs: Any, name: str, grid: GeoBox | None) -> Mask:
    """Mask of what :func:`inside` and :func:`outside` return."""
    bare = where.crs is not None and (callable(where.places) or getattr(where.places, "crs", None) is None)
    bare &= not isinstance(where.places, str | os.PathLike | DataArray | Where)
    mask = as_mask(where.places, where.crs if bare else crs, name, grid)
    if mask is None:
        raise OptionError(f"{name} is {where!r}: give places")
    found = mask_in_crs(mask, where.crs, crs) if bare else mask
    return (lambda x, y: ~found(x, y)) if where.inverted else found


def mask_in_crs(mask: Mask, own: Any, crs: Any) -> Mask:
    """Mask of positions in `crs` from one of positions in its own CRS, in which edges of polygons stay straight."""
    if crs is None or own is None or same_crs(crs, own):
        return mask

    def transformed(x: Any, y: Any) -> Any:
        x, y = np.broadcast_arrays(np.asarray(x, np.float64), np.asarray(y, np.float64))
        own_xy = transform_points(crs, own, x.ravel(), y.ravel())
        return mask(*(part.reshape(x.shape) for part in own_xy))

    return transformed


def both_masks(first: Mask, second: Mask) -> Mask:
    """Mask of positions that both masks allow."""
    return lambda x, y: first(x, y) & second(x, y)


def _polygon_mask(polygon: shapely.Geometry, crs: Any) -> Mask:
    if polygon.is_empty:
        return lambda x, y: np.zeros(np.broadcast_shapes(np.shape(x), np.shape(y)), bool)
    shapely.prepare(polygon)
    middle = (polygon.bounds[0] + polygon.bounds[2]) / 2
    return lambda x, y: np.asarray(shapely.contains_xy(polygon, wrap_longitude(crs, x, middle), y), bool)


def _array_mask(where: NDArray[Any], crs: Any, name: str, grid: GeoBox | None) -> Mask:
    shape = (0, 0) if grid is None else (int(grid.shape[0]), int(grid.shape[1]))
    values = where.reshape(where.shape[-2:]) if where.ndim > 2 and where.size == np.prod(where.shape[-2:]) else where
    if grid is None or values.shape != shape or values.dtype.kind not in "biuf":
        on = "an array cannot be placed here" if grid is None else f"the image has {shape[0]} x {shape[1]} pixels"
        raise OptionError(f"{name} is an array {where.shape} of {where.dtype}, {on}: give numbers or bool per pixel")
    good = np.nan_to_num(values).astype(bool)

    def mask(x: Floats, y: Floats) -> NDArray[np.bool_]:
        x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
        cols, rows = (np.rint(part).reshape(x.shape) for part in map_to_grid(crs, grid, x.ravel(), y.ravel()))
        inside = (rows >= 0) & (rows < good.shape[0]) & (cols >= 0) & (cols < good.shape[1])
        out = np.zeros(x.shape, bool)
        out[inside] = good[rows[inside].astype(np.intp), cols[inside].astype(np.intp)]
        return out

    return mask


def _raster_mask(where: DataArray, crs: Any, name: str) -> Mask:
    stored = stored_nodata(where)
    # No search in the corners: a mask that is true in all of them would be empty.
    marker = np.nan if stored is None else stored
    raster = make_raster(where.astype(np.uint8) if where.dtype == bool else where, nodata=marker, name=name)

    def mask(x: Floats, y: Floats) -> NDArray[np.bool_]:
        x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
        cols, rows = map_to_grid(crs, raster.grid, x.ravel(), y.ravel())
        return _nearest(raster, np.rint(rows), np.rint(cols)).reshape(x.shape)

    return mask


def _nearest(raster: Raster, rows: Floats, cols: Floats) -> NDArray[np.bool_]:
    """Whether pixels are valid and not zero; False outside the image."""
    height, width = raster.shape
    inside = (rows >= 0) & (rows < height) & (cols >= 0) & (cols < width)
    out = np.zeros(rows.shape, bool)
    if inside.any():
        r, c = rows[inside].astype(np.intp), cols[inside].astype(np.intp)
        read = _read_pixels if np.ptp(r) * np.ptp(c) > _SPARSE * r.size else _read_box
        out[inside] = read(raster, r, c)
    return out


def _read_box(raster: Raster, rows: NDArray[np.intp], cols: NDArray[np.intp]) -> NDArray[np.bool_]:
    values, valid = raster.read(rows.min(), rows.max() + 1, cols.min(), cols.max() + 1)
    r, c = rows - rows.min(), cols - cols.min()
    return np.asarray(valid[r, c] & (values[r, c] != 0))


def _read_pixels(raster: Raster, rows: NDArray[np.intp], cols: NDArray[np.intp]) -> NDArray[np.bool_]:
    read = raster.read_many((r, r + 1, c, c + 1) for r, c in zip(rows.tolist(), cols.tolist(), strict=True))
    return np.array([valid[0, 0] and values[0, 0] != 0 for values, valid in read], bool)
