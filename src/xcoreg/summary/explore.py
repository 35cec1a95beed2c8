"""An interactive map of a result; needs the extra `explore`."""

from __future__ import annotations

import html
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from xcoreg import georef
from xcoreg.core.matches import Status
from xcoreg.errors import NotGeoreferenced, require
from xcoreg.summary.sketch import corners_of
from xcoreg.summary.statuses import LOOKS, ordered

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from xcoreg.points.table import TiePoints
    from xcoreg.result.fit import Coregistration

    Floats = NDArray[np.float64]

__all__ = ["explore_fit"]

_ARROW_SCALE = 0.8  # of the distance between windows: the length of an arrow of median length


def explore_fit(fit: Coregistration, *, tiles: Any = "OpenStreetMap", exaggerate: float | None = None) -> Any:
    """Draw a result on a map to zoom and click in: footprint, windows by status, arrows along the corrections.

    Parameters
    ----------
    fit : Coregistration
        With a CRS.
    tiles : str or None
        Background of folium; the browser fetches it. None draws none.
    exaggerate : float, optional
        Arrows are so many times as long as the corrections; default: so that they reach nearly to the next window.

    Returns
    -------
    folium.Map
        Shows itself in a notebook; ``.save("map.html")`` writes a page.

    Raises
    ------
    MissingDependency
        When folium is not installed.
    NotGeoreferenced
        When the fit has no CRS.

    Examples
    --------
    >>> import xcoreg
    >>> scene = xcoreg.simulate.pair((300, 300), shift=(1.25, -0.5), seed=1)
    >>> explore_fit(scene.tgt.coreg.match(scene.ref), tiles=None).get_name()[:3]
    'map'
    """
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
