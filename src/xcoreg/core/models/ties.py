"""Tie points made ready for fitting: finite, in one order, with usable covariances, centred and scaled."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import ConvexHull, QhullError, cKDTree

from xcoreg.core.models.base import Degenerate

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from xcoreg.core.models.base import Floats

__all__ = ["Ties", "folds_of", "half_planes", "make_ties", "spread_order", "typical_spacing"]

_FLOOR = 1e-7  # of the typical value: no covariance is smaller, or weights would leave the range of numbers
_BITS = 16


@dataclass(frozen=True)
class Ties:
    """Tie points ready for fitting; all numbers are in units of `unit`, positions in units of `scale`.

    Parameters
    ----------
    u, v : (n,) float64
        Centred and scaled positions: within [-1, 1].
    values : (n, k) float64
        Corrections (dx, dy, ...).
    covs : (n, k, k) float64
        Their covariances, all positive definite.
    rows : (n,) int
        Where each stood in what was given.
    total : int
        Rows that were given.
    centre : (float, float)
        Map position of u = v = 0.
    scale, unit : float
        CRS units of one unit of position and of one unit of value.
    spacing : float
        Typical distance of neighbours, in units of `scale`.
    measured : bool
        True when any covariance was given.
    """

    u: Floats
    v: Floats
    values: Floats
    covs: Floats
    rows: NDArray[np.intp]
    total: int
    centre: tuple[float, float]
    scale: float
    unit: float
    spacing: float
    measured: bool

    def __len__(self) -> int:
        return len(self.u)

    @property
    def x(self) -> Floats:
        """Map positions, CRS units."""
        return np.asarray(self.u * self.scale + self.centre[0])

    @property
    def y(self) -> Floats:
        """Map positions, CRS units."""
        return np.asarray(self.v * self.scale + self.centre[1])

    def subset(self, chosen: NDArray[np.bool_]) -> Ties:
        """Select some of the points; the units stay."""
        columns = {name: getattr(self, name)[chosen] for name in ("u", "v", "values", "covs", "rows")}
        return replace(self, **columns)

    def back(self, values: Floats) -> Floats:
        """Put results into the order that was given, NaN for the rows left out."""
        out = np.full((self.total, *values.shape[1:]), np.nan)
        out[self.rows] = values
        return out


def make_ties(x: ArrayLike, y: ArrayLike, values: ArrayLike, covs: ArrayLike | None = None) -> Ties:
    """Make tie points ready for fitting.

    Parameters
    ----------
    x, y : (n,) array_like
        Map positions.
    values : (n, k) array_like
        Corrections; rows with anything that is not finite are left out.
    covs : (n, k, k) array_like, optional
        Rows without a positive definite one count like the median of the others; without any, all count the same.

    Returns
    -------
    Ties
        Sorted by position: results do not depend on the order of what was given.

    Raises
    ------
    Degenerate
        When no row is finite.

    Examples
    --------
    >>> ties = make_ties([2.0, 0.0, np.nan], [0.0, 0.0, 0.0], [[4.0, 0.0], [2.0, 0.0], [0.0, 0.0]])
    >>> ties.rows.tolist(), ties.u.tolist()
    ([1, 0], [-1.0, 1.0])
    """
    moves = np.asarray(values, np.float64)
    x, y = (np.broadcast_to(np.asarray(p, np.float64), len(moves)) for p in (x, y))
    known = np.isfinite(x) & np.isfinite(y) & np.isfinite(moves).all(1)
    if not known.any():
        raise Degenerate("no tie point has a finite position and shift", 1)
    order = np.lexsort((*moves.T[::-1], y, x))
    rows = order[known[order]]
    x, y, moves = x[rows], y[rows], moves[rows]
    k = moves.shape[1]
    own = np.full((len(rows), k, k), np.nan) if covs is None else np.asarray(covs, np.float64).reshape(-1, k, k)[rows]
    centre = (float(x.min() + x.max()) / 2, float(y.min() + y.max()) / 2)
    scale = max(float(np.ptp(x)), float(np.ptp(y))) / 2 or 1.0
    unit = float(np.sqrt(np.mean(moves**2))) or 1.0
    u, v = (x - centre[0]) / scale, (y - centre[1]) / scale
    usable, measured = _usable(own / unit**2)
    spacing = typical_spacing(u, v)
    return Ties(u, v, moves / unit, usable, rows, len(known), centre, scale, unit, spacing, measured)


def _usable(covs: Floats) -> tuple[Floats, bool]:
    """Give points without a covariance the median one, and all at least a tiny one."""
    finite = np.asarray(np.isfinite(covs).all((1, 2)))
    identity = np.eye(covs.shape[1])
    good = finite & (np.linalg.eigvalsh(np.where(finite[:, None, None], covs, -identity))[:, 0] > 0)
    typical = np.median(covs[good], axis=0) if good.any() else 0 * identity
    return np.asarray(np.where(good[:, None, None], covs, typical) + _FLOOR**2 * identity), bool(good.any())


def typical_spacing(u: Floats, v: Floats) -> float:
    """Typical distance of neighbours: the median over the places of that to the fourth nearest.

    Examples
    --------
    >>> col, row = np.meshgrid(np.arange(9.0), np.arange(9.0))
    >>> typical_spacing(col.ravel(), row.ravel())
    1.0
    """
    places = np.unique(np.column_stack([u, v]), axis=0)
    if len(places) < 2:
        return 0.0
    return float(np.median(cKDTree(places).query(places, min(len(places), 5))[0][:, -1]))


def half_planes(x: Floats, y: Floats) -> Floats:
    """Sides of the convex hull.

    Parameters
    ----------
    x, y : (n,) float64

    Returns
    -------
    (sides, 3) float64
        `(a, b, c)` with unit normals, ``a x + b y + c <= 0`` inside; none when the points span no area.

    Examples
    --------
    >>> sides = half_planes(np.array([0.0, 4.0, 4.0, 0.0]), np.array([0.0, 0.0, 3.0, 3.0]))
    >>> (sides @ [5.0, 1.0, 1.0]).max().tolist()
    1.0
    """
    middle = np.array([x.mean(), y.mean()])
    try:
        sides = ConvexHull(np.column_stack([x, y]) - middle).equations
    except QhullError:
        return np.empty((0, 3))
    sides[:, 2] -= sides[:, :2] @ middle
    return np.asarray(np.unique(sides, axis=0))


def spread_order(u: Floats, v: Floats) -> NDArray[np.intp]:
    """Order points along a space-filling curve (Morton), so that every m-th of them is spread over the area.

    Examples
    --------
    >>> spread_order(np.array([0.9, -0.9, 0.8, -0.8]), np.array([0.9, -0.9, 0.9, -0.9])).tolist()
    [1, 3, 2, 0]
    """
    code = np.zeros(len(u), np.int64)
    cells = [np.clip((p + 1) / 2 * 2**_BITS, 0, 2**_BITS - 1).astype(np.int64) for p in (u, v)]
    for bit in range(_BITS):
        code |= (((cells[0] >> bit) & 1) << (2 * bit)) | (((cells[1] >> bit) & 1) << (2 * bit + 1))
    return np.asarray(np.argsort(code, kind="stable"))


def folds_of(ties: Ties, folds: int) -> NDArray[np.intp]:
    """Part points into folds, each of them spread over the area.

    Parameters
    ----------
    ties : Ties
    folds : int
        At most; each has a point at least.

    Returns
    -------
    (n,) int

    Examples
    --------
    >>> folds_of(make_ties([0, 1, 0, 1], [0, 0, 1, 1], np.zeros((4, 2))), 2).tolist()
    [0, 0, 1, 1]
    """
    out = np.empty(len(ties), np.intp)
    out[spread_order(ties.u, ties.v)] = np.arange(len(ties)) % min(folds, len(ties))
    return out
