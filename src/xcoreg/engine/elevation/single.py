"""`match` between two elevation models: one shift, one offset or one tilt for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from xcoreg.core.dem import Solution, Terms, cov3_to_map, solve
from xcoreg.core.matches import Status
from xcoreg.engine.elevation.convert import model_of
from xcoreg.engine.elevation.windows import cover, to_metres
from xcoreg.engine.report import scene_settings
from xcoreg.errors import MatchError
from xcoreg.georef import as_crs, linear_of, map_to_pixel, vector_to_map, vector_to_pixel
from xcoreg.results.coregistration import Coregistration, Quality, current_versions
from xcoreg.results.shift import Shift
from xcoreg.results.tiepoints import TiePoints

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xcoreg.core.dem import Samples
    from xcoreg.engine.scene import Scene
    from xcoreg.plan.options import Options
    from xcoreg.raster.raster import Raster

    Floats = NDArray[np.floating]

__all__ = ["Settled", "elevation_failure", "fit_of", "match_elevation", "settle", "target_pixels", "unconstrained"]

# What the words of images would not tell about terrain: the reason, and what to try.
_REASONS = {
    Status.NO_DATA: ("too few valid pixels in common", "check nodata=, where= and that the models overlap"),
    Status.MASKED: ("where= leaves too few pixels", "widen where="),
    Status.FLAT: ("the terrain is flat", "use matcher='vertical' or 'deramp', or widen where= to slopes"),
    Status.UNCONSTRAINED: (
        "the slopes are too gentle to tell the shift along at least one axis",
        "use matcher='vertical', or widen where= to slopes that face other ways",
    ),
    Status.TOO_FAR: ("the best shift is beyond max_shift, or beyond half a window", "raise max_shift="),
    Status.NOT_CONVERGED: ("the shift does not settle", "check that both show the same terrain, mask with where="),
    Status.NOT_IMPROVED: ("heights do not agree better after the correction", "check that both show the same terrain"),
}


@dataclass(frozen=True, eq=False)
class Settled:
    """A solution with what it was made from.

    Parameters
    ----------
    found : Solution
    samples : sequence of Samples
    linear : (a, b, d, e)
        Of the lattice in which the solution counts, CRS units of the target per px.
    origin : (x, y)
        Where its px are counted from.
    """

    found: Solution
    samples: Sequence[Samples]
    linear: tuple[float, float, float, float]
    origin: tuple[float, float]

    @property
    def cov3(self) -> NDArray[np.float64]:
        """Covariance (3, 3) of (dx, dy, dz)."""
        return np.asarray(cov3_to_map(self.linear, self.found.cov[None, :3, :3])[0])


def target_pixels(scene: Scene) -> float:
    """Tell how many matching pixels make a target pixel."""
    own, (a, b, d, e) = scene.target.grid.affine, scene.linear
    return float(np.sqrt(abs(own.a * own.e - own.b * own.d) / abs(a * e - b * d)))


def match_elevation(scene: Scene, options: Options) -> Coregistration:
    """Measure one correction between two elevation models.

    Parameters
    ----------
    scene : Scene
    options : Options
        With an elevation matcher.

    Returns
    -------
    Coregistration
        One row of tie points, for the whole overlap. Not ok where the terrain does not tell; what it tells along one
        axis alone is in `points`.
    """
    settled = settle(scene, options, options.terms or Terms(shift=True))
    return fit_of(scene.target, settled, scene_settings(scene, options), scene.overlap.representative_point())


def settle(scene: Scene, options: Options, terms: Terms) -> Settled:
    """Solve for all windows over the overlap together."""
    limit = np.inf if options.max_shift is None else options.max_shift * target_pixels(scene)
    samples = cover(scene, options.at, options.window)
    found = solve(samples, terms, max_shift=limit, to_metres=to_metres(scene))
    if found.status is Status.NO_DATA and scene.mask is not None and _has_data(scene):
        found = replace(found, status=Status.MASKED)
    west, south, east, north = scene.extent.bounds
    return Settled(found, samples, scene.linear, ((west + east) / 2, (south + north) / 2))


def _has_data(scene: Scene) -> bool:
    """Tell whether the models would share data, were it not for a mask."""
    bare = replace(
        scene,
        target_cutter=replace(scene.target_cutter, mask=None),
        reference_cutter=replace(scene.reference_cutter, mask=None),
    )
    return any((one.ref_valid & one.tgt_valid).sum() >= 100 for one in cover(bare))


def unconstrained(found: Solution) -> Solution:
    """Take a shift back that the terrain does not tell, and the offset that hangs on it."""
    m = len(found.height)
    cov = np.diag(np.full(2 + m, np.inf))
    return replace(found, status=Status.UNCONSTRAINED, move=np.full(2, np.nan), height=np.full(m, np.nan), cov=cov)


def fit_of(target: Raster, settled: Settled, settings: dict[str, Any], place: Any) -> Coregistration:
    """Put a solution into its final form.

    Parameters
    ----------
    target : Raster
    settled : Settled
    settings : dict
        Of the result.
    place : shapely Point
        Where the row of the tie points stands, CRS of the target.

    Returns
    -------
    Coregistration
    """
    found, ok = settled.found, settled.found.status is Status.OK
    told = {"correlation_px": found.length, "powers": [list(part) for part in found.basis.powers]}
    return Coregistration(
        model=model_of(found, settled.linear, settled.origin) if ok else None,
        points=_points(target, settled, place),
        quality=_quality(found),
        status=found.status,
        shift=_shift(target, settled) if ok else None,
        crs_wkt=as_crs(target.grid.crs).to_wkt(),
        transform=tuple(target.grid.affine)[:6],
        shape=target.shape,
        settings={**settings, "elevation": told},
        versions=current_versions(),
    )


def _shift(target: Raster, settled: Settled) -> Shift:
    found, cov = settled.found, settled.cov3
    dx, dy = (float(part) for part in vector_to_map(settled.linear, *found.move))
    dz, var_z = found.mean_height
    (xx, xy), (yx, yy) = cov[:2, :2].tolist()
    tied = (0.0, 0.0) if len(found.height) > 1 else (float(cov[0, 2]), float(cov[1, 2]))
    own, unit = linear_of(target.grid.affine), str(as_crs(target.grid.crs).axis_info[0].unit_name)
    return Shift(dx, dy, ((xx, xy), (yx, yy)), own, dz, unit, (*tied, var_z))


def _points(target: Raster, settled: Settled, place: Any) -> TiePoints:
    """One row for all of the overlap."""
    found, cov, affine = settled.found, settled.cov3, target.grid.affine
    dx, dy = vector_to_map(settled.linear, *np.nan_to_num(found.move))
    lost = np.isinf(np.diag(cov))
    dx, dy, dz = (np.where(gone, np.nan, value) for gone, value in zip(lost, (dx, dy, found.height[0]), strict=True))
    col, row = map_to_pixel(affine, place.x, place.y)
    dcol, drow = vector_to_pixel(linear_of(affine), dx, dy)
    columns: dict[str, Any] = {
        "window": 0, "row": row, "col": col, "x": place.x, "y": place.y, "dx": dx, "dy": dy, "dcol": dcol,
        "drow": drow, "dz": dz, "status": int(found.status), "size": max(target.shape), "count": found.count,
        "nmad_before": found.nmad_before, "nmad_after": found.nmad_after,
    }  # fmt: skip
    return TiePoints(
        **{name: np.atleast_1d(value) for name, value in columns.items()},
        cov=cov[None, :2, :2],
        cov_z=cov[None, 2, :],
        crs_wkt=as_crs(target.grid.crs).to_wkt(),
    )


def _quality(found: Solution) -> Quality:
    return Quality(
        n_windows=1,
        n_ok=int(found.status is Status.OK),
        dh_count=found.count,
        iterations=found.iterations,
        dh_median_before=found.median_before,
        dh_median_after=found.median_after,
        dh_nmad_before=found.nmad_before,
        dh_nmad_after=found.nmad_after,
    )


def elevation_failure(fit: Coregistration) -> MatchError:
    """Say why elevation models could not be matched, and what to try."""
    reason, cure = _REASONS.get(fit.status, (fit.status.reason, "check that both show the same terrain"))
    count = f"{fit.quality.dh_count} pixels compared" if len(fit.points) == 1 else f"{len(fit.points)} blocks tried"
    return MatchError(f"no trustworthy match: {reason}; {count}; {cure}", fit.points)
