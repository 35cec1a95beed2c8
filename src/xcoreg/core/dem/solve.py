"""Shift, offset and ramp between two elevation models, by iterated robust least squares or by Nuth & Kääb (2011)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np

from xcoreg.core import Bools, Floats
from xcoreg.core.dem.acceptance import Refusal, Review, check_extent, check_relief, review
from xcoreg.core.dem.classic import classic_step
from xcoreg.core.dem.covariance import classic_covariance, covariance, residual_correlation_length, with_long_range
from xcoreg.core.dem.equations import Basis, Equations, Spread, Terms, solve_weighted, spread_of
from xcoreg.core.dem.noise import Noise, describe_noise
from xcoreg.core.dem.observations import DemWindow, Observation, Samples
from xcoreg.core.dem.search import SearchArea, search_shift
from xcoreg.core.dem.whiten import Whitened, choose_side, may_whiten, whitened, whitened_covariance
from xcoreg.core.matches import Matches, Status

_FEWEST, _SMALL_STEP = 100, 1e-3  # smallest number of samples, and length of a step at convergence, px
_ROUNDS, _LONGEST, _ENOUGH = 30, 4.0, 5
# Whitened iterations, how far they may move a shift, and the last step, px; share of an error that is still to come.
_FINE_ROUNDS, _FARTHEST, _LAST_STEP, _UNSEEN = 6, 1.0, 0.02, 0.25
# Iterations without limits; later, steps along axes without relief are suppressed: misaligned models show less relief.
_FREE_ROUNDS = 6
# Block sizes of the coarse search for long shifts, smallest number of blocks per side, and of samples.
_COARSER, _ROOM, _FEWEST_COARSE = (16, 4), 24, 9
# Largest standard deviation of an accepted shift, px; smallest ratio of relief to that of noise.
_LARGEST_SIGMA, _ABOVE_NOISE = 1.0, 4.0
_INTERPOLATION = 1e-4  # px; what interpolation and the end of the iteration leave without noise
_ROUNDING = 1e-6  # relief below this share of the height is rounding of float32


@dataclass(frozen=True, eq=False)
class Solution:
    """Estimated parameters between two elevation models.

    move : (2,) float64; correction target -> reference (dcol, drow), px; NaN along axes that the terrain leaves open.
    height, mean : (m,) float64; coefficients of the vertical correction by rising degree, in coordinates scaled by
        `basis`; mean of each polynomial over the samples.
    cov : (2 + m, 2 + m) float64; of move and height; infinite where undetermined, NaN for a shift not estimated.
    count, length : Number of samples, and correlation length of the residuals, px.
    side : Of the squares whose means were taken off, px, 0 for none.
    median_before, median_after, nmad_before, nmad_after : Of reference minus target.
    """

    status: Status
    move: Floats
    height: Floats
    cov: Floats
    basis: Basis
    count: int = 0
    median_before: float = np.nan
    median_after: float = np.nan
    nmad_before: float = np.nan
    nmad_after: float = np.nan
    iterations: int = 0
    length: float = np.nan
    mean: Floats | None = None
    refusal: Refusal | None = None
    warnings: tuple[str, ...] = ()
    noise: Noise | None = None
    side: int = 0

    @property
    def mean_height(self) -> tuple[float, float]:
        """Mean of the vertical correction over the samples and its variance; NaN without a solution."""
        if self.mean is None:
            return np.nan, np.nan
        return float(self.mean @ self.height), float(self.mean @ self.cov[2:, 2:] @ self.mean)


def solve(
    samples: Sequence[Samples],
    terms: Terms,
    search: SearchArea | None = None,
    *,
    to_metres: Floats | None = None,
    fewest: int = _FEWEST,
    thorough: bool = True,
    side: int | None = None,
) -> Solution:
    """Estimate the parameters between two elevation models from windows or points; `to_metres` is (2, 2).

    thorough : Also test what the solution leaves unexplained.
    side : Of the squares whose means are taken off, px; 0 for none, None for what is best.
    """
    problem = _Problem(terms, Basis.over(samples, terms), search or SearchArea(), to_metres, fewest, thorough, side)
    first = problem.search.start
    start = _coarse_shift(samples, problem) if terms.shift else first
    found = _iterate(samples, problem, start)
    if found.status in (Status.NO_DATA, Status.NOT_CONVERGED, Status.TOO_FAR) and (start != first).any():
        found = _iterate(samples, problem, first)
    if found.status is not Status.OK and found.refusal is None:
        refusal = check_extent(samples) or check_relief(samples, first, shifted=terms.shift)
        return found if refusal is None else replace(found, status=refusal.status, refusal=refusal)
    return found


@dataclass(frozen=True, eq=False)
class _Problem:
    terms: Terms
    basis: Basis
    search: SearchArea
    to_metres: Floats | None
    fewest: int
    thorough: bool
    side: int | None


def _coarse_shift(samples: Sequence[Samples], problem: _Problem) -> Floats:
    """Coarse search for long shifts on averaged pixels, (dcol, drow) px."""
    start = problem.search.start
    for factor in _COARSER:
        if any(min(one.shape) < factor * _ROOM for one in samples):
            continue
        coarse = [part for one in samples if (part := one.coarser(factor)) is not None]
        search, basis = problem.search.coarser(factor), problem.basis.coarser(factor)
        rough = replace(problem, basis=basis, search=search, fewest=_FEWEST_COARSE, thorough=False)
        found = _iterate(coarse, rough, start / factor, fine=False)
        if found.status is Status.OK and not found.nmad_after > found.nmad_before:
            start = np.asarray(found.move * factor)
    return search_shift(samples, start, problem.search.reach)


def _iterate(samples: Sequence[Samples], problem: _Problem, start: Floats, fine: bool = True) -> Solution:
    """Sample and solve until the shift converges."""
    move, before, first = start, Spread(), 0
    reach = min(problem.search.reach + 0.5, 0.5 * max((max(one.shape) for one in samples), default=0))
    for iteration in range(_ROUNDS):
        observations = [one.observe(move) for one in samples]
        count = sum(len(one.dh) for one in observations)
        first = count if iteration == 0 else first
        if count < problem.fewest:
            # Interpolation at the border removes samples: where there were few at first, too few remain.
            few = first < _ENOUGH * problem.fewest
            return _failure(problem, Status.NO_DATA if few else Status.NOT_CONVERGED, observations)
        if iteration == 0:
            before = spread_of([one.dh for one in observations])
        if problem.terms.shift and _is_flat(observations):
            return _failure(problem, Status.FLAT, observations)
        equations = solve_weighted(observations, samples, problem.basis, problem.terms)
        step = _step(observations, equations, problem)
        if iteration >= _FREE_ROUNDS and np.isfinite(step).all():
            step = _without_drift(step, equations)
        if not np.isfinite(step).all():
            return _failure(problem, Status.UNCONSTRAINED, observations)
        move = move + np.clip(step, -_LONGEST, _LONGEST)
        if np.abs(move - problem.search.start).max() > reach:
            return _failure(problem, Status.TOO_FAR, observations)
        # Whitened equations end what these begin.
        if np.abs(step).max() < (_LAST_STEP if fine and problem.side else _SMALL_STEP):
            break
    else:
        return _failure(problem, Status.NOT_CONVERGED, observations)
    if start.any():
        before = spread_of([one.observe(np.zeros(2), ref_slopes_only=True).dh for one in samples])
    better = None
    if fine and problem.terms.shift and not problem.terms.classic:
        move, observations, equations, better = _whitened(samples, problem, move, observations, equations)
    found = _solution(samples, observations, problem, equations, better, (move, before, iteration + 1))
    return _reviewed(found, samples, observations, equations, better, problem) if fine else found


def _whitened(
    samples: Sequence[Samples], problem: _Problem, move: Floats, observations: list[Observation], equations: Equations
) -> tuple[Floats, list[Observation], Equations, Whitened | None]:
    """Improve a shift by whitened equations, and the heights with it, where noise is correlated."""
    first, side = (move, observations, equations, None), problem.side
    if side == 0 or not may_whiten(samples, observations):
        return first
    side = choose_side(samples, observations, equations) if side is None else side
    fixed, later = replace(problem.terms, shift=False, vertical="weighted"), np.zeros(2)
    for iteration in range(_FINE_ROUNDS if side else 0):
        found = whitened(samples, observations, equations, side)
        move = move + found.step
        if not found.strong or np.abs(move - first[0]).max() > _FARTHEST:
            return first
        later = later + (found.step if iteration else 0.0)
        if iteration and np.abs(found.step).max() < _LAST_STEP:
            # All steps but the first are what a finer interpolation changes; a part of it is still to come.
            follows = np.linalg.solve(equations.normal[2:, 2:], equations.normal[2:, :2] @ found.step)
            heights = equations.solution - np.concatenate([[0.0, 0.0], follows])
            return move, observations, replace(equations, solution=heights), replace(found, change=_UNSEEN * later)
        observations = [one.observe(move, fine=True) for one in samples]
        equations = solve_weighted(observations, samples, problem.basis, fixed)
    return first


def _step(observations: list[Observation], equations: Equations, problem: _Problem) -> Floats:
    if not problem.terms.shift:
        return np.zeros(2)
    return classic_step(observations, equations, problem.to_metres) if problem.terms.classic else equations.solution[:2]


def _without_drift(step: Floats, equations: Equations) -> Floats:
    """Suppress the part of a step along axes without relief."""
    information, axes = equations.relief()
    strong = axes[:, information > _ABOVE_NOISE * equations.relief_noise(axes)]
    return np.asarray(strong @ (strong.T @ step))


def _is_flat(observations: list[Observation]) -> bool:
    """Whether the models have no relief."""
    own = sum(float(np.sum(part, dtype=np.float64)) for one in observations for part in (one.own[0], one.own[2]))
    high = max(float(np.abs(one.dh).max(initial=0.0)) for one in observations)
    return not own / sum(len(one.dh) for one in observations) > (_ROUNDING * high) ** 2


def _solution(
    samples: Sequence[Samples],
    observations: list[Observation],
    problem: _Problem,
    equations: Equations,
    better: Whitened | None,
    state: tuple[Floats, Spread, int],
) -> Solution:
    """Covariance, statistics and status."""
    move, before, iterations = state
    length = residual_correlation_length(samples, observations, equations)
    if better is None:
        cov = covariance(samples, observations, equations, shift=problem.terms.shift)
    else:
        cov = whitened_covariance(equations, better)
    cov = with_long_range(cov, samples, observations, equations)
    if problem.terms.classic and np.isfinite(cov).all():
        cov[:2, :2], cov[:2, 2:], cov[2:, :2] = classic_covariance(samples, observations, equations), 0.0, 0.0
    height = equations.solution[2:].copy()
    if problem.terms.vertical != "weighted":
        every = np.concatenate([one.dh for one in observations])
        height[0] = every.mean(dtype=np.float64) if problem.terms.vertical == "mean" else np.median(every)
    after = spread_of(equations.residuals)
    status, move, cov = _check_relief(move, cov, equations, problem)
    return Solution(
        status,
        move,
        height,
        cov,
        problem.basis,
        count=sum(len(part) for part in equations.residuals),
        median_before=before.median,
        median_after=after.median + equations.solution[2] - height[0],
        nmad_before=before.nmad,
        nmad_after=after.nmad,
        iterations=iterations,
        length=length,
        mean=_means(equations),
        side=0 if better is None else better.side,
    )


def _reviewed(
    found: Solution,
    samples: Sequence[Samples],
    observations: list[Observation],
    equations: Equations,
    better: Whitened | None,
    problem: _Problem,
) -> Solution:
    """Refuse a solution that cannot be right; note what it leaves, and add it to the covariance."""
    shift = problem.terms.shift
    if found.status is Status.UNCONSTRAINED and shift and problem.thorough:
        seen = review(samples, observations, equations, found.cov, shift=shift, better=better)
        return found if seen.refusal is None else replace(found, status=seen.refusal.status, refusal=seen.refusal)
    if found.status is not Status.OK:
        return found
    refusal = check_relief(samples, found.move, shifted=shift) if problem.thorough or not shift else None
    seen = (
        review(samples, observations, equations, found.cov, shift=shift, better=better)
        if problem.thorough
        else Review()
    )
    refusal = refusal or seen.refusal
    if refusal is not None:
        return replace(found, status=refusal.status, refusal=refusal)
    cov = found.cov.copy()
    cov[:2, :2] += _INTERPOLATION**2 * np.eye(2) if shift else 0.0
    if seen.change is not None:
        cov += np.outer(seen.change, seen.change)
    noise = describe_noise(samples, observations, equations, problem.to_metres) if problem.thorough else None
    return replace(found, warnings=seen.warnings, cov=cov, noise=noise)


def _means(equations: Equations) -> Floats:
    """Mean of each vertical column over all samples."""
    count = sum(len(part) for part in equations.residuals)
    every = zip(*(columns[2:] for columns in equations.columns), strict=True)
    return np.array([sum(float(part.sum(dtype=np.float64)) for part in one) / count for one in every])


def _check_relief(move: Floats, cov: Floats, equations: Equations, problem: _Problem) -> tuple[Status, Floats, Floats]:
    """Status; shift and covariance along axes without relief are set to NaN and infinity."""
    if not problem.terms.shift:
        ok = bool(np.isfinite(cov[2:, 2:]).all())
        return (Status.OK if ok else Status.UNCONSTRAINED), np.zeros(2), cov
    information, axes = equations.relief()
    with np.errstate(invalid="ignore"):
        spread = np.einsum("ia,ij,ja->a", axes, cov[:2, :2], axes)
    weak = ~(information > _ABOVE_NOISE * equations.relief_noise(axes)) | ~(spread < _LARGEST_SIGMA**2)
    if not weak.any():
        return (Status.TOO_FAR if problem.search.is_beyond(move) else Status.OK), move, cov
    # Such an axis need not be parallel to the pixels: both components are affected then.
    unknown = np.concatenate([(np.abs(axes[:, weak]) > 0.05).any(1), np.zeros(len(cov) - 2, bool)])
    cov = np.where(unknown[:, None] | unknown[None, :], 0.0, cov)
    cov[unknown, unknown] = np.inf
    return Status.UNCONSTRAINED, np.where(unknown[:2], np.nan, move), cov


def _failure(problem: _Problem, status: Status, observations: list[Observation]) -> Solution:
    """Make a solution without parameters, with the reason."""
    m, spread = len(problem.terms.powers), spread_of([one.dh for one in observations])
    cov = np.diag(np.full(2 + m, np.inf))
    count = sum(len(one.dh) for one in observations)
    unknown = np.full(2, np.nan), np.full(m, np.nan)
    return Solution(status, *unknown, cov, problem.basis, count, median_before=spread.median, nmad_before=spread.nmad)


@dataclass(frozen=True, eq=False)
class ElevationMatcher:
    """Match each window of two elevation models by itself; of a ramp, `dz` is the height at the centre of the window.

    Examples
    --------
    >>> rows, cols = np.mgrid[:64, :64].astype(np.float32)
    >>> hill = lambda dc: 99 * np.exp(-((cols - 30 - dc) ** 2 + (rows - 33) ** 2) / 500)[None]
    >>> ok = np.ones((1, 64, 64), bool)
    >>> m = ElevationMatcher(Terms(shift=True))(hill(0.0) + 2, hill(0.5), ok, ok)
    >>> m.dcol.round(2).tolist(), m.dz.round(2).tolist(), m.ok.tolist()
    ([0.5], [-2.0], [True])
    """

    #: The caller subtracts the mean heights of windows and adds them to `dz`.
    heights: ClassVar[bool] = True

    terms: Terms
    max_shift: float = np.inf
    to_metres: Floats | None = None
    side: int | None = None

    def __call__(self, tgt: Floats, ref: Floats, tgt_valid: Bools, ref_valid: Bools, /) -> Matches:
        """Match windows: tgt, ref (n, rows, cols) float32; tgt_valid, ref_valid (n, rows, cols) bool."""
        search = SearchArea(self.max_shift)
        how = partial(solve, terms=self.terms, search=search, to_metres=self.to_metres, thorough=False, side=self.side)
        found = [how([DemWindow(*one).cleaned()]) for one in zip(tgt, ref, tgt_valid, ref_valid, strict=True)]
        columns: dict[str, Any] = {
            name: [getattr(one, name) for one in found] for name in ("status", "count", "nmad_before", "nmad_after")
        }
        columns |= {"dz": [one.height[0] for one in found]}
        cov = np.array([one.cov[:3, :3] for one in found]).reshape(-1, 3, 3)
        moves = np.array([one.move for one in found]).reshape(-1, 2)
        return Matches(moves[:, 0], moves[:, 1], cov=cov[:, :2, :2], cov_z=cov[:, 2, :], **columns)
