"""A correction that changes along one direction: lines of a sensor that shake, undulation along a track."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import scipy  # its parts are loaded when they are used: interpolate takes a fifth of a first call
from numpy.typing import ArrayLike

from xcoreg.core import Bools, Floats
from xcoreg.core.matches import decode_column, encode_column
from xcoreg.core.models.base import Model, Pairs, broadcast


@dataclass(frozen=True, eq=False)
class Track:
    """Another model plus a cubic spline of the distance along a direction; constant beyond its ends.

    inner : The model that it is added to.
    way : (3,) float64; distance ``way[0] x + way[1] y + way[2]``.
    start, step : Distance of the first knot, and between knots.
    coef : (n, 3) float64; coefficients of (dx, dy, dz), CRS units and unit of the heights.
    """

    kind: ClassVar[str] = "track"
    dz_constant: ClassVar[float | None] = None

    inner: Model
    way: Floats
    start: float
    step: float
    coef: Floats

    @property
    def scatter(self) -> Pairs:
        """Scatter of the inner model."""
        return self.inner.scatter

    def _curve(self, x: Floats, y: Floats) -> Floats:
        n = len(self.coef)
        knots = self.start + self.step * (np.arange(n + 4) - 3)
        along = self.way[0] * x + self.way[1] * y + self.way[2]
        return np.asarray(
            scipy.interpolate.BSpline(knots, self.coef, 3)(np.clip(along, self.start, self.start + self.step * (n - 3)))
        )

    def predict(self, x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
        """Horizontal correction at map positions, CRS units."""
        x, y = broadcast(x, y)
        (dx, dy), more = self.inner.predict(x, y), self._curve(x, y)
        return dx + more[..., 0], dy + more[..., 1]

    def predict_dz(self, x: ArrayLike, y: ArrayLike) -> Floats:
        """Vertical correction at map positions."""
        x, y = broadcast(x, y)
        return np.asarray(self.inner.predict_dz(x, y) + self._curve(x, y)[..., 2])

    def predict_cov(self, x: ArrayLike, y: ArrayLike) -> Floats:
        """Covariance (..., 2, 2) of the inner model."""
        return self.inner.predict_cov(x, y)

    def extrapolates(self, x: ArrayLike, y: ArrayLike) -> Bools:
        """Where the inner model does."""
        return self.inner.extrapolates(x, y)

    def to_dict(self) -> dict[str, Any]:
        """Convert to JSON types, without losing a digit."""
        names = ("way", "start", "step", "coef")
        own = {name: encode_column(getattr(self, name)) for name in names}
        return {"kind": self.kind, "inner": self.inner.to_dict(), **own}

    @classmethod
    def of(cls, data: dict[str, Any], inner: Model) -> Track:
        """Undo :meth:`to_dict`, with the inner model rebuilt."""
        way, coef = (np.asarray(decode_column(data[name]), np.float64) for name in ("way", "coef"))
        start, step = (float(decode_column(data[name])) for name in ("start", "step"))
        return cls(inner, way, start, step, coef)
