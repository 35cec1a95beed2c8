"""Tie points in files: one format per suffix, written whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from xcoreg.errors import OptionError, require
from xcoreg.points import frames
from xcoreg.points.arosics import arosics_columns
from xcoreg.points.atomic import replacing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xcoreg.points.table import TiePoints

__all__ = ["Grid", "check_suffix", "read_frame", "save_points"]

#: Affine (a, b, c, d, e, f), (rows, cols) and distance of the windows in px: of the target, None where unknown.
Grid = tuple["Sequence[float] | None", "tuple[int, int] | None", "int | None"]
_DRIVERS = {".gpkg": "GPKG", ".geojson": "GeoJSON", ".json": "GeoJSON", ".shp": "ESRI Shapefile"}
_KNOWN = (*_DRIVERS, ".parquet", ".csv")
# A shapefile cuts names after ten characters: cut them so that they stay distinct.
_SHORT = {"reliability": "reliab", "ssim_before": "ssim_bef", "ssim_after": "ssim_aft", "nmad_before": "nmad_bef"}
_LONG = {short: name for name, short in _SHORT.items()}


def check_suffix(path: Path) -> str:
    """Name the format of a file.

    Parameters
    ----------
    path : Path

    Returns
    -------
    str
        Its suffix in lower case.

    Raises
    ------
    OptionError
        When it is none of the known ones.

    Examples
    --------
    >>> check_suffix(Path("a.GPKG"))
    '.gpkg'
    """
    suffix = path.suffix.lower()
    if suffix not in _KNOWN:
        raise OptionError(f"tie points cannot be kept as {path.name!r}: use one of {', '.join(_KNOWN)}")
    return suffix


def save_points(points: TiePoints, path: str | Path, columns: str, nodata: float | None, grid: Grid) -> None:
    """Write tie points to a file; see :meth:`xcoreg.points.TiePoints.save`.

    Parameters
    ----------
    points : TiePoints
    path : str or Path
        The suffix names the format.
    columns : {"xcoreg", "arosics"}
    nodata : float, optional
        Stands for missing numbers.
    grid : (transform, shape, spacing)
        Of the target, each may be None.

    Raises
    ------
    OptionError
        When an option is unknown, the grid is needed and missing, or the place cannot be written.
    """
    suffix = check_suffix(Path(path))
    if columns not in ("xcoreg", "arosics"):
        raise OptionError(f"columns={columns!r} is unknown: choose 'xcoreg' or 'arosics'")
    if columns == "arosics":
        marker = -9999.0 if nodata is None else nodata
        table = frames.plain_frame(arosics_columns(points, *grid, marker))
        x, y = table["X_UTM"], table["Y_UTM"]
    else:
        table, x, y = points.to_dataframe(), points.x, points.y
        table = table if nodata is None else table.fillna(nodata)
    crs = frames.short_crs(points.crs_wkt)
    if suffix != ".csv":
        table = frames.with_geometry(table, x, y, crs)
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
    """Read a table of points.

    Parameters
    ----------
    path : str or Path
        Any of the formats that can be written.

    Returns
    -------
    DataFrame for .csv, else GeoDataFrame

    Raises
    ------
    OptionError
        When there is no such file, or it cannot be read.
    MissingDependency
        When the extra `vector` is needed and not installed.
    """
    source, suffix = Path(path), check_suffix(Path(path))
    if not source.exists():
        raise OptionError(f"there is no file {source}: tie points are written by points.save(path)")
    gpd = None if suffix == ".csv" else require("geopandas", extra="vector")
    try:
        if gpd is None:
            return _read_csv(source)
        if suffix == ".parquet":
            return gpd.read_parquet(source)
        frame = gpd.read_file(source, engine="pyogrio")
        return frame.rename(columns=_LONG) if suffix == ".shp" else frame
    except Exception as error:  # readers of four libraries raise what they like
        raise OptionError(f"{source} cannot be read as tie points: {error}") from error


def _read_csv(source: Path) -> Any:
    import pandas as pd

    # As text: the parser for numbers may be wrong in the last digit.
    return pd.read_csv(source, dtype=str)
