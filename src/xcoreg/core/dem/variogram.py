"""Variance of a mean of correlated errors, from a variogram of several ranges (as Hugonnet et al. 2022).

Sums over squares see no correlation over a good part of the scene, since residuals have no mean. Differences between
pixels, of which a variogram is made, do not care about the mean.
"""

from __future__ import annotations

import numpy as np
import scipy  # its optimize is loaded when it is used
from scipy import fft

from xcoreg.core import Floats

_REACH, _RANGES, _SHORTEST = 0.5, 10, 0.4  # longest distance over the longer side; number of ranges; the least, cells
_LONGEST, _FEWEST = 0.4, 9  # longest range over the longer side; cells that are needed


def mean_variance(sums: Floats, counts: Floats) -> float:
    """Variance of the mean of samples whose sums and numbers over cells (rows, cols) are known; NaN for few cells.

    The variogram of the cells' means is fitted by Gaussian and exponential models of many ranges, none negative, and
    integrated over all pairs of cells.
    """
    known = counts > 0
    if known.sum() < _FEWEST:
        return np.nan
    usual = float(np.median(counts[known]))
    known &= counts >= usual / 2  # means of few samples have other errors
    means, weight = np.where(known, sums / np.maximum(counts, 1), 0.0), known.astype(np.float64)
    means -= weight * (means.sum() / weight.sum())
    size = tuple(fft.next_fast_len(2 * n, real=True) for n in means.shape)
    value, mask, square = (fft.rfft2(part, size) for part in (means, weight, means**2))
    pairs, products, squares = (
        fft.irfft2(part, size) for part in (mask * mask.conj(), value * value.conj(), square * mask.conj())
    )
    distance = np.hypot(*np.meshgrid(*(np.fft.fftfreq(n, 1 / n) for n in size), indexing="ij"))
    lag = np.rint(distance).astype(np.intp).ravel()
    count = np.bincount(lag, np.maximum(np.rint(pairs), 0).ravel())
    gamma = np.bincount(lag, (squares - products).ravel()) / np.maximum(count, 1)
    at, longest = np.arange(len(count), dtype=np.float64), max(means.shape)
    ranges = np.array([_SHORTEST, *np.geomspace(1, max(longest * _LONGEST, 2), _RANGES)])
    shape = np.concatenate([np.exp(-((at[:, None] / ranges) ** 2)), np.exp(-at[:, None] / ranges[1:])], axis=1)
    use = (at > 0) & (at <= longest * _REACH) & (count > 1) & (gamma > 0)
    if use.sum() < 2:
        return np.nan
    # Errors are in proportion to the variogram, and grow with the distance: fewer pairs are independent.
    scale = 1 / (gamma[use] * np.sqrt(at[use]))
    sills = scipy.optimize.nnls((1 - shape[use]) * scale[:, None], gamma[use] * scale)[0]
    return float(count @ (shape @ sills) / count.sum())
