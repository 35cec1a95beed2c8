"""The commands georef, for control points, sidecar files, CRSs and rectification, and locate, for points in images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import xcoreg
from xcoreg.cli import options as shared
from xcoreg.cli.console import Console, ConsoleCommand
from xcoreg.errors import NotGeoreferenced, OptionError, require

if TYPE_CHECKING:  # --help must not wait for these
    import pandas as pd

_MODELS = ("auto", "affine", "polynomial", "homography", "tps")
_VECTOR_SUFFIXES = {".gpkg", ".shp", ".geojson", ".fgb", ".parquet"}
_KNOWN_NAMES = (("lon", "longitude", "x", "easting", "col"), ("lat", "latitude", "y", "northing", "row"))

_out = click.argument("out", type=click.Path())
_model = click.option(
    "--model", type=click.Choice(_MODELS), default="auto", show_default=True, help="Model from pixels to the ground."
)
_order = click.option("--order", type=click.IntRange(1, 5), help="Order of the polynomial.  [default: chosen, 1 to 3]")
_points_crs = click.option("--crs", help="CRS of the points on the ground, where the file does not name it.")
_corners = click.option(
    "--corners", type=float, nargs=8, metavar="X Y ...", help="Lon and lat of the corners, instead: ul ur lr ll."
)
_height = click.option(
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
@click.argument("out", type=click.Path(), required=False)
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
def attach(image: str, points: str, out: str, console: Console, crs: str | None, overwrite: bool) -> None:
    """Write a copy of IMAGE to OUT (GeoTIFF or VRT) that carries the control points of POINTS."""
    xcoreg.files.check_output(out, inputs=(image, points), overwrite=overwrite)
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
@_corners
@_model
@_order
@click.option("--like", type=click.Path(), metavar="RASTER", help="Rectify onto the grid of this raster.")
@click.option("--crs", help="CRS of OUT.  [default: that of the points]")
@click.option("--resolution", type=float, help="Pixel size of OUT, units of its CRS.")
@shared.resampling_option()
@shared.image_nodata_option
@_height
@shared.format_options
@shared.console_options
def rectify(image: str, out: str, console: Console, **options: Any) -> None:
    """Rectify IMAGE, georeferenced by control points, RPCs or corners, onto a map grid: OUT."""
    xcoreg.files.check_output(out, inputs=(image,), overwrite=options["overwrite"])
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
    xcoreg.files.check_output(out, inputs=(image, ref), overwrite=options["overwrite"])
    creation: dict[str, Any] = dict(shared.creation_options(options["co"]))
    xcoreg.coregister.check_format(Path(out), options["driver"], creation, image)
    opened, names = xcoreg.open_raster(image), ("band", "ref_band", "matcher", "geometry", "nodata")
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


@click.command(
    cls=ConsoleCommand,
    examples=[
        "xcoreg locate image.tif points.csv --out found.csv      # longitude and latitude to columns, rows, values",
        "xcoreg locate image.tif pixels.csv --x col --y row --inverse",
    ],
)
@shared.image_argument
@click.argument("table", type=click.Path(dir_okay=False))
@click.option("--out", type=click.Path(dir_okay=False), help="Write CSV here.  [default: stdout]")
@click.option("--x", metavar="NAME", help="Column of lon or x, by name or number.  [default: lon, x or the first]")
@click.option("--y", metavar="NAME", help="Column of lat or y.  [default: lat, y or the second]")
@click.option("--crs", help="CRS of the points.  [default: that of vectors, else EPSG:4326]")
@click.option("--normalized", is_flag=True, help="Columns and rows from (0, 0) upper left to (1, 1) lower right.")
@click.option("--inverse", is_flag=True, help="The points are columns and rows: find their coordinates, in --crs.")
@click.option("--inside-only", is_flag=True, help="Leave out points that are not on the image.")
@click.option("--gcps", type=click.Path(), metavar="FILE", help="Georeference the image by these control points.")
@_corners
@click.option("--plane", help="CRS in which the corners are fitted.  [default: centred on the image]")
@_height
@shared.band_option("--band", "Band to take values from: number from 1, or name.  [default: first]")
@shared.resampling_option("nearest")
@shared.console_options
def locate(image: str, table: str, console: Console, **options: Any) -> None:
    """Find the points of TABLE in IMAGE: columns, rows, whether they are inside, and the values there.

    TABLE is CSV or other columns of text, or vectors; its columns are copied. An integer column or row is the centre
    of a pixel. IMAGE may be - where --corners are all that is known.
    """
    points, (x, y), own = read_points(table, options["x"], options["y"])
    ground = ground_of(options["gcps"], options["corners"], options["plane"])
    opened = None if image == "-" else xcoreg.open_raster(image)
    crs = options["crs"] or own or "EPSG:4326"
    find = _coordinates_of if options["inverse"] else _pixels_of
    found = find(opened, (points[x].to_numpy(), points[y].to_numpy()), crs, ground, options)
    inside = found.get("inside")
    points = points.assign(**found if inside is None else {**found, "inside": inside.astype(int)})
    if inside is not None:
        console.print("points", f"{len(points)}, {int(inside.sum())} inside")
        points = points[inside] if options["inside_only"] else points
    text = points.to_csv(index=False, lineterminator="\n")
    if options["out"] is None:
        click.echo(text, nl=False)
        return
    with xcoreg.files.replacing(options["out"]) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _pixels_of(image: Any, points: Any, crs: Any, ground: Any, options: dict[str, Any]) -> dict[str, Any]:
    names = ("normalized", "band", "resampling", "height")
    chosen = {name: options[name] for name in names}
    found = xcoreg.coregister.locate(image, points, crs=crs, ground=ground, **chosen).to_dict()
    return {name: column for name, column in found.items() if name not in ("x", "y")}


def _coordinates_of(image: Any, points: Any, crs: Any, ground: Any, options: dict[str, Any]) -> dict[str, Any]:
    chosen = {name: options[name] for name in ("normalized", "height")}
    x, y = xcoreg.coregister.place(image, *points, crs=crs, ground=ground, **chosen)
    return {"lon": x, "lat": y} if xcoreg.georef.as_crs(crs).is_geographic else {"x": x, "y": y}


def read_points(path: str, x: str | None = None, y: str | None = None) -> tuple[pd.DataFrame, tuple[str, str], Any]:
    """Read a table of points: its columns, the names of those with coordinates, and the CRS of vectors.

    Columns are named, or numbered from 1; default: the first known name, else the first and the second.
    """
    file = Path(path)
    if not file.is_file():
        raise OptionError(f"there is no file {path}")
    if file.suffix.lower() in _VECTOR_SUFFIXES:
        gpd = require("geopandas", extra="vector")
        vectors = gpd.read_parquet(file) if file.suffix.lower() == ".parquet" else gpd.read_file(file)
        columns = vectors.drop(columns=vectors.geometry.name)
        return columns.assign(x=vectors.geometry.x, y=vectors.geometry.y), ("x", "y"), vectors.crs
    table = _with_header(xcoreg.files.read_csv(file, header=False, spaces=True))
    if table.shape[1] < 2:
        raise OptionError(f"{file} has one column: two with coordinates are needed")
    names = _column(table, x, 0), _column(table, y, 1)
    try:
        return table.astype(dict.fromkeys(names, float)), names, None
    except ValueError as error:
        columns = f"the columns {' and '.join(names)} of {path}"
        raise OptionError(f"{columns} do not hold numbers: {error}; name others, --x and --y") from error


def _with_header(table: pd.DataFrame) -> pd.DataFrame:
    """Take the names of columns from the first row, if that is no point."""
    first = table.iloc[0]
    if all(_is_number(text) for text in first[:2]):
        return table.set_axis(["x", "y", "measured", *map(str, range(4, len(first) + 1))][: len(first)], axis=1)
    return table.iloc[1:].set_axis(list(first), axis=1)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _column(table: pd.DataFrame, given: str | None, at: int) -> str:
    names = [str(name) for name in table.columns]
    if given is None:
        known = {name.lower(): name for name in names}
        return next((known[name] for name in _KNOWN_NAMES[at] if name in known), names[at])
    if given in names:
        return given
    if given.isdecimal() and 1 <= int(given) <= len(names):
        return names[int(given) - 1]
    raise OptionError(f"there is no column {given!r}, but {', '.join(names)}")
