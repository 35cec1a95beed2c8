"""Sub-pixel refinement to the Cramer-Rao bound, with a covariance that means what it says.

Both windows are read half the shift apart in opposite directions, so that interpolation treats them alike. Their mean
gives the gradients, their difference the residual; Gauss-Newton steps on the residual are weighted in the Fourier
plane by ``S / (N (2 S + N))``, the score of two noisy looks at one random scene (Knapp & Carter 1976,
doi:10.1109/TASSP.1976.1162830), where the power of scene ``S`` and noise ``N`` is measured on the windows themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from xcoreg.core.spectrum import Rings, forward, rings_for, taper
from xcoreg.core.subpixel import FourierShift, recut

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating]
    Bools = NDArray[np.bool_]

__all__ = ["SYSTEMATIC", "Refined", "refine"]

# Above this radial frequency (cycles per pixel) sampled images hold more of their neighbours' spectrum than is good.
_ALIAS_FREE = 0.36
# The ringing of a fractional shift at the window's edge, and of a mask's edge, is over after this many pixels.
_EDGE = 1
# Standard deviation (px) that no answer goes below, however many windows it rests on: what is left of aliasing.
SYSTEMATIC = 4e-4
# Pixels whose neighbourhood differs by this many times the usual energy have changed between the images.
_CHANGED = 4.0
# Passes over the data: each shrinks the error tenfold or better where noise is low. A step this short (px) is the last.
_LEAST_PASSES, _MOST_PASSES, _SETTLED = 2, 12, 1e-3


@dataclass(frozen=True, eq=False)
class Refined:
    """What the refinement says of n windows.

    Attributes
    ----------
    move : (n, 2) float64
        Correction target -> reference, px, along (col, row).
    cov : (n, 2, 2) float64
        Its covariance, px²; infinite where the windows say nothing.
    last_step : (n,) float64
        Length of the last step, px: not small where the iteration did not converge.
    score : (n,) float64
        Correlation of the aligned windows over the informative band, -1..1.
    phase : (n, 2) float64
        Answer from the phases alone minus the refined one, px.
    support : (n,) float64
        Effective number of Fourier modes that carry the answer.
    """

    move: Floats
    cov: Floats
    last_step: Floats
    score: Floats
    phase: Floats
    support: Floats


@dataclass(frozen=True, eq=False)
class _Look:
    """The two windows read at one estimate of the shift: residual, gradients, weights."""

    a: Floats
    b: Floats
    mask: Floats
    residual: NDArray[np.complexfloating]
    slope_x: NDArray[np.complexfloating]
    slope_y: NDArray[np.complexfloating]


def refine(ref: Floats, tgt: Floats, ref_valid: Bools, tgt_valid: Bools, start: Floats) -> Refined:
    """Refine shifts that are right to about half a pixel.

    Parameters
    ----------
    ref, tgt : (n, rows, cols) float32
        Windows on one grid, finite everywhere, any gain and offset.
    ref_valid, tgt_valid : (n, rows, cols) bool
        Pixels that are False carry no weight.
    start : (n, 2) float
        Correction target -> reference, px, along (col, row).

    Returns
    -------
    Refined

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> scene = ndimage.gaussian_filter(rng.standard_normal((1, 80, 80)), (0, 2, 2)).astype(np.float32)
    >>> ref, tgt, ok = scene[:, 8:72, 8:72], scene[:, 7:71, 9:73], np.ones((1, 64, 64), bool)
    >>> refine(ref, tgt, ok, ok, np.array([[0.8, -1.1]])).move.round(3).tolist()
    [[1.0, -1.0]]
    """
    rings = rings_for(*ref.shape[1:])
    whole = np.rint(start).astype(np.intp)
    rest: Floats = np.asarray(start, np.float64) - whole
    tgt_cut, inside = recut(tgt, -whole)
    seen = ref_valid & recut(tgt_valid, -whole)[0] & inside
    movers = FourierShift(ref), FourierShift(np.asarray(tgt_cut, np.float32))
    rest, mask = _settle(movers, rest, _interior(seen).astype(np.float32), rings)
    look = _look(movers, rest, mask)
    scene, noise = _powers(look, rings)
    weight, normal, extra, right = _normal_equations(look, rings, scene, noise)
    step = np.nan_to_num(_solve(normal + extra, right))
    cov, support = _covariance(look, rings, weight, noise, normal)
    score, phase = _confirm(look, rings, scene, noise)
    return Refined(whole + rest, cov, np.hypot(*step.T), score, phase, support)


def _settle(
    movers: tuple[FourierShift, FourierShift], rest: Floats, interior: Floats, rings: Rings
) -> tuple[Floats, Floats]:
    """Step until the shift stays; returns it with the weights of the pixels."""
    rest, mask = rest.copy(), interior.copy()
    active = np.arange(len(rest))
    for turn in range(_MOST_PASSES):
        look = _look((movers[0].take(active), movers[1].take(active)), rest[active], mask[active])
        _, normal, extra, right = _normal_equations(look, rings, *_powers(look, rings))
        # What noise adds to the normal matrix shortens the steps where little is common: they cannot run away.
        step = np.clip(np.nan_to_num(_solve(normal + extra, right)), -0.5, 0.5)
        rest[active] += step
        mask[active] = interior[active] * _unchanged(look)
        length = np.hypot(*step.T)
        active = active[(length > _SETTLED) | (turn < _LEAST_PASSES - 1)]
        if not active.size:
            break
    return rest, mask


def _interior(seen: Bools) -> Bools:
    """Drop the rim of the window and of its holes."""
    box = np.ones((1, 2 * _EDGE + 1, 2 * _EDGE + 1), bool)
    return seen if seen.shape[1] < 4 * _EDGE else np.asarray(ndimage.binary_erosion(seen, box, border_value=0))


def _look(movers: tuple[FourierShift, FourierShift], rest: Floats, mask: Floats) -> _Look:
    """Read both windows half the remaining shift apart, with equal mean and spread under the mask."""
    spectra = movers[0].spectrum(rest / 2), movers[1].spectrum(-rest / 2)
    total = np.maximum(mask.sum((1, 2), keepdims=True), 1)
    images, scales = [], []
    for mover, spectrum in zip(movers, spectra, strict=True):
        image = mover.image(spectrum)
        image = image - (mask * image).sum((1, 2), keepdims=True) / total
        scale = np.sqrt((mask * image * image).sum((1, 2), keepdims=True) / total)
        scales.append(np.where(scale > 0, scale, 1).astype(np.float32))
        images.append(image / scales[-1])
    mean = np.asarray((spectra[0] / scales[0] + spectra[1] / scales[1]) / 2, np.complex64)
    slopes = [forward(mask * slope) for slope in movers[0].slopes(mean)]
    return _Look(images[0], images[1], mask, forward(mask * (images[0] - images[1])), slopes[0], slopes[1])


def _unchanged(look: _Look) -> Floats:
    """Weight of every pixel: 1, less where the neighbourhood differs far more than elsewhere (clouds, crops, cars).

    What differs usually is measured where the scene has texture: calm water next to land would make all land suspect.
    """
    energy = look.mask * (look.a - look.b) ** 2
    box = (0, 5, 5)
    local = ndimage.uniform_filter(energy, box) / np.maximum(ndimage.uniform_filter(look.mask, box), 1e-3)
    mean = look.a + look.b
    rough = np.zeros_like(energy)
    rough[:, 1:, 1:] = np.diff(mean, axis=1)[:, :, 1:] ** 2 + np.diff(mean, axis=2)[:, 1:] ** 2
    rough = ndimage.uniform_filter(rough, box) * (look.mask > 0)
    usual = np.array(
        [_median(e[r >= np.median(r[r > 0])] if (r > 0).any() else e) for e, r in zip(local, rough, strict=True)]
    )
    limit = _CHANGED * np.maximum(usual, 1e-12)[:, None, None]
    return np.asarray(np.minimum(1, limit / np.maximum(local, 1e-12)), np.float32)


def _median(values: Floats) -> float:
    return float(np.median(values)) if values.size else 1.0


def _band(rings: Rings) -> Floats:
    """(n_rings,) weight that drops the aliased frequencies."""
    return np.asarray(np.exp(-((rings.centre / _ALIAS_FREE) ** 8)))


def _powers(look: _Look, rings: Rings) -> tuple[Floats, Floats]:
    """Power of scene and noise on every ring, (n, n_rings) each; the noise as a smooth power law."""
    members = rings.count * _band(rings)
    change = rings.mean(_power(look.residual)) / 2
    slope = rings.mean(_power(look.slope_x) + _power(look.slope_y)) / (2 * np.pi * rings.centre) ** 2
    change = np.maximum(change, 1e-9 * np.maximum(slope.max(1, keepdims=True), 1e-30))
    log_f = np.log(rings.centre + 0.02)
    basis = np.stack([np.ones_like(log_f), log_f - (members * log_f).sum() / members.sum()])
    fit = np.linalg.solve((basis * members) @ basis.T, (basis * members) @ np.log(change).T)
    # Where more has changed than the power law says (waves, clouds), what was seen there counts.
    seen = ndimage.uniform_filter1d(change * rings.count, 3, axis=1) / ndimage.uniform_filter1d(rings.count, 3)
    noise = np.maximum(np.exp(fit.T @ basis), seen)
    return np.maximum(slope - noise / 2, 0), noise


def _normal_equations(look: _Look, rings: Rings, scene: Floats, noise: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Weights, normal matrix, what noise added to it (taken out), and right-hand side."""
    best = _band(rings) * scene / (noise * (2 * scene + noise))
    weight = rings.spread(best) * rings.weight
    pairs = _products(look)
    normal = _symmetric([(weight * pair).sum((1, 2)) for pair in pairs])
    # Noise adds to the power of the gradients on every ring; by symmetry it adds equally along both axes.
    extra = (best * rings.count * (2 * np.pi * rings.centre) ** 2 * noise).sum(1)[:, None, None] / 4 * np.eye(2)
    right = [(weight * _inner(slope, look.residual)).sum((1, 2)) for slope in (look.slope_x, look.slope_y)]
    return weight, normal - extra, extra, -np.stack(right, -1).astype(np.float64)


def _covariance(look: _Look, rings: Rings, weight: Floats, noise: Floats, normal: Floats) -> tuple[Floats, Floats]:
    """Sandwich covariance: the residual's own power seen through the weighted gradients."""
    rows, cols = look.mask.shape[1:]
    used = np.maximum((look.mask**2).sum((1, 2)), 1)
    spectrum = weight**2 / rings.weight * rings.spread(2 * noise * (rows * cols / used)[:, None])
    parts = [(spectrum * pair).sum((1, 2)) for pair in _products(look)]
    middle = _symmetric(parts)
    carried = spectrum * (_power(look.slope_x) + _power(look.slope_y)) / rings.weight
    support = _square(_full(carried, rings)) / np.maximum(
        (rings.weight * carried.astype(np.float64) ** 2).sum((1, 2)), 1e-300
    )
    support = support * used / (rows * cols)
    with np.errstate(all="ignore"):
        bread = _inverse(normal)
        cov = bread @ middle @ bread
    cov = cov * (1 + _SMALL_SAMPLE / np.maximum(support, 1))[:, None, None] + SYSTEMATIC**2 * np.eye(2)
    bad = ~np.isfinite(cov).all((1, 2)) | (np.linalg.eigvalsh(np.nan_to_num(normal))[:, 0] <= 0)
    cov[bad] = np.diag([np.inf, np.inf])
    return cov, support


# Scene and noise power are measured on the windows themselves; this many modes' worth of certainty is lost by that.
_SMALL_SAMPLE = 12.0


def _confirm(look: _Look, rings: Rings, scene: Floats, noise: Floats) -> tuple[Floats, Floats]:
    """Correlation over the informative band, and what the phases alone would still add."""
    window = look.mask * taper(*look.mask.shape[1:], 0.25)
    first, second = forward(window * look.a), forward(window * look.b)
    share = _band(rings) * scene / (scene + noise)
    cross = first * second.conj()
    white = rings.spread(share / np.maximum(scene + noise, 1e-30)) * rings.weight
    score = (white * cross.real).sum((1, 2)) / np.sqrt(
        (white * _power(first)).sum((1, 2)) * (white * _power(second)).sum((1, 2)) + 1e-30
    )
    trust = rings.spread(share**2 / np.maximum(1 - share**2, 0.02)) * rings.weight
    sine = cross.imag / np.maximum(np.abs(cross), 1e-30)
    fx, fy = 2 * np.pi * rings.fx, 2 * np.pi * rings.fy
    normal = _symmetric([(trust * f).sum((1, 2)) for f in (fx * fx, fx * fy, fy * fy)])
    right = np.stack([(trust * f * sine).sum((1, 2)) for f in (fx, fy)], -1).astype(np.float64)
    return np.clip(score.astype(np.float64), -1, 1), -_solve(normal, right)


def _power(spectra: NDArray[np.complexfloating]) -> Floats:
    return spectra.real**2 + spectra.imag**2


def _inner(a: NDArray[np.complexfloating], b: NDArray[np.complexfloating]) -> Floats:
    return a.real * b.real + a.imag * b.imag


def _products(look: _Look) -> tuple[Floats, Floats, Floats]:
    return _power(look.slope_x), _inner(look.slope_x, look.slope_y), _power(look.slope_y)


def _symmetric(parts: list[Floats]) -> Floats:
    xx, xy, yy = (np.asarray(part, np.float64) for part in parts)
    return np.stack([np.stack([xx, xy], -1), np.stack([xy, yy], -1)], -2)


def _full(half: Floats, rings: Rings) -> Floats:
    return (half * rings.weight).astype(np.float64)


def _square(values: Floats) -> Floats:
    return np.asarray(values.sum((1, 2)) ** 2)


def _solve(normal: Floats, right: Floats) -> Floats:
    return np.asarray(np.einsum("nij,nj->ni", _inverse(normal), right))


def _inverse(normal: Floats) -> Floats:
    """Inverse of 2 x 2 matrices; NaN where singular."""
    det = normal[:, 0, 0] * normal[:, 1, 1] - normal[:, 0, 1] ** 2
    size = np.trace(normal, axis1=1, axis2=2) ** 2
    det = np.where(det > 1e-12 * size, det, np.nan)
    flipped = np.stack([normal[:, 1, 1], -normal[:, 0, 1], -normal[:, 0, 1], normal[:, 0, 0]], -1).reshape(-1, 2, 2)
    return np.asarray(flipped / det[:, None, None])
