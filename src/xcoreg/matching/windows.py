"""From the whole image to small windows: what large, sparse windows tell is where small ones begin to look.

Matching many windows: cut both images, match, cut the reference again at the answer until it stays.

Matching a great many windows: in groups that share one reading, as independent tasks, with a progress bar.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.spatial import cKDTree
from tqdm import tqdm

from xcoreg import lazy
from xcoreg.core.arrays import Floats
from xcoreg.core.dem import cov3_to_map
from xcoreg.core.matcher import similarity_after
from xcoreg.core.matches import Matches, Status
from xcoreg.core.quality import likeness
from xcoreg.core.robust import neighbour_residuals
from xcoreg.errors import OptionError
from xcoreg.georef import cov_to_map, linear_of, map_to_pixel, vector_to_map, vector_to_pixel
from xcoreg.matching.placement import lay_out, overlap_size, tiles
from xcoreg.results.tiepoints import TiePoints

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from xcoreg.matching.cutter import Cut
    from xcoreg.matching.scene import Scene


# The reference is cut again at the answer this many times at most, where the answer lies off the window by this, px.
_RECUTS, _OFF = 3, 0.6


class Trials:
    """Matches of some windows with their places.

    matches : The last match of every window, px of the matching lattice, relative to `base`.
    x, y : (n,) float64; Centres in the target, CRS units of the target.
    dx, dy : (n,) float64; Whole corrections, CRS units of the target.
    size : Side of the windows, px of the matching lattice.
    """

    def __init__(self, x: Floats, y: Floats, size: int, n: int) -> None:
        self.x, self.y, self.size = x, y, size
        self.dx, self.dy = np.full(n, np.nan), np.full(n, np.nan)
        self.matches = Matches(np.full(n, np.nan), np.full(n, np.nan), status=np.full(n, Status.NO_DATA))

    @classmethod
    def joined(cls, parts: list[Trials], order: list[NDArray[np.intp]]) -> Trials:
        """Put groups of windows of one size together; `order` tells the place of each of them."""
        index = np.argsort(np.concatenate(order))
        names = ("x", "y", "dx", "dy")
        x, y, dx, dy = (np.concatenate([getattr(part, name) for part in parts])[index] for name in names)
        out = cls(x, y, parts[0].size, len(index))
        out.dx, out.dy = dx, dy
        out.matches = Matches.concatenate([part.matches for part in parts]).take(index)
        return out

    def take(self, index: NDArray[np.intp]) -> Trials:
        """Take some of the windows."""
        out = Trials(self.x[index], self.y[index], self.size, len(index))
        out.dx, out.dy, out.matches = self.dx[index], self.dy[index], self.matches.take(index)
        return out

    def put(self, index: NDArray[np.intp], matches: Matches, dx: Floats, dy: Floats) -> None:
        """Replace the rows of some windows."""
        keep = np.setdiff1d(np.arange(len(self.x)), index)
        both = Matches.concatenate([self.matches.take(keep), matches])
        self.matches = both.take(np.argsort(np.concatenate([keep, index])))
        self.dx[index], self.dy[index] = dx, dy

    def doubt(self, index: NDArray[np.intp], status: Status) -> None:
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
    as_came: bool = False,
) -> Trials:
    """Match windows at some places.

    places (n, 2) float; guess (n, 2) float.
    """
    target = scene.target_cutter.cut(places[:, 0], places[:, 1], size)
    trials = Trials(target.x, target.y, size, len(places))
    index, at = np.arange(len(places)), np.array(guess, np.float64)
    cut = scene.reference_cutter.cut(target.x + at[:, 0], target.y + at[:, 1], size)
    heights = bool(getattr(match, "heights", False))
    before = np.full(len(places), np.nan)
    if not heights:
        uncorrected = scene.reference_cutter.cut(target.x, target.y, size) if as_came and at.any() else cut
        before[:] = likeness(uncorrected.values, target.values, uncorrected.valid & target.valid)
    if scout is not None:
        cut = _scouted(scene, target, cut, scout)
    for _ in range(_RECUTS):
        answer = match(target.values[index], cut.values, target.valid[index], cut.valid)
        try:
            matches = Matches.coerce(answer, len(index))
        except ValueError as error:
            raise OptionError(f"the matcher's answer cannot be used: {error}") from error
        if heights:
            matches = replace(matches, dz=matches.dz + cut.level - target.level[index])
        else:
            matches = replace(_compared(matches, cut, target, index), ssim_before=before[index])
        step = vector_to_map(scene.linear, matches.dcol, matches.drow)
        at[index] = np.stack([cut.x - target.x[index] + step[0], cut.y - target.y[index] + step[1]], -1)
        trials.put(index, matches, at[index, 0], at[index, 1])
        off = np.maximum(np.abs(matches.dcol), np.abs(matches.drow)) > _OFF
        index = index[off & matches.ok]
        if not index.size:
            return trials
        cut = scene.reference_cutter.cut(target.x[index] + at[index, 0], target.y[index] + at[index, 1], size)
    trials.doubt(index, Status.NOT_CONVERGED)
    return trials


def _scouted(scene: Scene, target: Cut, cut: Cut, scout: Callable[..., Floats]) -> Cut:
    """Cut the windows of the reference again where a cheap look tells that they lie elsewhere."""
    whole = scout(target.values, cut.values, target.valid, cut.valid)
    index = np.flatnonzero(whole.any(1))
    if not index.size:
        return cut
    dx, dy = vector_to_map(scene.linear, whole[index, 0], whole[index, 1])
    again = scene.reference_cutter.cut(cut.x[index] + dx, cut.y[index] + dy, cut.values.shape[-1])
    columns = {f.name: getattr(cut, f.name).copy() for f in fields(cut)}
    for name, column in columns.items():
        column[index] = getattr(again, name)
    return replace(cut, **columns)


def _compared(matches: Matches, cut: Cut, target: Cut, index: NDArray[np.intp]) -> Matches:
    """Add the similarities that a user's matcher leaves out."""
    known = np.isfinite(matches.ssim_after) | ~np.isfinite(matches.dcol) | ~np.isfinite(matches.drow)
    if known.all():
        return matches
    move = np.nan_to_num(np.stack([matches.dcol, matches.drow], -1))
    after = similarity_after(target.values[index], cut.values, target.valid[index], cut.valid, move)
    return replace(matches, ssim_after=np.where(known, matches.ssim_after, after))


def to_points(trials: list[Trials], scene: Scene, *, centroids: bool = False) -> TiePoints:
    """Tie points of all windows, in map units and target pixels."""
    affine = scene.target.grid.affine
    own = linear_of(affine)
    matches = Matches.concatenate([trial.matches for trial in trials])
    x, y, dx, dy = (np.concatenate([getattr(trial, name) for trial in trials]) for name in ("x", "y", "dx", "dy"))
    if centroids:
        off = vector_to_map(scene.linear, matches.middle_col, matches.middle_row)
        x, y = x + off[0], y + off[1]
    scale = np.sqrt(abs(scene.linear[0] * scene.linear[3] - scene.linear[1] * scene.linear[2]))
    scale = scale / np.sqrt(abs(own[0] * own[3] - own[1] * own[2]))
    size = np.concatenate([np.full(len(trial.x), round(trial.size * scale)) for trial in trials])
    col, row = map_to_pixel(affine, x, y)
    dcol, drow = vector_to_pixel(own, dx, dy)
    columns = {
        name: getattr(matches, name) for name in ("score", "reliability", "ssim_before", "ssim_after", "dz", "status")
    }
    if np.isfinite(matches.count).any():
        columns |= {name: getattr(matches, name) for name in ("count", "nmad_before", "nmad_after")}
        both = np.concatenate([matches.cov, matches.cov_z[:, None, :2]], axis=1)
        whole = cov3_to_map(scene.linear, np.concatenate([both, matches.cov_z[:, :, None]], axis=2))
        cov, columns["cov_z"] = whole[:, :2, :2], whole[:, 2]
    else:
        with np.errstate(invalid="ignore"):  # infinite variances
            cov = cov_to_map(scene.linear, matches.cov)
    return TiePoints(
        np.arange(len(x)),
        row,
        col,
        x,
        y,
        dx,
        dy,
        dcol,
        drow,
        cov=cov,
        size=size,
        crs_wkt=scene.target.grid.crs.to_wkt() if scene.target.grid.crs is not None else None,
        **columns,
    )


# Pixels of the windows of one group, and windows at most: what a task holds in memory.
_GROUP_PIXELS, _GROUP = 3 << 19, 256
# Pixels of windows that are cut and matched together: arrays of this size are used again, larger ones fetched anew.
_PART_PIXELS = 1 << 19


@dataclass(frozen=True, eq=False)
class Search:
    """How windows are looked for.

    size : Side of the windows, px of the matching lattice.
    match : The matcher.
    scout : A cheap first look, see :func:`xcoreg.matching.windows.match_windows`.
    """

    size: int
    match: Callable[..., Any]
    scout: Callable[..., Floats] | None = None


@dataclass(frozen=True, eq=False)
class _Job:
    scene: Scene
    search: Search


def match_many(
    scene: Scene, places: Floats, guess: Floats, search: Search, done: Callable[[int], None] | None = None
) -> Trials:
    """Match windows at many places.

    places (n, 2) float; guess (n, 2) float.
    """
    if not len(places):
        return Trials(places[:, 0], places[:, 1], search.size, 0)
    most = int(np.clip(_GROUP_PIXELS // search.size**2, 1, _GROUP))
    groups = tiles(places, scene.linear, search.size, most)
    items = [(places[group], guess[group]) for group in groups]
    told = None if done is None else _counting(done, len(places) / len(groups))
    # What several groups need of an image that is computed is computed once.
    ahead = [scene.ahead(*item, search.size) for item in items]
    return Trials.joined(lazy.run_tasks(_match_group, _Job(scene, search), items, told, ahead), groups)


def _match_group(job: _Job, item: tuple[Floats, Floats]) -> Trials:
    places, guess = item
    search = job.search
    near = job.scene.hold(places, guess, search.size)
    step = max(1, _PART_PIXELS // search.size**2)
    parts = [np.arange(start, min(start + step, len(places))) for start in range(0, len(places), step)]
    found = [
        match_windows(near, places[part], search.size, guess[part], search.match, search.scout, as_came=True)
        for part in parts
    ]
    return Trials.joined(found, parts)


def _counting(done: Callable[[int], None], each: float) -> Callable[[int], None]:
    """Turn ended groups into ended windows, whole numbers that add up."""
    ended = [0]

    def told(groups: int) -> None:
        before, ended[0] = ended[0], ended[0] + groups
        done(round(ended[0] * each) - round(before * each))

    return told


@contextmanager
def progress_bar(total: int, label: str, shown: bool) -> Iterator[Callable[[int], None] | None]:
    """Show a bar with rate and remaining time on stderr while something lasts, unless stderr is no terminal."""
    if not shown:
        yield None
        return

    with tqdm(total=total, desc=label, unit="window", leave=False, disable=None) as bar:
        yield bar.update


logger = logging.getLogger("xcoreg")

# Anchors along the longer side of the overlap, level by level.
_ALONG = (6, 12, 24)
_ANCHOR, _LARGEST = 256, 1024
# A guess is good enough for windows of which its error is this part, and no level is worth less than this, px.
_GOOD_SHARE, _GOOD = 0.05, 1.5
# Search beyond the guess: this many times its typical error, and this many px at least.
_TIMES, _LEAST = 4.0, 4.0
# Fewer anchors than this say nothing together.
_FEWEST = 3
_NEAREST = 4
# An anchor that lies this far from its neighbours, matching px, and this many times their scatter, is left out.
_OFF_CASCADE, _OFF_SIGMAS = 3.0, 6.0


@dataclass(frozen=True, eq=False)
class Guess:
    """A rough field of corrections.

    places : (n, 2) float64; Anchors, CRS units of the target; none when nothing is known.
    moves : (n, 2) float64; Their corrections, CRS units of the target.
    error : Typical error between the anchors, px of the matching lattice; NaN when nothing is known.
    repeats : Whether most anchors sit on a repetitive pattern: small windows could not even tell that.
    """

    places: Floats
    moves: Floats
    error: float
    repeats: bool = False

    def at(self, places: Floats) -> Floats:
        """Corrections (n, 2) at some places: the median of the nearest anchors, weighted towards the nearer ones."""
        if not len(self.places):
            return np.zeros((len(places), 2))
        return interpolate(self.places, self.moves, places)

    def reach(self, size: int, limit: float | None) -> float:
        """How far windows of a size have to look beyond the guess, px of the matching lattice."""
        widest = 0.4 * size if limit is None else min(0.4 * size, limit)
        if not np.isfinite(self.error):
            return widest
        return float(min(max(_TIMES * self.error + 1, _LEAST), 0.4 * size))


def interpolate(known: Floats, moves: Floats, places: Floats) -> Floats:
    """Interpolate vectors by a plane through the nearest neighbours, weighted by nearness.

    known (m, 2) float; moves (m, 2) float; places (n, 2) float -> (n, 2) float64.
    """
    count = min(2 * _NEAREST, len(known))
    distance, index = cKDTree(known).query(places, k=range(1, count + 1))
    near = np.maximum(distance[:, -1:], 1e-9 * (1 + np.abs(places).max(initial=0)))
    weight = np.clip(1 - (distance / (1.001 * near)) ** 3, 1e-3, None) ** 3
    mean = (weight[..., None] * moves[index]).sum(1) / weight.sum(1)[:, None]
    if count < 2 * _NEAREST:
        return np.asarray(mean)
    offset = (known[index] - places[:, None]) / near[..., None]
    centre = (weight[..., None] * offset).sum(1) / weight.sum(1)[:, None]
    apart = offset - centre[:, None]
    normal = np.einsum("nk,nki,nkj->nij", weight, apart, apart)
    # A little of nothing keeps neighbours in one line from being taken for a plane.
    normal += 0.02 * np.trace(normal, axis1=1, axis2=2)[:, None, None] * np.eye(2)
    right = np.einsum("nk,nki,nkj->nij", weight, apart, moves[index] - mean[:, None])
    slope = np.linalg.solve(normal, right)
    return np.asarray(mean - np.einsum("ni,nij->nj", centre, slope))


def guess_field(
    scene: Scene, spacing: float, size: int, make: Callable[[int, float | None], Search], limit: float | None
) -> Guess:
    """Find a rough field by sparse windows, level by level, until it is good enough for the small ones."""
    guess = Guess(np.empty((0, 2)), np.empty((0, 2)), float("nan"))
    for along in _ALONG:
        places, side = _anchors(scene, along, size)
        trials = _match_anchors(scene, places, side, guess, make, limit)
        guess = _agreed(trials, scene, guess)
        logger.info("%d anchors of %d px: %s, error %.3g px", len(places), side, trials.matches, guess.error)
        good = guess.error <= max(_GOOD, _GOOD_SHARE * size)
        step = max(overlap_size(scene.overlap, scene.linear)) / along
        if good or step < 2 * spacing or len(places) <= _FEWEST:
            break
    return guess


def _anchors(scene: Scene, along: int, size: int) -> tuple[Floats, int]:
    """Places of a level and the side of its windows."""
    affine = scene.target.grid.affine
    cols, rows = overlap_size(scene.overlap, scene.linear)
    side = int(min(max(size, _ANCHOR), max(min(cols, rows), size)))
    pixels = max(overlap_size(scene.overlap, (affine.a, affine.b, affine.d, affine.e)))
    places = lay_out(scene.overlap, scene.extent, affine, scene.linear, max(pixels / along, 1.0), side)
    return places, side


def _match_anchors(
    scene: Scene,
    places: Floats,
    side: int,
    guess: Guess,
    make: Callable[[int, float | None], Search],
    limit: float | None,
) -> Trials:
    """Match the windows of a level; larger ones where next to none of them could be matched."""
    first = guess.at(places)
    reach = None if np.isnan(guess.error) else max(guess.reach(side, limit), 0.1 * side)
    trials = match_many(scene, places, first, make(side, reach))
    room = max(overlap_size(scene.overlap, scene.linear))
    while int(trials.matches.ok.sum()) < _FEWEST and 2 * side <= min(room, _LARGEST):
        side *= 2
        few = places[:: max(1, len(places) // 9)]
        again = match_many(scene, few, guess.at(few), make(side, None))
        if int(again.matches.ok.sum()) > int(trials.matches.ok.sum()):
            trials = again
    return trials


def _agreed(trials: Trials, scene: Scene, before: Guess) -> Guess:
    """Keep anchors that agree with their neighbours, and tell how well neighbours predict each other."""
    ok = trials.matches.ok
    if int((trials.matches.status == Status.AMBIGUOUS).sum()) > int(ok.sum()):
        return replace(before, repeats=np.isnan(before.error))
    if int(ok.sum()) < _FEWEST:
        return before
    places = np.stack([trials.x, trials.y], -1)[ok]
    moves = np.stack([trials.dx, trials.dy], -1)[ok]
    pixels = np.stack(vector_to_pixel(scene.linear, *moves.T), -1)
    off, scatter = neighbour_residuals(places, pixels)
    length = np.hypot(*off.T)
    keep = length <= np.maximum(_OFF_CASCADE, _OFF_SIGMAS * scatter)
    if int(keep.sum()) < _FEWEST:
        return before
    error = float(np.percentile(length[keep], 75))
    return Guess(places[keep], moves[keep], error)
