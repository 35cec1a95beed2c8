"""The options of AROSICS and what they mean to xcoreg, its images, and ENVI's map info."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from xarray import DataArray

from xcoreg.errors import unknown_option, warn_user
from xcoreg.georef import as_crs, gsd, to_geotransform
from xcoreg.io.read import open_raster
from xcoreg.matching.masks import outside

MISSING = -9999.0
GDAL_KERNELS = ("cubic_spline", "average", "mode", "min", "max", "med", "q1", "q3")
PERCENT = 15 / 60  # xcoreg's usual limit of reliability over that of AROSICS

# Options of matching that both classes take, with AROSICS' defaults.
MATCHING: dict[str, Any] = {
    "ws": None, "window_size": None, "r_b4match": 1, "s_b4match": 1, "max_shift": 5, "nodata": (None, None),
    "footprint_poly_ref": None, "footprint_poly_tgt": None, "data_corners_ref": None, "data_corners_tgt": None,
    "mask_baddata_ref": None, "mask_baddata_tgt": None, "progress": True, "q": False, "v": False, "ignore_errors": None,
}  # fmt: skip
OUTPUT: dict[str, Any] = {
    "path_out": None, "fmt_out": "ENVI", "out_crea_options": None, "resamp_alg_deshift": "cubic", "align_grids": False,
    "match_gsd": False, "out_gsd": None, "target_xyGrid": None,
}  # fmt: skip
GLOBAL = {"wp": (None, None)}
LOCAL: dict[str, Any] = {
    "max_points": None, "tieP_filter_level": 3, "min_reliability": 60, "outFillVal": MISSING, "align_grids": True,
}  # fmt: skip
#: Options that are accepted, and why they change nothing.
_NEEDLESS = {
    "max_iter": "a shift is refined until it settles",
    "resamp_alg_calc": "windows are resampled by a Lanczos kernel where grids differ",
    "calc_corners": "footprints take milliseconds",
    "binary_ws": "windows of any size transform fast",
    "force_quadratic_win": "windows are square",
    "CPUs": "dask's scheduler decides; results do not depend on it",
    "path_verbose_out": "plots and files are made where they are asked for",
    "projectDir": "outputs are written where path_out says",
    "rs_max_outlier": "outliers are flagged by their residuals, not by an expected share",
    "rs_tolerance": "outliers are flagged by their residuals, not by an expected share",
    "rs_random_state": "nothing is drawn at random",
    "tieP_random_state": "points are chosen evenly, not at random",
    "min_points_local_corr": "a model is chosen by its error at check points",
    "max_GCP_count": "a model is fitted to all points",
    "cliptoextent": "give target_xyGrid= or crop the output",
    "clipextent": "give target_xyGrid= or crop the output",
}


def check_options(given: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    """Options with their defaults; those that change nothing are named in a warning."""
    for name in given:
        if name in _NEEDLESS:
            warn_user(f"{name} has no effect in xcoreg: {_NEEDLESS[name]}")
        elif name not in known:
            raise unknown_option(name, [*known, *_NEEDLESS])
    return known | {name: value for name, value in given.items() if name in known}


def open_image(image: Any) -> Any:
    """Image of what AROSICS takes: a path, an array of xarray, or a GeoArray (`arr`, `gt`, `prj`)."""
    if isinstance(image, str | Path):
        return open_raster(image, chunks="auto")
    if not hasattr(image, "gt"):
        return image
    pixels = np.asarray(image.arr if hasattr(image, "arr") else image[:])
    pixels = pixels if pixels.ndim == 2 else np.moveaxis(pixels, 2, 0)
    made = DataArray(pixels, dims=("band", "y", "x")[-pixels.ndim :])
    nodata = getattr(image, "nodata", None)
    made = made if nodata is None else made.rio.write_nodata(nodata)
    placed: Any = made.rio.write_transform(Affine.from_gdal(*image.gt))
    crs = getattr(image, "prj", None)
    return placed.rio.write_crs(crs) if crs else placed


def path_of(image: Any) -> str:
    """Path of an image, or ""."""
    source = image if isinstance(image, str | Path) else getattr(image, "filePath", "") or ""
    return str(source or getattr(image, "encoding", {}).get("source", ""))


def _side(options: dict[str, Any]) -> int | None:
    """Side of windows; None where AROSICS' default applies, which xcoreg adapts to the overlap."""
    wanted = options["window_size"] if options["window_size"] is not None else options["ws"]
    if wanted is None:
        return None
    sides = [int(side) for side in np.atleast_1d(np.asarray(wanted, dtype=object)) if side is not None]
    if len(set(sides)) > 1:
        warn_user(f"windows are square: {min(sides)} px instead of {sides[0]} x {sides[1]}")
    return min(sides) if sides else None


def _polygon(given: Any, corners: Any) -> Any:
    return shapely.Polygon(corners).convex_hull if given is None and corners is not None else given


def matching_options(options: dict[str, Any]) -> dict[str, Any]:
    """Options of :func:`xcoreg.match` that AROSICS' options mean; masks name bad pixels there and good ones here."""
    ref_nodata, nodata = options["nodata"]
    bad = {"ref_where": options["mask_baddata_ref"], "where": options["mask_baddata_tgt"]}
    good = {name: outside(open_image(mask)) for name, mask in bad.items() if mask is not None}
    return {
        "window": _side(options),
        "ref_band": options["r_b4match"],
        "band": options["s_b4match"],
        "max_shift": options["max_shift"],
        "nodata": nodata,
        "ref_nodata": ref_nodata,
        "footprint": _polygon(options["footprint_poly_tgt"], options["data_corners_tgt"]),
        "ref_footprint": _polygon(options["footprint_poly_ref"], options["data_corners_ref"]),
        "progress": bool(options["progress"]) and not options["q"],
        **good,
    }


def lattice_options(options: dict[str, Any], crs: Any, reference: GeoBox | None) -> dict[str, Any]:
    """Options of :func:`xcoreg.apply` for the output grid."""
    if options["target_xyGrid"] is not None:
        (x0, x1), (y0, y1) = options["target_xyGrid"]
        size = abs(x1 - x0), abs(y1 - y0)
        return {"ref_grid": GeoBox((1, 1), Affine(size[0], 0, x0, 0, -size[1], y0), crs), "resolution": size}
    if options["out_gsd"] is not None:
        return {"resolution": tuple(float(side) for side in np.broadcast_to(options["out_gsd"], 2))}
    if options["match_gsd"] and reference is not None:
        return {"resolution": gsd(reference.affine)}
    return {"align_grid": True} if options["align_grids"] else {}


def map_info(grid: GeoBox) -> list[Any]:
    """ENVI's map info of a grid."""
    crs = None if grid.crs is None else as_crs(grid.crs)
    west, width, _, north, _, height = to_geotransform(grid.affine)
    place = [1, 1, west, north, width, abs(height)]
    if crs is not None and crs.utm_zone:
        return ["UTM", *place, int(crs.utm_zone[:-1]), "North" if crs.utm_zone[-1] == "N" else "South", "WGS-84"]
    return ["Geographic Lat/Lon" if crs is not None and crs.is_geographic else "Arbitrary", *place]


def creation_options(options: list[str] | None) -> dict[str, Any]:
    """Creation options of GDAL from strings KEY=VALUE."""
    return dict(one.split("=", 1) for one in options or [])
