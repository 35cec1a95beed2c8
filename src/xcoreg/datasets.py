"""Bundled images: a crop of two real Sentinel-2 scenes of one place, ten days apart."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import cast

import rioxarray
from xarray import DataArray

from xcoreg.errors import OptionError, is_name

__all__ = ["ATTRIBUTION", "NAMES", "path", "sentinel2_pair"]

ATTRIBUTION = "Contains modified Copernicus Sentinel data 2016"
"""Credit that the licence requires wherever the images are shown."""

NAMES = ("sentinel2_ref", "sentinel2_tgt")
"""Names of the bundled images."""


def path(name: str) -> Path:
    """Path of a bundled image.

    Parameters
    ----------
    name : str
        One of `NAMES`.

    Returns
    -------
    Path
        A GeoTIFF in the installed package; do not write to it.

    Raises
    ------
    OptionError
        When there is no image of this name.

    Examples
    --------
    >>> path("sentinel2_ref").name
    'sentinel2_ref.tif'
    """
    if not is_name(name, NAMES):
        raise OptionError(f"no bundled image is called {name!r}: choose one of {', '.join(NAMES)}")
    return Path(str(resources.files("xcoreg").joinpath("data", f"{name}.tif")))


def sentinel2_pair() -> tuple[DataArray, DataArray]:
    """Open two real images of fields, forest and villages with a shift of about two pixels.

    One band of Sentinel-2A, 10 m, uint16, nodata 0, EPSG:32633. The reference (8 June 2016, 770 x 800) ends at the
    slanted edge of a swath, the target (29 May 2016, 780 x 780) has some clouds and their shadows. Least squares over
    57 windows of 128 pixels put the correction at (-6.3, -18.7) m, with a scatter of 0.7 m from window to window.

    Returns
    -------
    (ref, tgt) : DataArray
        Dimensions (band, y, x), lazy; `ATTRIBUTION` goes with every picture of them.

    Examples
    --------
    >>> ref, tgt = sentinel2_pair()
    >>> ref.shape, tgt.shape, str(tgt.dtype)
    ((1, 770, 800), (1, 780, 780), 'uint16')
    """
    ref, tgt = (rioxarray.open_rasterio(path(name)) for name in NAMES)
    return cast("DataArray", ref), cast("DataArray", tgt)
