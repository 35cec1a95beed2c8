"""From many windows to one answer, or to the reason why there is none."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from xcoreg.core import Bools, Floats
from xcoreg.core.matcher import phase_match
from xcoreg.core.matches import Status
from xcoreg.core.robust import combine, largest_group
from xcoreg.core.sampling import shrink
from xcoreg.core.weights import SYSTEMATIC
from xcoreg.georef import vector_to_map, vector_to_pixel
from xcoreg.matching.windows import WindowMatches, match_windows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xcoreg.matching.scene import Scene


# Windows agree within this many matching pixels, and within this many of their own standard deviations.
_AGREE, _AGREE_SIGMAS = 1.0, 3.0
# Reliability (percent) that one window needs, and that several need together. Windows of unrelated images never
# exceeded 40.
_ALONE, _TOGETHER = 45.0, 60.0
# From so many matchable windows on, one that stands alone needs this reliability instead.
_MANY, _ALONE_OF_MANY = 4, 85.0


@dataclass(frozen=True, eq=False)
class Acceptance:
    """Whether windows agree on a shift, and which.

    status : OK, or why nothing can be trusted.
    inliers : (n,) bool; the windows that agree.
    move : (2,) float64; correction, px of the matching grid, along (col, row); NaN without inliers.
    cov : (2, 2) float64
    """

    status: Status
    inliers: Bools
    move: Floats
    cov: Floats

    @classmethod
    def failed(cls, status: Status, n: int) -> Acceptance:
        """No answer from `n` windows."""
        return cls(status, np.zeros(n, bool), np.full(2, np.nan), np.full((2, 2), np.nan))


def accept_windows(moves: Floats, covs: Floats, status: NDArray[np.int8], reliability: Floats) -> Acceptance:
    """Decide whether windows agree on one shift.

    moves (n, 2) float; covs (n, 2, 2) float; status (n,) int8; reliability (n,) float.
    """
    ok = (status == Status.OK) & np.isfinite(moves).all(1)
    if not ok.any():
        return Acceptance.failed(commonest_status(status, (Status.NO_DATA,)), len(ok))
    trust = np.where(np.isfinite(reliability), np.clip(reliability, 0, 100), 100.0)
    sigma = np.sqrt(np.clip(np.trace(covs, axis1=1, axis2=2) / 2, 0, None))
    typical = np.median(sigma[ok][np.isfinite(sigma[ok])]) if np.isfinite(sigma[ok]).any() else 0.0
    radius = max(_AGREE, _AGREE_SIGMAS * typical)
    inliers = largest_group(np.where(ok[:, None], moves, np.nan), trust, radius)
    move, cov = combine(moves[inliers], covs[inliers])
    if inliers.sum() > 1:
        cov = cov + SYSTEMATIC**2 * np.eye(2)
    agree, differ = int(inliers.sum()), int((ok & ~inliers).sum())
    ambiguous = int((status == Status.AMBIGUOUS).sum())
    if differ >= agree and (differ > 1 or agree == 1):
        found = Status.OUTLIER
    elif ambiguous > agree or (agree == 1 and ambiguous):
        # A larger window may match at any of the shifts between which smaller ones could not decide.
        found = Status.AMBIGUOUS
    elif agree == 1:
        matchable = (Status.OK, Status.NO_PEAK, Status.UNCONSTRAINED, Status.NOT_CONVERGED)
        needed = _ALONE if int(np.isin(status, matchable).sum()) < _MANY else _ALONE_OF_MANY
        found = Status.OK if trust[inliers][0] >= needed else Status.NO_PEAK
    else:
        found = Status.OK if trust[inliers].sum() >= _TOGETHER else Status.NO_PEAK
    return Acceptance(found, inliers, move, cov)


def commonest_status(status: NDArray[np.int8], ignored: Collection[Status]) -> Status:
    """Status of most windows; the ignored ones count only if there are no others, and OUTSIDE is that of no window."""
    others = status[~np.isin(status, tuple(ignored))]
    codes, counts = np.unique(others if len(others) else status, return_counts=True)
    return Status(int(codes[counts.argmax()])) if len(codes) else Status.OUTSIDE


# Quarters of windows are matched if they are at least this large, px; so many of them must match.
_QUARTER, _FEWEST_QUARTERS = 48, 3
# They disagree with the answer beyond this many matching pixels and this many standard deviations.
_DISAGREE, _SIGMAS = 0.25, 5.0
# Pixels are averaged by these factors; windows need so many coarse pixels on a side; a few windows suffice.
_FACTORS, _COARSE_SIDE, _WINDOWS = (2, 3), 40, 4
# Local change moves coarse matches a little, a pixel grid that both images were resampled on moves them by pixels.
_LOCKED = 0.7


def quarters_disagree(
    scene: Scene, found: WindowMatches, inliers: Bools, move: Floats, contrast: str
) -> WindowMatches | None:
    """Match the quarters of windows; return them if they disagree with the answer, as under rotation or scale.

    inliers (n,) bool; move (2,) float.
    """
    size = found.size // 2
    if size < _QUARTER or not inliers.any():
        return None
    places, moves = found.places[inliers], found.moves[inliers]
    match = partial(phase_match, max_shift=0.1 * size, contrast=contrast, compare=False)
    quarters = match_windows(scene, _quarters(places, size, scene), size, moves.repeat(4, axis=0), match)
    ok = quarters.matches.status == Status.OK
    if ok.sum() < _FEWEST_QUARTERS:
        return None
    off = np.hypot(*(np.stack(vector_to_pixel(scene.linear, quarters.dx[ok], quarters.dy[ok])) - move[:, None]))
    sigma = np.sqrt(np.trace(quarters.matches.cov[ok], axis1=1, axis2=2))
    disagree = off > np.maximum(_DISAGREE, _SIGMAS * sigma)
    return quarters if disagree.sum() * 2 >= ok.sum() else None


def _quarters(places: Floats, size: int, scene: Scene) -> Floats:
    """Centres of the four quarters of windows."""
    steps = np.array([(-0.5, -0.5), (0.5, -0.5), (-0.5, 0.5), (0.5, 0.5)]) * size
    offsets = np.stack(vector_to_map(scene.linear, *steps.T), -1)
    return np.asarray((places[:, None] + offsets[None]).reshape(-1, 2))


def locked_to_pixel_grid(scene: Scene, found: WindowMatches, inliers: Bools, contrast: str) -> bool:
    """Whether windows of coarser pixels disagree: images resampled on one grid can match by that grid's pattern."""
    places, moves = found.places[inliers][:_WINDOWS], found.moves[inliers][:_WINDOWS]
    factors = [factor for factor in _FACTORS if found.size // factor >= _COARSE_SIDE]
    if not factors or not len(places):
        return False
    target = scene.target_cutter.cut(places[:, 0], places[:, 1], found.size)
    moved = places + moves
    reference = scene.reference_cutter.cut(moved[:, 0], moved[:, 1], found.size)
    base = np.stack([reference.x - target.x, reference.y - target.y], -1)
    for factor in factors:
        tgt = shrink(target.values, target.valid, factor)
        ref = shrink(reference.values, reference.valid, factor)
        coarse = phase_match(tgt[0], ref[0], tgt[1], ref[1], max_shift=8.0 / factor + 1, contrast=contrast)
        ok = coarse.ok
        whole = base + np.stack(vector_to_map(scene.linear, factor * coarse.dcol, factor * coarse.drow), -1)
        off = np.hypot(*vector_to_pixel(scene.linear, *(whole - moves).T))
        sigma = factor * np.sqrt(np.trace(coarse.cov, axis1=1, axis2=2))
        disagree = off > np.maximum(_LOCKED, _SIGMAS * sigma)
        if (ok & disagree).sum() * 2 > ok.sum():
            return True
    return False
