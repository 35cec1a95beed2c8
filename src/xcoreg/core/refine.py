"""Sub-pixel refinement to the Cramer-Rao bound, with a calibrated covariance.

Both windows, faded out towards their border and invalid pixels, are sampled by phase ramps half the shift apart in
opposite directions, so that interpolation affects them equally. Their mean gives the gradients, their difference the
residual; Gauss-Newton steps are weighted in the Fourier plane by ``S / (N (2 S + N))``, the maximum-likelihood weight
of two noisy images of one random scene (Knapp & Carter 1976, doi:10.1109/TASSP.1976.1162830), with the power of scene
``S`` and noise ``N`` as measured. The ramps move the faded margins, too: the mean times the slope of the fading weight
is subtracted. The pixels are needed only to find changes between the images; windows with changes are solved again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import fft

from xcoreg.core import Bools, Floats, Ints, Spectra, weights as weighting
from xcoreg.core.changes import change_weights, displaced, edges_removed, share_removed, windows_with_changes
from xcoreg.core.drift import NO_PATTERN, Pattern, left_over, round_covariance, without_drift
from xcoreg.core.fade import fade, fade_frame, standardise, window_sums, without_mean
from xcoreg.core.phase import Modes, forward, inverse, modes_for, ramps, shift_pixels
from xcoreg.core.quality import Aligned
from xcoreg.core.stripes import stripe_modes

_Spectra4 = tuple[Spectra, Spectra, Spectra, Spectra]

# Largest number of linearisations, and the step, px, above which another one is needed: errors grow with its cube.
_MOST_ITERATIONS, _NEAR = 12, 0.1
# The same for weighted pixels, whose weights depend on the shift.
_NEAR_WEIGHED = 0.02
_UNEVEN = 1.04  # differences are uneven that are so much larger at edges of the scene: noise does not reach this
# Drifts above this, px, change the weights so much that windows are linearised again, at most so many times.
# The peak of the phase correlation is accurate to so many px.
_NEAR_DRIFT, _MOST_DRIFTS, _LEFT = 0.02, 4, 0.2
# Contradictions below so many px do not count, larger ones are refused; share of the variance that only copies have.
_TOO_WIDE, _COPY = 0.25, 0.05
_WORTH = 5e-3  # changes below this share of the energy of the difference are ignored


@dataclass(frozen=True, eq=False)
class Refined:
    """Refined shifts of n windows.

    move, cov : (n, 2), (n, 2, 2) float64; correction, px along (col, row), and covariance; infinite if undetermined.
    last_step : (n,) float64; length of the last step, px: large where the iteration did not converge.
    score, support : (n,) float64; correlation over the informative band, -1..1; effective number of Fourier modes.
    phase : (n, 2) float64; shift from the phases alone minus the refined one, px.
    drift : (n, 2) float64; shift of coarse detail minus that of all detail alike, px.
    dragged : (n,) float64; the same where it could not be corrected.
    evidence : (n, 27) float64; what drifts, see :class:`xcoreg.core.drift.Drift`.
    uneven : (n,) float64; see :func:`xcoreg.core.weights.unevenness`.
    """

    move: Floats
    cov: Floats
    last_step: Floats
    score: Floats
    phase: Floats
    support: Floats
    drift: Floats
    dragged: Floats
    evidence: Floats
    uneven: Floats
    aligned: Aligned


@dataclass(frozen=True, eq=False)
class _Linearised:
    """Mean, residual and gradients at one estimate of the shift, as modes (n, m)."""

    mean: Spectra
    residual: Spectra
    slope_x: Spectra
    slope_y: Spectra


def _each(function: Callable[[Spectra], Spectra], parts: _Spectra4) -> _Spectra4:
    """Apply a function to each of four arrays."""
    first, second, third, fourth = (function(part) for part in parts)
    return first, second, third, fourth


@dataclass(frozen=True, eq=False)
class _Pair:
    """Windows aligned to whole pixels, standardised and faded out, and their transforms."""

    modes: Modes
    weight: Floats
    ref: Floats
    # Mean of both windows times the relative slopes of the weight.
    edge_x: Floats
    edge_y: Floats
    # Spectra of both windows and of both edges.
    planes: _Spectra4
    # Modes of both windows and of both edges, zero where stripes lie, and the share (n or 1, n_rings) that is left.
    flat: _Spectra4
    used: Floats
    # Modes where stripes lie, (n, m) bool, or None.
    stripes: Bools | None
    known: Pattern

    def take(self, index: Ints) -> _Pair:
        """Take some of the windows."""
        if len(index) == len(self.planes[0]):
            return self
        weight = self.weight if len(self.weight) == 1 else self.weight[index]
        planes, flat = (_each(lambda part: part[index], four) for four in (self.planes, self.flat))
        used = self.used if len(self.used) == 1 else self.used[index]
        stripes = None if self.stripes is None else self.stripes[index]
        edges = self.edge_x[index], self.edge_y[index]
        return _Pair(self.modes, weight, self.ref[index], *edges, planes, flat, used, stripes, self.known)


def refine(
    tgt: Floats,
    ref: Floats,
    tgt_valid: Bools,
    ref_valid: Bools,
    start: Floats,
    skip: Bools | None = None,
    striped: Bools | None = None,
    known: Pattern = NO_PATTERN,
) -> Refined:
    """Refine shifts (n, 2) that are accurate to half a pixel; windows to `skip` (n,) are not checked for changes.

    striped : (n, 2); whether stripes along columns, or rows, are left out; known : What other windows have shown.
    """
    pixels = np.rint(start).astype(np.intp)
    rest: Floats = np.asarray(start, np.float64) - pixels
    striped = np.zeros((len(ref), 2), bool) if striped is None else striped
    pair = _pair(tgt, ref, tgt_valid, ref_valid, pixels, striped, known)
    peak = rest.copy()
    linear, products, steps = _iterate(pair, rest)
    columns = _columns(linear, products, steps, pair, pair.weight)
    _follow_drift(pair, rest, columns, peak)
    rest += columns["move"]
    aligned = Aligned.of(_shift_target(pair, rest), pair.ref, pair.weight)
    columns["uneven"] = weighting.unevenness(aligned.cells)
    _allow_for_uneven_noise(pair, rest, columns)
    changed = windows_with_changes(aligned.cells)
    alike = (columns["uneven"] <= _UNEVEN) & (np.hypot(*(rest - columns["drift"] - peak).T) <= _LEFT) & ~changed
    columns["evidence"][:, -1] = alike & (np.hypot(*columns["drift"].T) <= _NEAR_DRIFT)
    _reweight(pair, rest, aligned, columns, np.flatnonzero(changed if skip is None else changed & ~skip))
    columns["move"][:] = pixels + rest
    columns["dragged"] = np.maximum(columns.pop("vague"), np.hypot(*columns["drift"].T))
    del columns["drifting"]
    return Refined(**columns, aligned=aligned)


def _pair(
    tgt: Floats, ref: Floats, tgt_valid: Bools, ref_valid: Bools, pixels: Ints, striped: Bools, known: Pattern
) -> _Pair:
    """Align windows to whole pixels and transform them."""
    shape = ref.shape[1:]
    if ref_valid.all() and tgt_valid.all():
        margin = fade_frame(shape, pixels)
    else:
        inside = shift_pixels(np.ones(ref.shape, bool), pixels)
        margin = fade(ref_valid & shift_pixels(tgt_valid, pixels) & inside)
    weight = margin.weight
    first, second = (standardise(image, weight) for image in (ref, shift_pixels(np.asarray(tgt), pixels)))
    mean = first + second
    mean *= 0.5
    edges = [without_mean(mean * slope, weight) for slope in margin[1:]]
    modes = modes_for(*shape)
    planes = forward(first), forward(second), forward(edges[0]), forward(edges[1])
    flat, used, stripes = _each(modes.take, planes), np.ones((1, len(modes.sizes))), None
    if striped.any():
        stripes = stripe_modes(striped, shape)
        used = modes.sums((~stripes).astype(np.float32)) / modes.count
        flat = _each(lambda part: np.where(stripes, 0, part), flat)
    return _Pair(modes, weight, first, edges[0], edges[1], planes, flat, used, stripes, known)


def _iterate(pair: _Pair, rest: Floats) -> tuple[_Linearised, weighting.Products, weighting.Steps]:
    """Linearise and step until steps are short; ``rest`` is updated to the last linearisation, in place."""
    linear = _linearise(pair, rest)
    products = weighting.Products.of(linear.residual, linear.slope_x, linear.slope_y, pair.modes, pair.used)
    steps = weighting.take_steps(products, pair.modes)
    for _ in range(_MOST_ITERATIONS - 1):
        far = np.flatnonzero(np.hypot(*steps.move.T) > _NEAR)
        if not far.size:
            break
        rest[far] += steps.move[far]
        some = pair.take(far)
        part = _linearise(some, rest[far])
        other = weighting.Products.of(part.residual, part.slope_x, part.slope_y, pair.modes, some.used)
        _replace_rows(vars(linear), far, vars(part))
        products.table[far] = other.table
        _replace_rows(vars(steps), far, vars(weighting.take_steps(other, pair.modes)))
    return linear, products, steps


def _follow_drift(pair: _Pair, rest: Floats, columns: dict[str, Floats], peak: Floats) -> None:
    """Linearise again where fine detail drifts away from coarse detail by much; `rest` and columns are updated.

    Windows that have left the peak of the phase correlation, which coarse detail makes, begin there once more.
    """
    start = rest + columns["move"] - columns["drift"]
    left = np.hypot(*(start - peak).T) > _LEFT
    rest[left], columns["move"][left], columns["drift"][left] = peak[left], 0.0, np.inf
    for _ in range(_MOST_DRIFTS):
        far = np.flatnonzero(np.hypot(*columns["drift"].T) > _NEAR_DRIFT)
        if not far.size:
            break
        rest[far] += columns["move"][far]
        some, linear, products, steps = _without_step(pair, rest, columns, far)
        _replace_rows(columns, far, _columns(linear, products, steps, some, some.weight))
    columns["drift"] = rest + columns["move"] - start
    columns["cov"] += left_over(np.hypot(*columns["drift"].T))


def _allow_for_uneven_noise(pair: _Pair, rest: Floats, columns: dict[str, Floats]) -> None:
    """Widen covariances where the images differ most at the edges of the scene."""
    index = np.flatnonzero(columns["uneven"] > _UNEVEN)
    if index.size:
        _, linear, _, steps = _without_step(pair, rest, columns, index)
        cov = columns["cov"][index]
        slopes = linear.slope_x, linear.slope_y
        factor = weighting.spread_of_blocks(linear.mean, linear.residual, *slopes, steps, cov, pair.modes)
        columns["cov"][index] = cov * factor[:, None, None]


def _without_step(
    pair: _Pair, rest: Floats, columns: dict[str, Floats], index: Ints
) -> tuple[_Pair, _Linearised, weighting.Products, weighting.Steps]:
    """Linearise some windows where they are."""
    some = pair.take(index)
    linear = _linearise(some, rest[index])
    products = weighting.Products.of(linear.residual, linear.slope_x, linear.slope_y, pair.modes, some.used)
    return some, linear, products, weighting.steps_taken(products, columns["last_step"][index], pair.modes)


def _replace_rows(columns: dict[str, Any], index: Ints, part: dict[str, Any]) -> None:
    """Replace rows of all columns."""
    for name, values in part.items():
        columns[name][index] = values


def _linearise(pair: _Pair, rest: Floats) -> _Linearised:
    """Sample both windows half the remaining shift apart, as modes."""
    modes = pair.modes
    ramp = modes.ramp(rest / 2)
    first, second, edge_x, edge_y = pair.flat
    mean, other = ramp * first, ramp.conj()
    other *= second
    residual = mean - other
    mean += other
    mean *= np.float32(0.5)
    # The faded margins moved in opposite directions, which is no difference of the images. A wave moved by a phase p
    # either way leaves sin(p) / p of its slope times the move in the residual, and cos(p) of itself in the mean.
    move, cosine = rest.astype(np.float32), ramp.real
    edges = move[:, :1] * edge_x
    edges += move[:, 1:] * edge_y
    edges *= (cosine + 2) / 3
    residual -= edges
    # The windows were standardised before they were aligned: correct the gain.
    gain = np.vecdot(mean, residual).real / np.maximum(np.vecdot(mean, mean).real, 1e-30)
    residual -= gain[:, None] * mean
    turn = np.complex64(2j * np.pi)
    slope_x, slope_y = mean * (turn * modes.fx), mean * (turn * modes.fy)
    slope_x -= edge_x * cosine
    slope_y -= edge_y * cosine
    return _Linearised(mean, residual, slope_x, slope_y)


def _pixels(pair: _Pair, rest: Floats) -> tuple[Floats, Floats]:
    """Pixels of target and reference, half the remaining shift apart."""
    first, second = _phase_shift(pair, rest)
    return inverse(second, pair.modes.shape), inverse(first, pair.modes.shape)


def _shift_target(pair: _Pair, rest: Floats) -> Floats:
    """Pixels of the corrected target; the effect of the moved margin is removed."""
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


def _reweight(pair: _Pair, rest: Floats, aligned: Aligned, columns: dict[str, Floats], suspects: Ints) -> None:
    """Solve windows with changes again, with less weight on the changed pixels."""
    index = _windows_to_reweight(aligned, suspects)
    drifting = columns["drifting"] | (np.hypot(*columns["drift"].T) > _NEAR_DRIFT)
    before = {name: values.copy() for name, values in columns.items()} | {"rest": rest.copy()}
    for _ in range(_MOST_ITERATIONS):
        if not index.size:
            break
        some = pair.take(index)
        tgt, ref = _pixels(some, rest[index])
        aligned.put(index, tgt, ref)
        difference = _difference(some, rest[index], tgt, ref)
        weight = change_weights(difference, ref + tgt, some.weight)
        edges = edges_removed(weight, ref + tgt)
        if edges.any():
            back = index[edges]
            rest[back] = before["rest"][back]
            _replace_rows(columns, back, {name: values[back] for name, values in before.items() if name != "rest"})
            aligned.put(back, *_pixels(pair.take(back), rest[back]))
            index = index[~edges]
            continue
        linear = _linearise_weighted(some, rest[index], weight, difference)
        products = weighting.Products.of(linear.residual, linear.slope_x, linear.slope_y, pair.modes, some.used)
        steps = weighting.take_steps(products, pair.modes)
        found = _columns(linear, products, steps, some, some.weight * weight, changes=True)
        _replace_rows(columns, index, found)
        rest[index] += found["move"]
        index = index[np.hypot(*found["move"].T) > _NEAR_WEIGHED]
    _compare(before, rest, columns, drifting)


def _compare(before: dict[str, Floats], rest: Floats, columns: dict[str, Floats], drifting: Bools) -> None:
    """Widen covariances where weighted pixels contradict a drift that all of them show, or confirm what is vague."""
    gap = np.hypot(*(rest - before["rest"]).T)
    was, now = (np.trace(part, axis1=1, axis2=2) / 2 for part in (before["cov"], columns["cov"]))
    # What changes in a scene is seen as a drift, too: on real pairs small contradictions say nothing.
    # A copy that is left says what it says, be there a drift or not: far away, it is that of a scene under clouds.
    copy, far = now < _COPY * was, gap > _TOO_WIDE
    contradicts = (gap > 3 * np.sqrt(was)) & (drifting & (copy | far & columns["drifting"]) | copy & ~far)
    columns["cov"] += round_covariance(np.where(contradicts, np.where(gap > _TOO_WIDE, 2 * gap, gap), 0))
    vague = np.where(gap < before["vague"] / 4, before["vague"], columns["vague"])
    columns["cov"] += round_covariance(vague - columns["vague"])
    columns["vague"] = vague


def _windows_to_reweight(aligned: Aligned, index: Ints) -> Ints:
    """Select the windows in which changed pixels make up a relevant share of the difference."""
    if not index.size:
        return index
    ref, tgt, weight = aligned.ref[index], aligned.tgt[index], aligned.weight
    difference, both = ref - tgt, ref + tgt
    weight = change_weights(difference, both, weight if len(weight) == 1 else weight[index])
    some = np.flatnonzero(share_removed(difference, weight) > _WORTH)
    return index[some[~displaced(difference[some], both[some], 1 - weight[some])]]


def _difference(pair: _Pair, rest: Floats, tgt: Floats, ref: Floats) -> Floats:
    """Difference of the aligned windows, without the effect of their margins."""
    out = ref - tgt
    move = rest.astype(np.float32)[:, :, None, None]
    out -= move[:, 0] * pair.edge_x
    out -= move[:, 1] * pair.edge_y
    return np.asarray(out)


def _linearise_weighted(pair: _Pair, rest: Floats, weight: Floats, difference: Floats) -> _Linearised:
    """Linearise with weighted pixels."""
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
    taken = (modes.take(forward(weight * image)) for image in images)
    return _Linearised(*(part if pair.stripes is None else np.where(pair.stripes, 0, part) for part in taken))


def _columns(
    linear: _Linearised,
    products: weighting.Products,
    steps: weighting.Steps,
    pair: _Pair,
    weight: Floats,
    *,
    changes: bool = False,
) -> dict[str, Floats]:
    """Columns of `Refined` from the last linearisation; `changes` of the scene are uneven and do not drift."""
    modes = pair.modes
    used = window_sums(weight * weight) / (modes.shape[0] * modes.shape[1])
    move = steps.move.astype(np.float32)
    residual = linear.residual + move[:, :1] * linear.slope_x + move[:, 1:] * linear.slope_y
    turned = weighting.out_of_phase(linear.mean, residual, steps, modes)
    cov, support = weighting.covariance(turned, products, np.broadcast_to(used, len(move)), modes)
    length = np.hypot(*steps.move.T)
    drift = without_drift(products, turned, cov, support, modes, pair.known)
    if changes:
        slopes = linear.slope_x, linear.slope_y
        factor = weighting.spread_of_blocks(linear.mean, residual, *slopes, steps, cov, modes)
        # A drift that is not taken out may be that of the pixels or of the changes.
        unsure = left_over(np.hypot(*drift.step.T), 0.0 if pair.known.drifts else 1.0)
        cov = (drift.cov if pair.known.drifts else cov) * factor[:, None, None] + unsure
        drift = drift._replace(step=drift.step * (pair.known.drifts > 0), cov=cov, vague=0 * length)
    score, phase = weighting.correlation_and_phase(linear.mean, residual, steps, modes)
    last_step = np.where(length > _NEAR, length, steps.last_step)
    found = {"move": steps.move + drift.step, "cov": drift.cov, "drift": drift.step, "last_step": last_step}
    found |= {"drifting": drift.seen, "vague": drift.vague, "evidence": drift.evidence}
    return {**found, "score": score, "phase": phase, "support": support}
