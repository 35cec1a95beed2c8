"""Windows moved by fractions of a pixel, so that slopes stay where they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating]
    Bools = NDArray[np.bool_]

__all__ = ["lagrange", "moved"]

# Six pixels along each axis may leave less than this share of the valid ones, two so many times more: then these do.
_LEFT, _MORE = 0.5, 3


def lagrange(part: float, taps: range = range(-2, 4)) -> Floats:
    """Weights of some pixels for a position `part` behind pixel 0: six are exact for polynomials of degree 5.

    Kernels that are not exact for a slope move it: Lanczos' with three lobes by up to 0.015 px.

    Examples
    --------
    >>> lagrange(0.0).tolist()
    [0.0, 0.0, 1.0, 0.0, 0.0, 0.0]
    >>> lagrange(0.25, range(2)).tolist()
    [0.75, 0.25]
    """
    own = [[(part - other) / (tap - other) for other in taps if other != tap] for tap in taps]
    return np.asarray(np.prod(own, axis=1))


def moved(values: Floats, valid: Bools, move: Floats) -> tuple[Floats, Bools]:
    """Move a window's content.

    Parameters
    ----------
    values : (rows, cols) float
        Finite.
    valid : (rows, cols) bool
    move : (2,) float
        (dcol, drow), px: to the right and down.

    Returns
    -------
    out : (rows, cols) float
        What was at ``(row - drow, col - dcol)``.
    known : (rows, cols) bool
        True where every pixel that has a weight is valid and inside. Six along each axis have one; where so many
        are missing that this would leave next to nothing, two.

    Examples
    --------
    >>> image = np.tile(np.arange(9.0), (7, 1))
    >>> out, known = moved(image, np.ones(image.shape, bool), np.array([0.25, 0.0]))
    >>> out[3, known[3]].round(6).tolist()
    [2.75, 3.75, 4.75, 5.75]
    """
    out, known = _both(values, valid, move, range(-2, 4))
    count = np.count_nonzero(known)
    if count < _LEFT * np.count_nonzero(valid):
        plain = _both(values, valid, move, range(2))
        if np.count_nonzero(plain[1]) > _MORE * count:
            return plain
    return out, known


def _both(values: Floats, valid: Bools, move: Floats, taps: range) -> tuple[Floats, Bools]:
    for axis, step in ((1, float(move[0])), (0, float(move[1]))):
        values, valid = _along(values, valid, -step, axis, taps)
    return values, valid


def _along(values: Floats, valid: Bools, at: float, axis: int, taps: range) -> tuple[Floats, Bools]:
    """Read every pixel `at` px farther along an axis."""
    whole = int(np.floor(at + 0.5)) if abs(at - np.rint(at)) < 1e-6 else int(np.floor(at))
    part = 0.0 if abs(at - np.rint(at)) < 1e-6 else at - whole
    out, known = np.zeros_like(values), np.ones_like(valid)
    for tap, weight in zip(taps, lagrange(part, taps).tolist(), strict=True):
        if weight == 0.0:
            continue
        goal, source = _slices(values.shape[axis], whole + tap)
        here, there = (tuple(s if a == axis else slice(None) for a in range(2)) for s in (goal, source))
        out[here] += values.dtype.type(weight) * values[there]
        known[here] &= valid[there]
        outside = [slice(0, goal.start), slice(goal.stop, None)]
        for rest in outside:
            known[tuple(rest if a == axis else slice(None) for a in range(2))] = False
    return out, known


def _slices(length: int, step: int) -> tuple[slice, slice]:
    """Where pixels with a neighbour `step` px farther lie, and those neighbours."""
    start, stop = min(max(0, -step), length), max(min(length, length - step), 0)
    stop = max(stop, start)
    return slice(start, stop), slice(start + step, stop + step)
