"""One correction for each region of a mosaic; regions end at straight seams."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from xcoreg.core import Floats, Ints
from xcoreg.core.models.base import FittedModel, broadcast


@dataclass(frozen=True, eq=False, repr=False)
class Regions(FittedModel):
    """Regions with one correction (dx, dy, dz) each; nothing is blended at the lines between them.

    lines : (m, 3) float64; lines ``a x + b y + c = 0`` that split regions, (a, b) of length 1, CRS units.
    sides : (m, 2) int; what lies before (negative) and beyond each line: a later line, or region ``-1 - side``.
    values, covs : (k, 3), (k, 3, 3) float64; corrections of the regions and their covariances.
    """

    kind = "regions"
    dz_constant: ClassVar[float | None] = None
    arrays: ClassVar[dict[str, type]] = {
        **dict.fromkeys(("hull", "lines", "values", "covs"), np.float64),
        "sides": np.intp,
    }

    lines: Floats
    sides: Any
    values: Floats
    covs: Floats

    def regions(self, x: ArrayLike, y: ArrayLike) -> Ints:
        """Find the numbers of the regions at map positions; -1 where one is not finite."""
        x, y = broadcast(x, y)
        at = np.zeros(x.shape, np.intp)
        for k, ((a, b, c), side) in enumerate(zip(self.lines, self.sides, strict=True)):
            here = at == k
            at[here] = side[(a * x[here] + b * y[here] + c >= 0).astype(np.intp)]
        return np.where(np.isfinite(x) & np.isfinite(y), -1 - at, -1)

    def _at(self, x: ArrayLike, y: ArrayLike, axis: int) -> Floats:
        region = self.regions(x, y)
        return np.where(region < 0, np.nan, self.values[region, axis])

    def predict(self, x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
        """Correction (dx, dy) at map positions, CRS units; NaN where one is not finite."""
        return self._at(x, y, 0), self._at(x, y, 1)

    def predict_dz(self, x: ArrayLike, y: ArrayLike) -> Floats:
        """Vertical correction at map positions, in units of the values."""
        return self._at(x, y, 2)

    def _own_cov(self, x: ArrayLike, y: ArrayLike) -> Floats:
        """Covariance (..., 2, 2) of (dx, dy) at map positions."""
        region = self.regions(x, y)
        return np.where(region[..., None, None] < 0, np.nan, self.covs[region][..., :2, :2])

    def _summary(self) -> dict[str, Any]:
        return {**super()._summary(), "regions": len(self.values)}
