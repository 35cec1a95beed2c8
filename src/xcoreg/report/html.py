"""Pieces of an HTML report: page, sections, tables, figures with their images inside. All text is escaped."""

from __future__ import annotations

import base64
import html
import math
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox

from xcoreg import georef
from xcoreg.core.matches import describe_counts
from xcoreg.errors import CoregWarning, NoOverlap
from xcoreg.plot.canvas import image_source
from xcoreg.plot.compare import Greys, Shown, View, common_structure, greys_of, render
from xcoreg.plot.fields import draw_component, draw_residuals, evaluate_model
from xcoreg.plot.maps import draw_map
from xcoreg.plot.profiles import heights_of, plot_profiles
from xcoreg.plot.style import draw_histogram, draw_rose, new_figure, png_of, residuals_of
from xcoreg.raster.raster import make_raster
from xcoreg.results.coregistration import Coregistration
from xcoreg.results.html import fill_template, outline, table_html
from xcoreg.warp.apply import apply

_PAGE = Path(__file__).with_name("page.html")
_SORT = Path(__file__).with_name("sort.js")


def escape(text: object) -> str:
    """Make a text safe in HTML."""
    return html.escape(str(text))


def table(
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    caption: str = "",
    numbers: int = 0,
    markup: bool = False,
    sortable: bool = False,
) -> str:
    """Make a table; with `markup` its cells are HTML. After the first column follow so many columns of `numbers`.

    A `sortable` table is sorted by the column on whose head the reader clicks.
    """
    classes = f"numbers-{numbers}{' sortable' * sortable}" if head else "facts"
    body = table_html(rows, head, escape=not markup, classes=classes)
    # Not a caption element: it would be as wide as the table, which a phone scrolls.
    text = f'<p class="faint">{escape(caption)}</p>' if caption else ""
    return f'{text}<div class="scroll">{body}</div>'


def paragraphs(lines: Iterable[str], kind: str = "") -> str:
    """Make paragraphs of plain texts."""
    mark = f' class="{kind}"' if kind else ""
    return "".join(f"<p{mark}>{escape(line)}</p>" for line in lines)


def section(title: str, body: str) -> str:
    """Make a section; empty without a body."""
    return f"<section><h2>{escape(title)}</h2>{body}</section>" if body else ""


def side_by_side(parts: Iterable[str]) -> str:
    """Lay parts, which are HTML, side by side where the page is wide enough."""
    cells = "".join(f"<div>{part}</div>" for part in parts if part)
    return f'<div class="grid">{cells}</div>' if cells else ""


def page(title: str, body: str) -> str:
    """Make a whole page; the body is HTML. Only a page with tables to sort has a script."""
    script = f"<script>\n{_SORT.read_text(encoding='utf-8')}</script>\n" if 'sortable"' in body else ""
    return fill_template(_PAGE, title=escape(title), body=body, script=script)


_DPI = 100


def figure_html(figure: Any, alt: str, caption: str = "") -> str:
    """Pack a matplotlib figure into an HTML figure."""
    text = base64.b64encode(png_of(figure, _DPI)).decode("ascii")
    width, height = (round(inches * _DPI) for inches in figure.get_size_inches())
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    image = f'<img src="data:image/png;base64,{text}" alt="{escape(alt)}" width="{width}" height="{height}">'
    return f"<figure>{image}{below}</figure>"


def _size(fit: Coregistration, height: float) -> tuple[float, float]:
    """Size of a map with its colour bar, inches."""
    across, up = np.ptp(outline(fit.grid), axis=0)
    wide = float(np.clip(across / up, 0.45, 2.4))
    return (height - 1) * wide + 2.3, height


def map_figure(fit: Coregistration, background: Any) -> str:
    """Draw the map of the tie points."""
    figure = new_figure(*_size(fit, 7.2))
    frame = outline(fit.grid)
    draw_map(figure, figure.add_subplot(), fit.points, background, (frame, fit.transform), legend=False)
    counts = describe_counts(fit.points.status)
    alt = f"Map of the target with an arrow for each trusted window and a mark for each refused one: {counts}."
    return figure_html(figure, alt, "Arrows: corrections, greatly enlarged. Marks: refused windows, as in the table.")


_PROFILED = 40  # tie points from which on charts by row and column show anything


def chart_figures(fit: Coregistration) -> list[str]:
    """Draw the histogram of the residuals and the directions of the corrections."""
    residuals, made = residuals_of(fit), []
    if len(residuals):
        figure = new_figure(6, 4.2)
        draw_histogram(figure.add_subplot(), residuals)
        rms = math.sqrt(float(np.mean(residuals.length**2)))
        alt = f"Histogram of the residuals of {len(residuals)} tie points along columns and rows, RMS {rms:.3f} pixels."
        made.append(figure_html(figure, alt))
    if len(residuals) >= _PROFILED:
        by = "row, column and altitude" if heights_of(fit, residuals) is not None else "row and column"
        made.append(figure_html(plot_profiles(fit), f"Residuals of {len(residuals)} tie points by {by}."))
    if fit.points.ok.any():
        figure = new_figure(6, 4.6)
        draw_rose(figure.add_subplot(projection="polar"), fit.points)
        made.append(figure_html(figure, "Polar plot of the directions and lengths of the corrections."))
    return made


def model_figures(fit: Coregistration) -> list[str]:
    """Draw maps of dx, dy, sigma and residuals."""
    if fit.model is None:
        return []
    grid, made = evaluate_model(fit), []
    texts = {"dx": "along x", "dy": "along y", "sigma": "uncertainty"}
    for i, (name, text) in enumerate(texts.items()):
        figure = new_figure(*_size(fit, 5.4))
        draw_component(figure, figure.add_subplot(), fit, grid, name)
        inner = grid.values[i][~(grid.beyond if name == "sigma" else grid.outside) & np.isfinite(grid.values[i])]
        span = f"{inner.min():.4g} to {inner.max():.4g}{grid.unit}" if inner.size else "unknown"
        made.append(figure_html(figure, f"Map of the model, {text}: {span} between the tie points."))
    residuals = residuals_of(fit)
    if len(residuals):
        figure = new_figure(*_size(fit, 5.4))
        draw_residuals(figure, figure.add_subplot(), fit, residuals)
        alt = f"Map of the residuals of {len(residuals)} tie points, median {np.median(residuals.length):.3f} pixels."
        made.append(figure_html(figure, alt))
    return made


_SIDE = 384  # display pixels
_CANDIDATES = 3  # windows tried for each that is shown
_SIZES = 56, 128  # smallest and largest side of a cut-out, target px


@dataclass(frozen=True)
class ShownWindow:
    """A window to be shown at its corrected position, with its residual (target px, or NaN), and why it was chosen."""

    window: int
    x: float
    y: float
    residual: float
    why: str


def choose_windows(fit: Coregistration, n: int = 4) -> list[ShownWindow]:
    """Choose windows that may show what the correction does: most improved first, and those with large residuals last.

    There are more than `n` where there are that many: what they show decides, see :func:`flicker_html`.
    """
    good, residuals = fit.points.take(fit.points.ok), residuals_of(fit)
    if len(good) == 0 or n < 1:
        return []
    known = dict(zip(residuals.window.tolist(), residuals.length.tolist(), strict=True))
    residual = np.array([known.get(int(window), np.nan) for window in good.window])
    gain = np.nan_to_num(good.ssim_after - good.ssim_before, nan=-1.0) + np.nan_to_num(good.score, nan=-1.0)
    few = min(_CANDIDATES * (n // 4), -(-len(good) // 4))
    worst = np.argsort(-np.nan_to_num(residual, nan=-1.0), kind="stable")[:few]
    best = [i for i in np.argsort(-gain, kind="stable") if i not in set(worst.tolist())]
    best = (best or worst.tolist())[: _CANDIDATES * n]
    rows = [(int(i), "improved") for i in best]
    rows += [(int(i), "large residual") for i in worst if i not in best and np.isfinite(residual[i])]
    x, y = good.x + good.dx, good.y + good.dy
    return [ShownWindow(int(good.window[i]), float(x[i]), float(y[i]), float(residual[i]), what) for i, what in rows]


def flicker_html(fit: Coregistration, target: Any, reference: Any, bands: tuple[Any, Any], n: int = 4) -> str:
    """Cut windows out of the reference and of the target, before and after, and stack them.

    Of the windows that may be shown those win whose edges both images share most clearly after the correction, compared
    with before: a cloud, which only one image has, shares none.
    """
    tgt = make_raster(target, band=bands[0], name="target")
    ref = make_raster(reference, band=bands[1], name="reference")
    sizes = fit.points.size[fit.points.ok]
    side = float(np.clip(np.median(sizes) if sizes.size else 0, *_SIZES))
    width, chosen = side * max(georef.gsd(fit.transform)), choose_windows(fit, n)
    views = [View(fit.crs_wkt or tgt.grid.crs, one.x, one.y, width, _SIDE) for one in chosen]
    cards: dict[str, list[tuple[float, str]]] = {"improved": [], "large residual": []}
    for one, view, before, like in zip(chosen, views, render(tgt, views), render(ref, views), strict=True):
        after = _corrected(fit, tgt, view)
        if after is not None and (like[1] & before[1] & after[1]).any():
            gain = common_structure(*after, *like) - common_structure(*before, *like)
            cards[one.why].append((gain, _card(one, greys_of(before, like, after), side)))
    shown = [
        card for kind in cards.values() for _, card in sorted(kind, key=lambda one: -one[0])[: _share(kind, cards, n)]
    ]
    if not shown:
        return ""
    text = (
        "Every image switches between reference and target: what jumps is displaced, what fades has changed. Shown are "
        "textured windows with the largest improvement, and one of the largest residuals."
    )
    hint = "stop: point at an image to see the target"
    switch = f'<input type="checkbox" id="still" class="switch"> <label for="still" class="switch">{hint}</label>'
    return f'<p>{text}</p>{switch}<div class="flicks">{"".join(shown)}</div>'


def _share(kind: list[Any], cards: dict[str, list[Any]], n: int) -> int:
    """Divide the windows to show by kind: a quarter have large residuals, where there are such."""
    poor = min(n // 4, len(cards["large residual"]))
    return poor if kind is cards["large residual"] else n - poor


def _corrected(fit: Coregistration, tgt: Any, view: View) -> Shown | None:
    """Cut a window out of the corrected target: warped by `apply` itself, onto the grid of the display."""
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


def _card(one: ShownWindow, greys: Greys, side: float) -> str:
    residual = f", residual {one.residual:.3f} px" if np.isfinite(one.residual) else ""
    why = one.why if one.why == "improved" or not residual else "one of the worst"
    x, y = (f"{v:.0f}" if max(abs(one.x), abs(one.y)) > 1000 else f"{v:.6g}" for v in (one.x, one.y))
    text = f"Window {one.window}: {why}{residual}; {side:.0f} × {side:.0f} px around ({x}, {y})"
    ref = image_source(greys.ref)
    sides = {"before": (greys.before, greys.r_before), "after": (greys.after, greys.r_after)}
    stacks = "".join(_stack(ref, image_source(grey), name, r, one.window) for name, (grey, r) in sides.items())
    return f'<figure class="flick"><div class="pair">{stacks}</div><figcaption>{escape(text)}</figcaption></figure>'


def _stack(ref: str, tgt: str, name: str, r: float, window: int) -> str:
    size = f'width="{_SIDE}" height="{_SIDE}"'
    label = f"{name}: correlation {r:.3f}" if np.isfinite(r) else name
    return (
        f'<div><div class="stack"><img src="{ref}" {size} alt="Reference in window {window}.">'
        f'<span class="tag">reference</span><div class="over"><img src="{tgt}" {size} '
        f'alt="Target {name} the correction in window {window}."><span class="tag">target</span></div></div>'
        f'<div class="faint">{label}</div></div>'
    )
