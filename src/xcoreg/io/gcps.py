"""Images with ground control points, for programs that warp by them."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from xcoreg.errors import NotGeoreferenced, OptionError
from xcoreg.georef import GCPs, attach_gcps
from xcoreg.io.paths import NoSuchFile, check_output, gdal_path, local_path
from xcoreg.results.external import as_points
from xcoreg.results.tiepoints import TiePoints

__all__ = ["write_gcps"]


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
        `.vrt`: a small text that refers to `image`. `.tif`: a GeoTIFF with a copy of the pixels (which keeps
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
    goal = check_output(path, inputs=(image,))
    gcps = GCPs.from_rasterio(known.to_gcps(transform, max_points=max_points), crs)
    return attach_gcps(source, gcps, goal)


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
