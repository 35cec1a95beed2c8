"""`match_local`: a field of shifts from many windows, the model fitted to it, and its accuracy at check points."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from affine import Affine
from xarray import DataArray, Dataset

from xcoreg import lazy
from xcoreg.core import Bools, Floats
from xcoreg.core.drift import NO_PATTERN, Pattern
from xcoreg.core.matches import Status, describe_counts
from xcoreg.core.models import KINDS_AUTO, Choice, Degenerate, adjust, assess_model, choose_model
from xcoreg.core.models.parallax import Parallax
from xcoreg.errors import LowSupport, OptionError, TooFewTiePoints, warn_user
from xcoreg.georef import linear_of, vector_to_pixel
from xcoreg.matching import quality, windows
from xcoreg.matching.acceptance import CHANCE, TRIED, chance_of_agreement, count_independent, repeats_elsewhere
from xcoreg.matching.blocks import Comparison, block_grid, block_points, choose_block_model
from xcoreg.matching.choice import AUTO_BAND, with_bands
from xcoreg.matching.elevation import elevation_failure
from xcoreg.matching.options import LocalOptions
from xcoreg.matching.parallax import (
    before_correction,
    choose_over,
    describe_parallax,
    line_kinds,
    run_filters_over,
    surface_of,
)  # fmt: skip
from xcoreg.matching.placing import trusted_guess
from xcoreg.matching.point_blocks import match_points_local
from xcoreg.matching.result import BY_EDGES, FOUND_NOTHING, failure, scene_details, with_warning
from xcoreg.matching.scene import Scene, default_spacing, evenly, local_window, prepare, window_grid
from xcoreg.raster.point_heights import is_points
from xcoreg.results.coregistration import Coregistration, current_versions
from xcoreg.results.tiepoints import TiePoints, as_points

logger = logging.getLogger("xcoreg")

Image = DataArray | Dataset

# Windows of these statuses might match if it were known better where to search: they are matched again.
_AGAIN = (Status.NO_PEAK, Status.AMBIGUOUS, Status.TOO_FAR, Status.NOT_CONVERGED, Status.DISAGREES)
# They are searched within this radius, px of the matching grid, and need so many matched windows for a guess.
_NEAR, _ENOUGH = 2.5, 6
# A parallax distorts windows on slopes: so often the target is corrected by what is known and matched again.
_AGAIN_OVER_TERRAIN = 2
# Rotation and scale that move the edge of a window by more (px) are taken out before it is cut, so many times at most.
_DISTORTED, _PLACEMENTS = 0.3, 2
_CENTRE = 128  # side of the central part of large windows in which whole pixels are scouted, px of the matching grid


def match_local(
    target: Image, reference: Image, options: LocalOptions, correct: Callable[[Coregistration], Image] | None = None
) -> Coregistration:
    """Measure a field of shifts; see :func:`xcoreg.match_local`.

    correct : Corrects the target by a fit: where there is a parallax it is matched again.
    """
    with lazy.shared_chunks():
        measure = match_points_local if is_points(reference) else partial(measure_field, build=build_field)
        fit = measure(target, reference, options)
    for _ in range(_AGAIN_OVER_TERRAIN if correct is not None else 0):
        if not (fit.ok and isinstance(fit.model, Parallax)):
            break
        with lazy.shared_chunks():
            fit = _match_corrected(fit, correct(fit), reference, options)  # type: ignore[misc]
    if not fit.ok and options.errors == "raise":
        raise elevation_failure(fit) if fit.details.elevation or options.terms else failure(fit, options)
    return fit


def measure_field(
    target: Image,
    reference: Image,
    options: LocalOptions,
    build: Callable[[Scene, LocalOptions, TiePoints, float | None], Coregistration],
    *,
    apart: bool = False,
) -> Coregistration:
    """Find tie points and make a result of them; with matcher "auto" by edges where intensities find nothing."""
    if AUTO_BAND in (str(options.band), str(options.ref_band)):
        options = with_bands(target, reference, options)
    scene = prepare(target, reference, options)
    fit = build(scene, options, *_measure(target, reference, options.by("phase"), scene, apart))
    if options.matcher == "auto" and fit.status in FOUND_NOTHING:
        edges = options.by("structure")
        other = build(scene, edges, *_measure(target, reference, edges, scene, apart))
        fit = with_warning(other, BY_EDGES) if other.ok else fit
    return fit


def _match_corrected(fit: Coregistration, corrected: Image, reference: Image, options: LocalOptions) -> Coregistration:
    """Match a target again that was corrected by a fit with a parallax, for the target as it came."""
    model: Any = fit.model

    def build(scene: Scene, again: LocalOptions, points: TiePoints, reach: float | None) -> Coregistration:
        scene = replace(scene, target=replace(scene.target, grid=fit.grid))
        points = before_correction(points, model, scene)
        out = build_field(scene, replace(again, terrain=options.terrain), points, reach, before=model)
        new = {name: getattr(out.details, name) for name in ("assessment", "parallax")}
        return replace(out, details=replace(fit.details, **new))

    return measure_field(corrected, reference, replace(options, terrain=None), build)


def _measure(
    target: Image, reference: Image, options: LocalOptions, scene: Scene, apart: bool = False
) -> tuple[TiePoints, float | None]:
    """Find tie points, and again along their affine part where windows are turned or stretched by too much."""
    if options.points is not None or apart:
        return find_points(scene, options, apart=apart)
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


def find_points(scene: Scene, options: LocalOptions, *, apart: bool = False) -> tuple[TiePoints, float | None]:
    """Tie points, outliers flagged, and how far around a guess they were searched, px; None where nothing was.

    apart : Windows do not overlap, unless a spacing is given.
    """
    given = None if options.points is None else as_points(options.points, scene.target.grid)
    if isinstance(given, TiePoints):
        return run_filters_over(given, options, scene, surface_of(scene, options)), None
    plan = _plan(scene, options, given, apart)
    if options.terms is None:
        points, reach = _match_windows(scene, options, plan)
    else:
        places = plan.places if given is not None else block_grid(scene, plan.spacing)
        # A block extends to the next one, unless another size is given.
        side = max(round(plan.spacing * scene.target_pixel), 16)
        points, reach = block_points(scene, options, places, side if options.window is None else plan.size), None
    filtered = run_filters_over(points, options, scene, surface_of(scene, options))
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
    smooth, by_edges = windows.interpolate(places[ok], moves[ok], places), options.matcher == "structure"
    return repeats_elsewhere(scene, places, smooth, size, by_edges=by_edges, max_shift=options.max_shift)


@dataclass(frozen=True, eq=False)
class _Plan:
    """Where windows are matched, and how."""

    places: Floats
    spacing: float
    size: int
    limit: float | None
    make: windows.MakeSearch


def _plan(scene: Scene, options: LocalOptions, given: Floats | None, apart: bool = False) -> _Plan:
    affine = scene.target.grid.affine
    size = local_window(scene.overlap, scene.linear) if options.side is None else options.side
    usual = size / scene.target_pixel if apart else default_spacing(scene.overlap, affine)
    spacing = usual if options.spacing is None else float(options.spacing)
    if given is None:
        given = window_grid(scene.overlap, scene.extent, affine, scene.linear, spacing, size)
    if options.max_points is not None:
        given = given[evenly(given, options.max_points)]
    return _Plan(given, spacing, size, scene.search_limit(options.max_shift), partial(_search, options))


def _search(options: LocalOptions, size: int, radius: float | None, pattern: Pattern = NO_PATTERN) -> windows.Search:
    """Match windows of a size within a radius; whole pixels are scouted first unless it is small.

    Without that, most windows would be matched twice: far from their centre, and again where they have to be cut.
    """
    scout = None
    if radius is None or radius > 0.15 * size:
        scout = options.scout_function(radius)
    elif radius >= windows.LEAST_RADIUS and 0.75 * size >= _CENTRE and radius <= 0.2 * _CENTRE:
        scout = options.scout_function(radius, _CENTRE)
    return windows.Search(size, options.match_function(radius, pattern), scout)


def _match_windows(scene: Scene, options: LocalOptions, plan: _Plan) -> tuple[TiePoints, float]:
    """Match every window near a guess, and those that fail near what their neighbours have found."""
    usable = np.asarray(scene.mask(*plan.places.T) if scene.mask else np.ones(len(plan.places)), bool)
    places = plan.places[usable]
    guess = windows.guess_field(scene, plan.spacing, plan.size, plan.make, plan.limit)
    with lazy.progress_bar(len(places), "matching", "window", options.progress) as bar:
        search = plan.make(plan.size, reach := guess.search_radius(plan.size, plan.limit), guess.pattern)
        found = windows.match_many(scene, places, guess.at(places), search, bar.update if options.progress else None)
    if guess.repetitive:
        found.set_status(np.flatnonzero(found.matches.ok), Status.AMBIGUOUS)
    _match_again(scene, plan, found, guess.pattern)
    if any(guess.pattern):
        # Edges would be astray, too, and small windows are on the side of what tears large ones.
        astray = (*FOUND_NOTHING, Status.OK) if guess.pattern.torn else FOUND_NOTHING
        found.set_status(np.flatnonzero(np.isin(found.matches.status, astray)), Status.DISAGREES)
    windows.compare_with_neighbours(found, scene)
    found = _with_masked(found, plan, usable)
    points = windows.to_points([found], scene, centroids=True)
    points = quality.with_common(points, found.matches.drift, guess.pattern, scene.matching_pixel)
    return windows.flag_beyond(points, options.max_shift), reach


def _match_again(scene: Scene, plan: _Plan, found: windows.WindowMatches, pattern: Pattern) -> None:
    """Match failed windows again near their neighbours' corrections; rows of `found` that now match are replaced."""
    ok = found.matches.ok
    failed = np.flatnonzero(np.isin(found.matches.status, _AGAIN))
    if int(ok.sum()) < _ENOUGH or not len(failed):
        return
    places = found.places
    guess = windows.Guess(places[ok], found.moves[ok], 0.0)
    again = windows.match_many(scene, places[failed], guess.at(places[failed]), plan.make(plan.size, _NEAR, pattern))
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


def build_field(
    scene: Scene,
    options: LocalOptions,
    points: TiePoints,
    reach: float | None,
    kinds: Sequence[Any] = KINDS_AUTO,
    before: Parallax | None = None,
) -> Coregistration:
    """Fit a model to tie points, searched within a reach in px, and make the result.

    kinds : Models among which "auto" chooses; before : Of a target that was corrected before it was matched.
    """
    status, chance = acceptance(points, reach)
    choice, compared = _choose_model(options, points, scene, kinds, before) if status is Status.OK else (None, None)
    details = scene_details(scene, options)
    if choice is not None:
        details = replace(details, assessment=quality.assessment_of(points, choice), parallax=describe_parallax(choice))
    return Coregistration(
        model=None if choice is None else choice.model,
        points=points,
        quality=replace(
            quality.with_heights(quality.field_quality(points, choice, linear_of(scene.target.grid.affine)), compared),
            chance=chance,
        ),
        status=status,
        shift_or_none=None
        if choice is None
        else quality.mean_shift(points, choice.model, scene.target.grid, scene.unit.name),
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
    if int((points.status == Status.DISAGREES).sum()) > max(n, int(tried.sum()) // 2):
        return Status.DISAGREES, chance
    if n:
        more = int((points.status == Status.OUTLIER).sum()) > n
        return Status.OUTLIER if more else Status.NO_PEAK, chance
    return windows.commonest_status(points.status, (Status.NO_DATA, Status.MASKED)), chance


def _choose_model(
    options: LocalOptions, points: TiePoints, scene: Scene, kinds: Sequence[Any], before: Parallax | None
) -> tuple[Choice, Comparison | None]:
    ok, terms, compared = points.ok, options.terms, None
    columns = points.x[ok], points.y[ok], points.dx[ok], points.dy[ok], points.cov[ok]
    counts = f"tie points: {describe_counts(points.status)}"
    try:
        if terms is not None:
            choice, compared = choose_block_model(scene, points, options.model, terms)
        elif options.terrain is not None and (surface := surface_of(scene, options)) is not None:
            choice = choose_over(points, options, scene, surface, before)
        else:
            if isinstance(options.model, str) and options.model == "lines":
                kinds = line_kinds(points, scene)
            auto = isinstance(options.model, str) and options.model in ("auto", "lines")
            choice = choose_model(*columns, kinds) if auto else assess_model(options.model, *columns)
        if terms is None:
            choice = quality.with_shared_errors(choice, points, linear_of(scene.target.grid.affine))
    except Degenerate as error:
        raise TooFewTiePoints(f"{error}; {counts}: give less spacing, or a simpler model", points) from error
    except ValueError as error:
        raise OptionError(str(error)) from error
    for line in choice.warnings:
        warn_user(f"{line}; {counts}", LowSupport)
    return choice, compared
