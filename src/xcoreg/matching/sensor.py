"""Raw images against a reference: windows compared on the ground, the correction fitted in the raw image.

The raw image is rectified over the terrain with the correction that is known so far, matched there, and the tie points
are brought back into the raw image, until the correction settles: an image that is 12 px off takes the heights of
places 12 px away, which distorts it on slopes.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from odc.geo.geobox import GeoBox

from xcoreg import lazy
from xcoreg.core.matches import Status
from xcoreg.core.models.base import Degenerate, Translation, to_tuples
from xcoreg.core.models.fit import fit_model, fit_points, prepare_shifts
from xcoreg.core.models.leastsq import rejection_limit, squared_distance
from xcoreg.core.models.polynomial import Polynomial
from xcoreg.core.robust import biweight_loss
from xcoreg.errors import LowSupport, warn_user
from xcoreg.georef import CorrectedSensor, RPCGround, TerrainGround, transform_points
from xcoreg.georef.terrain import PIXEL_AXES, ModelMove
from xcoreg.matching.field import build_field, measure_field
from xcoreg.matching.result import failure
from xcoreg.raster.georeference import PIXELS
from xcoreg.results.details import Interim, SensorDetails

if TYPE_CHECKING:
    from collections.abc import Callable

    from xcoreg.core import Floats
    from xcoreg.matching.options import LocalOptions
    from xcoreg.matching.scene import Scene
    from xcoreg.results.coregistration import Coregistration
    from xcoreg.results.tiepoints import TiePoints

logger = logging.getLogger("xcoreg")

#: Models of the correction in image space among which "auto" chooses.
IMAGE_KINDS = ("translation", "affine")

_NADIR = 1e-3  # px per metre of height, below which errors of heights do not count
# Interpolation before the matching, and positions within their tolerance, err alike in all windows, px.
_COMMON = 0.001
_ROUNDS, _SETTLED = 5, 0.02  # px: the image is rectified again while the correction changes by more


def match_sensor(
    ground: TerrainGround,
    shape: tuple[int, int],
    reference: Any,
    options: LocalOptions,
    rectify: Callable[[Any], Any],
) -> Coregistration:
    """Measure the correction of a raw image; rectify brings it onto the map by a ground."""
    current: TerrainGround = ground

    def build(scene: Scene, used: LocalOptions, points: TiePoints, reach: float | None) -> Coregistration:
        return _fit(_to_image(points, scene, current, shape), scene, used, (ground, shape), reach)

    known: Floats = np.zeros((2, 9))
    for number in range(_ROUNDS):
        with lazy.shared_chunks():
            fit = measure_field(rectify(current), reference, options, build, apart=True)
        if fit.model is None or not fit.ok:
            break
        now = np.stack(fit.model.predict(*_outline(shape)))
        change, known = float(np.hypot(*(now - known)).max()), now
        logger.info("round %d: the correction changes by %.3g px", number + 1, change)
        if change < _SETTLED:
            break
        if number == _ROUNDS - 1:
            warn_user(
                f"the correction of the raw image still changes by {change:.2g} px after {_ROUNDS} rounds: the windows "
                "contradict each other, or the DEM is poor",
                LowSupport,
            )
        current = TerrainGround(CorrectedSensor(ground.sensor, ModelMove(fit.model)), ground.terrain)
    if not fit.ok and options.errors == "raise":
        raise failure(fit, options)
    return fit


def _outline(shape: tuple[int, int]) -> tuple[Floats, Floats]:
    """Nine places over an image, as pixel corners with y upwards."""
    x, y = np.meshgrid(np.linspace(0, shape[1], 3), -np.linspace(0, shape[0], 3))
    return x.ravel(), y.ravel()


def _to_image(points: TiePoints, scene: Scene, ground: TerrainGround, shape: tuple[int, int]) -> TiePoints:
    """Tie points of a rectified image in its raw image, with the correction that it was rectified with."""
    crs, grid = scene.target.grid.crs, GeoBox(shape, PIXEL_AXES, PIXELS)
    place = transform_points(crs, ground.crs, points.x, points.y)
    col, row = ground.to_pixel(*place)
    slopes = _slopes(points, scene, ground, place)
    before = (
        ground.sensor.move.at(col + 0.5, -(row + 0.5)) if isinstance(ground.sensor, CorrectedSensor) else (0.0, 0.0)
    )
    dcol, drow = np.einsum("ijn,jn->in", slopes, np.stack([points.dx, points.dy]))
    dx, dy = before[0] + dcol, before[1] - drow
    cov = np.einsum("ijn,njk,lkn->nil", slopes, points.cov, slopes)
    cov = cov * np.array([[1.0, -1.0], [-1.0, 1.0]])
    unknown = points.ok & ~(np.isfinite(dx) & np.isfinite(dy) & np.isfinite(col) & np.isfinite(row))
    moved = replace(
        points, row=row, col=col, x=col + 0.5, y=-(row + 0.5), dx=dx, dy=dy, dcol=dx, drow=-dy, cov=cov,
        crs_wkt=PIXELS, grid=grid,
    )  # fmt: skip
    return moved.with_status(unknown, Status.NO_DATA) if unknown.any() else moved


def _slopes(points: TiePoints, scene: Scene, ground: TerrainGround, place: tuple[Floats, Floats]) -> Floats:
    """Columns and rows of the raw image per unit of the map, (2, 2, n), at the height of each point.

    At that height, because the terrain's slope belongs to the distortion, which the next round removes.
    """
    z = ground.terrain.at(ground.crs, *place)
    step = float(np.sqrt(abs(scene.target.grid.affine.determinant)))
    out = np.empty((2, 2, len(z)))
    for axis, (east, north) in enumerate(((step, 0.0), (0.0, step))):
        ends = [
            transform_points(scene.target.grid.crs, ground.crs, points.x + sign * east / 2, points.y + sign * north / 2)
            for sign in (1, -1)
        ]
        one, two = (np.stack(ground.sensor.project(*end, z)) for end in ends)
        out[:, axis] = (one - two) / step
    return out


def _fit(
    points: TiePoints,
    scene: Scene,
    options: LocalOptions,
    raw: tuple[TerrainGround, tuple[int, int]],
    reach: float | None,
) -> Coregistration:
    """Fit the correction in the raw image."""
    (ground, shape), sensor = raw, raw[0].sensor
    in_raw = replace(scene, target=replace(scene.target, grid=GeoBox(shape, PIXEL_AXES, PIXELS)))
    points, dem_sigma = _with_errors_of_heights(points, ground)
    fit = build_field(in_raw, options, points, reach, IMAGE_KINDS)
    if options.model == "auto" and fit.details.assessment is not None:
        fit = _best_at_check_points(fit, in_raw, options, reach)
    model = None if fit.model is None else _with_floor(fit.model)
    rpcs = sensor.rpcs.to_dict() if isinstance(sensor, RPCGround) else None
    terrain = ground.terrain
    found = SensorDetails(rpcs, terrain.name, (terrain.low, terrain.high), dem_sigma)
    details = replace(fit.details, interim=Interim(), sensor=found)
    if details.assessment is not None:
        heights = terrain.at(ground.crs, *ground.to_map(points.col[points.ok], points.row[points.ok]))
        check = replace(details.assessment.check, height=heights)
        details = replace(details, assessment=replace(details.assessment, check=check))
    return replace(fit, model=model, details=details)


def _with_errors_of_heights(points: TiePoints, ground: TerrainGround) -> tuple[TiePoints, float]:
    """Add errors of the terrain's heights to covariances; their standard deviation, m, is what residuals ask for.

    They shift windows along one direction only. Left to an error ellipse of all residuals they would hide the drift
    that shows in the other direction.
    """
    ok = points.ok
    try:
        plane = fit_model("affine", points.x[ok], points.y[ok], points.dx[ok], points.dy[ok], points.cov[ok])
    except Degenerate:
        return points, np.nan
    middle = np.full(len(points), (ground.terrain.low + ground.terrain.high) / 2)
    place = ground.sensor.unproject(points.col, points.row, middle)
    ends = [ground.sensor.project(*place, middle + up) for up in (-50.0, 50.0)]
    per_metre = np.stack([ends[1][0] - ends[0][0], ends[0][1] - ends[1][1]], -1) / 100  # (x, y), y upwards
    along = np.nanmean(per_metre[ok], axis=0)
    length = float(np.hypot(*along))
    if not length > _NADIR:
        return points, np.nan
    along, across, scatter = along / length, np.array([-along[1], along[0]]) / length, np.asarray(plane.scatter)
    variance = max(float(along @ scatter @ along - across @ scatter @ across), 0.0) / length**2
    cov = points.cov + variance * per_metre[:, :, None] * per_metre[:, None, :]
    return replace(points, cov=cov), float(np.sqrt(variance))


def _best_at_check_points(
    fit: Coregistration, scene: Scene, options: LocalOptions, reach: float | None
) -> Coregistration:
    """Take the model with the smallest error at check points, where a field takes the simplest that is about as good.

    A drift is usual in sensors, costs little where there is none, and a shift in its place is wrong at the edges by
    more than its covariance says. Residuals count by their whole covariance.
    """
    points, ok, tried = fit.points, fit.points.ok, fit.details.assessment.models  # type: ignore[union-attr]
    prepared = prepare_shifts(points.x[ok], points.y[ok], points.dx[ok], points.dy[ok], points.cov[ok])
    results = {one.kind: fit_points(one.kind, prepared) for one in tried if np.isfinite(one.score)}
    last = list(results.values())[-1]
    cov = prepared.covs + np.asarray(last.model.scatter) / prepared.unit**2
    losses = {
        kind: float(biweight_loss(squared_distance(one.residual, cov), rejection_limit(2)).mean())
        for kind, one in results.items()
    }
    best = min(losses, key=lambda kind: losses[kind])
    again = build_field(scene, replace(options, model=best), points, reach)
    if again.details.assessment is None or again.model is None:
        return fit
    unit = prepared.unit * float(np.sqrt(np.median(np.linalg.det(cov)) ** 0.5 / 2))
    models = tuple(
        replace(one, chosen=one.kind == best, score=np.sqrt(losses.get(one.kind, np.nan)) * unit, error=np.nan)
        for one in tried
    )
    details = replace(
        again.details, options=fit.details.options, assessment=replace(again.details.assessment, models=models)
    )
    model = _with_drift(again.model, last.model, points.take(ok))
    return replace(again, model=model, details=details)


def _with_drift(model: Any, plane: Any, points: TiePoints) -> Any:
    """Add to the covariance of a shift the drift that check points did not ask for, and may be there."""
    if not isinstance(model, Translation) or isinstance(plane, Translation):
        return model
    found = np.stack(plane.predict(points.x, points.y)) - np.array([[model.dx], [model.dy]])
    return replace(model, cov=to_tuples(np.asarray(model.cov) + found @ found.T / len(points)))


def _with_floor(model: Any) -> Any:
    """Add to the covariance of a model what no number of windows averages out."""
    common = _COMMON**2 * np.eye(2)
    if isinstance(model, Translation):
        return replace(model, cov=to_tuples(np.asarray(model.cov) + common))
    if isinstance(model, Polynomial):
        cov = model.cov.copy()
        cov[0, :, 0, :] += common
        return replace(model, cov=cov)
    return model
