"""Pixels and maps: the affine's linear part, the one half pixel, and displacements between CRSs.

Conventions, used everywhere:

- vectors, covariances and linear parts are ordered (x, y) = (column, row);
- an integer column or row is the *centre* of a pixel, while the affine maps pixel corners;
  :func:`pixel_to_map` and :func:`map_to_pixel` are the only places that know of that half pixel;
- x comes before y, longitude before latitude, whatever the CRS's own axis order.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from affine import Affine
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError

from xcoreg.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "Linear",
    "as_crs",
    "cov_to_map",
    "cov_to_pixel",
    "gsd",
    "linear_of",
    "local_displacement",
    "map_to_pixel",
    "pixel_to_map",
    "same_crs",
    "transform_points",
    "translate",
    "vector_to_map",
    "vector_to_pixel",
]

#: The linear part (a, b, d, e) of an affine: dx = a dcol + b drow, dy = d dcol + e drow.
Linear: TypeAlias = "tuple[float, float, float, float]"


def linear_of(transform: Affine | Sequence[float]) -> Linear:
    """Return the linear part of an affine transform.

    Parameters
    ----------
    transform : Affine or sequence of six floats (a, b, c, d, e, f)
        Pixel corner to map.

    Returns
    -------
    tuple of four floats
        (a, b, d, e): map units per pixel, so that ``dx = a dcol + b drow`` and ``dy = d dcol + e drow``.

    Examples
    --------
    >>> linear_of(Affine(10, 0, 300000, 0, -10, 5900040))
    (10.0, 0.0, 0.0, -10.0)
    """
    a, b, _, d, e, _ = (float(value) for value in tuple(transform)[:6])
    return a, b, d, e


def vector_to_map(linear: Linear, dcol: ArrayLike, drow: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Turn a displacement in pixels into one in map units.

    Parameters
    ----------
    linear : tuple of four floats
        From :func:`linear_of`.
    dcol, drow : float or array
        To the right and down, px.

    Returns
    -------
    dx, dy : float64, the shape of the input
        Along the CRS axes, CRS units.

    Examples
    --------
    >>> dx, dy = vector_to_map((10.0, 0.0, 0.0, -10.0), 3, -2)
    >>> float(dx), float(dy)
    (30.0, 20.0)
    """
    a, b, d, e = linear
    col, row = np.asarray(dcol, np.float64), np.asarray(drow, np.float64)
    return np.asarray(a * col + b * row), np.asarray(d * col + e * row)


def vector_to_pixel(linear: Linear, dx: ArrayLike, dy: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Turn a displacement in map units into one in pixels; the inverse of :func:`vector_to_map`.

    Parameters
    ----------
    linear : tuple of four floats
        From :func:`linear_of`.
    dx, dy : float or array
        Along the CRS axes, CRS units.

    Returns
    -------
    dcol, drow : float64, the shape of the input
        To the right and down, px.

    Examples
    --------
    >>> dcol, drow = vector_to_pixel((10.0, 0.0, 0.0, -10.0), 30, 20)
    >>> float(dcol), float(drow)
    (3.0, -2.0)
    """
    a, b, d, e = linear
    det = a * e - b * d
    x, y = np.asarray(dx, np.float64), np.asarray(dy, np.float64)
    return np.asarray((e * x - b * y) / det), np.asarray((a * y - d * x) / det)


def cov_to_map(linear: Linear, cov: ArrayLike) -> NDArray[np.float64]:
    """Carry covariances from pixels to map units.

    Parameters
    ----------
    linear : tuple of four floats
        From :func:`linear_of`.
    cov : (..., 2, 2) array
        Axes (col, row), px².

    Returns
    -------
    (..., 2, 2) float64
        Axes (x, y), CRS units².

    Examples
    --------
    >>> cov_to_map((10.0, 0.0, 0.0, -10.0), [[0.01, 0.002], [0.002, 0.04]]).round(6).tolist()
    [[1.0, -0.2], [-0.2, 4.0]]
    """
    jacobian = _matrix(linear)
    return np.asarray(jacobian @ np.asarray(cov, np.float64) @ jacobian.T)


def cov_to_pixel(linear: Linear, cov: ArrayLike) -> NDArray[np.float64]:
    """Carry covariances from map units to pixels; the inverse of :func:`cov_to_map`.

    Parameters
    ----------
    linear : tuple of four floats
        From :func:`linear_of`.
    cov : (..., 2, 2) array
        Axes (x, y), CRS units².

    Returns
    -------
    (..., 2, 2) float64
        Axes (col, row), px².

    Examples
    --------
    >>> cov_to_pixel((10.0, 0.0, 0.0, -10.0), [[1.0, -0.2], [-0.2, 4.0]]).round(6).tolist()
    [[0.01, 0.002], [0.002, 0.04]]
    """
    jacobian = np.linalg.inv(_matrix(linear))
    return np.asarray(jacobian @ np.asarray(cov, np.float64) @ jacobian.T)


def _matrix(linear: Linear) -> NDArray[np.float64]:
    return np.asarray(linear, np.float64).reshape(2, 2)


def pixel_to_map(
    transform: Affine | Sequence[float], col: ArrayLike, row: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Map coordinates of pixel positions; an integer is the centre of a pixel.

    Parameters
    ----------
    transform : Affine or sequence of six floats (a, b, c, d, e, f)
        Pixel corner to map.
    col, row : float or array
        Position, px; (0, 0) is the centre of the first pixel.

    Returns
    -------
    x, y : float64, the shape of the input
        CRS units.

    Examples
    --------
    >>> x, y = pixel_to_map(Affine(20, 0, 590000, 0, -20, 4928000), 0, 0)
    >>> float(x), float(y)
    (590010.0, 4927990.0)
    """
    x0, y0 = float(transform[2]), float(transform[5])
    dx, dy = vector_to_map(linear_of(transform), np.asarray(col, np.float64) + 0.5, np.asarray(row, np.float64) + 0.5)
    return np.asarray(x0 + dx), np.asarray(y0 + dy)


def map_to_pixel(
    transform: Affine | Sequence[float], x: ArrayLike, y: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Pixel positions of map coordinates; the inverse of :func:`pixel_to_map`.

    Parameters
    ----------
    transform : Affine or sequence of six floats (a, b, c, d, e, f)
        Pixel corner to map.
    x, y : float or array
        CRS units.

    Returns
    -------
    col, row : float64, the shape of the input
        Position, px; (0, 0) is the centre of the first pixel.

    Examples
    --------
    >>> col, row = map_to_pixel(Affine(20, 0, 590000, 0, -20, 4928000), 590000, 4928000)
    >>> float(col), float(row)
    (-0.5, -0.5)
    """
    # Subtracting the origin first keeps digits that a precomputed inverse offset would lose.
    dx, dy = np.asarray(x, np.float64) - float(transform[2]), np.asarray(y, np.float64) - float(transform[5])
    col, row = vector_to_pixel(linear_of(transform), dx, dy)
    return np.asarray(col - 0.5), np.asarray(row - 0.5)


def gsd(transform: Affine | Sequence[float]) -> tuple[float, float]:
    """Positive pixel size along the columns' and the rows' direction.

    Parameters
    ----------
    transform : Affine or sequence of six floats (a, b, c, d, e, f)
        Pixel corner to map; rotated and south-up ones included.

    Returns
    -------
    x, y : float
        CRS units.

    Examples
    --------
    >>> gsd(Affine(3, 0, 0, 4, -10, 0))
    (5.0, 10.0)
    """
    a, b, d, e = linear_of(transform)
    return math.hypot(a, d), math.hypot(b, e)


def translate(transform: Affine | Sequence[float], dx: float, dy: float) -> Affine:
    """Move a transform by a map vector, leaving its linear part untouched.

    Parameters
    ----------
    transform : Affine or sequence of six floats (a, b, c, d, e, f)
        Pixel corner to map.
    dx, dy : float
        Correction along the CRS axes, CRS units: added to every map coordinate.

    Returns
    -------
    Affine
        The moved transform.

    Examples
    --------
    >>> moved = translate(Affine(10, 0, 300000, 0, -10, 5900040), 3.5, 15.5)
    >>> moved.c, moved.f
    (300003.5, 5900055.5)
    """
    a, b, c, d, e, f = (float(value) for value in tuple(transform)[:6])
    return Affine(a, b, c + float(dx), d, e, f + float(dy))


def as_crs(crs: Any) -> CRS:
    """Make a pyproj CRS of any spelling of one.

    Parameters
    ----------
    crs : str, int, pyproj, rasterio or odc-geo CRS
        EPSG code, authority string, WKT, PROJ string or object.

    Returns
    -------
    pyproj.CRS
        Equal inputs give one cached object.

    Raises
    ------
    OptionError
        When it is empty or nobody knows it.

    Examples
    --------
    >>> as_crs("EPSG:32633").name
    'WGS 84 / UTM zone 33N'
    """
    if crs is None or (isinstance(crs, str) and not crs.strip()):
        raise OptionError("the CRS is unknown (empty): name it, for example 'EPSG:32633'")
    if isinstance(crs, CRS):
        return crs
    return _parse_crs(crs if isinstance(crs, str | int) else crs.to_wkt())


@lru_cache(maxsize=256)
def _parse_crs(text: str | int) -> CRS:
    try:
        return CRS.from_user_input(text)
    except CRSError as error:
        raise OptionError(
            f"the CRS {str(text)[:80]!r} is unknown: use an authority code such as 'EPSG:32633', WKT or a PROJ string"
        ) from error


def same_crs(first: Any, second: Any) -> bool:
    """Tell whether two CRSs give a point the same (x, y).

    Axis order, names and a vertical part do not matter; an unknown CRS equals nothing.

    Parameters
    ----------
    first, second : CRS in any spelling, or None

    Returns
    -------
    bool
        True when coordinates need no transformation.

    Examples
    --------
    >>> same_crs("EPSG:32633", "+proj=utm +zone=33 +datum=WGS84")
    True
    >>> same_crs(None, None)
    False
    """
    if first is None or second is None:
        return False
    one, two = as_crs(first), as_crs(second)
    return one is two or _equivalent(one.to_wkt(), two.to_wkt())


@lru_cache(maxsize=256)
def _equivalent(first: str, second: str) -> bool:
    if first == second:
        return True
    one, two = _parse_crs(first).to_2d(), _parse_crs(second).to_2d()
    return bool(one.equals(two, ignore_axis_order=True))


@lru_cache(maxsize=64)
def _transformer(src: str, dst: str) -> Transformer:
    return Transformer.from_crs(_parse_crs(src), _parse_crs(dst), always_xy=True)


def transform_points(
    src_crs: Any, dst_crs: Any, x: ArrayLike, y: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Transform points between two CRSs, x before y always.

    Parameters
    ----------
    src_crs, dst_crs : CRS in any spelling
        Equal ones return the points untouched.
    x, y : float or array
        In `src_crs`: East or longitude first.

    Returns
    -------
    x, y : float64, the shape of the input
        In `dst_crs`; infinite where the point has no image.

    Raises
    ------
    OptionError
        When a CRS is unknown.

    Examples
    --------
    >>> x, y = transform_points("EPSG:4326", "EPSG:32617", -80, 40)
    >>> round(float(x), 5), round(float(y), 5)
    (585360.46184, 4428236.06463)
    """
    xs, ys = np.broadcast_arrays(np.asarray(x, np.float64), np.asarray(y, np.float64))
    if same_crs(src_crs, dst_crs):
        return xs.copy(), ys.copy()
    transformer = _transformer(as_crs(src_crs).to_wkt(), as_crs(dst_crs).to_wkt())
    out_x, out_y = transformer.transform(xs.ravel(), ys.ravel())
    return np.asarray(out_x, np.float64).reshape(xs.shape), np.asarray(out_y, np.float64).reshape(xs.shape)


def local_displacement(
    x: ArrayLike, y: ArrayLike, dx: ArrayLike, dy: ArrayLike, from_crs: Any, to_crs: Any
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Express a displacement known in one CRS in another, at given places.

    Parameters
    ----------
    x, y : float or array
        The places, in `to_crs`.
    dx, dy : float or array
        The displacement there, in units of `from_crs`.
    from_crs, to_crs : CRS in any spelling

    Returns
    -------
    dx, dy : float64 arrays
        The same displacement in units of `to_crs`.

    Raises
    ------
    OptionError
        When a CRS is unknown.

    Notes
    -----
    The place and the displaced place are both carried over and back, so the difference is free of the
    transformation's round-trip error and follows rotation, scale and unit exactly.

    Examples
    --------
    Ten metres East near Berlin are about 0.00015 degrees of longitude:

    >>> dx, dy = local_displacement(13.0, 52.5, 10.0, 0.0, "EPSG:32633", "EPSG:4326")
    >>> round(float(dx), 6), round(float(dy), 6)
    (0.000147, 2e-06)
    """
    if same_crs(from_crs, to_crs):
        same_x, same_y, _, _ = np.broadcast_arrays(
            np.asarray(dx, np.float64), np.asarray(dy, np.float64), np.asarray(x), np.asarray(y)
        )
        return same_x.copy(), same_y.copy()
    start_x, start_y = transform_points(to_crs, from_crs, x, y)
    end = transform_points(from_crs, to_crs, start_x + np.asarray(dx), start_y + np.asarray(dy))
    back = transform_points(from_crs, to_crs, start_x, start_y)
    return end[0] - back[0], end[1] - back[1]
