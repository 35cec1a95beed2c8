"""The commands georef ...: control points, world files, CRSs, and images rectified by them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from xcoreg.cli.inputs import open_image
from xcoreg.cli.job import Job
from xcoreg.cli.locate import ground_from
from xcoreg.cli.options import creation_options, talk_options

if TYPE_CHECKING:
    from xcoreg.cli.job import Talk

__all__ = ["georef"]

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
    from xcoreg.georef import csv_text, read_gcps, save_gcps

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
    from xcoreg.georef import fit_gcps, read_gcps

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
    from xcoreg.files import check_output
    from xcoreg.georef import attach_gcps, read_gcps

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
    from xcoreg.files import check_output
    from xcoreg.io.write import write_raster
    from xcoreg.warp.rectify import gcps_of
    from xcoreg.warp.rectify import rectify as run

    check_output(out, inputs=(image,), overwrite=options["overwrite"])
    opened = open_image(image, chunks="auto")
    ground = ground_from(options["points"], options["corners"] or (), None, options["model"], options["order"])
    own = gcps_of(opened) if ground is None else None
    if own is not None:
        from xcoreg.georef import fit_gcps

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
    from xcoreg.errors import NotGeoreferenced
    from xcoreg.georef import find_georeference, write_prj, write_world_file

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
    from xcoreg.georef import as_crs, epsg_of, parse_crs

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
