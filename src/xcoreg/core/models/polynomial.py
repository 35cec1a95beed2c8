"""Polynomials of order 1 (affine) to 3."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from xcoreg.core import Floats, exponents, monomials
from xcoreg.core.matches import symmetric
from xcoreg.core.models.base import Degenerate, FittedModel, broadcast, to_tuples
from xcoreg.core.models.leastsq import FitPoints, LinearFit, fit_linear, half_planes

_FLAT = 1e-2  # smallest singular value of the design over the largest
_NARROW = 5e-3  # smallest width of the points over their length


@dataclass(frozen=True, eq=False, repr=False)
class Polynomial(FittedModel):
    """Polynomial in centred, scaled coordinates; make one with :func:`xcoreg.core.models.fit_model`.

    centre, scale : Map position (2,) of the origin, and CRS units of one unit of the coordinates.
    coef, cov : (m, k), (m, k, m, k) float64; coefficients by rising degree, CRS units, and their covariance; for k = 1
        of one quantity, used for both components.
    """

    order: ClassVar[int] = 0
    arrays: ClassVar[dict[str, type]] = dict.fromkeys(("hull", "centre", "coef", "cov"), np.float64)

    centre: Floats
    scale: float
    coef: Floats
    cov: Floats

    def predict(self, x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
        """Correction at map positions."""
        u, v = self._local(x, y)
        return _horner(self.coef[:, 0], self.order, u, v), _horner(self.coef[:, -1], self.order, u, v)

    def _own_cov(self, x: ArrayLike, y: ArrayLike) -> Floats:
        """Covariance (..., 2, 2) of the correction at map positions."""
        u, v = self._local(x, y)
        second = min(self.coef.shape[1] - 1, 1)
        pairs = ((0, 0), (0, second), (second, second))
        return symmetric(*(_horner(self._squares(a, b), 2 * self.order, u, v) for a, b in pairs))

    def _local(self, x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
        x, y = broadcast(x, y)
        return (x - self.centre[0]) / self.scale, (y - self.centre[1]) / self.scale

    def _squares(self, a: int, b: int) -> Floats:
        """Coefficients of the covariance of two components, a polynomial of twice the order."""
        where = {powers: i for i, powers in enumerate(exponents(2 * self.order))}
        out, powers = np.zeros(len(where)), exponents(self.order)
        for i, (p, q) in enumerate(powers):
            for j, (r, s) in enumerate(powers):
                out[where[p + r, q + s]] += self.cov[i, a, j, b]
        return out


class Affine(Polynomial):
    """A plane for each component."""

    kind = "affine"
    order = 1

    @property
    def matrix(self) -> tuple[float, float, float, float, float, float]:
        """(a, b, c, d, e, f): corrected coordinates are ``(a x + b y + c, d x + e y + f)``."""
        (x0, y0), ((across, down), (ax, dx), (bx, ex)) = self.centre, self.coef[:, [0, -1]] / self.scale
        a, b, d, e = 1 + float(ax), float(bx), float(dx), 1 + float(ex)
        to_x, to_y = x0 + across * self.scale, y0 + down * self.scale
        return a, b, float(to_x - a * x0 - b * y0), d, e, float(to_y - d * x0 - e * y0)


class Polynomial2(Polynomial):
    """A polynomial of order 2 for each component."""

    kind = "polynomial2"
    order = 2


class Polynomial3(Polynomial):
    """A polynomial of order 3 for each component."""

    kind = "polynomial3"
    order = 3


class Polynomial4(Polynomial):
    """A polynomial of order 4, of heights."""

    kind = "polynomial4"
    order = 4


def _horner(coef: Floats, order: int, u: Floats, v: Floats) -> Floats:
    """Evaluate a polynomial by Horner's scheme."""
    where = {powers: i for i, powers in enumerate(exponents(order))}
    out = np.zeros(np.shape(u))
    for p in range(order, -1, -1):
        inner = np.zeros(np.shape(u))
        for q in range(order - p, -1, -1):
            inner = inner * v + coef[where[p, q]]
        out = out * u + inner
    return np.asarray(out)


def fit_polynomial(kind: type[Polynomial], points: FitPoints) -> tuple[Polynomial, LinearFit]:
    """Fit a polynomial."""
    design = monomials(points.u, points.v, kind.order)
    needed = design.shape[1] + 1
    positions = len(np.unique(np.column_stack([points.u, points.v]), axis=0))
    if positions < needed:
        raise Degenerate(f"{positions} positions are too few for {kind.kind}: it needs {needed}", needed)
    _reject_clusters(points, kind, needed)
    fit = fit_linear(design, points.values, points.covs)
    shared: dict[str, Any] = {"n": len(points), "scatter": to_tuples(fit.scatter[:2, :2] * points.unit**2)}
    shared |= {"spacing": points.spacing * points.scale, "hull": half_planes(points.x, points.y)}
    coef, cov = fit.coef * points.unit, fit.cov * points.unit**2
    return kind(**shared, centre=np.array(points.centre), scale=points.scale, coef=coef, cov=cov), fit


def detrend(points: FitPoints) -> tuple[Floats, FitPoints]:
    """Coefficients (3, k) of a robust plane, and the tie points with their corrections minus the plane."""
    plane = fit_polynomial(Affine, points)[1].coef
    values = points.values - plane[0] - np.outer(points.u, plane[1]) - np.outer(points.v, plane[2])
    return plane, replace(points, values=values)


def _reject_clusters(points: FitPoints, kind: type[Polynomial], needed: int) -> None:
    """Reject points on a line, or of which a single one determines a coefficient."""
    positions = np.column_stack([points.u - points.u.mean(), points.v - points.v.mean()])
    _, widths, axes = np.linalg.svd(positions, full_matrices=False)
    if widths[1] <= _NARROW * widths[0]:
        raise Degenerate(f"the {len(points)} tie points lie on a line: {kind.kind} needs {needed} that do not", needed)
    along = positions @ axes.T / (widths / np.sqrt(len(points)))
    design = monomials(along[:, 0], along[:, 1], kind.order)
    left, sizes, _ = np.linalg.svd(design / np.sqrt((design**2).mean(0)), full_matrices=False)
    if sizes[-1] <= _FLAT * sizes[0] or (left**2).sum(1).max() > 1 - 1e-6:
        message = f"the {len(points)} tie points are too clustered for {kind.kind}: it needs {needed} well spread"
        raise Degenerate(message, needed)
