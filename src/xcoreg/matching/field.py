"""`match_local`: a field of shifts from many windows, the model fitted to it, and its accuracy at check points."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from xarray import DataArray, Dataset

from xcoreg import lazy
from xcoreg.core import Bools, Floats
from xcoreg.core.matches import Status, describe_counts
from xcoreg.core.models import KINDS_AUTO, Choice, Degenerate, Translation, assess_model, choose_model
from xcoreg.core.models.lines import LinesMaker
from xcoreg.core.models.parallax import Parallax
from xcoreg.core.quality import ce90, nmad
from xcoreg.errors import LowSupport, OptionError, TooFewTiePoints, warn_user
from xcoreg.filters import run_filters
from xcoreg.georef import linear_of, vector_to_pixel
from xcoreg.georef.crs import unit_of
from xcoreg.matching import windows
from xcoreg.matching.blocks import Comparison, block_grid, block_points, choose_block_model
from xcoreg.matching.elevation import elevation_failure
from xcoreg.matching.options import LocalOptions
from xcoreg.matching.parallax import (
    before_correction,
    choose_over,
    describe_parallax,
    run_filters_over,
    side_of,
    surface_of,
)
from xcoreg.matching.placement import default_spacing, local_window, window_grid
from xcoreg.matching.result import failure, scene_details, window_medians
from xcoreg.matching.scene import Scene, prepare
from xcoreg.results.coregistration import Coregistration, Quality, current_versions
from xcoreg.results.details import Assessment, CheckPoints, TriedModel
from xcoreg.results.external import as_points
from xcoreg.results.shift import Shift
from xcoreg.results.tiepoints import TiePoints

logger = logging.getLogger("xcoreg")

Image = DataArray | Dataset

# Windows of these statuses might match if it were known better where to search: they are matched again.
_AGAIN = (Status.NO_PEAK, Status.AMBIGUOUS, Status.TOO_FAR, Status.NOT_CONVERGED, Status.DISAGREES)
# They are searched within this radius, px of the matching grid, and need so many matched windows for a guess.
_NEAR, _ENOUGH = 2.5, 6
# A parallax distorts windows on slopes: so often the target is corrected by what is known and matched again.
_AGAIN_OVER_TERRAIN = 2


def match_local(
    target: Image, reference: Image, options: LocalOptions, correct: Callable[[Coregistration], Image] | None = None
) -> Coregistration:
    """Measure a field of shifts; see :func:`xcoreg.match_local`.

    correct : Corrects the target by a fit: where there is a parallax it is matched again.
    """
    with lazy.shared_chunks():
        scene, points = find_points(target, reference, options)
        fit = build_field(scene, options, points)
    for _ in range(_AGAIN_OVER_TERRAIN if correct is not None and isinstance(fit.model, Parallax) else 0):
        if not (fit.ok and isinstance(fit.model, Parallax)):
            break
        with lazy.shared_chunks():
            _, found = find_points(correct(fit), reference, replace(options, terrain=None))  # type: ignore[misc]
            points = before_correction(found, fit.model, scene)
            fit = build_field(scene, options, points, before=fit.model)
    if not fit.ok and options.errors == "raise":
        raise failure(fit, options) if options.terms is None else elevation_failure(fit)
    return fit


def tie_points(target: Image, reference: Image, options: LocalOptions) -> TiePoints:
    """Find the tie points of a field of shifts, without a model; see :func:`xcoreg.tie_points`."""
    with lazy.shared_chunks():
        scene, points = find_points(target, reference, options)
    return points.on_grid(scene.target.grid, options.spacing)


def find_points(
    target: Image, reference: Image, options: LocalOptions, *, apart: bool = False
) -> tuple[Scene, TiePoints]:
    """Prepare two images and find their tie points, outliers flagged; by default windows overlap, unless apart."""
    scene = prepare(target, reference, options)
    given = None if options.points is None else as_points(options.points, scene.target.grid)
    if isinstance(given, TiePoints):
        return scene, run_filters(given, options.filters)
    plan = _plan(scene, options, given, apart)
    if options.terms is None:
        points = _match_windows(scene, options, plan)
    else:
        places = plan.places if given is not None else block_grid(scene, plan.spacing)
        # A block extends to the next one, unless another size is given.
        side = max(round(plan.spacing * scene.target_pixel), 16)
        points = block_points(scene, options, places, side if options.window is None else plan.size)
    filtered = run_filters_over(points, options, scene, surface_of(scene, options))
    logger.info("%d windows: %s", len(points), filtered)
    return scene, filtered


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
    size = local_window(scene.overlap, scene.linear) if options.window is None else int(options.window)
    usual = size / scene.target_pixel if apart else default_spacing(scene.overlap, affine)
    spacing = usual if options.spacing is None else float(options.spacing)
    if given is None:
        given = window_grid(scene.overlap, scene.extent, affine, scene.linear, spacing, size)
    return _Plan(given, spacing, size, scene.search_limit(options.max_shift), partial(_search, options))


def _search(options: LocalOptions, size: int, radius: float | None) -> windows.Search:
    """Match windows of a size within a radius; whole pixels are scouted first if it is large."""
    near = radius is not None and radius <= 0.15 * size
    scout = None if near else options.scout_function(radius)
    return windows.Search(size, options.match_function(radius), scout)


def _match_windows(scene: Scene, options: LocalOptions, plan: _Plan) -> TiePoints:
    """Match every window near a guess, and those that fail near what their neighbours have found."""
    usable = np.ones(len(plan.places), bool)
    if scene.mask is not None:
        usable = np.asarray(scene.mask(plan.places[:, 0], plan.places[:, 1]), bool)
    places = plan.places[usable]
    guess = windows.guess_field(scene, plan.spacing, plan.size, plan.make, plan.limit)
    with lazy.progress_bar(len(places), "matching", "window", options.progress) as bar:
        search = plan.make(plan.size, guess.search_radius(plan.size, plan.limit))
        found = windows.match_many(scene, places, guess.at(places), search, bar.update if options.progress else None)
    if guess.repetitive:
        found.set_status(np.flatnonzero(found.matches.ok), Status.AMBIGUOUS)
    _match_again(scene, plan, found)
    points = windows.to_points([_with_masked(found, plan, usable)], scene, centroids=True)
    return windows.flag_beyond(points, options.max_shift)


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
_SHARE = 0.05  # of windows that could match, at least this share must
_USELESS = (
    "the correction does not reduce the residuals at check points (RMSE {:.3g} px before, {:.3g} px after): the images "
    "are aligned already, or too few windows match"
)


def build_field(
    scene: Scene,
    options: LocalOptions,
    points: TiePoints,
    kinds: Sequence[Any] = KINDS_AUTO,
    before: Parallax | None = None,
) -> Coregistration:
    """Fit a model to tie points and make the result; kinds are those among which "auto" chooses."""
    status = _field_status(points)
    choice, compared = _choose_model(options, points, scene, kinds, before) if status is Status.OK else (None, None)
    details = scene_details(scene, options)
    if choice is not None:
        details = replace(details, assessment=_assessment(points, choice), parallax=describe_parallax(choice))
    return Coregistration(
        model=None if choice is None else choice.model,
        points=points,
        quality=_with_heights(_quality(points, choice, scene), compared),
        status=status,
        shift_or_none=None if choice is None else _mean_shift(points, choice.model, scene),
        crs_wkt=points.crs_wkt,
        transform=tuple(scene.target.grid.affine)[:6],
        shape=scene.target.shape,
        details=details,
        versions=current_versions(),
    )


def _field_status(points: TiePoints) -> Status:
    """OK if the tie points together cannot be chance, else why there is no field."""
    ok = points.ok
    n = int(ok.sum())
    matchable = n + int(np.isin(points.status, (Status.NO_PEAK, Status.OUTLIER, Status.DISAGREES)).sum())
    trust = np.where(np.isfinite(points.reliability), points.reliability, 100.0)
    if n >= _FEWEST and n >= _SHARE * matchable and float(trust[ok].sum()) >= _TOGETHER:
        return Status.OK
    if n:
        return Status.OUTLIER if int((points.status == Status.OUTLIER).sum()) > n else Status.NO_PEAK
    return windows.commonest_status(points.status, (Status.NO_DATA, Status.MASKED))


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
                kinds = _line_kinds(points, scene)
            auto = isinstance(options.model, str) and options.model in ("auto", "lines")
            choice = choose_model(*columns, kinds) if auto else assess_model(options.model, *columns)
    except Degenerate as error:
        raise TooFewTiePoints(f"{error}; {counts}: give less spacing, or a simpler model", points) from error
    except ValueError as error:
        raise OptionError(str(error)) from error
    for line in choice.warnings:
        warn_user(f"{line}; {counts}", LowSupport)
    return choice, compared


def _line_kinds(points: TiePoints, scene: Scene) -> list[Any]:
    """Kinds among which the distortions of a pushbroom sensor are chosen: its lines are the rows of the target."""
    _, b, d, _ = linear_of(scene.target.grid.affine)
    if b or d:
        raise OptionError("model='lines' needs rows along the x axis of the CRS, and this grid is rotated")
    return ["translation", "affine", LinesMaker(side_of(points, scene))]


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


def _assessment(points: TiePoints, choice: Choice) -> Assessment:
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


def _quality(points: TiePoints, choice: Choice | None, scene: Scene) -> Quality:
    ok = points.ok
    if choice is None:
        return Quality(n_windows=len(points), n_ok=int(ok.sum()))
    before = points.dcol[ok], points.drow[ok]
    after = vector_to_pixel(linear_of(scene.target.grid.affine), choice.residual_dx, choice.residual_dy)
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
