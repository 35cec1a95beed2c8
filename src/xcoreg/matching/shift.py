"""`match`: one shift for the whole image."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
from tqdm import tqdm

from xcoreg import lazy
from xcoreg.core.arrays import Floats
from xcoreg.core.matches import Status
from xcoreg.errors import OptionError
from xcoreg.georef import vector_to_pixel
from xcoreg.matching.acceptance import Verdict, bends, judge, locks
from xcoreg.matching.elevation import elevation_failure, match_elevation
from xcoreg.matching.options import MatchOptions, Options, check_options
from xcoreg.matching.placement import choose_centres, keep_inside, overlap_size, spread_out, window_size
from xcoreg.matching.points import is_points, match_points
from xcoreg.matching.result import build_fit, failure
from xcoreg.matching.scene import Scene, prepare
from xcoreg.matching.windows import Trials, match_windows

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from xarray import DataArray, Dataset

    from xcoreg.results.coregistration import Coregistration


logger = logging.getLogger("xcoreg")

# Windows that fail are followed by windows this many times larger, fewer of them.
_LARGER = ((2, 5), (4, 3))
_LARGEST = 1024
# An answer that fewer windows carry has to stand a second round, too.
_FEW = 3
# A window alone that moves by more than this (px) has to gain this much structural similarity.
_NEAR, _GAIN = 2.0, 0.03
# So many sure windows that contradict each other end the search.
_ENOUGH = 4


def match(
    target: DataArray | Dataset, reference: DataArray | Dataset, **options: Unpack[MatchOptions]
) -> Coregistration:
    """Measure one shift for the whole image; see :func:`xcoreg.match`."""
    checked = check_options(dict(options))
    with lazy.shared_chunks():
        if is_points(reference):
            fit = match_points(target, reference, checked)
        else:
            scene = prepare(target, reference, checked)
            if checked.terms is None:
                fit = build_fit(scene, checked, *_search(scene, checked))
            else:
                fit = match_elevation(scene, checked)
    if not fit.ok and checked.errors == "raise":
        raise elevation_failure(fit) if fit.details.elevation else failure(fit, checked)
    return fit


def _search(scene: Scene, options: Options) -> tuple[list[Trials], Verdict]:
    """Match windows in rounds until they agree on a shift or no round is left."""
    trials: list[Trials] = []
    verdict = Verdict(Status.OUTSIDE, np.zeros(0, bool), np.full(2, np.nan), np.full((2, 2), np.nan))
    for turn, (places, size) in enumerate(_progress(_rounds(scene, options), options.progress)):
        found = match_windows(scene, places, size, np.zeros((len(places), 2)), *_functions(scene, options))
        trials.append(found)
        verdict = _judge(trials, scene, options)
        logger.info("%d windows of %d px: %s, %s", len(places), size, found.matches, verdict.status.name)
        if verdict.status is Status.OK and int(verdict.members.sum()) >= _FEW:
            break
        if verdict.status is Status.OK and turn:
            break
        if verdict.status is Status.OUTLIER and int((found.matches.status == Status.OK).sum()) >= _ENOUGH:
            # Many windows are sure, and contradict each other: larger ones would only blur that.
            return trials, verdict
    return trials, _doubted(scene, options, trials, verdict)


def _rounds(scene: Scene, options: Options) -> Iterator[tuple[Floats, int]]:
    """Places and sizes of the windows of each round."""
    first = window_size(options.window, scene.overlap, scene.linear, scene.extent)
    room = max(overlap_size(scene.overlap, scene.linear))
    larger = [(factor * first, n) for factor, n in _LARGER if options.window is None]
    sizes = [(first, options.windows), *((min(size, _LARGEST), n) for size, n in larger if size <= 1.5 * room)]
    if options.at is not None:
        at = np.asarray([options.at], np.float64)
        _check_inside(at[0], scene)
        yield from ((at, size) for size, _ in sizes)
        return
    for places, size in _chosen(scene, sizes):
        yield keep_inside(places, scene.extent, scene.linear, size), size


def _chosen(scene: Scene, sizes: list[tuple[int, int]]) -> Iterator[tuple[Floats, int]]:
    """Choose places by what the images tell there; the first size gets a second choice of places."""
    crs = scene.target.grid.crs, scene.reference.grid.crs
    for turn, (size, n) in enumerate(sizes):
        places, scores = choose_centres(scene.overlap, scene.linear, size, scene.looks, crs, scene.mask)
        chosen = spread_out(places, scores, n, scene.linear, size)
        yield places[chosen], size
        rest = np.setdiff1d(np.arange(len(places)), chosen)
        if turn == 0 and len(rest) and len(chosen) == n > 1:
            more = spread_out(places[rest], scores[rest], n, scene.linear, size)
            yield places[rest[more]], size


def _check_inside(at: Floats, scene: Scene) -> None:
    west, south, east, north = scene.overlap.bounds
    if not (west <= at[0] <= east and south <= at[1] <= north):
        box = f"x {west:.6g} to {east:.6g}, y {south:.6g} to {north:.6g}"
        raise OptionError(
            f"at=({at[0]:g}, {at[1]:g}) lies outside the overlap of the images ({box}, CRS of the target)"
        )


def _functions(scene: Scene, options: Options) -> tuple[Any, Any]:
    limit = None
    if options.max_shift is not None:
        # Half a pixel more than allowed, lest a shift at the limit itself be missed; `_judge` holds to the limit.
        limit = options.max_shift * target_pixels(scene) + 1.0
    return options.match_function(limit), options.scout_function(limit)


def target_pixels(scene: Scene) -> float:
    """Tell how many matching pixels make a target pixel."""
    own = scene.target.grid.affine
    matching = scene.linear[0] * scene.linear[3] - scene.linear[1] * scene.linear[2]
    return float(np.sqrt(abs(own.a * own.e - own.b * own.d) / abs(matching)))


def _judge(trials: list[Trials], scene: Scene, options: Options) -> Verdict:
    """Verdict on all windows so far, those beyond `max_shift` left out."""
    moves, covs, status, reliability = _columns(trials, scene)
    if options.max_shift is not None:
        far = np.abs(moves).max(1) > options.max_shift * target_pixels(scene)
        status = np.where(far & (status == Status.OK), np.int8(Status.TOO_FAR), status)
    verdict = judge(moves, covs, status, reliability)
    if verdict.status is Status.OK and int(verdict.members.sum()) == 1 and not _gained(trials, verdict):
        return replace(verdict, status=Status.NOT_IMPROVED, members=np.zeros_like(verdict.members))
    return verdict


def _gained(trials: list[Trials], verdict: Verdict) -> bool:
    """Tell whether a window that stands alone looks more alike once moved: one edge or blob fits many another."""
    before, after = (
        np.concatenate([getattr(t.matches, name) for t in trials]) for name in ("ssim_before", "ssim_after")
    )
    gain = float((after - before)[verdict.members][0])
    return not gain < _GAIN or bool(np.abs(verdict.move).max() <= _NEAR)


def _columns(trials: list[Trials], scene: Scene) -> tuple[Floats, Floats, NDArray[np.int8], Floats]:
    """Whole corrections in matching pixels, their covariances, status and reliability."""
    dx, dy = (np.concatenate([getattr(one, name) for one in trials]) for name in ("dx", "dy"))
    moves = np.stack(vector_to_pixel(scene.linear, dx, dy), -1)
    covs, status, reliability = (
        np.concatenate([getattr(one.matches, name) for one in trials]) for name in ("cov", "status", "reliability")
    )
    return moves, covs, status, reliability


def _doubted(scene: Scene, options: Options, trials: list[Trials], verdict: Verdict) -> Verdict:
    """Keep an answer only if parts of its windows, and coarser pixels, tell the same."""
    if verdict.status is not Status.OK or callable(options.matcher):
        return verdict
    last = trials[-1]
    members = verdict.members[-len(last.x) :]
    few = int(verdict.members.sum()) < _FEW
    parts = bends(scene, last, members, verdict.move, options.contrast) if few else None
    if parts is not None:
        trials.append(parts)
        return _overruled(verdict, trials, Status.OUTLIER)
    if members.any() and locks(scene, last, members, options.contrast):
        return _overruled(verdict, trials, Status.DISAGREES)
    return verdict


def _overruled(verdict: Verdict, trials: list[Trials], status: Status) -> Verdict:
    nobody = np.zeros(sum(len(one.x) for one in trials), bool)
    return replace(verdict, status=status, members=nobody)


def _progress(rounds: Iterator[tuple[Floats, int]], shown: bool) -> Iterator[tuple[Floats, int]]:
    """Show the rounds with a progress bar on stderr, if wanted."""
    if not shown:
        yield from rounds
        return

    yield from tqdm(rounds, desc="matching", unit="round", leave=False)
