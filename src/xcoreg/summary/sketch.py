"""A small map of the windows as inline SVG: no browser needs anything else to show it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from xcoreg import georef
from xcoreg.core.matches import Status
from xcoreg.summary.statuses import LOOKS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from xcoreg.points.table import TiePoints

    Floats = NDArray[np.float64]

__all__ = ["corners_of", "sketch", "swatch"]

_SIDE, _EDGE = 240.0, 10.0  # px on the screen: the longer side of the map, and what is left around it
_ARROW = 0.9  # of the distance between windows: the length of the longest arrow
_MANY = 1500  # windows drawn at most: a page with many fits has to stay light


def swatch(status: Status) -> str:
    """Show the colour of a status, as in the map.

    Parameters
    ----------
    status : Status

    Returns
    -------
    str
        HTML.

    Examples
    --------
    >>> swatch(Status.OK)
    '<span style="color:#0072b2">&#9679;</span>'
    """
    return f'<span style="color:{LOOKS[status][1]}">&#9679;</span>'


def sketch(points: TiePoints, outline: Sequence[Sequence[float]] = ()) -> str:
    """Draw windows where they lie, north up: an arrow along the correction of each trusted one, dots for the others.

    Parameters
    ----------
    points : TiePoints
    outline : sequence of (x, y)
        Corners of the target, CRS units; default none.

    Returns
    -------
    str
        An SVG element; all arrows are exaggerated by one factor, which its title tells. Empty without windows.

    Examples
    --------
    >>> from xcoreg.points.table import TiePoints
    >>> points = TiePoints([0, 1], [0, 0], [0, 9], [0.0, 90.0], [0.0, 0.0], [3, 3], [4, 4], [0.3, 0.3], [-0.4, -0.4])
    >>> picture = sketch(points)
    >>> picture.startswith("<svg"), picture.count("<line")
    (True, 2)
    """
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
    """Corners of an image on the map, upper left first, clockwise.

    Examples
    --------
    >>> corners_of((10.0, 0.0, 500.0, 0.0, -10.0, 900.0), (2, 3))[2]
    (530.0, 880.0)
    """
    rows, cols = shape
    col, row = np.array([0, cols, cols, 0]) - 0.5, np.array([0, 0, rows, rows]) - 0.5
    x, y = georef.pixel_to_map(transform, col, row)
    return [(float(a), float(b)) for a, b in zip(x, y, strict=True)]
