"""`match_local`: a field of shifts from many windows."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from xcoreg import lazy
from xcoreg.core.matches import Status
from xcoreg.engine.cascade import Guess, guess_field
from xcoreg.engine.elevation.blocks import block_points, lay_blocks
from xcoreg.engine.elevation.single import elevation_failure
from xcoreg.engine.field import build_field
from xcoreg.engine.many import Search, match_many, progress_bar
from xcoreg.engine.report import failure
from xcoreg.engine.scene import Scene, prepare
from xcoreg.engine.single import target_pixels
from xcoreg.engine.trials import Trials, to_points
from xcoreg.filters import run_filters
from xcoreg.plan.layout import default_spacing, lay_out, local_window
from xcoreg.plan.options import LocalOptions, MatchLocalOptions, check_options
from xcoreg.results.external import as_points
from xcoreg.results.tiepoints import TiePoints

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from xarray import DataArray, Dataset

    from xcoreg.results.coregistration import Coregistration

    Floats = NDArray[np.floating]
    Image = DataArray | Dataset

__all__ = ["match_local", "tie_points"]

logger = logging.getLogger("xcoreg")

# Windows that could be matched if it were known better where to look: they get a second chance.
_AGAIN = (Status.NO_PEAK, Status.AMBIGUOUS, Status.TOO_FAR, Status.NOT_CONVERGED, Status.DISAGREES)
# Second chances look this far, px of the matching lattice, and need so many neighbours to know where.
_NEAR, _ENOUGH = 2.5, 6


def match_local(
    target: DataArray | Dataset, reference: DataArray | Dataset, **options: Unpack[MatchLocalOptions]
) -> Coregistration:
    """Measure a field of shifts between two images: tie points on a grid, outliers flagged, a model fitted.

    Parameters
    ----------
    target : DataArray or Dataset
        The image that is off: georeferenced, any CRS, any leading dimensions.
    reference : DataArray or Dataset
        The image that is right; any CRS and GSD.
    **options
        See :class:`xcoreg.plan.LocalOptions`.

    Returns
    -------
    Coregistration
        With every window that was tried in `points`, and a model that predicts the correction (``x_ref = x_tgt + dx``)
        and its uncertainty anywhere, in CRS units of the target. :func:`xcoreg.apply` warps by it, with one
        interpolation.

    Raises
    ------
    MatchError
        When nothing can be trusted; not with ``errors="return"``. TooFewTiePoints when too few are left for the model
        that was asked for.
    GridError
        When the images do not overlap or lack a georeference.
    OptionError
        When an option or an image cannot be used.

    Examples
    --------
    >>> from xcoreg.simulate import pair, smooth_field
    >>> scene = pair((512, 512), shift=smooth_field((512, 512), 1.5, seed=2), seed=3)
    >>> fit = match_local(scene.tgt, scene.ref, spacing=48, window=64)
    >>> fit.ok, int(fit.points.ok.sum()) > 70
    (True, True)
    """
    checked = check_options(dict(options), kind=LocalOptions)
    with lazy.keeping():
        scene, points = _find(target, reference, checked)
        fit = build_field(scene, checked, points)
    if not fit.ok and checked.errors == "raise":
        raise failure(fit, checked) if checked.terms is None else elevation_failure(fit)
    return fit


def tie_points(
    target: DataArray | Dataset, reference: DataArray | Dataset, **options: Unpack[MatchLocalOptions]
) -> TiePoints:
    """Find tie points on a grid and flag outliers; no model is fitted.

    Parameters
    ----------
    target, reference, **options
        As for :func:`match_local`.

    Returns
    -------
    TiePoints
        Every window that was tried.

    Raises
    ------
    GridError, OptionError
        As :func:`match_local`.

    Examples
    --------
    >>> from xcoreg.simulate import pair
    >>> scene = pair((300, 300), shift=(0.7, -1.2), seed=3)
    >>> points = tie_points(scene.tgt, scene.ref, spacing=48, window=64)
    >>> round(float(np.median(points.dcol[points.ok])), 1)
    0.7
    """
    checked = check_options(dict(options), kind=LocalOptions)
    with lazy.keeping():
        return _find(target, reference, checked)[1]


def _find(
    target: DataArray | Dataset, reference: DataArray | Dataset, options: LocalOptions
) -> tuple[Scene, TiePoints]:
    scene = prepare(target, reference, options)
    affine = scene.target.grid.affine
    given = None if options.points is None else as_points(options.points, scene.target.grid.crs, tuple(affine)[:6])
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
