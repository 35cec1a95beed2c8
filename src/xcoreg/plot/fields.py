"""Fits and fields: tie points on the map, residuals, directions, and the model between the tie points."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely

from xcoreg import georef
from xcoreg.core import Bools, Floats
from xcoreg.core.quality import nmad
from xcoreg.errors import MatchError, require
from xcoreg.plot import style as chart
from xcoreg.plot.maps import FEW, draw_map, name_axes, zoom_to
from xcoreg.results.coregistration import Coregistration
from xcoreg.results.html import outline
from xcoreg.results.text import crs_unit, is_local, model_name
from xcoreg.results.tiepoints import TiePoints
from xcoreg.warp.field_raster import displacement_raster, node_grid

_NODES = 140  # along the longer side of a map
_FLAT = 1e-9  # of the value: less variation is rounding


def plot_field(fit: Coregistration, background: Any = None) -> Any:
    """Draw the tie points of a field and the residuals of its model.

    Parameters
    ----------
    fit : Coregistration
        Of a grid of windows.
    background : DataArray or Dataset, optional
        Image below the windows.

    Returns
    -------
    matplotlib.figure.Figure
        Left the map with arrows in the colour of their length and a mark for every refused window; right the number of
        windows per status, the residuals (at check points where there are such), and the directions.
    """
    figure = chart.new_figure(11.5, 8.2)
    grid = figure.add_gridspec(3, 2, width_ratios=[1.7, 1], height_ratios=[0.7, 1, 1.25])
    frame = outline(fit.grid)
    draw_map(figure, figure.add_subplot(grid[:, 0]), fit.points, background, (frame, fit.transform), legend=False)
    chart.draw_statuses(figure.add_subplot(grid[0, 1]), fit.points)
    chart.draw_histogram(figure.add_subplot(grid[1, 1]), chart.residuals_of(fit), note=_before_after(fit))
    chart.draw_rose(figure.add_subplot(grid[2, 1], projection="polar"), fit.points)
    kind = f", {model_name(fit.model.kind)}" if fit.model is not None else ""
    title = f"{fit.quality.n_ok} of {fit.quality.n_windows} windows trusted{kind}" if fit.ok else fit.status.reason
    figure.suptitle(f"{fit.status.name}: {title}", fontsize=13, color="black" if fit.ok else chart.BAD)
    return figure


def _before_after(fit: Coregistration) -> str:
    q = fit.quality
    if not math.isfinite(q.rmse_after):
        return ""
    return f"RMSE {q.rmse_before:.3g} → {q.rmse_after:.2g}, CE90 {q.ce90_before:.3g} → {q.ce90_after:.2g} px"


@dataclass(frozen=True)
class ModelGrid:
    """A model evaluated on a coarse grid.

    x, y : (rows + 1, cols + 1) float64; corners of the nodes on the map.
    values : (3, rows, cols) float64; dx, dy, sigma in `unit`.
    outside, beyond : (rows, cols) bool; where the model extrapolates; outside the convex hull of the tie points.
    """

    x: Floats
    y: Floats
    values: Floats
    outside: Bools
    beyond: Bools
    unit: str

    @property
    def centres(self) -> tuple[Floats, Floats]:
        """Centres of the nodes, (rows, cols) each."""
        x, y = ((v[:-1, :-1] + v[1:, 1:]) / 2 for v in (self.x, self.y))
        return x, y


def evaluate_model(fit: Coregistration) -> ModelGrid:
    """Evaluate a model on a grid coarse enough to be drawn."""
    gsd_x, gsd_y = georef.gsd(fit.transform)
    size = max(fit.shape[1] * gsd_x, fit.shape[0] * gsd_y) / _NODES
    grid = node_grid(fit, size)
    values = displacement_raster(fit, like=grid).values
    unit = crs_unit(grid.crs)
    if unit == "°":
        values, unit = values * 3600, "″"
    rows, cols = grid.shape
    mesh = np.meshgrid(np.arange(cols + 1) - 0.5, np.arange(rows + 1) - 0.5)
    corners = georef.pixel_to_map(grid.affine, *mesh)
    x, y = georef.pixel_to_map(grid.affine, *np.meshgrid(np.arange(cols), np.arange(rows)))
    beyond = getattr(fit.model, "extrapolates", None)
    outside = np.zeros((rows, cols), bool) if beyond is None else np.asarray(beyond(x, y), bool)
    good = fit.points.take(fit.points.ok)
    hull = shapely.MultiPoint(np.stack([good.x, good.y], 1)).convex_hull
    apart = ~shapely.intersects_xy(hull, x, y) if hull.area > 0 else outside
    return ModelGrid(*corners, values, outside, apart | outside, unit)


_NAMES = {"dx": "dx, to the right", "dy": "dy, up", "sigma": "uncertainty (1 σ, worst direction)"}


def draw_component(figure: Any, axes: Any, fit: Coregistration, grid: ModelGrid, name: str) -> None:
    """Draw dx, dy or sigma of a model as a map with contours: dx and dy in colours that diverge about 0."""
    values = grid.values[("dx", "dy", "sigma").index(name)]
    outside = grid.beyond if name == "sigma" else grid.outside
    inner = values[~outside & np.isfinite(values)]
    inner = inner if inner.size else values[np.isfinite(values)]
    low, high = (float(v) for v in np.percentile(inner, [0.5, 99.5])) if inner.size else (0.0, 1.0)
    flat = high - low <= _FLAT * max(abs(low), abs(high), 1e-300)
    label, offset = "seconds of arc" if grid.unit == "″" else grid.unit.strip(), 0.0
    if name == "sigma":  # nothing is known about it beyond the tie points
        values = np.where(outside, np.nan, values)
        pad = max(abs(low) * 0.05, 1e-12) if flat else 0.0
        style: dict[str, Any] = {"cmap": "magma_r", "vmin": low - pad, "vmax": high + pad}
    else:
        scale = chart.SignedScale.of(inner)
        offset, style, label = scale.middle, scale.style, f"{name}{scale.text}, {label}"
    image = axes.pcolormesh(grid.x, grid.y, values - offset, shading="flat", rasterized=True, **style)
    figure.colorbar(image, ax=axes, shrink=0.8, label=label, extend="neither" if flat else "both")
    _draw_contours(axes, grid, values, [] if flat or min(values.shape) < 2 else _levels(low, high))
    _draw_outside(axes, grid, outside, name)
    good = fit.points.take(fit.points.ok)
    axes.scatter(good.x, good.y, s=float(np.clip(1500 / max(len(good), 1), 0.4, 8)), color="black", lw=0, alpha=0.6)
    axes.set_title(_NAMES[name], fontsize=11)
    beyond = "blank: beyond them" if name == "sigma" else "pale: extrapolated"
    note = f"dots: tie points{f'; {beyond}' if outside.any() else ''}"
    one = f"one value everywhere: {float(inner.mean()) if inner.size else 0:.4g}{grid.unit}"
    _finish(axes, fit, one if flat else note)


def _draw_contours(axes: Any, grid: ModelGrid, values: Floats, levels: list[float]) -> None:
    if levels:
        lines = axes.contour(*grid.centres, values, levels, colors="0.2", linewidths=0.7, linestyles="solid")
        axes.clabel(lines, fontsize=8, fmt="%.4g")


def _draw_outside(axes: Any, grid: ModelGrid, outside: Bools, name: str) -> None:
    """Make pale what lies beyond the tie points."""
    if not outside.any() or outside.all() or min(outside.shape) < 2:
        return
    beyond, centres = outside.astype(float), grid.centres
    if name != "sigma":
        axes.contourf(*centres, beyond, [0.5, 1.5], colors="white", alpha=0.6)
    axes.contour(*centres, beyond, [0.5], colors="0.4", linewidths=1.0, linestyles="--")


def _levels(low: float, high: float) -> list[float]:
    """Round values within a range."""
    ticks = require("matplotlib.ticker", extra="plot").MaxNLocator(7).tick_values(low, high)
    return [float(tick) for tick in ticks if low < tick < high]


def _finish(axes: Any, fit: Coregistration, note: str) -> None:
    frame = outline(fit.grid)
    axes.plot(*frame.T, color="black", lw=1.0)
    zoom_to(axes, frame, fit.crs_wkt)
    chart.plain_ticks(axes)
    name_axes(axes, fit.crs_wkt, note)


def draw_residuals(figure: Any, axes: Any, fit: Coregistration, residuals: chart.Residuals) -> None:
    """Draw residuals on the map: a dot per tie point, a stroke in the direction of its residual."""
    if len(residuals):
        length = residuals.length
        top = max(float(np.percentile(length, 97)), 1e-6)
        order = np.argsort(length)  # the worst on top
        size = float(np.clip(9000 / len(residuals), 2, 34))
        style: dict[str, Any] = {"cmap": "YlOrRd", "vmin": 0, "vmax": top, "edgecolors": "black", "zorder": 3}
        edge = 0.3 if size > 8 else 0.0
        dots = axes.scatter(residuals.x[order], residuals.y[order], c=length[order], s=size, lw=edge, **style)
        figure.colorbar(dots, ax=axes, shrink=0.8, label="residual, target px", extend="max")
        if len(residuals) <= 1500:
            ground = max(float(np.percentile(np.hypot(residuals.dx, residuals.dy), 97)), 1e-300)
            extent = float(np.ptp(outline(fit.grid), axis=0).max())
            shown = extent * min(0.08, 1.6 / math.sqrt(len(residuals)))
            style = {"angles": "xy", "scale_units": "xy", "width": 0.003, "color": "0.15", "zorder": 3.5}
            axes.quiver(residuals.x, residuals.y, residuals.dx, residuals.dy, scale=ground / shown, **style)
    where = "check points" if residuals.at_check_points else "the points of the fit"
    axes.set_title(f"Residuals at {where}", fontsize=11)
    _finish(axes, fit, "strokes: observed minus predicted")


def plot_model(fit: Coregistration) -> Any:
    """Draw the model of a field: its correction along x and y, its uncertainty, and its residuals.

    Parameters
    ----------
    fit : Coregistration
        With a model.

    Returns
    -------
    matplotlib.figure.Figure
        Four maps: dx, dy and sigma with contours, in CRS units (seconds of arc for degrees), and the residuals.

    Raises
    ------
    MatchError
        When the fit has no model.
    """
    if fit.model is None:
        raise MatchError(f"there is no model to draw: {fit.status.reason}", fit.points)
    across, up = np.ptp(outline(fit.grid), axis=0)
    wide = float(np.clip(across / up, 0.4, 2.2))
    figure = chart.new_figure(2 * (3.6 * wide + 1.9), 9.4)
    axes = figure.subplots(2, 2).ravel()
    grid = evaluate_model(fit)
    for one, name in zip(axes, _NAMES, strict=False):
        draw_component(figure, one, fit, grid, name)
    draw_residuals(figure, axes[3], fit, chart.residuals_of(fit))
    figure.suptitle(f"Model of the correction: {model_name(fit.model.kind)}", fontsize=13)
    return figure


_ELLIPSE_95 = math.sqrt(-2.0 * math.log(0.05))  # radius of the 95 % ellipse, standard deviations


def plot_fit(fit: Coregistration, background: Any = None) -> Any:
    """Draw a fit: the windows on the map, their shifts with uncertainty, and the residuals.

    Parameters
    ----------
    fit : Coregistration
        Global or local, trusted or not.
    background : DataArray or Dataset, optional
        Image below the windows, on any grid; only a coarse overview of it is read.

    Returns
    -------
    matplotlib.figure.Figure
        Left the map with one arrow per trusted window (exaggerated, see its key) and a mark with the reason for every
        other; right the shifts in target pixels with 95 % ellipses and the residuals (observed minus predicted). Fields
        are drawn by :func:`xcoreg.plot.plot_field`.
    """
    if is_local(fit):
        return plot_field(fit, background)
    figure = chart.new_figure(11.5, 7.4)
    grid = figure.add_gridspec(2, 2, width_ratios=[1.55, 1])
    frame = outline(fit.grid)
    draw_map(figure, figure.add_subplot(grid[:, 0]), fit.points, background, (frame, fit.transform))
    _draw_shifts(figure.add_subplot(grid[0, 1]), fit)
    _draw_residuals(figure.add_subplot(grid[1, 1]), fit)
    title = fit.status.reason if fit.shift_or_none is None else str(fit.shift)
    figure.suptitle(f"{fit.status.name}: {title}", fontsize=13, color="black" if fit.ok else chart.BAD)
    return figure


def plot_points(points: TiePoints, background: Any = None, *, column: str | None = None) -> Any:
    """Draw tie points on the map: an arrow for each trusted window, a mark with the reason for every other.

    Parameters
    ----------
    points : TiePoints
        Windows of a fit.
    background : DataArray or Dataset, optional
        As in :func:`plot_fit`.
    column : str, optional
        Colour all windows by this column instead: "reliability", "score", "dx", ..., or "length", "sigma".

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    OptionError
        When there is no such column.

    Examples
    --------
    >>> from xcoreg.results.tiepoints import TiePoints
    >>> figure = plot_points(TiePoints([0], [9.5], [9.5], [100], [200], [3], [4], [0.3], [-0.4]))
    >>> figure.axes[0].get_title()
    '1 windows: 1 OK'
    """
    figure = chart.new_figure(9, 8)
    draw_map(figure, figure.add_subplot(), points, background, None, column=column)
    return figure


def _draw_shifts(axes: Any, fit: Coregistration) -> None:
    points, good = fit.points, fit.points.take(fit.points.ok)
    others = points.take(~points.ok & np.isfinite(points.dcol))
    axes.axhline(0, color="0.8", lw=0.8)
    axes.axvline(0, color="0.8", lw=0.8)
    covs = georef.cov_to_pixel(georef.linear_of(fit.transform), good.cov)
    if len(good) <= FEW:
        for col, row, cov in zip(good.dcol, good.drow, covs, strict=True):
            _draw_ellipse(axes, (col, row), cov, {"facecolor": chart.GOOD, "alpha": 0.18, "lw": 0})
    label = "trusted windows" + (" (95 % ellipses)" if len(good) <= FEW else "")
    axes.scatter(good.dcol, good.drow, s=16, color=chart.GOOD, lw=0, label=label)
    if len(others):
        axes.scatter(others.dcol, others.drow, s=22, marker="x", color=chart.BAD, lw=1, label="other windows")
    if fit.shift_or_none is not None:
        centre = fit.shift.dcol, fit.shift.drow
        axes.plot(*centre, "+", color="black", ms=16, mew=1.6, label="shift of the image", zorder=5)
        _draw_ellipse(axes, centre, np.array(fit.shift.cov_px), {"facecolor": "none", "edgecolor": "black", "lw": 1.2})
    _frame_shifts(axes, good, covs, fit)
    axes.set(xlabel="dcol, target px (right)", ylabel="drow, target px (down)")
    axes.set_title("shift of every window", fontsize=11)
    chart.legend_below(axes)


def _frame_shifts(axes: Any, good: TiePoints, covs: Floats, fit: Coregistration) -> None:
    """Show the range of the trusted windows; refused ones may be anywhere."""
    cols, rows = list(good.dcol), list(good.drow)
    if fit.shift_or_none is not None:
        cols, rows = [*cols, fit.shift.dcol], [*rows, fit.shift.drow]
    if cols:
        sigma = np.sqrt(np.median(covs[:, [0, 1], [0, 1]], axis=0)) if len(covs) else np.zeros(2)
        reach = _ELLIPSE_95 * float(np.nan_to_num(sigma).max())
        half = max(float(np.ptp(cols)), float(np.ptp(rows)), 0.05) * 0.55 + reach
        middle = (max(cols) + min(cols)) / 2, (max(rows) + min(rows)) / 2
        # Rows grow downwards.
        axes.set(xlim=(middle[0] - half, middle[0] + half), ylim=(middle[1] + half, middle[1] - half))
    axes.set_aspect("equal", adjustable="box")


def _draw_ellipse(axes: Any, centre: tuple[float, float], cov: Floats, style: dict[str, Any]) -> None:
    if not np.isfinite(cov).all():
        return
    sizes, turn = np.linalg.eigh(cov)
    width, height = 2 * _ELLIPSE_95 * np.sqrt(np.maximum(sizes, 0.0))
    angle = math.degrees(math.atan2(turn[1, 0], turn[0, 0]))
    patches = require("matplotlib.patches", extra="plot")
    axes.add_patch(patches.Ellipse(centre, width, height, angle=angle, **style))


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
    for i, (name, values, colour) in enumerate((("dcol", dcol, chart.GOOD), ("drow", drow, chart.BAD))):
        style = {"color": colour, "label": f"{name}: median {np.median(values):+.3f}, NMAD {nmad(values):.3f} px"}
        if len(good) <= FEW:
            bars = 2 * np.nan_to_num(sigma[:, i])
            axes.errorbar(np.arange(len(good)) + 0.2 * i, values, bars, fmt="o", ms=4, lw=1, capsize=2, **style)
        else:
            top = max(float(np.percentile(np.abs([dcol, drow]), 98)) * 1.2, 0.01)
            axes.hist(np.clip(values, -top, top), np.linspace(-top, top, 31), alpha=0.5, **style)
    _label_residuals(axes, good)


def _label_residuals(axes: Any, good: TiePoints) -> None:
    if len(good) <= FEW:
        axes.axhline(0, color="black", lw=0.8)
        axes.set(xlabel="window", ylabel="residual, target px")
        axes.set_title("observed minus predicted\n(bars: 2 sigma)", fontsize=11)
        axes.set_xticks(np.arange(len(good)) + 0.1, [str(window) for window in good.window])
        axes.tick_params(axis="x", labelsize=8 if len(good) <= 20 else 5)
    else:
        axes.axvline(0, color="black", lw=0.8)
        axes.set(xlabel="residual, target px", ylabel="windows")
        axes.set_title("observed minus predicted", fontsize=11)
    chart.legend_below(axes)
