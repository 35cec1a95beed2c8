"""The structural matcher: the directions of edges, not their brightness, are what two windows have to share.

At each of two scales the gradient of a window is written as a complex number, divided by the local contrast, and its
angle doubled (Granlund 1978, doi:10.1016/0146-664X(78)90047-3) and doubled again: what is dark and what is bright no
longer matters, as in normalised gradient fields (Haber & Modersitzki 2006, doi:10.1007/11866763_89). Real and imaginary
parts are the channels. They are correlated in the Fourier plane, summed, and the peak is refined there by Newton's
method, every scale and ring of frequencies weighted by its coherence (Hannan & Thomson 1971,
doi:10.1093/biomet/60.3.469). The scatter of what the blocks of a window contribute gives the covariance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from xcoreg.core import Bools, Floats, Spectra
from xcoreg.core.matcher import Codes, batches, prepare, search_reach
from xcoreg.core.matches import Matches, Status, symmetric
from xcoreg.core.peaks import Peaks, highest_peaks
from xcoreg.core.phase import Modes, forward, inverse, modes_for, taper
from xcoreg.core.quality import smooth
from xcoreg.core.stripes import remove_stripes, striped_axes

# Scales of the gradients, px; standard deviation of the neighbourhood that sets the contrast, in scales; share of the
# mean contrast that is added to it, so that flat ground stays flat.
_SCALES, _AROUND, _FLAT = (1.0, 2.0), 6.0, 0.1
_TAPERED = 0.6  # share of each side of a window that is tapered
_SEEN = 0.9  # share of a gradient's neighbourhood that has to be valid
# Frequency above which the search for the peak gives little weight, cycles per pixel, and power of the whitening.
_HIGHEST, _WHITENING = 0.2, 0.45
# Newton steps, their longest length and sum, px, and the length of the last one that counts as settled.
_STEPS, _LONGEST, _FARTHEST, _SETTLED = 8, 0.5, 1.5, 0.02
# Coherence above which more is not believed, and number of neighbouring rings over which it is averaged.
_COHERENT, _RINGS = 0.98, 3
# Variances are multiplied by the first, more where few parts agree, and never below a square, px: aliased edges pull to
# the lattice. Calibrated in benchmarks/structure.py.
_SCATTER, _OF_PARTS, _SYSTEMATIC = 1.35, 9.0, 0.015
_FAINT = 0.14  # coherence below which the noise that chose the peak has sharpened it, so that variances are too small
# Limits of acceptance, as of the phase matcher; calibrated on pairs that must not match.
_CHANCE, _RIVAL, _LARGEST_SIGMA, _PARTS = -5.0, 0.75, 0.7, 7.0
# Parts that have to agree however little is valid, but where coherence is above this.
_FEWEST_PARTS, _CLEAR = 6.0, 0.3
# Pixels around the peak of a correlation, and values per pixel, of which its spread is taken.
_LOBE, _PER_PIXEL = 4, 4
_SIDE, _BLOCK = 8, 8  # parts along each side of a window; side of a block whose pulls count as independent, px


@dataclass(frozen=True, eq=False)
class _Channels:
    """Channels of n pairs of windows, weighted, and what they have in common.

    ref : (scales, channels, n, m) complex64; modes of the channels of the reference.
    tgt : (scales, channels, n, rows, cols) float32; channels of the target.
    cross : (scales, n, m) complex64; cross-power summed over channels: where they agree, a phase ramp.
    ref_power, tgt_power : (scales, n, n_rings) float64; summed over channels and rings.
    dispersion : (n,) float64; factor by which neighbouring frequencies, correlated by the taper, scatter more.
    """

    modes: Modes
    ref: Spectra
    tgt: Floats
    cross: Spectra
    ref_power: Floats
    tgt_power: Floats
    dispersion: Floats


def structure_match(
    tgt: Floats, ref: Floats, tgt_valid: Bools, ref_valid: Bools, /, *, max_shift: float | None = None
) -> Matches:
    """Match a batch of windows of images that look different: radar, heights, maps, other bands.

    Parameters
    ----------
    tgt, ref : (n, rows, cols) float32
        Windows on one grid, any radiometry, also one that differs from place to place.
    tgt_valid, ref_valid : (n, rows, cols) bool
        Pixels that are False carry no weight.
    max_shift : float, optional
        Largest correction looked for on each axis, px; default two fifths of the window.

    Returns
    -------
    Matches
        Corrections target -> reference, px, with 2 x 2 covariances in px². `score` is the coherence of the channels.

    Notes
    -----
    A window has to hold edges that both images show. Of images with the same radiometry
    :func:`xcoreg.core.matcher.phase_match` is several times more precise, and faster. Rotation beyond some ten degrees
    and scale are not modelled.

    Examples
    --------
    >>> from scipy.ndimage import gaussian_filter
    >>> scene = gaussian_filter(np.random.default_rng(1).standard_normal((1, 140, 140)), (0, 2, 2)).astype(np.float32)
    >>> tgt, ref, ok = scene[:, 6:134, 7:135] ** 2, -scene[:, 8:136, 4:132], np.ones((1, 128, 128), bool)
    >>> m = structure_match(tgt, ref, ok, ok)
    >>> m.dcol.round(1).tolist(), m.drow.round(1).tolist(), m.ok.tolist()
    ([3.0], [-2.0], [True])
    """
    limit = search_reach(ref.shape, max_shift)
    cuts = batches(ref.shape)
    return Matches.concatenate([_match_batch(tgt[c], ref[c], tgt_valid[c], ref_valid[c], limit) for c in cuts])


def correlation_peaks(tgt: Side, ref: Side, max_shift: float | None = None) -> Peaks:
    """Highest peaks of windows whose channels are known, each with missing pixels of its own."""
    limit = 0.5 * min(ref.weight.shape[1:]) - 1 if max_shift is None else max_shift
    return _peaks(_correlate(tgt, ref), limit)


def half_peaks(tgt: Floats, ref: Floats, tgt_valid: Bools, ref_valid: Bools) -> Floats:
    """Corrections (n, 4, 2), px, that the left, right, upper and lower half of windows (n, rows, cols) show alone."""
    (one, two), _ = _without_stripes(tgt, ref, tgt_valid, ref_valid)
    rows, cols = ref.shape[1:]
    left, upper = np.arange(cols) < cols // 2, (np.arange(rows) < rows // 2)[:, None]
    halves = left, ~left, upper, ~upper
    seen = [tgt_valid & ref_valid & half for half in halves]
    limit = search_reach(ref.shape, None)
    return np.stack([correlation_peaks(Side.of(one, half), Side.of(two, half), limit).move for half in seen], 1)


def structure_scout(
    tgt: Floats, ref: Floats, tgt_valid: Bools, ref_valid: Bools, /, *, max_shift: float | None = None
) -> Floats:
    """Whole-pixel corrections (n, 2), 0 where the peak is not significant: a first look before windows are cut anew."""
    limit = search_reach(ref.shape, max_shift)
    out = np.zeros((len(ref), 2))
    for cut in batches(ref.shape):
        (one, two), status = _without_stripes(tgt[cut], ref[cut], tgt_valid[cut], ref_valid[cut])
        valid = tgt_valid[cut] & ref_valid[cut]
        peaks = correlation_peaks(Side.of(one, valid), Side.of(two, valid), limit)
        good = (peaks.log10_chance < _CHANCE) & (status == Status.OK)
        out[cut] = np.where(good[:, None], np.rint(peaks.move), 0)
    return out


def _match_batch(tgt: Floats, ref: Floats, tgt_valid: Bools, ref_valid: Bools, limit: float) -> Matches:
    """Match windows of one batch."""
    (tgt, ref), status = _without_stripes(tgt, ref, tgt_valid, ref_valid)
    # Pixels that are missing in one window would only be noise in the other.
    valid = tgt_valid & ref_valid
    both = _correlate(Side.of(tgt, valid), Side.of(ref, valid))
    peaks = _peaks(both, limit)
    move, cov, last, score, parts = _refine(both, peaks.move)
    # Where more than half of a window is missing, fewer parts can agree; where few of its edges do, that is chance.
    fewest = np.where(score < _CLEAR, _FEWEST_PARTS, 1) / _PARTS
    parts /= np.clip(2 * valid.mean((1, 2)), fewest, 1)
    checks = _statuses(peaks, move, cov, last, parts, limit)
    unmeasured = status != Status.OK
    status = np.where(unmeasured, status, checks).astype(np.int8)
    for column in (move, cov, score):
        column[unmeasured] = np.nan
    reliability = np.where(unmeasured, np.nan, 100 * (1 - peaks.rival))
    dcol, drow, cov, score, reliability = (np.asarray(one, np.float64) for one in (*move.T, cov, score, reliability))
    return Matches(dcol, drow, cov, score, status, reliability)


def _without_stripes(
    tgt: Floats, ref: Floats, tgt_valid: Bools, ref_valid: Bools
) -> tuple[tuple[Floats, Floats], Codes]:
    """Centre both windows, without the stripes that one of them shows: their edges would answer; and status."""
    both, status = prepare(tgt, ref, tgt_valid, ref_valid)
    modes, window = modes_for(*ref.shape[1:]), taper(*ref.shape[1:], _TAPERED)
    sides, striped = list(zip(both, (tgt_valid, ref_valid), strict=True)), np.zeros((len(ref), 2), bool)
    for image, valid in sides:
        power = _power(modes.take(forward(image * window)))
        striped |= striped_axes((image, valid), power, modes.sums(power) / modes.count)
    for image, valid in sides:
        remove_stripes(image, valid, striped)
    return both, status


def channels(image: Floats, valid: Bools, scale: float) -> tuple[list[Floats], Floats]:
    """Channels of windows (n, rows, cols) at a scale, px, and the weight of every pixel, 0..1."""
    seen = smooth(valid.astype(np.float32), scale)
    # Missing pixels have the mean of their neighbourhood: the gradient of this quotient takes nothing from them.
    filled = smooth(np.where(valid, image, 0).astype(np.float32, copy=False), scale) / np.maximum(seen, 1e-3)
    weight = np.clip((seen - _SEEN) / (1 - _SEEN), 0, 1)
    gradient = np.gradient(filled, axis=2) + 1j * np.gradient(filled, axis=1).astype(np.complex64)
    power = gradient.real**2 + gradient.imag**2
    count = np.maximum(weight.sum((1, 2), keepdims=True), 1)
    mean = (power * weight).sum((1, 2), keepdims=True) / count
    around = smooth(power * weight, _AROUND * scale) / np.maximum(smooth(weight, _AROUND * scale), 1e-3)
    length = np.sqrt(power)
    # Strong edges saturate: one roof must not outweigh a landscape.
    size = length / np.maximum(length + np.sqrt(np.maximum(around + _FLAT * mean, 0)), 1e-30)
    turn = gradient / np.maximum(length, 1e-30)
    double = turn * turn
    return [size * part for one in (double, double * double) for part in (one.real, one.imag)], weight


@dataclass(frozen=True, eq=False)
class Side:
    """Channels of n windows: fields (scales, channels, n, rows, cols), their modes, weight (n, rows, cols)."""

    fields: Floats
    spectra: Spectra
    weight: Floats

    @classmethod
    def of(cls, image: Floats, valid: Bools) -> Side:
        """Channels of windows (n, rows, cols), weighted and transformed."""
        modes, window = modes_for(*image.shape[1:]), taper(*image.shape[1:], _TAPERED)
        fields = []
        for scale in _SCALES:
            parts, weight = channels(image, valid, scale)
            weight = weight * window
            fields.append(np.stack([_centred(one, weight) for one in parts]))
        spectra = np.stack([np.stack([modes.take(forward(one)) for one in parts]) for parts in fields])
        return cls(np.stack(fields), spectra, weight)


def _correlate(tgt: Side, ref: Side) -> _Channels:
    """Correlate all channels of both windows in the Fourier plane."""
    modes, weight = modes_for(*tgt.weight.shape[1:]), tgt.weight
    one, two = ref.spectra, tgt.spectra
    powers = [np.stack([sum(modes.sums(_power(c)) for c in part) for part in both]) for both in (one, two)]
    cross = np.stack([sum(a * b.conj() for a, b in zip(*both, strict=True)) for both in zip(one, two, strict=True)])
    pixels, squares = modes.shape[0] * modes.shape[1], (weight**2).sum((1, 2), dtype=np.float64)
    dispersion = pixels * (weight**4).sum((1, 2), dtype=np.float64) / np.maximum(squares, 1e-6) ** 2
    return _Channels(modes, one, tgt.fields, cross, powers[0], powers[1], dispersion)


def _centred(one: Floats, weight: Floats) -> Floats:
    """Channel without its weighted mean, weighted."""
    mean = (one * weight).sum((1, 2), keepdims=True) / np.maximum(weight.sum((1, 2), keepdims=True), 1e-6)
    return np.asarray(weight * (one - mean), np.float32)


def _power(spectra: Spectra) -> Floats:
    return np.asarray(spectra.real**2 + spectra.imag**2)


def _peaks(both: _Channels, limit: float) -> Peaks:
    """Highest peak of each pair of windows."""
    modes = both.modes
    level = _smooth_rings(both.ref_power, modes) * _smooth_rings(both.tgt_power, modes)
    gain = np.exp(-((modes.centre / _HIGHEST) ** 4)) / np.maximum(level, 1e-30) ** _WHITENING
    heights = inverse(modes.plane(_over_scales(gain, both.cross, modes)), modes.shape)
    down, across = (min(int(limit), (size - 1) // 2) for size in modes.shape)
    return highest_peaks(heights, (down, across), np.ones(len(heights), np.float32), both.ref_power[0])


def _over_scales(weight: Floats, cross: Spectra, modes: Modes) -> Spectra:
    """Sum over scales, weighted by ring: (scales, n, n_rings), (scales, n, m) -> (n, m)."""
    return np.asarray(sum(modes.spread(one) * part for one, part in zip(weight, cross, strict=True)), np.complex64)


def _smooth_rings(power: Floats, modes: Modes) -> Floats:
    """Mean power of neighbouring rings: (..., n_rings)."""
    return np.asarray(ndimage.uniform_filter1d(power / modes.count, _RINGS, axis=-1, mode="nearest"))


def _refine(both: _Channels, start: Floats) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Refine shifts (n, 2): -> shift, covariance (n, 2, 2), last step (n,), coherence (n,), parts that agree (n,)."""
    modes, move = both.modes, np.array(start, np.float64)
    last = np.full(len(move), np.inf)
    for step in range(_STEPS + 1):
        aligned = both.cross * modes.ramp(move)
        weight, score = _weights(aligned, both)
        summed = _over_scales(weight, aligned, modes)
        turns = 2 * np.pi * modes.fx.astype(np.float64), 2 * np.pi * modes.fy.astype(np.float64)
        hessian = symmetric(*(np.vecdot(summed.real, a * b) for a, b in _pairs(*turns)))
        if step < _STEPS:
            change = _solve_safely(hessian, -np.stack([np.vecdot(summed.imag, turn) for turn in turns], -1))
            move += change * np.minimum(1, _LONGEST / np.maximum(np.hypot(*change.T), 1e-12))[:, None]
            last = np.hypot(*change.T)
    votes, parts = _votes(both, move, weight, turns)
    bread = np.linalg.pinv(hessian, hermitian=True)
    faint = np.clip(_FAINT / np.maximum(score, 1e-3), 1, 2)
    scatter = (faint * (_SCATTER + _OF_PARTS / np.maximum(parts, 1)))[:, None, None]
    cov = scatter * bread @ np.einsum("nbi,nbj->nij", votes, votes) @ bread
    cov = _widened_by_lobe(cov, hessian, modes, summed) + _SYSTEMATIC**2 * np.eye(2)
    cov[np.linalg.eigvalsh(hessian)[:, 0] <= 0] = np.diag([np.inf, np.inf])
    return move, cov, last, score, parts


def _widened_by_lobe(cov: Floats, hessian: Floats, modes: Modes, summed: Spectra) -> Floats:
    """Covariance (n, 2, 2) that knows how the correlation goes on around its peak: flat, or up to other peaks.

    The curvature at the peak says the covariance where the logarithm of the likelihood is a parabola. It is
    proportional to the correlation, so that this gives its scale, and its spread over the lobe the rest.
    """
    at = np.arange(-_LOBE, _LOBE + 1)
    fine = np.linspace(-_LOBE, _LOBE, 2 * _LOBE * _PER_PIXEL + 1)
    between = np.stack([ndimage.map_coordinates(one, [fine + _LOBE], order=5) for one in np.eye(len(at))], -1)
    heights = inverse(modes.plane(summed), modes.shape)[:, at[:, None] % modes.shape[0], at % modes.shape[1]]
    heights = between @ (heights * (modes.shape[0] * modes.shape[1] / 2)) @ between.T
    scale = np.einsum("nij,nji->n", hessian, cov) / 2
    middle = heights[:, None, None, len(fine) // 2, len(fine) // 2]
    likely = np.exp(np.clip((heights - middle) / np.maximum(scale, 1e-30)[:, None, None], -50, 50))
    likely /= likely.sum((1, 2), keepdims=True)
    across, down = likely.sum(1), likely.sum(2)
    xx, yy = (part @ fine**2 for part in (across, down))
    spread = symmetric(xx, np.einsum("nij,i,j->n", likely, fine, fine), yy)
    wider = np.trace(spread, axis1=1, axis2=2) > np.trace(cov, axis1=1, axis2=2)
    return np.where(wider[:, None, None], spread, cov)


def _votes(both: _Channels, move: Floats, weight: Floats, turns: tuple[Floats, Floats]) -> tuple[Floats, Floats]:
    """Pull of blocks of pixels towards other shifts, (n, blocks, 2), and effective number of parts that agree, (n,).

    The pulls sum to zero; their scatter says how uncertain that zero is, wherever in the window the edges are.
    """
    modes, ramp = both.modes, both.modes.ramp(move)
    maps = np.zeros((3, *both.tgt.shape[2:]))
    for ref, tgt, gain in zip(both.ref, both.tgt, weight, strict=True):
        filtered = ramp * modes.spread(gain)
        for one, other in zip(ref, tgt, strict=True):
            plain = one * filtered
            for at, turn in enumerate((1, 1j * turns[0], 1j * turns[1])):
                maps[at] += inverse(modes.plane(np.asarray(turn * plain, np.complex64)), modes.shape) * other
    maps *= modes.shape[0] * modes.shape[1] / 2  # the sums are over half of the Fourier plane
    pulls = np.stack([_block_sums(out, max(min(modes.shape) // _BLOCK, 4)) for out in maps[1:]], -1)
    agreement = _block_sums(maps[0], _SIDE)
    effective = np.maximum(agreement.sum(1), 0) ** 2 / np.maximum((agreement**2).sum(1), 1e-30)
    return pulls, effective


def _block_sums(images: Floats, side: int) -> Floats:
    """Sum windows (n, rows, cols) over side x side blocks: -> (n, side * side)."""
    rows, cols = (np.linspace(0, size, side, endpoint=False).astype(np.intp) for size in images.shape[1:])
    return np.asarray(np.add.reduceat(np.add.reduceat(images, rows, axis=1), cols, axis=2).reshape(len(images), -1))


def _pairs(x: Floats, y: Floats) -> list[tuple[Floats, Floats]]:
    return [(x, x), (x, y), (y, y)]


def _solve_safely(hessian: Floats, right: Floats) -> Floats:
    """Newton steps (n, 2); along directions that curve the wrong way a short step uphill."""
    values, axes = np.linalg.eigh(hessian)
    floor = np.maximum(0.05 * np.abs(values).max(1, keepdims=True), 1e-30)
    along = np.einsum("nij,ni->nj", axes, right) / np.maximum(np.abs(values), floor)
    return np.asarray(np.einsum("nij,nj->ni", axes, along))


def _weights(aligned: Spectra, both: _Channels) -> tuple[Floats, Floats]:
    """Weight of every scale and ring (scales, n, n_rings) by its coherence, and the coherence of all (n,)."""
    modes = both.modes
    common = np.stack([modes.sums(part.real) for part in aligned])
    size = np.sqrt(np.maximum(_smooth_rings(both.ref_power, modes) * _smooth_rings(both.tgt_power, modes), 1e-60))
    # Coherence that chance alone would give is left out, lest the noise votes for the shift at hand.
    by_chance = np.sqrt(both.dispersion[:, None] / (2 * _RINGS * modes.count))
    coherence = np.clip(_smooth_rings(common, modes) / size - by_chance, 0, _COHERENT)
    weight = coherence / (1 - coherence**2) / size
    total = np.maximum((coherence * modes.count).sum((0, 2)), 1e-30)
    return weight, np.asarray((coherence**2 * modes.count).sum((0, 2)) / total)


def _statuses(peaks: Peaks, move: Floats, cov: Floats, last: Floats, parts: Floats, limit: float) -> Codes:
    """Status of each window: the first check that fails."""
    sigma = np.sqrt(np.linalg.eigvalsh(np.where(np.isfinite(cov), cov, 1e6))[:, 1])
    reasons = {
        Status.NO_PEAK: ~(peaks.log10_chance < _CHANCE),
        Status.AMBIGUOUS: ~(peaks.rival < _RIVAL),
        Status.UNCONSTRAINED: ~(sigma < _LARGEST_SIGMA),
        Status.NOT_CONVERGED: ~(last < np.maximum(_SETTLED, 0.2 * sigma))
        | ~(np.abs(move - peaks.move).max(1) < _FARTHEST),
        Status.TOO_FAR: ~(np.abs(move).max(1) <= limit + 0.5),
        Status.FLAT: ~(parts >= _PARTS),
    }
    status = np.zeros(len(move), np.int8)
    for reason, failed in reasons.items():
        status[failed & (status == Status.OK)] = reason
    return status
