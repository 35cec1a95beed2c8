"""One shift with its uncertainty, in map units and pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from xcoreg import georef
from xcoreg.core import Floats
from xcoreg.results.text import describe_shift


def shift_angle(dx: ArrayLike, dy: ArrayLike) -> Floats:
    """Direction in which the target lies as seen from the reference, clockwise from North."""
    return np.asarray((np.degrees(np.arctan2(dx, dy)) + 180.0) % 360.0)


#: A covariance as nested tuples.
Cov = tuple[tuple[float, float], tuple[float, float]]
_UNKNOWN: Cov = ((math.nan, math.nan), (math.nan, math.nan))


def _as_cov(values: ArrayLike) -> Cov:
    matrix = np.asarray(values, np.float64)
    if matrix.shape != (2, 2):
        raise ValueError(f"the covariance of a shift is 2 x 2, not of shape {matrix.shape}")
    (xx, xy), (yx, yy) = matrix.tolist()
    return (xx, xy), (yx, yy)


@dataclass(frozen=True, repr=False)
class Shift:
    """One correction, target -> reference: `x_ref = x_tgt + dx`.

    Parameters
    ----------
    dx, dy : float
        Along the CRS axes, CRS units of the target.
    cov : 2 x 2 nested tuple
        Covariance of `(dx, dy)`, CRS units²; NaN when unknown.
    linear : tuple of four floats
        Linear part (a, b, d, e) of the target's transform: `dx = a dcol + b drow`, `dy = d dcol + e drow`.
    dz : float
        Vertical correction, in units of the values.
    unit : str
        Name of the CRS unit.
    cov_z : tuple of three floats, optional
        Covariance of dx and of dy with dz (CRS units times those of the values), and the variance of dz.
    unit_z : str
        Short name of the unit of dz, "m" or "ft", empty where the elevation models name none.

    Examples
    --------
    >>> shift = Shift.from_pixels(0.357885632465, -1.566162680016, (10.0, 0.0, 0.0, -10.0), [[4e-6, 0], [0, 3e-6]])
    >>> print(shift)
    dx=+3.579±0.020 m, dy=+15.662±0.017 m (dcol=+0.3579±0.0020, drow=-1.5662±0.0017 px)
    >>> round(shift.length, 6), round(shift.angle, 6)
    (16.065328, 192.871719)
    """

    dx: float
    dy: float
    cov: Cov = _UNKNOWN
    linear: georef.Linear = (1.0, 0.0, 0.0, -1.0)
    dz: float = 0.0
    unit: str = "metre"
    cov_z: tuple[float, float, float] | None = None
    unit_z: str = ""

    def __post_init__(self) -> None:
        for name in ("dx", "dy", "dz"):
            object.__setattr__(self, name, float(getattr(self, name)))
        if self.cov_z is not None:
            xz, yz, zz = np.asarray(self.cov_z, np.float64).tolist()
            object.__setattr__(self, "cov_z", (xz, yz, zz))
        object.__setattr__(self, "cov", _as_cov(self.cov))
        a, b, d, e = self.linear
        object.__setattr__(self, "linear", (float(a), float(b), float(d), float(e)))

    @classmethod
    def from_pixels(
        cls,
        dcol: float,
        drow: float,
        linear: georef.Linear,
        cov: ArrayLike | None = None,
        *,
        dz: float = 0.0,
        unit: str = "metre",
    ) -> Shift:
        """Make a shift of a correction in pixels.

        Parameters
        ----------
        dcol, drow : float
            To the right and down, target px.
        linear : tuple of four floats
            Linear part of the target's transform.
        cov : (2, 2) array_like, optional
            Covariance of `(dcol, drow)`, px².
        dz, unit
            As for the class.

        Examples
        --------
        >>> Shift.from_pixels(3, -2, (10.0, 0.0, 0.0, -10.0)).dy
        20.0
        """
        dx, dy = georef.vector_to_map(linear, dcol, drow)
        moved = _UNKNOWN if cov is None else _as_cov(georef.cov_to_map(linear, cov))
        return cls(float(dx), float(dy), moved, linear, dz, unit)

    @property
    def dcol(self) -> float:
        """Correction to the right, target px."""
        return float(georef.vector_to_pixel(self.linear, self.dx, self.dy)[0])

    @property
    def drow(self) -> float:
        """Correction down, target px."""
        return float(georef.vector_to_pixel(self.linear, self.dx, self.dy)[1])

    @property
    def cov_px(self) -> Cov:
        """Covariance of `(dcol, drow)`, px²."""
        return _as_cov(georef.cov_to_pixel(self.linear, self.cov))

    @property
    def sigma(self) -> tuple[float, float]:
        """Standard deviations of dx and dy, CRS units."""
        return _sigma(self.cov)

    @property
    def sigma_px(self) -> tuple[float, float]:
        """Standard deviations of dcol and drow, target px."""
        return _sigma(self.cov_px)

    @property
    def cov3(self) -> tuple[tuple[float, ...], ...]:
        """Covariance (3 x 3) of `(dx, dy, dz)`, CRS units and those of the values; NaN when unknown."""
        (xx, xy), (yx, yy) = self.cov
        xz, yz, zz = self.cov_z or (math.nan, math.nan, math.nan)
        return (xx, xy, xz), (yx, yy, yz), (xz, yz, zz)

    @property
    def sigma_z(self) -> float:
        """Standard deviation of dz, units of the values."""
        return math.sqrt(max(self.cov3[2][2], 0.0))

    @property
    def length(self) -> float:
        """Length of the correction, CRS units."""
        return math.hypot(self.dx, self.dy)

    @property
    def angle(self) -> float:
        """Where the target lies as seen from the reference: degrees clockwise from North, 0 <= angle < 360."""
        return float(shift_angle(self.dx, self.dy))

    def numbers(self) -> dict[str, Any]:
        """Give all numbers of the shift, and its unit, by name."""
        (sigma_x, sigma_y), (sigma_col, sigma_row) = self.sigma, self.sigma_px
        numbers = {"dx": self.dx, "dy": self.dy, "sigma_x": sigma_x, "sigma_y": sigma_y, "unit": self.unit}
        numbers |= {"dcol": self.dcol, "drow": self.drow, "sigma_col": sigma_col, "sigma_row": sigma_row}
        numbers |= {"length": self.length, "angle": self.angle}
        heights = {"dz": self.dz, "sigma_z": self.sigma_z, "unit_z": self.unit_z}
        return numbers | (heights if self.dz else {})

    def __str__(self) -> str:
        return describe_shift(self)

    def __repr__(self) -> str:
        return f"Shift({self})"


def _sigma(cov: Cov) -> tuple[float, float]:
    sx, sy = np.sqrt(np.maximum(np.diag(cov), 0.0)).tolist()
    return sx, sy
