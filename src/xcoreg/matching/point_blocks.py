"""A field of corrections between an elevation model and points of known height, block by block."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from xcoreg.core import Floats
from xcoreg.core.dem import SearchArea, Solution, cov3_to_map
from xcoreg.core.dem.equations import spread_of
from xcoreg.core.matches import Status
from xcoreg.core.models import Degenerate
from xcoreg.errors import OptionError, TooFewTiePoints
from xcoreg.georef import as_crs, map_to_pixel, pixel_to_map, vector_to_map, vector_to_pixel
from xcoreg.matching.blocks import Comparison, fit_blocks
from xcoreg.matching.elevation import elevation_failure
from xcoreg.matching.masks import as_mask
from xcoreg.matching.options import LocalOptions
from xcoreg.matching.points import Heights, PointProblem, match_points, point_samples, prepare_points
from xcoreg.matching.quality import assessment_of, field_quality, mean_shift, with_heights
from xcoreg.matching.windows import flag_beyond
from xcoreg.raster.grid import located
from xcoreg.raster.point_heights import is_points
from xcoreg.results.coregistration import Coregistration, current_versions
from xcoreg.results.tiepoints import TiePoints

_PER_BLOCK, _FEWEST = 120, 3  # points that a block should have where no spacing is given; blocks that make a field


def match_points_local(target: Any, points: Any, options: LocalOptions, *, backwards: bool = False) -> Coregistration:
    """Measure a field of corrections of an elevation model by points; backwards: of the points by the model."""
    if options.points is not None or options.max_points is not None:
        raise OptionError(
            "points=, max_points= choose windows of images: blocks of points of known height need spacing="
        )
    problem = prepare_points(target, points, options)
    first = match_points(target, points, options)
    if problem.terms.shift and not first.ok:
        if options.errors == "raise":
            raise elevation_failure(first)
        return first
    start = first.shift if first.ok else None
    move = np.zeros(2) if start is None else np.stack(vector_to_pixel(problem.linear, start.dx, start.dy))
    table = _block_table(problem, options, move)
    table = flag_beyond(table.on_grid(problem.raster.grid), options.max_shift, problem.start)
    if int(table.ok.sum()) < _FEWEST:
        raise TooFewTiePoints(f"only {int(table.ok.sum())} of {len(table)} blocks match: give a larger spacing=", table)
    table = _reversed(table) if backwards else table
    try:
        choice = fit_blocks(table, options.model, problem.terms)
    except Degenerate as error:
        raise TooFewTiePoints(f"{error}: give less spacing=, or a simpler model", table) from error
    compared = _compare(problem, choice.model, backwards)
    grid, details = problem.raster.grid, problem.details(options)
    quality = with_heights(field_quality(table, choice, problem.linear), compared)
    shift = mean_shift(table, choice.model, grid, problem.heights.unit.name)
    assessed = replace(details, assessment=assessment_of(table, choice))
    of_target = tuple(grid.affine)[:6], problem.raster.shape
    return Coregistration(
        choice.model, table, quality, Status.OK, shift, table.crs_wkt, *of_target, assessed, current_versions()
    )


def _block_table(problem: PointProblem, options: LocalOptions, move: Floats) -> TiePoints:
    """Solve for every block that has points, from the shift of all of them."""
    heights, affine = problem.heights, problem.raster.grid.affine
    col, row = map_to_pixel(affine, heights.x, heights.y)
    spans = float(np.ptp(col)) + 1, float(np.ptp(row)) + 1
    side = options.spacing or max(np.sqrt(spans[0] * spans[1] * _PER_BLOCK / len(col)), 16.0)
    cells = [max(round(span / side), 1) for span in spans]
    at = [
        np.minimum(((p - p.min()) / span * n).astype(int), n - 1)
        for p, span, n in zip((col, row), spans, cells, strict=True)
    ]
    names = at[1] * cells[0] + at[0]
    found, places = [], []
    for name in np.unique(names):
        chosen = names == name
        x, y, z = (one[chosen] for one in (heights.x, heights.y, heights.z))
        part = Heights(x, y, z, heights.row[chosen], heights.unit)
        samples, _ = point_samples(problem.raster, part, tuple(map(float, vector_to_map(problem.linear, *move))))
        found.append(problem.solve(samples, SearchArea(problem.search.reach, move)))
        places.append((float(col[chosen].mean()) - move[0], float(row[chosen].mean()) - move[1]))
    return _table(problem, found, np.array(places), side)


def _table(problem: PointProblem, found: list[Solution], places: Floats, side: float) -> TiePoints:
    """Rows of blocks at places (n, 2) of the target, px."""
    moves, n = np.array([one.move for one in found]), len(found)
    x, y = pixel_to_map(problem.raster.grid.affine, places[:, 0], places[:, 1])
    dx, dy = vector_to_map(problem.linear, moves[:, 0], moves[:, 1])
    cov = cov3_to_map(problem.linear, np.array([one.cov[:3, :3] for one in found]))
    columns: dict[str, Any] = {
        name: [getattr(one, name) for one in found] for name in ("count", "nmad_before", "nmad_after")
    }
    columns |= {"dz": [one.mean_height[0] for one in found], "status": [int(one.status) for one in found]}
    wkt = as_crs(problem.raster.grid.crs).to_wkt()
    return TiePoints(np.arange(n), places[:, 1], places[:, 0], x, y, dx, dy, moves[:, 0], moves[:, 1], cov[:, :2, :2],
                     cov_z=cov[:, 2, :], size=np.full(n, round(side)), crs_wkt=wkt, **columns)  # fmt: skip


def _reversed(table: TiePoints) -> TiePoints:
    """Corrections of the other side, where that lies."""
    moved: dict[str, Any] = {name: -getattr(table, name) for name in ("dx", "dy", "dz", "dcol", "drow")}
    ahead: dict[str, Any] = {
        "x": table.x + table.dx,
        "y": table.y + table.dy,
        "col": table.col + table.dcol,
        "row": table.row + table.drow,
    }
    return replace(table, **ahead, **moved)


def _compare(problem: PointProblem, model: Any, backwards: bool) -> Comparison:
    """Compare reference and target at the points, before and after the correction."""
    heights, sign = problem.heights, -1.0 if backwards else 1.0
    x, y = heights.x - problem.start[0], heights.y - problem.start[1]
    if backwards:
        x, y = heights.x, heights.y
    dx, dy = model.predict(x, y)
    if not backwards:  # positions in the elevation model, to which the correction belongs
        x, y = heights.x - dx, heights.y - dy
        dx, dy = model.predict(x, y)
    # From points to positions in the elevation model.
    right, down = vector_to_pixel(problem.linear, -sign * dx, -sign * dy)
    samples, _ = point_samples(problem.raster, heights, (sign * float(np.median(dx)), sign * float(np.median(dy))))
    dz, before, after = model.predict_dz(x, y), [], []
    for one in samples:
        index = np.searchsorted(heights.row, one.index)
        seen = replace(one, col=one.col + right[index], row=one.row + down[index]).observe(np.zeros(2))
        before.append(sign * one.observe(np.zeros(2)).dh)
        after.append(sign * seen.dh - dz[index[seen.at]])
    return Comparison(sum(map(len, after)), spread_of(before), spread_of(after))


def with_points_last(points: Any, dem: Any, options: Any) -> tuple[Any, Any, Any]:
    """Exchange the roles of points to be corrected and of the elevation model: image, points, options."""
    if is_points(dem):
        raise OptionError("both are tables of points: one of the two must be an elevation model")
    mask = as_mask(options.where, points.crs)
    if mask is not None:
        points = points[np.asarray(mask(points.geometry.x.to_numpy(), points.geometry.y.to_numpy()), bool)]
    start = None if options.initial_shift is None else tuple(-float(part) for part in options.initial_shift)
    image = {"band": options.ref_band, "nodata": options.ref_nodata, "where": options.ref_where}
    none = {"ref_band": None, "ref_nodata": None, "ref_where": None}
    return located(dem, "reference"), points, replace(options, initial_shift=start, **image, **none)
