"""Robust least squares between two elevation models: shift, offset and ramp, re-sampled until nothing moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from xcoreg.core.dem.classic import classic_step
from xcoreg.core.dem.normal import Basis, Equations, Scale, gather, spread_of
from xcoreg.core.dem.uncertainty import classic_covariance, covariance, length_of
from xcoreg.core.status import Status

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xcoreg.core.dem.patches import Observed, Samples
    from xcoreg.core.dem.terms import Terms

    Floats = NDArray[np.floating]

__all__ = ["Solution", "solve"]

# Samples that are needed, and the step, px, below which the target is not sampled again.
_FEWEST, _STILL = 100, 1e-3
_ROUNDS, _LONGEST, _ENOUGH = 30, 4.0, 5
# From this round on nothing moves where the terrain says nothing: models that lie apart show less than there is.
_FREE = 6
# Windows are averaged by these first, where so many pixels are left along their sides: far shifts are found there.
_COARSER, _ROOM, _FEWEST_COARSE = (16, 4), 24, 9
# Largest standard deviation of a useful shift, px; slopes have to stand so many times above those that noise makes.
_VAGUE, _ABOVE_NOISE = 1.0, 4.0
# Relief that is nothing but rounding: share of the height that float32 tells apart.
_ROUNDING = 1e-6


@dataclass(frozen=True, eq=False)
class Solution:
    """What was found between two elevation models.

    Parameters
    ----------
    status : Status
    move : (2,) float64
        Correction target -> reference (dcol, drow), px; NaN along an axis of which the terrain says nothing.
    height : (m,) float64
        Coefficients of the vertical correction by rising degree in coordinates scaled by `basis`.
    cov : (2 + m, 2 + m) float64
        Covariance of all of these; infinite where the terrain says nothing, NaN for a shift that was not asked for.
    basis : Basis
        Centre and scale of the ramp.
    count : int
        Samples.
    median_before, median_after, nmad_before, nmad_after : float
        Of reference minus target.
    iterations : int
    length : float
        Correlation length of what is left, px.
    mean : (m,) float64, optional
        Mean of each polynomial over the samples.
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

    @property
    def mean_height(self) -> tuple[float, float]:
        """Mean of the vertical correction over the samples, and its variance; NaN where nothing was found."""
        if self.mean is None:
            return np.nan, np.nan
        return float(self.mean @ self.height), float(self.mean @ self.cov[2:, 2:] @ self.mean)


def solve(
    samples: Sequence[Samples],
    terms: Terms,
    *,
    max_shift: float = np.inf,
    to_metres: Floats | None = None,
    fewest: int = _FEWEST,
) -> Solution:
    """Estimate what is between two elevation models from windows (or points) that share one answer.

    Parameters
    ----------
    samples : sequence of Samples
        Windows of both models.
    terms : Terms
        What is estimated.
    max_shift : float
        Largest correction along an axis, px.
    to_metres : (2, 2) float, optional
        Metres to the East and North per px to the right and down; only the classic solution asks for it.
    fewest : int
        Samples that are needed.

    Returns
    -------
    Solution

    Notes
    -----
    With slopes g per px, the correction s and the offset z: ``dh = z_ref - z_tgt = -g s + z`` (Nuth & Kääb 2011,
    doi:10.5194/tc-5-271-2011, where slope and azimuth stand for g). Solved by Gauss-Newton with Tukey's weights; the
    target is sampled anew at the accumulated shift until the step is below 0.001 px. The normal matrix is made of the
    slopes of one model times those of the other: noise, which slopes of a single model would take for relief, cancels.

    Examples
    --------
    >>> from xcoreg.core.dem import Patch, parse_terms
    >>> rows, cols = np.mgrid[:64, :64].astype(np.float32)
    >>> hill = lambda dc, dr: 99 * np.exp(-((cols - 30 - dc) ** 2 + (rows - 33 - dr) ** 2) / 500)
    >>> ok = np.ones((64, 64), bool)
    >>> found = solve([Patch(hill(0.5, -1.0), hill(0, 0) + 2, ok, ok)], parse_terms("nuth_kaab"))
    >>> found.move.round(2).tolist(), found.height.round(2).tolist(), found.status.name
    ([0.5, -1.0], [-2.0], 'OK')
    """
    job = _Job(terms, Basis.over(samples, terms), max_shift, to_metres, fewest)
    start = _rough(samples, job) if terms.shift else np.zeros(2)
    found = _iterate(samples, job, start)
    if found.status in (Status.NO_DATA, Status.NOT_CONVERGED, Status.TOO_FAR) and start.any():
        return _iterate(samples, job, np.zeros(2))
    return found


@dataclass(frozen=True, eq=False)
class _Job:
    terms: Terms
    basis: Basis
    max_shift: float
    to_metres: Floats | None
    fewest: int


def _rough(samples: Sequence[Samples], job: _Job) -> Floats:
    """Find far shifts on coarser pixels, (dcol, drow) px."""
    start: Floats = np.zeros(2)
    for factor in _COARSER:
        if any(min(one.shape) < factor * _ROOM for one in samples):
            continue
        coarse = [part for one in samples if (part := one.coarser(factor)) is not None]
        rough = _Job(job.terms, job.basis.coarser(factor), job.max_shift / factor, job.to_metres, _FEWEST_COARSE)
        found = _iterate(coarse, rough, start / factor)
        if found.status is Status.OK and not found.nmad_after > found.nmad_before:
            start = np.asarray(found.move * factor)
    return start


def _iterate(samples: Sequence[Samples], job: _Job, start: Floats) -> Solution:
    """Sample, solve, move, until nothing moves any more."""
    move, before, first = start, Scale(), 0
    reach = min(job.max_shift + 0.5, 0.5 * max((max(one.shape) for one in samples), default=0))
    for turn in range(_ROUNDS):
        seen = [one.observe(move) for one in samples]
        count = sum(len(one.dh) for one in seen)
        first = count if turn == 0 else first
        if count < job.fewest:
            # Interpolation takes a border away: hardly enough samples are too few then.
            return _nothing(job, Status.NO_DATA if first < _ENOUGH * job.fewest else Status.NOT_CONVERGED, seen)
        if turn == 0:
            before = spread_of([one.dh for one in seen])
        if job.terms.shift and _is_flat(seen):
            return _nothing(job, Status.FLAT, seen)
        equations = gather(seen, samples, job.basis, job.terms)
        step = _step(seen, equations, job)
        if turn >= _FREE and np.isfinite(step).all():
            step = _held(step, equations)
        if not np.isfinite(step).all():
            return _nothing(job, Status.UNCONSTRAINED, seen)
        move = move + np.clip(step, -_LONGEST, _LONGEST)
        if np.abs(move).max() > reach:
            return _nothing(job, Status.TOO_FAR, seen)
        if np.abs(step).max() < _STILL:
            break
    else:
        return _nothing(job, Status.NOT_CONVERGED, seen)
    if start.any():
        before = spread_of([one.observe(np.zeros(2), spare=True).dh for one in samples])
    return _finished(samples, seen, job, equations, (move, before, turn + 1))


def _step(seen: list[Observed], equations: Equations, job: _Job) -> Floats:
    if not job.terms.shift:
        return np.zeros(2)
    return classic_step(seen, equations, job.to_metres) if job.terms.classic else equations.solution[:2]


def _held(step: Floats, equations: Equations) -> Floats:
    """Keep from drifting along an axis of which the terrain says nothing."""
    told, axes = equations.relief()
    strong = axes[:, told > _ABOVE_NOISE * equations.relief_noise(axes)]
    return np.asarray(strong @ (strong.T @ step))


def _is_flat(seen: list[Observed]) -> bool:
    """Tell models without relief."""
    own = sum(float(np.sum(part, dtype=np.float64)) for one in seen for part in (one.own[0], one.own[2]))
    high = max(float(np.abs(one.dh).max(initial=0.0)) for one in seen)
    return not own / sum(len(one.dh) for one in seen) > (_ROUNDING * high) ** 2


def _finished(
    samples: Sequence[Samples],
    seen: list[Observed],
    job: _Job,
    equations: Equations,
    state: tuple[Floats, Scale, int],
) -> Solution:
    """Covariance, statistics and doubts."""
    move, before, turns = state
    length = length_of(samples, seen, equations)
    cov = covariance(samples, seen, equations, length, shift=job.terms.shift)
    if job.terms.classic and np.isfinite(cov).all():
        cov[:2, :2], cov[:2, 2:], cov[2:, :2] = classic_covariance(samples, seen, equations, length), 0.0, 0.0
    height = equations.solution[2:].copy()
    if job.terms.vertical != "weighted":
        height[0] = _level([one.dh for one in seen], job.terms.vertical)
    after = spread_of(equations.left)
    status, move, cov = _doubted(move, cov, equations, job)
    return Solution(
        status,
        move,
        height,
        cov,
        job.basis,
        count=sum(len(part) for part in equations.left),
        median_before=before.median,
        median_after=after.median + equations.solution[2] - height[0],
        nmad_before=before.nmad,
        nmad_after=after.nmad,
        iterations=turns,
        length=length,
        mean=_means(equations),
    )


def _means(equations: Equations) -> Floats:
    """Mean of each vertical column over all samples."""
    count = sum(len(part) for part in equations.left)
    every = zip(*(columns[2:] for columns in equations.columns), strict=True)
    return np.array([sum(float(part.sum(dtype=np.float64)) for part in one) / count for one in every])


def _level(parts: list[Floats], how: str) -> float:
    every = np.concatenate(parts)
    return float(every.mean(dtype=np.float64) if how == "mean" else np.median(every))


def _doubted(move: Floats, cov: Floats, equations: Equations, job: _Job) -> tuple[Status, Floats, Floats]:
    """Take back what the terrain does not tell."""
    if not job.terms.shift:
        ok = bool(np.isfinite(cov[2:, 2:]).all())
        return (Status.OK if ok else Status.UNCONSTRAINED), np.zeros(2), cov
    told, axes = equations.relief()
    with np.errstate(invalid="ignore"):
        spread = np.einsum("ia,ij,ja->a", axes, cov[:2, :2], axes)
    weak = ~(told > _ABOVE_NOISE * equations.relief_noise(axes)) | ~(spread < _VAGUE**2)
    if not weak.any():
        far = bool(np.abs(move).max() > job.max_shift)
        return (Status.TOO_FAR if far else Status.OK), move, cov
    # An axis that is told nothing of need not run along the pixels: what has a part in it is lost.
    lost = np.concatenate([(np.abs(axes[:, weak]) > 0.05).any(1), np.zeros(len(cov) - 2, bool)])
    cov = np.where(lost[:, None] | lost[None, :], 0.0, cov)
    cov[lost, lost] = np.inf
    return Status.UNCONSTRAINED, np.where(lost[:2], np.nan, move), cov


def _nothing(job: _Job, status: Status, seen: list[Observed]) -> Solution:
    """No answer, and why."""
    m, spread = len(job.terms.powers), spread_of([one.dh for one in seen])
    cov = np.diag(np.full(2 + m, np.inf))
    count = sum(len(one.dh) for one in seen)
    unknown = np.full(2, np.nan), np.full(m, np.nan)
    return Solution(status, *unknown, cov, job.basis, count, median_before=spread.median, nmad_before=spread.nmad)
