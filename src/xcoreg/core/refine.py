"""Sub-pixel refinement to the Cramer-Rao bound, with a covariance that means what it says.

Both windows are read half the shift apart in opposite directions, so that interpolation treats them alike. Their mean
gives the gradients, their difference the residual; Gauss-Newton steps on the residual are weighted in the Fourier
plane by ``S / (N (2 S + N))``, the score of two noisy looks at one random scene (Knapp & Carter 1976,
doi:10.1109/TASSP.1976.1162830), where the power of scene ``S`` and noise ``N`` is measured on the windows themselves.

Windows are transformed once, faded out towards their margins, and read between the pixels by phase ramps. That moves
the margins along with what they enclose; as the mean of both windows times the slope of the margin, this is taken out
again. Pixels are looked at only to tell what has changed between the images, and those windows are weighed again.

The weight that fades windows out towards their border and towards what is not valid.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy import fft

from xcoreg.core.arrays import Bools, Floats, Ints, Spectra
from xcoreg.core.quality import Cells
from xcoreg.core.spectrum import Modes, forward, inverse, modes_for, ramps, shift_pixels
from xcoreg.core.weights import (
    Products,
    Steps,
    change_weights,
    correlation_and_phase,
    covariance,
    share_removed,
    take_steps,
    windows_with_changes,
)

_Spectra4 = tuple[Spectra, Spectra, Spectra, Spectra]

# Smooth enough to be read between the pixels, and steep enough to lose hardly any of a window.
_FADE = np.array([0.15, 0.7, 0.97])


class Margin(NamedTuple):
    """A weight of pixels, (n, rows, cols) float32, and its slopes over itself along columns and rows.

    Slopes are per pixel, and 0 where the weight is; their shapes broadcast to that of the weight.
    """

    weight: Floats
    slope_x: Floats
    slope_y: Floats


def fade_frame(shape: tuple[int, int], move: Ints) -> Margin:
    """Weight of windows that are valid everywhere, one of each pair moved by whole pixels.

    shape (rows, cols); move (n, 2) int.
    """
    if not move.any():
        move = move[:1]
    down, across = (_fade_side(size, move[:, axis])[:, :, None] for axis, size in ((1, shape[0]), (0, shape[1])))
    slope_y, slope_x = (_ratio(slopes(side)[1], side) for side in (down, across))
    return Margin(down * across.swapaxes(1, 2), slope_x.swapaxes(1, 2), slope_y)


def fade(valid: Bools) -> Margin:
    """Weight of windows with holes.

    seen (n, rows, cols) bool.
    """
    steps = np.diff(_FADE, prepend=0, append=1).astype(np.float32)
    out = valid * steps[0]
    for step in steps[1:]:
        valid = _erode(valid)
        out += valid * step
    slope_x, slope_y = slopes(out)
    return Margin(out, _ratio(slope_x, out), _ratio(slope_y, out))


def slopes(weight: Floats) -> tuple[Floats, Floats]:
    """Slopes of a weight along columns and rows, per pixel, as a phase ramp would have them."""
    shape = weight.shape[1:]
    plane = forward(weight)
    turn = np.complex64(2j * np.pi)
    fy, fx = fft.fftfreq(shape[0]).astype(np.float32), fft.rfftfreq(shape[1]).astype(np.float32)
    if shape[0] % 2 == 0:
        fy[shape[0] // 2] = 0
    return inverse(plane * (turn * fx), shape), inverse(plane * (turn * fy)[:, None], shape)


def _fade_side(size: int, move: Ints) -> Floats:
    """Weights (n, size) along one side of windows moved by so many pixels."""
    first, last = np.maximum(move, 0)[:, None], size - 1 + np.minimum(move, 0)[:, None]
    place = np.arange(size)[None]
    inward = np.minimum(place - first, last - place)
    return np.append(_FADE, (1, 0)).astype(np.float32)[
        np.where(inward < 0, len(_FADE) + 1, np.minimum(inward, len(_FADE)))
    ]


def _ratio(slope: Floats, weight: Floats) -> Floats:
    """Slope over weight, 0 where the weight is."""
    return np.divide(slope, weight, out=np.zeros_like(slope), where=weight > 0)


def _erode(valid: Bools) -> Bools:
    """Drop what is next to anything not seen, the border included."""
    down = np.zeros_like(valid)
    down[:, 1:-1] = valid[:, :-2] & valid[:, 1:-1] & valid[:, 2:]
    out = np.zeros_like(valid)
    out[:, :, 1:-1] = down[:, :, :-2] & down[:, :, 1:-1] & down[:, :, 2:]
    return out


# Looks at a pair, and the step (px) that one look can take without another: the error of a step goes with its cube.
_MOST_ITERATIONS, _NEAR = 12, 0.1
# The same once pixels are weighed: their weights depend on the shift.
_NEAR_WEIGHED = 0.02
# Changes that make up less than this share of the difference are not worth weighing.
_WORTH = 5e-3
# Pixels count in full for the similarity where the margin's weight is above this.
_FULL = 0.99


@dataclass(frozen=True, eq=False)
class Aligned:
    """Both windows brought together, with equal mean and spread, faded out by their weight.

    tgt, ref : (n, rows, cols) float32
    weight : (n, rows, cols) float32; 0 where either is invalid, rising to 1 away from there; n is 1 where all windows
        share it.
    cells : Their sums over small cells, where the weight is full.
    """

    tgt: Floats
    ref: Floats
    weight: Floats
    cells: Cells

    @classmethod
    def of(cls, tgt: Floats, ref: Floats, weight: Floats) -> Aligned:
        """Sum over cells."""
        return cls(tgt, ref, weight, Cells.of(ref, tgt, weight > _FULL))

    @property
    def full(self) -> Bools:
        """Where pixels count in full, (n or 1, rows, cols)."""
        return self.weight > _FULL

    def put(self, index: Ints, tgt: Floats, ref: Floats) -> None:
        """Replace some of the windows."""
        self.tgt[index], self.ref[index] = tgt, ref
        full = self.full if len(self.weight) == 1 else self.full[index]
        self.cells.put(index, Cells.of(ref, tgt, full))


@dataclass(frozen=True, eq=False)
class Refined:
    """What the refinement says of n windows.

    move : (n, 2) float64; Correction target -> reference, px, along (col, row).
    cov : (n, 2, 2) float64; Its covariance, px²; infinite where the windows say nothing.
    last_step : (n,) float64; Length of the last step, px: not small where the iteration did not converge.
    score : (n,) float64; Correlation of the aligned windows over the informative band, -1..1.
    phase : (n, 2) float64; Answer from the phases alone minus the refined one, px.
    support : (n,) float64; Effective number of Fourier modes that carry the answer.
    aligned : What was compared in the end.
    """

    move: Floats
    cov: Floats
    last_step: Floats
    score: Floats
    phase: Floats
    support: Floats
    aligned: Aligned


@dataclass(eq=False)
class _Columns:
    """Columns of `Refined` that the last look at each window fills."""

    move: Floats
    cov: Floats
    last_step: Floats
    score: Floats
    phase: Floats
    support: Floats


@dataclass(frozen=True, eq=False)
class _Linearised:
    """The two windows read at one estimate of the shift, as modes (n, m): mean, residual, gradients."""

    mean: Spectra
    residual: Spectra
    slope_x: Spectra
    slope_y: Spectra


def _each(function: Callable[[Spectra], Spectra], parts: _Spectra4) -> _Spectra4:
    """Do the same to each of four."""
    first, second, third, fourth = (function(part) for part in parts)
    return first, second, third, fourth


@dataclass(frozen=True, eq=False)
class _Pair:
    """Windows brought together by whole pixels, standardised and faded out."""

    modes: Modes
    weight: Floats
    ref: Floats
    # Mean of both windows times the slopes of the weight.
    edge_x: Floats
    edge_y: Floats
    # Spectra of both windows and of both edges.
    planes: _Spectra4
    # Modes of both windows and of both edges.
    flat: _Spectra4

    def take(self, index: Ints) -> _Pair:
        """Take some of the windows."""
        if len(index) == len(self.planes[0]):
            return self
        weight = self.weight if len(self.weight) == 1 else self.weight[index]
        planes, flat = (_each(lambda part: part[index], four) for four in (self.planes, self.flat))
        return _Pair(self.modes, weight, self.ref[index], self.edge_x[index], self.edge_y[index], planes, flat)


def refine(
    tgt: Floats, ref: Floats, tgt_valid: Bools, ref_valid: Bools, start: Floats, skip: Bools | None = None
) -> Refined:
    """Refine shifts that are right to about half a pixel.

    tgt, ref (n, rows, cols) float32; tgt_valid, ref_valid (n, rows, cols) bool; start (n, 2) float; hopeless (n,) bool,
    optional.
    """
    whole = np.rint(start).astype(np.intp)
    rest: Floats = np.asarray(start, np.float64) - whole
    pair = _pair(tgt, ref, tgt_valid, ref_valid, whole)
    linear, products, steps = _iterate(pair, rest)
    columns = _columns(linear, products, steps, pair.weight, pair.modes)
    rest += steps.move
    aligned = Aligned.of(_shift_target(pair, rest), pair.ref, pair.weight)
    changed = windows_with_changes(aligned.cells)
    _reweight(pair, rest, aligned, columns, np.flatnonzero(changed if skip is None else changed & ~skip))
    columns.move[:] = whole + rest
    return Refined(**vars(columns), aligned=aligned)


def _pair(tgt: Floats, ref: Floats, tgt_valid: Bools, ref_valid: Bools, whole: Ints) -> _Pair:
    """Bring windows together by whole pixels and transform them."""
    shape = ref.shape[1:]
    if ref_valid.all() and tgt_valid.all():
        margin = fade_frame(shape, whole)
    else:
        inside = shift_pixels(np.ones(ref.shape, bool), whole)
        margin = fade(ref_valid & shift_pixels(tgt_valid, whole) & inside)
    weight = margin.weight
    first, second = (_standardise(image, weight) for image in (ref, shift_pixels(np.asarray(tgt), whole)))
    mean = first + second
    mean *= 0.5
    edges = [_without_mean(mean * slope, weight) for slope in margin[1:]]
    modes = modes_for(*shape)
    planes = forward(first), forward(second), forward(edges[0]), forward(edges[1])
    return _Pair(modes, weight, first, edges[0], edges[1], planes, _each(modes.take, planes))


def _standardise(image: Floats, weight: Floats) -> Floats:
    """Zero mean and unit variance under a weight, faded out by it."""
    n = len(image)
    total = np.maximum(_sum(weight), 1e-6)
    flat, one = image.reshape(n, -1), weight.reshape(len(weight), -1)
    out = image - (np.vecdot(flat, one) / total)[:, None, None]
    out *= weight
    flat = out.reshape(n, -1)
    scale = np.sqrt(np.vecdot(flat, flat) / total)
    out *= (1 / np.where(scale > 0, scale, 1)).astype(np.float32)[:, None, None]
    return np.asarray(out)


def _without_mean(image: Floats, weight: Floats) -> Floats:
    """Take away the weight's multiple that makes the sum zero: means of the windows shall stay equal."""
    image -= (_sum(image) / np.maximum(_sum(weight), 1e-6))[:, None, None] * weight
    return image


def _iterate(pair: _Pair, rest: Floats) -> tuple[_Linearised, Products, Steps]:
    """Look at the pair until the next step is short; ``rest`` becomes where the last look was."""
    linear = _linearise(pair, rest)
    products = Products.of(linear.residual, linear.slope_x, linear.slope_y, pair.modes)
    steps = take_steps(products, pair.modes)
    for _ in range(_MOST_ITERATIONS - 1):
        far = np.flatnonzero(np.hypot(*steps.move.T) > _NEAR)
        if not far.size:
            break
        rest[far] += steps.move[far]
        part = _linearise(pair.take(far), rest[far])
        other = Products.of(part.residual, part.slope_x, part.slope_y, pair.modes)
        _replace_rows(linear, far, part)
        _replace_rows(products, far, other)
        _replace_rows(steps, far, take_steps(other, pair.modes))
    return linear, products, steps


def _replace_rows(whole: Any, index: Ints, part: Any) -> None:
    """Put the rows of one set of columns into another."""
    for name, values in vars(part).items():
        getattr(whole, name)[index] = values


def _linearise(pair: _Pair, rest: Floats) -> _Linearised:
    """Read both windows half the remaining shift apart."""
    modes = pair.modes
    ramp = modes.ramp(rest / 2)
    first, second, edge_x, edge_y = pair.flat
    mean, other = ramp * first, ramp.conj()
    other *= second
    residual = mean - other
    mean += other
    mean *= np.float32(0.5)
    # The margins have moved, too, in opposite directions: that is no difference of the images. A wave that moves by a
    # phase p either way leaves sin(p) / p of its slope times the move, and cos(p) of itself in the mean.
    move, cosine = rest.astype(np.float32), ramp.real
    edges = move[:, :1] * edge_x
    edges += move[:, 1:] * edge_y
    edges *= (cosine + 2) / 3
    residual -= edges
    # What the gain was measured on was not aligned yet.
    gain = np.vecdot(mean, residual).real / np.maximum(np.vecdot(mean, mean).real, 1e-30)
    residual -= gain[:, None] * mean
    turn = np.complex64(2j * np.pi)
    slope_x, slope_y = mean * (turn * modes.fx), mean * (turn * modes.fy)
    slope_x -= edge_x * cosine
    slope_y -= edge_y * cosine
    return _Linearised(mean, residual, slope_x, slope_y)


def _pixels(pair: _Pair, rest: Floats) -> tuple[Floats, Floats]:
    """Pixels of both windows half the remaining shift apart."""
    first, second = _phase_shift(pair, rest)
    return inverse(second, pair.modes.shape), inverse(first, pair.modes.shape)


def _shift_target(pair: _Pair, rest: Floats) -> Floats:
    """Pixels of the target's windows where the reference's are, the margin being where it was."""
    across, down = ramps(pair.modes.shape, -rest)
    second = pair.planes[1] * down[:, :, None]
    second *= across[:, None, :]
    out = inverse(second, pair.modes.shape)
    for edge, move in zip((pair.edge_x, pair.edge_y), rest.T.astype(np.float32), strict=True):
        out += move[:, None, None] * edge
    return out


def _phase_shift(pair: _Pair, rest: Floats) -> tuple[Spectra, Spectra]:
    across, down = ramps(pair.modes.shape, rest / 2)
    first = pair.planes[0] * down[:, :, None]
    first *= across[:, None, :]
    second = pair.planes[1] * down.conj()[:, :, None]
    second *= across.conj()[:, None, :]
    return first, second


def _reweight(pair: _Pair, rest: Floats, aligned: Aligned, columns: _Columns, suspects: Ints) -> None:
    """Settle windows in which something has changed once more, with less weight there."""
    index = _windows_to_reweight(aligned, suspects)
    for _ in range(_MOST_ITERATIONS):
        if not index.size:
            return
        some = pair.take(index)
        tgt, ref = _pixels(some, rest[index])
        aligned.put(index, tgt, ref)
        difference = _difference(some, rest[index], tgt, ref)
        weight = change_weights(difference, ref + tgt, some.weight)
        linear = _linearise_weighted(some, rest[index], weight, difference)
        products = Products.of(linear.residual, linear.slope_x, linear.slope_y, pair.modes)
        steps = take_steps(products, pair.modes)
        _replace_rows(columns, index, _columns(linear, products, steps, some.weight * weight, pair.modes))
        step = np.hypot(*steps.move.T)
        rest[index] += steps.move
        index = index[step > _NEAR_WEIGHED]


def _windows_to_reweight(aligned: Aligned, index: Ints) -> Ints:
    """Those of some windows whose answer would be another one without the pixels that have changed."""
    if not index.size:
        return index
    ref, tgt, weight = aligned.ref[index], aligned.tgt[index], aligned.weight
    difference = ref - tgt
    weight = change_weights(difference, ref + tgt, weight if len(weight) == 1 else weight[index])
    return index[share_removed(difference, weight) > _WORTH]


def _difference(pair: _Pair, rest: Floats, tgt: Floats, ref: Floats) -> Floats:
    """Difference of the aligned windows, without that of their margins."""
    out = ref - tgt
    move = rest.astype(np.float32)[:, :, None, None]
    out -= move[:, 0] * pair.edge_x
    out -= move[:, 1] * pair.edge_y
    return np.asarray(out)


def _linearise_weighted(pair: _Pair, rest: Floats, weight: Floats, difference: Floats) -> _Linearised:
    """Look through weights of the pixels."""
    modes, shape = pair.modes, pair.modes.shape
    first, second = _phase_shift(pair, rest)
    mean = first + second
    mean *= np.float32(0.5)
    rows, cols = (np.asarray(f, np.float32) for f in (fft.fftfreq(shape[0]), fft.rfftfreq(shape[1])))
    turn = np.complex64(2j * np.pi)
    across, down = ramps(shape, rest / 2)
    cosine = (down[:, :, None] * across[:, None, :]).real
    slope_x = mean * (turn * cols) - cosine * pair.planes[2]
    slope_y = mean * (turn * rows)[:, None] - cosine * pair.planes[3]
    images = inverse(mean, shape), difference, inverse(slope_x, shape), inverse(slope_y, shape)
    return _Linearised(*(modes.take(forward(weight * image)) for image in images))


def _columns(linear: _Linearised, products: Products, steps: Steps, weight: Floats, modes: Modes) -> _Columns:
    """Answer, covariance and doubts from the last look."""
    used = _sum(weight * weight) / (modes.shape[0] * modes.shape[1])
    cov, support = covariance(steps, products, np.broadcast_to(used, len(steps.move)), modes)
    move = steps.move.astype(np.float32)
    residual = linear.residual + move[:, :1] * linear.slope_x + move[:, 1:] * linear.slope_y
    score, phase = correlation_and_phase(linear.mean, residual, steps, modes)
    length = np.hypot(*steps.move.T)
    return _Columns(steps.move.copy(), cov, np.where(length > _NEAR, length, steps.last_step), score, phase, support)


def _sum(images: Floats) -> Floats:
    """Sum of each window; flat, so that it does not depend on how many there are."""
    return np.asarray(images.reshape(len(images), -1).sum(1))
