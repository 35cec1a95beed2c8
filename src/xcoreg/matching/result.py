"""The result of a search: a fit, or an error that says what was tried and what to try next."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from xcoreg.core.matches import Status
from xcoreg.core.models import Translation
from xcoreg.core.quality import nmad
from xcoreg.errors import MatchError, TooFewTiePoints
from xcoreg.georef import as_crs, cov_to_map, linear_of, vector_to_map
from xcoreg.matching.options import LocalOptions
from xcoreg.matching.windows import to_points
from xcoreg.results.coregistration import Coregistration, Quality, current_versions
from xcoreg.results.details import Details, Interim, Window
from xcoreg.results.shift import Shift

if TYPE_CHECKING:
    from xcoreg.matching.acceptance import Verdict
    from xcoreg.matching.options import Options
    from xcoreg.matching.scene import Scene
    from xcoreg.matching.windows import Trials
    from xcoreg.results.tiepoints import TiePoints


_ADVICE = {
    Status.NO_DATA: "check nodata= and where=, or pass at= a place where both images have data",
    Status.FLAT: "pass at= a place with texture in more than one spot, or another band",
    Status.NO_PEAK: "try a larger window=, another band or season, contrast='any', or at= a place that did not change",
    Status.AMBIGUOUS: "pass max_shift= below the period of the pattern, or at= a place without it",
    Status.TOO_FAR: "raise max_shift=",
    Status.UNCONSTRAINED: "pass a larger window=, or at= a place with texture in both directions",
    Status.NOT_CONVERGED: "pass a larger window= or at= another place",
    Status.DISAGREES: "the scene changed (mask that with where=, or pass at= another place), or both images were "
    "resampled on one lattice (match them at their original pixel size)",
    Status.NOT_IMPROVED: "pass at= another place or another band",
    Status.OUTLIER: "no single shift is right (rotation, scale, distortion): correct that first, or pass at= one place",
    Status.MASKED: "widen where=",
    Status.OUTSIDE: "check that the images overlap",
}


def build_fit(scene: Scene, options: Options, trials: list[Trials], verdict: Verdict) -> Coregistration:
    """Put the answer of a search into its final form."""
    points = to_points(trials, scene)
    own = linear_of(scene.target.grid.affine)
    ok = verdict.status is Status.OK
    if options.max_shift is not None:
        far = np.maximum(np.abs(points.dcol), np.abs(points.drow)) > options.max_shift
        points = points.with_status(points.ok & ~verdict.members & far, Status.TOO_FAR)
    points = points.with_status(points.ok & ~verdict.members, Status.OUTLIER)
    if verdict.status is Status.NO_PEAK:
        # Too few and too weak to stand together: none of them is an answer.
        points = points.with_status(points.ok, Status.NO_PEAK)
    shift = model = None
    if ok:
        dx, dy = (float(part) for part in vector_to_map(scene.linear, *verdict.move))
        (xx, xy), (yx, yy) = cov_to_map(scene.linear, verdict.cov).tolist()
        cov = (xx, xy), (yx, yy)
        model = Translation(dx, dy, cov=cov)
        shift = Shift(dx, dy, cov, own, unit=unit_of(scene))
    return Coregistration(
        model=model,
        points=points,
        quality=_quality(points, trials, verdict, shift, scene),
        status=verdict.status,
        shift_or_none=shift,
        crs_wkt=points.crs_wkt,
        transform=tuple(scene.target.grid.affine)[:6],
        shape=scene.target.shape,
        details=_details(scene, options, trials, verdict),
        versions=current_versions(),
    )


def failure(fit: Coregistration, options: Options) -> MatchError:
    """Say why nothing can be trusted, and what to try."""
    counts = ", ".join(f"{n} {name}" for name, n in fit.points.counts().items()) or "none"
    if isinstance(options, LocalOptions) and fit.status is Status.NO_PEAK and fit.points.ok.any():
        text = f"too few tie points to be believed: {len(fit.points)} windows tried: {counts}; give less spacing="
        return TooFewTiePoints(f"{text}, another window=, or use match for one shift", fit.points)
    reason = fit.status.reason
    if fit.status is Status.OUTLIER:
        reason = f"the windows tell different shifts ({_range(fit.points)})"
    if fit.status is Status.TOO_FAR and options.max_shift is not None:
        reason = f"{reason} ({options.max_shift:g} px)"
    text = f"no trustworthy match: {reason}; {len(fit.points)} windows tried: {counts}; {_ADVICE[fit.status]}"
    return MatchError(text, fit.points)


def _range(points: TiePoints) -> str:
    """How far the windows' shifts lie apart."""
    told = (points.status == Status.OK) | (points.status == Status.OUTLIER)
    if told.sum() < 2:
        return "too few to say more"
    parts = [
        f"{name} {values[told].min():+.2f} to {values[told].max():+.2f} px"
        for name, values in (("dcol", points.dcol), ("drow", points.drow))
    ]
    return ", ".join(parts)


def _quality(points: TiePoints, trials: list[Trials], verdict: Verdict, shift: Shift | None, scene: Scene) -> Quality:
    """Medians over the windows that carry the answer."""
    members = verdict.members
    if not members.any():
        return Quality(n_windows=len(points), n_ok=0)

    def middle(values: Any) -> float:
        kept = np.asarray(values)[members]
        return float(np.median(kept[np.isfinite(kept)])) if np.isfinite(kept).any() else float("nan")

    phase = [np.concatenate([getattr(one.matches, name) for one in trials]) for name in ("phase_dcol", "phase_drow")]
    spread = float("nan")
    if members.sum() > 1:
        spread = float(np.hypot(nmad(points.dcol[members]), nmad(points.drow[members])) / np.sqrt(2))
    scale = _pixel(scene)
    return Quality(
        reliability=middle(points.reliability),
        score=middle(points.score),
        ssim_before=middle(points.ssim_before),
        ssim_after=middle(points.ssim_after),
        n_windows=len(points),
        n_ok=int(members.sum()),
        spread_px=spread,
        phase_dcol=middle(phase[0]) * scale,
        phase_drow=middle(phase[1]) * scale,
        warnings=_warnings(points, members, shift),
    )


def _pixel(scene: Scene) -> float:
    """Target pixels per matching pixel."""
    own = linear_of(scene.target.grid.affine)
    return float(
        np.sqrt(abs(scene.linear[0] * scene.linear[3] - scene.linear[1] * scene.linear[2]))
        / np.sqrt(abs(own[0] * own[3] - own[1] * own[2]))
    )


def _warnings(points: TiePoints, members: Any, shift: Shift | None) -> tuple[str, ...]:
    told = []
    differ = int((points.status == Status.OUTLIER).sum())
    if shift is not None and members.sum() == 1 and len(points) > 1:
        told.append(f"the answer rests on one of {len(points)} windows")
    if shift is not None and differ:
        told.append(
            f"{differ} windows tell another shift ({_range(points)}): the images may differ by more than a shift"
        )
    return tuple(told)


def unit_of(scene: Scene) -> str:
    """Name the unit of the target's CRS."""
    return str(as_crs(scene.target.grid.crs).axis_info[0].unit_name)


def _details(scene: Scene, options: Options, trials: list[Trials], verdict: Verdict) -> Details:
    """Record how one shift came about."""
    details = scene_details(scene, options)
    sizes = np.concatenate([np.full(len(one.x), one.size) for one in trials])
    x, y = (np.concatenate([getattr(one, name) for one in trials]) for name in ("x", "y"))
    first = int(np.argmax(verdict.members)) if verdict.members.any() else 0
    interim = replace(details.interim, window=Window(float(x[first]), float(y[first]), int(sizes[first])))
    if verdict.status is Status.OK:
        whole = np.rint(verdict.move)
        interim = replace(interim, integer=tuple(whole), subpixel=tuple(verdict.move - whole))
    return replace(details, interim=interim)


def scene_details(scene: Scene, options: Options) -> Details:
    """Record images and options, as every result does."""
    return Details(
        options=options.record(),
        tgt_nodata=scene.target.nodata,
        ref_nodata=scene.reference.nodata,
        ref_grid=scene.reference.grid,
        interim=Interim(
            tgt_corners=_corners(scene.footprints[0]),
            ref_corners=_corners(scene.footprints[1]),
            overlap_corners=_corners(scene.overlap),
            linear=scene.linear,
        ),
    )


def _corners(outline: Any) -> tuple[tuple[float, float], ...]:
    parts = shapely.get_parts(outline)
    largest = parts[np.argmax(shapely.area(parts))]
    ring = shapely.get_coordinates(shapely.get_exterior_ring(largest))[:-1]
    return tuple((float(x), float(y)) for x, y in ring)
