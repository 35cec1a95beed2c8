"""Parts of a stack: its dates, the pairs that were matched, and how well they close."""

from __future__ import annotations

import math
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox

from xcoreg.core import Array, Bools, Floats
from xcoreg.core.matches import Status, decode_column, encode_column, freeze
from xcoreg.results.shift import Cov

UNKNOWN: Cov = ((math.nan, math.nan), (math.nan, math.nan))


@dataclass(frozen=True)
class StackDate:
    """One date of a stack and its correction.

    Parameters
    ----------
    name, time : str
        Label of the date or name of the image; ISO time, empty where unknown.
    role : {"date", "reference"}
        A reference image is no date of the stack: it has its place already.
    status, reason : Status, str
        OK where the date is placed, else why it is refused, in words.
    dx, dy, cov : float; 2 x 2
        Correction, and its covariance, units of the CRS of the stack; NaN where refused.
    group : int
        Dates of a group are connected by accepted pairs; the largest group is 0.
    n_pairs, n_accepted, n_outliers : int
        Pairs of the date that were matched, that are part of the adjustment, and that contradict it.
    ratio : float
        Chi-squared per degree of freedom of the date's accepted pairs; NaN where nothing checks them.
    spread : (float, float)
        Variance of its place by what its windows are off, (column, row), px² of the matching grid; NaN where unknown.
    crs_wkt, transform, shape
        Grid of the date's image.
    corrections : tuple of str
        Identifiers of the corrections that the image carried already.
    """

    name: str
    time: str = ""
    role: str = "date"
    status: Status = Status.OK
    reason: str = ""
    dx: float = math.nan
    dy: float = math.nan
    cov: Cov = UNKNOWN
    group: int = 0
    n_pairs: int = 0
    n_accepted: int = 0
    n_outliers: int = 0
    ratio: float = math.nan
    spread: tuple[float, float] = (math.nan, math.nan)
    crs_wkt: str | None = None
    transform: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0, -1.0, 0.0)
    shape: tuple[int, int] = (1, 1)
    corrections: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        (a, b), (c, d) = self.cov
        plain = {
            "status": Status(self.status),
            "cov": ((float(a), float(b)), (float(c), float(d))),
            "spread": (float(self.spread[0]), float(self.spread[1])),
            "transform": tuple(float(one) for one in self.transform)[:6],
            "shape": (int(self.shape[0]), int(self.shape[1])),
            "corrections": tuple(map(str, self.corrections)),
        }
        for name, value in plain.items():
            object.__setattr__(self, name, value)

    @property
    def grid(self) -> GeoBox:
        """Grid of the image before its correction."""
        return GeoBox(self.shape, Affine(*self.transform), self.crs_wkt)

    @property
    def sigma(self) -> tuple[float, float]:
        """Standard deviations of dx and dy."""
        return math.sqrt(max(self.cov[0][0], 0.0)), math.sqrt(max(self.cov[1][1], 0.0))


_INNER: dict[str, tuple[int, ...]] = {"cov": (2, 2), "own": (2, 2)}
_DTYPES: dict[str, type[np.generic]] = {
    **dict.fromkeys(("target", "reference", "kind", "n_windows", "n_ok"), np.int32),
    "status": np.int8,
    "outlier": np.bool_,
}


@dataclass(frozen=True, eq=False)
class StackPairs:
    """Pairs of dates that were matched, as columns of equal length; vectors in px of the matching grid, (column, row).

    Parameters
    ----------
    target, reference : (m,) int
        Positions of the two dates in :attr:`StackFit.dates`.
    dcol, drow, cov : (m,), (m,), (m, 2, 2) float
        Correction of the target onto the reference, and the covariance that the matcher states.
    status : (m,) int8
        Of the match alone.
    n_windows, n_ok, reliability : (m,)
        Windows matched and windows that agree; percent.
    scatter : (m,) float
        How much of the stated variance the scatter of the windows about their mean shows; NaN for few windows.
    kind : (m,) int
        Position in :attr:`StackFit.kinds`.
    outlier : (m,) bool
        Accepted by the matcher, but refused because it contradicts the other pairs.
    res_col, res_row, normalised : (m,) float
        Observed minus adjusted, and its length in standard deviations; NaN where a date was refused.
    own : (m, 2, 2) float
        Covariance of the part of the error that does not close, after the variance components.
    redundancy : (m,) float
        Share of the error that the residual shows, 0 to 1.
    """

    target: Array
    reference: Array
    dcol: Floats
    drow: Floats
    cov: Floats
    status: Array
    n_windows: Array
    n_ok: Array
    reliability: Floats
    scatter: Floats
    kind: Array
    outlier: Bools
    res_col: Floats
    res_row: Floats
    normalised: Floats
    own: Floats
    redundancy: Floats

    def __post_init__(self) -> None:
        n = np.size(self.target)
        for one in fields(self):
            shape, dtype = (n, *_INNER.get(one.name, ())), _DTYPES.get(one.name, np.float64)
            object.__setattr__(self, one.name, freeze(one.name, getattr(self, one.name), shape, dtype))

    def __len__(self) -> int:
        return len(self.target)

    @property
    def accepted(self) -> Bools:
        """Pairs that are part of the adjustment: matched, no outliers, between dates that are placed."""
        return np.asarray((self.status == Status.OK) & ~self.outlier & np.isfinite(self.res_col))

    def to_dict(self) -> dict[str, Any]:
        """Columns in plain JSON types, exact."""
        return {one.name: encode_column(getattr(self, one.name)) for one in fields(self)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> StackPairs:
        """Undo :meth:`to_dict`."""
        plain = {one.name: decode_column(data[one.name]) for one in fields(cls)}
        plain = {name: value.reshape(-1, *_INNER.get(name, ())) for name, value in plain.items()}
        return cls(**{name: value.astype(_DTYPES.get(name, np.float64)) for name, value in plain.items()})


@dataclass(frozen=True)
class StackQuality:
    """How well a stack closes.

    Parameters
    ----------
    ratio_x, ratio_y : float
        Chi-squared per degree of freedom of all accepted pairs along columns and rows.
    degrees : float
        Degrees of freedom along each axis.
    triangles : int
        Triangles of accepted pairs.
    triangle_median, triangle_rms : float
        Length by which they fail to close, px.
    triangle_x, triangle_y : float
        Chi-squared per degree of freedom of the triangles.
    factors : tuple of (kind, factor x, factor y, added x, added y)
        Variance components: of the variance that the matcher states, so much does not close, and so much (px²) is
        added.
    scatter : float
        Mean factor on stated variances, by how windows of each pair scatter and how many agree.
    warnings : tuple of str
        What the user should know.
    """

    ratio_x: float = math.nan
    ratio_y: float = math.nan
    degrees: float = 0.0
    triangles: int = 0
    triangle_median: float = math.nan
    triangle_rms: float = math.nan
    triangle_x: float = math.nan
    triangle_y: float = math.nan
    factors: tuple[tuple[str, float, float, float, float], ...] = ()
    scatter: float = 1.0
    warnings: tuple[str, ...] = ()


def to_plain(value: Any) -> dict[str, Any]:
    """Turn a dataclass of numbers into plain JSON types."""
    plain: dict[str, Any] = {name: encode_column(one) for name, one in asdict(value).items()}
    return plain | ({"status": value.status.name} if isinstance(value, StackDate) else {})


def from_plain(data: dict[str, Any], kind: type[Any]) -> dict[str, Any]:
    """Read values of a dataclass from plain JSON types: null is NaN where a number belongs."""
    out = dict(data)
    for one in fields(kind):
        wanted = str if one.default is MISSING else type(one.default)
        if wanted is float and one.name in out:
            out[one.name] = float(decode_column(out[one.name]))
        elif wanted in (int, str) and type(out.get(one.name, one.default)) is not wanted:
            raise TypeError(f"{one.name} is {out[one.name]!r}")
    if kind is StackDate:
        out |= {"status": Status[out["status"]], "cov": decode_column(out["cov"]).tolist()}
        out["spread"] = decode_column(out.get("spread", [None, None])).reshape(2).tolist()
    else:
        factors = tuple((str(one), *decode_column(numbers).tolist()) for one, *numbers in out["factors"])
        out |= {"factors": factors, "warnings": tuple(out["warnings"])}
    return out
