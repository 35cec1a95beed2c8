"""Weights, steps and covariances of the sub-pixel refinement.

Weights are constant along a ring of the Fourier plane, so the normal equations need only sums over rings of products of
residual and gradients. A step adds gradients to the residual: the sums after it follow from those before it, and steps
and weights are iterated without touching the pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from xcoreg.core import Floats, Spectra
from xcoreg.core.matches import symmetric
from xcoreg.core.phase import Modes, inverse, modes_for
from xcoreg.core.quality import Cells
from xcoreg.core.sampling import sum_blocks

# Smallest standard deviation of a shift, px, whatever the number of windows: the remaining effect of aliasing.
SYSTEMATIC = 4e-4
_ALIAS_FREE = 0.36  # radial frequency, cycles per pixel, above which aliasing is strong
# Estimating the power of scene and noise from the windows costs the information of so many modes.
SMALL_SAMPLE = 12.0
# Side of blocks of pixels that say on their own what the shift is, px, and what they say of even noise, relatively.
_BLOCK, _OF_NOISE = 8, 0.88
# Noise of blocks reaches beyond them, and wavelets lie on one lattice in both images: each unit of such a factor
# above 1 adds so much to it, unless windows are turned or stretched.
_BEYOND, _STRUCTURED, _NO_FIELD = 0.25, 12.0, (0.6, 0.8)
_COARSE = 8  # blocks along a side of a window that are as large as noise of wavelets and changes may be
# Windows are torn where a step explains so much of how their parts differ, and leaves so little of what a plane does;
# the variance of the shift in the middle is so much of that of the step.
_BY_STEP, _NO_PLANE, _OFF = 0.75, 1.0, 1.2
_PARTS = 4  # parts along a side of a window
# Differences are those of contrast from so many standard deviations.
_CONTRAST = 6.0
# Largest number of steps per linearisation, length that ends them, and largest sum of all of them, px.
_STEPS, _SHORT, _FARTHEST = 6, 1e-4, 0.5


@dataclass(frozen=True, eq=False)
class Products:
    """Sums over each ring of products of the residual ``r`` and the gradients ``x``, ``y``.

    table : (n, 7, n_rings) float64; ``rr, rx, ry, xx, xy, yy`` and the squared power of the gradients, ``(xx + yy)^2``.
    used : (n or 1, n_rings); share of the modes of each ring that are used; sums stand for all of them.
    """

    table: Floats
    used: Floats

    @classmethod
    def of(cls, residual: Spectra, slope_x: Spectra, slope_y: Spectra, modes: Modes, used: Floats) -> Products:
        """Products of modes (n, m), zero where they are not used."""
        xx, yy = _power(slope_x), _power(slope_y)
        both = xx + yy
        both *= both
        crosses = _inner(slope_x, residual), _inner(slope_y, residual), xx, _inner(slope_x, slope_y), yy, both
        return cls(np.stack([modes.sums(part) for part in (_power(residual), *crosses)], 1) / used[:, None], used)

    def lost(self, weight: Floats) -> Floats:
        """Factor (n,) by which variances grow for want of the modes that are not used."""
        slope = (self.table[:, 3] + self.table[:, 5]) * weight
        return np.asarray(slope.sum(1) / np.maximum((slope * self.used).sum(1), 1e-300))

    def residual_power(self, move: Floats) -> Floats:
        """Power of the residual after a step (n, 2)."""
        dx, dy = move.T
        factors = np.stack([np.ones_like(dx), 2 * dx, 2 * dy, dx * dx, 2 * dx * dy, dy * dy], 1)
        return np.asarray(np.maximum((factors[:, None] @ self.table[:, :6])[:, 0], 0))

    def weighted_sums(self, weight: Floats) -> Floats:
        """Weighted sums over all rings: weights (n, n_rings) to (n, 7)."""
        return np.asarray((self.table @ weight[:, :, None])[:, :, 0])


@dataclass(frozen=True, eq=False)
class Steps:
    """Result of the steps from one linearisation.

    move, last_step : (n, 2), (n,) float64; sum of all steps, and length of the last one, px.
    scene, noise, weight : (n, n_rings) float64; power of scene and noise and weight of each ring.
    normal : (n, 2, 2) float64; normal matrix without the contribution of noise.
    """

    move: Floats
    last_step: Floats
    scene: Floats
    noise: Floats
    weight: Floats
    normal: Floats


def take_steps(products: Products, modes: Modes) -> Steps:
    """Alternate Gauss-Newton steps and weights until the shift no longer changes."""
    n = len(products.table)
    move, last = np.zeros((n, 2)), np.full(n, np.inf)
    for _ in range(_STEPS):
        _, with_noise, normal, right = _equations(products, move, modes)
        # The right-hand side after a step is reduced by the normal matrix without noise. The matrix with noise is
        # solved: it shortens the steps where the windows have little in common, so that they do not diverge.
        step = np.nan_to_num(_solve(with_noise, right - np.einsum("nij,nj->ni", normal, move)))
        # Windows that have converged are not moved again: no result depends on the other windows of a batch.
        further = np.where((last < _SHORT)[:, None], move, np.clip(move + step, -_FARTHEST, _FARTHEST))
        last = np.where(last < _SHORT, last, np.hypot(*(further - move).T))
        move = further
        if (last < _SHORT).all():
            break
    (scene, noise, weight), _, normal, _ = _equations(products, move, modes)
    return Steps(move, last, scene, noise, weight, normal)


def _equations(products: Products, move: Floats, modes: Modes) -> tuple[tuple[Floats, ...], Floats, Floats, Floats]:
    """Powers of scene and noise and weights after a step; normal matrix with and without noise; right-hand side."""
    law = _power_law(modes.shape)
    slope = (products.table[:, 3] + products.table[:, 5]) * law.to_scene
    scene, noise = _powers(products.residual_power(move) * law.to_noise, slope, law)
    weight = law.band * scene / (noise * (2 * scene + noise))
    _, rx, ry, xx, xy, yy, _ = products.weighted_sums(weight).T
    with_noise = symmetric(xx, xy, yy)
    # Noise adds to the power of the gradients on every ring, by symmetry equally along both axes.
    added = np.vecdot(weight * noise, law.slopes / 4)[:, None, None] * np.eye(2)
    return (scene, noise, weight), with_noise, with_noise - added, -np.stack([rx, ry], -1)


def steps_taken(products: Products, last: Floats, modes: Modes) -> Steps:
    """Powers and weights where windows are, without a step."""
    here = np.zeros((len(last), 2))
    (scene, noise, weight), _, normal, _ = _equations(products, here, modes)
    return Steps(here, last, scene, noise, weight, normal)


def scene_products(products: Products, steps: Steps, modes: Modes) -> tuple[Floats, ...]:
    """Products of the residual after all steps and of the gradients without noise: rx, ry, xx, xy, yy (n, n_rings)."""
    _, rx, ry, xx, xy, yy, _ = products.table.swapaxes(0, 1)
    dx, dy = steps.move.T[:, :, None]
    # Noise of the gradients moves with them: as in `take_steps`, a step changes the products by the scene's share only.
    added = steps.noise * _power_law(modes.shape).slopes / 4
    xx, yy = xx - added, yy - added
    return rx + dx * xx + dy * xy, ry + dx * xy + dy * yy, xx, xy, yy


class _PowerLaw(NamedTuple):
    """Constants of each ring: band, weights and logarithm of frequency of the power law, factors of the powers."""

    band: Floats
    members: Floats
    log_f: Floats
    slopes: Floats
    to_scene: Floats
    to_noise: Floats
    share: Floats
    near: Floats


@lru_cache(maxsize=32)
def _power_law(shape: tuple[int, int]) -> _PowerLaw:
    modes = modes_for(*shape)
    band = np.exp(-((modes.centre / _ALIAS_FREE) ** 8))
    members = modes.count * band / (modes.count * band).sum()
    log_f = np.log(modes.centre + 0.02)
    log_f -= members @ log_f
    square = (2 * np.pi * modes.centre) ** 2
    near = np.eye(len(band)) + np.eye(len(band), k=1) + np.eye(len(band), k=-1)
    near[0, 0] = near[-1, -1] = 2
    share = members * log_f / (members @ log_f**2)
    near = near * modes.count / (near @ modes.count)[:, None]
    slopes = modes.count * square
    return _PowerLaw(band, members, log_f, slopes, 1 / slopes, 0.5 / modes.count, share, near.T)


def covariance(steps: Steps, products: Products, used: Floats, modes: Modes) -> tuple[Floats, Floats]:
    """Sandwich covariance (n, 2, 2) of the shift from the power of the residual, and effective number of modes (n,)."""
    used = np.maximum(used, 1 / (modes.shape[0] * modes.shape[1]))
    spectrum = steps.weight**2 * 2 * steps.noise / used[:, None]
    *_, xx, xy, yy, _ = products.weighted_sums(spectrum).T
    middle = symmetric(xx, xy, yy)
    support = used * (xx + yy) ** 2 / np.maximum(products.weighted_sums(spectrum**2)[:, 6], 1e-300)
    with np.errstate(all="ignore"):
        bread = _inverse(steps.normal)
        cov = bread @ middle @ bread
    cov *= (products.lost(steps.weight) * (1 + SMALL_SAMPLE / np.maximum(support, 1)))[:, None, None]
    cov = cov + SYSTEMATIC**2 * np.eye(2)
    bad = ~np.isfinite(cov).all((1, 2)) | (np.linalg.eigvalsh(np.nan_to_num(steps.normal))[:, 0] <= 0)
    cov[bad] = np.diag([np.inf, np.inf])
    return cov, support


def unevenness(cells: Cells) -> Floats:
    """How much more windows (n,) differ where they are rough than elsewhere: 1 where noise is the same everywhere."""
    difference, roughness = (
        part[:, 1:-1, 1:-1].reshape(len(part), -1) for part in (cells.mean_difference(), cells.roughness())
    )
    count = np.maximum((roughness > 0).sum(1), 1)
    both = np.vecdot(difference, roughness) * count
    return np.asarray(both / np.maximum(difference.sum(1) * roughness.sum(1), 1e-30))


def spread_of_blocks(
    mean: Spectra, residual: Spectra, slope_x: Spectra, slope_y: Spectra, steps: Steps, cov: Floats, modes: Modes
) -> Floats:
    """Factor (n,), 1 at least, by which blocks of pixels differ more in what they say about the shift than `cov` does.

    Noise that lies on the edges of the scene, of quantisation, wavelets or change, counts for more than its power.
    """
    weight = np.sqrt(modes.spread(np.maximum(steps.weight, 0)))
    planes = _without_contrast(mean, residual, modes), slope_x, slope_y
    images = [inverse(modes.plane(weight * part), modes.shape) for part in planes]
    scores = [images[0] * slope for slope in images[1:]]
    parts = [sum_blocks(score, _BLOCK) for score in scores]
    side = max(min(modes.shape) // _COARSE, _BLOCK)
    nested = side % _BLOCK == 0  # they are then blocks of blocks
    coarse = [sum_blocks(one, side // _BLOCK if nested else side) for one in (parts if nested else scores)]
    bread = _inverse(steps.normal) * modes.shape[0] * modes.shape[1]
    with np.errstate(all="ignore"):
        fine = np.maximum(_spread(parts, bread, cov), _spread(coarse, bread, cov)) / _OF_NOISE
        sums = [_sum_parts(part) for part in parts]
        own = [_sum_parts(sum_blocks(slope * slope, _BLOCK)) for slope in images[1:]]
        step, uneven = _torn(sums, own)
        torn = 1 + step / np.trace(cov, axis1=1, axis2=2)
    fine, torn = np.clip(np.nan_to_num(np.stack([fine, torn]), nan=1.0, posinf=1.0), 1, None)
    structure = np.clip(np.interp(uneven, _NO_FIELD, (0, 1)), 0, 1) * np.minimum(fine - 1, _STRUCTURED)
    return np.asarray(np.maximum(fine * (1 + _BEYOND * structure), torn))


def _torn(sums: list[Floats], own: list[Floats]) -> tuple[Floats, Floats]:
    """Variance (n,) of the shift in the middle of windows torn along a line; 0 where a plane explains their parts.

    And the share (n,) of how their parts differ that no plane explains.

    sums, own : what the parts (n, rows, cols) of a window say of the shift along columns and rows, and how surely.
    """
    plane, sides = _lines(*sums[0].shape[1:])
    left, total, steps = np.zeros(len(sums[0])), np.zeros(len(sums[0])), np.zeros((len(sums[0]), len(sides)))
    for score, surely in zip(sums, own, strict=True):
        shift = score.reshape(len(score), -1) / np.maximum(surely.reshape(len(surely), -1), 1e-30)
        weight = surely.reshape(len(surely), -1) / np.maximum(surely.sum((1, 2)), 1e-30)[:, None]
        shift -= (weight * shift).sum(1, keepdims=True)
        normal = (plane * weight[:, None]) @ plane.T + 1e-9 * np.eye(3)
        fitted = np.linalg.solve(normal, (plane @ (weight * shift)[:, :, None]))[:, :, 0] @ plane
        share = np.clip(weight @ sides.T, 1e-6, 1 - 1e-6)
        between = ((weight * shift) @ sides.T) ** 2 / (share * (1 - share))
        total += (weight * shift**2).sum(1)
        left += (weight * (shift - fitted) ** 2).sum(1)
        steps += between
    best = steps.max(1)
    torn = (best > _BY_STEP * total) & (total - best < _NO_PLANE * left)
    return np.where(torn, _OFF * best, 0), np.clip(np.nan_to_num(left / np.maximum(total, 1e-30)), 0, 1)


@lru_cache(maxsize=8)
def _lines(rows: int, cols: int) -> tuple[Floats, Floats]:
    """Plane (3, parts) and sides of lines (lines, parts), 0 or 1, through parts of a window in eight directions."""
    down, across = (one.ravel() for one in np.meshgrid(*(np.linspace(-1, 1, n) for n in (rows, cols)), indexing="ij"))
    angles = np.arange(8) * np.pi / 8
    along = np.cos(angles)[:, None] * across + np.sin(angles)[:, None] * down
    sides = np.concatenate([along > offset for offset in (-0.6, -0.3, 1e-9, 0.3, 0.6)])
    return np.stack([np.ones_like(across), across, down]), sides.astype(np.float64)


def _spread(parts: list[Floats], bread: Floats, cov: Floats) -> Floats:
    """Variance (n,) of the shift by how parts (n, rows, cols) differ, over that of the covariances (n, 2, 2)."""
    across, down = (part.reshape(len(part), -1) for part in parts)
    count = across.shape[1]
    across, down = (part - part.mean(1, keepdims=True) for part in (across, down))
    middle = symmetric(*(np.vecdot(a, b) for a, b in ((across, across), (across, down), (down, down))))
    spread = bread @ middle @ bread * count / max(count - 1, 1)
    return np.asarray(np.trace(spread, axis1=1, axis2=2) / np.trace(cov, axis1=1, axis2=2))


def _sum_parts(blocks: Floats) -> Floats:
    """Sum blocks (n, rows, cols) over the sixteen parts of a window."""
    rows, cols = (np.unique(np.arange(_PARTS) * size // _PARTS) for size in blocks.shape[1:])
    return np.asarray(np.add.reduceat(np.add.reduceat(blocks, rows, axis=1), cols, axis=2))


def _without_contrast(mean: Spectra, residual: Spectra, modes: Modes) -> Spectra:
    """Residual (n, m) without what a gain of each ring leaves in it: other optics differ at edges, but move none."""
    near = _power_law(modes.shape).near
    gain = (modes.sums(_inner(mean, residual)) @ near) / np.maximum(modes.sums(_power(mean)) @ near, 1e-30)
    return np.asarray(residual - modes.spread(gain) * mean)


def out_of_phase(mean: Spectra, residual: Spectra, steps: Steps, modes: Modes) -> Steps:
    """Count only the noise that turns phases, where images differ by their contrast at each frequency as well.

    Other optics or another gain change amplitudes, which no shift does: that is no noise of the shift.
    """
    across = residual.imag * mean.real
    across -= residual.real * mean.imag
    across *= across
    across /= np.maximum(_power(mean), 1e-30)
    turned, total = 2 * modes.sums(across), modes.sums(_power(residual))
    weight = steps.weight
    excess = (weight * (total - turned)).sum(1) / np.maximum((weight * total).sum(1), 1e-300)
    # Of noise alone half the power turns phases, as far as so many modes tell.
    many = (weight * modes.count).sum(1) ** 2 / np.maximum((weight**2 * modes.count).sum(1), 1e-300)
    other = excess > _CONTRAST / np.sqrt(np.maximum(many, 1))
    law = _power_law(modes.shape)
    _, noise = _powers(turned * law.to_noise, steps.scene, law)
    noise = np.where(other[:, None], np.minimum(noise, steps.noise), steps.noise)
    added = np.vecdot(steps.weight * (steps.noise - noise), law.slopes / 4)
    return replace(steps, noise=noise, normal=steps.normal + added[:, None, None] * np.eye(2))


def correlation_and_phase(mean: Spectra, residual: Spectra, steps: Steps, modes: Modes) -> tuple[Floats, Floats]:
    """Correlation (n,) over the informative band, and the shift (n, 2) that the phases alone would add."""
    scene, noise = steps.scene, steps.noise
    share = _power_law(modes.shape).band * scene / (scene + noise)
    white = share / np.maximum(scene + noise, 1e-30)
    quarter = _power(residual)
    quarter *= np.float32(0.25)
    # The windows are m + r / 2 and m - r / 2, with mean m and residual r.
    both = _power(mean)
    real, imag = both - quarter, residual.imag * mean.real - residual.real * mean.imag
    both += quarter
    common, total = modes.sums(real), modes.sums(both)
    imbalance = modes.sums(_inner(mean, residual))
    size = np.sqrt((white * (total + imbalance)).sum(1) * np.maximum((white * (total - imbalance)).sum(1), 0) + 1e-30)
    score = (white * common).sum(1) / size
    phase_weight = share**2 / np.maximum(1 - share**2, 0.02)
    sine = imag / np.maximum(np.sqrt(real * real + imag * imag), 1e-30)
    turn = 2 * np.pi
    normal = turn**2 * symmetric(*((phase_weight * part).sum(1) for part in modes.moments))
    right = turn * np.stack([(phase_weight * modes.sums(f * sine)).sum(1) for f in (modes.fx, modes.fy)], -1)
    return np.clip(score, -1, 1), -_solve(normal, right)


def _powers(power: Floats, slope: Floats, law: _PowerLaw) -> tuple[Floats, Floats]:
    """Power of scene and noise on every ring, (n, n_rings) each; noise follows a smooth power law."""
    power = np.maximum(power, 1e-9 * np.maximum(slope.max(1, keepdims=True), 1e-30))
    log_p = np.log(power)
    fit = np.vecdot(log_p, law.members)[:, None] + np.vecdot(log_p, law.share)[:, None] * law.log_f
    # Where changes (waves, clouds) exceed the power law, the measured power is used.
    noise = np.maximum(np.exp(fit), (power[:, None] @ law.near)[:, 0])
    return np.maximum(slope - noise / 2, 0), noise


def _power(spectra: Spectra) -> Floats:
    """Squared modulus."""
    return np.asarray(spectra.real**2 + spectra.imag**2)


def _inner(a: Spectra, b: Spectra) -> Floats:
    """Real part of ``a`` times the conjugate of ``b``."""
    return np.asarray(a.real * b.real + a.imag * b.imag)


def _solve(normal: Floats, right: Floats) -> Floats:
    """Solve 2 x 2 systems; NaN where singular."""
    return np.asarray(np.einsum("nij,nj->ni", _inverse(normal), right))


def _inverse(normal: Floats) -> Floats:
    det = normal[:, 0, 0] * normal[:, 1, 1] - normal[:, 0, 1] ** 2
    size = np.trace(normal, axis1=1, axis2=2) ** 2
    det = np.where(det > 1e-12 * size, det, np.nan)
    flipped = np.stack([normal[:, 1, 1], -normal[:, 0, 1], -normal[:, 0, 1], normal[:, 0, 0]], -1).reshape(-1, 2, 2)
    return np.asarray(flipped / det[:, None, None])
