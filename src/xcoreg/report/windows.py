"""Before and after in a few windows, the best and the worst, flickering against the reference."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox

from xcoreg import georef
from xcoreg.errors import CoregWarning, NoOverlap
from xcoreg.plot.flicker import greys_of
from xcoreg.plot.residuals import residuals_of
from xcoreg.plot.view import View, render
from xcoreg.raster.raster import make_raster
from xcoreg.report.html import escape
from xcoreg.report.pictures import image_source
from xcoreg.warp.apply import apply

if TYPE_CHECKING:
    from xcoreg.plot.flicker import Greys
    from xcoreg.plot.view import Shown
    from xcoreg.results.coregistration import Coregistration

__all__ = ["Chosen", "choose_windows", "flicker_html"]

_SIDE = 384  # display pixels
_SIZES = 56, 128  # smallest and largest side of a cut-out, target px


@dataclass(frozen=True)
class Chosen:
    """A window to be shown.

    Parameters
    ----------
    window : int
        Identifier.
    x, y : float
        Corrected position, CRS of the target.
    residual : float
        What is left there, target px; NaN when unknown.
    what : str
        Why it was chosen.
    """

    window: int
    x: float
    y: float
    residual: float
    what: str


def choose_windows(fit: Coregistration, n: int = 4) -> list[Chosen]:
    """Choose windows that show what the correction is worth: as many good ones as bad ones.

    Parameters
    ----------
    fit : Coregistration
    n : int
        How many at most.

    Returns
    -------
    list of Chosen
        The worst residuals, and of the small ones those with the highest correlation: they show most.
    """
    good, left = fit.points.take(fit.points.ok), residuals_of(fit)
    if len(good) == 0 or n < 1:
        return []
    known = dict(zip(left.window.tolist(), left.length.tolist(), strict=True))
    residual = np.array([known.get(int(window), np.nan) for window in good.window])
    by_residual = np.argsort(np.nan_to_num(residual, nan=np.inf), kind="stable")
    small = by_residual[: max(1, len(good) // 4)]
    small = small[np.argsort(-np.nan_to_num(good.score[small]), kind="stable")]
    finite = by_residual[np.isfinite(residual[by_residual])]
    picked: dict[int, str] = {}
    for i in range(n):
        worst = i % 2 == 1
        pool = [*map(int, finite[::-1] if worst else small), *map(int, by_residual)]
        best = next((one for one in pool if one not in picked), None)
        if best is not None:
            picked[best] = "large residual" if worst else "small residual"
    rows = sorted(picked.items(), key=lambda item: (item[1] == "large residual", residual[item[0]]))
    return [
        Chosen(
            int(good.window[i]), float(good.x[i] + good.dx[i]), float(good.y[i] + good.dy[i]), float(residual[i]), what
        )
        for i, what in rows
    ]


def flicker_html(fit: Coregistration, target: Any, reference: Any, chosen: list[Chosen], bands: tuple[Any, Any]) -> str:
    """Cut windows out of the reference and of the target, before and after, and stack them.

    Parameters
    ----------
    fit : Coregistration
    target, reference : DataArray or Dataset
    chosen : list of Chosen
    bands : (band, ref_band)
        To show, as in `match`.

    Returns
    -------
    str
        HTML; empty when no window can be shown.
    """
    tgt, ref = (
        make_raster(target, band=bands[0], name="target"),
        make_raster(reference, band=bands[1], name="reference"),
    )
    sizes = fit.points.size[fit.points.ok]
    side = float(np.clip(np.median(sizes) if sizes.size else 0, *_SIZES))
    width = side * max(georef.gsd(fit.transform))
    views = [View(fit.crs_wkt or tgt.grid.crs, one.x, one.y, width, _SIDE) for one in chosen]
    cards = []
    for one, view, before, like in zip(chosen, views, render(tgt, views), render(ref, views), strict=True):
        after = _corrected(fit, tgt, view)
        if after is not None and (like[1] & before[1] & after[1]).any():
            cards.append(_card(one, greys_of(like, before, after), side))
    if not cards:
        return ""
    told = "Every picture flicks between the reference and the target: what jumps is displaced, what fades has changed."
    hint = "hold still: point at a picture to see the target"
    switch = f'<input type="checkbox" id="still" class="switch"> <label for="still" class="switch">{hint}</label>'
    return f'<p>{told}</p>{switch}<div class="flicks">{"".join(cards)}</div>'


def _corrected(fit: Coregistration, tgt: Any, view: View) -> Shown | None:
    """Cut a window out of the corrected target: the very warp that `apply` does, on the display's own grid."""
    step, half = view.width / view.side, view.width / 2
    like = GeoBox((view.side, view.side), Affine(step, 0, view.x - half, 0, -step, view.y + half), view.crs)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CoregWarning)
            image = apply(tgt.data, fit, like=like, nodata=tgt.nodata)
    except NoOverlap:
        return None
    made = make_raster(image, nodata=tgt.nodata, name="corrected target")
    return made.read(0, view.side, 0, view.side)


def _card(one: Chosen, greys: Greys, side: float) -> str:
    left = f", {one.residual:.3f} px left" if np.isfinite(one.residual) else ""
    text = f"Window {one.window}: {one.what}{left}; {side:.0f} × {side:.0f} px around ({one.x:.10g}, {one.y:.10g})"
    ref = image_source(greys.ref)
    stacks = "".join(
        _stack(ref, image_source(grey), name, r, one.window)
        for name, grey, r in (("before", greys.before, greys.r_before), ("after", greys.after, greys.r_after))
    )
    return f'<figure class="flick"><div class="pair">{stacks}</div><figcaption>{escape(text)}</figcaption></figure>'


def _stack(ref: str, tgt: str, name: str, r: float, window: int) -> str:
    size = f'width="{_SIDE}" height="{_SIDE}"'
    told = f"{name}: correlation {r:.3f}" if np.isfinite(r) else name
    return (
        f'<div><div class="stack"><img src="{ref}" {size} alt="Reference in window {window}.">'
        f'<span class="tag">reference</span><div class="over"><img src="{tgt}" {size} '
        f'alt="Target {name} the correction in window {window}."><span class="tag">target</span></div></div>'
        f'<div class="faint">{told}</div></div>'
    )
