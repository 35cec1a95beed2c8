"""Vertical datums: from heights above a geoid to heights above the ellipsoid, which sensor models count from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine
from pyproj import CRS
from pyproj.crs import CompoundCRS
from pyproj.exceptions import CRSError
from pyproj.transformer import TransformerGroup

from xcoreg.errors import OptionError, is_number
from xcoreg.georef.crs import as_crs
from xcoreg.georef.terrain import bilinear
from xcoreg.georef.transform import pixel_to_map

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NODES = 33  # places along each axis where the geoid is asked for


def undulation(crs: Any, transform: Affine, shape: tuple[int, int], vertical: Any, name: str) -> NDArray[Any] | float:
    """Find what makes heights on a grid ellipsoidal when it is added: a number, or (rows, columns) float64, m.

    vertical : "ellipsoid", a number, or a vertical CRS in any spelling.
    """
    if is_number(vertical):
        return float(vertical)
    up = parse_vertical(vertical)
    if up is None:
        return 0.0
    transformer = _to_ellipsoid(crs, up, name)
    row, col = (np.linspace(-0.5, n - 0.5, _NODES) for n in shape)
    x, y = pixel_to_map(transform, *np.meshgrid(col, row))
    nodes = np.asarray(transformer.transform(x, y, np.zeros(x.shape))[2], np.float64)
    if not np.isfinite(nodes).all():
        raise OptionError(
            f"the geoid of {name} is unknown below a part of the image: give its height, vertical_datum=<metres>"
        )
    at = [(np.arange(n) + 0.5) / n * (_NODES - 1) for n in shape]
    return bilinear(nodes, *np.meshgrid(*at, indexing="ij"))


_VERTICAL = {"EGM96": "EPSG:5773", "EGM2008": "EPSG:3855", "EGM84": "EPSG:5798"}


def _to_ellipsoid(crs: Any, up: CRS, name: str) -> Any:
    """Make a transformer to ellipsoidal heights on WGS 84, by the grids that PROJ has; OptionError without them."""
    plane = as_crs(crs).to_2d()
    compound = up if up.is_compound or len(up.axis_info) == 3 else CompoundCRS(f"{plane.name} + {up.name}", [plane, up])
    group = TransformerGroup(compound, CRS.from_epsg(4979), always_xy=True)
    if not group.best_available or not group.transformers:
        needed = sorted({grid.short_name for one in group.unavailable_operations for grid in one.grids})
        raise OptionError(
            f"the heights of {name} are above {up.name}, whose grid is not installed ({', '.join(needed) or '?'}): "
            "install it (pyproj sync --file ...), or give the height of the geoid there, vertical_datum=<metres>"
        )
    return group.transformers[0]


def vertical_of(crs: Any) -> Any:
    """Vertical datum that a CRS states: "ellipsoid", a CRS, or None where it states none."""
    found = as_crs(crs)
    if found.is_compound:
        return next((part for part in found.sub_crs_list if part.is_vertical), None)
    return "ellipsoid" if len(found.axis_info) == 3 and not found.is_geocentric else None


def parse_vertical(vertical: Any) -> CRS | None:
    """Read a vertical datum in any spelling; None is the ellipsoid."""
    if isinstance(vertical, str) and vertical.lower() in ("ellipsoid", "ellipsoidal"):
        return None
    try:
        found = CRS.from_user_input(_VERTICAL.get(str(vertical).upper(), vertical))
    except CRSError as error:
        raise OptionError(
            f"vertical_datum={vertical!r} is unknown: give 'ellipsoid', the height of the geoid in m, or a vertical "
            "CRS such as 'EGM96', 'EGM2008', 'EPSG:3855'"
        ) from error
    if not (found.is_vertical or found.is_compound or len(found.axis_info) == 3):
        raise OptionError(
            f"vertical_datum={vertical!r} ({found.name}) has no heights: give a vertical CRS, or a number"
        )
    return found
