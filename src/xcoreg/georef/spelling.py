"""Reading a CRS in any of its spellings, and finding the EPSG code of one that does not tell it."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from pyproj import CRS, Proj
from pyproj.exceptions import CRSError

from xcoreg.errors import OptionError

__all__ = ["epsg_of", "parse_crs", "spelled_crs", "text_of"]

_UNQUOTED = re.compile(r'\b(AUTHORITY|ID)\[\s*"([^"]+)"\s*,\s*(\d+)\s*\]')
_UTM = re.compile(r"(?:wgs\s*_?(?:19)?84)?[\s/_,-]*utm[\s_-]*(?:zone)?[\s_-]*(\d{1,2})[\s_-]*([ns])", re.IGNORECASE)
_CODE = re.compile(r"(epsg|esri)[\s/_:-]+(\d+)", re.IGNORECASE)
_SAME = 1e-3  # m: the registry and other makers round scale factors differently
_NO_CODE = 25  # %, PROJ's lowest confidence: names agree; whether numbers do is looked at here


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
        unknown (None, empty text, an empty CRS of rasterio): nothing is ever guessed.

    Raises
    ------
    OptionError
        When something is said that nobody understands.

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
    """Reduce any spelling of a CRS to what PROJ reads.

    Parameters
    ----------
    crs : object
        As for :func:`parse_crs`.

    Returns
    -------
    pyproj.CRS, str, int or None
        None when nothing is said.

    Raises
    ------
    OptionError
        When it is no spelling of a CRS.

    Examples
    --------
    >>> text_of(("EPSG", 32633)), text_of("  ")
    ('EPSG:32633', None)
    """
    if crs is None or isinstance(crs, CRS):
        return crs
    if isinstance(crs, np.integer | int) and not isinstance(crs, bool):
        return int(crs)
    if isinstance(crs, str):
        return _unfiled(crs.strip()) or None
    if isinstance(crs, Path):
        return _unfiled(str(crs)) or None
    if isinstance(crs, tuple | list) and len(crs) == 2:
        return f"{crs[0]}:{crs[1]}"
    if isinstance(crs, dict):
        return _from_dict(crs)
    for name in ("to_wkt", "ExportToWkt"):
        method = getattr(crs, name, None)
        if callable(method):
            return str(method()).strip() or None
    return _held(crs)


def _held(holder: Any) -> CRS | str | int | None:
    """CRS of an image, a table, a dataset or a grid mapping variable."""
    attrs = getattr(holder, "attrs", None)
    if isinstance(attrs, dict) and {"grid_mapping_name", "crs_wkt", "spatial_ref"} & set(attrs):
        return _from_dict(attrs)
    if hasattr(holder, "rio"):
        return text_of(holder.rio.crs)
    if hasattr(holder, "crs"):
        return text_of(holder.crs)
    raise OptionError(f"a {type(holder).__name__} is no CRS: use an authority code such as 'EPSG:32633', WKT or PROJ")


def _from_dict(data: dict[Any, Any]) -> str | None:
    if not data:
        return None
    wkt = data.get("crs_wkt") or data.get("spatial_ref")
    if wkt:
        return str(wkt)
    try:
        if "grid_mapping_name" in data:
            return CRS.from_cf(data).to_wkt()
        found = CRS.from_json_dict(data) if {"$schema", "type"} & set(data) else CRS.from_dict(data)
        return found.to_wkt()
    except (CRSError, KeyError) as error:
        raise OptionError(f"the CRS {str(data)[:80]} is unknown: {str(error)[:120]}") from error


def _unfiled(text: str) -> str:
    """Text of a .prj file where one is named; the prefix of GDAL for ESRI's WKT goes."""
    bare = text[6:].strip() if text.upper().startswith("ESRI::") else text
    if not bare.lower().endswith(".prj") or "[" in bare:
        return bare
    path = Path(bare)
    if not path.is_file():
        raise OptionError(f"there is no file {path} to read a CRS from")
    return path.read_text(encoding="utf-8-sig", errors="replace").strip()


@lru_cache(maxsize=256)
def spelled_crs(text: str | int) -> CRS:
    """Make the CRS that a text describes, as it is described; equal texts give one cached object.

    Parameters
    ----------
    text : str or int
        Any text that :func:`parse_crs` reads.

    Returns
    -------
    pyproj.CRS

    Raises
    ------
    OptionError
        When nobody knows it.

    Examples
    --------
    >>> spelled_crs("UTM 17 N").name
    'WGS 84 / UTM zone 17N'
    """
    spelled = _cleaned(text) if isinstance(text, str) else text
    try:
        return _unbound(CRS.from_user_input(spelled))
    except CRSError as error:
        raise OptionError(
            f"the CRS {str(text)[:80]!r} is unknown: use an authority code such as 'EPSG:32633', WKT or a PROJ string"
        ) from error


def _cleaned(text: str) -> str:
    if "[" in text:
        return _UNQUOTED.sub(r'\1["\2","\3"]', text)
    if text.upper() in ("CRS84", "CRS:84"):
        return "OGC:CRS84"
    utm, code = _UTM.fullmatch(text), _CODE.fullmatch(text)
    if utm and 1 <= int(utm[1]) <= 60:
        return f"EPSG:{32600 + int(utm[1]) + 100 * (utm[2].lower() == 's')}"
    return f"{code[1].upper()}:{code[2]}" if code else text


def _unbound(crs: CRS) -> CRS:
    """Drop a datum shift of zero from WGS 84 to itself, which old WKT carries along."""
    if not crs.is_bound or crs.source_crs is None or crs.coordinate_operation is None:
        return crs
    datum = crs.source_crs.datum
    none = not any(crs.coordinate_operation.towgs84)
    return crs.source_crs if none and datum is not None and datum.name.startswith("World Geodetic System 1984") else crs


def epsg_of(crs: Any) -> int | None:
    """Find the EPSG code of a CRS, whether it tells it or not.

    Parameters
    ----------
    crs : CRS in any spelling, or None

    Returns
    -------
    int or None
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
    maybe = crs.to_epsg(min_confidence=_NO_CODE)
    return int(maybe) if maybe is not None and _same_numbers(crs, CRS.from_epsg(maybe)) else None


def _same_numbers(one: CRS, two: CRS) -> bool:
    """Tell whether two CRSs of one datum give the same coordinates, over the area where the second is used."""
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
