"""Whether a correction between two elevation models can be right, and what it leaves: the reasons of refusals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from xcoreg.core import Floats
from xcoreg.core.dem.covariance import Cells, correlated_covariance
from xcoreg.core.dem.equations import Equations, spread_of
from xcoreg.core.dem.observations import DemWindow, Observation, Samples, gradients, shift_window
from xcoreg.core.dem.whiten import Whitened
from xcoreg.core.matches import Status

# Block sizes over which relief is compared, for windows of at least so many px.
_FACTORS = ((128, (4, 16)), (40, (2, 8)), (0, (1, 4)))
_CLIP, _FEWEST = 6.0, 12
# Correlation of slopes below which models show different terrain, and above which a factor between them is believed.
_UNRELATED, _RELATED = 0.4, 0.7
_SAME_SCALE = 1.2  # heights that differ by less than this factor are in one unit
# Factors between heights that have a name.
_UNITS = {3.2808: "feet", 0.3048: "feet", 100.0: "centimetres", 0.01: "centimetres", 10.0: "decimetres",
          0.1: "decimetres", 1000.0: "millimetres", 0.001: "millimetres"}  # fmt: skip


@dataclass(frozen=True)
class Refusal:
    """A status with its reason and cure."""

    status: Status
    reason: str
    cure: str


@dataclass(frozen=True)
class Relief:
    """Slopes of both models over blocks of pixels: their correlation, sizes, and number."""

    correlation: float
    target: float
    reference: float
    count: int


def relief_of(windows: Sequence[DemWindow], move: Floats, factor: int) -> Relief:
    """Compare the slopes of blocks of pixels, the target moved by (dcol, drow) px."""
    pairs = []
    for one in windows:
        coarse = one.coarser(factor)
        if min(coarse.shape) < 3:
            continue
        tgt, seen = shift_window(coarse.tgt, coarse.tgt_valid, np.asarray(move) / factor - coarse.base)
        first, second = gradients(coarse.ref, coarse.ref_valid), gradients(tgt, seen)
        use = first[2] & second[2]
        pairs.append(np.stack([[first[0][use], first[1][use]], [second[0][use], second[1][use]]]))
    both = np.concatenate(pairs, axis=2) if pairs else np.zeros((2, 2, 0), np.float32)
    if both.shape[2] < _FEWEST:
        return Relief(np.nan, np.nan, np.nan, both.shape[2])
    both = both.reshape(2, -1).astype(np.float64)
    for part in both:
        limit = _CLIP * spread_of([part]).nmad
        np.clip(part, -limit, limit, out=part)
    square = (both**2).mean(1)
    product = float((both[0] * both[1]).mean())
    scale = np.sqrt(square[0] * square[1])
    reference, target = np.sqrt(square).tolist()
    return Relief(product / scale if scale > 0 else np.nan, target, reference, both.shape[1] // 2)


def check_relief(samples: Sequence[Samples], move: Floats, *, shifted: bool) -> Refusal | None:
    """Refuse models whose heights differ in unit or sign, of which one has no relief, or that show other terrain."""
    windows = [one for one in samples if isinstance(one, DemWindow)]
    if not windows:
        return None
    side = min(min(one.shape) for one in windows)
    factors = next(factors for least, factors in _FACTORS if side >= least)
    fine, coarse = (relief_of(windows, np.nan_to_num(move), factor) for factor in factors)
    for found in (coarse, fine):
        if (wrong := _constant(found)) or (wrong := _other_unit(found)):
            return wrong
    grows = coarse.reference > fine.reference or coarse.target > fine.target
    best = max(np.nan_to_num([fine.correlation, coarse.correlation]))
    if grows and best < _UNRELATED and coarse.count >= _FEWEST:
        return _unrelated(best, "slopes", shifted)
    return None


def _constant(found: Relief) -> Refusal | None:
    for name, own, other in (("target", found.target, found.reference), ("reference", found.reference, found.target)):
        if own < 1e-5 * other:
            return Refusal(Status.FLAT, f"the {name} is constant", f"check the band and the nodata value of the {name}")
    return None


def _other_unit(found: Relief) -> Refusal | None:
    r, ratio = found.correlation, found.target / found.reference if found.reference > 0 else np.nan
    if r < -_RELATED:
        text = "the heights of one model have the opposite sign (are they depths?)"
        return Refusal(Status.DISAGREES, text, "multiply one of the models by -1")
    if not (r > _RELATED and abs(np.log(ratio)) > np.log(_SAME_SCALE)):
        return None
    near = min(_UNITS, key=lambda one: abs(np.log(ratio / one)))
    named = abs(np.log(ratio / near)) < np.log(1.1)
    which = "target" if near > 1 else "reference"
    unit = f": those of the {which} seem to be in {_UNITS[near]}" if named else ""
    text = f"the heights of the target are {ratio:.3g} times those of the reference{unit}"
    return Refusal(Status.DISAGREES, text, "give the units, dem.attrs['units'] = 'ft', or convert one of the models")


_ROUGH = 4.0  # spread of heights over steps from pixel to pixel that flat ground, which is noise, does not reach


def check_heights(target: Floats, reference: Floats, steps: Floats, *, shifted: bool) -> Refusal | None:
    """Refuse heights (n,) at points that differ in unit or sign, or show other terrain; steps of the target per px."""
    both = np.stack([reference, target]).astype(np.float64)
    if both.shape[1] < _FEWEST:
        return None
    both -= np.median(both, axis=1, keepdims=True)
    spread = np.array([spread_of([part]).nmad for part in both])
    both = np.clip(both, -_CLIP * spread[:, None], _CLIP * spread[:, None])
    reference_size, target_size = np.sqrt((both**2).mean(1)).tolist()
    if not target_size > _ROUGH * float(np.median(steps)):
        return None
    scale = reference_size * target_size
    found = Relief(float((both[0] * both[1]).mean()) / scale if scale > 0 else np.nan, target_size, reference_size,
                   both.shape[1])  # fmt: skip
    if (wrong := _constant(found)) or (wrong := _other_unit(found)):
        return wrong
    return _unrelated(found.correlation, "heights", shifted) if found.correlation < _RELATED else None


def _unrelated(correlation: float, what: str, shifted: bool) -> Refusal:
    text = f"the models show different terrain (their {what} correlate by {correlation:.2f})"
    far = "" if shifted else ", or are farther apart than the terrain varies: matcher='nuth_kaab' finds a shift"
    return Refusal(Status.NOT_IMPROVED, text, f"check that both show the same place{far}")


_NARROW = 8  # px; slopes along a narrower overlap are unknown once it is interpolated


def check_extent(samples: Sequence[Samples]) -> Refusal | None:
    """Refuse an overlap that is a line."""
    low, high = np.full(2, np.inf), np.full(2, -np.inf)
    for one in samples:
        if not isinstance(one, DemWindow):
            return None
        at = np.flatnonzero(one.tgt_valid & one.ref_valid)
        if len(at):
            places = np.array([[part.min(), part.max()] for part in one.positions(at)])
            low, high = np.minimum(low, places[:, 0]), np.maximum(high, places[:, 1])
    sides = high - low + 1
    if not np.isfinite(sides).all() or sides.min() >= _NARROW:
        return None
    text = f"the valid overlap is only {sides.min():.0f} px {'wide' if sides[0] < sides[1] else 'high'}"
    return Refusal(Status.NO_DATA, text, f"at least {_NARROW} px are needed: check the extents and nodata values")


# --- what a correction leaves ----------------------------------------------------------------------------------------

_SAMPLE = 80_000  # samples that the tests use
# Chi-squared per parameter of a structure that counts; displacements that are refused and that are reported, px.
_CLEAR, _REFUSED, _REPORTED = 9.0, 0.35, 0.03
_FEWEST_TESTED, _SHIFTED = 1000, 0.1  # samples that the tests need; shift that is reported without a shift matcher, px
# A change counts beyond so many of its own sigmas, so many of those of the solution, and so many px.
_SURE, _BEYOND, _SMALLEST = 3.5, 1.5, 0.01
_SOFT = 0.25  # slopes below this share of the usual one have no direction


@dataclass(frozen=True, eq=False)
class Extended:
    """Solution with extra columns: their coefficients and covariance, the change of the others and its covariance."""

    extra: Floats
    extra_cov: Floats
    change: Floats
    change_cov: Floats

    def chi_squared(self) -> float:
        """Chi-squared of the extra coefficients, per coefficient."""
        try:
            return float(self.extra @ np.linalg.solve(self.extra_cov, self.extra)) / len(self.extra)
        except np.linalg.LinAlgError:
            return 0.0


Columns = Callable[[int, Observation], list[Floats]]


def extended_solution(
    samples: Sequence[Samples],
    observations: Sequence[Observation],
    equations: Equations,
    extra: Columns,
    first: int,
    better: Whitened | None = None,
) -> Extended | None:
    """Solve again with extra columns beside those from `first` on, with the weights as they are.

    better : Whitened equations of the shift, where these were solved: heights follow from it.
    """
    step = max(1, sum(len(one.dh) for one in observations) // _SAMPLE) | 1
    thin = slice(None, None, step)
    more = [extra(k, one) for k, one in enumerate(observations)]
    if better is not None:
        more = [[off(np.asarray(c, np.float32)) for c in cs] for off, cs in zip(better.means, more, strict=True)]
        mine, weights, rest = better.columns, better.weights, better.residuals
    else:
        mine, weights, rest = [cols[first:] for cols in equations.columns], equations.weights, equations.residuals
    weights, rest = ([part[thin] for part in parts] for parts in (weights, rest))
    design = [np.stack([c[thin] for c in (*own, *new)]).astype(np.float64) for own, new in zip(mine, more, strict=True)]
    normal = np.sum([(d * w) @ d.T for d, w in zip(design, weights, strict=True)], axis=0)
    p = len(design[0]) - len(more[0])
    scale = np.sqrt(np.maximum(np.diag(normal), 1e-300))
    try:
        inverse = np.linalg.inv(normal / scale[:, None] / scale[None, :]) / scale[:, None] / scale[None, :]
        plain = np.linalg.inv(normal[:p, :p])
    except np.linalg.LinAlgError:
        return None
    right = np.sum([d @ (w * r) for d, w, r in zip(design, weights, rest, strict=True)], axis=0)
    found = inverse @ right
    places = [one.positions(obs.at[thin]) for one, obs in zip(samples, observations, strict=True)]
    cells = Cells.over_positions(places)
    # The noise is what the extra columns leave as well.
    scores = [w * (r - found @ d) for d, w, r in zip(design, weights, rest, strict=True)]
    sums = np.stack(
        [cells.sums([d[k] * one for d, one in zip(design, scores, strict=True)]) for k in range(len(found))]
    )
    both, before = np.tensordot(inverse, sums, 1), np.tensordot(plain, sums[:p], 1)
    change, change_cov = found[:p] - plain @ right[:p], correlated_covariance(both[:p] - before)
    if better is not None:
        follows = -np.linalg.solve(equations.normal[2:, 2:], equations.normal[2:, :2])
        onto = np.concatenate([np.eye(2), follows])
        change, change_cov = onto @ change, onto @ change_cov @ onto.T
    return Extended(found[p:], correlated_covariance(both[p:]), change, change_cov)


def spatial_change(
    samples: Sequence[Samples],
    observations: Sequence[Observation],
    equations: Equations,
    better: Whitened | None = None,
) -> tuple[float, float, float, bool]:
    """Displacement left by a constant shift: its size (px, root mean square), rotation (degrees), scale, clear or not.

    From a shift that changes linearly over the scene. Rotation and scale are those of pixels that are square.
    """
    low, high = _corners(samples, observations)
    middle, half = (low + high) / 2, float((high - low).max()) / 2 or 1.0

    def columns(k: int, one: Observation) -> list[Floats]:
        u, v = ((place - centre) / half for place, centre in zip(samples[k].positions(one.at), middle, strict=True))
        turned = [-one.col * u, -one.col * v, -one.row * u, -one.row * v]
        return turned if better is not None else [*turned, u, v]

    found = extended_solution(samples, observations, equations, columns, 0, better)
    if found is None:
        return 0.0, 0.0, 0.0, False
    a, part = found.extra[:4], found.extra_cov[:4, :4]
    try:
        clear = float(a @ np.linalg.solve(part, a)) / 4 > _CLEAR
    except np.linalg.LinAlgError:
        clear = False
    su, sv = ((high - low) / half) ** 2 / 12
    size = float(np.sqrt((a[0] ** 2 + a[2] ** 2) * su + (a[1] ** 2 + a[3] ** 2) * sv))
    turn, scale = (a[2] - a[1]) / 2 / half, (a[0] + a[3]) / 2 / half
    return size, float(np.degrees(turn)), float(scale), clear


def _corners(samples: Sequence[Samples], observations: Sequence[Observation]) -> tuple[Floats, Floats]:
    places = [one.positions(obs.at) for one, obs in zip(samples, observations, strict=True) if len(obs.at)]
    low = np.array([min(float(place[axis].min()) for place in places) for axis in range(2)])
    return low, np.array([max(float(place[axis].max()) for place in places) for axis in range(2)])


def aspect_change(
    samples: Sequence[Samples],
    observations: Sequence[Observation],
    equations: Equations,
    better: Whitened | None = None,
) -> Extended | None:
    """Change of the solution when differences may depend on aspect and slope alone, as forests and radar make them.

    A shift makes differences proportional to the slope. A bias by aspect does not: with columns for the direction of
    the slope, and for its size, the shift must stay.
    """
    sizes = [np.hypot(one.col, one.row) for one in observations]
    soft = _SOFT * max(spread_of(sizes).median, 1e-12)

    def columns(k: int, one: Observation) -> list[Floats]:
        size = np.sqrt(sizes[k] ** 2 + soft**2)
        return [one.col / size, one.row / size, sizes[k]]

    return extended_solution(samples, observations, equations, columns, 0, better)


@dataclass(frozen=True, eq=False)
class Review:
    """What a solution leaves: a reason to refuse it, warnings, and the change (p,) that a bias may have caused."""

    refusal: Refusal | None = None
    warnings: tuple[str, ...] = ()
    change: Floats | None = None


def review(
    samples: Sequence[Samples],
    observations: Sequence[Observation],
    equations: Equations,
    cov: Floats,
    *,
    shift: bool,
    better: Whitened | None = None,
) -> Review:
    """Test what is left of heights for a turn, a scale, and a dependence on aspect; without `shift`, for a shift."""
    if sum(len(one.dh) for one in observations) < _FEWEST_TESTED:
        return Review()
    if not shift:
        return _shift_left(samples, observations, equations)
    size, turn, scale, clear = spatial_change(samples, observations, equations, better)
    left = f"{size:.2g} px on average (rotation {turn:+.2g} degrees, scale {1 + scale:.5g})"
    if clear and size > _REFUSED:
        text = f"no single shift is right: it changes over the overlap by {left}"
        return Review(Refusal(Status.OUTLIER, text, "use matcher='rigid', or match_local for a field of shifts"))
    notes = []
    if clear and size > _REPORTED:
        notes.append(f"the shift changes over the overlap by {left}: matcher='rigid' or match_local may do better")
    found, change = aspect_change(samples, observations, equations, better), None
    if found is not None and _matters(found, cov):
        change = found.change
        notes.append(
            f"heights differ by the aspect of slopes as no shift does it (forest, snow, radar?): the shift may be off "
            f"by {np.hypot(*change[:2]):.2g} px and dz by {abs(change[2]):.2g}; mask what has changed by where="
        )
    return Review(None, tuple(notes), change)


def _shift_left(samples: Sequence[Samples], observations: Sequence[Observation], equations: Equations) -> Review:
    found = extended_solution(samples, observations, equations, lambda _, one: [-one.col, -one.row], 2)
    if found is None or found.chi_squared() < _CLEAR or np.hypot(*found.extra) < _SHIFTED:
        return Review()
    text = f"a shift of about ({found.extra[0]:+.2g}, {found.extra[1]:+.2g}) px is left: matcher='nuth_kaab' finds it"
    return Review(None, (text,))


def _matters(found: Extended, cov: Floats) -> bool:
    """Whether the change of shift and offset is clear, and larger than their standard deviations."""
    own = np.sqrt(np.clip(np.diag(found.change_cov)[:3], 0, None))
    known = np.sqrt(np.diag(cov)[:3])
    clear = np.abs(found.change[:3]) > np.maximum(_SURE * own, _BEYOND * known)
    return bool(clear.any() and np.hypot(*found.change[:2]) > _SMALLEST)
