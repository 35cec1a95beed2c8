"""Blocks of two elevation models, each with a correction of its own.

From blocks to a model of places and heights, and what it leaves between two elevation models.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from xcoreg.core.arrays import Floats
from xcoreg.core.dem import ElevationMatcher, Patch, Terms
from xcoreg.core.dem.equations import Scale, spread_of
from xcoreg.core.matches import Status
from xcoreg.core.models import (
    Choice,
    Degenerate,
    HorizontalVertical,
    Model,
    Piecewise,
    Translation,
    assess_model,
    choose_heights,
    choose_model,
)
from xcoreg.errors import GridError
from xcoreg.georef import linear_of, map_to_pixel, pixel_to_map, vector_to_map, vector_to_pixel
from xcoreg.matching.elevation import cover, settle, target_pixels, to_metres
from xcoreg.matching.windows import Search, Trials, match_many, progress_bar, to_points

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xcoreg.matching.options import LocalOptions
    from xcoreg.matching.scene import Scene
    from xcoreg.results.tiepoints import TiePoints


# Places within a block that are asked whether a mask leaves them, and the share below which the mask is to blame.
_ASKED, _LEFT = 9, 0.1


def lay_blocks(scene: Scene, spacing: float) -> Floats:
    """Lay blocks side by side over the whole overlap, about so far apart.

    -> (n, 2) float64.
    """
    affine = scene.target.grid.affine
    corners = shapely.get_coordinates(scene.extent)
    axes, half = [], []
    for at in map_to_pixel(affine, corners[:, 0], corners[:, 1]):
        low, span = at.min(), float(np.ptp(at))
        n = max(round(span / spacing), 1)
        axes.append(low + (np.arange(n) + 0.5) * span / n)
        half.append(span / n / 2)
    x, y = pixel_to_map(affine, *(part.ravel() for part in np.meshgrid(*axes)))
    signs = np.array([-1, 1, 1, -1]), np.array([-1, -1, 1, 1])
    off_x, off_y = vector_to_map(linear_of(affine), signs[0] * half[0], signs[1] * half[1])
    squares = shapely.polygons(np.stack([x[:, None] + off_x, y[:, None] + off_y], -1))
    meets = shapely.intersects(scene.overlap, squares)
    if not meets.any():
        raise GridError("no block meets the overlap of both elevation models")
    return np.stack([x[meets], y[meets]], -1)


def block_points(scene: Scene, options: LocalOptions, places: Floats, size: int) -> TiePoints:
    """Match blocks, beginning at the one correction that fits all of them best.

    places (n, 2) float.
    """
    terms = options.terms or Terms(shift=True)
    guess = np.zeros(2)
    if terms.shift:
        found = settle(scene, options, replace(terms, ramp=0, classic=False)).found
        if found.status is Status.OK:
            guess = np.stack(vector_to_map(scene.linear, *found.move))
    limit = np.inf if options.max_shift is None else options.max_shift * target_pixels(scene) + 1.0
    search = Search(size, ElevationMatcher(terms, limit, to_metres(scene)))
    with progress_bar(len(places), "matching", options.progress) as done:
        trials = match_many(scene, places, np.broadcast_to(guess, places.shape), search, done)
    trials.doubt(_masked(scene, trials), Status.MASKED)
    points = to_points([trials], scene)
    if options.max_shift is not None:
        far = np.maximum(np.abs(points.dcol), np.abs(points.drow)) > options.max_shift
        points = points.with_status(far, Status.TOO_FAR)
    return points


def _masked(scene: Scene, trials: Trials) -> NDArray[np.intp]:
    """Blocks without data that a mask has taken it from."""
    empty = np.flatnonzero(trials.matches.status == Status.NO_DATA)
    mask: Callable[..., Any] | None = scene.mask
    if mask is None or not empty.size:
        return empty[:0]
    steps = (np.arange(_ASKED) + 0.5) / _ASKED - 0.5
    dx, dy = vector_to_map(scene.linear, *(trials.size * part.ravel() for part in np.meshgrid(steps, steps)))
    x, y = trials.x[empty, None] + dx, trials.y[empty, None] + dy
    left = np.asarray(mask(x, y), bool).mean(1)
    return np.asarray(empty[left < _LEFT])


# Side of the pieces over which a correction counts as one, px, and what the target is read beyond them.
_PIECE, _REACH = 64, 4
# Triangles have to leave less than this share; their sharpness.
_WORTH, _SHARP = 0.99, 3.0
# So many pieces are compared, an even selection.
_ENOUGH = 160


@dataclass(frozen=True)
class Comparison:
    """What is between two elevation models.

    count : Pixels compared: an even selection.
    before, after : Median and NMAD of reference minus target.
    """

    count: int
    before: Scale
    after: Scale


def choose_lifted(scene: Scene, points: TiePoints, model: Any, terms: Terms) -> tuple[Choice, Comparison]:
    """Fit places and heights of blocks."""
    choices = [_fitted(points, model, terms)]
    if isinstance(model, str) and model == "auto":
        with contextlib.suppress(Degenerate):
            choices.append(_fitted(points, "piecewise", terms))
            choices.append(_sharper(choices[-1]))
    told = compare(scene, [choice.model for choice in choices])
    best = 0
    for at, comparison in enumerate(told):
        if comparison.after.nmad < _WORTH * told[best].after.nmad:
            best = at
    return choices[best], told[best]


def _sharper(choice: Choice) -> Choice:
    """Let triangles go over from block to block within a shorter distance."""
    lifted: Any = choice.model
    parts = (
        replace(part, sharp=_SHARP) if isinstance(part, Piecewise) else part
        for part in (lifted.horizontal, lifted.vertical)
    )
    return replace(choice, model=HorizontalVertical(*parts))


def _fitted(points: TiePoints, model: Any, terms: Terms) -> Choice:
    ok = points.ok
    x, y = points.x[ok], points.y[ok]
    columns = x, y, points.dx[ok], points.dy[ok], points.cov[ok]
    if not terms.shift:
        flat = assess_model("translation", *columns)
        flat = replace(flat, model=Translation(0.0, 0.0, cov=((0.0, 0.0), (0.0, 0.0))), warnings=())
    else:
        flat = choose_model(*columns) if isinstance(model, str) and model == "auto" else assess_model(model, *columns)
    heights = choose_heights(copy.deepcopy(model), x, y, points.dz[ok], points.cov_z[ok, 2])
    rows = [{**row, "component": "dx, dy"} for row in flat.table]
    rows += [{**row, "component": "dz"} for row in heights.table]
    return replace(flat, model=HorizontalVertical(flat.model, heights.model), table=rows)


def compare(scene: Scene, models: Sequence[Model]) -> list[Comparison]:
    """Compare two elevation models before and after corrections."""
    west, south, east, north = scene.extent.bounds
    origin = (west + east) / 2, (south + north) / 2
    before: list[Floats] = []
    after: list[list[Floats]] = [[] for _ in models]
    pieces = [piece for patch in cover(scene) for piece in _pieces(patch)]
    for piece in pieces[:: -(-len(pieces) // _ENOUGH)] if pieces else []:
        before.append(piece.observe(np.zeros(2), spare=True).dh)
        for model, left in zip(models, after, strict=True):
            left.append(_left(piece, model, scene.linear, origin))
    first = spread_of(before)
    return [Comparison(sum(len(part) for part in left), first, spread_of(left)) for left in after]


def _left(piece: Patch, model: Model, linear: Any, origin: tuple[float, float]) -> Floats:
    """Take the corrected target from the reference: one shift for a piece, heights bilinear over it."""
    rows, cols = piece.shape
    corners = np.array([0, cols - 1, (rows - 1) * cols, rows * cols - 1])
    x, y = vector_to_map(linear, *piece.positions(corners))
    x, y = x + origin[0], y + origin[1]
    dx, dy = (float(part) for part in model.predict(x.mean(), y.mean()))
    seen = piece.observe(np.stack(vector_to_pixel(linear, dx, dy)), spare=True)
    # Both are asked for where the target says it is.
    heights = model.predict_dz(x - dx, y - dy).reshape(2, 2)
    down, across = seen.at // cols / max(rows - 1, 1), seen.at % cols / max(cols - 1, 1)
    top, bottom = (line[0] + (line[1] - line[0]) * across for line in heights)
    return np.asarray(seen.dh - (top + (bottom - top) * down), np.float32)


def _pieces(patch: Patch) -> list[Patch]:
    """Cut a window into pieces that overlap by what interpolation reads."""
    rows, cols = patch.shape
    out = []
    for row in range(0, rows, _PIECE):
        for col in range(0, cols, _PIECE):
            top, left = max(row - _REACH, 0), max(col - _REACH, 0)
            cut = slice(top, row + _PIECE + _REACH), slice(left, col + _PIECE + _REACH)
            height, width = patch.ref[cut].shape
            centre = (
                patch.centre[0] + left + (width - 1) / 2 - (cols - 1) / 2,
                patch.centre[1] + top + (height - 1) / 2 - (rows - 1) / 2,
            )
            both = patch.tgt[cut], patch.ref[cut], patch.tgt_valid[cut], patch.ref_valid[cut]
            out.append(Patch(*both, centre, patch.base, patch.level))
    return out
