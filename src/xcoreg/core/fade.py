"""Fading out windows towards their border and their invalid pixels, and the slopes of the fading weight."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import fft

from xcoreg.core import Bools, Floats, Ints
from xcoreg.core.phase import forward, inverse

# Weights of the outermost pixels: smooth enough for interpolation, steep enough to lose little of a window.
_FADE = np.array([0.15, 0.7, 0.97])


class Margin(NamedTuple):
    """Fading weight of pixels, (n, rows, cols), and its slopes along columns and rows over it, per pixel."""

    weight: Floats
    slope_x: Floats
    slope_y: Floats


def fade_frame(shape: tuple[int, int], move: Ints) -> Margin:
    """Fading weight of windows valid everywhere, (rows, cols), the target's moved by whole pixels (n, 2)."""
    if not move.any():
        move = move[:1]
    down, across = (_fade_side(size, move[:, axis])[:, :, None] for axis, size in ((1, shape[0]), (0, shape[1])))
    slope_y, slope_x = (_ratio(slopes(side)[1], side) for side in (down, across))
    return Margin(down * across.swapaxes(1, 2), slope_x.swapaxes(1, 2), slope_y)


def fade(valid: Bools) -> Margin:
    """Fading weight of windows with invalid pixels: seen (n, rows, cols) bool."""
    steps = np.diff(_FADE, prepend=0, append=1).astype(np.float32)
    out = valid * steps[0]
    for step in steps[1:]:
        valid = _erode(valid)
        out += valid * step
    slope_x, slope_y = slopes(out)
    return Margin(out, _ratio(slope_x, out), _ratio(slope_y, out))


def slopes(weight: Floats) -> tuple[Floats, Floats]:
    """Spectral derivatives of a weight along columns and rows, per pixel."""
    shape = weight.shape[1:]
    plane = forward(weight)
    turn = np.complex64(2j * np.pi)
    fy, fx = fft.fftfreq(shape[0]).astype(np.float32), fft.rfftfreq(shape[1]).astype(np.float32)
    if shape[0] % 2 == 0:
        fy[shape[0] // 2] = 0
    return inverse(plane * (turn * fx), shape), inverse(plane * (turn * fy)[:, None], shape)


def _fade_side(size: int, move: Ints) -> Floats:
    """Weights (n, size) along one side of windows moved by whole pixels (n,)."""
    first, last = np.maximum(move, 0)[:, None], size - 1 + np.minimum(move, 0)[:, None]
    place = np.arange(size)[None]
    inward = np.minimum(place - first, last - place)
    weights = np.append(_FADE, (1, 0)).astype(np.float32)
    return weights[np.where(inward < 0, len(_FADE) + 1, np.minimum(inward, len(_FADE)))]


def _ratio(slope: Floats, weight: Floats) -> Floats:
    """Slope over weight, 0 where the weight is 0."""
    return np.divide(slope, weight, out=np.zeros_like(slope), where=weight > 0)


def _erode(valid: Bools) -> Bools:
    """Remove pixels next to invalid ones or to the border."""
    down = np.zeros_like(valid)
    down[:, 1:-1] = valid[:, :-2] & valid[:, 1:-1] & valid[:, 2:]
    out = np.zeros_like(valid)
    out[:, :, 1:-1] = down[:, :, :-2] & down[:, :, 1:-1] & down[:, :, 2:]
    return out


def standardise(image: Floats, weight: Floats) -> Floats:
    """Standardise windows to zero mean and unit variance under a weight, and apply it."""
    n = len(image)
    total = np.maximum(window_sums(weight), 1e-6)
    flat, one = image.reshape(n, -1), weight.reshape(len(weight), -1)
    out = image - (np.vecdot(flat, one) / total)[:, None, None]
    out *= weight
    flat = out.reshape(n, -1)
    scale = np.sqrt(np.vecdot(flat, flat) / total)
    out *= (1 / np.where(scale > 0, scale, 1)).astype(np.float32)[:, None, None]
    return np.asarray(out)


def without_mean(image: Floats, weight: Floats) -> Floats:
    """Subtract a multiple of the weight so that the sum is zero, in place."""
    image -= (window_sums(image) / np.maximum(window_sums(weight), 1e-6))[:, None, None] * weight
    return image


def window_sums(images: Floats) -> Floats:
    """Sum of each window; over flat windows, so that the rounding does not depend on their number."""
    return np.asarray(images.reshape(len(images), -1).sum(1))
