"""Dates that no usual window matches: larger windows find them farther away."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from xcoreg.core import Bools, Floats, Ints
from xcoreg.core.matches import Status
from xcoreg.matching.stack_dates import Stack
from xcoreg.matching.stack_options import StackOptions
from xcoreg.matching.stack_pairs import Pairing, match_pair
from xcoreg.matching.stack_windows import Windows, frame_of, read_series

_LARGEST, _LARGER = 512, 1.5  # px: side of the large windows; less than so many times the usual one is no use
_PARTNERS, _WINDOWS = 3, 4  # dates that each lost one is matched with; large windows
_SEARCH = 0.4  # of the side of windows


def seek_dates(stack: Stack, matched: Bools, options: StackOptions) -> Stack:
    """Move the windows of dates that were not matched (n,) to where large windows find them."""
    lost, known = np.flatnonzero(~matched), np.flatnonzero(matched)
    grids = [one.grid for one in stack.dates]
    size = min(_LARGEST, *(min(one.shape) - 2 * stack.frame.margin for one in grids))
    if not lost.size or size < _LARGER * stack.frame.size or options.window is not None:
        return stack
    # Without any date in its place all of them are matched with the first ones.
    anchors = known if known.size else np.arange(min(_PARTNERS, len(matched)))
    frame = frame_of(grids, int(size), None, _WINDOWS)
    partners = {int(at): _nearest(anchors, int(at)) for at in lost}
    needed = sorted({int(one) for several in partners.values() for one in several} | set(partners))
    windows = read_series(stack.dates, replace(stack.reading, frame=frame), needed, stack.offsets)
    limit = _SEARCH * size if options.max_shift is None else min(_SEARCH * size, options.max_shift + 1)
    pairing, offsets = Pairing(frame, limit, options.contrast), stack.offsets.copy()
    for at, several in partners.items():
        moves = [_move(pairing, (windows[at], windows[int(one)]), stack.offsets[[at, one]]) for one in several]
        places = [move - stack.offsets[one] for move, one in zip(moves, several, strict=True) if move is not None]
        if places:
            offsets[at] = -np.rint(np.median(places, axis=0)).astype(np.intp)
    return stack.moved(offsets)


def _nearest(anchors: Ints, date: int) -> Ints:
    others = anchors[anchors != date]
    order = np.argsort(np.abs(others - date), kind="stable")
    return np.asarray(others[order[:_PARTNERS]])


def _move(pairing: Pairing, pair: tuple[Windows, Windows], offsets: Ints) -> Floats | None:
    """Correction (2,), px, of the first date onto the second; None where large windows do not match either."""
    first, second = ((one, (int(offset[0]), int(offset[1]))) for one, offset in zip(pair, offsets, strict=True))
    found = match_pair(pairing, (first, second))
    return found.move if found.status is Status.OK else None
