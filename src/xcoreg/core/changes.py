"""What has changed between two aligned windows (clouds, cars, waves): in which windows, and at which pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from xcoreg.core.smooth import box_sum

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xcoreg.core.cells import Cells

    Floats = NDArray[np.floating]
    Bools = NDArray[np.bool_]

__all__ = ["removed", "stand_out", "unchanged"]

# Pixels whose neighbourhood differs by this many times the usual energy have changed between the images.
_CHANGED, _BOX = 4.0, 5
# Cells are coarser: this much over the usual in some of them, as a share of all, is reason to look at the pixels.
_SUSPECT, _SHARE = 3.0, 2e-3
# What usually differs is measured at every fourth pixel.
_STRIDE = 4


def stand_out(cells: Cells) -> Bools:
    """Tell in which windows some cells differ so much more than usual that the pixels need to be looked at.

    Parameters
    ----------
    cells : Cells
        Of aligned windows of equal mean and spread.

    Returns
    -------
    (n,) bool

    Examples
    --------
    >>> from xcoreg.core.cells import Cells
    >>> a, b = np.random.default_rng(0).standard_normal((2, 2, 64, 64)).astype(np.float32)
    >>> b[1, 20:24, 20:24] += 9
    >>> stand_out(Cells.of(a, a + 0.1 * b, np.ones(a.shape, bool))).tolist()
    [False, True]
    """
    n = len(cells.a)
    apart, rough = cells.apart().reshape(n, -1), cells.rough().reshape(n, -1)
    limit = _SUSPECT * np.maximum(_usual(apart, rough), 1e-12)
    excess = np.maximum(apart - limit[:, None].astype(np.float32), 0)
    return np.asarray(excess.sum(1) > _SHARE * apart.sum(1))


def unchanged(difference: Floats, both: Floats, mask: Floats) -> Floats:
    """Weigh every pixel: 1, less where the neighbourhood differs far more than usual.

    What differs usually is measured where the scene has texture: calm water next to land would make all land suspect.

    Parameters
    ----------
    difference, both : (n, rows, cols) float32
        Difference and sum of aligned windows of equal mean and spread, faded out by their weight.
    mask : (n or 1, rows, cols) float32
        That weight.

    Returns
    -------
    (n, rows, cols) float32

    Examples
    --------
    >>> noise = 0.1 * np.random.default_rng(0).standard_normal((2, 1, 64, 64)).astype(np.float32)
    >>> noise[0, 0, 20:30, 20:30] += 1
    >>> weight = unchanged(noise[0], 10 * noise[1], np.ones((1, 64, 64), np.float32))[0]
    >>> bool(weight[25, 25] < 0.1), float(weight[50, 50])
    (True, 1.0)
    """
    energy, squares = difference * difference, mask * mask
    local = box_sum(energy, _BOX) / np.maximum(box_sum(squares, _BOX), 1e-3 * _BOX**2)
    rough = np.zeros_like(both)
    np.subtract(both[:, 1:], both[:, :-1], out=rough[:, 1:])
    rough *= rough
    across = both[:, :, 1:] - both[:, :, :-1]
    across *= across
    rough[:, :, 1:] += across
    rough = np.where(mask[:, ::_STRIDE, ::_STRIDE] > 0, box_sum(rough, _BOX, _STRIDE), 0)
    n = len(local)
    usual = _usual(local[:, ::_STRIDE, ::_STRIDE].reshape(n, -1), rough.reshape(n, -1))
    limit = (_CHANGED * np.maximum(usual, 1e-12)).astype(np.float32)
    return np.asarray(np.minimum(1, limit[:, None, None] / np.maximum(local, 1e-12)))


def removed(difference: Floats, weight: Floats) -> Floats:
    """Tell which share of the difference (n, rows, cols) the weights take away, (n,).

    Examples
    --------
    >>> removed(np.ones((1, 2, 2)), np.array([[[0.0, 1.0], [1.0, 1.0]]])).tolist()
    [0.25]
    """
    n = len(difference)
    energy = (difference * difference).reshape(n, -1)
    return np.asarray(1 - np.vecdot(energy, weight.reshape(n, -1)) / np.maximum(energy.sum(1), 1e-30))


def _usual(local: Floats, rough: Floats) -> Floats:
    """Median difference (n,) over the rougher half of each window, of (n, places)."""
    at = np.arange(len(local))
    there = (rough > 0).sum(1)
    middle = np.minimum(rough.shape[1] - there + there // 2, rough.shape[1] - 1)
    half = np.sort(rough, axis=1)[at, middle][:, None]
    some = np.where(rough >= half, local, np.inf)
    return np.asarray(np.sort(some, axis=1)[at, np.isfinite(some).sum(1) // 2])
