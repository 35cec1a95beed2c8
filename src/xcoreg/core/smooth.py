"""Wide smoothing in constant time per pixel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating]

__all__ = ["smooth"]

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
