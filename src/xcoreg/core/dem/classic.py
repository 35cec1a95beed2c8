"""The published solution of Nuth & Kääb (2011): medians by azimuth of the slope, and a cosine through them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xcoreg.core import Floats, Ints
from xcoreg.core.dem.equations import Equations
from xcoreg.core.dem.observations import Observation

#: Number of azimuth bins.
BINS = 72
# Smallest slope, m per m, that dh is divided by, and smallest number of samples per bin.
_LEAST_SLOPE, _FEWEST_PIXELS = 0.03, 8


def slope_azimuth(col: Floats, row: Floats, to_metres: Floats | None) -> tuple[Floats, Floats]:
    """Tangent of the slope, and downslope azimuth, of slopes (n,) along columns and rows."""
    matrix = np.diag([1.0, -1.0]) if to_metres is None else np.asarray(to_metres, np.float64)
    inverse = np.linalg.inv(matrix)
    east = col * inverse[0, 0] + row * inverse[1, 0]
    north = col * inverse[0, 1] + row * inverse[1, 1]
    return np.hypot(east, north), np.arctan2(-east, -north)


def azimuth_bins(azimuth: Floats, values: Floats) -> tuple[Floats, Floats, Ints]:
    """Centre, median and number of values (n,) in bins of azimuth (n,)."""
    index = np.floor(np.mod(azimuth, 2 * np.pi) / (2 * np.pi) * BINS).astype(np.intp) % BINS
    order = np.argsort(index, kind="stable")
    count = np.bincount(index, minlength=BINS)
    ends = np.cumsum(count)
    median = np.full(BINS, np.nan)
    for one, (stop, n) in enumerate(zip(ends.tolist(), count.tolist(), strict=True)):
        if n >= _FEWEST_PIXELS:
            median[one] = np.median(values[order[stop - n : stop]])
    return (np.arange(BINS) + 0.5) * 2 * np.pi / BINS, median, count


def fit_cosine(azimuth: Floats, median: Floats, count: Ints) -> tuple[float, float, float]:
    """Fit ``east sin(azimuth) + north cos(azimuth) + constant`` to medians, weighted by their samples."""
    known = np.isfinite(median)
    if known.sum() < 6:
        return np.nan, np.nan, np.nan
    design = np.stack([np.sin(azimuth[known]), np.cos(azimuth[known]), np.ones(int(known.sum()))], -1)
    root = np.sqrt(count[known])[:, None]
    east, north, rest = np.linalg.lstsq(design * root, median[known] * root[:, 0], rcond=None)[0].tolist()
    return east, north, rest


def classic_step(observations: Sequence[Observation], equations: Equations, to_metres: Floats | None) -> Floats:
    """Next step (2,) of the shift, px, by the classic solution."""
    tangents, azimuths, values = [], [], []
    for one, residuals, columns, weight in zip(
        observations, equations.residuals, equations.columns, equations.weights, strict=True
    ):
        tangent, azimuth = slope_azimuth(one.col, one.row, to_metres)
        # The residual plus the part that the shift explains, which is estimated here.
        vertical = residuals + equations.solution[0] * columns[0] + equations.solution[1] * columns[1]
        use = (tangent > _LEAST_SLOPE) & (weight > 0)
        tangents.append(tangent[use])
        azimuths.append(azimuth[use])
        values.append(vertical[use])
    ratio = np.concatenate(values) / np.concatenate(tangents)
    east, north, _ = fit_cosine(*azimuth_bins(np.concatenate(azimuths), ratio))
    matrix = np.diag([1.0, -1.0]) if to_metres is None else np.asarray(to_metres, np.float64)
    return np.asarray(np.linalg.solve(matrix, np.array([east, north])))
