"""Files of ground control points: CSV, QGIS .points, ENVI .pts, vector files, and rasters with control points.

All of them count pixels from the corner of the image, as GDAL does; see :func:`read_gcps` for each.
"""

from __future__ import annotations

import csv
import io
import os
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import numpy as np
import rasterio
import rasterio.shutil
from pyproj.exceptions import CRSError
from rasterio._err import CPLE_BaseError
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from xcoreg.csv_files import from_plain_cell, plain_cell, read_csv, read_vector_points
from xcoreg.errors import OptionError, hide_secrets, require
from xcoreg.files import as_path, gdal_threads, open_gdal, replacing
from xcoreg.georef.crs import epsg_of, parse_crs
from xcoreg.georef.gcps import GCPs

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyproj import CRS

    Table = dict[str, list[str]]

_WKT = re.compile(r"coordinate system string\s*=\s*\{(.*)\}", re.IGNORECASE)
_INFO = re.compile(r"projection info\s*=\s*\{([^}]*)\}", re.IGNORECASE)
_FIRST = 1.0  # ENVI's number of the corner of the first pixel


def parse_envi(text: str, name: str = "the list") -> GCPs:
    """Read the control points of an ENVI file."""
    head = "\n".join(line for line in text.splitlines() if line.lstrip().startswith(";"))
    try:
        rows = [[float(part) for part in line.split()] for line in text.splitlines() if _holds_data(line)]
    except ValueError as error:
        raise OptionError(f"{name} has cells that are not numbers: {error}") from error
    if {len(row) for row in rows} not in ({4}, {5}):
        raise OptionError(f"{name} needs rows of map x, map y, (elevation,) image x, image y")
    columns = np.array(rows).T
    z = columns[2] if len(columns) == 5 else np.zeros(len(rows))
    pixel, line = columns[-2:] - _FIRST
    return GCPs.from_gdal(pixel, line, columns[0], columns[1], z=z, crs=_crs_of(head))


def _holds_data(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith(";")


def _crs_of(head: str) -> CRS | None:
    wkt, info = _WKT.search(head), _INFO.search(head)
    if wkt:
        return parse_crs(wkt[1])
    parts = [part.strip().lower() for part in info[1].split(",")] if info else []
    if not any(part in ("wgs-84", "wgs 84", "wgs84") for part in parts):
        return None
    if parts[0].startswith("geographic"):
        return parse_crs(4326)
    if parts[0] == "utm" and parts[1].isdecimal():
        return parse_crs(f"UTM {parts[1]} {'S' if parts[2].startswith('s') else 'N'}")
    return None


def envi_text(gcps: GCPs) -> str:
    """Write control points as an ENVI file."""
    tall = bool(gcps.z.any())
    head = ["; ENVI Image to Map GCP File", *_header_crs(gcps), f"; Map ({'x,y,elev' if tall else 'x,y'}), Image (x,y)"]
    columns = [gcps.x, gcps.y, *([gcps.z] if tall else []), gcps.pixel + _FIRST, gcps.line + _FIRST]
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return "\n".join([*head, ";", *(" ".join(map(repr, row)) for row in rows)]) + "\n"


def _header_crs(gcps: GCPs) -> list[str]:
    if gcps.crs is None:
        return []
    code = epsg_of(gcps.crs) or 0
    lines = []
    if code == 4326:
        lines = ["; projection info = {Geographic Lat/Lon, WGS-84, units=Degrees}"]
    elif 32601 <= code <= 32660 or 32701 <= code <= 32760:
        side = "South" if code > 32700 else "North"
        lines = [f"; projection info = {{UTM, {code % 100}, {side}, WGS-84, units=Meters}}"]
    wkt = gcps.crs.to_wkt("WKT1_ESRI") or gcps.crs.to_wkt()
    return [*lines, f"; coordinate system string = {{{wkt}}}"]


_NAMES = {
    "pixel": ("pixel", "imagex", "image_x"),
    "line": ("line", "imagey", "image_y"),
    "col": ("col", "column", "sample"),
    "row": ("row",),
    "x": ("x", "mapx", "map_x", "lon", "longitude", "easting", "east"),
    "y": ("y", "mapy", "map_y", "lat", "latitude", "northing", "north"),
    "z": ("z", "h", "height", "elevation", "elev"),
    "id": ("id", "name", "point_id"),
    "info": ("info", "remark"),
}
_VECTORS = {".gpkg": "GPKG", ".geojson": "GeoJSON", ".shp": "ESRI Shapefile"}
#: Suffixes of lists of points; every other file is read as a raster.
LIST_SUFFIXES = (".csv", ".txt", ".points", ".pts", *_VECTORS)


def read_gcps(path: str | Path, crs: Any = None) -> GCPs:
    """Read ground control points from a raster or from a list.

    Parameters
    ----------
    path : str or Path
        * any raster or VRT that GDAL reads;
        * .csv or .txt: a header that names its columns, `pixel` and `line` counted from the corner or `col` and `row`
          with integers at pixel centres, `x` and `y` (or lon and lat), and optionally `z`, `id`, `info`. The CRS is in
          a line ``#CRS: ...``;
        * .points of QGIS: sourceY counts downwards as a negative number; points that are not enabled are left out;
        * .pts of ENVI: the corner of the first pixel is (1, 1);
        * .gpkg, .geojson or .shp: points with the columns of a CSV.
    crs : CRS in any spelling, optional
        Of the points on the ground; replaces the one in the file.

    Returns
    -------
    GCPs

    Raises
    ------
    OptionError
        When there is no such file, it has no points, or they cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "gcps.csv").write_text("pixel,line,x,y" + chr(10) + "0.5,0.5,300005,5900035")
    ...     gcps = read_gcps(f"{folder}/gcps.csv", crs="EPSG:32633")
    >>> gcps.col.tolist(), gcps.x.tolist()
    ([0.0], [300005.0])
    """
    file = as_path(path)
    suffix = file.suffix.lower()
    if suffix in LIST_SUFFIXES and not file.is_file():
        raise OptionError(f"{path} does not exist")
    reader: Callable[[Path], GCPs]
    if suffix in (".csv", ".txt", ".points"):
        reader = _read_table
    elif suffix == ".pts":
        reader = _read_envi
    else:
        reader = _read_vectors if suffix in _VECTORS else _read_raster
    gcps = reader(file if suffix in LIST_SUFFIXES else path)  # type: ignore[arg-type]
    if not len(gcps):
        raise OptionError(f"{path} has no ground control points")
    return gcps if crs is None else gcps.with_crs(crs)


def save_gcps(gcps: GCPs, path: str | Path) -> Path:
    """Write ground control points as a list, in the format that the suffix names.

    Parameters
    ----------
    gcps : GCPs
    path : str or Path
        .csv, .points (QGIS), .pts (ENVI), .gpkg, .geojson or .shp.

    Returns
    -------
    Path
        The file; :func:`read_gcps` reads it back. ENVI and QGIS files have no names, those of QGIS no heights.

    Raises
    ------
    OptionError
        For any other suffix.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = save_gcps(GCPs([0.0], [1.0], [600005], [4999985], crs=32633), Path(folder, "a.csv"))
    ...     path.read_text().splitlines()
    ['#CRS: EPSG:32633', 'id,info,pixel,line,x,y,z', '1,,0.5,1.5,600005.0,4999985.0,0.0']
    """
    goal = as_path(path)
    suffix = goal.suffix.lower()
    if suffix not in LIST_SUFFIXES:
        raise OptionError(f"GCPs are written as {', '.join(LIST_SUFFIXES)}, not {suffix or 'without a suffix'}")
    with replacing(goal) as temporary:
        if suffix in _VECTORS:
            _write_vectors(gcps, temporary, _VECTORS[suffix])
        else:
            text = {".pts": envi_text, ".points": _qgis_text}.get(suffix, csv_text)(gcps)
            temporary.write_text(text, encoding="utf-8")
    return goal


def _read_raster(path: Path | str) -> GCPs:
    with open_gdal(path) as file:
        return GCPs.from_rasterio(*file.gcps)


def _read_table(path: Path) -> GCPs:
    """Read a CSV file, or one of QGIS: the same with other names."""
    cells = read_csv(path)
    comments = [line.partition(":") for line in cells.attrs["comments"]]
    crs = next((text.strip() for key, _, text in comments if key.lower().replace(" ", "") == "#crs"), None)
    table = {name.lower(): cells[name].tolist() for name in cells.columns}
    return _from_qgis(table, crs, path) if path.suffix.lower() == ".points" else _from_columns(table, crs, path)


def _from_columns(table: Table, crs: Any, path: Path) -> GCPs:
    found = {key: table[name] for key, names in _NAMES.items() for name in names if name in table}
    corner = {"pixel", "line"} <= set(found)
    missing = {"x", "y"} - set(found)
    if missing or not (corner or {"col", "row"} <= set(found)):
        raise OptionError(f"{path} has the columns {', '.join(table)}; needed are x, y, and pixel, line or col, row")
    numbers = {name: _floats(found[name], name, path) for name in ("x", "y", "z") if name in found}
    numbers["z"] = np.nan_to_num(numbers.get("z", np.zeros(len(numbers["x"]))))
    texts: Any = {name: tuple(map(from_plain_cell, found[name])) for name in ("id", "info") if name in found}
    at = [_floats(found[name], name, path) for name in (("pixel", "line") if corner else ("col", "row"))]
    make = GCPs.from_gdal if corner else GCPs
    return make(at[0], at[1], **numbers, **texts, crs=crs)


def _from_qgis(table: Table, crs: Any, path: Path) -> GCPs:
    names = (
        "mapx",
        "mapy",
        "sourcex" if "sourcex" in table else "pixelx",
        "sourcey" if "sourcey" in table else "pixely",
    )
    if not set(names) <= set(table):
        raise OptionError(f"{path} has the columns {', '.join(table)}; needed are mapX, mapY, sourceX, sourceY")
    x, y, pixel, height = (_floats(table[name], name, path) for name in names)
    used = np.array([flag not in ("0", "false") for flag in table.get("enable", ["1"] * len(x))], bool)
    return GCPs.from_gdal(pixel, -height, x, y, crs=crs).select(used)


def _floats(texts: list[str], name: str, path: Path) -> Any:
    try:
        return np.array([float(text) if text else np.nan for text in texts], np.float64)
    except ValueError as error:
        raise OptionError(f"the column {name} of {path} has cells that are not numbers: {error}") from error


def _read_envi(path: Path) -> GCPs:
    return parse_envi(path.read_text(encoding="utf-8-sig", errors="replace"), str(path))


def _crs_line(gcps: GCPs, *, wkt: bool = False) -> str:
    if gcps.crs is None:
        return ""
    code = epsg_of(gcps.crs)
    return f"#CRS: {f'EPSG:{code}' if code and not wkt else gcps.crs.to_wkt()}\n"


def csv_text(gcps: GCPs) -> str:
    """Write control points as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["id", "info", "pixel", "line", "x", "y", "z"])
    texts = ([plain_cell(one) for one in each] for each in (gcps.id, gcps.info))
    columns = (*texts, gcps.pixel.tolist(), gcps.line.tolist(), gcps.x.tolist(), gcps.y.tolist())
    writer.writerows(zip(*columns, gcps.z.tolist(), strict=True))
    return _crs_line(gcps) + text.getvalue()


def _qgis_text(gcps: GCPs) -> str:
    rows = zip(gcps.x.tolist(), gcps.y.tolist(), gcps.pixel.tolist(), (-gcps.line).tolist(), strict=True)
    lines = (f"{x!r},{y!r},{pixel!r},{height!r},1,0,0,0\n" for x, y, pixel, height in rows)
    return _crs_line(gcps, wkt=True) + "mapX,mapY,sourceX,sourceY,enable,dX,dY,residual\n" + "".join(lines)


def _read_vectors(path: Path) -> GCPs:
    table = read_vector_points(path)
    columns = {str(name).lower(): [str(v) for v in table[name]] for name in table.columns if name != "geometry"}
    # A GIS edits the geometry, not the columns x and y.
    columns["x"], columns["y"] = ([repr(float(v)) for v in each] for each in (table.geometry.x, table.geometry.y))
    return _from_columns(columns, parse_crs(table.crs), path)


def _write_vectors(gcps: GCPs, path: Path, driver: str) -> None:
    gpd = require("geopandas", extra="vector")
    columns = {"id": gcps.id, "info": gcps.info, "pixel": gcps.pixel, "line": gcps.line, "z": gcps.z}
    table = gpd.GeoDataFrame(columns, geometry=gpd.points_from_xy(gcps.x, gcps.y), crs=gcps.crs)
    # RFC 7946 wants longitude and latitude
    (table.to_crs(4326) if driver == "GeoJSON" and gcps.crs is not None else table).to_file(path, driver=driver)


_CREATION = {"tiled": "YES", "compress": "DEFLATE", "bigtiff": "IF_SAFER"}
_SUFFIXES = (".vrt", ".tif", ".tiff", "")


def attach_gcps(image: str | Path, gcps: GCPs, out: str | Path) -> Path:
    """Write a copy of an image with ground control points instead of a transform.

    Parameters
    ----------
    image : str or Path
        Any raster GDAL reads.
    gcps : GCPs
        Positions in the image and on the ground.
    out : str or Path
        `.vrt`: a small file that refers to the image, with names and remarks of the points. `.tif`: a GeoTIFF with
        a copy of the pixels, without them.

    Returns
    -------
    Path
        The file. `gdalwarp`, QGIS, rasterio and xcoreg georeference it by the points.

    Raises
    ------
    OptionError
        When the image cannot be read, or is the output itself, or for another format.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np, rasterio
    >>> from xcoreg.georef.gcp_files import read_gcps
    >>> from xcoreg.georef.gcps import GCPs
    >>> profile = {"driver": "GTiff", "width": 9, "height": 5, "count": 1, "dtype": "uint8"}
    >>> with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
    ...     warnings.simplefilter("ignore")
    ...     with rasterio.open(Path(folder, "a.tif"), "w", **profile) as file:
    ...         file.write(np.ones((1, 5, 9), np.uint8))
    ...     gcps = GCPs([0, 8, 0], [0, 0, 4], [5, 85, 5], [95, 95, 55], crs="EPSG:32633")
    ...     read_gcps(attach_gcps(Path(folder, "a.tif"), gcps, Path(folder, "b.vrt")))
    GCPs(3 points, WGS 84 / UTM zone 33N)
    """
    goal = Path(out)
    suffix = goal.suffix.lower()
    if suffix not in _SUFFIXES:
        raise OptionError(f"images with control points are written as .tif and .vrt, not {suffix}")
    source = str(Path(image).resolve()) if Path(image).exists() else str(image)
    if suffix == ".vrt" and hide_secrets(source) != source:
        raise OptionError(f"{goal} would contain the password or signature of {source}: write a GeoTIFF, .tif")
    try:
        with replacing(goal, (source,)) as place, warnings.catch_warnings(), rasterio.Env():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            virtual = _vrt(source, gcps, place.with_name("plain.vrt"), goal.parent if suffix == ".vrt" else None)
            if suffix == ".vrt":
                place.write_bytes(virtual)
            else:
                between = place.with_name("gcps.vrt")
                between.write_bytes(virtual)
                rasterio.shutil.copy(between, place, driver="GTiff", num_threads=gdal_threads(), **_CREATION)
                between.unlink()
    except (RasterioError, CPLE_BaseError) as error:
        raise OptionError(f"{image} cannot be copied to {goal}: {error}") from error
    return goal


def _vrt(source: str, gcps: GCPs, vrt: Path, folder: Path | None) -> bytes:
    """VRT of an image as GDAL writes it, with control points instead of its transform."""
    rasterio.shutil.copy(source, vrt, driver="VRT")
    tree = ET.fromstring(vrt.read_bytes())
    vrt.unlink()
    for name in ("SRS", "GeoTransform", "GCPList"):
        for old in tree.findall(name):
            tree.remove(old)
    for link in tree.iter("SourceFilename"):
        _set_source(link, vrt.parent, folder)
    points = ET.Element("GCPList", Projection="" if gcps.crs is None else _wkt(gcps.crs))
    columns = {"Pixel": gcps.pixel, "Line": gcps.line, "X": gcps.x, "Y": gcps.y, "Z": gcps.z}
    # All digits: GDAL itself would write pixels with four decimals.
    texts = {"Id": gcps.id, "Info": gcps.info, **{key: map(repr, each.tolist()) for key, each in columns.items()}}
    for row in zip(*texts.values(), strict=True):
        ET.SubElement(points, "GCP", dict(zip(texts, row, strict=True)))
    tree.insert(0, points)
    ET.indent(tree)
    text: bytes = ET.tostring(tree, encoding="utf-8")
    return text


def _wkt(crs: CRS) -> str:
    """WKT for any version of GDAL, where it can describe the CRS."""
    try:
        return str(crs.to_wkt("WKT1_GDAL"))
    except CRSError:
        return str(crs.to_wkt())


def _set_source(link: Any, temporary: Path, folder: Path | None) -> None:
    """Write the path of the pixels relative to the folder of the VRT where possible, so that both can be moved."""
    text = link.text or ""
    path = Path(os.path.normpath(temporary / text)) if link.get("relativeToVRT") == "1" else Path(text)
    if not path.exists():  # a web address or a subdataset
        return
    try:
        relative = None if folder is None else os.path.relpath(path, folder.resolve())
    except ValueError:  # another drive
        relative = None
    link.set("relativeToVRT", "0" if relative is None else "1")
    link.text = str(path) if relative is None else Path(relative).as_posix()
