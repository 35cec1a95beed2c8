"""Making the stated uncertainty agree with what withheld points show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import chdtri

from xcoreg.core.models.scatter import normalised, student

if TYPE_CHECKING:
    from collections.abc import Callable

    from xcoreg.core.models.base import Floats

__all__ = ["Stated", "calibrate"]

_SHARES = (0.9, 0.95)  # of the points that should be inside of their ellipses
_WRONG = 0.02  # of them may be missing because wrong points are outside: ellipses are not blown up for those
_FEW = 30  # points that tell as much about the shares as the theory does
_NARROWEST = 0.1  # factor of variance
_WIDEST = 100.0
_STEPS = 24


@dataclass(frozen=True)
class Stated:
    """What a fit states of the residual of a withheld point.

    Parameters
    ----------
    spread : (n, k, k) float64
        Covariance of the prediction.
    covs : (n, k, k) float64
        Covariance of the point.
    scatter : (k, k) float64
        Covariance of what points show beyond both.
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


def calibrate(off: Floats, stated: Stated, weights: Floats, parameters: float) -> tuple[float, Floats]:
    """Widen or narrow what a fit states until withheld points lie inside of their ellipses as often as they should.

    Parameters
    ----------
    off : (n, k) float64
        Residuals of withheld points.
    stated : Stated
    weights : (n,) float64
        Robust weights: 0 for points taken for wrong.
    parameters : float
        Of the fit, per component: where there are few points more, ellipses get wider as Hotelling's do.

    Returns
    -------
    factor : float
        Of the covariance of the model.
    scatter : (k, k) float64
        Wider by the same share, and by that share of the points' own covariance where that is too small. The points'
        covariances themselves are not touched: where they are too large, they stay so.

    Examples
    --------
    >>> off = np.random.default_rng(0).normal(0, 2, (2000, 2))
    >>> stated = Stated(np.zeros((2000, 2, 2)), np.tile(np.eye(2), (2000, 1, 1)), np.zeros((2, 2)))
    >>> factor, scatter = calibrate(off, stated, np.ones(2000), 1)
    >>> scatter.diagonal().round().tolist()
    [3.0, 3.0]
    """
    told = len(off) / (len(off) + _FEW)
    few = student(float(weights.sum()) - parameters, off.shape[1])
    if _misfit(off, stated.wider(0.0), weights) >= 1:
        t = (1 + _solve(lambda t: _misfit(off, stated.wider(t), weights), 0.0, _WIDEST)) ** told - 1
        own = np.median(stated.covs, axis=0)
        return few * (1 + t), np.asarray(few * ((1 + t) * stated.scatter + t * own))
    # Where the points' own covariances are most of what is stated they are to blame, and they are not touched.
    least = 1 - stated.share * (1 - _NARROWEST)
    t = _solve(lambda t: _misfit(off, stated.narrower(t), weights), least, 1.0) ** told
    return few * t, few * t * stated.scatter


def _misfit(off: Floats, covs: Floats, weights: Floats) -> float:
    """Size of the withheld residuals relative to what is stated: a mean of two quantiles of the sound points."""
    k, sound = off.shape[1], weights > 0
    part = float(sound.mean())
    shares = [min(max(share, (share - _WRONG) / part), 0.99) for share in _SHARES]
    found = np.quantile(normalised(off[sound], covs[sound]), shares)
    return float(np.mean([q / chdtri(k, 1 - share) for q, share in zip(found, _SHARES, strict=True)]))


def _solve(misfit: Callable[[float], float], low: float, high: float) -> float:
    """Find where a falling function crosses 1, or the end that is nearer to it."""
    if misfit(low) <= 1:
        return low
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if misfit(middle) > 1 else (low, middle)
    return high
