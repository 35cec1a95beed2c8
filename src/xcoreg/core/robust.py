"""Robust statistics: Tukey's biweight, groups of equal shifts, their mean, and comparison with neighbours."""

from __future__ import annotations

import numpy as np
import scipy  # its parts are loaded when they are used: a first call needs few
from scipy.special import chdtri

from xcoreg.core import Bools, Floats, Ints

_CHANCE = 0.01  # significance level at which windows contradict each other
_ROUNDS = 200


def largest_group(moves: Floats, weights: Floats, radius: float) -> Bools:
    """Largest group of shifts within a radius of one of them: moves (n, 2), weights (n,) float -> (n,) bool."""
    finite = np.asarray(np.isfinite(moves).all(1))
    if not finite.any():
        return finite
    positions = np.where(finite[:, None], moves, np.nan)
    distance = np.hypot(*(positions[:, None, :] - positions[None, :, :]).transpose(2, 0, 1))
    nearest = distance <= radius
    votes = (nearest * weights).sum(1)
    tightness = np.where(nearest, np.nan_to_num(distance), 0).sum(1) / np.maximum(nearest.sum(1), 1)
    best = int(np.lexsort((tightness, -np.where(finite, votes, -1)))[0])
    centre = np.median(moves[nearest[best]], axis=0)
    return np.asarray(finite & (np.hypot(*(positions - centre).T) <= radius))


def combine(moves: Floats, covs: Floats, shared: Floats | None = None) -> tuple[Floats, Floats]:
    """Mean (2,) and covariance (2, 2) of shifts (n, 2) that may differ by more than their own covariances (n, 2, 2).

    shared : (n, n); correlation of their errors, of windows that overlap; it does not change the mean.

    Random effects: where the windows contradict each other at the 1 % level, a common between-window variance is added
    to every covariance so that they no longer do (Paule & Mandel 1982, doi:10.6028/jres.087.022).
    """
    moves = np.asarray(moves, np.float64)
    covs = _fill_covariances(np.asarray(covs, np.float64), moves)
    mean, cov = _weighted_mean(moves, covs)
    known = bool(np.isfinite(cov).all())
    if len(moves) == 1 and not known:
        return moves[0], cov
    if len(moves) < 2 or not known:
        return mean, cov
    wider = _widened(moves, covs, mean)
    mean, cov = _weighted_mean(moves, wider)
    return mean, cov if shared is None else _with_shared(cov, wider, shared)


def shares(moves: Floats, covs: Floats) -> Floats:
    """Weight (n,) of each shift in the mean that :func:`combine` makes of them; their sum is one."""
    moves = np.asarray(moves, np.float64)
    if len(moves) < 2:
        return np.ones(len(moves))
    covs = _fill_covariances(np.asarray(covs, np.float64), moves)
    mean, cov = _weighted_mean(moves, covs)
    if not np.isfinite(cov).all():
        return np.full(len(moves), 1 / len(moves))
    weights = np.linalg.inv(_widened(moves, covs, mean))
    return np.asarray(np.einsum("ij,nji->n", np.linalg.inv(weights.sum(0)), weights) / 2)


def _widened(moves: Floats, covs: Floats, mean: Floats) -> Floats:
    if _chi_square(moves, mean, covs) <= chdtri(2 * (len(moves) - 1), _CHANCE):
        return covs
    return np.asarray(covs + _between(moves, covs) * np.eye(2))


def _with_shared(cov: Floats, covs: Floats, shared: Floats) -> Floats:
    """Covariance of a weighted mean whose parts have correlated errors."""
    values, axes = np.linalg.eigh(covs)
    roots = (axes * np.sqrt(values)[:, None]) @ axes.swapaxes(1, 2)
    parts = cov @ np.linalg.inv(covs) @ roots
    return np.asarray(np.einsum("nm,nij,mkj->ik", shared, parts, parts))


def _between(moves: Floats, covs: Floats) -> float:
    """Between-window variance at which chi-square equals its degrees of freedom."""
    degrees = 2 * (len(moves) - 1)
    low, high = 0.0, float(np.var(moves, axis=0).sum()) * 4 + 1e-30
    for _ in range(_ROUNDS):
        middle = (low + high) / 2
        wider = covs + middle * np.eye(2)
        if _chi_square(moves, _weighted_mean(moves, wider)[0], wider) > degrees:
            low = middle
        else:
            high = middle
        if high - low < 1e-6 * high:
            break
    return high


def _weighted_mean(moves: Floats, covs: Floats) -> tuple[Floats, Floats]:
    weights = np.linalg.inv(covs)
    cov = np.linalg.inv(weights.sum(0))
    return np.asarray(cov @ np.einsum("nij,nj->i", weights, moves)), np.asarray(cov)


def _chi_square(moves: Floats, mean: Floats, covs: Floats) -> float:
    off = moves - mean
    return float(np.einsum("ni,nij,nj->", off, np.linalg.inv(covs), off))


def _fill_covariances(covs: Floats, moves: Floats) -> Floats:
    """Give windows without a covariance the median one, or the scatter of the shifts where none has one."""
    finite = np.asarray(np.isfinite(covs).all((1, 2)))
    good = finite & (np.linalg.eigvalsh(np.where(finite[:, None, None], covs, np.eye(2)))[:, 0] > 0)
    if good.all():
        return covs
    typical = np.median(covs[good], axis=0) if good.any() else _scatter(moves)
    return np.where(good[:, None, None], covs, typical)


def _scatter(moves: Floats) -> Floats:
    """Covariance of one shift from the scatter of several; isotropic for two, unknown for one."""
    n = len(moves)
    if n < 2:
        return np.full((2, 2), np.nan)
    isotropic = np.eye(2) * max(float(np.var(moves, axis=0, ddof=1).mean()), 1e-12)
    return np.asarray(np.cov(moves, rowvar=False) + 1e-12 * np.eye(2) if n > 2 else isotropic)


TUKEY = 4.685  # cut-off in standard deviations at which Tukey's biweight is 95 % efficient for normal errors
# Standard deviation of normal errors over the median of their absolute values, and median length of two such errors.
NMAD, MEDIAN_RADIUS = 1.4826, 1.1774


def biweight(t: Floats, least: float = 0.0) -> Floats:
    """Tukey's biweight of residuals in units of the cut-off: 1 at zero, 0 (or `least` squared) from the cut-off on."""
    return np.asarray(np.square(np.maximum(1 - np.square(t), least)))


def biweight_loss(squared: Floats, limit: float) -> Floats:
    """Tukey's loss: the squared residual while it is small, a third of `limit`, the square of the cut-off, at most."""
    return np.asarray(limit / 3 * (1 - np.clip(1 - squared / limit, 0, None) ** 3))


_NEAREST = 12
_PLANE = 7  # with fewer neighbours than this a median replaces the plane, which has three coefficients
_PLANE_ROUNDS = 6


def neighbour_residuals(positions: Floats, moves: Floats, use: Bools | None = None) -> tuple[Floats, Floats]:
    """Compare shifts with a robust plane through those of their neighbours: (n, 2) -> residual (n, 2), scatter (n,)."""
    n = len(positions)
    residual, scatter = np.full((n, 2), np.nan), np.full(n, np.nan)
    finite = np.isfinite(moves).all(1)
    known = np.flatnonzero(finite if use is None else finite & use)
    wanted = np.flatnonzero(finite)
    if len(known) < 2 or not len(wanted):
        return residual, scatter
    index, far = _neighbours(positions, wanted, known)
    scale = np.maximum(np.where(far > 0, far, 0).max(1, keepdims=True), 1e-300)
    offset = (positions[index] - positions[wanted][:, None]) / scale[..., None]
    predicted, spread = _planes(offset, moves[index])
    residual[wanted] = moves[wanted] - predicted
    scatter[wanted] = spread
    return residual, scatter


# A fault lies near a window where its neighbours' shifts are two planes, one on each side of a line, that are so many
# px apart and leave less than so much of that, and of what a smooth field leaves. Shifts off both by more than so much
# of the step, as few neighbours have them, mix both.
_STEP, _LEFT, _SMOOTH, _BETWEEN, _ALIKE = 0.5, 0.15, 0.5, 0.3, 1 / 3
# Lines have so many directions and these distances from the window, in windows; nearer windows lie on both sides.
_LINES, _ASIDE, _NEAR_LINE = 8, (-0.4, 0.0, 0.4), 0.55
_AROUND, _ENOUGH = 24, 8


def between_sides(positions: Floats, moves: Floats, use: Bools, size: float) -> Bools:
    """Windows whose shifts (n, 2), px, mix those of both sides of a fault; positions (n, 2) and size, px: -> (n,)."""
    out, wanted = np.zeros(len(positions), bool), np.flatnonzero(use)
    # Windows that overlap by more than half say nothing more.
    known = wanted[np.unique(np.floor(positions[wanted] / (size / 2)), axis=0, return_index=True)[1]]
    if len(known) <= _ENOUGH:
        return out
    index, _ = _neighbours(positions, wanted, known, _AROUND)
    offset, near = (positions[index] - positions[wanted][:, None]) / size, moves[index] - moves[wanted][:, None]
    x, y = offset[..., 0], offset[..., 1]
    plane = np.stack([np.ones_like(x), x, y], -1)
    smooth = _explained(np.concatenate([plane, np.stack([x * x, x * y, y * y], -1)], -1), near, np.ones(x.shape))[1]
    uneven = np.flatnonzero(smooth > (_LEFT * _STEP) ** 2)
    offset, near, plane, limit = offset[uneven], near[uneven], plane[uneven], _SMOOTH**2 * smooth[uneven]
    best, off = np.zeros(len(uneven)), np.zeros(len(uneven))
    for angle in np.arange(_LINES) * np.pi / _LINES:
        for aside in _ASIDE:
            across = offset @ np.array([np.cos(angle), np.sin(angle)]) - aside
            apart = (np.abs(across) > _NEAR_LINE).astype(float)
            sides = np.minimum((apart * (across > 0)).sum(1), (apart * (across < 0)).sum(1))
            found, rest = _explained(np.concatenate([plane, np.sign(across)[..., None]], -1), near, apart)
            step = 2 * np.hypot(*found[:, 3].T)
            clear = np.where((sides >= 3) & (step > _STEP) & (rest < limit), step / np.sqrt(rest + 1e-12), 0)
            ends = np.stack([np.hypot(*(found[:, 0] + sign * found[:, 3]).T) for sign in (-1, 1)])
            alike = np.hypot(*near.T).T / np.maximum(step, 1e-12)[:, None] < _BETWEEN
            better = clear > best
            best = np.where(better, clear, best)
            off = np.where(better, (alike.mean(1) < _ALIKE) * ends.min(0) / np.maximum(step, 1e-12), off)
    out[wanted[uneven[(best > 1 / _LEFT) & (off > _BETWEEN)]]] = True
    return out


def _explained(design: Floats, moves: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """Coefficients (m, p, 2) of weighted fits to moves (m, k, 2), and the mean square of what they leave, (m,)."""
    weighted, n = (design * weight[..., None]).swapaxes(1, 2), design.shape[-1]
    # What could be a step as well as a slope is a step.
    ridge = np.full(n, 1e-6)
    ridge[1:3] = 0.02
    found = np.linalg.solve(weighted @ design + np.diag(ridge), weighted @ moves)
    rest = (weight * ((moves - design @ found) ** 2).sum(2)).sum(1) / 2
    return found, rest / np.maximum(weight.sum(1) - n, 1)


def _neighbours(positions: Floats, wanted: Ints, known: Ints, most: int = _NEAREST) -> tuple[Ints, Floats]:
    """Nearest known positions without the position itself: (m, k) indices and distances."""
    count = min(most, len(known) - 1)
    far, nearest = scipy.spatial.cKDTree(positions[known]).query(positions[wanted], k=range(1, count + 2))
    index = known[nearest]
    # The position itself need not come first: another one may coincide with it.
    own = index == wanted[:, None]
    own[~own.any(1), -1] = True
    others = ~own
    return index[others].reshape(len(wanted), count), far[others].reshape(len(wanted), count)


def _planes(offset: Floats, moves: Floats) -> tuple[Floats, Floats]:
    """Robust prediction at offset zero, (m, 2), and the standard deviation (m,) of a shift from it."""
    count = moves.shape[1]
    median = np.median(moves, axis=1)
    if count < _PLANE:
        spread = NMAD * np.median(np.abs(moves - median[:, None]), axis=1)
        return median, np.hypot(*spread.T) / np.sqrt(2) * np.sqrt(1 + 1.5 / count)
    design = np.concatenate([np.ones((*offset.shape[:2], 1)), offset], -1)
    off_plane = moves - median[:, None]
    for iteration in range(_PLANE_ROUNDS):
        length = np.hypot(off_plane[..., 0], off_plane[..., 1])
        spread = np.median(length, axis=1) / MEDIAN_RADIUS * (count / (count - 3) if iteration else 1)
        limit = TUKEY * np.maximum(spread, 1e-12 * (1 + np.abs(median).max(1)))[:, None]
        weight = biweight(length / limit, 1e-6)
        normal = np.einsum("nk,nki,nkj->nij", weight, design, design) + 1e-9 * np.eye(3)
        right = np.einsum("nk,nki,nkj->nij", weight, design, moves)
        plane = np.linalg.solve(normal, right)
        off_plane = moves - design @ plane
    length = np.hypot(off_plane[..., 0], off_plane[..., 1])
    spread = np.median(length, axis=1) / MEDIAN_RADIUS * count / (count - 3)
    leverage = np.linalg.inv(normal)[:, 0, 0]
    return plane[:, 0], spread * np.sqrt(1 + leverage)
