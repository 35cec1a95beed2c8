"""Whole-pixel shifts of windows by batched phase correlation: surfaces, and their highest peaks.

The cross-power spectrum is whitened (Kuglin & Hines 1975; Foroosh et al. 2002, doi:10.1109/83.988953) only where both
images rise above their own noise floor: empty and aliased frequencies would drown the peak otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from scipy import ndimage
from scipy.special import log_ndtr

from xcoreg.core import Bools, Floats, Ints
from xcoreg.core.phase import Modes, forward, inverse, modes_for, taper
from xcoreg.core.quality import box_sum
from xcoreg.core.stripes import stripe_modes, striped_axes

_HIGHEST = 0.4  # radial frequency above which a sampled image is mostly aliased, cycles per pixel
_LOWEST = 1.5  # lowest radial frequency, cycles per window: below it the common taper makes spectra agree
_TAPERED = 0.6  # share of each side of a window that is tapered
_NOISE_PEAK = 4.0  # height of the highest peak that noise alone makes, in standard deviations of the surface
# A trough so many times as deep as the peak is high means reversed contrast, whose side lobes are two or three times
# lower than the trough; periodic fields stay below.
_TROUGH = 1.2


@dataclass(frozen=True, eq=False)
class Peaks:
    """The highest peak of each correlation surface, (n,) each.

    move : (n, 2); correction target -> reference along (col, row), px, accurate to about a fifth of a pixel.
    height : 1 for a cyclic copy, 0 for unrelated images, negative for reversed contrast.
    log10_chance : Decimal logarithm of the probability that unrelated images show so high a peak.
    rival : Second highest peak, or the height that noise alone reaches, over the peak: 0..1.
    power : (n, m); power of the tapered reference on the modes of :func:`xcoreg.core.phase.modes_for`.
    striped : (n, 2) bool; whether columns, or rows, of pixels of one window differ from their neighbours throughout.
    """

    move: Floats
    height: Floats
    log10_chance: Floats
    rival: Floats
    power: Floats
    striped: Bools


def surface(tgt: Floats, ref: Floats, tgt_valid: Bools, ref_valid: Bools) -> Floats:
    """Phase-correlation surfaces (n, rows, cols) of a batch of windows, all four (n, rows, cols)."""
    return _surface(tgt, ref, tgt_valid, ref_valid)[0]


def scaled_surface(tgt: Floats, ref: Floats, tgt_valid: Bools, ref_valid: Bools) -> Floats:
    """Sum (rows, cols) of the surfaces of a batch of windows, noise alike at all lags."""
    heights = _surface(tgt, ref, tgt_valid, ref_valid)[0].sum(0)
    return np.asarray(heights * _noise_scale(*heights.shape))


def correlate(
    tgt: Floats,
    ref: Floats,
    tgt_valid: Bools,
    ref_valid: Bools,
    *,
    max_shift: float,
    contrast: str = "same",
    stripes: Any = False,
) -> Peaks:
    """Find the whole-pixel shift of each pair of windows: tgt, ref, tgt_valid, ref_valid (n, rows, cols).

    stripes : (2,) bool; whether both images are known to have stripes along columns, and along rows.
    """
    heights, power, striped = _surface(tgt, ref, tgt_valid, ref_valid, stripes)
    sign = np.ones(len(heights), np.float32)
    down, across = (min(int(max_shift), (size - 1) // 2) for size in heights.shape[1:])
    if contrast == "reversed":
        sign = -sign
    elif contrast == "any":
        area = _search_area(heights, (down, across)).reshape(len(heights), -1)
        sign = np.where(-area.min(1) > area.max(1), -1, 1).astype(np.float32)
    if contrast != "same":
        heights *= sign[:, None, None]
    return highest_peaks(heights, (down, across), sign, power, striped)


def _surface(
    tgt: Floats, ref: Floats, tgt_valid: Bools, ref_valid: Bools, stripes: Any = False
) -> tuple[Floats, Floats, Bools]:
    """Correlation surfaces, the power of the reference on every mode, and whether one of the images has stripes."""
    shape = ref.shape[1:]
    modes, window = modes_for(*shape), taper(*shape, _TAPERED)
    # Pixels that are invalid in one image would only be noise in the other.
    valid = None if ref_valid.all() and tgt_valid.all() else ref_valid & tgt_valid
    spectra = [modes.take(forward(_apply_taper(image, valid, window))) for image in (ref, tgt)]
    powers = [spectrum.real**2 + spectrum.imag**2 for spectrum in spectra]
    means = [modes.sums(power) / modes.count for power in powers]
    shares = [_signal_share(mean, modes) for mean in means]
    images = (ref, ref_valid), (tgt, tgt_valid)
    striped = np.any([striped_axes(*one) for one in zip(images, powers, means, strict=True)], axis=0)
    striped |= stripes
    weight = shares[0] * shares[1]
    total = np.maximum((weight * _used_count(modes)).sum(1), 1e-30) / (shape[0] * shape[1])
    whitened = spectra[1].conj()
    whitened *= spectra[0]
    whitened *= modes.spread(weight / total[:, None]) / np.sqrt(np.maximum(powers[0] * powers[1], 1e-36))
    whitened[:, : modes.sizes[0]] *= _above_taper(modes)
    if striped.any():
        whitened[stripe_modes(striped, shape)] = 0
    return inverse(modes.plane(whitened), shape), powers[0], striped


def _above_taper(modes: Modes) -> Bools:
    """Modes of the first ring that are not correlated by the taper."""
    first = slice(0, int(modes.sizes[0]))
    return np.asarray(np.hypot(modes.fx[first], modes.fy[first]) * min(modes.shape) >= _LOWEST)


def _used_count(modes: Modes) -> Floats:
    """Count the frequencies of the whole plane that are used, (n_rings,)."""
    count = modes.count.copy()
    count[0] = 2 * _above_taper(modes).sum()
    return count


def _apply_taper(image: Floats, valid: Bools | None, window: Floats) -> Floats:
    """Centre and taper; invalid pixels next to valid ones get the mean of their neighbourhood."""
    n = len(image)
    if valid is None:
        out = np.asarray(image * window, np.float32)
        mean = out.reshape(n, -1).sum(1) / max(float(window.sum()), 1e-6)
        out -= mean[:, None, None] * window
        return out
    clean = np.where(valid, image, 0).astype(np.float32, copy=False)
    count = np.maximum(valid.reshape(n, -1).sum(1), 1).astype(np.float32)
    clean -= (clean.reshape(n, -1).sum(1) / count)[:, None, None]
    clean *= valid
    # Invalid pixels have the mean of their neighbourhood within two pixels of valid ones, and no weight farther away.
    weight = box_sum(valid.astype(np.float32), 5) / 25
    out = np.where(valid, weight * clean, box_sum(clean, 5) / 25)
    weight *= window
    out *= window
    mean = out.reshape(n, -1).sum(1) / np.maximum(weight.reshape(n, -1).sum(1), 1e-6)
    out -= mean[:, None, None] * weight
    return out


def _signal_share(power: Floats, modes: Modes) -> Floats:
    """Share of the power above the noise floor of the window, 0..1, (n, n_rings)."""
    smoothed = ndimage.uniform_filter1d(power, 3, axis=1, mode="nearest")
    floor = np.maximum(smoothed.min(1, keepdims=True), 1e-7 * power.max(1, keepdims=True))
    share = np.clip(1 - 1.2 * floor / np.maximum(power, 1e-30), 0, 1) ** 2
    return np.asarray(share * np.exp(-((modes.centre / _HIGHEST) ** 8)))


def _search_area(heights: Floats, reach: tuple[int, int]) -> Floats:
    """Lags within reach, (n, 2 reach + 1, 2 reach + 1), with lag zero in the middle."""
    down, across = reach
    out = np.empty((len(heights), 2 * down + 1, 2 * across + 1), heights.dtype)
    for quarter, piece in zip(_quarters(out, down, across), _quarters_of_plane(heights, reach), strict=True):
        quarter[:] = piece
    return out


def _quarters(centred: Floats, down: int, across: int) -> list[Floats]:
    rows, cols = (slice(down, None), slice(None, down)), (slice(across, None), slice(None, across))
    return [centred[:, r, c] for r in rows for c in cols]


def _quarters_of_plane(plane: Floats, reach: tuple[int, int]) -> list[Floats]:
    """View the lags within reach, which lie in the four corners of a surface."""
    sides = zip(reach, plane.shape[1:], strict=True)
    rows, cols = ((slice(None, lag + 1), slice(size - lag, None)) for lag, size in sides)
    return [plane[:, r, c] for r in rows for c in cols]


def highest_peaks(
    heights: Floats, reach: tuple[int, int], sign: Floats, power: Floats, striped: Bools | None = None
) -> Peaks:
    """Highest peak of each surface, its probability by chance, and the second highest one."""
    n, rows, cols = heights.shape
    # At larger lags less of the tapered windows overlaps and noise is lower: heights are scaled by it.
    scaled = heights * _noise_scale(rows, cols)
    area = _search_area(scaled, reach).reshape(n, -1)
    best = area.argmax(1)
    top = area[np.arange(n), best]
    at_row, at_col = np.divmod(best, 2 * reach[1] + 1)
    lag_row, lag_col = at_row - reach[0], at_col - reach[1]
    peak = heights[np.arange(n), lag_row, lag_col]
    # Other peaks are searched outside the main lobe.
    count = _erase(scaled, lag_row, lag_col, _lobe(heights, lag_row, lag_col))
    flat = scaled.reshape(n, -1)
    spread = np.sqrt(np.vecdot(flat, flat) / np.maximum(count, 1e-6 * rows * cols))
    others = np.max([quarter.max((1, 2), initial=0) for quarter in _quarters_of_plane(scaled, reach)], axis=0)
    trough = np.min([quarter.min((1, 2), initial=0) for quarter in _quarters_of_plane(heights, reach)], axis=0)
    z = top / np.maximum(spread, 1e-30)
    chance = np.minimum((log_ndtr(-z.astype(np.float64)) + np.log(area.shape[1])) / np.log(10), 0)
    # A trough deeper than the peak is high means reversed contrast: the peak is its side lobe.
    chance = np.where(-trough > _TROUGH * peak, 0.0, chance)
    rest_col, rest_row = _vertex(heights, lag_row, lag_col, 0, 1), _vertex(heights, lag_row, lag_col, 1, 0)
    move = np.stack([lag_col + rest_col, lag_row + rest_row], -1)
    rival = np.maximum(others, _NOISE_PEAK * spread) / np.maximum(top, 1e-30)
    striped = np.zeros((n, 2), bool) if striped is None else striped
    return Peaks(move, peak * sign, chance, np.clip(rival, 0, 1), power, striped)


def _erase(plane: Floats, row: Ints, col: Ints, width: Ints) -> Ints:
    """Set the square around a position of each periodic plane to zero; return the number of the other elements."""
    rows, cols = plane.shape[1:]
    for one, r, c, w in zip(plane, row, col, width, strict=True):
        for down in _spans(int(r) % rows, int(w), rows):
            for across in _spans(int(c) % cols, int(w), cols):
                one[down, across] = 0
    return np.asarray(rows * cols - np.minimum(2 * width + 1, rows) * np.minimum(2 * width + 1, cols))


def _spans(centre: int, width: int, size: int) -> list[slice]:
    """Slices of a periodic axis within ``width`` of a centre."""
    first, last = centre - width, centre + width + 1
    spans = [slice(max(first, 0), min(last, size))]
    if first < 0:
        spans.append(slice(size + first, size))
    if last > size:
        spans.append(slice(0, last - size))
    return spans


@lru_cache(maxsize=32)
def _noise_scale(rows: int, cols: int) -> Floats:
    """Reciprocal of the relative noise of the surface at each lag."""
    power = taper(rows, cols, _TAPERED).astype(np.float64) ** 2
    overlap = inverse(np.abs(forward(power[None])) ** 2 + 0j, (rows, cols))[0]
    return np.asarray(1 / np.sqrt(np.clip(overlap / overlap.mean(), 1e-3, None)), np.float32)


def _vertex(heights: Floats, at_row: Ints, at_col: Ints, dr: int, dc: int) -> Floats:
    """Offset of the vertex of the parabola through the peak and its two neighbours, px."""
    n, rows, cols = heights.shape
    below, here, above = (
        heights[np.arange(n), (at_row + k * dr) % rows, (at_col + k * dc) % cols].astype(np.float64) for k in (-1, 0, 1)
    )
    bend = below - 2 * here + above
    return np.where(bend < 0, np.clip(0.5 * (below - above) / np.where(bend < 0, bend, -1), -0.5, 0.5), 0.0)


def _lobe(heights: Floats, at_row: Ints, at_col: Ints) -> Ints:
    """Half width of the main lobe, px: distance at which the surface falls below a tenth of the peak."""
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
