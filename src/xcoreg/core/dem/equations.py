"""Parameters between two elevation models (shift, offset, ramp) and their robust normal equations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from xcoreg.core import Bools, Floats, Ints, exponents
from xcoreg.core.dem.observations import Observation, Samples
from xcoreg.core.robust import NMAD, TUKEY, biweight

#: Elevation matchers and their variants, which are chosen by "name:variant".
ELEVATION_MATCHERS: dict[str, tuple[str, ...]] = {
    "nuth_kaab": ("robust", "classic"),
    "vertical": ("median", "mean", "weighted"),
    "deramp": ("1", "2", "3", "4"),
    "rigid": ("motion", "scale", "auto"),
}


@dataclass(frozen=True)
class Terms:
    """Parameters to estimate.

    shift, classic : Whether a shift (Nuth & Kääb) is estimated, and by medians of azimuth bins, as published.
    vertical : Offset as "median", "mean" or "weighted" mean (robust least squares; always with a ramp).
    ramp : Order of the polynomial ramp, 0 for none.
    rigid, scale : Whether a rigid motion is estimated instead, and its scale.
    auto : Whether check blocks decide between a shift, one with a tilt, and a rigid motion.
    """

    shift: bool = False
    classic: bool = False
    vertical: str = "weighted"
    ramp: int = 0
    rigid: bool = False
    scale: bool = False
    auto: bool = False

    @property
    def powers(self) -> list[tuple[int, int]]:
        """Powers of (u, v) of the vertical part, by rising degree."""
        return exponents(self.ramp)


def parse_terms(matcher: Any) -> Terms | None:
    """Read the name of an elevation matcher, or a chain of names; None when it is no elevation matcher.

    "nuth_kaab" (or "nuth_kaab:classic"), "vertical" (":median", ":mean", ":weighted"), "deramp" (":1" to ":4"),
    "rigid" (or "rigid:scale", "rigid:auto"; no part of a chain). All parameters of a chain are estimated together: an
    ignored tilt looks like a shift where slopes face one way.
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
    if "rigid" in chosen and len(chosen) > 1:
        raise ValueError("rigid is no part of a chain: it estimates shift, offset and tilt itself")
    return Terms(
        shift="nuth_kaab" in chosen,
        classic=chosen.get("nuth_kaab") == "classic",
        vertical="weighted" if "deramp" in chosen else chosen.get("vertical", "weighted"),
        ramp=int(chosen.get("deramp", 0)),
        rigid="rigid" in chosen,
        scale=chosen.get("rigid") == "scale",
        auto=chosen.get("rigid") == "auto",
    )


# Iterations of the weights per sampling; largest number of samples of a median.
_ROUNDS, _MEDIAN_SAMPLE = 3, 60_000
# Squared differences of slopes beyond so many times their median: eleven sigmas of independent noise.
_RAGGED = 90.0
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

    def part(self, chosen: slice) -> Equations:
        """Those of some windows; sums stay those of all."""
        lists = {name: getattr(self, name)[chosen] for name in ("residuals", "weights", "columns")}
        return replace(self, **lists)

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
    steady = _steady(observations)
    normal, own, weights = np.zeros((size, size)), np.zeros((size, size)), [np.ones_like(part) for part in residuals]
    for _ in range(_ROUNDS):
        scale = spread_of(residuals)
        if not plain:
            cutoff = max(TUKEY * scale.nmad, 1e-6)
            weights = [biweight((part - scale.median) / cutoff).astype(np.float32) for part in residuals]
            weights = [part if ok is None else part * ok for part, ok in zip(weights, steady, strict=True)]
        normal, own, right = _sums(observations, columns, weights)
        near = np.trace(normal[:2, :2]) > _NEAR * np.trace(own[:2, :2])
        try:
            solution[first:] = np.linalg.solve((normal if near else own)[first:, first:], right[first:])
        except np.linalg.LinAlgError:
            solution[:2], solution[2] = np.nan, scale.median
            break
        residuals = [_residual(one.dh, column, solution) for one, column in zip(observations, columns, strict=True)]
    return Equations(normal, own, solution, residuals, weights, columns)


def _steady(observations: Sequence[Observation]) -> list[Bools | None]:
    """Where the slopes of both models agree: at rims of voids and of clouds a wrong slope would outweigh all others."""
    apart = [one.slope_difference for one in observations]
    limit = _RAGGED * spread_of(apart).median
    return [part <= limit if limit > 0 and part.max(initial=0) > limit else None for part in apart]


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
