"""The options of AROSICS and what they mean to xcoreg, the attributes that show them, and ENVI's map info."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.drivers import raster_driver_extensions

from xcoreg import filters
from xcoreg.arosics.geoarray import open_image
from xcoreg.errors import OptionError, is_integer, is_number, numbers_of, unknown_option, warn_user
from xcoreg.georef import as_crs, gsd, to_geotransform
from xcoreg.matching.masks import outside

MISSING = -9999.0
PERCENT = 15 / 60  # xcoreg's usual limit of reliability over that of AROSICS
_LEAST = 64  # px

# Options of matching that both classes take, with AROSICS' defaults.
MATCHING: dict[str, Any] = {
    "ws": None, "window_size": None, "r_b4match": 1, "s_b4match": 1, "max_shift": 5, "nodata": (None, None),
    "footprint_poly_ref": None, "footprint_poly_tgt": None, "data_corners_ref": None, "data_corners_tgt": None,
    "mask_baddata_ref": None, "mask_baddata_tgt": None, "progress": True, "q": False, "v": False, "ignore_errors": None,
    "force_quadratic_win": True,
}  # fmt: skip
OUTPUT: dict[str, Any] = {
    "path_out": None, "fmt_out": "ENVI", "out_crea_options": None, "resamp_alg_deshift": "cubic", "align_grids": False,
    "match_gsd": False, "out_gsd": None, "target_xyGrid": None, "cliptoextent": False, "clipextent": None,
}  # fmt: skip
GLOBAL = {"wp": (None, None)}
LOCAL: dict[str, Any] = {
    "max_points": None, "tieP_filter_level": 3, "min_reliability": 60, "outFillVal": MISSING, "align_grids": True,
    "projectDir": None,
}  # fmt: skip
#: Options that are accepted, AROSICS' defaults, and why another value changes nothing.
_NEEDLESS: dict[str, tuple[Any, str]] = {
    "max_iter": (5, "a shift is refined until it settles"),
    "resamp_alg_calc": ("cubic", "windows are resampled by a Lanczos kernel where grids differ"),
    "binary_ws": (True, "windows of any size transform fast"),
    "calc_corners": (True, "footprints take milliseconds"),
    "CPUs": (None, "dask's scheduler decides; results do not depend on it"),
    "path_verbose_out": (None, "plots and files are made where they are asked for"),
    "rs_max_outlier": (10, "outliers are flagged by their residuals, not by an expected share"),
    "rs_tolerance": (2.5, "outliers are flagged by their residuals, not by an expected share"),
    "rs_random_state": (0, "nothing is drawn at random"),
    "tieP_random_state": (0, "points are chosen evenly, not at random"),
    "min_points_local_corr": (5, "a model is chosen by its error at check points"),
    "max_GCP_count": (None, "a model is fitted to all points"),
}
_PLAIN = (bool, int, float, str)
#: Attributes of AROSICS' objects that show an option under another name.
ATTRIBUTES = {
    "out_creaOpt": "out_crea_options", "rspAlg_DS": "resamp_alg_deshift", "rspAlg_calc": "resamp_alg_calc",
    "bin_ws": "binary_ws", "ignErr": "ignore_errors", "win_pos_XY": "wp", "win_size_XY": "window_size",
}  # fmt: skip


def _is_path(value: Any) -> bool:
    return isinstance(value, str | os.PathLike)


def _is_size(value: Any) -> bool:
    return is_number(value) or numbers_of(value, 2) is not None


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) or (isinstance(value, np.ndarray) and value.ndim > 0)


def _is_pair(value: Any, good: Callable[[Any], bool] = is_number) -> bool:
    return _is_list(value) and len(value) == 2 and all(one is None or good(one) for one in value)


def _is_grid(value: Any) -> bool:
    return _is_list(value) and len(value) == 2 and all(numbers_of(one, 2) for one in value)


def _are_corners(value: Any) -> bool:
    several = _is_list(value) and 3 <= len(value) <= _MOST_CORNERS
    return several and (
        all(numbers_of(one, 2) for one in value) or (len(value) % 2 == 0 and all(map(is_number, value)))
    )


def _are_texts(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(one, str) and "=" in one for one in value)


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool | np.bool_) or (is_integer(value) and value in (0, 1))


_MOST_CORNERS = 10_000
_SIDES = (lambda value: is_integer(value) or _is_pair(value, is_integer), "whole numbers of pixels (columns, rows)")
_FLAG = (_is_flag, "True or False")
_CORNERS = (_are_corners, "a list of corners (x, y)")
#: What options take, besides None; the others go to functions that check them.
_TAKES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "ws": _SIDES, "window_size": _SIDES, "wp": (_is_pair, "the place (x, y) of a window, CRS units"),
    "nodata": (lambda value: is_number(value) or _is_pair(value), "the values of both images, (reference, target)"),
    "data_corners_ref": _CORNERS, "data_corners_tgt": _CORNERS,
    "path_out": (_is_path, "a path"), "projectDir": (_is_path, "a folder"), "dir_out": (_is_path, "a folder"),
    "fmt_out": (lambda value: isinstance(value, str), "GDAL's name of a format"),
    "out_crea_options": (_are_texts, "a list of texts KEY=VALUE"), "out_gsd": (_is_size, "a pixel size, or two (x, y)"),
    "target_xyGrid": (_is_grid, "two places on each axis, [[x, x], [y, y]]"),
    "clipextent": (lambda value: numbers_of(value, 4) is not None, "xmin, ymin, xmax, ymax in its CRS"),
    "min_reliability": (is_number, "a number of percent"), "outFillVal": (is_number, "a number"),
    "max_points": (is_integer, "a whole number"), "band2process": (is_integer, "the number of a band, from 1"),
    "outlDetect_settings": (lambda value: isinstance(value, dict), "a dictionary"),
    **dict.fromkeys(("align_grids", "match_gsd", "cliptoextent", "force_quadratic_win", "ignore_errors", "q", "v",
                     "progress"), _FLAG),
}  # fmt: skip


def check_options(given: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    """Options with their defaults; those that change nothing are named in a warning."""
    for name, value in given.items():
        if name in _NEEDLESS:
            default, why = _NEEDLESS[name]
            if value is not None and (type(value) not in _PLAIN or value != default):
                warn_user(f"{name} has no effect in xcoreg: {why}")
        elif name not in known:
            raise unknown_option(name, [*known, *_NEEDLESS])
        elif value is not None and name in _TAKES and not _TAKES[name][0](value):
            raise OptionError(f"{name}={value!r:.80}: give {_TAKES[name][1]}, or None")
    options = {name: default for name, (default, _) in _NEEDLESS.items()} | known | given
    if options.get("match_gsd") and options.get("out_gsd") is not None:
        warn_user("out_gsd and match_gsd each choose a pixel size: out_gsd is used")
    if "window_size" in options:
        options["window_size"] = options["window_size"] if options["ws"] is None else options["ws"]
    return options


def attribute(options: dict[str, Any], name: str, owner: str) -> Any:
    """Option that an attribute of AROSICS shows."""
    wanted = ATTRIBUTES.get(name, name)
    if name.startswith("_") or wanted not in options:
        raise AttributeError(f"{owner} has no attribute {name!r}")
    if wanted == "window_size" and options[wanted] is None:
        return (256, 256)
    return options[wanted]


def _two(nodata: Any) -> Any:
    """Nodata values of both images; one number is that of both."""
    return nodata if _is_list(nodata) else (nodata, nodata)


def _window(options: dict[str, Any]) -> int | tuple[int, int] | None:
    """Columns and rows of windows; None where AROSICS' default applies, which xcoreg adapts to the overlap."""
    wanted = options["window_size"]
    if wanted is None:
        return None
    sides = [int(side) for side in np.atleast_1d(np.asarray(wanted, dtype=object)) if side is not None]
    if not sides:
        return None
    if min(sides) < _LEAST:
        warn_user(f"windows of {min(sides)} px are small: expect fewer and less accurate matches than of {_LEAST} px")
    if len(set(sides)) > 1 and options["force_quadratic_win"]:
        warn_user(f"windows are square, {min(sides)} px, unless force_quadratic_win=False")
        sides = [min(sides)]
    return (sides[0], sides[-1]) if len(set(sides)) > 1 else sides[0]


def _polygon(given: Any, corners: Any) -> Any:
    if given is not None or corners is None:
        return given
    return shapely.Polygon(np.asarray(corners, np.float64).reshape(-1, 2)).convex_hull


def matching_options(options: dict[str, Any]) -> dict[str, Any]:
    """Options of :func:`xcoreg.match` that AROSICS' options mean; masks name bad pixels there and good ones here."""
    ref_nodata, nodata = _two(options["nodata"])
    bad = {"ref_where": options["mask_baddata_ref"], "where": options["mask_baddata_tgt"]}
    good = {name: outside(open_image(mask)) for name, mask in bad.items() if mask is not None}
    return {
        "window": _window(options),
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


def filters_of(level: int, min_reliability: float) -> list[Any]:
    """Choose the filters of a level, 0 to 3."""
    if not (is_integer(level) and 0 <= level <= 3):
        raise OptionError(f"tieP_filter_level is {level!r}: choose 0, 1, 2 or 3")
    named = [filters.reliability(float(min_reliability) * PERCENT), "ssim", "neighbours", "model"]
    return named[: (0, 1, 2, 4)[level]]


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


def output_path(path: str | None, names: tuple[str, str], driver: str, folder: str | None) -> str | None:
    """Where the corrected image goes: "auto" names it after the reference and the target, beside the target."""
    if path is None:
        return None
    if path == "auto":
        if not names[1] and folder is None:
            raise OptionError("path_out='auto' is named after files: give a path, or images as paths")
        known = (suffix for suffix, name in raster_driver_extensions().items() if name.lower() == driver.lower())
        suffix = "bsq" if driver.upper() == "ENVI" else next(known, driver.lower())
        ref, tgt = (Path(name or what) for name, what in zip(names, ("ref_image", "tgt_image"), strict=True))
        path = str(tgt.with_name(f"{tgt.stem}__shifted_to__{ref.stem}.{suffix}"))
    return path if folder is None else str(Path(folder).absolute() / Path(path).name)
