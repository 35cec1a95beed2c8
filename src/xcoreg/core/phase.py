"""Spectra of windows, sub-pixel sampling by phase ramps, and whole-pixel shifts by batched phase correlation.

The cross-power spectrum is whitened (Kuglin & Hines 1975; Foroosh et al. 2002, doi:10.1109/83.988953) only where both
images rise above their own noise floor: empty and aliased frequencies would drown the peak otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import fft as sfft, ndimage
from scipy.special import log_ndtr

from xcoreg.core import Bools, Floats, Ints, Spectra
from xcoreg.core.quality import box_sum

_Value = TypeVar("_Value", bound=np.generic)

HIGHEST = 0.45  # highest radial frequency that is used, cycles per pixel: higher ones are aliased


_ABOVE_SCENE = 0.04  # frequency below which scenes outshine stripes, cycles per pixel
# Correlation of stripes in all parts of a window, and their share of its variance above which they are the scene.
_LIKE, _MOST = 0.25, 0.95
_STRIPED = 2.5  # modes on an axis of so many times the mean power of their ring are those of stripes


@dataclass(frozen=True, eq=False)
class Modes:
    """Frequencies below `HIGHEST` in the half plane of a real transform, without the mean, sorted by ring.

    One of each conjugate pair in the first column is dropped: every mode stands for two frequencies of the whole plane.

    index : (m,) int; index of every mode in the flat half plane; at_row, at_col : its row and column there.
    fx, fy : (m,) float32; its frequency, cycles per pixel.
    starts, sizes : (n_rings,) int; first mode and number of modes of every ring; count : of the whole plane.
    centre : (n_rings,) float64; root mean square radius; moments : sums of ``fx fx``, ``fx fy`` and ``fy fy``.
    """

    shape: tuple[int, int]
    index: Ints
    at_row: Ints
    at_col: Ints
    fx: Floats
    fy: Floats
    starts: Ints
    sizes: Ints
    count: Floats
    centre: Floats
    moments: tuple[Floats, Floats, Floats]

    def take(self, plane: NDArray[_Value]) -> NDArray[_Value]:
        """Modes of half planes: (n, rows, cols // 2 + 1) to (n, m)."""
        return plane.reshape(len(plane), -1).take(self.index, axis=1, mode="clip")

    def plane(self, values: NDArray[_Value]) -> NDArray[_Value]:
        """Half planes that hold these modes alone: (n, m) to (n, rows, cols // 2 + 1)."""
        rows, cols = self.shape
        out = np.zeros((len(values), rows * (cols // 2 + 1)), values.dtype)
        out[:, self.index] = values
        out = out.reshape(len(values), rows, -1)
        # The inverse uses the real part of the first column: this restores the dropped halves of its pairs.
        out[:, :, 0] *= 2
        return out

    def sums(self, values: Floats) -> Floats:
        """Sum over each ring of the whole plane: (n, m) to (n, n_rings)."""
        return 2 * np.add.reduceat(values, self.starts, axis=1).astype(np.float64)

    def spread(self, rings: Floats) -> Floats:
        """Give every mode the value of its ring: (n, n_rings) to (n, m) float32."""
        return np.repeat(rings.astype(np.float32), self.sizes, axis=1)

    def ramp(self, move: Floats) -> Spectra:
        """Phase ramps (n, m) that sample windows at ``position + move``, px along (col, row)."""
        across, down = ramps(self.shape, move)
        out = across.take(self.at_col, axis=1, mode="clip")
        out *= down.take(self.at_row, axis=1, mode="clip")
        return out


@lru_cache(maxsize=32)
def axes_of(rows: int, cols: int) -> tuple[tuple[Ints, Ints, Bools], ...]:
    """Modes on the axes of the Fourier plane, where stripes along columns (first) or rows of pixels lie.

    For each axis: modes on it with the ring of each, both (k,), and (m,) bool, modes within one step of it.
    """
    modes = modes_for(rows, cols)
    ring = np.repeat(np.arange(len(modes.sizes)), modes.sizes)
    high = np.hypot(modes.fx, modes.fy) > _ABOVE_SCENE
    out = []
    for frequency, size in ((modes.fy, rows), (modes.fx, cols)):
        off = np.abs(np.rint(frequency * size))
        on = np.flatnonzero(high & (off == 0))
        out.append((on, ring[on], high & (off <= 1)))
    return tuple(out)


def stripe_modes(striped: Bools, shape: tuple[int, ...]) -> Bools:
    """Modes (n, m) on which stripes along columns or rows, (n, 2) bool, lie."""
    near = [one[:, None] & axis for one, (*_, axis) in zip(striped.T, axes_of(*shape[-2:]), strict=True)]
    return np.asarray(near[0] | near[1])


def ramps(shape: tuple[int, int], move: Floats) -> tuple[Spectra, Spectra]:
    """Phase ramps along columns (n, cols // 2 + 1) and rows (n, rows), complex64, for moves (n, 2) in px."""
    turn = 2j * np.pi * np.asarray(move, np.float64)
    across = np.exp(turn[:, 0, None] * sfft.rfftfreq(shape[1])).astype(np.complex64)
    return across, np.exp(turn[:, 1, None] * sfft.fftfreq(shape[0])).astype(np.complex64)


@lru_cache(maxsize=32)
def modes_for(rows: int, cols: int) -> Modes:
    """Modes of a window, in at most 48 rings of about one frequency step."""
    row, col = np.divmod(np.arange(rows * (cols // 2 + 1)), cols // 2 + 1)
    fx, fy = np.asarray(sfft.rfftfreq(cols), np.float32)[col], np.asarray(sfft.fftfreq(rows), np.float32)[row]
    radius = np.hypot(fx, fy)
    n_rings = int(np.clip(min(rows, cols) // 3, 4, 48))
    # The corners beyond 0.5 share the last ring: one of their own would have few members.
    ring = np.minimum((radius / 0.72 * n_rings).astype(np.intp), n_rings - 1)
    chosen = np.flatnonzero((radius < HIGHEST) & ((fx > 0) | (fy > 0)))
    chosen = chosen[np.argsort(ring[chosen], kind="stable")]
    starts = np.flatnonzero(np.diff(ring[chosen], prepend=-1))
    sizes = np.diff(starts, append=len(chosen))
    centre = np.sqrt(np.add.reduceat(radius[chosen].astype(np.float64) ** 2, starts) / sizes)
    fx, fy = fx[chosen], fy[chosen]
    xx, xy, yy = (2 * np.add.reduceat(one.astype(np.float64), starts) for one in (fx * fx, fx * fy, fy * fy))
    at = row[chosen], col[chosen]
    return Modes((rows, cols), chosen, *at, fx, fy, starts, sizes, 2.0 * sizes, centre, (xx, xy, yy))


@lru_cache(maxsize=32)
def taper(rows: int, cols: int, share: float = 0.5) -> Floats:
    """Tukey window, separable: ``share`` of each side is tapered."""
    return np.outer(_tukey(rows, share), _tukey(cols, share)).astype(np.float32)


def _tukey(size: int, share: float) -> Floats:
    """Tukey window along one side; importing scipy.signal for it would take most of a second."""
    ramp = share * (size - 1) / 2
    from_edge = np.minimum(np.arange(size), np.arange(size)[::-1])
    return np.asarray(0.5 - 0.5 * np.cos(np.pi * np.minimum(from_edge / max(ramp, 1e-9), 1)))


def forward(images: Floats) -> Spectra:
    """Real transform of a batch of windows."""
    return np.asarray(sfft.rfft2(images, axes=(-2, -1)))


def inverse(spectra: Spectra, shape: tuple[int, int]) -> Floats:
    """Inverse of :func:`forward`."""
    return np.asarray(sfft.irfft2(spectra, s=shape, axes=(-2, -1)))


_SEAM = 16  # pixels appended to make a window periodic: ringing at the seam dies out over them


class FourierShift:
    """Windows (n, rows, cols), finite everywhere, that can be sampled at positions moved by a fraction of a pixel.

    They are made periodic by blending their mirrored ends; the shift is a phase ramp: exact for band-limited images,
    except within about two pixels of the window's edge.
    """

    def __init__(self, images: Floats) -> None:
        self.shape = images.shape[1:]
        rows, cols = (sfft.next_fast_len(size + _SEAM, real=True) for size in self.shape)
        wide = _periodic(_periodic(images, 1, rows - self.shape[0]), 2, cols - self.shape[1])
        self._wide = (rows, cols)
        self._spectra = forward(wide.astype(np.float32, copy=False))
        self._fy = np.asarray(sfft.fftfreq(rows), np.float32)[:, None]
        self._fx = np.asarray(sfft.rfftfreq(cols), np.float32)[None, :]

    def spectrum(self, move: Floats) -> Spectra:
        """Spectra of the windows sampled at ``position + move``: move (n, 2) float -> (n, ...) complex64."""
        turn = (2j * np.pi * np.asarray(move, np.float64)).astype(np.complex64)
        ramp_x = np.exp(turn[:, 0, None] * self._fx)[:, None, :]
        ramp_y = np.exp(turn[:, 1, None] * self._fy[:, 0])[:, :, None]
        return np.asarray((self._spectra * ramp_y) * ramp_x)

    def image(self, spectra: Spectra) -> Floats:
        """Windows of some spectra, (n, rows, cols) float32."""
        return inverse(spectra, self._wide)[:, : self.shape[0], : self.shape[1]]


def cut_at_offset(images: NDArray[_Value], move: Ints) -> tuple[NDArray[_Value], Bools]:
    """Sample windows (n, rows, cols) at whole-pixel offsets (n, 2); -> pixels, and whether each lies inside.

    Beyond the edge of a window its last pixel is repeated.
    """
    n, rows, cols = images.shape
    at_row = np.arange(rows)[None, :] + move[:, 1, None]
    at_col = np.arange(cols)[None, :] + move[:, 0, None]
    good_row, good_col = (at_row >= 0) & (at_row < rows), (at_col >= 0) & (at_col < cols)
    at_row, at_col = np.clip(at_row, 0, rows - 1), np.clip(at_col, 0, cols - 1)
    out = images[np.arange(n)[:, None, None], at_row[:, :, None], at_col[:, None, :]]
    return out, good_row[:, :, None] & good_col[:, None, :]


def shift_pixels(images: NDArray[_Value], move: Ints) -> NDArray[_Value]:
    """Move windows (n, rows, cols) by whole pixels (n, 2) each; zeros come in at the edge."""
    if not move.any():
        return images
    out = np.zeros_like(images)
    for one, image, (across, down) in zip(out, images, move.tolist(), strict=True):
        one[_part(down), _part(across)] = image[_part(-down), _part(-across)]
    return out


def _part(move: int) -> slice:
    """Slice along an axis that holds pixels after a move."""
    return slice(move, None) if move >= 0 else slice(None, move)


def _periodic(images: Floats, axis: int, seam: int) -> Floats:
    """Append ``seam`` pixels that blend from the mirrored end to the mirrored beginning."""
    images = np.moveaxis(images, axis, -1)
    pad = [(0, 0)] * (images.ndim - 1)
    after = np.pad(images, [*pad, (0, seam)], mode="symmetric")[..., images.shape[-1] :]
    before = np.pad(images, [*pad, (seam, 0)], mode="symmetric")[..., :seam]
    t = (np.arange(seam, dtype=np.float32) + 0.5) / seam
    blend = t * t * (3 - 2 * t)
    return np.moveaxis(np.concatenate([images, after * (1 - blend) + before * blend], axis=-1), -1, axis)


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


def correlate(
    tgt: Floats, ref: Floats, tgt_valid: Bools, ref_valid: Bools, *, max_shift: float, contrast: str = "same", stripes: Any = False
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
    striped = np.any([_striped(*one) for one in zip(images, powers, means, strict=True)], axis=0)
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


def _striped(images: tuple[Floats, Bools], power: Floats, mean: Floats) -> Bools:
    """Whether a window has stripes along its columns, or rows, (n, 2): modes on an axis stand out from their rings.

    power, mean : (n, m), (n, n_rings); power of every mode, and its mean over rings.
    """
    out = np.zeros((len(power), 2), bool)
    for axis, (on, ring, _) in enumerate(axes_of(*images[0].shape[1:])):
        if on.size:
            out[:, axis] = (power[:, on] / np.maximum(mean[:, ring], 1e-30)).mean(1) > _STRIPED
        index = np.flatnonzero(out[:, axis])
        if index.size:
            image, valid = images[0][index], images[1][index]
            turned = (image.swapaxes(1, 2), valid.swapaxes(1, 2)) if axis else (image, valid)
            out[index, axis] = _same_everywhere(*turned)
    return out


def _same_everywhere(images: Floats, valid: Bools) -> Bools:
    """Whether columns (n, rows, cols) differ from their neighbours in the same way in all of four bands of rows.

    A blob does so in some bands only; what columns consist of entirely is the scene itself.
    """
    edges = np.linspace(0, images.shape[1], 4, endpoint=False).astype(int)
    sums = np.add.reduceat(images * valid, edges, axis=1, dtype=np.float64)
    steps = np.diff(sums / np.maximum(np.add.reduceat(valid, edges, axis=1, dtype=np.float64), 1), axis=2)
    steps -= steps.mean(2, keepdims=True)
    others = steps.sum(1, keepdims=True) - steps
    likeness = np.vecdot(steps, others) / np.sqrt(
        np.maximum(np.vecdot(steps, steps) * np.vecdot(others, others), 1e-300)
    )
    share = images.mean(1).var(1) / np.maximum(images.var((1, 2)), 1e-30)
    return np.asarray((likeness.min(1) > _LIKE) & (share < _MOST))


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
