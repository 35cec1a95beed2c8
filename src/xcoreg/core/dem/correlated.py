"""Errors of elevation models that are correlated over any distance: the variance of their mean, and trends among them.

Sums over squares see no correlation over a good part of the scene, since residuals have no mean. Differences between
pixels, of which a variogram is made (of several ranges, as Hugonnet et al. 2022), do not care about the mean.

A field through blocks follows such errors as it follows a distortion, and check blocks speak for it where their
neighbours share the error. Trends are compared by likelihood, each with noise of the ranges that suit it best.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy  # its optimize and linalg are loaded when they are used
from scipy import fft

from xcoreg.core import Floats, exponents, monomials

_REACH, _LAGS, _SHORTEST = 0.5, 10, 0.4  # longest distance over the longer side; number of ranges; the least, cells
_WIDEST, _FEWEST = 0.4, 9  # longest range over the longer side; cells that are needed
_SAMPLE = 180  # blocks that likelihoods are computed on
_RANGES, _LONGEST, _FINE = 7, 0.5, 0.75  # ranges that are tried, up to a share of the longer side, and about the best
_WHITE = (
    1e-5,
    3e-4,
    0.003,
    0.03,
    0.3,
    3.0,
    100.0,
)  # variance of what blocks do not share, over that of what they share
_NEEDS = (1, 5, 12, 20)  # blocks for polynomials of each order
_CLIP = 5.0  # deviations beyond so many usual ones count as so many
_NEAR, _COHERENT = 1.5, 3.0  # distance of neighbours over the least; standard errors of a correlation that is clear
_ANGLES, _LONG, _CLEAR = (
    np.arange(0.0, 180.0, 7.5),
    4.0,
    20.0,
)  # degrees; range along lines over that across; gain in BIC
_GOLDEN = 0.6180339887498949
Found = tuple[int, float, bool, float]


@dataclass(frozen=True)
class Trend:
    """Polynomial order of the trend of heights, and noise about it.

    effect : Variance of a mean of the blocks over that of as many independent ones.
    lines : Whether heights change along one direction alone, as no noise does.
    """

    order: int
    effect: float
    lines: bool


def is_coherent(x: Floats, y: Floats, values: Floats) -> bool:
    """Whether neighbouring blocks deviate alike (Moran's I): x, y (n,); values (n, k), in standard deviations."""
    distance = _distances(x, y)
    distance[distance == 0] = np.inf
    near = distance < _NEAR * np.median(distance.min(1))
    if not near.any():
        return False
    clear = 0.0
    for one in values.T:
        part = np.clip(one - np.median(one), -_CLIP, _CLIP)
        part = part - part.mean()
        clear += float((near @ part) @ part / max(np.mean(part**2), 1e-30) / np.sqrt(2.0 * near.sum()))
    return bool(clear / np.sqrt(values.shape[1]) > _COHERENT)


def find_trend(x: Floats, y: Floats, heights: Floats, fitted: Floats, *, directions: bool = True) -> Trend:
    """Find the order of the trend of heights of blocks among correlated noise.

    x, y, heights : (n,) float64; positions, any unit; heights : of blocks.
    fitted : (n,) float64; of any flexible model: blocks far off it are drawn to it.
    directions : Whether lines are sought.
    """
    rest, count = heights - fitted, len(x)
    usual = 1.4826 * float(np.median(np.abs(rest - np.median(rest))))
    heights = fitted + np.clip(rest, np.median(rest) - _CLIP * usual, np.median(rest) + _CLIP * usual)
    some = np.argsort((np.arange(len(x)) * _GOLDEN) % 1, kind="stable")[:_SAMPLE]
    x, y, n = x[some], y[some], len(some)
    order, extent = max(k for k in range(4) if n >= _NEEDS[k]), float(max(np.ptp(x), np.ptp(y)))
    terms = monomials(2 * (x - x.mean()) / extent, 2 * (y - y.mean()) / extent, order)
    both = np.column_stack([terms, heights[some]])
    cost, (order, length, smooth, white) = _most_likely(x, y, both, order)
    noise = _correlation(_distances(x, y), length, smooth) + white * np.eye(n)
    inner = noise - noise.mean(0)
    # Variances are those of the heights about their mean, which takes a part of long ranges.
    effect = float(noise.mean() * count * (n - 1) / np.trace(inner - inner.mean(1)[:, None]))
    return Trend(order, max(effect, 1.0), directions and _along_lines(x, y, both, order) < cost - _CLEAR)


def _distances(x: Floats, y: Floats) -> Floats:
    return np.hypot(x[:, None] - x, y[:, None] - y)


def _correlation(distance: Floats, length: float, smooth: bool) -> Floats:
    return np.asarray(np.exp(-((distance / length) ** 2)) if smooth else np.exp(-distance / length))


def _most_likely(x: Floats, y: Floats, both: Floats, order: int) -> tuple[float, Found]:
    """Least BIC, and the order of the trend, range, smoothness and share of independent noise that it is of."""
    distance = _distances(x, y)
    least, longest = _ranges(x, y)
    best = np.inf, (0, least, True, 1.0)
    for smooth in (True, False):
        for length in np.geomspace(least / 2, longest, _RANGES):
            best = min(best, _cost(both, distance, order, (float(length), smooth)))
    _, (_, length, smooth, _) = best
    # Smooth noise is seen through blocks so well that its range must be right.
    for one in length * np.geomspace(_FINE, 1 / _FINE, _RANGES):
        best = min(best, _cost(both, distance, order, (float(one), smooth)))
    return best


def _ranges(x: Floats, y: Floats) -> tuple[float, float]:
    distance = _distances(x, y)
    least = float(np.min(distance[distance > 0]))
    return least, max(_LONGEST * float(max(np.ptp(x), np.ptp(y))), 2 * least)


def _cost(
    both: Floats, distance: Floats, order: int, noise: tuple[float, bool], shares: Sequence[float] = _WHITE
) -> tuple[float, Found]:
    """Least BIC over shares of independent noise and orders: both (n, m + 1); terms, by rising degree, and heights."""
    n, best = len(both), (np.inf, (0, *noise, 1.0))
    shared = _correlation(distance, *noise)
    for white in shares:
        root = scipy.linalg.cholesky(shared + white * np.eye(n), lower=True, check_finite=False)
        alike = scipy.linalg.solve_triangular(root, both, lower=True, check_finite=False)
        across = np.asarray(np.linalg.qr(alike, mode="r"))[:, -1]
        log_det = 2 * float(np.log(np.diag(root)).sum())
        for k in range(order + 1):
            count = len(exponents(k))
            var = max(float((across[count:] ** 2).sum()) / n, 1e-30)
            # BIC, and more of it where terms are many for the blocks.
            cost = n * float(np.log(var)) + log_det + float(np.log(n)) * count * n / max(n - count - 1, 0.5)
            best = min(best, (cost, (k, *noise, white)))
    return best


def _along_lines(x: Floats, y: Floats, both: Floats, order: int) -> float:
    """Least BIC with noise that reaches far along one direction."""
    found = np.inf
    for angle in np.radians(_ANGLES):
        u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
        distance = _distances(u, v / _LONG)
        for length in np.geomspace(*_ranges(x, y), _RANGES):
            found = min(found, _cost(both, distance, order, (float(length), True), _WHITE[1::2])[0])
    return found


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
    ranges = np.array([_SHORTEST, *np.geomspace(1, max(longest * _WIDEST, 2), _LAGS)])
    shape = np.concatenate([np.exp(-((at[:, None] / ranges) ** 2)), np.exp(-at[:, None] / ranges[1:])], axis=1)
    use = (at > 0) & (at <= longest * _REACH) & (count > 1) & (gamma > 0)
    if use.sum() < 2:
        return np.nan
    # Errors are in proportion to the variogram, and grow with the distance: fewer pairs are independent.
    scale = 1 / (gamma[use] * np.sqrt(at[use]))
    sills = scipy.optimize.nnls((1 - shape[use]) * scale[:, None], gamma[use] * scale)[0]
    return float(count @ (shape @ sills) / count.sum())
