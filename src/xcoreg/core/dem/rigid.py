"""Rigid transformation between two elevation models: shift, three rotations and a scale, by least squares on slopes.

The linearised adjustment of Rosenholm & Torlegard (1988, least Z-differences), with robust weights and exact positions
in every iteration: a reference pixel is carried back into the target, which is interpolated there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from xcoreg.core import Floats, Ints
from xcoreg.core.dem.covariance import Cells, at_long_range, correlated_covariance
from xcoreg.core.dem.equations import spread_of
from xcoreg.core.dem.observations import DemWindow
from xcoreg.core.dem.search import SearchArea
from xcoreg.core.dem.surface import Surface
from xcoreg.core.matches import Status
from xcoreg.core.robust import TUKEY, biweight

_ROUNDS, _MOST, _FEWEST = 25, 200_000, 20
_STEADY = 0.2  # cross products serve while their smallest eigenvalue has this share of that of the squares
_SMALL = 2e-4  # px at the border of the scene: a step that ends the iteration
_COARSE, _ROOM = (16, 4), 24  # block sizes before the pixels themselves, and least number of blocks along a side
_RAGGED, _ABOVE_NOISE = 90.0, 4.0  # as for a shift
_UNSURE = 2.0  # px; largest standard deviation at the border of the scene


class Comparable(Protocol):
    """Samples whose target can be interpolated anywhere."""

    def surface(self) -> Surface:
        """Heights to compare and to interpolate."""


@dataclass(frozen=True, eq=False)
class RigidMotion:
    """Motion of points about a centre: ``P' = scale * rotation @ P + offset``, in the unit of the heights.

    rotation : (3, 3); offset : (3,); centre : (3,) column and row, px of the lattice, and height.
    to_metres : (2, 2); way to the East and North per px to the right and down, in the unit of the heights.
    """

    rotation: Floats
    offset: Floats
    centre: Floats
    to_metres: Floats
    scale: float = 1.0

    def back(self, col: Floats, row: Floats, z: Floats) -> tuple[Floats, Floats, Floats]:
        """Target position, px, and height of a place in the reference."""
        own = self.local(col, row, z) - self.offset[:, None]
        east, north, up = self.rotation.T @ own / self.scale
        inverse = np.linalg.inv(self.to_metres)
        c, r = inverse @ np.stack([east, north])
        return c + self.centre[0], r + self.centre[1], up + self.centre[2]

    def local(self, col: Floats, row: Floats, z: Floats) -> Floats:
        """Coordinates (3, n) about the centre, East, North, up."""
        east, north = self.to_metres @ np.stack([col - self.centre[0], row - self.centre[1]])
        return np.stack([east, north, z - self.centre[2]])

    def about(self, way: Floats) -> RigidMotion:
        """Describe the same motion about a centre that lies elsewhere, by (cols, rows) px."""
        between = np.array([*(self.to_metres @ way), 0.0])
        offset = self.scale * self.rotation @ between + self.offset - between
        return replace(self, centre=self.centre + np.array([*way, 0.0]), offset=offset)

    def moved_by(self, step: Floats) -> RigidMotion:
        """Add a small motion (dx, dy, dz, rx, ry, rz, scale)."""
        turn, grow = rotation_of(step[3:6]), 1 + step[6]
        offset = grow * turn @ self.offset + step[:3]
        return replace(self, rotation=turn @ self.rotation, offset=offset, scale=self.scale * grow)

    def coarser(self, factor: float) -> RigidMotion:
        """Convert to a lattice of larger pixels."""
        centre = np.asarray(self.centre / np.array([factor, factor, 1.0]), np.float64)
        return replace(self, centre=centre, to_metres=self.to_metres * factor)


def rotation_of(angles: Floats) -> Floats:
    """Rotation matrix (3, 3) of a rotation vector (3,), radians (Rodrigues)."""
    size = float(np.linalg.norm(angles))
    if size == 0.0:
        return np.eye(3)
    x, y, z = np.asarray(angles) / size
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + np.sin(size) * cross + (1 - np.cos(size)) * cross @ cross)


@dataclass(frozen=True, eq=False)
class RigidSolution:
    """A motion with the covariance (7, 7) of (dx, dy, dz, rx, ry, rz, scale), in the unit of heights and radians."""

    status: Status
    motion: RigidMotion
    cov: Floats
    count: int = 0
    median_before: float = np.nan
    median_after: float = np.nan
    nmad_before: float = np.nan
    nmad_after: float = np.nan
    iterations: int = 0


@dataclass(eq=False)
class _State:
    """One comparison: residuals, weights and the designs (7, n) from the slopes of either model, by window."""

    residuals: list[Floats] = field(default_factory=list)
    weights: list[Floats] = field(default_factory=list)
    designs: list[tuple[Floats, Floats]] = field(default_factory=list)
    places: list[tuple[Floats, Floats]] = field(default_factory=list)


def solve_rigid(
    samples: Sequence[Comparable],
    start: Floats,
    to_metres: Floats,
    search: SearchArea | None = None,
    *,
    scale: bool = False,
) -> RigidSolution:
    """Estimate a rigid motion from a shift (dcol, drow, dz) near it, `scale` as well on request."""
    surfaces = [one.surface() for one in samples]
    motion = _first_motion(surfaces, start, to_metres)
    for factor in _COARSE:
        rough = [one for one in samples if isinstance(one, DemWindow) and min(one.shape) >= _ROOM * factor]
        if len(rough) == len(samples):
            coarse = [one.coarser(factor).surface() for one in rough]
            found = _iterate(coarse, motion.coarser(factor), scale=scale)
            if found.status is Status.OK and found.nmad_after < found.nmad_before:
                motion = found.motion.coarser(1 / factor)
    found = _iterate(surfaces, motion, scale=scale)
    before = _observe(surfaces, _first_motion(surfaces, np.zeros(3), to_metres)).residuals
    first = spread_of(before)
    found = replace(found, median_before=first.median, nmad_before=first.nmad)
    search = search or SearchArea()
    # The target lies elsewhere: the motion turns about its middle, not about that of the reference.
    found = replace(found, motion=found.motion.about(-search.start) if search.start.any() else found.motion)
    move = np.linalg.solve(to_metres, found.motion.offset[:2])
    if found.status is Status.OK and search.is_beyond(move):
        return replace(found, status=Status.TOO_FAR)
    return found


def height_residuals(samples: Sequence[Comparable], motion: RigidMotion) -> list[Floats]:
    """Height differences that a motion leaves, by window."""
    return _observe([one.surface() for one in samples], motion).residuals


def _first_motion(surfaces: Sequence[Surface], start: Floats, to_metres: Floats) -> RigidMotion:
    col, row, z = (np.concatenate([getattr(one, name) for one in surfaces]) for name in ("col", "row", "z"))
    sides = [(float(part.min()) + float(part.max())) / 2 for part in (col, row)]
    offset = np.array([*(to_metres @ np.nan_to_num(start[:2])), np.nan_to_num(start[2])])
    return RigidMotion(np.eye(3), offset, np.array([*sides, float(np.median(z))]), to_metres)


def _observe(surfaces: Sequence[Surface], motion: RigidMotion) -> _State:
    """Carry the reference back into the target, and compare heights and slopes."""
    state, inverse = _State(), np.linalg.inv(motion.to_metres)
    apart = []
    total = sum(len(one.z) for one in surfaces)
    for one in surfaces:
        step = slice(None, None, max(1, -(-total // _MOST)))
        col, row, z = one.col[step], one.row[step], one.z[step]
        height, slopes, known = one.target_at(*motion.back(col, row, z)[:2])
        up = motion.back(col[known], row[known], z[known])[2]
        place = motion.local(col[known], row[known], z[known])
        own = inverse.T @ (slopes[:, known] if one.slopes is None else one.slopes[:, step][:, known])
        other = inverse.T @ slopes[:, known]
        state.residuals.append(up - height[known])
        state.designs.append((_design(own, place), _design(other, place)))
        state.places.append((col[known], row[known]))
        apart.append(((own - other) ** 2).sum(0))
    limit = _RAGGED * spread_of(apart).median
    for part in apart:
        state.weights.append((part <= limit).astype(np.float64) if limit > 0 else np.ones(len(part)))
    return state


def _design(slopes: Floats, place: Floats) -> Floats:
    """Change of the height difference per unit of motion, (7, n): slopes (2, n), places (3, n); East, North, up."""
    (e, n), (x, y, z) = slopes, place
    return np.stack([-e, -n, np.ones_like(e), n * z + y, -e * z - x, e * y - n * x, z - e * x - n * y])


def _iterate(surfaces: Sequence[Surface], motion: RigidMotion, *, scale: bool) -> RigidSolution:
    """Gauss-Newton steps with robust weights until the border of the scene moves no more."""
    free, cov = np.arange(7 if scale else 6), np.full((7, 7), np.nan)
    first, border, pixel = None, 1.0, float(np.sqrt(abs(np.linalg.det(motion.to_metres))))
    for iteration in range(1, _ROUNDS + 1):  # noqa: B007  (reported once it has ended)
        state = _observe(surfaces, motion)
        count = sum(len(part) for part in state.residuals)
        if count < _FEWEST:
            return RigidSolution(Status.NO_DATA, motion, cov, count)
        spread = spread_of(state.residuals)
        first = first or spread
        cutoff = max(TUKEY * spread.nmad, 1e-6)
        pairs = zip(state.weights, state.residuals, strict=True)
        weights = [w * biweight((r - spread.median) / cutoff) for w, r in pairs]
        normal, right = _normal(state, weights, free)
        try:
            step = np.zeros(7)
            step[free] = np.linalg.solve(normal, right)
        except np.linalg.LinAlgError:
            return RigidSolution(Status.UNCONSTRAINED, motion, cov, count)
        border = max(float(np.abs(np.concatenate(part)).max(initial=1.0)) for part in state.places) * pixel
        motion = motion.moved_by(step)
        if max(np.abs(step[:2]).max(), np.abs(step[3:]).max() * border) < _SMALL * pixel:
            break
        if not np.isfinite(step).all() or np.abs(step[3:]).max() > 1:
            return RigidSolution(Status.NOT_CONVERGED, motion, cov, count)
    else:
        return RigidSolution(Status.NOT_CONVERGED, motion, cov, count)
    cov = _covariance(state, weights, normal, free)
    after = spread_of(state.residuals)
    sure = np.sqrt(max(cov[0, 0], cov[1, 1], cov[5, 5] * border**2)) < _UNSURE * pixel and _has_relief(state, weights)
    status = Status.OK if sure else Status.UNCONSTRAINED
    return RigidSolution(status, motion, cov, count, first.median, after.median, first.nmad, after.nmad, iteration)


def _normal(state: _State, weights: Sequence[Floats], free: Ints) -> tuple[Floats, Floats]:
    """Sum the normal matrix from products of the slopes of one model with those of the other: noise averages out."""
    size = len(free)
    cross, own, right = np.zeros((size, size)), np.zeros((size, size)), np.zeros(size)
    for (one, two), w, r in zip(state.designs, weights, state.residuals, strict=True):
        a, b = one[free], two[free]
        mean = (a + b) / 2
        cross += (a * w) @ b.T
        own += (mean * w) @ mean.T
        right += mean @ (w * r)
    cross = (cross + cross.T) / 2
    scale = np.outer(*[np.sqrt(np.diag(own))] * 2)
    steady = np.linalg.eigvalsh(cross / scale).min() > _STEADY * np.linalg.eigvalsh(own / scale).min()
    return (cross if steady else own), right


def _has_relief(state: _State, weights: Sequence[Floats]) -> bool:
    """Whether slopes along every axis exceed noise, which cross products of n samples reduce by the root of n."""
    cross, own, count = np.zeros((2, 2)), np.zeros((2, 2)), 0
    for (one, two), w in zip(state.designs, weights, strict=True):
        cross += (one[:2] * w) @ two[:2].T
        own += ((one[:2] * w) @ one[:2].T + (two[:2] * w) @ two[:2].T) / 2
        count += len(w)
    size, axes = np.linalg.eigh((cross + cross.T) / 2)
    noise = np.abs(np.einsum("ia,ij,ja->a", axes, own - (cross + cross.T) / 2, axes)) / np.sqrt(max(count, 1))
    return bool((size > _ABOVE_NOISE * noise).all())


def _covariance(state: _State, weights: Sequence[Floats], normal: Floats, free: Ints) -> Floats:
    """Covariance (7, 7) with correlated noise."""
    cells, inverse = Cells.over_positions(state.places), np.linalg.inv(normal)
    scores = [w * r for w, r in zip(weights, state.residuals, strict=True)]
    means = [(one[free] + two[free]) / 2 for one, two in state.designs]
    sums = np.stack([cells.sums([d[k] * s for d, s in zip(means, scores, strict=True)]) for k in range(len(free))])
    slope = sum(float((5 * w - 4 * np.sqrt(w)).sum()) for w in weights) / max(sum(float(w.sum()) for w in weights), 1.0)
    out = np.zeros((7, 7))
    out[np.ix_(free, free)] = correlated_covariance(np.tensordot(inverse, sums, 1)) / max(slope, 0.2) ** 2
    return at_long_range(out, cells.sums(scores), cells.sums(weights)) if 2 in free and out[2, 2] > 0 else out
