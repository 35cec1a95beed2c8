"""Outlines of places: read from vector files, told their CRS, turned inside out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from xcoreg.errors import OptionError, require

if TYPE_CHECKING:
    import os

__all__ = ["VECTOR_SUFFIXES", "Where", "inside", "is_vector", "outside", "read_outlines", "united"]

#: Of files that hold outlines; anything else is a raster.
VECTOR_SUFFIXES = {".geojson", ".json", ".gpkg", ".shp", ".parquet", ".fgb", ".kml", ".gml"}


@dataclass(frozen=True, eq=False)
class Where:
    """Places, and whether these or all others are meant; made by :func:`inside` and :func:`outside`.

    Parameters
    ----------
    places : optional
        Whatever `where` may be.
    crs : CRS in any spelling, optional
        Of a bare geometry, and of the positions a function is asked about.
    inverted : bool
        All other places are meant.
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
    """Tell whether a path is that of outlines, by its suffix.

    Examples
    --------
    >>> is_vector("glaciers.gpkg"), is_vector("stable.tif")
    (True, False)
    """
    return Path(path).suffix.lower() in VECTOR_SUFFIXES


def united(geometries: Any) -> shapely.Geometry:
    """Unite geometries, mending those that are not valid; missing and empty ones are left out.

    Parameters
    ----------
    geometries : iterable of shapely geometry or None

    Returns
    -------
    shapely geometry
        Empty when there is none.

    Examples
    --------
    >>> united([shapely.box(0, 0, 1, 1), None, shapely.box(1, 0, 2, 1)]).area
    2.0
    """
    known = np.array([one for one in geometries if one is not None and not one.is_empty], dtype=object)
    return shapely.union_all(np.where(shapely.is_valid(known), known, shapely.make_valid(known)))


def read_outlines(path: str | os.PathLike[str], name: str = "where") -> tuple[shapely.Geometry, Any]:
    """Read the outlines of a vector file as one geometry.

    Parameters
    ----------
    path : str or path
        GeoJSON, which the base install reads, or another format of :data:`VECTOR_SUFFIXES`.
    name : str
        What messages call it.

    Returns
    -------
    geometry : shapely geometry
    crs : CRS in some spelling, or None
        None when the file does not tell.

    Raises
    ------
    OptionError
        When there is no such file, it cannot be read, or holds no geometry.
    MissingDependency
        When the extra `vector` is needed and not installed.
    """
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
