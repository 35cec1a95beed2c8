"""Covariance of what was found between two elevation models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from xcoreg.core.dem.noise import correlation_length, sandwich
from xcoreg.core.dem.normal import spread_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xcoreg.core.dem.normal import Equations
    from xcoreg.core.dem.patches import Observed, Samples

    Floats = NDArray[np.floating]

__all__ = ["classic_covariance", "cov3_to_map", "covariance", "length_of"]

# A median is less efficient than a mean by this.
_MEDIAN = np.pi / 2
# Samples below which a covariance is not left to their residuals alone.
_FEW = 1000
# What is flatter, rise per px over the mean, counts no more in the classic solution.
_FLATTEST = 0.1


def length_of(samples: Sequence[Samples], seen: Sequence[Observed], equations: Equations) -> float:
    """Correlation length of what is left, blunders held down by their weights, px."""
    left = [w * part for w, part in zip(equations.weights, equations.left, strict=True)]
    return correlation_length([(one.shape, obs.at, part) for one, obs, part in zip(samples, seen, left, strict=True)])


def covariance(
    samples: Sequence[Samples], seen: Sequence[Observed], equations: Equations, length: float, *, shift: bool
) -> Floats:
    """Covariance of all unknowns, noise that neighbours share included.

    Parameters
    ----------
    samples, seen : sequence
        Of the last sampling.
    equations : Equations
    length : float
        Correlation length of what is left, px.
    shift : bool
        Whether a shift was asked for; its variances are NaN otherwise, not 0.

    Returns
    -------
    (2 + m, 2 + m) float64
        Infinite when the equations cannot be solved. Weights fall with the residuals, so a step has less hold on the
        sum of scores than the normal matrix says (Huber 1981, 7.6): that is taken into account.
    """
    first, inner = 0 if shift else 2, np.zeros_like(equations.normal)
    for one, obs, left, weight, columns in zip(
        samples, seen, equations.left, equations.weights, equations.columns, strict=True
    ):
        heavy = weight * left
        inner += sandwich(one.shape, obs.at, np.stack([column * heavy for column in columns]), length)
    cov = np.zeros_like(equations.normal)
    cov[:first, :first] = np.diag(np.full(first, np.nan))
    try:
        bread = np.linalg.inv(equations.normal[first:, first:]) / _hold(equations.weights)
    except np.linalg.LinAlgError:
        cov[:] = np.inf
        return cov
    cov[first:, first:] = bread @ inner[first:, first:] @ bread.T
    count = sum(len(part) for part in equations.left)
    if count < _FEW:
        plain = np.diag(bread) * spread_of(equations.left).nmad ** 2 * count / max(count - len(bread), 1)
        cov[first:, first:] = _widened(cov[first:, first:], plain)
    return cov


def _widened(cov: Floats, least: Floats) -> Floats:
    """Hold variances of few samples, which may be small by chance, to what white noise would give."""
    own = np.diag(cov)
    scale = np.sqrt(np.maximum(least / np.where(own > 0, own, np.inf), 1))
    return np.asarray(cov * scale[:, None] * scale[None, :])


def _hold(weights: Sequence[Floats]) -> float:
    """Mean slope of Tukey's score over the mean weight: 1 without outliers and tails."""
    total = sum(float(part.sum(dtype=np.float64)) for part in weights)
    # (1 - t^2)(1 - 5 t^2) where the weight is (1 - t^2)^2.
    slope = sum(float((5 * part - 4 * np.sqrt(part)).sum(dtype=np.float64)) for part in weights)
    return max(slope / total, 0.2) if total > 0 else 1.0


def classic_covariance(
    samples: Sequence[Samples], seen: Sequence[Observed], equations: Equations, length: float
) -> Floats:
    """Covariance (2, 2) of a shift by medians of dh over slope: flat ground counts as much as steep ground there."""
    inner, normal = np.zeros((2, 2)), np.zeros((2, 2))
    steep = [columns[0] ** 2 + columns[1] ** 2 for columns in equations.columns]
    least = _FLATTEST**2 * float(np.mean([part.mean() for part in steep if len(part)]))
    for one, obs, left, weight, columns, square in zip(
        samples, seen, equations.left, equations.weights, equations.columns, steep, strict=True
    ):
        own = weight / np.maximum(square, least)
        pair = np.stack(columns[:2])
        inner += sandwich(one.shape, obs.at, pair * (own * left), length)
        normal += np.array([[np.sum(own * a * b, dtype=np.float64) for a in pair] for b in pair])
    bread = np.linalg.inv(normal)
    return np.asarray(bread @ inner @ bread.T * _MEDIAN)


def cov3_to_map(linear: tuple[float, float, float, float], cov: Floats) -> NDArray[np.float64]:
    """Turn the covariance of (dcol, drow, dz) into that of (dx, dy, dz).

    Parameters
    ----------
    linear : (a, b, d, e)
        CRS units per px.
    cov : (n, 3, 3) float
        Axes of which nothing is known have an infinite variance, those that nobody asked for NaN.

    Returns
    -------
    (n, 3, 3) float64
        The same of the map axes that such a pixel axis has a part in.

    Examples
    --------
    >>> cov3_to_map((20.0, 0.0, 0.0, -20.0), np.diag([np.inf, 1.0, 4.0])[None])[0].diagonal().tolist()
    [inf, 400.0, 4.0]
    """
    a, b, d, e = linear
    turn = np.array([[a, b, 0.0], [d, e, 0.0], [0.0, 0.0, 1.0]])
    own = np.diagonal(cov, axis1=1, axis2=2)
    lost = ~np.isfinite(own)
    known = np.where(lost[:, :, None] | lost[:, None, :], 0.0, cov)
    out = turn @ known @ turn.T
    unknown = (lost[:, None, :] & (turn != 0)[None]).any(2)
    out[unknown[:, :, None] | unknown[:, None, :]] = 0.0
    rows, axes = np.nonzero(unknown)
    out[rows, axes, axes] = np.where(np.isnan(own[rows]).any(1), np.nan, np.inf)
    return np.asarray(out)
