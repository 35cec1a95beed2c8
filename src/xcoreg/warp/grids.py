"""Choosing the grid of the output."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from xcoreg import georef
from xcoreg.errors import OptionError
from xcoreg.warp.displacement import Grid
from xcoreg.warp.mapping import outline

if TYPE_CHECKING:
    from xcoreg.warp.displacement import Displacement

__all__ = ["aligned_grid", "reference_grid"]

_GRID_ROUND_OFF = 1e-5  # px


def aligned_grid(
    image: Grid, move: Displacement, ref: Grid, resolution: float | tuple[float, float] | None = None
) -> Grid:
    """Lay a grid with the image's pixel size over the corrected image, in step with the lattice of the reference.

    One corner of the reference is a corner of the lattice, and the lattice has the axes and the pixel size of the
    image. So where the two pixel sizes are equal, or one is a multiple of the other, the pixel edges of the coarser
    grid are pixel edges of the finer one. With a reference in another CRS the lattice passes through the origin of
    the image's CRS instead: coordinates of pixel edges are multiples of the pixel size.

    Parameters
    ----------
    image, ref : Grid
        Grids of the image before its correction, and of the reference.
    move : Displacement
        The correction.
    resolution : float or (float, float), optional
        Pixel size (x, y) of the output in units of the image's CRS; default: that of the image.

    Returns
    -------
    Grid
        It covers the corrected image, reaching outwards to whole pixels.

    Raises
    ------
    OptionError
        When the resolution is not positive.

    Examples
    --------
    >>> from xcoreg.core.models import Translation
    >>> from xcoreg.warp.displacement import Displacement
    >>> image = Grid((10.0, 0.0, 0.0, 0.0, -10.0, 0.0), (50, 40), "EPSG:32633")
    >>> ref = Grid((20.0, 0.0, 1005.0, 0.0, -20.0, 5.0), (9, 9), "EPSG:32633")
    >>> move = Displacement.of(Translation(2.0, 0.0), "EPSG:32633", image)
    >>> aligned_grid(image, move, ref).transform
    (10.0, 0.0, -5.0, 0.0, -10.0, 5.0)
    """
    linear = _scaled(image, resolution)
    anchor = (ref.transform[2], ref.transform[5]) if georef.same_crs(image.crs, ref.crs) else (0.0, 0.0)
    row, col = outline(image.shape, 2 if move.constant is not None else 65)
    x, y = georef.pixel_to_map(image.transform, col, row)
    dx, dy = move.at(x, y)
    at_col, at_row = georef.vector_to_pixel(linear, x + dx - anchor[0], y + dy - anchor[1])
    (first_col, n_cols), (first_row, n_rows) = _whole(at_col), _whole(at_row)
    to_x, to_y = georef.vector_to_map(linear, first_col, first_row)
    a, b, d, e = linear
    return Grid((a, b, float(anchor[0] + to_x), d, e, float(anchor[1] + to_y)), (n_rows, n_cols), image.crs)


def _scaled(image: Grid, resolution: float | tuple[float, float] | None) -> georef.Linear:
    a, b, d, e = georef.linear_of(image.transform)
    if resolution is None:
        return a, b, d, e
    wanted = np.broadcast_to(np.asarray(resolution, np.float64), (2,))
    if not (np.isfinite(wanted).all() and (wanted > 0).all()):
        raise OptionError(f"resolution={resolution!r} must be a positive pixel size, or two of them (x, y)")
    size = georef.gsd(image.transform)
    by_col, by_row = float(wanted[0]) / size[0], float(wanted[1]) / size[1]
    return a * by_col, b * by_row, d * by_col, e * by_row


def _whole(positions: Any) -> tuple[int, int]:
    """First pixel edge and number of pixels that cover positions counted in pixels."""
    low = math.floor(float(positions.min()) + _GRID_ROUND_OFF)
    return low, max(math.ceil(float(positions.max()) - _GRID_ROUND_OFF) - low, 1)


def reference_grid(settings: dict[str, Any], given: Any = None) -> Grid:
    """Find the grid of the reference that a fit was made with.

    Parameters
    ----------
    settings : dict
        Of the fit; `ref_grid` holds `transform`, `shape` and `crs`.
    given : GeoBox, optional
        Used instead when given.

    Returns
    -------
    Grid
        The reference's grid.

    Raises
    ------
    OptionError
        When the fit does not know it.

    Examples
    --------
    >>> settings = {"ref_grid": {"transform": [10, 0, 0, 0, -10, 0], "shape": [5, 5], "crs": "EPSG:32633"}}
    >>> reference_grid(settings).shape
    (5, 5)
    """
    if given is not None:
        return Grid.of(given)
    known = settings.get("ref_grid")
    if not known:
        raise OptionError("the fit does not know the grid of its reference: pass like=, or ref_grid= with a GeoBox")
    a, b, c, d, e, f = (float(value) for value in tuple(known["transform"])[:6])
    rows, cols = known["shape"]
    return Grid((a, b, c, d, e, f), (int(rows), int(cols)), georef.as_crs(known["crs"]).to_wkt())
