"""Results of matchers, their statuses, and lossless conversion of numbers to JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from xcoreg.core import Floats

# JSON has neither NaN nor infinity: in free-form settings, where null has a meaning of its own, they are tagged.
_TAG = "float"


def encode(value: Any) -> Any:
    """Turn a setting into plain JSON types."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {_TAG: str(float(value))}
    if isinstance(value, bool | str | None):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, dict):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [encode(item) for item in value]
    return getattr(value, "__qualname__", None) or str(value)


def decode(value: Any) -> Any:
    """Undo :func:`encode`."""
    if isinstance(value, dict):
        if set(value) == {_TAG} and isinstance(value[_TAG], str):
            return float(value[_TAG])
        return {key: decode(item) for key, item in value.items()}
    if isinstance(value, list):
        return [decode(item) for item in value]
    return value


def encode_column(values: Any) -> Any:
    """Turn numbers into (nested) lists: NaN becomes null, infinities the text 'inf' or '-inf'."""
    plain = values.tolist() if isinstance(values, np.generic | np.ndarray) else values
    if isinstance(plain, list | tuple):
        return [encode_column(item) for item in plain]
    if isinstance(plain, float) and not math.isfinite(plain):
        return None if math.isnan(plain) else str(plain)
    return plain


def decode_column(values: Any) -> NDArray[np.float64]:
    """Undo :func:`encode_column`."""
    return np.array(_floats(values), np.float64)


def _floats(values: Any) -> Any:
    if isinstance(values, list | tuple):
        return [_floats(item) for item in values]
    if isinstance(values, int | float | str):
        return float(values)
    if values is None:
        return math.nan
    raise ValueError(f"expected a number, found {type(values).__name__}")


def symmetric(xx: Floats, xy: Floats, yy: Floats) -> Floats:
    """Symmetric matrices (..., 2, 2), such as covariances, of their elements."""
    return np.stack([np.stack([xx, xy], -1), np.stack([xy, yy], -1)], -2)


class Status(IntEnum):
    """Whether one window, or the result of a whole run, is trusted, and why not.

    `OK` is zero; every other value names one reason for rejection. The numbers are stored in files and in int8
    columns: they never change their meaning.

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
    DISCONNECTED = 13

    def __str__(self) -> str:
        """Its name: an IntEnum would print as a bare number."""
        return self.name

    @property
    def reason(self) -> str:
        """The reason as a clause that can be printed."""
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
    Status.DISCONNECTED: "no chain of matched pairs leads to the other dates",
}


# Default of an omitted column; `Any`, so that dataclass fields keep the type of a filled column.
MISSING: Any = None


def freeze(name: str, values: Any, shape: tuple[int, ...], dtype: type[np.generic]) -> NDArray[Any]:
    """Copy values into a read-only array of a given shape and dtype."""
    array = np.array(values, dtype)
    if array.ndim == 0 and shape == (1,):
        array = array.reshape(1)
    if array.shape != shape:
        raise ValueError(f"column {name!r} has shape {array.shape}, needed {shape}")
    array.flags.writeable = False
    return array


def count_statuses(status: NDArray[np.int8]) -> dict[str, int]:
    """Count the rows of each status, by name, in the order of the codes."""
    codes, counts = np.unique(status, return_counts=True)
    return {Status(int(code)).name: int(n) for code, n in zip(codes, counts, strict=True)}


def describe_counts(status: NDArray[np.int8]) -> str:
    """Count the rows of each status as a short text."""
    return ", ".join(f"{n} {name}" for name, n in count_statuses(status).items()) or "none"


_INNER = {"cov": (2, 2), "cov_z": (3,), "pattern": (3,), "drift": (27,)}
# Columns a matcher may omit, and their defaults.
_DEFAULTS = {
    **dict.fromkeys(("score", "reliability", "ssim_before", "ssim_after", "phase_dcol", "phase_drow"), np.nan),
    **dict.fromkeys(("count", "nmad_before", "nmad_after", *_INNER), np.nan),
    **dict.fromkeys(("dz", "middle_col", "middle_row", "pattern", "drift"), 0.0),
}


@dataclass(frozen=True, eq=False, repr=False)
class Matches:
    """Corrections of `n` windows, in pixels of the matching grid.

    Only `dcol` and `drow` are required; what a matcher does not measure is NaN (`dz`: 0). A row that is OK but
    whose correction is not finite becomes `Status.NO_PEAK`. The arrays are read-only.

    Parameters
    ----------
    dcol, drow : (n,) float64
        Correction target -> reference, px: columns to the right, rows down.
    cov : (n, 2, 2) float64, optional
        Covariance of `(dcol, drow)`, px², axes (col, row).
    score, reliability, ssim_before, ssim_after : (n,) float64, optional
        Correlation of the two windows once aligned, at most 1; confidence in the match, percent; structural similarity
        of the windows before and after the correction.
    status : (n,) int8, optional
        Values of :class:`Status`; default `Status.OK`.
    dz, cov_z : (n,), (n, 3) float64, optional
        Vertical correction, in units of the values; covariance of `dcol` and of `drow` with it, and its variance.
    phase_dcol, phase_drow : (n,) float64, optional
        Difference to an estimate from the phases alone, px: an independent check.
    middle_col, middle_row : (n,) float64, optional
        Centre of the part of the window that agrees, px from the window's centre; default 0. Where clouds cover one
        half of a window, the correction belongs to the other half.
    pattern : (n, 3) float64, optional
        What both images owe to their pixels: how far fine detail is dragged, px, and whether stripes run along columns
        and along rows, 0 or 1; default 0.
    drift : (n, 27) float64, optional
        How much fine detail is moved further than coarse detail, along (col, row), as a white pattern would do it and
        as errors of interpolation would, and what each leaves to the other one, in standard deviations; and
        what is needed to correct it, see :class:`xcoreg.core.drift.Drift`; default 0.
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
    >>> Matches.concatenate([m, Matches.coerce(([0.5], [float("nan")]), 1)])
    Matches(3 windows: 1 OK, 1 NO_PEAK, 1 TOO_FAR)
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
    pattern: NDArray[np.float64] = MISSING
    drift: NDArray[np.float64] = MISSING

    def __post_init__(self) -> None:
        n = np.size(self.dcol)
        for name in ("dcol", "drow", *_DEFAULTS):
            given: Any = getattr(self, name)
            shape = (n, *_INNER.get(name, ()))
            values = np.full(shape, _DEFAULTS[name]) if given is None else given
            object.__setattr__(self, name, freeze(name, values, shape, np.float64))
        given = self.status
        status = freeze("status", np.zeros(n) if given is None else given, (n,), np.int8)
        unknown = ~(np.isfinite(self.dcol) & np.isfinite(self.drow))
        status = np.where(unknown & (status == Status.OK), np.int8(Status.NO_PEAK), status)
        object.__setattr__(self, "status", freeze("status", status, (n,), np.int8))

    def __len__(self) -> int:
        return int(self.dcol.size)

    def __repr__(self) -> str:
        return f"Matches({len(self)} windows: {describe_counts(self.status)})"

    def __reduce__(self) -> tuple[Any, ...]:
        # By the constructor: unpickled arrays would be writable.
        return type(self), tuple(getattr(self, f.name) for f in fields(self))

    @property
    def ok(self) -> NDArray[np.bool_]:
        """(n,) bool: the windows whose status is `Status.OK`."""
        return cast("NDArray[np.bool_]", self.status == Status.OK)

    def take(self, index: Any) -> Matches:
        """Rows chosen by an index array, a slice or a boolean mask, in that order."""
        rows = np.atleast_1d(np.arange(len(self))[index])
        return Matches(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    @classmethod
    def concatenate(cls, parts: Sequence[Matches]) -> Matches:
        """Rows of several batches (`parts`), in the order given; an empty sequence gives zero windows."""
        if not parts:
            return cls(np.empty(0), np.empty(0))
        if len(parts) == 1:
            return parts[0]
        return cls(**{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)})

    @classmethod
    def coerce(cls, obj: Any, n: int) -> Matches:
        """Convert the result `obj` of a user's matcher for `n` windows: a `Matches`, or a tuple (dcol, drow[, cov]).

        Rows whose shift is not finite are not OK; another type or another number of rows raises ValueError.
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
