"""Second thoughts about an answer: whether parts of its windows, and coarser pixels, tell the same.

From many windows to one answer, or to the reason why there is none.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from xcoreg.core.arrays import Bools, Floats
from xcoreg.core.matcher import phase_match
from xcoreg.core.matches import Status
from xcoreg.core.robust import agreeing, combine
from xcoreg.core.sampling import shrink
from xcoreg.core.weights import SYSTEMATIC
from xcoreg.georef import vector_to_map, vector_to_pixel
from xcoreg.matching.windows import Trials, match_windows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xcoreg.matching.scene import Scene


# Windows agree within this many matching pixels, and within this many of their own standard deviations.
_AGREE, _AGREE_SIGMAS = 1.0, 3.0
# Reliability (percent) that a window needs to stand alone, and that several need together. Windows of unrelated images
# were never seen above 40.
_ALONE, _TOGETHER = 45.0, 60.0
# One window of so many that should have told something has to be this reliable.
_MANY, _ALONE_OF_MANY = 4, 85.0


@dataclass(frozen=True, eq=False)
class Verdict:
    """Which windows carry the answer.

    status : OK, or why nothing can be trusted.
    members : (n,) bool; The windows that agree.
    move : (2,) float64; Correction, px of the matching lattice, along (col, row); NaN without members.
    cov : (2, 2) float64
    """

    status: Status
    members: Bools
    move: Floats
    cov: Floats


def judge(moves: Floats, covs: Floats, status: NDArray[np.int8], reliability: Floats) -> Verdict:
    """Decide whether windows agree on one shift.

    moves (n, 2) float; covs (n, 2, 2) float; status (n,) int8; reliability (n,) float.
    """
    nothing = np.full(2, np.nan), np.full((2, 2), np.nan)
    ok = (status == Status.OK) & np.isfinite(moves).all(1)
    if not ok.any():
        return Verdict(_commonest(status), ok, *nothing)
    trust = np.where(np.isfinite(reliability), np.clip(reliability, 0, 100), 100.0)
    sigma = np.sqrt(np.clip(np.trace(covs, axis1=1, axis2=2) / 2, 0, None))
    typical = np.median(sigma[ok][np.isfinite(sigma[ok])]) if np.isfinite(sigma[ok]).any() else 0.0
    radius = max(_AGREE, _AGREE_SIGMAS * typical)
    members = agreeing(np.where(ok[:, None], moves, np.nan), trust, radius)
    move, cov = combine(moves[members], covs[members])
    if members.sum() > 1:
        cov = cov + SYSTEMATIC**2 * np.eye(2)
    agree, differ = int(members.sum()), int((ok & ~members).sum())
    ambiguous = int((status == Status.AMBIGUOUS).sum())
    if differ >= agree and (differ > 1 or agree == 1):
        verdict = Status.OUTLIER
    elif ambiguous > agree or (agree == 1 and ambiguous):
        # A larger window may sit on one of the many fits that smaller ones could not tell apart.
        verdict = Status.AMBIGUOUS
    elif agree == 1:
        told = int(np.isin(status, (Status.OK, Status.NO_PEAK, Status.UNCONSTRAINED, Status.NOT_CONVERGED)).sum())
        verdict = Status.OK if trust[members][0] >= (_ALONE if told < _MANY else _ALONE_OF_MANY) else Status.NO_PEAK
    else:
        verdict = Status.OK if trust[members].sum() >= _TOGETHER else Status.NO_PEAK
    return Verdict(verdict, members, move, cov)


def _commonest(status: NDArray[np.int8]) -> Status:
    """Why most windows failed; windows without data say least."""
    if not len(status):
        return Status.OUTSIDE
    telling = status[status != Status.NO_DATA]
    codes, counts = np.unique(telling if len(telling) else status, return_counts=True)
    return Status(int(codes[counts.argmax()]))


# Quarters of windows are matched when they are at least this large, px; so many have to be sure.
_QUARTER, _SURE = 48, 3
# They may differ from the answer by this many matching pixels, and this many standard deviations.
_BEND, _SIGMAS = 0.25, 5.0
# Coarser pixels are made of so many on a side; windows of so many of them at least are matched, a few windows do.
_COARSER, _COARSE_SIDE, _WINDOWS = (2, 3), 40, 4
# Local change moves coarse answers a little; a lattice that both images share moves them by pixels.
_LOCK = 0.7


@dataclass(frozen=True, eq=False)
class _Places:
    """Where windows lie, and what they tell."""

    places: Floats
    shifts: Floats
    size: int


def bends(scene: Scene, trials: Trials, members: NDArray[np.bool_], move: Floats, contrast: str) -> Trials | None:
    """Match the quarters of windows: under rotation or scale they tell different shifts.

    members (n,) bool; move (2,) float.
    """
    size = trials.size // 2
    if size < _QUARTER or not members.any():
        return None
    at = _members(trials, members)
    match = partial(phase_match, max_shift=0.1 * size, contrast=contrast, compare=False)
    found = match_windows(scene, _quarters(at.places, size, scene), size, at.shifts.repeat(4, axis=0), match)
    ok = found.matches.ok
    if ok.sum() < _SURE:
        return None
    off = np.hypot(*(np.stack(vector_to_pixel(scene.linear, found.dx[ok], found.dy[ok])) - move[:, None]))
    sigma = np.sqrt(np.trace(found.matches.cov[ok], axis1=1, axis2=2))
    bent = off > np.maximum(_BEND, _SIGMAS * sigma)
    return found if bent.sum() * 2 >= ok.sum() else None


def locks(scene: Scene, trials: Trials, members: NDArray[np.bool_], contrast: str) -> bool:
    """Match windows of coarser pixels: where both images were resampled on one lattice, fine ones lock onto it."""
    at = _members(trials, members)
    places, shifts = at.places[:_WINDOWS], at.shifts[:_WINDOWS]
    if at.size // min(_COARSER) < _COARSE_SIDE or not len(places):
        return False
    target = scene.target_cutter.cut(places[:, 0], places[:, 1], at.size)
    moved = places + shifts
    reference = scene.reference_cutter.cut(moved[:, 0], moved[:, 1], at.size)
    base = np.stack([reference.x - target.x, reference.y - target.y], -1)
    for factor in _COARSER:
        if at.size // factor < _COARSE_SIDE:
            continue
        tgt, ref = (shrink(cut.values, cut.valid, factor) for cut in (target, reference))
        found = phase_match(tgt[0], ref[0], tgt[1], ref[1], max_shift=8.0 / factor + 1, contrast=contrast)
        told = base + np.stack(vector_to_map(scene.linear, factor * found.dcol, factor * found.drow), -1)
        off = np.hypot(*vector_to_pixel(scene.linear, *(told - shifts).T))
        sigma = factor * np.sqrt(np.trace(found.cov, axis1=1, axis2=2))
        locked = off > np.maximum(_LOCK, _SIGMAS * sigma)
        if (found.ok & locked).sum() * 2 > found.ok.sum():
            return True
    return False


def _members(trials: Trials, members: NDArray[np.bool_]) -> _Places:
    places = np.stack([trials.x, trials.y], -1)[members]
    return _Places(places, np.stack([trials.dx, trials.dy], -1)[members], trials.size)


def _quarters(places: Floats, size: int, scene: Scene) -> Floats:
    """Centres of the four quarters of windows."""
    steps = np.array([(-0.5, -0.5), (0.5, -0.5), (-0.5, 0.5), (0.5, 0.5)]) * size
    offsets = np.stack(vector_to_map(scene.linear, *steps.T), -1)
    return np.asarray((places[:, None] + offsets[None]).reshape(-1, 2))
