"""Shifts that change with frequency: what both images owe to their pixels, not to the scene, drags fine detail along.

A fixed pattern, the blocks of a compression or an earlier interpolation pull fine detail towards the lattice of pixels
or away from it and leave coarse detail in place. Such a drift is fitted beside the shift, from the sums over rings that
the refinement has anyway, along two profiles: the share of a white pattern in the power of a ring, and the square of
frequency, as errors of interpolation grow. It counts by how much more it explains than noise would (empirical Bayes:
Efron & Morris 1973, doi:10.1080/01621459.1973.10481350), so that white noise stays at its bound.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from xcoreg.core import Floats
from xcoreg.core.phase import Modes
from xcoreg.core.weights import SMALL_SAMPLE, Products, Steps, scene_products

# A drift counts from so many times the variance that noise gives it, and not where it leaves the shift vaguer than so
# many px or so many times as vague as it is without.
_COUNTS, _NOISE, _VAGUE, _TIMES = 2.75, 1.75, 0.1, 6.0
_PATTERN = 0.3  # power of the scene, in units of noise, below which it is not known
_TOP = 0.36  # unit of frequency of the square profile, cycles per pixel
_UNEXPLAINED = 0.06  # share of a drift that is left: no pattern follows a profile exactly


class Drift(NamedTuple):
    """Step (n, 2), px, to the shift without drift, and its covariance (n, 2, 2)."""

    step: Floats
    cov: Floats


def without_drift(products: Products, steps: Steps, cov: Floats, support: Floats, modes: Modes) -> Drift:
    """Shift of coarse and fine detail alike; cov (n, 2, 2), support (n,): covariance without drift, number of modes."""
    system = _equations(products, steps, 1 + SMALL_SAMPLE / np.maximum(support, 1), modes)
    plain, pattern, square, both = (_solve(system, n) for n in ([0], [0, 1], [0, 2], [0, 1, 2]))
    first, second = (
        np.stack([_excess(*pattern, 1), _excess(*square, 1)]),
        np.stack([_excess(*both, 2), _excess(*both, 1)]),
    )
    pick = first.argmax(0)
    at = pick, np.arange(len(cov))
    step, wide = (np.stack([one[:, :2], two[:, :2]])[at] for one, two in zip(pattern, square, strict=True))
    wide = wide[:, :, :2]
    share, hidden = _counting(first[at])
    more, unseen = (part * (share > 0) for part in _counting(second[at]))
    step = step + more[:, None] * (both[0][:, :2] - step)
    wide = wide + (more + unseen)[:, None, None] * (both[1][:, :2, :2] - wide)
    size, before = (np.sqrt(np.maximum(np.trace(part, axis1=1, axis2=2), 0) / 2) for part in (wide, cov))
    short = np.nan_to_num(plain[0])
    with np.errstate(invalid="ignore"):
        known = (size < np.minimum(_VAGUE, _TIMES * before)) & np.isfinite(step).all(1) & np.isfinite(before)
        step = np.where(known[:, None], short + share[:, None] * (step - short), short)
        return Drift(step, np.where(known[:, None, None], cov + (share + hidden)[:, None, None] * (wide - cov), cov))


def left_over(total: Floats) -> Floats:
    """Covariance (n, 2, 2) of what drifts of some size (n, 2), px, leave unexplained."""
    return np.asarray((_UNEXPLAINED**2 * (total**2).sum(1) / 2)[:, None, None] * np.eye(2))


def _counting(excess: Floats) -> tuple[Floats, Floats]:
    """Share (n,) of a drift that counts, and share of its variance that may be there nevertheless."""
    excess = np.maximum(np.nan_to_num(excess), 1e-9)
    share = np.clip(1 - _COUNTS / excess, 0, 1)
    return share, (1 - share) ** 2 * np.clip(excess - _NOISE, 0, _COUNTS - _NOISE)


def _profiles(steps: Steps, modes: Modes) -> Floats:
    """Drift of every ring, (n, 3, n_rings): none, of a white pattern, of interpolation."""
    pattern = 1 / np.maximum(steps.scene, np.maximum(_PATTERN * steps.noise, 1e-30))
    pattern /= pattern.max(1, keepdims=True)
    square = np.broadcast_to((modes.centre / _TOP) ** 2, pattern.shape)
    return np.stack([np.ones_like(pattern), pattern, square], 1)


def _equations(products: Products, steps: Steps, spread: Floats, modes: Modes) -> tuple[Floats, Floats, Floats]:
    """Build normal matrices, covariances of right-hand sides (n, 6, 6) and these (n, 6): pairs of three profiles."""
    rx, ry, xx, xy, yy = scene_products(products, steps, modes)
    profiles = _profiles(steps, modes)
    weighted = profiles * steps.weight[:, None]
    right = -np.stack([(weighted * part[:, None]).sum(2) for part in (rx, ry)], -1)
    noise = 2 * steps.noise * steps.weight * spread[:, None]
    normal, middle = (
        _pairs(*(weighted @ (factor * part[:, None] * profiles).swapaxes(1, 2) for part in (xx, xy, yy)))
        for factor in (1.0, noise[:, None])
    )
    return normal, middle, right.reshape(len(right), -1)


def _pairs(xx: Floats, xy: Floats, yy: Floats) -> Floats:
    """Matrices (n, 6, 6) of pairs (x, y) from those (n, 3, 3) of profiles."""
    blocks = np.stack([np.stack([xx, xy], -1), np.stack([xy, yy], -1)], -2)  # (n, 3, 3, 2, 2)
    return blocks.swapaxes(2, 3).reshape(len(xx), 6, 6)


def _solve(system: tuple[Floats, Floats, Floats], profiles: list[int]) -> tuple[Floats, Floats]:
    """Solution (n, 2 k) with k of the profiles, and its sandwich covariance."""
    index = np.concatenate([(2 * k, 2 * k + 1) for k in profiles])
    normal, middle, right = system[0][:, index][:, :, index], system[1][:, index][:, :, index], system[2][:, index]
    scale = np.sqrt(np.abs(np.einsum("nii->ni", normal)))
    scale = 1 / np.where(scale > 0, scale, np.inf)
    both = scale[:, :, None] * scale[:, None]
    bread = both * np.linalg.inv(np.nan_to_num(normal * both) + 1e-9 * np.eye(len(index)))
    return np.einsum("nij,nj->ni", bread, right), bread @ middle @ bread


def _excess(solution: Floats, cov: Floats, profile: int) -> Floats:
    """Mean square (n,) of one drift's two components in standard deviations."""
    pair = slice(2 * profile, 2 * profile + 2)
    part, own = solution[:, pair], cov[:, pair, pair]
    det = own[:, 0, 0] * own[:, 1, 1] - own[:, 0, 1] ** 2
    size = own[:, 1, 1] * part[:, 0] ** 2 - 2 * own[:, 0, 1] * part[:, 0] * part[:, 1] + own[:, 0, 0] * part[:, 1] ** 2
    return np.asarray(np.where(det > 0, size / np.where(det > 0, det, 1), 0) / 2)
