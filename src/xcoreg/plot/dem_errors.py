"""What a correction leaves between elevation models: by slope, by aspect, by distance, and as a map of errors."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from xcoreg.core import Bools, Floats
from xcoreg.errors import OptionError, require
from xcoreg.georef.crs import metres_per_pixel
from xcoreg.plot.dem import Differences, HeightStats, differences, draw_aspect
from xcoreg.plot.style import BAD, GOOD, legend_below, new_figure
from xcoreg.raster.raster import make_raster
from xcoreg.results.coregistration import Coregistration

_SLOPES = (0.0, 5.0, 10.0, 20.0, 30.0, 40.0, 90.0)  # degrees
_WINDS = ("N", "NE", "E", "SE", "S", "SW", "W", "NW")
_LEVEL, _FEWEST, _LAGS = 2.0, 30, 24  # degrees below which terrain has no aspect; pixels of a class; distances
_DOWD = 2.198  # squared median of absolute differences to twice the semivariance, of normal errors (Dowd 1984)
_COLOURS = {"before": BAD, "after": GOOD}


def plot_dem_errors(
    fit: Coregistration, target: Any, reference: Any, where: Any = None, *, band: Any = None, ref_band: Any = None
) -> Any:
    """Show what a correction leaves: differences by slope and aspect, their variogram, and the error of each pixel.

    Parameters
    ----------
    fit : Coregistration
        Of two elevation models.
    target, reference : DataArray or Dataset
        The elevation models.
    where : optional
        Stable terrain, as in `match`.
    band, ref_band : optional
        As in `match`.

    Returns
    -------
    matplotlib.figure.Figure
        Median and NMAD by slope, dh / tan(slope) against aspect, the variogram (Dowd's robust estimate), and the
        standard deviation of each pixel where the fit has an error model.

    Raises
    ------
    NoOverlap
        When the two do not overlap.
    """
    found = differences(fit, target, reference, where, band=band, ref_band=ref_band)
    figure = new_figure(11, 8.6)
    grid = figure.add_gridspec(2, 2)
    draw_slopes(figure.add_subplot(grid[0, 0]), found)
    draw_aspect(figure.add_subplot(grid[0, 1]), found, fit)
    draw_variogram(figure.add_subplot(grid[1, 0]), found)
    _draw_error(figure, figure.add_subplot(grid[1, 1]), fit, make_raster(target, band=band, name="target").data)
    figure.suptitle("What the correction leaves on stable terrain", fontsize=13)
    return figure


def statistics_by(found: Differences, kind: str) -> dict[str, dict[str, HeightStats]]:
    """Statistics of the differences "before" and "after" in classes of "slope" (degrees) or "aspect"."""
    out = {}
    for name, chosen in _classes(found, kind).items():
        out[name] = {which: HeightStats.of(getattr(found, which)[chosen]) for which in ("before", "after")}
    return out


def _classes(found: Differences, kind: str) -> dict[str, Bools]:
    slope = np.degrees(np.arctan(found.slope))
    if kind == "slope":
        return {f"{low:g}-{high:g}": found.used & (slope >= low) & (slope < high) for low, high in pairwise(_SLOPES)}
    wind = np.floor((np.nan_to_num(found.aspect) + 22.5) % 360 / 45).astype(int)
    steep = found.used & (slope >= _LEVEL)
    return {"flat": found.used & (slope < _LEVEL)} | {name: steep & (wind == k) for k, name in enumerate(_WINDS)}


def draw_slopes(axes: Any, found: Differences) -> None:
    """Draw median and NMAD of the differences by slope."""
    table = statistics_by(found, "slope")
    names = [name for name, row in table.items() if row["after"].n >= _FEWEST]
    for shift, which in ((-0.12, "before"), (0.12, "after")):
        stats = [table[name][which] for name in names]
        at, middle, spread = np.arange(len(names)) + shift, [one.median for one in stats], [one.nmad for one in stats]
        axes.errorbar(
            at, middle, spread, fmt="o", ms=4, capsize=3, color=_COLOURS[which], label=f"{which}: median ± NMAD"
        )
    axes.axhline(0, color="black", lw=0.6)
    axes.set_xticks(range(len(names)), names)
    axes.set_title("Differences by slope", fontsize=11)
    axes.set_xlabel("slope of the reference, degrees", fontsize=9)
    axes.set_ylabel("reference minus target, m")
    legend_below(axes)
    axes.spines[["top", "right"]].set_visible(False)


def variogram(values: Floats, used: Bools) -> tuple[Floats, Floats]:
    """Distances, px, and robust semivariances of differences (rows, cols) along rows and columns."""
    lags = np.unique(np.geomspace(1, max(min(values.shape) // 3, 1), _LAGS).astype(int))
    gamma = []
    for lag in lags.tolist():
        steps = []
        for one, ok in ((values, used), (values.T, used.T)):
            both = ok[:-lag] & ok[lag:]
            steps.append(np.abs(one[lag:] - one[:-lag])[both])
        every = np.concatenate(steps)
        gamma.append(_DOWD * float(np.median(every)) ** 2 / 2 if every.size >= _FEWEST else np.nan)
    return lags.astype(np.float64), np.array(gamma)


def draw_variogram(axes: Any, found: Differences) -> None:
    """Draw the semivariance of the differences against the distance, before and after."""
    middle = (found.grid.boundingbox.bottom + found.grid.boundingbox.top) / 2
    affine = found.grid.affine
    size = metres_per_pixel(found.grid.crs, (affine.a, affine.b, affine.d, affine.e), middle)
    metres = float(np.sqrt(abs(np.linalg.det(size))))
    for which, colour in _COLOURS.items():
        lags, gamma = variogram(getattr(found, which), found.used)
        axes.plot(lags * metres, gamma, "o-", ms=3, color=colour, label=which)
    axes.set(xscale="log", ylim=(0, None))
    axes.set_title("Variogram of the differences", fontsize=11)
    axes.set_xlabel("distance, m", fontsize=9)
    axes.set_ylabel("semivariance, m²")
    legend_below(axes)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_error(figure: Any, axes: Any, fit: Coregistration, dem: Any) -> None:
    """Draw the standard deviation of each pixel by its slope."""
    axes.set_title("Standard deviation of height differences", fontsize=11)
    axes.set_axis_off()
    try:
        error = fit.dem_error(dem)
    except OptionError as reason:
        axes.text(0.5, 0.5, str(reason), ha="center", va="center", wrap=True, transform=axes.transAxes)
        return
    step = -(-max(error.shape) // 900)
    values = np.asarray(error.values)[::step, ::step]
    cmap = require("matplotlib", extra="plot").colormaps["viridis"]
    image = axes.imshow(
        values, cmap=cmap, vmin=0, vmax=float(np.nanpercentile(values, 98)), interpolation="antialiased"
    )
    figure.colorbar(image, ax=axes, shrink=0.8, extend="max", label=str(error.attrs["units"]))
