"""What users of GDAL know: geotransform tuples, and pixels in longitude and latitude."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine

from xcoreg.errors import OptionError
from xcoreg.georef.crs import transform_points
from xcoreg.georef.ground import AffineGround
from xcoreg.georef.pixels import pixel_to_map

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

__all__ = ["from_geotransform", "lonlat_to_pixel", "pixel_to_lonlat", "to_geotransform"]


def from_geotransform(geotransform: Sequence[float]) -> Affine:
    """Turn GDAL's geotransform into an affine.

    Parameters
    ----------
    geotransform : six floats
        (x of the corner, dx per column, dx per row, y of the corner, dy per column, dy per row), in GDAL's order.

    Returns
    -------
    Affine
        Pixel corner to map.

    Raises
    ------
    OptionError
        When it is no geotransform that can be inverted.

    Examples
    --------
    >>> tuple(from_geotransform((590000, 20, 0, 4928000, 0, -20)))[:6]
    (20.0, 0.0, 590000.0, 0.0, -20.0, 4928000.0)
    """
    numbers = [float(value) for value in geotransform]
    if len(numbers) != 6 or not np.isfinite(numbers).all():
        raise OptionError(f"a geotransform has six finite numbers, not {tuple(geotransform)}")
    if numbers[1] * numbers[5] - numbers[2] * numbers[4] == 0:
        raise OptionError(f"the geotransform {tuple(geotransform)} cannot be inverted: it maps all pixels onto a line")
    return Affine.from_gdal(*numbers)


def to_geotransform(transform: Affine | Sequence[float]) -> tuple[float, float, float, float, float, float]:
    """Turn an affine into GDAL's geotransform; the inverse of :func:`from_geotransform`.

    Parameters
    ----------
    transform : Affine or sequence of six floats (a, b, c, d, e, f)
        Pixel corner to map.

    Returns
    -------
    six floats
        In GDAL's order.

    Examples
    --------
    >>> to_geotransform(Affine(20, 0, 590000, 0, -20, 4928000))
    (590000.0, 20.0, 0.0, 4928000.0, 0.0, -20.0)
    """
    a, b, c, d, e, f = (float(value) for value in tuple(transform)[:6])
    return c, a, b, f, d, e


def pixel_to_lonlat(
    transform: Affine | Sequence[float], crs: Any, col: ArrayLike, row: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Longitudes and latitudes (WGS 84) of pixel positions.

    Parameters
    ----------
    transform : Affine or sequence of six floats (a, b, c, d, e, f)
        Pixel corner to map.
    crs : CRS in any spelling
        Of the map.
    col, row : float or array
        Position, px; an integer is the centre of a pixel.

    Returns
    -------
    lon, lat : float64, the shape of the input
        Degrees; infinite where the pixel lies nowhere.

    Examples
    --------
    >>> lon, lat = pixel_to_lonlat(Affine(10, 0, 354218, 0, -10, 5805564), "EPSG:32633", 0, 0)
    >>> round(float(lon), 9), round(float(lat), 9)
    (12.85818556, 52.380863991)
    """
    return transform_points(crs, "EPSG:4326", *pixel_to_map(transform, col, row))


def lonlat_to_pixel(
    transform: Affine | Sequence[float], crs: Any, lon: ArrayLike, lat: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Pixel positions of longitudes and latitudes (WGS 84); the inverse of :func:`pixel_to_lonlat`.

    Parameters
    ----------
    transform : Affine or sequence of six floats (a, b, c, d, e, f)
        Pixel corner to map.
    crs : CRS in any spelling
        Of the map.
    lon, lat : float or array
        Degrees.

    Returns
    -------
    col, row : float64, the shape of the input
        Position, px; an integer is the centre of a pixel. On a map in degrees longitudes are taken in the turn that
        begins with the first column.

    Examples
    --------
    >>> col, row = lonlat_to_pixel(Affine(10, 0, 585000, 0, -10, 4428300), "EPSG:32617", -80, 40)
    >>> round(float(col), 3), round(float(row), 3)
    (35.546, 5.894)
    """
    return AffineGround(Affine(*tuple(transform)[:6]), crs).to_pixel(*transform_points("EPSG:4326", crs, lon, lat))
