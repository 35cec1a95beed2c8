"""The result of `match`: a fit, or an error with the windows tried and what to try next."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from xcoreg.core import Bools, Floats
from xcoreg.core.matches import Status, describe_counts
from xcoreg.core.models import Translation
from xcoreg.core.quality import nmad
from xcoreg.errors import MatchError, TooFewTiePoints
from xcoreg.georef import cov_to_map, linear_of, vector_to_map
from xcoreg.georef.crs import unit_of
from xcoreg.matching.options import LocalOptions, Options
from xcoreg.matching.scene import Scene
from xcoreg.matching.windows import WindowMatches, flag_beyond, to_points
from xcoreg.raster.raster import Raster, target_heights
from xcoreg.results.coregistration import Coregistration, Quality, current_versions
from xcoreg.results.details import Details, Interim, Window
from xcoreg.results.shift import Shift
from xcoreg.results.tiepoints import TiePoints

if TYPE_CHECKING:
    from xcoreg.matching.acceptance import Acceptance


_ADVICE = {
    Status.NO_DATA: "check nodata= and where=, or pass at= a place where both images have data",
    Status.FLAT: "pass at= a place with texture in more than one spot, or another band",
    Status.NO_PEAK: "try a larger window=, another band or season, contrast='any', or at= a place that did not change",
    Status.AMBIGUOUS: "pass max_shift= below the period of the pattern, or at= a place without it",
    Status.TOO_FAR: "raise max_shift=",
    Status.UNCONSTRAINED: "pass a larger window=, or at= a place with texture in both directions",
    Status.NOT_CONVERGED: "pass a larger window= or at= another place",
    Status.DISAGREES: "the scene changed (mask that with where=, or pass at= another place), or both images were "
    "resampled on one pixel grid (match them at their original pixel size)",
    Status.NOT_IMPROVED: "pass at= another place or another band",
    Status.OUTLIER: "no single shift is right (rotation, scale, distortion): measure it with geometry='auto', or with "
    "match_local, or pass at= one place",
    Status.MASKED: "widen where=",
    Status.OUTSIDE: "check that the images overlap",
    Status.DISCONNECTED: "match more pairs of dates, pairs='all'",
}


def build_fit(scene: Scene, options: Options, rounds: list[WindowMatches], answer: Acceptance) -> Coregistration:
    """Make the result of rounds of windows and the answer they carry."""
    points = to_points(rounds, scene)
    if options.max_shift is not None:
        points = flag_beyond(points, options.max_shift, among=~answer.inliers)
    outliers = (points.status == Status.OK) & ~answer.inliers
    if outliers.any():
        points = points.with_status(outliers, Status.OUTLIER)
    if answer.status is Status.NO_PEAK:
        # Windows that agree but are too few or too weak are not trusted.
        points = points.with_status(points.ok, Status.NO_PEAK)
    grid = scene.target.grid
    model: Translation | None = None
    if answer.status is Status.OK:
        unit, linear = unit_of(grid.crs), linear_of(grid.affine)
        dx, dy = map(float, vector_to_map(scene.linear, *answer.move))
        (xx, xy), (yx, yy) = cov_to_map(scene.linear, answer.cov).tolist()
        model = Translation(dx, dy, cov=((xx, xy), (yx, yy)))
    details = _details(scene, options, rounds, answer)
    return Coregistration(
        model=model,
        points=points,
        quality=_quality(points, rounds, answer, scene),
        status=answer.status,
        shift_or_none=None if model is None else Shift(dx, dy, ((xx, xy), (yx, yy)), linear, unit=unit),
        crs_wkt=points.crs_wkt,
        transform=tuple(grid.affine)[:6],
        shape=(grid.height, grid.width),
        details=details,
        versions=current_versions(),
    )


# How intensities may fail where edges still agree. A lattice (DISAGREES) or a distortion would lead edges astray, too.
FOUND_NOTHING = (Status.NO_PEAK, Status.AMBIGUOUS, Status.UNCONSTRAINED, Status.NOT_CONVERGED, Status.NOT_IMPROVED)
BY_EDGES = "the intensities have nothing in common: matched by edges (matcher='structure')"


def with_warning(fit: Coregistration, text: str) -> Coregistration:
    """Add a warning to a result."""
    return replace(fit, quality=replace(fit.quality, warnings=(*fit.quality.warnings, text)))


def failure(fit: Coregistration, options: Options) -> MatchError:
    """Error with the reason why nothing can be trusted, the windows tried, and what to try next."""
    counts = describe_counts(fit.points.status)
    if isinstance(options, LocalOptions) and fit.status is Status.NO_PEAK and fit.points.ok.any():
        text = f"too few tie points for a trustworthy field: {len(fit.points)} windows tried: {counts}"
        cure = "give less spacing=, another window=, or use match for one shift"
        return TooFewTiePoints(f"{text}; {cure}", fit.points)
    reason = fit.status.reason
    if fit.status is Status.OUTLIER:
        reason = f"the windows have different shifts ({_range(fit.points)})"
    if fit.status is Status.TOO_FAR and options.max_shift is not None:
        reason = f"{reason} ({options.max_shift:g} px)"
    text = f"no trustworthy match: {reason}; {len(fit.points)} windows tried: {counts}; {_ADVICE[fit.status]}"
    return MatchError(text, fit.points)


def _range(points: TiePoints) -> str:
    """Range of the windows' shifts."""
    matched = (points.status == Status.OK) | (points.status == Status.OUTLIER)
    if matched.sum() < 2:
        return "too few for a range"
    columns = {"dcol": points.dcol[matched], "drow": points.drow[matched]}
    return ", ".join(f"{name} {values.min():+.2f} to {values.max():+.2f} px" for name, values in columns.items())


def _quality(points: TiePoints, rounds: list[WindowMatches], answer: Acceptance, scene: Scene) -> Quality:
    """Medians over the windows that carry the answer."""
    inliers = answer.inliers
    if not inliers.any():
        return Quality(n_windows=len(inliers), n_ok=0)
    phase = [np.concatenate([getattr(one.matches, name) for one in rounds]) for name in ("phase_dcol", "phase_drow")]
    scale = scene.matching_pixel
    dcol, drow = points.dcol[inliers], points.drow[inliers]
    return Quality(
        **window_medians(points, inliers),
        phase_dcol=finite_median(phase[0][inliers]) * scale,
        phase_drow=finite_median(phase[1][inliers]) * scale,
        warnings=_warnings(points, answer),
        chance=answer.chance,
        spread_px=float(np.hypot(nmad(dcol), nmad(drow)) / np.sqrt(2)) if len(dcol) > 1 else float("nan"),
    )


def window_medians(points: TiePoints, chosen: Bools) -> dict[str, Any]:
    """Measures of quality that are medians over some of the windows (n,), and the numbers of all and of these."""
    names = ("reliability", "score", "ssim_before", "ssim_after")
    medians = {name: finite_median(getattr(points, name)[chosen]) for name in names}
    return {**medians, "n_windows": len(chosen), "n_ok": int(chosen.sum())}


def finite_median(values: Floats) -> float:
    """Median of the finite values, NaN without any."""
    known = values[np.isfinite(values)]
    return float(np.median(known)) if known.size else float("nan")


def _warnings(points: TiePoints, answer: Acceptance) -> tuple[str, ...]:
    if answer.status is not Status.OK:
        return ()
    differ = int((points.status == Status.OUTLIER).sum())
    found = []
    if answer.inliers.sum() == 1 and len(points) > 1:
        found.append(f"the answer rests on one of {len(points)} windows")
    if differ:
        span = _range(points)
        found.append(f"{differ} windows have another shift ({span}): the images may differ by more than a shift")
    return tuple(found)


def _details(scene: Scene, options: Options, rounds: list[WindowMatches], answer: Acceptance) -> Details:
    """Record how one shift came about."""
    sizes = np.concatenate([np.full(len(one.x), one.size) for one in rounds])
    x, y = (np.concatenate([getattr(one, name) for one in rounds]) for name in ("x", "y"))
    first = int(np.argmax(answer.inliers)) if answer.inliers.any() else 0
    window = Window(float(x[first]), float(y[first]), int(sizes[first]))
    if answer.status is not Status.OK:
        return scene_details(scene, options, window=window)
    whole = np.rint(answer.move)
    return scene_details(scene, options, window=window, integer=tuple(whole), subpixel=tuple(answer.move - whole))


def scene_details(scene: Scene, options: Options, **interim: Any) -> Details:
    """Record images and options, as every result does, and interim results."""
    tgt, ref, both = (_corners(polygon) for polygon in (*scene.footprints, scene.overlap))
    return Details(
        heights=None if options.terms is None else target_heights(scene.target, scene.unit),
        options=options.record(),
        ref_grid=scene.reference.grid,
        tgt_nodata=_recorded_nodata(scene.target),
        ref_nodata=_recorded_nodata(scene.reference),
        nodata_is_stored=scene.target.nodata_source == "file",
        interim=Interim(tgt, ref, both, scene.linear, **interim),
    )


def _recorded_nodata(raster: Raster) -> float | int | None:
    return None if raster.nodata_source == "uncertain" else raster.nodata


def _corners(polygon: Any) -> tuple[tuple[float, float], ...]:
    parts = shapely.get_parts(polygon)
    largest = parts[np.argmax(shapely.area(parts))]
    ring = shapely.get_coordinates(shapely.get_exterior_ring(largest))[:-1]
    return tuple((float(x), float(y)) for x, y in ring)
