"""The commands georef: control points, sidecar files, CRSs, rectification, images without a place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import xcoreg
from xcoreg.cli import options as shared
from xcoreg.cli.console import Console, ConsoleCommand
from xcoreg.cli.paths import OutputFile
from xcoreg.errors import NotGeoreferenced, OptionError

if TYPE_CHECKING:  # --help must not wait for these
    pass

_MODELS = ("auto", "affine", "polynomial", "homography", "tps")

_out = click.argument("out", type=OutputFile())
_model = click.option(
    "--model", type=click.Choice(_MODELS), default="auto", show_default=True, help="Model from pixels to the ground."
)
_order = click.option("--order", type=click.IntRange(1, 5), help="Order of the polynomial.  [default: chosen, 1 to 3]")
_points_crs = click.option("--crs", help="CRS of the points on the ground, where the file does not name it.")
corners_option = click.option(
    "--corners", type=float, nargs=8, metavar="X Y ...", help="Lon and lat of the corners, instead: ul ur lr ll."
)
height_option = click.option(
    "--height", type=float, default=0.0, show_default=True, help="Height of the ground for RPCs, m above the ellipsoid."
)


@click.group()
def georef() -> None:
    """Control points, world files, CRSs and rectification."""


@georef.command(
    cls=ConsoleCommand,
    examples=[
        "xcoreg georef gcps scene.tif points.csv       # the control points of an image as a table",
        "xcoreg georef gcps survey.points --to-crs EPSG:32633 > points.csv   # points of QGIS in another CRS",
    ],
)
@click.argument("source", type=click.Path())
@click.argument("out", type=OutputFile(), required=False)
@_points_crs
@click.option("--to-crs", help="Transform the points to this CRS.")
@shared.console_options
def gcps(source: str, console: Console, out: str | None, crs: str | None, to_crs: str | None) -> None:
    """Read the control points of SOURCE (a raster, .csv, .points, .pts, .gpkg); write them to OUT, or CSV to stdout."""
    points = xcoreg.read_gcps(source, crs)
    points = points if to_crs is None else points.to_crs(to_crs)
    console.print("gcps", repr(points))
    if out is None:
        click.echo(xcoreg.georef.gcp_files.csv_text(points), nl=False)
    else:
        console.print("wrote", str(xcoreg.georef.save_gcps(points, out)))


@georef.command(
    cls=ConsoleCommand,
    examples=[
        "xcoreg georef fit scene.tif                   # the best model, with its error at check points",
        "xcoreg georef fit points.csv --model polynomial --order 2 --robust",
    ],
)
@click.argument("source", type=click.Path())
@_model
@_order
@click.option("--robust", is_flag=True, help="Give less weight to points that contradict the others.")
@click.option("--crs", help="Fit in this CRS.")
@shared.console_options
def fit(source: str, console: Console, model: str, order: int | None, robust: bool, crs: str | None) -> None:
    """Fit a model to the control points of SOURCE and write JSON: model, errors, the residuals of every point."""
    found = xcoreg.fit_gcps(xcoreg.read_gcps(source), model, order=order, robust=robust, crs=crs)
    console.print("fit", repr(found))
    residuals = {name: getattr(found.residuals, name).tolist() for name in ("dx", "dy", "dcol", "drow")}
    columns = {"id": list(found.gcps.id), **residuals, "weight": found.weights.tolist()}
    points = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    click.echo(json.dumps({**found.to_dict(), "points": points}, indent=1, allow_nan=False))


@georef.command(
    cls=ConsoleCommand,
    examples=[
        "xcoreg georef attach scan.tif points.csv scan_gcps.tif --crs EPSG:32633",
        "xcoreg georef attach scan.tif points.points scan.vrt     # a VRT that refers to the image",
    ],
)
@shared.image_argument
@click.argument("points", type=click.Path())
@_out
@_points_crs
@shared.overwrite_option
@shared.console_options
def attach(image: str, points: str, out: str, console: Console, crs: str | None, **_: Any) -> None:
    """Write a copy of IMAGE to OUT (GeoTIFF or VRT) that carries the control points of POINTS."""
    console.print("wrote", str(xcoreg.georef.attach_gcps(image, xcoreg.read_gcps(points, crs), out)))


@georef.command(
    cls=ConsoleCommand,
    examples=[
        "xcoreg georef rectify swath.tif map.tif --crs EPSG:32633 --resolution 10",
        "xcoreg georef rectify photo.jpg map.tif --corners 12.8 52.4 12.9 52.4 12.9 52.3 12.8 52.3",
    ],
)
@shared.image_argument
@_out
@click.option(
    "--gcps",
    "points",
    type=click.Path(),
    metavar="FILE",
    help="Control points.  [default: those of IMAGE, or its RPCs]",
)
@corners_option
@_model
@_order
@click.option("--like", type=click.Path(), metavar="RASTER", help="Rectify onto the grid of this raster.")
@click.option("--crs", help="CRS of OUT.  [default: that of the points]")
@click.option("--resolution", type=float, help="Pixel size of OUT, units of its CRS.")
@shared.resampling_option()
@shared.image_nodata_option
@height_option
@shared.format_options
@shared.console_options
def rectify(image: str, out: str, console: Console, **options: Any) -> None:
    """Rectify IMAGE, georeferenced by control points, RPCs or corners, onto a map grid: OUT."""
    creation: dict[str, Any] = dict(shared.creation_options(options["co"]))
    xcoreg.coregister.check_format(Path(out), options["driver"], creation, image)
    opened = xcoreg.open_raster(image, chunks="auto")
    ground = ground_of(options["points"], options["corners"], model=options["model"], order=options["order"])
    own = xcoreg.coregister.gcps_of(opened) if ground is None else None
    if own is not None:
        ground = xcoreg.fit_gcps(own, options["model"], order=options["order"])
    if ground is not None:
        console.print("fit", repr(ground))
    like = None if options["like"] is None else xcoreg.open_raster(options["like"])
    names = ("crs", "resolution", "resampling", "nodata", "height")
    made = xcoreg.coregister.rectify(opened, ground, like=like, **{name: options[name] for name in names})
    xcoreg.coregister.write_output(made, opened, Path(out), driver=options["driver"], **creation)
    console.print("wrote", out)


@georef.command(
    cls=ConsoleCommand,
    examples=[
        "xcoreg georef auto scan.png map.tif placed.tif   # a scanned photo: any angle",
        "xcoreg georef auto old.tif new.tif placed.tif --matcher structure --geometry homography",
    ],
)
@shared.image_argument
@click.argument("ref", type=shared.image_path)
@_out
@shared.band_option("--band", "Band of IMAGE to match: number from 1, or name.  [default: first]")
@shared.band_option("--ref-band", "Band of the reference to match.  [default: first]")
@shared.matcher_option
@click.option(
    "--geometry",
    type=click.Choice(shared.GEOMETRIES[1:]),
    default="affine",
    show_default=True,
    help="What tells the image from the map; an affine geometry leaves its pixels as they are.",
)
@shared.fit_option
@shared.image_nodata_option
@shared.format_options
@shared.console_options
def auto(image: str, ref: str, out: str, console: Console, **options: Any) -> None:
    """Georeference IMAGE, which has no place or a wrong one, by matching it with REF; write it to OUT.

    A scanned photo or map, at any angle, of twice to a quarter of the size of REF.
    """
    creation: dict[str, Any] = dict(shared.creation_options(options["co"]))
    xcoreg.coregister.check_format(Path(out), options["driver"], creation, image)
    opened: Any = xcoreg.open_raster(image)
    names = ("band", "ref_band", "matcher", "geometry", "nodata")
    chosen: dict[str, Any] = {name: options[name] for name in names if options[name] is not None}
    made, found = xcoreg.georeference(opened, xcoreg.open_raster(ref), **chosen)
    console.print("fit", repr(found))
    if options["save_fit"]:
        found.save(options["save_fit"])
    xcoreg.coregister.write_output(made, opened, Path(out), driver=options["driver"], **creation)
    console.print("wrote", out)


@georef.command(
    cls=ConsoleCommand,
    examples=[
        "xcoreg georef sidecars image.tif               # image.tfw and image.prj",
        "xcoreg georef sidecars scan.png --crs EPSG:25833",
    ],
)
@shared.image_argument
@click.option("--crs", help="CRS to write.  [default: that of IMAGE]")
@shared.console_options
def sidecars(image: str, console: Console, crs: str | None) -> None:
    """Write the world file and the .prj file of IMAGE beside it."""
    transform, own = xcoreg.georef.find_georeference(image)
    if transform is None:
        raise NotGeoreferenced(f"{image} has no transform")
    console.print("wrote", str(xcoreg.georef.write_world_file(image, transform)))
    if crs or own is not None:
        console.print("wrote", str(xcoreg.georef.write_prj(image, crs or own)))


@georef.command(
    cls=ConsoleCommand,
    examples=[
        'xcoreg georef crs "UTM 33N"',
        "xcoreg georef crs image.prj",
    ],
)
@click.argument("text")
@shared.console_options
def crs(text: str, console: Console) -> None:
    """Find the CRS that TEXT names: a code, a name, WKT, PROJ, a .prj file; JSON with its EPSG code, unit and WKT."""
    found = xcoreg.georef.as_crs(xcoreg.parse_crs(text))
    code = xcoreg.georef.epsg_of(found)
    console.print("crs", f"{found.name} ({f'EPSG:{code}' if code else 'no EPSG code'})")
    facts = {
        "name": found.name,
        "epsg": code,
        "type": found.type_name,
        "unit": xcoreg.georef.crs.unit_of(found),
        "ellipsoid": None if found.ellipsoid is None else found.ellipsoid.name,
        "wkt": found.to_wkt(),
    }
    click.echo(json.dumps(facts, indent=1))


def ground_of(
    gcps: str | None, corners: Any, plane: str | None = None, model: str = "auto", order: int | None = None
) -> Any:
    """Make a map from pixels to the ground, of a file of control points or of eight numbers of corners; or None."""
    if gcps and corners:
        raise OptionError("--gcps and --corners both georeference the image: give one of them")
    if gcps:
        return xcoreg.fit_gcps(xcoreg.read_gcps(gcps), model, order=order)
    if corners:
        ul, ur, lr, ll = ((corners[at], corners[at + 1]) for at in range(0, 8, 2))
        return xcoreg.Corners(ul, ur, lr, ll, plane=plane)
    return None
