"""The phase matcher: whole pixels by phase correlation, the rest by refinement, then doubts about both."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from xcoreg.core.matches import Matches
from xcoreg.core.phase import Peaks, correlate, fill_invalid
from xcoreg.core.quality import participation, ssim
from xcoreg.core.refine import Refined, refine
from xcoreg.core.repeats import repeats
from xcoreg.core.status import Status
from xcoreg.core.subpixel import FourierShift, recut

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating]
    Bools = NDArray[np.bool_]

__all__ = ["phase_match", "phase_scout", "similarity_after"]

# A window has to share this many valid pixels, and this part of its area, with its partner.
_FEWEST_PIXELS, _LEAST_SHARE = 150, 0.08
# Narrower windows have no room for a peak and its rivals.
_LEAST_SIDE = 8
# Decimal logarithm of the chance a peak may have to be one of noise: measured on unrelated scenes, not theory.
_CHANCE = -3.0
# A rival peak this high makes a pattern ambiguous.
_RIVAL = 0.75
# Largest standard deviation of a useful answer, px, and fewest Fourier modes it may rest on (a slope has a few).
_VAGUE, _FEWEST_MODES = 0.5, 6.0
# The refinement may move the peak this far, px, and end with a step this long or a fifth of its own uncertainty.
_DRIFT, _LAST_STEP = 1.5, 0.01
# What agrees has to lie in this many of the 64 parts of a window: elsewhere there is no texture that tells.
_SPOTS = 4.0
# The phases alone may contradict by this much, px, and by this many standard deviations.
_CONTRADICTION, _CONTRADICTION_SIGMAS = 0.35, 5.0
# Pixels in flight at once: bounds the memory of large batches.
_BATCH_PIXELS = 1 << 20


def phase_match(
    ref: Floats,
    tgt: Floats,
    ref_valid: Bools,
    tgt_valid: Bools,
    /,
    *,
    max_shift: float | None = None,
    contrast: str = "same",
) -> Matches:
    """Match a batch of windows to the Cramer-Rao bound.

    Parameters
    ----------
    ref, tgt : (n, rows, cols) float32
        Windows on one grid, any linear radiometry.
    ref_valid, tgt_valid : (n, rows, cols) bool
        Pixels that are False carry no weight.
    max_shift : float, optional
        Largest correction looked for on each axis, px; default two fifths of the window.
    contrast : {"same", "reversed", "any"}
        Whether what is bright in one image is bright in the other. "any" tries both signs.

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
    >>> ref, tgt, ok = scene[:, 8:72, 8:72], scene[:, 6:70, 11:75], np.ones((1, 64, 64), bool)
    >>> m = phase_match(ref, tgt, ok, ok)
    >>> m.dcol.round(2).tolist(), m.drow.round(2).tolist(), m.ok.tolist()
    ([3.0], [-2.0], [True])
    """
    limit = _limit(ref.shape, max_shift)
    cuts = _batches(ref.shape)
    return Matches.concatenate(
        [_match_batch(ref[cut], tgt[cut], ref_valid[cut], tgt_valid[cut], limit, contrast) for cut in cuts]
    )


def _match_batch(ref: Floats, tgt: Floats, ref_valid: Bools, tgt_valid: Bools, limit: float, contrast: str) -> Matches:
    """Match windows that fit into memory together; the hopeless ones are not tried."""
    status = _usable(ref, tgt, ref_valid, tgt_valid)
    out = {
        "move": np.full((len(ref), 2), np.nan),
        "cov": np.full((len(ref), 2, 2), np.nan),
        **{name: np.full(len(ref), np.nan) for name in ("score", "reliability", "before", "after")},
        "phase": np.full((len(ref), 2), np.nan),
    }
    use = np.flatnonzero(status == Status.OK)
    if use.size:
        ref, tgt, ref_valid, tgt_valid = ref[use], tgt[use], ref_valid[use], tgt_valid[use]
        peaks = correlate(ref, tgt, ref_valid, tgt_valid, max_shift=limit, contrast=contrast)
        ref = fill_invalid(ref, ref_valid)
        tgt = fill_invalid(tgt, tgt_valid) * np.where(peaks.height < 0, np.float32(-1), np.float32(1))[:, None, None]
        fine = refine(ref, tgt, ref_valid, tgt_valid, peaks.move)
        before = ssim(ref, tgt, ref_valid & tgt_valid)
        moved, shared = _aligned(tgt, ref_valid, tgt_valid, fine.move)
        after = ssim(ref, moved, shared)
        again = repeats(ref, tgt, ref_valid & tgt_valid, fine.move, limit)
        doubts = _doubts(peaks, fine, again, (before, after), limit)
        one_spot = participation(ref, moved, shared) < _SPOTS * np.minimum(1, 2 * shared.mean((1, 2)))
        status[use] = np.where((doubts == Status.OK) & one_spot, np.int8(Status.FLAT), doubts)
        values = fine.move, fine.cov, fine.score, 100 * (1 - peaks.rival), before, after, fine.phase
        for column, value in zip(out.values(), values, strict=True):
            column[use] = value
    return Matches(
        out["move"][:, 0],
        out["move"][:, 1],
        cov=out["cov"],
        score=out["score"],
        status=status,
        reliability=out["reliability"],
        ssim_before=out["before"],
        ssim_after=out["after"],
        phase_dcol=out["phase"][:, 0],
        phase_drow=out["phase"][:, 1],
    )


def _usable(ref: Floats, tgt: Floats, ref_valid: Bools, tgt_valid: Bools) -> NDArray[np.int8]:
    """NO_DATA and FLAT for windows without enough pixels or texture."""
    status = np.zeros(len(ref), np.int8)
    if min(ref.shape[1:]) < _LEAST_SIDE:
        return np.full_like(status, Status.NO_DATA)
    for image, valid in ((ref, ref_valid), (tgt, tgt_valid)):
        centred = fill_invalid(image, valid)
        biggest = np.abs(np.where(valid, image, 0)).max((1, 2))
        rough = np.abs(np.diff(centred, axis=2))[:, 1:] + np.abs(np.diff(centred, axis=1))[:, :, 1:]
        # Texture over less than a hundredth of the window, or no larger than rounding, is none.
        status[np.percentile(rough, 99, axis=(1, 2)) <= 1e-6 * biggest] = Status.FLAT
    shared = (ref_valid & tgt_valid).sum((1, 2))
    least = max(_FEWEST_PIXELS, _LEAST_SHARE * ref.shape[1] * ref.shape[2])
    status[shared < least] = Status.NO_DATA
    return status


def similarity_after(ref: Floats, tgt: Floats, ref_valid: Bools, tgt_valid: Bools, move: Floats) -> Floats:
    """Structural similarity of windows once the target is corrected.

    Parameters
    ----------
    ref, tgt, ref_valid, tgt_valid : (n, rows, cols)
        As for `phase_match`.
    move : (n, 2) float
        Correction target -> reference, px, along (col, row).

    Returns
    -------
    (n,) float64
        See :func:`xcoreg.core.quality.ssim`.
    """
    return ssim(ref, *_aligned(tgt, ref_valid, tgt_valid, move))


def _aligned(tgt: Floats, ref_valid: Bools, tgt_valid: Bools, move: Floats) -> tuple[Floats, Bools]:
    """Correct windows of the target, and tell where they and the reference are valid."""
    whole = np.rint(move).astype(np.intp)
    cut, inside = recut(tgt, -whole)
    mover = FourierShift(np.asarray(cut, np.float32))
    shared = ref_valid & recut(tgt_valid, -whole)[0] & inside
    return mover.image(mover.spectrum(whole - move)), np.asarray(shared, bool)


def phase_scout(
    ref: Floats,
    tgt: Floats,
    ref_valid: Bools,
    tgt_valid: Bools,
    /,
    *,
    max_shift: float | None = None,
    contrast: str = "same",
) -> NDArray[np.float64]:
    """Tell whole-pixel corrections where phase correlation is sure of them: a fraction of the work of `phase_match`.

    Parameters
    ----------
    ref, tgt, ref_valid, tgt_valid, max_shift, contrast
        As for `phase_match`.

    Returns
    -------
    (n, 2) float64
        Correction target -> reference, px, along (col, row); 0 where nothing is sure.
    """
    limit = _limit(ref.shape, max_shift)
    out = np.zeros((len(ref), 2))
    for cut in _batches(ref.shape):
        status = _usable(ref[cut], tgt[cut], ref_valid[cut], tgt_valid[cut])
        use = cut.start + np.flatnonzero(status == Status.OK)
        if use.size:
            peaks = correlate(ref[use], tgt[use], ref_valid[use], tgt_valid[use], max_shift=limit, contrast=contrast)
            out[use] = np.where((peaks.log10_chance < _CHANCE)[:, None], np.rint(peaks.move), 0)
    return out


def _limit(shape: tuple[int, ...], max_shift: float | None) -> float:
    side = min(shape[1:])
    return 0.4 * side if max_shift is None else min(max_shift, 0.5 * side - 1)


def _batches(shape: tuple[int, ...]) -> list[slice]:
    """Cut a batch into parts that fit into memory."""
    size = max(1, _BATCH_PIXELS // max(shape[1] * shape[2], 1))
    return [slice(i, i + size) for i in range(0, shape[0], size)]


def _doubts(
    peaks: Peaks, fine: Refined, again: Floats, similarity: tuple[Floats, Floats], limit: float
) -> NDArray[np.int8]:
    """Find the first reason for distrust of each window, the strongest reasons first."""
    sigma = np.sqrt(np.linalg.eigvalsh(np.where(np.isfinite(fine.cov), fine.cov, 1e6))[:, 1])
    gap = np.hypot(*fine.phase.T)
    # A pattern is named as such even where its many peaks hide the one from the statistics of noise.
    pattern = (again > _RIVAL) & (fine.score > 0.5)
    status = np.where(pattern, np.int8(Status.AMBIGUOUS), np.int8(Status.OK))
    reasons = {
        Status.NO_PEAK: ~(peaks.log10_chance < _CHANCE) | ~(fine.score > 0),
        Status.AMBIGUOUS: np.maximum(peaks.rival, again) > _RIVAL,
        Status.UNCONSTRAINED: ~(sigma < _VAGUE) | ~(fine.support > _FEWEST_MODES),
        Status.NOT_CONVERGED: ~(fine.last_step < np.maximum(_LAST_STEP, 0.2 * sigma))
        | ~(np.abs(fine.move - peaks.move).max(1) < _DRIFT),
        Status.TOO_FAR: ~(np.abs(fine.move).max(1) <= limit + 0.5),
        Status.DISAGREES: ~(gap < np.maximum(_CONTRADICTION, _CONTRADICTION_SIGMAS * sigma)),
        Status.NOT_IMPROVED: (similarity[1] < similarity[0] - 0.02) & (np.abs(fine.move).max(1) > 0.5),
    }
    for reason, doubt in reasons.items():
        status[doubt & (status == Status.OK)] = reason
    return status
