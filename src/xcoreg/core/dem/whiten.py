"""Shift from differences and slopes less their local means, where noise is correlated: it is whitened by that.

Errors of elevation models are mostly smooth, slopes of terrain are not. A local mean taken off both sides of
``dh = -g s + z`` keeps the equation true and takes most of the noise away. How local is chosen by the variance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.ndimage import uniform_filter

from xcoreg.core import Floats, Ints
from xcoreg.core.dem.covariance import Cells, correlated_covariance, mean_score_slope
from xcoreg.core.dem.equations import Equations, spread_of
from xcoreg.core.dem.observations import Observation, Samples
from xcoreg.core.robust import TUKEY, biweight

_SIDES = (5, 9, 17, 33)  # of the squares over which means are taken, px
_FEWEST, _CHOICE = 2000, 150_000  # samples below which means are not local; samples that the side is chosen on
_WORTH = 0.7  # share of the variance that must be left for means to be taken off
_CANCELS = 2  # sides of the squares within which noise cancels
_RELIEF = 6.0  # slopes without their mean must exceed noise so many times


@dataclass(frozen=True, eq=False)
class LocalMean:
    """Takes the weighted mean over squares of `side` px off the samples `at` of a window."""

    side: int
    shape: tuple[int, int]
    at: Ints
    weights: Floats

    def __call__(self, values: Floats) -> Floats:
        """Values (n,) less their local mean."""
        return np.asarray(values - self._sum(self.weights * values) * self._inverse, np.float32)

    @cached_property
    def _inverse(self) -> Floats:
        return np.asarray(1 / np.maximum(self._sum(self.weights), 1e-6), np.float32)

    def _sum(self, values: Floats) -> Floats:
        grid = np.zeros(self.shape, np.float32)
        grid.ravel()[self.at] = values
        return np.asarray(uniform_filter(grid, self.side, mode="constant").ravel()[self.at])


@dataclass(frozen=True, eq=False)
class Whitened:
    """Equations of the remaining shift `step` (2,), px; by window: means, columns (-col, -row), residuals, weights.

    cells, bread : Cells of the samples; (2, 2) float64, inverse of the normal matrix over the slope of the scores.
    change : (2,) float64; a change of the shift that is likely beside noise, px; strong : whether slopes exceed noise.
    """

    side: int
    means: list[LocalMean]
    columns: Sequence[Sequence[Floats]]
    residuals: Sequence[Floats]
    weights: Sequence[Floats]
    step: Floats
    places: list[tuple[Floats, Floats]]
    bread: Floats
    strong: bool
    change: Floats | None = None

    @cached_property
    def cells(self) -> Cells:
        """Cells that cover the samples."""
        return Cells.over_positions(self.places)

    @cached_property
    def influence(self) -> Floats:
        """Sums over cells (2, rows, cols) that the shift is made of."""
        scores = [w * r for w, r in zip(self.weights, self.residuals, strict=True)]
        pairs = list(zip(self.columns, scores, strict=True))
        sums = np.stack([self.cells.sums([x[k] * s for x, s in pairs]) for k in range(2)])
        return np.tensordot(self.bread, sums, 1)

    @cached_property
    def cov(self) -> Floats:
        """Covariance (2, 2) of the shift; noise less its mean cancels within squares."""
        cov = correlated_covariance(self.influence, -(-_CANCELS * self.side // self.cells.side))
        return cov if self.change is None else cov + np.outer(self.change, self.change)


def whitened(
    samples: Sequence[Samples], observations: Sequence[Observation], equations: Equations, side: int
) -> Whitened:
    """Solve for the remaining shift with means over squares taken off; those over all samples for side 0."""
    means, columns, halves, values = [], [], [], []
    for one, obs, weight in zip(samples, observations, equations.weights, strict=True):
        off = LocalMean(side or 4 * max(one.shape), one.shape, obs.at, weight)
        first, second = ([off(part) for part in slopes] for slopes in obs.slopes)
        means.append(off)
        columns.append([-(a + b) / 2 for a, b in zip(first, second, strict=True)])
        halves.append([(a - b) / 2 for a, b in zip(first, second, strict=True)])
        values.append(off(obs.dh))
    cutoff = max(TUKEY * spread_of(values).nmad, 1e-6)
    robust = [biweight(part / cutoff) for part in values]
    weights = [w * part for w, part in zip(equations.weights, robust, strict=True)]
    square, noise = (_products(parts, weights) for parts in (columns, halves))
    # Noise of both models cancels in the products of the slopes of one with those of the other.
    normal, count = square - noise, sum(map(len, values))
    strong = bool(np.linalg.eigvalsh(normal)[0] > _RELIEF * np.linalg.eigvalsh(noise)[-1] / np.sqrt(count))
    rows = zip(columns, values, weights, strict=True)
    right = np.sum([[float(np.sum(w * x * d, dtype=np.float64)) for x in xs] for xs, d, w in rows], axis=0)
    bread = np.linalg.inv(normal) if strong else np.full((2, 2), np.nan)
    step = bread @ right
    residuals = [
        d - np.float32(step[0]) * x[0] - np.float32(step[1]) * x[1] for x, d in zip(columns, values, strict=True)
    ]
    places = [one.positions(obs.at) for one, obs in zip(samples, observations, strict=True)]
    bread = bread / mean_score_slope(robust)
    return Whitened(side, means, columns, residuals, weights, step, places, bread, strong)


def _products(parts: Sequence[Sequence[Floats]], weights: Sequence[Floats]) -> Floats:
    """Sum products of two columns over all windows: -> (2, 2) float64."""
    total = np.zeros((2, 2))
    for pair, weight in zip(parts, weights, strict=True):
        for i, j in ((0, 0), (0, 1), (1, 1)):
            total[i, j] += float(np.sum(weight * pair[i] * pair[j], dtype=np.float64))
    total[1, 0] = total[0, 1]
    return total


def may_whiten(samples: Sequence[Samples], observations: Sequence[Observation]) -> bool:
    """Whether there are enough samples, on a lattice."""
    return sum(len(one.dh) for one in observations) >= _FEWEST and all(min(one.shape) > 1 for one in samples)


def choose_side(samples: Sequence[Samples], observations: Sequence[Observation], equations: Equations) -> int:
    """Choose the side of the squares whose means leave the least variance; 0 where none is clearly better."""
    count = sum(len(one.dh) for one in observations)
    step = max(1, round(count / _CHOICE))
    part = slice(None, None, step)
    some = samples[part], observations[part], equations.part(part)
    best, least = 0, _WORTH * _variance(whitened(*some, 0))
    for side in _SIDES:
        found = whitened(*some, side)
        if found.strong and _variance(found) < least:
            best, least = side, _variance(found)
    return best


def _variance(found: Whitened) -> float:
    return float(np.trace(found.cov)) if found.strong else np.inf


def whitened_covariance(equations: Equations, found: Whitened) -> Floats:
    """Covariance (2 + m, 2 + m) of a shift found so, and of the heights that follow from it."""
    cells, m = found.cells, len(equations.normal) - 2
    inverse = np.linalg.inv(equations.normal[2:, 2:])
    scores = [w * r for w, r in zip(equations.weights, equations.residuals, strict=True)]
    pairs = list(zip(equations.columns, scores, strict=True))
    sums = np.stack([cells.sums([columns[2 + k] * one for columns, one in pairs]) for k in range(m)])
    high = np.tensordot(inverse / mean_score_slope(equations.weights), sums, 1)
    high -= np.tensordot(inverse @ equations.normal[2:, :2], found.influence, 1)
    cov = correlated_covariance(np.concatenate([found.influence, high]))
    # That of the shift has squares of its own: within smaller ones its noise cancels.
    own, scale = np.sqrt(np.diag(found.cov)), np.sqrt(np.maximum(np.diag(cov)[:2], 1e-300))
    cov[:2] *= (own / scale)[:, None]
    cov[:, :2] *= (own / scale)[None, :]
    cov[:2, :2] = found.cov
    return cov
