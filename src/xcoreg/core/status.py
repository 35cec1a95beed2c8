"""Why a window, or a whole job, can or cannot be trusted."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["Status"]


class Status(IntEnum):
    """Verdict on one window, or on the answer of a whole job.

    `OK` is zero, every other value names one reason for distrust. The numbers are stored in files and in int8
    columns: they never change meaning.

    Examples
    --------
    >>> Status(4).name
    'AMBIGUOUS'
    >>> Status.AMBIGUOUS.reason
    'a second shift fits nearly as well (repetitive pattern)'
    """

    OK = 0
    NO_DATA = 1
    FLAT = 2
    NO_PEAK = 3
    AMBIGUOUS = 4
    TOO_FAR = 5
    UNCONSTRAINED = 6
    NOT_CONVERGED = 7
    DISAGREES = 8
    NOT_IMPROVED = 9
    OUTLIER = 10
    MASKED = 11
    OUTSIDE = 12

    def __str__(self) -> str:
        """Its name: an IntEnum would print as a bare number."""
        return self.name

    @property
    def reason(self) -> str:
        """One clause for people: why the window is or is not trusted."""
        return _REASONS[self]

    @property
    def ok(self) -> bool:
        """True for `Status.OK` alone."""
        return self is Status.OK


_REASONS = {
    Status.OK: "the answer was confirmed",
    Status.NO_DATA: "too few valid pixels in common",
    Status.FLAT: "no texture to match",
    Status.NO_PEAK: "no shift makes the images correlate above chance",
    Status.AMBIGUOUS: "a second shift fits nearly as well (repetitive pattern)",
    Status.TOO_FAR: "the best shift is beyond max_shift",
    Status.UNCONSTRAINED: "the texture leaves the shift undetermined in one direction",
    Status.NOT_CONVERGED: "the sub-pixel refinement did not converge",
    Status.DISAGREES: "two ways of measuring the shift disagree",
    Status.NOT_IMPROVED: "the images are not more alike after the shift than before",
    Status.OUTLIER: "the shift contradicts that of the other windows",
    Status.MASKED: "excluded by the mask given as where",
    Status.OUTSIDE: "outside the overlap of the two images",
}
