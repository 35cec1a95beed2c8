"""Robust linear least squares of tie points: a covariance per point, scatter beyond it, calibrated uncertainty."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import scipy  # its parts are loaded when they are used: a first call needs few
from numpy.typing import ArrayLike
from scipy.special import chdtri, fdtri

from xcoreg.core import Bools, Floats, Ints
from xcoreg.core.matches import symmetric
from xcoreg.core.models.base import Degenerate
from xcoreg.core.robust import biweight

_SHARES = (0.9, 0.95)  # of the points that should lie within their error ellipses
_WRONG = 0.02  # largest share of outliers, for which ellipses are not enlarged
_FEW = 30  # number of points at which measured and theoretical uncertainty have equal weight
_NARROWEST, _WIDEST = 0.1, 100.0  # limits of the factor of variances
_CALIBRATION_STEPS = 24


@dataclass(frozen=True)
class ResidualCov:
    """Expected covariance of the residual at check points, in three parts.

    spread, covs, scatter : (n, k, k), (n, k, k), (k, k) float64; of the prediction, of the point, and beyond both.
    """

    spread: Floats
    covs: Floats
    scatter: Floats

    def wider(self, t: float) -> Floats:
        """Sum of the parts, enlarged; the covariances of points are enlarged by scatter."""
        own = np.median(self.covs, axis=0)
        return np.asarray((1 + t) * self.spread + self.covs + (1 + t) * self.scatter + t * own)

    def narrower(self, t: float) -> Floats:
        """Sum of the parts, reduced but for the covariances of points."""
        return np.asarray(t * (self.spread + self.scatter) + self.covs)

    @property
    def share(self) -> float:
        """Share of the variance that is not due to the covariances of points."""
        beyond, own = (np.trace(part, axis1=1, axis2=2) for part in (self.spread + self.scatter, self.covs))
        return float(np.median(beyond / (beyond + own)))


def calibrate(residual: Floats, expected: ResidualCov, weights: Floats, parameters: float) -> tuple[float, Floats]:
    """Scale the expected covariance so that the right share of check points lies within their error ellipses.

    residual (n, k), weights (n,) -> factor of the covariance of the prediction; scatter (k, k).
    """
    evidence = len(residual) / (len(residual) + _FEW)
    few = small_sample_factor(float(weights.sum()) - parameters, residual.shape[1])
    if _misfit(residual, expected.wider(0.0), weights) >= 1:
        t = (1 + _bisect(lambda t: _misfit(residual, expected.wider(t), weights), 0.0, _WIDEST)) ** evidence - 1
        own = np.median(expected.covs, axis=0)
        return few * (1 + t), np.asarray(few * ((1 + t) * expected.scatter + t * own))
    # Covariances of points are not reduced: where they dominate, the limit is close to 1.
    least = 1 - expected.share * (1 - _NARROWEST)
    t = _bisect(lambda t: _misfit(residual, expected.narrower(t), weights), least, 1.0) ** evidence
    return few * t, few * t * expected.scatter


def _misfit(residual: Floats, covs: Floats, weights: Floats) -> float:
    """Mean ratio of two quantiles of the residuals to the expected ones, without outliers."""
    k, sound = residual.shape[1], weights > 0
    part = float(sound.mean())
    if not part:  # nothing contradicts what is expected
        return 1.0
    shares = [min(max(share, (share - _WRONG) / part), 0.99) for share in _SHARES]
    quantiles = np.quantile(squared_distance(residual[sound], covs[sound]), shares)
    return float(np.mean([q / chdtri(k, 1 - share) for q, share in zip(quantiles, _SHARES, strict=True)]))


def _bisect(misfit: Callable[[float], float], low: float, high: float) -> float:
    """Bisection: where a falling function crosses 1, or the nearer end."""
    if misfit(low) <= 1:
        return low
    for _ in range(_CALIBRATION_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if misfit(middle) > 1 else (low, middle)
    return high


_REJECT = 4e-6  # probability that a good point loses weight: 5 sigma for two components
_ZERO_WEIGHT = 1.6  # multiple of the limit from which on the weight is zero
_NORMAL_MEDIAN = 0.4549364231195724  # median of a squared standard normal number
_STEPS, _ROUNDS = 40, 5


def inverse_matrices(matrices: Floats) -> Floats:
    """Invert small symmetric matrices."""
    if matrices.shape[-1] != 2:
        return np.asarray(np.linalg.inv(matrices))
    a, b, d = matrices[..., 0, 0], (matrices[..., 0, 1] + matrices[..., 1, 0]) / 2, matrices[..., 1, 1]
    det = a * d - b * b
    return np.asarray(symmetric(d, -b, a) / det[..., None, None])


def squared_distance(residual: Floats, covs: Floats) -> Floats:
    """Squared Mahalanobis distance of residuals: residual (n, k) float64; covs (n, k, k) float64 -> (n,) float64."""
    return np.asarray(np.einsum("ni,nij,nj->n", residual, inverse_matrices(covs), residual))


def rejection_limit(k: int) -> float:
    """Squared Mahalanobis distance above which points lose weight."""
    return float(chdtri(k, _REJECT))


def robust_weights(squared: Floats, k: int) -> Floats:
    """Weights (n,) of points: 1 up to the rejection limit, 0 far beyond, smooth in between.

    Tukey's biweight from zero on would down-weight good points where a spline bends most, and flatten the bend.
    """
    beyond = (np.sqrt(squared / rejection_limit(k)) - 1) / (_ZERO_WEIGHT - 1)
    return biweight(np.maximum(beyond, 0))


def first_scatter(residual: Floats, covs: Floats) -> Floats:
    """First estimate (k, k) of the scatter from medians of each component; half of the points may be wrong."""
    own = np.median(np.diagonal(covs, axis1=1, axis2=2), axis=0)
    return np.diag(np.maximum(np.median(residual**2, axis=0) / _NORMAL_MEDIAN - own, 0))


def excess_scatter(residual: Floats, covs: Floats, left: Floats, weights: Floats) -> Floats:
    """Scatter (k, k) of residuals (n, k) beyond their covariances (n, k, k), with robust weights (n,).

    Random effects by Paule & Mandel (1982, doi:10.6028/jres.087.022) along the principal axes of the excess (parallax
    scatters along one direction).
    """
    k = residual.shape[1]
    total = weights.sum()
    beyond = np.einsum("n,ni,nj->ij", weights, residual, residual) - np.einsum("n,nij->ij", weights * left, covs)
    axes = np.linalg.eigh(beyond / max(total, 1e-12))[1]
    turned = (residual @ axes) ** 2
    own = np.einsum("ia,nij,ja->na", axes, covs, axes)
    goal = float((weights * left).sum())
    sizes = [_paule_mandel(weights * turned[:, a], own[:, a], goal) for a in range(k)]
    return np.asarray(axes * sizes @ axes.T)


def iterate_scatter(residual: Floats, covs: Floats, scatter: Floats) -> tuple[Floats, Floats]:
    """Improve a first estimate of the scatter (k, k) together with robust weights (n,)."""
    floor = 1e-14 * np.eye(residual.shape[1])
    scatter = scatter + floor
    for _ in range(_ROUNDS):
        weights = robust_weights(squared_distance(residual, covs + scatter), residual.shape[1])
        scatter = excess_scatter(residual, covs, np.ones(len(residual)), weights) + floor
    return scatter, weights


def _paule_mandel(squares: Floats, own: Floats, goal: float) -> float:
    """Variance s >= 0 with ``sum(squares / (own + s)) = goal``."""
    if goal <= 0 or (squares / own).sum() <= goal:
        return 0.0
    low, high = 0.0, float(squares.sum() / goal)
    for _ in range(_STEPS):
        # Newton's step on the reciprocal, which is almost a straight line, always from below.
        wide = own + low
        value = (squares / wide).sum()
        step = (value / goal - 1) * value / (squares / wide**2).sum()
        low, last = min(low + step, high), low
        if low - last <= 1e-9 * high:
            break
    return float(low)


def small_sample_factor(freedom: float, k: int) -> float:
    """Factor by which 95 % ellipses grow if their covariance comes from few residuals (Hotelling's T²)."""
    freedom = max(freedom, k + 0.5)
    quantile = k * freedom / (freedom - k + 1) * fdtri(k, freedom - k + 1, 0.95)
    return min(float(quantile / chdtri(k, 0.05)), 10.0)


def leave_one_out(residual: Floats, spread: Floats, precision: Floats) -> tuple[Floats, Floats]:
    """Residuals (n, k) from a linear fit without each point, and their covariances (n, k, k), in closed form."""
    keep = np.linalg.inv(np.eye(residual.shape[1]) - spread @ precision)
    out = keep @ spread
    return np.asarray((keep @ residual[:, :, None])[:, :, 0]), np.asarray((out + out.transpose(0, 2, 1)) / 2)


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

    def subset(self, chosen: Bools | Ints) -> FitPoints:
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
    usable, measured = fill_covariances(own / unit**2)
    spacing = typical_spacing(u, v)
    return FitPoints(u, v, moves / unit, usable, rows, len(known), centre, scale, unit, spacing, measured)


def fill_covariances(covs: Floats) -> tuple[Floats, bool]:
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
    return float(np.median(scipy.spatial.cKDTree(positions).query(positions, min(len(positions), 5))[0][:, -1]))


def half_planes(x: Floats, y: Floats) -> Floats:
    """Half-planes (m, 3) of the convex hull of positions (n,)."""
    middle = np.array([x.mean(), y.mean()])
    try:
        sides = scipy.spatial.ConvexHull(np.column_stack([x, y]) - middle).equations
    except scipy.spatial.QhullError:
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
        precision = weights[:, None, None] * inverse_matrices(covs + scatter)
        coef, cov = _solve(design, values, precision)
        residual = values - design @ coef
        spread = _spread(design, cov)
        left = 1 - np.einsum("nij,nji->n", spread, precision) / k
        last, scatter = scatter, _with_width(excess_scatter(residual, covs, np.clip(left, 0, 1), weights))
        weights, scatter = _weights_of_majority(residual, covs, scatter, np.clip(left, 0.1, 1), design.shape[1] + 2)
        if np.abs(scatter - last).max() <= _TOLERANCE * np.abs(scatter).max():
            break
    precision = weights[:, None, None] * inverse_matrices(covs + scatter)
    coef, cov = _solve(design, values, precision)
    spread = _spread(design, cov)
    left_out, residual_spread = leave_one_out(values - design @ coef, spread, precision)
    expected = ResidualCov(residual_spread, covs, scatter)
    factor, scatter = calibrate(left_out, expected, weights, design.shape[1])
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
    scatter = _with_width(first_scatter(residual, covs) * n / max(n - m, 1))
    weights, scatter = _weights_of_majority(residual, covs, scatter, np.ones(n), m + 2)
    return scatter, weights


def _weights_of_majority(
    residual: Floats, covs: Floats, scatter: Floats, left: Floats, needed: int
) -> tuple[Floats, Floats]:
    """Weights of points by their residuals; the scatter is doubled until most points have weight."""
    while True:
        squared = squared_distance(residual, covs + scatter) / left
        weights = robust_weights(squared, residual.shape[1])
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
