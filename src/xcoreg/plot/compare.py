"""Before and after, side by side on one cut-out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from xcoreg import georef
from xcoreg.errors import NoOverlap
from xcoreg.plot.style import checkerboard, contrast, new_figure, plain_ticks, red_cyan, stretch
from xcoreg.plot.view import View, render, strongest_place
from xcoreg.raster.raster import make_raster
from xcoreg.results.shift import Shift

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xcoreg.plot.view import Shown
    from xcoreg.results.coregistration import Coregistration

__all__ = ["plot_before_after"]

_SMALLEST, _LARGEST = 64, 160  # side of the cut-out, target px


def plot_before_after(
    ref: Any,
    tgt: Any,
    fixed: Any,
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
    ref, tgt, fixed : DataArray or Dataset
        Reference, target before and target after, each on any grid and in any CRS. Only the cut-out and a few small
        windows are read.
    fit : Coregistration, optional
        Gives the shift told in the title; without it, it is taken from the transforms of `tgt` and `fixed` where
        these have the same pixels.
    at : (x, y), optional
        Centre of the cut-out, CRS of `fixed`.
    size : int, optional
        Side of the cut-out, px of `fixed`; default: small enough that the shift is seen.
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
    MissingDependency
        When matplotlib is not installed.
    """
    one = make_raster(ref, band=ref_band, name="reference")
    two, three = (make_raster(image, band=band, name=name) for image, name in ((tgt, "target"), (fixed, "corrected")))
    shift = _shift_of(two, three, fit)
    pixels = math.hypot(shift.dcol, shift.drow) if shift else 2.0
    side = size or int(np.clip(40 * pixels, _SMALLEST, _LARGEST))
    width = side * max(georef.gsd(three.grid.affine))
    x, y = at or strongest_place(one, three, width)
    view = View(three.grid.crs, x, y, width)
    return _draw(view, [render(raster, [view])[0] for raster in (one, two, three)], shift)


def _shift_of(tgt: Any, fixed: Any, fit: Coregistration | None) -> Shift | None:
    """Take the shift from the fit, or from the transforms where only these were moved."""
    if fit is not None:
        return fit.shift
    before, after = tuple(tgt.grid.affine)[:6], tuple(fixed.grid.affine)[:6]
    linear = georef.linear_of(before)
    same_pixels = tgt.grid.shape == fixed.grid.shape and linear == georef.linear_of(after)
    if not same_pixels or not georef.same_crs(tgt.grid.crs, fixed.grid.crs):
        return None
    unit = georef.as_crs(tgt.grid.crs).axis_info[0].unit_name
    return Shift(after[2] - before[2], after[5] - before[5], linear=linear, unit=unit)


def _draw(view: View, shown: list[Shown], shift: Shift | None) -> Any:
    ref, tgt, fixed = shown
    if not (ref[1] & tgt[1] & fixed[1]).any():
        raise NoOverlap(
            f"the images share no valid pixel around ({view.x:.10g}, {view.y:.10g}): give another at=(x, y)"
        )
    figure = new_figure(13.5, 9.2)
    axes = figure.subplots(2, 3, sharex=True, sharey=True)
    grey = stretch(*ref, *contrast([ref]))
    tone = contrast([tgt, fixed])
    for row, (name, image) in zip(axes, (("before", tgt), ("after", fixed)), strict=True):
        other, both = stretch(*image, *tone), ref[1] & image[1]
        row[0].imshow(red_cyan(grey, other), extent=view.extent)
        row[1].imshow(checkerboard(grey, other), extent=view.extent)
        difference = np.where(both, other - grey, np.nan)
        row[2].imshow(difference, extent=view.extent, cmap="RdBu_r", vmin=-0.6, vmax=0.6)
        row[0].set_ylabel(name.upper(), fontsize=15, fontweight="bold")
        row[2].set_title(_agreement(grey[both], other[both]), fontsize=11)
    axes[0, 0].set_title("red: reference, cyan: target, grey: they agree", fontsize=11)
    axes[0, 1].set_title("checkerboard: reference / target (tinted)", fontsize=11)
    for one in axes.flat:
        plain_ticks(one)
    figure.suptitle(f"Before and after the correction {shift or ''}", fontsize=14)
    return figure


def _agreement(ref: NDArray[Any], tgt: NDArray[Any]) -> str:
    if ref.size < 2 or ref.std() == 0 or tgt.std() == 0:
        return "difference"
    rms, r = float(np.sqrt(np.mean((tgt - ref) ** 2))), float(np.corrcoef(ref, tgt)[0, 1])
    return f"difference: RMS {rms:.3f}, correlation {r:.3f}"
