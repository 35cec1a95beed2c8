"""The phase matcher: whole pixels by phase correlation, fractions by refinement, then checks of both.

One check looks for repetitive patterns: other shifts at which two windows correlate as well.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from xcoreg.core import Bools, Floats, Ints
from xcoreg.core.drift import NO_PATTERN, TOGETHER, Pattern
from xcoreg.core.matches import Matches, Status
from xcoreg.core.peaks import Peaks, correlate
from xcoreg.core.phase import FourierShift, cut_at_offset, forward, inverse, modes_for, taper
from xcoreg.core.quality import agreement, smooth, ssim, ssim_centred
from xcoreg.core.refine import Refined, refine
from xcoreg.core.stripes import remove_stripes

_Windows = tuple[Floats, Floats, Bools, Bools]
Codes = NDArray[np.int8]  # of statuses

# Height of a secondary autocorrelation peak that suggests a repetitive pattern; number of such peaks that are tried.
_PERIODIC, _PLACES = 0.5, 4
_COMMON = 0.15  # smallest overlap of tapered windows at which the autocorrelation is used
# Share of each side of a window that is tapered, as for the phase correlation; smoothing, px.
_TAPERED, _SMOOTHED = 0.6, 0.8


def rival_fit(
    tgt: Floats, ref: Floats, valid: Bools, move: Floats, limit: float, power: Floats | None = None
) -> Floats:
    """Correlation (n,) at the best other shift over that at the shift found, 0..1: high for repetitive patterns.

    The taper of a phase correlation favours short shifts, so its peaks cannot be compared. Periods are searched in the
    autocorrelation of the reference; the shifts they suggest are compared by correlation over the overlap.
    """
    if power is None:
        modes = modes_for(*ref.shape[1:])
        spectra = modes.take(forward(np.asarray(ref * taper(*ref.shape[1:], _TAPERED), np.float32)))
        power = spectra.real**2 + spectra.imag**2
    out = np.zeros(len(ref))
    suspects, lags = _periods(power, ref.shape[1:], limit)
    if not suspects.size:
        return out
    sharp_tgt, sharp_ref = (_band_pass(image[suspects]) for image in (tgt, ref))
    weight = valid[suspects].astype(np.float32)
    here = np.rint(move[suspects]).astype(np.intp)
    best = np.abs(_fit(sharp_tgt, sharp_ref, weight, here))
    for lag in np.concatenate([lags, -lags], axis=1).transpose(1, 0, 2):
        there = here + lag
        counts = lag.any(1) & (np.abs(there).max(1) <= limit)
        if counts.any():
            fit = np.where(counts, np.abs(_fit(sharp_tgt, sharp_ref, weight, there)), 0)
            out[suspects] = np.maximum(out[suspects], fit / np.maximum(best, 1e-3))
    return np.clip(out, 0, 1)


def _periods(power: Floats, shape: tuple[int, int], limit: float) -> tuple[Ints, Ints]:
    """Windows (k,) with secondary autocorrelation peaks, and their lags (k, peaks, 2), padded with zeros."""
    rows, cols = shape
    filtered = (power * _band_pass_response(*shape)).astype(np.complex64)
    autocorrelation = inverse(modes_for(*shape).plane(filtered), shape)
    rival = autocorrelation * _inverse_overlap(rows, cols, limit)
    enough = _PERIODIC * np.maximum(autocorrelation[:, 0, 0], 1e-30)
    width = _lobe(autocorrelation / np.maximum(autocorrelation[:, :1, :1], 1e-30)).astype(np.intp)
    # An autocorrelation is symmetric: one half is enough.
    half = rival[:, : rows // 2 + 1]
    for one, w in zip(half, width, strict=True):
        one[: w + 1, : w + 1] = 0
        one[: w + 1, cols - w :] = 0
    suspects = np.flatnonzero(half.max((1, 2)) >= enough)
    if not suspects.size:
        return suspects, np.zeros((0, _PLACES, 2), np.intp)
    return suspects, _nearest_peaks(half[suspects], enough[suspects], cols)


def _nearest_peaks(rival: Floats, enough: Floats, cols: int) -> Ints:
    """Lags (n, places, 2) of the nearest peaks of half autocorrelations."""
    n = len(rival)
    down, across = np.arange(rival.shape[1])[:, None], np.abs(np.fft.fftfreq(cols, 1 / cols))[None, :]
    tops = (rival == ndimage.maximum_filter(rival, (0, 5, 5), mode="wrap")) & (rival >= enough[:, None, None])
    # The shortest periods are enough: longer ones are their multiples, with less overlap.
    nearness = np.where(tops, 1 / (1 + np.hypot(down, across)), 0).reshape(n, -1)
    best = np.argpartition(nearness, -_PLACES, axis=1)[:, -_PLACES:]
    at_row, at_col = np.divmod(best, cols)
    lags = np.stack([(at_col + cols // 2) % cols - cols // 2, at_row], -1)
    return np.where((np.take_along_axis(nearness, best, 1) > 0)[:, :, None], lags, 0)


@lru_cache(maxsize=32)
def _band_pass_response(rows: int, cols: int) -> Floats:
    """Squared response (m,) of `_band_pass`."""
    modes = modes_for(rows, cols)
    square = 2 * np.pi**2 * (modes.fx.astype(np.float64) ** 2 + modes.fy.astype(np.float64) ** 2)
    return ((np.exp(-square * _SMOOTHED**2) - np.exp(-square * _wide((rows, cols)) ** 2)) ** 2).astype(np.float32)


@lru_cache(maxsize=32)
def _inverse_overlap(rows: int, cols: int, limit: float) -> Floats:
    """Reciprocal overlap of the tapered windows at each lag; 0 where it is small or the lag is too long."""
    shape = forward(taper(rows, cols, _TAPERED)[None])
    common = inverse(shape.real**2 + shape.imag**2 + 0j, (rows, cols))[0]
    common = common / common[0, 0]
    row, col = (np.abs(np.fft.fftfreq(size, 1 / size)) for size in (rows, cols))
    reachable = (common > _COMMON) & (np.maximum(row[:, None], col[None, :]) <= 2 * limit)
    return np.where(reachable, 1 / np.maximum(common, _COMMON), 0).astype(np.float32)


def _lobe(autocorrelation: Floats) -> Floats:
    """Half width of the main lobe of autocorrelations, px."""
    reach = min(autocorrelation.shape[1:]) // 3
    sides = np.maximum(autocorrelation[:, 0, 1:reach], autocorrelation[:, 1:reach, 0])
    low = sides < 0.6 * _PERIODIC
    return np.asarray(np.where(low.any(1), low.argmax(1) + 2, reach), np.float64)


def _band_pass(images: Floats) -> Floats:
    """Remove slow variation, and smooth slightly so that fractions of a pixel do not matter."""
    return np.asarray(smooth(images, _SMOOTHED) - smooth(images, _wide(images.shape[1:])))


def _wide(shape: tuple[int, ...]) -> float:
    return max(2.0, min(shape) / 10)


def _fit(tgt: Floats, ref: Floats, valid: Floats, move: Ints) -> Floats:
    """Correlation of the overlap of windows at whole-pixel corrections."""
    cut, inside = cut_at_offset(tgt, -move)
    weight = valid * cut_at_offset(valid, -move)[0] * inside
    total = np.maximum(weight.sum((1, 2), keepdims=True), 1)
    a, b = (part - (part * weight).sum((1, 2), keepdims=True) / total for part in (ref, cut))
    both, autocorrelation, other = ((weight * part).sum((1, 2), dtype=np.float64) for part in (a * b, a * a, b * b))
    return np.asarray(both / np.sqrt(np.maximum(autocorrelation * other, 1e-30)))


# Smallest number of pixels valid in both windows, and their share of the area.
_FEWEST_PIXELS, _LEAST_SHARE = 150, 0.08
_LEAST_SIDE = 8  # smallest side of a window, px
# Decimal logarithm of the largest probability that a peak is noise; calibrated on unrelated scenes.
_CHANCE = -3.0
_RIVAL = 0.75  # relative height of a second peak that makes a match ambiguous
_SAMPLED = 4  # texture is checked in one of so many pairs of rows
# Largest standard deviation of an accepted shift, px, and its smallest number of Fourier modes (a ramp has a few).
_LARGEST_SIGMA, _FEWEST_MODES = 0.5, 6.0
# Largest distance of the refined shift from the peak, and largest last step, px (or a fifth of its uncertainty).
_DRIFT, _LAST_STEP = 1.5, 0.01
_SPOTS = 4.0  # smallest effective number of the 64 parts of a window that agree
# Largest difference to the shift from the phases alone, px and standard deviations.
_CONTRADICTION, _CONTRADICTION_SIGMAS = 0.35, 5.0
# Largest drift of fine detail, px, and how vague one may leave the shift; drift from which pixels share a pattern.
_LARGEST_DRIFT, _VAGUE, _PATTERN = 0.6, 0.3, 0.03
_SCOUTED = 96  # least side of the central part of a window that is searched first, px
_FAR = 0.5  # shorter corrections need not improve the similarity, px
_BATCH_PIXELS = 1 << 19  # pixels of a batch: intermediate results stay in the processor's cache

# Columns of `Matches` that are NaN where a window has no data or texture.
_MEASURED = ("dcol", "drow", "score", "reliability", "ssim_before", "ssim_after", "phase_dcol", "phase_drow")


def phase_match(
    tgt: Floats,
    ref: Floats,
    tgt_valid: Bools,
    ref_valid: Bools,
    /,
    *,
    max_shift: float | None = None,
    contrast: str = "same",
    compare: bool = True,
    pattern: Pattern = NO_PATTERN,
) -> Matches:
    """Match a batch of windows to the Cramer-Rao bound.

    Parameters
    ----------
    tgt, ref : (n, rows, cols) float32
        Windows on one grid, any linear radiometry.
    tgt_valid, ref_valid : (n, rows, cols) bool
        Pixels that are False carry no weight.
    max_shift : float, optional
        Largest correction looked for on each axis, px; default two fifths of the window.
    contrast : {"same", "reversed", "any"}
        Whether what is bright in one image is bright in the other. "any" tries both signs.
    compare : bool
        Compute `ssim_before` of every window; otherwise only for long corrections, whose status depends on it.
    pattern : Pattern
        What both images are known to owe to their pixels, from larger windows; more is found in each window.

    Returns
    -------
    Matches
        Corrections target -> reference, px, with 2 x 2 covariances in px².

    Notes
    -----
    Rotation, scale and parallax within a window are not modelled.

    Examples
    --------
    >>> from scipy.ndimage import gaussian_filter
    >>> scene = gaussian_filter(np.random.default_rng(1).standard_normal((1, 80, 80)), (0, 1, 1)).astype(np.float32)
    >>> tgt, ref, ok = scene[:, 6:70, 11:75], scene[:, 8:72, 8:72], np.ones((1, 64, 64), bool)
    >>> m = phase_match(tgt, ref, ok, ok)
    >>> m.dcol.round(2).tolist(), m.drow.round(2).tolist(), m.ok.tolist()
    ([3.0], [-2.0], [True])
    """
    limit = search_reach(ref.shape, max_shift)
    cuts = batches(ref.shape)
    how = _How(limit, contrast, compare, pattern)
    return Matches.concatenate(
        [_match_batch((tgt[cut], ref[cut], tgt_valid[cut], ref_valid[cut]), how) for cut in cuts]
    )


class _How(NamedTuple):
    """How far windows are searched, px, the sign of their contrast, what is compared, and their known pattern."""

    limit: float
    contrast: str
    compare: bool
    pattern: Pattern


def _match_batch(windows: _Windows, how: _How) -> Matches:
    """Match windows of one batch; those without data or texture are left out."""
    tgt_valid, ref_valid = windows[2:]
    (tgt, ref), status = prepare(*windows)
    columns: dict[str, NDArray[np.float64]] = {name: np.full(len(ref), np.nan) for name in _MEASURED}
    middle = {name: np.zeros(len(ref)) for name in ("middle_col", "middle_row")}
    columns |= {"cov": np.full((len(ref), 2, 2), np.nan), "pattern": np.zeros((len(ref), 3)), **middle}
    columns["drift"] = np.zeros((len(ref), 27))
    whole = tgt_valid.all((1, 2)) & ref_valid.all((1, 2))
    # Windows with and without invalid pixels take different paths; matched apart, neither depends on the other.
    for use in (np.flatnonzero((status == Status.OK) & kind) for kind in (whole, ~whole)):
        if use.size:
            # A whole batch is not copied.
            one = slice(None) if use.size == len(ref) else use
            chosen = tgt[one], ref[one], tgt_valid[one], ref_valid[one]
            status[use], found = _match_usable(chosen, how)
            for name, values in found.items():
                columns[name][use] = values
    return Matches(status=status, **columns)


def _match_usable(windows: _Windows, how: _How) -> tuple[Codes, dict[str, Floats]]:
    """Status and columns of the result for centred windows; a target of reversed contrast is negated, in place."""
    tgt, ref, tgt_valid, ref_valid = windows
    limit = how.limit
    peaks = correlate(*windows, max_shift=limit, contrast=how.contrast, stripes=how.pattern.stripes)
    tgt[peaks.height < 0] *= -1
    for image, seen in ((tgt, tgt_valid), (ref, ref_valid)):
        remove_stripes(image, seen, peaks.striped)
    refined = refine(*windows, peaks.move, ~(peaks.log10_chance < _CHANCE), peaks.striped, how.pattern)
    valid = ref_valid & tgt_valid
    before = np.full(len(ref), np.nan)
    asked = np.flatnonzero(how.compare | (np.abs(refined.move).max(1) > _FAR))
    if asked.size:
        before[asked] = ssim_centred(ref[asked], tgt[asked], valid[asked])
    aligned = refined.aligned
    after, parts, middle = agreement(aligned.ref, aligned.tgt, aligned.full, aligned.cells)
    rival = rival_fit(tgt, ref, valid, refined.move, limit, peaks.power)
    shared = (how.pattern.drifts > 0) | peaks.striped.any(1) | (np.hypot(*refined.drift.T) > _PATTERN)
    checks = _statuses(peaks, refined, rival, (before, after), limit, shared)
    one_spot = parts < _SPOTS * np.minimum(1, 2 * (aligned.weight > 0).mean((1, 2)))
    status = np.where((checks == Status.OK) & one_spot, np.int8(Status.FLAT), checks)
    found = {"cov": refined.cov, "score": refined.score, "reliability": 100 * (1 - peaks.rival)}
    found |= {"ssim_before": before, "ssim_after": after}
    dragged = np.maximum(refined.dragged, TOGETHER * how.pattern.drifts)
    found |= {"pattern": np.column_stack([dragged, peaks.striped]), "drift": refined.evidence}
    for name, pair in (("d", refined.move), ("phase_d", refined.phase), ("middle_", middle)):
        found |= {f"{name}col": pair[:, 0], f"{name}row": pair[:, 1]}
    return status, found


def prepare(tgt: Floats, ref: Floats, tgt_valid: Bools, ref_valid: Bools) -> tuple[tuple[Floats, Floats], Codes]:
    """Centre both windows, zero where invalid; status NO_DATA or FLAT without enough pixels or texture."""
    status = np.zeros(len(ref), np.int8)
    clean = []
    for image, valid in ((tgt, tgt_valid), (ref, ref_valid)):
        centred, largest = _centre(image, valid)
        status[~_textured(centred, valid, largest)] = Status.FLAT
        clean.append(centred)
    shared = (ref_valid & tgt_valid).reshape(len(ref), -1).sum(1)
    least = max(_FEWEST_PIXELS, _LEAST_SHARE * ref.shape[1] * ref.shape[2])
    status[shared < least] = Status.NO_DATA
    if min(ref.shape[1:]) < _LEAST_SIDE:
        status[:] = Status.NO_DATA
    return (clean[0], clean[1]), status


def _centre(image: Floats, valid: Bools) -> tuple[Floats, Floats]:
    """Subtract the mean, zero where invalid; the largest absolute value in a sample of the rows."""
    n = len(image)
    whole = bool(valid.all())
    out = np.asarray(image, np.float32) if whole else np.where(valid, image, 0).astype(np.float32, copy=False)
    chosen = out[:, ::_SAMPLED].reshape(n, -1)
    largest = np.maximum(chosen.max(1), -chosen.min(1))
    count = np.maximum(valid.reshape(n, -1).sum(1), 1).astype(np.float32)
    mean = out.reshape(n, -1).sum(1) / count
    out = out - mean[:, None, None]
    if not whole:
        out *= valid
    return out, largest


def _textured(centred: Floats, valid: Bools, largest: Floats) -> Bools:
    """Windows in which more than a hundredth of the pixels differ from their neighbours by more than rounding."""
    pairs = centred.shape[1] // _SAMPLED
    here, above = (centred[:, k::_SAMPLED][:, :pairs] for k in (1, 0))
    roughness = np.abs(np.diff(here, axis=2))
    roughness += np.abs(here[:, :, 1:] - above[:, :, 1:])
    changes = roughness > (1e-6 * largest)[:, None, None]
    if not valid.all():
        seen, over = (valid[:, k::_SAMPLED][:, :pairs] for k in (1, 0))
        changes &= seen[:, :, 1:] & seen[:, :, :-1] & over[:, :, 1:]
    return np.asarray(changes.reshape(len(centred), -1).sum(1) > 0.01 * changes[0].size)


def similarity_after(tgt: Floats, ref: Floats, tgt_valid: Bools, ref_valid: Bools, move: Floats) -> Floats:
    """Structural similarity (n,) of windows (n, rows, cols) after correcting the target by moves (n, 2)."""
    whole = np.rint(move).astype(np.intp)
    cut, inside = cut_at_offset(tgt, -whole)
    mover = FourierShift(np.asarray(cut, np.float32))
    shared = ref_valid & cut_at_offset(tgt_valid, -whole)[0] & inside
    return ssim(ref, mover.image(mover.spectrum(whole - move)), np.asarray(shared, bool))


def phase_scout(
    tgt: Floats,
    ref: Floats,
    tgt_valid: Bools,
    ref_valid: Bools,
    /,
    *,
    max_shift: float | None = None,
    contrast: str = "same",
    side: int | None = None,
) -> Floats:
    """Whole-pixel corrections (n, 2) by phase correlation, 0 where the peak is not significant: a fast first look.

    `side` limits it to the central part of the windows; that of large ones comes first where all of a window may count.
    """

    def peaks(windows: _Windows, *, rivals: bool) -> Floats:
        return phase_peaks(*windows, max_shift=max_shift, contrast=contrast, rivals=rivals)

    windows, small = (tgt, ref, tgt_valid, ref_valid), min(ref.shape[1:]) // 2 if side is None else side
    if side is None and small < _SCOUTED:
        return np.nan_to_num(np.rint(peaks(windows, rivals=True)))
    rows, cols = (slice((size - small) // 2, (size + small) // 2) for size in ref.shape[1:])
    inner = tgt[:, rows, cols], ref[:, rows, cols], tgt_valid[:, rows, cols], ref_valid[:, rows, cols]
    moves = peaks(inner, rivals=side is not None)
    again = np.flatnonzero(np.isnan(moves[:, 0])) if side is None else np.empty(0, np.intp)
    if again.size:
        moves[again] = peaks((tgt[again], ref[again], tgt_valid[again], ref_valid[again]), rivals=True)
    return np.nan_to_num(np.rint(moves))


def phase_peaks(
    tgt: Floats,
    ref: Floats,
    tgt_valid: Bools,
    ref_valid: Bools,
    /,
    *,
    max_shift: float | None = None,
    contrast: str = "same",
    rivals: bool = False,
) -> Floats:
    """Corrections (n, 2) by the peak of the phase correlation alone, accurate to a fifth of a pixel.

    NaN where the peak is not significant, or has a rival and `rivals` are not let pass.
    """
    limit = search_reach(ref.shape, max_shift)
    out = np.full((len(ref), 2), np.nan)
    for cut in batches(ref.shape):
        valid = tgt_valid[cut], ref_valid[cut]
        clean, status = prepare(tgt[cut], ref[cut], *valid)
        use = np.flatnonzero(status == Status.OK)
        if use.size:
            chosen = [part[use] for part in (*clean, *valid)] if use.size < len(status) else [*clean, *valid]
            peaks = correlate(*chosen, max_shift=limit, contrast=contrast)
            sure = (peaks.log10_chance < _CHANCE) & (rivals | (peaks.rival <= _RIVAL))
            out[cut.start + use] = np.where(sure[:, None], peaks.move, np.nan)
    return out


def search_reach(shape: tuple[int, ...], max_shift: float | None) -> float:
    """Largest correction on each axis that windows (n, rows, cols) are searched for, px."""
    side = min(shape[1:])
    return 0.4 * side if max_shift is None else min(max_shift, 0.5 * side - 1)


def batches(shape: tuple[int, ...]) -> list[slice]:
    """Split windows into batches that fit into the processor's cache, of two at least."""
    size = max(2, _BATCH_PIXELS // max(shape[1] * shape[2], 1))
    return [slice(i, i + size) for i in range(0, shape[0], size)]


def _statuses(
    peaks: Peaks, refined: Refined, rival: Floats, similarity: tuple[Floats, Floats], limit: float, shared: Bools
) -> Codes:
    """Status of each window: the first check that fails, the most serious ones first.

    shared : (n,); whether images share a pattern of their pixels: they look less alike where the scene does more.
    """
    sigma = np.sqrt(np.linalg.eigvalsh(np.where(np.isfinite(refined.cov), refined.cov, 1e6))[:, 1])
    gap = np.hypot(*refined.phase.T)
    # A repetitive pattern is AMBIGUOUS even where its many peaks make the highest one insignificant.
    pattern = (rival > _RIVAL) & (refined.score > 0.5)
    status = np.where(pattern, np.int8(Status.AMBIGUOUS), np.int8(Status.OK))
    reasons = {
        Status.NO_PEAK: ~(peaks.log10_chance < _CHANCE) | ~(refined.score > 0),
        Status.AMBIGUOUS: np.maximum(peaks.rival, rival) > _RIVAL,
        Status.UNCONSTRAINED: ~(sigma < _LARGEST_SIGMA) | ~(refined.support > _FEWEST_MODES),
        Status.NOT_CONVERGED: ~(refined.last_step < np.maximum(_LAST_STEP, 0.2 * sigma))
        | ~(np.abs(refined.move - peaks.move).max(1) < _DRIFT),
        Status.TOO_FAR: ~(np.abs(refined.move).max(1) <= limit + 0.5),
        Status.DISAGREES: ~(gap < np.maximum(_CONTRADICTION, _CONTRADICTION_SIGMAS * sigma))
        | (np.hypot(*refined.drift.T) > _LARGEST_DRIFT)
        | ((sigma > _VAGUE) & (refined.dragged > _VAGUE)),
        Status.NOT_IMPROVED: (similarity[1] < similarity[0] - 0.02) & (np.abs(refined.move).max(1) > _FAR) & ~shared,
    }
    for reason, failed in reasons.items():
        status[failed & (status == Status.OK)] = reason
    return status
