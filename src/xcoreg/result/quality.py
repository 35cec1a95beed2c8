"""How far an answer can be trusted."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

__all__ = ["Quality"]


@dataclass(frozen=True)
class Quality:
    """How far an answer can be trusted; NaN where unknown.

    Parameters
    ----------
    reliability : float
        Confidence in the match, percent.
    score : float
        Correlation of reference and corrected target inside the window.
    ssim_before, ssim_after : float
        Structural similarity before and after the correction.
    n_windows, n_ok : int
        Windows tried, and those that agree.
    spread_px : float
        Robust spread of the windows about the answer, target px.
    phase_dcol, phase_drow : float
        Phase-only answer minus refined answer, target px.
    warnings : tuple of str
        What the user should know.
    n_check : int
        Points withheld from the fit, or predicted without their own part in it, on which the next six were measured.
    median_before, median_after, rmse_before, rmse_after, ce90_before, ce90_after : float
        Length of what is between the images before the correction, and of what is left after it, on those points,
        target px: median, radial root mean square, and 90th percentile.
    dh_count, iterations : int
        Of elevation models: pixels (or points) compared, and samplings of the target until nothing moved.
    dh_median_before, dh_median_after, dh_nmad_before, dh_nmad_after : float
        Median and NMAD there of reference minus target, before and after the correction, units of the values.

    Examples
    --------
    >>> Quality(reliability=98.0, n_windows=9, n_ok=8).n_ok
    8
    """

    reliability: float = math.nan
    score: float = math.nan
    ssim_before: float = math.nan
    ssim_after: float = math.nan
    n_windows: int = 0
    n_ok: int = 0
    spread_px: float = math.nan
    phase_dcol: float = math.nan
    phase_drow: float = math.nan
    warnings: tuple[str, ...] = ()
    n_check: int = 0
    median_before: float = math.nan
    median_after: float = math.nan
    rmse_before: float = math.nan
    rmse_after: float = math.nan
    ce90_before: float = math.nan
    ce90_after: float = math.nan
    dh_count: int = 0
    iterations: int = 0
    dh_median_before: float = math.nan
    dh_median_after: float = math.nan
    dh_nmad_before: float = math.nan
    dh_nmad_after: float = math.nan

    def __post_init__(self) -> None:
        for one in fields(self):
            make = {int: int, tuple: tuple}.get(type(one.default), float)
            object.__setattr__(self, one.name, make(getattr(self, one.name)))
