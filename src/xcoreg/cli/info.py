"""The command info: georeference, file, nodata and footprint of an image."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import click
import numpy as np
import shapely
from pyproj import Geod

from xcoreg.cli.console import ConsoleCommand
from xcoreg.cli.options import band_option, console_options, image_argument
from xcoreg.cli.words import with_shell_command
from xcoreg.errors import CoregError, GridError, NotGeoreferenced, OptionError
from xcoreg.files import open_gdal
from xcoreg.georef import GCPFit, as_crs, epsg_of, gsd, has_lonlat, pixel_to_lonlat, transform_points
from xcoreg.georef.crs import unit_of
from xcoreg.io.read import open_raster
from xcoreg.raster.bands import other_axes, shape_of, to_band
from xcoreg.raster.footprint import footprint
from xcoreg.raster.grid import georeferenced_by
from xcoreg.raster.overview import overview_of
from xcoreg.raster.raster import make_raster, uncertain_text
from xcoreg.warp.ground import ground_of
from xcoreg.warp.locate import place

if TYPE_CHECKING:
    from xcoreg.cli.console import Console
    from xcoreg.raster.raster import Raster


def describe(path: str, band: Any = None, nodata: float | None = None) -> dict[str, Any]:
    """Describe an image in plain JSON types: georeference, file, nodata, and valid data as an overview shows them.

    `georeference` names what is missing; CRS, corners and footprint are absent then.
    """
    image = open_raster(path)
    axes = {str(dim): int(image.sizes[dim]) for dim in other_axes(image, "image")}
    image = image.isel(dict.fromkeys(axes, 0))
    plane = to_band(image, band, "image")
    found: dict[str, Any] = {
        "path": path,
        "shape": list(plane.shape),
        "bands": _n_bands(image),
        "dtype": str(plane.dtype),
        **({"first_of": axes} if axes else {}),
    }
    try:
        raster = make_raster(image, band=band, nodata=nodata, name="image")
    except NotGeoreferenced as error:
        return (
            found
            | {"georeference": str(error), **_axes_without_crs(image), **_file_facts(image)}
            | _ground_facts(image)
        )
    found |= {"georeference": "complete", **_place(raster.grid), **_file_facts(image)}
    found |= {"nodata": _plain(raster.certain.nodata), "nodata_source": raster.nodata_source, "mask": _mask_of(raster)}
    if raster.nodata_source == "uncertain":
        found["remark"] = uncertain_text(raster, "--nodata")
    raster = raster.certain
    coarse = overview_of(raster)
    found["valid_fraction"] = round(float(coarse.valid.mean()), 4)
    try:
        found["footprint"] = shapely.to_wkt(footprint(raster, coarse), rounding_precision=_digits(raster.grid))
    except GridError as error:
        found["footprint"], found["remark"] = None, str(error)
    return found


def _mask_of(raster: Raster) -> str | None:
    if raster.mask is None:
        return None
    alpha = raster.mask.attrs.get("alpha_band")
    return "a mask beside the pixels" if alpha is None else f"alpha band {alpha}"


def _place(grid: Any) -> dict[str, Any]:
    axes = _axes(grid.transform, grid.shape)
    facts = {**_crs_facts(as_crs(grid.crs)), **axes}
    if not has_lonlat(grid.crs):  # a local CRS
        return facts
    lonlat = {name: _lonlat(grid.crs, *xy) for name, xy in axes["corners"].items()}
    return {**facts, "gsd_m": _gsd_in_metres(grid), "corners_lonlat": lonlat}


def _axes(transform: Any, shape: tuple[int, int]) -> dict[str, Any]:
    rows, cols = shape
    corners = {"upper_left": (0, 0), "upper_right": (cols, 0), "lower_right": (cols, rows), "lower_left": (0, rows)}
    a, b, c, d, e, f = (float(value) + 0.0 for value in tuple(transform)[:6])  # no minus before a zero
    return {
        "gsd": list(gsd(transform)),
        "rotation": math.degrees(math.atan2(d, a)),
        "orientation": _orientation(a, b, d, e),
        "transform": [a, b, c, d, e, f],
        "corners": {name: [a * x + b * y + c, d * x + e * y + f] for name, (x, y) in corners.items()},
    }


def _axes_without_crs(image: Any) -> dict[str, Any]:
    transform = image.rio.transform()
    return {} if transform.is_identity else _axes(transform, shape_of(image))


def _crs_facts(crs: Any) -> dict[str, Any]:
    code = epsg_of(crs)
    return {
        "crs": f"EPSG:{code}" if code else crs.to_wkt(),
        "crs_name": crs.name,
        "unit": unit_of(crs),
        "ellipsoid": crs.ellipsoid.name if crs.ellipsoid is not None else None,
    }


def _orientation(a: float, b: float, d: float, e: float) -> str:
    """Name the orientation of an image on its map."""
    if b or d:
        return "rotated" if a * e - b * d < 0 else "rotated and mirrored"
    return ("north-up" if e < 0 else "south-up") + ("" if a > 0 else ", columns to the west")


def _lonlat(crs: Any, x: float, y: float) -> list[float] | None:
    lon, lat = (float(value) for value in transform_points(crs, "EPSG:4326", x, y))
    return [lon, lat] if math.isfinite(lon) and math.isfinite(lat) else None


def _gsd_in_metres(grid: Any) -> list[float] | None:
    """Size of the pixel in the middle, along columns and rows, on the ellipsoid."""
    rows, cols = grid.shape
    col, row = (cols - 1) / 2 + np.array([-0.5, 0.5, 0, 0]), (rows - 1) / 2 + np.array([0, 0, -0.5, 0.5])
    lon, lat = pixel_to_lonlat(grid.transform, grid.crs, col, row)
    if not (np.isfinite(lon).all() and np.isfinite(lat).all()):
        return None
    return [float(d) for d in Geod(ellps="WGS84").inv(lon[::2], lat[::2], lon[1::2], lat[1::2])[2]]


def _file_facts(image: Any) -> dict[str, Any]:
    """Format, blocks, overviews and control points of the file that an image was opened from."""
    image = next(iter(image.data_vars.values())) if hasattr(image, "data_vars") else image
    try:
        with open_gdal(image.encoding.get("source") or "") as file:
            return {
                "format": file.driver,
                "block": list(file.block_shapes[0]),
                "overviews": list(file.overviews(1)),
                "n_gcps": len(file.gcps[0]),
                "rpcs": file.rpcs is not None,
            }
    except (OptionError, IndexError):  # Zarr, say
        blocks = image.encoding.get("preferred_chunks", {})
        sizes = [blocks.get(dim) for dim in image.dims[-2:]]
        return {"format": None, "block": sizes, "overviews": [], "n_gcps": 0, "rpcs": False} if all(sizes) else {}


def _ground_facts(image: Any) -> dict[str, Any]:
    """Georeference of an image without a transform: its control points or RPCs."""
    try:
        ground = ground_of(image)
    except NotGeoreferenced:
        return {}
    except CoregError as error:  # points or arrays that cannot be right
        return {"remark": str(error)}
    crs, key = ("EPSG:4326", "corners_lonlat") if has_lonlat(ground.crs) else (ground.crs, "corners")
    places = place(image, [0, 1, 1, 0], [0, 0, 1, 1], crs=crs, ground=ground, normalized=True)
    names = ("upper_left", "upper_right", "lower_right", "lower_left")
    corners = {name: [float(x), float(y)] for name, x, y in zip(names, *places, strict=True)}
    by = "control points" if isinstance(ground, GCPFit) else georeferenced_by(image)
    facts = {"georeference": by, key: corners}
    if isinstance(ground, GCPFit):
        facts |= {"gcps": {**_crs_facts(ground.crs), **ground.to_dict()}} if ground.crs is not None else {}
    return facts


def _digits(grid: Any) -> int:
    """Decimals that resolve a thousandth of a pixel."""
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
    if "first_of" in found:
        lines.append(
            ("axes", ", ".join(f"the first of {count} along {dim}" for dim, count in found["first_of"].items()))
        )
    if "format" in found:
        lines.append(("format", _file_words(found)))
    if "transform" not in found and {"corners", "corners_lonlat"} & found.keys():
        return [*lines, *_ground_lines(found)]
    if "crs" not in found:
        return [*lines, ("missing", with_shell_command(found["georeference"])), *_axes_lines(found)]
    code = found["crs"] if found["crs"].startswith("EPSG") else "no EPSG code"
    missing = {"uncertain": "none for certain: see below"}
    missing["none"] = "none: not stored, and " + ("not needed" if found["mask"] else "the corners do not show one")
    nodata = missing.get(
        found["nodata_source"],
        f"{found['nodata']} ({_NODATA_SOURCES.get(found['nodata_source'], found['nodata_source'])})",
    )
    lines += [
        ("CRS", f"{found['crs_name']} ({code}), unit {found['unit']}, ellipsoid {found['ellipsoid'] or 'unknown'}"),
        *_axes_lines(found),
        ("nodata", nodata),
        *([("mask", found["mask"])] if found["mask"] else []),
        ("valid", f"about {100 * found['valid_fraction']:.1f} %"),
    ]
    return [*lines, ("footprint", found["footprint"] or found["remark"])]


def _axes_lines(found: dict[str, Any]) -> list[tuple[str, str]]:
    if "transform" not in found:
        return []
    rotation = f", columns at {found['rotation']:.6g} degrees" if "rotated" in found["orientation"] else ""
    return [
        ("GSD", "x {:.10g}, y {:.10g}".format(*found["gsd"]) + _metres(found)),
        ("affine", ", ".join(f"{value:.12g}" for value in found["transform"])),
        ("axes", found["orientation"] + rotation),
        *((name.replace("_", " "), _corner(found, name)) for name in found["corners"]),
    ]


def _metres(found: dict[str, Any]) -> str:
    return "" if found.get("gsd_m") is None else " ({:.6g} m, {:.6g} m)".format(*found["gsd_m"])


def _corner(found: dict[str, Any], name: str) -> str:
    (x, y), lonlat = found["corners"][name], found.get("corners_lonlat", {}).get(name)
    return f"{x:.12g}, {y:.12g}" + ("" if lonlat is None else " (lon {:.6f}, lat {:.6f})".format(*lonlat))


def _file_words(found: dict[str, Any]) -> str:
    rows, cols = found["block"]
    overviews = ", ".join(map(str, found["overviews"])) or "none"
    more = f", {found['n_gcps']} control points" * bool(found["n_gcps"]) + ", RPCs" * found["rpcs"]
    return f"{found['format'] or 'chunks'}, blocks of {cols} x {rows} px, overviews {overviews}{more}"


def _ground_lines(found: dict[str, Any]) -> list[tuple[str, str]]:
    lines = [("georef.", f"{found['georeference']}: use xcoreg georef rectify for a map grid")]
    if "gcps" in found:
        fit = found["gcps"]
        errors = [fit[key]["px"] for key in ("rmse", "left_out_rmse")]
        fitted, checked = ("unknown" if error is None else f"{error:.3g} px" for error in errors)
        text = f"{fit['n']}, {fit['crs_name']}; {fit['model']}: RMSE {fitted}, at check points {checked}"
        lines.append(("GCPs", text))
    for name, (x, y) in found.get("corners", {}).items():
        lines.append((name.replace("_", " "), f"x {x:.10g}, y {y:.10g}"))
    for name, (lon, lat) in found.get("corners_lonlat", {}).items():
        lines.append((name.replace("_", " "), f"lon {lon:.6f}, lat {lat:.6f}"))
    return lines


_NODATA_SOURCES = {
    "file": "stored in the file",
    "corners": "found from the corners",
    "voids": "found in voids, far from all other values",
    "given": "as given",
}


@click.command(
    cls=ConsoleCommand,
    examples=[
        "xcoreg info image.tif                                   # for people",
        "xcoreg info image.tif --json                            # for programs",
    ],
)
@image_argument
@band_option("--band", "Band to describe: number from 1, or name.  [default: first]")
@click.option("--nodata", type=float, help="Nodata value, instead of the one found (nan and -inf too).")
@click.option("--json", "as_json", is_flag=True, help="Write JSON instead of text.")
@console_options
def info(image: str, console: Console, band: Any, nodata: float | None, as_json: bool) -> None:
    """Describe IMAGE: CRS, pixel size, corners, nodata and how it was found, valid fraction, footprint."""
    found = describe(image, band, nodata)
    if as_json:
        click.echo(json.dumps(found, allow_nan=False, indent=1))
    else:
        click.echo("\n".join(f"{name:<12}{text}" for name, text in _lines(found)))
    if "remark" in found:
        console.warn(found["remark"])
