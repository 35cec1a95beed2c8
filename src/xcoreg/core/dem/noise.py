"""How far an answer can be off when the noise of neighbouring pixels goes together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.floating]
    Field = tuple[tuple[int, int], NDArray[np.intp], Floats]

__all__ = ["correlation_length", "sandwich"]

# Lags are looked at up to this part of a window's side; correlation below this is taken for none.
_FARTHEST, _NONE = 4, 0.05
# Cells are so many correlation lengths wide, px at least, and so many go along the side of a window at least.
_LENGTHS, _LEAST_CELL, _FEWEST_CELLS = 3.0, 4, 4
# Mean lag of a Gaussian autocorrelation over its length: what blocks miss of it.
_LAG = 0.64
# Windows looked at for the correlation length.
_ENOUGH = 12


def correlation_length(fields: Sequence[Field]) -> float:
    """Distance over which residuals go together: the integral of their autocorrelation from zero on, px.

    Parameters
    ----------
    fields : sequence of (shape, at, residual)
        Of each window: rows and columns, numbers of its samples row by row, and the residuals there.

    Returns
    -------
    float
        0 for white noise; the mean over the two axes, lags beyond the first without correlation left out.

    Examples
    --------
    >>> noise = np.random.default_rng(1).standard_normal((64, 64))
    >>> field = lambda image: [(image.shape, np.arange(image.size), image.ravel())]
    >>> correlation_length(field(noise)) < 0.2
    True
    >>> from scipy.ndimage import gaussian_filter
    >>> 3 < correlation_length(field(gaussian_filter(noise, 3))) < 6
    True
    """
    chosen = fields[:: max(1, len(fields) // _ENOUGH)]
    sums: dict[int, float] = {}
    lags = max((_span(shape) // _FARTHEST for shape, _, _ in chosen), default=0)
    grids = [_grid(*field) for field in chosen]
    power = _mean_product(grids, 0)
    if not power > 0:
        return 0.0
    for lag in range(1, lags + 1):
        sums[lag] = _mean_product(grids, lag) / power
        if not sums[lag] > _NONE:
            break
    return float(sum(part for part in sums.values() if part > _NONE))


def _span(shape: tuple[int, int]) -> int:
    """Shorter side of a window, or length of a line of samples."""
    return max(shape) if min(shape) == 1 else min(shape)


def _grid(shape: tuple[int, int], at: NDArray[np.intp], residual: Floats) -> tuple[Floats, Floats]:
    values, known = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    values.ravel()[at], known.ravel()[at] = residual, 1
    return values, known


def _mean_product(grids: list[tuple[Floats, Floats]], lag: int) -> float:
    total = count = 0.0
    for values, known in grids:
        for part, mask in ((values, known), (values.T, known.T)):
            keep = max(len(part) - lag, 0)
            total += float(np.einsum("ij,ij->i", part[:keep], part[lag:]).sum(dtype=np.float64))
            count += float(np.einsum("ij,ij->i", mask[:keep], mask[lag:]).sum(dtype=np.float64))
    return total / count if count else np.nan


def sandwich(shape: tuple[int, int], at: NDArray[np.intp], scores: Floats, length: float) -> Floats:
    """Covariance of the sum of scores over a window whose noise has a correlation length.

    Parameters
    ----------
    shape : (rows, cols)
    at : (n,) int
        Numbers of the samples, row by row.
    scores : (m, n) float
        What each sample adds to each of the normal equations.
    length : float
        From :func:`correlation_length`, px.

    Returns
    -------
    (m, m) float64
        Sums of squares over overlapping blocks of two by two cells a few correlation lengths wide: a Bartlett kernel
        (Newey & West 1987, doi:10.2307/1913610; Conley 1999, doi:10.1016/S0304-4076(98)00084-0), never negative.

    Examples
    --------
    >>> noise = np.random.default_rng(1).standard_normal((1, 128 * 128))
    >>> cov = sandwich((128, 128), np.arange(128 * 128), noise, 0.0)
    >>> bool(abs(cov[0, 0] / 128**2 - 1) < 0.2)
    True
    """
    side = int(min(max(np.ceil(_LENGTHS * length), _LEAST_CELL), max(_span(shape) // _FEWEST_CELLS, 1)))
    rows, cols = -(-shape[0] // side), -(-shape[1] // side)
    cell = (at // shape[1] // side) * cols + (at % shape[1]) // side
    sums = np.stack([np.bincount(cell, score, rows * cols) for score in scores]).reshape(len(scores), rows, cols)
    padded = np.pad(sums, ((0, 0), (1, 1), (1, 1)))
    blocks = padded[:, 1:, 1:] + padded[:, 1:, :-1] + padded[:, :-1, 1:] + padded[:, :-1, :-1]
    flat = blocks.reshape(len(scores), -1)
    # Noise that goes together over a lag is seen by the blocks that hold both ends; the fit has taken its share, too.
    seen = (1 - _LAG * length / (2 * side)) ** 2
    free = max(1 - len(scores) * (4 / 3 * side) ** (1 if min(shape) == 1 else 2) / max(len(at), 1), 0.5)
    return np.asarray(np.einsum("in,jn->ij", flat, flat) / (4 * seen * free))
