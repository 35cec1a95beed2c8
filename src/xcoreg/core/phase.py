"""Whole-pixel shifts by batched phase correlation over the band that carries signal.

The cross-power spectrum is whitened (Kuglin & Hines 1975; Foroosh et al. 2002, doi:10.1109/83.988953) only where both
images rise above their own noise floor: empty and aliased frequencies would drown the peak otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage
from scipy.special import log_ndtr

from xcoreg.core.smooth import smooth
from xcoreg.core.spectrum import Rings, forward, inverse, rings_for, taper

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating]
    Bools = NDArray[np.bool_]

__all__ = ["Peaks", "correlate", "fill_invalid", "surface"]

# Beyond this radial frequency a sampled image is mostly aliased.
_HIGHEST = 0.4
# Below one and a half cycles per window a taper alone makes spectra agree.
_LOWEST = 1.5
# Share of each side of a window that is tapered.
_TAPERED = 0.6
# The highest of many thousand values of a noise surface, in standard deviations.
_NOISE_PEAK = 4.0
# Troughs of reversed contrast are two or three times as deep as their side lobes; those of a chequered field are not.
_TROUGH = 1.2


@dataclass(frozen=True, eq=False)
class Peaks:
    """The highest peak of each correlation surface.

    Attributes
    ----------
    move : (n, 2) float64
        Correction target -> reference along (col, row), px, right to a fifth of a pixel or so.
    height : (n,) float64
        Height of the peak; 1 for a copy moved around, 0 for nothing in common, negative for reversed contrast.
    log10_chance : (n,) float64
        Decimal logarithm of the chance that images with nothing in common show so high a peak somewhere in the search.
    rival : (n,) float64
        The best of the other peaks, or the height that noise alone reaches, over the peak: 0..1.
    """

    move: Floats
    height: Floats
    log10_chance: Floats
    rival: Floats


def fill_invalid(images: Floats, valid: Bools) -> Floats:
    """Fill what is invalid with the smooth surroundings, so that no edge of a mask is a feature.

    Parameters
    ----------
    images : (n, rows, cols) float
        Any values, NaN included, where not valid.
    valid : (n, rows, cols) bool

    Returns
    -------
    (n, rows, cols) float32
        With the mean of the valid pixels taken away from each window; equal to that where valid.

    Examples
    --------
    >>> image = np.array([[[1.0, 2.0, np.nan, 4.0, 5.0]]])
    >>> fill_invalid(image, np.isfinite(image)).round(1).tolist()
    [[[-2.0, -1.0, 0.0, 1.0, 2.0]]]
    """
    count = np.maximum(valid.sum((1, 2), keepdims=True), 1)
    clean = np.where(valid, images, 0)
    mean = clean.sum((1, 2), keepdims=True, dtype=np.float64) / count
    centred = np.where(valid, clean - mean, 0).astype(np.float32)
    if valid.all():
        return centred
    missing = ~valid
    out = centred.copy()
    # From near to far: each wider neighbourhood fills only what the narrower ones could not reach.
    for sigma in (1.5, 6.0, 24.0):
        weight = smooth(valid.astype(np.float32), sigma)
        value = smooth(centred, sigma)
        reach = missing & (weight > 0.02)
        out[reach] = value[reach] / weight[reach]
        missing = missing & ~reach
        if not missing.any():
            break
    return out


def surface(ref: Floats, tgt: Floats, ref_valid: Bools, tgt_valid: Bools) -> Floats:
    """Phase-correlation surfaces of a batch of windows.

    Parameters
    ----------
    ref, tgt : (n, rows, cols) float32
        Windows on one grid.
    ref_valid, tgt_valid : (n, rows, cols) bool
        Pixels that are False carry no weight.

    Returns
    -------
    (n, rows, cols) float32
        Value at index (r, c) belongs to the correction (c, r), modulo the size of the window.

    Examples
    --------
    >>> scene = np.random.default_rng(0).standard_normal((1, 64, 64)).cumsum(1).cumsum(2)
    >>> ref, tgt, ok = scene[:, 4:36, 4:36], scene[:, 6:38, 3:35], np.ones((1, 32, 32), bool)
    >>> peak = surface(ref, tgt, ok, ok)[0].argmax()
    >>> [int(i) for i in np.unravel_index(peak, (32, 32))]  # rows +2, columns -1
    [2, 31]
    """
    shape = ref.shape[1:]
    rings = rings_for(*shape)
    window = _window(*shape)
    # What one image lacks is no use in the other, either: there it would only be noise.
    valid = ref_valid & tgt_valid
    spectra = [forward(_apodised(image, valid, window)) for image in (ref, tgt)]
    cross = spectra[0] * spectra[1].conj()
    powers = [rings.mean(spectrum.real**2 + spectrum.imag**2) for spectrum in spectra]
    weight = rings.spread(_informative(powers[0], rings) * _informative(powers[1], rings))
    weight = np.where(rings.radius * min(shape) < _LOWEST, 0, weight)
    size = np.abs(cross)
    whitened = cross * (weight / np.maximum(size, 1e-30))
    total = np.maximum((weight * rings.weight).sum((1, 2), keepdims=True), 1e-30) / (shape[0] * shape[1])
    return inverse(whitened / total, shape)


def correlate(
    ref: Floats, tgt: Floats, ref_valid: Bools, tgt_valid: Bools, *, max_shift: float, contrast: str = "same"
) -> Peaks:
    """Find the whole-pixel shift of each pair of windows.

    Parameters
    ----------
    ref, tgt, ref_valid, tgt_valid : (n, rows, cols)
        As for `surface`.
    max_shift : float
        Half the side of the square that is searched, px.
    contrast : {"same", "reversed", "any"}
        Whether what is bright in one image is bright in the other.

    Returns
    -------
    Peaks
    """
    heights = surface(ref, tgt, ref_valid, tgt_valid)
    sign = np.ones(len(heights), np.float32)
    near = _searched(heights.shape[1:], max_shift)
    if contrast == "reversed":
        sign = -sign
    elif contrast == "any":
        highest, lowest = heights[:, near].max(1), heights[:, near].min(1)
        sign = np.where(-lowest > highest, -1, 1).astype(np.float32)
    return _peaks(heights * sign[:, None, None], near, sign)


def _window(rows: int, cols: int) -> Floats:
    return taper(rows, cols, _TAPERED)


def _apodised(image: Floats, valid: Bools, window: Floats) -> Floats:
    """Fill, centre and taper."""
    filled = fill_invalid(image, valid) if not valid.all() else np.asarray(image, np.float32)
    weight = window * ndimage.uniform_filter(valid.astype(np.float32), (0, 5, 5)) if not valid.all() else window
    total = np.maximum(np.broadcast_to(weight, filled.shape).sum((1, 2), keepdims=True), 1e-6)
    mean = (filled * weight).sum((1, 2), keepdims=True) / total
    return np.asarray((filled - mean) * weight, np.float32)


def _informative(power: Floats, rings: Rings) -> Floats:
    """(n, n_rings) share of the power that stands above the window's own floor, 0..1."""
    band = (rings.centre < 0.5) & (rings.count > 0)
    smooth = ndimage.uniform_filter1d(power[:, band], 3, axis=1, mode="nearest")
    floor = np.maximum(smooth.min(1, keepdims=True), 1e-7 * power[:, band].max(1, keepdims=True))
    share = np.clip(1 - 1.2 * floor / np.maximum(power, 1e-30), 0, 1) ** 2
    return np.asarray(share * np.exp(-((rings.centre / _HIGHEST) ** 8)))


def _searched(shape: tuple[int, ...], max_shift: float) -> Bools:
    """Mask of the surface: corrections within ``max_shift`` on both axes."""
    rows, cols = (np.abs(np.fft.fftfreq(size, 1 / size)) for size in shape)
    return np.asarray((rows[:, None] <= max_shift) & (cols[None, :] <= max_shift))


def _peaks(heights: Floats, near: Bools, sign: Floats) -> Peaks:
    """Highest peak of each surface, how surprising it is, and its best rival."""
    n, rows, cols = heights.shape
    # The taper leaves less in common at larger lags, noise is lower there: peaks must be judged by it.
    level = heights / _noise_profile(rows, cols)
    inside = np.where(near, level, -np.inf).reshape(n, -1)
    best = inside.argmax(1)
    at_row, at_col = np.unravel_index(best, (rows, cols))
    peak = heights[np.arange(n), at_row, at_col]
    # The main lobe of a band-limited surface is as wide as its autocorrelation says; rivals lie outside.
    width = _lobe(heights, at_row, at_col)
    far_row = np.abs((np.arange(rows)[None] - at_row[:, None] + rows // 2) % rows - rows // 2)
    far_col = np.abs((np.arange(cols)[None] - at_col[:, None] + cols // 2) % cols - cols // 2)
    away = np.maximum(far_row[:, :, None], far_col[:, None, :]) > width[:, None, None]
    spread = np.sqrt(np.mean(np.where(away, level, 0) ** 2, axis=(1, 2)) / np.maximum(away.mean((1, 2)), 1e-6))
    top = inside[np.arange(n), best]
    rival = np.maximum(np.where(away & near, level, 0).max((1, 2)), _NOISE_PEAK * spread)
    z = top / np.maximum(spread, 1e-30)
    cells = max(float(near.sum()), 1.0)
    chance = np.minimum((log_ndtr(-z) + np.log(cells)) / np.log(10), 0)
    # A trough deeper than the peak is high means reversed contrast, and a peak that is but its side lobe.
    chance = np.where(-np.where(near, heights, np.inf).min((1, 2)) > _TROUGH * peak, 0.0, chance)
    move = np.stack(
        [
            (at_col + cols // 2) % cols - cols // 2 + _vertex(heights, at_row, at_col, 0, 1),
            (at_row + rows // 2) % rows - rows // 2 + _vertex(heights, at_row, at_col, 1, 0),
        ],
        -1,
    )
    return Peaks(move, peak * sign, chance, np.clip(rival / np.maximum(top, 1e-30), 0, 1))


@lru_cache(maxsize=32)
def _noise_profile(rows: int, cols: int) -> Floats:
    """Relative spread of the surface of unrelated windows at each lag."""
    power = _window(rows, cols).astype(np.float64) ** 2
    overlap = inverse(np.abs(forward(power[None])) ** 2 + 0j, (rows, cols))[0]
    return np.asarray(np.sqrt(np.clip(overlap / overlap.mean(), 1e-3, None)), np.float32)


def _vertex(heights: Floats, at_row: NDArray[np.intp], at_col: NDArray[np.intp], dr: int, dc: int) -> Floats:
    """Offset of the vertex of the parabola through the peak and its two neighbours, px."""
    n, rows, cols = heights.shape
    below, here, above = (
        heights[np.arange(n), (at_row + k * dr) % rows, (at_col + k * dc) % cols].astype(np.float64) for k in (-1, 0, 1)
    )
    bend = below - 2 * here + above
    return np.where(bend < 0, np.clip(0.5 * (below - above) / np.where(bend < 0, bend, -1), -0.5, 0.5), 0.0)


def _lobe(heights: Floats, at_row: NDArray[np.intp], at_col: NDArray[np.intp]) -> NDArray[np.intp]:
    """Half width (px) of the main lobe: where the surface beside the peak has first fallen below a tenth of it."""
    n, rows, cols = heights.shape
    reach = np.arange(1, min(rows, cols) // 4)
    index = np.arange(n)[:, None]
    sides = [
        heights[index, (at_row[:, None] + dr * reach) % rows, (at_col[:, None] + dc * reach) % cols]
        for dr, dc in ((0, 1), (0, -1), (1, 0), (-1, 0))
    ]
    low = np.max(sides, axis=0) < 0.1 * heights[np.arange(n), at_row, at_col][:, None]
    first = np.where(low.any(1), low.argmax(1), len(reach) - 1)
    return np.asarray(np.clip(reach[first] + 1, 3, None))
