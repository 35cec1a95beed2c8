"""Whole scenes at the size of a screen: images resampled onto one north-up grid in metres, strip by strip."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pyproj import CRS

from xcoreg import georef
from xcoreg.core import Bools, Floats
from xcoreg.errors import NoOverlap, require
from xcoreg.plot.compare import Shown, View, render
from xcoreg.plot.style import Contrast, contrast
from xcoreg.raster.raster import Raster
from xcoreg.results.html import outline

_TILE = 256  # display pixels


@dataclass(frozen=True)
class Canvas:
    """A north-up grid: CRS, left and top edge and pixel size in CRS units, shape (rows, cols)."""

    crs: Any
    left: float
    top: float
    step: float
    shape: tuple[int, int]

    def to_pixels(self, crs: Any, x: Floats, y: Floats) -> Floats:
        """Positions (n, 2) on the canvas, columns and rows from its corner, of places in any CRS."""
        east, north = georef.transform_points(crs, self.crs, np.asarray(x, float), np.asarray(y, float))
        return np.stack([(east - self.left) / self.step, (self.top - north) / self.step], axis=-1)

    def part(self, row: float, col: float, side: int, step: float) -> View:
        """Square of the map whose upper left corner is a pixel of the canvas."""
        width = side * step
        x, y = self.left + col * self.step + width / 2, self.top - row * self.step - width / 2
        return View(self.crs, x, y, width, side)


def canvas_of(rasters: Sequence[Raster], size: int, crs: Any = None) -> Canvas:
    """Make a canvas of what all images cover, at most `size` pixels along its longer side, no finer than the last."""
    last = rasters[-1].grid
    crs = display_crs(last) if crs is None else crs
    edges = [_edges(raster.grid, crs) for raster in rasters]
    left, bottom = np.max([low for low, _ in edges], axis=0)
    right, top = np.min([high for _, high in edges], axis=0)
    if not (left < right and bottom < top):
        raise NoOverlap("the images do not overlap: there is nothing to show")
    own = _edges(last, crs)[1] - _edges(last, crs)[0]
    finest = float(math.sqrt(own[0] * own[1] / (last.shape[0] * last.shape[1])))
    step = max(finest, max(right - left, top - bottom) / size)
    shape = max(round((top - bottom) / step), 1), max(round((right - left) / step), 1)
    return Canvas(crs, float(left), float(top), float(step), shape)


def display_crs(grid: Any) -> Any:
    """CRS in which an image is shown: its own, or of degrees one in metres about its centre."""
    crs = georef.as_crs(grid.crs)
    if not crs.is_geographic:
        return grid.crs
    lon, lat = outline(grid)[:4].mean(axis=0)
    return CRS.from_proj4(f"+proj=aeqd +lat_0={lat:.6f} +lon_0={lon:.6f} +datum=WGS84 +units=m")


def _edges(grid: Any, crs: Any) -> tuple[Floats, Floats]:
    """Lower and upper limits (2,) of an image in another CRS, from points along its border."""
    corners = outline(grid)
    share = np.linspace(0, 1, 9)[:, None, None]
    border = ((1 - share) * corners[:-1] + share * corners[1:]).reshape(-1, 2)
    places = np.stack(georef.transform_points(grid.crs, crs, *border.T), axis=-1)
    places = places[np.isfinite(places).all(axis=1)]
    if not len(places):
        raise NoOverlap("an image has no place in the CRS of the other: there is nothing to show")
    return places.min(axis=0), places.max(axis=0)


def paint(raster: Raster, canvas: Canvas) -> Shown:
    """Resample an image onto a canvas; one row of tiles is read at a time."""
    rows, cols = canvas.shape
    down, across = math.ceil(rows / _TILE), math.ceil(cols / _TILE)
    values = np.zeros((down * _TILE, across * _TILE), np.float32)
    valid = np.zeros(values.shape, bool)
    for i in range(down):
        views = [canvas.part(i * _TILE, j * _TILE, _TILE, canvas.step) for j in range(across)]
        for j, (tile, known) in enumerate(render(raster, views, "bilinear")):
            place = np.s_[i * _TILE : (i + 1) * _TILE, j * _TILE : (j + 1) * _TILE]
            values[place], valid[place] = tile, known
    return values[:rows, :cols], valid[:rows, :cols]


def contrasts(shown: Sequence[Shown]) -> list[Contrast]:
    """Contrast of reference, target and corrected target: the latter two have one in common."""
    own = contrast(shown[:1])
    return [own, *[contrast(shown[1:])] * (len(shown) - 1)] if len(shown) > 1 else [own]


def image_source(grey: Floats, valid: Bools | None = None) -> str:
    """Pack a grey image into a data URI, WebP where it can be written, else PNG: grey (rows, cols), 0 to 1.

    Pixels that are not valid are transparent.
    """
    pillow = require("PIL.Image", extra="plot")
    levels = np.rint(np.clip(np.nan_to_num(grey), 0, 1) * 255).astype(np.uint8)
    if valid is None or valid.all():
        image = pillow.fromarray(levels)
    else:
        image = pillow.fromarray(np.stack([levels, np.where(valid, 255, 0).astype(np.uint8)], axis=-1))
    kind = "WEBP" if require("PIL.features", extra="plot").check("webp") else "PNG"
    image = image.convert("RGBA") if kind == "WEBP" and image.mode == "LA" else image
    buffer = io.BytesIO()
    image.save(buffer, kind, **({"quality": 88, "method": 6} if kind == "WEBP" else {"optimize": True}))
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
