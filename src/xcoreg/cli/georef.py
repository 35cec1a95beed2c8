"""The commands georef ...: control points, world files, CRSs, and images rectified by them.

The command locate: points of a table in an image, and back.
"""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from xcoreg.cli.common import Job, band_option, creation_options, talk_options
from xcoreg.cli.inputs import open_image
from xcoreg.errors import NotGeoreferenced, OptionError, require
from xcoreg.files import check_output, replacing
from xcoreg.georef import (
    Corners,
    as_crs,
    attach_gcps,
    csv_text,
    epsg_of,
    find_georeference,
    fit_gcps,
    parse_crs,
    read_gcps,
    save_gcps,
    write_prj,
    write_world_file,
)
from xcoreg.io.write import write_raster
from xcoreg.warp.locate import locate as find
from xcoreg.warp.locate import place
from xcoreg.warp.rectify import gcps_of
from xcoreg.warp.rectify import rectify as run

if TYPE_CHECKING:
    from xcoreg.cli.common import Talk


_MODELS = ("auto", "affine", "polynomial", "homography", "tps")
_out = click.argument("out", type=click.Path())
_overwrite = click.option(
    "--overwrite/--no-overwrite", default=False, show_default=True, help="Replace an existing OUT."
)
_model = click.option("--model", type=click.Choice(_MODELS), default="auto", show_default=True)
_order = click.option("--order", type=click.IntRange(1, 5), help="Of the polynomial.  [default: chosen, 1 to 3]")


@click.group()
def georef() -> None:
    """Control points, world files, CRSs, and images rectified by them."""


@georef.command(cls=Job)
@click.argument("source")
@click.argument("out", type=click.Path(), required=False)
@click.option("--crs", help="CRS of the points on the ground, where SOURCE does not tell it.")
@click.option("--to-crs", help="Bring the points to this CRS.")
@talk_options
def gcps(source: str, talk: Talk, out: str | None, crs: str | None, to_crs: str | None) -> None:
    """Read the control points of SOURCE (a raster, .csv, .points, .pts, .gpkg); write them to OUT, or CSV to stdout."""
    points = read_gcps(source, crs)
    points = points if to_crs is None else points.to_crs(to_crs)
    talk.say("gcps", repr(points))
    if out is None:
        click.echo(csv_text(points), nl=False)
    else:
        talk.say("wrote", str(save_gcps(points, out)))


@georef.command(cls=Job)
@click.argument("source")
@_model
@_order
@click.option("--robust", is_flag=True, help="Weigh down points that contradict the others.")
@click.option("--crs", help="Fit in this CRS.")
@talk_options
def fit(source: str, talk: Talk, model: str, order: int | None, robust: bool, crs: str | None) -> None:
    """Fit a map to the control points of SOURCE and write JSON: model, errors, the residuals of every point."""
    found = fit_gcps(read_gcps(source), model, order=order, robust=robust, crs=crs)
    talk.say("fit", repr(found))
    columns = {
        "id": list(found.gcps.id),
        "dx": found.residuals.dx.tolist(),
        "dy": found.residuals.dy.tolist(),
        "dcol": found.residuals.dcol.tolist(),
        "drow": found.residuals.drow.tolist(),
        "weight": found.weights.tolist(),
    }
    points = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    click.echo(json.dumps({**found.to_dict(), "points": points}, indent=1, allow_nan=False))


@georef.command(cls=Job)
@click.argument("image")
@click.argument("points")
@_out
@click.option("--crs", help="CRS of the points on the ground, where POINTS does not tell it.")
@_overwrite
@talk_options
def attach(image: str, points: str, out: str, talk: Talk, crs: str | None, overwrite: bool) -> None:
    """Write a copy of IMAGE to OUT (GeoTIFF or VRT) that carries the control points of POINTS."""
    check_output(out, inputs=(image, points), overwrite=overwrite)
    talk.say("wrote", str(attach_gcps(image, read_gcps(points, crs), out)))


@georef.command(cls=Job)
@click.argument("image")
@_out
@click.option("--gcps", "points", metavar="FILE", help="Control points.  [default: those of IMAGE, or its RPCs]")
@click.option("--corners", type=float, nargs=8, metavar="X Y ...", help="Or corners: ul ur lr ll, lon lat each.")
@_model
@_order
@click.option("--like", metavar="RASTER", help="Rectify to exactly the grid of this raster.")
@click.option("--crs", help="CRS of OUT.  [default: that of the points]")
@click.option("--resolution", type=float, help="Pixel size of OUT, units of its CRS.")
@click.option("--resampling", type=click.Choice(["nearest", "bilinear", "cubic", "lanczos"]), default="cubic")
@click.option("--nodata", type=float, help="Nodata value of IMAGE (nan and -inf too).")
@click.option("--height", type=float, default=0.0, show_default=True, help="Of the ground, m, for RPCs.")
@click.option("--driver", help="GDAL's name of the output format.  [default: by the suffix of OUT]")
@click.option("--co", multiple=True, metavar="KEY=VALUE", help="Creation option of the format; may be repeated.")
@_overwrite
@talk_options
def rectify(image: str, out: str, talk: Talk, **options: Any) -> None:
    """Bring IMAGE, known by control points, RPCs or corners, onto a map grid: OUT."""
    check_output(out, inputs=(image,), overwrite=options["overwrite"])
    opened = open_image(image, chunks="auto")
    ground = ground_from(options["points"], options["corners"] or (), None, options["model"], options["order"])
    own = gcps_of(opened) if ground is None else None
    if own is not None:
        ground = fit_gcps(own, options["model"], order=options["order"])
    if ground is not None:
        talk.say("fit", repr(ground))
    like = None if options["like"] is None else open_image(options["like"])
    names = ("crs", "resolution", "resampling", "nodata", "height")
    made = run(opened, ground, like=like, **{name: options[name] for name in names})
    creation: dict[str, Any] = dict(creation_options(options["co"]))
    write_raster(made, out, driver=options["driver"], **creation)
    talk.say("wrote", out)


@georef.command(cls=Job)
@click.argument("image")
@click.option("--crs", help="CRS to write.  [default: that of IMAGE]")
@talk_options
def sidecars(image: str, talk: Talk, crs: str | None) -> None:
    """Write the world file and the .prj file of IMAGE beside it."""
    transform, own = find_georeference(image)
    if transform is None:
        raise NotGeoreferenced(f"{image} has no transform")
    talk.say("wrote", str(write_world_file(image, transform)))
    if crs or own is not None:
        talk.say("wrote", str(write_prj(image, crs or own)))


@georef.command(cls=Job)
@click.argument("text")
@talk_options
def crs(text: str, talk: Talk) -> None:
    """Tell which CRS TEXT means: a code, a name, WKT, PROJ, a .prj file; JSON with its EPSG code, unit and WKT."""
    found = as_crs(parse_crs(text))
    code = epsg_of(found)
    talk.say("crs", f"{found.name} ({f'EPSG:{code}' if code else 'no EPSG code'})")
    told = {
        "name": found.name,
        "epsg": code,
        "type": found.type_name,
        "unit": found.axis_info[0].unit_name,
        "ellipsoid": None if found.ellipsoid is None else found.ellipsoid.name,
        "wkt": found.to_wkt(),
    }
    click.echo(json.dumps(told, indent=1))


_VECTORS = {".gpkg", ".shp", ".geojson", ".fgb", ".parquet"}
_NAMES = (("lon", "longitude", "x", "easting", "col"), ("lat", "latitude", "y", "northing", "row"))


def read_points(path: str, x: str | None = None, y: str | None = None) -> tuple[dict[str, list[Any]], Any, Any]:
    """Read a table of points.

    Parameters
    ----------
    path : str
        Text with columns separated by commas, semicolons, tabs or spaces, with or without a header; or vectors.
    x, y : str, optional
        Names of the columns (or their numbers, from 1); default: the first known name, else the first and second.

    Returns
    -------
    columns : dict of lists
        All columns, in their order; vectors get x and y.
    names : (str, str)
        Of the columns that hold the coordinates.
    crs : CRS or None
        Of vectors.

    Raises
    ------
    OptionError
        When there is no such file or column, or coordinates are no numbers.
    """
    file = Path(path)
    if not file.is_file():
        raise OptionError(f"there is no file {path}")
    if file.suffix.lower() in _VECTORS:
        gpd = require("geopandas", extra="vector")
        table = gpd.read_parquet(file) if file.suffix.lower() == ".parquet" else gpd.read_file(file)
        own = {str(name): list(table[name]) for name in table.columns if name != table.geometry.name}
        return {**own, "x": list(table.geometry.x), "y": list(table.geometry.y)}, ("x", "y"), table.crs
    columns = _read_text(file)
    names = tuple(_column(columns, given, at) for at, given in enumerate((x, y)))
    try:
        for name in names:
            columns[name] = [float(value) for value in columns[name]]
    except ValueError as error:
        raise OptionError(
            f"the column {name} of {path} does not hold numbers: {error}; name others, --x and --y"
        ) from error
    return columns, names, None


def _read_text(file: Path) -> dict[str, list[Any]]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise OptionError(
            f"{file} is no text: give columns of text, or vectors ({', '.join(sorted(_VECTORS))})"
        ) from error
    lines = [line for line in text.splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith("#")]
    if not lines:
        raise OptionError(f"{file} holds no points")
    delimiter = max(",;\t", key=lines[0].count)
    rows = (
        [line.split() for line in lines] if delimiter not in lines[0] else list(csv.reader(lines, delimiter=delimiter))
    )
    width = len(rows[0])
    if width < 2 or any(len(row) != width for row in rows):
        raise OptionError(f"{file} does not have the same two or more columns in every row")
    headed = not _is_number(rows[0][0]) or not _is_number(rows[0][1])
    header = [name.strip() for name in rows[0]] if headed else ["x", "y", "measured", *map(str, range(4, width + 1))]
    return {name: [row[at].strip() for row in rows[headed:]] for at, name in enumerate(header[:width])}


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _column(columns: dict[str, list[Any]], given: str | None, at: int) -> str:
    names = list(columns)
    if given is None:
        known = {name.lower(): name for name in names}
        return next((known[name] for name in _NAMES[at] if name in known), names[at])
    if given in columns:
        return given
    if given.isdecimal() and 1 <= int(given) <= len(names):
        return names[int(given) - 1]
    raise OptionError(f"there is no column {given!r}, but {', '.join(names)}")


def ground_from(
    gcps: str | None, corners: tuple[float, ...], plane: str | None, model: str = "auto", order: int | None = None
) -> Any:
    """Make a ground of the options that tell one.

    Parameters
    ----------
    gcps : str or None
        Path of control points.
    corners : tuple of 8 floats, or empty
        Longitudes and latitudes of ul, ur, lr, ll.
    plane : str or None
        CRS where the corners are fitted.
    model : str
    order : int or None

    Returns
    -------
    GCPFit, Corners or None

    Raises
    ------
    OptionError
        When both are given.
    """
    if gcps and corners:
        raise OptionError("--gcps and --corners each tell where the image lies: give one of them")
    if gcps:
        return fit_gcps(read_gcps(gcps), model, order=order)
    if corners:
        ul, ur, lr, ll = (tuple(corners[at : at + 2]) for at in range(0, 8, 2))
        return Corners(ul, ur, lr, ll, plane=plane)  # type: ignore[arg-type]
    return None


@click.command(cls=Job)
@click.argument("image")
@click.argument("table", type=click.Path(dir_okay=False))
@click.option("--out", type=click.Path(dir_okay=False), help="Write CSV here.  [default: stdout]")
@click.option("--x", metavar="NAME", help="Column of lon or x, by name or number.  [default: lon, x or the first]")
@click.option("--y", metavar="NAME", help="Column of lat or y.  [default: lat, y or the second]")
@click.option("--crs", help="CRS of the points.  [default: that of vectors, else EPSG:4326]")
@click.option("--normalized", is_flag=True, help="Answer from (0, 0) upper left to (1, 1) lower right.")
@click.option("--inverse", is_flag=True, help="The points are columns and rows: tell where they lie, in --crs.")
@click.option("--inside-only", is_flag=True, help="Leave out points that are not on the image.")
@click.option("--gcps", metavar="FILE", help="The image lies where these control points say.")
@click.option("--corners", type=float, nargs=8, metavar="X Y ...", help="Or corners: ul ur lr ll, lon lat each.")
@click.option("--plane", help="CRS in which the corners make an affine.  [default: centred on the image]")
@click.option("--height", type=float, default=0.0, show_default=True, help="Of the ground, m, for RPCs.")
@band_option("--band", "Band to take values from: number from 1, or name.  [default: first]")
@click.option("--resampling", type=click.Choice(["nearest", "bilinear", "cubic", "lanczos"]), default="nearest")
@talk_options
def locate(image: str, table: str, talk: Talk, **options: Any) -> None:
    """Find the points of TABLE in IMAGE: columns, rows, whether they are inside, and the values there.

    TABLE is CSV or other columns of text, or vectors; its columns are kept. An integer column or row is the centre of a
    pixel. IMAGE may be - where --corners are all that is known.
    """
    columns, (x_name, y_name), own = read_points(table, options["x"], options["y"])
    ground = ground_from(options["gcps"], options["corners"] or (), options["plane"])
    opened = None if image == "-" else open_image(image)
    first, second = np.asarray(columns[x_name], np.float64), np.asarray(columns[y_name], np.float64)
    crs = options["crs"] or own or "EPSG:4326"
    add = (_placed if options["inverse"] else _located)(opened, first, second, crs, ground, options)
    keep = add["inside"] if options["inside_only"] and "inside" in add else np.ones(first.size, bool)
    text = _csv({**columns, **{name: column.tolist() for name, column in add.items()}}, keep)
    if options["out"] is None:
        click.echo(text, nl=False)
    else:
        with replacing(options["out"]) as temporary:
            temporary.write_text(text, encoding="utf-8")
    if "inside" in add:
        talk.say("points", f"{first.size}, {int(add['inside'].sum())} inside")


def _located(image: Any, x: Any, y: Any, crs: Any, ground: Any, options: dict[str, Any]) -> dict[str, Any]:
    names = ("normalized", "band", "resampling", "height")
    found = find(image, (x, y), crs=crs, ground=ground, **{name: options[name] for name in names}).to_dict()
    return {name: column for name, column in found.items() if name not in ("x", "y")}


def _placed(image: Any, x: Any, y: Any, crs: Any, ground: Any, options: dict[str, Any]) -> dict[str, Any]:
    names = ("normalized", "height")
    lon, lat = place(image, x, y, crs=crs, ground=ground, **{name: options[name] for name in names})

    return dict(zip(("lon", "lat") if as_crs(crs).is_geographic else ("x", "y"), (lon, lat), strict=True))


def _csv(columns: dict[str, list[Any]], keep: Any) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    rows = zip(*columns.values(), strict=True)
    writer.writerows([_told(value) for value in row] for row, kept in zip(rows, keep, strict=True) if kept)
    return text.getvalue()


def _told(value: Any) -> Any:
    if isinstance(value, bool):
        return int(value)
    return "" if isinstance(value, float) and np.isnan(value) else value
