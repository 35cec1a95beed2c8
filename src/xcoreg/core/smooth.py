"""Smoothing of batches of windows, and sums over small neighbourhoods."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating]

__all__ = ["box_sum", "smooth"]

_PASSES = 3
_NARROW = 2.0


def smooth(images: Floats, sigma: float, mode: str = "nearest") -> Floats:
    """Smooth each window by a Gaussian, or by three running means of the same width where it is wide.

    Parameters
    ----------
    images : (n, rows, cols) float
    sigma : float
        Standard deviation, px.
    mode : str
        What lies beyond the border, as in :mod:`scipy.ndimage`.

    Returns
    -------
    (n, rows, cols) float
        In the dtype of `images`.

    Examples
    --------
    >>> spike = np.eye(1, 61, 30)[None]
    >>> wide = smooth(spike, 4.0)[0, 0]
    >>> round(float((wide * (np.arange(61) - 30) ** 2).sum() ** 0.5), 1)  # the nearest odd width
    4.5
    """
    if sigma <= _NARROW:
        return np.asarray(ndimage.gaussian_filter(images, (0, sigma, sigma), mode=mode))
    # The variance of a running mean over w pixels is (w^2 - 1) / 12; an even width would shift the image.
    width = round(float(np.sqrt(12 * sigma**2 / _PASSES + 1))) | 1
    for _ in range(_PASSES):
        images = ndimage.uniform_filter(images, (0, width, width), mode=mode)
    return np.asarray(images)


def box_sum(images: Floats, side: int, stride: int = 1) -> Floats:
    """Sum over the square neighbourhood of every pixel; nothing lies beyond the border.

    Parameters
    ----------
    images : (n, rows, cols) float
    side : int
        Of the neighbourhood, px; odd.
    stride : int
        Only every so many rows and columns are told.

    Returns
    -------
    (n, rows, cols) float
        In the dtype of `images`.

    Examples
    --------
    >>> box_sum(np.ones((1, 3, 4)), 3)[0].tolist()
    [[4.0, 6.0, 6.0, 4.0], [6.0, 9.0, 9.0, 6.0], [4.0, 6.0, 6.0, 4.0]]
    """
    # A few shifted additions stay in the cache: ten times as fast as a general filter.
    down = _axis_sum(images.swapaxes(1, 2), side, stride).swapaxes(1, 2)
    return _axis_sum(down, side, stride)


def _axis_sum(images: Floats, side: int, stride: int) -> Floats:
    """Sum along the last axis."""
    size = images.shape[2]
    out = images[:, :, ::stride].copy(order="K")
    for k in range(1, side // 2 + 1):
        after = images[:, :, k::stride]
        out[:, :, : after.shape[2]] += after
        first = -(-k // stride)  # places whose neighbour k to the left exists
        before = images[:, :, first * stride - k : max(size - k, 0) : stride]
        out[:, :, first : first + before.shape[2]] += before
    return out
