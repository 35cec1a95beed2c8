"""What is left at the tie points: on withheld points where a fit has them, else of the fit itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xcoreg import georef

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xcoreg.results.coregistration import Coregistration

    Floats = NDArray[np.float64]

__all__ = ["Residuals", "residuals_of"]


@dataclass(frozen=True)
class Residuals:
    """Observed minus predicted correction at `n` tie points.

    Parameters
    ----------
    window : (n,) int
        Identifiers.
    x, y : (n,) float64
        Map positions.
    dx, dy : (n,) float64
        CRS units.
    dcol, drow : (n,) float64
        Target px.
    withheld : bool
        Whether each point was predicted without itself.
    """

    window: NDArray[np.int64]
    x: Floats
    y: Floats
    dx: Floats
    dy: Floats
    dcol: Floats
    drow: Floats
    withheld: bool

    def __len__(self) -> int:
        return int(self.window.size)

    @property
    def length(self) -> Floats:
        """(n,) float64: radial residual, target px."""
        return np.hypot(self.dcol, self.drow)


def residuals_of(fit: Coregistration) -> Residuals:
    """Residuals of a fit at its trusted tie points.

    Parameters
    ----------
    fit : Coregistration
        Those of withheld points are read from ``settings["assessment"]["check"]``.

    Returns
    -------
    Residuals
        Finite ones only; none without a model.
    """
    check = (fit.settings.get("assessment") or {}).get("check") or {}
    good = fit.points.take(fit.points.ok)
    dx, dy = np.full((2, len(good)), np.nan)
    withheld = bool(check.get("window"))
    if withheld:
        order = {int(window): i for i, window in enumerate(check["window"])}
        at = np.array([order.get(int(window), -1) for window in good.window], int)
        for out, values in ((dx, check["dx"]), (dy, check["dy"])):
            out[at >= 0] = np.array(values, np.float64)[at[at >= 0]]
    elif fit.model is not None and len(good):
        model: Any = fit.model
        px, py = model.predict(good.x, good.y)
        dx, dy = good.dx - px, good.dy - py
    known = np.isfinite(dx) & np.isfinite(dy)
    good, dx, dy = good.take(known), dx[known], dy[known]
    dcol, drow = georef.vector_to_pixel(georef.linear_of(fit.transform), dx, dy)
    return Residuals(good.window, good.x, good.y, dx, dy, dcol, drow, withheld)
