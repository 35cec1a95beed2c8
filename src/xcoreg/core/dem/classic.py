"""The solution of Nuth & Kääb (2011) as it was published: medians by azimuth and a cosine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xcoreg.core.dem.normal import Equations
    from xcoreg.core.dem.patches import Observed

    Floats = NDArray[np.floating]

__all__ = ["BINS", "azimuth_bins", "classic_step", "fit_cosine", "slope_azimuth"]

#: Bins of azimuth.
BINS = 72
# What is flatter, m per m, is left out: it is divided by. Bins with fewer samples say nothing.
_LEAST_SLOPE, _FEWEST = 0.03, 8


def slope_azimuth(col: Floats, row: Floats, to_metres: Floats | None) -> tuple[Floats, Floats]:
    """Tangent of the slope and downslope azimuth.

    Parameters
    ----------
    col, row : (n,) float
        Rise per px to the right and down.
    to_metres : (2, 2) float, optional
        Metres to the East and North (rows) per px to the right and down (columns); default: square pixels of a metre,
        North up.

    Returns
    -------
    tangent, azimuth : (n,) float
        m per m; radians clockwise from North.

    Examples
    --------
    >>> tangent, azimuth = slope_azimuth(np.array([-10.0]), np.array([0.0]), np.diag([20.0, -20.0]))
    >>> float(tangent[0]), float(np.degrees(azimuth[0]))
    (0.5, 90.0)
    """
    matrix = np.diag([1.0, -1.0]) if to_metres is None else np.asarray(to_metres, np.float64)
    inverse = np.linalg.inv(matrix)
    east = col * inverse[0, 0] + row * inverse[1, 0]
    north = col * inverse[0, 1] + row * inverse[1, 1]
    return np.hypot(east, north), np.arctan2(-east, -north)


def azimuth_bins(azimuth: Floats, values: Floats) -> tuple[Floats, Floats, NDArray[np.intp]]:
    """Medians by azimuth.

    Parameters
    ----------
    azimuth : (n,) float
        Radians.
    values : (n,) float

    Returns
    -------
    middle : (72,) float64
        Azimuth of the bins, radians.
    median : (72,) float64
        NaN where a bin has too few samples.
    count : (72,) int

    Examples
    --------
    >>> angle = np.linspace(0, 2 * np.pi, 7200, endpoint=False)
    >>> middle, median, count = azimuth_bins(angle, np.cos(angle))
    >>> float(np.abs(median - np.cos(middle)).max()) < 0.01, int(count[0])
    (True, 100)
    """
    index = np.floor(np.mod(azimuth, 2 * np.pi) / (2 * np.pi) * BINS).astype(np.intp) % BINS
    order = np.argsort(index, kind="stable")
    count = np.bincount(index, minlength=BINS)
    ends = np.cumsum(count)
    median = np.full(BINS, np.nan)
    for one, (stop, n) in enumerate(zip(ends.tolist(), count.tolist(), strict=True)):
        if n >= _FEWEST:
            median[one] = np.median(values[order[stop - n : stop]])
    return (np.arange(BINS) + 0.5) * 2 * np.pi / BINS, median, count


def fit_cosine(azimuth: Floats, median: Floats, count: NDArray[np.intp]) -> tuple[float, float, float]:
    """Fit ``east sin(azimuth) + north cos(azimuth) + rest`` to medians, weighted by their samples.

    Examples
    --------
    >>> angle = np.linspace(0, 6, 60)
    >>> fit = fit_cosine(angle, 3 * np.sin(angle) - np.cos(angle) + 0.5, np.ones(60, int))
    >>> tuple(round(value, 6) for value in fit)
    (3.0, -1.0, 0.5)
    """
    known = np.isfinite(median)
    if known.sum() < 6:
        return np.nan, np.nan, np.nan
    design = np.stack([np.sin(azimuth[known]), np.cos(azimuth[known]), np.ones(int(known.sum()))], -1)
    root = np.sqrt(count[known])[:, None]
    east, north, rest = np.linalg.lstsq(design * root, median[known] * root[:, 0], rcond=None)[0].tolist()
    return east, north, rest


def classic_step(seen: Sequence[Observed], equations: Equations, to_metres: Floats | None) -> Floats:
    """Find how much farther the target has to move, px.

    Parameters
    ----------
    seen : sequence of Observed
    equations : Equations
        For the vertical part, which is taken away first.
    to_metres : (2, 2) float, optional
        As for :func:`slope_azimuth`.

    Returns
    -------
    (2,) float64
        (dcol, drow); NaN where too few azimuths are there.
    """
    tangents, azimuths, values = [], [], []
    for one, left, columns, weight in zip(seen, equations.left, equations.columns, equations.weights, strict=True):
        tangent, azimuth = slope_azimuth(one.col, one.row, to_metres)
        # Without the part that the shift explains: that is what is to be found here.
        vertical = left + equations.solution[0] * columns[0] + equations.solution[1] * columns[1]
        use = (tangent > _LEAST_SLOPE) & (weight > 0)
        tangents.append(tangent[use])
        azimuths.append(azimuth[use])
        values.append(vertical[use])
    ratio = np.concatenate(values) / np.concatenate(tangents)
    east, north, _ = fit_cosine(*azimuth_bins(np.concatenate(azimuths), ratio))
    matrix = np.diag([1.0, -1.0]) if to_metres is None else np.asarray(to_metres, np.float64)
    return np.asarray(np.linalg.solve(matrix, np.array([east, north])))
