"""Interpolation compiled by numba (extra ``fast``): the sums of :mod:`xcoreg.core.tiles`, bit for bit.

Positions come from the nodes of a lattice and live in the processor's registers. Along a row the source pixel minus the
output pixel stays the same for long runs: within one, all taps are slices, which the compiler turns into vectors.
Products and sums keep the order of numpy's, and none are fused. Import this module where numba is wanted only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np

from xcoreg.core import Array, Bools, Floats
from xcoreg.core.kernels import TICKS

F = TypeVar("F", bound=Callable[..., Any])

_FAR = 2.0**30  # px
_SHORT, _LONG = (1 << 5) - 1, (1 << 20) - 1  # px of a run, less 1, where pixels are missing, and elsewhere
_ROUND = 1.0 / TICKS
_ZERO, _HALF, _ONE = np.float32(0), np.float32(0.5), np.float32(1)
_THREE_HALVES, _TWO, _FIVE_HALVES = np.float32(1.5), np.float32(2), np.float32(2.5)


def _compile(function: F) -> F:
    made: Any = numba.njit(nogil=True, cache=True, error_model="numpy")
    return cast("F", made(function))


@_compile
def _rows_of_nodes(nodes: Floats, step: int, start: tuple[int, int], lines: Floats, usual: Bools) -> None:
    """Interpolate the nodes (2, n, m) at the columns of a block: lines (2, k, columns); (2, k) if all are near."""
    for axis in range(2):
        for line in range(lines.shape[1]):
            row = nodes[axis, start[0] // step + line]
            near = True
            for k in range(lines.shape[2]):
                cell = (start[1] + k) // step
                part = (start[1] + k - cell * step) / step
                position = row[cell] + (row[cell + 1] - row[cell]) * part
                lines[axis, line, k] = position
                near &= abs(position) < _FAR  # not true of NaN
            usual[axis, line] = near


@_compile
def _locate(lines: tuple[Floats, Floats], part: float, moves: int, usual: bool, at: Array, parts: Array) -> None:
    """Whole pixels, less the index within the row where they move with it, and parts of a pixel."""
    here, following = lines
    if usual:
        for k in range(here.size):
            position = np.rint(((following[k] - here[k]) * part + here[k]) * TICKS) * _ROUND
            first = np.floor(position)
            parts[k] = np.float32(position - first)
            at[k] = np.int32(first) - np.int32(k) * np.int32(moves)
        return
    for k in range(here.size):
        position = (following[k] - here[k]) * part + here[k]
        if not abs(position) < _FAR:
            position = -_FAR  # unknown: outside of every image
        position = np.rint(position * TICKS) * _ROUND
        parts[k] = np.float32(position - np.floor(position))
        at[k] = np.int32(np.floor(position)) - np.int32(k) * np.int32(moves)


@_compile
def _runs(rows: Array, cols: Array, bits: int, ends: Array) -> None:
    """Find the ends of runs of pixels whose taps lie alike; runs end where the bits of the index are zero, too."""
    count = 0
    for k in range(1, rows.size):
        ends[count] = k  # stays where a run ends: no branch
        count += (rows[k] != rows[k - 1]) | (cols[k] != cols[k - 1]) | (k & bits == 0)
    ends[count] = rows.size


@_compile
def _keys(p: Any) -> Any:
    """Weights of the cubic's four taps, as :func:`xcoreg.core.kernels.weights_at` reckons them."""
    square, half, more = p * p, _HALF * p, _THREE_HALVES * p
    before, here = ((_ONE - half) * p - _HALF) * p, (more - _FIVE_HALVES) * square + _ONE
    return before, here, ((_TWO - more) * p + _HALF) * p, (half - _HALF) * square


@_compile
def _two(line: Array, k: int, w: Any, x: Any) -> Any:
    return np.float32(line[k]) * w + np.float32(line[k + 1]) * x


@_compile
def _four(line: Array, k: int, weights: Any) -> Any:
    w, x, y, z = weights
    return (_two(line, k, w, x) + np.float32(line[k + 2]) * y) + np.float32(line[k + 3]) * z


@_compile
def _cubic(values: Array, row: int, col: int, parts: tuple[Array, Array], out: Array) -> None:
    end, (by_row, by_col) = col + out.size + 3, parts
    a, b, c, d = values[row, col:end], values[row + 1, col:end], values[row + 2, col:end], values[row + 3, col:end]
    for k in range(out.size):
        across, (w, x, y, z) = _keys(by_col[k]), _keys(by_row[k])
        total = (_ZERO + _four(a, k, across) * w) + _four(b, k, across) * x
        out[k] = (total + _four(c, k, across) * y) + _four(d, k, across) * z


@_compile
def _bilinear(values: Array, row: int, col: int, parts: tuple[Array, Array], out: Array) -> None:
    end, (by_row, by_col) = col + out.size + 1, parts
    a, b = values[row, col:end], values[row + 1, col:end]
    for k in range(out.size):
        x, y = by_col[k], by_row[k]
        out[k] = (_ZERO + _two(a, k, _ONE - x, x) * (_ONE - y)) + _two(b, k, _ONE - x, x) * y


@_compile
def _is_good(valid: Bools, shape: tuple[int, int], row: int, col: int) -> bool:
    if row < 0 or col < 0 or row >= shape[0] or col >= shape[1]:
        return False
    return valid.size == 0 or valid[row, col]


@_compile
def _all_good(valid: Bools, rows: tuple[int, int], cols: tuple[int, int]) -> bool:
    good = True
    for row in range(rows[0], rows[1]) if valid.size else range(0):
        for col in range(cols[0], cols[1]):
            good &= valid[row, col]
    return good


@_compile
def _beside_gap(image: tuple[Array, Bools], row: int, col: int, parts: tuple[Any, Any], cubic: bool) -> Any:
    """One pixel with taps that are missing: its value, and whether it is valid."""
    values, valid = image
    if not _is_good(valid, values.shape, row + (parts[0] >= _HALF), col + (parts[1] >= _HALF)):
        return _ZERO, False
    first, taps = (-1, 4) if cubic else (0, 2)
    by_row, by_col = (_keys(parts[0]), _keys(parts[1])) if cubic else (_pair(parts[0]), _pair(parts[1]))
    missing, total, mean, covered = False, _ZERO, _ZERO, _ZERO
    for i in range(taps):
        along, line, weight = _ZERO, _ZERO, _ZERO
        for j in range(taps):
            at = (row + first + i, col + first + j)
            good = _is_good(valid, values.shape, at[0], at[1])
            value = np.float32(values[at]) if good else _ZERO
            missing |= not good and by_row[i] != 0 and by_col[j] != 0
            along += value * by_col[j]
            if 0 <= first + j <= 1:
                near = parts[1] if first + j else _ONE - parts[1]
                line += value * near
                weight += near if good else _ZERO
        total += along * by_row[i]
        if 0 <= first + i <= 1:
            near = parts[0] if first + i else _ONE - parts[0]
            mean += line * near
            covered += weight * near
    return (mean / covered if missing else total), True


@_compile
def _pair(p: Any) -> Any:
    return _ONE - p, p, _ZERO, _ZERO


@_compile
def _sample_run(
    image: tuple[Array, Bools], row: int, col: int, parts: tuple[Array, Array], cubic: bool, out: tuple[Array, Bools]
) -> bool:
    """Sample pixels in a row whose taps lie alike; whether all of the taps are there."""
    values, valid = image
    n, before, after = parts[0].size, 1 if cubic else 0, 2 if cubic else 1
    start, stop = min(max(before - col, 0), n), max(min(values.shape[1] - after - col, n), 0)
    if (
        row < before
        or row + after >= values.shape[0]
        or stop <= start
        or not _all_good(valid, (row - before, row + after + 1), (col + start - before, col + stop + after))
    ):
        start, stop = n, n
    if cubic and start < stop:
        _cubic(values, row - 1, col + start - 1, (parts[0][start:stop], parts[1][start:stop]), out[0][start:stop])
    elif start < stop:
        _bilinear(values, row, col + start, (parts[0][start:stop], parts[1][start:stop]), out[0][start:stop])
    out[1][start:stop] = True
    for k in range(n):
        if not start <= k < stop:
            out[0][k], out[1][k] = _beside_gap(image, row, col + k, (parts[0][k], parts[1][k]), cubic)
    return start == 0 and stop == n


@_compile
def sample_lattice(
    image: tuple[Array, Bools],
    origin: tuple[int, int],
    nodes: Floats,
    step: int,
    start: tuple[int, int],
    cubic: bool,
    out: tuple[Array, Bools],
) -> bool:
    """Sample a tile whose positions are linear between nodes; whether all taps of all of its pixels are there.

    image: values (rows, cols) from pixel `origin` on, and which are valid, or an empty array for all; nodes (2, n, m)
    float64, `step` apart; start: row and column of the tile from the first node; out (n_rows, n_cols) float32, true.
    """
    n, m = out[0].shape
    values, masked = image[0], image[1].size > 0
    lines = np.empty((2, (start[0] + n - 1) // step + 2 - start[0] // step, m))
    usual = np.empty(lines.shape[:2], np.bool_)
    _rows_of_nodes(nodes, step, start, lines, usual)
    rows, cols, ends = np.empty(m, np.int32), np.empty(m, np.int32), np.empty(m, np.int64)
    row_parts, col_parts = np.empty(m, np.float32), np.empty(m, np.float32)
    complete, before, after = True, 1 if cubic else 0, 2 if cubic else 1
    for i in range(n):
        line, part = (start[0] + i) // step - start[0] // step, (start[0] + i) % step / step
        near = usual[0, line] and usual[0, line + 1] and usual[1, line] and usual[1, line + 1]
        _locate((lines[0, line], lines[0, line + 1]), part, 0, near, rows, row_parts)
        _locate((lines[1, line], lines[1, line + 1]), part, 1, near, cols, col_parts)
        _runs(rows, cols, _SHORT if masked else _LONG, ends)
        at, run = 0, 0
        while at < m:
            end = ends[run]
            row, col = rows[at] - origin[0], cols[at] + at - origin[1]
            parts = (row_parts[at:end], col_parts[at:end])
            inside = before <= row < values.shape[0] - after and before <= col <= values.shape[1] - after - end + at
            if masked or not inside:
                goal = (out[0][i, at:end], out[1][i, at:end])
                complete &= _sample_run(image, row, col, parts, cubic, goal)
            elif cubic:
                _cubic(values, row - 1, col - 1, parts, out[0][i, at:end])
            else:
                _bilinear(values, row, col, parts, out[0][i, at:end])
            at, run = end, run + 1
    return complete
