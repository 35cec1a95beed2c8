"""Maps from the image to the ground in centred, scaled coordinates: polynomials and the homography.

Both sides are scaled to about [-1, 1]: the normal matrix of a cubic in pixels has a condition number of 1e15, in scaled
coordinates of 1e2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats: TypeAlias = "NDArray[np.float64]"

__all__ = ["Homography", "Polynomial", "Scale", "Surface", "exponents"]


class Surface(Protocol):
    """A map from scaled image coordinates (u, v) to scaled ground coordinates."""

    def at(self, u: Floats, v: Floats) -> tuple[Floats, Floats]:
        """Ground coordinates (x, y) of image coordinates."""
        ...

    def slopes(self, u: Floats, v: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """Tell the derivatives (dx/du, dx/dv, dy/du, dy/dv)."""
        ...


@dataclass(frozen=True)
class Scale:
    """Centres and sizes of the image and of the ground.

    Parameters
    ----------
    col, row, x, y : (float, float)
        Centre and size: a scaled coordinate is (value - centre) / size.

    Examples
    --------
    >>> scale = Scale.of(np.array([0.0, 100.0]), np.array([0.0, 50.0]), np.array([5.0, 9.0]), np.array([1.0, 3.0]))
    >>> [float(value) for value in scale.to_unit(100.0, 25.0)]
    [1.0, 0.0]
    """

    col: tuple[float, float]
    row: tuple[float, float]
    x: tuple[float, float]
    y: tuple[float, float]

    @classmethod
    def of(cls, col: Floats, row: Floats, x: Floats, y: Floats, *, square: bool = False) -> Scale:
        """Scale so that points lie within [-1, 1]; with one size for columns and rows where `square`."""
        found = [((float(v.min()) + float(v.max())) / 2, max(float(np.ptp(v)) / 2, 1e-300)) for v in (col, row, x, y)]
        if square:
            side = max(found[0][1], found[1][1])
            found[:2] = [(centre, side) for centre, _ in found[:2]]
        return cls(*found)

    def to_unit(self, col: Any, row: Any) -> tuple[Floats, Floats]:
        """Scaled image coordinates of pixels."""
        return (np.asarray(col) - self.col[0]) / self.col[1], (np.asarray(row) - self.row[0]) / self.row[1]

    def to_pixel(self, u: Floats, v: Floats) -> tuple[Floats, Floats]:
        """Undo :meth:`to_unit`."""
        return u * self.col[1] + self.col[0], v * self.row[1] + self.row[0]

    def to_ground(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Ground coordinates of scaled ones."""
        return x * self.x[1] + self.x[0], y * self.y[1] + self.y[0]

    def from_ground(self, x: Any, y: Any) -> tuple[Floats, Floats]:
        """Undo :meth:`to_ground`."""
        return (np.asarray(x) - self.x[0]) / self.x[1], (np.asarray(y) - self.y[0]) / self.y[1]


def exponents(order: int) -> list[tuple[int, int]]:
    """List the terms u**i v**j of a polynomial.

    Parameters
    ----------
    order : int
        The highest degree.

    Returns
    -------
    list of (i, j)
        By rising degree: (order + 1) (order + 2) / 2 terms.

    Examples
    --------
    >>> exponents(1), len(exponents(5))
    ([(0, 0), (1, 0), (0, 1)], 21)
    """
    return [(degree - j, j) for degree in range(order + 1) for j in range(degree + 1)]


@dataclass(frozen=True, eq=False)
class Polynomial:
    """A polynomial in both coordinates.

    Parameters
    ----------
    order : int
        1 is an affine map.
    coefs : (terms, 2) float
        Of x and y, in the order of :func:`exponents`.

    Examples
    --------
    >>> plane = Polynomial(1, np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 3.0]]))
    >>> [float(value) for value in plane.at(np.float64(0.5), np.float64(1.0))]
    [2.0, 3.0]
    """

    order: int
    coefs: Floats

    def terms(self, u: Floats, v: Floats) -> Floats:
        """Values of all terms, (..., terms)."""
        return np.stack([u**i * v**j for i, j in exponents(self.order)], axis=-1)

    def at(self, u: Floats, v: Floats) -> tuple[Floats, Floats]:
        """Ground coordinates (x, y) of image coordinates."""
        x, y = self._sums(u, v, self._table())
        return x, y

    def slopes(self, u: Floats, v: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """Tell the derivatives (dx/du, dx/dv, dy/du, dy/dv)."""
        table = self._table()
        degree = np.arange(self.order + 1.0)
        by_u = np.roll(table * degree[:, None, None], -1, axis=0)
        by_v = np.roll(table * degree[None, :, None], -1, axis=1)
        (xu, yu), (xv, yv) = self._sums(u, v, by_u), self._sums(u, v, by_v)
        return xu, xv, yu, yv

    def _table(self) -> Floats:
        """Coefficients as (power of u, power of v, 2)."""
        table = np.zeros((self.order + 1, self.order + 1, 2))
        for (i, j), coef in zip(exponents(self.order), self.coefs, strict=True):
            table[i, j] = coef
        return table

    def _sums(self, u: Floats, v: Floats, table: Floats) -> list[Floats]:
        """Evaluate by Horner's rule, along v within along u."""
        sums = []
        for axis in range(2):
            total: Any = 0.0
            for i in range(self.order, -1, -1):
                inner: Any = 0.0
                for j in range(self.order - i, -1, -1):
                    inner = inner * v + table[i, j, axis]
                total = total * u + inner
            sums.append(np.asarray(total + 0.0 * u))
        return sums


@dataclass(frozen=True, eq=False)
class Homography:
    """A plane seen from anywhere: the map of a frame camera over flat ground.

    Parameters
    ----------
    matrix : (3, 3) float
        Of homogeneous coordinates; the last element is 1.

    Examples
    --------
    >>> view = Homography(np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.5, 0.0, 1.0]]))
    >>> [float(value) for value in view.at(np.float64(2.0), np.float64(1.0))]
    [1.0, 0.5]
    """

    matrix: Floats

    def at(self, u: Floats, v: Floats) -> tuple[Floats, Floats]:
        """Ground coordinates (x, y) of image coordinates; NaN beyond the horizon."""
        x, y, w = (a * u + b * v + c for a, b, c in self.matrix)
        w = np.where(w > 0, w, np.nan)
        return x / w, y / w

    def slopes(self, u: Floats, v: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """Tell the derivatives (dx/du, dx/dv, dy/du, dy/dv)."""
        (a, b, _), (d, e, _), (g, h, _) = self.matrix
        x, y = self.at(u, v)
        w = g * u + h * v + self.matrix[2, 2]
        return (a - g * x) / w, (b - h * x) / w, (d - g * y) / w, (e - h * y) / w

    def inverse(self) -> Homography:
        """Map back from the ground to the image."""
        back = np.linalg.inv(self.matrix)
        return Homography(back / back[2, 2])
