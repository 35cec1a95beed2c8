"""A fit on an interactive map: images, footprints, windows by status, arrows along the corrections; by folium."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from xcoreg import georef
from xcoreg.core import Floats
from xcoreg.core.matches import Status
from xcoreg.errors import GridError, NotGeoreferenced, require
from xcoreg.plot.canvas import Canvas, canvas_of, contrasts, image_source, paint
from xcoreg.plot.style import stretch
from xcoreg.raster.footprint import carry_to_crs, footprint
from xcoreg.raster.raster import Raster, make_raster
from xcoreg.results.coregistration import Coregistration
from xcoreg.results.html import STATUS_STYLES, outline, sort_statuses
from xcoreg.results.tiepoints import TiePoints

_ARROW_SCALE = 0.8  # of the distance between windows: the length of an arrow of median length
_HEAD = 0.25  # of the length of an arrow
_SIZE = 1024  # display pixels along the longer side of an image
_WEB = "EPSG:3857"  # the CRS of web maps: images in it need no more than two corners
_COLOURS = {"target": "#0072b2", "reference": "#d55e00"}


def explore_fit(
    fit: Coregistration, *, tiles: Any = "OpenStreetMap", exaggerate: float | None = None, **images: Any
) -> Any:
    """Draw a fit on a map; see :meth:`xcoreg.Coregistration.explore`. images : DataArrays by name, or None."""
    folium = require("folium", extra="explore")
    if fit.crs_wkt is None:
        raise NotGeoreferenced("the fit has no CRS, so no place on a map: write one to the images before matching")
    corners = _lonlat(fit.crs_wkt, *outline(fit.grid).T)
    plain = not georef.has_lonlat(fit.crs_wkt)  # a local CRS: a map of its own coordinates, without a background
    how = {"tiles": None, "crs": "Simple", "min_zoom": -20} if plain else {"tiles": tiles}
    page = folium.Map(location=corners[:4].mean(0).tolist(), control_scale=not plain, **how)
    rasters = rasters_of(fit, images)
    if not plain:
        _add_images(folium, page, rasters)
    folium.Polygon(corners[:4].tolist(), color="#666", weight=1, fill=False, tooltip="target").add_to(page)
    if not plain:
        _add_footprints(folium, page, rasters)
    _add_windows(folium, page, fit, exaggerate)
    folium.LayerControl(collapsed=False).add_to(page)
    page.fit_bounds([corners.min(0).tolist(), corners.max(0).tolist()])
    return page


def rasters_of(fit: Coregistration, images: Mapping[str, Any]) -> dict[str, Raster]:
    """Rasters of the images that were given, in the bands of the fit: reference, target, corrected."""
    band, ref_band = (fit.details.options.get(name) for name in ("band", "ref_band"))
    bands = {"reference": ref_band, "target": band, "corrected": band}
    return {
        name: make_raster(images[name], band=one, name=name)
        for name, one in bands.items()
        if images.get(name) is not None
    }


def _add_images(folium: Any, page: Any, rasters: Mapping[str, Raster]) -> None:
    """Lay images over the map, each a layer that can be switched off; the last one is on top."""
    canvases = {name: canvas_of([raster], _SIZE, _WEB) for name, raster in rasters.items()}
    shown = {name: paint(raster, canvases[name]) for name, raster in rasters.items()}
    limits = contrasts(list(shown.values())) if shown else []
    for (name, one), how in zip(shown.items(), limits, strict=True):
        source = image_source(stretch(*one, *how), one[1])
        layer = folium.raster_layers.ImageOverlay(source, _bounds(canvases[name]), name=name, opacity=1.0)
        layer.add_to(page)


def _bounds(canvas: Canvas) -> list[list[float]]:
    """South-west and north-east corner of a canvas, latitude first."""
    rows, cols = canvas.shape
    x = np.array([canvas.left, canvas.left + cols * canvas.step])
    lon, lat = georef.transform_points(
        canvas.crs, "EPSG:4326", x, np.array([canvas.top - rows * canvas.step, canvas.top])
    )
    return [[float(lat[0]), float(lon[0])], [float(lat[1]), float(lon[1])]]


def _add_footprints(folium: Any, page: Any, rasters: Mapping[str, Raster]) -> None:
    """Draw the valid areas of target and reference, and their overlap."""
    areas = {}
    for name, raster in rasters.items():
        if name in _COLOURS:
            try:
                areas[name] = carry_to_crs(footprint(raster), raster.grid.crs, "EPSG:4326")
            except GridError:  # nothing valid, or no place in degrees
                continue
    shapes = [(f"footprint of the {name}", area, _COLOURS[name], 0.0) for name, area in areas.items()]
    if len(areas) == len(_COLOURS):
        shapes.append(("overlap", areas["target"].intersection(areas["reference"]), "#009e73", 0.08))
    for name, area, colour, fill in shapes:
        style = {"color": colour, "weight": 1.5, "fillOpacity": fill}
        folium.GeoJson(area.__geo_interface__, name=name, style_function=lambda _, style=style: style).add_to(page)


def _add_windows(folium: Any, page: Any, fit: Coregistration, exaggerate: float | None) -> None:
    """Draw the windows of a fit, a layer for each status; those that are trusted have arrows."""
    points = fit.points.take(np.isfinite(fit.points.x) & np.isfinite(fit.points.y))
    places, texts = _lonlat(str(fit.crs_wkt), points.x, points.y), list(tooltips(points))
    for status, n in sort_statuses(points.counts()):
        group = folium.FeatureGroup(name=f"{status.name} ({n})")
        rows = np.flatnonzero(points.status == status)
        for row in rows:
            colour = STATUS_STYLES[status][1]
            folium.CircleMarker(
                places[row].tolist(), radius=4, color="#444", weight=0.5, fill_color=colour, fill_opacity=0.9,
                tooltip=texts[row],
            ).add_to(group)  # fmt: skip
        if status is Status.OK:
            _add_arrows(folium, group, fit, points.take(rows), exaggerate)
        group.add_to(page)


def _add_arrows(folium: Any, group: Any, fit: Coregistration, good: TiePoints, exaggerate: float | None) -> None:
    factor = _exaggeration(fit, good) if exaggerate is None else exaggerate
    start, move = np.stack([good.x, good.y]), factor * np.stack([good.dx, good.dy])
    turn = np.array([[[-1, 0.5], [-0.5, -1]], [[-1, -0.5], [0.5, -1]]]) * _HEAD  # both strokes of a head
    heads = [start + move + one @ move for one in turn]
    path = [heads[0], start + move, heads[1], start + move, start]
    lines = np.stack([_lonlat(str(fit.crs_wkt), *xy) for xy in path], axis=1)
    for line in lines[np.isfinite(lines).all(axis=(1, 2))]:
        folium.PolyLine(line.tolist(), color=STATUS_STYLES[Status.OK][1], weight=2).add_to(group)


def _exaggeration(fit: Coregistration, good: TiePoints) -> float:
    """Factor by which an arrow of median length reaches nearly to the next window."""
    a, b, d, e = georef.linear_of(fit.transform)
    ground = abs(a * e - b * d) * fit.shape[0] * fit.shape[1]
    middle = float(np.median(good.length)) if len(good) else 0.0
    return _ARROW_SCALE * math.sqrt(ground / max(len(fit.points), 1)) / middle if middle > 0 else 1.0


def _lonlat(crs_wkt: str, x: Any, y: Any) -> Floats:
    """Latitude before longitude, as folium wants it; y before x in a CRS that has none."""
    if not georef.has_lonlat(crs_wkt):
        return np.stack([np.asarray(y, np.float64), np.asarray(x, np.float64)], 1)
    lon, lat = georef.transform_points(crs_wkt, "EPSG:4326", np.asarray(x, np.float64), np.asarray(y, np.float64))
    return np.stack([lat, lon], 1)


def tooltips(points: TiePoints) -> Iterator[str]:
    """Describe each window in a few lines of HTML."""
    for row in range(len(points)):
        status = Status(int(points.status[row]))
        lines = [f"window {points.window[row]}: {status.name}", status.reason]
        if math.isfinite(points.dx[row]):
            lines.append(f"dcol {points.dcol[row]:+.3f}, drow {points.drow[row]:+.3f} px")
            lines.append(f"dx {points.dx[row]:+.6g}, dy {points.dy[row]:+.6g}")
        if math.isfinite(points.reliability[row]):
            lines.append(f"reliability {points.reliability[row]:.0f} %")
        yield "<br>".join(html.escape(line) for line in lines)
