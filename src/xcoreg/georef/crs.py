"""CRSs: reading their spellings, comparing them, carrying points and displacements between them."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError

from xcoreg.errors import GridError, OptionError
from xcoreg.georef.spelling import spelled_crs, text_of

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["as_crs", "full_turn", "in_turn", "local_displacement", "same_crs", "transform_points"]


def as_crs(crs: Any) -> CRS:
    """Make a pyproj CRS of any spelling of one.

    Parameters
    ----------
    crs : object
        Whatever :func:`xcoreg.georef.parse_crs` reads.

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
    if isinstance(crs, CRS):
        return crs
    # Objects of other libraries write themselves out as text each time; grids are asked for theirs a great many times.
    known = type(crs).__hash__ is not None and hasattr(crs, "to_wkt")
    return _written_once(crs) if known else _read(crs)


@lru_cache(maxsize=128)
def _written_once(crs: Any) -> CRS:
    return _read(crs)


def _read(crs: Any) -> CRS:
    found = crs if isinstance(crs, int) else text_of(crs)
    if found is None:
        raise OptionError("the CRS is unknown (empty): name it, for example 'EPSG:32633'")
    return found if isinstance(found, CRS) else spelled_crs(found)


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
    one, two = spelled_crs(first).to_2d(), spelled_crs(second).to_2d()
    return bool(one.equals(two, ignore_axis_order=True))


@lru_cache(maxsize=64)
def _transformer(src: str, dst: str) -> Transformer:
    one, two = spelled_crs(src), spelled_crs(dst)
    try:
        return Transformer.from_crs(one, two, always_xy=True)
    except ProjError as error:
        raise GridError(f"no transformation is known between {one.name!r} and {two.name!r}") from error


def full_turn(crs: Any) -> float | None:
    """Tell how much longitude leads once around the Earth.

    Parameters
    ----------
    crs : CRS in any spelling, or None

    Returns
    -------
    float or None
        In the unit of the CRS, 360 as a rule; None for a CRS without longitudes.

    Examples
    --------
    >>> full_turn("EPSG:4326"), full_turn("EPSG:32633")
    (360.0, None)
    """
    found = None if crs is None else as_crs(crs)
    if found is None or not found.is_geographic:
        return None
    return float(np.round(2 * np.pi / found.axis_info[0].unit_conversion_factor, 9))


def in_turn(crs: Any, x: ArrayLike, near: ArrayLike) -> NDArray[np.float64]:
    """Tell longitudes in the turn around a place: 180.5 near 179, -179.5 near -179.

    Parameters
    ----------
    crs : CRS in any spelling, or None
    x : float or array
        Longitudes; of a CRS without any, map coordinates, which are left as they are.
    near : float or array
        The place, in the same unit.

    Returns
    -------
    float64 array
        Within half a turn of the place; numbers that lie there are left as they are.

    Examples
    --------
    >>> in_turn("EPSG:4326", [-179.5, 10.0], 179.0)
    array([180.5,  10. ])
    """
    values, full = np.asarray(x, np.float64), full_turn(crs)
    if full is None:
        return values
    turns = np.round((np.asarray(near, np.float64) - values) / full)
    return values + full * np.where(np.isfinite(turns), turns, 0.0) if turns.any() else values


def transform_points(
    src_crs: Any, dst_crs: Any, x: ArrayLike, y: ArrayLike, near: ArrayLike | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Transform points between two CRSs, x before y always.

    Parameters
    ----------
    src_crs, dst_crs : CRS in any spelling
        Equal ones return the points untouched.
    x, y : float or array
        In `src_crs`: East or longitude first.
    near : float or array, optional
        Longitude in `dst_crs`: tell longitudes in the turn around it (:func:`in_turn`).

    Returns
    -------
    x, y : float64, the shape of the input
        In `dst_crs`; infinite where the point has no image.

    Raises
    ------
    OptionError
        When a CRS is unknown.
    GridError
        When no transformation leads from one to the other.

    Examples
    --------
    >>> x, y = transform_points("EPSG:4326", "EPSG:32617", -80, 40)
    >>> round(float(x), 5), round(float(y), 5)
    (585360.46184, 4428236.06463)
    """
    xs, ys = np.broadcast_arrays(np.asarray(x, np.float64), np.asarray(y, np.float64))
    if same_crs(src_crs, dst_crs):
        return xs.copy() if near is None else in_turn(dst_crs, xs.copy(), near), ys.copy()
    transformer = _transformer(as_crs(src_crs).to_wkt(), as_crs(dst_crs).to_wkt())
    out_x, out_y = transformer.transform(xs.ravel(), ys.ravel())
    new_x, new_y = (np.asarray(out, np.float64).reshape(xs.shape) for out in (out_x, out_y))
    return new_x if near is None else in_turn(dst_crs, new_x, near), new_y


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
