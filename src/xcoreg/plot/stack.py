"""Figures of stacks: corrections over time, residuals of pairs, the network, and an animation before and after."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xcoreg.core import Floats
from xcoreg.core.matches import Status
from xcoreg.errors import OptionError, require
from xcoreg.files import replacing
from xcoreg.io.series import Date, dates_of
from xcoreg.plot.style import BAD, GOOD, contrast, new_figure, stretch
from xcoreg.raster.raster import make_raster
from xcoreg.results.stack import StackFit
from xcoreg.results.stack_adjust import times_of

_FRAMES = 60  # dates of an animation at most
_OTHER = "#999999"


def plot_stack(stack: StackFit, kind: str = "series") -> Any:
    """Draw a stack of dates.

    Parameters
    ----------
    stack : StackFit
        What `match_stack` found.
    kind : {"series", "residuals", "network"}
        Corrections over time with error bars (95 %); residuals of pairs, date by date; which dates were matched.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    OptionError
        For another kind.

    Examples
    --------
    >>> from xcoreg import match_stack, simulate
    >>> stack = match_stack(simulate.cube(4, (160, 160), clouds=0, seed=2).cube)
    >>> len(plot_stack(stack).axes), len(plot_stack(stack, "network").axes)
    (2, 2)
    """
    kinds: dict[str, Callable[[StackFit], Any]] = {
        "series": _draw_series,
        "residuals": _draw_residuals,
        "network": _draw_network,
    }
    if kind not in kinds:
        raise OptionError(f"kind is {kind!r}: choose from {', '.join(kinds)}")
    return kinds[kind](stack)


def _axis_of_dates(stack: StackFit) -> tuple[Any, bool]:
    """Where dates lie on an axis: their times, or their numbers where times are unknown."""
    dates = tuple(one for one in stack.dates if one.role == "date")
    times = times_of(dates)
    known = not np.isnat(times).any() and len(np.unique(times)) == len(times)
    return (times.astype("datetime64[s]").tolist(), True) if known else (np.arange(len(dates)), False)


_LONGEST = 22  # characters of a label


def short_labels(names: Sequence[str]) -> list[str]:
    """Labels of dates that fit into a figure: the day of a time, the minute where days repeat; ends of long names."""
    for length in (10, 16):
        short = [one[:length].replace("T", " ") if _is_time(one) else one for one in names]
        if len(set(short)) == len(set(names)):
            break
    else:
        short = list(names)
    return [one if len(one) <= _LONGEST else "\u2026" + one[1 - _LONGEST :] for one in short]


def _is_time(name: str) -> bool:
    return re.match(r"\d{4}-\d\d-\d\d(T|$)", name) is not None


def _draw_series(stack: StackFit) -> Any:
    figure = new_figure(10, 5.6)
    axes = figure.subplots(2, 1, sharex=True)
    at, timed = _axis_of_dates(stack)
    shifts, covs = stack.shifts_px, stack.covs_px
    refused = np.array([one.status is not Status.OK for one in stack.dates if one.role == "date"])
    for axis, (one, name, colour) in enumerate(zip(axes, ("dcol (right)", "drow (down)"), (GOOD, BAD), strict=True)):
        sigma = np.sqrt(covs[:, axis, axis])
        one.errorbar(at, shifts[:, axis], 1.96 * sigma, fmt="o", ms=3.5, lw=1, capsize=2, color=colour)
        one.axhline(0, color="black", lw=0.7)
        for where in np.flatnonzero(refused):
            one.axvline(at[where], color=_OTHER, lw=1, ls=":")
        one.set_ylabel(f"{name}, px")
    text = f"{int((~refused).sum())} dates, error bars 95 %"
    axes[0].set_title(text + (f"; dotted: without a correction ({int(refused.sum())})" if refused.any() else ""))
    if not timed:
        axes[1].set_xlabel("number of the date")
    return figure


def _draw_residuals(stack: StackFit) -> Any:
    """Draw standardised residuals, date by date; outliers are marked."""
    n, pairs = len(stack.dates), stack.pairs
    values = np.full((n, n), np.nan)
    shown = np.where(np.isfinite(pairs.normalised), pairs.normalised, np.nan)
    values[pairs.target, pairs.reference] = values[pairs.reference, pairs.target] = shown
    figure = new_figure(7.4, 6.2)
    axes = figure.add_subplot()
    image = axes.imshow(values, cmap="viridis", vmin=0, vmax=4, interpolation="nearest")
    for kind, marker, colour in ((pairs.outlier, "x", BAD), (pairs.status != Status.OK, ".", _OTHER)):
        t, r = pairs.target[kind], pairs.reference[kind]
        axes.scatter(np.r_[t, r], np.r_[r, t], marker=marker, s=16, color=colour)
    figure.colorbar(image, ax=axes, label="length of the residual, standard deviations")
    axes.set_title("Residuals of pairs; crosses: outliers, dots: refused, white: not tried")
    _name_ticks(axes, stack)
    return figure


def _name_ticks(axes: Any, stack: StackFit) -> None:
    step = max(len(stack.dates) // 12, 1)
    where = np.arange(0, len(stack.dates), step)
    labels = short_labels([one.name for one in stack.dates])
    names = [labels[at] for at in where]
    axes.set_xticks(where, names, rotation=90, fontsize=8)
    axes.set_yticks(where, names, fontsize=8)


def _draw_network(stack: StackFit) -> Any:
    """Draw dates around a circle, in their order, and pairs between them."""
    figure = new_figure(8.2, 6.8)
    axes = figure.add_subplot()
    n, pairs = len(stack.dates), stack.pairs
    angle = np.pi / 2 - 2 * np.pi * np.arange(n) / n
    place = np.stack([np.cos(angle), np.sin(angle)], -1)
    lines = require("matplotlib.collections", extra="plot").LineCollection
    ends = np.stack([place[pairs.target], place[pairs.reference]], 1)
    failed = pairs.status != Status.OK
    for chosen, colour, style, width in ((failed, _OTHER, ":", 0.6), (pairs.outlier, BAD, "-", 1.2)):
        axes.add_collection(lines(ends[chosen], colors=colour, linestyles=style, linewidths=width))
    good = np.flatnonzero(pairs.accepted)
    made = lines(ends[good], array=np.nan_to_num(pairs.normalised[good]), cmap="viridis", linewidths=0.9)
    made.set_clim(0, 4)
    axes.add_collection(made)
    placed = np.array([one.status is Status.OK for one in stack.dates])
    for chosen, colour in ((placed, GOOD), (~placed, BAD)):
        axes.scatter(*place[chosen].T, s=36, color=colour, zorder=3)
    labels = short_labels([one.name for one in stack.dates])
    for at in range(0, n, max(n // 36, 1)):
        # Along the radius, upright: labels side by side do not cover each other.
        left = place[at, 0] < -1e-9
        turn = np.degrees(angle[at]) + (180 if left else 0)
        text: Any = {"ha": "right" if left else "left", "va": "center", "fontsize": 8, "rotation_mode": "anchor"}
        axes.text(*(1.05 * place[at]), labels[at], rotation=turn, **text)
    reach = 1.1 + 0.035 * max(map(len, labels))
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    axes.axis("off")
    text = "orange: outliers and refused dates; dotted: refused pairs"
    axes.set_title(f"{len(good)} of {len(pairs)} pairs accepted\n{text}", fontsize=10)
    figure.colorbar(made, ax=axes, label="length of the residual, standard deviations", shrink=0.7, pad=0.02)
    return figure


def save_animation(
    path: str | Path,
    before: Any,
    after: Any,
    *,
    at: tuple[float, float] | None = None,
    size: int = 128,
    band: Any = None,
    fps: float = 4.0,
) -> None:
    """Write an animated GIF of a crop of all dates, before and after the correction side by side.

    Parameters
    ----------
    path : str or Path
        `.gif`.
    before, after : DataArray or Dataset (time, ..., y, x), or list of images
        The dates before, and after they were interpolated onto one grid.
    at : (x, y), optional
        Centre of the crop, CRS units; default: the middle.
    size : int
        Side of the crop, px.
    band : int or str, optional
        Which one is shown; default: the first.
    fps : float
        Dates per second.

    Raises
    ------
    OptionError
        When the path is no `.gif` or cannot be written, or there are not the same dates.

    Examples
    --------
    >>> import tempfile, xcoreg
    >>> cube = xcoreg.simulate.cube(3, (128, 128), clouds=0, seed=2).cube
    >>> fixed = cube.coreg.apply(cube.coreg.match_stack())
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_animation(f"{folder}/cube.gif", cube, fixed, size=64)
    """
    if not str(path).lower().endswith(".gif"):
        raise OptionError(
            f"an animation is a GIF, not {str(path)!r:.60}: give a path that ends in .gif, then the dates"
        )
    names = {one.name for one in dates_of(after)}
    first = [one for one in dates_of(before) if one.name in names]
    second = [one for one in dates_of(after) if one.name in {one.name for one in first}]
    if not first or len(first) != len(second):
        raise OptionError("the dates before and after have other names: give the cube and what apply made of it")
    step = max(-(-len(first) // _FRAMES), 1)
    shown = [[_crop(one, at, size, band) for one in part[::step]] for part in (first, second)]
    _animate(path, shown, short_labels([one.name for one in first[::step]]), fps)


def _crop(date: Date, at: tuple[float, float] | None, size: int, band: Any) -> Floats:
    """Grey values of a crop, with the contrast of the date."""
    raster = make_raster(date.image, band=band, name=date.name, search=False)
    rows, cols = raster.shape
    col, row = (cols / 2, rows / 2) if at is None else ~raster.grid.affine @ at
    top, left = (
        int(np.clip(round(one - size / 2), 0, max(full - size, 0))) for one, full in ((row, rows), (col, cols))
    )
    values, valid = raster.read(top, top + size, left, left + size)
    low, high, gamma = contrast([(values, valid)])
    return np.asarray(stretch(values, valid, low, high, gamma))


def _animate(path: str | Path, shown: list[list[Floats]], names: list[str], fps: float) -> None:
    figure = new_figure(8.4, 4.6)
    images = []
    for axes, title, part in zip(figure.subplots(1, 2), ("before", "after"), shown, strict=True):
        images.append(axes.imshow(part[0], cmap="gray", vmin=0, vmax=1, interpolation="nearest"))
        axes.set_title(title)
        axes.axis("off")
    figure.suptitle(names[0])
    for _ in range(2):  # the layout settles at the second drawing; later frames must not move
        figure.draw_without_rendering()
    figure.set_layout_engine("none")
    writer = require("matplotlib.animation", extra="plot").PillowWriter(fps=fps)
    with replacing(path) as temporary, writer.saving(figure, str(temporary), dpi=70):
        for name, *pair in zip(names, *shown, strict=True):
            for image, values in zip(images, pair, strict=True):
                image.set_data(values)
            figure.suptitle(name)
            writer.grab_frame()
