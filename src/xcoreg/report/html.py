"""Small pieces of HTML, everything escaped.

The pictures of a report, each as an HTML figure with its image inside.

Before and after in a few windows, the best and the worst, flickering against the reference.
"""

from __future__ import annotations

import base64
import html
import io
import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox

from xcoreg import georef
from xcoreg.errors import CoregWarning, NoOverlap, require
from xcoreg.plot.compare import View, greys_of, outline, render
from xcoreg.plot.fields import draw_residuals, draw_sheet, sheets_of
from xcoreg.plot.maps import draw_map
from xcoreg.plot.style import draw_histogram, draw_rose, new_figure, residuals_of
from xcoreg.raster.raster import make_raster
from xcoreg.warp.apply import apply

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from xcoreg.plot.compare import Greys, Shown
    from xcoreg.results.coregistration import Coregistration


STYLE = """
:root{--ink:#1b2530;--faint:#5b6873;--line:#d8dee4;--back:#f4f6f8;--good:#0b6e4f;--bad:#b3123f;--blue:#0072b2}
*{box-sizing:border-box}
body{margin:0;background:var(--back);color:var(--ink);font:16px/1.5 system-ui,"Segoe UI",Roboto,sans-serif}
main{max-width:1120px;margin:0 auto;padding:1.2rem}
header{border-left:.5rem solid var(--good);background:#fff;padding:1rem 1.2rem;border-radius:.3rem}
header.bad{border-color:var(--bad)}
h1{font-size:1.5rem;margin:0 0 .4rem}
h2{font-size:1.15rem;margin:0 0 .7rem;border-bottom:1px solid var(--line);padding-bottom:.3rem}
section{background:#fff;margin:1rem 0;padding:1rem 1.2rem;border-radius:.3rem}
p{margin:.4rem 0;max-width:75ch}
.lead{font-size:1.08rem}
.faint,figcaption{color:var(--faint);font-size:.88rem}
.badge{display:inline-block;padding:.05rem .55rem;border-radius:1rem;color:#fff;background:var(--good);font-size:.95rem}
.bad .badge{background:var(--bad)}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-size:.92rem;margin:.4rem 0}
th,td{text-align:left;padding:.28rem .8rem .28rem 0;border-bottom:1px solid var(--line);vertical-align:top}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
tr.chosen{font-weight:600;background:#eef6f2}
td.wide{word-break:break-word;overflow-wrap:anywhere}
.bar{display:inline-block;height:.8rem;border-radius:.15rem;vertical-align:middle;min-width:2px}
figure{margin:0}
img{max-width:100%;height:auto;display:block}
.grid,.flicks{display:grid;grid-template-columns:minmax(0,1fr);gap:1.2rem}
@media (min-width:900px){.grid,.flicks{grid-template-columns:minmax(0,1fr) minmax(0,1fr)}}
.pair{display:grid;grid-template-columns:1fr 1fr;gap:.5rem}
.stack{position:relative;overflow:hidden;background:#888}
.stack img{width:100%;image-rendering:auto}
.over{position:absolute;inset:0;animation:flick 1.4s steps(1) infinite}
@keyframes flick{0%{opacity:1}50%{opacity:0}}
.tag{position:absolute;left:.3rem;top:.3rem;background:rgba(0,0,0,.65);color:#fff;padding:0 .4rem;font-size:.78rem}
#still:checked~.flicks .over{animation:none;opacity:0}
#still:checked~.flicks .stack:hover .over{opacity:1}
details summary{cursor:pointer;font-weight:600}
ul{margin:.3rem 0;padding-left:1.2rem}
.warn{border-left:.3rem solid #e69f00;padding-left:.7rem}
@media (prefers-reduced-motion:reduce){.over{animation:none;opacity:0}.stack:hover .over{opacity:1}}
@media print{body{background:#fff;font-size:11pt}main{max-width:none;padding:0}section,header{padding:.5rem 0}
header{padding-left:.6rem}
figure,tr,.flick{break-inside:avoid}.switch{display:none}.over{position:static;animation:none;opacity:1}
.over .tag{top:auto}.grid,.flicks{grid-template-columns:1fr 1fr}.scroll{overflow:visible}}
"""


def escape(text: object) -> str:
    """Make a text safe in HTML."""
    return html.escape(str(text))


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, caption: str = "", numbers: int = 0) -> str:
    """Make a table of cells that are HTML already."""
    kinds = ["", *["n"] * numbers]

    def cell(i: int, text: str) -> str:
        kind = kinds[i] if i < len(kinds) else ("wide" if not head else "")
        mark = f' class="{kind}"' if kind else ""
        return f'<th scope="row">{text}</th>' if i == 0 else f"<td{mark}>{text}</td>"

    def row(cells: Sequence[str]) -> str:
        chosen = cells[0].startswith("*")
        body = "".join(cell(i, text.removeprefix("*") if i == 0 else text) for i, text in enumerate(cells))
        return f'<tr class="chosen">{body}</tr>' if chosen else f"<tr>{body}</tr>"

    top = "".join(f'<th scope="col"{" class=n" if 0 < i <= numbers else ""}>{name}</th>' for i, name in enumerate(head))
    top = f"<thead><tr>{top}</tr></thead>" if head else ""
    # Not a caption element: it would be as wide as the table, which a phone scrolls.
    told = f'<p class="faint">{caption}</p>' if caption else ""
    return f'{told}<div class="scroll"><table>{top}<tbody>{"".join(row(one) for one in rows)}</tbody></table></div>'


def paragraphs(lines: Iterable[str], kind: str = "") -> str:
    """Make paragraphs of plain texts."""
    mark = f' class="{kind}"' if kind else ""
    return "".join(f"<p{mark}>{escape(line)}</p>" for line in lines)


def section(title: str, body: str) -> str:
    """Make a section; nothing of an empty one."""
    return f"<section><h2>{escape(title)}</h2>{body}</section>" if body else ""


def page(title: str, body: str) -> str:
    """Make a whole page."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body><main>\n{body}\n</main></body></html>\n"
    )


_DPI = 100


def image_source(grey: NDArray[np.float64]) -> str:
    """Pack a grey image into a data URI: WebP where it can be written, else PNG.

    grey (rows, cols) float64.
    """
    pillow = require("PIL.Image", extra="plot")
    image = pillow.fromarray(np.rint(np.clip(np.nan_to_num(grey), 0, 1) * 255).astype(np.uint8))
    kind = "WEBP" if require("PIL.features", extra="plot").check("webp") else "PNG"
    buffer = io.BytesIO()
    image.save(buffer, kind, **({"quality": 88, "method": 6} if kind == "WEBP" else {"optimize": True}))
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def figure_html(figure: Any, alt: str, caption: str = "") -> str:
    """Pack a matplotlib figure into an HTML figure."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI)
    text = base64.b64encode(buffer.getvalue()).decode("ascii")
    width, height = (round(inches * _DPI) for inches in figure.get_size_inches())
    told = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    image = f'<img src="data:image/png;base64,{text}" alt="{escape(alt)}" width="{width}" height="{height}">'
    return f"<figure>{image}{told}</figure>"


def _size(fit: Coregistration, height: float) -> tuple[float, float]:
    """Inches of a map with its colour bar."""
    across, up = np.ptp(outline(fit.transform, fit.shape), axis=0)
    wide = float(np.clip(across / up, 0.45, 2.4))
    return (height - 1) * wide + 2.3, height


def map_figure(fit: Coregistration, background: Any) -> str:
    """Draw the map of the tie points."""
    figure = new_figure(*_size(fit, 7.2))
    frame = outline(fit.transform, fit.shape)
    draw_map(figure, figure.add_subplot(), fit.points, background, (frame, fit.transform), legend=False)
    counts = ", ".join(f"{n} {name}" for name, n in fit.points.counts().items())
    alt = f"Map of the target with an arrow for each trusted window and a mark for each refused one: {counts}."
    return figure_html(figure, alt, "Arrows: corrections, greatly enlarged. Marks: refused windows, as in the table.")


def chart_figures(fit: Coregistration) -> list[str]:
    """Draw the histogram of the residuals and the directions of the corrections."""
    left, made = residuals_of(fit), []
    if len(left):
        figure = new_figure(6, 4.2)
        draw_histogram(figure.add_subplot(), left)
        rms = math.sqrt(float(np.mean(left.length**2)))
        alt = (
            f"Histogram of the residuals of {len(left)} tie points along columns and rows, radial RMS {rms:.3f} pixels."
        )
        made.append(figure_html(figure, alt))
    if fit.points.ok.any():
        figure = new_figure(6, 4.6)
        draw_rose(figure.add_subplot(projection="polar"), fit.points)
        made.append(figure_html(figure, "Polar plot of the directions and lengths of the corrections."))
    return made


def model_figures(fit: Coregistration) -> list[str]:
    """Draw maps of dx, dy, sigma and residuals."""
    if fit.model is None:
        return []
    sheets, made = sheets_of(fit), []
    texts = {"dx": "along x", "dy": "along y", "sigma": "uncertainty"}
    for i, (name, text) in enumerate(texts.items()):
        figure = new_figure(*_size(fit, 5.4))
        draw_sheet(figure, figure.add_subplot(), fit, sheets, name)
        inner = sheets.values[i][~sheets.outside & np.isfinite(sheets.values[i])]
        span = f"{inner.min():.4g} to {inner.max():.4g}{sheets.unit}" if inner.size else "unknown"
        made.append(figure_html(figure, f"Map of the model, {text}: {span} between the tie points."))
    left = residuals_of(fit)
    if len(left):
        figure = new_figure(*_size(fit, 5.4))
        draw_residuals(figure, figure.add_subplot(), fit, left)
        alt = f"Map of what is left at {len(left)} tie points, median {np.median(left.length):.3f} pixels."
        made.append(figure_html(figure, alt))
    return made


_SIDE = 384  # display pixels
_SIZES = 56, 128  # smallest and largest side of a cut-out, target px


@dataclass(frozen=True)
class Chosen:
    """A window to be shown.

    window : Identifier.
    x, y : Corrected position, CRS of the target.
    residual : What is left there, target px; NaN when unknown.
    what : Why it was chosen.
    """

    window: int
    x: float
    y: float
    residual: float
    what: str


def choose_windows(fit: Coregistration, n: int = 4) -> list[Chosen]:
    """Choose windows that show what the correction is worth: as many good ones as bad ones."""
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
    """Cut windows out of the reference and of the target, before and after, and stack them."""
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
