"""Interpolation kernels: taps and weights around a position, and weighted sums over them."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import DTypeLike, NDArray

from xcoreg.core import Array

Taps = tuple[NDArray[np.int64], list[Array]]

TICKS = float(2**20)


def _keys(distance: Array) -> Array:
    """Cubic convolution with a = -1/2 (Keys 1981, doi:10.1109/TASSP.1981.1163711)."""
    inner = (1.5 * distance - 2.5) * distance * distance + 1.0
    outer = ((2.5 - 0.5 * distance) * distance - 4.0) * distance + 2.0
    return np.where(distance < 1.0, inner, np.where(distance < 2.0, outer, 0.0))


def _b_spline(distance: Array) -> Array:
    """Cubic B-spline, which smooths (GDAL's cubic_spline): pixels are not returned at whole positions."""
    inner = (0.5 * distance - 1.0) * distance * distance + 2.0 / 3.0
    return np.where(distance < 1.0, inner, np.maximum(2.0 - distance, 0.0) ** 3 / 6.0)


def _lanczos(distance: Array) -> Array:
    """Sinc windowed by its own main lobe, three lobes; exactly 0 at whole distances, where sin(pi k) is not."""
    weight = np.sinc(distance) * np.sinc(distance / 3.0)
    weight[(distance >= 3.0) | (distance == np.rint(distance))] = 0.0
    weight[distance == 0.0] = 1.0
    return weight


def _cubic_weights(part: Array) -> list[Array]:
    """Keys' kernel at -1 - part, -part, 1 - part, 2 - part as polynomials: exactly 0, 1, 0, 0 at a whole position."""
    square = part * part
    before, here, after, beyond = 0.5 * part, 1.5 * part, 1.5 * part, 0.5 * part
    # In place: these arrays fill the processor's cache. ((1 - p/2) p - 1/2) p and ((2 - 3p/2) p + 1/2) p,
    for weight, constant, linear in ((before, 1, -0.5), (after, 2, 0.5)):
        np.subtract(constant, weight, out=weight)
        np.multiply(weight, part, out=weight)
        np.add(weight, linear, out=weight)
        np.multiply(weight, part, out=weight)
    # (3p/2 - 5/2) p**2 + 1 and (p/2 - 1/2) p**2.
    for weight, linear in ((here, 2.5), (beyond, 0.5)):
        np.subtract(weight, linear, out=weight)
        np.multiply(weight, square, out=weight)
    here += 1
    return [before, here, after, beyond]


def _b_spline_weights(part: Array) -> list[Array]:
    return [_b_spline(np.abs(part - k)) for k in (-1, 0, 1, 2)]


def _lanczos_weights(part: Array) -> list[Array]:
    """All six taps from three sines; angles are measured from the nearer side, which keeps their digits."""
    rest = 1 - part
    wave = np.sin(np.pi * np.minimum(part, rest))
    weights = []
    for distance, nearest_is_whole, steps in ((part, part == 0, (2, 1, 0)), (rest, rest == 0, (0, 1, 2))):
        sine, cosine = np.sin(distance * (np.pi / 3)), np.cos(distance * (np.pi / 3))
        for k in steps:
            slow = sine * math.cos(k * math.pi / 3) + cosine * math.sin(k * math.pi / 3) if k else sine
            away = distance + k
            weight = wave * slow / np.where(away == 0, 1, away * away)
            weights.append(-weight if k % 2 else weight)
            if k == 0:
                weights[-1][nearest_is_whole] = 1
    total = sum(weights[1:], start=weights[0])
    return [weight / total for weight in weights]


#: name -> weights of the taps of the unwidened kernel, first to last, at parts [0, 1) of a pixel
_AT_PART: dict[str, Callable[[Array], list[Array]]] = {
    "bilinear": lambda part: [1 - part, part],
    "cubic": _cubic_weights,
    "cubic_spline": _b_spline_weights,
    "lanczos": _lanczos_weights,
}

#: name -> (support in pixels, weight as a function of the absolute distance)
KERNELS: dict[str, tuple[float, Callable[[Array], Array]]] = {
    "nearest": (0.5, lambda distance: (distance <= 0.5).astype(distance.dtype)),
    "bilinear": (1.0, lambda distance: np.maximum(1.0 - distance, 0.0)),
    "cubic": (2.0, _keys),
    "cubic_spline": (2.0, _b_spline),
    "lanczos": (3.0, _lanczos),
}


def nearest_index(position: Array) -> NDArray[np.int64]:
    """Index of the nearest pixel; half way it is the higher one: position (...,) float -> (...,) int64."""
    index: NDArray[np.int64] = np.floor(round_position(position) + 0.5).astype(np.int64)
    return index


def round_position(position: Array) -> Array:
    """Round positions to 2**-20 px, so that whole pixels are recognised in spite of round-off."""
    rounded: Array = np.asarray(position * TICKS)
    np.rint(rounded, out=rounded)
    rounded *= 1.0 / TICKS  # a power of two: exactly what a division gives
    return rounded


def reach(kernel: str, scale: float = 1.0) -> int:
    """Count the taps of a kernel on either side of a position."""
    return math.ceil(KERNELS[kernel][0] * max(scale, 1.0))


def taps(position: Array, kernel: str, scale: float, dtype: DTypeLike) -> Taps:
    """First pixel (n,) and weights, one (n,) per tap, of the taps around positions (n,) along one axis."""
    weight_at = KERNELS[kernel][1]
    scale, half = max(scale, 1.0), reach(kernel, scale)
    base = np.floor(position)
    fraction = (position - base).astype(dtype)
    if scale == 1.0 and kernel in _AT_PART:
        return base.astype(np.int64) + (1 - half), weights_at(fraction, kernel)
    weights = [weight_at(np.abs(fraction - k) / scale) for k in range(1 - half, half + 1)]
    if kernel == "lanczos" or scale > 1.0:
        total = sum(weights[1:], start=weights[0])
        weights = [weight / total for weight in weights]
    return base.astype(np.int64) + (1 - half), weights


def weights_at(part: Array, kernel: str) -> list[Array]:
    """Weights of the taps of a kernel that is not widened, at parts [0, 1) of a pixel."""
    return _AT_PART[kernel](part)


def sum_slices(values: Array, by_row: list[Array], by_col: list[Array], out: Array) -> None:
    """Sum weighted taps into `out` (n, m), each a slice of the image, in the order of :func:`sum_taps`."""
    n, m = out.shape
    along, tap = np.empty_like(values, shape=out.shape), np.empty_like(values, shape=out.shape)
    out[...] = 0  # not the first product: the sum must not come out as minus zero
    for i, row_weight in enumerate(by_row):
        for j, col_weight in enumerate(by_col):
            cut = values[i : i + n, j : j + m]
            if j == 0:
                np.multiply(cut, col_weight, out=along)
            else:
                np.multiply(cut, col_weight, out=tap)
                along += tap
        along *= row_weight
        out += along


def sum_taps(values: Array, by_row: Taps, by_col: Taps) -> Array:
    """Sum the weighted taps of scattered positions: values (n_rows, n_cols) floating -> (n,) floating."""
    (rows, row_weights), (cols, col_weights) = by_row, by_col
    flat, width = values.ravel(), values.shape[1]
    start = rows * width + cols
    total = np.zeros(start.shape, dtype=values.dtype)
    for i, row_weight in enumerate(row_weights):
        along = np.zeros(start.shape, dtype=values.dtype)
        for j, col_weight in enumerate(col_weights):
            tap = flat[i * width + j :].take(start)  # a shifted view costs less than shifted indices
            tap *= col_weight
            along += tap
        along *= row_weight
        total += along
    return total


def sum_along_axis(data: Array, by_axis: Taps, axis: int) -> Array:
    """Sum the weighted taps along one axis of (n_rows, n_cols); by slices where positions step by one pixel."""
    first, weights = by_axis
    unit = bool((np.diff(first) == 1).all())
    total = np.zeros(())
    for tap, weight in enumerate(weights):
        if not weight.any():
            continue
        start = int(first[0]) + tap
        span = slice(start, start + first.size)
        cut = (data[span] if axis == 0 else data[:, span]) if unit else np.take(data, first + tap, axis=axis)
        constant = weight.min() == weight.max()
        factor = weight[0] if constant else (weight[:, None] if axis == 0 else weight)
        total = cut * factor if total.ndim == 0 else np.add(total, cut * factor, out=total)
    return total
