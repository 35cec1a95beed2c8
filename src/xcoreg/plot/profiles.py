"""Residuals by row, column and altitude: what jitter, steps of detectors and errors of a terrain leave."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine

from xcoreg import georef
from xcoreg.core.quality import nmad
from xcoreg.errors import MatchError
from xcoreg.plot.style import BAD, GOOD, Residuals, legend_below, new_figure, residuals_of

if TYPE_CHECKING:
    from xcoreg.core import Floats
    from xcoreg.results.coregistration import Coregistration

_PER_BIN, _FEWEST, _MOST = 12, 4, 40  # residuals a bin; bins


def plot_profiles(fit: Coregistration) -> Any:
    """Draw the residuals of a fit by row, by column, and by altitude where heights are known.

    Parameters
    ----------
    fit : Coregistration
        With residuals; heights are known of raw images over a terrain, and where a parallax was found.

    Returns
    -------
    matplotlib.figure.Figure
        Two or three charts: a dot for each tie point, the median of bins, and a band of their NMAD; target px.

    Raises
    ------
    MatchError
        When the fit has no residuals.

    Notes
    -----
    A median that leaves zero by more than its band over the root of the number in a bin is systematic: by row a jitter
    (``model="lines"``), by column a step between detectors, by altitude an error of the terrain or of the sensor.
    """
    residuals = residuals_of(fit)
    if not len(residuals):
        raise MatchError(f"there are no residuals to draw: {fit.status.reason}", fit.points)
    col, row = georef.map_to_pixel(Affine(*fit.transform), residuals.x, residuals.y)
    parts: list[tuple[str, Floats]] = [("row, target px", row), ("column, target px", col)]
    heights = heights_of(fit, residuals)
    if heights is not None:
        parts.append(("altitude, m", heights))
    figure = new_figure(4.2 * len(parts), 4.2)
    for axes, (name, places) in zip(np.atleast_1d(figure.subplots(1, len(parts), sharey=True)), parts, strict=True):
        draw_profile(axes, residuals, places, name)
    return figure


def heights_of(fit: Coregistration, residuals: Residuals) -> Floats | None:
    """Heights (n,) of residuals at check points; None where they are not known."""
    check = None if fit.details.assessment is None else fit.details.assessment.check
    if check is None or check.height is None:
        return None
    known = dict(zip(check.window.tolist(), check.height.tolist(), strict=True))
    return np.array([known.get(window, np.nan) for window in residuals.window.tolist()], np.float64)


def draw_profile(axes: Any, residuals: Residuals, places: Floats, name: str) -> None:
    """Draw residuals along columns and rows against a quantity (n,), with medians and bands of bins."""
    top = max(float(np.percentile(np.abs([residuals.dcol, residuals.drow]), 98)) * 1.25, 1e-3)
    for label, values, colour in (("dcol (right)", residuals.dcol, GOOD), ("drow (down)", residuals.drow, BAD)):
        axes.scatter(places, np.clip(values, -top, top), s=6, color=colour, alpha=0.3, lw=0)
        middle, median, spread = bins_of(places, values)
        axes.plot(middle, median, color=colour, lw=1.6, label=label)
        axes.fill_between(middle, median - spread, median + spread, color=colour, alpha=0.15, lw=0)
    axes.axhline(0, color="black", lw=0.8)
    axes.set(xlabel=name, ylim=(-top * 1.05, top * 1.05))
    if axes.get_subplotspec().is_first_col():
        axes.set_ylabel("observed minus predicted, target px", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    legend_below(axes, ncols=2)


def bins_of(places: Floats, values: Floats) -> tuple[Floats, Floats, Floats]:
    """Middle, median and NMAD of values (n,) in bins of equal numbers along places (n,)."""
    order = np.argsort(places, kind="stable")
    order = order[np.isfinite(places[order])]
    parts = np.array_split(order, int(np.clip(len(order) // _PER_BIN, min(_FEWEST, max(len(order), 1)), _MOST)))
    found = [(np.median(places[i]), np.median(values[i]), nmad(values[i])) for i in parts if len(i)]
    middle, median, spread = np.array(found, np.float64).reshape(-1, 3).T
    return middle, median, spread
