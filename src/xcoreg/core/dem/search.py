"""Search for shifts that slopes cannot reach: masked normalised cross-correlation of slopes of averaged pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import fft

from xcoreg.core import Bools, Floats
from xcoreg.core.dem.acceptance import relief_of
from xcoreg.core.dem.observations import DemWindow, Samples, gradients

# Coarse pixels along the shorter side of a window, smallest share of a window in common, correlation that is believed.
_FINEST, _SHARE, _BELIEVED = 48, 0.15, 0.45
_ALIGNED, _CLIP = (
    0.55,
    4.0,
)  # slopes that correlate so well need no search; slopes are clipped at so many times the usual


@dataclass(frozen=True, eq=False)
class SearchArea:
    """Where a shift (dcol, drow) is searched, px: on each axis at most `reach` from `start`."""

    reach: float = np.inf
    start: Floats = field(default_factory=lambda: np.zeros(2))

    def is_beyond(self, move: Floats) -> bool:
        """Whether a shift lies outside."""
        return bool(np.abs(move - self.start).max() > self.reach)

    def coarser(self, factor: int) -> SearchArea:
        """Convert to a lattice of larger pixels."""
        return SearchArea(self.reach / factor, np.asarray(self.start / factor))


def search_shift(samples: Sequence[Samples], start: Floats, max_shift: float) -> Floats:
    """Find a start (dcol, drow), px, for models that do not agree at `start`; `start` where nothing agrees better."""
    windows = [one for one in samples if isinstance(one, DemWindow)]
    if not windows:
        return start
    factor = max(min(min(one.shape) for one in windows) // _FINEST, 1)
    before = relief_of(windows, start, factor).correlation
    if before > _ALIGNED or min(min(one.shape) for one in windows) < 2 * _CLIP * factor:
        return start
    surfaces = [_correlation(one.coarser(factor)) for one in windows if min(one.coarser(factor).shape) > 2 * _CLIP]
    shapes = {part.shape[1:] for part in surfaces}
    if len(shapes) != 1:
        return start
    product, first, second, count = np.sum(surfaces, axis=0)
    least = _SHARE * count.max()
    rows, cols = (np.fft.fftfreq(n, 1 / n) for n in count.shape)
    reach = np.maximum(np.abs(rows)[:, None], np.abs(cols)[None, :]) * factor <= max_shift + factor
    with np.errstate(invalid="ignore", divide="ignore"):
        score = np.where((count > least) & reach, product / np.sqrt(first * second), -1.0)
    best = np.unravel_index(int(np.nanargmax(score)), score.shape)
    if not score[best] > max(_BELIEVED, np.nan_to_num(before)):
        return start
    return np.asarray(np.array([cols[best[1]], rows[best[0]]]) * factor + np.asarray(windows[0].base))


def _correlation(one: DemWindow) -> Floats:
    """Correlate over all shifts: sums of products, of squares of either model, of pixels; -> (4, rows, cols)."""
    shape = tuple(fft.next_fast_len(2 * n, real=True) for n in one.shape)
    (ref, ref_ok), (tgt, tgt_ok) = _slopes(one.ref, one.ref_valid), _slopes(one.tgt, one.tgt_valid)
    waves = {"r": fft.rfft2(ref, shape), "t": fft.rfft2(tgt, shape)}
    squares = fft.rfft2((ref**2).sum(0), shape), fft.rfft2((tgt**2).sum(0), shape)
    masks = fft.rfft2(ref_ok.astype(np.float32), shape), fft.rfft2(tgt_ok.astype(np.float32), shape)
    parts = [(waves["r"] * waves["t"].conj()).sum(0), squares[0] * masks[1].conj(), masks[0] * squares[1].conj()]
    sums = [fft.irfft2(part, shape) for part in (*parts, masks[0] * masks[1].conj())]
    return np.stack([sums[0], *(np.maximum(part, 1e-9) for part in sums[1:3]), np.rint(sums[3])])


def _slopes(values: Floats, valid: Bools) -> tuple[Floats, Bools]:
    """Slopes (2, rows, cols) without their mean, clipped, 0 where unknown."""
    col, row, known = gradients(values, valid)
    if not known.any():
        return np.stack([col, row]) * 0, known
    both = np.stack([col - np.median(col[known]), row - np.median(row[known])])
    limit = _CLIP * float(np.median(np.abs(both[:, known]))) * 1.5
    return np.asarray(np.clip(both, -limit, limit) * known), known
