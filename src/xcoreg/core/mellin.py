"""A first guess of rotation, scale and shift between two coarse images, however large they are.

The magnitude of a spectrum does not change with a shift; in log-polar coordinates rotation and scale shift it
(Fourier-Mellin; Reddy & Chatterji 1996, doi:10.1109/83.506761). Here the spectra of edges, without their brightness,
give candidates; each is tried: the target is turned and scaled, and the channels of the structural matcher correlated.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import fft, ndimage

from xcoreg.core import Bools, Floats
from xcoreg.core.quality import smooth
from xcoreg.core.sampling import shrink
from xcoreg.core.structure import Side, channels, correlation_peaks

_ANGLES, _RADII = 360, 128  # bins of half a turn, and of the radius
_BAND = (0.02, 0.4)  # radial frequencies that are compared, cycles per pixel
_LARGEST = np.log(2.2)  # largest logarithm of the scale
_CANDIDATES = 12
_CLEAR, _GRID = -10.0, (36, 11)  # chance above which rotations and scales are tried everywhere, and their numbers
_STEPS = ((2.0, 0.03), (1.0, 0.015), (0.5, 0.008))  # of the climb to the best rotation, degrees, and scale
_CLIMB = 4  # steps of one length at most

_Pair = tuple[Floats, Bools, Floats, Bools]


@dataclass(frozen=True)
class Similarity:
    """Rotation (radians, from columns to rows), scale and shift (col, row) of pixels about the centres of two images.

    A target pixel at ``p`` from the centre lies at ``scale * turn(p, angle) + move`` from that of the reference.
    """

    angle: float
    scale: float
    move: tuple[float, float] = (0.0, 0.0)
    log10_chance: float = 0.0

    @property
    def matrix(self) -> Floats:
        """(2, 2) float64, on (col, row)."""
        c, s = self.scale * np.cos(self.angle), self.scale * np.sin(self.angle)
        return np.array([[c, -s], [s, c]])


def first_guess(tgt: Floats, ref: Floats, tgt_valid: Bools, ref_valid: Bools) -> Similarity:
    """Best similarity between two square images (size, size) of one pixel size, with the chance that it is an accident.

    The logarithm of the chance is that of the best candidate alone, plus that of their number.
    """
    pair = tgt, tgt_valid, ref, ref_valid
    half = _halved(pair)
    near, far = (Side.of(ref[None], valid[None]) for ref, valid in (pair[2:], half[2:]))
    found = [_try(*half[:2], far, one) for one in _candidates(*pair)]
    if min(one.log10_chance for one in found) > _CLEAR:
        found += [_try(*half[:2], far, one) for one in _everywhere()]
    best = _try(tgt, tgt_valid, near, min(found, key=lambda one: one.log10_chance))
    tried = len(found)
    for turn, grow in _STEPS:
        for _ in range(_CLIMB):
            steps = [
                replace(best, angle=best.angle + a * np.radians(turn), scale=best.scale * np.exp(b * grow))
                for a, b in ((1, 0), (-1, 0), (0, 1), (0, -1))
            ]
            better = min((_try(tgt, tgt_valid, near, one) for one in steps), key=lambda one: one.log10_chance)
            tried += len(steps)
            if better.log10_chance >= best.log10_chance:
                break
            best = better
    return replace(best, log10_chance=min(best.log10_chance + np.log10(tried), 0.0))


def _halved(pair: _Pair) -> _Pair:
    """Both images with pixels twice as large."""
    shrunk = [shrink(image[None], valid[None], (2, 2)) for image, valid in (pair[:2], pair[2:])]
    (one, seen), (other, known) = shrunk
    return one[0], seen[0], other[0], known[0]


def _everywhere() -> list[Similarity]:
    """Rotations and scales so close that one of them correlates, if any does."""
    grow = np.linspace(-_LARGEST, _LARGEST, _GRID[1])
    return [Similarity(turn, float(np.exp(one))) for turn in np.arange(_GRID[0]) * 2 * np.pi / _GRID[0] for one in grow]


def _candidates(tgt: Floats, tgt_valid: Bools, ref: Floats, ref_valid: Bools) -> list[Similarity]:
    """Rotations and scales at the highest peaks of the correlation of both log-polar spectra."""
    one, two = (_log_polar(image, valid) for image, valid in ((tgt, tgt_valid), (ref, ref_valid)))
    wide = (_ANGLES, 2 * _RADII)  # scales must not wrap around
    spectrum = fft.rfft2(two, wide) * fft.rfft2(one, wide).conj()
    heights = ndimage.gaussian_filter(fft.irfft2(spectrum, wide), 1.0, mode="wrap")
    step = np.log(_BAND[1] / _BAND[0]) / (_RADII - 1)
    lag = np.where(np.arange(2 * _RADII) < _RADII, np.arange(2 * _RADII), np.arange(2 * _RADII) - 2 * _RADII)
    heights = np.where(np.abs(lag * step) <= _LARGEST, heights, -np.inf)
    out = []
    for _ in range(_CANDIDATES):
        row, col = np.unravel_index(int(heights.argmax()), heights.shape)
        # A magnified image has a smaller spectrum.
        angle, scale = row * np.pi / _ANGLES, float(np.exp(-lag[col] * step))
        out += [Similarity(angle, scale), Similarity(angle + np.pi, scale)]
        near_row = np.abs((np.arange(_ANGLES) - row + _ANGLES // 2) % _ANGLES - _ANGLES // 2) <= 4
        near_col = np.abs(lag - lag[col]) <= 4
        heights[np.ix_(near_row, near_col)] = -np.inf
    return out


def _log_polar(image: Floats, valid: Bools) -> Floats:
    """Magnitude of the spectrum of the edges, whitened, at (angle, log radius), zero mean."""
    size = min(image.shape)
    (parts, weight) = channels(image[None], valid[None], 1.0)
    edges, seen = np.hypot(parts[0], parts[1]), weight * _round_taper(image.shape)
    edges = (edges - (edges * seen).sum() / max(seen.sum(), 1e-6)) * seen
    plane = np.abs(fft.fft2(edges[0]))
    angle = np.arange(_ANGLES) * np.pi / _ANGLES
    radius = np.geomspace(*_BAND, _RADII)
    fx, fy = radius * np.cos(angle[:, None]), radius * np.sin(angle[:, None])
    polar = ndimage.map_coordinates(
        np.log(plane + 1e-3 * plane.mean()), [fy * image.shape[0], fx * image.shape[1]], order=1, mode="grid-wrap"
    )
    # What depends on the radius alone is the same in any two images.
    polar -= polar.mean(0)
    polar -= smooth(polar[None], size / 16)[0]
    return np.asarray(polar * np.hanning(_RADII))


def _round_taper(shape: tuple[int, ...]) -> Floats:
    """Taper that is the same in all directions."""
    row, col = ((np.arange(size) - (size - 1) / 2) / (size / 2) for size in shape[-2:])
    return np.asarray(np.cos(np.pi / 2 * np.minimum(np.hypot(row[:, None], col), 1)) ** 2, np.float32)


def _try(tgt: Floats, tgt_valid: Bools, ref: Side, guess: Similarity) -> Similarity:
    """Turn and scale the target, and correlate it with the channels of the reference."""
    turned, valid = turn_image(tgt, tgt_valid, guess.matrix)
    peaks = correlation_peaks(Side.of(turned[None], valid[None]), ref)
    move = peaks.move[0]
    return replace(guess, move=(float(move[0]), float(move[1])), log10_chance=float(peaks.log10_chance[0]))


def turn_image(image: Floats, valid: Bools, matrix: Floats) -> tuple[Floats, Bools]:
    """Image (rows, cols) turned and scaled about its centre by a matrix on (col, row), on a grid of the same shape."""
    back = np.linalg.inv(matrix)[::-1, ::-1]
    middle = (np.array(image.shape) - 1) / 2
    how = {"matrix": back, "offset": middle - back @ middle, "mode": "constant", "cval": 0.0}
    # Averaged first where it shrinks.
    shrunk = np.sqrt(max(np.linalg.det(back), 1.0) - 1) * 0.5
    soft = smooth(np.where(valid, image, 0)[None].astype(np.float32), shrunk)[0] if shrunk > 0 else image
    out = ndimage.affine_transform(np.where(valid, soft, 0), order=1, **how)
    seen = ndimage.affine_transform(valid.astype(np.float32), order=1, **how)
    return np.asarray(out / np.maximum(seen, 0.5), np.float32), seen > 0.99
