"""Images that carry control points in the place of a transform."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from xcoreg.errors import OptionError
from xcoreg.points.atomic import replacing

if TYPE_CHECKING:
    from pyproj import CRS

    from xcoreg.georef.gcps import GCPs

__all__ = ["attach_gcps"]

_CREATION = {"tiled": "YES", "compress": "DEFLATE", "bigtiff": "IF_SAFER", "num_threads": "ALL_CPUS"}
_SUFFIXES = (".vrt", ".tif", ".tiff", "")


def attach_gcps(image: str | Path, gcps: GCPs, out: str | Path) -> Path:
    """Write a copy of an image that carries ground control points instead of a transform.

    Parameters
    ----------
    image : str or Path
        Any raster GDAL reads.
    gcps : GCPs
        Positions in the image and on the ground.
    out : str or Path
        `.vrt`: a small text that refers to the image, and keeps names and remarks of the points. `.tif`: a GeoTIFF with
        a copy of the pixels, which keeps neither.

    Returns
    -------
    Path
        What was written. `gdalwarp`, QGIS and rasterio warp it to where the points say, and so does xcoreg.

    Raises
    ------
    OptionError
        When the image cannot be read, or is the output itself, or for another format.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np, rasterio
    >>> from xcoreg.georef.gcpfiles import read_gcps
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
    import rasterio
    import rasterio.shutil
    from rasterio._err import CPLE_BaseError
    from rasterio.errors import NotGeoreferencedWarning, RasterioError

    goal = Path(out)
    suffix = goal.suffix.lower()
    if suffix not in _SUFFIXES:
        raise OptionError(f"images carry control points as .tif and .vrt, not {suffix}")
    local = Path(image).exists()
    if local and goal.exists() and goal.samefile(image):
        raise OptionError(f"the output {goal} is the input itself: give another path")
    source = str(Path(image).resolve()) if local else str(image)
    try:
        with replacing(goal) as place, warnings.catch_warnings(), rasterio.Env():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            virtual = _vrt(source, gcps, place.with_name("plain.vrt"), goal.parent if suffix == ".vrt" else None)
            if suffix == ".vrt":
                place.write_bytes(virtual)
            else:
                between = place.with_name("gcps.vrt")
                between.write_bytes(virtual)
                rasterio.shutil.copy(between, place, driver="GTiff", **_CREATION)
                between.unlink()
    except (RasterioError, CPLE_BaseError) as error:
        raise OptionError(f"{image} cannot be copied to {goal}: {error}") from error
    return goal


def _vrt(source: str, gcps: GCPs, room: Path, folder: Path | None) -> bytes:
    """Describe an image by GDAL itself, then put control points in the place of its transform."""
    import rasterio.shutil

    rasterio.shutil.copy(source, room, driver="VRT")
    tree = ET.fromstring(room.read_bytes())
    room.unlink()
    for name in ("SRS", "GeoTransform", "GCPList"):
        for old in tree.findall(name):
            tree.remove(old)
    for link in tree.iter("SourceFilename"):
        _point_to_source(link, room.parent, folder)
    points = ET.Element("GCPList", Projection="" if gcps.crs is None else _wkt(gcps.crs))
    columns = {"Pixel": gcps.pixel, "Line": gcps.line, "X": gcps.x, "Y": gcps.y, "Z": gcps.z}
    # All digits: GDAL itself would write four after the point of a pixel.
    texts = {"Id": gcps.id, "Info": gcps.info, **{key: map(repr, each.tolist()) for key, each in columns.items()}}
    for row in zip(*texts.values(), strict=True):
        ET.SubElement(points, "GCP", dict(zip(texts, row, strict=True)))
    tree.insert(0, points)
    ET.indent(tree)
    text: bytes = ET.tostring(tree, encoding="utf-8")
    return text


def _wkt(crs: CRS) -> str:
    """WKT for any version of GDAL, where it has words for the CRS."""
    from pyproj.exceptions import CRSError

    try:
        return str(crs.to_wkt("WKT1_GDAL"))
    except CRSError:
        return str(crs.to_wkt())


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
