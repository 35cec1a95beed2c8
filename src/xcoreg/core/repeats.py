"""Repetitive patterns: other shifts at which two windows fit as well as at the one that was found."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from xcoreg.core.smooth import smooth
from xcoreg.core.spectrum import forward, inverse, modes_for, taper
from xcoreg.core.subpixel import recut

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating]
    Bools = NDArray[np.bool_]

__all__ = ["repeats"]

# A window whose autocorrelation comes up to this again, away from zero, may repeat itself; so many places are tried.
_AGAIN, _PLACES = 0.5, 4
# Where the taper leaves less than this of the window in common, the autocorrelation is not trusted.
_COMMON = 0.15
# Share of each side of a window that is tapered, as for the phase correlation; smoothing in px.
_TAPERED, _SMOOTHED = 0.6, 0.8


def repeats(ref: Floats, tgt: Floats, valid: Bools, move: Floats, limit: float, power: Floats | None = None) -> Floats:
    """How well windows fit elsewhere, over how well they fit at the shift that was found.

    The taper of a phase correlation favours short shifts, so its peaks do not tell. Here the period is looked for in
    the autocorrelation of the reference, and plain correlation of what overlaps judges the shifts it leads to.

    Parameters
    ----------
    ref, tgt : (n, rows, cols) float32
        Windows, finite everywhere.
    valid : (n, rows, cols) bool
        Pixels that are valid in both.
    move : (n, 2) float
        Correction target -> reference that was found, px, along (col, row).
    limit : float
        Largest correction that counts as a rival, px.
    power : (n, m) float32, optional
        Power of the tapered reference on its modes, where it is known.

    Returns
    -------
    (n,) float64
        Near 1 in a repetitive pattern, 0 where nothing repeats itself.

    Examples
    --------
    >>> wave = np.cos(2 * np.pi * np.arange(64) / 16)
    >>> tiles = np.float32(wave[:, None] * wave[None, :])[None]
    >>> round(float(repeats(tiles, tiles, np.ones(tiles.shape, bool), np.zeros((1, 2)), 20)[0]), 3)
    1.0
    """
    if power is None:
        modes = modes_for(*ref.shape[1:])
        spectra = modes.take(forward(np.asarray(ref * taper(*ref.shape[1:], _TAPERED), np.float32)))
        power = spectra.real**2 + spectra.imag**2
    out = np.zeros(len(ref))
    doubtful, lags = _periods(power, ref.shape[1:], limit)
    if not doubtful.size:
        return out
    first, second = (_sharpened(image[doubtful]) for image in (ref, tgt))
    weight = valid[doubtful].astype(np.float32)
    here = np.rint(move[doubtful]).astype(np.intp)
    best = np.abs(_fit(first, second, weight, here))
    for lag in np.concatenate([lags, -lags], axis=1).transpose(1, 0, 2):
        there = here + lag
        counts = lag.any(1) & (np.abs(there).max(1) <= limit)
        if counts.any():
            fit = np.where(counts, np.abs(_fit(first, second, weight, there)), 0)
            out[doubtful] = np.maximum(out[doubtful], fit / np.maximum(best, 1e-3))
    return np.clip(out, 0, 1)


def _periods(power: Floats, shape: tuple[int, int], limit: float) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Windows (k,) that resemble themselves again, and at which lags (k, places, 2); zeros where there are fewer."""
    rows, cols = shape
    own = inverse(modes_for(*shape).plane((power * _sharpness(*shape)).astype(np.complex64)), shape)
    again = own * _uncommon(rows, cols, limit)
    enough = _AGAIN * np.maximum(own[:, 0, 0], 1e-30)
    width = _lobe(own / np.maximum(own[:, :1, :1], 1e-30)).astype(np.intp)
    # Both halves of an autocorrelation tell the same.
    half = again[:, : rows // 2 + 1]
    for one, w in zip(half, width, strict=True):
        one[: w + 1, : w + 1] = 0
        one[: w + 1, cols - w :] = 0
    doubtful = np.flatnonzero(half.max((1, 2)) >= enough)
    if not doubtful.size:
        return doubtful, np.zeros((0, _PLACES, 2), np.intp)
    return doubtful, _tops(half[doubtful], enough[doubtful], cols)


def _tops(again: Floats, enough: Floats, cols: int) -> NDArray[np.intp]:
    """Lags (n, places, 2) of the nearest peaks of half autocorrelations."""
    n = len(again)
    down, across = np.arange(again.shape[1])[:, None], np.abs(np.fft.fftfreq(cols, 1 / cols))[None, :]
    tops = (again == ndimage.maximum_filter(again, (0, 5, 5), mode="wrap")) & (again >= enough[:, None, None])
    # The shortest periods serve: longer ones are their multiples, and less of the windows overlaps there.
    nearness = np.where(tops, 1 / (1 + np.hypot(down, across)), 0).reshape(n, -1)
    best = np.argpartition(nearness, -_PLACES, axis=1)[:, -_PLACES:]
    at_row, at_col = np.divmod(best, cols)
    lags = np.stack([(at_col + cols // 2) % cols - cols // 2, at_row], -1)
    return np.where((np.take_along_axis(nearness, best, 1) > 0)[:, :, None], lags, 0)


@lru_cache(maxsize=32)
def _sharpness(rows: int, cols: int) -> Floats:
    """Squared response (m,) of what `_sharpened` does."""
    modes = modes_for(rows, cols)
    square = 2 * np.pi**2 * (modes.fx.astype(np.float64) ** 2 + modes.fy.astype(np.float64) ** 2)
    return ((np.exp(-square * _SMOOTHED**2) - np.exp(-square * _wide((rows, cols)) ** 2)) ** 2).astype(np.float32)


@lru_cache(maxsize=32)
def _uncommon(rows: int, cols: int, limit: float) -> Floats:
    """One over what the taper leaves in common at each lag; 0 where that is little, or farther than counts."""
    shape = forward(taper(rows, cols, _TAPERED)[None])
    common = inverse(shape.real**2 + shape.imag**2 + 0j, (rows, cols))[0]
    common = common / common[0, 0]
    row, col = (np.abs(np.fft.fftfreq(size, 1 / size)) for size in (rows, cols))
    reachable = (common > _COMMON) & (np.maximum(row[:, None], col[None, :]) <= 2 * limit)
    return np.where(reachable, 1 / np.maximum(common, _COMMON), 0).astype(np.float32)


def _lobe(own: Floats) -> Floats:
    """Half width of the main lobe: beyond it the autocorrelation has fallen along both axes."""
    reach = min(own.shape[1:]) // 3
    sides = np.maximum(own[:, 0, 1:reach], own[:, 1:reach, 0])
    low = sides < 0.6 * _AGAIN
    return np.asarray(np.where(low.any(1), low.argmax(1) + 2, reach), np.float64)


def _sharpened(images: Floats) -> Floats:
    """Without what varies slowly, slightly smoothed so that a fraction of a pixel does not matter."""
    return np.asarray(smooth(images, _SMOOTHED) - smooth(images, _wide(images.shape[1:])))


def _wide(shape: tuple[int, ...]) -> float:
    return max(2.0, min(shape) / 10)


def _fit(ref: Floats, tgt: Floats, valid: Floats, move: NDArray[np.intp]) -> Floats:
    """Correlation of the overlapping parts of windows at whole-pixel corrections."""
    cut, inside = recut(tgt, -move)
    weight = valid * recut(valid, -move)[0] * inside
    total = np.maximum(weight.sum((1, 2), keepdims=True), 1)
    a, b = (part - (part * weight).sum((1, 2), keepdims=True) / total for part in (ref, cut))
    both, own, other = ((weight * part).sum((1, 2), dtype=np.float64) for part in (a * b, a * a, b * b))
    return np.asarray(both / np.sqrt(np.maximum(own * other, 1e-30)))
