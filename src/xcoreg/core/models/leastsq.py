"""Preparation of tie points, and robust linear least squares with a covariance per point and scatter beyond it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial import ConvexHull, QhullError, cKDTree

from xcoreg.core import Bools, Floats, Ints
from xcoreg.core.models import uncertainty
from xcoreg.core.models.base import Degenerate

_FLOOR = 1e-7  # smallest standard deviation of a point over the typical value
_BITS = 16  # of each coordinate along the space-filling curve


@dataclass(frozen=True)
class FitPoints:
    """Finite tie points in one order, centred and scaled, with positive definite covariances.

    u, v : (n,) float64; positions in units of `scale` (CRS units), within [-1, 1]; 0 at the map position `centre`.
    values, covs : (n, k), (n, k, k) float64; corrections (dx, dy, ...) and covariances in units of `unit` (CRS units).
    rows : (n,) int; row of each point in the input; total : number of these rows.
    spacing : Typical distance of neighbours, in units of `scale`; measured : whether any covariance was given.
    """

    u: Floats
    v: Floats
    values: Floats
    covs: Floats
    rows: Ints
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

    def subset(self, chosen: Bools) -> FitPoints:
        """Select points; the units stay the same."""
        columns = {name: getattr(self, name)[chosen] for name in ("u", "v", "values", "covs", "rows")}
        return replace(self, **columns)

    def in_given_order(self, values: Floats) -> Floats:
        """Results in the order of the input, NaN for rows that were left out."""
        out = np.full((self.total, *values.shape[1:]), np.nan)
        out[self.rows] = values
        return out


def prepare_points(x: ArrayLike, y: ArrayLike, values: ArrayLike, covs: ArrayLike | None = None) -> FitPoints:
    """Centre, scale and sort tie points: x, y (n,); values (n, k); covs (n, k, k), optional."""
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
    usable, measured = _fill_covariances(own / unit**2)
    spacing = typical_spacing(u, v)
    return FitPoints(u, v, moves / unit, usable, rows, len(known), centre, scale, unit, spacing, measured)


def _fill_covariances(covs: Floats) -> tuple[Floats, bool]:
    """Give points without a covariance the median one; add a tiny one to all."""
    finite = np.asarray(np.isfinite(covs).all((1, 2)))
    identity = np.eye(covs.shape[1])
    good = finite & (np.linalg.eigvalsh(np.where(finite[:, None, None], covs, -identity))[:, 0] > 0)
    typical = np.median(covs[good], axis=0) if good.any() else 0 * identity
    return np.asarray(np.where(good[:, None, None], covs, typical) + _FLOOR**2 * identity), bool(good.any())


def typical_spacing(u: Floats, v: Floats) -> float:
    """Typical distance of neighbours: median distance to the fourth nearest position."""
    positions = np.unique(np.column_stack([u, v]), axis=0)
    if len(positions) < 2:
        return 0.0
    return float(np.median(cKDTree(positions).query(positions, min(len(positions), 5))[0][:, -1]))


def half_planes(x: Floats, y: Floats) -> Floats:
    """Half-planes (m, 3) of the convex hull of positions (n,)."""
    middle = np.array([x.mean(), y.mean()])
    try:
        sides = ConvexHull(np.column_stack([x, y]) - middle).equations
    except QhullError:
        return np.empty((0, 3))
    sides[:, 2] -= sides[:, :2] @ middle
    return np.asarray(np.unique(sides, axis=0))


def spread_order(u: Floats, v: Floats) -> Ints:
    """Order points along a space-filling curve (Morton), so that every m-th of them covers the area."""
    code = np.zeros(len(u), np.int64)
    cells = [np.clip((p + 1) / 2 * 2**_BITS, 0, 2**_BITS - 1).astype(np.int64) for p in (u, v)]
    for bit in range(_BITS):
        code |= (((cells[0] >> bit) & 1) << (2 * bit)) | (((cells[1] >> bit) & 1) << (2 * bit + 1))
    return np.asarray(np.argsort(code, kind="stable"))


def folds_of(points: FitPoints, folds: int) -> Ints:
    """Assign points to folds (n,), each of which covers the area."""
    out = np.empty(len(points), np.intp)
    out[spread_order(points.u, points.v)] = np.arange(len(points)) % min(folds, len(points))
    return out


_FIRST_ROUNDS = 8
_ROUNDS = 25
_TOLERANCE = 1e-4
_MAJORITY = 0.6  # smallest sum of weights over the number of points
_THIN = 1e-4  # share of the variance of scatter that is isotropic
_VARIANCE_FLOOR = 1e-14  # smallest variance of scatter: round-off of values of about 1


@dataclass(frozen=True)
class LinearFit:
    """Result of a linear fit, in the units of the values; uncertainties are calibrated by cross-validation.

    coef, cov : (m, k), (m, k, m, k) float64; coefficients and their covariance.
    scatter : (k, k) float64; covariance of the points beyond their own.
    residual, spread : (n, k), (n, k, k) float64; of each point from the fit without it, and covariance of that fit.
    """

    coef: Floats
    cov: Floats
    scatter: Floats
    residual: Floats
    spread: Floats


def fit_linear(design: Floats, values: Floats, covs: Floats) -> LinearFit:
    """Fit coefficients, scatter and robust weights together: design (n, m); values (n, k); covs (n, k, k)."""
    k = values.shape[1]
    scatter, weights = _start(design, values, covs)
    for _ in range(_ROUNDS):
        precision = weights[:, None, None] * uncertainty.inverse_matrices(covs + scatter)
        coef, cov = _solve(design, values, precision)
        residual = values - design @ coef
        spread = _spread(design, cov)
        left = 1 - np.einsum("nij,nji->n", spread, precision) / k
        last, scatter = scatter, _with_width(uncertainty.excess_scatter(residual, covs, np.clip(left, 0, 1), weights))
        weights, scatter = _weights_of_majority(residual, covs, scatter, np.clip(left, 0.1, 1), design.shape[1] + 2)
        if np.abs(scatter - last).max() <= _TOLERANCE * np.abs(scatter).max():
            break
    precision = weights[:, None, None] * uncertainty.inverse_matrices(covs + scatter)
    coef, cov = _solve(design, values, precision)
    spread = _spread(design, cov)
    left_out, residual_spread = uncertainty.leave_one_out(values - design @ coef, spread, precision)
    expected = uncertainty.ResidualCov(residual_spread, covs, scatter)
    factor, scatter = uncertainty.calibrate(left_out, expected, weights, design.shape[1])
    return LinearFit(coef, factor * cov, scatter, left_out, factor * residual_spread)


def _start(design: Floats, values: Floats, covs: Floats) -> tuple[Floats, Floats]:
    """Robust first scatter and weights: least absolute deviations by iterative reweighting."""
    n, m = design.shape
    coef = np.linalg.lstsq(design, values, rcond=None)[0]
    for _ in range(_FIRST_ROUNDS if n > m else 0):
        length = np.sqrt(((values - design @ coef) ** 2).sum(1))
        root = 1 / np.sqrt(np.maximum(length, 1e-3 * np.median(length) + 1e-9))[:, None]
        coef = np.linalg.lstsq(design * root, values * root, rcond=None)[0]
    residual = values - design @ coef
    scatter = _with_width(uncertainty.first_scatter(residual, covs) * n / max(n - m, 1))
    weights, scatter = _weights_of_majority(residual, covs, scatter, np.ones(n), m + 2)
    return scatter, weights


def _weights_of_majority(
    residual: Floats, covs: Floats, scatter: Floats, left: Floats, needed: int
) -> tuple[Floats, Floats]:
    """Weights of points by their residuals; the scatter is doubled until most points have weight."""
    while True:
        squared = uncertainty.squared_distance(residual, covs + scatter) / left
        weights = uncertainty.robust_weights(squared, residual.shape[1])
        if weights.sum() >= max(_MAJORITY * len(residual), min(needed, len(residual)) - 1e-9):
            return weights, scatter
        scatter = _with_width(2 * scatter)


def _with_width(scatter: Floats) -> Floats:
    """Add a little isotropic scatter, so that the covariance can be inverted."""
    return np.asarray(scatter + (_VARIANCE_FLOOR + _THIN * np.trace(scatter)) * np.eye(len(scatter)))


def _solve(design: Floats, values: Floats, precision: Floats) -> tuple[Floats, Floats]:
    """Weighted least squares for all components together: coefficients (m, k) and covariance (m, k, m, k)."""
    m, k = design.shape[1], values.shape[1]
    heavy = design[:, :, None, None] * precision[:, None]
    normal = np.tensordot(design, heavy, (0, 0)).transpose(0, 2, 1, 3).reshape(m * k, m * k)
    right = np.einsum("njab,nb->ja", heavy, values).ravel()
    cov = np.linalg.inv((normal + normal.T) / 2)
    return np.asarray((cov @ right).reshape(m, k)), np.asarray(cov.reshape(m, k, m, k))


def _spread(design: Floats, cov: Floats) -> Floats:
    """Covariance of the fit at the points, (n, k, k)."""
    half = np.tensordot(design, cov, (1, 0))
    return np.asarray(np.einsum("najb,nj->nab", half, design))
