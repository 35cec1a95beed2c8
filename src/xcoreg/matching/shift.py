"""`match`: one shift for the whole image, from windows that agree, or the reason why there is none."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
from xarray import DataArray, Dataset

from xcoreg import lazy
from xcoreg.core import Bools, Floats
from xcoreg.core.drift import PEAKS, Pattern, pattern_of, round_covariance, settle_again, shared_drift
from xcoreg.core.matches import Matches, Status
from xcoreg.core.weights import SYSTEMATIC
from xcoreg.errors import OptionError
from xcoreg.georef import vector_to_map, vector_to_pixel
from xcoreg.matching import geometry
from xcoreg.matching.acceptance import (
    VAGUE,
    Acceptance,
    accept_windows,
    halves_confirm,
    intensities_confirm,
    locked_to_pixel_grid,
    quarters_disagree,
    repeats_elsewhere,
    settle_drift,
    shared_area,
    shows_slopes,
)
from xcoreg.matching.choice import AUTO_BAND, with_bands
from xcoreg.matching.elevation import elevation_failure, match_elevation
from xcoreg.matching.options import Options
from xcoreg.matching.points import match_points
from xcoreg.matching.result import BY_EDGES, FOUND_NOTHING, build_fit, failure, with_warning
from xcoreg.matching.scene import (
    Scene,
    choose_centres,
    clamp_inside,
    overlap_size,
    prepare,
    spread_out,
    spread_to_corners,
    window_size,
)
from xcoreg.matching.windows import WindowMatches, match_windows
from xcoreg.raster.point_heights import is_points
from xcoreg.results.coregistration import Coregistration

logger = logging.getLogger("xcoreg")

_LARGER = ((2, 5), (4, 3))  # after windows that fail come larger ones, by this factor, and this many of them
_LARGEST = 1024
_ENOUGH = 5  # windows that are matched first, and by whose answer the others may not be needed
_FEW = 3  # an answer of fewer windows is confirmed by a second round
# A single window that moves by more than this (px) must improve the structural similarity by this much.
_NEAR, _IMPROVEMENT = 2.0, 0.03
# Windows of another place of a pattern never correlate like this, small ones and larger ones; so many have to.
_PERFECT, _USUAL, _FEWEST = (0.9, 0.85), 128, 2
# Drift, px, of windows that correlate by so much from which on edges are not asked.
_APART, _ALIKE = 0.6, 0.7
_MANY = 4  # so many matched windows that contradict each other end the search


def match(target: DataArray | Dataset, reference: Any, options: Options) -> Coregistration:
    """Measure one shift for the whole image; see :func:`xcoreg.match`."""
    with lazy.shared_chunks():
        if is_points(reference):
            fit = match_points(target, reference, options)
        else:
            if AUTO_BAND in (str(options.band), str(options.ref_band)):
                options = with_bands(target, reference, options)
            fit = _match_pair(target, reference, options)
    if not fit.ok and options.errors == "raise":
        raise elevation_failure(fit) if fit.details.elevation else failure(fit, options)
    return fit


def _match_pair(target: DataArray | Dataset, reference: DataArray | Dataset, options: Options) -> Coregistration:
    """Measure one shift, or the geometry that is wanted."""
    if options.geometry not in ("shift", "auto"):
        return geometry.match(target, reference, options)
    scene = prepare(target, reference, options)
    fit = _match_images(scene, options) if options.terms is None else match_elevation(scene, options)
    return geometry.match(target, reference, options) if options.geometry == "auto" and not fit.ok else fit


# Edges of another band or date lie elsewhere by so many px, which windows that differ show in part, and one does not.
_ALONE, _IN_ALL = 0.1, 0.07


def _match_images(scene: Scene, options: Options) -> Coregistration:
    """Match by intensities, and by edges where these are wanted, or where intensities find nothing."""
    rounds, answer = _search(scene, options.by("phase"))
    fit = build_fit(scene, options, rounds, answer)
    if options.matcher != "auto" or fit.status not in (*FOUND_NOTHING, Status.FLAT):  # or too much in one spot
        return fit
    edges = options.by("structure")
    rounds, answer = _search(scene, edges, rounds)
    elsewhere = _ALONE if int(answer.inliers.sum()) == 1 else _IN_ALL
    answer = replace(answer, cov=answer.cov + round_covariance(np.array([elsewhere]))[0])
    other = build_fit(scene, edges, rounds, answer)
    return with_warning(other, BY_EDGES) if other.ok else fit


def _search(
    scene: Scene, options: Options, before: list[WindowMatches] | None = None
) -> tuple[list[WindowMatches], Acceptance]:
    """Match windows in rounds until they agree on a shift or no round is left; `before` are those of intensities."""
    rounds: list[WindowMatches] = []
    answer = Acceptance.failed(Status.OUTSIDE, 0)
    limit = scene.search_limit(options.max_shift)
    functions = options.match_function(limit), options.scout_function(limit)
    shown = options.progress
    bar: Any = lazy.progress_bar(None, "matching", "round", shown, disable=False) if shown else nullcontext()
    with bar:
        for number, (places, size) in enumerate(_rounds(scene, options)):
            found = _match_round(scene, places, size, options, functions)
            rounds.append(found)
            answer = _accept(rounds, options, scene)
            if options.progress:
                bar.update()
            logger.info("%d windows of %d px: %s, %s", len(places), size, found.matches, answer.status.name)
            if answer.status is Status.OK and (number or int(answer.inliers.sum()) >= _FEW):
                break
            if answer.status is Status.OUTLIER and int((found.matches.status == Status.OK).sum()) >= _MANY:
                break  # many windows match well and contradict each other: larger ones would only blur that
    return rounds, _without_drift(scene, options, rounds, _check_answer(scene, options, rounds, answer, before or []))


def _without_drift(scene: Scene, options: Options, rounds: list[WindowMatches], answer: Acceptance) -> Acceptance:
    """Match again where windows together show that fine detail drifts, which each of them may not show."""
    found = Matches.concatenate([one.matches for one in rounds])
    some = answer.inliers if answer.status is Status.OK else np.isin(found.status, PEAKS)
    (drift, of_pixels), pattern = shared_drift(found.drift[some]), pattern_of(found)
    if answer.status is not Status.OK:
        # Images that look alike in fine detail, which coarse detail contradicts, share a pattern of their pixels: it
        # would draw edges, too. Those that look less alike have changed.
        apart, alike = (np.median(part[some]) if some.any() else 0.0 for part in (found.pattern[:, 0], found.score))
        astray = (
            apart > _APART and alike > _ALIKE and 2 * int(some.sum()) >= len(some) and answer.status in FOUND_NOTHING
        )
        return replace(answer, status=Status.DISAGREES) if astray else answer
    if pattern.torn:
        return _rejected(answer, rounds, Status.DISAGREES)
    if not drift.drifts:
        return answer
    known = pattern_of(found.take(np.flatnonzero(some)))._replace(drifts=drift.drifts, further=drift.further)
    again = _match_again(scene, rounds, some, options, known)
    answer, corrected = settle_drift(answer, _accept(again, options, scene), found.pattern[some, 0], of_pixels)
    if corrected:
        rounds[:] = again
    return answer


def _match_again(
    scene: Scene, rounds: list[WindowMatches], some: Bools, options: Options, known: Pattern
) -> list[WindowMatches]:
    """Match some of all windows where they are, with what is known of their pattern."""
    out, match = [], options.match_function(_NEAR, known)
    for one, chosen in zip(rounds, np.split(some, np.cumsum([len(one.x) for one in rounds])[:-1]), strict=True):
        index = np.flatnonzero(chosen)
        out.append(one.take(np.arange(len(one.x))))
        part = one.take(index)
        settled = settle_again(part.matches, known)
        if settled is not None:
            step = vector_to_map(scene.linear, settled.dcol - part.matches.dcol, settled.drow - part.matches.drow)
            out[-1].replace_rows(index, settled, part.dx + step[0], part.dy + step[1])
        elif index.size:
            part = match_windows(scene, one.places[index], one.size, one.moves[index], match)
            matches = replace(part.matches, ssim_before=one.matches.ssim_before[index])
            out[-1].replace_rows(index, matches, part.dx, part.dy)
    return out


def _match_round(scene: Scene, places: Floats, size: int, options: Options, functions: Any) -> WindowMatches:
    """Match windows at places (n, 2); not all of them where some settle the shift as well as it can be known."""
    some = _ENOUGH if options.windows == Options.windows and len(places) > _ENOUGH else len(places)
    parts = [np.arange(some), np.arange(some, len(places))]
    first = match_windows(scene, places[:some], size, np.zeros((some, 2)), *functions)
    if not len(parts[1]):
        return first
    answer = _accept([first], options, scene)
    if answer.inliers.all() and answer.status is Status.OK and np.linalg.eigvalsh(answer.cov)[-1] < 2 * SYSTEMATIC**2:
        return first
    rest = match_windows(scene, places[some:], size, np.zeros((len(parts[1]), 2)), *functions)
    return WindowMatches.concatenate([first, rest], parts)


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
        if number == 0 and len(chosen) < _FEW <= n:
            corners = spread_to_corners(places, scores, size)
            chosen = corners if len(corners) >= _FEW else chosen
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


def _accept(rounds: list[WindowMatches], options: Options, scene: Scene) -> Acceptance:
    """Decide on the whole corrections of all windows so far, without those beyond `max_shift`."""
    moves = np.concatenate([np.stack(vector_to_pixel(scene.linear, one.dx, one.dy), -1) for one in rounds])
    names = ("cov", "status", "reliability")
    covs, status, reliability = (np.concatenate([getattr(one.matches, name) for one in rounds]) for name in names)
    if options.max_shift is not None:
        far = np.abs(moves).max(1) > options.max_shift * scene.target_pixel
        status = np.where(far & (status == Status.OK), np.int8(Status.TOO_FAR), status)
    limit = scene.search_limit(options.max_shift)
    widest = 0.4 * min(one.size for one in rounds)
    reach = widest if limit is None else min(limit, widest)
    places = np.concatenate([np.stack(vector_to_pixel(scene.linear, one.x, one.y), -1) for one in rounds])
    shared = shared_area(places, np.concatenate([np.full(len(one.x), float(one.size)) for one in rounds]))
    # Noise drags fine detail somewhere in every window; what windows do not agree on leaves nothing behind.
    pattern, drift = (np.concatenate([getattr(one.matches, name) for one in rounds]) for name in ("pattern", "drift"))
    dragged = pattern[:, 0] * shared_drift(drift[status == Status.OK])[0].drifts
    by_edges = options.matcher == "structure"  # which other witnesses confirm
    answer = accept_windows(moves, covs, status, reliability, reach, shared, dragged, confirmed=by_edges)
    agree = int(answer.inliers.sum())
    if answer.status is not Status.OK or agree >= _FEW:
        return answer
    # Intensities that leave so much open are smooth slopes, which any two images may share.
    vague = not by_edges and np.linalg.eigvalsh(answer.cov)[-1] > VAGUE**2
    if vague or (agree == 1 and not _improved(rounds, answer)):
        found = Status.UNCONSTRAINED if vague else Status.NOT_IMPROVED
        return replace(answer, status=found, inliers=np.zeros_like(answer.inliers))
    return answer


def _improved(rounds: list[WindowMatches], answer: Acceptance) -> bool:
    """Whether a single window gains similarity by its shift: one edge or blob can match many others."""
    names = ("ssim_before", "ssim_after")
    before, after = (np.concatenate([getattr(one.matches, name) for one in rounds]) for name in names)
    gain = float((after - before)[answer.inliers][0])
    return not gain < _IMPROVEMENT or bool(np.abs(answer.move).max() <= _NEAR)


def _check_answer(
    scene: Scene, options: Options, rounds: list[WindowMatches], answer: Acceptance, before: list[WindowMatches]
) -> Acceptance:
    """Accept an answer only if quarters of its windows, and coarser pixels, agree with it."""
    if answer.status is not Status.OK or callable(options.matcher):
        return answer
    last = rounds[-1]
    inliers: Bools = answer.inliers[-len(last.x) :]
    few = int(answer.inliers.sum()) < _FEW
    make = options.match_function, options.peaks
    quarters = quarters_disagree(scene, last, inliers, answer.move, *make) if few else None
    if quarters is not None:
        rounds.append(quarters)
        return _rejected(answer, rounds, Status.OUTLIER)
    if options.matcher == "structure" and few:
        # Edges that only one part of an image shares are those of a coast or a cloud, which move. One window chosen
        # among several has no witness, but one that sees all of the image, after smaller ones, was not chosen.
        if len(answer.inliers) <= _FEW:
            seen = intensities_confirm(scene, last, inliers, before) or halves_confirm(scene, last, inliers)
        else:
            seen = len(inliers) == 1 and halves_confirm(scene, last, inliers)
        if not seen:
            return _rejected(answer, rounds, Status.NO_PEAK)
    if _unlike(rounds, answer, options) and _shows_slopes(scene, rounds, answer):
        return _rejected(answer, rounds, Status.DISAGREES)
    if _may_repeat(last, inliers, options) and repeats_elsewhere(
        scene,
        last.places,
        _completed(last, inliers, answer, scene),
        last.size,
        by_edges=options.matcher == "structure",
        max_shift=options.max_shift,
        pattern=pattern_of(last.matches),
    ):
        return _rejected(answer, rounds, Status.AMBIGUOUS)
    if inliers.any() and locked_to_pixel_grid(scene, last, inliers, *make):
        return _rejected(answer, rounds, Status.DISAGREES)
    return answer


def _unlike(rounds: list[WindowMatches], answer: Acceptance, options: Options) -> bool:
    """Whether images look so different that a few windows, or edges, may take the slopes of a relief for it."""
    if options.matcher == "structure":
        return True
    score = np.concatenate([one.matches.score for one in rounds])[answer.inliers]
    return len(score) < _FEW and bool(np.median(score) < _ALIKE)


def _shows_slopes(scene: Scene, rounds: list[WindowMatches], answer: Acceptance) -> bool:
    """Whether windows of the last round that has some that agree show slopes against relief."""
    parts = np.split(answer.inliers, np.cumsum([len(one.x) for one in rounds])[:-1])
    return next(
        (shows_slopes(scene, one, part) for one, part in zip(rounds[::-1], parts[::-1], strict=True) if part.any())
    )


def _may_repeat(found: WindowMatches, inliers: Bools, options: Options) -> bool:
    """Whether windows of another place could match like these: not where several correlate almost perfectly."""
    score = found.matches.score[inliers]
    return (
        options.matcher == "structure"
        or len(score) < _FEWEST
        or float(np.median(score)) < _PERFECT[found.size >= _USUAL]
    )


def _completed(found: WindowMatches, inliers: Bools, answer: Acceptance, scene: Scene) -> Floats:
    """Corrections (n, 2) of windows, CRS units, with the answer for those that do not agree with it."""
    return np.where(inliers[:, None], found.moves, np.stack(vector_to_map(scene.linear, *answer.move)))


def _rejected(answer: Acceptance, rounds: list[WindowMatches], status: Status) -> Acceptance:
    return replace(answer, status=status, inliers=np.zeros(sum(len(one.x) for one in rounds), bool))
