"""Matching windows: one batch, many in groups that run as independent tasks, and a rough field from large windows.

A batch is cut from both images and matched; windows of the reference are cut again at the answer until it settles.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass, fields, replace
from operator import attrgetter
from typing import Any, cast

import numpy as np
import scipy  # its parts are loaded when they are used: a first call needs few
from numpy.typing import NDArray

from xcoreg import lazy
from xcoreg.core import Floats
from xcoreg.core.dem import cov3_to_map
from xcoreg.core.drift import DRAGGED, NO_PATTERN, Pattern, pattern_of, round_covariance
from xcoreg.core.matcher import similarity_after
from xcoreg.core.matches import Matches, Status
from xcoreg.core.quality import ssim_centred
from xcoreg.core.robust import between_sides, neighbour_residuals
from xcoreg.errors import OptionError
from xcoreg.georef import cov_to_map, linear_of, map_to_pixel, vector_to_map, vector_to_pixel
from xcoreg.matching.cutter import Cut
from xcoreg.matching.scene import Scene, group_windows, overlap_size, window_grid
from xcoreg.results.tiepoints import TiePoints

logger = logging.getLogger("xcoreg")

# Columns of matches that tie points have, too; the second ones with elevation matchers only.
_COLUMNS = ("score", "reliability", "ssim_before", "ssim_after", "dz", "status")
_HEIGHT_COLUMNS = ("count", "nmad_before", "nmad_after")
# Cuts of the reference at most; windows are cut again where the answer is further off their centre than this, px, or
# than this part of their side, which is no loss.
_CUTS, _OFF_CENTRE, _SIDES = 3, 0.6, 150


@dataclass(eq=False)
class WindowMatches:
    """Windows of one size (px of the matching grid) with their matches.

    x, y, dx, dy : (n,) float64; centres in the target and whole corrections, CRS units of the target.
    matches : The last match of every window, px of the matching grid, relative to where the reference was cut.
    """

    x: Floats
    y: Floats
    size: int
    dx: Floats
    dy: Floats
    matches: Matches

    @classmethod
    def unmatched(cls, x: Floats, y: Floats, size: int, status: Status = Status.NO_DATA) -> WindowMatches:
        """Windows without a correction, all of one status."""
        nothing = np.full(len(x), np.nan)
        matches = Matches(nothing, nothing, status=np.full(len(x), status))
        return cls(x, y, size, nothing.copy(), nothing.copy(), matches)

    @property
    def places(self) -> Floats:
        """(n, 2) float64: centres in the target."""
        return np.stack([self.x, self.y], -1)

    @property
    def moves(self) -> Floats:
        """(n, 2) float64: whole corrections."""
        return np.stack([self.dx, self.dy], -1)

    @classmethod
    def concatenate(cls, parts: list[WindowMatches], order: list[NDArray[np.intp]]) -> WindowMatches:
        """Put groups of windows together; `order` holds their positions in the result."""
        index = np.argsort(np.concatenate(order))
        names = ("x", "y", "dx", "dy")
        x, y, dx, dy = (np.concatenate([getattr(part, name) for part in parts])[index] for name in names)
        matches = Matches.concatenate([part.matches for part in parts]).take(index)
        return cls(x, y, parts[0].size, dx, dy, matches)

    def take(self, index: NDArray[np.intp]) -> WindowMatches:
        """Take some of the windows."""
        matches = self.matches.take(index)
        return WindowMatches(self.x[index], self.y[index], self.size, self.dx[index], self.dy[index], matches)

    def replace_rows(self, index: NDArray[np.intp], matches: Matches, dx: Floats, dy: Floats) -> None:
        """Replace matches and corrections of some windows."""
        keep = np.setdiff1d(np.arange(len(self.x)), index)
        both = Matches.concatenate([self.matches.take(keep), matches])
        self.matches = both.take(np.argsort(np.concatenate([keep, index])))
        self.dx[index], self.dy[index] = dx, dy

    def set_status(self, index: NDArray[np.intp], status: Status) -> None:
        """Give some windows a status."""
        statuses = self.matches.status.copy()
        statuses[index] = status
        self.matches = replace(self.matches, status=statuses)


def match_windows(
    scene: Scene,
    places: Floats,
    size: int,
    guess: Floats,
    match: Callable[..., Any],
    scout: Callable[..., Floats] | None = None,
    *,
    from_uncorrected: bool = False,
) -> WindowMatches:
    """Match windows around places (n, 2), the reference moved by a guess (n, 2).

    `from_uncorrected` takes the similarity before the correction at the place, not at the guess.
    """
    target = scene.target_cutter.cut(places[:, 0], places[:, 1], size)
    index, at = np.arange(len(places)), np.array(guess, np.float64)
    cut = scene.reference_cutter.cut(target.x + at[:, 0], target.y + at[:, 1], size)
    heights = bool(getattr(match, "heights", False))
    before = np.full(len(places), np.nan)
    compares = not heights and getattr(match, "compares", True)
    if compares:
        uncorrected = scene.reference_cutter.cut(target.x, target.y, size) if from_uncorrected and at.any() else cut
        before[:] = ssim_centred(uncorrected.values, target.values, uncorrected.valid & target.valid)
    if scout is not None:
        whole = scout(target.values, cut.values, target.valid, cut.valid)
        if whole.any():
            cut = _cut_again(scene, cut, np.stack(vector_to_map(scene.linear, *whole.T), -1))
    found: WindowMatches | None = None
    for _ in range(_CUTS):
        answer = match(target.values[index], cut.values, target.valid[index], cut.valid)
        try:
            matches = Matches.coerce(answer, len(index))
        except ValueError as error:
            raise OptionError(f"the matcher's answer cannot be used: {error}") from error
        if heights:
            matches = replace(matches, dz=matches.dz + cut.level - target.level[index])
        elif compares:
            after = _similarity(matches, cut, target, index)
            # What both images owe to their pixels is most alike before a correction.
            first = np.where((matches.pattern > (DRAGGED, 0, 0)).any(1), np.nan, before[index])
            matches = replace(matches, ssim_before=first, ssim_after=after)
        again = matches.ok & (np.maximum(np.abs(matches.dcol), np.abs(matches.drow)) > max(_OFF_CENTRE, size / _SIDES))
        step = vector_to_map(scene.linear, matches.dcol, matches.drow)
        at[index] = np.stack([cut.x - target.x[index] + step[0], cut.y - target.y[index] + step[1]], -1)
        if found is None:
            found = WindowMatches(target.x, target.y, size, at[:, 0].copy(), at[:, 1].copy(), matches)
        else:
            found.replace_rows(index, matches, at[index, 0], at[index, 1])
        index = index[again]
        if not index.size:
            return found
        cut = scene.reference_cutter.cut(target.x[index] + at[index, 0], target.y[index] + at[index, 1], size)
    found = cast("WindowMatches", found)
    found.set_status(index, Status.NOT_CONVERGED)
    return found


def _cut_again(scene: Scene, cut: Cut, move: Floats) -> Cut:
    """Cut windows of the reference again where the scout has found a shift (n, 2), CRS units."""
    index = np.flatnonzero(move.any(1))
    x, y = cut.x[index] + move[index, 0], cut.y[index] + move[index, 1]
    again = scene.reference_cutter.cut(x, y, cut.values.shape[-1])
    columns = {f.name: getattr(cut, f.name).copy() for f in fields(cut)}
    for name, column in columns.items():
        column[index] = getattr(again, name)
    return replace(cut, **columns)


def _similarity(matches: Matches, cut: Cut, target: Cut, index: NDArray[np.intp]) -> NDArray[np.float64]:
    """Similarity after the correction, computed where a matcher of the user has not done so."""
    known = np.isfinite(matches.ssim_after) | ~np.isfinite(matches.dcol) | ~np.isfinite(matches.drow)
    if known.all():
        return matches.ssim_after
    move = np.nan_to_num(np.stack([matches.dcol, matches.drow], -1))
    after = similarity_after(target.values[index], cut.values, target.valid[index], cut.valid, move)
    return np.asarray(np.where(known, matches.ssim_after, after))


_OF_CURVE = 0.1 / np.sqrt(2)  # a window averages a field that curves: share of how far it is off its neighbours' plane


def compare_with_neighbours(found: WindowMatches, scene: Scene) -> None:
    """Widen covariances where neighbours' shifts do not lie in a plane; refuse averages of both sides of a fault."""
    pixels, places = (np.stack(vector_to_pixel(scene.linear, *part.T), -1) for part in (found.moves, found.places))
    off, _ = neighbour_residuals(found.places, pixels, found.matches.ok)
    wider = found.matches.cov + round_covariance(_OF_CURVE * np.hypot(*np.nan_to_num(off).T))
    found.matches = replace(found.matches, cov=wider)
    mixed = between_sides(places - places[:1], pixels, found.matches.ok, found.size)
    found.set_status(np.flatnonzero(mixed), Status.DISAGREES)


def to_points(groups: list[WindowMatches], scene: Scene, *, centroids: bool = False) -> TiePoints:
    """Tie points of all windows, in map units and target pixels; `centroids` moves them to where windows have data."""
    size = np.concatenate([np.full(len(group.x), round(group.size * scene.matching_pixel)) for group in groups])
    x, y, dx, dy = (np.concatenate([getattr(group, name) for group in groups]) for name in ("x", "y", "dx", "dy"))
    matches = Matches.concatenate([group.matches for group in groups])
    heights = bool(np.isfinite(matches.count).any())
    names = _COLUMNS + (_HEIGHT_COLUMNS if heights else ())
    columns = dict(zip(names, attrgetter(*names)(matches), strict=True))
    if centroids:
        off = vector_to_map(scene.linear, matches.middle_col, matches.middle_row)
        x, y = x + off[0], y + off[1]
    affine = scene.target.grid.affine
    col, row = map_to_pixel(affine, x, y)
    dcol, drow = vector_to_pixel(linear_of(affine), dx, dy)
    if heights:
        both = np.concatenate([matches.cov, matches.cov_z[:, None, :2]], axis=1)
        whole = cov3_to_map(scene.linear, np.concatenate([both, matches.cov_z[:, :, None]], axis=2))
        cov, columns["cov_z"] = whole[:, :2, :2], whole[:, 2]
    else:
        with np.errstate(invalid="ignore"):  # infinite variances
            cov = cov_to_map(scene.linear, matches.cov)
    wkt = None if scene.target.grid.crs is None else scene.target.grid.crs.to_wkt()
    places = np.arange(len(x)), row, col, x, y
    return TiePoints(*places, dx, dy, dcol, drow, cov=cov, size=size, crs_wkt=wkt, **columns)


def flag_beyond(
    points: TiePoints, max_shift: float | None, start: tuple[float, ...] = (0.0, 0.0), among: Any = True
) -> TiePoints:
    """Give windows (of `among`) whose correction is beyond `max_shift` from `start` (CRS units) the status TOO_FAR."""
    if max_shift is None:
        return points
    dcol, drow = points.dcol, points.drow
    if any(start) and points.grid is not None:
        first = vector_to_pixel(linear_of(points.grid.affine), *start)
        dcol, drow = dcol - first[0], drow - first[1]
    far = np.maximum(np.abs(dcol), np.abs(drow)) > max_shift
    return points.with_status(far & among, Status.TOO_FAR)


# Pixels and number of the windows of one group: this much one task holds in memory.
_GROUP_PIXELS, _GROUP = 3 << 19, 256
# Pixels of windows that are cut and matched together: memory of this size is reused, larger arrays are mapped anew.
_PART_PIXELS = 1 << 19


@dataclass(frozen=True, eq=False)
class Search:
    """How windows of a size (px of the matching grid) are matched, after a cheap search for whole pixels: scout."""

    size: int
    match: Callable[..., Any]
    scout: Callable[..., Floats] | None = None


MakeSearch = Callable[..., Search]  # of a size of windows, a radius, and the pattern that images are known to share


def match_many(
    scene: Scene, places: Floats, guess: Floats, search: Search, done: Callable[[int], Any] | None = None
) -> WindowMatches:
    """Match windows at places (n, 2), in groups of neighbours that are read together; `done` counts windows."""
    if not len(places):
        return WindowMatches.unmatched(places[:, 0], places[:, 1], search.size)
    most = int(np.clip(_GROUP_PIXELS // search.size**2, 1, _GROUP))
    groups = group_windows(places, scene.linear, search.size, most)
    items = [(places[group], guess[group]) for group in groups]
    count = None if done is None else _count_windows(done, len(places) / len(groups))
    # Chunks that several groups need are computed once.
    needs = [scene.windows_to_read(*item, search.size) for item in items]
    return WindowMatches.concatenate(lazy.run_tasks(_match_group, (scene, search), items, count, needs), groups)


def _match_group(job: tuple[Scene, Search], item: tuple[Floats, Floats]) -> WindowMatches:
    (scene, search), (places, guess) = job, item
    near = scene.cached(places, guess, search.size)
    step = max(1, _PART_PIXELS // search.size**2)
    parts = [np.arange(start, min(start + step, len(places))) for start in range(0, len(places), step)]
    found = [
        match_windows(near, places[part], search.size, guess[part], search.match, search.scout, from_uncorrected=True)
        for part in parts
    ]
    return WindowMatches.concatenate(found, parts)


def _count_windows(done: Callable[[int], Any], each: float) -> Callable[[int], None]:
    """Convert finished groups to finished windows, whole numbers with the right sum."""
    finished = [0]

    def count(groups: int) -> None:
        before, finished[0] = finished[0], finished[0] + groups
        done(round(finished[0] * each) - round(before * each))

    return count


_ALONG = (6, 12, 24)  # anchors (large, sparse windows) along the longer side of the overlap, level by level
_ANCHOR, _LARGEST = 256, 1024
# A guess is good enough when its error is at most this part of the windows' side, or this many px.
_GOOD_SHARE, _GOOD = 0.05, 1.5
# The search radius is this many times the typical error of the guess, and this many px at least.
_TIMES, LEAST_RADIUS = 4.0, 4.0
_FEWEST, _NEAREST = 3, 4  # fewer anchors than this give no guess; guesses are interpolated from (twice) so many
# Anchors whose correction differs from their neighbours' by more px and more times the scatter than this are left out.
_OUTLIER, _OUTLIER_SIGMAS = 3.0, 6.0


@dataclass(frozen=True, eq=False)
class Guess:
    """A rough field of corrections: places and moves (n, 2) of anchors, CRS units of the target.

    error : Typical error between the anchors, px of the matching grid; NaN when nothing is known.
    repetitive : Whether most anchors are ambiguous: small windows on a repetitive pattern might not show it.
    pattern : What both images owe to their pixels in most anchors: small windows might not show that, either.
    """

    places: Floats
    moves: Floats
    error: float
    repetitive: bool = False
    pattern: Pattern = NO_PATTERN

    def at(self, places: Floats) -> Floats:
        """Corrections (n, 2) at some places, interpolated from the nearest anchors."""
        if not len(self.places):
            return np.zeros((len(places), 2))
        return interpolate(self.places, self.moves, places)

    def search_radius(self, size: int, limit: float | None) -> float:
        """How far around the guess windows of a size are matched, px of the matching grid."""
        widest = 0.4 * size if limit is None else min(0.4 * size, limit)
        if not np.isfinite(self.error):
            return widest
        return float(min(max(_TIMES * self.error + 1, LEAST_RADIUS), 0.4 * size))


def interpolate(known: Floats, moves: Floats, places: Floats) -> Floats:
    """Interpolate vectors (m, 2) known at (m, 2) to places (n, 2) by a weighted plane through the nearest ones."""
    count = min(2 * _NEAREST, len(known))
    distance, index = scipy.spatial.cKDTree(known).query(places, k=range(1, count + 1))
    near = np.maximum(distance[:, -1:], 1e-9 * (1 + np.abs(places).max(initial=0)))
    weight = np.clip(1 - (distance / (1.001 * near)) ** 3, 1e-3, None) ** 3
    mean = (weight[..., None] * moves[index]).sum(1) / weight.sum(1)[:, None]
    if count < 2 * _NEAREST:
        return np.asarray(mean)
    offset = (known[index] - places[:, None]) / near[..., None]
    centre = (weight[..., None] * offset).sum(1) / weight.sum(1)[:, None]
    apart = offset - centre[:, None]
    normal = np.einsum("nk,nki,nkj->nij", weight, apart, apart)
    # A little regularization: neighbours in one line do not define a plane.
    normal += 0.02 * np.trace(normal, axis1=1, axis2=2)[:, None, None] * np.eye(2)
    right = np.einsum("nk,nki,nkj->nij", weight, apart, moves[index] - mean[:, None])
    slope = np.linalg.solve(normal, right)
    return np.asarray(mean - np.einsum("ni,nij->nj", centre, slope))


def guess_field(scene: Scene, spacing: float, size: int, make: MakeSearch, limit: float | None) -> Guess:
    """Match anchors, level by level, until they give a guess that is good enough for small windows."""
    guess = Guess(np.empty((0, 2)), np.empty((0, 2)), float("nan"))
    for along in _ALONG:
        places, side = _anchors(scene, along, size)
        found = _match_anchors(scene, places, side, guess, make, limit)
        pattern = pattern_of(found.matches, one_shift=_one_shift(found, scene))
        guess = replace(_consistent(found, scene, guess), pattern=pattern)
        logger.info("%d anchors of %d px: %s, error %.3g px", len(places), side, found.matches, guess.error)
        good = guess.error <= max(_GOOD, _GOOD_SHARE * size)
        step = max(overlap_size(scene.overlap, scene.linear)) / along
        if good or step < 2 * spacing or len(places) <= _FEWEST:
            break
    return guess


def _anchors(scene: Scene, along: int, size: int) -> tuple[Floats, int]:
    """Places of the anchors of a level, and their side."""
    affine = scene.target.grid.affine
    cols, rows = overlap_size(scene.overlap, scene.linear)
    side = int(min(max(size, _ANCHOR), max(min(cols, rows), size)))
    pixels = max(overlap_size(scene.overlap, (affine.a, affine.b, affine.d, affine.e)))
    return window_grid(scene.overlap, scene.extent, affine, scene.linear, max(pixels / along, 1.0), side), side


def _match_anchors(
    scene: Scene, places: Floats, side: int, guess: Guess, make: MakeSearch, limit: float | None
) -> WindowMatches:
    """Match the anchors of a level; larger and fewer ones if hardly any could be matched."""
    first = guess.at(places)
    radius = None if np.isnan(guess.error) else max(guess.search_radius(side, limit), 0.1 * side)
    found = match_many(scene, places, first, make(side, radius))
    room = max(overlap_size(scene.overlap, scene.linear))
    while int(found.matches.ok.sum()) < _FEWEST and 2 * side <= min(room, _LARGEST):
        side *= 2
        few = places[:: max(1, len(places) // 9)]
        larger = match_many(scene, few, guess.at(few), make(side, None))
        if int(larger.matches.ok.sum()) > int(found.matches.ok.sum()):
            found = larger
    return found


def _consistent(found: WindowMatches, scene: Scene, before: Guess) -> Guess:
    """Guess from anchors that agree with their neighbours; its error is how well neighbours predict each other."""
    ok = found.matches.ok
    if int((found.matches.status == Status.AMBIGUOUS).sum()) > int(ok.sum()):
        return replace(before, repetitive=np.isnan(before.error))
    if int(ok.sum()) < _FEWEST:
        return before
    places, moves = found.places[ok], found.moves[ok]
    pixels = np.stack(vector_to_pixel(scene.linear, *moves.T), -1)
    off, scatter = neighbour_residuals(places, pixels)
    length = np.hypot(*off.T)
    keep = length <= np.maximum(_OUTLIER, _OUTLIER_SIGMAS * scatter)
    if int(keep.sum()) < _FEWEST:
        return before
    error = float(np.percentile(length[keep], 75))
    return Guess(places[keep], moves[keep], error)


def _one_shift(found: WindowMatches, scene: Scene) -> bool:
    """Whether most anchors agree on a shift."""
    pixels = np.stack(vector_to_pixel(scene.linear, *found.moves[found.matches.ok].T), -1)
    return len(pixels) > 0 and float(np.median(np.hypot(*(pixels - np.median(pixels, axis=0)).T))) < _ALIKE


_ALIKE = 0.2  # px


def commonest_status(status: NDArray[np.int8], ignored: Collection[Status]) -> Status:
    """Status of most windows; the ignored ones count only if there are no others, and OUTSIDE is that of no window."""
    others = status[~np.isin(status, tuple(ignored))]
    codes, counts = np.unique(others if len(others) else status, return_counts=True)
    return Status(int(codes[counts.argmax()])) if len(codes) else Status.OUTSIDE
