"""From tie points to a model of the field, its assessment on withheld points, and the result.

`match_local`: a field of shifts from many windows.
"""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from xcoreg import lazy
from xcoreg.core.arrays import Floats
from xcoreg.core.matches import Status
from xcoreg.core.models import Choice, Degenerate, Translation, assess_model, choose_model
from xcoreg.core.quality import ce90, nmad
from xcoreg.errors import LowSupport, OptionError, TooFewTiePoints
from xcoreg.filters import run_filters
from xcoreg.georef import linear_of, vector_to_pixel
from xcoreg.matching.blocks import Comparison, block_points, choose_lifted, lay_blocks
from xcoreg.matching.elevation import elevation_failure
from xcoreg.matching.options import LocalOptions, MatchLocalOptions, check_options
from xcoreg.matching.placement import default_spacing, lay_out, local_window
from xcoreg.matching.result import failure, scene_details, unit_of
from xcoreg.matching.scene import Scene, prepare
from xcoreg.matching.shift import target_pixels
from xcoreg.matching.windows import Guess, Search, Trials, guess_field, match_many, progress_bar, to_points
from xcoreg.results.coregistration import Coregistration, Quality, current_versions
from xcoreg.results.details import Assessment, CheckPoints, TriedModel
from xcoreg.results.external import as_points
from xcoreg.results.shift import Shift
from xcoreg.results.tiepoints import TiePoints

if TYPE_CHECKING:
    from collections.abc import Callable

    from xarray import DataArray, Dataset

    Image = DataArray | Dataset

logger = logging.getLogger("xcoreg")

# Windows that could be matched if it were known better where to look: they get a second chance.
_AGAIN = (Status.NO_PEAK, Status.AMBIGUOUS, Status.TOO_FAR, Status.NOT_CONVERGED, Status.DISAGREES)
# Second chances look this far, px of the matching lattice, and need so many neighbours to know where.
_NEAR, _ENOUGH = 2.5, 6


def match_local(
    target: DataArray | Dataset, reference: DataArray | Dataset, **options: Unpack[MatchLocalOptions]
) -> Coregistration:
    """Measure a field of shifts; see :func:`xcoreg.match_local`."""
    checked = check_options(dict(options), kind=LocalOptions)
    with lazy.shared_chunks():
        scene, points = _find(target, reference, checked)
        fit = build_field(scene, checked, points)
    if not fit.ok and checked.errors == "raise":
        raise failure(fit, checked) if checked.terms is None else elevation_failure(fit)
    return fit


def tie_points(
    target: DataArray | Dataset, reference: DataArray | Dataset, **options: Unpack[MatchLocalOptions]
) -> TiePoints:
    """Find the tie points of a field of shifts alone; see :func:`xcoreg.tie_points`."""
    checked = check_options(dict(options), kind=LocalOptions)
    with lazy.shared_chunks():
        scene, points = _find(target, reference, checked)
    return points.on_grid(scene.target.grid, checked.spacing)


def _find(
    target: DataArray | Dataset, reference: DataArray | Dataset, options: LocalOptions
) -> tuple[Scene, TiePoints]:
    scene = prepare(target, reference, options)
    given = None if options.points is None else as_points(options.points, scene.target.grid)
    if isinstance(given, TiePoints):
        return scene, run_filters(given, options.filters)
    plan = _plan(scene, options, given)
    if options.terms is None:
        points = _matched(scene, options, plan)
    else:
        places = plan.places if given is not None else lay_blocks(scene, plan.spacing)
        # A block reaches to the next one, unless another size was asked for.
        side = max(round(plan.spacing * target_pixels(scene)), 16)
        points = block_points(scene, options, places, side if options.window is None else plan.size)
    filtered = run_filters(points, options.filters)
    logger.info("%d windows: %s", len(points), filtered)
    return scene, filtered


@dataclass(frozen=True, eq=False)
class _Plan:
    """Where windows are matched, and how."""

    places: Floats
    spacing: float
    size: int
    limit: float | None
    make: Callable[[int, float | None], Search]


def _plan(scene: Scene, options: LocalOptions, given: Floats | None) -> _Plan:
    affine = scene.target.grid.affine
    spacing = default_spacing(scene.overlap, affine) if options.spacing is None else float(options.spacing)
    size = local_window(scene.overlap, scene.linear) if options.window is None else int(options.window)
    places = given if given is not None else lay_out(scene.overlap, scene.extent, affine, scene.linear, spacing, size)
    limit = None if options.max_shift is None else options.max_shift * target_pixels(scene) + 1.0
    return _Plan(places, spacing, size, limit, partial(_search, options))


def _search(options: LocalOptions, size: int, radius: float | None) -> Search:
    """Match windows of a size within a radius; far ones are scouted first."""
    near = radius is not None and radius <= 0.15 * size
    scout = None if near else options.scout_function(radius)
    return Search(size, options.match_function(radius), scout)


def _matched(scene: Scene, options: LocalOptions, plan: _Plan) -> TiePoints:
    """Match every window from a guess, and those that fail from what their neighbours have found."""
    usable = np.ones(len(plan.places), bool)
    if scene.mask is not None:
        usable = np.asarray(scene.mask(plan.places[:, 0], plan.places[:, 1]), bool)
    places = plan.places[usable]
    guess = guess_field(scene, plan.spacing, plan.size, plan.make, plan.limit)
    with progress_bar(len(places), "matching", options.progress) as done:
        search = plan.make(plan.size, guess.reach(plan.size, plan.limit))
        trials = match_many(scene, places, guess.at(places), search, done)
    if guess.repeats:
        trials.doubt(np.flatnonzero(trials.matches.ok), Status.AMBIGUOUS)
    trials = _second_chance(scene, plan, trials)
    points = to_points([_with_masked(trials, plan, usable)], scene, centroids=True)
    if options.max_shift is not None:
        far = np.maximum(np.abs(points.dcol), np.abs(points.drow)) > options.max_shift
        points = points.with_status(far, Status.TOO_FAR)
    return points


def _second_chance(scene: Scene, plan: _Plan, trials: Trials) -> Trials:
    """Match windows again from their neighbours' corrections, looking around those only."""
    ok = trials.matches.ok
    again = np.flatnonzero(np.isin(trials.matches.status, _AGAIN))
    if int(ok.sum()) < _ENOUGH or not len(again):
        return trials
    places = np.stack([trials.x, trials.y], -1)
    moves = np.stack([trials.dx, trials.dy], -1)
    guess = Guess(places[ok], moves[ok], 0.0)
    found = match_many(scene, places[again], guess.at(places[again]), plan.make(plan.size, _NEAR))
    good = np.flatnonzero(found.matches.ok)
    if len(good):
        better = found.take(good)
        trials.put(again[good], better.matches, better.dx, better.dy)
    return trials


def _with_masked(trials: Trials, plan: _Plan, usable: Any) -> Trials:
    """Give windows that a mask excludes their rows."""
    if usable.all():
        return trials
    hidden = plan.places[~usable]
    masked = Trials(hidden[:, 0], hidden[:, 1], plan.size, len(hidden))
    masked.doubt(np.arange(len(hidden)), Status.MASKED)
    parts = [part for part in (trials, masked) if len(part.x)]
    order = [index for index in (np.flatnonzero(usable), np.flatnonzero(~usable)) if len(index)]
    return Trials.joined(parts, order)


# Fewer tie points than this are no field; together they have to be this reliable, percent.
_FEWEST, _TOGETHER = 3, 150.0
# Of windows that should have told something, so many at least must have agreed.
_SHARE = 0.05
_USELESS = (
    "the correction does not bring withheld tie points nearer (RMSE {:.3g} px before, {:.3g} px after): the images fit "
    "already, or too few windows tell"
)


def build_field(scene: Scene, options: LocalOptions, points: TiePoints) -> Coregistration:
    """Fit a model to tie points and put everything into the final form."""
    status = _verdict(points)
    choice, compared = _choice(options, points, scene) if status is Status.OK else (None, None)
    details = scene_details(scene, options)
    if choice is not None:
        details = replace(details, assessment=_assessment(points, choice))
    return Coregistration(
        model=None if choice is None else choice.model,
        points=points,
        quality=_lifted(_quality(points, choice, scene), compared),
        status=status,
        shift_or_none=None if choice is None else _mean_shift(points, choice.model, scene),
        crs_wkt=points.crs_wkt,
        transform=tuple(scene.target.grid.affine)[:6],
        shape=scene.target.shape,
        details=details,
        versions=current_versions(),
    )


def _verdict(points: TiePoints) -> Status:
    """Tell whether the tie points together are more than chance."""
    ok = points.ok
    n = int(ok.sum())
    told = n + int(np.isin(points.status, (Status.NO_PEAK, Status.OUTLIER, Status.DISAGREES)).sum())
    trust = np.where(np.isfinite(points.reliability), points.reliability, 100.0)
    if n >= _FEWEST and n >= _SHARE * told and float(trust[ok].sum()) >= _TOGETHER:
        return Status.OK
    if n:
        return Status.OUTLIER if int((points.status == Status.OUTLIER).sum()) > n else Status.NO_PEAK
    telling = points.status[~np.isin(points.status, (Status.NO_DATA, Status.MASKED))]
    codes, counts = np.unique(telling if len(telling) else points.status, return_counts=True)
    return Status(int(codes[counts.argmax()])) if len(codes) else Status.OUTSIDE


def _choice(options: LocalOptions, points: TiePoints, scene: Scene) -> tuple[Choice, Comparison | None]:
    ok, terms, compared = points.ok, options.terms, None
    columns = points.x[ok], points.y[ok], points.dx[ok], points.dy[ok], points.cov[ok]
    try:
        if terms is not None:
            choice, compared = choose_lifted(scene, points, options.model, terms)
        else:
            choice = choose_model(*columns) if options.model == "auto" else assess_model(options.model, *columns)
    except Degenerate as error:
        raise TooFewTiePoints(f"{error}; {_counts(points)}: give less spacing, or a simpler model", points) from error
    except ValueError as error:
        raise OptionError(str(error)) from error
    for line in choice.warnings:
        warnings.warn(f"{line}; {_counts(points)}", LowSupport, stacklevel=5)
    return choice, compared


def _counts(points: TiePoints) -> str:
    return "tie points: " + ", ".join(f"{n} {name}" for name, n in points.counts().items())


def _mean_shift(points: TiePoints, model: Any, scene: Scene) -> Shift:
    """Give the one shift that describes the field best."""
    ok = points.ok
    mean = getattr(model, "horizontal", model)
    if mean.kind != "translation":
        mean = Translation.fit(points.x[ok], points.y[ok], points.dx[ok], points.dy[ok], points.cov[ok])
    own = linear_of(scene.target.grid.affine)
    (xx, xy), (yx, yy) = np.asarray(mean.cov, np.float64)[:2, :2].tolist()
    shift = Shift(mean.dx, mean.dy, ((xx, xy), (yx, yy)), own, unit=unit_of(scene))
    if model.dz_constant == 0.0:
        return shift
    height = Translation.fit(
        points.x[ok], points.y[ok], points.dz[ok], 0.0, np.eye(2) * points.cov_z[ok, 2][:, None, None]
    )
    return replace(shift, dz=height.dx, cov_z=(0.0, 0.0, float(height.cov[0][0])))


def _assessment(points: TiePoints, choice: Choice) -> Assessment:
    """Record the comparison of models and the residuals at check points."""
    check = CheckPoints(points.window[points.ok], choice.residual_dx, choice.residual_dy)
    return Assessment(tuple(TriedModel(**row) for row in choice.table), check)


def _lifted(quality: Quality, compared: Comparison | None) -> Quality:
    """Tell what is left between elevation models, too; whether blocks agree is no news then."""
    if compared is None:
        return quality
    return replace(
        quality,
        warnings=tuple(text for text in quality.warnings if not text.startswith(_USELESS[:20])),
        dh_count=compared.count,
        dh_median_before=compared.before.median,
        dh_median_after=compared.after.median,
        dh_nmad_before=compared.before.nmad,
        dh_nmad_after=compared.after.nmad,
    )


def _quality(points: TiePoints, choice: Choice | None, scene: Scene) -> Quality:
    ok = points.ok
    if choice is None:
        return Quality(n_windows=len(points), n_ok=int(ok.sum()))
    before = points.dcol[ok], points.drow[ok]
    after = vector_to_pixel(linear_of(scene.target.grid.affine), choice.residual_dx, choice.residual_dy)
    rmse = [float(np.sqrt(np.nanmean(np.hypot(*part) ** 2))) for part in (before, after)]
    useless = rmse[1] >= rmse[0]
    told = (_USELESS.format(*rmse),) if useless else ()

    def middle(values: Floats) -> float:
        kept = values[ok][np.isfinite(values[ok])]
        return float(np.median(kept)) if kept.size else float("nan")

    return Quality(
        reliability=middle(points.reliability),
        score=middle(points.score),
        ssim_before=middle(points.ssim_before),
        ssim_after=middle(points.ssim_after),
        n_windows=len(points),
        n_ok=int(ok.sum()),
        spread_px=float(np.hypot(nmad(after[0]), nmad(after[1])) / np.sqrt(2)),
        n_check=int(np.isfinite(after[0]).sum()),
        median_before=float(np.median(np.hypot(*before))),
        median_after=float(np.nanmedian(np.hypot(*after))),
        rmse_before=rmse[0],
        rmse_after=rmse[1],
        ce90_before=ce90(*before),
        ce90_after=ce90(*after),
        warnings=(*choice.warnings, *told),
    )
