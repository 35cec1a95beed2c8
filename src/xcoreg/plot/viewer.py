"""Pages to look at a scene in a browser, without a network: swipe, flicker, zoom, tie points; and as animated GIF."""

from __future__ import annotations

import html
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from xcoreg.core.matches import Status
from xcoreg.errors import NoOverlap, OptionError, require
from xcoreg.files import check_inputs, replacing
from xcoreg.plot.canvas import Canvas, canvas_of, contrasts, image_source, paint
from xcoreg.plot.compare import Shown, View, render
from xcoreg.plot.explore import explore_fit, rasters_of, tooltips
from xcoreg.plot.style import Contrast, stretch
from xcoreg.raster.raster import Raster, make_raster
from xcoreg.results.coregistration import Coregistration
from xcoreg.results.html import STATUS_STYLES, fill_template, outline
from xcoreg.results.text import crs_unit, model_in_words

_PAGE = Path(__file__).with_name("viewer.html")
_NAMES = ("reference", "target before", "target after")
_DETAIL = 320  # display pixels along a detail
_ALONG = 3  # details along each axis
_MOST = 4000  # tie points drawn
_BAR = 20  # display pixels above an animation, for its name
_SIZE = 1400  # display pixels along the longer side of a scene


@dataclass(frozen=True)
class Page:
    """A page of HTML that needs nothing else: notebooks show it, :meth:`save` writes it.

    Parameters
    ----------
    html : str
        The page.

    Examples
    --------
    >>> Page("<p>hello</p>")._repr_html_().startswith("<iframe")
    True
    """

    html: str

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the page to a file, complete or not at all, and return its path."""
        goal = Path(path)
        if goal.suffix.lower() not in (".html", ".htm"):
            raise OptionError(f"the page is HTML, not {goal.name}: give a path that ends in .html")
        with replacing(goal) as temporary:
            temporary.write_text(self.html, encoding="utf-8")
        return goal

    def _repr_html_(self) -> str:
        text = html.escape(self.html, quote=True)
        return f'<iframe srcdoc="{text}" style="width:100%;height:640px;border:0" title="swipe"></iframe>'

    def __repr__(self) -> str:
        return f"Page({len(self.html) / 1e6:.1f} MB of HTML)"


def swipe(
    target: Any,
    reference: Any,
    corrected: Any,
    path: str | os.PathLike[str] | None = None,
    *,
    fit: Coregistration | None = None,
    band: Any = None,
    ref_band: Any = None,
    size: int = _SIZE,
) -> Page:
    """Compare reference and target over the whole scene, before and after the correction, in a browser.

    Parameters
    ----------
    target, reference, corrected : DataArray or Dataset
        Target before the correction, reference, and target after it, each on any grid and in any CRS.
    path : path, optional
        Where to write the page, `.html`.
    fit : Coregistration, optional
        Adds its windows with their corrections as arrows.
    band, ref_band : optional
        Band to show, as in `match`.
    size : int
        Display pixels along the longer side; nine places are shown at the full resolution of `corrected` as well.

    Returns
    -------
    Page
        One self-contained page, usually 1 to 4 MB: swipe, flicker and red/cyan composite, zoom, before and after; it
        works without a network. Every image is read once, strip by strip.

    Raises
    ------
    NoOverlap
        When the images do not overlap.
    OptionError
        When the path cannot be written.

    Examples
    --------
    >>> import xcoreg
    >>> scene = xcoreg.simulate.pair((128, 128), shift=(1.5, -0.5), seed=1)
    >>> swipe(scene.tgt, scene.ref, scene.tgt.coreg.shift_to(scene.ref))
    Page(...)
    """
    images = {"reference": (reference, ref_band), "target": (target, band), "corrected": (corrected, band)}
    rasters = [make_raster(image, band=one, name=name) for name, (image, one) in images.items()]
    page = view_scene(rasters, list(_NAMES), fit=fit, size=size, title=_title(fit))
    if path is not None:
        page.save(path)
    return page


def _title(fit: Coregistration | None) -> str:
    """Say in words what a page shows."""
    if fit is None:
        return "Reference and target"
    if not fit.ok:
        return f"{fit.status.name}: {fit.status.reason}"
    return f"Correction: {model_in_words(fit)}" if fit.is_field else f"Correction {fit.shift}"


def explore(
    fit: Coregistration, images: Mapping[str, Any], *, tiles: Any, exaggerate: float | None, offline: bool
) -> Any:
    """Show a fit on a map of folium, or offline as a page; see :meth:`xcoreg.Coregistration.explore`."""
    if not offline:
        return explore_fit(fit, tiles=tiles, exaggerate=exaggerate, **images)
    rasters = rasters_of(fit, images)
    return view_scene(list(rasters.values()), list(rasters), fit=fit, size=_SIZE, title=_title(fit))


def view_scene(
    rasters: Sequence[Raster], names: Sequence[str], *, fit: Coregistration | None, size: int, title: str
) -> Page:
    """Make the page of some images, by name, the finest last, and of the windows of a fit."""
    canvas = canvas_of(rasters, size) if rasters else _canvas_of_fit(fit, size)
    details = _detail_views(canvas, rasters[-1]) if rasters else []
    shown = [paint(raster, canvas) for raster in rasters]
    if len(shown) > 1 and not np.logical_and.reduce([valid for _, valid in shown]).any():
        raise NoOverlap("the images share no valid pixel: there is nothing to compare")
    limits = contrasts(shown) if shown else []
    parts = [render(raster, [view for _, view in details]) if details else [] for raster in rasters]
    layers = [
        {"name": name, "src": _source(own, how), "details": [_source(cut, how) for cut in cuts]}
        for name, own, cuts, how in zip(names, shown, parts, limits, strict=True)
    ]
    data = {
        "width": canvas.shape[1], "height": canvas.shape[0], "step": canvas.step, "left": canvas.left,
        "top": canvas.top, "unit": crs_unit(canvas.crs).strip() or "m", "layers": layers,
        "boxes": [[*place, view.width / canvas.step] for place, view in details],
        **({} if fit is None else _windows(fit, canvas)),
    }  # fmt: skip
    text = json.dumps(data, allow_nan=False).replace("<", "\\u003c")
    return Page(fill_template(_PAGE, title=html.escape(title), data=text))


def _source(shown: Shown, limits: Contrast) -> str:
    return image_source(stretch(*shown, *limits), shown[1])


def _canvas_of_fit(fit: Coregistration | None, size: int) -> Canvas:
    """Make a canvas of the target of a fit, where there are no images."""
    if fit is None:
        raise OptionError("there is nothing to show: give images or a fit")
    low, high = outline(fit.grid).min(axis=0), outline(fit.grid).max(axis=0)
    step = float((high - low).max()) / size
    shape = max(round(float(high[1] - low[1]) / step), 1), max(round(float(high[0] - low[0]) / step), 1)
    return Canvas(fit.crs_wkt, float(low[0]), float(high[1]), step, shape)


def _detail_views(canvas: Canvas, raster: Raster) -> list[tuple[tuple[float, float], View]]:
    """Choose places to show at full resolution, spread over the scene; none where the scene itself is that fine."""
    fine = canvas_of([raster], 10**9, canvas.crs).step
    side = _DETAIL * fine / canvas.step  # of a detail, on the canvas
    if canvas.step < 1.5 * fine:
        return []
    counts = (min(_ALONG, int(length / side)) for length in canvas.shape)
    rows, cols = (
        (np.arange(n) + 0.5) / n * length - side / 2 if n else np.empty(0)
        for n, length in zip(counts, canvas.shape, strict=True)
    )
    places = [(float(col), float(row)) for row in rows for col in cols]
    return [((col, row), canvas.part(row, col, _DETAIL, fine)) for col, row in places]


def _windows(fit: Coregistration, canvas: Canvas) -> dict[str, Any]:
    """Outlines, tie points and arrows of a fit, in pixels of the canvas."""
    points = fit.points.take(slice(None, None, max(math.ceil(len(fit.points) / _MOST), 1)))
    points = points.take(np.isfinite(points.x) & np.isfinite(points.y))
    starts = canvas.to_pixels(fit.crs_wkt, points.x, points.y)
    reach = np.nan_to_num(np.stack([points.dx, points.dy]))
    moved = canvas.to_pixels(fit.crs_wkt, points.x + reach[0], points.y + reach[1])
    marks = [
        [*map(_short, (*start, *(end - start))), STATUS_STYLES[Status(int(status))][1], bool(status == Status.OK), text]
        for start, end, status, text in zip(starts, moved, points.status, tooltips(points), strict=True)
    ]
    grids = {"target": fit.grid, "reference": fit.details.ref_grid}
    frames = {
        name: [[_short(v) for v in xy] for xy in canvas.to_pixels(grid.crs, *outline(grid).T)]
        for name, grid in grids.items()
        if grid is not None and grid.crs is not None
    }
    return {"marks": marks, "frames": frames}


def _short(value: float) -> float:
    """Round to what a page needs; places without a position lie far outside."""
    return round(float(value), 3) if math.isfinite(value) else -1e6


def animate(
    path: str | os.PathLike[str],
    target: Any,
    reference: Any,
    corrected: Any,
    *,
    size: int = 640,
    seconds: float = 0.7,
    band: Any = None,
    ref_band: Any = None,
) -> Path:
    """Write an animated GIF of the whole scene: the target blinks against the reference, first before, then after.

    Parameters
    ----------
    path : path
        `.gif`.
    target, reference, corrected, band, ref_band
        As for :func:`swipe`.
    size : int
        Display pixels along the longer side.
    seconds : float
        Between two images.

    Returns
    -------
    Path
        Of the animation. A shift below a display pixel cannot be seen: :func:`xcoreg.plot.save_flicker`
        shows a cut-out at full resolution.

    Raises
    ------
    OptionError
        When the path is no `.gif` or cannot be written.
    NoOverlap
        When the images do not overlap.
    """
    goal = Path(path)
    if goal.suffix.lower() != ".gif":
        raise OptionError(f"an animation is a GIF, not {goal.name}: give a path that ends in .gif")
    check_inputs(goal, (target, reference, corrected))
    images = {"reference": (reference, ref_band), "target": (target, band), "corrected": (corrected, band)}
    rasters = [make_raster(image, band=one, name=name) for name, (image, one) in images.items()]
    canvas = canvas_of(rasters, size)
    shown = [paint(raster, canvas) for raster in rasters]
    greys = [stretch(*one, *how) for one, how in zip(shown, contrasts(shown), strict=True)]
    order = [0, 1, 0, 1, 0, 2, 0, 2]
    _write_frames(goal, [(_NAMES[at], greys[at]) for at in order], seconds)
    return goal


def _write_frames(goal: Path, frames: Sequence[tuple[str, Any]], seconds: float) -> None:
    """Write grey images, each with its name above it, as one GIF."""
    pillow, draw = require("PIL.Image", extra="plot"), require("PIL.ImageDraw", extra="plot")
    made = []
    for name, grey in frames:
        levels = np.rint(255 * np.clip(grey, 0, 1)).astype(np.uint8)
        image = pillow.fromarray(np.pad(levels, ((_BAR, 0), (0, 0))))
        draw.Draw(image).text((6, 3), name, fill=255, font_size=13)
        made.append(image)
    with replacing(goal) as temporary:
        made[0].save(temporary, "GIF", save_all=True, append_images=made[1:], duration=round(1000 * seconds), loop=0)
