"""Covariance of the parameters between two elevation models, with spatially correlated noise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from xcoreg.core import Floats, Ints
from xcoreg.core.dem.equations import Equations, spread_of
from xcoreg.core.dem.observations import Observation, Samples

Field = tuple[tuple[int, int], Ints, Floats]

_FARTHEST, _NONE = 4, 0.05  # longest lag as a part of a window's side; correlation that counts as none
# Side of cells in correlation lengths, smallest side in px, and smallest number along the side of a window.
_LENGTHS, _LEAST_CELL, _FEWEST_CELLS = 3.0, 4, 4
_LAG = 0.64  # mean lag of a Gaussian autocorrelation over its length
_ENOUGH = 12  # number of windows that the correlation length is estimated from


def correlation_length(fields: Sequence[Field]) -> float:
    """Correlation length of residuals: integral of their autocorrelation from zero on, px."""
    chosen = fields[:: max(1, len(fields) // _ENOUGH)]
    sums: dict[int, float] = {}
    lags = max((_span(shape) // _FARTHEST for shape, _, _ in chosen), default=0)
    grids = [_grid(*field) for field in chosen]
    power = _mean_product(grids, 0)
    if not power > 0:
        return 0.0
    for lag in range(1, lags + 1):
        sums[lag] = _mean_product(grids, lag) / power
        if not sums[lag] > _NONE:
            break
    return float(sum(part for part in sums.values() if part > _NONE))


def _span(shape: tuple[int, int]) -> int:
    """Shorter side of a window, or length of a line of samples."""
    return max(shape) if min(shape) == 1 else min(shape)


def _grid(shape: tuple[int, int], at: Ints, residual: Floats) -> tuple[Floats, Floats]:
    values, known = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    values.ravel()[at], known.ravel()[at] = residual, 1
    return values, known


def _mean_product(grids: list[tuple[Floats, Floats]], lag: int) -> float:
    total = count = 0.0
    for values, known in grids:
        for part, mask in ((values, known), (values.T, known.T)):
            keep = max(len(part) - lag, 0)
            total += float(np.einsum("ij,ij->i", part[:keep], part[lag:]).sum(dtype=np.float64))
            count += float(np.einsum("ij,ij->i", mask[:keep], mask[lag:]).sum(dtype=np.float64))
    return total / count if count else np.nan


def sandwich(shape: tuple[int, int], at: Ints, scores: Floats, length: float) -> Floats:
    """Covariance (m, m) of sums of scores (m, n) over a window with correlated noise, from sums over blocks."""
    side = int(min(max(np.ceil(_LENGTHS * length), _LEAST_CELL), max(_span(shape) // _FEWEST_CELLS, 1)))
    rows, cols = -(-shape[0] // side), -(-shape[1] // side)
    cell = (at // shape[1] // side) * cols + (at % shape[1]) // side
    sums = np.stack([np.bincount(cell, score, rows * cols) for score in scores]).reshape(len(scores), rows, cols)
    padded = np.pad(sums, ((0, 0), (1, 1), (1, 1)))
    blocks = padded[:, 1:, 1:] + padded[:, 1:, :-1] + padded[:, :-1, 1:] + padded[:, :-1, :-1]
    flat = blocks.reshape(len(scores), -1)
    # Corrections for correlation across block borders, and for the degrees of freedom of the fit.
    in_blocks = (1 - _LAG * length / (2 * side)) ** 2
    free = max(1 - len(scores) * (4 / 3 * side) ** (1 if min(shape) == 1 else 2) / max(len(at), 1), 0.5)
    return np.asarray(np.einsum("in,jn->ij", flat, flat) / (4 * in_blocks * free))


_MEDIAN = np.pi / 2  # variance of a median over that of a mean, for normal errors
_FEW = 1000  # number of samples below which variances are at least those of white noise
_FLATTEST = 0.1  # smallest slope over the mean slope that limits weights in the classic solution


def residual_correlation_length(
    samples: Sequence[Samples], observations: Sequence[Observation], equations: Equations
) -> float:
    """Correlation length of the weighted residuals, px."""
    residuals = [w * part for w, part in zip(equations.weights, equations.residuals, strict=True)]
    parts = zip(samples, observations, residuals, strict=True)
    return correlation_length([(one.shape, obs.at, part) for one, obs, part in parts])


def covariance(
    samples: Sequence[Samples], observations: Sequence[Observation], equations: Equations, length: float, *, shift: bool
) -> Floats:
    """Sandwich covariance of all parameters, with spatially correlated noise: -> (2 + m, 2 + m) float64."""
    first, inner = 0 if shift else 2, np.zeros_like(equations.normal)
    for one, obs, residuals, weight, columns in zip(
        samples, observations, equations.residuals, equations.weights, equations.columns, strict=True
    ):
        weighted = weight * residuals
        inner += sandwich(one.shape, obs.at, np.stack([column * weighted for column in columns]), length)
    cov = np.zeros_like(equations.normal)
    cov[:first, :first] = np.diag(np.full(first, np.nan))
    try:
        bread = np.linalg.inv(equations.normal[first:, first:]) / _mean_score_slope(equations.weights)
    except np.linalg.LinAlgError:
        cov[:] = np.inf
        return cov
    cov[first:, first:] = bread @ inner[first:, first:] @ bread.T
    count = sum(len(part) for part in equations.residuals)
    if count < _FEW:
        plain = np.diag(bread) * spread_of(equations.residuals).nmad ** 2 * count / max(count - len(bread), 1)
        cov[first:, first:] = _at_least(cov[first:, first:], plain)
    return cov


def _at_least(cov: Floats, least: Floats) -> Floats:
    """Scale a covariance so that variances are not below those of white noise."""
    own = np.diag(cov)
    scale = np.sqrt(np.maximum(least / np.where(own > 0, own, np.inf), 1))
    return np.asarray(cov * scale[:, None] * scale[None, :])


def _mean_score_slope(weights: Sequence[Floats]) -> float:
    """Mean derivative of Tukey's score over the mean weight: 1 without outliers."""
    total = sum(float(part.sum(dtype=np.float64)) for part in weights)
    # The derivative is (1 - t^2)(1 - 5 t^2) where the weight is (1 - t^2)^2.
    slope = sum(float((5 * part - 4 * np.sqrt(part)).sum(dtype=np.float64)) for part in weights)
    return max(slope / total, 0.2) if total > 0 else 1.0


def classic_covariance(
    samples: Sequence[Samples], observations: Sequence[Observation], equations: Equations, length: float
) -> Floats:
    """Covariance (2, 2) of the classic shift, in which flat terrain weighs as much as steep terrain."""
    inner, normal = np.zeros((2, 2)), np.zeros((2, 2))
    steep = [columns[0] ** 2 + columns[1] ** 2 for columns in equations.columns]
    least = _FLATTEST**2 * float(np.mean([part.mean() for part in steep if len(part)]))
    for one, obs, residuals, weight, columns, square in zip(
        samples, observations, equations.residuals, equations.weights, equations.columns, steep, strict=True
    ):
        own = weight / np.maximum(square, least)
        pair = np.stack(columns[:2])
        inner += sandwich(one.shape, obs.at, pair * (own * residuals), length)
        normal += np.array([[np.sum(own * a * b, dtype=np.float64) for a in pair] for b in pair])
    bread = np.linalg.inv(normal)
    return np.asarray(bread @ inner @ bread.T * _MEDIAN)


def cov3_to_map(linear: tuple[float, float, float, float], cov: Floats) -> NDArray[np.float64]:
    """Convert the covariance of (dcol, drow, dz) to that of (dx, dy, dz): cov (n, 3, 3) float -> (n, 3, 3) float64."""
    a, b, d, e = linear
    iteration = np.array([[a, b, 0.0], [d, e, 0.0], [0.0, 0.0, 1.0]])
    own = np.diagonal(cov, axis1=1, axis2=2)
    unknown = ~np.isfinite(own)
    known = np.where(unknown[:, :, None] | unknown[:, None, :], 0.0, cov)
    out = iteration @ known @ iteration.T
    unknown = (unknown[:, None, :] & (iteration != 0)[None]).any(2)
    out[unknown[:, :, None] | unknown[:, None, :]] = 0.0
    rows, axes = np.nonzero(unknown)
    out[rows, axes, axes] = np.where(np.isnan(own[rows]).any(1), np.nan, np.inf)
    return np.asarray(out)
