"""How good a field of shifts is: residuals at check points, the models compared, and the one shift of it all."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from xcoreg.core.drift import common_error
from xcoreg.core.models import KINDS, Choice, Translation, base as models
from xcoreg.core.models.parallax import Parallax
from xcoreg.core.quality import ce90, nmad
from xcoreg.georef import Linear, cov_to_map, linear_of, vector_to_pixel
from xcoreg.georef.crs import unit_of
from xcoreg.matching.result import window_medians
from xcoreg.results.coregistration import Quality
from xcoreg.results.details import Assessment, CheckPoints, TriedModel
from xcoreg.results.shift import Shift

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

    from xcoreg.core import Floats
    from xcoreg.core.drift import Pattern
    from xcoreg.matching.blocks import Comparison
    from xcoreg.results.tiepoints import TiePoints

_USELESS = (
    "the correction does not reduce the residuals at check points (RMSE {:.3g} px before, {:.3g} px after): the images "
    "are aligned already, or too few windows match"
)


_NARROW, _SAMPLE = 4, 24  # px of a window's side that fade out; windows by which the overlap is measured


def overlap_of(points: TiePoints) -> float:
    """Factor of the covariance of a mean of tie points whose windows share pixels: mean sum of what each shares."""
    size = float(np.median(points.size)) - _NARROW if len(points) else 0.0
    if size <= 0:
        return 1.0
    places = np.stack([points.col, points.row])
    some = places[:, :: max(1, len(points) // _SAMPLE)]
    sides = np.clip(1 - np.abs(some[:, :, None] - places[:, None]) / size, 0, 1)
    return max(1.0, float(np.nansum(sides.prod(0), axis=1).mean()))  # places that are unknown share nothing


def with_common(points: TiePoints, drift: Floats, known: Pattern, pixel: float) -> TiePoints:
    """Add the error that drifts (n, 27) leave in all tie points alike; `pixel`: a matching pixel in target pixels."""
    error = pixel * common_error(drift[points.ok], overlap_of(points.take(points.ok)), known)
    return replace(points, common=np.full(len(points), error))


def with_shared_errors(choice: Choice, points: TiePoints, linear: Linear) -> Choice:
    """Widen what a model predicts by what its tie points share: pixels, and errors that all of them have."""
    return replace(choice, model=_widened(choice.model, points, linear))


def _widened(model: Any, points: TiePoints, linear: Linear) -> Any:
    good = points.take(points.ok)
    # Triangles pass through their tie points: nothing is averaged.
    overlap = 1.0 if model.kind == "piecewise" else overlap_of(good)
    error = float(np.median(good.common)) if len(good) else 0.0
    return models.with_shared_errors(model, overlap, cov_to_map(linear, error**2 * np.eye(2)))


def mean_shift(points: TiePoints, model: Any, grid: GeoBox, unit_z: str) -> Shift:
    """Make the one shift that describes the field best."""
    ok, own = points.ok, linear_of(grid.affine)
    mean = getattr(model, "horizontal", model)
    if mean.kind != "translation":
        mean = Translation.fit(points.x[ok], points.y[ok], points.dx[ok], points.dy[ok], points.cov[ok])
        mean = mean if np.isfinite(points.count).any() else _widened(mean, points, own)
    (xx, xy), (yx, yy) = np.asarray(mean.cov, np.float64)[:2, :2].tolist()
    shift = Shift(mean.dx, mean.dy, ((xx, xy), (yx, yy)), own, unit=unit_of(grid.crs))
    if model.dz_constant == 0.0:
        return shift
    cov = np.eye(2) * points.cov_z[ok, 2][:, None, None]
    height = Translation.fit(points.x[ok], points.y[ok], points.dz[ok], 0.0, cov)
    # Polynomials of heights know what noise blocks share.
    vertical: Any = getattr(model, "vertical", height)
    var = float(height.cov[0][0])
    if vertical.kind in KINDS[:4]:
        var = max(var, float(vertical.predict_cov(points.x[ok].mean(), points.y[ok].mean())[0, 0]))
    return replace(shift, dz=height.dx, cov_z=(0.0, 0.0, var), unit_z=unit_z)


def assessment_of(points: TiePoints, choice: Choice) -> Assessment:
    """Record the comparison of models and the residuals at check points."""
    ok, heights = points.ok, None
    if isinstance(choice.model, Parallax):
        heights = choice.model.surface.at(points.x[ok] + points.dx[ok], points.y[ok] + points.dy[ok])
    check = CheckPoints(points.window[ok], choice.residual_dx, choice.residual_dy, heights)
    return Assessment(tuple(TriedModel(**row) for row in choice.table), check)


def with_heights(quality: Quality, compared: Comparison | None) -> Quality:
    """Add the residuals of heights, which make the warning about residuals at check points needless."""
    if compared is None:
        return quality
    warnings = tuple(text for text in quality.warnings if not text.startswith(_USELESS[:20]))
    parts = {"before": compared.before, "after": compared.after}
    heights: dict[str, Any] = {f"dh_median_{when}": part.median for when, part in parts.items()}
    heights |= {f"dh_nmad_{when}": part.nmad for when, part in parts.items()}
    return replace(quality, warnings=(*compared.notes, *warnings), dh_count=compared.count, **heights)


def field_quality(points: TiePoints, choice: Choice | None, linear: Linear) -> Quality:
    """Residuals at check points before and after the correction, and medians of the trusted windows."""
    ok = points.ok
    if choice is None:
        return Quality(n_windows=len(points), n_ok=int(ok.sum()))
    before = points.dcol[ok], points.drow[ok]
    after = vector_to_pixel(linear, choice.residual_dx, choice.residual_dy)
    rmse = [float(np.sqrt(np.nanmean(np.hypot(*part) ** 2))) for part in (before, after)]
    useless = [_USELESS.format(*rmse)] if rmse[1] >= rmse[0] else []
    return Quality(
        **window_medians(points, ok),
        spread_px=float(np.hypot(nmad(after[0]), nmad(after[1])) / np.sqrt(2)),
        n_check=int(np.isfinite(after[0]).sum()),
        median_before=float(np.median(np.hypot(*before))),
        median_after=float(np.nanmedian(np.hypot(*after))),
        rmse_before=rmse[0],
        rmse_after=rmse[1],
        ce90_before=ce90(*before),
        ce90_after=ce90(*after),
        warnings=(*choice.warnings, *useless),
    )
