"""Measures of agreement and accuracy: structural similarity, Cramer-Rao bound, NMAD, CE90; smoothing and local sums."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import fft as sfft, ndimage

from xcoreg.core import Bools, Floats, Ints
from xcoreg.core.robust import NMAD

_PASSES = 3
_NARROW = 2.0


def smooth(images: Floats, sigma: float, mode: str = "nearest") -> Floats:
    """Smooth windows (n, rows, cols) by a Gaussian, a wide one by three running means of the same variance."""
    if sigma <= _NARROW:
        return np.asarray(ndimage.gaussian_filter(images, (0, sigma, sigma), mode=mode))
    # The variance of a running mean over w pixels is (w^2 - 1) / 12; an even width would shift the image.
    width = round(float(np.sqrt(12 * sigma**2 / _PASSES + 1))) | 1
    for _ in range(_PASSES):
        images = ndimage.uniform_filter(images, (0, width, width), mode=mode)
    return np.asarray(images)


def box_sum(images: Floats, side: int, stride: int = 1) -> Floats:
    """Sum over the square neighbourhood of every pixel of (n, rows, cols); zero beyond the border."""
    # A few shifted additions are ten times as fast as a general filter.
    down = _axis_sum(images.swapaxes(1, 2), side, stride).swapaxes(1, 2)
    return _axis_sum(down, side, stride)


def _axis_sum(images: Floats, side: int, stride: int) -> Floats:
    """Sum along the last axis."""
    size = images.shape[2]
    out = images[:, :, ::stride].copy(order="K")
    for k in range(1, side // 2 + 1):
        after = images[:, :, k::stride]
        out[:, :, : after.shape[2]] += after
        first = -(-k // stride)  # first output whose neighbour k to the left exists
        before = images[:, :, first * stride - k : max(size - k, 0) : stride]
        out[:, :, first : first + before.shape[2]] += before
    return out


CELL = 4  # side of a cell, px; the structural similarity uses neighbourhoods of 2 x 2 cells


@dataclass(frozen=True, eq=False)
class Cells:
    """Sums over small square cells of n pairs of windows, for their similarity and changes.

    side : Of a cell, px.
    w : (n or 1, down, across) float32; number of valid pixels; one row where it is the same for all windows.
    a, b, aa, bb, ab : (n, down, across) float32; both windows, their squares and products, over valid pixels.
    """

    side: int
    w: Floats
    a: Floats
    b: Floats
    aa: Floats
    bb: Floats
    ab: Floats

    @classmethod
    def of(cls, a: Floats, b: Floats, valid: Bools, side: int = CELL) -> Cells:
        """Sum a, b (n, rows, cols) over cells; the last ones may reach beyond the windows, which adds nothing."""
        if any(size % side or size < 2 * side for size in a.shape[1:]):
            pad = [(0, 0), *((0, max(-size % side, 2 * side - size)) for size in a.shape[1:])]
            a, b, valid = np.pad(a, pad), np.pad(b, pad), np.pad(valid, pad)
        weight = np.asarray(valid, np.float32)
        if not valid.all():
            a, b = a * weight, b * weight
        n, rows, cols = a.shape
        a4, b4 = (part.reshape(n, rows // side, side, cols) for part in (a, b))
        sums = [np.einsum("nqrc,nqrc->nqc", *pair) for pair in ((a4, a4), (b4, b4), (a4, b4))]
        count = weight.reshape(len(weight), rows // side, side, cols).sum(2)
        return cls(side, *(_sum_columns(part, side) for part in (count, a4.sum(2), b4.sum(2), *sums)))

    def put(self, index: Ints, part: Cells) -> None:
        """Replace the cells of some windows."""
        for name in (f.name for f in fields(self)[2:]):
            getattr(self, name)[index] = getattr(part, name)

    def mean_difference(self) -> Floats:
        """Mean square difference of the windows in every cell, 0 where less than half of a cell is valid."""
        change = np.maximum(self.aa + self.bb - 2 * self.ab, 0)
        return np.asarray(np.where(self._counts(), change / np.maximum(self.w, 1), 0))

    def roughness(self) -> Floats:
        """Variance of the sum of both windows within every cell, 0 where less than half of a cell is valid."""
        mean = (self.a + self.b) / np.maximum(self.w, 1)
        power = (self.aa + self.bb + 2 * self.ab) / np.maximum(self.w, 1)
        return np.asarray(np.where(self._counts(), np.maximum(power - mean * mean, 0), 0))

    def _counts(self) -> Bools:
        return np.asarray(self.w > 0.5 * self.side**2)


_FULL = 0.99  # fading weight above which pixels count for the similarity


@dataclass(frozen=True, eq=False)
class Aligned:
    """Both windows (n, rows, cols) after the correction, faded out by a weight; `cells` where it is close to 1."""

    tgt: Floats
    ref: Floats
    weight: Floats
    cells: Cells

    @classmethod
    def of(cls, tgt: Floats, ref: Floats, weight: Floats) -> Aligned:
        """Windows with their sums over cells."""
        return cls(tgt, ref, weight, Cells.of(ref, tgt, weight > _FULL))

    @property
    def full(self) -> Bools:
        """Pixels that count for the similarity, (n or 1, rows, cols)."""
        return self.weight > _FULL

    def put(self, index: Ints, tgt: Floats, ref: Floats) -> None:
        """Replace some of the windows."""
        self.tgt[index], self.ref[index] = tgt, ref
        full = self.full if len(self.weight) == 1 else self.full[index]
        self.cells.put(index, Cells.of(ref, tgt, full))


def _sum_columns(rows: Floats, side: int) -> Floats:
    """Sum groups of `side` columns."""
    out = rows[:, :, ::side].copy()
    for k in range(1, side):
        out += rows[:, :, k::side]
    return out


_PARTS = 8  # parts along each side of a window
_SSIM_C1, _SSIM_C2 = 0.01, 0.03  # constants of the structural similarity, for images of unit variance


def ssim(a: Floats, b: Floats, valid: Bools) -> Floats:
    """Mean structural similarity (n,) of pairs of windows (n, rows, cols), whatever their gains and offsets.

    Wang et al. 2004 (doi:10.1109/TIP.2003.819861) on neighbourhoods of 8 x 8 pixels, every fourth along each side, over
    valid pixels.
    """
    return _ssim(Cells.of(_centre(a, valid), _centre(b, valid), valid))


def ssim_centred(a: Floats, b: Floats, valid: Bools) -> Floats:
    """`ssim` of windows whose means are close to zero, in less time."""
    return _ssim(Cells.of(a, b, valid))


def agreement(a: Floats, b: Floats, valid: Bools, cells: Cells | None = None) -> tuple[Floats, Floats, Floats]:
    """Similarity (n,) of windows with means close to zero, number (n,) and centre (n, 2) of the parts that agree.

    One blob matches any other with a perfect peak, but all the agreement lies in one spot: that reveals it.
    """
    cells = Cells.of(a, b, valid) if cells is None else cells
    # Cells so small that the slowly varying part is constant within one.
    side = int(np.clip(min(a.shape[1:]) // (2 * _PARTS), 1, CELL))
    fine = cells if side == cells.side else Cells.of(a, b, valid, side)
    shared, own, seen = _part_sums(fine, a.shape)
    return _ssim(cells), _effective_parts(shared), _centre_of_agreement(shared, own, seen, a.shape)


def _centre(image: Floats, valid: Bools) -> Floats:
    """Subtract the mean over valid pixels; zero elsewhere, single precision."""
    n = len(image)
    count = np.maximum(valid.reshape(n, -1).sum(1), 1)
    clean = np.where(valid, image, 0)
    mean = clean.reshape(n, -1).sum(1) / count
    return np.asarray(np.where(valid, clean - mean[:, None, None], 0), np.float32)


def _ssim(cells: Cells) -> Floats:
    """Mean structural similarity over neighbourhoods of 2 x 2 cells."""
    n = len(cells.a)
    pixels = np.maximum(cells.w.reshape(len(cells.w), -1).sum(1), 1)
    means, scales = [], []
    for one, square in ((cells.a, cells.aa), (cells.b, cells.bb)):
        mean = one.reshape(n, -1).sum(1) / pixels
        scale = np.sqrt(np.maximum(square.reshape(n, -1).sum(1) / pixels - mean**2, 0))
        means.append(mean[:, None, None])
        scales.append(np.where(scale > 0, 1 / np.where(scale > 0, scale, 1), 1)[:, None, None])
    w, a, b, aa, bb, ab = (_sum_2x2(part) for part in (cells.w, cells.a, cells.b, cells.aa, cells.bb, cells.ab))
    share = 1 / np.maximum(w, 1e-3)
    a, b, aa, bb, ab = a * share, b * share, aa * share, bb * share, ab * share
    variances = (aa - a * a) * scales[0] ** 2 + (bb - b * b) * scales[1] ** 2
    both = (ab - a * b) * (scales[0] * scales[1])
    a, b = (a - means[0]) * scales[0], (b - means[1]) * scales[1]
    similarity = (2 * a * b + _SSIM_C1) / (a * a + b * b + _SSIM_C1)
    similarity *= (2 * both + _SSIM_C2) / (np.maximum(variances, 0) + _SSIM_C2)
    total = w.reshape(len(w), -1).sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((similarity * w).reshape(n, -1).sum(1, dtype=np.float64) / total)


def _sum_2x2(cells: Floats) -> Floats:
    """Sum over 2 x 2 cells, at every cell but the last of each row and column."""
    down = cells[:, :-1] + cells[:, 1:]
    return np.asarray(down[:, :, :-1] + down[:, :, 1:])


def _part_sums(cells: Cells, shape: tuple[int, ...]) -> tuple[Floats, Floats, Floats]:
    """Sum products and mean squares over 8 x 8 parts after high-pass filtering; share of valid pixels."""
    sigma = min(shape[1:]) / _PARTS / 2 / cells.side
    down, across = (_gaussian_matrix(size, sigma) for size in cells.a.shape[1:])
    wide, slow_a, slow_b = (down @ part @ across for part in (cells.w, cells.a, cells.b))
    slow_a /= np.maximum(wide, 1e-6)
    slow_b /= np.maximum(wide, 1e-6)
    both = cells.ab - cells.b * slow_a - cells.a * slow_b + cells.w * slow_a * slow_b
    own = cells.aa + cells.bb - 2 * (cells.a * slow_a + cells.b * slow_b) + cells.w * (slow_a**2 + slow_b**2)
    edges = [(np.linspace(0, size, _PARTS, endpoint=False) / cells.side).astype(np.intp) for size in shape[1:]]

    def sums(values: Floats) -> Floats:
        values = np.where(cells.w > 0.5, values, 0)
        return np.asarray(np.add.reduceat(np.add.reduceat(values, edges[0], axis=1), edges[1], axis=2), np.float64)

    seen = sums(np.broadcast_to(cells.w, both.shape))
    return sums(both), sums(own) / 2, seen / np.maximum(seen.max((1, 2), keepdims=True), 1e-300)


def _effective_parts(shared: Floats) -> Floats:
    """Effective number of parts that agree."""
    total, square = shared.sum((1, 2)), (shared**2).sum((1, 2))
    return np.asarray(np.clip(total, 0, None) ** 2 / np.maximum(square, 1e-300))


def _centre_of_agreement(shared: Floats, own: Floats, seen: Floats, shape: tuple[int, ...]) -> Floats:
    """Centre (col, row) of the parts, weighted by their correlation, px from the window's centre."""
    weight = seen * np.clip(shared / np.maximum(own, 1e-300), 0, 1)
    total = np.maximum(weight.sum((1, 2)), 1e-300)
    row, col = ((np.arange(_PARTS) + 0.5) * size / _PARTS - size / 2 for size in shape[1:])
    return np.asarray(np.stack([weight.sum(1) @ col / total, weight.sum(2) @ row / total], -1))


@lru_cache(maxsize=32)
def _gaussian_matrix(size: int, sigma: float) -> Floats:
    """Symmetric matrix (size, size) that smooths along an axis; zero beyond the ends."""
    lag = np.arange(size)[:, None] - np.arange(size)[None]
    return np.exp(-0.5 * (lag / sigma) ** 2).astype(np.float32)


def crlb(window: Floats, variance: float) -> NDArray[np.float64]:
    """Cramer-Rao bound on the shift between two noisy images of one scene.

    ``2 variance G^-1`` with ``G`` the summed outer products of the scene's gradients (Robinson & Milanfar 2004,
    doi:10.1109/TIP.2004.834650), from spectral derivatives of the mirrored window.

    Parameters
    ----------
    window : (rows, cols) float
        The scene without noise.
    variance : float
        Noise variance of each image.

    Returns
    -------
    (2, 2) float64
        Smallest covariance of an unbiased estimate, px², axes (col, row).

    Examples
    --------
    >>> wave = np.cos(0.5 * np.arange(64))
    >>> bool(abs(crlb(wave[:, None] + wave[None, :], 1.0)[0, 0] - 2 / (64 * 64 * 0.125)) < 2e-4)
    True
    """
    slope_x, slope_y = (_slope(np.asarray(window, np.float64), axis) for axis in (1, 0))
    cross = float((slope_x * slope_y).sum())
    return np.asarray(2 * variance * np.linalg.inv([[(slope_x**2).sum(), cross], [cross, (slope_y**2).sum()]]))


def nmad(values: ArrayLike) -> float:
    """Normalised median absolute deviation: ``1.4826 median |v - median v|`` over the finite values."""
    array = np.asarray(values, np.float64)
    array = array[np.isfinite(array)]
    return float(NMAD * np.median(np.abs(array - np.median(array)))) if array.size else float("nan")


def ce90(dx: ArrayLike, dy: ArrayLike) -> float:
    """Circular error: the empirical 90th percentile of the radial distance, over the finite pairs."""
    radius = np.hypot(np.asarray(dx, np.float64), np.asarray(dy, np.float64))
    radius = radius[np.isfinite(radius)]
    return float(np.percentile(radius, 90)) if radius.size else float("nan")


def _slope(window: Floats, axis: int) -> Floats:
    """Spectral derivative per pixel along an axis, the window mirrored so that it has no seam."""
    mirrored = np.concatenate([window, np.flip(window, axis)], axis)
    size = mirrored.shape[axis]
    frequency = sfft.fftfreq(size)
    frequency[size // 2] = 0
    ramp = (2j * np.pi * frequency).reshape((-1, 1) if axis == 0 else (1, -1))
    whole = sfft.ifft(sfft.fft(mirrored, axis=axis) * ramp, axis=axis).real
    return np.asarray(whole.take(range(window.shape[axis]), axis))
