"""ENVI's lists of ground control points (.pts)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from xcoreg.errors import OptionError
from xcoreg.georef.gcps import GCPs
from xcoreg.georef.spelling import epsg_of, parse_crs

if TYPE_CHECKING:
    from pyproj import CRS

__all__ = ["envi_text", "parse_envi"]

_WKT = re.compile(r"coordinate system string\s*=\s*\{(.*)\}", re.IGNORECASE)
_INFO = re.compile(r"projection info\s*=\s*\{([^}]*)\}", re.IGNORECASE)
_FIRST = 1.0  # ENVI's number of the corner of the first pixel


def parse_envi(text: str, name: str = "the list") -> GCPs:
    r"""Read ENVI's list of points.

    Parameters
    ----------
    text : str
        Comments after semicolons; rows of map x, map y, (elevation,) image x, image y. The corner of the first pixel
        is (1, 1).
    name : str
        What messages call it.

    Returns
    -------
    GCPs
        With the CRS of the header: a WKT, or the projection info of Geographic Lat/Lon and UTM on WGS-84; None else.

    Raises
    ------
    OptionError
        When rows do not hold four or five numbers.

    Examples
    --------
    >>> gcps = parse_envi("; projection info = {UTM, 33, North, WGS-84, units=Meters}\n600005 4999995 1.5 1.5")
    >>> gcps.col, gcps.crs.to_epsg()
    (array([0.]), 32633)
    """
    head = "\n".join(line for line in text.splitlines() if line.lstrip().startswith(";"))
    try:
        rows = [[float(part) for part in line.split()] for line in text.splitlines() if _holds_data(line)]
    except ValueError as error:
        raise OptionError(f"{name} does not hold numbers: {error}") from error
    if {len(row) for row in rows} not in ({4}, {5}):
        raise OptionError(f"{name} needs rows of map x, map y, (elevation,) image x, image y")
    columns = np.array(rows).T
    z = columns[2] if len(columns) == 5 else np.zeros(len(rows))
    pixel, line = columns[-2:] - _FIRST
    return GCPs.from_gdal(pixel, line, columns[0], columns[1], z=z, crs=_crs_of(head))


def _holds_data(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith(";")


def _crs_of(head: str) -> CRS | None:
    wkt, info = _WKT.search(head), _INFO.search(head)
    if wkt:
        return parse_crs(wkt[1])
    parts = [part.strip().lower() for part in info[1].split(",")] if info else []
    if not any(part in ("wgs-84", "wgs 84", "wgs84") for part in parts):
        return None
    if parts[0].startswith("geographic"):
        return parse_crs(4326)
    if parts[0] == "utm" and parts[1].isdecimal():
        return parse_crs(f"UTM {parts[1]} {'S' if parts[2].startswith('s') else 'N'}")
    return None


def envi_text(gcps: GCPs) -> str:
    """Write ENVI's list of points.

    Parameters
    ----------
    gcps : GCPs

    Returns
    -------
    str
        With elevations where a point has one; the CRS as projection info where ENVI has a word for it, and as WKT.

    Examples
    --------
    >>> print(envi_text(GCPs([0.0], [1.0], [600005.0], [4999985.0], crs=32633)).splitlines()[-1])
    600005.0 4999985.0 1.5 2.5
    """
    tall = bool(gcps.z.any())
    head = ["; ENVI Image to Map GCP File", *_header_crs(gcps), f"; Map ({'x,y,elev' if tall else 'x,y'}), Image (x,y)"]
    columns = [gcps.x, gcps.y, *([gcps.z] if tall else []), gcps.pixel + _FIRST, gcps.line + _FIRST]
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return "\n".join([*head, ";", *(" ".join(map(repr, row)) for row in rows)]) + "\n"


def _header_crs(gcps: GCPs) -> list[str]:
    if gcps.crs is None:
        return []
    code = epsg_of(gcps.crs) or 0
    lines = []
    if code == 4326:
        lines = ["; projection info = {Geographic Lat/Lon, WGS-84, units=Degrees}"]
    elif 32601 <= code <= 32660 or 32701 <= code <= 32760:
        side = "South" if code > 32700 else "North"
        lines = [f"; projection info = {{UTM, {code % 100}, {side}, WGS-84, units=Meters}}"]
    wkt = gcps.crs.to_wkt("WKT1_ESRI") or gcps.crs.to_wkt()
    return [*lines, f"; coordinate system string = {{{wkt}}}"]
