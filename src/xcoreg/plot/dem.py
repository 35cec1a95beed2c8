"""Elevation models before and after: difference maps, histograms, differences against aspect, corrections per block."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from odc.geo.geobox import GeoBox

from xcoreg import georef
from xcoreg.core import Bools, Floats
from xcoreg.core.matches import Status
from xcoreg.core.models import Translation
from xcoreg.core.quality import nmad
from xcoreg.errors import CoregWarning, NoOverlap, OptionError, require
from xcoreg.georef.crs import metres_per_pixel
from xcoreg.matching.masks import as_mask
from xcoreg.plot.maps import name_axes, nice, set_aspect, squares_of
from xcoreg.plot.style import BAD, GOOD, SignedScale, legend_below, new_figure, plain_ticks
from xcoreg.raster.bands import common_unit, height_scaling, height_unit
from xcoreg.raster.raster import Raster, make_raster
from xcoreg.results.coregistration import Coregistration, Quality
from xcoreg.results.html import outline
from xcoreg.results.text import crs_unit
from xcoreg.results.tiepoints import TiePoints
from xcoreg.warp.apply import apply

_STEEP = 0.0875  # tangent of 5 degrees: on gentler slopes a horizontal shift hardly changes heights
_BINS = 36
_FEWEST = 30  # pixels in a bin of aspects
_MARGIN = 0.03  # of the extent
_SIDE = 900  # px of a map that is drawn
_BEFORE, _AFTER = BAD, GOOD
_TITLES = {"dx": "dx (along x)", "dy": "dy (along y)", "dz": "dz (height)"}


def plot_dem(
    fit: Coregistration, target: Any, reference: Any, where: Any = None, *, band: Any = None, ref_band: Any = None
) -> Any:
    """Show what a correction did to elevation differences.

    Parameters
    ----------
    fit : Coregistration
        Of two elevation models.
    target, reference : DataArray or Dataset
        The elevation models.
    where : optional
        Stable terrain, as in `match`; the rest is drawn pale and left out of the numbers.
    band, ref_band : optional
        As in `match`.

    Returns
    -------
    matplotlib.figure.Figure
        Reference minus target before and after on one scale, their distribution, and dh / tan(slope) against aspect
        with the cosine that the correction makes.

    Raises
    ------
    NoOverlap
        When the two do not overlap.
    """
    found = differences(fit, target, reference, where, band=band, ref_band=ref_band)
    figure = new_figure(float(np.clip(8 * aspect_ratio(found.grid) + 2, 9, 12.5)), 9.4)
    grid = figure.add_gridspec(2, 2, height_ratios=[1.35, 1])
    for i, which in enumerate(("before", "after")):
        draw_difference(figure, figure.add_subplot(grid[0, i]), found, which)
    draw_heights(figure.add_subplot(grid[1, 0]), found)
    draw_aspect(figure.add_subplot(grid[1, 1]), found, fit)
    shift = "" if fit.shift_or_none is None else f"\n{'mean correction' if fit.is_field else 'correction'} {fit.shift}"
    figure.suptitle(f"Reference minus target, before and after{shift}", fontsize=13)
    return figure


def aspect_ratio(grid: GeoBox) -> float:
    """Width of a map of a grid over its height on the ground, limited to what can be drawn."""
    corners = outline(grid)
    across, up = np.ptp(corners, axis=0)
    along_x, along_y = _metres_per_unit(grid.crs, float(corners[:, 1].mean())) if grid.crs is not None else (1.0, 1.0)
    return float(np.clip(across * along_x / (up * along_y), 0.5, 2.2))


def _frame(axes: Any, corners: Floats, crs: str | None) -> None:
    """Frame a grid, with a small margin along each axis."""
    axes.plot(*corners.T, color="black", lw=0.8)
    set_aspect(axes, corners, crs)
    low, high = corners.min(axis=0), corners.max(axis=0)
    margin = _MARGIN * (high - low)
    axes.set(xlim=(low[0] - margin[0], high[0] + margin[0]), ylim=(low[1] - margin[1], high[1] + margin[1]))
    plain_ticks(axes)
    name_axes(axes, crs)


def scale_of(found: Differences) -> float:
    """Choose the end of the colour scale that both maps share, in units of the heights."""
    values = np.abs(found.before[found.used])
    top = float(np.percentile(values, 95)) if values.size else 1.0
    return nice(max(top, 3 * found.stats("after").nmad, 1e-6)) if math.isfinite(top) else 1.0


def draw_difference(figure: Any, axes: Any, found: Differences, which: str) -> None:
    """Draw a map of differences; terrain that is not stable is pale, voids are grey."""
    top, step = scale_of(found), -(-max(found.before.shape) // _SIDE)
    values, used = (array[::step, ::step] for array in (getattr(found, which), found.used))
    colours = require("matplotlib", extra="plot").colormaps["RdBu"]
    rgba = colours(np.nan_to_num(values / top, nan=0.0) / 2 + 0.5)
    rgba[..., 3] = np.where(np.isfinite(values), np.where(used, 1.0, 0.35), 0.0)
    affine, (rows, cols) = found.grid.affine, found.grid.shape
    transforms = require("matplotlib.transforms", extra="plot")
    axes.set_facecolor("0.8")
    image = axes.imshow(rgba, extent=(0, cols, rows, 0), interpolation="antialiased")
    turn = transforms.Affine2D.from_values(affine.a, affine.d, affine.b, affine.e, affine.c, affine.f)
    image.set_transform(turn + axes.transData)
    _frame(axes, outline(found.grid), str(found.grid.crs))
    stats = found.stats(which)
    axes.set_title(f"{which.capitalize()}: median {stats.median:+.2f}, NMAD {stats.nmad:.2f} m", fontsize=11)
    scale = require("matplotlib.cm", extra="plot").ScalarMappable(cmap=colours)
    scale.set_clim(-top, top)
    figure.colorbar(scale, ax=axes, shrink=0.8, extend="both", label="reference minus target, m")


def draw_heights(axes: Any, found: Differences) -> None:
    """Draw the distributions of the differences before and after, on stable terrain."""
    top = 1.25 * scale_of(found)
    bins = np.linspace(-top, top, 121)
    for which, colour in (("before", _BEFORE), ("after", _AFTER)):
        values, stats = getattr(found, which)[found.used], found.stats(which)
        beyond = np.mean(np.abs(values) > top) if values.size else 0.0
        numbers = f"median {stats.median:+.2f}, NMAD {stats.nmad:.2f}, LE90 {stats.le90:.2f} m"
        label = f"{which}: {numbers}; {beyond:.1%} beyond"
        axes.hist(values, bins, histtype="stepfilled", color=colour, alpha=0.3)
        axes.hist(values, bins, histtype="step", color=colour, lw=1.4, label=label)
        axes.axvline(stats.median, color=colour, lw=1, ls="--")
    axes.axvline(0, color="black", lw=0.8)
    axes.set_title(f"Differences on {found.stats('after').n:,} pixels".replace(",", " "), fontsize=11)
    axes.set_xlabel("reference minus target, m", fontsize=9)
    axes.set_ylabel("pixels")
    legend_below(axes)
    axes.spines[["top", "right"]].set_visible(False)


def draw_aspect(axes: Any, found: Differences, fit: Coregistration) -> None:
    """Draw dh / tan(slope) against aspect: a horizontal shift makes a cosine of it (Nuth & Kääb 2011)."""
    counts = found.used & (found.slope > _STEEP)
    axes.set_title("dh / tan(slope) against aspect", fontsize=11)
    axes.set_xlabel("aspect of the reference (downslope), degrees clockwise from North", fontsize=9)
    axes.set(ylabel="dh / tan(slope), m", xlim=(0, 360), xticks=np.arange(0, 361, 45))
    if np.count_nonzero(counts) < _FEWEST:
        axes.text(0.5, 0.5, "no slopes of 5 degrees and more", ha="center", va="center", transform=axes.transAxes)
        return
    east, north = _ground_shift(fit)
    middle = 0.0
    for which, colour in (("before", _BEFORE), ("after", _AFTER)):
        values = getattr(found, which)[counts] / found.slope[counts]
        centre, quarters = _binned(found.aspect[counts], values)
        axes.fill_between(centre, quarters[0], quarters[2], color=colour, alpha=0.18, lw=0)
        axes.plot(centre, quarters[1], "o", ms=4, color=colour, label=f"{which}: median and middle half")
        if which == "before":
            middle = float(np.nanmedian(quarters[1] - _cosine(centre, east, north)))
    angle = np.linspace(0, 360, 361)
    curve = _cosine(angle, east, north) + middle
    direction = math.degrees(math.atan2(east, north)) % 360
    label = f"effect of a shift of {math.hypot(east, north):.2f} m towards {direction:.0f}°"
    axes.plot(angle, curve, color="black", lw=1.4, label=label)
    axes.axhline(0, color="black", lw=0.6)
    legend_below(axes)
    axes.spines[["top", "right"]].set_visible(False)


def _cosine(aspect: Floats, east: float, north: float) -> Floats:
    """Effect of a shift on dh / tan(slope), aspect in degrees."""
    out: Floats = east * np.sin(np.radians(aspect)) + north * np.cos(np.radians(aspect))
    return out


def _binned(aspect: Floats, values: Floats) -> tuple[Floats, Floats]:
    """Middles of bins of aspect, and quartiles (3, bins) of the values in each; NaN where there are few."""
    edges = np.linspace(0, 360, _BINS + 1)
    order = np.argsort(aspect, kind="stable")
    parts = np.split(values[order], np.searchsorted(aspect[order], edges[1:-1]))
    few = [np.nan] * 3
    quarters = [np.percentile(part, [25, 50, 75]) if part.size >= _FEWEST else few for part in parts]
    return (edges[1:] + edges[:-1]) / 2, np.array(quarters).T


def _ground_shift(fit: Coregistration) -> tuple[float, float]:
    """Mean shift to the East and to the North, metres."""
    if fit.shift_or_none is None:
        return 0.0, 0.0
    _, y = georef.pixel_to_map(fit.transform, fit.shape[1] / 2, fit.shape[0] / 2)
    along_x, along_y = _metres_per_unit(fit.crs_wkt, float(y)) if fit.crs_wkt else (1.0, 1.0)
    return fit.shift.dx * along_x, fit.shift.dy * along_y


def has_blocks(fit: Coregistration) -> bool:
    """Whether a fit has corrections of several blocks."""
    return len(fit.points) > 1 and bool(fit.points.ok.any()) and bool((fit.points.size > 0).all())


def plot_blocks(fit: Coregistration) -> Any:
    """Show dx, dy and dz of every block.

    Parameters
    ----------
    fit : Coregistration
        Of `match_local`.

    Returns
    -------
    matplotlib.figure.Figure
        A map each; blocks that were refused are crossed out.

    Raises
    ------
    OptionError
        When there are no blocks.
    """
    if not has_blocks(fit):
        raise OptionError("the fit has no blocks: match with match_local(..., spacing=, window=)")
    wide = aspect_ratio(fit.grid)
    side = 2.9 / max(wide, 1)  # inches: a page is wide enough for three maps with their scales below them
    figure = new_figure(3 * (side * wide + 0.2) + 0.9, side + 2.0)
    first = None
    for i, name in enumerate(_TITLES):
        axes = figure.add_subplot(1, 3, i + 1, sharey=first)
        draw_block(figure, axes, fit, name, "horizontal")
        axes.set_ylabel("" if first else axes.get_ylabel())
        axes.tick_params(labelleft=first is None)
        axes.xaxis.get_major_locator().set_params(nbins=3)
        first = first or axes
    return figure


def draw_block(figure: Any, axes: Any, fit: Coregistration, name: str, colorbar: str = "vertical") -> None:
    """Draw one component of the corrections, block by block."""
    collections = require("matplotlib.collections", extra="plot")
    values, unit, good = _in_unit(fit, name)
    squares = _squares(fit)
    shown = values[good & np.isfinite(values)]
    scale = SignedScale.of(shown)
    style: dict[str, Any] = {"cmap": scale.style["cmap"], "edgecolors": "none"}
    mesh = collections.PolyCollection(list(squares[good]), array=values[good] - scale.middle, **style)
    mesh.set_clim(-scale.top, scale.top)
    axes.add_collection(mesh)
    if (~good).any():
        style = {"facecolors": "0.9", "edgecolors": "0.55", "hatch": "xx", "lw": 0.3}
        axes.add_collection(collections.PolyCollection(list(squares[~good]), **style))
    frame = outline(fit.grid)
    _frame(axes, frame, fit.crs_wkt)
    edge = require("matplotlib.patches", extra="plot").Polygon(frame, transform=axes.transData)
    for one in axes.collections:
        one.set_clip_path(edge)
    numbers = f"median {np.median(shown):+.3g}, NMAD {nmad(shown):.2g}{unit}" if shown.size else "none trusted"
    axes.set_title(f"{_TITLES[name]}\n{numbers}", fontsize=11)
    style = {"orientation": colorbar, "shrink": 0.75, "extend": "both"}
    figure.colorbar(mesh, ax=axes, label=f"{name}{scale.text},{unit}", **style)


def _in_unit(fit: Coregistration, name: str) -> tuple[Floats, str, Bools]:
    """Values of the blocks, their unit as it follows a number, and which are trusted."""
    values, good = np.asarray(getattr(fit.points, name)), fit.points.ok
    if name == "dz":
        return values, f" {fit.details.unit_z or 'm'}", good
    unit = crs_unit(fit.crs_wkt)
    return (values * 3600, "″", good) if unit == "°" else (values, unit, good)


def _squares(fit: Coregistration) -> Floats:
    """Corners (n, 4, 2) of the blocks; of overlapping ones each gets its share."""
    points, spacing = fit.points, fit.details.spacing
    side = points.size.astype(np.float64)
    return squares_of(points, side if spacing is None else np.minimum(side, spacing), fit.transform)


_DIFFERENCE_SIDE = 1500  # px: larger overlaps are compared on a coarser grid
_LARGE, _CHUNK = 1 << 24, 2048  # px of an image that is read part by part, and sides of a part


@dataclass(frozen=True)
class HeightStats:
    """Statistics of n elevation differences, m; LE90: 90 % of them are smaller, whatever their sign."""

    n: int
    median: float
    nmad: float
    le90: float
    rmse: float

    @classmethod
    def of(cls, values: Floats) -> HeightStats:
        """Statistics of the finite values; NaN where there are none."""
        known = values[np.isfinite(values)]
        if not known.size:
            return cls(0, *[math.nan] * 4)
        le90, rmse = np.percentile(np.abs(known), 90), np.sqrt(np.mean(known**2))
        return cls(int(known.size), float(np.median(known)), nmad(known), float(le90), float(rmse))


@dataclass(frozen=True, eq=False)
class Differences:
    """Reference minus target, pixel by pixel, on the grid of the target, cut to the overlap, coarser where it is large.

    before, after : (rows, cols) float64; heights, m where their unit is known; NaN unless both are known.
    used : (rows, cols) bool; stable terrain: both heights are known, and the user's mask is true.
    slope, aspect : (rows, cols) float64; tangent of the slope of the reference, and downslope, degrees from North.
    coarser : Pixels of the target per pixel of the grid, along each axis.
    """

    grid: GeoBox
    before: Floats
    after: Floats
    used: Bools
    slope: Floats
    aspect: Floats
    coarser: int = 1

    def stats(self, which: str, *, used: bool = True) -> HeightStats:
        """Statistics of the differences "before" or "after" on stable terrain, or on the rest."""
        return HeightStats.of(getattr(self, which)[self.used == used])


def differences(
    fit: Coregistration, target: Any, reference: Any, where: Any = None, *, band: Any = None, ref_band: Any = None
) -> Differences:
    """Compute elevation differences before and after a correction."""
    tgt, ref = make_raster(target, band=band, name="target"), make_raster(reference, band=ref_band, name="reference")
    grid, coarser = _common_grid(tgt, ref)
    units = [height_unit(one.data, georef.as_crs(one.grid.crs)) for one in (tgt, ref)]
    common_unit(units[0], units[1])  # or they cannot be compared
    heights = _read(ref, _zero_fit(ref), grid)
    before, after = heights - _read(tgt, _zero_fit(tgt), grid), heights - _read(tgt, fit, grid)
    known = np.isfinite(before) & np.isfinite(after)
    before[~known], after[~known] = np.nan, np.nan
    slope, aspect = _terrain(heights, grid)
    mask = as_mask(where, grid.crs, grid=tgt.grid)
    if mask is not None:
        row, col = np.mgrid[: grid.shape[0], : grid.shape[1]]
        known = known & mask(*georef.pixel_to_map(grid.affine, col, row))
    return Differences(grid, before, after, known, slope, aspect, coarser)


def _common_grid(tgt: Raster, ref: Raster) -> tuple[GeoBox, int]:
    """Cut the grid of the target to the reference, and make it coarser where it is large."""
    corners = georef.transform_points(ref.grid.crs, tgt.grid.crs, *outline(ref.grid).T)
    col, row = georef.map_to_pixel(tgt.grid.affine, *corners)
    spans = []
    for position, size in ((row, tgt.shape[0]), (col, tgt.shape[1])):
        start, stop = max(math.floor(position.min()), 0), min(math.ceil(position.max()) + 1, size)
        if stop <= start:
            raise NoOverlap("the two elevation models do not overlap: check their CRSs and transforms (.coreg.grid)")
        spans.append((start, stop))
    longest = max(stop - start for start, stop in spans)
    step = -(-longest // _DIFFERENCE_SIDE)
    affine = georef.resized(tgt.grid.affine, (step, step), (spans[1][0], spans[0][0]))
    rows, cols = (max((stop - start) // step, 1) for start, stop in spans)
    return GeoBox((rows, cols), affine, tgt.grid.crs), step


def _zero_fit(raster: Raster) -> Coregistration:
    """Fit without a correction: it brings an image onto another grid with the interpolation of `apply`."""
    nothing = TiePoints(*([[]] * 9))  # type: ignore[arg-type]
    grid = tuple(raster.grid.affine)[:6], raster.shape
    wkt = georef.as_crs(raster.grid.crs).to_wkt()
    return Coregistration(Translation(0.0, 0.0), nothing, Quality(), Status.OK, None, wkt, *grid)


def _read(raster: Raster, fit: Coregistration, grid: GeoBox) -> Floats:
    data = raster.data
    if not raster.is_chunked and data.size > _LARGE:
        data = data.chunk(dict.fromkeys(data.dims, _CHUNK))  # read part by part
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CoregWarning)
        data = data.astype(raster.work_dtype, keep_attrs=True)
        image = apply(data, fit, like=grid, nodata=raster.nodata, vertical=fit.has_dz)
    made = make_raster(image, nodata=np.nan if raster.nodata is None else raster.nodata, name=raster.name)
    values, valid = made.read(0, grid.shape[0], 0, grid.shape[1])
    (gain, offset), unit = height_scaling(raster.data), height_unit(raster.data, georef.as_crs(raster.grid.crs))
    return (np.where(valid, values, np.nan).astype(np.float64) * gain + offset) * (unit.metres or 1.0)


def _metres_per_unit(crs: Any, y: float) -> tuple[float, float]:
    """Length on the ground of one unit of x and of y; y where, CRS units."""
    size = metres_per_pixel(crs, (1.0, 0.0, 0.0, 1.0), y)
    return float(size[0, 0]), float(size[1, 1])


def _terrain(heights: Floats, grid: GeoBox) -> tuple[Floats, Floats]:
    """Tangent of the slope, and its direction."""
    if min(heights.shape) < 2:
        return np.full(heights.shape, np.nan), np.full(heights.shape, np.nan)
    by_row, by_col = np.gradient(heights)
    a, b, d, e = georef.linear_of(grid.affine)
    det = a * e - b * d
    x, y = grid.extent.boundingbox.left, (grid.extent.boundingbox.bottom + grid.extent.boundingbox.top) / 2
    size = _metres_per_unit(grid.crs, y if math.isfinite(x) else 0.0)
    # A gradient transforms by the inverse transpose of the affine.
    east, north = (e * by_col - d * by_row) / det / size[0], (a * by_row - b * by_col) / det / size[1]
    return np.hypot(east, north), np.degrees(np.arctan2(-east, -north)) % 360.0
