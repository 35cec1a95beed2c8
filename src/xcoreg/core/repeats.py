"""Repetitive patterns: other shifts at which two windows fit as well as at the one that was found."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from xcoreg.core.smooth import smooth
from xcoreg.core.spectrum import forward, inverse, taper
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


def repeats(ref: Floats, tgt: Floats, valid: Bools, move: Floats, limit: float) -> Floats:
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
    sharp = _sharpened(ref)
    lags = _periods(sharp, limit)
    out = np.zeros(len(ref))
    doubtful = np.flatnonzero(lags.any((1, 2)))
    if not doubtful.size:
        return out
    pair, weight = (sharp[doubtful], _sharpened(tgt[doubtful])), valid[doubtful].astype(np.float32)
    here = np.rint(move[doubtful]).astype(np.intp)
    best = np.abs(_fit(*pair, weight, here))
    for lag in np.concatenate([lags, -lags], axis=1)[doubtful].transpose(1, 0, 2):
        there = here + lag
        counts = lag.any(1) & (np.abs(there).max(1) <= limit)
        fit = np.where(counts, np.abs(_fit(*pair, weight, there)), 0)
        out[doubtful] = np.maximum(out[doubtful], fit / np.maximum(best, 1e-3))
    return np.clip(out, 0, 1)


def _periods(sharp: Floats, limit: float) -> NDArray[np.intp]:
    """Lags (n, k, 2) at which windows resemble themselves again; rows of zeros where there are fewer."""
    n, rows, cols = sharp.shape
    window = taper(rows, cols, 0.6)
    spectra = forward(sharp * window)
    own = inverse(spectra.real**2 + spectra.imag**2 + 0j, (rows, cols))
    shape = forward(window[None])
    common = inverse(shape.real**2 + shape.imag**2 + 0j, (rows, cols))[0]
    common = common / common[0, 0]
    again = own / np.maximum(own[:, :1, :1], 1e-30) / np.maximum(common, _COMMON)
    row, col = (np.abs(np.fft.fftfreq(size, 1 / size)) for size in (rows, cols))
    reachable = (common > _COMMON) & (np.maximum(row[:, None], col[None, :]) <= 2 * limit)
    away = np.maximum(row[:, None], col[None, :])[None] > _lobe(again)[:, None, None]
    again = np.where(reachable & away, again, 0)
    tops = (again == ndimage.maximum_filter(again, (0, 5, 5), mode="wrap")) & (again >= _AGAIN)
    # The shortest periods serve: longer ones are their multiples, and less of the windows overlaps there.
    nearness = np.where(tops, 1 / (1 + np.hypot(row[:, None], col[None, :])), 0).reshape(n, -1)
    best = np.argpartition(nearness, -2 * _PLACES, axis=1)[:, -2 * _PLACES :]
    at_row, at_col = np.unravel_index(best, (rows, cols))
    lags = np.stack([(at_col + cols // 2) % cols - cols // 2, (at_row + rows // 2) % rows - rows // 2], -1)
    return np.where((np.take_along_axis(nearness, best, 1) > 0)[:, :, None], lags, 0)


def _lobe(own: Floats) -> Floats:
    """Half width of the main lobe: beyond it the autocorrelation has fallen along both axes."""
    reach = min(own.shape[1:]) // 3
    sides = np.maximum(own[:, 0, 1:reach], own[:, 1:reach, 0])
    low = sides < 0.6 * _AGAIN
    return np.asarray(np.where(low.any(1), low.argmax(1) + 2, reach), np.float64)


def _sharpened(images: Floats) -> Floats:
    """Without what varies slowly, slightly smoothed so that a fraction of a pixel does not matter."""
    wide = max(2.0, min(images.shape[1:]) / 10)
    return np.asarray(smooth(images, 0.8) - smooth(images, wide))


def _fit(ref: Floats, tgt: Floats, valid: Floats, move: NDArray[np.intp]) -> Floats:
    """Correlation of the overlapping parts of windows at whole-pixel corrections."""
    cut, inside = recut(tgt, -move)
    weight = valid * recut(valid, -move)[0] * inside
    total = np.maximum(weight.sum((1, 2), keepdims=True), 1)
    a, b = (part - (part * weight).sum((1, 2), keepdims=True) / total for part in (ref, cut))
    both, own, other = ((weight * part).sum((1, 2), dtype=np.float64) for part in (a * b, a * a, b * b))
    return np.asarray(both / np.sqrt(np.maximum(own * other, 1e-30)))
