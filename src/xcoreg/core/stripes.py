"""Stripes of sensors: columns or rows of pixels that differ from their neighbours throughout a window."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from xcoreg.core import Bools, Floats, Ints
from xcoreg.core.phase import modes_for

_ABOVE_SCENE = 0.04  # frequency below which scenes outshine stripes, cycles per pixel
# Correlation of stripes in all parts of a window, and their share of its variance above which they are the scene.
_LIKE, _MOST = 0.25, 0.95
_STRIPED = 2.5  # modes on an axis of so many times the mean power of their ring are those of stripes


@lru_cache(maxsize=32)
def axes_of(rows: int, cols: int) -> tuple[tuple[Ints, Ints, Bools], ...]:
    """Modes on the axes of the Fourier plane, where stripes along columns (first) or rows of pixels lie.

    For each axis: modes on it with the ring of each, both (k,), and (m,) bool, modes within one step of it.
    """
    modes = modes_for(rows, cols)
    ring = np.repeat(np.arange(len(modes.sizes)), modes.sizes)
    high = np.hypot(modes.fx, modes.fy) > _ABOVE_SCENE
    out = []
    for frequency, size in ((modes.fy, rows), (modes.fx, cols)):
        off = np.abs(np.rint(frequency * size))
        on = np.flatnonzero(high & (off == 0))
        out.append((on, ring[on], high & (off <= 1)))
    return tuple(out)


def stripe_modes(striped: Bools, shape: tuple[int, ...]) -> Bools:
    """Modes (n, m) on which stripes along columns or rows, (n, 2) bool, lie."""
    near = [one[:, None] & axis for one, (*_, axis) in zip(striped.T, axes_of(*shape[-2:]), strict=True)]
    return np.asarray(near[0] | near[1])


def striped_axes(images: tuple[Floats, Bools], power: Floats, mean: Floats) -> Bools:
    """Whether a window has stripes along its columns, or rows, (n, 2): modes on an axis stand out from their rings.

    power, mean : (n, m), (n, n_rings); power of every mode, and its mean over rings.
    """
    out = np.zeros((len(power), 2), bool)
    for axis, (on, ring, _) in enumerate(axes_of(*images[0].shape[1:])):
        if on.size:
            out[:, axis] = (power[:, on] / np.maximum(mean[:, ring], 1e-30)).mean(1) > _STRIPED
        index = np.flatnonzero(out[:, axis])
        if index.size:
            image, valid = images[0][index], images[1][index]
            turned = (image.swapaxes(1, 2), valid.swapaxes(1, 2)) if axis else (image, valid)
            out[index, axis] = _same_everywhere(*turned)
    return out


def _same_everywhere(images: Floats, valid: Bools) -> Bools:
    """Whether columns (n, rows, cols) differ from their neighbours in the same way in all of four bands of rows.

    A blob does so in some bands only; what columns consist of entirely is the scene itself.
    """
    edges = np.linspace(0, images.shape[1], 4, endpoint=False).astype(int)
    sums = np.add.reduceat(images * valid, edges, axis=1, dtype=np.float64)
    steps = np.diff(sums / np.maximum(np.add.reduceat(valid, edges, axis=1, dtype=np.float64), 1), axis=2)
    steps -= steps.mean(2, keepdims=True)
    others = steps.sum(1, keepdims=True) - steps
    likeness = np.vecdot(steps, others) / np.sqrt(
        np.maximum(np.vecdot(steps, steps) * np.vecdot(others, others), 1e-300)
    )
    share = images.mean(1).var(1) / np.maximum(images.var((1, 2)), 1e-30)
    return np.asarray((likeness.min(1) > _LIKE) & (share < _MOST))


def remove_stripes(image: Floats, valid: Bools, striped: Bools) -> None:
    """Subtract the mean of every column or row of pixels, in place, where windows are striped along it, (n, 2)."""
    for axis in (0, 1):
        index = np.flatnonzero(striped[:, axis])
        if index.size:
            seen = valid[index]
            total = image[index].sum(axis + 1, keepdims=True)
            image[index] -= seen * (total / np.maximum(seen.sum(axis + 1, keepdims=True), 1))
