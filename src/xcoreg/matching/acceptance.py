"""When windows are believed: their agreement, the chance that it is an accident, and checks of what they agree on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtrc

from xcoreg.core import Bools, Floats
from xcoreg.core.drift import NO_PATTERN, Pattern, left_over, round_covariance
from xcoreg.core.matches import Status
from xcoreg.core.peaks import scaled_surface
from xcoreg.core.repeats import fits_elsewhere
from xcoreg.core.robust import combine, largest_group
from xcoreg.core.sampling import shrink
from xcoreg.core.stripes import remove_stripes
from xcoreg.core.structure import half_peaks
from xcoreg.core.weights import SYSTEMATIC
from xcoreg.georef import vector_to_map, vector_to_pixel
from xcoreg.matching.options import Matcher
from xcoreg.matching.scene import Scene, clamp_inside, evenly, overlap_size
from xcoreg.matching.windows import WindowMatches, commonest_status, match_windows

Images = tuple[Floats, Floats, Bools, Bools]  # windows of target and reference, and where they are valid

# Windows agree within this many matching pixels, and within this many of their own standard deviations.
_AGREE, _AGREE_SIGMAS = 1.0, 3.0
# Reliability (percent) that one window needs, and that several need together. Windows of unrelated images never
# exceeded 40.
_ALONE, _TOGETHER = 45.0, 60.0
# From so many matchable windows on, one that stands alone needs this reliability instead.
_MATCHABLE, _ALONE_OF_MANY = 4, 85.0
# Largest chance that an answer is an accident, and the share of unrelated windows that pass all checks of their own at
# worst: of scenes of one make, as the bare noise of `phase` and `structure` hardly ever does.
CHANCE, _PASSING = 1e-3, 0.05
# Windows that say whether others are right: they match, or would if the images showed one scene.
TRIED = (Status.OK, Status.NO_PEAK, Status.UNCONSTRAINED, Status.NOT_CONVERGED, Status.OUTLIER, Status.DISAGREES)
# Share of a window's side by which centres differ of windows that count as independent.
_APART = 0.75
# Share of their pixels from which two windows see one thing: that they agree says nothing.
_SAME = 0.5


@dataclass(frozen=True, eq=False)
class Acceptance:
    """Whether windows agree on a shift, and which.

    status, inliers : OK, or why nothing can be trusted; the windows (n,) that agree.
    move, cov : (2,), (2, 2) float64; correction, px of the matching grid, along (col, row); NaN without inliers.
    chance : Probability that windows of unrelated images agree as well.
    """

    status: Status
    inliers: Bools
    move: Floats
    cov: Floats
    chance: float = float("nan")

    @classmethod
    def failed(cls, status: Status, n: int) -> Acceptance:
        """No answer from `n` windows."""
        return cls(status, np.zeros(n, bool), np.full(2, np.nan), np.full((2, 2), np.nan))


def chance_of_agreement(agreeing: int, tried: int, reach: float, radius: float = _AGREE) -> float:
    """Probability that as many of the windows tried agree within a radius, if each finds any shift within reach, px.

    An unrelated window passes its own checks now and then; those that do would have to hit one and the same spot of
    the area that was searched: the tail of a binomial distribution. One window agrees with itself: that says nothing.
    """
    if agreeing < 1:
        return 1.0
    hit = min(1.0, np.pi * radius**2 / (2 * reach + 1) ** 2)
    first = min(1.0, tried * _PASSING)
    # bdtrc is the chance of more than k hits among n.
    return float(first if agreeing == 1 else first * bdtrc(agreeing - 2, tried - 1, _PASSING * hit))


def count_independent(places: Floats, size: float) -> int:
    """Count the windows at places (n, 2), px, that hardly overlap: cells of a grid, wherever its origin be."""
    cells, origins = places / (_APART * size), np.arange(3) / 3
    counts = [len(np.unique(np.floor(cells + np.array([x, y])), axis=0)) for x in origins for y in origins]
    return min(counts) if len(places) else 0


def shared_area(places: Floats, sizes: Floats) -> Floats:
    """Share (n, n) of their pixels, and so of their noise, that windows at places (n, 2), px, have in common."""
    low, high = places - sizes[:, None] / 2, places + sizes[:, None] / 2
    sides = np.minimum(high[:, None], high[None]) - np.maximum(low[:, None], low[None])
    return np.asarray(np.clip(sides, 0, None).prod(-1) / (sizes[:, None] * sizes[None]))


def count_apart(shared: Floats, trust: Floats) -> int:
    """Count windows, the surest first, that share less than half of their pixels with those counted before."""
    counted: list[int] = []
    for at in np.argsort(-trust, kind="stable").tolist():
        if (shared[at, counted] < _SAME).all():
            counted.append(at)
    return len(counted)


def accept_windows(
    moves: Floats,
    covs: Floats,
    status: NDArray[np.int8],
    reliability: Floats,
    reach: float = np.inf,
    shared: Floats | None = None,
    dragged: Floats | None = None,
    *,
    confirmed: bool = False,
) -> Acceptance:
    """Decide whether windows agree on one shift, searched within reach: moves (n, 2); covs (n, 2, 2); others (n,).

    shared : (n, n); share of their pixels that windows have in common; dragged : (n,) px; how far a pattern of the
    pixels drags fine detail of each: what is left of that is the same in all windows. confirmed : Whether one window
    alone needs another witness anyway, so that of itself its chance is enough, if no other window was tried.
    """
    ok = (status == Status.OK) & np.isfinite(moves).all(1)
    if not ok.any():
        return Acceptance.failed(commonest_status(status, (Status.NO_DATA,)), len(ok))
    trust = np.where(np.isfinite(reliability), np.clip(reliability, 0, 100), 100.0)
    sigma = np.sqrt(np.clip(np.trace(covs, axis1=1, axis2=2) / 2, 0, None))
    typical = np.median(sigma[ok][np.isfinite(sigma[ok])]) if np.isfinite(sigma[ok]).any() else 0.0
    radius = max(_AGREE, _AGREE_SIGMAS * typical)
    inliers = largest_group(np.where(ok[:, None], moves, np.nan), trust, radius)
    both = None if shared is None else shared[np.ix_(inliers, inliers)]
    move, cov = combine(moves[inliers], covs[inliers], both)
    if inliers.sum() > 1:
        cov = cov + SYSTEMATIC**2 * np.eye(2)
        if dragged is not None:
            cov = cov + left_over(np.median(dragged[inliers], keepdims=True))[0]
    agree, differ = int(inliers.sum()), int((ok & ~inliers).sum())
    tried = int(np.isin(status, TRIED).sum())
    # Of one window alone, its own peak has to be above chance: that of noise falls fast with its reliability.
    alone = tried * 10 ** -(1 + float(trust[inliers].max()) / 16)
    chance = alone if agree == 1 else chance_of_agreement(agree, tried, reach, radius)
    ambiguous = int((status == Status.AMBIGUOUS).sum())
    if differ >= agree and (differ > 1 or agree == 1):
        found = Status.OUTLIER
    elif ambiguous > agree or (agree == 1 and ambiguous):
        # A larger window may match at any of the shifts between which smaller ones could not decide.
        found = Status.AMBIGUOUS
    elif agree == 1:
        needed = _ALONE if int(np.isin(status, TRIED[:4]).sum()) < _MATCHABLE else _ALONE_OF_MANY
        # One chosen among several is an accident that is not rare: the others show the scene as well.
        enough = tried == 1 and chance <= CHANCE if confirmed else trust[inliers][0] >= needed
        found = Status.OK if enough else Status.NO_PEAK
    else:
        found = Status.OK if trust[inliers].sum() >= _TOGETHER and chance <= CHANCE else Status.NO_PEAK
    # Windows that show the scene as well, at the same place, and yet say that it cannot be known, know as much.
    unknown = (status == Status.UNCONSTRAINED) & (trust >= _ALONE_OF_MANY) & (np.hypot(*(moves - move).T) <= radius)
    if found is Status.OK and int(unknown.sum()) > agree:
        found = Status.UNCONSTRAINED
    if agree > 1 and shared is not None and trust[inliers].max() < _ALONE_OF_MANY:
        every = np.isin(status, TRIED[:4])
        apart = (count_apart(shared[np.ix_(some, some)], trust[some]) for some in (inliers, every))
        if next(apart) == 1 and next(apart) >= _MATCHABLE:  # one place of many, seen twice
            found = Status.NO_PEAK
    return Acceptance(found, inliers, move, cov, chance)


# Largest standard deviation, px, of what a single window says; least one of what drifts and stays unknown; and largest
# drift that can be corrected where no window alone has followed it.
VAGUE, _UNKNOWN, _CORRECTED = 0.2, 0.1, 0.12


def settle_drift(
    answer: Acceptance, corrected: Acceptance, dragged: Floats, of_pixels: bool
) -> tuple[Acceptance, bool]:
    """Answer of windows in which fine detail drifts, and whether it is that of the corrected ones.

    What pixels drag is corrected. What has its cause in the scene leaves the answer as vague as correcting it would
    change it. Refused where that is far, or, in windows that cannot be corrected, `dragged` (k,) px is.
    """
    known = corrected.status is Status.OK
    gap = float(np.hypot(*(corrected.move - answer.move))) if known else 0.0
    vague = gap / np.sqrt(2) if known else max(float(np.median(dragged)), _UNKNOWN)
    if (gap > _CORRECTED and of_pixels) or (vague > VAGUE and not known):
        return replace(answer, status=Status.DISAGREES, inliers=np.zeros_like(answer.inliers)), False
    if known and of_pixels:
        return corrected, True
    return replace(answer, cov=answer.cov + round_covariance(np.array([vague]))[0]), False


# Quarters of windows are matched if they are at least this large, px; so many of them must match.
_QUARTER, _FEWEST_QUARTERS = 48, 3
# They disagree with the answer beyond this many matching pixels and this many standard deviations.
_DISAGREE, _SIGMAS = 0.25, 5.0
# Pixels are averaged by these factors; windows need so many coarse pixels on a side; a few windows suffice.
_FACTORS, _COARSE_SIDE, _WINDOWS = (2, 3), 40, 4
# Local change moves coarse matches a little, a pixel grid that both images were resampled on moves them by pixels.
_LOCKED = 0.7


def quarters_disagree(
    scene: Scene,
    found: WindowMatches,
    inliers: Bools,
    move: Floats,
    make: Callable[[float], Matcher],
    peaks: Callable[[float], Matcher] | None = None,
) -> WindowMatches | None:
    """Match the quarters of windows; return them if they contradict the answer, as under rotation or scale."""
    size = found.size // 2
    if size < _QUARTER or not inliers.any():
        return None
    places, moves = _quarters(found.places[inliers], size, scene), found.moves[inliers].repeat(4, axis=0)
    if peaks is not None and _clearly_agree(*_cut_moved(scene, places, moves, size), 1, peaks, _DISAGREE / 2):
        return None
    quarters = match_windows(scene, places, size, moves, make(0.1 * size))
    ok = quarters.matches.status == Status.OK
    if ok.sum() < _FEWEST_QUARTERS:
        return None
    off = np.hypot(*(np.stack(vector_to_pixel(scene.linear, quarters.dx[ok], quarters.dy[ok])) - move[:, None]))
    sigma = np.sqrt(np.trace(quarters.matches.cov[ok], axis1=1, axis2=2))
    disagree = off > np.maximum(_DISAGREE, _SIGMAS * sigma)
    return quarters if disagree.sum() * 2 >= ok.sum() else None


# Halves of a window confirm edges within so many px.
_CONFIRMS = 1.5
# Intensities confirm edges within so many matching pixels, where no other shift reaches three quarters of their peak.
_SAME_PLACE, _DISTINCT = 1.0, 25.0


def halves_confirm(scene: Scene, found: WindowMatches, inliers: Bools) -> bool:
    """Whether both halves of a window show its shift alone, in all the area: left and right, or upper and lower."""
    places, moves = found.places[inliers], found.moves[inliers]
    if not len(places):
        return False
    images, rest = _cut_moved(scene, places, moves, found.size)
    off = np.hypot(*np.moveaxis(half_peaks(*images) - rest[:, None], -1, 0)) <= _CONFIRMS
    return bool((off[:, :2].all(1) | off[:, 2:].all(1)).any())


def intensities_confirm(scene: Scene, edges: WindowMatches, inliers: Bools, before: list[WindowMatches]) -> bool:
    """Whether the highest peak of intensities, significant or not, lies where a window matches by edges."""
    for one in before:
        own = one.matches
        peaked = (own.reliability > _DISTINCT) & ~np.isin(own.status, (Status.AMBIGUOUS, Status.FLAT, Status.NO_DATA))
        apart = np.stack(vector_to_pixel(scene.linear, *(edges.moves[inliers][:, None] - one.moves[peaked]).T))
        same = (edges.places[inliers][:, None] == one.places[peaked]).all(-1).T & (one.size == edges.size)
        if (same & (np.hypot(*apart) <= _SAME_PLACE)).any():
            return True
    return False


# Lags around an answer of edges, px, at which intensities correlate and anticorrelate as well, above noise, where one
# image shows the slopes of what the other shows: share of the higher one, and standard deviations.
_AROUND, _AS_DEEP, _NO_NOISE = 16, 0.65, 12.0


def shows_slopes(scene: Scene, found: WindowMatches, inliers: Bools) -> bool:
    """Whether one image is lit by the slopes of the other's relief, or from another side: their edges lie apart."""
    heights = scaled_surface(*_cut_moved(scene, found.places[inliers], found.moves[inliers], found.size)[0])
    noise = 1.48 * np.median(np.abs(heights))
    reach = np.arange(-min(_AROUND, found.size // 4), min(_AROUND, found.size // 4) + 1)
    near = heights[reach[:, None], reach]
    both = float(near.max()), float(-near.min())
    return bool(min(both) > max(_NO_NOISE * noise, _AS_DEEP * max(both)))


def _quarters(places: Floats, size: int, scene: Scene) -> Floats:
    """Centres of the four quarters of windows."""
    steps = np.array([(-0.5, -0.5), (0.5, -0.5), (-0.5, 0.5), (0.5, 0.5)]) * size
    offsets = np.stack(vector_to_map(scene.linear, *steps.T), -1)
    return np.asarray((places[:, None] + offsets[None]).reshape(-1, 2))


_SEVERAL, _PATTERN = 9, 128  # windows that say whether a scene repeats itself, and their least side


def repeats_elsewhere(
    scene: Scene,
    places: Floats,
    moves: Floats,
    size: int,
    *,
    by_edges: bool,
    max_shift: float | None,
    pattern: Pattern = NO_PATTERN,
) -> bool:
    """Whether the scene has a pattern of which another place fits windows at places as well as moves, both (n, 2).

    pattern : Stripes of the sensor, which would look like one.
    """
    some, size = evenly(places, _SEVERAL), max(size, _PATTERN)
    target = scene.target_cutter.cut(places[some, 0], places[some, 1], size)
    reference = scene.reference_cutter.cut(places[some, 0] + moves[some, 0], places[some, 1] + moves[some, 1], size)
    move = np.array(vector_to_pixel(scene.linear, *np.median(moves[some], axis=0)))
    limit = np.inf if max_shift is None else max_shift * scene.target_pixel
    values = [np.where(one.valid, one.values, 0) for one in (target, reference)]
    for image, cut in zip(values, (target, reference), strict=True):
        remove_stripes(image, cut.valid, np.tile(pattern.stripes, (len(image), 1)))
    windows = (*values, target.valid, reference.valid)
    return fits_elsewhere(*windows, by_edges=by_edges, move=move, limit=limit)


def locked_to_pixel_grid(
    scene: Scene,
    found: WindowMatches,
    inliers: Bools,
    make: Callable[[float], Matcher],
    peaks: Callable[[float], Matcher] | None = None,
) -> bool:
    """Whether windows of coarser pixels disagree: images resampled on one grid can match by that grid's pattern."""
    places, moves = found.places[inliers][:_WINDOWS], found.moves[inliers][:_WINDOWS]
    size, least = found.size, min(_FACTORS) * _COARSE_SIDE
    if size < least <= min(overlap_size(scene.extent, scene.linear)) and len(places):
        # Windows of small images are too small, but what is around them shows the same shift.
        size = least
        places = clamp_inside(np.stack(vector_to_pixel(scene.linear, *places.T), -1), scene.extent, scene.linear, size)
    if size < least or not len(places):
        return False

    def cut(part: slice) -> tuple[Images, Floats]:
        return _cut_moved(scene, places[part], moves[part], size)

    return _mostly_disagree(cut, len(places), make, peaks)


def _cut_moved(scene: Scene, places: Floats, moves: Floats, size: int) -> tuple[Images, Floats]:
    """Cut windows at places (n, 2), of the reference at moves (n, 2) away; and what is left of these, px."""
    target = scene.target_cutter.cut(places[:, 0], places[:, 1], size)
    moved = places + moves
    reference = scene.reference_cutter.cut(moved[:, 0], moved[:, 1], size)
    rest = moves - np.stack([reference.x - target.x, reference.y - target.y], -1)
    images = target.values, reference.values, target.valid, reference.valid
    return images, np.stack(vector_to_pixel(scene.linear, *rest.T), -1)


def coarser_pixels_disagree(images: Images, moves: Floats, make: Callable[[float], Matcher]) -> bool:
    """Whether most of some windows, moved by `moves` (n, 2), px, match elsewhere once their pixels are averaged."""

    def cut(part: slice) -> tuple[Images, Floats]:
        return (images[0][part], images[1][part], images[2][part], images[3][part]), moves[part]

    return _mostly_disagree(cut, min(len(moves), _WINDOWS), make)


def _mostly_disagree(
    cut: Callable[[slice], tuple[Images, Floats]],
    n: int,
    make: Callable[[float], Matcher],
    peaks: Callable[[float], Matcher] | None = None,
) -> bool:
    """Whether more windows disagree with their coarser pixels than agree: half of them may decide that none can.

    Peaks alone do where all of them agree clearly.
    """
    half = (n + 1) // 2
    images, moves = cut(slice(0, half))
    if peaks is not None and all(_clearly_agree(*one, peaks, _LOCKED / 2) for one in _coarser(images, moves)):
        return False
    first = _disagreements(images, moves, make)
    if all(agree == half for _, agree in first):
        return False
    rest = _disagreements(*cut(slice(half, n)), make) if n > half else [(0, 0)] * len(first)
    return any(no + more > yes + other for (no, yes), (more, other) in zip(first, rest, strict=True))


def _coarser(images: Images, moves: Floats) -> Iterator[tuple[Images, Floats, int]]:
    """Average the pixels of windows by each factor that leaves them large enough: -> images, moves px, factor."""
    target, reference, target_valid, reference_valid = images
    for factor in _FACTORS:
        if target.shape[-1] // factor >= _COARSE_SIDE:
            (tgt, seen), (ref, ref_seen) = (
                shrink(*one, factor) for one in ((target, target_valid), (reference, reference_valid))
            )
            yield (tgt, ref, seen, ref_seen), moves, factor


def _clearly_agree(
    images: Images, moves: Floats, factor: int, peaks: Callable[[float], Matcher], within: float
) -> bool:
    """Whether the peaks of all windows lie where their moves (n, 2), px, do: of pixels averaged by a factor."""
    found = peaks(8.0 / factor + 1)(*images)
    return bool((np.hypot(*(factor * found - moves).T) < within).all())


def _disagreements(images: Images, moves: Floats, make: Callable[[float], Matcher]) -> list[tuple[int, int]]:
    """How many windows disagree and how many agree with their coarser pixels, for each factor."""
    counts = []
    for part, _, factor in _coarser(images, moves):
        coarse = make(8.0 / factor + 1)(*part)
        ok = coarse.ok
        off = np.hypot(*(factor * np.stack([coarse.dcol, coarse.drow], -1) - moves).T)
        sigma = factor * np.sqrt(np.trace(coarse.cov, axis1=1, axis2=2))
        disagree = off > np.maximum(_LOCKED, _SIGMAS * sigma)
        counts.append((int((ok & disagree).sum()), int((ok & ~disagree).sum())))
    return counts
