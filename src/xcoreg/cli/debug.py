"""What --debug writes: footprints, overlap and windows as vectors, and figures of what the matcher compared."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
import shapely
from shapely import Geometry

from xcoreg.cli.options import make_folder
from xcoreg.core.matches import encode_column
from xcoreg.errors import MissingDependency, NoOverlap, require
from xcoreg.files import replacing
from xcoreg.georef import as_crs, epsg_of, pixel_to_map
from xcoreg.matching.options import Options, check_options
from xcoreg.matching.scene import Scene, prepare
from xcoreg.plot import save_figure
from xcoreg.plot.windows import best_windows, draw_window, see
from xcoreg.raster.footprint import carry_to_crs, footprint
from xcoreg.raster.raster import Raster, make_raster
from xcoreg.results.tables import check_suffix
from xcoreg.results.tiepoints import TiePoints

_FIGURES = 4  # windows that are plotted


def write_debug(folder: str, images: tuple[Any, Any], options: dict[str, Any], points: Any) -> list[Path]:
    """Write footprints, overlap and windows of reference and target, and figures of the best windows; return the files.

    Without matplotlib there are no figures, without overlap there are footprints alone.
    """
    path = Path(folder)
    make_folder(path, "--debug")
    checked = check_options(options)
    try:
        scene = prepare(images[1], images[0], checked)
    except NoOverlap:
        return _write_footprints(path, images, checked)
    written = write_layers(path, _layers(scene, points), scene.target.grid.crs)
    if points is not None and len(points):
        written += _plot_windows(path, scene, points, options.get("contrast", "same"))
    return written


def _write_footprints(folder: Path, images: tuple[Any, Any], options: Options) -> list[Path]:
    """Write the footprints of two images that do not overlap."""
    ref = make_raster(images[0], band=options.ref_band, nodata=options.ref_nodata, name="reference")
    tgt = make_raster(images[1], band=options.band, nodata=options.nodata, name="target")
    crs = tgt.grid.crs
    footprints = {"reference": carry_to_crs(footprint(ref), ref.grid.crs, crs), "target": footprint(tgt)}
    # A place on the other side of the Earth may have no position in the CRS of the target.
    layers = [Layer(f"footprint_{name}", [one]) for name, one in footprints.items() if not one.is_empty]
    return write_layers(folder, layers, crs)


def _layers(scene: Scene, points: TiePoints | None) -> list[Layer]:
    """Polygons in the CRS of the target."""
    tgt, ref = scene.footprints
    ref = carry_to_crs(ref, scene.reference.grid.crs, scene.target.grid.crs)
    polygons = {"footprint_reference": ref, "footprint_target": tgt, "overlap": scene.overlap}
    layers = [Layer(name, [polygon]) for name, polygon in polygons.items()]
    if points is not None and len(points):
        squares = [shapely.Polygon(_square(scene.target, points, i)) for i in range(len(points))]
        names = ("window", "x", "y", "dx", "dy", "dcol", "drow", "score", "reliability", "status")
        table = points.to_dataframe()
        layers.append(Layer("windows", squares, {name: encode_column(table[name].to_numpy()) for name in names}))
    return layers


def _square(tgt: Raster, points: TiePoints, i: int) -> Any:
    half = float(points.size[i]) / 2
    cols = points.col[i] + np.array([-half, half, half, -half])
    rows = points.row[i] + np.array([-half, -half, half, half])
    return np.column_stack(pixel_to_map(tgt.grid.affine, cols, rows))


def _plot_windows(folder: Path, scene: Scene, points: TiePoints, contrast: str) -> list[Path]:
    """Plot the best windows: trusted ones first, then those that correlate best."""
    written = []
    for i in sorted(best_windows(points)[:_FIGURES].tolist()):
        number = int(points.window[i])
        try:
            cuts, surface = draw_window(see(scene, points, i, contrast), points, i)
        except MissingDependency:
            return []
        for name, figure in (("window", cuts), ("surface", surface)):
            written.append(folder / f"{name}_{number:03d}.png")
            save_figure(figure, written[-1])
    return written


@dataclass(frozen=True)
class Layer:
    """Features of one kind: a name, geometries, and columns with one value per geometry."""

    name: str
    geometries: list[Geometry]
    columns: dict[str, list[Any]] = field(default_factory=dict)


def write_layers(folder: Path, layers: list[Layer], crs: Any) -> list[Path]:
    """Write polygons of one CRS into a folder: `debug.gpkg`, or one GeoJSON file per layer without geopandas."""
    if importlib.util.find_spec("geopandas") is None:
        check_suffix(folder / "debug.geojson", crs)
        return [_write_geojson(folder / f"{layer.name}.geojson", layer, crs) for layer in layers]
    gpd, path = require("geopandas", extra="vector"), folder / "debug.gpkg"
    with replacing(path) as temporary:
        for layer in layers:
            table = gpd.GeoDataFrame(layer.columns, geometry=layer.geometries, crs=crs)
            table.to_file(temporary, layer=layer.name, driver="GPKG", engine="pyogrio")
    return [path, _write_project(folder / "debug.qgs", layers, crs)]


_PROJECT = """<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>
<qgis projectname="xcoreg" version="3.16">
<projectCrs><spatialrefsys nativeFormat="Wkt"><wkt>$wkt</wkt><authid>$code</authid></spatialrefsys></projectCrs>
<layer-tree-group><customproperties/>$tree</layer-tree-group>
<projectlayers>$layers</projectlayers>
<properties><Paths><Absolute type="bool">false</Absolute></Paths></properties>
</qgis>
"""
_COLOURS = {"footprint_reference": "213,94,0", "footprint_target": "0,114,178", "overlap": "0,158,115"}


def _write_project(path: Path, layers: list[Layer], crs: Any) -> Path:
    """Write a project of QGIS that shows the layers beside it as outlines."""
    names = [layer.name for layer in reversed(layers)]  # the windows on top
    tree = "".join(f'<layer-tree-layer id="{name}" name="{name}" checked="Qt::Checked"/>' for name in names)
    made = [
        f'<maplayer type="vector" geometry="Polygon"><id>{name}</id>'
        f"<datasource>./debug.gpkg|layername={name}</datasource><layername>{name}</layername>"
        '<provider encoding="UTF-8">ogr</provider>'
        '<renderer-v2 type="singleSymbol"><symbols><symbol type="fill" name="0"><layer class="SimpleFill" enabled="1">'
        f'<prop k="style" v="no"/><prop k="outline_color" v="{_COLOURS.get(name, "204,121,167")},255"/>'
        '<prop k="outline_width" v="0.5"/></layer></symbol></symbols></renderer-v2></maplayer>'
        for name in names
    ]
    wkt = "" if crs is None else escape(as_crs(crs).to_wkt())
    epsg = None if crs is None else epsg_of(crs)
    code = f"EPSG:{epsg}" if epsg else ""
    text = Template(_PROJECT).substitute(wkt=wkt, code=code, tree=tree, layers="".join(made))
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def _write_geojson(path: Path, layer: Layer, crs: Any) -> Path:
    features = []
    for i, geometry in enumerate(layer.geometries):
        lonlat = json.loads(shapely.to_geojson(carry_to_crs(geometry, crs, "EPSG:4326")))  # as RFC 7946 demands
        values = {name: column[i] for name, column in layer.columns.items()}
        features.append({"type": "Feature", "properties": values, "geometry": lonlat})
    with replacing(path) as temporary:
        temporary.write_text(json.dumps({"type": "FeatureCollection", "features": features}), encoding="utf-8")
    return path
