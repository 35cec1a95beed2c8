"""`match` with a geometry: rotation, scale and shift of any size, affine distortion, perspective.

A first guess comes from coarse images (:mod:`xcoreg.core.mellin`). The target is then placed by it, which changes its
transform and no pixel, and its windows are cut along that: a field of small corrections remains, whose tie points are
brought back to the target as it came and adjusted by least squares. That is repeated until the placement is settled.
"""

from __future__ import annotations

import logging
from dataclasses import fields, replace
from typing import Any

import numpy as np
import shapely
from affine import Affine
from xarray import DataArray, Dataset

from xcoreg.core import Floats
from xcoreg.core.matches import Status
from xcoreg.core.models import PARAMETERS, Degenerate, adjust
from xcoreg.core.quality import ce90, nmad
from xcoreg.georef import linear_of, vector_to_pixel
from xcoreg.georef.crs import unit_of
from xcoreg.matching import field
from xcoreg.matching.options import LocalOptions, Options
from xcoreg.matching.placing import trusted_guess
from xcoreg.matching.result import FOUND_NOTHING, scene_details, window_medians
from xcoreg.matching.scene import Scene, overlap_size, prepare
from xcoreg.results.coregistration import Coregistration, Quality, current_versions
from xcoreg.results.shift import Shift
from xcoreg.results.tiepoints import TiePoints

logger = logging.getLogger("xcoreg")

Image = DataArray | Dataset

# Placements at most; they are settled when no corner of the image moves by more, target px.
_PLACEMENTS, _SETTLED = 4, 0.05
_ALONG = 10  # windows along the longer side of the overlap
_BETTER = 6.0  # gain in the Bayesian information criterion that a freer geometry needs


def match(target: Image, reference: Image, options: Options) -> Coregistration:
    """Measure the geometry of the whole image; the result may not be ok."""
    by = [options.by("phase")] + ([options.by("structure")] if options.matcher == "auto" else [])
    scene = prepare(target, reference, by[0])
    # A small rotation needs no guess, and whatever agrees about the images where they lie is no accident.
    guess = trusted_guess(scene) or Affine.identity()
    points, status, quality = _no_points(scene), Status.NO_PEAK, Quality()
    for matcher in by:
        points, status, chance = _place(target, reference, matcher, guess)
        if status is Status.OK or status not in FOUND_NOTHING:
            break
    model = None
    if status is Status.OK:
        try:
            points, model, quality = _adjusted(points, options.geometry, scene)
        except Degenerate:
            status = Status.NO_PEAK
    return _result(scene, options, points, model, replace(quality, n_windows=len(points), chance=chance), status)


def _no_points(scene: Scene) -> TiePoints:
    none: Any = np.empty(0)
    return TiePoints(none, none, none, none, none, none, none, none, none, crs_wkt=_wkt(scene))


def _wkt(scene: Scene) -> str | None:
    crs = scene.target.grid.crs
    return None if crs is None else str(crs.to_wkt())


def _place(target: Image, reference: Image, options: Options, guess: Affine) -> tuple[TiePoints, Status, float]:
    """Place the target, match a field, and place it again, until that changes nothing more.

    Returns the last tie points, of the target as it came, their status and the chance of their agreement.
    """
    placed = guess
    for _ in range(_PLACEMENTS):
        scene = prepare(target, reference, options, placed)
        points, reach = field.find_points(scene, _local_options(options, scene))
        status, chance = field.acceptance(points, reach)
        logger.info("placed by %s: %s, %s", tuple(placed)[:6], points, status.name)
        if status is not Status.OK:
            break
        good = points.take(points.ok)
        try:
            model: Any = adjust("affine", good.x, good.y, good.dx, good.dy, good.cov)[0]
        except Degenerate:
            return field.as_it_came(points, placed, scene), Status.NO_PEAK, chance
        corners = np.array(shapely.get_coordinates(scene.target.grid.extent.geom)).T
        moved = vector_to_pixel(linear_of(scene.target.grid.affine), *model.predict(*corners))
        if np.hypot(*moved).max() < _SETTLED:
            break
        last, placed = placed, Affine(*model.matrix) @ placed
    else:
        placed = last
    return field.as_it_came(points, placed, scene), status, chance


def _local_options(options: Options, scene: Scene) -> LocalOptions:
    """Options of the field of a placement."""
    names = {f.name for f in fields(LocalOptions)} - {"at", "max_shift", "windows", "geometry"}
    given = {f.name: getattr(options, f.name) for f in fields(Options) if f.name in names}
    longer = max(overlap_size(scene.overlap, linear_of(scene.target.grid.affine)))
    return LocalOptions(**given, spacing=max(longer / _ALONG, 8.0), filters=("reliability", "ssim", "neighbours"))


def _adjusted(points: TiePoints, geometry: str, scene: Scene) -> tuple[TiePoints, Any, Quality]:
    """Adjust a geometry to the tie points, flag outliers, and measure the residuals."""
    good = points.take(points.ok)
    columns = good.x, good.y, good.dx, good.dy, good.cov
    kinds: tuple[str, ...] = ("similarity", "affine", "homography") if geometry == "auto" else (geometry,)
    if scene.target.grid.crs is not None and scene.target.grid.crs.geographic:
        kinds = tuple("affine" if kind == "similarity" else kind for kind in kinds)  # degrees are not alike
    best = None
    for kind in kinds:
        try:
            found = adjust(kind, *columns)
        except Degenerate:
            if best is None and kind == kinds[-1]:
                raise
            continue
        score = _criterion(kind, found, good)
        if best is None or score < best[0] - _BETTER:
            best = score, found
    if best is None:
        raise Degenerate("too few tie points for any geometry", 3)
    model, residual, weight = best[1]
    flags = np.zeros(len(points), bool)
    flags[np.flatnonzero(points.ok)[weight == 0]] = True
    points = points.with_status(flags, Status.OUTLIER)
    inside = weight > 0
    # The residual that a point would have if it were left out, from its share in the fit.
    spread, own = model.predict_cov(good.x, good.y)[inside], good.cov[inside] + np.asarray(model.scatter)
    left = np.eye(2) - spread @ np.linalg.inv(own)
    check = np.linalg.solve(left, residual[inside][..., None])[..., 0]
    linear = linear_of(scene.target.grid.affine)
    after = vector_to_pixel(linear, *check.T)
    before = points.dcol[points.ok], points.drow[points.ok]
    rmse = [float(np.sqrt(np.mean(np.hypot(*pair) ** 2))) for pair in (before, after)]
    quality = Quality(
        **window_medians(points, points.ok),
        spread_px=float(np.hypot(nmad(after[0]), nmad(after[1])) / np.sqrt(2)),
        n_check=int(inside.sum()),
        median_before=float(np.median(np.hypot(*before))),
        median_after=float(np.median(np.hypot(*after))),
        rmse_before=rmse[0],
        rmse_after=rmse[1],
        ce90_before=ce90(*before),
        ce90_after=ce90(*after),
    )
    return points, model, quality


def _criterion(kind: str, found: tuple[Any, Floats, Floats], good: TiePoints) -> float:
    """Bayesian information criterion of a geometry, with robust residuals over their standard deviations."""
    _, residual, _ = found
    square = np.einsum("ni,nij,nj->n", residual, np.linalg.inv(good.cov), residual)
    n = len(square)
    parameters = PARAMETERS[kind]
    scale = float(np.median(square)) / 1.386 * n / max(n - parameters / 2, 1)
    return 2 * n * float(np.log(max(scale, 1.0))) + parameters * float(np.log(2 * n))


def _result(
    scene: Scene, options: Options, points: TiePoints, model: Any, quality: Quality, status: Status
) -> Coregistration:
    """Make the result."""
    grid = scene.target.grid
    shift = None
    if model is not None:
        cols, rows = np.array(grid.shape.xy) / 2
        x, y = grid.affine @ (float(cols), float(rows))
        dx, dy = (float(part) for part in model.predict(x, y))
        (xx, xy), (yx, yy) = model.predict_cov(x, y).tolist()
        shift = Shift(dx, dy, ((xx, xy), (yx, yy)), linear_of(grid.affine), unit=unit_of(grid.crs))
    elif status is not Status.OK:
        points = points.with_status(points.ok, status)
    return Coregistration(
        model=model,
        points=points,
        quality=replace(quality, n_ok=int(points.ok.sum())),
        status=status,
        shift_or_none=shift,
        crs_wkt=_wkt(scene),
        transform=tuple(grid.affine)[:6],
        shape=scene.target.shape,
        details=scene_details(scene, options),
        versions=current_versions(),
    )
