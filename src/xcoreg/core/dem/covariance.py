"""Covariance of the parameters between two elevation models, with spatially correlated noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xcoreg.core import Floats, Ints
from xcoreg.core.dem.correlated import mean_variance
from xcoreg.core.dem.equations import Equations, spread_of
from xcoreg.core.dem.observations import Observation, Samples

Field = tuple[tuple[int, int], Ints, Floats]

_FARTHEST, _NONE = 4, 0.05  # longest lag as a part of a window's side; correlation that counts as none
_CELLS = 128  # cells along the longer side
# Largest squares as a share of all cells, and how much larger a variance must be to count, in its standard errors.
_LARGEST_SHARE, _SCATTER, _FEWER = 0.25, 0.6, 1.4
_ENOUGH = 12  # number of windows that the correlation length is estimated from


def correlation_length(fields: Sequence[Field]) -> float:
    """Correlation length of residuals: integral of their autocorrelation from zero on, px."""
    return float(sum(autocorrelation(fields)))


def autocorrelation(fields: Sequence[Field]) -> tuple[float, ...]:
    """Autocorrelation of residuals at 1, 2, 3 ... px along rows and columns, until there is none."""
    chosen = fields[:: max(1, len(fields) // _ENOUGH)]
    found: list[float] = []
    lags = max((_span(shape) // _FARTHEST for shape, _, _ in chosen), default=0)
    grids = [_grid(*field) for field in chosen]
    power = _mean_product(grids, 0)
    for lag in range(1, lags + 1 if power > 0 else 1):
        part = _mean_product(grids, lag) / power
        if not part > _NONE:
            break
        found.append(part)
    return tuple(found)


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


@dataclass(frozen=True, eq=False)
class Cells:
    """Square cells over all samples, in the lattice that they share.

    side : Of a cell, px; shape : rows and columns of cells; index : flat index of the cell of each sample, by window.
    """

    side: int
    shape: tuple[int, int]
    index: list[Ints]

    @classmethod
    def over(cls, samples: Sequence[Samples], observations: Sequence[Observation]) -> Cells:
        """Cover the samples by cells."""
        return cls.over_positions([one.positions(obs.at) for one, obs in zip(samples, observations, strict=True)])

    @classmethod
    def over_positions(cls, places: Sequence[tuple[Floats, Floats]]) -> Cells:
        """Cover positions (cols, rows) by so many cells that a correlation over a few of them can be seen."""
        known = [place for place in places if len(place[0])]
        low = [min(float(place[axis].min()) for place in known) for axis in range(2)]
        spans = [max(float(place[axis].max()) for place in known) - low[axis] for axis in range(2)]
        side = max(int(np.ceil(max(spans) / _CELLS)), 2 if max(spans) > _CELLS / 2 else 1)
        cols, rows = (int(span // side) + 1 for span in spans)
        index = [
            ((row - low[1]) // side).astype(np.intp) * cols + ((col - low[0]) // side).astype(np.intp)
            for col, row in places
        ]
        return cls(side, (rows, cols), index)

    def sums(self, values: Sequence[Floats]) -> Floats:
        """Sum values of samples, one array per window, over the cells: -> (rows, cols) float64."""
        every, total = zip(self.index, values, strict=True), np.zeros(self.shape[0] * self.shape[1])
        for index, part in every:
            total += np.bincount(index, part, len(total))
        return total.reshape(self.shape)


def correlated_covariance(sums: Floats, smallest: int = 1) -> Floats:
    """Covariance (m, m) of totals of cell sums (m, rows, cols) whose noise may be correlated over any distance.

    Sums over squares of growing size (Bartlett's kernel): the variance grows with them until they are wider than the
    noise is correlated. Few squares scatter, so that a larger size counts only where it exceeds the scatter.
    smallest : Size that is taken first; below it, noise is known to cancel.
    """
    m, rows, cols = sums.shape
    best, shape, integral = np.zeros(m), np.zeros((m, m)), _integral(sums)
    occupied = max(int(np.count_nonzero(np.any(sums != 0, axis=0))), 1)
    widest = int(np.sqrt(_LARGEST_SHARE * float(occupied)) / 2)
    size = smallest = max(min(smallest, widest), 1)
    while True:
        across = min(size, cols), min(size, rows)
        boxes = _box_sums(integral, across)
        area = across[0] * across[1]
        share = area / occupied
        if size > smallest and share > _LARGEST_SHARE:
            break
        flat = boxes.reshape(m, -1)
        cov = flat @ flat.T / area / max(1 - share, 0.5) / (1 - _FEWER * min(share, 0.5))
        sure = np.diag(cov) / (1 + _SCATTER * np.sqrt(share))
        shape = np.where((sure > best)[:, None] | (sure > best)[None, :] | (size == smallest), cov, shape)
        best = np.maximum(best, np.diag(cov) / (1 + _SCATTER * np.sqrt(share)))
        size = size + 1 if size < 4 else int(1.5 * size)
    own = np.sqrt(np.maximum(np.diag(shape), 1e-300))
    scale = np.sqrt(best)
    return np.asarray(np.clip(shape / own[:, None] / own[None, :], -0.9999, 0.9999) * scale[:, None] * scale[None, :])


def _integral(sums: Floats) -> Floats:
    """Sum all cells above and to the left, (m, rows + 1, cols + 1)."""
    return np.asarray(np.pad(sums, [(0, 0), (1, 0), (1, 0)]).cumsum(1).cumsum(2))


def _box_sums(integral: Floats, size: tuple[int, int]) -> Floats:
    """Sum over all boxes (cols, rows) that touch the cells."""
    cols, rows = size
    wide = np.pad(integral, [(0, 0), (rows - 1, rows - 1), (cols - 1, cols - 1)], mode="edge")
    down = wide[:, rows:] - wide[:, :-rows]
    return np.asarray(down[:, :, cols:] - down[:, :, :-cols])


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
    samples: Sequence[Samples], observations: Sequence[Observation], equations: Equations, *, shift: bool
) -> Floats:
    """Covariance of all parameters, with noise that is correlated over any distance: -> (2 + m, 2 + m) float64."""
    first = 0 if shift else 2
    cov = np.zeros_like(equations.normal)
    cov[:first, :first] = np.diag(np.full(first, np.nan))
    try:
        bread = np.linalg.inv(equations.normal[first:, first:]) / mean_score_slope(equations.weights)
    except np.linalg.LinAlgError:
        cov[:] = np.inf
        return cov
    cells = Cells.over(samples, observations)
    scores = [weight * part for weight, part in zip(equations.weights, equations.residuals, strict=True)]
    size = len(equations.normal)
    sums = np.stack(
        [
            cells.sums([columns[k] * one for columns, one in zip(equations.columns, scores, strict=True)])
            for k in range(first, size)
        ]
    )
    cov[first:, first:] = correlated_covariance(np.tensordot(bread, sums, 1))
    count = sum(len(part) for part in equations.residuals)
    if count < _FEW:
        plain = np.diag(bread) * spread_of(equations.residuals).nmad ** 2 * count / max(count - len(bread), 1)
        cov[first:, first:] = _at_least(cov[first:, first:], plain)
    return cov


def with_long_range(
    cov: Floats, samples: Sequence[Samples], observations: Sequence[Observation], equations: Equations
) -> Floats:
    """Covariance whose variance of the offset is at least that of a mean with noise of the longest ranges."""
    if not np.isfinite(cov[2, 2]) or sum(map(len, equations.weights)) < _FEW:
        return cov
    cells = Cells.over(samples, observations)
    scores = [w * part for w, part in zip(equations.weights, equations.residuals, strict=True)]
    return at_long_range(cov, cells.sums(scores), cells.sums(equations.weights))


def at_long_range(cov: Floats, scores: Floats, weights: Floats, at: int = 2) -> Floats:
    """Covariance whose variance of the offset is at least that of the mean of weighted residuals summed over cells."""
    least = mean_variance(scores, weights)
    if not least > cov[at, at]:
        return cov
    scale = np.ones(len(cov))
    scale[at] = np.sqrt(least / cov[at, at])
    known = np.where(np.isfinite(cov), cov, 0.0)
    return np.where(np.isfinite(cov), known * scale[:, None] * scale[None, :], cov)


def _at_least(cov: Floats, least: Floats) -> Floats:
    """Scale a covariance so that variances are not below those of white noise."""
    own = np.diag(cov)
    scale = np.sqrt(np.maximum(least / np.where(own > 0, own, np.inf), 1))
    return np.asarray(cov * scale[:, None] * scale[None, :])


def mean_score_slope(weights: Sequence[Floats]) -> float:
    """Mean derivative of Tukey's score over the mean weight: 1 without outliers."""
    total = sum(float(part.sum(dtype=np.float64)) for part in weights)
    # The derivative is (1 - t^2)(1 - 5 t^2) where the weight is (1 - t^2)^2.
    slope = sum(float((5 * part - 4 * np.sqrt(part)).sum(dtype=np.float64)) for part in weights)
    return max(slope / total, 0.2) if total > 0 else 1.0


def classic_covariance(samples: Sequence[Samples], observations: Sequence[Observation], equations: Equations) -> Floats:
    """Covariance (2, 2) of the classic shift, in which flat terrain weighs as much as steep terrain."""
    steep = [columns[0] ** 2 + columns[1] ** 2 for columns in equations.columns]
    least = _FLATTEST**2 * float(np.mean([part.mean() for part in steep if len(part)]))
    own = [weight / np.maximum(square, least) for weight, square in zip(equations.weights, steep, strict=True)]
    pairs = [columns[:2] for columns in equations.columns]
    normal = np.array(
        [
            [sum(np.sum(w * p[i] * p[j], dtype=np.float64) for w, p in zip(own, pairs, strict=True)) for j in range(2)]
            for i in range(2)
        ]
    )
    cells = Cells.over(samples, observations)
    scores = [w * part for w, part in zip(own, equations.residuals, strict=True)]
    sums = np.stack([cells.sums([p[k] * one for p, one in zip(pairs, scores, strict=True)]) for k in range(2)])
    return correlated_covariance(np.tensordot(np.linalg.inv(normal), sums, 1)) * _MEDIAN


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
