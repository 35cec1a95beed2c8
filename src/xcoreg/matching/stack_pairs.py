"""One pair of dates: its windows matched, and how alike all dates are before that."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from xcoreg.core import Floats, Ints
from xcoreg.core.drift import Pattern, pattern_of, shared_drift
from xcoreg.core.matcher import phase_match
from xcoreg.core.matches import Matches, Status
from xcoreg.core.network import Network
from xcoreg.core.robust import shares
from xcoreg.core.sampling import shrink
from xcoreg.core.window_errors import Layout, places_by_window, variance_by_windows
from xcoreg.matching.acceptance import Acceptance, accept_windows, coarser_pixels_disagree, settle_drift
from xcoreg.matching.stack_windows import Frame, Windows, shifts_between
from xcoreg.results.stack import StackFit

_THUMB = 16  # pixels along each side of the small images by which pairs are ranked
_FEWEST = 4  # windows from which their scatter is measured
_LEAST_VALID = 0.15  # share of a window that both dates need


Placed = tuple[Windows, tuple[int, int]]  # windows of a date, and where they are cut


@dataclass(frozen=True, eq=False)
class PairMatch:
    """One pair: its correction (2,) px and covariance, status, windows (w, ...).

    scatter : How much of the stated variance the scatter of its windows about their mean shows, NaN for few windows.
    share : (w,); weight of each window in the correction.
    """

    move: Floats
    cov: Floats
    status: Status
    n_windows: int
    n_ok: int
    reliability: float
    scatter: float
    windows: Matches
    share: Floats


@dataclass(frozen=True, eq=False)
class Pairing:
    """How windows of two dates are matched."""

    frame: Frame
    limit: float
    contrast: str


def match_pair(pairing: Pairing, item: tuple[Placed, Placed]) -> PairMatch:
    """Match the windows of two dates, target and reference: windows and offset of each."""
    # Cut here, not before: windows of all dates, cut, would be in memory at once.
    cuts: list[Any] = [windows.cut(pairing.frame, offset) for windows, offset in item]
    (tgt, tgt_valid, *tgt_at), (ref, ref_valid, *ref_at) = cuts
    base = shifts_between(pairing.frame.linear, tgt_at, ref_at)
    n, size = len(tgt), tgt.shape[-1]
    usable = np.flatnonzero((tgt_valid & ref_valid).sum((1, 2)) >= _LEAST_VALID * size**2)
    nothing = np.full(n, np.nan)
    windows = Matches(nothing, nothing, status=np.full(n, Status.NO_DATA))
    if len(usable):
        part = (tgt[usable], ref[usable], tgt_valid[usable], ref_valid[usable])
        found = phase_match(*part, max_shift=pairing.limit, contrast=pairing.contrast, compare=False)
        order = np.argsort(np.r_[usable, np.setdiff1d(np.arange(n), usable)])
        rest = windows.take(np.arange(n - len(usable)))
        windows = Matches.concatenate([found, rest]).take(order) if len(rest.dcol) else found
    windows = replace(windows, dcol=windows.dcol + base[:, 0], drow=windows.drow + base[:, 1])
    moves = np.stack([windows.dcol, windows.drow], -1)
    tried = usable if len(usable) else np.arange(n)
    answer = _accepted(windows, tried, pairing)
    if answer.status is Status.OK:
        at = tried[answer.inliers]
        again = partial(_match_from, pairing, (tgt[at], ref[at], tgt_valid[at], ref_valid[at]), base[at])
        windows, answer = _without_drift(windows, tried, answer, pairing, again)
        moves = np.stack([windows.dcol, windows.drow], -1)
    status, first = answer.status, tried[answer.inliers]
    if status is Status.OK:
        images = (tgt[first], ref[first], tgt_valid[first], ref_valid[first])
        coarser = partial(_coarse_match, pairing.contrast)
        if coarser_pixels_disagree(images, moves[first] - base[first], coarser):
            status = Status.DISAGREES
    trust = windows.reliability[first] if len(first) else windows.reliability
    known = trust[np.isfinite(trust)]
    reliability = float(np.median(known)) if known.size else float("nan")
    scatter = scatter_of(moves[first], windows.cov[first], answer.cov)
    share = np.zeros(n)
    share[first] = shares(moves[first], windows.cov[first])
    return PairMatch(answer.move, answer.cov, status, len(usable), len(first), reliability, scatter, windows, share)


def _accepted(windows: Matches, tried: Ints, pairing: Pairing) -> Acceptance:
    """Whether the windows tried agree on a shift."""
    moves = np.stack([windows.dcol, windows.drow], -1)
    dragged = windows.pattern[tried, 0]
    each = moves[tried], windows.cov[tried], windows.status[tried], windows.reliability[tried]
    return accept_windows(*each, pairing.limit, dragged=dragged)


def _match_from(pairing: Pairing, images: Any, base: Floats, known: Pattern) -> Matches:
    """Match windows, cut `base` (n, 2) px apart, with what is known of their pattern."""
    found = phase_match(*images, max_shift=pairing.limit, contrast=pairing.contrast, compare=False, pattern=known)
    return replace(found, dcol=found.dcol + base[:, 0], drow=found.drow + base[:, 1])


def _without_drift(
    windows: Matches, tried: Ints, answer: Acceptance, pairing: Pairing, again: Callable[[Pattern], Matches]
) -> tuple[Matches, Acceptance]:
    """Match again where windows together show that fine detail drifts, which each of them may not show.

    `match` settles drifts by sums from before where nothing else changed a match: dates under clouds have no such pair.
    """
    some = tried[answer.inliers]
    drift, of_pixels = shared_drift(windows.drift[some])
    if pattern_of(windows).torn:
        return windows, replace(answer, status=Status.DISAGREES, inliers=np.zeros_like(answer.inliers))
    if not drift.drifts:
        return windows, answer
    known = pattern_of(windows.take(some))._replace(drifts=drift.drifts, further=drift.further)
    rest = np.setdiff1d(np.arange(len(windows.dcol)), some)
    other = Matches.concatenate([again(known), windows.take(rest)]).take(np.argsort(np.r_[some, rest]))
    answer, corrected = settle_drift(answer, _accepted(other, tried, pairing), windows.pattern[some, 0], of_pixels)
    return other if corrected else windows, answer


def _coarse_match(contrast: str, limit: float) -> Any:
    return partial(phase_match, max_shift=limit, contrast=contrast)


def scatter_of(moves: Floats, covs: Floats, stated: Floats) -> float:
    """Measure the variance of a mean by the scatter of windows (n, 2), over the stated one; NaN for few windows.

    Each window counts by its weight in the mean: what the others state does not matter.
    """
    if len(moves) < _FEWEST:
        return float("nan")
    weights = np.linalg.inv(covs)
    normal = np.linalg.inv(weights.sum(0))
    off = moves - normal @ np.einsum("nij,nj->i", weights, moves)
    share = np.einsum("ij,nji->n", normal, weights) / 2
    squares = np.einsum("ni,nij,nj->n", off, weights, off) / 2
    ratio = (share * squares / np.maximum(1 - share, 0.1)).sum()
    return float(ratio * np.trace(normal) / np.trace(stated))


def spread_of_dates(found: Sequence[PairMatch], fit: StackFit, frame: Frame) -> Floats:
    """Variance (n, 2), px², of the place of every date by what its windows are off; NaN where unknown."""
    n, pairs, windows = len(fit.dates), fit.pairs, len(frame.places)
    new = np.flatnonzero(pairs.accepted & np.array([len(one.share) == windows for one in found])).tolist()
    share = np.array([found[at].share for at in new]).reshape(-1, windows)
    moves = np.array([np.stack([found[at].windows.dcol, found[at].windows.drow], -1) for at in new])
    target, reference = (one[new].astype(np.intp) for one in (pairs.target, pairs.reference))
    net = Network(n, target, reference, np.zeros(len(new), np.intp), np.zeros((n, 0)))
    adjusted = np.stack([pairs.dcol - pairs.res_col, pairs.drow - pairs.res_row], -1)[new]
    off = np.where(share[..., None] > 0, moves.reshape(-1, windows, 2) - adjusted[:, None], 0.0)
    weight = share / np.trace(pairs.own[new], axis1=1, axis2=2)[:, None]
    total: Floats = np.zeros((n, windows))
    for ends in (target, reference):
        np.add.at(total, ends, weight)
    total /= np.maximum(total.sum(1, keepdims=True), 1e-300)
    column, row = (np.unique(part, return_inverse=True)[1] for part in frame.places.T)
    return variance_by_windows(places_by_window(net, off, weight), Layout(column, row, total))


def rank_pairs(cuts: Iterable[Any]) -> Floats:
    """Score every pair of dates (n, n): how alike small images of their windows are, NaN without common data."""
    thumbs, masks = [], []
    for one in cuts:
        factor = max(one[0].shape[-1] // _THUMB, 1)
        values, valid = shrink(one[0], one[1], (factor, factor))
        mean = values.sum((1, 2), keepdims=True) / np.maximum(valid.sum((1, 2), keepdims=True), 1)
        thumbs.append(np.where(valid, values - mean, 0).reshape(len(values), -1))
        masks.append(valid.reshape(len(valid), -1))
    n = len(thumbs)
    small, seen = np.stack(thumbs).astype(np.float32), np.stack(masks).astype(np.float32)
    score, common = np.zeros((n, n)), np.zeros((n, n))
    for at in range(small.shape[1]):
        a, b = small[:, at], seen[:, at]
        both, power = a @ a.T, (a**2) @ b.T
        alike = both / np.sqrt(np.maximum(power * power.T, 1e-12))
        share = (b @ b.T) / b.shape[1]
        score += np.clip(np.abs(alike), 0, 1) * np.where(share >= _LEAST_VALID, share, 0)
        common += share >= _LEAST_VALID
    # Rounded: the order of dates must not decide between pairs by the last digit.
    return np.where(common > 0, np.round(score / small.shape[1], 5), np.nan)
