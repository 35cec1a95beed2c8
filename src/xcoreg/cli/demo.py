"""The command demo: the whole job on the bundled pair of real Sentinel-2 crops.

What --debug leaves behind: where the images lie, where they were matched and what the matcher saw.

Polygons to files that a GIS opens: one GeoPackage, or GeoJSON where the extra `vector` is not installed.
"""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import geopandas as gpd
import numpy as np
import shapely
from scipy import ndimage

from xcoreg import datasets
from xcoreg.cli.common import Job, talk_options
from xcoreg.cli.inputs import Delivery, brought_to, open_image
from xcoreg.core.matches import Status
from xcoreg.core.phase import surface
from xcoreg.coregister import match
from xcoreg.datasets import ATTRIBUTION
from xcoreg.errors import MissingDependency, NoOverlap, OptionError
from xcoreg.files import replacing
from xcoreg.georef import linear_of, pixel_to_map, vector_to_pixel
from xcoreg.matching.options import check_options
from xcoreg.matching.scene import prepare
from xcoreg.plot import plot_before_after, plot_surface, plot_windows, save_figure
from xcoreg.raster.footprint import footprint
from xcoreg.raster.overview import overview_of
from xcoreg.raster.raster import make_raster

if TYPE_CHECKING:
    from shapely import Geometry

    from xcoreg.cli.common import Talk
    from xcoreg.matching.options import Options
    from xcoreg.matching.scene import Scene
    from xcoreg.raster.raster import Raster
    from xcoreg.results.coregistration import Coregistration
    from xcoreg.results.tiepoints import TiePoints


@click.command(cls=Job)
@click.option("--out", default="xcoreg_demo", show_default=True, metavar="DIR", help="Folder for what is written.")
@talk_options
def demo(talk: Talk, out: str) -> None:
    """Match and correct a real pair that comes with xcoreg, and draw it before and after.

    Writes the corrected GeoTIFF, the fit and a picture into a folder, replacing those of an earlier run.
    """
    folder = _made(Path(out))
    ref_path, tgt_path = (str(datasets.path(name)) for name in datasets.NAMES)
    ref, tgt = open_image(ref_path), open_image(tgt_path)
    fit = match(tgt, ref, progress=talk.progress)
    Delivery(folder / "corrected.tif", overwrite=True).write(tgt_path, fit)
    fixed = open_image(str(folder / "corrected.tif"))
    again = match(fixed, ref, progress=talk.progress)
    fit.save(folder / "fit.json")
    _tell(fit, again)
    talk.detail(fit.summary())
    drawn = _draw(folder / "before_after.png", (tgt, ref, fixed), fit, talk)
    for name in ("corrected.tif", "fit.json", *drawn):
        click.echo(f"{'wrote':<18}{folder / name}")


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(f"cannot make the folder {folder}: {error.strerror}; name another one with --out") from error
    return folder


def _tell(fit: Coregistration, again: Coregistration) -> None:
    quality, shift = fit.quality, fit.shift
    rows = {
        "shift": str(shift),
        "length": f"{shift.length:.2f} {shift.unit}, angle {shift.angle:.1f}° from North",
        "left afterwards": str(again.shift),
        "similarity (SSIM)": f"{quality.ssim_before:.3f} before, {quality.ssim_after:.3f} after",
        "reliability": f"{quality.reliability:.0f} %, {quality.n_ok} of {quality.n_windows} windows agree",
    }
    for name, text in rows.items():
        click.echo(f"{name:<18}{text}")


def _draw(path: Path, images: tuple[Any, Any, Any], fit: Coregistration, talk: Talk) -> list[str]:
    try:
        figure = plot_before_after(*images, fit=fit)
        figure.supxlabel(ATTRIBUTION, fontsize=9, x=0.99, ha="right")
        save_figure(figure, path)
    except MissingDependency as error:
        talk.warn(f"no picture: {error}")
        return []
    return [path.name]


_DRAWN = 4  # windows that get figures


def write_debug(folder: str, ref: Any, tgt: Any, options: dict[str, Any], found: Any) -> list[Path]:
    """Write footprints, overlap and windows as vectors, and figures of the best windows.

    Parameters
    ----------
    folder : str
        Made if it does not exist.
    ref, tgt : DataArray or Dataset
        What was matched.
    options : dict
        Of `match`.
    found : Coregistration, TiePoints or None
        The fit, or the windows of a failed match.

    Returns
    -------
    list of Path
        The files; no figures where matplotlib is not installed, and footprints alone where the images do not overlap.

    Raises
    ------
    OptionError
        When the folder cannot be made.
    """
    goal = Path(folder)
    try:
        goal.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(f"cannot make the folder {goal}: {error.strerror}; name another one") from error
    checked = check_options(options)
    try:
        scene = prepare(tgt, ref, checked)
    except NoOverlap:
        return _write_outlines(goal, ref, tgt, checked)
    points = getattr(found, "points", found)
    written = write_layers(goal, _layers(scene, points), scene.target.grid.crs)
    if points is not None and len(points):
        written += _draw_debug(goal, scene, points, options.get("contrast", "same"))
    return written


def _write_outlines(goal: Path, ref: Any, tgt: Any, options: Options) -> list[Path]:
    """Show where two images lie that do not meet."""
    rasters = {
        "footprint_reference": make_raster(ref, band=options.ref_band, nodata=options.ref_nodata, name="reference"),
        "footprint_target": make_raster(tgt, band=options.band, nodata=options.nodata, name="target"),
    }
    crs = rasters["footprint_target"].grid.crs
    outlines = {name: brought_to(footprint(one, overview_of(one)), one.grid.crs, crs) for name, one in rasters.items()}
    # What lies on the other side of the Earth may have no place in the CRS of the target.
    seen = [Layer(name, [outline]) for name, outline in outlines.items() if np.isfinite(outline.bounds).all()]
    return write_layers(goal, seen, crs)


def _layers(scene: Scene, points: TiePoints | None) -> list[Layer]:
    """Polygons in the CRS of the target."""
    tgt, ref = scene.footprints
    moved = brought_to(ref, scene.reference.grid.crs, scene.target.grid.crs)
    outlines = {"footprint_reference": moved, "footprint_target": tgt, "overlap": scene.overlap}
    layers = [Layer(name, [outline]) for name, outline in outlines.items()]
    if points is not None and len(points):
        squares = [shapely.Polygon(_square(scene.target, points, i)) for i in range(len(points))]
        names = ("window", "x", "y", "dx", "dy", "dcol", "drow", "score", "reliability", "status")
        table = points.to_dataframe()
        layers.append(Layer("windows", squares, {name: _plain(table[name]) for name in names}))
    return layers


def _plain(column: Any) -> list[Any]:
    return [None if isinstance(value, float) and not np.isfinite(value) else value for value in column.tolist()]


def _square(tgt: Raster, points: TiePoints, i: int) -> Any:
    half = float(points.size[i]) / 2
    cols = points.col[i] + np.array([-half, half, half, -half])
    rows = points.row[i] + np.array([-half, -half, half, half])
    return np.column_stack(pixel_to_map(tgt.grid.affine, cols, rows))


def _draw_debug(folder: Path, scene: Scene, points: TiePoints, contrast: str) -> list[Path]:
    """Figures of the windows that come first: trusted ones, then those that correlate best."""
    try:
        first = np.lexsort((-np.nan_to_num(points.score, nan=-1.0), ~points.ok))[:_DRAWN]
        written = []
        for i in sorted(first.tolist()):
            seen = _seen(scene, points, i, contrast)
            name, title = f"{int(points.window[i]):03d}", f"window {points.window[i]}: {_status(points, i)}"
            figures = {
                f"window_{name}.png": plot_windows(seen["before"], seen["ref"], seen["after"], title=title),
                f"surface_{name}.png": plot_surface(seen["surface"], seen["peak"], title=title),
            }
            for file, figure in figures.items():
                save_figure(figure, folder / file)
                written.append(folder / file)
    except MissingDependency:
        return []
    return written


def _status(points: TiePoints, i: int) -> str:
    return Status(int(points.status[i])).reason


def _seen(scene: Scene, points: TiePoints, i: int, contrast: str) -> dict[str, Any]:
    """One window of both images on the matching grid, the target also as corrected, and the correlation surface."""
    linear, own = scene.linear, linear_of(scene.target.grid.affine)
    ratio = (own[0] * own[3] - own[1] * own[2]) / (linear[0] * linear[3] - linear[1] * linear[2])
    size = max(16, round(points.size[i] * np.sqrt(abs(ratio))))
    place = points.x[i : i + 1], points.y[i : i + 1]
    cuts = [cutter.cut(*place, size) for cutter in (scene.reference_cutter, scene.target_cutter)]
    (ref_values, ref_valid), (values, valid) = ((cut.values[0], cut.valid[0]) for cut in cuts)
    height = np.fft.fftshift(surface(values[None], ref_values[None], valid[None], ref_valid[None])[0])
    if contrast != "same" and -height.min() > height.max():
        height = -height
    # The two windows begin at whole pixels of their own images: what lies between these is no shift.
    dx, dy = points.dx[i] + cuts[1].x[0] - cuts[0].x[0], points.dy[i] + cuts[1].y[0] - cuts[0].y[0]
    dcol, drow = (float(part) for part in vector_to_pixel(linear, dx, dy))
    if not np.isfinite([dcol, drow]).all():
        row, col = np.unravel_index(np.argmax(height), height.shape)
        dcol, drow = float(col - size // 2), float(row - size // 2)
    moved = (
        ndimage.shift(values, (drow, dcol), order=3),
        ndimage.shift(valid.astype(np.uint8), (drow, dcol), order=0) > 0,
    )
    before = values, valid
    return {"ref": (ref_values, ref_valid), "before": before, "after": moved, "surface": height, "peak": (dcol, drow)}


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
    with replacing(path) as temporary:
        for layer in layers:
            table = gpd.GeoDataFrame(layer.columns, geometry=layer.geometries, crs=crs)
            table.to_file(temporary, layer=layer.name, driver="GPKG", engine="pyogrio")
    return path


def _write_geojson(path: Path, layer: Layer, crs: Any) -> Path:
    features = []
    for i, geometry in enumerate(layer.geometries):
        shown = json.loads(shapely.to_geojson(brought_to(geometry, crs, "EPSG:4326")))
        values = {name: column[i] for name, column in layer.columns.items()}
        features.append({"type": "Feature", "properties": values, "geometry": shown})
    with replacing(path) as temporary:
        temporary.write_text(json.dumps({"type": "FeatureCollection", "features": features}), encoding="utf-8")
    return path
