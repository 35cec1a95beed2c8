"""Tie points as tables of pandas and geopandas and in files, in xcoreg's columns and in those of AROSICS."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from xcoreg import georef
from xcoreg.core import Bools, Floats
from xcoreg.core.matches import Status
from xcoreg.csv_files import read_csv, read_vectors
from xcoreg.errors import OptionError, require
from xcoreg.files import as_path, replacing

if TYPE_CHECKING:
    from xcoreg.results.tiepoints import TiePoints


# Names under which columns are found, ours first, then those of AROSICS old and new.
_X = ("x", "X_UTM", "X_MAP"), ("y", "Y_UTM", "Y_MAP")
_MAP = (("dx", "dy"), ("X_SHIFT_M", "Y_SHIFT_M"))
_PIXEL = (("dcol", "drow"), ("X_SHIFT_PX", "Y_SHIFT_PX"))
_PLACE = (("col", "row"),)
_ALSO = {
    "window": ("window", "POINT_ID"),
    "dz": ("dz",),
    "score": ("score",),
    "reliability": ("reliability", "RELIABILITY", "RELIABILIT"),
    "ssim_before": ("ssim_before", "SSIM_BEFORE", "SSIM_BEFOR"),
    "ssim_after": ("ssim_after", "SSIM_AFTER"),
    "common": ("common",),
    "size": ("size", "X_WIN_SIZE"),
}
_COUNTS = ("count", "nmad_before", "nmad_after")
_AROSICS_MISSING = -9999.0
_CURE = "rename the columns to dx and dy (CRS units, added to the target's coordinates)"


def to_frame(points: TiePoints) -> Any:
    """Table with a row per window; see :meth:`xcoreg.results.tiepoints.TiePoints.to_dataframe`."""
    with np.errstate(invalid="ignore"):
        sigma_x, sigma_y = np.sqrt(points.cov[:, 0, 0]), np.sqrt(points.cov[:, 1, 1])
    plain = {name: getattr(points, name) for name in ("window", "row", "col", "x", "y", "dx", "dy", "dz")}
    plain |= {"dcol": points.dcol, "drow": points.drow, "length": points.length, "angle": points.angle}
    plain |= {"sigma_x": sigma_x, "sigma_y": sigma_y}
    # Besides the deviations, for these do not square to the last digit of the variances.
    plain |= {"cov_xx": points.cov[:, 0, 0], "cov_xy": points.cov[:, 0, 1], "cov_yy": points.cov[:, 1, 1]}
    plain |= {name: getattr(points, name) for name in ("score", "reliability", "ssim_before", "ssim_after", "common")}
    plain |= _heights(points)
    plain |= {"status": [Status(int(code)).name for code in points.status], "size": points.size}
    table = pd.DataFrame(plain)
    table.attrs["crs_wkt"] = points.crs_wkt
    return table


def _heights(points: TiePoints) -> dict[str, Any]:
    """Columns of elevation models, which images lack."""
    if not np.isfinite(points.count).any():
        return {}
    xz, yz, zz = points.cov_z.T
    with np.errstate(invalid="ignore"):
        out = {"sigma_z": np.sqrt(zz), "cov_xz": xz, "cov_yz": yz, "cov_zz": zz}
    return out | {name: getattr(points, name) for name in _COUNTS}


def with_geometry(table: Any, x: Any, y: Any, crs: str | None) -> Any:
    """Add point geometries to a table; needs the extra `vector`."""
    gpd = require("geopandas", extra="vector")
    return gpd.GeoDataFrame(table, geometry=gpd.points_from_xy(x, y), crs=crs)


def short_crs(crs: str | None) -> str | None:
    """Spell a CRS as briefly as it can be without loss: its code where it has one, else WKT."""
    if crs is None:
        return None
    parsed = georef.as_crs(crs)
    code = parsed.to_authority(min_confidence=100)
    return ":".join(code) if code else str(parsed.to_wkt())


def crs_of_frame(frame: Any) -> str | None:
    """CRS of the coordinates in a table, as WKT: the one named in its column `crs`, else its own."""
    if "crs" in frame.columns:  # a GeoDataFrame's attribute of this name hides the column
        named = frame["crs"].dropna().unique()
        if len(named) > 1:
            raise OptionError(f"the tie points have {len(named)} different CRSs in the column crs: convert them to one")
        if len(named) == 1:
            return str(georef.as_crs(named[0]).to_wkt())
    found = frame.crs if hasattr(frame, "geom_type") else frame.attrs.get("crs_wkt")
    return None if found is None else str(georef.as_crs(found).to_wkt())


def has_corrections(frame: Any) -> bool:
    """Whether a table has corrections, and not positions alone."""
    return _pair(frame, _MAP) is not None or _pair(frame, _PIXEL) is not None


def positions_of(frame: Any) -> tuple[Floats, Floats]:
    """Positions of a table's rows, in the CRS of :func:`crs_of_frame`."""
    columns = _pair(frame, tuple(zip(*_X, strict=True)))
    if not hasattr(frame, "geom_type"):
        if columns is None:
            found = _column_names(frame)
            raise OptionError(f"the table has no positions, only {found}: add columns x and y (CRS units)")
        return columns
    if "crs" in frame.columns and columns is not None:
        return columns  # as GeoJSON keeps them: geometries in degrees, columns in the CRS of the target
    kinds = sorted({str(kind) for kind in frame.geom_type.dropna()} - {"Point"})
    if kinds or frame.geometry.isna().any():
        raise OptionError(
            f"tie points are points, the frame has {', '.join(kinds) or 'rows without geometry'}: use "
            "frame.set_geometry(frame.representative_point()) or drop them"
        )
    x, y = (np.asarray(axis, np.float64) for axis in (frame.geometry.x, frame.geometry.y))
    moved = columns is not None and not np.allclose([x, y], columns, rtol=1e-6, atol=1e-9, equal_nan=True)
    if moved and has_corrections(frame):
        raise OptionError(
            "the geometries are not where the columns x and y say: the frame was moved to another CRS, its corrections "
            "were not. Give it as it was, the CRS is converted here"
        )
    return x, y


def from_frame(frame: Any, transform: Sequence[float] | None = None) -> tuple[dict[str, Any], str | None]:
    """Columns of tie points from a table; see :meth:`xcoreg.results.tiepoints.TiePoints.from_geodataframe`."""
    if not hasattr(frame, "columns"):
        raise OptionError(f"a {type(frame).__name__} is no table of tie points: give a GeoDataFrame or DataFrame")
    x, y = positions_of(frame)
    (dx, dy), (dcol, drow) = _corrections(frame, transform)
    place = _pair(frame, _PLACE)
    if place is None:
        nowhere = np.full(x.shape, np.nan)
        place = (nowhere, nowhere) if transform is None else georef.map_to_pixel(transform, x, y)
    columns: dict[str, Any] = {"x": x, "y": y, "col": place[0], "row": place[1]}
    columns |= {"dx": dx, "dy": dy, "dcol": dcol, "drow": drow}
    also = {name: _first(frame, names) for name, names in _ALSO.items()}
    columns |= {name: values for name, values in also.items() if values is not None}
    columns["window"] = np.arange(x.size) if also["window"] is None else also["window"].astype(np.int64)
    columns["cov"] = _cov(frame, x.size)
    columns |= {name: values for name in _COUNTS if (values := _first(frame, (name,))) is not None}
    lifted = [_first(frame, (name,)) for name in ("cov_xz", "cov_yz", "cov_zz")]
    if all(values is not None for values in lifted):
        columns["cov_z"] = np.stack([np.asarray(values) for values in lifted], -1)
    columns["status"] = _status(frame, np.isfinite(dx) & np.isfinite(dy))
    return columns, crs_of_frame(frame)


def _corrections(frame: Any, transform: Sequence[float] | None) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats]]:
    """Corrections in map units and in pixels, one from the other where only one is given."""
    on_map, in_pixels = _pair(frame, _MAP), _pair(frame, _PIXEL)
    if len(frame) == 0 and on_map is None:  # GeoJSON without features has no columns either
        on_map = np.empty(0), np.empty(0)
    linear = None if transform is None else georef.linear_of(transform)
    if on_map is not None and in_pixels is None:
        unknown = np.full(on_map[0].shape, np.nan)
        in_pixels = (unknown, unknown) if linear is None else georef.vector_to_pixel(linear, *on_map)
    elif on_map is None and in_pixels is not None:
        if linear is None:
            raise OptionError(f"the corrections are in pixels alone: give grid= of the target, or {_CURE}")
        on_map = georef.vector_to_map(linear, *in_pixels)
    if on_map is None or in_pixels is None:
        raise OptionError(f"the table has no corrections, only {_column_names(frame)}: {_CURE}")
    return on_map, in_pixels


def _cov(frame: Any, n: int) -> Floats:
    cov = np.full((n, 2, 2), np.nan)
    for i, axis in enumerate("xy"):
        variance, sigma = _first(frame, (f"cov_{axis}{axis}",)), _first(frame, (f"sigma_{axis}", "sigma"))
        if variance is not None:
            cov[:, i, i] = variance
        elif sigma is not None:
            cov[:, i, i] = sigma**2
    mixed = _first(frame, ("cov_xy",))
    # Standard deviations alone say nothing of a correlation: it is taken as zero.
    plain = np.where(np.isfinite(cov[:, [0, 1], [0, 1]]).all(axis=1), 0.0, np.nan)
    cov[:, 0, 1] = cov[:, 1, 0] = plain if mixed is None else mixed
    return cov


def _status(frame: Any, known: Bools) -> NDArray[np.int8]:
    """Status of every row; without a correction none can be OK."""
    status = np.where(known, np.int8(Status.OK), np.int8(Status.NO_PEAK))
    if "status" in frame.columns:
        given = np.array([_code(value) for value in frame["status"]], np.int8).reshape(-1)
        return np.where(known | (given != Status.OK), given, status)
    names = ("OUTLIER", "L1_OUTLIER", "L2_OUTLIER", "L3_OUTLIER")
    flag = next((name for name in names if name in frame.columns), None)
    if flag is not None:
        # True, "True" and 1 mean the same in files of different formats; -9999 stands where nothing was matched.
        outlier = np.array([str(value).strip().lower() in ("true", "1", "1.0") for value in frame[flag]], bool)
        status = np.where(known & outlier, np.int8(Status.OUTLIER), status)
    return status


def _code(value: Any) -> int:
    if isinstance(value, str) and not value.strip().isdecimal():
        try:
            return int(Status[value.strip().upper()])
        except KeyError:
            cure = f"known are {', '.join(status.name for status in Status)}: drop or rename the column"
            raise OptionError(f"the status {value!r} is unknown, {cure}") from None
    try:
        return int(Status(int(value)))
    except (TypeError, ValueError, OverflowError):
        cure = "use the names of xcoreg's Status, or drop the column"
        raise OptionError(f"the status {value!r} is unknown: {cure}") from None


def _pair(frame: Any, names: Sequence[tuple[str, str]]) -> tuple[Floats, Floats] | None:
    for one, two in names:
        first, second = _first(frame, (one,)), _first(frame, (two,))
        if first is not None and second is not None:
            return first, second
    return None


def _first(frame: Any, names: Sequence[str]) -> Floats | None:
    """Find the first of several columns that is there, as numbers; NaN where missing."""
    found = next((name for name in names if name in frame.columns), None)
    if found is None:
        return None
    column = frame[found]
    try:
        if getattr(column.dtype, "kind", "O") in "biuf":
            values = np.array(column, np.float64)
        else:
            values = np.array([float("nan") if missing else float(value) for value, missing in
                               zip(column, column.isna(), strict=True)], np.float64)  # fmt: skip
    except (TypeError, ValueError) as error:
        raise OptionError(f"the column {found} of the tie points does not hold numbers ({error})") from error
    if found.isupper():
        values[values == _AROSICS_MISSING] = np.nan
    return values


def _column_names(frame: Any) -> str:
    names = [str(name) for name in frame.columns]
    return ", ".join(names[:12]) + (" ..." if len(names) > 12 else "") or "no columns"


def guess_spacing(points: TiePoints) -> int:
    """Distance between the windows of a grid."""
    for axis in (points.col, points.row):
        steps = np.diff(np.unique(np.rint(axis[np.isfinite(axis)])))
        if steps.size:
            values, counts = np.unique(steps, return_counts=True)
            return max(1, int(values[np.argmax(counts)]))
    return 1


def arosics_columns(points: TiePoints, nodata: float) -> dict[str, Any]:
    """Columns under the names that AROSICS gives them."""
    grid = points.grid
    if grid is None:
        raise OptionError(
            "the columns of AROSICS need the grid of the target: fit.points.save(path, columns='arosics'), or "
            "points.on_grid(target.coreg.grid).save(path, columns='arosics')"
        )
    if not (np.isfinite(points.row).all() and np.isfinite(points.col).all()):
        raise OptionError("tie points without row and col have no place in the columns of AROSICS: load them with "
                          "grid= of the target")  # fmt: skip
    # A hair's breadth keeps a centre between two pixels in the right one, whatever its last digit is.
    x_im, y_im = (np.floor(axis + 0.5 + 1e-6).astype(np.int64) for axis in (points.col, points.row))
    x, y = georef.pixel_to_map(tuple(grid.affine)[:6], x_im - 0.5, y_im - 0.5)
    res = guess_spacing(points) if points.spacing is None else max(1, round(points.spacing))
    n_cols = math.ceil(grid.shape[1] / res)
    shifts = {
        "X_SHIFT_PX": points.dcol, "Y_SHIFT_PX": points.drow, "X_SHIFT_M": points.dx, "Y_SHIFT_M": points.dy,
        "ABS_SHIFT": points.length, "ANGLE": points.angle,
    }  # fmt: skip
    return {
        "POINT_ID": (y_im // res) * n_cols + x_im // res,
        "X_IM": x_im, "Y_IM": y_im, "X_UTM": x, "Y_UTM": y,
        "X_WIN_SIZE": points.size, "Y_WIN_SIZE": points.size,
        **{name: np.where(points.ok & np.isfinite(values), values, nodata) for name, values in shifts.items()},
    }  # fmt: skip


_DRIVERS = {".gpkg": "GPKG", ".geojson": "GeoJSON", ".json": "GeoJSON", ".shp": "ESRI Shapefile"}
_KNOWN = (*_DRIVERS, ".parquet", ".csv")
_MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None")  # cells of a CSV without a value
# A shapefile cuts names after ten characters: cut them so that they stay distinct.
_SHORT = {"reliability": "reliab", "ssim_before": "ssim_bef", "ssim_after": "ssim_aft", "nmad_before": "nmad_bef"}
_LONG = {short: name for name, short in _SHORT.items()}


def write_style(path: Path) -> Path:
    """Write the style of QGIS for a table of tie points beside it, where QGIS finds it, and return its path."""
    goal = path.with_suffix(".qml")
    with replacing(goal) as temporary:
        temporary.write_text(Path(__file__).with_name("tie_points.qml").read_text(encoding="utf-8"), encoding="utf-8")
    return goal


def check_suffix(path: Path, crs: Any = None) -> str:
    """Name the format of a file, and refuse one that cannot hold positions in a CRS."""
    suffix = path.suffix.lower()
    if suffix not in _KNOWN:
        raise OptionError(f"tie points cannot be written as {path.name!r}: use one of {', '.join(_KNOWN)}")
    if _DRIVERS.get(suffix) == "GeoJSON" and crs is not None and not georef.has_lonlat(crs):
        name = georef.as_crs(crs).name
        raise OptionError(
            f"GeoJSON holds longitudes and latitudes, to which no transformation leads from {name!r}: "
            "save as .gpkg, .parquet, .shp or .csv, which keep its coordinates"
        )
    return suffix


def save_points(points: TiePoints, path: str | Path, columns: str, nodata: float | None) -> None:
    """Write tie points to a file; see :meth:`xcoreg.results.tiepoints.TiePoints.save`."""
    suffix = check_suffix(as_path(path), points.crs_wkt)
    if columns not in ("xcoreg", "arosics"):
        raise OptionError(f"columns={columns!r} is unknown: choose 'xcoreg' or 'arosics'")
    if columns == "arosics":
        marker = -9999.0 if nodata is None else nodata
        table = pd.DataFrame(arosics_columns(points, marker))
        x, y = table["X_UTM"], table["Y_UTM"]
    else:
        table, x, y = points.to_dataframe(), points.x, points.y
        table = table if nodata is None else table.fillna(nodata)
    crs = short_crs(points.crs_wkt)
    if suffix != ".csv":
        table = with_geometry(table, x, y, crs)
    if crs is not None and suffix in (".csv", ".geojson", ".json"):
        table = table.assign(crs=crs)  # these formats have no other place for it
    with replacing(path) as temporary:
        if suffix == ".csv":
            table.to_csv(temporary, index=False)
        elif suffix == ".parquet":
            table.to_parquet(temporary, index=False)
        else:
            _write_vector(table, temporary, suffix)


def _write_vector(frame: Any, path: Path, suffix: str) -> None:
    driver = _DRIVERS[suffix]
    if driver == "GeoJSON":
        # GDAL writes what looks like rounding error without its last digits; RFC 7946 knows no infinities.
        plain = frame.replace([float("inf"), float("-inf")], None)
        path.write_text(plain.to_json(na="null", drop_id=True, to_wgs84=frame.crs is not None), encoding="utf-8")
        return
    if suffix == ".shp":
        frame = frame.rename(columns=_SHORT)
    # An empty layer has no first geometry to take the type from.
    frame.to_file(path, driver=driver, engine="pyogrio", index=False, geometry_type="Point")


def read_frame(path: str | Path) -> Any:
    """Read a table of points."""
    source, suffix = as_path(path), check_suffix(as_path(path))
    if not source.exists():
        raise OptionError(f"there is no file {source}: tie points are written by points.save(path)")
    if suffix == ".csv":
        return read_csv(source).replace(list(_MISSING), np.nan)
    frame = read_vectors(source, "tie points")
    return frame.rename(columns=_LONG) if suffix == ".shp" else frame
