"""Cubic B-splines on a square lattice: values, bending energy, and symmetric block-tridiagonal matrices.

A matrix is stored as an array (blocks, 2 b, b): for each block of columns the square on the diagonal and the one below.
Splines overlap only with those of adjacent rows: all other elements are zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy.linalg import lapack

from xcoreg.core import Floats, Ints

#: Rows per block: overlapping splines are at most so many rows apart.
ROWS_PER_BLOCK = 3

_REACH = 4  # number of splines that are not zero in a cell, along each axis


@dataclass(frozen=True)
class Lattice:
    """A square lattice of cubic B-splines; rows run along the longer side: along u where `swapped`, else along v.

    origin, step : Lower end of the first cell along rows and columns, and side of a cell.
    shape : Splines along rows and columns: 3 more than cells.
    """

    origin: tuple[float, float]
    step: float
    shape: tuple[int, int]
    swapped: bool

    def support(self, u: Floats, v: Floats) -> tuple[Ints, Floats]:
        """Splines (n, 16) that are not zero at positions (n,), and their values (n, 16)."""
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
    """Lattice over points and a margin around them: u, v (n,) float64."""
    swapped = bool(np.ptp(u) > np.ptp(v))
    rows, cols = (u, v) if swapped else (v, u)
    n_rows, n_cols = (int(np.ceil((np.ptp(p) + 2 * margin) / step - 1e-9)) + 3 for p in (rows, cols))
    n_rows += -n_rows % ROWS_PER_BLOCK
    n_cols = max(n_cols, 4)
    low_row, low_col = (float(p.min() + p.max()) / 2 - (n - 3) * step / 2 for p, n in ((rows, n_rows), (cols, n_cols)))
    return Lattice((low_row, low_col), step, (max(n_rows, 6), n_cols), swapped)


def cubic(t: Floats, cells: int) -> tuple[Ints, Floats]:
    """Cell and values of the four splines that are not zero at positions on an axis: -> values (4, ...) float64."""
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
    out: list[Floats] = []
    for values in kinds:
        one = (values * weights / 2) @ values.T
        whole = np.zeros((cells + 3, cells + 3))
        for cell in range(cells):
            whole[cell : cell + _REACH, cell : cell + _REACH] += one
        out.append(whole)
    return out


def bending(lattice: Lattice) -> tuple[list[Floats], list[Floats]]:
    """Bending energy of a lattice as a sum of three Kronecker products."""
    rows, cols = (_products(size - 3) for size in lattice.shape)
    factor = 1 / lattice.step**2
    return [rows[2] * factor, rows[1] * 2 * factor, rows[0] * factor], [cols[0], cols[1], cols[2]]


@dataclass(frozen=True)
class Factor:
    """Cholesky factor of a block matrix: inverses of the triangles on the diagonal, and squares below them."""

    inverse: Floats
    below: Floats

    def solve(self, right: Floats) -> Floats:
        """Solve for one right-hand side, (blocks * b,)."""
        parts = right.reshape(len(self.inverse), -1).copy()
        for j, inverse in enumerate(self.inverse):
            if j:
                parts[j] -= self.below[j - 1] @ parts[j - 1]
            parts[j] = inverse @ parts[j]
        for j in range(len(parts) - 1, -1, -1):
            if j + 1 < len(parts):
                parts[j] -= self.below[j].T @ parts[j + 1]
            parts[j] = self.inverse[j].T @ parts[j]
        return np.asarray(parts.ravel())

    def covariance(self) -> Floats:
        """Elements of the inverse where the matrix is not zero (Takahashi's recursion)."""
        count, b, _ = self.inverse.shape
        out = np.zeros((count, 2 * b, b))
        for j in range(count - 1, -1, -1):
            out[j, :b] = self.inverse[j].T @ self.inverse[j]
            if j + 1 < count:
                in_given_order = self.below[j] @ self.inverse[j]
                out[j, b:] = -out[j + 1, :b] @ in_given_order
                out[j, :b] -= in_given_order.T @ out[j, b:]
        return out


def factorise(matrix: Floats) -> Factor:
    """Cholesky factor; only the lower triangle on the diagonal is read."""
    count, _, b = matrix.shape
    inverse, below = np.zeros((count, b, b)), np.zeros((max(count - 1, 0), b, b))
    for j in range(count):
        square = matrix[j, :b].copy()
        if j:
            square -= below[j - 1] @ below[j - 1].T
        triangle, wrong = lapack.dpotrf(square, lower=1, clean=1)
        if wrong:
            raise np.linalg.LinAlgError("the matrix is not positive definite")
        inverse[j] = lapack.dtrtri(triangle, lower=1)[0]
        if j + 1 < count:
            below[j] = matrix[j, b:] @ inverse[j].T
    return Factor(inverse, below)


def assemble(shape: tuple[int, int, int], splines: Ints, values: Floats, precision: Floats) -> Floats:
    """Sum ``value value' x precision`` over points: splines, values (n, 16); precision (n, k, k)."""
    k = precision.shape[1]
    first, second = np.tril_indices(splines.shape[1] * k)
    (a, c), (b, d) = np.divmod(first, k), np.divmod(second, k)
    places = _places(shape, splines[:, a] * k + c, splines[:, b] * k + d)
    sums = np.bincount(places.ravel(), (values[:, a] * values[:, b] * precision[:, c, d]).ravel(), int(np.prod(shape)))
    return np.asarray(sums.reshape(shape))


def quadratic(covariance: Floats, splines: Ints, values: Floats, k: int) -> Floats:
    """Covariance of the sum of splines at points: splines (n, 16) int; values (n, 16) float64 -> (n, k, k) float64."""
    flat, shape = covariance.ravel(), covariance.shape
    out = np.zeros((len(splines), k, k))
    reach = range(splines.shape[1])
    for c, d in zip(*np.tril_indices(k), strict=True):
        total = np.zeros(len(splines))
        for a, b in product(reach, reach):
            if c == d and b > a:
                continue
            first, second = splines[:, a] * k + c, splines[:, b] * k + d
            places = _places(shape, np.maximum(first, second), np.minimum(first, second))
            total += (2.0 if c == d and b < a else 1.0) * values[:, a] * values[:, b] * flat[places]
        out[:, c, d] = out[:, d, c] = total
    return out


def trace_product(first: Floats, second: Floats) -> float:
    """Trace of the product of two matrices, the second a lower triangle."""
    diagonal = np.arange(first.shape[2])
    twice = 2 * float(np.einsum("jab,jab->", first, second))
    return twice - float((first[:, diagonal, diagonal] * second[:, diagonal, diagonal]).sum())


def _places(shape: tuple[int, ...], row: Ints, col: Ints) -> Ints:
    """Flat index of the element (row, col) of the lower triangle."""
    b = shape[2]
    block = col // b
    return np.asarray((block * shape[1] + row - block * b) * b + col - block * b)
