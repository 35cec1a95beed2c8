"""Terrain as a term of a field of shifts: its heights in the CRS of the target, and filters that allow for it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from xcoreg.core.models import choose_model
from xcoreg.core.models.fit import prepare_shifts
from xcoreg.core.models.lines import LinesMaker
from xcoreg.core.models.parallax import Parallax, Surface, parallax_makers, without_parallax
from xcoreg.core.quality import nmad
from xcoreg.errors import OptionError
from xcoreg.filters import run_filters
from xcoreg.georef import as_crs, gsd, linear_of, map_to_pixel, pixel_to_map, transform_points, vector_to_pixel
from xcoreg.io.terrain import read_terrain
from xcoreg.matching.acceptance import count_independent
from xcoreg.results.details import ParallaxDetails

if TYPE_CHECKING:
    from xcoreg.core import Floats
    from xcoreg.core.models import Choice
    from xcoreg.georef import Terrain
    from xcoreg.matching.options import LocalOptions
    from xcoreg.matching.scene import Scene
    from xcoreg.results.tiepoints import TiePoints

_MOST = 1000  # pixels along the longer side of the heights that a model holds
_INVERSIONS = 20  # of a parallax, which changes by a tenth of the way at most
_METRES = 111_320.0  # per degree


def surface_of(scene: Scene, options: LocalOptions) -> Surface | None:
    """Heights below the target on a grid in its CRS; None where no terrain is given."""
    if options.terrain is None:
        return None
    grid = scene.target.grid
    rows, cols = grid.shape
    x, y = pixel_to_map(grid.affine, np.array([-0.5, cols, cols, -0.5]), np.array([-0.5, -0.5, rows, rows]))
    terrain = read_terrain(options.terrain, None, lambda crs: _box(grid.crs, crs, x, y), datum=False)
    pixel = terrain.step / (_METRES if as_crs(grid.crs).is_geographic else 1.0)
    width, height = float(np.ptp(x)), float(np.ptp(y))
    step = max(pixel / 2, min(gsd(grid.affine)), max(width, height) / _MOST)
    finer = max(round(step / pixel), 1)
    counts = [int(np.ceil(extent / step)) + 1 for extent in (height, width)]
    return _sampled(terrain, grid.crs, (float(x.min()), float(y.max())), step, counts, finer)


def _sampled(
    terrain: Terrain, crs: Any, corner: tuple[float, float], step: float, counts: list[int], finer: int
) -> Surface:
    """Heights on a north-up grid, means over its pixels where the terrain is finer."""
    total, number = np.zeros(counts), np.zeros(counts)
    parts = (np.arange(finer) + 0.5) / finer - 0.5
    for down in parts:
        for right in parts:
            xs = corner[0] + (np.arange(counts[1]) + right) * step
            ys = corner[1] - (np.arange(counts[0]) + down) * step
            heights = terrain.at(crs, *np.meshgrid(xs, ys))
            known = np.isfinite(heights)
            total, number = total + np.where(known, heights, 0.0), number + known
    with np.errstate(invalid="ignore"):
        mean = np.round(total / number, 3)  # a millimetre: a fit is saved with its heights
    return Surface(mean, corner, (step, -step))


def _box(crs: Any, goal: Any, x: Floats, y: Floats) -> tuple[float, ...]:
    xs, ys = (np.linspace(one.min(), one.max(), 9) for one in (x, y))
    at_x, at_y = transform_points(crs, goal, *(one.ravel() for one in np.meshgrid(xs, ys)))
    return float(at_x.min()), float(at_y.min()), float(at_x.max()), float(at_y.max())


def run_filters_over(points: TiePoints, options: LocalOptions, scene: Scene, surface: Surface | None) -> TiePoints:
    """Flag outliers among tie points, after the part of their corrections that the terrain explains is taken away."""
    ok = points.ok
    if surface is None or not ok.any():
        return run_filters(points, options.filters)
    prepared = prepare_shifts(points.x[ok], points.y[ok], points.dx[ok], points.dy[ok], points.cov[ok])
    explained = np.zeros((len(points), 2))
    explained[ok] = np.nan_to_num(without_parallax(prepared, surface, side_of(points, scene)))
    rest = replace(points, dx=points.dx - explained[:, 0], dy=points.dy - explained[:, 1])
    flagged = run_filters(rest, options.filters)
    return replace(points, status=flagged.status)


def side_of(points: TiePoints, scene: Scene) -> float:
    """Side of the windows, CRS units of the target."""
    return float(np.median(points.size)) * float(np.sqrt(abs(scene.target.grid.affine.determinant)))


def choose_over(
    points: TiePoints, options: LocalOptions, scene: Scene, surface: Surface, before: Parallax | None
) -> Choice:
    """Choose a model with or without a part in proportion to the height.

    before : The model by which the target was corrected before its windows were matched, if any.
    """
    ok, side = points.ok, side_of(points, scene)
    dx, dy = points.dx, points.dy
    if before is not None:
        # Of the parallax a window measures the mean over its area; that of `before` was taken away at each place.
        x, y = points.x + dx, points.y + dy
        rough = surface.averaged(side).at(x, y) - surface.at(x, y)
        per = before.per_height_at(points.x, points.y)
        dx, dy = dx + per[0] * rough, dy + per[1] * rough
    places = np.stack([points.col[ok], points.row[ok]], -1)
    repeats = len(places) / max(count_independent(places, float(np.median(points.size))), 1)
    kinds = parallax_makers(surface, side, options.model, repeats)
    return choose_model(points.x[ok], points.y[ok], dx[ok], dy[ok], points.cov[ok], kinds)


def before_correction(points: TiePoints, model: Parallax, scene: Scene) -> TiePoints:
    """Tie points of a corrected target as those of the target before, with the whole correction."""
    x, y = points.x, points.y
    for _ in range(_INVERSIONS):
        dx, dy = model.predict(x, y)
        x, y = points.x - dx, points.y - dy
    dx, dy = points.x + points.dx - x, points.y + points.dy - y
    affine = scene.target.grid.affine
    col, row = map_to_pixel(affine, x, y)
    dcol, drow = vector_to_pixel(linear_of(affine), dx, dy)
    return replace(points, x=x, y=y, col=col, row=row, dx=dx, dy=dy, dcol=dcol, drow=drow)


def describe_parallax(choice: Choice) -> ParallaxDetails | None:
    """Record what was found, and the heights that would explain the residuals: errors of the terrain."""
    model = choice.model
    if not isinstance(model, Parallax):
        return None
    dx, dy = model.per_height
    along = (choice.residual_dx * dx + choice.residual_dy * dy) / (dx * dx + dy * dy)
    (xx, xy), (yx, yy) = model.per_height_cov.tolist()
    return ParallaxDetails(dx, dy, ((xx, xy), (yx, yy)), float(nmad(along[np.isfinite(along)])))


def line_kinds(points: TiePoints, scene: Scene) -> list[Any]:
    """Kinds among which the distortions of a pushbroom sensor are chosen: its lines are the rows of the target."""
    _, b, d, _ = linear_of(scene.target.grid.affine)
    if b or d:
        raise OptionError("model='lines' needs rows along the x axis of the CRS, and this grid is rotated")
    return ["translation", "affine", LinesMaker(side_of(points, scene))]
