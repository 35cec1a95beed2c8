"""Putting an image file in place by a fit: copied where nothing but its place changes, written anew otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import rasterio

pass  # REMOVED
from xcoreg.files import local_path
from xcoreg.io.write import driver_for
from xcoreg.warp.rectify import needs_rectifying, rectify_by
from xcoreg.warp.vertical import raises

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from xcoreg.results.coregistration import Coregistration

__all__ = ["deliver", "is_plain"]


def deliver(
    source: str,
    fit: Coregistration,
    goal: Path,
    *,
    driver: str | None = None,
    creation: Mapping[str, Any] | None = None,
    overwrite: bool = True,
    **moving: Any,
) -> Path:
    """Correct an image by a fit and write it, whole or not at all.

    Parameters
    ----------
    source : str
        Path, URL or GDAL name of the image.
    fit : Coregistration
    goal : Path
        The output. A GeoTIFF that is only moved is copied byte by byte.
    driver : str, optional
        GDAL's name of the format, if not by extension.
    creation : mapping, optional
        Creation options.
    overwrite : bool
        Whether an existing file may be replaced.
    **moving
        Options of :func:`xcoreg.apply`; `like` may be a path.

    Returns
    -------
    Path
        The output.
    """
    image = open_raster(source, chunks="auto")
    if is_plain(goal, driver, creation, moving) and _only_moves(image, fit, moving) and _is_geotiff(source):
        return copy_moved(source, goal, apply(image, fit, vertical=False).rio.transform())
    if isinstance(moving.get("like"), str):
        moving["like"] = open_raster(moving["like"])
    correct = rectify_by if needs_rectifying(image) else apply
    fixed = correct(image, fit, **moving)
    return write_raster(fixed, goal, driver=driver, overwrite=overwrite, **(creation or {}))


def is_plain(
    goal: Path,
    driver: str | None = None,
    creation: Mapping[str, Any] | None = None,
    moving: Mapping[str, Any] | None = None,
) -> bool:
    """Tell whether a GeoTIFF is asked for, on no other grid and without creation options.

    Parameters
    ----------
    goal, driver, creation, moving
        As for :func:`deliver`.

    Returns
    -------
    bool

    Examples
    --------
    >>> from pathlib import Path
    >>> is_plain(Path("out.tif")), is_plain(Path("out.tif"), "COG"), is_plain(Path("out.tif"), moving={"like": "a.tif"})
    (True, False, False)
    """
    asked = moving or {}
    resampled = asked.get("align_grid") or any(asked.get(name) is not None for name in ("like", "resolution"))
    return not (creation or resampled) and driver_for(goal, driver) == "GTiff"


def _only_moves(image: Any, fit: Coregistration, moving: Mapping[str, Any]) -> bool:
    """Tell whether the pixels stay as they are."""
    if fit.model is None or fit.is_field or needs_rectifying(image):
        return False
    return not raises(image, fit, moving.get("vertical"), moving.get("resampling") or "cubic")


def _is_geotiff(source: str) -> bool:
    path = local_path(source)
    if path is None or not path.is_file():
        return False
    with rasterio.open(path) as image:
        # a file placed by control points has no transform of its own that could be moved
        return image.driver == "GTiff" and not image.gcps[0]
