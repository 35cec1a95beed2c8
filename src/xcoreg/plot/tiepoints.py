"""The windows of a fit: where they are, which way they point, how well they agree."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from xcoreg import georef
from xcoreg.errors import require
from xcoreg.plot.fields import plot_field
from xcoreg.plot.maps import FEW, draw_map
from xcoreg.plot.style import BAD, GOOD, new_figure
from xcoreg.plot.view import outline
from xcoreg.results.text import is_local

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xcoreg.results.coregistration import Coregistration
    from xcoreg.results.tiepoints import TiePoints

__all__ = ["plot_fit", "plot_points"]

_ELLIPSE_95 = math.sqrt(-2.0 * math.log(0.05))  # radius of the 95 % ellipse, standard deviations


def plot_fit(fit: Coregistration, background: Any = None) -> Any:
    """Draw a fit: the windows on the map, their shifts with uncertainty, and what is left after the correction.

    Parameters
    ----------
    fit : Coregistration
        Global or local, trusted or not.
    background : DataArray or Dataset, optional
        An image to draw the windows upon, on any grid; only a coarse look at it is read.

    Returns
    -------
    matplotlib.figure.Figure
        Left the map with one arrow per trusted window (exaggerated, see its key) and a mark with the reason for every
        other; right the shifts in target pixels with 95 % ellipses and the residuals (observed minus predicted). Fields
        are drawn as :func:`xcoreg.plot.plot_field` tells.

    Raises
    ------
    MissingDependency
        When matplotlib is not installed.
    """
    if is_local(fit):
        return plot_field(fit, background)
    figure = new_figure(13.5, 7.8)
    grid = figure.add_gridspec(2, 2, width_ratios=[1.6, 1])
    frame = outline(fit.transform, fit.shape)
    draw_map(figure, figure.add_subplot(grid[:, 0]), fit.points, background, (frame, fit.transform))
    _draw_shifts(figure.add_subplot(grid[0, 1]), fit)
    _draw_residuals(figure.add_subplot(grid[1, 1]), fit)
    told = f": {fit.shift}" if fit.shift is not None else f": {fit.status.reason}"
    figure.suptitle(f"{fit.status.name}{told}", fontsize=13, color="black" if fit.ok else BAD)
    return figure


def plot_points(points: TiePoints, background: Any = None) -> Any:
    """Draw tie points on the map: an arrow for each trusted window, a mark with the reason for every other.

    Parameters
    ----------
    points : TiePoints
        Windows of a fit.
    background : DataArray or Dataset, optional
        As in :func:`plot_fit`.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    MissingDependency
        When matplotlib is not installed.

    Examples
    --------
    >>> from xcoreg.results.tiepoints import TiePoints
    >>> figure = plot_points(TiePoints([0], [9.5], [9.5], [100], [200], [3], [4], [0.3], [-0.4]))
    >>> figure.axes[0].get_title()
    '1 windows: 1 OK'
    """
    figure = new_figure(9, 8)
    draw_map(figure, figure.add_subplot(), points, background, None)
    return figure


def _draw_shifts(axes: Any, fit: Coregistration) -> None:
    points, good = fit.points, fit.points.take(fit.points.ok)
    others = points.take(~points.ok & np.isfinite(points.dcol))
    axes.axhline(0, color="0.8", lw=0.8)
    axes.axvline(0, color="0.8", lw=0.8)
    covs = georef.cov_to_pixel(georef.linear_of(fit.transform), good.cov)
    if len(good) <= FEW:
        for col, row, cov in zip(good.dcol, good.drow, covs, strict=True):
            _draw_ellipse(axes, (col, row), cov, {"facecolor": GOOD, "alpha": 0.18, "lw": 0})
    told = "trusted windows" + (" (95 % ellipses)" if len(good) <= FEW else "")
    axes.scatter(good.dcol, good.drow, s=16, color=GOOD, lw=0, label=told)
    if len(others):
        axes.scatter(others.dcol, others.drow, s=22, marker="x", color=BAD, lw=1, label="other windows")
    if fit.shift is not None:
        centre = fit.shift.dcol, fit.shift.drow
        axes.plot(*centre, "+", color="black", ms=16, mew=1.6, label="the answer", zorder=5)
        _draw_ellipse(axes, centre, np.array(fit.shift.cov_px), {"facecolor": "none", "edgecolor": "black", "lw": 1.2})
    _frame_shifts(axes, good, covs, fit)
    axes.set(xlabel="dcol, target px (right)", ylabel="drow, target px (down)", title="shift of every window")
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)


def _frame_shifts(axes: Any, good: TiePoints, covs: NDArray[np.float64], fit: Coregistration) -> None:
    """Look at the trusted windows; distrusted ones may lie anywhere."""
    cols, rows = list(good.dcol), list(good.drow)
    if fit.shift is not None:
        cols, rows = [*cols, fit.shift.dcol], [*rows, fit.shift.drow]
    if cols:
        sigma = np.sqrt(np.median(covs[:, [0, 1], [0, 1]], axis=0)) if len(covs) else np.zeros(2)
        reach = _ELLIPSE_95 * float(np.nan_to_num(sigma).max())
        half = max(float(np.ptp(cols)), float(np.ptp(rows)), 0.05) * 0.55 + reach
        middle = (max(cols) + min(cols)) / 2, (max(rows) + min(rows)) / 2
        axes.set_xlim(middle[0] - half, middle[0] + half)
        axes.set_ylim(middle[1] + half, middle[1] - half)  # rows grow downwards
    axes.set_aspect("equal", adjustable="box")


def _draw_ellipse(axes: Any, centre: tuple[float, float], cov: NDArray[np.float64], look: dict[str, Any]) -> None:
    if not np.isfinite(cov).all():
        return
    sizes, turn = np.linalg.eigh(cov)
    width, height = 2 * _ELLIPSE_95 * np.sqrt(np.maximum(sizes, 0.0))
    angle = math.degrees(math.atan2(turn[1, 0], turn[0, 0]))
    patches = require("matplotlib.patches", extra="plot")
    axes.add_patch(patches.Ellipse(centre, width, height, angle=angle, **look))


def _draw_residuals(axes: Any, fit: Coregistration) -> None:
    good = fit.points.take(fit.points.ok)
    if fit.model is None or len(good) == 0:
        axes.axis("off")
        axes.text(0.0, 0.95, fit.summary(), va="top", family="monospace", fontsize=6.5)
        return
    dx, dy = fit.model.predict(good.x, good.y)
    linear = georef.linear_of(fit.transform)
    dcol, drow = georef.vector_to_pixel(linear, good.dx - dx, good.dy - dy)
    sigma = np.sqrt(np.maximum(georef.cov_to_pixel(linear, good.cov)[:, [0, 1], [0, 1]], 0.0))
    for i, (name, values, colour) in enumerate((("dcol", dcol, GOOD), ("drow", drow, BAD))):
        look = {"color": colour, "label": f"{name}: median {np.median(values):+.3f}, NMAD {_nmad(values):.3f} px"}
        if len(good) <= FEW:
            bars = 2 * np.nan_to_num(sigma[:, i])
            axes.errorbar(np.arange(len(good)) + 0.2 * i, values, bars, fmt="o", ms=4, lw=1, capsize=2, **look)
        else:
            top = max(float(np.percentile(np.abs([dcol, drow]), 98)) * 1.2, 0.01)
            axes.hist(np.clip(values, -top, top), np.linspace(-top, top, 31), alpha=0.5, **look)
    _label_residuals(axes, good)


def _label_residuals(axes: Any, good: TiePoints) -> None:
    if len(good) <= FEW:
        axes.axhline(0, color="black", lw=0.8)
        axes.set(xlabel="window", ylabel="residual, target px", title="observed minus predicted (bars: 2 sigma)")
        axes.set_xticks(np.arange(len(good)) + 0.1, [str(window) for window in good.window])
        axes.tick_params(axis="x", labelsize=8 if len(good) <= 20 else 5)
    else:
        axes.axvline(0, color="black", lw=0.8)
        axes.set(xlabel="residual, target px", ylabel="windows", title="observed minus predicted")
    axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, frameon=False)


def _nmad(values: NDArray[np.float64]) -> float:
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))
