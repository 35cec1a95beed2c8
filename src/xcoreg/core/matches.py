"""What a matcher returns: one row of numbers per window."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from xcoreg.core.columns import MISSING, freeze, tell_counts
from xcoreg.core.status import Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["Matches"]

_INNER = {"cov": (2, 2), "cov_z": (3,)}
# Columns a matcher may leave out, and what stands in for them.
_DEFAULTS = {
    **dict.fromkeys(("score", "reliability", "ssim_before", "ssim_after", "phase_dcol", "phase_drow"), np.nan),
    **dict.fromkeys(("count", "nmad_before", "nmad_after"), np.nan),
    **dict.fromkeys(("dz", "middle_col", "middle_row"), 0.0),
}


@dataclass(frozen=True, eq=False, repr=False)
class Matches:
    """Corrections of `n` windows, in pixels of the matching grid.

    Only `dcol` and `drow` are required; what a matcher does not measure is NaN (`dz`: 0). A row whose correction is
    not finite cannot be `Status.OK`: it becomes `Status.NO_PEAK`. The arrays are read-only.

    Parameters
    ----------
    dcol, drow : (n,) float64
        Correction target -> reference, px: columns to the right, rows down.
    cov : (n, 2, 2) float64, optional
        Covariance of `(dcol, drow)`, px², axes (col, row).
    score : (n,) float64, optional
        Correlation of the two windows once aligned, at most 1.
    status : (n,) int8, optional
        Values of :class:`Status`; default `Status.OK`.
    reliability : (n,) float64, optional
        Confidence in the match, percent, 0 to 100.
    ssim_before, ssim_after : (n,) float64, optional
        Structural similarity of the windows before and after the correction.
    dz : (n,) float64, optional
        Vertical correction, in units of the values (elevation matchers).
    phase_dcol, phase_drow : (n,) float64, optional
        What the phases alone would add to the correction, px: a second opinion.
    middle_col, middle_row : (n,) float64, optional
        Where within the window the correction holds best: centre of what agrees, px from the window's centre. Default
        0; a window one half of which is under clouds tells of the other half.
    cov_z : (n, 3) float64, optional
        Covariance of `dcol` and of `drow` with `dz`, and the variance of `dz` (elevation matchers).
    count, nmad_before, nmad_after : (n,) float64, optional
        Pixels compared, NMAD of the differences before and after the correction (elevation matchers).

    Raises
    ------
    ValueError
        When columns differ in length or `cov` is not `(n, 2, 2)`.

    Examples
    --------
    >>> m = Matches([0.36, 9.0], [-1.57, 4.0], status=[Status.OK, Status.TOO_FAR])
    >>> m
    Matches(2 windows: 1 OK, 1 TOO_FAR)
    >>> m.take(m.ok).dcol
    array([0.36])
    """

    dcol: NDArray[np.float64]
    drow: NDArray[np.float64]
    cov: NDArray[np.float64] = MISSING
    score: NDArray[np.float64] = MISSING
    status: NDArray[np.int8] = MISSING
    reliability: NDArray[np.float64] = MISSING
    ssim_before: NDArray[np.float64] = MISSING
    ssim_after: NDArray[np.float64] = MISSING
    dz: NDArray[np.float64] = MISSING
    phase_dcol: NDArray[np.float64] = MISSING
    phase_drow: NDArray[np.float64] = MISSING
    middle_col: NDArray[np.float64] = MISSING
    middle_row: NDArray[np.float64] = MISSING
    cov_z: NDArray[np.float64] = MISSING
    count: NDArray[np.float64] = MISSING
    nmad_before: NDArray[np.float64] = MISSING
    nmad_after: NDArray[np.float64] = MISSING

    def __post_init__(self) -> None:
        n = np.size(self.dcol)
        for name in ("dcol", "drow", *_DEFAULTS):
            given: Any = getattr(self, name)
            values = np.full(n, _DEFAULTS[name]) if given is None else given
            object.__setattr__(self, name, freeze(name, values, (n,), np.float64))
        for name, shape in _INNER.items():
            cov: Any = getattr(self, name)
            cov = np.full((n, *shape), np.nan) if cov is None else cov
            object.__setattr__(self, name, freeze(name, cov, (n, *shape), np.float64))
        given = self.status
        status = freeze("status", np.zeros(n) if given is None else given, (n,), np.int8)
        lost = ~(np.isfinite(self.dcol) & np.isfinite(self.drow))
        status = np.where(lost & (status == Status.OK), np.int8(Status.NO_PEAK), status)
        object.__setattr__(self, "status", freeze("status", status, (n,), np.int8))

    def __len__(self) -> int:
        return int(self.dcol.size)

    def __repr__(self) -> str:
        return f"Matches({len(self)} windows: {tell_counts(self.status)})"

    def __reduce__(self) -> tuple[Any, ...]:
        # Through the constructor: pickled arrays would come back writable.
        return type(self), tuple(getattr(self, f.name) for f in fields(self))

    @property
    def ok(self) -> NDArray[np.bool_]:
        """(n,) bool: the windows whose status is `Status.OK`."""
        return cast("NDArray[np.bool_]", self.status == Status.OK)

    def take(self, index: Any) -> Matches:
        """Rows chosen by an index array, a slice or a boolean mask, in that order.

        Examples
        --------
        >>> Matches([1.0, 2.0, 3.0], [0.0, 0.0, 0.0]).take([2, 0]).dcol
        array([3., 1.])
        """
        return Matches(
            **{f.name: np.atleast_1d(getattr(self, f.name)[index]) for f in fields(self) if f.name not in _INNER},
            **{name: getattr(self, name)[index].reshape(-1, *shape) for name, shape in _INNER.items()},
        )

    @classmethod
    def concatenate(cls, parts: Sequence[Matches]) -> Matches:
        """Rows of several batches (`parts`), in the order given; an empty sequence gives zero windows.

        Examples
        --------
        >>> len(Matches.concatenate([Matches([1.0], [2.0]), Matches([3.0], [4.0])]))
        2
        """
        if not parts:
            return cls(np.empty(0), np.empty(0))
        return cls(**{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)})

    @classmethod
    def coerce(cls, obj: Any, n: int) -> Matches:
        """Take what a user's matcher returned for `n` windows.

        Parameters
        ----------
        obj : Matches or tuple
            A `Matches`, or `(dcol, drow)` or `(dcol, drow, cov)`, array-likes with one row per window.
        n : int
            Number of windows the matcher was given.

        Returns
        -------
        Matches
            With `n` rows; rows whose shift is not finite are not OK.

        Raises
        ------
        ValueError
            When it is something else, or has another number of rows.

        Examples
        --------
        >>> Matches.coerce(([0.5], [float("nan")]), 1)
        Matches(1 windows: 1 NO_PEAK)
        """
        if isinstance(obj, Matches):
            matches = obj
        elif isinstance(obj, tuple) and len(obj) in (2, 3):
            matches = cls(*obj)
        else:
            found = type(obj).__name__
            raise ValueError(f"a matcher returns Matches or a tuple (dcol, drow[, cov]), this one returned {found}")
        if len(matches) != n:
            raise ValueError(f"the matcher was given {n} windows and returned {len(matches)}")
        return matches
