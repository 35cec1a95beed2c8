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
from xcoreg.core.models.base import Translation, to_tuples
from xcoreg.core.models.polynomial import Polynomial
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
    fit = _best_at_check_points(build_field(in_raw, options, points, reach, IMAGE_KINDS), in_raw, options, reach)
    model = None if fit.model is None else _with_floor(fit.model)
    rpcs = sensor.rpcs.to_dict() if isinstance(sensor, RPCGround) else None
    terrain = ground.terrain
    details = replace(
        fit.details, interim=Interim(), sensor=SensorDetails(rpcs, terrain.name, (terrain.low, terrain.high))
    )
    return replace(fit, model=model, details=details)


def _best_at_check_points(
    fit: Coregistration, scene: Scene, options: LocalOptions, reach: float | None
) -> Coregistration:
    """Take the model with the smallest error at check points, where a field takes the simplest that is about as good.

    A drift is usual in sensors, costs little where there is none, and a shift in its place is wrong at the edges by
    more than its covariance says.
    """
    tried = () if fit.details.assessment is None else fit.details.assessment.models
    known = [one for one in tried if np.isfinite(one.score)]
    best = min(known, key=lambda one: one.score, default=None)
    if options.model != "auto" or best is None or best.chosen:
        return fit
    again = build_field(scene, replace(options, model=best.kind), fit.points, reach)
    if again.details.assessment is None:
        return fit
    models = tuple(replace(one, chosen=one.kind == best.kind) for one in tried)
    assessment = replace(again.details.assessment, models=models)
    details = replace(again.details, options=fit.details.options, assessment=assessment)
    return replace(again, details=details)


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
