"""Target against reference, before and after a correction: side by side, as a flicker, and as a matcher sees them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter

from xcoreg import georef
from xcoreg.core import Array, Bools, Floats
from xcoreg.core.sampling import sample
from xcoreg.errors import NoOverlap, OptionError, require
from xcoreg.files import check_inputs, replacing
from xcoreg.plot.style import checkerboard, contrast, new_figure, plain_ticks, red_cyan, stretch
from xcoreg.raster.raster import Raster, make_raster
from xcoreg.results.coregistration import Coregistration
from xcoreg.results.html import outline
from xcoreg.results.shift import Shift

#: Values and valid pixels of a cut-out.
Shown = tuple[Array, Bools]
_SIDE = 480  # display pixels
_SMOOTH = 2.0  # px of the target
_PLACES = 9  # places tried along each axis to find strong structure


@dataclass(frozen=True)
class View:
    """A square of the map, North up, in any CRS: centre, width in CRS units, and display pixels along a side."""

    crs: Any
    x: float
    y: float
    width: float
    side: int = _SIDE

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Left, right, bottom, top: what matplotlib's imshow takes."""
        half = self.width / 2
        return self.x - half, self.x + half, self.y - half, self.y + half

    def mesh(self) -> tuple[Floats, Floats]:
        """Map coordinates of the display pixels' centres, y falling with the rows."""
        steps = ((np.arange(self.side) + 0.5) / self.side - 0.5) * self.width
        x, y = np.meshgrid(self.x + steps, self.y - steps)
        return x, y


def render(raster: Any, views: Sequence[View], kernel: str = "cubic") -> list[Shown]:
    """Show parts of an image on display grids; reads only those parts, all of them at once."""
    places = [_place(raster.grid, view) for view in views]
    boxes = [_box(rows, cols, halo, raster.grid.shape) for rows, cols, halo in places]
    parts = zip(places, boxes, raster.read_many(boxes), strict=True)
    return [
        sample(read[0], read[1], rows - box[0], cols - box[2], kernel, scale=(halo / 4, halo / 4))
        for (rows, cols, halo), box, read in parts
    ]


def _place(grid: Any, view: View) -> tuple[Floats, Floats, int]:
    """Rows and columns of the display pixels in an image, and how far around them to read."""
    x, y = georef.transform_points(view.crs, grid.crs, *view.mesh())
    cols, rows = georef.map_to_pixel(grid.affine, x, y)
    known = np.isfinite(rows) & np.isfinite(cols)
    rows, cols = np.where(known, rows, -1e9), np.where(known, cols, -1e9)
    span = max((float(np.ptp(axis[known])) for axis in (rows, cols)), default=0.0) if known.any() else 0.0
    return rows, cols, 4 * max(1, math.ceil(span / view.side))


def _box(rows: Floats, cols: Floats, halo: int, shape: tuple[int, int]) -> tuple[int, int, int, int]:
    (row0, row1), (col0, col1) = (
        (max(math.floor(at.min()) - halo, 0), min(math.ceil(at.max()) + halo + 1, length))
        for at, length in zip((rows, cols), shape, strict=True)
    )
    # Where nothing lies inside, one pixel is read: an empty window cannot be interpolated.
    return (row0, row1, col0, col1) if row0 < row1 and col0 < col1 else (0, 1, 0, 1)


def strongest_place(tgt: Any, ref: Any, width: float) -> tuple[float, float]:
    """Find a place where both images hold strong and common structure."""
    left, right, bottom, top = _common_bounds(tgt, ref)
    xs, ys = _places(left, right, width), _places(bottom, top, width)
    side = int(np.clip(width / max(georef.gsd(tgt.grid.affine)), 16, 96))
    views = [View(tgt.grid.crs, x, y, width, side) for x in xs for y in ys]
    pairs = zip(render(tgt, views, "bilinear"), render(ref, views, "bilinear"), strict=True)
    scores = [common_structure(*one, *other) for one, other in pairs]
    if max(scores) <= 0:
        return (left + right) / 2, (bottom + top) / 2
    best = views[int(np.argmax(scores))]
    return best.x, best.y


def _places(low: float, high: float, width: float) -> Floats:
    if high - low <= width:
        return np.array([(low + high) / 2])
    return np.linspace(low + width / 2, high - width / 2, _PLACES)


def _common_bounds(tgt: Any, ref: Any) -> tuple[float, float, float, float]:
    mine, other = outline(tgt.grid), outline(ref.grid)
    x, y = georef.transform_points(ref.grid.crs, tgt.grid.crs, other[:, 0], other[:, 1])
    left, right = max(mine[:, 0].min(), x.min()), min(mine[:, 0].max(), x.max())
    bottom, top = max(mine[:, 1].min(), y.min()), min(mine[:, 1].max(), y.max())
    return left, right, bottom, top


def common_structure(tgt: Array, tgt_valid: Bools, ref: Array, ref_valid: Bools) -> float:
    """Strength of the edges both images show, 0 to 1, each image in its own contrast."""
    if (ref_valid & tgt_valid).mean() < 0.98:
        return 0.0
    shown = [(image, valid) for image, valid in ((ref, ref_valid), (tgt, tgt_valid))]
    # With the contrast of the display, for structure it hides cannot be seen; smoothed, for lines and outlines show a
    # shift better than the texture of a forest.
    greys = [gaussian_filter(stretch(*one, *contrast([one])), _SMOOTH) for one in shown]
    edges = [np.asarray(np.gradient(grey)) for grey in greys]
    # Edges in common, as a geometric mean of strengths: what one image alone shows (clouds, crops) adds nothing.
    shared, own = float(np.sum(edges[0] * edges[1])), math.sqrt(float(np.prod([np.sum(edge**2) for edge in edges])))
    return max(shared, 0.0) ** 2 / own / ref.size if own > 0 else 0.0


_SMALLEST, _LARGEST = 64, 160  # side of the cut-out, target px


def plot_before_after(
    target: Any,
    reference: Any,
    corrected: Any,
    *,
    fit: Coregistration | None = None,
    at: tuple[float, float] | None = None,
    size: int | None = None,
    band: Any = None,
    ref_band: Any = None,
) -> Any:
    """Show what a correction changed, on a cut-out where both images hold strong structure.

    Parameters
    ----------
    target, reference, corrected : DataArray or Dataset
        Target before the correction, reference, and target after it, each on any grid and in any CRS. Only the cut-out
        and a few small windows are read.
    fit : Coregistration, optional
        Gives the shift in the title; without it, the shift is taken from the transforms of `target` and `corrected`
        where these have the same pixels.
    at : (x, y), optional
        Centre of the cut-out, CRS of `corrected`.
    size : int, optional
        Side of the cut-out, px of `corrected`; default: small enough that the shift is seen.
    band, ref_band : optional
        Band to show, as in `match`.

    Returns
    -------
    matplotlib.figure.Figure
        Rows before and after; columns red/cyan composite, checkerboard and difference. The target has one contrast
        stretch (2 to 98 percent) for before and after, the reference its own.

    Raises
    ------
    NoOverlap
        When the images have no valid pixel in common there.
    """
    tgt, ref, fixed = _rasters(target, reference, corrected, band, ref_band)
    shift = _shift_of(tgt, fixed, fit)
    pixels = math.hypot(shift.dcol, shift.drow) if shift else 2.0
    side = size or int(np.clip(40 * pixels, _SMALLEST, _LARGEST))
    view, shown = _cut_out(tgt, ref, fixed, at, side)
    return _draw(view, shown, shift)


def _rasters(target: Any, reference: Any, corrected: Any, band: Any, ref_band: Any) -> tuple[Raster, Raster, Raster]:
    tgt = make_raster(target, band=band, name="target")
    ref = make_raster(reference, band=ref_band, name="reference")
    return tgt, ref, make_raster(corrected, band=band, name="corrected")


def _cut_out(
    tgt: Raster, ref: Raster, fixed: Raster, at: tuple[float, float] | None, side: int
) -> tuple[View, tuple[Shown, Shown, Shown]]:
    """Choose the place to show, and cut it out of target, reference and corrected target."""
    width = side * max(georef.gsd(fixed.grid.affine))
    x, y = at or strongest_place(fixed, ref, width)
    view = View(fixed.grid.crs, x, y, width)
    before, like, after = (render(raster, [view])[0] for raster in (tgt, ref, fixed))
    if not (like[1] & before[1] & after[1]).any():
        raise NoOverlap(f"the images share no valid pixel around ({x:.10g}, {y:.10g}): give another at=(x, y)")
    return view, (before, like, after)


def _shift_of(tgt: Any, fixed: Any, fit: Coregistration | None) -> Shift | None:
    """Take the shift from the fit, or from the transforms where only these were moved."""
    if fit is not None:
        return fit.shift_or_none
    before, after = tuple(tgt.grid.affine)[:6], tuple(fixed.grid.affine)[:6]
    linear = georef.linear_of(before)
    same_pixels = tgt.grid.shape == fixed.grid.shape and linear == georef.linear_of(after)
    if not same_pixels or not georef.same_crs(tgt.grid.crs, fixed.grid.crs):
        return None
    unit = georef.as_crs(tgt.grid.crs).axis_info[0].unit_name
    return Shift(after[2] - before[2], after[5] - before[5], linear=linear, unit=unit)


def _draw(view: View, shown: tuple[Shown, Shown, Shown], shift: Shift | None) -> Any:
    tgt, ref, fixed = shown
    figure = new_figure(11.5, 8.4)
    axes = figure.subplots(2, 3, sharex=True, sharey=True)
    grey = stretch(*ref, *contrast([ref]))
    tone = contrast([tgt, fixed])
    for row, (name, image) in zip(axes, (("before", tgt), ("after", fixed)), strict=True):
        other, both = stretch(*image, *tone), ref[1] & image[1]
        row[0].imshow(red_cyan(other, grey), extent=view.extent)
        row[1].imshow(checkerboard(other, grey), extent=view.extent)
        difference = np.where(both, other - grey, np.nan)
        row[2].imshow(difference, extent=view.extent, cmap="RdBu_r", vmin=-0.6, vmax=0.6)
        row[0].set_ylabel(name.upper(), fontsize=15, fontweight="bold")
        row[2].set_title(_agreement(other[both], grey[both]), fontsize=11)
    axes[0, 0].set_title("red: reference, cyan: target, grey: they agree", fontsize=11)
    axes[0, 1].set_title("checkerboard: reference / target (tinted)", fontsize=11)
    for one in axes.flat:
        plain_ticks(one)
    figure.suptitle("Before and after the correction" + (f"\n{shift}" if shift else ""), fontsize=12)
    return figure


def _agreement(tgt: Array, ref: Array) -> str:
    if ref.size < 2 or ref.std() == 0 or tgt.std() == 0:
        return "difference"
    rms, r = float(np.sqrt(np.mean((tgt - ref) ** 2))), float(np.corrcoef(ref, tgt)[0, 1])
    return f"difference: RMS {rms:.3f}, correlation {r:.3f}"


_SIZE = 96  # side of a cut-out, target px


@dataclass(frozen=True)
class Greys:
    """Three images of one place, grey values 0 to 1, and their correlations with the reference, NaN where none."""

    before: Floats
    ref: Floats
    after: Floats
    r_before: float
    r_after: float


def greys_of(before: Shown, ref: Shown, after: Shown) -> Greys:
    """Stretch three cut-outs to the contrast in which they are shown."""
    both, tone = ref[1] & before[1] & after[1], contrast([before, after])
    grey = stretch(*before, *tone), stretch(*ref, *contrast([ref])), stretch(*after, *tone)
    return Greys(*grey, *(_correlation(grey[1][both], grey[at][both]) for at in (0, 2)))


def _correlation(one: Floats, two: Floats) -> float:
    if one.size < 9 or one.std() == 0 or two.std() == 0:
        return float("nan")
    return float(np.corrcoef(one, two)[0, 1])


def save_flicker(
    path: str | Path,
    target: Any,
    reference: Any,
    corrected: Any,
    *,
    at: tuple[float, float] | None = None,
    size: int = _SIZE,
    band: Any = None,
    ref_band: Any = None,
) -> None:
    """Write an animated GIF that switches between reference and target, before and after the correction side by side.

    Parameters
    ----------
    path : str or Path
        `.gif`.
    target, reference, corrected, at, size, band, ref_band
        As for :func:`plot_before_after`.

    Raises
    ------
    OptionError
        When the path is no `.gif` or cannot be written.
    NoOverlap
        When the images have no valid pixel in common there.
    """
    if not str(path).lower().endswith(".gif"):
        raise OptionError(f"a flicker is an animated GIF, not {path}: give a path that ends in .gif")
    check_inputs(Path(path), (target, reference, corrected))
    view, shown = _cut_out(*_rasters(target, reference, corrected, band, ref_band), at, size)
    _animate(path, greys_of(*shown), view)


def _animate(path: str | Path, greys: Greys, view: View) -> None:
    figure = new_figure(10.4, 5.6)
    axes = figure.subplots(1, 2, sharex=True, sharey=True)
    images = []
    for one, name, r in zip(axes, ("before", "after"), (greys.r_before, greys.r_after), strict=True):
        style = {"cmap": "gray", "vmin": 0, "vmax": 1, "interpolation": "nearest"}
        images.append(one.imshow(greys.ref, extent=view.extent, **style))
        one.set_title(f"{name}: correlation {r:.3f}", fontsize=13)
        plain_ticks(one)
    writer = require("matplotlib.animation", extra="plot").PillowWriter(fps=2)
    with replacing(path) as temporary, writer.saving(figure, str(temporary), dpi=80):
        for name, pair in (("reference", (greys.ref, greys.ref)), ("TARGET", (greys.before, greys.after))):
            for image, values in zip(images, pair, strict=True):
                image.set_data(values)
            figure.suptitle(name, fontsize=14)
            writer.grab_frame()


_CLOSE = 8  # half side of the close-up, px


def plot_windows(
    target: tuple[Array, Bools], reference: tuple[Array, Bools], corrected: tuple[Array, Bools], *, title: str = ""
) -> Any:
    """Show the windows that were matched, on the matching grid.

    Above the three windows, below the red/cyan composites before and after, and their difference after.

    Parameters
    ----------
    target, reference, corrected : (values, valid)
        Each (rows, cols): the target before the correction, the reference, and the target after it. Pixels that are not
        valid are shown mid-grey.
    title : str
        For the figure.

    Examples
    --------
    >>> window = np.eye(16), np.ones((16, 16), bool)
    >>> len(plot_windows(window, window, window).axes)
    6
    """
    figure = new_figure(12.5, 8.6)
    axes = figure.subplots(2, 3, sharex=True, sharey=True)
    tone = contrast([target, corrected])
    like = stretch(*reference, *contrast([reference]))
    greys = [like, stretch(*target, *tone), stretch(*corrected, *tone)]
    for one, grey, name in zip(axes[0], greys, ("reference", "target before", "target after"), strict=True):
        one.imshow(grey, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        one.set_title(name)
    for one, grey, name in zip(axes[1], greys[1:], ("before", "after"), strict=False):
        one.imshow(red_cyan(grey, like), interpolation="nearest")
        one.set_title(f"{name}: red reference, cyan target")
    difference = np.where(reference[1] & corrected[1], greys[2] - like, np.nan)
    axes[1, 2].imshow(difference, cmap="RdBu_r", vmin=-0.6, vmax=0.6, interpolation="nearest")
    axes[1, 2].set_title("after: target minus reference")
    for one in axes[:, 0]:
        one.set_ylabel("row, matching px")
    for one in axes[1]:
        one.set_xlabel("column, matching px")
    figure.suptitle(title or "matched windows")
    return figure


def plot_surface(surface: Array, peak: tuple[float, float], *, title: str = "") -> Any:
    """Show a correlation surface with its peak: the surface, a close-up of the peak, and the two profiles through it.

    Parameters
    ----------
    surface : (rows, cols) float
        Correlation per shift, no shift in the middle, at `[rows // 2, cols // 2]`.
    peak : (dcol, drow)
        The answer, px of the matching grid.
    title : str
        For the figure.

    Examples
    --------
    >>> surface = np.zeros((32, 32))
    >>> surface[16 - 2, 16 + 3] = 1.0
    >>> plot_surface(surface, (3.2, -1.9)).axes[0].get_xlabel()
    'dcol, px (right)'
    """
    rows, cols = surface.shape
    row0, col0 = rows // 2, cols // 2
    extent = (-col0 - 0.5, cols - col0 - 0.5, rows - row0 - 0.5, -row0 - 0.5)
    figure = new_figure(14.5, 4.8)
    whole, close, profile = figure.subplots(1, 3)
    image = None
    for axes in (whole, close):
        image = axes.imshow(surface, extent=extent, cmap="viridis", interpolation="nearest")
        axes.axhline(0, color="white", lw=0.6, ls=":")
        axes.axvline(0, color="white", lw=0.6, ls=":")
        axes.set(xlabel="dcol, px (right)", ylabel="drow, px (down)")
    figure.colorbar(image, ax=close, shrink=0.8, label="correlation")
    whole.plot(*peak, "o", mfc="none", mec="red", ms=18, mew=1.8)
    whole.set_title("all shifts")
    close.plot(*peak, "+", color="red", ms=16, mew=1.8)
    close.set_xlim(round(peak[0]) - _CLOSE - 0.5, round(peak[0]) + _CLOSE + 0.5)
    close.set_ylim(round(peak[1]) + _CLOSE + 0.5, round(peak[1]) - _CLOSE - 0.5)
    close.set_title(f"peak at dcol={peak[0]:+.3f}, drow={peak[1]:+.3f} px")
    _draw_profiles(profile, surface, peak)
    figure.suptitle(title or "correlation surface")
    return figure


def _draw_profiles(axes: Any, surface: Array, peak: tuple[float, float]) -> None:
    rows, cols = surface.shape
    row = int(np.clip(round(peak[1]) + rows // 2, 0, rows - 1))
    col = int(np.clip(round(peak[0]) + cols // 2, 0, cols - 1))
    axes.plot(np.arange(cols) - cols // 2, surface[row], lw=1, label="through the peak, along columns")
    axes.plot(np.arange(rows) - rows // 2, surface[:, col], lw=1, label="through the peak, along rows")
    axes.axhline(float(np.std(surface)) * 3, color="0.6", lw=0.8, ls="--", label="3 standard deviations")
    axes.set(xlabel="shift, px", title="profiles")
    axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.14), frameon=False)
