"""Robust weights, scatter beyond the covariances of points, leave-one-out residuals, calibrated uncertainty."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import chdtri, fdtri

from xcoreg.core import Floats
from xcoreg.core.matches import symmetric
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
        t = (1 + _solve(lambda t: _misfit(residual, expected.wider(t), weights), 0.0, _WIDEST)) ** evidence - 1
        own = np.median(expected.covs, axis=0)
        return few * (1 + t), np.asarray(few * ((1 + t) * expected.scatter + t * own))
    # Covariances of points are not reduced: where they dominate, the limit is close to 1.
    least = 1 - expected.share * (1 - _NARROWEST)
    t = _solve(lambda t: _misfit(residual, expected.narrower(t), weights), least, 1.0) ** evidence
    return few * t, few * t * expected.scatter


def _misfit(residual: Floats, covs: Floats, weights: Floats) -> float:
    """Mean ratio of two quantiles of the residuals to the expected ones, without outliers."""
    k, sound = residual.shape[1], weights > 0
    part = float(sound.mean())
    shares = [min(max(share, (share - _WRONG) / part), 0.99) for share in _SHARES]
    quantiles = np.quantile(squared_distance(residual[sound], covs[sound]), shares)
    return float(np.mean([q / chdtri(k, 1 - share) for q, share in zip(quantiles, _SHARES, strict=True)]))


def _solve(misfit: Callable[[float], float], low: float, high: float) -> float:
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
