"""The command info: what an image is, as far as matching is concerned."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import click

from xcoreg.cli.inputs import open_image
from xcoreg.cli.job import Job, with_cure
from xcoreg.cli.options import band_option, talk_options

if TYPE_CHECKING:
    from xcoreg.cli.job import Talk

__all__ = ["describe", "info"]


def describe(path: str, band: Any = None, nodata: float | None = None) -> dict[str, Any]:
    """Tell where an image lies and what of it is data, from a coarse look.

    Parameters
    ----------
    path : str
        Path, URL or GDAL name.
    band : int or str, optional
        The band to look at; default: the first.
    nodata : float, optional
        Nodata value, where it is known better.

    Returns
    -------
    dict
        Plain JSON types; `georeference` tells what is missing, and then CRS, corners and footprint are absent.
    """
    import shapely

    from xcoreg.errors import GridError, NotGeoreferenced
    from xcoreg.raster import footprint, look, make_raster, to_band

    image = open_image(path)
    plane = to_band(image, band, "image")
    found: dict[str, Any] = {
        "path": path,
        "shape": list(plane.shape),
        "bands": _n_bands(image),
        "dtype": str(plane.dtype),
    }
    try:
        raster = make_raster(image, band=band, nodata=nodata, name="image")
    except NotGeoreferenced as error:
        return found | {"georeference": str(error)}
    found |= {"georeference": "complete", **_place(raster.grid)}
    found |= {"nodata": _plain(raster.nodata), "nodata_source": raster.nodata_source}
    coarse = look(raster)
    found["valid_fraction"] = round(float(coarse.valid.mean()), 4)
    try:
        found["footprint"] = shapely.to_wkt(footprint(raster, coarse), rounding_precision=_digits(raster.grid))
    except GridError as error:
        found["footprint"], found["remark"] = None, str(error)
    return found


def _place(grid: Any) -> dict[str, Any]:
    from xcoreg.georef import as_crs, gsd

    rows, cols = grid.shape
    corners = {"upper_left": (0, 0), "upper_right": (cols, 0), "lower_right": (cols, rows), "lower_left": (0, rows)}
    a, b, c, d, e, f = tuple(grid.transform)[:6]
    epsg = grid.crs.epsg
    return {
        "crs": f"EPSG:{epsg}" if epsg else grid.crs.to_wkt(),
        "crs_name": as_crs(grid.crs).name,
        "unit": as_crs(grid.crs).axis_info[0].unit_name,
        "gsd": list(gsd(grid.transform)),
        "transform": [a, b, c, d, e, f],
        "corners": {name: [a * x + b * y + c, d * x + e * y + f] for name, (x, y) in corners.items()},
    }


def _digits(grid: Any) -> int:
    """Digits after the point that tell a thousandth of a pixel."""
    from xcoreg.georef import gsd

    return max(0, 3 - math.floor(math.log10(min(gsd(grid.transform)))))


def _n_bands(image: Any) -> int:
    if hasattr(image, "data_vars"):
        return len(image.data_vars)
    return int(image.sizes.get("band", 1))


def _plain(value: float | None) -> Any:
    """Turn NaN and infinities, which JSON lacks, into their names."""
    if value is None or abs(value) < float("inf"):
        return value
    return str(value)


def _lines(found: dict[str, Any]) -> list[tuple[str, str]]:
    (rows, cols), n = found["shape"], found["bands"]
    lines = [("image", found["path"]), ("size", f"{cols} x {rows} px, {n} band{'s' * (n > 1)}, {found['dtype']}")]
    if "crs" not in found:
        return [*lines, ("missing", with_cure(found["georeference"]))]
    code = found["crs"] if found["crs"].startswith("EPSG") else "no EPSG code"
    nodata = {"none": "none: not stored, and the corners do not show one"}.get(
        found["nodata_source"], f"{found['nodata']} ({_HOW.get(found['nodata_source'], found['nodata_source'])})"
    )
    lines += [
        ("CRS", f"{found['crs_name']} ({code}), unit {found['unit']}"),
        ("GSD", "x {:.10g}, y {:.10g}".format(*found["gsd"])),
        *((name.replace("_", " "), f"{x:.12g}, {y:.12g}") for name, (x, y) in found["corners"].items()),
        ("nodata", nodata),
        ("valid", f"about {100 * found['valid_fraction']:.1f} %"),
    ]
    return [*lines, ("footprint", found["footprint"] or found["remark"])]


_HOW = {"file": "stored in the file", "corners": "found from the corners", "given": "as given"}


@click.command(cls=Job)
@click.argument("image")
@band_option("--band", "Band to look at: number from 1, or name.  [default: first]")
@click.option("--nodata", type=float, help="Nodata value, where it is known better (nan and -inf too).")
@click.option("--json", "as_json", is_flag=True, help="Write JSON, for programs.")
@talk_options
def info(image: str, talk: Talk, band: Any, nodata: float | None, as_json: bool) -> None:
    """Tell what IMAGE is: CRS, pixel size, corners, nodata and how it was found, valid fraction, footprint."""
    found = describe(image, band, nodata)
    if as_json:
        click.echo(json.dumps(found, allow_nan=False, indent=1))
    else:
        click.echo("\n".join(f"{name:<12}{text}" for name, text in _lines(found)))
    if "remark" in found:
        talk.warn(found["remark"])
