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
from xcoreg.errors import require, unknown_option
from xcoreg.plot.style import BAD, GOOD, SignedScale, contrast, legend_below, plain_ticks, stretch
from xcoreg.raster.overview import overview_of
from xcoreg.raster.raster import make_raster
from xcoreg.results.html import STATUS_STYLES, outline, sort_statuses
from xcoreg.results.text import crs_unit, short_unit
from xcoreg.results.tiepoints import TiePoints, thin

FEW = 60  # up to so many windows each is drawn with its own square and ellipse
_ARROWS = 500  # of more windows a well spread part gets arrows, the others dots
_SIDE = 512  # pixels of a background
_NEAR = 3  # cells
_MARGIN = 0.06  # of the extent

#: Outline of the target (5, 2), and its transform.
Frame = tuple["Floats", "tuple[float, ...]"]


def draw_map(
    figure: Any,
    axes: Any,
    points: TiePoints,
    background: Any,
    frame: Frame | None,
    *,
    legend: bool = True,
    column: str | None = None,
) -> None:
    """Draw tie points on their map, in the colour of their length or of another column."""
    if background is not None:
        draw_background(axes, background, points.crs_wkt, None if frame is None else frame[0])
    if frame is not None:
        axes.plot(*frame[0].T, color="black", lw=1.2)
        if legend and len(points) <= FEW:
            _draw_squares(axes, points, frame[1])
    if column is None:
        _draw_marks(axes, points)
    corners = frame[0] if frame is not None else np.stack([points.x, points.y], axis=-1)
    good = points.take(points.ok & np.isfinite(points.dx) & np.isfinite(points.dy))
    note = _draw_arrows(figure, axes, good, corners, points if column is not None else None, column)
    title = textwrap.fill(f"{len(points)} windows: {describe_counts(points.status)}", 68)
    # Above the map stands the key of the arrows.
    axes.set_title(title if legend else "Tie points and their corrections", fontsize=11, pad=22 if len(good) else 6)
    zoom_to(axes, corners, points.crs_wkt, _MARGIN if frame is not None else 2 * _MARGIN)
    plain_ticks(axes)
    name_axes(axes, points.crs_wkt, note)
    if legend and axes.get_legend_handles_labels()[0]:
        legend_below(axes, 44)


def name_axes(axes: Any, crs: Any, note: str = "") -> None:
    """Name the axes of a map, with unit and CRS; a note stands below."""
    texts = axis_names(crs)
    axes.set_xlabel(texts[0] + (f"\n{note}" if note else ""), fontsize=9)
    axes.set_ylabel(texts[1], fontsize=9)


def axis_names(crs: Any) -> tuple[str, str]:
    """Give the names of the axes of a CRS, to the right and up, with their units; the first also names the CRS."""
    if crs is None:
        return "x (no CRS)", "y"
    known = georef.as_crs(crs)
    code = georef.epsg_of(known)
    unit = short_unit(known.axis_info[0].unit_name).strip() if known.axis_info else "m"
    words = ("longitude", "latitude") if known.is_geographic else ("easting", "northing")
    if not (known.is_geographic or known.is_projected):
        words = ("x", "y")
    return f"{words[0]}, {unit} ({f'EPSG:{code}' if code else known.name})", f"{words[1]}, {unit}"


def zoom_to(axes: Any, corners: Floats, crs: str | None, share: float = _MARGIN) -> None:
    """Show the target, or the windows, and a margin, however far the background reaches: corners (n, 2) float64."""
    set_aspect(axes, corners, crs)
    if len(corners) == 0:
        return
    low, high = corners.min(axis=0), corners.max(axis=0)
    margin = share * (float((high - low).max()) or 1.0)
    axes.set(xlim=(low[0] - margin, high[0] + margin), ylim=(low[1] - margin, high[1] + margin))


def set_aspect(axes: Any, corners: Floats, crs: str | None) -> None:
    """Give both axes one scale on the ground."""
    lat = float(corners[:, 1].mean()) if len(corners) else 0.0
    geographic = crs is not None and georef.as_crs(crs).is_geographic
    axes.set_aspect(1 / math.cos(math.radians(lat)) if geographic and abs(lat) < 85 else "equal", adjustable="box")


def draw_background(axes: Any, image: Any, crs: Any, frame: Floats | None = None) -> None:
    """Draw a pale overview of an image below everything else, cut to a frame (n, 2)."""
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
    shown = axes.imshow(rgba, extent=(left, right, bottom, top), interpolation="nearest", zorder=0)
    if frame is not None:
        shown.set_clip_path(require("matplotlib.patches", extra="plot").Polygon(frame, transform=axes.transData))


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


_LABELS = {"score": "correlation once aligned", "reliability": "reliability, %", "dcol": "dcol, target px (right)",
           "drow": "drow, target px (down)", "ssim_before": "similarity (SSIM) before",
           "ssim_after": "similarity (SSIM) after", "size": "side of the window, target px"}  # fmt: skip
_SIGNED = ("dx", "dy", "dz", "dcol", "drow")


def _draw_arrows(
    figure: Any, axes: Any, good: TiePoints, corners: Floats, every: TiePoints | None, column: str | None
) -> str:
    """Draw the trusted corrections, or all points in the colours of a column; say how much arrows are enlarged."""
    if every is not None and column is not None:
        _draw_column(figure, axes, every, column)
    if len(good) == 0:
        return ""
    in_pixels = bool(np.isfinite(good.dcol).all())
    unit = "target px" if in_pixels else short_unit_of(good.crs_wkt)
    colour = np.hypot(good.dcol, good.drow) if in_pixels else good.length
    drawn = thin(good, _ARROWS)
    style = {"color": "black"} if column is not None else _length_colours(axes, good, drawn, colour)
    extent, few = float(np.ptp(corners, axis=0).max()) or 1.0, len(good) <= FEW
    # A long arrow reaches as far as the windows lie apart, yet never dominates the map.
    shown = extent * min(0.12, 1.1 / math.sqrt(len(drawn)))
    long = max(float(np.percentile(good.length, 90)), 1e-300)
    values = [getattr(good, name)[drawn] for name in ("x", "y", "dx", "dy")] + ([] if column else [colour[drawn]])
    arrows = axes.quiver(
        *values,
        angles="xy",
        scale_units="xy",
        scale=long / shown,
        width=0.006 if few else 0.0035,
        edgecolor="black" if few else "white",
        linewidth=0.4 if few else 0.25,
        zorder=4,
        **style,
    )
    if column is None:
        figure.colorbar(arrows, ax=axes, shrink=0.7, label=f"length of the correction, {unit}", extend="both")
    _draw_key(axes, arrows, (good, colour), (shown, long, float(np.ptp(corners[:, 0])) + 2 * _MARGIN * extent), unit)
    part = f", {len(drawn)} of {len(good)} arrows drawn" if len(drawn) < len(good) else ""
    return f"arrows: the correction, enlarged {shown / long:.3g} times{part}"


def short_unit_of(crs: Any) -> str:
    """Give the short name of the unit of a CRS; metres without a CRS."""
    return crs_unit(crs).strip()


def _length_colours(axes: Any, good: TiePoints, drawn: Any, colour: Floats) -> dict[str, Any]:
    """Give the colours of arrows by their length; points without an arrow become dots of their colour."""
    low, high = (float(limit) for limit in np.percentile(colour, [1, 99]))
    low, high = (low, high) if high > low else (low - 0.5, low + 0.5)
    if len(drawn) < len(good):
        size = float(np.clip(6000 / len(good), 0.6, 6))
        axes.scatter(good.x, good.y, s=size, c=colour, cmap="plasma", vmin=low, vmax=high, lw=0, zorder=3.5)
    return {"cmap": "plasma", "clim": (low, high)}


def _draw_column(figure: Any, axes: Any, points: TiePoints, column: str) -> None:
    """Draw every tie point as a dot in the colour of a column; where it is unknown, as a small cross."""
    values = column_values(points, column)
    known = np.isfinite(values)
    axes.scatter(points.x[~known], points.y[~known], s=12, marker="x", color="0.35", lw=0.8, zorder=3)
    size = float(np.clip(60 * 150 / max(len(points), 1), 4, 70))
    low, high = (float(v) for v in np.percentile(values[known], [1, 99])) if known.any() else (0.0, 1.0)
    label = _LABELS.get(column, column)
    style: dict[str, Any] = {"cmap": "viridis", "vmin": low, "vmax": high}
    if column in _SIGNED:
        unit = "" if column in ("dcol", "drow") else f", {short_unit_of(points.crs_wkt) if column != 'dz' else 'm'}"
        scale = SignedScale.of(values)
        values, style, label = values - scale.middle, scale.style, f"{label}{scale.text}{unit}"
    dots = axes.scatter(points.x[known], points.y[known], c=values[known], s=size, edgecolors="black", lw=0.4, zorder=5,
                        **style)  # fmt: skip
    figure.colorbar(dots, ax=axes, shrink=0.7, label=label, extend="both")


def column_values(points: TiePoints, column: str) -> Floats:
    """Give a column of numbers of tie points: one of theirs, "length", or "sigma"."""
    if column == "length":
        return np.hypot(points.dcol, points.drow)
    if column == "sigma":
        return np.asarray(np.sqrt(np.maximum(np.trace(points.cov, axis1=1, axis2=2) / 2, 0.0)))
    names = [name for name, one in vars(points).items() if isinstance(one, np.ndarray) and one.ndim == 1]
    if column not in names:
        raise unknown_option(column, [*names, "length", "sigma"])
    return np.asarray(getattr(points, column), np.float64)


def _draw_key(axes: Any, arrows: Any, good: tuple[TiePoints, Floats], lengths: tuple[float, ...], unit: str) -> None:
    """Draw an arrow of round length above the map; lengths: of a long arrow, its correction, width of the map."""
    (points, colour), (shown, long, width) = good, lengths
    moving = points.length > 0
    ratio = float(np.median(colour[moving] / points.length[moving])) if moving.any() else 1.0
    key = nice(long * ratio)
    # Its tip stands at the right of its tail, which stands at the left edge of the map.
    tip = key / ratio / long * shown / width
    axes.quiverkey(arrows, tip, 1.025, key / ratio, f"{key:g} {unit}", labelpos="E", fontproperties={"size": 9})
