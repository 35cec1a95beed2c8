"""Measures of agreement and of accuracy: structural similarity, the Cramer-Rao bound, robust spread."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import fft as sfft
from scipy import ndimage

from xcoreg.core.smooth import smooth

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.floating]
    Bools = NDArray[np.bool_]

__all__ = ["ce90", "crlb", "nmad", "participation", "ssim"]

# Parts of a window along each side.
_PARTS = 8
# Side of the neighbourhood of the structural similarity, and its two constants for images of unit variance.
_SSIM_BOX, _SSIM_C1, _SSIM_C2 = 7, 0.01, 0.03


def ssim(a: Floats, b: Floats, valid: Bools) -> Floats:
    """Mean structural similarity of pairs of windows, gain and offset of each window taken out first.

    Wang et al. 2004 (doi:10.1109/TIP.2003.819861) on 7 x 7 neighbourhoods, over valid pixels.

    Parameters
    ----------
    a, b : (n, rows, cols) float
        Finite windows.
    valid : (n, rows, cols) bool
        Pixels that count.

    Returns
    -------
    (n,) float64
        1 for equal windows, about 0 for windows with nothing in common; NaN without valid pixels.

    Examples
    --------
    >>> image = np.random.default_rng(0).standard_normal((1, 32, 32))
    >>> ssim(image, 3 * image + 5, np.ones(image.shape, bool)).round(3).tolist()
    [1.0]
    """
    weight = valid.astype(np.float32)
    count = weight.sum((1, 2), keepdims=True)
    a, b = _standard(a, weight, count), _standard(b, weight, count)

    def local(values: Floats) -> Floats:
        return np.asarray(ndimage.uniform_filter(values * weight, (0, _SSIM_BOX, _SSIM_BOX), mode="constant") / share)

    share = np.maximum(ndimage.uniform_filter(weight, (0, _SSIM_BOX, _SSIM_BOX), mode="constant"), 1e-3)
    mean_a, mean_b = local(a), local(b)
    var_a, var_b = local(a * a) - mean_a**2, local(b * b) - mean_b**2
    both = local(a * b) - mean_a * mean_b
    likeness = (2 * mean_a * mean_b + _SSIM_C1) / (mean_a**2 + mean_b**2 + _SSIM_C1)
    likeness = likeness * (2 * both + _SSIM_C2) / (np.maximum(var_a + var_b, 0) + _SSIM_C2)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((likeness * weight).sum((1, 2), dtype=np.float64) / count[:, 0, 0])


def participation(a: Floats, b: Floats, valid: Bools) -> Floats:
    """Tell over how many of 64 equal parts of a window the agreement of two images is spread.

    A blob fits any other blob with a perfect peak; what betrays it is that all the agreement lies in one spot.

    Parameters
    ----------
    a, b : (n, rows, cols) float
        Aligned windows, finite, at least 8 x 8.
    valid : (n, rows, cols) bool
        Pixels that count.

    Returns
    -------
    (n,) float64
        ``sum(c)^2 / sum(c^2)`` over the parts, `c` being the sum of products of the windows without their slow
        variation: 64 for agreement everywhere, 1 for agreement in one part.

    Examples
    --------
    >>> spot = np.zeros((1, 64, 64)); spot[0, 18:22, 18:22] = 1
    >>> bool(participation(spot, spot, np.ones(spot.shape, bool))[0] < 2)
    True
    """
    wide = min(a.shape[1:]) / _PARTS / 2
    weight = valid.astype(np.float32)
    sharp = [weight * (image - smooth(image, wide)) for image in (np.asarray(a, np.float32), np.asarray(b, np.float32))]
    edges = [np.linspace(0, size, _PARTS, endpoint=False).astype(np.intp) for size in a.shape[1:]]
    shared = np.add.reduceat(np.add.reduceat(sharp[0] * sharp[1], edges[0], axis=1), edges[1], axis=2)
    shared = shared.astype(np.float64)
    total, square = shared.sum((1, 2)), (shared**2).sum((1, 2))
    return np.asarray(np.clip(total, 0, None) ** 2 / np.maximum(square, 1e-300))


def crlb(window: Floats, variance: float) -> NDArray[np.float64]:
    """Cramer-Rao bound on the shift between two looks at one scene.

    ``2 variance G^-1`` with ``G`` the summed outer products of the scene's gradients (Robinson & Milanfar 2004,
    doi:10.1109/TIP.2004.834650), from spectral derivatives of the mirrored window.

    Parameters
    ----------
    window : (rows, cols) float
        The scene without noise.
    variance : float
        Noise variance of each look.

    Returns
    -------
    (2, 2) float64
        The least covariance any unbiased estimate can have, px², axes (col, row).

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
    """Normalised median absolute deviation: ``1.4826 median |v - median v|`` over the finite values.

    Examples
    --------
    >>> nmad([1.0, 2.0, 3.0, 100.0, float("nan")])
    1.4826
    """
    array = np.asarray(values, np.float64)
    array = array[np.isfinite(array)]
    return float(1.4826 * np.median(np.abs(array - np.median(array)))) if array.size else float("nan")


def ce90(dx: ArrayLike, dy: ArrayLike) -> float:
    """Circular error: the empirical 90th percentile of the radial distance, over the finite pairs.

    Examples
    --------
    >>> ce90([3.0, 3.0, 3.0], [4.0, 4.0, float("nan")])
    5.0
    """
    radius = np.hypot(np.asarray(dx, np.float64), np.asarray(dy, np.float64))
    radius = radius[np.isfinite(radius)]
    return float(np.percentile(radius, 90)) if radius.size else float("nan")


def _standard(values: Floats, weight: Floats, count: Floats) -> Floats:
    """Zero mean and unit variance over the valid pixels."""
    total = np.maximum(count, 1)
    values = values - (values * weight).sum((1, 2), keepdims=True) / total
    scale = np.sqrt((values**2 * weight).sum((1, 2), keepdims=True) / total)
    return np.asarray(values / np.where(scale > 0, scale, 1), np.float32)


def _slope(window: Floats, axis: int) -> Floats:
    """Spectral derivative per pixel along an axis, the window mirrored so that it has no seam."""
    mirrored = np.concatenate([window, np.flip(window, axis)], axis)
    size = mirrored.shape[axis]
    frequency = sfft.fftfreq(size)
    frequency[size // 2] = 0
    ramp = (2j * np.pi * frequency).reshape((-1, 1) if axis == 0 else (1, -1))
    whole = sfft.ifft(sfft.fft(mirrored, axis=axis) * ramp, axis=axis).real
    return np.asarray(whole.take(range(window.shape[axis]), axis))
