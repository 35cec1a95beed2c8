"""Dates that no usual window matches: larger windows find them farther away, or between clouds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from xcoreg import lazy
from xcoreg.core import Bools, Ints
from xcoreg.core.matches import Matches, Status
from xcoreg.matching.stack_dates import Stack
from xcoreg.matching.stack_options import StackOptions
from xcoreg.matching.stack_pairs import Pairing, PairMatch, match_pair
from xcoreg.matching.stack_windows import frame_of, read_series

_LARGEST, _LARGER = 512, 1.5  # px: side of the large windows; less than so many times the usual one is no use
_PARTNERS, _WINDOWS = 3, 4  # dates that each lost one is matched with; large windows
_SEARCH = 0.4  # of the side of windows
_CHECKED, _TOGETHER = 6, 16  # partners of dates that nothing else checks; such dates whose windows are in memory
_NOTHING = Matches(np.empty(0), np.empty(0))


def seek_dates(stack: Stack, matched: Bools, options: StackOptions) -> Stack:
    """Move the windows of dates that were not matched (n,) to where large windows find them."""
    lost, known = np.flatnonzero(~matched), np.flatnonzero(matched)
    # Without any date in its place all of them are matched with the first ones.
    anchors = known if known.size else np.arange(min(_PARTNERS, len(matched)))
    partners = {int(at): _nearest(anchors, int(at)).tolist() for at in lost}
    found, offsets = _match_large(stack, partners, options), stack.offsets.copy()
    for at, several in partners.items():
        ends = [(one, (max(at, one), min(at, one))) for one in several]
        moves = [(one, (1 if at > one else -1) * found[pair].move) for one, pair in ends if pair in found]
        if moves:
            places = [move - stack.offsets[one] for one, move in moves]
            offsets[at] = -np.rint(np.median(places, axis=0)).astype(np.intp)
    return stack.moved(offsets)


def match_lost(
    stack: Stack, pairs: dict[tuple[int, int], PairMatch], options: StackOptions
) -> dict[tuple[int, int], PairMatch]:
    """Match pairs (earlier, later) of dates with fewer than two accepted pairs again, with large windows.

    Under clouds, small windows see too little of the ground; a large one sees what is between the clouds. Two pairs
    check each other, so that a false one places no date.
    """
    good = np.zeros(len(stack.dates), np.intp)
    for ends, one in pairs.items():
        good[list(ends)] += one.status is Status.OK
    if not (good >= 2).any():
        return {}
    lost: dict[int, list[int]] = {int(at): [] for at in np.flatnonzero(good < 2)}
    for i, j in sorted(pairs, key=lambda ends: (abs(ends[0] - ends[1]), ends)):
        for at, other in ((i, j), (j, i)):
            if at in lost and good[other] >= 2 and len(lost[at]) < _CHECKED:
                lost[at].append(other)
    found = _match_large(stack, lost, options)
    # Their windows are not those of the other pairs.
    return {(i, j): replace(one, windows=_NOTHING, share=np.empty(0)) for (j, i), one in found.items()}


def _match_large(
    stack: Stack, partners: dict[int, list[int]], options: StackOptions
) -> dict[tuple[int, int], PairMatch]:
    """Match dates with partners by large windows, as far as these fit: accepted pairs (later, earlier)."""
    grids = [one.grid for one in stack.dates]
    size = min(_LARGEST, *(min(one.shape) - 2 * stack.frame.margin for one in grids))
    if not partners or size < _LARGER * stack.frame.size or options.window is not None:
        return {}
    frame = frame_of(grids, int(size), None, _WINDOWS)
    limit = _SEARCH * size if options.max_shift is None else min(_SEARCH * size, options.max_shift + 1)
    pairing, todo = Pairing(frame, limit, options.contrast), sorted(partners)
    out: dict[tuple[int, int], PairMatch] = {}
    for start in range(0, len(todo), _TOGETHER):
        pairs = sorted({(max(at, one), min(at, one)) for at in todo[start : start + _TOGETHER] for one in partners[at]})
        needed = sorted({at for pair in pairs for at in pair})
        windows = read_series(stack.dates, replace(stack.reading, frame=frame), needed, stack.offsets)
        places = {at: (windows[at], stack.place(at)[1]) for at in needed}
        found = lazy.run_tasks(match_pair, pairing, [(places[j], places[i]) for j, i in pairs])
        out |= {pair: one for pair, one in zip(pairs, found, strict=True) if one.status is Status.OK}
    return out


def _nearest(anchors: Ints, date: int) -> Ints:
    others = anchors[anchors != date]
    order = np.argsort(np.abs(others - date), kind="stable")
    return np.asarray(others[order[:_PARTNERS]])
