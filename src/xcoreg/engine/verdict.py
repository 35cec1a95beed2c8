"""From many windows to one answer, or to the reason why there is none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from xcoreg.core.matches import Status
from xcoreg.core.robust import agreeing, combine
from xcoreg.core.weights import SYSTEMATIC

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating]
    Bools = NDArray[np.bool_]

__all__ = ["Verdict", "judge"]

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

    Attributes
    ----------
    status : Status
        OK, or why nothing can be trusted.
    members : (n,) bool
        The windows that agree.
    move : (2,) float64
        Correction, px of the matching lattice, along (col, row); NaN without members.
    cov : (2, 2) float64
    """

    status: Status
    members: Bools
    move: Floats
    cov: Floats


def judge(moves: Floats, covs: Floats, status: NDArray[np.int8], reliability: Floats) -> Verdict:
    """Decide whether windows agree on one shift.

    Parameters
    ----------
    moves : (n, 2) float
        Corrections, px of the matching lattice.
    covs : (n, 2, 2) float
        Their covariances, px².
    status : (n,) int8
        Of each window.
    reliability : (n,) float
        Percent; NaN (a matcher that does not tell) counts as full.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> moves = np.array([[1.0, 2.0], [1.1, 2.0], [9.0, 9.0]])
    >>> verdict = judge(moves, np.full((3, 2, 2), 0.01 * np.eye(2)), np.zeros(3, np.int8), np.full(3, 90.0))
    >>> verdict.status.name, verdict.members.tolist(), verdict.move.round(3).tolist()
    ('OK', [True, True, False], [1.05, 2.0])
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
