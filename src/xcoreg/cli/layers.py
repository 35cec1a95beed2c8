"""Polygons to files that a GIS opens: one GeoPackage, or GeoJSON where the extra `vector` is not installed."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xcoreg.cli.inputs import brought_to

if TYPE_CHECKING:
    from shapely import Geometry

__all__ = ["Layer", "write_layers"]


@dataclass(frozen=True)
class Layer:
    """Features of one kind.

    Parameters
    ----------
    name : str
        Of the layer or file.
    geometries : list of shapely geometries
    columns : dict of lists
        One value per geometry.
    """

    name: str
    geometries: list[Geometry]
    columns: dict[str, list[Any]] = field(default_factory=dict)


def write_layers(folder: Path, layers: list[Layer], crs: Any) -> list[Path]:
    """Write polygons into a folder.

    Parameters
    ----------
    folder : Path
        Exists.
    layers : list of Layer
    crs : CRS
        Of all geometries. GeoJSON holds longitude and latitude, as RFC 7946 demands.

    Returns
    -------
    list of Path
        What was written: `debug.gpkg`, or one GeoJSON file per layer.
    """
    if importlib.util.find_spec("geopandas") is None:
        return [_write_geojson(folder / f"{layer.name}.geojson", layer, crs) for layer in layers]
    return [_write_geopackage(folder / "debug.gpkg", layers, crs)]


def _write_geopackage(path: Path, layers: list[Layer], crs: Any) -> Path:
    import geopandas as gpd

    from xcoreg.files import replacing

    with replacing(path) as temporary:
        for layer in layers:
            table = gpd.GeoDataFrame(layer.columns, geometry=layer.geometries, crs=crs)
            table.to_file(temporary, layer=layer.name, driver="GPKG", engine="pyogrio")
    return path


def _write_geojson(path: Path, layer: Layer, crs: Any) -> Path:
    import shapely

    from xcoreg.files import replacing

    features = []
    for i, geometry in enumerate(layer.geometries):
        shown = json.loads(shapely.to_geojson(brought_to(geometry, crs, "EPSG:4326")))
        values = {name: column[i] for name, column in layer.columns.items()}
        features.append({"type": "Feature", "properties": values, "geometry": shown})
    with replacing(path) as temporary:
        temporary.write_text(json.dumps({"type": "FeatureCollection", "features": features}), encoding="utf-8")
    return path
