"""Where the pixels of windows lie in an image on another grid: exact at a few nodes, smooth between."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from xcoreg.georef import vector_to_map

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.floating]
    Linear = tuple[float, float, float, float]
    Own = Callable[[Floats, Floats], tuple[Floats, Floats]]

__all__ = ["scale_of", "window_nodes", "window_places"]

# Exact positions along each side of a window: maps between CRSs bend so little within one that quartics hold them to
# far less than a thousandth of a pixel, and projecting every pixel would take longer than matching it.
_NODES = 5


def window_nodes(centres: tuple[Floats, Floats], linear: Linear, size: int, own: Own) -> tuple[Floats, Floats]:
    """Exact positions of a mesh of points over each window, its borders included.

    Parameters
    ----------
    centres : (x, y), (n,) float each
        Map positions of the windows' centres.
    linear : (a, b, d, e)
        Of the matching lattice.
    size : int
        Side of the windows, px of the matching lattice.
    own : function (x, y) -> (rows, cols)
        Pixels of the image at map positions.

    Returns
    -------
    rows, cols : (n, 5, 5) float64
        Pixels of the image, integer = pixel centre; not finite where the image's CRS does not reach.
    """
    node = _nodes(size)
    dx, dy = vector_to_map(linear, node[None, :], node[:, None])
    x, y = (np.asarray(part, np.float64)[:, None, None] for part in centres)
    return own(x + dx, y + dy)


def window_places(centres: tuple[Floats, Floats], linear: Linear, size: int, own: Own) -> tuple[Floats, Floats]:
    """Positions of every pixel of windows.

    Parameters
    ----------
    centres, linear, size, own
        As for `window_nodes`.

    Returns
    -------
    rows, cols : (n, size, size) float64
        Pixels of the image.

    Examples
    --------
    >>> double = lambda x, y: (2 * y, 2 * x)
    >>> rows, cols = window_places((np.zeros(1), np.zeros(1)), (1.0, 0.0, 0.0, 1.0), 3, double)
    >>> cols[0, 0].round(9).tolist()
    [-2.0, 0.0, 2.0]
    """
    basis = _basis(size)
    rows, cols = (basis @ part @ basis.T for part in window_nodes(centres, linear, size, own))
    lost = np.flatnonzero(~np.isfinite(rows).all((1, 2)))
    if lost.size:
        # Where the image's CRS ends inside a window, every pixel is asked for.
        pixel = np.arange(size) - (size - 1) / 2
        dx, dy = vector_to_map(linear, pixel[None, :], pixel[:, None])
        rows[lost], cols[lost] = own(
            *(part[lost, None, None] + step for part, step in zip(centres, (dx, dy), strict=True))
        )
    return rows, cols


def scale_of(rows: Floats, cols: Floats, size: int) -> tuple[float, float]:
    """Pixels of the image per matching pixel, along its rows and columns.

    Parameters
    ----------
    rows, cols : (m, m) float
        Positions of points spread evenly or nearly so over a window.
    size : int
        Side of the window, px of the matching lattice.

    Examples
    --------
    >>> cols, rows = np.meshgrid(np.arange(8) * 3.0, np.arange(8) * 2.0)
    >>> scale_of(rows, cols, 8)
    (2.0, 3.0)
    """
    step = (size - 1) / (len(rows) - 1) if len(rows) > 1 else 1.0
    along = []
    with np.errstate(invalid="ignore"):
        for part in (rows, cols):
            slopes = np.hypot(np.diff(part, axis=0)[:, 1:], np.diff(part, axis=1)[1:, :]) / step
            along.append(np.median(slopes[np.isfinite(slopes)]) if np.isfinite(slopes).any() else 1.0)
    return float(along[0]), float(along[1])


def _nodes(size: int) -> Floats:
    return np.linspace(-(size - 1) / 2, (size - 1) / 2, _NODES)


@lru_cache(maxsize=16)
def _basis(size: int) -> Floats:
    """(size, 5) weights of the nodes at every pixel: Lagrange's polynomials."""
    node, pixel = _nodes(size), np.arange(size) - (size - 1) / 2
    out = np.ones((size, _NODES))
    for j in range(_NODES):
        for k in range(_NODES):
            if k != j:
                out[:, j] *= (pixel - node[k]) / (node[j] - node[k])
    return out
