"""`match`: one shift for the whole image, from windows that agree, or the reason why there is none."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xarray import DataArray, Dataset

from xcoreg import lazy
from xcoreg.core import Bools, Floats
from xcoreg.core.matcher import phase_match
from xcoreg.core.matches import Status
from xcoreg.core.robust import combine, largest_group
from xcoreg.core.sampling import shrink
from xcoreg.core.weights import SYSTEMATIC
from xcoreg.errors import OptionError
from xcoreg.georef import vector_to_map, vector_to_pixel
from xcoreg.matching.elevation import elevation_failure, match_elevation
from xcoreg.matching.options import Options
from xcoreg.matching.points import match_points
from xcoreg.matching.result import build_fit, failure
from xcoreg.matching.scene import Scene, choose_centres, clamp_inside, overlap_size, prepare, spread_out, window_size
from xcoreg.matching.windows import WindowMatches, commonest_status, match_windows
from xcoreg.results.coregistration import Coregistration

Images = tuple[Floats, Floats, Bools, Bools]  # windows of target and reference, and where they are valid

logger = logging.getLogger("xcoreg")

_LARGER = ((2, 5), (4, 3))  # after windows that fail come larger ones, by this factor, and this many of them
_LARGEST = 1024
_FEW = 3  # an answer of fewer windows is confirmed by a second round
# A single window that moves by more than this (px) must improve the structural similarity by this much.
_NEAR, _IMPROVEMENT = 2.0, 0.03
_MANY = 4  # so many matched windows that contradict each other end the search


# Windows agree within this many matching pixels, and within this many of their own standard deviations.
_AGREE, _AGREE_SIGMAS = 1.0, 3.0
# Reliability (percent) that one window needs, and that several need together. Windows of unrelated images never
# exceeded 40.
_ALONE, _TOGETHER = 45.0, 60.0
# From so many matchable windows on, one that stands alone needs this reliability instead.
_MATCHABLE, _ALONE_OF_MANY = 4, 85.0


@dataclass(frozen=True, eq=False)
class Acceptance:
    """Whether windows agree on a shift, and which.

    status, inliers : OK, or why nothing can be trusted; the windows (n,) that agree.
    move, cov : (2,), (2, 2) float64; correction, px of the matching grid, along (col, row); NaN without inliers.
    """

    status: Status
    inliers: Bools
    move: Floats
    cov: Floats

    @classmethod
    def failed(cls, status: Status, n: int) -> Acceptance:
        """No answer from `n` windows."""
        return cls(status, np.zeros(n, bool), np.full(2, np.nan), np.full((2, 2), np.nan))


def accept_windows(moves: Floats, covs: Floats, status: NDArray[np.int8], reliability: Floats) -> Acceptance:
    """Decide whether windows agree on one shift: moves (n, 2); covs (n, 2, 2); status, reliability (n,)."""
    ok = (status == Status.OK) & np.isfinite(moves).all(1)
    if not ok.any():
        return Acceptance.failed(commonest_status(status, (Status.NO_DATA,)), len(ok))
    trust = np.where(np.isfinite(reliability), np.clip(reliability, 0, 100), 100.0)
    sigma = np.sqrt(np.clip(np.trace(covs, axis1=1, axis2=2) / 2, 0, None))
    typical = np.median(sigma[ok][np.isfinite(sigma[ok])]) if np.isfinite(sigma[ok]).any() else 0.0
    radius = max(_AGREE, _AGREE_SIGMAS * typical)
    inliers = largest_group(np.where(ok[:, None], moves, np.nan), trust, radius)
    move, cov = combine(moves[inliers], covs[inliers])
    if inliers.sum() > 1:
        cov = cov + SYSTEMATIC**2 * np.eye(2)
    agree, differ = int(inliers.sum()), int((ok & ~inliers).sum())
    ambiguous = int((status == Status.AMBIGUOUS).sum())
    if differ >= agree and (differ > 1 or agree == 1):
        found = Status.OUTLIER
    elif ambiguous > agree or (agree == 1 and ambiguous):
        # A larger window may match at any of the shifts between which smaller ones could not decide.
        found = Status.AMBIGUOUS
    elif agree == 1:
        matchable = (Status.OK, Status.NO_PEAK, Status.UNCONSTRAINED, Status.NOT_CONVERGED)
        needed = _ALONE if int(np.isin(status, matchable).sum()) < _MATCHABLE else _ALONE_OF_MANY
        found = Status.OK if trust[inliers][0] >= needed else Status.NO_PEAK
    else:
        found = Status.OK if trust[inliers].sum() >= _TOGETHER else Status.NO_PEAK
    return Acceptance(found, inliers, move, cov)


def match(target: DataArray | Dataset, reference: Any, options: Options) -> Coregistration:
    """Measure one shift for the whole image; see :func:`xcoreg.match`."""
    with lazy.shared_chunks():
        if hasattr(reference, "geometry") and hasattr(reference, "columns"):
            fit = match_points(target, reference, options)
        else:
            scene = prepare(target, reference, options)
            if options.terms is None:
                fit = build_fit(scene, options, *_search(scene, options))
            else:
                fit = match_elevation(scene, options)
    if not fit.ok and options.errors == "raise":
        raise elevation_failure(fit) if fit.details.elevation else failure(fit, options)
    return fit


def _search(scene: Scene, options: Options) -> tuple[list[WindowMatches], Acceptance]:
    """Match windows in rounds until they agree on a shift or no round is left."""
    rounds: list[WindowMatches] = []
    moves: list[Floats] = []
    answer = Acceptance.failed(Status.OUTSIDE, 0)
    limit = scene.search_limit(options.max_shift)
    functions = options.match_function(limit), options.scout_function(limit)
    shown = options.progress
    bar: Any = lazy.progress_bar(None, "matching", "round", shown, disable=False) if shown else nullcontext()
    with bar:
        for number, (places, size) in enumerate(_rounds(scene, options)):
            found = match_windows(scene, places, size, np.zeros((len(places), 2)), *functions)
            moves.append(np.stack(vector_to_pixel(scene.linear, found.dx, found.dy), -1))
            rounds.append(found)
            answer = _accept(rounds, np.concatenate(moves), options, scene)
            if options.progress:
                bar.update()
            logger.info("%d windows of %d px: %s, %s", len(places), size, found.matches, answer.status.name)
            if answer.status is Status.OK and (number or int(answer.inliers.sum()) >= _FEW):
                break
            if answer.status is Status.OUTLIER and int((found.matches.status == Status.OK).sum()) >= _MANY:
                break  # many windows match well and contradict each other: larger ones would only blur that
    return rounds, _check_answer(scene, options, rounds, answer)


def _rounds(scene: Scene, options: Options) -> Iterator[tuple[Floats, int]]:
    """Places and size of the windows of each round."""
    room = overlap_size(scene.overlap, scene.linear)
    grids = room if options.window is None else overlap_size(scene.extent, scene.linear)
    first = window_size(options.window, room, grids)
    larger = [(factor * first, n) for factor, n in _LARGER if options.window is None]
    sizes = [(first, options.windows), *((min(size, _LARGEST), n) for size, n in larger if size <= 1.5 * max(room))]
    if options.at is not None:
        at = np.asarray([options.at], np.float64)
        _check_inside(at[0], scene)
        yield from ((at, size) for size, _ in sizes)
        return
    for places, size in _chosen_places(scene, sizes):
        yield clamp_inside(places, scene.extent, scene.linear, size), size


def _chosen_places(scene: Scene, sizes: list[tuple[int, int]]) -> Iterator[tuple[Floats, int]]:
    """Choose places by texture and valid data, px; those of the first size are followed by the next best ones."""
    crs = scene.target.grid.crs
    for number, (size, n) in enumerate(sizes):
        places, scores = choose_centres(scene.overlap, scene.linear, size, scene.overviews, crs, scene.mask)
        chosen = spread_out(places, scores, n, size)
        yield places[chosen], size
        rest = np.setdiff1d(np.arange(len(places)), chosen)
        if number == 0 and len(rest) and len(chosen) == n > 1:
            more = spread_out(places[rest], scores[rest], n, size)
            yield places[rest[more]], size


def _check_inside(at: Floats, scene: Scene) -> None:
    west, south, east, north = scene.overlap.bounds
    if not (west <= at[0] <= east and south <= at[1] <= north):
        box = f"x {west:.6g} to {east:.6g}, y {south:.6g} to {north:.6g}"
        raise OptionError(
            f"at=({at[0]:g}, {at[1]:g}) lies outside the overlap of the images ({box}, CRS of the target)"
        )


def _accept(rounds: list[WindowMatches], moves: Floats, options: Options, scene: Scene) -> Acceptance:
    """Decide on the whole corrections (n, 2), matching px, of all windows so far, without those beyond `max_shift`."""
    names = ("cov", "status", "reliability")
    covs, status, reliability = (np.concatenate([getattr(one.matches, name) for one in rounds]) for name in names)
    if options.max_shift is not None:
        far = np.abs(moves).max(1) > options.max_shift * scene.target_pixel
        status = np.where(far & (status == Status.OK), np.int8(Status.TOO_FAR), status)
    answer = accept_windows(moves, covs, status, reliability)
    if answer.status is Status.OK and int(answer.inliers.sum()) == 1 and not _improved(rounds, answer):
        return replace(answer, status=Status.NOT_IMPROVED, inliers=np.zeros_like(answer.inliers))
    return answer


def _improved(rounds: list[WindowMatches], answer: Acceptance) -> bool:
    """Whether a single window gains similarity by its shift: one edge or blob can match many others."""
    names = ("ssim_before", "ssim_after")
    before, after = (np.concatenate([getattr(one.matches, name) for one in rounds]) for name in names)
    gain = float((after - before)[answer.inliers][0])
    return not gain < _IMPROVEMENT or bool(np.abs(answer.move).max() <= _NEAR)


def _check_answer(scene: Scene, options: Options, rounds: list[WindowMatches], answer: Acceptance) -> Acceptance:
    """Accept an answer only if quarters of its windows, and coarser pixels, agree with it."""
    if answer.status is not Status.OK or callable(options.matcher):
        return answer
    last = rounds[-1]
    inliers: Bools = answer.inliers[-len(last.x) :]
    few = int(answer.inliers.sum()) < _FEW
    quarters = quarters_disagree(scene, last, inliers, answer.move, options.contrast) if few else None
    if quarters is not None:
        rounds.append(quarters)
        return _rejected(answer, rounds, Status.OUTLIER)
    if inliers.any() and locked_to_pixel_grid(scene, last, inliers, options.contrast):
        return _rejected(answer, rounds, Status.DISAGREES)
    return answer


def _rejected(answer: Acceptance, rounds: list[WindowMatches], status: Status) -> Acceptance:
    return replace(answer, status=status, inliers=np.zeros(sum(len(one.x) for one in rounds), bool))


# Quarters of windows are matched if they are at least this large, px; so many of them must match.
_QUARTER, _FEWEST_QUARTERS = 48, 3
# They disagree with the answer beyond this many matching pixels and this many standard deviations.
_DISAGREE, _SIGMAS = 0.25, 5.0
# Pixels are averaged by these factors; windows need so many coarse pixels on a side; a few windows suffice.
_FACTORS, _COARSE_SIDE, _WINDOWS = (2, 3), 40, 4
# Local change moves coarse matches a little, a pixel grid that both images were resampled on moves them by pixels.
_LOCKED = 0.7


def quarters_disagree(
    scene: Scene, found: WindowMatches, inliers: Bools, move: Floats, contrast: str
) -> WindowMatches | None:
    """Match the quarters of windows; return them if they contradict the answer, as under rotation or scale."""
    size = found.size // 2
    if size < _QUARTER or not inliers.any():
        return None
    places, moves = found.places[inliers], found.moves[inliers]
    match = partial(phase_match, max_shift=0.1 * size, contrast=contrast, compare=False)
    quarters = match_windows(scene, _quarters(places, size, scene), size, moves.repeat(4, axis=0), match)
    ok = quarters.matches.status == Status.OK
    if ok.sum() < _FEWEST_QUARTERS:
        return None
    off = np.hypot(*(np.stack(vector_to_pixel(scene.linear, quarters.dx[ok], quarters.dy[ok])) - move[:, None]))
    sigma = np.sqrt(np.trace(quarters.matches.cov[ok], axis1=1, axis2=2))
    disagree = off > np.maximum(_DISAGREE, _SIGMAS * sigma)
    return quarters if disagree.sum() * 2 >= ok.sum() else None


def _quarters(places: Floats, size: int, scene: Scene) -> Floats:
    """Centres of the four quarters of windows."""
    steps = np.array([(-0.5, -0.5), (0.5, -0.5), (-0.5, 0.5), (0.5, 0.5)]) * size
    offsets = np.stack(vector_to_map(scene.linear, *steps.T), -1)
    return np.asarray((places[:, None] + offsets[None]).reshape(-1, 2))


def locked_to_pixel_grid(scene: Scene, found: WindowMatches, inliers: Bools, contrast: str) -> bool:
    """Whether windows of coarser pixels disagree: images resampled on one grid can match by that grid's pattern."""
    places, moves = found.places[inliers][:_WINDOWS], found.moves[inliers][:_WINDOWS]
    if found.size // min(_FACTORS) < _COARSE_SIDE or not len(places):
        return False
    target = scene.target_cutter.cut(places[:, 0], places[:, 1], found.size)
    moved = places + moves
    reference = scene.reference_cutter.cut(moved[:, 0], moved[:, 1], found.size)
    rest = moves - np.stack([reference.x - target.x, reference.y - target.y], -1)
    pixels = np.stack(vector_to_pixel(scene.linear, *rest.T), -1)
    return coarser_pixels_disagree((target.values, reference.values, target.valid, reference.valid), pixels, contrast)


def coarser_pixels_disagree(images: Images, moves: Floats, contrast: str) -> bool:
    """Whether most of some windows, moved by `moves` (n, 2), px, match elsewhere once their pixels are averaged."""
    target, reference = images[0][:_WINDOWS], images[1][:_WINDOWS]
    target_valid, reference_valid = images[2][:_WINDOWS], images[3][:_WINDOWS]
    for factor in _FACTORS:
        if target.shape[-1] // factor < _COARSE_SIDE:
            continue
        tgt = shrink(target, target_valid, factor)
        ref = shrink(reference, reference_valid, factor)
        coarse = phase_match(tgt[0], ref[0], tgt[1], ref[1], max_shift=8.0 / factor + 1, contrast=contrast)
        ok = coarse.ok
        off = np.hypot(*(factor * np.stack([coarse.dcol, coarse.drow], -1) - moves[:_WINDOWS]).T)
        sigma = factor * np.sqrt(np.trace(coarse.cov, axis1=1, axis2=2))
        disagree = off > np.maximum(_LOCKED, _SIGMAS * sigma)
        if (ok & disagree).sum() * 2 > ok.sum():
            return True
    return False
