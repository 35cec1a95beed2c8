"""Parameters between two elevation models (shift, offset, ramp): robust normal equations, and their covariance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xcoreg.core import Floats, Ints, exponents
from xcoreg.core.dem.observations import Observation, Samples
from xcoreg.core.robust import NMAD, TUKEY, biweight

#: Elevation matchers and their variants, which are chosen by "name:variant".
ELEVATION_MATCHERS: dict[str, tuple[str, ...]] = {
    "nuth_kaab": ("robust", "classic"),
    "vertical": ("median", "mean", "weighted"),
    "deramp": ("1", "2"),
}


@dataclass(frozen=True)
class Terms:
    """Parameters to estimate.

    shift, classic : Whether a shift (Nuth & Kääb) is estimated, and by medians of azimuth bins, as published.
    vertical : Offset as "median", "mean" or "weighted" mean (robust least squares; always with a ramp).
    ramp : Order of the polynomial ramp, 0 for none.
    """

    shift: bool = False
    classic: bool = False
    vertical: str = "weighted"
    ramp: int = 0

    @property
    def powers(self) -> list[tuple[int, int]]:
        """Powers of (u, v) of the vertical part, by rising degree."""
        return exponents(self.ramp)


def parse_terms(matcher: Any) -> Terms | None:
    """Read the name of an elevation matcher, or a chain of names; None when it is no elevation matcher.

    "nuth_kaab" (or "nuth_kaab:classic"), "vertical" (":median", ":mean", ":weighted"), "deramp" (":1", ":2"). All
    parameters of a chain are estimated together: an ignored tilt looks like a shift where slopes face one way.
    An unknown name in a chain, or an unknown variant, raises ValueError.
    """
    chain = [matcher] if isinstance(matcher, str) else matcher
    if not isinstance(chain, Sequence) or not chain or not all(isinstance(link, str) for link in chain):
        return None
    if isinstance(matcher, str) and matcher.partition(":")[0] not in ELEVATION_MATCHERS:
        return None
    chosen: dict[str, str] = {}
    for link in chain:
        name, _, variant = link.partition(":")
        if name not in ELEVATION_MATCHERS:
            raise ValueError(f"{link!r} cannot be part of a chain: choose from {', '.join(ELEVATION_MATCHERS)}")
        if variant and variant not in ELEVATION_MATCHERS[name]:
            raise ValueError(f"{name} has no variant {variant!r}: choose from {', '.join(ELEVATION_MATCHERS[name])}")
        chosen[name] = variant or ELEVATION_MATCHERS[name][0]
    return Terms(
        shift="nuth_kaab" in chosen,
        classic=chosen.get("nuth_kaab") == "classic",
        vertical="weighted" if "deramp" in chosen else chosen.get("vertical", "weighted"),
        ramp=int(chosen.get("deramp", 0)),
    )


# Iterations of the weights per sampling; largest number of samples of a median.
_ROUNDS, _MEDIAN_SAMPLE = 3, 60_000
_NEAR = 0.6  # models count as aligned once cross products of slopes reach this share of their squares


@dataclass(frozen=True)
class Spread:
    """Median and NMAD of values."""

    median: float = np.nan
    nmad: float = np.nan


def spread_of(parts: Sequence[Floats]) -> Spread:
    """Median and NMAD of values in several parts, of a regular subset where there are very many."""
    n = sum(len(part) for part in parts)
    if not n:
        return Spread()
    step = max(1, n // _MEDIAN_SAMPLE)
    # An odd step, so that the subset does not follow columns.
    chosen = np.concatenate([part[:: step | 1] for part in parts])
    median = float(np.median(chosen))
    return Spread(median, float(NMAD * np.median(np.abs(chosen - median))))


@dataclass(frozen=True)
class Basis:
    """Polynomials of the vertical correction over a lattice: u = v = 0 at `centre`, px; px per unit of u and v."""

    powers: tuple[tuple[int, int], ...]
    centre: tuple[float, float] = (0.0, 0.0)
    scale: float = 1.0

    @classmethod
    def over(cls, samples: Sequence[Samples], terms: Terms) -> Basis:
        """Centre and scale the polynomials to all samples."""
        some = [one for one in samples if min(one.shape)]
        if not some:
            return cls(tuple(terms.powers))
        # The first and the last pixel of a window are opposite corners; a line of samples may be anywhere.
        ends = [np.arange(one.shape[0]) if one.shape[1] == 1 else np.array([0, np.prod(one.shape) - 1]) for one in some]
        places = np.concatenate([np.stack(one.positions(at)) for one, at in zip(some, ends, strict=True)], axis=1)
        low, high = places.min(1), places.max(1)
        middle = (low + high) / 2
        return cls(tuple(terms.powers), (float(middle[0]), float(middle[1])), float((high - low).max()) / 2 or 1.0)

    def coarser(self, factor: int) -> Basis:
        """Convert to a lattice of larger pixels."""
        return Basis(self.powers, (self.centre[0] / factor, self.centre[1] / factor), self.scale / factor)

    def at(self, one: Samples, at: Ints) -> list[Floats]:
        """Polynomials at samples, without the constant."""
        if len(self.powers) < 2:
            return []
        positions = zip(one.positions(at), self.centre, strict=True)
        u, v = (((part - middle) / self.scale).astype(np.float32) for part, middle in positions)
        return [u**p * v**q for p, q in self.powers[1:]]


@dataclass(frozen=True, eq=False)
class Equations:
    """Weighted normal equations at one sampling, with the residuals and the design of each window.

    normal : (2 + m, 2 + m) float64; normal matrix from cross products of the slopes.
    own : (2 + m, 2 + m) float64; from products of each model with itself: inflated by noise, but positive definite.
    solution : (2 + m,) float64; remaining shift (dcol, drow), 0 if it is not estimated, and vertical coefficients.
    """

    normal: Floats
    own: Floats
    solution: Floats
    residuals: list[Floats]
    weights: list[Floats]
    columns: list[list[Floats]]

    def relief(self) -> tuple[Floats, Floats]:
        """Information on the shift along its two principal axes, after eliminating the vertical part, and the axes."""
        a, b, d = self.normal[:2, :2], self.normal[:2, 2:], self.normal[2:, 2:]
        try:
            information, axes = np.linalg.eigh(a - b @ np.linalg.solve(d, b.T))
        except np.linalg.LinAlgError:
            return np.zeros(2), np.eye(2)
        return information, axes

    def relief_noise(self, axes: Floats) -> Floats:
        """Apparent information along axes from slopes that are noise.

        Over n samples, cross products of independent noise average out to 1 / sqrt(n) of its power. That power is the
        excess of the squares over the cross products.
        """
        n = max(sum(len(weights) for weights in self.weights), 1)
        noise = np.einsum("ia,ij,ja->a", axes, self.own[:2, :2] - self.normal[:2, :2], axes)
        return np.asarray(np.abs(noise) / np.sqrt(n))


def solve_weighted(
    observations: Sequence[Observation], samples: Sequence[Samples], basis: Basis, terms: Terms
) -> Equations:
    """Solve for the remaining parameters at one sampling, with robust weights."""
    pairs = zip(observations, samples, strict=True)
    columns = [[-one.col, -one.row, np.ones_like(one.dh), *basis.at(where, one.at)] for one, where in pairs]
    first = 0 if terms.shift else 2
    size = len(columns[0]) if columns else 3
    solution, residuals = np.zeros(size), [one.dh for one in observations]
    normal: Floats
    own: Floats
    plain = terms.vertical == "mean" and not terms.shift
    normal, own, weights = np.zeros((size, size)), np.zeros((size, size)), [np.ones_like(part) for part in residuals]
    for _ in range(_ROUNDS):
        scale = spread_of(residuals)
        if not plain:
            cutoff = max(TUKEY * scale.nmad, 1e-6)
            weights = [biweight((part - scale.median) / cutoff).astype(np.float32) for part in residuals]
        normal, own, right = _sums(observations, columns, weights)
        near = np.trace(normal[:2, :2]) > _NEAR * np.trace(own[:2, :2])
        try:
            solution[first:] = np.linalg.solve((normal if near else own)[first:, first:], right[first:])
        except np.linalg.LinAlgError:
            solution[:2], solution[2] = np.nan, scale.median
            break
        residuals = [_residual(one.dh, column, solution) for one, column in zip(observations, columns, strict=True)]
    return Equations(normal, own, solution, residuals, weights, columns)


def _residual(dh: Floats, columns: list[Floats], solution: Floats) -> Floats:
    out = dh.copy()
    for value, column in zip(solution.astype(np.float32), columns, strict=True):
        if value:
            out -= value * column
    return out


def _sums(
    observations: Sequence[Observation], columns: list[list[Floats]], weights: list[Floats]
) -> tuple[Floats, Floats, Floats]:
    """Sum normal matrices from cross products of slopes and from their squares, and the right-hand side."""
    size = len(columns[0])
    upper, own, right = np.zeros((size, size)), np.zeros((size, size)), np.zeros(size)
    for one, column, weight in zip(observations, columns, weights, strict=True):
        for i in range(size):
            weighted = weight * column[i]
            right[i] += float(np.sum(weighted * one.dh, dtype=np.float64))
            for j in range(max(i, 2), size):
                upper[i, j] += float(np.sum(weighted * column[j], dtype=np.float64))
        for k, (i, j) in enumerate(((0, 0), (0, 1), (1, 1))):
            upper[i, j] += float(np.sum(weight * one.cross[k], dtype=np.float64))
            own[i, j] += float(np.sum(weight * one.own[k], dtype=np.float64))
    own[:, 2:] = upper[:, 2:]
    return _symmetric(upper), _symmetric(own), right


def _symmetric(upper: Floats) -> Floats:
    return np.asarray(np.triu(upper) + np.triu(upper, 1).T)


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
