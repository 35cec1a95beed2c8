"""The commands warp and points, for fields of shifts, and dem, for elevation models."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import xcoreg
from xcoreg.cli import options as shared
from xcoreg.cli.console import Console, ConsoleCommand
from xcoreg.cli.defaults import preset_option
from xcoreg.cli.match import correct_with, find_points, match_files, match_files_locally, print_fit
from xcoreg.cli.paths import OutputFile
from xcoreg.core.matches import describe_counts
from xcoreg.errors import MatchError, OptionError, require

if TYPE_CHECKING:  # --help must not wait for these
    from xcoreg.results.coregistration import Coregistration

_BLOCK_OPTIONS = ("model", "field", "table")
_SMALLEST_BLOCK = 16  # px
_FILE = OutputFile()


@click.command(
    cls=ConsoleCommand,
    examples=[
        "xcoreg warp ref.tif tgt.tif warped.tif --report report.html",
        "xcoreg warp ref.tif tgt.tif warped.tif --spacing 100 --window 128 --model affine --like ref.tif",
    ],
)
@shared.correct_arguments
@shared.local_options
@shared.swipe_option
@shared.write_options
@shared.console_options
def warp(ref: str, tgt: str, out: str, console: Console, **options: Any) -> None:
    """Match TGT with REF by a field of shifts and write the warped TGT to OUT.

    TGT is interpolated once: onto its own grid, unless --align-grid or --like ask for another one.
    """
    correct_with(match_files_locally, ref, tgt, out, options, console)


@click.command(
    cls=ConsoleCommand,
    examples=[
        "xcoreg points ref.tif tgt.tif points.gpkg --spacing 100",
        "xcoreg points ref.tif tgt.tif points.csv --columns arosics",
    ],
)
@shared.correct_arguments
@shared.local_options
@click.option(
    "--columns",
    type=click.Choice(["xcoreg", "arosics"]),
    default="xcoreg",
    show_default=True,
    help="Column names of xcoreg or of AROSICS.",
)
@click.option("--style", is_flag=True, help="Write OUT.qml too, the style with which QGIS shows the points.")
@shared.overwrite_option
@shared.console_options
def points(ref: str, tgt: str, out: str, console: Console, columns: str, style: bool, **options: Any) -> None:
    """Find tie points between TGT and REF and write them to OUT.

    The suffix of OUT chooses the format: .gpkg, .geojson, .parquet, .shp or .csv. Windows that failed are in the table
    too, with the reason in the column status.
    """
    path, _ = Path(out), options.pop("overwrite")
    suffix = xcoreg.coregister.check_table_suffix(path, xcoreg.open_raster(tgt).rio.crs)
    if suffix != ".csv":
        require("geopandas", extra="vector")  # before any work
    found = find_points(ref, tgt, options, console)
    if not found.ok.any():
        raise MatchError(f"no window could be matched: {describe_counts(found.status)}", found)
    found.save(path, columns=columns)
    console.print("points", describe_counts(found.status))
    console.print("wrote", out)
    if style:
        console.print("style", str(xcoreg.results.tables.write_style(path)))


@click.command(
    cls=ConsoleCommand,
    examples=[
        "xcoreg dem ref_dem.tif dem.tif fixed.tif --stable glaciers.gpkg --exclude",
        "xcoreg dem icesat.gpkg dem.tif fixed.tif --matcher rigid --to-datum ellipsoid --vertical-datum EGM2008",
    ],
)
@shared.correct_arguments
@preset_option
@click.option(
    "--matcher",
    default="nuth_kaab",
    show_default=True,
    metavar="NAMES",
    help="nuth_kaab, vertical or deramp; several, separated by commas, are estimated together; or rigid, alone. "
    "Variants follow a colon: nuth_kaab:classic, vertical:mean, deramp:2 to deramp:4, rigid:scale, rigid:auto.",
)
@click.option(
    "--stable",
    "--where",
    "where",
    metavar="FILE",
    help="Stable terrain: raster mask (not zero) or polygons, in any CRS.",
)
@click.option(
    "--bias",
    metavar="NAMES",
    help="Biases to fit as well, with commas: along_track, across_track, elevation, slope, curvature, jitter.",
)
@click.option("--exclude", is_flag=True, help="FILE of --stable marks unstable terrain, such as glaciers.")
@click.option("--block", "--spacing", "spacing", type=float, help="Match block by block, with this side, target px.")
@click.option(
    "--model", type=click.Choice(shared.MODELS), help="Model of the corrections of the blocks.  [default: auto]"
)
@shared.band_option("--band", "Band of the target with elevations: number from 1, or name.  [default: first]")
@shared.band_option("--ref-band", "Band of the reference with elevations.  [default: first]")
@click.option("--max-shift", type=float, help="Largest horizontal shift to accept, target px.")
@click.option(
    "--initial-shift", type=float, nargs=2, metavar="DX DY", help="Where the search begins, CRS units of TGT."
)
@click.option("--z", metavar="COLUMN", help="Column of the heights, of a REF that holds points.")
@click.option(
    "--to-datum",
    metavar="DATUM",
    help="Convert the heights of TGT first: to ellipsoid, EGM96, EGM2008, a CRS, or ref, the datum of REF.",
)
@click.option(
    "--vertical-datum", metavar="DATUM", help="Datum of the heights of TGT, or metres.  [default: that of its CRS]"
)
@click.option("--error-map", type=_FILE, help="Write the standard deviation of each height as GeoTIFF.")
@shared.target_nodata_option
@shared.reference_nodata_option
@shared.fit_option
@click.option("--report", type=_FILE, metavar="HTML", help="Write a page: differences before and after, blocks.")
@click.option("--field", type=_FILE, help="Write the field of the blocks as GeoTIFF.")
@click.option("--table", type=_FILE, help="Write the result of each block: .csv, .gpkg, .geojson, .parquet or .shp.")
@shared.write_options
@shared.console_options
def dem(ref: str, tgt: str, out: str, console: Console, exclude: bool, table: str | None, **options: Any) -> None:
    """Align the elevation model TGT with REF in x, y and z and write the corrected TGT to OUT.

    REF is an elevation model too, or a vector file of points of known height.

    One shift and one offset for all, unless --matcher asks for a tilt or --block for a field. Without --align-grid and
    --like one shift moves the transform: pixels are not interpolated, dz is added to them. Integers become floating
    point.
    """
    output = shared.OutputOptions.pop_from(options, out)
    _check_blocks(options, exclude, table)
    output.check(tgt, heights=output.vertical is not False)
    nodata, errors = options["nodata"], options.pop("error_map")
    with _in_datum(ref, tgt, options.pop("to_datum"), options.pop("vertical_datum")) as path:
        fit = _match_elevations(ref, path, options, console, exclude)
        print_fit(fit, console, _elevation_lines)
        if table:
            fit.points.save(table)
            console.print("table", table)
        if errors:
            heights = xcoreg.open_raster(path, band=options["band"] or 1)
            xcoreg.write_raster(fit.dem_error(heights), errors)
            console.print("errors", errors)
        band = (options["band"] or 1) if fit.has_dz else False
        replace(output, vertical=band if output.vertical is None else output.vertical).write(path, fit, nodata)
    console.print("wrote", out)


@contextmanager
def _in_datum(ref: str, tgt: str, to: str | None, own: str | None) -> Iterator[str]:
    """Path of the target with its heights in another vertical datum, temporary where they are converted."""
    if to is None:
        if own is not None:
            raise OptionError("--vertical-datum says from where --to-datum converts: give both, or leave it out")
        yield tgt
        return
    goal = xcoreg.open_raster(ref) if to == "ref" else _datum(to)
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / f"{Path(tgt).stem}.tif")
        image: Any = xcoreg.open_raster(tgt)
        xcoreg.write_raster(xcoreg.convert_heights(image, goal, vertical_datum=_datum(own)), path)
        yield path


def _datum(text: str | None) -> Any:
    try:
        return float(text or "")
    except ValueError:
        return text


def _check_blocks(options: dict[str, Any], exclude: bool, table: str | None) -> None:
    """Refuse options that do not go together, before any work."""
    if exclude and options["where"] is None:
        raise OptionError("--exclude needs --stable with a mask or polygons of unstable terrain")
    given = [f"--{name}" for name in _BLOCK_OPTIONS if options.get(name)]
    if options["spacing"] is None and (given or table):
        raise OptionError(f"{', '.join(given) or '--table'} belongs to blocks: add --block with their side")
    if options["spacing"] is not None and not options["spacing"] >= _SMALLEST_BLOCK:
        raise OptionError(f"--block is {options['spacing']:g}: give a side of at least {_SMALLEST_BLOCK} target px")
    if table:
        xcoreg.coregister.check_table_suffix(Path(table))


def _match_elevations(ref: str, tgt: str, options: dict[str, Any], console: Console, exclude: bool) -> Coregistration:
    """Match block by block, or as a whole."""
    names = [name.strip() for name in options["matcher"].split(",") if name.strip()]
    options["matcher"] = names[0] if len(names) == 1 else names
    bias = options.pop("bias", None)
    if bias and options["spacing"] is not None:
        raise OptionError("--bias belongs to one correction for all: leave --block out, blocks follow biases")
    if bias:
        options["bias"] = [name.strip() for name in bias.split(",") if name.strip()]
    if exclude:
        options["where"] = xcoreg.outside(options["where"])
    if options["spacing"] is None:
        return match_files(ref, tgt, options | {"debug": None}, console)
    return match_files_locally(ref, tgt, options | {"model": options["model"] or "auto"}, console)


def _elevation_lines(fit: Coregistration) -> Iterator[tuple[str, str]]:
    if fit.is_field:
        yield "model", xcoreg.results.text.model_in_words(fit)
    if len(fit.points) > 1:
        yield "blocks", describe_counts(fit.points.status)
    yield "mean" if fit.is_field else "shift", str(fit.shift)
    q, unit = fit.quality, fit.details.unit_z or "m"
    if q.dh_count and math.isfinite(q.dh_nmad_after):
        nmad = f"NMAD {q.dh_nmad_before:.3f} {unit} before, {q.dh_nmad_after:.3f} {unit} after"
        median = f"median {q.dh_median_before:+.3f} {unit} before, {q.dh_median_after:+.3f} {unit} after"
        yield "heights", f"{nmad}; {median}; {q.dh_count} pixels"
