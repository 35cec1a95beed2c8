"""Cubic B-splines on a square lattice: values, and the bending energy between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xcoreg.core.models.base import Floats

__all__ = ["ROWS_PER_BLOCK", "Lattice", "bending", "cubic", "make_lattice"]

#: Splines that overlap are at most so many rows apart: rows are put into blocks of this height.
ROWS_PER_BLOCK = 3

_REACH = 4  # splines that are not zero in a cell


@dataclass(frozen=True)
class Lattice:
    """A square lattice of cubic B-splines; rows run along the longer side.

    Parameters
    ----------
    origin : (float, float)
        Lower end of the first cell along rows and columns.
    step : float
        Side of a cell.
    shape : (int, int)
        Splines along rows and columns: 3 more than cells.
    swapped : bool
        True when rows run along u, else along v.
    """

    origin: tuple[float, float]
    step: float
    shape: tuple[int, int]
    swapped: bool

    def support(self, u: Floats, v: Floats) -> tuple[NDArray[np.intp], Floats]:
        """Find the splines that see a position, and their values there.

        Parameters
        ----------
        u, v : (n,) float64
            Inside of the cells.

        Returns
        -------
        splines : (n, 16) int
            In rising order.
        values : (n, 16) float64
        """
        row, col = (u, v) if self.swapped else (v, u)
        (i, p), (j, q) = (
            cubic((at - low) / self.step, size - 3)
            for at, low, size in zip((row, col), self.origin, self.shape, strict=True)
        )
        reach = np.arange(_REACH)
        splines = (i[:, None, None] + reach[:, None]) * self.shape[1] + j[:, None, None] + reach
        values = p.T[:, :, None] * q.T[:, None, :]
        return splines.reshape(len(u), -1), values.reshape(len(u), -1)


def make_lattice(u: Floats, v: Floats, step: float, margin: float) -> Lattice:
    """Lay a lattice over points and a margin around them.

    Parameters
    ----------
    u, v : (n,) float64
    step, margin : float

    Returns
    -------
    Lattice
        Its rows are a multiple of `ROWS_PER_BLOCK`.

    Examples
    --------
    >>> make_lattice(np.array([0.0, 1.0]), np.array([0.0, 4.0]), 0.5, 0.5).shape
    (15, 7)
    """
    swapped = bool(np.ptp(u) > np.ptp(v))
    rows, cols = (u, v) if swapped else (v, u)
    n_rows, n_cols = (int(np.ceil((np.ptp(p) + 2 * margin) / step - 1e-9)) + 3 for p in (rows, cols))
    n_rows += -n_rows % ROWS_PER_BLOCK
    lows = (
        float(p.min() + p.max()) / 2 - (size - 3) * step / 2 for p, size in ((rows, n_rows), (cols, max(n_cols, 4)))
    )
    low_row, low_col = lows
    return Lattice((low_row, low_col), step, (max(n_rows, 6), max(n_cols, 4)), swapped)


def cubic(t: Floats, cells: int) -> tuple[NDArray[np.intp], Floats]:
    """Values of the four splines that see a position on an axis.

    Parameters
    ----------
    t : float64 array
        Position in cells from the lower end of the first; those outside count for the nearest cell.
    cells : int

    Returns
    -------
    first : int array
        The first of the splines.
    values : (4, ...) float64
        Their values; they sum to 1.

    Examples
    --------
    >>> first, values = cubic(np.array([2.0]), 5)
    >>> first.tolist(), (6 * values[:, 0]).round(9).tolist()
    ([2], [1.0, 4.0, 1.0, 0.0])
    """
    first = np.clip(np.floor(t), 0, cells - 1)
    s = t - first
    r = 1 - s
    values = np.stack([r * r * r, 3 * s * s * (s - 2) + 4, 3 * r * r * (r - 2) + 4, s * s * s]) / 6
    return first.astype(np.intp), values


def _products(cells: int) -> list[Floats]:
    """Integrals of the products of the splines' values, slopes and curvatures along an axis of unit cells."""
    nodes, weights = np.polynomial.legendre.leggauss(4)
    s = (nodes + 1) / 2
    r = 1 - s
    kinds = [
        np.stack([r**3, 3 * s**3 - 6 * s**2 + 4, 3 * r**3 - 6 * r**2 + 4, s**3]) / 6,
        np.stack([-(r**2), 3 * s**2 - 4 * s, 4 * r - 3 * r**2, s**2]) / 2,
        np.stack([r, 3 * s - 2, 3 * r - 2, s]),
    ]
    out = []
    for values in kinds:
        one = (values * weights / 2) @ values.T
        whole = np.zeros((cells + 3, cells + 3))
        for cell in range(cells):
            whole[cell : cell + _REACH, cell : cell + _REACH] += one
        out.append(whole)
    return out


def bending(lattice: Lattice) -> tuple[list[Floats], list[Floats]]:
    """Bending energy of a lattice as a sum of three Kronecker products.

    Parameters
    ----------
    lattice : Lattice

    Returns
    -------
    rows, cols : three matrices each
        The integral of ``f_uu^2 + 2 f_uv^2 + f_vv^2`` is the sum over them of ``c' (rows x cols) c``.

    Examples
    --------
    >>> rows, cols = bending(make_lattice(np.array([0.0, 1.0]), np.array([0.0, 1.0]), 0.25, 0.0))
    >>> plane = np.add.outer(np.arange(len(rows[0])), 2.0 * np.arange(len(cols[0])))
    >>> energy = sum((plane * (r @ plane @ c)).sum() for r, c in zip(rows, cols))
    >>> abs(round(float(energy), 9))
    0.0
    """
    rows, cols = (_products(size - 3) for size in lattice.shape)
    factor = 1 / lattice.step**2
    return [rows[2] * factor, rows[1] * 2 * factor, rows[0] * factor], [cols[0], cols[1], cols[2]]
