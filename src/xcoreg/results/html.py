"""Results in notebooks: HTML with tables and a small map.

The template is `notebook.html`; the map is inline SVG, so a browser needs nothing else to show it.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from odc.geo.geobox import GeoBox

from xcoreg import georef
from xcoreg.core import Floats
from xcoreg.core.matches import Status
from xcoreg.results.text import crs_unit, rounded_rows

if TYPE_CHECKING:
    from xcoreg.results.coregistration import Coregistration
    from xcoreg.results.tiepoints import TiePoints


_TEMPLATE = Path(__file__).with_name("notebook.html")

#: Marker and colour of each status. Colours go by kind: grey where there was nothing to match, yellow where the texture
#: was to blame, orange where no shift was found, purple and red where one was found and refused.
STATUS_STYLES: dict[Status, tuple[str, str]] = {
    Status.OK: ("o", "#0072b2"),
    Status.NO_DATA: ("s", "#b8b8b8"),
    Status.MASKED: ("D", "#8f8f8f"),
    Status.OUTSIDE: ("s", "#dddddd"),
    Status.DISCONNECTED: ("p", "#56b4e9"),
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


def sort_statuses(counts: dict[str, int]) -> list[tuple[Status, int]]:
    """Statuses that occur: the trusted windows first, then the most frequent reasons."""
    rows = [(Status[name], n) for name, n in counts.items()]
    return sorted(rows, key=lambda row: (row[0] != Status.OK, -row[1]))


_SIDE, _EDGE = 240.0, 10.0  # px on the screen: the longer side of the map, and its margin
_ARROW = 0.9  # of the distance between windows: the length of the longest arrow
# Strokes of a head of length 1 on an arrow along its direction: both turn back by 27 degrees.
_HEAD = np.array([[[-0.9, 0.45], [-0.45, -0.9]], [[-0.9, -0.45], [0.45, -0.9]]])
_LINE = 16.0  # px on the screen: below the map, for the scale of the arrows
_MANY = 1500  # windows drawn at most: a page with many fits has to stay light


def outline(grid: GeoBox) -> Floats:
    """Corners of a grid on its map, clockwise from the upper left, closed: -> (5, 2) float64."""
    rows, cols = grid.shape
    col, row = np.array([0, cols, cols, 0, 0]) - 0.5, np.array([0, 0, rows, rows, 0]) - 0.5
    return np.stack(georef.pixel_to_map(tuple(grid.affine)[:6], col, row), axis=-1)


def map_svg(points: TiePoints, frame: Floats | None = None) -> str:
    """Draw windows on a map, north up: arrows along trusted corrections, dots for others; frame (n, 2): outline."""
    shown = points.take(slice(None, None, max(math.ceil(len(points) / _MANY), 1)))
    shown = shown.take(np.isfinite(shown.x) & np.isfinite(shown.y))
    if not len(shown):
        return ""
    corners = np.empty((0, 2)) if frame is None else frame
    known, good = np.vstack([np.stack([shown.x, shown.y], 1), corners]), shown.take(shown.ok)
    place = _Place(known)
    _, factor = _arrows(good, place)
    factor = min(factor, max(_longest_inside(good, corners), 0.3 * factor))
    place = _Place(np.vstack([known, _tips(good, factor)]))  # with room for the tips of the arrows
    size = f'width="{place.width:.0f}" height="{place.height + _LINE:.0f}" style="overflow:visible"'
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">']
    if len(corners):
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in place(corners))
        parts.append(f'<polygon points="{path}" fill="none" stroke="#888" stroke-width="1"/>')
    refused = shown.take(~shown.ok)
    for (x, y), status in zip(place(np.stack([refused.x, refused.y], 1)), refused.status, strict=True):
        parts.append(_dot(x, y, Status(int(status)), 2.5))
    arrows, factor = _arrows(good, place, factor)
    note = f"arrows: corrections, {factor:.3g} times as long"
    title = f"<title>{note}</title>" if arrows else ""
    scale = f'<text x="2" y="{place.height + _LINE - 4:.0f}" font-size="11" fill="currentColor">{note}</text>'
    return "".join([*parts, title, *arrows, scale if arrows else "", "</svg>"])


class _Place:
    """Convert map positions to the screen: y grows upwards on the map and downwards on the screen."""

    def __init__(self, known: Floats) -> None:
        low, high = known.min(0), known.max(0)
        self.west, self.north, self.scale = (
            float(low[0]),
            float(high[1]),
            max(float(_SIDE / max(*(high - low), 1e-12)), 1e-300),
        )
        self.width, self.height = ((high - low) * self.scale + 2 * _EDGE).tolist()

    def __call__(self, xy: Floats) -> Floats:
        return np.stack([xy[:, 0] - self.west, self.north - xy[:, 1]], 1) * self.scale + _EDGE


def _arrows(good: TiePoints, place: _Place, factor: float | None = None) -> tuple[list[str], float]:
    """Draw the corrections, and return by how much they are exaggerated."""
    if not len(good):
        return [], 0.0
    start = place(np.stack([good.x, good.y], 1))
    ground = np.ptp(start, 0)
    apart = math.sqrt(max(ground[0] * ground[1], (_SIDE / 4) ** 2) / len(good))
    move = np.nan_to_num(np.stack([good.dx, -good.dy], 1))
    longest = float(np.hypot(*move.T).max())
    stretch = max(_ARROW * apart, 8.0) / longest if longest > 0 else 0.0
    stretch = stretch if factor is None else factor * place.scale
    colour = STATUS_STYLES[Status.OK][1]
    lines = []
    for (a, b), step in zip(start, move * stretch, strict=True):
        size, (c, d) = float(np.hypot(*step)), (a + step[0], b + step[1])
        lines.append(
            f'<line x1="{a:.1f}" y1="{b:.1f}" x2="{c:.1f}" y2="{d:.1f}" stroke="{colour}" stroke-width="1.2"/>'
        )
        lines.append(f'<circle cx="{a:.1f}" cy="{b:.1f}" r="1.8" fill="{colour}"/>')
        if size > 0:
            (e, f), (g, h) = (c, d) + min(5.0, 0.4 * size) * _HEAD @ (step / size)
            lines.append(f'<path d="M{e:.1f} {f:.1f}L{c:.1f} {d:.1f}L{g:.1f} {h:.1f}" fill="none" stroke="{colour}"/>')
    return lines, stretch / place.scale


def _longest_inside(good: TiePoints, corners: Floats) -> float:
    """By how much corrections may be exaggerated so that arrows end within a convex outline, with a small margin."""
    if len(corners) < 4 or not len(good):
        return math.inf
    edges, middle = np.diff(corners, axis=0), corners[:-1].mean(0)
    normals = np.stack([-edges[:, 1], edges[:, 0]], 1) / np.maximum(np.hypot(*edges.T), 1e-300)[:, None]
    normals *= np.sign(((corners[:-1] - middle) * normals).sum(1))[:, None]  # outwards
    room = (corners[:-1] * normals).sum(1) - np.stack([good.x, good.y], 1) @ normals.T
    step = np.nan_to_num(np.stack([good.dx, good.dy], 1)) @ normals.T
    return float(np.min(0.97 * room[step > 0] / step[step > 0], initial=math.inf))


def _tips(good: TiePoints, factor: float) -> Floats:
    """Tips of the arrows on the map (n, 2)."""
    move = np.nan_to_num(np.stack([good.dx, good.dy], 1))
    return np.asarray(np.stack([good.x, good.y], 1) + factor * move)


def _dot(x: float, y: float, status: Status, radius: float) -> str:
    colour = STATUS_STYLES[status][1]
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{colour}" stroke="#777" stroke-width="0.4">'
        f"<title>{status.name}: {status.reason}</title></circle>"
    )


#: Rows that are shown at once; the others are folded away.
_FIRST = (
    "model", "map shift", "total shift", "correction", "correction dx", "correction dy", "correction dz", "length",
    "angle", "windows", "windows trusted", "check points: median", "check points: RMSE", "check points: CE90",
    "reliability", "similarity (SSIM)", "heights compared", "differences, NMAD", "differences, median", "warning",
)  # fmt: skip
_OTHER_PIXELS = ("matching px", "reference px")
# Rows that stand below a heading in plain text need a full name here.
_FULL_NAMES = {
    "  median": "check points: median", "  RMSE (radial)": "check points: RMSE", "  CE90": "check points: CE90",
}  # fmt: skip


def fill_template(path: Path, **parts: str) -> str:
    """Put parts, which are HTML, into a template."""
    return Template(path.read_text(encoding="utf-8")).substitute(parts)


def table_html(
    rows: Iterable[Sequence[str]], head: Sequence[str] = (), *, escape: bool = True, classes: str = ""
) -> str:
    """Make a table; the first cell of each row is its heading. Without `escape` cells are HTML already."""
    frame = pd.DataFrame([list(row) for row in rows])
    if frame.empty:
        return ""
    frame = frame.set_index(0)
    frame.index.name = None
    if head:
        frame.columns = pd.Index(head[1:], name=head[0])
    how: dict[str, Any] = {"header": bool(head), "escape": escape, "border": 0, "justify": "inherit"}
    with pd.option_context("display.max_colwidth", None):
        text: str = frame.to_html(classes=classes or None, **how)
    return text


def html_fit(fit: Coregistration) -> str:
    """Show a result as a compact page for notebooks: status, numbers, a map of the windows."""
    rows = [_full_names(name, text) for name, text in rounded_rows(fit)]
    first = [row for row in rows if row[0] in _FIRST and not row[1].endswith(_OTHER_PIXELS)]
    rest = [row for row in rows if row not in first]
    kind = "xcoreg-ok" if fit.ok else "xcoreg-refused"
    title = f'Coregistration: <span class="{kind}">{fit.status.name}</span>, {html.escape(fit.status.reason)}'
    more = f"<details><summary>more</summary>{table_html(rest)}</details>" if rest else ""
    return _notebook_page(title, table_html(first) + more, fit.points, outline(fit.grid))


def _full_names(name: str, text: str) -> tuple[str, str]:
    if name not in _FULL_NAMES:
        return name.strip(), text
    return _FULL_NAMES[name], text.replace(" before", " px before").replace(" after", " px after")


def html_points(points: TiePoints) -> str:
    """Show tie points as a compact page for notebooks: how many of each status, the corrections, a map."""
    good = points.take(points.ok)
    rows = []
    own = crs_unit(points.crs_wkt).strip()
    for name, unit in (("dx", own), ("dy", own), ("dcol", "px"), ("drow", "px")):
        known = getattr(good, name)
        known = known[np.isfinite(known)]
        if known.size:
            low, middle, high = (f"{value:+.4g}" for value in np.percentile(known, [0, 50, 100]))
            rows.append((name, f"{low} to {high} {unit}, median {middle}"))
    sigma = _typical_sigma(good)
    if math.isfinite(sigma):
        rows.append(("sigma", f"{sigma:.2g} {own} per axis, median"))
    return _notebook_page(f"TiePoints: {len(good)} of {len(points)} trusted", table_html(rows), points)


def _typical_sigma(points: TiePoints) -> float:
    variance = np.trace(points.cov, axis1=1, axis2=2) / 2
    known = variance[np.isfinite(variance)]
    return math.sqrt(max(float(np.median(known)), 0.0)) if known.size else math.nan


def _notebook_page(title: str, tables: str, points: TiePoints, frame: Floats | None = None) -> str:
    """Numbers to the left, the map to the right with the statuses that occur in it."""
    counts = "".join(
        f'<div title="{html.escape(status.reason)}"><span style="color:{STATUS_STYLES[status][1]}">&#9679;</span> '
        f"{n} {status.name}</div>"
        for status, n in sort_statuses(points.counts())
    )
    return fill_template(_TEMPLATE, title=title, tables=tables, map=map_svg(points, frame), counts=counts)
