"""Pixels that changed between the images: which windows have some, and what weight the refinement gives each pixel."""

from __future__ import annotations

import numpy as np

from xcoreg.core import Bools, Floats
from xcoreg.core.quality import Cells, box_sum
from xcoreg.core.sampling import sum_blocks

# Pixels have changed where their neighbourhood differs by so many times the typical energy; its side, px.
_CHANGED, _BOX = 4.0, 5
# Cells may have changed that differ by so many times the typical energy; share of all at which pixels are checked.
_SUSPECT, _SHARE = 3.0, 2e-3
_EDGES = 0.6  # share of the scene's edges to be left, in units of the share of pixels that are
# Side of blocks that may be displaced within a window, and by how much, in steps of 2 px.
_LOCAL, _MOST_LOCAL = 24, 0.75
# Share of a difference that such shifts explain from which on it is a field; scale of that in half of the blocks.
_DISPLACED, _MEDIAN = 0.55, 1.5
_STRIDE = 4  # the typical energy is measured at every fourth pixel


def windows_with_changes(cells: Cells) -> Bools:
    """Windows in which some cells differ so much more than is typical that pixels have to be checked: -> (n,) bool."""
    n = len(cells.a)
    mean_difference, roughness = cells.mean_difference().reshape(n, -1), cells.roughness().reshape(n, -1)
    limit = _SUSPECT * np.maximum(_typical(mean_difference, roughness), 1e-12)
    excess = np.maximum(mean_difference - limit[:, None].astype(np.float32), 0)
    return np.asarray(excess.sum(1) > _SHARE * mean_difference.sum(1))


def change_weights(difference: Floats, both: Floats, mask: Floats) -> Floats:
    """Weight of every pixel (n, rows, cols): 1, less where the neighbourhood differs far more than is typical.

    The typical difference is measured where the scene has texture: next to calm water all land would look changed.
    """
    energy, squares = difference * difference, mask * mask
    local = box_sum(energy, _BOX) / np.maximum(box_sum(squares, _BOX), 1e-3 * _BOX**2)
    roughness = np.zeros_like(both)
    np.subtract(both[:, 1:], both[:, :-1], out=roughness[:, 1:])
    roughness *= roughness
    across = both[:, :, 1:] - both[:, :, :-1]
    across *= across
    roughness[:, :, 1:] += across
    roughness = np.where(mask[:, ::_STRIDE, ::_STRIDE] > 0, box_sum(roughness, _BOX, _STRIDE), 0)
    n = len(local)
    typical = _typical(local[:, ::_STRIDE, ::_STRIDE].reshape(n, -1), roughness.reshape(n, -1))
    limit = (_CHANGED * np.maximum(typical, 1e-12)).astype(np.float32)
    return np.asarray(np.minimum(1, limit[:, None, None] / np.maximum(local, 1e-12)))


def edges_removed(weight: Floats, both: Floats) -> Bools:
    """Windows (n,) whose weights (n, rows, cols) remove edges of the scene rather than areas that have changed.

    Images of few values, masks or classes, differ along edges alone: what is left is a copy at a whole pixel.
    """
    rough = np.diff(both[:, 1:], axis=2) ** 2
    rough += np.diff(both[:, :, 1:], axis=1) ** 2
    weight, n = weight[:, 1:, 1:], len(both)
    left = np.vecdot(rough.reshape(n, -1), weight.reshape(n, -1)) / np.maximum(rough.sum((1, 2)), 1e-30)
    return np.asarray(left < _EDGES * weight.mean((1, 2)))


def share_removed(difference: Floats, weight: Floats) -> Floats:
    """Share (n,) of the energy of the difference (n, rows, cols) that the weights remove."""
    n = len(difference)
    energy = (difference * difference).reshape(n, -1)
    return np.asarray(1 - np.vecdot(energy, weight.reshape(n, -1)) / np.maximum(energy.sum(1), 1e-30))


def displaced(difference: Floats, both: Floats, removed: Floats) -> Bools:
    """Windows (n,) whose difference is that of a field which varies within them."""
    return displaced_share(difference, both, removed) > _DISPLACED


def displaced_share(difference: Floats, both: Floats, removed: Floats) -> Floats:
    """Share (n,) of a difference (n, rows, cols) that short shifts of blocks explain.

    Of what is removed, or in half of all blocks if that is less: a field that varies within a window moves most of
    it, what leans or has changed a part.
    """
    if not len(both) or min(both.shape[1:]) < 2 * _LOCAL:
        return np.zeros(len(both))
    d, scene, weight = (_coarse(part) for part in (difference, both, removed))
    x, y = (scene[:, 1:-1, 2:] - scene[:, 1:-1, :-2]) / 4, (scene[:, 2:, 1:-1] - scene[:, :-2, 1:-1]) / 4
    d, weight = d[:, 1:-1, 1:-1], weight[:, 1:-1, 1:-1]
    pairs = (x, x), (x, y), (y, y), (d, x), (d, y), (d, d), (weight * d, d)
    xx, xy, yy, dx, dy, dd, wdd = (sum_blocks(a * b, _LOCAL).reshape(len(d), -1) for a, b in pairs)
    det = np.maximum(xx * yy - xy**2, 1e-30)
    move = np.stack([yy * dx - xy * dy, xx * dy - xy * dx]) / det
    explained = (move[0] * dx + move[1] * dy) * (np.hypot(*move) < _MOST_LOCAL)
    of_removed = wdd / np.maximum(dd, 1e-30)
    share = (explained * of_removed).sum(1) / np.maximum((dd * of_removed).sum(1), 1e-30)
    return np.asarray(np.minimum(share, _MEDIAN * np.median(explained / np.maximum(dd, 1e-30), axis=1)))


def _coarse(images: Floats) -> Floats:
    """Sum images (n, rows, cols) over 2 x 2 px, and smooth: moves of about a pixel become linear."""
    rows, cols = (size // 2 * 2 for size in images.shape[1:])
    out = images[:, :rows, :cols]
    out = out[:, ::2] + out[:, 1::2]
    out = out[:, :, ::2] + out[:, :, 1::2]
    out = out[:, 2:] + out[:, :-2] + 2 * out[:, 1:-1]
    return np.asarray(out[:, :, 2:] + out[:, :, :-2] + 2 * out[:, :, 1:-1])


def _typical(local: Floats, roughness: Floats) -> Floats:
    """Median (n,) of differences (n, positions) over the rougher half of each window."""
    at = np.arange(len(local))
    count = (roughness > 0).sum(1)
    middle = np.minimum(roughness.shape[1] - count + count // 2, roughness.shape[1] - 1)
    half = np.sort(roughness, axis=1)[at, middle][:, None]
    some = np.where(roughness >= half, local, np.inf)
    return np.asarray(np.sort(some, axis=1)[at, np.isfinite(some).sum(1) // 2])
