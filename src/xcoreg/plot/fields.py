"""A field of shifts: its tie points with what they leave, and the model between them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xcoreg import georef
from xcoreg.errors import MatchError, require
from xcoreg.plot.charts import draw_histogram, draw_rose, draw_verdicts
from xcoreg.plot.maps import draw_map, look_at
from xcoreg.plot.residuals import residuals_of
from xcoreg.plot.style import BAD, new_figure, plain_ticks
from xcoreg.plot.view import outline
from xcoreg.results.text import model_name, short_unit
from xcoreg.warp.field_raster import displacement_raster, node_grid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xcoreg.plot.residuals import Residuals
    from xcoreg.results.coregistration import Coregistration

    Floats = NDArray[np.float64]

__all__ = ["Sheets", "draw_residuals", "draw_sheet", "plot_field", "plot_model", "sheets_of"]

_NODES = 140  # along the longer side of a picture
_FLAT = 1e-9  # of the value: less variation is rounding


def plot_field(fit: Coregistration, background: Any = None) -> Any:
    """Draw the tie points of a field, and what the model leaves of them.

    Parameters
    ----------
    fit : Coregistration
        Of a grid of windows.
    background : DataArray or Dataset, optional
        An image to draw the windows upon.

    Returns
    -------
    matplotlib.figure.Figure
        Left the map with arrows in the colour of their length and a mark for every refused window; right the number of
        windows per verdict, the residuals (on withheld points where there are such), and the directions.

    Raises
    ------
    MissingDependency
        When matplotlib is not installed.
    """
    figure = new_figure(15, 9.2)
    grid = figure.add_gridspec(3, 2, width_ratios=[1.75, 1], height_ratios=[0.8, 1, 1.25])
    frame = outline(fit.transform, fit.shape)
    draw_map(figure, figure.add_subplot(grid[:, 0]), fit.points, background, (frame, fit.transform), legend=False)
    draw_verdicts(figure.add_subplot(grid[0, 1]), fit.points)
    draw_histogram(figure.add_subplot(grid[1, 1]), residuals_of(fit), told=_before_after(fit))
    draw_rose(figure.add_subplot(grid[2, 1], projection="polar"), fit.points)
    kind = f", {model_name(fit.model.kind)}" if fit.model is not None else ""
    told = f"{fit.quality.n_ok} of {fit.quality.n_windows} windows kept{kind}" if fit.ok else fit.status.reason
    figure.suptitle(f"{fit.status.name}: {told}", fontsize=13, color="black" if fit.ok else BAD)
    return figure


def _before_after(fit: Coregistration) -> str:
    q = fit.quality
    if not math.isfinite(q.rmse_after):
        return ""
    return f"RMSE {q.rmse_before:.3g} → {q.rmse_after:.2g} px, CE90 {q.ce90_before:.3g} → {q.ce90_after:.2g} px"


@dataclass(frozen=True)
class Sheets:
    """A model on a coarse grid, ready to be drawn.

    Parameters
    ----------
    x, y : (rows + 1, cols + 1) float64
        Corners of the nodes on the map.
    values : (3, rows, cols) float64
        dx, dy, sigma in `unit`.
    outside : (rows, cols) bool
        Where the model extrapolates.
    unit : str
        As it follows a number.
    """

    x: Floats
    y: Floats
    values: Floats
    outside: NDArray[np.bool_]
    unit: str

    @property
    def centres(self) -> tuple[Floats, Floats]:
        """Centres of the nodes, (rows, cols) each."""
        x, y = ((v[:-1, :-1] + v[1:, 1:]) / 2 for v in (self.x, self.y))
        return x, y


def sheets_of(fit: Coregistration) -> Sheets:
    """Evaluate a model for pictures.

    Parameters
    ----------
    fit : Coregistration

    Returns
    -------
    Sheets
        Degrees become seconds of arc: their numbers can be read.

    Raises
    ------
    MatchError
        When the fit has no model.
    """
    gsd_x, gsd_y = georef.gsd(fit.transform)
    size = max(fit.shape[1] * gsd_x, fit.shape[0] * gsd_y) / _NODES
    grid = node_grid(fit, size)
    values = displacement_raster(fit, like=grid).values
    unit = short_unit("metre" if grid.crs is None else georef.as_crs(grid.crs).axis_info[0].unit_name)
    if unit == "°":
        values, unit = values * 3600, "″"
    rows, cols = grid.shape
    corner_x, corner_y = georef.pixel_to_map(
        grid.affine, *np.meshgrid(np.arange(cols + 1) - 0.5, np.arange(rows + 1) - 0.5)
    )
    x, y = georef.pixel_to_map(grid.affine, *np.meshgrid(np.arange(cols), np.arange(rows)))
    beyond = getattr(fit.model, "extrapolates", None)
    outside = np.zeros((rows, cols), bool) if beyond is None else np.asarray(beyond(x, y), bool)
    return Sheets(corner_x, corner_y, values, outside, unit)


_NAMES = {"dx": ("dx, along the x axis", "viridis"), "dy": ("dy, along the y axis", "viridis"),
          "sigma": ("uncertainty (1 σ, worst direction)", "magma_r")}  # fmt: skip


def draw_sheet(figure: Any, axes: Any, fit: Coregistration, sheets: Sheets, name: str) -> None:
    """Draw one part of a model as a map with contours.

    Parameters
    ----------
    figure, axes : matplotlib
        Where to draw.
    fit : Coregistration
    sheets : Sheets
        From :func:`sheets_of`.
    name : {"dx", "dy", "sigma"}
    """
    values = sheets.values[("dx", "dy", "sigma").index(name)]
    inner = values[~sheets.outside & np.isfinite(values)]
    inner = inner if inner.size else values[np.isfinite(values)]
    low, high = (float(v) for v in np.percentile(inner, [0.5, 99.5])) if inner.size else (0.0, 1.0)
    flat = high - low <= _FLAT * max(abs(low), abs(high), 1e-300)
    pad = max(abs(low) * 0.05, 1e-12) if flat else 0.0
    title, cmap = _NAMES[name]
    look = {"cmap": cmap, "vmin": low - pad, "vmax": high + pad}
    image = axes.pcolormesh(sheets.x, sheets.y, values, shading="flat", rasterized=True, **look)
    figure.colorbar(
        image,
        ax=axes,
        shrink=0.8,
        label="seconds of arc" if sheets.unit == "″" else sheets.unit.strip(),
        extend="neither" if flat else "both",
    )
    x, y = sheets.centres
    levels = [] if flat or min(values.shape) < 2 else _levels(low, high)
    if len(levels):
        shade = "black" if name != "sigma" else "0.25"
        lines = axes.contour(x, y, values, levels, colors=shade, linewidths=0.7, linestyles="solid")
        axes.clabel(lines, fontsize=7, fmt="%.4g")
    if sheets.outside.any() and not sheets.outside.all() and min(values.shape) > 1:
        axes.contourf(x, y, sheets.outside.astype(float), [0.5, 1.5], colors="white", alpha=0.55)
        axes.contour(x, y, sheets.outside.astype(float), [0.5], colors="white", linewidths=1.2, linestyles="--")
    _draw_places(axes, fit)
    axes.set_title(title, fontsize=11)
    paled = "; paler: extrapolated" if sheets.outside.any() else ""
    axes.set_xlabel(f"one value everywhere: {float(inner.mean()) if inner.size else 0:.4g}{sheets.unit}" if flat
                    else f"dots: tie points{paled}", fontsize=9)  # fmt: skip
    _finish(axes, fit)


def _levels(low: float, high: float) -> list[float]:
    """Choose round values inside of the range that matters, not of that in the far corners."""
    ticks = require("matplotlib.ticker", extra="plot").MaxNLocator(7).tick_values(low, high)
    return [float(tick) for tick in ticks if low < tick < high]


def _draw_places(axes: Any, fit: Coregistration) -> None:
    good = fit.points.take(fit.points.ok)
    size = float(np.clip(1500 / max(len(good), 1), 0.4, 8))
    axes.scatter(good.x, good.y, s=size, color="black", lw=0, alpha=0.6)


def _finish(axes: Any, fit: Coregistration) -> None:
    frame = outline(fit.transform, fit.shape)
    axes.plot(*frame.T, color="black", lw=1.0)
    look_at(axes, frame, fit.crs_wkt)
    plain_ticks(axes)


def draw_residuals(figure: Any, axes: Any, fit: Coregistration, left: Residuals) -> None:
    """Draw where the model leaves how much: a dot per tie point, a stroke in the direction of what is left.

    Parameters
    ----------
    figure, axes : matplotlib
        Where to draw.
    fit : Coregistration
    left : Residuals
    """
    if len(left):
        length = left.length
        top = max(float(np.percentile(length, 97)), 1e-6)
        order = np.argsort(length)  # the worst on top
        size = float(np.clip(9000 / len(left), 2, 34))
        dots = axes.scatter(left.x[order], left.y[order], c=length[order], s=size, cmap="YlOrRd", vmin=0, vmax=top,
                            edgecolors="black", lw=0.3 if size > 8 else 0.0, zorder=3)  # fmt: skip
        figure.colorbar(dots, ax=axes, shrink=0.8, label="residual, target px", extend="max")
        if len(left) <= 1500:
            ground = max(float(np.percentile(np.hypot(left.dx, left.dy), 97)), 1e-300)
            extent = float(np.ptp(outline(fit.transform, fit.shape), axis=0).max())
            shown = extent * min(0.08, 1.6 / math.sqrt(len(left)))
            axes.quiver(left.x, left.y, left.dx, left.dy, angles="xy", scale_units="xy", scale=ground / shown,
                        width=0.003, color="0.15", zorder=3.5)  # fmt: skip
    axes.set_title(
        "What is left, " + ("on withheld points" if left.withheld else "at the points of the fit"), fontsize=11
    )
    axes.set_xlabel("strokes: observed minus predicted", fontsize=9)
    _finish(axes, fit)


def plot_model(fit: Coregistration) -> Any:
    """Draw the model of a field: its correction along x and y, its uncertainty, and what it leaves.

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
    MissingDependency
        When matplotlib is not installed.
    """
    if fit.model is None:
        raise MatchError(f"there is no model to draw: {fit.status.reason}", fit.points)
    across, up = np.ptp(outline(fit.transform, fit.shape), axis=0)
    wide = float(np.clip(across / up, 0.4, 2.2))
    figure = new_figure(2 * (4.9 * wide + 1.9), 11.2)
    axes = figure.subplots(2, 2).ravel()
    sheets = sheets_of(fit)
    for one, name in zip(axes, _NAMES, strict=False):
        draw_sheet(figure, one, fit, sheets, name)
    draw_residuals(figure, axes[3], fit, residuals_of(fit))
    figure.suptitle(f"Model of the correction: {model_name(fit.model.kind)}", fontsize=13)
    return figure
