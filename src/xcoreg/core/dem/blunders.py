"""Blunders of elevation models: pixels far from the median of their neighbours, found and filled before any slope."""

from __future__ import annotations

import numpy as np

from xcoreg.core import Bools, Floats

# A pixel is a blunder when it deviates from the local median by so many times the usual step from pixel to pixel near
# it, and as many times the usual deviation. On a slope the median is exact; on peaks it is off by less than a step.
_STEPS, _LIMIT, _SAMPLE, _FILLS = 3.0, 6.0, 50_000, 4
_PASSES, _MORE = 6, 5e-4  # passes end when they add less than this share of the pixels
_LEAST = 2e-6  # of the largest height: rounding of float32


def find_blunders(values: Floats, valid: Bools) -> Bools:
    """Find pixels that are no terrain: values (rows, cols) float32 -> (rows, cols) bool, among the valid ones."""
    if min(values.shape) < 5 or not valid.any():
        return np.zeros(valid.shape, bool)
    full = values if valid.all() else fill_rows(values, valid)
    least, wrong = _LEAST * float(np.abs(values).max(initial=0.0)), np.zeros(valid.shape, bool)
    for _ in range(_PASSES):
        # Many blunders hide each other: what has been found is filled, and the usual steps are measured anew.
        clean = fill_blunders(full, wrong)
        middle = local_median(clean)
        off, among = np.abs(full - middle), np.abs(clean - middle)
        usual = max(float(np.median(among[valid][:: max(1, int(valid.sum()) // _SAMPLE) | 1])), least)
        found = valid & (off > _STEPS * local_median(_steps(clean)) + _LIMIT * (local_median(among) + usual))
        more = np.count_nonzero(found & ~wrong)
        wrong |= found
        if more < _MORE * wrong.size:
            break
    return wrong


_PLATEAU, _CLIFF = 50, 8.0  # pixels of one value; steps around it over the usual steps: lakes have shores, no cliffs


def plateau_value(values: Floats, valid: Bools) -> float | None:
    """Find a value that fills an area with cliffs around it, as 0 does where mountains are missing."""
    level = valid[1:, 1:] & valid[1:, :-1] & valid[:-1, 1:]
    level &= (values[1:, 1:] == values[1:, :-1]) & (values[1:, 1:] == values[:-1, 1:])
    flat = values[1:, 1:][level]
    if flat.size < _PLATEAU:
        return None
    found, counts = np.unique(flat, return_counts=True)
    inside = values == found[int(np.argmax(counts))]
    rim, usual = [], []
    for axis in (0, 1):
        ahead, behind = _along(axis, slice(1, None)), _along(axis, slice(None, -1))
        known, step = valid[ahead] & valid[behind], np.abs(values[ahead] - values[behind])
        rim.append(step[known & (inside[ahead] != inside[behind])])
        usual.append(step[known & ~inside[ahead] & ~inside[behind]])
    cliffs, steps = np.concatenate(rim), np.concatenate(usual)
    if counts.max() < _PLATEAU or not cliffs.size or not steps.size:
        return None
    return float(found[int(np.argmax(counts))]) if np.median(cliffs) > _CLIFF * np.median(steps) > 0 else None


def _steps(values: Floats) -> Floats:
    """Mean size of the steps to the right and down from each pixel."""
    across, down = np.diff(values, axis=1, append=values[:, -1:]), np.diff(values, axis=0, append=values[-1:])
    return np.asarray(np.abs(across) + np.abs(down)) / 2


def local_median(values: Floats) -> Floats:
    """Median of the medians of rows of 5 x 5 pixels: a spike must not make a slope; (rows, cols) float."""
    for axis in (1, 0):
        padded = np.pad(values, [(2, 2) if a == axis else (0, 0) for a in range(2)], mode="reflect")
        n = values.shape[axis]
        a, b, c, d, e = (padded[_along(axis, slice(k, k + n))] for k in range(5))
        low = np.maximum(np.minimum(a, b), np.minimum(d, e))
        high = np.minimum(np.maximum(a, b), np.maximum(d, e))
        values = np.maximum(np.minimum(low, high), np.minimum(np.maximum(low, high), c))
    return values


def _along(axis: int, part: slice) -> tuple[slice, ...]:
    return tuple(part if a == axis else slice(None) for a in range(2))


def fill_rows(values: Floats, valid: Bools) -> Floats:
    """Fill pixels that are not valid with the last valid one of their row, else column, else the mean."""
    out, known = values, valid
    for axis in (1, 0):
        n = known.shape[axis]
        place = np.arange(n).reshape((1, -1) if axis else (-1, 1))
        last = np.maximum.accumulate(np.where(known, place, -1), axis=axis)
        first = np.flip(np.minimum.accumulate(np.flip(np.where(known, place, n), axis), axis=axis), axis)
        source = np.where(last >= 0, last, np.where(first < n, first, 0))
        out, known = np.take_along_axis(out, source, axis), np.take_along_axis(known, source, axis)
    return np.where(known, out, values[valid].mean() if valid.any() else 0).astype(values.dtype)


def fill_blunders(values: Floats, wrong: Bools) -> Floats:
    """Replace blunders by the mean of their neighbours, so that interpolation and slopes near them survive."""
    rows, cols = np.nonzero(wrong)
    if not len(rows):
        return values
    out, (height, width) = values.copy(), values.shape
    out[rows, cols] = local_median(values)[rows, cols]
    up, down = np.maximum(rows - 1, 0), np.minimum(rows + 1, height - 1)
    left, right = np.maximum(cols - 1, 0), np.minimum(cols + 1, width - 1)
    for _ in range(_FILLS):
        out[rows, cols] = (out[up, cols] + out[down, cols] + out[rows, left] + out[rows, right]) / 4
    return out
