"""Robust weights, scatter beyond the covariances, and what a fit says of a point that it has not seen.

Making the stated uncertainty agree with what withheld points show.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import chdtri, fdtri

from xcoreg.core import Floats, symmetric
from xcoreg.core.robust import biweight

_SHARES = (0.9, 0.95)  # of the points that should be inside of their ellipses
_WRONG = 0.02  # of them may be missing because wrong points are outside: ellipses are not blown up for those
_FEW = 30  # points that tell as much about the shares as the theory does
_NARROWEST = 0.1  # factor of variance
_WIDEST = 100.0
_CALIBRATION_STEPS = 24


@dataclass(frozen=True)
class ResidualCov:
    """What a fit states of the residual of a withheld point.

    spread : (n, k, k) float64; Covariance of the prediction.
    covs : (n, k, k) float64; Covariance of the point.
    scatter : (k, k) float64; Covariance of what points show beyond both.
    """

    spread: Floats
    covs: Floats
    scatter: Floats

    def wider(self, t: float) -> Floats:
        """All of it wider, the points' own part as scatter."""
        own = np.median(self.covs, axis=0)
        return np.asarray((1 + t) * self.spread + self.covs + (1 + t) * self.scatter + t * own)

    def narrower(self, t: float) -> Floats:
        """All but the points' own part narrower."""
        return np.asarray(t * (self.spread + self.scatter) + self.covs)

    @property
    def share(self) -> float:
        """What is not the points' own, of the whole variance."""
        beyond, own = (np.trace(part, axis1=1, axis2=2) for part in (self.spread + self.scatter, self.covs))
        return float(np.median(beyond / (beyond + own)))


def calibrate(residual: Floats, expected: ResidualCov, weights: Floats, parameters: float) -> tuple[float, Floats]:
    """Widen or narrow what a fit states until withheld points lie inside of their ellipses as often as they should.

    off (n, k) float64; weights (n,) float64 -> scatter (k, k) float64.
    """
    evidence = len(residual) / (len(residual) + _FEW)
    few = small_sample_factor(float(weights.sum()) - parameters, residual.shape[1])
    if _misfit(residual, expected.wider(0.0), weights) >= 1:
        t = (1 + _solve(lambda t: _misfit(residual, expected.wider(t), weights), 0.0, _WIDEST)) ** evidence - 1
        own = np.median(expected.covs, axis=0)
        return few * (1 + t), np.asarray(few * ((1 + t) * expected.scatter + t * own))
    # Where the points' own covariances are most of what is stated they are to blame, and they are not touched.
    least = 1 - expected.share * (1 - _NARROWEST)
    t = _solve(lambda t: _misfit(residual, expected.narrower(t), weights), least, 1.0) ** evidence
    return few * t, few * t * expected.scatter


def _misfit(residual: Floats, covs: Floats, weights: Floats) -> float:
    """Size of the withheld residuals relative to what is stated: a mean of two quantiles of the sound points."""
    k, sound = residual.shape[1], weights > 0
    part = float(sound.mean())
    shares = [min(max(share, (share - _WRONG) / part), 0.99) for share in _SHARES]
    quantiles = np.quantile(squared_distance(residual[sound], covs[sound]), shares)
    return float(np.mean([q / chdtri(k, 1 - share) for q, share in zip(quantiles, _SHARES, strict=True)]))


def _solve(misfit: Callable[[float], float], low: float, high: float) -> float:
    """Find where a falling function crosses 1, or the end that is nearer to it."""
    if misfit(low) <= 1:
        return low
    for _ in range(_CALIBRATION_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if misfit(middle) > 1 else (low, middle)
    return high


_REJECT = 4e-6  # chance of a sound point to lose weight: 5 sigma for two components
_ZERO_WEIGHT = 1.6  # no weight from this multiple of that on
_NORMAL_MEDIAN = 0.4549364231195724  # of a squared standard normal number
_STEPS = 40


def inverse_matrices(matrices: Floats) -> Floats:
    """Invert small symmetric matrices."""
    if matrices.shape[-1] != 2:
        return np.asarray(np.linalg.inv(matrices))
    a, b, d = matrices[..., 0, 0], (matrices[..., 0, 1] + matrices[..., 1, 0]) / 2, matrices[..., 1, 1]
    det = a * d - b * b
    return np.asarray(symmetric(d, -b, a) / det[..., None, None])


def squared_distance(residual: Floats, covs: Floats) -> Floats:
    """Squared residuals in units of their covariances.

    off (n, k) float64; covs (n, k, k) float64 -> (n,) float64.
    """
    return np.asarray(np.einsum("ni,nij,nj->n", residual, inverse_matrices(covs), residual))


def rejection_limit(k: int) -> float:
    """Squared normalised residual from which on a point has no weight."""
    return float(chdtri(k, _REJECT))


def robust_weights(squared: Floats, k: int) -> Floats:
    """Weigh points by their residuals: 1 as far as chance goes, 0 far beyond, falling smoothly between.

    Softer weights (Tukey's) make a spline give in wherever it bends most: what it misses there looks like an error.

    squared (n,) float64 -> (n,) float64.
    """
    beyond = (np.sqrt(squared / rejection_limit(k)) - 1) / (_ZERO_WEIGHT - 1)
    return biweight(np.maximum(beyond, 0))


def first_scatter(residual: Floats, covs: Floats) -> Floats:
    """Rough scatter that half of the points may spoil: medians per component.

    off (n, k) float64; covs (n, k, k) float64 -> (k, k) float64.
    """
    own = np.median(np.diagonal(covs, axis1=1, axis2=2), axis=0)
    return np.diag(np.maximum(np.median(residual**2, axis=0) / _NORMAL_MEDIAN - own, 0))


def excess_scatter(residual: Floats, covs: Floats, left: Floats, weights: Floats) -> Floats:
    """Scatter that residuals show beyond their covariances.

    Random effects by Paule & Mandel (1982, doi:10.6028/jres.087.022) along the principal axes of the excess (parallax
    scatters along one direction), with robust weights.

    off (n, k) float64; covs (n, k, k) float64; left (n,) float64; weights (n,) float64 -> (k, k) float64.
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
    """How much wider 95 % ellipses are when their covariance comes from few residuals (Hotelling's T²)."""
    freedom = max(freedom, k + 0.5)
    quantile = k * freedom / (freedom - k + 1) * fdtri(k, freedom - k + 1, 0.95)
    return min(float(quantile / chdtri(k, 0.05)), 10.0)


def leave_one_out(residual: Floats, spread: Floats, precision: Floats) -> tuple[Floats, Floats]:
    """Residuals of points from the fit without them, in closed form for a linear fit.

    off (n, k) float64; spread (n, k, k) float64; precision (n, k, k) float64 -> off (n, k) float64; spread (n, k, k)
    float64.
    """
    keep = np.linalg.inv(np.eye(residual.shape[1]) - spread @ precision)
    out = keep @ spread
    return np.asarray((keep @ residual[:, :, None])[:, :, 0]), np.asarray((out + out.transpose(0, 2, 1)) / 2)
