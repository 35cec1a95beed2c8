"""Maps: a background, the windows that were refused, and arrows where one was trusted."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from xcoreg import georef
from xcoreg.core import Array, Floats
from xcoreg.core.matches import Status, describe_counts
from xcoreg.errors import require
from xcoreg.plot.style import BAD, GOOD, contrast, plain_ticks, stretch
from xcoreg.raster.overview import overview_of
from xcoreg.raster.raster import make_raster
from xcoreg.results.html import STATUS_STYLES, outline, sort_statuses
from xcoreg.results.tiepoints import TiePoints, thin

FEW = 60  # up to so many windows each is drawn with its own square and ellipse
_ARROWS = 500  # of more windows a well spread part gets arrows, the others dots
_SIDE = 512  # pixels of a background
_NEAR = 3  # cells
_MARGIN = 0.06  # of the extent

#: Outline of the target (5, 2), and its transform.
Frame = tuple["Floats", "tuple[float, ...]"]


def draw_map(
    figure: Any, axes: Any, points: TiePoints, background: Any, frame: Frame | None, *, legend: bool = True
) -> None:
    """Draw tie points on their map."""
    if background is not None:
        draw_background(axes, background, points.crs_wkt)
    if frame is not None:
        axes.plot(*frame[0].T, color="black", lw=1.2)
        if legend and len(points) <= FEW:
            _draw_squares(axes, points, frame[1])
    _draw_marks(axes, points)
    corners = frame[0] if frame is not None else np.stack([points.x, points.y], axis=-1)
    good = points.take(points.ok & np.isfinite(points.dx) & np.isfinite(points.dy))
    _draw_arrows(figure, axes, good, corners)
    title = textwrap.fill(f"{len(points)} windows: {describe_counts(points.status)}", 68)
    axes.set_title(title if legend else "Tie points and their corrections", fontsize=11)
    zoom_to(axes, corners, points.crs_wkt)
    plain_ticks(axes)
    if legend and axes.get_legend_handles_labels()[0]:
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.09), fontsize=8, frameon=False)


def zoom_to(axes: Any, corners: Floats, crs: str | None) -> None:
    """Show the target, or the windows, and a margin, however far the background reaches: corners (n, 2) float64."""
    set_aspect(axes, corners, crs)
    if len(corners) == 0:
        return
    low, high = corners.min(axis=0), corners.max(axis=0)
    margin = _MARGIN * (float((high - low).max()) or 1.0)
    axes.set(xlim=(low[0] - margin, high[0] + margin), ylim=(low[1] - margin, high[1] + margin))


def set_aspect(axes: Any, corners: Floats, crs: str | None) -> None:
    """Give both axes one scale on the ground."""
    lat = float(corners[:, 1].mean()) if len(corners) else 0.0
    geographic = crs is not None and georef.as_crs(crs).is_geographic
    axes.set_aspect(1 / math.cos(math.radians(lat)) if geographic and abs(lat) < 85 else "equal", adjustable="box")


def draw_background(axes: Any, image: Any, crs: Any) -> None:
    """Draw a pale overview of an image below everything else."""
    raster = make_raster(image, name="background")
    coarse = overview_of(raster, size=_SIDE)
    corners = outline(coarse.grid)
    x, y = georef.transform_points(raster.grid.crs, crs or raster.grid.crs, corners[:, 0], corners[:, 1])
    left, right, bottom, top = float(x.min()), float(x.max()), float(y.min()), float(y.max())
    # The overview is sampled through its own grid, so that rotated and south-up images and other CRSs come out right.
    mesh = np.meshgrid(np.linspace(left, right, _SIDE), np.linspace(top, bottom, _SIDE))
    places = georef.transform_points(crs or raster.grid.crs, raster.grid.crs, *mesh)
    positions = georef.map_to_pixel(coarse.grid.affine, *places)
    col, row = (np.rint(np.nan_to_num(at, posinf=-9, neginf=-9)) for at in positions)
    rows, cols = coarse.values.shape
    inside = (row >= 0) & (row < rows) & (col >= 0) & (col < cols)
    at = np.where(inside, row, 0).astype(int), np.where(inside, col, 0).astype(int)
    values, valid = _filled(coarse)[at], coarse.valid[at] & inside
    grey = stretch(values, valid, *contrast([(values, valid)]))
    grey = 0.3 + 0.55 * grey  # pale, so that the arrows stand out
    rgba = np.dstack([grey, grey, grey, valid.astype(float)])
    axes.imshow(rgba, extent=(left, right, bottom, top), interpolation="nearest", zorder=0)


def _filled(coarse: Any) -> Array:
    """Values of an overview; cells that were not read take the nearest one that was, or the median far from any."""
    known = coarse.sampled & coarse.valid
    if known.all() or not known.any():
        return np.asarray(coarse.values)
    distance, (row, col) = distance_transform_edt(~known, return_indices=True)
    return np.asarray(np.where(distance <= _NEAR, coarse.values[row, col], np.median(coarse.values[known])))


def squares_of(points: TiePoints, side: Floats | NDArray[np.int32], transform: Sequence[float]) -> Floats:
    """Corners (n, 4, 2) on the map of squares (n,), target px, around tie points."""
    half = side[:, None, None] * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) / 2
    dx, dy = georef.vector_to_map(georef.linear_of(transform), half[..., 0], half[..., 1])
    return np.stack([points.x[:, None] + dx, points.y[:, None] + dy], axis=-1)


def _draw_squares(axes: Any, points: TiePoints, transform: Sequence[float]) -> None:
    collections = require("matplotlib.collections", extra="plot")
    squares = squares_of(points, points.size, transform)
    colours = [GOOD if ok else BAD for ok in points.ok]
    axes.add_collection(collections.PolyCollection(list(squares), facecolors="none", edgecolors=colours, lw=1.0))


def _draw_marks(axes: Any, points: TiePoints) -> None:
    # Small marks where there are thousands: they must not hide the map or each other.
    size = float(np.clip(36 * 150 / max(len(points), 1), 1.5, 36))
    edge = {"edgecolors": "black", "lw": 0.5} if size > 12 else {"edgecolors": "none", "lw": 0.0}
    for status, n in sort_statuses(points.counts()):
        if status == Status.OK:
            continue
        mine, (marker, colour) = points.status == status, STATUS_STYLES[status]
        label = f"{status.name} ({n}): {status.reason}"
        axes.scatter(points.x[mine], points.y[mine], s=size, marker=marker, color=colour, label=label, zorder=3, **edge)


def nice(value: float) -> float:
    """Round to 1, 2 or 5 times a power of ten."""
    if not (math.isfinite(value) and value > 0):
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return float(f"{min((1, 2, 5, 10), key=lambda step: abs(math.log(value / power / step))) * power:.6g}")


def _draw_arrows(figure: Any, axes: Any, good: TiePoints, corners: Floats) -> None:
    if len(good) == 0:
        return
    in_pixels = bool(np.isfinite(good.dcol).all())
    colour = np.hypot(good.dcol, good.drow) if in_pixels else good.length
    drawn = thin(good, _ARROWS)
    low, high = (float(limit) for limit in np.percentile(colour, [1, 99]))
    style = {"cmap": "plasma", "clim": (low, high) if high > low else (low - 0.5, low + 0.5)}
    if len(drawn) < len(good):
        clim = style["clim"]
        size = float(np.clip(6000 / len(good), 0.6, 6))
        axes.scatter(good.x, good.y, s=size, c=colour, cmap="plasma", vmin=clim[0], vmax=clim[1], lw=0, zorder=3.5)
    # A long arrow reaches as far as the windows lie apart, yet never dominates the map.
    extent = float(np.ptp(corners, axis=0).max()) or 1.0
    shown = extent * min(0.12, 1.1 / math.sqrt(len(drawn)))
    long = max(float(np.percentile(good.length, 90)), 1e-300)
    few = len(good) <= FEW
    arrows = axes.quiver(
        *(column[drawn] for column in (good.x, good.y, good.dx, good.dy, colour)),
        angles="xy",
        scale_units="xy",
        scale=long / shown,
        width=0.006 if few else 0.0035,
        edgecolor="black" if few else "white",
        linewidth=0.4 if few else 0.25,
        zorder=4,
        **style,
    )
    unit = "target px" if in_pixels else "map units"
    figure.colorbar(arrows, ax=axes, shrink=0.7, label=f"length of the correction, {unit}", extend="both")
    ratio = float(np.median(colour[good.length > 0] / good.length[good.length > 0])) if (good.length > 0).any() else 1.0
    key = nice(long * ratio)
    # Its tip stands at the right of its tail, which stands in the corner.
    width = float(np.ptp(corners[:, 0])) + 2 * _MARGIN * extent
    tip = 0.02 + key / ratio / long * shown / width
    scale = axes.quiverkey(arrows, tip, 0.97, key / ratio, f"{key:g} {unit}", labelpos="E", fontproperties={"size": 9})
    scale.text.set_bbox({"facecolor": "white", "alpha": 0.75, "lw": 0, "pad": 1.5})
    part = f", {len(drawn)} of {len(good)} arrows drawn" if len(drawn) < len(good) else ""
    axes.set_xlabel(f"arrows: the correction, enlarged {shown / long:.3g} times{part}", fontsize=9)
