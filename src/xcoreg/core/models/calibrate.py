"""Making the stated uncertainty agree with what withheld points show."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import chdtri

from xcoreg.core.models.scatter import normalised, student

if TYPE_CHECKING:
    from collections.abc import Callable

    from xcoreg.core.models.base import Floats

__all__ = ["calibrate"]

_SHARES = (0.9, 0.95)  # of the points that should be inside of their ellipses
_FEW = 30  # points that tell as much about the shares as the theory does
_NARROWEST = 0.1  # factor of variance
_WIDEST = 100.0
_STEPS = 24


def calibrate(off: Floats, spread: Floats, covs: Floats, scatter: Floats, freedom: float) -> tuple[float, Floats]:
    """Widen or narrow what a fit states until withheld points lie inside of their ellipses as often as they should.

    Parameters
    ----------
    off : (n, k) float64
        Residuals of withheld points.
    spread : (n, k, k) float64
        Stated covariance of their predictions.
    covs : (n, k, k) float64
        Covariances of the points, which are not touched.
    scatter : (k, k) float64
        Stated scatter.
    freedom : float
        Points beyond the parameters: where there are few, ellipses get wider as Hotelling's do.

    Returns
    -------
    factor : float
        Of the covariance of the model.
    scatter : (k, k) float64
        Wider by the same share, and by that share of the points' own covariance where that is too small.

    Examples
    --------
    >>> off = np.random.default_rng(0).normal(0, 2, (2000, 2))
    >>> none, own = np.zeros((2000, 2, 2)), np.tile(np.eye(2), (2000, 1, 1))
    >>> factor, scatter = calibrate(off, none, own, none[0], 2000)
    >>> scatter.diagonal().round().tolist()
    [3.0, 3.0]
    """
    own = np.median(covs, axis=0)
    told = len(off) / (len(off) + _FEW)  # how much withheld residuals tell: a few of them little
    few = student(freedom, off.shape[1])

    def wider(t: float) -> Floats:
        return (1 + t) * spread + covs + (1 + t) * scatter + t * own

    def narrower(t: float) -> Floats:
        return t * (spread + scatter) + covs

    if _misfit(off, wider(0.0)) >= 1:
        t = (1 + _solve(lambda t: _misfit(off, wider(t)), 0.0, _WIDEST)) ** told - 1
        return few * (1 + t), np.asarray(few * ((1 + t) * scatter + t * own))
    # Where the points' own covariances are most of what is stated they are to blame, and they are not touched.
    stated = np.trace(spread + scatter, axis1=1, axis2=2)
    share = float(np.median(stated / (stated + np.trace(covs, axis1=1, axis2=2))))
    t = _solve(lambda t: _misfit(off, narrower(t)), 1 - share * (1 - _NARROWEST), 1.0) ** told
    return few * t, few * t * scatter


def _misfit(off: Floats, covs: Floats) -> float:
    """Size of the withheld residuals relative to what is stated."""
    k = off.shape[1]
    found = np.quantile(normalised(off, covs), _SHARES)
    return float(np.mean([q / chdtri(k, 1 - share) for q, share in zip(found, _SHARES, strict=True)]))


def _solve(misfit: Callable[[float], float], low: float, high: float) -> float:
    """Find where a falling function crosses 1, or the end that is nearer to it."""
    if misfit(low) <= 1:
        return low
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if misfit(middle) > 1 else (low, middle)
    return high
