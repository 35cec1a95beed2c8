"""Windows of two elevation models: differences and slopes, with the target moved by a shift."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from xcoreg.core import Bools, Floats, Ints
from xcoreg.core.dem.blunders import fill_blunders, find_blunders, plateau_value
from xcoreg.core.dem.surface import Surface, make_target
from xcoreg.core.sampling import shrink

Triple = tuple[Floats, Floats, Floats]

# Two taps per axis replace six where six leave less than this share of the valid pixels, and two so many times more.
_LEAST_SHARE, _MORE = 0.5, 3
_USUAL = range(-2, 4)
#: Taps that leave a fifth of the error of the usual ones.
FINE = range(-4, 6)


def lagrange(fraction: float, taps: range = range(-2, 4)) -> Floats:
    """Lagrange weights of pixels for a position at a fraction of a pixel behind pixel 0.

    Six taps are exact for polynomials of degree 5. Inexact kernels shift slopes: Lanczos' with three lobes by 0.015 px.
    """
    own = [[(fraction - other) / (tap - other) for other in taps if other != tap] for tap in taps]
    return np.asarray(np.prod(own, axis=1))


def shift_window(values: Floats, valid: Bools, move: Floats, taps: range = _USUAL) -> tuple[Floats, Bools]:
    """Move the content of a window (rows, cols) by fractions of a pixel (2,): -> values, and where these are known."""
    out, known = _shift_axes(values, valid, move, taps)
    count = np.count_nonzero(known)
    if count < _LEAST_SHARE * np.count_nonzero(valid):
        plain = _shift_axes(values, valid, move, range(2))
        if np.count_nonzero(plain[1]) > _MORE * count:
            return plain
    return out, known


def _shift_axes(values: Floats, valid: Bools, move: Floats, taps: range) -> tuple[Floats, Bools]:
    for axis, step in ((1, float(move[0])), (0, float(move[1]))):
        values, valid = _shift_axis(values, valid, -step, axis, taps)
    return values, valid


def _shift_axis(values: Floats, valid: Bools, at: float, axis: int, taps: range) -> tuple[Floats, Bools]:
    """Sample every pixel `at` px farther along an axis."""
    whole = int(np.floor(at + 0.5)) if abs(at - np.rint(at)) < 1e-6 else int(np.floor(at))
    fraction = 0.0 if abs(at - np.rint(at)) < 1e-6 else at - whole
    out, known = np.zeros_like(values), np.ones_like(valid)
    for tap, weight in zip(taps, lagrange(fraction, taps).tolist(), strict=True):
        if weight == 0.0:
            continue
        goal, source = _slices(values.shape[axis], whole + tap)
        here, there = (tuple(s if a == axis else slice(None) for a in range(2)) for s in (goal, source))
        out[here] += values.dtype.type(weight) * values[there]
        known[here] &= valid[there]
        for rest in (slice(0, goal.start), slice(goal.stop, None)):
            known[tuple(rest if a == axis else slice(None) for a in range(2))] = False
    return out, known


def _slices(length: int, step: int) -> tuple[slice, slice]:
    """Slices of the pixels with a neighbour `step` px farther, and of these neighbours."""
    start, stop = min(max(0, -step), length), max(min(length, length - step), 0)
    stop = max(stop, start)
    return slice(start, stop), slice(start + step, stop + step)


@dataclass(frozen=True, eq=False)
class Observation:
    """Differences and slopes of the two models at samples, with the target moved.

    dh : (n,) float32; reference minus target; at : (n,) int; flat indices of the samples within their window.
    col, row : (n,) float32; slope per px to the right and down, mean of both models.
    cross : Products (col col, col row, row row) of the slopes of one model with those of the other: independent noise
        averages out of them once the models are aligned; own : of each model with itself, averaged.
    slopes : (col, row) of the reference and of the target.
    """

    dh: Floats
    col: Floats
    row: Floats
    cross: Triple
    own: Triple
    at: Ints
    slopes: tuple[tuple[Floats, Floats], ...] = ()

    @property
    def slope_difference(self) -> Floats:
        """Squared difference of the slopes of both models, (n,)."""
        return np.maximum(2 * (self.own[0] - self.cross[0] + self.own[2] - self.cross[2]), 0)


class Samples(Protocol):
    """Anything that can be compared at a shift: windows, points."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns that the flat indices of samples refer to."""

    def observe(self, move: Floats, ref_slopes_only: bool = False, *, fine: bool = False) -> Observation:
        """Compare both models, the target moved by (dcol, drow) px.

        ref_slopes_only, fine : With slopes of the reference only; with an interpolation over more pixels.
        """

    def positions(self, at: Ints) -> tuple[Floats, Floats]:
        """Columns and rows of samples in the common lattice, px."""

    def coarser(self, factor: int) -> Samples | None:
        """Average blocks of pixels; None where that is impossible."""


def gradients(values: Floats, valid: Bools) -> tuple[Floats, Floats, Bools]:
    """Slopes along columns and rows by central differences, per px, and where they are known: (rows, cols)."""
    col, row = np.zeros_like(values), np.zeros_like(values)
    known = np.zeros(valid.shape, bool)
    known[1:-1, 1:-1] = valid[1:-1, 1:-1] & valid[1:-1, 2:] & valid[1:-1, :-2] & valid[2:, 1:-1] & valid[:-2, 1:-1]
    np.subtract(values[:, 2:], values[:, :-2], out=col[:, 1:-1])
    np.subtract(values[2:], values[:-2], out=row[1:-1])
    half = values.dtype.type(0.5)
    return col * half, row * half, known


def make_observation(dh: Floats, first: tuple[Floats, Floats], second: tuple[Floats, Floats], at: Any) -> Observation:
    """Combine differences and the slopes (col, row) of both models."""
    half = np.float32(0.5)
    col, row = ((a + b) * half for a, b in zip(first, second, strict=True))
    cross = first[0] * second[0], (first[0] * second[1] + first[1] * second[0]) * half, first[1] * second[1]
    if first is second:
        return Observation(dh, col, row, cross, cross, at, (first, second))
    own = [(first[i] * first[j] + second[i] * second[j]) * half for i, j in ((0, 0), (0, 1), (1, 1))]
    return Observation(dh, col, row, cross, (own[0], own[1], own[2]), at, (first, second))


@dataclass(frozen=True, eq=False)
class DemWindow:
    """One window (rows, cols) of both models on one lattice; elevations minus a constant each, for single precision.

    centre : Centre of the reference's window in a lattice common to all windows, px.
    base : Offset of the reference's window from the target's, part of every correction, px.
    level : Constant subtracted from the reference minus that subtracted from the target.
    tgt_wrong, ref_wrong : Blunders, filled, which are compared with nothing; None where there are none.
    height : Constant subtracted from the reference; voids : pixels of target and reference found to be missing.
    """

    tgt: Floats
    ref: Floats
    tgt_valid: Bools
    ref_valid: Bools
    centre: tuple[float, float] = (0.0, 0.0)
    base: tuple[float, float] = (0.0, 0.0)
    level: float = 0.0
    tgt_wrong: Bools | None = None
    ref_wrong: Bools | None = None
    height: float = 0.0
    voids: tuple[int, int] = (0, 0)

    def surface(self) -> Surface:
        """Heights to compare, and the target to interpolate."""
        col, row, known = self._ref_slopes
        at = np.flatnonzero(known if self.ref_wrong is None else known & ~self.ref_wrong)
        slopes = np.stack([col.ravel()[at], row.ravel()[at]]).astype(np.float64)
        z = self.ref.ravel()[at].astype(np.float64) + self.height
        # Of the target's window, which lies `base` beside that of the reference.
        rows, cols = self.shape
        origin = (cols - 1) / 2 - self.centre[0] + self.base[0], (rows - 1) / 2 - self.centre[1] + self.base[1]
        tgt = self.tgt.astype(np.float64) + (self.height - self.level)
        spline, gradient, usable = make_target(tgt, self.tgt_valid, self.tgt_wrong)
        return Surface(*self.positions(at), z, slopes, origin, spline, gradient, usable)

    def cleaned(self) -> DemWindow:
        """Find blunders of both models and fill them: they must spread neither into slopes nor by interpolation."""
        voids = plateau_value(self.tgt, self.tgt_valid), plateau_value(self.ref, self.ref_valid)
        if any(void is not None for void in voids):
            pairs = zip((self.tgt, self.ref), (self.tgt_valid, self.ref_valid), voids, strict=True)
            known = [ok if void is None else ok & (values != void) for values, ok, void in pairs]
            lost = int(self.tgt_valid.sum() - known[0].sum()), int(self.ref_valid.sum() - known[1].sum())
            lost = lost[0] + self.voids[0], lost[1] + self.voids[1]
            return replace(self, tgt_valid=known[0], ref_valid=known[1], voids=lost).cleaned()
        tgt, ref = find_blunders(self.tgt, self.tgt_valid), find_blunders(self.ref, self.ref_valid)
        return replace(
            self,
            tgt=fill_blunders(self.tgt, tgt),
            ref=fill_blunders(self.ref, ref),
            tgt_wrong=tgt if tgt.any() else None,
            ref_wrong=ref if ref.any() else None,
        )

    @cached_property
    def _ref_slopes(self) -> tuple[Floats, Floats, Bools]:
        return gradients(self.ref, self.ref_valid)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return int(self.ref.shape[0]), int(self.ref.shape[1])

    def observe(self, move: Floats, ref_slopes_only: bool = False, *, fine: bool = False) -> Observation:
        """Compare both models, the target moved by (dcol, drow) px."""
        taps = FINE if fine else _USUAL
        aligned, seen = shift_window(self.tgt, self.tgt_valid, np.asarray(move) - self.base, taps)
        col, row, known = self._ref_slopes
        other = None if ref_slopes_only else gradients(aligned, seen)
        use = known & seen if other is None else known & other[2]
        if self.ref_wrong is not None:
            use &= ~self.ref_wrong
        if self.tgt_wrong is not None:
            use &= _shift_axes(self.tgt, ~self.tgt_wrong, np.asarray(move) - self.base, range(2))[1]
        at = np.flatnonzero(use)
        dh = self.ref.ravel()[at] - aligned.ravel()[at] + np.float32(self.level)
        first = col.ravel()[at], row.ravel()[at]
        second = first if other is None else (other[0].ravel()[at], other[1].ravel()[at])
        return make_observation(dh, first, second, at)

    def positions(self, at: Ints) -> tuple[Floats, Floats]:
        """Columns and rows of samples in the common lattice, px."""
        rows, cols = self.shape
        return at % cols - (cols - 1) / 2 + self.centre[0], at // cols - (rows - 1) / 2 + self.centre[1]

    def coarser(self, factor: int) -> DemWindow:
        """Average blocks of pixels: larger shifts come within reach of the slopes."""
        both = (self.tgt, self.tgt_valid, self.tgt_wrong), (self.ref, self.ref_valid, self.ref_wrong)
        tgt, ref = (shrink(values, ok if wrong is None else ok & ~wrong, factor) for values, ok, wrong in both)
        centre, base = ((fraction[0] / factor, fraction[1] / factor) for fraction in (self.centre, self.base))
        return DemWindow(tgt[0], ref[0], tgt[1], ref[1], centre, base, self.level, height=self.height)
