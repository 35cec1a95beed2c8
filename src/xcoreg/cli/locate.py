"""The command locate: points of a table in an image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import xcoreg
from xcoreg.cli import options as shared
from xcoreg.cli.console import Console, ConsoleCommand
from xcoreg.cli.georef import corners_option, ground_of, height_option
from xcoreg.cli.paths import OutputFile
from xcoreg.errors import OptionError

if TYPE_CHECKING:  # --help must not wait for these
    import pandas as pd

_VECTOR_SUFFIXES = {".gpkg", ".shp", ".geojson", ".fgb", ".parquet"}
_KNOWN_NAMES = (("lon", "longitude", "x", "easting", "col"), ("lat", "latitude", "y", "northing", "row"))


@click.command(
    cls=ConsoleCommand,
    examples=[
        "xcoreg locate image.tif points.csv --out found.csv      # longitude and latitude to columns, rows, values",
        "xcoreg locate image.tif pixels.csv --x col --y row --inverse",
    ],
)
@shared.image_argument
@click.argument("table", type=click.Path(dir_okay=False))
@click.option("--out", type=OutputFile(), help="Write CSV here.  [default: stdout]")
@click.option("--x", metavar="NAME", help="Column of lon or x, by name or number.  [default: lon, x or the first]")
@click.option("--y", metavar="NAME", help="Column of lat or y.  [default: lat, y or the second]")
@click.option("--crs", help="CRS of the points.  [default: that of vectors, else EPSG:4326]")
@click.option("--normalized", is_flag=True, help="Columns and rows from (0, 0) upper left to (1, 1) lower right.")
@click.option("--inverse", is_flag=True, help="The points are columns and rows: find their coordinates, in --crs.")
@click.option("--inside-only", is_flag=True, help="Leave out points that are not on the image.")
@click.option("--gcps", type=click.Path(), metavar="FILE", help="Georeference the image by these control points.")
@corners_option
@click.option("--plane", help="CRS in which the corners are fitted.  [default: centred on the image]")
@height_option
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
    texts = points.select_dtypes(["object", "string"])
    points = points.assign(**{name: texts[name].map(xcoreg.csv_files.plain_cell) for name in texts})
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
        vectors = xcoreg.csv_files.read_vector_points(file)
        columns = vectors.drop(columns=vectors.geometry.name)
        return columns.assign(x=vectors.geometry.x, y=vectors.geometry.y), ("x", "y"), vectors.crs
    table = _with_header(xcoreg.csv_files.read_csv(file, header=False, spaces=True))
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
