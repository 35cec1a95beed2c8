"""CRSs: reading any description, EPSG codes, comparison, transformation of points and displacements, longitudes."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pyproj import CRS, Proj, Transformer
from pyproj.exceptions import CRSError, ProjError

from xcoreg.errors import GridError, OptionError, is_integer

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


_UNQUOTED = re.compile(r'\b(AUTHORITY|ID)\[\s*"([^"]+)"\s*,\s*(\d+)\s*\]')
_UTM = re.compile(r"(?:wgs\s*_?(?:19)?84)?[\s/_,-]*utm[\s_-]*(?:zone)?[\s_-]*(\d{1,2})[\s_-]*([ns])", re.IGNORECASE)
_CODE = re.compile(r"(epsg|esri)[\s/_:-]+(\d+)", re.IGNORECASE)
_SAME = 1e-3  # m: EPSG and others round scale factors differently
_LEAST = 25  # %, PROJ's lowest confidence: names agree; whether coordinates do is checked here


def parse_crs(crs: Any) -> CRS | None:
    """Read a CRS in any spelling.

    Parameters
    ----------
    crs : object
        Authority code ("EPSG:32633", 32633, ("EPSG", 32633), URN, "CRS84"), name ("WGS84", "NAD27", "WGS 84 / UTM zone
        33N", "UTM 33N"), PROJ string or dictionary, WKT 1 or 2 (codes without quotes too), ESRI WKT (with or without
        "ESRI::"), PROJJSON, CF grid mapping (dictionary or variable), path of a .prj file, object of pyproj,
        rasterio, odc-geo or GDAL's osr, or anything that has a `crs`.

    Returns
    -------
    pyproj.CRS or None
        The registered CRS where the description is one of EPSG's (:func:`epsg_of`), else as described. None when
        unknown (None, empty text, an empty CRS of rasterio): no CRS is guessed.

    Raises
    ------
    OptionError
        When the description cannot be read.

    Examples
    --------
    >>> [parse_crs(text).to_epsg() for text in ("NAD27", "+proj=utm +zone=11 +datum=WGS84", "EPSG:27700")]
    [4267, 32611, 27700]
    >>> parse_crs("") is None
    True
    """
    text = text_of(crs)
    if text is None:
        return None
    if isinstance(text, CRS):
        return text
    found = spelled_crs(text)
    code = epsg_of(found)
    return found if code is None else spelled_crs(code)


def text_of(crs: Any) -> CRS | str | int | None:
    """Reduce any description of a CRS to what PROJ reads; None for an empty one."""
    if crs is None or isinstance(crs, CRS):
        return crs
    if is_integer(crs):
        return int(crs)
    if isinstance(crs, str | Path):
        return _read_prj_text(str(crs).strip()) or None
    if isinstance(crs, tuple | list) and len(crs) == 2:
        return f"{crs[0]}:{crs[1]}"
    if isinstance(crs, dict):
        return _text_of_dict(crs)
    for name in ("to_wkt", "ExportToWkt"):
        method = getattr(crs, name, None)
        if callable(method):
            return str(method()).strip() or None
    # The CRS of an image, a table, a dataset or a grid mapping variable.
    attrs = getattr(crs, "attrs", None)
    if isinstance(attrs, dict) and {"grid_mapping_name", "crs_wkt", "spatial_ref"} & set(attrs):
        return _text_of_dict(attrs)
    if hasattr(crs, "rio"):
        return text_of(crs.rio.crs)
    if hasattr(crs, "crs"):
        return text_of(crs.crs)
    raise OptionError(f"a {type(crs).__name__} is not a CRS: give an authority code such as 'EPSG:32633', WKT or PROJ")


def _text_of_dict(data: dict[Any, Any]) -> str | None:
    wkt = data.get("crs_wkt") or data.get("spatial_ref")
    if wkt or not data:
        return str(wkt) if wkt else None
    try:
        read = CRS.from_cf if "grid_mapping_name" in data else CRS.from_user_input
        return read(data).to_wkt()
    except (CRSError, KeyError) as error:
        raise OptionError(f"the CRS {str(data)[:80]} is unknown: {str(error)[:120]}") from error


def _read_prj_text(text: str) -> str:
    """Content of a .prj file if the text is its path; GDAL's prefix of ESRI's WKT is removed."""
    bare = text[6:].strip() if text.upper().startswith("ESRI::") else text
    if not bare.lower().endswith(".prj") or "[" in bare:
        return bare
    path = Path(bare)
    if not path.is_file():
        raise OptionError(f"there is no file {path} to read a CRS from")
    return path.read_text(encoding="utf-8-sig", errors="replace").strip()


@lru_cache(maxsize=256)
def spelled_crs(text: str | int) -> CRS:
    """CRS of a text or code, as it is described; equal texts give one cached object."""
    if isinstance(text, str):
        text = text.encode(errors="replace").decode()  # PROJ takes no half characters
    try:
        return _unbound(CRS.from_user_input(text))
    except CRSError as error:
        ours = _proj_spelling(text) if isinstance(text, str) else text
        if ours != text:
            return spelled_crs(ours)
        raise OptionError(
            f"the CRS {str(text)[:80]!r} is unknown: give an authority code such as 'EPSG:32633', WKT or a PROJ string"
        ) from error


def _proj_spelling(text: str) -> str:
    """Text that PROJ reads, for one that it does not: codes without quotes or colon, UTM zones without a datum."""
    if "[" in text:
        return _UNQUOTED.sub(r'\1["\2","\3"]', text)
    if text.upper() in ("CRS84", "CRS:84"):
        return "OGC:CRS84"
    utm, code = _UTM.fullmatch(text), _CODE.fullmatch(text)
    if utm and 1 <= int(utm[1]) <= 60:
        return f"EPSG:{32600 + int(utm[1]) + 100 * (utm[2].lower() == 's')}"
    return f"{code[1].upper()}:{code[2]}" if code else text


def _unbound(crs: CRS) -> CRS:
    """Drop a datum shift of zero from WGS 84 to itself, as old WKT has it."""
    if not crs.is_bound or crs.source_crs is None or crs.coordinate_operation is None:
        return crs
    datum = crs.source_crs.datum
    none = not any(crs.coordinate_operation.towgs84)
    return crs.source_crs if none and datum is not None and datum.name.startswith("World Geodetic System 1984") else crs


def epsg_of(crs: Any) -> int | None:
    """Find the EPSG code of a `crs` in any spelling, also where its description does not name it.

    None when none of EPSG's has the same datum and gives the same coordinates to a millimetre.

    Examples
    --------
    >>> epsg_of("+proj=utm +zone=17 +datum=WGS84"), epsg_of("+proj=laea +lat_0=10 +lon_0=20")
    (32617, None)
    """
    found = text_of(crs)
    if found is None:
        return None
    parsed = found if isinstance(found, CRS) else spelled_crs(found)
    return _epsg_of(parsed)


@lru_cache(maxsize=256)
def _epsg_of(crs: CRS) -> int | None:
    if crs.is_bound and crs.source_crs is not None:
        crs = crs.source_crs
    sure = crs.to_epsg()
    if sure is not None:
        return int(sure)
    maybe = crs.to_epsg(min_confidence=_LEAST)
    return int(maybe) if maybe is not None and _same_numbers(crs, CRS.from_epsg(maybe)) else None


def _same_numbers(one: CRS, two: CRS) -> bool:
    """Whether two CRSs of one datum give the same coordinates, over the area of use of the second."""
    if one.datum is None or two.datum is None or one.datum.name != two.datum.name or one.type_name != two.type_name:
        return False
    if not one.is_projected:
        return bool(one.is_geographic and two.equals(one, ignore_axis_order=True))
    area = two.area_of_use
    west, south, east, north = area.bounds if area is not None else (-10.0, -10.0, 10.0, 10.0)
    lon, lat = np.meshgrid(np.linspace(west, east, 5), np.linspace(south, north, 5))
    first, second = (np.array(Proj(crs)(lon.ravel(), lat.ravel())) for crs in (one, two))
    known = np.isfinite(first).all(axis=0) & np.isfinite(second).all(axis=0)
    metres = np.abs(first - second)[:, known] * one.axis_info[0].unit_conversion_factor
    return bool(known.any() and metres.max() < _SAME)


def as_crs(crs: Any) -> CRS:
    """CRS of any description that :func:`parse_crs` reads, as described; an empty one is refused."""
    if isinstance(crs, CRS):
        return crs
    # Objects of other libraries write their WKT at every call, and even to be hashed; grids are asked very often.
    if type(crs).__hash__ is None or not hasattr(crs, "to_wkt"):
        return _read(crs)
    known = _KNOWN.get(id(crs))
    if known is None or known[0] is not crs:
        if len(_KNOWN) >= _MOST_KNOWN:
            _KNOWN.clear()
        known = _KNOWN[id(crs)] = crs, _read_once(crs)
    return known[1]


_KNOWN: dict[int, tuple[Any, CRS]] = {}  # by identity: the object, and what it describes
_MOST_KNOWN = 128


@lru_cache(maxsize=128)
def _read_once(crs: Any) -> CRS:
    return _read(crs)


def _read(crs: Any) -> CRS:
    found = crs if isinstance(crs, int) else text_of(crs)
    if found is None:
        raise OptionError("the CRS is unknown: name it, for example 'EPSG:32633'")
    return found if isinstance(found, CRS) else spelled_crs(found)


def unit_of(crs: Any) -> str:
    """Name of the unit of a CRS, as "metre" or "degree"."""
    axes = as_crs(crs).axis_info
    return str(axes[0].unit_name) if axes else "unknown"


def same_crs(first: Any, second: Any) -> bool:
    """Whether two CRSs (`first`, `second`) in any spelling give a point the same (x, y).

    Axis order, names and a vertical part do not matter; an unknown CRS equals nothing.

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
    if one.is_engineering and two.is_engineering:  # to PROJ, sites with different names are one
        return _local_identity(one) == _local_identity(two)
    return bool(one.equals(two, ignore_axis_order=True))


def _local_identity(crs: CRS) -> tuple[Any, ...]:
    """Name, unit and sense of the axes: what a local (engineering) CRS has in every spelling and file."""
    axes = crs.axis_info[:2]
    units = {round(axis.unit_conversion_factor, 9) for axis in axes} or {1.0}
    turned = sorted(axis.direction for axis in axes if axis.direction in ("south", "west"))
    return " ".join(crs.name.casefold().split()), tuple(units), tuple(turned)


def has_lonlat(crs: Any) -> bool:
    """Whether a transformation leads to longitude and latitude: not from local CRSs, nor those of other planets."""
    try:
        return crs is not None and _transformer(as_crs(crs).to_wkt(), as_crs("EPSG:4326").to_wkt()) is not None
    except GridError:
        return False


@lru_cache(maxsize=64)
def _transformer(src: str, dst: str) -> Transformer:
    one, two = spelled_crs(src), spelled_crs(dst)
    try:
        # PROJ 9.8 takes coordinates of one site for those of another.
        if (one.is_engineering or two.is_engineering) and not _equivalent(src, dst):
            raise ProjError("local coordinates")
        return Transformer.from_crs(one, two, always_xy=True)
    except ProjError as error:
        raise GridError(
            f"no transformation is known between {one.name!r} and {two.name!r}: check both; if their coordinates are "
            "the same, write one CRS to both, da.rio.write_crs(...)"
        ) from error


def longitude_period(crs: Any) -> float | None:
    """Longitude of one turn around the Earth in the unit of a CRS; None for one without longitudes."""
    found = None if crs is None else as_crs(crs)
    if found is None or not found.is_geographic:
        return None
    return float(np.round(2 * np.pi / found.axis_info[0].unit_conversion_factor, 9))


def wrap_longitude(crs: Any, x: ArrayLike, near: ArrayLike) -> NDArray[np.float64]:
    """Wrap longitudes to within half a turn of a place; coordinates of CRSs without longitudes stay as they are."""
    values, full = np.asarray(x, np.float64), longitude_period(crs)
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
        Longitude in `dst_crs`: wrap longitudes to within half a turn of it: 180.5 near 179.

    Returns
    -------
    x, y : float64, the shape of the input
        In `dst_crs`; infinite where the point cannot be transformed.

    Raises
    ------
    OptionError
        When a CRS is unknown.
    GridError
        When PROJ knows no transformation between them.

    Examples
    --------
    >>> x, y = transform_points("EPSG:4326", "EPSG:32617", -80, 40)
    >>> round(float(x), 5), round(float(y), 5)
    (585360.46184, 4428236.06463)
    """
    xs, ys = np.broadcast_arrays(np.asarray(x, np.float64), np.asarray(y, np.float64))
    if same_crs(src_crs, dst_crs):
        return xs.copy() if near is None else wrap_longitude(dst_crs, xs.copy(), near), ys.copy()
    transformer = _transformer(as_crs(src_crs).to_wkt(), as_crs(dst_crs).to_wkt())
    out_x, out_y = transformer.transform(xs.ravel(), ys.ravel())
    new_x, new_y = (np.asarray(out, np.float64).reshape(xs.shape) for out in (out_x, out_y))
    return new_x if near is None else wrap_longitude(dst_crs, new_x, near), new_y


def local_displacement(
    x: ArrayLike, y: ArrayLike, dx: ArrayLike, dy: ArrayLike, from_crs: Any, to_crs: Any
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Convert a displacement (units of `from_crs`) at places in `to_crs` into units of `to_crs`.

    The place and the displaced place are both transformed there and back: the difference is free of the round-trip
    error and follows rotation, scale and unit exactly.
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


def vertical_datum(crs: Any) -> str | None:
    """Name what the heights of a CRS are above: its vertical part, "ellipsoid" of a 3-D one, None if it has neither."""
    known = as_crs(crs)
    if known.is_compound:
        return str(known.sub_crs_list[-1].name)
    return "ellipsoid" if len(known.axis_info) == 3 else None


def metres_per_pixel(crs: Any, linear: tuple[float, float, float, float], y: float) -> NDArray[np.float64]:
    """Metres to the East and North (rows) per pixel to the right and down (columns): -> (2, 2) float64."""
    known, (a, b, d, e) = as_crs(crs), linear
    unit = np.full(2, float(known.axis_info[0].unit_conversion_factor))
    if known.is_geographic:
        phi, degree = float(np.radians(y * np.degrees(unit[0]))), float(np.degrees(unit[0]))
        east = 111412.84 * np.cos(phi) - 93.5 * np.cos(3 * phi)
        north = 111132.954 - 559.822 * np.cos(2 * phi) + 1.175 * np.cos(4 * phi)
        unit = degree * np.array([east, north])
    return np.asarray(unit[:, None] * np.array([[a, b], [d, e]]))
