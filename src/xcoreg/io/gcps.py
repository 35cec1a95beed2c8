"""Images with ground control points, for programs that warp by them."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import rasterio
import rasterio.shutil
from rasterio._err import CPLE_BaseError
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from xcoreg.errors import NotGeoreferenced, OptionError
from xcoreg.io.paths import NoSuchFile, check_output, gdal_path, local_path, new_file
from xcoreg.points.given import as_points
from xcoreg.points.table import TiePoints

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["write_gcps"]

_CREATION = {"tiled": "YES", "compress": "DEFLATE", "bigtiff": "IF_SAFER", "num_threads": "ALL_CPUS"}


def write_gcps(
    image: str | os.PathLike[str], points: Any, path: str | os.PathLike[str], *, max_points: int | None = None
) -> Path:
    """Write an image whose place is told by tie points instead of a transform.

    Parameters
    ----------
    image : str or path
        A georeferenced raster that GDAL reads: the target, or another image of the same product.
    points : TiePoints, GeoDataFrame or path
        Tie points in any CRS; the trusted ones are used. They are brought to the CRS and the pixels of `image`.
    path : str or path
        `.vrt`: a small text that refers to `image`. Anything else: a GeoTIFF with a copy of the pixels (which keeps
        positions, but neither ids nor uncertainties of the points).
    max_points : int, optional
        Thin the points to at most so many, evenly over the area: splines take time with the cube of their number.

    Returns
    -------
    Path
        What was written. `gdalwarp -tps`, QGIS and rasterio warp it to where the points say.

    Raises
    ------
    NoSuchFile
        Without `image`.
    NotGeoreferenced
        When `image` has no transform or no CRS: its pixels have no place to start from.
    OptionError
        When there are no tie points, or the output cannot be written.
    """
    source, crs, transform = _describe(image)
    known = as_points(points, crs, transform)
    if not isinstance(known, TiePoints):
        raise OptionError(
            "there are positions alone, no corrections: match them with tgt.coreg.match_local(points=...)"
        )
    gcps = known.to_gcps(transform, max_points=max_points)
    goal = check_output(path, inputs=(image,))
    try:
        with new_file(goal) as place, warnings.catch_warnings(), rasterio.Env():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            if goal.suffix.lower() == ".vrt":
                place.write_bytes(_vrt(source, gcps, crs, place.with_name("plain.vrt"), goal.parent))
            else:
                between = place.with_name("gcps.vrt")
                between.write_bytes(_vrt(source, gcps, crs, place.with_name("plain.vrt"), None))
                rasterio.shutil.copy(between, place, driver="GTiff", **_CREATION)
                between.unlink()
    except (RasterioError, CPLE_BaseError, OSError) as error:
        raise OptionError(f"{goal} cannot be written: {error}") from error
    return goal


def _describe(image: str | os.PathLike[str]) -> tuple[str, str, tuple[float, ...]]:
    """GDAL's path, CRS and transform of an image."""
    local = local_path(image)
    if local is not None and not local.exists():
        raise NoSuchFile(f"{image} does not exist")
    source = str(local.resolve()) if local is not None else gdal_path(image)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(source) as file:
                crs, transform = file.crs, file.transform
    except RasterioError as error:
        raise OptionError(f"{image} is not a raster that GDAL can read: {error}") from error
    if crs is None or transform.is_identity:
        what = "CRS" if crs is None else "transform"
        raise NotGeoreferenced(f"{image} has no {what}: its pixels have no place that tie points could correct")
    return source, crs.to_wkt(), tuple(transform)[:6]


def _vrt(source: str, gcps: Sequence[Any], crs: str, room: Path, folder: Path | None) -> bytes:
    """Describe an image by GDAL itself, then put control points in the place of its transform."""
    rasterio.shutil.copy(source, room, driver="VRT")
    tree = ET.fromstring(room.read_bytes())
    room.unlink()
    for name in ("SRS", "GeoTransform", "GCPList"):
        for old in tree.findall(name):
            tree.remove(old)
    for link in tree.iter("SourceFilename"):
        _point_to_source(link, room.parent, folder)
    points = ET.Element("GCPList", Projection=crs)
    for gcp in gcps:
        ET.SubElement(
            points,
            "GCP",
            Id=gcp.id,
            Info=gcp.info,
            Pixel=repr(gcp.col),
            Line=repr(gcp.row),
            X=repr(gcp.x),
            Y=repr(gcp.y),
        )
    tree.insert(0, points)
    ET.indent(tree)
    text: bytes = ET.tostring(tree, encoding="utf-8")
    return text


def _point_to_source(link: Any, room: Path, folder: Path | None) -> None:
    """Say where the pixels are: as seen from the folder of the VRT where that can be said, so that both can move."""
    text = link.text or ""
    path = Path(os.path.normpath(room / text)) if link.get("relativeToVRT") == "1" else Path(text)
    if not path.exists():  # an address, or a part of a file
        return
    try:
        relative = None if folder is None else os.path.relpath(path, folder.resolve())
    except ValueError:  # another drive
        relative = None
    link.set("relativeToVRT", "0" if relative is None else "1")
    link.text = str(path) if relative is None else Path(relative).as_posix()
