"""`match` between two elevation models: one shift, offset or tilt over their whole overlap."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from xcoreg.core import Floats, monomials
from xcoreg.core.dem import DemWindow, Samples, SearchArea, Solution, Terms, cov3_to_map, solve
from xcoreg.core.dem.bias import Curve
from xcoreg.core.dem.rigid import RigidSolution
from xcoreg.core.matches import Status
from xcoreg.core.models import Affine, HorizontalVertical, Model, Polynomial2, Polynomial3, Polynomial4, Translation
from xcoreg.core.models.base import to_tuples
from xcoreg.errors import MatchError
from xcoreg.georef import Linear, as_crs, linear_of, map_to_pixel, vector_to_map, vector_to_pixel
from xcoreg.georef.crs import metres_per_pixel, unit_of, vertical_datum
from xcoreg.matching.bias import parse_bias, recorded, solve_with_bias, with_track
from xcoreg.matching.elevation_terms import choose_terms
from xcoreg.matching.options import Options
from xcoreg.matching.result import scene_details
from xcoreg.matching.rigid import rigid_model, solve_rigid_overlap
from xcoreg.matching.scene import Scene
from xcoreg.raster.raster import Raster
from xcoreg.results.coregistration import Coregistration, Quality, current_versions
from xcoreg.results.details import Details, ElevationDetails
from xcoreg.results.shift import Shift
from xcoreg.results.tiepoints import TiePoints

_RAMPS: dict[int, Any] = {1: Affine, 2: Polynomial2, 3: Polynomial3, 4: Polynomial4}


def _order(found: Solution) -> int:
    return int(max(sum(powers) for powers in found.basis.powers))


def model_of(found: Solution, linear: Linear, origin: tuple[float, float]) -> Model:
    """Model in map coordinates of a solution in pixels."""
    dx, dy = (float(part) for part in vector_to_map(linear, *found.move))
    cov = cov3_to_map(linear, found.cov[None, :3, :3])[0]
    if not _order(found):
        return Translation(dx, dy, float(found.height[0]), to_tuples(cov))
    # The same polynomial in map coordinates, through its values on a lattice.
    u, v = (part.ravel() for part in np.meshgrid(np.linspace(-1, 1, 6), np.linspace(-1, 1, 6)))
    cols, rows = (found.basis.centre[axis] + found.basis.scale * part for axis, part in enumerate((u, v)))
    x, y = vector_to_map(linear, cols, rows)
    # Heights are corrected at their position in the target, before it is moved.
    x, y = x + origin[0] - dx, y + origin[1] - dy
    centre, scale = np.array([x.mean(), y.mean()]), float(max(np.ptp(x), np.ptp(y))) / 2
    order = _order(found)
    turn = np.linalg.pinv(monomials((x - centre[0]) / scale, (y - centre[1]) / scale, order)) @ monomials(u, v, order)
    ramp = _RAMPS[order](
        n=found.count,
        scatter=((0.0,),),
        spacing=0.0,
        hull=np.empty((0, 3)),
        centre=centre,
        scale=scale,
        coef=(turn @ found.height)[:, None],
        cov=(turn @ found.cov[2:, 2:] @ turn.T)[:, None, :, None],
    )
    return HorizontalVertical(Translation(dx, dy, cov=to_tuples(cov[:2, :2])), ramp)


# Side of windows, and pixels of all together: more of a large scene would not improve the solution.
_SIDE, _MOST = 448, 2_500_000
_ALONE, _FEWEST = 256, 100
_GOLDEN = 0.6180339887498949


def overlap_patches(scene: Scene, at: tuple[float, float] | None = None, window: int | None = None) -> list[DemWindow]:
    """Cut windows side by side over the overlap, evenly thinned if it is large."""
    corners = shapely.get_coordinates(scene.extent)
    cols, rows = vector_to_pixel(scene.linear, corners[:, 0], corners[:, 1])
    spans = float(np.ptp(cols)), float(np.ptp(rows))
    size = int(np.ceil(max(span / max(round(span / _SIDE), 1) for span in spans)))
    steps = [(np.arange(int(np.ceil(span / size - 1e-6))) + 0.5) * size for span in spans]
    mesh = np.meshgrid(cols.min() + steps[0], rows.min() + steps[1])
    x, y = vector_to_map(scene.linear, *(part.ravel() for part in mesh))
    use = _selection(x, y, size, scene)
    if at is not None:
        x, y, use, size = np.array([at[0]]), np.array([at[1]]), np.array([0]), window or _ALONE
    target = scene.target_cutter.cut(x[use], y[use], size)
    reference = scene.reference_cutter.cut(target.x + scene.start[0], target.y + scene.start[1], size)
    base = np.stack(vector_to_pixel(scene.linear, reference.x - target.x, reference.y - target.y), -1)
    middle = (cols.min() + cols.max()) / 2, (rows.min() + rows.max()) / 2
    centre = np.stack(vector_to_pixel(scene.linear, reference.x, reference.y), -1) - middle
    pixels = target.values, reference.values, target.valid, reference.valid
    level = reference.level - target.level
    places = map(tuple, centre.tolist()), map(tuple, base.tolist()), level.tolist(), reference.level.tolist()
    columns = zip(*pixels, *places, strict=True)
    found = [replace(DemWindow(*one[:7]), height=one[7]) for one in columns]
    return [one.cleaned() for one in found]


def _selection(x: Floats, y: Floats, size: int, scene: Scene) -> NDArray[np.intp]:
    """Select windows that meet the overlap of the valid data, evenly thinned."""
    off_x, off_y = vector_to_map(scene.linear, np.array([-1, 1, 1, -1]) * size / 2, np.array([-1, -1, 1, 1]) * size / 2)
    squares = shapely.polygons(np.stack([x[:, None] + off_x, y[:, None] + off_y], -1))
    shapely.prepare(scene.overlap)
    use = np.flatnonzero(shapely.intersects(scene.overlap, squares))
    most = max(_MOST // size**2, 1)
    # In this order the first ones, however many, are spread evenly.
    order = np.argsort((np.arange(len(use)) * _GOLDEN) % 1, kind="stable")
    return np.sort(use[order[:most]])


def start_in_pixels(scene: Scene) -> Floats:
    """Correction where the search begins, px of the matching grid."""
    return np.stack(vector_to_pixel(scene.linear, *scene.start))


def to_metres(scene: Scene) -> Floats:
    """Way to the East and North per matching pixel in the middle of the overlap, in the unit of the heights."""
    _, south, _, north = scene.overlap.bounds
    return metres_per_pixel(scene.target.grid.crs, scene.linear, (south + north) / 2) / (scene.unit.metres or 1.0)


# For elevation models: why there is no match, and what to try.
_REASONS = {
    Status.NO_DATA: ("too few valid pixels in common", "check nodata=, where= and that the models overlap"),
    Status.MASKED: ("where= leaves too few pixels", "widen where="),
    Status.FLAT: ("the terrain is flat", "use matcher='vertical' or 'deramp', or widen where= to slopes"),
    Status.UNCONSTRAINED: (
        "the slopes are too gentle to determine the shift along at least one axis",
        "use matcher='vertical', or widen where= to slopes that face other ways",
    ),
    Status.TOO_FAR: ("the best shift is beyond max_shift, or beyond half a window", "raise max_shift="),
    Status.NOT_CONVERGED: ("the shift does not converge", "check that both show the same terrain, mask with where="),
    Status.NOT_IMPROVED: ("heights do not agree better after the correction", "check that both show the same terrain"),
}


@dataclass(frozen=True, eq=False)
class OverlapSolution:
    """A solution with its input; `linear` of the grid it is in px of, and the map position of px (0, 0)."""

    found: Solution
    samples: Sequence[Samples]
    linear: tuple[float, float, float, float]
    origin: tuple[float, float]
    rigid: RigidSolution | None = None
    curves: tuple[Curve, ...] = ()

    @property
    def model(self) -> Model:
        """Model in map coordinates."""
        if self.rigid is not None:
            return rigid_model(self.rigid, list(self.samples), self.linear, self.origin)
        return with_track(model_of(self.found, self.linear, self.origin), self.curves, self.linear, self.origin)

    @property
    def cov3(self) -> NDArray[np.float64]:
        """Covariance (3, 3) of (dx, dy, dz)."""
        return np.asarray(cov3_to_map(self.linear, self.found.cov[None, :3, :3])[0])


def match_elevation(scene: Scene, options: Options) -> Coregistration:
    """Measure one correction between two elevation models."""
    solution = solve_overlap(scene, options, options.terms or Terms(shift=True))
    place = scene.overlap.representative_point()
    fit = build_elevation_fit(scene.target, solution, scene_details(scene, options), place)
    crss = scene.target.grid.crs, scene.reference.grid.crs
    notes = (*_void_notes(scene.target, scene.reference), *_plateau_notes(solution.samples),
             *datum_notes(*crss, solution.found, scene.unit.metres or 1.0))  # fmt: skip
    if notes:
        fit = replace(fit, quality=replace(fit.quality, warnings=(*notes, *fit.quality.warnings)))
    return fit


def solve_overlap(scene: Scene, options: Options, terms: Terms) -> OverlapSolution:
    """Solve for one correction of all windows over the overlap."""
    limit = np.inf if options.max_shift is None else options.max_shift * scene.target_pixel
    samples = overlap_patches(scene, options.at, options.side)
    metres, rigid, report = to_metres(scene), None, dict[str, float]()
    search = SearchArea(limit, start_in_pixels(scene))
    if terms.auto:
        terms, report = choose_terms(samples, metres, search)
    if terms.rigid:
        found, rigid = solve_rigid_overlap(list(samples), terms, metres, search, _FEWEST)
    else:
        found = solve(samples, terms, search, to_metres=metres)
    if report:
        errors = ", ".join(f"{name} {value:.3g}" for name, value in report.items())
        found = replace(found, warnings=(*found.warnings, f"chosen by NMAD at check blocks: {errors}"))
    if found.status is Status.NO_DATA and scene.mask is not None and _has_data(scene):
        found = replace(found, status=Status.MASKED)
    west, south, east, north = scene.extent.bounds
    origin, names = ((west + east) / 2, (south + north) / 2), parse_bias(options.bias)
    curves: tuple[Curve, ...] = ()
    if names and found.status is Status.OK:
        how = {"metres": metres, "linear": scene.linear, "origin": origin, "crs": scene.target.grid.crs}
        found, curves = solve_with_bias(found, samples, terms, names, how)
    return OverlapSolution(found, samples, scene.linear, origin, rigid, curves)


def _has_data(scene: Scene) -> bool:
    """Whether the models share data where no mask is applied."""
    target, reference = (replace(one, mask=None) for one in (scene.target_cutter, scene.reference_cutter))
    bare = replace(scene, target_cutter=target, reference_cutter=reference)
    return any((one.ref_valid & one.tgt_valid).sum() >= 100 for one in overlap_patches(bare))


def without_shift(found: Solution) -> Solution:
    """Remove a shift that the terrain does not determine, and the offset that depends on it."""
    m = len(found.height)
    cov = np.diag(np.full(2 + m, np.inf))
    return replace(found, status=Status.UNCONSTRAINED, move=np.full(2, np.nan), height=np.full(m, np.nan), cov=cov)


def build_elevation_fit(target: Raster, solution: OverlapSolution, details: Details, place: Any) -> Coregistration:
    """Make the result of a solution."""
    found, ok = solution.found, solution.found.status is Status.OK
    why = ("", "") if found.refusal is None else (found.refusal.reason, found.refusal.cure)
    noise = () if found.noise is None else (found.noise.slopes, found.noise.sigma, found.noise.correlation)
    compared = ElevationDetails(float(found.length), tuple(found.basis.powers), *why, *noise)
    return Coregistration(
        model=solution.model if ok else None,
        points=_points(target, solution, place),
        quality=_quality(found),
        status=found.status,
        shift_or_none=_shift(target, solution, details.unit_z) if ok else None,
        crs_wkt=as_crs(target.grid.crs).to_wkt(),
        transform=tuple(target.grid.affine)[:6],
        shape=target.shape,
        details=replace(details, elevation=compared, biases=recorded(solution.curves)),
        versions=current_versions(),
    )


def _shift(target: Raster, solution: OverlapSolution, unit_z: str) -> Shift:
    found, cov = solution.found, solution.cov3
    dx, dy = (float(part) for part in vector_to_map(solution.linear, *found.move))
    dz, var_z = found.mean_height
    (xx, xy), (yx, yy) = cov[:2, :2].tolist()
    tied = (0.0, 0.0) if len(found.height) > 1 else (float(cov[0, 2]), float(cov[1, 2]))
    own, unit = linear_of(target.grid.affine), unit_of(target.grid.crs)
    return Shift(dx, dy, ((xx, xy), (yx, yy)), own, dz, unit, (*tied, var_z), unit_z)


def _points(target: Raster, solution: OverlapSolution, place: Any) -> TiePoints:
    """One row for the whole overlap."""
    found, cov, affine = solution.found, solution.cov3, target.grid.affine
    dx, dy = vector_to_map(solution.linear, *np.nan_to_num(found.move))
    lost = np.isinf(np.diag(cov))
    dx, dy, dz = (np.where(gone, np.nan, value) for gone, value in zip(lost, (dx, dy, found.height[0]), strict=True))
    col, row = map_to_pixel(affine, place.x, place.y)
    dcol, drow = vector_to_pixel(linear_of(affine), dx, dy)
    columns: dict[str, Any] = {
        "window": 0, "row": row, "col": col, "x": place.x, "y": place.y, "dx": dx, "dy": dy, "dcol": dcol,
        "drow": drow, "dz": dz, "status": int(found.status), "size": max(target.shape), "count": found.count,
        "nmad_before": found.nmad_before, "nmad_after": found.nmad_after,
    }  # fmt: skip
    columns = {name: np.atleast_1d(value) for name, value in columns.items()}
    return TiePoints(**columns, cov=cov[None, :2, :2], cov_z=cov[None, 2, :], crs_wkt=as_crs(target.grid.crs).to_wkt())


def _void_notes(target: Raster, reference: Raster | None) -> tuple[str, ...]:
    """Name nodata values that nobody recorded."""
    return tuple(
        f"the {raster.name} has pixels of {raster.nodata:g} that are no heights: taken for missing; record it as its "
        "nodata value"
        for raster in (target, reference)
        if raster is not None and raster.nodata_source in ("voids", "corners")
    )


_GEOID = 8.0  # m; an offset that models seldom have, and geoids often


def datum_notes(target_crs: Any, reference_crs: Any, found: Solution, metres: float) -> Iterator[str]:
    """Warn of heights above two surfaces: the geoid is up to 100 m from the ellipsoid, and dz takes that up."""
    names = [vertical_datum(crs) if crs is not None else None for crs in (target_crs, reference_crs)]
    if names[0] != names[1] and None not in names:
        text = f"heights of the target are above {names[0]}, those of the reference above {names[1]}"
        yield f"{text}: dz contains the difference, and a tilt of it; convert one of them first, xcoreg.convert_heights"
    elif found.status is Status.OK and None in names and abs(found.mean_height[0]) * metres > _GEOID:
        known = next((f"; only the {who} names one, {name}" for who, name in
                      zip(("target", "reference"), names, strict=True) if name is not None), "")  # fmt: skip
        yield (
            f"dz is {found.mean_height[0] * metres:+.1f} m, as between the ellipsoid and a geoid: make sure that both "
            f"count heights from one vertical datum{known} (xcoreg.convert_heights)"
        )


def _plateau_notes(samples: Sequence[Samples]) -> Iterator[str]:
    """Name areas of one value with cliffs around them."""
    for axis, name in enumerate(("target", "reference")):
        voids = [one.voids[axis] for one in samples if isinstance(one, DemWindow)]
        if sum(voids):
            share = sum(voids) / sum(int(np.prod(one.shape)) for one in samples)
            yield f"{share:.1%} of the {name} has one value with cliffs around it: taken for missing; give nodata="


def _quality(found: Solution) -> Quality:
    names = ("count", "median_before", "median_after", "nmad_before", "nmad_after")
    heights: dict[str, Any] = {f"dh_{name}": getattr(found, name) for name in names}
    ok = int(found.status is Status.OK)
    return Quality(n_windows=1, n_ok=ok, iterations=found.iterations, warnings=found.warnings, **heights)


def elevation_failure(fit: Coregistration) -> MatchError:
    """Error with the reason why elevation models could not be matched, and what to try."""
    own = fit.details.elevation
    reason, cure = _REASONS.get(fit.status, (fit.status.reason, "check that both show the same terrain"))
    if own is not None and own.reason:
        reason, cure = own.reason, own.cure
    count = f"{fit.quality.dh_count} pixels compared" if len(fit.points) == 1 else f"{len(fit.points)} blocks tried"
    return MatchError(f"no trustworthy match: {reason}; {count}; {cure}", fit.points)
