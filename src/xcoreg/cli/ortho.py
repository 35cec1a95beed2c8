"""The command ortho: a raw image with RPCs over an elevation model, corrected against a reference."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import xcoreg
from xcoreg.cli import options as shared
from xcoreg.cli.console import Console, ConsoleCommand
from xcoreg.cli.match import print_fit
from xcoreg.cli.paths import OutputFile

if TYPE_CHECKING:  # --help must not wait for these
    from xcoreg.results.coregistration import Coregistration

_MATCHING = ("band", "ref_band", "spacing", "window", "max_shift", "model", "nodata", "ref_nodata")


@click.command(
    cls=ConsoleCommand,
    examples=[
        "xcoreg ortho raw.tif dem.tif ortho.tif --vertical-datum EGM96",
        "xcoreg ortho raw.tif dem.tif ortho.tif --ref reference.tif --save-rpcs raw_RPC.TXT",
    ],
)
@click.argument("image")
@click.argument("dem")
@click.argument("out", type=OutputFile())
@click.option("--ref", metavar="RASTER", help="Correct the RPCs by tie points to this image first.")
@click.option("--rpcs", metavar="FILE", help="RPCs: _RPC.TXT, .RPB or an image.  [default: those of IMAGE]")
@click.option(
    "--vertical-datum",
    metavar="DATUM",
    help="From where DEM counts: ellipsoid, EGM96, EPSG:CODE, or the geoid's height, m.  [default: as DEM says]",
)
@click.option("--drop-hidden", is_flag=True, help="Leave out what the terrain hides.")
@click.option("--like", metavar="RASTER", help="Rectify onto the grid of this raster.")
@click.option("--crs", help="CRS of OUT.  [default: that of --ref, else longitude and latitude]")
@click.option("--resolution", type=float, help="Pixel size of OUT, units of its CRS.")
@shared.resampling_option()
@shared.image_nodata_option
@shared.band_option("--band", "Band of IMAGE to match: number from 1, or name.  [default: first]")
@shared.band_option("--ref-band", "Band of the reference to match.  [default: first]")
@shared.reference_nodata_option
@click.option("--spacing", type=float, help="Distance between windows, px.  [default: the side of a window]")
@shared.window_option
@click.option("--max-shift", type=float, help="Largest shift to search, px.  [default: 0.4 of a window]")
@click.option(
    "--model",
    type=click.Choice(("auto", "translation", "affine")),
    default="auto",
    show_default=True,
    help="Correction in the raw image; auto chooses by the error at check points.",
)
@shared.fit_option
@click.option("--save-rpcs", type=OutputFile(), help="Write the corrected RPCs: image_RPC.TXT or image.RPB.")
@shared.format_options
@shared.console_options
def ortho(image: str, dem: str, out: str, console: Console, **options: Any) -> None:
    """Rectify IMAGE, a raw image with RPCs, over DEM onto a map grid: OUT.

    DEM is a raster of heights, or one height in metres above the ellipsoid. With --ref the RPCs are first corrected by
    tie points to a reference, by a shift or an affine map of the raw image. IMAGE is interpolated once.
    """
    if options["ref"] is None and (options["save_fit"] or options["save_rpcs"]):
        raise xcoreg.errors.OptionError("--save-fit and --save-rpcs hold a correction: give the reference, --ref")
    creation: dict[str, Any] = dict(shared.creation_options(options["co"]))
    xcoreg.coregister.check_format(Path(out), options["driver"], creation, image)
    opened = xcoreg.open_raster(image, chunks="auto")
    ground = None if options["rpcs"] is None else xcoreg.georef.read_rpcs(options["rpcs"])
    terrain = {"dem": _number(dem), "vertical_datum": _number(options["vertical_datum"])}
    if options["ref"] is not None:
        ground = _corrected(opened, ground, terrain, options, console)
    crs = options["crs"] or _own_crs(options)
    form = {name: options[name] for name in ("resolution", "resampling", "nodata", "drop_hidden")}
    like = None if options["like"] is None else xcoreg.open_raster(options["like"])
    made = xcoreg.coregister.rectify(opened, ground, like=like, crs=crs, **form, **terrain)
    xcoreg.coregister.write_output(made, opened, Path(out), driver=options["driver"], **creation)
    console.print("wrote", out)


def _own_crs(options: dict[str, Any]) -> Any:
    """CRS of the reference, unless another grid is asked for."""
    return None if options["ref"] is None or options["like"] else xcoreg.open_raster(options["ref"]).rio.crs


def _corrected(image: Any, ground: Any, terrain: dict[str, Any], options: dict[str, Any], console: Console) -> Any:
    """Match with the reference, write what was found, and return the fit, which is a ground."""
    chosen = {name: options[name] for name in _MATCHING if options[name] is not None}
    reference = xcoreg.open_raster(options["ref"], chunks="auto")
    fit: Coregistration = xcoreg.match_local(image, reference, ground=ground, **terrain, **chosen)
    print_fit(fit, console)
    if options["save_fit"]:
        fit.save(options["save_fit"])
        console.print("fit", options["save_fit"])
    if options["save_rpcs"]:
        refit = fit.corrected_rpcs()
        xcoreg.georef.write_rpcs(options["save_rpcs"], refit)
        console.print("rpcs", f"{options['save_rpcs']}, refitted to {refit.rms:.2g} px RMS")
    return fit


def _number(text: str | None) -> Any:
    """Read a number where a text is one."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return text
