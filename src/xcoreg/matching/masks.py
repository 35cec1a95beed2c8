"""`where`: rasters, outlines and functions that say which places may be used.

Outlines of places: read from vector files, told their CRS, turned inside out.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from xarray import DataArray

from xcoreg.core.arrays import Floats
from xcoreg.errors import OptionError, require
from xcoreg.georef import map_to_pixel, same_crs, transform_points, wrap_longitude
from xcoreg.io.read import open_raster
from xcoreg.raster.grid import middle_of
from xcoreg.raster.nodata import stored_nodata
from xcoreg.raster.raster import Raster, make_raster

if TYPE_CHECKING:
    from numpy.typing import NDArray


#: Of files that hold outlines; anything else is a raster.
VECTOR_SUFFIXES = {".geojson", ".json", ".gpkg", ".shp", ".parquet", ".fgb", ".kml", ".gml"}


@dataclass(frozen=True, eq=False)
class Where:
    """Places, and whether these or all others are meant; made by :func:`inside` and :func:`outside`.

    places : Whatever `where` may be.
    crs : Of a bare geometry, and of the positions a function is asked about.
    inverted : All other places are meant.
    """

    places: Any
    crs: Any = None
    inverted: bool = False

    def __repr__(self) -> str:
        name = "outside" if self.inverted else "inside"
        told = repr(str(self.places)) if isinstance(self.places, str | Path) else type(self.places).__name__
        return f"{name}({told})" if self.crs is None else f"{name}({told}, crs={str(self.crs)!r})"


def inside(places: Any, crs: Any = None) -> Where:
    """Use an image only here: for `where` and `ref_where`.

    Parameters
    ----------
    places : DataArray, shapely geometry, GeoDataFrame, GeoSeries, path of a raster or vector file, or callable
        A raster means the pixels that are neither zero nor nodata, a function (x, y) what it is true for.
    crs : CRS in any spelling, optional
        Of a bare geometry or function, where that is not the CRS of the image.

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


def is_vector(path: str | os.PathLike[str]) -> bool:
    """Tell whether a path is that of outlines, by its suffix."""
    return Path(path).suffix.lower() in VECTOR_SUFFIXES


def united(geometries: Any) -> shapely.Geometry:
    """Unite geometries, mending those that are not valid; missing and empty ones are left out."""
    known = np.array([one for one in geometries if one is not None and not one.is_empty], dtype=object)
    return shapely.union_all(np.where(shapely.is_valid(known), known, shapely.make_valid(known)))


def read_outlines(path: str | os.PathLike[str], name: str = "where") -> tuple[shapely.Geometry, Any]:
    """Read the outlines of a vector file as one geometry."""
    file = Path(path)
    if not file.is_file():
        raise OptionError(f"{name}: there is no file {file}")
    geometries, crs = _geojson(file) if file.suffix.lower() in {".json", ".geojson"} else _vectors(file)
    whole = united(geometries)
    if whole.is_empty:
        raise OptionError(f"{name}: {file} holds no geometry")
    return whole, crs


def _geojson(path: Path) -> tuple[list[Any], Any]:
    """Geometries and CRS of a GeoJSON file, for which the base install suffices."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        features = data["features"] if data["type"] == "FeatureCollection" else [data]
        shapes = [one["geometry"] if one["type"] == "Feature" else one for one in features]
        found = [shapely.geometry.shape(one) for one in shapes if one is not None]
    except (ValueError, KeyError, TypeError, AttributeError, shapely.errors.ShapelyError) as error:
        raise OptionError(f"{path} is not GeoJSON: {error}") from error
    # RFC 7946 knows longitude and latitude alone; older files name their CRS.
    return found, data.get("crs", {}).get("properties", {}).get("name", "EPSG:4326")


def _vectors(path: Path) -> tuple[list[Any], Any]:
    gpd = require("geopandas", extra="vector")
    try:
        table = gpd.read_parquet(path) if path.suffix.lower() == ".parquet" else gpd.read_file(path)
    except Exception as error:  # each reader below raises errors of its own family
        raise OptionError(f"{path} is not a vector file that can be read: {error}") from error
    return list(table.geometry), table.crs


Mask = Callable[[Any, Any], Any]

# Positions of which fewer than one in so many pixels is asked for are read one by one: a mask may be a whole scene.
_SPARSE = 1000


def as_mask(where: Any, crs: Any, name: str = "where") -> Mask | None:
    """Turn what a user passes as `where` into a function of map positions."""
    if where is None:
        return None
    if isinstance(where, Where):
        return _turned(where, crs, name)
    if isinstance(where, str | os.PathLike):
        return _file_mask(where, crs, name)
    if isinstance(where, DataArray):
        return _raster_mask(where, crs, name)
    if isinstance(where, shapely.Geometry):
        srid = int(shapely.get_srid(where))
        return _seen_from(crs, f"EPSG:{srid}" if srid else crs, _outline_mask(where, f"EPSG:{srid}" if srid else crs))
    if hasattr(where, "geometry") and hasattr(where, "to_crs"):
        own = crs if where.crs is None else where.crs
        return _seen_from(crs, own, _outline_mask(united(where.geometry), own))
    if callable(where):
        return lambda x, y: np.asarray(where(x, y), bool)
    kinds = "a DataArray, a shapely geometry, a GeoDataFrame, the path of a file, or a function of x and y"
    raise OptionError(f"{name} is a {type(where).__name__}: give {kinds}")


def _turned(where: Where, crs: Any, name: str) -> Mask:
    """Mask of what `inside` or `outside` were told."""
    bare = where.crs is not None and (callable(where.places) or getattr(where.places, "crs", None) is None)
    bare &= not isinstance(where.places, str | os.PathLike | DataArray | Where)
    mask = as_mask(where.places, where.crs if bare else crs, name)
    if mask is None:
        raise OptionError(f"{name} is {where!r}: tell the places")
    seen = _seen_from(crs, where.crs, mask) if bare else mask
    return (lambda x, y: ~seen(x, y)) if where.inverted else seen


def _file_mask(path: str | os.PathLike[str], crs: Any, name: str) -> Mask:
    if is_vector(path):
        outline, own = read_outlines(path, name)
        own = crs if own is None else own
        return _seen_from(crs, own, _outline_mask(outline, own))

    return _raster_mask(open_raster(path, band=1), crs, name)


def _seen_from(crs: Any, own: Any, mask: Mask) -> Mask:
    """Let a mask of positions in its own CRS be asked about positions in another one: its edges stay straight."""
    if crs is None or own is None or same_crs(crs, own):
        return mask

    def asked(x: Any, y: Any) -> Any:
        x, y = np.broadcast_arrays(np.asarray(x, np.float64), np.asarray(y, np.float64))
        there = transform_points(crs, own, x.ravel(), y.ravel())
        return mask(*(part.reshape(x.shape) for part in there))

    return asked


def _outline_mask(outline: shapely.Geometry, crs: Any) -> Mask:
    if outline.is_empty:
        return lambda x, y: np.zeros(np.broadcast_shapes(np.shape(x), np.shape(y)), bool)
    shapely.prepare(outline)
    middle = (outline.bounds[0] + outline.bounds[2]) / 2
    return lambda x, y: np.asarray(shapely.contains_xy(outline, wrap_longitude(crs, x, middle), y), bool)


def _raster_mask(where: DataArray, crs: Any, name: str) -> Mask:
    stored = stored_nodata(where)
    # Never from the corners: a mask that is true in all of them would be empty.
    marker = np.nan if stored is None else stored
    raster = make_raster(where.astype(np.uint8) if where.dtype == bool else where, nodata=marker, name=name)

    def mask(x: Floats, y: Floats) -> NDArray[np.bool_]:
        x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
        own_x, own_y = transform_points(crs, raster.grid.crs, x.ravel(), y.ravel(), near=middle_of(raster.grid))
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
