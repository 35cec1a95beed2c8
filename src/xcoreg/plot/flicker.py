"""Before and after as a flicker: the eye sees a jump of a tenth of a pixel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xcoreg import georef
from xcoreg.errors import NoOverlap, OptionError, require
from xcoreg.files import replacing
from xcoreg.plot.style import contrast, new_figure, plain_ticks, stretch
from xcoreg.plot.view import View, render, strongest_place
from xcoreg.raster.raster import make_raster

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from xcoreg.plot.view import Shown

    Grey = NDArray[np.float64]

__all__ = ["Greys", "greys_of", "save_flicker"]

_SIZE = 96  # side of a cut-out, target px


@dataclass(frozen=True)
class Greys:
    """Three pictures of one place, grey values 0 to 1, and how alike they are.

    Parameters
    ----------
    ref, before, after : (side, side) float64
        The target has one contrast before and after.
    r_before, r_after : float
        Correlation with the reference; NaN where it has none.
    """

    ref: Grey
    before: Grey
    after: Grey
    r_before: float
    r_after: float


def greys_of(ref: Shown, before: Shown, after: Shown) -> Greys:
    """Give three cut-outs the contrast they are shown with.

    Parameters
    ----------
    ref, before, after : (values, valid)
        On one display grid.

    Returns
    -------
    Greys
    """
    both = ref[1] & before[1] & after[1]
    tone = contrast([before, after])
    grey = stretch(*ref, *contrast([ref])), stretch(*before, *tone), stretch(*after, *tone)
    return Greys(*grey, _correlation(grey[0][both], grey[1][both]), _correlation(grey[0][both], grey[2][both]))


def _correlation(one: Grey, two: Grey) -> float:
    if one.size < 9 or one.std() == 0 or two.std() == 0:
        return float("nan")
    return float(np.corrcoef(one, two)[0, 1])


def save_flicker(
    path: str | Path,
    ref: Any,
    tgt: Any,
    fixed: Any,
    *,
    at: tuple[float, float] | None = None,
    size: int = _SIZE,
    band: Any = None,
    ref_band: Any = None,
) -> None:
    """Write an animated GIF that flicks between reference and target, before and after the correction side by side.

    Parameters
    ----------
    path : str or Path
        `.gif`.
    ref, tgt, fixed : DataArray or Dataset
        Reference, target before and target after, each on any grid and in any CRS; only the cut-out is read.
    at : (x, y), optional
        Centre of the cut-out, CRS of `fixed`; default: where both images show strong common structure.
    size : int
        Side of the cut-out, px of `fixed`.
    band, ref_band : optional
        Band to show, as in `match`.

    Raises
    ------
    OptionError
        When the path is no `.gif` or cannot be written.
    NoOverlap
        When the images have no valid pixel in common there.
    MissingDependency
        When matplotlib is not installed.
    """
    if not str(path).lower().endswith(".gif"):
        raise OptionError(f"a flicker is an animated GIF, not {path}: give a path that ends in .gif")
    one = make_raster(ref, band=ref_band, name="reference")
    two, three = (make_raster(image, band=band, name=name) for image, name in ((tgt, "target"), (fixed, "corrected")))
    width = size * max(georef.gsd(three.grid.affine))
    x, y = at or strongest_place(one, three, width)
    view = View(three.grid.crs, x, y, width)
    shown = [render(raster, [view])[0] for raster in (one, two, three)]
    if not (shown[0][1] & shown[1][1] & shown[2][1]).any():
        raise NoOverlap(f"the images share no valid pixel around ({x:.10g}, {y:.10g}): give another at=(x, y)")
    _animate(path, greys_of(*shown), view)


def _animate(path: str | Path, greys: Greys, view: View) -> None:
    figure = new_figure(10.4, 5.6)
    axes = figure.subplots(1, 2, sharex=True, sharey=True)
    images = []
    for one, name, r in zip(axes, ("before", "after"), (greys.r_before, greys.r_after), strict=True):
        look = {"cmap": "gray", "vmin": 0, "vmax": 1, "interpolation": "nearest"}
        images.append(one.imshow(greys.ref, extent=view.extent, **look))
        one.set_title(f"{name}: correlation {r:.3f}", fontsize=13)
        plain_ticks(one)
    writer = require("matplotlib.animation", extra="plot").PillowWriter(fps=2)
    with replacing(path) as temporary, writer.saving(figure, str(temporary), dpi=80):
        for name, pair in (("reference", (greys.ref, greys.ref)), ("TARGET", (greys.before, greys.after))):
            for image, values in zip(images, pair, strict=True):
                image.set_data(values)
            figure.suptitle(name, fontsize=14)
            writer.grab_frame()
