"""Scenes that repeat themselves: circles of irrigation, blocks of a town, orchards, fields of one size.

Windows of two such places agree about a shift, because every period of the pattern fits about as well as the next one,
and a search within less than a period does not show it. So periods are looked for in the edges of both images, since
brightness may differ from cell to cell, and an answer has to stand out among all of them.
"""

from __future__ import annotations

import numpy as np
from scipy import fft, ndimage
from scipy.special import ndtr

from xcoreg.core import Bools, Floats, Spectra
from xcoreg.core.quality import box_sum, smooth
from xcoreg.core.sampling import shrink

_LARGE = 192  # windows of at least this side, px, are halved
# Lags that are compared: beyond the main lobe, px, with at least this share of the pixels in common.
_LOBE, _COMMON = 4, 0.3
_SLOWEST = 6.0  # edges vary more slowly than this, cycles per window, without a pattern
# Second peak of the autocorrelation of edges from which on a scene repeats itself, and share of the highest one from
# which on a peak is a period, too. Without a pattern it stays below 0.2, mostly.
_REPEATS, _PERIODS = 0.2, 0.5
_FEWEST = 6  # peaks of a lattice, of which opposite ones are two; two fields alike make one pair
_SQUARE = 0.1  # four are one, too, if they are the corners of a square within this share: all that small windows show
_VALLEY, _ON_THE_WAY = 0.5, 25  # share of a peak that is reached before it, at one of so many lags on the way to it
_AS_WELL = 0.9  # another period fits the edges as well if it has more than this share of the correlation of the answer
# Few cells show no lattice: where one image has a period at all, another place fits as well if its shares of what
# edges and intensities correlate by at the answer, of intensities or of edges, have such a geometric mean; a better fit
# in both does so anyway. But where detail of a few pixels correlates by so much, and nowhere else by so large a share
# of it, there is none.
_OF_FEW, _DETAIL = (0.7, 0.8), (0.45, 0.45)
_OF_SEVERAL = 0.8  # of several windows, which show more cells, another place needs such a share of both
_SMOOTHED = 1.5  # px; so that a period which is no whole number of pixels fits as well as one that is
_CHANCE = 1e-4  # largest chance that cells of unrelated brightness correlate by so much better at the answer


def fits_elsewhere(
    tgt: Floats,
    ref: Floats,
    tgt_valid: Bools,
    ref_valid: Bools,
    /,
    *,
    by_edges: bool,
    move: Floats | None = None,
    limit: float = np.inf,
) -> bool:
    """Whether a scene repeats itself, and another place of its pattern fits about as well as the answer.

    tgt, ref, tgt_valid, ref_valid : (n, rows, cols); windows that are aligned by the answer, and where they are valid.
    move, limit : the answer (2,) along (col, row) and the largest correction that counts, px.
    """
    factor = 2 if min(tgt.shape[1:]) >= _LARGE else 1
    if factor > 1:
        (tgt, tgt_valid), (ref, ref_valid) = shrink(tgt, tgt_valid, factor), shrink(ref, ref_valid, factor)
    lags = _Lags(tgt.shape[1:])
    first = np.asarray(tgt_valid, np.float32)
    seen = [first, first if np.array_equal(tgt_valid, ref_valid) else np.asarray(ref_valid, np.float32)]
    images = list(zip((tgt, ref), seen, strict=True))
    within = lags.within(move, limit, factor)
    # Rows of a few pixels are too fine for edges. Most images repeat nothing: the other one is not asked then, but for
    # one window alone whose detail does not settle it.
    edges, fine = ([make(*images[0])] for make in (_edges, _fine))
    alike = [[lags.correlation(one, one, seen[0], seen[0])] for (one,) in (edges, fine)]
    quiet = all(one[~lags.near].max(initial=0) < _REPEATS for (one,) in alike)
    if quiet and len(tgt) > 1:
        return False
    fine.append(_fine(*images[1]))
    settled = lags.stands_out(lags.correlation(*fine, *seen), within)
    if quiet and settled:
        return False
    edges.append(_edges(*images[1]))
    for fields, found in zip((edges, fine), alike, strict=True):
        found.append(lags.correlation(fields[1], fields[1], seen[1], seen[1]))
    bands = [_band_pass(*one) for one in images]
    rivals = [lags.rival(lags.correlation(*both, *seen), within) for both in (edges, bands)]
    period = any(lags.periods(one).any() for found in alike for one in found)
    if not settled and _as_well(rivals, len(tgt), period=period, by_edges=by_edges):
        return True
    peaks = lags.periods(np.maximum(*(np.minimum(*found) for found in alike)))
    if int(peaks.sum()) < _FEWEST and not lags.square(peaks):
        return False
    fields = edges if by_edges else bands
    return _period_fits(lags, lags.correlation(*fields, *seen), peaks, within, tgt_valid & ref_valid, by_edges=by_edges)


def _period_fits(lags: _Lags, fit: Floats, peaks: Bools, within: Bools, seen: Bools, *, by_edges: bool) -> bool:
    """Whether a correlation is about as high at one of the peaks of a lattice as at the answer."""
    there = ndimage.binary_dilation(peaks, np.ones((3, 3))) & within
    if not there.any():
        return False
    here, other = (float(np.clip(fit[some].max(), 1e-3, 0.9999)) for some in (lags.near, there))
    if by_edges:
        return other > _AS_WELL * here
    # Fisher's z of as many independent numbers as there are cells, at the best of so many places.
    cells = float(seen.sum()) / float((lags.row**2 + lags.col**2)[peaks].min())
    better = (np.arctanh(here) - np.arctanh(other)) * np.sqrt(max(cells - 3, 0.0))
    return bool(int(peaks.sum()) * ndtr(-better) > _CHANCE)


def _as_well(rivals: list[float], n: int, *, period: bool, by_edges: bool) -> bool:
    """Whether a place with shares of the correlations of edges and of intensities fits n windows as well."""
    if n > 1:
        return period and min(rivals) > _OF_SEVERAL
    return min(rivals) > 1 or (period and bool(np.sqrt(np.minimum(rivals, 1).prod()) > _OF_FEW[by_edges]))


class _Lags:
    """Correlation of windows of one shape (rows, cols) at all lags, together, without wrapping around."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._shape = shape
        self._weights: dict[int, tuple[Floats, Spectra]] = {}  # held, so that no other array gets the same number
        self._common: dict[tuple[int, int], Floats] = {}
        self._wide = tuple(fft.next_fast_len(round((2 - _COMMON) * size), real=True) for size in shape)
        rows, cols = (np.fft.fftfreq(size, 1 / size) for size in self._wide)
        self.row, self.col = rows[:, None], cols[None, :]
        self.near = np.maximum(np.abs(self.row), np.abs(self.col)) <= _LOBE

    def within(self, move: Floats | None, limit: float, factor: int) -> Bools:
        """Lags at which a correction, px of pixels averaged by a factor, stays within a limit."""
        if move is None or not np.isfinite(limit):
            return np.ones(self.near.shape, bool)
        at = np.abs(self.col + move[0] / factor), np.abs(self.row + move[1] / factor)
        return np.asarray(np.maximum(*at) <= limit / factor)

    def correlation(self, one: Floats, two: Floats, weight: Floats, other: Floats) -> Floats:
        """Correlation (rows, cols) of `two` moved by a lag with `one`, all (n, ...); 0 where little is in common."""
        same = two is one
        fields, seen, again = self._modes(one), self._weight(weight), self._weight(other)
        both = self._sum(fields, fields if same else self._modes(two))
        pair = id(weight), id(other)
        if pair not in self._common:
            self._common[pair] = self._sum(seen, again) / weight[0].size / len(weight)
        common = self._common[pair]
        power = self._sum(self._modes(one * one), again)
        # An autocorrelation is symmetric: the power of the other part is that at the opposite lag.
        power = power * (np.roll(power[::-1, ::-1], 1, (0, 1)) if same else self._sum(seen, self._modes(two * two)))
        enough = common > _COMMON * common[0, 0]
        return np.where(enough, both / np.sqrt(np.maximum(power, 1e-12 * power.max() + 1e-30)), 0.0)

    def rival(self, fit: Floats, within: Bools) -> float:
        """Highest peak of a correlation at some lags beyond the main lobe and a valley, over that in the lobe."""
        return float(fit[self.periods(fit) & within].max(initial=0)) / max(float(fit[self.near].max()), 1e-3)

    def stands_out(self, fit: Floats, within: Bools) -> bool:
        """Whether detail correlates by much in the main lobe, and by far less at other lags."""
        return bool(fit[self.near].max() >= _DETAIL[0]) and self.rival(fit, within) <= _DETAIL[1]

    def periods(self, similar: Floats) -> Bools:
        """Peaks of an autocorrelation with a valley before them: along a coast or a road it falls without one."""
        tops = (similar == ndimage.maximum_filter(similar, 5, mode="wrap")) & (similar >= _REPEATS) & ~self.near
        row, col = np.nonzero(tops)
        path = np.linspace(0, 1, _ON_THE_WAY)[:, None]
        way = [np.rint(path * lag).astype(np.intp) for lag in (self.row[row, 0], self.col[0, col])]
        height = similar[row, col]
        deep = similar[way[0], way[1]].min(0) < _VALLEY * height
        tops[row, col] = deep & (height >= _PERIODS * height[deep].max(initial=0))
        return np.asarray(tops)

    def square(self, peaks: Bools) -> bool:
        """Whether peaks are four around the middle, at one distance and at right angles."""
        row, col = np.nonzero(peaks)
        # The corners of a square, as complex numbers, have one fourth power.
        power = (self.col[0, col] + 1j * self.row[row, 0]) ** 4
        return len(power) == 4 and bool((np.abs(power / power[0] - 1) <= 4 * _SQUARE).all())

    def _weight(self, weight: Floats) -> Spectra:
        """Modes of a weight, which several correlations share."""
        if id(weight) not in self._weights:
            self._weights[id(weight)] = weight, self._modes(weight)
        return self._weights[id(weight)][1]

    def _modes(self, images: Floats) -> Spectra:
        return np.asarray(fft.rfft2(images, self._wide, axes=(1, 2)))

    def _sum(self, one: Spectra, two: Spectra) -> Floats:
        return np.asarray(fft.irfft2((two * one.conj()).sum(0), self._wide), np.float64)


def _edges(image: Floats, weight: Floats) -> Floats:
    """Strength of edges (n, rows, cols), saturated, without slow variation, 0 where little is valid."""
    soft = _average(image, weight, 3)
    strength = np.hypot(np.gradient(soft, axis=1), np.gradient(soft, axis=2)) * weight
    strength /= np.maximum(strength + _average(strength, weight, 15), 1e-30)
    return np.asarray((strength - _average(strength, weight, round(min(image.shape[1:]) / _SLOWEST) | 1)) * weight)


def _fine(image: Floats, weight: Floats) -> Floats:
    """Intensities of detail of a few pixels."""
    return np.asarray((image - _average(image, weight, 5)) * weight)


def _average(image: Floats, weight: Floats, side: int) -> Floats:
    """Mean of the valid pixels of a square neighbourhood."""
    return np.asarray(box_sum(image * weight, side) / np.maximum(box_sum(weight, side), 1e-3))


def _band_pass(image: Floats, weight: Floats) -> Floats:
    """Intensities without slow variation, smoothed slightly."""
    image = image - _average(image, weight, round(min(image.shape[1:]) / 3) | 1)
    return smooth(image * weight, _SMOOTHED) * weight
