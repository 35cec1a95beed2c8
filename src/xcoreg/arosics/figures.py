"""The figures of AROSICS: options of all of them, points over an image, shifts over each other, rasters."""

from __future__ import annotations

from typing import Any

import numpy as np

from xcoreg.core import Bools
from xcoreg.errors import OptionError, is_name, require
from xcoreg.plot import style
from xcoreg.plot.maps import draw_background
from xcoreg.results.tiepoints import TiePoints

_DPI, _RELIABLE = 96, 98  # percentile at which colours end
_LEVELS = (("L1_OUTLIER", "b", "reliability"), ("L2_OUTLIER", "r", "SSIM"), ("L3_OUTLIER", "y", "outlier"))


def finish(figure: Any, options: dict[str, Any], returned: str) -> Any:
    """Save and return a figure as options say: savefigPath, savefigDPI, and one that asks for (figure, axes)."""
    if options.get("savefigPath"):
        style.save_figure(figure, options["savefigPath"], dpi=options.get("savefigDPI", _DPI))
    return (figure, figure.axes[0]) if options.get(returned) else figure


def draw_points(
    table: Any,
    fill: float,
    image: Any,
    shapes2plot: str = "points",
    attribute2plot: str = "ABS_SHIFT",
    hide_filtered: bool = True,
    figsize: tuple[float, float] | None = None,
    figsize_multiplier: float = 1,
    **options: Any,
) -> Any:
    """Draw points or vectors of a table over an image, coloured by a column.

    More options: exclude_fillVals, cmap, vmin, vmax, title, vector_scale, savefigPath, savefigDPI, showFig, return_map.
    """
    if shapes2plot not in ("points", "vectors"):
        raise OptionError(f"shapes2plot={shapes2plot!r} is unknown: choose 'points' or 'vectors'")
    if attribute2plot not in table or not np.issubdtype(table[attribute2plot].dtype, np.number):
        known = ", ".join(table.select_dtypes("number").columns)
        raise OptionError(f"attribute2plot={attribute2plot!r} is no column of numbers: choose from {known}")
    width, height = figsize or (9, 8)
    figure = style.new_figure(width * figsize_multiplier, height * figsize_multiplier)
    axes = figure.add_subplot()
    wkt = None if table.crs is None else table.crs.to_wkt()
    draw_background(axes, image, wkt)
    shown = table[table["X_SHIFT_M"] != fill] if options.get("exclude_fillVals", True) else table
    good = shown[~shown["OUTLIER"]]
    if not hide_filtered:
        for column, colour, label in _LEVELS:
            flagged = shown[shown[column]]
            axes.scatter(flagged["X_MAP"], flagged["Y_MAP"], s=60, c=colour, label=label)
        axes.legend(loc=0)
    drawn = _draw_values(axes, good, attribute2plot, shapes2plot == "vectors", options)
    figure.colorbar(drawn, ax=axes, label=attribute2plot)
    axes.set_title(options.get("title") or attribute2plot)
    return finish(figure, options, "return_map")


def _draw_values(axes: Any, good: Any, column: str, as_vectors: bool, options: dict[str, Any]) -> Any:
    """Draw points, or vectors, in the colours of a column."""
    values = good[column].to_numpy(float)
    ends = np.percentile(values, [0, _RELIABLE]) if len(values) else (0.0, 1.0)
    low, high = (0.0, 360.0) if column == "ANGLE" else ends
    low, high = options.get("vmin") or low, options.get("vmax") or high
    colours = options.get("cmap") or ("twilight" if column == "ANGLE" else "RdYlGn_r")
    at = good["X_MAP"].to_numpy(), good["Y_MAP"].to_numpy()
    if not as_vectors:
        return axes.scatter(*at, s=30, c=values, cmap=colours, vmin=low, vmax=high)
    vectors = good["X_SHIFT_M"].to_numpy(float), good["Y_SHIFT_M"].to_numpy(float)
    length = {"scale": 1 / options.get("vector_scale", 1.0), "scale_units": "xy", "angles": "xy"}
    return axes.quiver(*at, *vectors, values, cmap=colours, clim=(low, high), **length)


def draw_distribution(
    points: TiePoints, matched: Bools, rmse: float, include_outliers: bool = True, unit: str = "m", **options: Any
) -> Any:
    """Draw the shifts along y over those along x.

    More options: figsize, xlim, ylim, fontsize, title, savefigPath, savefigDPI, showFig, return_fig, interactive.
    """
    if not is_name(unit, ("m", "px")):
        raise OptionError(f"unit={unit!r} is unknown: choose 'm' (CRS units) or 'px'")
    figure = style.new_figure(*(options.get("figsize") or (8, 8)))
    axes = figure.add_subplot()
    x, y = (points.dx, points.dy) if unit == "m" else (points.dcol, points.drow)
    flagged = matched & ~points.ok
    if include_outliers:
        axes.scatter(x[flagged], y[flagged], marker="+", c="r", label="outliers")
    axes.scatter(x[points.ok], y[points.ok], marker="+", c="g", label="trusted")
    for which, values in (("xlim", x), ("ylim", y)):
        most = float(np.abs(values[points.ok]).max(initial=0.0)) * 1.05 or 1.0
        getattr(axes, f"set_{which}")(options.get(which) or (-most, most))
    size = options.get("fontsize", 12)
    axes.set_xlabel(f"x shift [{unit}]", fontsize=size)
    axes.set_ylabel(f"y shift [{unit}]", fontsize=size)
    axes.set_title(f"{options.get('title', 'shift distribution')} (RMSE {rmse:.3g} m)", fontsize=size)
    axes.grid(visible=True)
    axes.legend()
    return finish(figure, options, "return_fig")


def draw_raster(raster: Any, title: str) -> Any:
    """Draw an interpolated column."""
    require("matplotlib", extra="plot")
    figure = style.new_figure(8, 7)
    axes = figure.add_subplot()
    figure.colorbar(axes.imshow(raster, cmap="RdYlGn_r"), ax=axes)
    axes.set_title(title)
    return figure
