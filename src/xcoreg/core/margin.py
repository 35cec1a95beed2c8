"""The weight that fades windows out towards their border and towards what is not valid."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import fft

from xcoreg.core.spectrum import forward, inverse

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating]
    Bools = NDArray[np.bool_]

__all__ = ["Margin", "fade", "fade_frame", "slopes"]

# Smooth enough to be read between the pixels, and steep enough to lose hardly any of a window.
_FADE = np.array([0.15, 0.7, 0.97])


class Margin(NamedTuple):
    """A weight of pixels, (n, rows, cols) float32, and its slopes over itself along columns and rows.

    Slopes are per pixel, and 0 where the weight is; their shapes broadcast to that of the weight.
    """

    weight: Floats
    lean_x: Floats
    lean_y: Floats


def fade_frame(shape: tuple[int, int], move: NDArray[np.intp]) -> Margin:
    """Weight of windows that are valid everywhere, one of each pair moved by whole pixels.

    Parameters
    ----------
    shape : (rows, cols)
    move : (n, 2) int
        Pixels along (col, row); what has left the window has no weight.

    Returns
    -------
    Margin
        n is 1 where nothing moved.

    Examples
    --------
    >>> fade_frame((8, 8), np.array([[1, 0]])).weight[0, 4].round(2).astype(float).round(2).tolist()
    [0.0, 0.15, 0.7, 0.97, 1.0, 0.97, 0.7, 0.15]
    """
    if not move.any():
        move = move[:1]
    down, across = (_side(size, move[:, axis])[:, :, None] for axis, size in ((1, shape[0]), (0, shape[1])))
    lean_y, lean_x = (_over(slopes(side)[1], side) for side in (down, across))
    return Margin(down * across.swapaxes(1, 2), lean_x.swapaxes(1, 2), lean_y)


def fade(seen: Bools) -> Margin:
    """Weight of windows with holes.

    Parameters
    ----------
    seen : (n, rows, cols) bool

    Returns
    -------
    Margin
        Weights are 0 where not seen, 1 from three pixels away.

    Examples
    --------
    >>> seen = np.ones((1, 7, 9), bool)
    >>> fade(seen).weight[0, 3].astype(float).round(2).tolist()
    [0.15, 0.7, 0.97, 1.0, 1.0, 1.0, 0.97, 0.7, 0.15]
    """
    steps = np.diff(_FADE, prepend=0, append=1).astype(np.float32)
    out = seen * steps[0]
    for step in steps[1:]:
        seen = _shrunk(seen)
        out += seen * step
    slope_x, slope_y = slopes(out)
    return Margin(out, _over(slope_x, out), _over(slope_y, out))


def slopes(weight: Floats) -> tuple[Floats, Floats]:
    """Slopes of a weight along columns and rows, per pixel, as a phase ramp would have them.

    Examples
    --------
    >>> wave = np.sin(2 * np.pi * np.arange(8) / 8)
    >>> slopes(np.float32(np.ones((1, 8, 1)) * wave))[0][0, 0, :3].round(3).tolist()
    [0.785, 0.555, 0.0]
    """
    shape = weight.shape[1:]
    plane = forward(weight)
    turn = np.complex64(2j * np.pi)
    fy, fx = fft.fftfreq(shape[0]).astype(np.float32), fft.rfftfreq(shape[1]).astype(np.float32)
    if shape[0] % 2 == 0:
        fy[shape[0] // 2] = 0
    return inverse(plane * (turn * fx), shape), inverse(plane * (turn * fy)[:, None], shape)


def _side(size: int, move: NDArray[np.intp]) -> Floats:
    """Weights (n, size) along one side of windows moved by so many pixels."""
    first, last = np.maximum(move, 0)[:, None], size - 1 + np.minimum(move, 0)[:, None]
    place = np.arange(size)[None]
    inward = np.minimum(place - first, last - place)
    return np.append(_FADE, (1, 0)).astype(np.float32)[
        np.where(inward < 0, len(_FADE) + 1, np.minimum(inward, len(_FADE)))
    ]


def _over(slope: Floats, weight: Floats) -> Floats:
    """Slope over weight, 0 where the weight is."""
    return np.divide(slope, weight, out=np.zeros_like(slope), where=weight > 0)


def _shrunk(seen: Bools) -> Bools:
    """Drop what is next to anything not seen, the border included."""
    down = np.zeros_like(seen)
    down[:, 1:-1] = seen[:, :-2] & seen[:, 1:-1] & seen[:, 2:]
    out = np.zeros_like(seen)
    out[:, :, 1:-1] = down[:, :, :-2] & down[:, :, 1:-1] & down[:, :, 2:]
    return out
