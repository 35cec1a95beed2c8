"""`match_local`: a field of shifts from many windows, the model fitted to it, and its accuracy at check points."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from affine import Affine
from xarray import DataArray, Dataset

from xcoreg import lazy
from xcoreg.core import Bools, Floats
from xcoreg.core.matches import Status, describe_counts
from xcoreg.core.models import Choice, Degenerate, Translation, adjust, assess_model, choose_model
from xcoreg.core.quality import ce90, nmad
from xcoreg.errors import LowSupport, OptionError, TooFewTiePoints, warn_user
from xcoreg.filters import run_filters
from xcoreg.georef import Linear, linear_of, vector_to_pixel
from xcoreg.georef.crs import unit_of
from xcoreg.matching import windows
from xcoreg.matching.acceptance import CHANCE, TRIED, chance_of_agreement, count_independent, repeats_elsewhere
from xcoreg.matching.blocks import Comparison, block_grid, block_points, choose_block_model
from xcoreg.matching.choice import AUTO_BAND, with_bands
from xcoreg.matching.elevation import elevation_failure
from xcoreg.matching.options import LocalOptions
from xcoreg.matching.placing import trusted_guess
from xcoreg.matching.result import BY_EDGES, FOUND_NOTHING, failure, scene_details, window_medians, with_warning
from xcoreg.matching.scene import Scene, default_spacing, evenly, local_window, prepare, window_grid
from xcoreg.results.coregistration import Coregistration, Quality, current_versions
from xcoreg.results.details import Assessment, CheckPoints, TriedModel
from xcoreg.results.shift import Shift
from xcoreg.results.tiepoints import TiePoints, as_points

logger = logging.getLogger("xcoreg")

Image = DataArray | Dataset

# Windows of these statuses might match if it were known better where to search: they are matched again.
_AGAIN = (Status.NO_PEAK, Status.AMBIGUOUS, Status.TOO_FAR, Status.NOT_CONVERGED, Status.DISAGREES)
# They are searched within this radius, px of the matching grid, and need so many matched windows for a guess.
_NEAR, _ENOUGH = 2.5, 6
# Rotation and scale that move the edge of a window by more (px) are taken out before it is cut, so many times at most.
_DISTORTED, _PLACEMENTS = 0.3, 2
_CENTRE = 128  # side of the central part of large windows in which whole pixels are scouted, px of the matching grid


def match_local(target: Image, reference: Image, options: LocalOptions) -> Coregistration:
    """Measure a field of shifts; see :func:`xcoreg.match_local`."""
    with lazy.shared_chunks():
        if AUTO_BAND in (str(options.band), str(options.ref_band)):
            options = with_bands(target, reference, options)
        scene = prepare(target, reference, options)
        fit = build_field(scene, options, *_measure(target, reference, options.by("phase"), scene))
        if options.matcher == "auto" and fit.status in FOUND_NOTHING:
            edges = options.by("structure")
            other = build_field(scene, edges, *_measure(target, reference, edges, scene))
            fit = with_warning(other, BY_EDGES) if other.ok else fit
    if not fit.ok and options.errors == "raise":
        raise failure(fit, options) if options.terms is None else elevation_failure(fit)
    return fit


def _measure(target: Image, reference: Image, options: LocalOptions, scene: Scene) -> tuple[TiePoints, float | None]:
    """Find tie points, and again along their affine part where windows are turned or stretched by too much."""
    if options.points is not None:
        return find_points(scene, options)
    placed = trusted_guess(scene) if options.geometry != "shift" else None
    points, reach = _points_along(target, reference, options, scene, placed)
    for _ in range(_PLACEMENTS):
        further = None if reach is None else _distortion(points, placed)
        if further is None:
            break
        placed = further
        again, wide = _points_along(target, reference, options, scene, placed)
        if int(again.ok.sum()) < int(points.ok.sum()) / 2:
            break
        points, reach = again, wide
    return points, reach


def _points_along(
    target: Image, reference: Image, options: LocalOptions, scene: Scene, placed: Affine | None
) -> tuple[TiePoints, float | None]:
    """Tie points from windows that are cut along a placement of the target, for the target as it came."""
    if placed is None:
        return find_points(scene, options)
    there = prepare(target, reference, options, placed)
    points, reach = find_points(there, options)
    return as_it_came(points, placed, there), reach


def _distortion(points: TiePoints, placed: Affine | None) -> Affine | None:
    """Affine placement of the target by tie points, None if windows cut along the last one fit it well enough."""
    good = points.take(points.ok)
    try:
        model: Any = adjust("affine", good.x, good.y, good.dx, good.dy, good.cov)[0]
    except Degenerate:
        return None
    wanted = Affine(*model.matrix)
    rest = wanted @ ~(placed or Affine.identity())
    linear = np.array([[rest.a - 1, rest.b], [rest.d, rest.e - 1]])
    half = float(np.median(good.size)) / 2
    return wanted if np.linalg.norm(linear, 2) * half > _DISTORTED else None


def as_it_came(points: TiePoints, placed: Affine, scene: Scene) -> TiePoints:
    """Tie points of a placed target, as those of the target as it came."""
    x, y = ~placed @ (points.x, points.y)
    dx, dy = points.x + points.dx - x, points.y + points.dy - y
    linear = linear_of(~placed @ scene.target.grid.affine)
    dcol, drow = vector_to_pixel(linear, dx, dy)
    return replace(points, x=x, y=y, dx=dx, dy=dy, dcol=dcol, drow=drow)


def tie_points(target: Image, reference: Image, options: LocalOptions) -> TiePoints:
    """Find the tie points of a field of shifts, without a model; see :func:`xcoreg.tie_points`."""
    with lazy.shared_chunks():
        if AUTO_BAND in (str(options.band), str(options.ref_band)):
            options = with_bands(target, reference, options)
        scene = prepare(target, reference, options)
        points, reach = _measure(target, reference, options.by("phase"), scene)
        if options.matcher == "auto" and acceptance(points, reach)[0] in FOUND_NOTHING:
            others, reach = _measure(target, reference, options.by("structure"), scene)
            points = others if acceptance(others, reach)[0] is Status.OK else points
    return points.on_grid(scene.target.grid, options.spacing)


def find_points(scene: Scene, options: LocalOptions) -> tuple[TiePoints, float | None]:
    """Tie points, outliers flagged, and how far around a guess they were searched, px; None where nothing was."""
    given = None if options.points is None else as_points(options.points, scene.target.grid)
    if isinstance(given, TiePoints):
        return run_filters(given, options.filters), None
    plan = _plan(scene, options, given)
    if options.terms is None:
        points, reach = _match_windows(scene, options, plan)
    else:
        places = plan.places if given is not None else block_grid(scene, plan.spacing)
        # A block extends to the next one, unless another size is given.
        side = max(round(plan.spacing * scene.target_pixel), 16)
        points, reach = block_points(scene, options, places, side if options.window is None else plan.size), None
    filtered = run_filters(points, options.filters)
    if reach is not None and not callable(options.matcher) and _repeats(scene, options, filtered, plan.size):
        filtered = filtered.with_status(filtered.ok, Status.AMBIGUOUS)
    logger.info("%d windows: %s", len(points), filtered)
    return filtered, reach


def _repeats(scene: Scene, options: LocalOptions, points: TiePoints, size: int) -> bool:
    """Whether the scene is a pattern of which other places fit as well as the tie points, on which windows agree."""
    tried = points.take(np.isin(points.status, TRIED))
    ok = tried.ok
    if int(ok.sum()) < _FEWEST:
        return False
    places, moves = np.stack([tried.x, tried.y], -1), np.stack([tried.dx, tried.dy], -1)
    smooth = windows.interpolate(places[ok], moves[ok], places)
    by_edges = options.matcher == "structure"
    return repeats_elsewhere(scene, places, smooth, size, by_edges=by_edges, max_shift=options.max_shift)


@dataclass(frozen=True, eq=False)
class _Plan:
    """Where windows are matched, and how."""

    places: Floats
    spacing: float
    size: int
    limit: float | None
    make: windows.MakeSearch


def _plan(scene: Scene, options: LocalOptions, given: Floats | None) -> _Plan:
    affine = scene.target.grid.affine
    spacing = default_spacing(scene.overlap, affine) if options.spacing is None else float(options.spacing)
    size = local_window(scene.overlap, scene.linear) if options.window is None else int(options.window)
    if given is None:
        given = window_grid(scene.overlap, scene.extent, affine, scene.linear, spacing, size)
    if options.max_points is not None:
        given = given[evenly(given, options.max_points)]
    return _Plan(given, spacing, size, scene.search_limit(options.max_shift), partial(_search, options))


def _search(options: LocalOptions, size: int, radius: float | None) -> windows.Search:
    """Match windows of a size within a radius; whole pixels are scouted first unless it is small.

    Without that, most windows would be matched twice: far from their centre, and again where they have to be cut.
    """
    scout = None
    if radius is None or radius > 0.15 * size:
        scout = options.scout_function(radius)
    elif radius >= windows.LEAST_RADIUS and 0.75 * size >= _CENTRE and radius <= 0.2 * _CENTRE:
        scout = options.scout_function(radius, _CENTRE)
    return windows.Search(size, options.match_function(radius), scout)


def _match_windows(scene: Scene, options: LocalOptions, plan: _Plan) -> tuple[TiePoints, float]:
    """Match every window near a guess, and those that fail near what their neighbours have found."""
    usable = np.ones(len(plan.places), bool)
    if scene.mask is not None:
        usable = np.asarray(scene.mask(plan.places[:, 0], plan.places[:, 1]), bool)
    places = plan.places[usable]
    guess = windows.guess_field(scene, plan.spacing, plan.size, plan.make, plan.limit)
    with lazy.progress_bar(len(places), "matching", "window", options.progress) as bar:
        reach = guess.search_radius(plan.size, plan.limit)
        search = plan.make(plan.size, reach)
        found = windows.match_many(scene, places, guess.at(places), search, bar.update if options.progress else None)
    if guess.repetitive:
        found.set_status(np.flatnonzero(found.matches.ok), Status.AMBIGUOUS)
    _match_again(scene, plan, found)
    points = windows.to_points([_with_masked(found, plan, usable)], scene, centroids=True)
    return windows.flag_beyond(points, options.max_shift), reach


def _match_again(scene: Scene, plan: _Plan, found: windows.WindowMatches) -> None:
    """Match failed windows again near their neighbours' corrections; rows of `found` that now match are replaced."""
    ok = found.matches.ok
    failed = np.flatnonzero(np.isin(found.matches.status, _AGAIN))
    if int(ok.sum()) < _ENOUGH or not len(failed):
        return
    places = found.places
    guess = windows.Guess(places[ok], found.moves[ok], 0.0)
    again = windows.match_many(scene, places[failed], guess.at(places[failed]), plan.make(plan.size, _NEAR))
    good = np.flatnonzero(again.matches.ok)
    if len(good):
        better = again.take(good)
        found.replace_rows(failed[good], better.matches, better.dx, better.dy)


def _with_masked(found: windows.WindowMatches, plan: _Plan, usable: Bools) -> windows.WindowMatches:
    """Add rows for the windows that a mask excludes."""
    if usable.all():
        return found
    hidden = plan.places[~usable]
    masked = windows.WindowMatches.unmatched(hidden[:, 0], hidden[:, 1], plan.size, Status.MASKED)
    parts = [part for part in (found, masked) if len(part.x)]
    order = [index for index in (np.flatnonzero(usable), np.flatnonzero(~usable)) if len(index)]
    return windows.WindowMatches.concatenate(parts, order)


# Fewer tie points than this make no field; the sum of their reliability must reach this, percent.
_FEWEST, _TOGETHER = 3, 150.0
# Of the windows that were tried at least this share must match, unless so many independent ones do.
_SHARE, _MANY = 0.1, 25
_AGREE = 2.0  # windows that the filters pass agree with their neighbours within so many px
_USELESS = (
    "the correction does not reduce the residuals at check points (RMSE {:.3g} px before, {:.3g} px after): the images "
    "are aligned already, or too few windows match"
)


def build_field(scene: Scene, options: LocalOptions, points: TiePoints, reach: float | None) -> Coregistration:
    """Fit a model to tie points, searched within a reach in px, and make the result."""
    status, chance = acceptance(points, reach)
    choice, compared = _choose_model(options, points, scene) if status is Status.OK else (None, None)
    details = scene_details(scene, options)
    if choice is not None:
        details = replace(details, assessment=assessment_of(points, choice))
    return Coregistration(
        model=None if choice is None else choice.model,
        points=points,
        quality=replace(
            _with_heights(field_quality(points, choice, linear_of(scene.target.grid.affine)), compared), chance=chance
        ),
        status=status,
        shift_or_none=None if choice is None else _mean_shift(points, choice.model, scene),
        crs_wkt=points.crs_wkt,
        transform=tuple(scene.target.grid.affine)[:6],
        shape=scene.target.shape,
        details=details,
        versions=current_versions(),
    )


def acceptance(points: TiePoints, reach: float | None) -> tuple[Status, float]:
    """OK if the tie points together are no accident, else why there is no field; and the chance that they are one."""
    ok, tried = points.ok, np.isin(points.status, TRIED)
    n = int(ok.sum())
    trust = np.where(np.isfinite(points.reliability), points.reliability, 100.0)
    chance = float("nan")
    enough = n >= _FEWEST and float(trust[ok].sum()) >= _TOGETHER
    if enough and reach is not None:
        places, size = np.stack([points.col, points.row], -1), float(np.median(points.size))
        agreeing, among = (count_independent(places[some], size) for some in (ok, tried))
        chance = chance_of_agreement(agreeing, among, reach, _AGREE)
        enough = chance <= CHANCE and (n >= _SHARE * int(tried.sum()) or agreeing >= _MANY)
    if enough:
        return Status.OK, chance
    if n:
        more = int((points.status == Status.OUTLIER).sum()) > n
        return Status.OUTLIER if more else Status.NO_PEAK, chance
    return windows.commonest_status(points.status, (Status.NO_DATA, Status.MASKED)), chance


def _choose_model(options: LocalOptions, points: TiePoints, scene: Scene) -> tuple[Choice, Comparison | None]:
    ok, terms, compared = points.ok, options.terms, None
    columns = points.x[ok], points.y[ok], points.dx[ok], points.dy[ok], points.cov[ok]
    counts = f"tie points: {describe_counts(points.status)}"
    try:
        if terms is not None:
            choice, compared = choose_block_model(scene, points, options.model, terms)
        else:
            choice = choose_model(*columns) if options.model == "auto" else assess_model(options.model, *columns)
    except Degenerate as error:
        raise TooFewTiePoints(f"{error}; {counts}: give less spacing, or a simpler model", points) from error
    except ValueError as error:
        raise OptionError(str(error)) from error
    for line in choice.warnings:
        warn_user(f"{line}; {counts}", LowSupport)
    return choice, compared


def _mean_shift(points: TiePoints, model: Any, scene: Scene) -> Shift:
    """Make the one shift that describes the field best."""
    ok = points.ok
    mean = getattr(model, "horizontal", model)
    if mean.kind != "translation":
        mean = Translation.fit(points.x[ok], points.y[ok], points.dx[ok], points.dy[ok], points.cov[ok])
    own = linear_of(scene.target.grid.affine)
    (xx, xy), (yx, yy) = np.asarray(mean.cov, np.float64)[:2, :2].tolist()
    shift = Shift(mean.dx, mean.dy, ((xx, xy), (yx, yy)), own, unit=unit_of(scene.target.grid.crs))
    if model.dz_constant == 0.0:
        return shift
    cov = np.eye(2) * points.cov_z[ok, 2][:, None, None]
    height = Translation.fit(points.x[ok], points.y[ok], points.dz[ok], 0.0, cov)
    return replace(shift, dz=height.dx, cov_z=(0.0, 0.0, float(height.cov[0][0])), unit_z=scene.unit.name)


def assessment_of(points: TiePoints, choice: Choice) -> Assessment:
    """Record the comparison of models and the residuals at check points."""
    check = CheckPoints(points.window[points.ok], choice.residual_dx, choice.residual_dy)
    return Assessment(tuple(TriedModel(**row) for row in choice.table), check)


def _with_heights(quality: Quality, compared: Comparison | None) -> Quality:
    """Add the residuals of heights, which make the warning about residuals at check points needless."""
    if compared is None:
        return quality
    warnings = tuple(text for text in quality.warnings if not text.startswith(_USELESS[:20]))
    parts = {"before": compared.before, "after": compared.after}
    heights: dict[str, Any] = {f"dh_median_{when}": part.median for when, part in parts.items()}
    heights |= {f"dh_nmad_{when}": part.nmad for when, part in parts.items()}
    return replace(quality, warnings=warnings, dh_count=compared.count, **heights)


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
