"""Results told to people in notebooks: HTML with a small map.

How each verdict is drawn, the same in every picture.

A small map of the windows as inline SVG: no browser needs anything else to show it.

An interactive map of a result; needs the extra `explore`.
"""

from __future__ import annotations

import html
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from xcoreg import georef
from xcoreg.core.arrays import Floats
from xcoreg.core.matches import Status
from xcoreg.errors import NotGeoreferenced, require
from xcoreg.results.text import fit_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from xcoreg.results.coregistration import Coregistration
    from xcoreg.results.tiepoints import TiePoints


#: Marker and colour of each status. Colours go by kind: grey where there was nothing to match, yellow where the texture
#: was to blame, orange where no shift was found, purple and red where one was found and refused.
LOOKS: dict[Status, tuple[str, str]] = {
    Status.OK: ("o", "#0072b2"),
    Status.NO_DATA: ("s", "#b8b8b8"),
    Status.MASKED: ("D", "#8f8f8f"),
    Status.OUTSIDE: ("s", "#dddddd"),
    Status.FLAT: ("^", "#f0e442"),
    Status.UNCONSTRAINED: ("v", "#d8c62a"),
    Status.NO_PEAK: ("X", "#d55e00"),
    Status.AMBIGUOUS: ("P", "#e69f00"),
    Status.TOO_FAR: (">", "#f2a65a"),
    Status.NOT_CONVERGED: ("<", "#a85400"),
    Status.DISAGREES: ("d", "#7b61b5"),
    Status.NOT_IMPROVED: ("h", "#cc79a7"),
    Status.OUTLIER: ("X", "#b3123f"),
}


def ordered(counts: dict[str, int]) -> list[tuple[Status, int]]:
    """List verdicts that occur: the trusted windows first, then the most frequent reasons."""
    rows = [(Status[name], n) for name, n in counts.items()]
    return sorted(rows, key=lambda row: (row[0] != Status.OK, -row[1]))


_SIDE, _EDGE = 240.0, 10.0  # px on the screen: the longer side of the map, and what is left around it
_ARROW = 0.9  # of the distance between windows: the length of the longest arrow
_MANY = 1500  # windows drawn at most: a page with many fits has to stay light


def swatch(status: Status) -> str:
    """Show the colour of a status, as in the map."""
    return f'<span style="color:{LOOKS[status][1]}">&#9679;</span>'


def sketch(points: TiePoints, outline: Sequence[Sequence[float]] = ()) -> str:
    """Draw windows where they lie, north up: an arrow along the correction of each trusted one, dots for the others."""
    shown = points.take(slice(None, None, max(math.ceil(len(points) / _MANY), 1)))
    shown = shown.take(np.isfinite(shown.x) & np.isfinite(shown.y))
    if not len(shown):
        return ""
    corners = np.asarray(outline, np.float64).reshape(-1, 2)
    place, (width, height) = _frame(np.vstack([np.stack([shown.x, shown.y], 1), corners]))
    size = f'width="{width:.0f}" height="{height:.0f}" style="overflow:visible"'
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">']
    if len(corners):
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in place(corners))
        parts.append(f'<polygon points="{path}" fill="none" stroke="#888" stroke-width="1"/>')
    refused = shown.take(~shown.ok)
    for (x, y), status in zip(place(np.stack([refused.x, refused.y], 1)), refused.status, strict=True):
        parts.append(_dot(x, y, Status(int(status)), 2.5))
    arrows, factor = _arrows(shown.take(shown.ok), place)
    title = f"<title>arrows are {factor:.3g} times as long as the corrections</title>" if arrows else ""
    return "".join([*parts, title, *arrows, "</svg>"])


def _frame(known: Floats) -> tuple[_Place, tuple[float, float]]:
    """Map positions to the screen, and its size in px."""
    low, high = known.min(0), known.max(0)
    scale = _SIDE / max(*(high - low), 1e-12)
    width, height = (high - low) * scale + 2 * _EDGE
    return _Place(float(low[0]), float(high[1]), float(scale)), (float(width), float(height))


class _Place:
    """Where on the screen a map position lies: x to the right, y up on the map and down on the screen."""

    def __init__(self, west: float, north: float, scale: float) -> None:
        self.west, self.north, self.scale = west, north, scale

    def __call__(self, xy: Floats) -> Floats:
        return np.stack([xy[:, 0] - self.west, self.north - xy[:, 1]], 1) * self.scale + _EDGE


def _arrows(good: TiePoints, place: _Place) -> tuple[list[str], float]:
    """Draw the corrections; tell by how much they are exaggerated."""
    if not len(good):
        return [], 0.0
    start = place(np.stack([good.x, good.y], 1))
    ground = np.ptp(start, 0)
    apart = math.sqrt(max(ground[0] * ground[1], (_SIDE / 4) ** 2) / len(good))
    move = np.nan_to_num(np.stack([good.dx, -good.dy], 1))
    longest = float(np.hypot(*move.T).max())
    stretch = max(_ARROW * apart, 8.0) / longest if longest > 0 else 0.0
    end = start + move * stretch
    colour = LOOKS[Status.OK][1]
    lines = [
        f'<line x1="{a:.1f}" y1="{b:.1f}" x2="{c:.1f}" y2="{d:.1f}" stroke="{colour}" stroke-width="1.2"/>'
        f'<circle cx="{a:.1f}" cy="{b:.1f}" r="1.8" fill="{colour}"/>'
        for (a, b), (c, d) in zip(start, end, strict=True)
    ]
    return lines, stretch / place.scale


def _dot(x: float, y: float, status: Status, radius: float) -> str:
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{LOOKS[status][1]}" stroke="#777" stroke-width="0.4">'
        f"<title>{status.name}: {status.reason}</title></circle>"
    )


def corners_of(transform: Sequence[float], shape: tuple[int, int]) -> list[tuple[float, float]]:
    """Corners of an image on the map, upper left first, clockwise."""
    rows, cols = shape
    col, row = np.array([0, cols, cols, 0]) - 0.5, np.array([0, 0, rows, rows]) - 0.5
    x, y = georef.pixel_to_map(transform, col, row)
    return [(float(a), float(b)) for a, b in zip(x, y, strict=True)]


_ARROW_SCALE = 0.8  # of the distance between windows: the length of an arrow of median length


def explore_fit(fit: Coregistration, *, tiles: Any = "OpenStreetMap", exaggerate: float | None = None) -> Any:
    """Draw a result on a map to zoom and click in: footprint, windows by status, arrows along the corrections."""
    folium = require("folium", extra="explore")
    if fit.crs_wkt is None:
        raise NotGeoreferenced("the fit has no CRS, so no place on a map: write one to the images before matching")
    outline = _lonlat(fit.crs_wkt, *np.asarray(corners_of(fit.transform, fit.shape)).T)
    page = folium.Map(tiles=tiles, location=outline.mean(0).tolist(), control_scale=True)
    folium.Polygon(outline.tolist(), color="#666", weight=1, fill=False, tooltip="target").add_to(page)
    points = fit.points.take(np.isfinite(fit.points.x) & np.isfinite(fit.points.y))
    places = _lonlat(fit.crs_wkt, points.x, points.y)
    for status, n in ordered(points.counts()):
        group = folium.FeatureGroup(name=f"{status.name} ({n})")
        rows = np.flatnonzero(points.status == status)
        for row, text in zip(rows, _texts(points, rows), strict=True):
            colour = LOOKS[status][1]
            folium.CircleMarker(
                places[row].tolist(), radius=4, color="#444", weight=0.5, fill_color=colour, fill_opacity=0.9,
                tooltip=text,
            ).add_to(group)  # fmt: skip
        if status is Status.OK:
            _add_arrows(folium, group, fit, points.take(rows), exaggerate)
        group.add_to(page)
    folium.LayerControl(collapsed=False).add_to(page)
    page.fit_bounds([outline.min(0).tolist(), outline.max(0).tolist()])
    return page


def _add_arrows(folium: Any, group: Any, fit: Coregistration, good: TiePoints, exaggerate: float | None) -> None:
    factor = _exaggeration(fit, good) if exaggerate is None else exaggerate
    ends = _lonlat(str(fit.crs_wkt), good.x + factor * good.dx, good.y + factor * good.dy)
    starts = _lonlat(str(fit.crs_wkt), good.x, good.y)
    for line in np.stack([starts, ends], 1)[np.isfinite(ends).all(1)]:
        folium.PolyLine(line.tolist(), color=LOOKS[Status.OK][1], weight=2).add_to(group)


def _exaggeration(fit: Coregistration, good: TiePoints) -> float:
    """Make an arrow of median length reach nearly to the next window."""
    a, b, d, e = georef.linear_of(fit.transform)
    ground = abs(a * e - b * d) * fit.shape[0] * fit.shape[1]
    middle = float(np.median(good.length)) if len(good) else 0.0
    return _ARROW_SCALE * math.sqrt(ground / max(len(fit.points), 1)) / middle if middle > 0 else 1.0


def _lonlat(crs_wkt: str, x: Any, y: Any) -> Floats:
    """Latitude before longitude, as folium wants it."""
    lon, lat = georef.transform_points(crs_wkt, "EPSG:4326", np.asarray(x, np.float64), np.asarray(y, np.float64))
    return np.stack([lat, lon], 1)


def _texts(points: TiePoints, rows: NDArray[np.intp]) -> Iterator[str]:
    for row in rows:
        status = Status(int(points.status[row]))
        lines = [f"window {points.window[row]}: {status.name}", status.reason]
        if math.isfinite(points.dx[row]):
            lines.append(f"dcol {points.dcol[row]:+.3f}, drow {points.drow[row]:+.3f} px")
            lines.append(f"dx {points.dx[row]:+.6g}, dy {points.dy[row]:+.6g}")
        if math.isfinite(points.reliability[row]):
            lines.append(f"reliability {points.reliability[row]:.0f} %")
        yield "<br>".join(html.escape(line) for line in lines)


_LEFT = "text-align:left;vertical-align:top"
#: What a fit tells at once; the rest is folded away.
_FIRST = (
    "model", "map shift", "total shift", "correction", "correction dx", "correction dy", "correction dz", "length",
    "angle", "windows", "windows kept", "withheld: median", "withheld: RMSE", "withheld: CE90", "reliability",
    "similarity (SSIM)", "heights compared", "differences, NMAD", "differences, median", "warning",
)  # fmt: skip
_OTHER_PIXELS = ("matching px", "reference px")
# Rows that stand below a heading in plain text have to speak for themselves here.
_WITHHELD = {"  median": "withheld: median", "  RMSE (radial)": "withheld: RMSE", "  CE90": "withheld: CE90"}


def html_fit(fit: Coregistration) -> str:
    """Tell a result as a compact page for notebooks: verdict, numbers, a map of the windows."""
    rows = [_own_words(name, text) for name, text in fit_rows(fit)]
    first = [row for row in rows if row[0] in _FIRST and not row[1].endswith(_OTHER_PIXELS)]
    rest = [row for row in rows if row not in first]
    mark = f'<span style="color:{"#2a7d2a" if fit.ok else "#b22222"}">{fit.status.name}</span>'
    head = f"<strong>Coregistration: {mark}</strong>, {html.escape(fit.status.reason)}"
    more = f"<details><summary>more</summary>{_table(rest)}</details>" if rest else ""
    return f"<div>{head}{_beside(_table(first) + more, fit.points, corners_of(fit.transform, fit.shape))}</div>"


def _own_words(name: str, text: str) -> tuple[str, str]:
    if name not in _WITHHELD:
        return name, text
    return _WITHHELD[name], text.replace(" before", " px before").replace(" after", " px after")


def html_points(points: TiePoints) -> str:
    """Tell tie points as a compact page for notebooks: how many of each status, the corrections, a map."""
    good = points.take(points.ok)
    rows = []
    for name, unit in (("dx", "CRS units"), ("dy", "CRS units"), ("dcol", "px"), ("drow", "px")):
        known = getattr(good, name)
        known = known[np.isfinite(known)]
        if known.size:
            low, middle, high = (f"{value:+.4g}" for value in np.percentile(known, [0, 50, 100]))
            rows.append((name, f"{low} to {high} {unit}, median {middle}"))
    sigma = _typical_sigma(good)
    if math.isfinite(sigma):
        rows.append(("sigma", f"{sigma:.2g} CRS units per axis, median"))
    head = f"<strong>TiePoints: {len(good)} of {len(points)} trusted</strong>"
    return f"<div>{head}{_beside(_table(rows), points)}</div>"


def _typical_sigma(points: TiePoints) -> float:
    variance = np.trace(points.cov, axis1=1, axis2=2) / 2
    known = variance[np.isfinite(variance)]
    return math.sqrt(max(float(np.median(known)), 0.0)) if known.size else math.nan


def _beside(left: str, points: TiePoints, outline: Iterable[tuple[float, float]] = ()) -> str:
    """Numbers to the left, the map to the right with the statuses that occur in it."""
    counts = "".join(
        f'<div title="{html.escape(status.reason)}">{swatch(status)} {n} {status.name}</div>'
        for status, n in ordered(points.counts())
    )
    right = sketch(points, list(outline)) + f'<div style="font-size:85%">{counts}</div>'
    flex = "display:flex;flex-wrap:wrap;gap:1.5em;align-items:flex-start"
    return f'<div style="{flex}"><div>{left}</div><div>{right}</div></div>'


def _table(rows: Iterable[tuple[str, str]]) -> str:
    cells = "".join(
        f'<tr><th style="{_LEFT};white-space:nowrap">{html.escape(name.strip())}</th>'
        f'<td style="{_LEFT}">{html.escape(text)}</td></tr>'
        for name, text in rows
    )
    return f"<table>{cells}</table>"
