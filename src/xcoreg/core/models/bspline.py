"""Cubic B-splines on a square lattice: values, bending energy, and symmetric block-banded matrices.

A matrix is stored as an array (blocks, 4 k, b, b): element [j, d] is the square in block column j, d blocks below the
diagonal. A block is a row of splines (b of them) of one of k components: block ``k row + component``. Splines overlap
with those of three rows further on at most: all other elements are zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy  # its parts are loaded when they are used: a first call needs few

from xcoreg.core import Floats, Ints

_REACH = 4  # number of splines that are not zero in a cell, along each axis
_MULTIPLE = 3  # the number of rows is a multiple of this, as it has always been: models stay the same


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
    n_rows += -n_rows % _MULTIPLE
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
    """Cholesky factor of a block matrix: inverses of the triangles on the diagonal, (n, b, b), and squares below them.

    below : (n, w, b, b) float64; squares 1 to w blocks below the diagonal, zero beyond the last row.
    """

    inverse: Floats
    below: Floats

    def solve(self, right: Floats) -> Floats:
        """Solve for one right-hand side, (n * b,)."""
        count, reach, b = self.below.shape[:3]
        parts = np.zeros((count + reach, b))
        parts[:count] = right.reshape(count, b)
        for j in range(count):
            parts[j] = self.inverse[j] @ parts[j]
            parts[j + 1 : j + 1 + reach] -= self.below[j] @ parts[j]
        for j in range(count - 1, -1, -1):
            parts[j] -= np.einsum("eab,ea->b", self.below[j], parts[j + 1 : j + 1 + reach])
            parts[j] = self.inverse[j].T @ parts[j]
        return np.asarray(parts[:count].ravel())

    def covariance(self) -> Floats:
        """Elements of the inverse where the matrix is not zero (Takahashi's recursion)."""
        count, reach, b = self.below.shape[:3]
        out = np.zeros((count + reach, reach + 1, b, b))
        known = np.empty((reach, reach, b, b))  # the part of the inverse that the next column needs
        for j in range(count - 1, -1, -1):
            for e in range(reach):
                known[e:, e] = out[j + 1 + e, : reach - e]
                known[e, e + 1 :] = out[j + 1 + e, 1 : reach - e].transpose(0, 2, 1)
            pull = self.below[j] @ self.inverse[j]
            out[j, 1:] = -np.matmul(known, pull).sum(1)
            out[j, 0] = self.inverse[j].T @ self.inverse[j]
            out[j, 0] -= np.matmul(pull.transpose(0, 2, 1), out[j, 1:]).sum(0)
        return out[:count]


def factorise(matrix: Floats) -> Factor:
    """Cholesky factor; only the lower triangle on the diagonal is read.

    Blocks are products of small squares, which libraries compute on one thread: where these shared larger ones among
    threads, these would wait for each other most of the time, and last digits would depend on their number.
    """
    count, reach, b = len(matrix), matrix.shape[1] - 1, matrix.shape[2]
    inverse, below = np.zeros((count, b, b)), np.zeros((count, reach, b, b))
    rest = np.concatenate([matrix, np.zeros((reach, *matrix.shape[1:]))])
    for j in range(count):
        triangle, wrong = scipy.linalg.lapack.dpotrf(rest[j, 0], lower=1, clean=1)
        if wrong:
            raise np.linalg.LinAlgError("the matrix is not positive definite")
        inverse[j] = scipy.linalg.lapack.dtrtri(triangle, lower=1)[0]
        below[j] = rest[j, 1:] @ inverse[j].T
        for e in range(reach):
            rest[j + 1 + e, : reach - e] -= below[j, e:] @ below[j, e].T
    return Factor(inverse, below)


@dataclass(frozen=True)
class Products:
    """Products of the splines of two components at points: their places in a block matrix, and their values.

    places, values : (n, m) int, float64; `twice` (m,): 2 for products that stand for two symmetric elements, else 1.
    """

    places: Ints
    values: Floats
    twice: Floats


def pairs_of(k: int) -> list[tuple[int, int]]:
    """Pairs of components, each once, the larger first."""
    return [(c, d) for c in range(k) for d in range(c + 1)]


def multiply(splines: Ints, values: Floats, b: int, k: int = 1, components: tuple[int, int] = (0, 0)) -> Products:
    """Products of splines (n, 16) int and their values (n, 16) float64, `b` splines in a row, `k` components."""
    c, d = components
    count = splines.shape[1]
    first, second = np.tril_indices(count) if c == d else np.divmod(np.arange(count**2), count)
    row, col = np.divmod(splines, b)
    one, two = (k * row + c) * b + col, (k * row + d) * b + col
    low, high = np.minimum(one[:, first], two[:, second]), np.maximum(one[:, first], two[:, second])
    block = low // b
    places = ((block * _REACH * k + high // b - block) * b + high % b) * b + low % b
    return Products(places, values[:, first] * values[:, second], np.where((first == second) | (c != d), 1.0, 2.0))


def assemble(rows: int, b: int, k: int, products: Products, precision: Floats) -> Floats:
    """Block matrix of the sum of ``product x precision`` over points: precision (n,)."""
    shape = (rows * k, _REACH * k, b, b)
    weighted = (products.values * precision[:, None]).ravel()
    return np.asarray(np.bincount(products.places.ravel(), weighted, int(np.prod(shape))).reshape(shape))


def covariance_at(covariance: Floats, products: Products) -> Floats:
    """Covariance (n,) of the sums of two components' splines at points, from that of the coefficients."""
    return np.asarray(np.einsum("nm,nm,m->n", products.values, covariance.ravel()[products.places], products.twice))


def trace_product(first: Floats, second: Floats) -> float:
    """Trace of the product of two matrices, the second a lower triangle."""
    diagonal = np.arange(first.shape[2])
    twice = 2 * float(np.einsum("jdab,jdab->", first, second))
    return twice - float((first[:, 0, diagonal, diagonal] * second[:, 0, diagonal, diagonal]).sum())
