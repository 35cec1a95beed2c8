"""Shifts in proportion to the height of the terrain, beside a polynomial: the trace of a poor DEM.

An image rectified over heights that are off by h lies off by ``h tan(view angle)`` towards or away from the sensor. The
direction and the size are found, not given; they change across a wide swath, so they may change linearly. The height is
that of the place in the reference, where the content is.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike
from scipy import ndimage

from xcoreg.core import Bools, Floats, exponents, monomials
from xcoreg.core.models.base import Degenerate, FitResult, FittedModel, broadcast, to_tuples
from xcoreg.core.models.leastsq import FitPoints, LinearFit, fit_linear, half_planes

_BASES = ("translation", "affine", "polynomial2", "polynomial3")
_SIGNIFICANT = 9.21034037197618  # 99 % of chi square with two degrees of freedom
_ROUNDS = 8  # of the search for the place in the reference: a parallax changes by a tenth of the way at most
_TOO_FLAT = 1e-6  # smallest standard deviation of heights that tells anything


@dataclass(frozen=True, eq=False)
class Surface:
    """Heights on a grid in the CRS of the tie points, bilinear in between; NaN where unknown.

    heights : (rows, cols) float64.
    corner, step : x and y of the centre of the first pixel, and steps to the next column and row.
    """

    heights: Floats
    corner: tuple[float, float]
    step: tuple[float, float]

    @cached_property
    def _filled(self) -> Floats:
        """Heights, unknown ones as the nearest known."""
        gaps = np.isnan(self.heights)
        if not gaps.any():
            return self.heights
        index = ndimage.distance_transform_edt(gaps, return_distances=False, return_indices=True)
        return np.asarray(self.heights[tuple(index)])

    def _pixels(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        return (y - self.corner[1]) / self.step[1], (x - self.corner[0]) / self.step[0]

    def at(self, x: ArrayLike, y: ArrayLike) -> Floats:
        """Heights at positions; beyond the known ones the nearest."""
        x, y = broadcast(x, y)
        at = np.nan_to_num(np.stack(self._pixels(x, y)))
        out = ndimage.map_coordinates(self._filled, at, order=1, mode="nearest")
        return np.where(np.isnan(x) | np.isnan(y), np.nan, out)

    def unknown(self, x: ArrayLike, y: ArrayLike) -> Bools:
        """Positions without a known height."""
        with np.errstate(invalid="ignore"):
            row, col = (np.rint(p) for p in self._pixels(*broadcast(x, y)))
            rows, cols = self.heights.shape
            inside = (row >= 0) & (row < rows) & (col >= 0) & (col < cols)
        known = np.isfinite(self.heights)
        at = np.where(inside, row, 0).astype(np.intp), np.where(inside, col, 0).astype(np.intp)
        return np.asarray(~(inside & known[at]))

    def averaged(self, side: float) -> Surface:
        """Mean heights over squares: what the shift of a window of that side, CRS units, feels."""
        size = [max(round(side / abs(step)), 1) for step in (self.step[1], self.step[0])]
        return Surface(ndimage.uniform_filter(self._filled, size, mode="nearest"), self.corner, self.step)


@dataclass(frozen=True, eq=False, repr=False)
class Parallax(FittedModel):
    """A polynomial plus a shift in proportion to the height.

    centre, scale : Map position (2,) of the origin, and CRS units of one unit of the coordinates.
    coef, cov : (m, 2), (m, 2, m, 2) float64; of the polynomial by rising degree, CRS units, then in one row or three
        CRS units per unit of height: at the origin, and its changes along both coordinates; and their covariance.
    order : Of the polynomial.
    middle : Height at which the polynomial alone holds.
    heights, corner, step : See :class:`Surface`.
    """

    kind = "parallax"
    arrays: ClassVar[dict[str, type]] = dict.fromkeys(
        ("hull", "centre", "coef", "cov", "heights", "corner", "step"), np.float64
    )

    centre: Floats
    scale: float
    coef: Floats
    cov: Floats
    order: int
    middle: float
    heights: Floats
    corner: Floats
    step: Floats

    @cached_property
    def surface(self) -> Surface:
        """Heights at places."""
        (x, y), (across, down) = self.corner.tolist(), self.step.tolist()
        return Surface(self.heights, (x, y), (across, down))

    @property
    def _first(self) -> int:
        """Row of the correction per unit of height."""
        return len(exponents(self.order))

    @property
    def per_height(self) -> tuple[float, float]:
        """Correction (dx, dy) per unit of height at the origin, CRS units."""
        dx, dy = self.coef[self._first].tolist()
        return float(dx), float(dy)

    @property
    def per_height_cov(self) -> Floats:
        """Covariance (2, 2) of the correction per unit of height at the origin."""
        return np.asarray(self.cov[self._first, :, self._first, :])

    def per_height_at(self, x: Floats, y: Floats) -> Floats:
        """Correction (2, n) per unit of height at map positions (n,)."""
        rows = self.coef[self._first :]
        return np.asarray(rows.T @ _changes(*self._local(x, y), len(rows)))

    def _local(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        return (x - self.centre[0]) / self.scale, (y - self.centre[1]) / self.scale

    def predict(self, x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
        """Correction at map positions."""
        x, y = broadcast(x, y)
        found = np.einsum("nm,mk->kn", self._design(x.ravel(), y.ravel()), self.coef)
        return found[0].reshape(x.shape), found[1].reshape(x.shape)

    def _own_cov(self, x: ArrayLike, y: ArrayLike) -> Floats:
        """Covariance (..., 2, 2) of the correction at map positions."""
        x, y = broadcast(x, y)
        design = self._design(x.ravel(), y.ravel())
        out = np.einsum("nm,makb,nk->nab", design, self.cov, design)
        return np.asarray(out.reshape(*x.shape, 2, 2))

    def extrapolates(self, x: ArrayLike, y: ArrayLike) -> Bools:
        """Positions far outside the tie points, or without a height."""
        return super().extrapolates(x, y) | self.surface.unknown(x, y)

    def _design(self, x: Floats, y: Floats) -> Floats:
        u, v = self._local(x, y)
        plain, per = monomials(u, v, self.order), self.per_height_at(x, y)
        found = np.einsum("nm,mk->kn", plain, self.coef[: self._first])
        height: Floats = np.zeros(x.shape)
        for _ in range(_ROUNDS):
            dx, dy = found + per * height
            height = self.surface.at(x + dx, y + dy) - self.middle
        return np.column_stack([plain, (height * _changes(u, v, len(self.coef) - self._first)).T])

    def _summary(self) -> dict[str, Any]:
        dx, dy = self.per_height
        return {"per_height": f"({dx:.4g}, {dy:.4g})", "order": self.order, **super()._summary()}


@dataclass(frozen=True, eq=False)
class ParallaxMaker:
    """Fits :class:`Parallax` with one polynomial: a kind of model beside those that have a name.

    surface : Heights at places; felt : Heights as windows feel them; base : Name of the polynomial.
    varies : Whether the shift per height changes linearly.
    repeats : Tie points per independent one: windows that overlap repeat their errors.
    """

    surface: Surface
    felt: Surface
    base: str
    varies: bool = False
    repeats: float = 1.0

    def __str__(self) -> str:
        return f"{self.base}+{'varying ' * self.varies}parallax"

    def fit_result(self, points: FitPoints) -> FitResult:
        """Fit; Degenerate where the heights explain nothing that chance would not."""
        felt = _heights_at(points, self.felt)
        model, fit = self._fit(points, felt)
        per, cov = np.array(model.per_height), model.per_height_cov
        if not per @ np.linalg.solve(cov, per) > _SIGNIFICANT:
            raise Degenerate("no shift in proportion to the terrain's height was found", 1)
        return FitResult(model, fit.residual, fit.spread + points.covs + fit.scatter, len(fit.coef))

    def _fit(self, points: FitPoints, felt: Floats) -> tuple[Parallax, LinearFit]:
        order, terms = _BASES.index(self.base), 3 if self.varies else 1
        middle, spread = float(felt.mean()), float(felt.std())
        needed = len(exponents(order)) + terms + 3
        if len(points) < 2 * needed or spread < _TOO_FLAT:
            raise Degenerate(f"{len(points)} tie points are too few for {self}, or the terrain is flat", 2 * needed)
        heights = (felt - middle) / spread * _changes(points.u, points.v, terms)
        design = np.column_stack([monomials(points.u, points.v, order), heights.T])
        fit = fit_linear(design, points.values, points.covs)
        units = np.full(len(fit.coef), points.unit)
        units[-terms:] /= spread
        shared: dict[str, Any] = {"n": len(points), "scatter": to_tuples(fit.scatter[:2, :2] * points.unit**2)}
        shared |= {"spacing": points.spacing * points.scale, "hull": half_planes(points.x, points.y)}
        shared |= {"coef": fit.coef * units[:, None]}
        units[-terms:] *= np.sqrt(self.repeats)
        shared |= {"cov": fit.cov * np.multiply.outer(units, units)[:, None, :, None]}
        grid: dict[str, Any] = {name: np.array(getattr(self.surface, name)) for name in ("heights", "corner", "step")}
        shared |= {"centre": np.array(points.centre), "scale": points.scale, "order": order, "middle": middle}
        return Parallax(**shared, **grid), fit


def _changes(u: Floats, v: Floats, terms: int) -> Floats:
    """Factors (terms, n) of the shift per height: 1, and where it changes the coordinates."""
    return np.stack([np.ones_like(u), u, v])[:terms]


def _heights_at(points: FitPoints, surface: Surface) -> Floats:
    """Heights (n,) where the content of tie points is in the reference."""
    return surface.at(points.x + points.values[:, 0] * points.unit, points.y + points.values[:, 1] * points.unit)


def parallax_makers(surface: Surface, side: float, base: str = "auto", repeats: float = 1.0) -> list[Any]:
    """Kinds to choose from, simplest first: polynomials without and with parallax; side of the windows, CRS units."""
    felt = surface.averaged(side)
    names = _BASES if base == "auto" else (base,)
    makers = [[ParallaxMaker(surface, felt, name, varies, repeats) for varies in (False, True)] for name in names]
    return [kind for name, two in zip(names, makers, strict=True) for kind in (name, *two)]


def without_parallax(points: FitPoints, surface: Surface, side: float) -> Floats:
    """Part (n, 2) of corrections that the heights explain, robustly, beside a plane; in the given order, CRS units."""
    felt = _heights_at(points, surface.averaged(side))
    spread = float(felt.std())
    if len(points) < 12 or spread < _TOO_FLAT:
        return np.zeros((points.total, 2))
    heights = (felt - felt.mean()) / spread
    design = np.column_stack([monomials(points.u, points.v, 1), heights])
    coef = fit_linear(design, points.values, points.covs).coef
    return points.in_given_order(np.outer(heights, coef[-1]) * points.unit)
