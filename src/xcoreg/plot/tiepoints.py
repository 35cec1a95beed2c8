"""The windows of a fit: where they are, which way they point, how well they agree."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from xcoreg import georef
from xcoreg.core.status import Status
from xcoreg.errors import require
from xcoreg.plot.style import BAD, GOOD, contrast, new_figure, plain_ticks, stretch
from xcoreg.plot.view import outline
from xcoreg.raster import look, make_raster

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xcoreg.points import TiePoints
    from xcoreg.result import Coregistration

__all__ = ["plot_fit", "plot_points"]

_FEW = 60  # up to so many windows each is drawn with its own square and ellipse
_LOOK = 512  # pixels of a background
_NEAR = 3  # cells
_SHADES = ("#d55e00", "#cc79a7", "#e69f00", "#56b4e9", "#999999", "#f0e442")
_MARKS = ("X", "s", "D", "v", "P", "^")
_ELLIPSE_95 = math.sqrt(-2.0 * math.log(0.05))  # radius of the 95 % ellipse, standard deviations


def plot_fit(fit: Coregistration, background: Any = None) -> Any:
    """Draw a fit: the windows on the map, their shifts with uncertainty, and what is left after the correction.

    Parameters
    ----------
    fit : Coregistration
        Global or local, trusted or not.
    background : DataArray or Dataset, optional
        An image to draw the windows upon, on any grid; only a coarse look at it is read.

    Returns
    -------
    matplotlib.figure.Figure
        Left the map with one arrow per trusted window (exaggerated, see its key) and a mark with the reason for every
        other; right the shifts in target pixels with 95 % ellipses and the residuals (observed minus predicted).

    Raises
    ------
    MissingDependency
        When matplotlib is not installed.
    """
    figure = new_figure(13.5, 7.8)
    grid = figure.add_gridspec(2, 2, width_ratios=[1.6, 1])
    frame = outline(fit.transform, fit.shape)
    _draw_map(figure, figure.add_subplot(grid[:, 0]), fit.points, background, (frame, fit.transform))
    _draw_shifts(figure.add_subplot(grid[0, 1]), fit)
    _draw_residuals(figure.add_subplot(grid[1, 1]), fit)
    told = f": {fit.shift}" if fit.shift is not None else f": {fit.status.reason}"
    figure.suptitle(f"{fit.status.name}{told}", fontsize=13, color="black" if fit.ok else BAD)
    return figure


def plot_points(points: TiePoints, background: Any = None) -> Any:
    """Draw tie points on the map: an arrow for each trusted window, a mark with the reason for every other.

    Parameters
    ----------
    points : TiePoints
        Windows of a fit.
    background : DataArray or Dataset, optional
        As in :func:`plot_fit`.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    MissingDependency
        When matplotlib is not installed.

    Examples
    --------
    >>> from xcoreg.points import TiePoints
    >>> figure = plot_points(TiePoints([0], [9.5], [9.5], [100], [200], [3], [4], [0.3], [-0.4]))
    >>> figure.axes[0].get_title()
    '1 windows: 1 OK'
    """
    figure = new_figure(9, 8)
    _draw_map(figure, figure.add_subplot(), points, background, None)
    return figure


Frame = tuple["NDArray[np.float64]", "tuple[float, ...]"]


def _draw_map(figure: Any, axes: Any, points: TiePoints, background: Any, frame: Frame | None) -> None:
    if background is not None:
        _draw_background(axes, background, points.crs_wkt)
    if frame is not None:
        axes.plot(*frame[0].T, color="black", lw=1.2, label="target")
        if len(points) <= _FEW:
            _draw_squares(axes, points, frame[1])
    _draw_marks(axes, points)
    _draw_arrows(figure, axes, points.take(points.ok), _extent(points, frame))
    axes.set_title(f"{len(points)} windows: " + ", ".join(f"{n} {name}" for name, n in points.counts().items()))
    axes.set_aspect("equal", adjustable="box")
    _look_at(axes, frame[0] if frame is not None else np.stack([points.x, points.y], axis=-1))
    plain_ticks(axes)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.08), fontsize=8, frameon=False)


def _look_at(axes: Any, corners: NDArray[np.float64]) -> None:
    """Show the target, or the windows, and a margin, however far the background reaches."""
    if len(corners) == 0:
        return
    low, high = corners.min(axis=0), corners.max(axis=0)
    margin = 0.08 * (float((high - low).max()) or 1.0)
    axes.set_xlim(low[0] - margin, high[0] + margin)
    axes.set_ylim(low[1] - margin, high[1] + margin)


def _extent(points: TiePoints, frame: Frame | None) -> float:
    """Size of the map, CRS units."""
    corners = frame[0] if frame is not None else np.stack([points.x, points.y], axis=-1)
    size = float(np.ptp(corners, axis=0).max()) if len(corners) else 0.0
    return size or 1.0


def _draw_background(axes: Any, image: Any, crs: Any) -> None:
    raster = make_raster(image, name="background")
    coarse = look(raster, size=_LOOK)
    corners = outline(coarse.grid.affine, coarse.values.shape)
    x, y = georef.transform_points(raster.grid.crs, crs or raster.grid.crs, corners[:, 0], corners[:, 1])
    left, right, bottom, top = float(x.min()), float(x.max()), float(y.min()), float(y.max())
    # The look is shown through its own grid, so that turned and south-up images and other CRSs come out right.
    mesh = np.meshgrid(np.linspace(left, right, _LOOK), np.linspace(top, bottom, _LOOK))
    places = georef.transform_points(crs or raster.grid.crs, raster.grid.crs, *mesh)
    col, row = (
        np.rint(np.nan_to_num(v, posinf=-9, neginf=-9)) for v in georef.map_to_pixel(coarse.grid.affine, *places)
    )
    rows, cols = coarse.values.shape
    inside = (row >= 0) & (row < rows) & (col >= 0) & (col < cols)
    at = np.where(inside, row, 0).astype(int), np.where(inside, col, 0).astype(int)
    values, valid = _filled(coarse)[at], coarse.valid[at] & inside
    grey = stretch(values, valid, *contrast([(values, valid)]))
    grey = 0.3 + 0.55 * grey  # paler than the picture: the arrows come first
    rgba = np.dstack([grey, grey, grey, valid.astype(float)])
    axes.imshow(rgba, extent=(left, right, bottom, top), interpolation="nearest", zorder=0)


def _filled(coarse: Any) -> NDArray[Any]:
    """Values of a look; what was not looked at takes the nearest cell that was, or plain grey far from any."""
    from scipy.ndimage import distance_transform_edt

    known = coarse.seen & coarse.valid
    if known.all() or not known.any():
        return np.asarray(coarse.values)
    distance, (row, col) = distance_transform_edt(~known, return_indices=True)
    return np.asarray(np.where(distance <= _NEAR, coarse.values[row, col], np.median(coarse.values[known])))


def _draw_squares(axes: Any, points: TiePoints, transform: tuple[float, ...]) -> None:
    collections = require("matplotlib.collections", extra="plot")
    linear = georef.linear_of(transform)
    corner = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) / 2
    half = points.size[:, None, None] * corner
    dx, dy = georef.vector_to_map(linear, half[..., 0], half[..., 1])
    squares = np.stack([points.x[:, None] + dx, points.y[:, None] + dy], axis=-1)
    colours = [GOOD if ok else BAD for ok in points.ok]
    axes.add_collection(collections.PolyCollection(list(squares), facecolors="none", edgecolors=colours, lw=1.0))


def _draw_marks(axes: Any, points: TiePoints) -> None:
    codes = [Status(int(code)) for code in np.unique(points.status) if code != Status.OK]
    for i, status in enumerate(codes):
        mine = points.status == status
        look = {"marker": _MARKS[i % len(_MARKS)], "color": _SHADES[i % len(_SHADES)]}
        label = f"{status.name} ({int(mine.sum())}): {status.reason}"
        axes.scatter(points.x[mine], points.y[mine], s=36, edgecolors="black", lw=0.5, label=label, zorder=3, **look)


def _draw_arrows(figure: Any, axes: Any, good: TiePoints, extent: float) -> None:
    if len(good) == 0:
        return
    typical = float(np.median(good.length))
    # A typical arrow is as long as the windows lie apart, yet never dominates the map.
    shown = extent * min(0.12, 0.8 / math.sqrt(len(good)))
    arrows = axes.quiver(
        good.x,
        good.y,
        good.dx,
        good.dy,
        good.length,
        angles="xy",
        scale_units="xy",
        scale=max(typical, 1e-12) / shown,
        width=0.006 if len(good) <= _FEW else 0.004,
        cmap="plasma",
        edgecolor="black" if len(good) <= _FEW else "white",
        linewidth=0.4,
        zorder=4,
    )
    figure.colorbar(arrows, ax=axes, shrink=0.7, label="length of the correction, map units")
    axes.set_xlabel(f"arrows: enlarged {shown / max(typical, 1e-12):.3g} times", fontsize=9)


def _draw_shifts(axes: Any, fit: Coregistration) -> None:
    points, good = fit.points, fit.points.take(fit.points.ok)
    others = points.take(~points.ok & np.isfinite(points.dcol))
    axes.axhline(0, color="0.8", lw=0.8)
    axes.axvline(0, color="0.8", lw=0.8)
    covs = georef.cov_to_pixel(georef.linear_of(fit.transform), good.cov)
    if len(good) <= _FEW:
        for col, row, cov in zip(good.dcol, good.drow, covs, strict=True):
            _draw_ellipse(axes, (col, row), cov, {"facecolor": GOOD, "alpha": 0.18, "lw": 0})
    told = "trusted windows" + (" (95 % ellipses)" if len(good) <= _FEW else "")
    axes.scatter(good.dcol, good.drow, s=16, color=GOOD, lw=0, label=told)
    if len(others):
        axes.scatter(others.dcol, others.drow, s=22, marker="x", color=BAD, lw=1, label="other windows")
    if fit.shift is not None:
        centre = fit.shift.dcol, fit.shift.drow
        axes.plot(*centre, "+", color="black", ms=16, mew=1.6, label="the answer", zorder=5)
        _draw_ellipse(axes, centre, np.array(fit.shift.cov_px), {"facecolor": "none", "edgecolor": "black", "lw": 1.2})
    _frame_shifts(axes, good, covs, fit)
    axes.set(xlabel="dcol, target px (right)", ylabel="drow, target px (down)", title="shift of every window")
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)


def _frame_shifts(axes: Any, good: TiePoints, covs: NDArray[np.float64], fit: Coregistration) -> None:
    """Look at the trusted windows; distrusted ones may lie anywhere."""
    cols, rows = list(good.dcol), list(good.drow)
    if fit.shift is not None:
        cols, rows = [*cols, fit.shift.dcol], [*rows, fit.shift.drow]
    if cols:
        sigma = np.sqrt(np.median(covs[:, [0, 1], [0, 1]], axis=0)) if len(covs) else np.zeros(2)
        reach = _ELLIPSE_95 * float(np.nan_to_num(sigma).max())
        half = max(float(np.ptp(cols)), float(np.ptp(rows)), 0.05) * 0.55 + reach
        middle = (max(cols) + min(cols)) / 2, (max(rows) + min(rows)) / 2
        axes.set_xlim(middle[0] - half, middle[0] + half)
        axes.set_ylim(middle[1] + half, middle[1] - half)  # rows grow downwards
    axes.set_aspect("equal", adjustable="box")


def _draw_ellipse(axes: Any, centre: tuple[float, float], cov: NDArray[np.float64], look: dict[str, Any]) -> None:
    if not np.isfinite(cov).all():
        return
    sizes, turn = np.linalg.eigh(cov)
    width, height = 2 * _ELLIPSE_95 * np.sqrt(np.maximum(sizes, 0.0))
    angle = math.degrees(math.atan2(turn[1, 0], turn[0, 0]))
    patches = require("matplotlib.patches", extra="plot")
    axes.add_patch(patches.Ellipse(centre, width, height, angle=angle, **look))


def _draw_residuals(axes: Any, fit: Coregistration) -> None:
    good = fit.points.take(fit.points.ok)
    if fit.model is None or len(good) == 0:
        axes.axis("off")
        axes.text(0.0, 0.95, fit.summary(), va="top", family="monospace", fontsize=6.5)
        return
    dx, dy = fit.model.predict(good.x, good.y)
    linear = georef.linear_of(fit.transform)
    dcol, drow = georef.vector_to_pixel(linear, good.dx - dx, good.dy - dy)
    sigma = np.sqrt(np.maximum(georef.cov_to_pixel(linear, good.cov)[:, [0, 1], [0, 1]], 0.0))
    for i, (name, values, colour) in enumerate((("dcol", dcol, GOOD), ("drow", drow, BAD))):
        look = {"color": colour, "label": f"{name}: median {np.median(values):+.3f}, NMAD {_nmad(values):.3f} px"}
        if len(good) <= _FEW:
            bars = 2 * np.nan_to_num(sigma[:, i])
            axes.errorbar(np.arange(len(good)) + 0.2 * i, values, bars, fmt="o", ms=4, lw=1, capsize=2, **look)
        else:
            top = max(float(np.percentile(np.abs([dcol, drow]), 98)) * 1.2, 0.01)
            axes.hist(np.clip(values, -top, top), np.linspace(-top, top, 31), alpha=0.5, **look)
    _label_residuals(axes, good)


def _label_residuals(axes: Any, good: TiePoints) -> None:
    if len(good) <= _FEW:
        axes.axhline(0, color="black", lw=0.8)
        axes.set(xlabel="window", ylabel="residual, target px", title="observed minus predicted (bars: 2 sigma)")
        axes.set_xticks(np.arange(len(good)) + 0.1, [str(window) for window in good.window])
        axes.tick_params(axis="x", labelsize=8 if len(good) <= 20 else 5)
    else:
        axes.axvline(0, color="black", lw=0.8)
        axes.set(xlabel="residual, target px", ylabel="windows", title="observed minus predicted")
    axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, frameon=False)


def _nmad(values: NDArray[np.float64]) -> float:
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))
