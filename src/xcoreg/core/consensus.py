"""Agreement of several windows: which of them tell the same shift, and what they say together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import chdtri

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating]
    Bools = NDArray[np.bool_]

__all__ = ["agreeing", "combine"]

# Windows are taken to differ for real when chance alone would spread them so in 1 of 100 cases.
_CHANCE = 0.01
_ROUNDS = 200


def agreeing(moves: Floats, weights: Floats, radius: float) -> Bools:
    """Find the largest group of shifts that lie within a radius of one of them.

    Parameters
    ----------
    moves : (n, 2) float
        Shifts, any unit; rows that are not finite agree with nothing.
    weights : (n,) float
        What each window counts, >= 0.
    radius : float
        Same unit as `moves`.

    Returns
    -------
    (n,) bool
        The members. Of equal groups the tighter one.

    Examples
    --------
    >>> agreeing(np.array([[0, 0], [0.1, 0], [5, 5], [0, 0.2]]), np.ones(4), 0.5).tolist()
    [True, True, False, True]
    """
    finite = np.asarray(np.isfinite(moves).all(1))
    if not finite.any():
        return finite
    places = np.where(finite[:, None], moves, np.nan)
    apart = np.hypot(*(places[:, None, :] - places[None, :, :]).transpose(2, 0, 1))
    near = apart <= radius
    votes = (near * weights).sum(1)
    tightness = np.where(near, np.nan_to_num(apart), 0).sum(1) / np.maximum(near.sum(1), 1)
    best = int(np.lexsort((tightness, -np.where(finite, votes, -1)))[0])
    centre = np.median(moves[near[best]], axis=0)
    return np.asarray(finite & (np.hypot(*(places - centre).T) <= radius))


def combine(moves: Floats, covs: Floats) -> tuple[Floats, Floats]:
    """Mean of shifts that may differ by more than their own uncertainty.

    Random effects: a common between-window variance is added to every covariance when the windows contradict each other
    beyond the 1 % level, chosen so that they no longer do (Paule & Mandel 1982, doi:10.6028/jres.087.022).

    Parameters
    ----------
    moves : (n, 2) float
        Finite shifts.
    covs : (n, 2, 2) float
        Their covariances; what is not positive definite counts like the median of the others.

    Returns
    -------
    mean : (2,) float64
    cov : (2, 2) float64
        Of the mean; NaN when no covariance is known and there is a single window.

    Examples
    --------
    >>> mean, cov = combine(np.array([[1.0, 2.0], [1.1, 2.1]]), np.array([np.eye(2) * 0.01, np.eye(2) * 0.01]))
    >>> mean.round(6).tolist(), cov.round(6).tolist()
    ([1.05, 2.05], [[0.005, 0.0], [0.0, 0.005]])
    """
    moves, covs = np.asarray(moves, np.float64), _repaired(np.asarray(covs, np.float64), np.asarray(moves, np.float64))
    mean, cov = _weighted(moves, covs)
    n = len(moves)
    if n == 1 and not np.isfinite(cov).all():
        return moves[0], cov
    if n < 2 or not np.isfinite(cov).all():
        return mean, cov
    excess = _chi_square(moves, mean, covs)
    degrees = 2 * (n - 1)
    if excess <= chdtri(degrees, _CHANCE):
        return mean, cov
    between = _between(moves, covs)
    return _weighted(moves, covs + between * np.eye(2))


def _between(moves: Floats, covs: Floats) -> float:
    """Between-window variance at which the windows contradict each other as much as they should."""
    degrees = 2 * (len(moves) - 1)
    low, high = 0.0, float(np.var(moves, axis=0).sum()) * 4 + 1e-30
    for _ in range(_ROUNDS):
        middle = (low + high) / 2
        wider = covs + middle * np.eye(2)
        if _chi_square(moves, _weighted(moves, wider)[0], wider) > degrees:
            low = middle
        else:
            high = middle
        if high - low < 1e-6 * high:
            break
    return high


def _weighted(moves: Floats, covs: Floats) -> tuple[Floats, Floats]:
    weights = np.linalg.inv(covs)
    cov = np.linalg.inv(weights.sum(0))
    return np.asarray(cov @ np.einsum("nij,nj->i", weights, moves)), np.asarray(cov)


def _chi_square(moves: Floats, mean: Floats, covs: Floats) -> float:
    off = moves - mean
    return float(np.einsum("ni,nij,nj->", off, np.linalg.inv(covs), off))


def _repaired(covs: Floats, moves: Floats) -> Floats:
    """Give windows without a covariance that of the others, or the scatter when none has one."""
    finite = np.asarray(np.isfinite(covs).all((1, 2)))
    good = finite & (np.linalg.eigvalsh(np.where(finite[:, None, None], covs, np.eye(2)))[:, 0] > 0)
    if good.all():
        return covs
    typical = np.median(covs[good], axis=0) if good.any() else _scatter(moves)
    return np.where(good[:, None, None], covs, typical)


def _scatter(moves: Floats) -> Floats:
    """Covariance of one shift from how several lie; two of them tell no direction, one tells nothing."""
    n = len(moves)
    if n < 2:
        return np.full((2, 2), np.nan)
    isotropic = np.eye(2) * max(float(np.var(moves, axis=0, ddof=1).mean()), 1e-12)
    return np.asarray(np.cov(moves, rowvar=False) + 1e-12 * np.eye(2) if n > 2 else isotropic)
